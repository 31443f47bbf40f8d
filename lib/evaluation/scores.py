"""The scores that thresholds can be chosen for, all from the pixels of the image-class pairs.

severstal              mean Dice over all pairs, 1 where truth and prediction are empty. Source: the
                       evaluation page of Kaggle's "Severstal: Steel Defect Detection".
positives_and_empties  0.7 x mean Dice over the pairs with a defect + 0.3 x share of the pairs without one
                       that are left empty, as a student competition on these strips has it. Where there are
                       only pairs of one kind, its part alone.
miou                   mean over the classes of the pixels that truth and prediction share, summed over all
                       images, by those that either has. The background is no class; a class that neither
                       has is left out; 1 where that are all. But for the last, `metrics.iou_metrics` calls it
                       mean_iou. Source: Everingham et al., The PASCAL Visual Object Classes Challenge, 2015,
                       there with the background.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lib.data import rle
from lib.errors import UserError
from lib.evaluation import statistics
from lib.evaluation.metrics import dice

SEVERSTAL, POSITIVES_AND_EMPTIES, MIOU = "severstal", "positives_and_empties", "miou"
TITLES = {  # every score, as figures and sentences call it
    SEVERSTAL: "competition score",
    POSITIVES_AND_EMPTIES: "score positives_and_empties",
    MIOU: "mean IoU",
}
OF_POSITIVES, OF_EMPTIES = 0.7, 0.3  # what the two parts of positives_and_empties count


class PairPixels(NamedTuple):
    """Pixels of N x C image-class pairs, three (N, C): that truth and prediction share, of the prediction (0:
    nothing is predicted), of the truth."""

    intersection: np.ndarray
    predicted_area: np.ndarray
    true_area: np.ndarray

    @property
    def dice(self) -> np.ndarray:
        """Dice of the pairs, (N, C) float64, 1 where both are empty."""
        return dice(*self)

    @property
    def all_empty(self) -> "PairPixels":
        """The same pairs, where nothing is predicted."""
        nothing = np.zeros_like(self.true_area)
        return PairPixels(nothing, nothing, self.true_area)

    def of_class(self, class_index: int) -> "PairPixels":
        """The pairs of one class, (N, 1)."""
        return PairPixels(*(array[:, [class_index]] for array in self))


def check(score: str) -> None:
    """UserError for a score that is none."""
    if score not in TITLES:
        raise UserError(f"There is no score {score!r}. Choose one of: {', '.join(TITLES)}.")


def of_rles(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> PairPixels:
    """The pixels of two nested lists (N x C) of run-length strings, for images of one size."""
    shape = (len(truth), len(truth[0]) if len(truth) else 0)
    first, second = ([text for row in rows for text in row] for rows in (truth, predicted))
    intersection, true_area, predicted_area = (array.reshape(shape) for array in rle.compare(first, second))
    return PairPixels(intersection, predicted_area, true_area)


def value(score: str, pairs: PairPixels, weights: np.ndarray | None = None) -> float:
    """The score, 0..1, of all pairs; the images weighted by `weights` (N,), or all alike."""
    check(score)
    if score == SEVERSTAL and weights is None:
        return float(pairs.dice.mean())
    if score == SEVERSTAL:
        return float(np.average(pairs.dice.mean(axis=1), weights=weights))
    sums = _sums(score, pairs)
    return float(_of_sums(score, (sums if weights is None else sums * weights).sum(axis=1)))


def by_class(score: str, pairs: PairPixels) -> np.ndarray:
    """The score of each class alone, (C,). Those of severstal and miou have the score as their mean, save
    classes that miou leaves out."""
    if score == SEVERSTAL:
        return pairs.dice.mean(axis=0)
    return np.array([value(score, pairs.of_class(index)) for index in range(pairs.true_area.shape[1])])


def losses(score: str, pairs: PairPixels) -> np.ndarray:
    """What each pair costs, (N, C); the sum is 1 minus the score. In miou a pair costs the pixels that only
    truth or prediction has, by all of its class that either has."""
    if score == MIOU:
        wrong = pairs.predicted_area + pairs.true_area - 2 * pairs.intersection
        union = (wrong + pairs.intersection).sum(axis=0)
        return wrong / np.maximum(union, 1) / max((union > 0).sum(), 1)
    return (1 - pairs.dice) * pair_weights(score, pairs.true_area > 0)


def pair_weights(score: str, has_defect: np.ndarray) -> np.ndarray:
    """What each pair's Dice counts in a score that is a mean of them, (N, C), their sum 1.

    Arguments:
        score: severstal or positives_and_empties; has_defect: (N, C) bool.
    """
    positives, empties = np.count_nonzero(has_defect), np.count_nonzero(~has_defect)
    if score == SEVERSTAL or not positives or not empties:
        return np.full(has_defect.shape, 1 / max(has_defect.size, 1))
    return np.where(has_defect, OF_POSITIVES / positives, OF_EMPTIES / empties)


def interval(
    score: str,
    pairs: PairPixels,
    group: np.ndarray,
    n_bootstrap: int = 1000,
    seed: int = 0,
    weights: np.ndarray | None = None,
    baseline: PairPixels | None = None,
) -> tuple[float, float]:
    """95 % percentile interval (low, high) of the score, images of one group (N,) drawn together.

    Arguments:
        weights: (N,) of the images, or None; baseline: other predictions for the same pairs, to get the
            interval of the difference to their score, from the same draws.
    """
    if score == SEVERSTAL:
        values = pairs.dice if baseline is None else pairs.dice - baseline.dice
        return statistics.bootstrap_interval(
            values.mean(axis=1), group, n_bootstrap, seed=seed, weights=weights
        )
    _, index = np.unique(np.asarray(group), return_inverse=True)
    of_groups = []
    for of_images in (_sums(score, one) for one in (pairs, baseline) if one is not None):
        weighted = of_images if weights is None else of_images * weights
        of_groups.append(np.array([np.bincount(index, row) for row in weighted]))
    n_groups, rng = of_groups[0].shape[1], np.random.default_rng(seed)
    results = []
    for _ in range(n_bootstrap):
        counts = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        first, *second = (_of_sums(score, sums @ counts) for sums in of_groups)
        results.append(first - second[0] if second else first)
    low, high = np.quantile(results, [0.025, 0.975])
    return float(low), float(high)


def _sums(score: str, pairs: PairPixels) -> np.ndarray:
    """What is added up over the images before the score is made of it, (K, N) float64."""
    if score == MIOU:
        union = pairs.predicted_area + pairs.true_area - pairs.intersection
        return np.concatenate([pairs.intersection.T, union.T]).astype(float)
    has_defect, values = pairs.true_area > 0, pairs.dice
    return np.array(
        [part.sum(axis=1) for part in (values * has_defect, has_defect, values * ~has_defect, ~has_defect)],
        float,
    )


def _of_sums(score: str, sums: np.ndarray) -> float:
    """The score of what `_sums` has, added up: (K,)."""
    if score == MIOU:
        intersection, union = np.split(sums, 2)
        return float(np.mean(intersection[union > 0] / union[union > 0])) if (union > 0).any() else 1.0
    of_positives, positives, of_empties, empties = sums
    if not positives or not empties:
        return float((of_positives + of_empties) / max(positives + empties, 1e-12))
    return float(OF_POSITIVES * of_positives / positives + OF_EMPTIES * of_empties / empties)
