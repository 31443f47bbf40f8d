"""Do budgets keep what they state? Ten data sets that a run's networks have never seen.

python benchmarks/budget_check.py [--run runs/latest] [--sets 10] [--strips 400] [--seed 2001] [--out FILE]
python benchmarks/budget_check.py --drawn 300 [--out FILE]

Each set of generated strips, whose coils are named (the strips that share their steel), chooses thresholds for a
budget, as 40_evaluation does, and states its interval; the other sets together tell what those thresholds come to on
new strips. The networks are a demo's (make run), which learned from other strips of the same kind.

--drawn needs no run: so many tables of answers drawn with known likeness of the strips of a coil, each for a number of
coils and a kind of likeness, among them a few coils whose strips are all taken for defective.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import norm

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import measure  # noqa: E402
import trained_run  # noqa: E402

from lib import paths  # noqa: E402
from lib.data import dataset, duplicates, grouping  # noqa: E402
from lib.evaluation import alarms, budgets, predictions, statistics, threshold_search  # noqa: E402
from lib.inference import cascade, sources  # noqa: E402
from lib.inference.postprocess import PostprocessConfig  # noqa: E402
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


def judged(own, by_fold, base, budget):
    """(thresholds that are handed on, stated interval, sentence on it) of a budget, as 40_evaluation has them."""
    marked = budgets.cross_fitted_alarms(own, by_fold, budget)
    chosen = budgets.choose(own, base, budget)
    names = [str(number) for number in range(1, marked.shape[1] + 1)]
    result = alarms.achieved(own, marked, names, handed_on=budgets.alarm_areas(own, chosen) > 0)
    kind = "false_alarms_interval" if budget.name == budgets.FALSE_ALARMS else "recall_interval"
    return chosen, result.iloc[0][kind], alarms.remarks(own, budget, marked, result)[0]


def kept(collected, strategy, limit):
    """How often, over all sets, the stated interval holds what new strips give, and the limit is kept; the shares on
    new strips."""
    (budget,) = budgets.of_parameters(limit.get("max_false_alarms", 0), [], limit.get("min_recall", 0), [], 4)
    inside, within, rates = 0, 0, []
    for index, own in enumerate(collected):
        by_fold = threshold_search.fold_thresholds(own, strategy)
        base = threshold_search.choose_thresholds(own, strategy)
        chosen, (low, high), _ = judged(own, by_fold, base, budget)
        few = budget.name == budgets.FALSE_ALARMS
        others = [one for other, one in enumerate(collected) if other != index]
        new = float(
            np.mean([share(budgets.alarm_areas(one, chosen) > 0, one, budget.name) for one in others])
        )
        inside += low <= new <= high
        within += new <= budget.limit if few else new >= 1 - budget.limit
        rates.append(new)
    return inside, within, rates


KINDS = {  # likeness of the strips of a coil, and the share of coils whose strips all answer three deviations higher
    "alike by 0": (0.0, 0.0),
    "alike by 0.15": (0.15, 0.0),
    "alike by 0.3": (0.3, 0.0),
    "one coil in 25 is bad": (0.0, 0.04),
}
COILS = ((10, 40), (25, 16), (50, 8), (150, 8))  # (coils, strips of each), half of the strips defect-free
FRESH = 1500  # coils of the new strips


def answers(rng, coils_of, strips, likeness, bad):
    """CascadePredictions of drawn answers to strips of so many coils; every other strip is defective."""
    coil = np.repeat(np.arange(coils_of), strips)
    own = np.sqrt(likeness) * rng.normal(size=coils_of) + 3 * (rng.random(coils_of) < bad)
    has_defect = (np.arange(len(coil)) % 2 == 1)[:, None]
    values = own[coil] + np.sqrt(1 - likeness) * rng.normal(size=len(coil)) + 2.5 * has_defect[:, 0]
    area = np.full((len(coil), 1), 50)
    maps = area[..., None, None]
    return predictions.CascadePredictions(
        np.float32(norm.cdf(values / 3)), np.full(area.shape, 0.5, np.float32), has_defect * 100,
        maps, np.minimum(maps, (has_defect * 100)[..., None, None]), coil, (0.5,), (0,),
    )  # fmt: skip


def drawn(count, kind, coils_of, strips, limit):
    """Of so many drawn tables: how often the stated interval holds what new strips give, the limit is kept, it is
    promised, and kept where it is promised."""
    likeness, bad = KINDS[kind]
    (budget,) = budgets.of_parameters(limit, [], 0, [], 1)
    base = PostprocessConfig("binary filter", 0.0, (0.0,), (0.5,), (0,), (0,))
    rows = []
    for seed in range(count):
        rng = np.random.default_rng([seed, coils_of, limit])
        own, new = answers(rng, coils_of, strips, likeness, bad), answers(rng, FRESH, 4, likeness, bad)
        fold = statistics.assign_folds(own.group, 5)
        chosen, (low, high), remark = judged(own, [(fold == part, base) for part in range(5)], base, budget)
        rate = share(budgets.alarm_areas(new, chosen) > 0, new, budget.name)
        promised = "no promise" not in remark
        rows.append((low <= rate <= high, rate <= budget.limit, promised, promised and rate <= budget.limit))
    return np.mean(rows, axis=0)


def table_of_drawn(count):
    """The results of `drawn` as a table."""
    lines = [
        "| coils | strips | likeness | limit | interval holds | limit kept | promised | kept of promised |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for coils_of, strips in COILS:
        for kind in KINDS:
            for limit in (20, 50, 100):
                inside, within, promised, both = drawn(count, kind, coils_of, strips, limit)
                of_promised = f"{both / promised:.2f}" if promised else ""
                lines.append(
                    f"| {coils_of} | {coils_of * strips} | {kind} | {limit} | {inside:.2f} | {within:.2f} | {promised:.2f} "
                    f"| {of_promised} |"
                )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    trained_run.add_argument(parser)
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--strips", type=int, default=400, help="of each set")
    parser.add_argument("--seed", type=int, default=2001, help="of the first set")
    parser.add_argument("--drawn", type=int, default=0, help="tables of drawn answers, in place of sets")
    parser.add_argument("--out", default="", help="page to write the table to")
    args = parser.parse_args()
    if args.drawn:
        measure.publish(table_of_drawn(args.drawn), args.out)
        return
    run = Path(args.run)
    thresholds = sources.read_thresholds(run)
    collected = []
    for seed in range(args.seed, args.seed + args.sets):
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
