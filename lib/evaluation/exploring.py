"""Which strips explore.html has, and what it shows of them: of a run the judged ones, of a prediction those that
a person should look at first."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data import depth, rle
from lib.data.images import read_image
from lib.errors import UserError
from lib.evaluation import error_analysis, metrics, prediction_page
from lib.evaluation.predictions import CascadePredictions, passing_filters
from lib.files import json_float
from lib.inference import postprocess
from lib.inference.output_folder import OutputFolder
from lib.inference.postprocess import PostprocessConfig
from lib.inference.results import ImageResult, Severity
from lib.report import explore
from lib.report.explore import About, ClassRules, Strip

MOST = 60  # strips
WITH_TRUTH = (
    "missed defects, false alarms and the lowest Dice in turn, then those of which the filter was least sure"
)
WITHOUT = "the least sure and those with most of their area in masks in turn, then the others"
Folds = Sequence[tuple[np.ndarray, PostprocessConfig]]  # (which rows, their thresholds)


def explore_run(
    path: str | Path,
    title: str,
    rows: pd.DataFrame,
    truth: list[list[str]],
    predicted: list[list[str]],
    predictions: CascadePredictions,
    by_fold: Folds,
    thresholds: PostprocessConfig,
    maps: list[list[bytes]],
    titles: Sequence[str],
    most: int = MOST,
) -> list[str]:
    """Write the page of the strips that a run was judged on; the names of those that it has.

    Arguments:
        title: of the run; rows: N strips (image_id, path); truth, predicted: (N x C) run-length strings, of
            each strip under the thresholds of its fold; by_fold: as from `fold_thresholds`; thresholds: at
            which the sliders start; maps: (N x C), as from `collect_predictions`; titles: of the classes.
    """
    ids, files = list(rows["image_id"]), list(rows["path"])
    probabilities = predictions.defect_probability, predictions.class_probability
    passed = np.zeros(predictions.class_probability.shape, bool)
    for inside, of_fold in by_fold:
        passed[inside] = passing_filters(probabilities[0][inside], probabilities[1][inside], of_fold)[1]
    dice = metrics.dice_of_rles(truth, predicted)
    doubt = np.abs(predictions.defect_probability - thresholds.binary_threshold)
    order = interest(truth, predicted, dice, predictions.class_probability, doubt)[:most]

    def strips() -> Iterator[Strip]:
        for row in order:
            of_classes = [
                weighted(*pair, thresholds) for pair in zip(maps[row], probabilities[1][row], strict=True)
            ]
            yield Strip(
                ids[row],
                read_image(files[row]),
                predicted[row],
                of_classes,
                passed[row].tolist(),
                json_float(probabilities[0][row]),
                list(map(json_float, probabilities[1][row])),
                truth[row],
                dice[row].tolist(),
                float(doubt[row]),
            )

    rules = rules_of(titles, thresholds)
    about = About(title, "Run", len(ids), WITH_TRUTH, rules, has_truth=True, judged=True)
    return explore.write_page(path, about, strips())


def weighted(packed: bytes, probability: float, thresholds: PostprocessConfig) -> bytes:
    """A map as the thresholds mean it: with soft gating, times the probability of its class."""
    if thresholds.strategy != postprocess.SOFT:
        return packed
    return postprocess.pack(postprocess.unpack(packed) * probability)


def explore_prediction(
    folder: OutputFolder,
    title: str,
    results: Sequence[ImageResult],
    thresholds: PostprocessConfig,
    titles: Sequence[str],
    severity: Severity,
    white: float = 0.0,
    truth: list[list[str]] | None = None,
    most: int = MOST,
) -> list[str]:
    """Write the page of a prediction; the names of the images that it has.

    Arguments:
        folder: of the results, not yet put to its place; title: of the run; results: of the N images that were
            read; white: see `depth.read`; truth: (N x C) run-length strings, or None.
    """
    paths = {one.name: one.path for one in folder.image_files}
    predicted = [result.rles for result in results]
    defect_probability = np.array([result.defect_probability for result in results], float)
    class_probability = np.array([result.class_probability for result in results], float)
    passed = passing_filters(defect_probability, class_probability, thresholds)[1]
    doubt = np.minimum([prediction_page.doubt(result, thresholds) for result in results], 1.0)
    dice = None if truth is None else metrics.dice_of_rles(truth, predicted)
    if truth is None or dice is None:
        places = {result.name: row for row, result in enumerate(results)}
        kinds = (
            prediction_page.least_sure(results, thresholds, len(results)),
            prediction_page.worst(results, len(results)),
        )
        order = in_turn([[places[result.name] for result in kind] for kind in kinds], len(results))
    else:
        order = interest(truth, predicted, dice, np.nan_to_num(class_probability), doubt)

    def strips() -> Iterator[Strip]:
        for row in order[:most]:
            result, true = results[row], None if truth is None else truth[row]
            try:
                image = depth.read(paths[result.name], white).image
            except UserError:  # it was there before
                continue
            strip = Strip(
                result.name,
                image,
                result.rles,
                folder.maps_of(result.name),
                passed[row].tolist(),
                result.defect_probability,
                result.class_probability,
                true,
                [] if dice is None else dice[row].tolist(),
                float(doubt[row]),
            )
            yield strip if image.shape[1] <= explore.LONGEST_SIDE else part_of(strip, result)

    rule = WITHOUT if truth is None else WITH_TRUTH
    rules = rules_of(titles, thresholds, severity)
    about = About(title, "Prediction", len(results), rule, rules, has_truth=truth is not None)
    return explore.write_page(folder.folder / "explore.html", about, strips())


def part_of(strip: Strip, result: ImageResult) -> Strip:
    """The part of a long image that is shown of it elsewhere, too; its maps were not kept."""
    (first, last), remark = prediction_page.part_shown(result, strip.truth or ())
    height = strip.image.shape[0]
    predicted, true = (
        [rle.columns(text, height, first, last) for text in texts]
        for texts in (strip.predicted, strip.truth or ())
    )
    return replace(
        strip,
        image=strip.image[:, first:last],
        predicted=predicted,
        maps=(),
        truth=None if strip.truth is None else true,
        shape=strip.image.shape,
        remark=remark,
    )


def rules_of(
    titles: Sequence[str], thresholds: PostprocessConfig, severity: Severity | None = None
) -> list[ClassRules]:
    """The rules of the classes, from the thresholds and what is too small to count."""
    rules = []
    for index, title in enumerate(titles):
        smallest = thresholds.smallest_components[index]
        if severity:
            smallest = max(smallest, round(severity.smallest_area[index] / (severity.pixel_mm or 1.0) ** 2))
        area = thresholds.minimum_areas[index]
        never = area >= postprocess.NEVER
        rules.append(ClassRules(title, thresholds.pixel_thresholds[index], smallest, None if never else area))
    return rules


def interest(
    truth: list[list[str]],
    predicted: list[list[str]],
    dice: np.ndarray,
    class_probability: np.ndarray,
    doubt: np.ndarray,
) -> list[int]:
    """All rows, those that a reader should see first: WITH_TRUTH.

    Arguments:
        truth, predicted: (N x C) run-length strings; dice, class_probability: (N, C); doubt: (N,), low where a
            filter was unsure.
    """
    kinds = error_analysis.worst(truth, predicted, dice, class_probability, len(truth))
    orders = [[row for row, _ in kinds[kind]] for kind in ("missed", "false alarm", "lowest Dice")]
    of_turn = in_turn(orders)
    others = np.argsort(np.nan_to_num(doubt, nan=np.inf), kind="stable").tolist()
    return list(dict.fromkeys([*of_turn, *others]))


def in_turn(orders: Sequence[Sequence[int]], count: int = 0) -> list[int]:
    """The rows of several lists, one of each after the other, each row once; then those below `count` that
    none of them has."""
    taken = [row for rows in zip_longest(*orders) for row in rows if row is not None]
    return list(dict.fromkeys([*taken, *range(count)]))
