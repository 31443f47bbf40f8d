"""A prediction as the files of labelling tools, which take them as pre-annotations; with the names and ids that
the tool has for images and classes, where its labels were imported."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lib import files
from lib.data import class_names
from lib.data.labels import coco, fields, label_studio, labelme
from lib.data.labels.record import ImageNames
from lib.errors import UserError
from lib.inference.output_folder import OutputFolder
from lib.inference.results import ImageResult

FORMATS: dict[str, tuple[str, ...]] = {  # besides coco.json, which is always there
    "coco": (),
    "labelme": ("labelme/",),
    "label-studio": ("label-studio.json", "label-studio.xml"),
}


@dataclass
class Identities:
    """What a tool calls things; its own where it has none for one.

    class_names: one each; class_ids: {defect class: id}; images: {predicted image: (its name, its id)}.
    """

    class_names: list[str]
    class_ids: dict[int, int | str] = field(default_factory=dict)
    images: dict[str, tuple[str, int | str | None]] = field(default_factory=dict)


def identities_of(path: Path | None, titles: Sequence[str], names: Sequence[str]) -> Identities:
    """The names and ids that a data folder's labels.json has for the images `names` and the classes; None: there
    is none. UserError where it is no such file, or knows another class."""
    shown = class_names.without_numbers(titles)
    identities = Identities(list(shown))
    if path is None:
        return identities
    where = str(path)
    content = fields.record(files.read_json(path), where)
    for index, entry in enumerate(fields.entries(content, "classes", where), 1):
        here = f"{where}: class {index}"
        name = fields.text(fields.record(entry, here), "name", here)
        stated = entry.get("class"), class_names.plain(name)
        # Else the file has another order, or no numbers.
        is_known = isinstance(stated[0], int) and stated in enumerate(shown, 1)
        defect_class = stated[0] if is_known else class_names.class_called(name, titles)
        if not defect_class:
            raise UserError(
                f"{path} has a class {name[:80]!r}, and the run's are {', '.join(shown)}. Name the labels.json of its data."
            )
        identities.class_names[defect_class - 1] = name
        if entry.get("id") is not None:
            identities.class_ids[defect_class] = fields.identity(entry, "id", here)
    known = ImageNames(names, where)
    for index, entry in enumerate(fields.entries(content, "images", where), 1):
        here = f"{where}: image {index}"
        name = fields.text(fields.record(entry, here), "name", here)
        if file := known.find(name):
            has_id = entry.get("id") is not None
            identities.images[file] = name, fields.identity(entry, "id", here) if has_id else None
    return identities


def ids_of(names: Sequence[str], identities: Identities) -> list[int | str]:
    """An id for each image: the tool's, or the next numbers above all of these."""
    stated = [identities.images.get(name, ("", None))[1] for name in names]
    following = max((one for one in stated if isinstance(one, int)), default=0) + 1
    ids: list[int | str] = []
    for one in stated:
        ids.append(following if one is None else one)
        following += one is None
    return ids


def write(
    folder: OutputFolder, format: str, results: Sequence[ImageResult], identities: Identities, model: str
) -> None:
    """Write coco.json and what else a tool takes into the hidden folder; `format`: one of FORMATS; `model`: name
    of the run."""
    where = folder.folder
    where.mkdir(parents=True, exist_ok=True)
    for name in (name for several in FORMATS.values() for name in several):  # of an earlier beginning
        if name.endswith("/"):
            shutil.rmtree(where / name, ignore_errors=True)
        else:
            (where / name).unlink(missing_ok=True)
    read = [result for result in results if not result.problem]
    files.write_atomic(where / "coco.json", coco_json(read, identities))
    if format == "labelme":
        paths = {one.name: one.path for one in folder.image_files}
        for result in read:
            target = Path("labelme") / f"{folder.names[result.name]}.json"
            pieces = [(identities.class_names[piece["class"] - 1], piece["rle"]) for piece in result.pieces]
            address = relative(
                paths[result.name],
                folder.out if isinstance(folder.out, str) else (folder.out / target).parent,
            )
            content = labelme.document(address, (result.shape[0], result.shape[1]), pieces)
            files.write_json(where / target, content)
    if format == "label-studio":
        files.write_json(where / "label-studio.json", [task(result, identities, model) for result in read])
        files.write_atomic(where / "label-studio.xml", interface(identities.class_names))


def coco_json(results: Sequence[ImageResult], identities: Identities) -> str:
    """coco.json: the images, and an annotation a piece, with its mean probability as score."""
    entries, annotations = [], []
    for image_id, result in zip(ids_of([one.name for one in results], identities), results, strict=True):
        height, width = result.shape
        name = identities.images.get(result.name, (result.name, None))[0]
        entries.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for piece in result.pieces:
            annotations.append(
                {
                    "image_id": image_id,
                    "category_id": identities.class_ids.get(piece["class"], piece["class"]),
                    "segmentation": coco.segmentation(piece["rle"], (height, width)),
                    "area": piece["area"],
                    "bbox": [piece[name] for name in ("left", "top", "width", "height")],
                    "iscrowd": 0,
                    "score": round(piece["mean_probability"], 4),
                }
            )
    content = coco.document(entries, annotations, identities.class_names, identities.class_ids)
    return json.dumps(content, indent=1) + "\n"


def relative(path: Path | str, folder: Path | str) -> str:
    """A file's path from a folder, with /; its full path from another drive; an address as it is."""
    if isinstance(path, str) or isinstance(folder, str):
        return str(path)
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()


def task(result: ImageResult, identities: Identities, model: str) -> dict[str, Any]:
    """An image as a task of Label Studio; one that it does not know lies in its local storage."""
    name, task_id = identities.images.get(result.name, (f"/data/local-files/?d={quote(result.name)}", None))
    pieces = [
        (identities.class_names[piece["class"] - 1], piece["rle"], piece["mean_probability"])
        for piece in result.pieces
    ]
    return label_studio.task(name, (result.shape[0], result.shape[1]), pieces, model, task_id)


def interface(class_names: Sequence[str]) -> str:
    """The labelling interface that the tasks need, for the settings of a project."""
    labels = "\n".join(f'    <Label value="{escape(name)}"/>' for name in class_names)
    return (
        f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n  <BrushLabels name="tag" toName="image">\n{labels}\n'
        "  </BrushLabels>\n</View>\n"
    )
