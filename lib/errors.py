"""What a user can mend, in a sentence without a traceback; how every command ends: its exit code, its output,
its remedies."""

import argparse
import contextlib
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO


class UserError(Exception):
    """Something the user can mend: the message names the file, the row and the remedy, and is shown without a
    traceback."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows this instead of a traceback, in Jupyter and in papermill alike."""
        return [f"{type(self).__name__}: {self}"]


LONGEST_SENTENCE = (
    3000  # characters of an error in the terminal, which names what a user typed, however long that is
)
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
AGAIN = "again"  # attribute of an error of the machine: what to do once its cause is gone
DENIED = (errno.EACCES, errno.EPERM)


class Stopped(KeyboardInterrupt):
    """Ctrl-C or a request to end; `code` is the exit code."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.code = 128 + signal_number


def print_line(text: object = "", stream: TextIO | None = None) -> None:
    """Print a line at once, also into a pipe; a terminal that is gone, or whose encoding lacks a letter, must
    not end a run."""
    stream = sys.stdout if stream is None else stream
    with contextlib.suppress(BrokenPipeError):
        print(escaped(text, getattr(stream, "encoding", None)), file=stream, flush=True)


def escaped(text: object, encoding: str | None = None) -> str:
    """A text with every letter that `encoding` (None: UTF-8) cannot write as its escape, such as \\u94a2."""
    encoding = encoding or "utf-8"
    return str(text).encode(encoding, "backslashreplace").decode(encoding)


def escape_output() -> None:
    """Let whatever is printed from here on go through, escaped where the encoding of the output lacks a
    letter."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """A context in which what was finished stays: an error of the machine within it names --resume as the way
    to go on."""
    try:
        yield
    except (OSError, MemoryError) as error:
        setattr(error, AGAIN, "go on with --resume: what was finished is kept")
        raise


def exit_code_of(action: Callable[..., int | None], *arguments: Any) -> int:
    """Call a command; its exit code, or 2 for what the user is to mend, a mistake or the machine, 128 +
    signal where it was stopped."""
    escape_output()
    owner = os.getpid()

    def stop(signal_number: int, _: object) -> None:
        if os.getpid() != owner:  # a forked helper ends without a word
            os._exit(128 + signal_number)
        raise Stopped(signal_number)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            known = getattr(signal, name, None)
            if (
                known and signal.getsignal(known) is not signal.SIG_IGN
            ):  # nohup ignores SIGHUP, and so it stays
                signal.signal(known, stop)
    try:
        return action(*arguments) or 0
    except UserError as error:
        return print_error(str(error))
    except KeyboardInterrupt as stopped:
        print_line("stopped", sys.stderr)
        return getattr(stopped, "code", 128 + signal.SIGINT)
    except (OSError, MemoryError) as error:
        sentence = remedy_for(error)
        if not sentence:
            raise
        return print_error(sentence)


class Parser(argparse.ArgumentParser):
    """Of a command: an option that takes a value may stand once, because of two the last would win without a
    word."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in (None, "store"):
            self.register("action", name, StoreOnce)


class StoreOnce(argparse.Action):
    """Keep an option's value; an error of the parser if there is one already."""

    is_set = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if self.is_set and option_string:
            parser.error(f"{option_string} is given twice. Give it once.")
        self.is_set = True
        setattr(namespace, self.dest, values)


def whole_number(text: str) -> int:
    """The number of a command line's text; for `type` of an option."""
    if not re.fullmatch(
        r"[-+]?[0-9]{1,18}", text.strip()
    ):  # int() reads the digits of every script, and 1_000
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number; write digits alone, such as 2")
    return int(text)


def decimal_number(text: str) -> float:
    """As `whole_number`, for a number that may have a point."""
    if not re.fullmatch(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?", text.strip()):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number; write it in digits, such as 4095")
    return float(text)


def print_error(sentence: str) -> int:
    """Print an error's sentence; the exit code."""
    print_line(
        f"error: {shorten(sentence, LONGEST_SENTENCE) if len(sentence) > LONGEST_SENTENCE else sentence}",
        sys.stderr,
    )
    return 2


def remedy_for(error: OSError | MemoryError) -> str:
    """What a user can do about memory, a file or a disk that does not do what it should; "" if the error is
    another one."""
    again = getattr(error, AGAIN, "try again")
    if isinstance(error, MemoryError):
        return (
            "The memory is full. "
            f"{'Use fewer --jobs' if hasattr(error, AGAIN) else 'Close other programs'}, then {again}."
        )
    path = (
        Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else None
    )
    where = f" ({path.parent})" if path else ""
    if error.errno in FULL:
        return f"The disk is full{where}. Make room, then {again}."
    if error.errno == errno.EFBIG:
        return (
            f"A file grew larger than is allowed here{where}. Raise the limit (`ulimit -f unlimited`) or "
            f"use another disk, then {again}."
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"Too many files are open at once. Allow more, such as `ulimit -n 4096`, then {again}."
    if error.errno in DENIED and path and (unreadable := first_unreadable(path)):
        return f"{unreadable} cannot be read: permission is denied. Make it readable, or name another."
    if error.errno in (errno.EROFS, *DENIED):
        return f"The folder cannot be written{where}. Make it writable, then {again}."
    if error.errno == errno.EIO:
        return f"The disk or the network drive fails{where}: {error.strerror}. Try again, or use another one."
    if "No usable temporary directory" in str(
        error.strerror
    ):  # with a list of those that Python has tried to write into
        tried = str(error.strerror).partition("found in ")[2]
        return (
            f"No folder for temporary files can be written: {tried}. Make room in one of them or name "
            f"another in TMPDIR, then {again}."
        )
    if path:
        return f"{path}: {error.strerror}. Name another file or folder."
    return ""


def first_unreadable(path: str | Path) -> Path | None:
    """The first folder above `path` that may not be entered, or `path` if it is there and may not be read;
    None if all may."""
    for folder in reversed(Path(path).absolute().parents):
        if folder.is_dir() and not os.access(folder, os.X_OK):
            return folder
    return Path(path) if os.path.exists(path) and not os.access(path, os.R_OK) else None


MEMORY = (
    "The memory is full: use fewer --jobs, a smaller batch_size, or close other programs, then go on with "
    "--resume."
)
FILES = (
    "Too many files are open at once: allow more, such as `ulimit -n 4096`, or use fewer --jobs, then go "
    "on with --resume."
)
LARGE = (
    "A file grew larger than is allowed here: raise the limit (`ulimit -f unlimited`), or use another "
    "disk, then go on with --resume."
)
REMEDIES = {
    r"File too large|Errno 27\b": LARGE,
    r"Too many open files|Errno 24\b|Errno 23\b|Too many open files in system": FILES,
    r"ResourceExhausted|OOM when allocating|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory|Failed to allocate .*GPU":
        "The graphics card's memory is full: use a smaller batch_size or --jobs 1, then go on with --resume.",
    r"MemoryError|Cannot allocate memory|Unable to allocate|bad_alloc|Errno 12\b|Insufficient memory": MEMORY,
    r"No usable temporary directory":
        "No folder for temporary files can be written: make room there, or name another in TMPDIR, then go "
        "on with --resume.",
    r"No space left on device|Disk quota exceeded|Errno 28\b|Errno 122\b": "The disk is full: make room, then go on with --resume.",
    r"can't start new thread|Resource temporarily unavailable|Errno 11\b":
        "Too many processes run at once: use fewer --jobs, or allow more (`ulimit -u`), then go on with "
        "--resume.",
    r"Read-only file system|Permission denied|Errno 30\b|Errno 13\b":
        "A folder cannot be written: make it writable, then go on with --resume.",
    r"Input/output error|Stale file handle|Errno 5\b": "The disk or the network drive fails: go on with --resume, or use another one.",
    r"Kernel didn't respond|before replying to kernel_info|Timeout waiting for":
        "The notebook's Python did not answer in time: the machine is busy, or something holds up its local "
        "connections. Use fewer "
        "--jobs, then go on with --resume.",
    r"ModuleNotFoundError|No module named|cannot open shared object file":
        "A package is missing: python -m pip install -r requirements.txt, with the Python that runs this.",
}  # fmt: skip


def with_remedy(text: str) -> str:
    """An error's text, with a sentence on what can be done about it where that is known; "" stays as it
    is."""
    remedy = next((remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, text)), "")
    return text if not remedy or remedy in text else f"{text.rstrip(' .')}. {remedy}"


def process_end(code: int, last: str) -> str:
    """How a notebook's process ended that gave no answer: its exit code, negative for a signal, and its last
    line."""
    if code in (-9, 137):
        return f"Its process was killed, with code {code}. {MEMORY}"
    if code in (-25, 153):  # SIGXFSZ
        return f"Its process was killed, with code {code}. {LARGE}"
    return with_remedy(f"Its process ended with code {code}: {last}")


LONGEST = 600  # characters of an error or a summary in run.json, on the pages and in the terminal


def shorten(text: object, longest: int = LONGEST) -> str:
    """A text in one line of at most `longest` characters; of what is too long the beginning, its length and
    the end."""
    line = " ".join(str(text).split())
    if len(line) <= longest:
        return line
    note = f" ... ({len(line):,} characters in all) ... "
    room = longest - len(note)
    return line[: room - room // 4] + note + line[len(line) - room // 4 :]
