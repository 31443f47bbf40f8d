"""Labels of a tool as the importer asks for masks: by image, at its size, a mask a class."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.data import images, mask_files, rle
from lib.data.labels import reading
from lib.data.labels.record import ImageNames
from lib.data.mask_layout import MaskSource
from lib.errors import UserError


class LabelledMasks(MaskSource):
    """The labels of the images in a folder.

    Arguments:
        path: file or folder with labels; image_dir: folder with images; format: one of `reading.FORMATS`, or
            "" for what the file is; names: of the classes that are taken, in the wanted order, or () for all
            that have a label; some: whether labels of other classes are an error, as in test images.
    """

    absent = "are not in the labels"

    def __init__(
        self, path: Path, image_dir: Path, format: str = "", names: Sequence[str] = (), some: bool = False
    ) -> None:
        self.path = path
        stems = {file.name: stem for stem, file in mask_files.by_stem(image_dir).items()}
        image_names = ImageNames(stems, str(path), image_dir.resolve())

        def shape_of(name: str) -> tuple[int, int] | None:
            file = image_names.find(name)
            return images.shape_of(image_dir / file) if file else None

        self.labels = reading.read(path, shape_of, format)
        in_folder = image_names.find_all(image.name for image in self.labels.images)
        self.shapes: dict[str, tuple[int, int]] = {}
        self.rles: dict[str, dict[str, str]] = {}
        for image in self.labels.images:
            if image.name not in in_folder:
                continue
            stem = stems[in_folder[image.name]]
            if stem in self.rles:
                raise UserError(f"{path} has {image.name[:200]} twice. Take one of them out.")
            self.shapes[stem], self.rles[stem] = image.shape, image.rles()
        if not self.rles:
            raise UserError(
                f"{path} names no image in {image_dir}. Name the folder with the images that it labels."
            )
        self.others = [image.name for image in self.labels.images if image.name not in in_folder]
        labelled = {name for rles in self.rles.values() for name in rles}
        used = [name for name in self.labels.class_ids if name in labelled]
        super().__init__(names or used, index_valued=False)
        self.insist_on_classes(some, labelled)

    def insist_on_classes(self, some: bool, labelled: set[str]) -> None:
        """UserError where a class is asked for that is not there, or is there and not known."""
        known = set(self.labels.class_ids)
        if not some and (unknown := [name for name in self.names if name not in known]):
            raise UserError(
                f"{self.path} has the classes {', '.join(sorted(known))[:400]}, and no {unknown[0]!r}. Use their names."
            )
        if some and (unknown := sorted(labelled - set(self.names))):
            raise UserError(
                f"{self.path} has labels of {unknown[0]!r}, and the training labels no such class. Use their names."
            )

    def left_out(self, stems: Collection[str]) -> list[str]:
        """What is changed or passed over, in words."""
        remarks = self.labels.notes.sentences()
        if self.others:
            remarks.append(
                f"{self.path} names {len(self.others):,} images that are not in the folder, such as {self.others[0][:200]}: left "
                "out."
            )
        labelled = {name for rles in self.rles.values() for name in rles}
        unused = [name for name in self.labels.class_ids if name not in labelled and name not in self.names]
        unwanted = [name for name in self.labels.class_ids if name in labelled and name not in self.names]
        if unused:
            remarks.append(f"Classes without a label are left out: {', '.join(unused)[:400]}.")
        if unwanted:
            remarks.append(f"Classes that --names does not name are left out: {', '.join(unwanted)[:400]}.")
        return remarks

    def stems(self) -> set[str]:
        """The images that the labels name."""
        return set(self.rles)

    def insist_on_images(self, stems: set[str], source: Path) -> None:
        """Nothing: labels often name more images than are there, which is a remark."""

    def masks_of(self, stem: str, image: Path, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
        """{defect class: mask (H, W) uint8 0/1} of one image. UserError where the labels state another size."""
        if stem not in self.rles:
            return {}
        stated = self.shapes[stem]
        if stated != tuple(shape):
            raise UserError(
                f"{self.path} states {stated[0]} x {stated[1]} pixels for {image.name}, which has {shape[0]} x {shape[1]}. Label "
                "the images as they are; a camera's rotation mark is not followed."
            )
        rles = self.rles[stem]
        return {
            defect_class: rle.decode(rles[name], stated)
            for defect_class, name in enumerate(self.names, 1)
            if name in rles
        }

    def identities(self) -> dict[str, Any]:
        """The content of labels.json: what the tool calls classes and images, for the way back."""
        classes = [
            {"class": defect_class, "name": name, "id": self.labels.class_ids[name]}
            for defect_class, name in enumerate(self.names, 1)
        ]
        entries = [{"name": image.name, "id": image.image_id} for image in self.labels.images]
        return {"format": self.labels.format, "classes": classes, "images": entries}
