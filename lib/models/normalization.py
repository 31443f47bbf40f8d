"""Batch normalization that takes one fused step in training, where Keras 3 takes a dozen over the whole
feature map."""

from typing import Any

import keras

from lib.models import backend  # noqa: F401 - sets Keras up


@keras.saving.register_keras_serializable("steel")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with TensorFlow's fused kernel while it learns from feature maps (B,
    h, w, C).

    Same weights, names and results, but for rounding; the variance that is averaged is that of the batch, as
    in Keras 3, not the unbiased one of TensorFlow's kernel. On other backends, other ranks and at prediction
    it is Keras' layer.
    """

    def call(self, inputs, training=None, mask=None):
        fits = (
            training and self.trainable and mask is None and len(inputs.shape) == 4 and self.axis in (-1, 3)
        )
        if not fits or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow

        def parameter(variable, otherwise):
            return tensorflow.cast(
                tensorflow.convert_to_tensor(variable) if variable is not None else otherwise, "float32"
            )

        channels, moment = tensorflow.ones(inputs.shape[-1]), 1 - self.momentum
        outputs, mean, variance, *_ = tensorflow.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=parameter(self.gamma, channels),
            offset=parameter(self.beta, 0 * channels),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tensorflow.cast(tensorflow.reduce_prod(tensorflow.shape(inputs)[:-1]), "float32")
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance * (count - 1) / count)):
            moving.assign(moving * self.momentum + now * moment)
        return outputs


def fused(network: keras.Model, inputs: Any = None, left_out: tuple[type, ...] = ()) -> keras.Model:
    """The same network (shared layers) with every batch normalization of Keras' own replaced by the one
    above, weights kept.

    Arguments:
        inputs: a keras.Input of another size for it, or None for its own.
        left_out: types of layers that it is to be without.
    """

    def replace(layer):
        if type(layer) in left_out:
            return keras.layers.Identity(name=layer.name)
        if type(layer) is not keras.layers.BatchNormalization:
            return layer
        return pairs.setdefault(layer.name, (layer, BatchNormalization.from_config(layer.get_config())))[1]

    pairs: dict[str, tuple] = {}
    network = keras.models.clone_model(network, input_tensors=inputs, clone_function=replace)
    for layer, new in pairs.values():
        new.set_weights(layer.get_weights())
    return network
