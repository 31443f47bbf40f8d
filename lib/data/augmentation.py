"""One random variant of a strip and its mask: mirrored, in other light, moved, or with its defect painted
over."""

from typing import Literal

import cv2
import numpy as np

from lib.data.choices import FLIPS
from lib.errors import UserError

CODES = {"vertical": 0, "horizontal": 1, "both": -1}  # OpenCV's


def flip(array: np.ndarray, which: str) -> np.ndarray:
    """Mirror an array (H, W, ...) as named in FLIPS; a flip undoes itself. UserError for a name that is not
    among them."""
    insist_on_flip(which)
    if which in CODES and (array.ndim == 2 or (array.ndim == 3 and array.dtype == np.uint8)):
        # A quarter of the time in which numpy copies columns in reverse.
        return cv2.flip(array, CODES[which]).reshape(array.shape)
    if which in ("vertical", "both"):
        array = array[::-1]
    if which in ("horizontal", "both"):
        array = array[:, ::-1]
    return array


def insist_on_flip(which: str) -> None:
    """UserError for a flip that is none of FLIPS: taken for "none" it would go unnoticed."""
    if which not in FLIPS:
        raise UserError(f"There is no flip called {which!r}. Choose one of: {', '.join(FLIPS)}.")


def augment(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray | None = None,
    flips: str = "both",
    brightness: float = 0.0,
    contrast: float = 0.0,
    shift: float = 0.0,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """One random variant of an image (H, W) uint8, and of its mask (H, W, ...) in the same way.

    Arguments:
        rng: the only source of chance.
        flips: "none", "vertical", "horizontal" or "both": the directions that may be mirrored, each with
            probability 1/2.
        brightness: greatest shift of the grey level, as a share of full scale, 0..1.
        contrast: greatest change of contrast about the image's mean, as a share, 0..1.
        shift: greatest move up or down, as a share of the height, 0..1; the edge row fills the gap, where the
            mask is 0. For masks of the image's size. (Crops move a defect to the left and right as it is.)

    Returns the image, or (image, mask) where a mask was given. UserError for flips that have no such name.
    """
    insist_on_flip(flips)
    vertical = flips in ("vertical", "both") and rng.random() < 0.5
    horizontal = flips in ("horizontal", "both") and rng.random() < 0.5
    if brightness or contrast:
        gain = 1 + rng.uniform(-contrast, contrast)
        offset = (1 - gain) * cv2.mean(image)[0] + 255 * rng.uniform(-brightness, brightness)
        # gain * level + offset, rounded, 0..255: twice a table's speed.
        image = cv2.addWeighted(image, gain, image, 0, offset)
    if shift and mask is not None:
        rows = round(rng.uniform(-shift, shift) * len(image))
        image, mask = moved(image, rows, "edge"), moved(mask, rows, "constant")
    which = ("both" if horizontal else "vertical") if vertical else "horizontal" if horizontal else "none"
    return flip(image, which) if mask is None else (flip(image, which), flip(mask, which))


def moved(array: np.ndarray, rows: int, border: Literal["edge", "constant"]) -> np.ndarray:
    """An array (H, W, ...) moved down by `rows` (up if below 0); `border` is numpy's way to fill the gap."""
    wide = np.pad(array, [(max(rows, 0), max(-rows, 0))] + [(0, 0)] * (array.ndim - 1), border)
    return wide[max(-rows, 0) : max(-rows, 0) + len(array)]


def paint_over(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, tries: int = 8
) -> np.ndarray | None:
    """A defective image (h, w) uint8 with its defect covered by steel from elsewhere on it; None where no
    such steel is found.

    The competition's first place trained with such images: all that surrounds a defect, and no defect. Each
    defect pixel takes the grey level of the same row some columns further, where no defect is.
    """
    wide = cv2.dilate(mask, np.ones((5, 5), np.uint8)).astype(bool)
    for shift in rng.integers(1, max(2, mask.shape[1]), tries):
        if not (wide & np.roll(wide, shift, axis=1)).any():
            return np.where(wide, np.roll(image, shift, axis=1), image)
    return None
