"""Whether a network does better than a constant answer: a sentence for report, index and terminal where that does not show."""

import numpy as np

from lib.data import rle
from lib.evaluation import shift, statistics

FEW_STEPS, FEW_STRIPS = 500, 2000


def of_classifier(truth, probability, group, who, seed=0):
    """What is to be doubted of a classifier, as a sentence; "" where the interval of its AUC lies above 0.5, or where nothing can say.

    Arguments:
        truth: (N,) 0/1; probability: (N,); group: (N,) of near-duplicates; who: it is, such as "the binary classifier".
    """
    auc, low, high = shift.auc_interval(np.asarray(probability), np.asarray(truth), np.asarray(group), seed=seed)
    if not np.isfinite(low) or low > 0.5:
        return ""
    return (f"On these {len(truth)} strips, {int(np.sum(truth))} of them with it, {who} cannot be told from one that gives every strip the "
            f"same answer: AUC {auc:.2f}, 95 % interval {low:.2f} to {high:.2f}.")  # fmt: skip


def of_segmenter(truth, predicted, score, group, shape, who, seed=0):
    """What is to be doubted of a segmenter, as a sentence; "" where its Dice is surely above that of painting whole strips.

    Arguments:
        truth, predicted: (N,) run-length strings; score: (N,) Dice of each strip; group: (N,); shape: (H, W); who: it is.
    """
    there = np.array([text != "" for text in truth])
    if not there.any():
        return ""
    if not any(text for text, has in zip(predicted, there, strict=True) if has):
        return f"On none of the {there.sum()} strips with the defect does {who} draw anything."
    area = np.array([rle.decode(text, shape).sum() for text, has in zip(truth, there, strict=True) if has], float)
    everything = 2 * area / (area + shape[0] * shape[1])
    low, high = statistics.bootstrap_interval(np.asarray(score)[there] - everything, np.asarray(group)[there], seed=seed)
    if low > 0:
        return ""
    mean = np.asarray(score)[there].mean()
    return (f"On these {there.sum()} strips with the defect {who} cannot be told from painting whole strips: mean Dice {mean:.2f} against "
            f"{everything.mean():.2f}, 95 % interval of the difference {low:+.2f} to {high:+.2f}.")  # fmt: skip


def of_cascade(score, all_empty, gain, count):
    """What is to be doubted of the whole cascade, as a sentence; "" where the interval of its gain lies above 0.

    Arguments:
        score, all_empty: of the same `count` strips; gain: (low, high) of their difference.
    """
    if gain[0] > 0:
        return ""
    return (f"On these {count} strips the cascade cannot be told from predicting nothing: score {score:.4f} against {all_empty:.4f}, 95 % "
            f"interval of the difference {gain[0]:+.4f} to {gain[1]:+.4f}.")  # fmt: skip


def with_advice(doubt, strips, steps, weights):
    """A doubt with its likely cause and what to try; "" stays "".

    Arguments:
        strips: that taught; steps: of the training; weights: as the parameter has it.
    """
    if not doubt:
        return ""
    tried = f"It learned from {strips} strips in {steps} steps"
    if weights == "none" and strips < FEW_STRIPS:
        return f"{doubt} {tried}, from random weights: begin with ImageNet's, as --profile small_data does."
    if steps < FEW_STEPS:
        return f"{doubt} {tried}: set epochs higher."
    return f"{doubt} {tried}: look whether the defects can be seen at the network's size, and whether the labels are right."
