"""Runs beside each other, on the images that all of them held out: paired differences with intervals, how much
of the best one is luck, and the images that changed most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.evaluation import scores, statistics
from lib.evaluation.held_out import HeldOut
from lib.evaluation.scores import PairPixels

N_BOOTSTRAP, SEED = 1000, 0  # of all intervals; fixed, so that the same runs give the same page


@dataclass(frozen=True)
class Measure:
    """One number by which runs are compared.

    name; images: that it counts; values: of the runs; differences: of the further runs to the first one;
    intervals: 95 %, of these. NaN where there is no such image.
    """

    name: str
    images: int
    values: list[float]
    differences: list[float]
    intervals: list[tuple[float, float]]


@dataclass(frozen=True)
class Best:
    """The best of several runs. index: which; value: its score, on images by which it was picked; excess: how much
    of that is expected to be owed to the picking, 0 or more, NaN where the images are too few groups to tell."""

    index: int
    value: float
    excess: float


def measures(runs: Sequence[HeldOut]) -> list[Measure]:
    """The measures of runs that have the same images, see `held_out.in_common`.

    The score; of each class the score and the mean Dice over the images that have it; of the binary filter the
    area under the curve and, where all runs have such a filter, the share of right answers; of the multilabel
    filter the area under the curve of each class. Images of one group are drawn together.
    """
    first = runs[0]
    score, titles, group = first.score, first.titles, first.group
    all_measures = [_of_pairs(scores.TITLES[score], score, [run.pairs for run in runs], group)]
    for index, title in enumerate(titles):
        of_class = [run.pairs.of_class(index) for run in runs]
        if len(titles) > 1:
            all_measures.append(_of_pairs(f"score, {title}", score, of_class, group))
        has = first.has_defect[:, index]
        values = [np.where(has, pairs.dice[:, 0], np.nan) for pairs in of_class]
        all_measures.append(_of_means(f"Dice over positives, {title}", values, group))
    defective = first.has_defect.any(axis=1)
    probabilities = [run.defect_probability for run in runs]
    all_measures.append(_of_areas("AUC of the binary classifier", defective, probabilities, group))
    flags = [run.passed for run in runs if run.passed is not None]
    if len(flags) == len(runs):
        right = [(flag == defective).astype(float) for flag in flags]
        all_measures.append(_of_means("accuracy of the binary filter", right, group))
    for index, title in enumerate(titles):
        probabilities = [run.class_probability[:, index] for run in runs]
        name = f"AUC of the multilabel classifier, {title}"
        all_measures.append(_of_areas(name, first.has_defect[:, index], probabilities, group))
    return all_measures


def _of_pairs(name: str, score: str, pairs: Sequence[PairPixels], group: np.ndarray) -> Measure:
    """The measure that is a score."""
    values = [scores.value(score, one) for one in pairs]
    intervals = [
        scores.interval(score, one, group, N_BOOTSTRAP, SEED, baseline=pairs[0]) for one in pairs[1:]
    ]
    return Measure(name, len(group), values, _to_first(values), intervals)


def _of_means(name: str, of_images: Sequence[np.ndarray], group: np.ndarray) -> Measure:
    """The measure that is a mean over images, each (N,), NaN for images that do not count."""
    known = np.isfinite(of_images[0])
    values = [float(one[known].mean()) if known.any() else float("nan") for one in of_images]
    intervals = [
        statistics.bootstrap_interval(one - of_images[0], group, N_BOOTSTRAP, seed=SEED)
        for one in of_images[1:]
    ]
    return Measure(name, int(known.sum()), values, _to_first(values), intervals)


def _of_areas(
    name: str, truth: np.ndarray, probabilities: Sequence[np.ndarray], group: np.ndarray
) -> Measure:
    """The measure that is an area under the curve; truth (N,) bool; probabilities: of the runs, each (N,)."""
    once = np.ones((1, len(truth)))
    values = [float(areas_under_curve(truth, one, once)[0]) for one in probabilities]
    weights = draws(group)
    of_draws = [areas_under_curve(truth, one, weights) for one in probabilities]
    intervals = []
    for one in of_draws[1:]:
        difference = (one - of_draws[0])[np.isfinite(one - of_draws[0])]
        low, high = np.quantile(difference, [0.025, 0.975]) if len(difference) else (np.nan, np.nan)
        intervals.append((float(low), float(high)))
    return Measure(name, len(truth), values, _to_first(values), intervals)


def _to_first(values: Sequence[float]) -> list[float]:
    return [value - values[0] for value in values[1:]]


def areas_under_curve(truth: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How often an image with the label is stated more probable than one without, ties counting half: (B,) 0..1.

    Arguments:
        truth (N,) bool, probability (N,); weights: (B, N) 0 or more, how often each image counts.

    NaN where all or none have the label. Source: Hanley and McNeil, The meaning and use of the area under a
    receiver operating characteristic (ROC) curve, 1982.
    """
    order = np.argsort(probability, kind="stable")
    begins = np.flatnonzero(np.diff(probability[order], prepend=-1))  # of those with equal probability
    with_label, without_label = (
        np.add.reduceat((weights * part)[:, order], begins, axis=1) for part in (truth, ~truth)
    )
    below = np.cumsum(without_label, axis=1) - without_label
    pairs = with_label.sum(axis=1) * without_label.sum(axis=1)
    right = (with_label * (below + without_label / 2)).sum(axis=1)
    return np.divide(right, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def draws(group: np.ndarray, n_bootstrap: int = N_BOOTSTRAP, seed: int = SEED) -> np.ndarray:
    """How often each image counts in each bootstrap draw of whole groups: (n_bootstrap, N) float64."""
    _, index = np.unique(group, return_inverse=True)
    n_groups, rng = index.max(initial=-1) + 1, np.random.default_rng(seed)
    counts = [
        np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups) for _ in range(n_bootstrap)
    ]
    return np.array(counts, float)[:, index]


def best_of(runs: Sequence[HeldOut]) -> Best:
    """The best of runs that have the same images, and how much of its score is expected to be owed to picking it
    on these very images.

    In every bootstrap draw the best is picked by the images drawn and scored on those that were not; how far it
    falls short there of the run that is best on all images is the excess. Equal runs have none. Source:
    Tsamardinos, Greasidou and Borboudakis, Bootstrapping the out-of-sample predictions for efficient and accurate
    cross-validation, 2018; both on the images that were not drawn, so that what they share cancels.
    """
    pairs = [run.pairs for run in runs]
    values = np.array([scores.value(runs[0].score, one) for one in pairs])
    index = int(values.argmax())
    inside = draws(runs[0].group)
    outside = (inside == 0).astype(float)
    usable = outside.sum(axis=1) > 0
    if not usable.any():
        return Best(index, float(values[index]), float("nan"))
    of_draw, of_rest = (
        np.array([weighted_scores(runs[0].score, one, weights[usable]) for one in pairs])
        for weights in (inside, outside)
    )
    picked = of_draw.argmax(axis=0)  # of the runs, in each draw
    short = of_rest[index] - of_rest[picked, np.arange(len(picked))]
    return Best(index, float(values[index]), max(0.0, float(short.mean())))


def identical(one: HeldOut, other: HeldOut) -> bool:
    """Whether two runs with the same images have the same pixels and probabilities."""
    first, second = ((*run.pairs, run.defect_probability, run.class_probability) for run in (one, other))
    return all(np.array_equal(*arrays) for arrays in zip(first, second, strict=True))


def weighted_scores(score: str, pairs: PairPixels, weights: np.ndarray) -> np.ndarray:
    """The score (B,) under each of B weightings (B, N) of the images, none of them all 0."""
    if score == scores.SEVERSTAL:
        return weights @ pairs.dice.mean(axis=1) / weights.sum(axis=1)
    return np.array([scores.value(score, pairs, row) for row in weights])


@dataclass(frozen=True)
class Change:
    """An image of which runs think differently. row: its index; points: how far the runs are apart in what it
    adds to the score, times the number of images; dice: of the pairs, (runs, C)."""

    row: int
    points: float
    dice: np.ndarray


def changes(runs: Sequence[HeldOut], most: int) -> list[Change]:
    """The images, at most so many, by which the scores of runs differ most, that first; none where runs agree."""
    of_images = np.array([scores.losses(run.score, run.pairs).sum(axis=1) for run in runs])
    of_images *= len(runs[0].ids)
    apart = of_images.max(axis=0) - of_images.min(axis=0)
    dice = np.array([run.pairs.dice for run in runs])
    order = np.argsort(-apart, kind="stable")[:most]
    return [Change(int(row), float(apart[row]), dice[:, row]) for row in order if apart[row] > 0]
