"""Thresholds for a budget in place of a score: at most so many false alarms, or at least so many defective
images found; and whether the budget was kept on images that did not choose.

An image is an alarm if anything is left on it, a false one if it has no defect at all. What moves is the
simplest that only ever takes alarms away: for all classes the threshold of the binary filter, which then stands
alone; for a class its minimum area. Pixel thresholds and smallest components stay as the score chose them. (On
161 real strips, with an earlier recipe, the binary probability alone parted defective strips better, AUC 0.953, than
together with the label thresholds and minimum areas that the score chose, 0.916, which differ from fold to fold besides.)

A budget is promised with 95 % confidence: on n images that choose, so few may be wrong that the upper limit
of Clopper and Pearson (1934) for their share lies within it (Bates et al., Distribution-free, risk-controlling
prediction sets, 2021). With none of n wrong that limit is about 3 / n. What was achieved is counted on images
that did not choose, with the interval of Wilson (1927). Near-duplicates and strips of one coil count in both as so many
independent images as the wrong ones among them tell (Korn and Graubard, 1998).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import beta

from lib.errors import UserError
from lib.evaluation.predictions import CascadePredictions, pair_pixels
from lib.evaluation.statistics import effective_numbers
from lib.inference import postprocess
from lib.inference.postprocess import PostprocessConfig

CONFIDENCE = 0.95
FALSE_ALARMS, RECALL = "max_false_alarms", "min_recall"


@dataclass(frozen=True)
class Budget:
    """At most which share, 0..1, of the images may be wrong: of the defect-free ones marked (name
    `max_false_alarms`), or of the defective ones missed (`min_recall`); in all, and class by class, 1 for no
    limit; stated: {parameter: value} that ask for it."""

    name: str
    limit: float
    class_limits: tuple[float, ...]
    stated: dict[str, float | list[float]]


def of_parameters(
    max_false_alarms: float,
    class_max_false_alarms: list[float],
    min_recall: float,
    class_min_recall: list[float],
    classes: int,
) -> list[Budget]:
    """The Budgets that 40_evaluation's parameters ask for, none to two; 0 is no limit, an empty list none for
    any class.

    Arguments:
        max_false_alarms: per 1,000 defect-free images; min_recall: 0..1. UserError where a list is not one
            value a class.
    """
    budgets = []
    for name, limit, of_classes, whole in (
        (FALSE_ALARMS, max_false_alarms, class_max_false_alarms, 1000.0),
        (RECALL, min_recall, class_min_recall, 1.0),
    ):
        if of_classes and len(of_classes) != classes:
            raise UserError(
                f"class_{name} has {len(of_classes)} values, and the data have {classes} classes. Set one "
                "for each, 0 for no limit."
            )
        values = [value / whole for value in (limit, *(of_classes or [0.0] * classes))]
        if any(values):
            shares = [1.0 if not one else one if name == FALSE_ALARMS else 1 - one for one in values]
            stated: dict[str, float | list[float]] = {name: limit, f"class_{name}": of_classes}
            budgets.append(Budget(name, shares[0], tuple(shares[1:]), stated))
    return budgets


def images_needed(limit: float) -> int:
    """Of how many images none may be wrong, so that at most the share `limit` is with 95 % confidence."""
    return int(np.ceil(np.log(1 - CONFIDENCE) / np.log1p(-limit)))


def most_wrong(limit: float, group: np.ndarray) -> int:
    """How many of the images (N,), the first of them, may be wrong, so that with 95 % confidence at most the share
    `limit` of such images is; 0 also where they are too few to promise it. group: (N,), theirs."""
    size = effective_numbers(group)[:-1]
    wrong = np.arange(len(size)) * size / max(len(group), 1)
    within = beta.ppf(CONFIDENCE, wrong + 1, size - wrong) <= limit
    return int(np.flatnonzero(within).max(initial=0))


def nth_value(values: np.ndarray, limit: float, group: np.ndarray) -> float:
    """The lowest of values (N,) that is not to be among those that go wrong, lowest first, so that at most the share
    `limit` does; group: (N,)."""
    order = np.argsort(values, kind="stable")
    return float(values[order[most_wrong(limit, group[order])]])


def choose(predictions: CascadePredictions, base: PostprocessConfig, budget: Budget) -> PostprocessConfig:
    """The thresholds for a budget: the lowest binary threshold with few enough false alarms, or the highest
    that finds enough; for a class, the smallest minimum area with few enough false alarms. A class that the
    score is better without is drawn where enough is to be found, and otherwise never.

    Arguments:
        base: the thresholds for the score, of which `without_filters` remains.

    Where the budget cannot be reached, or too few images can promise it, they are those that come nearest.
    """
    base, has_defect = without_filters(base), predictions.has_defect
    defective = has_defect.any(axis=1)
    if budget.name == RECALL:
        wanted = [
            0 if min(limit, budget.limit) < 1 else area
            for area, limit in zip(base.minimum_areas, budget.class_limits, strict=True)
        ]
        base = replace(base, minimum_areas=tuple(wanted))
        values = alarm_probability(predictions, base)
        needs = [(budget.limit, defective, values.max(axis=1))]
        needs += zip(budget.class_limits, has_defect.T, values.T, strict=True)
        highest = [
            nth_value(of_pairs[rows], limit, predictions.group[rows])
            for limit, rows, of_pairs in needs
            if limit < 1 and rows.any()
        ]
        return replace(base, binary_threshold=max(min(highest, default=0.0), 0.0))
    if defective.all():
        return base
    group = predictions.group[~defective]
    if budget.limit < 1:
        first_dropped = -nth_value(
            -alarm_probability(predictions, base).max(axis=1)[~defective], budget.limit, group
        )
        if first_dropped >= 0:
            above = float(np.nextafter(np.float32(first_dropped), np.float32(2)))
            base = replace(base, binary_threshold=min(above, 1.0))
    areas = alarm_areas(predictions, base)[~defective]
    minimum_areas = list(base.minimum_areas)
    for class_index, limit in enumerate(budget.class_limits):
        first_dropped = -nth_value(-areas[:, class_index], limit, group) if limit < 1 else 0
        if first_dropped:
            minimum_areas[class_index] = int(first_dropped) + 1
    return replace(base, minimum_areas=tuple(minimum_areas))


def without_filters(thresholds: PostprocessConfig) -> PostprocessConfig:
    """The same thresholds, where the binary filter stands alone and is open, and no mask is too small; a
    class that is never predicted stays so."""
    areas = tuple(area if area == postprocess.NEVER else 0 for area in thresholds.minimum_areas)
    strategy = thresholds.strategy if thresholds.strategy == postprocess.SOFT else "binary filter"
    labels = (0.0,) * thresholds.classes
    return replace(
        thresholds, strategy=strategy, binary_threshold=0.0, label_thresholds=labels, minimum_areas=areas
    )


def alarm_probability(predictions: CascadePredictions, open_wide: PostprocessConfig) -> np.ndarray:
    """Up to which binary threshold each pair has a mask, (N, C): the probability of any defect, or -1 where
    it has none at any. `open_wide`: from `without_filters`."""
    marked = alarm_areas(predictions, open_wide) > 0
    return np.where(marked, predictions.defect_probability[:, None], -1.0)


def alarm_areas(predictions: CascadePredictions, thresholds: PostprocessConfig) -> np.ndarray:
    """The pixels of each pair's mask, (N, C), 0 where nothing is left."""
    return pair_pixels(predictions, thresholds).predicted_area


def cross_fitted_alarms(
    predictions: CascadePredictions, by_fold: list[tuple[np.ndarray, PostprocessConfig]], budget: Budget
) -> np.ndarray:
    """Which pairs get a mask, (N, C) bool, under thresholds that other folds chose: for the score, as
    `fold_thresholds` has them, and then for the budget."""
    alarms = np.zeros(predictions.true_area.shape, bool)
    for inside, base in by_fold:
        others = predictions.take(~inside if (~inside).any() else inside)
        alarms[inside] = alarm_areas(predictions.take(inside), choose(others, base, budget)) > 0
    return alarms
