"""Test images of which an earlier run is certain, as further training images."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import paths
from lib.data import chosen, coils, dataset, rle, splitting
from lib.data.duplicates import MAX_DISTANCE, find_duplicates
from lib.errors import UserError

OTHER_DATA = (
    "{path} belongs to other data than {data_dir}. Name the pseudo_labels.csv of a run on these data."
)


def with_pseudo_labels(
    table: pd.DataFrame,
    path: str | Path,
    data_dir: str | Path,
    certainty: float = 0.95,
    max_distance: float = MAX_DISTANCE,
) -> pd.DataFrame:
    """The table with the test images of which an earlier run is certain, as further training images.

    Arguments:
        table: with part and group, as from `splitting.split`; path: pseudo_labels.csv of a finished run,
            absolute or from the project's folder, "" for none;
        certainty: least certainty of an image, 0..1: that of its least certain class;
        max_distance: 0..1, test images this close to a held-out or a validation image are left out, see
            `duplicates.find_duplicates`; one that is as close to a training image is of its group.

    Returns the table with a column pseudo (bool). The masks' thresholds were chosen on held-out images, the
    only thing that these images know of them. Raises UserError if the file is missing, if its images are not
    among the test images, or if the split.csv beside it does not hold the same images out: its networks would
    have learned from them.
    """
    if not path:
        return table
    file = paths.from_project(path, "pseudo_labels")
    tests = certain_images(file, table, data_dir, certainty)
    held_out = table["image_id"][table["part"] == "held_out"]
    beside = splitting.read_split(file.parent / "split.csv")
    if beside is None:
        raise UserError(
            f"No split.csv lies beside {file}. Name the file in its run's folder, where it says what that run held out."
        )
    if not held_out.isin(beside["image_id"][beside["part"] == "held_out"]).all():
        raise UserError(
            f"The networks that made {file} learned from images that are held out now. Use a run with the same seed, "
            "max_images, split_method, duplicate_distance, held_out and validation."
        )
    alike = find_duplicates([*tests["path"], *table["path"]], max_distance)
    own, others = alike[: len(tests)], table.groupby(alike[len(tests) :])
    of_training = (others["part"].unique().map(list).map(set) == {"train"}) & (others["group"].nunique() == 1)
    near: dict[Any, int] = {
        label: int(groups[0]) for label, groups in others["group"].unique()[of_training].items()
    }
    tests = tests.assign(
        part="train", group=[near.get(label, table["group"].max() + 1 + label) for label in own]
    )
    of_training_alone: dict[str, Any] = {
        chosen.COLUMN: False,
        coils.COLUMN: "",
        splitting.DUPLICATE: tests["group"],
    }
    tests = tests.assign(**{name: value for name, value in of_training_alone.items() if name in table})
    tests = tests[np.isin(own, list(near)) | ~np.isin(own, alike[len(tests) :])][[*table.columns]]
    return pd.concat([table.assign(pseudo=False), tests.assign(pseudo=True)], ignore_index=True)


def certain_images(path: Path, table: pd.DataFrame, data_dir: str | Path, certainty: float) -> pd.DataFrame:
    """The test images of a pseudo_labels.csv with at least this certainty: image_id, path, certainty and
    rle_1..rle_C.

    UserError if it cannot be read or belongs to other data than `table`.
    """
    try:
        labels = pd.read_csv(path, dtype=str, keep_default_na=False)
        stated = pd.to_numeric(labels["certainty"], errors="coerce")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}). Name the pseudo_labels.csv of a run whose 90_inference is done."
        ) from None
    if list(labels.columns) != ["image_id", "certainty", *dataset.rle_columns(table)]:
        raise UserError(OTHER_DATA.format(path=path, data_dir=data_dir))
    insist_on_labels(path, labels, stated, dataset.describe(data_dir))
    labels = labels.assign(certainty=stated)[stated >= certainty]
    tests = dataset.load_test_table(data_dir).merge(labels, on="image_id")
    if len(tests) < len(labels):
        raise UserError(OTHER_DATA.format(path=path, data_dir=data_dir))
    return tests


def insist_on_labels(path: Path, labels: pd.DataFrame, stated: pd.Series, about: dict) -> None:
    """UserError that names file and row if a table of pseudo-labels, opened in a spreadsheet since, holds
    what is none.

    Its run-lengths are brought to this project's form, in place.

    Arguments:
        labels: table of text; stated: its certainties as numbers; about: as from `dataset.describe`.
    """
    for column in dataset.rle_columns(labels):
        labels[column] = labels[column].map(rle.tidy)
    for what, wrong in (
        ("the certainty is no number from 0 to 1", ~stated.between(0, 1)),
        ("its image has a row already", labels["image_id"].duplicated()),
    ):
        if wrong.any():
            raise UserError(
                f"{path}, row {int(wrong.argmax()) + 2}: {what}. Take the file as 90_inference wrote it."
            )
    for column in dataset.rle_columns(labels):
        for row, text in enumerate(labels[column], 2):
            try:
                rle.check(text, (about["height"], about["width"]))
            except rle.RleError as error:
                raise UserError(f"{path}, row {row}: {error}") from None
