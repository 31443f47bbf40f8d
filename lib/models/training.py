"""One fit loop for all networks: resumes where it was cut off, to the same weights; keeps the best epoch's; returns its history."""

import json
import math
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from lib import files
from lib.errors import UserError
from lib.models import backend, training_hash  # noqa: F401 - sets Keras up

STATE, TRAINED, LOCK = "state.npz", "trained.npz", ".lock"


class _Keeper(keras.callbacks.Callback):
    """After every epoch: a line, the history, the best weights and the state to go on from; stops on a NaN and at the limits.

    Arguments:
        training: dictionary of what `fit` was asked for; history: list of one dictionary an epoch done before;
        seconds: that they took.
    """

    def __init__(self, training, history, seconds):
        super().__init__()
        self.training, self.history, self.seconds, self.started = training, history, seconds, time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.training["batches"].start_epoch(epoch)
        self.epoch_started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs, epochs = {name: float(value) for name, value in logs.items()}, self.training["epochs"]
        if not math.isfinite(logs["loss"]):
            raise UserError(f"The training loss is {logs['loss']} in epoch {epoch + 1}. Lower learning_rate.")
        self.history.append({"epoch": epoch + 1, **logs})
        figures = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        print(f"epoch {epoch + 1:3d}/{epochs}  {time.monotonic() - self.epoch_started:5.1f} s  {figures}", flush=True)
        self.save()
        why = limit_reached(self.history, self.seconds + time.monotonic() - self.started, self.training)
        if why and epoch + 1 < epochs:
            print(why)
            self.model.stop_training = True

    def save(self):
        """Write what going on needs, the state last: it names the file of the best weights, which is complete by then."""
        folder, best = self.training["scratch"], best_epoch(self.history, self.training)
        if best == len(self.history):
            write_arrays(best_file(folder, best), self.model.get_weights())
        about = {"made_from": self.training["made_from"], "history": self.history,
                 "seconds": self.seconds + time.monotonic() - self.started}  # fmt: skip
        write_arrays(folder / STATE, [np.array(json.dumps(about)), *map(np.array, variables(self.model))])
        for path in folder.glob("best-*.npz"):
            if path != best_file(folder, best):
                path.unlink()


def variables(model):
    """All that a training changes: weights, moving statistics, seeds of dropout, the optimizer's moments and step counter."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics] + model.optimizer.variables


def best_epoch(history, training):
    """The number (from 1) of the first epoch with the best figure; 0 if none is finite. Without a monitor: of the last epoch."""
    if not training["monitor"]:
        return len(history)
    values = np.array([record.get(training["monitor"], np.nan) for record in history], float)
    values = np.where(np.isfinite(values), values if training["mode"] == "min" else -values, np.inf)
    return int(values.argmin()) + 1 if np.isfinite(values).any() else 0


def best_file(folder, epoch):
    """The file with the weights of the best epoch."""
    return folder / f"best-{epoch}.npz"


def limit_reached(history, seconds, training):
    """Why the training ends before its last epoch, as a sentence; "" if it goes on."""
    if training["minutes"] and seconds > 60 * training["minutes"]:
        return f"Stopped at the time limit of {training['minutes']} minutes."
    best = max(best_epoch(history, training), 1)
    figure, floor = history[best - 1].get(training["monitor"], np.nan), training["floor"]
    waits = floor is not None and not (figure > floor + 1e-4 if training["mode"] == "max" else figure < floor - 1e-4)
    if training["patience"] and not waits and len(history) - best >= training["patience"]:
        return f"Stopped: {training['patience']} epochs without a better {training['monitor']}."
    return ""


def write_arrays(path, arrays):
    """Write arrays to an .npz file that is complete or as it was."""
    with files.replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, *arrays)


def read_arrays(path):
    """The arrays that `write_arrays` wrote, in order; None if the file is missing or broken. Nothing stored is executed."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[f"arr_{number}"] for number in range(len(stored.files))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def load_trained(model, training):
    """Set the model to the weights of a training that is finished; its history, None where there is none made from the same."""
    stored = read_arrays(training["scratch"] / TRAINED)
    about = json.loads(str(stored[0])) if stored else {}
    if about.get("made_from") != training["made_from"]:
        return None
    model.set_weights(stored[1:])
    return about["history"]


def keep_trained(model, training, history):
    """Write the weights of a finished training, and remove what going on with it needed."""
    about = {"made_from": training["made_from"], "history": history}
    write_arrays(training["scratch"] / TRAINED, [np.array(json.dumps(about)), *model.get_weights()])
    for path in [training["scratch"] / STATE, *training["scratch"].glob("best-*.npz")]:
        path.unlink(missing_ok=True)


def load_state(model, training):
    """Set the model and its optimizer to the last finished epoch; (history, seconds), empty where there is none to go on from."""
    stored = read_arrays(training["scratch"] / STATE)
    about = json.loads(str(stored[0])) if stored else {}
    if about.get("made_from") != training["made_from"]:
        return [], 0.0
    best = best_epoch(about["history"], training)
    if best and read_arrays(best_file(training["scratch"], best)) is None:
        return [], 0.0
    for variable, value in zip(variables(model), stored[1:], strict=True):
        variable.assign(value)
    return about["history"], about["seconds"]


def learning_rates(peak, steps, warmup=0.1):
    """A rate a step: linear warm-up over the share `warmup` of `steps`, then cosine decay to a hundredth of `peak`."""
    warm = max(1, int(steps * warmup))
    return keras.optimizers.schedules.CosineDecay(peak * 0.05, max(1, steps - warm), 0.01, warmup_target=peak, warmup_steps=warm)


def fit(model, batches, validation, scratch, loss, metrics=None, epochs=10, learning_rate=1e-3, schedule="cosine", monitor="val_loss",
        mode="min", patience=0, minutes=0.0, ema=0.0, loss_weights=None, floor=None):  # fmt: skip
    """Train `model` in place and leave it with the weights of its best epoch.

    A finished training whose folder is still there is not repeated: a change of what judges or draws its network costs no training.
    One that was cut off and goes on from `scratch` ends with the same weights, to the bit, as an uncut one on the same
    processor with the same number of threads. Not under a time limit: how far one gets then depends on the machine's load.

    Arguments:
        batches, validation: generators; `batches` must have `start_epoch`.
        scratch: folder for the state of a training that is under way, and for its weights when it is finished; one that was cut off goes
            on from its last epoch, one made from anything else starts anew.
        schedule: "cosine" (warm-up and cosine decay) or "constant".
        monitor, mode: figure that names the best epoch, and whether "min" or "max" is better; "": the last epoch counts as the best,
            for too few validation images to choose by, or those that judge.
        loss_weights: weights of several losses, as for `keras.Model.compile`.
        patience: epochs without a better figure before it stops, 0 for never; minutes: time limit, 0 for none.
        floor: figure that must be passed before patience counts, or None: a segmenter first learns to draw nothing, and that has a
            Dice which it takes some epochs to beat.
        ema: momentum of averaged weights, 0 for none.

    Returns the history as a DataFrame, one row an epoch; its attrs["training_hash"] names all that it was made from. Raises UserError on a loss that is not finite.
    """
    scratch = Path(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    with files.locked(scratch / LOCK):
        return _fit(model, batches, validation, scratch, loss, metrics, epochs, learning_rate, schedule, monitor, mode, patience, minutes,
                    ema, loss_weights, floor)  # fmt: skip


def _fit(model, batches, validation, scratch, loss, metrics, epochs, learning_rate, schedule, monitor, mode, patience, minutes, ema,
         loss_weights, floor):  # fmt: skip
    """`fit`, while no other notebook trains in the same folder."""
    steps = epochs * len(batches)
    rate = learning_rates(learning_rate, steps) if schedule == "cosine" else learning_rate
    optimizer = keras.optimizers.Adam(rate, use_ema=bool(ema), ema_momentum=ema or 0.99)
    model.compile(optimizer, loss=loss, loss_weights=loss_weights, metrics=metrics or None, jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # else a state would find nothing to be restored to
    settings = [epochs, learning_rate, schedule, monitor, mode, patience, minutes, ema, loss_weights, floor, model.dtype_policy.name]
    made_from = training_hash.of_training(model, batches, validation, settings, [loss, metrics, _Keeper, learning_rates, best_epoch])
    training = {
        "batches": batches, "scratch": scratch, "epochs": epochs, "monitor": monitor, "mode": mode, "patience": patience,
        "minutes": minutes, "floor": floor, "made_from": made_from,
    }  # fmt: skip
    done = load_trained(model, training)
    if done is not None:
        print(f"This training is done: its {len(done)} epochs are made from the same as now.")
        return history_of(done, made_from)
    swap = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if ema else []
    history, seconds = load_state(model, training)
    if history and len(history) == epochs:
        print(f"This training is done: all {epochs} epochs lie in its folder.")
    elif history:
        print(f"Goes on after epoch {len(history)} of {epochs}, where this training was cut off.")
    if history:
        for callback in swap:  # the state is taken with the averages in the model; its swap rounds, so the state is set again
            callback.set_model(model)
            callback.on_test_begin()
            load_state(model, training)
    keeper = _Keeper(training, history, seconds)
    if len(history) < epochs and not (history and limit_reached(history, seconds, training)):
        # Without shuffle=False Keras draws the order of the batches from Python's global generator, which no state holds.
        model.fit(batches, validation_data=validation, epochs=epochs, initial_epoch=len(history), shuffle=False, verbose=0,
                  callbacks=[*swap, keeper])  # fmt: skip
    best = best_epoch(keeper.history, training)
    if best:
        model.set_weights(read_arrays(best_file(scratch, best)))
    keep_trained(model, training, keeper.history)
    return history_of(keeper.history, made_from)


def history_of(records, made_from):
    """The history of a training as a DataFrame, with its hash."""
    history = pd.DataFrame(records)
    history.attrs["training_hash"] = made_from
    return history
