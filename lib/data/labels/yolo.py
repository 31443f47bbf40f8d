"""YOLO: a text file an image, a line a polygon, or a box, in shares of the image's width and height.

Source: https://docs.ultralytics.com/datasets/segment/.
"""

from pathlib import Path

import numpy as np
import yaml

from lib.data import rle
from lib.data.labels import fields, filling
from lib.data.labels.record import LabelledImage, LabelSet, ShapeOf
from lib.errors import UserError

NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")


def name_file(folder: Path) -> Path | None:
    """The file that names the classes of a folder of labels: in it, or in one of the two above."""
    for above in (folder, *list(folder.parents)[:2]):
        for name in NAME_FILES:
            if (above / name).is_file():
                return above / name
    return None


def class_names(path: Path) -> list[str]:
    """The names of the classes, from 0, that data.yaml or classes.txt holds."""
    if path.suffix not in (".yaml", ".yml"):
        names = [line.strip() for line in fields.file_text(path).splitlines()]
        names = names[: len(names) - next((i for i, name in enumerate(reversed(names)) if name), len(names))]
    else:
        try:
            content = yaml.safe_load(fields.file_text(path))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            detail = str(error).splitlines()[0]
            raise UserError(f"{path} is not valid YAML ({detail}). Correct it.") from None
        listed = fields.record(content, str(path)).get("names", fields.MISSING)
        if isinstance(listed, dict) and list(listed) == list(range(len(listed))):
            listed = list(listed.values())
        if not isinstance(listed, list):
            raise fields.wrong(str(path), "names", listed, "a list of the classes' names")
        names = [str(name).strip() for name in listed]
    if not names or "" in names or len(set(names)) < len(names):
        raise UserError(
            f"{path}: a name of a class is missing or there twice. Give each class a name of its own."
        )
    return names


def read(folder: Path, shape_of: ShapeOf) -> LabelSet:
    """The labels of a folder with all in it, or of the folder of a data.yaml. UserError where a line is not
    as the format has it, or where no image has a file's name."""
    named = folder if folder.is_file() else name_file(folder)
    folder = folder.parent if folder.is_file() else folder
    if named is None:
        raise UserError(
            f"{folder} has no data.yaml and no classes.txt. Put one there, with the classes' names."
        )
    names = class_names(named)
    labels = LabelSet("yolo", class_ids={name: index for index, name in enumerate(names)})
    # A data set's folder holds other texts, too: its labels lie in folders of that name.
    files = sorted(path for path in folder.rglob("*.txt") if path.name not in NAME_FILES)
    inside = [path for path in files if "labels" in path.relative_to(folder).parts[:-1]]
    for path in inside or files:
        shape = shape_of(path.stem)
        if shape is None:
            labels.notes.add("files of labels have no image and are left out", str(path))
            continue
        image = LabelledImage(path.stem, shape)
        for index, line in enumerate(fields.file_text(path).splitlines(), 1):
            where = f"{path}: line {index}"
            words = line.split()
            if not words:
                continue
            label = names[fields.whole(words[0], "the class", where, 0, len(names) - 1)]
            numbers = [fields.decimal(word, "a coordinate", where, -1, 2) for word in words[1:]]
            if len(numbers) == 4:
                labels.notes.add("labels are boxes alone, which are filled", where)
                x, y, width, height = numbers
                ring = filling.rectangle(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            else:
                ring = fields.points(numbers, where)
            mask = filling.fill([ring * np.array([shape[1], shape[0]])], shape)
            image.regions.append((label, rle.encode(mask)))
        labels.images.append(image)
    return labels
