"""Label Studio: one JSON with all tasks; polygons, rectangles and ellipses in percent, brush strokes in a code of
their own, bitmasks as PNG.

Source: https://labelstud.io/guide/task_format and the pages of its tags.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data import rle
from lib.data.labels import brush, fields, filling
from lib.data.labels.record import LabelledImage, LabelSet, Notes, ShapeOf
from lib.errors import UserError
from lib.files import read_json

KINDS = ("polygonlabels", "rectanglelabels", "ellipselabels", "brushlabels", "bitmasklabels", "labels")
NO_AREA = ("keypoint", "vector", "keypointlabels", "vectorlabels")


def read(path: Path, shape_of: ShapeOf) -> LabelSet:
    """The labels of an export; of several annotations of one image the last counts. Raises UserError where it
    is not as the format has it."""
    labels = LabelSet("label-studio")
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise fields.wrong(str(path), "this", tasks, "a list of tasks")
    for index, task in enumerate(tasks, 1):
        where = f"{path}: task {index}"
        task = fields.record(task, where)
        if "data" not in task and "annotations" not in task:
            raise UserError(f"{where} has no data and no annotations. Export as JSON, not as JSON-MIN.")
        data = fields.record(task.get("data", fields.MISSING), where, "data")
        annotated = chosen(task, where, labels.notes)
        results = annotated or []
        name = address(data, results, where)
        shape = size(results, where) or shape_of(name)
        if shape is None:
            labels.notes.add("tasks without a label and without an image are left out", where)
            continue
        if annotated is None:
            alone = "predictions that nobody accepted" if task.get("predictions") else "no annotation"
            labels.notes.add(f"tasks have {alone}, and count as free of defects", where)
        task_id = task.get("id")
        image = LabelledImage(name, shape, image_id=task_id if isinstance(task_id, int | str) else None)
        labelled = [result.get("id") for result in results if classes_of(result)]
        for entry in results:
            for label in classes_of(entry):
                labels.class_ids[label] = None
                image.regions.append((label, rle.encode(region(entry, shape, where))))
            if not classes_of(entry) and not (entry.get("id") is not None and entry["id"] in labelled):
                if entry.get("type") in NO_AREA:
                    insist_on_area(entry, where)
                labels.notes.add("results have no class or no area and are left out", where)
        labels.images.append(image)
    labels.class_ids = dict.fromkeys(sorted(labels.class_ids))
    return labels


def chosen(task: dict, where: str, notes: Notes) -> list[dict] | None:
    """The results of a task's last annotation that was not cancelled, None where there is none."""
    name = "annotations" if "annotations" in task else "completions"
    annotations = [
        fields.record(one, where, name) for one in fields.entries(task, name, where, optional=True)
    ]
    valid = [one for one in annotations if not one.get("was_cancelled")]
    if len(valid) > 1:
        notes.add("tasks have several annotations, of which the last is taken", where)
    results = fields.entries(valid[-1], "result", where) if valid else []
    return None if not valid else [fields.record(one, where, "a result") for one in results]


def address(data: dict, results: list[dict], where: str) -> str:
    """The image of a task: what its results are of, else what is called image, else the only text."""
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value}
    names = [results[0].get("to_name"), "image", "img"] if results else ["image", "img"]
    for name in names:
        if isinstance(name, str) and name in texts:
            return texts[name]
    if len(texts) != 1:
        raise fields.wrong(where, "image in its data", data.get("image", fields.MISSING), "a text")
    return next(iter(texts.values()))


def size(results: list[dict], where: str) -> tuple[int, int] | None:
    """(H, W) of the image as the results state it, if they do."""
    for result in results:
        if result.get("image_rotation"):
            raise UserError(
                f"{where}: its image was turned by {str(result['image_rotation'])[:20]} degrees. Turn it back in Label "
                "Studio, or turn the file."
            )
    stated = [result for result in results if "original_height" in result or "original_width" in result]
    shapes = {
        fields.shape(result.get("original_height"), result.get("original_width"), where) for result in stated
    }
    if len(shapes) > 1:
        raise UserError(f"{where}: its results state several sizes of the image. Export it again.")
    return shapes.pop() if shapes else None


def classes_of(entry: dict) -> list[str]:
    """The classes of a result, none where it has none."""
    value = entry.get("value")
    listed = [value[kind] for kind in KINDS if isinstance(value, dict) and kind in value]
    return (
        [name for name in listed[0] if isinstance(name, str)]
        if listed and isinstance(listed[0], list)
        else []
    )


def insist_on_area(entry: dict, where: str) -> None:
    """UserError where a result is of a kind without area."""
    raise UserError(
        f"{where}: a {str(entry.get('type'))[:40]} has no area. Draw it as a polygon or with the brush, or take it out."
    )


def region(entry: dict, shape: tuple[int, int], where: str) -> np.ndarray:
    """The mask of a result, uint8 (H, W)."""
    value = fields.record(entry.get("value"), where, "value")
    scale = np.array([shape[1], shape[0]]) / 100
    if "rle" in value:
        return brush.decode(fields.entries(value, "rle", where), shape, where)
    if "imageDataURL" in value:
        return bitmask(fields.text(value, "imageDataURL", where), shape, where)
    if "points" in value:
        return filling.fill([fields.points(value["points"], where) * scale], shape)

    def percent(name: str) -> float:
        return fields.decimal(value.get(name, fields.MISSING), name, where)

    if "radiusX" in value or "radiusY" in value:
        centre = np.array([percent("x"), percent("y")]) * scale
        radii = np.array([percent("radiusX"), percent("radiusY")]) * scale
        turn = fields.decimal(value.get("rotation") or 0, "rotation", where)
        return filling.ellipse(centre.tolist(), radii.tolist(), turn, shape)
    if "height" not in value:
        insist_on_area(entry, where)
    corner = np.array([percent("x"), percent("y")]) * scale
    sides = np.array([percent("width"), percent("height")]) * scale
    turn = fields.decimal(value.get("rotation") or 0, "rotation", where)
    ring = filling.rectangle(*corner, *(corner + sides))
    return filling.fill([filling.turned(ring, turn, corner)], shape)


def bitmask(address: str, shape: tuple[int, int], where: str) -> np.ndarray:
    """The mask of a bitmask, a PNG of the image's size: what of it is at least half opaque."""
    pixels = fields.picture(address.partition(",")[2], "imageDataURL", where, cv2.IMREAD_UNCHANGED)
    if pixels.shape != (*shape, 4) or pixels.dtype != np.uint8:
        wanted = f"a PNG of {shape[0]} x {shape[1]} pixels with opacity"
        raise fields.wrong(where, "imageDataURL", " x ".join(map(str, pixels.shape)), wanted)
    return (pixels[..., 3] >= brush.OPAQUE).astype(np.uint8)


def task(
    address: str,
    shape: tuple[int, int],
    regions: Sequence[tuple[str, str, float]],
    model: str,
    task_id: int | str | None = None,
) -> dict[str, Any]:
    """A task with brush strokes as its prediction, for a project whose image is called image and whose
    BrushLabels are called tag.

    Arguments:
        address: of the image; shape: (H, W); regions: class, run-length string and probability of each piece.
    """
    results = [
        {
            "id": f"piece{index}",
            "type": "brushlabels",
            "from_name": "tag",
            "to_name": "image",
            "original_width": shape[1],
            "original_height": shape[0],
            "image_rotation": 0,
            "value": {"format": "rle", "rle": brush.encode(text, shape), "brushlabels": [label]},
            "score": round(score, 4),
        }
        for index, (label, text, score) in enumerate(regions, 1)
    ]
    prediction = {
        "model_version": model,
        "score": round(min((score for _, _, score in regions), default=0.0), 4),
        "result": results,
    }
    content: dict[str, Any] = {"data": {"image": address}, "predictions": [prediction]}
    return {"id": task_id, **content} if task_id is not None else content
