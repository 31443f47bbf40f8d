"""LabelMe: a JSON an image, with polygons, rectangles, circles and masks.

Source: https://github.com/wkentaro/labelme, its label_file.py and utils/shape.py.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data import rle
from lib.data.labels import fields, filling
from lib.data.labels.record import LabelledImage, LabelSet, Notes, ShapeOf
from lib.errors import UserError
from lib.files import read_json

VERSION = "5.5.0"  # which knows masks


def read(files: Sequence[Path], shape_of: ShapeOf) -> LabelSet:
    """The labels of some files; classes by name. Raises UserError where one is not as the format has it."""
    labels = LabelSet("labelme")
    for path in files:
        content = fields.record(read_json(path), str(path))
        name = content.get("imagePath") or path.name
        if not isinstance(name, str):
            raise fields.wrong(str(path), "imagePath", name, "a text")
        if shape_of(name) is None and shape_of(path.stem) is not None:
            name = path.stem
        stated = content.get("imageHeight") is not None or content.get("imageWidth") is not None
        shape = None if stated else shape_of(name)
        shape = shape or fields.shape(content.get("imageHeight"), content.get("imageWidth"), str(path))
        image = LabelledImage(name, shape)
        for index, entry in enumerate(fields.entries(content, "shapes", str(path)), 1):
            where = f"{path}: shape {index}"
            entry = fields.record(entry, where)
            label = fields.text(entry, "label", where)
            labels.class_ids[label] = None
            image.regions.append((label, rle.encode(region(entry, shape, where, labels.notes))))
        labels.images.append(image)
    labels.class_ids = dict.fromkeys(sorted(labels.class_ids))
    return labels


def region(entry: dict, shape: tuple[int, int], where: str, notes: Notes) -> np.ndarray:
    """The mask of a shape, uint8 (H, W)."""
    kind = entry.get("shape_type") or "polygon"
    if kind in ("polygon", "oriented_rectangle", "rotation"):  # the last of tools that took over the format
        return filling.fill([fields.points(entry.get("points"), where)], shape)
    if kind not in ("rectangle", "circle", "mask"):
        raise UserError(
            f"{where} is a {str(kind)[:40]}, which has no area. Draw it as a polygon, or take it out."
        )
    corners = fields.points(entry.get("points"), where, 2)
    if kind == "circle":
        radius = float(np.hypot(*(corners[1] - corners[0])))
        return filling.ellipse(corners[0].tolist(), (radius, radius), 0, shape)
    low, high = corners.min(axis=0), corners.max(axis=0)
    if kind == "rectangle":
        return filling.fill([filling.rectangle(*low, *high)], shape)
    part = fields.picture(fields.text(entry, "mask", where), "mask", where, cv2.IMREAD_GRAYSCALE)
    left, top = (int(value) for value in low)
    height, width = part.shape
    if left < 0 or top < 0 or left + width > shape[1] or top + height > shape[0]:
        raise UserError(
            f"{where}: its mask of {height} x {width} pixels at row {top}, column {left} is outside the image of {shape[0]} x "
            f"{shape[1]}. Save it again in LabelMe."
        )
    mask = np.zeros(shape, np.uint8)
    mask[top : top + height, left : left + width] = part > 0
    return mask


def document(image_path: str, shape: tuple[int, int], regions: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The content of an image's file.

    Arguments:
        image_path: from the file's folder; shape: (H, W); regions: class and run-length string of each piece.
            One without holes becomes a polygon, whose corners are as few as leave its edge within a pixel;
            others become masks, to the pixel.
    """
    shapes = []
    for label, text in regions:
        rings = filling.of_rle(text, shape)
        piece: dict[str, Any] = {"label": label, "group_id": None, "description": "", "flags": {}}
        if len(rings) == 1:
            points = filling.simpler(rings, shape)[0].tolist()
            piece |= {"points": points, "shape_type": "polygon", "mask": None}
        else:
            mask = rle.decode(text, shape)
            x, y, width, height = cv2.boundingRect(mask)
            data = cv2.imencode(".png", mask[y : y + height, x : x + width] * 255)[1].tobytes()
            points = [[float(x), float(y)], [float(x + width - 1), float(y + height - 1)]]
            piece |= {"points": points, "shape_type": "mask", "mask": base64.b64encode(data).decode()}
        shapes.append(piece)
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": shape[0],
        "imageWidth": shape[1],
    }
