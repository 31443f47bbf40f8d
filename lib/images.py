"""Image files: list them, read them as grey pixels, find out what is wrong with one."""

import io
import os
import re
import unicodedata
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

try:
    import simplejpeg  # as fast as OpenCV, the same pixels, and it says where it had to guess
except ImportError:  # Kaggle's image
    simplejpeg = None

from lib.paths import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
OTHER_SUFFIXES = {".webp", ".jfif", ".jpe", ".gif", ".jp2", ".j2k", ".heic", ".avif", ".tga", ".dib", ".pgm", ".ppm", ".pnm", ".pbm",
                  ".dcm", ".npy", ".exr", ".hdr", ".jxl", ".svg", ".psd", ".raw"}  # images of kinds that are not read
MOST_PIXELS = 2**26  # of an image or a mask; below what Pillow warns of
TOO_WHITE = "The image {path} has 8 bits, of which --white {white:g} would leave next to nothing. Import it with others of 8 bits alone."
REDUCED = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
           8: cv2.IMREAD_REDUCED_GRAYSCALE_8}  # fmt: skip


def list_images(folder):
    """The names of the image files in `folder`, sorted. Hidden files, folders and other suffixes are left out.

    A link that leads nowhere is among them, as git-annex and its like leave it of a file that was not fetched: whoever reads it says so.
    Raises UserError if the folder is missing.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if is_image_name(entry.name) and is_file_or_lost(entry))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"The folder {folder} does not exist. Put the images there.") from None
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read ({error.strerror}). Check its permissions.") from None


def is_file_or_lost(path):
    """Whether a path, or an entry of a folder, is a file, or a link that leads nowhere or in a circle."""
    return os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path))


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


def image_shape(data):
    """(height, width) from the header of a JPEG, PNG or BMP; None if it is another file or broken."""
    if data[:4] == b"\x89PNG" and len(data) > 25:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if data[:2] == b"BM" and len(data) > 26:
        return abs(int.from_bytes(data[22:26], "little", signed=True)), abs(int.from_bytes(data[18:22], "little", signed=True))
    shape = jpeg_shape(data)
    return shape[:2] if shape else None


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
    data, step = read_bytes(path), 1
    shape = image_shape(data) if size or expected else None
    if shape and expected:
        insist_on_shape(path, shape, expected)  # before it is decoded: a header may promise any number of pixels
    if size and jpeg_shape(data):
        step = max([step for step in REDUCED if shape[0] >= step * size[0] and shape[1] >= step * size[1]], default=1)
    image = decode_image(data, path, step)
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
        what = "is a link that leads nowhere" if os.path.islink(path) else "does not exist"
        raise UserError(f"The image {path} {what}. Put it there or take its rows out of the table.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"The image {path} cannot be read ({error}). Replace it by the original file.") from None
    if not data:
        raise UserError(f"The image {path} is empty. Replace it by the original file.")
    return data


def decode_image(data, path, step=1):
    """An image's bytes as grey levels, uint8 (H, W); a JPEG at 1 / step of its size, 1, 2, 4 or 8. `path` is for messages alone.

    Raises UserError if it is no image, too large, cut off or damaged: OpenCV fills what a JPEG or TIFF lacks with grey and only
    prints a warning. Without simplejpeg, as on Kaggle, a JPEG that is damaged but has its end passes; the pixels are the same.
    """
    shape = image_shape(data)
    if shape and shape[0] * shape[1] > MOST_PIXELS:
        raise UserError(f"The image {path} has {shape[0]} x {shape[1]} pixels, more than {MOST_PIXELS:,} in all. Cut it into strips.")
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data:
        raise UserError(f"The image {path} {what_is_wrong(data)}")
    image = None
    if is_tiff(data):
        insist_on_whole_tiff(data, path)
    elif simplejpeg and jpeg_shape(data):
        image = strict_jpeg(data, shape, step, path)
    if image is None:
        image = opencv(data, REDUCED[step])
    if image is None:
        raise UserError(f"The image {path} {what_is_wrong(data)}")
    return image


def strict_jpeg(data, shape, step, path):
    """As `decode_image` for a JPEG; None if OpenCV must say, as of CMYK. UserError where the decoder had to guess pixels."""
    if step > 1 and max(shape) < 8:
        return None
    try:
        return simplejpeg.decode_jpeg(data, "GRAY", min_height=-(-shape[0] // step), min_width=-(-shape[1] // step))[..., 0]
    except ValueError as error:
        if "Premature end" in str(error):
            raise UserError(f"The image {path} is cut off: its end is missing. Replace it by the original file.") from None
        if "Corrupt JPEG data" in str(error) and "ICC" not in str(error):
            raise UserError(f"The image {path} is damaged ({error}). Replace it by the original file.") from None
        return None


def is_tiff(data):
    """Whether the bytes begin as a TIFF."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def insist_on_whole_tiff(data, path):
    """UserError if a TIFF is too large or damaged; a kind that Pillow does not know is left to OpenCV."""
    try:
        opened = Image.open(io.BytesIO(data))
        if opened.width * opened.height <= MOST_PIXELS:
            for stream in jpegs_inside(opened, data):
                strict_jpeg(stream, jpeg_shape(stream), 1, path)
            opened.load()
            return
    except (UnidentifiedImageError, KeyError, TypeError):
        return
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"The image {path} is damaged or too large ({str(error)[:80]}). Replace it by the original file.") from None
    raise UserError(f"The image {path} has {opened.height} x {opened.width} pixels, more than {MOST_PIXELS:,} in all. Cut it into strips.")


def jpegs_inside(opened, data):
    """The JPEGs that the first picture of a TIFF consists of, bytes each: the decoders fill a hole in one of them without an error.

    None without simplejpeg, or of another compression. Their tables lie apart from them (TIFF Technical Note 2).
    """
    tags = opened.tag_v2
    if not simplejpeg or tags.get(259) != 7:
        return []
    tables, places = tags.get(347, b""), (273, 279) if 273 in tags else (324, 325)  # of strips, or of tiles
    streams = [data[start : start + length] for start, length in zip(*(tags.get(place, ()) for place in places), strict=False)]
    streams = [tables[:-2] + stream[2:] if tables else stream for stream in streams]
    return [stream for stream in streams if jpeg_shape(stream)]


def opencv(data, flag):
    """What OpenCV makes of an image's bytes, or None."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # for example, more pixels than OpenCV accepts
        return None


def what_is_wrong(data):
    """Why an image's bytes give no grey levels, and what to do, in words."""
    if (data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data) or (data[:4] == b"\x89PNG" and b"IEND" not in data):
        return "is cut off: its end is missing. Replace it by the original file."
    values = opencv(data, cv2.IMREAD_UNCHANGED)
    if values is not None:
        return f"holds {values.dtype}, which is not read as grey levels. Save it with 8 bits a pixel, each image on the same scale."
    return "is no image that can be decoded. Replace it by the original file."


def picture_count(data):
    """How many pictures a TIFF or PNG holds: scanners and cameras write several into one file; 1 of any other file."""
    if not (is_tiff(data) or data[:4] == b"\x89PNG"):
        return 1
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return getattr(opened, "n_frames", 1)
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, Image.DecompressionBombError):
        return 1  # a kind that Pillow does not know


def pixel_kind(data):
    """(channels, type of number, highest value) of an image that `decode_image` takes; of 8 bits the highest is 255, looked at or not."""
    header = jpeg_shape(data)
    if header:
        return header[2], "uint8", 255
    if data[:4] == b"\x89PNG" and data[24] <= 8:
        return {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(data[25], 1), "uint8", 255
    values = opencv(data, cv2.IMREAD_UNCHANGED)
    return values.shape[2] if values.ndim == 3 else 1, str(values.dtype), 255 if values.dtype == np.uint8 else values.max().item()


def on_scale(path, white=0):
    """An image's grey levels uint8 (H, W), and its highest value as stored (255 of 8 bits).

    `white`: the value that becomes 255, the same for all images of a set; 0: the highest that the file's kind can hold. UserError for
    an image of 8 bits that a higher one would make all but black.
    """
    data = read_bytes(path)
    if white > 255 and jpeg_shape(data):
        raise UserError(TOO_WHITE.format(path=path, white=white))
    if not white or jpeg_shape(data):
        image, kind = decode_image(data, path), pixel_kind(data)
        return (np.rint(np.minimum(image * (255 / white), 255)).astype(np.uint8) if white else image), kind[2]
    if is_tiff(data):
        insist_on_whole_tiff(data, path)
    shape = image_shape(data)
    values = None if shape and shape[0] * shape[1] > MOST_PIXELS else opencv(data, cv2.IMREAD_UNCHANGED)
    if values is None:
        return decode_image(data, path), 255  # which says why
    if white > 255 and values.dtype == np.uint8:
        raise UserError(TOO_WHITE.format(path=path, white=white))
    values = np.nan_to_num(values.astype(np.float32))
    if values.ndim == 3:
        values = cv2.cvtColor(np.ascontiguousarray(values[..., :3]), cv2.COLOR_BGR2GRAY) if values.shape[2] > 2 else values[..., 0]
    return np.rint(np.clip(values * (255 / white), 0, 255)).astype(np.uint8), 255


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
