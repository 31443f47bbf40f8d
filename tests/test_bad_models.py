"""Saved models that are torn, exchanged or hostile: each is a sentence that names the file, and nothing in
them is executed."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from lib import files, paths
from lib.data import manifest
from lib.errors import UserError
from lib.models import builders, runtime, saving

BUILD = {"backbone": "compact", "classes": 1, "height": 32, "width": 64}
IMAGES = np.zeros((1, 32, 64, 1), np.uint8)


class Evil:
    """Unpickling it creates a file."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small classifier with random weights."""
    keras.utils.set_random_seed(1)
    folder = tmp_path_factory.mktemp("models") / "binary"
    saving.save(
        builders.build_classifier(**BUILD), folder, {"kind": "classifier", "build": BUILD, "input": [32, 64]}
    )
    return folder


def card(**changes):
    """A change of the card's entries; None takes one away."""

    def change(folder):
        content = json.loads((folder / "model.json").read_text())
        content = {key: value for key, value in (content | changes).items() if value is not None}
        (folder / "model.json").write_text(json.dumps(content))

    return change


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content(folder) if callable(content) else content)


def other_weights(folder):
    keras.utils.set_random_seed(2)
    builders.build_classifier(**BUILD).save_weights(folder / "model.weights.h5")


def half(name):
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


CASES = [
    ("no card", lambda folder: (folder / "model.json").unlink(), "model.json does not exist"),
    ("a torn card", half("model.json"), "model.json is not valid JSON"),
    ("a card that is a list", put("model.json", b"[]"), "model.json describes no network"),
    ("another kind", card(kind="os.system"), "model.json describes no network"),
    ("no kind", card(kind=None), "model.json describes no network"),
    ("an unknown argument", card(build={**BUILD, "run": "x"}), "model.json describes no network"),
    (
        "an argument of another type",
        card(build={**BUILD, "height": "tall"}),
        "model.json describes no network",
    ),
    (
        "an unknown backbone",
        card(build={**BUILD, "backbone": "../x"}),
        "no classifier backbone called '../x'",
    ),
    ("a size that is none", card(input=[0, "x"]), "model.json describes no network"),
    (
        "no weights",
        lambda folder: (folder / "model.weights.h5").unlink(),
        "model.weights.h5 cannot be loaded",
    ),
    ("torn weights", half("model.weights.h5"), "model.weights.h5 cannot be loaded"),
    (
        "a pickle for weights",
        put("model.weights.h5", lambda _: pickle.dumps(Evil())),
        "model.weights.h5 cannot be loaded",
    ),
    ("another model's weights", other_weights, "model.weights.h5 holds other weights"),
]
SAVED_MODELS = [
    ("a changed graph", put("saved_model/saved_model.pb", b"x"), "saved_model.pb was changed"),
    ("a file more", put("saved_model/more.so", b"x"), "more.so was added"),
    ("a manifest that is a list", put("manifest.json", b"[1]"), "was added"),
    ("a torn manifest", put("manifest.json", b"{"), "manifest.json is not valid JSON"),
    (
        "a file less",
        lambda folder: (folder / "saved_model" / "saved_model.pb").unlink(),
        "saved_model.pb is missing",
    ),
]


def copied(saved, tmp_path, change, monkeypatch):
    """A copy of the model with one thing changed."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "binary"
    shutil.copytree(saved, folder)
    change(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("change, said", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_model_that_is_not_what_was_saved(saved, tmp_path, monkeypatch, change, said):
    folder = copied(saved, tmp_path, change, monkeypatch)
    with pytest.raises(UserError, match=said) as caught:
        saving.load(folder)
    assert len(str(caught.value)) < 500 and not Path("executed").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, said", [case[1:] for case in SAVED_MODELS], ids=[case[0] for case in SAVED_MODELS]
)
def test_a_saved_model_that_is_not_what_the_manifest_lists(saved, tmp_path, monkeypatch, change, said):
    folder = copied(saved, tmp_path, change, monkeypatch)
    with pytest.raises(UserError, match=said):
        saving.predictor(folder)


@pytest.mark.slow
def test_a_model_of_before_the_manifest_had_sizes_is_opened(saved, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(runtime, "open_saved_model", lambda folder, engine: opened.append(folder))

    def change(folder):
        files.write_json(
            folder / "manifest.json", manifest.manifest_hashes(manifest.manifest_of(folder / "saved_model"))
        )

    folder = copied(saved, tmp_path, change, monkeypatch)
    saving.predictor(folder)
    saving.predictor(saved)
    assert opened == [folder / "saved_model", saved / "saved_model"]


@pytest.mark.slow
def test_equal_weights_give_an_equal_card(saved, tmp_path):
    saving.save(
        saving.load(saved), tmp_path / "binary", {"kind": "classifier", "build": BUILD, "input": [32, 64]}
    )
    assert (tmp_path / "binary" / "model.json").read_bytes() == (saved / "model.json").read_bytes()


@pytest.mark.slow
def test_without_a_manifest_the_network_is_rebuilt(saved, tmp_path, monkeypatch):
    def change(folder):
        (folder / "manifest.json").unlink()
        (folder / "saved_model" / "saved_model.pb").write_bytes(b"would crash if it were read")

    folder = copied(saved, tmp_path, change, monkeypatch)
    assert saving.predictor(folder)[0](IMAGES) == pytest.approx(saving.predictor(saved)[0](IMAGES), abs=1e-5)


@pytest.mark.slow
def test_weights_that_carry_code_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "PROJECT", tmp_path)  # where a relative path begins
    Path("evil.h5").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match=r"The weights file evil\.h5 does not fit the network"):
        builders.build_classifier("MobileNetV2", height=32, width=32, weights="evil.h5")
    assert not Path("executed").exists()


def test_manifest(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    known = manifest.manifest_of(tmp_path)
    sha256 = hashlib.sha256(b"x").hexdigest()
    assert known == {"files": {"a/b": {"bytes": 1, "sha256": sha256}}}
    before = {"a/b": sha256}  # what a model's manifest was before there were sizes
    manifest.check_manifest(tmp_path, known)
    manifest.check_manifest(tmp_path, before)
    nothing = (
        {},
        [],
        None,
        "x",
        {"files": []},
        {"files": {"a/b": {}}},
        {"a/b": None},
        {"files": {**known["files"], "c": {}}},
    )
    for content in nothing:
        with pytest.raises(UserError, match=r"was added|was changed|is missing"):
            manifest.check_manifest(tmp_path, content)
    for change in (lambda: (tmp_path / "c").write_text(""), lambda: (tmp_path / "a" / "b").write_text("y")):
        change()
        for content in (known, before):
            with pytest.raises(UserError):
                manifest.check_manifest(tmp_path, content)


def test_a_models_manifest_and_a_packs_have_one_form(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    known = manifest.manifest_of(tmp_path)
    manifest.write_manifest(tmp_path, ["a/b"])
    assert files.read_json(tmp_path / manifest.MANIFEST) == known and manifest.MANIFEST == saving.MANIFEST
    assert manifest.check_data_set(tmp_path) == 1


def test_a_card_from_before_version_2_is_read_with_its_new_keys(tmp_path):
    card = {
        "kind": "classifier",
        "build": {"locate": False},
        "input": [64, 128],
        "training": {"precision": "mixed_bfloat16"},
    }
    files.write_json(tmp_path / "model.json", card)
    read = saving.read_card(tmp_path)
    assert read["build"] == {"localization_head": False} and read["training"] == {
        "dtype_policy": "mixed_bfloat16"
    }
