"""How every command ends: its exit code, a user's mistake in a sentence without a traceback, and output that cannot fail."""

import argparse
import contextlib
import errno
import os
import re
import signal
import sys
import threading
from pathlib import Path

from lib.paths import UserError
from lib.pipes import shorten

LONGEST = 3000  # characters of a sentence in the terminal, which names what a user gave, however long that is
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
DENIED = (errno.EACCES, errno.EPERM)


class Stopped(KeyboardInterrupt):
    """Ctrl-C or a request to end; `code` is the exit code."""

    def __init__(self, number):
        super().__init__()
        self.code = 128 + number


def say(text="", stream=None):
    """Print a line at once, also into a pipe; a terminal that is gone, or whose encoding lacks a letter, must not end a run."""
    stream = sys.stdout if stream is None else stream
    with contextlib.suppress(BrokenPipeError):
        print(shown(text, getattr(stream, "encoding", None)), file=stream, flush=True)


def shown(text, encoding=None):
    """A text with every letter that `encoding` (None: UTF-8) cannot write as its escape, such as \\u94a2."""
    encoding = encoding or "utf-8"
    return str(text).encode(encoding, "backslashreplace").decode(encoding)


def write_anything():
    """Let whatever is printed from here on go through, escaped where the encoding of the output lacks a letter."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def resumable():
    """A context in which what was finished is kept: at an error of the machine within it, the user is told to go on with --resume."""
    try:
        yield
    except (OSError, MemoryError) as error:
        error.again = "go on with --resume: what was finished is kept"
        raise


def guarded(action, *arguments):
    """Call a command; its exit code, or 2 for what the user is to mend, a mistake or the machine, 128 + signal where it was stopped."""
    write_anything()
    owner = os.getpid()

    def stop(number, _):
        if os.getpid() != owner:  # a forked helper ends without a word
            os._exit(128 + number)
        raise Stopped(number)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number and signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP, and so it stays
                signal.signal(number, stop)
    try:
        return action(*arguments) or 0
    except UserError as error:
        return complain(str(error))
    except KeyboardInterrupt as stopped:
        say("stopped", sys.stderr)
        return getattr(stopped, "code", 128 + signal.SIGINT)
    except (OSError, MemoryError) as error:
        sentence = reason(error)
        if not sentence:
            raise
        return complain(sentence)


class Parser(argparse.ArgumentParser):
    """Of a command: an option that takes a value may be given once, because of two the last would win without a word."""

    def __init__(self, **settings):
        super().__init__(**settings)
        for name in (None, "store"):
            self.register("action", name, StoreOnce)


class StoreOnce(argparse.Action):
    """Keep an option's value; an error of the parser if there is one already."""

    given = False

    def __call__(self, parser, namespace, values, option_string=None):
        if self.given and option_string:
            parser.error(f"{option_string} is given twice. Give it once.")
        self.given = True
        setattr(namespace, self.dest, values)


def whole_number(text):
    """The number of a command line's text; for `type` of an option."""
    if not re.fullmatch(r"[-+]?[0-9]{1,18}", text.strip()):  # int() reads the digits of every script, and 1_000
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number; write digits alone, such as 2")
    return int(text)


def decimal_number(text):
    """As `whole_number`, for a number that may have a point."""
    if not re.fullmatch(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?", text.strip()):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number; write it in digits, such as 4095")
    return float(text)


def complain(sentence):
    """Print an error's sentence; the exit code."""
    say(f"error: {sentence if len(sentence) <= LONGEST else shorten(sentence, LONGEST)}", sys.stderr)
    return 2


def reason(error):
    """What a user can do about memory, a file or a disk that does not do what it should; "" if the error is another one."""
    again = getattr(error, "again", "try again")
    if isinstance(error, MemoryError):
        return f"The memory is full. {'Use fewer --jobs' if hasattr(error, 'again') else 'Close other programs'}, then {again}."
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else None
    where = f" ({path.parent})" if path else ""
    if error.errno in FULL:
        return f"The disk is full{where}. Make room, then {again}."
    if error.errno == errno.EFBIG:
        return f"A file grew larger than is allowed here{where}. Raise the limit (`ulimit -f unlimited`) or use another disk, then {again}."
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"Too many files are open at once. Allow more, such as `ulimit -n 4096`, then {again}."
    if error.errno in DENIED and path and (unreadable := first_unreadable(path)):
        return f"{unreadable} cannot be read: permission is denied. Make it readable, or name another."
    if error.errno in (errno.EROFS, *DENIED):
        return f"The folder cannot be written{where}. Make it writable, then {again}."
    if error.errno == errno.EIO:
        return f"The disk or the network drive fails{where}: {error.strerror}. Try again, or use another one."
    if "No usable temporary directory" in str(error.strerror):  # with a list of those that Python has tried to write into
        tried = str(error.strerror).partition("found in ")[2]
        return f"No folder for temporary files can be written: {tried}. Make room in one of them or name another in TMPDIR, then {again}."
    if path:
        return f"{path}: {error.strerror}. Name another file or folder."
    return ""


def first_unreadable(path):
    """The first folder above `path` that may not be entered, or `path` if it is there and may not be read; None if all may."""
    for folder in reversed(Path(path).absolute().parents):
        if folder.is_dir() and not os.access(folder, os.X_OK):
            return folder
    return path if os.path.exists(path) and not os.access(path, os.R_OK) else None
