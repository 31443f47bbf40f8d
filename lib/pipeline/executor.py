"""Where notebooks run. The scheduler knows an executor's three methods alone; `LocalExecutor` starts
processes on this machine."""

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from lib.errors import process_end
from lib.models.environment import of_notebook
from lib.paths import PROJECT
from lib.pipeline import graphics_cards, processes, products, units
from lib.pipeline.processes import Tail


@dataclass(frozen=True)
class Result:
    """How a notebook ended: `error` is one sentence, "" if it ran to its end; `ran_on`: where it ran on a cluster,
    see `run_state`."""

    ok: bool
    error: str = ""
    ran_on: dict[str, Any] = field(default_factory=dict)


class Executor(Protocol):
    """A place where notebooks run. What it starts writes into the run folder: the executed notebook, its
    report, its products."""

    def start(self, notebook: Path, run_dir: Path, parameters: dict[str, Any], member: int = 0) -> Any:
        """Start to execute a notebook with these values of its parameters; returns a job, for the other two
        methods.

        Arguments:
            member: of its ensemble, counted from 1, that is trained alone, see `units`; 0: the whole notebook.
        """

    def poll(self, job: Any) -> Result | None:
        """How a job ended, None while it runs. Does not wait."""

    def stop(self, job: Any) -> None:
        """End a job that runs, with everything that it started."""


def request_of(notebook: Path, run_dir: Path, parameters: dict[str, Any], member: int = 0) -> dict[str, Any]:
    """What `lib.pipeline.worker` is asked for; the arguments are those of `Executor.start`."""
    name = units.name_of(notebook.stem, member)
    return {
        "notebook": str(notebook),
        "output": str(run_dir / f"{name}.ipynb"),
        "report": str(run_dir / f"{name}.html"),
        "parameters": parameters,
        "folder": str(notebook.parent),
        "member": member,
    }


@dataclass
class LocalJob:
    """A notebook's process: what it is asked, the last of its output and of its errors."""

    name: str
    run_dir: Path
    process: subprocess.Popen
    requests: Any
    answer: Tail
    errors: Tail
    card: str = ""  # the graphics card that it may use alone of several, "" for all


class LocalExecutor:
    """Runs every notebook in a process of its own, which shares the run's lock and so outlives a killed
    command's hold on it.

    Arguments:
        lock: the open file of the run's lock; jobs: how many notebooks run side by side, which share the
            processor's cores and get a graphics card each where there are several.
    """

    command: tuple[str, ...] = (sys.executable, "-m", "lib.pipeline.worker")

    def __init__(self, lock: TextIO, jobs: int) -> None:
        self.lock, self.jobs = lock, jobs
        cards = graphics_cards.visible() if jobs > 1 else []
        self.cards = cards if len(cards) > 1 else []  # one is shared, see `environment.GROWTH`
        self.running: list[LocalJob] = []

    def environment(self) -> dict[str, str]:
        """The environment variables of a notebook's process."""
        return of_notebook(self.jobs)

    def start(self, notebook: Path, run_dir: Path, parameters: dict[str, Any], member: int = 0) -> LocalJob:
        """Start `lib.pipeline.worker` and hand it the request."""
        name = units.name_of(notebook.stem, member)
        request = request_of(notebook, run_dir, parameters, member)
        environment = self.environment() | {products.RUN: str(run_dir), products.NOTEBOOK: name}
        card = graphics_cards.least_used(self.cards, self.used()) if self.cards else ""
        if card:
            environment[graphics_cards.VARIABLE] = card
        process = subprocess.Popen(
            self.command,
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **processes.detached(self.lock),
        )
        answer, errors = Tail(process.stdout), Tail(process.stderr)
        job = LocalJob(name, run_dir, process, process.stdin, answer, errors, card)
        self.running.append(job)
        with contextlib.suppress(BrokenPipeError):  # its exit code will tell
            job.requests.write(json.dumps(request).encode() + b"\n")
            job.requests.flush()  # and stays open: its closing tells the process that this one is gone
        return job

    def used(self) -> list[str]:
        """The cards of the notebooks that run."""
        self.running = [job for job in self.running if job.process.poll() is None]
        return [job.card for job in self.running]

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
