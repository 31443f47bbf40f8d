"""The masks that benchmarks of the codec work on: of a train.csv, or of strips generated with the
competition's shares."""

import os

import measure
import numpy as np

SEED = 5


def arguments(description):
    """The command line of a benchmark on masks: --quick, --masks."""
    parser = measure.arguments(description)
    parser.add_argument(
        "--masks",
        default=os.environ.get("SEVERSTAL_MASKS", ""),
        metavar="CSV",
        help="a train.csv of the competition; else masks of generated strips",
    )
    return parser


def rles(path, count):
    """(list of at most `count` run-length strings, where they are from, in words).

    Those of a file are drawn at random from its rows with a mask. Generated ones are of strips with the
    competition's shares of label combinations.
    """
    if path:
        from lib.data import validation

        rows = validation.read_rows(path)
        texts = rows["rle"][rows["rle"] != ""].sample(frac=1, random_state=SEED).tolist()
        return texts[:count], f"{min(count, len(texts))} masks of a train.csv"
    from lib.data import rle
    from lib.synthetic import generate, planning

    texts = []
    for planned in planning.plan("train", 3 * count, SEED, lift=False):
        if planned.labels and len(texts) < count:
            masks = generate.make_strip(planned)[1]
            texts += [
                text for class_index in range(masks.shape[2]) if (text := rle.encode(masks[..., class_index]))
            ]
    texts = texts[:count]
    return texts, f"{len(texts)} masks of generated strips"


def described(texts, origin):
    """The masks in words, for a section's head."""
    from lib.data import rle

    runs = np.median([len(rle.runs(text)) for text in texts])
    area = np.median([rle.area(text) for text in texts])
    return f"{origin}, 256 x 1600, median {runs:.0f} runs and {area:,.0f} pixels"
