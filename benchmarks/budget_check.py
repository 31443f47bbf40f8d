"""Do budgets keep what they state? Ten data sets that a run's networks have never seen.

python benchmarks/budget_check.py [--run runs/latest] [--sets 10] [--strips 400] [--out FILE]

Each set of generated strips, whose coils are named (the strips that share their steel), chooses thresholds for a
budget, as 40_evaluation does, and states the interval of what was achieved on strips that did not choose; the
other sets together tell what those thresholds come to on new strips. The networks are a demo's, which learned
from other strips of the same kind.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import measure  # noqa: E402
import trained_run  # noqa: E402

from lib import paths  # noqa: E402
from lib.data import dataset, duplicates, grouping  # noqa: E402
from lib.evaluation import alarms, budgets, predictions, threshold_search  # noqa: E402
from lib.inference import cascade, sources  # noqa: E402
from lib.synthetic import generate, planning  # noqa: E402

BUDGETS = [{"max_false_alarms": 20}, {"max_false_alarms": 50}, {"max_false_alarms": 100}, {"min_recall": 0.9}]


def predicted(run, thresholds, strips, seed):
    """CascadePredictions of a run's networks on newly generated strips."""
    folders = paths.network_folders(run / "models", thresholds.classes)
    networks = cascade.open_networks(folders, thresholds.tta, thresholds.classifier_tta)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        generate.generate(data, strips, 8, seed, contrast=generate.CLEAR)
        table = dataset.load_table(data)
        coil = np.array([strip.roll for strip in planning.plan("train", strips, seed)])
        group = grouping.joined_groups([duplicates.find_duplicates(table["path"]), coil])
        table = table.assign(group=group)
        rles = table[dataset.rle_columns(table)].to_numpy().tolist()
        return predictions.collect_predictions(networks, table, rles, thresholds.shape)


def share(marked, collected, kind):
    """Of the defect-free images the share with an alarm, or of the defective ones."""
    defective = collected.has_defect.any(axis=1)
    return float(marked.any(axis=1)[~defective if kind == budgets.FALSE_ALARMS else defective].mean())


def kept(collected, strategy, limit):
    """How often, over all sets, the stated interval holds what new strips give, and the limit is kept; the shares on
    new strips."""
    (budget,) = budgets.of_parameters(limit.get("max_false_alarms", 0), [], limit.get("min_recall", 0), [], 4)
    inside, within, rates = 0, 0, []
    for index, own in enumerate(collected):
        by_fold = threshold_search.fold_thresholds(own, strategy)
        marked = budgets.cross_fitted_alarms(own, by_fold, budget)
        chosen = budgets.choose(own, threshold_search.choose_thresholds(own, strategy), budget)
        handed_on = budgets.alarm_areas(own, chosen) > 0
        stated = alarms.achieved(own, marked, ["1", "2", "3", "4"], handed_on=handed_on).iloc[0]
        few = budget.name == budgets.FALSE_ALARMS
        low, high = stated["false_alarms_interval" if few else "recall_interval"]
        others = [one for other, one in enumerate(collected) if other != index]
        new = float(
            np.mean([share(budgets.alarm_areas(one, chosen) > 0, one, budget.name) for one in others])
        )
        inside += low <= new <= high
        within += new <= budget.limit if few else new >= 1 - budget.limit
        rates.append(new)
    return inside, within, rates


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    trained_run.add_argument(parser)
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--strips", type=int, default=400, help="of each set")
    parser.add_argument("--out", default="", help="page to write the table to")
    args = parser.parse_args()
    run = Path(args.run)
    thresholds = sources.read_thresholds(run)
    collected = []
    for seed in range(1001, 1001 + args.sets):
        collected.append(predicted(run, thresholds, args.strips, seed))
        print(f"{len(collected)} of {args.sets} sets")
    lines = [
        "| budget | sets whose stated interval holds what new strips give | sets that keep it on new strips | on new strips |",
        "|---|---|---|---|",
    ]
    for limit in BUDGETS:
        inside, within, rates = kept(collected, "binary filter", limit)
        ((name, value),) = limit.items()
        span = f"{min(rates):.3f} to {max(rates):.3f}, mean {np.mean(rates):.3f}"
        lines.append(f"| `{name}={value}` | {inside} of {args.sets} | {within} of {args.sets} | {span} |")
    measure.publish("\n".join(lines), args.out)


if __name__ == "__main__":
    measure.command(main)
