"""Pictures of strips, as matplotlib figures; colours hold for the colour-blind (Okabe and Ito)."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from lib.data import rle
from lib.data.images import read_image

matplotlib.rcdefaults()  # whatever a matplotlibrc of the user's says: a report looks the same everywhere
# What matplotlib brings, then fonts that may be installed and have the letters that it lacks.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei",
         "WenQuanYi Micro Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Hiragino Sans", "Yu Gothic",
         "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS")  # fmt: skip
matplotlib.rcParams["font.family"] = [name for name in FONTS if name in font_manager.get_font_names()]
LETTERS = {"\n"}.union(
    *(
        map(chr, font_manager.get_font(font_manager.findfont(name)).get_charmap())
        for name in matplotlib.rcParams["font.family"]
    )
)
# Of the classes 1 to 4 (orange, green, blue, pink) and the next three.
COLOURS = ("#D55E00", "#009E73", "#0072B2", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
GREY = "#8a8a8a"
SHAPE = (256, 1600)  # pixels of the competition's images

Masks = Sequence[Sequence[str]]  # (N, C) run-length strings, "" where a class is not there


def drawable(words: str) -> str:
    """A text with "…" for letters that no font at hand has: each would be a square and a warning."""
    lacking = set(words) - LETTERS
    return re.sub(f"[{re.escape(''.join(sorted(lacking)))}]+", "…", words) if lacking else words


def set_text(self: Text, s: Any, plain: Any = Text.set_text) -> None:
    """What every text of a figure does here, whoever made it: it draws what can be drawn."""
    plain(self, drawable(s) if isinstance(s, str) else s)


Text.set_text = set_text  # type: ignore[method-assign]


def colour(class_index: int) -> str:
    """Colour of a class, "#RRGGBB"; colours repeat after seven classes."""
    return COLOURS[class_index % len(COLOURS)]


def _outline(axes: Axes, mask: np.ndarray, class_index: int) -> None:
    """Draw the outlines of a mask (H, W) uint8, and the class's number at the leftmost."""
    contours, _ = cv2.findContours(np.ascontiguousarray(mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        points = np.vstack([contour[:, 0], contour[:1, 0]])
        axes.plot(points[:, 0], points[:, 1], color=colour(class_index), linewidth=1.6)
    if contours:
        x, y = min((tuple(point[0]) for contour in contours for point in contour), key=lambda point: point[0])
        label_box = {"facecolor": colour(class_index), "edgecolor": "none", "pad": 1}
        axes.text(
            x, max(y - 8, 12), str(class_index + 1), color="white", fontsize=7, va="bottom", bbox=label_box
        )


def _outlines(axes: Axes, rles: Sequence[str], shape: tuple[int, int]) -> None:
    """Draw the outlines of one image's masks, a run-length string a class."""
    for class_index, text in enumerate(rles):
        if text:
            _outline(axes, rle.decode(text, shape), class_index)


def _show(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, aspect="equal")
    axes.set_title(title.replace("$", r"\$"), fontsize=8, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])


def _nothing(axes: Axes) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "nothing to show", ha="center", va="center", color=GREY)


def strips(
    paths: Sequence[str | Path],
    masks: Masks | None = None,
    titles: Sequence[str] | None = None,
    shape: tuple[int, int] = SHAPE,
) -> Figure:
    """Strips under each other, with the outlines of their masks.

    Arguments:
        paths: image files; titles: one a strip, by default the files' names; shape: of the images, in pixels.
    """
    rows = max(1, len(paths))
    figure, panels = plt.subplots(rows, 1, figsize=(11, 2.05 * rows), squeeze=False, layout="constrained")
    for index, (axes, path) in enumerate(zip(panels[:, 0], paths, strict=False)):
        _show(axes, read_image(path), titles[index] if titles else Path(path).name)
        _outlines(axes, masks[index] if masks else (), shape)
    if not paths:
        _nothing(panels[0, 0])
    return figure


def long_strip(
    image: np.ndarray, rles: Sequence[str], title: str = "", panel_width: int = SHAPE[1], most: int = 10
) -> Figure:
    """An image of any length in rows, with the outlines of its masks.

    Arguments:
        image: (H, W) uint8; rles: run-length strings, one a class; title: of the first row; panel_width:
            pixels in a row; most: rows, of which those with a mask go first; what is shown stays in order.
    """
    height, width = image.shape
    starts = list(range(0, width, panel_width))
    masks = {index: rle.decode(text, (height, width)) for index, text in enumerate(rles) if text}
    marked = [
        start
        for start in starts
        if any(mask[:, start : start + panel_width].any() for mask in masks.values())
    ]
    if len(starts) > most:
        starts = sorted([*marked, *(start for start in starts if start not in marked)][:most])
    row_height = 11 * height / panel_width + 0.35
    figure, panels = plt.subplots(
        len(starts), 1, figsize=(11, len(starts) * row_height), squeeze=False, layout="constrained"
    )
    for axes, start in zip(panels[:, 0], starts, strict=True):
        part = slice(start, start + panel_width)
        columns = f"columns {start:,} to {min(part.stop, width):,}" if width > panel_width else ""
        words = [columns, title] if start == starts[0] else [columns]
        _show(axes, image[:, part], "  ".join(filter(None, words)))
        axes.set_xlim(-0.5, min(panel_width, width) - 0.5)
        for class_index, mask in masks.items():
            _outline(axes, mask[:, part], class_index)
    plt.close(figure)  # a notebook shows what a cell ends with; open figures it would show once more
    return figure


def truth_and_prediction(
    paths: Sequence[str | Path],
    truth: Masks,
    predicted: Masks,
    titles: Sequence[str],
    shape: tuple[int, int] = SHAPE,
) -> Figure:
    """Strips in pairs, true outlines above and predicted ones below; arguments as of `strips`."""
    count = max(1, len(paths))
    figure, panels = plt.subplots(
        2 * count, 1, figsize=(11, 4.0 * count), squeeze=False, layout="constrained"
    )
    for index, path in enumerate(paths):
        image = read_image(path)
        for row, (name, masks) in enumerate((("truth", truth), ("prediction", predicted))):
            axes = panels[2 * index + row, 0]
            _show(axes, image, f"{name}: {titles[index]}")
            _outlines(axes, masks[index], shape)
    if not paths:
        _nothing(panels[0, 0])
    return figure


def batch(
    images: np.ndarray,
    masks: np.ndarray | None = None,
    titles: Sequence[str] | None = None,
    class_index: int = 0,
) -> Figure:
    """Images of a batch (B, h, w, 1) as a network sees them, with the outlines of masks (B, h, w, 1)."""
    count = len(images)
    is_wide = images.shape[2] > 3 * images.shape[1]
    columns = 1 if is_wide else min(4, count)
    rows = -(-count // columns)
    height = 11 / columns * images.shape[1] / images.shape[2] + 0.3
    figure, panels = plt.subplots(
        rows, columns, figsize=(11, rows * height), squeeze=False, layout="constrained"
    )
    for index, axes in enumerate(panels.ravel()):
        axes.set_axis_off()
        if index < count:
            _show(axes, images[index, ..., 0], titles[index] if titles else "")
            if masks is not None:
                _outline(axes, (masks[index, ..., 0] > 0.5).astype(np.uint8), class_index)
    return figure


def heat_maps(maps: np.ndarray, titles: Sequence[str], shape: tuple[int, int] = SHAPE) -> Figure:
    """Where defects lie: maps (C, h, w) of the share of a class's masks there; shape: of the images."""
    count = len(maps)
    figure, panels = plt.subplots(count, 1, figsize=(11, 1.9 * count), squeeze=False, layout="constrained")
    for axes, values, title in zip(panels[:, 0], maps, titles, strict=True):
        heat = axes.imshow(values, cmap="viridis", vmin=0, extent=(0, shape[1], shape[0], 0), aspect="equal")
        axes.set_title(title, fontsize=9, loc="left")
        figure.colorbar(heat, ax=axes, pad=0.01)
    return figure


def class_pairs(
    rows: pd.DataFrame,
    column: str,
    predicted: Sequence[str],
    score: Sequence[float] | np.ndarray,
    indices: Sequence[int] | np.ndarray,
    shape: tuple[int, int] = SHAPE,
) -> Figure:
    """Truth above prediction for one class, on the strips at `indices` of `rows`.

    Arguments:
        rows: table with image_id, path and the run-length strings in `column` (rle_K).
        predicted: run-length strings of class K; score: Dice of each strip, for the titles.
    """
    before = [""] * (int(column.split("_")[1]) - 1)  # the classes before this one are not shown
    chosen = rows.iloc[list(indices)]
    titles = [f"{rows['image_id'].iloc[index]}  Dice {score[index]:.2f}" for index in indices]
    truth = [[*before, text] for text in chosen[column]]
    prediction = [[*before, predicted[index]] for index in indices]
    return truth_and_prediction(chosen["path"].tolist(), truth, prediction, titles, shape)
