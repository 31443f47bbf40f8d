"""Images that were chosen for labelling train, and validate and evaluate nothing."""

import cv2
import numpy as np
import pytest
from test_import_labels import bring, steel

from lib.data import chosen, dataset, rle, split_check, splitting
from lib.errors import UserError
from lib.evaluation import held_out

SHAPE = 40, 200
__all__ = ["steel"]


def write_data(folder, count, copy):
    """A data folder of `count` images, of which the one with the number `copy` is a copy of 0; every other one has
    the defect."""
    (folder / "train_images").mkdir()
    rng = np.random.default_rng(0)
    lines = ["ImageId,ClassId,EncodedPixels"]
    for index in range(count):
        picture = cv2.resize(rng.integers(0, 255, (5, 25), np.uint8), SHAPE[::-1])
        picture = cv2.imread(str(folder / "train_images" / "00.png"), 0) if index == copy else picture
        cv2.imwrite(str(folder / "train_images" / f"{index:02}.png"), picture)
        lines += [f"{index:02}.png,1,{rle.encode(np.eye(*SHAPE))}"] if index % 2 else []
    (folder / "train.csv").write_text("\n".join(lines))
    (folder / "dataset.json").write_text('{"classes": 1, "height": 40, "width": 200}')


@pytest.fixture
def data(tmp_path):
    """24 images, of which 0 and 1 were chosen and 2 is a copy of 0; every other one has the defect."""
    write_data(tmp_path, 24, copy=2)
    (tmp_path / "chosen.csv").write_text("image_id\n00.png\n01.png\n")
    return tmp_path


def ids(table, rows):
    return set(table["image_id"][rows])


ALONE = {"00.png", "01.png", "02.png"}


@pytest.mark.parametrize("method", ["grouped", "random"])
def test_what_was_chosen_and_its_copies_train_whatever_the_split(data, method):
    for seed in range(5):
        table = splitting.split(dataset.load_table(data), method, 0.3, 0.3, seed)
        assert ids(table, table["part"] == "train") >= ALONE
        assert abs((table["part"] == "held_out").sum() - 0.3 * 21) <= 1


def test_no_member_validates_and_nothing_evaluates_what_was_chosen(data, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    table = splitting.load_split(run, dataset.load_table(data), held_out=0, validation=0.2)
    validated = splitting.validated_member(table, 3, seed=0)
    assert ids(table, validated < 0) == ALONE
    for member in range(3):
        parts = splitting.parts_of_member(table, validated, member)
        assert ids(table, parts == "train") >= ALONE
    rows = splitting.evaluation_images(table, 3)
    assert len(rows) == 21 and not ALONE & set(rows["image_id"])
    assert held_out._images(run)[0].tolist() == rows["image_id"].tolist()
    again = splitting.load_split(run, dataset.load_table(data), held_out=0, validation=0.2)
    assert again["part"].tolist() == table["part"].tolist()


def test_where_all_were_chosen_nothing_is_left_to_evaluate(data, tmp_path):
    names = "\n".join(f"{index:02}.png" for index in range(24))
    (data / "chosen.csv").write_text(f"image_id\n{names}\n")
    with pytest.raises(UserError, match=r"24 of 24 images were chosen .* None of the others is left for"):
        splitting.load_split(tmp_path, dataset.load_table(data))


def test_another_choice_is_another_split_and_other_data(data):
    table, before = dataset.load_table(data), dataset.fingerprint(data)["sha256"]
    digest = splitting.hash_split(table, {})
    (data / "chosen.csv").write_text("image_id\n00.png\n")
    assert splitting.hash_split(dataset.load_table(data), {}) != digest
    assert dataset.fingerprint(data)["sha256"] != before
    (data / "chosen.csv").unlink()
    assert "chosen" not in dataset.load_table(data)


def test_the_check_says_why(data):
    table = splitting.split(dataset.load_table(data))
    findings = split_check.findings(table, {"31_seg_class1": 1}, data / "train_images", ["1 dent"])
    (said,) = [one["what"] for one in findings if "chosen" in one["what"]]
    assert said.startswith("3 of 24 images were chosen for labelling, or are copies of such: they train")
    assert findings[-1]["severity"] == "warning"
    assert chosen.remark(table.drop(columns="chosen")) == ""


def test_the_importer_keeps_what_was_chosen(steel, capsys):
    (steel / "review.csv").write_text("rank,image,doubt\n1,day 1/a.png,0.9\n2,b.jpg,0.8\n3,gone.png,0.7\n")
    assert bring(steel, "--chosen", str(steel / "review.csv"), "--size", "20x30") == 0
    assert "2 images were chosen for labelling" in capsys.readouterr().out
    table = dataset.load_table(steel / "out")
    assert dict(zip(table["image_id"], table["chosen"], strict=True)) == {
        "a.png": True,
        "b.png": True,
        "c.png": False,
    }


def test_what_was_chosen_in_rounds_before_stays_so(steel):
    """In the second round: its review.csv, and that of the first or the data folder made from it."""
    (steel / "second.csv").write_text("rank,image\n1,b.jpg\n")
    (steel / "chosen.csv").write_text("image_id\na.png\n")
    assert bring(steel, "--chosen", str(steel / "second.csv"), str(steel / "chosen.csv")) == 0
    assert (steel / "out" / "chosen.csv").read_text().split() == ["image_id", "a.png", "b.jpg"]


@pytest.mark.parametrize("text, says", [
    ("", "has no column image"), ("name\na.png\n", "has no column image"), ("image\nx.png\n", "names none of the training images"),
])  # fmt: skip
def test_a_choice_that_does_not_fit_is_named(tmp_path, text, says):
    (tmp_path / "review.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        chosen.match(tmp_path / "review.csv", ["a.png"])
