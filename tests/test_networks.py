"""Generators, networks, training and cascade on a few hand-made strips."""

import weakref
from dataclasses import replace

import cv2
import h5py
import keras
import numpy as np
import pytest

from lib.data import augmentation, choices, generators, rle, targets
from lib.data.images import read_image, resize_mask
from lib.errors import UserError
from lib.evaluation import metrics, predictions
from lib.inference import cascade, predictor
from lib.inference.passes import mirror
from lib.inference.postprocess import PostprocessConfig
from lib.inference.predictor import Network, Reader
from lib.models import builders, losses, runtime, saving, training, weights_files
from lib.models.training_config import TrainingConfig
from lib.paths import member_folder, member_folders, network_folders

SHAPE = (64, 128)


@pytest.fixture(scope="module")
def strips(tmp_path_factory):
    """Twelve strips of 64 x 128; every second has a bright square, its mask exact."""
    folder = tmp_path_factory.mktemp("strips")
    random = np.random.default_rng(0)
    paths, rles = [], []
    for number in range(12):
        image = random.integers(60, 90, SHAPE).astype(np.uint8)
        mask = np.zeros(SHAPE, np.uint8)
        if number % 2:
            top, left = random.integers(0, 40), random.integers(0, 100)
            mask[top : top + 20, left : left + 20] = 1
            image[mask == 1] = 220
        paths.append(str(folder / f"{number:02d}.png"))
        cv2.imwrite(paths[-1], image)
        rles.append(rle.encode(mask))
    return paths, rles


def test_the_last_partial_batch_is_kept(strips):
    paths, _ = strips
    batches = generators.PredictionBatches(paths, 64, 128, batch_size=5)
    assert [len(batches[i][0]) for i in range(len(batches))] == [5, 5, 2]
    assert batches[0][0].dtype == np.uint8
    assert batches[0][0].shape == (5, 64, 128, 1)


def test_image_and_mask_are_mirrored_together():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    seen = set()
    for seed in range(20):
        turned, mask = augmentation.augment(
            np.random.default_rng(seed), image, image, brightness=0, contrast=0
        )
        assert np.array_equal(turned, mask)
        seen.add(turned.tobytes())
    assert len(seen) == 4


def test_image_and_mask_move_together_and_the_gap_has_no_defect():
    image = np.repeat(np.arange(10, 20, dtype=np.uint8)[:, None], 3, axis=1)
    mask = np.zeros((10, 3), np.uint8)
    mask[0], mask[5] = 1, 1
    for seed in range(20):
        moved, moved_mask = augmentation.augment(
            np.random.default_rng(seed), image, mask, "none", 0, 0, shift=0.3
        )
        move = int(moved[5, 0]) - 15
        assert abs(move) <= 3
        assert moved[:, 0].tolist() == [min(max(row + move, 0), 9) + 10 for row in range(10)]
        assert moved_mask[:, 0].tolist() == [int(row + move in (0, 5)) for row in range(10)]


def test_masks_are_resized_as_masks():
    mask = np.zeros((4, 8), np.uint8)
    mask[:, :3] = 1
    assert resize_mask(mask, 2, 4).tolist() == [[1, 1, 0, 0]] * 2


def test_order_follows_from_seed_and_epoch_alone(strips):
    paths, rles = strips

    def make():
        return generators.SegmentationBatches(
            paths, rles, SHAPE, 64, 128, 64, 4, 1.0, {}, seed=3, shuffle=True
        )

    first, second = make(), make()
    second.on_epoch_end()
    assert not np.array_equal(first[0][0], second[0][0])
    first.start_epoch(1)
    assert all(
        np.array_equal(a, b) for i in range(len(first)) for a, b in zip(first[i], second[i], strict=True)
    )


def test_crops_of_defective_strips_hold_some_of_the_defect(strips):
    paths, rles = strips
    batches = generators.SegmentationBatches(
        paths[1::2], rles[1::2], SHAPE, 64, 128, 32, 6, None, None, seed=1
    )
    images, masks = batches[0]
    assert images.shape == (6, 64, 32, 1)
    assert masks.any(axis=(1, 2, 3)).all()
    assert (images[masks == 1] > 200).all()


def test_a_class_without_any_strip_still_gives_batches(strips):
    paths, rles = strips
    batches = generators.SegmentationBatches(paths[::2], rles[::2], SHAPE, 64, 128, negative_ratio=0.0)
    assert len(batches) == 1
    assert batches[0][0].shape == (6, 64, 128, 1)
    mixed = generators.SegmentationBatches(paths, rles, SHAPE, 64, 128, negative_ratio=0.5, seed=1)
    assert mixed.empty_share == pytest.approx(1 / 3)
    assert sorted(rles[index] != "" for index in mixed.order) == [False] * 3 + [True] * 6


def test_strips_that_judge_are_the_same_in_every_epoch(strips):
    """Else a training that was cut off would be judged on others than an uncut one, and keep another
    epoch."""
    paths, rles = strips
    few = [text if number < 4 else "" for number, text in enumerate(rles)]
    judging, teaching = (
        generators.SegmentationBatches(
            paths, few, SHAPE, 64, 128, negative_ratio=1.0, seed=1, shuffle=shuffle
        )
        for shuffle in (False, True)
    )
    orders = {True: set(), False: set()}
    for epoch in range(5):
        for batches in (judging, teaching):
            batches.start_epoch(epoch)
            orders[batches.shuffle].add(tuple(batches.order))
    assert len(orders[False]) == 1 and len(orders[True]) > 1


def test_cells_mark_where_defects_lie():
    mask = np.zeros(SHAPE, np.uint8)
    mask[:16, 32:48] = 1
    cells = targets.grid_targets([rle.encode(mask), ""], SHAPE, (4, 8))
    assert cells.shape == (4, 8, 2)
    assert np.argwhere(cells).tolist() == [[0, 2, 0]]


def test_a_crop_carries_its_own_label(strips):
    paths, rles = strips
    cells = np.stack([targets.grid_targets([text], SHAPE, (4, 8)) for text in rles])
    labels = np.array([[text != ""] for text in rles], int)
    batches = generators.ClassificationBatches(
        paths, labels, 64, 128, cells, crop_width=32, batch_size=12, seed=1
    )
    images, expected = batches[0]
    assert images.shape == (12, 64, 32, 1)
    assert (
        expected["probability"][:, 0].tolist()
        == labels[:, 0].tolist()
        == expected["grid"].any(axis=(1, 2, 3)).astype(int).tolist()
    )


def test_rare_combinations_are_drawn_more_often_than_they_occur():
    weights = targets.sampling_weights([[0, 1]] * 9 + [[1, 0]])
    assert weights.sum() == pytest.approx(1)
    assert weights[9] / weights[0] == pytest.approx(3)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["compact", "efficientnetlite0"])
def test_a_network_of_one_class_draws_what_the_network_of_all_draws_of_it(backbone):
    build = {"architecture": "Unet", "backbone": backbone, "height": 32, "width": None}
    together = builders.build_segmenter(classes=3, **build)
    strips = np.random.default_rng(0).integers(0, 255, (2, 32, 64, 1)).astype(np.uint8)
    expected = np.asarray(together(strips, training=False))
    assert expected.shape == (2, 32, 64, 3)
    for class_index in range(3):
        own = builders.of_class(together, class_index, build)
        np.testing.assert_allclose(
            np.asarray(own(strips, training=False))[..., 0], expected[..., class_index], atol=1e-6
        )


def test_losses_have_known_values():
    truth = np.array([[[[1.0]], [[0.0]]]], np.float32)
    probability = np.array([[[[0.5]], [[0.5]]]], np.float32)
    assert float(losses.binary_cross_entropy(truth, probability)[0]) == pytest.approx(np.log(2), rel=1e-5)
    assert float(losses.soft_dice(truth, probability)[0]) == pytest.approx((2 * 0.5 + 1) / (1 + 1 + 1))
    assert float(losses.dice_loss(truth * 0, probability)[0]) == 0
    assert float(losses.focal_loss(truth, probability)[0]) == pytest.approx(0.25 * np.log(2), rel=1e-5)
    two = np.concatenate([truth, truth * 0])  # over a batch of two crops: 2 * 0.5 of 1 + 2
    expected = 4 * np.log(2) + 0.5 * (1 - (2 * 0.5 + 100) / (1 + 2 + 100))
    assert losses.bce_batch_dice_loss(two, two * 0 + 0.5).numpy() == pytest.approx([expected] * 2, rel=1e-5)
    classes = np.concatenate([two, two * 0], axis=-1)  # the second class is nowhere: 100 of 100 + 2
    expected = 4 * np.log(2) + 0.5 * (1 - (101 / 103 + 100 / 102) / 2)
    assert losses.bce_batch_dice_loss(classes, classes * 0 + 0.5).numpy() == pytest.approx(
        [expected] * 2, rel=1e-5
    )
    dice = losses.HardDice()
    dice.update_state(np.concatenate([truth, truth * 0]), np.concatenate([probability, probability * 0]))
    assert float(dice.result()) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(("crop", "expected"), [(0, 0), (32, 0), (256, 0)])
def test_a_network_without_padding_learns_from_whole_strips(crop, expected, monkeypatch):
    """Such as InceptionV3 on 800 pixels: 23 cells, whose step of 34 pixels is wider than the narrowest
    crop."""
    monkeypatch.setattr(builders, "grid_shape", lambda classifier, height, width: (2, (width - 75) // 32 + 1))
    assert builders.fitting_crop(None, 128, 800, crop) == expected


@pytest.mark.parametrize("build", [
    {"backbone": "compact", "width": None},
    pytest.param({"backbone": "MobileNetV2", "width": 128, "localization_head": False}, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_saved_classifier_predicts_the_same_in_every_form(tmp_path, build):
    build = {"classes": 2, "height": 64, "dropout": 0.0, **build}
    network = builders.build_classifier(**build)
    saving.save(network, tmp_path / "model", {"kind": "classifier", "build": build, "input": [64, 128]})
    strips = np.random.default_rng(0).integers(0, 255, (3, 64, 128, 1)).astype(np.uint8)
    expected = np.asarray(network(strips, training=False))
    for engine, tolerance in (
        ("float32", 1e-5),
        ("bfloat16", 0.02),
        ("openvino", 0.02),
    ):  # what is not there is float32
        predict, card = saving.predictor(tmp_path / "model", engine)
        answer = predict(strips)
        assert answer.dtype == np.float32
        assert answer == pytest.approx(expected, abs=tolerance)
        assert np.array_equal(predict(strips), answer)
        assert card["weights_sha256"] == saving.weights_hash(network)
    assert np.asarray(saving.load(tmp_path / "model")(strips, training=False)) == pytest.approx(
        expected, abs=1e-5
    )


def test_an_engine_that_is_not_there_is_float32(monkeypatch):
    monkeypatch.setattr(runtime, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)
    assert [runtime.choose(engine) for engine in runtime.ENGINES] == ["float32"] * 3
    with pytest.raises(UserError, match="no engine called 'float16'"):
        runtime.choose("float16")


@pytest.mark.slow
@pytest.mark.skipif(not runtime.multiplies_bfloat16(), reason="the processor does not multiply bfloat16")
def test_masks_and_their_score_in_bfloat16_are_those_in_float32_but_for_the_edges(tmp_path, strips):
    paths, rles = strips
    keras.utils.set_random_seed(4)
    card = {"kind": "segmenter", "build": {"height": 64, "width": None}, "input": [64, 128]}
    network = saving.build(card)
    batches = generators.SegmentationBatches(paths, rles, SHAPE, 64, 128, batch_size=4)
    training.fit(
        network,
        batches,
        batches,
        tmp_path / "scratch",
        TrainingConfig(losses.bce_plus_dice_loss, epochs=25, learning_rate=0.01),
    )
    saving.save(network, tmp_path / "network", card)
    truth, scores, drawn = [[text] for text in rles], [], []
    for engine in ("float32", "bfloat16"):
        probabilities = np.stack(
            list(Network(tmp_path / "network", ["none", "vertical"], engine=engine)(paths))
        )
        drawn.append(probabilities >= 0.5)
        scores.append(metrics.competition_score(truth, [[rle.encode(mask)] for mask in drawn[-1]]))
    assert scores[0] > 0.6  # it has learned something to compare
    assert scores[1] == pytest.approx(scores[0], abs=0.02)
    assert np.mean(drawn[0] != drawn[1]) < 0.005


@pytest.mark.slow
def test_a_segmentation_models_network_builds_trains_and_saves(tmp_path, strips):
    paths, rles = strips
    build = {"architecture": "FPN", "backbone": "resnet18", "height": 64, "width": None}
    network = builders.build_segmenter(**build)
    batches = generators.SegmentationBatches(paths[:2], rles[:2], SHAPE, 64, 128)
    training.fit(
        network, batches, batches, tmp_path / "scratch", TrainingConfig(losses.bce_plus_dice_loss, epochs=1)
    )
    saving.save(network, tmp_path / "model", {"kind": "segmenter", "build": build, "input": [64, 128]})
    probability = saving.predictor(tmp_path / "model")[0](batches[0][0])
    assert probability.shape == (2, 64, 128, 1)
    assert probability.dtype == np.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: builders.build_classifier("ResNet5"), "ResNet5"),
        (lambda: builders.build_segmenter(backbone="resnet99"), "resnet99"),
        (lambda: builders.build_segmenter(height=100), "multiple of 32"),
        (
            lambda: builders.build_classifier(
                "MobileNetV2", weights="none.h5", localization_head=False, height=64, width=64
            ),
            "none.h5",
        ),
        (
            lambda: builders.build_classifier("InceptionV3", height=64, width=None),
            "64 x any pixels, but the backbone InceptionV3 needs 75",
        ),
        (
            lambda: builders.build_segmenter("FPN", "inceptionv3", 96, 64),
            "96 x 64 pixels, but the backbone inceptionv3 needs 75 or more",
        ),
    ],
)
def test_wrong_names_and_sizes_say_so(make, message):
    with pytest.raises(UserError, match=message):
        make()


def small_training(paths, rles, scratch, epochs, stop_after=None):
    keras.utils.set_random_seed(5)
    network = builders.build_segmenter(height=64)
    batches = generators.SegmentationBatches(
        paths, rles, SHAPE, 64, 128, 64, 4, None, {"flips": "both"}, seed=5, shuffle=True
    )
    whole = generators.SegmentationBatches(paths, rles, SHAPE, 64, 128)
    if stop_after:
        end = batches.start_epoch

        def cut(epoch):
            if epoch == stop_after:
                raise KeyboardInterrupt
            end(epoch)

        batches.start_epoch = cut
    config = TrainingConfig(losses.bce_plus_dice_loss, epochs=epochs, learning_rate=5e-3)
    history = training.fit(network, batches, whole, scratch, config)
    return network, history


def test_weights_that_cannot_be_downloaded_are_told_from_other_errors_by_their_type(tmp_path):
    """Nobody listens at the port 9 of this machine; an error whose text only sounds like a network stays what
    it is."""
    with pytest.raises(
        UserError, match=r"cannot be downloaded \(no network\? URLError: .*\)\. Set weights to 'none'"
    ):
        weights_files._published(
            lambda: keras.utils.get_file("weights.h5", "http://127.0.0.1:9/weights.h5", cache_dir=tmp_path)
        )

    def other():
        raise ValueError("The URL of this layer was not fetched.")

    with pytest.raises(ValueError, match="of this layer"):
        weights_files._published(other)

    def cut_off():
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(UserError, match="ConnectionResetError"):
        weights_files._published(cut_off)


@pytest.mark.slow
def test_training_learns_repeats_to_the_bit_and_goes_on_where_it_was_cut_off(tmp_path, strips):
    paths, rles = strips
    whole, history = small_training(paths, rles, tmp_path / "whole", 6)
    assert history["loss"].iloc[-1] < 0.8 * history["loss"].iloc[0]
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    again, _ = small_training(paths, rles, tmp_path / "again", 6)
    assert saving.weights_hash(again) == saving.weights_hash(whole)
    with pytest.raises(KeyboardInterrupt):
        small_training(paths, rles, tmp_path / "cut", 6, stop_after=3)
    resumed, resumed_history = small_training(paths, rles, tmp_path / "cut", 6)
    assert resumed_history.equals(history)
    assert saving.weights_hash(resumed) == saving.weights_hash(whole)


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path, strips):
    paths, rles = strips
    batches = generators.SegmentationBatches(paths[:2], rles[:2], SHAPE, 64, 128)
    config = TrainingConfig(lambda t, p: p[:, 0, 0, 0] * float("nan"), epochs=1)
    with pytest.raises(UserError, match="training loss is nan"):
        training.fit(builders.build_segmenter(height=64), batches, batches, tmp_path, config)


@pytest.fixture
def networks(tmp_path, strips, monkeypatch):
    """A cascade whose networks are exact on the hand-made strips: thresholds on brightness."""

    def predictor(folder, engine):
        def segment(images):
            return (images > 200).astype(np.float32)

        def classify(images):
            return (images > 200).any(axis=(1, 2, 3)).astype(np.float32)[:, None]

        return (segment if "seg" in str(folder) else classify), {"input": list(SHAPE)}

    monkeypatch.setattr(saving, "predictor", predictor)
    return cascade.open_networks(network_folders(tmp_path, 1), choices.FLIPS, batch_size=5)


def test_the_cascade_returns_the_exact_masks_of_exact_networks(networks, strips):
    paths, rles = strips
    chosen = PostprocessConfig(
        "both filters", 0.5, (0.5,), (0.5,), smallest_components=(0,), minimum_areas=(1,)
    )
    predicted, binary, label = cascade.predict(networks, paths, chosen, SHAPE, chunk=5)
    assert [row[0] for row in predicted] == rles
    assert binary.tolist() == [0, 1] * 6
    assert (
        np.isnan(label[::2]).all() and (label[1::2] == 1).all()
    )  # a dropped strip is not seen by the second network
    nothing, _, _ = cascade.predict(networks, paths, replace(chosen, minimum_areas=(401,)), SHAPE)
    assert all(row == [""] for row in nothing)


def test_the_cascade_decodes_a_strip_once_for_all_networks_of_a_size(networks, strips, monkeypatch):
    paths, rles = strips
    read = []

    def counting(path, *about):
        read.append(path)
        return read_image(path, *about)

    monkeypatch.setattr(predictor, "read_image", counting)
    chosen = PostprocessConfig(
        "both filters", 0.0, (0.0,), (0.5,), smallest_components=(0,), minimum_areas=(1,)
    )
    predicted, *_ = cascade.predict(networks, paths, chosen, SHAPE, chunk=7)
    assert [row[0] for row in predicted] == rles
    assert sorted(read) == paths


def test_a_batch_is_mirrored_as_its_images_are():
    batch = np.random.default_rng(0).integers(0, 255, (3, 4, 6, 1)).astype(np.uint8)
    for which in choices.FLIPS:
        assert np.array_equal(
            mirror(batch, which), np.stack([augmentation.flip(image, which) for image in batch])
        )
        assert np.array_equal(
            mirror(batch[..., 0], which),
            np.stack([augmentation.flip(image, which) for image in batch[..., 0]]),
        )


def test_predictions_count_pixels_at_full_size(networks, strips):
    import pandas as pd

    paths, rles = strips
    found = predictions.collect_predictions(
        networks, pd.DataFrame({"path": paths}), [[text] for text in rles], SHAPE
    )
    assert (
        (found.area[1::2] == 400).all()
        and (found.intersection[1::2] == 400).all()
        and (found.true_area[1::2] == 400).all()
    )
    assert not found.area[::2].any() and not found.true_area[::2].any()


def test_a_painted_over_defect_is_gone_and_the_rest_is_as_it_was(tmp_path):
    image = np.full((32, 96), 100, np.uint8)
    mask = np.zeros_like(image)
    mask[4:24, 10:18] = 1
    image[mask > 0] = 250
    painted = augmentation.paint_over(np.random.default_rng(0), image, mask)
    assert (painted == 100).all()
    assert augmentation.paint_over(np.random.default_rng(0), image, np.ones_like(mask)) is None
    cv2.imwrite(str(tmp_path / "a.png"), image)
    text = rle.encode(mask)
    for share, seen in ((0.0, mask.sum()), (1.0, 0)):
        painting = {"blackout": share}
        (images, masks_), *_ = generators.SegmentationBatches(
            [tmp_path / "a.png"], [text], image.shape, 32, 96, augmentation=painting
        )
        assert masks_.sum() == seen and (images.max() == 250) == bool(seen)


@pytest.mark.slow
def test_averaged_weights_and_early_stopping(tmp_path, strips):
    """A model of two numbers: their average over the steps lags behind them, and patience ends a training
    that gets nowhere."""

    def model():
        keras.utils.set_random_seed(1)
        layers = [
            keras.Input((64, 128, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(1, 1, activation="sigmoid"),
        ]
        return keras.Sequential(layers)

    paths, rles = strips
    batches = generators.SegmentationBatches(paths[:4], rles[:4], SHAPE, 64, 128, batch_size=4)
    moved, start = {}, model().get_weights()
    for ema in (0.0, 0.9):
        network = model()
        config = TrainingConfig(
            losses.binary_cross_entropy, epochs=8, learning_rate=0.05, schedule="constant", ema=ema
        )
        training.fit(network, batches, batches, tmp_path / str(ema), config)
        moved[ema] = sum(
            np.abs(now - before).sum() for now, before in zip(network.get_weights(), start, strict=True)
        )
    assert 0 < moved[0.9] < 0.7 * moved[0.0]
    config = TrainingConfig(
        losses.binary_cross_entropy, [losses.HardDice()], 9, 1e-9, monitor="val_dice", mode="max", patience=2
    )
    history = training.fit(model(), batches, batches, tmp_path / "early", config)
    assert len(history) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_a_network_trained_in_16_bits_is_saved_in_32(tmp_path, strips, precision):
    with builders.computing_in(precision):
        network = builders.build_segmenter(height=64)
    assert keras.config.dtype_policy().name == "float32"
    paths, rles = strips
    batches = generators.SegmentationBatches(paths[:4], rles[:4], SHAPE, 64, 128, batch_size=4)
    history = training.fit(
        network, batches, batches, tmp_path / "scratch", TrainingConfig(losses.bce_plus_dice_loss, epochs=2)
    )
    assert np.isfinite(history["val_loss"]).all()
    card = {"kind": "segmenter", "build": {"height": 64, "width": None}, "input": [64, 128]}
    saving.save(network, tmp_path / "network", card)
    saved = saving.load(tmp_path / "network")
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}
    predict, _ = saving.predictor(tmp_path / "network")
    images = batches[0][0]
    assert predict(images) == pytest.approx(keras.ops.convert_to_numpy(saved(images)), abs=1e-5)
    with pytest.raises(UserError, match="no dtype_policy"), builders.computing_in("float8"):
        pass


def test_saving_the_first_member_removes_those_of_another_training(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "export", lambda self, path, **_: path.mkdir())
    network, card = (
        builders.build_segmenter(height=32),
        {"kind": "segmenter", "build": {"height": 32, "width": None}, "input": [32, 64]},
    )
    for number in (0, 1, 2):
        saving.save(network, member_folder(tmp_path / "net", number), card)
    assert [path.name for path in member_folders(tmp_path / "net")] == ["net", "net.2", "net.3"]
    saving.save(network, tmp_path / "net", card)
    assert [path.name for path in member_folders(tmp_path / "net")] == ["net"]


def test_a_saved_network_is_without_what_trained_it(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "export", lambda self, path, **_: path.mkdir())
    network = builders.build_segmenter(height=32)
    network.compile("adam", "mse")
    network.optimizer.build(network.trainable_variables)
    saving.save(
        network,
        tmp_path / "net",
        {"kind": "segmenter", "build": {"height": 32, "width": None}, "input": [32, 64]},
    )
    with h5py.File(tmp_path / "net" / "model.weights.h5") as stored:
        assert "layers" in stored and "optimizer" not in stored
    assert network.optimizer is not None
    assert saving.weights_hash(saving.load(tmp_path / "net")) == saving.weights_hash(network)


def test_soft_gating_multiplies_maps_by_the_probability_of_the_class(tmp_path):
    """Stand-ins with known answers: a map of 0.8, classes of 0.9 and 0.5; 0.72 reaches the threshold 0.6, and
    0.4 does not."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros(SHAPE, np.uint8))
    map_ = np.full(SHAPE, 0.8)
    answer = {
        "binary": np.ones(1),
        "multilabel": np.array([0.9, 0.5]),
        "seg_class1": map_,
        "seg_class2": map_,
    }
    asked = []

    def network(name):
        return lambda files, *_: [(asked.append(name), answer[name].astype(np.float32))[1] for _ in files]

    thresholds = PostprocessConfig(
        "soft gating", 0.5, (0, 0), (0.6, 0.6), smallest_components=(0, 0), minimum_areas=(0, 0)
    )
    networks = {name: network(name) for name in answer}
    rles, _, label = cascade.predict(networks, [str(tmp_path / "a.png")], thresholds, SHAPE)
    assert rles == [[f"1 {SHAPE[0] * SHAPE[1]}", ""]]
    assert label[0] == pytest.approx([0.9, 0.5])
    assert asked == [
        "binary",
        "multilabel",
        "seg_class1",
    ]  # a class below the pixel threshold cannot reach it


def test_a_reader_lets_go_of_its_strips_even_beside_a_broken_one(strips, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    files = [str(tmp_path / "broken.png"), *strips[0]]
    with Reader() as reader:
        reader.ask(files, SHAPE)
        with pytest.raises(UserError, match=r"broken\.png"):
            reader.get(files[0], SHAPE)
        image = weakref.ref(reader.get(files[1], SHAPE))
        assert image() is not None
    assert image() is None
