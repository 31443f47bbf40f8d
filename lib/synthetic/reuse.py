"""Whether a folder already holds the generated strips that are wanted."""

import re
from pathlib import Path
from typing import Any

from lib import files
from lib.errors import UserError


def is_filled(folder: Path, wanted: dict[str, Any]) -> bool:
    """Whether a folder holds the set of these settings; False if it is empty or an older version's of them.

    Raises UserError if something else lies there.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    description = files.read_json(folder / "dataset.json") if (folder / "dataset.json").is_file() else {}
    if description == wanted:
        return True
    before = description.get("settings") if isinstance(description, dict) else None
    if (
        not isinstance(before, dict)
        or {"contrast": wanted["settings"]["contrast"], **before, "version": wanted["settings"]["version"]}
        != wanted["settings"]
    ):
        raise UserError(
            f"{folder} holds something else than these generated strips. Delete it or name another folder."
        )
    if strange := first_foreign(folder):
        raise UserError(
            f"{strange} is none of the strips that an older version generated there, and they are to be made "
            f"anew. Move it elsewhere, or name another folder than {folder}."
        )
    return False


def first_foreign(folder: Path) -> Path | None:
    """The first thing in the folder of a generated set that is none of its own, or None."""
    parts = ("train_images", "test_images")
    tables = ("dataset.json", "train.csv", "test_truth.csv", "sample_submission.csv")
    for path in sorted(folder.iterdir()):
        if path.name in parts and path.is_dir() and not path.is_symlink():
            for image in sorted(path.iterdir()):
                if not re.fullmatch(r"[0-9a-f]{9}\.jpg", image.name) or not image.is_file():
                    return image
        elif path.name not in tables or not path.is_file():
            return path
    return None
