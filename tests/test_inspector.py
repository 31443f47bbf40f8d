"""An Inspector on networks whose answers are known: a strip's grey levels are its probabilities."""

import cv2
import numpy as np
import pandas as pd
import pytest

from lib import files, paths
from lib.data import rle
from lib.errors import UserError
from lib.inference import cascade, defects, pieces, postprocess, windows
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
    """Those of docs/own_steel.md, but for the names of the run and the image."""
    cv2.imwrite(str(tmp_path / "image.png"), strip((2, 5, 4, 6)))
    page = (paths.PROJECT / "docs" / "own_steel.md").read_text(encoding="utf-8")
    lines = page.partition("```python\n")[2].partition("```")[0]
    lines = lines.replace("runs/latest", str(run())).replace("image.jpg", str(tmp_path / "image.png"))
    variables = {}
    exec(lines, variables)
    found = variables["found"]
    assert np.array_equal(found.masks[..., 0], strip((2, 5, 4, 6)) > 0)
    assert found.masks.shape == (H, W, 2) and found.masks.dtype == bool
    assert found.rles == (rle.encode(found.image),) * 2
    assert found.probabilities.to_dict() == pytest.approx(
        {"any defect": 200 / 255, "1 spots": 200 / 255, "2 cracks": 200 / 255}
    )
    row = found.defects.iloc[0].to_dict()
    assert row.pop("mean_probability") == pytest.approx(200 / 255)
    assert row.pop("max_probability") == pytest.approx(200 / 255)
    assert row.pop("rle") == found.rles[0]
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


def ten_strips():
    """Ten strips: black ones, some with a defect in the middle, one whose mask is below the minimum area, and
    one that touches the joint."""
    images = [BLACK] * 10
    images[1] = strip((2, 15, 4, 6))
    images[3] = strip((1, 18, 3, 3), (8, 20, 1, 1))  # 9 pixels of class 1 are too few
    images[6] = strip((0, 12, 16, 2), (5, 22, 5, 5))
    images[8] = strip((6, 30, 5, 10))
    return images


def test_a_long_strip_gives_the_results_of_its_parts(run):
    inspector = Inspector(run())
    parts = ten_strips()
    alone = inspector(parts)
    result = inspector(np.hstack(parts))
    expected = np.hstack([each.masks for each in alone])
    assert np.array_equal(result.masks, expected) and expected.any(axis=(0, 1)).all()
    assert not expected[:, 3 * W : 4 * W, 0].any() and expected[:, 3 * W : 4 * W, 1].any()
    shifted = [each.defects.assign(left=each.defects["left"] + W * index) for index, each in enumerate(alone)]
    rows = pd.concat(shifted).sort_values(["class", "left"], ignore_index=True)
    pd.testing.assert_frame_equal(result.defects.drop(columns="rle"), rows.drop(columns="rle"))
    assert result.defect_probability == pytest.approx(200 / 255)


def test_differences_lie_within_the_reach_of_the_joints(run):
    """Noise: half of the strips pass the filters, and what windows say of a joint differs."""
    rng = np.random.default_rng(3)
    reach = round(windows.REACH * W)

    def uneven(folder, engine):
        """Maps that depend on where in the window a pixel is: at its ends they are lower."""
        answer, card = known_predictor(folder, engine)
        if not folder.name.startswith("seg"):
            return answer, card
        fall = 0.5 + 0.5 * np.sin(np.pi * (np.arange(W) + 0.5) / W)[:, None].astype(np.float32)
        return lambda images: answer(images) * fall, card

    parts = [rng.integers(0, 256, (H, W), np.uint8) // (1 + index % 2) for index in range(10)]
    with pytest.MonkeyPatch.context() as patch:
        folder = run(smallest_components=[0, 0], minimum_areas=[0, 0], binary_threshold=0.6)
        patch.setattr(saving, "predictor", uneven)
        inspector = Inspector(folder)
    alone = np.hstack([each.masks for each in inspector(parts)])
    together = inspector(np.hstack(parts)).masks
    columns = np.flatnonzero((alone != together).any(axis=(0, 2)))
    nearest = np.abs((columns + 0.5)[:, None] - W * np.arange(1, 10)).min(axis=1)
    assert len(columns) > 20 and nearest.max() < reach


def test_a_defect_on_a_joint_is_one_piece_and_is_judged_in_full(run):
    inspector = Inspector(run(smallest_components=[12, 12], minimum_areas=[12, 12]))
    image = strip((3, W - 4, 2, 8), width=2 * W)  # 8 pixels in either strip: each alone is too small
    assert inspector([image[:, :W], image[:, W:]])[0].rles == ("", "")
    result = inspector(image)
    assert result.defects["area"].tolist() == [16, 16] and result.rles[0] == rle.encode(image)


def test_a_minimum_area_is_that_of_a_window(run):
    """What stands in one window, each piece in full, is enough there or not, whatever stands elsewhere."""
    inspector = Inspector(run(smallest_components=[0, 0], minimum_areas=[10, 0]))
    image = strip((1, 15, 3, 3), (1, 15 + W, 3, 3), (8, 25 + W, 3, 3), width=3 * W)
    result = inspector(image)
    assert result.defects.query("`class` == 1")["left"].tolist() == [15 + W, 25 + W]
    assert result.defects.query("`class` == 2")["left"].tolist() == [15, 15 + W, 25 + W]


def test_a_bridge_that_no_filter_lets_through_changes_nothing_and_one_alone_counts(run):
    """Class 2 is denied where a window begins with grey 1."""
    inspector = Inspector(run(label_thresholds=[0.5, 0.5]))
    box = 4, W - 6, 4, 6
    image = strip(box, width=2 * W)
    expected = image > 0
    image[0, W // 2] = 1  # where the bridge begins
    assert np.array_equal(inspector(image).masks[..., 1], expected)
    image = strip(box, width=2 * W)
    image[0, 0] = image[0, W] = 1  # where the cores begin
    reach = round(windows.REACH * W)
    weights = windows.bridge_weights(W)
    seen = inspector(image).masks[..., 1]
    columns = np.arange(W - 6, W)
    expected_columns = columns[weights[columns - W + reach] * (200 / 255) >= 0.75]
    assert np.flatnonzero(seen.any(axis=0)).tolist() == expected_columns.tolist() == list(range(W - 5, W))


@pytest.mark.parametrize("length", [41, 55, 79, 80, 81, 100, 161])
def test_every_length_is_seen_in_full(run, length):
    """A network that gives the image back gives the whole strip back, whatever its length."""
    inspector = Inspector(run(smallest_components=[0, 0], minimum_areas=[0, 0]))
    image = np.random.default_rng(length).integers(0, 256, (H, length), np.uint8)
    for mask, threshold in zip(np.moveaxis(inspector(image).masks, -1, 0), (0.5, 0.75), strict=True):
        assert np.array_equal(mask, image / 255 >= threshold)
    plan = windows.plan(length, W)
    assert [window.settled for window in plan] == sorted(window.settled for window in plan)
    assert all(0 <= window.left <= length - W for window in plan) and plan[-1].settled == length


@pytest.mark.parametrize("length", [1, 2, 17, 39])
def test_a_short_image_is_mirrored_to_the_length_and_cut_back(run, length):
    inspector = Inspector(run(smallest_components=[0, 0], minimum_areas=[length, 0]))
    image = np.full((H, length), 250, np.uint8)
    image[: H // 2] = 0
    result = inspector(image)
    assert result.masks.shape == (H, length, 2) and np.array_equal(result.masks[..., 0], image > 0)
    assert result.defects["area"].tolist() == [H // 2 * length] * 2
    part = windows.Strip(image, image, "", windows.plan(length, W)).view(0, W, (H, W))
    assert (part == image[:, :1]).all()
    ramp = np.tile(np.arange(length, dtype=np.uint8), (H, 1))
    shown = windows.Strip(ramp, ramp, "", windows.plan(length, W)).view(0, W, (H, W))
    period = max(2 * (length - 1), 1)
    positions = np.arange(W) % period
    assert shown[0].tolist() == np.minimum(positions, period - positions).tolist()


@pytest.mark.parametrize("factor", [2, 3])
def test_another_height_is_scaled_and_the_masks_back(run, factor):
    inspector = Inspector(run())
    small = strip((2, 5, 4, 6), (3, 50, 8, 5), width=2 * W)
    large = cv2.resize(small, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    result = inspector(large)
    assert np.array_equal(result.masks[..., 0], large > 0)
    assert result.defects["area"].tolist() == [24 * factor**2, 40 * factor**2] * 2
    assert result.defects["left"].tolist() == [5 * factor, 50 * factor] * 2
    assert result.defects["length"].tolist() == pytest.approx([6 * factor, 8 * factor] * 2)
    assert result.panel_width == W * factor
    small = inspector(strip((0, 2, H // 2, 4), width=W // 2, height=H // 2))
    assert small.defects["area"].tolist() == [4 * H // 2, 3 * H // 2]  # soft edges under 0.5 and 0.75
    for shape in ((37, 101), (7, 23), (17, 40)):
        assert inspector(np.full(shape, 255, np.uint8)).masks.all()


def test_what_is_refused_ends_in_a_sentence(run, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "home")  # without a run, whatever runs this project has
    inspector = Inspector(run())
    with pytest.raises(UserError, match=r"40 x 16 pixels .* Turn it by 90 degrees"):
        inspector(BLACK.T)
    assert inspector(np.zeros((H, 3), np.uint8)).masks.shape == (H, 3, 2)  # small: a part of a strip
    refusing = Inspector(run(), height="refuse")
    with pytest.raises(UserError, match="17 pixels high, and the strips that the networks learned from 16"):
        refusing(np.zeros((H + 1, W), np.uint8))
    assert refusing(BLACK).rles == ("", "")
    with pytest.raises(UserError, match=r"shape \(2, 2, 4\) and type float64 is no image"):
        inspector(np.zeros((2, 2, 4)))
    with pytest.raises(UserError, match="does not exist"):
        inspector(tmp_path / "none.png")
    with pytest.raises(UserError, match=r"no height 'stretch'\. Choose one of: scale, refuse"):
        Inspector(run(), height="stretch")
    with pytest.raises(UserError, match="There is no run nowhere"):
        Inspector("nowhere")
    with pytest.raises(UserError, match=r"has no thresholds.json. Name a run whose 40_evaluation is done"):
        Inspector(tmp_path)


def test_images_come_one_by_one_in_order_and_few_are_read_ahead(run):
    inspector = Inspector(run(), batch_size=5)
    given = []

    def images():
        for index in range(200):
            given.append(index)
            yield strip((2, index % 20, 4, 5 + index % 7), width=W * (1 + 2 * (index % 3)))

    for index, result in enumerate(inspector.inspect_all(images())):
        assert result.defects["left"].iloc[0] == index % 20
        assert result.defects["width"].iloc[0] == 5 + index % 7
        assert len(given) <= index + 64 + 5
    assert index == 199 and list(inspector.inspect_all([])) == [] == inspector([])


def test_what_came_before_an_image_that_cannot_be_read_is_there(run, tmp_path):
    results = Inspector(run()).inspect_all([strip((2, 5, 4, 6)), BLACK, tmp_path / "none.png", BLACK])
    assert [len(next(results).defects) for _ in range(2)] == [2, 0]
    with pytest.raises(UserError, match="does not exist"):
        next(results)


def test_an_operating_point_has_thresholds_of_its_own(run):
    point = {"pixel_thresholds": [0.9, 0.9], "asked_for": 0.1, "achieved": 0.2}
    folder = run(operating_points={"few_alarms": point})
    image = strip((2, 5, 4, 6))
    assert Inspector(folder)(image).rles[1] == rle.encode(image)
    assert Inspector(folder, "few_alarms")(image).rles == ("", "")
    with pytest.raises(UserError, match=r"no operating point 'none'\. It has few_alarms"):
        Inspector(folder, "none")


def test_colours_are_red_green_blue(run):
    inspector = Inspector(run())
    image = np.stack([strip((2, 5, 4, 6), grey=grey) for grey in (255, 200, 100)], axis=-1)
    result = inspector(image)
    assert result.image[3, 6] == round(0.299 * 255 + 0.587 * 200 + 0.114 * 100)
    assert result.rles[0] == rle.encode(image[..., 0])


def test_a_run_is_named_in_four_ways_and_stays_as_it_is(run, monkeypatch):
    folder = run()
    home = folder.parent / "home"
    (home / "runs").mkdir(parents=True)
    folder.rename(home / "runs" / "monday")
    monkeypatch.setattr(paths, "PROJECT", home)
    monkeypatch.chdir(
        folder.parent
    )  # runs/latest counts from where the user is, too, and this project may have one
    before = sorted((path, path.stat().st_mtime_ns) for path in home.rglob("*"))
    for name in ("monday", "runs/monday", home / "runs" / "monday", "latest", "runs/latest"):
        inspector = Inspector(name)
        assert inspector.run == home / "runs" / "monday" and inspector.classes == ["1 spots", "2 cracks"]
        inspector(strip((2, 5, 4, 6)))
    assert sorted((path, path.stat().st_mtime_ns) for path in home.rglob("*")) == before
    (home / "runs" / "tuesday").mkdir()
    (home / "runs" / "latest").symlink_to("tuesday")  # which is not done: no other stands in for it
    with pytest.raises(
        UserError, match=r"tuesday has no thresholds\.json\. The newest run .* is done is monday\."
    ):
        Inspector("latest")


def test_show_has_a_row_for_a_strips_length_those_with_defects_first(run):
    inspector = Inspector(run())
    result = inspector(np.hstack(ten_strips()))
    titles = [axes.get_title(loc="left") for axes in result.show().axes]
    assert len(titles) == 10 and titles[:2] == [f"columns 0 to {W}  defect 0.78", f"columns {W} to {2 * W}"]
    few = [axes.get_title(loc="left").split()[1] for axes in result.show(most=4).axes]
    assert few == [str(W * index) for index in (1, 3, 6, 8)]
