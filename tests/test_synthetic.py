"""Generated strips: the layout, the labels, the masks, the seed, and what is reused or replaced."""

import csv
import hashlib
import os
import subprocess
import sys
from collections import Counter

import cv2
import numpy as np
import pytest

from lib import errors, paths
from lib.data import rle
from lib.files import read_json, write_json
from lib.synthetic import __main__ as synthetic_command
from lib.synthetic import annotation, defects, generate, planning, texture


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """Every file below `folder` with the hash of what it holds."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    """The smallest useful set: 8 training and 8 test strips."""
    return generate.generate(tmp_path_factory.mktemp("small") / "set", 8, 8, seed=3, processes=1)


def test_the_layout_is_the_competitions(small_set):
    names = sorted(path.name for path in small_set.iterdir())
    assert names == [
        "dataset.json",
        "sample_submission.csv",
        "test_images",
        "test_truth.csv",
        "train.csv",
        "train_images",
    ]
    assert (
        len(list((small_set / "train_images").glob("*.jpg")))
        == len(list((small_set / "test_images").glob("*.jpg")))
        == 8
    )
    for table, part in (("train.csv", "train"), ("test_truth.csv", "test")):
        rows = rows_of(small_set / table)
        assert list(rows[0]) == ["ImageId", "ClassId", "EncodedPixels"]
        assert {row["ImageId"] for row in rows} < {
            path.name for path in (small_set / f"{part}_images").iterdir()
        }
        assert rows == sorted(rows, key=lambda row: (row["ImageId"], row["ClassId"]))
    sample = rows_of(small_set / "sample_submission.csv")
    assert list(sample[0]) == ["ImageId", "EncodedPixels", "ClassId"]
    assert [row["ImageId"] for row in sample] == sorted(
        path.name for path in (small_set / "test_images").iterdir()
    )
    assert {row["EncodedPixels"] for row in sample} == {"1 409600"}


def test_eight_strips_hold_every_class_and_a_clean_one(small_set):
    rows = rows_of(small_set / "train.csv")
    assert {row["ClassId"] for row in rows} == {"1", "2", "3", "4"}
    assert len({row["ImageId"] for row in rows}) < 8


def test_images_are_jpeg_grey_in_three_equal_channels_of_the_originals_quality(small_set):
    path = next((small_set / "train_images").iterdir())
    image = cv2.imread(str(path))
    assert image.shape == (256, 1600, 3) and image.dtype == np.uint8
    assert (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()
    data = path.read_bytes()
    start = data.index(b"\xff\xdb") + 5
    assert list(data[start : start + 8]) == [3, 2, 2, 3, 2, 2, 3, 3]  # luminance table as in the real ones


def test_dataset_json_says_that_it_is_generated_and_lifted(small_set, tmp_path):
    described = read_json(small_set / "dataset.json")
    assert (
        described["generated"] is True and described["classes"] == 4 and described["settings"]["lift"] is True
    )
    assert "raised" in described["note"]
    assert "raised" not in generate.settings(8, 8, 3, lift=False)["note"]


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_number_of_processes(small_set, tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "CHUNK", 3)
    again = generate.generate(tmp_path / "again", 8, 8, seed=3, processes=2)
    assert contents(again) == contents(small_set)
    other = generate.generate(tmp_path / "other", 8, 8, seed=4, processes=1)
    assert contents(other)["train.csv"] != contents(small_set)["train.csv"]


def test_a_strip_does_not_depend_on_those_made_before_it():
    first, second = planning.plan("train", 8, 5)[:2]
    alone = generate.make_strip(second)
    generate.make_strip(first)
    np.testing.assert_array_equal(generate.make_strip(second)[0], alone[0])


def test_train_and_test_share_no_roll_and_no_name():
    train, test = planning.plan("train", 40, 5), planning.plan("test", 40, 5)
    assert not {entry.image_id for entry in train} & {entry.image_id for entry in test}
    rolls = [
        texture.make_roll(np.random.default_rng([5, part, 1, roll]), float(part))
        for part in (0, 1)
        for roll in range(5)
    ]
    assert len({roll["base"] for roll in rolls}) == 10


def test_unlifted_labels_follow_the_facts_exactly_at_full_size():
    assert Counter(entry.labels for entry in planning.plan("train", 12568, 0, lift=False)) == Counter(
        planning.FACTS
    )


@pytest.mark.parametrize("lift", [True, False])
def test_label_plan_of_any_size(lift):
    for count in (1, 5, 8, 40, 1000):
        labels = planning.plan_labels(count, np.random.default_rng(0), lift)
        assert len(labels) == count and (1, 4) not in labels
        if count >= 5:
            assert {defect_class for combination in labels for defect_class in combination} == {
                1,
                2,
                3,
                4,
            } and () in labels


def test_lifted_thousand_has_enough_of_every_class():
    labels = planning.plan_labels(1000, np.random.default_rng(0))
    counts = Counter(defect_class for combination in labels for defect_class in combination)
    assert counts[1] >= 150 and counts[2] >= 120 and counts[3] >= 250 and counts[4] >= 160
    assert 450 <= labels.count(()) <= 550


@pytest.mark.slow
def test_masks_hold_the_planned_classes_and_never_overlap():
    for entry in planning.plan("train", 60, 11):
        image, masks = generate.make_strip(entry)
        assert image.shape == (256, 1600) and image.dtype == np.uint8 and masks.shape == (256, 1600, 4)
        assert masks.max() <= 1 and masks.sum(axis=2).max() <= 1
        assert tuple(np.flatnonzero(masks.any(axis=(0, 1))) + 1) == entry.labels


def test_a_defect_is_seen_where_its_mask_lies():
    """Against the same strip drawn without its defects: changed inside the masks, and nowhere else. A defect
    may be hardly to be seen, but most are."""
    for defect_class in (1, 2, 3, 4):
        changes = []
        for seed in range(12):
            roll = texture.make_roll(np.random.default_rng(seed))
            rng = np.random.default_rng(defect_class)
            image = texture.surface(rng, roll)
            before, masks = image.copy(), np.zeros((256, 1600, 4), np.uint8)
            defects.put_defects(image, masks, rng, roll, defect_class, (0, 1600))
            inside = masks[..., defect_class - 1] > 0
            near = cv2.dilate(masks[..., defect_class - 1], np.ones((13, 13), np.uint8)) > 0
            change = np.abs(image - before)
            assert inside.any() and change[~near].max() < 0.5  # less than a grey level
            changes.append(change[inside].mean())
        assert min(changes) > 0 and np.median(changes) > 2, (defect_class, changes)


def test_the_defects_of_a_class_are_faint_and_glaring():
    """The depth of the darkest twentieth of an object, as a share of the level: a strip in ten has half of another."""
    depths = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        image, masks = np.full((256, 1600), 100, np.float32), np.zeros((256, 1600, 4), np.uint8)
        defects.put_defects(image, masks, rng, {"contrast": 1.0}, 3, (0, 1600))
        depths.append(1 - np.quantile(image[masks[..., 2] > 0], 0.05) / 100)
    low, middle, high = np.quantile(depths, (0.1, 0.5, 0.9))
    assert low < 0.25 and high > 2 * low and low < middle < 0.5, (low, middle, high)


def test_contrast_makes_defects_clearer_and_nothing_else(tmp_path):
    plain, clear = (planning.plan("train", 20, 4, contrast=contrast) for contrast in (1.0, 2.5))
    changes = []
    for faint, strong in zip(plain, clear, strict=True):
        (image, masks), (clearer, same) = generate.make_strip(faint), generate.make_strip(strong)
        np.testing.assert_array_equal(masks, same)
        wide = cv2.dilate(masks.max(axis=2), np.ones((13, 13), np.uint8)) > 0
        changes.append((image != clearer)[wide].mean() if faint.labels else 0.0)
        assert (image == clearer)[~wide].all()
    assert np.mean(changes) > 0.2
    assert "2.5 times" in generate.settings(8, 8, 3, True, 2.5)["note"]
    with pytest.raises(errors.UserError, match="a contrast above 0"):
        generate.generate(tmp_path / "set", 8, 8, seed=3, contrast=float("nan"))


def test_twins_are_near_duplicates_and_one_has_other_masks():
    planned = planning.plan("train", 300, 2)
    streams = Counter(entry.stream for entry in planned)
    pairs = [
        [entry for entry in planned if entry.stream == stream]
        for stream, times in streams.items()
        if times == 2
    ]
    assert len(pairs) == 3 and max(streams.values()) == 2
    different = 0
    for pair in pairs:
        made = [generate.make_strip(entry) for entry in pair]
        small = [cv2.resize(image, (50, 8), interpolation=cv2.INTER_AREA).astype(float) for image, _ in made]
        assert np.abs(made[0][0].astype(int) - made[1][0]).mean() > 0
        assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.9
        assert pair[0].labels == pair[1].labels
        areas = [int(masks.sum()) for _, masks in made]
        different += max(areas) > 1.1 * min(areas) > 0
    assert different >= 1


def test_sizes_follow_the_facts():
    """Many draws of sizes alone: the medians that the tables of facts give, within 25 %."""
    rng = np.random.default_rng(0)
    facts = {1: (44, 26, 2), 2: (169, 19, 1), 3: (159, 33, 2), 4: (99, 126, 2)}
    for defect_class, (height, width, objects) in facts.items():
        images = [
            annotation.object_sizes(rng, defect_class, *rng.uniform(0.001, 0.999, 2)) for _ in range(800)
        ]
        pairs = np.array([size for sizes in images for size in sizes])
        assert np.median(pairs[:, 0]) == pytest.approx(height, rel=0.25)
        assert np.median(pairs[:, 1]) == pytest.approx(width, rel=0.25)
        assert np.median([len(sizes) for sizes in images]) == objects
        assert pairs[:, 0].max() <= 256


@pytest.mark.parametrize("shape", ["box", "strip", "patch"])
def test_outline_fills_its_box_to_the_borders(shape):
    for seed in range(20):
        points = annotation.outline(np.random.default_rng(seed), shape, 40, 90)
        assert points.min(axis=0).tolist() == [0, 0] and points.max(axis=0).tolist() == [89, 39]


def test_equal_settings_are_reused_and_others_refused(small_set):
    before = (small_set / "train.csv").stat().st_mtime_ns
    assert generate.generate(small_set, 8, 8, seed=3) == small_set
    assert (small_set / "train.csv").stat().st_mtime_ns == before
    with pytest.raises(errors.UserError, match="something else"):
        generate.generate(small_set, 9, 8, seed=3)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(errors.UserError, match="something else"):
        generate.generate(tmp_path, 8, 8, seed=3)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_what_lies_beside_the_folder_is_left_alone(small_set, tmp_path):
    for name in ("set.partial", ".set.partial", ".set.x.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    made = generate.generate(tmp_path / "set", 8, 8, seed=3, processes=1)
    assert contents(made) == contents(small_set)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".set.partial",
        ".set.x.partial",
        "set",
        "set.partial",
    ]
    assert all((path / "mine.txt").is_file() for path in tmp_path.iterdir() if path != made)


def test_of_two_that_make_the_same_at_once_the_second_takes_the_finished_set(
    small_set, tmp_path, monkeypatch
):
    """While the first is writing, a second one begins and ends; the first then finds the set there."""
    write_parts = generate.write_parts

    def write_after_another(*arguments):
        monkeypatch.setattr(generate, "write_parts", write_parts)
        assert contents(generate.generate(tmp_path / "set", 8, 8, seed=3, processes=1)) == contents(small_set)
        write_parts(*arguments)

    monkeypatch.setattr(generate, "write_parts", write_after_another)
    made = generate.generate(tmp_path / "set", 8, 8, seed=3, processes=1)
    assert contents(made) == contents(small_set) and [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_older_version_of_the_same_set_is_made_anew(small_set, tmp_path):
    made = generate.generate(tmp_path / "set", 8, 8, seed=3, processes=1)
    described = read_json(made / "dataset.json")
    described["settings"]["version"] -= 1
    write_json(made / "dataset.json", described)
    (made / "train.csv").write_text("old")
    assert contents(generate.generate(made, 8, 8, seed=3, processes=1)) == contents(small_set)


@pytest.mark.parametrize(
    "name", ["mine.txt", "train_images/mine.jpg", "train_images/x/0123456789.jpg", "runs/run.json", ".mine/a"]
)
def test_what_else_lies_in_the_folder_of_an_older_version_is_not_deleted(tmp_path, name):
    made = generate.generate(tmp_path / "set", 1, 1, seed=3, processes=1)
    described = read_json(made / "dataset.json")
    described["settings"]["version"] -= 1
    write_json(made / "dataset.json", described)
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_text("mine")
    before = contents(made)
    with pytest.raises(errors.UserError, match=r"is none of the strips .* Move it elsewhere"):
        generate.generate(made, 1, 1, seed=3, processes=1)
    assert contents(made) == before and [path.name for path in tmp_path.iterdir()] == ["set"]
    (made / name).unlink()
    if (made / name).parent not in (made, made / "train_images"):
        (made / name).parent.rmdir()
    generate.generate(made, 1, 1, seed=3, processes=1)
    assert read_json(made / "dataset.json")["settings"]["version"] == generate.VERSION


@pytest.mark.parametrize("train, test, seed", [(0, 8, 1), (8, 0, 1), (8, 8, -1)])
def test_impossible_sizes_are_refused(tmp_path, train, test, seed):
    with pytest.raises(errors.UserError, match="at least one"):
        generate.generate(tmp_path / "set", train, test, seed)


def test_one_strip_each_will_do(tmp_path):
    made = generate.generate(tmp_path / "set", 1, 1, seed=0)
    assert len(rows_of(made / "sample_submission.csv")) == 1


def test_find_or_generate_takes_what_is_named(small_set):
    assert generate.find_or_generate(str(small_set)) == small_set


def test_find_or_generate_makes_a_set_inside_the_project(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    monkeypatch.delenv(paths.DATA_VARIABLE, raising=False)
    made = generate.find_or_generate(synthetic_sizes=[5, 1], seed=9)
    assert made == tmp_path / "data" / "generated-5-1-9"
    assert generate.find_or_generate(synthetic_sizes=[5, 1], seed=9) == made


@pytest.mark.parametrize(
    "synthetic_sizes",
    [[1500], [1500, 240, 1], [], [0, 240], [1500, -1], [1.5, 2], [True, 2], ["9", "9"], 9, "99", None],
)
def test_other_than_two_numbers_of_strips_are_refused(tmp_path, monkeypatch, synthetic_sizes):
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    monkeypatch.delenv(paths.DATA_VARIABLE, raising=False)
    with pytest.raises(errors.UserError, match=r"synthetic_sizes is .* two whole numbers"):
        generate.find_or_generate(synthetic_sizes=synthetic_sizes)
    assert not (tmp_path / "data").exists()


AFTER_THREADS = """
import sys
import cv2, numpy as np
from lib.synthetic import generate

if __name__ == "__main__":
    noise = np.random.default_rng(0).random((2000, 2000), np.float32)
    for _ in range(5):
        cv2.resize(cv2.GaussianBlur(noise, (0, 0), 2.5), (1500, 1500), interpolation=cv2.INTER_LINEAR)
    generate.generate(sys.argv[1], 8, 8, seed=3, processes=2)
"""


@pytest.mark.slow
def test_whoever_makes_them_may_have_used_all_of_opencvs_threads(small_set, tmp_path):
    """A forked helper waited for ever for a lock that a thread of the notebook's had held."""
    (tmp_path / "script.py").write_text(AFTER_THREADS)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "set")]
    subprocess.run(words, env={**os.environ, "PYTHONPATH": str(paths.PROJECT)}, check=True, timeout=100)
    assert contents(tmp_path / "set") == contents(small_set)


def test_command_line(tmp_path, capsys):
    synthetic_command.main(["--out", str(tmp_path / "set"), "--train", "5", "--test", "1", "--seed", "1"])
    assert capsys.readouterr().out.count("\n") == 1
    assert (
        synthetic_command.main(["--out", str(tmp_path / "set"), "--train", "6", "--test", "1", "--seed", "1"])
        == 2
    )
    assert "error: " in capsys.readouterr().err


def test_every_mask_survives_the_round_trip(small_set):
    planned = {entry.image_id: entry for entry in planning.plan("train", 8, 3)}
    for row in rows_of(small_set / "train.csv"):
        _, masks = generate.make_strip(planned[row["ImageId"]])
        np.testing.assert_array_equal(rle.decode(row["EncodedPixels"]), masks[..., int(row["ClassId"]) - 1])


@pytest.mark.slow
def test_global_statistics_do_not_give_the_task_away(tmp_path):
    """A random forest on edge and grey statistics of whole strips stays below 0.85."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    from sklearn.model_selection import cross_val_score

    statistics, defective = [], []
    for entry in planning.plan("train", 300, 21):
        image, masks = generate.make_strip(entry)
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32)
        edges = cv2.magnitude(cv2.Sobel(image, cv2.CV_32F, 0, 1), cv2.Sobel(image, cv2.CV_32F, 1, 0))
        statistics.append(
            [
                image.mean(),
                image.std(),
                edges.mean(),
                edges.std(),
                cv2.Laplacian(image, cv2.CV_32F).std(),
                *np.quantile(image, (0.01, 0.25, 0.5, 0.75, 0.99)),
                *np.quantile(edges, (0.5, 0.9, 0.99)),
            ]
        )
        defective.append(masks.any())
    accuracy = cross_val_score(
        ensemble.RandomForestClassifier(200, random_state=0), np.array(statistics), defective, cv=5
    ).mean()
    assert accuracy < 0.85


def test_small_sets_of_any_seed_can_be_planned():
    for count in (8, 16, 24, 40):
        for seed in range(60):  # 24 strips of seed 4 once had none that may be a twin
            assert len(planning.plan("train", count, seed)) == count


@pytest.mark.parametrize("content", ["[]", "null", '{"settings": "x"}', '{"settings": {}}'])
def test_a_folder_with_another_description_is_not_taken_for_strips(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(errors.UserError, match="holds something else than these generated strips"):
        generate.generate(tmp_path, 8, 8, seed=1)
    assert (tmp_path / "dataset.json").read_text() == content
