"""The competition's Dice of 50,000 image-class pairs from run-length strings, against decoding and counting
pixels.

python benchmarks/bench_dice.py [--quick] [--masks train.csv]
"""

import functools

import bench_rle
import cv2
import mask_set
import measure
import numpy as np

from lib.data import rle
from lib.evaluation import metrics
from lib.synthetic import planning

STRIPS, SHARE = 12568, 20  # pixels are counted for one strip in so many: a minute otherwise


def answers(texts, rng):
    """A prediction for each mask: moved, thicker or thinner, and none for one in ten."""
    predicted = []
    for text in texts:
        mask = np.roll(rle.decode(text), rng.integers(-3, 4, 2), axis=(0, 1))
        change = cv2.dilate if rng.random() < 0.5 else cv2.erode
        mask = change(mask, np.ones((3, 3), np.uint8))
        predicted.append("" if rng.random() < 0.1 else rle.encode(mask))
    return predicted


def pairs_like_the_competition(texts, strips):
    """Truth and prediction, two nested lists (strips x 4), with the competition's shares of classes; one in
    fifty is a false alarm."""
    rng = np.random.default_rng(mask_set.SEED)
    predicted = answers(texts, rng)
    truth, prediction = [[""] * 4 for _ in range(strips)], [[""] * 4 for _ in range(strips)]
    for strip, labels in enumerate(planning.plan_labels(strips, rng, lift=False)):
        for class_index in range(4):
            chosen = rng.integers(len(texts))
            if class_index + 1 in labels:
                truth[strip][class_index], prediction[strip][class_index] = texts[chosen], predicted[chosen]
            elif rng.random() < 0.02:
                prediction[strip][class_index] = predicted[chosen]
    return truth, prediction


def counted(decode):
    """The same Dice with a decoder: both masks of every pair that is not empty are made and their pixels
    counted."""

    def score(truth, prediction):
        scores = np.ones((len(truth), 4))
        empty = np.zeros(rle.SHAPE, np.uint8)
        for row, (true_row, predicted_row) in enumerate(zip(truth, prediction, strict=True)):
            for class_index, texts in enumerate(zip(true_row, predicted_row, strict=True)):
                if any(texts):
                    a, b = (decode(text) if text else empty for text in texts)
                    scores[row, class_index] = metrics.dice(
                        np.count_nonzero(a & b), np.count_nonzero(b), np.count_nonzero(a)
                    )
        return scores

    return score


def main():
    args = mask_set.arguments(__doc__).parse_args()
    cv2.setNumThreads(1)
    texts, origin = mask_set.rles(args.masks, 20 if args.quick else 300)
    truth, prediction = pairs_like_the_competition(texts, STRIPS // 20 if args.quick else STRIPS)
    filled = np.mean(
        [bool(a or b) for rows in zip(truth, prediction, strict=True) for a, b in zip(*rows, strict=True)]
    )
    ways = {
        "decode (lib.rle) and count": rle.decode,
        "decode (cumulative sum) and count": bench_rle.sum_decode,
        "decode (pycocotools) and count": bench_rle.coco_decode,
    }
    few = truth[::SHARE], prediction[::SHARE]
    calls = {"lib.metrics.dice_of_rles": lambda: metrics.dice_of_rles(truth, prediction)}
    for name, decode in ways.items():
        calls[name] = functools.partial(counted(decode), *few)
        np.testing.assert_array_equal(calls[name](), metrics.dice_of_rles(*few))
    seconds = measure.interleaved(calls, 5)
    pairs = {name: 4 * len(truth if name == "lib.metrics.dice_of_rles" else few[0]) for name in calls}

    print("## Dice from run-lengths\n")
    print(
        f"{4 * len(truth):,} pairs, {filled:.0%} of them not empty, one thread; {mask_set.described(texts, origin)}. All ways skip "
        f"pairs that are empty in both and give the same Dice; pixels are counted for one strip in {SHARE}."
    )
    target = dict.fromkeys(ways, 10)
    rows = {name: [1e6 * s / pairs[name] for s in each] for name, each in seconds.items()}
    measure.table("Dice", rows, "µs a pair", "lib.metrics.dice_of_rles", target)
    print(
        "\nThe reading of the numbers from text is half of it. Against this project's own decoder, several times as fast as the "
        "others, the lead is smaller."
    )


if __name__ == "__main__":
    main()
