"""Near-duplicates among images: one piece of steel in two files, turned or mirrored, shifted, brighter or encoded anew.

Square images are compared in their eight turns, others in the four that keep their shape. A turn is a number whose bits say what
is done, in this order: 4, rows and columns change places; 2, the rows are reversed; 1, the columns are.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lib.data.images import read_image
from lib.data.likeness import (
    SHIFTS,
    best_correlation,
    close_pairs,
    fingerprint_size,
    fingerprints,
    less_surroundings,
    of_length_one,
    position,
    position_detail,
    products,
    self_likeness,
    turned,
)
from lib.errors import UserError

TURNS = ("as it is", "mirrored left to right", "mirrored top to bottom", "turned by 180 degrees", "mirrored along the diagonal",
         "turned by 90 degrees clockwise", "turned by 90 degrees counterclockwise", "mirrored along the other diagonal")  # fmt: skip
BACK = 0, 1, 2, 3, 4, 6, 5, 7  # the turn that undoes each turn
MAX_DISTANCE = 0.5  # near-duplicates have 0.05 to 0.37, the nearest unrelated strips above 0.7
FINEST = 8  # pixels of the second look in a row or column of a fingerprint's: 128 x 800 of a strip
OF_ITS_OWN = 0.6  # rows of the second look at most, as a share of the image's own: beyond that it would compare the encoder's noise
PATTERN = 0.3  # correlation of a picture with itself elsewhere from which on it has one
LOOKS = 32  # pairs that get a second look, before it is asked again which images are together already
CROWD = 16  # candidates of one image from which on it pays to bring them all into one position before any two are compared
TILES, TILE = 32, 8  # of a picture in a crowd that are compared first, and the rows and columns of each
MOST = 4000  # images of a crowd in one position at a time; 670 MB
SLACK = 0.12  # by which samples may say less than the whole picture does


def find_duplicates(paths: Iterable[str | Path], max_distance: float = MAX_DISTANCE) -> np.ndarray:
    """Number the groups of near-duplicate images.

    Fingerprints find the candidates among all pairs and turns: the detail of 16 x 100 averages. A second look at 128 x 800 averages
    decides (at fewer where images are smaller than strips), with one picture turned and shifted over the other. A distance is 1 minus
    the correlation: 0 for the same picture however bright, about 1 for unrelated ones. Images without detail, such as all black ones,
    are like nothing; those with a regular pattern, such as checkered plate, are copies only if they fit clearly better than the
    pattern moved on by a period.

    How far a copy may be moved: of 30 generated strips, moved, brightened and encoded anew, all were found at 12 pixels along the strip,
    25 at 16 and 3 at 24; across it 27 at 8 pixels and 7 at 12.

    Arguments:
        paths: N files.
        max_distance: 0..1; closer images are near-duplicates, and so are near-duplicates of near-duplicates. Pairs that the
            fingerprints tell apart are not looked at again, whatever it is.

    Returns int64 (N,): equal numbers are one group, counted from 0 in the order of their first image.
    Raises UserError for an unreadable image or a distance outside 0..1.
    """
    if not 0 <= max_distance <= 1:
        raise UserError(f"duplicate_distance is {max_distance}. It must be from 0 to 1, such as {MAX_DISTANCE}.")
    files = [str(path) for path in paths]
    size = fingerprint_size(files)
    first, second, turn, _ = close_pairs(fingerprints(files, size), size)
    labels, small = np.arange(len(files)), Looks(files, size)
    while len(first):
        often = np.bincount(np.concatenate([first, second]), minlength=len(files))
        if often.max() < CROWD:
            break
        chosen, alike = in_one_position(small, (first, second, turn), int(often.argmax()), max_distance)
        labels = join(labels, small, first[chosen][alike], second[chosen][alike], turn[chosen][alike], max_distance)
        first, second, turn = (values[~chosen] for values in (first, second, turn))
        open_ = labels[first] != labels[second]
        first, second, turn = first[open_], second[open_], turn[open_]
    labels = join(labels, small, first, second, turn, max_distance)
    _, where, groups = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(where))[groups].astype(np.int64)


def nearest_copies(
    paths: Sequence[str | Path],
    group: np.ndarray,
    wanted: np.ndarray,
    among: np.ndarray,
    max_distance: float = MAX_DISTANCE,
    looks: int = 4,
) -> tuple[np.ndarray, np.ndarray]:
    """For some images, the nearest near-duplicate among others: its index and how it is turned, two int (N,); index -1 where is none.

    Arguments:
        paths: N files; group: (N,) from `find_duplicates`; wanted, among: (N,) bool, of which images and among which;
        looks: the candidates, best fingerprints first, that get a second look.

    `turned(image of the index, turn)` lies on the image, but for a shift.
    """
    paths, group = [str(path) for path in paths], np.asarray(group)
    both = np.isin(group, np.intersect1d(group[wanted], group[among]))
    rows, nearest, turns = np.flatnonzero(both), np.full(len(paths), -1), np.zeros(len(paths), int)
    members = [paths[row] for row in rows]
    size = fingerprint_size(paths[:1])
    first, second, turn, apart = close_pairs(fingerprints(members, size), size)
    back = np.array(BACK)[turn]
    image, other = np.concatenate([first, second]), np.concatenate([second, first])
    turn, apart = np.concatenate([turn, back]), np.concatenate([apart, apart])
    pairs = np.flatnonzero(np.asarray(wanted)[rows][image] & np.asarray(among)[rows][other])
    pairs = pairs[np.lexsort((apart[pairs], image[pairs]))]
    rank = np.arange(len(pairs)) - np.searchsorted(image[pairs], image[pairs])
    pairs = pairs[rank < looks]
    small = Looks(members, size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        distances = list(pool.map(small.distance, image[pairs], other[pairs], turn[pairs]))
    best: dict[int, float] = {}
    for pair, distance in zip(pairs, distances, strict=True):
        if distance <= max_distance and distance < best.get(image[pair], 2.0):
            best[image[pair]] = distance
            nearest[rows[image[pair]]], turns[rows[image[pair]]] = rows[other[pair]], turn[pair]
    return nearest, turns


def combined() -> np.ndarray:
    """The turn that does the same as one turn after another: int (8, 8), [after, before]."""
    corner = np.arange(4).reshape(2, 2)
    turns = {turned(corner, turn).tobytes(): turn for turn in range(8)}
    return np.array([[turns[turned(turned(corner, before), after).tobytes()] for before in range(8)] for after in range(8)])


class Looks:
    """The images at the size of the second look: each is decoded once, when it is first asked for, and kept (100 KB)."""

    def __init__(self, paths: Sequence[str], size: tuple[int, int]) -> None:
        height = read_image(paths[0]).shape[0] if paths else 256
        self.finer = int(min(max(OF_ITS_OWN * height / size[0], 2), FINEST))
        self.size, self.shifts = (size[0] * self.finer, size[1] * self.finer), (SHIFTS[0] * self.finer, SHIFTS[1] * self.finer)
        self.paths = paths
        self.cached: dict[int, np.ndarray] = {}
        self.shares: dict[int, float] = {}

    def image(self, index: int) -> np.ndarray:
        """Image `index`, uint8 (rows, columns)."""
        if index not in self.cached:
            self.cached[index] = read_image(self.paths[index], self.size)
        return self.cached[index]

    def distance(self, first: int, second: int, turn: int) -> float:
        """1 minus the best correlation of the detail of one image and of another, turned, under all small shifts, as float.

        A pattern, as on checkered plate, lies on every other piece of such plate, turned or not. There the distance is told as a share of
        that between the picture and itself in a wrong place: only a copy fits better than the pattern does.
        """
        rows, columns = self.shifts
        middle = turned(less_surroundings(self.image(second)), turn)[rows:-rows, columns:-columns]
        return min((1 - best_correlation(less_surroundings(self.image(first)), middle)) / self.share(first), 1.0)

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
    """The labels (N,) once the second look has joined what it finds close among some pairs; those together already are not compared."""
    labels = labels.copy()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(first), LOOKS):
            part = slice(start, start + LOOKS)
            rows = start + np.flatnonzero(labels[first[part]] != labels[second[part]])  # a thousand copies are half a million pairs
            apart = list(pool.map(small.distance, first[rows], second[rows], turn[rows]))
            for row, value in zip(rows, apart, strict=True):
                if value <= max_distance:
                    labels[labels == labels[second[row]]] = labels[first[row]]
    return labels


def in_one_position(
    small: Looks, pairs: tuple[np.ndarray, np.ndarray, np.ndarray], hub: int, max_distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compare all images of a crowd, such as pictures of one fixed view, by samples: far cheaper than a second look at every pair.

    Each image is turned and shifted to lie on one of them, the hub. How a copy of an image is moved shows in this, whatever the hub
    has in common with both. Then one product compares samples of all.

    Arguments:
        small: Looks; pairs: first, second, turn (M,); hub: the index of an image.

    Returns chosen (M,) bool, the pairs of the hub and of those that are its candidates; alike (chosen.sum(),) bool, those that
    are worth a second look.
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
            alike[rows] = products(whole(windows, (1, 1)), whole(windows, step), one[rows], other[rows]) >= limits[rows]
    return chosen, alike


def turned_onto(
    hub: int, first: np.ndarray, second: np.ndarray, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The images of a crowd in the turns in which they lie on its hub, and which pairs are of two of them.

    Arguments:
        hub: the index of an image; first, second, turn: pairs (M,), as from `close_pairs`.

    Returns images, turns (at most MOST, the hub first); chosen (M,) bool, the pairs of two such images; one, other
    (chosen.sum(),), those pairs as places among the images.
    """
    after, back = combined(), np.array(BACK)
    node = np.full((max(first.max(), second.max()) + 1, 8), -1)  # the place of an image in a turn, where that lies on the hub
    node[hub, 0] = 0
    node[second[first == hub], turn[first == hub]] = 0
    node[first[second == hub], back[turn[second == hub]]] = 0
    node[hub, 0] = -1
    images, turns = (np.concatenate([start, rest])[:MOST] for start, rest in zip(([hub], [0]), np.nonzero(node == 0), strict=True))
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
    """The detail of images in a crowd, all in the hub's position, float16 (M, rows, columns): its middle and a border of one."""
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
    """A function that gives some windows without their border, moved by step - 1 rows and columns: float32 (B, pixels) of length 1."""
    down, right = step

    def values(part):
        chosen = windows[part, down : windows.shape[1] - 2 + down, right : windows.shape[2] - 2 + right]
        return of_length_one(chosen.reshape(len(chosen), -1).astype(np.float32))

    return values


def sampled(windows: np.ndarray, step: tuple[int, ...]) -> Callable[[slice], np.ndarray]:
    """As `whole`, of some tiles of the windows alone."""
    high, wide = (windows.shape[1] - 2) // TILE, (windows.shape[2] - 2) // TILE
    picked = np.random.default_rng(0).permutation(high * wide)[:TILES]
    places = np.add.outer(picked // wide * TILE, np.arange(TILE)), np.add.outer(picked % wide * TILE, np.arange(TILE))
    row, column = (places[0] + step[0])[:, :, None], (places[1] + step[1])[:, None, :]
    return lambda part: of_length_one(windows[part][:, row, column].reshape(len(windows[part]), -1).astype(np.float32))
