"""Label Studio's code of what was painted: runs of bytes, red, green, blue and opacity of every pixel in turn.

Source: the format of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack, which Label Studio uses.
32 bits tell how many values there are, 5 the bits of a value less one, four times 4 the bits of the four kinds of
lengths less one. Then come blocks: one bit, whether one value is repeated; two, which kind its length is of; the
length less one; the value, or that many values.
"""

from collections.abc import Sequence

import numpy as np

from lib.data import rle
from lib.data.labels import fields

LENGTHS = (3, 4, 8, 16)  # bits, as Label Studio writes them
OPAQUE = 128  # of 255: half and more belongs to the mask


def decode(values: list, shape: tuple[int, int], where: str) -> np.ndarray:
    """The mask, uint8 (H, W), that a list of bytes stands for: what is at least half opaque.

    Raises UserError where it is none, or of another size.
    """
    wanted = "brush strokes as Label Studio has them"
    if not all(type(value) is int and 0 <= value <= 255 for value in values):
        raise fields.wrong(where, "rle", values, wanted)
    bits = np.unpackbits(np.array(values, np.uint8))
    text = bits.tobytes().translate(bytes([48, 49]) + bytes(254)).decode()
    position = 0

    def read(count: int) -> int:
        nonlocal position
        position += count
        if position > len(text):
            raise fields.wrong(where, "rle", values, f"{wanted}, whole to the end")
        return int(text[position - count : position], 2)

    size, bits_of_value = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    if size != shape[0] * shape[1] * 4:
        raise fields.wrong(
            where, "the size of its rle", size // 4, f"{shape[0]} x {shape[1]} pixels of four values"
        )
    result, index = np.zeros(size, np.uint32), 0
    weights = 1 << np.arange(bits_of_value, dtype=np.uint32)[::-1]
    while index < size:
        repeated = read(1)
        count = 1 + read(lengths[read(2)])
        if repeated:
            result[index : index + count] = read(bits_of_value)
        else:
            begin = position
            count = min(count, size - index)
            position += count * bits_of_value - 1
            read(1)
            block = bits[begin:position].reshape(count, bits_of_value).astype(np.uint32)
            result[index : index + count] = block @ weights
        index += count
    return (result.reshape(*shape, 4)[..., 3] >= OPAQUE).astype(np.uint8)


def encode(text: str, shape: tuple[int, int]) -> list[int]:
    """The list of bytes for a run-length string: all four values of a pixel are 255 in the mask, else 0."""
    flat = rle.decode(text, shape).ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    begins = np.concatenate([[0], edges])
    counts = np.diff(np.append(begins, len(flat))) * 4
    parts = [f"{4 * len(flat):032b}", f"{7:05b}", *(f"{length - 1:04b}" for length in LENGTHS)]
    for begin, count in zip(begins.tolist(), counts.tolist(), strict=True):
        value = f"{255 * int(flat[begin]):08b}"
        while count:
            part = min(count, 2 ** LENGTHS[-1])
            kind = next(kind for kind, length in enumerate(LENGTHS) if part <= 2**length)
            parts.append(f"1{kind:02b}{part - 1:0{LENGTHS[kind]}b}{value}")
            count -= part
    digits = np.frombuffer("".join(parts).encode(), np.uint8) - 48
    return np.packbits(digits).tolist()


def runs_of_rows(lengths: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
    """The mask, uint8 (H, W), of lengths of 0 and 1 in turn, row by row, that add up to its pixels."""
    values = np.arange(len(lengths)) % 2
    return np.repeat(values.astype(np.uint8), np.array(lengths, np.int64)).reshape(shape)
