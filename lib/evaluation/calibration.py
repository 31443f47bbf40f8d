"""How far probabilities can be believed, and what a filter's threshold costs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from lib.evaluation import scores, statistics
from lib.evaluation.predictions import CascadePredictions, pair_pixels
from lib.inference.postprocess import PostprocessConfig, reaches

WITH_BINARY = {"segment everything": "binary filter", "multilabel filter": "both filters"}


def reliability(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """The points of a reliability curve, at most `bins`: mean probability and share of positives, two arrays.

    Arguments:
        truth: (N,) 0/1; probability: (N,) 0..1; the bins hold about the same number of images each.
    """
    share, mean = calibration_curve(truth, probability, n_bins=bins, strategy="quantile")
    return mean, share


def bin_sizes(probability: np.ndarray, bins: int = 10) -> np.ndarray:
    """How many images each point of the reliability curve counts, in its order."""
    edges = np.percentile(probability, np.linspace(0, 1, bins + 1) * 100)
    sizes = np.bincount(np.searchsorted(edges[1:-1], probability), minlength=bins)
    return sizes[sizes > 0]


def brier(truth: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """Brier score, the mean squared error of probabilities (0 best), and that of always stating the share.

    Source: Brier, Verification of forecasts expressed in terms of probability, 1950.
    """
    truth = np.asarray(truth, int)
    score = brier_score_loss(truth, np.clip(probability, 0, 1), pos_label=1)
    return float(score), float(truth.mean() * (1 - truth.mean()))


def operating_points(
    predictions: CascadePredictions,
    thresholds: PostprocessConfig,
    false_negative_cost: float,
    candidates: Sequence[float] | None = None,
) -> pd.DataFrame:
    """What the binary filter does at each threshold while the others stay: a table with a row a threshold.

    Arguments:
        false_negative_cost: what sending one defective strip out undetected costs, in units of one false
            alarm.
        candidates: by default 0 and every probability at which something changes, 200 at most.

    Columns: threshold; sent_on, the share of strips that pass the filter; recall, of defective strips;
    false_alarms, the share of defect-free strips that pass; score, of the cascade with both its own strategy
    and this threshold, the one that `thresholds` were chosen for; cost, an image, in false alarms.
    """
    probability, defective = predictions.defect_probability, predictions.has_defect.any(axis=1)
    if candidates is None:
        candidates = np.unique(np.quantile(probability, np.linspace(0, 1, 200), method="nearest"))
        candidates = np.concatenate([[0.0], candidates])
    strategy = WITH_BINARY.get(thresholds.strategy, thresholds.strategy)
    rows = []
    for threshold in candidates:
        passed = reaches(probability, threshold)
        moved = replace(thresholds, strategy=strategy, binary_threshold=threshold)
        score = scores.value(thresholds.score, pair_pixels(predictions, moved))
        cost = (false_negative_cost * (defective & ~passed).sum() + (~defective & passed).sum()) / len(passed)
        recall, false_alarms = _share(passed[defective]), _share(passed[~defective])
        rows.append((float(threshold), passed.mean(), recall, false_alarms, score, cost))
    return pd.DataFrame(rows, columns=["threshold", "sent_on", "recall", "false_alarms", "score", "cost"])


def _share(chosen: np.ndarray) -> float:
    return float(chosen.mean()) if len(chosen) else float("nan")


def cross_fitted_cost(
    predictions: CascadePredictions, false_negative_cost: float, cv_folds: int = 5, seed: int = 0
) -> np.ndarray:
    """The filter's cost an image, in false alarms, when each fold's threshold is the cheapest one of the
    other folds; (N,)."""
    probability, defective = predictions.defect_probability, predictions.has_defect.any(axis=1)
    cost = np.zeros(len(probability))
    fold = statistics.assign_folds(predictions.group, min(cv_folds, len(np.unique(predictions.group))), seed)
    for fold_index in np.unique(fold):
        inside = fold == fold_index
        outside = ~inside if (~inside).any() else inside
        threshold = cheapest_threshold(probability[outside], defective[outside], false_negative_cost)
        passed = reaches(probability, threshold)
        cost[inside] = np.where(defective, false_negative_cost * ~passed, passed)[inside]
    return cost


def cheapest_threshold(probability: np.ndarray, defective: np.ndarray, false_negative_cost: float) -> float:
    """The threshold at which the filter costs least on these images; midway between the probabilities beside
    it, infinite where it is cheapest to drop them all."""
    order = np.argsort(probability, kind="stable")
    values = np.asarray(probability, float)[order]
    positive = np.asarray(defective, bool)[order]
    missed = np.concatenate([[0], np.cumsum(positive)])  # if the first n are dropped
    false_alarms = (~positive).sum() - np.concatenate([[0], np.cumsum(~positive)])
    edges = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2, [np.inf]])
    # equal probabilities cannot be parted
    separable = np.concatenate([[True], values[1:] > values[:-1], [True]])
    cost = np.where(separable, false_negative_cost * missed + false_alarms, np.inf)
    return float(edges[cost.argmin()])
