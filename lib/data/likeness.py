"""How alike images are: fingerprints that bear shifts, light and turns, and the pairs of them that are
close."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from scipy import fft

from lib.data.images import read_image

CANDIDATE = 0.4  # fingerprints further apart than this are not looked at again
ROUGH = 0.7  # nor are those whose sums over the offsets are: near-duplicates' have at most 0.48, 1 of 2,400 unrelated pairs below 0.7
PIXELS = 1600  # of a fingerprint: 16 x 100 for a strip of 256 x 1600
LONG_OFFSETS = (
    (0, 0),
    (0, -2),
    (0, -1),
    (0, 1),
    (0, 2),
)  # quarters of a fingerprint's row and column by which one picture is moved
SQUARE_OFFSETS = (0, 0), (0, -2), (0, 2), (-2, 0), (2, 0)  # alike in all eight turns
SHIFTS = (
    1,
    3,
)  # rows and columns of a fingerprint by which the second look shifts the pictures: 16 and 48 pixels of a strip
FLAT = 1.0  # grey levels; detail that is flatter than this is noise
BLOCK = 512  # pictures of which some pairs are compared at a time; 1 MB of distances
TABLE = 2048  # fingerprints of which all pairs are compared at a time: one large product is quicker than many
ROWS = 64  # of such a table that are looked at a time: half a megabyte stays in the processor's cache


def turned(array: np.ndarray, turn: int) -> np.ndarray:
    """An array (H, W) or (H, W, channels) in one of the eight turns, see the module; a view."""
    array = array.swapaxes(0, 1) if turn & 4 else array
    array = array[::-1] if turn & 2 else array
    return array[:, ::-1] if turn & 1 else array


def of_length_one(values: np.ndarray) -> np.ndarray:
    """Rows (N, pixels), each divided by its length."""
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)


def products(
    ones: Callable[[slice], np.ndarray],
    others: Callable[[slice], np.ndarray],
    one: np.ndarray,
    other: np.ndarray,
) -> np.ndarray:
    """The products (M,) of rows `one` and `other` of two tables, which are functions that give a slice of
    their rows."""
    result = np.zeros(len(one), np.float32)
    if not len(one):
        return result
    order = np.lexsort((other // BLOCK, one // BLOCK))
    tile = np.stack([one // BLOCK, other // BLOCK])[:, order]
    begins = np.flatnonzero(np.r_[True, (np.diff(tile) != 0).any(axis=0)])
    for begin, end in zip(begins, [*begins[1:], len(one)], strict=True):
        rows, (top, left) = order[begin:end], tile[:, begin] * BLOCK
        table = ones(slice(top, top + BLOCK)) @ others(slice(left, left + BLOCK)).T
        result[rows] = table[one[rows] - top, other[rows] - left]
    return result


def position_detail(image: np.ndarray, finer: int) -> np.ndarray:
    """The coarser detail of a picture of the second look, by which crowds are brought into one position:
    twice a fingerprint's size."""
    rows, columns = image.shape[0] // finer * 2, image.shape[1] // finer * 2
    return less_surroundings(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA))


def position(coarse: np.ndarray, reference: np.ndarray, finer: int) -> list[int]:
    """How many rows and columns of the second look a picture lies below and right of the hub, from the
    `position_detail` of both."""
    limits = 2 * SHIFTS[0], 2 * SHIFTS[1]
    match = cv2.matchTemplate(
        coarse, reference[limits[0] : -limits[0], limits[1] : -limits[1]], cv2.TM_CCORR_NORMED
    )
    peak = np.unravel_index(match.argmax(), match.shape)
    offsets = []
    for at, limit, line in zip(peak, limits, (match[:, peak[1]], match[peak[0]]), strict=True):
        rest = 0.0
        if 0 < at < len(line) - 1:  # the top of a parabola through three values
            before, top, behind = line[at - 1 : at + 2]
            rest = float((before - behind) / 2 / min(before - 2 * top + behind, -1e-6))
        offsets.append(
            int(np.clip(round((at + rest - limit) * finer / 2), -limit * finer // 2, limit * finer // 2))
        )
    return offsets


def fingerprint_size(paths: Sequence[str | Path]) -> tuple[int, int]:
    """(rows, columns) of a fingerprint, about 1,600 pixels in the shape of the first image."""
    height, width = read_image(paths[0]).shape if paths else (256, 1600)
    rows = min(max(round((PIXELS * height / width) ** 0.5), 8), PIXELS // 8)
    return rows, PIXELS // rows


def fingerprints(paths: Sequence[str | Path], size: tuple[int, int]) -> np.ndarray:
    """The fingerprints of N images, float32 (5 offsets, N, rows x columns), of length 1, or shorter where an
    image is nearly flat.

    One for each small shift: a column's average is another one if the picture is shifted by half a column.
    """
    offsets = SQUARE_OFFSETS if size[0] == size[1] else LONG_OFFSETS
    if not paths:
        return np.zeros((len(offsets), 0, size[0] * size[1]), np.float32)

    def fingerprint(path):
        fine = read_image(path, (size[0] * 4, size[1] * 4))
        prints = []
        for offset in offsets:
            values = less_surroundings(
                cv2.resize(np.roll(fine, offset, (0, 1)), size[::-1], interpolation=cv2.INTER_AREA)
            ).ravel()
            prints.append(values / max(np.linalg.norm(values), FLAT * values.size**0.5))
        return np.stack(prints)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # OpenCV decodes outside Python's lock
        return np.stack(list(pool.map(fingerprint, paths)), axis=1)


def less_surroundings(small: np.ndarray) -> np.ndarray:
    """What tells a picture from others, float32 (rows, columns): its grey levels less their surroundings,
    rows and columns.

    Dark side blocks, uneven light and the streaks that run along a whole roll are taken away: they make
    unrelated strips look alike.
    """
    small = small.astype(np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT)
    return small - small.mean(axis=0) - small.mean(axis=1, keepdims=True) + small.mean()


def close_pairs(
    prints: np.ndarray, size: tuple[int, int], max_distance: float = CANDIDATE
) -> tuple[np.ndarray, ...]:
    """The pairs of fingerprints, of which the second may be turned, whose distance is at most `max_distance`.

    A rough look goes over all pairs, a table at a time: 12,568 images are 79 million pairs in four turns,
    about six seconds of processor time. What passes it is compared under all offsets.

    Returns first, second (first < second), turn, distance: `turned(second, turn)` is that far from the first.
    A pair may be close in several turns.
    """
    pairs: list[tuple[np.ndarray, ...]] = [
        (np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), np.zeros(0, np.float32))
    ]
    total = sums(prints).reshape(-1, *size)
    plain = mirror_parts(total)
    across = mirror_parts(total.swapaxes(1, 2)) if size[0] == size[1] else None
    for top in range(0, len(total), TABLE):
        for left in range(top, len(total), TABLE):
            ones = [part[top : top + TABLE] for part in plain]
            for base, parts in ((0, plain), (4, across)) if across else ((0, plain),):
                others = [part[left : left + TABLE] for part in parts]
                for turn, (row, column) in enumerate(alike_at_all(ones, others), base):
                    keep = row + top < column + left
                    row, column = row[keep], column[keep]
                    likeness = likeness_of(prints, size, top, left, row, column, turn)
                    near = likeness >= 1 - max_distance
                    turns = np.full(near.sum(), turn)
                    pairs.append((row[near] + top, column[near] + left, turns, 1 - likeness[near]))
    return tuple(np.concatenate(values) for values in zip(*pairs, strict=True))


def sums(prints: np.ndarray) -> np.ndarray:
    """The fingerprints' sums over the offsets, float32 (N, pixels): a small shift changes such a sum little.

    It gets the length of its unshifted fingerprint, so that flat images stay like nothing.
    """
    total = prints.sum(axis=0)
    return (
        total * (np.linalg.norm(prints[0], axis=1) / np.maximum(np.linalg.norm(total, axis=1), 1e-6))[:, None]
    )


def mirror_parts(planes: np.ndarray) -> list[np.ndarray]:
    """Pictures (N, rows, columns) as sums of four parts, float32 (N, about a quarter of the pixels) each.

    Rows and columns even, rows odd, columns odd, both odd: a mirror leaves an even part and changes the sign
    of an odd one, so that the products of two pictures' parts tell their product in all four mirrorings.
    """
    parts = []
    for columns in halves(planes):
        for part in halves(columns.swapaxes(1, 2)):
            parts.append(np.ascontiguousarray(part.reshape(len(part), part.shape[1] * part.shape[2])))
    return parts


def halves(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The even and the odd part of pictures along their last axis, each half as long (the middle belongs to
    the even one)."""
    length = planes.shape[-1]
    begin, end = planes[..., : length // 2], planes[..., ::-1][..., : length // 2]
    middle = planes[..., length // 2 : length - length // 2]
    return np.concatenate([(begin + end) / 2**0.5, middle], axis=-1), (begin - end) / 2**0.5


def alike_at_all(ones: list[np.ndarray], others: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which pairs of sums are worth comparing under all offsets, from the `mirror_parts` of A and B of them:
    (row, column) for each of the mirrorings 0..3.

    Nearly all pass in none: their best mirroring tells that, with one comparison.
    """
    tables = [one @ other.T for one, other in zip(ones, others, strict=True)]
    width, passed = tables[0].shape[1], [[np.zeros((2, 0), int)] for _ in range(4)]
    for start in range(0, len(tables[0]), ROWS):
        even, odd_rows, odd_columns, odd = (table[start : start + ROWS] for table in tables)
        same, swapped = (even + odd_rows, even - odd_rows), (odd_columns + odd, odd_columns - odd)
        best = np.maximum(same[0] + np.abs(swapped[0]), same[1] + np.abs(swapped[1]))
        near = np.flatnonzero(best >= 1 - ROUGH)
        for turn in range(4):
            plain, other = same[turn // 2].ravel()[near], swapped[turn // 2].ravel()[near]
            alike = near[(plain - other if turn % 2 else plain + other) >= 1 - ROUGH]
            passed[turn].append(np.stack([alike // width + start, alike % width]))
    return [tuple(np.concatenate(places, axis=1)) for places in passed]


def likeness_of(
    prints: np.ndarray,
    size: tuple[int, int],
    top: int,
    left: int,
    row: np.ndarray,
    column: np.ndarray,
    turn: int,
) -> np.ndarray:
    """The best correlation (M,) under all offsets of fingerprints top + row and left + column, the second
    ones turned."""

    def seconds(rows):
        planes = prints[0, rows].reshape(-1, *size)
        return (
            np.stack([turned(picture, turn) for picture in planes]).reshape(len(rows), -1)
            if len(rows)
            else prints[0, rows]
        )

    likeness = np.full(len(row), -1, np.float32)
    height, width = (min(start + TABLE, prints.shape[1]) - start for start in (top, left))
    if 16 * len(row) > height * width:  # as where all images show one view: products of all pairs are faster
        others = seconds(np.arange(left, left + width)).T
        for shifted in prints:
            likeness = np.maximum(likeness, (shifted[top : top + TABLE] @ others)[row, column])
        return likeness
    for start in range(0, len(row), BLOCK):
        part = slice(start, start + BLOCK)
        others, one = seconds(column[part] + left), row[part] + top
        likeness[part] = np.max([np.einsum("ij,ij->i", shifted[one], others) for shifted in prints], axis=0)
    return likeness


def best_correlation(picture: np.ndarray, part: np.ndarray) -> float:
    """The highest correlation (not centred, normalised) of a smaller picture with a larger one, wherever it
    lies inside, as float.

    As cv2.matchTemplate with TM_CCORR_NORMED, in a seventh of its time: the larger picture need not be
    enlarged, as nothing lies outside.
    """
    down, right = picture.shape[0] - part.shape[0] + 1, picture.shape[1] - part.shape[1] + 1
    spectrum = fft.rfft2(picture) * fft.rfft2(part, picture.shape).conj()
    product = fft.irfft2(spectrum, picture.shape)[:down, :right]
    corners = cv2.integral(picture * picture, sdepth=cv2.CV_64F)
    energy = (
        corners[-down:, -right:] - corners[:down, -right:] - corners[-down:, :right] + corners[:down, :right]
    )
    length = np.sqrt(np.maximum(energy, 0) * float(np.vdot(part, part)))
    return float(np.max(product / np.maximum(length, 1e-6)))


def self_likeness(picture: np.ndarray, least: int) -> float:
    """The correlation of a picture with itself, moved round to the best place that is more than `least`
    pixels away, 0..1."""
    likeness = fft.irfft2(np.abs(fft.rfft2(picture)) ** 2, picture.shape)
    energy = likeness[0, 0]
    near = np.arange(-least, least + 1)
    likeness[np.ix_(near, near)] = 0
    return float(likeness.max() / energy) if energy > 0 else 0.0
