"""Folds and intervals in which near-duplicates stay together."""

import numpy as np
from scipy.stats import norm


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


def effective_number(group: np.ndarray) -> float:
    """As good as how many independent images those of these groups (N,) are, if all of a group are alike: (sum of
    sizes)^2 / sum of sizes^2.

    Source: Kish, Survey Sampling, 1965.
    """
    sizes = np.unique(group, return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def wilson(wrong: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """95 % interval (low, high) of the share of True in (N,) bool, of which a group counts as one; also where
    none or all are. NaN twice without images.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if not len(wrong):
        return float("nan"), float("nan")
    size, share, z = effective_number(group), float(np.mean(wrong)), float(norm.ppf(0.975))
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)
