"""Losses and running metrics for training, in keras.ops alone. None of these is the competition's score."""

from typing import Any

import keras
from keras import ops

from lib.models import backend  # noqa: F401 - sets Keras up


def soft_dice(truth: Any, probability: Any, smooth: float = 1.0) -> Any:
    """Soft Dice of each image (B,): (2 sum(t p) + s) / (sum t + sum p + s), for (B, h, w, 1) tensors.

    The smoothing term keeps empty masks finite; so it is another number than the competition's Dice.
    Source: Milletari et al., V-Net, 2016.
    """
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    axes = (1, 2, 3)
    return (2 * ops.sum(truth * probability, axes) + smooth) / (
        ops.sum(truth, axes) + ops.sum(probability, axes) + smooth
    )


@keras.saving.register_keras_serializable("steel")
def dice_loss(truth: Any, probability: Any) -> Any:
    """1 - soft Dice of each image that has the class, 0 for the others, (B,), 0..1.

    Soft Dice of an empty mask is about 0 until not a pixel is left: its pull to "nothing anywhere" would
    drown the defects.
    """
    return ops.where(
        ops.sum(ops.cast(truth, "float32"), (1, 2, 3)) > 0, 1 - soft_dice(truth, probability), 0.0
    )


@keras.saving.register_keras_serializable("steel")
def binary_cross_entropy(truth: Any, probability: Any) -> Any:
    """Mean binary cross-entropy of each image, (B,), nats."""
    return ops.mean(
        ops.binary_crossentropy(ops.cast(truth, "float32"), ops.cast(probability, "float32")), axis=(1, 2, 3)
    )


@keras.saving.register_keras_serializable("steel")
def bce_dice_loss(truth: Any, probability: Any) -> Any:
    """0.75 cross-entropy + 0.25 Dice loss of each image, (B,): the mixture of the competition's first
    place."""
    return 0.75 * binary_cross_entropy(truth, probability) + 0.25 * dice_loss(truth, probability)


@keras.saving.register_keras_serializable("steel")
def bce_plus_dice_loss(truth: Any, probability: Any) -> Any:
    """Cross-entropy + Dice loss of each image, (B,)."""
    return binary_cross_entropy(truth, probability) + dice_loss(truth, probability)


@keras.saving.register_keras_serializable("steel")
def focal_loss(truth: Any, probability: Any) -> Any:
    """Mean focal loss of each image, gamma 2, (B,). Source: Lin et al., Focal Loss for Dense Object
    Detection, 2017."""
    truth, probability = (
        ops.cast(truth, "float32"),
        ops.clip(ops.cast(probability, "float32"), 1e-7, 1 - 1e-7),
    )
    right = truth * probability + (1 - truth) * (1 - probability)
    return ops.mean(-((1 - right) ** 2) * ops.log(right), axis=(1, 2, 3))


@keras.saving.register_keras_serializable("steel")
def bce_batch_dice_loss(truth: Any, probability: Any) -> Any:
    """4 x cross-entropy of each image + half the Dice loss of the whole batch, (B,); of (B, h, w, C) the mean
    over classes.

    Over a batch of crops nearly every class occurs somewhere, so that Dice needs no exception for empty
    masks, and a mask where none should be costs as much as a missing one. A class that the batch lacks counts
    by its smoothing term alone.
    """
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    intersection = ops.sum(truth * probability, (0, 1, 2))
    areas = ops.sum(truth, (0, 1, 2)) + ops.sum(probability, (0, 1, 2))
    dice = ops.mean((2 * intersection + 100.0) / (areas + 100.0))
    return 4 * ops.mean(ops.binary_crossentropy(truth, probability), axis=(1, 2, 3)) + 0.5 * (1 - dice)


SEGMENTATION_LOSSES = {
    "bce": binary_cross_entropy,
    "dice": dice_loss,
    "bce_dice": bce_dice_loss,
    "bce_plus_dice": bce_plus_dice_loss,
    "focal": focal_loss,
    "bce_batch_dice": bce_batch_dice_loss,
}


@keras.saving.register_keras_serializable("steel")
class HardDice(keras.metrics.Metric):
    """Running mean over images of Dice at one threshold, 1 where both masks are empty, at the network's
    size."""

    def __init__(self, threshold: float = 0.5, name: str = "dice", **options) -> None:
        super().__init__(name=name, **options)
        self.threshold = threshold
        self.total = self.add_weight(name="total", initializer="zeros")
        self.images = self.add_weight(name="images", initializer="zeros")

    def update_state(self, truth, probability, sample_weight=None):
        truth = ops.cast(truth, "float32")
        predicted = ops.cast(probability >= self.threshold, "float32")
        intersection = ops.sum(truth * predicted, (1, 2, 3))
        areas = ops.sum(truth, (1, 2, 3)) + ops.sum(predicted, (1, 2, 3))
        score = ops.where(areas > 0, 2 * intersection / ops.maximum(areas, 1.0), 1.0)
        self.total.assign_add(ops.sum(score))
        self.images.assign_add(ops.cast(ops.shape(score)[0], "float32"))

    def result(self):
        return self.total / ops.maximum(self.images, 1.0)

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold}
