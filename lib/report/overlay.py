"""A strip with the outlines of its masks, as pixels: for files that lie beside a page, and for pages."""

from collections.abc import Sequence

import cv2
import numpy as np

from lib.data import rle
from lib.plots import colour
from lib.report.picture import MOST_SIDE, jpeg_address

PAGE_WIDTH = 960  # pixels of a strip in a page
PART = 8192  # columns that are drawn at a time
BESIDE = 64  # columns beside a part that its lines and numbers may reach into


def blue_first(class_index: int) -> tuple[int, int, int]:
    """The colour of a class as OpenCV wants it."""
    code = colour(class_index)
    red, green, blue = (int(code[start : start + 2], 16) for start in (1, 3, 5))
    return blue, green, red


def overlay(image: np.ndarray, rles: Sequence[str]) -> np.ndarray:
    """An image (H, W) uint8 with the outlines of its masks, a run-length string a class, in the colours of the
    classes, and the class's number at each piece: (H, W, 3) uint8, blue first.

    Lines lie outside of the defects, so that thin ones can still be seen; they are wider on larger images.
    """
    shape = image.shape[0], image.shape[1]
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    width = max(2, round(min(shape) / 200))
    for class_index, text in enumerate(rles):
        if not text:
            continue
        mask = rle.decode(text, shape)
        kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
        canvas[(cv2.dilate(mask, kernel) > 0) & (mask == 0)] = blue_first(class_index)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            _label(canvas, contour, class_index)
    return canvas


def of_columns(image: np.ndarray, rles: Sequence[str], first: int, last: int) -> np.ndarray:
    """The columns first to last, the last left out, of an `overlay`, (H, last - first, 3) uint8; a piece that reaches in
    has its number there, too."""
    height, width = image.shape[:2]
    begin, end = max(0, first - BESIDE), min(width, last + BESIDE)
    texts = [rle.columns(text, height, begin, end) for text in rles]
    return overlay(image[:, begin:end], texts)[:, first - begin : last - begin]


def whole(image: np.ndarray, rles: Sequence[str]) -> np.ndarray:
    """An `overlay` for a file of its own: of what is longer than a JPEG can be, shrunk to that. It is drawn in parts,
    so that memory does not grow with the length."""
    height, width = image.shape[:2]
    if width <= PART:
        return overlay(image, rles)
    scale = min(1.0, MOST_SIDE / width)
    canvas = np.empty((max(1, int(height * scale)), int(width * scale), 3), np.uint8)
    for first in range(0, width, PART):
        last = min(first + PART, width)
        left, right = int(first * scale), int(last * scale)
        if left == right:  # a last part of a pixel or two
            continue
        part = of_columns(image, rles, first, last)
        canvas[:, left:right] = cv2.resize(part, (right - left, len(canvas)), interpolation=cv2.INTER_AREA)
    return canvas


def _label(canvas: np.ndarray, contour: np.ndarray, class_index: int) -> None:
    """Write a class's number above the left end of a contour, or below where there is no room."""
    left, top, _, height = cv2.boundingRect(contour)
    scale = 0.45 * max(1.0, min(canvas.shape[:2]) / 400)
    width = max(1, round(2 * scale))
    text = str(class_index + 1)
    (text_width, text_height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, width)
    bottom = (
        top - 2 * width if top > text_height + base + 2 * width else top + height + text_height + 3 * width
    )
    bottom = min(bottom, canvas.shape[0] - 2)
    left = max(0, min(left, canvas.shape[1] - text_width - 4))
    corner = left + text_width + 3, bottom + 2
    cv2.rectangle(canvas, (left, bottom - text_height - 2), corner, blue_first(class_index), cv2.FILLED)
    origin = left + 2, bottom
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), width, cv2.LINE_AA)


def data_address(canvas: np.ndarray) -> str:
    """A picture (H, W, 3) uint8, blue first, as the address of a JPEG inside a page, at most PAGE_WIDTH wide
    and as high as wide."""
    scale = min(1.0, PAGE_WIDTH / canvas.shape[1], PAGE_WIDTH / canvas.shape[0])
    size = max(1, round(canvas.shape[1] * scale)), max(1, round(canvas.shape[0] * scale))
    small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA) if scale < 1 else canvas
    return jpeg_address(small)
