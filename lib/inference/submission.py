"""Write, read and check a submission.

2019 format: ImageId_ClassId,EncodedPixels; a row for every image and class, empty where no defect is
predicted. Current format: ImageId,EncodedPixels,ClassId; a row for every predicted pair; an image without any
has one row of class 1 with the empty string. Ids stand exactly as the files are called, as the scorer needs
them: one that begins with = + - @ is taken for a formula by a spreadsheet, of which `dataset.check` warns.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files
from lib.data import images, rle, validation
from lib.errors import UserError

FORMATS = {"2019": ["ImageId_ClassId", "EncodedPixels"], "current": ["ImageId", "EncodedPixels", "ClassId"]}
AGAIN = "Run 90_inference again."


def write(
    path: str | Path, image_ids: Sequence[str], rles: Sequence[Sequence[str]], format: str = "2019"
) -> None:
    """Write a submission, atomically; equal input gives equal bytes.

    Arguments:
        image_ids: N names; rles: N x C run-length strings, "" for no defect; format: "2019" or "current".

    Raises UserError for an unknown format, ValueError if the lengths differ or a run-length is not text.
    """
    if format not in FORMATS:
        raise UserError(f"There is no submission format {format!r}. Use '2019' or 'current'.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FORMATS[format])
    for image_id, of_image in zip(image_ids, rles, strict=True):
        if not all(isinstance(rle_text, str) for rle_text in of_image):
            raise ValueError(f"The run-lengths of {image_id} are not all text.")
        if format == "2019":
            writer.writerows(
                (f"{image_id}_{defect_class}", rle_text) for defect_class, rle_text in enumerate(of_image, 1)
            )
        else:
            rows = [
                (image_id, rle_text, defect_class)
                for defect_class, rle_text in enumerate(of_image, 1)
                if rle_text
            ]
            writer.writerows(rows or [(image_id, "", 1)])
    files.write_atomic(path, text.getvalue())


def certainty(
    defect_probability: np.ndarray,
    class_probability: np.ndarray,
    rles: list[list[str]] | None = None,
    finished: Sequence[bool] | None = None,
) -> np.ndarray:
    """How sure the cascade is of each image, (N,) float: of its least sure answer, 0.5..1; 0 where nothing
    was answered, and where the image cannot teach.

    Arguments:
        defect_probability: (N,), class_probability: (N, C) as from `cascade.predict`, NaN where a network was
            not asked.
        rles: N x C run-length strings. An image whose masks and classifiers disagree cannot teach: a class
            that is stated without a mask (minimum area, a segmenter that failed) or a mask of a class that is
            denied, a defect without any mask or the other way round. None: the classifiers alone are asked.
        finished: (N,) bool, which images were predicted to the end; the others cannot teach. None: all.
    """
    answers = np.column_stack([defect_probability, class_probability])
    sure = np.where(np.isnan(answers), np.inf, np.maximum(answers, 1 - answers)).min(axis=1)
    usable = np.isfinite(sure) & (True if finished is None else np.asarray(finished, bool))
    if rles is not None:
        has_mask = np.array([[text != "" for text in row] for row in rles]).reshape(
            np.shape(class_probability)
        )
        has_mask = np.column_stack([has_mask.any(axis=1), has_mask])
        usable &= ((answers >= 0.5) == has_mask).all(axis=1, where=~np.isnan(answers))
    return np.where(usable, sure, 0.0)


def write_pseudo_labels(
    path: str | Path,
    image_ids: Sequence[str],
    certainties: np.ndarray,
    rles: list[list[str]],
    split: Path | None = None,
) -> None:
    """Write predictions as labels for a further training: image_id, certainty, rle_1..rle_C; see
    `pseudo_labels.with_pseudo_labels`.

    Arguments:
        split: the split.csv of the networks' run, which has to lie beside the file; None, or a file that is
            missing: it does.
    """
    columns = [f"rle_{class_index + 1}" for class_index in range(len(rles[0]) if rles else 0)]
    table = pd.DataFrame(rles, columns=columns, dtype=object)
    table.insert(0, "image_id", image_ids)
    table.insert(1, "certainty", np.round(certainties, 4))
    files.write_atomic(path, table.to_csv(index=False, lineterminator="\n"))
    beside = Path(path).with_name("split.csv")
    if split is not None and split.is_file() and split.resolve() != beside.resolve():
        files.write_atomic(beside, split.read_bytes())


def expected(data_dir: str | Path, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The test images that a submission is expected to name: those on disk and those in
    sample_submission.csv, if it is there.

    Arguments:
        table: image_id and path of the images on disk, as from `dataset.load_test_table`.

    Returns the table, with rows added for images that are not on disk, sorted by image_id; and a sentence
    where the sample cannot be used, else "".
    """
    path = Path(data_dir) / "sample_submission.csv"
    if not path.is_file():
        return table, ""
    try:
        listed = sorted(
            set(images.as_listed(read(path)["image_id"], table["image_id"])) - set(table["image_id"])
        )
    except UserError as error:
        return table, f"{str(error).removesuffix(AGAIN).strip()} Only the images on disk are predicted."
    listed = [name for name in listed if not images.name_problem(name)]
    missing = [str(path.parent / "test_images" / name) for name in listed]
    more = pd.DataFrame({"image_id": listed, "path": missing}, dtype=object)
    return pd.concat([table, more]).sort_values("image_id", ignore_index=True), ""


def read(path: str | Path) -> pd.DataFrame:
    """A submission in either format as a table of image_id (str), defect_class (int), rle (str, "" for none).

    Its index is the line in the file, from 2. Raises UserError that names file and row.
    """
    try:
        table = pd.read_csv(
            path, dtype=str, na_filter=False, index_col=False, skip_blank_lines=False, encoding="utf-8-sig"
        )
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Run 90_inference to make it.") from None
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path} is no CSV file that can be read ({str(error).strip()}). {AGAIN}") from None
    validation.insist_on_text(path)
    table = table.fillna("")  # a line that ends early
    table.columns = [str(name).strip() for name in table.columns]
    format = next((name for name, columns in FORMATS.items() if list(table.columns) == columns), None)
    if format is None:
        raise UserError(
            f"{path} has the columns {', '.join(table.columns[:8])}. A submission has "
            f"{','.join(FORMATS['2019'])} "
            f"or {','.join(FORMATS['current'])}."
        )
    table.index += 2
    if format == "2019":
        parts = table["ImageId_ClassId"].str.extract(r"(?s)^(.+)_([0-9]{1,4})$")
    else:
        parts = pd.DataFrame(
            {0: table["ImageId"], 1: table["ClassId"].where(table["ClassId"].str.fullmatch("[0-9]{1,4}"))}
        )
    if parts.isna().any(axis=None):
        row = parts.index[parts.isna().any(axis=1)][0]
        start = ",".join(table.loc[row])[:60]
        raise UserError(f"{path}, row {row}: there is no image and class number in {start!r}. {AGAIN}")
    return pd.DataFrame(
        {
            "image_id": parts[0],
            "defect_class": parts[1].astype(int),
            "rle": table["EncodedPixels"].map(rle.tidy),
        }
    )


def check(
    path: str | Path, image_ids: Sequence[str], classes: int = 4, shape: tuple[int, int] = rle.SHAPE
) -> pd.DataFrame:
    """Read a submission back and prove it valid.

    Every expected pair is there once (in the current format: every image, and no pair twice), nothing else
    is, every run-length is sorted, inside the image and without overlaps, and gives the same string when it
    is decoded and encoded.

    Arguments:
        image_ids: names of all test images; classes: how many; shape: (height, width) of every image.

    Returns the table of `read`. Raises UserError that names the file, the row and what is wrong.
    """
    table, expected = read(path), set(image_ids)
    table["image_id"] = images.as_listed(table["image_id"], list(image_ids))
    with open(path, encoding="utf-8-sig") as file:
        every_pair = file.readline().startswith("ImageId_ClassId")
    repeated = table.duplicated(["image_id", "defect_class"])
    for row, image_id, defect_class, text in table.itertuples():
        where = f"{path}, row {row}: "
        if image_id not in expected:
            raise UserError(
                f"{where}the image {image_id!r} is not one of the {len(expected)} test images. {AGAIN}"
            )
        if not 1 <= defect_class <= classes:
            raise UserError(f"{where}class {defect_class} is not one of 1 to {classes}. {AGAIN}")
        if repeated[row]:
            raise UserError(f"{where}image {image_id!r} and class {defect_class} have a row already. {AGAIN}")
        try:
            same = not text or rle.encode(rle.decode(text, shape)) == text
        except rle.RleError as error:
            raise UserError(where + str(error)) from None
        if not same:
            raise UserError(f"{where}the run-length has runs that touch. {AGAIN}")
    listed = set(zip(table["image_id"], table["defect_class"], strict=True))
    listed_images = set(table["image_id"])
    for image_id in image_ids:
        if not every_pair and image_id not in listed_images:
            raise UserError(f"{path} has no row for image {image_id!r}. {AGAIN}")
        for defect_class in range(1, classes + 1) if every_pair else ():
            if (image_id, defect_class) not in listed:
                raise UserError(f"{path} has no row for class {defect_class} of image {image_id!r}. {AGAIN}")
    return table
