"""What test-time augmentation shows a network of an image, pass by pass: mirrored copies, and random variants
as in its training."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.data.augmentation import augment, flip, insist_on_flip
from lib.data.choices import FLIPS, RANDOM_PASSES
from lib.errors import UserError

VARIANT = "random pass "  # and its number, from 1
OPTIONS = ("flips", "brightness", "contrast")  # of an augmentation; the others are about masks
UNCHANGED = {"flips": "none", "brightness": 0.0, "contrast": 0.0}  # what an empty augmentation means


class Variation(NamedTuple):
    """What a network's random passes follow from besides the image.

    seed: of its training; options: keyword arguments of `augmentation.augment`.
    """

    seed: int
    options: dict


def named(tta: Sequence[str]) -> tuple[str, ...]:
    """The passes that entries of choices.TTA stand for: a flip for itself, "random10" for ten. UserError for
    an entry that is not among them."""
    passes: list[str] = []
    for entry in tta:
        if entry in RANDOM_PASSES:
            passes += [f"{VARIANT}{pass_index}" for pass_index in range(1, RANDOM_PASSES[entry] + 1)]
        else:
            insist_on_flip(entry)
            passes.append(entry)
    return tuple(passes)


def variation_of(card: dict, folder: str | Path) -> Variation:
    """The Variation that the card of the network in a folder describes; UserError where it describes none."""
    augmentation = card.get("training", {}).get("augmentation")
    if not isinstance(augmentation, dict):
        raise UserError(
            f"{Path(folder) / 'model.json'} names no augmentation for random passes to repeat: it is no "
            "classifier's, or an older version's. Choose mirrored copies as its passes, or train it again."
        )
    options = {name: augmentation[name] for name in OPTIONS if name in augmentation}
    return Variation(card.get("seed", 0), options if augmentation else UNCHANGED)


def show(images: np.ndarray, name: str, variation: Variation | None = None) -> np.ndarray:
    """Images (B, h, w, 1) uint8 as a pass shows them, contiguous.

    Arguments:
        name: as from `named`; variation: for random passes. Such a pass follows from it, from the number of
            the pass and from the image's own pixels: whatever batch an image falls in, it is shown alike.
    """
    if name in FLIPS:
        return np.ascontiguousarray(mirror(images, name))
    assert variation, "whoever names random passes has one"
    pass_index = int(name.removeprefix(VARIANT))
    shown = np.empty_like(images)
    for index, image in enumerate(images[..., 0]):
        rng = np.random.default_rng([variation.seed, pass_index, zlib.crc32(image)])
        shown[index, ..., 0] = augment(rng, image, **variation.options)
    return shown


def mirror(batch: np.ndarray, name: str) -> np.ndarray:
    """Mirror images or maps (B, h, w, ...) as named in FLIPS; a view."""
    return np.moveaxis(flip(np.moveaxis(batch, 0, -1), name), -1, 0)
