"""Which strips to look at: the worst misses, the worst false alarms, the lowest Dice, small defects, pairs told apart."""

from itertools import combinations

import numpy as np

from lib import rle
from lib.metrics import dice


def worst(truth, predicted, scores, label, count=3):
    """The strips that a reader should see, {title: list of rows}, none twice under one title.

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
    """The rows of the chosen (N, C) pairs with the lowest keys, at most `count`, each once."""
    rows, classes = np.nonzero(chosen)
    order = np.argsort(key[rows, classes], kind="stable")
    return list(dict.fromkeys(rows[order].tolist()))[:count]


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


def titles(image_ids, rows, binary, label, scores):
    """A line for each row: image id, the probability of any defect, those of the classes, and the mean Dice."""
    names = [" ".join(f"{value:.2f}" for value in label[row]) for row in rows]
    return [f"{image_ids[row]}  defect {binary[row]:.2f}, classes {text}, mean Dice {scores[row].mean():.2f}"
            for row, text in zip(rows, names, strict=True)]  # fmt: skip
