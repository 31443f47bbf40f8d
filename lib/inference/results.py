"""What was predicted for one image, as it is kept until all are done: pieces that are large enough, masks,
probabilities; or why there is nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lib.data import rle
from lib.errors import UserError
from lib.files import json_float
from lib.inference.inspector import FoundDefects

WHOLE = ("left", "top", "width", "height", "area")  # measures of a piece, in pixels
MEASURES = (*WHOLE, "length", "breadth")
CONFIDENCE = ("mean_probability", "max_probability")


PART = 8192  # columns of an image whose masks are decoded at a time, so that memory does not grow with its length


@dataclass(frozen=True)
class Severity:
    """From what size on a piece counts as a defect, and what a pixel measures.

    smallest_area, shortest_length: one value a class, 0 for any, in pixels, or in mm2 and mm where `pixel_mm`
    is above 0: millimetres of a pixel's side.
    """

    smallest_area: tuple[float, ...]
    shortest_length: tuple[float, ...]
    pixel_mm: float = 0.0

    def counts(self, piece: Mapping[str, Any]) -> bool:
        """Whether a piece, a row of `FoundDefects.defects`, is large enough."""
        index, side = int(piece["class"]) - 1, self.pixel_mm or 1.0
        area, length = piece["area"] * side**2, piece["length"] * side
        return area >= self.smallest_area[index] and length >= self.shortest_length[index]


@dataclass
class ImageResult:
    """What was predicted for one image.

    name: as `listing.find_images` has it; problem: why it could not be read, a sentence, or ""; shape: (H, W)
    pixels, () if unread; defect_probability, class_probability: 0..1, None where not asked; rles: one a class;
    pieces: rows of `FoundDefects.defects`; remarks: sentences; highest: see `depth.Reading`;
    disagreement: see `FoundDefects`, None where there is none.
    """

    name: str
    problem: str = ""
    shape: tuple[int, ...] = ()
    defect_probability: float | None = None
    class_probability: list[float | None] = field(default_factory=list)
    rles: list[str] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    highest: int = 0
    disagreement: float | None = None

    @property
    def has_mask(self) -> bool:
        """Whether any defect was found on it."""
        return any(self.rles)

    @classmethod
    def of_json(cls, row: dict[str, Any]) -> "ImageResult":
        """What `asdict` made, read back from JSON."""
        return cls(**row | {"shape": tuple(row["shape"])})


def of_found(
    name: str, result: FoundDefects, severity: Severity, remarks: Sequence[str], highest: int
) -> ImageResult:
    """The result of an image from an inspector's `FoundDefects`, without the pieces that are too small to count."""
    shape = tuple(result.image.shape[:2])
    pieces, rles = pieces_of(result), list(result.rles)
    counting = [piece for piece in pieces if severity.counts(piece)]
    if len(counting) < len(pieces):
        rles = [
            rle.union(piece["rle"] for piece in counting if piece["class"] == defect_class)
            for defect_class in range(1, len(rles) + 1)
        ]
    return ImageResult(
        name,
        "",
        shape,
        json_float(result.defect_probability),
        [json_float(value) for value in np.asarray(result.class_probability, float)],
        rles,
        counting,
        list(remarks),
        highest,
        json_float(result.disagreement),
    )


def pieces_of(result: FoundDefects) -> list[dict[str, Any]]:
    """The rows of `FoundDefects.defects` as dictionaries of plain numbers."""
    pieces = []
    for row in result.defects.to_dict("records"):
        piece: dict[str, Any] = {"class": int(row["class"])}
        piece |= {name: int(row[name]) for name in WHOLE}
        piece |= {name: float(row[name]) for name in ("length", "breadth", *CONFIDENCE)}
        pieces.append(piece | {"rle": row["rle"]})
    return pieces


def index_mask(result: ImageResult) -> np.ndarray:
    """The masks of an image as one, (H, W) uint8: 0 for none, else the class.

    Where classes overlap, the class with fewer pixels on this image lies on top, so that nothing small is
    hidden; of equal ones the lower number.
    """
    height, width = result.shape
    mask = np.zeros((height, width), np.uint8)
    order = sorted(range(len(result.rles)), key=lambda index: (rle.area(result.rles[index]), index))
    for class_index in reversed(order):
        for first in range(0, width, PART) if result.rles[class_index] else ():
            part = mask[:, first : first + PART]
            columns = part.shape[1]
            text = rle.columns(result.rles[class_index], height, first, first + columns)
            part[rle.decode(text, (height, columns)) > 0] = class_index + 1
    return mask


def per_class(text: str, classes: Sequence[str], what: str) -> tuple[float, ...]:
    """One number a class from a text: one for all, or as many as there are classes, with commas between them.

    Raises UserError that names the option `what`.
    """
    try:
        values = [float(part) for part in text.split(",")] if text.strip() else [0.0]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= len(classes)
    if len(values) != len(classes) or not all(math.isfinite(value) and value >= 0 for value in values):
        raise UserError(
            f"{what} {text[:60]}: give one number from 0 up for all, or {len(classes)} with commas between them, one a class."
        )
    return tuple(values)
