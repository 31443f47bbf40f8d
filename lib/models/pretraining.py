"""What a network learns from other strips before those that it is for."""

from pathlib import Path

import keras
import numpy as np

from lib.data import dataset
from lib.data.crop_batches import CropBatches
from lib.models import training
from lib.models.training_config import TrainingConfig

CROPS = 4  # for each strip, on average


def pretrain(
    network: keras.Model,
    data_dir: str | Path,
    folder: Path,
    config: TrainingConfig,
    height: int,
    batch_size: int,
    seed: int,
    **options,
) -> list[np.ndarray]:
    """Train a segmenter of several classes on the strips of a folder for one pass: CROPS crops for each strip,
    drawn as `CropBatches` draws them.

    Classes are taken in their order; a network of fewer learns the first of them, one of more learns that its
    others are nowhere.

    Arguments:
        network: of `builders.build_segmenter`, trained in place; data_dir: a folder in the competition's
            layout; folder: where the training keeps its state, shared by all that ask for the same.
        config: as for the training that follows; its epochs and its choice of one are not used.
        height: pixels of the network's input, to which the strips are scaled; options: of CropBatches.

    Returns the network's weights.
    """
    about, table = dataset.describe(data_dir), dataset.load_table(data_dir)
    classes, shape = network.output_shape[-1], (about["height"], about["width"])
    texts = table[dataset.rle_columns(table)].to_numpy()
    texts = np.hstack([texts, np.full((len(texts), max(0, classes - about["classes"])), "")])[:, :classes]
    width = max(32, shape[1] * height // shape[0] // 32 * 32)
    options |= {"batch_size": batch_size, "seed": seed}
    batches = CropBatches(table["path"], texts, shape, height, width, crops=CROPS, shuffle=True, **options)
    # A few of the same strips: nothing is chosen by them.
    few = CropBatches(table["path"][:16], texts[:16], shape, height, width, batch_size=batch_size, seed=seed)
    once = TrainingConfig(config.loss, None, 1, config.learning_rate, config.schedule, monitor="")
    training.fit(network, batches, few, folder, once)
    return network.get_weights()
