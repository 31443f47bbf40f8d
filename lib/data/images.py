"""Image files: list them, read them as grey pixels, find out what is wrong with one."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from lib.data import decoding
from lib.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
OTHER_SUFFIXES = {
    ".webp",
    ".jfif",
    ".jpe",
    ".gif",
    ".jp2",
    ".j2k",
    ".heic",
    ".avif",
    ".tga",
    ".dib",
    ".pgm",
    ".ppm",
    ".pnm",
    ".pbm",
    ".dcm",
    ".npy",
    ".exr",
    ".hdr",
    ".jxl",
    ".svg",
    ".psd",
    ".raw",
}  # images of kinds that are not read


def list_images(folder: str | Path) -> list[str]:
    """The names of the image files in `folder`, sorted. Hidden files, folders and other suffixes are left
    out.

    A link that leads nowhere is among them, as git-annex and its like leave it of a file that was not
    fetched: whoever reads it says so. Raises UserError if the folder is missing.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name for entry in entries if is_image_name(entry.name) and is_file_or_lost(entry)
            )
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"The folder {folder} does not exist. Put the images there.") from None
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be read ({error.strerror}). Check its permissions."
        ) from None


def is_file_or_lost(path: str | Path | os.DirEntry) -> bool:
    """Whether a path, or an entry of a folder, is a file, or a link that leads nowhere or in a circle."""
    return os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path))


def is_image_name(name: str) -> bool:
    """Whether a file's name has an image's suffix, in small letters or capitals, and is not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def name_problem(name: str) -> str:
    """What makes an image's name unfit, in words, or "": a name must stay inside its folder and be text on
    one line."""
    if not name:
        return "the image's name is empty"
    if "/" in name or "\\" in name or name in (".", "..") or re.match(r"[A-Za-z]:", name):
        return f"the image's name {name!r} is a path, not the name of a file in the folder"
    if not name.isprintable():  # control characters, line ends, bytes that are no UTF-8
        return f"the image's name {name!r} holds characters that cannot be printed"
    return ""


def shape_of(path: str | Path) -> tuple[int, int]:
    """(H, W) of an image file, from its header where that has it. UserError if it cannot be read."""
    height, width = decoding.image_shape(decoding.read_bytes(path)) or read_image(path).shape
    return height, width


def name_form(name: str) -> str:
    """A name in the one form that compares: its letters composed (macOS stores them decomposed), no spaces
    around it."""
    return unicodedata.normalize("NFC", name).strip(" ")


def as_listed(names: Iterable[str], listed: Iterable[str]) -> list[str]:
    """Names from a table as the files are called: as they are, or as the one name in `listed` of the same
    `name_form`."""
    listed = list(listed)
    known = set(listed)
    by_form: dict[str, list[str]] = {}
    for name in listed:
        by_form.setdefault(name_form(name), []).append(name)
    candidates = ((name, by_form.get(name_form(name), [])) for name in names)
    return [alike[0] if name not in known and len(alike) == 1 else name for name, alike in candidates]


def read_image(
    path: str | Path, size: tuple[int, int] | None = None, expected: tuple[int, int] | None = None
) -> np.ndarray:
    """An image as grey levels.

    Arguments:
        path: of a JPEG, PNG, BMP or TIFF, in grey or colour.
        size: (height, width) wanted, or None for the file's own. Much smaller sizes are decoded at a half, a
            quarter or an eighth inside the JPEG decoder; the rest is averaged over areas, an axis that grows
            is interpolated linearly.
        expected: (height, width) that the file must have, or None for any.

    Returns uint8 (H, W). The pixels lie as in the file: a camera's rotation mark is ignored, as the masks
    know nothing of it. Raises UserError that names the file if it is missing, empty, cut off, no image or of
    another size.
    """
    data, step = decoding.read_bytes(path), 1
    shape = decoding.image_shape(data) if size or expected else None
    if shape and expected:
        # Before it is decoded: a header may promise any number of pixels.
        insist_on_shape(path, shape, expected)
    if size and shape and decoding.jpeg_shape(data):
        step = max(
            [step for step in decoding.REDUCED if shape[0] >= step * size[0] and shape[1] >= step * size[1]],
            default=1,
        )
    image = decoding.decode_image(data, path, step)
    if expected and not shape:
        insist_on_shape(path, image.shape, expected)
    return resize_image(image, size) if size else image


def insist_on_shape(path: str | Path, shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    """UserError that names the file if its height and width are not the expected ones."""
    if tuple(shape[:2]) != tuple(expected):
        raise UserError(
            f"The image {path} has {shape[0]} x {shape[1]} pixels (height x width), not {expected[0]} x {expected[1]}. "
            "Replace it by the original file."
        )


def resize_image(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize an image (H, W) or (H, W, channels) to (height, width): an axis that shrinks is averaged over
    areas first.

    OpenCV averages over areas only if both axes shrink; 256 x 1600 to 299 x 299 would otherwise skip most of
    its pixels.
    """
    height, width = image.shape[:2]
    smaller = min(height, size[0]), min(width, size[1])
    if smaller != (height, width):
        image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA)
    if smaller != tuple(size):
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return image


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask (H, W) uint8 0/1 at another size: a pixel is set where at least half of the area that it covers
    was set.

    In whole numbers, whichever side grows or shrinks: OpenCV averages over areas only if both shrink, and
    then in floating point.
    """
    if mask.shape == (height, width):
        return mask
    corners = cv2.integral(mask)  # how much is set above and left of every corner of a pixel
    for count in (
        height,
        width,
    ):  # at the new corners: between two old ones it grows evenly; in units of 1 / count
        row, rest = np.divmod(np.arange(count + 1) * (len(corners) - 1), count)
        after = corners[np.minimum(row + 1, len(corners) - 1)]
        corners = ((count - rest[:, None]) * corners[row].astype(np.int64) + rest[:, None] * after).T
    covered = np.diff(np.diff(corners, axis=0), axis=1)
    return (2 * covered >= mask.size).astype(np.uint8, order="C")


def file_stamps(paths: Iterable[str | Path]) -> list[tuple]:
    """(name, bytes, time of the last change) of every file; of one that is not there the name alone."""
    stamps: list[tuple] = []
    for path in map(Path, paths):
        try:
            status = path.stat()
            stamps.append((path.name, status.st_size, status.st_mtime_ns))
        except (OSError, ValueError):  # NUL in a name
            stamps.append((path.name,))
    return stamps
