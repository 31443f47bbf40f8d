"""Mean intersection over union of a submission with the known truth of its test images: what papers on other
steel report.

python -m lib.evaluation.overlap --submission runs/latest/submission.csv --data DIR

The pixels of all images are counted together for each class. A pixel that is predicted as two classes counts
for both; the background is what is predicted as none. Where test images are copies of training images, what
looking their masks up would give, without learning, stands beside it.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from lib import errors, paths
from lib.data import dataset
from lib.errors import UserError
from lib.evaluation import copy_lookup, metrics
from lib.inference import submission


def read(path: str | Path, data_dir: str | Path) -> tuple[pd.DataFrame, list[list[str]], list[list[str]]]:
    """The test images of a data folder, their true masks, and those of a submission file, nested lists (N x C) of
    run-length strings. UserError if the truth is not known, or the file is not for these images."""
    about, table = dataset.describe(data_dir), dataset.load_test_table(data_dir)
    with_truth = dataset.load_truth(data_dir, table)
    if with_truth is None:
        raise UserError(
            f"{data_dir} has no test_truth.csv, so nothing is known to compare with. Name a data folder "
            "that has it."
        )
    shape = about["height"], about["width"]
    submitted = submission.check(path, list(table["image_id"]), about["classes"], shape)
    rows = {image_id: [""] * about["classes"] for image_id in table["image_id"]}
    entries = zip(submitted["image_id"], submitted["defect_class"], submitted["rle"], strict=True)
    for image_id, defect_class, text in entries:
        rows[image_id][defect_class - 1] = text
    truth = with_truth[dataset.rle_columns(with_truth)].to_numpy().tolist()
    return table, truth, [rows[image_id] for image_id in table["image_id"]]


def of_submission(path: str | Path, data_dir: str | Path) -> dict:
    """The metrics of a submission file, as `metrics.iou_metrics`, and where test images are copies of training
    images copied_share and mean_iou_lookup_baseline (0..1). UserError if the truth of the test images is not
    known."""
    table, truth, predicted = read(path, data_dir)
    about = dataset.describe(data_dir)
    shape = about["height"], about["width"]
    result = metrics.iou_metrics(truth, predicted, shape, dataset.titles(about))
    if not (Path(data_dir) / "train.csv").is_file():
        return result
    copied, _ = copy_lookup.of_test_images(dataset.load_table(data_dir), table, data_dir)
    if copied["copies"]:
        looked_up = metrics.iou_metrics(truth, copied["predicted"], shape, dataset.titles(about))
        result |= {"copied_share": copied["share"], "mean_iou_lookup_baseline": looked_up["mean_iou"]}
    return result


def act(arguments: list[str] | None) -> None:
    """Do what the command line says."""
    parser = errors.Parser(
        prog="python -m lib.evaluation.overlap",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--submission", required=True, help="file that 90_inference wrote")
    parser.add_argument("--data", required=True, help="data folder with test_images and test_truth.csv")
    args = parser.parse_args(arguments)
    file = paths.resolve_path(args.submission, "--submission")
    folder = paths.find_data(args.data) or paths.resolve_path(args.data, "--data")
    errors.print_line(json.dumps(of_submission(file, folder), indent=2))


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
