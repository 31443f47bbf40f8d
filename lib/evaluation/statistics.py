"""Folds and bootstrap intervals in which near-duplicates stay together."""

import numpy as np


def assign_folds(group: np.ndarray, cv_folds: int, seed: int = 0) -> np.ndarray:
    """A fold number (N,) 0..cv_folds-1 an image; images of one group share it."""
    names, index = np.unique(group, return_inverse=True)
    numbers = np.arange(len(names)) % cv_folds
    np.random.default_rng(seed).shuffle(numbers)
    return numbers[index]


def bootstrap_interval(
    values: np.ndarray,
    group: np.ndarray,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    weights: np.ndarray | None = None,
) -> tuple[float, float]:
    """Percentile interval (low, high) of the mean of `values` (N,), images of one group drawn together.

    Arguments:
        weights: (N,) of a weighted mean, or None. Values that are NaN are left out, as if their images were
            not there.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. NaN twice where no value
    is left.
    """
    known = np.isfinite(values)
    if not known.any():
        return float("nan"), float("nan")
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    values, weights = np.asarray(values, float)[known], weights[known]
    _, index = np.unique(np.asarray(group)[known], return_inverse=True)
    total, size = np.bincount(index, values * weights), np.bincount(index, weights)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(total), size=len(total)) for _ in range(n_bootstrap))
    means = [total[draw].sum() / max(size[draw].sum(), 1e-12) for draw in draws]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
