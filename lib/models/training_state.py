"""The state of a training: what `training.fit` goes on from after it was cut off, and takes up again when it
is finished."""

import json
import math
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from lib import files
from lib.errors import UserError
from lib.models.training_config import TrainingConfig

STATE, TRAINED, LOCK = "state.npz", "trained.npz", ".lock"


class StateKeeper(keras.callbacks.Callback):
    """After every epoch: a line, the history, the best weights and the state to go on from; stops on a NaN
    and at the limits.

    Arguments:
        folder: where the state lies; digest: the training's hash.
        history: list of one dictionary an epoch done before; seconds: that they took.
    """

    def __init__(
        self,
        config: TrainingConfig,
        batches: keras.utils.PyDataset,
        folder: Path,
        digest: str,
        history: list[dict],
        seconds: float,
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
        """Write what going on needs, the state last: it names the file of the best weights, which is complete
        by then."""
        best = best_epoch(self.history, self.config)
        if best == len(self.history):
            write_arrays(best_file(self.folder, best), self.model.get_weights())
        header = {"training_hash": self.digest, "history": self.history, "seconds": self.total_seconds()}
        write_arrays(
            self.folder / STATE, [np.array(json.dumps(header)), *map(np.array, variables(self.model))]
        )
        for path in self.folder.glob("best-*.npz"):
            if path != best_file(self.folder, best):
                path.unlink()


def variables(model: keras.Model) -> list:
    """All that a training changes: weights, moving statistics, seeds of dropout, the optimizer's moments and
    step counter."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [
        variable for variable in model.variables if id(variable) not in metrics
    ] + model.optimizer.variables


def best_epoch(history: list[dict], config: TrainingConfig) -> int:
    """The number (from 1) of the first epoch with the best metric; 0 if none is finite. Without a monitor: of
    the last epoch."""
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
    """The arrays that `write_arrays` wrote, in order; None if the file is missing or broken. Nothing stored
    is executed."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[f"arr_{index}"] for index in range(len(stored.files))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def read_stored(path: Path, digest: str) -> tuple[dict, list[np.ndarray]] | None:
    """The header and the arrays of a file of a training; None where there is none of the training with this
    hash."""
    stored = read_arrays(path)
    header = json.loads(str(stored[0])) if stored else {}
    return (header, stored[1:]) if stored and header.get("training_hash") == digest else None


def load_trained(model: keras.Model, folder: Path, digest: str) -> list[dict] | None:
    """Set the model to the weights of a training that is finished; its history, None where there is none with
    this hash."""
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


def load_state(
    model: keras.Model, folder: Path, digest: str, config: TrainingConfig
) -> tuple[list[dict], float]:
    """Set the model and its optimizer to the last finished epoch; (history, seconds), empty where there is
    none to go on from."""
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
