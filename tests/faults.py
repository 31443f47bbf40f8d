"""What a machine does to a run: a full disk, a read-only folder, no memory, signals, each at several stages
of the small project.

    python tests/faults.py --folder /tmp/faults

plays every case and prints the table that `benchmarks/faults.md` keeps; the tests play the cases marked
`short`. A case is over when the command has ended by itself with the code and the words that are stated, no
process is left, what was finished is still there, and after the fault is gone --resume ends with the results
of an undisturbed run.
"""

import argparse
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import cv2
import kills
import numpy as np

from lib.pipeline import run_state

SCRIPT = Path(__file__).resolve().parent / "fixtures" / "small_project.py"
Case = namedtuple("Case", "fault stage how act code said short", defaults=(False,))
Ended = namedtuple("Ended", "code seconds said finished problems")


class Disk:
    """The folder of the runs as a small disk of its own, in memory; needs the rights to mount."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        self.mounted = (
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True
            ).returncode
            == 0
        )

    def fill(self):
        with contextlib.suppress(OSError), open(self.folder / "fill", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self):
        (self.folder / "fill").unlink(missing_ok=True)

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)


def freeze(folder, frozen):
    """Make the folders below `folder` read-only, or undo it: by their mode, for root by the attribute that
    binds root too."""
    for path in [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]:
        if os.getuid() == 0:
            ended = subprocess.run(["chattr", "+i" if frozen else "-i", path], capture_output=True)
            if (
                ended.returncode and path.exists()
            ):  # what was there for a moment alone, between two states of a run, is not frozen
                ended.check_returncode()
        else:
            path.chmod(0o555 if frozen else 0o755)


def can_freeze(folder):
    """Whether `freeze` works here."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        freeze(folder, True)
        freeze(folder, False)
        return True
    except (OSError, subprocess.CalledProcessError):
        return False


def kill_parts(*kinds):
    """An act that kills the first process of each kind with SIGKILL, as the system does when memory is
    out."""

    def act(process, runs, disk):
        members = kills.family(kills.psutil.Process(process.pid))
        for kind in kinds:
            members[kind][0].kill()

    return act


def send(number):
    return lambda process, runs, disk: process.send_signal(number)


def fill(process, runs, disk):
    disk.fill()


def make_read_only(process, runs, disk):
    freeze(runs, True)


def nothing(process, runs, disk):
    """The fault is in how the command was started."""


START, CELL, STARTS, BETWEEN = (
    "before the first cell",
    "in a cell",
    "as a notebook starts",
    "after a notebook",
)
LINE = {
    START: "data  ",
    STARTS: "10_writes_value  started",
    BETWEEN: "done in",
}  # what the command has printed by then
FULL, FROZEN = (
    r"The disk is full \(\S+\)\. Make room, then ",
    r"The folder cannot be written \(\S+\)\. Make it writable, then ",
)
GIBIBYTE = 2**30
CASES = [
    Case("disk full", START, "", fill, 2, FULL),
    Case("disk full", STARTS, "", fill, 2, FULL, True),
    Case("disk full", BETWEEN, "", fill, 2, FULL),
    Case("read-only folder", START, "", make_read_only, 2, FROZEN),
    Case("read-only folder", STARTS, "", make_read_only, 2, FROZEN, True),
    Case("read-only folder", BETWEEN, "", make_read_only, 2, FROZEN),
    Case(
        "memory limit",
        "the kernel's, 3 GiB",
        "allocate",
        nothing,
        1,
        r"30_misbehaves +FAILED after .*MemoryError",
        True,
    ),
    Case(
        "memory limit",
        "the kernel is killed for it",
        "wait",
        kill_parts("kernel"),
        1,
        "killed, or out of memory",
    ),
    Case(
        "memory limit",
        "papermill is killed for it",
        "wait",
        kill_parts("papermill"),
        1,
        "was killed, with code -9. The memory",
    ),
    Case("Ctrl-C", START, "", send(signal.SIGINT), 130, "stopped"),
    Case("Ctrl-C", CELL, "wait", send(signal.SIGINT), 130, "stopped. Go on with", True),
    Case("Ctrl-C", BETWEEN, "", send(signal.SIGINT), 130, "stopped. Go on with"),
    Case("SIGTERM", START, "", send(signal.SIGTERM), 143, "stopped"),
    Case("SIGTERM", CELL, "wait", send(signal.SIGTERM), 143, "stopped. Go on with"),
    Case("SIGTERM", BETWEEN, "", send(signal.SIGTERM), 143, "stopped. Go on with", True),
]
WELL = "well"  # how 30_misbehaves is to behave where the fault is not its own
CHOICE = ("--profile", "small", "--only", "10,30")  # two notebooks are enough


def make_data(folder):
    """Two strips in the competition's layout."""
    for part in ("train_images", "test_images"):
        (folder / part).mkdir(parents=True)
        for name in ("a.jpg", "b.jpg"):
            cv2.imwrite(str(folder / part / name), np.full((256, 1600, 3), 90, np.uint8))
    (folder / "train.csv").write_text("ImageId,ClassId,EncodedPixels\na.jpg,3,1 5\n")
    return folder


def undisturbed(folder, data):
    """The results of the small project's run."""
    command = kills.beginner([str(SCRIPT), str(folder)], "whole", *CHOICE, "--data", str(data))(False)
    said, _ = command.communicate()
    assert command.returncode == 0, said
    return kills.results(folder / "runs" / "whole")


def play(case, folder, data, expected):
    """Play a case in an empty folder: how the command ended, and what is wrong with that; None if it cannot
    be played here."""
    runs = folder / "runs"
    disk = Disk(runs) if case.fault == "disk full" else None
    if (disk and not disk.mounted) or (case.fault == "read-only folder" and not can_freeze(runs)):
        return None
    try:
        return play_on(case, folder, data, expected, disk)
    finally:
        if case.fault == "read-only folder":
            freeze(runs, False)
        if disk:
            disk.close()


def play_on(case, folder, data, expected, disk):
    runs, run_dir = folder / "runs", folder / "runs" / "a"
    arguments = [*CHOICE, "--data", str(data)]
    how = (
        case.how or WELL
    )  # as when it is gone on with: with another value a finished notebook rightly runs again
    begin = kills.beginner([str(SCRIPT), str(folder)], "a", *arguments, "-p", f"30.how={how}")
    old = resource.getrlimit(resource.RLIMIT_AS)
    if case.how == "allocate":
        resource.setrlimit(resource.RLIMIT_AS, (3 * GIBIBYTE, old[1]))  # the command inherits it
    try:
        process = begin(False)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
    said = ""
    if case.how == "wait":
        while not (run_dir / "waiting").is_file() and process.poll() is None:
            time.sleep(0.05)
    elif case.act is not nothing:
        while (line := process.stdout.readline()) and LINE[case.stage] not in line:
            said += line
        said += line
    begun = time.monotonic()
    case.act(process, runs, disk)
    said += process.communicate(timeout=300)[0]
    seconds, problems = time.monotonic() - begun, []
    problems += ["a traceback"] if "Traceback" in said else []
    if kills.left_behind(run_dir, 10):
        problems.append("processes are left")
    if disk:
        disk.free()
    if case.fault == "read-only folder":
        freeze(runs, False)
    before = kills.finished(run_dir) if (run_dir / run_state.FILE).is_file() else {}
    resumed = begin_again(folder, arguments, run_dir)
    said_then, _ = resumed.communicate(timeout=300)
    if resumed.returncode or kills.results(run_dir) != expected:
        problems.append(f"--resume: {resumed.returncode}, {said_then[-300:]}")
    else:
        after = kills.finished(run_dir)
        problems += [f"{name} ran again" for name, file in before.items() if after[name] != file]
    return Ended(process.returncode, seconds, said, sorted(before), problems)


def begin_again(folder, arguments, run_dir):
    """Start the command that goes on with the run, or starts it if there is none yet."""
    script = [str(SCRIPT), str(folder)]
    return kills.beginner(script, "a", *arguments, "-p", f"30.how={WELL}")(bool(run_state.read(run_dir)))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", required=True)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    given = parser.parse_args()
    folder = Path(given.folder).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    data = make_data(folder / "data")
    expected = undisturbed(folder / "whole", data)
    print(
        "| fault | stage | exit code | seconds to the end | printed | finished | resumed to the same results |\n"
        "|---|---|---|---|---|---|---|"
    )
    bad = 0
    for number, case in list(enumerate(CASES))[given.start :]:
        ended = play(case, folder / str(number), data, expected)
        if ended is None:
            print(f"| {case.fault} | {case.stage} | cannot be played here |", flush=True)
            continue
        found = judge(case, ended)
        bad += bool(found)
        last = (
            [line for line in ended.said.splitlines() if line.strip()][-1]
            .replace(str(folder), "")
            .replace("|", "/")
        )
        same = "yes" if not found else "NO: " + "; ".join(found)
        cells = (
            case.fault,
            case.stage,
            ended.code,
            f"{ended.seconds:.1f}",
            last[:160],
            len(ended.finished),
            same,
        )
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return 1 if bad else 0


def judge(case, ended):
    """What is wrong with how a case ended."""
    import re

    wrong = [] if ended.code == case.code else [f"exit code {ended.code}, not {case.code}"]
    wrong += [] if re.search(case.said, ended.said) else [f"{case.said!r} is not in {ended.said[-400:]!r}"]
    return wrong + ended.problems


if __name__ == "__main__":
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN, (
        "started with Ctrl-C ignored: the command would ignore it too"
    )
    sys.exit(main())
