"""The run folder's journal, `run.json`: what was run, from what, how far it came; its lock; and `runs/latest`.

run.json:
    run         the run's id, the folder's name
    profile     "demo"
    started     "2026-01-01T12:00:00+00:00" (UTC), of the first start; `updated` likewise, of the last change; `finished`, of
                the end, "" before; seconds: wall-clock seconds of all commands on this run
    status      "running", "done", "failed" (a notebook failed), "stopped" (Ctrl-C, SIGTERM)
    jobs        how many notebooks ran side by side: the number of threads, and so the last bits, follow from it
    data        {"folder": path, "why": one sentence, ...the fingerprint: "sha256", "train_images", "test_images",
                "generated": true or false, "note": text, "findings": text, counts of what the check found}
    versions    {"python": ..., "numpy": ..., "keras": ..., "tensorflow": ...}, of all notebooks that were started so far; where these
                differ "3.13.2, 3.12.0", and so with the code
    code        git commit ("+changes" if files differ from it) or a hash of lib
    environment {"OMP_NUM_THREADS": "1", ...}: the environment variables that may change the last bits, as the notebooks had them
    overrides   [[section, key, text], ...] of every -p so far
    parameters  {notebook: {key: value}}, what it ran with; of one that was not started yet, what it would run with
    notebooks   {name: {...}} in the order of the graph:
        status       "waiting", "running", "done", "failed", "blocked" (one that it needs failed), "kept" (done before, unchanged)
        seconds      wall-clock seconds of its execution, report included; 0 before
        headline     the figure a reader wants, in words; "" before
        error        one sentence; "" without an error
        key          what it was made from, as a hash; only of a finished notebook, else ""
        started_key  what its last start was made from: its key, once it is finished
        needs        the notebooks it needs
        made         {file: hash} of all that it left, see `products.left_by`; only of a finished notebook
        used         {notebook it needs: hash of that one's products} as they were at its start
        ran          what its last start ran with: {"parameters": {key: value}, "code", "versions", "environment", "jobs", "data": the
                     fingerprint's sha256}; empty before. What a later command asks for and does not run is not written here
        pages        a hash of the code and the templates that its report was made with
        outdated     true if it is finished and one that it needs was run again without it (--only)

Each state is written aside, synced and renamed, and the one before it is kept as `run.previous.json`.
"""

import contextlib
import datetime
import json
import os
import re
import statistics
import time
from pathlib import Path

from lib import files
from lib.errors import UserError

FORWARDED = re.compile(r"url=\.\./([^/]+)/index\.html")  # in the page that stands for the link
FILE, PREVIOUS, LOCK = "run.json", "run.previous.json", ".lock"
FINISHED = ("done", "kept")


def now():
    """The time in UTC as ISO text, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read(run_dir):
    """The journal of a run, or the state before if the last one is torn; None if there is neither."""
    return read_file(Path(run_dir) / FILE) or read_file(Path(run_dir) / PREVIOUS)


def read_file(path):
    """A journal from one file; None if it is missing, torn or something else."""
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
        return journal if is_sound(journal) else None
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def is_sound(journal):
    """Whether what a file held can be a journal: the names that going on with a run relies on, each of its type."""
    types = {"notebooks": dict, "data": dict, "profile": str, "started": str}
    if not all(isinstance(journal.get(name), kind) for name, kind in types.items()):
        return False
    entries, overrides = journal["notebooks"].values(), journal.get("overrides", [])
    return (
        all(isinstance(entry, dict) and isinstance(entry.get("status"), str) for entry in entries)
        and isinstance(overrides, list)
        and all(isinstance(part, list) and len(part) == 3 and all(isinstance(text, str) for text in part) for part in overrides)
    )


def write(run_dir, journal):
    """Write the journal; the state before it stays beside it."""
    path, previous = Path(run_dir) / FILE, Path(run_dir) / PREVIOUS
    journal["updated"] = now()
    if read_file(path):
        try:
            with files.scratch(previous) as folder:
                os.link(path, folder / FILE)
                files.moving(os.replace, folder / FILE, previous)
        except OSError:  # a file system without links
            files.write_atomic(previous, path.read_bytes())
    files.write_json(path, journal)


def record(journal, asked):
    """Let the journal say what was done: parameters, code, versions and environment of the notebooks that ran; where none did, what is
    `asked`."""
    entries = journal["notebooks"]
    ran = [entry["ran"] for entry in entries.values() if entry.get("ran")] or [asked]
    journal["parameters"] = {name: (entry.get("ran") or {}).get("parameters", asked["parameters"][name]) for name, entry in entries.items()}
    journal["code"] = ", ".join(dict.fromkeys(one["code"] for one in ran))
    for what in ("versions", "environment"):
        stated = [one.get(what, {}) for one in ran]
        names = dict.fromkeys(name for one in stated for name in one)
        journal[what] = {name: ", ".join(dict.fromkeys(one.get(name, "none") for one in stated)) for name in names}


def open_lock(run_dir, wait=5.0):
    """Lock a run folder for this process and its children; returns the open file, whose closing unlocks.

    The lock belongs to the open file, not to its content: the system drops it when the last holder ends, however that
    came about. A killed command's children may hold it for a moment, so it is tried for `wait` seconds if that one is gone.

    Raises UserError if another command writes into the folder.
    """
    file = open(Path(run_dir) / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 - open as long as the lock is held
    end = time.monotonic() + wait
    while not files.try_lock(file):
        file.seek(0)
        holder = file.read().strip()
        if time.monotonic() > end or not holder or is_alive(int(holder) if holder.isdigit() else 0):
            file.close()
            who = f" (process {holder})" if holder else ""
            name = Path(run_dir).name
            raise UserError(f"Another command{who} writes into the run {name}. Wait for it or stop it, or choose another --run.")
        time.sleep(0.1)
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    try:
        file.flush()
    except OSError as error:
        error.filename = str(Path(run_dir) / LOCK)
        raise
    return file


def is_alive(pid):
    """Whether a process with this number runs."""
    import psutil

    return pid > 0 and psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def point_latest(runs, run_id):
    """Let `runs/latest` lead to a run: a link, replaced in one step; where links fail, a page that forwards.

    Of two runs that begin at once the later one to come here is the latest. The page is never written through a link.
    """
    link = Path(runs) / "latest"
    with files.scratch(link) as folder:
        try:
            (folder / "latest").symlink_to(run_id, target_is_directory=True)
            os.replace(folder / "latest", link)
            return
        except (OSError, NotImplementedError):
            if link.is_symlink():
                link.unlink(missing_ok=True)
    page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=../{run_id}/index.html">\n'
    files.write_atomic(link / "index.html", page)


def latest_run(runs):
    """The folder of the newest run, the one that `runs/latest` leads to; UserError if there is none."""
    link = Path(runs) / "latest"
    with contextlib.suppress(OSError, TypeError):  # neither link nor page; another page
        folder = link.resolve() if link.is_symlink() else Path(runs) / FORWARDED.search((link / "index.html").read_text("utf-8"))[1]
        if read(folder):
            return folder.resolve()
    found = [(journal["started"], folder) for folder in run_folders(runs) if (journal := read(folder))]
    if not found:
        raise UserError(f"There is no run in {runs} to go on with. Leave --resume out.")
    return max(found)[1]


def run_folders(runs):
    """The folders in `runs` that may hold a run."""
    runs = Path(runs)
    return sorted(path for path in runs.iterdir() if path.is_dir() and not path.is_symlink()) if runs.is_dir() else []


def expected_seconds(runs, profile):
    """{notebook: median seconds} over the finished notebooks of earlier runs with this profile."""
    seconds = {}
    for folder in run_folders(runs):
        journal = read(folder)
        if journal and journal["profile"] == profile:
            for name, entry in journal["notebooks"].items():
                if entry.get("status") in FINISHED and entry.get("seconds", 0) > 0:
                    seconds.setdefault(name, []).append(entry["seconds"])
    return {name: statistics.median(values) for name, values in seconds.items()}


def merge_metrics(run_dir, journal):
    """Write `metrics.json`: the metrics of all finished notebooks in one flat dictionary, and the run's id."""
    merged = {"run": journal["run"]}
    for name, entry in journal["notebooks"].items():
        if entry["status"] in FINISHED:
            merged.update(files.read_metrics(run_dir, name)[1])
    files.write_json(Path(run_dir) / "metrics.json", merged)
    return merged
