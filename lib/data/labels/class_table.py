"""Which class a mask's colours, or its numbers, stand for: a table that a user writes."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lib.data.labels.fields import file_text
from lib.errors import UserError

NO_CLASS = ("background", "_background_")
LABELMAP = re.compile(r"([^:#][^:]*):([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}):[^:]*:[^:]*")  # a line of CVAT's


@dataclass
class ClassTable:
    """The rows of a table.

    codes: {class name: number, or the colour 256 * (256 * red + green) + blue}; no_class: those of the
    background, besides 0 and black; in_colours: which of both.
    """

    path: Path
    in_colours: bool
    codes: dict[str, int] = field(default_factory=dict)
    no_class: set[int] = field(default_factory=set)

    def shown(self, code: int) -> str:
        """A code as the table has it."""
        return f"#{code:06x}" if self.in_colours else str(code)

    def masks(self, values: np.ndarray, path: Path) -> dict[int, np.ndarray]:
        """{defect class: mask (H, W) uint8 0/1} of a mask's values (H, W). UserError for one that is not in
        the table."""
        present = set(np.unique(values).tolist())
        unknown = sorted(present - {0} - set(self.codes.values()) - self.no_class)
        if unknown:
            what = "colour" if self.in_colours else "value"
            raise UserError(
                f"The mask {path} has the {what} {self.shown(unknown[0])}, which {self.path.name} does not name. Add it, as "
                "background if it is no class."
            )
        coded = enumerate(self.codes.values(), 1)
        return {index: (values == code).astype(np.uint8) for index, code in coded if code in present}


def code_of(text: str) -> int | None:
    """The number of a cell such as 128 or #ff8000, None where it is neither."""
    text = text.strip()
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return int(text[1:], 16)
    return int(text) if re.fullmatch(r"[0-9]{1,5}", text) and int(text) < 65536 else None


def as_csv(lines: Sequence[str]) -> list[str]:
    """The lines of a table; those of a labelmap.txt of CVAT, "rust:250,50,83::", as it would have them."""
    if not any(LABELMAP.fullmatch(line) for line in lines):
        return list(lines)
    colours = [
        LABELMAP.sub(lambda m: f"{m[1]},#{int(m[2]):02x}{int(m[3]):02x}{int(m[4]):02x}", line)
        for line in lines
    ]
    return ["" if line.startswith("#") else line for line in colours]


def read(path: Path) -> ClassTable:
    """A CSV file of name and colour (#rrggbb), or name and number, a class a line, or CVAT's labelmap.txt; background is
    no class. UserError where a line is neither, or where a name or a code is there twice."""
    try:
        lines = list(csv.reader(as_csv(file_text(path).splitlines())))
    except csv.Error as error:
        raise UserError(f"{path} is no CSV file ({error}). Write name,#rrggbb on each line.") from None
    rows = [(row, [cell.strip() for cell in cells]) for row, cells in enumerate(lines, 1) if any(cells)]
    if rows and len(rows[0][1]) == 2 and rows[0][1][1].lower() in ("colour", "color", "number", "value"):
        rows = rows[1:]
    if not rows:
        raise UserError(f"{path} has no classes. Write name,#rrggbb on each line.")
    table = ClassTable(path, in_colours=rows[0][1][-1].startswith("#"))
    for row, cells in rows:
        code = code_of(cells[-1])
        if len(cells) != 2 or not cells[0] or code is None or cells[1].startswith("#") != table.in_colours:
            raise UserError(
                f"{path}: line {row} is {','.join(cells)[:80]!r}. Write name,#rrggbb on each line, or name,number on each."
            )
        name = cells[0]
        if name in table.codes or code in table.codes.values() or code in table.no_class:
            raise UserError(f"{path}: line {row} has a name or a value that is there twice. Take one out.")
        if name.lower() in NO_CLASS:
            table.no_class.add(code)
        else:
            table.codes[name] = code
    if not table.codes:
        raise UserError(f"{path} has no classes but the background. Write name,#rrggbb on each line.")
    return table
