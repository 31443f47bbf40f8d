"""An Inspector on networks whose answers are known: a strip's grey levels are its probabilities."""

import cv2
import numpy as np
import pytest

from lib import files, paths
from lib.data import rle
from lib.inference import cascade, defects, pieces, postprocess
from lib.inference.inspector import Inspector
from lib.models import saving

H, W = 16, 40
BLACK = np.zeros((H, W), np.uint8)
THRESHOLDS = {
    "strategy": "both filters",
    "binary_threshold": 0.5,
    "label_thresholds": [0.5, 0.5],
    "pixel_thresholds": [0.5, 0.75],
    "smallest_components": [4, 0],
    "minimum_areas": [10, 0],
    "shape": [H, W],
}


def highest(images):
    """A classifier: the brightest grey of each image as a share of white, (B, 1)."""
    return images.max(axis=(1, 2, 3))[:, None].astype(np.float32) / 255


def known_predictor(folder, _):
    """In place of a saved network: "any defect" and both classes are as probable as the brightest pixel is
    bright, but class 2 never where column 0 is grey 1; the map is the image."""
    name = folder.name
    card = {"input": [H, W]}

    def multilabel(images):
        return np.hstack([highest(images), highest(images) * (images[:, 0, 0] != 1)])

    answers = {
        "binary": highest,
        "multilabel": multilabel,
        "seg_class1": lambda images: images.astype(np.float32) / 255,
        "seg_class2": lambda images: images.astype(np.float32) / 255,
    }
    return answers[name], card


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's folder: two classes; other thresholds as keywords."""
    monkeypatch.setattr(saving, "predictor", known_predictor)

    def make(**changed):
        folder = tmp_path / "run"
        for name in paths.network_names(2):
            files.write_json(folder / "models" / name / "model.json", {"input": [H, W]})
        files.write_json(folder / "thresholds.json", THRESHOLDS | changed)
        files.write_json(folder / "evaluation.json", {"classes": {"1 spots": {}, "2 cracks": {}}})
        return folder

    return make


def strip(*boxes, width=W, height=H, grey=200):
    """A strip, black but for boxes (top, left, height, width)."""
    image = np.zeros((height, width), np.uint8)
    for top, left, rows, columns in boxes:
        image[top : top + rows, left : left + columns] = grey
    return image


def test_three_lines(run, tmp_path):
    from lib.predict import Inspector

    cv2.imwrite(str(tmp_path / "image.png"), strip((2, 5, 4, 6)))
    inspector = Inspector(run())
    found = inspector(tmp_path / "image.png")
    assert np.array_equal(found.masks[..., 0], strip((2, 5, 4, 6)) > 0)
    assert found.masks.shape == (H, W, 2) and found.masks.dtype == bool
    assert found.rles == (rle.encode(found.image),) * 2
    assert found.probabilities.to_dict() == pytest.approx(
        {"any defect": 200 / 255, "1 spots": 200 / 255, "2 cracks": 200 / 255}
    )
    row = found.defects.iloc[0].to_dict()
    assert row.pop("mean_probability") == pytest.approx(200 / 255)
    assert row.pop("max_probability") == pytest.approx(200 / 255)
    assert row == {"class": 1, "name": "1 spots", "area": 24, "left": 5, "top": 2, "width": 6, "height": 4,
                   "length": 6.0, "breadth": 4.0}  # fmt: skip
    assert list(found.defects["class"]) == [1, 2]
    assert len(found.show().axes) == 1


def test_masks_are_those_of_the_cascade(run, tmp_path):
    """Smooth noise, of which filters, thresholds, pieces and minimum areas each drop some."""
    rng = np.random.default_rng(0)
    files_of_strips = []
    for index in range(40):
        noise = cv2.GaussianBlur(rng.random((H, W)), (5, 5), 0)
        image = np.clip((noise - 0.35) * rng.uniform(300, 900), 0, 255).astype(np.uint8)
        image[0, 0] = index % 2
        files_of_strips.append(str(tmp_path / f"{index}.png"))
        cv2.imwrite(files_of_strips[-1], image)
    for strategy in postprocess.STRATEGIES:
        inspector = Inspector(run(strategy=strategy), batch_size=7)
        expected, *probabilities = cascade.predict(
            inspector.networks, files_of_strips, inspector.thresholds, (H, W)
        )
        results = inspector(files_of_strips)
        assert [list(result.rles) for result in results] == expected
        np.testing.assert_array_equal([result.defect_probability for result in results], probabilities[0])
        np.testing.assert_array_equal([result.class_probability for result in results], probabilities[1])
        assert len({row[0] for row in expected}) > 10 and ["", ""] in expected
        arrays = [cv2.imread(file, cv2.IMREAD_GRAYSCALE) for file in files_of_strips]
        assert [result.rles for result in inspector(arrays)] == [result.rles for result in results]


def test_pieces_are_those_of_opencv():
    rng = np.random.default_rng(1)
    for share in (0.02, 0.3, 0.5, 0.9):
        probability = rng.random((13, 29)).astype(np.float32)
        runs = pieces.runs_of(probability, 1 - share)
        mask = probability >= np.float32(1 - share)
        labels = pieces.connect(runs)
        count, expected = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        assert labels.max() == count - 2
        for index in range(count - 1):
            of_piece = runs[labels == index]
            here = expected == expected[of_piece["top"][0], of_piece["column"][0]]
            assert pieces.encode(of_piece, 13) == rle.encode(here)
            assert pieces.areas(runs, labels)[index] == here.sum()
            assert of_piece["total"].sum() == pytest.approx(probability[here].sum(), rel=1e-5)
            assert of_piece["highest"].max() == probability[here].max()
        assert pieces.encode(runs, 13) == rle.encode(mask)


@pytest.mark.parametrize(
    "mask, length, breadth",
    [
        (np.ones((1, 1)), 1, 1),
        (np.ones((3, 7)), 7, 3),
        (np.ones((7, 3)), 7, 3),
        (np.eye(10), 10 * 2**0.5, 2**0.5),
        ([[1, 1, 1, 1], [1, 0, 0, 0]], 4, 2),
    ],
)
def test_length_and_breadth_are_along_a_pieces_own_axes(mask, length, breadth):
    assert defects.sides(pieces.runs_of(np.array(mask, np.float32), 0.5)) == pytest.approx(
        (length, breadth), abs=0.01
    )
