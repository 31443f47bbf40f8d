"""Figures. Each function returns its matplotlib figure; colours hold for the colour-blind (Okabe and Ito)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn

from lib import plots
from lib.plots import COLOURS, GREY, colour


def bars(names, counts, colours=None, title="", unit="images"):
    """Counts as labelled horizontal bars."""
    figure, axes = plt.subplots(figsize=(8, 0.5 + 0.38 * len(names)), layout="constrained")
    drawn = axes.barh([str(name) for name in names], counts, color=colours or plots.GREY)
    axes.bar_label(drawn, [f"{count:,}" for count in counts], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left")
    axes.margins(x=0.12)
    seaborn.despine(figure)
    return figure


def areas(by_class, names):
    """Distribution of mask areas: {class index: array of pixels}, on a logarithmic axis; names: of all classes."""
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    for class_index, values in by_class.items():
        if len(values):
            ordered = np.sort(values)
            axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), color=plots.colour(class_index), label=names[class_index])
    axes.set(xscale="log", xlabel="mask area of an image (pixels)", ylabel="share of its images at most")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def histograms(groups, label, bins=40, colours=plots.COLOURS):
    """Overlaid histograms of {name: values}, each as a density; `colours`: one a group."""
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    everything = np.concatenate([np.asarray(values, float) for values in groups.values()])
    edges = np.linspace(everything.min(), everything.max() + 1e-9, bins + 1)
    for number, (name, values) in enumerate(groups.items()):
        shade = colours[number % len(colours)]
        axes.hist(values, edges, density=True, histtype="stepfilled", alpha=0.35, color=shade, label=f"{name} ({len(values):,})")
    axes.set(xlabel=label, ylabel="density")
    axes.legend(frameon=False)
    return figure


def learning_curves(history):
    """Every figure of a training's history, training and validation beside each other."""
    names = [name for name in history.columns if f"val_{name}" in history.columns]
    figure, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3.1), squeeze=False, layout="constrained")
    for panel, name in zip(axes[0], names, strict=True):
        panel.plot(history["epoch"], history[name], marker=".", color=plots.GREY, label="training")
        panel.plot(history["epoch"], history[f"val_{name}"], marker=".", color=plots.COLOURS[0], label="validation")
        panel.set(xlabel="epoch", title=name)
        panel.grid(alpha=0.3)
    axes[0, 0].legend(frameon=False)
    return figure


def confusion(truth, predicted, names=("no defect", "defect")):
    """Confusion matrix of one label: counts and shares of the true class."""
    counts = np.array([[np.sum((truth == t) & (predicted == p)) for p in (0, 1)] for t in (0, 1)])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(3.6, 3.2), layout="constrained")
    text = [[f"{counts[t, p]:,}\n{shares[t, p]:.1%}" for p in (0, 1)] for t in (0, 1)]
    seaborn.heatmap(shares, annot=text, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, ax=axes, xticklabels=names, yticklabels=names)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def precision_recall(curves, points=None):
    """Precision over recall: {name: (precision, recall)}; `points`: {name: (precision, recall)} chosen on the curves."""
    figure, axes = plt.subplots(figsize=(4.6, 4.0), layout="constrained")
    for number, (name, (precision, recall)) in enumerate(curves.items()):
        axes.plot(recall, precision, color=plots.colour(number), label=name)
        if points and name in points:
            axes.plot(points[name][1], points[name][0], "o", color=plots.colour(number))
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower left")
    return figure


def score_bars(names, values, intervals=None, baseline=None):
    """Scores as points with their 95 % intervals; `baseline` as a line, the all-empty score."""
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.4 * len(names)), layout="constrained")
    places = np.arange(len(names))
    if intervals is not None:
        axes.hlines(places, [low for low, _ in intervals], [high for _, high in intervals], color=plots.GREY)
    axes.plot(values, places, "o", color=plots.COLOURS[2])
    for place, value in zip(places, values, strict=True):
        axes.annotate(f"{value:.4f}", (value, place), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
    if baseline is not None:
        axes.axvline(baseline, color=plots.COLOURS[0], linestyle="dashed", label=f"all empty {baseline:.4f}")
        axes.legend(frameon=False)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.margins(y=0.25)
    axes.set_xlabel("competition score")
    return figure


def lost_points(parts, names):
    """Stacked bars a class of where the score is lost: {stage: (C,) points}; names: of the C classes."""
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.45 * len(names)), layout="constrained")
    left = np.zeros(len(names))
    for number, (name, values) in enumerate(parts.items()):
        axes.barh(names, values, left=left, color=plots.colour(number), label=name)
        left += values
    axes.invert_yaxis()
    axes.set_xlabel("points lost (their sum is 1 minus the score)")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def table(frame, digits=4, **digits_of):
    """A DataFrame as text to read: fractions with `digits` digits after the point, pairs as "low to high", other values as they are.

    Arguments:
        digits_of: other numbers of digits by column, blanks in its name as underscores: `milliseconds_a_strip=1`.
    """

    def text(value, count):
        if isinstance(value, tuple):
            return " to ".join(text(one, count) for one in value)
        if isinstance(value, float):
            return f"{value:.{count}f}" if np.isfinite(value) else "unknown"
        return str(value)

    counts = {name: digits_of.get(str(name).replace(" ", "_"), digits) for name in frame}
    return pd.DataFrame({name: [text(value, counts[name]) for value in frame[name]] for name in frame}, index=frame.index)


def reliability(curves):
    """Share of positives over stated probability: {name: (mean probability, share)}; the diagonal is perfect."""
    figure, axes = plt.subplots(figsize=(5.2, 4.4), layout="constrained")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="dashed", label="perfect")
    for number, (name, (mean, share)) in enumerate(curves.items()):
        axes.plot(mean, share, marker=".", color="black" if number == 0 else colour(number - 1), label=name)
    axes.set(xlabel="probability stated", ylabel="share that has the defect", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return figure


def operating_point(points, chosen, cheapest, all_empty):
    """Score, share of strips sent on, recall and cost over the binary filter's threshold.

    Arguments:
        points: table of `calibration.operating_points`; chosen, cheapest: thresholds to mark; all_empty: that score.
    """
    figure, panels = plt.subplots(3, 1, figsize=(8, 6.6), sharex=True, layout="constrained")
    panels[0].plot(points["threshold"], points["score"], color=COLOURS[2], label="score")
    panels[0].axhline(all_empty, color=GREY, linestyle="dotted", label="all empty")
    panels[1].plot(points["threshold"], points["sent_on"], color=COLOURS[1], label="strips sent on")
    panels[1].plot(points["threshold"], points["recall"], color=COLOURS[0], label="defective strips found")
    panels[1].plot(points["threshold"], points["false_alarms"], color=COLOURS[4], label="defect-free strips sent on")
    panels[2].plot(points["threshold"], points["cost"], color=COLOURS[5], label="cost, in false alarms a strip")
    for panel, label in zip(panels, ("competition score", "share", "cost"), strict=True):
        panel.axvline(chosen, color="black", linewidth=1, label="best score" if panel is panels[0] else None)
        panel.axvline(cheapest, color=COLOURS[5], linewidth=1, linestyle="dashed", label="least cost" if panel is panels[0] else None)
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[-1].set(xlabel="threshold of the binary filter", xlim=(-0.02, 1.02))
    return figure


def side_by_side(features, is_test, names, titles, logarithmic=""):
    """Distributions of some features of training and test strips, a panel each.

    Arguments:
        features: table; is_test: (N,) bool; names: its columns to show; titles: with units; logarithmic: the column whose
            densities are drawn on a logarithmic axis.
    """
    figure, panels = plt.subplots(1, len(names), figsize=(4.2 * len(names), 3.2), squeeze=False, layout="constrained")
    for panel, name, title in zip(panels[0], names, titles, strict=True):
        values = features[name].to_numpy(float)
        edges = np.linspace(values.min(), values.max() + 1e-9, 31)
        for part, label, shade in ((~is_test, "training", COLOURS[2]), (is_test, "test", COLOURS[0])):
            panel.hist(values[part], edges, density=True, histtype="stepfilled", alpha=0.4, color=shade, label=f"{label} ({part.sum():,})")
        panel.set(xlabel=title, ylabel="density", yscale="log" if name == logarithmic else "linear")
    panels[0, 0].legend(frameon=False, fontsize=8)
    return figure
