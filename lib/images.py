"""Image files: list them, read them as grey pixels, find out what is wrong with one."""

import os
import re
import unicodedata
from pathlib import Path

import cv2
import numpy as np

from lib.paths import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
TAIL = 1024  # bytes at a file's end among which its end mark must be; some programs append a few of their own
REDUCED = {2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: cv2.IMREAD_REDUCED_GRAYSCALE_8}


def list_images(folder):
    """The names of the image files in `folder`, sorted. Hidden files, folders and other suffixes are left out.

    Raises UserError if the folder is missing.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if is_image_name(entry.name) and entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"The folder {folder} does not exist. Put the images there.") from None
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read ({error.strerror}). Check its permissions.") from None


def is_image_name(name):
    """Whether a file's name has an image's suffix, in small letters or capitals, and is not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def name_problem(name):
    """What makes an image's name unfit, in words, or "": a name must stay inside its folder and be text on one line."""
    if not name:
        return "the image's name is empty"
    if "/" in name or "\\" in name or name in (".", "..") or re.match(r"[A-Za-z]:", name):
        return f"the image's name {name!r} is a path, not the name of a file in the folder"
    if not name.isprintable():  # control characters, line ends, bytes that are no UTF-8
        return f"the image's name {name!r} holds characters that cannot be printed"
    return ""


def name_form(name):
    """A name in the one form that compares: its letters composed (macOS stores them decomposed), no spaces around it."""
    return unicodedata.normalize("NFC", name).strip(" ")


def as_listed(names, listed):
    """Names from a table as the files are called: as they are, or as the one name in `listed` of the same `name_form`."""
    known, by_form = set(listed), {}
    for name in listed:
        by_form.setdefault(name_form(name), []).append(name)
    alike = ((name, by_form.get(name_form(name), [])) for name in names)
    return [found[0] if name not in known and len(found) == 1 else name for name, found in alike]


def jpeg_shape(data):
    """(height, width, channels) from a JPEG's header.

    Arguments:
        data: bytes of the file.

    Returns None if it is no JPEG or its header is broken (ITU T.81, B.2.2).
    """
    if data[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 9 < len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            return height, width, data[position + 9]
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def read_image(path, size=None, expected=None):
    """An image as grey levels.

    Arguments:
        path: of a JPEG, PNG, BMP or TIFF, in grey or colour.
        size: (height, width) wanted, or None for the file's own. Much smaller sizes are decoded at a half, a quarter or an
            eighth inside the JPEG decoder; the rest is averaged over areas, an axis that grows is interpolated linearly.
        expected: (height, width) that the file must have, or None for any.

    Returns uint8 (H, W). The pixels lie as in the file: a camera's rotation mark is ignored, as the masks know nothing of it.
    Raises UserError that names the file if it is missing, empty, cut off, no image or of another size.
    """
    data = read_bytes(path)
    flag = cv2.IMREAD_GRAYSCALE
    shape = jpeg_shape(data) if size or expected else None
    if shape and expected:
        insist_on_shape(path, shape, expected)  # before it is decoded: a header may promise any number of pixels
    if shape and size:
        fits = [step for step in REDUCED if shape[0] >= step * size[0] and shape[1] >= step * size[1]]
        flag = REDUCED[max(fits)] if fits else flag
    image = decode_image(data, flag, path)
    if expected and not shape:
        insist_on_shape(path, image.shape, expected)
    return resize_image(image, size) if size else image


def insist_on_shape(path, shape, expected):
    """UserError that names the file if its height and width are not the expected ones."""
    if tuple(shape[:2]) != tuple(expected):
        raise UserError(f"The image {path} has {shape[0]} x {shape[1]} pixels (height x width), not {expected[0]} x {expected[1]}. "
                        "Replace it by the original file.")


def read_bytes(path):
    """The bytes of a file; UserError that names it if it cannot be read or is empty."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"The image {path} does not exist. Put it there or take its rows out of the table.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"The image {path} cannot be read ({error}). Replace it by the original file.") from None
    if not data:
        raise UserError(f"The image {path} is empty. Replace it by the original file.")
    return data


def decode_image(data, flag, path):
    """Decode an image's bytes with one of OpenCV's flags; `path` is for the message alone. UserError if cut off or no image."""
    if is_cut_off(data):  # the decoder fills what is missing with grey and only prints a warning
        raise UserError(f"The image {path} is cut off: its end is missing. Replace it by the original file.")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # for example, more pixels than OpenCV accepts
        image = None
    if image is None:
        raise UserError(f"The image {path} is no image that can be decoded. Replace it by the original file.")
    return image


def is_cut_off(data):
    """Whether the bytes begin as a JPEG or PNG and lack its end mark near their end."""
    if data[:2] == b"\xff\xd8":
        return b"\xff\xd9" not in data[-TAIL:]
    if data[:4] == b"\x89PNG":
        return b"IEND" not in data[-TAIL:]
    return False


def resize_image(image, size):
    """Resize an image (H, W) or (H, W, channels) to (height, width): an axis that shrinks is averaged over areas first.

    OpenCV averages over areas only if both axes shrink; 256 x 1600 to 299 x 299 would otherwise skip most of its pixels.
    """
    height, width = image.shape[:2]
    smaller = min(height, size[0]), min(width, size[1])
    if smaller != (height, width):
        image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA)
    if smaller != tuple(size):
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return image


def resize_mask(mask, height, width):
    """A mask (H, W) uint8 0/1 at another size: a pixel is set where at least half of the area that it covers was set.

    In whole numbers, whichever side grows or shrinks: OpenCV averages over areas only if both shrink, and then in floating point.
    """
    if mask.shape == (height, width):
        return mask
    corners = cv2.integral(mask)  # how much is set above and left of every corner of a pixel
    for count in (height, width):  # at the new corners: between two old ones it grows evenly; in units of 1 / count
        row, rest = np.divmod(np.arange(count + 1) * (len(corners) - 1), count)
        after = corners[np.minimum(row + 1, len(corners) - 1)]
        corners = ((count - rest[:, None]) * corners[row].astype(np.int64) + rest[:, None] * after).T
    covered = np.diff(np.diff(corners, axis=0), axis=1)
    return (2 * covered >= mask.size).astype(np.uint8, order="C")
