"""EfficientNet-Lite: ImageNet's answers without a network, and files that are refused."""

import collections
import io
import pickle

import cv2
import keras
import numpy as np
import pytest
import skimage.data

from lib.errors import UserError
from lib.models import builders, pretrained, saving

ESPRESSO, EGYPTIAN_CAT, TRIPOD, MOPED = 967, 285, 872, 665  # ImageNet's numbers


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **_):
        raise AssertionError(f"the network was asked for {arguments}")

    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.slow
def test_it_names_pictures_as_imagenet_does():
    network = pretrained.build_lite(height=224, width=224, classes=1000)
    pictures = {
        ESPRESSO: skimage.data.coffee(),
        EGYPTIAN_CAT: skimage.data.chelsea(),
        TRIPOD: skimage.data.camera(),
        MOPED: skimage.data.stereo_motorcycle()[0],
    }
    for number, picture in pictures.items():
        picture = np.dstack([picture] * 3) if picture.ndim == 2 else picture
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        square = cv2.resize(
            picture[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA
        )
        assert network((square[None].astype("float32") - 127) / 128).numpy().argmax() == number


@pytest.mark.slow
def test_classifier_and_segmenter_start_from_imagenet_train_and_come_back(tmp_path, no_network, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 1), np.uint8)
    stem = pretrained.read_tensors(pretrained.weights_file("efficientnetlite0"))[
        "_conv_stem.weight"
    ].transpose(2, 3, 1, 0)
    for kind, build, target in (
        (
            "classifier",
            {"backbone": "efficientnetlite0", "classes": 3, "height": 64, "width": None},
            np.zeros((2, 3)),
        ),
        (
            "segmenter",
            {"backbone": "efficientnetlite0", "height": 64, "width": None},
            np.zeros((2, 64, 96, 1)),
        ),
    ):
        model = saving.BUILDERS[kind](**build, weights="imagenet")
        np.testing.assert_array_equal(
            model.get_layer("efficientnetlite0").get_layer("stem").get_weights()[0], stem
        )
        before = model(image, training=False).numpy()
        model.compile(keras.optimizers.Adam(1e-3), loss="binary_crossentropy", run_eagerly=True)
        model.train_on_batch(image, target)
        after = model(image, training=False).numpy()
        assert (
            after.shape == target.shape
            and after.min() >= 0
            and after.max() <= 1
            and not np.array_equal(before, after)
        )
        with monkeypatch.context() as patch:
            if kind == "classifier":  # the graph of one of them is enough: it takes longer than all the rest
                patch.setattr(keras.Model, "export", lambda self, path, **_: path.mkdir())
            saving.save(model, tmp_path / kind, {"kind": kind, "build": build, "input": [64, 96]})
        np.testing.assert_array_equal(saving.load(tmp_path / kind)(image, training=False).numpy(), after)
    run, _ = saving.predictor(tmp_path / "segmenter")
    np.testing.assert_allclose(run(image), after, atol=1e-5)


@pytest.mark.parametrize("name", ["grey", "white", "black"])
def test_the_scaling_is_part_of_the_graph(name):
    level = {"black": 0, "grey": 127, "white": 255}[name]
    model = builders.build_segmenter("Unet", "efficientnetlite0", 32, 32)
    prepared = keras.Model(model.input, model.get_layer("prepare").output)(
        np.full((1, 32, 32, 1), level, np.uint8)
    ).numpy()
    assert prepared.shape == (1, 32, 32, 3)
    np.testing.assert_allclose(prepared, (level - 127) / 128, atol=1e-6)


def test_another_architecture_is_refused():
    with pytest.raises(UserError, match="efficientnetlite0 exists as a Unet, not as FPN"):
        builders.build_segmenter("FPN", "efficientnetlite0", 32, 32)


def test_a_changed_byte_is_refused_by_name(tmp_path, monkeypatch):
    path = pretrained.weights_file("efficientnetlite0")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / path.name).write_bytes(data)
    monkeypatch.setattr(pretrained.resources, "files", lambda package: tmp_path)
    with pytest.raises(UserError, match=r"efficientnet-lite0-57934424\.pth is not the file that is pinned"):
        pretrained.build_lite()


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(pretrained.LITE, "efficientnetlite0", ("no_such_package", "a.pth", "0"))
    with pytest.raises(
        UserError, match=r"package no-such-package, which is not installed.*requirements\.txt"
    ):
        pretrained.weights_file("efficientnetlite0")


class Call:
    """Pickled as a call of `name`, which lies in `module`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def torch_file(described, storages=()):
    """The bytes of a file as torch wrote it before version 1.6; `storages`: (key, "FloatStorage", array)."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return (
                ("storage", *value) if isinstance(value, tuple) and value and value[0] == "tensor" else None
            )

    stream = io.BytesIO()
    for part in (pretrained.MAGIC, pretrained.PROTOCOL, {}, described, [key for key, _ in storages]):
        Pickler(stream, 2).dump(part)
    for _, array in storages:
        stream.write(len(array).to_bytes(8, "little") + array.tobytes())
    return stream.getvalue()


@pytest.mark.parametrize(
    "function", [eval, print, collections.Counter, np.zeros], ids=lambda function: function.__name__
)
def test_a_pickle_that_asks_for_anything_but_tensors_is_refused(tmp_path, function, capsys):
    path = tmp_path / "weights.pth"
    path.write_bytes(torch_file(collections.OrderedDict(weight=Call(function, "1"))))
    with pytest.raises(UserError, match=r"weights\.pth holds something else than tensors"):
        pretrained.read_tensors(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", pickle.dumps(1) * 5, torch_file({"a": 1})[:-9]],
    ids=["empty", "zip", "other", "cut"],
)
def test_a_broken_file_is_a_sentence(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match="holds something else than tensors"):
        pretrained.read_tensors(path)


def test_a_tensor_lies_in_its_storage_as_its_strides_say():
    flat = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(pretrained._strided(flat, 0, (2, 3), (1, 2)), [[0, 2, 4], [1, 3, 5]])
    with pytest.raises(ValueError, match="beyond"):
        pretrained._strided(flat, 1, (2, 3), (1, 2))
