"""The four defects of a generated strip: how they look, and how they come into the picture."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from lib.synthetic.annotation import object_position, object_sizes, outline, outline_kind
from lib.synthetic.texture import HEIGHT, Roll, bell, crop, curve

MEDIAN = {1: 1.0, 2: 0.5, 3: 0.85, 4: 0.7}  # contrast of a defect class: half of its strips are fainter


def middle_of(mask: np.ndarray) -> np.ndarray:
    """The middle column of each row of a mask (h, w) 0..1, (h,) float32, smooth."""
    columns = np.arange(mask.shape[1], dtype=np.float32)
    middle = mask @ columns / np.maximum(0.1, mask.sum(axis=1))
    return cv2.GaussianBlur(middle[:, None], (1, 31), 6, borderType=cv2.BORDER_REPLICATE)[:, 0]


def draw_pits(box: np.ndarray, mask: np.ndarray, rng: Generator, strength: float, manner: float) -> None:
    """Class 1: small dim cores above each other, with bright flecks at their ends, often on a faint hair."""
    height, width = box.shape
    level = float(box.mean())
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    look = np.zeros_like(box)
    count = int(np.clip(height * width / 700, 1, 9))
    for _ in range(count):
        y, x = rng.uniform(0.2, 0.8) * height, rng.uniform(0.3, 0.7) * width
        tall, wide = rng.uniform(3, 9), rng.uniform(2, 4.5)
        look -= rng.uniform(0.5, 1.1) * bell(np.hypot((rows - y) / tall, (columns - x) / wide), 1.0)
        if rng.random() < 0.75:
            below = y + rng.choice([-0.8, 0.9]) * tall
            fleck = np.hypot(
                (rows - below) / rng.uniform(1.5, 5), (columns - x - rng.normal(0, 1)) / rng.uniform(1.2, 3)
            )
            look += rng.uniform(0.5, 4.0) * bell(fleck, 1.0)
    if rng.random() < 0.5:
        look -= rng.uniform(0.1, 0.5) * bell(columns - width * rng.uniform(0.4, 0.6), 1.2)
    if height * width > 2500 and rng.random() < 0.5:  # a large one is a dark scaly spot with flecks
        look -= 0.5 * np.clip(0.6 + 0.6 * crop(rng, "drip", height, width), 0, 1.2)
        look += 1.2 * crop(rng, "speck", height, width)
    box += strength * (0.45 * level + 10) * look * mask


def draw_line(box: np.ndarray, mask: np.ndarray, rng: Generator, strength: float, manner: float) -> None:
    """Class 2: a thin wandering dim line, often double, that opens into a lens and may end in a knot."""
    height, width = box.shape
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    away = columns - middle_of(mask)[:, None]
    away = away - curve(rng, height, max(3, height // 24), min(3.0, width / 9))[:, None]
    first = rng.uniform(0.05, 0.45) * height
    last = first + rng.uniform(0.3, 0.5) * height
    half = float(np.clip(width / 5, 1.8, 5)) * np.sqrt(
        np.maximum(0, np.sin(np.pi * (rows - first) / (last - first)))
    )
    half = half * ((rows > first) & (rows < last))
    bright, left, right = rng.uniform((0.0, 0.5, 0.3), (0.7, 1.1, 1.1))
    profile = bright * bell(away, np.maximum(0.4, 0.7 * half)) * (half > 0)
    profile -= np.maximum(left * bell(away + half, 1.4), right * bell(away - half, 1.4))
    profile -= 0.35 * bell(away, max(2.0, width / 4))
    if rng.random() < 0.4:
        profile -= bell(np.hypot(away, (rows - last) / 1.4), 2.6)
    fade = np.clip(0.9 + curve(rng, height, max(4, height // 12), 0.4), 0.1, 1.5)[:, None]
    profile *= 1 + 0.5 * crop(rng, "grain", height, width)
    box += strength * (0.22 * float(box.mean()) + 5) * profile * fade * mask


def streaks(rng: Generator, height: int, width: int, slope: float, bright: bool = False) -> np.ndarray:
    """A few upright lines, thin and wide, some with a bright side or bright specks on them, (height, width)
    float32.

    Arguments:
        slope: columns a row by which they lean; bright: above 0 instead of below.
    """
    count = 1 + int(rng.poisson(np.clip(width / 30, 0.4, 5)))
    thick = np.where(
        rng.random((count, 1)) < 0.3, rng.uniform(2, 5, (count, 1)), rng.uniform(0.7, 1.8, (count, 1))
    )
    thick = np.minimum(thick, width / 5)
    centres = rng.uniform(0.22, 0.78, (count, 1)) * width
    columns = np.arange(width, dtype=np.float32)
    lines = -bell(columns - centres, thick) * rng.uniform(0.6, 1.1, (count, 1))
    beside = centres + rng.choice([-1.8, 1.8], (count, 1)) * thick
    lines += rng.choice([0, 0, 0, 0.4], (count, 1)) * bell(columns - beside, thick)
    if bright:
        lines *= -rng.uniform(0.5, 3)
    reach = rng.random((2, count))  # most run through, some begin or end within
    start, end = np.where(
        reach < 0.75, [[-0.1], [1.1]], rng.uniform([[0.0], [0.4]], [[0.6], [1.0]], (2, count))
    )
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    weights = np.clip((rows - start) * 12, 0, 1) * np.clip((end - rows) * 12, 0, 1)
    uneven = rng.normal(1, 0.15, (max(3, height // 14), count)).astype(np.float32)
    weights = weights * np.clip(
        cv2.resize(uneven, (count, height), interpolation=cv2.INTER_CUBIC).reshape(height, count), 0.2, 2
    )
    look = weights.astype(np.float32) @ lines.astype(np.float32)
    shear = np.array([[1, slope, -slope * height / 2], [0, 1, 0]], np.float32)
    look = cv2.warpAffine(look, shear, (width, height), borderMode=cv2.BORDER_REFLECT)
    if rng.random() < 0.4:
        look = look + rng.uniform(0.5, 2) * np.minimum(1, np.abs(look)) * crop(rng, "speck", height, width)
    return look


def draw_scratches(box: np.ndarray, mask: np.ndarray, rng: Generator, strength: float, manner: float) -> None:
    """Class 3: upright lines within a generous outline; or a rough scar, dark with bright flecks; or a field of
    flecks; or a torn dark band; along the longer side."""
    height, width = box.shape
    if width > 1.5 * height:
        draw_scratches(box.T, mask.T, rng, strength, manner)
        return
    compact = height < 1.8 * width and width < 160
    rough = 0.75 if manner > 0.75 else 0.55 if compact else 0.04
    kind = str(rng.choice(["streaks", "scar", "flecks", "torn"], p=[0.92 - rough, rough, 0.05, 0.03]))
    level = 0.42 * float(box.mean()) + 6
    if kind == "streaks":
        middle = middle_of(mask)
        slope = np.polyfit(np.arange(height), middle, 1)[0] if height > 20 else 0.0
        look = streaks(rng, height, width, slope, manner < 0.1)
        if rng.random() < 0.15:  # worn beside the lines as well
            look = look - 0.2 * np.clip(0.5 + 0.6 * crop(rng, "drip", height, width), 0, 1)
    elif kind == "scar":
        dark = np.clip(crop(rng, "drops" if rng.random() < 0.5 else "mottle", height, width) + 0.2, 0, 1.3)
        near = cv2.GaussianBlur(mask, (0, 0), max(2.0, min(height, width) / 6))
        look = (0.8 * crop(rng, "speck", height, width) * rng.uniform(1.0, 5.0) - 0.9 * dark) * near
    elif kind == "flecks":
        look = rng.uniform(1.5, 5) * crop(rng, str(rng.choice(["speck", "flake"])), height, width)
        look = look * np.clip(0.7 + crop(rng, "mottle", height, width), 0, 1.5)
    else:
        torn = crop(rng, "drops", height, width) + 0.6 * crop(rng, "ripple", height, width)
        look = 0.4 * streaks(rng, height, width, 0.0) - 0.9 * np.clip(
            2.5 * (torn - rng.uniform(-0.5, 0.8)), 0, 1
        )
    look = look + 0.12 * np.abs(look) * crop(rng, "grain", height, width)
    box += strength * level * np.clip(look, -1.9, 4.0) * mask


def draw_patch(box: np.ndarray, mask: np.ndarray, rng: Generator, strength: float, manner: float) -> None:
    """Class 4: a skin of folds, or a flat dull patch, whose ragged rim throws a shadow to one side."""
    height, width = box.shape
    level = cv2.GaussianBlur(box, (0, 0), 12)
    zoom = rng.uniform(0.85, 3.0)
    folds = cv2.resize(crop(rng, "relief", int(height / zoom) + 1, int(width / zoom) + 1), (width, height))
    if zoom > 1.2:
        folds = folds + 0.4 * crop(rng, "relief", height, width)
    near = cv2.GaussianBlur(mask, (0, 0), max(1.5, min(7.0, min(height, width) / 10)))
    ragged = np.clip((near + 0.28 * crop(rng, "mottle", height, width) - 0.5) * 6, 0, 1) * mask
    flat = rng.random() < (0.7 if manner < 0.25 else 0.1)
    tone = float(np.clip(rng.lognormal(-0.12, 0.18), 0.55, 1.5)) + 0.05 * crop(rng, "grain", height, width)
    tone = (
        tone
        + strength * (0.05 if flat else 0.17) * folds
        + 0.08 * strength * crop(rng, "mottle", height, width)
    )
    if not flat:
        tone += strength * rng.uniform(0.1, 0.8) * np.maximum(0, folds - 1.3)
    if rng.random() < 0.7:  # sharp cracks, with a bright lip below each
        cracks = bell(crop(rng, "mottle", height, width) - rng.uniform(-0.5, 0.5), rng.uniform(0.05, 0.12))
        tone = (
            tone
            - strength * rng.uniform(0.2, 0.6) * cracks
            + strength * rng.uniform(0.1, 0.6) * np.roll(cracks, 3, 0)
        )
    if rng.random() < 0.35:  # shining places
        shine = np.clip(crop(rng, "mottle", height, width) - rng.uniform(0.3, 1.2), 0, 1)
        tone = tone + rng.uniform(0.3, 1.5) * shine * np.clip(0.6 + 0.4 * folds, 0, 2)
    soft = cv2.GaussianBlur(ragged, (0, 0), 1.5)
    away = rng.uniform(-0.6, 0.6), float(rng.choice([1.0, -1.0], p=[0.7, 0.3]))
    rim = away[0] * cv2.Sobel(soft, cv2.CV_32F, 1, 0) + away[1] * cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    rim = np.clip(rim * rng.uniform(0.2, 0.7), -0.8, 1.0) - 0.25 * max(0, rng.uniform(-1, 1)) * (
        soft > 0.05
    ) * (soft < 0.6)
    box += ragged * (level * np.clip(tone, 0.15, 2.4) - box)
    box *= np.clip(1 + strength * rim * mask, 0.2, 2.0)


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


DRAW: dict[int, Callable[[np.ndarray, np.ndarray, Generator, float, float], None]] = {
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
    # From hardly to be seen to glaring, as real ones are.
    strip_contrast = roll["contrast"] * float(
        np.clip(rng.lognormal(np.log(MEDIAN[defect_class]), 0.45), 0.25, 3.0)
    )
    # What the objects of a strip have in common, 0..1: see the functions that draw them.
    manner = float(rng.random())
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
        DRAW[defect_class](image[box], soft, rng, strip_contrast * float(rng.uniform(0.8, 1.2)), manner)
