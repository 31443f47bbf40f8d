"""Every backbone that a comment or the README names: built with the notebooks' defaults around it, from a
file of weights, one step."""

import functools

import keras
import numpy as np
import pytest

from lib import paths
from lib.data import choices, generators
from lib.errors import UserError
from lib.models import builders, layers

pytestmark = pytest.mark.slow
HEIGHT, WIDTH, CROP = 128, 800, 256  # the defaults of 10_binary
AS_ANOTHER = (
    "InceptionResNetV2",
    "ResNet101",
    "ResNet101V2",
    "EfficientNetV2S",
    "EfficientNetB3",
)  # would learn as smaller relatives do
OTHERS = [name for name in choices.ENCODERS if name not in choices.LITE]


@pytest.fixture(scope="module")
def strips(tmp_path_factory):
    """Two generated strips as batches take them: their paths and labels."""
    import cv2

    folder = tmp_path_factory.mktemp("strips")
    files = [folder / f"{name}.png" for name in "ab"]
    for number, file in enumerate(files):
        cv2.imwrite(str(file), np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH), np.uint8))
    return files


def learns(model, images, targets):
    """One step without a graph, which takes seconds instead of a minute; the loss."""
    model.compile(keras.optimizers.Adam(1e-4), loss="binary_crossentropy", run_eagerly=True)
    loss = model.train_on_batch(images, targets)
    return np.isfinite(np.ravel(loss)[0])


@pytest.mark.parametrize("name", ["compact", *choices.CLASSIFIERS])
def test_a_classifier_with_crops_and_cells(name, strips, monkeypatch):
    monkeypatch.setattr(
        builders, "grid_shape", functools.cache(builders.grid_shape)
    )  # every call goes through all layers
    classifier = builders.build_classifier(name, 1, HEIGHT, None)
    grid, crop = (
        builders.grid_shape(classifier, HEIGHT, WIDTH),
        builders.fitting_crop(classifier, HEIGHT, WIDTH, CROP),
    )
    assert crop == (0 if name.startswith("Inception") else CROP)
    cells = np.zeros((1, *grid, 1), np.uint8)
    cells[:, 1, 2] = 1
    batches = generators.ClassificationBatches(strips[:1], np.ones((1, 1)), HEIGHT, WIDTH, cells, crop, 1)
    images, targets = batches[0]
    network = builders.with_grid_output(classifier)
    if name in AS_ANOTHER:
        assert network(images, training=False)["grid"].shape == targets["grid"].shape
    else:
        assert learns(network, images, targets)


@pytest.mark.parametrize("name", OTHERS)
def test_a_segmenter_begins_with_a_weights_file(name, tmp_path):
    """One of each family from a file of weights, and with a step; the others are built as it is."""
    import segmentation_models
    from segmentation_models.backbones.backbones_factory import Backbones

    size = 96 if "inception" in name else 64
    if name not in ("resnet18", "mobilenetv2", "efficientnetb0", "inceptionv3"):
        network = builders.build_segmenter("Unet", name, size, None)
        assert network.output_shape[1::2] == (size, 1)
        return
    encoder = segmentation_models.inject_global_submodules(Backbones.get_backbone)(
        name, input_shape=(size, size, 3), weights=None, include_top=False
    )
    encoder.save_weights(tmp_path / "encoder.weights.h5")
    network = builders.build_segmenter("Unet", name, size, None, str(tmp_path / "encoder.weights.h5"))
    theirs = [weight for layer in encoder.layers for weight in layer.get_weights() if weight.ndim == 4]
    ours = {weight.tobytes() for layer in network.layers for weight in layer.get_weights()}
    assert theirs and all(weight.tobytes() in ours for weight in theirs)
    assert learns(network, np.zeros((1, size, size, 1), np.uint8), np.ones((1, size, size, 1), np.float32))


def test_a_classifier_begins_with_a_weights_file_and_one_of_another_network_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    encoder = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(64, 64, 3))
    encoder.save_weights(tmp_path / "encoder.weights.h5")
    network = builders.build_classifier(
        "MobileNet", height=64, width=None, weights="encoder.weights.h5"
    )  # counted from the project
    ours = {weight.tobytes() for layer in network.layers for weight in layer.get_weights()}
    assert all(weight.tobytes() in ours for weight in encoder.get_weights() if weight.ndim == 4)
    for build in (
        lambda: builders.build_classifier("MobileNetV2", height=64, width=64, weights="encoder.weights.h5"),
        lambda: builders.build_segmenter("Unet", "resnet18", 64, 64, "encoder.weights.h5"),
        lambda: builders.build_segmenter("Unet", "efficientnetlite0", 64, 64, "encoder.weights.h5"),
    ):
        with pytest.raises(UserError, match=r"encoder\.weights\.h5 does not fit the network"):
            build()
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(UserError, match=r"text\.h5 does not fit the network"):
        builders.build_segmenter("Unet", "resnet18", 64, 64, "text.h5")
    for build in (builders.build_classifier, builders.build_segmenter):
        with pytest.raises(UserError, match=r"no\.h5 does not exist"):
            build(backbone="efficientnetlite0", height=64, width=64, weights="no.h5")
        for weights in ("imagenet", "text.h5"):
            with pytest.raises(UserError, match="compact backbone has no published weights"):
                build(backbone="compact", height=64, width=64, weights=weights)


def test_imagenet_a_file_of_it_and_the_saved_network_make_the_same_classifier(tmp_path, monkeypatch):
    """Keras adds a layer to EfficientNet for the word "imagenet" alone, and keeps its scaling among the
    weights."""
    published = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    (scaling,) = (layer for layer in published.layers if isinstance(layer, keras.layers.Normalization))
    statistics = (
        np.array([0.485, 0.456, 0.406]),
        np.array([0.229, 0.224, 0.225]),
        np.array(1),
    )  # as in the published file
    scaling.load_own_variables({str(place): value for place, value in enumerate(statistics)})
    file = tmp_path / "published.weights.h5"
    published.save_weights(file)
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: str(file))
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1), np.uint8)

    def features(network):
        return keras.Model(network.input, network.get_layer("mean").output)(image, training=False).numpy()

    build = functools.partial(
        builders.build_classifier, "EfficientNetB0", height=64, width=None, localization_head=False
    )
    downloaded, rebuilt = build(weights="imagenet"), build()
    rebuilt.set_weights(downloaded.get_weights())  # as `storage` has it
    expected = features(downloaded)
    np.testing.assert_array_equal(features(build(weights=str(file))), expected)
    np.testing.assert_array_equal(features(rebuilt), expected)
    pixels = np.repeat(image, 3, axis=-1)
    shift = keras.layers.Rescaling((1 / np.sqrt(statistics[1])).tolist())  # what Keras adds for the word
    theirs = keras.Model(published.input, published.layers[2].output)(pixels)
    np.testing.assert_allclose(layers.prepared(image.astype("float32"), "torch", 3), shift(theirs), atol=1e-5)


@pytest.mark.parametrize("architecture", ["FPN", "Linknet"])
def test_the_other_architectures(architecture):
    network = builders.build_segmenter(architecture, "resnet18", 64, None)
    assert learns(network, np.zeros((1, 64, 96, 1), np.uint8), np.ones((1, 64, 96, 1), np.float32))


@pytest.mark.parametrize("build", [lambda: builders.build_classifier("MobileNet", height=128, width=128, weights="imagenet"),
                                   lambda: builders.build_segmenter("Unet", "resnet18", 64, 64, "imagenet")],
                         ids=["classifier", "segmenter"])  # fmt: skip
def test_imagenet_without_a_network_says_what_to_do(build, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError("no network in this test")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be downloaded \(no network"):
        build()
