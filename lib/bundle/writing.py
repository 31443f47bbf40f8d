"""A bundle: a folder with the networks of a run, its thresholds, `detect.py`, which needs numpy, OpenCV and one
runtime alone, a card to read, and manifest.json with the SHA-256 of each."""

import inspect
import shutil
from collections.abc import Callable
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lib import files, plots
from lib.bundle import card, detect
from lib.data import augmentation, manifest
from lib.errors import UserError
from lib.inference import passes, postprocess, sources
from lib.inference.postprocess import PostprocessConfig

SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}  # of a network's file
RUNTIME = {"onnx": "onnxruntime", "openvino": "openvino"}  # that runs it
CHOSEN = [field.name for field in fields(PostprocessConfig)[:6]]  # thresholds that an operating point has too
VARIED = {  # what augmentation does where a network's card does not say
    name: inspect.signature(augmentation.augment).parameters[name].default for name in passes.OPTIONS
}
DOCKERFILE = """# docker build -t steel-detect .
# docker run --rm -v "$PWD/images:/images:ro" -v "$PWD/found:/found" steel-detect /images --out /found/monday
FROM python:3.12-slim
COPY requirements.txt /bundle/
RUN pip install --no-cache-dir -r /bundle/requirements.txt
COPY . /bundle/
ENTRYPOINT ["python", "/bundle/detect.py"]
"""


def write(run: Path, kind: str, out: Path, report: Callable[[str], Any]) -> int:
    """Write the bundle of a run, complete or not at all; the bytes of all its files.

    Arguments:
        run: a run's folder; kind: one of SUFFIX; out: the folder, not there yet or empty; report:
            called with a line of text after each network.

    Raises UserError where the run is not whole, or a network cannot be converted.
    """
    from lib.bundle import networks  # imports Keras, for which --help need not wait

    networks.insist_on_packages(kind)
    thresholds = sources.read_thresholds(run)
    folders = sources.networks_of(run, thresholds, thresholds.classes)
    bare = [folder for folder in folders.values() if not (folder / "model.weights.h5").is_file()]
    if bare:
        raise UserError(f"{bare[0]} has no weights, as in a pack for Kaggle. Name the run that was packed.")
    if len(thresholds.shape) != 2:
        raise UserError(f"{run / sources.THRESHOLDS} has no shape. Run 40_evaluation again.")
    with files.scratch(out) as partial:
        entries = write_networks(partial, folders, thresholds, SUFFIX[kind], report)
        names = sources.class_titles(run, thresholds)
        bundle = {
            "run": run.name,
            "shape": list(thresholds.shape),
            "classes": [{"name": name, "colour": plots.colour(index)} for index, name in enumerate(names)],
            "thresholds": {name: value for name, value in asdict(thresholds).items() if name in CHOSEN},
            "operating_points": operating_points(run),
            "strategies": strategies(),
            "networks": entries,
        }
        files.write_json(partial / "bundle.json", bundle)
        shutil.copyfile(detect.__file__, partial / "detect.py")
        packages = ("numpy", "opencv-python-headless", RUNTIME[kind])
        # A later numpy will do: there are wheels of each for some Pythons alone.
        needed = [f"{name}{'>=' if name == 'numpy' else '=='}{version(name)}\n" for name in packages]
        files.write_atomic(partial / "requirements.txt", "".join(needed))
        files.write_atomic(partial / "Dockerfile", DOCKERFILE)
        card.write(partial / "card.html", run, bundle, thresholds, packages)
        files.write_json(partial / manifest.MANIFEST, manifest.manifest_of(partial))
        size = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
        if not files.put(partial, out):
            raise UserError(f"{out} is there already. Delete it or name another folder.")
    return size


def write_networks(
    folder: Path,
    folders: dict[str, Path],
    thresholds: PostprocessConfig,
    suffix: str,
    report: Callable[[str], Any],
) -> dict[str, dict[str, Any]]:
    """Write the files of all networks {name: folder} into a bundle's networks/; {name: how it is used}."""
    from lib.bundle import networks

    entries = {}
    (folder / "networks").mkdir()
    for part in networks.parts_of(folders):
        tta = thresholds.tta if part.classes else thresholds.classifier_tta or thresholds.tta
        entry: dict[str, Any] = {"files": [], "passes": list(passes.named(tta))}
        if any(name.startswith(passes.VARIANT) for name in entry["passes"]):
            variation = passes.variation_of(sources.card(part.folders[0]), part.folders[0])
            entry["variation"] = {**VARIED, **variation.options, "seed": variation.seed}
        if part.classes:
            entry["classes"] = part.classes
        for member, (network, size) in enumerate(networks.networks_of(part), 1):
            name = f"networks/{part.name}{f'.{member}' if member > 1 else ''}{suffix}"
            difference = networks.write(network, size, folder / name)
            entry["files"].append(name)
            entry["input"] = list(size)
            classes = f", classes {', '.join(str(index + 1) for index in part.classes)}"
            report(f"{name}{classes if part.classes else ''}: differs by {difference:.1e} at most")
        entries[part.name] = entry
    return entries


def operating_points(run: Path) -> dict[str, dict[str, Any]]:
    """{name: thresholds} of the operating points that a run's thresholds.json has."""
    stored = files.read_json(sources.file_in(run, sources.THRESHOLDS)).get("operating_points") or {}
    points = {name: asdict(sources.read_thresholds(run, name)) for name in stored}
    return {name: {key: point[key] for key in CHOSEN} for name, point in points.items()}


def strategies() -> dict[str, dict[str, bool]]:
    """{strategy: which filters stand before the segmenters}."""
    return {
        name: {"binary": binary, "label": label, "soft": name == postprocess.SOFT}
        for name, (binary, label) in postprocess.STRATEGIES.items()
    }
