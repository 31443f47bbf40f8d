"""`python -m lib.predict` on networks whose answers are known: a strip's grey levels are its probabilities."""

import base64
import csv
import json
import os
import re
import signal
import struct
import subprocess
import sys
import warnings
import zlib

import cv2
import numpy as np
import pytest
import test_inspector
from PIL import Image
from pycocotools import mask as cocomask
from test_inspector import BLACK, H, W, strip

from lib import files, paths, predict
from lib.data import dataset, depth, listing, rle
from lib.data.labels import coco, labelme, reading
from lib.errors import UserError
from lib.evaluation import prediction_page, truth
from lib.inference import output_folder, results, sources
from lib.inference.results import ImageResult, Severity
from lib.report import overlay

run = test_inspector.run
SPOT = strip((2, 5, 4, 6))  # of 200: class 1 and, as 200 / 255 is above 0.75, class 2
FAINT = strip((4, 10, 5, 5), grey=150)  # class 1 alone


def rows(path):
    """A CSV file as a list of dictionaries."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """{path: bytes} of all files but the measured seconds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "seconds.csv"
    }


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def folder(tmp_path):
    """Four images in two folders, of which three have names that are alike."""
    save(tmp_path / "in" / "a.png", SPOT)
    save(tmp_path / "in" / "a.bmp", BLACK)
    save(tmp_path / "in" / "day 1" / "a.png", FAINT)
    save(tmp_path / "in" / "day 1" / "b.tif", strip((0, 0, 2, 2)))
    return tmp_path / "in"


def test_a_folder_gives_tables_masks_overlays_and_a_page(run, folder, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--run", str(run()), "--images", str(folder), "--out", str(out)]
    assert predict.main(words) == 0
    assert "4 images, 3 with defects, 1 clean, 0 not read, 4 defects" in capsys.readouterr().out
    assert [tuple(row.values())[:3] for row in rows(out / "images.csv")] == [
        ("a.bmp", "clean", "0"),
        ("a.png", "defect", "2"),
        ("day 1/a.png", "defect", "1"),
        ("day 1/b.tif", "defect", "1"),
    ]
    found = rows(out / "defects.csv")
    assert [(row["image"], row["class"], row["name"], row["area"]) for row in found] == [
        ("a.png", "1", "1 spots", "24"),
        ("a.png", "2", "2 cracks", "24"),
        ("day 1/a.png", "1", "1 spots", "25"),
        ("day 1/b.tif", "2", "2 cracks", "4"),  # of class 1 it would be smaller than its minimum area
    ]
    first = {name: found[0][name] for name in list(found[0])[3:]}
    assert first == {"left": "5", "top": "2", "width": "6", "height": "4", "area": "24", "length": "6.0", "breadth": "4.0",
                     "mean_probability": "0.7843", "max_probability": "0.7843", "defect_probability": "0.7843"}  # fmt: skip
    masks = {path.relative_to(out / "masks").as_posix() for path in out.glob("masks/**/*.png")}
    assert masks == {"a.png.png", "a.bmp.png", "day 1/a.png", "day 1/b.png"}
    overlays = {path.relative_to(out / "overlays").as_posix() for path in out.glob("overlays/**/*.jpg")}
    assert overlays == {"a.png.jpg", "day 1/a.jpg", "day 1/b.jpg"}
    mask = cv2.imread(str(out / "masks" / "day 1" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, (FAINT > 0).astype(np.uint8))
    assert cv2.imread(str(out / "overlays" / "a.png.jpg")).shape == (H, W, 3)
    assert rows(out / "seconds.csv")[0]["image"] == "a.bmp"
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "day 1/b.tif" in page and 'href="./overlays/day%201/b.jpg"' in page and "http:" not in page
    assert not list(tmp_path.glob(".*"))


def test_coco_is_as_pycocotools_reads_it(run, folder, tmp_path):
    out = tmp_path / "out"
    assert predict.main(["--run", str(run()), "--images", str(folder), "--out", str(out)]) == 0
    content = json.loads((out / "coco.json").read_text(encoding="utf-8"))
    assert [entry["file_name"] for entry in content["images"]] == [
        "a.bmp",
        "a.png",
        "day 1/a.png",
        "day 1/b.tif",
    ]
    assert [(one["id"], one["name"]) for one in content["categories"]] == [(1, "spots"), (2, "cracks")]
    spot = content["annotations"][0]
    assert np.array_equal(cocomask.decode(spot["segmentation"]), (SPOT > 0).astype(np.uint8))
    assert cocomask.toBbox(spot["segmentation"]).tolist() == spot["bbox"] == [5, 2, 6, 4]
    assert cocomask.area(spot["segmentation"]) == spot["area"] == 24
    assert (spot["image_id"], spot["category_id"], spot["iscrowd"]) == (2, 1, 0)


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (17, 31), (256, 1600)])
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 1])
def test_compressed_run_lengths_are_those_of_pycocotools(shape, share):
    mask = (np.random.default_rng(1).random(shape) < share).astype(np.uint8)
    expected = cocomask.encode(np.asfortranarray(mask))["counts"].decode()
    assert coco.segmentation(rle.encode(mask), shape) == {"size": list(shape), "counts": expected}


def test_where_classes_overlap_the_smaller_one_lies_on_top():
    large, small, third = (strip(box) > 0 for box in ((0, 0, 10, 10), (5, 5, 6, 10), (5, 5, 6, 10)))
    rles = [rle.encode(mask) for mask in (large, small, third)]
    expected = large.astype(np.uint8)
    expected[small] = 2  # as large as class 3, and of the lower number
    assert np.array_equal(results.index_mask(ImageResult("a", shape=(H, W), rles=rles)), expected)
    assert not results.index_mask(ImageResult("a", shape=(H, W), rles=["", "", ""])).any()


@pytest.mark.parametrize(
    "more, expected",
    [
        ([], ["24", "24", "25", "4"]),
        (["--min-area", "25"], ["25"]),
        (["--min-area", "25,4"], ["24", "25", "4"]),
        (["--min-length", "6"], ["24", "24"]),
        (["--min-area", "6.25", "--pixel-mm", "0.5"], ["25"]),  # of mm2
        (["--min-length", "3", "--pixel-mm", "0.5"], ["24", "24"]),  # of mm
    ],
)
def test_what_is_too_small_is_no_defect_anywhere(run, folder, tmp_path, more, expected):
    out = tmp_path / "out"
    assert predict.main(["--run", str(run()), "--images", str(folder), "--out", str(out), *more]) == 0
    found = rows(out / "defects.csv")
    assert [row["area"] for row in found] == expected
    drawn = sum(cv2.imread(str(path), 0).astype(bool).sum() for path in out.glob("masks/**/*.png"))
    images = {row["image"]: row for row in found}
    assert drawn == sum(int(row["area"]) for row in images.values())
    assert sum(row["verdict"] == "defect" for row in rows(out / "images.csv")) == len(images)
    if "--pixel-mm" in more:
        assert float(found[0]["area_mm2"]) == int(found[0]["area"]) / 4
        assert float(found[0]["length_mm"]) == float(found[0]["length"]) / 2


def dying(after):
    """A network's answer, and the end of the process in place of one of them, as by a kill."""
    counts = [after]

    def answer(folder, engine):
        predict, card = test_inspector.known_predictor(folder, engine)

        def predict_or_die(images):
            counts[0] -= 1
            if not counts[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return predict(images)

        return predict_or_die, card

    return answer


def in_a_process(words):
    """Run the command in a process of its own; (whether it was killed, its exit code)."""
    with warnings.catch_warnings(action="ignore"):
        process = os.fork()
    if process == 0:
        try:
            os._exit(predict.main(words))
        finally:
            os._exit(99)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status), os.waitstatus_to_exitcode(status)


@pytest.mark.slow
@pytest.mark.windows
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_killed_twice_and_gone_on_with_it_gives_the_same_bytes(run, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    for index in range(100):
        noise = cv2.GaussianBlur(rng.random((H, W)), (5, 5), 0)
        name = f"{index % 3}/{index}.png"
        save(tmp_path / "in" / name, np.clip((noise - 0.35) * 700, 0, 255).astype(np.uint8))
    (tmp_path / "in" / "1" / "broken.png").write_bytes(b"no image")
    words = ["--run", str(run()), "--images", str(tmp_path / "in"), "--out"]
    assert predict.main([*words, str(tmp_path / "whole")]) == 1
    monkeypatch.setattr(output_folder, "CHUNK", 8)
    assert predict.main([*words, str(tmp_path / "other")]) == 1
    assert contents(tmp_path / "other") == contents(tmp_path / "whole")
    monkeypatch.setattr(output_folder, "CHUNK", 32)
    part = tmp_path / ".out.unfinished"
    for after, finished in ((14, 1), (13, 2)):  # calls of networks, of which a chunk takes about ten
        monkeypatch.setattr(test_inspector.saving, "predictor", dying(after))
        assert in_a_process([*words, str(tmp_path / "out")]) == (True, -signal.SIGKILL)
        assert len(list((part / "parts").iterdir())) == finished and not (tmp_path / "out").exists()
    monkeypatch.setattr(test_inspector.saving, "predictor", test_inspector.known_predictor)
    (part / "out" / "masks" / "left.png").write_bytes(b"of an image that is gone")
    assert in_a_process([*words, str(tmp_path / "out")]) == (False, 1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole") and not part.exists()


def test_what_is_there_is_left_and_other_settings_are_refused(run, folder, tmp_path, capsys):
    words = ["--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out")]
    assert predict.main(words) == 0
    before = contents(tmp_path / "out")
    capsys.readouterr()
    assert predict.main(words) == 0
    assert "index.html is there already" in capsys.readouterr().out
    for more, what in ((["--min-area", "9"], "severity"), (["--white", "4095"], "white")):
        assert predict.main([*words, *more]) == 2
        assert f"is there already, with other {what}. Delete it" in capsys.readouterr().err
    save(folder / "new.png", BLACK)
    assert predict.main(words) == 2
    assert "is there already, with other images." in capsys.readouterr().err
    assert contents(tmp_path / "out") == before


def test_a_beginning_with_other_settings_is_not_gone_on_with(run, folder, tmp_path, capsys, monkeypatch):
    words = ["--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out")]

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(predict.prediction, "write_page", full)
        assert predict.main(words) == 2
    assert not (tmp_path / "out").exists()
    assert predict.main([*words, "--pixel-mm", "2"]) == 2
    assert "the beginning of a prediction with other severity" in capsys.readouterr().err
    assert predict.main(words) == 0 and len(rows(tmp_path / "out" / "images.csv")) == 4


def test_every_image_is_predicted_or_named(run, tmp_path, capsys):
    """Broken, empty, of 16 bits, CMYK, turned, large, tall, of another kind, with a hostile name."""
    source = tmp_path / "in"
    save(source / "deep.png", SPOT.astype(np.uint16) * 256 + 77)
    save(source / "large.png", np.zeros((800, 3000), np.uint8))
    save(source / "tall.png", np.zeros((100, 20), np.uint8))
    save(source / "<img src=x onerror=alert(1)>.png", SPOT)
    save(source / "colour.bmp", np.dstack([SPOT] * 3))
    cv2.imwrite(str(source / "alpha.png"), np.dstack([SPOT] * 3 + [np.full((H, W), 128, np.uint8)]))
    Image.fromarray(np.dstack([255 - SPOT] * 3 + [BLACK])).convert("RGB").save(source / "plain.jpg")
    Image.new("CMYK", (W, H), (0, 0, 0, 55)).save(source / "cmyk.jpg")
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(SPOT).save(source / "turned.jpg", exif=turned, quality=100)
    (source / "broken.jpg").write_bytes((source / "turned.jpg").read_bytes()[:300])
    (source / "empty.png").write_bytes(b"")
    (source / "other.webp").write_bytes(b"RIFF")
    (source / "notes.txt").write_text("no image")
    if os.name == "posix":
        save(source / "two\nlines.png", BLACK)
    out = tmp_path / "out"
    assert predict.main(["--run", str(run()), "--images", str(source), "--out", str(out)]) == 1
    assert "Traceback" not in capsys.readouterr().err
    table = {row["image"]: row for row in rows(out / "images.csv")}
    unread = {name: row["remark"] for name, row in table.items() if row["verdict"] == "unread"}
    assert set(unread) >= {"broken.jpg", "empty.png", "other.webp", "tall.png"} and len(unread) <= 5
    assert "is empty" in unread["empty.png"] and "cut off" in unread["broken.jpg"]
    assert "a kind that is not read" in unread["other.webp"] and "taller than wide" in unread["tall.png"]
    if os.name == "posix":
        assert "cannot be printed" in unread["two\nlines.png"]
    assert table["turned.jpg"]["remark"] == depth.TURNED
    assert (table["turned.jpg"]["height"], table["turned.jpg"]["width"]) == (str(H), str(W))
    assert {table[name]["verdict"] for name in ("deep.png", "colour.bmp", "alpha.png", "cmyk.jpg")} == {
        "defect"
    }
    assert table["large.png"]["verdict"] == "clean" and table["large.png"]["height"] == "800"
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;.png" in page


def test_an_image_longer_than_a_jpeg_can_be_has_an_overlay_and_a_part_of_it_stands_on_the_page(run, tmp_path):
    strips = [BLACK] * (70_000 // W)
    strips[3000 // W] = SPOT
    long = save(tmp_path / "in" / "long.png", np.hstack(strips))
    out = tmp_path / "out"
    assert predict.main(["--run", str(run()), "--images", str(long.parent), "--out", str(out)]) == 0
    written = Image.open(out / "overlays" / "long.jpg")
    assert written.width == 65_500 and written.height == H * 65_500 // (W * len(strips))
    assert {row["class"]: int(row["left"]) for row in rows(out / "defects.csv")} == dict.fromkeys(
        "12", 3000 // W * W + 5
    )
    page = (out / "index.html").read_text(encoding="utf-8")
    first = 3000 // W * W + 5 - prediction_page.LONGEST * H // 2
    assert f"columns {first:,} to {first + prediction_page.LONGEST * H:,} are shown" in page


def test_a_long_overlay_is_drawn_in_parts_as_in_one(monkeypatch):
    """But for the numbers, which a part that a piece reaches into has, too."""
    monkeypatch.setattr(overlay, "_label", lambda *_: None)
    monkeypatch.setattr(results, "PART", 37)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (32, 700)).astype(np.uint8)
    masks = [cv2.GaussianBlur(rng.random((32, 700)).astype(np.float32), (0, 0), 4) > 0.52 for _ in range(2)]
    rles = [rle.encode(mask) for mask in masks]
    expected = overlay.overlay(image, rles)
    monkeypatch.setattr(overlay, "PART", 128)
    assert np.array_equal(overlay.whole(image, rles), expected)
    assert np.array_equal(overlay.of_columns(image, rles, 100, 300), expected[:, 100:300])
    by_size = sorted((0, 1), key=lambda index: (masks[index].sum(), index))
    index = np.zeros(image.shape, int)
    for class_index in by_size[::-1]:
        index[masks[class_index]] = class_index + 1
    assert np.array_equal(results.index_mask(ImageResult("a", shape=image.shape, rles=rles)), index)
    monkeypatch.setattr(overlay, "MOST_SIDE", 350)
    assert overlay.whole(image, rles).shape == (16, 350, 3)
    monkeypatch.setattr(overlay, "MOST_SIDE", 199)
    assert overlay.whole(image[:, :385], ["", ""]).shape == (16, 198, 3)  # the last part is less than a pixel


def test_of_a_long_image_the_page_shows_where_most_is_in_masks():
    shape = (2, 100)
    mask = np.zeros(shape, np.uint8)
    mask[:, 80], mask[0, 10:13] = 1, 1
    found = ImageResult("a", shape=shape, rles=["", rle.encode(mask)])
    assert prediction_page.part_shown(found)[0] == (68, 92)
    missed = ImageResult("a", shape=shape, rles=["", ""])
    assert prediction_page.part_shown(missed, ["", rle.encode(mask)])[0] == (68, 92)
    assert prediction_page.part_shown(missed)[0] == (0, 24)
    assert prediction_page.part_shown(ImageResult("a", shape=(2, 24), rles=["", ""])) == ((0, 24), "")


def png_of_floats(path):
    """A file that says it is a PNG and holds one that no decoder takes."""
    chunk = struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", W, H, 32, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", zlib.crc32(chunk[4:])))


@pytest.mark.parametrize(
    "values, white, expected",
    [
        ([0, 256, 65535], 0, [0, 1, 255]),
        ([0, 2048, 4095], 4095, [0, 128, 255]),
        ([0, 4095, 8190], 4095, [0, 255, 255]),
    ],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_become_8_on_one_scale(tmp_path, values, white, expected, ending):
    path = save(tmp_path / f"deep.{ending}", np.array([values] * 4, np.uint16))
    reading = depth.read(path, white)
    assert reading.image.tolist() == [expected] * 4 and reading.image.dtype == np.uint8
    assert reading.rescaled == (white > 0) and reading.highest == (0 if white else max(values))


def test_white_leaves_8_bits_as_they_are_and_floats_need_it(tmp_path):
    for name in ("a.png", "a.bmp", "a.tif"):
        reading = depth.read(save(tmp_path / name, SPOT), 4095)
        assert np.array_equal(reading.image, SPOT) and not reading.rescaled
    path = save(tmp_path / "f.tif", np.array([[0, 0.5, 1.0]] * 4, np.float32))
    assert depth.read(path, 1).image.tolist() == [[0, 128, 255]] * 4
    with pytest.raises(UserError, match="holds float32"):
        depth.read(path)
    png_of_floats(tmp_path / "f.png")
    with pytest.raises(UserError, match=r"f\.png is cut off"):
        depth.read(tmp_path / "f.png", 4095)


def test_images_that_white_makes_readable_are_scored(run, tmp_path):
    """Three images of floats, of which two are alike."""
    for name, image in (("a", SPOT), ("b", SPOT), ("c", FAINT)):
        save(tmp_path / "in" / f"{name}.tif", np.float32(image / 255))
    (tmp_path / "train.csv").write_text(f"ImageId,ClassId,EncodedPixels\na.tif,1,{rle.encode(SPOT > 0)}\n")
    out, truth = tmp_path / "out", tmp_path / "train.csv"
    words = ["--run", str(run()), "--images", str(tmp_path / "in"), "--out", str(out), "--white", "1"]
    assert predict.main([*words, "--truth", str(truth)]) == 0
    score = json.loads((out / "score.json").read_text())
    assert score["classes"][0]["dice_positives"] == 1


def test_images_of_12_bits_without_white_are_told(run, tmp_path, capsys):
    save(tmp_path / "in" / "a.png", SPOT.astype(np.uint16) * 20)
    words = ["--run", str(run()), "--images", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert predict.main(words) == 0
    assert "such as --white 4095" in capsys.readouterr().out
    words[-1] = str(tmp_path / "white")
    assert predict.main([*words, "--white", "4095"]) == 0
    assert "such as --white" not in capsys.readouterr().out
    assert rows(tmp_path / "out" / "images.csv")[0]["verdict"] == "clean"
    assert rows(tmp_path / "white" / "images.csv")[0]["verdict"] == "defect"


def test_folders_patterns_and_lists_name_the_same_images(folder, tmp_path):
    expected = ["a.bmp", "a.png", "day 1/a.png", "day 1/b.tif"]
    (folder / ".hidden").mkdir()
    save(folder / ".hidden" / "c.png", BLACK)
    assert [one.name for one in listing.find_images([str(folder)])[0]] == expected
    by_pattern = listing.find_images([str(folder / "**" / "*")])[0]
    assert [one.name for one in by_pattern] == expected
    text = folder / "list.txt"
    text.write_text("a.png\n\nday 1/b.tif\n./a.bmp\nday 1/a.png\na.png\n", encoding="utf-8-sig")
    assert [one.name for one in listing.find_images([str(text)])[0]] == expected
    twice = listing.find_images([str(folder / "day 1"), str(folder / "a.png"), str(folder / "day 1" / "b*")])[
        0
    ]
    assert [one.name for one in twice] == ["a.png", "day 1/a.png", "day 1/b.tif"]
    lost = tmp_path / "lost.txt"
    lost.write_text("in/gone.png\nin/day 1\n")
    problems = {one.name: one.problem for one in listing.find_images([str(lost)])[0]}
    assert problems["gone.png"] == "" and "is no image by its name" in problems["day 1"]
    os.symlink(folder, folder / "day 1" / "again")
    images, remarks = listing.find_images([str(folder)])
    assert len(images) == 4 and len(remarks) == 1 and "again is a link to a folder" in remarks[0]


def test_names_of_outputs_never_meet():
    names = ["a.jpg", "a.png", "a.jpg.png", "A.bmp", "b/a.jpg", "c.jpg"]
    chosen = listing.output_names(names)
    assert chosen["b/a.jpg"] == "b/a" and chosen["c.jpg"] == "c"
    assert len({name.casefold() for name in chosen.values()}) == len(names)
    assert listing.output_names(reversed(names)) == chosen


def test_areas_are_in_square_millimetres_where_a_pixel_has_a_size():
    assert prediction_page.area_text(1000, 0) == "1,000 pixels"
    assert prediction_page.area_text(1000, 0.5) == "250.0 mm²"


def test_no_output_is_called_as_a_folder_or_too_long(run, tmp_path):
    source, long = tmp_path / "in", "x" * 251
    for name in ("scan.jpg", "scan.png/x.png", "tile.png", "tile.jpg/x.png", f"{long}.png", f"{long}.bmp"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(cv2.imencode(os.path.splitext(name)[1], SPOT)[1].tobytes())
    out = tmp_path / "out"
    assert predict.main(["--run", str(run()), "--images", str(source), "--out", str(out)]) == 0
    for part, end in (("masks", "png"), ("overlays", "jpg")):
        written = {
            path.relative_to(out / part).as_posix()
            for path in (out / part).rglob(f"*.{end}")
            if path.is_file()
        }
        assert len(written) == 6 and {f"scan_.{end}", f"tile_.{end}", f"scan.png/x.{end}"} <= written


def test_an_earlier_prediction_holds_no_images(run, folder, tmp_path):
    words = ["--run", str(run()), "--images", str(folder)]
    assert predict.main([*words, "--out", str(tmp_path / "out")]) == 0
    (tmp_path / "out").rename(folder / "monday")
    for source in (folder, folder / "**" / "*"):
        listed, remarks = listing.find_images([str(source)])
        assert len(listed) == 4 and remarks == [
            f"{folder / 'monday'} holds an earlier prediction and is left out."
        ]


def refused(capsys, *words):
    """The sentence with which the command ends."""
    assert predict.main(list(words)) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


def test_what_cannot_work_is_refused_with_a_sentence(run, folder, tmp_path, capsys):
    its_run, out = str(run()), str(tmp_path / "out")
    (tmp_path / "none").mkdir()
    words = ("--run", its_run, "--images", str(folder))
    assert "there are no images" in refused(capsys, *words[:3], str(tmp_path / "none"), "--out", out)
    assert "does not exist" in refused(capsys, *words[:3], str(tmp_path / "gone"), "--out", out)
    assert "of the run, which stays as it is" in refused(capsys, *words, "--out", f"{its_run}/deep/out")
    assert "of the images" in refused(capsys, *words, "--out", str(folder / "out"))
    assert "with other things in it" in refused(capsys, *words, "--out", str(folder.parent))
    assert "is no folder that can be made" in refused(capsys, *words, "--out", os.path.abspath(os.sep))
    assert "one number from 0 up" in refused(capsys, *words, "--out", out, "--min-area", "1,2,3")
    assert "one number from 0 up" in refused(capsys, *words, "--out", out, "--min-length", "-1")
    assert "--pixel-mm" in refused(capsys, *words, "--out", out, "--pixel-mm", "-1")
    assert "--white" in refused(capsys, *words, "--out", out, "--white", "-1")
    assert "--truth" in refused(capsys, *words, "--out", out, "--truth", str(tmp_path / "gone.csv"))
    assert not list(tmp_path.glob(".*")) and not os.path.exists(out)
    (tmp_path / "run" / sources.THRESHOLDS).unlink()
    assert "has no thresholds.json" in refused(capsys, *words, "--out", out)


def test_an_operating_point_is_asked_for_by_name(run, folder, tmp_path, capsys):
    point = {"pixel_thresholds": [0.5, 0.9], "asked_for": 0.1, "achieved": 0.2, "remarks": ["No promise.", 3]}
    words = ["--run", str(run(operating_points={"few_alarms": point})), "--images", str(folder)]
    assert predict.main([*words, "--out", str(tmp_path / "out"), "--operating-point", "few_alarms"]) == 0
    assert {row["class"] for row in rows(tmp_path / "out" / "defects.csv")} == {"1"}
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "When few_alarms was chosen: No promise." in page
    assert "When few_alarms was chosen: No promise." in capsys.readouterr().out
    assert "It has few_alarms" in refused(
        capsys, *words, "--out", str(tmp_path / "x"), "--operating-point", "none"
    )


def test_where_nothing_was_finished_nothing_is_left(run, folder, tmp_path, capsys):
    words = ["--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out")]
    (tmp_path / "run" / "models" / "binary" / "model.json").unlink()
    assert "another network binary" in refused(capsys, *words)
    assert not list(tmp_path.glob(".*"))


def test_two_at_once_do_not_write_into_one_folder(run, folder, tmp_path, capsys):
    hidden = tmp_path / ".out.unfinished"
    with output_folder.OutputFolder(tmp_path / "out", {}, []).alone():
        sentence = refused(
            capsys, "--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out")
        )
        assert hidden.is_dir()
    assert "Another process is writing" in sentence


def test_nothing_of_the_run_changes(run, folder, tmp_path):
    before = contents(run())
    assert predict.main(["--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert contents(tmp_path / "run") == before


def explored(out):
    """The strips that explore.html has."""
    text = (out / "explore.html").read_text(encoding="utf-8")
    content = re.search('(?s)<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(content[1])["strips"]


def levels(map_of_page):
    """A map of explore.html, (h, w) uint8."""
    rows = zlib.decompress(base64.b64decode(map_of_page["data"]))
    differences = np.frombuffer(rows, np.uint8).reshape(map_of_page["height"], map_of_page["width"])
    return np.cumsum(differences, axis=1, dtype=np.uint8)


def test_a_page_to_look_around_in(run, folder, tmp_path):
    """A long strip and a strip that is scaled beside those of the training's size; grey levels are the
    probabilities, and below 0.05 x 255 = 12.75 there are none."""
    long = strip((2, 30, 4, 30), width=3 * W, grey=180)
    long[12, 50:55] = [11, 12, 13, 14, 50]
    save(folder / "long.png", long)
    save(folder / "twice.png", strip((4, 10, 8, 12), width=2 * W, height=2 * H))
    out = tmp_path / "out"
    words = ["--run", str(run()), "--images", str(folder), "--out", str(out)]
    assert predict.main(words) == 0
    strips = {one["name"]: one for one in explored(out)}
    assert set(strips) == {"a.bmp", "a.png", "day 1/a.png", "day 1/b.tif", "long.png", "twice.png"}
    long[long < 13] = 0
    assert np.array_equal(levels(strips["long.png"]["maps"][0]), long)
    assert np.array_equal(levels(strips["a.png"]["maps"][1]), SPOT)
    assert levels(strips["twice.png"]["maps"][0]).shape == (H, W)  # as the networks saw it
    assert strips["twice.png"]["shape"] == [2 * H, 2 * W]
    assert strips["a.bmp"]["maps"] == [None, None] and strips["a.bmp"]["passed"] == [False, False]
    masks = cv2.imread(str(out / "masks" / "day 1" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert strips["day 1/a.png"]["predicted"] == [rle.encode((masks == 1).astype(np.uint8)), ""]
    index = (out / "index.html").read_text(encoding="utf-8")
    assert 'href="explore.html"' in index and 'href="explore.html#day%201/a.png"' in index
    few = tmp_path / "few"
    assert predict.main([*words[:-1], str(few), "--explore", "2"]) == 0
    # nearest to the binary threshold of 0.5 is 150 / 255; two have most of their area in masks, a.png is the first
    assert [one["name"] for one in explored(few)] == ["day 1/a.png", "a.png"]
    none = tmp_path / "none"
    assert predict.main([*words[:-1], str(none), "--explore", "0"]) == 0
    assert not (none / "explore.html").exists()
    assert "explore.html" not in (none / "index.html").read_text(encoding="utf-8")


TRUTH = {  # image: class: mask; the classes of a.png are found, FAINT's is half found, b.tif's is a false alarm
    "a.png": {1: SPOT > 0, 2: SPOT > 0},
    "day 1/a.png": {1: strip((4, 10, 5, 10)) > 0},
}


def test_truth_gives_the_score_page(run, folder, tmp_path):
    """Pairs with a defect have Dice 1, 1 and 2 x 25 / (25 + 50) = 2 / 3; of the 5 empty ones 1 got a mask."""
    (folder / "a.bmp").unlink()
    lines = [
        f"{name},{number},{rle.encode(mask)}"
        for name, masks in TRUTH.items()
        for number, mask in masks.items()
    ]
    table = tmp_path / "train.csv"
    table.write_text("\n".join(["ImageId,ClassId,EncodedPixels", *lines, "gone.png,1,1 1"]))
    out = tmp_path / "out"
    words = ["--run", str(run()), "--images", str(folder), "--out", str(out), "--truth", str(table)]
    assert predict.main(words) == 0
    first = explored(out)[
        0
    ]  # the image whose defect got half a mask; of the two with a mistake, the false alarm
    assert (first["name"], first["dice"]) == ("day 1/b.tif", [1, 0]) and first["truth"] == ["", ""]
    score = json.loads((out / "score.json").read_text())
    assert score["value"] == pytest.approx((1 + 1 + 2 / 3 + 1 + 1 + 0) / 6)
    assert score["all_empty_score"] == 0.5 and score["images_with_defects"] == 2
    low, high = score["interval"]
    assert low <= score["value"] <= high
    assert [one["dice_positives"] for one in score["classes"]] == pytest.approx([5 / 6, 1])
    lost = {name: sum(values) for name, values in score["lost_points"].items()}
    assert lost == pytest.approx({"filtered out": 0, "class missed": 0, "no mask": 0, "imperfect mask": 1 / 18,
                                  "false alarm": 1 / 6})  # fmt: skip
    assert (score["defective_images_with_mask"], score["clean_images_with_mask"]) == (2, 1)
    assert score["remarks"] == [
        "train.csv names 1 images that are not among those predicted.",
        "1 of 3 images are not in train.csv and count as free of defects.",
    ]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "1 spots: defect" in page  # of which class a mistake is
    assert "Against the truth" in page and f"{score['value']:.4f}" in page and "Outlined worst" in page


def test_masks_as_truth_score_as_the_table_does(run, folder, tmp_path):
    (folder / "a.bmp").unlink()
    save(tmp_path / "truth" / "day 1" / "a.png", TRUTH["day 1/a.png"][1].astype(np.uint8))
    expected = {"day 1": (2 / 3 + 1 + 1 + 0) / 4, "in": (2 / 3 + 1 + 1 + 0 + 0 + 0) / 6}
    for source in (folder / "day 1", folder):
        out = tmp_path / f"out {source.name}"
        truth = tmp_path / "truth" / ("day 1" if source != folder else "")
        words = ["--run", str(run()), "--images", str(source), "--out", str(out), "--truth", str(truth)]
        assert predict.main(words) == 0
        assert json.loads((out / "score.json").read_text())["value"] == pytest.approx(expected[source.name])


def test_masks_lie_in_folders_as_the_images_also_beside_some(run, folder, tmp_path):
    """A folder that holds images is no class's."""
    (folder / "a.bmp").unlink()
    save(tmp_path / "truth" / "a.png", TRUTH["a.png"][1].astype(np.uint8))
    save(tmp_path / "truth" / "day 1" / "a.png", TRUTH["day 1/a.png"][1].astype(np.uint8))
    words = ["--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out")]
    assert predict.main([*words, "--truth", str(tmp_path / "truth")]) == 0
    score = json.loads((tmp_path / "out" / "score.json").read_text())
    assert score["classes"][0]["images_with_it"] == 2


def test_a_lone_folder_of_masks_is_the_class_of_its_name(run, folder, tmp_path):
    """Neither the first class, nor that of the folder's place."""
    (folder / "a.bmp").unlink()
    save(tmp_path / "truth" / "2 cracks" / "a.png", TRUTH["a.png"][2].astype(np.uint8))
    words = ["--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out")]
    assert predict.main([*words, "--truth", str(tmp_path / "truth")]) == 0
    score = json.loads((tmp_path / "out" / "score.json").read_text())
    assert [one["images_with_it"] for one in score["classes"]] == [0, 1]


@pytest.mark.parametrize("folder", ["Archive", "old"])  # listed before the image itself, and after it
def test_a_name_without_folders_is_that_of_the_image_that_lies_in_none(tmp_path, folder):
    (tmp_path / "train.csv").write_text("ImageId,ClassId,EncodedPixels\na.png,1,1 5\n")
    image_results = [ImageResult(name, "", (H, W)) for name in sorted(["a.png", f"{folder}/a.png"])]
    masks, _ = truth.read_truth(tmp_path / "train.csv", image_results, ["class 1"])
    assert dict(zip([one.name for one in image_results], masks, strict=True)) == {
        "a.png": ["1 5"],
        f"{folder}/a.png": [""],
    }


@pytest.mark.parametrize("name", ["Blech_a\u0308.png", "day 1/Blech_a\u0308.png"])
def test_a_table_with_composed_letters_names_a_file_with_decomposed_ones(tmp_path, name):
    """As macOS stores names, and a spreadsheet writes them."""
    table = tmp_path / "train.csv"
    table.write_text("ImageId,ClassId,EncodedPixels\nBlech_\u00e4.png,1,1 5\n", encoding="utf-8")
    truth.insist_on_fit(table, {name: tmp_path / name}, ["class 1"])
    masks, _ = truth.read_truth(table, [ImageResult(name, "", (H, W))], ["class 1"])
    assert masks == [["1 5"]]


@pytest.mark.parametrize("names", [("1", "10", "2"), ("0", "1", "2")])
def test_a_class_called_2_is_not_the_class_of_number_2(tmp_path, names):
    """As folders of masks are imported, in the order of their names; a mask without a folder has numbers."""
    titles = dataset.titles({"class_names": list(names)})
    for index, name in enumerate(names, 1):
        save(tmp_path / "folders" / name / f"{name}.png", SPOT)
        save(tmp_path / "numbers" / f"{name}.png", np.where(SPOT, index, 0).astype(np.uint8))
    image_results = [ImageResult(f"{name}.png", "", (H, W)) for name in names]
    text = rle.encode(SPOT > 0)
    for source in ("folders", "numbers"):
        masks, _ = truth.read_truth(tmp_path / source, image_results, titles)
        assert masks == [[text, "", ""], ["", text, ""], ["", "", text]]
    with pytest.raises(UserError, match="has masks of a class '3', and the run"):
        truth.read_truth(tmp_path / "numbers", image_results, ["1 a", "2 b"])


LONG = "secondary scale rolled in after the descaler of stand 2"


def test_names_that_titles_shorten_are_known_in_a_truth(tmp_path):
    titles = dataset.titles({"class_names": [LONG, "$A$1"]})
    assert titles == [f"1 {LONG[:40]}", "2 A1"]
    files_by_name = {"a.png": tmp_path / "in" / "a.png"}
    save(files_by_name["a.png"], BLACK)
    for name in (LONG, "$A$1"):
        save(tmp_path / "masks" / name / "a.png", SPOT)
    shapes = [(LONG, rle.encode(SPOT)), ("$A$1", rle.encode(SPOT))]
    files.write_json(tmp_path / "labels" / "a.json", labelme.document("a.png", (H, W), shapes))
    for source in ("masks", "labels"):
        truth.insist_on_fit(tmp_path / source, files_by_name, titles)
        masks, _ = truth.read_truth(tmp_path / source, [ImageResult("a.png", "", (H, W))], titles)
        assert masks == [[rle.encode(SPOT), rle.encode(SPOT)]]


def test_a_class_that_the_run_has_not_is_told_before_anything_is_predicted(run, folder, tmp_path, capsys):
    words = ["--run", str(run(class_names=["1 spots", "2 cracks"])), "--images", str(folder), "--truth"]
    out = ["--out", str(tmp_path / "out")]
    files.write_json(
        tmp_path / "labels" / "b.json", labelme.document("b.tif", (H, W), [("rust", rle.encode(SPOT))])
    )
    said = refused(capsys, *words, str(tmp_path / "labels"), *out)
    assert "labels of a class 'rust', and the run's are 1 spots, 2 cracks. Call it as the run does." in said
    save(tmp_path / "masks" / "rust" / "a.png", SPOT)
    save(tmp_path / "masks" / "sound" / "a.png", BLACK)  # without a defect, of no class
    assert "has masks of a class 'rust'" in refused(capsys, *words, str(tmp_path / "masks"), *out)
    assert not (tmp_path / ".out.unfinished").exists()
    (tmp_path / "masks" / "rust").rename(tmp_path / "masks" / "spots")
    assert predict.main([*words, str(tmp_path / "masks"), *out]) == 0


def test_what_could_not_be_read_is_in_no_score_and_the_exit_code_stays(run, folder, tmp_path, capsys):
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "train.csv").write_text(
        f"ImageId,ClassId,EncodedPixels\na.png,1,{rle.encode(SPOT > 0)}\nbroken.png,1,1 5\n"
    )
    words = [
        "--run",
        str(run()),
        "--images",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--truth",
        str(folder),
    ]
    assert predict.main(words) == 1
    assert "Note: 1 images could not be read, so that they are in no score." in capsys.readouterr().out
    assert predict.main(words) == 1 and "there already" in capsys.readouterr().out


def test_the_truth_among_the_images_is_not_predicted(run, folder, tmp_path, capsys):
    save(folder / "masks" / "a.png", TRUTH["a.png"][1].astype(np.uint8))
    words = ["--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out")]
    assert predict.main([*words, "--truth", str(folder / "masks")]) == 0
    assert len(rows(tmp_path / "out" / "images.csv")) == 4
    assert "1 images in" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["nowhere.png,1,1 1", "a.png,1,one two", "a.png,9,1 1", "a.png,1,640 2"])
def test_a_wrong_truth_costs_no_prediction(run, folder, tmp_path, capsys, monkeypatch, line):
    """What can be seen beforehand is said beforehand; where only the truth was mended, what was predicted stays."""
    table = tmp_path / "train.csv"
    words = [
        "--run",
        str(run()),
        "--images",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--truth",
        str(table),
    ]
    table.write_text(f"ImageId,ClassId,EncodedPixels\n{line}\n")
    said = refused(capsys, *words)
    assert "train.csv" in said
    begun = (tmp_path / ".out.unfinished" / "parts").is_dir()
    assert begun == line.endswith("640 2")  # outside of this image, not of any

    def asked_again(*_):
        raise AssertionError("predicted again")

    table.write_text("ImageId,ClassId,EncodedPixels\na.png,1,1 1\n")
    if begun:
        monkeypatch.setattr(predict.chunks, "predict_chunk", asked_again)
    assert predict.main(words) == 0 and (tmp_path / "out" / "score.json").is_file()


def test_white_masks_are_no_truth_of_several_classes(run, folder, tmp_path, capsys):
    save(tmp_path / "truth" / "a.png", np.where(SPOT, 255, 0).astype(np.uint8))
    words = ("--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out"))
    sentence = refused(capsys, *words, "--truth", str(tmp_path / "truth"))
    assert "a.png" in sentence and "has the value 255, and the run has 2 classes" in sentence


def coco_truth(path, **changes):
    """TRUTH as a COCO file, a mask of each kind; `changes` in its last annotation."""
    image_entries = [
        {"id": 7, "file_name": "day 1/a.png", "height": H, "width": W},
        {"id": 3, "file_name": "a.png", "height": None, "width": None},  # as of Label Studio
        {"id": 4, "file_name": "gone.png", "height": H, "width": W},
    ]
    plain = [int(length) for length in coco.counts(rle.encode(SPOT), (H, W))]
    compressed = coco.segmentation(rle.encode(SPOT), (H, W))
    content = coco.document(
        image_entries,
        [
            {"image_id": 3, "category_id": 2, "segmentation": {"size": [H, W], "counts": plain}},
            {"image_id": 3, "category_id": 1, "segmentation": compressed},
            {"image_id": 7, "category_id": 1, "segmentation": [[10, 4, 20, 4, 20, 9, 10, 9]], **changes},
        ],
        ["spots", "2"],
    )
    path.write_text(json.dumps(content))
    return path


def test_a_coco_file_as_truth_scores_as_the_table_does(run, folder, tmp_path):
    (folder / "a.bmp").unlink()
    out = tmp_path / "out"
    words = ["--run", str(run()), "--images", str(folder), "--out", str(out)]
    assert predict.main([*words, "--truth", str(coco_truth(tmp_path / "labels.json"))]) == 0
    score = json.loads((out / "score.json").read_text())
    assert score["value"] == pytest.approx((1 + 1 + 2 / 3 + 1 + 1 + 0) / 6)
    assert [one["images_with_it"] for one in score["classes"]] == [2, 1]
    assert score["remarks"] == [
        "labels.json names 1 images that are not among those predicted.",
        "1 of 3 images are not in labels.json and count as free of defects.",
    ]


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"image_id": 9}, "annotation 3: there is no image with the id 9"),
        ({"segmentation": [[1, 2, 3]]}, "annotation 3: a list of points is"),
        ({"segmentation": {"size": [H, W], "counts": [1, 2]}}, "add up to 3 pixels, and 16 x 40 are 640"),
    ],
)
def test_a_coco_file_that_is_wrong_is_refused(run, folder, tmp_path, capsys, changes, says):
    path = coco_truth(tmp_path / "labels.json", **changes)
    words = ("--run", str(run()), "--images", str(folder), "--out", str(tmp_path / "out"))
    assert says in refused(capsys, *words, "--truth", str(path))


def test_a_prediction_is_its_own_truth(run, folder, tmp_path):
    words = ["--run", str(run()), "--images", str(folder), "--out"]
    assert predict.main([*words, str(tmp_path / "one")]) == 0
    assert predict.main([*words, str(tmp_path / "two"), "--truth", str(tmp_path / "one" / "coco.json")]) == 0
    assert json.loads((tmp_path / "two" / "score.json").read_text())["value"] == 1


def test_a_folder_of_labels_is_a_truth(run, folder, tmp_path):
    """Predictions that were corrected in LabelMe, a file an image."""
    words = ["--run", str(run()), "--images", str(folder), "--explore", "0", "--out"]
    assert predict.main([*words, str(tmp_path / "one"), "--format", "labelme"]) == 0
    assert predict.main([*words, str(tmp_path / "two"), "--truth", str(tmp_path / "one" / "labelme")]) == 0
    score = json.loads((tmp_path / "two" / "score.json").read_text())
    assert score["value"] > 0.95 and not score["remarks"]


def test_labelme_files_beside_their_images_are_a_truth_and_the_images_themselves_are_none(
    run, tmp_path, capsys
):
    """As LabelMe leaves a folder. Images that have a mask's values would pass for masks."""
    folder = tmp_path / "in"
    for name, image in (("a", SPOT), ("b", BLACK)):
        save(folder / "day 1" / f"{name}.png", image // 200)
    words = ["--run", str(run()), "--images", str(folder), "--truth", str(folder), "--explore", "0", "--out"]
    assert predict.main([*words, str(tmp_path / "out")]) == 2
    assert f"{folder} holds the images that are predicted. Name the" in capsys.readouterr().err
    for name, shapes in (("a", [("1", rle.encode(SPOT))]), ("b", [])):
        content = labelme.document(f"{name}.png", (H, W), shapes)
        (folder / "day 1" / f"{name}.json").write_text(json.dumps(content))
    assert predict.main([*words, str(tmp_path / "out")]) == 0
    score = json.loads((tmp_path / "out" / "score.json").read_text())
    assert (score["images"], score["images_with_defects"], score["remarks"]) == (2, 1, [])
    (folder / "day 1" / "a.json").write_text('{"camera": 3}')  # which belongs to masks
    assert not reading.is_of_tool(folder)
    (folder / "day 1" / "a.json").write_text(json.dumps(labelme.document("a.png", (H, W), [])))
    save(tmp_path / "more" / "c.png", BLACK)  # of which the truth knows nothing
    both = ["--run", str(run()), "--images", str(folder), str(tmp_path / "more"), "--truth", str(folder)]
    assert predict.main([*both, "--explore", "0", "--out", str(tmp_path / "both")]) == 0
    assert json.loads((tmp_path / "both" / "score.json").read_text())["images"] == 3


def test_masks_may_lie_above_the_folders_of_their_images(run, tmp_path):
    for day in ("1", "2"):
        save(tmp_path / "x" / "images" / day / "a.png", SPOT)
        save(tmp_path / "x" / day / "a.png", SPOT // 200)
    words = ["--run", str(run()), "--images", str(tmp_path / "x" / "images"), "--truth", str(tmp_path / "x")]
    assert predict.main([*words, "--explore", "0", "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "score.json").read_text())["images_with_defects"] == 2


def test_filters_that_dropped_a_defect_are_named(run, tmp_path):
    save(tmp_path / "in" / "dark.png", strip((2, 5, 4, 6), grey=100))  # below the binary threshold
    masked = strip((2, 5, 4, 6))
    masked[0, 0] = 1  # of which the multilabel filter keeps class 2 out
    save(tmp_path / "in" / "masked.png", masked)
    text = rle.encode(SPOT)
    table = tmp_path / "train.csv"
    table.write_text(
        f"ImageId,ClassId,EncodedPixels\ndark.png,1,{text}\nmasked.png,1,{text}\nmasked.png,2,{text}\n"
    )
    out = tmp_path / "out"
    words = ["--run", str(run()), "--images", str(tmp_path / "in"), "--out", str(out), "--truth", str(table)]
    assert predict.main(words) == 0
    lost = json.loads((out / "score.json").read_text())["lost_points"]
    assert lost["filtered out"] == [0.25, 0] and lost["class missed"] == [0, 0.25]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Defects that got no mask" in page


def test_images_that_taught_are_told(run, folder, tmp_path, capsys):
    its_run = run()
    (its_run / "split.csv").write_text("image_id,part,group,split_hash\na.png,train,0,x\n")
    table = tmp_path / "train.csv"
    table.write_text(f"ImageId,ClassId,EncodedPixels\na.bmp,1,{rle.encode(SPOT)}\n")
    words = [
        "--run",
        str(its_run),
        "--images",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--truth",
        str(table),
    ]
    assert predict.main(words) == 0
    assert "2 of these 4 images have the names of images from which" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line, says",
    [
        ("gone.png,1,1 1", "names none of the images"),
        ("a.bmp,3,1 1", "the class '3' is not a whole number from 1 to 2"),
        ("a.bmp,1,640 2", "outside the image of 16 x 40"),
        ("a.png,1,1 1", "are called"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused(run, tmp_path, capsys, line, says):
    for name in ("a.bmp", "x/a.png", "y/a.png"):
        save(tmp_path / "in" / name, BLACK)
    table = tmp_path / "train.csv"
    table.write_text(f"ImageId,ClassId,EncodedPixels\n{line}\n")
    words = ("--run", str(run()), "--images", str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert says in refused(capsys, *words, "--truth", str(table))


def test_pieces_that_are_too_small_leave_the_others_exact(run):
    from lib.inference.inspector import Inspector

    image = strip((1, 1, 3, 4), (1, 10, 5, 5), (8, 2, 4, 9))
    inspector = Inspector(run())
    severity = Severity((20, 0), (0, 9))
    result = results.of_found("a", inspector(image), severity, [], 0)
    assert [(piece["class"], piece["area"]) for piece in result.pieces] == [(1, 36), (1, 25), (2, 36)]
    assert result.rles == [rle.encode(strip((1, 10, 5, 5), (8, 2, 4, 9))), rle.encode(strip((8, 2, 4, 9)))]


@pytest.mark.slow
def test_masks_of_test_images_are_those_of_the_submission(whole_project, tmp_path):
    """The tiny run of all notebooks, by the command as it is typed."""
    import subprocess
    import sys

    from lib.inference import submission

    data = next(path.parent for path in (whole_project / "data").rglob("test_images"))
    words = [
        sys.executable,
        "-m",
        "lib.predict",
        "--run",
        "ID",
        "--images",
        str(data / "test_images"),
        "--out",
    ]
    before = contents(whole_project / "runs" / "ID")
    done = subprocess.run([*words, str(tmp_path / "out")], cwd=whole_project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(whole_project / "runs" / "ID") == before
    table = submission.read(whole_project / "runs" / "ID" / "submission.csv")
    content = files.read_json(tmp_path / "out" / "coco.json")
    names = {entry["id"]: entry["file_name"] for entry in content["images"]}
    predicted = {(name, number): "" for name in names.values() for number in range(1, 5)}
    for one in content["annotations"]:
        key = names[one["image_id"]], one["category_id"]
        predicted[key] = rle.union([predicted[key], rle.encode(cocomask.decode(one["segmentation"]))])
    pairs = zip(table["image_id"], table["defect_class"], strict=True)
    assert predicted == dict(zip(pairs, table["rle"], strict=True))
    assert whole_project != paths.PROJECT


def test_images_of_12_bits_are_named_also_beside_those_of_16():
    stated = {"a.png": 0, "b.png": 60000, "c.png": 4000, "d.png": 3000}
    image_results = [results.ImageResult(name, highest=value) for name, value in stated.items()]
    said = prediction_page.deep_remark(image_results, 0)
    assert said.startswith(
        "2 of 3 images of 16 bits, such as c.png, have no value above 4000, of which 16 grey"
    )
    assert "--white 4095" in said
    assert prediction_page.deep_remark(image_results, 4095) == ""
    assert prediction_page.deep_remark(image_results[:2], 0) == ""


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows counts memory otherwise")
def test_memory_does_not_grow_with_the_length(run, tmp_path):
    """But for the image itself. A small process starts the one that is measured: Linux counts the memory of
    whoever starts one as its own."""
    folder = run(shape=[256, 1600])
    peaks = {}
    for length in (16_000, 160_000):
        image = np.zeros((256, length), np.uint8)
        for left in range(0, length - 100, 400):
            image[50:150, left : left + 100] = 255
        path, out = save(tmp_path / f"{length}.png", image), tmp_path / f"out {length}"
        program = [sys.executable, "tests/peak_memory.py", str(folder), str(path), str(out)]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *program],
            check=True,
            capture_output=True,
            text=True,
            cwd=paths.PROJECT,
            env=os.environ | {"PYTHONPATH": str(paths.PROJECT)},
        )
        peaks[length] = int(done.stdout)
        assert len(rows(out / "defects.csv")) == 2 * length // 400
    print({length: f"{peak / 1024:.0f} MiB" for length, peak in peaks.items()})
    assert peaks[160_000] < 1.2 * peaks[16_000]
