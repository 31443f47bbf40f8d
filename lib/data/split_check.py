"""What the split leaves in each part, and whether that is enough to train and to evaluate by: known before
the first notebook runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.data import chosen, coils, dataset, reporting, splitting
from lib.data.images import list_images
from lib.data.splitting import IN_WORDS, PARTS
from lib.errors import UserError

LEARN_DEFECTS = (
    "10_binary",
    "20_multilabel",
)  # cannot be trained or evaluated where a part has no defective image
WITHOUT = {  # what it means for a class that a part has no image with it
    "train": "its network learns to draw nothing",
    "validation": "its epoch and thresholds are chosen without it",
    "held_out": "how well it is found stays unknown",
}


def look(
    values: dict[str, dict[str, Any]],
    names: list[str],
    data_dir: str | Path,
    run_dir: str | Path,
    progress: Callable[[str], Any] | None = None,
) -> list[dict]:
    """Divide the training images as the notebooks `names` will, into run_dir/split.csv, and say what that
    leaves too little of.

    Arguments:
        values: {notebook: {parameter: params.Value}} of notebooks that divide the images, which they do
            alike, see `graph.Project.values`.
        progress: function called with a line of text before what takes its time, or None.

    Returns a list of findings, see `findings`. UserError where a part would have no image.
    """
    args = {key: value.value for key, value in values[names[0]].items()}
    about = dataset.describe(data_dir)
    table = dataset.load_table(data_dir, args["max_images"], args["seed"])
    if progress and len(table) >= 1000:
        progress(f"{len(table):,} images are divided; {coils.alike(table)} stay together")
    shares = args["held_out"], args["validation"]
    table = splitting.load_split(
        run_dir, table, args["split_method"], *shares, args["seed"], max_distance=args["duplicate_distance"]
    )
    n_members = {
        name: values[name]["n_members"].value if "n_members" in values[name] else 1 for name in names
    }
    of_split = findings(
        table, n_members, Path(data_dir) / "train_images", dataset.titles(about), args["seed"]
    )
    return [*of_split, *of_coils(Path(data_dir))]


def of_coils(data_dir: Path) -> list[dict]:
    """A warning where the data folder's table of coils names what is no image, trained on or tested."""
    path, parts = data_dir / coils.FILE, [data_dir / name for name in ("train_images", "test_images")]
    if not path.is_file():
        return []
    _, unknown = coils.match(path, [name for part in parts if part.is_dir() for name in list_images(part)])
    remedy = "Name images as their files are called."
    return [reporting.finding(path, 0, unknown, remedy, "warning")] if unknown else []


def insist_on_defects(
    notebook: str, table: pd.DataFrame, n_members: int, folder: str | Path, titles: list[str], seed: int = 42
) -> None:
    """UserError where a part of a divided table has no defective image, for a classifier that somebody opens
    by hand; see `findings`."""
    for finding in findings(table, {notebook: n_members}, folder, titles, seed):
        if finding["severity"] == "error":
            raise UserError(reporting.sentence(finding))


def least(table: pd.DataFrame, n_members: int = 1, seed: int = 42) -> np.ndarray:
    """The fewest images of each kind that a part has, over the networks of an ensemble.

    Arguments:
        table: with part and group, as from `splitting.load_split`; n_members, seed: as for
            `splitting.fold_parts`.

    Returns int (3, 2 + C): a row a part of PARTS; how many images are defective, are not, and have each
    class.
    """
    present = dataset.labels(table).astype(bool)
    defective = present.any(axis=1)
    kinds = np.column_stack([defective, ~defective, present])
    parts = [table["part"].to_numpy()]
    if n_members > 1:
        validated = splitting.validated_member(table, n_members, seed)
        parts = [splitting.parts_of_member(table, validated, member) for member in range(n_members)]
    return np.min([[kinds[part == name].sum(axis=0) for name in PARTS] for part in parts], axis=0)


def findings(
    table: pd.DataFrame, n_members: dict[str, int], folder: str | Path, titles: list[str], seed: int = 42
) -> list[dict]:
    """What the split leaves too little of: a list of findings as of `validation.finding`.

    Arguments:
        table: with part and group, as from `splitting.load_split`; n_members: {notebook: its number of
            networks}; seed: of the split.
        folder: of the images; titles: what the classes are called.

    Severe, and alone: a part without any defective image, where a classifier is among the notebooks. Else a
    warning for each class that a part lacks, for defect-free images, and for images that only train.
    """
    few = np.minimum.reduce([least(table, count, seed) for count in set(n_members.values())])
    present = dataset.labels(table).astype(bool)
    defective = present.any(axis=1)
    # Where nothing is held out, each member of an ensemble evaluates what it validated.
    asked = set(table["part"])
    lacking = [
        [part for part, count in zip(PARTS, counts, strict=True) if part in asked and not count]
        for counts in few.T
    ]
    learners = [name for name in LEARN_DEFECTS if name in n_members]
    if lacking[0] and learners:
        what = f"{where_they_are('a defect', defective, table, lacking[0])}, so {' and '.join(learners)} cannot be trained or evaluated"
        larger = (
            "set n_members lower"
            if max(n_members.values()) > 1
            else "set all.validation and all.held_out higher"
        )
        return [
            reporting.finding(
                folder, 0, what, f"Add images with defects, {larger}, or run --only 00,05, which need none."
            )
        ]
    results = []
    for title, has_kind, missing in zip(titles, present.T, lacking[2:], strict=True):
        if missing:
            effects = [WITHOUT[part] for part in missing if part != "validation" or "train" not in missing]
            what = f"{where_they_are(title, has_kind, table, missing)}: {' and '.join(effects)}"
            results.append(
                reporting.finding(folder, 0, what, "Add images with it, or pass over its figures.", "warning")
            )
    if lacking[1]:
        where = (
            where_they_are("no defect", ~defective, table, lacking[1])
            if not defective.all()
            else "every image has a defect"
        )
        what = f"{where}: how often images without one are taken for defective stays unknown"
        results.append(reporting.finding(folder, 0, what, "Add some, if such images will come.", "warning"))
    if what := chosen.remark(table):
        remedy = "Keep images that were drawn at random for the evaluation."
        results.append(reporting.finding(folder, 0, what, remedy, "warning"))
    return results


def where_they_are(kind: str, has_kind: np.ndarray, table: pd.DataFrame, missing: list[str]) -> str:
    """Of how many images a kind is and where it is missing, such as "2 of 12 images have a defect, none of
    them in the held-out part".

    Arguments:
        kind: in words; has_kind: (N,) bool; table: with group; missing: the parts without one.
    """
    count = int(has_kind.sum())
    if not count:
        return f"none of {len(has_kind):,} images has {kind}"
    together = ""
    if count > 1 and table["group"][has_kind].nunique() == 1:
        of_one_coil = coils.COLUMN in table and table[coils.COLUMN][has_kind].ne("").all()
        together = f"all {'of one coil' if of_one_coil else 'near-duplicates of one another'}, "
    parts = " or ".join(IN_WORDS[part] for part in missing)
    return f"{count:,} of {len(has_kind):,} images {'has' if count == 1 else 'have'} {kind}, {together}none of them in {parts}"
