"""What the file of a labelling tool says, whichever tool wrote it: images, and in each the classes' masks."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from lib.data import rle
from lib.data.images import OTHER_SUFFIXES, SUFFIXES, name_form
from lib.errors import UserError

ShapeOf = Callable[[str], tuple[int, int] | None]  # (H, W) of the image file that a name stands for, if any


class Notes:
    """Things of one kind, counted, with the first of them, for a report."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first: dict[str, str] = {}

    def add(self, words: str, where: str) -> None:
        """Count one more of `words`, such as "boxes are filled"."""
        self.counts[words] = self.counts.get(words, 0) + 1
        self.first.setdefault(words, where)

    def sentences(self) -> list[str]:
        """A sentence a kind."""
        return [f"{count:,} {words}, such as {self.first[words]}." for words, count in self.counts.items()]


@dataclass
class LabelledImage:
    """One image of a label file.

    name: as the file calls it; shape: (H, W); regions: (class, run-length string) of each label, in order;
    image_id: what the tool calls it by, for the way back.
    """

    name: str
    shape: tuple[int, int]
    regions: list[tuple[str, str]] = field(default_factory=list)
    image_id: int | str | None = None

    def rles(self) -> dict[str, str]:
        """{class: run-length string of all its labels}, without empty ones."""
        classes = dict.fromkeys(name for name, _ in self.regions)
        united = {name: rle.union(text for one, text in self.regions if one == name) for name in classes}
        return {name: text for name, text in united.items() if text}


@dataclass
class LabelSet:
    """All of a label file, or of a folder of them.

    format: one of `reading.FORMATS`; class_ids: {class: its id in the tool, None where it has none}, in the
    tool's order.
    """

    format: str
    class_ids: dict[str, int | str | None] = field(default_factory=dict)
    images: list[LabelledImage] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)


def parts_of(name: str) -> list[str]:
    """The folders and the file's name in a path or address of any system, letters composed."""
    parts = re.split(r"[/\\]", name.partition("?d=")[2] or name.partition("?")[0])
    return [unicodedata.normalize("NFC", unquote(part)) for part in parts]


def base_name(name: str) -> str:
    """The file's name in a path or address of any system, letters composed."""
    return parts_of(name)[-1]


class ImageNames:
    """The image files that the names in a label file stand for.

    Arguments:
        files: names of image files, with folders; what: the label file, for errors; folder: in which they all lie,
            "" where their names have folders enough to tell them apart.

    A name stands for the same path, else for the same file name, with as many folders before it as can be, else
    for that where one of the two has the eight digits that Label Studio puts before it, else without the ending of
    an image. Digits that both have, such as a date, are a part of the name.
    """

    def __init__(self, files: Iterable[str], what: str, folder: str | Path = "") -> None:
        self.what, self.folder = what, str(folder)
        listed = list(files)
        self.tables: list[dict[str, list[str]]] = [{} for _ in FORMS]
        for table, (_, of_file) in zip(self.tables, FORMS, strict=True):
            for file in listed:
                table.setdefault(name_form(of_file(file)), []).append(file)

    def find(self, name: str) -> str:
        """The file that a name stands for, "" for none. UserError where several are meant alike."""
        alike: list[str] = []
        for table, (of_name, _) in zip(self.tables, FORMS, strict=True):
            alike = alike or table.get(name_form(of_name(name)), [])
        if len(alike) > 1:
            # One that is called so as a whole lies in no folder of another name.
            ends = {file: (end := _common_end(name, file), end == len(parts_of(file))) for file in alike}
            alike = [file for file in alike if ends[file] == max(ends.values())]
        if len(alike) > 1:
            raise UserError(
                f"{self.what} names {name[:200]}, and that is what {' and '.join(alike[:2])} are called. Write the folders "
                "into it, too."
            )
        return alike[0] if alike else ""

    def find_all(self, names: Iterable[str]) -> dict[str, str]:
        """{name: the file that it stands for}, of those that stand for one. UserError where two names are one
        file.

        Where two are one file and some have the folder of the files, those of other folders are none of them.
        """
        of_name = {name: file for name in dict.fromkeys(names) if (file := self.find(name))}
        ends = {name: _common_end(name, f"{self.folder}/{file}") for name, file in of_name.items()}
        is_shared = len(set(of_name.values())) < len(of_name)
        if is_shared and self.folder and max(ends.values()) > 1:
            of_name = {name: of_name[name] for name in of_name if ends[name] > 1 or len(parts_of(name)) == 1}
        taken: dict[str, str] = {}
        for name, file in of_name.items():
            if file in taken:
                raise UserError(
                    f"{self.what} has {taken[file][:200]} and {name[:200]}, which are both {file}. Take one of them out."
                )
            taken[file] = name
        return of_name


def _without_digits(name: str) -> str:
    """A file's name without what Label Studio puts before it."""
    return re.sub(r"^[0-9a-f]{8}-(?=.)", "", base_name(name))


def _without_ending(name: str) -> str:
    """A file's name without an image's ending; other dots are a part of the name, as of "a_jpg.rf.0a1b", a file of
    Roboflow's."""
    path = Path(base_name(name))
    return path.stem if path.suffix.lower() in SUFFIXES | OTHER_SUFFIXES else path.name


def _bare(name: str) -> str:
    """A file's name without either."""
    return _without_ending(_without_digits(name))


Form = Callable[[str], str]
FORMS: tuple[tuple[Form, Form], ...] = (  # of a name in the labels, of a file's; a date would be cut off both
    (str, str),
    (base_name, base_name),
    (_without_digits, base_name),
    (base_name, _without_digits),
    (_without_ending, _without_ending),
    (_bare, _without_ending),
    (_without_ending, _bare),
)


def _common_end(one: str, two: str) -> int:
    """How many folders and names at the end of two paths are equal."""
    parts = [[name_form(part) for part in parts_of(path)][::-1] for path in (one, two)]
    equal = [a == b for a, b in zip(*parts, strict=False)]
    return (*equal, False).index(False)
