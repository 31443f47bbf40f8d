"""What the split leaves in each part, and whether that is enough to learn and to judge by: known before the first notebook runs."""

from pathlib import Path

import numpy as np

from lib.data import dataset, splitting, validation
from lib.data.splitting import IN_WORDS, PARTS
from lib.errors import UserError

LEARN_DEFECTS = ("10_binary", "20_multilabel")  # cannot be trained or judged where a part has no defective image
WITHOUT = {  # what it means for a class that a part has no image with it
    "train": "its network learns to draw nothing",
    "validation": "its epoch and thresholds are chosen without it",
    "held_out": "how well it is found stays unknown",
}


def look(values, names, data_dir, run_dir, progress=None):
    """Divide the training images as the notebooks `names` will, into run_dir/split.csv, and say what that leaves too little of.

    Arguments:
        values: {notebook: {parameter: params.Value}} of notebooks that divide the images, which they do alike, see `graph.values_of`.
        progress: function called with a line of text before what takes its time, or None.

    Returns a list of findings, see `findings`. UserError where a part would have no image.
    """
    given, about = {key: value.value for key, value in values[names[0]].items()}, dataset.describe(data_dir)
    table = dataset.load_table(data_dir, given["max_images"], given["seed"])
    if progress and len(table) >= 1000:
        progress(f"{len(table):,} images are divided; near-duplicates stay together")
    table = splitting.load_split(run_dir, table, given["split_method"], given["held_out"], given["validation"], given["seed"],
                                 max_distance=given["duplicate_distance"])  # fmt: skip
    folds = {name: values[name]["n_members"].value if "n_members" in values[name] else 1 for name in names}
    return findings(table, folds, Path(data_dir) / "train_images", dataset.titles(about), given["seed"])


def insist_on_defects(notebook, table, folds, folder, titles, seed=42):
    """UserError where a part of a divided table has no defective image, for a classifier that somebody opens by hand; see `findings`."""
    for found in findings(table, {notebook: folds}, folder, titles, seed):
        if found["severity"] == "error":
            raise UserError(validation.sentence(found))


def least(table, folds=1, seed=42):
    """The fewest images of each kind that a part has, over the networks of an ensemble.

    Arguments:
        table: with part and group, as from `splitting.load_split`; folds, seed: as for `splitting.fold_parts`.

    Returns int (3, 2 + C): a row a part of PARTS; how many images are defective, are not, and have each class.
    """
    present = dataset.labels(table).astype(bool)
    defective = present.any(axis=1)
    kinds = np.column_stack([defective, ~defective, present])
    counts = []
    for number in range(folds):
        part = splitting.fold_parts(table, folds, number, seed)["part"].to_numpy()
        counts.append([kinds[part == one].sum(axis=0) for one in PARTS])
    return np.min(counts, axis=0)


def findings(table, folds, folder, titles, seed=42):
    """What the split leaves too little of: a list of findings as of `checks`.

    Arguments:
        table: with part and group, as from `splitting.load_split`; folds: {notebook: its number of networks}; seed: of the split.
        folder: of the images; titles: what the classes are called.

    Severe, and alone: a part without any defective image, where a classifier is among the notebooks. Else a warning for each class
    that a part lacks, and for defect-free images.
    """
    few = np.minimum.reduce([least(table, count, seed) for count in set(folds.values())])
    present = dataset.labels(table).astype(bool)
    defective, groups = present.any(axis=1), table["group"].to_numpy()
    asked = set(table["part"])  # where nothing is held out, the folds judge
    lacking = [[part for part, count in zip(PARTS, counts, strict=True) if part in asked and not count] for counts in few.T]
    learners = [name for name in LEARN_DEFECTS if name in folds]
    if lacking[0] and learners:
        what = f"{where_they_are('a defect', defective, groups, lacking[0])}, so {' and '.join(learners)} cannot learn or be judged"
        larger = "set n_members lower" if max(folds.values()) > 1 else "set all.validation and all.held_out higher"
        return [validation.finding(folder, 0, what, f"Add images with defects, {larger}, or run --only 00,05, which need none.")]
    found = []
    for title, chosen, missing in zip(titles, present.T, lacking[2:], strict=True):
        if missing:
            results = [WITHOUT[part] for part in missing if part != "validation" or "train" not in missing]
            what = f"{where_they_are(title, chosen, groups, missing)}: {' and '.join(results)}"
            found.append(validation.finding(folder, 0, what, "Add images with it, or pass over its figures.", "warning"))
    if lacking[1]:
        place = where_they_are("no defect", ~defective, groups, lacking[1]) if not defective.all() else "every image has a defect"
        what = f"{place}: how often images without one are taken for defective stays unknown"
        found.append(validation.finding(folder, 0, what, "Add some, if such images will have to be judged.", "warning"))
    return found


def where_they_are(kind, chosen, groups, missing):
    """Of how many images a kind is and where it is missing, such as "2 of 12 images have a defect, none of them in the held-out part".

    Arguments:
        kind: in words; chosen: (N,) bool; groups: (N,) of near-duplicates; missing: the parts without one.
    """
    count = int(chosen.sum())
    if not count:
        return f"none of {len(chosen):,} images has {kind}"
    together = "all near-duplicates of one another, " if count > 1 and len(np.unique(groups[chosen])) == 1 else ""
    places = " or ".join(IN_WORDS[part] for part in missing)
    return f"{count:,} of {len(chosen):,} images {'has' if count == 1 else 'have'} {kind}, {together}none of them in {places}"
