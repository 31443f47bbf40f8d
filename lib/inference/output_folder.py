"""A folder of results that is complete or absent: made in a hidden one beside it, some images at a time, and
gone on with after a kill to the same bytes."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib import files
from lib.data.images import file_stamps
from lib.data.listing import PREDICTION, ImageFile, output_names
from lib.errors import UserError
from lib.inference.results import ImageResult, index_mask
from lib.report import overlay
from lib.report.picture import encode_jpeg

CHUNK = 32  # images that are finished together: batches do not reach across, so that a kill changes none
SETTINGS = PREDICTION  # in the folder: what it was made from
# image: (H, W) uint8, None where it could not be read; maps: see `FoundDefects`
Predicted = tuple[ImageResult, np.ndarray | None, Sequence[bytes]]


class OutputFolder:
    """Where results go.

    Arguments:
        out: the folder; settings: what the results follow from, plain values; image_files: all images, in
            order; more: what else the folder follows from, but not what is predicted for an image.

    Raises UserError where something else is there, or is being made or half made with other settings.
    `is_complete`: whether all of it is there already, from the same images.
    """

    def __init__(
        self, out: Path, settings: dict[str, Any], image_files: Sequence[ImageFile], **more: Any
    ) -> None:
        if not out.name:
            raise UserError(f"--out {out} is no folder that can be made. Name one that is not there yet.")
        self.out = out
        self.unfinished = out.with_name(f".{out.name}.unfinished")
        self.folder = self.unfinished / "out"
        self.image_files = image_files
        self.names = output_names(one.name for one in image_files)
        stamps = file_stamps(one.path for one in image_files)
        self.stamps = [[one.name, *stamp[1:]] for one, stamp in zip(image_files, stamps, strict=True)]
        digest = hashlib.sha256(json.dumps(self.stamps).encode()).hexdigest()
        self.settings = json.loads(json.dumps(settings))  # tuples become lists, as in the file
        self.complete = {**self.settings, **more, "images": {"count": len(image_files), "sha256": digest}}
        self.is_complete = self._is_complete()

    def _is_complete(self) -> bool:
        """Whether the folder is there with these settings and images; UserError if with others."""
        if not self.out.exists() or (self.out.is_dir() and not any(self.out.iterdir())):
            return False
        if not (self.out / SETTINGS).is_file():
            raise UserError(
                f"{self.out} is there already, with other things in it. Name a folder that is not there yet."
            )
        others = _differing(files.read_json(self.out / SETTINGS), self.complete)
        if others:
            raise UserError(
                f"{self.out} is there already, with other {', '.join(others)}. Delete it or name another folder."
            )
        return True

    def begin(self) -> None:
        """Take the hidden folder, or go on with it; UserError where it was begun with other settings."""
        begun = self.unfinished / SETTINGS
        has_parts = self._part(0).parent.is_dir()
        if has_parts and begun.is_file() and (others := _differing(files.read_json(begun), self.settings)):
            raise UserError(
                f"{self.unfinished} holds the beginning of a prediction with other {', '.join(others)}. Go on with that one, or "
                "delete the folder."
            )
        files.write_json(begun, self.settings)

    @property
    def has_gaps(self) -> bool:
        """Whether images are left to predict."""
        return not all(
            self._stored(index, start, start + len(chunk)) for index, start, chunk in self._chunks()
        )

    def fill(
        self, predict: Callable[[Sequence[ImageFile]], Iterator[Predicted]], report: Callable[[str], Any]
    ) -> None:
        """Predict what is not there yet, chunk by chunk.

        Arguments:
            predict: called with the images of a chunk; yields what was predicted for each, in order.
            report: called with a line of text after each chunk.
        """
        for index, start, chunk in self._chunks():
            end = start + len(chunk)
            if self._stored(index, start, end):
                continue
            began, of_chunk = time.monotonic(), []
            for result, image, maps in predict(chunk):
                self._write_pictures(result, image)
                self._write_maps(result.name, maps)
                of_chunk.append(result)
            shares = np.array(
                [result.shape[1] / result.shape[0] if result.shape else 0.0 for result in of_chunk]
            )
            seconds = (time.monotonic() - began) * shares / max(shares.sum(), 1e-9)
            rows = [asdict(result) for result in of_chunk]
            content = {"stamps": self.stamps[start:end], "results": rows, "seconds": seconds.tolist()}
            files.write_json(self._part(index), content)
            report(f"{end} of {len(self.image_files)} images")

    def results(self) -> tuple[list[ImageResult], list[float]]:
        """The results of all images, and the seconds that each took, once `fill` is through."""
        results: list[ImageResult] = []
        seconds: list[float] = []
        for index, start, chunk in self._chunks():
            content = self._stored(index, start, start + len(chunk))
            results += [ImageResult.of_json(row) for row in content["results"]]
            seconds += content["seconds"]
        return results, seconds

    def maps_of(self, name: str) -> list[bytes]:
        """The maps of an image, for as long as the hidden folder is there; none where none were kept."""
        path = self._maps(name)
        if not path.is_file():
            return []
        with np.load(path, allow_pickle=False) as stored:
            return [stored[key].tobytes() for key in stored.files]

    def put(self) -> None:
        """Move the finished folder to its place; files of an earlier beginning with other images go first."""
        wanted = {self._picture(part, name) for name in self.names for part in ("masks", "overlays")}
        for path in [path for path in self.folder.rglob("*") if not path.is_dir()]:
            is_picture = path.relative_to(self.folder).parts[0] in ("masks", "overlays")
            if files.is_scratch(path) or (is_picture and path not in wanted):
                path.unlink()
        files.write_json(self.folder / SETTINGS, self.complete)
        if not files.put(self.folder, self.out):
            raise UserError(f"{self.out} was made by somebody else meanwhile. Name another folder.")
        self.clear()

    def clear(self) -> None:
        """Remove what a finished prediction needed on the way."""
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def _chunks(self) -> Iterator[tuple[int, int, Sequence[ImageFile]]]:
        """(index, index of its first image, images) of every chunk."""
        for index, start in enumerate(range(0, len(self.image_files), CHUNK)):
            yield index, start, self.image_files[start : start + CHUNK]

    def _part(self, index: int) -> Path:
        return self.unfinished / "parts" / f"{index:06d}.json"

    def _stored(self, index: int, start: int, end: int) -> dict[str, Any]:
        """What was stored of a chunk, of these very files; {} if it is not."""
        try:
            content = files.read_json(self._part(index))
            return content if content["stamps"] == self.stamps[start:end] else {}
        except (UserError, KeyError, TypeError):
            return {}

    def _picture(self, part: str, name: str) -> Path:
        return self.folder / part / f"{self.names[name]}{'.png' if part == 'masks' else '.jpg'}"

    def _maps(self, name: str) -> Path:
        return self.unfinished / "maps" / f"{self.names[name]}.npz"

    def _write_maps(self, name: str, maps: Sequence[bytes]) -> None:
        """Keep an image's maps beside the folder of results; remove those of an earlier try."""
        path = self._maps(name)
        path.unlink(missing_ok=True)
        if any(maps):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, *(np.frombuffer(png, np.uint8) for png in maps))
            files.sync(path)

    def _write_pictures(self, result: ImageResult, image: np.ndarray | None) -> None:
        """Write an image's mask and, where it has a defect, its overlay; remove those of an earlier try."""
        encoded: dict[str, bytes] = {}
        if not result.problem and image is not None:
            encoded["masks"] = cv2.imencode(".png", index_mask(result))[1].tobytes()
            if result.has_mask:
                encoded["overlays"] = encode_jpeg(overlay.whole(image, result.rles), quality=90)
        for part in ("masks", "overlays"):
            path = self._picture(part, result.name)
            path.unlink(missing_ok=True)
            if part in encoded:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded[part])
                files.sync(path)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """A context in which no other process writes into a hidden folder; UserError if one does. If nothing was
    finished in it, it is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a", encoding="utf-8") as lock:
        if not files.try_lock(lock):
            raise UserError(f"Another process is writing {folder}. Wait for it, or name another --out.")
        try:
            yield
        finally:
            if not (folder / "parts").is_dir():
                shutil.rmtree(folder, ignore_errors=True)


def _differing(stored: Any, wanted: dict[str, Any]) -> list[str]:
    """The names of settings that differ, sorted."""
    stored = stored if isinstance(stored, dict) else {}
    names = {*stored, *wanted}
    return sorted(name for name in names if stored.get(name) != wanted.get(name))
