"""Trainings that are cut off: they go on to the same weights, to the bit, and only where nothing else has
changed."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import cv2
import keras
import numpy as np
import pytest

from lib.data import generators
from lib.errors import UserError
from lib.models import builders, losses, saving, training, training_hash, training_state
from lib.models.training_config import TrainingConfig
from lib.paths import PROJECT

SIZE = (12, 16)


class Batches(keras.utils.PyDataset):
    """Random pictures whose label is their brightness; another order every epoch."""

    def __init__(self, seed=0, shuffle=True, **options):
        super().__init__(**options)
        random = np.random.default_rng(seed)
        self.images = random.integers(0, 255, (10, *SIZE, 1), np.uint8)
        self.labels = (self.images.mean((1, 2)) > 127).astype(np.float32)
        self.seed, self.shuffle, self.cut, self.spoilt = seed, shuffle, None, None
        self.start_epoch(0)

    def start_epoch(self, epoch):
        if epoch == self.cut:
            raise KeyboardInterrupt
        self.epoch = epoch
        random = np.random.default_rng([self.seed, epoch])
        self.order = random.permutation(10) if self.shuffle else np.arange(10)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        chosen = self.order[index * 3 : index * 3 + 3]
        return self.images[chosen], self.labels[chosen] * np.float32(
            "nan" if self.epoch == self.spoilt else 1
        )


def network():
    """Everything that holds state: batch normalization, dropout, and the optimizer that `fit` brings."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((*SIZE, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))


def train(scratch, cut=None, seed=0, spoilt=None, **options):
    with builders.computing_in(options.pop("dtype_policy", "float32")):
        model = network()
    batches = Batches(seed)
    batches.cut, batches.spoilt = cut, spoilt
    history = training.fit(
        model,
        batches,
        Batches(7, shuffle=False),
        scratch,
        TrainingConfig("binary_crossentropy", **{"epochs": 4, **options}),
    )
    return saving.weights_hash(model), history


@pytest.mark.slow
@pytest.mark.parametrize("options", [
    {},
    pytest.param({"ema": 0.9, "schedule": "constant"}, marks=pytest.mark.slow),
    pytest.param({"dtype_policy": "mixed_float16"}, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_training_that_was_cut_off_twice_ends_as_an_uncut_one(tmp_path, options):
    weights, history = train(tmp_path / "whole", **options)
    for cut in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut", cut, **options)
    resumed, resumed_history = train(tmp_path / "cut", **options)
    assert resumed == weights and resumed_history.equals(history)


@pytest.mark.slow
def test_a_finished_training_is_not_trained_again(tmp_path, capsys):
    weights, history = train(tmp_path)
    capsys.readouterr()
    again, known = train(tmp_path)
    assert again == weights and known.equals(history)
    assert capsys.readouterr().out == "This training is done: its 4 epochs are made from the same as now.\n"


@pytest.mark.slow
def test_patience_that_had_run_out_still_has(tmp_path):
    _, history = train(
        tmp_path, patience=1, monitor="loss", mode="max"
    )  # the loss falls: the first epoch is the best
    assert len(history) == 2
    assert train(tmp_path, patience=1, monitor="loss", mode="max")[1].equals(history)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_a_network_is_left_with_the_weights_of_its_best_epoch(tmp_path, monkeypatch, number):
    """The epoch that is named the best is the first or the second of four: the weights are those of a
    training of so many epochs."""
    shorter, _ = train(tmp_path / "shorter", schedule="constant", epochs=number, monitor="loss")
    monkeypatch.setattr(training_state, "best_epoch", lambda history, _: min(number, len(history)))
    longer, history = train(tmp_path / "longer", schedule="constant", monitor="loss")
    assert len(history) == 4 and longer == shorter
    monkeypatch.setattr(training_state, "best_epoch", lambda history, _: len(history))
    assert train(tmp_path / "last", schedule="constant", monitor="loss")[0] != shorter


def test_the_best_epoch_is_the_first_with_the_best_finite_figure():
    history = [{"val_loss": value} for value in (0.5, float("nan"), 0.2, 0.9, 0.2, 0.9)]
    config = TrainingConfig("bce", monitor="val_loss", mode="max")
    assert training_state.best_epoch(history, replace(config, mode="min")) == 3
    assert training_state.best_epoch(history, config) == 4
    assert training_state.best_epoch(history[1:2], config) == 0
    assert training_state.best_epoch(history, replace(config, monitor="val_dice")) == 0


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 0.1}])
def test_a_state_of_another_training_is_not_gone_on_with(tmp_path, change, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 1)
    history = train(tmp_path, **change)[1]
    assert len(history) == 4 and "Goes on" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["state.npz", "best-*.npz"])
def test_a_torn_state_is_no_state(tmp_path, name, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 1)
    (file,) = tmp_path.glob(name)
    file.write_bytes(file.read_bytes()[:-300])
    assert len(train(tmp_path)[1]) == 4
    assert "Goes on" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_loss_that_is_not_finite_keeps_what_was_finished(tmp_path, capsys):
    weights, history = train(tmp_path / "whole")
    for epoch in (1, 3):  # the second time after going on
        with pytest.raises(UserError, match=f"The training loss is nan in epoch {epoch + 1}"):
            train(tmp_path / "spoilt", spoilt=epoch)
    capsys.readouterr()
    resumed, resumed_history = train(tmp_path / "spoilt")
    assert "Goes on after epoch 3 of 4" in capsys.readouterr().out
    assert resumed == weights and resumed_history.equals(history)


@pytest.mark.slow
def test_without_a_monitor_the_last_epoch_is_kept_and_goes_on_after_a_cut(tmp_path):
    """Its weights are those at the end, whatever the validation says; beside it the best epoch is another
    one."""
    weights, history = train(tmp_path / "uncut", monitor="", learning_rate=0.3)
    best, _ = train(tmp_path / "best", learning_rate=0.3)
    assert history["val_loss"].idxmin() < 3 and best != weights
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", cut=2, monitor="", learning_rate=0.3)
    assert train(tmp_path / "cut", monitor="", learning_rate=0.3)[0] == weights
    assert training_state.best_epoch([{"loss": 1.0}] * 4, TrainingConfig("bce", monitor="")) == 4


HOLD = """
import sys, time
from lib import files
with files.locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_two_notebooks_do_not_train_in_one_folder_at_once(tmp_path):
    """A second training waits until the first one's process lets go, and then finds it done."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(train, tmp_path)
            time.sleep(1)
            assert not waiting.done() and not (tmp_path / "state.npz").exists()
            holder.stdin.write("\n")
            holder.stdin.flush()
            assert waiting.result(timeout=120)
    assert (tmp_path / "trained.npz").exists() and not (tmp_path / "state.npz").exists()


def test_patience_waits_until_the_floor_is_passed():
    """Five epochs of a network that draws nothing are no reason to give up; three after its best one are."""
    config = TrainingConfig("bce", monitor="val_dice", mode="max", patience=3, floor=0.5)
    nothing = [{"val_dice": value} for value in (0.1, 0.5, 0.5, 0.5, 0.5)]
    assert training_state.limit_reached(nothing, 0, config) == ""
    assert training_state.limit_reached(nothing, 0, replace(config, floor=None)).startswith(
        "Stopped: 3 epochs"
    )
    rising = [*nothing, {"val_dice": 0.6}, {"val_dice": 0.55}, {"val_dice": 0.58}]
    assert training_state.limit_reached(rising, 0, config) == ""
    assert training_state.limit_reached([*rising, {"val_dice": 0.59}], 0, config).startswith(
        "Stopped: 3 epochs"
    )


def strips_of(folder):
    """Eight strips with their masks; returns (paths, run-lengths)."""
    random, paths, rles = np.random.default_rng(0), [], []
    for number in range(8):
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), random.integers(0, 255, (32, 64), np.uint8))
        rles.append(f"{1 + 40 * number} 20" if number % 2 else "")
    return paths, rles


def some_loss(truth, probability):
    return losses.binary_cross_entropy(truth, probability)


def rewritten(factor):
    """Another loss under the same name, as somebody writes it who runs a cell of a notebook again."""

    def some_loss(truth, probability):
        return factor * losses.binary_cross_entropy(truth, probability)

    return some_loss


def hash_of(
    paths, rles, loss=some_loss, metrics=None, dropout=0.1, settings=(2, 0.1), seed=1, weights=0, **options
):
    keras.utils.set_random_seed(weights)
    inputs = keras.Input((32, None, 1), dtype="uint8")
    x = keras.layers.Dropout(dropout)(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))
    options = {"crop_width": 32, "batch_size": 2, "augmentation": {"flips": "both"}, **options}
    batches = generators.SegmentationBatches(
        paths, rles, (32, 64), 32, 64, seed=seed, shuffle=True, **options
    )
    validation = generators.SegmentationBatches(paths, rles, (32, 64), 32, 64)
    return training_hash.of_training(
        model, batches, validation, list(settings), [loss, metrics or [losses.HardDice()]]
    )


def test_whatever_a_training_follows_from_is_in_its_fingerprint(tmp_path):
    paths, rles = strips_of(tmp_path)
    same = hash_of(paths, rles)
    assert (
        hash_of(list(map(str, paths)), rles) == same
    )  # another network object, another generator, another form of path
    changes = [
        {"rles": [*rles[:-1], "1 21"]},
        {"loss": rewritten(1.0)},
        {"loss": rewritten(2.0)},
        {"loss": losses.dice_loss},
        {"loss": "binary_crossentropy"},
        {"metrics": [losses.HardDice(0.4)]},
        {"dropout": 0.2},
        {"settings": (3, 0.1)},
        {"seed": 2},
        {"weights": 1},
        {"batch_size": 3},
        {"crop_width": 0},
        {"negative_ratio": 0.5},
        {"augmentation": {"flips": "none"}},
        {"augmentation": {"flips": "both", "shift": 0.1}},
        {"augmentation": {"flips": "both", "blackout": 1e-9}},
    ]
    found = [hash_of(paths, **{"rles": rles, **change}) for change in changes]
    assert len({same, *found}) == 1 + len(changes)
    image = paths[-1].read_bytes()
    paths[-1].write_bytes(image + b"0")  # the last strip of all, which is in no first batch
    assert hash_of(paths, rles) not in (same, *found)


def test_every_setting_of_a_training_is_in_its_fingerprint(tmp_path):
    model, config = network(), TrainingConfig("binary_crossentropy")
    other = {
        "loss": "mse",
        "metrics": ["accuracy"],
        "epochs": 9,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "monitor": "loss",
        "mode": "max",
        "patience": 1,
        "minutes": 1.0,
        "ema": 0.9,
        "loss_weights": [0.5],
        "floor": 0.5,
    }
    assert list(other) == [field.name for field in fields(config)]
    configs = [config, *(replace(config, **{name: value}) for name, value in other.items())]
    assert len({training.prepare(model, Batches(), Batches(7), each) for each in configs}) == 1 + len(other)


def test_a_loss_that_another_loss_calls_counts(tmp_path, monkeypatch):
    paths, rles = strips_of(tmp_path)
    before = hash_of(paths, rles, losses.bce_dice_loss)
    assert hash_of(paths, rles, losses.bce_dice_loss) == before
    monkeypatch.setattr(
        losses, "dice_loss", lambda truth, probability: losses.soft_dice(truth, probability) * 0
    )
    assert hash_of(paths, rles, losses.bce_dice_loss) != before


@pytest.mark.parametrize("change", ["labels", "loss"])
def test_labels_or_a_loss_that_were_changed_train_anew(tmp_path, change, capsys):
    paths, rles = strips_of(tmp_path)
    weights = []
    for loss, texts in (
        (losses.binary_cross_entropy, rles),
        (losses.dice_loss, rles)
        if change == "loss"
        else (losses.binary_cross_entropy, [rles[0], *["1 9"] * 7]),
    ):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(1, 1, activation="sigmoid")]
        model = keras.Sequential([keras.Input((32, 64, 1)), *layers])
        batches = generators.SegmentationBatches(paths, texts, (32, 64), 32, 64, batch_size=1)
        wrapped = lambda truth, probability, loss=loss: loss(truth, probability)  # noqa: E731 - both have one name
        training.fit(model, batches, batches, tmp_path / "scratch", TrainingConfig(wrapped, epochs=2))
        weights.append(saving.weights_hash(model))
    assert weights[0] != weights[1] and "Goes on" not in capsys.readouterr().out
