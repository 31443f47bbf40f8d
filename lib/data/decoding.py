"""Bytes of an image file as grey pixels, and what is wrong with them: asked of the decoders, strictly."""

import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from lib.data import storage
from lib.errors import UserError

try:
    import simplejpeg  # as fast as OpenCV, the same pixels, and it says where it had to guess
except ImportError:  # Kaggle's image
    simplejpeg = None
MOST_PIXELS = 2**26  # of an image or a mask; below what Pillow warns of
OPENCV_KNOWS = (
    "olor conversion",
    "olorspace",
    "ICC",
)  # what simplejpeg refuses a sound JPEG for, such as CMYK
REDUCED = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
           8: cv2.IMREAD_REDUCED_GRAYSCALE_8}  # fmt: skip


def jpeg_shape(data: bytes) -> tuple[int, int, int] | None:
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


def image_shape(data: bytes) -> tuple[int, int] | None:
    """(height, width) from the header of a JPEG, PNG or BMP; None if it is another file or broken."""
    if data[:4] == b"\x89PNG" and len(data) > 25:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if data[:2] == b"BM" and len(data) > 26:
        return abs(int.from_bytes(data[22:26], "little", signed=True)), abs(
            int.from_bytes(data[18:22], "little", signed=True)
        )
    shape = jpeg_shape(data)
    return shape[:2] if shape else None


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file, or of what lies at an address; UserError that names it if it cannot be read or is
    empty, `storage.Unreachable` where its store does not answer."""
    try:
        data = storage.read_bytes(str(path)) if storage.is_address(path) else Path(path).read_bytes()
    except FileNotFoundError:
        what = "is a link that leads nowhere" if os.path.islink(path) else "does not exist"
        raise UserError(
            f"The image {path} {what}. Put it there, or take it out of the table or list that names it."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"The image {path} cannot be read ({error}). Replace it by the original file."
        ) from None
    if not data:
        raise UserError(f"The image {path} is empty. Replace it by the original file.")
    return data


def decode_image(data: bytes, path: str | Path, step: int = 1) -> np.ndarray:
    """An image's bytes as grey levels, uint8 (H, W); a JPEG at 1 / step of its size, 1, 2, 4 or 8. `path` is
    for messages alone.

    Raises UserError if it is no image, too large, cut off, damaged or has values below 0: OpenCV fills what a JPEG or TIFF lacks
    with grey and only prints a warning. Without simplejpeg, as on Kaggle, a JPEG that is damaged but has its
    end passes; the pixels are the same.
    """
    shape = image_shape(data)
    if shape and shape[0] * shape[1] > MOST_PIXELS:
        raise UserError(
            f"The image {path} has {shape[0]} x {shape[1]} pixels, more than {MOST_PIXELS:,} in all. Cut it into strips."
        )
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data:
        raise UserError(f"The image {path} {what_is_wrong(data)}")
    image = None
    if is_tiff(data):
        insist_on_whole_tiff(data, path)
        insist_on_no_sign(data, path)
    elif simplejpeg and shape and jpeg_shape(data):
        image = strict_jpeg(data, shape, step, path)
    if image is None:
        image = opencv(data, REDUCED[step])
    if image is None:
        raise UserError(f"The image {path} {what_is_wrong(data)}")
    return image


def strict_jpeg(data: bytes, shape: tuple[int, ...], step: int, path: str | Path) -> np.ndarray | None:
    """As `decode_image` for a JPEG; None if OpenCV must say, as of CMYK. UserError where the decoder had to
    guess pixels."""
    if step > 1 and max(shape) < 8:
        return None
    try:
        return simplejpeg.decode_jpeg(
            data, "GRAY", min_height=-(-shape[0] // step), min_width=-(-shape[1] // step)
        )[..., 0]
    except ValueError as error:
        if "Premature end" in str(error):
            raise UserError(
                f"The image {path} is cut off: its end is missing. Replace it by the original file."
            ) from None
        if not any(words in str(error) for words in OPENCV_KNOWS):
            raise UserError(
                f"The image {path} is damaged ({error}). Replace it by the original file."
            ) from None
        return None


def is_tiff(data: bytes) -> bool:
    """Whether the bytes begin as a TIFF."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def insist_on_whole_tiff(data: bytes, path: str | Path) -> None:
    """UserError if a TIFF is too large or damaged; a kind that Pillow does not know is left to OpenCV."""
    try:
        opened = Image.open(io.BytesIO(data))
        if opened.width * opened.height <= MOST_PIXELS:
            for stream, stream_shape in jpegs_inside(opened, data):
                strict_jpeg(stream, stream_shape, 1, path)
            opened.load()
            return
    except (UnidentifiedImageError, KeyError, TypeError):
        return
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(
            f"The image {path} is damaged or too large ({str(error)[:80]}). Replace it by the original file."
        ) from None
    raise UserError(
        f"The image {path} has {opened.height} x {opened.width} pixels, more than {MOST_PIXELS:,} in all. Cut it into strips."
    )


def insist_on_no_sign(data: bytes, path: str | Path) -> None:
    """UserError if a TIFF has values below 0, of which OpenCV would make bright ones."""
    try:
        tags = getattr(Image.open(io.BytesIO(data)), "tag_v2", {})
        may_be = 2 in tags.get(339, ())  # SampleFormat, of whole numbers with a sign
    except (OSError, KeyError, TypeError):
        may_be = True  # a kind that Pillow does not know
    values = opencv(data, cv2.IMREAD_UNCHANGED) if may_be else None
    if values is not None and values.min(initial=0) < 0:
        raise UserError(f"The image {path} {what_is_wrong(data)}")


def jpegs_inside(opened: Any, data: bytes) -> list[tuple[bytes, tuple[int, ...]]]:
    """The JPEGs that the first picture of a TIFF consists of, (bytes, shape) each: the decoders fill a hole
    in one of them without an error.

    None without simplejpeg, or of another compression. Their tables lie apart from them (TIFF Technical Note
    2).
    """
    tags = opened.tag_v2
    if not simplejpeg or tags.get(259) != 7:
        return []
    # Of strips, or of tiles.
    tables, (starts, lengths) = (
        tags.get(347, b""),
        (273, 279) if 273 in tags else (324, 325),
    )
    streams = [
        data[start : start + size]
        for start, size in zip(tags.get(starts, ()), tags.get(lengths, ()), strict=False)
    ]
    streams = [tables[:-2] + stream[2:] if tables else stream for stream in streams]
    return [(stream, shape) for stream in streams if (shape := jpeg_shape(stream))]


def opencv(data: bytes, flag: int) -> np.ndarray | None:
    """What OpenCV makes of an image's bytes, or None."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # for example, more pixels than OpenCV accepts
        return None


def what_is_wrong(data: bytes) -> str:
    """Why an image's bytes give no grey levels, and what to do, in words."""
    if (data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data) or (
        data[:4] == b"\x89PNG" and b"IEND" not in data
    ):
        return "is cut off: its end is missing. Replace it by the original file."
    values = opencv(data, cv2.IMREAD_UNCHANGED)
    if values is not None:
        below = " with values below 0" if values.min(initial=0) < 0 else ""
        return f"holds {values.dtype}{below}, which is not read as grey levels. Save it with 8 bits a pixel, each image on the same scale."
    return "is no image that can be decoded. Replace it by the original file."


def picture_count(data: bytes) -> int:
    """How many pictures a TIFF or PNG holds: scanners and cameras write several into one file; 1 of any other
    file."""
    if not (is_tiff(data) or data[:4] == b"\x89PNG"):
        return 1
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return getattr(opened, "n_frames", 1)
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, Image.DecompressionBombError):
        return 1  # a kind that Pillow does not know


def pixel_kind(data: bytes) -> tuple[int, str, int]:
    """(channels, type of number, highest value) of an image that `decode_image` takes; of 8 bits the highest
    is 255, looked at or not."""
    header = jpeg_shape(data)
    if header:
        return header[2], "uint8", 255
    if data[:4] == b"\x89PNG" and data[24] <= 8:
        return {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(data[25], 1), "uint8", 255
    values = opencv(data, cv2.IMREAD_UNCHANGED)
    assert values is not None  # as `decode_image` takes it
    return (
        values.shape[2] if values.ndim == 3 else 1,
        str(values.dtype),
        255 if values.dtype == np.uint8 else values.max().item(),
    )


def insist_on_white(white: float) -> None:
    """UserError if what --white says cannot be a pixel's value; 0 is that nothing was said."""
    if not 0 <= white < 2**32:
        raise UserError(f"--white {white:g}: it is a number above 0, such as 4095 for 12 bits.")


def on_scale(path: str | Path, white: float) -> np.ndarray:
    """An image of more than 8 bits as grey levels uint8 (H, W); what is below 0 becomes 0.

    `white`: the value above 0 that becomes 255, the same for all images of a set.
    """
    data = read_bytes(path)
    if is_tiff(data):
        insist_on_whole_tiff(data, path)
    shape = image_shape(data)
    values = None if shape and shape[0] * shape[1] > MOST_PIXELS else opencv(data, cv2.IMREAD_UNCHANGED)
    if values is None:
        return decode_image(data, path)  # which says why
    values = np.nan_to_num(values.astype(np.float32))
    if values.ndim == 3:
        values = (
            cv2.cvtColor(np.ascontiguousarray(values[..., :3]), cv2.COLOR_BGR2GRAY)
            if values.shape[2] > 2
            else values[..., 0]
        )
    return np.rint(np.clip(values * (255 / white), 0, 255)).astype(np.uint8)
