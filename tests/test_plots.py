"""Figures with letters that no font has."""

import warnings

import matplotlib.pyplot as plt
import pytest
from matplotlib import font_manager

from lib import plots
from lib.report import charts


@pytest.mark.parametrize("words, drawn", [
    ("1 scratches", "1 scratches"), ("1 \u88c2\u7eb9", "1 …"), ("\u88c2-\u7eb9.png", "…-….png"), ("ü ж α − ≥ \n", "ü ж α − ≥ \n"), ("", ""),
    ("\U0001f984]^\u0e01-", "…]^…-"),
])  # fmt: skip
def test_letters_that_no_font_has(monkeypatch, words, drawn):
    own = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    monkeypatch.setattr(plots, "LETTERS", {chr(code) for code in own} | {"\n"})
    assert plots.drawable(words) == drawn


def test_a_figure_with_any_names_has_no_squares():
    names = ["1 \u88c2\u7eb9", "2 \u5939\u6742", "3 \u0e01\u0e32\u0e23", "4 \U0001f984", "5 \u10ff"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph")
        for figure in (
            charts.bars(names, [1, 2, 3, 4, 5]),
            charts.score_bars(names, [0.1, 0.2, 0.3, 0.4, 0.5]),
            charts.lost_points({names[0]: [0.1] * 5}, names),
            charts.areas({0: [3, 4]}, names),
        ):
            figure.axes[0].set_title(names[0])
            figure.canvas.draw()
            plt.close(figure)
