"""A run for each value of a parameter: the grid, the names, what is taken over from other runs, and what runs."""

import importlib.util
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib import files
from lib.errors import UserError
from lib.pipeline import reuse, run_state, sweep
from lib.pipeline.products import hashes_of
from lib.pipeline.run_state import NotebookTask, RunState, Status

FIXTURES = Path(__file__).resolve().parent / "fixtures"
specification = importlib.util.spec_from_file_location("small_project", FIXTURES / "small_project.py")
small_project = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small_project)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("8,16, 32", ["8", "16", "32"]),
        ("[1, 2],[3]", ["[1, 2]", "[3]"]),
        ("{a: [1, 2], b: 3},{}", ["{a: [1, 2], b: 3}", "{}"]),
        ('["a, b"],"c, d",e', ['["a, b"]', '"c, d"', "e"]),
        ("'[',b", ["'['", "b"]),
        ("both filters,soft gating", ["both filters", "soft gating"]),
        ("1,", ["1", ""]),
    ],
)
def test_values_stand_between_commas_and_lists_are_one(text, expected):
    assert sweep.split_values(text) == expected


def test_a_grid_has_every_combination():
    assert sweep.combinations(["31.epochs=8,16", "40.score=miou,severstal"]) == [
        ["31.epochs=8", "40.score=miou"],
        ["31.epochs=8", "40.score=severstal"],
        ["31.epochs=16", "40.score=miou"],
        ["31.epochs=16", "40.score=severstal"],
    ]


@pytest.mark.parametrize(
    "text", ["31.epochs=8", "31.epochs", "31.epochs=8,8", "31.epochs=8,", "31.tta=[1, 2]"]
)
def test_what_is_no_sweep_is_refused(text):
    with pytest.raises(UserError, match="with two values or more, each once"):
        sweep.combinations([text])


def test_more_runs_than_a_page_compares_are_refused():
    with pytest.raises(UserError, match="would make 27 runs, and a page compares 26"):
        sweep.combinations(["31.epochs=" + ",".join(map(str, range(27)))])


def test_the_runs_are_called_by_their_values():
    assert sweep.run_names("a", [["31.epochs=8"], ["31.epochs=16"]]) == ["a-31.epochs-8", "a-31.epochs-16"]
    lists = [["40.tta=[none]", "all.seed=1"], ["40.tta=[none, vertical]", "all.seed=1"]]
    assert sweep.run_names("a", lists) == [
        "a-40.tta-_none_-all.seed-1",
        "a-40.tta-_none_vertical_-all.seed-1",
    ]
    assert sweep.run_names("a", [["x.y=[1]"], ["x.y=(1)"]]) == ["a-x.y-_1", "a-2"]  # the same letters
    assert sweep.run_names("a", [["x.y=" + "z" * 100]]) == ["a-1"]
    with pytest.raises(UserError, match="a run's name has letters"):
        sweep.run_names("a/b", [["x.y=1"]])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two strips in the competition's layout."""
    folder = tmp_path_factory.mktemp("strips")
    for part in ("train_images", "test_images"):
        (folder / part).mkdir()
        for name in ("a.jpg", "b.jpg"):
            cv2.imwrite(str(folder / part / name), np.full((256, 1600, 3), 90, np.uint8))
    (folder / "train.csv").write_text("ImageId,ClassId,EncodedPixels\na.jpg,3,1 5\n")
    return folder


@pytest.fixture
def call(tmp_path, data, capsys):
    """call("--run", "a", ...) runs the small project in this process: (exit code, what it printed)."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def inner(*arguments):
        code = small_project.call(tmp_path, *arguments, "--data", str(data), "--profile", "small")
        return code, "".join(capsys.readouterr())

    yield inner
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.slow
def test_every_run_of_a_sweep_runs_only_what_differs(tmp_path, call):
    code, printed = call("--run", "a", "--sweep", "20.factor=2,3,4")
    assert code == 0 and "Nothing is compared" in printed  # the small project evaluates nothing
    runs = [tmp_path / "runs" / f"a-20.factor-{factor}" for factor in (2, 3, 4)]
    states = [run_state.read(run) for run in runs]
    for run, state, factor in zip(runs, states, (2, 3, 4), strict=True):
        statuses = [state.notebooks[name].status for name in small_project.GRAPH]
        first = factor == 2
        assert statuses == [
            Status.DONE if first or name.startswith("20") else Status.CACHED for name in small_project.GRAPH
        ]
        assert (run / "runs_of_10.txt").exists() == first  # it was executed once, in the first run
        assert state.notebooks["20_reads_value"].summary == f"product {3 * factor}"
        assert state.parameters["20_reads_value"]["factor"] == factor
        assert (run / "10_writes_value.html").is_file() and (run / "index.html").is_file()
    notebooks = {(run / "10_writes_value.ipynb").stat().st_ino for run in runs}
    assert len(notebooks) == 3  # copies: who opens and saves one leaves the others
    assert (
        states[2].notebooks["10_writes_value"].product_hashes
        == states[0].notebooks["10_writes_value"].product_hashes
    )
    code, printed = call("--run", "a", "--sweep", "20.factor=2,3,4")
    assert code == 2 and "already holds a run. Add --resume" in printed
    shutil.rmtree(runs[1])  # cut off while it took over: a state in which all wait, and a file half copied
    states[1].notebooks = {name: NotebookTask() for name in small_project.GRAPH}
    run_state.write(runs[1], states[1])
    (runs[1] / "value.json").write_text("{")
    code, printed = call("--run", "a", "--resume", "--sweep", "20.factor=2,3")
    assert code == 0 and printed.count("cached: nothing that it is made from has changed") == 4 + 3
    assert run_state.read(runs[1]).notebooks["20_reads_value"].summary == "product 9"


def test_a_value_that_is_refused_is_refused_before_the_first_run(tmp_path, call):
    for options in (
        ["--sweep", "20.factor=2,x"],
        ["--sweep", "20.none=1,2"],
        ["--sweep", "20.factor=2,3", "--only", "20"],
    ):
        code, printed = call("--run", "a", *options)
        assert code == 2 and printed.startswith("error: "), printed
    code, printed = call("--run", "a", "--sweep", "20.factor=2,3", "-p", "20.factor=2")
    assert code == 2 and "is given twice" in printed
    assert not (tmp_path / "runs").exists()


def test_a_name_that_is_taken_is_refused_before_the_first_run(tmp_path, call):
    (tmp_path / "runs" / "a-20.factor-3").mkdir(parents=True)
    (tmp_path / "runs" / "a-20.factor-3" / "run.json").write_text("{}")
    code, printed = call("--run", "a", "--sweep", "20.factor=2,3")
    assert code == 2 and "a-20.factor-3 already holds a run. Add --resume" in printed
    code, printed = call("--resume", "--sweep", "20.factor=2,3")
    assert code == 2 and "needs the name that the sweep printed: --run NAME" in printed
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["a-20.factor-3"]


def test_what_another_run_has_changed_is_not_taken(tmp_path):
    project, donor = small_project.build(tmp_path), tmp_path / "runs" / "a"
    names = ["10_writes_value", "30_misbehaves"]
    for name in names:
        for file in project.outputs_of(name):
            files.write_json(donor / file, {"cells": []})
    done = {
        name: NotebookTask(Status.DONE, key="k", product_hashes=hashes_of(donor, project.outputs_of(name)))
        for name in names
    }
    run_state.write(donor, RunState("small", "2026-01-01", {}, done))
    (donor / "value.json").write_text("{}")  # after the run
    new, keys = tmp_path / "runs" / "b", dict.fromkeys(names, "k")
    waiting = {name: NotebookTask() for name in names}
    taken = reuse.take_over(project, waiting, keys, new)
    assert taken == waiting | {"30_misbehaves": done["30_misbehaves"]}
    assert not (new / "value.json").exists() and (new / "metrics" / "30_misbehaves.json").is_file()
    (donor / "30_misbehaves.html").write_text("<p>")  # a page can be made again
    assert reuse.take_over(project, waiting, keys, tmp_path / "runs" / "c") == taken
    done["30_misbehaves"].outdated = True
    run_state.write(donor, RunState("small", "2026-01-01", {}, done))
    assert (
        reuse.take_over(project, waiting, keys | {"10_writes_value": "l"}, tmp_path / "runs" / "d") == waiting
    )


def test_a_network_is_one_file_in_both_runs_and_a_notebook_two(tmp_path):
    for name in ("models/binary/model.json", "10_binary.ipynb"):
        source, target = tmp_path / "a" / name, tmp_path / "b" / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("1")
        reuse.put(source, target, can_link=name.startswith(reuse.REPLACED))
        assert target.read_text() == "1"
        assert os.path.samefile(source, target) == name.startswith("models")
