"""Reading train.csv row by row, and what can be wrong with a data folder, as findings with file, row and
remedy."""

import csv
import os
import warnings
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from lib.data import decoding, images, reporting, rle
from lib.errors import UserError

CURRENT = ["ImageId", "ClassId", "EncodedPixels"]
OLD = ["ImageId_ClassId", "EncodedPixels"]


def insist_on_none(findings: list[dict]) -> None:
    """UserError with the first severe one of some findings."""
    for finding in findings:
        if finding["severity"] == "error":
            raise UserError(reporting.sentence(finding))


def read_rows(path: str | Path) -> pd.DataFrame:
    """The rows of train.csv, in either of the competition's schemas, which are told apart by their columns.

    Current: ImageId, ClassId, EncodedPixels, one row a defect. 2019: ImageId_ClassId, EncodedPixels, a row
    for every pair, empty where there is no defect. Columns may stand in any order.

    Returns a table of text: image_id, defect_class, rle (as `rle.tidy` has it, "" for none), row (its line,
    from 2); without the spaces around ids and classes.
    Raises UserError if the file is missing, no UTF-8, no CSV or of another schema.
    """
    rows = read_csv(path)
    insist_on_text(path)
    rows.columns = [str(name).strip() for name in rows.columns]
    if sorted(rows.columns) not in (sorted(CURRENT), sorted(OLD)):
        columns = ", ".join(map(repr, map(str, rows.columns[:8])))
        raise UserError(
            f"{path} has the columns {columns}. It needs {', '.join(CURRENT)} (one row a defect) or {', '.join(OLD)} "
            "(one row an image and class) and no other."
        )
    rows = rows.fillna("")  # a line that ends early
    rows["EncodedPixels"] = rows["EncodedPixels"].map(rle.tidy)
    for column in set(rows.columns) - {"EncodedPixels"}:
        rows[column] = rows[column].str.strip(" \t\xa0")
    rows["row"] = range(2, len(rows) + 2)
    rows = rows[(rows.drop(columns="row") != "").any(axis=1)]  # blank lines
    if "ImageId" in rows:
        rows = rows.rename(columns={"ImageId": "image_id", "ClassId": "defect_class"})
    else:
        parts = rows["ImageId_ClassId"].str.extract(r"(?s)^(.*)_([^_]*)$")
        rows["image_id"] = parts[0].fillna(rows["ImageId_ClassId"])
        rows["defect_class"] = parts[1].fillna("")
    rows = rows.rename(columns={"EncodedPixels": "rle"})
    return rows[["image_id", "defect_class", "rle", "row"]].reset_index(drop=True)


def read_csv(path: str | Path) -> pd.DataFrame:
    """A CSV file as a table of text, blank lines included; UserError that says what keeps it from being
    one."""
    try:
        with warnings.catch_warnings():
            # Else a value too many would be dropped in silence.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                dtype=str,
                na_filter=False,
                index_col=False,
                skip_blank_lines=False,
                encoding="utf-8-sig",
            )
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist. Name the folder that holds train.csv and train_images."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}). Save it as CSV in UTF-8.") from None
    except pd.errors.EmptyDataError:
        raise UserError(
            f"{path} is empty. Its first line must be {','.join(CURRENT)} or {','.join(OLD)}."
        ) from None
    except pd.errors.ParserWarning:
        raise UserError(
            f"{path}, row {_long_row(path)}: there are more values than columns. Correct that line."
        ) from None
    except pd.errors.ParserError as error:
        reason = str(error).replace("Error tokenizing data. C error: ", "").strip().rstrip(".")
        raise UserError(f"{path} is no proper CSV file ({reason}). Correct that line.") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}). Check that it is a file and its permissions."
        ) from None


def insist_on_text(path: str | Path) -> None:
    """UserError if a table holds a byte of zero, at which pandas ends a value: "1 5\\0 9 9" would be read as
    "1 5"."""
    before, zero, _ = Path(path).read_bytes().partition(b"\0")
    if zero:
        row = before.count(b"\n") + 1
        raise UserError(
            f"{path}, row {row}: there is a byte of zero, as damaged files and texts in UTF-16 have. Save it as CSV in UTF-8."
        )


def _long_row(path: str | Path) -> int | str:
    """The line (from 1) of the first row of a CSV file with more values than the header has."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        columns = len(next(reader))
        try:
            return next((reader.line_num for values in reader if len(values) > columns), "unknown")
        except csv.Error:  # a value of more than 131,072 letters
            return "unknown"


def row_findings(
    rows: pd.DataFrame, file: str | Path, names: set[str], classes: int, shape: tuple[int, int]
) -> list[dict]:
    """What is wrong with the rows of `read_rows`, a list of findings in the order of the rows; the last one
    may be a warning.

    Several rows may name one image and class, as if each were an object: their pixels are taken together, and
    a warning says so. Rows that differ and share pixels, or of which one is empty, contradict each other.

    Arguments:
        file: the path of train.csv or test_truth.csv, for the findings.
        names: set of the names of the images on disk; classes: how many; shape: (height, width).
    """
    accepted = {str(defect_class) for defect_class in range(1, classes + 1)}
    part = "test_images" if str(file).endswith("test_truth.csv") else "train_images"
    findings: list[dict] = []
    before: dict[tuple[str, str], list[str]] = {}  # run-lengths of each image and class so far
    together: list[int] = []
    for image_id, defect_class, text, row in rows.itertuples(index=False):
        what, remedy = (
            images.name_problem(image_id) if image_id not in names else "",
            f"Give the plain name of a file in {part}.",
        )
        if image_id not in names and not what:
            what, remedy = f"the image {image_id!r} is not in {part}", "Put the file there or delete the row."
        findings += [reporting.finding(file, row, what, remedy)] if what else []
        if defect_class not in accepted:
            what = f"the class {defect_class!r} is not a whole number from 1 to {classes}"
            findings.append(reporting.finding(file, row, what, f"Correct the class: there are {classes}."))
        problem = _rle_problem(text, shape)
        if problem:
            findings.append(reporting.finding(file, row, *problem))
        if problem or defect_class not in accepted:
            continue
        earlier = before.setdefault((image_id, defect_class), [])
        if text not in earlier and (contradiction := _contradiction(text, earlier)):
            what = f"image {image_id!r} and class {defect_class} have a row already, and {contradiction}"
            findings.append(reporting.finding(file, row, what, "Keep one of the two rows."))
        together += [row] if earlier else []
        earlier += [text] if text not in earlier else []
    if together and not findings:
        what = f"{len(together):,} rows, this one first, name an image and class that have a row already"
        remedy = "Their pixels are taken together; nothing need be done if each row is an object."
        findings.append(reporting.finding(file, together[0], what, remedy, "warning"))
    return findings


def _rle_problem(text: str, shape: tuple[int, int]) -> tuple[str, str] | None:
    """What is wrong with a run-length string, and the remedy; None if nothing."""
    try:
        if text:
            rle.check(text, shape)
    except rle.RleError as error:
        what, remedy = str(error).split(". ", 1)
        return what[0].lower() + what[1:], remedy
    return None


def _contradiction(text: str, earlier: list[str]) -> str:
    """How a run-length string contradicts those of earlier rows, in words; "" if it does not."""
    if not earlier:
        return ""
    pixels = rle.intersection(text, rle.union(earlier))
    if pixels:
        return f"{pixels} pixels in common with it, but not all"
    return "one of the two is empty" if not text or earlier == [""] else ""


def folder_findings(folder: str | Path, names: Collection[str]) -> list[dict]:
    """What lies in an image folder: names that are unfit (severe), strange ones and files that are no images
    (warnings)."""
    findings = []
    for name in names:
        if problem := images.name_problem(name):
            findings.append(
                reporting.finding(folder, 0, problem, "Rename the file, and its rows in train.csv.")
            )
        elif name[0] in "=+-@":
            what = "its name begins as a formula does in a spreadsheet"
            remedy = "Nothing is lost; open the tables as text, not in a spreadsheet."
            findings.append(reporting.finding(os.path.join(folder, name), 0, what, remedy, "warning"))
    with os.scandir(folder) as entries:
        others = [
            entry.name
            for entry in entries
            if not (images.is_image_name(entry.name) and images.is_file_or_lost(entry))
        ]
    for name in sorted(others):
        path = os.path.join(folder, name)
        if os.path.splitext(name)[1].lower() in images.OTHER_SUFFIXES:
            what, remedy = "it is an image of a kind that is not read, and left out", "Save it as PNG."
        elif any(images.is_image_name(file) for _, _, files in os.walk(path) for file in files):
            what, remedy = (
                "it is a folder with images, which are left out",
                "Move them up if they belong to the others.",
            )
        else:
            what, remedy = (
                "it is no image by its name, or no file, and left out",
                "Nothing need be done unless it is an image.",
            )
        findings.append(reporting.finding(path, 0, what, remedy, "warning"))
    return findings


def image_finding(path: str | Path, shape: tuple[int, int], severity: str = "error") -> dict | None:
    """What is wrong with an image file, fully decoded: a finding, or None.

    Arguments:
        shape: (height, width) that it must have; severity: of a wrong size. Unreadable images are severe in
            any case.
    """
    try:
        data = decoding.read_bytes(path)
        pixels = decoding.decode_image(data, path)
        channels, kind, highest = decoding.pixel_kind(data)
        count = decoding.picture_count(data)
    except UserError as error:
        what, remedy = str(error).replace(f"The image {path}", "the image").rsplit(". ", 1)
        return reporting.finding(path, 0, what, remedy)
    if pixels.shape[:2] != tuple(shape):
        has, wanted = f"{pixels.shape[0]} x {pixels.shape[1]}", f"{shape[0]} x {shape[1]}"
        return reporting.finding(
            path,
            0,
            f"it has {has} pixels (height x width), not {wanted}",
            "Replace it by the original file, or correct height and width in dataset.json.",
            severity,
        )
    if count > 1:
        return reporting.finding(
            path,
            0,
            f"it holds {count} pictures, and the first alone is read",
            "Save each as a file of its own.",
            "warning",
        )
    if kind != "uint8" and highest < 2**14:
        return reporting.finding(
            path,
            0,
            f"it has {channels} channels of {kind} and no value above {highest}, so {highest // 256 + 1} grey levels "
            "are left of it",
            "Bring all to 8 bits on one scale, as lib.importer does with --white.",
            "warning",
        )
    if channels not in (1, 3) or kind != "uint8":
        return reporting.finding(
            path,
            0,
            f"it has {channels} channels of {kind}",
            "It is read as 8-bit grey; convert it yourself if that is not what you want.",
            "warning",
        )
    return None


def overlap_findings(rows: pd.DataFrame, file: str | Path, wrong: set[int]) -> list[dict]:
    """Warnings for masks of different classes that share pixels of one image; the rows (line numbers) in
    `wrong` are left out."""
    findings = []
    for image_id, group in rows[~rows["row"].isin(wrong) & (rows["rle"] != "")].groupby("image_id"):
        texts, lines, kinds = (group[column].tolist() for column in ("rle", "row", "defect_class"))
        for later in range(1, len(texts)):
            others = [earlier for earlier in range(later) if kinds[earlier] != kinds[later]]
            pixels = sum(rle.intersection(texts[later], texts[earlier]) for earlier in others)
            if pixels:
                what = f"the mask of {image_id!r} shares {pixels} pixels with another class's"
                findings.append(
                    reporting.finding(file, lines[later], what, "Both masks are used as they are.", "warning")
                )
    return findings
