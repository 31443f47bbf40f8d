"""What the page that compares runs shows, from what they held out, what they recorded and how they trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from lib import files
from lib.data import dataset, images
from lib.errors import UserError
from lib.evaluation import comparison, held_out, histories, scores
from lib.evaluation.held_out import HeldOut
from lib.report import comparison as report
from lib.report.comparison import Changed, Compared, Contents
from lib.report.overlay import data_address, overlay

SHOWN = 6  # images that changed most
MOST_OUTLINED = 4  # runs whose masks are shown of an image: of more, the best and the worst


def contents(
    folders: Sequence[Path], states: Sequence[dict[str, Any]], runs: Sequence[HeldOut], links: Sequence[str]
) -> Contents:
    """What the page shows.

    Arguments:
        folders: of the runs; states: their run.json; runs: what they held out, each all of its own; links: to
            their index pages, "" for none.

    Raises UserError, with one sentence, where they cannot be compared, see `held_out.in_common`.
    """
    common = held_out.in_common(runs)
    first = common[0]
    recorded = [_metrics(folder) for folder in folders]
    compared = [
        Compared(report.letter(index), run.name, link, state, *_own_score(metrics, run), images=len(run.ids))
        for index, (run, link, state, metrics) in enumerate(zip(runs, links, states, recorded, strict=True))
    ]
    measures = [
        (
            one.name,
            one.images,
            one.values,
            [
                (difference, *interval)
                for difference, interval in zip(one.differences, one.intervals, strict=True)
            ],
        )
        for one in comparison.measures(common)
    ]
    closer = [
        link.replace("index.html", "explore.html") if link and (folder / "explore.html").is_file() else ""
        for folder, link in zip(folders, links, strict=True)
    ]
    data_folders = [state.get("data", {}).get("folder", "") for state in states]
    changed, no_pictures = changed_images(common, data_folders, closer)
    trained = [histories.read(folder) for folder in folders]
    names = list(dict.fromkeys(name for of_run in trained for name in of_run))
    same = [name for name in names if histories.alike([of_run.get(name, []) for of_run in trained])]
    curves = [
        report.inside(
            report.curves_figure(name, [of_run.get(name, []) for of_run in trained]), f"Curves of {name}"
        )
        for name in names
        if name not in same
    ]
    return Contents(
        compared,
        scores.TITLES[first.score],
        images=len(first.ids),
        defective=int(first.has_defect.any(axis=1).sum()),
        measures=measures,
        differing=report.differing(states),
        same=report.same_notebooks(states),
        curves=curves,
        same_curves=same,
        changed=changed,
        best=_best(common) if len(runs) > 2 else {},
        recorded=report.recorded_rows(recorded),
        remarks=_remarks(runs, first, states),
        no_pictures=no_pictures,
        identical=all(comparison.identical(first, other) for other in common[1:]),
    )


def _metrics(folder: Path) -> dict[str, Any]:
    """All that a run recorded, {} where it cannot be read."""
    try:
        content = files.read_json(folder / "metrics.json")
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def _own_score(metrics: dict[str, Any], run: HeldOut) -> tuple[float, list[float]]:
    """(score, interval) of a run on all that it held out."""
    interval = metrics.get("competition_score_interval")
    known = (
        isinstance(interval, list) and len(interval) == 2 and all(isinstance(end, float) for end in interval)
    )
    return scores.value(run.score, run.pairs), interval if known and isinstance(interval, list) else []


def _best(runs: Sequence[HeldOut]) -> dict[str, Any]:
    """The best run and what of its score is owed to the picking."""
    best = comparison.best_of(runs)
    return {"letter": report.letter(best.index), "value": best.value, "excess": best.excess}


def _remarks(runs: Sequence[HeldOut], first: HeldOut, states: Sequence[dict[str, Any]]) -> list[str]:
    """What to know before the numbers, in sentences."""
    remarks = []
    if any(state.get("data", {}).get("generated") for state in states):
        remarks.append("These strips are generated: what is better on them need not be on real steel.")
    if any(len(run.ids) != len(first.ids) for run in runs):
        counts = ", ".join(f"{report.letter(index)} {len(run.ids):,}" for index, run in enumerate(runs))
        remarks.append(
            f"The runs held out different images ({counts}). They are compared on the {len(first.ids):,} in common, "
            "on which their scores can be other than those that they report."
        )
    if len(first.ids) < 100:
        remarks.append(f"{len(first.ids)} images prove little: see how wide the intervals are.")
    return remarks


def changed_images(
    runs: Sequence[HeldOut], data_folders: Sequence[str], closer: Sequence[str] = ()
) -> tuple[list[Changed], str]:
    """(the images that changed most, why they are shown without masks or "").

    Arguments:
        runs: with the same images; data_folders: where the runs had their images; closer: of each run the address
            of the page that shows an image by itself, with # and its name, or "".
    """
    most_changed = comparison.changes(runs, SHOWN)
    if not most_changed:
        return [], ""
    lacking = [run.name for run in runs if not run.masks]
    why = (
        f"The masks are not kept in {', '.join(lacking)}: run 40_evaluation of it again to see them."
        if lacking
        else ""
    )
    truth, paths, shape = {}, {}, (0, 0)
    if not lacking:
        try:
            folder = next((Path(one) for one in data_folders if one and Path(one).is_dir()), None)
            if folder is None:
                raise UserError("They are not there any more.")
            about, table = dataset.describe(folder), dataset.load_table(folder)
            shape = about["height"], about["width"]
            truth = dict(
                zip(table["image_id"], table[dataset.rle_columns(table)].to_numpy().tolist(), strict=True)
            )
            paths = dict(zip(table["image_id"], table["path"], strict=True))
        except (UserError, OSError):
            why = "The images are not where they were, so that none is shown."
    changed = []
    for change in most_changed:
        image_id = str(runs[0].ids[change.row])
        views: list[tuple[str, str, str]] = []
        if image_id in paths:
            views = _outlined(runs, change, image_id, paths[image_id], truth[image_id], shape, closer)
        changed.append(Changed(image_id, change.points, _lines(change, runs[0].titles), views))
    return changed, why


def _lines(change: comparison.Change, titles: Sequence[str]) -> list[str]:
    """The classes whose Dice changed, with it in each run."""
    lines = []
    for index, title in enumerate(titles):
        of_class = change.dice[:, index]
        if np.ptp(of_class) > 0:
            values = ", ".join(f"{report.letter(run)} {value:.2f}" for run, value in enumerate(of_class))
            lines.append(f"Dice, {title}: {values}")
    return lines


def _outlined(
    runs: Sequence[HeldOut],
    change: comparison.Change,
    image_id: str,
    path: str,
    truth: list[str],
    shape: tuple[int, int],
    closer: Sequence[str],
) -> list[tuple[str, str, str]]:
    """(caption, address, address of the page to look closer or "") of an image with the true outlines, and with
    those of the runs; none where it cannot be read."""
    try:
        image = images.read_image(path, expected=shape)
    except UserError:
        return []
    shown = list(range(len(runs)))
    if len(runs) > MOST_OUTLINED:
        mean = change.dice.mean(axis=1)
        shown = [int(mean.argmax()), int(mean.argmin())]
    views = [("truth", data_address(overlay(image, truth)), "")]
    for index in shown:
        rles = runs[index].masks.get(image_id, [""] * len(truth))
        link = f"{closer[index]}#{quote(image_id)}" if closer and closer[index] else ""
        views.append((f"run {report.letter(index)}", data_address(overlay(image, rles)), link))
    return views
