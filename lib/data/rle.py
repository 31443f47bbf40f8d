"""Run-length strings: 1-based, column-major (top to bottom, then left to right), "start length start length
...".

The empty string is the empty mask. Starts and lengths count pixels. Everything here is exact and needs numpy
and OpenCV alone.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from lib.errors import UserError

SHAPE = (256, 1600)  # height, width of a strip
REMEDY = "A run-length is pairs of start and length, sorted, inside the image and without overlaps"
LARGEST = 2**40  # no image has as many pixels; sums of numbers below it cannot overflow int64


class RleError(UserError):
    """A run-length string that is not valid; the message says what is wrong with it."""


def runs(rle: str) -> np.ndarray:
    """The runs of a run-length string.

    Arguments:
        rle: str, "" for no run.

    Returns int64 (n, 2): start (from 1) and length of every run, in the string's order.
    Raises RleError if it is not a string of pairs of whole numbers. Order and range are left to `check`.
    """
    if not isinstance(rle, str):
        raise RleError(
            f"A run-length must be text, not {type(rle).__name__} {rle!r}. No defect is the empty text."
        )
    if not rle.isascii() or rle.translate(_DIGITS_AND_SPACE):
        raise RleError(
            f"The run-length {_short(rle)} holds more than whole numbers with spaces between them. {REMEDY}."
        )
    if not rle or rle.isspace():  # numpy warns of these
        return np.empty((0, 2), np.int64)
    numbers = np.fromstring(rle, dtype=np.int64, sep=" ")
    if numbers.size % 2:
        raise RleError(f"The run-length {_short(rle)} has {numbers.size} numbers, an odd count. {REMEDY}.")
    if numbers.size and numbers.max() > LARGEST:
        raise RleError(f"The run-length {_short(rle)} holds a number that no image can reach. {REMEDY}.")
    return numbers.reshape(-1, 2)


def runs_of_all(rles: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The runs of many run-length strings, read in one go: (int64 (n, 2), int64 (len(rles),) how many each
    string has).

    Raises RleError as `runs` does for the first string that it would not take.
    """
    try:
        text = " 0 ".join([*rles, ""])  # a 0 ends each string's numbers; no valid string has one
    except TypeError:
        text = "?"
    if text.isascii() and not text.translate(_DIGITS_AND_SPACE):
        numbers = np.fromstring(text, dtype=np.int64, sep=" ") if text else np.empty(0, np.int64)
        ends = np.flatnonzero(numbers == 0)
        counts = np.diff(ends, prepend=-1) - 1
        if len(ends) == len(rles) and not (counts % 2).any() and numbers.max(initial=0) <= LARGEST:
            return numbers[numbers != 0].reshape(-1, 2), counts // 2
    each = [runs(text) for text in rles]  # one of them is to be refused, or has a 0
    return np.concatenate(each), np.array([len(pairs) for pairs in each])


def tidy(text: str) -> str:
    """A run-length string as a user's table has it, in this project's form: a single space between numbers
    and none around them, so that "" is the only empty mask. Whatever else is wrong with it is left to
    `check`."""
    return " ".join(text.split())  # tabs and non-breaking spaces as well


def union(rles: Iterable[str]) -> str:
    """The run-length string of what any of some valid run-length strings covers; "" for none."""
    pairs = np.concatenate([np.empty((0, 2), np.int64), *map(runs, rles)])
    if not len(pairs):
        return ""
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    starts, ends = pairs[:, 0], np.maximum.accumulate(pairs.sum(axis=1))
    first = np.append(True, starts[1:] > ends[:-1])  # runs that touch become one
    return from_runs(np.column_stack([starts[first], ends[np.append(first[1:], True)] - starts[first]]))


def columns(rle: str, height: int, first: int, last: int) -> str:
    """The run-length string of an image's columns first to last, the last left out, as an image of their own.

    Arguments:
        rle: valid; height: of the image, in pixels.
    """
    pairs = runs(rle)
    starts = np.maximum(pairs[:, 0] - 1, first * height)
    ends = np.minimum(pairs.sum(axis=1) - 1, last * height)
    inside = ends > starts
    return from_runs(np.column_stack([starts - first * height + 1, ends - starts])[inside])


def from_runs(runs: np.ndarray) -> str:
    """The run-length string of int64 (n, 2) starts (from 1) and lengths; "" for none."""
    numbers = np.asarray(runs).ravel().tolist()
    return ("%d " * len(numbers))[:-1] % tuple(numbers)  # half the time of joining strings


def check(rle: str, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Validate a run-length string for an image of `shape` (height, width).

    Returns its runs, int64 (n, 2). Runs that touch are accepted. Raises RleError that says what is wrong: not
    text, not numbers, an odd count, a start or length below 1, not sorted, overlapping, outside the image.
    """
    pairs = runs(rle)
    if not len(pairs):
        return pairs
    starts, lengths = pairs[:, 0], pairs[:, 1]
    if pairs.min() < 1:
        start, length = pairs[(pairs < 1).any(axis=1)][0]
        raise RleError(
            f"The run at {start} with length {length} has a number below 1: starts count from 1. {REMEDY}."
        )
    if len(pairs) > 1:
        wrong = np.flatnonzero(starts[1:] < (starts + lengths)[:-1])
        if wrong.size:
            one, two = wrong[0], wrong[0] + 1
            how = "is not sorted" if starts[two] < starts[one] else "overlaps the one before"
            raise RleError(
                f"The run at {starts[two]} {how} ({starts[one]} with length {lengths[one]}). {REMEDY}."
            )
    pixels = shape[0] * shape[1]
    last = starts[-1] + lengths[-1] - 1
    if last > pixels:
        raise RleError(
            f"The run at {starts[-1]} ends at pixel {last}, outside the image of {shape[0]} x {shape[1]} "
            f"({pixels} pixels). {REMEDY}."
        )
    return pairs


def encode(mask: np.ndarray) -> str:
    """The run-length string of a mask.

    Arguments:
        mask: (H, W) of any number type or bool; what is not 0 belongs to the defect.

    Returns str, "" for an empty mask. The runs are sorted and as long as can be.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"A mask has two dimensions, this one has the shape {mask.shape}.")
    mask = (mask if mask.dtype in (bool, np.uint8) else mask != 0).view(np.uint8)
    highest = mask.max(axis=0) if mask.size else np.zeros(0)  # the one pass over all bytes
    columns = np.flatnonzero(highest)
    if not len(columns):
        return ""
    # Only the columns that the mask touches are looked at again: most are empty.
    left, right = (
        columns[0],
        columns[-1] + 1,
    )
    part = mask[:, left:right] if highest.max() == 1 else (mask[:, left:right] != 0).view(np.uint8)
    height, width = part.shape
    # From the pixel before, which for the first row is the last of the column before.
    changes = np.empty((height, width), bool)
    changes[0, 0] = part[0, 0]
    np.not_equal(part[0, 1:], part[-1, :-1], out=changes[0, 1:])
    np.not_equal(part[1:], part[:-1], out=changes[1:])
    row, column = np.divmod(np.flatnonzero(changes), width)
    edges = np.sort(column * height + row)  # quicker than to turn all the bytes
    if part[-1, -1]:
        edges = np.append(edges, height * width)
    edges = edges.reshape(-1, 2)  # where a run starts, and where it has ended
    edges[:, 1] -= edges[:, 0]
    edges[:, 0] += left * height + 1
    return from_runs(edges)


def decode(rle: str, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """The mask of a run-length string.

    Arguments:
        rle: str, "" for an empty mask.
        shape: (height, width) of the image.

    Returns uint8 (H, W) of 0 and 1. Raises RleError as `check` does.
    """
    pairs, height = check(rle, shape), shape[0]
    mask = np.zeros(shape, np.uint8)
    if len(pairs):
        starts, ends = pairs[:, 0] - 1, pairs.sum(axis=1) - 1
        left, right = starts[0] // height, -(-ends[-1] // height)  # the columns that have runs
        columns = _filled(starts, ends, left * height, right * height, 1).reshape(-1, height)
        cv2.transpose(columns, mask[:, left:right])  # ten times as fast as numpy's copy
    return mask


def decode_half(rle: str, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """The mask of a run-length string at half the height and width: a pixel is set where two of its four are,
    or more.

    Arguments:
        rle: str, "" for an empty mask; shape: (height, width) of the image, even numbers.

    Returns uint8 (H / 2, W / 2) of 0 and 1. Raises RleError as `check` does.
    """
    pairs, height = check(rle, shape), shape[0] // 2
    mask = np.zeros((height, shape[1] // 2), np.uint8)
    if len(pairs):
        starts, ends = pairs[:, 0] - 1, pairs.sum(axis=1) - 1
        left, right = starts[0] // (4 * height), -(-ends[-1] // (4 * height))  # columns of the small mask
        begin = left * 2 * height  # pairs of pixels one above the other: how many of the two are set
        cover = _filled((starts + 1) // 2, ends // 2, begin, right * 2 * height, 2)
        for edges in (starts, ends):  # a run that begins or ends between the two of a pair covers one of them
            cover[edges[edges & 1 == 1] // 2 - begin] += 1
        cover = cover.reshape(-1, 2, height)
        small = (cover[:, 0] + cover[:, 1] >= 2).view(np.uint8)
        cv2.transpose(small, mask[:, left:right])
    return mask


def _filled(starts: np.ndarray, ends: np.ndarray, begin: int, end: int, value: int) -> np.ndarray:
    """uint8 (end - begin,) with `value` from every start to its end, int64 (n,) each and in order, and 0
    elsewhere."""
    edges = np.empty(2 * len(starts) + 2, np.int64)
    edges[0], edges[-1], edges[1:-1:2], edges[2:-1:2] = begin, end, starts, ends
    values = np.zeros(2 * len(starts) + 1, np.uint8)
    values[1::2] = value
    return np.repeat(values, np.diff(edges))


def area(rle: str) -> int:
    """How many pixels a run-length string covers, as int; 0 for "". The string is taken to be valid."""
    return int(runs(rle)[:, 1].sum())


def compare(rles_a: Sequence[str], rles_b: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of pairs of valid run-length strings, from their runs alone; no mask is made.

    Arguments:
        rles_a, rles_b: two lists of N strings, for images of one size.

    Returns three int64 (N,): how many pixels the two of a pair share, how many the first has, how many the
    second has.
    """
    (a, counts_a), (b, counts_b) = runs_of_all(rles_a), runs_of_all(rles_b)
    reach = max((pairs[:, 0] + pairs[:, 1]).max(initial=0) for pairs in (a, b))
    begins = np.arange(len(rles_a)) * reach  # the images laid out one after the other
    starts_a, lengths_a = a[:, 0] + np.repeat(begins, counts_a), np.ascontiguousarray(a[:, 1])
    starts_b, lengths_b = b[:, 0] + np.repeat(begins, counts_b), b[:, 1]
    before = _sums(lengths_a)  # pixels of a in its first n runs

    def covered(position):  # pixels of a before `position`
        run = np.searchsorted(starts_a, position, side="right") - 1
        inside = np.minimum(position - starts_a[run], lengths_a[run])
        return np.where(run < 0, 0, before[run] + inside)

    both = covered(starts_b + lengths_b) - covered(starts_b) if len(a) else np.zeros(len(b), np.int64)
    first_a, first_b = _sums(counts_a), _sums(counts_b)  # of a pair's runs, where they begin
    return np.diff(_sums(both)[first_b]), np.diff(before[first_a]), np.diff(_sums(lengths_b)[first_b])


def intersection(rle_a: str, rle_b: str) -> int:
    """How many pixels two valid run-length strings share, as int."""
    return int(compare([rle_a], [rle_b])[0][0])


def _sums(numbers: np.ndarray) -> np.ndarray:
    """The sums of the first 0, 1, ... n of `numbers`, int64 (n + 1,)."""
    return np.concatenate([[0], np.cumsum(numbers)])


def self_test() -> None:
    """Encode and decode masks whose run-lengths are known, on the machine at hand; RuntimeError if one comes
    out differently."""
    corner = np.zeros((3, 4), np.uint8)
    corner[1:, 0] = corner[0, 1] = corner[2, 3] = 1
    cases = [(corner, "2 3 12 1"), (np.zeros((3, 4), np.uint8), ""), (np.ones((3, 4), np.uint8), "1 12")]
    noise = (np.random.default_rng(0).random(SHAPE) < 0.3).astype(np.uint8)
    turned = np.flatnonzero(np.diff(np.concatenate([[0], noise.T.ravel(), [0]]).astype(int))).reshape(-1, 2)
    cases.append((noise, " ".join(f"{start + 1} {end - start}" for start, end in turned)))
    for mask, text in cases:
        if encode(mask) != text or not np.array_equal(decode(text, (len(mask), mask.shape[1])), mask):
            raise RuntimeError(
                f"The run-length code of a mask of {mask.shape} came out wrong: {_short(encode(mask))}."
            )


def _short(rle: str) -> str:
    """The beginning of a string, for messages."""
    return repr(rle if len(rle) <= 40 else rle[:37] + "...")


_DIGITS_AND_SPACE = {ord(character): None for character in "0123456789 "}
