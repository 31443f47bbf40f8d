"""The look-up baseline: the score of who learns nothing, but turns the mask of the nearest training image back."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib.data import dataset, duplicates, likeness, rle
from lib.evaluation import metrics


def copied_masks(texts, nearest, turns, shape):
    """The masks of the nearest copies, turned as the images are: nested list (N x C) of run-length strings, empty without a copy.

    Arguments:
        texts: nested list (M x C), the masks of all images; nearest: (N,) rows of `texts`, -1 for none; turns: (N,) of
            `likeness.turned`; shape: (H, W) of every image.
    """
    classes = len(texts[0]) if len(texts) else 0
    found = []
    for row, turn in zip(nearest, turns, strict=True):
        copied = [""] * classes if row < 0 else list(texts[row])
        if turn:
            copied = [rle.encode(np.ascontiguousarray(likeness.turned(rle.decode(text, shape), turn))) if text else "" for text in copied]
        found.append(copied)
    return found


def baseline(files, group, judged, known, texts, shape, max_distance=duplicates.MAX_DISTANCE):
    """How many images that judge have a copy among those that teach, and what their masks turned back would score.

    Arguments:
        files: N images; group: (N,) from `duplicates.find_duplicates`; judged, known: (N,) bool, the images that judge, and those that
            teach; texts: nested list (N x C) of run-length strings, None in a row that has no truth; shape: (H, W) of every image.

    Returns images, copies (int), share (0..1), and score, all_empty (0..1, the competition's) and predicted (nested list), which are None
    where the truth of an image that judges is not known.
    """
    nearest, turns = duplicates.nearest_copies(files, group, judged, known, max_distance)
    rows = np.flatnonzero(judged)
    copies = int((nearest[rows] >= 0).sum())
    found = {"images": len(rows), "copies": copies, "share": copies / max(len(rows), 1), "score": None, "all_empty": None,
             "predicted": None}  # fmt: skip
    truth = [texts[row] for row in rows]
    if truth and all(row is not None for row in truth):
        predicted = copied_masks(texts, nearest[rows], turns[rows], shape)
        found |= {"score": metrics.competition_score(truth, predicted), "all_empty": metrics.all_empty_score(truth), "predicted": predicted}
    return found


def of_test_images(table, test, data_dir, group=None, max_distance=duplicates.MAX_DISTANCE):
    """`baseline` of the test images, all training images teaching, and their truth, None where it is not known.

    Arguments:
        table, test: from `dataset.load_table` and `dataset.load_test_table`; group: of both in this order, found if None.
    """
    about, files = dataset.describe(data_dir), [*table["path"], *test["path"]]
    with_truth = dataset.load_truth(data_dir, test)
    truth = [None] * len(test) if with_truth is None else with_truth[dataset.rle_columns(with_truth)].to_numpy().tolist()
    texts = table[dataset.rle_columns(table)].to_numpy().tolist() + truth
    group = duplicates.find_duplicates(files, max_distance) if group is None else group
    judged = np.repeat([False, True], [len(table), len(test)])
    found = baseline(files, group, judged, ~judged, texts, (about["height"], about["width"]), max_distance)
    return found, None if with_truth is None else truth


def of_held_out(table, run_dir, data_dir, group, max_distance=duplicates.MAX_DISTANCE):
    """`baseline` of the images that the run's split.csv holds out, those that teach known; None where there is no split of these images.

    Arguments:
        table: from `dataset.load_table`; group: (N,) of its images.
    """
    try:
        stored = pd.read_csv(Path(run_dir) / "split.csv", dtype={"image_id": str}, keep_default_na=False).set_index("image_id")["part"]
    except (OSError, ValueError, KeyError):
        return None
    part = stored.reindex(table["image_id"]).to_numpy() if stored.index.is_unique else np.array([])
    if not (part == "held_out").any():
        return None
    about, texts = dataset.describe(data_dir), table[dataset.rle_columns(table)].to_numpy().tolist()
    shape = about["height"], about["width"]
    return baseline(table["path"], group, part == "held_out", part == "train", texts, shape, max_distance)


def remark(found, kind):
    """What `baseline` found, in words. `kind`: of the images that judge, such as "test"."""
    if not found["copies"]:
        return f"None of {found['images']:,} {kind} images has a copy among those that teach, turned or not."
    text = f"{found['copies']:,} of {found['images']:,} {kind} images ({found['share']:.0%}) have a copy among those that teach, "
    text += "turned or not."
    if found["score"] is not None:
        text += f" Looking their masks up scores {found['score']:.4f} without learning, predicting nothing {found['all_empty']:.4f}."
    return f"Warning: {text} A score on them also tells what was remembered."
