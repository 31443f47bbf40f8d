"""What a training is asked for, in one record."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained. All of it is part of the training's hash.

    loss, metrics, loss_weights: as for `keras.Model.compile`.
    epochs: passes over the batches; learning_rate: of Adam, its peak.
    schedule: "cosine" (warm-up and cosine decay) or "constant".
    monitor, mode: metric that names the best epoch, and whether "min" or "max" is better; "": the last epoch
        counts as the best, for too few validation images, or those that evaluate.
    patience: epochs without a better metric before it stops, 0 for never; minutes: time limit, 0 for none.
    floor: metric that must be passed before patience counts, or None: a segmenter first learns to draw
        nothing, and that has a Dice which it takes some epochs to beat.
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
