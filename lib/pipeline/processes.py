"""Processes: pipes that never fill, groups that end together, limits that systems set."""

import contextlib
import os
import signal
import subprocess
import threading
from typing import IO, Any

TAIL = 1 << 16  # bytes of a stream, its last ones
CHUNK = 1 << 16


def stop(process: subprocess.Popen) -> None:
    """Kill a notebook's process, its kernel and whatever that started. What they write is complete or absent
    by itself."""
    import psutil

    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        end_group(member.pid)  # a kernel leads one of its own
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)


class Tail(threading.Thread):
    """Reads a stream to its end, as it comes, and keeps the last `TAIL` bytes: whoever writes into it never
    waits for a reader."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self.stream, self.tail = stream, b""
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError), self.stream:
            while chunk := self.stream.read1(CHUNK):
                self.tail = (self.tail + chunk)[-TAIL:]

    def text(self, seconds: float = 2.0) -> str:
        """The stream's last bytes. A helper of a dead process can hold the stream open, so its end is not
        waited for for ever."""
        self.join(seconds)
        return self.tail.decode(errors="replace")


def allow_files(wanted: int = 4096) -> int:
    """Let this process and its children open so many files, or as many as the system lets them; how many that
    are. macOS begins with 256, of which a notebook needs 80 at least."""
    try:
        import resource
    except ImportError:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def detached(file: IO[Any]) -> dict[str, Any]:
    """What subprocess.Popen needs to start a child that Ctrl-C does not reach and that shares the lock on an
    open file."""
    return {"start_new_session": True, "pass_fds": (file.fileno(),)} if hasattr(os, "setsid") else {}


def end_group(pid: int) -> None:
    """Kill the process group that a process leads, or led before it ended, if there is one."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def is_mine(process: Any) -> bool:
    """Whether a psutil.Process is of this user; where systems do not tell, they do not show the others'
    environment either."""
    return not (hasattr(process, "uids") and hasattr(os, "getuid")) or process.uids().real == os.getuid()
