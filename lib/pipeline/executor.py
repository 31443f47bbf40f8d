"""Where notebooks run. The scheduler knows an executor's three methods alone; `LocalExecutor` starts
processes on this machine."""

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from lib.errors import process_end
from lib.models.environment import of_notebook
from lib.paths import PROJECT
from lib.pipeline import processes, products
from lib.pipeline.processes import Tail


@dataclass(frozen=True)
class Result:
    """How a notebook ended: `error` is one sentence, "" if it ran to its end."""

    ok: bool
    error: str = ""


class Executor(Protocol):
    """A place where notebooks run. What it starts writes into the run folder: the executed notebook, its
    report, its products."""

    def start(self, notebook: Path, run_dir: Path, parameters: dict[str, Any]) -> Any:
        """Start to execute a notebook with these values of its parameters; returns a job, for the other two
        methods."""

    def poll(self, job: Any) -> Result | None:
        """How a job ended, None while it runs. Does not wait."""

    def stop(self, job: Any) -> None:
        """End a job that runs, with everything that it started."""


@dataclass
class LocalJob:
    """A notebook's process: what it is asked, the last of its output and of its errors."""

    name: str
    run_dir: Path
    process: subprocess.Popen
    requests: Any
    answer: Tail
    errors: Tail


class LocalExecutor:
    """Runs every notebook in a process of its own, which shares the run's lock and so outlives a killed
    command's hold on it.

    Arguments:
        lock: the open file of the run's lock; jobs: how many notebooks run side by side, which share the
            processor's cores.
    """

    def __init__(self, lock: TextIO, jobs: int) -> None:
        self.lock, self.jobs = lock, jobs

    def start(self, notebook: Path, run_dir: Path, parameters: dict[str, Any]) -> LocalJob:
        """Start `lib.pipeline.worker` and hand it the request."""
        request = {
            "notebook": str(notebook),
            "output": str(run_dir / notebook.name),
            "report": str(run_dir / f"{notebook.stem}.html"),
            "parameters": parameters,
            "folder": str(notebook.parent),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "lib.pipeline.worker"],
            cwd=PROJECT,
            env=of_notebook(self.jobs) | {products.RUN: str(run_dir), products.NOTEBOOK: notebook.stem},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **processes.detached(self.lock),
        )
        job = LocalJob(
            notebook.stem, run_dir, process, process.stdin, Tail(process.stdout), Tail(process.stderr)
        )
        with contextlib.suppress(BrokenPipeError):  # its exit code will tell
            job.requests.write(json.dumps(request).encode() + b"\n")
            job.requests.flush()  # and stays open: its closing tells the process that this one is gone
        return job

    def poll(self, job: LocalJob) -> Result | None:
        """How a notebook's process ended: as it answers, or by its exit code if it gave no answer."""
        if job.process.poll() is None:
            return None
        try:
            answer = json.loads(job.answer.text())
            result = Result(answer["ok"], answer["error"])
        except ValueError:
            last = job.errors.text().strip().splitlines()[-1:] or ["no reason given"]
            result = Result(False, process_end(job.process.returncode, last[0]))
            products.end_strays(job.run_dir, job.name)  # its kernel
        with contextlib.suppress(OSError):
            job.requests.close()  # the others are closed with their tails
        return result

    def stop(self, job: LocalJob) -> None:
        """Kill the notebook's process, its kernel and whatever that started."""
        processes.stop(job.process)
