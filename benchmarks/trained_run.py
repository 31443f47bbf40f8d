"""A finished run for the benchmarks that want trained networks: its models, its thresholds, its test strips
with their truth."""

import sys
from dataclasses import dataclass
from pathlib import Path

from lib import errors, paths
from lib.data import dataset
from lib.evaluation import metrics
from lib.files import read_json
from lib.inference import cascade
from lib.inference.postprocess import PostprocessConfig
from lib.inference.sources import read_thresholds


@dataclass
class Trained:
    """models: folder; thresholds: as from `threshold_search.choose_thresholds`; files, ids: of the test
    strips; truth: N x C run-lengths, or None;
    shape: (H, W)."""

    models: Path
    thresholds: PostprocessConfig
    files: list
    ids: list
    truth: list
    shape: tuple

    def networks(self, engine):
        """The cascade's networks, run by one of `runtime.ENGINES`."""
        folders = paths.network_folders(self.models, self.thresholds.classes)
        return cascade.open_networks(
            folders, self.thresholds.tta, self.thresholds.classifier_tta, engine=engine
        )

    def score(self, predicted):
        """The competition's score of N x C run-lengths for all test strips."""
        return metrics.competition_score(self.truth, predicted)


def add_argument(parser):
    """Let a benchmark's command line name the run."""
    parser.add_argument(
        "--run", default=str(paths.PROJECT / "runs" / "latest"), help="a finished run; runs/latest"
    )


def load(folder):
    """The run in `folder`; ends with a sentence where there is none."""
    folder = Path(folder)
    try:
        about = read_json(folder / "run.json")
        thresholds, data = read_thresholds(folder), about["data"]["folder"]
        table = dataset.load_test_table(data)
        truth = dataset.load_truth(data, table)
    except (errors.UserError, KeyError, TypeError) as error:
        sys.exit(
            f"{folder} is no finished run with its data ({error}). `make run` makes one in about ten minutes."
        )
    truth = None if truth is None else truth[dataset.rle_columns(truth)].to_numpy().tolist()
    return Trained(
        folder / "models", thresholds, list(table["path"]), list(table["image_id"]), truth, thresholds.shape
    )
