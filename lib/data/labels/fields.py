"""The parts of a labelling tool's file, each held to its type: what is missing or of another kind is a
sentence."""

import base64
import binascii
import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data.decoding import MOST_PIXELS
from lib.errors import UserError, shorten

FARTHEST = 1e7  # pixels; no coordinate lies beyond
MISSING = object()


def wrong(where: str, what: str, value: Any, wanted: str) -> UserError:
    """The error of a value that is not what it should be."""
    has = "missing" if value is MISSING else shorten(repr(value)[:400], 80)
    return UserError(f"{where}: {what} is {has}. It must be {wanted}.")


def record(content: Any, where: str, what: str = "this") -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(content, dict):
        raise wrong(where, what, content, "an object with names and values")
    return content


def entries(content: dict, name: str, where: str, optional: bool = False) -> list:
    """A list in an object; [] where an optional one is missing or null."""
    value = content.get(name, MISSING)
    if optional and (value is MISSING or value is None):
        return []
    if not isinstance(value, list):
        raise wrong(where, name, value, "a list")
    return value


def text(content: dict, name: str, where: str) -> str:
    """A text in an object, not empty."""
    value = content.get(name, MISSING)
    if not isinstance(value, str) or not value.strip():
        raise wrong(where, name, value, "a text")
    return value.strip()


def identity(content: dict, name: str, where: str) -> int | str:
    """An id in an object: a whole number or a text."""
    value = content.get(name, MISSING)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise wrong(where, name, value, "a whole number or a text")
    return value


def decimal(value: Any, what: str, where: str, low: float = -FARTHEST, high: float = FARTHEST) -> float:
    """A number from `low` to `high`; texts that hold one, as XML has them, will do."""
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not low <= result <= high:
        raise wrong(where, what, value, f"a number from {low:g} to {high:g}")
    return result


def whole(value: Any, what: str, where: str, low: int = 0, high: int = 2**40) -> int:
    """A whole number from `low` to `high`, also as 3.0 or as a text."""
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not low <= result <= high or result != int(result):
        raise wrong(where, what, value, f"a whole number from {low} to {high}")
    return int(result)


def shape(height: Any, width: Any, where: str) -> tuple[int, int]:
    """(H, W) of an image."""
    size = whole(height, "height", where, 1, 2**20), whole(width, "width", where, 1, 2**20)
    if size[0] * size[1] > MOST_PIXELS:
        raise UserError(f"{where}: {size[0]} x {size[1]} pixels are more than {MOST_PIXELS:,}.")
    return size


def points(values: Any, where: str, least: int = 3) -> np.ndarray:
    """Corners (n, 2) float64, x and y, from [[x, y], ...] or [x, y, x, y, ...], at least so many."""
    pairs = np.empty(0)
    try:
        if isinstance(values, list):
            pairs = np.array(values, dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        pass
    if len(pairs) < least or not (np.abs(pairs) <= FARTHEST).all():
        raise wrong(where, "a list of points", values, f"pairs of numbers, {least} or more")
    return pairs


def picture(text: str, what: str, where: str, flag: int) -> np.ndarray:
    """The pixels of a PNG in base64, as OpenCV decodes it with a flag."""
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
        pixels = cv2.imdecode(data, flag) if len(data) else None
    except (binascii.Error, ValueError, cv2.error):
        pixels = None
    if pixels is None:
        raise wrong(where, what, text, "a PNG in base64")
    return pixels


def file_text(path: Path) -> str:
    """A file's text; UserError where it is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from None


def csv_columns(path: Path, *wanted: Sequence[str]) -> list[tuple[int, list[str]]] | None:
    """(line, cells) of each row of a CSV file that is not empty, where the cells, as many as are wanted, are those of
    the columns called so, bare of spaces around them; None where the first line does not name them all. Commas,
    semicolons or tabs part the columns, whose names count without capitals.

    Arguments:
        wanted: for each column what it may be called, such as ("image_id", "image"). UserError where the file is none.
    """
    lines = file_text(path).splitlines()
    first = next((index for index, line in enumerate(lines) if line.strip(",; \t")), len(lines))
    head = "".join(lines[first : first + 1])
    delimiter = next((one for one in ",;\t" if one in head), ",")
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines[first:], delimiter=delimiter)]
    except csv.Error as error:
        raise UserError(f"{path} is no CSV file ({error}). Save it as CSV.") from None
    names = [name.lower() for name in rows[0]] if rows else []
    columns = [next((names.index(name) for name in called if name in names), -1) for called in wanted]
    if min(columns) < 0:
        return None
    return [
        (line_index, [row[column] if column < len(row) else "" for column in columns])
        for line_index, row in enumerate(rows[1:], first + 2)
        if any(row)
    ]
