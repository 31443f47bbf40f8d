"""Images with masks of one's own, turned into a data folder: pairs found by name, masks read as classes, written as run-lengths."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np

from lib import paths
from lib.data import decoding, images, mask_files, rle
from lib.data.dataset import write_table
from lib.data.mask_files import MOST, by_stem, defects, insist_on_numbers, read_mask
from lib.errors import UserError
from lib.files import put, scratch, write_json

HEADER = ("ImageId", "ClassId", "EncodedPixels")
LONGEST_NAME = 80  # letters of a class's name


class Masks:
    """The masks of a folder, in either form.

    Arguments:
        folder: with files, or with a folder a class; names: of the classes; with folders their names, in the wanted order.
        some: whether folders of some of these classes will do.
    """

    def __init__(self, folder, names=(), some=False):
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"The folder {folder} does not exist. Name the folder with the masks.")
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "@", "__")))
        self.folder, self.names = folder, list(names)
        if inside and images.list_images(folder):
            raise UserError(f"{folder} holds masks and the folder {inside[0]}. Use one file an image or a folder a class, not both.")
        if inside:
            self.names = self.names or inside
            unknown = sorted(set(inside) - set(self.names) if some else set(self.names) ^ set(inside))
            if unknown and some:
                raise UserError(f"{folder} has the folder {unknown[0]}, and the training masks no such class. Use their names.")
            if unknown:
                raise UserError(f"{folder} has the folders {', '.join(inside)}, and --names differs in {unknown[0]!r}. Use their names.")
        for name in self.names:
            if not name.isprintable() or len(name) > LONGEST_NAME:
                where = f"the folder {name[:80]!r} in {folder}" if name in inside else f"{name[:80]!r} in --names"
                raise UserError(f"No class can be called as {where}: a name is on one line, of {LONGEST_NAME} letters or fewer.")
        self.files = {"": by_stem(folder)}
        if inside:
            self.files = {name: by_stem(folder / name) if name in inside else {} for name in self.names}
        self.index_valued, self.largest = not inside, 0
        self.marks, self.covered = {}, {}  # of each class: the numbers that mark its defects; [pixels that it covers, pixels of its masks]

    def left_out(self, stems):
        """What is passed over, in words; UserError if it may be a mask of one of the images `stems`."""
        folders = [self.folder / name for name in self.files if (self.folder / name).is_dir()]
        told = [mask_files.left_out(folder, stems) for folder in folders]
        deep = next((words for words in told if "folders with images" in words), "")
        if deep:
            raise UserError(f"{deep[:-len(': left out.')]}. Masks lie straight in --masks, or in one folder a class.")
        told += [] if self.index_valued else [mask_files.left_out(self.folder, stems, {folder.resolve() for folder in folders})]
        return [words for words in told if words]

    def doubts(self):
        """Classes that cover most of their masks, as black-on-white drawings do, in words."""
        return [f"Class {self.names[number - 1] if self.names else number} covers {covered / pixels:.0%} of the pixels of its masks. If "
                "defects are drawn black on white, turn the masks around: 0 is no defect."
                for number, (covered, pixels) in sorted(self.covered.items()) if covered > pixels / 2]  # fmt: skip

    def stems(self):
        """The names of all masks."""
        return set().union(*self.files.values())

    def of(self, stem, image, size):
        """{defect class: mask (H, W) uint8 0/1} of one image, empty ones left out.

        Arguments:
            image: its path, for messages; size: [(H, W) of the file, (H, W) wanted].
        """
        found = {}
        for number, files in enumerate(self.files.values(), 1):
            if stem not in files:
                continue
            values = read_mask(files[stem])
            if values.shape != size[0]:
                has, wanted = f"{values.shape[0]} x {values.shape[1]}", f"{size[0][0]} x {size[0][1]}"
                raise UserError(f"The mask {files[stem]} has {has} pixels, its image {image.name} {wanted}. Make them alike.")
            if self.index_valued:
                insist_on_numbers(values, files[stem], len(self.names) or MOST)
                drawn = {value: (values == value).astype(np.uint8) for value in np.unique(values[values > 0]).tolist()}
            else:
                mask, mark = defects(values, files[stem])
                self.insist_on_one_mark(number, mark, files[stem])
                drawn = {number: mask} if mask.any() else {}
            for value, mask in drawn.items():
                before = self.covered.get(value, (0, 0))
                self.covered[value] = before[0] + int(mask.sum()), before[1] + mask.size
                found[value] = images.resize_mask(mask, *size[1])
        self.largest = max(self.largest, *found, 0)
        return {defect_class: mask for defect_class, mask in sorted(found.items()) if mask.any()}


    def insist_on_one_mark(self, number, mark, path):
        """UserError where the files of one class mark defects with several small numbers, as if they were numbers of classes."""
        marks = self.marks.setdefault(number, set())
        marks |= {mark} if mark and mark <= MOST else set()
        if len(marks) > 1:
            raise UserError(f"The masks in {path.parent} have the values {', '.join(map(str, sorted(marks)))}, which look like numbers of "
                            f"classes; in a folder a class a defect is 255 and all else 0. If {path.parent.name} is no class, name "
                            f"{path.parent} as the folder of masks.")  # fmt: skip


def import_part(source, masks, target, size, shape=None, white=0, beside=()):
    """Copy one part's images to `target`; its rows (image_id, defect class, run-length), the images' (height, width) and remarks.

    Arguments:
        masks: Masks, or None where there are none; size: (H, W) to bring every image to, or None: all must have the same, and
            are copied as they are; shape: that of the images before, or None; white: the value that becomes 255, 0 for the scale of
            the file; beside: folders that are read besides this one.
    """
    target.mkdir(parents=True)
    files, rows, several, shape, deepest, brightest = by_stem(source), [], [], size or shape, (0, ""), 0
    remarks = [words for words in (mask_files.left_out(source, (), beside), *(masks.left_out(set(files)) if masks else ())) if words]
    strange = sorted(masks.stems() - set(files)) if masks else []
    if strange:
        raise UserError(f"The mask {strange[0]} in {masks.folder} has no image in {source}. Put the image there or take the mask out.")
    if not files:
        raise UserError(f"{source} holds no images. Name the folder that holds them.")
    for stem, path in files.items():
        problem = images.name_problem(path.name)
        if problem:
            raise UserError(f"{path}: {problem}. Rename the file and its mask.")
        image, highest = decoding.on_scale(path, white)
        brightest = max(brightest, int(image.max()))
        deepest = max(deepest, (highest, path.name))
        several += [path.name] if decoding.picture_count(decoding.read_bytes(path)) > 1 else []
        shape = shape or image.shape
        if size is None and image.shape != shape:
            raise UserError(f"{path} has {image.shape[0]} x {image.shape[1]} pixels, those before it {shape[0]} x {shape[1]}. "
                            "Bring all to one size with --size HEIGHTxWIDTH.")  # fmt: skip
        as_it_is = image.shape == shape and not white
        name = path.name if as_it_is else f"{path.stem}.png"
        if as_it_is:
            shutil.copyfile(path, target / name)
        else:
            (target / name).write_bytes(cv2.imencode(".png", images.resize_image(image, shape))[1].tobytes())
        found = masks.of(stem, path, (image.shape, shape)) if masks else {}
        rows += [(name, defect_class, rle.encode(mask)) for defect_class, mask in found.items()]
    if white and brightest < 16:
        raise UserError(f"--white {white:g}: no image in {source} has more than {brightest + 1} of 256 grey levels then. Name the "
                        "value that is white in them, such as 4095 for 12 bits.")  # fmt: skip
    if 255 < deepest[0] < 2**14 and not white:
        raise UserError(f"{source} has images of 16 bits with no value above {deepest[0]} ({deepest[1]}), of which {deepest[0] // 256 + 1} "
                        f"grey levels would be left. Say which value is white: --white {2 ** deepest[0].bit_length() - 1}, for all images "
                        "alike, or --white 65535 to import them as they are.")  # fmt: skip
    if deepest[0] > 255 and not white:
        remarks.append(f"{source} has images of 16 bits, up to {deepest[0]} of 65535: the upper 8 are used (--white says which is white).")
    if several:
        remarks.append(f"{len(several)} images in {source} hold several pictures, such as {several[0]}: the first alone is used.")
    bare = len(set(files) - masks.stems()) if masks else 0
    remarks += [f"{bare} of {len(files)} images in {source} have no mask and count as free of defects."] if bare else []
    return rows, shape, remarks


def import_data(image_dir, mask_dir, out, test_images="", test_masks="", names=(), size=None, white=0, say=lambda text: None):
    """Write a data folder in the competition's layout; its path. With test masks, they are kept aside as test_truth.csv.

    `say` is called with a line about each thing that was left out or looks odd.
    Raises UserError, and leaves nothing behind, where an image or a mask is unfit.
    """
    out = paths.given(out, "--out")
    image_dir, mask_dir = paths.given(image_dir, "--images"), paths.given(mask_dir, "--masks")
    test_images, test_masks = (paths.given(text, what) if text else "" for text, what in
                               ((test_images, "--test-images"), (test_masks, "--test-masks")))  # fmt: skip
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already. Delete it or name another folder.")
    with scratch(out) as partial:
        masks = Masks(mask_dir, names)
        tests = Masks(test_masks, masks.names, some=True) if test_masks else None
        if tests and masks.index_valued and not (tests.index_valued or names):
            raise UserError(f"{test_masks} has a folder a class, and {mask_dir} numbers. Say with --names which number each name has.")
        beside = {Path(folder).resolve() for folder in (image_dir, mask_dir, test_images, test_masks) if folder}
        rows, shape, remarks = import_part(Path(image_dir), masks, partial / "train_images", size, None, white, beside)
        write_table(partial / "train.csv", HEADER, rows)
        if not test_images:
            (partial / "test_images").mkdir()
        else:
            truth, _, more = import_part(Path(test_images), tests, partial / "test_images", size, shape, white, beside)
            remarks += more
            if tests:
                write_table(partial / "test_truth.csv", HEADER, truth)
            sample = [(name, f"1 {shape[0] * shape[1]}", 1) for name in images.list_images(partial / "test_images")]
            write_table(partial / "sample_submission.csv", ("ImageId", "EncodedPixels", "ClassId"), sample)
        count = len(masks.names) or max(masks.largest, tests.largest if tests else 0)
        if not rows:
            raise UserError(f"No mask in {mask_dir} has a pixel that is not 0. Name the folder with the masks of the defects.")
        about = {"classes": count, "height": shape[0], "width": shape[1], "generated": False,
                 "class_names": masks.names or [f"class {number}" for number in range(1, count + 1)],
                 "note": "Imported images with masks of their own."}  # fmt: skip
        write_json(partial / "dataset.json", about)
        if not put(partial, out):
            raise UserError(f"{out} was made by somebody else meanwhile. Name another folder.")
    for text in [*remarks, *masks.doubts()]:
        say(f"Note: {text}")
    return out


def size_of(text):
    """(height, width) from a text such as 256x1600."""
    found = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text.strip())
    height, width = (int(number) for number in found.groups()) if found else (0, 0)
    if not (1 <= height <= 2**15 and 1 <= width <= 2**15 and height * width <= decoding.MOST_PIXELS):
        raise UserError(f"--size {text[:40]}: write it as HEIGHTxWIDTH, such as 256x1600.")
    return height, width
