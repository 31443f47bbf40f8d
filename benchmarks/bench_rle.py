"""Run-length encoding and decoding of masks, against pycocotools, the usual numpy snippet and cumulative
sums.

python benchmarks/bench_rle.py [--quick] [--masks train.csv]
"""

import statistics

import cv2
import mask_set
import measure
import numpy as np
from pycocotools import mask as coco

from lib.data import rle

SIZE, HALF = (256, 1600), (128, 800)


def coco_encode(mask):
    """pycocotools: copied to its order, encoded, and its counts turned into the competition's string."""
    compressed = coco.encode(np.asfortranarray(mask))["counts"]
    ends = np.cumsum(coco_counts(compressed))
    edges = ends[: len(ends) // 2 * 2].reshape(-1, 2)
    return " ".join(map(str, np.column_stack([edges[:, 0] + 1, edges[:, 1] - edges[:, 0]]).ravel().tolist()))


def coco_counts(compressed):
    """The run-lengths in pycocotools' compressed text, from the first 0s on (cocoapi, common/maskApi.c,
    rleFrString)."""
    data = np.frombuffer(compressed, np.uint8).astype(np.int64) - 48
    first = np.flatnonzero(np.concatenate([[True], (data[:-1] & 32) == 0]))
    shift = 5 * (np.arange(len(data)) - np.repeat(first, np.diff(np.append(first, len(data)))))
    counts = np.add.reduceat((data & 31) << shift, first)
    last = np.append(first[1:], len(data)) - 1
    counts -= ((data[last] & 16) != 0) * (32 << shift[last])
    counts[1::2] = np.concatenate(
        [counts[1:2], counts[3::2]]
    ).cumsum()  # from the fourth on, differences to the last but one
    counts[2::2] = counts[2::2].cumsum()
    return counts


def snippet_encode(mask):
    """The usual snippet, as published with many solutions."""
    pixels = mask.T.flatten()
    pixels = np.concatenate([[0], pixels, [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(x) for x in runs)


def coco_decode(text):
    """pycocotools from the competition's string; its masks are in column order."""
    numbers = np.array(text.split(), dtype=np.int64)
    starts, ends = numbers[::2] - 1, numbers[::2] - 1 + numbers[1::2]
    edges = np.column_stack([starts, ends]).ravel()
    counts = np.diff(np.concatenate([[0], edges, [SIZE[0] * SIZE[1]]])).tolist()
    return coco.decode(coco.frPyObjects({"size": list(SIZE), "counts": counts}, *SIZE))


def sum_decode(text):
    """Cumulative sum over +1 at every start and -1 at every end."""
    numbers = np.array(text.split(), dtype=np.int64)
    starts, ends = numbers[::2] - 1, numbers[::2] - 1 + numbers[1::2]
    steps = np.zeros(SIZE[0] * SIZE[1] + 1, np.int8)
    steps[starts] += 1
    steps[ends] -= 1
    return np.cumsum(steps[:-1], dtype=np.uint8).reshape(SIZE[::-1]).T


def halved(mask):
    """A mask at half size as it is usually made: a pixel is set where half of what it covers is set."""
    return (cv2.resize(mask * np.uint8(255), HALF[::-1], interpolation=cv2.INTER_AREA) >= 128).astype(
        np.uint8
    )


def over(function, items):
    """A call that does something with every item and keeps nothing, as a program that goes on to the next
    strip."""

    def call():
        for item in items:
            function(item)

    return call


def section(title, functions, items, target, runs):
    """Time functions over the same items and print the table; {name: [microseconds an item]}."""
    seconds = measure.interleaved({name: over(function, items) for name, function in functions.items()}, runs)
    rows = {name: [1e6 * s / len(items) for s in each] for name, each in seconds.items()}
    measure.table(title, rows, "µs a mask", next(iter(functions)), target)
    return rows


def main():
    args = mask_set.arguments(__doc__).parse_args()
    cv2.setNumThreads(1)
    texts, origin = mask_set.rles(args.masks, 20 if args.quick else 300)
    masks, runs = [rle.decode(text) for text in texts], 5 if args.quick else 9
    assert all(
        rle.encode(mask) == coco_encode(mask) == snippet_encode(mask) == text
        for mask, text in zip(masks, texts, strict=True)
    )
    assert all(
        np.array_equal(mask, way(text))
        for mask, text in zip(masks, texts, strict=True)
        for way in (coco_decode, sum_decode)
    )
    assert all(
        np.array_equal(rle.decode_half(text), halved(mask)) for mask, text in zip(masks, texts, strict=True)
    )

    print("## Run-length code\n")
    print(
        f"One thread; {mask_set.described(texts, origin)}. Every way gives the same strings and masks. pycocotools counts in a "
        "compressed text of its own, so the way to and from the competition's string is part of it; its bare encoding stands "
        "beside it."
    )
    ways = {
        "lib.rle.encode": rle.encode,
        "pycocotools": coco_encode,
        "pycocotools, its own text": lambda mask: coco.encode(np.asfortranarray(mask)),
        "usual snippet": snippet_encode,
        "limit: one pass over the bytes": lambda mask: mask.max(axis=0),
    }
    rows = section("encode", ways, masks, {"pycocotools": 1.5, "usual snippet": 20}, runs)
    passes = statistics.median(rows["usual snippet"]) / statistics.median(
        rows["limit: one pass over the bytes"]
    )
    print(
        f"Here the snippet itself takes no longer than {passes:.0f} passes over the bytes: further ahead than that nothing can be."
    )
    ways = {"lib.rle.decode": rle.decode, "pycocotools": coco_decode, "cumulative sum": sum_decode}
    section("decode", ways, texts, {"pycocotools": 1.5, "cumulative sum": 1.5}, runs)
    ways = {
        "lib.rle.decode_half": rle.decode_half,
        "lib.rle.decode, halved": lambda text: halved(rle.decode(text)),
        "pycocotools, halved": lambda text: halved(coco_decode(text)),
        "cumulative sum, halved": lambda text: halved(sum_decode(text)),
    }
    section(
        "decode at half size", ways, texts, {"pycocotools, halved": 1.5, "cumulative sum, halved": 1.5}, runs
    )


if __name__ == "__main__":
    main()
