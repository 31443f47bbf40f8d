"""The cascade at work: binary filter, multilabel filter, one segmenter a class, post-processing, run-lengths.

A network only sees what the filters before it let through; batches are filled anew for each network.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lib.data import rle
from lib.inference import postprocess, predictor
from lib.inference.postprocess import PostprocessConfig
from lib.inference.predictor import Reader
from lib.inference.time_budget import Budget, OutOfTime

FIRST = 32  # images after which a time budget is looked at for the first time


def open_networks(
    folders: dict[str, Path],
    tta: Sequence[str] = ("none",),
    classifier_tta: Sequence[str] = (),
    batch_size: int = 16,
    engine: str = "float32",
) -> dict[str, predictor.Network]:
    """The networks of a run: {"binary": Network, "multilabel": Network, "seg_class1": ...}.

    Arguments:
        folders: {name: folder}, as from `paths.network_folders`; tta, classifier_tta: see
            `PostprocessConfig`.
    """
    return {
        name: predictor.Network(
            folder, tta if name.startswith("seg_") else classifier_tta or tta, batch_size, engine=engine
        )
        for name, folder in folders.items()
    }


def predict(
    networks: dict,
    paths: Sequence[str],
    thresholds: PostprocessConfig,
    shape: tuple[int, int],
    chunk: int = 128,
    progress: Callable[[str], None] | None = None,
    budget: Budget | None = None,
    broken: dict | None = None,
) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
    """Masks of every image under these thresholds.

    Arguments:
        shape: (H, W) pixels of the masks; chunk: images at a time.
        budget: after a first few images and after every chunk it chooses what is left out; where it is used
            up, what is there by then is returned.
        broken: a dict to which images that cannot be read, or have another shape, are noted as {path: why};
            their rows are empty. None: the first one raises its UserError.

    Returns a nested list (N x C) of run-length strings, the probability of any defect (N,) and of each class
    (N, C), float32; NaN where a filter before it had already dropped the image. Every image has its row.
    """
    rles = [[""] * thresholds.classes for _ in paths]
    defect_probability = np.full(len(paths), np.nan, np.float32)
    class_probability = np.full((len(paths), thresholds.classes), np.nan, np.float32)
    if budget and len(paths):
        for network in networks.values():
            with contextlib.suppress(Exception):  # its first batch will say so
                network.warm_up()
    since, end = budget.elapsed() if budget else 0.0, 0
    while end < len(paths):
        start, end = end, min(end + (min(FIRST, chunk) if budget and not end else chunk), len(paths))
        try:
            with Reader(shape if broken is not None else None) as reader:
                results = rles, defect_probability, class_probability
                predict_rows(
                    networks, paths, np.arange(start, end), thresholds, shape, results, budget, broken, reader
                )
        except OutOfTime:
            assert budget, "nothing else raises it"
            budget.stop(start, len(paths))
            break
        note = f"{end} of {len(paths)} strips"
        if budget:
            dropped = budget.plan(networks, end, len(paths), since)
            about = f" of about {budget.forecasts[-1][1]:.0f}" if end < len(paths) else ""
            note += f", {budget.elapsed():.0f}{about} s" + "".join(f", without {step}" for step in dropped)
        if progress:
            progress(note)
    return rles, defect_probability, class_probability


def predict_rows(
    networks: dict,
    paths: Sequence[str],
    rows: np.ndarray,
    thresholds: PostprocessConfig,
    shape: tuple[int, int],
    results: tuple,
    budget: Budget | None,
    broken: dict | None,
    reader: Reader,
) -> None:
    """One chunk of `predict`: fills `results` (run-lengths, probabilities) at the indices `rows`."""
    rles, *probabilities = results
    maps = predict_maps(
        networks, paths, rows, thresholds, shape, tuple(probabilities), reader, budget, broken
    )
    for class_index, row, probability in maps:
        rles[row][class_index] = rle.encode(
            postprocess.predict_mask(probability, shape, thresholds, class_index)
        )


def predict_maps(
    networks: dict,
    paths: Sequence,
    rows: np.ndarray,
    thresholds: PostprocessConfig,
    shape: tuple[int, int],
    probabilities: tuple[np.ndarray, np.ndarray],
    reader: Reader,
    budget: Budget | None = None,
    broken: dict | None = None,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (class_index, row, map float32 (h, w)) of what the filters let through: class by class, and of a
    class in the order of `rows`.

    Arguments:
        paths: of images, or whatever else `reader` reads images by; probabilities: of any defect (N,) and of
            each class (N, C), float32, filled at the indices `rows` before the first map comes.
    """
    defect_probability, class_probability = probabilities
    use_binary, use_label = postprocess.STRATEGIES[thresholds.strategy]
    soft = thresholds.strategy == postprocess.SOFT

    # of the images that can be read
    def answers(name: str, asked: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        predictions = networks[name]([paths[row] for row in asked], broken, budget, reader)
        return ((row, answer) for row, answer in zip(asked, predictions, strict=True) if answer is not None)

    if use_binary:
        for row, probability in answers("binary", rows):
            defect_probability[row] = probability[0]
        rows = rows[postprocess.reaches(defect_probability[rows], thresholds.binary_threshold)]
    if use_label or soft:
        for row, probability in answers("multilabel", rows):
            class_probability[row] = probability
    class_thresholds = thresholds.pixel_thresholds if soft else thresholds.label_thresholds
    for class_index in range(thresholds.classes):
        asked = rows
        if use_label or soft:
            asked = rows[
                postprocess.reaches(class_probability[rows, class_index], class_thresholds[class_index])
            ]
        if thresholds.minimum_areas[class_index] > shape[0] * shape[1]:
            continue
        for row, probability in answers(f"seg_class{class_index + 1}", asked):
            yield (
                class_index,
                int(row),
                probability * class_probability[row, class_index] if soft else probability,
            )
