"""The look-up baseline: what turning the nearest training image's mask back scores, without learning."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import files
from lib.data import dataset, duplicates, likeness, reporting, rle, splitting
from lib.errors import UserError
from lib.evaluation import scores

COPIES = "copies.json"  # in a run's folder: how many test images are copies, and what looking them up scores
MOST = 20_000  # images up to which copies are looked for before a run


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
    paths: Sequence[str],
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
        paths: N images; group: (N,) from `duplicates.find_duplicates`; is_evaluated, is_training: (N,) bool;
            texts: nested list (N x C) of run-length strings, None in a row that has no truth; shape: (H, W)
            of every image.

    Returns images, copies (int), share (0..1), and score, all_empty (0..1, the competition's), other_scores
    ({name: [score, all-empty score]}, see `scores`) and predicted (nested list), which are None where the
    truth of an image that is evaluated is not known.
    """
    nearest, turns = duplicates.nearest_copies(paths, group, is_evaluated, is_training, max_distance)
    rows = np.flatnonzero(is_evaluated)
    copies = int((nearest[rows] >= 0).sum())
    result = {"images": len(rows), "copies": copies, "share": copies / max(len(rows), 1)}
    truth = [texts[row] for row in rows]
    if not truth or any(row is None for row in truth):
        return {**result, "score": None, "all_empty": None, "other_scores": None, "predicted": None}
    predicted = copied_masks(texts, nearest[rows], turns[rows], shape)
    pairs = scores.of_rles(truth, predicted)
    others = {name: [scores.value(name, one) for one in (pairs, pairs.all_empty)] for name in scores.TITLES}
    score, all_empty = others.pop(scores.SEVERSTAL)
    return {**result, "score": score, "all_empty": all_empty, "other_scores": others, "predicted": predicted}


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
    about, paths = dataset.describe(data_dir), [*table["path"], *test["path"]]
    with_truth = dataset.load_truth(data_dir, test)
    truth = (
        [None] * len(test)
        if with_truth is None
        else with_truth[dataset.rle_columns(with_truth)].to_numpy().tolist()
    )
    texts = table[dataset.rle_columns(table)].to_numpy().tolist() + truth
    group = duplicates.find_duplicates(paths, max_distance) if group is None else group
    is_test = np.repeat([False, True], [len(table), len(test)])
    result = baseline(paths, group, is_test, ~is_test, texts, (about["height"], about["width"]), max_distance)
    return result, None if with_truth is None else truth


def load(
    run_dir: str | Path,
    table: pd.DataFrame,
    test: pd.DataFrame,
    data_dir: str | Path,
    max_distance: float = duplicates.MAX_DISTANCE,
    group: np.ndarray | None = None,
) -> dict:
    """`of_test_images` that the run already has for these images and distance, from run_dir/copies.json; else
    found and written there, without the predicted masks.

    The file's training_hash and test_hash name what it was made from: labels, truth and the files' sizes.
    """
    with_truth = dataset.load_truth(data_dir, test)
    known = test if with_truth is None else with_truth
    saved = read_copies(Path(run_dir) / COPIES, table, known)
    if saved is not None and saved.get("max_distance") == max_distance:
        return saved
    result, _ = of_test_images(table, test, data_dir, group, max_distance)
    del result["predicted"]
    hashes = {"training_hash": splitting.hash_split(table, {}), "test_hash": splitting.hash_split(known, {})}
    result |= {"max_distance": max_distance, **hashes}
    files.write_json(Path(run_dir) / COPIES, result)
    return result


def read_copies(
    path: str | Path, table: pd.DataFrame | None = None, test: pd.DataFrame | None = None
) -> dict | None:
    """What `load` wrote; None if the file is missing or anything else, or tells of other training images than
    `table`, or of other test images or another truth than `test`."""
    try:
        saved = files.read_json(path)
    except (UserError, OSError):
        return None
    if not isinstance(saved, dict) or not {"images", "copies", "share", "score", "all_empty"} <= set(saved):
        return None
    tables = {"training_hash": table, "test_hash": test}
    wanted = {key: splitting.hash_split(one, {}) for key, one in tables.items() if one is not None}
    return saved if wanted.items() <= saved.items() else None


def look(
    run_dir: str | Path,
    args: dict[str, Any],
    data_dir: str | Path,
    progress: Callable[[str], Any] | None = None,
) -> list[dict]:
    """Whether test images are copies of training images, before the first notebook runs: a list of findings
    as of `reporting.finding`, and run_dir/copies.json.

    Arguments:
        args: {parameter: value} with max_images, seed and duplicate_distance, max_test_images where test
            images are to be left out, and score where it is not severstal;
        progress: function called with a line of text before what takes its time and where nothing is looked
            for, or None.
    """
    folder = Path(data_dir) / "test_images"
    if not folder.is_dir():
        return []
    table = dataset.load_table(data_dir, args["max_images"], args["seed"])
    test = dataset.load_test_table(data_dir, args.get("max_test_images", 0))
    report, count = progress or (lambda text: None), len(table) + len(test)
    if not len(test):
        return []
    if count > MOST:
        report(f"{count:,} images are too many to look for copies before the run: 05_shift will")
        return []
    if count >= 1000:
        report(f"{len(test):,} test images are compared with the training images")
    try:
        result = load(run_dir, table, test, data_dir, args["duplicate_distance"])
    except UserError as error:  # an image that cannot be read, which the check of the data has told
        report(f"copies of training images are not looked for among the test images: {error}")
        return []
    if not result["copies"]:
        return []
    result = under(result, args.get("score", scores.SEVERSTAL))
    what, remedy = in_words(result, "test", "among the training images")
    return [reporting.finding(folder, 0, what, remedy, "warning")]


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


def under(result: dict, score: str) -> dict:
    """A `baseline` whose score and all_empty are of that score; None where it has none of it."""
    if score == scores.SEVERSTAL:
        return result
    of_score, all_empty = (result.get("other_scores") or {}).get(score, (None, None))
    return {**result, "score": of_score, "all_empty": all_empty}


def in_words(result: dict, kind: str, where: str) -> tuple[str, str]:
    """A `baseline` with copies as a sentence without its full stop, and what to think of it."""
    text = f"{result['copies']:,} of {result['images']:,} {kind} images ({result['share']:.0%}) have a copy {where}, turned or not"
    if result["score"] is not None:
        text += (
            f". Looking their masks up scores {result['score']:.4f} without learning, predicting nothing "
            f"{result['all_empty']:.4f}"
        )
    return text, "A score on them also tells what was remembered."


def remark(result: dict, kind: str) -> str:
    """A `baseline`, in words. `kind`: of the images that are evaluated, such as "test"."""
    if not result["copies"]:
        return f"None of {result['images']:,} {kind} images has a copy among those that teach, turned or not."
    return "Warning: {}. {}".format(*in_words(result, kind, "among those that teach"))
