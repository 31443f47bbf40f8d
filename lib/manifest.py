"""A list of a folder's files with hashes of their content, and the check that a folder still holds these and no others."""

import hashlib
from pathlib import Path

from lib.paths import UserError


def file_hash(path):
    """SHA-256 of a file's content, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of(folder):
    """{path relative to the folder: hash} of every file below it."""
    folder = Path(folder)
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def check(folder, expected):
    """UserError that names the first file below `folder` that is missing, was changed, or is not in `expected` (as from `of`)."""
    folder, found = Path(folder), of(folder)
    expected = expected if isinstance(expected, dict) else {}  # it may come from a file that somebody else wrote
    for name in sorted(set(found) | set(expected)):
        if found.get(name) != expected.get(name):
            what = "is missing" if name not in found else "was added" if name not in expected else "was changed"
            raise UserError(f"{folder / name} {what} since the model was saved, so it is not used. Train the model again.")
