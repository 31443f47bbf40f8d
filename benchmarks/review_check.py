"""Does the queue of what to label next teach more than strips drawn at random?

python benchmarks/review_check.py --data FOLDER [--drawings 5] [--strips 40] [-p SECTION.KEY=VALUE]...
    [--kept benchmarks/review.json] [--out FILE]

Each drawing sets a quarter of FOLDER, in the competition's layout, aside to judge by, and has labels for --strips of
the rest. Networks that learned from those name as many of the others by `lib.predict --review`; then networks learn from
the first and the named ones, and from the first and as many at random. The profile is small_data, shortened: two networks of a
kind, each of which learns from half of the strips, at half of their size, no generated strips, as many steps whatever
the number of strips. Near-duplicates stay on one side. Runs lie in runs/review-*; a second call goes on where the first was cut
off. The scores of each drawing that is done are kept in the file --kept: they are not computed again, on another
machine neither. review.md says what came.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import sem, t

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import data_run  # noqa: E402
import measure  # noqa: E402
import real  # noqa: E402
import transfer  # noqa: E402

from lib.data import dataset, duplicates  # noqa: E402
from lib.evaluation import predictions, statistics  # noqa: E402
from lib.inference import sources  # noqa: E402

ARMS = ("first", "queue", "random")
NUMBERS = ("score", "all-empty", "AUC", *(f"Dice of class {number}" for number in range(1, 5)))
SHORT = (
    "all.n_members=2",
    "all.height=128",
    "all.width=800",
    "all.crop_width=128",
    "10.epochs=8",
    "20.epochs=6",
    "segmenters.pretraining_strips=0",
    "segmenters.epochs=15",
)
CROPS = 320  # of an epoch of a run, both networks together


def draw(table, strips, seed):
    """The rows to judge by, to begin with and to choose from, three arrays."""
    order = np.random.default_rng(seed).permutation(len(table))
    group = table["group"].to_numpy()
    judged = order[: len(table) // 4]
    others = order[len(table) // 4 :]
    others = others[~np.isin(group[others], group[judged])]
    return judged, others[:strips], others[strips:]


def write_folder(folder, table, about):
    """Write a data folder of these rows of a table, if it is not there; the folder."""
    if not folder.is_dir():
        with data_run.new_folder(folder, about) as draft:
            data_run.write_part(draft, "train_images", "train.csv", table, table["image_id"])
            (draft / "test_images").mkdir()
    return folder


def run(name, data, strips, settings):
    """Train on a data folder and choose thresholds, or go on with it; the run's folder. UserError if it failed."""
    given = {one.partition("=")[0] for one in settings}
    short = [one for one in (*SHORT, f"all.crops={CROPS // strips}") if one.partition("=")[0] not in given]
    only = ["05", "10", "20", *data_run.segmenters(data), "40"]
    return data_run.run(name, only, "small_data", data, [*short, *settings], ("--jobs", "2"))


def named(first, pool, labelled, count, out):
    """The images that the queue names, first the one that teaches most."""
    if not out.is_dir():
        words = ["--run", first, "--images", pool, "--labelled", labelled, "--review", str(count)]
        command = [sys.executable, "-m", "lib.predict", *words, "--explore", "0", "--out", out]
        subprocess.run(command, cwd=PROJECT, check=True)
    return pd.read_csv(out / "review.csv")["image"].map(lambda name: Path(name).name).to_list()


def judge(folder, judged):
    """(N, 7) of the judged strips: NUMBERS, and the Dice of every pair (N, 4), by a run's own thresholds."""
    thresholds = sources.read_thresholds(folder)
    collected = transfer.predicted(folder, judged, thresholds)
    scored = predictions.pair_scores(collected, thresholds)
    numbers = real.numbers_of(collected, scored)
    dice = [of_class[0][0] if of_class[0] else np.nan for of_class in numbers["dice"]]
    return (
        [numbers["score"], numbers["all_empty"], numbers["auc"], *dice],
        scored.mean(axis=1),
        collected.group,
    )


def drawing(table, about, args, seed):
    """What the three arms of a drawing are worth: {arm: as from `judge`}."""
    judged, begin, pool = draw(table, args.strips, seed)
    data = PROJECT / "data" / f"review_{seed}"
    folders = {
        name: write_folder(data.with_name(f"{data.name}_{name}"), table.iloc[rows], about)
        for name, rows in (("judged", judged), ("first", begin), ("pool", pool))
    }
    first = run(f"review-{seed}-first", folders["first"], args.strips, args.p)
    out = data.with_name(f"{data.name}_predicted")
    queue = named(
        first, folders["pool"] / "train_images", folders["first"] / "train_images", args.strips, out
    )
    rows = {
        "queue": np.flatnonzero(table["image_id"].isin(queue)),
        "random": np.random.default_rng([seed, 1]).permutation(pool)[: args.strips],
    }
    runs = {"first": first}
    for arm, chosen in rows.items():
        both = table.iloc[np.concatenate([begin, chosen])]
        folder = write_folder(data.with_name(f"{data.name}_{arm}"), both, about)
        runs[arm] = run(f"review-{seed}-{arm}", folder, 2 * args.strips, args.p)
    return {arm: judge(folder, folders["judged"]) for arm, folder in runs.items()}


def page(results):
    """The results {drawing: {arm: as from `judge`}} as a table, and the paired differences."""
    heads = ["drawing", "labels", *NUMBERS]
    lines = [heads, ["---"] * len(heads)]
    for seed, arms in results.items():
        lines += [[seed, arm, *(f"{value:.3f}" for value in arms[arm][0])] for arm in ARMS]
    means = {arm: np.nanmean([arms[arm][0] for arms in results.values()], axis=0) for arm in ARMS}
    lines += [["mean", arm, *(f"{value:.3f}" for value in means[arm])] for arm in ARMS]
    text = ["| " + " | ".join(map(str, line)) + " |" for line in lines] + [""]
    for one, other in (("queue", "random"), ("queue", "first"), ("random", "first")):
        gains = [arms[one][1] - arms[other][1] for arms in results.values()]
        values = np.concatenate(gains)
        group = np.concatenate(
            [[f"{seed} {name}" for name in arms[one][2]] for seed, arms in results.items()]
        )
        low, high = statistics.bootstrap_interval(values, group)
        of_drawing = np.array([gain.mean() for gain in gains])
        by_drawing = ", ".join(f"{gain:+.3f}" for gain in of_drawing)
        if len(of_drawing) > 1:  # drawings differ by more than their strips: Student's interval of their mean
            ends = t.interval(0.95, len(of_drawing) - 1, of_drawing.mean(), sem(of_drawing))
            by_drawing += f", mean {of_drawing.mean():+.3f} ({ends[0]:+.3f} to {ends[1]:+.3f})"
        text.append(
            f"- score, {one} against {other}: over all strips {values.mean():+.3f} ({low:+.3f} to {high:+.3f}); by drawing {by_drawing}"
        )
    return "\n".join(text)


def as_text(results):
    """The results {drawing: {arm: as from `judge`}} as JSON: a strip's group by its number, its score."""
    kept = {
        seed: {
            arm: [list(map(float, numbers)), list(map(float, scores)), list(map(int, group))]
            for arm, (numbers, scores, group) in arms.items()
        }
        for seed, arms in results.items()
    }
    return json.dumps(kept) + "\n"


def read_results(path):
    """What `as_text` wrote."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    return {
        int(seed): {
            arm: (numbers, np.array(scores), np.array(group))
            for arm, (numbers, scores, group) in arms.items()
        }
        for seed, arms in kept.items()
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder in the competition's layout")
    parser.add_argument("--drawings", type=int, default=5)
    parser.add_argument("--strips", type=int, default=40, help="labelled at first, and added")
    parser.add_argument(
        "-p", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as for run_all.py; once or more"
    )
    parser.add_argument("--kept", default="", help="JSON file with the scores of drawings that are done")
    parser.add_argument("--out", default="", help="page to write the table to")
    args = parser.parse_args()
    table = dataset.load_table(args.data)
    table = table.assign(group=duplicates.find_duplicates(table["path"]))
    about = dataset.describe(args.data)
    kept = Path(args.kept) if args.kept else None
    results = read_results(kept) if kept and kept.is_file() else {}
    for seed in range(1, args.drawings + 1):
        if seed not in results:
            results[seed] = drawing(table, about, args, seed)
        if kept:
            kept.write_text(as_text(results), encoding="utf-8")
        measure.publish(page(results), args.out)


if __name__ == "__main__":
    measure.command(main)
