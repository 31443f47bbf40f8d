"""The look-up baseline: masks of the nearest copies, turned back, with exact answers."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import papermill
import pytest
from test_notebooks import FOLDER, cells_of

import run_all
from lib import files
from lib.data import dataset, duplicates, likeness, rle
from lib.evaluation import copy_lookup, lookup, overlap, scores
from lib.files import read_json, write_json
from lib.inference import submission
from lib.inference.time_budget import Budget
from lib.paths import PROJECT
from lib.pipeline import graph, inputs

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


@pytest.mark.parametrize(
    "n_copies, beside", [(3, {"copied_share": 0.5, "mean_iou_lookup_baseline": 0.25}), (0, {})]
)
def test_the_overlap_of_a_submission_stands_beside_that_of_looking_up(tmp_path, n_copies, beside):
    """Of four masks that are known, looking up finds the one whose image is a copy."""
    data = make_enough(tmp_path / "data", n_copies)
    names = list(dataset.load_test_table(data)["image_id"])
    submission.write(tmp_path / "s.csv", names, [[""] for _ in names])
    found = overlap.of_submission(tmp_path / "s.csv", data)
    assert found["mean_iou"] == 0
    assert {key: found[key] for key in found if key in ("copied_share", "mean_iou_lookup_baseline")} == beside


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


def make_enough(folder, n_copies=3):
    """A data folder of which every part gets defects: 30 training images, 6 test images of which so many are
    turned copies, and their truth."""
    for part in ("train_images", "test_images"):
        (folder / part).mkdir(parents=True)
    mask, rows, truth = block(20, 30), ["ImageId,ClassId,EncodedPixels"], ["ImageId,ClassId,EncodedPixels"]
    for number in range(30):
        cv2.imwrite(str(folder / "train_images" / f"{number}.png"), picture(number))
        rows += [f"{number}.png,1,{rle.encode(mask)}"] if number % 2 else []
    for number in range(6):
        turn, image = (number + 1, picture(number)) if number < n_copies else (0, picture(900 + number))
        is_defective = number % 2 or number >= n_copies
        cv2.imwrite(
            str(folder / "test_images" / f"{number}.png"), np.ascontiguousarray(likeness.turned(image, turn))
        )
        turned_back = rle.encode(np.ascontiguousarray(likeness.turned(mask, turn)))
        truth += [f"{number}.png,1,{turned_back}"] if is_defective else []
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    (folder / "test_truth.csv").write_text("\n".join(truth) + "\n")
    (folder / "dataset.json").write_text(json.dumps({"classes": 1, "height": SIDE, "width": SIDE}))
    return folder


SAID = (
    "3 of 6 test images (50%) have a copy among the training images, turned or not. Looking their masks up scores 0.5000 "
    "without learning, predicting nothing 0.3333. A score on them also tells what was remembered."
)
ARGS = {"max_images": 0, "seed": 42, "duplicate_distance": 0.5}


def test_the_check_and_the_start_of_a_run_warn_of_test_images_that_are_copies(tmp_path, capsys):
    data = make_enough(tmp_path / "data")
    assert run_all.main(["--check", "--data", str(data), "--profile", "demo"]) == 0
    assert f"warning  {data / 'test_images'}: {SAID}\n0 errors, " in capsys.readouterr().out
    values = graph.DEFAULT_PROJECT.for_classes(1).values("demo", ())
    remarks, made = inputs.divide(values, ["05_shift", "10_binary"], data)
    assert SAID in capsys.readouterr().out and remarks[-1]["severity"] == "warning"
    stored = json.loads(made["copies.json"])
    assert (stored["images"], stored["copies"], stored["score"]) == (6, 3, pytest.approx(0.5))


def test_test_images_without_copies_are_nothing_to_remark(tmp_path):
    said = []
    assert copy_lookup.look(tmp_path, ARGS, make_enough(tmp_path / "data", 0), said.append) == said == []
    assert copy_lookup.read_copies(tmp_path / "copies.json")["copies"] == 0


def test_copies_are_looked_for_once_and_again_where_something_has_changed(tmp_path):
    data, file = make_enough(tmp_path / "data"), tmp_path / "copies.json"
    table, test = dataset.load_table(data), dataset.load_test_table(data)
    copy_lookup.load(tmp_path, table, test, data)
    content = read_json(file)
    write_json(file, content | {"copies": 77})
    assert copy_lookup.load(tmp_path, table, test, data)["copies"] == 77
    with_truth = dataset.load_truth(data, test)
    for known, changed in (
        ({"table": table}, table.assign(rle_1="1 1")),
        ({"test": with_truth}, with_truth.iloc[1:]),
    ):
        ((name, one),) = known.items()
        assert copy_lookup.read_copies(file, **known)["copies"] == 77
        assert copy_lookup.read_copies(file, **{name: changed}) is None and len(one) >= 6
    assert copy_lookup.load(tmp_path, table, test, data, 0.01)["copies"] == 3  # another distance
    write_json(file, content | {"copies": 77})
    (data / "test_truth.csv").unlink()
    found = copy_lookup.load(tmp_path, table, test, data)
    assert (found["copies"], found["score"], read_json(file) == found) == (3, None, True)
    file.write_text("[1]")
    assert copy_lookup.read_copies(file) is None and copy_lookup.read_copies(tmp_path / "none") is None


def test_it_is_said_where_copies_are_not_looked_for(tmp_path, monkeypatch):
    data, said = make_enough(tmp_path / "data"), []
    monkeypatch.setattr(copy_lookup, "MOST", 35)
    assert copy_lookup.look(tmp_path, ARGS, data, said.append) == []
    assert said == ["36 images are too many to look for copies before the run: 05_shift will"]
    monkeypatch.setattr(copy_lookup, "MOST", 36)
    (data / "test_images" / "5.png").write_bytes(b"no image")
    assert copy_lookup.look(tmp_path, ARGS, data, said.append) == []
    assert said[1].startswith("copies of training images are not looked for among the test images: ")
    assert not (tmp_path / "copies.json").exists()


@pytest.mark.parametrize("n_copies, beside", [(3, ", looking up copies 0.5000"), (0, "")])
def test_the_score_on_test_images_stands_beside_that_of_looking_up(tmp_path, capsys, n_copies, beside):
    """The last cell of 90_inference, for a submission without masks."""
    data = make_enough(tmp_path / "data", n_copies)
    table = dataset.load_test_table(data)
    copy_lookup.load(tmp_path, dataset.load_table(data), table, data)
    source, _ = cells_of(FOLDER / "90_inference.ipynb")[-1]
    known = {
        "folder": data,
        "table": table,
        "images": list(table["image_id"]),
        "run": tmp_path,
        "out": tmp_path,
    }
    known |= {
        "predicted": [[""]] * 6,
        "marked": [],
        "counts": [0],
        "report": [],
        "broken": {},
        "clock": Budget(0),
    }
    known |= {"scores": scores, "thresholds": SimpleNamespace(score="severstal")}
    exec(source, known | {"dataset": dataset, "copy_lookup": copy_lookup, "files": files})
    recorded = read_json(tmp_path / "metrics" / "90_inference.json")
    empty = (6 - len((data / "test_truth.csv").read_text().splitlines()) + 1) / 6
    assert (
        recorded["summary"]
        == f"0 of 6 strips with a mask, test score {empty:.4f}, all empty {empty:.4f}{beside}"
    )
    assert recorded["metrics"].get("test_lookup_baseline") == (0.5 if n_copies else None)
    assert (SAID.replace("the training images", "those that teach") in capsys.readouterr().out) == bool(
        n_copies
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
    assert read_json(tmp_path / "metrics" / "05_shift.json")["summary"].endswith(
        "; 67% of the test strips are copies of training strips"
    )
    assert "Warning: 2 of 3 test images (67%)" in (tmp_path / "05_shift.ipynb").read_text(encoding="utf-8")
