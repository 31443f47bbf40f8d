"""Images by folder, pattern or list: which files are meant, what each is called, and what is passed over."""

import glob
import hashlib
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from lib.data import images, storage
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

    name: its path below the common folder of all, with /, which no other image has; path: of the file, or its
    address; problem: why it is not even tried, a sentence, or ""; stamp: of an address, what its store said of
    it, see `storage.stamp_of`.
    """

    name: str
    path: Path | str
    problem: str = ""
    stamp: tuple = ()


def find_images(sources: Sequence[str], what: str = "--images") -> tuple[list[ImageFile], list[str]]:
    """The images that folders, patterns and lists name, sorted by name, and remarks on what is passed over.

    Arguments:
        sources: each a folder, which is gone through with all folders in it but hidden ones and links to
            folders; a pattern with * ? or [], where ** stands for any folders; a .txt or .lst file with a path
            a line, from its own folder if not in full; or an image. What is named twice is there once. Each may
            be an address: then all are.
        what: the beginning of sentences about a source.

    Raises UserError where a source is not there, or where there are no images at all.
    """
    sources = [str(storage.resolve(one, what)) if one[:5].lower() == "file:" else one for one in sources]
    addresses = [source for source in sources if storage.is_address(source)]
    if addresses:
        if len(addresses) < len(sources):
            raise UserError(f"{what} names folders and addresses. Predict those of each by themselves.")
        return _of_addresses(addresses, what)
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
    listed = []
    for path in files:
        below = path.relative_to(root)
        listed.append(ImageFile(below.as_posix(), path, _problem(below, path)))
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


def _of_addresses(sources: Sequence[str], what: str) -> tuple[list[ImageFile], list[str]]:
    """As `find_images`, of addresses alone."""
    files: dict[str, tuple] = {}
    roots, remarks = [], []
    for source in sources:
        address = str(storage.resolve(source, what))
        inside, root = storage.below(address), address
        if list(inside) == [address]:
            root = storage.parent(address)
        elif not inside and glob.has_magic(address):
            inside = storage.below(address, pattern=True)
            root = storage.parent(re.split(r"[*?[]", address)[0] + "x")
        if not inside:
            raise UserError(f"{what} {address}: nothing is there. Name what images lie below, or a pattern.")
        roots.append(root)
        meant, passed_over = _meant_below(root, inside)
        files |= meant
        remarks += passed_over
    if not files:
        raise UserError(f"{what} {' '.join(sources)[:200]}: there are no images. Name what holds them.")
    if len({root.partition("://")[0] for root in roots}) > 1:
        raise UserError(f"{what} names several stores. Predict what lies in each by itself.")
    root = posixpath.commonpath([f"/{one.partition('://')[2]}" for one in roots])
    start = len(roots[0].partition("://")[0]) + len("://") + len(root.strip("/") + "/" * (root != "/"))
    listed = [
        ImageFile(address[start:], address, _problem(PurePosixPath(address[start:]), address), stamp)
        for address, stamp in files.items()
    ]
    return sorted(listed, key=lambda one: one.name), remarks


def _meant_below(root: str, inside: dict[str, tuple]) -> tuple[dict[str, tuple], list[str]]:
    """Of files with stamps below an address, the images that are not hidden and lie in no prediction; remarks."""
    start = len(root) + 1
    folders = {storage.parent(address) for address in inside}
    predictions = [
        storage.parent(address)
        for address in inside
        if address.endswith(f"/{PREDICTION}") and f"{storage.parent(address)}/masks" in folders
    ]
    within = tuple(f"{folder}/" for folder in predictions)
    meant = {
        address: stamp
        for address, stamp in inside.items()
        if _is_image(PurePosixPath(address))
        and not any(part.startswith(".") for part in address[start:].split("/"))
        and not address.startswith(within)
    }
    return meant, [f"{folder} holds an earlier prediction and is left out." for folder in sorted(predictions)]


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
    return _is_image(path) and images.is_file_or_lost(path)


def _is_image(path: PurePath) -> bool:
    """Whether a file is an image by its name, even of a kind that is not read."""
    return images.is_image_name(path.name) or (
        path.suffix.lower() in images.OTHER_SUFFIXES - {".npy", ".raw"} and not path.name.startswith(".")
    )


def _problem(inside: PurePath, path: Path | str) -> str:
    """Why a file is not even tried, a sentence, or ""; `inside`: its path below the common folder."""
    for part in inside.parts:
        if problem := images.name_problem(part):
            return f"{problem[0].upper()}{problem[1:]}. Rename it."
    if inside.suffix.lower() in images.OTHER_SUFFIXES:
        return f"The image {path} {OTHER_KIND}"
    if inside.suffix.lower() not in images.SUFFIXES:
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
