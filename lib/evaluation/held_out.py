"""What a finished run made of the images that it held out, from its files: by that runs are compared."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib import files
from lib.data import chosen, splitting
from lib.data.grouping import joined_groups
from lib.errors import UserError
from lib.evaluation import scores, statistics
from lib.evaluation.predictions import CascadePredictions, pair_pixels, passing_filters
from lib.evaluation.scores import PairPixels
from lib.inference import postprocess, sources
from lib.inference.postprocess import PostprocessConfig

EVALUATION = "evaluation.json"
ROUNDING = 1e-6  # that a score made again may differ by from the one that was recorded


@dataclass(frozen=True)
class HeldOut:
    """N images that a run held out, and C classes, none seen by the network that answered or by the thresholds
    that cut.

    name: of the run; score: that its thresholds were chosen for; ids (N,): of the images; group (N,):
    near-duplicates; pairs: pixels of the image-class pairs, cross-fitted; defect_probability (N,),
    class_probability (N, C): 0..1; passed (N,) bool: what the binary filter let through, None where there is
    none; titles: of the classes; masks: {id: run-length strings, one a class}, {} in runs that kept none.
    """

    name: str
    score: str
    ids: np.ndarray
    group: np.ndarray
    pairs: PairPixels
    defect_probability: np.ndarray
    class_probability: np.ndarray
    passed: np.ndarray | None
    titles: list[str]
    masks: dict[str, list[str]] = field(default_factory=dict)

    @property
    def has_defect(self) -> np.ndarray:
        """Which pairs have a defect, (N, C) bool."""
        return self.pairs.true_area > 0

    def take(self, rows: np.ndarray) -> "HeldOut":
        """The same of some images, by their indices."""
        return HeldOut(
            self.name,
            self.score,
            self.ids[rows],
            self.group[rows],
            PairPixels(*(array[rows] for array in self.pairs)),
            self.defect_probability[rows],
            self.class_probability[rows],
            None if self.passed is None else self.passed[rows],
            self.titles,
            self.masks,
        )


def read(run_dir: Path, name: str, parameters: dict[str, Any]) -> HeldOut:
    """What a run held out.

    Arguments:
        name: what the run is called; parameters: that its 40_evaluation ran with.

    Raises UserError where the files are missing or do not go together, or do not give the score that the run
    recorded.
    """
    again = f"Run it again: --resume --run {name} --from 40."
    try:
        predictions = CascadePredictions.load(sources.file_in(run_dir, sources.PREDICTIONS))
        content = files.read_json(run_dir / EVALUATION)
        chosen = [PostprocessConfig.of_stored(entry) for entry in content["thresholds_by_fold"]]
        cv_folds, seed = int(parameters["cv_folds"]), int(parameters["seed"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, UserError):
        raise UserError(
            f"40_evaluation of the run {name} did not keep what runs are compared by. {again}"
        ) from None
    ids, group = _images(run_dir)
    if len(ids) != len(predictions.group) or not np.array_equal(group, predictions.group):
        raise UserError(f"split.csv of the run {name} is not that of its predictions. {again}")
    folds = statistics.assign_folds(group, min(cv_folds, len(np.unique(group))), seed)
    inside = [folds == fold for fold in np.unique(folds)]
    recorded = files.read_metrics(run_dir, "40_evaluation")[1]
    score = str(parameters.get("score", scores.SEVERSTAL))
    scores.check(score)
    held_out = None
    classes = predictions.true_area.shape[1]
    fits = all(entry.strategy in postprocess.STRATEGIES and entry.classes == classes for entry in chosen)
    if len(inside) == len(chosen) and fits:
        pairs, passed = _cut(predictions, inside, chosen)
        titles = sources.class_titles(run_dir, chosen[0])
        probabilities = predictions.defect_probability, predictions.class_probability
        masks = _masks(content.get("masks"), classes)
        held_out = HeldOut(name, score, ids, group, pairs, *probabilities, passed, titles, masks)
    value = recorded.get("competition_score")
    if (
        held_out is None
        or not isinstance(value, float)
        or abs(scores.value(score, held_out.pairs) - value) > ROUNDING
    ):
        raise UserError(f"The files of the run {name} do not give the score that it recorded. {again}")
    return held_out


def _images(run_dir: Path) -> tuple[np.ndarray, np.ndarray]:
    """(ids, groups) of the images that evaluated a run, in the order of its predictions: see
    `splitting.evaluation_images`."""
    table = splitting.read_split(run_dir / "split.csv")
    if table is None:
        return np.array([], str), np.array([], int)
    if (table["part"] == "held_out").any():
        table = table[table["part"] == "held_out"]
    else:
        table = table[~chosen.of_groups(table, table["group"].to_numpy())]
    return table["image_id"].to_numpy(str), table["group"].to_numpy()


def _cut(
    predictions: CascadePredictions, inside: Sequence[np.ndarray], chosen: Sequence[PostprocessConfig]
) -> tuple[PairPixels, np.ndarray | None]:
    """The pixels of all pairs, and which images pass the binary filter, under the thresholds of each fold."""
    pairs = PairPixels(
        np.zeros_like(predictions.true_area),
        np.zeros_like(predictions.true_area),
        predictions.true_area,
    )
    passed = np.zeros(len(predictions.group), bool)
    for rows, thresholds in zip(inside, chosen, strict=True):
        of_fold = predictions.take(rows)
        pairs.intersection[rows], pairs.predicted_area[rows] = pair_pixels(of_fold, thresholds)[:2]
        probabilities = of_fold.defect_probability, of_fold.class_probability
        passed[rows] = passing_filters(*probabilities, thresholds)[0][:, 0]
    has_filter = all(postprocess.STRATEGIES[thresholds.strategy][0] for thresholds in chosen)
    return pairs, passed if has_filter else None


def _masks(content: Any, classes: int) -> dict[str, list[str]]:
    """The masks that `40_evaluation` wrote; {} where it wrote none or something else."""
    if not isinstance(content, dict):
        return {}
    fits = all(
        isinstance(rles, list) and len(rles) == classes and all(isinstance(text, str) for text in rles)
        for rles in content.values()
    )
    return content if fits else {}


def in_common(runs: Sequence[HeldOut]) -> list[HeldOut]:
    """The runs, each with the images alone that all of them held out, in the same order and the same groups:
    those that any of them takes for near-duplicates are in one.

    Raises UserError, with one sentence, where the runs cannot be compared: other scores, other classes, other
    true masks, no image that all held out.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.score != first.score:
            raise UserError(
                f"{first.name} is scored by {first.score} and {run.name} by {run.score}, which cannot be compared. "
                f"Score one anew: --resume --run {run.name} --from 40 -p 40.score={first.score}."
            )
        if len(run.titles) != len(first.titles):
            raise UserError(
                f"{first.name} has {len(first.titles)} classes and {run.name} {len(run.titles)}: they cannot be compared."
            )
    common_ids = sorted(set(first.ids).intersection(*(run.ids for run in runs[1:])))
    if not common_ids:
        raise UserError(
            f"There is no image that all of {', '.join(run.name for run in runs)} held out, so nothing that is fair to all. "
            "Run them with the same seed and held_out."
        )
    taken = []
    for run in runs:
        row_of = {image_id: row for row, image_id in enumerate(run.ids)}
        taken.append(run.take(np.array([row_of[image_id] for image_id in common_ids])))
    for run in taken[1:]:
        if not np.array_equal(run.pairs.true_area, taken[0].pairs.true_area):
            raise UserError(f"{first.name} and {run.name} have other true masks for the same images.")
    group = joined_groups([run.group for run in taken])
    return [_with_group(run, group) for run in taken]


def _with_group(run: HeldOut, group: np.ndarray) -> HeldOut:
    return HeldOut(**{**vars(run), "group": group})
