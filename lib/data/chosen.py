"""Images that were chosen for labelling, as `--review` of `lib.predict` does: they train, and they validate and
evaluate nothing, because they are no fair sample of what comes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data.labels.fields import csv_columns
from lib.data.labels.record import ImageNames
from lib.errors import UserError

FILE = "chosen.csv"  # in a data folder
COLUMN = "chosen"  # of the table of images, where there is such a file
HEADERS = ("image_id", "image", "imageid")  # of the column with the names, here and in review.csv


def read(path: Path) -> list[str]:
    """The names of images in a CSV file with a column of HEADERS. UserError where it has none."""
    rows = csv_columns(path, HEADERS)
    if rows is None:
        raise UserError(f"{path} has no column image. Name the review.csv of a prediction.")
    return [image for _, (image,) in rows if image]


def match(path: Path, names: Sequence[str]) -> list[str]:
    """Those of some images that a file names, sorted. UserError where there are none."""
    files = ImageNames(names, str(path))
    listed = sorted({file for name in read(path) if (file := files.find(name))})
    if not listed:
        raise UserError(
            f"{path} names none of the training images. Name the review.csv from which they were labelled."
        )
    return listed


def mark(table: pd.DataFrame, data_dir: Path) -> pd.DataFrame:
    """A table of images with the column `chosen` (bool), where the data folder says which were; else as it is."""
    path = data_dir / FILE
    return table.assign(**{COLUMN: table["image_id"].isin(read(path))}) if path.is_file() else table


def of_groups(table: pd.DataFrame, group: np.ndarray) -> np.ndarray:
    """Which images train alone, (N,) bool: those chosen, and their near-duplicates; `group`: (N,)."""
    if COLUMN not in table:
        return np.zeros(len(table), bool)
    return np.isin(group, group[table[COLUMN].eq(True).to_numpy()])


def remark(table: pd.DataFrame) -> str:
    """A sentence on the images that train alone, "" where there are none; `table`: with group."""
    count = int(of_groups(table, table["group"].to_numpy()).sum())
    if not count:
        return ""
    return (
        f"{count:,} of {len(table):,} images were chosen for labelling, or are copies of such: they train, and validate and "
        "evaluate nothing, as images that were chosen for being hard are no fair sample of what comes"
    )
