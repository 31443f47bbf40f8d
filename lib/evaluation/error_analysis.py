"""Where the score is lost: the worst strips, what each step of the cascade costs, and how much hangs on a pixel."""

from itertools import combinations

import cv2
import numpy as np

from lib.data import rle
from lib.evaluation import predictions
from lib.evaluation.metrics import dice

CHANGES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0), "wider": None, "narrower": None}
KERNEL = np.ones((3, 3), np.uint8)


def change(mask, how):
    """A mask (H, W) uint8 0/1 changed by one pixel as named in CHANGES; what leaves the image is lost."""
    if how == "wider":
        return cv2.dilate(mask, KERNEL)
    if how == "narrower":
        return cv2.erode(mask, KERNEL, borderType=cv2.BORDER_REPLICATE)
    down, right = CHANGES[how]
    height, width = mask.shape
    moved = np.zeros_like(mask)
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = (
        mask[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
    )  # fmt: skip
    return moved


def changed_dice(first, second, shape):
    """Dice of `second` with `first` for each way in which `second` may be off by one pixel: {how: float}.

    Arguments:
        first, second: run-length strings, not both empty; shape: (H, W).
    """
    a, b = rle.decode(first, shape), rle.decode(second, shape)
    found, area = {}, int(a.sum())
    for how in CHANGES:
        moved = change(b, how)
        found[how] = float(dice(np.count_nonzero(a & moved), np.count_nonzero(moved), area))
    return found


def mean_changes(first, second, shape):
    """`changed_dice` of all pairs of which neither is empty: {how: (C,) mean over the class's images, NaN where there is none},
    and under "as it is" the unchanged Dice. Nested lists (N x C) of run-length strings."""
    classes = len(first[0]) if first else 0
    values = [[] for _ in range(classes)]
    for row_a, row_b in zip(first, second, strict=True):
        for k, (a, b) in enumerate(zip(row_a, row_b, strict=True)):
            if a and b:
                plain = float(dice(rle.intersection(a, b), rle.area(b), rle.area(a)))
                values[k].append({"as it is": plain, **changed_dice(a, b, shape)})
    return {how: np.array([np.mean([one[how] for one in of_class]) if of_class else np.nan for of_class in values])
            for how in ("as it is", *CHANGES)}  # fmt: skip


def score_changes(truth, predicted, scores, shape):
    """By how much the competition score would change if every drawn mask were off by one pixel: {how: float}.

    Arguments:
        truth, predicted: nested lists (N x C) of run-length strings; scores: (N, C) Dice of the pairs.
    """
    total = dict.fromkeys(CHANGES, 0.0)
    for row, (true_row, drawn_row) in enumerate(zip(truth, predicted, strict=True)):
        for k, (a, b) in enumerate(zip(true_row, drawn_row, strict=True)):
            if a and b:
                for how, value in changed_dice(a, b, shape).items():
                    total[how] += value - scores[row, k]
    return {how: float(value / scores.size) for how, value in total.items()}


def lost_points(evidence, decided):
    """Where the score is lost: a dict of (C,) arrays whose overall sum is 1 minus the competition score.

    Arguments:
        decided: a decision, or the list of `fold_decisions`.

    filtered out: a defect on an image that the binary filter dropped; class missed: the multilabel filter dropped it;
    no mask: the segmenter drew nothing or too little; imperfect mask: Dice below 1; false alarm: a mask where none is.
    """
    if isinstance(decided, list):
        shares = [(part.mean(), lost_points(evidence.take(part), decision)) for part, decision in decided]
        return {name: sum(share * lost[name] for share, lost in shares) for name in shares[0][1]}
    passed, named, drawn, _, _ = predictions.passing_pairs(evidence, decided)
    there, lost = evidence.true_area > 0, 1 - predictions.pair_scores(evidence, decided)
    where = {
        "filtered out": there & ~passed,
        "class missed": there & passed & ~named,
        "no mask": there & named & ~drawn,
        "imperfect mask": there & drawn,
        "false alarm": ~there & drawn,
    }
    return {name: (lost * chosen).sum(axis=0) / lost.size for name, chosen in where.items()}


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
