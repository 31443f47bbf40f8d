"""What the networks are made of: pixels on a scale, blocks of layers, a small encoder, a decoder."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from lib.models import normalization

GREY_MEAN, GREY_DEVIATION = 0.344, 0.196  # of the competition's strips, in shares of full scale
SCALES = {  # pixel 0..255 -> what the published weights of a family were trained on: (scale, offset) a channel
    "standard": (1 / 255 / GREY_DEVIATION, -GREY_MEAN / GREY_DEVIATION),
    "raw": (1.0, 0.0),
    "tf": (1 / 127.5, -1.0),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),
    "lite": (1 / 128, -127 / 128),
    "torch": (
        [1 / 255 / s for s in (0.229, 0.224, 0.225)],
        [-m / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))],
    ),
}


def prepared(inputs: Any, scale: str, channels: int) -> Any:
    """Grey pixels 0..255 as what the published weights of a family take: one of SCALES, in 1 or 3
    channels."""
    factor, offset = SCALES[scale]
    x = layers.Concatenate(name="grey_to_three")([inputs] * 3) if channels == 3 else inputs
    return layers.Rescaling(factor, offset, name="prepare")(x)


def block(x: Any, filters: int, name: str, size: int = 3, strides: int = 1) -> Any:
    """Convolution, batch normalization, ReLU."""
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = normalization.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def compact_levels(x: Any, filters: Sequence[int]) -> list:
    """A small encoder for two processor cores: features at 1/4, 1/8, ... of the size, one level a number of
    filters.

    The first step goes straight to 1/4: half of a small network's time would be spent at 1/2.
    """
    levels = []
    for level, count in enumerate(filters):
        x = block(x, count, f"down{level}a", *((5, 4) if level == 0 else (3, 2)))
        x = block(x, count, f"down{level}b")
        levels.append(x)
    return levels


def upwards(x: Any, skips: Sequence, filters: Sequence[int]) -> Any:
    """The decoder of a U-Net: features at the size of the largest skip (Ronneberger et al., 2015,
    arXiv:1505.04597)."""
    for level, skip in reversed(list(enumerate(skips))):
        x = layers.UpSampling2D(2, name=f"larger{level}")(x)
        x = layers.Concatenate(name=f"skip{level}")([x, skip])
        x = block(x, filters[level], f"up{level}")
    return x
