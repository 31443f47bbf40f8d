"""Batches of crops that one network learns the masks of all classes from."""

import numpy as np

from lib.data import generators


class CropBatches(generators.SegmentationBatches):
    """Batches of (images (B, h, w, 1) uint8, masks (B, h, w, C) uint8 0/1) of all classes: crops that one
    network learns from.

    Arguments:
        crops: of an epoch, for each strip, where they are shuffled; else each strip once. Six of ten lie
            about a defect, whose class is drawn by the cube root of how many strips have it, three on
            strips without any defect, one anywhere.

    The others as for `SegmentationBatches`, but rles: (N, C); "blackout" paints all defects of a crop over.
    """

    def __init__(self, *arguments, crops: int = 1, **options) -> None:
        self.crops = crops
        super().__init__(*arguments, **options)

    def strips_and_classes(self, entries):
        return np.divmod(entries, self.positive.shape[1] + 1)

    def draw_order(self, rng):
        """Numbers that stand for a strip and what its crop lies about: strip * (C + 1), + 1.. for a defect
        class."""
        classes = self.positive.shape[1]
        if not self.shuffle:
            return generators.Batches.draw_order(self, rng) * (classes + 1)
        counts, clean = self.positive.sum(axis=0), np.flatnonzero(~self.positive.any(axis=1))
        entries = []
        for kind in rng.random(self.crops * self.count):
            if kind < 0.6 and counts.any():
                class_index = rng.choice(classes, p=np.cbrt(counts) / np.cbrt(counts).sum())
                index = rng.choice(np.flatnonzero(self.positive[:, class_index]))
                entries.append(index * (classes + 1) + class_index + 1)
            elif kind < 0.9 and len(clean):
                entries.append(rng.choice(clean) * (classes + 1))
            else:
                entries.append(rng.integers(self.count) * (classes + 1))
        return np.array(entries)
