"""Strips of one coil stay on one side of a division, and count in intervals by how far errors come together in
them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student
from test_chosen import write_data
from test_import_labels import bring, steel

from lib.data import coils, dataset, split_check, splitting
from lib.errors import UserError
from lib.evaluation import budgets, statistics

__all__ = ["steel"]


@pytest.fixture
def data(tmp_path):
    """30 images, of which 1 is a copy of 0; coils of five for the first 20, of which 0 and 1 are in two; every other
    one has the defect."""
    write_data(tmp_path, 30, copy=1)
    rows = [f"{index:02}.png,{'abcd'[index % 4]}" for index in range(20)]
    (tmp_path / "coils.csv").write_text("\n".join(["image,coil", *rows, ""]))
    return tmp_path


def test_a_coil_stays_on_one_side_and_copies_join_coils(data, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for seed in range(5):
        table = splitting.load_split(run, dataset.load_table(data), seed=seed)
        assert (table.groupby("coil")["part"].nunique().drop("") == 1).all()
    group = table["group"]
    assert group.nunique() == 13  # a with b by the copy, c, d, ten alone
    assert group[0] == group[1] == group[4] and group[2] == group[6] != group[3] == group[7]
    duplicate = splitting.duplicate_groups(table)
    assert len(set(duplicate)) == 29 and duplicate[0] == duplicate[1]
    again = splitting.load_split(run, dataset.load_table(data), seed=4)
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert coils.remark(table).startswith("20 of 30 images are of 4 coils: ")


def test_other_coils_are_another_split_and_other_data(data):
    digest = splitting.hash_split(dataset.load_table(data), {})
    lost = dataset.load_table(data).assign(path="gone.png")  # which others say
    assert splitting.hash_split(lost, {}) not in ("", digest)
    before = dataset.fingerprint(data)["sha256"]
    (data / "coils.csv").write_text("image,coil\n00.png,a\n")
    assert splitting.hash_split(dataset.load_table(data), {}) != digest
    assert dataset.fingerprint(data)["sha256"] != before
    (data / "coils.csv").unlink()
    table = dataset.load_table(data)
    assert "coil" not in table and coils.remark(table) == "" and coils.alike(table) == "near-duplicates"
    assert splitting.hash_split(table, {}) != digest


def test_where_all_defects_are_of_one_coil_the_check_says_so():
    table = pd.DataFrame({"group": [0, 0, 1, 2], "coil": ["a", "a", "b", ""]})
    said = split_check.where_they_are("rust", np.array([True, True, False, False]), table, ["held_out"])
    assert said == "2 of 4 images have rust, all of one coil, none of them in the held-out part"


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "needs two columns, image and coil"),
        ("image,roll\n00.png,a\n", "needs two columns, image and coil"),
        ("image,coil\n00.png,\n", "line 2: an image and its coil belong there"),
        ("coil,image\na\n", "line 2: an image and its coil belong there"),
        ("image,coil\n00.png,a\n\n00.png,b\n", "00.png is in the coils a and b"),
        ("image,coil\nother.png,a\n", "names none of the training images"),
    ],
)
def test_a_table_of_coils_that_says_nothing_is_told(data, text, said):
    (data / "coils.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        dataset.load_table(data)


@pytest.mark.parametrize(
    "text",
    [
        "Image; Coil\r\n00.png; a\r\n01.png;b\r\n",
        "\n\ncoil\tmill\tImageId\na\t7\t00.png\n\t\t\nb\t7\t01.png\n",
        ',,\n"image_id","COIL"\n"00.png","a"\n"01.png","b"\n',
    ],
)
def test_a_table_of_coils_may_be_as_a_spreadsheet_writes_it(tmp_path, text):
    (tmp_path / "coils.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert coils.read(tmp_path / "coils.csv") == [("00.png", "a"), ("01.png", "b")]
    with pytest.raises(UserError, match=r"is no CSV file \(field larger than field limit"):
        (tmp_path / "coils.csv").write_text("image,coil\n" + "a" * 200_000 + ",b\n")
        coils.read(tmp_path / "coils.csv")


def test_names_of_no_image_are_a_warning_before_the_run(data):
    assert split_check.of_coils(data) == []
    (data / "test_images").mkdir()
    (data / "test_images" / "t.png").write_bytes(b"")
    (data / "coils.csv").write_text("image,coil\n00.png,a\nt.png,a\nx1.png,b\nx2.png,b\n")
    (finding,) = split_check.of_coils(data)
    assert finding["severity"] == "warning"
    assert "2 names in it are of no image, such as x1.png" in str(finding.values())


def test_where_coils_leave_a_part_without_images_they_are_the_cause(data, tmp_path):
    names = "".join(f"{index:02}.png,{index % 2}\n" for index in range(30))
    (data / "coils.csv").write_text(f"image,coil\n{names}")
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(UserError, match=r"leaves none for .* Add images of other coils, or take coils\.csv"):
        splitting.load_split(run, dataset.load_table(data))


def test_the_importer_writes_the_coils_under_the_names_of_the_data_folder(steel, capsys):
    (steel / "mine.csv").write_text("coil,image\n7,a\n8,gone.png\n")
    assert bring(steel, "--coils", str(steel / "mine.csv")) == 0
    assert coils.read(steel / "out" / "coils.csv") == [("a.png", "7")]
    said = capsys.readouterr().out
    assert "1 images are of 1 coils" in said and "1 name in it is of no image, such as gone.png." in said


def test_coils_of_other_days_are_of_no_image(tmp_path):
    days = [("20240102-01.png", "a"), ("20240102-02.png", "b"), ("20240103-01.png", "c")]
    (tmp_path / "coils.csv").write_text("image,coil\n" + "".join(f"{name},{coil}\n" for name, coil in days))
    pairs, remark = coils.match(tmp_path / "coils.csv", ["20240102-01.png", "20240102-02.png"])
    assert pairs == days[:2] and remark == "1 name in it is of no image, such as 20240103-01.png"


def test_errors_that_come_together_in_coils_count_less():
    """Ten coils of four, four wrong strips: one each in four coils, all in one coil, none."""
    group = np.repeat(np.arange(10), 4)
    spread, one, none = np.zeros((3, 40), bool)
    spread[[0, 4, 8, 12]], one[:4] = True, True
    ratio = (student.ppf(0.975, 39) / student.ppf(0.975, 9)) ** 2
    # share 0.1; sums about it: four of 0.6 and six of -0.4, or one of 3.6 and nine of -0.4
    for wrong, squares in ((spread, 4 * 0.36 + 6 * 0.16), (one, 12.96 + 9 * 0.16)):
        expected = 0.09 / (10 / 9 * squares / 1600) * ratio
        assert statistics.effective_number_of(wrong, group) == pytest.approx(np.clip(expected, 10, 40))
    assert statistics.effective_number_of(none, group) == statistics.effective_number_of(~none, group) == 10
    assert statistics.effective_number_of(one, np.arange(40)) == 40
    widths = [high - low for low, high in (statistics.wilson(wrong, group) for wrong in (spread, one))]
    alone = statistics.wilson(one, np.arange(40))
    assert alone[1] - alone[0] == pytest.approx(widths[0]) and widths[0] < 0.6 * widths[1]


def coverage(seed, likeness, coils_of, strips):
    """How often the interval holds the true share of 0.05, of 400 tables whose strips of a coil are alike."""
    rng, inside = np.random.default_rng(seed), 0
    group = np.repeat(np.arange(coils_of), strips)
    for _ in range(400):
        own = np.sqrt(likeness) * rng.normal(size=coils_of)[group]
        values = own + np.sqrt(1 - likeness) * rng.normal(size=len(group))
        low, high = statistics.wilson(values > norm.ppf(0.95), group)
        inside += low <= 0.05 <= high
    return inside / 400


def test_intervals_hold_the_true_share_whatever_the_likeness_of_a_coil():
    assert min(coverage(0, likeness, 50, 8) for likeness in (0, 0.2, 0.5)) > 0.91


def test_a_promise_is_kept_on_new_coils():
    """Thresholds chosen on 100 coils of ten leave at most 5 % wrong on new ones in at least 19 of 20 cases, about."""
    rng, kept, shares = np.random.default_rng(0), 0, []
    group = np.repeat(np.arange(100), 10)
    for _ in range(200):
        values = np.sqrt(0.3) * rng.normal(size=100)[group] + np.sqrt(0.7) * rng.normal(size=1000)
        share = norm.cdf(budgets.nth_value(values, 0.05, group))
        kept += share <= 0.05
        shares.append(share)
    assert kept >= 0.91 * 200 and np.mean(shares) > 0.025
