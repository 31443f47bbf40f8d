"""Outlines as pixels and back.

The corner at the top left of an image is (0, 0), the middle of its first pixel (0.5, 0.5). A pixel belongs to a
shape if its middle lies inside; of one that lies on an edge, the shape to the right of it or below has it. So
neighbours share no pixel and leave none between them, and the outline that `outlines` draws along the sides of
pixels gives the mask back exactly.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from lib.data import rle


def fill(rings: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The mask of closed outlines, uint8 (H, W): what an odd number of them surround.

    Arguments:
        rings: (n, 2) float64 each, x and y of the corners; what lies outside the image is cut off.
    """
    height, width = shape
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    for ring in rings:
        ends = np.roll(ring, -1, axis=0)
        low, high = np.minimum(ring[:, 1], ends[:, 1]), np.maximum(ring[:, 1], ends[:, 1])
        first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)  # rows whose middle the edge crosses
        counts = np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64) - first
        edge = np.repeat(np.arange(len(ring)), counts)
        row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
        slope = (ends[edge, 0] - ring[edge, 0]) / (ends[edge, 1] - ring[edge, 1])
        crossing = ring[edge, 0] + (row + 0.5 - ring[edge, 1]) * slope
        rows.append(row)
        columns.append(np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64))
    mask = np.zeros(shape, np.uint8)
    row, column = (
        np.concatenate([*rows, np.empty(0, np.int64)]),
        np.concatenate([*columns, np.empty(0, np.int64)]),
    )
    if len(row):
        top, start = row.min(), column.min()
        changes = np.zeros((row.max() + 1 - top, column.max() + 1 - start), np.uint8)
        np.bitwise_xor.at(changes, (row - top, column - start), 1)
        filled = np.bitwise_xor.accumulate(changes, axis=1)[:, : width - start]
        mask[top : top + len(filled), start : start + filled.shape[1]] = filled
    return mask


def fill_nested(rings: Sequence[np.ndarray], shape: tuple[int, int]) -> tuple[np.ndarray, int]:
    """The mask of one object's outlines, and how many of them are holes: a ring within what larger ones cover
    is a hole, others add to the object. A ring that is there twice counts once."""
    once = {ring.tobytes(): ring for ring in rings}
    whole, holes = np.zeros(shape, np.uint8), 0
    for ring in sorted(once.values(), key=_area, reverse=True):
        mask = fill([ring], shape)
        is_hole = bool(mask.any()) and not (mask > whole).any()
        whole = whole - mask if is_hole else whole | mask
        holes += is_hole
    return whole, holes


def _area(ring: np.ndarray) -> float:
    """What a ring surrounds, in pixels."""
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The corners (4, 2) of a rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def turned(ring: np.ndarray, degrees: float, around: Sequence[float]) -> np.ndarray:
    """Corners turned clockwise, as one sees them, around a point; by 0 degrees the same to the last digit."""
    if not degrees:
        return ring
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (ring - around) @ turn + around


def ellipse(
    centre: Sequence[float], radii: Sequence[float], degrees: float, shape: tuple[int, int]
) -> np.ndarray:
    """The mask of an ellipse, uint8 (H, W); `radii`: along x and y before it is turned clockwise."""
    mask = np.zeros(shape, np.uint8)
    reach = max(radii)
    left, top = (max(0, int(np.floor(middle - reach))) for middle in centre)
    right, bottom = (
        min(size, int(np.ceil(middle + reach)) + 1) for middle, size in zip(centre, shape[::-1], strict=True)
    )
    if min(radii) <= 0 or right <= left or bottom <= top:
        return mask
    x, y = np.meshgrid(np.arange(left, right) + 0.5 - centre[0], np.arange(top, bottom) + 0.5 - centre[1])
    angle = np.deg2rad(degrees)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 < 1
    mask[top:bottom, left:right] = inside
    return mask


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """The outlines of a mask (H, W) of 0 and 1 along the sides of its pixels, (n, 2) float64 each, holes as
    rings of their own; `fill` of them is the mask.

    Pixels that touch at a corner alone are parts of different rings, or of one that touches itself.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    ways: dict[
        tuple[int, int], list[tuple[int, int]]
    ] = {}  # corner: the next ones, with the mask to the right
    down, right = np.diff(padded, axis=1)[1:-1], np.diff(padded, axis=0)[:, 1:-1]
    for y, x in np.argwhere(down).tolist():
        begin, end = ((x, y + 1), (x, y)) if down[y, x] > 0 else ((x, y), (x, y + 1))
        ways.setdefault(begin, []).append(end)
    for y, x in np.argwhere(right).tolist():
        begin, end = ((x, y), (x + 1, y)) if right[y, x] > 0 else ((x + 1, y), (x, y))
        ways.setdefault(begin, []).append(end)
    rings = []
    while ways:
        start = next(iter(ways))
        corners, here = [start], start
        before = (0, 0)
        while True:
            choices = ways[here]
            # Where two pixels touch at a corner, turn right: each keeps to itself.
            turns = [(end[0] - here[0]) * before[1] - (end[1] - here[1]) * before[0] for end in choices]
            end = choices.pop(turns.index(min(turns)))
            if not choices:
                del ways[here]
            step = end[0] - here[0], end[1] - here[1]
            if step == before:
                corners.pop()
            corners.append(end)
            here, before = end, step
            if here == start:
                break
        ring = np.array(corners[:-1], np.float64)
        first, last = ring[1] - ring[0], ring[0] - ring[-1]
        rings.append(ring[1:] if first[0] * last[1] == first[1] * last[0] else ring)
    return rings


def of_rle(text: str, shape: tuple[int, int]) -> list[np.ndarray]:
    """The outlines of a run-length string."""
    mask = rle.decode(text, shape)
    x, y, width, height = cv2.boundingRect(mask)
    return [ring + np.array([x, y]) for ring in outlines(mask[y : y + height, x : x + width])]


def simpler(rings: Sequence[np.ndarray], shape: tuple[int, int]) -> list[np.ndarray]:
    """Outlines with fewer corners, whose mask differs by pixels at the edge alone; as they are where that is
    not to be had."""
    exact = fill(rings, shape)
    plain = [cv2.approxPolyDP(ring.astype(np.float32), 0.8, True)[:, 0].astype(np.float64) for ring in rings]
    plain = [ring for ring in plain if len(ring) >= 3]
    mask = fill(plain, shape)
    size = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(exact, size) - cv2.erode(exact, size, borderValue=0)
    same = not ((mask != exact) & (edge == 0)).any()
    return plain if len(plain) == len(rings) and same and 2 * mask.sum() > exact.sum() else list(rings)
