"""How far probabilities can be believed, and what a filter's threshold costs."""

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from lib.evaluation import predictions, statistics
from lib.inference.postprocess import reaches


def reliability(truth, probability, bins=10):
    """The points of a reliability curve: mean probability and share of positives, two arrays of at most `bins` values.

    Arguments:
        truth: (N,) 0/1; probability: (N,) 0..1; the bins hold about the same number of images each.
    """
    share, mean = calibration_curve(truth, probability, n_bins=bins, strategy="quantile")
    return mean, share


def bin_sizes(probability, bins=10):
    """How many images each point of the reliability curve counts, in its order."""
    edges = np.percentile(probability, np.linspace(0, 1, bins + 1) * 100)
    sizes = np.bincount(np.searchsorted(edges[1:-1], probability), minlength=bins)
    return sizes[sizes > 0]


def brier(truth, probability):
    """Brier score, the mean squared error of the probabilities (0 best), and that of always stating the share of positives.

    Source: Brier, Verification of forecasts expressed in terms of probability, 1950.
    """
    truth = np.asarray(truth, int)
    return (float(brier_score_loss(truth, np.clip(probability, 0, 1), pos_label=1)), float(truth.mean() * (1 - truth.mean())))


def operating_points(evidence, decision, missed_cost, thresholds=None):
    """What the binary filter does at each threshold while the rest of the decision stays: a table with a row a threshold.

    Arguments:
        missed_cost: what sending one defective strip out undetected costs, in units of one false alarm.
        thresholds: by default 0 and every probability at which something changes, 200 at most.

    Columns: threshold; sent_on, the share of strips that pass the filter; recall, of defective strips; false_alarms, the share of
    defect-free strips that pass; score, of the cascade with both its own strategy and this threshold; cost, an image, in false
    alarms.
    """
    if thresholds is None:
        thresholds = np.unique(np.quantile(evidence.binary, np.linspace(0, 1, 200), method="nearest"))
        thresholds = np.concatenate([[0.0], thresholds])
    defective, rows = (evidence.true_area > 0).any(axis=1), []
    filtered = {**decision, "strategy": WITH_BINARY.get(decision["strategy"], decision["strategy"])}
    for threshold in thresholds:
        passed = reaches(evidence.binary, threshold)
        score = predictions.pair_scores(evidence, {**filtered, "binary_threshold": threshold}).mean()
        cost = (missed_cost * (defective & ~passed).sum() + (~defective & passed).sum()) / len(passed)
        recall, alarms = _share(passed[defective]), _share(passed[~defective])
        rows.append((float(threshold), passed.mean(), recall, alarms, score, cost))
    return pd.DataFrame(rows, columns=["threshold", "sent_on", "recall", "false_alarms", "score", "cost"])


WITH_BINARY = {"segment everything": "binary filter", "multilabel filter": "both filters"}


def _share(chosen):
    return float(chosen.mean()) if len(chosen) else float("nan")


def honest_cost(evidence, missed_cost, folds=5, seed=0):
    """The filter's cost an image, in false alarms, when each fold's threshold is the cheapest one of the other folds; (N,)."""
    defective, cost = (evidence.true_area > 0).any(axis=1), np.zeros(len(evidence.binary))
    fold = statistics.assign_folds(evidence.group, min(folds, len(np.unique(evidence.group))), seed)
    for number in np.unique(fold):
        inside = fold == number
        outside = ~inside if (~inside).any() else inside
        threshold = cheapest(evidence.binary[outside], defective[outside], missed_cost)
        passed = reaches(evidence.binary, threshold)
        each = np.where(defective, missed_cost * ~passed, passed)
        cost[inside] = each[inside]
    return cost


def cheapest(probability, defective, missed_cost):
    """The threshold at which the filter costs least on these images; midway between the probabilities beside it, infinite where it
    is cheapest to drop them all."""
    order = np.argsort(probability, kind="stable")
    values, bad = np.asarray(probability, float)[order], np.asarray(defective, bool)[order]
    missed = np.concatenate([[0], np.cumsum(bad)])  # if the first n are dropped
    alarms = (~bad).sum() - np.concatenate([[0], np.cumsum(~bad)])
    edges = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2, [np.inf]])
    real = np.concatenate([[True], values[1:] > values[:-1], [True]])  # equal probabilities cannot be parted
    cost = np.where(real, missed_cost * missed + alarms, np.inf)
    return float(edges[cost.argmin()])
