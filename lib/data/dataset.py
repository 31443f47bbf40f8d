"""A data folder as tables: training images with their run-lengths, test images; its fingerprint; its checks.

Tables keep image ids exactly as the files are called. Opened in a spreadsheet, an id that begins with = + - @
is taken for a
formula: `check` warns of such names.
"""

import csv
import difflib
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.data import chosen, class_names, coils, reporting, rle, validation
from lib.data.decoding import MOST_PIXELS
from lib.data.images import as_listed, list_images
from lib.errors import UserError
from lib.files import read_json, write_atomic

NAMES = ("classes", "height", "width", "class_names", "generated", "note", "settings")  # in dataset.json


def insist_on_class(defect_class: int, about: dict) -> None:
    """UserError if data that are described so have no class of this number, counted from 1."""
    if not 1 <= defect_class <= about["classes"]:
        raise UserError(
            f"The data have {about['classes']} classes, and defect_class is {defect_class}. Choose one of them."
        )


def describe(data_dir: str | Path) -> dict:
    """What kind of data a folder holds: `dataset.json` if it is there, else Severstal's.

    Returns a dictionary with classes, height, width (int), class_names (list of str, one a class), generated
    (bool), note (str) and whatever else dataset.json holds. Raises UserError if dataset.json makes no sense.
    """
    about: dict = {"classes": 4, "height": 256, "width": 1600, "generated": False, "note": ""}
    path = Path(data_dir) / "dataset.json"
    if path.is_file():
        content = read_json(path)
        if not isinstance(content, dict):
            raise UserError(
                f"{path} holds no names with values. Write at least classes, height and width into it."
            )
        for name in content:
            if meant := _meant(name, content):
                raise UserError(
                    f"{path} sets {name[:80]!r}, which means nothing. Call it {meant}, or take it out."
                )
        about |= content
    for name, largest in (("classes", 100), ("height", 2**15), ("width", 2**15)):
        if type(about[name]) is not int or not 1 <= about[name] <= largest:
            raise UserError(
                f"{path}: {name} is {repr(about[name])[:80]}. It must be a whole number from 1 to {largest}."
            )
    classes, height, width = about["classes"], about["height"], about["width"]
    if height * width > MOST_PIXELS:
        raise UserError(
            f"{path}: {height} x {width} are more than {MOST_PIXELS:,} pixels. Cut the images into strips."
        )
    names = about.setdefault(
        "class_names", [f"class {defect_class}" for defect_class in range(1, classes + 1)]
    )
    if (
        not isinstance(names, list)
        or len(names) != classes
        or not all(isinstance(name, str) for name in names)
    ):
        raise UserError(
            f"{path}: class_names is {str(names)[:80]}. It must be a list of {classes} texts, one a class."
        )
    if type(about["generated"]) is not bool:
        raise UserError(f"{path}: generated is {repr(about['generated'])[:80]}. It must be true or false.")
    if not isinstance(about["note"], str):
        raise UserError(f"{path}: note is {repr(about['note'])[:80]}. It must be a text.")
    return about


def _meant(name: str, content: dict) -> str:
    """Which of the names that dataset.json may set another one nearly is, or ends with, such as Classes or
    num_classes; "" if none, or if that one is set as well."""
    plain = name.lower()
    near = difflib.get_close_matches(plain, NAMES, n=1, cutoff=0.8) or [
        known for known in NAMES if plain.endswith(known)
    ]
    return "" if name in NAMES or not near or near[0] in content else near[0]


def network_size(about: dict, height: int = 0, width: int = 0) -> tuple[int, int]:
    """Pixels (height, width) of a network's input: as given; at 0 those of the images, up to the next
    multiple of 32.

    Arguments:
        about: the data, as from `describe`.
    """
    return height or -(-about["height"] // 32) * 32, width or -(-about["width"] // 32) * 32


def titles(about: dict) -> list[str]:
    """How tables and figures call the classes, each in its own way: the names of `describe`, such as "class
    3" as it is and "scratches" as "3 scratches", each as `class_names.plain` gives it."""
    names = map(class_names.plain, about["class_names"])
    return [name if name == f"class {index}" else f"{index} {name}" for index, name in enumerate(names, 1)]


def load_table(data_dir: str | Path, max_images: int = 0, seed: int = 0) -> pd.DataFrame:
    """The training images with their run-lengths; every image file is a row, also those that train.csv
    doesn't name.

    Arguments:
        data_dir: folder with train.csv, in either schema, and train_images.
        max_images: 0 for all, else that many images, drawn from `seed` in the label combinations' shares,
            each at least once if there is room.

    Returns a table sorted by image_id: image_id, path (str), rle_1..rle_C (str, "" for none), and chosen (bool)
    where chosen.csv says which were chosen for labelling, and coil (str) where coils.csv says of which they are.
    Raises UserError at the first severe finding in train.csv and the file names; the images are not opened.
    """
    folder, about = Path(data_dir), describe(data_dir)
    names, rows, findings = _quick_findings(folder, about)
    validation.insist_on_none(findings)
    if not names:
        raise UserError(f"{folder / 'train_images'} holds no images. Put the training images there.")
    table = pd.DataFrame({"image_id": names, "path": [str(folder / "train_images" / name) for name in names]})
    table = coils.mark(chosen.mark(with_rles(table, rows, about["classes"]), folder), folder)
    return _draw_rows(table, max_images, seed) if 0 < max_images < len(table) else table


def with_rles(table: pd.DataFrame, rows: pd.DataFrame, classes: int) -> pd.DataFrame:
    """The table of images with the columns rle_1..rle_C from the rows of `validation.read_rows`."""
    columns = [f"rle_{defect_class}" for defect_class in range(1, classes + 1)]
    if rows.duplicated(["image_id", "defect_class"]).any():  # objects of one class, a row each
        rows = rows.groupby(["image_id", "defect_class"])["rle"].agg(rle.union).reset_index()
    wide = rows.assign(column="rle_" + rows["defect_class"]).pivot(
        index="image_id", columns="column", values="rle"
    )
    wide = wide.reindex(index=table["image_id"], columns=columns).fillna("")
    table[columns] = wide.to_numpy(dtype=object)
    return table


def _quick_findings(folder: Path, about: dict) -> tuple[list[str], pd.DataFrame, list[dict]]:
    """Names of the training images, rows of train.csv, and what is wrong with either."""
    names = list_images(folder / "train_images")
    findings = validation.folder_findings(folder / "train_images", names)
    rows, of_rows = _rows(folder / "train.csv", names, about)
    return names, rows, findings + of_rows


def _rows(path: Path, names: list[str], about: dict) -> tuple[pd.DataFrame, list[dict]]:
    """The rows of a table with the images called as they are on disk (`names`), and what is wrong with
    them."""
    rows = validation.read_rows(path)
    rows["image_id"] = as_listed(rows["image_id"], names)
    return rows, validation.row_findings(
        rows, path, set(names), about["classes"], (about["height"], about["width"])
    )


def _draw_rows(table: pd.DataFrame, max_images: int, seed: int) -> pd.DataFrame:
    """`max_images` rows in the label combinations' shares by largest remainder, each combination once if
    there is room."""
    combination = combinations(labels(table))
    kinds, counts = np.unique(combination, return_counts=True)
    first = int(len(kinds) <= max_images)
    exact = (counts - first) * (max_images - first * len(kinds)) / (len(table) - first * len(kinds))
    quotas = first + np.floor(exact).astype(int)
    quotas[np.argsort(exact % 1, kind="stable")[::-1][: max_images - quotas.sum()]] += 1
    rng = np.random.default_rng(seed)
    rows: list[int] = []
    for kind, quota in zip(kinds, quotas, strict=True):
        rows += rng.permutation(np.flatnonzero(combination == kind))[:quota].tolist()
    return table.iloc[sorted(rows)].reset_index(drop=True)


def load_test_table(data_dir: str | Path, max_images: int = 0) -> pd.DataFrame:
    """The test images: a table of image_id and path (str), sorted; without rows if the folder is empty.

    `max_images` above 0 takes that many, evenly spaced. Raises UserError if test_images is missing or a
    file's name is unfit.
    """
    folder = Path(data_dir) / "test_images"
    names = list_images(folder)
    validation.insist_on_none(validation.folder_findings(folder, names))
    if 0 < max_images < len(names):
        names = [names[index * len(names) // max_images] for index in range(max_images)]
    return pd.DataFrame({"image_id": names, "path": [str(folder / name) for name in names]}, dtype=object)


def load_truth(data_dir: str | Path, table: pd.DataFrame) -> pd.DataFrame | None:
    """A test table with the columns rle_1..rle_C from test_truth.csv, which generated strips have; None if it
    is not there.

    Raises UserError at the first wrong row, as `load_table` does.
    """
    path, about = Path(data_dir) / "test_truth.csv", describe(data_dir)
    if not path.is_file():
        return None
    rows, findings = _rows(path, list_images(Path(data_dir) / "test_images"), about)
    validation.insist_on_none(findings)
    return with_rles(table.copy(), rows, about["classes"])


def rle_columns(table: pd.DataFrame) -> list[str]:
    """The names of a table's run-length columns, rle_1..rle_C in order."""
    columns = [column for column in table.columns if column.startswith("rle_")]
    return sorted(columns, key=lambda column: int(column[4:]))


def labels(table: pd.DataFrame) -> np.ndarray:
    """Which classes each image of a table has: uint8 (N, C) of 0 and 1."""
    return (table[rle_columns(table)] != "").to_numpy(dtype=np.uint8)


def combinations(present: np.ndarray) -> np.ndarray:
    """One number for each row of labels (N, C); equal combinations have equal numbers, alike ones are near
    each other."""
    rare_first = np.argsort(present.sum(axis=0), kind="stable")
    return np.unique(present[:, rare_first], axis=0, return_inverse=True)[1].reshape(-1)


def fingerprint(data_dir: str | Path) -> dict:
    """What identifies a data folder: {"sha256", "train_images", "test_images"} (counts), from the tables' and
    dataset.json's bytes and every image's name and size. The pixels are not read: it takes a fraction of a
    second."""
    folder, digest, counts = Path(data_dir), hashlib.sha256(), {}
    for name in ("train.csv", "test_truth.csv", "dataset.json", chosen.FILE, coils.FILE):
        if (folder / name).is_file():
            digest.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    for part in ("train_images", "test_images"):
        names = list_images(folder / part) if (folder / part).is_dir() else []
        counts[part] = len(names)
        for name in names:
            path = folder / part / name
            # A link that leads nowhere, which `check` will tell.
            size = path.stat().st_size if os.path.exists(path) else -1
            digest.update(repr((part, name, size)).encode())
    return {"sha256": digest.hexdigest(), **counts}


def check(data_dir: str | Path, progress: Callable[[str], Any] | None = None) -> pd.DataFrame:
    """Everything that is wrong with a data folder: the table, the names, and every image fully decoded.

    Arguments:
        progress: function called with a line of text every 1,000 images, or None.

    Returns a table of findings: file, row (0 where none is meant), severity ("error" or "warning"), what,
    remedy. Raises UserError where nothing can be listed: no train.csv, another schema, no folder.
    """
    folder, about = Path(data_dir), describe(data_dir)
    names, rows, findings = _quick_findings(folder, about)
    shape = about["height"], about["width"]
    wrong = {finding["row"] for finding in findings if finding["severity"] == "error"}
    findings += validation.overlap_findings(rows, folder / "train.csv", wrong)
    files = [(folder / "train_images" / name, shape, "error") for name in names]
    tests = list_images(folder / "test_images") if (folder / "test_images").is_dir() else []
    if not tests:
        what = "there are no test images: 05_shift compares with none, and 90_inference predicts none"
        remedy = "That is no harm where new images are to be predicted with python -m lib.predict."
        if not (folder / "test_images").is_dir():
            what = "there is no such folder, and 05_shift, 40_evaluation and 90_inference need it"
            remedy = "Make it, empty if there are no test images."
        findings.append(reporting.finding(folder / "test_images", 0, what, remedy, "warning"))
    if (folder / "test_images").is_dir():
        findings += validation.folder_findings(folder / "test_images", tests)
        files += [(folder / "test_images" / name, shape, "warning") for name in tests]
        if (folder / "test_truth.csv").is_file():
            findings += _rows(folder / "test_truth.csv", tests, about)[1]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding leaves the interpreter's lock
        for count, finding in enumerate(pool.map(lambda file: validation.image_finding(*file), files), 1):
            findings += [finding] if finding else []
            if progress and count % 1000 == 0:
                progress(f"{count:,} of {len(files):,} images checked")
    return reporting.table(findings)


def write_table(path: str | Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write rows as a CSV file, atomically."""
    write_atomic(path, csv_text(header, rows))


def csv_text(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Rows as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
