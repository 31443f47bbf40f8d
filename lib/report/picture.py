"""Pictures inside a page: what a report shows of a notebook's outputs, and the small one on a run's card."""

import base64
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from lib import files
from lib.errors import UserError

PHOTOGRAPH = (
    0.4  # bytes a pixel of a PNG from which it holds photographs: charts take 0.02 to 0.3, strips 0.5 to 0.9
)
THUMBNAIL_WIDTH = 480  # pixels: sharp at the 240 that a card shows on a dense screen
MOST_SIDE = 65_500  # pixels of a JPEG's side, of which libjpeg writes no more
FULL_COLOUR = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


def decode_base64(text: str) -> bytes:
    """The bytes that base64 stands for; none if it is broken."""
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


def decode(content: bytes, flags: int) -> np.ndarray | None:
    """An image (H, W) or (H, W, C), blue first, from the bytes of its file; None if they are none."""
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    except cv2.error:
        return None


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A uint8 image, blue first, as a JPEG; longer ones than there are (MOST_SIDE) shrunk to that. Colours keep
    their resolution, for the sake of thin outlines."""
    scale = MOST_SIDE / max(image.shape[:2])
    if scale < 1:
        size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1, *FULL_COLOUR]
    return cv2.imencode(".jpg", image, options)[1].tobytes()


def photograph_as_jpeg(png: bytes) -> bytes | None:
    """A PNG of photographs as a JPEG, a fourth as large; None for charts, transparency, and no image."""
    image = decode(png, cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8 or len(png) < PHOTOGRAPH * image.shape[0] * image.shape[1]:
        return None
    if image.ndim == 3 and image.shape[2] == 4 and image[..., 3].min() < 255:
        return None
    jpeg = encode_jpeg(image[..., :3] if image.ndim == 3 else image, quality=85)
    return jpeg if len(jpeg) < len(png) else None


def picture_html(content: str, kind: str, alt: str) -> Markup:
    """A picture inside the page.

    Arguments:
        content: base64, or the text of an SVG; kind: its MIME type; alt: alternative text.
    """
    if kind == "image/svg+xml":
        content = base64.b64encode(content.encode()).decode()
    content = re.sub(r"[^A-Za-z0-9+/=]", "", content)
    if kind == "image/png" and (jpeg := photograph_as_jpeg(decode_base64(content))):
        content = base64.b64encode(jpeg).decode()
        kind = "image/jpeg"
    return Markup('<figure><img src="data:{};base64,{}" alt="{}"></figure>').format(kind, content, alt)


def jpeg_address(image: np.ndarray) -> str:
    """A picture (H, W, 3) uint8, blue first, as the data address of a JPEG inside a page."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, quality=82)).decode()


def card_image(image: np.ndarray) -> np.ndarray:
    """A picture cut and shrunk for a card: at most THUMBNAIL_WIDTH wide, half as high or a little more."""
    width = image.shape[1]
    # A tall picture is cut to its upper part, so that all cards are of one shape and still show something.
    image = image[: max(1, round(width * 0.6))]
    # A card cuts what is wider than two to one to its middle, without a chart's labels: white below it.
    missing = max(0, width // 2 - len(image))
    image = cv2.copyMakeBorder(image, 0, missing, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    scale = min(1, THUMBNAIL_WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def thumbnail(ipynb: str | Path) -> str:
    """A small JPEG of a notebook's first picture, or the one tagged `thumbnail`, as a data address; or ""."""
    try:
        cells: list[dict[str, Any]] = files.read_json(ipynb)["cells"]
    except (UserError, KeyError, TypeError):
        return ""
    for cell in sorted(cells, key=lambda cell: "thumbnail" not in cell.get("metadata", {}).get("tags", [])):
        for output in cell.get("outputs", []):
            png = decode_base64("".join(output.get("data", {}).get("image/png") or ""))
            image = decode(png, cv2.IMREAD_COLOR)
            if image is not None:
                return jpeg_address(card_image(image))
    return ""
