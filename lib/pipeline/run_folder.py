"""Run folders: a new one, one to go on with, its lock, and `runs/latest`."""

import contextlib
import os
import re
import time
from pathlib import Path
from typing import TextIO

from lib import files
from lib.errors import UserError
from lib.pipeline import products, profiles, run_state
from lib.pipeline.run_state import RunState

LOCK = ".lock"
TAKEN = ("latest", "interactive", "comparisons", "mlflow", "tensorboard")  # folders in runs/ that are no run
FORWARDED = re.compile(r"url=\.\./([^/]+)/index\.html")  # in the page that stands for the link


def open_new(name: str, profile: str, runs: Path) -> tuple[Path, TextIO]:
    """(folder of a new run, its lock). UserError where another run would be overwritten.

    Arguments:
        name: of the run; "": made from the time and the profile.
    """
    insist_on_free(name, runs)
    run_dir = runs / name if name else new_folder(profile, runs)
    run_dir.mkdir(parents=True, exist_ok=True)
    lock = open_lock(run_dir)
    try:
        insist_on_empty(run_dir)  # another command can have come first, and be through
    except UserError:
        lock.close()
        raise
    return run_dir, lock


def insist_on_free(name: str, runs: Path) -> None:
    """UserError if a new run cannot be called so, or there is one of this name; "" is always free."""
    check_name(name)
    if name in TAKEN:
        raise UserError(f"--run {name}: this name is taken. Choose another.")
    run_dir = runs / name
    if name and run_dir.is_dir():
        insist_on_empty(run_dir)
    elif name and os.path.lexists(run_dir):
        raise UserError(f"--run {name}: {run_dir} is there and no folder. Choose another name.")


def open_existing(name: str, runs: Path) -> tuple[Path, TextIO, RunState]:
    """(run folder, its lock, its state) of a run to go on with; UserError if there is none that can be
    read."""
    check_name(name)
    run_dir = existing(name, runs)
    if not run_dir.is_dir():
        known = [folder.name for folder in run_folders(runs)]
        raise UserError(f"There is no run {name}{profiles.nearest(name, known)} Leave --resume out.")
    lock = open_lock(run_dir)
    state = run_state.read(run_dir)
    if state is None:
        lock.close()
        raise UserError(f"{run_dir} holds no readable {run_state.FILE}. Start a new run without --resume.")
    return run_dir, lock, state


def check_name(name: str) -> None:
    """UserError if a run that --run names cannot be called so."""
    if name and not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name):
        raise UserError(f"--run {name}: a run's name has letters, digits, dots, - and _ only.")


def existing(name: str, runs: Path) -> Path:
    """The folder of the run to go on with that --run names, the newest one without a name; it need not
    exist."""
    return latest_run(runs) if name in ("", "latest") else runs / name


def insist_on_empty(run_dir: Path) -> None:
    """UserError if a folder holds more than a command writes before the first state of its run."""
    harmless = (LOCK, products.FINDINGS, products.SPLIT, products.COPIES, "lost+found")
    if any(path.name not in harmless and not path.name.endswith(".partial") for path in run_dir.iterdir()):
        raise UserError(
            f"{run_dir} already holds a run. Add --resume to go on with it, or choose another --run."
        )


def new_folder(profile: str, runs: Path) -> Path:
    """A folder of a new name, made by this command: date, time (UTC) and profile, and a number where another
    took that name."""
    stem = time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + profile
    runs.mkdir(parents=True, exist_ok=True)
    for name in (stem, *(f"{stem}-{count}" for count in range(2, 1000))):
        try:
            (runs / name).mkdir()
            return runs / name
        except FileExistsError:
            continue
    raise UserError(f"{runs} holds a thousand runs of {stem}. Name the run with --run.")


def open_lock(run_dir: str | os.PathLike, wait: float = 5.0) -> TextIO:
    """Lock a run folder for this process and its children; returns the open file, whose closing unlocks.

    The lock belongs to the open file, not to its content: the system drops it when the last holder ends,
    however that came about. A killed command's children may hold it for a moment, so it is tried for `wait`
    seconds if that one is gone.

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
            raise UserError(
                f"Another command{who} writes into the run {name}. Wait for it or stop it, or choose another "
                "--run."
            )
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


def is_alive(pid: int) -> bool:
    """Whether a process with this number runs."""
    import psutil

    return pid > 0 and psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def point_latest(runs: str | os.PathLike, run_id: str) -> None:
    """Let `runs/latest` lead to a run: a link, replaced in one step; where links fail, a page that forwards.

    Of two runs that begin at once the later one to come here is the latest. The page is never written through
    a link.
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


def latest_run(runs: str | os.PathLike) -> Path:
    """The folder of the newest run, the one that `runs/latest` leads to; UserError if there is none."""
    link = Path(runs) / "latest"
    with contextlib.suppress(OSError):
        if link.is_symlink():
            folder = link.resolve()
        else:
            page = FORWARDED.search((link / "index.html").read_text("utf-8"))
            folder = Path(runs) / page[1] if page else link
        if run_state.read(folder):
            return folder.resolve()
    started = [(state.started, folder) for folder in run_folders(runs) if (state := run_state.read(folder))]
    if not started:
        raise UserError(f"There is no run in {runs} to go on with. Leave --resume out.")
    return max(started)[1]


def run_folders(runs: str | os.PathLike) -> list[Path]:
    """The folders in `runs` that may hold a run, sorted."""
    runs = Path(runs)
    return (
        sorted(path for path in runs.iterdir() if path.is_dir() and not path.is_symlink())
        if runs.is_dir()
        else []
    )
