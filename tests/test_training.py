"""Trainings that are cut off: they go on to the same weights, to the bit, and only where nothing else has changed."""

import keras
import numpy as np
import pytest

from lib import models, storage, training
from lib.paths import UserError

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
        return self.images[chosen], self.labels[chosen] * np.float32("nan" if self.epoch == self.spoilt else 1)


def network():
    """Everything that holds state: batch normalization, dropout, and the optimizer that `fit` brings."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((*SIZE, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))


def train(scratch, cut=None, seed=0, spoilt=None, **options):
    with models.computing_in(options.pop("precision", "float32")):
        model = network()
    batches = Batches(seed)
    batches.cut, batches.spoilt = cut, spoilt
    history = training.fit(model, batches, Batches(7, shuffle=False), scratch, "binary_crossentropy", epochs=4, **options)
    return storage.weights_hash(model), history


@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "schedule": "constant"}, {"precision": "mixed_float16"}])
def test_a_training_that_was_cut_off_twice_ends_as_an_uncut_one(tmp_path, options):
    weights, history = train(tmp_path / "whole", **options)
    for cut in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut", cut, **options)
    resumed, resumed_history = train(tmp_path / "cut", **options)
    assert resumed == weights and resumed_history.equals(history)


def test_a_finished_training_is_not_trained_again(tmp_path, capsys):
    weights, history = train(tmp_path)
    capsys.readouterr()
    again, known = train(tmp_path)
    assert again == weights and known.equals(history)
    assert capsys.readouterr().out == "Goes on after epoch 4 of 4, where this training was cut off.\n"


def test_patience_that_had_run_out_still_has(tmp_path):
    _, history = train(tmp_path, patience=1, monitor="loss", mode="max")  # the loss falls: the first epoch is the best
    assert len(history) == 2
    assert train(tmp_path, patience=1, monitor="loss", mode="max")[1].equals(history)


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


def test_a_loss_that_is_not_finite_keeps_what_was_finished(tmp_path, capsys):
    weights, history = train(tmp_path / "whole")
    for epoch in (1, 3):  # the second time after going on
        with pytest.raises(UserError, match=f"The training loss is nan in epoch {epoch + 1}"):
            train(tmp_path / "spoilt", spoilt=epoch)
    capsys.readouterr()
    resumed, resumed_history = train(tmp_path / "spoilt")
    assert "Goes on after epoch 3 of 4" in capsys.readouterr().out
    assert resumed == weights and resumed_history.equals(history)


def test_patience_waits_until_the_floor_is_passed():
    """Five epochs of a network that draws nothing are no reason to give up; three after its best one are."""
    training_of = {"monitor": "val_dice", "mode": "max", "patience": 3, "minutes": 0, "floor": 0.5}
    nothing = [{"val_dice": value} for value in (0.1, 0.5, 0.5, 0.5, 0.5)]
    assert training.limit_reached(nothing, 0, training_of) == ""
    assert training.limit_reached(nothing, 0, {**training_of, "floor": None}).startswith("Stopped: 3 epochs")
    rising = [*nothing, {"val_dice": 0.6}, {"val_dice": 0.55}, {"val_dice": 0.58}]
    assert training.limit_reached(rising, 0, training_of) == ""
    assert training.limit_reached([*rising, {"val_dice": 0.59}], 0, training_of).startswith("Stopped: 3 epochs")
