"""The search for near-duplicates: turned, mirrored, moved, lit and encoded copies; textures alike that are
none; crowds of one view."""

import cv2
import numpy as np
import pytest

from lib.data import alignment, duplicates, likeness
from lib.data.images import read_image

SHAPES = {"strip": (64, 400), "square": (120, 120)}
CELL = {"strip": 4, "square": 3}  # pixels of a fingerprint's pixel
STRIP_TURNS, SQUARE_TURNS = range(4), range(8)
EVERY = [(kind, turn) for kind, turns in (("strip", STRIP_TURNS), ("square", SQUARE_TURNS)) for turn in turns]


def texture(seed, shape, width=2.0):
    """Random texture (H, W) float32 of mean 0 and deviation 1."""
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), width)
    return smooth / smooth.std()


def grey(values):
    return np.clip(120 + 30 * values, 0, 255).astype(np.uint8)


def write(folder, images):
    """JPEG files of the images: every copy is encoded anew."""
    paths = [folder / f"{number:04}.jpg" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def disguised(image, turn):
    """A copy: turned, moved by a row and two columns, and brighter."""
    moved = np.roll(likeness.turned(image, turn), (1, 2), (0, 1))
    return cv2.convertScaleAbs(np.ascontiguousarray(moved), alpha=1.1, beta=6)


def test_turns_are_what_they_are_called():
    corner = np.array([[1, 2], [3, 4]])
    expected = {
        "as it is": [[1, 2], [3, 4]],
        "mirrored left to right": [[2, 1], [4, 3]],
        "mirrored top to bottom": [[3, 4], [1, 2]],
        "turned by 180 degrees": [[4, 3], [2, 1]],
        "mirrored along the diagonal": [[1, 3], [2, 4]],
        "turned by 90 degrees clockwise": [[3, 1], [4, 2]],
        "turned by 90 degrees counterclockwise": [[2, 4], [1, 3]],
        "mirrored along the other diagonal": [[4, 2], [3, 1]],
    }
    assert {
        name: likeness.turned(corner, turn).tolist() for turn, name in enumerate(alignment.TURNS)
    } == expected


@pytest.mark.parametrize("turn", SQUARE_TURNS)
def test_every_turn_has_one_that_undoes_it(turn):
    picture = np.arange(12).reshape(3, 4)
    assert likeness.turned(likeness.turned(picture, turn), alignment.BACK[turn]).tolist() == picture.tolist()
    assert alignment.combined()[alignment.BACK[turn], turn] == 0


@pytest.mark.parametrize("kind, turn", EVERY)
def test_a_turned_copy_is_in_its_images_group(tmp_path, kind, turn):
    images = [grey(texture(seed, SHAPES[kind])) for seed in range(6)]
    paths = write(tmp_path, [*images, disguised(images[2], turn), likeness.turned(images[4], turn)])
    assert duplicates.find_duplicates(paths).tolist() == [0, 1, 2, 3, 4, 5, 2, 4]
    assert duplicates.find_duplicates(paths[::-1]).tolist() == [
        0,
        1,
        2,
        0,
        3,
        1,
        4,
        5,
    ]  # the copy may come first


def test_a_strip_turned_by_90_degrees_is_no_copy_of_its_shape(tmp_path):
    strip = grey(texture(1, SHAPES["strip"]))
    squeezed = cv2.resize(np.rot90(strip), strip.shape[::-1])
    assert duplicates.find_duplicates(write(tmp_path, [strip, squeezed])).tolist() == [0, 1]


@pytest.mark.parametrize("kind", SHAPES)
def test_textures_that_look_alike_at_a_distance_stay_apart(tmp_path, kind):
    """One coarse pattern, alike under all turns, with a grain of its own for each image: the fingerprints
    cannot tell them apart."""
    coarse = texture(77, SHAPES[kind], 0.8 * CELL[kind])
    coarse = sum(likeness.turned(coarse, turn) for turn in (STRIP_TURNS if kind == "strip" else SQUARE_TURNS))
    coarse = coarse / coarse.std()
    images = [grey(coarse + 0.8 * texture(seed, SHAPES[kind], 0.7)) for seed in range(10)]
    paths = write(tmp_path, [*images, likeness.turned(images[3], 2)])
    size = likeness.fingerprint_size(paths)
    assert len(likeness.close_pairs(likeness.fingerprints(paths, size), size)[0]) >= 55  # all are candidates
    assert duplicates.find_duplicates(paths).tolist() == [*range(10), 3]


def test_plates_of_one_pattern_stay_apart_and_their_copies_do_not(tmp_path):
    """Checkered plate lies on every other piece of it, mirrored or not; only a copy has the grain as well."""
    rows, columns = np.mgrid[: SHAPES["strip"][0], : SHAPES["strip"][1]]
    pattern = np.sin((rows + columns) * np.pi / 8) + np.sin((rows - columns) * np.pi / 8)
    images = [grey(pattern + 0.7 * texture(seed, SHAPES["strip"], 1.0)) for seed in range(24)]
    paths = write(tmp_path, [*images, likeness.turned(images[4], 1), likeness.turned(images[7], 3)])
    assert likeness.self_likeness(pattern.astype(np.float32), 8) > 0.9
    assert duplicates.find_duplicates(paths).tolist() == [*range(24), 4, 7]


@pytest.mark.parametrize("kind", SHAPES)
def test_a_fixed_view_costs_few_second_looks_and_hides_no_copy(tmp_path, monkeypatch, kind):
    shape, count = SHAPES[kind], 60
    turns = STRIP_TURNS if kind == "strip" else SQUARE_TURNS
    view = texture(99, shape, 0.8 * CELL[kind])
    images = [grey(view + 0.8 * texture(seed, shape, 0.7)) for seed in range(count)]
    copies = [disguised(images[number], turn) for number, turn in enumerate(turns)]
    paths = write(tmp_path, [*images, *copies])
    looks, distance, decoded, read = [], alignment.Looks.distance, [], read_image
    monkeypatch.setattr(alignment.Looks, "distance", lambda *given: looks.append(given) or distance(*given))
    monkeypatch.setattr(likeness, "read_image", lambda *given: decoded.append(given) or read(*given))
    assert duplicates.find_duplicates(paths).tolist() == [*range(count), *range(len(copies))]
    assert len(looks) < 3 * len(paths)  # of 2,000 pairs
    assert len(decoded) <= 2 * len(paths) + 2  # small for the fingerprint, larger for the second look


def test_correlation_is_opencvs():
    random = np.random.default_rng(3)
    picture = random.normal(size=(40, 90)).astype(np.float32)
    part = (picture[3:30, 5:80] + random.normal(size=(27, 75))).astype(np.float32)
    expected = cv2.matchTemplate(picture, part, cv2.TM_CCORR_NORMED).max()
    assert likeness.best_correlation(picture, part) == pytest.approx(float(expected), abs=1e-5)
    assert likeness.best_correlation(np.zeros_like(picture), part) == 0


@pytest.mark.parametrize("table, rows", [(2048, 64), (4, 3)])
@pytest.mark.parametrize("kind", SHAPES)
def test_candidates_are_those_of_every_pair_in_every_turn(tmp_path, monkeypatch, kind, table, rows):
    """The quick way over mirrored parts finds what products of all turned fingerprints find, in one table or
    in parts."""
    monkeypatch.setattr(likeness, "TABLE", table)
    monkeypatch.setattr(likeness, "ROWS", rows)
    images = [grey(texture(seed // 3, SHAPES[kind]) + texture(50 + seed, SHAPES[kind])) for seed in range(9)]
    turns = list(STRIP_TURNS if kind == "strip" else SQUARE_TURNS)
    paths = write(
        tmp_path, [likeness.turned(image, turns[seed % len(turns)]) for seed, image in enumerate(images)]
    )
    size = likeness.fingerprint_size(paths)
    prints = likeness.fingerprints(paths, size)
    expected = {}
    for first in range(9):
        for second in range(first + 1, 9):
            for turn in turns:
                other = likeness.turned(prints[0, second].reshape(size), turn).ravel()
                apart = 1 - max(float(prints[offset, first] @ other) for offset in range(5))
                if apart <= likeness.CANDIDATE + 0.2:
                    expected[first, second, turn] = pytest.approx(apart, abs=1e-5)
    found = likeness.close_pairs(prints, size, likeness.CANDIDATE + 0.2)
    assert {
        tuple(map(int, key)): float(apart) for *key, apart in zip(*found, strict=True)
    } == expected and len(expected) >= 5


def test_the_nearest_copy_and_its_turn(tmp_path):
    images = [grey(texture(seed, SHAPES["square"])) for seed in range(4)]
    blend = grey(0.8 * texture(1, SHAPES["square"]) + 0.5 * texture(9, SHAPES["square"]))
    paths = write(
        tmp_path, [*images, blend, disguised(images[1], 5), likeness.turned(images[3], 6), images[2]]
    )
    group = duplicates.find_duplicates(paths)
    assert group.tolist() == [0, 1, 2, 3, 1, 1, 3, 2]
    wanted = np.arange(8) >= 5
    index, turn = duplicates.nearest_copies(paths, group, wanted, ~wanted)
    assert index.tolist() == [-1] * 5 + [1, 3, 2] and turn[5:].tolist() == [5, 6, 0]
    index, _ = duplicates.nearest_copies(paths, group, wanted, np.arange(8) == 4)
    assert index.tolist() == [-1] * 5 + [4, -1, -1]
    assert duplicates.nearest_copies([], [], np.zeros(0, bool), np.zeros(0, bool))[0].tolist() == []
