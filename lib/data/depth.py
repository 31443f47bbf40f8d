"""Image files of any depth brought to the grey levels that networks see, all on one scale, and what a reader
should know of each."""

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lib.data import decoding, duplicates, images

TURNED = "A rotation mark (EXIF) is not followed, as in training: its pixels lie as in the file."


@dataclass(frozen=True)
class Reading:
    """An image file that can be read.

    image: (H, W) uint8; rescaled: whether it is other than `images.read_image` gives; remarks: sentences on
    it; highest: its highest value as stored where it has more than 8 bits and nobody said what is white, else
    0.
    """

    image: np.ndarray
    rescaled: bool
    remarks: tuple[str, ...] = ()
    highest: int = 0


def read(path: str | Path, white: float = 0) -> Reading:
    """An image as grey levels, of 8 bits as they are, of more on one scale.

    Arguments:
        white: the value that becomes 255 in images of more than 8 bits; 0: full scale, of which the upper 8 bits are taken as
            in training.

    Raises UserError that names the file if it cannot be read.
    """
    data = decoding.read_bytes(path)
    remarks = []
    if rotation_mark(data) > 1:
        remarks.append(TURNED)
    count = decoding.picture_count(data)
    if count > 1:
        remarks.append(f"It holds {count} pictures: the first alone is used.")
    is_deep = not has_8_bits(data, path)
    if white and is_deep:
        return Reading(decoding.on_scale(path, white), True, tuple(remarks))
    image = decoding.decode_image(data, path)
    highest = decoding.pixel_kind(data)[2] if is_deep else 0
    return Reading(image, False, tuple(remarks), int(highest))


def read_at(path: str | Path, size: tuple[int, int], white: float = 0) -> np.ndarray:
    """An image as `read` gives it, at another size: uint8 (H, W); `size`: (height, width)."""
    if not white:
        return images.read_image(path, size)  # a JPEG may be decoded at a part of its size
    return images.resize_image(read(path, white).image, size)


def has_8_bits(data: bytes, path: str | Path) -> bool:
    """Whether an image's bytes hold 8 bits a channel or fewer; True also of what cannot be decoded. `path` is
    for messages alone."""
    if data[:4] == b"\x89PNG" and len(data) > 25:
        return data[24] <= 8
    if data[:2] in (b"\xff\xd8", b"BM"):
        return True
    if decoding.is_tiff(data):
        decoding.insist_on_whole_tiff(data, path)
    values = decoding.opencv(data, cv2.IMREAD_UNCHANGED)
    return values is None or values.dtype in (np.uint8, np.int8)


def rotation_mark(data: bytes) -> int:
    """How a camera says that an image is to be turned (EXIF's orientation, 1 to 8); 1 where it says nothing."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            mark = opened.getexif().get(274, 1)
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, Image.DecompressionBombError):
        return 1
    return mark if isinstance(mark, int) and 1 <= mark <= 8 else 1


def find_duplicates(image_paths: Sequence[Path | str], white: float, folder: Path) -> np.ndarray:
    """Groups as `duplicates.find_duplicates` numbers them, of images as `read` gives them: those that `white` changes are
    written into a folder that is removed again."""
    if not white:
        return duplicates.find_duplicates(image_paths)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        files_to_compare: list[Path | str] = []
        for index, path in enumerate(image_paths):
            reading = read(path, white)
            if reading.rescaled:
                path = Path(scratch) / f"{index}.png"
                path.write_bytes(cv2.imencode(".png", reading.image)[1].tobytes())
            files_to_compare.append(path)
        return duplicates.find_duplicates(files_to_compare)
