"""Find defects in images with the networks of this folder: no TensorFlow, nothing of the project beside it.

    python -m pip install -r requirements.txt
    python detect.py IMAGES... --out DIR

IMAGES are files or folders. DIR gets masks/ (0 is no defect, else the class), defects.csv and images.csv. The
exit code is 1 where an image could not be read, 2 where nothing was done. In Python: `Detector()(bytes)`.
"""

import argparse
import collections
import contextlib
import csv
import functools
import hashlib
import itertools
import json
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
REDUCED = {1: cv2.IMREAD_GRAYSCALE} | {n: getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{n}") for n in (2, 4, 8)}
DEFECTS = ["image", "class", "name", "left", "top", "width", "height", "area", "length", "breadth",
           "mean_probability", "max_probability", "defect_probability"]  # fmt: skip


def check(folder: Path = HERE) -> None:
    """End the program, with the file's name, if one of the bundle is missing or was changed."""
    for name, entry in json.loads((folder / "manifest.json").read_text("utf-8"))["files"].items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            stop(f"{path} {'was changed' if path.is_file() else 'is missing'}. Copy the bundle again.")


def stop(sentence: str) -> None:
    """End the program with a sentence and the exit code 2."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


@functools.cache
def network_of(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A network's file as a function: images (B, h, w, 1) uint8 -> probabilities float32."""
    try:
        if path.suffix == ".onnx":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # for others' sake
            session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
            return lambda images: session.run(None, {session.get_inputs()[0].name: images})[0]
        import openvino
    except ImportError as error:
        stop(f"The package {error.name} is missing. In {HERE}: python -m pip install -r requirements.txt")
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: model(images)[0]


def flip(array: np.ndarray, name: str) -> np.ndarray:
    """An array (H, W, ...) mirrored: "vertical", "horizontal" or "both"; as it is for any other name."""
    return array[:: -1 if name in ("vertical", "both") else 1, :: -1 if name in ("horizontal", "both") else 1]


class Network(NamedTuple):
    """A network of the bundle: the mean of its members, and of mirrored or random passes of each image."""

    entry: dict[str, Any]  # of bundle.json

    def __call__(self, view: Callable[[tuple[int, int]], np.ndarray]) -> np.ndarray:
        """(C,) or (h, w, C) float32 of an image that `view` gives at a size, (h, w) uint8."""
        image, total = view(tuple(self.entry["input"])), np.zeros((), np.float32)
        for name in self.entry["passes"]:
            shown = self.varied(image, int(name.split()[-1])) if " " in name else flip(image, name)
            for file in self.entry["files"]:
                answer = network_of(HERE / file)(np.ascontiguousarray(shown)[None, ..., None])[0]
                total = total + (flip(answer, name) if answer.ndim == 3 else answer)
        return total / np.float32(len(self.entry["passes"]) * len(self.entry["files"]))

    def varied(self, image: np.ndarray, pass_index: int) -> np.ndarray:
        """A random variant of an image as in the training, which follows from the index and the image."""
        options = self.entry["variation"]
        rng = np.random.default_rng([options["seed"], pass_index, zlib.crc32(image.tobytes())])
        for name in ("vertical", "horizontal"):
            if options["flips"] in (name, "both") and rng.random() < 0.5:
                image = np.ascontiguousarray(flip(image, name))
        if options["brightness"] or options["contrast"]:
            gain = 1 + rng.uniform(-options["contrast"], options["contrast"])
            offset = (1 - gain) * cv2.mean(image)[0]
            offset += 255 * rng.uniform(-options["brightness"], options["brightness"])
            image = cv2.addWeighted(image, gain, image, 0, offset)
        return image


def grey(data: bytes, step: int = 1) -> np.ndarray:
    """An image's bytes as grey levels (H, W) uint8, a JPEG at 1 / step of its size; ValueError says why not."""
    image, lowest, stored = None, 0, np.frombuffer(data or b"?", np.uint8)
    with contextlib.suppress(cv2.error):  # of more pixels than OpenCV takes
        image = cv2.imdecode(stored, REDUCED[step] | cv2.IMREAD_IGNORE_ORIENTATION)
        lowest = np.asarray(cv2.imdecode(stored, -1)).min() if data[:2] in (b"II", b"MM") else 0
    if image is None or lowest < 0 or (data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data):
        raise ValueError("It is cut off, too large, has values below 0, or is no image that can be read.")
    return image


def resized(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """An image at (height, width): what shrinks is averaged over areas, then what grows is interpolated."""
    smaller = min(image.shape[0], size[0]), min(image.shape[1], size[1])
    if smaller != image.shape:
        image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA)
    return cv2.resize(image, size[::-1]) if smaller != size else image


class Detector:
    """The bundle at work, for any number of images; with an operating point's thresholds where one is named."""

    def __init__(self, operating_point: str = "") -> None:
        check()
        bundle = json.loads((HERE / "bundle.json").read_text("utf-8"))
        if operating_point and operating_point not in bundle["operating_points"]:
            stop(f"--operating-point: {', '.join(bundle['operating_points']) or 'none'} are there.")
        self.thresholds = bundle["thresholds"] | bundle["operating_points"].get(operating_point, {})
        self.filters = bundle["strategies"][self.thresholds["strategy"]]
        self.shape, self.names = tuple(bundle["shape"]), [entry["name"] for entry in bundle["classes"]]
        self.networks = {name: Network(entry) for name, entry in bundle["networks"].items()}

    def __call__(self, data: bytes) -> tuple[np.ndarray, list[list], float, np.ndarray]:
        """Of an image's bytes: the mask (H, W) uint8, rows as of defects.csv from the class on, the
        probability of any defect and of each class (C,), NaN where not asked. ValueError if it is unread."""
        shape, (maps, any_defect, of_class) = grey(data).shape, self.maps(data)
        pieces = [self.pieces(index, probability, shape) for index, probability in enumerate(maps)]
        mask = np.zeros(shape, np.uint8)  # the class with fewer pixels lies on top
        for index in sorted(range(len(pieces)), key=lambda index: (-pieces[index][0].sum(), -index)):
            mask[pieces[index][0]] = index + 1
        return mask, [row for _, rows in pieces for row in rows], any_defect, of_class

    def maps(self, data: bytes) -> tuple[np.ndarray, float, np.ndarray]:
        """Of an image's bytes: the maps (C, H, W) float32 at the training strips' height, and the probabilities."""
        image, (height, width) = grey(data), self.shape
        if image.shape[0] > max(image.shape[1], height) and width > height:
            raise ValueError("It is taller than wide, and the strips of the training lie. Turn it.")
        strip = resized(image, (height, max(round(image.shape[1] * height / image.shape[0]), 1)))
        maps, asked = np.zeros((len(self.names), *strip.shape), np.float32), []
        for left, begin, end, is_bridge in windows(strip.shape[1], width):

            def view(size: tuple[int, int], left: int = left) -> np.ndarray:
                steps = [step for step in REDUCED if height >= step * size[0] and width >= step * size[1]]
                if image.shape == self.shape and data[:2] == b"\xff\xd8":
                    return resized(grey(data, max(steps, default=1)), size)
                part = strip[:, left : left + width]
                return resized(np.pad(part, [(0, 0), (0, width - part.shape[1])], "reflect"), size)

            *probabilities, answers = self.answers(view)
            asked.append(np.hstack(probabilities))
            distance = np.abs(np.arange(end - begin) + 0.5 - (end - begin) / 2)
            weight = np.float32(np.clip(2 - 4 * distance / (end - begin), 0, 1) if is_bridge else 1)
            for class_index, here in enumerate(maps[:, :, begin:end]):
                if class_index in answers:
                    full = cv2.resize(answers[class_index], (width, height))
                    here[:] = here * (1 - weight) + weight * full[:, begin - left : end - left]
                elif not is_bridge:
                    here[:] = 0
        any_defect, *of_class = np.fmax.reduce(asked)
        return maps, any_defect, np.array(of_class)

    def answers(self, view: Callable[[tuple[int, int]], np.ndarray]) -> tuple[Any, np.ndarray, dict]:
        """What the filters state of a window, and the maps {class index: (h, w)} of what they let through."""
        any_defect, of_class = np.float32(np.nan), np.full(len(self.names), np.nan, np.float32)
        maps, is_soft = dict[int, np.ndarray](), self.filters["soft"]
        if self.filters["binary"]:
            any_defect = self.networks["binary"](view)[0]
            if any_defect < np.float32(self.thresholds["binary_threshold"]):
                return any_defect, of_class, maps
        wanted = np.array(self.thresholds["minimum_areas"]) <= self.shape[0] * self.shape[1]
        if self.filters["label"] or is_soft:
            of_class = self.networks["multilabel"](view)
            name = "pixel_thresholds" if is_soft else "label_thresholds"
            wanted &= of_class >= np.float32(self.thresholds[name])
        for network in self.networks.values():
            classes = network.entry.get("classes", [])
            probability = network(view) if wanted[classes].any() else np.empty(0)
            for channel, index in enumerate(classes):
                if wanted[index]:
                    factor = of_class[index] if is_soft else np.float32(1)
                    maps[index] = np.ascontiguousarray(probability[..., channel] * factor)
        return any_defect, of_class, maps

    def pieces(self, index: int, probability: np.ndarray, shape: tuple) -> tuple[np.ndarray, list[list]]:
        """The mask (H, W) bool of a class at the image's own shape and a row a piece, from its map."""
        inside = (probability >= np.float32(self.thresholds["pixel_thresholds"][index])).astype(np.uint8)
        _, labels, table, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
        lefts, areas = table[:, cv2.CC_STAT_LEFT], table[:, cv2.CC_STAT_AREA]
        large = areas >= self.thresholds["smallest_components"][index]
        large[0], stays = False, np.zeros(len(table), bool)
        for left, _, _, is_bridge in windows(inside.shape[1], self.shape[1]):
            touches = (lefts < left + self.shape[1]) & (lefts + table[:, cv2.CC_STAT_WIDTH] > left) & large
            if not is_bridge and areas[touches].sum() >= self.thresholds["minimum_areas"][index]:
                stays |= touches
        rows = (2 * np.arange(shape[0]) + 1) * labels.shape[0] // (2 * shape[0])
        columns = (2 * np.arange(shape[1]) + 1) * labels.shape[1] // (2 * shape[1])
        full, result = np.where(stays[labels], labels, 0)[rows[:, None], columns], []
        pixels = np.flatnonzero(full)
        pixels = pixels[np.argsort(full.ravel()[pixels], kind="stable")]
        for piece in filter(len, np.split(pixels, np.flatnonzero(np.diff(full.ravel()[pixels])) + 1)):
            y, x = np.divmod(piece, shape[1])
            box = [int(value) for value in (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1, len(piece))]
            corners = [np.column_stack([x - x.min() + i, y + j]) for i in (0, 1) for j in (0, 1)]
            sides = sorted(cv2.minAreaRect(np.concatenate(corners).astype(np.float32))[1])[::-1]
            left, top, wide, high, _ = table[full[y[0], x[0]]]
            here = slice(top, top + high), slice(left, left + wide)
            values = probability[here][labels[here] == full[y[0], x[0]]]
            shares = [values.mean(dtype=np.float64), values.max()]
            texts = [*(f"{round(side, 2):.1f}" for side in sides), *map(share, shares)]
            result.append([index + 1, self.names[index], *box, *texts])
        return full > 0, sorted(result, key=lambda row: row[2:4])


def windows(length: int, width: int) -> list[tuple[int, int, int, bool]]:
    """(left, begin, end, whether it bridges a joint) of a strip's windows: each has a say from begin to end."""
    cores = [*range(0, max(length - width, 0), width), max(length - width, 0)]
    spans = [(cores[0], 0, min(width, length), False)]
    for before, left in itertools.pairwise(cores):
        joint, reach, half = (before + width + left) // 2, round(0.25 * width), width // 2
        spans += [(left, joint, left + width, False), (joint - half, joint - reach, joint + reach, True)]
    return spans


def images_in(sources: list[Path]) -> dict[str, Path]:
    """{name: path} of files, and of the images in folders, sorted; a name is the path below what all share."""
    for source in itertools.filterfalse(Path.exists, sources):
        stop(f"{source} does not exist.")
    common, named = os.path.commonpath([(s if s.is_dir() else s.parent).resolve() for s in sources]), {}
    for source in sources:
        for path in source.rglob("*") if source.is_dir() else [source]:
            is_hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
            if path == source or (path.suffix.lower() in SUFFIXES and not is_hidden and not path.is_dir()):
                named[Path(os.path.relpath(path.parent.resolve() / path.name, common)).as_posix()] = path
    return dict(sorted(named.items()))


def share(value: float) -> str:
    """A probability with four digits, or "" where it was not asked."""
    return "" if np.isnan(value) else f"{value:.4f}"


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path, help="images, or folders with all that is in them")
    parser.add_argument("--out", required=True, help="folder to write, which is empty or not there yet")
    parser.add_argument("--operating-point", default="", help="thresholds other than those of the score")
    args = parser.parse_args()
    images, out = images_in(args.images), Path(args.out)
    if not images:
        stop(f"There are no images in {' '.join(map(str, args.images))}.")
    is_inside = any(source.resolve() in out.resolve().parents for source in args.images)
    if is_inside or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        stop(f"{out} is there already, or lies among the images. Name another folder.")
    detector = Detector(args.operating_point)
    out.mkdir(parents=True, exist_ok=True)
    stems = collections.Counter(os.path.splitext(name)[0].casefold() for name in images)
    defects, table, unread = list[list[Any]](), list[list[Any]](), 0
    for name, path in images.items():
        stem = os.path.splitext(name)[0]
        target = out / "masks" / f"{stem if stems[stem.casefold()] == 1 else name}.png"
        while target.exists():  # of another image: an a.jpg.png beside a.jpg and a.png
            target = target.with_stem(f"{target.stem}_")
        try:
            mask, rows, any_defect, of_class = detector(path.read_bytes())
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", "") or error
            table.append([name, "unread", 0, *[""] * (len(detector.names) + 3), f"{path}: {why}"])
            unread += 1
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(cv2.imencode(".png", mask)[1].tobytes())
        defects += [[name, *row, share(any_defect)] for row in rows]
        row = [name, "defect" if mask.any() else "clean", len(rows)]
        table.append([*row, *map(share, [any_defect, *of_class]), *mask.shape, ""])
    shares = [f"probability_{index + 1}" for index in range(len(detector.names))]
    header = ["image", "verdict", "defects", "defect_probability", *shares, "height", "width", "remark"]
    for file, lines in {"defects.csv": [DEFECTS, *defects], "images.csv": [header, *table]}.items():
        with open(out / file, "w", encoding="utf-8", errors="backslashreplace", newline="") as opened:
            csv.writer(opened, lineterminator="\n").writerows(lines)
    print(f"{len(images)} images, {unread} not read, {len(defects)} defects: {out}")
    return 1 if unread else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:  # such as a full disk
        stop(f"{error.filename or 'The bundle'}: {error.strerror}.")
