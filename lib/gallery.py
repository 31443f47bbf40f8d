"""Which strips to look at: the worst misses, the worst false alarms, the lowest Dice, small defects, pairs told apart."""

from itertools import combinations

import numpy as np

from lib import rle
from lib.metrics import dice


def worst(truth, predicted, scores, label, count=3):
    """The strips that a reader should see, {title: list of (row, class)}, no row twice under one title.

    Arguments:
        truth, predicted: nested lists (N x C) of run-length strings; scores: (N, C) Dice; label: (N, C) probabilities.
    """
    there = np.array([[text != "" for text in row] for row in truth])
    drawn = np.array([[text != "" for text in row] for row in predicted])
    area = np.array([[rle.area(text) for text in row] for row in truth])
    return {
        "missed": first_rows(there & ~drawn, -area, count),
        "false alarm": first_rows(drawn & ~there, -label, count),
        "lowest Dice": first_rows(there & drawn, scores, count),
        "small": first_rows(there, area, count),
    }


def first_rows(chosen, key, count):
    """The chosen (N, C) pairs with the lowest keys as (row, class), at most `count`, each row once, with its first class."""
    rows, classes = np.nonzero(chosen)
    order = np.argsort(key[rows, classes], kind="stable")
    first = {}
    for row, k in zip(rows[order].tolist(), classes[order].tolist(), strict=True):
        first.setdefault(row, k)
    return list(first.items())[:count]


def conflicting(masks, group, least=0.9):
    """Pairs of near-duplicates that were outlined differently: a list of (row, row, Dice of all their masks together).

    Arguments:
        masks: nested list (N x C) of run-length strings; group: (N,), equal for near-duplicates; least: Dice from which on
            two outlines count as the same.

    Lowest Dice first. Near-duplicates may be shifted by a few columns, so that Dice stays below 1 even where one hand drew both.
    """
    pairs = []
    for number in np.flatnonzero(np.bincount(group) > 1):
        for a, b in combinations(np.flatnonzero(group == number).tolist(), 2):
            areas = [sum(rle.area(text) for text in masks[row]) for row in (a, b)]
            shared = sum(rle.intersection(one, two) for one, two in zip(masks[a], masks[b], strict=True))
            likeness = float(dice(shared, *areas))
            if likeness < least:
                pairs.append((a, b, likeness))
    return sorted(pairs, key=lambda pair: pair[2])


def titles(image_ids, pairs, binary, label, scores):
    """A line for each (row, class): image id, that class and its Dice, what the classifiers state, and the mean Dice."""
    return [f"{image_ids[row]}  class {k + 1}: Dice {scores[row][k]:.2f}; {probabilities(binary[row], label[row])}, "
            f"mean Dice {scores[row].mean():.2f}" for row, k in pairs]  # fmt: skip


def probabilities(binary, label):
    """The probability of any defect and those of the classes (C,) in words; NaN: that classifier was not asked."""
    texts = ["not asked" if np.isnan(values).any() else " ".join(f"{value:.2f}" for value in values)
             for values in (np.atleast_1d(binary), label)]  # fmt: skip
    return f"defect {texts[0]}, classes {texts[1]}"
