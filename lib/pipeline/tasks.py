"""The notebooks of a run as tasks: their keys, which of them stand from before, which are outdated, which are
blocked."""

import dataclasses
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from lib.data.manifest import file_hash
from lib.errors import UserError
from lib.models import members
from lib.paths import from_project
from lib.pipeline import cache_key, params, units
from lib.pipeline.graph import Project
from lib.pipeline.products import hashes_of
from lib.pipeline.run_state import NotebookTask, RunState, Status

Tasks = dict[str, NotebookTask]


def keys_of(
    project: Project,
    selected: list[str],
    values: params.Values,
    fingerprint: dict[str, Any],
    previous: RunState | None,
) -> dict[str, str]:
    """{notebook: key}. A notebook that is not to be run counts with the key it was last finished with."""
    modules, keys = cache_key.library(), {}
    for name in TopologicalSorter(project.graph).static_order():
        if name not in selected:
            task = previous.notebooks.get(name) if previous else None
            keys[name] = task.key if task else ""
            continue
        notebook, unit = project.notebook(name), project.units.get(name)
        parameters = {
            key: content_of(value.value)
            for key, value in values[units.notebook_of(name)].items()
            if key not in params.COMMAND_LINE
        }
        if unit:  # what its cells do not use does not count
            used = cache_key.names_in(
                tree for tree, *_ in cache_key.parsed_cells(notebook, members.LAST_CELL)
            )
            parameters = {key: value for key, value in parameters.items() if key in used}
            parameters |= {members.LAST_CELL: unit.member}
        upstream = {need: keys[need] for need in project.reads(name)}
        # A network is not trained again for another colour; the other notebooks are, so to say, their
        # pictures.
        trains = any(product.endswith("model.json") for product in project.products.get(name, ()))
        code, packages = cache_key.code_of(
            notebook, modules, not (trains or unit), members.LAST_CELL if unit else ""
        )
        keys[name] = cache_key.key(
            parameters, code, fingerprint, upstream, cache_key.versions(sorted(packages))
        )
    return keys


def content_of(value: Any) -> Any:
    """A parameter's value as it counts in a key: of a text that names a file, the hash of the file's content,
    wherever it lies."""
    if not isinstance(value, str) or not value:
        return value
    try:
        path = from_project(value)
        return ["file", file_hash(path)] if path.is_file() else value
    except (UserError, OSError):  # no path, or one that cannot be read: whoever opens it will say so
        return value


def is_cached(name: str, task: NotebookTask, key: str, run_dir: Path, project: Project) -> bool:
    """Whether a finished notebook of the run stands: same key, and its products are there unchanged; its page
    can be made again."""
    if not task.status.is_finished or task.key != key:
        return False
    page = {f"{name}.html": ""}
    return hashes_of(run_dir, project.outputs_of(name)) | page == task.product_hashes | page


def begin(
    project: Project,
    selected: list[str],
    keys: dict[str, str],
    run_dir: Path,
    previous: Tasks,
    forced: set[str],
) -> Tasks:
    """The tasks of a run at its start: cached, or waiting; those that are not selected are as they were.

    Arguments:
        keys: see `keys_of`; previous: the tasks of the run that is gone on with, or those that a new run takes
            over; forced: notebooks that run even if unchanged.

    Raises UserError if a notebook needs one that is neither finished nor to be run.
    """
    tasks: Tasks = {}
    for name, needs in project.graph.items():
        before = previous.get(name)
        if name not in selected:  # of its ensemble, what was done stays on record
            done = {unit: task for unit, task in previous.items() if task.status.is_finished}
            tasks |= {unit: task for unit, task in done.items() if units.notebook_of(unit) == name}
        task = tasks[name] = dataclasses.replace(before) if before else NotebookTask()
        task.needs = list(needs)
        if name not in selected:
            task.status = Status.WAITING if task.status is Status.RUNNING else task.status
            continue
        task.outdated = False
        if name not in forced and is_cached(name, task, keys[name], run_dir, project):
            task.status = Status.CACHED
        else:
            task.reset()
    for unit in project.units:  # trains nothing where its network stands
        if is_gathered(unit, tasks, project):
            tasks[unit] = previous.get(unit, tasks[unit])
            tasks[unit].status = Status.CACHED
    mark_dependents(tasks, selected, project)
    mark_outdated(tasks, selected, project)
    check_needs(tasks, selected, project)
    return tasks


def is_gathered(unit: str, tasks: Tasks, project: Project) -> bool:
    """Whether the notebooks whose ensembles a unit is a member of stand from before."""
    return all(tasks[name].status is Status.CACHED for name in project.users(unit))


def mark_dependents(tasks: Tasks, selected: list[str], project: Project) -> None:
    """Mark as outdated the finished notebooks that are not selected and need, directly or through others, one
    that runs again."""
    again = {name for name in selected if tasks[name].status is not Status.CACHED}
    for name in TopologicalSorter(project.graph).static_order():
        if name not in selected and again & set(project.reads(name)):
            again.add(name)
            tasks[name].outdated = tasks[name].status.is_finished


def to_renew(tasks: Tasks, *names: str) -> list[str]:
    """Some notebooks, and what they need that is outdated or not finished: what to run to bring them up to date."""
    waiting, again = list(names), set[str]()
    while waiting:
        again.add(name := waiting.pop())
        needs = [(need, tasks[need]) for need in tasks[name].needs if need in tasks and need not in again]
        waiting += [need for need, task in needs if task.outdated or not task.status.is_finished]
    return [name for name in tasks if name in again]


def numbers_of(names: list[str]) -> str:
    """Notebooks as --only takes them: "10,40"."""
    return ",".join(dict.fromkeys(name.partition("_")[0] for name in names))


def input_hashes(
    needs: tuple[str, ...], tasks: Tasks, products: dict[str, tuple[str, ...]]
) -> dict[str, str]:
    """{notebook: hash} of what a notebook reads: the products of those that it needs, by their recorded
    hashes.

    Of a model the card alone counts: it holds a hash of the weights, and the rest differs in each saving.
    """
    return {
        need: cache_key.digest(
            [tasks[need].product_hashes.get(product) for product in products.get(need, ())]
        )
        for need in needs
    }


def mark_outdated(tasks: Tasks, selected: list[str], project: Project) -> None:
    """Mark the finished notebooks that are not selected and read other products than there are now, or need
    one that is outdated."""
    for name, needs in project.graph.items():
        task = tasks[name]
        if name in selected or not task.status.is_finished:
            continue
        current = input_hashes(needs, tasks, project.products)
        changed = any(task.input_hashes.get(need, current[need]) != current[need] for need in needs)
        task.outdated = task.outdated or changed or any(tasks[need].outdated for need in needs)


def check_needs(tasks: Tasks, selected: list[str], project: Project) -> None:
    """UserError if a selected notebook needs one that is not selected and is outdated or not finished."""
    for name in selected:
        for need in project.graph[name]:
            if need in selected:
                continue
            if tasks[need].outdated:
                wanted = numbers_of(to_renew(tasks, name))
                raise UserError(
                    f"{name} needs {need}, which is outdated: it was made before what it needs itself was "
                    f"run again. Add it: --only {wanted}. Or bring all up to date: --resume without --only."
                )
            if not tasks[need].status.is_finished:
                raise UserError(
                    f"{name} needs {need}, which this run has not finished. Add it to --only, or go on with "
                    "a run that has it: "
                    "--resume --run ID."
                )


def block(tasks: Tasks, selected: list[str], graph: dict[str, tuple[str, ...]]) -> None:
    """Mark what waits for a notebook that failed, and what stands from before but needs it."""
    for name in TopologicalSorter(graph).static_order():
        causes = [need for need in graph[name] if tasks[need].status in (Status.FAILED, Status.BLOCKED)]
        if name not in selected or not causes:
            continue
        task = tasks[name]
        if task.status is Status.CACHED:
            task.outdated = True
        elif task.status is Status.WAITING:
            task.status = Status.BLOCKED
            task.error = f"Not run, because {causes[0]} {tasks[causes[0]].status}."
