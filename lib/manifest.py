"""manifest.json: a list of files with sizes and hashes, of a model's SavedModel as of a packed data set (see `inventory`), and the check
that a folder still holds these and no others."""

import hashlib
from pathlib import Path

from lib.paths import UserError

FILE = "manifest.json"


def file_hash(path):
    """SHA-256 of a file's content, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of(folder, names=None):
    """What manifest.json says of a folder: {"files": {path relative to it, with /: {"bytes": size, "sha256": hash}}}, sorted.

    Arguments:
        names: the files to list; None for every one below the folder.
    """
    folder = Path(folder)
    if names is None:
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return {"files": {name: {"bytes": (folder / name).stat().st_size, "sha256": file_hash(folder / name)} for name in sorted(names)}}


def hashes(content):
    """{path: SHA-256} that the content of a manifest.json states, {} if it states nothing: it may come from anybody.

    Models that were saved before the sizes were noted have just that dictionary.
    """
    files = content.get("files", content) if isinstance(content, dict) else {}
    files = files if isinstance(files, dict) else {}
    return {name: str(entry.get("sha256") if isinstance(entry, dict) else entry) for name, entry in files.items()}


def check(folder, content):
    """UserError that names the first file below `folder` that is missing, was changed, or is not in a manifest's content."""
    folder, found, expected = Path(folder), hashes(of(folder)), hashes(content)
    for name in sorted(set(found) | set(expected)):
        if found.get(name) != expected.get(name):
            what = "is missing" if name not in found else "was added" if name not in expected else "was changed"
            raise UserError(f"{folder / name} {what} since the model was saved, so it is not used. Train the model again.")
