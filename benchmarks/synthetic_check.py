"""Compare generated strips with the published facts of the real ones, and see whether global statistics give
the task away.

python benchmarks/synthetic_check.py [--set DIR] [--train 600] [--seed 7] [--facts FILE] [--real DIR]
[--picture FILE] [--write]

Facts and real strips are looked for in the folder named by SEVERSTAL_REAL; columns without them stay empty.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from lib.data import rle  # noqa: E402
from lib.synthetic import generate, planning  # noqa: E402

REAL = Path(os.environ.get("SEVERSTAL_REAL", PROJECT / "data" / "severstal_real"))
TITLES = {
    "area": "mask area, px",
    "height": "object height, px",
    "width": "object width, px",
    "objects": "objects an image",
}
COLOURS = {1: (0, 0, 255), 2: (0, 255, 0), 3: (255, 90, 0), 4: (255, 255, 0)}


def read_set(folder):
    """The images of a folder in the competition's layout: a dictionary image_id -> {defect class: rle}."""
    table = pd.read_csv(folder / "train.csv")
    strips = {path.name: {} for path in sorted((folder / "train_images").glob("*.jpg"))}
    for row in table.itertuples():
        strips[row.ImageId][row.ClassId] = row.EncodedPixels
    return strips


def mask_statistics(strips):
    """Medians per class of mask area, object height and width and objects per image, and where masks touch
    the borders."""
    statistics = {
        defect_class: {"area": [], "height": [], "width": [], "objects": [], "touch": [], "full": []}
        for defect_class in range(1, 5)
    }
    for masks in strips.values():
        for defect_class, text in masks.items():
            mask = rle.decode(text)
            count, _, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            mine = statistics[defect_class]
            mine["area"].append(int(mask.sum()))
            mine["objects"].append(count - 1)
            mine["height"] += boxes[1:, cv2.CC_STAT_HEIGHT].tolist()
            mine["width"] += boxes[1:, cv2.CC_STAT_WIDTH].tolist()
            mine["touch"].append(bool(mask[0].any() and mask[-1].any()))
            mine["full"] += (boxes[1:, cv2.CC_STAT_HEIGHT] >= 250).tolist()
    return statistics


def fact_medians(facts, defect_class):
    """The same medians as the facts have them."""
    mine = facts[f"class{defect_class}"]
    counts = np.repeat(
        [int(objects) for objects in mine["objects_per_positive_image"]],
        list(mine["objects_per_positive_image"].values()),
    )
    return {
        "area": mine["mask_area_px_quantiles"]["0.5"],
        "height": mine["object_h_q"]["0.5"],
        "width": mine["object_w_q"]["0.5"],
        "objects": float(np.median(counts)),
    }


def global_statistics(image):
    """A dozen and a half statistics of a whole strip that know nothing of where anything lies."""
    image = image.astype(np.float32)
    rows, columns = cv2.Sobel(image, cv2.CV_32F, 0, 1), cv2.Sobel(image, cv2.CV_32F, 1, 0)
    edges, laplacian = cv2.magnitude(rows, columns), cv2.Laplacian(image, cv2.CV_32F)
    values = [
        image.mean(),
        image.std(),
        *np.quantile(image[::2, ::2], (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)),
    ]
    values += [edges.mean(), edges.std(), *np.quantile(edges[::2, ::2], (0.9, 0.99)), laplacian.std()]
    values += [
        np.abs(rows).mean(),
        np.abs(columns).mean(),
        image.mean(axis=0).std(),
        image.mean(axis=1).std(),
    ]
    return values


def forest_accuracy(images, defective):
    """Binary accuracy of a random forest on the global statistics: 5 folds, three times."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score

    values = np.array([global_statistics(image) for image in images])
    forest = RandomForestClassifier(300, random_state=0, min_samples_leaf=2)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0)
    return float(cross_val_score(forest, values, defective, cv=folds).mean())


def strips_a_second(count=64):
    """Strips made, encoded and written on one core a second, the noise banks already there."""
    planned = planning.plan("train", count, 99)
    with tempfile.TemporaryDirectory() as folder:
        generate.write_chunk((folder, planned[:4]))
        started = time.process_time(), time.perf_counter()
        generate.write_chunk((folder, planned))
        return count / (time.process_time() - started[0]), count / (time.perf_counter() - started[1])


def picture(sets, path, rows=16):
    """Save strips of several sets side by side, half size, masks outlined, sorted by class."""
    columns = []
    for folder, strips in sets:
        chosen = sorted(
            sorted(strips)[:: max(1, len(strips) // rows)][:rows],
            key=lambda name: sorted(strips[name]) or [0],
        )
        column = []
        for name in chosen:
            image = cv2.imread(str(folder / "train_images" / name))
            for defect_class, text in strips[name].items():
                borders, _ = cv2.findContours(rle.decode(text), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(image, borders, -1, COLOURS[defect_class], 3)
            column.append(
                cv2.copyMakeBorder(
                    cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
                    2,
                    2,
                    4,
                    4,
                    cv2.BORDER_CONSTANT,
                    value=(255, 255, 255),
                )
            )
        columns.append(np.vstack(column))
    least = min(len(column) for column in columns)
    cv2.imwrite(str(path), np.hstack([column[:least] for column in columns]))


def brightness(folder, strips, images):
    """Grey mean and deviation over all pixels (share of full scale), and the median strip's mean."""
    levels = np.stack([[image.mean(), (image.astype(np.float32) ** 2).mean()] for image in images])
    mean = levels[:, 0].mean()
    sizes = [(folder / "train_images" / name).stat().st_size / 1024 for name in strips]
    deviation = float(np.sqrt(levels[:, 1].mean() - mean**2))
    return {
        "mean grey level": mean / 255,
        "standard deviation": deviation / 255,
        "median strip's mean grey level": float(np.median(levels[:, 0])) / 255,
        "median file size, kB": float(np.median(sizes)),
    }


def table(strips, folder, facts, real, label):
    """The report as Markdown lines, and whether every median is within 25 % of the facts."""
    lines = [f"| figure | generated ({label}) | facts | ratio |", "|---|---|---|---|"]
    within = True
    statistics = mask_statistics(strips)
    for defect_class, mine in statistics.items():
        wanted = fact_medians(facts, defect_class) if facts else {}
        for name, title in TITLES.items():
            value = float(np.median(mine[name])) if mine[name] else float("nan")
            ratio = value / wanted[name] if wanted else None
            within &= ratio is None or 0.75 <= ratio <= 1.25
            shown = "" if ratio is None else f"{ratio:.2f}"
            lines.append(
                f"| class {defect_class}: median {title} | {value:g} | {wanted.get(name, '')} | {shown} |"
            )
    lines.append(
        f"| class 3: masks that touch top and bottom | {np.mean(statistics[3]['touch']):.0%} | 46% | |"
    )
    lines.append(f"| class 3: objects 250 px or higher | {np.mean(statistics[3]['full']):.0%} | 33% | |")
    images = [cv2.imread(str(folder / "train_images" / name), cv2.IMREAD_GRAYSCALE) for name in strips]
    light = brightness(folder, strips, images)
    real_light = brightness(*real) if real else {}
    published = {"mean grey level": 0.344, "standard deviation": 0.196}
    for name, value in light.items():
        reference = published.get(name, real_light.get(name))
        text = (
            ""
            if reference is None
            else f"{reference:.3g}" + ("" if name in published else f" ({len(real[1])} real strips)")
        )
        lines.append(
            f"| {name} | {value:.3g} | {text} | {'' if reference is None else f'{value / reference:.2f}'} |"
        )
        within &= reference is None or name.startswith("median file") or 0.75 <= value / reference <= 1.25
    return lines, within, images


def combinations(facts):
    """How often each label combination comes in a full set with the competition's shares, beside the
    facts."""
    planned = Counter(entry.labels for entry in planning.plan("train", 12568, 42, lift=False))
    lifted = Counter(entry.labels for entry in planning.plan("train", 1000, 42))
    lines = [
        "| labels | generated, 12,568 strips | facts | demo, 1,000 strips (lifted) |",
        "|---|---|---|---|",
    ]
    for labels in planning.FACTS:
        key = "+".join(map(str, labels)) or "none"
        lines.append(
            f"| {key} | {planned[labels]} | {facts['label_combos'][key] if facts else ''} | {lifted[labels]} |"
        )
    return lines


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", help="a set made earlier; by default one is made and thrown away")
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--facts", default=str(REAL / "severstal_facts.json"))
    parser.add_argument("--real", default=str(REAL))
    parser.add_argument("--picture", help="save real and generated strips side by side here")
    parser.add_argument("--write", action="store_true", help="write the report to benchmarks/synthetic.md")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    facts = json.loads(Path(args.facts).read_text()) if Path(args.facts).is_file() else None
    real = None
    if (Path(args.real) / "train.csv").is_file():
        strips = read_set(Path(args.real))
        images = [
            cv2.imread(str(Path(args.real) / "train_images" / name), cv2.IMREAD_GRAYSCALE) for name in strips
        ]
        real = Path(args.real), strips, images
    with tempfile.TemporaryDirectory() as scratch:
        folder = (
            Path(args.set) if args.set else generate.generate(Path(scratch) / "set", args.train, 8, args.seed)
        )
        strips = read_set(folder)
        lines, within, images = table(strips, folder, facts, real, f"{len(strips)} strips")
        accuracy = forest_accuracy(images, np.array([bool(masks) for masks in strips.values()]))
        if args.picture:
            picture(([real[:2]] if real else []) + [(folder, strips)], args.picture)
    processor, wall = strips_a_second()
    defective = np.mean([bool(masks) for masks in strips.values()])
    verdict = (
        f"All medians within 25 %: {'yes' if within else 'no'}."
        if facts
        else "No facts file here to compare with."
    )
    report = [
        "# Generated strips against the facts of the real ones\n",
        "Made by `python benchmarks/synthetic_check.py --write`; medians are to lie within 25 % of the facts.\n",
        *lines,
        f"\n{verdict}\n",
        f"Random forest on 18 global grey-level and edge statistics: binary accuracy {accuracy:.3f} (5 folds, 3 times; "
        f"always the commoner answer: {max(defective, 1 - defective):.3f}).\n",
        f"Generation, JPEG writing included: {processor:.0f} strips a second of one core's time, {wall:.0f} by the clock.\n",
        *combinations(facts),
        "",
    ]
    print("\n".join(report))
    if args.write:
        (PROJECT / "benchmarks" / "synthetic.md").write_text("\n".join(report), encoding="utf-8")


if __name__ == "__main__":
    main()
