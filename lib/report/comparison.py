"""The page that compares runs: what differs between them, their curves over each other, and their paired
differences."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from lib import files
from lib.errors import shorten
from lib.plots import GREY, colour
from lib.report.pages import as_dict, flat, page
from lib.report.picture import picture_html

WHERE = ("data_dir", "run_dir")  # parameters that say where things lie, not what is done
MADE_BY = ("profile", "code", "versions", "environment", "jobs")  # of run.json
Row = tuple[str, list[str]]  # a name, and a value a run


@dataclass(frozen=True)
class Compared:
    """A run on the page. letter: by which tables and figures call it; name; link: to its index, or ""; facts: of
    run.json, see `pages.StateDict`; value, interval: its own score, on all images that it held out, images."""

    letter: str
    name: str
    link: str
    facts: Mapping[str, Any]
    value: float
    interval: Sequence[float]
    images: int


@dataclass(frozen=True)
class Changed:
    """An image of which runs think differently. name; points: how far they are apart; lines: what changed, a
    class a line; views: (caption, address of its pixels, address of the page to look closer or "")."""

    name: str
    points: float
    lines: list[str]
    views: list[tuple[str, str, str]]


@dataclass
class Contents:
    """What the page shows.

    title: of the score; images, defective: counts; measures: (name, images, values, (difference, low, high) of
    each further run); differing: {heading: rows}; same: notebooks that were made from the same; curves: figures;
    same_curves: trainings that went the same way; best: {"letter", "value", "excess"} or {}; recorded: rows of
    metrics that differ; remarks: sentences;
    no_pictures: why there are none, or ""; identical: whether all runs think the same of every image.
    """

    runs: list[Compared]
    title: str
    images: int
    defective: int
    measures: list[tuple[str, int, list[float], list[tuple[float, float, float]]]]
    differing: dict[str, list[Row]]
    same: list[str]
    curves: list[Markup] = field(default_factory=list)
    same_curves: list[str] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    recorded: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    no_pictures: str = ""
    identical: bool = False

    @property
    def has_gaps(self) -> bool:
        """Whether a run lacks a setting that another has."""
        return any("–" in values for rows in self.differing.values() for _, values in rows)


def letter(index: int) -> str:
    """How tables and figures call a run: "A" for the first of at most 26."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]


def write_page(path: str | Path, contents: Contents) -> None:
    """Write the page, atomically."""
    figure = Markup("")
    if not contents.identical:
        figure = inside(differences_figure(contents), "Differences with intervals")
    files.write_atomic(path, page("comparison.html", contents=contents, figure=figure))


def inside(figure: Figure, alt: str) -> Markup:
    """A figure as a picture inside the page; the figure is closed."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    plt.close(figure)
    return picture_html(base64.b64encode(content.getvalue()).decode(), "image/png", alt)


def differences_figure(contents: Contents) -> Figure:
    """The differences to the first run with their intervals, a line a measure."""
    rows = [
        row for row in contents.measures if all(one == one for difference in row[3] for one in difference)
    ]
    further = len(contents.runs) - 1
    height = 1.0 + len(rows) * (0.2 + 0.13 * further)
    figure, axes = plt.subplots(figsize=(9, height), layout="constrained")
    for run in range(further):
        places = [index + 0.7 * ((run + 1) / (further + 1) - 0.5) for index in range(len(rows))]
        values = [row[3][run][0] for row in rows]
        below = [max(0.0, row[3][run][0] - row[3][run][1]) for row in rows]
        above = [max(0.0, row[3][run][2] - row[3][run][0]) for row in rows]
        look: dict[str, Any] = {"fmt": "o", "markersize": 4, "color": colour(run + 1)}
        label = f"{letter(run + 1)} - {letter(0)}"
        axes.errorbar(values, places, xerr=[below, above], label=label, **look)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(rows)), [row[0].replace("$", "") for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"difference to run {letter(0)}, 95 % interval")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def curves_figure(name: str, histories: Sequence[Sequence[pd.DataFrame]]) -> Figure:
    """The curves of one training in all runs, a colour a run: validation drawn through, training dotted.

    Arguments:
        histories: of each run those of its networks, an epoch a row; none where a run has no such training.
    """
    columns = dict.fromkeys(str(column) for of_run in histories for history in of_run for column in history)
    names = [one for one in columns if f"val_{one}" in columns and not one.startswith("grid_")][:3]
    figure, panels = plt.subplots(
        1, len(names), figsize=(4.2 * len(names), 3.2), squeeze=False, layout="constrained"
    )
    for axes, metric in zip(panels[0], names, strict=True):
        for run, of_run in enumerate(histories):
            for member, history in enumerate(history for history in of_run if f"val_{metric}" in history):
                label = None if member else letter(run)
                look: dict[str, Any] = {
                    "color": colour(run),
                    "linewidth": 1.2,
                    "marker": ".",
                    "markersize": 4,
                }
                axes.plot(history["epoch"], history[f"val_{metric}"], label=label, **look)
                axes.plot(history["epoch"], history[metric], linestyle="dotted", alpha=0.7, **look)
        axes.set(xlabel="epoch", title=metric)
        axes.grid(alpha=0.3)
    panels[0, 0].legend(frameon=False)
    figure.suptitle(name, fontsize=11)
    return figure


def value_text(value: Any) -> str:
    """A setting for the table; a dash for what a run does not have."""
    return "–" if value is None else shorten(value if isinstance(value, str) else repr(value), 200)


def differing(states: Sequence[Mapping[str, Any]]) -> dict[str, list[Row]]:
    """{heading: rows} of what the runs' run.json have otherwise: parameters, then code, versions, environment."""
    made_by = [dict(flat({name: state.get(name) for name in MADE_BY})) for state in states]
    return {"Parameters": parameter_rows(states), "Code, versions, machine": rows_of(made_by)}


def rows_of(settings: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows of {name: value} of each run that are not alike in all."""
    rows = []
    for name in dict.fromkeys(name for of_run in settings for name in of_run):
        values = [of_run.get(name) for of_run in settings]
        if any(value != values[0] for value in values):
            rows.append((name, [value_text(value) for value in values]))
    return rows


def parameter_rows(states: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The parameters that are not alike in all runs; notebooks that have them alike share a row."""
    of_runs = [as_dict(state.get("parameters")) for state in states]
    notebooks: dict[tuple[str, str], list[str]] = {}
    values_of: dict[tuple[str, str], list[str]] = {}
    having: dict[str, set[str]] = {}
    for notebook in dict.fromkeys(str(name) for of_run in of_runs for name in of_run):
        settings = [
            {key: value for key, value in as_dict(of_run.get(notebook)).items() if key not in WHERE}
            for of_run in of_runs
        ]
        for of_run in settings:
            for key, _ in flat(of_run):
                having.setdefault(key, set()).add(notebook)
        for key, values in rows_of([dict(flat(of_run)) if of_run else {} for of_run in settings]):
            notebooks.setdefault((key, repr(values)), []).append(notebook)
            values_of[key, repr(values)] = values
    rows = []
    for (key, code), names in notebooks.items():
        every = len(names) > 2 and set(names) == having[key]
        where = f"all {len(names)} notebooks" if every else ", ".join(names)
        rows.append((f"{key} in {where}", values_of[key, code]))
    return rows


def same_notebooks(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """The notebooks that were made from the same in all runs: their keys are equal."""
    keys = [
        {name: as_dict(entry).get("key") for name, entry in as_dict(state.get("notebooks")).items()}
        for state in states
    ]
    return [name for name, key in keys[0].items() if key and all(of_run.get(name) == key for of_run in keys)]


def recorded_rows(metrics: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The numbers of metrics.json that are not alike in all runs, as each recorded them on its own images."""
    of_runs = [
        {
            name: f"{value:.4f}" if isinstance(value, float) else value
            for name, value in flat(dict(one))
            if isinstance(value, (int, float))
        }
        for one in metrics
    ]
    return rows_of(of_runs)
