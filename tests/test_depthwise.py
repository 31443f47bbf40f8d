"""Depthwise convolution with gradients of its own: TensorFlow's, but for rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lib.models import builders, depthwise, pretrained

KINDS = [  # size of the filter, stride, height and width, of which odd ones have other borders
    (5, 1, 12, 20), (5, 1, 3, 4), (5, 2, 12, 20), (5, 2, 13, 20), (5, 2, 3, 2), (3, 2, 12, 9), (3, 2, 11, 9), (3, 1, 6, 7),
]  # fmt: skip


def results(convolution, images, filters):
    """Answers and both gradients of a loss that weighs each pixel in its own way."""
    with tf.GradientTape() as tape:
        tape.watch([images, filters])
        outputs = convolution(images, filters)
        weights = tf.cast(tf.reshape(tf.range(tf.size(outputs)), outputs.shape) % 7 - 3, images.dtype)
        loss = tf.reduce_sum(tf.cast(outputs * weights, tf.float32))
    return [tf.cast(one, tf.float32).numpy() for one in (outputs, *tape.gradient(loss, [images, filters]))]


@pytest.mark.parametrize("any_size", [False, True])
@pytest.mark.parametrize("size, stride, height, width", KINDS)
def test_gradients_are_those_of_tensorflow(size, stride, height, width, any_size):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(3, height, width, 6)), tf.float32)
    filters = tf.constant(rng.normal(size=(size, size, 6, 1)), tf.float32)
    own = depthwise._convolution(stride)
    if any_size:
        own = tf.function(own, [tf.TensorSpec((None, None, None, 6)), tf.TensorSpec(filters.shape)])
    strides = [1, stride, stride, 1]
    expected = results(lambda x, f: tf.nn.depthwise_conv2d(x, f, strides, "SAME"), images, filters)
    for found, one in zip(results(own, images, filters), expected, strict=True):
        np.testing.assert_allclose(found, one, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("size, stride", [(5, 1), (5, 2), (3, 2)])
def test_the_layer_learns_in_16_bits_what_keras_layer_learns_in_32(size, stride):
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).normal(size=(2, 16, 24, 8)).astype(np.float32)
    layers = [
        kind(size, stride, padding="same", activation="relu", dtype=dtype)
        for kind, dtype in (
            (keras.layers.DepthwiseConv2D, "float32"), (depthwise.DepthwiseConv2D, "mixed_bfloat16"),
        )
    ]  # fmt: skip
    found = []
    for layer in layers:
        layer.build(images.shape)
        layer.set_weights(layers[0].get_weights())
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(images, training=True), tf.float32) ** 2)
        found.append([grad.numpy() for grad in tape.gradient(loss, layer.trainable_weights)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, atol=0.03 * np.abs(one).max())  # of 25 seeds 0.027 at most
    assert np.array_equal(layers[1](images), layers[1](images, training=True))


@pytest.mark.slow
def test_pretrained_encoders_learn_by_it_in_16_bits_only(monkeypatch):
    used = []
    monkeypatch.setattr(
        depthwise,
        "_convolution",
        lambda stride, make=depthwise._convolution: used.append(stride) or make(stride),
    )
    images = np.zeros((1, 64, 64, 3), np.float32)
    for policy, training, expected in (
        ("float32", True, []), ("mixed_bfloat16", False, []), ("mixed_bfloat16", True, [1] * 7 + [2] * 4),
    ):  # fmt: skip
        used.clear()
        with builders.computing_in(policy):
            pretrained.build_lite(weights="none", head=False)(images, training=training)
        assert sorted(used) == expected
