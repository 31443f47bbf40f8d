"""Images and masks at other sizes, and files that are damaged."""

import io
import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lib.data import decoding, images, mask_files, targets, validation
from lib.errors import UserError

sides = st.integers(1, 24)


def overlaps(old, new):
    """(new, old) int: how much of each of `old` equal parts of a line each of `new` ones covers, in units of
    1 / (old * new)."""
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
    assert targets.grid_targets([text], (4, 4), (2, 8))[..., 0].tolist() == [[1] * 8, [0] * 8]
    thin = " ".join(f"{1 + 4 * column} 4" for column in range(0, 64, 8))  # every eighth column
    assert targets.grid_targets([thin], (4, 64), (8, 8))[..., 0].tolist() == [[1] * 8] * 8


SHAPE = 64, 96
strict = pytest.mark.skipif(
    decoding.simplejpeg is None, reason="simplejpeg is not installed, see requirements.txt"
)


def picture(suffix=".jpg", shape=SHAPE, *options):
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    grey = np.clip(cv2.GaussianBlur(noise, (0, 0), 1) * 250 + 120, 0, 255).astype(np.uint8)
    return cv2.imencode(suffix, grey, options)[1].tobytes()


def hole(data, length, at=0.5):
    start = int(len(data) * at)
    return data[:start] + bytes(length) + data[start + length :]


def judged(path, data):
    """What the check says of a file, and the run: the finding or None, the error's text or ""."""
    path.write_bytes(data)
    found, said = validation.image_finding(path, SHAPE), ""
    for size in (None, (32, 48), (8, 12), (50, 200)):
        try:
            images.read_image(path, size)
            assert not said
        except UserError as error:
            said = str(error)
    return found, said


JPEG, PNG, TIFF = picture(), picture(".png"), picture(".tif")
PROGRESSIVE = picture(".jpg", SHAPE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
DAMAGED = {
    "a hole": (hole(JPEG, len(JPEG) // 4), "damaged", strict),
    "a hole near the end": (hole(JPEG, 200, 0.8), "damaged", strict),
    "noise": (JPEG[:900] + np.random.default_rng(1).bytes(900) + JPEG[1800:], "damaged", strict),
    "a middle that is missing": (JPEG[:900] + JPEG[1400:], "damaged", strict),
    "a mark that there is not": (JPEG[:900] + b"\xff\x6e" + JPEG[902:], "damaged", strict),
    "a second header": (JPEG[:900] + JPEG[: JPEG.index(b"\xff\xda")] + JPEG[900:], "damaged", strict),
    "cut off, with an end mark": (JPEG[:1500] + b"\xff\xd9", "damaged", strict),
    "cut off, with an end mark and padding": (JPEG[:1500] + b"\xff\xd9" + bytes(2048), "damaged", strict),
    "a progressive one, cut off with an end mark": (PROGRESSIVE[:900] + b"\xff\xd9", "damaged", strict),
    "cut off": (JPEG[:1500], "cut off", ()),
    "cut off, padded": (JPEG[:1500] + bytes(2048), "cut off|damaged", ()),
    "a PNG with a hole": (hole(PNG, 100), "no image that can be decoded", ()),
    "a PNG with a bit turned": (
        PNG[:900] + bytes([PNG[900] ^ 4]) + PNG[901:],
        "no image that can be decoded",
        (),
    ),
    "a PNG cut off": (PNG[:900], "cut off", ()),
    "a PNG without its end": (PNG[:-12], "cut off", ()),
    "a PNG cut off, with its end": (PNG[:900] + PNG[-12:], "no image that can be decoded", ()),
    "a TIFF with a hole": (hole(TIFF, 100), "damaged", ()),
    "a TIFF cut off": (TIFF[: len(TIFF) // 2], "damaged|no image", ()),
    "a BMP cut off": (picture(".bmp")[:3000], "no image that can be decoded", ()),
}


@pytest.mark.parametrize(
    "data, said",
    [pytest.param(data, said, id=name, marks=marks) for name, (data, said, marks) in DAMAGED.items()],
)
def test_a_damaged_image_is_refused_by_the_check_and_by_the_run(tmp_path, data, said, capfd):
    found, error = judged(tmp_path / "x.jpg", data)
    assert found["severity"] == "error" and re.search(said, found["what"]) and re.search(said, error)
    assert found["file"] == str(tmp_path / "x.jpg") in error


@pytest.mark.parametrize(
    "data",
    [JPEG + bytes(2048), JPEG + b"more" * 5000, PROGRESSIVE + bytes(1), PNG + bytes(2048), TIFF + bytes(99)],
)
def test_what_stands_behind_an_image_is_no_harm(tmp_path, data):
    assert judged(tmp_path / "x.jpg", data) == (None, "")


@strict
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
                                     (cv2.IMWRITE_JPEG_QUALITY, 20)])  # fmt: skip
def test_both_decoders_give_the_same_pixels(tmp_path, monkeypatch, colour, options):
    grey = cv2.imdecode(np.frombuffer(picture(".png", (131, 517)), np.uint8), 0)
    (tmp_path / "x.jpg").write_bytes(
        cv2.imencode(".jpg", cv2.merge([grey, grey[::-1], grey[:, ::-1]]) if colour else grey, options)[1]
    )
    sizes = [None, (131, 517), (65, 258), (40, 300), (33, 130), (17, 65), (16, 64), (1, 1)]
    mine = [images.read_image(tmp_path / "x.jpg", size) for size in sizes]
    monkeypatch.setattr(decoding, "simplejpeg", None)
    for size, image in zip(sizes, mine, strict=True):
        np.testing.assert_array_equal(image, images.read_image(tmp_path / "x.jpg", size))


def saved(mode, suffix, **options):
    levels = np.tile(np.arange(96, dtype=np.uint8), (64, 1))
    target = io.BytesIO()
    if mode in ("F", "I;16"):
        Image.fromarray(
            levels.astype(np.float32) / 255 if mode == "F" else levels.astype(np.uint16) * 257
        ).save(target, suffix, **options)
    else:
        Image.fromarray(levels).convert(mode).save(target, suffix, **options)
    return target.getvalue()


@pytest.mark.parametrize("mode, suffix", [(mode, "TIFF") for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F")]
                         + [(mode, "PNG") for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16")]
                         + [(mode, "JPEG") for mode in ("L", "RGB", "CMYK")] + [(mode, "BMP") for mode in ("1", "L", "RGB")])  # fmt: skip
def test_the_check_takes_what_the_run_takes(tmp_path, mode, suffix):
    found, said = judged(tmp_path / "x", saved(mode, suffix))
    assert bool(said) == bool(found and found["severity"] == "error"), (found, said)
    assert (mode == "F") == bool(said)


def test_fractions_are_named(tmp_path):
    found, said = judged(tmp_path / "x.tif", saved("F", "TIFF"))
    assert "holds float32" in found["what"] and "8 bits" in found["remedy"] and "holds float32" in said


@pytest.mark.parametrize("kind", [np.int8, np.int16])
@pytest.mark.parametrize("channels", [1, 3])  # Pillow does not know those of three
def test_values_below_0_are_named_and_not_taken_for_bright_ones(tmp_path, kind, channels):
    levels = np.tile(np.arange(96, dtype=kind), (64, 1))
    levels = np.dstack([levels] * channels) if channels > 1 else levels
    found, said = judged(tmp_path / "x.tif", cv2.imencode(".tif", levels - kind(1))[1].tobytes())
    sentence = f"holds {np.dtype(kind)} with values below 0, which is not read as grey levels"
    assert sentence in said and sentence in found["what"] and found["severity"] == "error"
    assert not judged(tmp_path / "x.tif", cv2.imencode(".tif", levels)[1].tobytes())[1]


def test_twelve_bits_of_sixteen_are_named(tmp_path):
    (tmp_path / "x.png").write_bytes(
        cv2.imencode(".png", np.arange(4080, dtype=np.uint16).reshape(68, 60))[1]
    )
    found = validation.image_finding(tmp_path / "x.png", (68, 60))
    assert (
        found["severity"] == "warning" and "no value above 4079, so 16 grey levels are left" in found["what"]
    )


@pytest.mark.parametrize("data", [saved("L", "PNG").replace(b"\0\0\0\x60\0\0\0\x40", b"\0\0\x40\0\0\0\x40\0"),
                                  JPEG.replace(b"\0\x40\0\x60", b"\xff\xff\xff\xff")])  # fmt: skip
def test_a_header_that_promises_too_much_is_refused_before_it_is_decoded(tmp_path, data):
    found, said = judged(tmp_path / "x", data)
    assert "more than 67,108,864" in found["what"] and "more than 67,108,864" in said


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_tiff_of_jpegs_with_a_hole_is_refused_by_the_check_and_by_the_run(tmp_path, mode):
    """The decoders fill it with grey and only log a line."""
    path, noise = tmp_path / "a.tif", np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path, compression="jpeg", tiffinfo={278: 16})
    assert images.read_image(path).shape == (64, 96) and validation.image_finding(path, (64, 96)) is None
    whole = path.read_bytes()
    with Image.open(path) as opened:
        start, length = opened.tag_v2[273][-1], opened.tag_v2[279][-1]
    path.write_bytes(
        whole[: start + length // 2]
        + b"\xff\xd9"
        + bytes(length // 4)
        + whole[start + length // 2 + length // 4 + 2 :]
    )
    with pytest.raises(UserError, match=r"a\.tif is (damaged|cut off)"):
        images.read_image(path)
    assert validation.image_finding(path, (64, 96))["severity"] == "error"
    with pytest.raises(UserError, match=r"a\.tif is (damaged|cut off)"):
        mask_files.read_mask(path)
