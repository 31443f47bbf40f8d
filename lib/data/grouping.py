"""Images that belong together."""

from collections.abc import Sequence

import numpy as np


def joined_groups(groupings: Sequence[np.ndarray]) -> np.ndarray:
    """Groups (N,) in which two images are together if any of several groupings (N,) has them so, directly or
    through others; numbered from 0 in the order of the images."""
    parents = np.arange(len(groupings[0]))
    changed = True
    while changed:
        before = parents.copy()
        for grouping in groupings:
            _, index = np.unique(grouping, return_inverse=True)
            lowest = np.full(index.max(initial=-1) + 1, len(parents))
            np.minimum.at(lowest, index, parents)
            parents = lowest[index]
        changed = not np.array_equal(parents, before)
    return np.unique(parents, return_inverse=True)[1]
