"""Small pieces and small masks dropped from a whole submission, against OpenCV mask by mask and cc3d.

python benchmarks/bench_components.py [--quick] [--masks train.csv]
"""

import functools

import bench_rle
import cc3d
import cv2
import mask_set
import numpy as np

from lib.data import rle
from lib.inference import postprocess

PIECE, AREA = 150, 600  # pixels: the smallest piece of a mask, the smallest mask
EMPTY = 6  # empty masks for each that is not: six of seven pairs of the competition are empty


def specked(text, rng):
    """A mask (H, W) bool as a network leaves it: with up to five specks of a few pixels each."""
    mask = rle.decode(text)
    for _ in range(rng.integers(6)):
        top, left, height, width = rng.integers(0, (240, 1580, 12, 12))
        mask[top : top + height + 1, left : left + width + 1] = 1
    return mask.astype(bool)


def large_enough(mask):
    """The mask, or none of it where it is too small."""
    return mask if np.count_nonzero(mask) >= AREA else np.zeros_like(mask)


def ours(mask):
    """As `postprocess.decide` does it."""
    return (
        large_enough(postprocess.drop_small(mask, PIECE))
        if np.count_nonzero(mask) >= AREA
        else np.zeros_like(mask)
    )


def opencv(mask):
    """OpenCV's components with their statistics, and a table of the labels to keep."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    large = statistics[:, cv2.CC_STAT_AREA] >= PIECE
    large[0] = False
    return large_enough(large[labels])


def opencv_loop(mask):
    """The same as in most published solutions: each component in turn, counted in the array of labels."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    large = np.zeros_like(mask)
    for piece in range(1, count):
        is_piece = labels == piece
        if is_piece.sum() >= PIECE:
            large[is_piece] = True
    return large_enough(large)


def dust(mask):
    """cc3d's own function for it."""
    return large_enough(cc3d.dust(mask, threshold=PIECE, connectivity=8))


def cc3d_labels(mask):
    """cc3d's labels, which are its strength, counted with numpy."""
    labels = cc3d.connected_components(mask, connectivity=8)
    large = np.bincount(labels.ravel()) >= PIECE
    large[0] = False
    return large_enough(large[labels])


def unless_empty(way, mask):
    """A rival that leaves empty masks as they are, as this project does."""
    return way(mask) if mask.any() else mask


def main():
    args = mask_set.arguments(__doc__).parse_args()
    cv2.setNumThreads(1)
    texts, origin = mask_set.rles(args.masks, 6 if args.quick else 60)
    rng = np.random.default_rng(mask_set.SEED)
    filled = [specked(text, rng) for text in texts]
    items = [mask for each in filled for mask in [each, *[np.zeros(rle.SHAPE, bool)] * EMPTY]]
    rivals = {
        "OpenCV with statistics": opencv,
        "OpenCV, piece by piece": opencv_loop,
        "cc3d.dust": dust,
        "cc3d labels, numpy counts": cc3d_labels,
    }
    ways = {"lib.masks": ours} | {name: functools.partial(unless_empty, way) for name, way in rivals.items()}
    assert all(np.array_equal(way(mask), opencv(mask)) for way in ways.values() for mask in filled)

    print("## Small pieces and small masks\n")
    print(
        f"Pieces below {PIECE} and masks below {AREA} pixels dropped, one thread; {mask_set.described(texts, origin)}, specks added, "
        f"and {EMPTY} empty masks for each of them. All ways give the same masks."
    )
    target = {
        "OpenCV with statistics": 1,
        "OpenCV, piece by piece": 1,
        "cc3d.dust": 1,
        "cc3d labels, numpy counts": 1,
    }
    rows = bench_rle.section("components", ways, items, target, 1 if args.quick else 5)
    whole = {name: f"{np.median(times) * 5506 * 4 / 1e6:.1f} s" for name, times in rows.items()}
    print(
        "\nA submission of 5,506 strips and four classes: "
        + ", ".join(f"{name} {text}" for name, text in whole.items())
        + "."
    )


if __name__ == "__main__":
    main()
