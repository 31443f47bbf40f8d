"""The order of a run: every notebook starts when those it needs are done, so many at a time, and run.json is
kept up to date."""

import contextlib
import signal
import time
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from lib.errors import shorten
from lib.files import read_metrics
from lib.pipeline import params, progress, run_folder, run_state, tasks, units
from lib.pipeline.cache_key import pages_hash
from lib.pipeline.executor import Executor, Result
from lib.pipeline.graph import Project
from lib.pipeline.products import SPLIT, files_of, hashes_of, mend_report, sync
from lib.pipeline.progress import print_event
from lib.pipeline.run_state import RunState, Status

PAUSE = 0.05  # seconds between looks at the running notebooks


@dataclass
class Scheduler:
    """Runs the selected notebooks in the order of the graph.

    Arguments:
        state: the run's, with a task a notebook, which changes as they run.
        selected: the notebooks to run; keys: {notebook: key}, see `tasks.keys_of`.
        settings: what a notebook that starts now is run with: "parameters" of all notebooks, "code",
            "versions", "environment", "jobs" (how many run side by side), "data".
        declarations: {notebook: its declared parameters}; executor: the place where they run.
    """

    project: Project
    run_dir: Path
    state: RunState
    selected: list[str]
    keys: dict[str, str]
    settings: dict[str, Any]
    declarations: dict[str, dict[str, params.Parameter]]
    executor: Executor

    def __post_init__(self) -> None:
        self.tasks = self.state.notebooks
        self.jobs: dict[str, Any] = {}  # of the notebooks that run, the executor's
        self.begun: dict[str, float] = {}  # when they began, by time.monotonic()
        self.expected = progress.expected_seconds(self.project.runs, self.state.profile)
        self.pages = pages_hash()
        self.seconds_before, self.start_time = self.state.seconds, time.monotonic()

    def run(self) -> None:
        """Run all. A notebook that fails blocks those that need it, the others run. However this is left, no
        job stays behind."""
        self.state.record(self.settings)
        self.save()
        run_folder.point_latest(self.project.runs, self.run_dir.name)
        for name in self.selected:
            if name not in self.project.units and self.tasks[name].status is Status.WAITING:
                units.remove_former(self.run_dir, name, self.tasks)
        try:
            self.run_notebooks()
            tasks.mark_outdated(self.tasks, self.selected, self.project)
            failed = any(not self.tasks[name].status.is_finished for name in self.selected)
            self.close(Status.FAILED if failed else Status.DONE)
        except BaseException:
            self.stop()
            print_event(f"stopped. Go on with: python run_all.py --resume --run {self.run_dir.name}")
            raise

    def run_notebooks(self) -> None:
        """Start what can start and wait for what runs, until nothing is left that can."""
        sorter = TopologicalSorter(self.project.graph)
        sorter.prepare()
        order = list(self.project.graph)
        ready: list[str] = []
        while sorter.is_active():
            ready += sorter.get_ready()
            passed = next((name for name in ready if self.can_pass(name)), None)
            if passed:
                ready.remove(passed)
                sorter.done(passed)
                continue
            ready.sort(key=order.index)
            while ready and len(self.jobs) < self.settings["jobs"]:
                self.start(ready.pop(0))
            if not self.jobs:
                break
            time.sleep(PAUSE)
            for name, job in list(self.jobs.items()):
                result = self.executor.poll(job)
                if result is None:
                    continue
                self.finish(name, result)
                if self.tasks[name].status is Status.DONE:
                    sorter.done(name)

    def can_pass(self, name: str) -> bool:
        """Whether a notebook whose needs are met does not run: not selected, or it stands, made from what
        lies there now."""
        task = self.tasks[name]
        if name not in self.selected:
            return True
        if task.status is not Status.CACHED:
            return False
        if name in self.project.units and tasks.is_gathered(name, self.tasks, self.project):
            return True
        if task.input_hashes == self.input_hashes(name):
            mend_report(self.run_dir, name, task, self.pages)
            print_event(f"{name:16} cached: nothing that it is made from has changed")
            return True
        task.reset()
        return False

    def input_hashes(self, name: str) -> dict[str, str]:
        """See `tasks.input_hashes`, of the products that a notebook would read now."""
        return tasks.input_hashes(self.project.reads(name), self.tasks, self.project.products)

    def start(self, name: str) -> None:
        """Remove what an earlier start of a notebook wrote, and start it."""
        self.clear(name)
        notebook, unit, task = units.notebook_of(name), self.project.units.get(name), self.tasks[name]
        parameters = self.settings["parameters"][notebook]
        task.status = Status.RUNNING
        task.started_key = self.keys[name]
        task.product_hashes, task.ran_on = {}, {}
        task.input_hashes = self.input_hashes(name)
        task.pages = self.pages
        task.ran = {**self.settings, "parameters": parameters}
        self.state.record(self.settings)
        self.save()
        changed = params.changed(self.declarations[notebook], parameters)
        member = unit.member if unit else 0
        self.jobs[name] = self.executor.start(self.project.notebook(name), self.run_dir, changed, member)
        self.begun[name] = time.monotonic()
        print_event(f"{name:16} started")

    def clear(self, name: str) -> None:
        """Remove what an earlier start of a notebook wrote, so that nothing old stands for something new.

        Its trainings stay, finished or cut off: `training.fit` takes one only if it is made from the same to
        the last line of code.
        """
        for path in (partial_name(name), *self.project.outputs_of(name)):
            if path != SPLIT and not path.startswith("scratch/"):  # by which networks have learned
                (self.run_dir / path).unlink(missing_ok=True)

    def finish(self, name: str, result: Result) -> None:
        """Record how a notebook ended. Done is what ran to its end and has left its products."""
        del self.jobs[name]
        task, seconds = self.tasks[name], time.monotonic() - self.begun.pop(name)
        missing = [
            product for product in self.project.products_of(name) if not (self.run_dir / product).is_file()
        ]
        if result.ok and missing:
            result = Result(False, f"It ended without writing {missing[0]}.")
        if result.ok:
            outputs = self.project.outputs_of(name)
            sync(
                [path for file in files_of(self.run_dir, outputs) if (path := self.run_dir / file).is_file()]
            )
            task.product_hashes = hashes_of(self.run_dir, outputs)
        task.seconds = round(seconds, 1)
        task.summary = shorten(read_metrics(self.run_dir, name)[0])
        task.error = shorten(result.error)
        task.ran_on = result.ran_on
        task.status = Status.DONE if result.ok else Status.FAILED
        task.key = task.started_key if result.ok else ""
        (self.run_dir / partial_name(name)).unlink(missing_ok=True)
        tasks.block(self.tasks, self.selected, self.project.graph)
        self.save()
        left = progress.estimate_remaining(
            self.tasks, self.selected, self.begun, self.expected, self.settings["jobs"]
        )
        progress.report_progress(name, self.tasks, self.selected, self.project.graph, left)

    def stop(self) -> None:
        """Stop what runs, which waits then to be started again."""
        for request in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not leave a kernel behind
            with contextlib.suppress(ValueError):
                signal.signal(request, signal.SIG_IGN)
        for name, job in self.jobs.items():
            self.executor.stop(job)
            self.tasks[name].status = Status.WAITING
            (self.run_dir / partial_name(name)).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.close(Status.STOPPED)

    def close(self, status: Status) -> None:
        """Record the end of the run."""
        self.state.status = status
        self.state.finished = run_state.now()
        self.state.seconds = round(self.seconds_before + time.monotonic() - self.start_time, 1)
        self.save()

    def save(self) -> None:
        """Write run.json, the metrics so far and the index page."""
        run_state.write(self.run_dir, self.state)
        run_state.merge_metrics(self.run_dir, self.state)
        from lib.report import pages

        try:
            pages.write_index(self.run_dir)
        except OSError:
            raise
        except Exception as error:  # the page is a view of run.json: a run goes on without it
            print_event(f"index.html could not be written: {type(error).__name__}: {error}")


def partial_name(name: str) -> str:
    """The name in the run folder of a notebook that is being executed."""
    return f".{name}.partial.ipynb"
