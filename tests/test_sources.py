"""Which run a notebook reads from and which it writes into, run by run_all.py and opened by hand; folders as
far as that looks."""

import os
from dataclasses import replace

import pytest

from lib import files, paths
from lib.errors import UserError
from lib.inference import sources
from lib.inference.postprocess import PostprocessConfig

CLASSES = 2
NAMES = paths.network_names(CLASSES)
SIMPLE = {"strategy": "both filters", "binary_threshold": 0.5, "label_thresholds": [0.5] * CLASSES, "pixel_thresholds": [0.5] * CLASSES,
          "minimum_areas": [0] * CLASSES}  # fmt: skip
FOUR = {name: value * 2 if isinstance(value, list) else value for name, value in SIMPLE.items()}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project without runs; what is called in it is called by hand."""
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    monkeypatch.setattr(paths, "KAGGLE_INPUT", tmp_path / "kaggle")
    monkeypatch.delenv(paths.RUN_VARIABLE, raising=False)
    return tmp_path / "runs"


def network(folder, name, age, split="split", weights=""):
    """A network's card, written so many hours ago."""
    path = folder / "models" / name / "model.json"
    files.write_json(path, {"split": split, "weights_sha256": weights or f"{folder.name} {name}"})
    os.utime(path, (10**9 - 3600 * age,) * 2)
    return path.parent


def finished(home, name, age, thresholds=True):
    """A finished run, its files written so many hours ago."""
    for each in NAMES:
        network(home / name, each, age)
    files.write_json(home / name / "run.json", {"run": name})
    if thresholds:
        hashes = {each: f"{name} {each}" for each in NAMES}
        files.write_json(home / name / "thresholds.json", SIMPLE | {"models": hashes})
        os.utime(home / name / "thresholds.json", (10**9 - 3600 * age,) * 2)
    return home / name


def folders(found):
    return {name: folder.parents[1].name for name, folder in found.items()}


def test_what_is_opened_by_hand_writes_aside(home, capsys):
    run = finished(home, "monday", 5)
    assert paths.open_run() == home / "interactive"
    assert capsys.readouterr().out == ""
    assert paths.open_run(str(run)) == paths.output_folder(str(run)) == home / "interactive"
    assert (
        f"{run} stays as it is: what this notebook writes goes to {home / 'interactive'}."
        in capsys.readouterr().out
    )
    (run / "run.json").rename(run / "run.previous.json")  # a state that was torn while it was written
    assert paths.open_run(run) == home / "interactive"
    assert paths.open_run("runs/monday") == home / "interactive"  # wherever the notebook lies
    assert set(folders(sources.networks_to_evaluate("runs/monday", CLASSES)).values()) == {"monday"}
    assert (
        paths.open_run(str(home / "prepared")) == home / "prepared"
    )  # --prepare leaves no run.json: it waits to be run by hand


def test_run_all_py_writes_into_its_run_and_into_no_other(home, monkeypatch):
    run, other = finished(home, "monday", 5), finished(home, "tuesday", 4)
    monkeypatch.setenv(paths.RUN_VARIABLE, str(run))
    assert paths.open_run(str(run)) == paths.output_folder(str(run)) == run
    assert paths.open_run(str(other)) == home / "interactive"
    (home / "link").symlink_to(run)
    monkeypatch.setenv(paths.RUN_VARIABLE, str(home / "link"))
    assert paths.open_run(str(run)) == run


def test_on_kaggle_predictions_go_to_the_working_folder(home, tmp_path, monkeypatch):
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    assert paths.output_folder() == tmp_path / "working"
    assert paths.output_folder(finished(home, "monday", 5)) == tmp_path / "working"


def test_the_newest_networks_are_evaluated_whatever_the_folders_times(home):
    old, new = finished(home, "zebra", 5), finished(home, "ant", 3)
    os.utime(old, (2 * 10**9,) * 2)
    assert set(folders(sources.networks_to_evaluate("", CLASSES)).values()) == {"ant"}
    assert set(folders(sources.networks_to_evaluate(str(old), CLASSES)).values()) == {"zebra"}
    (new / "models" / "seg_class2" / "model.json").unlink()  # not all of them
    assert set(folders(sources.networks_to_evaluate("", CLASSES)).values()) == {"zebra"}


def test_a_network_just_trained_by_hand_stands_in_for_the_runs(home, capsys):
    finished(home, "monday", 5)
    network(home / "interactive", "seg_class1", age=1)
    network(home / "interactive", "seg_class2", age=9)  # older than the run's
    network(home / "interactive", "multilabel", age=1, split="another")
    os.utime(home / "interactive", (0, 0))
    found = sources.networks_to_evaluate("", CLASSES)
    assert folders(found) == {
        "binary": "monday",
        "multilabel": "monday",
        "seg_class1": "interactive",
        "seg_class2": "monday",
    }
    assert "learned from another division of the images" in capsys.readouterr().out
    assert set(folders(sources.networks_to_evaluate(str(home / "monday"), CLASSES)).values()) == {"monday"}
    assert sources.origin(found, home / "monday").count("models") == 2
    assert sources.origin(sources.networks_to_evaluate(str(home / "monday"), CLASSES), home / "monday") == ""


def test_all_networks_trained_by_hand_are_the_newest_run(home):
    finished(home, "monday", 5)
    for name in NAMES:
        network(home / "interactive", name, age=1, split="another")
    os.utime(home / "interactive", (0, 0))
    assert set(folders(sources.networks_to_evaluate("", CLASSES)).values()) == {"interactive"}


def test_thresholds_are_used_with_the_networks_they_were_chosen_with(home):
    finished(home, "monday", 5)
    finished(home, "tuesday", 3)
    network(home / "interactive", "seg_class1", age=1)
    hashes = {name: f"monday {name}" for name in NAMES} | {"seg_class1": "interactive seg_class1"}
    files.write_json(home / "interactive" / "thresholds.json", SIMPLE | {"models": hashes})
    thresholds = sources.read_thresholds(home / "interactive")
    assert sources.find_thresholds("", CLASSES) == home / "interactive"
    found = sources.networks_of(home / "interactive", thresholds, CLASSES)
    assert folders(found) == {
        "binary": "monday",
        "multilabel": "monday",
        "seg_class1": "interactive",
        "seg_class2": "monday",
    }
    assert sources.find_thresholds(str(home / "monday"), CLASSES) == home / "monday"

    network(home / "interactive", "seg_class1", age=0, weights="trained once more")
    with pytest.raises(
        UserError, match=r"another network seg_class1 than there is now\. Run 40_evaluation again"
    ):
        sources.networks_of(home / "interactive", thresholds, CLASSES)


@pytest.mark.parametrize(
    "there",
    [{}, {"binary.2": "other"}, {"binary.2": "second", "binary.3": "third"}],
    ids=["gone", "other", "more"],
)
def test_thresholds_are_used_with_all_members_they_were_chosen_with(home, there):
    """A second training of an ensemble that is cut off leaves the first member, equal to the one before,
    alone."""
    run = finished(home, "monday", 5)
    thresholds = sources.read_thresholds(run)
    thresholds.models["binary.2"] = "second"
    network(run, "binary.2", 4, weights="second")
    assert sources.networks_of(run, thresholds, CLASSES)["binary"] == run / "models" / "binary"
    (run / "models" / "binary.2" / "model.json").unlink()
    (run / "models" / "binary.2").rmdir()
    for name, weights in there.items():
        network(run, name, 3, weights=weights)
    with pytest.raises(
        UserError, match=r"another network binary than there is now\. Run 40_evaluation again"
    ):
        sources.networks_of(run, thresholds, CLASSES)


def test_the_newest_thresholds_are_those_of_data_with_as_many_classes(home):
    finished(home, "monday", 5)
    files.write_json(home / "interactive" / "thresholds.json", FOUR)
    assert sources.find_thresholds("", CLASSES) == home / "monday"
    with pytest.raises(UserError, match="is for 4 classes and the data have 2"):
        sources.networks_of(home / "interactive", sources.read_thresholds(home / "interactive"), CLASSES)


def test_a_run_of_its_own_uses_its_own_networks_alone(home):
    run = finished(home, "monday", 5)
    twin = finished(home, "tuesday", 3)
    thresholds = sources.read_thresholds(run)
    network(run, "binary", age=0, weights="new")
    network(twin, "binary", age=0, weights="monday binary")
    with pytest.raises(UserError, match="another network binary"):
        sources.networks_of(run, thresholds, CLASSES)


def test_without_any_run_a_sentence(home):
    with pytest.raises(UserError, match=r"Run `python run_all\.py` or the training notebooks first"):
        sources.networks_to_evaluate("", CLASSES)
    with pytest.raises(UserError, match=r"has thresholds\.json"):
        sources.find_thresholds("", CLASSES)


def test_a_run_of_an_earlier_version_is_read_by_its_files_former_names(home):
    """Its thresholds may know of no smallest components: it dropped none."""
    run = finished(home, "monday", 5)
    (run / "thresholds.json").rename(run / "decision.json")
    assert sources.find_thresholds("", CLASSES) == sources.find_thresholds(str(run), CLASSES) == run
    thresholds = sources.read_thresholds(run)
    assert (thresholds.minimum_areas, thresholds.smallest_components, thresholds.tta) == (
        (0, 0),
        (0, 0),
        ("none",),
    )
    assert folders(sources.networks_of(run, thresholds, CLASSES)) == dict.fromkeys(NAMES, "monday")
    assert sources.file_in(run, sources.PREDICTIONS) == run / "predictions.npz"
    (run / "evidence.npz").touch()
    assert sources.file_in(run, sources.PREDICTIONS) == run / "evidence.npz"


def test_thresholds_survive_the_disk(tmp_path):
    chosen = PostprocessConfig(
        "both filters",
        0.5,
        (0.1, 0.2),
        (0.3, 0.4),
        (0, 75),
        (0, 10**9),
        ("none",),
        ("none", "random10"),
        "bfloat16",
        (6, 8),
        {"binary": "a"},
    )
    chosen.write(tmp_path / "thresholds.json")
    assert sources.read_thresholds(tmp_path) == chosen


def test_an_operating_point_stands_in_for_the_thresholds_of_the_score(tmp_path):
    chosen = PostprocessConfig("both filters", 0.5, (0.5,), (0.3,), (75,), (600,), shape=(6, 8), score="miou")
    point = {"strategy": "binary filter", "binary_threshold": 0.125, "label_thresholds": [0.0]}
    chosen.write(tmp_path / "thresholds.json", {"few": {**point, "asked_for": {"x": 1}, "achieved": {}}})
    assert sources.read_thresholds(tmp_path) == chosen
    moved = replace(chosen, strategy="binary filter", binary_threshold=0.125, label_thresholds=(0.0,))
    assert sources.read_thresholds(tmp_path, "few") == moved
    with pytest.raises(UserError, match=r"no operating point 'many'\. It has few\."):
        sources.read_thresholds(tmp_path, "many")
    chosen.write(tmp_path / "thresholds.json", {"few": point | {"binary_threshold": 2}})
    with pytest.raises(UserError, match=r"binary_threshold is 2, not a number from 0 to 1"):
        sources.read_thresholds(tmp_path, "few")
    chosen.write(tmp_path / "thresholds.json")
    with pytest.raises(UserError, match="It has none: run 40_evaluation with max_false_alarms or min_recall"):
        sources.read_thresholds(tmp_path, "few")


@pytest.mark.parametrize("change, sentence", [
    ({"strategy": "both"}, "strategy is 'both', not one of segment everything"),
    ({"binary_threshold": 1.5}, r"binary_threshold is 1\.5, not a number from 0 to 1"),
    ({"binary_threshold": True}, "binary_threshold is True, not a number from 0 to 1"),
    ({"label_thresholds": [0.5, "0.5"]}, "label_thresholds is .*, not a list of numbers from 0 to 1"),
    ({"minimum_areas": [0, 1.5]}, "minimum_areas is .*, not a list of whole numbers from 0"),
    ({"pixel_thresholds": [0.5]}, "2 classes in label_thresholds, 1 classes in pixel_thresholds"),
    ({"tta": "none"}, "tta is 'none', not a list of names"),
    ({"classifier_tta": [1]}, r"classifier_tta is \[1\], not a list of names"),
    ({"gates": []}, "has 'gates', which no thresholds have"),
    ({"models": ["binary"]}, "models is .*, not names with hashes"),
    (None, "has no strategy"),
])  # fmt: skip
def test_thresholds_that_cannot_be_are_told_by_their_entry(tmp_path, change, sentence):
    files.write_json(tmp_path / "thresholds.json", {} if change is None else SIMPLE | change)
    with pytest.raises(UserError, match=rf"thresholds\.json.*{sentence}.*Run 40_evaluation again\."):
        sources.read_thresholds(tmp_path)
