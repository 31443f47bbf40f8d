"""Labels in XML: CVAT for images, with all images in one file, and Pascal VOC, with boxes, a file an image.

Sources: https://docs.cvat.ai/docs/manual/advanced/xml_format/ and the devkit of
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lib.data import rle
from lib.data.labels import brush, fields, filling
from lib.data.labels.record import LabelledImage, LabelSet, ShapeOf
from lib.errors import UserError

Element = ElementTree.Element


def parse(path: Path, root: str) -> Element:
    """The root of an XML file, called as it should be. UserError where it is no XML, or has a document type,
    which no labelling tool writes and which may unfold without end."""
    text = fields.file_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(f"{path} has a document type. Take the line with <!DOCTYPE out.")
    try:
        element = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path} is not valid XML ({error}). Export the labels again.") from None
    if element.tag != root:
        raise UserError(
            f"{path} begins with <{element.tag[:40]}>, not <{root}>. Name the file with the labels."
        )
    return element


def attribute(element: Element, name: str, where: str) -> str:
    """An attribute that must be there and say something."""
    return fields.text(dict(element.attrib), name, where)


def cvat(path: Path, shape_of: ShapeOf) -> LabelSet:
    """The labels of CVAT for images: polygons, boxes, ellipses and masks. UserError where the file is not as
    the format has it, or has shapes without an area."""
    root = parse(path, "annotations")
    if root.find("track") is not None:
        raise UserError(f"{path} is of CVAT for video. Export it as CVAT for images.")
    labels = LabelSet("cvat")
    for element in root.iterfind("meta//label"):
        name = (element.findtext("name") or "").strip()
        labels.class_ids |= {name: None} if name else {}
    for index, element in enumerate(root.iterfind("image"), 1):
        where = f"{path}: image {index}"
        name = attribute(element, "name", where)
        shape = fields.shape(element.get("height"), element.get("width"), where)
        image = LabelledImage(name, shape, image_id=element.get("id"))
        for count, shape_element in enumerate(element, 1):
            here = f"{where}, shape {count}"
            if shape_element.tag == "tag":
                labels.notes.add("tags of whole images are left out", here)
                continue
            label = attribute(shape_element, "label", here)
            labels.class_ids.setdefault(label)
            image.regions.append((label, rle.encode(cvat_region(shape_element, shape, here))))
        labels.images.append(image)
    return labels


def cvat_region(shape_element: Element, shape: tuple[int, int], where: str) -> np.ndarray:
    """The mask of one of CVAT's shapes, uint8 (H, W)."""
    turn = fields.decimal(shape_element.get("rotation", 0), "rotation", where)

    def value(name: str) -> float:
        return fields.decimal(attribute(shape_element, name, where), name, where)

    if shape_element.tag == "polygon":
        pairs = [pair.split(",") for pair in attribute(shape_element, "points", where).split(";")]
        return filling.fill([fields.points(pairs, where)], shape)
    if shape_element.tag == "box":
        ring = filling.rectangle(value("xtl"), value("ytl"), value("xbr"), value("ybr"))
        return filling.fill([filling.turned(ring, turn, ring.mean(axis=0).tolist())], shape)
    if shape_element.tag == "ellipse":
        return filling.ellipse((value("cx"), value("cy")), (value("rx"), value("ry")), turn, shape)
    if shape_element.tag != "mask":
        raise UserError(
            f"{where} is a {shape_element.tag[:40]}, which has no area. Draw it as a polygon or a mask, or take it out."
        )
    left, top, width, height = (
        fields.whole(shape_element.get(name), name, where) for name in ("left", "top", "width", "height")
    )
    lengths = [fields.whole(part, "rle", where) for part in attribute(shape_element, "rle", where).split(",")]
    if sum(lengths) != width * height or left + width > shape[1] or top + height > shape[0]:
        raise UserError(
            f"{where}: its mask of {sum(lengths)} pixels is no box of {height} x {width} in the image of {shape[0]} x {shape[1]}. "
            "Export the labels again."
        )
    mask = np.zeros(shape, np.uint8)
    mask[top : top + height, left : left + width] = brush.runs_of_rows(lengths, (height, width))
    return mask


def voc(files: Sequence[Path], shape_of: ShapeOf) -> LabelSet:
    """The boxes of Pascal VOC, filled: from the first to the last of its columns and rows, which count from
    1. UserError where a file is not as the format has it."""
    labels = LabelSet("voc")
    for path in files:
        root = parse(path, "annotation")
        name = (root.findtext("filename") or "").strip() or path.stem
        if shape_of(name) is None and shape_of(path.stem) is not None:
            name = path.stem
        stated = root.find("size")
        shape = shape_of(name) if stated is None else None
        if shape is None:
            shape = fields.shape(root.findtext("size/height"), root.findtext("size/width"), str(path))
        image = LabelledImage(name, shape)
        for index, element in enumerate(root.iterfind("object"), 1):
            where = f"{path}: object {index}"
            label = (element.findtext("name") or "").strip()
            if not label:
                raise fields.wrong(where, "name", fields.MISSING, "a text")
            left, top, right, bottom = (
                fields.decimal(element.findtext(f"bndbox/{side}"), side, where)
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
            if right < left or bottom < top:
                raise UserError(f"{where}: its box ends before it begins. Correct it, or take it out.")
            labels.class_ids[label] = None
            box = filling.rectangle(left - 1, top - 1, right, bottom)
            turn = element.findtext("attributes/attribute[name='rotation']/value") or 0  # as CVAT writes it
            box = filling.turned(box, fields.decimal(turn, "rotation", where), box.mean(axis=0).tolist())
            image.regions.append((label, rle.encode(filling.fill([box], shape))))
            labels.notes.add("labels are boxes alone, which are filled", where)
        labels.images.append(image)
    labels.class_ids = dict.fromkeys(sorted(labels.class_ids))
    return labels
