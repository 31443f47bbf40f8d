"""What systems do differently, races of first starts, and what lies outside the project: none of it changes
what a run does."""

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import pytest

from lib import files, paths
from lib.errors import UserError
from lib.models import saving
from lib.pipeline import graph, run_folder

AT_ONCE = 8


def at_once(action, count=AT_ONCE):
    """What `count` threads return that call `action(number)` at the same moment; an error is one of the
    results."""
    barrier = threading.Barrier(count)

    def begin(number):
        barrier.wait(30)
        try:
            return action(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def held(failures, number=32):
    """os.replace on Windows while another program reads the file: it fails so many times."""
    left = [failures]

    def move(source, target):
        if left[0]:
            left[0] -= 1
            error = PermissionError(errno.EACCES, "The process cannot access the file", str(source))
            error.winerror = number
            raise error
        os.replace(source, target)

    return move


def test_a_file_that_another_program_reads_is_replaced_when_that_is_done(tmp_path):
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    files.moving(held(3), tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new" and not (tmp_path / "new").exists()


def test_one_that_stays_in_use_or_is_forbidden_is_not_waited_for_in_vain(tmp_path):
    (tmp_path / "new").write_text("new")
    with pytest.raises(PermissionError):
        files.moving(held(10**6), tmp_path / "new", tmp_path / "old", seconds=0.2)
    calls = []

    def forbidden(*_):
        calls.append(1)
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError):
        files.moving(forbidden, tmp_path / "new", tmp_path / "old")
    assert len(calls) == 1


def test_json_is_written_while_another_program_reads_it(tmp_path, monkeypatch):
    files.write_json(tmp_path / "a.json", {"a": 1})
    monkeypatch.setattr(os, "replace", held_once(os.replace))
    files.write_json(tmp_path / "a.json", {"a": 2})
    assert files.read_json(tmp_path / "a.json") == {"a": 2} and os.listdir(tmp_path) == ["a.json"]


def held_once(move):
    """`move`, which fails at its first call as Windows' does on a file in use."""
    calls = []

    def moved(source, target):
        calls.append(1)
        if len(calls) == 1:
            held(1)(source, target)
        return move(source, target)

    return moved


def test_the_latest_run_is_one_of_those_that_start_at_once_and_no_index_of_another_is_touched(tmp_path):
    runs = tmp_path / "runs"
    for number in range(AT_ONCE):
        (runs / f"r{number}").mkdir(parents=True)
        (runs / f"r{number}" / "index.html").write_text(f"page of {number}")
    for _ in range(20):
        assert at_once(lambda number: run_folder.point_latest(runs, f"r{number}")) == [None] * AT_ONCE
        latest = runs / "latest"
        led = (
            latest.resolve().name
            if latest.is_symlink()
            else (latest / "index.html").read_text().split("../")[1].split("/")[0]
        )
        assert led in [f"r{number}" for number in range(AT_ONCE)]
    assert [(runs / f"r{number}" / "index.html").read_text() for number in range(AT_ONCE)] == [
        f"page of {n}" for n in range(AT_ONCE)
    ]
    assert sorted(path.name for path in runs.iterdir()) == [
        "latest",
        *(f"r{number}" for number in range(AT_ONCE)),
    ]


def test_where_links_fail_a_page_leads_to_the_latest_run_and_an_old_link_is_not_written_through(
    tmp_path, monkeypatch
):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text("page of a")
    run_folder.point_latest(tmp_path, "a")  # where links work, this is one

    def symlink_to(*_, **__):
        raise OSError(22, "A required privilege is not held by the client")

    monkeypatch.setattr(paths.Path, "symlink_to", symlink_to)
    for name in ("b", "c"):
        run_folder.point_latest(tmp_path, name)
        assert f"url=../{name}/index.html" in (tmp_path / "latest" / "index.html").read_text()
    assert (tmp_path / "a" / "index.html").read_text() == "page of a" and not (
        tmp_path / "latest"
    ).is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "latest"]


def test_runs_that_start_in_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    """The clock stands still, and nobody makes a folder before all have come to make that of one and the same
    name."""
    project = replace(graph.DEFAULT_PROJECT, runs=tmp_path / "runs")
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((2026, 1, 2, 3, 4, 5, 4, 2, 0)))
    stem, barrier, mkdir, waited = (
        "20260102-030405-demo",
        threading.Barrier(AT_ONCE),
        paths.Path.mkdir,
        threading.local(),
    )

    def all_at_once(path, *arguments, **options):
        if path.name == stem and not hasattr(waited, "once"):
            waited.once = True
            barrier.wait(30)
        return mkdir(path, *arguments, **options)

    monkeypatch.setattr(paths.Path, "mkdir", all_at_once)
    opened = at_once(lambda _: run_folder.open_new("", "demo", project.runs))
    assert not [found for found in opened if isinstance(found, Exception)]
    assert {run_dir.name for run_dir, _ in opened} == {
        stem,
        *(f"{stem}-{number}" for number in range(2, AT_ONCE + 1)),
    }
    for _, lock in opened:
        lock.close()


def test_of_runs_that_ask_for_one_name_at_once_one_gets_it(tmp_path):
    project = replace(graph.DEFAULT_PROJECT, runs=tmp_path / "runs")
    opened = at_once(lambda _: run_folder.open_new("a", "demo", project.runs))
    assert sum(isinstance(found, tuple) for found in opened) == 1
    assert {type(found) for found in opened} == {tuple, UserError}
    next(found for found in opened if isinstance(found, tuple))[1].close()


def test_a_run_that_was_finished_between_look_and_lock_is_not_overwritten(tmp_path, monkeypatch):
    project = replace(graph.DEFAULT_PROJECT, runs=tmp_path / "runs")
    lock = run_folder.open_lock

    def late(run_dir):
        (run_dir / "run.json").write_text("{}")  # of the other command, which is through by now
        return lock(run_dir)

    monkeypatch.setattr(run_folder, "open_lock", late)
    with pytest.raises(UserError, match="already holds a run"):
        run_folder.open_new("a", "demo", project.runs)
    lock(tmp_path / "runs" / "a").close()  # nobody holds it any more


def tiny(value):
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(value))]
    )
    return model


def test_saving_a_network_removes_nothing_that_it_did_not_write(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "export", lambda self, path, **_: path.mkdir())
    theirs = [".binary.partial", ".binary.previous", "binary.2"]
    for name in theirs:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
    for value in (1, 2):
        saving.save(tiny(value), tmp_path / "binary", {"kind": "classifier", "build": {}, "input": [1, 1]})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*theirs, "binary"])
    assert all((tmp_path / name / "notes.txt").is_file() for name in theirs)


def test_a_network_that_cannot_be_put_in_place_leaves_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "export", lambda self, path, **_: path.mkdir())
    card = {"kind": "classifier", "build": {}, "input": [1, 1]}
    saving.save(tiny(1), tmp_path / "binary", card)
    before = (tmp_path / "binary" / "model.json").read_text()

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(saving, "put", fail)
    with pytest.raises(OSError, match="Input/output"):
        saving.save(tiny(2), tmp_path / "binary", card)
    assert (tmp_path / "binary" / "model.json").read_text() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "number, taken", [(errno.ENOLCK, True), (errno.EAGAIN, False), (errno.EACCES, False)]
)
def test_a_file_system_without_locks_lets_a_run_begin(tmp_path, monkeypatch, number, taken):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with open(tmp_path / "lock", "a+") as file:
        assert files.try_lock(file) is taken
