"""Some images that are predicted together, and how what was found on them is written: pictures first, then the
part that says that they are done."""

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data import depth, storage
from lib.data.listing import ImageFile
from lib.errors import UserError
from lib.inference import results
from lib.inference.inspector import Inspector
from lib.inference.results import ImageResult, Severity, index_mask
from lib.inference.windows import Strip
from lib.report import overlay
from lib.report.picture import encode_jpeg

WRITERS = 8  # files that are written at once, while others are predicted: disks and stores let one wait
# image: (H, W) uint8, None where it could not be read; maps: see `FoundDefects`
Predicted = tuple[ImageResult, np.ndarray | None, Sequence[bytes]]
Predict = Callable[[Sequence[ImageFile]], Iterator[Predicted]]


@dataclass(frozen=True)
class Chunk:
    """Images that are finished together.

    index: which chunk it is; stems: what the files of each image are called; stamps: what each image's file was
    when the prediction began, [name, ...].
    """

    index: int
    image_files: Sequence[ImageFile]
    stems: Sequence[str]
    stamps: list[list[Any]]

    @property
    def part(self) -> str:
        """The name of its part."""
        return f"parts/{self.index:06d}.json"

    def content(self, stored: bytes | None) -> dict[str, Any]:
        """What was stored of it, of these very files; {} if it is not."""
        try:
            content = json.loads(stored or b"")
            return content if content["stamps"] == self.stamps else {}
        except (ValueError, KeyError, TypeError):
            return {}


@dataclass(frozen=True)
class ChunkWriter:
    """Where what is found on chunks goes.

    out: folder or address of masks/ and overlays/; hidden: of parts/ and maps/. A plain value, which other
    machines understand, too.
    """

    out: Path | str
    hidden: Path | str

    def write(self, chunk: Chunk, predict: Predict) -> None:
        """Predict a chunk and write what is found. Until its part is there, nothing of it counts; a chunk may be
        written twice, also at once: the same comes out but for the seconds."""
        began, of_chunk = time.monotonic(), []
        with ThreadPoolExecutor(WRITERS) as pool:
            writing = []
            for (result, image, maps), stem in zip(predict(chunk.image_files), chunk.stems, strict=True):
                writing.append(pool.submit(self.write_pictures, result, image, stem))
                writing.append(pool.submit(self.write_maps, maps, stem))
                of_chunk.append(result)
            for one in writing:
                one.result()
        shares = np.array([result.shape[1] / result.shape[0] if result.shape else 0.0 for result in of_chunk])
        seconds = (time.monotonic() - began) * shares / max(shares.sum(), 1e-9)
        rows = [asdict(result) for result in of_chunk]
        content = {"stamps": chunk.stamps, "results": rows, "seconds": seconds.tolist()}
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        storage.directory(self.hidden).write(chunk.part, text.encode("utf-8", "backslashreplace"))

    def write_maps(self, maps: Sequence[bytes], stem: str) -> None:
        """Keep an image's maps beside the folder of results; remove those of an earlier try."""
        hidden, name = storage.directory(self.hidden), f"maps/{stem}.npz"
        if any(maps):
            packed = io.BytesIO()
            np.savez(packed, *(np.frombuffer(png, np.uint8) for png in maps))
            hidden.write(name, packed.getvalue())
        else:
            hidden.remove(name)

    def write_pictures(self, result: ImageResult, image: np.ndarray | None, stem: str) -> None:
        """Write an image's mask and, where it has a defect, its overlay; remove those of an earlier try."""
        out = storage.directory(self.out)
        encoded: dict[str, bytes] = {}
        if not result.problem and image is not None:
            encoded["masks"] = cv2.imencode(".png", index_mask(result))[1].tobytes()
            if result.has_mask:
                encoded["overlays"] = encode_jpeg(overlay.whole(image, result.rles), quality=90)
        for part in ("masks", "overlays"):
            if part in encoded:
                out.write(picture_name(part, stem), encoded[part])
            else:
                out.remove(picture_name(part, stem))


def picture_name(part: str, stem: str) -> str:
    """The name of an image's mask or overlay below the folder of results."""
    return f"{part}/{stem}{'.png' if part == 'masks' else '.jpg'}"


def predict_chunk(
    inspector: Inspector, chunk: Sequence[ImageFile], white: float, severity: Severity
) -> Iterator[Predicted]:
    """Yield the result of every image of a chunk, in order, with its grey levels and its maps.

    Raises `storage.Unreachable` where a store does not answer: the image is none that cannot be read.
    """
    problems: dict[int, str] = {}
    readable: list[tuple[int, tuple[str, ...], int]] = []  # row, remarks and highest value

    def strips() -> Iterator[Strip]:
        for index, image_file in enumerate(chunk):
            try:
                if image_file.problem:
                    raise UserError(image_file.problem)
                reading = depth.read(image_file.path, white)
                strip = inspector.open(reading.image, "" if reading.rescaled else str(image_file.path))
            except storage.Unreachable:
                raise
            except UserError as error:
                problems[index] = str(error)
                continue
            readable.append((index, reading.remarks, reading.highest))
            yield strip

    def unread(first: int, end: int) -> Iterator[Predicted]:
        return ((ImageResult(chunk[row].name, problems[row]), None, ()) for row in range(first, end))

    done = 0
    for count, result in enumerate(inspector.inspect_all(strips())):
        index, remarks, highest = readable[count]
        yield from unread(done, index)
        name = chunk[index].name
        yield results.of_found(name, result, severity, remarks, highest), result.image, result.maps
        done = index + 1
    yield from unread(done, len(chunk))
