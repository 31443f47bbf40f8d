"""Which images train, validate and evaluate: near-duplicates stay on one side; the members of ensembles."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import files, paths
from lib.data import chosen, coils, dataset
from lib.data.dealing import random_parts, spread
from lib.data.duplicates import MAX_DISTANCE, find_duplicates
from lib.errors import UserError

PARTS = ("train", "validation", "held_out")
IN_WORDS = {
    "train": "the training part",
    "validation": "the validation part",
    "held_out": "the held-out part",
}
DUPLICATE = "duplicate"  # column of near-duplicates alone, where groups are of coils
RENAMED = {"made_from": "split_hash"}  # columns of split.csv in runs before version 2


def split(
    table: pd.DataFrame,
    method: str = "grouped",
    held_out: float = 0.2,
    validation: float = 0.15,
    seed: int = 42,
    folds: int = 0,
    max_distance: float = MAX_DISTANCE,
) -> pd.DataFrame:
    """Divide the images into training, validation and held-out ones.

    Arguments:
        method: "grouped": near-duplicates and the strips of one coil stay together, label combinations are spread
            evenly.
            "random": plain random parts by scikit-learn's train_test_split, as in the article;
                they may land on both sides.
        held_out, validation: shares of all images.
        folds: above 1, the column `fold` divides all images into that many folds, grouped and spread in the
            same way.
        max_distance: 0..1, closer images are near-duplicates, see `duplicates.find_duplicates`.

    Images that were chosen for labelling (a column `chosen`) and their near-duplicates train; shares are of the
    others.

    Returns a copy of the table with part ("train", "validation", "held_out"), group (int), fold (0..folds-1) if
    asked for, and duplicate (int), the group of near-duplicates alone, where coils are named. With three groups or
    more no part whose share is above 0 is empty. Raises UserError for shares or methods that make no sense.
    """
    if held_out < 0 or validation < 0 or held_out + validation >= 1:
        raise UserError(
            f"held_out is {held_out} and validation {validation}. Both are shares, 0 or more, below 1 together."
        )
    if method not in ("grouped", "random"):
        raise UserError(f"There is no split method {method!r}. Use 'grouped' or 'random'.")
    duplicate = find_duplicates(table["path"], max_distance)
    group = coils.joined(duplicate, table)
    combination = dataset.combinations(dataset.labels(table))
    free = ~chosen.of_groups(table, group)
    part = np.zeros(len(table), int)
    if method == "grouped":
        dealt = np.unique(group[free], return_inverse=True)[1]
        part[free] = spread(combination[free], dealt, [1 - held_out - validation, validation, held_out], seed)
    else:
        part[free] = random_parts(int(free.sum()), held_out, validation, seed)
    table = table.assign(part=np.array(PARTS, dtype=object)[part], group=group)
    if coils.COLUMN in table:
        table[DUPLICATE] = duplicate
    if folds > 1:
        table["fold"] = spread(combination, group, [1 / folds] * folds, seed)
    return table


def duplicate_groups(table: pd.DataFrame) -> np.ndarray:
    """The groups of near-duplicates alone, int (N,), of a table from `split`: coils apart."""
    return table[DUPLICATE if DUPLICATE in table else "group"].to_numpy()


def validated_member(table: pd.DataFrame, n_members: int, seed: int) -> np.ndarray:
    """The member (from 0) of an ensemble that each image validates, int (N,); -1 where it is held out,
    pseudo-labelled or chosen for labelling.

    Arguments:
        table: with part and group, as from `split`, and pseudo where it comes from `pseudo_labels`.

    UserError where a member would have nothing to learn from, or nothing that validates it.
    """
    trains = chosen.of_groups(table, table["group"].to_numpy())
    free = np.flatnonzero((table["part"] != "held_out") & ~trains)
    if "pseudo" in table:
        free = free[~table["pseudo"].to_numpy()[free]]
    combination = dataset.combinations(dataset.labels(table))[free]
    group = np.unique(table["group"].to_numpy()[free], return_inverse=True)[1]
    fold = spread(combination, group, [1 / n_members] * n_members, seed)
    if len(np.unique(fold)) < n_members:
        raise UserError(
            f"n_members is {n_members}, but the {len(free):,} images that are not held out are only "
            f"{group.max(initial=-1) + 1:,} once {coils.alike(table)} count as one. Set n_members lower, or add images that differ."
        )
    member = np.full(len(table), -1)
    member[free] = fold
    return member


def parts_of_member(table: pd.DataFrame, validated: np.ndarray, member: int) -> np.ndarray:
    """The part of each image for one member of an ensemble, (N,) of str; `validated`: as from
    `validated_member`.

    Held-out images stay held out; pseudo-labelled ones train every member but those that a near-duplicate of
    theirs validates, where they are "left_out".
    """
    part = table["part"].to_numpy(dtype=object).copy()
    free = validated >= 0
    part[free] = np.where(validated[free] == member, "validation", "train")
    if "pseudo" in table:
        validating = table["group"].to_numpy()[part == "validation"]
        part[table["pseudo"].to_numpy() & np.isin(table["group"], validating)] = "left_out"
    return part


def fold_parts(table: pd.DataFrame, n_members: int, member: int, seed: int) -> pd.DataFrame:
    """The split for one member (from 0) of an ensemble: another part of the images validates each, see
    `parts_of_member`.

    Returns the table with another column part; groups stay together. One member: the table as it is.
    UserError as of `validated_member`.
    """
    if n_members <= 1:
        return table
    return table.assign(part=parts_of_member(table, validated_member(table, n_members, seed), member))


def evaluation_images(table: pd.DataFrame, n_members: int = 1, seed: int = 0) -> pd.DataFrame:
    """The images that evaluate an ensemble, with a column `member`: the network (from 0) that may answer, -1
    for all.

    Held-out images where there are some, which none of the networks has seen. Where nothing is held out,
    every labelled image, answered by the one network that it validated (out-of-fold), so that small data lose
    none to evaluation. UserError where there is neither.

    Arguments:
        table: with part and group, as from `split`; n_members, seed: as for `fold_parts` in the networks'
            training.
    """
    held_out = table[table["part"] == "held_out"]
    if len(held_out):
        return held_out.assign(member=-1)
    if n_members < 2:
        raise UserError(
            "Nothing is held out, so that nothing can evaluate. Set held_out above 0, or n_members to 2 or more."
        )
    member = validated_member(table, n_members, seed)
    return table.assign(member=member)[member >= 0]


def validation_images(table: pd.DataFrame, n_members: int = 1, seed: int = 0) -> pd.DataFrame:
    """The validation images of the first network, for thresholds, with a column `member` as of
    `evaluation_images`."""
    return fold_parts(table, n_members, 0, seed).query("part == 'validation'").assign(member=0)


def load_split(
    run_dir: str | Path,
    table: pd.DataFrame,
    method: str = "grouped",
    held_out: float = 0.2,
    validation: float = 0.15,
    seed: int = 42,
    folds: int = 0,
    max_distance: float = MAX_DISTANCE,
    trained: Iterable[str | Path] = (),
) -> pd.DataFrame:
    """The split that the run already has for these images and settings, from run_dir/split.csv; else made and
    written there.

    Arguments as for `split`, and
        trained: networks, names in run_dir/models or their folders, that must have been trained on this very
            split.

    The file's column split_hash is a hash of the settings, the labels and the files' sizes. Raises UserError
    for a network that was trained on another split, or where a part would have no image.
    """
    if not (held_out >= 0 and validation > 0):
        raise UserError(
            f"held_out is {held_out} and validation {validation}. The first must be 0 or more (at 0 each member of an ensemble "
            "evaluates what it validated), the second above 0: these images tell how a training goes."
        )
    settings: dict[str, Any] = {
        "method": method,
        "held_out": held_out,
        "validation": validation,
        "seed": seed,
    }
    settings |= {"folds": folds, "max_distance": max_distance}
    digest = hash_split(table, settings)
    for name in trained:
        insist_on_split(paths.member_folders(Path(run_dir) / "models" / name), digest, held_out)
    path = Path(run_dir) / "split.csv"
    columns = [
        "part",
        "group",
        *(["fold"] if folds > 1 else []),
        *([DUPLICATE] if coils.COLUMN in table else []),
    ]
    saved = read_split(path)
    if (
        saved is not None
        and (saved["split_hash"] == digest).all()
        and saved["image_id"].tolist() == table["image_id"].tolist()
    ):
        return table.assign(**{column: saved[column].to_numpy() for column in columns})
    divided = split(table, **settings)
    insist_on_parts(divided, held_out)
    marked = [chosen.COLUMN] if chosen.COLUMN in divided else []
    rows = divided[["image_id", *columns, *marked]].assign(split_hash=digest)
    files.write_atomic(path, rows.to_csv(index=False, lineterminator="\n"))
    return divided


REMEDY = "Add images that differ, set all.duplicate_distance lower, or all.split_method to random, which parts near-duplicates."
REMEDY_OF_COILS = (
    f"Add images of other coils, or take {coils.FILE} away, with which the strips of a coil stay together."
)


def insist_on_parts(table: pd.DataFrame, held_out: float) -> None:
    """UserError where a part of a divided table has no image."""
    empty = [part for part in PARTS if part not in set(table["part"]) and (held_out or part != "held_out")]
    if empty and (alone := chosen.remark(table)):
        raise UserError(
            f"{alone}. None of the others is left for {IN_WORDS[empty[0]]}: add images that were drawn "
            "at random."
        )
    if empty:
        raise UserError(
            f"The {len(table):,} training images are only {table['group'].nunique():,} once {coils.alike(table)} count as one, "
            f"which leaves none for {IN_WORDS[empty[0]]}. {REMEDY_OF_COILS if coils.COLUMN in table else REMEDY}"
        )


def hash_split(table: pd.DataFrame, settings: dict) -> str:
    """What names a split, 16 hexadecimal digits: a hash of its settings, the labels and the files' sizes."""
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    if chosen.COLUMN in table:
        digest.update(repr(table["image_id"][table[chosen.COLUMN]].tolist()).encode())
    if coils.COLUMN in table:
        digest.update(repr(table[coils.COLUMN].tolist()).encode())
    for row in table[["image_id", "path", *dataset.rle_columns(table)]].itertuples(index=False):
        size = os.path.getsize(row[1]) if os.path.isfile(row[1]) else -1  # it is lost, which others say
        digest.update(repr((row[0], size, *row[2:])).encode())
    return digest.hexdigest()[:16]


def insist_on_split(members: Sequence[Path], digest: str, held_out: float) -> None:
    """UserError if a network of an ensemble, by its card, was trained on another split than the one with this
    hash."""
    for member, folder in enumerate(members):
        card = files.read_json(folder / "model.json")
        if not isinstance(card, dict):
            continue
        if not held_out and card.get("fold") != [member, len(members)]:
            raise UserError(
                f"Nothing is held out, and {folder} is not network {member + 1} of {len(members)} that learned from the others' "
                "validation images. Train all networks of the ensemble anew, with the same n_members."
            )
        if card.get("split", digest) != digest:
            raise UserError(
                f"{folder} was trained on another division of the images than these parameters and data give, so that images "
                "which trained it would evaluate it. Set seed, max_images, split_method, duplicate_distance, held_out and "
                "validation as in its training, or train it anew."
            )


def split_hash(run_dir: str | Path) -> str:
    """What names the split in run_dir/split.csv, for the cards of the networks that are trained on it; ""
    where there is none."""
    saved = read_split(Path(run_dir) / "split.csv")
    return "" if saved is None or not len(saved) else saved["split_hash"].iloc[0]


def read_split(path: Path) -> pd.DataFrame | None:
    """The table that `load_split` wrote; None if the file is missing or anything else."""
    text = dict.fromkeys(["image_id", "split_hash", *RENAMED], str)
    try:
        saved = pd.read_csv(path, dtype=text, keep_default_na=False).rename(columns=RENAMED)
    except (OSError, ValueError):
        return None
    return saved if {"image_id", "part", "group", "split_hash"} <= set(saved.columns) else None
