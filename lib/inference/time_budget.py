"""A prediction's time budget: how long it will take, what is left out when that is too long, when to stop.

What is left out, in this order, always as little as will do, and taken back where the prediction allows it:

1. test-time augmentation of the segmenters, the last one first 2. further members of the segmenters'
ensembles, the last one first 3. test-time augmentation of the two classifiers 4. further members of the
classifiers' ensembles

The filters come last because more of the score hangs on them than on the masks' edges.
"""

import time
from collections.abc import Callable

RESERVE = 0.05  # share of the budget kept for writing and checking the submission
DOUBT = 0.1  # share of the predicted rest by which the prediction may fall short


class OutOfTime(Exception):
    """The budget is used up: what is not predicted by now stays empty."""


class Budget:
    """Minutes for a prediction, counted from here; 0 for as long as it takes.

    After a prediction: `forecasts`, a list of (images done, seconds to the end as then predicted); `without`,
    {step in words: number of images that were predicted without it}; `unfinished`, how many images were not
    reached.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.began = clock()
        self.limit = 60 * minutes * (1 - RESERVE) if minutes else float("inf")
        self.forecasts: list[tuple[int, float]] = []
        self.dropped: list[str] = []
        self.without: dict[str, int] = {}
        self.done = 0
        self.unfinished = 0

    def elapsed(self) -> float:
        """Seconds since the budget was made."""
        return self.clock() - self.began

    def check(self, seconds: float = 0.0) -> None:
        """Raise OutOfTime if the budget does not hold for `seconds` more."""
        if self.elapsed() + seconds > self.limit:
            raise OutOfTime

    def plan(self, networks: dict, done: int, total: int, since: float) -> list[str]:
        """Choose what is left out from here on, from what the networks took so far; between chunks of images.

        Arguments:
            networks: {name: Network}; done, total: images; since: seconds on this clock at which the first
                image was begun.

        Returns what is left out, a list in words.
        """
        self.note(done)
        if done == total:
            return self.dropped
        steps = steps_of(networks)
        spent = self.elapsed()
        other = max(spent - since - sum(network.seconds for network in networks.values()), 0) / done
        for count in range(len(steps) + 1):
            per_image = other + sum(
                network.seconds_per_image(done) for network in leave_out(networks, steps[:count])
            )
            end = spent + (total - done) * per_image
            if end + DOUBT * (end - spent) <= self.limit:
                break
        self.forecasts.append((done, end))
        self.dropped = [words for words, *_ in steps[:count]]
        return self.dropped

    def note(self, done: int) -> None:
        """Count the images up to number `done` as predicted without what is left out now."""
        for words in self.dropped:
            self.without[words] = self.without.get(words, 0) + done - self.done
        self.done = done

    def stop(self, done: int, total: int) -> None:
        """Note that only the first `done` of `total` images were reached."""
        self.unfinished = total - done

    def report(self) -> list[str]:
        """What became of it, a list of sentences; none where all went as asked for."""
        lines = [
            f"Left out on {count} strips to stay within the time: {words}."
            for words, count in self.without.items()
        ]
        if self.unfinished:
            lines.append(
                f"The time was used up: {self.unfinished} strips were not reached or not finished, what is "
                "missing is empty."
            )
        return lines


def steps_of(networks: dict) -> list[tuple]:
    """What can be left out, in order: (words, networks, "augmentations" or "members", how many remain)."""
    classifiers = [name for name in networks if not name.startswith("seg_")]
    segmenters = [name for name in networks if name.startswith("seg_")]
    steps = []
    for group, kind in ((segmenters, "segmenters"), (classifiers, "classifiers")):
        n_flips = max((len(networks[name].augmentations) for name in group), default=1)
        for remain in range(n_flips - 1, 0, -1):
            flip = next(
                networks[name].augmentations[remain]
                for name in group
                if len(networks[name].augmentations) > remain
            )
            steps.append((f"{kind}' augmentation {flip!r}", group, "augmentations", remain))
        n_members = max((len(networks[name].members) for name in group), default=1)
        for remain in range(n_members - 1, 0, -1):
            steps.append((f"{kind}' ensemble member {remain + 1}", group, "members", remain))
    return steps


def leave_out(networks: dict, steps: list[tuple]) -> list:
    """Set how many augmentations and members every network uses with these steps left out; the networks."""
    for network in networks.values():
        network.use(len(network.augmentations), len(network.members))
    for _, names, what, remain in steps:
        for name in names:
            augmentations, members = networks[name].used
            if what == "augmentations":
                networks[name].use(min(augmentations, remain), members)
            else:
                networks[name].use(augmentations, min(members, remain))
    return list(networks.values())
