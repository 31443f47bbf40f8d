"""What a parameter may be, as the comment of its line declares it: `epochs: int = 16  # 1..1000: passes`.

    1..1000              a number from 1 to 1000; `0..` has no end, `0<..1` leaves out 0, `0..<1` leaves out 1
    32..8192 by 32       the multiples of 32 among them
    grouped | random     one of several: texts, numbers, ranges; `empty` is the empty text, FILE one that
    exists choices.FLIPS        the names of lib/data/choices.py
    2 of 0..100          a list of two; `1..4 of none | both`: of one to four, each another one
    choices.AUGMENTATION, choices.LIGHT_AND_FLIPS a dictionary, where choices.py says what each of its entries may be

It ends with the comment or at ": ", where words for the reader begin. A comment that begins otherwise
declares nothing.
"""

import ast
import difflib
import re
import tokenize
from dataclasses import dataclass
from io import StringIO
from typing import Any, NamedTuple

from lib import paths
from lib.data import choices
from lib.errors import UserError

DECIMAL = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
RANGE = re.compile(rf"({DECIMAL})(<?)\.\.(<?)({DECIMAL})?(?: by (\d+))?")


class Range(NamedTuple):
    """Numbers from `low` to `high` (None: no end), without the ends where `above` and `below`, multiples of
    `step` (0: all)."""

    low: float
    above: bool
    below: bool
    high: float | None
    step: int


@dataclass(frozen=True)
class Domain:
    """The values that a parameter may have: one of `options`, `count` of them (None: it is no list), or a
    dictionary with `entries`."""

    count: Range | None = None
    options: tuple["str | Range", ...] = ()
    entries: dict[str, "Domain | None"] | None = None


def read(comment: str) -> Domain | None:
    """The Domain that the comment of a parameter declares, or None if it declares none; ValueError if it is
    written wrongly."""
    text = re.split(r":(?: |$)", comment.strip(), maxsplit=1)[0].strip()
    head = re.fullmatch(r"(\d+(?:\.\.\d*)?) of (.+)", text)
    count, text = (
        (_range(head[1] if ".." in head[1] else f"{head[1]}..{head[1]}"), head[2]) if head else (None, text)
    )
    if not (head or "|" in text or ".." in text or re.fullmatch(r"choices\.[A-Z_]+", text)):
        return None
    options = []
    for option in re.split(r"\s*\|\s*", text):
        if option.startswith("choices."):
            names = getattr(choices, option.removeprefix("choices."), None)
            if names is None:
                raise ValueError(f"{option} is not in lib/data/choices.py")
            if names in (choices.AUGMENTATION, choices.LIGHT_AND_FLIPS):
                return Domain(entries={name: read(declared) for name, declared in names.items()})
            options += names
        elif not option:
            raise ValueError(f"{text!r} is neither a range such as 1..9 nor a choice such as one | other")
        else:
            options.append(_range(option) if ".." in option else option)
    return Domain(count, tuple(options))


def _range(text: str) -> Range:
    match = RANGE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a range such as 1..9, 0.., 0<..<1 or 32..640 by 32")
    low, above, below, high, step = match.groups()
    return Range(float(low), bool(above), bool(below), float(high) if high else None, int(step or 0))


def comments_of(source: str) -> dict[int, str]:
    """{line number: comment} of Python source."""
    tokens = tokenize.generate_tokens(StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def problem(value: Any, domain: Domain | None) -> str:
    """What is wrong with a value, in words that follow "is"; "" if nothing is, or if there is no domain."""
    if domain is None or value is None:
        return ""
    if domain.entries is not None:
        for name, entry in value.items():
            if name not in domain.entries:
                return f"{value}, and {name!r} is none of {', '.join(domain.entries)}"
            if wrong := problem(entry, domain.entries[name]):
                return f"{value}, where {name} is {wrong}"
        return ""
    if domain.count is not None:
        if not isinstance(value, list):
            return f"{shown(value)}, not a list"
        if not _within(len(value), domain.count):
            return f"{shown(value)}: it has {len(value)} entries, and must have {_words(domain.count)}"
        if any(isinstance(item, str) and item in value[:index] for index, item in enumerate(value)):
            return f"{shown(value)}: an entry stands in it twice"
        wrong = next(filter(None, (_problem_of_item(item, domain.options) for item in value)), "")
        return f"{shown(value)}, where an entry is {wrong}" if wrong else ""
    return _problem_of_item(value, domain.options)


def _problem_of_item(value: Any, options: tuple[str | Range, ...]) -> str:
    if any(_fits(value, option) for option in options):
        return ""
    names = {option.lower(): option for option in options if isinstance(option, str)}
    near = difflib.get_close_matches(value.lower(), names, n=1) if isinstance(value, str) else ()
    hint = f" (did you mean {names[near[0]]}?)" if near else ""
    words = [_words(option) for option in options]
    return (
        f"{shown(value)}{hint}, and must be {' or '.join(filter(None, [', '.join(words[:-1]), words[-1]]))}"
    )


def _fits(value: Any, option: str | Range) -> bool:
    if isinstance(option, Range):
        return isinstance(value, int | float) and not isinstance(value, bool) and _within(value, option)
    if not isinstance(value, str):
        return not isinstance(value, bool) and str(value) == option
    if option == "FILE":
        return bool(value) and paths.from_project(value, "The file").is_file()
    return value == ("" if option == "empty" else option)


def _within(value: float, range_: Range) -> bool:
    low = value > range_.low if range_.above else value >= range_.low
    high = range_.high is None or (value < range_.high if range_.below else value <= range_.high)
    return low and high and not (range_.step and value % range_.step)


def _words(option: str | Range) -> str:
    if not isinstance(option, Range):
        return {
            "empty": "empty",
            "FILE": "a file that exists (its path from the project's folder, or in full)",
        }.get(option, option)
    low, high = f"{option.low:.12g}", "" if option.high is None else f"{option.high:.12g}"
    if high == low:
        return low
    if not option.above and not option.below:
        text = f"{low} to {high}" if high else f"{low} or more"
    else:
        text = f"above {low}" if option.above else f"{low} or more"
        text += f" and below {high}" if option.below else f" and at most {high}" if high else ""
    return f"a multiple of {option.step}, {text}" if option.step else text


def shown(value: Any) -> str:
    """A value for a sentence: in quotes if it is text, never long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def clash(values: dict[str, Any]) -> str:
    """Why a notebook's values, each right by itself, do not go together, as a sentence; "" if they do.

    Arguments:
        values: {parameter: value} of one notebook.
    """
    backbone, weights, architecture = (values.get(key) for key in ("backbone", "weights", "architecture"))
    if "validation" in values and values["held_out"] + values["validation"] >= 1:
        return (
            f"held_out is {values['held_out']} and validation {values['validation']}, which leaves nothing "
            "to teach with. "
            "Both are shares, below 1 together."
        )
    if values.get("held_out") == 0 and values.get("n_members", 2) < 2:
        return (
            "held_out is 0 and n_members below 2, so that nothing is left to judge. Set held_out above 0, "
            "or n_members to 2 or more."
        )
    if values.get("held_out") == 0 and values.get("keep") == "best":
        return (
            "held_out is 0, so that each network's validation strips judge it, and keep is best: they would "
            "choose its epoch too. "
            "Set keep to last, or held_out above 0."
        )
    if values.get("held_out") == 0 and values.get("pseudo_labels"):
        return (
            "held_out is 0, so that all strips judge, and pseudo_labels come from networks that learned "
            "them. Set held_out above 0."
        )
    if values.get("keep") == "last" and values.get("patience"):
        return "patience waits for a better epoch, and keep is last. Set patience to 0, or keep to best."
    if backbone == "compact" and weights not in ("none", None):
        return (
            f"weights is {weights!r}, but the backbone compact has none to begin with. Set weights to none, "
            "or choose another backbone."
        )
    if architecture not in ("Unet", None) and backbone in ("compact", *choices.LITE):
        return (
            f"The backbone {backbone} exists as a Unet, not as {architecture}. Set architecture to Unet, or "
            "choose another backbone."
        )
    return clash_of_sizes(backbone, values) if "crop_width" in values else ""


def clash_of_sizes(backbone: Any, values: dict[str, Any]) -> str:
    """Why a network's height, width and crop_width do not go together or with its backbone, as a sentence; ""
    if they do."""
    height, width, crop_width = (values[key] for key in ("height", "width", "crop_width"))
    segments = "architecture" in values
    least = choices.SMALLEST.get(backbone, 0)  # a segmenter is built for any width
    # A side of 0 is the images' own, which the notebook learns.
    if 0 < height < least or (0 < width < least and not segments):
        return (
            f"height is {height} and width {width}, but the backbone {backbone} needs {least} pixels or "
            "more. Set them higher, or "
            "choose another backbone."
        )
    if crop_width and width % 32 and backbone in choices.BY_32:
        return (
            f"width is {width}, but to learn from crops the backbone {backbone} needs a multiple of 32. Set "
            "width to such a one, "
            "or crop_width to 0."
        )
    if segments and width and crop_width > width:
        return (
            f"crop_width is {crop_width}, but the strips are only {width} pixels wide at the network's "
            "input. Set crop_width to "
            f"{width} or less, or to 0 for whole strips."
        )
    return ""


def check_opened(namespace: dict[str, Any]) -> None:
    """Check the parameters of a notebook that somebody runs cell by cell: UserError for a value that its
    comment rules out.

    Arguments:
        namespace: the notebook's globals(), with IPython's `In`, from which the parameters cell is read.
            Elsewhere, nothing is done.
    """
    for source in reversed(namespace.get("In", [])):
        if "\nrun_dir: str" not in source:
            continue
        comments, values = comments_of(source), {}
        for line in ast.parse(source).body:
            name = getattr(getattr(line, "target", None), "id", "")
            values[name] = namespace.get(name)
            if wrong := problem(values[name], read(comments.get(line.end_lineno, ""))):
                raise UserError(f"{name} is {wrong}. Change it in the parameters cell, and run that again.")
        if wrong := clash(values):
            raise UserError(wrong)
        return
