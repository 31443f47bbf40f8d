"""Which images teach, which choose and which judge: near-duplicates stay on one side; folds; pseudo-labels of an earlier run."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files, paths
from lib.data import dataset, rle
from lib.data.duplicates import MAX_DISTANCE, find_duplicates
from lib.errors import UserError

PARTS = ("train", "validation", "held_out")
IN_WORDS = {"train": "the part that teaches", "validation": "the part that chooses the epoch", "held_out": "the held-out part"}


def split(table, method="grouped", held_out=0.2, validation=0.15, seed=42, folds=0, max_distance=MAX_DISTANCE):
    """Divide the images into training, validation and held-out ones.

    Arguments:
        method: "grouped": groups of near-duplicates stay together, label combinations are spread evenly. "random": plain
            random parts by scikit-learn's train_test_split, as in the article; near-duplicates may land on both sides.
        held_out, validation: shares of all images.
        folds: above 1, the column `fold` divides all images into that many folds, grouped and spread in the same way.
        max_distance: 0..1, closer images are near-duplicates, see `lib.duplicates`.

    Returns a copy of the table with part ("train", "validation", "held_out"), group (int), and fold (0..folds-1) if asked for.
    With three groups or more no part whose share is above 0 is empty. Raises UserError for shares or methods that make no sense.
    """
    if held_out < 0 or validation < 0 or held_out + validation >= 1:
        raise UserError(f"held_out is {held_out} and validation {validation}. Both are shares, 0 or more, below 1 together.")
    if method not in ("grouped", "random"):
        raise UserError(f"There is no split method {method!r}. Use 'grouped' or 'random'.")
    group = find_duplicates(table["path"], max_distance)
    combination = dataset.combinations(dataset.labels(table))
    if method == "grouped":
        part = spread(combination, group, [1 - held_out - validation, validation, held_out], seed)
    else:
        part = _random_parts(len(table), held_out, validation, seed)
    table = table.assign(part=np.array(PARTS, dtype=object)[part], group=group)
    if folds > 1:
        table["fold"] = spread(combination, group, [1 / folds] * folds, seed)
    return table


def fold_parts(table, folds, number, seed):
    """The split for member `number` (from 0) of an ensemble of `folds` networks: another part of the images validates each.

    Arguments:
        table: with part and group, as from `split`.

    Returns the table with another column part; held-out images stay held out, groups stay together; pseudo-labelled ones teach every
    member but those that a near-duplicate of theirs validates, where they are "left_out". One fold: the table as it is.
    UserError where a member would have nothing to learn from, or nothing that validates it.
    """
    if folds <= 1:
        return table
    part, free = table["part"].to_numpy(dtype=object).copy(), np.flatnonzero(table["part"] != "held_out")
    if "pseudo" in table:
        free = free[~table["pseudo"].to_numpy()[free]]
    combination = dataset.combinations(dataset.labels(table))[free]
    group = np.unique(table["group"].to_numpy()[free], return_inverse=True)[1]
    fold = spread(combination, group, [1 / folds] * folds, seed)
    if len(np.unique(fold)) < folds:
        raise UserError(f"folds is {folds}, but the {len(free):,} images that are not held out are only {group.max(initial=-1) + 1:,} once "
                        "near-duplicates count as one. Set folds lower, or add images that differ.")  # fmt: skip
    part[free] = np.where(fold == number, "validation", "train")
    if "pseudo" in table:
        validating = table["group"].to_numpy()[part == "validation"]
        part[table["pseudo"].to_numpy() & np.isin(table["group"], validating)] = "left_out"
    return table.assign(part=part)


def judges(table, folds=1, seed=0):
    """The images that judge an ensemble of `folds` networks, with a column `member`: the network (from 0) that may answer, -1 for all.

    Held-out images where there are some, which none of the networks has seen. Where nothing is held out, every labelled image, answered
    by the one network that it validated (out-of-fold), so that small data lose none to judging. UserError where there is neither.

    Arguments:
        table: with part and group, as from `split`; folds, seed: as for `fold_parts` in the networks' training.
    """
    held_out = table[table["part"] == "held_out"]
    if len(held_out):
        return held_out.assign(member=-1)
    if folds < 2:
        raise UserError("Nothing is held out, so that nothing can judge. Set held_out above 0, or n_members to 2 or more.")
    member = np.full(len(table), -1)
    for number in range(folds):
        member[(fold_parts(table, folds, number, seed)["part"] == "validation").to_numpy()] = number
    return table.assign(member=member)[member >= 0]


def choosers(table, folds=1, seed=0):
    """The validation images of the first network, which choose thresholds, with a column `member` as `judges` gives it."""
    return fold_parts(table, folds, 0, seed).query("part == 'validation'").assign(member=0)


def with_pseudo_labels(table, path, data_dir, certainty=0.95, max_distance=MAX_DISTANCE):
    """The table with the test images of which an earlier run is certain, as further training images.

    Arguments:
        table: with part and group, as from `split`; path: pseudo_labels.csv of a finished run, absolute or from the project's
            folder, "" for none;
        certainty: least certainty of an image, 0..1: that of its least certain class;
        max_distance: 0..1, test images this close to a held-out or a validation image are left out, see `lib.duplicates`; one that is
            as close to a training image is of its group.

    Returns the table with a column pseudo (bool). The masks' thresholds were chosen on held-out images, the only thing that these
    images know of them. Raises UserError if the file is missing, if its images are not among the test images, or if the split.csv
    beside it does not hold the same images out: its networks would have learned from them.
    """
    if not path:
        return table
    path = paths.from_project(path, "pseudo_labels")
    try:
        found = pd.read_csv(path, dtype=str, keep_default_na=False)
        stated = pd.to_numeric(found["certainty"], errors="coerce")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}). Name the pseudo_labels.csv of a run whose 90_inference is done.") from None
    own_columns, other_data = ["image_id", "certainty", *dataset.rle_columns(table)], f"{path} belongs to other data than {data_dir}"
    if list(found.columns) != own_columns:
        raise UserError(f"{other_data}. Name the pseudo_labels.csv of a run on these data.")
    insist_on_labels(path, found, stated, dataset.describe(data_dir))
    found = found.assign(certainty=stated)[stated >= certainty]
    tests = dataset.load_test_table(data_dir).merge(found, on="image_id")
    if len(tests) < len(found):
        raise UserError(f"{other_data}. Name the pseudo_labels.csv of a run on these data.")
    held_out = table[table["part"] == "held_out"]
    beside = _saved(path.parent / "split.csv")
    if beside is None:
        raise UserError(f"No split.csv lies beside {path}. Name the file in its run's folder, where it says what that run held out.")
    if not held_out["image_id"].isin(beside["image_id"][beside["part"] == "held_out"]).all():
        raise UserError(f"The networks that made {path} learned from images that are held out now. Use a run with the same seed, sample, "
                        "split_method, duplicate_distance, held_out and validation.")  # fmt: skip
    alike = find_duplicates([*tests["path"], *table["path"]], max_distance)
    own, others = alike[: len(tests)], table.groupby(alike[len(tests) :])
    groups = others["group"].unique()[(others["part"].unique().map(list).map(set) == {"train"}) & (others["group"].nunique() == 1)]
    near = {number: int(found[0]) for number, found in groups.items()}  # of training images alone, and of one group of them
    tests = tests.assign(part="train", group=[near.get(number, table["group"].max() + 1 + number) for number in own])
    tests = tests[np.isin(own, list(near)) | ~np.isin(own, alike[len(tests) :])][[*table.columns]]
    return pd.concat([table.assign(pseudo=False), tests.assign(pseudo=True)], ignore_index=True)


def insist_on_labels(path, found, stated, about):
    """UserError that names file and row if a table of pseudo-labels, opened in a spreadsheet since, holds what is none; its run-lengths
    are brought to this project's form.

    Arguments:
        found: table of text; stated: its certainties as numbers; about: as from `dataset.describe`.
    """
    for column in dataset.rle_columns(found):
        found[column] = found[column].map(rle.tidy)
    wrong = {"the certainty is no number from 0 to 1": ~stated.between(0, 1), "its image has a row already": found["image_id"].duplicated()}
    for what, rows in wrong.items():
        if rows.any():
            raise UserError(f"{path}, row {int(rows.argmax()) + 2}: {what}. Take the file as 90_inference wrote it.")
    for column in dataset.rle_columns(found):
        for row, text in enumerate(found[column], 2):
            try:
                rle.check(text, (about["height"], about["width"]))
            except rle.RleError as error:
                raise UserError(f"{path}, row {row}: {error}") from None


def _random_parts(count, held_out, validation, seed):
    """Part numbers (N,) at random: two calls of train_test_split, first for the held-out images."""
    from sklearn.model_selection import train_test_split  # a second to import, needed here alone

    part, rest = np.zeros(count, int), np.arange(count)
    for number, share in ((2, held_out), (1, validation)):
        size = max(round(share * count), 1)
        if share > 0 and len(rest) > size:
            rest, taken = train_test_split(rest, test_size=size, random_state=seed)
            part[taken] = number
    return part


def spread(kind, group, shares, seed):
    """Deal groups into parts so that each part gets its share of every kind of image.

    Arguments:
        kind, group: int (N,); a group counts as its rarest kind's, alike kinds have neighbouring numbers.
        shares: of the parts, sum 1.

    Returns int (N,) part numbers. Each group goes to the part that lacks most; what a kind leaves over or short is carried
    to the next kind, so that rare kinds don't all land in the largest part.
    """
    shares, part = np.asarray(shares, float), np.zeros(len(kind), int)
    sizes, kind_of = np.bincount(group), np.full(group.max(initial=-1) + 1, -1)
    np.maximum.at(kind_of, group, kind)
    lacking, owner = np.zeros(len(shares)), np.zeros(len(sizes), int)
    random = np.random.default_rng(seed)
    for number in np.unique(kind_of)[::-1]:
        members = random.permutation(np.flatnonzero(kind_of == number))
        lacking += shares * sizes[members].sum()
        for member in members:
            owner[member] = np.argmax(np.where(shares > 0, lacking, -np.inf))
            lacking[owner[member]] -= sizes[member]
    for empty in np.flatnonzero((shares > 0) & (np.bincount(owner, minlength=len(shares)) == 0)):
        counts = np.bincount(owner, minlength=len(shares))
        if counts.max(initial=0) > 1:
            owner[np.flatnonzero(owner == counts.argmax())[0]] = empty
    part[:] = owner[group]
    return part


def load_split(run_dir, table, method="grouped", held_out=0.2, validation=0.15, seed=42, folds=0, max_distance=MAX_DISTANCE,
               trained=()):  # fmt: skip
    """The split that the run already has for these images and settings, from run_dir/split.csv; else made and written there.

    Arguments as for `split`, and
        trained: networks, names in run_dir/models or their folders, that must have been trained on this very split.

    The file's column `made_from` is a hash of the settings, the labels and the files' sizes. Raises UserError for a network that
    was trained on another split, or where a part would have no image.
    """
    if not (held_out >= 0 and validation > 0):
        raise UserError(f"held_out is {held_out} and validation {validation}. The first must be 0 or more (at 0 the folds judge), the "
                        "second above 0: these images tell how a training goes.")  # fmt: skip
    path = Path(run_dir) / "split.csv"
    settings = {"method": method, "held_out": held_out, "validation": validation, "seed": seed, "folds": folds,
                "max_distance": max_distance}  # fmt: skip
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for row in table[["image_id", "path", *dataset.rle_columns(table)]].itertuples(index=False):
        digest.update(repr((row[0], os.path.getsize(row[1]), *row[2:])).encode())
    made_from = digest.hexdigest()[:16]
    ensembles = [paths.member_folders(Path(run_dir) / "models" / name) for name in trained]
    for number, count, folder in [(n, len(members), folder) for members in ensembles for n, folder in enumerate(members)]:
        card = files.read_json(folder / "model.json")
        if isinstance(card, dict) and not held_out and card.get("fold") != [number, count]:
            raise UserError(f"Nothing is held out, and {folder} is not network {number + 1} of {count} that learned from the others' "
                            "validation images. Train all networks of the ensemble anew, with the same folds.")  # fmt: skip
        if isinstance(card, dict) and card.get("split", made_from) != made_from:
            raise UserError(f"{folder} was trained on another division of the images than these parameters and data give, so that images "
                            "which taught it would judge. Set seed, sample, split_method, duplicate_distance, held_out and validation "
                            "as in its training, or train it anew.")  # fmt: skip
    columns = ["part", "group", "fold"] if folds > 1 else ["part", "group"]
    saved = _saved(path)
    if saved is not None and (saved["made_from"] == made_from).all() and saved["image_id"].tolist() == table["image_id"].tolist():
        return table.assign(**{column: saved[column].to_numpy() for column in columns})
    made = split(table, **settings)
    if empty := [part for part in PARTS if part not in set(made["part"]) and (held_out or part != "held_out")]:
        raise UserError(f"The {len(made):,} training images are only {made['group'].nunique():,} once near-duplicates count as one, which "
                        f"leaves none for {IN_WORDS[empty[0]]}. Add images that differ, set all.duplicate_distance lower, or "
                        "all.split_method to random, which parts near-duplicates.")  # fmt: skip
    files.write_atomic(path, made[["image_id", *columns]].assign(made_from=made_from).to_csv(index=False, lineterminator="\n"))
    return made


def made_from(run_dir):
    """What names the split in run_dir/split.csv, for the cards of the networks that are trained on it; "" where there is none."""
    saved = _saved(Path(run_dir) / "split.csv")
    return "" if saved is None or not len(saved) else saved["made_from"].iloc[0]


def _saved(path):
    """The table that `load_split` wrote; None if the file is missing or anything else."""
    try:
        saved = pd.read_csv(path, dtype={"image_id": str, "made_from": str}, keep_default_na=False)
    except (OSError, ValueError):
        return None
    return saved if {"image_id", "part", "group", "made_from"} <= set(saved.columns) else None
