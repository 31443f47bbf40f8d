"""What the page of a prediction shows, from the results of its images: counts, and which of them to look
at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.data import depth, rle
from lib.errors import UserError
from lib.evaluation import error_analysis, metrics
from lib.inference.postprocess import PostprocessConfig
from lib.inference.results import ImageResult
from lib.report.overlay import data_address, of_columns
from lib.report.prediction import Contents, Picture, link_to

SHOWN = 6  # images of each kind
LONGEST = 12  # times its height that is shown of an image
TRUTH_KINDS = {  # of `error_analysis.worst`
    "missed": ("Defects that got no mask", "The largest ones before the others."),
    "false alarm": ("Masks where there is no such defect", "Those of the surest classifier before the others."),
    "lowest Dice": ("Outlined worst", "Defects that were found, with the lowest Dice. Wrong place, or only another outline?"),
}  # fmt: skip


class Gallery:
    """Pictures of images for the page.

    Arguments:
        paths: {image: its file}; overlays: {image: its overlay's file, from the page's folder}; white: see
            `depth.read`.
    """

    def __init__(self, paths: Mapping[str, Path | str], overlays: Mapping[str, str], white: float) -> None:
        self.paths, self.overlays, self.white = paths, overlays, white

    def picture(self, result: ImageResult, truth: Sequence[str] = (), title: str = "") -> Picture:
        """An image with its masks, and with the true ones, where these are given; `title`: of the class that it is
        shown for, or ""."""
        words = f"{title}: {caption(result)}" if title else caption(result)
        link = link_to(self.overlays[result.name]) if result.has_mask else ""
        try:
            image = depth.read(self.paths[result.name], self.white).image
        except UserError:  # it was there before
            return Picture(result.name, words, "", link)
        columns, on_columns = part_shown(result, truth)
        predicted, true = (
            data_address(of_columns(image, rles, *columns)) if rles else "" for rles in (result.rles, truth)
        )
        return Picture(result.name, words + on_columns, predicted, link, true)


def part_shown(result: ImageResult, truth: Sequence[str] = ()) -> tuple[tuple[int, int], str]:
    """Which columns of an image the page shows, from and to, and words on that: all, or, of one longer than LONGEST
    times its height, as many about the column with the longest runs of masks, of true ones where nothing was found."""
    height, width = result.shape
    shown = LONGEST * height
    if width <= shown:
        return (0, width), ""
    runs, _ = rle.runs_of_all(result.rles if result.has_mask else list(truth))
    in_masks = np.bincount((runs[:, 0] - 1) // height, runs[:, 1], minlength=width)
    first = int(np.clip(in_masks.argmax() - shown // 2, 0, width - shown))
    return (first, first + shown), f"; columns {first:,} to {first + shown:,} are shown"


def caption(result: ImageResult) -> str:
    """What the classifiers state of an image, and how many pieces it has, in words."""
    class_probability = np.array(result.class_probability, float)
    words = error_analysis.probabilities(float(np.array(result.defect_probability, float)), class_probability)
    pieces = f"{len(result.pieces)} defect{'' if len(result.pieces) == 1 else 's'}"
    return f"{words}; {pieces}; {' x '.join(map(str, result.shape))} pixels"


def worst(results: Sequence[ImageResult], most: int = SHOWN) -> list[ImageResult]:
    """The images with the largest share of their pixels in masks, that first."""
    shares = [sum(map(rle.area, result.rles)) / np.prod(result.shape) for result in results]
    order = sorted(range(len(results)), key=lambda index: -shares[index])
    return [results[index] for index in order if results[index].has_mask][:most]


def doubt(result: ImageResult, thresholds: PostprocessConfig) -> float:
    """How near an image's probability of a defect is to the binary threshold, 0 for least sure; where none was
    asked for it, the lowest mean probability of its defects; infinite without any."""
    if result.defect_probability is not None:
        return abs(result.defect_probability - thresholds.binary_threshold)
    return min((piece["mean_probability"] for piece in result.pieces), default=np.inf)


def least_sure(
    results: Sequence[ImageResult], thresholds: PostprocessConfig, most: int = SHOWN
) -> list[ImageResult]:
    """The images of least `doubt`, that first."""
    distances = [doubt(result, thresholds) for result in results]
    order = sorted(range(len(results)), key=distances.__getitem__)
    return [results[index] for index in order if np.isfinite(distances[index])][:most]


def of_truth(
    results: Sequence[ImageResult], titles: Sequence[str], truth: list[list[str]], gallery: Gallery
) -> list[tuple[str, str, list[Picture]]]:
    """Galleries of the mistakes, the true outlines beside the predicted ones."""
    predicted = [result.rles for result in results]
    probability = np.nan_to_num(np.array([result.class_probability for result in results], float))
    shown = error_analysis.worst(
        truth, predicted, metrics.dice_of_rles(truth, predicted), probability, SHOWN // 2
    )
    return [
        (*words, [gallery.picture(results[row], truth[row], titles[index]) for row, index in shown[kind]])
        for kind, words in TRUTH_KINDS.items()
    ]


def contents(
    results: Sequence[ImageResult],
    titles: Sequence[str],
    thresholds: PostprocessConfig,
    gallery: Gallery,
    pixel_mm: float = 0.0,
    truth: list[list[str]] | None = None,
) -> Contents:
    """What the page shows, but for the run's name, remarks, score and settings.

    Arguments:
        results: of all images; titles: of the classes; truth: of those that were read (N x C), or None.
    """
    read = [result for result in results if not result.problem]
    marked = sum(result.has_mask for result in read)
    counts = [("images", len(results)), ("with defects", marked), ("clean", len(read) - marked)]
    counts += [
        ("not read", len(results) - len(read)),
        ("defects", sum(len(result.pieces) for result in read)),
    ]
    classes = []
    for class_index, title in enumerate(titles):
        with_it = sum(result.rles[class_index] != "" for result in read)
        pieces = [piece for result in read for piece in result.pieces if piece["class"] == class_index + 1]
        classes.append(
            (title, with_it, len(pieces), area_text(sum(piece["area"] for piece in pieces), pixel_mm))
        )
    galleries = of_truth(read, titles, truth, gallery) if truth is not None else []
    words = "Those with the largest share of their pixels in masks."
    galleries.append(("Worst images", words, [gallery.picture(result) for result in worst(read)]))
    words = "Those whose probability of a defect is nearest to the filter's threshold: look here for what it may have got wrong."
    unsure = [gallery.picture(result) for result in least_sure(read, thresholds)]
    galleries.append(("Least sure images", words, unsure))
    unread = [(result.name, result.problem) for result in results if result.problem]
    return Contents("", counts, classes, galleries=galleries, unread=unread)


def area_text(pixels: int, pixel_mm: float) -> str:
    """An area in words: pixels, or mm2 where a pixel's side in millimetres is known."""
    return f"{pixels * pixel_mm**2:,.1f} mm²" if pixel_mm else f"{pixels:,} pixels"


def deep_remark(results: Sequence[ImageResult], white: float) -> str:
    """A sentence where some images of more than 8 bits use few of their levels and nobody said what is white; ""
    elsewhere."""
    deep = [result for result in results if result.highest]
    dim = [result for result in deep if result.highest < 2**14]
    if white or not dim:
        return ""
    highest = max(result.highest for result in dim)
    return (
        f"{len(dim)} of {len(deep)} images of 16 bits, such as {dim[0].name}, have no value above {highest}, of which "
        f"{highest // 256 + 1} grey levels are left: if they have fewer bits, say which value is white, such as "
        f"--white {2 ** highest.bit_length() - 1}, and predict others apart."
    )
