"""The tables of a prediction: defects.csv, images.csv, seconds.csv, from the results of its images."""

import csv
import io
from collections.abc import Sequence

from lib.data.dataset import csv_text
from lib.inference.results import CONFIDENCE, MEASURES, ImageResult

VERDICTS = {"defect": "a mask is there", "clean": "no mask", "unread": "the file could not be read"}


def verdict(result: ImageResult) -> str:
    """One of VERDICTS."""
    return "unread" if result.problem else "defect" if result.has_mask else "clean"


def has_unread(table: bytes) -> bool:
    """Whether the bytes of an images.csv name an image that could not be read."""
    return any(
        row["verdict"] == "unread" for row in csv.DictReader(io.StringIO(table.decode("utf-8"), newline=""))
    )


def share(value: float | None) -> str:
    """A probability for a table, with four digits; "" where it was not asked."""
    return "" if value is None else f"{value:.4f}"


def defects(results: Sequence[ImageResult], titles: Sequence[str], pixel_mm: float = 0.0) -> str:
    """defects.csv: a row a piece, in the order of the images, classes and columns.

    Arguments:
        titles: of the classes; pixel_mm: millimetres of a pixel's side, for three more columns; 0: none.
    """
    header = ["image", "class", "name", *MEASURES]
    header += ["area_mm2", "length_mm", "breadth_mm"] if pixel_mm else []
    header += [*CONFIDENCE, "defect_probability"]
    rows = []
    for result in results:
        for piece in result.pieces:
            row = [result.name, piece["class"], titles[piece["class"] - 1]]
            row += [_pixels(piece[name]) for name in MEASURES]
            if pixel_mm:
                sizes = piece["area"] * pixel_mm**2, piece["length"] * pixel_mm, piece["breadth"] * pixel_mm
                row += [f"{value:.2f}" for value in sizes]
            row += [share(piece[name]) for name in CONFIDENCE]
            rows.append([*row, share(result.defect_probability)])
    return csv_text(header, rows)


def _pixels(value: float | int) -> str:
    """A measure for a table: whole numbers as they are, others with one digit."""
    return str(value) if isinstance(value, int) else f"{value:.1f}"


def images(results: Sequence[ImageResult], titles: Sequence[str]) -> str:
    """images.csv: a row an image, with its verdict, probabilities, and why it could not be read."""
    probabilities = [f"probability_{defect_class}" for defect_class in range(1, len(titles) + 1)]
    header = ["image", "verdict", "defects", "defect_probability", *probabilities, "height", "width"]
    rows = []
    for result in results:
        values = result.class_probability or [None] * len(titles)
        row = [result.name, verdict(result), len(result.pieces), share(result.defect_probability)]
        row += [*map(share, values), *(result.shape or ("", ""))]
        rows.append([*row, result.problem or " ".join(result.remarks)])
    return csv_text([*header, "remark"], rows)


def seconds(results: Sequence[ImageResult], taken: Sequence[float]) -> str:
    """seconds.csv: what each image took, by its share of the lengths, at one height, of those that were
    predicted together with it. A table of its own, as all others come out the same again."""
    rows = [(result.name, f"{value:.4f}") for result, value in zip(results, taken, strict=True)]
    return csv_text(("image", "seconds"), rows)
