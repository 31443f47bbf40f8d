"""Generated strips in the competition's layout, made from a seed: for the data that nobody may hand on."""

import contextlib
import itertools
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from lib import files, paths
from lib.data import dataset, rle
from lib.errors import UserError
from lib.synthetic.defects import put_defects
from lib.synthetic.marks import harmless_marks
from lib.synthetic.planning import CLASSES, PlannedStrip, plan
from lib.synthetic.reuse import is_filled
from lib.synthetic.texture import HEIGHT, WIDTH, Roll, make_roll, plate, side_block, surface

QUALITY = 90  # gives the originals' quantisation tables
VERSION = 9  # raised when the same seed no longer gives the same strips
CLEAR = 2.5  # how many times clearer than real ones the defects are from which a demo's small networks learn
CHUNK = 32  # strips handed to a process at once


def draw_strip(
    rng: Generator, roll: Roll, labels: tuple[int, ...], ranks: dict[int, tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one strip.

    Arguments:
        rng: the strip follows from its state alone.
        roll: what the strip has in common with others, from texture.make_roll.
        labels: the defect classes 1..C on it.
        ranks: of a defect class, see defects.object_sizes; drawn where they are missing.

    Returns image (H, W) uint8 and masks (H, W, C) uint8 0/1, which never overlap.
    """
    image = surface(rng, roll)
    masks = np.zeros((HEIGHT, WIDTH, CLASSES), np.uint8)
    if roll["plate"] and not labels:
        plate(image, rng, roll["plate"])
    harmless_marks(image, rng, roll, extra=0.0 if labels else 0.8)
    lit = side_block(image, rng, roll, largest=WIDTH - 420 if labels else WIDTH - 260)
    for defect_class in labels:
        own_ranks = ranks.get(defect_class) or tuple(rng.uniform(0.001, 0.999, 2))
        put_defects(image, masks, rng, roll, defect_class, lit, own_ranks)
    return np.clip(image, 0, 255).astype(np.uint8), masks


def twin_of(
    image: np.ndarray, masks: np.ndarray, rng: Generator, other_masks: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A near-duplicate as there are in the real set: shifted by a few columns, a little brighter or darker.

    With `other_masks` the annotator drew more generously the second time.
    """
    shift = int(rng.integers(2, 7))
    image = cv2.convertScaleAbs(np.roll(image, shift, axis=1), alpha=float(rng.uniform(0.96, 1.04)))
    image[:, :shift] = image[:, shift : shift + 1]
    masks = np.roll(masks, shift, axis=1)
    masks[:, :shift] = 0
    if other_masks:
        wider = [
            cv2.dilate(np.ascontiguousarray(mask), np.ones((5, 13), np.uint8))
            for mask in np.moveaxis(masks, 2, 0)
        ]
        masks = np.stack(wider, axis=2) * (masks.any(axis=2, keepdims=True) <= masks)
    return image, masks


def make_strip(planned: PlannedStrip) -> tuple[np.ndarray, np.ndarray]:
    """The image (H, W) uint8 and the masks (H, W, C) uint8 0/1 of a planned strip."""
    part = int(planned.part == "test")
    roll = make_roll(np.random.default_rng([planned.seed, part, 1, planned.roll]), shift=float(part))
    roll["contrast"] *= planned.contrast
    rng = np.random.default_rng([planned.seed, part, 2, planned.stream])
    image, masks = draw_strip(rng, roll, planned.labels, planned.ranks)
    if planned.twin in ("copy", "masks"):
        image, masks = twin_of(image, masks, rng, planned.twin == "masks")
    return image, masks


def write_chunk(work: tuple[str, list[PlannedStrip]]) -> list[tuple[str, int, str]]:
    """Make strips and write them: `work` is (folder, strips). Runs in a process of its own.

    Returns their mask rows (image_id, defect class, rle).
    """
    folder, strips = work
    cv2.setNumThreads(1)
    rows = []
    for planned in strips:
        image, masks = make_strip(planned)
        encoded = cv2.imencode(".jpg", cv2.merge([image] * 3), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        (Path(folder) / planned.image_id).write_bytes(encoded.tobytes())
        for defect_class in range(1, masks.shape[2] + 1):
            mask = masks[..., defect_class - 1]
            if mask.any():
                rows.append((planned.image_id, defect_class, rle.encode(mask)))
    return rows


def settings(train: int, test: int, seed: int, lift: bool, contrast: float = 1.0) -> dict[str, Any]:
    """What a generated set is made from, as its dataset.json holds it."""
    note = "Generated strips: no real steel."
    if lift:
        note += (
            " The rare defect classes are raised far above their real shares"
            " so that each can be learnt from few strips."
        )
    if contrast != 1:
        note += f" Their defects stand out {contrast:g} times as far as real ones."
    return {
        "generated": True,
        "classes": CLASSES,
        "height": HEIGHT,
        "width": WIDTH,
        "class_names": [f"class {defect_class}" for defect_class in range(1, CLASSES + 1)],
        "note": note,
        "settings": {
            "train": train,
            "test": test,
            "seed": seed,
            "lift": lift,
            "contrast": contrast,
            "version": VERSION,
        },
    }


def write_parts(
    folder: Path, train: int, test: int, seed: int, lift: bool, contrast: float, processes: int
) -> None:
    """Write all images and tables of a set into `folder`."""
    sizes = {"train": train, "test": test}
    plans = {part: plan(part, count, seed, lift, contrast) for part, count in sizes.items()}
    work: list[tuple[str, list[PlannedStrip]]] = []
    for part, strips in plans.items():
        (folder / f"{part}_images").mkdir(parents=True)
        work += [
            (str(folder / f"{part}_images"), strips[start : start + CHUNK])
            for start in range(0, len(strips), CHUNK)
        ]
    if processes > 1 and len(work) > 1:
        # Afresh, not forked: whoever calls may hold threads of OpenCV's, whose locks a fork would wait for.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, len(work)), mp_context=context) as executor:
            rows = list(executor.map(write_chunk, work))
    else:
        rows = [write_chunk(piece) for piece in work]
    chunks = -(-len(plans["train"]) // CHUNK)
    header = ("ImageId", "ClassId", "EncodedPixels")
    dataset.write_table(folder / "train.csv", header, list(itertools.chain(*rows[:chunks])))
    dataset.write_table(folder / "test_truth.csv", header, list(itertools.chain(*rows[chunks:])))
    submission = [(planned.image_id, f"1 {HEIGHT * WIDTH}", 1) for planned in plans["test"]]
    dataset.write_table(folder / "sample_submission.csv", ("ImageId", "EncodedPixels", "ClassId"), submission)


def generate(
    folder: str | Path,
    train: int,
    test: int,
    seed: int,
    lift: bool = True,
    processes: int | None = None,
    contrast: float = 1.0,
) -> Path:
    """Make a data set of generated strips in the competition's layout, or reuse the one that is there.

    Arguments:
        folder: written aside, then renamed. Of two that make the same at once the second takes the first's.
        train, test: numbers of strips, from 1; 8 or more hold every class.
        lift: raise the shares of the rare classes (the demo); else the competition's own shares.
        contrast: how far defects stand out, beside those of real strips.
        processes: how many at a time, by default one a core; the strips do not depend on it.

    Returns the folder. Raises UserError if something else lies there, or if a number is out of range.
    """
    folder = Path(paths.resolve_path(folder, "The folder"))
    if train < 1 or test < 1 or seed < 0 or not 0 < contrast <= 10:
        raise UserError(
            f"Cannot generate {train} training and {test} test strips from seed {seed} with contrast {contrast:g}: "
            "give at least one of each, a seed of 0 or more and a contrast above 0, 10 at most."
        )
    wanted = settings(int(train), int(test), int(seed), bool(lift), float(contrast))
    if is_filled(folder, wanted):
        return folder
    if folder.exists() and any(folder.iterdir()):  # the same set as an older version made it
        with files.scratch(folder) as aside, contextlib.suppress(FileNotFoundError):
            os.rename(folder, aside / "old")
    started = time.perf_counter()
    with files.scratch(folder) as partial:
        write_parts(
            partial,
            train,
            test,
            seed,
            lift,
            contrast,
            (os.cpu_count() or 1) if processes is None else processes,
        )
        files.write_json(partial / "dataset.json", wanted)
        if not files.put(partial, folder) and files.read_json(folder / "dataset.json") != wanted:
            raise UserError(f"{folder} was filled by somebody else meanwhile. Name another folder.")
    print(f"Generated {train} + {test} strips in {time.perf_counter() - started:.0f} s: {folder}")
    return folder


def checked_sizes(synthetic_sizes: Any) -> tuple[int, int]:
    """(training strips, test strips) from the notebooks' parameter; UserError unless two integers from 1."""
    are_two = isinstance(synthetic_sizes, list | tuple) and [type(size) for size in synthetic_sizes] == [
        int,
        int,
    ]
    if not are_two or min(synthetic_sizes) < 1:
        raise UserError(
            f"synthetic_sizes is {str(synthetic_sizes)[:80]}. It must be two whole numbers, 1 or more, "
            "for training and test strips: [1500, 240]."
        )
    return synthetic_sizes[0], synthetic_sizes[1]


def find_or_generate(
    data_dir: str | Path = "", synthetic_sizes: Sequence[int] = (1500, 240), seed: int = 42, lift: bool = True
) -> Path:
    """The competition's data where they are (see paths.find_data), else a set generated inside the project.

    Arguments:
        synthetic_sizes: numbers of training and test strips to generate, from 1.
    """
    folder = paths.find_data(data_dir)
    if folder:
        return folder
    if paths.on_kaggle():
        source = f"Add Input, Competitions, {paths.COMPETITION}"
        print(f"No competition data are attached ({source}): strips are generated instead.")
    train, test = checked_sizes(synthetic_sizes)
    name = f"generated-{train}-{test}-{seed}"
    return generate(paths.home() / "data" / name, train, test, seed, lift, contrast=CLEAR)


def for_pretraining(count: int, seed: int) -> Path:
    """So many generated strips whose defects are as faint as real ones, in the project's own folder for data."""
    return generate(paths.home() / "data" / f"generated-{count}-{seed}", count, 8, seed)
