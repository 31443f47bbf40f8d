"""Other steel: images with masks of one's own, turned into the competition's layout.

python -m lib.importer --images DIR --masks DIR --out DIR [--test-images DIR --test-masks DIR] [--names a,b,c] [--size 256x1600]

Masks are either one file an image, whose pixels are the class (0 is no defect), or a folder a class, whose pixels are 0 or anything
else; of a JPEG, half of full scale and more. A mask belongs to the image with the same name, the ending apart; an image without one
has no defect.
"""

import argparse
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lib import guard, images, paths, rle
from lib.paths import UserError
from lib.synthetic import write_table

HEADER = ("ImageId", "ClassId", "EncodedPixels")
MOST = 100  # classes; a black-and-white mask has the value 255


def read_mask(path):
    """A mask file's values, (H, W) of whole numbers; a palette's numbers, not its colours. UserError that names the file."""
    try:
        with Image.open(path) as opened:
            values = np.asarray(opened.convert("L") if opened.mode == "1" else opened)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"The mask {path} cannot be read ({str(error).splitlines()[0]}). Replace it by the original file.") from None
    if values.ndim == 3 and (values[..., :3] == values[..., :1]).all() and (values[..., 3:] == 255).all():
        values = values[..., 0]  # grey, saved as colour
    if values.ndim != 2:
        raise UserError(f"The mask {path} has {values.shape[-1]} channels. Save it with one number a pixel, 0 for no defect.")
    if not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"The mask {path} holds fractions. Save it with a whole number a pixel, 0 for no defect.")
    return values


def by_stem(folder):
    """{name without its ending: file} of a folder's images. UserError if two have the same."""
    found = {}
    for name in images.list_images(folder):
        stem = Path(name).stem
        if stem in found:
            raise UserError(f"{folder} holds {found[stem].name} and {name}, which belong to the same mask. Rename one of them.")
        found[stem] = Path(folder) / name
    return found


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
        self.files = {"": by_stem(folder)}
        if inside:
            self.files = {name: by_stem(folder / name) if name in inside else {} for name in self.names}
        self.index_valued, self.largest = not inside, 0

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
            if files[stem].suffix.lower() in (".jpg", ".jpeg"):  # which blurs edges
                if self.index_valued:
                    raise UserError(f"The mask {files[stem]} is a JPEG, which changes numbers. Save masks of class numbers as PNG.")
                if 16 <= values.max() < 128:
                    raise UserError(f"The mask {files[stem]} is a JPEG with no value above {values.max()}. Save it as PNG, or with 255.")
                values = np.where(values >= 128, values, 0)
            for value in np.unique(values[values > 0]).tolist():
                if self.index_valued and value > (len(self.names) or MOST):
                    raise UserError(f"The mask {files[stem]} has the value {value}, and {len(self.names) or MOST} is the highest. Use 0 "
                                    "for no defect, 1 and up for the classes; black-and-white masks go into a folder a class.")  # fmt: skip
                mask = (values == value if self.index_valued else values > 0).astype(np.uint8)
                found[value if self.index_valued else number] = images.resize_mask(mask, *size[1])
        self.largest = max(self.largest, *found, 0)
        return {defect_class: mask for defect_class, mask in sorted(found.items()) if mask.any()}


def import_part(source, masks, target, size, shape=None):
    """Copy one part's images to `target`; its rows (image_id, defect class, run-length) and the images' (height, width).

    Arguments:
        masks: Masks, or None where there are none; size: (H, W) to bring every image to, or None: all must have the same, and
            are copied as they are; shape: that of the images before, or None.
    """
    target.mkdir(parents=True)
    files, rows, shape = by_stem(source), [], size or shape
    strange = sorted(masks.stems() - set(files)) if masks else []
    if strange:
        raise UserError(f"The mask {strange[0]} in {masks.folder} has no image in {source}. Put the image there or take the mask out.")
    if not files:
        raise UserError(f"{source} holds no images. Name the folder that holds them.")
    for stem, path in files.items():
        problem = images.name_problem(path.name)
        if problem:
            raise UserError(f"{path}: {problem}. Rename the file and its mask.")
        image = images.read_image(path)
        shape = shape or image.shape
        if size is None and image.shape != shape:
            raise UserError(f"{path} has {image.shape[0]} x {image.shape[1]} pixels, those before it {shape[0]} x {shape[1]}. "
                            "Bring all to one size with --size HEIGHTxWIDTH.")  # fmt: skip
        name = path.name if image.shape == shape else f"{stem}.png"
        if image.shape == shape:
            shutil.copyfile(path, target / name)
        else:
            (target / name).write_bytes(cv2.imencode(".png", images.resize_image(image, shape))[1].tobytes())
        found = masks.of(stem, path, (image.shape, shape)) if masks else {}
        rows += [(name, defect_class, rle.encode(mask)) for defect_class, mask in found.items()]
    return rows, shape


def import_data(image_dir, mask_dir, out, test_images="", test_masks="", names=(), size=None):
    """Write a data folder in the competition's layout; its path. With test masks, they are kept aside as test_truth.csv.

    Raises UserError, and leaves nothing behind, where an image or a mask is unfit.
    """
    out = paths.given(out, "--out")
    image_dir, mask_dir = paths.given(image_dir, "--images"), paths.given(mask_dir, "--masks")
    test_images, test_masks = (paths.given(text, what) if text else "" for text, what in
                               ((test_images, "--test-images"), (test_masks, "--test-masks")))  # fmt: skip
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already. Delete it or name another folder.")
    with paths.scratch(out) as partial:
        masks = Masks(mask_dir, names)
        tests = Masks(test_masks, masks.names, some=True) if test_masks else None
        if tests and masks.index_valued and not (tests.index_valued or names):
            raise UserError(f"{test_masks} has a folder a class, and {mask_dir} numbers. Say with --names which number each name has.")
        rows, shape = import_part(Path(image_dir), masks, partial / "train_images", size)
        write_table(partial / "train.csv", HEADER, rows)
        if not test_images:
            (partial / "test_images").mkdir()
        else:
            truth, _ = import_part(Path(test_images), tests, partial / "test_images", size, shape)
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
        paths.write_json(partial / "dataset.json", about)
        if not paths.put(partial, out):
            raise UserError(f"{out} was made by somebody else meanwhile. Name another folder.")
    return out


def size_of(text):
    """(height, width) from a text such as 256x1600."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and 1 <= int(height) <= 2**15 and 1 <= int(width) <= 2**15):
        raise UserError(f"--size {text}: write it as HEIGHTxWIDTH, such as 256x1600.")
    return int(height), int(width)


def act(arguments):
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m lib.importer", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", required=True, help="folder with the training images")
    parser.add_argument("--masks", required=True, help="folder with their masks, or with a folder of masks a class")
    parser.add_argument("--out", required=True, help="data folder to write")
    parser.add_argument("--test-images", default="", help="folder with the test images")
    parser.add_argument("--test-masks", default="", help="their masks, where they are known")
    parser.add_argument("--names", default="", help="names of the classes, with commas between them")
    parser.add_argument("--size", default="", help="bring all images to this height and width")
    given = parser.parse_args(arguments)
    names = [name.strip() for name in given.names.split(",") if name.strip()]
    size = size_of(given.size) if given.size else None
    out = import_data(given.images, given.masks, given.out, given.test_images, given.test_masks, names, size)
    about = paths.read_json(out / "dataset.json")
    counts = [len(images.list_images(out / part)) for part in ("train_images", "test_images")]
    guard.say(f"{counts[0]} training and {counts[1]} test images of {about['height']} x {about['width']} pixels with {about['classes']} "
          f"classes ({', '.join(about['class_names'])}): {out}")  # fmt: skip
    guard.say(f"Now: python run_all.py --data {out}")


def main(arguments=None):
    """The command line; the exit code."""
    return guard.guarded(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
