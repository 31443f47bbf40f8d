"""The manifest.json of a packed data set: what is attached is opened only if it is what was packed."""

from pathlib import Path

from lib import manifest, paths
from lib.manifest import FILE, file_hash
from lib.paths import UserError

AGAIN = "Upload the folder again, or pack the run again: python -m lib.kaggle pack"


def write(folder, names):
    """Write manifest.json for the files `names` (paths relative to `folder`, with /); the SHA-256 of the manifest itself."""
    folder = Path(folder)
    paths.write_json(folder / FILE, manifest.of(folder, names))
    return file_hash(folder / FILE)


def check(folder, sha256=""):
    """Compare a data set with its manifest.

    Arguments:
        folder: holds manifest.json; a run's own folder does not, and passes if `sha256` is empty.
        sha256: of the manifest that is expected; empty: any.

    Returns the number of files compared. Raises UserError that names the first file that is missing, of another size, changed
    or, in models/, not listed.
    """
    folder = Path(folder)
    path = folder / FILE
    if not path.is_file() and not sha256:
        return 0
    if not path.is_file():
        raise UserError(f"{path} is missing. {AGAIN}.")
    if sha256 and file_hash(path) != sha256:
        raise UserError(f"{path} is not the one that this notebook was packed with. Attach the data set of the same pack. {AGAIN}.")
    try:
        files = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in paths.read_json(path)["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} is no manifest. {AGAIN}.") from None
    for name, (size, expected) in files.items():
        file = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{path}: {name!r} is outside the folder. {AGAIN}.")
        if not file.is_file():
            raise UserError(f"{file} is missing. {AGAIN}.")
        if file.stat().st_size != size:
            raise UserError(f"{file} has {file.stat().st_size} bytes, not {size}. {AGAIN}.")
        if file_hash(file) != expected:
            raise UserError(f"{file} was changed: its SHA-256 is not the manifest's. {AGAIN}.")
    for file in sorted((folder / "models").rglob("*")):
        if file.is_file() and file.relative_to(folder).as_posix() not in files:
            raise UserError(f"{file} is not in the manifest. {AGAIN}.")
    return len(files)
