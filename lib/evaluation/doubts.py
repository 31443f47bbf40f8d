"""Whether a network does better than a constant answer: a sentence for report, index and terminal where that
does not show."""

import numpy as np

from lib.data import rle
from lib.evaluation import shift, statistics

FEW_STEPS, FEW_STRIPS = 500, 2000


def against(high: float, level: float) -> str:
    """How what is no better than a constant answer stands to it, where the interval ends at `high`."""
    return "does surely worse than" if high < level else "cannot be told from"


def of_classifier(
    truth: np.ndarray, probability: np.ndarray, group: np.ndarray, who: str, seed: int = 0
) -> str:
    """What is to be doubted of a classifier, as a sentence; "" where the interval of its AUC lies above 0.5,
    or where nothing can say.

    Arguments:
        truth: (N,) 0/1; probability: (N,); group: (N,) of near-duplicates; who: it is, such as "the binary
            classifier".
    """
    auc, low, high = shift.auc_interval(
        np.asarray(probability), np.asarray(truth), np.asarray(group), seed=seed
    )
    if not np.isfinite(low) or low > 0.5:
        return ""
    return (
        f"On these {len(truth)} strips, {int(np.sum(truth))} of them with it, {who} {against(high, 0.5)} one "
        "that gives every strip the "
        f"same answer: AUC {auc:.2f}, 95 % interval {low:.2f} to {high:.2f}."
    )


def of_segmenter(
    truth: list[str],
    predicted: list[str],
    score: np.ndarray,
    group: np.ndarray,
    shape: tuple[int, int],
    who: str,
    seed: int = 0,
) -> str:
    """What is to be doubted of a segmenter, a sentence; "" where its Dice surely beats painting whole strips.

    Arguments:
        truth, predicted: (N,) run-length strings; score: (N,) Dice of each strip; group: (N,); shape: (H, W);
            who: it is.
    """
    has_defect = np.array([text != "" for text in truth])
    if not has_defect.any():
        return ""
    if not any(text for text, has in zip(predicted, has_defect, strict=True) if has):
        return f"On none of the {has_defect.sum()} strips with the defect does {who} draw anything."
    area = np.array(
        [rle.decode(text, shape).sum() for text, has in zip(truth, has_defect, strict=True) if has], float
    )
    whole_baseline = 2 * area / (area + shape[0] * shape[1])
    score = np.asarray(score)[has_defect]
    low, high = statistics.bootstrap_interval(
        score - whole_baseline, np.asarray(group)[has_defect], seed=seed
    )
    if low > 0:
        return ""
    return (
        f"On these {has_defect.sum()} strips with the defect {who} {against(high, 0)} painting whole "
        "strips: mean Dice "
        f"{score.mean():.2f} against {whole_baseline.mean():.2f}, 95 % interval of the difference "
        f"{low:+.2f} to {high:+.2f}."
    )


def of_cascade(
    score: float, all_empty: float, gain: tuple[float, float], n_images: int, title: str = "score"
) -> str:
    """What is to be doubted of the whole cascade, a sentence; "" where the interval of its gain is above 0.

    Arguments:
        score, all_empty: of the same `n_images` strips; gain: (low, high) of their difference; title: what
            the score is called.
    """
    if gain[0] > 0:
        return ""
    return (
        f"On these {n_images} strips the cascade {against(gain[1], 0)} predicting nothing: {title} {score:.4f} "
        f"against {all_empty:.4f}, 95 % "
        f"interval of the difference {gain[0]:+.4f} to {gain[1]:+.4f}."
    )


def with_advice(doubt: str, n_images: int, steps: int, weights: str) -> str:
    """A doubt with its likely cause and what to try; "" stays "".

    Arguments:
        n_images: that taught; steps: of the training; weights: as the parameter has it.
    """
    if not doubt:
        return ""
    tried = f"It learned from {n_images} strips in {steps} steps"
    if weights == "none" and n_images < FEW_STRIPS:
        return f"{doubt} {tried}, from random weights: begin with ImageNet's, as --profile small_data does."
    if steps < FEW_STEPS:
        return f"{doubt} {tried}: set epochs higher."
    return (
        f"{doubt} {tried}: look whether the defects can be seen at the network's size, and whether the "
        "labels are right."
    )
