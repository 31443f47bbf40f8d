"""manifest.json: a list of files with sizes and hashes, of a model's SavedModel as of a packed data set, and
the check that a folder holds these."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib.errors import UserError
from lib.files import read_json, write_json

MANIFEST = "manifest.json"


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_of(folder: str | os.PathLike, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The content of a folder's manifest.json: {"files": {path relative to it, with /: {"bytes": size,
    "sha256": hash}}}, sorted.

    Arguments:
        names: the files to list; None for every one below the folder.
    """
    folder = Path(folder)
    if names is None:
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return {
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": file_hash(folder / name)}
            for name in sorted(names)
        }
    }


def manifest_hashes(content: Any) -> dict[str, str]:
    """{path: SHA-256} in the content of a manifest.json, {} if it holds none: it may come from anybody.

    Models that were saved before the sizes were noted have just that dictionary.
    """
    files = content.get("files", content) if isinstance(content, dict) else {}
    files = files if isinstance(files, dict) else {}
    return {
        name: str(entry.get("sha256") if isinstance(entry, dict) else entry) for name, entry in files.items()
    }


def check_manifest(folder: str | os.PathLike, content: Any) -> None:
    """UserError that names the first file below `folder` that is missing, was changed, or is not in a
    manifest's content."""
    folder = Path(folder)
    present, expected = manifest_hashes(manifest_of(folder)), manifest_hashes(content)
    for name in sorted(set(present) | set(expected)):
        if present.get(name) != expected.get(name):
            what = (
                "is missing"
                if name not in present
                else "was added"
                if name not in expected
                else "was changed"
            )
            raise UserError(
                f"{folder / name} {what} since the model was saved, so it is not used. Train the model again."
            )


LIB = Path(__file__).resolve().parent.parent
PACK_AGAIN = "Upload the folder again, or pack the run again: python -m lib.kaggle pack"


def write_manifest(folder: str | os.PathLike, names: Iterable[str]) -> str:
    """Write manifest.json for the files `names` (paths relative to `folder`, with /); the SHA-256 of the
    manifest itself."""
    folder = Path(folder)
    write_json(folder / MANIFEST, manifest_of(folder, names))
    return file_hash(folder / MANIFEST)


def check_data_set(folder: str | os.PathLike, sha256: str = "") -> int:
    """Compare a data set with its manifest.

    Arguments:
        folder: holds manifest.json; a run's own folder does not, and passes if `sha256` is empty.
        sha256: of the manifest that is expected, whose lib is then the one that was imported; empty: any.

    Returns the number of files compared. Raises UserError that names the first file that is missing, of
    another size, changed, in models/ or lib/ not listed, or of another lib.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file() and not sha256:
        return 0
    if not path.is_file():
        raise UserError(f"{path} is missing. {PACK_AGAIN}.")
    if sha256 and file_hash(path) != sha256:
        raise UserError(
            f"{path} is not the one that this notebook was packed with. Attach the data set of the same pack. {PACK_AGAIN}."
        )
    try:
        files = {
            name: (int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in read_json(path)["files"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} is no manifest. {PACK_AGAIN}.") from None
    for name, (size, expected) in files.items():
        file = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{path}: {name!r} is outside the folder. {PACK_AGAIN}.")
        if not file.is_file():
            raise UserError(f"{file} is missing. {PACK_AGAIN}.")
        if file.stat().st_size != size:
            raise UserError(f"{file} has {file.stat().st_size} bytes, not {size}. {PACK_AGAIN}.")
        if file_hash(file) != expected:
            raise UserError(f"{file} was changed: its SHA-256 is not the manifest's. {PACK_AGAIN}.")
        imported = LIB.parent / name
        if (
            sha256
            and Path(name).parts[0] == "lib"
            and not (imported.is_file() and file_hash(imported) == expected)
        ):
            raise UserError(
                f"{imported} is imported, and {file} differs from it. On Kaggle, detach the other data set with a lib folder; "
                "in the project, pack the run again: python -m lib.kaggle pack."
            )
    for file in sorted([*(folder / "models").rglob("*"), *(folder / "lib").rglob("*")]):
        if (
            file.is_file()
            and "__pycache__" not in file.parts
            and file.relative_to(folder).as_posix() not in files
        ):
            raise UserError(f"{file} is not in the manifest. {PACK_AGAIN}.")
    return len(files)
