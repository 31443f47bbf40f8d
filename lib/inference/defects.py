"""The pieces of an image's masks as a table of defects."""

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd

from lib.inference import pieces

COLUMNS = {
    "class": "int64",
    "name": "object",
    "area": "int64",
    "left": "int64",
    "top": "int64",
    "width": "int64",
    "height": "int64",
    "length": "float64",
    "breadth": "float64",
    "mean_probability": "float64",
    "max_probability": "float64",
    "rle": "object",
}


def table(rows: list[tuple]) -> pd.DataFrame:
    """Rows of `of_class` as a table; its columns have the same types without rows.

    class: from 1; name: its title; area: pixels; left, top, width, height: pixels of the box, from 0;
    length, breadth: pixels, of the smallest rectangle, turned as need be, that covers all pixels in full;
    mean_probability, max_probability: 0..1, of its pixels; rle: their run-lengths in the image.
    """
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def of_class(
    runs: np.ndarray,
    labels: np.ndarray,
    mean_probability: Sequence[float],
    class_index: int,
    name: str,
    height: int,
) -> list[tuple]:
    """A row of the table for each piece of a class, from left to right.

    Arguments:
        runs: (n,) of pieces.RUN at the image's own size; labels: int (n,), to which piece each belongs;
            mean_probability: of each piece; height: of the image.
    """
    rows = []
    order = np.argsort(labels, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(runs) else ():
        of_piece = runs[members]
        left, right = of_piece["column"].min(), of_piece["column"].max() + 1
        top, bottom = of_piece["top"].min(), of_piece["bottom"].max()
        area = (of_piece["bottom"] - of_piece["top"]).sum()
        box = left, top, right - left, bottom - top
        mean = mean_probability[labels[members[0]]]
        highest = of_piece["highest"].max()
        rows.append(
            (
                class_index + 1,
                name,
                area,
                *box,
                *sides(of_piece),
                mean,
                highest,
                pieces.encode(of_piece, height),
            )
        )
    return sorted(rows, key=lambda row: row[3:5])


def sides(runs: np.ndarray) -> tuple[float, float]:
    """Length and breadth in pixels of the smallest rectangle, turned as need be, that covers all pixels of
    some runs in full (cv2.minAreaRect of the pixels' corners)."""
    left = runs["column"].min()
    corners = [
        np.column_stack([runs["column"] - left + side, runs[edge]])
        for side in (0, 1)
        for edge in ("top", "bottom")
    ]
    _, (width, height), _ = cv2.minAreaRect(np.concatenate(corners).astype(np.float32))
    return round(max(width, height), 2), round(min(width, height), 2)


def of_mask(
    runs: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int],
    new: tuple[int, int],
    class_index: int,
    name: str,
) -> tuple[str, list[tuple]]:
    """The run-length string of a class at an image's own size, and its rows of the table.

    Arguments:
        runs, labels: as from `pieces.drop_small`, of a mask of `size` (h, w); new: (H, W) of the image.
    """
    sums = np.bincount(labels, weights=runs["total"])
    means = sums / np.maximum(pieces.areas(runs, labels), 1)
    resized, origin = pieces.resize(runs, size, new)
    of_pieces = of_class(resized, labels[origin], means, class_index, name, new[0])
    return pieces.encode(resized, new[0]), of_pieces
