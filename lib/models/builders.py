"""Networks: grey uint8 (B, h, w, 1) in, probability float32 out; how they are built.

Pre-processing is part of the graph, so that nobody can forget it. Only this module knows segmentation-models.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

from lib.data.choices import BY_32, CLASSIFIERS, ENCODERS, SMALLEST
from lib.errors import UserError
from lib.models import normalization, pretrained, weights_files
from lib.models.layers import block, compact_levels, prepared, upwards

COMPACT = (16, 32, 64)  # filters a level
RARE = 0.01  # share of defect pixels that a segmenter on a pretrained encoder begins with
DECODER = (32, 48, 64, 128)  # filters at 1/2, 1/4, 1/8, 1/16 of the decoder that pretrained encoders get
DTYPE_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def computing_in(dtype_policy: str) -> Iterator[None]:
    """A context in which networks are built that compute in `dtype_policy`, one of DTYPE_POLICIES, and keep
    their weights in float32.

    16 bits are for training: `saving.save` writes a network that computes in float32, as Kaggle's cards and
        any processor do.
    """
    if dtype_policy not in DTYPE_POLICIES:
        raise UserError(
            f"There is no dtype_policy called {dtype_policy!r}. Choose one of: {', '.join(DTYPE_POLICIES)}."
        )
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype_policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _scale_of(kind: str, name: str, known: dict[str, str]) -> str:
    if name not in known:
        raise UserError(f"There is no {kind} called {name!r}. Choose one of: {', '.join(known)}.")
    return known[name]


def _insist_on_size(backbone: str, height: int, width: int | None) -> None:
    """UserError where an input is smaller than a backbone takes: height and width can be the images' own,
    which no command has seen."""
    least = SMALLEST.get(backbone, 0)
    if min(height, width or height) < least:
        raise UserError(
            f"The network's input is {height} x {width or 'any'} pixels, but the backbone {backbone} needs {least} or more. "
            "Set height and width higher, or choose another backbone."
        )


def build_classifier(
    backbone: str = "compact",
    classes: int = 1,
    height: int = 128,
    width: int | None = 800,
    weights: str = "none",
    dropout: float = 0.2,
    localization_head: bool = True,
) -> keras.Model:
    """A classifier: uint8 (B, height, width, 1) -> probabilities (B, classes) float32, one sigmoid each.

    Arguments:
        backbone: "compact" (made for two cores) or one of CLASSIFIERS (keras.applications).
        weights: "none" (random), "imagenet" (downloaded at first use), or a file with the backbone's weights.
        width: pixels; None accepts any, so that crops train and whole strips predict.
        localization_head: look at every cell of the last feature map too, and let the strongest cell count: a
            defect is a small part of a strip. `with_grid_output` gives the model that learns the grid.
    """
    inputs = keras.Input((height, width, 1), dtype="uint8", name="image")
    features = _features(inputs, backbone, height, width, weights)
    x = layers.Dropout(dropout, name="dropout")(layers.GlobalAveragePooling2D(name="mean")(features))
    if localization_head:
        grid = layers.Conv2D(classes, 1, dtype="float32", name="cell_logits")(features)
        # After the dropout: the strongest cell is the one witness of a small defect, and must not be dropped.
        x = layers.Concatenate(name="pool")([x, layers.GlobalMaxPooling2D(name="strongest_cell")(grid)])
    outputs = layers.Dense(classes, activation="sigmoid", dtype="float32", name="probability")(x)
    return keras.Model(inputs, outputs, name="classifier")


def _features(inputs: Any, backbone: str, height: int, width: int | None, weights: str) -> Any:
    """The last feature map of a classifier's backbone on its inputs."""
    file = weights_files._weights_file(weights)
    if backbone == "compact":
        weights_files._insist_on_no_weights(weights)
        return block(compact_levels(prepared(inputs, "standard", 1), COMPACT)[-1], 96, "context")
    scale = _scale_of("classifier backbone", backbone, CLASSIFIERS)
    _insist_on_size(backbone, height, width)
    if backbone in pretrained.LITE:
        maps = pretrained.build_lite(backbone, height, width, "imagenet" if weights == "imagenet" else "none")
        encoder = keras.Model(maps.input, maps.outputs[-1], name=backbone)
    else:
        # These work out their borders from the width, so that one is named: 256 has the borders of any
        # multiple of 32.
        wide = width or (256 if backbone in BY_32 else None)
        make = getattr(keras.applications, backbone)
        options = {"include_top": False, "weights": "imagenet" if weights == "imagenet" else None}
        encoder = weights_files._published(lambda: make(input_shape=(height, wide, 3), **options))
    if file:
        with weights_files._fitting(file, weights):
            encoder.load_weights(file)
    # Keras scales the pixels within EfficientNet, by statistics that are weights and a layer that "imagenet"
    # alone brings: built again without that word, it would be another network. "torch" is the same scaling.
    own_scaling = (layers.Rescaling, layers.Normalization) if scale == "torch" else ()
    return normalization.fused(encoder, keras.Input((height, width, 3)), own_scaling)(
        prepared(inputs, scale, 3)
    )


def with_grid_output(classifier: keras.Model) -> keras.Model:
    """The same network (same weights) with two outputs for training: "probability" (B, C), "grid" (B, gh, gw,
    C), 0..1."""
    grid = keras.ops.sigmoid(classifier.get_layer("cell_logits").output)
    # The name stays: TensorFlow adds gradients up in the order of their operations' names, so another one would
    # change the last bits of every training.
    return keras.Model(
        classifier.input, {"probability": classifier.output, "grid": grid}, name="locating_classifier"
    )


def grid_shape(classifier: keras.Model, height: int, width: int) -> tuple[int, int]:
    """Rows and columns (gh, gw) of a localization head's grid on images of `height` x `width` pixels."""
    return tuple(with_grid_output(classifier).compute_output_shape((1, height, width, 1))["grid"][1:3])


def fitting_crop(classifier: keras.Model, height: int, width: int, crop_width: int) -> int:
    """`crop_width`, or 0 (whole strips) where the cells of a crop are not those of the strip there: networks
    without padding."""
    columns = grid_shape(classifier, height, width)[1]
    stride = width // columns
    wide = crop_width // stride * stride
    if crop_width and (
        columns * stride != width or not wide or grid_shape(classifier, height, wide)[1] != wide // stride
    ):
        print(
            "This backbone's cells do not lie in even steps, so it learns from whole strips instead of crops."
        )
        return 0
    return crop_width


def build_segmenter(
    architecture: str = "Unet",
    backbone: str = "compact",
    height: int = 128,
    width: int | None = None,
    weights: str = "none",
    classes: int = 1,
) -> keras.Model:
    """A segmenter: uint8 (B, height, width, 1) -> probability (B, height, width, classes) float32, one
    sigmoid each.

    Arguments:
        architecture: "Unet", "FPN" or "Linknet" (segmentation-models); "compact" exists as a Unet.
        backbone: "compact" (made for two cores) or one of ENCODERS (segmentation-models).
        height, width: multiples of 32, pixels; width None accepts any, so that crops train and whole strips
            predict.
        weights: "none" (random), "imagenet" (downloaded at first use), or a file with the encoder's weights.
        classes: whose masks it draws at once.
    """
    for name, size in (("height", height), ("width", width)):
        if size is not None and size % 32:
            raise UserError(f"The {name} of a segmenter's input is a multiple of 32 pixels, not {size}.")
    inputs = keras.Input((height, width, 1), dtype="uint8", name="image")
    if backbone == "compact" or backbone in pretrained.LITE:
        if architecture != "Unet":
            of_backbone = "compact backbone" if backbone == "compact" else f"backbone {backbone}"
            raise UserError(f"The {of_backbone} exists as a Unet, not as {architecture}.")
        make = _compact_logits if backbone == "compact" else _lite_logits
        x = make(inputs, backbone, height, width, weights, classes)
    else:
        x = _published_logits(inputs, architecture, backbone, height, width, weights, classes)
    outputs = layers.Activation("sigmoid", dtype="float32", name="probability")(x)
    return keras.Model(inputs, outputs, name="segmenter")


def _compact_logits(
    inputs: Any, backbone: str, height: int, width: int | None, weights: str, classes: int
) -> Any:
    """A small U-Net's logits of the inputs' size."""
    weights_files._weights_file(weights)
    weights_files._insist_on_no_weights(weights)
    *skips, x = compact_levels(prepared(inputs, "standard", 1), (*COMPACT, 96))
    x = upwards(x, skips, COMPACT)
    return layers.Conv2DTranspose(classes, 8, strides=4, padding="same", name="logit")(x)


def _lite_logits(
    inputs: Any, backbone: str, height: int, width: int | None, weights: str, classes: int
) -> Any:
    """The logits of a U-Net on EfficientNet-Lite, computed at half of the size and enlarged."""
    file = weights_files._weights_file(weights)
    encoder = pretrained.build_lite(
        backbone, height, width, "imagenet" if weights == "imagenet" else "none", head=False
    )
    if file:
        with weights_files._fitting(file, weights):
            encoder.load_weights(file)
    *skips, x = encoder(prepared(inputs, "lite", 3))
    x = upwards(x, skips, DECODER)
    # It begins with the answer that a defect pixel is rare (Lin et al., Focal Loss for Dense Object
    # Detection, 2017): else the first hundred steps learn nothing but that.
    begin = keras.initializers.Constant(-math.log((1 - RARE) / RARE))
    x = layers.Conv2D(classes, 3, padding="same", bias_initializer=begin, name="half_logit")(x)
    return layers.UpSampling2D(2, interpolation="bilinear", name="logit")(x)


def _published_logits(
    inputs: Any, architecture: str, backbone: str, height: int, width: int | None, weights: str, classes: int
) -> Any:
    """The logits of a network of segmentation-models."""
    import segmentation_models

    file = weights_files._weights_file(weights)
    scale = _scale_of("segmentation backbone", backbone, ENCODERS)
    if architecture not in ("Unet", "FPN", "Linknet"):
        raise UserError(
            f"There is no architecture called {architecture!r}. Choose one of: Unet, FPN, Linknet."
        )
    _insist_on_size(backbone, height, width)
    make = getattr(segmentation_models, architecture)
    options: dict[str, Any] = {
        "encoder_weights": str(file) if file else "imagenet" if weights == "imagenet" else None
    }
    options |= {"input_shape": (height, width or 256, 3), "classes": classes, "activation": "linear"}
    with weights_files._fitting(file, weights):
        network = weights_files._published(lambda: make(backbone, **options))
    return normalization.fused(network, keras.Input((height, width, 3)))(prepared(inputs, scale, 3))


def of_class(network: keras.Model, class_index: int, build: dict) -> keras.Model:
    """A segmenter of one class, `build_segmenter(**build)`, with the weights of a network of several: those
    of its output alone."""
    single = build_segmenter(**{**build, "classes": 1})
    weights = []
    for several, alone in zip(network.get_weights(), single.get_weights(), strict=True):
        axes = [
            axis
            for axis, (many, few) in enumerate(zip(several.shape, alone.shape, strict=True))
            if many != few
        ]
        weights.append(several.take([class_index], axis=axes[0]) if axes else several)
    single.set_weights(weights)
    return single


def describe(model: keras.Model) -> str:
    """One line for a reader: layers and parameters of a network."""
    return f"{len(model.layers)} layers, {model.count_params():,} parameters"
