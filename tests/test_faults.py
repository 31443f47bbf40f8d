"""Runs that are killed and machines that fail, on the small project: what is printed, what stays, and that
--resume ends the same."""

import random
import shutil
import time
from pathlib import Path

import faults
import kills
import pytest
from test_pipeline import small_project

from lib import files
from lib.pipeline import graph, inputs, params, products, run_folder, run_state, tasks
from lib.pipeline.run_state import NotebookTask, RunState, Status


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return faults.make_data(tmp_path_factory.mktemp("data") / "strips")


@pytest.fixture(scope="module")
def expected(tmp_path_factory, data):
    """What an undisturbed run of two notebooks leaves."""
    return faults.undisturbed(tmp_path_factory.mktemp("whole"), data)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one(tmp_path, data, expected):
    begin = kills.beginner(
        [str(faults.SCRIPT), str(tmp_path)], "a", *faults.CHOICE, "--data", str(data), "--jobs", "2"
    )
    rows = kills.chain(begin, tmp_path / "runs" / "a", expected, 3.0, 5, random.Random(4))
    assert rows and not any(row.problems for row in rows), kills.report(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [case for case in faults.CASES if case.short], ids=lambda case: f"{case.fault}, {case.stage}"
)
def test_a_machine_that_fails(case, tmp_path, data, expected):
    ended = faults.play(case, tmp_path / "x", data, expected)
    if ended is None:
        pytest.skip("this fault cannot be made here")
    assert not faults.judge(case, ended)


def one_notebook(tmp_path, data, *arguments):
    """Run 10 and 20 of the small project; the lines that say what was done."""
    return small_project.call(
        tmp_path, *arguments, "--profile", "small", "--only", "10,20", "--run", "a", "--data", str(data)
    )


@pytest.mark.slow
def test_products_are_known_by_their_content(tmp_path, data, capsys):
    assert one_notebook(tmp_path, data) == 0
    run_dir = tmp_path / "runs" / "a"
    before = kills.finished(run_dir)
    capsys.readouterr()
    (run_dir / "value.json").write_text('{"value": 8}')  # not what 10 left there
    assert one_notebook(tmp_path, data, "--resume") == 0
    said, after = capsys.readouterr().out, kills.finished(run_dir)
    assert (
        "20_reads_value   cached" in said and after["20_reads_value"] == before["20_reads_value"]
    )  # 10 made the same again
    assert after["10_writes_value"] != before["10_writes_value"]
    state = run_state.read(run_dir)
    state.notebooks["20_reads_value"].input_hashes["10_writes_value"] = "something else"
    run_state.write(run_dir, state)
    assert one_notebook(tmp_path, data, "--resume") == 0
    said = capsys.readouterr().out
    assert "10_writes_value  cached" in said and "20_reads_value   started" in said


@pytest.mark.slow
def test_a_changed_parameter_of_one_segmenter_changes_it_and_what_follows():
    declarations = graph.DEFAULT_PROJECT.declarations()

    def keys(*overrides):
        values = params.effective(declarations, overrides=overrides)
        return tasks.keys_of(graph.DEFAULT_PROJECT, list(graph.GRAPH), values, {"sha256": "f"}, None)

    before, after = keys(), keys(("33_seg_class3", "epochs", "3"))
    assert [name for name in graph.GRAPH if before[name] != after[name]] == [
        "33_seg_class3",
        "40_evaluation",
        "90_inference",
    ]


def test_what_a_killed_command_was_writing_is_removed_and_a_run_without_a_state_starts_anew(tmp_path):
    project, run_dir = small_project.build(tmp_path), tmp_path / "runs" / "a"
    (run_dir / "models").mkdir(parents=True)
    killed = []  # contexts that never end
    for path in ("run.json", "models/binary"):
        killed += [files.replacing(run_dir / path), files.scratch(run_dir / path)]
        Path(killed[-2].__enter__()).write_text("{")
        (killed[-1].__enter__() / "model.json").write_text("{")
    theirs = ("mine.partial", ".mine.partial", "models/.mine.partial/x", "models/mine.abcd1234.partial")
    for name in theirs:
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_text("not made by a command")
    (run_dir / inputs.FINDINGS).write_text("")
    products.remove_partial(run_dir)
    left = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()}
    assert left == {inputs.FINDINGS, *theirs}
    shutil.rmtree(run_dir / "models")
    killed.append(files.replacing(run_dir / "run.json"))
    killed[-1].__enter__()
    run_folder.open_new("a", "small", project.runs)[1].close()


def test_strays_of_a_run_are_ended_and_no_others(tmp_path):
    import os
    import subprocess

    def begin(run_dir, notebook):
        return subprocess.Popen(
            ["sleep", "300"], env=dict(os.environ, STEEL_RUN=str(run_dir), STEEL_NOTEBOOK=notebook)
        )

    mine, other_notebook, other_run = (
        begin(tmp_path, "a"),
        begin(tmp_path, "b"),
        begin(tmp_path / "other", "a"),
    )
    try:
        products.end_strays(tmp_path, "a")
        mine.wait(10)
        assert other_notebook.poll() is None and other_run.poll() is None
        products.end_strays(tmp_path)
        other_notebook.wait(10)
        assert other_run.poll() is None
    finally:
        for process in (mine, other_notebook, other_run):
            process.kill()
            process.wait()


def test_a_clock_that_jumps_back_hides_no_run(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    for name, started in (("first", "2030-01-01T00:00:00+00:00"), ("second", "2020-01-01T00:00:00+00:00")):
        (runs / name).mkdir(parents=True)
        run_state.write(runs / name, RunState("small", started, {}, {}))
        run_folder.point_latest(runs, name)
    assert run_folder.latest_run(runs).name == "second"
    monkeypatch.setattr(time, "gmtime", lambda: (2020, 1, 1, 0, 0, 0, 2, 1, 0))
    first = run_folder.new_folder("demo", runs)
    assert first.is_dir() and run_folder.new_folder("demo", runs) == runs / f"{first.name}-2"


def test_what_stood_before_is_outdated_when_what_it_needs_fails():
    entries = {"a": NotebookTask(Status.FAILED), "b": NotebookTask(Status.CACHED), "c": NotebookTask()}
    tasks.block(entries, ["a", "b", "c"], {"a": (), "b": ("a",), "c": ("a",)})
    assert entries["b"] == NotebookTask(Status.CACHED, outdated=True)
    assert entries["c"].status == "blocked"


def test_runs_are_compared_by_all_their_figures_but_not_by_measured_times(tmp_path):
    """A kill is survived where nothing but the clock differs; one figure in the last digit is another
    result."""

    def run(name, score, milliseconds):
        folder = tmp_path / name
        metrics = {"score": score, "strategy_milliseconds": {"both filters": milliseconds}}
        files.write_json(folder / "metrics" / "40_evaluation.json", {"summary": "x", "metrics": metrics})
        files.write_json(folder / "metrics.json", {"run": name, **metrics})
        return kills.results(folder)

    assert run("a", 0.5, 20.1) == run("b", 0.5, 31.7)
    assert run("c", 0.5000000000000001, 20.1) != run("a", 0.5, 20.1)
