"""Batches for training and prediction: grey uint8 in, nothing dropped, the same for the same seed and epoch."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from lib.data import rle
from lib.data.augmentation import augment, paint_over
from lib.data.images import file_stamps, read_image, resize_image, resize_mask
from lib.errors import UserError


def mask_at(text, shape, height, width):
    """The mask of a run-length string for an image of `shape`, at another size: `resize_mask` of the decoded one."""
    if tuple(shape) == (2 * height, 2 * width):
        return rle.decode_half(text, shape)
    return resize_mask(rle.decode(text, shape), height, width)


MEMORY = 1536 << 20  # bytes of decoded strips that one generator keeps: the competition's training set at half size
AHEAD = 3  # batches whose strips are decoded or being decoded, the present one included


def some(paths):
    """The paths as a list; UserError if there is none, which Keras would find out in words of its own."""
    if not len(paths):
        raise UserError("A part of the split has no strip for this network to learn from or to be validated by. See what is missing with "
                        "python run_all.py --check --data FOLDER.")  # fmt: skip
    return list(paths)


def stream(*numbers):
    """The source of chance of one purpose: other numbers, another source. numpy alone takes [7, 1] and [7, 1, 0] for the same."""
    return np.random.default_rng([*numbers, 1])


class Batches(keras.utils.PyDataset):
    """What all batches share: order and chance follow from seed and epoch alone, and the last batch may be smaller.

    Needs `paths` and `size` (h, w). A strip is decoded once and kept as uint8, as long as there is room in MEMORY. `workers`
    threads decode ahead, and Keras prepares the next batches while the network computes. Keras' own pool of workers is not used: it
    waits a tenth of a second at the end of every epoch.
    """

    def __init__(self, count, batch_size, seed, shuffle, workers):
        super().__init__(workers=1, use_multiprocessing=False)
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self.kept, self.coming, self.blocks = {}, {}, Blocks()
        self.epoch = -1
        self.start_epoch(0)

    def start_epoch(self, epoch):
        """Set the order of epoch number `epoch` (from 0), so that a resumed training sees what an uncut one would."""
        if epoch != self.epoch:
            self.epoch = epoch
            # What is not shuffled judges the epochs: it must be the same in all of them, and after a resume.
            self.order = self.choose(stream(self.seed, epoch if self.shuffle else 0))

    def choose(self, random):
        """Indices of one epoch's images, in order."""
        return random.permutation(self.count) if self.shuffle else np.arange(self.count)

    def made_from(self):
        """All that the batches follow from but the pixels themselves: options, labels, and the files' names, sizes and times."""
        passing = ("epoch", "order", "kept", "coming", "blocks", "pool", "masks", "paths")
        told = {name: value for name, value in vars(self).items() if name not in passing and not name.startswith("_")}
        return [file_stamps(self.paths), told]

    def image(self, index):
        """Strip number `index` at the network's size, (h, w) uint8; not to be changed in place."""
        image = self.kept.get(index)
        if image is None:
            coming = self.coming.pop(index, None)
            image = coming.result() if coming else read_image(self.paths[index], self.size)
            if (len(self.kept) + 1) * image.nbytes <= MEMORY:
                self.kept[index] = image
        return image

    def ask(self, indices):
        """Let the threads begin to decode these strips, but for those that are there. OpenCV works outside Python's lock."""
        for index in indices:
            if index not in self.kept and index not in self.coming:
                self.coming[index] = self.pool.submit(read_image, self.paths[index], self.size)

    def on_epoch_end(self):
        self.start_epoch(self.epoch + 1)

    def __len__(self):
        return math.ceil(len(self.order) / self.batch_size)

    def __getitem__(self, index):
        start = index * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        if self.pool and len(self.kept) < self.count:
            self.ask(self.order[start : start + AHEAD * self.batch_size])
        random, parts = stream(self.seed, self.epoch, index), []
        for place, number in enumerate(chosen):
            item = self.item(number, random)
            parts = parts or [self.blocks.array((len(chosen), *part.shape), part.dtype) for part in item]
            for part, value in zip(parts, item, strict=True):
                part[place] = value
        return tuple(parts)


class ClassificationBatches(Batches):
    """Batches of (images (B, h, w, 1) uint8, labels (B, C) float32).

    Arguments:
        paths: image files.
        labels: (N, C) 0/1.
        height, width: pixels of the network's input.
        cells: (N, gh, gw, C) 0/1 from `defect_cells`; then the labels are {"probability": labels, "cells": (B, gh, gw, C)}.
        crop_width: teach on crops about this wide, pixels of the input (0: whole strips); needs cells, which then make the label.
        augmentation: keyword arguments of `augment`, or None.
        balance: draw positives and negatives of the first label alike often (with C > 1: rare classes more often).
        crops: how often each strip is drawn in an epoch.
    """

    def __init__(self, paths, labels, height, width, cells=None, crop_width=0, batch_size=16, augmentation=None, seed=0, shuffle=False,
                 balance=False, workers=1, crops=1):  # fmt: skip
        self.cells, self.crop_width, self.crops = cells, crop_width if cells is not None and crop_width < width else 0, crops
        self.paths, self.labels = some(paths), np.asarray(labels, np.float32)
        self.size, self.augmentation, self.balance = (height, width), augmentation, balance
        super().__init__(len(self.paths), batch_size, seed, shuffle, workers)

    def choose(self, random):
        if not self.balance:
            return np.concatenate([super(ClassificationBatches, self).choose(random) for _ in range(self.crops)])
        return random.choice(self.count, self.crops * self.count, p=sampling_weights(self.labels))

    def item(self, index, random):
        image = self.image(index)
        if self.cells is None:
            image = augment(random, image, **self.augmentation) if self.augmentation else image
            return image[..., None], self.labels[index]
        cells, label = self.cells[index], self.labels[index]
        if self.crop_width:
            stride = self.size[1] // cells.shape[1]
            start = crop_start(random, cells.max(axis=2), self.crop_width // stride)
            cells = cells[:, start : start + self.crop_width // stride]
            image = image[:, start * stride : (start + cells.shape[1]) * stride]
            label = cells.any(axis=(0, 1)).astype(np.float32)
        if self.augmentation:
            image, cells = augment(random, image, cells, **self.augmentation)
        return image[..., None], label, cells.astype(np.float32)

    def __getitem__(self, index):
        images, labels, *cells = super().__getitem__(index)
        return (images, {"probability": labels, "cells": cells[0]}) if cells else (images, labels)


def defect_cells(rles, shape, grid, least=0.1):
    """Where on a coarse grid the defects of one image lie: (gh, gw, C) uint8, 1 where at least the share `least` is covered.

    Arguments:
        rles: a run-length string a class; shape: (H, W) of the image; grid: (gh, gw) of a classifier's feature map.
    """
    cells = np.zeros((*grid, len(rles)), np.uint8)
    for class_index, text in enumerate(rles):
        if text:
            cover = resize_image(rle.decode(text, shape) * np.float32(1), grid)
            cells[..., class_index] = cover >= min(least, cover.max())
    return cells


def sampling_weights(labels):
    """Probabilities (N,) that draw every label combination in proportion to the square root of how often it occurs.

    A compromise between the natural frequencies, which hide rare classes, and equal ones, which repeat few images.
    """
    _, kind, count = np.unique(np.asarray(labels, np.uint8), axis=0, return_inverse=True, return_counts=True)
    weight = 1 / np.sqrt(count[kind.ravel()])
    return weight / weight.sum()


class SegmentationBatches(Batches):
    """Batches of (images (B, h, w, 1) uint8, masks (B, h, w, 1) uint8 0/1) of one class.

    Arguments:
        paths: image files; rles: one run-length string an image, "" without defect; shape: (H, W) of the images.
        height, width: pixels of the network's input; crop_width: train on crops this wide (0: whole strips); a crop of a
            defective strip holds some of the defect.
        negatives: strips without this defect in an epoch, for each one with it (0..); None, or no strip has it: every
            strip once.
        augmentation: keyword arguments of `augment`, or None; also "blackout": share of the defective crops whose defect is
            painted over, so that the answer is "nothing" (0..1).
    """

    def __init__(self, paths, rles, shape, height, width, crop_width=0, batch_size=8, negatives=None, augmentation=None,
                 seed=0, shuffle=False, workers=1):  # fmt: skip
        self.paths, self.rles, self.shape = some(paths), list(rles), shape
        self.size, self.crop_width = (height, width), crop_width if crop_width < width else 0
        self.negatives, self.augmentation = negatives, dict(augmentation or {})
        self.blackout = self.augmentation.pop("blackout", 0.0)
        self.positive = np.array([text != "" for text in self.rles], bool)
        self.masks = {}  # of defective strips, one bit a pixel: a hundredth of a millisecond instead of a quarter
        super().__init__(len(self.paths), batch_size, seed, shuffle, workers)

    @property
    def empty_share(self):
        """Share of an epoch's strips without the class, 0..1: the Dice of drawing nothing."""
        return float(np.mean(~self.positive[self.order]))

    def choose(self, random):
        if self.negatives is None or not self.positive.any():  # without a single defect all that can be taught is "nothing"
            return super().choose(random)
        positive, negative = np.flatnonzero(self.positive), np.flatnonzero(~self.positive)
        wanted = min(len(negative), round(self.negatives * len(positive)))
        return random.permutation(np.concatenate([positive, random.choice(negative, wanted, replace=False)]))

    def mask(self, index):
        """The mask of strip number `index` at the network's size, (h, w) uint8 0/1."""
        if not self.positive[index]:
            return np.zeros(self.size, np.uint8)
        bits = self.masks.get(index)
        if bits is None:
            bits = self.masks[index] = np.packbits(mask_at(self.rles[index], self.shape, *self.size))
        return np.unpackbits(bits, count=self.size[0] * self.size[1]).reshape(self.size)

    def item(self, index, random):
        image, mask = self.image(index), self.mask(index)
        if self.crop_width:
            start = crop_start(random, mask, self.crop_width)
            image, mask = (array[:, start : start + self.crop_width] for array in (image, mask))
        if self.blackout and mask.any() and random.random() < self.blackout:
            painted = paint_over(random, image, mask)
            image, mask = (image, mask) if painted is None else (painted, np.zeros_like(mask))
        if self.augmentation:
            image, mask = augment(random, image, mask, **self.augmentation)
        return image[..., None], mask[..., None]


class CropBatches(Batches):
    """Batches of (images (B, h, w, 1) uint8, masks (B, h, w, C) uint8 0/1) of all classes: crops that one network learns from.

    Arguments:
        paths: image files; rles: (N, C) run-length strings, "" without defect; shape: (H, W) of the images.
        height, width: pixels of the network's input; crop_width: of a crop (0, or as wide as the strips: whole ones).
        crops: of an epoch, for each strip, where they are shuffled; else each strip once. Six of ten lie about a defect, whose class is
            drawn by the square root of how many strips have it, three on strips without any defect, one anywhere.
        augmentation: as for `SegmentationBatches`; "blackout" paints all defects of a crop over.
    """

    def __init__(self, paths, rles, shape, height, width, crop_width=0, crops=1, batch_size=8, augmentation=None, seed=0, shuffle=False,
                 workers=1):  # fmt: skip
        self.paths, self.rles, self.shape = some(paths), np.asarray(rles, dtype=object), shape
        self.size, self.crop_width, self.crops = (height, width), crop_width if crop_width < width else 0, crops
        self.augmentation, self.positive, self.masks = dict(augmentation or {}), self.rles != "", {}
        self.blackout = self.augmentation.pop("blackout", 0.0)
        super().__init__(len(self.paths), batch_size, seed, shuffle, workers)

    def choose(self, random):
        """Numbers that hold a strip and what its crop is about: strip * (C + 1), + 1.. for a defect class."""
        classes = self.positive.shape[1]
        if not self.shuffle:
            return super().choose(random) * (classes + 1)
        counts, clean = self.positive.sum(axis=0), np.flatnonzero(~self.positive.any(axis=1))
        chosen = []
        for kind in random.random(self.crops * self.count):
            if kind < 0.6 and counts.any():
                k = random.choice(classes, p=np.sqrt(counts) / np.sqrt(counts).sum())
                chosen.append(random.choice(np.flatnonzero(self.positive[:, k])) * (classes + 1) + k + 1)
            elif kind < 0.9 and len(clean):
                chosen.append(random.choice(clean) * (classes + 1))
            else:
                chosen.append(random.integers(self.count) * (classes + 1))
        return np.array(chosen)

    def ask(self, indices):
        super().ask(indices // (self.positive.shape[1] + 1))

    def mask(self, index):
        """The masks of strip number `index` at the network's size, (h, w, C) uint8 0/1."""
        bits = self.masks.get(index)
        if bits is None:
            planes = [mask_at(text, self.shape, *self.size) if text else np.zeros(self.size, np.uint8) for text in self.rles[index]]
            bits = self.masks[index] = np.packbits(np.stack(planes, axis=-1))
        return np.unpackbits(bits, count=np.prod(self.size) * self.rles.shape[1]).reshape(*self.size, -1)

    def item(self, number, random):
        index, about = divmod(int(number), self.positive.shape[1] + 1)
        image, masks = self.image(index), self.mask(index)
        if self.crop_width:
            # Nothing to lie about: anywhere, which may be on a defect as well.
            wanted = masks[..., about - 1] if about else np.zeros(self.size, np.uint8)
            start = crop_start(random, wanted, self.crop_width)
            image, masks = image[:, start : start + self.crop_width], masks[:, start : start + self.crop_width]
        if self.blackout and masks.any() and random.random() < self.blackout:
            painted = paint_over(random, image, masks.max(axis=-1))
            image, masks = (image, masks) if painted is None else (painted, np.zeros_like(masks))
        if self.augmentation:
            image, masks = augment(random, image, masks, **self.augmentation)
        return image[..., None], masks


def crop_start(random, mask, crop_width):
    """Left column of a crop: about a random defect pixel's column where there is a defect, anywhere else."""
    last = mask.shape[1] - crop_width
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return int(random.integers(last + 1))
    return int(np.clip(random.choice(columns) - random.integers(crop_width), 0, last))


class PredictionBatches(Batches):
    """Batches of images (B, h, w, 1) uint8 in the order of `paths`, each once, for `model.predict`."""

    def __init__(self, paths, height, width, batch_size=16, workers=1):
        self.paths, self.size = list(paths), (height, width)
        super().__init__(len(self.paths), batch_size, 0, False, workers)

    def item(self, index, random):
        return (self.image(index)[..., None],)


MOST, ALIGNED = 16, 64  # blocks; bytes
FREE = 3  # references to a block that nobody else holds: the list's, the loop's and the call's
COUNTS_SO = sys.version_info < (3, 14)  # from there on a loop's reference is not counted


class Blocks:
    """Gives out arrays, in the memory of earlier ones of the same size that nobody holds any more.

    Whether somebody does is known from CPython's reference counts; in versions that count otherwise, every array is a new one.
    """

    def __init__(self):
        self.blocks = []

    def array(self, shape, dtype):
        """An array with anything in it, its first byte at a multiple of 64: TensorFlow takes such without a copy."""
        size = math.prod(shape) * dtype.itemsize
        for block in self.blocks:
            if COUNTS_SO and sys.getrefcount(block) == FREE and len(block) == size + ALIGNED:
                break
        else:
            block = np.empty(size + ALIGNED, np.uint8)
            if len(self.blocks) < MOST:
                self.blocks.append(block)
        start = -block.ctypes.data % ALIGNED
        return block[start : start + size].view(dtype).reshape(shape)
