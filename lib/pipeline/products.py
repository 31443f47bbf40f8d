"""What a notebook writes into the run folder: on the disk before it counts, and known by its content ever
after."""

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib import files, paths
from lib.data import manifest
from lib.errors import UserError
from lib.pipeline import cache_key, params, processes
from lib.pipeline.run_state import NotebookTask

SPLIT = "split.csv"  # which images train and which evaluate: of all notebooks that divide them
COPIES = "copies.json"  # how many test images are copies of training images, and what looking them up scores
FINDINGS = "data_findings.csv"  # what the check of the data found
RUN, NOTEBOOK = paths.RUN_VARIABLE, "STEEL_NOTEBOOK"  # environment variables that mark whose a process is


def files_of(run_dir: str | os.PathLike, products: Iterable[str]) -> list[str]:
    """The files of a notebook's products, sorted paths relative to the run folder: of a model its whole
    folder, and those of the further members of its ensemble."""
    run_dir, paths_of_products = Path(run_dir), set()
    for product in products:
        path = run_dir / product
        if path.name == "model.json" and path.parent.is_dir():
            for folder in paths.member_folders(path.parent):
                paths_of_products |= {file for file in folder.rglob("*") if file.is_file()}
        else:
            paths_of_products.add(path)
    return sorted(path.relative_to(run_dir).as_posix() for path in paths_of_products)


def hashes_of(run_dir: str | os.PathLike, products: Iterable[str]) -> dict[str, str]:
    """{file: hash of its content} of all files of these products; a missing file has the hash ""."""
    hashes = {}
    for name in files_of(run_dir, products):
        path = Path(run_dir) / name
        try:
            hashes[name] = cells_hash(path) if path.suffix == ".ipynb" else manifest.file_hash(path)[:16]
        except (OSError, ValueError, UserError):
            hashes[name] = ""
    return hashes


def cells_hash(notebook: Path) -> str:
    """A hash of the sources and outputs of a notebook's cells: whoever opens it in Jupyter and saves it
    unchanged changes the rest."""
    cells = params.read_notebook(notebook)["cells"]
    return cache_key.digest(
        [[cell["cell_type"], joined(cell.get("source")), joined(cell.get("outputs"))] for cell in cells]
    )


def joined(value: Any) -> Any:
    """A part of a notebook with its texts in one piece: the format allows them as lists of lines, too."""
    if isinstance(value, dict):
        return {key: joined(item) for key, item in value.items()}
    if isinstance(value, list):
        return (
            "".join(value)
            if value and all(isinstance(item, str) for item in value)
            else [joined(item) for item in value]
        )
    return value


def mend_report(run_dir: str | os.PathLike, name: str, task: NotebookTask, pages: str) -> None:
    """Render a finished notebook's report again where it is missing, was changed, or was made with other
    templates.

    Arguments:
        task: of the notebook, which then has the new hashes; pages: `cache_key.pages_hash()`.
    """
    page = f"{name}.html"
    if hashes_of(run_dir, [page])[page] != task.product_hashes.get(page) or task.pages != pages:
        from lib.report.pages import render

        render(Path(run_dir) / f"{name}.ipynb", Path(run_dir) / page)
        task.product_hashes |= hashes_of(run_dir, [page])
        task.pages = pages


def drop_split(run_dir: str | os.PathLike, tasks: dict[str, NotebookTask]) -> None:
    """Remove a split.csv that is not the one of 40_evaluation's scores: who needs it next makes it again from
    its settings."""
    known = [task.product_hashes[SPLIT] for task in tasks.values() if task.product_hashes.get(SPLIT)]
    if known and hashes_of(run_dir, [SPLIT])[SPLIT] not in known:
        (Path(run_dir) / SPLIT).unlink(missing_ok=True)


def sync(written: list[Path]) -> None:
    """Wait until files, and the folders that name them, are on the disk: run.json must not call done what a
    power cut takes."""
    for path in {*written, *(path.parent for path in written)}:
        files.sync(path)


def remove_partial(run_dir: str | os.PathLike) -> None:
    """Remove what was being written when a command was killed: what has a name as `files.scratch` and
    `files.replacing` give."""
    for path in [*Path(run_dir).rglob(".*.partial")]:
        if not files.is_scratch(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def end_strays(run_dir: str | os.PathLike, notebook: str | None = None) -> None:
    """Kill processes that outlived an earlier command on this run (a kernel whose parent was killed), or
    those of one notebook."""
    import psutil

    own = {process.pid for process in psutil.Process().parents()} | {os.getpid()}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in own or not processes.is_mine(process):
                continue
            environment = process.environ()
            if environment.get(RUN) == str(run_dir) and notebook in (None, environment.get(NOTEBOOK)):
                process.kill()
                process.wait(5)
