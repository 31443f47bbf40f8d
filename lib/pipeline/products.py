"""What a notebook leaves in the run folder: on the disk before it counts, and known by its content ever after."""

import contextlib
import os
import shutil
from pathlib import Path

from lib import files as files_module
from lib import paths
from lib.errors import UserError
from lib.files import file_hash, is_scratch
from lib.pipeline import cache_key, params, processes
from lib.pipeline.run_state import FINISHED

SPLIT = "split.csv"  # which images teach and which judge: of all notebooks that divide them
RUN, NOTEBOOK = paths.RUN_VARIABLE, "STEEL_NOTEBOOK"  # environment variables that tell whose a process is


def files_of(run_dir, products):
    """The files of a notebook's products, sorted paths relative to the run folder: of a model its whole folder, and those of the
    further members of its ensemble."""
    found = set()
    for product in products:
        path = Path(run_dir) / product
        if path.name == "model.json" and path.parent.is_dir():
            found |= {each for folder in paths.member_folders(path.parent) for each in folder.rglob("*") if each.is_file()}
        else:
            found.add(path)
    return sorted(path.relative_to(run_dir).as_posix() for path in found)


def left_by(name, project):
    """The files that a notebook leaves, relative to the run folder: its executed form, its report, its metrics, its products, what
    no other notebook needs, and the split that it has judged by."""
    files = *project.products.get(name, ()), *project.further.get(name, ()), *((SPLIT,) if name == "40_evaluation" else ())
    return f"{name}.ipynb", f"{name}.html", f"metrics/{name}.json", *files


def digests(run_dir, files):
    """{file: hash of its content} of all that these files (see `left_by`) consist of; a missing file has the hash ""."""
    found = {}
    for name in files_of(run_dir, files):
        path = Path(run_dir) / name
        try:
            found[name] = cells_hash(path) if path.suffix == ".ipynb" else file_hash(path)[:16]
        except (OSError, ValueError, UserError):
            found[name] = ""
    return found


def cells_hash(notebook):
    """A hash of what a notebook's cells say and put out: whoever opens it in Jupyter and saves it unchanged changes the rest."""
    cells = params.read_notebook(notebook)["cells"]
    return cache_key.digest([[cell["cell_type"], joined(cell.get("source")), joined(cell.get("outputs"))] for cell in cells])


def joined(value):
    """A part of a notebook with its texts in one piece: the format allows them as lists of lines, too."""
    if isinstance(value, dict):
        return {key: joined(one) for key, one in value.items()}
    if isinstance(value, list):
        return "".join(value) if value and all(isinstance(one, str) for one in value) else [joined(one) for one in value]
    return value


def mend_report(run_dir, name, entry, pages):
    """Render a finished notebook's report again where it is missing, was changed, or was made with other templates.

    Arguments:
        entry: of the notebook in run.json, which then holds the new hashes; pages: `cache_key.pages_hash()`.
    """
    page = f"{name}.html"
    if digests(run_dir, [page])[page] != entry["made"].get(page) or entry["pages"] != pages:
        from lib.report.pages import render

        render(Path(run_dir) / f"{name}.ipynb", Path(run_dir) / page)
        entry["made"] |= digests(run_dir, [page])
        entry["pages"] = pages


def drop_split(run_dir, entries):
    """Remove a split.csv that is not the one that 40_evaluation has judged by: who needs it next makes it again from its settings."""
    known = [entry["made"][SPLIT] for entry in entries.values() if entry.get("made", {}).get(SPLIT)]
    if known and digests(run_dir, [SPLIT])[SPLIT] not in known:
        (Path(run_dir) / SPLIT).unlink(missing_ok=True)


def of_needs(needs, entries, products):
    """{notebook: hash} of what a notebook finds: the products of those that it needs, as the journal knows them.

    Of a model the card alone counts: it holds a hash of the weights, and the rest differs in each saving.
    """
    return {need: cache_key.digest([entries[need]["made"].get(product) for product in products.get(need, ())]) for need in needs}


def mark_outdated(entries, names, project):
    """Mark the finished notebooks among `names` that found other products than there are now, or that need one that is outdated."""
    for name in project.graph:
        entry = entries[name]
        if name in names and entry["status"] in FINISHED:
            now = of_needs(project.graph[name], entries, project.products)
            other = any(entry["used"].get(need, now[need]) != now[need] for need in now)
            entry["outdated"] = entry["outdated"] or other or any(entries[need]["outdated"] for need in now)


def sync(files):
    """Wait until files, and the folders that name them, are on the disk: a journal must not call done what a power cut takes."""
    for path in {*map(Path, files), *(Path(path).parent for path in files)}:
        files_module.sync(path)


def remove_partial(run_dir):
    """Remove what was being written when a command was killed: what has a name as `files.scratch` and `files.replacing` give."""
    for path in [*Path(run_dir).rglob(".*.partial")]:
        if not is_scratch(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def end_strays(run_dir, notebook=None):
    """Kill processes that an earlier command on this run left (a kernel whose parent was killed), or those of one notebook."""
    import psutil

    mine = {process.pid for process in psutil.Process().parents()} | {os.getpid()}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in mine or not processes.is_mine(process):
                continue
            environment = process.environ()
            if environment.get(RUN) == str(run_dir) and notebook in (None, environment.get(NOTEBOOK)):
                process.kill()
                process.wait(5)
