"""Runs of the small project beside the fixtures: what is run, cached, blocked, stopped, and what is
printed."""

import ast
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from lib import paths
from lib.errors import LONGEST, MEMORY, UserError, process_end, shorten, with_remedy
from lib.pipeline import (
    cache_key,
    executor,
    graph,
    inputs,
    params,
    processes,
    products,
    progress,
    run_folder,
    run_state,
    scheduler,
    tasks,
)
from lib.pipeline.run import score_in_words
from lib.report.cells import cut
from lib.report.pages import write_index

FIXTURES = Path(__file__).resolve().parent / "fixtures"
specification = importlib.util.spec_from_file_location("small_project", FIXTURES / "small_project.py")
small_project = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small_project)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Two strips in the competition's layout."""
    folder = tmp_path_factory.mktemp("strips")
    for part in ("train_images", "test_images"):
        (folder / part).mkdir()
        for name in ("a.jpg", "b.jpg"):
            cv2.imwrite(str(folder / part / name), np.full((256, 1600, 3), 90, np.uint8))
    (folder / "train.csv").write_text("ImageId,ClassId,EncodedPixels\na.jpg,3,1 5\n")
    (folder / "sample_submission.csv").write_text(
        "ImageId,EncodedPixels,ClassId\na.jpg,1 409600,1\nb.jpg,1 409600,1\n"
    )
    return folder


@pytest.fixture
def call(tmp_path, data, capsys, monkeypatch):
    """call("--only", "10", ...) runs the small project in this process: (exit code, what it printed)."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def inner(*arguments):
        code = small_project.call(tmp_path, *arguments, "--data", str(data))
        return code, "".join(capsys.readouterr())

    yield inner
    for number, handler in handlers.items():
        signal.signal(number, handler)


def begin(tmp_path, data, *arguments):
    """Start the small project as a command of its own."""
    command = [
        sys.executable,
        str(FIXTURES / "small_project.py"),
        str(tmp_path),
        "--data",
        str(data),
        *arguments,
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for(condition, seconds=240.0):
    """The first true value of `condition`, or a failure."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("not reached in time")


def alive(pids):
    return [
        pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]


def statuses(run_dir):
    return {name: task.status for name, task in run_state.read(run_dir).notebooks.items()}


def executions(run_dir):
    """What 10_writes_value wrote down, one line an execution."""
    return (run_dir / "runs_of_10.txt").read_text().splitlines()


def test_the_end_of_a_run_names_the_score_and_its_baselines():
    assert score_in_words({"competition_score": 0.5}) == "0.5000"
    named = {"competition_score": 0.61, "all_empty_score": 0.3, "scored_by": "positives_and_empties"}
    assert score_in_words(named) == "0.6100 (positives_and_empties), all-empty 0.3000"
    beside = named | {"scored_by": "severstal", "lookup_baseline": 0.7}
    assert score_in_words(beside) == "0.6100, all-empty 0.3000, looking up copies 0.7000"


def test_a_run_a_resume_and_what_changes_run_again(tmp_path, call):
    run_dir = tmp_path / "runs" / "a"
    code, said = call("--profile", "small", "--run", "a", "-p", "10.value=4")
    assert code == 0
    assert said.startswith("profile  small, named by --profile")
    assert "product 8" in said and "score    8.0000, all-empty 0.5000" in said and "(4 of 4)" in said
    assert statuses(run_dir) == dict.fromkeys(small_project.GRAPH, "done")
    assert run_folder.latest_run(tmp_path / "runs") == run_dir
    assert json.loads((run_dir / "metrics.json").read_text()) == {
        "run": "a",
        "written": 4,
        "competition_score": 8,
        "all_empty_score": 0.5,
        "behaved": 1,
        "followed": 1,
    }
    for name in small_project.GRAPH:
        assert (run_dir / f"{name}.html").stat().st_size and (run_dir / f"{name}.ipynb").stat().st_size
    assert (run_dir / "index.html").is_file()
    assert not list(run_dir.glob(".*.ipynb"))
    state = run_state.read(run_dir)
    assert state.status == "done" and state.parameters["10_writes_value"]["value"] == 4
    assert state.notebooks["20_reads_value"].summary == "product 8"

    code, said = call("--resume")
    assert (code, said.count("cached"), said.count("started")) == (0, 4, 0)
    assert set(statuses(run_dir).values()) == {"cached"}

    code, said = call(
        "--resume", "--run", "a", "-p", "10.title=new"
    )  # the value 4 of the first command stays
    assert (code, said.count("cached"), said.count("started")) == (0, 2, 2)
    assert executions(run_dir) == ["4 float 0.5 from the profile", "4 float 0.5 new"]
    assert list(statuses(run_dir).values()) == ["done", "done", "cached", "cached"]

    (run_dir / "value.json").unlink()  # a product that is gone is made again
    code, said = call("--resume", "--only", "10")
    assert code == 0 and len(executions(run_dir)) == 3
    assert run_state.read(run_dir).notebooks["20_reads_value"].outdated is True


@pytest.mark.slow
def test_a_failure_blocks_what_needs_it_and_nothing_else(tmp_path, call):
    code, said = call("--profile", "small", "--run", "a", "-p", "30.how=raise", "--jobs", "2")
    assert code == 1
    assert "30_misbehaves    FAILED" in said and "KeyError: 'no such key' (code cell 4)" in said
    assert "40_follows       not run, because it needs 30_misbehaves" in said
    assert "Traceback" not in said
    run_dir = tmp_path / "runs" / "a"
    assert list(statuses(run_dir).values()) == ["done", "done", "failed", "blocked"]
    assert (run_dir / "30_misbehaves.html").is_file() and not (run_dir / "40_follows.html").exists()
    assert "behaved" not in json.loads((run_dir / "metrics.json").read_text())
    code, said = call("--resume", "-p", "30.how=well")
    assert (code, said.count("cached"), said.count("started")) == (0, 2, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how, said",
    [
        ("exit", "Code cell 4 left the notebook early (SystemExit 0)."),
        ("kill", "The kernel died in code cell 4: killed, or out of memory. " + MEMORY),
        ("refuse", "The strip a.jpg is upside down. Turn it."),
    ],
)
def test_what_papermill_takes_for_success_is_a_failure(tmp_path, call, how, said):
    code, printed = call("--profile", "small", "--run", "a", "--only", "30", "-p", f"30.how={how}")
    assert code == 1
    run_dir = tmp_path / "runs" / "a"
    task = run_state.read(run_dir).notebooks["30_misbehaves"]
    assert (task.status, task.error, task.key) == ("failed", said, "")
    assert said in printed
    assert (run_dir / "30_misbehaves.html").is_file()
    cells = json.loads((run_dir / "30_misbehaves.ipynb").read_text())["cells"]
    assert any("papermill-error-cell-tag" in cell["metadata"]["tags"] for cell in cells)


@pytest.mark.parametrize(
    "error, remedy",
    [
        ("ZMQError: Too many open files", "ulimit -n 4096"),
        ("OSError: [Errno 24] Too many open files: 'a.jpg' (code cell 4)", "ulimit -n 4096"),
        ("OSError: [Errno 12] Cannot allocate memory", "fewer --jobs"),
        ("MemoryError in code cell 3", "fewer --jobs"),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB", "fewer --jobs"),
        (
            "ResourceExhaustedError: Graph execution error: OOM when allocating tensor",
            "a smaller batch_size or --jobs 1",
        ),
        ("OSError: [Errno 28] No space left on device (code cell 2)", "make room"),
        ("RuntimeError: can't start new thread", "ulimit -u"),
        ("BlockingIOError: [Errno 11] Resource temporarily unavailable", "ulimit -u"),
        ("RuntimeError: Kernel died before replying to kernel_info", "did not answer in time"),
        ("ModuleNotFoundError: No module named 'keras' (code cell 2)", "pip install -r requirements.txt"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", "make it writable"),
        ("OSError: [Errno 5] Input/output error", "network drive"),
        ("OSError: [Errno 27] File too large (code cell 2)", "ulimit -f unlimited"),
    ],
)
def test_what_the_machine_lacks_is_told_with_its_remedy(error, remedy):
    told = with_remedy(error)
    assert told.startswith(error.rstrip(".")) and remedy in told and with_remedy(told) == told
    assert with_remedy("ValueError: 240 (code cell 2)") == "ValueError: 240 (code cell 2)"
    assert "ulimit -f unlimited" in process_end(-25, "")  # SIGXFSZ


@pytest.mark.slow
@pytest.mark.parametrize("hard, ended", [(60, "Too many files are open at once"), (500, "value 3")])
def test_few_open_files_are_raised_or_named(tmp_path, data, hard, ended):
    resource = pytest.importorskip("resource")

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 70), hard))

    command = [
        sys.executable,
        str(FIXTURES / "small_project.py"),
        str(tmp_path),
        "--data",
        str(data),
        "--profile",
        "small",
        "--only",
        "10",
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, preexec_fn=few)
    assert (
        ended in said.stdout
        and said.returncode == (hard < 80)
        and "Traceback" not in said.stdout + said.stderr
    )


@pytest.mark.slow
def test_a_long_error_ends_the_notebook_and_is_told_short(tmp_path, call):
    code, said = call("--profile", "small", "--run", "a", "--only", "10,30", "-p", "30.how=shout")
    run_dir = tmp_path / "runs" / "a"
    task = run_state.read(run_dir).notebooks["30_misbehaves"]
    assert code == 1 and task.status == "failed"
    assert task.error.startswith("ValueError: begin xxx") and task.error.endswith("x end (code cell 4)")
    assert "(200,0" in task.error and len(task.error) <= LONGEST and len(said) < 3000
    pages = [(run_dir / name).stat().st_size for name in ("index.html", "30_misbehaves.html", "run.json")]
    assert max(pages) < 150_000


def test_what_a_process_says_is_read_while_it_runs():
    script = "import sys; [sys.stdout.write('o' * 99 + chr(10)) for _ in range(20_000)]; sys.stderr.write('e' * 10**6 + 'END')"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=-1, stderr=-1)
    said, errors = processes.Tail(process.stdout), processes.Tail(process.stderr)
    assert process.wait(60) == 0
    assert errors.text(60).endswith("eEND") and len(errors.text()) == len(said.text(60)) == processes.TAIL


def test_texts_are_cut_where_they_are_long():
    assert shorten("a\n b\tc") == "a b c"
    assert shorten("x" * 600) == "x" * 600
    short = shorten("begin" + "x" * 1000 + "end")
    assert (
        len(short) == 600
        and short.startswith("beginx")
        and short.endswith("xend")
        and "(1,008 characters in all)" in short
    )
    assert cut("ab\n" * 3, 9) == "ab\n" * 3
    assert cut("0123456789", 4) == "01\n[... 6 characters left out ...]\n89"


def test_long_metrics_and_summaries_are_short_on_the_index(tmp_path):
    (tmp_path / "metrics").mkdir()
    content = {"summary": "h" * 100_000, "metrics": {"text": "t" * 100_000, "some": ["u" * 100_000]}}
    (tmp_path / "metrics" / "a.json").write_text(json.dumps(content))
    entry = {"status": "done", "summary": "h" * 100_000, "error": "e" * 100_000}
    (tmp_path / "run.json").write_text(
        json.dumps({"notebooks": {"a": entry}, "parameters": {"a": {"p": "q" * 100_000}}})
    )
    write_index(tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert all(letter * 40 in text and letter * 1000 not in text for letter in "htueq")


def test_a_missing_product_is_a_failure(tmp_path, data):
    process = subprocess.Popen(
        [sys.executable, "-c", 'print(\'{"ok": true, "error": ""}\')'], stdin=-1, stdout=-1
    )
    job = executor.LocalJob(
        "x", tmp_path, process, process.stdin, processes.Tail(process.stdout), processes.Tail(io.BytesIO())
    )
    process.wait(60)
    place = executor.LocalExecutor(None, 1)
    project = replace(
        graph.DEFAULT_PROJECT, runs=tmp_path, graph={"x": ()}, products={"x": ("models/x/model.json",)}
    )
    task = run_state.NotebookTask(started_key="k")
    state = run_state.RunState("small", "", {}, {"x": task}, run="a")
    running = scheduler.Scheduler(project, tmp_path, state, ["x"], {}, {"jobs": 1}, {}, place)
    running.jobs["x"], running.begun["x"] = job, time.monotonic()
    running.finish("x", place.poll(job))
    assert (task.status, task.error) == ("failed", "It ended without writing models/x/model.json.")


class Elsewhere:
    """An executor without processes: a job is done at the second look, and `failing` fails."""

    def __init__(self, failing=""):
        self.failing, self.calls = failing, []

    def start(self, notebook, run_dir, parameters, member=0):
        self.calls.append((notebook.stem, parameters))
        (run_dir / f"{notebook.stem}.txt").write_text("")
        return [notebook.stem]

    def poll(self, job):
        job.append("look")
        return (
            executor.Result(job[0] != self.failing, "bad" if job[0] == self.failing else "")
            if len(job) > 2
            else None
        )

    def stop(self, job):
        self.calls.append(("stop", job[0]))


def elsewhere(tmp_path, place):
    """Two notebooks, of which b needs a, ran by an executor; the run's state."""
    project = graph.Project(
        tmp_path, tmp_path, tmp_path, {"a": (), "b": ("a",)}, {"a": ("a.txt",), "b": ("b.txt",)}
    )
    (tmp_path / "x").mkdir()
    state = run_state.RunState(
        "small", "", {}, {"a": run_state.NotebookTask(), "b": run_state.NotebookTask()}, run="x"
    )
    settings = {
        "parameters": {"a": {"k": 1, "same": 0}, "b": {}},
        "code": "",
        "versions": {},
        "environment": {},
        "jobs": 2,
        "data": "",
    }
    declared = {"a": {key: params.Parameter(0, ast.Name("int")) for key in ("k", "same")}, "b": {}}
    scheduler.Scheduler(
        project, tmp_path / "x", state, ["a", "b"], {"a": "1", "b": "2"}, settings, declared, place
    ).run()
    return run_state.read(tmp_path / "x")


@pytest.mark.parametrize(
    "failing, statuses, started", [("", ["done", "done"], ["a", "b"]), ("a", ["failed", "blocked"], ["a"])]
)
def test_notebooks_can_run_in_another_place(tmp_path, failing, statuses, started):
    place = Elsewhere(failing)
    state = elsewhere(tmp_path, place)
    assert [task.status for task in state.notebooks.values()] == statuses and state.status == statuses[0]
    assert [name for name, _ in place.calls] == started and place.calls[0] == ("a", {"k": 1})
    assert [task.key for task in state.notebooks.values()] == ["" if failing else key for key in "12"]


def test_what_runs_in_another_place_is_stopped_with_the_command(tmp_path, monkeypatch):
    place = Elsewhere()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(place, "poll", lambda job: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        elsewhere(tmp_path, place)
    state = run_state.read(tmp_path / "x")
    assert (
        place.calls[-1] == ("stop", "a")
        and state.status == "stopped"
        and state.notebooks["a"].status == "waiting"
    )


COMMANDS = ("--list",), ("--prepare", "small"), ("--check",)


@pytest.mark.parametrize("how", [(), ("--only", "10"), ("--resume",)])
def test_a_run_cannot_be_called_as_a_file_that_is_there(tmp_path, call, how):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "README.md").write_text("")
    code, printed = call("--profile", "small", "--run", "README.md", *how)
    assert code == 2 and "Traceback" not in printed and "File exists" not in printed
    assert ("README.md is there and no folder. Choose another name." in printed) or (
        "There is no run README.md" in printed and how
    )


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ("-p", "10.valeu=3"),
            "error: -p 10_writes_value.valeu: 10_writes_value has no parameter 'valeu'; did you mean value?",
        ),
        (("-p", "10.value=three"), "error: -p 10_writes_value.value is 'three', not a whole number"),
        (("--profile", "smal"), "error: There is no profile 'smal'; did you mean small?"),
        (("--only", "50"), "error: --only: there is no notebook '50'"),
        (("--only", "20"), "error: 20_reads_value needs 10_writes_value"),
        (("--only", "10", "--from", "20"), "error: --only and --from exclude each other."),
        (("--resume",), "error: There is no run in"),
        (("--resume", "--run", "nothing"), "error: There is no run nothing"),
        (("--run", "../outside"), "error: --run ../outside: a run's name has letters"),
        (("--jobs", "0"), "error: --jobs 0"),
        *(
            ((*command, "--profile", "smal"), "error: There is no profile 'smal'; did you mean small?")
            for command in COMMANDS
        ),
        *(((*command, "--only", "50"), "error: --only: there is no notebook '50'") for command in COMMANDS),
        *(
            ((*command, "-p", "10.valeu=3"), "10_writes_value has no parameter 'valeu'; did you mean value?")
            for command in COMMANDS
        ),
    ],
)
def test_bad_usage_stops_before_the_first_cell(tmp_path, call, arguments, said):
    code, printed = call(*(() if "--profile" in arguments else ("--profile", "small")), *arguments)
    assert code == 2
    assert said in printed and "Traceback" not in printed and "started" not in printed
    assert not list(tmp_path.rglob("run.json")) and not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "first, second, said",
    [
        ([40, 8], [48, 8], "differs between notebooks"),
        ([40], [40], "two whole numbers"),
        ([40, 0], [40, 0], "two whole numbers"),
    ],
)
def test_numbers_of_strips_that_make_no_sense(first, second, said):
    values = {
        name: {"synthetic_sizes": params.Value(given, "-p"), "seed": params.Value(1, "notebook")}
        for name, given in (("10_binary", first), ("40_evaluation", second))
    }
    with pytest.raises(UserError, match=said):
        inputs.make_data(values)


def test_what_is_known_at_once_is_said_before_the_data_are_looked_at(tmp_path, call, monkeypatch):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "run.json").write_text("{")
    for name in ("make_data", "validate_data"):
        monkeypatch.setattr(inputs, name, lambda *_: pytest.fail("images are made or looked at"))
    for words, said in {
        ("--run", "a"): "already holds a run",
        ("--run", "a b"): "a run's name has letters",
        ("--run", "latest"): "this name is taken",
        ("--only", "20"): "20_reads_value needs 10_writes_value",
        ("--from", "40"): "40_follows needs 30_misbehaves",
    }.items():
        code, printed = call("--profile", "small", *words)
        assert code == 2 and said in printed, words
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a"]  # no folder of a run that never was


def test_a_run_is_not_overwritten(tmp_path, call):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "run.json").write_text("{}")
    code, printed = call("--profile", "small", "--run", "a")
    assert (
        code == 2
        and "already holds a run. Add --resume to go on with it, or choose another --run." in printed
    )


def begin_waiting(tmp_path, data):
    """A run `a` whose notebook 30 waits: the command, and the numbers of the processes that wait in it."""
    options = "--profile small --run a --only 30,10 -p 30.how=wait --jobs 1"
    command, waiting = begin(tmp_path, data, *options.split()), tmp_path / "runs" / "a" / "waiting"
    pids = wait_for(lambda: waiting.is_file() and waiting.read_text())
    return command, [int(pid) for pid in pids.split()]


@pytest.mark.slow
@pytest.mark.windows
@pytest.mark.parametrize("how, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_leaves_no_process_and_resume_goes_on(tmp_path, data, how, code):
    run_dir = tmp_path / "runs" / "a"
    command, pids = begin_waiting(tmp_path, data)
    assert alive(pids) == pids
    command.send_signal(how)
    said, _ = command.communicate(
        timeout=240
    )  # half a second where nothing else runs; the cell would sleep for 300
    assert command.returncode == code
    wait_for(lambda: not alive(pids))
    assert "stopped. Go on with: python run_all.py --resume --run a" in said and "Traceback" not in said
    assert run_state.read(run_dir).status == "stopped"
    assert list(statuses(run_dir).values()) == ["done", "waiting", "waiting", "waiting"]
    assert not list(run_dir.glob(".*.ipynb"))


@pytest.mark.slow
@pytest.mark.windows
def test_a_killed_command_and_its_successor(tmp_path, data, call):
    run_dir = tmp_path / "runs" / "a"
    command, pids = begin_waiting(tmp_path, data)
    code, printed = call("--resume")
    assert code == 2 and f"Another command (process {command.pid}) writes into the run a." in printed
    command.kill()
    command.wait()
    assert run_state.read(run_dir).status == "running"
    code, printed = call(
        "--resume", "--only", "30,10", "-p", "30.how=well"
    )  # takes the lock over as the rest dies
    assert code == 0 and printed.count("cached") == 1 and "behaved" in printed
    assert not alive(pids)
    assert len(executions(run_dir)) == 1


def test_list(call):
    code, printed = call("--list", "--profile", "small", "-p", "10.value=5")
    rows = [line.split(maxsplit=2) for line in printed.splitlines()]
    assert code == 0
    assert ["value", "5", "-p 10_writes_value.value"] in rows and ["rate", "0.5", "notebook"] in rows
    assert any(
        "small.yaml, 10_writes_value" in line and "from the profile" in line for line in printed.splitlines()
    )


def test_prepare(tmp_path, call):
    code, printed = call("--prepare", "small", "--run", "p", "-p", "10.value=5")
    assert code == 0 and "4 notebooks with the profile small lie in" in printed
    run_dir = tmp_path / "runs" / "p"
    cells = json.loads((run_dir / "10_writes_value.ipynb").read_text())["cells"]
    injected = [
        "".join(cell["source"]) for cell in cells if "injected-parameters" in cell["metadata"].get("tags", [])
    ]
    assert (
        len(injected) == 1
        and "value = 5" in injected[0]
        and str(run_dir) in injected[0]
        and "rate" not in injected[0]
    )
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    assert not (run_dir / "run.json").exists()


@pytest.mark.slow
@pytest.mark.windows
def test_odd_paths_and_texts_arrive_as_they_are(tmp_path, data, monkeypatch, capsys):
    odd = tmp_path / "a {b} 'c'"
    shutil.copytree(FIXTURES, odd / "notebooks", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setenv("PYTHONPATH", str(graph.PROJECT))
    title = """it's "{odd}" \\ <b>\\n"""
    arguments = (
        "--profile",
        "small",
        "--run",
        "x",
        "--only",
        "10",
        "-p",
        f"10.title={title}",
        "--data",
        str(data),
    )
    assert small_project.call(odd, *arguments) == 0
    assert (odd / "runs" / "x" / "10_writes_value.html").is_file()
    assert executions(odd / "runs" / "x") == [f"3 float 0.5 {title}"]


def test_keys_change_with_what_a_notebook_uses(tmp_path, monkeypatch):
    library = tmp_path / "lib"
    library.mkdir()
    (library / "low.py").write_text("VALUE = 1\n")
    (library / "high.py").write_text("def get():\n    from lib import low\n    return low.VALUE\n")
    (library / "other.py").write_text("")
    monkeypatch.setattr(cache_key, "LIB", library)
    notebook = tmp_path / "n.ipynb"

    def code(source, prose="words"):
        cells = [{"cell_type": "markdown", "source": [prose]}, {"cell_type": "code", "source": [source]}]
        notebook.write_text(json.dumps({"cells": cells}))
        return cache_key.code_of(notebook, cache_key.library())[0]

    first = code("from lib.high import get")
    assert set(first) == {"cells", "high", "low"}
    (library / "other.py").write_text("x = 1\n")
    (library / "low.py").write_text("# a comment\nVALUE   = 1\n")
    assert code("from lib.high import get", "other words") == first
    (library / "low.py").write_text("VALUE = 2\n")
    assert code("from lib.high import get")["low"] != first["low"]
    assert set(code("import lib.other as o\n%matplotlib inline")) == {"cells", "other"}
    assert set(code("a b")) == {"cells", "high", "low", "other"}
    assert code("x = 1  # a comment\n\ny = 2") == code("x = 1\ny  = 2") != code("x = 1\ny = 3")
    assert code("%config a = 1\nx = 1") != code("x = 1")


KEYS, MODULES = {}, {}  # of the project as it is, made once


def project_keys(library=None, notebooks=graph.DEFAULT_PROJECT.notebooks):
    """{notebook: key} of the project with another folder of modules or of notebooks."""
    project = replace(graph.DEFAULT_PROJECT, notebooks=notebooks)
    values = params.effective(project.declarations())
    with pytest.MonkeyPatch.context() as patch:
        if library:
            patch.setattr(cache_key, "LIB", library)
        else:
            MODULES.update(MODULES or cache_key.library())
            patch.setattr(cache_key, "library", lambda: MODULES)  # reading them takes a second
        return tasks.keys_of(project, list(project.graph), values, {"sha256": "f"}, None)


def changed_keys(keys):
    """The notebooks whose keys differ from those of the project as it is."""
    if not KEYS:
        KEYS.update(project_keys())
    return [name for name in graph.GRAPH if keys[name] != KEYS[name]]


EVERY = list(graph.GRAPH)


@pytest.mark.parametrize(
    "module, again",
    [
        ("errors", []),
        ("plots", []),
        ("report/charts", []),
        ("report/pages", []),
        ("pipeline/scheduler", []),
        ("kaggle/pack", []),
        ("synthetic/texture", []),  # strips that are there stay as they are, others are other data
        ("data/rle", EVERY),
        ("data/augmentation", [*graph.MODELS, "40_evaluation", "90_inference"]),
        ("models/losses", [*graph.SEGMENTERS, "40_evaluation", "90_inference"]),
        ("inference/cascade", ["40_evaluation", "90_inference"]),
        ("inference/submission", ["90_inference"]),
        ("evaluation/threshold_search", ["40_evaluation", "90_inference"]),
        (
            "evaluation/shift",
            ["05_shift", *graph.MODELS, "40_evaluation", "90_inference"],
        ),  # whose trainings stand, see test_training
    ],
)
def test_what_runs_again_when_a_line_changes(tmp_path, module, again):
    library = tmp_path / "lib"
    shutil.copytree(paths.PROJECT / "lib", library, ignore=shutil.ignore_patterns("__pycache__"))
    with open(library / f"{module}.py", "a") as file:
        file.write("\nCOLOURS = ('#000000',) * 7\n")
    assert changed_keys(project_keys(library)) == again


@pytest.mark.parametrize(
    "old, new, again",
    [
        ("plots.batch(images[:6]);", "plots.batch(images[:8]);", []),
        ("# 0..: images used at most; all at 0", "# 0..: images, all of them at 0", []),
        (
            "keras.utils.set_random_seed(seed + member)",
            "keras.utils.set_random_seed(seed)",
            ["10_binary", "40_evaluation", "90_inference"],
        ),
    ],
)
def test_what_a_cell_only_draws_or_remarks_trains_no_network_again(tmp_path, old, new, again):
    notebooks = tmp_path / "notebooks"
    shutil.copytree(graph.DEFAULT_PROJECT.notebooks, notebooks)
    text = (notebooks / "10_binary.ipynb").read_text()
    assert text.count(old) == 1
    (notebooks / "10_binary.ipynb").write_text(text.replace(old, new))
    assert changed_keys(project_keys(notebooks=notebooks)) == again


@pytest.mark.parametrize(
    "package, again",
    [
        ("numpy", EVERY),
        ("opencv-python-headless", EVERY),
        ("scikit-learn", EVERY[1:]),  # 00_eda neither divides the images nor tells them apart
        ("scipy", EVERY),
        ("keras", [*graph.MODELS, "40_evaluation", "90_inference"]),
        ("tensorflow-cpu", [*graph.MODELS, "40_evaluation", "90_inference"]),
        ("h5py", [*graph.MODELS, "40_evaluation", "90_inference"]),
        ("image-classifiers", [*graph.MODELS, "40_evaluation", "90_inference"]),
        ("matplotlib", ["00_eda"]),  # which calls it itself
        ("pillow", EVERY),  # it says whether a TIFF is whole
        ("papermill", []),
    ],
)
def test_another_version_of_a_package_runs_again_what_it_computes_for(monkeypatch, package, again):
    changed_keys(KEYS or project_keys())  # KEYS are of the true versions
    installed = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "999" if name == package else installed(name))
    assert changed_keys(project_keys()) == again
    if again:
        assert "999" in cache_key.versions().values()


def test_every_package_that_lib_imports_is_known():
    """What is neither of Python nor counted is one that cannot change a figure."""
    harmless = {
        "psutil",
        "jupyter_client",
        "bleach",
        "markupsafe",
        "nbconvert",
        "nbformat",
        "nbclient",
        "papermill",
        "pygments",
        "jinja2",
        "pyyaml",
        "mlflow",
        "tensorboard",
        "onnx",
        "tf2onnx",
        "onnxruntime",
        "ray",
    }
    for path in cache_key.LIB.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {name.partition(".")[0] for name in names} - {"lib", *sys.stdlib_module_names}:
                assert cache_key.DISTRIBUTIONS.get(top, top) in {*harmless, *cache_key.PACKAGES}, (
                    f"{path.name}: {top}"
                )


def executed(*cells):
    """The text of an executed notebook."""
    made = [
        {"cell_type": "code", "source": source, "outputs": [{"output_type": "stream", "text": text}]}
        for source, text in cells
    ]
    return json.dumps({"cells": made, "metadata": {}})


@pytest.mark.parametrize("name", ["10_binary", "40_evaluation", "90_inference"])
def test_whatever_a_notebook_left_is_missed_where_it_is_gone_or_changed(tmp_path, name):
    files = {f"{name}.ipynb": executed(("a", "b")), f"{name}.html": "page", f"metrics/{name}.json": "{}"}
    files |= {
        "10_binary": {
            "models/binary/model.json": "1",
            "models/binary/model.weights.h5": "w",
            "models/binary.2/model.json": "2",
        },
        "40_evaluation": {
            "thresholds.json": "d",
            "predictions.npz": "e",
            "evaluation.json": "v",
            "explore.html": "x",
            "split.csv": "s",
        },
        "90_inference": {"submission.csv": "s", "pseudo_labels.csv": "p"},
    }[name]
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    hashes = products.hashes_of(tmp_path, graph.DEFAULT_PROJECT.outputs_of(name))
    task = run_state.NotebookTask(run_state.Status.DONE, key="k", product_hashes=hashes)
    assert set(hashes) == set(files)

    def cached():
        return tasks.is_cached(name, task, "k", tmp_path, graph.DEFAULT_PROJECT)

    assert cached()
    for file, text in files.items():
        for other in (None, executed(("a", "c"))):
            (tmp_path / file).unlink()
            if other:
                (tmp_path / file).write_text(other)
            assert cached() == (file == f"{name}.html"), file  # the page is made from the notebook again
            (tmp_path / file).write_text(text)
    assert cached()
    parts = json.loads(executed((["a"], ["b"]))) | {"metadata": {"kernelspec": {}}}  # as Jupyter saves it
    (tmp_path / f"{name}.ipynb").write_text(json.dumps(parts, indent=1))
    assert cached()


def test_a_split_that_is_not_the_one_that_was_judged_by_is_made_again(tmp_path):
    (tmp_path / "split.csv").write_text("as it was")
    task = run_state.NotebookTask(product_hashes=products.hashes_of(tmp_path, ["split.csv"]))
    of_run = {"10_binary": run_state.NotebookTask(), "40_evaluation": task}
    products.drop_split(tmp_path, {"40_evaluation": run_state.NotebookTask()})
    products.drop_split(tmp_path, of_run)
    assert (tmp_path / "split.csv").is_file()
    (tmp_path / "split.csv").write_text("another")
    products.drop_split(tmp_path, of_run)
    assert not (tmp_path / "split.csv").is_file()


@pytest.mark.slow
def test_a_report_is_rendered_again_and_figures_are_missed(tmp_path, call):
    run_dir = tmp_path / "runs" / "a"
    assert call("--profile", "small", "--run", "a", "--only", "10")[0] == 0
    page = (run_dir / "10_writes_value.html").read_bytes()
    for change in (lambda path: path.unlink(), lambda path: path.write_text("another")):
        change(run_dir / "10_writes_value.html")
        code, said = call("--resume", "--only", "10")
        assert (code, said.count("cached"), (run_dir / "10_writes_value.html").read_bytes()) == (0, 1, page)
    (run_dir / "metrics" / "10_writes_value.json").unlink()
    code, said = call("--resume", "--only", "10")
    assert (code, said.count("started"), json.loads((run_dir / "metrics.json").read_text())["written"]) == (
        0,
        1,
        3,
    )


def test_keys_pass_changes_on_to_dependents_only(tmp_path):
    project = small_project.build(tmp_path)
    declarations = project.declarations()

    def keys(fingerprint="f", **changed):
        values = params.effective(
            declarations, overrides=[("10_writes_value", key, text) for key, text in changed.items()]
        )
        return tasks.keys_of(project, list(project.graph), values, {"sha256": fingerprint}, None)

    before, after = keys(), keys(value="9")
    assert [name for name in project.graph if before[name] != after[name]] == [
        "10_writes_value",
        "20_reads_value",
    ]
    assert keys(value="3") == before
    assert all(before[name] != other for name, other in keys("g").items())


def test_the_content_of_a_file_that_a_parameter_names_is_part_of_the_key(tmp_path, monkeypatch):
    declarations = graph.DEFAULT_PROJECT.declarations()

    def key(name, parameter, value, backbone):
        values = params.effective(
            declarations, overrides=[(name, parameter, value), (name, "backbone", backbone)]
        )
        return tasks.keys_of(graph.DEFAULT_PROJECT, [name], values, {"sha256": "f"}, None)[name]

    modules = cache_key.library()
    monkeypatch.setattr(cache_key, "library", lambda: modules)  # read once: it takes a second
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    cases = (
        ("32_seg_class2", "weights", "resnet18"),
        ("10_binary", "weights", "ResNet50"),
        ("10_binary", "pseudo_labels", "compact"),
    )
    for name, parameter, backbone in cases:
        (tmp_path / "file").write_text("one")
        absolute, relative = (
            key(name, parameter, str(tmp_path / "file"), backbone),
            key(name, parameter, "file", backbone),
        )
        (tmp_path / "file").write_text("two")
        assert absolute == relative  # relative to the project, wherever this runs
        assert (
            key(name, parameter, "file", backbone)
            == key(name, parameter, str(tmp_path / "file"), backbone)
            != relative
        )
    for text in ("none", "imagenet", "~nosuch", "nul\0", "x" * 5000, "", 3, None, ["file"]):
        assert tasks.content_of(text) == text  # the path of nothing that is there


def test_paths_that_parameters_name_count_from_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert paths.from_project("runs/a/x.csv") == paths.PROJECT / "runs" / "a" / "x.csv"
    assert paths.from_project(tmp_path / "x.h5") == tmp_path / "x.h5"
    assert paths.from_project("~/x.h5") == tmp_path / "home" / "x.h5"


def test_a_torn_state_falls_back_to_the_one_before(tmp_path):
    state = run_state.RunState("p", "s", {}, {}, run="a")
    run_state.write(tmp_path, state)
    run_state.write(tmp_path, replace(state, status=run_state.Status.DONE))
    assert run_state.read(tmp_path).status == "done"
    (tmp_path / "run.json").write_text('{"run": "a", "prof')
    assert run_state.read(tmp_path).status == "running"
    run_state.write(tmp_path, replace(state, status=run_state.Status.FAILED))
    assert run_state.read(tmp_path).status == "failed"
    (tmp_path / "run.json").write_text("")
    assert run_state.read(tmp_path).status == "running"


def test_a_lock_left_by_a_dead_process_does_not_block(tmp_path):
    (tmp_path / ".lock").write_text("999999999")
    with run_folder.open_lock(tmp_path) as lock:
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
        with pytest.raises(UserError, match=f"process {os.getpid()}"):
            run_folder.open_lock(tmp_path)
        assert not lock.closed
    run_folder.open_lock(tmp_path).close()


@pytest.mark.parametrize(
    "seconds, text",
    [(0.42, "0.4 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (4800, "1 h 20 min")],
)
def test_duration(seconds, text):
    assert progress.duration(seconds) == text


def test_what_is_left_follows_earlier_runs_and_this_ones_pace():
    entries = {name: run_state.NotebookTask() for name in "bc"}
    entries["a"] = run_state.NotebookTask(run_state.Status.DONE, seconds=20)
    assert (
        progress.estimate_remaining(entries, list(entries), {}, {"a": 10, "b": 30}, 1) == 60 + 20
    )  # twice as slow; c: as long as those done
    assert progress.estimate_remaining(entries, list(entries), {}, {}, 2) == 20
    assert progress.estimate_remaining({"b": entries["b"]}, ["b"], {}, {}, 1) is None


def test_the_projects_graph_is_in_an_order_that_can_be_run():
    names = list(graph.GRAPH)
    assert all(names.index(need) < names.index(name) for name, needs in graph.GRAPH.items() for need in needs)
    assert graph.PRODUCTS["31_seg_class1"] == ("models/seg_class1/model.json",)
    assert graph.DEFAULT_PROJECT.select("", "33") == ["33_seg_class3", "40_evaluation", "90_inference"]
    assert graph.DEFAULT_PROJECT.select("90,10", "") == ["10_binary", "90_inference"]
