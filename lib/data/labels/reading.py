"""Labels of any tool: which format a file or a folder has, and what it says."""

from pathlib import Path

from lib.data.images import is_image_name
from lib.data.labels import coco, fields, label_studio, labelme, xml_files, yolo
from lib.data.labels.record import LabelSet, ShapeOf
from lib.errors import UserError
from lib.files import read_json

FORMATS = ("coco", "labelme", "cvat", "label-studio", "voc", "yolo")
ENDINGS = {"coco": ".json", "labelme": ".json", "label-studio": ".json", "cvat": ".xml", "voc": ".xml"}
NO_LABELS = (
    "{path} holds no labels that are known: COCO, LabelMe, CVAT for images, Label Studio, Pascal VOC or YOLO. Name "
    "their file or folder."
)


def files_in(path: Path, ending: str) -> list[Path]:
    """The files of labels that are meant: the one, or all with this ending in a folder and those below."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.rglob(f"*{ending}") if not one.name.startswith("."))


def is_of_tool(path: Path) -> bool:
    """Whether a truth is the file of a labelling tool, or a folder with such: beside no image, which may be a mask, or
    each named as an image beside it, as LabelMe writes them, where that can be read."""
    if not path.is_dir():
        return path.suffix.lower() in ENDINGS.values()
    inside = [one for one in path.rglob("*") if one.is_file() and not one.name.startswith(".")]
    labels = {one.with_suffix("") for one in inside if one.suffix.lower() in ENDINGS.values()}
    images = {one.with_suffix("") for one in inside if is_image_name(one.name)}
    if not images or not labels <= images:
        return bool(labels) and not images
    try:
        return detect(path) in ("labelme", "voc")
    except UserError:  # what else is noted of masks
        return False


def detect(path: Path) -> str:
    """The format of a file, or of the first file in a folder, one of FORMATS. UserError where it is none."""
    if not path.exists():
        raise UserError(f"{path} does not exist. Name the file or the folder with the labels.")
    if path.is_file():
        return of_file(path)
    if any(path.rglob("*.txt")) and yolo.name_file(path):
        return "yolo"
    for ending in (".json", ".xml"):
        if files := files_in(path, ending):
            return of_file(files[0])
    if any(path.rglob("*.txt")):
        return "yolo"
    raise UserError(NO_LABELS.format(path=path))


def of_file(path: Path) -> str:
    """The format of one file."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = read_json(path)
        if isinstance(content, list):
            return "label-studio"
        if isinstance(content, dict) and ("shapes" in content or "imagePath" in content):
            return "labelme"
        if isinstance(content, dict) and {"images", "annotations", "categories"} & set(content):
            return "coco"
    elif suffix == ".xml":
        beginning = fields.file_text(path)
        return "cvat" if "<annotations" in beginning else "voc"
    elif suffix in (".yaml", ".yml"):
        return "yolo"
    elif suffix == ".zip":
        raise UserError(f"{path} is an archive. Unpack it, and name the file or the folder with the labels.")
    raise UserError(NO_LABELS.format(path=path))


def read(path: Path, shape_of: ShapeOf, format: str = "") -> LabelSet:
    """The labels of a file, or of a folder of files.

    Arguments:
        shape_of: gives (H, W) of the image file that a name stands for, None where there is none; format: one
            of FORMATS, or "" for what `detect` says.

    Raises UserError with a sentence where it is not as its format has it.
    """
    format = format or detect(path)
    if not path.exists():
        raise UserError(f"{path} does not exist. Name the file or the folder with the labels.")
    if format == "yolo":
        return yolo.read(path, shape_of)
    files = files_in(path, ENDINGS[format])
    if not files:
        raise UserError(
            f"{path} holds no file that ends in {ENDINGS[format]}. Name the folder with the labels."
        )
    if format == "labelme":
        return labelme.read(files, shape_of)
    if format == "voc":
        return xml_files.voc(files, shape_of)
    if len(files) > 1:
        raise UserError(
            f"{path} holds {files[0].name} and {files[1].name}, and {format} has all images in one file. Name that file."
        )
    one = {"coco": coco.read, "cvat": xml_files.cvat, "label-studio": label_studio.read}
    return one[format](files[0], shape_of)
