"""One network with test-time augmentation: strips read ahead, passes and an ensemble's members averaged,
mirrored answers turned back."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.images import read_image
from lib.errors import UserError
from lib.inference import passes
from lib.inference.time_budget import Budget
from lib.models import runtime, saving
from lib.paths import member_folders

BATCHES = 8  # that a network's own reader keeps


class Network:
    """A saved model, or an ensemble of several, with test-time augmentation.

    Arguments:
        folder: models/NAME of a run; further members of an ensemble lie beside it as models/NAME.2,
            models/NAME.3 ...
        tta: entries of choices.TTA; predictions are averaged over the passes that they stand for, mirrored
            masks mirrored back first. Random ones are for classifiers alone.
        engine: what should run the SavedModel, one of `runtime.ENGINES`; `self.engine` is what does on this
            machine.

    `seconds`, `images` and `passes` count what it was used for; a pass is one image through one member once.
    `disagreement`: a dict is filled with {path: standard deviation of the members' answers, the largest of its
    outputs} where it is an ensemble of classifiers; None: nothing is measured.
    """

    def __init__(
        self,
        folder: str | Path,
        tta: Sequence[str] = ("none",),
        batch_size: int = 16,
        clock: Callable[[], float] = time.monotonic,
        engine: str = "float32",
    ):
        folder = Path(folder)
        self.folders = member_folders(folder)
        self.engine = runtime.choose(engine)
        opened = [saving.predictor(member, self.engine) for member in self.folders]
        self.members = [predict for predict, _ in opened]
        cards = [card for _, card in opened]
        if any(card["input"] != cards[0]["input"] for card in cards):
            raise UserError(
                f"{folder} and the members of its ensemble beside it take images of different sizes. Use "
                "one size."
            )
        self.card = cards[0]
        self.size = tuple(self.card["input"])
        self.augmentations = passes.named(tta)
        self.variation = None
        if any(name.startswith(passes.VARIANT) for name in self.augmentations):
            self.variation = passes.variation_of(self.card, folder)
        self.batch_size = batch_size
        self.clock = clock
        self.name = folder.name
        self.pace = 0.0  # seconds of a pass in the last batch
        self.disagreement: dict[Any, float] | None = None
        self.deviations: list[np.ndarray] = []  # of the batch at hand
        self.use(len(self.augmentations), len(self.members))
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self.reading, self.predicting = 0.0, 0.0
        self.images, self.passes = 0, 0

    def use(self, augmentations: int, members: int, first: int = 0) -> None:
        """From now on, take only so many augmentations, and so many members beginning with `first`."""
        self.used, self.first = (augmentations, members), first

    @property
    def turns(self) -> int:
        """How many passes an image takes with the augmentations and members in use."""
        return self.used[0] * self.used[1]

    @property
    def seconds(self) -> float:
        """What its images took so far."""
        return self.reading + self.predicting

    def seconds_per_image(self, done: int) -> float:
        """What it would take with the augmentations and members now in use, for each image of the data set:
        of the `done` ones so far it saw a part."""
        if not self.images:
            return 0.0
        return (self.reading + self.images * self.turns * self.predicting / max(self.passes, 1)) / done

    def warm_up(self) -> None:
        """Begin to count anew after one black batch: what is done only once belongs to no image's time."""
        began = self.clock()
        self.answer(np.zeros((self.batch_size, *self.size, 1), np.uint8))
        self.pace = (self.clock() - began) / (self.batch_size * self.turns)
        self.reset()

    def __call__(
        self,
        paths: Sequence[str],
        broken: dict | None = None,
        budget: Budget | None = None,
        reader: "Reader | None" = None,
    ) -> Iterator[np.ndarray | None]:
        """Yield one prediction an image, in order: (classes,) float32 or a probability map (h, w) float32.

        Arguments:
            broken: a dict, to note images that cannot be read or predicted as {path: why} and to yield None
                for them, or None, to raise; budget: a Budget, to raise OutOfTime between batches; reader: a
                Reader that several networks share and that keeps the images, or None for one of its own.
        """
        if reader is None:
            block = BATCHES * self.batch_size
            for start in range(0, len(paths), block):
                with Reader() as own:
                    yield from self(paths[start : start + block], broken, budget, own)
            return
        start = 0
        while start < len(paths):
            batch = paths[start : start + self.batch_size]
            began = self.clock()
            if budget:
                budget.check(self.pace * len(batch) * self.turns)
            # the next batch is read while this one is predicted
            reader.ask(paths[start : start + 2 * len(batch)], self.size)
            start += len(batch)
            images = self.read(batch, broken, reader)
            read = self.clock()
            self.reading += read - began
            answers = self.predict(images, broken)
            self.predicting += self.clock() - read
            self.images += len(answers)
            self.passes += len(answers) * self.turns
            self.pace = (self.clock() - began) / (len(batch) * self.turns)
            yield from [answers.get(path) for path in batch]

    def read(self, batch: Sequence[str], broken: dict | None, reader: "Reader") -> dict[str, np.ndarray]:
        """{path: image (h, w) uint8} of a batch; what cannot be read is noted in `broken` and left out, or
        raised where that is None."""
        images = {}
        for path in batch:
            try:
                images[path] = reader.get(path, self.size)
            except UserError as error:
                if broken is None:
                    raise
                broken[path] = str(error)
        return images

    def predict(self, images: dict[str, np.ndarray], broken: dict | None) -> dict[str, np.ndarray]:
        """{path: prediction} of images that fit into a batch; if the network fails, all of them are noted in
        `broken`, or it raises."""
        if not images:
            return {}
        self.deviations = []
        try:
            answers = self.answer(np.stack(list(images.values()))[..., None])
            if self.disagreement is not None and self.deviations:
                self.disagreement |= zip(images, np.concatenate(self.deviations).tolist(), strict=True)
            return dict(zip(images, answers, strict=True))
        except Exception as error:
            if broken is None:
                raise
            reason = (str(error).splitlines() or [""])[0]
            for path in images:
                broken[path] = f"{self.name} failed on the image {path} ({type(error).__name__}: {reason})."
            return {}

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Predictions for images (B, h, w, 1) uint8. What does not fit into memory is halved, for good."""
        try:
            return self.average(images)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        if len(images) == 1:
            raise UserError(
                f"Not even one image of {self.size} fits into memory. Use a machine or a card with more of "
                "it."
            )
        self.batch_size = half = (len(images) + 1) // 2
        return np.concatenate([self.answer(images[:half]), self.answer(images[half:])])

    def average(self, images: np.ndarray) -> np.ndarray:
        """The mean over augmentations and members in use."""
        names = self.augmentations[: self.used[0]]
        members = self.members[self.first : self.first + self.used[1]]
        total: np.ndarray | float = 0.0
        of_members: list[Any] = [0.0] * len(members)
        for name in names:
            shown = passes.show(images, name, self.variation)
            for index, predict in enumerate(members):
                result = predict(shown)
                total = total + (passes.mirror(result[..., 0], name) if result.ndim == 4 else result)
                if self.disagreement is not None and result.ndim == 2:
                    of_members[index] = of_members[index] + result / len(names)
        if len(members) > 1 and isinstance(of_members[0], np.ndarray):
            self.deviations.append(np.std(of_members, axis=0).max(axis=1))
        return np.asarray(total / (len(names) * len(members)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of any Keras backend says that memory did not suffice."""
    words = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(
        sign in words for sign in ("resourceexhausted", "resource_exhausted", "out of memory")
    )


THREADS = 4  # decoders; they wait for a disk, or leave the processor to the network where it has fewer cores


class Reader:
    """Reads strips when asked to and keeps them; for a `with` statement and as many as memory holds.

    Arguments:
        shape: (H, W) that every file must have, or None; read: what gives the image (h, w) uint8 of a path and
            a size: `read_image` of a file that has that shape, unless it is named.
    """

    def __init__(
        self,
        shape: tuple[int, int] | None = None,
        read: Callable[[Any, tuple[int, int]], np.ndarray] | None = None,
    ):
        self.read = read or (lambda path, size: read_image(path, size, shape))
        self.strips: dict = {}  # (path, size): a future
        self.pool = ThreadPoolExecutor(THREADS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown(cancel_futures=True)
        # a strip that could not be read has an error that holds this reader, and with it all the others
        self.strips.clear()

    def ask(self, paths: Sequence[str], size: tuple[int, int]) -> None:
        """Begin to read these strips at `size` (h, w), but for those that are there already."""
        for path in paths:
            if (path, size) not in self.strips:
                self.strips[path, size] = self.pool.submit(self.read, path, size)

    def get(self, path: str, size: tuple[int, int]) -> np.ndarray:
        """A strip, (h, w) uint8, not to be changed in place; UserError as from `read_image`."""
        self.ask([path], size)
        return self.strips[path, size].result()
