"""A bundle (`python -m lib.export`) against the run that it was made of: images a second, and whether masks are
equal.

python benchmarks/bench_bundle.py [--quick] [--run FOLDER] [--images DIR] [--bundle DIR]

Each image goes alone, from its file to its mask and pieces, in turn through all ways, so that a busy moment of the
machine meets all of them. Pixels that differ are counted, and those among them that are not within 1e-3 of a
threshold.
"""

import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure
import numpy as np
import trained_run

from lib import files
from lib.inference import results, sources
from lib.inference.inspector import Inspector
from lib.inference.results import Severity
from lib.models import environment, runtime

CLOSE = 1e-3
BUNDLE, SAVED = "bundle", "SavedModel, float32"


def inspector_of(run, engine, folder):
    """An Inspector of a run that computes in an engine, whatever its thresholds name; `folder`: for a copy of the
    run's names."""
    copy = Path(folder) / engine
    copy.mkdir()
    for path in run.iterdir():
        if path.name in ("models", "evaluation.json"):
            (copy / path.name).symlink_to(path.resolve())
    thresholds = files.read_json(sources.file_in(run, sources.THRESHOLDS))
    files.write_json(copy / sources.THRESHOLDS, thresholds | {"engine": engine})
    return Inspector(copy)


def mask_of(inspector, path):
    """The mask (H, W) uint8 of an image's file, as lib.predict writes it."""
    found = inspector(path)
    anything = Severity((0.0,) * len(found.classes), (0.0,) * len(found.classes))
    return results.index_mask(results.of_found(str(path), found, anything, (), 0))


def detector_of(bundle):
    """The Detector of a bundle, by its own detect.py."""
    specification = importlib.util.spec_from_file_location("bundle_detect", Path(bundle) / "detect.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.Detector()


def far_pixels(detector, data, differs):
    """How many of the pixels that differ, (H, W) bool, are not within CLOSE of a threshold: none if the binary filter
    itself is."""
    maps, any_defect, _ = detector.maps(data)
    if abs(any_defect - detector.thresholds["binary_threshold"]) < CLOSE:
        return 0
    limits = np.float32(detector.thresholds["pixel_thresholds"])[:, None, None]
    near = (np.abs(maps - limits) < CLOSE).any(axis=0)
    return int((differs & ~near).sum()) if near.shape == differs.shape else int(differs.sum())


def main():
    parser = measure.arguments(__doc__)
    trained_run.add_argument(parser)
    parser.add_argument("--images", default="", help="a folder of images; the run's test images without")
    parser.add_argument("--count", type=int, default=0, help="images at most, spread over the folder; 0: all")
    parser.add_argument("--bundle", default="", help="a bundle of the run; one is made without")
    parser.add_argument("--only-masks", action="store_true", help="compare masks in float32 alone")
    args = parser.parse_args()
    environment.set_up()
    run = sources.run_folder(args.run)
    paths = sorted(Path(args.images).glob("*.*")) if args.images else trained_run.load(run).files
    count = 2 if args.quick else args.count or len(paths)
    paths = [
        Path(paths[index]) for index in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)
    ]
    with tempfile.TemporaryDirectory() as made:
        bundle = Path(args.bundle or Path(made) / "bundle")
        if not args.bundle:
            from lib.bundle import writing

            writing.write(run, "onnx", bundle, lambda line: print(line, file=sys.stderr, flush=True))
        detector = detector_of(bundle)
        ways = {BUNDLE: lambda path: detector(path.read_bytes())[0]}
        saved = inspector_of(run, "float32", made)
        ways[SAVED] = lambda path: mask_of(saved, path)
        if runtime.choose("bfloat16") == "bfloat16" and not args.only_masks:
            half = inspector_of(run, "bfloat16", made)
            ways["SavedModel, bfloat16"] = lambda path: mask_of(half, path)
        for way in ways.values():
            way(paths[0])  # what is done once belongs to no image's time
        speeds, masks = {name: [] for name in ways}, {}
        differing = far = marked = images = 0
        for path in paths:
            for name, way in ways.items():
                began = time.perf_counter()
                masks[name] = way(path)
                speeds[name].append(1 / (time.perf_counter() - began))
            differs = masks[BUNDLE] != masks[SAVED]
            marked += int((masks[SAVED] > 0).sum())
            if differs.any():
                images, differing = images + 1, differing + int(differs.sum())
                far += far_pixels(detector, path.read_bytes(), differs)
            print(f"{path.name}: {int(differs.sum())} pixels differ", file=sys.stderr, flush=True)
    suffix = Path(detector.networks["binary"].entry["files"][0]).suffix
    print("## A bundle beside its run\n")
    print(f"{run.name}, {len(paths)} images, each alone; the bundle has {suffix} files. {measure.machine()}.")
    load = os.getloadavg()[1] if hasattr(os, "getloadavg") else float("nan")
    print(f"The load of the machine was {load:.1f} over the last five minutes.")
    says = f"Pixels in masks: {marked:,}. On {images} images {differing:,} differ, {far:,} of them farther than {CLOSE:g} from a threshold."
    measure.table("an image", speeds, "images/s", BUNDLE, says)


if __name__ == "__main__":
    main()
