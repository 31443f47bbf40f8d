"""How a file is written so that it is complete or absent, even where systems differ; and manifest.json, a
list of files with sizes and hashes."""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from lib import errors
from lib.errors import UserError


@contextlib.contextmanager
def scratch(target: str | os.PathLike) -> Iterator[Path]:
    """A context with a new folder beside `target`, to be filled and then moved there by `put`; at its end it
    is removed if it is
    still there, and nothing else ever is: its name is unique."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".partial"))
    os.chmod(folder, 0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_scratch(path: str | os.PathLike) -> bool:
    """Whether a file or folder has a name such as `scratch` and `replacing` give: .NAME, eight letters by
    chance, .partial."""
    return re.fullmatch(r"\..+\.[a-z0-9_]{8}\.partial", Path(path).name) is not None


def put(folder: str | os.PathLike, target: str | os.PathLike) -> bool:
    """Move a finished `scratch` folder to `target`, which may be an empty folder; whether it came there:
    False where somebody else has put something there meanwhile."""
    try:
        if os.path.isdir(target):
            os.rmdir(target)  # only if it is empty
        moving(os.rename, folder, target)
    except OSError:
        if not os.path.exists(target):
            raise
        return False
    return True


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """A context that gives the name of a file to write, and moves it to `path` at its end: `path` is complete
    or as it was.

    It is written aside, synced and renamed; if the context is left by an error, what was written is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".partial")
    os.close(descriptor)
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        moving(os.replace, partial, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # writing on a full disk does not say where
            error.filename = str(path)
        Path(partial).unlink(missing_ok=True)
        raise


def write_atomic(path: str | os.PathLike, content: str | bytes) -> None:
    """Write text or bytes so that `path` is either complete or as it was."""
    with replacing(path) as partial:  # a file's name can hold bytes that are no UTF-8
        Path(partial).write_bytes(
            content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
        )


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, atomically; numpy scalars become numbers; NaN is refused."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False, default=lambda x: x.item()) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file; UserError if it is missing or broken, or sets a name twice, of which the
    first would not count."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except FileNotFoundError:
        raise errors.UserError(f"{path} does not exist.") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise errors.UserError(
            f"{path} is not valid JSON ({reason}). Correct it, or delete it and make it again."
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dictionary of names and values; ValueError if a name stands there twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is set twice")
    return content


def json_float(value: float) -> float | None:
    """A float for JSON: None where `value` is NaN or infinite, because JSON knows neither."""
    return float(value) if math.isfinite(value) else None


def record_metrics(run_dir: str | os.PathLike, notebook: str, summary: str, **metrics: Any) -> None:
    """Hand a notebook's metrics to the run: `metrics/NOTEBOOK.json`, merged into `metrics.json` by the
    pipeline.

    Arguments:
        summary: the one number a reader wants, in words, such as "recall 0.97, accuracy 0.93".
        metrics: numbers, strings, lists or dictionaries of them; names are unique over the whole run.
    """
    write_json(Path(run_dir) / "metrics" / f"{notebook}.json", {"summary": summary, "metrics": metrics})


def read_metrics(run_dir: str | os.PathLike, notebook: str) -> tuple[str, dict[str, Any]]:
    """(summary, {name: value}) as `record_metrics` wrote them; ("", {}) where they are missing or broken."""
    try:
        content = read_json(Path(run_dir) / "metrics" / f"{notebook}.json")
        if "figures" in content:  # a run from before the keys were renamed
            content = {"summary": content["headline"], "metrics": content["figures"]}
        return str(content["summary"]), dict(content["metrics"])
    except (UserError, OSError, KeyError, TypeError, ValueError):
        return "", {}


try:
    import fcntl
except ImportError:  # Windows has msvcrt
    fcntl = None  # type: ignore[assignment]
IN_USE = (5, 32, 33)  # numbers of Windows' errors: another program has the file open
NO_LOCKS = {
    getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP") if hasattr(errno, name)
}


def moving(
    move: Callable[[Any, Any], Any],
    source: str | os.PathLike,
    target: str | os.PathLike,
    seconds: float = 5.0,
) -> Any:
    """Call os.replace or os.rename; where the system refuses because another program reads the file just then
    (a virus scanner, a viewer, the index of files), try again for some seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            return move(source, target)
        except PermissionError as error:
            if getattr(error, "winerror", None) not in IN_USE or time.monotonic() > end:
                raise
        time.sleep(0.05)


def sync(path: str | os.PathLike) -> None:
    """Wait until a file, or a folder's list of names, is on the disk; where folders cannot be opened, theirs
    is the system's."""
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
        if not folder or error.errno not in (
            errno.EINVAL,
            errno.EBADF,
            *NO_LOCKS,
        ):  # network drives know no folders either
            raise
    finally:
        os.close(descriptor)


def try_lock(file: IO[Any]) -> bool:
    """Whether the lock on an open file was free and is now ours. On a file system that knows no locks it is
    always free."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(1 << 20)  # beyond the content, which others must be able to read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


@contextlib.contextmanager
def locked(path: str | os.PathLike, pause: float = 0.5) -> Iterator[None]:
    """A context that one process at a time is in; the others wait. `path` is the lock's file, which stays."""
    with open(path, "a", encoding="utf-8") as file:
        while not try_lock(file):
            time.sleep(pause)
        yield
