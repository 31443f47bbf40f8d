"""How generated strips differ from real ones: light, grain and direction of the bare steel, how far defects
stand out, and how well a classifier tells patches of the two apart.

python benchmarks/steel_statistics.py REAL GENERATED [GENERATED...] [--strips N]

Each folder is in the competition's layout. For each number the 10th, 50th and 90th percentile over strips or
objects. The classifier is a logistic regression on ImageNet's features of 256 x 256 pixels, judged on strips that
it has not seen: an area under the curve of 0.5 would mean that it cannot tell.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import measure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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


def patches_of(folder, strips, rng):
    """Patches (N, 256, 256) uint8 of a folder, what each lies about ("ground" or a class), and its strip."""
    table = dataset.load_table(folder)
    patches, kinds, groups = [], [], []
    for row in table.sample(min(strips, len(table)), random_state=0).itertuples():
        strip = images.read_image(row.path)
        masks = [rle.decode(getattr(row, name), strip.shape) for name in dataset.rle_columns(table)]
        places = [
            (f"class {index + 1}", np.flatnonzero(mask.any(axis=0))) for index, mask in enumerate(masks)
        ]
        lit = np.flatnonzero((strip.mean(axis=0) > LIT) & ~np.any(masks, axis=(0, 1)))
        for kind, columns in [*places, ("ground", lit)]:
            if len(columns):
                left = int(np.clip(rng.choice(columns) - 128, 0, strip.shape[1] - 256))
                patches.append(strip[:256, left : left + 256])
                kinds.append(kind)
                groups.append(row.image_id)
    return np.stack(patches), np.array(kinds), np.array(groups)


def told_apart(real, generated, strips):
    """How well real and generated patches are told apart: {what they lie about: area under the curve}."""
    from lib.models.layers import prepared
    from lib.models.pretrained import build_lite

    rng = np.random.default_rng(0)
    sets = [patches_of(folder, strips, rng) for folder in (real, generated)]
    network = build_lite(height=256, width=256)
    features = [
        np.concatenate(
            [
                np.asarray(network(prepared(some[..., None], "lite", 3))[-1]).mean(axis=(1, 2))
                for some in np.array_split(patches, max(1, len(patches) // 16))
            ]
        )
        for patches, _, _ in sets
    ]
    is_real = np.repeat([True, False], [len(one) for one in features])
    kinds, groups = (np.concatenate([one[index] for one in sets]) for index in (1, 2))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    stated = cross_val_predict(
        classifier, np.concatenate(features), is_real, groups=groups, cv=GroupKFold(5), method="predict_proba"
    )[:, 1]
    return {
        kind: roc_auc_score(is_real[kinds == kind], stated[kinds == kind])
        for kind in sorted(set(kinds), key=lambda kind: (kind != "ground", kind))
    }


def text_of(folders, strips):
    """The page: a table of numbers, and how well patches are told apart."""
    found = [numbers_of(folder, strips) for folder in folders]
    names = ["real", *(["generated"] if len(folders) == 2 else folders[1:])]
    lines = [
        "# Generated strips beside real ones\n",
        "`python benchmarks/steel_statistics.py REAL GENERATED`: 10th, 50th and 90th percentile over strips or objects.\n",
        "| of | number | " + " | ".join(names) + " |",
        "|" + "---|" * (2 + len(found)),
    ]
    for kind, name in sorted(set().union(*found), key=lambda key: (key[0] != "ground", *key)):
        cells = [
            " / ".join(f"{value:.2f}" for value in np.quantile(one[kind, name], (0.1, 0.5, 0.9)))
            if (kind, name) in one
            else "–"
            for one in found
        ]
        lines.append(f"| {kind} | {name} | " + " | ".join(cells) + " |")
    lines.append(
        "\nPatches of 256 x 256 pixels told from real ones by ImageNet's features, area under the curve:\n"
    )
    for name, folder in zip(names[1:], folders[1:], strict=True):
        told = told_apart(folders[0], folder, strips)
        lines.append(f"- {name}: " + ", ".join(f"{kind} {value:.2f}" for kind, value in told.items()))
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", help="the real strips, then generated sets")
    parser.add_argument("--strips", type=int, default=400, help="of each folder at most")
    parser.add_argument("--out", default="", help="page to write")
    args = parser.parse_args()
    measure.publish(text_of(args.folders, args.strips), args.out)


if __name__ == "__main__":
    measure.command(main)
