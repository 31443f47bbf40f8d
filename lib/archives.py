"""Unpack a ZIP archive that nobody has looked at yet."""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from lib.paths import UserError

MOST_FILES = 100_000
MOST_BYTES = 20 * 2**30  # unpacked; the competition's data are about 2 GiB
MOST_RATIO = 200  # unpacked to packed, of an entry of more than a megabyte


def unpack(archive, folder, progress=None):
    """Unpack a ZIP archive into `folder`, which is made anew and absent again if anything is wrong.

    No entry may leave the folder, be a link or a device, come twice, or unpack to far more than an archive of images does; every
    entry's checksum is compared.

    Raises UserError that names the archive and the entry.
    """
    archive, folder = Path(archive), Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            names = check_entries(archive, entries, opened.infolist())
            for number, (entry, name) in enumerate(zip(entries, names, strict=True), 1):
                place = folder.joinpath(*name.parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, open(place, "xb") as target:
                    copy(source, target, entry, archive)
                if progress and number % 5000 == 0:
                    progress(f"{number:,} of {len(entries):,} files unpacked")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, FileExistsError)):
            raise UserError(f"{archive} is not a sound ZIP archive ({error}). Delete it and download it again.") from None
        if isinstance(error, FileNotFoundError):
            raise UserError(f"{archive} does not exist. Download it again.") from None
        raise


def check_entries(archive, entries, everything):
    """The entries' names as relative paths; UserError for the first one that is not safe to unpack."""
    if len(everything) > MOST_FILES:
        raise UserError(f"{archive} holds {len(everything):,} entries, more than {MOST_FILES:,}. It is not what was expected.")
    total, names, seen = 0, [], set()
    for entry in everything:
        name = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        problem = ""
        if name.is_absolute() or ".." in name.parts or "\\" in entry.filename or ":" in entry.filename or not entry.filename.isprintable():
            problem = "would leave the folder, or has no proper name"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = "is a link or a device"
        elif entry.flag_bits & 0x1:
            problem = "is encrypted"
        elif str(name).lower() in seen:
            problem = "is there twice"
        elif entry.file_size > max(2**20, MOST_RATIO * entry.compress_size):
            problem = f"unpacks to {entry.file_size:,} bytes from {entry.compress_size:,}"
        if problem:
            raise UserError(f"{archive}: the entry {entry.filename!r} {problem}. Nothing was unpacked; download it again.")
        seen.add(str(name).lower())
        total += entry.file_size
        if not entry.is_dir():
            names.append(name)
    if total > MOST_BYTES:
        raise UserError(f"{archive} unpacks to {total / 2**30:.0f} GiB, more than {MOST_BYTES / 2**30:.0f}. It is not what was expected.")
    free = shutil.disk_usage(archive.parent).free
    if total > free:
        raise UserError(f"{archive} unpacks to {total / 2**30:.1f} GiB and the disk has {free / 2**30:.1f}. Make room, then try again.")
    return names


def copy(source, target, entry, archive):
    """Copy an entry, no more than it says it holds."""
    left = entry.file_size
    while piece := source.read(2**20):
        left -= len(piece)
        if left < 0:
            raise UserError(f"{archive}: the entry {entry.filename!r} is larger than it says. Delete the archive.")
        target.write(piece)
