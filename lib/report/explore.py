"""explore.html: strips to look at, with truth, prediction and probability on and off, and thresholds to move.

One file that loads nothing. Its only script is `templates/explore.js`, which the page's Content-Security-Policy
admits by its hash; what it shows lies in the page as JSON.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from lib import files
from lib.data import rle
from lib.plots import colour
from lib.report.pages import TEMPLATES, page

FAINTEST = 0.05  # probability of a pixel below which the page has 0
MOST_BYTES = 19_000_000  # of strips in a page
MOST_PIXELS, LONGEST_SIDE = 4_000_000, 8192  # of a strip in the page; larger ones are shown smaller
QUALITY = 80  # of the JPEGs
KEYS = [
    (("←", "→"), "strip before, next strip"),
    (("t", "p", "m"), "truth, prediction, map of probabilities: on and off"),
    (("1", "2", "…"), "a class on and off"),
    (("+", "−", "0"), "zoom in, zoom out, whole strip"),
    (("Shift + arrows",), "move the view"),
    (("[", "]"), "lower and raise the pixel thresholds of the classes that are on"),
    (("f",), "filters and smallest sizes on and off"),
    (("r",), "thresholds of the run"),
    (("?",), "this list"),
]


@dataclass(frozen=True)
class ClassRules:
    """What makes a class's map its mask: `threshold` 0..1 of its pixels; smallest_component, minimum_area:
    pixels; minimum_area None: it is never predicted."""

    title: str
    threshold: float
    smallest_component: int
    minimum_area: int | None


@dataclass(frozen=True)
class Strip:
    """A strip to look at.

    image: (H, W) uint8; truth, predicted: C run-length strings, truth None where it is not known; dice: (C,)
    of the two, 0..1; maps: C PNGs of 256 levels, as from `postprocess.pack`, of any size, b"" where there is
    none; passed: (C,) whether the filters let the class through; defect_probability, class_probability: None
    where not asked; doubt: how sure the prediction is, 0 for least; shape: of the whole image, where `image`
    and all masks are a part of it, and remark: words on that.
    """

    name: str
    image: np.ndarray
    predicted: Sequence[str]
    maps: Sequence[bytes]
    passed: Sequence[bool]
    defect_probability: float | None
    class_probability: Sequence[float | None]
    truth: Sequence[str] | None = None
    dice: Sequence[float] = ()
    doubt: float = 0.0
    shape: tuple[int, ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class About:
    """What the page says of itself: `title` of run or prediction, `back`: what its index is called, `total`: of
    how many strips those that it has were chosen, `rule`: by which rule; judged: whether they are predicted
    under thresholds that other strips chose."""

    title: str
    back: str
    total: int
    rule: str
    classes: Sequence[ClassRules]
    has_truth: bool
    judged: bool = False


def write_page(path: str | Path, about: About, strips: Iterable[Strip]) -> list[str]:
    """Write the page, atomically; the names of the strips that it has: those that come first, up to MOST_BYTES.
    `#NAME` behind its address opens it at one."""
    names: list[str] = []
    texts: list[str] = []
    size = 0
    for strip in strips:
        text = json.dumps(entry(strip))
        size += len(text)
        if size > MOST_BYTES:
            break
        names.append(strip.name)
        texts.append(text)
    classes = [asdict(one) | {"colour": colour(index)} for index, one in enumerate(about.classes)]
    head = json.dumps({"classes": classes, "has_truth": about.has_truth, "faintest": FAINTEST})
    data = f'{head[:-1]}, "strips": [{", ".join(texts)}]}}'
    script = (TEMPLATES / "explore.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = page(
        "explore.html",
        about=about,
        chosen=f"{len(texts):,} of {about.total:,} strips: {about.rule}.",
        lossy=lossy(about),
        keys=KEYS,
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        explore_style=Markup((TEMPLATES / "explore.css").read_text(encoding="utf-8")),
        data=Markup(data.replace("<", "\\u003c")),  # in JSON's strings alone: no tag begins there
    )
    files.write_atomic(path, html)
    return names


def lossy(about: About) -> list[str]:
    """What the page has exactly and what it has not, in sentences."""
    predicted = "As predicted, masks are exact to the pixel"
    predicted += (
        ": each strip's under thresholds that other strips chose, which the sliders need not start at."
    )
    return [
        predicted if about.judged else "As predicted, masks and their Dice are exact to the pixel.",
        f"Probabilities are stored in 256 levels, and as 0 below {FAINTEST}: a mask that is drawn anew is of a threshold that "
        "is off by 1/510 at most.",
        f"Strips are JPEGs of quality {QUALITY}. Those of more than {MOST_PIXELS // 10**6} million pixels are shown smaller, "
        "and masks that are drawn anew have their Dice at that size.",
        "Of a strip that is longer than those of the training, a mask that is drawn anew has its smallest size as a whole, "
        "not window by window; of one of another height, the sizes are those of its own pixels.",
    ]


def entry(strip: Strip) -> dict[str, Any]:
    """A strip as the page's script has it."""
    height, width = strip.image.shape
    scale = min(1.0, (MOST_PIXELS / (height * width)) ** 0.5, LONGEST_SIDE / max(height, width))
    shape = max(round(height * scale), 1), max(round(width * scale), 1)
    image = strip.image
    if scale < 1:
        image = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1]
    return {
        "name": strip.name,
        "shape": list(strip.shape or (height, width)),
        "remark": strip.remark,
        "height": shape[0],
        "width": shape[1],
        "scale": scale,
        "image": "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode(),
        "predicted": [scaled(text, (height, width), shape) for text in strip.predicted],
        "truth": None
        if strip.truth is None
        else [scaled(text, (height, width), shape) for text in strip.truth],
        "dice": [float(value) for value in strip.dice],
        "has_maps": any(strip.maps),
        "maps": [packed(png, shape) for png in strip.maps] or [None] * len(strip.predicted),
        "passed": [bool(value) for value in strip.passed],
        "defect_probability": strip.defect_probability,
        "class_probability": list(strip.class_probability),
        "area": sum(map(rle.area, strip.predicted)) / (height * width),
        "doubt": float(strip.doubt),
    }


def scaled(text: str, shape: tuple[int, int], wanted: tuple[int, int]) -> str:
    """The run-length string of a mask at another size, each pixel as the one at its middle."""
    if not text or shape == wanted:
        return text
    return rle.encode(cv2.resize(rle.decode(text, shape), wanted[::-1], interpolation=cv2.INTER_NEAREST))


def packed(png: bytes, most: tuple[int, int]) -> dict[str, Any] | None:
    """A map as the script unpacks it, no larger than `most`: deflated rows, each byte less the one to its left;
    None where nothing in it reaches FAINTEST."""
    levels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE) if png else None
    if levels is None:
        return None
    size = min(levels.shape[1], most[1]), min(levels.shape[0], most[0])
    if size != levels.shape[::-1]:
        levels = cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    levels = np.where(levels >= 255 * FAINTEST, levels, 0).astype(np.uint8)
    if not levels.any():
        return None
    differences = np.diff(levels, axis=1, prepend=np.uint8(0))  # modulo 256
    data = base64.b64encode(zlib.compress(differences.tobytes())).decode()
    return {"height": levels.shape[0], "width": levels.shape[1], "data": data}
