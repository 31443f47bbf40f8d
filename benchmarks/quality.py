"""The ablation table: what each piece of the recipe is worth, on generated strips at a size that two cores
manage.

python benchmarks/quality.py [--seeds 1,2,3] [--train 1000] [--only NAME,NAME] [--side 2] [--table]
    [--out FILE]

For each seed a data set is generated and the recipe run once; then, in a copy of that run, each variant: only
what its parameters touch is trained anew. The held-out strips of a seed are the same for all variants, so
that differences are paired. Runs lie in runs/quality-*; a second call goes on where the first was cut off.
--table only makes the table of what is there.
"""

import argparse
import itertools
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy import stats

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import measure  # noqa: E402

from lib import errors, files  # noqa: E402
from lib.evaluation import predictions, statistics, threshold_search  # noqa: E402
from lib.inference import sources  # noqa: E402
from lib.pipeline import graph  # noqa: E402
from lib.synthetic import generate  # noqa: E402

TEST = 240  # test strips of a data set
BASE, ARTICLE, FULL = "the demo's recipe in 16 bits", "article, cut to size", "full, cut to size"
SIZE = (
    "all.held_out=0.4",
    "all.validation=0.1",
    "20.epochs=40",
    "40.n_bootstrap=100",
    "40.n_examples=1",  # of all runs here
    *(f"{name}.batch_size=4" for name in graph.SEGMENTERS),  # half the strips of a demo, as many steps
    "all.dtype_policy=mixed_bfloat16",
    'all.tta=["none"]',
)  # half the time, on a processor that has bfloat16


def of_segmenters(*settings):
    """Settings such as "folds=3" for each of the four."""
    return tuple(f"{name}.{setting}" for name in graph.SEGMENTERS for setting in settings)


WHOLE = of_segmenters("crop_width=0")
SQUARE = 320  # pixels: as many as in 128 x 800, and a little more than in the article's 299 x 299
SQUASHED = (
    "10.crop_width=0",
    "20.crop_width=0",
    *(f"{name}.{side}={SQUARE}" for name in (10, 20) for side in ("height", "width")),
)
NO_CELLS = ("10.localization_head=false", "20.localization_head=false")
FOUR = '40.tta=["none", "vertical", "horizontal", "both"]'
VARIANTS = {  # what differs from the base; the most telling ones first
    BASE: (),
    ARTICLE: (
        FOUR,
        *NO_CELLS,
        *SQUASHED,
        "20.balanced_sampling=false",
        *WHOLE,
        "all.loss=bce",
        "all.negative_ratio=0.0",
        "all.schedule=constant",
    ),
    FULL: ("all.augmentation.blackout=0.1", FOUR),
    "thresholds: soft gating": ("40.strategy=soft gating",),
    "prediction: one mirrored copy": ('40.tta=["none", "vertical"]',),
    "prediction: all mirrored copies": (FOUR,),
    "all: 32 bits in training": ("all.dtype_policy=float32",),
    "class 2: no horizontal flips": ("32_seg_class2.augmentation.flips=vertical",),
    "segmenters: averaged weights (EMA 0.99)": ("all.ema=0.99",),
    "segmenters: 1 in 10 defects painted over": ("all.augmentation.blackout=0.1",),
    "segmenters: early stopping on Dice": ("all.patience=4",),
    "segmenters: focal loss": ("all.loss=focal",),
    "segmenters: cross-entropy alone": ("all.loss=bce",),
    "classifiers: whole strips squashed to 320 x 320": SQUASHED,
    "classifiers: natural frequencies": ("20.balanced_sampling=false",),
    "segmenters: one round of pseudo-labels": of_segmenters("pseudo_labels={base}/pseudo_labels.csv"),
    "segmenters: no flips": of_segmenters("augmentation.flips=none"),
    "segmenters: constant learning rate": of_segmenters("schedule=constant"),
    "segmenters: light unchanged": of_segmenters("augmentation.brightness=0.0", "augmentation.contrast=0.0"),
    "segmenters: moved up and down by a tenth": ("all.augmentation.shift=0.1",),
    "segmenters: whole strips, no crops": WHOLE,
    "segmenters: ensembles of three folds": of_segmenters("folds=3"),
    "segmenters: defective strips alone": ("all.negative_ratio=0.0",),
    "classifiers: labels alone, no masks": (*NO_CELLS, "10.crop_width=0", "20.crop_width=0"),
    "classifiers: whole strips, no crops": ("10.crop_width=0", "20.crop_width=0"),
    "segmenters: Dice loss alone": ("all.loss=dice",),
}
NOTEBOOKS = "05,10,20,31,32,33,34,40"


def folder_of(name, seed):
    """The run folder of a variant and seed."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in name)
    return PROJECT / "runs" / f"quality-{slug}-{seed}"


def execute(folder, notebooks, data, settings):
    """Run notebooks with the demo's profile and some settings, or go on with a run that was cut off; its log
    lies beside the folder."""
    known = (folder / "run.json").is_file()
    command = [
        sys.executable,
        str(PROJECT / "run_all.py"),
        "--run",
        folder.name,
        "--only",
        notebooks,
        "--jobs",
        "2",
    ]
    command += ["--resume"] if known else ["--profile", "demo", "--data", str(data)]
    for setting in settings:
        command += ["-p", setting]
    with open(folder.with_suffix(".log"), "w") as log:
        code = subprocess.run(command, check=False, stdout=log, stderr=log).returncode
    print(folder.name, "done" if code == 0 else f"failed, see {log.name}", flush=True)
    if code == 0:
        (folder / "done").touch()


def run(name, seed, train):
    """Run a variant where it is not there yet."""
    folder, base = folder_of(name, seed), folder_of(BASE, seed)
    if (folder / "done").is_file():
        return
    if name != BASE and not folder.exists():
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns("scratch", "done", ".lock"))
    strips = PROJECT / "data" / f"generated-{train}-{TEST}-{seed}"
    data = generate.generate(strips, train, TEST, seed, contrast=generate.CLEAR)
    settings = [setting.format(base=base) for setting in (f"all.seed={seed}", *SIZE, *VARIANTS[name])]
    execute(folder, f"{NOTEBOOKS},90" if name == BASE else NOTEBOOKS, data, settings)


def metrics_of(name, seeds):
    """(scores a seed, groups a seed, minutes of the quickest seed) of a variant over the seeds that are
    there; None unless all are."""
    scores, groups, minutes = [], [], []
    for seed in seeds:
        folder = folder_of(name, seed)
        if not (folder / "done").is_file():
            return None
        held_out = predictions.CascadePredictions.load(sources.file_in(folder, sources.PREDICTIONS))
        strategy = sources.read_thresholds(folder).strategy
        scores.append(threshold_search.cross_fit(held_out, strategy).mean(axis=1))
        groups.append(held_out.group + 10**6 * seed)
        state = files.read_json(folder / "run.json")
        minutes.append(
            sum(one["seconds"] for one in state["notebooks"].values() if one["status"] == "done") / 60
        )
    return scores, groups, min(minutes)


def difference_of(one, other):
    """(mean difference, its interval in words) of two variants, paired over the held-out strips, which are
    the same."""
    scores, others = np.concatenate(one[0]), np.concatenate(other[0])
    low, high = statistics.bootstrap_interval(scores - others, np.concatenate(one[1]))
    return (scores - others).mean(), f"{low:+.4f} to {high:+.4f}"


def seeds_interval(differences):
    """The 95 % interval (low, high) of the mean of a difference a seed (Student's t): the luck of training is
    in it."""
    half = (
        stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences) if len(differences) > 1 else np.inf
    )
    return np.mean(differences) - half, np.mean(differences) + half


def across_seeds(one, other):
    """`seeds_interval` of two variants, in words."""
    low, high = seeds_interval([a.mean() - b.mean() for a, b in zip(one[0], other[0], strict=True)])
    return f"{low:+.4f} to {high:+.4f}"


def row_of(name, results):
    """(difference to the base, the row of a variant)."""
    scores, _, minutes = results[name]
    row = f"| {name} | {np.concatenate(scores).mean():.4f} | {', '.join(f'{values.mean():.4f}' for values in scores)} | "
    difference, interval = difference_of(results[name], results[BASE])
    compared = (
        "| | | "
        if name == BASE
        else f"{difference:+.4f} | {interval} | {across_seeds(results[name], results[BASE])} | "
    )
    return difference, row + compared + f"{minutes:.1f} |"


def table(seeds, train):
    """The page."""
    results = {name: metrics for name in VARIANTS if (metrics := metrics_of(name, seeds))}
    if BASE not in results:
        raise errors.UserError(f"The runs of {BASE!r} are not finished. Call this without --table first.")
    base = results[BASE][0]
    empty = np.mean(
        [
            (
                predictions.CascadePredictions.load(
                    sources.file_in(folder_of(BASE, seed), sources.PREDICTIONS)
                ).true_area
                == 0
            ).mean()
            for seed in seeds
        ]
    )
    rows = dict(
        sorted(
            ((name, row_of(name, results)) for name in results),
            key=lambda item: (item[0] != BASE, -item[1][0]),
        )
    )
    missing = [name for name in VARIANTS if name not in results]
    lines = [
        f"Made by `python benchmarks/quality.py --seeds {','.join(map(str, seeds))} --train {train}`: {len(seeds)} generated data sets "
        f"of {train} strips, half of them to train on and {len(base[0])} held out of each; the all-empty score is {empty:.4f}. The "
        f"recipe is the demo's with `-p {' -p '.join(SIZE)}`. Scores are cross-fitted; differences are paired over the same "
        f"{sum(map(len, base))} held-out strips, with 95 % intervals from a bootstrap over groups of near-duplicates; they hold for these "
        "trainings. The interval over seeds (Student's t on a difference a data set) has the luck of training in it, and is wide for so "
        "few. Minutes are those "
        "of the notebooks that a variant runs anew, of its quickest seed, two variants side by side on two cores that had other work. "
        "The rows after the first are in the order "
        "of what they gain or lose.",
        "",
        "| what differs | score | of each seed | difference | 95 % interval | interval over seeds | minutes |",
        "|---|---|---|---|---|---|---|",
        *(row for _, row in rows.values()),
        "",
    ]
    if FULL in results and ARTICLE in results:
        difference, interval = difference_of(results[FULL], results[ARTICLE])
        lines += [
            f"{FULL}, against {ARTICLE}: **{difference:+.4f}**, 95 % interval {interval}; over seeds "
            f"{across_seeds(results[FULL], results[ARTICLE])}.",
            "",
        ]
    return "\n".join([*lines, *([f"Not run: {', '.join(missing)}.", ""] if missing else [])])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument(
        "--train", type=int, default=1000, help="generated strips, of which two fifths are held out"
    )
    parser.add_argument(
        "--only", default="", help="some variants by the beginning of their names, commas between them"
    )
    parser.add_argument("--side", type=int, default=2, help="variants to run side by side")
    parser.add_argument("--table", action="store_true", help="only make the table")
    parser.add_argument("--out", default="", help="page to write")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    wanted = [
        name
        for name in VARIANTS
        if name != BASE and (not args.only or name.startswith(tuple(args.only.split(","))))
    ]
    if not args.table:
        with ThreadPoolExecutor(args.side) as pool:
            list(pool.map(lambda seed: run(BASE, seed, args.train), seeds))
            list(pool.map(lambda pair: run(*pair, args.train), itertools.product(wanted, seeds)))
    text = table(seeds, args.train)
    measure.publish(text, args.out)


if __name__ == "__main__":
    measure.command(main)
