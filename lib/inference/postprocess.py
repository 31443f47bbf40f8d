"""From a probability map to a mask: enlarge, cut at a threshold, drop small pieces, drop small masks; and
which filters stand before.

Maps that are kept for later are stored as PNG with 256 levels: a hundredth of their size, and a threshold
moves by 1/510 at most.
"""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import cv2
import numpy as np

from lib import files
from lib.errors import UserError

NEVER = 10**9  # minimum area of a class that is never predicted: more pixels than any image has
# a class's map times the class's probability, then the pixel threshold: unsure classes need sure pixels
SOFT = "soft gating"
STRATEGIES = {  # which of the two filters stand before the segmenters
    "segment everything": (False, False),
    "binary filter": (True, False),
    "multilabel filter": (False, True),
    "both filters": (True, True),
    SOFT: (True, False),
}


@dataclass(frozen=True)
class PostprocessConfig:
    """The thresholds that turn probabilities into masks, and what they were chosen with: `thresholds.json`.

    strategy: one of STRATEGIES; binary_threshold: 0..1, of the probability of any defect; and with one value
    a class: label_thresholds: 0..1, of the probability of the class; pixel_thresholds: 0..1, of its map;
    smallest_components and minimum_areas: pixels at full size, below which a piece of a mask, or all of it,
    is dropped.

    tta: entries of choices.TTA; classifier_tta: those of the two classifiers, where they have others;
    engine: see `runtime.ENGINES`; shape: (H, W) of the masks; models: {name: SHA-256 of the weights} of every
    network, further members of ensembles included; score: that they were chosen for, see
    `evaluation.scores`; class_names: what tables and figures call the classes, one each, or none.
    """

    strategy: str
    binary_threshold: float
    label_thresholds: tuple[float, ...]
    pixel_thresholds: tuple[float, ...]
    smallest_components: tuple[int, ...]
    minimum_areas: tuple[int, ...]
    tta: tuple[str, ...] = ("none",)
    classifier_tta: tuple[str, ...] = ()
    engine: str = "float32"
    shape: tuple[int, ...] = ()
    models: dict[str, str] = field(default_factory=dict)
    score: str = "severstal"
    class_names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """How many defect classes they are for."""
        return len(self.label_thresholds)

    def write(self, path: str | Path, operating_points: dict[str, dict] | None = None) -> None:
        """Write to a JSON file, atomically; with operating points, {name: entries}, see `read`."""
        files.write_json(
            path, asdict(self) | ({"operating_points": operating_points} if operating_points else {})
        )

    @classmethod
    def read(cls, path: str | Path, operating_point: str = "") -> "PostprocessConfig":
        """Read what `write` wrote. UserError that names the file and the entry which is missing, unknown or
        has no such value.

        Arguments:
            operating_point: the name of one of the file's, whose thresholds then stand in for the score's;
                what else it has, such as what it promises, is left out. UserError where there is none.
        """
        stored = files.read_json(path)
        again = "Run 40_evaluation again."
        if not isinstance(stored, dict):
            raise UserError(f"{path} holds no thresholds. {again}")
        points = stored.pop("operating_points", {})
        if operating_point:
            if not isinstance(points, dict) or not isinstance(points.get(operating_point), dict):
                names = (
                    f"It has {', '.join(points)}."
                    if isinstance(points, dict) and points
                    else ("It has none: run 40_evaluation with max_false_alarms or min_recall.")
                )
                raise UserError(f"{path} has no operating point {operating_point!r}. {names}")
            point = points[operating_point]
            stored |= {one.name: point[one.name] for one in fields(cls)[:6] if one.name in point}
        if isinstance(stored.get("minimum_areas"), list):  # the first runs dropped no pieces
            stored = {"smallest_components": [0] * len(stored["minimum_areas"]), **stored}
        missing = [one.name for one in fields(cls)[:6] if one.name not in stored]
        if missing:
            raise UserError(f"{path} has no {missing[0]}. {again}")
        for name, value in stored.items():
            if name not in VALUES:
                raise UserError(f"{path} has {name!r}, which no thresholds have. Remove it. {again}")
            described, is_valid = VALUES[name]
            if not is_valid(value):
                raise UserError(f"{path}: {name} is {value!r}, not {described}. {again}")
        named = ("class_names",) if stored.get("class_names") else ()
        lengths = {name: len(stored[name]) for name in (*PER_CLASS, *named)}
        if len(set(lengths.values())) > 1:
            raise UserError(
                f"{path} has values for "
                f"{', '.join(f'{n} classes in {name}' for name, n in lengths.items())}. {again}"
            )
        return cls.of_stored(stored)

    @classmethod
    def of_stored(cls, stored: dict) -> "PostprocessConfig":
        """Thresholds from the entries of a JSON file, which has lists for tuples."""
        values: dict = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
        }
        return cls(**values)


def _is_share(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value) -> bool:
    return isinstance(value, str)


def _list_of(is_valid):
    return lambda values: isinstance(values, list) and all(map(is_valid, values))


PER_CLASS = ("label_thresholds", "pixel_thresholds", "smallest_components", "minimum_areas")
VALUES = {  # entry of thresholds.json: what it is, and whether a value is one
    "strategy": (f"one of {', '.join(STRATEGIES)}", lambda value: _is_text(value) and value in STRATEGIES),
    "binary_threshold": ("a number from 0 to 1", _is_share),
    **dict.fromkeys(PER_CLASS[:2], ("a list of numbers from 0 to 1", _list_of(_is_share))),
    **dict.fromkeys(PER_CLASS[2:], ("a list of whole numbers from 0", _list_of(_is_count))),
    **dict.fromkeys(("tta", "classifier_tta", "class_names"), ("a list of names", _list_of(_is_text))),
    **dict.fromkeys(("engine", "score"), ("a name", _is_text)),
    "shape": ("a list of whole numbers from 0", _list_of(_is_count)),
    "models": (
        "names with hashes",
        lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    ),
}


def full_size(probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A probability map (h, w) enlarged to (H, W), bilinear: before any threshold, edges fall between
    pixels."""
    return cv2.resize(
        np.ascontiguousarray(probability, np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR
    )


def reaches(probability, threshold) -> np.ndarray:
    """Where a probability is at least a threshold: the one comparison of all filters, when they are evaluated
    and when they predict.

    Both are compared as float32, of which networks' answers are: 0.7 as float64 is more than 0.7 as float32.
    """
    return np.asarray(probability, np.float32) >= np.asarray(threshold, np.float32)


def drop_small(mask: np.ndarray, smallest_component: int) -> np.ndarray:
    """A mask (H, W) bool without its pieces (8 neighbours) of fewer than `smallest_component` pixels.

    Sizes are summed over the runs of the rows, and what is left is drawn from them: several times as fast as
    OpenCV's statistics.
    """
    if smallest_component <= 1:
        return mask
    # a column of 0s keeps the rows' runs apart
    padded = np.zeros((mask.shape[0], mask.shape[1] + 1), np.uint8)
    padded[:, 1:] = mask
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[-1]:
        edges = np.append(edges, flat.size)
    starts, ends = edges[::2], edges[1::2]
    if (ends - starts).sum() < smallest_component:
        return np.zeros_like(mask)
    n_components, labels = cv2.connectedComponents(padded, connectivity=8)
    component = labels.ravel()[starts]
    large_enough = (
        np.bincount(component, weights=ends - starts, minlength=n_components) >= smallest_component
    )[component]
    if large_enough.all():
        return mask
    edges = np.concatenate(
        [[0], np.column_stack([starts[large_enough], ends[large_enough]]).ravel(), [flat.size]]
    )
    return np.repeat(np.arange(len(edges) - 1) % 2 == 1, np.diff(edges)).reshape(padded.shape)[:, 1:]


def predict_mask(
    probability: np.ndarray, shape: tuple[int, int], thresholds: PostprocessConfig, class_index: int
) -> np.ndarray:
    """The mask (H, W) bool of one class from its probability map (h, w) under these thresholds; all False
    where it is too small."""
    mask = reaches(full_size(probability, shape), thresholds.pixel_thresholds[class_index])
    minimum_area = thresholds.minimum_areas[class_index]
    if np.count_nonzero(mask) >= minimum_area:  # without its small pieces it can only be smaller
        mask = drop_small(mask, thresholds.smallest_components[class_index])
        if np.count_nonzero(mask) >= minimum_area:
            return mask
    return np.zeros_like(mask)


def count_pixels(
    probability: np.ndarray, truth: np.ndarray | None, pixel_thresholds: tuple, smallest_components: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the mask and of its intersection with the truth, without smaller pieces: two int64 (T, S).

    Arguments:
        probability: (H, W) float32; truth: (H, W) bool, or None where the image has no such defect.
    """
    area = np.zeros((len(pixel_thresholds), len(smallest_components)), np.int64)
    intersection = np.zeros_like(area)
    inside = reaches(probability, min(pixel_thresholds))
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return area, intersection
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    probability = probability[box]
    truth = None if truth is None else truth[box]
    for index, threshold in enumerate(pixel_thresholds):
        mask = reaches(probability, threshold).astype(np.uint8)
        n_components, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        sizes = statistics[1:, cv2.CC_STAT_AREA].astype(np.int64)
        common = (
            np.zeros_like(sizes) if truth is None else np.bincount(labels[truth], minlength=n_components)[1:]
        )
        large_enough = sizes[None] >= np.array(smallest_components)[:, None]
        area[index] = (large_enough * sizes).sum(axis=1)
        intersection[index] = (large_enough * common).sum(axis=1)
    return area, intersection


def pack(probability: np.ndarray) -> bytes:
    """A probability map (h, w) as the bytes of a PNG of 256 levels."""
    return cv2.imencode(".png", np.rint(255 * np.asarray(probability)).astype(np.uint8))[1].tobytes()


def unpack(data: bytes) -> np.ndarray:
    """What `pack` made, as float32 (h, w)."""
    levels = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE))
    return levels / np.float32(255)
