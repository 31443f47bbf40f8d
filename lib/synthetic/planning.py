"""What each strip of a generated set is to be: its roll, its defect classes, its near-duplicate."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

CLASSES = 4
STRIPS_PER_ROLL = 8
Labels = tuple[int, ...]  # the defect classes on a strip, from 1, in order
# Label combinations of the competition's 12,568 training images.
FACTS: dict[Labels, int] = {
    (): 5902, (3,): 4759, (1,): 769, (4,): 516, (3, 4): 284, (2,): 195, (1, 3): 91, (1, 2): 35, (2, 3): 14,
    (1, 2, 3): 2, (2, 4): 1,
}  # fmt: skip
# The same kinds with the rare classes raised, so that each can be learnt from a thousand strips.
LIFTED: dict[Labels, int] = {
    (): 485, (3,): 135, (4,): 105, (1,): 70, (3, 4): 50, (2,): 45, (1, 2): 40, (1, 3): 35, (2, 3): 25,
    (1, 2, 3): 5, (2, 4): 5,
}  # fmt: skip


@dataclass
class PlannedStrip:
    """What a strip is to be: it follows from this alone."""

    image_id: str  # its file's name
    part: str  # "train" or "test"
    seed: int  # of the set
    stream: int  # of random numbers, from 0 in each part
    roll: int  # from 0 in each part: strips of a roll look alike
    labels: Labels  # the defect classes on it, from 1
    # Of a defect class, see annotation.object_sizes:
    ranks: dict[int, tuple[float, float]] = field(default_factory=dict)
    # Of near-duplicates, which share a stream: "first", and how the other differs, "copy" or "masks" too:
    twin: str = ""
    contrast: float = 1.0  # how far its defects stand out, beside those of real strips


def plan_labels(count: int, rng: Generator, lift: bool = True) -> list[Labels]:
    """The label combination of each of `count` strips, shuffled, in the shares of the facts or lifted ones.

    If `count` is 5 or more, every class is there at least once, in place of the most frequent combination.
    """
    shares = LIFTED if lift else FACTS
    exact = {labels: count * share / sum(shares.values()) for labels, share in shares.items()}
    counts = Counter({labels: int(value) for labels, value in exact.items()})
    by_rest = sorted(exact, key=lambda labels: exact[labels] - counts[labels], reverse=True)
    counts.update(by_rest[: count - sum(counts.values())])
    if count >= 5:
        for defect_class in range(1, CLASSES + 1):
            if not any(defect_class in labels and times for labels, times in counts.items()):
                counts[max(counts, key=lambda labels: counts[labels])] -= 1
                counts[(defect_class,)] += 1
    ordered = [labels for labels, times in counts.items() for _ in range(times)]
    return [ordered[index] for index in rng.permutation(len(ordered))]


def plan_ranks(strips: list[PlannedStrip], rng: Generator) -> None:
    """Give each strip its ranks among those of a class, by number of objects and by area, spread evenly."""
    for defect_class in range(1, CLASSES + 1):
        positive = [strip for strip in strips if defect_class in strip.labels]
        by_count = (rng.permutation(len(positive)) + 0.5) / max(1, len(positive))
        by_area = (rng.permutation(len(positive)) + 0.5) / max(1, len(positive))
        for strip, count_rank, area_rank in zip(positive, by_count, by_area, strict=True):
            strip.ranks[defect_class] = (float(count_rank), float(area_rank))


def plan_twins(strips: list[PlannedStrip], n_pairs: int) -> None:
    """Make pairs of near-duplicates: one of class 3 alone, with other masks; the others of other labels."""
    for pair in range(n_pairs):
        with_other_masks = pair == 0
        free = [strip for strip in strips if not strip.twin and (strip.labels == (3,)) == with_other_masks]
        if not free:
            continue
        first = next((strip for strip in free if strip.stream % 7 > 2), free[0])
        first.twin = "first"
        second = next(
            (strip for strip in reversed(strips) if strip.labels == first.labels and not strip.twin), None
        )
        if second:
            second.twin = "masks" if with_other_masks else "copy"
            second.stream = first.stream
            second.roll = first.roll
            second.ranks = first.ranks


def plan(part: str, count: int, seed: int, lift: bool = True, contrast: float = 1.0) -> list[PlannedStrip]:
    """What each of `count` strips of one part, "train" or "test", is to be, sorted by image_id."""
    rng = np.random.default_rng([seed, part == "test", 0])
    n_rolls = max(2, -(-count // STRIPS_PER_ROLL))
    strips = []
    for stream, labels in enumerate(plan_labels(count, rng, lift)):
        image_id = hashlib.sha256(f"{seed} {part} {stream}".encode()).hexdigest()[:9] + ".jpg"
        roll = int(rng.integers(n_rolls))
        strips.append(PlannedStrip(image_id, part, seed, stream, roll, labels, contrast=contrast))
    plan_ranks(strips, rng)
    if part == "train" and count >= 16:
        plan_twins(strips, min(44, 2 + count // 250))
    return sorted(strips, key=lambda strip: strip.image_id)
