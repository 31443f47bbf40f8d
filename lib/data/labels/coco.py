"""The format of COCO, of which labelling tools export their labels and take pre-annotations.

Source: the format of https://cocodataset.org/#format-data, and maskApi.c of pycocotools for `compress`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.data import rle
from lib.data.labels import fields, filling
from lib.data.labels.record import LabelledImage, LabelSet, Notes, ShapeOf
from lib.errors import UserError
from lib.files import read_json


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


def decompress(letters: str, where: str) -> list[int]:
    """The run lengths of which `compress` makes a text; UserError where it is none."""
    lengths: list[int] = []
    value, shift = 0, 0
    for letter in letters:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise fields.wrong(where, "counts", letters, "compressed run-lengths of COCO")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise fields.wrong(where, "counts", letters, "compressed run-lengths of COCO, whole to the end")
    return lengths


def of_counts(lengths: Sequence[int], shape: tuple[int, int], where: str) -> str:
    """The run-length string of `counts`; UserError where they do not make up an image (H, W)."""
    pixels = shape[0] * shape[1]
    if any(length < 0 for length in lengths) or sum(lengths) != pixels:
        raise UserError(
            f"{where}: its run-lengths add up to {sum(lengths)} pixels, and {shape[0]} x {shape[1]} are {pixels}. Export the "
            "labels again."
        )
    ends = np.cumsum(lengths, dtype=np.int64)
    runs = np.column_stack([ends[:-1:2] + 1, lengths[1::2]]).astype(np.int64)
    return rle.union([rle.from_runs(runs[runs[:, 1] > 0])])


def segmentation(text: str, shape: tuple[int, int]) -> dict[str, Any]:
    """The mask of a run-length string as an annotation's segmentation: {"size": [H, W], "counts": str}."""
    return {"size": list(shape), "counts": compress(counts(text, shape))}


def document(
    images: list[dict],
    annotations: list[dict],
    class_names: Sequence[str],
    class_ids: Mapping[int, int | str] | None = None,
) -> dict[str, Any]:
    """The file's content; images and annotations as the format has them, but for the ids of annotations, which
    are given here; categories are the classes, from 1, or with ids of their own."""
    ids = class_ids or {}
    return {
        "images": images,
        "annotations": [{"id": index, **annotation} for index, annotation in enumerate(annotations, 1)],
        "categories": [
            {"id": ids.get(defect_class, defect_class), "name": name, "supercategory": "defect"}
            for defect_class, name in enumerate(class_names, 1)
        ],
    }


def read(path: Path, shape_of: ShapeOf) -> LabelSet:
    """The labels of a COCO file: outlines, run-lengths of both kinds, or boxes alone, which are filled.

    A class is a category; `shape_of` gives the size of images that state none. Raises UserError where the
    file is not as the format has it.
    """
    content = fields.record(read_json(path), str(path))
    labels = LabelSet("coco")
    names: dict[int | str, str] = {}
    for index, entry in enumerate(fields.entries(content, "categories", str(path)), 1):
        where = f"{path}: category {index}"
        entry = fields.record(entry, where)
        name = fields.text(entry, "name", where)
        category = fields.identity(entry, "id", where)
        if category in names:
            raise UserError(f"{where}: the id {category!r} is there twice. Give each category its own.")
        if name in labels.class_ids:  # as of Roboflow, whose first category is called as the project
            labels.notes.add("categories have the name of another and are one class with it", where)
        names[category], labels.class_ids[name] = name, category
    by_id: dict[int | str, LabelledImage] = {}
    for index, entry in enumerate(fields.entries(content, "images", str(path)), 1):
        where = f"{path}: image {index}"
        entry = fields.record(entry, where)
        image_id, name = fields.identity(entry, "id", where), fields.text(entry, "file_name", where)
        if image_id in by_id:
            raise UserError(f"{where}: the id {image_id!r} is there twice. Give each image its own.")
        sides = entry.get("height"), entry.get("width")
        shape = (shape_of(name) if sides == (None, None) else None) or fields.shape(*sides, where)
        by_id[image_id] = LabelledImage(name, shape, image_id=image_id)
    for index, entry in enumerate(fields.entries(content, "annotations", str(path)), 1):
        where = f"{path}: annotation {index}"
        entry = fields.record(entry, where)
        image = by_id.get(fields.identity(entry, "image_id", where))
        category = fields.identity(entry, "category_id", where)
        if image is None or category not in names:
            what = "image" if image is None else "category"
            raise UserError(
                f"{where}: there is no {what} with the id {entry[f'{what}_id']!r}. Export the labels again."
            )
        image.regions.append((names[category], region(entry, image.shape, where, labels.notes)))
    labels.images = list(by_id.values())
    return labels


def region(entry: dict, shape: tuple[int, int], where: str, notes: Notes) -> str:
    """The run-length string of an annotation; what is particular about it is added to `notes`."""
    outline = entry.get("segmentation")
    if isinstance(outline, dict):
        size = fields.entries(outline, "size", where)
        if size != list(shape):
            raise fields.wrong(where, "size of its run-lengths", size, f"that of the image, {list(shape)}")
        lengths = outline.get("counts")
        if isinstance(lengths, str):
            return of_counts(decompress(lengths, where), shape, where)
        values = fields.entries(outline, "counts", where)
        return of_counts([fields.whole(value, "counts", where) for value in values], shape, where)
    if outline is None or outline == []:
        corners = fields.points(entry.get("bbox"), where, 2)
        (left, top), (width, height) = corners[0], corners[1]
        notes.add("labels are boxes alone, which are filled", where)
        ring = filling.rectangle(left, top, left + width, top + height)
        attributes = entry.get("attributes")  # of CVAT, whose turned boxes are there as they were before
        turn = attributes.get("rotation", 0) if isinstance(attributes, dict) else 0
        turn = fields.decimal(turn, "rotation", where)
        return rle.encode(filling.fill([filling.turned(ring, turn, ring.mean(axis=0).tolist())], shape))
    if not isinstance(outline, list):
        raise fields.wrong(where, "segmentation", outline, "a list of outlines or run-lengths")
    rings = [fields.points(ring, where) for ring in (outline if isinstance(outline[0], list) else [outline])]
    mask, holes = filling.fill_nested(rings, shape)
    if holes:
        notes.add("labels have an outline within another, which is taken as a hole", where)
    return rle.encode(mask)
