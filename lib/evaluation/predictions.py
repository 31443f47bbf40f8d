"""What the cascade says of images whose truth is known: a few numbers an image-class pair, on which all thresholds are judged."""

import time
from dataclasses import dataclass

import numpy as np

from lib.data import rle
from lib.evaluation.metrics import dice
from lib.inference import postprocess
from lib.inference.postprocess import reaches

PIXEL_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SMALLEST_COMPONENTS = (0, 75, 150, 400)  # pixels at full size; connected pieces of a mask below it are dropped


@dataclass
class CascadePredictions:
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
        return CascadePredictions(**{name: value if name in grids or value is None else value[chosen] for name, value in vars(self).items()})

    def pixels(self, strategy):
        """(area, intersection) that a strategy goes by, each (N, C, T, S)."""
        return (self.soft_area, self.soft_intersection) if strategy == postprocess.SOFT else (self.area, self.intersection)

    def save(self, path):
        """Write to an .npz file."""
        np.savez_compressed(path, **{name: value for name, value in vars(self).items() if value is not None})

    @classmethod
    def load(cls, path):
        """Read what `save` wrote; no pickle is opened."""
        with np.load(path, allow_pickle=False) as stored:
            grids = {name: tuple(stored[name].tolist()) for name in ("pixel_thresholds", "smallest")}
            return cls(**{name: stored[name] for name in stored.files if name not in grids}, **grids)


def passing_pairs(evidence, decision):
    """Which image-class pairs pass each stage: three (N, C) boolean arrays, after the binary filter, after the multilabel
    filter, with a mask of at least the minimum area; and the pixels (N, C) of the mask and of what it shares with the truth."""
    use_binary, use_label = postprocess.STRATEGIES[decision["strategy"]]
    passed = reaches(evidence.binary, decision["binary_threshold"]) if use_binary else np.ones(len(evidence.binary), bool)
    passed = np.repeat(passed[:, None], evidence.label.shape[1], axis=1)
    least = decision["pixel_thresholds"] if decision["strategy"] == postprocess.SOFT else decision["label_thresholds"]
    named = passed & reaches(evidence.label, least) if use_label or decision["strategy"] == postprocess.SOFT else passed
    index = np.arange(evidence.label.shape[1])
    threshold = [nearest_index(evidence.pixel_thresholds, value) for value in decision["pixel_thresholds"]]
    size = [nearest_index(evidence.smallest, value) for value in decision["smallest_components"]]
    area, shared = (array[:, index, threshold, size] for array in evidence.pixels(decision["strategy"]))
    return passed, named, named & (area > 0) & (area >= np.array(decision["minimum_areas"])), area, shared


def nearest_index(grid, value):
    """The place of the grid's value that is nearest to `value`."""
    return int(np.argmin(np.abs(np.array(grid) - value)))


def pair_scores(evidence, decision):
    """Dice (N, C) of every image-class pair under a decision: the competition's score is its mean."""
    _, _, drawn, area, shared = passing_pairs(evidence, decision)
    return np.where(drawn, dice(shared, area, evidence.true_area), evidence.true_area == 0)


def seconds_per_image(evidence, decision, seconds):
    """What a decision costs, in seconds an image: later networks see only what the filters before them let through.

    Arguments:
        seconds: {"binary": s, "multilabel": s, "seg_class1": s, ...} for an image that the network sees.
    """
    use_binary, use_label = postprocess.STRATEGIES[decision["strategy"]]
    use_label |= decision["strategy"] == postprocess.SOFT
    passed, named, *_ = passing_pairs(evidence, decision)
    drawn = [seconds[f"seg_class{k + 1}"] * named[:, k].mean() for k, area in enumerate(decision["minimum_areas"]) if area < postprocess.NEVER]
    return float(use_binary * seconds["binary"] + use_label * seconds["multilabel"] * passed[:, 0].mean() + sum(drawn))


def member_answers(network, rows):
    """Yield (place, prediction) of every image, by the members of the network that may judge it.

    Arguments:
        rows: with path and member, as from `splitting.evaluation_images` (without: whatever the network uses); places count its rows from 0.
    """
    paths = rows["path"].to_numpy()
    if "member" not in rows:
        yield from enumerate(network(list(paths)))
        return
    member = rows["member"].to_numpy()
    for number in np.unique(member):
        places = np.flatnonzero(member == number)
        network.use(len(network.augmentations), *((len(network.members), 0) if number < 0 else (1, number)))
        yield from zip(places, network(list(paths[places])), strict=True)
    network.use(len(network.augmentations), len(network.members))


def class_probabilities(network, rows, classes):
    """A classifier's `answers` as one array, float32 (N, classes), in the order of the rows."""
    found = np.empty((len(rows), classes), np.float32)
    for place, answer in member_answers(network, rows):
        found[place] = answer
    return found


def collect_predictions(networks, table, rles, shape, progress=None, maps=None, seconds=None, members=None):
    """Run every network on every image and keep what `decision` needs.

    Arguments:
        networks: as from `open_networks`.
        table: the images (columns path, group); rles: nested list N x C of true run-lengths; shape: (H, W) pixels.
        progress: called with a line of text now and then.
        maps: a list, to get a list of C probability maps (see `postprocess.pack`) for each image.
        seconds: a dict, to get the seconds an image of every network, reading included.
        members: {network: (N,) which of its members may answer, -1 for all}, as from `splitting.evaluation_images`; None: all everywhere.
    """
    count, classes, seconds = len(table), len(rles[0]), {} if seconds is None else seconds
    thresholds, smallest = PIXEL_THRESHOLDS, SMALLEST_COMPONENTS

    def judged(name):
        list(networks[name](list(table["path"].iloc[:1])))  # what a network does only once belongs to no image's time
        seconds[name], results = 0.0, member_answers(networks[name], table if members is None else table.assign(member=members[name]))
        for _ in range(count):
            began = time.perf_counter()
            result = next(results)
            seconds[name] += (time.perf_counter() - began) / count
            yield result

    binary, label = np.zeros(count, np.float32), np.zeros((count, classes), np.float32)
    for name, filled in (("binary", binary[:, None]), ("multilabel", label)):
        for row, probabilities in judged(name):
            filled[row] = probabilities
    area = np.zeros((count, classes, len(thresholds), len(smallest)), np.int64)
    intersection, true_area = np.zeros_like(area), np.zeros((count, classes), np.int64)
    soft_area, soft_intersection = np.zeros_like(area), np.zeros_like(area)
    packed = [[None] * classes for _ in range(count)]
    for k in range(classes):
        if progress:
            progress(f"class {k + 1}: {count} strips")
        for row, probability in judged(f"seg_class{k + 1}"):
            truth = rle.decode(rles[row][k], shape).astype(bool) if rles[row][k] else None
            true_area[row, k] = 0 if truth is None else truth.sum()
            area[row, k], intersection[row, k] = postprocess.counts(postprocess.full_size(probability, shape), truth, thresholds, smallest)
            if postprocess.reaches(label[row, k], min(thresholds)):  # else no product reaches a threshold
                weighted = postprocess.full_size(probability * label[row, k], shape)
                soft_area[row, k], soft_intersection[row, k] = postprocess.counts(weighted, truth, thresholds, smallest)
            if maps is not None:
                packed[row][k] = postprocess.pack(probability)
    if maps is not None:
        maps.extend(packed)
    group = table["group"].to_numpy() if "group" in table else np.arange(count)
    return CascadePredictions(binary, label, true_area, area, intersection, group, thresholds, smallest, soft_area, soft_intersection)
