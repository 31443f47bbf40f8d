"""The competition's score, exact in numpy; precision and recall; and, apart from it, what training uses
(`losses`)."""

import numpy as np

from lib import files
from lib.data import rle
from lib.inference.postprocess import reaches


def dice(intersection, predicted_area, true_area) -> np.ndarray:
    """Dice coefficient 2|A and B| / (|A| + |B|) from pixel counts (arrays of any one shape); 1 where both are
    empty.

    Source: the evaluation page of Kaggle's "Severstal: Steel Defect Detection".
    """
    intersection = np.asarray(intersection, float)
    total = np.asarray(predicted_area, float) + np.asarray(true_area, float)
    both_empty = np.ones(np.broadcast_shapes(intersection.shape, total.shape))
    return np.divide(2 * intersection, total, out=both_empty, where=total > 0)


def dice_of_rles(truth: list[list[str]], prediction: list[list[str]]) -> np.ndarray:
    """Dice of every image-class pair, (N, C) float64, from two nested lists (N x C) of run-length strings."""
    shape = (len(truth), len(truth[0]) if len(truth) else 0)
    pairs = [pair for rows in zip(truth, prediction, strict=True) for pair in zip(*rows, strict=True)]
    marked = [index for index, pair in enumerate(pairs) if any(pair)]  # the others, most, are empty in both
    scores = np.ones(len(pairs))
    scores[marked] = dice(
        *rle.compare([pairs[index][0] for index in marked], [pairs[index][1] for index in marked])
    )
    return scores.reshape(shape)


def competition_score(truth: list[list[str]], prediction: list[list[str]]) -> float:
    """Mean Dice over all image-class pairs, 0..1: the competition's score. Two nested lists (N x C) of
    run-length strings."""
    return float(dice_of_rles(truth, prediction).mean())


def all_empty_score(truth: list[list[str]]) -> float:
    """What predicting nothing at all would score: the share of empty pairs."""
    return float(np.mean([[text == "" for text in row] for row in truth]))


def classification_metrics(
    truth: np.ndarray, probability: np.ndarray, threshold: float = 0.5
) -> dict[str, float]:
    """Accuracy, precision and recall of one label, each 0..1.

    Arguments:
        truth: (N,) 0/1; probability: (N,) 0..1; a label is predicted where the probability is at least
            `threshold`.
    Precision is NaN where nothing is predicted, recall where nothing is there.
    """
    truth, predicted = np.asarray(truth, bool), reaches(probability, threshold)
    hits = (truth & predicted).sum()
    return {
        "accuracy": float((truth == predicted).mean()),
        "precision": float(hits / predicted.sum()) if predicted.any() else float("nan"),
        "recall": float(hits / truth.sum()) if truth.any() else float("nan"),
    }


def threshold_for_recall(truth: np.ndarray, probability: np.ndarray, min_recall: float) -> float:
    """The highest threshold that keeps at least `min_recall` (0..1) of the positives; 0.5 where there are
    none."""
    positives = np.sort(np.asarray(probability, float)[np.asarray(truth, bool)])
    if not len(positives):
        return 0.5
    return float(positives[int(np.floor((1 - min_recall) * len(positives) + 1e-9))])


def threshold_for_accuracy(truth: np.ndarray, probability: np.ndarray) -> float:
    """The threshold with the most right answers, of several the nearest to 0.5; midway between the
    probabilities beside it.

    Arguments:
        truth: (N,) 0/1; probability: (N,) 0..1. 0.5 where there are none.
    """
    order = np.argsort(probability, kind="stable")
    truth = np.asarray(truth, bool)[order]
    values = np.asarray(probability, float)[order]
    # if the first n are negative
    right = np.concatenate([[0], np.cumsum(~truth)]) + np.concatenate([np.cumsum(truth[::-1])[::-1], [0]])
    low, high = np.concatenate([[0.0], values]), np.concatenate([values, [1.0]])
    # between neighbours in float32 there is none
    middle = np.where(reaches(low, (low + high) / 2), high, (low + high) / 2)
    threshold = np.where((low < 0.5) & (high >= 0.5), 0.5, middle)
    best = (right == right[high > low].max(initial=-1)) & (high > low)
    return float(threshold[best][np.abs(threshold[best] - 0.5).argmin()]) if best.any() else 0.5


def intersection_and_union(
    truth: list[list[str]], predicted: list[list[str]], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the intersection and of the union of truth and prediction, of the background and each class:
    two int64 (1 + C,).

    Arguments:
        truth, predicted: nested lists (N x C) of run-length strings; shape: (H, W) of every image.
    """
    classes = len(truth[0]) if truth else 0
    intersection, union = np.zeros(1 + classes, np.int64), np.zeros(1 + classes, np.int64)

    def add(index: int, first: np.ndarray, second: np.ndarray) -> None:
        intersection[index] += np.count_nonzero(first & second)
        union[index] += np.count_nonzero(first | second)

    for rows in zip(truth, predicted, strict=True):
        covered = [np.zeros(shape, bool), np.zeros(shape, bool)]
        for defect_class, texts in enumerate(zip(*rows, strict=True), 1):
            masks = [rle.decode(text, shape).astype(bool) for text in texts]
            add(defect_class, *masks)
            covered = [whole | mask for whole, mask in zip(covered, masks, strict=True)]
        add(0, ~covered[0], ~covered[1])
    return intersection, union


def iou_metrics(
    truth: list[list[str]], predicted: list[list[str]], shape: tuple[int, int], names: list[str]
) -> dict:
    """{"iou": {"background": ..., name: ...}, "mean_iou": over the classes, "mean_iou_with_background": ...}.

    `names`: one a class, all different and none "background", as `dataset.titles` has them, whatever the
    classes are called. A class that neither truth nor prediction has is left out of the means, its own value
    is None.
    """
    intersection, union = intersection_and_union(truth, predicted, shape)
    values = np.divide(intersection, union, out=np.full(len(union), np.nan), where=union > 0)
    known = [part[np.isfinite(part)] for part in (values[1:], values)]
    mean, with_background = (float(part.mean()) if len(part) else None for part in known)
    iou = dict(zip(["background", *names], map(files.json_float, values), strict=True))
    return {"iou": iou, "mean_iou": mean, "mean_iou_with_background": with_background}
