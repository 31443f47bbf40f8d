"""A trained cascade on any images: a folder of results, or three lines of Python.

python -m lib.predict --run latest --images DIR --out DIR

    from lib.predict import Inspector

    inspector = Inspector("runs/latest")
    found = inspector("image.jpg")

The folder holds masks/ (0 is no defect, else the class), overlays/ of the images with defects, defects.csv,
images.csv, coco.json for labelling tools (--format names others), index.html to read and explore.html to look
around in. It is complete or not there; a prediction that was cut off goes on where it was when the same command
is given again. The exit code is 1 where an image could not be read.
"""

import argparse
import hashlib
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib import errors, files, paths
from lib.cluster import prediction as cluster
from lib.data import decoding, depth, images, listing, storage
from lib.data.labels import reading
from lib.data.listing import ImageFile
from lib.errors import UserError
from lib.evaluation import exploring, prediction_page, prediction_score, review, truth
from lib.inference import chunks, label_files, results, sources, tables
from lib.inference.inspector import HEIGHTS, FoundDefects, Inspector
from lib.inference.output_folder import SETTINGS, OutputFolder
from lib.inference.postprocess import PostprocessConfig
from lib.inference.results import ImageResult, Severity
from lib.models import environment
from lib.report import explore, prediction

__all__ = ["FoundDefects", "Inspector"]
MOST_EXPLORED = 1000
LISTED = ["masks/", "overlays/", "defects.csv", "images.csv", "coco.json", "seconds.csv", SETTINGS]


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = errors.Parser(
        prog="python -m lib.predict", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    options.add_argument("--run", default="latest", help="name or folder of a run, or of a pack's data set")
    options.add_argument(
        "--images", required=True, nargs="+", help="folders, patterns, lists (.txt), images; or addresses"
    )
    options.add_argument(
        "--out", required=True, help="folder to write, or its address, which is not there yet"
    )
    options.add_argument(
        "--truth", default="", help="train.csv, labels of a tool or folder of masks: score what is predicted"
    )
    options.add_argument(
        "--format", default="coco", choices=label_files.FORMATS, help="labelling tool to write files for, too"
    )
    options.add_argument("--ids", default="", help="labels.json of a data folder: the tool's names and ids")
    review.add_options(options)
    cluster.add_options(options)
    options.add_argument("--operating-point", default="", help="thresholds other than those of the score")
    options.add_argument(
        "--white",
        default=0,
        type=errors.decimal_number,
        help="value that is white in images of more than 8 bits, such as 4095 of 12 bits; all alike",
    )
    options.add_argument(
        "--height", default="scale", choices=HEIGHTS, help="what becomes of images of another height"
    )
    options.add_argument(
        "--pixel-mm",
        default=0,
        type=errors.decimal_number,
        help="millimetres of a pixel's side, for mm and mm2",
    )
    options.add_argument(
        "--min-area",
        default="",
        help="smallest defect in pixels (mm2 with --pixel-mm); one number or one a class",
    )
    options.add_argument(
        "--min-length",
        default="",
        help="shortest defect in pixels (mm with --pixel-mm); one number or one a class",
    )
    options.add_argument(
        "--explore",
        default=exploring.MOST,
        type=int,
        help=f"images in explore.html, {exploring.MOST} where it is not said; 0: no such page",
    )
    return options


def act(arguments: list[str] | None) -> int:
    """Do what the command line says; the exit code."""
    args = parser().parse_args(arguments)
    decoding.insist_on_white(args.white)
    cluster.insist_on_options(args)
    if not 0 <= args.pixel_mm < 1e6:
        raise UserError(f"--pixel-mm {args.pixel_mm:g}: it is a number above 0, such as 0.25.")
    if not 0 <= args.explore <= MOST_EXPLORED:
        raise UserError(f"--explore {args.explore}: it is a whole number from 0 to {MOST_EXPLORED}.")
    run = sources.run_folder(args.run)
    thresholds = sources.read_thresholds(run, args.operating_point)
    titles = sources.class_titles(run, thresholds)
    severity = Severity(
        results.per_class(args.min_area, titles, "--min-area"),
        results.per_class(args.min_length, titles, "--min-length"),
        args.pixel_mm,
    )
    true_source = paths.resolve_path(args.truth, "--truth") if args.truth else None
    if true_source and (true_source / "train.csv").is_file():
        true_source /= "train.csv"
    if true_source and not true_source.exists():
        raise UserError(
            f"--truth {true_source} does not exist. Name a table as train.csv, labels of a tool, or a folder of masks."
        )
    out = storage.resolve(args.out, "--out")
    refuse_inside(out, run, "the run, which stays as it is")
    for source in args.images:
        if storage.is_address(source) or Path(source).is_dir():
            images_lie = storage.resolve(source, "--images")
            refuse_inside(out, images_lie, "the images, and would be predicted next time")
    image_files, remarks = listing.find_images(args.images)
    of_point = sources.remarks_on(run, args.operating_point)
    remarks += [f"When {args.operating_point} was chosen: {text}" for text in of_point]
    if true_source:
        image_files, of_truth = without_masks(image_files, true_source)
        remarks += of_truth
        truth.insist_on_fit(true_source, {one.name: one.path for one in image_files}, titles)
    settings = settings_of(args, run, thresholds, titles, severity)
    ids = paths.resolve_path(args.ids, "--ids") if args.ids else None
    identities = label_files.identities_of(ids, titles, [one.name for one in image_files])
    more = {"format": args.format, "ids": digest_of(ids)} if ids or args.format != "coco" else {}
    more |= {"explore": args.explore, **review.insist_on_options(args)}
    folder = OutputFolder(out, settings, image_files, truth=digest_of(true_source), **more)
    if folder.is_complete:
        folder.clear()
        errors.print_line(f"{out}/index.html is there already, from these images and settings.")
        return (
            1 if tables.has_unread(storage.directory(out).read(["images.csv"]).get("images.csv", b"")) else 0
        )
    with folder.alone():
        folder.begin()
        missing, maps_from = folder.missing(), explore.FAINTEST
        if missing and args.cluster:
            setting = {"run": str(run), "operating_point": args.operating_point, "height": args.height}
            setting |= {"maps_from": maps_from, "white": args.white}
            cluster.fill(folder, missing, args, setting, severity, errors.print_line)
        elif missing:  # if none is, no network is needed
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what fails is an exception
            environment.set_up()
            inspector = Inspector(run, args.operating_point, height=args.height, maps_from=maps_from)
            folder.fill(
                missing,
                lambda chunk: chunks.predict_chunk(inspector, chunk, args.white, severity),
                errors.print_line,
            )
        predicted = folder.results()
        label_files.write(folder, args.format, predicted[0], identities, run.name)
        summary = write_tables(
            folder, *predicted, args, thresholds, titles, remarks, run, true_source, severity
        )
        folder.put()
    folder.clear()
    errors.print_line(summary)
    errors.print_line(f"Open {out}/index.html")
    return 1 if any(result.problem for result in predicted[0]) else 0


def refuse_inside(out: Path | str, other: Path | str, why: str) -> None:
    """UserError if a folder, or its address, is to lie in another, or to be it."""
    if f"{out}{os.sep}".startswith(f"{other}{os.sep}") or f"{out}/".startswith(f"{other}/"):
        raise UserError(f"--out {out} lies in the folder of {why}. Name another folder.")


def without_masks(image_files: list[ImageFile], true_source: Path) -> tuple[list[ImageFile], list[str]]:
    """The images that do not lie in the folder of the true masks, and a remark on the others; all of them where
    no other lies elsewhere, or no masks are there but a labelling tool's files."""
    others = [one for one in image_files if true_source.resolve() not in Path(one.path).resolve().parents]
    if not others or len(others) == len(image_files) or reading.is_of_tool(true_source):
        return image_files, []
    return others, [
        f"{len(image_files) - len(others)} images in {true_source} are the truth and not predicted."
    ]


def digest_of(true_source: Path | None) -> str:
    """What identifies a truth: a hash, "" for none."""
    if true_source is None:
        return ""
    if true_source.is_file():
        return hashlib.sha256(true_source.read_bytes()).hexdigest()
    inside = sorted(path for path in true_source.rglob("*") if path.is_file())
    return hashlib.sha256(repr(images.file_stamps(inside)).encode()).hexdigest()


def settings_of(
    args: argparse.Namespace, run: Path, thresholds: PostprocessConfig, titles: list[str], severity: Severity
) -> dict[str, Any]:
    """What the results follow from, images aside."""
    return {
        "run": run.name,
        "operating_point": args.operating_point,
        "thresholds": asdict(thresholds),
        "classes": titles,
        "white": args.white,
        "height": args.height,
        "severity": asdict(severity),
    }


def write_tables(
    folder: OutputFolder,
    image_results: list[ImageResult],
    seconds: list[float],
    args: argparse.Namespace,
    thresholds: PostprocessConfig,
    titles: list[str],
    remarks: list[str],
    run: Path,
    true_source: Path | None,
    severity: Severity,
) -> str:
    """Write everything but masks and overlays into the hidden folder; a summary in one line."""
    where = folder.folder
    where.mkdir(parents=True, exist_ok=True)
    read = [result for result in image_results if not result.problem]
    paths_by_name = {one.name: one.path for one in folder.image_files}
    true_masks, score = None, {}
    if true_source and read:
        true_masks, of_truth = truth.read_truth(true_source, read, titles)
        group = depth.find_duplicates(
            [paths_by_name[result.name] for result in read], args.white, folder.scratch
        )
        score = prediction_score.evaluate(true_masks, read, thresholds, titles, group)
        score["remarks"] = [
            *filter(None, [prediction_score.learned_from(run, read)]),
            *of_truth,
        ]
        files.write_json(where / "score.json", score)
    files.write_atomic(where / "defects.csv", tables.defects(image_results, titles, args.pixel_mm))
    files.write_atomic(where / "images.csv", tables.images(image_results, titles))
    files.write_atomic(where / "seconds.csv", tables.seconds(image_results, seconds))
    overlays = {name: f"overlays/{stem}.jpg" for name, stem in folder.names.items()}
    gallery = prediction_page.Gallery(paths_by_name, overlays, args.white)
    contents = prediction_page.contents(image_results, titles, thresholds, gallery, args.pixel_mm, true_masks)
    contents.run, contents.settings, contents.score = run.name, folder.complete, score
    deep = prediction_page.deep_remark(image_results, args.white)
    unread = len(image_results) - len(read)
    unscored = (
        f"{unread} images could not be read, so that they are in no score." if true_source and unread else ""
    )
    contents.remarks = [*score.get("remarks", ()), *filter(None, [unscored, deep]), *remarks]
    if args.explore and read:
        words = run.name, read, thresholds, titles, severity, args.white, true_masks, args.explore
        contents.explored = exploring.explore_prediction(folder, *words)
    listed = [*LISTED, *label_files.FORMATS[args.format], *(["score.json"] if score else [])]
    listed += review.write(folder, image_results, thresholds, args)
    prediction.write_page(where / "index.html", contents, listed)
    for remark in contents.remarks:
        errors.print_line(f"Note: {remark}")
    summary = ", ".join(f"{count:,} {words}" for words, count in contents.counts)
    if score:
        low, high = score["interval"]
        summary += f"; {score['title']} {score['value']:.4f} ({low:.4f} to {high:.4f}), all empty {score['all_empty_score']:.4f}"
    return summary


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
