"""Windows, played: on PYTHONPATH this takes away what Windows lacks, in this process and in all that it
starts.

Gone are users' numbers, process groups, sessions, locks by fcntl, SIGHUP and the list of allowed cores; the
library cannot make links, and every file that it replaces is first in use by another program. Output is in
cp1252 by the environment variable PYTHONIOENCODING.
"""

import errno
import fcntl as locks
import os
import pathlib
import signal
import sys

GONE = {"chown", "fork", "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp", "getsid", "getuid", "killpg",
        "lchown", "mkfifo", "nice", "sched_getaffinity", "sched_setaffinity", "setpgid", "setsid", "statvfs", "sync", "uname",
        "SIGALRM", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2"}  # fmt: skip


class Poorer(type(os)):
    """A module that keeps what Windows lacks from the library; other packages know on which system they
    really run."""

    def __getattribute__(self, name):
        if name in GONE and sys._getframe(1).f_globals.get("__name__", "").partition(".")[0] in (
            "lib",
            "run_all",
        ):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on Windows")
        return super().__getattribute__(name)


os.__class__ = signal.__class__ = Poorer
for name in ("fcntl", "grp", "pwd", "termios"):
    sys.modules[name] = None

try:
    import psutil

    del psutil.Process.uids, psutil.Process.gids
except ImportError:
    pass

replace, symlink_to, used = os.replace, pathlib.Path.symlink_to, set()


def caller(depth):
    """The module that calls."""
    return sys._getframe(depth + 1).f_globals.get("__name__", "")


def replace_in_use(source, target, **more):
    """A file that the library replaces is in use the first time."""
    if (
        caller(1).startswith("lib")
        and os.path.exists(target)
        and (key := (os.fspath(source), os.fspath(target))) not in used
    ):
        used.add(key)
        error = PermissionError(
            errno.EACCES,
            "The process cannot access the file because it is being used by another process",
            str(target),
        )
        error.winerror = 32
        raise error
    return replace(source, target, **more)


def without_privilege(path, target, target_is_directory=False):
    """Only administrators make links."""
    if caller(1).startswith("lib"):
        error = OSError(errno.EPERM, "A required privilege is not held by the client", str(path))
        error.winerror = 1314
        raise error
    return symlink_to(path, target, target_is_directory)


os.replace, pathlib.Path.symlink_to = replace_in_use, without_privilege


class Locking:
    """msvcrt's lock on a byte of an open file, by the system's own."""

    LK_NBLCK = 2

    @staticmethod
    def locking(descriptor, mode, count):
        locks.flock(descriptor, locks.LOCK_EX | locks.LOCK_NB)


sys.modules["msvcrt"] = Locking
