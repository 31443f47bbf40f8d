"""Copy-paste: a defect of one strip set upon another, for what few strips show.

Source: Ghiasi et al., Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation, 2021.
"""

from collections.abc import Callable

import cv2
import numpy as np

MARGIN = 12  # pixels of its surroundings that a piece brings
SOFT = 2.5  # pixels of a Gaussian over which it fades into the new ones
DARKEST = 12, 30  # grey levels: the least of a ground that shows steel at all, and of its mean


def cut_piece(
    rng: np.random.Generator, image: np.ndarray, masks: np.ndarray, class_index: int, widest: int
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """One connected piece of a defect with its surroundings: (grey (h, w) uint8, mask (h, w) uint8 0/1, first
    row); None where no piece has an inner pixel.

    Arguments:
        image: (H, W) uint8; masks: (H, W, C) uint8 0/1; widest: columns of the crop, to which a
            longer piece is cut.
    """
    mask = np.ascontiguousarray(masks[..., class_index])
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask)
    large = [piece for piece in range(1, count) if boxes[piece, cv2.CC_STAT_AREA] >= 30]
    if not large:
        return None
    piece = large[rng.integers(len(large))]
    left, top, width, height = boxes[piece, :4]
    widest -= 2 * MARGIN
    first = left + (rng.integers(width - widest + 1) if width > widest else 0)
    rows = slice(max(0, top - MARGIN), top + height + MARGIN)
    columns = slice(max(0, first - MARGIN), first + min(width, widest) + MARGIN)
    return image[rows, columns], (labels[rows, columns] == piece).astype(np.uint8), rows.start


def paste_piece(
    rng: np.random.Generator, image: np.ndarray, piece: tuple[np.ndarray, np.ndarray, int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """An image (H, W) uint8 with a piece of `cut_piece` somewhere on it, as bright against its surroundings
    as it was, and the mask of it (H, W) uint8 0/1.

    A piece that reached the upper or lower edge keeps its rows, as the edge is part of it. None where it does
    not fit, or where it is too dark to be steel.
    """
    grey, mask, top = piece
    (height, width), (rows, columns) = image.shape, mask.shape
    if rows > height or columns > width:
        return None
    at_edge = mask[0].any() or mask[-1].any() or top == 0 or top + rows >= height
    first = min(top, height - rows) if at_edge else rng.integers(height - rows + 1)
    left = rng.integers(width - columns + 1)
    spot = slice(first, first + rows), slice(left, left + columns)
    ground = image[spot]
    wide = cv2.dilate(mask, np.ones((7, 7), np.uint8))
    around = wide == 0
    if not around.any() or ground.min() < DARKEST[0]:
        return None
    mean, own = ground[around].mean(), grey[around].mean()
    if min(mean, own) < DARKEST[1]:
        return None
    weight = cv2.GaussianBlur(wide.astype(np.float32), (0, 0), SOFT)
    pasted, pasted_mask = image.copy(), np.zeros_like(image)
    mixed = ground * (1 - weight) + grey * (mean / own * weight)
    pasted[spot] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    pasted_mask[spot] = mask
    return pasted, pasted_mask


def with_pieces(
    rng: np.random.Generator,
    image: np.ndarray,
    masks: np.ndarray,
    positive: np.ndarray,
    image_of: Callable[[int], np.ndarray],
    masks_of: Callable[[int], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """A crop (h, w) uint8 and its masks (h, w, C) uint8 0/1 with one or two pieces of other strips' defects, where
    they fit.

    Arguments:
        positive: (N, C) bool, which strip has which class; of the rarer ones more is drawn, by one over the
            square root of how many strips have them. image_of, masks_of: strip number -> (H, W), (H, W, C).
    """
    counts = positive.sum(axis=0)
    weights = np.where(counts, 1 / np.sqrt(np.maximum(counts, 1)), 0)
    for _ in range(rng.integers(1, 3) if counts.any() else 0):
        class_index = int(rng.choice(len(counts), p=weights / weights.sum()))
        donor = int(rng.choice(np.flatnonzero(positive[:, class_index])))
        piece = cut_piece(rng, image_of(donor), masks_of(donor), class_index, image.shape[1])
        pasted = piece and paste_piece(rng, image, piece)
        if pasted:
            image, mask = pasted
            masks = masks * (1 - mask[..., None])
            masks[..., class_index] |= mask
    return image, masks
