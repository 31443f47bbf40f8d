"""Saved networks as files for ONNX Runtime or OpenVINO; one that several classes share is converted once."""

import contextlib
import hashlib
import importlib.util
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from lib.bundle import detect
from lib.errors import UserError
from lib.models import builders, runtime, saving
from lib.paths import member_folders

FORMATS = {
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "openvino": ("openvino",),
}  # and the packages that convert to it, and run it
OPSET = 17  # of ONNX, which ONNX Runtime knows from 1.12 on
WRONG = 1e-2  # a probability that differs so much on noise is no rounding; trained networks differ by 1e-6


def insist_on_packages(kind: str) -> None:
    """UserError that says how to get what converts to a format of FORMATS, where it is missing."""
    missing = [name for name in FORMATS[kind] if importlib.util.find_spec(name) is None]
    if missing or keras.backend.backend() != "tensorflow":
        what = f"the package {missing[0]}" if missing else "Keras on TensorFlow"
        raise UserError(
            f"--format {kind} needs {what}: python -m pip install -r requirements-export.txt, with the Python that runs this."
        )


class Part(NamedTuple):
    """Networks that become one in a bundle.

    name: of its files; classes: whose maps are its channels, as indices, [] of a classifier; folders: of its
    members; outputs: for each member what of its weights belongs to the classes, {index of the weight: value}.
    """

    name: str
    classes: list[int]
    folders: list[Path]
    outputs: list[dict[int, np.ndarray]]


def parts_of(folders: Mapping[str, Path]) -> list[Part]:
    """The networks {name: folder} of a run as the parts of a bundle: segmenters that differ in their outputs
    alone, member by member, are one of several classes."""
    parts = [
        Part(name, [], member_folders(folder), [])
        for name, folder in folders.items()
        if not name.startswith("seg_")
    ]
    groups: dict[tuple, Part] = {}
    axes_of: dict[str, list[int | None]] = {}
    segmenters = [folder for name, folder in folders.items() if name.startswith("seg_")]
    for class_index, folder in enumerate(segmenters):
        key, outputs = [], []
        for member in member_folders(folder):
            card = saving.read_card(member)
            built = json.dumps([card["build"], card["input"]], sort_keys=True)
            network = saving.load(member)
            weights = network.get_weights()
            axes = axes_of[built] = axes_of.get(built) or class_axes(network, card["build"])
            outputs.append({i: weights[i] for i, axis in enumerate(axes) if axis is not None})
            digest = hashlib.sha256(built.encode())
            for array, axis in zip(weights, axes, strict=True):
                digest.update(np.ascontiguousarray(array).tobytes() if axis is None else b"")
            key.append(digest.hexdigest())
        group = groups.setdefault(
            tuple(key), Part(folder.name, [], member_folders(folder), [{} for _ in outputs])
        )
        group.classes.append(class_index)
        for joined, own in zip(group.outputs, outputs, strict=True):
            for i, array in own.items():
                axis = axes[i]
                joined[i] = np.concatenate([joined[i], array], axis=axis) if i in joined else array
    return [*parts, *groups.values()]


def class_axes(network: keras.Model, build: dict[str, Any]) -> list[int | None]:
    """Along which axis each weight of a segmenter of one class, built by these arguments, has a value a class;
    None where along none."""
    of_two = builders.build_segmenter(**{**build, "classes": 2}).weights
    return [
        next((axis for axis, (a, b) in enumerate(zip(x.shape, y.shape, strict=True)) if a != b), None)
        for x, y in zip(network.weights, of_two, strict=True)
    ]


def networks_of(part: Part) -> Iterator[tuple[keras.Model, tuple[int, int]]]:
    """Yield the Keras model of each member of a part, of all its classes, and the size (h, w) of its input."""
    for member, folder in enumerate(part.folders):
        card = saving.read_card(folder)
        network = saving.load(folder)
        if len(part.classes) > 1:
            weights = network.get_weights()
            for i, array in part.outputs[member].items():
                weights[i] = array
            network = builders.build_segmenter(**{**card["build"], "classes": len(part.classes)})
            network.set_weights(weights)
        yield network, (card["input"][0], card["input"][1])


def write(network: keras.Model, size: tuple[int, int], path: Path) -> float:
    """Write a network for images of a size to a file, .onnx or .xml (beside which a .bin then lies).

    Returns by how much its answers to noise differ from the network's, the greatest difference of a
    probability. Raises UserError where that is too much.
    """
    import tensorflow

    images = tensorflow.TensorSpec((None, *size, 1), tensorflow.uint8, name="image")
    function = tensorflow.function(lambda image: network(image, training=False), input_signature=[images])
    noise = np.random.default_rng(0).integers(0, 256, (1, *size, 1), np.uint8)
    expected = keras.ops.convert_to_numpy(network(noise, training=False))
    try:
        with _quiet(), _inlined():
            _WRITERS[path.suffix](function, images, path)
        answer = detect.network_of(path)(noise)
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise UserError(
            f"The network {path.stem} cannot be converted ({type(error).__name__}: {reason}). Choose another --format."
        ) from error
    difference = float(np.abs(answer - expected).max())
    if not difference < WRONG:
        raise UserError(
            f"The network {path.stem} answers otherwise once it is converted, by {difference:.4f}. Choose another --format."
        )
    return difference


def _write_onnx(function: Any, images: Any, path: Path) -> None:
    import onnx
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(function, [images], opset=OPSET)
    graph = function.get_concrete_function(images).graph
    constants = {inside.name: outside for outside, inside in graph.captures if inside.dtype != "resource"}
    used = {name for node in model.graph.node for name in node.input}
    for entry in [entry for entry in model.graph.input if entry.name in constants]:
        model.graph.input.remove(entry)
        if entry.name in used:
            value = np.asarray(constants[entry.name])
            model.graph.initializer.append(onnx.numpy_helper.from_array(value, entry.name))
    onnx.save(model, str(path))


def _write_openvino(function: Any, images: Any, path: Path) -> None:
    import openvino

    model = openvino.convert_model(function.get_concrete_function(images))
    openvino.save_model(model, str(path), compress_to_fp16=False)


_WRITERS: dict[str, Callable[[Any, Any, Path], None]] = {".onnx": _write_onnx, ".xml": _write_openvino}


@contextlib.contextmanager
def _inlined() -> Iterator[None]:
    """A context in which functions become a part of the graph that calls them: Keras compiles grouped
    convolutions apart, which ONNX does not know."""
    import tensorflow

    before = tensorflow.config.functions_run_eagerly()
    tensorflow.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tensorflow.config.run_functions_eagerly(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow and the converters tell of their steps out of the terminal."""
    logging.disable(logging.WARNING)
    try:
        with runtime._quiet():
            yield
    finally:
        logging.disable(logging.NOTSET)
