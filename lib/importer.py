"""Other steel: images with masks of one's own, turned into the competition's layout.

python -m lib.importer --images DIR --masks DIR --out DIR [--test-images DIR --test-masks DIR] [--names a,b,c]
    [--size 256x1600] [--colours FILE]
python -m lib.importer --images DIR --labels FILE --out DIR [--test-images DIR --test-labels FILE]

Masks are either one file an image, whose pixels are the class (0 is no defect; 255 alone is one class), or a
folder a class, whose pixels are 0 or one other number; where edges are blurred, half of full scale and more is
the defect. A mask belongs to the image with the same name, the ending apart; an image without one has no defect.
Where colours or other numbers stand for the classes, --colours names a CSV file of name and #rrggbb, or number.
Labels are the file or folder of a tool: COCO, LabelMe, CVAT for images, Label Studio, Pascal VOC or YOLO.
Values of more than 8 bits become 8 by --white, the value that is white, such as 4095.
"""

import argparse
import sys

from lib import errors, files
from lib.data import decoding, images, importing
from lib.data.labels import reading
from lib.errors import UserError


def act(arguments: list[str] | None) -> None:
    """Do what the command line says."""
    parser = errors.Parser(
        prog="python -m lib.importer", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", required=True, help="folder with the training images")
    parser.add_argument("--masks", help="folder with their masks, or with a folder of masks a class")
    parser.add_argument("--labels", help="file or folder of a labelling tool, in place of masks")
    parser.add_argument(
        "--format", default="", choices=reading.FORMATS, help="of the labels, where it is not found out"
    )
    parser.add_argument(
        "--colours", default="", help="CSV file: name,#rrggbb or name,number of each class; or labelmap.txt"
    )
    parser.add_argument("--out", required=True, help="data folder to write")
    parser.add_argument("--test-images", default="", help="folder with the test images")
    parser.add_argument("--test-masks", default="", help="their masks, where they are known")
    parser.add_argument("--test-labels", default="", help="their labels, where they are known")
    parser.add_argument(
        "--chosen",
        nargs="+",
        default=[],
        help="review.csv of each round of labelling: these images only train",
    )
    parser.add_argument("--coils", default="", help="CSV file: image,coil of each training image")
    parser.add_argument("--names", default="", help="names of the classes, with commas between them")
    parser.add_argument("--size", default="", help="bring all images to this height and width")
    parser.add_argument(
        "--white",
        default=0,
        type=errors.decimal_number,
        help="value that is white in images of more than 8 bits, such as 4095 of 12 bits; all alike",
    )
    args = parser.parse_args(arguments)
    names = [name.strip() for name in args.names.split(",")] if args.names.strip() else []
    if "" in names or len(set(names)) < len(names):
        raise UserError(
            f"--names {args.names[:80]}: a name is missing or there twice. Give each class a name of its own."
        )
    insist_on_one_source(args)
    decoding.insist_on_white(args.white)
    size = importing.size_of(args.size) if args.size else None
    out = importing.import_data(
        args.images,
        args.masks if args.labels is None else args.labels,
        args.out,
        args.test_images,
        args.test_masks or args.test_labels,
        names,
        size,
        args.white,
        errors.print_line,
        importing.Coding(
            (args.format or "auto") if args.labels is not None else "",
            args.colours,
            tuple(args.chosen),
            args.coils,
        ),
    )
    about = files.read_json(out / "dataset.json")
    counts = [len(images.list_images(out / part)) for part in ("train_images", "test_images")]
    errors.print_line(
        f"{counts[0]} training and {counts[1]} test images of {about['height']} x {about['width']} pixels with "
        f"{about['classes']} classes ({', '.join(about['class_names'])}): {out}"
    )
    errors.print_line(f"Now: python run_all.py --data {out}")


def insist_on_one_source(args: argparse.Namespace) -> None:
    """UserError where options for masks and for labels are mixed."""
    if (args.masks is None) == (args.labels is None):
        raise UserError("Name the masks with --masks, or a labelling tool's file with --labels, one of both.")
    wrong = ("test_masks", "colours") if args.labels is not None else ("test_labels", "format")
    for name in wrong:
        if getattr(args, name):
            other = "--labels" if args.labels else "--masks"
            raise UserError(f"--{name.replace('_', '-')} does not go with {other}. Leave it out.")
    for name in ("test_masks", "test_labels"):
        if getattr(args, name) and not args.test_images:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} needs --test-images. Name the folder with the test images.")


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
