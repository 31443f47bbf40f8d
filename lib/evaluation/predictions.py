"""What the cascade says of images whose truth is known: a few numbers an image-class pair, by which all
thresholds are evaluated."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data import rle
from lib.evaluation.metrics import dice
from lib.evaluation.scores import PairPixels
from lib.inference import postprocess
from lib.inference.postprocess import PostprocessConfig, reaches

PIXEL_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
# pixels at full size; connected pieces of a mask below it are dropped
SMALLEST_COMPONENTS = (0, 75, 150, 400)
FORMER_FIELDS = {
    "binary": "defect_probability",
    "label": "class_probability",
    "smallest": "smallest_components",
}


@dataclass
class CascadePredictions:
    """What the networks say of N images and C classes, beside the truth.

    defect_probability (N,) and class_probability (N, C): 0..1; true_area (N, C): pixels; area and
    intersection (N, C, T, S): pixels of the predicted mask, and of its intersection with the truth, at each
    of the T pixel thresholds and without components below each of the S sizes; group (N,): near-duplicates;
    soft_area, soft_intersection: as area and intersection, of maps that were multiplied by the class's
    probability; None where they were not asked for.
    """

    defect_probability: np.ndarray
    class_probability: np.ndarray
    true_area: np.ndarray
    area: np.ndarray
    intersection: np.ndarray
    group: np.ndarray
    pixel_thresholds: tuple = PIXEL_THRESHOLDS
    smallest_components: tuple = SMALLEST_COMPONENTS
    soft_area: np.ndarray | None = None
    soft_intersection: np.ndarray | None = None

    @property
    def has_defect(self) -> np.ndarray:
        """Which image-class pairs have a defect, (N, C) bool."""
        return self.true_area > 0

    def take(self, chosen: np.ndarray | list[int]) -> "CascadePredictions":
        """The predictions of some images (indices or a boolean array)."""
        whole = ("pixel_thresholds", "smallest_components")
        taken = {
            name: value if name in whole or value is None else value[chosen]
            for name, value in vars(self).items()
        }
        return CascadePredictions(**taken)

    def pixels(self, strategy: str) -> tuple:
        """(area, intersection) that a strategy goes by, each (N, C, T, S)."""
        return (
            (self.soft_area, self.soft_intersection)
            if strategy == postprocess.SOFT
            else (self.area, self.intersection)
        )

    def save(self, path: str | Path) -> None:
        """Write to an .npz file."""
        np.savez_compressed(path, **{name: value for name, value in vars(self).items() if value is not None})

    @classmethod
    def load(cls, path: str | Path) -> "CascadePredictions":
        """Read what `save` wrote, now or in earlier versions; no pickle is opened."""
        with np.load(path, allow_pickle=False) as file:
            stored = {FORMER_FIELDS.get(name, name): file[name] for name in file.files}
        grids = {name: tuple(stored[name].tolist()) for name in ("pixel_thresholds", "smallest_components")}
        return cls(**stored | grids)


def passing_pairs(
    predictions: CascadePredictions, thresholds: PostprocessConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which image-class pairs pass each stage: three (N, C) boolean arrays, after the binary filter, after
    the multilabel filter, with a mask of at least the minimum area; and the pixels (N, C) of the mask and of
    its intersection with the truth."""
    passed, named = passing_filters(predictions.defect_probability, predictions.class_probability, thresholds)
    classes = np.arange(named.shape[1])
    pixel = [nearest_index(predictions.pixel_thresholds, value) for value in thresholds.pixel_thresholds]
    smallest = [
        nearest_index(predictions.smallest_components, value) for value in thresholds.smallest_components
    ]
    area, intersection = (
        array[:, classes, pixel, smallest] for array in predictions.pixels(thresholds.strategy)
    )
    predicted = named & (area > 0) & (area >= np.array(thresholds.minimum_areas))
    return passed, named, predicted, area, intersection


def passing_filters(
    defect_probability: np.ndarray, class_probability: np.ndarray, thresholds: PostprocessConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Which image-class pairs pass the binary filter, and the multilabel filter after it: two (N, C) boolean
    arrays.

    Arguments:
        defect_probability: (N,); class_probability: (N, C); NaN, of what a filter before it dropped, passes
            none.
    """
    use_binary, use_label = postprocess.STRATEGIES[thresholds.strategy]
    soft = thresholds.strategy == postprocess.SOFT
    passed = np.ones(class_probability.shape, bool)
    if use_binary:
        passed &= reaches(defect_probability, thresholds.binary_threshold)[:, None]
    named = passed
    if use_label or soft:
        named = passed & reaches(
            class_probability, thresholds.pixel_thresholds if soft else thresholds.label_thresholds
        )
    return passed, named


def nearest_index(grid: Sequence[float], value: float) -> int:
    """The index of the grid's value that is nearest to `value`."""
    return int(np.argmin(np.abs(np.array(grid) - value)))


def pair_scores(predictions: CascadePredictions, thresholds: PostprocessConfig) -> np.ndarray:
    """Dice (N, C) of every image-class pair under these thresholds: the competition's score is its mean."""
    _, _, predicted, area, intersection = passing_pairs(predictions, thresholds)
    return np.where(predicted, dice(intersection, area, predictions.true_area), ~predictions.has_defect)


def pair_pixels(predictions: CascadePredictions, thresholds: PostprocessConfig) -> PairPixels:
    """The pixels of every image-class pair under these thresholds, of which `scores` makes any score."""
    _, _, predicted, area, intersection = passing_pairs(predictions, thresholds)
    return PairPixels(intersection * predicted, area * predicted, predictions.true_area)


def seconds_per_image(
    predictions: CascadePredictions, thresholds: PostprocessConfig, seconds: dict[str, float]
) -> float:
    """What a prediction costs, in seconds an image: later networks see only what the filters before them let
    through.

    Arguments:
        seconds: {"binary": s, "multilabel": s, "seg_class1": s, ...} for an image that the network sees.
    """
    use_binary, use_label = postprocess.STRATEGIES[thresholds.strategy]
    use_label |= thresholds.strategy == postprocess.SOFT
    passed, named, *_ = passing_pairs(predictions, thresholds)
    segmenters = sum(
        seconds[f"seg_class{class_index + 1}"] * named[:, class_index].mean()
        for class_index, minimum_area in enumerate(thresholds.minimum_areas)
        if minimum_area < postprocess.NEVER
    )
    filters = use_binary * seconds["binary"] + use_label * seconds["multilabel"] * passed[:, 0].mean()
    return float(filters + segmenters)


def member_answers(network, rows: pd.DataFrame) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield (index, prediction) of every image, by the members of the network that may answer; then all may again.

    Arguments:
        rows: with path and member, as from `splitting.evaluation_images` (without: whatever the network
            uses); indices count its rows from 0.
    """
    paths = rows["path"].to_numpy()
    if "member" not in rows:
        yield from enumerate(network(list(paths)))
        return
    member = rows["member"].to_numpy()
    try:
        for member_index in np.unique(member):
            indices = np.flatnonzero(member == member_index)
            answering = (1, member_index) if member_index >= 0 else (len(network.members), 0)
            network.use(len(network.augmentations), *answering)
            yield from zip(indices, network(list(paths[indices])), strict=True)
    finally:  # also where nobody asks for the end
        network.use(len(network.augmentations), len(network.members))


def class_probabilities(network, rows: pd.DataFrame, classes: int) -> np.ndarray:
    """A classifier's `member_answers` as one array, float32 (N, classes), in the order of the rows."""
    probability = np.empty((len(rows), classes), np.float32)
    for index, answer in member_answers(network, rows):
        probability[index] = answer
    return probability


def collect_predictions(
    networks: dict,
    table: pd.DataFrame,
    rles: list[list[str]],
    shape: tuple[int, int],
    progress: Callable[[str], None] | None = None,
    maps: list | None = None,
    seconds: dict[str, float] | None = None,
    members: dict[str, np.ndarray] | None = None,
) -> CascadePredictions:
    """Run every network on every image, unfiltered, and keep what all thresholds are evaluated by.

    Arguments:
        networks: as from `open_networks`.
        table: the images (columns path, group); rles: nested list N x C of true run-lengths; shape: (H, W)
            pixels.
        progress: called with a line of text now and then.
        maps: a list, to get a list of C probability maps (see `postprocess.pack`) for each image.
        seconds: a dict, to get the seconds an image of every network with all its members, reading included.
        members: {network: (N,) which of its members may answer, -1 for all}, as from
            `splitting.evaluation_images`; None: all everywhere.
    """
    n_images, n_classes = len(table), len(rles[0])
    grid = n_images, n_classes, len(PIXEL_THRESHOLDS), len(SMALLEST_COMPONENTS)
    predictions = CascadePredictions(
        np.zeros(n_images, np.float32),
        np.zeros((n_images, n_classes), np.float32),
        np.zeros((n_images, n_classes), np.int64),
        np.zeros(grid, np.int64),
        np.zeros(grid, np.int64),
        table["group"].to_numpy() if "group" in table else np.arange(n_images),
        soft_area=np.zeros(grid, np.int64),
        soft_intersection=np.zeros(grid, np.int64),
    )
    seconds = {} if seconds is None else seconds

    def answers(name: str) -> Iterator[tuple[int, np.ndarray]]:
        return timed_answers(
            networks[name], table if members is None else table.assign(member=members[name]), seconds, name
        )

    for row, probability in answers("binary"):
        predictions.defect_probability[row] = probability[0]
    for row, probability in answers("multilabel"):
        predictions.class_probability[row] = probability
    packed: list[list] = [[None] * n_classes for _ in range(n_images)]
    for class_index in range(n_classes):
        if progress:
            progress(f"class {class_index + 1}: {n_images} strips")
        for row, probability in answers(f"seg_class{class_index + 1}"):
            text = rles[row][class_index]
            count_pair(
                predictions,
                row,
                class_index,
                probability,
                rle.decode(text, shape).astype(bool) if text else None,
                shape,
            )
            if maps is not None:
                packed[row][class_index] = postprocess.pack(probability)
    if maps is not None:
        maps.extend(packed)
    return predictions


def timed_answers(
    network, rows: pd.DataFrame, seconds: dict[str, float], name: str
) -> Iterator[tuple[int, np.ndarray]]:
    """`member_answers`, with the mean seconds an image that all members take added up in `seconds[name]`: where one of
    them answered, the others take as long, and the image is read once."""
    list(network(list(rows["path"].iloc[:1])))  # what a network does only once belongs to no image's time
    seconds[name] = 0.0
    is_alone = rows["member"].to_numpy() >= 0 if "member" in rows else np.zeros(len(rows), bool)
    others = len(network.members) - 1 if is_alone.any() else 0
    with contextlib.closing(member_answers(network, rows)) as answers:
        for _ in range(len(rows)):
            began, predicted = time.perf_counter(), network.predicting if others else 0.0
            answer = next(answers)
            taken = time.perf_counter() - began
            if others and is_alone[answer[0]]:
                taken += others * (network.predicting - predicted)
            seconds[name] += taken / len(rows)
            yield answer


def count_pair(
    predictions: CascadePredictions,
    row: int,
    class_index: int,
    probability: np.ndarray,
    truth: np.ndarray | None,
    shape: tuple[int, int],
) -> None:
    """Fill in the areas of one image-class pair from its probability map (h, w) and its true mask (H, W)
    bool, None for no defect."""
    pair, grids = (row, class_index), (predictions.pixel_thresholds, predictions.smallest_components)
    predictions.true_area[pair] = 0 if truth is None else truth.sum()
    full = postprocess.full_size(probability, shape)
    predictions.area[pair], predictions.intersection[pair] = postprocess.count_pixels(full, truth, *grids)
    # else no product reaches a threshold
    if reaches(predictions.class_probability[pair], min(predictions.pixel_thresholds)):
        soft_area, soft_intersection = predictions.pixels(postprocess.SOFT)
        weighted = postprocess.full_size(probability * predictions.class_probability[pair], shape)
        soft_area[pair], soft_intersection[pair] = postprocess.count_pixels(weighted, truth, *grids)
