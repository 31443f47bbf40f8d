"""How good is a profile on real strips? Every strip is predicted by networks that never saw it, by thresholds
that other strips chose.

python benchmarks/real.py --data FOLDER [--profile small_data] [--seeds 42] [-p SECTION.KEY=VALUE]...
    [--out benchmarks/real.md]

FOLDER is in the competition's layout. For each seed the pipeline runs with nothing held out (small_data does
so; another profile gets `all.held_out=0 all.n_members=3 all.keep=last`): a cross-validation whose folds keep
near-duplicates together and spread the classes, drawn anew for each seed. Runs lie in runs/real-*; a second
call goes on where the first was cut off. Two hours a seed for 161 strips on two cores with small_data.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import data_run  # noqa: E402
import measure  # noqa: E402

from lib import files  # noqa: E402
from lib.evaluation import metrics, predictions, statistics, threshold_search  # noqa: E402
from lib.inference import sources  # noqa: E402

OUT_OF_FOLD = ("all.held_out=0", "all.n_members=3", "all.keep=last")


def run(args, seed):
    """Run the pipeline for one seed, or go on with it; the run's folder. UserError if it failed."""
    only = ["05", "10", "20", *data_run.segmenters(args.data), "40"]
    settings = [f"all.seed={seed}", *(() if args.profile == "small_data" else OUT_OF_FOLD), *args.p]
    return data_run.run(f"real-{args.profile}-{seed}", only, args.profile, args.data, settings)


def area_under(truth, probability):
    """The area under the ROC curve, NaN where there is one kind only."""
    return roc_auc_score(truth, probability) if 0 < truth.sum() < len(truth) else float("nan")


def unfiltered_dice(collected):
    """Dice (N, C, T) at each pixel threshold, no piece dropped."""
    return metrics.dice(
        collected.intersection[..., 0], collected.area[..., 0], collected.true_area[..., None]
    )


def dice_by_others(collected):
    """Dice (N, C) without any filter, each strip with a class at the pixel threshold that has the highest mean Dice
    over the other groups with it; a class of one group at one half; 0 elsewhere."""
    half = predictions.nearest_index(collected.pixel_thresholds, 0.5)
    dices = unfiltered_dice(collected)
    result = np.zeros(collected.true_area.shape)
    for class_index, positive in enumerate((collected.true_area > 0).T):
        for group in np.unique(collected.group[positive]):
            inside = positive & (collected.group == group)
            others = dices[positive & ~inside, class_index]
            result[inside, class_index] = dices[
                inside, class_index, others.mean(axis=0).argmax() if len(others) else half
            ]
    return result


def numbers_of(collected, scored):
    """What predictions are worth, a dictionary: strips, score, all-empty score, gain with its interval, areas
    under curves, Dice.

    Arguments:
        collected: CascadePredictions; scored: (N, C) Dice of each pair by thresholds that its strip did not choose.
    """
    has_defect = collected.true_area > 0
    gain = (scored - ~has_defect).mean(axis=1)
    half = predictions.nearest_index(collected.pixel_thresholds, 0.5)
    plain = unfiltered_dice(collected)[..., half]
    chosen = dice_by_others(collected)
    dices = [
        tuple(np.where(positive, one[:, class_index], np.nan) for one in (plain, chosen, scored))
        for class_index, positive in enumerate(has_defect.T)
    ]
    return {
        "strips": len(has_defect),
        "positives": has_defect.sum(axis=0),
        "score": scored.mean(),
        "all_empty": 1 - has_defect.mean(),
        "gain": gain.mean(),
        "gain_interval": statistics.bootstrap_interval(gain, collected.group),
        "auc": area_under(has_defect.any(axis=1), collected.defect_probability),
        "auc_classes": [
            area_under(positive, stated)
            for positive, stated in zip(has_defect.T, collected.class_probability.T, strict=True)
        ],
        "dice": [
            [
                (np.nanmean(values), statistics.bootstrap_interval(values, collected.group))
                if np.isfinite(values).any()
                else None
                for values in pair
            ]
            for pair in dices
        ],
    }


def metrics_of(folder, seed):
    """What one run found: `numbers_of` its out-of-fold predictions, with seed and minutes."""
    collected = predictions.CascadePredictions.load(sources.file_in(folder, sources.PREDICTIONS))
    cross_fitted = threshold_search.cross_fit(collected, sources.read_thresholds(folder).strategy, seed=seed)
    minutes = files.read_json(folder / "run.json")["seconds"] / 60
    return {"seed": seed, **numbers_of(collected, cross_fitted), "minutes": minutes}


def with_interval(pair):
    """A mean and its interval, as a table shows them."""
    return "–" if pair is None else f"{pair[0]:.2f} ({pair[1][0]:.2f} to {pair[1][1]:.2f})"


def text_of(results, command):
    """The section: the command, and two tables, of whole runs and of classes."""
    lines = [
        f"`{command}`, {measure.machine()}.",
        "",
        "| seed | strips | score | all-empty | gain, 95 % interval | AUC of the binary classifier | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results:
        low, high = one["gain_interval"]
        lines.append(
            f"| {one['seed']} | {one['strips']} | {one['score']:.4f} | {one['all_empty']:.4f} | {one['gain']:+.4f} ({low:+.4f} to "
            f"{high:+.4f}) | {one['auc']:.3f} | {one['minutes']:.0f} |"
        )
    lines += [
        "",
        "| seed | class | strips with it | AUC of its label | Dice over them, no filter, threshold 0.5 "
        "| no filter, threshold chosen by the others | with all filters |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results:
        for class_index, count in enumerate(one["positives"]):
            dices = " | ".join(map(with_interval, one["dice"][class_index]))
            lines.append(
                f"| {one['seed']} | {class_index + 1} | {count} | {one['auc_classes'][class_index]:.2f} | {dices} |"
            )
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder in the competition's layout")
    parser.add_argument("--profile", default="small_data")
    parser.add_argument("--seeds", default="42")
    parser.add_argument(
        "-p", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as for run_all.py; once or more"
    )
    parser.add_argument("--out", default="", help="page to write the section to")
    args = parser.parse_args()
    results = [metrics_of(run(args, seed), seed) for seed in map(int, args.seeds.split(","))]
    settings = "".join(f" -p {one}" for one in args.p)
    command = (
        f"python benchmarks/real.py --data FOLDER --profile {args.profile} --seeds {args.seeds}{settings}"
    )
    measure.publish(text_of(results, command), args.out)


if __name__ == "__main__":
    measure.command(main)
