"""Runs compared: paired numbers with exact answers, what is refused, and the page, from run folders made by
hand."""

import json
import re
import shutil
from pathlib import Path

import browser
import cv2
import numpy as np
import pandas as pd
import pytest

from lib import files
from lib.data import grouping, rle
from lib.errors import UserError
from lib.evaluation import comparison, comparison_page, held_out, histories, scores, threshold_search
from lib.evaluation.held_out import HeldOut
from lib.evaluation.predictions import CascadePredictions
from lib.evaluation.records import write_evaluation
from lib.evaluation.scores import PairPixels
from lib.pipeline import compare, run_state
from lib.pipeline.run_state import NotebookTask, RunState, Status
from lib.report import comparison as report
from lib.report.links import comparisons_of

HOSTILE = "<img src=x onerror=alert(1)>&amp;$x$"


def run_of(dice, name="a", score=scores.SEVERSTAL, group=None, probability=None):
    """A run of (N, C) pairs with a defect of 100 pixels, and a mask of 100 that shares the Dice with it."""
    dice = np.array(dice, float)
    area = np.full(dice.shape, 100)
    pairs = PairPixels((dice * 100).astype(int), area, area)
    probability = np.full(len(dice), 0.5) if probability is None else np.array(probability)
    group = np.arange(len(dice)) if group is None else np.array(group)
    ids = np.array([f"{row}.jpg" for row in range(len(dice))])
    titles = [f"class {index + 1}" for index in range(dice.shape[1])]
    classes = np.repeat(probability[:, None], dice.shape[1], axis=1)
    return HeldOut(name, score, ids, group, pairs, probability, classes, probability >= 0.5, titles)


@pytest.mark.parametrize(
    "truth, probability, weights, expected",
    [
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], [1, 1, 1, 1], 0.75),
        ([0, 1], [0.5, 0.5], [1, 1], 0.5),
        ([0, 1, 0], [0.2, 0.5, 0.9], [1, 1, 3], 0.25),
        ([1, 1], [0.2, 0.5], [1, 1], np.nan),
        ([0, 1], [0.2, 0.5], [0, 1], np.nan),
    ],
)
def test_the_area_under_the_curve(truth, probability, weights, expected):
    weights = np.array([weights, np.ones(len(truth))], float)
    found = comparison.areas_under_curve(np.array(truth, bool), np.array(probability), weights)
    np.testing.assert_equal(found[0], expected)


def test_images_that_any_run_takes_for_near_duplicates_are_one_group():
    first, second = np.array([0, 0, 1, 2, 3]), np.array([5, 6, 6, 7, 8])
    assert grouping.joined_groups([first, second]).tolist() == [0, 0, 0, 1, 2]
    assert grouping.joined_groups([first, first]).tolist() == first.tolist()
    chain = np.arange(6) // 2, (np.arange(6) + 1) // 2  # each overlaps the next
    assert grouping.joined_groups(chain).tolist() == [0] * 6


def test_paired_differences_are_exact():
    runs = [
        run_of([[1, 0], [0.5, 0.5], [0, 0]], probability=[0.9, 0.2, 0.1]),
        run_of([[1, 0.5], [1, 1], [0.5, 0.5]], probability=[0.2, 0.2, 0.9]),
    ]
    found = {one.name: one for one in comparison.measures(runs)}
    score = found["competition score"]
    assert score.images == 3 and score.values == pytest.approx([2 / 6, 4.5 / 6])
    assert score.differences == pytest.approx([2.5 / 6])
    low, high = score.intervals[0]
    assert 0.25 <= low <= 2.5 / 6 <= high <= 0.5  # of the images' 0.25, 0.5 and 0.5
    assert found["Dice over positives, class 2"].differences == pytest.approx([0.5])
    assert found["score, class 1"].values == pytest.approx([0.5, 2.5 / 3])
    assert found["accuracy of the binary filter"].values == pytest.approx([1 / 3, 1 / 3])
    assert np.isnan(found["AUC of the binary classifier"].values).all()  # all are defective
    without = [runs[0], HeldOut(**{**vars(runs[1]), "passed": None})]
    assert "accuracy of the binary filter" not in {one.name for one in comparison.measures(without)}


@pytest.mark.parametrize("score", scores.TITLES)
def test_the_same_run_twice_differs_by_exactly_nothing(score):
    rng = np.random.default_rng(0)
    area = rng.integers(0, 3, (9, 2)) * 50
    predicted = rng.integers(0, 3, (9, 2)) * 40
    pairs = PairPixels(np.minimum(area, predicted), predicted, area)
    probability = rng.random(9)
    run = HeldOut(**{**vars(run_of(np.ones((9, 2)), score=score, probability=probability)), "pairs": pairs})
    for one in comparison.measures([run, run, run]):
        assert one.differences == [0.0, 0.0] and one.intervals == [(0.0, 0.0)] * 2, one.name
    assert comparison.changes([run, run], 5) == []
    assert comparison.best_of([run, run, run]).excess == 0.0


def test_the_best_of_equal_runs_owes_its_lead_to_the_picking():
    # A run's score is 0.5 and chance: 40 images of Dice 0 or 1, so a standard deviation of 0.079.
    gained, told = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        runs = [run_of(rng.integers(0, 2, (40, 1))) for _ in range(4)]
        best = comparison.best_of(runs)
        gained.append(best.value - 0.5)
        told.append(best.excess)
    assert np.mean(gained) == pytest.approx(1.03 * 0.079, rel=0.25)  # 1.03: of the largest of four normals
    assert np.mean(told) == pytest.approx(np.mean(gained), rel=0.35)


def test_the_best_that_is_better_everywhere_owes_nothing():
    runs = [run_of(np.full((20, 1), dice)) for dice in (0.25, 0.75, 0.5)]
    best = comparison.best_of(runs)
    assert (best.index, best.value) == (1, 0.75) and best.excess == pytest.approx(0, abs=1e-12)
    alone = comparison.best_of([run_of([[0.5]]), run_of([[0.75]]), run_of([[1]])])
    assert np.isnan(alone.excess)  # one image: every draw has it


def test_the_images_that_changed_most_come_first():
    runs = [run_of([[1, 1], [1, 0], [0.5, 0.5]]), run_of([[1, 1], [0, 0], [0.5, 0]])]
    found = comparison.changes(runs, 5)
    assert [(change.row, change.points) for change in found] == [(1, 0.5), (2, 0.25)]
    assert found[0].dice.tolist() == [[1, 0], [0, 0]]
    assert [change.row for change in comparison.changes(runs, 1)] == [1]


def test_only_the_images_that_all_held_out_count():
    first, second = run_of([[1], [0.5], [0]], "a"), run_of([[0.5], [1]], "b", group=[4, 4])
    second = HeldOut(**{**vars(second), "ids": np.array(["2.jpg", "1.jpg"])})
    common = held_out.in_common([first, second])
    assert [run.ids.tolist() for run in common] == [["1.jpg", "2.jpg"]] * 2
    assert common[0].pairs.dice.tolist() == [[0.5], [0]] and common[1].pairs.dice.tolist() == [[1], [0.5]]
    assert common[0].group.tolist() == [0, 0]  # near-duplicates for one of them


def changed(run, **values):
    return HeldOut(**{**vars(run), **values})


@pytest.mark.parametrize(
    "other, sentence",
    [
        (run_of([[1]], "b", score="miou"), "a is scored by severstal and b by miou"),
        (run_of([[1, 1]], "b"), "a has 1 classes and b 2"),
        (changed(run_of([[1]], "b"), ids=np.array(["z.jpg"])), "There is no image that all of a, b held out"),
        (
            changed(run_of([[1]], "b"), pairs=PairPixels(*np.array([[[1]], [[1]], [[1]]]))),
            "have other true masks",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(other, sentence):
    with pytest.raises(UserError, match=sentence):
        held_out.in_common([run_of([[1]], "a"), other])


PARAMETERS = {"cv_folds": 2, "seed": 0, "score": "severstal", "run_dir": "", "tta": ["none"]}


def make_run(runs, name, seed=0, parameters=(), data="0", **task):
    """A run's folder as 40_evaluation leaves it, but for its notebooks: eight images, two classes."""
    folder, rng = runs / name, np.random.default_rng(seed)
    parameters = {**PARAMETERS, **dict(parameters)}
    has = np.arange(16).reshape(8, 2) % 3 > 0
    true_area = has * 1000
    area = np.repeat((rng.random((8, 2)) < 0.7)[..., None, None] * 800, 1, axis=2)
    probability = rng.random((8, 2)).astype(np.float32)
    predictions = CascadePredictions(
        rng.random(8).astype(np.float32),
        probability,
        true_area,
        area,
        np.minimum(area, true_area[..., None, None]),
        np.array([0, 0, 1, 2, 3, 4, 5, 6]),
        (0.5,),
        (0,),
    )
    folder.mkdir(parents=True)
    predictions.save(folder / "predictions.npz")
    ids = [f"{row}.jpg" for row in range(8)]
    table = pd.DataFrame({"image_id": ["t.jpg", *ids], "part": ["train", *["held_out"] * 8]})
    table["group"], table["split_hash"] = [9, *predictions.group], "x"
    table.to_csv(folder / "split.csv", index=False)
    by_fold = threshold_search.fold_thresholds(predictions, "both filters", 2, 0, parameters["score"])
    pairs = threshold_search.cross_fitted_pixels(predictions, by_fold)
    classes = pd.DataFrame({"score": [0.0, 0.0]}, index=["class 1", "class 2"])
    thresholds = [vars(one) for _, one in by_fold]
    write_evaluation(folder / "evaluation.json", classes=classes, thresholds_by_fold=thresholds)
    score = scores.value(parameters["score"], pairs)
    recorded = {"competition_score": score, "competition_score_interval": [0.1, 0.9]}
    files.record_metrics(folder, "40_evaluation", "", **recorded)
    files.write_json(folder / "metrics.json", {"run": name, **recorded})
    entry = NotebookTask(status=Status.DONE, key="k", ran={"parameters": parameters, "data": data})
    for key, value in task.items():
        setattr(entry, key, value)
    state = RunState(
        "demo", "2026-01-01T00:00:00+00:00", {"folder": "gone", "sha256": data}, {"40_evaluation": entry}
    )
    state.run, state.parameters, state.code = name, {"40_evaluation": parameters}, "abc"
    run_state.write(folder, state)
    return folder


def test_what_a_run_held_out_is_read_from_its_files(tmp_path):
    folder = make_run(tmp_path, "a")
    run = held_out.read(folder, "a", PARAMETERS)
    assert run.ids.tolist() == [f"{row}.jpg" for row in range(8)] and run.titles == ["class 1", "class 2"]
    recorded = files.read_metrics(folder, "40_evaluation")[1]["competition_score"]
    assert scores.value(run.score, run.pairs) == recorded
    assert run.passed is not None and run.masks == {}
    split = pd.read_csv(folder / "split.csv").assign(part="train")  # nothing held out: every image
    split.iloc[1:].to_csv(folder / "split.csv", index=False)
    assert len(held_out.read(folder, "a", PARAMETERS).ids) == 8
    masks = {"0.jpg": ["1 3", ""]}
    files.write_json(
        folder / "evaluation.json", files.read_json(folder / "evaluation.json") | {"masks": masks}
    )
    assert held_out.read(folder, "a", PARAMETERS).masks == masks


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda folder: (folder / "predictions.npz").unlink(), "did not keep what runs are compared by"),
        (lambda folder: (folder / "predictions.npz").write_bytes(b"PK"), "did not keep what runs"),
        (lambda folder: files.write_json(folder / "evaluation.json", []), "did not keep what runs"),
        (lambda folder: (folder / "split.csv").unlink(), "split.csv of the run a is not that"),
        (
            lambda folder: files.record_metrics(folder, "40_evaluation", "", competition_score=2.0),
            "do not give the score that it recorded",
        ),
    ],
)
def test_a_run_whose_files_do_not_go_together_is_refused(tmp_path, spoil, sentence):
    folder = make_run(tmp_path, "a")
    spoil(folder)
    with pytest.raises(UserError, match=sentence):
        held_out.read(folder, "a", PARAMETERS)


def page_of(runs, *names):
    assert compare.compare(names, runs) == 0
    (page,) = (runs / "comparisons").glob("*.html")
    return page.read_text(encoding="utf-8"), json.loads(page.with_suffix(".json").read_text())


def test_the_page_names_what_differs_and_the_runs_link_to_it(tmp_path):
    make_run(tmp_path, "a")
    other = {"score": "severstal", "tta": ["none", "vertical"], "cv_folds": 2}
    make_run(tmp_path, "b", 0, other, key="another")
    before = {
        path: path.read_bytes() for name in "ab" for path in (tmp_path / name).rglob("*") if path.is_file()
    }
    page, numbers = page_of(tmp_path, "a", "b")
    assert numbers["differing"]["Parameters"] == {
        "tta in 40_evaluation": ["['none']", "['none', 'vertical']"]
    }
    assert "tta in 40_evaluation" in page and numbers["images"] == 8 and numbers["best"] == {}
    assert numbers["measures"][0]["differences"] == [[0.0, 0.0, 0.0]] and "No difference at all" in page
    assert {path: path.read_bytes() for path in before} == before  # only index.html is written anew
    assert comparisons_of(tmp_path / "a") == [("b", "../comparisons/a%2Bb.html")]
    assert 'href="../comparisons/a%2Bb.html">b</a>' in (tmp_path / "a" / "index.html").read_text()
    assert 'href="../a/index.html"' in page and "Made from the same" not in page


def test_three_runs_are_told_that_the_best_looks_better_than_it_is(tmp_path):
    for seed, name in enumerate("abc"):
        make_run(tmp_path, name, seed)
    page, numbers = page_of(tmp_path, "a", "b", "c")
    best = numbers["best"]
    assert best["value"] == max(numbers["measures"][0]["values"]) and best["excess"] > 0
    assert (
        "The best of several looks better than it is" in page
        and "best of 3 on" in page
        and f"expect {best['value'] - best['excess']:.4f}" in page
    )
    assert len(numbers["changed"]) > 1 and "The masks are not kept in a, b, c" in page


def test_the_same_run_twice_on_a_page(tmp_path):
    make_run(tmp_path, "a")
    page, numbers = page_of(tmp_path, "a", "a")
    assert "No difference at all" in page and "Made from the same in all runs: 40_evaluation" in page
    assert all(
        value in (0, None) for one in numbers["measures"] for each in one["differences"] for value in each
    )
    assert comparisons_of(tmp_path / "a") == [("itself", "../comparisons/a%2Ba.html")]


def test_hostile_names_are_inert(tmp_path):
    make_run(tmp_path, HOSTILE, parameters={"tta": [HOSTILE]})
    make_run(tmp_path, "b", parameters={HOSTILE: 1})
    page, _ = page_of(tmp_path, HOSTILE, "b")
    index = (tmp_path / "b" / "index.html").read_text()
    for text in (page, index):
        assert "<img src=x" not in text and "&lt;img src=x" in text
    assert (
        re.findall(r'href="(\.\./[^"]*)"', page)[0]
        == "../%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%26amp%3B%24x%24/index.html"
    )


@pytest.mark.parametrize(
    "names, sentence",
    [
        (["a"], "--compare takes 2 to 26 runs, and 1"),
        (["a", "none"], "there is no run none"),
        (["a", "ab"], r"there is no run ab; did you mean a\?"),
        (["a", "empty"], "holds no readable run.json"),
        (["a", "unfinished"], "has not finished 40_evaluation"),
        (["a", "stale"], "is outdated"),
        (["a", "data"], "only runs on the same data can be compared"),
        (["a", "miou"], "scored by severstal and miou by miou"),
        (["a", ""], "--compare is empty"),
    ],
)
def test_what_is_refused(tmp_path, names, sentence):
    make_run(tmp_path, "a")
    (tmp_path / "empty").mkdir()
    make_run(tmp_path, "unfinished", status=Status.FAILED)
    make_run(tmp_path, "stale", outdated=True)
    make_run(tmp_path, "data", data="1")
    make_run(tmp_path, "miou", parameters={"score": "miou"})
    with pytest.raises(UserError, match=sentence):
        compare.compare(names, tmp_path)
    assert not (tmp_path / "comparisons").exists()


def test_what_differs_is_told_once_for_all_notebooks_that_have_it():
    def state(seed, epochs):
        return {
            "parameters": {
                **{name: {"seed": seed, "run_dir": str(seed)} for name in ("10", "20", "30")},
                "31": {"seed": seed, "epochs": epochs, "augmentation": {"flips": "none", "shift": epochs}},
            },
            "versions": {"numpy": "2.0"},
        }

    assert report.differing([state(1, 2), state(1, 2)]) == {"Parameters": [], "Code, versions, machine": []}
    found = report.differing([state(1, 2), state(3, 4) | {"versions": {"numpy": "2.1"}}])
    assert found["Parameters"] == [
        ("seed in all 4 notebooks", ["1", "3"]),
        ("epochs in 31", ["2", "4"]),
        ("augmentation.shift in 31", ["2", "4"]),
    ]
    assert found["Code, versions, machine"] == [("versions.numpy", ["2.0", "2.1"])]


def test_curves_are_read_without_keras_and_those_alike_are_known(tmp_path):
    records = [{"epoch": 1, "loss": 0.5, "val_loss": 0.6}, {"epoch": 2, "loss": 0.4, "val_loss": 0.5}]
    for member in (0, 2, 10):
        path = tmp_path / "scratch" / "10_binary" / str(member) / "trained.npz"
        path.parent.mkdir(parents=True)
        header = {"training_hash": "x", "history": [{**records[0], "loss": member}, records[1]]}
        np.savez(path, np.array(json.dumps(header)), np.zeros(3))
    (tmp_path / "scratch" / "broken").mkdir()
    (tmp_path / "scratch" / "broken" / "trained.npz").write_bytes(b"PK\3\4")
    found = histories.read(tmp_path)
    assert list(found) == ["10_binary"] and [history["loss"][0] for history in found["10_binary"]] == [
        0,
        2,
        10,
    ]
    assert histories.alike([found["10_binary"]] * 3)
    assert not histories.alike([found["10_binary"], found["10_binary"][:1]])
    figure = report.curves_figure("10_binary", [found["10_binary"], []])
    assert [axes.get_title() for axes in figure.axes] == ["loss"]
    assert str(report.inside(figure, "curves")).startswith('<figure><img src="data:image/png;base64,')


def test_the_name_of_a_page():
    assert compare.file_name(["a", "b-1.x"]) == "a+b-1.x"
    assert compare.file_name(["<a>", "b"]) == "_a_+b"
    long = compare.file_name([f"{'x' * 40}{number}" for number in range(9)])
    assert len(long) <= 150 and "+9-runs-" in long and Path(long).name == long


@pytest.mark.slow
def test_a_run_of_the_project_is_compared_with_itself(whole_project, tmp_path):
    runs = Path(shutil.copytree(whole_project / "runs", tmp_path / "runs", symlinks=True))
    parameters = compare.parameters_of(compare.state_of(runs / "ID"))
    run = held_out.read(runs / "ID", "ID", parameters)
    kept = np.array([[rle.area(text) for text in run.masks[name]] for name in run.ids])
    assert (kept > 0).tolist() == (run.pairs.predicted_area > 0).tolist()  # 256 levels move an edge by little
    assert abs(kept - run.pairs.predicted_area).max() <= 0.05 * kept.max()
    page, numbers = page_of(runs, "ID", "latest")
    assert numbers["images"] == len(run.ids) and "No difference at all" in page
    assert "Trained the same way in all runs: 10_binary, 20_multilabel, 31_seg_class1" in page


def test_the_images_that_changed_most_are_shown_with_the_outlines_of_each_run(tmp_path):
    data, masks = tmp_path / "data", {}
    (data / "train_images").mkdir(parents=True)
    files.write_json(data / "dataset.json", {"classes": 2, "height": 32, "width": 64})
    for row in range(8):
        cv2.imwrite(str(data / "train_images" / f"{row}.jpg"), np.full((32, 64), 90, np.uint8))
        masks[f"{row}.jpg"] = ["1 5", ""]
    (data / "train.csv").write_text("ImageId,ClassId,EncodedPixels\n0.jpg,1,1 9\n")
    runs = []
    for seed, name in enumerate("ab"):
        folder = make_run(tmp_path / "runs", name, seed)
        content = files.read_json(folder / "evaluation.json") | {"masks": masks}
        files.write_json(folder / "evaluation.json", content)
        runs.append(held_out.read(folder, name, PARAMETERS))
    common = held_out.in_common(runs)
    closer = ["", "../b/explore.html"]
    shown, why = comparison_page.changed_images(common, ["gone", str(data)], closer)
    assert why == "" and len(shown) > 1
    for image in shown:
        link = f"../b/explore.html#{image.name}"
        assert [view[::2] for view in image.views] == [("truth", ""), ("run A", ""), ("run B", link)]
        assert all(view[1].startswith("data:image/jpeg;base64,") for view in image.views)
        assert re.fullmatch(r"Dice, class [12]: A \d\.\d\d, B \d\.\d\d", image.lines[0])
    many, _ = comparison_page.changed_images(common * 3, [str(data)])
    assert len(many[0].views) == 3  # of more than four runs the best and the worst
    shown, why = comparison_page.changed_images(common, ["gone"])
    assert why.startswith("The images are not where they were") and not any(image.views for image in shown)


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_runs_nothing_of_hostile_names_and_asks_for_nothing(tmp_path):
    make_run(tmp_path, HOSTILE, parameters={"tta": [HOSTILE]})
    make_run(tmp_path, "b", 1, parameters={HOSTILE: 1})
    page_of(tmp_path, HOSTILE, "b")
    (address,) = (tmp_path / "comparisons").glob("*.html")
    with browser.opened(address.as_uri(), tmp_path / "profile") as page:
        assert [one for one in page.asked if one != address.as_uri()] == [] and page.complaints == []
        assert (
            page.value("document.querySelector('h1').textContent")
            == "2 runs on the 8 images that all held out"
        )
        assert page.value("document.querySelectorAll('[onerror]').length") == 0
        page.value("document.querySelector('table a').click()")
        page.until("document.title.startsWith('Run ')")  # the link leads to the run's index
