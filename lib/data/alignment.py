"""Groups of near-duplicates brought into one position, turned and mirrored ones included, so that they can be
compared at once."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lib.data.images import read_image
from lib.data.likeness import (
    SHIFTS,
    best_correlation,
    less_surroundings,
    of_length_one,
    position,
    position_detail,
    products,
    self_likeness,
    turned,
)

TURNS = ("as it is", "mirrored left to right", "mirrored top to bottom", "turned by 180 degrees", "mirrored along the diagonal",
         "turned by 90 degrees clockwise", "turned by 90 degrees counterclockwise", "mirrored along the other diagonal")  # fmt: skip
BACK = 0, 1, 2, 3, 4, 6, 5, 7  # the turn that undoes each turn
FINEST = 8  # pixels of the second look in a row or column of a fingerprint's: 128 x 800 of a strip
OF_ITS_OWN = 0.6  # rows of the second look at most, as a share of the image's own: beyond that it would compare the encoder's noise
PATTERN = 0.3  # correlation of a picture with itself elsewhere from which on it has one
LOOKS = 32  # pairs that get a second look, before it is asked again which images are together already
TILES, TILE = 32, 8  # of a picture in a crowd that are compared first, and the rows and columns of each
MOST = 4000  # images of a crowd in one position at a time; 670 MB
SLACK = 0.12  # by which samples may say less than the whole picture does


def combined() -> np.ndarray:
    """The turn that does the same as one turn after another: int (8, 8), [after, before]."""
    corner = np.arange(4).reshape(2, 2)
    turns = {turned(corner, turn).tobytes(): turn for turn in range(8)}
    return np.array(
        [
            [turns[turned(turned(corner, before), after).tobytes()] for before in range(8)]
            for after in range(8)
        ]
    )


class Looks:
    """The images at the size of the second look: each is decoded once, when it is first asked for, and kept
    (100 KB)."""

    def __init__(self, paths: Sequence[str], size: tuple[int, int]) -> None:
        height = read_image(paths[0]).shape[0] if paths else 256
        self.finer = int(min(max(OF_ITS_OWN * height / size[0], 2), FINEST))
        self.size, self.shifts = (
            (size[0] * self.finer, size[1] * self.finer),
            (SHIFTS[0] * self.finer, SHIFTS[1] * self.finer),
        )
        self.paths = paths
        self.cached: dict[int, np.ndarray] = {}
        self.shares: dict[int, float] = {}

    def image(self, index: int) -> np.ndarray:
        """Image `index`, uint8 (rows, columns)."""
        if index not in self.cached:
            self.cached[index] = read_image(self.paths[index], self.size)
        return self.cached[index]

    def distance(self, first: int, second: int, turn: int) -> float:
        """1 minus the best correlation of the detail of one image and of another, turned, under all small
        shifts, as float.

        A pattern, as on checkered plate, lies on every other piece of such plate, turned or not. There the
        distance is told as a share of that between the picture and itself in a wrong place: only a copy fits
        better than the pattern does.
        """
        rows, columns = self.shifts
        middle = turned(less_surroundings(self.image(second)), turn)[rows:-rows, columns:-columns]
        return min(
            (1 - best_correlation(less_surroundings(self.image(first)), middle)) / self.share(first), 1.0
        )

    def share(self, index: int) -> float:
        """What distances from image `index` are told as a share of: 1, or less where it has a pattern."""
        if index not in self.shares:
            pattern = self_likeness(less_surroundings(self.image(index)), self.finer)
            self.shares[index] = max(1 - pattern, 1e-3) if pattern >= PATTERN else 1.0
        return self.shares[index]


def join(
    labels: np.ndarray,
    small: Looks,
    first: np.ndarray,
    second: np.ndarray,
    turn: np.ndarray,
    max_distance: float,
) -> np.ndarray:
    """The labels (N,) once the second look has joined what it finds close among some pairs; those together
    already are not compared."""
    labels = labels.copy()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(first), LOOKS):
            part = slice(start, start + LOOKS)
            # A thousand copies are half a million pairs.
            rows = start + np.flatnonzero(labels[first[part]] != labels[second[part]])
            apart = list(pool.map(small.distance, first[rows], second[rows], turn[rows]))
            for row, value in zip(rows, apart, strict=True):
                if value <= max_distance:
                    labels[labels == labels[second[row]]] = labels[first[row]]
    return labels


def in_one_position(
    small: Looks, pairs: tuple[np.ndarray, np.ndarray, np.ndarray], hub: int, max_distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compare all images of a crowd, such as pictures of one fixed view, by samples: far cheaper than a
    second look at every pair.

    Each image is turned and shifted to lie on one of them, the hub. How a copy of an image is moved shows in
    this, whatever the hub has in common with both. Then one product compares samples of all.

    Arguments:
        small: Looks; pairs: first, second, turn (M,); hub: the index of an image.

    Returns chosen (M,) bool, the pairs of the hub and of those that are its candidates; alike (chosen.sum(),)
    bool, those that are worth a second look.
    """
    first, second, turn = pairs
    images, turns, chosen, one, other = turned_onto(hub, first, second, turn)
    windows = in_position(small, hub, images, turns)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        limits = 1 - max_distance * np.array(list(pool.map(small.share, images)))[one]
    likeness = np.full(len(one), -1, np.float32)
    steps = np.zeros((len(one), 2), int)
    for step in np.ndindex(3, 3):
        values = products(sampled(windows, (1, 1)), sampled(windows, step), one, other)
        steps[values > likeness] = step
        likeness = np.maximum(likeness, values)
    alike = likeness >= limits - SLACK
    if alike.sum() > 4 * len(images):  # whole pictures, where samples leave too many pairs for a second look
        for step in np.ndindex(3, 3):
            rows = np.flatnonzero(alike & (steps == step).all(axis=1))
            alike[rows] = (
                products(whole(windows, (1, 1)), whole(windows, step), one[rows], other[rows]) >= limits[rows]
            )
    return chosen, alike


def turned_onto(
    hub: int, first: np.ndarray, second: np.ndarray, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The images of a crowd in the turns in which they lie on its hub, and which pairs are of two of them.

    Arguments:
        hub: the index of an image; first, second, turn: pairs (M,), as from `close_pairs`.

    Returns images, turns (at most MOST, the hub first); chosen (M,) bool, the pairs of two such images; one,
    other (chosen.sum(),), those pairs as places among the images.
    """
    after, back = combined(), np.array(BACK)
    # The place of an image in a turn, where that lies on the hub.
    node = np.full((max(first.max(), second.max()) + 1, 8), -1)
    node[hub, 0] = 0
    node[second[first == hub], turn[first == hub]] = 0
    node[first[second == hub], back[turn[second == hub]]] = 0
    node[hub, 0] = -1
    images, turns = (
        np.concatenate([start, rest])[:MOST]
        for start, rest in zip(([hub], [0]), np.nonzero(node == 0), strict=True)
    )
    node[:] = -1
    node[images, turns] = np.arange(len(images))
    one, other = np.full(len(first), -1), np.full(len(first), -1)
    for of_first in range(8):
        left, right = node[first, of_first], node[second, after[of_first, turn]]
        fits = (left >= 0) & (right >= 0) & (one < 0)
        one[fits], other[fits] = left[fits], right[fits]
    chosen = one >= 0
    return images, turns, chosen, one[chosen], other[chosen]


def in_position(small: Looks, hub: int, images: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """The detail of images in a crowd, all in the hub's position, float16 (M, rows, columns): its middle and
    a border of one."""
    rows, columns = small.shifts
    reference = position_detail(small.image(hub), small.finer)

    def of_image(index, turn):
        image = np.ascontiguousarray(turned(small.image(index), turn))
        down, right = position(position_detail(image, small.finer), reference, small.finer)
        high, wide = image.shape[0] - 2 * rows, image.shape[1] - 2 * columns
        return less_surroundings(image)[rows + down :, columns + right :][:high, :wide].astype(np.float16)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(of_image, images, turns)))


def whole(windows: np.ndarray, step: tuple[int, ...]) -> Callable[[slice], np.ndarray]:
    """A function that gives some windows without their border, moved by step - 1 rows and columns: float32
    (B, pixels) of length 1."""
    down, right = step

    def values(part):
        chosen = windows[part, down : windows.shape[1] - 2 + down, right : windows.shape[2] - 2 + right]
        return of_length_one(chosen.reshape(len(chosen), -1).astype(np.float32))

    return values


def sampled(windows: np.ndarray, step: tuple[int, ...]) -> Callable[[slice], np.ndarray]:
    """As `whole`, of some tiles of the windows alone."""
    high, wide = (windows.shape[1] - 2) // TILE, (windows.shape[2] - 2) // TILE
    picked = np.random.default_rng(0).permutation(high * wide)[:TILES]
    places = (
        np.add.outer(picked // wide * TILE, np.arange(TILE)),
        np.add.outer(picked % wide * TILE, np.arange(TILE)),
    )
    row, column = (places[0] + step[0])[:, :, None], (places[1] + step[1])[:, None, :]
    return lambda part: of_length_one(
        windows[part][:, row, column].reshape(len(windows[part]), -1).astype(np.float32)
    )
