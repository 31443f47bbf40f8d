"""Depthwise convolution whose gradients are fast in bfloat16 on processors, where TensorFlow's own take up to
forty times the forward pass."""

from typing import Any

import keras

from lib.models import backend  # noqa: F401 - sets Keras up


@keras.saving.register_keras_serializable("steel")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` that learns faster in bfloat16 on a processor.

    Same weights, names and answers; the gradients of inputs under stride 2 and of filters of 5 x 5 are
    computed by depthwise convolutions, for which oneDNN has fast kernels, and are equal but for rounding to 16 bits. In
    other precisions, on graphics cards, on other backends and at prediction it is Keras' layer.
    """

    def call(self, inputs, training=None):
        plain = (self.padding, self.depth_multiplier, tuple(self.dilation_rate)) == ("same", 1, (1, 1))
        size, stride = self.kernel_size[0], self.strides[0]
        square = self.kernel_size == (size, size) and self.strides == (stride, stride) and stride in (1, 2)
        gains = size > 3 or stride == 2
        if not (
            training and plain and square and gains and self.compute_dtype == "bfloat16" and _on_processor()
        ):
            return super().call(inputs)
        outputs = _convolution(stride)(inputs, keras.ops.cast(self.kernel, "bfloat16"))
        if self.use_bias:
            outputs = outputs + keras.ops.reshape(self.bias, (1, 1, 1, -1))
        return self.activation(outputs) if self.activation is not None else outputs


def _on_processor() -> bool:
    """Whether TensorFlow computes, and has no graphics card to do it."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow

    return not tensorflow.config.list_logical_devices("GPU")


def _convolution(stride: int) -> Any:
    """Depthwise convolution with borders of zeros as TensorFlow's "SAME", and its gradients.

    Inputs: images (B, h, w, C) and filters (k, k, C, 1) of one dtype.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def convolution(images, filters):
        outputs = tf.nn.depthwise_conv2d(images, filters, [1, stride, stride, 1], "SAME")

        def gradients(upstream):
            sizes = tf.shape(images), tf.shape(upstream)
            padded = (sizes[1][1:3] - 1) * stride + filters.shape[0]
            before = tf.maximum(padded - sizes[0][1:3], 0) // 2
            of_images = (
                _of_images_in_steps(upstream, filters, stride, before, sizes[0])
                if stride > 1
                else tf.nn.depthwise_conv2d(upstream, filters[::-1, ::-1], [1, 1, 1, 1], "SAME")
            )
            of_filters = (
                _of_filters(images, upstream, filters, stride, before, padded)
                if filters.shape[0] > 3
                else tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                    input=images,
                    filter_sizes=filters.shape,
                    out_backprop=upstream,
                    strides=[1, stride, stride, 1],
                    padding="SAME",
                )
            )
            return of_images, of_filters

        return outputs, gradients

    return convolution


def _of_images_in_steps(upstream: Any, filters: Any, stride: int, before: Any, shape: Any) -> Any:
    """The gradient of the images, (B, h, w, C): pixels of one remainder by the stride see only the filters' rows and
    columns of that remainder, so each of them is a dense convolution of its own."""
    import tensorflow as tf

    size = filters.shape[0]
    most = -(-size // stride)
    rows = []
    for row in range(stride):
        columns = []
        for column in range(stride):
            part = filters[row::stride, column::stride][::-1, ::-1]
            height, width = part.shape[:2]
            # zeros before for the filters' reach, after it so that all remainders have one size
            borders = [[0, 0], [height - 1, most - 1], [width - 1, most - 1], [0, 0]]
            columns.append(tf.nn.depthwise_conv2d(tf.pad(upstream, borders), part, [1, 1, 1, 1], "VALID"))
        rows.append(tf.stack(columns, 3))
    grid = tf.stack(rows, 2)  # (B, q, stride, r, stride, C)
    count = tf.shape(grid)
    whole = tf.reshape(grid, [count[0], count[1] * stride, count[3] * stride, count[5]])
    return whole[:, before[0] : before[0] + shape[1], before[1] : before[1] + shape[2]]


def _of_filters(images: Any, upstream: Any, filters: Any, stride: int, before: Any, padded: Any) -> Any:
    """The gradient of the filters, (k, k, C, 1): the images convolved with what comes back, image by image and
    channel by channel; summed over the images in float32."""
    import tensorflow as tf

    size, channels = filters.shape[0], filters.shape[2]
    batch, (height, width) = tf.shape(images)[0], tf.unstack(tf.shape(upstream)[1:3])
    rest = padded - tf.shape(images)[1:3] - before + padded % stride
    borders = tf.stack([[0, 0], [before[0], rest[0]], [before[1], rest[1]], [0, 0]])
    image_rows, image_columns = tf.unstack((padded + padded % stride) // stride)
    turned = tf.transpose(tf.pad(images, borders), [1, 2, 0, 3])
    turned = tf.reshape(turned, [image_rows, stride, image_columns, stride, batch * channels])
    large = tf.reshape(tf.transpose(upstream, [1, 2, 0, 3]), [height, width, batch * channels, 1])
    sums = {}
    for row in range(stride):
        for column in range(stride):
            rows, columns = len(range(row, size, stride)), len(range(column, size, stride))
            part = turned[tf.newaxis, : height + rows - 1, row, : width + columns - 1, column]
            products = tf.nn.depthwise_conv2d(part, large, [1, 1, 1, 1], "VALID")
            products = tf.reshape(tf.cast(products, tf.float32), [rows, columns, batch, channels])
            sums[row, column] = tf.reduce_sum(products, 2)
    each = [
        sums[row % stride, column % stride][row // stride, column // stride]
        for row in range(size)
        for column in range(size)
    ]
    return tf.cast(tf.reshape(tf.stack(each), filters.shape), filters.dtype)
