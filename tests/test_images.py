"""Images and masks at other sizes, and files that are damaged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import generators, images

sides = st.integers(1, 24)


def overlaps(old, new):
    """(new, old) int: how much of each of `old` equal parts of a line each of `new` ones covers, in units of 1 / (old * new)."""
    begin, end = np.arange(new)[:, None] * old, np.arange(old) * new
    return np.maximum(np.minimum(begin + old, end + new) - np.maximum(begin, end), 0)


@settings(deadline=None, max_examples=300)
@given(sides, sides, sides, sides, st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 0.9]))
def test_a_resized_mask_is_area_arithmetic(height, width, new_height, new_width, seed, share):
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    covered = overlaps(height, new_height) @ mask @ overlaps(width, new_width).T
    found = images.resize_mask(mask, new_height, new_width)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, 2 * covered >= height * width)


@pytest.mark.parametrize("size", [(288, 160), (128, 800), (64, 416)])
def test_thin_lines_are_where_they_were(size):
    mask = np.zeros((256, 1600), np.uint8)
    mask[:, [column for start in range(0, 1600, 28) for column in range(start, min(start + 7, 1600))]] = 1
    covered = overlaps(256, size[0]) @ mask.astype(np.int64) @ overlaps(1600, size[1]).T
    np.testing.assert_array_equal(images.resize_mask(mask, *size), 2 * covered >= mask.size)
    assert 0.15 < images.resize_mask(mask, *size).mean() < 0.3


def test_a_cell_of_a_grid_knows_what_it_covers_also_where_the_grid_is_finer_than_the_image():
    text = "1 1 5 1 9 1 13 1"  # the upper row of 4 columns of 4 pixels
    assert generators.defect_cells([text], (4, 4), (2, 8))[..., 0].tolist() == [[1] * 8, [0] * 8]
    thin = " ".join(f"{1 + 4 * column} 4" for column in range(0, 64, 8))  # every eighth column
    assert generators.defect_cells([thin], (4, 64), (8, 8))[..., 0].tolist() == [[1] * 8] * 8
