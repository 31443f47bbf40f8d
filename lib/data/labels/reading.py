"""Labels of any tool: which format a file has, and what it says."""

from collections.abc import Callable
from pathlib import Path

from lib.data.labels import coco
from lib.data.labels.record import LabelSet, ShapeOf

READERS: dict[str, Callable[[Path, ShapeOf], LabelSet]] = {"coco": coco.read}
FORMATS = tuple(READERS)


def read(path: Path, shape_of: ShapeOf) -> LabelSet:
    """The labels of a file.

    Arguments:
        shape_of: gives (H, W) of the image file that a name stands for, None where there is none.

    Raises UserError with a sentence where it is not as its format has it.
    """
    return READERS["coco"](path, shape_of)
