"""Which strips are of one coil, where the data say so: neighbours in steel look alike, so they stay on one side of
every division, and count together in every interval."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data.chosen import HEADERS
from lib.data.grouping import joined_groups
from lib.data.labels.fields import csv_columns
from lib.data.labels.record import ImageNames
from lib.errors import UserError

FILE = "coils.csv"  # in a data folder
COLUMN = "coil"  # of the file, and of the table of images where there is one


def read(path: Path) -> list[tuple[str, str]]:
    """(image, coil) of each row of a CSV file with the columns image_id or image, and coil. UserError where it has
    none, or an image without its coil."""
    rows = csv_columns(path, HEADERS, (COLUMN,))
    if rows is None:
        raise UserError(f"{path} needs two columns, image and coil. Write them into its first line.")
    for line, cells in rows:
        if not all(cells):
            raise UserError(f"{path}, line {line}: an image and its coil belong there. Fill in both.")
    return [(image, coil) for _, (image, coil) in rows]


def match(path: Path, names: Sequence[str]) -> tuple[list[tuple[str, str]], str]:
    """(image, coil) of those of some images that a file names, sorted; and a sentence on the names in it that are of no
    image, "" where there is none. UserError where an image is in two coils."""
    files = ImageNames(names, str(path))
    coil_of: dict[str, str] = {}
    unknown = set()
    for name, coil in read(path):
        image = files.find(name)
        if not image:
            unknown.add(name)
        elif coil_of.setdefault(image, coil) != coil:
            raise UserError(f"{path}: {image} is in the coils {coil_of[image]} and {coil}. Name it once.")
    named = f"{len(unknown):,} names in it are" if len(unknown) > 1 else "1 name in it is"
    remark = f"{named} of no image, such as {min(unknown)[:80]}" if unknown else ""
    return sorted(coil_of.items()), remark


def match_some(path: Path, names: Sequence[str]) -> tuple[list[tuple[str, str]], str]:
    """As `match`. UserError, too, where the file names none of the images."""
    pairs, remark = match(path, names)
    if not pairs:
        raise UserError(f"{path} names none of the training images. Name them as their files are called.")
    return pairs, remark


def describe(pairs: Sequence[tuple[str, str]], unknown: str) -> str:
    """What `match` gives, in words."""
    count = len({coil for _, coil in pairs})
    return f"{len(pairs):,} images are of {count:,} coils.{unknown and f' {unknown}.'}"


def mark(table: pd.DataFrame, data_dir: Path) -> pd.DataFrame:
    """A table of images with the column `coil` (str, "" where none is named), where the data folder says which; else as
    it is."""
    path = data_dir / FILE
    if not path.is_file():
        return table
    coil_of = dict(match_some(path, table["image_id"].to_list())[0])
    return table.assign(**{COLUMN: [coil_of.get(image, "") for image in table["image_id"]]})


def joined(group: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Groups (N,) of near-duplicates with the strips of each coil together, too; `group`: (N,)."""
    if COLUMN not in table:
        return group
    own = [coil or index for index, coil in enumerate(table[COLUMN])]  # without a coil, each by itself
    return joined_groups([group, pd.factorize(np.array(own, dtype=object))[0]])


def alike(table: pd.DataFrame) -> str:
    """What stays together, in words."""
    return "near-duplicates and strips of one coil" if COLUMN in table else "near-duplicates"


def remark(table: pd.DataFrame) -> str:
    """A sentence on the coils, "" where none is named."""
    if COLUMN not in table or not (table[COLUMN] != "").any():
        return ""
    named = table[COLUMN][table[COLUMN] != ""]
    return (
        f"{len(named):,} of {len(table):,} images are of {named.nunique():,} coils: those of one coil stay on one side, and "
        "intervals allow for their likeness"
    )
