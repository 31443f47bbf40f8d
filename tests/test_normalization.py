"""The fused layer learns what Keras' own would."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lib.models import builders, normalization

TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 2e-2}


def step(kind, images, wanted, options, precision, training=True):
    """What one layer answers, its gradients (of inputs and weights) and its weights after one step in
    training."""
    layer = kind(**options, dtype=keras.DTypePolicy(precision))
    layer.build(images.shape)
    count = len(layer.trainable_variables)
    for number, variable in enumerate(layer.trainable_variables):
        variable.assign(np.linspace(0.5, 2, images.shape[-1]) - number)
    inputs = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=training)
        loss = tf.reduce_sum((tf.cast(outputs, "float32") - wanted) ** 2)
    slopes = tape.gradient(loss, [inputs, *(variable.value for variable in layer.trainable_variables)])
    assert outputs.dtype == layer.compute_dtype and len(slopes) == 1 + count
    return [
        np.asarray(tf.cast(value, "float32"))
        for value in (outputs, *slopes, *(weight.value for weight in layer.weights))
    ]


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"scale": False, "epsilon": 2e-5}, {"center": False}])
@pytest.mark.parametrize("shape", [(3, 5, 7, 4), (1, 4, 3, 3), (2, 6)])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_keras_own_layer_but_for_rounding(shape, options, precision, training):
    random = np.random.default_rng(1)
    images, wanted = (random.normal(2, 3, shape).astype(np.float32) for _ in range(2))
    found = step(normalization.BatchNormalization, images, wanted, options, precision, training)
    expected = step(keras.layers.BatchNormalization, images, wanted, options, precision, training)
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other, atol=TOLERANCE[precision] * max(1, np.abs(other).max()), rtol=0)


def test_an_exchanged_network_answers_as_before_and_keeps_its_names():
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(3, 3, name="conv")(inputs))
    network = keras.Model(inputs, keras.layers.Activation("relu", name="relu")(x))
    network.set_weights(
        [np.random.default_rng(2).uniform(0.5, 1.5, weight.shape) for weight in network.weights]
    )
    exchanged = normalization.fused(network)
    images = np.random.default_rng(3).normal(size=(4, 8, 8, 2)).astype(np.float32)
    assert np.array_equal(exchanged(images), network(images))
    assert [layer.name for layer in exchanged.layers[1:]] == ["conv", "norm", "relu"]
    assert type(exchanged.get_layer("norm")) is normalization.BatchNormalization


@pytest.mark.parametrize("build", [
    builders.build_classifier, pytest.param(lambda: builders.build_classifier("MobileNetV2", height=64, width=64), marks=pytest.mark.slow),
    builders.build_segmenter, pytest.param(lambda: builders.build_segmenter("Unet", "resnet18", 64), marks=pytest.mark.slow),
])  # fmt: skip
def test_every_network_is_built_with_it(build):
    found = [
        type(layer)
        for layer in build()._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert found and set(found) == {normalization.BatchNormalization}
