"""How generated strips differ from real ones in numbers: light, grain and direction of the bare steel, and how far defects stand out.

python benchmarks/steel_statistics.py FOLDER [FOLDER...] [--strips N]

Each FOLDER is in the competition's layout. For each number the 10th, 50th and 90th percentile over strips or objects.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.data import dataset, images, rle

RING = 15  # px around an object that it is compared with
LIT = 20  # grey level above which a column is steel


def of_ground(strip, free):
    """Numbers of the bare steel of a strip, (H, W) float32; `free` (H, W) bool: lit and without a defect."""
    level = strip[free].mean()
    fine = strip - cv2.GaussianBlur(strip, (0, 0), 1.5)
    coarse = cv2.GaussianBlur(strip, (0, 0), 4)
    middle = coarse - cv2.GaussianBlur(strip, (0, 0), 24)
    columns = np.array(
        [strip[:, x][free[:, x]].mean() for x in range(strip.shape[1]) if free[:, x].sum() > 50]
    )
    rows = np.array([strip[y][free[y]].mean() for y in range(strip.shape[0]) if free[y].sum() > 50])
    smooth = cv2.GaussianBlur(strip, (0, 0), 2)
    across, along = np.diff(smooth, axis=1)[:-1], np.diff(smooth, axis=0)[:, :-1]
    inside = free[:-1, :-1]
    return {
        "mean level": level,
        "grain: deviation below 1.5 px, share of the level": fine[free].std() / level,
        "blotches: deviation from 4 to 24 px, share": middle[free].std() / level,
        "columns' means, deviation, share": columns.std() / level,
        "rows' means, deviation, share": rows.std() / level,
        "gradient along x over that along y": across[inside].std() / along[inside].std(),
        "bright specks, a thousandth of the pixels": 1000 * (fine[free] > 0.25 * level).mean(),
        "dark specks, a thousandth of the pixels": 1000 * (fine[free] < -0.2 * level).mean(),
        "glare (250 and more), a thousandth": 1000 * (strip[free] >= 250).mean(),
        "dark side, share of the columns": 1 - free.any(axis=0).mean(),
    }


def of_object(strip, mask, free):
    """How far an object, `mask` (H, W) bool, stands out from the ring around it, shares of the ring's mean."""
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((2 * RING + 1,) * 2, np.uint8)).astype(bool) & free
    if ring.sum() < 50:
        return None
    around, inside = strip[ring], strip[mask]
    level = around.mean() + 1
    quantiles = np.quantile(inside, (0.05, 0.95)) / level
    usual = np.quantile(around, (0.05, 0.95)) / level
    return {
        "mean, share of the ring's": inside.mean() / level,
        "deviation over the ring's": inside.std() / max(around.std(), 1),
        "darkest 5 %, below the ring's": usual[0] - quantiles[0],
        "brightest 5 %, above the ring's": quantiles[1] - usual[1],
    }


def numbers_of(folder, strips):
    """All numbers of a folder: {(kind, name): list of values}."""
    table = dataset.load_table(folder)
    found = {}
    for row in table.sample(min(strips, len(table)), random_state=0).itertuples():
        strip = images.read_image(row.path).astype(np.float32)
        columns = [getattr(row, name) for name in dataset.rle_columns(table)]
        masks = np.stack([rle.decode(text, strip.shape) for text in columns], axis=2).astype(bool)
        lit = (strip.mean(axis=0) > LIT)[None, :] & ~masks.any(axis=2)
        if lit.mean() > 0.1:
            for name, value in of_ground(strip, lit).items():
                found.setdefault(("ground", name), []).append(value)
        for index in range(masks.shape[2]):
            count, labels = cv2.connectedComponents(masks[..., index].astype(np.uint8))
            for one in range(1, count):
                for name, value in (of_object(strip, labels == one, lit) or {}).items():
                    found.setdefault((f"class {index + 1}", name), []).append(value)
    return found


def main(words=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--strips", type=int, default=400)
    args = parser.parse_args(words)
    found = [numbers_of(folder, args.strips) for folder in args.folders]
    print("| of | number | " + " | ".join(args.folders) + " |\n|" + "---|" * (2 + len(found)))
    for kind, name in sorted(set().union(*found), key=lambda key: (key[0] != "ground", key[0])):
        cells = [
            " / ".join(f"{value:.2f}" for value in np.quantile(one[kind, name], (0.1, 0.5, 0.9)))
            if (kind, name) in one
            else "–"
            for one in found
        ]
        print(f"| {kind} | {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
