"""One fit loop for all networks: resumes where it was cut off, keeps the best weights, returns its history."""

import time
from pathlib import Path

import keras
import pandas as pd

from lib.paths import UserError


class _Progress(keras.callbacks.Callback):
    """Sets the batches' epoch, prints a line an epoch, stops on a NaN loss and at the time limit."""

    def __init__(self, batches, epochs, minutes):
        super().__init__()
        self.batches, self.epochs, self.minutes, self.started = batches, epochs, minutes, time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)
        self.epoch_started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        loss = logs["loss"]
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise UserError(f"The training loss is {loss} in epoch {epoch + 1}. Lower learning_rate.")
        figures = "  ".join(f"{name} {value:.4f}" for name, value in logs.items() if name != "learning_rate")
        print(f"epoch {epoch + 1:3d}/{self.epochs}  {time.monotonic() - self.epoch_started:5.1f} s  {figures}", flush=True)
        if self.minutes and time.monotonic() - self.started > 60 * self.minutes and epoch + 1 < self.epochs:
            print(f"Stopped at the time limit of {self.minutes} minutes.")
            self.model.stop_training = True


def learning_rates(peak, steps, warmup=0.1):
    """A rate a step: linear warm-up over the share `warmup` of `steps`, then cosine decay to a hundredth of `peak`."""
    warm = max(1, int(steps * warmup))
    return keras.optimizers.schedules.CosineDecay(peak * 0.05, max(1, steps - warm), 0.01, warmup_target=peak, warmup_steps=warm)


def fit(model, batches, validation, scratch, loss, metrics=None, epochs=10, learning_rate=1e-3, schedule="cosine", monitor="val_loss",
        mode="min", patience=0, minutes=0.0, ema=0.0, loss_weights=None):  # fmt: skip
    """Train `model` in place and leave it with the weights of its best epoch.

    Arguments:
        batches, validation: generators; `batches` must have `start_epoch`.
        scratch: folder for the state of a training that is under way; one that was cut off goes on from its last epoch.
        schedule: "cosine" (warm-up and cosine decay) or "constant".
        monitor, mode: figure that names the best epoch, and whether "min" or "max" is better.
        loss_weights: weights of several losses, as for `keras.Model.compile`.
        patience: epochs without a better figure before it stops, 0 for never; minutes: time limit, 0 for none.
        ema: momentum of averaged weights, 0 for none.

    Returns the history as a DataFrame, one row an epoch. Raises UserError on a loss that is not finite.
    """
    scratch = Path(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    steps = epochs * len(batches)
    rate = learning_rates(learning_rate, steps) if schedule == "cosine" else learning_rate
    optimizer = keras.optimizers.Adam(rate, use_ema=bool(ema), ema_momentum=ema or 0.99)
    model.compile(optimizer, loss=loss, loss_weights=loss_weights, metrics=metrics or None, jit_compile=False)
    optimizer.build(model.trainable_variables)  # else a backup's optimizer state would find nothing to be restored to
    log, best = scratch / "history.csv", scratch / "best.weights.h5"
    done = pd.read_csv(log) if log.is_file() and log.stat().st_size else pd.DataFrame()
    known = getattr(done.get(monitor, pd.Series(dtype=float)), mode)() if len(done) else None
    callbacks = [
        _Progress(batches, epochs, minutes),
        keras.callbacks.CSVLogger(log, append=len(done) > 0),
        keras.callbacks.ModelCheckpoint(best, monitor, save_best_only=True, save_weights_only=True, mode=mode,
                                        initial_value_threshold=None if known is None else float(known)),
        keras.callbacks.BackupAndRestore(scratch / "backup", delete_checkpoint=False),
    ]
    if ema:
        callbacks.insert(0, keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    if patience:
        callbacks.append(keras.callbacks.EarlyStopping(monitor, patience=patience, mode=mode))
    model.fit(batches, validation_data=validation, epochs=epochs, verbose=0, callbacks=callbacks)
    if best.is_file():
        model.load_weights(best)
    history = pd.read_csv(log).drop_duplicates("epoch", keep="last").reset_index(drop=True)
    history["epoch"] += 1
    return history
