"""Harmless marks on a generated strip: grime, water, light and wear that are no defects."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from lib.synthetic.texture import HEIGHT, WIDTH, Roll, bell, crop, curve, smooth_noise


def envelope(
    rng: Generator, width: int = WIDTH, least: int = 80, most: int = 600
) -> tuple[int, int, np.ndarray]:
    """Where along the strip a mark lies: first and last column, and a smooth weight 0..1 of each, float32."""
    span = int(rng.integers(least, most))
    left = int(rng.integers(-span // 3, width - span // 2))
    first, last = max(0, left), min(width, left + span)
    position = (np.arange(first, last, dtype=np.float32) - left) / span
    return first, last, np.clip(4 * np.minimum(position, 1 - position), 0, 1)


def depth_of(rng: Generator, median: float = 0.15, darker: float = 0.8) -> float:
    """How much darker a mark is, as a share of the level, below 0 for a brighter one."""
    depth = min(0.6, float(rng.lognormal(np.log(median), 0.5)))
    return depth if rng.random() < darker else -depth


def mark_drips(image: np.ndarray, rng: Generator) -> None:
    """Water stains: vertical, flat, ragged darker (seldom brighter) patches without grain of their own."""
    first, last, weight = envelope(rng)
    shape = np.clip((crop(rng, "drip", HEIGHT, last - first) - rng.uniform(0.4, 1.5)) * 8, 0, 1)
    image[:, first:last] *= 1 - depth_of(rng, 0.2) * shape * np.sqrt(weight)


def mark_grime(image: np.ndarray, rng: Generator) -> None:
    """Grime: a wide field of upright ragged shades and short dashes, darker here and brighter there."""
    first, last, weight = envelope(rng, least=150, most=1100)
    size = (HEIGHT, last - first)
    shade = np.clip(crop(rng, "drip", *size) + 0.6 * crop(rng, "drops", *size) - rng.uniform(-0.5, 1), -1, 2)
    shade = 0.6 * shade + rng.uniform(0.3, 1.2) * crop(rng, "dash", *size)
    if rng.random() < 0.5:
        shade = shade - rng.uniform(0.2, 1.0) * crop(rng, str(rng.choice(["speck", "flake"])), *size)
    places = np.clip(0.6 + 0.8 * crop(rng, "field", *size), 0, 1.3) * weight
    image[:, first:last] *= np.clip(1 - depth_of(rng, 0.13, 0.75) * shade * places, 0.25, 2.0)


def mark_drops(image: np.ndarray, rng: Generator) -> None:
    """Scattered flat upright drops, darker or brighter, with sharp outlines."""
    first, last, weight = envelope(rng, least=150, most=1200)
    level = rng.uniform(1.2, 2.2) + 0.8 * (1 - weight)
    shape = np.clip((crop(rng, "drops", HEIGHT, last - first) - level) * 7, 0, 1)
    image[:, first:last] *= 1 - depth_of(rng, 0.22) * shape


def mark_scale(image: np.ndarray, rng: Generator) -> None:
    """Scale: a field of short level bright dashes and specks that thins out to its sides."""
    first, last, weight = envelope(rng, least=60, most=500)
    patch = np.clip(0.5 + 0.9 * crop(rng, "field", HEIGHT, last - first), 0, 1.4)
    kind = str(rng.choice(["flake", "speck"]))
    image[:, first:last] += rng.uniform(10, 90) * crop(rng, kind, HEIGHT, last - first) * patch * weight


def mark_stain(image: np.ndarray, rng: Generator) -> None:
    """A stain: a soft-edged blob, darker or brighter, smooth inside."""
    height, width = int(rng.integers(40, 200)), int(rng.integers(60, 420))
    top, left = int(rng.integers(0, HEIGHT - height + 1)), int(rng.integers(0, WIDTH - width))
    rows, columns = (
        np.linspace(-1, 1, height, dtype=np.float32)[:, None],
        np.linspace(-1, 1, width, dtype=np.float32),
    )
    blob = 1.05 - rows**2 - columns**2 - 0.35 * np.abs(smooth_noise(rng, (height, width), (40, 50)))
    image[top : top + height, left : left + width] *= 1 - depth_of(rng, 0.25, 0.6) * np.clip(blob, 0, 1)


def mark_bands(image: np.ndarray, rng: Generator) -> None:
    """Vertical bands over the whole height, with soft or sharp sides: cooling water and worn rolls."""
    first, last, weight = envelope(rng, least=200, most=1200)
    bands = curve(rng, last - first, max(4, (last - first) // 30), rng.uniform(0.03, 0.15))
    if rng.random() < 0.4:
        bands = np.round(bands / 0.08) * 0.08
    image[:, first:last] *= np.maximum(0.3, 1 + cv2.GaussianBlur(bands[None], (0, 0), 1.5)[0] * weight)


def mark_seam(image: np.ndarray, rng: Generator) -> None:
    """A seam: a perfectly straight, even line over the whole height, mostly stippled, else soft-edged."""
    width = int(rng.integers(3, 6))
    rows = np.full((HEIGHT, 1), depth_of(rng, 0.25, 0.7), np.float32)
    columns = np.ones(width, np.float32)
    if rng.random() < 0.7:
        rows[(np.arange(HEIGHT) // int(rng.integers(4, 9))) % 2 == 0] *= 0.1
    else:
        columns = np.float32(0.35) * np.hanning(4 * width).astype(np.float32)
    left = int(rng.integers(10, WIDTH - 30))
    image[:, left : left + len(columns)] *= 1 - rows * columns


def mark_lines(image: np.ndarray, rng: Generator) -> None:
    """Faint thin upright lines and dashes: wear that nobody counts as a scratch."""
    first, last, _ = envelope(rng, least=60, most=500)
    for _ in range(int(rng.integers(2, 14))):
        height = int(rng.choice([rng.integers(8, 40), rng.integers(40, 250)], p=[0.7, 0.3]))
        top, left = int(rng.integers(0, HEIGHT - height)), int(rng.integers(first, max(first + 1, last - 2)))
        fade = np.hanning(height + 2)[1:-1, None].astype(np.float32) ** 0.5
        image[top : top + height, left : left + int(rng.integers(1, 3))] *= 1 - rng.uniform(0.05, 0.22) * fade


def mark_dirt(image: np.ndarray, rng: Generator) -> None:
    """Dirt: a cloud of dark flecks, stretched up or along, without bright edges."""
    first, last, weight = envelope(rng, most=400)
    size = (HEIGHT, last - first)
    cloud = np.clip(crop(rng, "mottle", *size) - rng.uniform(0.3, 1.0), 0, 1.2) * weight
    flecks = np.clip(
        crop(rng, str(rng.choice(["drops", "ripple", "grain"])), *size) + 1.0 * cloud - 0.8, 0, 0.8
    )
    image[:, first:last] *= 1 - rng.uniform(0.2, 0.7) * np.minimum(
        1, cv2.blur(cloud * flecks * 2, (3, 3)) + 0.2 * cloud
    )


def mark_tone(image: np.ndarray, rng: Generator) -> None:
    """A large area that is evenly lighter or darker behind a curved border: the tongue of a water film."""
    border = int(rng.integers(100, WIDTH - 100)) + np.linspace(-1, 1, HEIGHT) ** 2 * rng.normal(0, 90)
    border = border + np.linspace(-1, 1, HEIGHT) * rng.normal(0, 110)
    side = (np.arange(WIDTH, dtype=np.float32)[None, ::4] - border[::4, None]) * rng.choice([-1, 1]) / 6
    fade = np.clip(side, 0, 1) * np.clip(1.6 - side / rng.uniform(30, 120), 0, 1)
    image *= 1 - depth_of(rng, 0.15, 0.5) * cv2.resize(fade, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


def mark_ripple(image: np.ndarray, rng: Generator) -> None:
    """Chatter: fine level waves across part of the strip."""
    first, last, weight = envelope(rng, least=200, most=900)
    image[:, first:last] *= 1 + rng.uniform(0.03, 0.12) * crop(rng, "ripple", HEIGHT, last - first) * weight


def mark_spray(image: np.ndarray, rng: Generator) -> None:
    """Bright hairs of a few pixels that lie in all directions, and single bright specks: spray."""
    for _ in range(int(rng.integers(5, 40))):
        x, y = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT))
        angle, length = rng.uniform(0, 2 * np.pi), rng.gamma(1.5, 4)
        end = (int(x + length * np.cos(angle)), int(y + length * np.sin(angle)))
        cv2.line(image, (x, y), end, float(image[y, x] + rng.uniform(30, 140)), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 12))):
        x, y = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT))
        axes = (int(rng.integers(1, 5)), int(rng.integers(1, 4)))
        cv2.ellipse(
            image, (x, y), axes, 0, 0, 360, float(image[y, x] + rng.uniform(20, 140)), -1, cv2.LINE_AA
        )


def mark_splash(image: np.ndarray, rng: Generator) -> None:
    """Glare on water: white spots in a few columns, each whole or a ring about a dim middle; harmless."""
    for _ in range(int(rng.integers(1, 5))):
        x = int(rng.integers(20, WIDTH - 60))
        for y in rng.uniform(0, HEIGHT, int(rng.integers(1, 8))):
            tall, wide = float(rng.uniform(6, 26)), float(rng.uniform(5, 14))
            left, right = int(max(0, x - 2 * wide - 6)), int(min(WIDTH, x + 2 * wide + 6))
            top, bottom = int(max(0, y - 2 * tall)), int(min(HEIGHT, y + 2 * tall))
            if bottom - top < 3:
                continue
            rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
            spot = bell(np.hypot((rows - y) / tall, (columns - x - rng.normal(0, 4)) / wide), 1.0)
            spot += 0.16 * crop(rng, "mottle", bottom - top, right - left)
            white = np.clip((spot - 0.42) * 12, 0, 1)
            if rng.random() < 0.5:
                white *= 1 - 0.8 * np.clip((spot - 0.75) * 9, 0, 1)
            image[top:bottom, left:right] += white * rng.uniform(120, 260)


MARKS: dict[str, Callable[[np.ndarray, Generator], None]] = {
    "stain": mark_stain, "drips": mark_drips, "drops": mark_drops, "grime": mark_grime, "scale": mark_scale, "bands": mark_bands,
    "seam": mark_seam, "lines": mark_lines, "dirt": mark_dirt, "tone": mark_tone, "spray": mark_spray,
    "ripple": mark_ripple,
}  # fmt: skip


def harmless_marks(image: np.ndarray, rng: Generator, roll: Roll, extra: float = 0.0) -> None:
    """Put the roll's harmless marks on `image`, (H, W) float32, in place; `extra` more of them on average."""
    total = sum(roll["marks"].values())
    for name, rate in roll["marks"].items():
        for _ in range(min(4, int(rng.poisson(rate * (1 + extra / total))))):
            MARKS[name](image, rng)
    if rng.random() < roll["splash_share"]:
        mark_splash(image, rng)
