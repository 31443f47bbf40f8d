"""Going on with a run: what is outdated, what the record says, and that a run belongs to its data."""

import json
import os
import shutil
import subprocess

import pytest
from test_pipeline import EVERY, FIXTURES, call, data, small_project  # noqa: F401

from lib import paths
from lib.errors import UserError
from lib.pipeline import cache_key, executor, graph, inputs, params, profiles, resume, run, run_state, tasks
from lib.pipeline.run_state import NotebookTask, RunState, Status

CHAIN = {"10_writes_value": (), "20_reads_value": ("10_writes_value",), "40_follows": ("20_reads_value",)}


def flags(run_dir):
    """The notebooks that run.json calls outdated."""
    return [name for name, task in run_state.read(run_dir).notebooks.items() if task.outdated]


@pytest.fixture
def chain(monkeypatch):
    """Three notebooks of which each needs the one before; the second hands a score and a file on."""
    monkeypatch.setattr(small_project, "GRAPH", CHAIN)


def test_what_brings_outdated_notebooks_up_to_date_begins_with_what_failed():
    """Not with what nobody needs."""
    notebooks = {
        "00_eda": NotebookTask(),
        "10_binary": NotebookTask(Status.FAILED),
        "20_multilabel": NotebookTask(Status.DONE),
        "40_evaluation": NotebookTask(Status.DONE, outdated=True, needs=["10_binary", "20_multilabel"]),
        "90_inference": NotebookTask(Status.DONE, outdated=True, needs=["40_evaluation"]),
    }
    assert tasks.to_renew(notebooks, "40_evaluation", "90_inference") == [
        "10_binary",
        "40_evaluation",
        "90_inference",
    ]


@pytest.mark.slow
def test_a_part_that_runs_again_outdates_what_follows_and_the_record_says_what_was_done(
    tmp_path,
    call,  # noqa: F811
    chain,
    monkeypatch,
):
    run_dir = tmp_path / "runs" / "a"
    first = ("--profile", "small", "--run", "a", "--jobs", "1")
    monkeypatch.setattr(cache_key, "code_version", lambda: "first")
    assert call(*first)[0] == 0 and flags(run_dir) == []

    code, said = call("--run", "a", "--only", "10", "-p", "10.value=9")  # goes on without --resume
    assert code == 0 and flags(run_dir) == ["20_reads_value", "40_follows"]
    assert "score    6.0000, all-empty 0.5000 (of the state before: 20_reads_value is outdated)" in said
    assert "--resume --run a --only 20,40" in said
    assert f"Open {run_dir / 'index.html'}" in said
    assert "Score of the state before: 20_reads_value is outdated." in (run_dir / "index.html").read_text()

    before = (run_dir / "metrics" / "40_follows.json").stat().st_mtime_ns, (run_dir / "run.json").read_bytes()
    code, said = call("--run", "a", "--only", "40")
    assert (
        code == 2 and "40_follows needs 20_reads_value, which is outdated" in said and "--only 20,40" in said
    )
    assert before == (
        (run_dir / "metrics" / "40_follows.json").stat().st_mtime_ns,
        (run_dir / "run.json").read_bytes(),
    )

    monkeypatch.setattr(cache_key, "code_version", lambda: "second")
    versions = cache_key.versions()
    monkeypatch.setattr(cache_key, "versions", lambda packages=(): versions | {"numpy": "999"})
    code, said = call("--run", "a", "--only", "20", "-p", "10.value=77", "--jobs", "2")
    state = run_state.read(run_dir)
    assert code == 0 and flags(run_dir) == ["40_follows"] and "score    18.0000, all-empty 0.5000\n" in said
    assert state.parameters["10_writes_value"]["value"] == 9  # not the 77 that was asked for and not run
    assert state.code == "first, second" and state.versions["numpy"] == f"{versions['numpy']}, 999"
    ran = {
        name: (task.ran["code"], task.ran["versions"]["numpy"], task.ran["jobs"])
        for name, task in state.notebooks.items()
    }
    old = ("first", versions["numpy"], 1)
    assert ran == {"10_writes_value": old, "20_reads_value": ("second", "999", 2), "40_follows": old}
    text = (run_dir / "index.html").read_text()
    assert (
        "77" not in text.split("<h2>What the run was made from</h2>")[1].split("sha256")[0]
        and "first, second" in text
    )

    code, said = call("--resume")
    assert (
        code == 0
        and flags(run_dir) == []
        and run_state.read(run_dir).parameters["10_writes_value"]["value"] == 77
    )


def other_data(data, folder):  # noqa: F811
    """Another data set: one more test image."""
    shutil.copytree(data, folder)
    shutil.copy(folder / "test_images" / "a.jpg", folder / "test_images" / "c.jpg")
    return folder


@pytest.mark.slow
def test_a_run_belongs_to_its_data(tmp_path, data, capsys):  # noqa: F811
    own = shutil.copytree(data, tmp_path / "own")
    small = ("--profile", "small", "--run", "a")

    def said(*arguments):
        code = small_project.call(tmp_path, *arguments)
        return code, "".join(capsys.readouterr())

    assert said(*small, "--only", "10,20", "--data", str(own))[0] == 0
    run_dir = tmp_path / "runs" / "a"
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    new = other_data(data, tmp_path / "new")
    for arguments in (("--only", "20", "--run", "a"), ("--resume", "--run", "a")):
        code, text = said(*arguments, "--data", str(new))
        assert (
            code == 2
            and f"The run a is made from the data in {own}" in text
            and f"{new} holds others (2 training and 3 test" in text
        )
    shutil.copy(own / "test_images" / "a.jpg", own / "test_images" / "c.jpg")  # changed in place
    code, text = said("--run", "a", "--only", "20")
    assert (
        code == 2
        and "have changed since the run a was made from them (2 training and 2 test images then, 2 training and 3"
        in text
    )
    assert before == {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    moved = shutil.copytree(data, tmp_path / "moved")
    assert (
        said("--run", "a", "--only", "10,20", "--data", str(moved))[1].count("cached") == 2
    )  # the same data elsewhere
    (run_dir / inputs.FINDINGS).unlink()
    shutil.copy(moved / "test_images" / "a.jpg", moved / "test_images" / "c.jpg")
    code, text = said("--resume", "--run", "a")  # all of it: nothing is mixed
    assert code == 0 and text.count("started") == 4 and (run_dir / inputs.FINDINGS).is_file()


def finished_run(tmp_path, **changes):
    """The state of a finished run on strips that it made itself."""
    data = {"folder": str(tmp_path / "gone"), "why": resume.GENERATED, "sha256": "s"}  # noqa: F811
    parameters = {name: {"synthetic_sizes": [40, 8], "seed": 42} for name in graph.GRAPH}
    notebooks = {name: NotebookTask(Status.DONE) for name in graph.GRAPH}
    return RunState(
        **{"profile": "demo", "started": "", "data": data, "parameters": parameters, "notebooks": notebooks}
        | changes
    )


@pytest.mark.parametrize("key, text", [("synthetic_sizes", "[48, 8]"), ("seed", "7")])
def test_strips_that_would_be_others_are_another_run(tmp_path, key, text):
    def values(*overrides):
        return params.effective(
            graph.DEFAULT_PROJECT.declarations(),
            overrides=[("all", "synthetic_sizes", "[40, 8]"), *overrides],
        )

    resume.check_strips(finished_run(tmp_path), values())
    with pytest.raises(UserError, match=f"generated with {key} .* means others"):
        resume.check_strips(finished_run(tmp_path), values(("all", key, text)))
    named = finished_run(tmp_path)
    named.data["why"] = "named by --data"
    resume.check_strips(named, values(("all", key, text)))


def test_strips_of_a_run_that_are_gone_are_made_again(tmp_path):
    old = finished_run(tmp_path)
    assert resume.data_folder(old) == ""
    (tmp_path / "gone").mkdir()
    assert resume.data_folder(old) == str(tmp_path / "gone")
    old.data |= {"why": "named by --data", "folder": "/no/such"}
    assert resume.data_folder(old) == "/no/such"  # of which find_data will say that it is not there


def test_what_has_not_finished_anything_belongs_to_no_data(tmp_path):
    old = finished_run(tmp_path, notebooks={"10_binary": NotebookTask(Status.FAILED)})
    resume.check_data(old, {"sha256": "other"}, tmp_path, True, ["10_binary"], "a")


def tasks_of(tmp_path, only, made, used):
    """The tasks of the project as a run starts that was whole, with what 40 and 90 had found."""
    keys = dict.fromkeys(graph.GRAPH, "k")
    before = {
        name: NotebookTask(
            Status.DONE, key="k", product_hashes=made.get(name, {}), input_hashes=used.get(name, {})
        )
        for name in graph.GRAPH
    }
    selected = graph.DEFAULT_PROJECT.select(only, "")
    return tasks.begin(graph.DEFAULT_PROJECT, selected, keys, tmp_path, before, set())


def test_thresholds_of_other_networks_are_outdated_and_so_is_what_they_decided(tmp_path):
    card = "models/seg_class1/model.json"
    made = {name: dict.fromkeys(graph.PRODUCTS[name], "1") for name in graph.PRODUCTS}
    used = {
        name: tasks.input_hashes(
            graph.GRAPH[name],
            {need: NotebookTask(product_hashes=made.get(need, {})) for need in EVERY},
            graph.PRODUCTS,
        )
        for name in ("40_evaluation", "90_inference")
    }
    assert not any(task.outdated for task in tasks_of(tmp_path, "00", made, used).values())
    made["31_seg_class1"] = {card: "2"}
    assert [name for name, task in tasks_of(tmp_path, "00", made, used).items() if task.outdated] == EVERY[
        -2:
    ]
    with pytest.raises(UserError, match=r"90_inference needs 40_evaluation, which is outdated.*--only 40,90"):
        tasks_of(tmp_path, "90", made, used)
    tasks_of(tmp_path, "40,90", made, used)
    made["31_seg_class1"], made["05_shift"] = {card: "1"}, {"shift.csv": "2"}
    with pytest.raises(UserError, match="90_inference needs 40_evaluation, which is outdated"):
        tasks_of(tmp_path, "90", made, used)
    with pytest.raises(UserError, match="Add it: --only 31,40,90"):
        tasks_of(tmp_path, "31,90", {}, {})  # 31 runs, 40 does not


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_notebook_s_process_takes_no_more_of_a_graphics_card_than_it_needs(tmp_path, monkeypatch, jobs):
    started = {}
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    real = executor.subprocess.Popen

    def popen(command, **options):
        started.update(options["env"])
        return real(["true"], **options)

    with open(tmp_path / "lock", "w") as lock:
        place = executor.LocalExecutor(lock, jobs)
        monkeypatch.setattr(executor.subprocess, "Popen", popen)
        place.start(FIXTURES / "10_writes_value.ipynb", tmp_path, {}).process.wait(60)
    assert started["TF_FORCE_GPU_ALLOW_GROWTH"] == "true" and started["PATH"] == os.environ["PATH"]
    assert (
        started["TF_CPP_MIN_LOG_LEVEL"] == "3"
    )  # at 2, oneDNN's remarks on the processor stand in the segmenters' reports


def test_make_and_python_start_as_many_notebooks(monkeypatch, tmp_path):
    makefile = (paths.PROJECT / "Makefile").read_text()
    assert "run_all.py $(if $(JOBS),--jobs $(JOBS)) $(ARGS)" in makefile and "JOBS ?=\n" in makefile
    assert run.JOBS == 2


def test_a_number_means_the_notebook_that_has_it():
    names = ("31_seg_class1", "310_seg_class10", "311_seg_class11", "40_evaluation")
    assert profiles.resolve("31", names, "--only") == "31_seg_class1"
    assert profiles.resolve("310", names, "--only") == "310_seg_class10"
    assert profiles.parse_override("31.epochs=3", names) == ("31_seg_class1", "epochs", "3")
    with pytest.raises(UserError, match="'3' can be"):
        profiles.resolve("3", names, "--only")


@pytest.mark.parametrize("only", [",", " , ,", ", "])
def test_a_list_that_names_nothing_is_refused(call, only, tmp_path):  # noqa: F811
    code, said = call("--profile", "small", "--only", only)
    assert code == 2 and "it names no notebook" in said and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("option", ["--only", "--from", "--run", "--profile", "--prepare"])
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_value_is_not_taken_for_none_given(call, option, text, capsys):  # noqa: F811
    with pytest.raises(SystemExit) as ended:
        call(option, text)
    assert ended.value.code == 2 and f"{option} is empty" in capsys.readouterr().err


def test_an_older_state_is_read_under_the_names_of_today(tmp_path):
    same = {"code": "c", "versions": {"numpy": "1"}, "environment": {"OMP_NUM_THREADS": "1"}}
    finished = {"status": "kept", "headline": "in words", "made": {"a": "1"}, "used": {"b": "2"}, "key": "k"}
    old = {
        "notebooks": {"10_binary": finished, "90_inference": {"status": "failed"}},
        "profile": "demo",
        "started": "",
        **same,
    }
    old |= {"parameters": {"10_binary": {"epochs": 16}}, "data": {"sha256": "s"}}
    (tmp_path / "run.json").write_text(json.dumps(old))
    state = run_state.read(tmp_path)
    ran = {"parameters": {"epochs": 16}, **same, "jobs": 1, "data": "s"}
    assert state.notebooks["10_binary"] == NotebookTask(
        Status.CACHED,
        summary="in words",
        key="k",
        product_hashes={"a": "1"},
        input_hashes={"b": "2"},
        ran=ran,
    )
    assert state.notebooks["90_inference"].ran == {} == NotebookTask().ran
    run_state.write(tmp_path, state)
    assert run_state.read(tmp_path) == state and '"status": "cached"' in (tmp_path / "run.json").read_text()


@pytest.mark.parametrize("change", [
    {"seconds": "1"}, {"data": []}, {"profile": 1}, {"overrides": [["all", "seed"]]}, {"overrides": [["all", "seed", 1]]},
    {"overrides": [1]},
    {"notebooks": {"a": {}}}, {"notebooks": {"a": {"status": 1}}}, {"notebooks": {"a": {"status": "done", "made": []}}},
    {"parameters": []}, {"status": []},
])  # fmt: skip
def test_a_state_with_a_value_of_another_type_is_not_read(tmp_path, change):
    sound = {
        "notebooks": {"a": {"status": "other", "unknown": 1}},
        "profile": "demo",
        "started": "",
        "data": {},
        "unknown": 1,
    }
    (tmp_path / "run.json").write_text(json.dumps(sound))
    assert run_state.read(tmp_path).notebooks["a"] == NotebookTask()
    (tmp_path / "run.json").write_text(json.dumps(sound | change))
    assert run_state.read(tmp_path) is None


def test_the_recorded_commit_is_this_projects_and_not_that_of_a_repository_around_it(tmp_path, monkeypatch):
    around, project = tmp_path / "around", tmp_path / "around" / "steel"
    (project / "lib" / "pipeline").mkdir(parents=True)
    (project / "lib" / "pipeline" / "cache_key.py").write_text("x = 1")
    identity = ("-c", "user.name=x", "-c", "user.email=x")
    for arguments in (
        ("init", "-q"),
        (*identity, "commit", "-q", "--allow-empty", "-m", "another project's"),
    ):
        if shutil.which("git") is None or subprocess.run(["git", "-C", around, *arguments]).returncode:
            pytest.skip("no git")
    monkeypatch.setattr(cache_key, "PROJECT", project)
    monkeypatch.setattr(cache_key, "LIB", project / "lib")
    assert cache_key.code_version().startswith("source ")
    monkeypatch.setattr(cache_key, "PROJECT", tmp_path)
    monkeypatch.setenv("GIT_DIR", str(around / ".git"))
    assert cache_key.code_version().startswith("source ")
    subprocess.run(
        ["git", "-C", around, "add", "-A"], check=True, env={**os.environ, "GIT_DIR": str(around / ".git")}
    )
    subprocess.run(["git", "-C", around, *identity, "commit", "-q", "-m", "with it"], check=True)
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.setattr(cache_key, "PROJECT", project)
    assert not cache_key.code_version().startswith("source ")
