"""What do networks that learned from generated strips see on real ones?

python benchmarks/transfer.py --data FOLDER [--run runs/latest] [--out benchmarks/real.md]

Every network of a finished run predicts all images of FOLDER, in the competition's layout; the score is that of
the run's own thresholds, which its generated strips chose. FOLDER must not have been trained on. Predictions lie
in the run's folder and are not made twice.
"""

import argparse
import hashlib
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import measure  # noqa: E402
import real  # noqa: E402
import trained_run  # noqa: E402

from lib import files, paths  # noqa: E402
from lib.data import dataset  # noqa: E402
from lib.evaluation import predictions  # noqa: E402
from lib.inference import cascade, sources  # noqa: E402


def predicted(run, data, thresholds):
    """CascadePredictions of a run's networks on the images of a folder, read where they lie already."""
    table = dataset.load_table(data)
    stamp = hashlib.sha256(repr([str(Path(data).resolve()), sorted(table["image_id"])]).encode()).hexdigest()[
        :12
    ]
    path = run / f"transfer-{stamp}.npz"
    if not path.is_file():
        folders = paths.network_folders(run / "models", thresholds.classes)
        networks = cascade.open_networks(folders, thresholds.tta, thresholds.classifier_tta)
        rles = table[dataset.rle_columns(table)].to_numpy().tolist()
        predictions.collect_predictions(networks, table, rles, thresholds.shape, print).save(path)
    return predictions.CascadePredictions.load(path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder in the competition's layout")
    trained_run.add_argument(parser)
    parser.add_argument("--out", default="", help="page to write the section to")
    args = parser.parse_args()
    run = Path(args.run)
    thresholds = sources.read_thresholds(run)
    collected = predicted(run, args.data, thresholds)
    about = files.read_json(run / "run.json")
    numbers = real.numbers_of(collected, predictions.pair_scores(collected, thresholds))
    result = {
        "seed": run.resolve().name,
        **numbers,
        "minutes": about["seconds"] / 60,
    }
    measure.publish(real.text_of([result], "python benchmarks/transfer.py --data FOLDER"), args.out)


if __name__ == "__main__":
    measure.command(main)
