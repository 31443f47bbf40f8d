"""What networks learn from masks: masks at their size, coarse grids, where crops begin, how often a kind of
strip is drawn."""

from collections.abc import Sequence

import numpy as np

from lib.data import rle
from lib.data.images import resize_image, resize_mask


def mask_at(text: str, shape: tuple[int, int], height: int, width: int) -> np.ndarray:
    """The mask of a run-length string for an image of `shape`, at another size: `resize_mask` of the decoded
    one."""
    if tuple(shape) == (2 * height, 2 * width):
        return rle.decode_half(text, shape)
    return resize_mask(rle.decode(text, shape), height, width)


def grid_targets(
    rles: Sequence[str], shape: tuple[int, int], grid: tuple[int, int], least: float = 0.1
) -> np.ndarray:
    """Where on a coarse grid the defects of one image lie: (gh, gw, C) uint8, 1 where at least the share
    `least` is covered.

    Arguments:
        rles: a run-length string a class; shape: (H, W) of the image; grid: (gh, gw) of a classifier's
            feature map.
    """
    targets = np.zeros((*grid, len(rles)), np.uint8)
    for class_index, text in enumerate(rles):
        if text:
            cover = resize_image(rle.decode(text, shape) * np.float32(1), grid)
            targets[..., class_index] = cover >= min(least, cover.max())
    return targets


def sampling_weights(labels: np.ndarray) -> np.ndarray:
    """Probabilities (N,) that draw every label combination in proportion to the square root of how often it
    occurs.

    A compromise between the natural frequencies, which hide rare classes, and equal ones, which repeat few
    images.
    """
    _, kind, count = np.unique(np.asarray(labels, np.uint8), axis=0, return_inverse=True, return_counts=True)
    weight = 1 / np.sqrt(count[kind.ravel()])
    return weight / weight.sum()


def crop_start(rng: np.random.Generator, mask: np.ndarray, crop_width: int) -> int:
    """Left column of a crop: about a random defect pixel's column where there is a defect, anywhere else."""
    last = mask.shape[1] - crop_width
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return int(rng.integers(last + 1))
    return int(np.clip(rng.choice(columns) - rng.integers(crop_width), 0, last))
