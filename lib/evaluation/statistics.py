"""Folds and bootstrap intervals in which near-duplicates stay together."""

import numpy as np


def assign_folds(group, count, seed=0):
    """A fold number (N,) 0..count-1 an image; images of one group share it."""
    names, place = np.unique(group, return_inverse=True)
    numbers = np.arange(len(names)) % count
    np.random.default_rng(seed).shuffle(numbers)
    return numbers[place]


def bootstrap_interval(values, group, rounds=1000, level=0.95, seed=0, weights=None):
    """Percentile interval (low, high) of the mean of `values` (N,), images of one group drawn together.

    Arguments:
        weights: (N,) of a weighted mean, or None. Values that are NaN are left out, as if their images were not there.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. NaN twice where no value is left.
    """
    known = np.isfinite(values)
    if not known.any():
        return float("nan"), float("nan")
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    values, weights = np.asarray(values, float)[known], weights[known]
    _, place = np.unique(np.asarray(group)[known], return_inverse=True)
    total, size = np.bincount(place, values * weights), np.bincount(place, weights)
    random = np.random.default_rng(seed)
    draws = (random.integers(len(total), size=len(total)) for _ in range(rounds))
    means = [total[draw].sum() / max(size[draw].sum(), 1e-12) for draw in draws]
    return tuple(float(value) for value in np.quantile(means, [(1 - level) / 2, (1 + level) / 2]))
