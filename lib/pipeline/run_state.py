"""What a run's `run.json` records: what was run, from what, how far it came.

run.json, a `RunState`:
    run         the run's id, the folder's name
    profile     "demo"
    started     "2026-01-01T12:00:00+00:00" (UTC), of the first start; `updated` likewise, of the last change;
                `finished`, of the end, "" before; seconds: wall-clock seconds of all commands on this run
    status      "running", "done", "failed" (a notebook failed), "stopped" (Ctrl-C, SIGTERM)
    jobs        how many notebooks ran side by side: the number of threads, and so the last bits, follow
    cluster     what --cluster named, "" for this machine alone
    data        {"folder": path, "why": one sentence, ...the fingerprint: "sha256", "train_images",
                "test_images", "generated": true or false, "note": text, "findings": text, counts of what the
                check found}
    versions    {"python": ..., "numpy": ..., "keras": ..., "tensorflow": ...}, of all notebooks that were
                started so far; where these differ "3.13.2, 3.12.0", and so with the code
    code        git commit ("+changes" if files differ from it) or a hash of lib
    environment {"OMP_NUM_THREADS": "1", ...}: the environment variables that may change the last bits, as the
                notebooks had them
    overrides   [[section, key, text], ...] of every -p so far
    parameters  {notebook: {key: value}}, what it ran with, or will if it was not started yet
    notebooks   {name: NotebookTask} in the order of the graph; before a notebook the members of its ensemble
                that are tasks of their own, such as "10_binary.1", see `units`:
        status         see `Status`
        seconds        wall-clock seconds of its execution, report included; 0 before
        summary        the metric a reader wants, in words; "" before
        error          one sentence; "" without an error
        key            a hash of everything its result follows from; only of a finished notebook, else ""
        started_key    the key of its last start: its key, once it is finished
        needs          the notebooks it needs
        product_hashes {file: hash} of all that it wrote, see `Project.outputs_of`; only once it is finished
        input_hashes   {notebook it needs: hash of that one's products} as they were at its start
        ran            what its last start ran with: {"parameters": {key: value}, "code", "versions",
                       "environment", "jobs", "data": the fingerprint's sha256}; empty before. What a later
                       command sets and does not run is not written here
        pages          a hash of the code and the templates that its report was made with
        ran_on         where it ran on a cluster: {"node": name and address, "node_id", "card": numbers of its
                       graphics cards, "attempt": 2 if it lost one node}; empty without a cluster
        outdated       true if it is finished and one that it needs was run again without it (--only)

Each state is written aside, synced and renamed, and the one before it stays as `run.previous.json`.
"""

import dataclasses
import datetime
import enum
import json
import os
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib import files

FILE, PREVIOUS = "run.json", "run.previous.json"
# Names in a notebook's entry before version 2.
RENAMED = {"headline": "summary", "made": "product_hashes", "used": "input_hashes"}


class Status(enum.StrEnum):
    """How far a notebook came, or a run."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"  # done by an earlier command, and unchanged
    FAILED = "failed"
    BLOCKED = "blocked"  # a notebook that it needs failed
    STOPPED = "stopped"  # of a run alone

    @property
    def is_finished(self) -> bool:
        """Whether the notebook's products count."""
        return self in (Status.DONE, Status.CACHED)


@dataclass
class NotebookTask:
    """A notebook of a run; the fields are those of run.json."""

    status: Status = Status.WAITING
    seconds: float = 0
    summary: str = ""
    error: str = ""
    key: str = ""
    started_key: str = ""
    needs: list = field(default_factory=list)
    product_hashes: dict = field(default_factory=dict)
    input_hashes: dict = field(default_factory=dict)
    ran: dict = field(default_factory=dict)
    pages: str = ""
    outdated: bool = False
    ran_on: dict = field(default_factory=dict)

    def reset(self) -> None:
        """Let the notebook wait for its next start: how it ended before counts no more."""
        self.status = Status.WAITING
        self.seconds = 0
        self.summary = self.error = self.key = ""
        self.product_hashes, self.input_hashes, self.ran, self.ran_on = {}, {}, {}, {}


@dataclass
class RunState:
    """A run; the fields are those of run.json."""

    profile: str
    started: str
    data: dict
    notebooks: dict[str, NotebookTask]
    run: str = ""
    finished: str = ""
    seconds: float = 0
    status: Status = Status.RUNNING
    jobs: int = 0  # 0 where the run was begun before it was recorded
    cluster: str = ""
    overrides: list = field(default_factory=list)
    updated: str = ""
    parameters: dict = field(default_factory=dict)
    code: str = ""
    versions: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)

    def record(self, settings: dict[str, Any]) -> None:
        """Record what was done: parameters, code, versions and environment of the notebooks that ran; where
        none did, `settings`, those of a notebook that starts now."""
        ran = [task.ran for task in self.notebooks.values() if task.ran] or [settings]
        self.parameters = {
            name: task.ran.get("parameters", settings["parameters"][name])
            for name, task in self.notebooks.items()
            if name in settings["parameters"]  # a member of an ensemble has its notebook's
        }
        self.code = ", ".join(dict.fromkeys(execution["code"] for execution in ran))
        self.versions, self.environment = joined(ran, "versions"), joined(ran, "environment")

    def finished_notebooks(self) -> list[str]:
        """The names of the notebooks that are finished."""
        return [name for name, task in self.notebooks.items() if task.status.is_finished]


def joined(executions: list[dict[str, Any]], part: str) -> dict[str, str]:
    """{name: value} of a part that executions recorded, such as "versions"; where they differ, the values
    with commas between."""
    recorded = [execution.get(part, {}) for execution in executions]
    names = dict.fromkeys(name for values in recorded for name in values)
    return {name: ", ".join(dict.fromkeys(values.get(name, "none") for values in recorded)) for name in names}


def now() -> str:
    """The time in UTC as ISO text, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read(run_dir: str | os.PathLike) -> RunState | None:
    """The state of a run, or the one before if the last one is torn; None if there is neither."""
    return read_file(Path(run_dir) / FILE) or read_file(Path(run_dir) / PREVIOUS)


def read_file(path: Path) -> RunState | None:
    """A run's state from one file; None if it is missing, torn or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        upgrade(content)
        content["notebooks"] = {
            name: record_of(NotebookTask, task) for name, task in content["notebooks"].items()
        }
        state = record_of(RunState, content)
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None
    entries = [entry if isinstance(entry, list) else [] for entry in state.overrides]
    return (
        state
        if all(len(entry) == 3 and all(isinstance(text, str) for text in entry) for entry in entries)
        else None
    )


def upgrade(content: dict[str, Any]) -> None:
    """Give a run.json of an earlier version the names of today, and its finished notebooks what the run alone
    recorded then.

    Arguments:
        content: of the file, changed in place.
    """
    for name, task in content["notebooks"].items():
        for before, after in RENAMED.items():
            if before in task:
                task.setdefault(after, task.pop(before))
        if task["status"] == "kept":
            task["status"] = str(Status.CACHED)
        if task["status"] in (Status.DONE, Status.CACHED) and "ran" not in task:
            task["ran"] = {
                "parameters": content.get("parameters", {}).get(name, {}),
                "code": str(content.get("code", "")),
                "versions": content.get("versions", {}),
                "environment": content.get("environment", {}),
                "jobs": content.get("jobs", 1),
                "data": str(content["data"].get("sha256", "")),
            }


def record_of(record: type, content: dict[str, Any]) -> Any:
    """A NotebookTask or RunState from what JSON says of it.

    Unknown names are passed over, missing ones have their defaults, an unknown status is that of a notebook
    that waits. TypeError if a value is of another type, or if one without a default is missing.
    """
    values = {}
    for entry in dataclasses.fields(record):
        if entry.name not in content:
            continue
        value = content[entry.name]
        if entry.type is Status and isinstance(value, str):
            value = Status(value) if value in set(Status) else Status.WAITING
        kind: Any = (int, float) if entry.type is float else typing.get_origin(entry.type) or entry.type
        if not isinstance(value, kind):
            raise TypeError(f"{entry.name} is of type {type(value).__name__}")
        values[entry.name] = value
    return record(**values)


def write(run_dir: str | os.PathLike, state: RunState) -> None:
    """Write a run's state; the one before it stays beside it."""
    path, previous = Path(run_dir) / FILE, Path(run_dir) / PREVIOUS
    state.updated = now()
    if read_file(path):
        try:
            with files.scratch(previous) as folder:
                os.link(path, folder / FILE)
                files.moving(os.replace, folder / FILE, previous)
        except OSError:  # a file system without links
            files.write_atomic(previous, path.read_bytes())
    files.write_json(path, dataclasses.asdict(state))


def merge_metrics(run_dir: str | os.PathLike, state: RunState) -> None:
    """Write `metrics.json`: the metrics of all finished notebooks in one flat dictionary, and the run's
    id."""
    merged = {"run": state.run}
    for name in state.finished_notebooks():
        merged.update(files.read_metrics(run_dir, name)[1])
    files.write_json(Path(run_dir) / "metrics.json", merged)
