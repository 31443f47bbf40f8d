"""The thresholds that score best on the cascade's predictions, found on grids in seconds; and scores in which no image helped to choose its own."""

import numpy as np
from scipy.ndimage import uniform_filter

from lib.errors import UserError
from lib.evaluation import predictions, statistics
from lib.evaluation.metrics import dice
from lib.inference import postprocess
from lib.inference.postprocess import reaches

CANDIDATE_THRESHOLDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
MINIMUM_AREAS = (0, 150, 300, 600, 1000, 2000, 4000)  # pixels at full size


def choose_thresholds(evidence, strategy="both filters", steady=True):
    """The decision that scores best on this evidence, found on grids; exhaustive but for one thing: a class's settings
    depend on the other classes' only through the binary threshold.

    Arguments:
        steady: judge each place of the grids together with its neighbours: a plateau holds on other images, a lone peak is
            mostly chance (on held-out strips of two demo runs the honest score rose by 0.009 and 0.006).

    Returns a dict: strategy, binary_threshold, and a list with one value a class of label_thresholds, pixel_thresholds,
    smallest_components and minimum_areas (pixels). A class that is better never predicted gets the minimum area NEVER.
    UserError for a strategy that is none.
    """
    if strategy not in postprocess.STRATEGIES:
        raise UserError(f"There is no strategy {strategy!r}. Choose one of: {', '.join(postprocess.STRATEGIES)}.")
    use_binary, use_label = postprocess.STRATEGIES[strategy]
    classes, (areas, intersections) = evidence.label.shape[1], evidence.pixels(strategy)
    binary_gates = CANDIDATE_THRESHOLDS if use_binary else (0.0,)
    label_gates = CANDIDATE_THRESHOLDS if use_label else (0.0,)
    grids = label_gates, evidence.pixel_thresholds, evidence.smallest, (*MINIMUM_AREAS, postprocess.NEVER)
    passed = np.array([reaches(evidence.binary, gate) for gate in binary_gates], float)
    totals, settings = np.zeros(len(binary_gates)), []
    for k in range(classes):
        area, true_area = areas[:, k], evidence.true_area[:, k, None, None]
        gain = dice(intersections[:, k], area, true_area) - (true_area == 0)
        kept = np.stack([(area > 0) & (area >= minimum) for minimum in grids[3]], axis=-1)  # (N, T, S, M)
        gains = (gain[..., None] * kept).reshape(len(area), -1)
        named = np.array([reaches(evidence.label[:, k], gate) for gate in label_gates], float)
        sums = ((passed[:, None] * named[None]).reshape(-1, len(area)) @ gains).reshape(len(binary_gates), -1)
        if steady:
            cube = sums.reshape(len(binary_gates), *map(len, grids))
            cube[..., :-1] = uniform_filter(cube[..., :-1], [min(3, size) for size in cube[..., :-1].shape], mode="nearest")
        best = sums.argmax(axis=1)
        totals += sums[np.arange(len(best)), best]
        settings.append([np.unravel_index(place, [len(grid) for grid in grids]) for place in best])
    winner = int(totals.argmax())
    chosen = [[grid[place] for grid, place in zip(grids, setting[winner], strict=True)] for setting in settings]
    names = "label_thresholds", "pixel_thresholds", "smallest_components", "minimum_areas"
    return {"strategy": strategy, "binary_threshold": float(binary_gates[winner]),
            **{name: list(values) for name, values in zip(names, zip(*chosen, strict=True), strict=True)}}  # fmt: skip


def fold_thresholds(evidence, strategy="both filters", folds=5, seed=0):
    """For each fold which images it has, (N,) bool, and the decision chosen on the images of all other folds.

    Fewer groups than folds: a fold for each; a single group is judged by its own decision, for want of another.
    UserError for fewer than two folds: the score would be the naive one.
    """
    if folds < 2:
        raise UserError(f"Cross-fitting chooses on some parts and judges on another, so {folds} is too few. Set cv_folds to 2 or more.")
    fold = statistics.assign_folds(evidence.group, min(folds, len(np.unique(evidence.group))), seed)
    parts = [fold == number for number in np.unique(fold)]
    return [(part, choose_thresholds(evidence.take(~part if len(parts) > 1 else part), strategy)) for part in parts]


def cross_fit(evidence, strategy="both filters", folds=5, seed=0):
    """Scores (N, C) in which no image was scored by thresholds that it helped to choose."""
    return cross_fitted_scores(evidence, fold_thresholds(evidence, strategy, folds, seed))


def cross_fitted_scores(evidence, decided):
    """Scores (N, C) under the decisions of `fold_decisions`."""
    scores = np.zeros(evidence.true_area.shape)
    for part, decision in decided:
        scores[part] = predictions.pair_scores(evidence.take(part), decision)
    return scores
