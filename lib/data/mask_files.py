"""Mask files of other steel: read as numbers or as classes, and held against what they are said to be."""

import unicodedata
import warnings
from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lib.data import decoding, images
from lib.errors import UserError

MOST = 100  # classes; a black-and-white mask has the value 255
OUTLINES = {
    ".json",
    ".xml",
    ".txt",
    ".csv",
    ".yaml",
    ".yml",
}  # what labelling tools write polygons and boxes into


def read_mask(path: str | Path, in_colours: bool = False) -> np.ndarray:
    """A mask file's values, (H, W) of whole numbers; a palette's numbers, not its colours. UserError that
    names the file.

    `in_colours`: 256 * (256 * red + green) + blue instead; what is transparent is 0.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as opened:
            if opened.width * opened.height > decoding.MOST_PIXELS:
                raise UserError(
                    f"The mask {path} has {opened.height} x {opened.width} pixels, more than {decoding.MOST_PIXELS:,} in all. "
                    "Cut it and its image into strips."
                )
            count = getattr(opened, "n_frames", 1)
            if count > 1:
                raise UserError(f"The mask {path} holds {count} pictures. Save each as a file of its own.")
            values = np.asarray(opened.convert("L") if opened.mode == "1" else opened)
            if in_colours:
                parts = np.asarray(opened.convert("RGBA")).astype(np.int32)
                values = (parts[..., :3] @ np.array([65536, 256, 1])) * (parts[..., 3] > 0)
            if opened.format in ("JPEG", "MPO"):
                # Where there is a hole in it, Pillow fills it without a word.
                decoding.decode_image(decoding.read_bytes(path), path)
            if opened.format == "TIFF":
                decoding.insist_on_whole_tiff(decoding.read_bytes(path), path)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(
            f"The mask {path} cannot be read ({str(error).splitlines()[0]}). Replace it by the original file."
        ) from None
    if values.ndim == 3 and (values[..., :3] == values[..., :1]).all() and (values[..., 3:] == 255).all():
        values = values[..., 0]  # grey, saved as colour
    if values.ndim != 2:
        raise UserError(
            f"The mask {path} has {values.shape[-1]} channels. Name a table of its colours with --colours, or save it with one "
            "number a pixel, 0 for no defect."
        )
    if not np.issubdtype(values.dtype, np.integer):
        raise UserError(
            f"The mask {path} holds fractions. Save it with a whole number a pixel, 0 for no defect."
        )
    if values.min(initial=0) < 0:
        raise UserError(
            f"The mask {path} has values below 0. Save it with 0 for no defect, 1 and up for the classes."
        )
    return values


def by_stem(folder: str | Path) -> dict[str, Path]:
    """{name without its ending, letters composed: file} of a folder's images. UserError if two have the
    same."""
    files: dict[str, Path] = {}
    for name in images.list_images(folder):
        stem = unicodedata.normalize("NFC", Path(name).stem)
        if stem in files:
            raise UserError(
                f"{folder} holds {files[stem].name} and {name}, which belong to the same mask. Rename one of them."
            )
        files[stem] = Path(folder) / name
    return files


def left_out(folder: str | Path, stems: Collection[str] = (), beside: Collection[Path] = ()) -> str:
    """What a folder holds and the importer passes over, in words, or "".

    Arguments:
        stems: of the images that masks in this folder may belong to; beside: folders that are read anyway.

    Raises UserError if a file that is passed over may be the mask of one of them, or is an image of a kind
    that is not read.
    """
    files: list[Path] = []
    inside: list[Path] = []
    for path in sorted(Path(folder).iterdir()):
        if (
            path.name.startswith((".", "@", "__"))
            or path.name in ("Thumbs.db", "desktop.ini")
            or path.resolve() in beside
        ):
            continue
        if path.is_dir():
            inside += [path] if any(images.is_image_name(file.name) for file in path.rglob("*")) else []
        elif not (images.is_image_name(path.name) and images.is_file_or_lost(path)):
            files.append(path)
    for path in files:
        if path.suffix.lower() in images.OTHER_SUFFIXES:
            raise UserError(
                f"{path} is an image of a kind that is not read. Save it as PNG, or take it out of the folder."
            )
        if unicodedata.normalize("NFC", path.stem) in stems:
            what = (
                "an outline, not a mask of pixels"
                if path.suffix.lower() in OUTLINES
                else "of a kind that is not read"
            )
            raise UserError(
                f"{path} has the name of an image and is {what}. Draw it as a mask in PNG (labelling tools export them), or "
                "take it out of the folder."
            )
    words = [f"{len(files)} files that are no images, such as {files[0].name}"] if files else []
    words += [f"{len(inside)} folders with images, such as {inside[0].name}"] if inside else []
    return f"{folder} holds {' and '.join(words)}: left out." if words else ""


def defects(values: np.ndarray, path: Path) -> tuple[np.ndarray, int | None]:
    """The mask (H, W) uint8 0/1 of a file that stands for one class, and the one number that marks its
    defects (None if blurred).

    Its pixels are 0 or one other number, or greys about edges, as a JPEG or an enlargement leaves them: then
    it is half of full scale and more. UserError that names the values where they look like something else.
    """
    levels, counts = np.unique(values[values > 0], return_counts=True)
    blurred = path.suffix.lower() in (".jpg", ".jpeg")
    if len(levels) <= 1 and not (blurred and len(levels)):
        return (values > 0).astype(np.uint8), levels[0].item() if len(levels) else None
    full = 255 if levels[-1] <= 255 else 65535
    shown = ", ".join(map(str, levels[:8].tolist())) + (" ..." if len(levels) > 8 else "")
    if levels[-1] <= full // 2:
        if blurred:
            raise UserError(
                f"The mask {path} is a JPEG with no value above {levels[-1]}. Save it as PNG, or with 255."
            )
        raise UserError(
            f"The mask {path} has the values {shown}, which look like numbers of classes or of objects; in a folder a class "
            f"a defect is 255 and all else 0. If {path.parent.name} is no class, name {path.parent} as the folder of masks."
        )
    grey = values.astype(np.float32)
    # No edge has areas of one value.
    flat = cv2.erode(grey, np.ones((3, 3))) == cv2.dilate(grey, np.ones((3, 3)))
    areas = flat & (grey > full / 16) & (grey < full * 15 / 16)
    if np.count_nonzero(areas) > 0.05 * counts.sum():
        value = int(grey[areas][0])
        raise UserError(
            f"The mask {path} has the values {shown}, and areas of {value} that are no blurred edge. Save each class in a "
            "folder of its own, with 0 and 255."
        )
    return (values > full // 2).astype(np.uint8), None


def insist_on_no_jpeg(values: np.ndarray, path: Path) -> None:
    """UserError if a mask of numbers or colours is a JPEG, unless it is empty."""
    if values.any() and path.suffix.lower() in (".jpg", ".jpeg"):
        raise UserError(
            f"The mask {path} is a JPEG, which changes numbers. Save masks of class numbers or colours as PNG."
        )


def insist_on_numbers(values: np.ndarray, path: Path, highest: int) -> None:
    """UserError if a mask of class numbers has one above `highest`, or numbers that are but the blurred edge
    of a higher one."""
    insist_on_no_jpeg(values, path)
    numbers = np.unique(values[values > 0]).tolist()
    if numbers and numbers[-1] > highest:
        raise UserError(
            f"The mask {path} has the value {numbers[-1]}, and {highest} is the highest. Use 0 for no defect, 1 and up for the "
            "classes, or name a table of the numbers with --colours; black-and-white masks of several classes go into a folder a "
            "class."
        )
    levels = values.astype(np.float32)
    low, high = cv2.erode(levels, np.ones((3, 3))), cv2.dilate(levels, np.ones((3, 3)))
    for value in numbers[:-1]:
        here = levels == value
        between = np.count_nonzero(here & (low < value) & (high > value))
        if np.count_nonzero(here) >= 8 and between >= 0.9 * np.count_nonzero(here):
            raise UserError(
                f"The mask {path} has the value {value} only between lower and higher ones, as blurring or enlarging leaves "
                "it. Save the masks anew, without smoothing."
            )
