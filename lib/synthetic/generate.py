"""Generated strips in the competition's exact layout, made from a seed: a stand-in for the data that nobody may hand on."""

import contextlib
import hashlib
import multiprocessing
import os
import re
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from lib import errors, files, paths
from lib.data import dataset, rle
from lib.synthetic.defects import put_defects
from lib.synthetic.texture import HEIGHT, WIDTH, harmless_marks, make_roll, side_block, surface

CLASSES = 4
QUALITY = 90  # gives the originals' quantisation tables
VERSION = 8  # raised when the same seed no longer gives the same strips
STRIPS_PER_ROLL = 8
CHUNK = 32  # strips handed to a process at once
# Label combinations of the competition's 12,568 training images.
FACTS = {(): 5902, (3,): 4759, (1,): 769, (4,): 516, (3, 4): 284, (2,): 195, (1, 3): 91, (1, 2): 35, (2, 3): 14,
         (1, 2, 3): 2, (2, 4): 1}  # fmt: skip
# The same kinds with the rare classes raised, so that each can be learnt from a thousand strips.
LIFTED = {(): 485, (3,): 135, (4,): 105, (1,): 70, (3, 4): 50, (2,): 45, (1, 2): 40, (1, 3): 35, (2, 3): 25,
          (1, 2, 3): 5, (2, 4): 5}  # fmt: skip


def plan_labels(count, random, lift=True):
    """The label combination of each of `count` strips, a shuffled list of tuples, in the shares of the facts or lifted ones.

    Every class is there at least once if `count` is 5 or more: it takes the place of the most frequent combination.
    """
    shares = LIFTED if lift else FACTS
    exact = {labels: count * share / sum(shares.values()) for labels, share in shares.items()}
    counts = Counter({labels: int(value) for labels, value in exact.items()})
    by_rest = sorted(exact, key=lambda labels: exact[labels] - counts[labels], reverse=True)
    counts.update(by_rest[: count - sum(counts.values())])
    if count >= 5:
        for defect_class in range(1, CLASSES + 1):
            if not any(defect_class in labels and number for labels, number in counts.items()):
                counts[max(counts, key=counts.get)] -= 1
                counts[(defect_class,)] += 1
    plan = [labels for labels, number in counts.items() for _ in range(number)]
    return [plan[i] for i in random.permutation(len(plan))]


def plan(part, count, seed, lift=True):
    """What each strip of one part, "train" or "test", is to be: a list of dictionaries, sorted by image_id.

    Keys: image_id, part, seed (of the set), number (its own random stream), roll, labels, ranks (defect class -> see
    defects.object_sizes), twin ("" or how it differs from the strip whose stream it shares: "copy", or "masks" where
    also the annotator drew otherwise).
    """
    random = np.random.default_rng([seed, part == "test", 0])
    rolls = max(2, -(-count // STRIPS_PER_ROLL))
    strips = []
    for number, labels in enumerate(plan_labels(count, random, lift)):
        image_id = hashlib.sha256(f"{seed} {part} {number}".encode()).hexdigest()[:9] + ".jpg"
        strips.append({"image_id": image_id, "part": part, "seed": seed, "number": number,
                       "roll": int(random.integers(rolls)), "labels": labels, "ranks": {}, "twin": ""})  # fmt: skip
    for defect_class in range(1, CLASSES + 1):
        positive = [planned for planned in strips if defect_class in planned["labels"]]
        ranks = [(random.permutation(len(positive)) + 0.5) / max(1, len(positive)) for _ in range(2)]
        for planned, *pair in zip(positive, *ranks, strict=True):
            planned["ranks"][defect_class] = tuple(map(float, pair))
    if part == "train" and count >= 16:
        pairs = min(44, 2 + count // 250)
        for pair in range(pairs):
            free = [s for s in strips if not s["twin"] and (s["labels"] == (3,)) == (pair == 0)]
            if not free:
                continue
            first = next((s for s in free if s["number"] % 7 > 2), free[0])
            first["twin"] = "first"
            second = next((s for s in reversed(strips) if s["labels"] == first["labels"] and not s["twin"]), None)
            if second:
                second.update(twin="masks" if pair == 0 else "copy", **{key: first[key] for key in ("number", "roll", "ranks")})
    return sorted(strips, key=lambda strip: strip["image_id"])


def strip(random, roll, labels, ranks=None, classes=CLASSES):
    """Make one strip.

    Arguments:
        random: numpy Generator; the strip follows from its state alone.
        roll: what the strip has in common with others, from texture.make_roll.
        labels: the defect classes 1..C on it.
        ranks: defect class -> place of this strip by number of objects and by mask area, each 0..1; else drawn.
    Returns image (H, W) uint8 and masks (H, W, C) uint8 0/1, which never overlap.
    """
    image = surface(random, roll)
    masks = np.zeros((HEIGHT, WIDTH, classes), np.uint8)
    harmless_marks(image, random, roll, extra=0.0 if labels else 0.8)
    lit = side_block(image, random, roll, largest=WIDTH - 260 if not labels else WIDTH - 420)
    for defect_class in labels:
        places = (ranks or {}).get(defect_class) or tuple(random.uniform(0.001, 0.999, 2))
        put_defects(image, masks, random, roll, defect_class, lit, places)
    return np.clip(image, 0, 255).astype(np.uint8), masks


def twin_of(image, masks, random, other_masks):
    """A near-duplicate as found in the real set: shifted by a few columns, a little brighter or darker, re-encoded.

    With `other_masks` the annotator drew more generously the second time.
    """
    shift = int(random.integers(2, 7))
    image = cv2.convertScaleAbs(np.roll(image, shift, axis=1), alpha=float(random.uniform(0.96, 1.04)))
    image[:, :shift] = image[:, shift : shift + 1]
    masks = np.roll(masks, shift, axis=1)
    masks[:, :shift] = 0
    if other_masks:
        wider = [cv2.dilate(np.ascontiguousarray(masks[..., c]), np.ones((5, 13), np.uint8)) for c in range(masks.shape[2])]
        masks = np.stack(wider, axis=2) * (masks.any(axis=2, keepdims=True) <= masks)
    return image, masks


def make_strip(planned):
    """The picture and masks of one entry of `plan`: image (H, W) uint8, masks (H, W, C) uint8."""
    part = int(planned["part"] == "test")
    roll = make_roll(np.random.default_rng([planned["seed"], part, 1, planned["roll"]]), shift=float(part))
    random = np.random.default_rng([planned["seed"], part, 2, planned["number"]])
    image, masks = strip(random, roll, planned["labels"], planned["ranks"])
    if planned["twin"] in ("copy", "masks"):
        image, masks = twin_of(image, masks, random, planned["twin"] == "masks")
    return image, masks


def write_chunk(work):
    """Make and write some strips; returns their mask rows (image_id, defect class, rle). Runs in a process of its own."""
    folder, strips = work
    cv2.setNumThreads(1)
    rows = []
    for planned in strips:
        image, masks = make_strip(planned)
        encoded = cv2.imencode(".jpg", cv2.merge([image] * 3), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        (Path(folder) / planned["image_id"]).write_bytes(encoded.tobytes())
        for defect_class in range(1, masks.shape[2] + 1):
            mask = masks[..., defect_class - 1]
            if mask.any():
                rows.append((planned["image_id"], defect_class, rle.encode(mask)))
    return rows


def settings(train, test, seed, lift):
    """What a generated set is made from, as its dataset.json holds it."""
    note = "Generated strips: no real steel."
    if lift:
        note += " The rare defect classes are raised far above their real shares so that each can be learnt from few strips."
    return {"generated": True, "classes": CLASSES, "height": HEIGHT, "width": WIDTH,
            "class_names": [f"class {c}" for c in range(1, CLASSES + 1)], "note": note,
            "settings": {"train": train, "test": test, "seed": seed, "lift": lift, "version": VERSION}}  # fmt: skip


def write_parts(folder, train, test, seed, lift, processes):
    """Write all images and tables of a set into `folder`."""
    plans = {"train": plan("train", train, seed, lift), "test": plan("test", test, seed, lift)}
    work = []
    for part, strips in plans.items():
        (folder / f"{part}_images").mkdir(parents=True)
        work += [(str(folder / f"{part}_images"), strips[i : i + CHUNK]) for i in range(0, len(strips), CHUNK)]
    if processes > 1 and len(work) > 1:
        context = multiprocessing.get_context(start_method())
        with ProcessPoolExecutor(min(processes, len(work)), mp_context=context) as executor:
            done = list(executor.map(write_chunk, work))
    else:
        done = [write_chunk(piece) for piece in work]
    chunks = -(-len(plans["train"]) // CHUNK)
    header = ("ImageId", "ClassId", "EncodedPixels")
    dataset.write_table(folder / "train.csv", header, [row for rows in done[:chunks] for row in rows])
    dataset.write_table(folder / "test_truth.csv", header, [row for rows in done[chunks:] for row in rows])
    sample = [(planned["image_id"], f"1 {HEIGHT * WIDTH}", 1) for planned in plans["test"]]
    dataset.write_table(folder / "sample_submission.csv", ("ImageId", "EncodedPixels", "ClassId"), sample)


def generate(folder, train, test, seed, lift=True, processes=None):
    """Make a data set of generated strips in the competition's layout, or reuse the one there.

    Arguments:
        folder: where to; written aside and renamed at the end. Of two that make the same at once the second takes the first's.
        train, test: numbers of strips, from 1; 8 or more hold every class.
        lift: raise the shares of the rare classes (the demo); else the competition's own shares.
        processes: how many at a time, by default one a core; the strips do not depend on it.
    Returns the folder. Raises UserError if something else lies there, or if a number is out of range.
    """
    folder = paths.given(folder, "The folder")
    if train < 1 or test < 1 or seed < 0:
        raise errors.UserError(f"Cannot generate {train} training and {test} test strips from seed {seed}: "
                              "give at least one of each and a seed of 0 or more.")  # fmt: skip
    wanted = settings(int(train), int(test), int(seed), bool(lift))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        there = files.read_json(folder / "dataset.json") if (folder / "dataset.json").is_file() else {}
        if there == wanted:
            return folder
        before = there.get("settings") if isinstance(there, dict) else None
        if not isinstance(before, dict) or {**before, "version": VERSION} != wanted["settings"]:
            raise errors.UserError(f"{folder} holds something else than these generated strips. Delete it or name another folder.")
        strange = foreign(folder)
        if strange:
            raise errors.UserError(f"{strange} is none of the strips that an older version generated there, and they are to be made anew. "
                                  f"Move it elsewhere, or name another folder than {folder}.")
        with files.scratch(folder) as aside, contextlib.suppress(FileNotFoundError):  # the same set as an older version made it
            os.rename(folder, aside / "old")
    started = time.perf_counter()
    with files.scratch(folder) as partial:
        write_parts(partial, train, test, seed, lift, os.cpu_count() if processes is None else processes)
        files.write_json(partial / "dataset.json", wanted)
        if not files.put(partial, folder) and files.read_json(folder / "dataset.json") != wanted:
            raise errors.UserError(f"{folder} was filled by somebody else meanwhile. Name another folder.")
    print(f"Generated {train} + {test} strips in {time.perf_counter() - started:.0f} s: {folder}")
    return folder


def foreign(folder):
    """The first thing in the folder of a generated set that is none of its own, or None."""
    parts = ("train_images", "test_images")
    tables = ("dataset.json", "train.csv", "test_truth.csv", "sample_submission.csv")
    for path in sorted(Path(folder).iterdir()):
        if path.name in parts and path.is_dir() and not path.is_symlink():
            strange = (file for file in sorted(path.iterdir()) if not re.fullmatch(r"[0-9a-f]{9}\.jpg", file.name) or not file.is_file())
            if found := next(strange, None):
                return found
        elif path.name not in tables or not path.is_file():
            return path
    return None


def sizes(generated):
    """(training strips, test strips) from the notebooks' parameter `generated`; UserError if it is anything but two numbers from 1."""
    if not isinstance(generated, list | tuple) or [type(number) for number in generated] != [int, int] or min(generated) < 1:
        raise errors.UserError(f"generated is {str(generated)[:80]}. It must be two whole numbers, 1 or more, for training and test strips: "
                              "[1500, 240].")  # fmt: skip
    return tuple(generated)


def find_or_generate(data_dir="", generated=(1500, 240), seed=42, lift=True):
    """The competition's data where they are found (see paths.find_data), else a set generated inside the project.

    Arguments:
        generated: numbers of training and test strips to generate, from 1.
    """
    found = paths.find_data(data_dir)
    if found:
        return found
    if paths.on_kaggle():
        print(f"No competition data are attached (Add Input, Competitions, {paths.COMPETITION}): strips are generated instead.")
    train, test = sizes(generated)
    return generate(paths.home() / "data" / f"generated-{train}-{test}-{seed}", train, test, seed, lift)


def start_method():
    """How helper processes start: forked on Linux (they never touch TensorFlow, so a kernel that has loaded it may fork), else afresh."""
    import multiprocessing
    import sys

    return "fork" if sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods() else "spawn"
