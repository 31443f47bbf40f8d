"""How fast a prediction goes, and how long it has still to go."""

import time
from collections.abc import Callable


class Pace:
    """Counts images.

    Arguments:
        total: images in all; done: of which so many were there before; clock: seconds.
    """

    def __init__(self, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done, self.before = total, done, done
        self.clock = clock
        self.began = clock()

    def begin(self) -> None:
        """Count the seconds from here on, if no image has been counted yet."""
        if self.done == self.before:
            self.began = self.clock()

    def after(self, count: int) -> str:
        """Count so many images more; a line on all, with images a second and the time left."""
        self.done += count
        seconds = max(self.clock() - self.began, 1e-9)
        rate = (self.done - self.before) / seconds
        line = f"{self.done:,} of {self.total:,} images, {rate:.{1 if rate < 100 else 0}f} a second"
        rest = (self.total - self.done) / rate
        return f"{line}, {in_words(rest)} left" if self.done < self.total else line


def in_words(seconds: float) -> str:
    """A duration: 42 s, 8 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
