"""Long strips in windows along them: where the windows lie, what a network sees of each, and how their maps
become one mask from left to right, of which only the columns at hand are held."""

import itertools
from dataclasses import dataclass, field

import cv2
import numpy as np

from lib.data.images import read_image, resize_image
from lib.inference import pieces, postprocess
from lib.inference.postprocess import PostprocessConfig

REACH = 0.25  # of a window's width, to either side of a joint, where the window across it has a say
LONGEST_MAP = 8192  # pixels of a strip of which a map is kept: memory does not grow with its length


@dataclass(frozen=True)
class Window:
    """A stretch of a strip, as long as a training strip: columns from `left`.

    A core says what is in the columns from `begin` to its end; a bridge lies across the joint of two cores
    and blends its answer into theirs from `begin` to `end`. Windows stand in the order in which they are
    asked: a core, the core after it, the bridge between them. `settled`: the columns before it do not change
    after this window.
    """

    left: int
    begin: int
    end: int
    settled: int
    is_bridge: bool = False


def plan(length: int, width: int) -> list[Window]:
    """The windows of a strip.

    Arguments:
        length: pixels of the strip; width: of a window.

    Cores lie side by side; the last one is moved back to the end, and its joint with the one before is the
    middle of what both see. A strip that is no longer than a window is one core.
    """
    cores = [*range(0, max(length - width, 0), width), max(length - width, 0)]
    reach = round(REACH * width)
    spans = [(cores[0], 0, min(width, length), False)]
    for before, left in itertools.pairwise(cores):
        joint = (before + width + left) // 2
        spans.append((left, joint, left + width, False))
        spans.append((joint - width // 2, joint - reach, joint + reach, True))
    begins = [begin for _, begin, _, _ in spans[1:]] + [length]
    return [
        Window(left, begin, end, min(begins[index:]), is_bridge)
        for index, (left, begin, end, is_bridge) in enumerate(spans)
    ]


def bridge_weights(width: int) -> np.ndarray:
    """How much a bridge's answer counts in the columns from its `begin` to its `end`, float32: 1 within half
    of the reach of the joint, from there in a line to 0."""
    reach = round(REACH * width)
    distance = np.abs(np.arange(2 * reach) + 0.5 - reach)
    return np.clip(2 - 2 * distance / max(reach, 1), 0, 1).astype(np.float32)


@dataclass
class Strip:
    """An image on its way through the cascade.

    image: (H, W) uint8, as given; scaled: (h, w) uint8, at the height of the training strips; path: its file,
    where that has their size, else "": it is then decoded as `cascade.predict` does; windows: as from `plan`;
    joints: one Joiner a class.
    """

    image: np.ndarray
    scaled: np.ndarray
    path: str
    windows: list[Window]
    joiners: list["Joiner"] = field(default_factory=list)

    def view(self, left: int, width: int, size: tuple[int, int]) -> np.ndarray:
        """The window from column `left`, so many pixels wide, as a network of this input size (h, w) sees it,
        uint8 (h, w). What is short of the width is the strip mirrored at its end."""
        if self.path and size != self.scaled.shape:
            return read_image(self.path, size)
        part = self.scaled[:, left : left + width]
        missing = width - part.shape[1]
        if missing:
            part = cv2.copyMakeBorder(part, 0, 0, 0, missing, cv2.BORDER_REFLECT_101)
        return resize_image(part, size)


class Joiner:
    """One class's mask of one strip, from the maps of its windows.

    Arguments:
        windows: as from `plan`; shape: (H, W) pixels of a window; thresholds, class_index: what a map becomes
            a mask with; maps_from: see `Inspector`.
    """

    def __init__(
        self,
        windows: list[Window],
        shape: tuple[int, int],
        thresholds: PostprocessConfig,
        class_index: int,
        maps_from: float = 0.0,
    ):
        self.windows, self.shape = windows, shape
        self.maps_from = maps_from if windows[-1].settled <= LONGEST_MAP else 0.0
        self.threshold = thresholds.pixel_thresholds[class_index]
        self.smallest_component = thresholds.smallest_components[class_index]
        self.minimum_area = thresholds.minimum_areas[class_index]
        self.next = 0  # window
        self.buffer: np.ndarray | None = None  # float32, columns from `begin` that are not settled
        self.begin = 0
        self.painted = 0  # from this column on the buffer is 0
        self.runs: list[np.ndarray] = []
        self.packed: list[tuple[int, bytes]] = []  # first column and map of what is settled, if it is kept

    def add(self, index: int, probability: np.ndarray) -> None:
        """Take the map (h, w) float32 of the window at an index. Windows come in order; those that are passed
        over were let through by no filter: a core says that nothing is there, a bridge has no say."""
        while self.next < index:
            self._take(None)
        self._take(postprocess.full_size(probability, self.shape))

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """The runs of what stays of the mask, and their pieces, as from `pieces.drop_small`: all windows were
        asked."""
        while self.next < len(self.windows):
            self._take(None)
        runs = np.concatenate([*self.runs, np.zeros(0, pieces.RUN)])
        cores = [
            (window.left, window.left + self.shape[1]) for window in self.windows if not window.is_bridge
        ]
        return pieces.drop_small(runs, self.smallest_component, self.minimum_area, cores)

    def packed_map(self) -> bytes:
        """The joined map (H, length), as from `postprocess.pack`, 0 below `maps_from`; b"" where no window was
        asked or nothing reaches that, and of what is longer than LONGEST_MAP. After `finish`."""
        if not self.packed:
            return b""
        if len(self.windows) == 1:
            return self.packed[0][1]
        levels = np.zeros((self.shape[0], self.windows[-1].settled), np.uint8)
        for left, block in self.packed:
            part = np.asarray(cv2.imdecode(np.frombuffer(block, np.uint8), cv2.IMREAD_GRAYSCALE))
            levels[:, left : left + part.shape[1]] = part
        return cv2.imencode(".png", levels)[1].tobytes()

    def _take(self, probability: np.ndarray | None) -> None:
        window = self.windows[self.next]
        self.next += 1
        here = slice(window.begin - self.begin, window.end - self.begin)
        seen = slice(window.begin - window.left, window.end - window.left)
        if probability is not None:
            if self.buffer is None:
                room = round((1 + REACH) * self.shape[1]) + 1
                self.buffer = np.zeros((self.shape[0], room), np.float32)
            if window.is_bridge:
                weights = bridge_weights(self.shape[1])
                self.buffer[:, here] *= 1 - weights
                self.buffer[:, here] += weights * probability[:, seen]
            else:
                self.buffer[:, here] = probability[:, seen]
            self.painted = max(self.painted, window.end)
        elif not window.is_bridge and self.painted > window.begin:
            assert self.buffer is not None, "it was painted"
            self.buffer[:, here] = 0
            self.painted = window.begin
        self._settle(window.settled)

    def _settle(self, column: int) -> None:
        """Make runs of the columns up to this one, and forget their probabilities."""
        if self.painted > self.begin:
            assert self.buffer is not None, "it was painted"
            count = column - self.begin
            self.runs.append(pieces.runs_of(self.buffer[:, :count], self.threshold, self.begin))
            if self.maps_from:
                settled = self.buffer[:, :count]
                inside = postprocess.reaches(settled, self.maps_from)
                if inside.any():
                    self.packed.append((self.begin, postprocess.pack(settled * inside)))
            waiting = self.buffer[:, count:].copy()
            self.buffer[:, : waiting.shape[1]] = waiting
            self.buffer[:, waiting.shape[1] :] = 0
        self.begin = column
