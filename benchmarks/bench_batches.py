"""Batches for training, images a second on two cores: this project's against the usual ways of preparing
them.

python benchmarks/bench_batches.py [--quick] [--strips 320] [--runs 5]

Strips are generated and lie in the system's file cache. Each way reads, decodes, resizes to 128 x 800, makes
the masks, augments (flips, brightness) and batches by 16; it is handed on as Keras' `fit` does it, through
tf.data with prefetch, and nothing is computed with it. The first epoch decodes everything; later epochs are
what a training mostly consists of.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import collections
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import albumentations
import cv2
import keras
import measure
import numpy as np
import pandas as pd
import tensorflow as tf

from lib.data import dataset, generators
from lib.synthetic import generate

SHAPE, SIZE, BATCH = (256, 1600), (128, 800), 16
BRIGHTNESS, CONTRAST = 0.08, 0.15
PRODUCT_ONE = "this project, one thread"
PRODUCT, ARTICLE, ALBUMENTATIONS = (
    "this project",
    "the article's generator",
    "albumentations with OpenCV, 2 workers",
)
IMAGE_GENERATOR, TF_PLAIN, TF_TUNED = (
    "Keras' ImageDataGenerator",
    "tf.data",
    "tf.data, decoding at half size, with cache()",
)
ALBUMENTATIONS_KEPT = "albumentations, given this project's idea of keeping decoded strips"
LIMIT = "limit: bare JPEG decoding at half size, 2 threads"


class Rival(keras.utils.PyDataset):
    """A generator as it is usually written: an item is read, resized and augmented by `one`, and a list
    becomes a batch."""

    def __init__(self, paths, answers, one, seed=0):
        super().__init__()
        self.paths, self.answers, self.one = paths, answers, one
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.paths) // BATCH)

    def __getitem__(self, index):
        chosen = self.order[index * BATCH : (index + 1) * BATCH]
        images, answers = zip(
            *(self.one(self.paths[i], self.answers[i], self.rng) for i in chosen), strict=True
        )
        return np.array(images), np.array(answers)

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.paths))


def loop_mask(text):
    """A mask as the article and most notebooks decode it: run by run."""
    mask = np.zeros(SHAPE[0] * SHAPE[1], np.uint8)
    numbers = np.asarray(text.split(), int)
    for start, length in zip(numbers[0::2] - 1, numbers[1::2], strict=True):
        mask[start : start + length] = 1
    return mask.reshape(SHAPE[1], SHAPE[0]).T


def article_item(path, text, rng):
    """Colour, bilinear, float32 / 255; flips and brightness in numpy."""
    image = cv2.resize(cv2.imread(path), SIZE[::-1]).astype(np.float32) / 255
    mask = cv2.resize(loop_mask(text), SIZE[::-1], interpolation=cv2.INTER_NEAREST).astype(np.float32)
    for axis in (0, 1):
        if rng.random() < 0.5:
            image, mask = np.flip(image, axis), np.flip(mask, axis)
    return np.clip(image + np.float32(rng.uniform(-BRIGHTNESS, BRIGHTNESS)), 0, 1), mask[..., None]


TURN = albumentations.Compose([
    albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5),
    albumentations.RandomBrightnessContrast(BRIGHTNESS, CONTRAST, p=1.0),
])  # fmt: skip


def albumentations_item(cache=None):
    """Grey, area averages, flips and light by albumentations, uint8; `kept`: a dict for resized strips and
    masks, or None."""

    def load(path, answer):
        image = cv2.resize(cv2.imread(path, cv2.IMREAD_GRAYSCALE), SIZE[::-1], interpolation=cv2.INTER_AREA)
        mask = None
        if isinstance(answer, str):
            mask = cv2.resize(loop_mask(answer), SIZE[::-1], interpolation=cv2.INTER_NEAREST)
        return image[..., None], mask

    def one(path, answer, rng):
        image, mask = (
            load(path, answer)
            if cache is None
            else cache.get(path) or cache.setdefault(path, load(path, answer))
        )
        if mask is None:
            return TURN(image=image)["image"], answer
        turned = TURN(image=image, mask=mask)
        return turned["image"], turned["mask"][..., None]

    return one


def tf_data(paths, answers, tuned):
    """The usual tf.data pipeline, with every AUTOTUNE; tuned: decoded at half size and as bytes, kept by
    cache()."""
    masks = answers.dtype.kind in "OU"

    def load(path, answer):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=1, ratio=2 if tuned else 1)
        image = tf.ensure_shape(image, (*SIZE, 1)) if tuned else tf.image.resize(image, SIZE)
        if masks:
            mask = tf.ensure_shape(
                tf.numpy_function(lambda text: loop_mask(text.decode()), [answer], tf.uint8), SHAPE
            )
            answer = tf.image.resize(mask[..., None], SIZE, "nearest")
        return image, answer

    def augment(image, answer):
        for turn in (tf.image.flip_up_down, tf.image.flip_left_right):
            wanted, before = tf.random.uniform(()) < 0.5, image
            image = tf.cond(
                wanted, lambda turn=turn, before=before: turn(before), lambda before=before: before
            )
            if masks:
                answer = tf.cond(
                    wanted, lambda turn=turn, before=answer: turn(before), lambda before=answer: before
                )
        light = tf.cast(image, tf.float32) + 255 * tf.random.uniform((), -BRIGHTNESS, BRIGHTNESS)
        return tf.cast(tf.clip_by_value(light, 0, 255), tf.uint8) if tuned else tf.clip_by_value(
            light, 0, 255
        ) / 255, answer

    data = tf.data.Dataset.from_tensor_slices((paths, answers.tolist() if masks else answers))
    data = data if tuned else data.shuffle(len(paths))
    data = data.map(load, tf.data.AUTOTUNE)
    data = data.cache().shuffle(len(paths)) if tuned else data
    return data.map(augment, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def image_generator(paths, labels):
    """Keras' ImageDataGenerator over a table, its own flips and brightness."""
    made = tf.keras.preprocessing.image.ImageDataGenerator(
        rescale=1 / 255,
        horizontal_flip=True,
        vertical_flip=True,
        brightness_range=(1 - BRIGHTNESS, 1 + BRIGHTNESS),
    )
    table = pd.DataFrame({"path": paths, "label": labels[:, 0]})
    return made.flow_from_dataframe(
        table,
        x_col="path",
        y_col="label",
        target_size=SIZE,
        color_mode="grayscale",
        class_mode="raw",
        batch_size=BATCH,
        seed=1,
        validate_filenames=False,
    )


def signature(batch):
    """What tf.data must know of a batch beforehand."""
    return tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in batch)


def in_turn(batches, workers, epochs):
    """The batches of some epochs, made ahead by threads if there are several workers."""
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(epochs):
            ahead = collections.deque()
            for index in range(len(batches)):
                if workers == 1:
                    yield batches[index]
                    continue
                ahead.append(pool.submit(batches.__getitem__, index))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            yield from (one.result() for one in ahead)
            batches.on_epoch_end()


def handed_on(batches, expected, workers=1):
    """A PyDataset as Keras' `fit` hands it to TensorFlow: a generator, prefetched. Returns it as a function
    of the epochs."""

    def over(epochs):
        made = tf.data.Dataset.from_generator(
            lambda: in_turn(batches, workers, epochs), output_signature=expected
        )
        return made.prefetch(tf.data.AUTOTUNE)

    return over


def take(data):
    """Take all of a tf.data.Dataset: (images a second, milliseconds of processor time an image)."""
    images, wall, busy = 0, time.perf_counter(), time.process_time()
    for batch in data:
        images += len(batch[0])
    return images / (time.perf_counter() - wall), 1000 * (time.process_time() - busy) / images


def limit(paths):
    """What decoding alone takes, from bytes in memory: (seconds, seconds of processor time)."""
    files = [np.fromfile(path, np.uint8) for path in paths]
    begun, busy = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(2) as pool:
        collections.deque(pool.map(lambda data: cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_2), files), 0)
    return time.perf_counter() - begun, time.process_time() - busy


def compare(makers, paths, runs, later):
    """Time all ways in turn.

    Arguments:
        makers: {name: function that returns a function from a number of epochs to a tf.data.Dataset}; called
            anew in each run, so that nothing is kept from the last.

    Returns images/s in the first and in later epochs, and milliseconds of processor time an image in either:
    {name: one a run} each.
    """
    first, after, first_busy, after_busy = results = [{name: [] for name in makers} for _ in range(4)]
    first[LIMIT], first_busy[LIMIT] = [], []
    for _ in range(runs + 1):
        for name, make in makers.items():
            over = make()
            for epochs, speeds, costs in ((1, first, first_busy), (later, after, after_busy)):
                speed, busy = take(over(epochs))
                speeds[name].append(speed)
                costs[name].append(busy)
        seconds, busy = limit(paths)
        first[LIMIT].append(len(paths) / seconds)
        first_busy[LIMIT].append(1000 * busy / len(paths))
    return [
        {name: speeds[1:] for name, speeds in rows.items()} for rows in results
    ]  # the first run was to warm up


def verdict(first, after, others, least):
    """The sentence on the targets: the article's, and the best other in each phase."""
    lines = []
    for phase, rows in (("first epoch", first), ("later epochs", after)):
        best = max(others, key=lambda name: statistics.median(rows[name]))
        for rival, wanted in [*([(ARTICLE, 4)] if ARTICLE in rows else []), (best, least)]:
            ratio = measure.ratio(rows, "images/s", PRODUCT, rival)
            said = "met" if ratio >= wanted else f"**not met**, {ratio / wanted:.0%} of it"
            lines.append(f"- {phase}: target {wanted:g} x {rival}: {said} ({ratio:.2f} x).")
    return "\n".join(lines)


def main():
    parser = measure.arguments(__doc__)
    parser.add_argument("--strips", type=int, default=320, help="images an epoch")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--later", type=int, default=6, help="epochs after the first in a run")
    args = parser.parse_args()
    if args.quick:
        args.strips, args.runs, args.later = 48, 1, 1
    cv2.setNumThreads(1)  # threads prepare whole images; splitting one among threads only costs
    with tempfile.TemporaryDirectory() as folder:
        generate.generate(Path(folder) / "set", args.strips, 1, seed=1)
        print("\n## Batches for training\n")
        table = dataset.load_table(Path(folder) / "set")
        paths = table["path"].to_numpy(object)
        texts = (
            table[dataset.rle_columns(table)]
            .replace("", None)
            .bfill(axis=1)
            .iloc[:, 0]
            .fillna("")
            .to_numpy(object)
        )
        labels = dataset.labels(table).any(axis=1, keepdims=True).astype(np.float32)
        segmentation(paths, texts, args)
        classification(paths, labels, args)


def segmentation(paths, texts, args):
    """The row of segmentation batches."""
    options = {
        "augmentation": {"brightness": BRIGHTNESS, "contrast": CONTRAST},
        "shuffle": True,
        "batch_size": BATCH,
    }

    def product(workers=2):
        batches = generators.SegmentationBatches(paths, texts, SHAPE, *SIZE, **options, workers=workers)
        return handed_on(batches, expected[PRODUCT])

    def rival(name, one, workers=1):
        batches = Rival(paths, texts, one)
        return handed_on(batches, expected[name], workers)

    expected = {
        PRODUCT: signature(generators.SegmentationBatches(paths[:1], texts[:1], SHAPE, *SIZE)[0]),
        ARTICLE: signature(Rival(paths[:1], texts[:1], article_item)[0]),
        ALBUMENTATIONS: signature(Rival(paths[:1], texts[:1], albumentations_item())[0]),
    }
    makers = {
        PRODUCT: product,
        PRODUCT_ONE: lambda: product(1),
        ARTICLE: lambda: rival(ARTICLE, article_item),
        TF_PLAIN: lambda: tf_data(paths, texts, False).repeat,
        TF_TUNED: lambda: tf_data(paths, texts, True).repeat,
        ALBUMENTATIONS: lambda: rival(ALBUMENTATIONS, albumentations_item(), 2),
        ALBUMENTATIONS_KEPT: lambda: rival(ALBUMENTATIONS, albumentations_item({}), 2),
    }
    print(
        f"### Segmentation\n\nBatches of {BATCH} images and masks at {SIZE[0]} x {SIZE[1]} from {len(paths)} generated strips of "
        f"{SHAPE[0]} x {SHAPE[1]}, {np.mean(texts != ''):.0%} of them with a mask."
    )
    show(compare(makers, paths, args.runs, args.later), [TF_PLAIN, TF_TUNED, ALBUMENTATIONS], 1.5)


def classification(paths, labels, args):
    """The row of classification batches."""
    options = {
        "augmentation": {"brightness": BRIGHTNESS, "contrast": CONTRAST},
        "shuffle": True,
        "batch_size": BATCH,
    }

    def product(workers=2):
        batches = generators.ClassificationBatches(paths, labels, *SIZE, **options, workers=workers)
        return handed_on(batches, expected[PRODUCT])

    def keras_own():
        batches = image_generator(paths, labels)
        return handed_on(batches, expected[IMAGE_GENERATOR])

    def rival(cache):
        batches = Rival(paths, labels, albumentations_item(cache))
        return handed_on(batches, expected[PRODUCT], 2)

    expected = {
        PRODUCT: signature(generators.ClassificationBatches(paths[:1], labels[:1], *SIZE)[0]),
        IMAGE_GENERATOR: signature(image_generator(paths[:1], labels[:1])[0]),
    }
    makers = {
        PRODUCT: product,
        PRODUCT_ONE: lambda: product(1),
        IMAGE_GENERATOR: keras_own,
        TF_PLAIN: lambda: tf_data(paths, labels, False).repeat,
        TF_TUNED: lambda: tf_data(paths, labels, True).repeat,
        ALBUMENTATIONS: lambda: rival(None),
        ALBUMENTATIONS_KEPT: lambda: rival({}),
    }
    print(
        f"\n### Classification\n\nThe same strips and size, with a label instead of a mask: {labels.mean():.0%} of them 1."
    )
    show(
        compare(makers, paths, args.runs, args.later),
        [IMAGE_GENERATOR, TF_PLAIN, TF_TUNED, ALBUMENTATIONS],
        2,
    )


def show(results, others, least):
    """Print a section's tables and its verdicts."""
    first, after, first_busy, after_busy = results
    measure.table("first epoch: everything is decoded", first, "images/s", PRODUCT, "")
    measure.table("later epochs", after, "images/s", PRODUCT, "")
    measure.table("first epoch: processor time an image", first_busy, "ms", PRODUCT, "")
    measure.table(
        "later epochs: processor time an image",
        after_busy,
        "ms",
        PRODUCT,
        verdict(first, after, others, least),
    )
    print(
        "\nIn the first epoch all wait for the same thing, the JPEG's entropy decoding, which decoding at half size does not spare: the "
        "limit's row says how little can be won. The row of albumentations with strips kept is no target: nobody's default."
    )


if __name__ == "__main__":
    main()
