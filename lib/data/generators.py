"""Batches for training and prediction: grey uint8 in, nothing dropped, the same for the same seed and
epoch."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lib.data import pasting
from lib.data.augmentation import augment, paint_over
from lib.data.images import file_stamps, read_image
from lib.data.targets import crop_start, mask_at, sampling_weights
from lib.errors import UserError

CACHE_BYTES = (
    1536 << 20
)  # of decoded strips that one generator keeps: the competition's training set at half size
PREFETCHED = 3  # batches whose strips are decoded or being decoded, the present one included


def require_some(paths: Sequence[str | Path]) -> list[str | Path]:
    """The paths as a list; UserError if there is none, which Keras would find out in words of its own."""
    if not len(paths):
        raise UserError(
            "A part of the split has no strip for this network to learn from or to be validated by. See what is "
            "missing with python run_all.py --check --data FOLDER."
        )
    return list(paths)


def stream(*numbers: int) -> np.random.Generator:
    """The generator of one purpose: other numbers, another one. numpy alone takes [7, 1] and [7, 1, 0] for
    the same."""
    return np.random.default_rng([*numbers, 1])


class Batches(keras.utils.PyDataset):
    """What all batches share: order and chance follow from seed and epoch alone, and the last batch may be
    smaller.

    Needs `paths` and `size` (h, w). A strip is decoded once and kept as uint8, as long as there is room in
    CACHE_BYTES. `workers` threads decode ahead. Keras' own pool of workers is not used: it waits a tenth of a
    second after every epoch.
    """

    paths: list[str | Path]
    size: tuple[int, int]

    def __init__(self, count: int, batch_size: int, seed: int, shuffle: bool, workers: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.pool: Any = ThreadPoolExecutor(workers) if workers > 1 else None
        self.cached: dict = {}  # images by index
        self.pending: dict = {}  # their futures
        self.epoch = -1
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Set the order of epoch number `epoch` (from 0), so that a resumed training sees what an uncut one
        would."""
        if epoch != self.epoch:
            self.epoch = epoch
            # What is not shuffled validates the epochs: it must be the same in all of them, and after a
            # resume.
            self.order = self.draw_order(stream(self.seed, epoch if self.shuffle else 0))

    def draw_order(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of one epoch's images, in order, int."""
        return rng.permutation(self.count) if self.shuffle else np.arange(self.count)

    def hash_inputs(self) -> list:
        """All that the batches follow from but the pixels themselves: options, labels, and the files' names,
        sizes and times."""
        left_out = ("epoch", "order", "cached", "pending", "pool", "packed_masks", "paths")
        options = {
            name: value
            for name, value in vars(self).items()
            if name not in left_out and not name.startswith("_")
        }
        return [file_stamps(self.paths), options]

    def image(self, index: int) -> np.ndarray:
        """Strip number `index` at the network's size, (h, w) uint8; not to be changed in place."""
        image = self.cached.get(index)
        if image is None:
            pending = self.pending.pop(index, None)
            image = pending.result() if pending else read_image(self.paths[index], self.size)
            if (len(self.cached) + 1) * image.nbytes <= CACHE_BYTES:
                self.cached[index] = image
        return image

    def prefetch(self, indices: np.ndarray) -> None:
        """Let the threads begin to decode these strips, but for those that are there. OpenCV works outside
        Python's lock."""
        for index in indices:
            if index not in self.cached and index not in self.pending:
                self.pending[index] = self.pool.submit(read_image, self.paths[index], self.size)

    def item(self, entry: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """One entry of the order: the arrays of which a batch is made, each without the batch's axis."""
        raise NotImplementedError

    def on_epoch_end(self) -> None:
        self.start_epoch(self.epoch + 1)

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.batch_size)

    def __getitem__(self, index):
        start = index * self.batch_size
        entries = self.order[start : start + self.batch_size]
        if self.pool and len(self.cached) < self.count:
            self.prefetch(self.order[start : start + PREFETCHED * self.batch_size])
        rng = stream(self.seed, self.epoch, index)
        return tuple(
            np.stack(arrays) for arrays in zip(*[self.item(entry, rng) for entry in entries], strict=True)
        )


class ClassificationBatches(Batches):
    """Batches of (images (B, h, w, 1) uint8, labels (B, C) float32).

    Arguments:
        paths: image files.
        labels: (N, C) 0/1.
        height, width: pixels of the network's input.
        grid_targets: (N, gh, gw, C) 0/1, each from `targets.grid_targets`; then the labels are
            {"probability": labels,
            "grid": (B, gh, gw, C)}.
        crop_width: train on crops about this wide, pixels of the input (0: whole strips); needs grid_targets,
            which then make the label.
        augmentation: keyword arguments of `augment`, or None.
        balanced_sampling: draw positives and negatives of the first label alike often (with C > 1: rare
            classes more).
        crops: how often each strip is drawn in an epoch.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        labels: np.ndarray,
        height: int,
        width: int,
        grid_targets: np.ndarray | None = None,
        crop_width: int = 0,
        batch_size: int = 16,
        augmentation: dict | None = None,
        seed: int = 0,
        shuffle: bool = False,
        balanced_sampling: bool = False,
        workers: int = 1,
        crops: int = 1,
    ) -> None:
        self.paths, self.labels = require_some(paths), np.asarray(labels, np.float32)
        self.size, self.augmentation, self.balanced_sampling = (
            (height, width),
            augmentation,
            balanced_sampling,
        )
        self.grid_targets, self.crops = grid_targets, crops
        self.crop_width = crop_width if grid_targets is not None and crop_width < width else 0
        super().__init__(len(self.paths), batch_size, seed, shuffle, workers)

    def draw_order(self, rng):
        if not self.balanced_sampling:
            return np.concatenate(
                [super(ClassificationBatches, self).draw_order(rng) for _ in range(self.crops)]
            )
        return rng.choice(self.count, self.crops * self.count, p=sampling_weights(self.labels))

    def item(self, index, rng):
        image = self.image(index)
        if self.grid_targets is None:
            image = augment(rng, image, **self.augmentation) if self.augmentation else image
            return image[..., None], self.labels[index]
        grid, label = self.grid_targets[index], self.labels[index]
        if self.crop_width:
            stride = self.size[1] // grid.shape[1]
            start = crop_start(rng, grid.max(axis=2), self.crop_width // stride)
            grid = grid[:, start : start + self.crop_width // stride]
            image = image[:, start * stride : (start + grid.shape[1]) * stride]
            label = grid.any(axis=(0, 1)).astype(np.float32)
        if self.augmentation:
            image, grid = augment(rng, image, grid, **self.augmentation)
        return image[..., None], label, grid.astype(np.float32)

    def __getitem__(self, index):
        images, labels, *grid = super().__getitem__(index)
        return (images, {"probability": labels, "grid": grid[0]}) if grid else (images, labels)


class SegmentationBatches(Batches):
    """Batches of (images (B, h, w, 1) uint8, masks (B, h, w, 1) uint8 0/1) of one class.

    Arguments:
        paths: image files; rles: (N,) run-length strings, "" without defect; shape: (H, W) of the images.
        height, width: pixels of the network's input; crop_width: train on crops this wide (0, or as wide as
            the strips: whole ones); a crop of a defective strip holds some of the defect.
        negative_ratio: strips without this defect in an epoch, for each one with it (0..); None, or no strip
            has it: every strip once.
        augmentation: keyword arguments of `augment`, or None; also "blackout": share of the defective crops
            whose defect is painted over, so that the answer is "nothing", and "paste": share of the crops without
            any that get one or two pieces from other strips, rare classes more often (0..1).
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        rles: Sequence[str] | np.ndarray,
        shape: tuple[int, int],
        height: int,
        width: int,
        crop_width: int = 0,
        batch_size: int = 8,
        negative_ratio: float | None = None,
        augmentation: dict | None = None,
        seed: int = 0,
        shuffle: bool = False,
        workers: int = 1,
    ) -> None:
        self.paths, self.shape, self.size = require_some(paths), shape, (height, width)
        self.rles = np.asarray(rles, dtype=object).reshape(len(self.paths), -1)
        self.crop_width, self.negative_ratio = crop_width if crop_width < width else 0, negative_ratio
        self.augmentation = dict(augmentation or {})
        self.blackout, self.paste = (self.augmentation.pop(name, 0.0) for name in ("blackout", "paste"))
        self.positive = self.rles != ""
        self.packed_masks: dict = {}  # of defective strips, a bit a pixel: a hundredth of a millisecond, not a quarter
        super().__init__(len(self.paths), batch_size, seed, shuffle, workers)

    @property
    def empty_share(self) -> float:
        """Share of an epoch's strips without any defect, 0..1: the Dice of drawing nothing."""
        return float(np.mean(~self.positive[self.strips_and_classes(self.order)[0]].any(axis=1)))

    def draw_order(self, rng):
        positive = self.positive[:, 0]
        if (
            self.negative_ratio is None or not positive.any()
        ):  # without a single defect all there is to learn is "nothing"
            return super().draw_order(rng)
        with_defect, without = np.flatnonzero(positive), np.flatnonzero(~positive)
        count = min(len(without), round(self.negative_ratio * len(with_defect)))
        return rng.permutation(np.concatenate([with_defect, rng.choice(without, count, replace=False)]))

    def strips_and_classes(self, entries):
        """What entries of the order stand for: the strips' indices, and the class (1..) that each crop lies
        about, 0 for none."""
        return entries, np.ones_like(entries)

    def prefetch(self, indices):
        super().prefetch(self.strips_and_classes(indices)[0])

    def masks(self, index: int) -> np.ndarray:
        """The masks of strip number `index` at the network's size, (h, w, C) uint8 0/1."""
        shape = (*self.size, self.rles.shape[1])
        if not self.positive[index].any():
            return np.zeros(shape, np.uint8)
        packed = self.packed_masks.get(index)
        if packed is None:
            planes = [mask_at(text, self.shape, *self.size) for text in self.rles[index]]
            packed = self.packed_masks[index] = np.packbits(np.stack(planes, axis=-1))
        return np.unpackbits(packed, count=math.prod(shape)).reshape(shape)

    def item(self, entry, rng):
        index, defect_class = self.strips_and_classes(entry)
        image, masks = self.image(index), self.masks(index)
        if self.crop_width:
            # About no class: anywhere, which may be on a defect as well.
            wanted = masks[..., defect_class - 1] if defect_class else np.zeros(self.size, np.uint8)
            start = crop_start(rng, wanted, self.crop_width)
            image, masks = (array[:, start : start + self.crop_width] for array in (image, masks))
        if self.blackout and masks.any() and rng.random() < self.blackout:
            painted = paint_over(rng, image, masks.max(axis=-1))
            image, masks = (image, masks) if painted is None else (painted, np.zeros_like(masks))
        elif self.paste and not masks.any() and rng.random() < self.paste:
            image, masks = pasting.with_pieces(rng, image, masks, self.positive, self.image, self.masks)
        if self.augmentation:
            image, masks = augment(rng, image, masks, **self.augmentation)
        return image[..., None], masks


class PredictionBatches(Batches):
    """Batches of images (B, h, w, 1) uint8 in the order of `paths`, each once, for `model.predict`."""

    def __init__(
        self, paths: Sequence[str | Path], height: int, width: int, batch_size: int = 16, workers: int = 1
    ) -> None:
        self.paths, self.size = list(paths), (height, width)
        super().__init__(len(self.paths), batch_size, 0, False, workers)

    def item(self, index, rng):
        return (self.image(index)[..., None],)
