"""Images with masks of one's own, turned into a data folder: pairs found by name, masks written as
run-lengths."""

import re
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib import paths
from lib.data import chosen, coils, decoding, depth, images, mask_files, rle
from lib.data.dataset import write_table
from lib.data.labels import class_table
from lib.data.labels.masks import LabelledMasks
from lib.data.levels import Levels
from lib.data.mask_files import by_stem
from lib.data.mask_layout import Masks, MaskSource
from lib.errors import UserError
from lib.files import put, scratch, write_json

Rows = list[tuple[str, int, str]]  # image_id, defect class, run-length
HEADER = ("ImageId", "ClassId", "EncodedPixels")


def import_part(
    source: Path,
    masks: MaskSource | None,
    target: Path,
    size: tuple[int, int] | None,
    shape: tuple[int, ...] | None = None,
    white: float = 0,
    beside: Collection[Path] = (),
) -> tuple[Rows, tuple[int, ...], list[str]]:
    """Copy one part's images to `target`; its rows, the images' (height, width) and remarks.

    Arguments:
        masks: None where there are none; size: (H, W) to bring every image to, or None: all must have the
            same, and are copied as they are; shape: that of the images before, or None; white: the value that
            becomes 255 in images of more than 8 bits, 0 for the scale of the file; beside: folders that are read besides this one.
    """
    target.mkdir(parents=True)
    files = by_stem(source)
    left_out = mask_files.left_out(source, (), beside), *(masks.left_out(set(files)) if masks else ())
    remarks = [words for words in left_out if words]
    if masks:
        masks.insist_on_images(set(files), source)
    if not files:
        raise UserError(f"{source} holds no images. Name the folder that holds them.")
    rows: Rows = []
    levels, shape = Levels(), size or shape or ()
    for stem, path in files.items():
        problem = images.name_problem(path.name)
        if problem:
            raise UserError(f"{path}: {problem}. Rename the file and its mask.")
        reading = depth.read(path, white)
        image = reading.image
        levels.add(path, reading)
        shape = shape or image.shape
        levels.scaled += [path.name] if image.shape != shape else []
        if size is None and image.shape != shape:
            raise UserError(
                f"{path} has {image.shape[0]} x {image.shape[1]} pixels, those before it {shape[0]} x {shape[1]}. "
                "Bring all to one size with --size HEIGHTxWIDTH."
            )
        name = copy_image(path, image, target, shape, as_it_is=image.shape == shape and not reading.rescaled)
        masks_of_image = masks.read(stem, path, image.shape, shape) if masks else {}
        rows += [(name, defect_class, rle.encode(mask)) for defect_class, mask in masks_of_image.items()]
    remarks += levels.remarks(source, white)
    bare = len(set(files) - masks.stems()) if masks else 0
    if bare:
        remarks.append(
            f"{bare} of {len(files)} images in {source} {masks.absent if masks else ''} and count as free of defects."
        )
    return rows, shape, remarks


def copy_image(path: Path, image: np.ndarray, target: Path, shape: tuple[int, ...], as_it_is: bool) -> str:
    """Write an image into a folder, its file as it is or its pixels at the size `shape` as PNG; its new
    name."""
    if as_it_is:
        shutil.copyfile(path, target / path.name)
        return path.name
    name = f"{path.stem}.png"
    (target / name).write_bytes(cv2.imencode(".png", images.resize_image(image, shape))[1].tobytes())
    return name


@dataclass(frozen=True)
class Coding:
    """How masks are written down, and which images were chosen.

    format: of a labelling tool, one of `reading.FORMATS`, or "auto" for what the file is; "" for pixels;
    colours: file with a table of the classes' colours or numbers, "" for none; chosen: files that name training
    images which were chosen for labelling, see `chosen`; coils: file that names their coils, see `coils`.
    """

    format: str = ""
    colours: str = ""
    chosen: Sequence[str] = ()
    coils: str = ""

    def source(
        self, path: str | Path, image_dir: Path, names: Sequence[str], some: bool = False
    ) -> MaskSource:
        """The masks of a folder or file, as `Masks` and `LabelledMasks`."""
        if self.format:
            return LabelledMasks(
                Path(path), image_dir, "" if self.format == "auto" else self.format, names, some
            )
        table = class_table.read(paths.resolve_path(self.colours, "--colours")) if self.colours else None
        return Masks(path, names, some, table=table)

    def files(self, path: str | Path) -> set[Path]:
        """The files of labels, which may lie beside the images that they belong to."""
        if not self.format or not path:
            return set()
        inside = [file for file in Path(path).rglob("*") if file.suffix.lower() in mask_files.OUTLINES]
        return {file.resolve() for file in [Path(path), *inside]}


def import_data(
    image_dir: str | Path,
    mask_dir: str | Path,
    out: str | Path,
    test_images: str | Path = "",
    test_masks: str | Path = "",
    names: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    white: float = 0,
    report: Callable[[str], Any] = lambda text: None,
    coding: Coding | None = None,
) -> Path:
    """Write a data folder in the competition's layout; its path. With test masks, they are kept aside as
    test_truth.csv; with labels of a tool, what it calls classes and images is kept as labels.json.

    Arguments:
        mask_dir, test_masks: folders of masks; with `coding.format` the labels of a tool.
        report: called with a line about each thing that was left out or looks odd.

    Raises UserError, and leaves nothing behind, where an image or a mask is unfit.
    """
    coding = coding or Coding()
    what = "labels" if coding.format else "masks"
    target = paths.resolve_path(out, "--out")
    image_dir, mask_dir = (
        paths.resolve_path(image_dir, "--images"),
        paths.resolve_path(mask_dir, f"--{what}"),
    )
    test_images = paths.resolve_path(test_images, "--test-images") if test_images else ""
    test_masks = paths.resolve_path(test_masks, f"--test-{what}") if test_masks else ""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is there already. Delete it or name another folder.")
    with scratch(target) as partial:
        masks = coding.source(mask_dir, image_dir, names)
        tests = (
            coding.source(test_masks, Path(test_images or image_dir), masks.names, some=True)
            if test_masks
            else None
        )
        if tests and masks.index_valued and not (tests.index_valued or names):
            raise UserError(
                f"{test_masks} has a folder a class, and {mask_dir} numbers. Say with --names which number each name has."
            )
        folders = [Path(folder) for folder in (image_dir, mask_dir, test_images, test_masks) if folder]
        beside = {folder.resolve() for folder in folders} | coding.files(mask_dir) | coding.files(test_masks)
        train = partial / "train_images"
        rows, shape, remarks = import_part(Path(image_dir), masks, train, size, None, white, beside)
        write_table(partial / "train.csv", HEADER, rows)
        if test_images:
            remarks += import_tests(Path(test_images), tests, partial, size, shape, white, beside)
        else:
            (partial / "test_images").mkdir()
        if not rows:
            for text in remarks:
                report(f"Note: {text}")
            raise UserError(
                f"No mask in {mask_dir} has a pixel that is not 0. Name the folder with the masks of the defects."
                if what == "masks"
                else f"{mask_dir} has no label that covers a pixel of an image in {image_dir}. Name the labels of the defects."
            )
        write_description(partial / "dataset.json", masks, tests, shape)
        present = images.list_images(train)
        if coding.chosen:
            sources = [paths.resolve_path(source, "--chosen") for source in coding.chosen]
            listed = sorted({name for source in sources for name in chosen.match(source, present)})
            write_table(partial / chosen.FILE, chosen.HEADERS[:1], [(name,) for name in listed])
            remarks.append(
                f"{len(listed):,} images were chosen for labelling: they train, and evaluate nothing."
            )
        if coding.coils:
            pairs, unknown = coils.match_some(paths.resolve_path(coding.coils, "--coils"), present)
            write_table(partial / coils.FILE, (coils.HEADERS[0], coils.COLUMN), pairs)
            remarks.append(coils.describe(pairs, unknown))
        if isinstance(masks, LabelledMasks):
            write_json(partial / "labels.json", masks.identities())
        if not put(partial, target):
            raise UserError(f"{target} was made by somebody else meanwhile. Name another folder.")
    for text in [*remarks, *masks.doubts()]:
        report(f"Note: {text}")
    return target


def import_tests(
    source: Path,
    masks: MaskSource | None,
    folder: Path,
    size: tuple[int, int] | None,
    shape: tuple[int, ...],
    white: float,
    beside: Collection[Path],
) -> list[str]:
    """Write the test images, their table and a sample submission into a data folder, as `import_part`;
    remarks."""
    rows, _, remarks = import_part(source, masks, folder / "test_images", size, shape, white, beside)
    if masks:
        write_table(folder / "test_truth.csv", HEADER, rows)
    whole = [(name, f"1 {shape[0] * shape[1]}", 1) for name in images.list_images(folder / "test_images")]
    write_table(folder / "sample_submission.csv", ("ImageId", "EncodedPixels", "ClassId"), whole)
    return remarks


def write_description(
    path: Path, masks: MaskSource, tests: MaskSource | None, shape: tuple[int, ...]
) -> None:
    """Write dataset.json: how many classes the masks have, what they are called, and the images' size."""
    classes = len(masks.names) or max(masks.largest, tests.largest if tests else 0)
    about = {
        "classes": classes,
        "height": shape[0],
        "width": shape[1],
        "generated": False,
        "class_names": masks.names or [f"class {defect_class}" for defect_class in range(1, classes + 1)],
        "note": "Imported images with masks of their own.",
    }
    write_json(path, about)


def size_of(text: str) -> tuple[int, int]:
    """(height, width) from a text such as 256x1600."""
    match = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text.strip())
    height, width = (int(digits) for digits in match.groups()) if match else (0, 0)
    if not (1 <= height <= 2**15 and 1 <= width <= 2**15 and height * width <= decoding.MOST_PIXELS):
        raise UserError(f"--size {text[:40]}: write it as HEIGHTxWIDTH, such as 256x1600.")
    return height, width
