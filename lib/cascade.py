"""The cascade at work: binary filter, multilabel filter, one segmenter a class, post-processing, run-lengths.

A network only sees what the filters before it let through; batches are filled anew for each network.
"""

import contextlib
import time
from pathlib import Path

import numpy as np

from lib import decision as decisions
from lib import engines, masks, rle, storage
from lib.augmentation import flip
from lib.budget import OutOfTime
from lib.masks import full_size
from lib.paths import UserError, member_folders, network_names
from lib.reading import Reader

__all__ = ["Network", "full_size", "gather_evidence", "open_networks", "predict"]
FIRST = 32  # images after which a time budget is looked at for the first time
BATCHES = 8  # that a network's own reader keeps


class Network:
    """A saved model, or an ensemble of several, with test-time augmentation.

    Arguments:
        folder: models/NAME of a run; further members of an ensemble lie beside it as models/NAME.2, models/NAME.3 ...
        augmentations: names in augmentation.FLIPS; predictions are averaged over these, mirrored masks mirrored back first.
        engine: what should run the SavedModel, one of `engines.ENGINES`; `self.engine` is what does on this machine.

    `seconds`, `images` and `passes` count what it was used for; a pass is one image through one member once.
    """

    def __init__(self, folder, augmentations=("none",), batch_size=16, clock=time.monotonic, engine="float32"):
        folder = Path(folder)
        self.folders, self.engine = member_folders(folder), engines.choose(engine)
        opened = [storage.predictor(place, self.engine) for place in self.folders]
        self.members, cards = [predict for predict, _ in opened], [card for _, card in opened]
        if any(card["input"] != cards[0]["input"] for card in cards):
            raise UserError(f"{folder} and the members of its ensemble beside it take images of different sizes. Use one size.")
        self.card, self.size = cards[0], tuple(cards[0]["input"])
        self.augmentations, self.batch_size, self.clock = tuple(augmentations), batch_size, clock
        self.name, self.pace = folder.name, 0.0  # seconds of a pass in the last batch
        self.use(len(self.augmentations), len(self.members))
        self.reset()

    def reset(self):
        """Begin to count anew."""
        self.reading, self.predicting, self.images, self.passes = 0.0, 0.0, 0, 0

    def use(self, augmentations, members, first=0):
        """Take only the first so many augmentations, and so many members beginning with `first`, from now on."""
        self.used, self.first = (augmentations, members), first

    @property
    def turns(self):
        """How many passes an image takes with the augmentations and members in use."""
        return self.used[0] * self.used[1]

    @property
    def seconds(self):
        """What its images took so far."""
        return self.reading + self.predicting

    def seconds_per_image(self, done):
        """What it would take with the augmentations and members now in use, for each image of the data set: of the `done`
        ones so far it saw a part."""
        if not self.images:
            return 0.0
        return (self.reading + self.images * self.turns * self.predicting / max(self.passes, 1)) / done

    def warm_up(self):
        """Begin to count anew, after one batch of black images: what a network does only once belongs to no image's time."""
        began = self.clock()
        self.answer(np.zeros((self.batch_size, *self.size, 1), np.uint8))
        self.pace = (self.clock() - began) / (self.batch_size * self.turns)
        self.reset()

    def __call__(self, paths, broken=None, budget=None, reader=None):
        """Yield one prediction an image, in order: (classes,) float32 or a probability map (h, w) float32.

        Arguments:
            broken: a dict, to note images that cannot be read or predicted as {path: why} and to yield None for them, or None,
                to raise; budget: a Budget, to raise OutOfTime between batches; reader: a Reader that several networks share and
                that keeps the images, or None for one of its own.
        """
        if reader is None:
            block = BATCHES * self.batch_size
            for start in range(0, len(paths), block):
                with Reader() as own:
                    yield from self(paths[start : start + block], broken, budget, own)
            return
        start = 0
        while start < len(paths):
            batch, began, results = paths[start : start + self.batch_size], self.clock(), {}
            if budget:
                budget.check(self.pace * len(batch) * self.turns)
            reader.ask(paths[start : start + 2 * len(batch)], self.size)  # the next batch is read while this one is predicted
            start += len(batch)
            for path in batch:
                try:
                    results[path] = reader.get(path, self.size)
                except UserError as error:
                    if broken is None:
                        raise
                    broken[path] = str(error)
            self.reading += (read := self.clock()) - began
            try:
                answers = self.answer(np.stack(list(results.values()))[..., None]) if results else ()
                results = dict(zip(results, answers, strict=True))
            except Exception as error:
                if broken is None:
                    raise
                reason = (str(error).splitlines() or [""])[0]
                broken |= {path: f"{self.name} failed on the image {path} ({type(error).__name__}: {reason})." for path in results}
                results = {}
            self.predicting += self.clock() - read
            self.images += len(results)
            self.passes += len(results) * self.turns
            self.pace = (self.clock() - began) / (len(batch) * self.turns)
            yield from [results.get(path) for path in batch]

    def answer(self, images):
        """Predictions for images (B, h, w, 1) uint8. If they do not fit into memory, in halves, from then on for good."""
        try:
            return self.average(images)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        if len(images) == 1:
            raise UserError(f"Not even one image of {self.size} fits into memory. Use a machine or a card with more of it.")
        self.batch_size = half = (len(images) + 1) // 2
        return np.concatenate([self.answer(images[:half]), self.answer(images[half:])])

    def average(self, images):
        """The mean over augmentations and members in use."""
        turns, members = self.augmentations[: self.used[0]], self.members[self.first : self.first + self.used[1]]
        total = 0
        for which in turns:
            turned = np.ascontiguousarray(mirror(images, which))
            for predict in members:
                result = predict(turned)
                total = total + (mirror(result[..., 0], which) if result.ndim == 4 else result)
        return total / (len(turns) * len(members))


def mirror(batch, which):
    """Mirror images or maps (B, h, w, ...) as named in FLIPS; a view."""
    return np.moveaxis(flip(np.moveaxis(batch, 0, -1), which), -1, 0)


def is_out_of_memory(error):
    """Whether an exception of any Keras backend says that memory did not suffice."""
    words = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(sign in words for sign in ("resourceexhausted", "resource_exhausted", "out of memory"))


def answers(network, rows):
    """Yield (place, prediction) of every image, by the members of the network that may judge it.

    Arguments:
        rows: with path and member, as from `splitting.judges` (without: whatever the network uses); places count its rows from 0.
    """
    paths = rows["path"].to_numpy()
    if "member" not in rows:
        yield from enumerate(network(list(paths)))
        return
    member = rows["member"].to_numpy()
    for number in np.unique(member):
        places = np.flatnonzero(member == number)
        network.use(len(network.augmentations), *((len(network.members), 0) if number < 0 else (1, number)))
        yield from zip(places, network(list(paths[places])), strict=True)
    network.use(len(network.augmentations), len(network.members))


def probabilities(network, rows, classes):
    """A classifier's `answers` as one array, float32 (N, classes), in the order of the rows."""
    found = np.empty((len(rows), classes), np.float32)
    for place, answer in answers(network, rows):
        found[place] = answer
    return found


def open_networks(models_dir, classes, augmentations=("none",), batch_size=16, engine="float32"):
    """The networks of a run: {"binary": Network, "multilabel": Network, "seg_class1": ...}."""
    return {name: Network(Path(models_dir) / name, augmentations, batch_size, engine=engine) for name in network_names(classes)}


def gather_evidence(networks, table, rles, shape, progress=None, maps=None, seconds=None, members=None):
    """Run every network on every image and keep what `decision` needs.

    Arguments:
        networks: as from `open_networks`.
        table: the images (columns path, group); rles: nested list N x C of true run-lengths; shape: (H, W) pixels.
        progress: called with a line of text now and then.
        maps: a list, to get a list of C probability maps (see `masks.pack`) for each image.
        seconds: a dict, to get the seconds an image of every network, reading included.
        members: {network: (N,) which of its members may answer, -1 for all}, as from `splitting.judges`; None: all everywhere.
    """
    count, classes, seconds = len(table), len(rles[0]), {} if seconds is None else seconds
    thresholds, smallest = decisions.PIXEL_THRESHOLDS, decisions.SMALLEST_COMPONENTS

    def judged(name):
        list(networks[name](list(table["path"].iloc[:1])))  # what a network does only once belongs to no image's time
        seconds[name], results = 0.0, answers(networks[name], table if members is None else table.assign(member=members[name]))
        for _ in range(count):
            began = time.perf_counter()
            result = next(results)
            seconds[name] += (time.perf_counter() - began) / count
            yield result

    binary, label = np.zeros(count, np.float32), np.zeros((count, classes), np.float32)
    for name, filled in (("binary", binary[:, None]), ("multilabel", label)):
        for row, probabilities in judged(name):
            filled[row] = probabilities
    area = np.zeros((count, classes, len(thresholds), len(smallest)), np.int64)
    intersection, true_area = np.zeros_like(area), np.zeros((count, classes), np.int64)
    soft_area, soft_intersection = np.zeros_like(area), np.zeros_like(area)
    packed = [[None] * classes for _ in range(count)]
    for k in range(classes):
        if progress:
            progress(f"class {k + 1}: {count} strips")
        for row, probability in judged(f"seg_class{k + 1}"):
            truth = rle.decode(rles[row][k], shape).astype(bool) if rles[row][k] else None
            true_area[row, k] = 0 if truth is None else truth.sum()
            area[row, k], intersection[row, k] = masks.counts(masks.full_size(probability, shape), truth, thresholds, smallest)
            if masks.reaches(label[row, k], min(thresholds)):  # else no product reaches a threshold
                weighted = masks.full_size(probability * label[row, k], shape)
                soft_area[row, k], soft_intersection[row, k] = masks.counts(weighted, truth, thresholds, smallest)
            if maps is not None:
                packed[row][k] = masks.pack(probability)
    if maps is not None:
        maps.extend(packed)
    group = table["group"].to_numpy() if "group" in table else np.arange(count)
    return decisions.Evidence(binary, label, true_area, area, intersection, group, thresholds, smallest, soft_area, soft_intersection)


def predict(networks, paths, decision, shape, chunk=128, progress=None, budget=None, broken=None):
    """Masks of every image under a decision.

    Arguments:
        decision: as from `decision.choose`; shape: (H, W) pixels of the masks; chunk: images at a time.
        budget: a `budget.Budget`: after a first few images and after every chunk it chooses what is left out; where it is used
            up, what is there by then is returned.
        broken: a dict to which images that cannot be read, or have another shape, are noted as {path: why}; their rows are
            empty. None: the first one raises its UserError.

    Returns a nested list (N x C) of run-length strings, binary probabilities (N,) and label probabilities (N, C); NaN where
    a filter before it had already dropped the image. Every image has its row.
    """
    classes = len(decision["label_thresholds"])
    rles = [[""] * classes for _ in paths]
    binary, label = np.full(len(paths), np.nan, np.float32), np.full((len(paths), classes), np.nan, np.float32)
    if budget and len(paths):
        for network in networks.values():
            with contextlib.suppress(Exception):  # its first batch will say so
                network.warm_up()
    since, end = budget.elapsed() if budget else 0.0, 0
    while end < len(paths):
        start, end = end, min(end + (min(FIRST, chunk) if budget and not end else chunk), len(paths))
        try:
            with Reader(shape if broken is not None else None) as reader:
                predict_rows(networks, paths, np.arange(start, end), decision, shape, (rles, binary, label), budget, broken, reader)
        except OutOfTime:
            budget.stop(start, len(paths))
            break
        note = f"{end} of {len(paths)} strips"
        if budget:
            dropped = budget.plan(networks, end, len(paths), since)
            about = f" of about {budget.forecasts[-1][1]:.0f}" if end < len(paths) else ""
            note += f", {budget.elapsed():.0f}{about} s" + "".join(f", without {step}" for step in dropped)
        if progress:
            progress(note)
    return rles, binary, label


def predict_rows(networks, paths, rows, decision, shape, found, budget, broken, reader):
    """One chunk of `predict`: fills `found` (run-lengths, binary, label) at the indices `rows`."""
    (rles, binary, label), classes = found, len(decision["label_thresholds"])
    use_binary, use_label = decisions.STRATEGIES[decision["strategy"]]
    soft = decision["strategy"] == decisions.SOFT

    def results(name, wanted):  # (row, prediction) of the images that can be read
        answers = networks[name]([paths[row] for row in wanted], broken, budget, reader)
        return ((row, answer) for row, answer in zip(wanted, answers, strict=True) if answer is not None)

    if use_binary:
        for row, probability in results("binary", rows):
            binary[row] = probability[0]
        rows = rows[masks.reaches(binary[rows], decision["binary_threshold"])]
    if use_label or soft:
        for row, probabilities in results("multilabel", rows):
            label[row] = probabilities
    for k in range(classes):
        least = decision["pixel_thresholds" if soft else "label_thresholds"][k]
        wanted = rows[masks.reaches(label[rows, k], least)] if use_label or soft else rows
        if decision["minimum_areas"][k] > shape[0] * shape[1]:
            continue
        for row, probability in results(f"seg_class{k + 1}", wanted):
            weighted = probability * label[row, k] if soft else probability
            rles[row][k] = rle.encode(masks.decide(weighted, shape, decision, k))
