"""What annotators see on a strip: the objects of a class, their sizes, places and polygons."""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from lib.synthetic.texture import HEIGHT

LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)  # of the quantiles below
BANDS = (155, 420, 800, 1180, 1440)  # px: class 2 lies near these columns only
NORMAL = NormalDist()


class Facts(NamedTuple):
    """Of a defect class, from public statistics of the competition's training set.

    The last three were set by trial, so that the masks have the facts' medians.
    """

    objects: tuple[int, ...]  # how many images have 1, 2, 3... objects
    area: tuple[int, ...]  # px: quantiles of the mask area of a positive image
    height: tuple[int, ...]  # px: quantiles of an object's height
    log_area: tuple[float, float]  # mean and deviation of the logarithm of an object's area
    width: tuple[int, int]  # px: range of an object's width
    fill: float  # share of its bounding box that an object fills
    area_objects: float  # rank correlation of mask area with the number of objects
    height_area: float  # rank correlation of an object's height with its area


FACTS = {
    1: Facts(objects=(396, 127, 67, 51, 45, 45, 49, 40, 19, 17, 16, 8, 8, 5),
        area=(451, 811, 1065, 1761, 3318, 5775, 8987, 11502, 15648), height=(19, 24, 27, 33, 44, 63, 100, 157, 256),
        log_area=(6.93, 0.68), width=(14, 67), fill=0.77, area_objects=0.75, height_area=0.8),
    2: Facts(objects=(182, 57, 7, 1),
        area=(573, 983, 1229, 1966, 2949, 4321, 5849, 7148, 10532), height=(60, 75, 89, 124, 169, 218, 256, 256, 256),
        log_area=(7.65, 0.65), width=(7, 42), fill=0.74, area_objects=0.3, height_area=0.75),
    3: Facts(objects=(1584, 1321, 845, 521, 328, 217, 137, 79, 46, 24, 18, 9, 7, 4),
        area=(716, 1843, 2785, 5038, 11960, 29030, 62018, 94011, 193343), height=(11, 21, 33, 65, 159, 255, 256, 256, 256),
        log_area=(8.05, 1.3), width=(7, 1100), fill=0.84, area_objects=0.45, height_area=0.75),
    4: Facts(objects=(313, 228, 116, 58, 34, 21, 11, 7, 8, 2),
        area=(2007, 5120, 7086, 13107, 25354, 45220, 75203, 98550, 129925), height=(10, 25, 35, 59, 99, 156, 223, 250, 256),
        log_area=(8.95, 1.35), width=(13, 800), fill=0.68, area_objects=0.3, height_area=0.85),
}  # fmt: skip


def object_sizes(
    rng: Generator, defect_class: int, count_rank: float, area_rank: float
) -> list[tuple[int, int]]:
    """Heights and widths in pixels of the objects of one class on one strip, a list of (height, width).

    Arguments:
        count_rank, area_rank: the strip's rank among all with this class, 0..1: by number of objects; by mask
            area beside what that number says of it. Ranks spread evenly keep a small set close to the facts.
    """
    facts = FACTS[defect_class]
    weights = np.cumsum(facts.objects, dtype=float)
    count = int(np.searchsorted(weights, count_rank * weights[-1], side="right")) + 1
    tie = facts.area_objects
    score = tie * NORMAL.inv_cdf(count_rank) + math.sqrt(1 - tie**2) * NORMAL.inv_cdf(area_rank)
    total = np.interp(NORMAL.cdf(score), LEVELS, facts.area)
    sizes = []
    for share in rng.dirichlet(np.full(count, {3: 0.75, 4: 1.2}.get(defect_class, 6.0))):
        area = max(total * share, 120.0)
        size_score = (math.log(area) - facts.log_area[0]) / facts.log_area[1]
        tie = facts.height_area
        height = np.interp(
            NORMAL.cdf(tie * size_score + math.sqrt(1 - tie**2) * rng.normal()), LEVELS, facts.height
        )
        width = np.clip(area / (facts.fill * height), *facts.width)
        height = np.clip(area / (facts.fill * width), 10, HEIGHT)
        sizes.append((round(height), round(width)))
    return sizes


def outline_kind(rng: Generator, defect_class: int, height: int, width: int) -> str:
    """Which polygon an annotator takes for an object of this class and size."""
    if defect_class == 1:
        return "box" if rng.random() < 0.8 else "patch"
    if defect_class == 4:
        return "patch"
    return (
        "strip"
        if defect_class == 2 or max(height, width) > 1.8 * min(height, width) or rng.random() < 0.4
        else "patch"
    )


def outline(rng: Generator, shape: str, height: int, width: int) -> np.ndarray:
    """The annotator's polygon, (n, 2) int32 points (x, y) that reach all borders of a box of this size.

    Arguments:
        shape: "box" (crooked), "strip" (slanted, along the long side) or "patch" (ragged); height, width: px.
    """
    if shape == "box":
        points = rng.uniform(0, 0.27, (4, 2)) * [[1, 1], [-1, 1], [-1, -1], [1, -1]] + [
            [0, 0],
            [1, 0],
            [1, 1],
            [0, 1],
        ]
    elif shape == "strip":
        top, bottom = (
            rng.uniform(0.05, 0.55, 2) * (rng.random(2) < 0.8) * min(1.0, 30 / max(12, min(height, width)))
        )
        points = np.array([[0, 0], [1 - top, 0], [1, 1], [bottom, 1]])
        points = np.insert(points, 2, [[1 - top / 2 + 0.04, rng.uniform(0.35, 0.65)]], axis=0)
        if rng.random() < 0.5:
            points = points * [-1, 1] + [1, 0]
        if width > height:
            points = points[:, ::-1]
    else:
        count = int(rng.integers(9, 18))
        angles = (np.arange(count) + rng.uniform(-0.35, 0.35, count)) * 2 * np.pi / count
        radius = np.clip(
            0.77 + np.convolve(rng.normal(0, 0.25, count + 2), (0.5, 0.7, 0.5), "valid"), 0.45, 1.1
        )[:, None]
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = circle / np.maximum(0.72, np.abs(circle).max(axis=1, keepdims=True)) * radius
    points = (points - points.min(axis=0)) / np.ptp(points, axis=0)
    return np.round(points * [width - 1, height - 1]).astype(np.int32)


def object_position(
    rng: Generator, defect_class: int, height: int, width: int, lit: tuple[int, int]
) -> tuple[int, int]:
    """Top row and left column for an object of this size between the lit columns `lit` = (first, last)."""
    room = HEIGHT - height
    top = int(rng.integers(0, room + 1))
    if rng.random() < (0.45 if defect_class == 4 else 0.25):
        top = 0 if rng.random() < 0.5 else room  # cut off by the picture's border
    if defect_class == 2:
        left = int(rng.choice(BANDS) + rng.normal(0, 14) - width / 2)
        if lit[0] <= left <= lit[1] - width:
            return top, left
    return top, int(rng.integers(lit[0], max(lit[0] + 1, lit[1] - width)))
