"""Near-duplicates among images: the same piece of steel in two files, perhaps shifted, brighter or encoded anew."""

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lib.images import read_image
from lib.paths import UserError

MAX_DISTANCE = 0.5  # near-duplicates have 0.05 to 0.37, the nearest unrelated strips above 0.7
CANDIDATE = 0.4  # fingerprints further apart than this are not looked at again
ROUGH = 0.7  # nor are those whose sums over the offsets are: near-duplicates' have at most 0.48, 1 of 2,400 unrelated pairs below 0.7
PIXELS = 1600  # of a fingerprint: 16 x 100 for a strip of 256 x 1600
OFFSETS = -8, -4, 0, 4, 8  # sixteenths of a fingerprint's column by which one picture is shifted: up to 8 pixels of a strip
FINER = 8  # the second look has 128 x 800 pixels
SHIFTS = 8, 24  # rows and columns by which the second look shifts the pictures: 16 and 48 pixels of a strip
FLAT = 1.0  # grey levels; detail that is flatter than this is noise
LOOKS = 32  # pairs that get a second look, before it is asked again which images are together already
BLOCK = 2048  # fingerprints compared at a time; 16 MB of distances


def find_duplicates(paths, max_distance=MAX_DISTANCE):
    """Number the groups of near-duplicate images.

    Fingerprints find the candidates among all pairs: the detail of 16 x 100 averages. A second look at 128 x 800 averages
    decides, with one picture shifted over the other. A distance is 1 minus the correlation: 0 for the same picture however
    bright, about 1 for unrelated ones. Images without detail, such as all black ones, are like nothing.

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
    paths = [str(path) for path in paths]
    size = fingerprint_size(paths)
    prints = fingerprints(paths, size)
    first, second, _ = close_pairs(prints)
    labels, linked = np.arange(len(paths)), np.zeros((2, 0), int)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(first), LOOKS):
            pairs = np.stack([first[start : start + LOOKS], second[start : start + LOOKS]])
            pairs = pairs[:, labels[pairs[0]] != labels[pairs[1]]]  # a thousand copies of one image are half a million pairs
            near = list(pool.map(lambda a, b: distance(paths[a], paths[b], size) <= max_distance, *pairs))
            if any(near):
                linked = np.concatenate([linked, pairs[:, near]], axis=1)
                links = coo_matrix((np.ones(linked.shape[1], np.uint8), tuple(linked)), shape=(len(paths), len(paths)))
                labels = connected_components(links, directed=False)[1]
    _, where, groups = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(where))[groups].astype(np.int64)


def fingerprint_size(paths):
    """(rows, columns) of a fingerprint, about 1,600 pixels in the shape of the first image."""
    height, width = read_image(paths[0]).shape if paths else (256, 1600)
    rows = min(max(round((PIXELS * height / width) ** 0.5), 8), PIXELS // 8)
    return rows, PIXELS // rows


def fingerprints(paths, size):
    """The fingerprints of N images, float32 (OFFSETS, N, rows x columns), of length 1, or shorter where an image is nearly flat.

    One for each small shift: a column's average is another one if the picture is shifted by half a column.
    """
    if not paths:
        return np.zeros((len(OFFSETS), 0, size[0] * size[1]), np.float32)

    def fingerprint(path):
        fine, found = read_image(path, (size[0] * 4, size[1] * 4)), []
        for offset in OFFSETS:
            values = less_surroundings(cv2.resize(np.roll(fine, offset // 4, axis=1), size[::-1], interpolation=cv2.INTER_AREA)).ravel()
            found.append(values / max(np.linalg.norm(values), FLAT * values.size**0.5))
        return np.stack(found)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # OpenCV decodes outside Python's lock
        return np.stack(list(pool.map(fingerprint, paths)), axis=1)


def detail(path, size):
    """What tells an image from others, float32 (rows, columns): its grey levels less their surroundings, rows and columns.

    Dark side blocks, uneven light and the streaks that run along a whole roll are taken away: they make unrelated strips
    look alike.
    """
    return less_surroundings(read_image(path, size))


def less_surroundings(small):
    """`detail` of an image that is small already, uint8 (rows, columns)."""
    small = small.astype(np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT)
    return small - small.mean(axis=0) - small.mean(axis=1, keepdims=True) + small.mean()


def close_pairs(prints, max_distance=CANDIDATE):
    """The pairs of fingerprints whose distance is at most `max_distance`: first, second (first < second), distance.

    A rough look goes over all pairs with one product, a block at a time: 12,568 images are 79 million pairs, about three seconds of
    processor time. What passes it is compared under all offsets.
    """
    first, second = alike_at_all(prints)
    likeness = [np.zeros(0, np.float32)]
    for start in range(0, len(first), BLOCK):
        ones, others = prints[OFFSETS.index(0), first[start : start + BLOCK]], second[start : start + BLOCK]
        likeness.append(np.max([np.einsum("ij,ij->i", ones, shifted[others]) for shifted in prints], axis=0))
    likeness = np.concatenate(likeness)
    near = likeness >= 1 - max_distance
    return first[near], second[near], 1 - likeness[near]


def alike_at_all(prints):
    """The pairs (first < second) that are worth comparing under all offsets: those whose fingerprints' sums over the offsets are alike.

    A small shift changes such a sum little. It gets the length of its unshifted fingerprint, so that flat images stay like nothing.
    """
    total = prints.sum(axis=0)
    length = np.linalg.norm(prints[OFFSETS.index(0)], axis=1) / np.maximum(np.linalg.norm(total, axis=1), 1e-6)
    total *= length[:, None]
    found = [np.zeros((2, 0), int)]
    for top in range(0, len(total), BLOCK):
        for left in range(top, len(total), BLOCK):
            row, column = np.nonzero(total[top : top + BLOCK] @ total[left : left + BLOCK].T >= 1 - ROUGH)
            keep = row + top < column + left
            found.append(np.stack([row[keep] + top, column[keep] + left]))
    return np.concatenate(found, axis=1)


def distance(path_a, path_b, size):
    """1 minus the best correlation of two images' detail under all small shifts, as float."""
    size = size[0] * FINER, size[1] * FINER
    rows, columns = SHIFTS
    middle = detail(path_b, size)[rows:-rows, columns:-columns]
    return 1 - float(cv2.matchTemplate(detail(path_a, size), middle, cv2.TM_CCORR_NORMED).max())
