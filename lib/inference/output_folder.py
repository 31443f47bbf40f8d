"""A folder of results that is complete or absent: made in a hidden one beside it, some images at a time, and
gone on with after a kill to the same bytes. In a store it is complete once its predict.json is there."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib import files
from lib.data import storage
from lib.data.images import file_stamps
from lib.data.listing import PREDICTION, ImageFile, output_names
from lib.errors import UserError
from lib.inference.chunks import Chunk, ChunkWriter, Predict, picture_name
from lib.inference.pace import Pace
from lib.inference.results import ImageResult

CHUNK = 32  # images that are finished together: batches do not reach across, so that a kill changes none
READ_AHEAD = 64  # parts that are read at a time
SETTINGS = PREDICTION  # in the folder: what it was made from


class OutputFolder:
    """Where results go.

    Arguments:
        out: the folder, or its address; settings: what the results follow from, plain values; image_files: all
            images, in order; more: what else the folder follows from, but not what is predicted for an image.

    Raises UserError where something else is there, or is being made or half made with other settings.
    `is_complete`: whether all of it is there already, from the same images. `folder`: where tables and pages are
    made, on this machine; `scratch`: a folder for what is needed on the way.
    """

    def __init__(
        self, out: Path | str, settings: dict[str, Any], image_files: Sequence[ImageFile], **more: Any
    ) -> None:
        self.out = out
        if isinstance(out, str):
            above, name = storage.parent(out), out.rpartition("/")[2]
            if above == out:
                raise UserError(f"--out {out} is a whole bucket. Name a folder in it.")
            self.unfinished: Path | str = f"{above}/.{name}.unfinished"
            self.scratch = Path(tempfile.gettempdir(), f"prediction.{os.getpid()}.{name[:100]}")
            self.folder = self.scratch / "out"
            self.writer = ChunkWriter(out, self.unfinished)
        else:
            if not out.name:
                raise UserError(f"--out {out} is no folder that can be made. Name one that is not there yet.")
            self.unfinished = self.scratch = out.with_name(f".{out.name}.unfinished")
            self.folder = self.scratch / "out"
            self.writer = ChunkWriter(self.folder, self.unfinished)
        self.hidden = storage.directory(self.unfinished)
        self.image_files = image_files
        self.names = output_names(one.name for one in image_files)
        self.stamps = [
            [one.name, *stamp] for one, stamp in zip(image_files, _stamps(image_files), strict=True)
        ]
        digest = hashlib.sha256(json.dumps(self.stamps).encode()).hexdigest()
        self.settings = json.loads(json.dumps(settings))  # tuples become lists, as in the file
        self.complete = {**self.settings, **more, "images": {"count": len(image_files), "sha256": digest}}
        self.is_complete = self._is_complete()

    def _is_complete(self) -> bool:
        """Whether the folder is there with these settings and images; UserError if with others."""
        if isinstance(self.out, Path) and not self.out.exists():
            return False
        if isinstance(self.out, Path) and self.out.is_dir() and not any(self.out.iterdir()):
            return False
        stored = storage.directory(self.out).read([SETTINGS])
        if not stored:
            is_begun = isinstance(self.out, str) and self.hidden.read([SETTINGS])
            if is_begun or (isinstance(self.out, str) and not storage.directory(self.out).names()):
                return False
            raise UserError(
                f"{self.out} is there already, with other things in it. Name a folder that is not there yet."
            )
        others = _differing(_parsed(stored[SETTINGS], f"{self.out}/{SETTINGS}"), self.complete)
        if others:
            raise UserError(
                f"{self.out} is there already, with other {', '.join(others)}. Delete it or name another folder."
            )
        return True

    def begin(self) -> None:
        """Take the hidden folder, or go on with it; UserError where it was begun with other settings."""
        begun = self.hidden.read([SETTINGS])
        others = _differing(_parsed(begun[SETTINGS], SETTINGS), self.settings) if begun else []
        if others and any(name.startswith("parts/") for name in self.hidden.names()):
            raise UserError(
                f"{self.unfinished} holds the beginning of a prediction with other {', '.join(others)}. Go on with that one, or "
                "delete the folder."
            )
        self.hidden.write(SETTINGS, (json.dumps(self.settings, indent=2) + "\n").encode())

    def chunk(self, index: int) -> Chunk:
        """The chunk of this index, from 0."""
        here = slice(index * CHUNK, (index + 1) * CHUNK)
        image_files = self.image_files[here]
        stems = [self.names[one.name] for one in image_files]
        return Chunk(index, image_files, stems, self.stamps[here])

    def missing(self) -> list[int]:
        """The chunks that are not there yet, of these very files."""
        return [chunk.index for chunk, content in self._stored() if not content]

    def pace(self, missing: Sequence[int]) -> Pace:
        """What tells how fast it goes, where so many chunks are missing."""
        to_do = sum(len(self.chunk(index).image_files) for index in missing)
        return Pace(len(self.image_files), len(self.image_files) - to_do)

    def fill(self, missing: Sequence[int], predict: Predict, report: Callable[[str], Any]) -> None:
        """Predict what is not there yet, chunk by chunk.

        Arguments:
            missing: the chunks, as from `missing`; predict: called with the images of a chunk; yields what was
                predicted for each, in order.
            report: called with a line of text after each chunk.
        """
        pace = self.pace(missing)
        for chunk in map(self.chunk, missing):
            self.writer.write(chunk, predict)
            report(pace.after(len(chunk.image_files)))

    def results(self) -> tuple[list[ImageResult], list[float]]:
        """The results of all images, and the seconds that each took, once nothing is missing; UserError if
        something is."""
        results: list[ImageResult] = []
        seconds: list[float] = []
        for chunk, content in self._stored():
            if not content:
                raise UserError(f"{self.unfinished}: {chunk.part} is not there. Give the same command again.")
            results += [ImageResult.of_json(row) for row in content["results"]]
            seconds += content["seconds"]
        return results, seconds

    def maps_of(self, name: str) -> list[bytes]:
        """The maps of an image, for as long as the hidden folder is there; none where none were kept."""
        file = f"maps/{self.names[name]}.npz"
        packed = self.hidden.read([file])
        if not packed:
            return []
        with np.load(io.BytesIO(packed[file]), allow_pickle=False) as stored:
            return [stored[key].tobytes() for key in stored.files]

    def put(self) -> None:
        """Move the finished folder to its place; files of an earlier beginning with other images go first."""
        wanted = {picture_name(part, stem) for stem in self.names.values() for part in ("masks", "overlays")}
        target = storage.directory(self.writer.out)
        for name in target.names():
            is_picture = name.split("/")[0] in ("masks", "overlays")
            if files.is_scratch(name) or (is_picture and name not in wanted):
                target.remove(name)
        settings = (json.dumps(self.complete, indent=2) + "\n").encode()
        if isinstance(self.out, Path):
            target.write(SETTINGS, settings)
            if not files.put(self.folder, self.out):
                raise UserError(f"{self.out} was made by somebody else meanwhile. Name another folder.")
        else:
            made = storage.DiskDirectory(self.folder)
            for name in sorted(made.names()):
                target.write(name, made.read([name])[name])
            target.write(SETTINGS, settings)  # the last of all: the folder is whole
        self.clear()

    def clear(self) -> None:
        """Remove what a finished prediction needed on the way."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.hidden.clear()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which no other process writes here; UserError if one does. If nothing was finished, what was
        begun is removed. Stores know no locks: two commands with the same settings would write the same."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        if isinstance(self.unfinished, str):
            try:
                yield
            finally:
                shutil.rmtree(self.scratch, ignore_errors=True)
            return
        with open(self.unfinished / "lock", "a", encoding="utf-8") as lock:
            if not files.try_lock(lock):
                raise UserError(
                    f"Another process is writing {self.unfinished}. Wait for it, or name another --out."
                )
            try:
                yield
            finally:
                if not (self.unfinished / "parts").is_dir():
                    shutil.rmtree(self.unfinished, ignore_errors=True)

    def _stored(self) -> Iterator[tuple[Chunk, dict[str, Any]]]:
        """Every chunk with what was stored of it, {} for nothing."""
        count = -(-len(self.image_files) // CHUNK)
        for first in range(0, count, READ_AHEAD):
            chunks = [self.chunk(index) for index in range(first, min(first + READ_AHEAD, count))]
            parts = self.hidden.read([chunk.part for chunk in chunks])
            for chunk in chunks:
                yield chunk, chunk.content(parts.get(chunk.part))


def _stamps(image_files: Sequence[ImageFile]) -> Iterator[tuple]:
    """What each file is: its bytes and its version; () if it is not there."""
    for one in image_files:
        yield one.stamp if isinstance(one.path, str) else file_stamps([one.path])[0][1:]


def _parsed(content: bytes, where: str) -> Any:
    """JSON from a file; UserError if it is none."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise UserError(f"{where} is not valid JSON ({error}). Delete it and make it again.") from None


def _differing(stored: Any, wanted: dict[str, Any]) -> list[str]:
    """The names of settings that differ, sorted."""
    stored = stored if isinstance(stored, dict) else {}
    names = {*stored, *wanted}
    return sorted(name for name in names if stored.get(name) != wanted.get(name))
