"""explore.html: which strips it has, what it holds of them, and what clicks, keys and sliders do in a browser."""

import base64
import json
import re
import zlib
from urllib.parse import quote

import browser
import cv2
import numpy as np
import pandas as pd
import pytest

from lib.data import rle
from lib.evaluation import exploring
from lib.evaluation.predictions import PIXEL_THRESHOLDS, SMALLEST_COMPONENTS, CascadePredictions
from lib.inference import postprocess
from lib.inference.postprocess import PostprocessConfig
from lib.inference.results import ImageResult
from lib.report import explore
from lib.report.explore import About, ClassRules, Strip

H, W = 6, 10
HOSTILE = "<img src=x onerror=document.title='run'>"
SCRIPT = "</script><script>document.title='run'</script><!--"
EMPTY = [""] * 2


def mask(*boxes):
    """A mask of boxes (top, left, height, width)."""
    result = np.zeros((H, W), np.uint8)
    for top, left, rows, columns in boxes:
        result[top : top + rows, left : left + columns] = 1
    return result


TRUTH = rle.encode(mask((1, 2, 3, 2)))
WIDE = rle.encode(mask((1, 2, 3, 4)))  # what is predicted: twice as wide
PROBABILITY = (
    0.6 * mask((1, 2, 3, 4))
    + 0.3 * mask((1, 2, 3, 2))
    + 0.95 * mask((5, 9, 1, 1))
    + 0.04 * mask((0, 0, 1, 1))
)


def strip(name, predicted, truth=None, dice=(), maps=(b"", b""), passed=(True, True), image=None):
    image = np.full((H, W), 90, np.uint8) if image is None else image
    return Strip(name, image, predicted, maps, passed, 0.7, [0.6, None], truth, dice)


def strips_of_a_kind_each():
    return [
        strip(
            HOSTILE,
            [WIDE, ""],
            [TRUTH, TRUTH],
            [2 / 3, 0],
            [postprocess.pack(PROBABILITY), b""],
            (True, False),
        ),
        strip("alarm", ["", WIDE], EMPTY, [1, 0]),
        strip("clean", EMPTY, EMPTY, [1, 1]),
    ]


def about(has_truth=True):
    classes = [ClassRules(SCRIPT, 0.5, 2, 3), ClassRules("scratch", 0.5, 0, None)]
    return About(HOSTILE, "Run", 5, "all of a kind", classes, has_truth)


def stored(path):
    """The JSON in a page."""
    text = re.search(
        '(?s)<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8")
    )
    return json.loads(text[1])


def test_map_comes_back_from_differences():
    levels = np.random.default_rng(0).integers(13, 256, (5, 7), np.uint8)
    levels[0, 0] = 12  # below FAINTEST
    packed = explore.packed(cv2.imencode(".png", levels)[1].tobytes(), (5, 7))
    differences = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8).reshape(5, 7)
    levels[0, 0] = 0
    assert np.array_equal(np.cumsum(differences, axis=1, dtype=np.uint8), levels)
    assert explore.packed(postprocess.pack(np.full((2, 2), 0.04)), (5, 7)) is None
    assert explore.packed(b"", (5, 7)) is None


def test_large_strip_is_shown_smaller_and_the_page_ends_where_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(explore, "MOST_PIXELS", H * W)
    twice = np.ones((2, 2), np.uint8)
    text, png = rle.encode(np.kron(mask((1, 2, 3, 4)), twice)), postprocess.pack(np.kron(PROBABILITY, twice))
    large = strip("large", [text, ""], maps=[png, b""], image=np.zeros((2 * H, 2 * W), np.uint8))
    entry = explore.entry(large)
    assert (entry["height"], entry["width"], entry["scale"], entry["shape"]) == (H, W, 0.5, [2 * H, 2 * W])
    assert entry["predicted"] == [WIDE, ""] and (entry["maps"][0]["height"], entry["maps"][0]["width"]) == (
        H,
        W,
    )
    monkeypatch.setattr(explore, "MOST_BYTES", int(2.5 * len(json.dumps(entry))))
    assert explore.write_page(tmp_path / "a.html", about(has_truth=False), [large] * 4) == ["large"] * 2
    assert [one["name"] for one in stored(tmp_path / "a.html")["strips"]] == ["large"] * 2
    assert "2 of 5 strips: all of a kind." in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_the_most_interesting_come_first():
    truth = [EMPTY, EMPTY, [TRUTH, ""], [WIDE, ""], [TRUTH, ""], EMPTY, [TRUTH, ""]]
    predicted = [EMPTY, EMPTY, EMPTY, EMPTY, [WIDE, ""], [WIDE, ""], [TRUTH, ""]]
    dice = np.array([[1, 1], [1, 1], [0, 1], [0, 1], [2 / 3, 1], [0, 1], [1, 1]])
    doubt = np.array([0.4, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2])
    order = exploring.interest(truth, predicted, dice, np.full((7, 2), 0.5), doubt)
    # the larger missed one, the alarm, the lowest Dice, the other missed one, the Dice after it, then by doubt
    assert order == [3, 5, 4, 2, 6, 1, 0]
    assert exploring.in_turn([[2, 0], [2, 3]], 5) == [2, 0, 3, 1, 4]


def test_rules_are_those_of_the_thresholds():
    thresholds = PostprocessConfig(
        "both filters", 0.5, (0.5, 0.5), (0.3, 0.8), (75, 0), (600, postprocess.NEVER)
    )
    assert exploring.rules_of(["a", "b"], thresholds) == [
        ClassRules("a", 0.3, 75, 600),
        ClassRules("b", 0.8, 0, None),
    ]
    severity = exploring.Severity((25.0, 0.0), (0.0, 0.0), 0.5)  # 25 mm2 are 100 pixels
    assert exploring.rules_of(["a", "b"], thresholds, severity)[0].smallest_component == 100


def config(strategy="both filters", binary_threshold=0.5):
    return PostprocessConfig(strategy, binary_threshold, (0.5, 0.5), (0.3, 0.5), (0, 0), (0, 0))


def test_a_run_has_each_strip_under_the_thresholds_of_its_fold(tmp_path):
    """Two strips that are alike; the filter of the second one's fold drops it, of which a mask was expected."""
    files = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for file in files:
        cv2.imwrite(file, np.full((H, W), 90, np.uint8))
    rows = pd.DataFrame({"image_id": ["a", "b"], "path": files})
    zeros = np.zeros((2, 2, len(PIXEL_THRESHOLDS), len(SMALLEST_COMPONENTS)), np.int64)
    defect, classes = np.full(2, 0.6, np.float32), np.full((2, 2), 0.5, np.float32)
    predictions = CascadePredictions(defect, classes, np.zeros((2, 2), np.int64), zeros, zeros, np.arange(2))
    png = postprocess.pack(PROBABILITY)
    folds = [(np.array([True, False]), config()), (np.array([False, True]), config(binary_threshold=0.7))]
    words = predictions, folds, config(), [[png, png]] * 2, ["spot", "scratch"]
    truth, predicted = [[TRUTH, ""]] * 2, [[WIDE, ""], EMPTY]
    assert exploring.explore_run(tmp_path / "explore.html", "run", rows, truth, predicted, *words) == [
        "b",
        "a",
    ]
    missed, found = stored(tmp_path / "explore.html")["strips"]
    assert (missed["name"], missed["passed"], missed["dice"]) == ("b", [False, False], [0, 1])
    assert (found["name"], found["passed"], found["dice"]) == ("a", [True, True], [pytest.approx(2 / 3), 1])
    assert missed["maps"] == found["maps"] and missed["maps"][0]["width"] == W
    assert exploring.explore_run(tmp_path / "a.html", "run", rows, truth, predicted, *words, most=1) == ["b"]
    soft = postprocess.unpack(exploring.weighted(png, 0.5, config(postprocess.SOFT)))
    assert soft[2, 5] == pytest.approx(0.3, abs=1 / 255) and exploring.weighted(png, 0.5, config()) == png


def test_of_a_long_image_there_is_the_part_with_most_found(monkeypatch):
    """12 times its height is shown; nothing else but the masks of that part."""
    image = np.zeros((H, 200), np.uint8)
    image[1:4, 150:154] = 200
    text = rle.encode((image > 0).astype(np.uint8))
    result = ImageResult("long", shape=image.shape, rles=[text, ""])
    part = exploring.part_of(strip("long", [text, ""], [text, ""], [1, 1], image=image), result)
    assert part.image.shape == (H, 12 * H) and (part.image > 0).sum() == 12
    expected = rle.encode((part.image > 0).astype(np.uint8))
    assert (part.predicted, part.truth) == ([expected, ""], [expected, ""])
    entry = explore.entry(part)
    assert (
        entry["shape"] == [H, 200]
        and not entry["has_maps"]
        and "columns 114 to 186 are shown" in entry["remark"]
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of three strips, in a browser."""
    if browser.CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    folder = tmp_path_factory.mktemp("explore")
    assert explore.write_page(folder / "explore.html", about(), strips_of_a_kind_each()) == [
        HOSTILE,
        "alarm",
        "clean",
    ]
    with browser.opened((folder / "explore.html").as_uri(), folder / "profile") as opened:
        opened.until("document.body.dataset.shown")
        yield opened


def drawn(page, index=0):
    """The mask of a class as it is on the screen, (H, W)."""
    return np.array(page.value(f"Array.from(opened.drawn[{index}].mask)"), np.uint8).reshape(H, W)


def dices(page, index=0):
    """What the table states of a class: Dice as predicted, Dice as drawn."""
    return page.value(
        f"[2, 3].map(cell => document.querySelectorAll('#classes tbody tr')[{index}].cells[cell].textContent)"
    )


def slide(page, value, index=0):
    """Move a class's slider."""
    page.value(
        f"(slider => {{ slider.value = {value}; slider.dispatchEvent(new Event('input')) }})"
        f"(document.querySelectorAll('input[type=range]')[{index}])"
    )


def pick(page, element, choice):
    """Choose in a list; the names of the strips that are then there."""
    page.value(f"element('{element}').value = {json.dumps(choice)}")
    page.value(f"element('{element}').dispatchEvent(new Event('change'))")
    return page.value("[...document.querySelectorAll('#list .name')].map(one => one.textContent)")


def test_slider_redraws_masks_and_their_dice(page):
    page.press("r")
    assert np.array_equal(drawn(page), mask((1, 2, 3, 4))) and dices(page) == ["0.667", "0.667"]
    assert page.value("element('remark').textContent") == ""
    slide(page, 0.7)  # the right half falls away; the single pixel in the corner is a piece too small
    assert np.array_equal(drawn(page), mask((1, 2, 3, 2))) and dices(page) == ["0.667", "1.000"]
    assert "not cross-fitted" in page.value("element('remark').textContent")
    page.click("#rules")
    assert (
        np.array_equal(drawn(page), mask((1, 2, 3, 2), (5, 9, 1, 1))) and dices(page)[1] == "0.923"
    )  # 12 / 13
    slide(page, 0.6)
    assert drawn(page).sum() == 13 and dices(page)[1] == "0.632"  # 12 / 19
    slide(page, 0.92)
    assert np.array_equal(drawn(page), mask((5, 9, 1, 1))) and dices(page)[1] == "0.000"
    page.click("#reset")
    assert (
        np.array_equal(drawn(page), mask((1, 2, 3, 4))) and page.value("element('remark').textContent") == ""
    )
    assert "a filter dropped it" not in page.value(
        "document.querySelectorAll('#classes tbody tr')[0].textContent"
    )
    assert "never predicts" in page.value("document.querySelectorAll('#classes tbody tr')[1].textContent")


def test_layers_and_classes_are_drawn_by_buttons_and_keys(page):
    colour = "(x, y) => Array.from(overlay(1).getContext('2d').getImageData(x, y, 1, 1).data)"
    page.press("r")
    alpha = page.value(f"({colour})(5, 2)")[3]
    assert alpha == pytest.approx(0.45 * 255, abs=1)  # filled in part; outlines are whole:
    np.testing.assert_allclose(
        page.value(f"({colour})(1, 2)"), [0, 158, 115, 255], atol=1
    )  # class 2 lies on top
    page.press("2")
    np.testing.assert_allclose(page.value(f"({colour})(1, 2)"), [213, 94, 0, 255], atol=1)
    page.click("#truth")
    assert page.value(f"({colour})(1, 2)")[3] == 0
    page.press("p")
    assert page.value(f"({colour})(5, 2)")[3] == 0
    page.press("m")
    assert page.value(f"({colour})(5, 2)")[3] == pytest.approx(0.85 * 0.6 * 255, abs=1)
    assert page.value(f"({colour})(0, 0)")[3] == 0  # 0.04 is not stored
    assert page.value("['truth', 'prediction', 'probability'].map(id => element(id).getAttribute('aria-pressed'))") == [
        "false", "false", "true"]  # fmt: skip
    for key in "tpm2":
        page.press(key)


def test_filters_sort_and_arrows_choose_strips(page):
    assert pick(page, "kind", "missed defects") == [HOSTILE]
    assert pick(page, "kind", "false alarms") == ["alarm"]
    page.until("document.body.dataset.shown == 'alarm'")
    assert pick(page, "class", "0") == []
    assert page.value("element('name').textContent") == "No strip is of this kind"
    pick(page, "kind", "all strips")
    assert pick(page, "class", "1") == [HOSTILE, "alarm"]
    pick(page, "class", "")
    assert pick(page, "kind", "nothing there, nothing found") == ["clean"]
    pick(page, "kind", "all strips")
    assert pick(page, "order", "name") == [HOSTILE, "alarm", "clean"]
    page.click("#list li:nth-child(2) button")
    page.until("document.body.dataset.shown == 'alarm'")
    page.press("ArrowRight")
    page.until("document.body.dataset.shown == 'clean'")
    page.press("ArrowRight")  # there is no further one
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    page.until(f"document.body.dataset.shown == {json.dumps(HOSTILE)}")


def test_address_names_the_strip(page):
    page.value("location.hash = 'alarm'")
    page.until("document.body.dataset.shown == 'alarm'")
    slide(page, 0.9, 1)  # nothing is stored of which it could be drawn anew
    assert np.array_equal(drawn(page, 1), mask((1, 2, 3, 4))) and dices(page, 1) == ["0.000", "0.000"]
    assert "no probabilities stored" in page.value(
        "document.querySelectorAll('#classes tbody tr')[1].textContent"
    )
    page.press("r")
    for nothing in ("gone", "%"):
        page.value(f"location.hash = '{nothing}'")
    assert page.value("document.body.dataset.shown") == "alarm"
    address = page.value("location.href").partition("#")[0]
    page.call("Page.navigate", url="about:blank")
    page.open(f"{address}#{quote(HOSTILE)}")
    page.until(f"document.body.dataset.shown == {json.dumps(HOSTILE)}")
    assert page.value("decodeURIComponent(location.hash.slice(1))") == HOSTILE


def test_zoom_stays_at_the_pointer_and_help_opens(page):
    before = page.value("state.view.scale")
    middle = page.value("[state.view.left + view.clientWidth / 2 / state.view.scale, 0]")[0]
    page.press("+")
    assert page.value("state.view.scale") == pytest.approx(min(1.5 * before, 32))
    assert page.value("state.view.left + view.clientWidth / 2 / state.view.scale") == pytest.approx(middle)
    page.press("0")
    assert page.value("state.view.scale") == pytest.approx(before)
    page.press("?")
    assert page.value("element('keys').open")
    page.click("#close")
    assert not page.value("element('keys').open")


def test_small_maps_are_enlarged_as_the_cascade_does(page):
    levels = np.random.default_rng(0).integers(0, 256, (3, 4), np.uint8)
    map_of_page = json.dumps({"height": 3, "width": 4})
    for shape in ((7, 10), (6, 8), (3, 4)):
        result = page.value(
            f"Array.from(enlarged({levels.ravel().tolist()}, {map_of_page}, {shape[0]}, {shape[1]}))"
        )
        expected = postprocess.full_size(levels.astype(np.float32), shape)
        np.testing.assert_allclose(np.reshape(result, shape), expected, atol=1e-3)


def test_nothing_is_asked_for_and_names_do_nothing(page):
    """After all that was clicked above."""
    own = page.value("location.href").partition("#")[0]
    assert {address.partition("#")[0] for address in page.asked} <= {own, "about:blank"}
    assert page.complaints == []
    assert page.value("document.title") == f"Look at the strips of {HOSTILE}"
    assert page.value("document.querySelectorAll('script').length") == 2
    assert SCRIPT in page.value("[...element('class').options].map(one => one.textContent)")
    asked = page.asked
    # The policy holds for what might come in all the same: an image from elsewhere, a script of another text.
    page.value("document.body.append(Object.assign(new Image(), {src: 'http://elsewhere.invalid/x.png'}))")
    page.value(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))"
    )
    assert page.value("document.title") != "1"
    page.until(
        "new Promise(done => setTimeout(() => done(true), 100))"
    )  # what the browser notes of it comes by then
    assert page.asked == asked
    assert sum("Content Security Policy" in one for one in page.complaints) >= 2
