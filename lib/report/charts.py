"""Charts. Each function returns its matplotlib figure; colours hold for the colour-blind (Okabe and Ito)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.figure import Figure

from lib.plots import COLOURS, GREY, colour

Curve = tuple[np.ndarray, np.ndarray]


def bars(
    names: Iterable[Any],
    counts: Sequence[float],
    colours: Sequence[str] | None = None,
    title: str = "",
    unit: str = "images",
) -> Figure:
    """Counts as labelled horizontal bars."""
    labels = [str(name) for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.5 + 0.38 * len(labels)), layout="constrained")
    container = axes.barh(labels, counts, color=colours or GREY)
    axes.bar_label(container, [f"{count:,}" for count in counts], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left")
    axes.margins(x=0.12)
    seaborn.despine(figure)
    return figure


def areas(by_class: Mapping[int, np.ndarray], names: Sequence[str]) -> Figure:
    """Distribution of mask areas, on a logarithmic axis.

    Arguments:
        by_class: {class index: pixels of each mask}; names: of all classes.
    """
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    for class_index, values in by_class.items():
        if len(values):
            shares = np.arange(1, len(values) + 1) / len(values)
            axes.step(np.sort(values), shares, color=colour(class_index), label=names[class_index])
    axes.set(xscale="log", xlabel="mask area of an image (pixels)", ylabel="share of its images at most")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def histograms(
    groups: Mapping[str, Sequence[float] | np.ndarray],
    label: str,
    bins: int = 40,
    colours: Sequence[str] = COLOURS,
) -> Figure:
    """Overlaid histograms of {name: values}, each as a density; `colours`: one a group."""
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    together = np.concatenate([np.asarray(values, float) for values in groups.values()])
    edges = np.linspace(together.min(), together.max() + 1e-9, bins + 1)
    filled: dict[str, Any] = {"density": True, "histtype": "stepfilled", "alpha": 0.35}
    for index, (name, values) in enumerate(groups.items()):
        legend = f"{name} ({len(values):,})"
        axes.hist(values, edges, color=colours[index % len(colours)], label=legend, **filled)
    axes.set(xlabel=label, ylabel="density")
    axes.legend(frameon=False)
    return figure


def learning_curves(histories: Sequence[pd.DataFrame]) -> Figure:
    """Every metric of the trainings of an ensemble's members, an epoch a row, or of a single network: training
    and validation beside each other, of several members in a colour each."""
    names = [name for name in histories[0].columns if f"val_{name}" in histories[0].columns]
    size = (3.6 * len(names), 3.1)
    figure, panels = plt.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
    for axes, name in zip(panels[0], names, strict=True):
        for index, history in enumerate(histories):
            several = len(histories) > 1
            training = {"color": colour(index) if several else GREY, "alpha": 0.4 if several else 1}
            labels = ("training", "validation") if not several else ("", f"member {index + 1}")
            axes.plot(history["epoch"], history[name], marker=".", label=labels[0], **training)
            axes.plot(
                history["epoch"], history[f"val_{name}"], marker=".", color=colour(index), label=labels[1]
            )
        axes.set(xlabel="epoch", title=name)
        axes.grid(alpha=0.3)
    panels[0, 0].legend(frameon=False)
    return figure


def confusion(
    truth: np.ndarray, predicted: np.ndarray, names: Sequence[str] = ("no defect", "defect")
) -> Figure:
    """Confusion matrix of one label, both (N,) of 0 and 1: counts and shares of the true class."""
    counts = np.array(
        [[np.sum((truth == true) & (predicted == stated)) for stated in (0, 1)] for true in (0, 1)]
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    text = [[f"{counts[true, stated]:,}\n{shares[true, stated]:.1%}" for stated in (0, 1)] for true in (0, 1)]
    figure, axes = plt.subplots(figsize=(3.6, 3.2), layout="constrained")
    look: dict[str, Any] = {"cmap": "Blues", "vmin": 0, "vmax": 1, "cbar": False}
    seaborn.heatmap(shares, annot=text, fmt="", ax=axes, xticklabels=names, yticklabels=names, **look)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def precision_recall(
    curves: Mapping[str, Curve], points: Mapping[str, tuple[float, float]] | None = None
) -> Figure:
    """Precision over recall: {name: (precision, recall)}; `points`: the same of a point chosen on each."""
    figure, axes = plt.subplots(figsize=(4.6, 4.0), layout="constrained")
    for index, (name, (precision, recall)) in enumerate(curves.items()):
        axes.plot(recall, precision, color=colour(index), label=name)
        if points and name in points:
            axes.plot(points[name][1], points[name][0], "o", color=colour(index))
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower left")
    return figure


def score_bars(
    names: Sequence[str],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]] | None = None,
    baseline: float | None = None,
    title: str = "competition score",
) -> Figure:
    """Scores as points with their 95 % intervals; `baseline` as a line, the all-empty score; title: what the
    score is called."""
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.4 * len(names)), layout="constrained")
    heights = np.arange(len(names))
    if intervals is not None:
        axes.hlines(heights, [low for low, _ in intervals], [high for _, high in intervals], color=GREY)
    axes.plot(values, heights, "o", color=COLOURS[2])
    above: dict[str, Any] = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8}
    for height, value in zip(heights, values, strict=True):
        axes.annotate(f"{value:.4f}", (value, height), **above)
    if baseline is not None:
        axes.axvline(baseline, color=COLOURS[0], linestyle="dashed", label=f"all empty {baseline:.4f}")
        axes.legend(frameon=False)
    axes.set_yticks(heights, names)
    axes.invert_yaxis()
    axes.margins(y=0.25)
    axes.set_xlabel(title)
    return figure


def lost_points(stages: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Stacked bars a class of where the score is lost: {stage: (C,) points}; names: of the C classes."""
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.45 * len(names)), layout="constrained")
    starts = np.zeros(len(names))
    for index, (stage, values) in enumerate(stages.items()):
        axes.barh(names, values, left=starts, color=colour(index), label=stage)
        starts += values
    axes.invert_yaxis()
    axes.set_xlabel("points lost (their sum is 1 minus the score)")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def value_text(value: Any, digits: int) -> str:
    """A value of a table to read: a float with so many digits after the point, a pair as "low to high"."""
    if isinstance(value, tuple):
        return " to ".join(value_text(part, digits) for part in value)
    if isinstance(value, float):
        return f"{value:.{digits}f}" if np.isfinite(value) else "unknown"
    return str(value)


def table(frame: pd.DataFrame, digits: int = 4, **digits_of: int) -> pd.DataFrame:
    """A table as texts to read, see `value_text`.

    Arguments:
        digits_of: by column, with underscores for blanks in its name: `milliseconds_a_strip=1`.
    """
    counts = {name: digits_of.get(str(name).replace(" ", "_"), digits) for name in frame}
    texts = {name: [value_text(value, counts[name]) for value in frame[name]] for name in frame}
    return pd.DataFrame(texts, index=frame.index)


def reliability(curves: Mapping[str, Curve]) -> Figure:
    """Share of positives over probability: {name: (mean probability, share)}; the diagonal is perfect."""
    figure, axes = plt.subplots(figsize=(5.2, 4.4), layout="constrained")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="dashed", label="perfect")
    for index, (name, (mean, share)) in enumerate(curves.items()):
        axes.plot(mean, share, marker=".", color="black" if index == 0 else colour(index - 1), label=name)
    axes.set(xlabel="probability stated", ylabel="share that has the defect")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return figure


def operating_point(
    points: pd.DataFrame,
    chosen: float,
    cheapest: float,
    all_empty: float,
    title: str = "competition score",
) -> Figure:
    """Score, share of strips sent on, recall and cost over the binary filter's threshold.

    Arguments:
        points: from `calibration.operating_points`; chosen, cheapest: thresholds to mark; all_empty: a score;
            title: what the score is called.
    """
    figure, (scores, shares, costs) = plt.subplots(3, 1, figsize=(8, 6.6), sharex=True, layout="constrained")
    threshold = points["threshold"]
    scores.plot(threshold, points["score"], color=COLOURS[2], label="score")
    scores.axhline(all_empty, color=GREY, linestyle="dotted", label="all empty")
    shares.plot(threshold, points["sent_on"], color=COLOURS[1], label="strips sent on")
    shares.plot(threshold, points["recall"], color=COLOURS[0], label="defective strips found")
    shares.plot(threshold, points["false_alarms"], color=COLOURS[4], label="defect-free strips sent on")
    costs.plot(threshold, points["cost"], color=COLOURS[5], label="cost, in false alarms a strip")
    for axes, label in ((scores, title), (shares, "share"), (costs, "cost")):
        is_first = axes is scores
        axes.axvline(chosen, color="black", linewidth=1, label="best score" if is_first else None)
        dashed: dict[str, Any] = {"color": COLOURS[5], "linewidth": 1, "linestyle": "dashed"}
        axes.axvline(cheapest, label="least cost" if is_first else None, **dashed)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    costs.set(xlabel="threshold of the binary filter", xlim=(-0.02, 1.02))
    return figure


def alarms(curve: pd.DataFrame, achieved: Mapping[str, pd.Series], limits: Mapping[str, float]) -> Figure:
    """Recall over false alarms in 1,000: the curve of the binary threshold, what was achieved as crosses as
    wide as the intervals.

    Arguments:
        curve: from `alarms.curve`; achieved: {name: first row of `alarms.achieved`}; limits: what was asked
            for, "max_false_alarms" in 1,000 and "min_recall", 0 for nothing.
    """
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    axes.step(
        1000 * curve["false_alarms"], curve["recall"], where="post", color=GREY, label="binary filter alone"
    )
    for index, (name, point) in enumerate(achieved.items()):
        across, up = (
            abs(np.array(point[f"{what}_interval"]) - point[what])[:, None] * scale
            for what, scale in (("false_alarms", 1000), ("recall", 1))
        )
        where = 1000 * point["false_alarms"], point["recall"]
        axes.errorbar(*where, xerr=across, yerr=up, fmt="o", color=colour(index), label=name)
    ends = [1000 * point["false_alarms_interval"][1] for point in achieved.values()]
    right = max([100.0, 2 * limits["max_false_alarms"], *(end for end in ends if np.isfinite(end))])
    dotted: dict[str, Any] = {"color": "black", "linewidth": 1, "linestyle": "dotted"}
    if limits["max_false_alarms"]:
        axes.axvline(limits["max_false_alarms"], label="budget", **dotted)
    if limits["min_recall"]:
        axes.axhline(limits["min_recall"], label="wanted recall", **dotted)
    axes.set(xlabel="false alarms in 1,000 defect-free strips", ylabel="defective strips found")
    axes.set(xlim=(-0.01 * right, 1.05 * right), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def side_by_side(
    features: pd.DataFrame,
    is_test: np.ndarray,
    names: Sequence[str],
    titles: Sequence[str],
    logarithmic: str = "",
) -> Figure:
    """Distributions of some features of training and test strips, a panel each.

    Arguments:
        features: table; is_test: (N,) bool; names: its columns to show; titles: with units.
        logarithmic: the column whose densities are drawn on a logarithmic axis.
    """
    size = (4.2 * len(names), 3.2)
    figure, panels = plt.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
    filled: dict[str, Any] = {"density": True, "histtype": "stepfilled", "alpha": 0.4}
    for axes, name, title in zip(panels[0], names, titles, strict=True):
        values = features[name].to_numpy(float)
        edges = np.linspace(values.min(), values.max() + 1e-9, 31)
        for part, label, shade in ((~is_test, "training", COLOURS[2]), (is_test, "test", COLOURS[0])):
            axes.hist(values[part], edges, color=shade, label=f"{label} ({part.sum():,})", **filled)
        axes.set(xlabel=title, ylabel="density", yscale="log" if name == logarithmic else "linear")
    panels[0, 0].legend(frameon=False, fontsize=8)
    return figure
