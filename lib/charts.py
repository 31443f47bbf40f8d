"""Figures of the judgement: reliability, operating point, shift, and tables. Each function returns its matplotlib figure or table."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from lib.plots import COLOURS, GREY, colour


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
