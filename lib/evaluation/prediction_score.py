"""How good what was predicted for images whose truth is known is, and where points are lost: the content of score.json."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from lib.evaluation import error_analysis, scores, statistics
from lib.evaluation.predictions import passing_filters
from lib.evaluation.truth import Rles
from lib.files import json_float
from lib.inference.postprocess import PostprocessConfig
from lib.inference.results import ImageResult


def evaluate(
    truth: Rles,
    results: Sequence[ImageResult],
    thresholds: PostprocessConfig,
    titles: Sequence[str],
    group: np.ndarray,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> dict:
    """What the masks of some images are worth: the content of score.json, plain values.

    Arguments:
        truth: (N x C) run-length strings; titles: of the classes; group: (N,), equal for near-duplicates.

    score: the name of the one that the thresholds were chosen for, value: 0..1, all_empty_score, intervals,
    Dice over positives, as `40_evaluation` has them; lost_points: {stage: a value a class}, whose sum is 1
    minus the score.
    """
    predicted = [result.rles for result in results]
    score, pairs = thresholds.score, scores.of_rles(truth, predicted)
    has_defect, empty = pairs.true_area > 0, pairs.all_empty
    bootstrap = (group, n_bootstrap, seed)
    classes = []
    for class_index, title in enumerate(titles):
        has, of_class = has_defect[:, class_index], pairs.of_class(class_index)
        positives = np.where(has, of_class.dice[:, 0], np.nan)
        of_positives = statistics.bootstrap_interval(positives, group, n_bootstrap, seed=seed)
        classes.append(
            {
                "name": title,
                "images_with_it": int(has.sum()),
                "score": scores.value(score, of_class),
                "score_interval": _plain(scores.interval(score, of_class, *bootstrap)),
                "all_empty_score": scores.value(score, of_class.all_empty),
                "dice_positives": float(of_class.dice[has].mean()) if has.any() else None,
                "dice_positives_interval": _plain(of_positives),
            }
        )
    return {
        "images": len(results),
        "images_with_defects": int(has_defect.any(axis=1).sum()),
        "score": score,
        "title": scores.TITLES[score],
        "value": scores.value(score, pairs),
        "interval": _plain(scores.interval(score, pairs, *bootstrap)),
        "all_empty_score": scores.value(score, empty),
        "gain_over_all_empty_interval": _plain(scores.interval(score, pairs, *bootstrap, baseline=empty)),
        "classes": classes,
        "lost_points": lost_points(scores.losses(score, pairs), pairs, results, thresholds),
        **verdicts(has_defect, predicted),
    }


def _plain(interval: tuple[float, float]) -> list[float | None]:
    """An interval for JSON."""
    return list(map(json_float, interval))


def verdicts(has_defect: np.ndarray, predicted: Rles) -> dict:
    """How many images with a defect got a mask, and how many without one: counts."""
    marked = np.array([any(row) for row in predicted])
    defective = has_defect.any(axis=1)
    return {
        "defective_images_with_mask": int((defective & marked).sum()),
        "clean_images": int((~defective).sum()),
        "clean_images_with_mask": int((~defective & marked).sum()),
    }


def lost_points(
    loss: np.ndarray, pairs: scores.PairPixels, results: Sequence[ImageResult], thresholds: PostprocessConfig
) -> dict[str, list[float]]:
    """Where the score is lost, as `error_analysis.lost_points` has it, a value a class; `loss`: (N, C) of the
    pairs. Of a long image the filters are those of its surest window."""
    defect_probability = np.array([result.defect_probability for result in results], float)
    class_probability = np.array([result.class_probability for result in results], float)
    passed, named = passing_filters(defect_probability, class_probability, thresholds)
    stages = error_analysis.stages_by_filters(pairs.true_area > 0, passed, named, pairs.predicted_area > 0)
    return {name: (loss * chosen).sum(axis=0).tolist() for name, chosen in stages.items()}


def learned_from(run: Path, results: Sequence[ImageResult]) -> str:
    """A sentence where images are called as ones that the run's networks or thresholds learned from; ""."""
    if not (path := run / "split.csv").is_file():
        return ""
    listed = pd.read_csv(path, dtype=str, keep_default_na=False)
    known = set(listed.get("image_id", pd.Series(dtype=str)))
    count = sum(PurePosixPath(result.name).name in known for result in results)
    if not count:
        return ""
    return (
        f"{count} of these {len(results)} images have the names of images from which the run's networks or thresholds "
        "learned: where they are the same, the score is too good. What new images can expect is the run's own score."
    )
