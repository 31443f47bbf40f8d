"""The competition's score, exact in numpy; precision and recall; and, apart from it, what training uses (`losses`)."""

import numpy as np

from lib import files
from lib.data import rle
from lib.inference.postprocess import reaches


def dice(intersection, predicted_area, true_area):
    """Dice coefficient 2|A and B| / (|A| + |B|) from pixel counts (arrays of any one shape); 1 where both are empty.

    Source: the evaluation page of Kaggle's "Severstal: Steel Defect Detection".
    """
    intersection, total = np.asarray(intersection, float), np.asarray(predicted_area, float) + np.asarray(true_area, float)
    return np.divide(2 * intersection, total, out=np.ones(np.broadcast_shapes(intersection.shape, total.shape)), where=total > 0)


def dice_of_masks(truth, prediction):
    """Dice of two masks (H, W) 0/1; 1.0 where both are empty."""
    truth, prediction = np.asarray(truth, bool), np.asarray(prediction, bool)
    return float(dice((truth & prediction).sum(), prediction.sum(), truth.sum()))


def dice_of_rles(truth, prediction):
    """Dice of every image-class pair, (N, C) float64, from two nested lists (N x C) of run-length strings."""
    shape = (len(truth), len(truth[0]) if len(truth) else 0)
    pairs = [pair for rows in zip(truth, prediction, strict=True) for pair in zip(*rows, strict=True)]
    marked = [place for place, (a, b) in enumerate(pairs) if a or b]  # the others, most, are empty in both
    scores = np.ones(len(pairs))
    scores[marked] = dice(*rle.compare([pairs[place][0] for place in marked], [pairs[place][1] for place in marked]))
    return scores.reshape(shape)


def competition_score(truth, prediction):
    """Mean Dice over all image-class pairs, 0..1: the competition's score. Two nested lists (N x C) of run-length strings."""
    return float(dice_of_rles(truth, prediction).mean())


def all_empty_score(truth):
    """What predicting nothing at all would score: the share of empty pairs."""
    return float(np.mean([[text == "" for text in row] for row in truth]))


def dice_over_positives(truth, prediction):
    """Mean Dice (C,) over the images that have the class; NaN for a class without any. Not the competition's score."""
    scores, positive = dice_of_rles(truth, prediction), np.array([[text != "" for text in row] for row in truth])
    return np.array([scores[positive[:, k], k].mean() if positive[:, k].any() else np.nan for k in range(scores.shape[1])])


def classification_metrics(truth, probability, threshold=0.5):
    """Accuracy, precision and recall of one label, each 0..1.

    Arguments:
        truth: (N,) 0/1; probability: (N,) 0..1; a label is predicted where the probability is at least `threshold`.
    Precision is NaN where nothing is predicted, recall where nothing is there.
    """
    truth, predicted = np.asarray(truth, bool), reaches(probability, threshold)
    hits = (truth & predicted).sum()
    return {
        "accuracy": float((truth == predicted).mean()),
        "precision": float(hits / predicted.sum()) if predicted.any() else float("nan"),
        "recall": float(hits / truth.sum()) if truth.any() else float("nan"),
    }


def threshold_for_recall(truth, probability, recall):
    """The highest threshold that keeps at least `recall` (0..1) of the positives; 0.5 where there are none."""
    positives = np.sort(np.asarray(probability, float)[np.asarray(truth, bool)])
    if not len(positives):
        return 0.5
    return float(positives[int(np.floor((1 - recall) * len(positives) + 1e-9))])


def threshold_for_accuracy(truth, probability):
    """The threshold with the most right answers, of several the nearest to 0.5; midway between the probabilities beside it.

    Arguments:
        truth: (N,) 0/1; probability: (N,) 0..1. 0.5 where there are none.
    """
    order = np.argsort(probability, kind="stable")
    truth, sorted_ = np.asarray(truth, bool)[order], np.asarray(probability, float)[order]
    right = np.concatenate([[0], np.cumsum(~truth)]) + np.concatenate([np.cumsum(truth[::-1])[::-1], [0]])
    low, high = np.concatenate([[0.0], sorted_]), np.concatenate([sorted_, [1.0]])
    middle = np.where(reaches(low, (low + high) / 2), high, (low + high) / 2)  # between neighbours in float32 there is none
    threshold = np.where((low < 0.5) & (high >= 0.5), 0.5, middle)
    best = (right == right[high > low].max(initial=-1)) & (high > low)
    return float(threshold[best][np.abs(threshold[best] - 0.5).argmin()]) if best.any() else 0.5


def intersection_and_union(truth, predicted, shape):
    """Pixels that truth and prediction share, and that either has, of the background and each class: two int64 (1 + C,).

    Arguments:
        truth, predicted: nested lists (N x C) of run-length strings; shape: (H, W) of every image.
    """
    classes = len(truth[0]) if truth else 0
    shared, either = np.zeros(1 + classes, np.int64), np.zeros(1 + classes, np.int64)
    for rows in zip(truth, predicted, strict=True):
        covered = [np.zeros(shape, bool), np.zeros(shape, bool)]
        for k, texts in enumerate(zip(*rows, strict=True), 1):
            masks = [rle.decode(text, shape).astype(bool) for text in texts]
            shared[k] += np.count_nonzero(masks[0] & masks[1])
            either[k] += np.count_nonzero(masks[0] | masks[1])
            covered = [whole | mask for whole, mask in zip(covered, masks, strict=True)]
        shared[0] += np.count_nonzero(~covered[0] & ~covered[1])
        either[0] += np.count_nonzero(~covered[0] | ~covered[1])
    return shared, either


def iou_metrics(truth, predicted, shape, names):
    """{"iou": {"background": ..., name: ...}, "mean_iou": over the classes, "mean_iou_with_background": ...}.

    `names`: one a class, all different and none "background", as `dataset.titles` has them, whatever the classes are called.
    A class that neither truth nor prediction has is left out of the means, its own figure is None.
    """
    shared, either = intersection_and_union(truth, predicted, shape)
    values = np.divide(shared, either, out=np.full(len(shared), np.nan), where=either > 0)
    means = [values[part][np.isfinite(values[part])] for part in (slice(1, None), slice(None))]
    mean, with_background = (float(part.mean()) if len(part) else None for part in means)
    return {"iou": dict(zip(["background", *names], map(files.number, values), strict=True)), "mean_iou": mean,
            "mean_iou_with_background": with_background}  # fmt: skip
