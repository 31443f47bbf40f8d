"""Saved networks: a folder with weights, a SavedModel that needs TensorFlow alone, and a card; written whole,
loaded with distrust."""

import contextlib
import hashlib
import inspect
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from lib import files
from lib.data import manifest
from lib.errors import UserError
from lib.files import put, read_json, scratch, write_json
from lib.models import builders, runtime
from lib.paths import member_folders

BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "classifier": builders.build_classifier,
    "segmenter": builders.build_segmenter,
}  # by the card's kind
RENAMED = {
    "locate": "localization_head",
    "precision": "dtype_policy",
}  # keys of models that were saved before version 2
MANIFEST = manifest.MANIFEST  # in a model's folder: the files of its SavedModel


def build(card: dict) -> keras.Model:
    """The network that a model card describes, with random weights."""
    return BUILDERS[card["kind"]](**card["build"])


def read_card(folder: str | Path) -> dict:
    """The card of a saved model; UserError if it is missing, broken or describes no network of this
    project."""
    path = Path(folder) / "model.json"
    card = read_json(path)
    try:
        for part in (card["build"], card.get("training")):
            for old, new in RENAMED.items():
                if isinstance(part, dict) and old in part:
                    part[new] = part.pop(old)
        inspect.signature(BUILDERS[card["kind"]]).bind(**card["build"])
        if [type(size) for size in card["input"]] != [int, int] or min(card["input"]) < 1:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} describes no network that this project can build. Train the model again."
        ) from None
    return card


def save(model: keras.Model, folder: str | Path, card: dict) -> None:
    """Save to `folder`: weights, SavedModel (needs TensorFlow alone) and the card, complete or not at all.

    Further members of an ensemble that lie beside it are removed: they belong to another training. So the
    first one is saved first.

    Arguments:
        card: dict with "kind" ("classifier" or "segmenter"), "build" (arguments of its builder), "input" [h,
            w] pixels at prediction, and whatever the reader should know; versions and a hash of the weights
            are added.
    """
    folder = Path(folder)
    if any(layer.compute_dtype != layer.variable_dtype for layer in model.layers):
        trained, model = model, build(card)
        model.set_weights(trained.get_weights())
    for path in member_folders(folder)[1:]:
        if (path / "model.json").is_file():
            shutil.rmtree(path)
    with scratch(folder) as partial, scratch(folder) as previous:
        _write(model, partial, card)
        if folder.exists():
            files.moving(os.rename, folder, previous / "old")
        try:
            placed = put(partial, folder)
        except BaseException:
            with contextlib.suppress(OSError):  # the one before is not lost
                os.rename(previous / "old", folder)
            raise
        if not placed:
            raise UserError(
                f"{folder} was written by another notebook meanwhile. Let one of them end before the other is run."
            )


def _write(model: keras.Model, partial: Path, card: dict) -> None:
    """Write the files of a saved model into a folder."""
    optimizer, model.optimizer = getattr(model, "optimizer", None), None  # whose moments are twice as large
    model.save_weights(partial / "model.weights.h5")
    model.optimizer = optimizer
    if keras.backend.backend() == "tensorflow":
        height, width = card["input"]
        signature = [keras.InputSpec(shape=(None, height, width, 1), dtype="uint8", name="image")]
        # A line on where it writes would go into the report.
        logging.getLogger("tensorflow").setLevel(logging.WARNING)
        model.export(partial / "saved_model", input_signature=signature, verbose=False)
    versions = {
        "keras": keras.__version__,
        keras.backend.backend(): _backend_version(),
        "numpy": np.__version__,
    }
    write_json(partial / "model.json", {**card, "versions": versions, "weights_sha256": weights_hash(model)})
    # Beside the card: equal weights give an equal card, but TensorFlow writes other bytes each time it
    # exports.
    write_json(partial / MANIFEST, manifest.manifest_of(partial / "saved_model"))


def weights_hash(model: keras.Model) -> str:
    """SHA-256 over all weights' bytes: equal for equal models, whatever file holds them."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _backend_version() -> str:
    return __import__(keras.backend.backend()).__version__


def load(folder: str | Path) -> keras.Model:
    """The Keras model of a saved folder, rebuilt from its card and given its weights: nothing stored is
    executed."""
    folder = Path(folder)
    card = read_card(folder)
    try:
        model = build(card)
    except (TypeError, ValueError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise UserError(f"{folder / 'model.json'} describes no network ({reason}). Train it again.") from None
    try:
        model.load_weights(folder / "model.weights.h5")
    except (ValueError, OSError) as error:
        raise UserError(
            f"{folder / 'model.weights.h5'} cannot be loaded ({str(error).splitlines()[0]}). Train it again."
        ) from None
    if weights_hash(model) != card.get("weights_sha256"):
        raise UserError(
            f"{folder / 'model.weights.h5'} holds other weights than model.json says. Train the model again."
        )
    return model


def predictor(folder: str | Path, engine: str = "float32") -> tuple[runtime.Predict, dict]:
    """A function from images (B, h, w, 1) uint8 to probabilities float32 (numpy), and the model's card.

    Runs the SavedModel by one of `runtime.ENGINES` where Keras runs on TensorFlow, if its files are those
    that the model's manifest lists; without a manifest, or elsewhere, the rebuilt model. A SavedModel can
    hold operations that read and write files.
    """
    folder = Path(folder)
    card = read_card(folder)
    known = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    if keras.backend.backend() == "tensorflow" and known not in ({}, {"files": {}}):
        manifest.check_manifest(folder / "saved_model", known)
        return runtime.open_saved_model(folder / "saved_model", engine), card
    model = load(folder)
    return lambda images: keras.ops.convert_to_numpy(model(images, training=False)), card
