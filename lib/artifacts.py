"""What a notebook leaves in the run folder: on the disk before it counts, and known by its content ever after."""

import contextlib
import os
import shutil
from pathlib import Path

from lib import manifest, paths, provenance

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


def digests(run_dir, products):
    """{file: hash of its content} of all that a notebook's products consist of; a missing file has the hash ""."""
    found = {}
    for name in files_of(run_dir, products):
        try:
            found[name] = manifest.file_hash(Path(run_dir) / name)[:16]
        except OSError:
            found[name] = ""
    return found


def of_needs(needs, entries, products):
    """{notebook: hash} of what a notebook finds: the products of those that it needs, as the journal knows them.

    Of a model the card alone counts: it holds a hash of the weights, and the rest differs in each saving.
    """
    return {need: provenance.digest([entries[need]["made"].get(product) for product in products.get(need, ())]) for need in needs}


def sync(files):
    """Wait until files, and the folders that name them, are on the disk: a journal must not call done what a power cut takes."""
    for path in {*map(Path, files), *(Path(path).parent for path in files)}:
        if path.is_dir() and os.name == "nt":
            continue
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_partial(run_dir):
    """Remove what was being written when a command was killed."""
    for pattern in (".*.partial", ".*.previous"):
        for path in [*Path(run_dir).rglob(pattern)]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def end_strays(run_dir, notebook=None):
    """Kill processes that an earlier command on this run left (a kernel whose parent was killed), or those of one notebook."""
    import psutil

    mine = {process.pid for process in psutil.Process().parents()} | {os.getpid()}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in mine or process.uids().real != os.getuid():
                continue
            environment = process.environ()
            if environment.get(RUN) == str(run_dir) and notebook in (None, environment.get(NOTEBOOK)):
                process.kill()
                process.wait(5)
