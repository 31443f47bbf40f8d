"""What does a random split claim where strips have near-duplicates? Beside a grouped split, against strips
that nothing has seen.

python benchmarks/optimism.py [--seeds 1,2,3] [--strips 400] [--fresh 900] [--out benchmarks/optimism.md]

A camera that triggers twice, or a strip that is filed twice: here every generated strip has a near-duplicate,
a few columns further, a little brighter or darker, encoded anew. The pipeline runs on such a set twice, with
`split_method` random, as in the article, and grouped. Each run claims a score with thresholds that were
chosen on other strips than those they are judged on; what its networks and thresholds really score is
measured on fresh strips of the same rolls. The claim less that is the split's optimism. Runs lie in
runs/optimism-*; a second call goes on where the first was cut off.
"""

import argparse
import dataclasses
import itertools
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import cross_fitting  # noqa: E402
import measure  # noqa: E402
import quality  # noqa: E402

from lib import errors, files, paths  # noqa: E402
from lib.evaluation import predictions, statistics, threshold_search  # noqa: E402
from lib.inference import cascade, sources  # noqa: E402
from lib.synthetic import generate, planning  # noqa: E402

TEST = 60  # test strips, which nothing here looks at but the shift notebook
METHODS = ("random", "grouped")


def with_copies(strips):
    """The planned strips, and of each that has none a near-duplicate."""
    single = [strip for strip in strips if not strip.twin]
    return strips + [
        dataclasses.replace(strip, image_id=f"copy-{strip.image_id}", twin="copy") for strip in single
    ]


def write_data(seed, count):
    """The folder of a data set whose strips all have a near-duplicate; written once."""
    folder = PROJECT / "data" / f"copies-{count}-{seed}"
    if not (folder / "dataset.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        cross_fitting.write_set(
            folder, with_copies(planning.plan("train", count, seed, contrast=generate.CLEAR))
        )
        (folder / "test_images").mkdir()
        generate.write_chunk(
            (str(folder / "test_images"), planning.plan("test", TEST, seed, contrast=generate.CLEAR))
        )
        note = "Generated strips, every one with a near-duplicate: no real steel."
        files.write_json(
            folder / "dataset.json",
            {**generate.settings(count, TEST, seed, True, generate.CLEAR), "note": note},
        )
    return folder


def run(method, seed, count):
    """Run the pipeline with one way of splitting where that is not done; the run's folder. UserError if it
    failed."""
    folder = PROJECT / "runs" / f"optimism-{method}-{count}-{seed}"
    if not (folder / "done").is_file():
        settings = *quality.SIZE, f"all.seed={seed}", f"all.split_method={method}"
        quality.execute(folder, quality.NOTEBOOKS, write_data(seed, count), settings)
    if not (folder / "done").is_file():
        raise errors.UserError(
            f"The run {folder.name} failed. Its log beside it says why; call this again when that is mended."
        )
    return folder


def evaluate(seed, count, fresh):
    """A row for each way of splitting: what the run claims, and what its networks and thresholds score on
    fresh strips."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="optimism-") as scratch:
        strips = cross_fitting.write_set(Path(scratch), cross_fitting.fresh_plan(fresh, seed, count))
        for method in METHODS:
            folder = run(method, seed, count)
            thresholds = sources.read_thresholds(folder)
            claimed_on = predictions.CascadePredictions.load(sources.file_in(folder, sources.PREDICTIONS))
            networks = cascade.open_networks(
                paths.network_folders(folder / "models", planning.CLASSES),
                thresholds.tta,
                thresholds.classifier_tta,
                engine=thresholds.engine,
            )
            split = pd.read_csv(folder / "split.csv")
            held_out, teaching = (split.loc[split["part"] == part, "group"] for part in ("held_out", "train"))
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "leaked": held_out.isin(teaching).to_numpy(),
                    "group": claimed_on.group + 10**6 * seed,
                    "claimed": threshold_search.cross_fit(claimed_on, thresholds.strategy, seed=seed).mean(
                        axis=1
                    ),
                    "real": predictions.pair_scores(
                        cross_fitting.predictions_of(networks, strips)[0], thresholds
                    ).mean(axis=1),
                }
            )
    return rows


def joined(rows, key):
    """One array of several rows' values."""
    return np.concatenate([row[key] for row in rows])


def half_width(values, group):
    """Half the 95 % interval of a mean; strips of one group are drawn together."""
    low, high = statistics.bootstrap_interval(values, group)
    return (high - low) / 2


def optimism_by_seed(rows):
    """Claimed less real score of each row."""
    return np.array([row["claimed"].mean() - row["real"].mean() for row in rows])


def optimism_of(rows):
    """(mean optimism, half its 95 % interval) of the rows of one way of splitting."""
    real = joined(rows, "real")
    halves = (
        half_width(joined(rows, "claimed"), joined(rows, "group")),
        half_width(real, np.arange(len(real))),
    )
    return optimism_by_seed(rows).mean(), np.linalg.norm(halves)


def difference_of(kinds):
    """The optimism of the first way of splitting less that of the second, and half its 95 % interval: the
    fresh strips are the same for both, the held-out ones are not."""
    real = np.subtract(*(joined(rows, "real") for rows in kinds))
    halves = [half_width(joined(rows, "claimed"), joined(rows, "group")) for rows in kinds]
    means = [optimism_by_seed(rows).mean() for rows in kinds]
    return means[0] - means[1], np.linalg.norm([*halves, half_width(real, np.arange(len(real)))])


def text_of(rows, args):
    """The page: a table and what it says."""
    lines = [
        "# What a random split claims",
        "",
        f"Made by `python benchmarks/optimism.py --seeds {args.seeds} --strips {args.strips} --fresh {args.fresh}`: data sets of "
        f"{args.strips} generated strips and a near-duplicate of each, about {2 * args.strips} in all, split at random as in the "
        "article or with near-duplicates on one side. The recipe is that of [quality.md](quality.md). *Claimed* is the cross-fitted score "
        f"on the held-out strips, *real* that of the same networks and thresholds on {args.fresh} fresh strips of the same rolls.",
        "",
        "| split | data seed | held-out strips with a near-duplicate among those that teach | claimed | real | optimism |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        claimed, real = row["claimed"].mean(), row["real"].mean()
        numbers = f"{row['leaked'].mean():.0%} | {claimed:.4f} | {real:.4f} | {claimed - real:+.4f}"
        lines.append(f"| {row['method']} | {row['seed']} | {numbers} |")
    lines.append("")
    kinds = [[row for row in rows if row["method"] == method] for method in METHODS]
    words = [
        (f"Split {method}: optimism", optimism_of(kind)) for method, kind in zip(METHODS, kinds, strict=True)
    ]
    for what, (mean, half) in [*words, ("Random less grouped", difference_of(kinds))]:
        lines.append(f"- {what} **{mean:+.4f}**, 95 % interval {mean - half:+.4f} to {mean + half:+.4f}.")
    low, high = quality.seeds_interval(np.subtract(*map(optimism_by_seed, kinds)))
    lines.append(
        f"- These intervals hold for these trainings. With their luck, over the data seeds: {low:+.4f} to {high:+.4f} for random "
        "less grouped."
    )
    leaked, claimed = joined(kinds[0], "leaked"), joined(kinds[0], "claimed")
    parts = f"{claimed[leaked].mean():.4f}, the others {claimed[~leaked].mean():.4f}"
    lines += [
        f"- Within the random splits: held-out strips with a near-duplicate that teaches score {parts}.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument(
        "--strips", type=int, default=400, help="generated strips, each of which gets a near-duplicate"
    )
    parser.add_argument("--fresh", type=int, default=900, help="fresh strips of the same rolls")
    parser.add_argument("--side", type=int, default=2, help="runs side by side")
    parser.add_argument("--out", default="", help="page to write")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    for seed in seeds:
        write_data(seed, args.strips)  # before the two runs that read it
    with ThreadPoolExecutor(args.side) as pool:
        list(pool.map(lambda pair: run(*pair, args.strips), itertools.product(METHODS, seeds)))
    rows = [row for seed in seeds for row in evaluate(seed, args.strips, args.fresh)]
    text = text_of(sorted(rows, key=lambda row: METHODS.index(row["method"])), args)
    measure.publish(text, args.out)


if __name__ == "__main__":
    measure.command(main)
