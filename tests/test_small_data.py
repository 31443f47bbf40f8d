"""Few images, none held out: one small run of the recipe's pieces on images from which nothing can be
learned, and which says so."""

import importlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
import whole_run

from lib import files, paths
from lib.evaluation import predictions
from lib.inference.postprocess import PostprocessConfig
from lib.models import saving

SHAPE = (60, 90)  # the networks' input is 64 x 96
DEFECT = "601 20 665 20"
EVERYWHERE = {"held_out": 0.0, "validation": 0.2}
NETWORK = {
    **EVERYWHERE,
    "height": 0,
    "width": 0,
    "crop_width": 64,
    "n_members": 2,
    "keep": "last",
    "crops": 2,
    "epochs": 1,
    "tta": ["none"],
}
OUT_OF_FOLD = {
    "10_binary": NETWORK,
    "20_multilabel": NETWORK,
    "31_seg_class1": {**NETWORK, "together": True, "loss": "bce_batch_dice", "pretraining_strips": 9},
    "32_seg_class2": {**NETWORK, "together": True, "loss": "bce_batch_dice", "pretraining_strips": 9},
    "40_evaluation": {**EVERYWHERE, "n_bootstrap": 50, "n_examples": 1, "tta": ["none"]},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Forty images of noise whose labels mean nothing: ten with class 1, ten with class 2."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("train_images", "test_images"):
        (folder / name).mkdir()
    rng, rows = np.random.default_rng(0), ["ImageId,ClassId,EncodedPixels"]
    for number in range(42):
        part = "train_images" if number < 40 else "test_images"
        cv2.imwrite(str(folder / part / f"{number:02}.png"), rng.integers(0, 255, SHAPE, np.uint8))
        rows += [f"{number:02}.png,{1 + number % 4},{DEFECT}"] if number < 40 and number % 4 < 2 else []
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    files.write_json(folder / "dataset.json", {"classes": 2, "height": SHAPE[0], "width": SHAPE[1]})
    return folder


def test_the_judge_of_real_strips_reads_a_run_as_it_is(tmp_path, monkeypatch):
    """Three strips of one class, each its own group: one defect found exactly, one by half, one strip
    without."""
    monkeypatch.syspath_prepend(str(paths.PROJECT / "benchmarks"))
    real = importlib.import_module("real")
    area = np.zeros((3, 1, len(predictions.PIXEL_THRESHOLDS), len(predictions.SMALLEST_COMPONENTS)), np.int64)
    shared = area.copy()
    area[0], area[1], shared[0], shared[1] = 5000, 5000, 5000, 2500
    true_area = np.array([[5000], [2500], [0]])
    found = predictions.CascadePredictions(
        np.float32([0.9, 0.8, 0.1]), np.float32([[0.9], [0.8], [0.1]]), true_area, area, shared, np.arange(3)
    )
    found.save(tmp_path / "predictions.npz")
    PostprocessConfig("segment everything", 0.0, (0.0,), (0.5,), (0,), (0,)).write(
        tmp_path / "thresholds.json"
    )
    files.write_json(tmp_path / "run.json", {"seconds": 90.0})
    found = real.metrics_of(tmp_path, 1)
    assert (found["strips"], found["positives"].tolist(), found["minutes"]) == (3, [2], 1.5)
    assert found["all_empty"] == pytest.approx(1 / 3) and found["auc"] == 1 and found["auc_classes"] == [1]
    assert found["dice"][0][0][0] == pytest.approx((1 + 2 / 3) / 2)
    assert found["score"] - found["all_empty"] == pytest.approx(found["gain"])
    text = real.text_of([found], "python benchmarks/real.py")
    assert "| 1 | 1 | 2 | 1.00 | 0.83 (0.67 to 1.00) | 0.83 (0.67 to 1.00) |" in text and text.startswith(
        "`python benchmarks/real.py`, "
    )


def test_the_threshold_of_a_strips_mask_is_chosen_by_the_others(monkeypatch):
    """Two strips are found best at the lowest threshold, the third at the highest: it gets theirs, and they, one
    of which agrees with the third, get the one that is better on average over the other two."""
    monkeypatch.syspath_prepend(str(paths.PROJECT / "benchmarks"))
    real = importlib.import_module("real")
    common = np.array([[[[80], [0]]], [[[60], [0]]], [[[10], [50]]]])
    made = predictions.CascadePredictions(
        np.zeros(3), np.zeros((3, 1)), np.full((3, 1), 100), np.full_like(common, 100), common, np.arange(3), (0.2, 0.5), (0,)
    )  # fmt: skip
    assert real.dice_by_others(made)[:, 0].tolist() == [0.8, 0.6, 0.1]


@pytest.mark.slow
def test_every_image_judges_classes_learn_together_and_a_network_that_learned_nothing_says_so(data, tmp_path):
    whole_run.copy_project(tmp_path / "project")
    words = [
        sys.executable,
        "run_all.py",
        "--data",
        str(data),
        "--profile",
        "demo",
        "--run",
        "few",
        "--jobs",
        "2",
    ]
    for notebook, parameters in OUT_OF_FOLD.items():
        words += whole_run.settings(notebook, parameters)
    ended = subprocess.run(
        [*words, "--only", "05,10,20,31,32,40"],
        cwd=tmp_path / "project",
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    run = tmp_path / "project" / "runs" / "few"

    found, recorded = (
        predictions.CascadePredictions.load(run / "predictions.npz"),
        files.read_json(run / "metrics.json"),
    )
    assert found.true_area.shape == (40, 2) and (found.true_area > 0).sum() == 20
    assert recorded["scored_out_of_fold"] and recorded["held_out_strips"] == 40
    for name in ("binary", "multilabel", "seg_class1", "seg_class2"):
        cards = [
            files.read_json(folder / "model.json") for folder in paths.member_folders(run / "models" / name)
        ]
        assert [card["fold"] for card in cards] == [[0, 2], [1, 2]]
        assert all(card["input"] == [64, 96] for card in cards)

    first, second = (saving.load(run / "models" / f"seg_class{number}").get_weights() for number in (1, 2))
    same = [np.array_equal(one, other) for one, other in zip(first, second, strict=True)]
    assert all(same[:-2]) and not same[-2]  # all but the last layer, which has an output a class
    assert (run / "scratch" / "pretraining" / "trained.npz").is_file()  # once, for both members

    assert "cannot be told from predicting nothing" in recorded["evaluation_doubt"]
    assert "begin with ImageNet's, as --profile small_data does" in recorded["binary_doubt"]
    assert ended.stdout.count("\ndoubt    ") >= 3
    page = (run / "index.html").read_text()
    assert "No better than a constant answer" in page and "Score out of fold" in page
