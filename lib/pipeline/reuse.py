"""What a new run takes over from others: the notebooks that would be made from the very same, by their keys."""

import contextlib
import os
import shutil
from pathlib import Path

from lib.errors import print_line
from lib.pipeline import run_folder, run_state
from lib.pipeline.graph import Project
from lib.pipeline.products import SPLIT, files_of, hashes_of
from lib.pipeline.run_state import NotebookTask, RunState, Status

# What the project only ever replaces whole, so that two runs may have one file; people open notebooks and save
# them, so these are copied.
REPLACED = ("models", "scratch")
SHARED_TRAININGS = ("together", "pretraining")  # in scratch/, of several notebooks


def take_over(
    project: Project, tasks: dict[str, NotebookTask], keys: dict[str, str], run_dir: Path
) -> dict[str, NotebookTask]:
    """Give a run what finished runs have of its notebooks that wait: those whose key is the same and whose files
    are as that run left them. Returns all its tasks, of these notebooks those of that run.

    Arguments:
        tasks: of the run; keys: see `tasks.keys_of`. Where several runs have a notebook, the newest one gives it.
    """
    tasks = dict(tasks)
    for donor, state in finished_runs(project.runs, run_dir):
        for name, task in state.notebooks.items():
            waits = name in keys and name in tasks and tasks[name].status is Status.WAITING
            if not waits or task.key != keys[name] or not task.status.is_finished or task.outdated:
                continue
            if copy_outputs(project, name, task, donor, run_dir):
                tasks[name] = task
                print_line(
                    f"         {name:16} taken from the run {donor.name}, where it was made from the same"
                )
    return tasks


def finished_runs(runs: Path, but: Path) -> list[tuple[Path, RunState]]:
    """(folder, state) of all runs except one, the newest first."""
    states = [
        (folder, state)
        for folder in run_folder.run_folders(runs)
        if folder.resolve() != but.resolve() and (state := run_state.read(folder))
    ]
    return sorted(states, key=lambda entry: entry[1].started, reverse=True)


def copy_outputs(project: Project, name: str, task: NotebookTask, donor: Path, run_dir: Path) -> bool:
    """Copy what a notebook wrote in another run, with its training; whether it is all there, as it was."""
    outputs = project.outputs_of(name)
    written = [file for file in files_of(donor, outputs) if file != SPLIT]  # that of the new run stands
    page = {f"{name}.html": ""}  # can be made again
    if hashes_of(donor, outputs) | page != task.product_hashes | page:
        return False
    trainings = [
        folder for part in (name, *SHARED_TRAININGS) if (folder := donor / "scratch" / part).is_dir()
    ]
    has_network = any(file.startswith(("models/", "scratch/together/")) for file in written)
    for folder in trainings if has_network else []:
        for path in folder.rglob("*.npz"):
            written.append(path.relative_to(donor).as_posix())
    for file in written:
        if (donor / file).is_file():
            put(donor / file, run_dir / file, can_link=file.startswith(REPLACED))
    return hashes_of(run_dir, outputs) | page == task.product_hashes | page


def put(source: Path, target: Path, can_link: bool) -> None:
    """A file in another place, too: one file with two names where that can be, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if can_link:
        with contextlib.suppress(OSError):  # a file system without links
            os.link(source, target)
            return
    shutil.copy2(source, target)
