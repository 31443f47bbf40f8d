"""Files by address: s3://BUCKET/NAME and its like, through fsspec, an extra. An address is a text and never a
Path, which would make one slash of two."""

import contextlib
import importlib
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from lib import files
from lib.errors import UserError, shorten
from lib.paths import resolve_path

CLIENTS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "hf": "huggingface_hub"}  # scheme: package
INSTALL = "python -m pip install -r requirements-storage.txt"
TOGETHER = 64  # files that are asked of a store at a time
RECENT = 2**26  # bytes of files that are kept: each network of a cascade reads its strips anew


class Unreachable(UserError):
    """A store does not answer, or refuses: no file of it is broken, so that nothing is to be taken for done."""


def is_address(text: object) -> bool:
    """Whether a text names a file by address; a drive of Windows has one letter."""
    return isinstance(text, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def resolve(text: str, what: str) -> Path | str:
    """What a user named: an absolute Path, also of file://, or an address without a slash at its end.

    Raises UserError as `paths.resolve_path`, and for an address of a kind that is not known or without a name.
    """
    if not is_address(text):
        return resolve_path(text, what)
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme == "file":
        return resolve_path(url2pathname(unquote(urlsplit(text).path)), what)
    if scheme not in CLIENTS:
        known = ", ".join(f"{name}://" for name in [*CLIENTS, "file"])
        raise UserError(
            f"{what} {text[:200]}: {scheme}:// is not known. Known are {known} and plain folders."
        )
    if not rest.strip("/"):
        raise UserError(
            f"{what} {text[:200]} names nothing. Name what lies there, such as {scheme}://BUCKET/DIR."
        )
    return f"{scheme}://{rest.strip('/')}"


def parent(address: str) -> str:
    """The address above one; of a bucket itself, its own."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('/')[0] or rest}"


def opened(address: str) -> tuple[Any, str]:
    """The client of a store, and what it calls this address. UserError where its package is missing."""
    scheme = address.partition("://")[0]
    try:
        fsspec = importlib.import_module("fsspec")
        importlib.import_module(CLIENTS[scheme])
    except ImportError:
        more = "" if scheme == "s3" else f" and {CLIENTS[scheme]}"
        raise UserError(
            f"{address}: the package for {scheme}:// is not installed. Install it: {INSTALL}{more}."
        ) from None
    with answering(address):
        return fsspec.core.url_to_fs(address)


@contextlib.contextmanager
def answering(address: str) -> Iterator[None]:
    """A context in which a store is asked: what is not there is a FileNotFoundError, all else Unreachable."""
    try:
        yield
    except (FileNotFoundError, UserError, KeyboardInterrupt):
        raise
    except Exception as error:  # each client has errors of its own, which have nothing else in common
        raise Unreachable(
            f"{address} does not answer as it should ({shorten(error, 200).rstrip('.')}). See to the address, the network and "
            "your credentials, then give the same command again."
        ) from None


_recent: dict[str, bytes] = {}  # {address: bytes}, the one that was read first is the first
_lock = threading.Lock()


def read_bytes(address: str) -> bytes:
    """The bytes of a file, which for a while are remembered; FileNotFoundError, Unreachable."""
    with _lock:
        if address in _recent:
            return _recent[address]
    client, path = opened(address)
    with answering(address):
        content = client.cat_file(path)
    with _lock:
        _recent[address] = content
        while sum(map(len, _recent.values())) > RECENT:
            del _recent[next(iter(_recent))]
    return content


def stamp_of(about: dict[str, Any]) -> tuple:
    """(bytes, what its store calls this version: a hash or a time) of what a client knows about a file."""
    version = next(
        (about[key] for key in ("ETag", "etag", "blob_id", "md5Hash", "content_md5") if about.get(key)), None
    )
    times = ("mtime", "LastModified", "last_modified", "updated", "created")
    version = version or next((about[key] for key in times if about.get(key)), "")
    return int(about.get("size") or 0), str(version).strip('"')


def stamps(addresses: Sequence[str]) -> list[tuple]:
    """As `images.file_stamps`, of addresses, which are asked one by one."""
    known: list[tuple] = []
    for address in addresses:
        client, path = opened(address)
        name = address.rpartition("/")[2]
        try:
            with answering(address):
                client.invalidate_cache()
                known.append((name, *stamp_of(client.info(path))))
        except FileNotFoundError:
            known.append((name,))
    return known


def below(address: str, pattern: bool = False) -> dict[str, tuple]:
    """{address: stamp} of the files below an address, or of those that fit one with * ? or []; {} if nothing is
    there; of a file itself alone."""
    client, path = opened(address)
    scheme = address.partition("://")[0]
    with answering(address):
        client.invalidate_cache()
        try:
            entries = client.glob(path, detail=True) if pattern else client.find(path, detail=True)
        except FileNotFoundError:
            return {}
    return {
        f"{scheme}://{name.lstrip('/')}": stamp_of(about)
        for name, about in entries.items()
        if about.get("type") == "file" and not name.endswith("/")
    }


class Directory(Protocol):
    """A folder, or what lies below an address: names with / and bytes."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file: it is complete or as it was, also where two write it at once."""

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """{name: bytes} of those that are there."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def names(self) -> set[str]:
        """The names of all files, hidden ones too."""

    def clear(self) -> None:
        """Remove everything."""


class DiskDirectory:
    """A `Directory` on a disk."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def write(self, name: str, content: bytes) -> None:
        """See `Directory`."""
        files.write_atomic(self.where / name, content)

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """See `Directory`."""
        contents = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                contents[name] = (self.where / name).read_bytes()
        return contents

    def remove(self, name: str) -> None:
        """See `Directory`."""
        (self.where / name).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """See `Directory`."""
        return {
            Path(folder, name).relative_to(self.where).as_posix()
            for folder, _, inside in os.walk(self.where)
            for name in inside
        }

    def clear(self) -> None:
        """See `Directory`."""
        shutil.rmtree(self.where, ignore_errors=True)


class StoreDirectory:
    """A `Directory` below an address. Stores put a file as a whole or not at all."""

    def __init__(self, where: str) -> None:
        self.where = where

    def write(self, name: str, content: bytes) -> None:
        """See `Directory`."""
        client, path = opened(f"{self.where}/{name}")
        with answering(f"{self.where}/{name}"):
            client.pipe_file(path, content)

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """See `Directory`."""
        client, root = opened(self.where)
        contents = {}
        for first in range(0, len(names), TOGETHER):
            paths = {f"{root}/{name}": name for name in names[first : first + TOGETHER]}
            with answering(self.where):
                answers = client.cat(list(paths), on_error="return")
                for path, content in answers.items():
                    if isinstance(content, bytes):
                        contents[paths[path]] = content
                    elif not isinstance(content, FileNotFoundError):
                        raise content
        return contents

    def remove(self, name: str) -> None:
        """See `Directory`."""
        client, path = opened(f"{self.where}/{name}")
        with answering(self.where), contextlib.suppress(FileNotFoundError):
            client.rm_file(path)

    def names(self) -> set[str]:
        """See `Directory`."""
        return {address[len(self.where) + 1 :] for address in below(self.where)}

    def clear(self) -> None:
        """See `Directory`."""
        client, path = opened(self.where)
        with answering(self.where), contextlib.suppress(FileNotFoundError):
            client.invalidate_cache()
            client.rm(path, recursive=True)


def directory(where: Path | str) -> Directory:
    """The Directory of a folder or an address."""
    return StoreDirectory(where) if isinstance(where, str) else DiskDirectory(where)
