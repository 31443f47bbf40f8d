"""Results in the format of COCO, as labelling tools take them for pre-annotations: masks as its compressed
run-lengths.

Source: the format of https://cocodataset.org/#format-data, and maskApi.c of pycocotools for `compress`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.data import rle


def counts(text: str, shape: tuple[int, int]) -> list[int]:
    """The lengths of the runs of 0 and 1 in turn, the first of 0, column by column, that a run-length string
    of this project stands for.

    Arguments:
        text: valid, "" for an empty mask; shape: (H, W).
    """
    pairs = rle.runs(text)
    edges = np.concatenate([[0], np.column_stack([pairs[:, 0] - 1, pairs.sum(axis=1) - 1]).ravel()])
    lengths = np.diff(np.append(edges, shape[0] * shape[1])).tolist()
    return lengths if lengths[-1] or len(lengths) == 1 else lengths[:-1]


def compress(lengths: Sequence[int]) -> str:
    """The run lengths of `counts` as the text that pycocotools' rleToString makes of them: differences to the
    length before the last, five bits a letter, the lowest first, a sixth bit where more follow."""
    letters = []
    for index, length in enumerate(lengths):
        rest = length - (lengths[index - 2] if index > 2 else 0)
        more = True
        while more:
            bits = rest & 0x1F
            rest >>= 5
            more = rest != (-1 if bits & 0x10 else 0)
            letters.append(chr((bits | 0x20 if more else bits) + 48))
    return "".join(letters)


def segmentation(text: str, shape: tuple[int, int]) -> dict[str, Any]:
    """The mask of a run-length string as an annotation's segmentation: {"size": [H, W], "counts": str}."""
    return {"size": list(shape), "counts": compress(counts(text, shape))}


def document(images: list[dict], annotations: list[dict], class_names: Sequence[str]) -> dict[str, Any]:
    """The file's content; images and annotations as the format has them, but for the ids of annotations, which
    are given here; categories are the classes, from 1."""
    return {
        "images": images,
        "annotations": [{"id": index, **annotation} for index, annotation in enumerate(annotations, 1)],
        "categories": [
            {"id": defect_class, "name": name, "supercategory": "defect"}
            for defect_class, name in enumerate(class_names, 1)
        ],
    }
