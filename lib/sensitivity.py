"""How much of the score hangs on a pixel: masks shifted, widened or narrowed by one, predicted and true ones."""

import cv2
import numpy as np

from lib import rle
from lib.metrics import dice

CHANGES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0), "wider": None, "narrower": None}
KERNEL = np.ones((3, 3), np.uint8)


def change(mask, how):
    """A mask (H, W) uint8 0/1 changed by one pixel as named in CHANGES; what leaves the image is lost."""
    if how == "wider":
        return cv2.dilate(mask, KERNEL)
    if how == "narrower":
        return cv2.erode(mask, KERNEL, borderType=cv2.BORDER_REPLICATE)
    down, right = CHANGES[how]
    height, width = mask.shape
    moved = np.zeros_like(mask)
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = (
        mask[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
    )  # fmt: skip
    return moved


def changed_dice(first, second, shape):
    """Dice of `second` with `first` for each way in which `second` may be off by one pixel: {how: float}.

    Arguments:
        first, second: run-length strings, not both empty; shape: (H, W).
    """
    a, b = rle.decode(first, shape), rle.decode(second, shape)
    found, area = {}, int(a.sum())
    for how in CHANGES:
        moved = change(b, how)
        found[how] = float(dice(np.count_nonzero(a & moved), np.count_nonzero(moved), area))
    return found


def mean_changes(first, second, shape):
    """`changed_dice` of all pairs of which neither is empty: {how: (C,) mean over the class's images, NaN where there is none},
    and under "as it is" the unchanged Dice. Nested lists (N x C) of run-length strings."""
    classes = len(first[0]) if first else 0
    values = [[] for _ in range(classes)]
    for row_a, row_b in zip(first, second, strict=True):
        for k, (a, b) in enumerate(zip(row_a, row_b, strict=True)):
            if a and b:
                plain = float(dice(rle.intersection(a, b), rle.area(b), rle.area(a)))
                values[k].append({"as it is": plain, **changed_dice(a, b, shape)})
    return {how: np.array([np.mean([one[how] for one in of_class]) if of_class else np.nan for of_class in values])
            for how in ("as it is", *CHANGES)}  # fmt: skip


def score_changes(truth, predicted, scores, shape):
    """By how much the competition score would change if every drawn mask were off by one pixel: {how: float}.

    Arguments:
        truth, predicted: nested lists (N x C) of run-length strings; scores: (N, C) Dice of the pairs.
    """
    total = dict.fromkeys(CHANGES, 0.0)
    for row, (true_row, drawn_row) in enumerate(zip(truth, predicted, strict=True)):
        for k, (a, b) in enumerate(zip(true_row, drawn_row, strict=True)):
            if a and b:
                for how, value in changed_dice(a, b, shape).items():
                    total[how] += value - scores[row, k]
    return {how: float(value / scores.size) for how, value in total.items()}
