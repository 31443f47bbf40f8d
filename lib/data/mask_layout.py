"""How a folder of masks is laid out: one file an image, or a folder a class; and what that says of each
image. What the importer asks of masks, wherever they come from."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from lib.data import images, mask_files
from lib.data.labels.class_table import ClassTable
from lib.errors import UserError

LONGEST_NAME = 80  # letters of a class's name


class MaskSource:
    """What the importer asks of masks.

    names: of the classes, [] where the masks do not name them; index_valued: whether numbers stand for classes;
    largest: the highest defect class that was read; absent: what is said of images that it does not have.
    """

    absent = "have no mask"

    def __init__(self, names: Sequence[str], index_valued: bool) -> None:
        self.names = list(names)
        for name in self.names:
            if not name.isprintable() or len(name) > LONGEST_NAME:
                raise UserError(
                    f"No class can be called {name[:80]!r}: a name is on one line, of {LONGEST_NAME} letters or fewer."
                )
        self.index_valued = index_valued
        self.largest = 0
        self.covered: dict[
            int, tuple[int, int]
        ] = {}  # of each class: pixels that it covers, pixels of its masks

    def left_out(self, stems: Collection[str]) -> list[str]:
        """What is passed over, in words; UserError if it may be a mask of one of the images `stems`."""
        raise NotImplementedError

    def stems(self) -> set[str]:
        """The names of all images that have a mask."""
        raise NotImplementedError

    def insist_on_images(self, stems: set[str], source: Path) -> None:
        """UserError where a mask belongs to none of the images `stems` in the folder `source`."""
        raise NotImplementedError

    def masks_of(self, stem: str, image: Path, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
        """{defect class: mask (H, W) uint8 0/1} of one image of this shape; `image`: its path, for
        messages."""
        raise NotImplementedError

    def read(
        self, stem: str, image: Path, shape: tuple[int, ...], size: tuple[int, ...]
    ) -> dict[int, np.ndarray]:
        """{defect class: mask (H, W) uint8 0/1} of one image, empty ones left out.

        Arguments:
            image: its path, for messages; shape: (H, W) of the file; size: (H, W) wanted.
        """
        masks = self.masks_of(stem, image, shape)
        for defect_class, mask in masks.items():
            covered, pixels = self.covered.get(defect_class, (0, 0))
            self.covered[defect_class] = covered + int(mask.sum()), pixels + mask.size
        self.largest = max(self.largest, *masks, 0)
        resized = {
            defect_class: images.resize_mask(mask, *size) for defect_class, mask in sorted(masks.items())
        }
        return {defect_class: mask for defect_class, mask in resized.items() if mask.any()}

    def doubts(self) -> list[str]:
        """Classes that cover most of their masks, as black-on-white drawings do, in words."""
        names = self.names or [str(defect_class) for defect_class in range(1, self.largest + 1)]
        return [
            f"Class {names[defect_class - 1]} covers {covered / pixels:.0%} of the pixels of its masks. If "
            "defects are drawn black on white, turn the masks around: 0 is no defect."
            for defect_class, (covered, pixels) in sorted(self.covered.items())
            if covered > pixels / 2
        ]


class Masks(MaskSource):
    """The masks of a folder, in either form.

    Arguments:
        folder: with files, or with a folder a class; names: of the classes; with folders their names, in the
            wanted order.
        some: whether folders of some of these classes will do; apart: names of folders that are no class's;
            table: of the colours or numbers of the classes, whose names count then.

    Files whose only number is 255, or 65535 of 16 bits, are of one class; greys about edges are allowed there.
    """

    def __init__(
        self,
        folder: str | Path,
        names: Sequence[str] = (),
        some: bool = False,
        apart: Collection[str] = (),
        table: ClassTable | None = None,
    ) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise UserError(f"The folder {folder} does not exist. Name the folder with the masks.")
        hidden = (".", "@", "__")
        inside = sorted(
            path.name
            for path in self.folder.iterdir()
            if path.is_dir() and not path.name.startswith(hidden) and path.name not in apart
        )
        if inside and images.list_images(self.folder):
            raise UserError(
                f"{folder} holds masks and the folder {inside[0]}. Use one file an image or a folder a class, not both."
            )
        if inside and table:
            raise UserError(
                f"{folder} has a folder a class, and --colours is for masks of all classes. Leave it out."
            )
        self.table, self.white_mask, self.numbered_mask = table, "", ""
        self.names = list(table.codes) if table else list(names) or inside
        if inside:
            self.insist_on_classes(inside, some)
        for name in self.names:
            if not name.isprintable() or len(name) > LONGEST_NAME:
                where = (
                    f"the folder {name[:80]!r} in {folder}" if name in inside else f"{name[:80]!r} in --names"
                )
                raise UserError(
                    f"No class can be called as {where}: a name is on one line, of {LONGEST_NAME} letters or fewer."
                )
        super().__init__(self.names, index_valued=not inside)
        self.files = {"": mask_files.by_stem(self.folder)}
        if inside:
            self.files = {
                name: mask_files.by_stem(self.folder / name) if name in inside else {} for name in self.names
            }
        self.marks: dict[int, set[int]] = {}  # of each class: the numbers that mark its defects

    def insist_on_classes(self, inside: list[str], some: bool) -> None:
        """UserError where the folders `inside` are not those of the classes."""
        unknown = sorted(set(inside) - set(self.names) if some else set(self.names) ^ set(inside))
        if unknown and some:
            raise UserError(
                f"{self.folder} has the folder {unknown[0]}, and the training masks no such class. Use their names."
            )
        if unknown:
            raise UserError(
                f"{self.folder} has the folders {', '.join(inside)}, and --names differs in {unknown[0]!r}. Use their names."
            )

    def left_out(self, stems: Collection[str]) -> list[str]:
        """What is passed over, in words; UserError if it may be a mask of one of the images `stems`."""
        folders = [self.folder / name for name in self.files if (self.folder / name).is_dir()]
        remarks = [mask_files.left_out(folder, stems) for folder in folders]
        deep = next((words for words in remarks if "folders with images" in words), "")
        if deep:
            raise UserError(
                f"{deep[: -len(': left out.')]}. Masks lie straight in --masks, or in one folder a class."
            )
        if not self.index_valued:
            remarks.append(mask_files.left_out(self.folder, stems, {folder.resolve() for folder in folders}))
        return [words for words in remarks if words]

    def stems(self) -> set[str]:
        """The names of all masks."""
        return set().union(*self.files.values())

    def insist_on_images(self, stems: set[str], source: Path) -> None:
        """UserError where a mask belongs to none of the images `stems` in the folder `source`."""
        alone = sorted(self.stems() - stems)
        if alone:
            raise UserError(
                f"The mask {alone[0]} in {self.folder} has no image in {source}. Put the image there or take the mask out."
            )

    def masks_of(self, stem: str, image: Path, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
        """As `MaskSource.masks_of`."""
        masks: dict[int, np.ndarray] = {}
        for defect_class, paths_of_class in enumerate(self.files.values(), 1):
            if stem in paths_of_class:
                masks |= self.masks_in(paths_of_class[stem], defect_class, image, shape)
        return masks

    def masks_in(
        self, path: Path, defect_class: int, image: Path, shape: tuple[int, ...]
    ) -> dict[int, np.ndarray]:
        """{defect class: mask (H, W) uint8 0/1} of one file: of the class of its folder, or of the numbers in
        it."""
        values = mask_files.read_mask(path, self.table is not None and self.table.in_colours)
        if values.shape != shape:
            has, wanted = f"{values.shape[0]} x {values.shape[1]}", f"{shape[0]} x {shape[1]}"
            raise UserError(
                f"The mask {path} has {has} pixels, its image {image.name} {wanted}. Make them alike."
            )
        if self.table:
            mask_files.insist_on_no_jpeg(values, path)
            return self.table.masks(values, path)
        if self.index_valued and self.is_white(values, path):
            return {1: mask_files.defects(values, path)[0]}
        if self.index_valued:
            mask_files.insist_on_numbers(values, path, len(self.names) or mask_files.MOST)
            return {
                value: (values == value).astype(np.uint8) for value in np.unique(values[values > 0]).tolist()
            }
        mask, mark = mask_files.defects(values, path)
        self.insist_on_one_mark(defect_class, mark, path)
        return {defect_class: mask} if mask.any() else {}

    def is_white(self, values: np.ndarray, path: Path) -> bool:
        """Whether a file draws one class in white; UserError where others have the numbers of classes."""
        highest = values.max(initial=0).item()
        if highest in (255, 65535) and not self.numbered_mask and len(self.names) <= 1:
            self.white_mask = path.name
        elif highest and self.white_mask:
            raise UserError(
                f"The mask {path} has the value {highest}, and {self.white_mask} has the value 255 or 65535. Use these in all for "
                "one class, or 1 and up for several, or name a table with --colours."
            )
        elif highest:
            self.numbered_mask = path.name
        return bool(highest and self.white_mask)

    def insist_on_one_mark(self, defect_class: int, mark: int | None, path: Path) -> None:
        """UserError where the files of one class mark defects with several small numbers, as if they were
        numbers of classes."""
        marks = self.marks.setdefault(defect_class, set())
        marks |= {mark} if mark and mark <= mask_files.MOST else set()
        if len(marks) > 1:
            raise UserError(
                f"The masks in {path.parent} have the values {', '.join(map(str, sorted(marks)))}, which look like numbers of "
                f"classes; in a folder a class a defect is 255 and all else 0. If {path.parent.name} is no class, name "
                f"{path.parent} as the folder of masks."
            )
