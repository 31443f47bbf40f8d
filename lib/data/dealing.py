"""Images dealt into parts: at random, or evenly by kind with near-duplicates together."""

from collections.abc import Sequence

import numpy as np


def random_parts(count: int, held_out: float, validation: float, seed: int) -> np.ndarray:
    """Part numbers (N,) at random: two calls of train_test_split, first for the held-out images."""
    from sklearn.model_selection import train_test_split  # a second to import, needed here alone

    part, rest = np.zeros(count, int), np.arange(count)
    for index, share in ((2, held_out), (1, validation)):
        size = max(round(share * count), 1)
        if share > 0 and len(rest) > size:
            rest, taken = train_test_split(rest, test_size=size, random_state=seed)
            part[taken] = index
    return part


def spread(kind: np.ndarray, group: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """Deal groups into parts so that each part gets its share of every kind of image.

    Arguments:
        kind, group: int (N,); a group counts as its rarest kind's, alike kinds have neighbouring numbers.
        shares: of the parts, sum 1.

    Returns int (N,) part numbers. Each group goes to the part that lacks most; what a kind leaves over or
    short is carried to the next kind, so that rare kinds don't all land in the largest part.
    """
    wanted = np.asarray(shares, float)
    sizes = np.bincount(group)
    kind_of = np.full(group.max(initial=-1) + 1, -1)
    np.maximum.at(kind_of, group, kind)
    lacking = np.zeros(len(wanted))
    owner = np.zeros(len(sizes), int)
    rng = np.random.default_rng(seed)
    for rarest in np.unique(kind_of)[::-1]:
        members = rng.permutation(np.flatnonzero(kind_of == rarest))
        lacking += wanted * sizes[members].sum()
        for member in members:
            owner[member] = np.argmax(np.where(wanted > 0, lacking, -np.inf))
            lacking[owner[member]] -= sizes[member]
    for empty in np.flatnonzero((wanted > 0) & (np.bincount(owner, minlength=len(wanted)) == 0)):
        counts = np.bincount(owner, minlength=len(wanted))
        if counts.max(initial=0) > 1:
            owner[np.flatnonzero(owner == counts.argmax())[0]] = empty
    return owner[group]
