"""Mean intersection over union of a submission with the known truth of its test images: what papers on other steel report.

python -m lib.overlap --submission runs/latest/submission.csv --data DIR

The pixels of all images are counted together for each class. A pixel that is predicted as two classes counts for both; the
background is what is predicted as none.
"""

import argparse
import json
import sys

import numpy as np

from lib import dataset, guard, paths, rle, submission
from lib.paths import UserError


def counts(truth, predicted, shape):
    """Pixels that truth and prediction share, and that either has, of the background and each class: two int64 (1 + C,).

    Arguments:
        truth, predicted: nested lists (N x C) of run-length strings; shape: (H, W) of every image.
    """
    classes = len(truth[0]) if truth else 0
    shared, either = np.zeros(1 + classes, np.int64), np.zeros(1 + classes, np.int64)
    for rows in zip(truth, predicted, strict=True):
        covered = [np.zeros(shape, bool), np.zeros(shape, bool)]
        for k, texts in enumerate(zip(*rows, strict=True), 1):
            masks = [rle.decode(text, shape).astype(bool) for text in texts]
            shared[k] += np.count_nonzero(masks[0] & masks[1])
            either[k] += np.count_nonzero(masks[0] | masks[1])
            covered = [whole | mask for whole, mask in zip(covered, masks, strict=True)]
        shared[0] += np.count_nonzero(~covered[0] & ~covered[1])
        either[0] += np.count_nonzero(~covered[0] | ~covered[1])
    return shared, either


def figures(truth, predicted, shape, names):
    """{"iou": {"background": ..., name: ...}, "mean_iou": over the classes, "mean_iou_with_background": ...}.

    `names`: one a class, all different and none "background", as `dataset.titles` has them, whatever the classes are called.
    A class that neither truth nor prediction has is left out of the means, its own figure is None.
    """
    shared, either = counts(truth, predicted, shape)
    values = np.divide(shared, either, out=np.full(len(shared), np.nan), where=either > 0)
    means = [values[part][np.isfinite(values[part])] for part in (slice(1, None), slice(None))]
    mean, with_background = (float(part.mean()) if len(part) else None for part in means)
    return {"iou": dict(zip(["background", *names], map(paths.number, values), strict=True)), "mean_iou": mean,
            "mean_iou_with_background": with_background}  # fmt: skip


def of_submission(path, data_dir):
    """The figures of a submission file. UserError if the truth of the test images is not known."""
    about, table = dataset.describe(data_dir), dataset.load_test_table(data_dir)
    with_truth = dataset.load_truth(data_dir, table)
    if with_truth is None:
        raise UserError(f"{data_dir} has no test_truth.csv, so nothing is known to compare with. Name a data folder that has it.")
    shape, truth = (about["height"], about["width"]), with_truth[dataset.rle_columns(with_truth)].to_numpy().tolist()
    found = submission.check(path, list(table["image_id"]), about["classes"], shape)
    rows = {image_id: [""] * about["classes"] for image_id in table["image_id"]}
    for image_id, defect_class, text in found[["image_id", "defect_class", "rle"]].itertuples(index=False):
        rows[image_id][defect_class - 1] = text
    return figures(truth, [rows[image_id] for image_id in table["image_id"]], shape, dataset.titles(about))


def act(arguments):
    """Do what the command line says."""
    parser = guard.Parser(prog="python -m lib.overlap", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--submission", required=True, help="file that 90_inference wrote")
    parser.add_argument("--data", required=True, help="data folder with test_images and test_truth.csv")
    given = parser.parse_args(arguments)
    file, folder = paths.given(given.submission, "--submission"), paths.find_data(given.data)
    guard.say(json.dumps(of_submission(file, folder), indent=2))


def main(arguments=None):
    """The command line; the exit code."""
    return guard.guarded(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
