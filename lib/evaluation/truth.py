"""The true masks of images that are predicted, from a table, a folder of masks or the labels of a tool."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from lib.data import class_names, dataset, mask_files, rle, validation
from lib.data.images import as_listed, shape_of
from lib.data.labels import reading
from lib.data.labels.record import ImageNames, LabelSet
from lib.data.mask_layout import Masks
from lib.errors import UserError
from lib.inference.results import ImageResult

Rles = list[list[str]]  # (N x C)
LARGEST = 2**15, 2**15  # (H, W) of an image that is read
IMAGES = "{folder} holds the images that are predicted. Name the folder, file or table with their truth."
NO_IMAGE = "{path} names none of the images that are predicted. Name their table."
NO_MASK = "No mask in {folder} has the name of an image that is predicted. Name their folder."


def read_truth(source: Path, results: Sequence[ImageResult], titles: Sequence[str]) -> tuple[Rles, list[str]]:
    """The true masks of images that were predicted, and remarks.

    Arguments:
        source: a table as train.csv, in either schema, or the file or folder of a labelling tool, such as COCO's or
            LabelMe's, whose images are called as those predicted, with their folders or without; or a folder of
            masks, as `lib.importer` takes them, in folders as the images.
        results: of images that could be read.

    An image that neither names is free of defects. Raises UserError where nothing fits, or a row or mask is
    wrong.
    """
    if reading.is_of_tool(source):
        return _of_labels(source, results, titles)
    if source.is_dir():
        return _of_masks(source, results, titles)
    return _of_table(source, results, len(titles))


def insist_on_fit(source: Path, files: dict[str, Path | str], titles: Sequence[str]) -> None:
    """UserError, before anything is predicted, where a truth cannot be read, is of none of the images, has classes that
    the run has not, or rows that fit no image of any size; `files`: {name: path or address}, as `listing.find_images`
    has them; `titles`: of the run's classes."""
    names = list(files)
    if reading.is_of_tool(source):
        labels, images = _labels_of(source, files, lambda name: shape_of(files[name]))
        regions = [region for image in labels.images if image.name in images for region in image.regions]
        for label in dict.fromkeys(label for label, text in regions if text):
            _known_class(label, titles, source, "labels")
    elif source.is_dir():
        folders = {
            (PurePosixPath(name).parent, file.parent)
            for name, file in files.items()
            if isinstance(file, Path)
        }
        if any((source / parent).resolve() == folder.resolve() for parent, folder in folders):
            raise UserError(IMAGES.format(folder=source))
        layouts = _layouts(source, names)
        masked = {(path.parent, _stem(path)) for path in map(PurePosixPath, names)}
        masked &= {(parent, stem) for parent, layout in layouts.items() for stem in layout.stems()}
        if not masked:
            raise UserError(NO_MASK.format(folder=source))
        for parent, layout in layouts.items():
            for name, stems in layout.files.items() if not layout.index_valued else ():
                paths = [path for stem, path in stems.items() if (parent, stem) in masked]
                if not _class_of_name(name, titles) and any(
                    mask_files.read_mask(path).any() for path in paths
                ):
                    raise _no_class(name, titles, source, "masks")
    else:
        known = dict.fromkeys([*names, *(PurePosixPath(name).name for name in names)])
        rows = validation.read_rows(source)
        rows["image_id"] = as_listed(rows["image_id"], known)
        rows = rows[rows["image_id"].isin(known)]
        if not len(rows):
            raise UserError(NO_IMAGE.format(path=source))
        validation.insist_on_none(validation.row_findings(rows, source, set(known), len(titles), LARGEST))


def _labels_of(
    path: Path, files: Iterable[str], shape_of_file: Callable[[str], tuple[int, int] | None]
) -> tuple[LabelSet, dict[str, str]]:
    """The labels of a tool, and {name in them: image}; `shape_of_file`: (H, W), for images of which they state none."""
    names = ImageNames(files, str(path))
    labels = reading.read(path, lambda name: shape_of_file(file) if (file := names.find(name)) else None)
    images = names.find_all(image.name for image in labels.images)
    if not images:
        raise UserError(NO_IMAGE.format(path=path))
    return labels, images


def _stem(path: PurePosixPath) -> str:
    """What the mask of an image is called, without its ending."""
    return unicodedata.normalize("NFC", path.stem)


def _of_table(path: Path, results: Sequence[ImageResult], classes: int) -> tuple[Rles, list[str]]:
    """As `read_truth`, from a table."""
    rows = validation.read_rows(path)
    short: dict[str, list[str]] = {}
    for result in results:
        short.setdefault(PurePosixPath(result.name).name, []).append(result.name)
    known = {result.name: result.shape for result in results}
    named = as_listed(as_listed(rows["image_id"], known), short)
    for image_id in dict.fromkeys(named):
        if image_id not in known and len(short.get(image_id, ())) > 1:
            raise UserError(
                f"{path} names {image_id}, and that is what {' and '.join(short[image_id][:2])} are called. Write the "
                "folders into the table, too."
            )
    rows["image_id"] = [name if name in known else short.get(name, [name])[0] for name in named]
    others = set(rows["image_id"]) - set(known)
    rows = rows[rows["image_id"].isin(known)]
    if not len(rows):
        raise UserError(NO_IMAGE.format(path=path))
    shapes = rows["image_id"].map(known)
    for shape in dict.fromkeys(shapes):
        of_shape = rows[shapes == shape]
        findings = validation.row_findings(of_shape, path, set(known), classes, (shape[0], shape[1]))
        validation.insist_on_none(findings)
    table = dataset.with_rles(pd.DataFrame({"image_id": list(known)}), rows, classes)
    remarks = _coverage(path, len(others), len(set(known) - set(rows["image_id"])), len(known))
    return table[dataset.rle_columns(table)].to_numpy().tolist(), remarks


def _coverage(path: Path, others: int, bare: int, count: int) -> list[str]:
    """Remarks on images that a file names and were not predicted, and on those that it does not name."""
    remarks = []
    if others:
        remarks.append(f"{path.name} names {others} images that are not among those predicted.")
    if bare:
        remarks.append(f"{bare} of {count} images are not in {path.name} and count as free of defects.")
    return remarks


def _of_labels(path: Path, results: Sequence[ImageResult], titles: Sequence[str]) -> tuple[Rles, list[str]]:
    """As `read_truth`, from the labels of a tool."""
    shapes = {result.name: (result.shape[0], result.shape[1]) for result in results}
    labels, images = _labels_of(path, shapes, shapes.get)
    truth: dict[str, list[list[str]]] = {name: [[] for _ in titles] for name in shapes}
    for image in labels.images:
        name = images.get(image.name, "")
        if name and image.shape != shapes[name]:
            raise UserError(
                f"{path} has {image.name} with {image.shape[0]} x {image.shape[1]} pixels, and the image has {shapes[name][0]} x "
                f"{shapes[name][1]}. Label the images as they are."
            )
        for label, text in image.rles().items() if name else ():
            truth[name][_known_class(label, titles, path, "labels") - 1].append(text)
    remarks = labels.notes.sentences()
    remarks += _coverage(path, len(labels.images) - len(images), len(shapes) - len(images), len(shapes))
    return [[rle.union(texts) for texts in row] for row in truth.values()], remarks


def _layouts(folder: Path, names: Sequence[str]) -> dict[PurePosixPath, Masks]:
    """{folder of images: its masks}, of those that have any. A folder that holds images is no class's."""
    parents = sorted({PurePosixPath(name).parent for name in names})
    holding = {above for parent in parents for above in (parent, *parent.parents)}
    return {
        parent: Masks(folder / parent, apart={one.name for one in holding if one.parent == parent})
        for parent in parents
        if (folder / parent).is_dir()
    }


def _of_masks(folder: Path, results: Sequence[ImageResult], titles: Sequence[str]) -> tuple[Rles, list[str]]:
    """As `read_truth`, from masks."""
    masks = _layouts(folder, [result.name for result in results])
    truth: Rles = []
    bare = 0
    for result in results:
        path = PurePosixPath(result.name)
        layout, stem = masks.get(path.parent), _stem(path)
        texts: Rles = [[] for _ in titles]
        if layout is None or stem not in layout.stems():
            bare += 1
        elif layout is not None:
            shape = result.shape[0], result.shape[1]
            for value, mask in layout.read(stem, Path(path), shape, shape).items():
                if layout.white_mask and len(titles) > 1:
                    raise UserError(
                        f"The mask {layout.white_mask} in {folder / path.parent} has the value 255, and the run has "
                        f"{len(titles)} classes. Use the classes' numbers, or a folder a class."
                    )
                defect_class = _class_of(layout, value, titles, folder)
                texts[defect_class - 1].append(rle.encode(mask))
        truth.append([rle.union(of_class) for of_class in texts])
    if bare == len(results):
        raise UserError(NO_MASK.format(folder=folder))
    remarks = [f"{bare} of {len(results)} images have no mask and count as free of defects."] if bare else []
    return truth, remarks


def _class_of(layout: Masks, value: int, titles: Sequence[str], folder: Path) -> int:
    """The class, from 1, that a mask's number, or the folder that it lies in, stands for."""
    if not layout.index_valued:
        return _known_class(layout.names[value - 1], titles, folder, "masks")
    if value > len(titles):
        raise _no_class(str(value), titles, folder, "masks")
    return value


def _known_class(name: str, titles: Sequence[str], source: Path, what: str) -> int:
    """The class, from 1, of the run that a name stands for. UserError where it stands for none."""
    defect_class = _class_of_name(name, titles)
    if not defect_class:
        raise _no_class(name, titles, source, what)
    return defect_class


def _class_of_name(name: str, titles: Sequence[str]) -> int:
    """The class, from 1, that is called so, with its number before it or without, else whose number it is; or 0."""
    numbers = {str(defect_class): defect_class for defect_class in range(1, len(titles) + 1)}
    return class_names.class_called(name, titles) or numbers.get(name, 0)


def _no_class(name: str, titles: Sequence[str], source: Path, what: str) -> UserError:
    """What is raised where a name stands for no class."""
    return UserError(
        f"{source} has {what} of a class {name[:80]!r}, and the run's are {', '.join(titles)}. Call it as the run does."
    )
