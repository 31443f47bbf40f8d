"""From probabilities to decisions: thresholds, minimum areas, an honest estimate of the score and its interval.

Everything here is arithmetic on `Evidence`, a few numbers an image-class pair, so it takes seconds on any data set.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from lib.masks import reaches
from lib.metrics import dice
from lib.paths import UserError

PIXEL_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
GATES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
MINIMUM_AREAS = (0, 150, 300, 600, 1000, 2000, 4000)  # pixels at full size
SMALLEST_COMPONENTS = (0, 75, 150, 400)  # pixels at full size; connected pieces of a mask below it are dropped
NEVER = 10**9  # minimum area of a class that is never predicted: more pixels than any image has
SOFT = "soft gating"  # a class's map times the class's probability, then the pixel threshold: unsure classes need sure pixels
STRATEGIES = {  # which of the two filters stand before the segmenters
    "segment everything": (False, False),
    "binary filter": (True, False),
    "multilabel filter": (False, True),
    "both filters": (True, True),
    SOFT: (True, False),
}


@dataclass
class Evidence:
    """What the networks say of N images and C classes, beside the truth.

    binary (N,) and label (N, C): probabilities, 0..1; true_area (N, C): pixels; area and intersection (N, C, T, S): pixels of
    the predicted mask, and of what it shares with the truth, at each of the T pixel thresholds and without components below
    each of the S sizes; group (N,): near-duplicates; soft_area, soft_intersection: as area and intersection, of maps that were
    multiplied by the class's probability; None where they were not asked for.
    """

    binary: np.ndarray
    label: np.ndarray
    true_area: np.ndarray
    area: np.ndarray
    intersection: np.ndarray
    group: np.ndarray
    pixel_thresholds: tuple = PIXEL_THRESHOLDS
    smallest: tuple = SMALLEST_COMPONENTS
    soft_area: np.ndarray | None = None
    soft_intersection: np.ndarray | None = None

    def take(self, chosen):
        """The evidence of some images (indices or a boolean array)."""
        grids = ("pixel_thresholds", "smallest")
        return Evidence(**{name: value if name in grids or value is None else value[chosen] for name, value in vars(self).items()})

    def pixels(self, strategy):
        """(area, intersection) that a strategy goes by, each (N, C, T, S)."""
        return (self.soft_area, self.soft_intersection) if strategy == SOFT else (self.area, self.intersection)

    def save(self, path):
        """Write to an .npz file."""
        np.savez_compressed(path, **{name: value for name, value in vars(self).items() if value is not None})

    @classmethod
    def load(cls, path):
        """Read what `save` wrote; no pickle is opened."""
        with np.load(path, allow_pickle=False) as stored:
            grids = {name: tuple(stored[name].tolist()) for name in ("pixel_thresholds", "smallest")}
            return cls(**{name: stored[name] for name in stored.files if name not in grids}, **grids)


def kept_pairs(evidence, decision):
    """Which image-class pairs pass each stage: three (N, C) boolean arrays, after the binary filter, after the multilabel
    filter, with a mask of at least the minimum area; and the pixels (N, C) of the mask and of what it shares with the truth."""
    use_binary, use_label = STRATEGIES[decision["strategy"]]
    passed = reaches(evidence.binary, decision["binary_threshold"]) if use_binary else np.ones(len(evidence.binary), bool)
    passed = np.repeat(passed[:, None], evidence.label.shape[1], axis=1)
    least = decision["pixel_thresholds"] if decision["strategy"] == SOFT else decision["label_thresholds"]
    named = passed & reaches(evidence.label, least) if use_label or decision["strategy"] == SOFT else passed
    index = np.arange(evidence.label.shape[1])
    threshold = [nearest(evidence.pixel_thresholds, value) for value in decision["pixel_thresholds"]]
    size = [nearest(evidence.smallest, value) for value in decision["smallest_components"]]
    area, shared = (array[:, index, threshold, size] for array in evidence.pixels(decision["strategy"]))
    return passed, named, named & (area > 0) & (area >= np.array(decision["minimum_areas"])), area, shared


def nearest(grid, value):
    """The place of the grid's value that is nearest to `value`."""
    return int(np.argmin(np.abs(np.array(grid) - value)))


def pair_scores(evidence, decision):
    """Dice (N, C) of every image-class pair under a decision: the competition's score is its mean."""
    _, _, drawn, area, shared = kept_pairs(evidence, decision)
    return np.where(drawn, dice(shared, area, evidence.true_area), evidence.true_area == 0)


def seconds_per_image(evidence, decision, seconds):
    """What a decision costs, in seconds an image: later networks see only what the filters before them let through.

    Arguments:
        seconds: {"binary": s, "multilabel": s, "seg_class1": s, ...} for an image that the network sees.
    """
    use_binary, use_label = STRATEGIES[decision["strategy"]]
    use_label |= decision["strategy"] == SOFT
    passed, named, *_ = kept_pairs(evidence, decision)
    drawn = [seconds[f"seg_class{k + 1}"] * named[:, k].mean() for k, area in enumerate(decision["minimum_areas"]) if area < NEVER]
    return float(use_binary * seconds["binary"] + use_label * seconds["multilabel"] * passed[:, 0].mean() + sum(drawn))


def choose(evidence, strategy="both filters", steady=True):
    """The decision that scores best on this evidence, found on grids; exhaustive but for one thing: a class's settings
    depend on the other classes' only through the binary threshold.

    Arguments:
        steady: judge each place of the grids together with its neighbours: a plateau holds on other images, a lone peak is
            mostly chance (on held-out strips of two demo runs the honest score rose by 0.009 and 0.006).

    Returns a dict: strategy, binary_threshold, and a list with one value a class of label_thresholds, pixel_thresholds,
    smallest_components and minimum_areas (pixels). A class that is better never predicted gets the minimum area NEVER.
    UserError for a strategy that is none.
    """
    if strategy not in STRATEGIES:
        raise UserError(f"There is no strategy {strategy!r}. Choose one of: {', '.join(STRATEGIES)}.")
    use_binary, use_label = STRATEGIES[strategy]
    classes, (areas, intersections) = evidence.label.shape[1], evidence.pixels(strategy)
    binary_gates = GATES if use_binary else (0.0,)
    label_gates = GATES if use_label else (0.0,)
    grids = label_gates, evidence.pixel_thresholds, evidence.smallest, (*MINIMUM_AREAS, NEVER)
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


def folds_of(group, count, seed=0):
    """A fold number (N,) 0..count-1 an image; images of one group share it."""
    names, place = np.unique(group, return_inverse=True)
    numbers = np.arange(len(names)) % count
    np.random.default_rng(seed).shuffle(numbers)
    return numbers[place]


def fold_decisions(evidence, strategy="both filters", folds=5, seed=0):
    """For each fold which images it has, (N,) bool, and the decision chosen on the images of all other folds.

    Fewer groups than folds: a fold for each; a single group is judged by its own decision, for want of another.
    UserError for fewer than two folds: the score would be the naive one.
    """
    if folds < 2:
        raise UserError(f"Cross-fitting chooses on some parts and judges on another, so {folds} is too few. Set parts to 2 or more.")
    fold = folds_of(evidence.group, min(folds, len(np.unique(evidence.group))), seed)
    parts = [fold == number for number in np.unique(fold)]
    return [(part, choose(evidence.take(~part if len(parts) > 1 else part), strategy)) for part in parts]


def cross_fit(evidence, strategy="both filters", folds=5, seed=0):
    """Scores (N, C) in which no image was scored by thresholds that it helped to choose."""
    return scores_of(evidence, fold_decisions(evidence, strategy, folds, seed))


def scores_of(evidence, decided):
    """Scores (N, C) under the decisions of `fold_decisions`."""
    scores = np.zeros(evidence.true_area.shape)
    for part, decision in decided:
        scores[part] = pair_scores(evidence.take(part), decision)
    return scores


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


def lost_points(evidence, decided):
    """Where the score is lost: a dict of (C,) arrays whose overall sum is 1 minus the competition score.

    Arguments:
        decided: a decision, or the list of `fold_decisions`.

    filtered out: a defect on an image that the binary filter dropped; class missed: the multilabel filter dropped it;
    no mask: the segmenter drew nothing or too little; imperfect mask: Dice below 1; false alarm: a mask where none is.
    """
    if isinstance(decided, list):
        shares = [(part.mean(), lost_points(evidence.take(part), decision)) for part, decision in decided]
        return {name: sum(share * lost[name] for share, lost in shares) for name in shares[0][1]}
    passed, named, drawn, _, _ = kept_pairs(evidence, decided)
    there, lost = evidence.true_area > 0, 1 - pair_scores(evidence, decided)
    where = {
        "filtered out": there & ~passed,
        "class missed": there & passed & ~named,
        "no mask": there & named & ~drawn,
        "imperfect mask": there & drawn,
        "false alarm": ~there & drawn,
    }
    return {name: (lost * chosen).sum(axis=0) / lost.size for name, chosen in where.items()}
