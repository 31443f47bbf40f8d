"""The whole cascade, strips on disk to submission.csv, against the article's way.

python benchmarks/bench_cascade.py [--quick] [--run FOLDER]

The article's way: every network decodes for itself, in colour, through a Keras generator and `predict`; the
means of ten passes over randomly mirrored strips for the two classifiers; then a segmenter a class. Once with
the run's own trained networks, once with the article's (two InceptionResNetV2 at 299 x 299, Unet-ResNet50 at
128 x 800; random weights, only their time counts).
"""

import contextlib
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("SM_FRAMEWORK", "tf.keras")

import cv2
import keras
import measure
import numpy as np
import trained_run

with contextlib.redirect_stdout(sys.stderr):
    import segmentation_models  # noqa: F401  (it prints a line, which is not for the table)

from lib.inference import cascade, postprocess, submission
from lib.models import builders, runtime, saving

BATCH, PASSES, FEW = 16, 10, 4
TEST_SET, TIMED = 5506, 120  # strips
FLOAT, HALF = "product, float32", "product, bfloat16"
SAME, OWN = "the article's way, the same networks", "the article's way, its networks"


class Strips(keras.utils.PyDataset):
    """Batches of strips (B, h, w, 1) uint8, read in colour and resized, mirrored at random if asked to."""

    def __init__(self, files, size, flipped):
        super().__init__()
        self.files, self.size, self.flipped, self.rng = files, size, flipped, np.random.default_rng(0)

    def __len__(self):
        return -(-len(self.files) // BATCH)

    def __getitem__(self, index):
        images = [
            cv2.resize(cv2.imread(path), self.size[::-1])
            for path in self.files[index * BATCH : (index + 1) * BATCH]
        ]
        if self.flipped:
            images = [image[:: self.rng.choice([1, -1]), :: self.rng.choice([1, -1])] for image in images]
        return (np.stack(images)[..., :1],)


def mean_of_passes(network, files):
    """A classifier's probabilities (N, classes): the mean of PASSES predictions."""
    size = network.input_shape[1] or 128, network.input_shape[2] or 800
    strips = Strips(files, size, flipped=True)
    return np.mean([network.predict(strips, verbose=0) for _ in range(PASSES)], axis=0)


def snippet_encode(mask):
    """The run-length code that is published with many solutions."""
    pixels = np.concatenate([[0], mask.T.flatten(), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(index) for index in runs)


def articles_way(networks, run, files):
    """Run-lengths (N x C) as the article predicts them, with the run's thresholds."""
    thresholds, classes = run.thresholds, run.thresholds.classes
    rles = [[""] * classes for _ in files]
    rows = np.flatnonzero(
        postprocess.reaches(mean_of_passes(networks["binary"], files)[:, 0], thresholds.binary_threshold)
    )
    label = (
        mean_of_passes(networks["multilabel"], [files[row] for row in rows])
        if len(rows)
        else np.empty((0, classes))
    )
    for class_index in range(classes):
        named = rows[postprocess.reaches(label[:, class_index], thresholds.label_thresholds[class_index])]
        if not len(named):
            continue
        probability = networks[f"seg_class{class_index + 1}"].predict(
            Strips([files[row] for row in named], (128, 800), False), verbose=0
        )
        for row, one in zip(named, probability, strict=True):
            mask = cv2.resize(one, run.shape[::-1]) >= thresholds.pixel_thresholds[class_index]
            rles[row][class_index] = (
                snippet_encode(mask) if mask.sum() >= max(thresholds.minimum_areas[class_index], 1) else ""
            )
    return rles


def articles_networks(classes):
    """The article's networks with random weights."""
    build = {"backbone": "InceptionResNetV2", "height": 299, "width": 299, "localization_head": False}
    networks = {
        name: builders.build_classifier(classes=count, **build)
        for name, count in (("binary", 1), ("multilabel", classes))
    }
    return networks | {
        f"seg_class{class_index + 1}": builders.build_segmenter(backbone="resnet50", width=800)
        for class_index in range(classes)
    }


def openers(run):
    """{way: a function that opens its networks and returns one that predicts files: N x C run-lengths}."""
    classes = run.thresholds.classes

    def product(engine):
        networks = run.networks(engine)
        return lambda files: cascade.predict(networks, files, run.thresholds, run.shape)[0]

    def same():
        networks = {path.name: saving.load(path) for path in run.models.iterdir() if "." not in path.name}
        return lambda files: articles_way(networks, run, files)

    def own():
        networks = articles_networks(classes)

        def predict(files):  # every network once, whatever the random ones before it say
            for name in ("binary", "multilabel"):
                mean_of_passes(networks[name], files)
            for class_index in range(classes):
                networks[f"seg_class{class_index + 1}"].predict(Strips(files, (128, 800), False), verbose=0)
            return [[""] * classes for _ in files]

        return predict

    ways = {HALF: lambda: product("bfloat16"), FLOAT: lambda: product("float32"), SAME: same, OWN: own}
    if runtime.choose("bfloat16") == "float32":
        del ways[HALF]
    return ways


def write(run, files, rles):
    """The submission of the first strips of a run."""
    with tempfile.TemporaryDirectory() as folder:
        submission.write(Path(folder) / "submission.csv", run.ids[: len(files)], rles)


def seconds_of_articles_networks(run, files, runs):
    """Seconds an image, one a run: each network measured on a few strips, times the share of strips that it
    sees.

    The shares are those that the run's filters let through: random weights would let through anything.
    """
    classes = run.thresholds.classes
    networks = articles_networks(classes)
    _, defect_probability, class_probability = cascade.predict(
        run.networks("float32"), run.files, run.thresholds, run.shape
    )
    use_binary, use_label = postprocess.STRATEGIES[run.thresholds.strategy][:2]
    passed = (
        postprocess.reaches(defect_probability, run.thresholds.binary_threshold)
        if use_binary
        else np.ones(len(defect_probability), bool)
    )
    every = np.repeat(passed[:, None], classes, 1)
    named = (
        every & postprocess.reaches(class_probability, run.thresholds.label_thresholds)
        if use_label
        else every
    )
    one = measure.interleaved(
        {
            "classifier": lambda: mean_of_passes(networks["binary"], files),
            "segmenter": lambda: networks["seg_class1"].predict(Strips(files, (128, 800), False), verbose=0),
        },
        runs,
    )
    return [
        (classifier * (1 + passed.mean()) + segmenter * named.mean(axis=0).sum()) / len(files)
        for classifier, segmenter in zip(one["classifier"], one["segmenter"], strict=True)
    ]


def main():
    parser = measure.arguments(__doc__)
    trained_run.add_argument(parser)
    parser.add_argument("--way", help="predict in this way once and end: for the peak memory")
    parser.add_argument(
        "--strips",
        type=int,
        default=0,
        help="with --way: so many strips, the run's over and over; prints the seconds",
    )
    args = parser.parse_args()
    run = trained_run.load(args.run)
    some = run.files[:8] if args.quick else run.files[:48]
    few = run.files[: 1 if args.quick else FEW]
    known = openers(run)
    if args.way and args.strips:
        predict, began = known[args.way](), time.monotonic()
        predict(list(itertools.islice(itertools.cycle(run.files), args.strips)))
        return print(f"{time.monotonic() - began:.0f} s")
    if args.way:
        files = few if args.way == OWN else some
        return write(run, files, known[args.way]()(files))
    runs = 1 if args.quick else 5
    print(
        f"## The whole cascade\n\n{min(TIMED, len(run.files))} test strips, JPEG files on disk to submission.csv; the networks of "
        f"the run {run.models.parent.resolve().name}, its thresholds, its mirrored copies. The article's way: Keras generators, "
        f"`predict`, ten passes; with its own networks from {len(few)} strips. Memory: of {len(some)} strips."
    )
    opened = {way: known[way]() for way in known if way != OWN}
    sets = dict.fromkeys(opened, run.files[:16] if args.quick else run.files[:TIMED])
    seconds = measure.interleaved(
        {way: lambda way=way: write(run, sets[way], opened[way](sets[way])) for way in opened}, runs
    )
    speeds = {way: [len(sets[way]) / one for one in seconds[way]] for way in opened}
    speeds[OWN] = [1 / one for one in seconds_of_articles_networks(run, few, runs)]
    first = next(iter(speeds))
    measure.table("strips to submission.csv", speeds, "images/s", first, {SAME: 20, OWN: 20})
    if first == HALF:
        ratios = [measure.ratio(speeds, "images/s", FLOAT, way) for way in (SAME, OWN)]
        print(f"In float32: {ratios[0]:.1f} x and {ratios[1]:.1f} x.")
    if run.truth is not None and not args.quick:
        scores = {way: run.score(predict(run.files)) for way, predict in opened.items()}
        print(
            "Score on these strips: " + "; ".join(f"{way} {score:.4f}" for way, score in scores.items()) + "."
        )
    memory = {}
    for way in opened if args.quick else known:
        command = [
            sys.executable,
            __file__,
            "--way",
            way,
            "--run",
            args.run,
            *(["--quick"] if args.quick else []),
        ]
        memory[way] = [measure.peak_memory(command)[0]]
    measure.table("peak memory of a process that does it once", memory, "MiB", first, "")
    if not args.quick:
        mib, text = measure.peak_memory(
            [sys.executable, __file__, "--way", first, "--run", args.run, "--strips", str(TEST_SET)]
        )
        print(
            f"{first}, {TEST_SET:,} strips, as many as the competition's test set (these over and over): {text.strip()}, "
            f"at most {mib:,.0f} MiB."
        )


if __name__ == "__main__":
    main()
