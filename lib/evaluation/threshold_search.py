"""The thresholds that score best on the cascade's predictions, found on grids in seconds; and scores in which
no image helped to choose its own."""

import numpy as np
from scipy.ndimage import uniform_filter

from lib.errors import UserError
from lib.evaluation import scores, statistics
from lib.evaluation.metrics import dice
from lib.evaluation.predictions import CascadePredictions, pair_pixels
from lib.evaluation.scores import PairPixels
from lib.inference import postprocess
from lib.inference.postprocess import PostprocessConfig, reaches

CANDIDATE_THRESHOLDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
MINIMUM_AREAS = (0, 150, 300, 600, 1000, 2000, 4000)  # pixels at full size


def choose_thresholds(
    predictions: CascadePredictions,
    strategy: str = "both filters",
    smooth: bool = True,
    score: str = scores.SEVERSTAL,
) -> PostprocessConfig:
    """The thresholds that score best on these predictions, found on grids; exhaustive but for one thing: a
    class's settings depend on the other classes' only through the binary threshold.

    Arguments:
        smooth: score each point of the grids together with its neighbours: a plateau holds on other images, a
            lone peak is mostly chance (on held-out strips of two demo runs the cross-fitted score rose by
            0.009 and 0.006).
        score: one of `scores.TITLES`.

    A class that is better never predicted gets the minimum area NEVER. UserError for a strategy or a score
    that is none.
    """
    scores.check(score)
    if strategy not in postprocess.STRATEGIES:
        raise UserError(
            f"There is no strategy {strategy!r}. Choose one of: {', '.join(postprocess.STRATEGIES)}."
        )
    use_binary, use_label = postprocess.STRATEGIES[strategy]
    binary_candidates = CANDIDATE_THRESHOLDS if use_binary else (0.0,)
    label_candidates = CANDIDATE_THRESHOLDS if use_label else (0.0,)
    grids = (
        label_candidates,
        predictions.pixel_thresholds,
        predictions.smallest_components,
        (*MINIMUM_AREAS, postprocess.NEVER),
    )
    sizes = [len(grid) for grid in grids]

    totals = np.zeros(len(binary_candidates))
    best_of_classes = []  # for each class the index in the grids, for each candidate of the binary threshold
    for class_index in range(predictions.class_probability.shape[1]):
        gains = class_gains(predictions, strategy, class_index, binary_candidates, label_candidates, score)
        if smooth:
            finite = gains[..., :-1]  # without NEVER, which has no neighbours
            gains[..., :-1] = uniform_filter(finite, [min(3, size) for size in finite.shape], mode="nearest")
        gains = gains.reshape(len(binary_candidates), -1)
        best = gains.argmax(axis=1)
        totals += gains[np.arange(len(best)), best]
        best_of_classes.append(best)
    winner = int(totals.argmax())
    chosen = [np.unravel_index(best[winner], sizes) for best in best_of_classes]
    label, pixel, smallest, minimum = (
        tuple(grid[indices[axis]] for indices in chosen) for axis, grid in enumerate(grids)
    )
    return PostprocessConfig(
        strategy, float(binary_candidates[winner]), label, pixel, smallest, minimum, score=score
    )


def class_gains(
    predictions: CascadePredictions,
    strategy: str,
    class_index: int,
    binary_candidates: tuple,
    label_candidates: tuple,
    score: str = scores.SEVERSTAL,
) -> np.ndarray:
    """What predicting one class gains over leaving it empty, summed over the images: (B, L, T, S, M), for all
    candidates of the binary and label threshold, the pixel threshold, the smallest component and the minimum
    area, of which the last is NEVER.

    The score is the sum of the classes' gains but for what no threshold changes. What is added up over the
    images are gains of pairs, or, for miou, their pixels: the time grows with the images alone.
    """
    area, intersection = (array[:, class_index] for array in predictions.pixels(strategy))
    true_area = predictions.true_area[:, class_index, None, None]
    predicted = np.stack(
        [(area > 0) & (area >= minimum) for minimum in (*MINIMUM_AREAS, postprocess.NEVER)], axis=-1
    )
    passed = np.array([reaches(predictions.defect_probability, value) for value in binary_candidates], float)
    named = np.array(
        [reaches(predictions.class_probability[:, class_index], value) for value in label_candidates], float
    )
    asked = (passed[:, None] * named[None]).reshape(-1, len(area))

    def summed(of_masks: np.ndarray) -> np.ndarray:  # (N, T, S), over the images
        of_pairs = of_masks[..., None] * predicted  # (N, T, S, M)
        total = asked @ of_pairs.reshape(len(area), -1)
        return total.reshape(len(passed), len(named), *of_pairs.shape[1:])

    if score == scores.MIOU:
        both, predicted_area, whole_area = summed(intersection), summed(area), float(true_area.sum())
        if not whole_area:
            return -(predicted_area > 0).astype(float)  # left empty, the class is left out of the mean
        return both / (whole_area + predicted_area - both)
    gain = dice(intersection, area, true_area) - (true_area == 0)
    if score != scores.SEVERSTAL:
        gain *= scores.pair_weights(score, predictions.has_defect)[:, class_index, None, None]
    return summed(gain)


def fold_thresholds(
    predictions: CascadePredictions,
    strategy: str = "both filters",
    cv_folds: int = 5,
    seed: int = 0,
    score: str = scores.SEVERSTAL,
) -> list[tuple[np.ndarray, PostprocessConfig]]:
    """For each fold which images it has, (N,) bool, and the thresholds chosen on the images of all other
    folds.

    Fewer groups than folds: a fold for each; a single group is scored by its own thresholds, for want of
    others. UserError for fewer than two folds: the score would be the in-sample one.
    """
    if cv_folds < 2:
        raise UserError(
            f"Cross-fitting chooses on some folds and scores another, so {cv_folds} is too few. Set "
            "cv_folds to 2 or more."
        )
    fold = statistics.assign_folds(predictions.group, min(cv_folds, len(np.unique(predictions.group))), seed)
    members = [fold == fold_index for fold_index in np.unique(fold)]
    others = [~inside if len(members) > 1 else inside for inside in members]
    return [
        (inside, choose_thresholds(predictions.take(outside), strategy, score=score))
        for inside, outside in zip(members, others, strict=True)
    ]


def cross_fit(
    predictions: CascadePredictions,
    strategy: str = "both filters",
    cv_folds: int = 5,
    seed: int = 0,
    score: str = scores.SEVERSTAL,
) -> np.ndarray:
    """Dice (N, C) in which no image was scored by thresholds that it helped to choose."""
    return cross_fitted_scores(predictions, fold_thresholds(predictions, strategy, cv_folds, seed, score))


def cross_fitted_scores(
    predictions: CascadePredictions, by_fold: list[tuple[np.ndarray, PostprocessConfig]]
) -> np.ndarray:
    """Dice (N, C) under the thresholds of `fold_thresholds`."""
    return cross_fitted_pixels(predictions, by_fold).dice


def cross_fitted_pixels(
    predictions: CascadePredictions, by_fold: list[tuple[np.ndarray, PostprocessConfig]]
) -> PairPixels:
    """The pixels of all pairs, each under the thresholds of its fold."""
    nothing = np.zeros_like(predictions.true_area)
    pairs = PairPixels(nothing, nothing.copy(), predictions.true_area)
    for inside, thresholds in by_fold:
        of_fold = pair_pixels(predictions.take(inside), thresholds)
        pairs.intersection[inside], pairs.predicted_area[inside] = of_fold[:2]
    return pairs
