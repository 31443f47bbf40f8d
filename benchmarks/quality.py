"""The ablation table: what each piece of the recipe is worth, on generated strips at a size that two cores manage.

python benchmarks/quality.py [--seeds 1,2,3] [--train 900] [--only NAME,NAME] [--jobs 2] [--table] [--out benchmarks/quality.md]

For each seed the recipe is run once; then, in a copy of that run, each variant: only what its parameters touch is trained anew. The
held-out strips of a seed are the same for all variants, so that differences are paired. Runs lie in runs/quality-*; a second call
goes on where the first was cut off. --table only makes the table of what is there.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from lib import decision, paths, plan, synthetic  # noqa: E402

BASE = "full, cut to size"
ARTICLE = ("10.locate=false", "20.locate=false", "10.crop_width=0", "20.crop_width=0", "10.height=128", "10.width=128", "20.height=128",
           "20.width=128", "20.balance=false", "20.defective_only=true", "all.loss=bce", "all.negatives=0.0", "all.schedule=constant",
           *(f"{name}.crop_width=0" for name in plan.SEGMENTERS))  # fmt: skip
VARIANTS = {  # what differs from the base
    BASE: (),
    "article, cut to size": ARTICLE,
    "classifiers: strips squashed to 128 x 128": ("10.height=128", "10.width=128", "20.height=128", "20.width=128",
                                                 "10.crop_width=0", "20.crop_width=0"),
    "classifiers: whole strips, no crops": ("10.crop_width=0", "20.crop_width=0"),
    "classifiers: labels alone, no masks": ("10.locate=false", "20.locate=false", "10.crop_width=0", "20.crop_width=0"),
    "segmenters: whole strips, no crops": tuple(f"{name}.crop_width=0" for name in plan.SEGMENTERS),
    "segmenters: cross-entropy alone": ("all.loss=bce",),
    "segmenters: Dice alone": ("all.loss=dice",),
    "segmenters: focal loss": ("all.loss=focal",),
    "segmenters: defective strips alone": ("all.negatives=0.0",),
    "constant learning rate": ("all.schedule=constant",),
    "no flips": ("all.flips=none",),
    "vertical flips alone": ("all.flips=vertical",),
    "light unchanged": ("all.brightness=0.0", "all.contrast=0.0"),
    "no mirrored copies at prediction": ('40.tta=["none"]',),
    "all mirrored copies at prediction": ('40.tta=["none", "vertical", "horizontal", "both"]',),
    "random split, as in the article": ("all.split_method=random",),
}  # fmt: skip
NOTEBOOKS = "05,10,20,31,32,33,34,40"


def folder_of(name, seed):
    """The run folder of a variant and seed."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in name)
    return PROJECT / "runs" / f"quality-{slug}-{seed}"


def run(name, seed, data, jobs):
    """Run a variant where it is not there yet."""
    folder, base = folder_of(name, seed), folder_of(BASE, seed)
    if (folder / "evidence.npz").is_file() and (folder / "done").is_file():
        return
    if name != BASE and not folder.exists():
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns("scratch", "done", ".lock", "*.html"))
    known = (folder / "run.json").is_file()
    command = [sys.executable, str(PROJECT / "run_all.py"), "--run", folder.name, "--only", NOTEBOOKS, "--jobs", str(jobs),
               "-p", f"all.seed={seed}"]  # fmt: skip
    command += ["--resume"] if known else ["--profile", "demo", "--data", str(data)]
    for setting in VARIANTS[name]:
        command += ["-p", setting]
    print(" ".join(command), flush=True)
    if subprocess.run(command, check=False).returncode == 0:
        (folder / "done").touch()


def figures_of(name, seeds):
    """(scores, group, minutes, all-empty score) of a variant over the seeds that are there; None if none is."""
    scores, groups, minutes, empty = [], [], [], []
    for seed in seeds:
        folder = folder_of(name, seed)
        if (folder / "done").is_file():
            evidence = decision.Evidence.load(folder / "evidence.npz")
            scores.append(decision.cross_fit(evidence).mean(axis=1))
            groups.append(evidence.group)
            journal = paths.read_json(folder / "run.json")
            minutes.append(sum(one["seconds"] for one in journal["notebooks"].values() if one["status"] == "done") / 60)
            empty.append((evidence.true_area == 0).mean())
    return (scores, groups, float(np.mean(minutes)), float(np.mean(empty))) if scores else None


def table(seeds, given):
    """The page."""
    found = {name: figures for name in VARIANTS if (figures := figures_of(name, seeds))}
    if BASE not in found:
        raise paths.UserError(f"No run of {BASE!r} is finished. Call this without --table first.")
    base, groups, _, empty = found[BASE]
    group = np.concatenate(groups)
    lines = [
        "## Ablations on generated strips", "",
        f"Made by `python benchmarks/quality.py --seeds {','.join(map(str, seeds))} --train {given.train}`: {given.train} strips, "
        f"{len(base[0])} of them held out, {len(base)} seeds; the all-empty score is {empty:.4f}. Scores are cross-fitted; differences "
        "are paired over the same held-out strips, with 95 % intervals from a bootstrap over strips. Minutes are those of the notebooks "
        "that the variant trains anew.", "",
        "| recipe | score | of each seed | difference to the first row | 95 % interval | minutes |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, (scores, other, minutes, _) in found.items():
        each = ", ".join(f"{values.mean():.4f}" for values in scores)
        row = f"| {name} | {np.concatenate(scores).mean():.4f} | {each} | "
        same = len(scores) == len(base) and all(np.array_equal(a, b) for a, b in zip(groups, other, strict=True))
        if name == BASE or not same:
            row += "| | " if name == BASE else "other held-out strips | | "
        else:
            difference = np.concatenate(scores) - np.concatenate(base)
            low, high = decision.bootstrap_interval(difference, group)
            row += f"{difference.mean():+.4f} | {low:+.4f} to {high:+.4f} | "
        lines.append(row + f"{minutes:.0f} |")
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--train", type=int, default=900, help="generated strips, of which a fifth is held out")
    parser.add_argument("--only", default="", help="some variants by the beginning of their names, commas between them")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="only make the table")
    parser.add_argument("--out", default="", help="page to write")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    wanted = [name for name in VARIANTS if not given.only or name == BASE or name.startswith(tuple(given.only.split(",")))]
    if not given.table:
        data = synthetic.generate(PROJECT / "data" / f"generated-{given.train}-60-7", given.train, 60, 7)
        for name in wanted:
            for seed in seeds:
                run(name, seed, data, given.jobs)
    text = table(seeds, given)
    print(text)
    if given.out:
        paths.write_atomic(given.out, text)


if __name__ == "__main__":
    try:
        main()
    except paths.UserError as error:
        sys.exit(f"error: {error}")
