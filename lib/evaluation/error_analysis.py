"""Where the score is lost: the worst strips, what each step of the cascade costs, and how much hangs on a
pixel of the boundary."""

from itertools import combinations

import cv2
import numpy as np

from lib.data import rle
from lib.evaluation.metrics import dice
from lib.evaluation.predictions import CascadePredictions, passing_pairs
from lib.evaluation.scores import SEVERSTAL, losses
from lib.evaluation.threshold_search import cross_fitted_pixels
from lib.inference.postprocess import PostprocessConfig

MOVES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
PERTURBATIONS = (*MOVES, "wider", "narrower")
KERNEL = np.ones((3, 3), np.uint8)


def perturb_boundary(mask: np.ndarray, how: str) -> np.ndarray:
    """A mask (H, W) uint8 0/1 changed by a pixel as named in PERTURBATIONS; what leaves the image is lost."""
    if how == "wider":
        return cv2.dilate(mask, KERNEL)
    if how == "narrower":
        return cv2.erode(mask, KERNEL, borderType=cv2.BORDER_REPLICATE)
    down, right = MOVES[how]
    height, width = mask.shape
    target = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
    source = slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0))
    moved = np.zeros_like(mask)
    moved[target] = mask[source]
    return moved


def perturbed_dice(first: str, second: str, shape: tuple[int, int]) -> dict[str, float]:
    """Dice with `first` for each way in which the boundary of `second` may be off by a pixel: {how: float}.

    Arguments:
        first, second: run-length strings, not both empty; shape: (H, W).
    """
    first_mask, second_mask = rle.decode(first, shape), rle.decode(second, shape)
    area, scores = int(first_mask.sum()), {}
    for how in PERTURBATIONS:
        moved = perturb_boundary(second_mask, how)
        scores[how] = float(dice(np.count_nonzero(first_mask & moved), np.count_nonzero(moved), area))
    return scores


def mean_perturbed_dice(
    first: list[list[str]], second: list[list[str]], shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """`perturbed_dice` of all pairs of which neither is empty: {how: (C,) mean over the class's images, NaN
    where there is none}, and under "as it is" the unchanged Dice. Nested lists (N x C) of run-length
    strings."""
    classes = len(first[0]) if first else 0
    values: list[list[dict]] = [[] for _ in range(classes)]
    for rows in zip(first, second, strict=True):
        for class_index, (one, other) in enumerate(zip(*rows, strict=True)):
            if one and other:
                plain = float(dice(rle.intersection(one, other), rle.area(other), rle.area(one)))
                values[class_index].append({"as it is": plain, **perturbed_dice(one, other, shape)})
    return {
        how: np.array(
            [np.mean([one[how] for one in of_class]) if of_class else np.nan for of_class in values]
        )
        for how in ("as it is", *PERTURBATIONS)
    }


def perturbed_score_changes(
    truth: list[list[str]], predicted: list[list[str]], scores: np.ndarray, shape: tuple[int, int]
) -> dict[str, float]:
    """How much the competition score changes if every predicted mask is off by one pixel: {how: float}.

    Arguments:
        truth, predicted: nested lists (N x C) of run-length strings; scores: (N, C) Dice of the pairs.
    """
    total = dict.fromkeys(PERTURBATIONS, 0.0)
    for row, texts in enumerate(zip(truth, predicted, strict=True)):
        for class_index, (true_text, text) in enumerate(zip(*texts, strict=True)):
            if true_text and text:
                for how, value in perturbed_dice(true_text, text, shape).items():
                    total[how] += value - scores[row, class_index]
    return {how: float(value / scores.size) for how, value in total.items()}


def lost_points(
    predictions: CascadePredictions,
    thresholds: PostprocessConfig | list[tuple[np.ndarray, PostprocessConfig]],
    score: str = SEVERSTAL,
) -> dict[str, np.ndarray]:
    """Where the score is lost: a dict of (C,) arrays whose overall sum is 1 minus the score.

    Arguments:
        thresholds: for all images, or the list of `fold_thresholds`; score: one of `scores.TITLES`.

    filtered out: a defect on an image that the binary filter dropped; class missed: the multilabel filter
    dropped it; no mask: the segmenter predicted nothing or too little; imperfect mask: Dice below 1; false
    alarm: a mask where none is.
    """
    everywhere = np.ones(len(predictions.true_area), bool)
    by_fold = thresholds if isinstance(thresholds, list) else [(everywhere, thresholds)]
    loss = losses(score, cross_fitted_pixels(predictions, by_fold))
    lost: dict[str, np.ndarray] = {}
    for inside, of_fold in by_fold:
        for name, chosen in stages_of(predictions.take(inside), of_fold).items():
            lost[name] = lost.get(name, np.zeros(1)) + (loss[inside] * chosen).sum(axis=0)
    return lost


def stages_of(predictions: CascadePredictions, thresholds: PostprocessConfig) -> dict[str, np.ndarray]:
    """Which image-class pairs, (N, C) bool, each stage of `lost_points` is about."""
    passed, named, predicted, _, _ = passing_pairs(predictions, thresholds)
    return stages_by_filters(predictions.has_defect, passed, named, predicted)


def stages_by_filters(
    has_defect: np.ndarray, passed: np.ndarray, named: np.ndarray, predicted: np.ndarray
) -> dict[str, np.ndarray]:
    """As `stages_of`, from which pairs (N, C) have a defect, passed the filters, and got a mask."""
    return {
        "filtered out": has_defect & ~passed,
        "class missed": has_defect & passed & ~named,
        "no mask": has_defect & named & ~predicted,
        "imperfect mask": has_defect & predicted,
        "false alarm": ~has_defect & predicted,
    }


def worst(
    truth: list[list[str]],
    predicted: list[list[str]],
    scores: np.ndarray,
    class_probability: np.ndarray,
    n_examples: int = 3,
) -> dict[str, list[tuple[int, int]]]:
    """The strips that a reader should see, {title: list of (row, class index)}, no row twice under one title.

    Arguments:
        truth, predicted: nested lists (N x C) of run-length strings; scores: (N, C) Dice; class_probability:
            (N, C).
    """
    has_defect = np.array([[text != "" for text in row] for row in truth])
    has_mask = np.array([[text != "" for text in row] for row in predicted])
    area = np.array([[rle.area(text) for text in row] for row in truth])
    return {
        "missed": first_rows(has_defect & ~has_mask, -area, n_examples),
        "false alarm": first_rows(has_mask & ~has_defect, -class_probability, n_examples),
        "lowest Dice": first_rows(has_defect & has_mask, scores, n_examples),
        "small": first_rows(has_defect, area, n_examples),
    }


def first_rows(chosen: np.ndarray, key: np.ndarray, n_examples: int) -> list[tuple[int, int]]:
    """The chosen (N, C) pairs with the lowest keys as (row, class index), at most `n_examples`, each row
    once, with its first class."""
    rows, classes = np.nonzero(chosen)
    order = np.argsort(key[rows, classes], kind="stable")
    first: dict[int, int] = {}
    for row, class_index in zip(rows[order].tolist(), classes[order].tolist(), strict=True):
        first.setdefault(row, class_index)
    return list(first.items())[:n_examples]


def conflicting(
    masks: list[list[str]], group: np.ndarray, same_from: float = 0.9
) -> list[tuple[int, int, float]]:
    """Near-duplicates that were outlined differently: a list of (row, row, Dice of all masks together).

    Arguments:
        masks: nested list (N x C) of run-length strings; group: (N,), equal for near-duplicates; same_from:
            Dice from which on two outlines count as the same.

    Lowest Dice first. Near-duplicates may be shifted by a few columns, so that Dice stays below 1 even where
    one hand drew both.
    """
    pairs = []
    for group_index in np.flatnonzero(np.bincount(group) > 1):
        for first, second in combinations(np.flatnonzero(group == group_index).tolist(), 2):
            areas = [sum(rle.area(text) for text in masks[row]) for row in (first, second)]
            intersection = sum(
                rle.intersection(one, other) for one, other in zip(masks[first], masks[second], strict=True)
            )
            likeness = float(dice(intersection, *areas))
            if likeness < same_from:
                pairs.append((first, second, likeness))
    return sorted(pairs, key=lambda pair: pair[2])


def titles(
    image_ids: list[str],
    pairs: list[tuple[int, int]],
    defect_probability: np.ndarray,
    class_probability: np.ndarray,
    scores: np.ndarray,
) -> list[str]:
    """A line for each (row, class index): image id, that class and its Dice, what the classifiers state, and
    the mean Dice."""
    return [
        f"{image_ids[row]}  class {class_index + 1}: Dice {scores[row][class_index]:.2f}; "
        f"{probabilities(defect_probability[row], class_probability[row])}, mean Dice "
        f"{scores[row].mean():.2f}"
        for row, class_index in pairs
    ]


def probabilities(defect_probability: float, class_probability: np.ndarray) -> str:
    """The probabilities of any defect and of the classes (C,) in words; NaN: not asked."""
    texts = []
    for values in (np.atleast_1d(defect_probability), class_probability):
        texts.append("not asked" if np.isnan(values).any() else " ".join(f"{value:.2f}" for value in values))
    return f"defect {texts[0]}, classes {texts[1]}"
