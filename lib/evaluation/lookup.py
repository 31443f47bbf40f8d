"""The look-up baseline: what does turning the mask of the nearest copy back score, without learning?

python -m lib.evaluation.lookup --data DIR

Where test images have copies among the training images, turned or not, a score on them tells what is
remembered. This is what memory alone scores there.
"""

import argparse
import json
import sys

from lib import errors, paths
from lib.data import dataset
from lib.errors import UserError
from lib.evaluation import copy_lookup, metrics


def act(arguments: list[str] | None) -> None:
    """Do what the command line says."""
    parser = errors.Parser(
        prog="python -m lib.evaluation.lookup",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="data folder with test_images and test_truth.csv")
    args = parser.parse_args(arguments)
    folder = paths.find_data(args.data) or paths.resolve_path(args.data, "--data")
    table, test, about = dataset.load_table(folder), dataset.load_test_table(folder), dataset.describe(folder)
    if not len(test) or dataset.load_truth(folder, test) is None:
        raise UserError(
            f"{folder} has no test_truth.csv or no test images, so nothing is known to compare with. Name a "
            "data folder that has both."
        )
    result, truth = copy_lookup.of_test_images(table, test, folder)
    shape = about["height"], about["width"]
    result |= metrics.iou_metrics(truth or [], result.pop("predicted"), shape, dataset.titles(about))
    errors.print_line(json.dumps(result, indent=2))


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
