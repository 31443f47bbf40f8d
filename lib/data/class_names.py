"""What classes are called in tables and figures, and which class a name in labels stands for."""

from collections.abc import Sequence


def without_numbers(titles: Sequence[str]) -> list[str]:
    """The names of classes from titles as `dataset.titles` gives them, such as "scratches" of "3 scratches"."""
    return [title.removeprefix(f"{defect_class} ") for defect_class, title in enumerate(titles, 1)]


def class_called(name: str, titles: Sequence[str]) -> int:
    """The class, from 1, whose title or name it is; 0 where no class, or more than one, is called so."""
    pairs = enumerate(zip(titles, without_numbers(titles), strict=True), 1)
    alike = [index for index, pair in pairs if name in pair]
    return alike[0] if len(alike) == 1 else 0
