"""Figures. Each function returns its matplotlib figure; colours hold for the colour-blind (Okabe and Ito)."""

import re
from pathlib import Path

import cv2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.text import Text

from lib.data import rle
from lib.data.images import read_image

matplotlib.rcdefaults()  # whatever a matplotlibrc of the user's says: a report looks the same everywhere
# What matplotlib brings, then fonts that may be installed and have the letters that it lacks.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei",
         "WenQuanYi Micro Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Hiragino Sans", "Yu Gothic",
         "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS")  # fmt: skip
matplotlib.rcParams["font.family"] = [name for name in FONTS if name in font_manager.get_font_names()]
LETTERS = {chr(code) for name in matplotlib.rcParams["font.family"]
           for code in font_manager.get_font(font_manager.findfont(name)).get_charmap()} | {"\n"}  # fmt: skip
COLOURS = ("#D55E00", "#009E73", "#0072B2", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")  # classes 1 to 4: orange, green, blue, pink
GREY = "#8a8a8a"


def drawable(words):
    """A text with "…" for letters that no font at hand has: else each is a square and a warning. Tables and reports have them all."""
    lacking = set(words) - LETTERS
    return re.sub(f"[{re.escape(''.join(sorted(lacking)))}]+", "…", words) if lacking else words


def set_text(self, s, plain=Text.set_text):
    """What every text of a figure does here, whoever made it: it draws what can be drawn."""
    plain(self, drawable(s) if isinstance(s, str) else s)


Text.set_text = set_text  # type: ignore[method-assign]


def colour(class_index):
    """Colour of a class, "#RRGGBB"; colours repeat after seven classes."""
    return COLOURS[class_index % len(COLOURS)]


def _outline(axes, mask, class_index):
    contours, _ = cv2.findContours(np.ascontiguousarray(mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        points = np.vstack([contour[:, 0], contour[:1, 0]])
        axes.plot(points[:, 0], points[:, 1], color=colour(class_index), linewidth=1.6)
    if contours:
        x, y = min((tuple(point[0]) for contour in contours for point in contour), key=lambda point: point[0])
        axes.text(x, max(y - 8, 12), str(class_index + 1), color="white", fontsize=7, va="bottom",
                  bbox={"facecolor": colour(class_index), "edgecolor": "none", "pad": 1})  # fmt: skip


def _show(axes, image, title):
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, aspect="equal")
    axes.set_title(title.replace("$", r"\$"), fontsize=8, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])


def strips(paths, masks=None, titles=None, shape=(256, 1600)):
    """Strips under each other, with the outlines of their masks.

    Arguments:
        paths: image files; masks: nested list (N x C) of run-length strings, or None; titles: one a strip, or None.
    """
    figure, all_axes = plt.subplots(max(1, len(paths)), 1, figsize=(11, 2.05 * max(1, len(paths))), squeeze=False, layout="constrained")
    for number, (axes, path) in enumerate(zip(all_axes[:, 0], paths, strict=False)):
        _show(axes, read_image(path), titles[number] if titles else Path(path).name)
        for class_index, text in enumerate(masks[number] if masks else ()):
            if text:
                _outline(axes, rle.decode(text, shape), class_index)
    if not paths:
        _nothing(all_axes[0, 0])
    return figure


def truth_and_prediction(paths, truth, predicted, titles, shape=(256, 1600)):
    """Strips in pairs: above with the true outlines, below with the predicted ones."""
    count = max(1, len(paths))
    figure, axes = plt.subplots(2 * count, 1, figsize=(11, 4.0 * count), squeeze=False, layout="constrained")
    for number, path in enumerate(paths):
        image = read_image(path)
        for row, (name, masks) in enumerate((("truth", truth[number]), ("prediction", predicted[number]))):
            _show(axes[2 * number + row, 0], image, f"{name}: {titles[number]}")
            for class_index, text in enumerate(masks):
                if text:
                    _outline(axes[2 * number + row, 0], rle.decode(text, shape), class_index)
    if not paths:
        _nothing(axes[0, 0])
    return figure


def batch(images, masks=None, titles=None, class_index=0):
    """Images of a batch (B, h, w, 1) as a network sees them, with the outlines of masks (B, h, w, 1)."""
    count = len(images)
    wide = images.shape[2] > 3 * images.shape[1]
    columns = 1 if wide else min(4, count)
    rows = -(-count // columns)
    height = 11 / columns * images.shape[1] / images.shape[2] + 0.3
    figure, axes = plt.subplots(rows, columns, figsize=(11, rows * height), squeeze=False, layout="constrained")
    for number, panel in enumerate(axes.ravel()):
        panel.set_axis_off()
        if number < count:
            _show(panel, images[number, ..., 0], titles[number] if titles else "")
            if masks is not None:
                _outline(panel, (masks[number, ..., 0] > 0.5).astype(np.uint8), class_index)
    return figure


def _nothing(axes):
    axes.set_axis_off()
    axes.text(0.5, 0.5, "nothing to show", ha="center", va="center", color=GREY)


def heat_maps(maps, titles, shape=(256, 1600)):
    """Where defects lie: maps (C, h, w), the share of an image's masks that cover a place; shape: of the images, in pixels."""
    figure, axes = plt.subplots(len(maps), 1, figsize=(11, 1.9 * len(maps)), squeeze=False, layout="constrained")
    for panel, values, title in zip(axes[:, 0], maps, titles, strict=True):
        shown = panel.imshow(values, cmap="viridis", vmin=0, extent=(0, shape[1], shape[0], 0), aspect="equal")
        panel.set_title(title, fontsize=9, loc="left")
        figure.colorbar(shown, ax=panel, pad=0.01)
    return figure


def class_pairs(rows, column, predicted, score, places, shape=(256, 1600)):
    """Truth above prediction for one class, on the strips at `places` of `rows`.

    Arguments:
        rows: table with image_id, path and the run-length strings in `column` (rle_K); predicted: run-length strings of class K;
            score: Dice of each strip, for the titles.
    """
    before = [""] * (int(column.split("_")[1]) - 1)  # the classes before this one are not shown
    titles = [f"{rows['image_id'].iloc[place]}  Dice {score[place]:.2f}" for place in places]
    truth, drawn = ([[*before, masks[place]] for place in places] for masks in (list(rows[column]), predicted))
    return truth_and_prediction([rows["path"].iloc[place] for place in places], truth, drawn, titles, shape)
