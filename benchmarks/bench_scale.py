"""Time and memory of every stage that sees all strips, at 1,000, 4,000 and 12,568 of them (and 5,506 test
strips): does it grow linearly, and does it fit?

python benchmarks/bench_scale.py [--quick] [--sizes 1000,4000,12568] [--base 1000]

A thousand strips are generated with the competition's own shares of classes; the others are mirrored and
moved copies of these,
encoded anew: each costs as much to read as a generated one and is nobody's near-duplicate. Test strips are
links to training strips under other names. Evaluation starts from what networks might have said. The cascade
runs over as many test strips as there are training strips, as 90_inference does, with compact networks of
random weights and thresholds that let a share of strips pass as the competition's classes would. Every stage
runs in a process of its own.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import csv
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import measure
import numpy as np

from lib import paths
from lib.data import dataset, images, rle, splitting
from lib.data.duplicates import find_duplicates
from lib.evaluation import error_analysis, predictions, statistics, threshold_search
from lib.inference import postprocess, sources, submission
from lib.models import runtime
from lib.synthetic import generate

FULL = 12568
TEST_SHARE = 5506 / 12568
SHAPE, SIZE = (256, 1600), (128, 800)
CASCADE_SIZE, ENGINE = (
    (64, 416),
    "bfloat16",
)  # the networks' input; the engine of the notebooks, float32 where it cannot run
THRESHOLD_STRIPS = 200  # strips by which the thresholds are set
SHARES = (
    0.53,
    (0.07, 0.02, 0.41, 0.06),
)  # of strips with any defect, and with each class: so many pass the filters
LIMIT_MIB, LIMIT_EVALUATION = 3 * 1024, 60.0  # seconds


def moved(image, index):
    """Variant `number` of an image or mask (H, W): mirrored one of four ways and moved round by some
    columns."""
    turn, step = (
        index % 4,
        index,
    )  # each variant is moved further: mirrored alone it would be a near-duplicate
    if turn:
        image = cv2.flip(image, turn - 2)
    return np.roll(image, step * 151, axis=1)


def make_strips(folder, base, count):
    """Write `count` strips into folder/images from a generated set of `base`; their mask rows (name, class,
    rle)."""
    table = dataset.load_table(generate.generate(folder / "base", base, 1, 1, lift=False))
    (folder / "images").mkdir()

    def write(index):
        row, variant = table.iloc[index % base], index // base
        name, target = f"{index:06}.jpg", folder / "images" / f"{index:06}.jpg"
        if variant:
            image = moved(images.read_image(row["path"]), variant)
            data = cv2.imencode(".jpg", cv2.merge([image] * 3), [cv2.IMWRITE_JPEG_QUALITY, generate.QUALITY])[
                1
            ]
            target.write_bytes(data.tobytes())
        else:
            os.link(row["path"], target)
        texts = [
            (defect_class, row[f"rle_{defect_class}"])
            for defect_class in range(1, 5)
            if row[f"rle_{defect_class}"]
        ]
        return [
            (name, class_index, rle.encode(moved(rle.decode(text, SHAPE), variant)) if variant else text)
            for class_index, text in texts
        ]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [row for rows in pool.map(write, range(count)) for row in rows]


def make_set(folder, source, rows, count):
    """A data set in the competition's layout of the first `count` strips and test strips, as links."""
    (folder / "train_images").mkdir(parents=True)
    (folder / "test_images").mkdir()
    names = sorted(os.listdir(source))[:count]
    for name in names:
        os.link(source / name, folder / "train_images" / name)
    for name in names[: round(count * TEST_SHARE)]:
        os.link(source / name, folder / "test_images" / f"test{name}")
    wanted_names = set(names)
    with open(folder / "train.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("ImageId", "ClassId", "EncodedPixels"), *(row for row in rows if row[0] in wanted_names)]
        )


class Clock:
    """Seconds since it was made: on the wall, and of this process' processor time."""

    def __init__(self):
        self.begun = time.perf_counter(), time.process_time()

    def read(self):
        return time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]


def exploration(folder):
    """What the numbers of 00_eda are made from."""
    table = dataset.load_table(folder)
    masks, labels = table[dataset.rle_columns(table)].to_numpy(), dataset.labels(table)
    small = SHAPE[0] // 4, SHAPE[1] // 4
    heat, objects = np.zeros((4, *small), np.float32), []
    [[rle.area(text) for text in row] for row in masks]
    for row, class_index in np.argwhere(labels):
        mask = rle.decode(masks[row, class_index], SHAPE)
        heat[class_index] += images.resize_image(mask.astype(np.float32), small)
        objects.append(cv2.connectedComponentsWithStats(mask, connectivity=8)[2][1:])
    for path in table["path"]:
        image = images.read_image(path, small)
        image.mean(), image.std(), (image.mean(axis=0) < 20).mean()


def data_check(folder):
    """Every training and test strip decoded, as at the start of a run."""
    dataset.check(folder)


def duplicates(folder):
    """The search for near-duplicates, then the split with what was found."""
    table = dataset.load_table(folder)
    clock = Clock()
    groups = find_duplicates(table["path"])
    search = clock.read()
    splitting.find_duplicates = lambda *_: groups
    clock = Clock()
    splitting.split(table)
    return {"near-duplicates": search, "split": clock.read()}


def epoch(folder):
    """One epoch of batches for a segmenter of class 3, all strips, without a network."""
    from lib.data import generators

    table = dataset.load_table(folder)
    light = {"brightness": 0.08, "contrast": 0.15}
    batches = generators.SegmentationBatches(
        table["path"], table["rle_3"], SHAPE, *SIZE, 0, 16, None, light, 1, True, os.cpu_count()
    )
    clocks = {}
    for name in ("first epoch of input", "next epoch of input"):
        clock = Clock()
        for index in range(len(batches)):
            batches[index]
        clocks[name] = clock.read()
        batches.on_epoch_end()
    return clocks


def predictions_of(count, seed=1):
    """What networks might say of `count` strips with the competition's shares of classes: right more often
    than not."""
    rng = np.random.default_rng(seed)
    has_defect = rng.random((count, 4)) < np.array([897, 247, 5150, 801]) / FULL
    true_area = has_defect * rng.lognormal(9, 1, (count, 4)).astype(np.int64)
    binary = np.clip(0.5 + 0.4 * np.where(has_defect.any(axis=1), 1, -1) * rng.beta(5, 1, count), 0, 1)
    label = np.clip(0.5 + 0.4 * np.where(has_defect, 1, -1) * rng.beta(4, 1, (count, 4)), 0, 1)
    shrink = np.linspace(1.4, 0.6, len(predictions.PIXEL_THRESHOLDS))[:, None] * np.linspace(
        1, 0.9, len(predictions.SMALLEST_COMPONENTS)
    )
    false = (rng.random((count, 4)) < 0.1) * rng.integers(0, 3000, (count, 4))
    area = ((true_area + false)[..., None, None] * shrink).astype(np.int64)
    intersection = (
        np.minimum(area, true_area[..., None, None]) * rng.uniform(0.5, 1, (count, 4, 1, 1))
    ).astype(np.int64)
    soft = [(array * label[..., None, None]).astype(np.int64) for array in (area, intersection)]
    return predictions.CascadePredictions(
        binary.astype(np.float32),
        label.astype(np.float32),
        true_area,
        area,
        intersection,
        np.arange(count),
        predictions.PIXEL_THRESHOLDS,
        predictions.SMALLEST_COMPONENTS,
        *soft,
    )


def evaluation(folder):
    """Thresholds by every strategy, cross-fitted scores, lost points, and the intervals of 40_evaluation with
    1,000 draws each."""
    collected = predictions.CascadePredictions.load(folder / sources.PREDICTIONS)
    chosen = threshold_search.choose_thresholds(collected)
    by_fold = threshold_search.fold_thresholds(collected)
    cross_fitted = threshold_search.cross_fitted_scores(collected, by_fold)
    in_sample, has_defect = predictions.pair_scores(collected, chosen), collected.true_area > 0
    strategies = [threshold_search.cross_fit(collected, name).mean(axis=1) for name in postprocess.STRATEGIES]
    of = [
        cross_fitted.mean(axis=1),
        (cross_fitted - ~has_defect).mean(axis=1),
        (cross_fitted - in_sample).mean(axis=1),
        *cross_fitted.T,
        *strategies,
        *np.where(has_defect, cross_fitted, np.nan).T,
        *(values - strategies[0] for values in strategies),
    ]
    for values in of:
        statistics.bootstrap_interval(values, collected.group, 1000)
    error_analysis.lost_points(collected, by_fold)


def make_run(folder, files):
    """A run folder with untrained compact networks, and thresholds that let SHARES of `files` pass its
    filters."""
    from lib.inference import cascade
    from lib.models import builders, saving

    classes = len(SHARES[1])
    build = {"backbone": "compact", "height": CASCADE_SIZE[0], "width": CASCADE_SIZE[1]}
    builders.keras.utils.set_random_seed(1)
    for name in paths.network_names(classes):
        segments = name.startswith("seg_")
        more = build if segments else build | {"classes": 1 if name == "binary" else classes}
        network = (builders.build_segmenter if segments else builders.build_classifier)(**more)
        card = {"kind": "segmenter" if segments else "classifier", "build": more, "input": list(CASCADE_SIZE)}
        saving.save(network, folder / "models" / name, card)
    networks = cascade.open_networks(paths.network_folders(folder / "models", classes), engine=ENGINE)
    binary = np.array(list(networks["binary"](files)))[:, 0]
    least = float(np.quantile(binary, 1 - SHARES[0]))
    passed = [path for path, probability in zip(files, binary, strict=True) if probability >= least]
    label = np.array(list(networks["multilabel"](passed)))
    pixels = [
        np.quantile(list(networks[f"seg_class{class_index + 1}"](passed[:16])), 0.8)
        for class_index in range(classes)
    ]
    shares = enumerate(SHARES[1])
    postprocess.PostprocessConfig(
        "both filters",
        least,
        tuple(
            float(np.quantile(label[:, class_index], 1 - share / SHARES[0])) for class_index, share in shares
        ),
        tuple(float(value) for value in pixels),
        (75,) * classes,
        (600,) * classes,
        engine=ENGINE,
    ).write(folder / sources.THRESHOLDS)


def inference(folder):
    """What 90_inference does, strips on disk to a checked submission, with the run beside the data sets;
    networks are opened before."""
    from lib.inference import cascade, time_budget

    thresholds, files = (
        sources.read_thresholds(folder.parent / "run"),
        sorted((folder / "train_images").iterdir()),
    )
    classes, names = thresholds.classes, [path.name for path in files]
    folders = paths.network_folders(folder.parent / "run" / "models", classes)
    networks = cascade.open_networks(
        folders, thresholds.tta, thresholds.classifier_tta, engine=thresholds.engine
    )
    clock, broken = Clock(), {}
    predicted, binary, label = cascade.predict(
        networks, files, thresholds, SHAPE, budget=time_budget.Budget(0), broken=broken
    )
    submission.write(folder / "submission.csv", names, predicted)
    submission.check(folder / "submission.csv", names, classes, SHAPE)
    submission.write_pseudo_labels(
        folder / "pseudo_labels.csv", names, submission.certainty(binary, label), predicted
    )
    if broken:
        sys.exit(next(iter(broken.values())))
    seconds = clock.read()
    passed, mask_shares = (
        np.isfinite(label[:, 0]).mean(),
        np.mean([[text != "" for text in row] for row in predicted], axis=0),
    )
    print(
        f"{len(files)} strips: {passed:.0%} pass the binary filter, masks of each class on",
        *[f"{part:.0%}" for part in mask_shares],
        file=sys.stderr,
    )
    return {"cascade": seconds}


STAGES = {"exploration": exploration, "data check": data_check, "duplicates": duplicates, "epoch": epoch, "evaluation": evaluation,
          "cascade": inference}  # fmt: skip


def child(stage, folder):
    """Run one stage and print {row: seconds} as JSON."""
    clock = Clock()
    rows = STAGES[stage](folder) or {stage: clock.read()}
    print(json.dumps(rows))


def stage_rows(folder):
    """All stages on one data set: {row: (seconds, seconds of processor time, MiB)}."""
    rows = {}
    for stage in STAGES:
        mib, text = measure.peak_memory([sys.executable, __file__, "--stage", stage, "--folder", str(folder)])
        rows |= {row: (*seconds, mib) for row, seconds in json.loads(text.splitlines()[-1]).items()}
    return rows


def report(results):
    """The table and the verdicts. Arguments: results: {size: {row: (seconds, seconds of processor time,
    MiB)}}."""
    sizes = sorted(results)
    print(
        "| stage | "
        + " | ".join(f"{size:,} strips" for size in sizes)
        + " | growth |\n|---|"
        + "---|" * (len(sizes) + 1)
    )
    small, large = results[sizes[0]], results[sizes[-1]]
    times = sizes[-1] / sizes[0]
    growth = {row: large[row][1] / max(small[row][1], 1e-3) for row in large}
    for row in large:
        cells = ["{:.1f} s, {:.1f} s, {:,.0f} MiB".format(*results[size][row]) for size in sizes]
        print(f"| {row} | " + " | ".join(cells) + f" | {growth[row]:.1f} x |")
    steep = [row for row in large if growth[row] > 1.2 * times]
    print(
        f"\nSeconds, seconds of processor time (on all cores together), and the peak memory of the stage's process; the growth is that "
        f"of processor time. From {sizes[0]:,} to {sizes[-1]:,} strips is {times:.1f} x; "
        + (
            f"faster than that by a fifth or more grows: {', '.join(steep)}."
            if steep
            else "nothing grows faster than that by a fifth."
        )
    )
    most, seconds = max(large, key=lambda row: large[row][2]), large["evaluation"][0]
    mib = large[most][2]
    print(
        f"Most memory: {most}, {mib:,.0f} MiB (target {LIMIT_MIB:,}): {'met' if mib <= LIMIT_MIB else '**not met**'}. "
        f"Evaluation of {4 * sizes[-1]:,} pairs: {seconds:.0f} s (target {LIMIT_EVALUATION:.0f} s): "
        f"{'met' if seconds < LIMIT_EVALUATION else '**not met**'}."
    )


def main():
    parser = measure.arguments(__doc__)
    parser.add_argument("--sizes", default=f"1000,4000,{FULL}", help="numbers of training strips")
    parser.add_argument(
        "--base", type=int, default=1000, help="strips that are generated; the others are made from these"
    )
    parser.add_argument(
        "--stage", choices=STAGES, help="only this stage, for --folder; the script calls itself so"
    )
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.stage:
        child(args.stage, args.folder)
        return
    sizes = [60, 120] if args.quick else [int(size) for size in args.sizes.split(",")]
    base = min(args.base, max(sizes) // 2 if args.quick else max(sizes))
    with tempfile.TemporaryDirectory() as folder:
        folder, begun = Path(folder), time.perf_counter()
        rows, results = make_strips(folder, base, max(sizes)), {}
        made = time.perf_counter() - begun
        make_run(folder / "run", sorted((folder / "base" / "train_images").glob("*.jpg"))[:THRESHOLD_STRIPS])
        print(
            f"\n## Scale\n\n{base:,} generated strips of {SHAPE[0]} x {SHAPE[1]} and {max(sizes) - base:,} made from them by "
            f"mirroring and moving (in {made:.0f} s), and {TEST_SHARE:.0%} as many test strips in the data check. The cascade runs over "
            f"all of them, at {CASCADE_SIZE[0]} x {CASCADE_SIZE[1]} pixels with untrained compact networks in {runtime.choose(ENGINE)}; "
            f"about {SHARES[0]:.0%} of strips pass the first filter, each with {sum(SHARES[1]) / SHARES[0]:.2f} classes the second.\n"
        )
        for size in sizes:
            make_set(folder / str(size), folder / "images", rows, size)
            predictions_of(size).save(folder / str(size) / sources.PREDICTIONS)
            results[size] = stage_rows(folder / str(size))
        report(results)


if __name__ == "__main__":
    main()
