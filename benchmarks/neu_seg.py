"""What a profile learns from few images of NEU-Seg, judged by pictures that it has never seen in any turn.

python benchmarks/neu_seg.py --data data/neu [--profiles small_data,neu_seg] [--images 200] [--drawings 3]
    [-p SECTION.KEY=VALUE]... [--out benchmarks/neu_seg_few.md]

FOLDER is what `lib.importer` makes of NEU-Seg, published test images with their masks included. All its images
are put together and turned copies found; each drawing takes --images of them at random to learn from and 840
others, of which no turn is among those, to be judged by. Runs lie in runs/neu-*; a second call goes on where the
first was cut off. Intersection over union of all pixels of the 840, its interval from drawing pictures with all
their turns anew.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import data_run  # noqa: E402
import measure  # noqa: E402
import pandas as pd  # noqa: E402

from lib import files  # noqa: E402
from lib.data import dataset, duplicates  # noqa: E402
from lib.evaluation import overlap, scores  # noqa: E402

JUDGED = 840  # as many as the published split judges
DRAWS = 2_000


def everything(data):
    """All images of the folder with their masks and the pictures that they are turns of: a table with path,
    the run-lengths of the classes and group."""
    tests = dataset.load_truth(data, dataset.load_test_table(data))
    table = pd.concat([dataset.load_table(data), tests], ignore_index=True)
    return table.assign(group=duplicates.find_duplicates(table["path"]))


def write_drawing(folder, table, about, images, seed):
    """Write the data folder of one drawing, if it is not there; the group of each judged image by its name."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(table))
    learning = table.iloc[order[:images]]
    others = table.iloc[order[images:]]
    judged = others[~others["group"].isin(learning["group"])].head(JUDGED)
    names = {id(part): [f"{index:05}.jpg" for index in part.index] for part in (learning, judged)}
    if not folder.is_dir():
        with data_run.new_folder(folder, about) as draft:
            data_run.write_part(draft, "train_images", "train.csv", learning, names[id(learning)])
            data_run.write_part(draft, "test_images", "test_truth.csv", judged, names[id(judged)])
    return dict(zip(names[id(judged)], judged["group"], strict=True))


def overlaps(folder, data):
    """Pixels of the intersection and of the union, each (images, classes), and the images' names."""
    table, truth, predicted = overlap.read(folder / "submission.csv", data)
    pairs = scores.of_rles(truth, predicted)
    return (
        pairs.intersection,
        pairs.predicted_area + pairs.true_area - pairs.intersection,
        list(table["image_id"]),
    )


def iou_of(both, either, group):
    """Intersection over union of each class, their mean, and its 95 % interval from pictures drawn anew."""
    _, group = np.unique(group, return_inverse=True)
    sums = [np.zeros((group.max() + 1, both.shape[1])) for _ in range(2)]
    for total, values in zip(sums, (both, either), strict=True):
        np.add.at(total, group, values)
    weights = np.random.default_rng(0).multinomial(
        len(sums[0]), np.full(len(sums[0]), 1 / len(sums[0])), DRAWS
    )
    means = ((weights @ sums[0]) / np.maximum(weights @ sums[1], 1)).mean(axis=1)
    iou = both.sum(axis=0) / np.maximum(either.sum(axis=0), 1)
    return iou, iou.mean(), np.quantile(means, [0.025, 0.975])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="NEU-Seg, imported")
    parser.add_argument("--profiles", default="small_data,neu_seg")
    parser.add_argument("--images", type=int, default=200, help="images to learn from")
    parser.add_argument("--drawings", type=int, default=3)
    parser.add_argument(
        "-p", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as for run_all.py; once or more"
    )
    parser.add_argument("--out", default="", help="page to write the table to")
    args = parser.parse_args()
    source = Path(args.data).resolve()
    about, table = dataset.describe(source), everything(source)
    rows = []
    for drawing in range(1, args.drawings + 1):
        data = PROJECT / "data" / f"neu_{args.images}_{drawing}"
        group = write_drawing(data, table, about, args.images, drawing)
        for profile in args.profiles.split(","):
            settings = [f"all.seed={drawing}", *args.p]
            only = ["05", "10", "20", *data_run.segmenters(data), "40", "90"]
            folder = data_run.run(f"neu-{profile}-{drawing}", only, profile, data, settings)
            both, either, names = overlaps(folder, data)
            iou, mean, interval = iou_of(both, either, [group[name] for name in names])
            minutes = files.read_json(folder / "run.json")["seconds"] / 60
            span = f"{interval[0]:.3f} to {interval[1]:.3f}"
            rows.append([profile, drawing, *(f"{one:.3f}" for one in (*iou, mean)), span, f"{minutes:.0f}"])
    heads = ["profile", "drawing", *dataset.titles(about), "mean", "95 % interval", "minutes"]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [heads, ["---"] * len(heads), *rows]]
    measure.publish("\n".join([f"{args.images} images to learn from, {JUDGED} judged", "", *lines]), args.out)


if __name__ == "__main__":
    measure.command(main)
