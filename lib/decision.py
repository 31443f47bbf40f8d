"""From probabilities to decisions: thresholds, minimum areas, an honest estimate of the score and its interval.

Everything here is arithmetic on `Evidence`, a few numbers an image-class pair, so it takes seconds on any data set.
"""

from dataclasses import dataclass

import numpy as np

from lib.metrics import dice

PIXEL_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
GATES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
MINIMUM_AREAS = (0, 150, 300, 600, 1000, 2000, 4000)  # pixels at full size
STRATEGIES = {  # which of the two filters stand before the segmenters
    "segment everything": (False, False),
    "binary filter": (True, False),
    "multilabel filter": (False, True),
    "both filters": (True, True),
}


@dataclass
class Evidence:
    """What the networks say of N images and C classes, beside the truth.

    binary (N,) and label (N, C): probabilities, 0..1; true_area (N, C): pixels; area and intersection (N, C, T): pixels of the
    predicted mask, and of what it shares with the truth, at each of the T pixel thresholds; group (N,): near-duplicates.
    """

    binary: np.ndarray
    label: np.ndarray
    true_area: np.ndarray
    area: np.ndarray
    intersection: np.ndarray
    group: np.ndarray
    pixel_thresholds: tuple = PIXEL_THRESHOLDS

    def take(self, chosen):
        """The evidence of some images (indices or a boolean array)."""
        arrays = (self.binary, self.label, self.true_area, self.area, self.intersection, self.group)
        return Evidence(*(array[chosen] for array in arrays), self.pixel_thresholds)

    def save(self, path):
        """Write to an .npz file."""
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path):
        """Read what `save` wrote; no pickle is opened."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{name: stored[name] for name in stored.files if name != "pixel_thresholds"},
                       pixel_thresholds=tuple(float(value) for value in stored["pixel_thresholds"]))  # fmt: skip


def kept_pairs(evidence, decision):
    """Which image-class pairs pass each stage: four (N, C) boolean arrays, after the binary filter, after the multilabel
    filter, with a mask of at least the minimum area, and the index (C,) of the pixel threshold used."""
    use_binary, use_label = STRATEGIES[decision["strategy"]]
    passed = (evidence.binary >= decision["binary_threshold"]) if use_binary else np.ones(len(evidence.binary), bool)
    passed = np.repeat(passed[:, None], evidence.label.shape[1], axis=1)
    named = passed & (evidence.label >= np.array(decision["label_thresholds"])) if use_label else passed
    places = [int(np.argmin(np.abs(np.array(evidence.pixel_thresholds) - t))) for t in decision["pixel_thresholds"]]
    area = np.stack([evidence.area[:, k, place] for k, place in enumerate(places)], axis=1)
    drawn = named & (area > 0) & (area >= np.array(decision["minimum_areas"]))
    return passed, named, drawn, places


def pair_scores(evidence, decision):
    """Dice (N, C) of every image-class pair under a decision: the competition's score is its mean."""
    _, _, drawn, places = kept_pairs(evidence, decision)
    index = np.arange(evidence.label.shape[1])
    full = dice(evidence.intersection[:, index, places], evidence.area[:, index, places], evidence.true_area)
    return np.where(drawn, full, evidence.true_area == 0)


def choose(evidence, strategy="both filters"):
    """The decision that scores best on this evidence, found on grids; exhaustive but for one thing: a class's settings
    depend on the other classes' only through the binary threshold.

    Returns a dict: strategy, binary_threshold, and a list with one value a class of label_thresholds, pixel_thresholds and
    minimum_areas (pixels). A class that is better never predicted gets an infinite minimum area, stored as the number of
    pixels of any image and more (10**9).
    """
    use_binary, use_label = STRATEGIES[strategy]
    classes = evidence.label.shape[1]
    binary_gates = GATES if use_binary else (0.0,)
    label_gates = GATES if use_label else (0.0,)
    thresholds, minimums = evidence.pixel_thresholds, (*MINIMUM_AREAS, 10**9)
    passed = np.array([evidence.binary >= gate for gate in binary_gates], float)
    totals, settings = np.zeros(len(binary_gates)), []
    for k in range(classes):
        area = evidence.area[:, k]
        gain = dice(evidence.intersection[:, k], area, evidence.true_area[:, k, None]) - (evidence.true_area[:, k, None] == 0)
        kept = np.stack([(area > 0) & (area >= minimum) for minimum in minimums], axis=2)  # (N, T, M)
        gains = (gain[:, :, None] * kept).reshape(len(area), -1)
        named = np.array([evidence.label[:, k] >= gate for gate in label_gates], float)
        sums = ((passed[:, None] * named[None]).reshape(-1, len(area)) @ gains).reshape(len(binary_gates), -1)
        best = sums.argmax(axis=1)
        totals += sums[np.arange(len(best)), best]
        settings.append([np.unravel_index(place, (len(label_gates), len(thresholds), len(minimums))) for place in best])
    winner = int(totals.argmax())
    chosen = [setting[winner] for setting in settings]
    return {
        "strategy": strategy,
        "binary_threshold": float(binary_gates[winner]),
        "label_thresholds": [float(label_gates[place[0]]) for place in chosen],
        "pixel_thresholds": [float(thresholds[place[1]]) for place in chosen],
        "minimum_areas": [int(minimums[place[2]]) for place in chosen],
    }


def folds_of(group, count, seed=0):
    """A fold number (N,) 0..count-1 an image; images of one group share it."""
    names, place = np.unique(group, return_inverse=True)
    numbers = np.arange(len(names)) % count
    np.random.default_rng(seed).shuffle(numbers)
    return numbers[place]


def cross_fit(evidence, strategy="both filters", folds=5, seed=0):
    """Scores (N, C) in which no image was scored by thresholds that it helped to choose."""
    fold = folds_of(evidence.group, min(folds, len(np.unique(evidence.group))), seed)
    scores = np.zeros(evidence.true_area.shape)
    for number in np.unique(fold):
        if len(np.unique(fold)) == 1:
            return pair_scores(evidence, choose(evidence, strategy))
        decision = choose(evidence.take(fold != number), strategy)
        scores[fold == number] = pair_scores(evidence.take(fold == number), decision)
    return scores


def bootstrap_interval(values, group, rounds=1000, level=0.95, seed=0):
    """Percentile interval (low, high) of the mean of `values` (N,), images of one group drawn together.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    _, place = np.unique(group, return_inverse=True)
    total, size = np.bincount(place, values), np.bincount(place)
    random = np.random.default_rng(seed)
    draws = [random.integers(len(total), size=len(total)) for _ in range(rounds)]
    means = [total[draw].sum() / size[draw].sum() for draw in draws]
    return tuple(float(value) for value in np.quantile(means, [(1 - level) / 2, (1 + level) / 2]))


def lost_points(evidence, decision):
    """Where the score is lost: a dict of (C,) arrays whose overall sum is 1 minus the competition score.

    filtered out: a defect on an image that the binary filter dropped; class missed: the multilabel filter dropped it;
    no mask: the segmenter drew nothing or too little; imperfect mask: Dice below 1; false alarm: a mask where none is.
    """
    passed, named, drawn, _ = kept_pairs(evidence, decision)
    there, lost = evidence.true_area > 0, 1 - pair_scores(evidence, decision)
    where = {
        "filtered out": there & ~passed,
        "class missed": there & passed & ~named,
        "no mask": there & named & ~drawn,
        "imperfect mask": there & drawn,
        "false alarm": ~there & drawn,
    }
    return {name: (lost * chosen).sum(axis=0) / lost.size for name, chosen in where.items()}
