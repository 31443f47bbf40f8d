"""The four defects of a generated strip: how they look, and how they come into the picture."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from lib.synthetic.annotation import object_position, object_sizes, outline, outline_kind
from lib.synthetic.texture import HEIGHT, Roll, crop, curve


def bell(away: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """A bell of height 1 around 0."""
    return np.exp(-((away / width) ** 2))


def draw_pits(box: np.ndarray, mask: np.ndarray, rng: Generator, strength: float) -> None:
    """Class 1: small dark cores, each with a bright rim below, some with a short fine dark trail."""
    height, width = box.shape
    level = float(box.mean())
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    relief = np.zeros_like(box)
    for _ in range(int(np.clip(height * width / 450, 1, 9))):
        y, x = rng.uniform(0.25, 0.75) * height, rng.uniform(0.3, 0.7) * width
        tall, wide = rng.uniform(3, 6.5), rng.uniform(2.3, 4)
        away = ((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2
        rim = ((rows - y - 0.9 * tall) / tall) ** 2 + ((columns - x - rng.uniform(0.5, 1.5)) / wide) ** 2
        relief += rng.uniform(1.0, 1.8) * np.exp(-1.4 * rim) - rng.uniform(0.8, 1.1) * np.exp(-away)
        if rng.random() < 0.5:
            relief -= 0.35 * bell(columns - x, 1.3) * ((rows < y) & (rows > y - rng.uniform(15, 35)))
    box += strength * (0.75 * level + 20) * relief * mask


def draw_line(box: np.ndarray, mask: np.ndarray, rng: Generator, strength: float) -> None:
    """Class 2: a thin wandering dark line that opens into a lens, bright inside, and ends in a dark knot."""
    height, width = box.shape
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    middle = mask @ columns / np.maximum(0.1, mask.sum(axis=1))
    middle = cv2.GaussianBlur(middle[:, None], (1, 31), 6, borderType=cv2.BORDER_REPLICATE)
    away = columns - middle - curve(rng, height, max(3, height // 24), min(3.0, width / 9))[:, None]
    first = rng.uniform(0.05, 0.45) * height
    last = first + rng.uniform(0.3, 0.5) * height
    half = float(np.clip(width / 5, 1.8, 5)) * np.sqrt(
        np.maximum(0, np.sin(np.pi * (rows - first) / (last - first)))
    )
    half = half * ((rows > first) & (rows < last))
    bright, left, right = rng.uniform((0.3, 0.6, 0.6), (0.9, 1.1, 1.1))
    profile = bright * bell(away, np.maximum(0.4, 0.7 * half)) * (half > 0)
    profile -= np.maximum(left * bell(away + half, 1.3), right * bell(away - half, 1.3))
    profile -= 1.2 * bell(np.hypot(away, (rows - last) / 1.4), 2.6)
    fade = np.clip(0.95 + curve(rng, height, max(4, height // 12), 0.3), 0.4, 1.4)[:, None]
    profile *= 1 + 0.3 * crop(rng, "grain", height, width)
    box += strength * (0.55 * float(box.mean()) + 14) * profile * fade * mask


def streaks(rng: Generator, height: int, width: int) -> np.ndarray:
    """A bundle of upright lines, dark with a bright side or bright, (height, width) float32 about -1..1.5."""
    count = int(np.clip(width / rng.uniform(4.5, 7), 2, 14) + width / rng.uniform(20, 70))
    centres = rng.uniform(0.1, 0.9, (count, 1)) * width
    thick = rng.uniform(0.7, 2.2, (count, 1)) * rng.choice([1, 1, 1.8])
    columns = np.arange(width, dtype=np.float32)
    beside = centres + rng.choice([-2.2, 2.2], (count, 1)) * thick
    lines = rng.uniform(0.4, 1.1, (count, 1)) * bell(columns - beside, thick) - bell(columns - centres, thick)
    start, end = np.sort(rng.uniform(-0.6, 1.6, (2, count)), axis=0)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    weights = ((rows > start) & (rows < np.maximum(end, start + 0.6))) * rng.uniform(0.5, 1.1, count)
    uneven = rng.normal(1, 0.4, (max(3, height // 14), count)).astype(np.float32)
    weights = cv2.GaussianBlur(
        weights.astype(np.float32), (1, 21), 0, sigmaY=4, borderType=cv2.BORDER_REPLICATE
    )
    weights = weights * np.clip(cv2.resize(uneven, (count, height), interpolation=cv2.INTER_CUBIC), 0.1, 2)
    return rng.choice([1, 1, 1, -0.9]) * (weights.astype(np.float32) @ lines.astype(np.float32))


def draw_scratches(box: np.ndarray, mask: np.ndarray, rng: Generator, strength: float) -> None:
    """Class 3: streaks along the longer side, slanted like the outline; or a dark band; or a rough scar."""
    height, width = box.shape
    if width > 1.5 * height:
        draw_scratches(box.T, mask.T, rng, strength)
        return
    level = 0.65 * float(box.mean()) + 15
    # A noise bank holds a piece as large; a turned object may be longer.
    fits = height <= 300 and width <= 1600
    compact = height < 1.8 * width and width < 120
    kind = rng.choice(
        ["streaks", "torn", "flat", "scar"], p=[0.2, 0.15, 0.0, 0.65] if compact else [0.72, 0.16, 0.12, 0.0]
    )
    look = streaks(rng, height, width)
    columns = np.arange(width, dtype=np.float32)
    middle = mask @ columns / np.maximum(0.1, mask.sum(axis=1))
    slope = np.polyfit(np.arange(height), middle, 1)[0] if height > 20 else 0.0
    shear = np.array([[1, slope, -slope * height / 2], [0, 1, 0]], np.float32)
    look = cv2.warpAffine(look, shear, (width, height), borderMode=cv2.BORDER_REFLECT)
    if kind == "torn" and fits:
        torn = crop(rng, "drip", height, width) + 0.4 * crop(rng, "ripple", height, width)
        look = 0.6 * look - 0.75 * np.clip(2.5 * torn, 0, 1)
    elif kind == "flat":
        look = 0.45 * look - rng.uniform(0.35, 0.6)
    elif kind == "scar" and fits:
        dark = np.clip(0.75 + 0.8 * crop(rng, "drip", height, width), 0, 1.3)
        look = 0.3 * look - 0.65 * dark + 0.45 * crop(rng, "speck", height, width)
    if fits:
        look = look + (0.08 + 0.3 * np.abs(look)) * crop(rng, "grain", height, width)
    box += strength * level * np.clip(look, -1.05, 1.7) * mask


def draw_patch(box: np.ndarray, mask: np.ndarray, rng: Generator, strength: float) -> None:
    """Class 4: a crumpled, scaly surface with a dark ragged rim and bright cracks."""
    height, width = box.shape
    level = float(box.mean())
    zoom = rng.uniform(0.8, 1.7)
    folds = cv2.resize(crop(rng, "relief", int(height / zoom) + 1, int(width / zoom) + 1), (width, height))
    near = cv2.GaussianBlur(mask, (0, 0), max(2.0, min(9.0, min(height, width) / 9)))
    ragged = np.clip((near + 0.16 * crop(rng, "mottle", height, width) - 0.48) * 5, 0, 1) * mask
    tone = rng.uniform(0.5, 0.95) + strength * 0.3 * folds + 0.07 * crop(rng, "grain", height, width)
    tone += strength * rng.uniform(0.3, 1.0) * np.maximum(0, folds - 1.2)
    tone += 0.18 * crop(rng, "mottle", height, width)
    rim = np.clip(1.6 * (1 - cv2.GaussianBlur(ragged, (0, 0), 4)) * ragged, 0, 0.6)
    cover = ragged * min(1.0, 0.35 + 0.6 * strength)
    box += cover * (level * np.clip(tone - 0.8 * strength * rim, 0.12, 2.4) - box)


def visible_part(outlined: np.ndarray, slack: int, cut_above: bool, cut_below: bool) -> np.ndarray:
    """Where in its outline (h, w) 0/1 a defect shows, 0..1: inside by `slack` pixels, and fading out.

    Arguments:
        cut_above, cut_below: the outline goes on beyond the picture there.
    """
    room = 12
    wide = cv2.copyMakeBorder(outlined, room, room, room, room, cv2.BORDER_CONSTANT)
    if cut_above:
        wide[:room] = wide[room]
    if cut_below:
        wide[-room:] = wide[-room - 1]
    inner = cv2.erode(wide, np.ones((2 * slack + 1,) * 2, np.uint8)).astype(np.float32)
    return cv2.GaussianBlur(inner, (0, 0), sigmaX=1.2, sigmaY=3)[room:-room, room:-room]


DRAW: dict[int, Callable[[np.ndarray, np.ndarray, Generator, float], None]] = {
    1: draw_pits,
    2: draw_line,
    3: draw_scratches,
    4: draw_patch,
}


def fit_outline(
    masks: np.ndarray, rng: Generator, defect_class: int, height: int, width: int, lit: tuple[int, int]
) -> tuple[int, int, np.ndarray] | None:
    """Where an object lies, and what the annotator drew around it, clear of all in `masks` by 3 pixels.

    It becomes smaller with every tenth attempt of 40.

    Returns top row, left column and outline (h, w) uint8 0/1; None if no attempt came out clear.
    """
    width = min(width, lit[1] - lit[0] - 4)
    for attempt in range(40):
        if attempt % 10 == 9:
            height = max(12, height * 3 // 4)
            width = max(8, width * 3 // 4)
        top, left = object_position(rng, defect_class, height, width, lit)
        outlined = np.zeros((height, width), np.uint8)
        points = outline(rng, outline_kind(rng, defect_class, height, width), height, width)
        cv2.fillPoly(outlined, [points], 1)
        margin = (slice(max(0, top - 3), top + height + 3), slice(max(0, left - 3), left + width + 3))
        taken = masks[margin].any(axis=2)
        grown = cv2.dilate(
            cv2.copyMakeBorder(outlined, 3, 3, 3, 3, cv2.BORDER_CONSTANT), np.ones((7, 7), np.uint8)
        )
        grown = grown[3 - min(3, top) :, 3 - min(3, left) :][: taken.shape[0], : taken.shape[1]]
        if not (taken & grown.astype(bool)).any():
            return top, left, outlined
    return None


def put_defects(
    image: np.ndarray,
    masks: np.ndarray,
    rng: Generator,
    roll: Roll,
    defect_class: int,
    lit: tuple[int, int],
    ranks: tuple[float, float] = (0.5, 0.5),
) -> None:
    """Draw defects of a class into `image` (H, W) float32, and their outlines into `masks` (H, W, C) uint8.

    Objects keep clear of all in `masks`. What finds no room is left out; if it is the largest, so are all.

    Arguments:
        lit: first and last lit column; ranks: of the strip, see `object_sizes`.
    """
    sizes = sorted(object_sizes(rng, defect_class, *ranks), reverse=True)
    strip_contrast = roll["contrast"] * float(np.clip(rng.lognormal(0.45, 0.2), 0.95, 2.0))
    if rng.random() < 0.02:
        strip_contrast *= 0.4  # hardly to be seen, as some real ones are
    mask = masks[..., defect_class - 1]
    for height, width in sizes:
        fitted = fit_outline(masks, rng, defect_class, height, width, lit)
        if fitted is None:
            if mask.any():
                continue
            return
        top, left, outlined = fitted
        height, width = outlined.shape
        box = (slice(top, top + height), slice(left, left + width))
        mask[box] |= outlined
        soft = visible_part(outlined, 3 if min(height, width) > 24 else 1, top == 0, top + height == HEIGHT)
        if defect_class == 1:
            soft = cv2.GaussianBlur(outlined.astype(np.float32), (0, 0), 1.5)
        DRAW[defect_class](image[box], soft, rng, strip_contrast * float(rng.uniform(0.8, 1.2)))
