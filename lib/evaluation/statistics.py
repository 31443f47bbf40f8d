"""Folds and intervals in which images that are alike stay together: near-duplicates, strips of one coil."""

import numpy as np
from scipy.stats import norm, t


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


def effective_numbers(group: np.ndarray) -> np.ndarray:
    """As good as how many independent images those of these groups (N,) are for the share of wrong ones, where the first
    k of them are wrong and the others are not: float64 (N + 1,), for k from 0 to N.

    It lies between `effective_number` and N, by how far the wrong ones come together in groups. Where none or all are
    wrong nothing says so, and a group counts as one.

    Source: Korn and Graubard, Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data, Survey Methodology 24, 1998.
    """
    count, (_, index) = len(group), np.unique(group, return_inverse=True)
    sizes = np.bincount(index).astype(float)
    least = effective_number(group)
    result = np.full(count + 1, least)
    if least > count - 1e-9 or len(sizes) < 2:
        return result
    order = np.argsort(index, kind="stable")
    before = np.empty(count)  # of an image: how many of its group come earlier
    before[order] = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes.astype(int))
    wrong = np.arange(1, count)
    share = wrong / count
    squares = np.cumsum(2 * before + 1)[:-1]  # of the groups' numbers of wrong ones, summed
    products = np.cumsum(sizes[index])[:-1]  # of these with the groups' sizes
    around = squares - 2 * share * products + share**2 * (sizes**2).sum()
    variance = len(sizes) / (len(sizes) - 1) * around / count**2
    ratio = t.ppf(0.975, count - 1) / t.ppf(0.975, len(sizes) - 1)
    result[1:-1] = np.clip(share * (1 - share) / np.maximum(variance, 1e-300) * ratio**2, least, count)
    return result


def effective_number_of(wrong: np.ndarray, group: np.ndarray) -> float:
    """As `effective_numbers`, where these (N,) bool are wrong."""
    order = np.argsort(~np.asarray(wrong, bool), kind="stable")
    return float(effective_numbers(np.asarray(group)[order])[int(np.sum(wrong))])


def wilson(wrong: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """95 % interval (low, high) of the share of True in (N,) bool, wider as far as they come together in groups; also
    where none or all are. NaN twice without images.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927; with the
    number of `effective_numbers`.
    """
    if not len(wrong):
        return float("nan"), float("nan")
    size, share, z = effective_number_of(wrong, group), float(np.mean(wrong)), float(norm.ppf(0.975))
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)
