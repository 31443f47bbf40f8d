"""Does the cross-fitted interval hold the score on strips that nothing has seen? Several data seeds, a row
each.

python benchmarks/cross_fitting.py --run RUN [--seeds 10] [--fresh 900] [--test 300] [--jobs 2]
    [--out benchmarks/cross_fitting.md]

The networks are those of a finished run and stay as they are. For each data seed:
- a training set is generated and split as every notebook does; its held-out part gives the in-sample score,
  the cross-fitted score with its 95 % interval, and the thresholds;
- fresh strips of the same rolls, with the same shares of label combinations, are scored under those
  thresholds: the truth that the interval should hold;
- test strips, of other rolls, are scored too, beside what the weights of the shift notebook foresee.

Nothing of a data seed has been seen by the networks, its fresh strips no more than its held-out ones, so that
one is as good a sample of what the networks can do on these rolls as the other. With --own the first row
takes the run's own data seed: there the networks know the rolls, though neither the held-out strips nor the
fresh ones.
"""

import argparse
import functools
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import measure  # noqa: E402

from lib import paths  # noqa: E402
from lib.data import dataset, splitting  # noqa: E402
from lib.evaluation import metrics, predictions, shift, statistics, threshold_search  # noqa: E402
from lib.files import write_atomic  # noqa: E402
from lib.inference import cascade  # noqa: E402
from lib.synthetic import generate, planning, texture  # noqa: E402

SHAPE = texture.HEIGHT, texture.WIDTH
STREAM = 3  # the random stream of fresh strips' plan; 0 to 2 are the set's own


def fresh_plan(count, seed, train):
    """`count` strips of the rolls of the training set of `train` strips from `seed`, none of them in it."""
    rng = np.random.default_rng([seed, 0, STREAM])
    n_rolls = max(2, -(-train // planning.STRIPS_PER_ROLL))
    return [
        planning.PlannedStrip(
            f"fresh{index:05}.jpg",
            "train",
            seed,
            train + index,
            int(rng.integers(n_rolls)),
            labels,
            contrast=generate.CLEAR,
        )
        for index, labels in enumerate(planning.plan_labels(count, rng))
    ]


def write_set(folder, strips):
    """Write planned strips as a training set; its table."""
    (folder / "train_images").mkdir(parents=True)
    rows = generate.write_chunk((str(folder / "train_images"), strips))
    dataset.write_table(folder / "train.csv", ("ImageId", "ClassId", "EncodedPixels"), rows)
    return dataset.load_table(folder)


def predictions_of(networks, table):
    """(predictions, true run-lengths) of a table of strips."""
    truth = table[dataset.rle_columns(table)].to_numpy().tolist()
    return predictions.collect_predictions(networks, table, truth, SHAPE), truth


def row_of(seed, args):
    """One row, in a process of its own."""
    folders = paths.network_folders(Path(args.run) / "models", planning.CLASSES)
    networks = cascade.open_networks(folders, args.tta.split(","), engine=args.engine)
    with tempfile.TemporaryDirectory(prefix="cross-fitting-") as folder:
        return evaluate(networks, seed, Path(folder), args)


def evaluate(networks, seed, folder, args):
    """One row: what comes of one data seed."""
    generate.generate(folder / "set", args.train, args.test, seed, processes=1, contrast=generate.CLEAR)
    table = splitting.split(dataset.load_table(folder / "set"), held_out=0.2, validation=0.15, seed=42)
    held_out = table[table["part"] == "held_out"].reset_index(drop=True)
    held_out_predictions, truth = predictions_of(networks, held_out)
    thresholds = threshold_search.choose_thresholds(held_out_predictions)
    cross_fitted = threshold_search.cross_fit(held_out_predictions).mean(axis=1)
    low, high = statistics.bootstrap_interval(cross_fitted, held_out_predictions.group)

    fresh = write_set(folder / "fresh", fresh_plan(args.fresh, seed, args.train))
    fresh_predictions, fresh_truth = predictions_of(networks, fresh)
    fresh_scores = predictions.pair_scores(fresh_predictions, thresholds).mean(axis=1)

    test = dataset.load_truth(folder / "set", dataset.load_test_table(folder / "set"))
    test_predictions, test_truth = predictions_of(networks, test)
    test_score = predictions.pair_scores(test_predictions, thresholds).mean()
    files = [*table["path"], *test["path"]]
    is_test = np.repeat([False, True], [len(table), len(test)])
    group = np.concatenate([table["group"], table["group"].max() + 1 + np.arange(len(test))])
    probability = shift.is_test_probability(shift.features(files), is_test, group, seed=seed)
    auc, lowest, _ = shift.auc_interval(probability, is_test, group)
    weights = (
        shift.weights(probability[~is_test]) if lowest > 0.5 else np.ones(len(table))
    )  # as 05_shift does
    weights = weights[(table["part"] == "held_out").to_numpy()]
    return {
        "seed": seed,
        "held out": len(held_out),
        "all empty": metrics.all_empty_score(truth),
        "in-sample": predictions.pair_scores(held_out_predictions, thresholds).mean(),
        "cross-fitted": cross_fitted.mean(),
        "low": low,
        "high": high,
        "fresh": fresh_scores.mean(),
        "fresh error": fresh_scores.std() / len(fresh_scores) ** 0.5,
        "fresh empty": metrics.all_empty_score(fresh_truth),
        "test": test_score,
        "test empty": metrics.all_empty_score(test_truth),
        "auc": auc,
        "foreseen": np.average(cross_fitted, weights=weights),
        "foreseen empty": np.average((held_out_predictions.true_area == 0).mean(axis=1), weights=weights),
    }


def text_of(rows, args, minutes):
    """The page: a table and what it says."""
    inside = sum(row["low"] <= row["fresh"] <= row["high"] for row in rows)
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    lines = [
        "# Does the cross-fitted estimate hold?",
        "",
        f"Made by `python benchmarks/cross_fitting.py --run RUN {'--own ' if args.own else ''}--seeds {len(rows)} --train {args.train} "
        f"--fresh {args.fresh} --test {args.test} --tta {args.tta}` in {minutes:.0f} minutes, "
        f"with the networks of one demo run{', which know the rolls of data seed 42 and no others' if args.own else ''}. "
        f"Each row is a data set of its own: {rows[0]['held out']} held-out strips, "
        f"{args.fresh} fresh strips of the same rolls, {args.test} test strips of other rolls.",
        "",
        "| data seed | all empty | in-sample | cross-fitted | 95 % interval | fresh strips (standard error) | "
        "inside | test strips | drop | foreseen "
        "by weights | all-empty falls | AUC |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['seed']} | {row['all empty']:.4f} | {row['in-sample']:.4f} | {row['cross-fitted']:.4f} "
            f"| {row['low']:.4f} to {row['high']:.4f} "
            f"| {row['fresh']:.4f} ({row['fresh error']:.4f}) | {'yes' if row['low'] <= row['fresh'] <= row['high'] else 'no'} "
            f"| {row['test']:.4f} | {row['cross-fitted'] - row['test']:+.4f} | {row['cross-fitted'] - row['foreseen']:+.4f} "
            f"| {row['all empty'] - row['foreseen empty']:+.4f} | {row['auc']:.2f} |"
        )
    likeness = np.corrcoef(
        [[row["cross-fitted"] - row[name] for row in rows] for name in ("test", "foreseen")]
    )[0, 1]
    lines += [
        f"| mean | {mean['all empty']:.4f} | {mean['in-sample']:.4f} | {mean['cross-fitted']:.4f} | | {mean['fresh']:.4f} | "
        f"{inside} of {len(rows)} "
        f"| {mean['test']:.4f} | {mean['cross-fitted'] - mean['test']:+.4f} | {mean['cross-fitted'] - mean['foreseen']:+.4f} "
        f"| {mean['all empty'] - mean['foreseen empty']:+.4f} | {mean['auc']:.2f} |",
        "",
        f"- The interval holds the score on fresh strips in **{inside} of {len(rows)}** data sets. The fresh score has an error of its own "
        "(in brackets), so that even a perfect interval would miss now and then.",
        f"- The in-sample score is {mean['in-sample'] - mean['fresh']:+.4f} off the fresh one on average, the cross-fitted one "
        f"{mean['cross-fitted'] - mean['fresh']:+.4f}.",
        "- *drop* is the cross-fitted score less that on the test strips, *foreseen* the cross-fitted score "
        "less the same under the weights of "
        f"`05_shift`: on average the weights say {mean['cross-fitted'] - mean['foreseen']:+.4f} where "
        f"{mean['cross-fitted'] - mean['test']:+.4f} came. "
        f"From data set to data set the two have a correlation of {likeness:+.2f}: near 1 the weights would foresee the drop. "
        "*All-empty falls* by so much under the weights: strips that look like test strips have more defects, which need not be so "
        "among the test strips. Where that is more than the score falls, the weights foresee other defects and no worse networks.",
        "- The networks know the rolls of data seed 42 alone, if any: there the drop is that from known rolls to unknown ones. "
        "In the other rows both kinds of rolls are unknown to them, and the drop says only how much the kinds differ.",
        "- The networks come from one run, so the table judges the thresholds and the interval, not the luck of a training.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="folder of a finished run, with models/")
    parser.add_argument("--seeds", type=int, default=10, help="number of data seeds")
    parser.add_argument("--first", type=int, default=1000, help="the first data seed")
    parser.add_argument(
        "--own", action="store_true", help="begin with seed 42, the rolls that the networks know"
    )
    parser.add_argument(
        "--train", type=int, default=1500, help="strips of a training set; a fifth is held out"
    )
    parser.add_argument("--fresh", type=int, default=900, help="fresh strips of the same rolls")
    parser.add_argument("--test", type=int, default=300, help="test strips")
    parser.add_argument("--tta", default="none,vertical", help="mirrored copies")
    parser.add_argument(
        "--engine", default="bfloat16", help="what runs the networks, see lib/models/runtime.py"
    )
    parser.add_argument("--jobs", type=int, default=2, help="data sets at a time")
    parser.add_argument("--out", default="", help="page to write")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(max(1, os.cpu_count() // args.jobs))
    seeds, rows, started = (
        [*([42] if args.own else []), *range(args.first, args.first + args.seeds)],
        [],
        time.monotonic(),
    )
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for row in pool.map(functools.partial(row_of, args=args), seeds[: args.seeds]):
            rows.append(row)
            minutes = (time.monotonic() - started) / 60
            print(
                f"{minutes:.1f} min",
                {name: round(float(value), 4) for name, value in row.items()},
                flush=True,
            )
            if args.out:
                write_atomic(args.out, text_of(rows, args, minutes))
    print(text_of(rows, args, minutes))


if __name__ == "__main__":
    measure.command(main)
