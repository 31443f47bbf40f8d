"""Unpack a .zip without trusting it:  python -m lib.kaggle.archive FILE.zip FOLDER

Every name is looked at before the first file is written, everything is unpacked aside, and the folder appears only when all is
there: an archive that is cut off, too large or reaches beyond its folder leaves nothing.
"""

import re
import stat
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from lib import errors, files, paths
from lib.errors import UserError

LARGEST = 64 * 2**30  # bytes unpacked; the competition's archive has 1.7e9
RATIO = 200  # unpacked to packed: images hardly shrink, tables ten times
CHUNK = 2**20
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, IsADirectoryError, UnicodeDecodeError,
           *([zipfile.lzma.LZMAError] if zipfile.lzma else []))  # type: ignore[attr-defined]  # fmt: skip


def unpack(file, folder, largest=LARGEST):
    """Unpack a .zip into a folder that must not exist yet, or be empty; the number of files.

    Raises UserError that names the archive and the entry: no .zip, cut off, damaged, encrypted, an entry that is no plain file
    or whose name leads out of the folder, two entries of one name, a file with others below it, more than `largest` bytes.
    """
    file, folder = Path(file), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already and not empty. Name another folder, or remove it first.")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            inspect(file, entries, largest)
            with files.scratch(folder) as partial:
                for entry in entries:
                    extract(archive, entry, partial)
                if not files.put(partial, folder):
                    raise UserError(f"{folder} was made by somebody else meanwhile. Name another folder.")
    except FileNotFoundError:
        raise UserError(f"The archive {file} does not exist.") from None
    except (*DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, DAMAGED):
            raise  # the disk's; what bz2 finds damaged has no number
        raise UserError(f"The archive {file} cannot be unpacked ({error}). Download it again.") from None
    return len(entries)


def inspect(file, entries, largest):
    """UserError for the first entry that must not be unpacked."""
    seen = set()
    folders = {parent.as_posix() for entry in entries for parent in PurePosixPath(entry.orig_filename.casefold()).parents}
    for entry in entries:
        name, kind = entry.orig_filename, entry.external_attr >> 16
        parts = name.split("/")
        problem = ""
        if not name.isprintable() or "\\" in name or re.match(r"[A-Za-z]:", name) or {"", ".", ".."} & set(parts):
            problem = "has a name that leads out of the folder or cannot be shown"
        elif stat.S_IFMT(kind) not in (0, stat.S_IFREG):
            problem = "is a link or a device, not a file"
        elif entry.flag_bits & 1:
            problem = "is encrypted"
        elif name.casefold() in seen:
            problem = "is there twice"
        elif name.casefold() in folders:
            problem = "is a file, and the folder of other entries"
        elif entry.file_size > 10 * CHUNK and entry.file_size > RATIO * max(entry.compress_size, 1):
            problem = f"would grow to {entry.file_size:,} bytes from {entry.compress_size:,}"
        if problem:
            raise UserError(f"The archive {file}: its entry {name!r} {problem}, so nothing is unpacked. Get it from its source again.")
        seen.add(name.casefold())
    total = sum(entry.file_size for entry in entries)
    if total > largest:
        raise UserError(f"The archive {file} would unpack to {total:,} bytes, more than {largest:,}. Nothing is unpacked.")


def extract(archive, entry, folder):
    """Write one entry, and not a byte more than it said it had."""
    path = folder / entry.orig_filename
    path.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, open(path, "xb") as target:
        while block := source.read(min(CHUNK, left + 1)):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"{entry.orig_filename!r} is larger than it says")
            target.write(block)


def act(arguments):
    """Do what the command line says."""
    parser = errors.Parser(prog="python -m lib.kaggle.archive", description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("folder")
    given = parser.parse_args(arguments)
    file, folder = paths.given(given.file, "The archive"), paths.given(given.folder, "The folder")
    errors.print_line(f"{unpack(file, folder):,} files in {folder}")


def main(arguments=None):
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
