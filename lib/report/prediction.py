"""The page of a prediction: what was found on a folder of images, which of them to look at, and, where the
truth is known, how good it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lib import files
from lib.report.pages import flat, number_text, page

MOST_UNREAD = 200  # that the page names; the rest stand in images.csv


@dataclass(frozen=True)
class Picture:
    """An image on the page.

    name: of the image; caption: a line on it; address: its pixels, see `overlay.data_address`; link: the file
    with the whole overlay, from the page's folder, or ""; truth: as address, with the true outlines, or "".
    """

    name: str
    caption: str
    address: str
    link: str = ""
    truth: str = ""


@dataclass
class Contents:
    """What the page shows.

    run: its name; counts: (words, number); classes: (title, images with it, pieces, area in words); remarks:
    sentences; galleries: (heading, words, pictures); unread: (name, why); score: as `prediction_score.evaluate` has it,
    or {}; settings: what the prediction was made from; explored: names of the images that explore.html has;
    none: it is not there.
    """

    run: str
    counts: list[tuple[str, int]]
    classes: list[tuple[str, int, int, str]]
    remarks: Sequence[str] = ()
    galleries: list[tuple[str, str, list[Picture]]] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    score: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    explored: Sequence[str] = ()


def write_page(path: str | Path, contents: Contents, listed: Sequence[str]) -> None:
    """Write the page, atomically; `listed`: files and folders beside it to link to."""
    lost = contents.score.get("lost_points", {})
    text = page(
        "prediction.html",
        contents=contents,
        score=contents.score,
        lost=[(name, values, sum(values)) for name, values in lost.items()],
        galleries=[gallery for gallery in contents.galleries if gallery[2]],
        unread=contents.unread[:MOST_UNREAD],
        settings=[(name, number_text(value)) for name, value in flat(contents.settings)],
        files=listed,
    )
    files.write_atomic(path, text)


def link_to(name: str) -> str:
    """A relative path with / as the address of a link, whatever letters it has."""
    return "./" + quote(name, errors="backslashreplace")
