"""The codec: exact small cases, properties on random masks, and every real row."""

import itertools
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lib.data import images, rle
from lib.errors import UserError
from lib.paths import PROJECT

REAL = Path(os.environ.get("SEVERSTAL_REAL", PROJECT.parent / "shared" / "data"))
PARTIAL = REAL / "severstal_train_partial.csv"

# A mask of 3 rows and 4 columns, and its string. Counting goes down the columns.
EXACT = [
    ([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], ""),
    ([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], "1 1"),
    ([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], "12 1"),
    ([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], "1 12"),
    ([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], "3 2"),  # from a column's foot into the next column's head
    ([[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]], "1 1 4 1 7 1 10 1"),
    ([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]], "5 2 8 2"),
]

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))
masks = shapes.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1)))
pairs_of_masks = shapes.flatmap(lambda shape: arrays(np.uint8, (2, *shape), elements=st.integers(0, 1)))


@pytest.mark.parametrize("mask, text", EXACT)
def test_exact(mask, text):
    mask = np.array(mask, np.uint8)
    assert rle.encode(mask) == text
    decoded = rle.decode(text, (3, 4))
    assert decoded.dtype == np.uint8 and decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, mask)
    assert rle.area(text) == mask.sum()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.float32])
@pytest.mark.parametrize("value", [1, 100])
def test_any_number_type(dtype, value):
    mask = np.zeros((256, 300), dtype)
    mask[255, 0] = mask[:, 1] = value
    assert rle.encode(mask) == "256 257"
    assert rle.encode(np.asfortranarray(mask)) == "256 257"
    assert rle.encode(mask[:, ::-1]) == f"{298 * 256 + 1} 256 {300 * 256} 1"


def test_the_sizes_of_a_strip():
    full = np.ones((256, 1600), np.uint8)
    assert rle.encode(full) == "1 409600"
    assert rle.decode("1 409600").shape == (256, 1600) and rle.decode("1 409600").all()
    assert not rle.decode("").any()


def test_a_mask_has_two_dimensions():
    with pytest.raises(ValueError, match="two dimensions"):
        rle.encode(np.zeros((4, 4, 1), np.uint8))


@given(masks)
def test_round_trip(mask):
    text = rle.encode(mask)
    np.testing.assert_array_equal(rle.decode(text, mask.shape), mask)
    assert rle.area(text) == mask.sum()
    pairs = rle.check(text, mask.shape)
    assert rle.from_runs(pairs) == text
    assert (pairs[1:, 0] > pairs[:-1].sum(axis=1)).all()  # no two runs touch


@given(masks, st.sampled_from([bool, np.uint8, np.int16]), st.booleans())
def test_encoding_equals_the_plain_way(mask, dtype, mirrored):
    mask = mask[::-1, ::-1] if mirrored else mask
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]]).astype(int))).reshape(-1, 2)
    plain = " ".join(f"{start + 1} {end - start}" for start, end in edges)
    assert rle.encode((mask * 3).astype(dtype)) == rle.encode(np.asfortranarray(mask)) == plain


@st.composite
def valid_runs(draw):
    """(runs, also such that touch, and the shape of an image with even sides)."""
    height, width = 2 * draw(st.integers(1, 5)), 2 * draw(st.integers(1, 5))
    cuts = sorted(draw(st.sets(st.integers(0, height * width), max_size=12)))
    pieces = [(begin + 1, end - begin) for begin, end in itertools.pairwise(cuts)]
    return [piece for piece in pieces if draw(st.booleans())], (height, width)


@given(valid_runs())
def test_half_size_equals_decoding_and_counting(case):
    runs, shape = case
    text = rle.from_runs(runs)
    mask = rle.decode(text, shape)
    plain = np.zeros(shape[0] * shape[1], np.uint8)
    for start, length in runs:
        plain[start - 1 : start - 1 + length] = 1
    np.testing.assert_array_equal(mask, plain.reshape(shape, order="F"))
    half = rle.decode_half(text, shape)
    blocks = mask.reshape(shape[0] // 2, 2, shape[1] // 2, 2).sum(axis=(1, 3))
    assert half.dtype == np.uint8 and half.flags.c_contiguous
    np.testing.assert_array_equal(half, blocks >= 2)
    np.testing.assert_array_equal(half, images.resize_mask(mask, shape[0] // 2, shape[1] // 2))


@given(st.lists(pairs_of_masks, max_size=6))
def test_comparing_counts_pixels(pairs):
    expected = [[(a & b).sum() for a, b in pairs], [a.sum() for a, _ in pairs], [b.sum() for _, b in pairs]]
    texts = [[rle.encode(pair[which]) for pair in pairs] for which in (0, 1)]
    counts = rle.compare(*texts)
    assert [each.dtype for each in counts] == [np.int64] * 3
    assert [each.tolist() for each in counts] == expected
    assert [rle.intersection(a, b) for a, b in zip(*texts, strict=True)] == expected[0]


@given(valid_runs(), valid_runs())
def test_comparing_takes_runs_that_touch(one, two):
    texts = [rle.from_runs(runs) for runs, _ in (one, two)]
    a, b = (rle.decode(text, (100, 1)) for text in texts)
    assert [int(count[0]) for count in rle.compare(*([text] for text in texts))] == [
        (a & b).sum(),
        a.sum(),
        b.sum(),
    ]


@settings(max_examples=300)
@given(
    st.lists(
        st.text(alphabet="0123456789 ", max_size=8)
        | st.sampled_from(["1 2 5 3", "", "x", "1\t2", 7, "9" * 30]),
        max_size=5,
    )
)
def test_reading_many_strings_equals_reading_each(texts):
    try:
        each = [rle.runs(text) for text in texts]
    except rle.RleError as error:
        with pytest.raises(rle.RleError, match=f"^{re.escape(str(error))}$"):
            rle.runs_of_all(texts)
        return
    pairs, counts = rle.runs_of_all(texts)
    assert pairs.dtype == counts.dtype == np.int64 and pairs.shape == (counts.sum(), 2)
    assert counts.tolist() == [len(runs) for runs in each]
    assert pairs.tolist() == [pair for runs in each for pair in runs.tolist()]


BAD = [
    ("1", "odd count"),
    ("1 2 3", "odd count"),
    ("a b", "whole numbers"),
    ("1.5 2", "whole numbers"),
    ("-3 2", "whole numbers"),
    ("1\t2", "whole numbers"),
    ("1_0 2", "whole numbers"),
    ("\u0661 2", "whole numbers"),  # an Arabic digit, which int() would take
    ("1 2\x00", "whole numbers"),
    ("0 2", "below 1"),
    ("3 0", "below 1"),
    ("5 2 1 2", "not sorted"),
    ("1 3 3 2", "overlaps"),
    ("1 3 1 3", "overlaps"),
    ("13 1", "outside"),
    ("10 4", "outside"),
    ("1 99999999999999999999999", "no image"),
    ("4611686018427387904 4611686018427387904", "no image"),
]


@pytest.mark.parametrize("text, words", BAD)
def test_bad_strings(text, words):
    for function in (rle.check, rle.decode):
        with pytest.raises(UserError, match=words):
            function(text, (3, 4))


@pytest.mark.parametrize("value", [None, float("nan"), 7, b"1 2"])
def test_what_is_not_text(value):
    with pytest.raises(rle.RleError, match="must be text"):
        rle.decode(value)


@settings(max_examples=300)
@given(st.text(alphabet="0123456789 -.eExa\n", max_size=30) | st.text(max_size=10))
def test_any_text_is_decoded_or_refused(text):
    try:
        mask = rle.decode(text, (5, 7))
    except rle.RleError:
        return
    assert mask.shape == (5, 7) and mask.sum() == rle.area(text)


@pytest.mark.skipif(not PARTIAL.is_file(), reason="severstal_train_partial.csv of ../shared is not here")
@pytest.mark.slow
def test_every_real_row():
    for text in pd.read_csv(PARTIAL, dtype=str)["EncodedPixels"]:
        mask = rle.decode(text)
        assert rle.encode(mask) == text
        np.testing.assert_array_equal(rle.decode_half(text), images.resize_mask(mask, 128, 800))


@given(st.lists(st.lists(st.integers(0, 1), min_size=12, max_size=12), max_size=4))
def test_the_union_covers_what_any_covers(masks):
    masks = [np.array(mask, np.uint8).reshape(3, 4) for mask in masks]
    either = np.any([np.zeros((3, 4), np.uint8), *masks], axis=0)
    assert rle.union([rle.encode(mask) for mask in masks]) == rle.encode(either)


@given(
    mask=arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.integers(0, 1)),
    data=st.data(),
)
def test_columns_are_those_of_the_mask(mask, data):
    first = data.draw(st.integers(0, mask.shape[1] - 1))
    last = data.draw(st.integers(first + 1, mask.shape[1]))
    assert rle.columns(rle.encode(mask), len(mask), first, last) == rle.encode(mask[:, first:last])
