"""Unpack a .zip without trusting it:  python -m lib.kaggle.archive FILE.zip FOLDER

Every name is looked at before the first file is written, everything is unpacked aside, and the folder appears
only
when all is complete: an archive that is cut off, too large or reaches beyond its folder leaves nothing.
"""

import contextlib
import re
import stat
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lib import errors, files, paths
from lib.errors import UserError

LARGEST = 64 * 2**30  # bytes unpacked; the competition's archive has 1.7e9
RATIO = 200  # unpacked to packed: images hardly shrink, tables ten times
CHUNK = 2**20
DAMAGED: tuple[type[Exception], ...] = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, IsADirectoryError, UnicodeDecodeError
)  # fmt: skip
with contextlib.suppress(ImportError):  # where Python was built without it
    import lzma

    DAMAGED += (lzma.LZMAError,)
UNREADABLE: tuple[type[Exception], ...] = (*DAMAGED, OSError)


def unpack(file: str | Path, folder: str | Path, largest: int = LARGEST) -> int:
    """Unpack a .zip into a folder that must not exist yet, or be empty; the number of files.

    Raises UserError that names the archive and the entry: no .zip, cut off, damaged, encrypted, an entry that
    is no plain file or whose name leads out of the folder, two entries of one name, a file with others below
    it, more than `largest` bytes.
    """
    file = Path(file)
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already and not empty. Name another folder, or remove it first.")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            check_entries(file, entries, largest)
            with files.scratch(folder) as partial:
                for entry in entries:
                    extract(archive, entry, partial)
                if not files.put(partial, folder):
                    raise UserError(f"{folder} was made by somebody else meanwhile. Name another folder.")
    except FileNotFoundError:
        raise UserError(f"The archive {file} does not exist.") from None
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, DAMAGED):
            raise  # the disk's; what bz2 finds damaged has no number
        raise UserError(f"The archive {file} cannot be unpacked ({error}). Download it again.") from None
    return len(entries)


def check_entries(file: Path, entries: Sequence[zipfile.ZipInfo], largest: int) -> None:
    """UserError for the first entry that must not be unpacked, or where all are more than `largest` bytes."""
    names: set[str] = set()
    without_capitals = [PurePosixPath(entry.orig_filename.casefold()) for entry in entries]
    folders = {parent.as_posix() for name in without_capitals for parent in name.parents}
    for entry in entries:
        problem = problem_of(entry, names, folders)
        if problem:
            what = f"its entry {entry.orig_filename!r} {problem}, so nothing is unpacked"
            raise UserError(f"The archive {file}: {what}. Get it from its source again.")
        names.add(entry.orig_filename.casefold())
    total = sum(entry.file_size for entry in entries)
    if total > largest:
        size = f"{total:,} bytes, more than {largest:,}"
        raise UserError(f"The archive {file} would unpack to {size}. Nothing is unpacked.")


def problem_of(entry: zipfile.ZipInfo, names: set[str], folders: set[str]) -> str:
    """Why an entry must not be unpacked, in words that follow its name; "" if it may.

    Arguments:
        names: of the entries before it, folders: of all entries; both without capitals.
    """
    name = entry.orig_filename
    leads_out = "\\" in name or re.match(r"[A-Za-z]:", name) or {"", ".", ".."} & set(name.split("/"))
    if leads_out or not name.isprintable():
        return "has a name that leads out of the folder or cannot be shown"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device, not a file"
    if entry.flag_bits & 1:
        return "is encrypted"
    if name.casefold() in names:
        return "is there twice"
    if name.casefold() in folders:
        return "is a file, and the folder of other entries"
    if entry.file_size > 10 * CHUNK and entry.file_size > RATIO * max(entry.compress_size, 1):
        return f"would grow to {entry.file_size:,} bytes from {entry.compress_size:,}"
    return ""


def extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Write one entry, and not a byte more than it says it has."""
    path = folder / entry.orig_filename
    path.parent.mkdir(parents=True, exist_ok=True)
    remaining = entry.file_size
    with archive.open(entry) as source, open(path, "xb") as target:
        while block := source.read(min(CHUNK, remaining + 1)):
            remaining -= len(block)
            if remaining < 0:
                raise zipfile.BadZipFile(f"{entry.orig_filename!r} is larger than it says")
            target.write(block)


def act(arguments: Sequence[str] | None) -> None:
    """Do what the command line says."""
    parser = errors.Parser(prog="python -m lib.kaggle.archive", description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("folder")
    args = parser.parse_args(arguments)
    file = paths.resolve_path(args.file, "The archive")
    folder = paths.resolve_path(args.folder, "The folder")
    errors.print_line(f"{unpack(file, folder):,} files in {folder}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
