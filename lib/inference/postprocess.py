"""From a probability map to a mask: enlarge, cut at a threshold, drop small pieces, drop small masks; and which filters stand before.

Maps that are kept for later are stored as PNG with 256 levels: a hundredth of their size, and a threshold moves by 1/510 at most.
"""

import cv2
import numpy as np


def full_size(probability, shape):
    """A probability map (h, w) enlarged to (H, W), bilinear, before any threshold: so that edges fall between pixels."""
    return cv2.resize(np.ascontiguousarray(probability, np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def reaches(probability, threshold):
    """Where a probability is at least a threshold: the one comparison of all filters, when they are judged and when they predict.

    Both are compared as float32, of which networks' answers are: 0.7 as float64 is more than 0.7 as float32.
    """
    return np.asarray(probability, np.float32) >= np.asarray(threshold, np.float32)


def drop_small(mask, smallest):
    """A mask (H, W) bool without its connected pieces (8 neighbours) of fewer than `smallest` pixels.

    Sizes are summed over the runs of the rows, and what is left is drawn from them: several times as fast as OpenCV's statistics.
    """
    if smallest <= 1:
        return mask
    padded = np.zeros((mask.shape[0], mask.shape[1] + 1), np.uint8)  # a column of 0s keeps the rows' runs apart
    padded[:, 1:] = mask
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[-1]:
        edges = np.append(edges, flat.size)
    starts, ends = edges[::2], edges[1::2]
    if (ends - starts).sum() < smallest:
        return np.zeros_like(mask)
    number, labels = cv2.connectedComponents(padded, connectivity=8)
    piece = labels.ravel()[starts]
    kept = (np.bincount(piece, weights=ends - starts, minlength=number) >= smallest)[piece]
    if kept.all():
        return mask
    edges = np.concatenate([[0], np.column_stack([starts[kept], ends[kept]]).ravel(), [flat.size]])
    return np.repeat(np.arange(len(edges) - 1) % 2 == 1, np.diff(edges)).reshape(padded.shape)[:, 1:]


def decide(probability, shape, decision, class_index):
    """The mask (H, W) bool of one class under a decision (see `threshold_search.choose_thresholds`); all False where it is too small."""
    mask = reaches(full_size(probability, shape), decision["pixel_thresholds"][class_index])
    least = decision["minimum_areas"][class_index]
    if np.count_nonzero(mask) >= least:  # without its small pieces it can only be smaller
        mask = drop_small(mask, decision.get("smallest_components", {class_index: 0})[class_index])
        if np.count_nonzero(mask) >= least:
            return mask
    return np.zeros_like(mask)


def counts(probability, truth, thresholds, smallest):
    """Pixels of the mask, and of what it shares with the truth, without pieces below each size: two int64 (T, S).

    Arguments:
        probability: (H, W) float32; truth: (H, W) bool, or None where the image has no such defect.
    """
    area = np.zeros((len(thresholds), len(smallest)), np.int64)
    shared = np.zeros_like(area)
    inside = reaches(probability, min(thresholds))
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return area, shared
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    probability, truth = probability[box], None if truth is None else truth[box]
    for place, threshold in enumerate(thresholds):
        mask = reaches(probability, threshold).astype(np.uint8)
        number, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        sizes = statistics[1:, cv2.CC_STAT_AREA].astype(np.int64)
        common = np.zeros_like(sizes) if truth is None else np.bincount(labels[truth], minlength=number)[1:]
        kept = sizes[None] >= np.array(smallest)[:, None]
        area[place], shared[place] = (kept * sizes).sum(axis=1), (kept * common).sum(axis=1)
    return area, shared


def pack(probability):
    """A probability map (h, w) as the bytes of a PNG of 256 levels."""
    return cv2.imencode(".png", np.rint(255 * np.asarray(probability)).astype(np.uint8))[1].tobytes()


def unpack(data):
    """What `pack` made, as float32 (h, w)."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) / np.float32(255)


NEVER = 10**9  # minimum area of a class that is never predicted: more pixels than any image has
SOFT = "soft gating"  # a class's map times the class's probability, then the pixel threshold: unsure classes need sure pixels
STRATEGIES = {  # which of the two filters stand before the segmenters
    "segment everything": (False, False),
    "binary filter": (True, False),
    "multilabel filter": (False, True),
    "both filters": (True, True),
    SOFT: (True, False),
}
