"""The look-up baseline: what turning the nearest training image's mask back scores, without learning."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data import dataset, duplicates, likeness, rle
from lib.evaluation import metrics


def copied_masks(
    texts: Sequence[list[str]], nearest: np.ndarray, turns: np.ndarray, shape: tuple[int, int]
) -> list[list[str]]:
    """The masks of the nearest copies, turned as the images are: nested list (N x C) of run-length strings,
    empty without a copy.

    Arguments:
        texts: nested list (M x C), the masks of all images; nearest: (N,) rows of `texts`, -1 for none;
            turns: (N,) of `likeness.turned`; shape: (H, W) of every image.
    """

    def turned(text: str, turn: int) -> str:
        return (
            rle.encode(np.ascontiguousarray(likeness.turned(rle.decode(text, shape), turn)))
            if text and turn
            else text
        )

    nothing = [""] * (len(texts[0]) if len(texts) else 0)
    pairs = zip(nearest, turns, strict=True)
    return [list(nothing) if row < 0 else [turned(text, turn) for text in texts[row]] for row, turn in pairs]


def baseline(
    files: Sequence[str],
    group: np.ndarray,
    is_evaluated: np.ndarray,
    is_training: np.ndarray,
    texts: list,
    shape: tuple[int, int],
    max_distance: float = duplicates.MAX_DISTANCE,
) -> dict:
    """How many images of an evaluation have a copy among the training images, and what their masks turned
    back would score.

    Arguments:
        files: N images; group: (N,) from `duplicates.find_duplicates`; is_evaluated, is_training: (N,) bool;
            texts: nested list (N x C) of run-length strings, None in a row that has no truth; shape: (H, W)
            of every image.

    Returns images, copies (int), share (0..1), and score, all_empty (0..1, the competition's) and predicted
    (nested list), which are None where the truth of an image that is evaluated is not known.
    """
    nearest, turns = duplicates.nearest_copies(files, group, is_evaluated, is_training, max_distance)
    rows = np.flatnonzero(is_evaluated)
    copies = int((nearest[rows] >= 0).sum())
    result = {"images": len(rows), "copies": copies, "share": copies / max(len(rows), 1)}
    truth = [texts[row] for row in rows]
    if not truth or any(row is None for row in truth):
        return {**result, "score": None, "all_empty": None, "predicted": None}
    predicted = copied_masks(texts, nearest[rows], turns[rows], shape)
    score = metrics.competition_score(truth, predicted)
    return {**result, "score": score, "all_empty": metrics.all_empty_score(truth), "predicted": predicted}


def of_test_images(
    table: pd.DataFrame,
    test: pd.DataFrame,
    data_dir: str | Path,
    group: np.ndarray | None = None,
    max_distance: float = duplicates.MAX_DISTANCE,
) -> tuple[dict, list | None]:
    """`baseline` of the test images beside all training images, and their truth, None where it is not known.

    Arguments:
        table, test: from `dataset.load_table` and `dataset.load_test_table`; group: of both in this order,
            found if None.
    """
    about, files = dataset.describe(data_dir), [*table["path"], *test["path"]]
    with_truth = dataset.load_truth(data_dir, test)
    truth = (
        [None] * len(test)
        if with_truth is None
        else with_truth[dataset.rle_columns(with_truth)].to_numpy().tolist()
    )
    texts = table[dataset.rle_columns(table)].to_numpy().tolist() + truth
    group = duplicates.find_duplicates(files, max_distance) if group is None else group
    is_test = np.repeat([False, True], [len(table), len(test)])
    result = baseline(files, group, is_test, ~is_test, texts, (about["height"], about["width"]), max_distance)
    return result, None if with_truth is None else truth


def of_held_out(
    table: pd.DataFrame,
    run_dir: str | Path,
    data_dir: str | Path,
    group: np.ndarray,
    max_distance: float = duplicates.MAX_DISTANCE,
) -> dict | None:
    """`baseline` of the images that the run's split.csv holds out beside those that taught; None where there
    is no split of these images.

    Arguments:
        table: from `dataset.load_table`; group: (N,) of its images.
    """
    try:
        stored = pd.read_csv(
            Path(run_dir) / "split.csv", dtype={"image_id": str}, keep_default_na=False
        ).set_index("image_id")["part"]
    except (OSError, ValueError, KeyError):
        return None
    part = stored.reindex(table["image_id"]).to_numpy() if stored.index.is_unique else np.array([])
    if not (part == "held_out").any():
        return None
    about, texts = dataset.describe(data_dir), table[dataset.rle_columns(table)].to_numpy().tolist()
    shape = about["height"], about["width"]
    return baseline(
        list(table["path"]), group, part == "held_out", part == "train", texts, shape, max_distance
    )


def remark(result: dict, kind: str) -> str:
    """A `baseline`, in words. `kind`: of the images that are evaluated, such as "test"."""
    if not result["copies"]:
        return f"None of {result['images']:,} {kind} images has a copy among those that teach, turned or not."
    text = (
        f"{result['copies']:,} of {result['images']:,} {kind} images ({result['share']:.0%}) have a copy "
        "among those that teach, "
    )
    text += "turned or not."
    if result["score"] is not None:
        text += (
            f" Looking their masks up scores {result['score']:.4f} without learning, predicting nothing "
            f"{result['all_empty']:.4f}."
        )
    return f"Warning: {text} A score on them also tells what was remembered."
