"""The cascade at work: binary filter, multilabel filter, one segmenter a class, post-processing, run-lengths.

A network only sees what the filters before it let through; batches are filled anew for each network.
"""

import contextlib
from pathlib import Path

import numpy as np

from lib.data import rle
from lib.inference import postprocess, predictor
from lib.inference.predictor import Reader
from lib.inference.time_budget import OutOfTime
from lib.paths import network_names

FIRST = 32  # images after which a time budget is looked at for the first time


def open_networks(models_dir, classes, augmentations=("none",), batch_size=16, engine="float32"):
    """The networks of a run: {"binary": Network, "multilabel": Network, "seg_class1": ...}."""
    return {name: predictor.Network(Path(models_dir) / name, augmentations, batch_size, engine=engine) for name in network_names(classes)}


def predict(networks, paths, decision, shape, chunk=128, progress=None, budget=None, broken=None):
    """Masks of every image under a decision.

    Arguments:
        decision: as from `threshold_search.choose_thresholds`; shape: (H, W) pixels of the masks; chunk: images at a time.
        budget: a `time_budget.Budget`: after a first few images and after every chunk it chooses what is left out; where it is used
            up, what is there by then is returned.
        broken: a dict to which images that cannot be read, or have another shape, are noted as {path: why}; their rows are
            empty. None: the first one raises its UserError.

    Returns a nested list (N x C) of run-length strings, binary probabilities (N,) and label probabilities (N, C); NaN where
    a filter before it had already dropped the image. Every image has its row.
    """
    classes = len(decision["label_thresholds"])
    rles = [[""] * classes for _ in paths]
    binary, label = np.full(len(paths), np.nan, np.float32), np.full((len(paths), classes), np.nan, np.float32)
    if budget and len(paths):
        for network in networks.values():
            with contextlib.suppress(Exception):  # its first batch will say so
                network.warm_up()
    since, end = budget.elapsed() if budget else 0.0, 0
    while end < len(paths):
        start, end = end, min(end + (min(FIRST, chunk) if budget and not end else chunk), len(paths))
        try:
            with Reader(shape if broken is not None else None) as reader:
                predict_rows(networks, paths, np.arange(start, end), decision, shape, (rles, binary, label), budget, broken, reader)
        except OutOfTime:
            budget.stop(start, len(paths))
            break
        note = f"{end} of {len(paths)} strips"
        if budget:
            dropped = budget.plan(networks, end, len(paths), since)
            about = f" of about {budget.forecasts[-1][1]:.0f}" if end < len(paths) else ""
            note += f", {budget.elapsed():.0f}{about} s" + "".join(f", without {step}" for step in dropped)
        if progress:
            progress(note)
    return rles, binary, label


def predict_rows(networks, paths, rows, decision, shape, found, budget, broken, reader):
    """One chunk of `predict`: fills `found` (run-lengths, binary, label) at the indices `rows`."""
    (rles, binary, label), classes = found, len(decision["label_thresholds"])
    use_binary, use_label = postprocess.STRATEGIES[decision["strategy"]]
    soft = decision["strategy"] == postprocess.SOFT

    def results(name, wanted):  # (row, prediction) of the images that can be read
        answers = networks[name]([paths[row] for row in wanted], broken, budget, reader)
        return ((row, answer) for row, answer in zip(wanted, answers, strict=True) if answer is not None)

    if use_binary:
        for row, probability in results("binary", rows):
            binary[row] = probability[0]
        rows = rows[postprocess.reaches(binary[rows], decision["binary_threshold"])]
    if use_label or soft:
        for row, probabilities in results("multilabel", rows):
            label[row] = probabilities
    for k in range(classes):
        least = decision["pixel_thresholds" if soft else "label_thresholds"][k]
        wanted = rows[postprocess.reaches(label[rows, k], least)] if use_label or soft else rows
        if decision["minimum_areas"][k] > shape[0] * shape[1]:
            continue
        for row, probability in results(f"seg_class{k + 1}", wanted):
            weighted = probability * label[row, k] if soft else probability
            rles[row][k] = rle.encode(postprocess.decide(weighted, shape, decision, k))
