"""A trained cascade for images at hand: paths or arrays in, masks and a table of defects out.

    from lib.predict import Inspector

    inspector = Inspector("runs/latest")
    found = inspector("image.jpg")
    found.show()

Images as large as the training strips get the masks that `90_inference` gives them. Longer ones are seen in
windows along them (`windows.py`), other heights are scaled.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd

from lib.data import manifest, rle
from lib.data.images import read_image, resize_image
from lib.errors import UserError
from lib.inference import defects, sources, windows
from lib.inference.windows import Joiner, Strip

if TYPE_CHECKING:
    from lib.plots import Figure  # which is no result: another matplotlib runs nothing again

Image = str | Path | np.ndarray | Strip  # a Strip: what `Inspector.open` made of one of the others
HEIGHTS = ("scale", "refuse")
CHUNK = 64  # windows that go through the cascade together
AHEAD = 4  # images that are read while others are predicted


@dataclass(frozen=True, eq=False)
class FoundDefects:
    """What an Inspector says of one image.

    image: (H, W) uint8, as given, grey; rles: C run-length strings of the masks, at the image's own size;
    defect_probability: 0..1, of any defect, and class_probability: (C,) float32, of each class: the highest
    of all windows, NaN where the cascade did not ask; defects: one row a piece, see `defects.table`; classes:
    their C titles; panel_width: pixels of the image that a training strip's length comes to; maps: C maps of
    the pixels' probabilities, as from `Joiner.packed_map`, b"" where they were not kept; disagreement: of the
    classifiers' members, the largest standard deviation of their answers, NaN where there is one of each.
    """

    image: np.ndarray
    rles: tuple[str, ...]
    defect_probability: float
    class_probability: np.ndarray
    defects: pd.DataFrame
    classes: tuple[str, ...]
    panel_width: int
    maps: tuple[bytes, ...] = ()
    disagreement: float = float("nan")

    @property
    def masks(self) -> np.ndarray:
        """(H, W, C) bool, decoded from `rles`."""
        shape = self.image.shape[0], self.image.shape[1]
        return np.stack([rle.decode(text, shape).view(bool) for text in self.rles], axis=-1)

    @property
    def probabilities(self) -> pd.Series:
        """`defect_probability` and `class_probability` by name, float32 (1 + C,)."""
        names = ["any defect", *self.classes]
        values = np.append(np.float32(self.defect_probability), self.class_probability)
        return pd.Series(values, index=names, dtype=np.float32)

    def show(self, most: int = 10) -> "Figure":
        """A figure of the image with the outlines of its masks, a long one in rows of a training strip's
        length: at most so many, those with defects first."""
        from lib import plots

        title = f"defect {self.defect_probability:.2f}" if np.isfinite(self.defect_probability) else ""
        return plots.long_strip(self.image, self.rles, title, self.panel_width, most)


class Inspector:
    """A run's networks and thresholds, opened once for any number of images; nothing is written.

    Arguments:
        run: a run's folder, the name of one below runs/, or "latest"; a packed data set's folder is one too.
        operating_point: a name among those in its thresholds.json, or "" for the thresholds of its score.
        batch_size: windows at a time in each network.
        height: what becomes of images that are not as high as the training strips: "scale" to that height,
            the aspect kept, and the masks back; or "refuse".
        maps_from: probability from which on a pixel is in the `maps` of results; 0: they have none.

    Raises UserError where the run has no thresholds, or not the networks that they were chosen with.
    """

    def __init__(
        self,
        run: str | Path = "runs/latest",
        operating_point: str = "",
        batch_size: int = 16,
        height: str = "scale",
        maps_from: float = 0.0,
    ):
        from lib.inference import cascade  # imports Keras, for which --help need not wait

        if height not in HEIGHTS:
            raise UserError(f"There is no height {height!r}. Choose one of: {', '.join(HEIGHTS)}.")
        self.height, self.maps_from = height, maps_from
        self.run = sources.run_folder(run)
        manifest.check_data_set(self.run)
        self.thresholds = thresholds = sources.read_thresholds(self.run, operating_point)
        if len(thresholds.shape) != 2:
            raise UserError(
                f"{sources.file_in(self.run, sources.THRESHOLDS)} has no shape. Run 40_evaluation again."
            )
        self.shape = thresholds.shape[0], thresholds.shape[1]
        self.classes = sources.class_titles(self.run, thresholds)
        folders = sources.networks_of(self.run, thresholds, thresholds.classes)
        self.networks = cascade.open_networks(
            folders, thresholds.tta, thresholds.classifier_tta, batch_size, thresholds.engine
        )

    def __call__(self, images: Image | Sequence[Image]) -> Any:
        """The FoundDefects of one image, or a list of them of a sequence of images.

        Arguments:
            images: a path, an array (H, W) or, in red, green, blue, (H, W, 3) uint8, or a sequence of these.

        Raises UserError where an image cannot be read, is turned, or is refused.
        """
        if isinstance(images, Image):
            return next(self.inspect_all([images]))
        return list(self.inspect_all(images))

    def inspect_all(self, images: Iterable[Image]) -> Iterator[FoundDefects]:
        """Yield the FoundDefects of each image, in order; images and errors as of a call.

        Batches go across images, and only the images at hand are held. Where one raises, those before it have
        come.
        """
        strips: list[Strip] = []
        with ThreadPoolExecutor(AHEAD) as pool:
            waiting = iter(images)
            reading = deque(pool.submit(self.open, image) for image in islice(waiting, AHEAD))
            while reading:
                try:
                    strips.append(reading.popleft().result())
                except UserError:
                    yield from self.predict(strips)
                    raise
                reading.extend(pool.submit(self.open, image) for image in islice(waiting, 1))
                if not reading or sum(len(strip.windows) for strip in strips) >= CHUNK:
                    yield from self.predict(strips)
                    strips = []

    def open(self, image: Image, path: str = "") -> Strip:
        """An image as a Strip, at the height of the training strips.

        Arguments:
            path: of the file from which `read_image` gave the array that `image` then is. Errors as of a call.
        """
        if isinstance(image, Strip):
            return image
        if isinstance(image, np.ndarray):
            grey = as_grey(image)
        else:
            path, grey = str(image), read_image(image)
        what = f"The image {path}" if path else "The image"
        (height, width), (wanted, length) = grey.shape, self.shape
        if height > width and height > wanted and length > wanted:
            raise UserError(
                f"{what} has {height} x {width} pixels (height x width) and is taller than wide, and the strips "
                "that the networks learned from lie. Turn it by 90 degrees, or cut it into strips."
            )
        if height == wanted:
            scaled = grey
        elif self.height == "refuse":
            raise UserError(
                f"{what} is {height} pixels high, and the strips that the networks learned from {wanted}. Cut it, or "
                'let it be scaled: height "scale".'
            )
        else:
            scaled = resize_image(grey, (wanted, max(round(width * wanted / height), 1)))
        plan = windows.plan(scaled.shape[1], length)
        joiners = [
            Joiner(plan, self.shape, self.thresholds, class_index, self.maps_from)
            for class_index in range(len(self.classes))
        ]
        return Strip(grey, scaled, path if grey.shape == self.shape else "", plan, joiners)

    def predict(self, strips: list[Strip]) -> Iterator[FoundDefects]:
        """Yield the FoundDefects of each strip. They are taken out of the list."""
        from lib.inference import cascade
        from lib.inference.predictor import Reader

        keys = [
            (strip_index, window_index)
            for strip_index, strip in enumerate(strips)
            for window_index in range(len(strip.windows))
        ]
        defect_probability = np.full(len(keys), np.nan, np.float32)
        class_probability = np.full((len(keys), len(self.classes)), np.nan, np.float32)

        def view(key: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
            strip = strips[key[0]]
            return strip.view(strip.windows[key[1]].left, self.shape[1], size)

        classifiers = [network for name, network in self.networks.items() if not name.startswith("seg_")]
        for network in classifiers:
            network.disagreement = {}
        for start in range(0, len(keys), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(keys)))
            probabilities = defect_probability, class_probability
            with Reader(read=view) as reader:
                for class_index, row, probability in cascade.predict_maps(
                    self.networks, keys, rows, self.thresholds, self.shape, probabilities, reader
                ):
                    strip_index, window_index = keys[row]
                    strips[strip_index].joiners[class_index].add(window_index, probability)
        measured = [(network.disagreement or {}).get(key, np.nan) for network in classifiers for key in keys]
        disagreement = np.fmax.reduce(np.reshape(measured, (len(classifiers), len(keys))), initial=np.nan)
        done = 0
        while strips:
            strip = strips.pop(0)
            here = slice(done, done + len(strip.windows))
            done = here.stop
            yield self.found_in(strip, defect_probability[here], class_probability[here], disagreement[here])

    def found_in(
        self,
        strip: Strip,
        defect_probability: np.ndarray,
        class_probability: np.ndarray,
        disagreement: np.ndarray,
    ) -> FoundDefects:
        """What is in a strip whose windows were all asked; the probabilities and the disagreement are theirs."""
        own_size = strip.image.shape[0], strip.image.shape[1]
        size = strip.scaled.shape[0], strip.scaled.shape[1]
        rles, rows = [], []
        for class_index, (joiner, name) in enumerate(zip(strip.joiners, self.classes, strict=True)):
            text, of_class = defects.of_mask(*joiner.finish(), size, own_size, class_index, name)
            rles.append(text)
            rows += of_class
        return FoundDefects(
            strip.image,
            tuple(rles),
            float(np.fmax.reduce(defect_probability)),
            np.fmax.reduce(class_probability, axis=0),
            defects.table(rows),
            tuple(self.classes),
            max(round(self.shape[1] * own_size[0] / self.shape[0]), 1),
            tuple(joiner.packed_map() for joiner in strip.joiners),
            float(np.fmax.reduce(disagreement)),
        )


def as_grey(image: np.ndarray) -> np.ndarray:
    """An array (H, W), (H, W, 1) or, in red, green, blue, (H, W, 3) uint8 as grey levels (H, W); UserError for
    another."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    is_colour = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or not image.size or not (image.ndim == 2 or is_colour):
        raise UserError(
            f"An array of shape {image.shape} and type {image.dtype} is no image. Give uint8 of shape (height, width) or "
            "(height, width, 3), several images as a list."
        )
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if is_colour else np.ascontiguousarray(image)
