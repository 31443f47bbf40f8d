"""Masks as the runs of their columns, with what the probabilities in them were: connected, dropped where they
are small, brought to another size, written as run-lengths. Memory grows with the defects, not with the image."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lib.data import rle
from lib.inference import postprocess

RUN = np.dtype(
    [
        ("column", np.int64),
        ("top", np.int64),  # first row
        ("bottom", np.int64),  # row after the last one
        ("total", np.float64),  # sum of the probabilities
        ("highest", np.float32),
    ]
)


def runs_of(probability: np.ndarray, threshold: float, column: int = 0) -> np.ndarray:
    """The runs of a map's columns that reach a threshold, from left to right and from top to bottom.

    Arguments:
        probability: (H, W) float32, of which the first column is called `column`.

    Returns (n,) of RUN.
    """
    inside = postprocess.reaches(probability, threshold)
    columns = np.flatnonzero(inside.any(axis=0))
    if not len(columns):
        return np.zeros(0, RUN)
    height = len(probability)
    # a row of 0s above each column keeps the columns' runs apart; one more at the end, for the last run's end
    values = np.zeros((len(columns) * (height + 1)) + 1, np.float32)
    marks = np.zeros(values.shape, np.uint8)
    values[:-1].reshape(-1, height + 1)[:, 1:] = probability[:, columns].T
    marks[:-1].reshape(-1, height + 1)[:, 1:] = inside[:, columns].T
    edges = np.flatnonzero(marks[1:] != marks[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    runs = np.zeros(len(starts), RUN)
    runs["column"] = column + columns[starts // (height + 1)]
    runs["top"] = starts % (height + 1) - 1
    runs["bottom"] = runs["top"] + ends - starts
    runs["total"] = np.add.reduceat(values, edges, dtype=np.float64)[::2]
    runs["highest"] = np.maximum.reduceat(values, edges)[::2]
    return runs


def connect(runs: np.ndarray) -> np.ndarray:
    """Which piece (8 neighbours) each run belongs to, int (n,): pieces are counted from 0 in the order of
    their first runs.

    Arguments:
        runs: (n,) of RUN in order, as from `runs_of`.
    """
    if not len(runs):
        return np.zeros(0, np.int64)
    # Positions of which a column's are more than all of the columns before; of a column, both are in order.
    step = int(runs["bottom"].max()) + 2
    tops, bottoms = (runs["column"] * step + runs[edge] for edge in ("top", "bottom"))
    # Those that touch a run in the next column, corners included, lie side by side.
    first = np.searchsorted(bottoms, tops + step, side="left")
    last = np.searchsorted(tops, bottoms + step, side="right")
    counts = np.maximum(last - first, 0)
    own = np.repeat(np.arange(len(runs)), counts)
    neighbour = np.arange(len(own)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    graph = coo_array((np.ones(len(own), np.int8), (own, neighbour)), shape=(len(runs), len(runs)))
    labels = connected_components(graph, directed=False)[1]
    _, first_runs, labels = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_runs))[labels]


def areas(runs: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Pixels of each piece, int64 (number of pieces,)."""
    lengths = runs["bottom"] - runs["top"]
    return np.bincount(pieces, weights=lengths).astype(np.int64)


def drop_small(
    runs: np.ndarray, smallest_component: int, minimum_area: int, windows: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """The runs of the pieces that stay, in their order, and which piece each belongs to, int (n,).

    A piece of fewer than `smallest_component` pixels goes. The area of a window is that of all the others
    that touch it, each in full; a piece stays where a window that it touches has `minimum_area` pixels or
    more. With one window this is what `postprocess.predict_mask` does to a strip.

    Arguments:
        windows: (first column, column after the last one) of each; together they cover the strip.
    """
    pieces = connect(runs)
    sizes = areas(runs, pieces)
    lefts, rights = np.full(len(sizes), np.iinfo(np.int64).max), np.zeros(len(sizes), np.int64)
    np.minimum.at(lefts, pieces, runs["column"])
    np.maximum.at(rights, pieces, runs["column"] + 1)
    large = sizes >= smallest_component
    stays = np.zeros(len(sizes), bool)
    for begin, end in windows:
        touches = large & (lefts < end) & (rights > begin)
        if sizes[touches].sum() >= minimum_area:
            stays |= touches
    staying = stays[pieces]
    return runs[staying], pieces[staying]


def resize(runs: np.ndarray, size: tuple[int, int], new: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The runs of a mask at another size: a pixel is set where the one was at whose place its middle lies.

    Arguments:
        size, new: (height, width) before and after.

    Returns the new runs in order, which carry the probabilities of those that they come from, and the index
    of that one for each, int64.
    """
    if size == new:
        return runs, np.arange(len(runs))
    tops, bottoms = (_first_inside(runs[edge], size[0], new[0]) for edge in ("top", "bottom"))
    lefts, rights = (_first_inside(runs["column"] + side, size[1], new[1]) for side in (0, 1))
    counts = np.where(bottoms > tops, rights - lefts, 0)
    origin = np.repeat(np.arange(len(runs)), counts)
    columns = np.arange(len(origin)) + np.repeat(lefts - (np.cumsum(counts) - counts), counts)
    resized = runs[origin]
    resized["column"], resized["top"], resized["bottom"] = columns, tops[origin], bottoms[origin]
    order = np.lexsort((resized["top"], columns))
    return resized[order], origin[order]


def _first_inside(edge: np.ndarray, before: int, after: int) -> np.ndarray:
    """Of `after` pixels in place of `before`, the first whose middle lies at or behind an edge, int64."""
    return -(-(2 * edge * after - before) // (2 * before))


def encode(runs: np.ndarray, height: int) -> str:
    """The run-length string of runs in order; "" for none."""
    starts = runs["column"] * height + runs["top"]
    ends = runs["column"] * height + runs["bottom"]
    apart = np.concatenate([[True], starts[1:] != ends[:-1]]) if len(runs) else np.zeros(0, bool)
    starts = starts[apart]
    ends = ends[np.concatenate([apart[1:], [True]])] if len(runs) else ends
    return rle.from_runs(np.column_stack([starts + 1, ends - starts]))
