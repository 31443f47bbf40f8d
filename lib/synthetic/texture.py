"""The look of a generated strip before any mark: the noise it is made of, its light, its texture, its edge."""

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
    """A crumpled surface lit from above: folds, rather level than upright, with bright and dark flanks."""
    folds = octaves(rng, shape, (34, 90), 5, 0.55)
    folds = np.abs(folds + 0.6 * smooth_noise(rng, shape, (60, 90)))
    folds += 0.35 * np.abs(octaves(rng, shape, (16, 28), 3))
    shade = cv2.Sobel(folds, cv2.CV_32F, 0, 1, ksize=3) + 0.5 * cv2.Sobel(folds, cv2.CV_32F, 1, 0, ksize=3)
    return shade / shade.std() - 0.25 * np.maximum(0, 0.25 - folds) / 0.1


def above(noise: np.ndarray, level: float) -> np.ndarray:
    """What rises above `level` deviations, 0 elsewhere; its largest values are about 1."""
    rest = np.maximum(0, noise / noise.std() - level)
    return rest / np.quantile(rest[rest > 0], 0.9)


@lru_cache(maxsize=1)
def banks() -> dict[str, np.ndarray]:
    """Noise made once a process, (H + 64, W + 512) float32: to take random crops is faster than to draw."""
    rng = np.random.default_rng(BANK_SEED)
    shape = (HEIGHT + MARGIN, WIDTH + 8 * MARGIN)

    def blurred(across: float, along: float) -> np.ndarray:
        """Normal noise, smoothed by `across` pixels from left to right and `along` from top to bottom."""
        white = rng.standard_normal(shape).astype(np.float32)
        return cv2.GaussianBlur(white, (0, 0), across, sigmaY=along)

    grain = blurred(0.6, 0.7) * np.clip(1 + 0.25 * smooth_noise(rng, shape, (60, 110)), 0.3, 2)
    streak = smooth_noise(rng, shape, (14, 1)) + 0.8 * smooth_noise(rng, shape, (50, 2))
    phase = np.arange(shape[0], dtype=np.float32)[:, None] + 5 * smooth_noise(rng, shape, (90, 260))
    waves = np.sin(phase * (2 * np.pi / 5.5)) * np.clip(smooth_noise(rng, shape, (40, 120)) + 0.8, 0, 2)
    made = {
        "grain": grain / grain.std(),
        "streak": streak / streak.std(),
        "ripple": (waves + smooth_noise(rng, shape, (2, 26))) / 1.4,
        "mottle": octaves(rng, shape, (64, 64), 5),
        "drip": octaves(rng, shape, (140, 18), 4, 0.65),
        "drops": octaves(rng, shape, (44, 8), 2, 0.5),
        "field": smooth_noise(rng, shape, (150, 260)) + 0.5 * smooth_noise(rng, shape, (60, 40)),
        "speck": above(blurred(0.8, 1.0), 1.5),
        "flake": above(blurred(3.0, 1.0), 1.7),
        "dash": above(blurred(0.7, 5.0), 1.6),
        "relief": relief(rng, shape),
    }
    return {name: np.ascontiguousarray(bank, np.float32) for name, bank in made.items()}


def crop(rng: Generator, name: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A random piece of a noise bank, (height, width) float32, now and then mirrored; turned if it is higher
    than the bank."""
    bank = banks()[name]
    if height > bank.shape[0]:
        return crop(rng, name, width, height).T
    top = int(rng.integers(0, bank.shape[0] - height + 1))
    left = int(rng.integers(0, bank.shape[1] - width + 1))
    piece = bank[top : top + height, left : left + width]
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def curve(rng: Generator, length: int, knots: int, deviation: float) -> np.ndarray:
    """A smooth random line of `length` values around 0, float32."""
    values = rng.normal(0, deviation, (1, knots)).astype(np.float32)
    return cv2.resize(values, (length, 1), interpolation=cv2.INTER_CUBIC)[0]


def bell(away: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """A bell of height 1 around 0."""
    return np.exp(-((away / width) ** 2))


def make_roll(rng: Generator, shift: float = 0.0) -> Roll:
    """One roll of steel: what its strips have in common.

    Arguments:
        shift: 0 for training rolls; 1 for those of the test set, a little darker, grainier and more marked.
    """
    kinds = (
        "stain",
        "drips",
        "drops",
        "grime",
        "scale",
        "bands",
        "seam",
        "lines",
        "dirt",
        "tone",
        "spray",
        "ripple",
    )
    habits = rng.dirichlet([{"grime": 1.5, "seam": 0.2}.get(kind, 0.5) for kind in kinds])
    return {
        "base": float(np.clip(rng.lognormal(4.45 - 0.05 * shift, 0.25), 48, 165)),
        "light": curve(rng, WIDTH, 6, 0.14),
        "glow": float(rng.choice([0, 1, 1]) * rng.gamma(2.0, 0.2)),
        "glow_row": float(rng.choice([0.1, 0.5, 0.95], p=[0.15, 0.25, 0.6])),
        "glow_column": float(rng.uniform(0.1, 0.9)),
        "streak": (curve(rng, WIDTH, 400, 0.02) + curve(rng, WIDTH, 60, 0.03)) * float(rng.uniform(0.1, 1.0)),
        "grain": float(rng.uniform(0.035, 0.085) * (1 + 0.15 * shift)),
        "streakiness": float(rng.uniform(0.0, 0.05)),
        "mottle": float(rng.uniform(0.01, 0.05)),
        "ripple": float(max(0, rng.uniform(-0.03, 0.05))),
        "dash": float(max(0, rng.uniform(-0.12, 0.3))),
        "speck": float(max(0, rng.uniform(-0.1, 0.5))),
        "flake": float(max(0, rng.uniform(-0.4, 0.6))),
        "edge_share": float(rng.choice([0.05, 0.35, 0.9], p=[0.5, 0.25, 0.25])),
        "edge_left": bool(rng.random() < 0.5),
        "splash_share": float(rng.choice([0.0, 0.3], p=[0.7, 0.3])),
        "plate": str(rng.choice(["", "diamonds", "lenses"], p=[0.84, 0.1, 0.06])),
        "marks": dict(zip(kinds, (habits * (7 + shift)).tolist(), strict=True)),
        "contrast": float(rng.uniform(0.85, 1.2) * (1 - 0.07 * shift)),
    }


def light(rng: Generator, roll: Roll) -> np.ndarray:
    """How bright each place of a strip is lit, (H, W) float32 grey levels: from the side, and with a glow."""
    columns = 1 + roll["light"] + roll["streak"] + curve(rng, WIDTH, 5, 0.06) + curve(rng, WIDTH, 120, 0.015)
    rows = (
        1
        + np.linspace(-1, 1, HEIGHT, dtype=np.float32) * rng.normal(0.12, 0.18)
        + curve(rng, HEIGHT, 4, 0.05)
    )
    lit = np.outer(np.clip(rows, 0.4, 2), np.clip(columns, 0.3, 2)).astype(np.float32)
    if roll["glow"] > 0.05:
        middle = (
            roll["glow_row"] * HEIGHT + rng.normal(0, 25),
            roll["glow_column"] * WIDTH + rng.normal(0, 150),
        )
        down = bell(np.arange(HEIGHT, dtype=np.float32) - middle[0], rng.uniform(80, 260))
        along = bell(np.arange(WIDTH, dtype=np.float32) - middle[1], rng.uniform(180, 700))
        lit += (roll["glow"] * rng.uniform(0.6, 1.4)) * np.outer(down, along).astype(np.float32)
    return lit * np.float32(roll["base"] * rng.normal(1, 0.07))


def surface(rng: Generator, roll: Roll) -> np.ndarray:
    """The bare strip: light and texture of its roll, (H, W) float32 grey levels 0..255."""
    image = light(rng, roll)
    texture = cv2.addWeighted(
        crop(rng, "grain"), roll["grain"], crop(rng, "streak"), roll["streakiness"] * rng.uniform(0.3, 1), 1.0
    )
    texture = cv2.scaleAdd(crop(rng, "mottle"), roll["mottle"] * rng.uniform(0.3, 1.5), texture)
    if roll["ripple"] > 0.005:
        texture = cv2.scaleAdd(crop(rng, "ripple"), roll["ripple"], texture)
    places = np.clip(0.5 + crop(rng, "field"), 0, 1.5)
    if roll["dash"] > 0.01:
        texture = cv2.scaleAdd(crop(rng, "dash") * places, -roll["dash"], texture)
    for name in ("speck", "flake"):
        if roll[name] > 0.02:
            bank = crop(rng, name)
            texture = cv2.scaleAdd(bank * np.clip(crop(rng, "field") - 0.2, 0, 1.5), roll[name], texture)
    return cv2.multiply(image, np.maximum(texture, 0.05))


def plate(image: np.ndarray, rng: Generator, kind: str) -> None:
    """The raised pattern of a chequered plate, drawn into `image` (H, W) float32: "diamonds" or "lenses"."""
    step = float(rng.uniform(120, 180))
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None] + float(rng.uniform(0, step))
    columns = np.arange(WIDTH, dtype=np.float32) + float(rng.uniform(0, step))
    high = step * rng.uniform(0.8, 1.8) if kind == "diamonds" else step * rng.uniform(0.5, 0.7)
    if kind == "diamonds":
        first, second = (columns / step + rows / high) % 1 - 0.5, (columns / step - rows / high) % 1 - 0.5
        width = rng.uniform(0.035, 0.07)
        height = np.maximum(bell(first, width), bell(second, width))
    else:
        line = np.floor(rows / high)
        x = (columns / step + 0.5 * (line % 2)) % 1 - 0.5
        y = (rows / high) % 1 - 0.5
        turn = np.where(line % 2 == 0, 1.0, -1.0)
        height = np.clip(
            1.3 - 22 * (0.8 * x - 0.45 * turn * y) ** 2 / 0.35 - 90 * (0.5 * turn * x + 0.5 * y) ** 2, 0, 1
        )
    height = cv2.GaussianBlur(height.astype(np.float32), (0, 0), rng.uniform(0.8, 2))
    shade = cv2.Sobel(height, cv2.CV_32F, 0, 1) + rng.uniform(-0.5, 0.5) * cv2.Sobel(height, cv2.CV_32F, 1, 0)
    if rng.random() < 0.6:  # lit from above: both flanks are dark
        shade = np.abs(shade)
    image *= np.clip(1 - rng.uniform(0.8, 2.2) * shade + 0.15 * height, 0.15, 2.2)


def side_block(image: np.ndarray, rng: Generator, roll: Roll, largest: int) -> tuple[int, int]:
    """Black out the side beyond the strip's edge, on some strips; returns the first and the last lit column.

    Along the edge runs a rim of its own tone, often with a bright line.

    Arguments:
        largest: width of the block in pixels at the most.
    """
    if rng.random() > roll["edge_share"] or largest < 20:
        return 0, WIDTH
    width = int(min(largest, 20 + 1100 * rng.beta(1.1, 1.5)))
    rim = int(rng.integers(8, 60))
    tone = 1 + rng.uniform(-0.5, 0.5) * np.linspace(1, 0.1, rim, dtype=np.float32) + curve(rng, rim, 4, 0.12)
    if rng.random() < 0.6:
        tone = tone + rng.uniform(0.2, 0.9) * bell(np.arange(rim) - rng.uniform(1, 5), rng.uniform(1, 4))
    worn = np.maximum(0.2, 1 + rng.uniform(0, 0.25) * crop(rng, "drip", HEIGHT, rim)) * np.maximum(tone, 0.2)
    if rng.random() < 0.25:  # crumpled scale, which nobody counts
        worn = worn * np.clip(1 + 0.25 * crop(rng, "relief", HEIGHT, rim), 0.2, 2)
    black = np.maximum(0, 4 + 3 * crop(rng, "grain", HEIGHT, width))
    if roll["edge_left"]:
        image[:, width : width + rim] *= worn
        image[:, :width] = black
        return width + 3, WIDTH
    image[:, WIDTH - width - rim : WIDTH - width] *= worn[:, ::-1]
    image[:, WIDTH - width :] = black
    return 0, WIDTH - width - 3
