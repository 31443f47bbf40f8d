"""The cascade at work: binary filter, multilabel filter, one segmenter a class, post-processing, run-lengths.

A network only sees what the filters before it let through; batches are filled anew for each network.
"""

import time
from pathlib import Path

import numpy as np

from lib import decision as decisions
from lib import masks, models, rle
from lib.generators import flip
from lib.images import read_image
from lib.masks import full_size

__all__ = ["Network", "full_size", "gather_evidence", "open_networks", "predict"]


class Network:
    """A saved model with its test-time augmentation.

    Arguments:
        folder: models/NAME of a run.
        augmentations: names in generators.FLIPS; predictions are averaged over these, mirrored masks mirrored back first.
    """

    def __init__(self, folder, augmentations=("none",), batch_size=16):
        self.predict, self.card = models.predictor(folder)
        self.size = tuple(self.card["input"])
        self.augmentations, self.batch_size = tuple(augmentations), batch_size

    def __call__(self, paths):
        """Yield one prediction an image, in order: (classes,) float32 or a probability map (h, w) float32."""
        for start in range(0, len(paths), self.batch_size):
            images = np.stack([read_image(path, self.size) for path in paths[start : start + self.batch_size]])[..., None]
            total = 0
            for which in self.augmentations:
                turned = np.stack([flip(image, which) for image in images])
                result = self.predict(turned)
                if result.ndim == 4:
                    result = np.stack([flip(probability, which) for probability in result[..., 0]])
                total = total + result
            yield from total / len(self.augmentations)


def open_networks(models_dir, classes, augmentations=("none",), batch_size=16):
    """The networks of a run: {"binary": Network, "multilabel": Network, "seg_class1": ...}."""
    names = ["binary", "multilabel", *(f"seg_class{k + 1}" for k in range(classes))]
    return {name: Network(Path(models_dir) / name, augmentations, batch_size) for name in names}


def gather_evidence(networks, table, rles, shape, progress=None, maps=None, seconds=None):
    """Run every network on every image and keep what `decision` needs.

    Arguments:
        networks: as from `open_networks`.
        table: the images (columns path, group); rles: nested list N x C of true run-lengths; shape: (H, W) pixels.
        progress: called with a line of text now and then.
        maps: a list, to get a list of C probability maps (see `masks.pack`) for each image.
        seconds: a dict, to get the seconds an image of every network, reading included.
    """
    paths, classes, seconds = list(table["path"]), len(rles[0]), {} if seconds is None else seconds
    thresholds, smallest = decisions.PIXEL_THRESHOLDS, decisions.SMALLEST_COMPONENTS

    def answers(name):
        list(networks[name](paths[:1]))  # what a network does only once belongs to no image's time
        seconds[name], results = 0.0, iter(networks[name](paths))
        for _ in paths:
            began = time.perf_counter()
            result = next(results)
            seconds[name] += (time.perf_counter() - began) / len(paths)
            yield result

    binary = np.array(list(answers("binary")), np.float32).reshape(-1)
    label = np.array(list(answers("multilabel")), np.float32).reshape(-1, classes)
    area = np.zeros((len(paths), classes, len(thresholds), len(smallest)), np.int64)
    intersection, true_area = np.zeros_like(area), np.zeros((len(paths), classes), np.int64)
    packed = [[] for _ in paths]
    for k in range(classes):
        if progress:
            progress(f"class {k + 1}: {len(paths)} strips")
        for row, probability in enumerate(answers(f"seg_class{k + 1}")):
            truth = rle.decode(rles[row][k], shape).astype(bool) if rles[row][k] else None
            true_area[row, k] = 0 if truth is None else truth.sum()
            area[row, k], intersection[row, k] = masks.counts(masks.full_size(probability, shape), truth, thresholds, smallest)
            if maps is not None:
                packed[row].append(masks.pack(probability))
    if maps is not None:
        maps.extend(packed)
    group = table["group"].to_numpy() if "group" in table else np.arange(len(paths))
    return decisions.Evidence(binary, label, true_area, area, intersection, group, thresholds)


def predict(networks, paths, decision, shape, chunk=256, progress=None):
    """Masks of every image under a decision.

    Arguments:
        decision: as from `decision.choose`; shape: (H, W) pixels of the masks; chunk: images at a time.

    Returns a nested list (N x C) of run-length strings, binary probabilities (N,) and label probabilities (N, C); NaN where
    a filter before it had already dropped the image. Every image has its row.
    """
    classes = len(decision["label_thresholds"])
    use_binary, use_label = decisions.STRATEGIES[decision["strategy"]]
    rles = [[""] * classes for _ in paths]
    binary, label = np.full(len(paths), np.nan, np.float32), np.full((len(paths), classes), np.nan, np.float32)
    for start in range(0, len(paths), chunk):
        rows = np.arange(start, min(start + chunk, len(paths)))
        if use_binary:
            binary[rows] = np.array(list(networks["binary"]([paths[row] for row in rows]))).reshape(-1)
            rows = rows[binary[rows] >= decision["binary_threshold"]]
        if use_label and len(rows):
            label[rows] = np.array(list(networks["multilabel"]([paths[row] for row in rows]))).reshape(-1, classes)
        for k in range(classes):
            wanted = rows[label[rows, k] >= decision["label_thresholds"][k]] if use_label else rows
            if decision["minimum_areas"][k] > shape[0] * shape[1]:
                continue
            probabilities = networks[f"seg_class{k + 1}"]([paths[row] for row in wanted])
            for row, probability in zip(wanted, probabilities, strict=True):
                rles[row][k] = rle.encode(masks.decide(probability, shape, decision, k))
        if progress:
            progress(f"{min(start + chunk, len(paths))} of {len(paths)} strips")
    return rles, binary, label
