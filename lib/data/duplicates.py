"""Near-duplicates among images: one piece of steel in two files, turned or mirrored, shifted, brighter or
encoded anew.

Square images are compared in their eight turns, others in the four that keep their shape. A turn is a number
whose bits say what
is done, in this order: 4, rows and columns change places; 2, the rows are reversed; 1, the columns are.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lib.data import alignment
from lib.data.likeness import close_pairs, fingerprint_size, fingerprints
from lib.errors import UserError

MAX_DISTANCE = 0.5  # near-duplicates have 0.05 to 0.37, the nearest unrelated strips above 0.7
CROWD = 16  # candidates of one image from which on it pays to bring them all into one position before any two are compared


def find_duplicates(paths: Iterable[str | Path], max_distance: float = MAX_DISTANCE) -> np.ndarray:
    """Number the groups of near-duplicate images.

    Fingerprints find the candidates among all pairs and turns: the detail of 16 x 100 averages. A second look
    at 128 x 800 averages decides (at fewer where images are smaller than strips), with one picture turned and
    shifted over the other. A distance is 1 minus
    the correlation: 0 for the same picture however bright, about 1 for unrelated ones. Images without detail,
    such as all black ones, are like nothing; those with a regular pattern, such as checkered plate, are
    copies only if they fit clearly better than the pattern moved on by a period.

    How far a copy may be moved: of 30 generated strips, moved, brightened and encoded anew, all were found at
    12 pixels along the strip, 25 at 16 and 3 at 24; across it 27 at 8 pixels and 7 at 12.

    Arguments:
        paths: N files.
        max_distance: 0..1; closer images are near-duplicates, and so are near-duplicates of near-duplicates.
            Pairs that the fingerprints tell apart are not looked at again, whatever it is.

    Returns int64 (N,): equal numbers are one group, counted from 0 in the order of their first image.
    Raises UserError for an unreadable image or a distance outside 0..1.
    """
    if not 0 <= max_distance <= 1:
        raise UserError(
            f"duplicate_distance is {max_distance}. It must be from 0 to 1, such as {MAX_DISTANCE}."
        )
    files = [str(path) for path in paths]
    size = fingerprint_size(files)
    first, second, turn, _ = close_pairs(fingerprints(files, size), size)
    labels, small = np.arange(len(files)), alignment.Looks(files, size)
    while len(first):
        often = np.bincount(np.concatenate([first, second]), minlength=len(files))
        if often.max() < CROWD:
            break
        chosen, alike = alignment.in_one_position(
            small, (first, second, turn), int(often.argmax()), max_distance
        )
        labels = alignment.join(
            labels, small, first[chosen][alike], second[chosen][alike], turn[chosen][alike], max_distance
        )
        first, second, turn = (values[~chosen] for values in (first, second, turn))
        open_ = labels[first] != labels[second]
        first, second, turn = first[open_], second[open_], turn[open_]
    labels = alignment.join(labels, small, first, second, turn, max_distance)
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
    """For some images, the nearest near-duplicate among others: its index and how it is turned, two int (N,);
    index -1 where is none.

    Arguments:
        paths: N files; group: (N,) from `find_duplicates`; wanted, among: (N,) bool, of which images and
            among which;
        looks: the candidates, best fingerprints first, that get a second look.

    `turned(image of the index, turn)` lies on the image, but for a shift.
    """
    paths, group = [str(path) for path in paths], np.asarray(group)
    both = np.isin(group, np.intersect1d(group[wanted], group[among]))
    rows, nearest, turns = np.flatnonzero(both), np.full(len(paths), -1), np.zeros(len(paths), int)
    members = [paths[row] for row in rows]
    size = fingerprint_size(paths[:1])
    first, second, turn, apart = close_pairs(fingerprints(members, size), size)
    back = np.array(alignment.BACK)[turn]
    image, other = np.concatenate([first, second]), np.concatenate([second, first])
    turn, apart = np.concatenate([turn, back]), np.concatenate([apart, apart])
    pairs = np.flatnonzero(np.asarray(wanted)[rows][image] & np.asarray(among)[rows][other])
    pairs = pairs[np.lexsort((apart[pairs], image[pairs]))]
    rank = np.arange(len(pairs)) - np.searchsorted(image[pairs], image[pairs])
    pairs = pairs[rank < looks]
    small = alignment.Looks(members, size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        distances = list(pool.map(small.distance, image[pairs], other[pairs], turn[pairs]))
    best: dict[int, float] = {}
    for pair, distance in zip(pairs, distances, strict=True):
        if distance <= max_distance and distance < best.get(image[pair], 2.0):
            best[image[pair]] = distance
            nearest[rows[image[pair]]], turns[rows[image[pair]]] = rows[other[pair]], turn[pair]
    return nearest, turns
