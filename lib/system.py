"""What systems do differently, in one place. Asked for is what a system can do, never how it is called."""

import contextlib
import errno
import os
import signal
import time

try:
    import fcntl
except ImportError:  # Windows has msvcrt
    fcntl = None

IN_USE = (5, 32, 33)  # numbers of Windows' errors: another program has the file open
NO_LOCKS = {getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP") if hasattr(errno, name)}


def moving(move, source, target, seconds=5.0):
    """Call os.replace or os.rename; where the system refuses because another program reads the file just then (a virus scanner, a
    viewer, the index of files), try again for some seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            return move(source, target)
        except PermissionError as error:
            if getattr(error, "winerror", None) not in IN_USE or time.monotonic() > end:
                raise
        time.sleep(0.05)


def sync(path):
    """Wait until a file, or a folder's list of names, is on the disk; where folders cannot be opened, theirs is the system's."""
    folder = os.path.isdir(path)
    try:
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    except PermissionError:
        if folder:
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.EBADF, *NO_LOCKS):  # network drives know no folders either
            raise
    finally:
        os.close(descriptor)


def cores():
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allow_files(wanted=4096):
    """Let this process and its children open so many files, or as many as the system lets them; how many that are. macOS begins with
    256, of which a notebook needs 80 at least."""
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


def start_method():
    """How helper processes start: forked on Linux (they never touch TensorFlow, so a kernel that has loaded it may fork), else afresh."""
    import multiprocessing
    import sys

    return "fork" if sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods() else "spawn"


def detached(file):
    """What subprocess.Popen needs to start a child that Ctrl-C does not reach and that shares the lock on an open file."""
    return {"start_new_session": True, "pass_fds": (file.fileno(),)} if hasattr(os, "setsid") else {}


def end_group(pid):
    """Kill the process group that a process leads, or led before it ended, if there is one."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def is_mine(process):
    """Whether a psutil.Process is of this user; where systems do not tell, they do not show the others' environment either."""
    return not (hasattr(process, "uids") and hasattr(os, "getuid")) or process.uids().real == os.getuid()


def try_lock(file):
    """Whether the lock on an open file was free and is now ours. On a file system that knows no locks it is always free."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(1 << 20)  # beyond the content, which others must be able to read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


@contextlib.contextmanager
def locked(path, pause=0.5):
    """A context that one process at a time is in; the others wait. `path` is the lock's file, which stays."""
    with open(path, "a", encoding="utf-8") as file:
        while not try_lock(file):
            time.sleep(pause)
        yield
