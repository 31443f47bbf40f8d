"""Images by folder, pattern or list: which files are meant, what each is called, and what is passed over."""

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lib.data import images
from lib.errors import UserError
from lib.paths import resolve_path

LISTS = {".txt", ".lst"}  # endings of files that list images, one a line
PREDICTION = (
    "predict.json"  # lies in every folder that `lib.predict` wrote, whose masks and overlays are no images
)
LONGEST_NAME = 250  # bytes of a file's name without ".png": file systems have room for 255
OTHER_KIND = "is an image of a kind that is not read. Save it as PNG."


@dataclass(frozen=True)
class ImageFile:
    """One image that is meant.

    name: its path below the common folder of all, with /, which no other image has; path: of the file;
    problem: why it is not even tried, a sentence, or "".
    """

    name: str
    path: Path
    problem: str = ""


def find_images(sources: Sequence[str], what: str = "--images") -> tuple[list[ImageFile], list[str]]:
    """The images that folders, patterns and lists name, sorted by name, and remarks on what is passed over.

    Arguments:
        sources: each a folder, which is gone through with all folders in it but hidden ones and links to
            folders; a pattern with * ? or [], where ** stands for any folders; a .txt or .lst file with a path
            a line, from its own folder if not in full; or an image. What is named twice is there once.
        what: the beginning of sentences about a source.

    Raises UserError where a source is not there, or where there are no images at all.
    """
    files: dict[Path, None] = {}  # in order, each once
    roots: list[Path] = []
    remarks: list[str] = []
    for source in sources:
        root, inside, passed_over = _of_source(source, what)
        roots.append(root)
        files |= dict.fromkeys(inside)
        remarks += passed_over
    if not files:
        raise UserError(
            f"{what} {' '.join(sources)[:200]}: there are no images. Name the folder that holds them."
        )
    try:
        root = Path(os.path.commonpath(roots))
    except ValueError:  # drives of Windows
        raise UserError(
            f"{what} names folders on several drives. Predict those of each by themselves."
        ) from None
    listed = [ImageFile(path.relative_to(root).as_posix(), path, _problem(path, root)) for path in files]
    return sorted(listed, key=lambda one: one.name), remarks


def _of_source(source: str, what: str) -> tuple[Path, list[Path], list[str]]:
    """The folder that names are told from, the files and the remarks of one source."""
    path = resolve_path(source, what)
    if path.is_dir():
        return path, *_of_folder(path)
    if path.is_file():
        if path.suffix.lower() in LISTS:
            return _of_list(path, what)
        return path.parent, [path], []
    if glob.has_magic(source):
        pattern = os.path.abspath(os.path.expanduser(source))
        parts = Path(pattern).parts
        fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
        return Path(*parts[:fixed]), *_without_predictions(filter(_is_meant, matches))
    raise UserError(f"{what} {path} does not exist. Name a folder, a pattern, a list or an image.")


def _of_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """The images in a folder and in those below it, and remarks."""
    inside: list[Path] = []
    remarks: list[str] = []

    def refuse(error: OSError) -> None:
        remarks.append(f"{error.filename} cannot be read ({error.strerror}) and is left out.")

    for where, folders, names in os.walk(folder, onerror=refuse):
        links = sorted(name for name in folders if os.path.islink(os.path.join(where, name)))
        remarks += [f"{os.path.join(where, name)} is a link to a folder and is left out." for name in links]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside += [path for path in (Path(where, name) for name in sorted(names)) if _is_meant(path)]
    images_inside, of_predictions = _without_predictions(inside)
    return images_inside, remarks + of_predictions


def _without_predictions(files: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The files that lie in no folder of a prediction, and remarks on the others."""
    holds: dict[Path, Path | None] = {}  # folder: of the prediction that it lies in

    def prediction_of(folder: Path) -> Path | None:
        if folder not in holds:
            is_one = (folder / PREDICTION).is_file() and (folder / "masks").is_dir()
            above = None if folder == folder.parent else prediction_of(folder.parent)
            holds[folder] = folder if is_one else above
        return holds[folder]

    within = {path: prediction_of(path.parent) for path in files}
    others = [path for path, folder in within.items() if folder is None]
    folders = sorted({folder for folder in within.values() if folder})
    return others, [f"{folder} holds an earlier prediction and is left out." for folder in folders]


def _of_list(path: Path, what: str) -> tuple[Path, list[Path], list[str]]:
    """As `_of_source` for a file that lists images."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{what} {path} is not UTF-8 text (byte {error.start}). Save the list as UTF-8."
        ) from None
    files = [Path(os.path.abspath(path.parent / line.strip())) for line in lines if line.strip()]
    parents = [str(file.parent) for file in files]
    try:
        return Path(os.path.commonpath(parents)) if parents else path.parent, files, []
    except ValueError:
        raise UserError(
            f"{what} {path} names files on several drives. List those of each by themselves."
        ) from None


def _is_meant(path: Path) -> bool:
    """Whether a file that lies in a folder, or fits a pattern, is meant: by its name an image, even of a kind
    that is not read."""
    is_image = images.is_image_name(path.name) or (
        path.suffix.lower() in images.OTHER_SUFFIXES - {".npy", ".raw"} and not path.name.startswith(".")
    )
    return is_image and images.is_file_or_lost(path)


def _problem(path: Path, root: Path) -> str:
    """Why a file is not even tried, a sentence, or ""."""
    for part in path.relative_to(root).parts:
        if problem := images.name_problem(part):
            return f"{problem[0].upper()}{problem[1:]}. Rename it."
    if path.suffix.lower() in images.OTHER_SUFFIXES:
        return f"The image {path} {OTHER_KIND}"
    if path.suffix.lower() not in images.SUFFIXES:
        return f"{path} is no image by its name. Images end in {', '.join(sorted(images.SUFFIXES))}."
    return ""


def output_names(names: Iterable[str]) -> dict[str, str]:
    """What the files that belong to each image are called, without their endings: the image's name without
    its own, or with it where two would be the same, in small letters or capitals; none is called as a folder
    of the images.

    `names`: all different, with /. So a.jpg and a.png in one folder give "a.jpg" and "a.png", b.jpg gives "b".
    """
    stems = {name: os.path.splitext(name)[0] for name in names}
    often = Counter(stem.casefold() for stem in stems.values())
    folders = {str(folder).casefold() for name in stems for folder in PurePosixPath(name).parents}
    taken: set[str] = set()
    result = {}
    for name, stem in sorted(stems.items(), key=lambda pair: (often[pair[1].casefold()], pair[0])):
        chosen = _short(stem if often[stem.casefold()] == 1 else name)
        while chosen.casefold() in taken or folders & {
            f"{chosen}{end}".casefold() for end in (".png", ".jpg")
        }:
            chosen += "_"  # an a.jpg.png beside a.jpg and a.png; a folder a.png beside a.jpg
        taken.add(chosen.casefold())
        result[name] = chosen
    return result


def _short(stem: str) -> str:
    """A path whose last part, if it is too long for an ending more, ends in a hash of what is cut off."""
    folder, name = os.path.split(stem)
    coded = os.fsencode(name)
    if len(coded) <= LONGEST_NAME:
        return stem
    cut = coded[:200].decode("utf-8", errors="ignore") + "-" + hashlib.sha256(coded).hexdigest()[:16]
    return f"{folder}/{cut}" if folder else cut
