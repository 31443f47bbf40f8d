"""Submissions: the exact bytes of both formats, and every way in which a file can be wrong."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.errors import UserError
from lib.inference import submission

IDS = ["a.jpg", "b_1.jpg"]
RLES = [["1 3", "", "7 2", ""], ["", "", "", ""]]
SHAPE = (3, 4)

OLD = """ImageId_ClassId,EncodedPixels
a.jpg_1,1 3
a.jpg_2,
a.jpg_3,7 2
a.jpg_4,
b_1.jpg_1,
b_1.jpg_2,
b_1.jpg_3,
b_1.jpg_4,
"""
CURRENT = """ImageId,EncodedPixels,ClassId
a.jpg,1 3,1
a.jpg,7 2,3
b_1.jpg,,1
"""


def test_certainty_is_that_of_the_least_sure_answer():
    nan = float("nan")
    binary, label = (
        np.array([0.02, 0.9, nan, nan]),
        np.array([[nan, nan], [0.8, 0.3], [0.6, 1.0], [nan, nan]]),
    )
    assert submission.certainty(binary, label) == pytest.approx([0.98, 0.7, 0.6, 0])


NAN = float("nan")


@pytest.mark.parametrize("binary, label, masks, finished, sure", [
    (0.99, (0.98, 0.03), ("1 9", ""), True, 0.97),  # all agree
    (0.01, (NAN, NAN), ("", ""), True, 0.99),  # dropped by the binary filter: clean, and nobody says otherwise
    (0.99, (0.99, 0.01), ("", ""), True, 0),  # a sure defect without a mask: minimum area, or a segmenter that draws nothing
    (0.99, (0.99, 0.99), ("1 9", ""), True, 0),  # one of two without a mask
    (0.99, (0.01, 0.99), ("1 9", "5 1"), True, 0),  # a mask of a class that is denied
    (0.99, (0.01, 0.01), ("", ""), True, 0),  # some defect, and none of any class
    (0.01, (0.99, 0.01), ("1 9", ""), True, 0),  # the filters disagree
    (NAN, (0.97, 0.01), ("1 9", ""), True, 0.97),  # without a binary filter
    (NAN, (0.97, 0.01), ("", ""), True, 0),
    (0.98, (NAN, NAN), ("1 9", ""), True, 0.98),  # without a multilabel filter
    (0.98, (NAN, NAN), ("", ""), True, 0),
    (NAN, (NAN, NAN), ("1 9", ""), True, 0),  # nobody was asked
    (0.99, (0.98, 0.03), ("1 9", ""), False, 0),  # broken, or the time was used up
    (0.01, (NAN, NAN), ("", ""), False, 0),
])  # fmt: skip
def test_a_strip_that_cannot_teach_is_not_certain(binary, label, masks, finished, sure):
    found = submission.certainty(
        np.array([binary, 0.2]), np.array([label, (NAN, NAN)]), [list(masks), ["", ""]], [finished, True]
    )
    assert found == pytest.approx([sure, 0.8])


def test_certainty_of_no_strips():
    assert submission.certainty(np.zeros(0), np.zeros((0, 4)), [], []).shape == (0,)


@pytest.mark.parametrize("format, text", [("2019", OLD), ("current", CURRENT)])
def test_exact_bytes_and_back(tmp_path, format, text):
    path = tmp_path / "submission.csv"
    submission.write(path, IDS, RLES, format)
    assert path.read_bytes() == text.encode()
    table = submission.check(path, IDS, 4, SHAPE)
    there = {(row.image_id, row.defect_class): row.rle for row in table.itertuples() if row.rle}
    assert there == {("a.jpg", 1): "1 3", ("a.jpg", 3): "7 2"}


@pytest.mark.parametrize("format", ["2019", "current"])
def test_no_images(tmp_path, format):
    submission.write(tmp_path / "s.csv", [], [], format)
    assert len(submission.check(tmp_path / "s.csv", [])) == 0


def test_wrong_arguments(tmp_path):
    with pytest.raises(UserError, match="no submission format '2020'"):
        submission.write(tmp_path / "s.csv", IDS, RLES, "2020")
    with pytest.raises(ValueError):
        submission.write(tmp_path / "s.csv", IDS, RLES[:1])
    with pytest.raises(ValueError, match="not all text"):
        submission.write(tmp_path / "s.csv", ["a"], [[float("nan")]])
    assert not list(tmp_path.iterdir())


BAD = [
    (OLD.replace("a.jpg_2,\n", ""), "no row for class 2 of image 'a.jpg'"),
    (OLD.replace("b_1.jpg_4", "b_1.jpg_3"), "row 9: image 'b_1.jpg' and class 3 have a row already"),
    (OLD.replace("a.jpg_4", "a.jpg_5"), "row 5: class 5 is not one of 1 to 4"),
    (OLD.replace("a.jpg_1", "c.jpg_1"), "row 2: the image 'c.jpg' is not one of the 2 test images"),
    (OLD.replace("a.jpg_1", "a.jpg"), "row 2: there is no image and class number"),
    (OLD.replace("a.jpg_2,\n", "a.jpg_2,\n\n"), "row 4: there is no image and class number"),
    (OLD.replace("7 2", "7 7"), "row 4: .* outside"),
    (OLD.replace("7 2", "7 2 5 1"), "row 4: .* not sorted"),
    (OLD.replace("7 2", "7 2 8 1"), "row 4: .* overlaps"),
    (OLD.replace("7 2", "7 1 8 1"), "row 4: .* touch"),
    (OLD.replace("7 2", "7"), "row 4: .* odd count"),
    (OLD.replace("7 2", "nan"), "row 4: .* whole numbers"),
    (CURRENT.replace("b_1.jpg,,1\n", ""), "no row for image 'b_1.jpg'"),
    (CURRENT.replace("7 2,3", "7 2,1"), "row 3: .* have a row already"),
    (CURRENT.replace("7 2,3", "7 2,x"), "row 3: there is no image and class number"),
    ("a,b\n1,2\n", "has the columns a, b"),
    ("", "no CSV file"),
    ('ImageId_ClassId,EncodedPixels\n"a.jpg_1,1 2\n', "no CSV file"),
]


@pytest.mark.parametrize("text, words", BAD)
def test_bad_files(tmp_path, text, words):
    path = tmp_path / "submission.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        submission.check(path, IDS, 4, SHAPE)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        submission.read(tmp_path / "submission.csv")


names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(names, unique=True, max_size=5), st.sampled_from(["2019", "current"]))
def test_any_names_come_back_exactly(tmp_path, image_ids, format):
    path = tmp_path / "submission.csv"
    submission.write(path, image_ids, [["2 5", ""]] * len(image_ids), format)
    table = submission.check(path, image_ids, 2, SHAPE)
    assert list(dict.fromkeys(table["image_id"])) == image_ids


def test_spaces_of_an_editor_are_no_part_of_a_run_length(tmp_path):
    rows = "a.jpg_1,1 5 \r\na.jpg_2, \r\na.jpg_3\r\na.jpg_4,\t2  3\r\n"
    (tmp_path / "s.csv").write_bytes(f"\ufeffImageId_ClassId,EncodedPixels\r\n{rows}".encode())
    assert submission.check(tmp_path / "s.csv", ["a.jpg"])["rle"].tolist() == ["1 5", "", "", "2 3"]
