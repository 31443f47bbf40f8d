"""What classes are called in tables and figures, and which class a name in labels stands for."""

from collections.abc import Sequence

from lib.data.images import name_form

LONGEST = 40  # letters of a name in tables and figures


def plain(name: str) -> str:
    """A class's name as tables and figures can show it: cut to LONGEST letters, without what cannot be printed and
    without dollar signs, between which matplotlib sets mathematics."""
    return "".join(letter for letter in name if letter.isprintable() and letter != "$")[:LONGEST]


def without_numbers(titles: Sequence[str]) -> list[str]:
    """The names of classes from titles as `dataset.titles` gives them, such as "scratches" of "3 scratches"."""
    return [title.removeprefix(f"{defect_class} ") for defect_class, title in enumerate(titles, 1)]


def class_called(name: str, titles: Sequence[str]) -> int:
    """The class, from 1, whose title a name is, or whose name it is as `plain` gives it; 0 where no class, or more than
    one, is called so."""
    form = name_form(plain(name))
    pairs = zip(titles, without_numbers(titles), strict=True)
    alike = [
        index for index, (title, bare) in enumerate(pairs, 1) if name == title or form == name_form(bare)
    ]
    return alike[0] if len(alike) == 1 else 0
