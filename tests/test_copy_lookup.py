"""The look-up baseline: masks of the nearest copies, turned back, with exact answers."""

import json

import cv2
import numpy as np
import papermill
import pytest

from lib import lookup
from lib.data import dataset, duplicates, likeness, rle
from lib.evaluation import copy_lookup
from lib.files import read_json
from lib.paths import PROJECT

SIDE = 96


def picture(seed):
    noise = np.random.default_rng(seed).standard_normal((SIDE, SIDE), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(120 + 30 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def block(top, left):
    """A mask of 10 x 20 pixels."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + 10, left : left + 20] = 1
    return mask


def test_masks_are_turned_as_the_images_are():
    mask = np.zeros((2, 3), np.uint8)
    mask[0, 0] = 1  # top left
    texts = [[rle.encode(mask), ""], ["2 2", "1 1"]]
    found = copy_lookup.copied_masks(texts, [0, 0, 1, -1], [0, 3, 0, 0], (2, 3))
    assert found == [["1 1", ""], ["6 1", ""], ["2 2", "1 1"], ["", ""]]


def make(folder, truth=True):
    """Training images a, b, c with a mask each but c; test images: a turned, b mirrored with half of its
    mask, and a new one."""
    for part in ("train_images", "test_images"):
        (folder / part).mkdir(parents=True)
    images = {"a": picture(1), "b": picture(2), "c": picture(3)}
    masks = {"a": block(20, 30), "b": block(50, 10)}
    tests = {"t": likeness.turned(images["a"], 5), "u": likeness.turned(images["b"], 1), "v": picture(4)}
    half = masks["b"].copy()
    half[55:] = 0
    truths = {"t": likeness.turned(masks["a"], 5), "u": likeness.turned(half, 1), "v": block(1, 1)}
    for part, of_part in (("train_images", images), ("test_images", tests)):
        for name, image in of_part.items():
            cv2.imwrite(str(folder / part / f"{name}.png"), np.ascontiguousarray(image))
    for name, of_file in (("train.csv", masks), ("test_truth.csv", truths))[: 1 + truth]:
        rows = [f"{image}.png,1,{rle.encode(np.ascontiguousarray(mask))}" for image, mask in of_file.items()]
        (folder / name).write_text("\n".join(["ImageId,ClassId,EncodedPixels", *rows]) + "\n")
    (folder / "dataset.json").write_text(json.dumps({"classes": 1, "height": SIDE, "width": SIDE}))
    return folder


def test_the_command_tells_score_and_overlap(tmp_path, capsys):
    assert lookup.main(["--data", str(make(tmp_path / "data"))]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["copies"], found["share"]) == (3, 2, pytest.approx(2 / 3))
    assert found["score"] == pytest.approx(
        (1 + 2 * 100 / 300 + 0) / 3
    )  # whole, half of a mask, nothing where something is
    assert found["all_empty"] == 0
    assert found["mean_iou"] == pytest.approx((200 + 100) / (200 + 200 + 200))


def test_without_truth_there_is_nothing_to_compare_with(tmp_path, capsys):
    assert lookup.main(["--data", str(make(tmp_path / "data", truth=False))]) == 2
    assert "no test_truth.csv" in capsys.readouterr().err


def test_images_that_judge_are_looked_up_among_those_that_teach_alone(tmp_path):
    images = [picture(1), likeness.turned(picture(1), 3), picture(1), picture(2)]
    files = [str(tmp_path / f"{number}.png") for number in range(4)]
    for file, image in zip(files, images, strict=True):
        cv2.imwrite(file, np.ascontiguousarray(image))
    texts = [
        [rle.encode(block(20, 30))],
        [rle.encode(np.ascontiguousarray(likeness.turned(block(20, 30), 3)))],
        ["1 1"],
        [""],
    ]
    judged, group = np.array([False, True, False, True]), duplicates.find_duplicates(files)
    found = copy_lookup.baseline(
        files, group, judged, np.array([True, False, False, False]), texts, (SIDE, SIDE)
    )
    assert (found["copies"], found["score"], found["all_empty"]) == (1, 1.0, 0.5)
    found = copy_lookup.baseline(
        files, group, judged, np.array([False, False, False, True]), texts, (SIDE, SIDE)
    )
    assert (found["copies"], found["score"]) == (0, 0.5)
    found = copy_lookup.baseline(files, group, judged, ~judged, [*texts[:3], None], (SIDE, SIDE))
    assert (found["copies"], found["score"]) == (1, None)


def test_held_out_images_and_what_is_said_of_them(tmp_path):
    folder = make(tmp_path / "data")
    cv2.imwrite(str(folder / "train_images" / "d.png"), np.ascontiguousarray(likeness.turned(picture(3), 6)))
    table = dataset.load_table(folder)
    group = duplicates.find_duplicates(table["path"])
    assert copy_lookup.of_held_out(table, tmp_path, folder, group) is None
    (tmp_path / "split.csv").write_text(
        "image_id,part\na.png,validation\nb.png,train\nc.png,train\nd.png,held_out\n"
    )
    found = copy_lookup.of_held_out(table, tmp_path, folder, group)
    assert (found["images"], found["copies"], found["score"]) == (1, 1, 1.0)
    assert copy_lookup.remark(found, "held-out") == (
        "Warning: 1 of 1 held-out images (100%) have a copy among those that teach, turned or not. Looking their masks up scores 1.0000 "
        "without learning, predicting nothing 1.0000. A score on them also tells what was remembered."
    )
    (tmp_path / "split.csv").write_text(
        "image_id,part\na.png,held_out\nb.png,train\nc.png,validation\nd.png,train\n"
    )
    found = copy_lookup.of_held_out(table, tmp_path, folder, group)
    assert (
        copy_lookup.remark(found, "held-out")
        == "None of 1 held-out images has a copy among those that teach, turned or not."
    )


@pytest.mark.slow
def test_the_notebooks_show_turned_copies(tmp_path):
    folder = make(tmp_path / "data")
    cv2.imwrite(str(folder / "train_images" / "d.png"), np.ascontiguousarray(likeness.turned(picture(3), 5)))
    notebooks, recorded = PROJECT / "notebooks", {}
    for name in ("00_eda", "05_shift"):
        given = {"data_dir": str(folder), "run_dir": str(tmp_path)}
        papermill.execute_notebook(
            notebooks / f"{name}.ipynb", tmp_path / f"{name}.ipynb", given, cwd=notebooks, progress_bar=False
        )
        recorded |= read_json(tmp_path / "metrics" / f"{name}.json")["metrics"]
    assert recorded["turned_groups"] == 1
    assert recorded["shift_copied_share"] == pytest.approx(2 / 3)
    assert recorded["shift_lookup_baseline"] == pytest.approx((1 + 2 / 3) / 3)
    assert recorded["shift_held_out_copied_share"] is None
    assert "Warning: 2 of 3 test images (67%)" in (tmp_path / "05_shift.ipynb").read_text(encoding="utf-8")
