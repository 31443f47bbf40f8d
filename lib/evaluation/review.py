"""What to label next: the images of a prediction where a label would teach most, from what the cascade itself
says of them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from lib import errors
from lib.data import depth, listing
from lib.data.dataset import csv_text
from lib.errors import UserError
from lib.evaluation import shift
from lib.inference.output_folder import OutputFolder
from lib.inference.postprocess import PostprocessConfig
from lib.inference.results import ImageResult

FILE = "review.csv"
WORDS = {  # measure: what is said where it is high
    "doubt": "near the filters' thresholds",
    "disagreement": "the networks of an ensemble disagree",
    "unlike": "unlike what is labelled",
}
NEXT = "high on none, the next on all together"
HIGH = 0.75  # rank from which on a measure is a reason
OUTLYING = 0.95  # share from which on an image counts as unlike; below, all are alike, and only noise would rank them


def add_options(options: argparse.ArgumentParser) -> None:
    """Add what `write` needs to a command's options."""
    options.add_argument(
        "--review", default=0, type=errors.whole_number, help="how many images to name for labelling next"
    )
    options.add_argument(
        "--labelled", default="", help="folder of images that are labelled already, for --review"
    )


def insist_on_options(args: argparse.Namespace) -> dict:
    """What a prediction's settings say of these options, {} where none is given. UserError where they make no
    sense."""
    if args.review < 0:
        raise UserError(f"--review {args.review}: it is a number of images, such as 40.")
    if args.labelled and not args.review:
        raise UserError("--labelled is for --review. Say how many images to name: --review 40.")
    if args.labelled:
        listing.find_images([args.labelled], "--labelled")  # before anything is predicted
    return {"review": args.review, "labelled": args.labelled} if args.review else {}


def nearness(probability: float | None, threshold: float) -> float:
    """How near a probability is to a threshold: 1 at it, 0 at 0 and 1; NaN where it was not asked, or where the
    threshold lets all pass or none."""
    if probability is None or not 0 < threshold < 1:
        return np.nan
    side = threshold if probability < threshold else 1 - threshold
    return 1 - abs(probability - threshold) / side


def doubt(result: ImageResult, thresholds: PostprocessConfig) -> float:
    """How near an image is to being filtered otherwise, 0..1; without filters, how near its pieces are to the
    pixels' thresholds. NaN where nothing says."""
    filters = [nearness(result.defect_probability, thresholds.binary_threshold)]
    filters += map(nearness, result.class_probability, thresholds.label_thresholds)
    if np.isnan(filters).all():
        filters = [
            nearness(piece["mean_probability"], thresholds.pixel_thresholds[piece["class"] - 1])
            for piece in result.pieces
        ]
    return float(np.fmax.reduce([np.nan, *filters]))


def unlikeness(paths: Sequence[Path | str], labelled: Sequence[Path | str], white: float = 0) -> np.ndarray:
    """How unlike all that is labelled an image is, float64 (N,), 0..1: the share of the labelled images that are
    nearer to another labelled one than it is to any.

    Arguments:
        labelled: at least two images; white: see `depth.read`. Distances are those of `shift.features`, each in its
            own deviations.
    """
    known = shift.features(labelled, white=white).to_numpy()
    own = shift.features(paths, white=white).to_numpy()
    centre, spread = known.mean(axis=0), known.std(axis=0)
    known, own = ((table - centre) / np.where(spread > 0, spread, 1) for table in (known, own))
    among = np.array(
        [np.sort(np.linalg.norm(known - one, axis=1))[1] for one in known]
    )  # the nearest is itself
    nearest = np.array([np.linalg.norm(known - one, axis=1).min() for one in own])
    return (among < nearest[:, None]).mean(axis=1)


def queue(
    measures: dict[str, np.ndarray], group: np.ndarray, taken: set[int], count: int
) -> list[tuple[int, str]]:
    """The rows to label, that which teaches most first, and why, in words.

    Arguments:
        measures: (N,) for each of WORDS, NaN where it is not known; group: (N,), equal for near-duplicates,
            of which one is enough; taken: groups that are labelled already.

    An image's place follows from the mean of its ranks in the measures that tell images apart.
    """
    known = {name: np.nan_to_num(values, nan=-1.0) for name, values in measures.items()}
    known["unlike"] = np.where(known["unlike"] < OUTLYING, 0.0, known["unlike"])
    ranks = {
        name: rankdata(values) / len(values) for name, values in known.items() if values.min() < values.max()
    }
    standing = np.mean([*ranks.values()], axis=0) if ranks else np.zeros(len(group))
    rows: list[tuple[int, str]] = []
    seen = set(taken)
    for row in np.argsort(-standing, kind="stable").tolist():
        if len(rows) == count or int(group[row]) in seen:
            continue
        seen.add(int(group[row]))
        high = [name for name, rank in ranks.items() if rank[row] >= HIGH and known[name][row] > 0]
        rows.append((row, "; ".join(WORDS[name] for name in high) or NEXT))
    return rows


def write(
    folder: OutputFolder,
    results: Sequence[ImageResult],
    thresholds: PostprocessConfig,
    args: argparse.Namespace,
) -> list[str]:
    """Write review.csv into the hidden folder; its name in a list, [] where none is asked for."""
    (folder.folder / FILE).unlink(missing_ok=True)
    read = [result for result in results if not result.problem]
    if not args.review or not read:
        return []
    known = (
        [one.path for one in listing.find_images([args.labelled], "--labelled")[0]] if args.labelled else []
    )
    by_name = {one.name: one.path for one in folder.image_files}
    paths = [by_name[result.name] for result in read]
    disagreement = [np.nan if one.disagreement is None else one.disagreement for one in read]
    measures = {
        "doubt": np.array([doubt(result, thresholds) for result in read]),
        "disagreement": np.array(disagreement),
        "unlike": unlikeness(paths, known, args.white) if len(known) > 1 else np.full(len(read), np.nan),
    }
    group = depth.find_duplicates([*known, *paths], args.white, folder.scratch)
    taken = set(group[: len(known)].tolist())
    rows = []
    for rank, (row, why) in enumerate(queue(measures, group[len(known) :], taken, args.review), 1):
        values = [measures[name][row] for name in WORDS]
        shares = ["" if np.isnan(value) else f"{value:.4f}" for value in values]
        rows.append([rank, read[row].name, *shares, why])
    (folder.folder / FILE).write_text(csv_text(["rank", "image", *WORDS, "why"], rows), encoding="utf-8")
    return [FILE]
