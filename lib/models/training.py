"""One fit loop for all networks: resumes where it was cut off, to the same weights; keeps the best epoch's; returns its history."""

import dataclasses
import json
import math
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from lib import files
from lib.errors import UserError
from lib.models import backend, training_hash  # noqa: F401 - sets Keras up

STATE, TRAINED, LOCK = "state.npz", "trained.npz", ".lock"


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained. All of it is part of the training's hash.

    loss, metrics, loss_weights: as for `keras.Model.compile`.
    epochs: passes over the batches; learning_rate: of Adam, its peak.
    schedule: "cosine" (warm-up and cosine decay) or "constant".
    monitor, mode: metric that names the best epoch, and whether "min" or "max" is better; "": the last epoch counts as the
        best, for too few validation images, or those that evaluate.
    patience: epochs without a better metric before it stops, 0 for never; minutes: time limit, 0 for none.
    floor: metric that must be passed before patience counts, or None: a segmenter first learns to draw nothing, and that
        has a Dice which it takes some epochs to beat.
    ema: momentum of averaged weights, 0 for none.
    """

    loss: str | Callable | dict
    metrics: list | dict | None = None
    epochs: int = 10
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    monitor: str = "val_loss"
    mode: str = "min"
    patience: int = 0
    minutes: float = 0.0
    ema: float = 0.0
    loss_weights: dict | None = None
    floor: float | None = None


class StateKeeper(keras.callbacks.Callback):
    """After every epoch: a line, the history, the best weights and the state to go on from; stops on a NaN and at the limits.

    Arguments:
        folder: where the state lies; digest: the training's hash.
        history: list of one dictionary an epoch done before; seconds: that they took.
    """

    def __init__(
        self, config: TrainingConfig, batches: keras.utils.PyDataset, folder: Path, digest: str, history: list[dict], seconds: float
    ) -> None:
        super().__init__()
        self.config, self.batches, self.folder, self.digest = config, batches, folder, digest
        self.history, self.seconds, self.started = history, seconds, time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)
        self.epoch_started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in logs.items()}
        if not math.isfinite(logs["loss"]):
            raise UserError(f"The training loss is {logs['loss']} in epoch {epoch + 1}. Lower learning_rate.")
        self.history.append({"epoch": epoch + 1, **logs})
        metrics = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        seconds = time.monotonic() - self.epoch_started
        print(f"epoch {epoch + 1:3d}/{self.config.epochs}  {seconds:5.1f} s  {metrics}", flush=True)
        self.save()
        reason = limit_reached(self.history, self.total_seconds(), self.config)
        if reason and epoch + 1 < self.config.epochs:
            print(reason)
            self.model.stop_training = True

    def total_seconds(self) -> float:
        """Seconds of all epochs, those before a cut included."""
        return self.seconds + time.monotonic() - self.started

    def save(self) -> None:
        """Write what going on needs, the state last: it names the file of the best weights, which is complete by then."""
        best = best_epoch(self.history, self.config)
        if best == len(self.history):
            write_arrays(best_file(self.folder, best), self.model.get_weights())
        header = {"training_hash": self.digest, "history": self.history, "seconds": self.total_seconds()}
        write_arrays(self.folder / STATE, [np.array(json.dumps(header)), *map(np.array, variables(self.model))])
        for path in self.folder.glob("best-*.npz"):
            if path != best_file(self.folder, best):
                path.unlink()


def variables(model: keras.Model) -> list:
    """All that a training changes: weights, moving statistics, seeds of dropout, the optimizer's moments and step counter."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics] + model.optimizer.variables


def best_epoch(history: list[dict], config: TrainingConfig) -> int:
    """The number (from 1) of the first epoch with the best metric; 0 if none is finite. Without a monitor: of the last epoch."""
    if not config.monitor:
        return len(history)
    values = np.array([record.get(config.monitor, np.nan) for record in history], float)
    values = np.where(np.isfinite(values), values if config.mode == "min" else -values, np.inf)
    return int(values.argmin()) + 1 if np.isfinite(values).any() else 0


def best_file(folder: Path, epoch: int) -> Path:
    """The file with the weights of the best epoch."""
    return folder / f"best-{epoch}.npz"


def limit_reached(history: list[dict], seconds: float, config: TrainingConfig) -> str:
    """Why the training ends before its last epoch, as a sentence; "" if it goes on."""
    if config.minutes and seconds > 60 * config.minutes:
        return f"Stopped at the time limit of {config.minutes} minutes."
    best = max(best_epoch(history, config), 1)
    value, floor = history[best - 1].get(config.monitor, np.nan), config.floor
    waits = floor is not None and not (value > floor + 1e-4 if config.mode == "max" else value < floor - 1e-4)
    if config.patience and not waits and len(history) - best >= config.patience:
        return f"Stopped: {config.patience} epochs without a better {config.monitor}."
    return ""


def write_arrays(path: Path, arrays: Iterable[np.ndarray]) -> None:
    """Write arrays to an .npz file that is complete or as it was."""
    with files.replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, *arrays)


def read_arrays(path: Path) -> list[np.ndarray] | None:
    """The arrays that `write_arrays` wrote, in order; None if the file is missing or broken. Nothing stored is executed."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[f"arr_{index}"] for index in range(len(stored.files))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def read_stored(path: Path, digest: str) -> tuple[dict, list[np.ndarray]] | None:
    """The header and the arrays of a file of a training; None where there is none of the training with this hash."""
    stored = read_arrays(path)
    header = json.loads(str(stored[0])) if stored else {}
    return (header, stored[1:]) if stored and header.get("training_hash") == digest else None


def load_trained(model: keras.Model, folder: Path, digest: str) -> list[dict] | None:
    """Set the model to the weights of a training that is finished; its history, None where there is none with this hash."""
    stored = read_stored(folder / TRAINED, digest)
    if stored is None:
        return None
    model.set_weights(stored[1])
    return stored[0]["history"]


def keep_trained(model: keras.Model, folder: Path, digest: str, history: list[dict]) -> None:
    """Write the weights of a finished training, and remove what going on with it needed."""
    header = {"training_hash": digest, "history": history}
    write_arrays(folder / TRAINED, [np.array(json.dumps(header)), *model.get_weights()])
    for path in [folder / STATE, *folder.glob("best-*.npz")]:
        path.unlink(missing_ok=True)


def load_state(model: keras.Model, folder: Path, digest: str, config: TrainingConfig) -> tuple[list[dict], float]:
    """Set the model and its optimizer to the last finished epoch; (history, seconds), empty where there is none to go on from."""
    stored = read_stored(folder / STATE, digest)
    if stored is None:
        return [], 0.0
    header, arrays = stored
    best = best_epoch(header["history"], config)
    if best and read_arrays(best_file(folder, best)) is None:
        return [], 0.0
    for variable, value in zip(variables(model), arrays, strict=True):
        variable.assign(value)
    return header["history"], header["seconds"]


def learning_rates(peak: float, steps: int, warmup: float = 0.1) -> keras.optimizers.schedules.LearningRateSchedule:
    """A rate a step: linear warm-up over the share `warmup` of `steps`, then cosine decay to a hundredth of `peak`.

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017.
    """
    warm = max(1, int(steps * warmup))
    return keras.optimizers.schedules.CosineDecay(
        peak * 0.05, max(1, steps - warm), 0.01, warmup_target=peak, warmup_steps=warm
    )


def fit(
    model: keras.Model, batches: keras.utils.PyDataset, validation: keras.utils.PyDataset, folder: Path, config: TrainingConfig
) -> pd.DataFrame:
    """Train `model` in place and leave it with the weights of its best epoch.

    A finished training whose folder is still there is not repeated: a change of what evaluates or draws its network costs
    no training. One that was cut off and goes on ends with the same weights, to the bit, as an uncut one on the same
    processor with the same number of threads. Not under a time limit: how far one gets then depends on the machine's load.

    Arguments:
        batches, validation: generators; `batches` must have `start_epoch`.
        folder: for the state of a training that is under way, and for its weights when it is finished; one that was cut
            off goes on from its last epoch, one that follows from anything else starts anew.

    Returns the history, one row an epoch; its attrs are best_epoch (int, from 1) and training_hash, which names all that
    the weights follow from. Raises UserError on a loss that is not finite.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with files.locked(folder / LOCK):  # no other notebook trains in the same folder
        digest = prepare(model, batches, validation, config)
        records = load_trained(model, folder, digest)
        if records is not None:
            print(f"This training is done: its {len(records)} epochs are made from the same as now.")
        else:
            records = train(model, batches, validation, folder, config, digest)
            keep_trained(model, folder, digest, records)
    history = pd.DataFrame(records)
    history.attrs |= {"best_epoch": best_epoch(records, config), "training_hash": digest}
    return history


def prepare(
    model: keras.Model, batches: keras.utils.PyDataset, validation: keras.utils.PyDataset, config: TrainingConfig
) -> str:
    """Compile a model; the hash of its training."""
    steps = config.epochs * len(batches)
    rate = learning_rates(config.learning_rate, steps) if config.schedule == "cosine" else config.learning_rate
    optimizer = keras.optimizers.Adam(rate, use_ema=bool(config.ema), ema_momentum=config.ema or 0.99)
    model.compile(
        optimizer, loss=config.loss, loss_weights=config.loss_weights, metrics=config.metrics or None, jit_compile=False
    )
    model.optimizer.build(model.trainable_variables)  # else a state would find nothing to be restored to
    code: list[Any] = [config.loss, config.metrics, StateKeeper, learning_rates, best_epoch]
    names = [field.name for field in dataclasses.fields(config) if field.name not in ("loss", "metrics")]
    settings = {name: getattr(config, name) for name in names} | {"dtype_policy": model.dtype_policy.name}
    return training_hash.of_training(model, batches, validation, settings, code)


def train(
    model: keras.Model,
    batches: keras.utils.PyDataset,
    validation: keras.utils.PyDataset,
    folder: Path,
    config: TrainingConfig,
    digest: str,
) -> list[dict]:
    """Train a compiled model from its last saved state, or from the start; the history. The best epoch's weights are set."""
    swap = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema else []
    history, seconds = load_state(model, folder, digest, config)
    if history and len(history) == config.epochs:
        print(f"This training is done: all {config.epochs} epochs lie in its folder.")
    elif history:
        print(f"Goes on after epoch {len(history)} of {config.epochs}, where this training was cut off.")
    if history:
        for callback in swap:  # the state is taken with the averages in the model; its swap rounds, so the state is set again
            callback.set_model(model)
            callback.on_test_begin()
            load_state(model, folder, digest, config)
    keeper = StateKeeper(config, batches, folder, digest, history, seconds)
    if len(history) < config.epochs and not (history and limit_reached(history, seconds, config)):
        # Without shuffle=False Keras draws the order of the batches from Python's global generator, which no state holds.
        model.fit(
            batches, validation_data=validation, epochs=config.epochs, initial_epoch=len(history), shuffle=False, verbose=0,
            callbacks=[*swap, keeper],
        )  # fmt: skip
    best = best_epoch(keeper.history, config)
    if best:
        model.set_weights(read_arrays(best_file(folder, best)))
    return keeper.history
