"""The look of a generated strip before any defect: texture, uneven light, side blocks and harmless marks."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

HEIGHT, WIDTH = 256, 1600
MARGIN = 64  # rows, and an eighth of the columns, that a noise bank has beyond a strip, so that crops differ
BANK_SEED = 20190725

Roll = dict[str, Any]  # what the strips of one roll have in common, see `make_roll`


def smooth_noise(rng: Generator, shape: tuple[int, int], cell: tuple[int, int]) -> np.ndarray:
    """Noise of mean 0 and deviation 1: normal values on a grid of cells (rows, columns), made full size."""
    height, width = shape
    grid = rng.standard_normal((max(4, height // cell[0] + 2), max(4, width // cell[1] + 2))).astype(
        np.float32
    )
    noise = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / noise.std()


def octaves(
    rng: Generator, shape: tuple[int, int], cell: tuple[int, int], count: int, fall: float = 0.6
) -> np.ndarray:
    """A sum of `count` smooth noises, each half as coarse and `fall` as strong as the last; deviation 1."""
    total = np.zeros(shape, np.float32)
    for octave in range(count):
        total += fall**octave * smooth_noise(
            rng, shape, (max(1, cell[0] >> octave), max(1, cell[1] >> octave))
        )
    return total / total.std()


def relief(rng: Generator, shape: tuple[int, int]) -> np.ndarray:
    """A crumpled surface lit from the side: folds with bright cracks on one flank, dark ones on the other."""
    folds = octaves(rng, shape, (48, 72), 5, 0.55)
    folds = np.abs(folds + 0.6 * smooth_noise(rng, shape, (90, 60)))
    folds += 0.35 * np.abs(octaves(rng, shape, (20, 28), 3))
    shade = cv2.Sobel(folds, cv2.CV_32F, 0, 1, ksize=3) + 0.5 * cv2.Sobel(folds, cv2.CV_32F, 1, 0, ksize=3)
    return shade / shade.std() - 0.25 * np.maximum(0, 0.25 - folds) / 0.1


@lru_cache(maxsize=1)
def banks() -> dict[str, np.ndarray]:
    """Noise made once a process, (H + 64, W + 512) float32: to take random crops is faster than to draw."""
    rng = np.random.default_rng(BANK_SEED)
    shape = (HEIGHT + MARGIN, WIDTH + 8 * MARGIN)
    grain = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 0.6)
    streak = smooth_noise(rng, shape, (14, 1)) + 0.8 * smooth_noise(rng, shape, (50, 2))
    bright = np.maximum(
        0, cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 0.8, sigmaY=1.3) - 0.75
    )
    made = {
        "grain": grain / grain.std(),
        "streak": streak / streak.std(),
        "ripple": smooth_noise(rng, shape, (2, 26)),
        "mottle": octaves(rng, shape, (64, 64), 5),
        "drip": octaves(rng, shape, (140, 18), 4, 0.65),
        "speck": bright / bright.std(),
        "relief": relief(rng, shape),
    }
    return {name: np.ascontiguousarray(bank, np.float32) for name, bank in made.items()}


def crop(rng: Generator, name: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A random piece of a noise bank, (height, width) float32, now and then mirrored."""
    bank = banks()[name]
    top = int(rng.integers(0, bank.shape[0] - height + 1))
    left = int(rng.integers(0, bank.shape[1] - width + 1))
    piece = bank[top : top + height, left : left + width]
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def curve(rng: Generator, length: int, knots: int, deviation: float) -> np.ndarray:
    """A smooth random line of `length` values around 0, float32."""
    values = rng.normal(0, deviation, (1, knots)).astype(np.float32)
    return cv2.resize(values, (length, 1), interpolation=cv2.INTER_CUBIC)[0]


def make_roll(rng: Generator, shift: float = 0.0) -> Roll:
    """One roll of steel: what its strips have in common.

    Arguments:
        shift: 0 for training rolls; 1 for those of the test set, a little darker, grainier and more marked.
    """
    kinds = ("stain", "drips", "scale", "bands", "seam", "dashes", "dirt", "tone", "ripple")
    habits = rng.dirichlet(np.full(len(kinds), 0.45))
    return {
        "base": float(np.clip(rng.normal(102 - 5 * shift, 24), 48, 172)),
        "light": curve(rng, WIDTH, 7, 0.24),
        "streak": (curve(rng, WIDTH, 400, 0.05) + curve(rng, WIDTH, 60, 0.06)) * float(rng.uniform(0.1, 1.0)),
        "grain": float(rng.uniform(0.035, 0.10) * (1 + 0.15 * shift)),
        "streakiness": float(rng.uniform(0.015, 0.07)),
        "mottle": float(rng.uniform(0.01, 0.07)),
        "ripple": float(max(0, rng.uniform(-0.04, 0.04))),
        "speckle": float(max(0, rng.uniform(-0.12, 0.12))),
        "edge_share": float(rng.choice([0.05, 0.35, 0.9], p=[0.5, 0.25, 0.25])),
        "edge_left": bool(rng.random() < 0.5),
        "splash_share": float(rng.choice([0.0, 0.25], p=[0.7, 0.3])),
        "marks": dict(zip(kinds, (habits * (5 + shift)).tolist(), strict=True)),
        "contrast": float(rng.uniform(0.85, 1.2) * (1 - 0.07 * shift)),
    }


def surface(rng: Generator, roll: Roll) -> np.ndarray:
    """The bare strip: light and texture of its roll, (H, W) float32 grey levels 0..255."""
    columns = 1 + roll["light"] + roll["streak"] + curve(rng, WIDTH, 6, 0.08) + curve(rng, WIDTH, 120, 0.025)
    columns *= roll["base"] * rng.normal(1, 0.07)
    rows = 1 + curve(rng, HEIGHT, 4, 0.05)
    image = np.outer(rows, np.maximum(columns, 18)).astype(np.float32)
    texture = cv2.addWeighted(
        crop(rng, "grain"), roll["grain"], crop(rng, "streak"), roll["streakiness"], 1.0
    )
    texture = cv2.scaleAdd(crop(rng, "mottle"), roll["mottle"] * rng.uniform(0.3, 1.5), texture)
    if roll["ripple"] > 0.01:
        texture = cv2.scaleAdd(crop(rng, "ripple"), roll["ripple"], texture)
    if roll["speckle"] > 0.01:
        texture = cv2.scaleAdd(crop(rng, "speck"), roll["speckle"], texture)
    return cv2.multiply(image, texture)


def envelope(
    rng: Generator, width: int = WIDTH, least: int = 80, most: int = 600
) -> tuple[int, int, np.ndarray]:
    """Where along the strip a mark lies: first and last column, and a smooth weight 0..1 of each, float32."""
    span = int(rng.integers(least, most))
    left = int(rng.integers(-span // 3, width - span // 2))
    first, last = max(0, left), min(width, left + span)
    position = (np.arange(first, last, dtype=np.float32) - left) / span
    return first, last, np.clip(4 * np.minimum(position, 1 - position), 0, 1)


def mark_drips(image: np.ndarray, rng: Generator) -> None:
    """Water stains: vertical, flat, ragged darker (seldom brighter) patches without grain of their own."""
    first, last, weight = envelope(rng)
    shape = np.clip((crop(rng, "drip", HEIGHT, last - first) - rng.uniform(0.4, 1.3)) * 6, 0, 1)
    image[:, first:last] *= 1 - rng.choice([0.42, 0.3, -0.2]) * rng.uniform(0.6, 1) * shape * weight


def mark_scale(image: np.ndarray, rng: Generator) -> None:
    """Scale: a field of fine bright specks that thins out to its sides."""
    first, last, weight = envelope(rng)
    patch = np.clip(0.6 + 0.8 * crop(rng, "drip", HEIGHT, last - first), 0, 1.4)
    image[:, first:last] += rng.uniform(5, 24) * crop(rng, "speck", HEIGHT, last - first) * patch * weight


def mark_stain(image: np.ndarray, rng: Generator) -> None:
    """A stain: a soft-edged blob, darker or brighter, smooth inside."""
    height, width = int(rng.integers(40, 200)), int(rng.integers(60, 420))
    top, left = int(rng.integers(0, HEIGHT - height + 1)), int(rng.integers(0, WIDTH - width))
    rows, columns = (
        np.linspace(-1, 1, height, dtype=np.float32)[:, None],
        np.linspace(-1, 1, width, dtype=np.float32),
    )
    blob = 1.05 - rows**2 - columns**2 - 0.35 * np.abs(smooth_noise(rng, (height, width), (40, 50)))
    depth = rng.choice([-0.7, 0.6]) * rng.uniform(0.4, 1)
    image[top : top + height, left : left + width] *= 1 + depth * np.clip(blob, 0, 1)


def mark_bands(image: np.ndarray, rng: Generator) -> None:
    """Soft vertical bands over the whole height: cooling water and worn rolls."""
    first, last, weight = envelope(rng, least=200, most=900)
    bands = curve(rng, last - first, max(4, (last - first) // 30), rng.uniform(0.08, 0.22))
    image[:, first:last] *= np.maximum(0.3, 1 + bands * weight)


def mark_seam(image: np.ndarray, rng: Generator) -> None:
    """A seam: a perfectly straight, even line over the whole height, mostly stippled, else soft-edged."""
    width = int(rng.integers(3, 6))
    rows = np.full((HEIGHT, 1), rng.choice([-0.45, -0.3, 0.4]), np.float32)
    columns = np.ones(width, np.float32)
    if rng.random() < 0.8:
        rows[(np.arange(HEIGHT) // int(rng.integers(4, 9))) % 2 == 0] *= 0.1
    else:
        columns = np.hanning(4 * width).astype(np.float32)
    left = int(rng.integers(10, WIDTH - 30))
    image[:, left : left + len(columns)] *= 1 + rows * columns


def mark_dashes(image: np.ndarray, rng: Generator) -> None:
    """Thin short dark dashes, all upright and alike: scattered scale that was rolled in flat."""
    for _ in range(int(rng.integers(6, 40))):
        height, top, left = (
            int(rng.integers(6, 34)),
            int(rng.integers(0, HEIGHT - 34)),
            int(rng.integers(0, WIDTH - 2)),
        )
        image[top : top + height, left : left + int(rng.integers(1, 3))] *= rng.uniform(0.5, 0.8)


def mark_dirt(image: np.ndarray, rng: Generator) -> None:
    """Dirt: a cloud of small dark flecks without bright edges."""
    first, last, weight = envelope(rng, most=400)
    cloud = np.clip(crop(rng, "mottle", HEIGHT, last - first) - 0.3, 0, 1.2) * weight
    flecks = np.clip(crop(rng, "grain", HEIGHT, last - first) + 1.2 * cloud - 1.2, 0, 0.8)
    image[:, first:last] *= 1 - 0.5 * np.minimum(1, cv2.blur(cloud * flecks * 2, (3, 3)) + 0.3 * cloud)


def mark_tone(image: np.ndarray, rng: Generator) -> None:
    """A large area that is evenly lighter or darker behind a curved border: the tongue of a water film."""
    border = int(rng.integers(100, WIDTH - 100)) + np.linspace(-1, 1, HEIGHT) ** 2 * rng.normal(0, 90)
    border = border + np.linspace(-1, 1, HEIGHT) * rng.normal(0, 110)
    side = (np.arange(WIDTH, dtype=np.float32)[None, ::4] - border[::4, None]) * rng.choice([-1, 1]) / 6
    fade = np.clip(side, 0, 1) * np.clip(1.6 - side / rng.uniform(30, 120), 0, 1)
    image *= 1 + rng.choice([-0.22, 0.25]) * cv2.resize(fade, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


def mark_ripple(image: np.ndarray, rng: Generator) -> None:
    """Chatter: fine level waves across part of the strip."""
    first, last, weight = envelope(rng, least=200, most=900)
    image[:, first:last] *= 1 + rng.uniform(0.03, 0.09) * crop(rng, "ripple", HEIGHT, last - first) * weight


def mark_splash(image: np.ndarray, rng: Generator) -> None:
    """Glare on water drops: fully white spots with spiky borders in a few columns; harmless."""
    first, last, weight = envelope(rng, least=90, most=260)
    drops = crop(rng, "drip", HEIGHT, last - first) + 0.5 * crop(rng, "mottle", HEIGHT, last - first)
    image[:, first:last] += 400 * np.clip((drops - rng.uniform(1.5, 2.1)) * weight, 0, 1)


MARKS: dict[str, Callable[[np.ndarray, Generator], None]] = {
    "stain": mark_stain, "drips": mark_drips, "scale": mark_scale, "bands": mark_bands, "seam": mark_seam,
    "dashes": mark_dashes, "dirt": mark_dirt, "tone": mark_tone, "ripple": mark_ripple,
}  # fmt: skip


def harmless_marks(image: np.ndarray, rng: Generator, roll: Roll, extra: float = 0.0) -> None:
    """Put the roll's harmless marks on `image`, (H, W) float32, in place; `extra` more of them on average."""
    total = sum(roll["marks"].values())
    for name, rate in roll["marks"].items():
        for _ in range(min(4, int(rng.poisson(rate * (1 + extra / total))))):
            MARKS[name](image, rng)
    if rng.random() < roll["splash_share"]:
        mark_splash(image, rng)


def side_block(image: np.ndarray, rng: Generator, roll: Roll, largest: int) -> tuple[int, int]:
    """Black out the side beyond the strip's edge, on some strips; returns the first and the last lit column.

    Arguments:
        largest: width of the block in pixels at the most.
    """
    if rng.random() > roll["edge_share"] or largest < 20:
        return 0, WIDTH
    width = int(min(largest, 20 + 1100 * rng.beta(1.1, 1.5)))
    black = np.maximum(0, 4 + 3 * crop(rng, "grain", HEIGHT, width))
    rim = int(rng.integers(8, 60))
    glow = 1 + rng.uniform(-0.45, 0.6) * np.linspace(1, 0.2, rim, dtype=np.float32)
    if roll["edge_left"]:
        image[:, width : width + rim] *= glow
        image[:, :width] = black
        return width + 3, WIDTH
    image[:, WIDTH - width - rim : WIDTH - width] *= glow[::-1]
    image[:, WIDTH - width :] = black
    return 0, WIDTH - width - 3
