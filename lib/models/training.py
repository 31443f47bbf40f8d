"""One fit loop for all networks: resumes where it was cut off, to the same weights; keeps the best epoch's;
returns its history."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from lib import files
from lib.models import backend, training_hash, training_state  # noqa: F401 - sets Keras up
from lib.models.training_config import TrainingConfig


def learning_rates(
    peak: float, steps: int, warmup: float = 0.1
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A rate a step: linear warm-up over the share `warmup` of `steps`, then cosine decay to a hundredth of
    `peak`.

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017.
    """
    warm = max(1, int(steps * warmup))
    return keras.optimizers.schedules.CosineDecay(
        peak * 0.05, max(1, steps - warm), 0.01, warmup_target=peak, warmup_steps=warm
    )


def fit(
    model: keras.Model,
    batches: keras.utils.PyDataset,
    validation: keras.utils.PyDataset,
    folder: Path,
    config: TrainingConfig,
) -> pd.DataFrame:
    """Train `model` in place and leave it with the weights of its best epoch.

    A finished training whose folder is still there is not repeated: a change of what evaluates or draws its
    network costs no training. One that was cut off and goes on ends with the same weights, to the bit, as an
    uncut one on the same processor with the same number of threads. Not under a time limit: how far one gets
    then depends on the machine's load.

    Arguments:
        batches, validation: generators; `batches` must have `start_epoch`.
        folder: for the state of a training that is under way, and for its weights when it is finished; one
            that was cut off goes on from its last epoch, one that follows from anything else starts anew.

    Returns the history, one row an epoch; its attrs are best_epoch (int, from 1) and training_hash, which
    names all that the weights follow from. Raises UserError on a loss that is not finite.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with files.locked(folder / training_state.LOCK):  # no other notebook trains in the same folder
        digest = prepare(model, batches, validation, config)
        records = training_state.load_trained(model, folder, digest)
        if records is not None:
            print(f"This training is done: its {len(records)} epochs are made from the same as now.")
        else:
            records = train(model, batches, validation, folder, config, digest)
            training_state.keep_trained(model, folder, digest, records)
    history = pd.DataFrame(records)
    history.attrs |= {"best_epoch": training_state.best_epoch(records, config), "training_hash": digest}
    return history


def prepare(
    model: keras.Model,
    batches: keras.utils.PyDataset,
    validation: keras.utils.PyDataset,
    config: TrainingConfig,
) -> str:
    """Compile a model; the hash of its training."""
    steps = config.epochs * len(batches)
    rate = (
        learning_rates(config.learning_rate, steps) if config.schedule == "cosine" else config.learning_rate
    )
    optimizer = keras.optimizers.Adam(rate, use_ema=bool(config.ema), ema_momentum=config.ema or 0.99)
    model.compile(
        optimizer,
        loss=config.loss,
        loss_weights=config.loss_weights,
        metrics=config.metrics or None,
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)  # else a state would find nothing to be restored to
    code: list[Any] = [
        config.loss,
        config.metrics,
        training_state.StateKeeper,
        learning_rates,
        training_state.best_epoch,
    ]
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
    """Train a compiled model from its last saved state, or from the start; the history. The best epoch's
    weights are set."""
    swap = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema else []
    history, seconds = training_state.load_state(model, folder, digest, config)
    if history and len(history) == config.epochs:
        print(f"This training is done: all {config.epochs} epochs lie in its folder.")
    elif history:
        print(f"Goes on after epoch {len(history)} of {config.epochs}, where this training was cut off.")
    if history:
        # The state is taken with the averages in the model; its swap rounds, so the state is set again.
        for callback in swap:
            callback.set_model(model)
            callback.on_test_begin()
            training_state.load_state(model, folder, digest, config)
    keeper = training_state.StateKeeper(config, batches, folder, digest, history, seconds)
    if len(history) < config.epochs and not (
        history and training_state.limit_reached(history, seconds, config)
    ):
        # Without shuffle=False Keras draws the order of the batches from Python's global generator, which no
        # state holds.
        model.fit(
            batches,
            validation_data=validation,
            epochs=config.epochs,
            initial_epoch=len(history),
            shuffle=False,
            verbose=0,
            callbacks=[*swap, keeper],
        )
    best = training_state.best_epoch(keeper.history, config)
    if best:
        model.set_weights(training_state.read_arrays(training_state.best_file(folder, best)))
    return keeper.history
