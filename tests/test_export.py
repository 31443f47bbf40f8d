"""`python -m lib.export`: the bundle gives what lib.predict gives, refuses what was changed, and its card says what
was measured."""

import csv
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib import export, files, paths, predict
from lib.bundle import card, detect, writing
from lib.data import manifest, rle
from lib.errors import UserError
from lib.inference import passes, postprocess, windows
from lib.inference.inspector import Inspector
from lib.inference.passes import Variation
from lib.synthetic import generate, planning

INSTALLED = {
    name for name in ("tf2onnx", "onnx", "onnxruntime", "openvino") if importlib.util.find_spec(name)
}
needs_onnx = pytest.mark.skipif(
    not {"tf2onnx", "onnx", "onnxruntime"} <= INSTALLED, reason="no packages of requirements-export.txt"
)
SIZE = 32, 192
NAMES = ["1 spots", "2 cracks, long", "3 scale"]
POINT = {"strategy": "binary filter", "binary_threshold": 0.0}


def save_network(folder, network, build, kind):
    """A saved network without a SavedModel: the rebuilt one is then run."""
    from lib.models import saving

    network.set_weights([10 * array if "logit" in one.path or "probability" in one.path else array
                         for one, array in zip(network.weights, network.get_weights(), strict=True)])  # fmt: skip
    folder.mkdir(parents=True)
    network.save_weights(folder / "model.weights.h5")
    card = {"kind": kind, "build": build, "input": list(SIZE), "weights_sha256": saving.weights_hash(network)}
    training = {"augmentation": {"flips": "both", "brightness": 0.1}, "epochs": 3}
    files.write_json(folder / "model.json", card | {"seed": 7, "training": training})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with random weights: classes 1 and 2 of one network with two members, class 3 of its own."""
    import keras

    from lib.models import builders

    folder = tmp_path_factory.mktemp("run") / "tiny"
    keras.utils.set_random_seed(1)
    for name, classes in (("binary", 1), ("multilabel", 3)):
        build = {"classes": classes, "height": SIZE[0], "width": None}
        save_network(folder / "models" / name, builders.build_classifier(**build), build, "classifier")
    build = {"height": SIZE[0]}
    for member in ("", ".2"):
        both = builders.build_segmenter(**build, classes=2)
        for index in (0, 1):
            single = builders.of_class(both, index, build)
            save_network(folder / "models" / f"seg_class{index + 1}{member}", single, build, "segmenter")
    save_network(folder / "models" / "seg_class3", builders.build_segmenter(**build), build, "segmenter")
    thresholds = {
        "strategy": "both filters",
        "binary_threshold": 0.2,
        "label_thresholds": [0.01, 0.01, 0.01],
        "pixel_thresholds": [0.5, 0.45, 0.55],
        "smallest_components": [400, 0, 100],
        "minimum_areas": [2000, 500, 0],
        "tta": ["none", "vertical"],
        "classifier_tta": ["none", "horizontal", "random10"],
        "shape": [256, 1600],
        "class_names": NAMES,
    }
    point = thresholds | POINT
    keep = [*POINT, "label_thresholds", "pixel_thresholds", "smallest_components", "minimum_areas"]
    achieved = {"all classes": {"false_alarms": 0.05, "false_alarms_interval": [0.01, 0.09], "recall": 0.8}}
    points = {
        "max_false_alarms": {name: point[name] for name in keep}
        | {"achieved": achieved, "remarks": ["that is no promise."]}
    }
    files.write_json(folder / "thresholds.json", thresholds | {"operating_points": points})
    measured = {"strips with it": 12, "score": 0.7, "95 % interval": [0.6, 0.8], "all-empty score": 0.65,
                "Dice over positives": 0.25, "its interval": [0.1, 0.4]}  # fmt: skip
    files.write_json(folder / "evaluation.json", {"classes": dict.fromkeys(NAMES, measured)})
    score = {"competition_score": 0.7123, "competition_score_interval": [0.6, 0.8], "all_empty_score": 0.6543,
             "gain_over_all_empty_interval": [0.01, 0.1], "held_out_strips": 40, "held_out_defective": 20}  # fmt: skip
    files.write_json(folder / "metrics.json", score)
    files.write_json(folder / "run.json", {"run": "tiny", "data": {"train_images": 90, "generated": True}})
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Generated strips as JPEG and PNG, a long one, one of another height, one that is cut off."""
    folder = tmp_path_factory.mktemp("images") / "in"
    (folder / "day 1").mkdir(parents=True)
    strips = [generate.make_strip(planned)[0] for planned in planning.plan("test", 3, 5)]
    cv2.imwrite(str(folder / "a.jpg"), strips[0])
    cv2.imwrite(str(folder / "a.png"), strips[1])
    cv2.imwrite(str(folder / "day 1" / "long.jpg"), np.hstack(strips)[:, :3700])
    cv2.imwrite(str(folder / "day 1" / "low.png"), cv2.resize(strips[2], (900, 200)))
    cv2.imwrite(str(folder / "short.bmp"), strips[2][:, :700])
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:5000])
    return folder


@pytest.fixture(scope="module")
def bundle(run):
    out = run.parent / "bundle"
    assert export.main(["--run", str(run), "--out", str(out)]) == 0
    return out


def module_of(bundle):
    """The bundle's own detect.py as a module."""
    specification = importlib.util.spec_from_file_location("of_bundle", bundle / "detect.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_bundle_takes_no_values_below_0_for_bright_ones():
    levels = np.tile(np.arange(60, dtype=np.int16), (40, 1)) * 256
    assert detect.grey(cv2.imencode(".tif", levels)[1].tobytes())[0, -1] == 59
    with pytest.raises(ValueError, match="has values below 0"):
        detect.grey(cv2.imencode(".tif", levels - np.int16(1))[1].tobytes())


@needs_onnx
@pytest.mark.slow
def test_a_bundle_gives_what_predict_gives(run, images, bundle, tmp_path):
    """By its command, with nothing of this project to import."""
    words = [sys.executable, "-I", str(bundle / "detect.py"), str(images), "--out", str(tmp_path / "own")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "6 images, 1 not read" in done.stdout, done.stderr
    assert predict.main(["--run", str(run), "--images", str(images), "--out", str(tmp_path / "out")]) == 1
    maps = module_of(bundle).Detector()
    limits = np.float32(maps.thresholds["pixel_thresholds"])[:, None, None]
    names = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("masks/**/*.png")
    }
    assert names == {f"masks/{name}.png" for name in ("a.jpg", "a.png", "day 1/long", "day 1/low", "short")}
    for name in names:
        own, expected = (cv2.imread(str(tmp_path / part / name), 0) for part in ("own", "out"))
        assert set(np.unique(expected)) > {0}, "a test of empty masks shows nothing"
        if (own != expected).any():
            source = next(
                path
                for path in images.rglob("*.*")
                if name.endswith((path.name[:-4] + ".png", path.name + ".png"))
            )
            near = (np.abs(maps.maps(source.read_bytes())[0] - limits) < 1e-3).any(axis=0)
            assert not (own != expected)[near == 0].any(), name
    assert table(tmp_path / "own" / "images.csv")[2]["image"] == "cut.jpg"
    for name in ("images.csv", "defects.csv"):
        own, expected = (table(tmp_path / part / name) for part in ("own", "out"))
        assert len(own) == len(expected) > 5 and own[0].keys() == expected[0].keys()
        for one, other in zip(own, expected, strict=True):
            # made lower, a mask loses columns, and the project then leaves their highest probability out
            lost = {"max_probability"} if one["image"] == "day 1/low.png" else set()
            for key in one.keys() - {"remark"} - lost:
                try:
                    assert float(one[key]) == pytest.approx(float(other[key]), rel=2e-2, abs=2e-3), (
                        one,
                        other,
                    )
                except ValueError:
                    assert one[key] == other[key]


@needs_onnx
@pytest.mark.slow
def test_every_python_has_a_numpy_for_a_bundle(bundle):
    """There is none of 2.0 for Python 3.13, and of the others there is the very one."""
    lines = (bundle / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [re.fullmatch(r"([a-z-]+)([>=]=)[0-9.]+", line).groups() for line in lines]
    assert pins == [("numpy", ">="), ("opencv-python-headless", "=="), ("onnxruntime", "==")]


@needs_onnx
@pytest.mark.slow
def test_networks_that_classes_share_are_there_once(bundle):
    entries = files.read_json(bundle / "bundle.json")["networks"]
    assert list(entries) == ["binary", "multilabel", "seg_class1", "seg_class3"]
    assert entries["seg_class1"]["classes"] == [0, 1] and entries["seg_class3"]["classes"] == [2]
    assert entries["seg_class1"]["files"] == ["networks/seg_class1.onnx", "networks/seg_class1.2.onnx"]
    assert entries["multilabel"]["passes"][:3] == ["none", "horizontal", "random pass 1"]
    assert entries["multilabel"]["variation"] == {
        "flips": "both",
        "brightness": 0.1,
        "contrast": 0.0,
        "seed": 7,
    }


@needs_onnx
@pytest.mark.slow
def test_every_strategy_and_operating_point_filters_as_the_cascade(run, images, bundle):
    detector, inspector = module_of(bundle).Detector(), Inspector(run)
    module, data = module_of(bundle), (images / "a.jpg").read_bytes()
    for name in ("binary", "multilabel"):  # two passes, to save time
        del detector.networks[name].entry["passes"][2:]
        inspector.networks[name].use(2, 1)
    asked = []
    for strategy in postprocess.STRATEGIES:
        detector.thresholds = detector.thresholds | {
            "strategy": strategy,
            "pixel_thresholds": [0.3, 0.2, 0.25],
        }
        detector.filters = files.read_json(bundle / "bundle.json")["strategies"][strategy]
        inspector.thresholds = replace(
            inspector.thresholds, strategy=strategy, pixel_thresholds=(0.3, 0.2, 0.25)
        )
        _, rows, any_defect, of_class = detector(data)
        found = inspector(images / "a.jpg")
        assert any_defect == pytest.approx(found.defect_probability, abs=1e-5, nan_ok=True)
        assert of_class == pytest.approx(found.class_probability, abs=1e-5, nan_ok=True)
        assert [row[0] for row in rows] == list(found.defects["class"])
        assert [row[6] for row in rows] == pytest.approx(list(found.defects["area"]), rel=0.02)
        asked.append((np.isfinite(any_defect), np.isfinite(of_class).all()))
    assert asked == [(False, False), (True, False), (False, True), (True, True), (True, True)]
    assert module.Detector("max_false_alarms").thresholds["binary_threshold"] == 0.0
    with pytest.raises(SystemExit):
        module.Detector("another")


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("name", ["networks/binary.onnx", "bundle.json", "detect.py", "card.html"])
def test_a_file_that_was_changed_or_is_missing_is_refused_by_name(bundle, tmp_path, capsys, name):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    detect.check(copy)
    content = bytearray((copy / name).read_bytes())
    content[-1] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        detect.check(copy)
    assert ended.value.code == 2 and f"{copy / name} was changed" in capsys.readouterr().err
    (copy / name).unlink()
    with pytest.raises(SystemExit):
        detect.check(copy)
    assert f"{copy / name} is missing" in capsys.readouterr().err


@needs_onnx
@pytest.mark.slow
def test_the_card_says_what_was_measured_and_what_not_to_use_it_for(bundle):
    page = re.sub(r"\s+", " ", (bundle / "card.html").read_text(encoding="utf-8"))
    for text in ("0.7123", "0.6000 to 0.8000", "All empty would score <strong>0.6543", "It learned from generated strips",
                 "For real steel: it learned from generated strips alone", "2 cracks, long", "#D55E00", "50.0", "10.0 to 90.0",
                 "measured on 12 images with it (Dice over positives 0.25, 95 % interval 0.10 to 0.40)"):  # fmt: skip
        assert text in page, text
    assert "<p>That is no promise.</p>" in page
    assert "no operating point" not in page and str(paths.PROJECT) not in page


def test_intervals_of_nothing_leave_the_card_its_dashes(tmp_path):
    """Of a class without images, of false alarms where every image has a defect."""
    of_nothing = {"strips with it": 0, "95 % interval": [None, None], "its interval": [None, None]}
    files.write_json(tmp_path / "evaluation.json", {"classes": {"1 spots": of_nothing}})
    files.write_json(
        tmp_path / "metrics.json", {"competition_score": 0.7, "gain_over_all_empty_interval": [None, None]}
    )
    achieved = {
        "false_alarms": None,
        "false_alarms_interval": [None, None],
        "recall": 0.8,
        "recall_interval": [0.7, 0.9],
    }
    point = {"min_recall": {"achieved": {"all classes": achieved}, "asked_for": {"min_recall": 0.9}}}
    files.write_json(tmp_path / "thresholds.json", {"operating_points": point})
    thresholds = postprocess.PostprocessConfig("segment everything", 0.5, (0.5,), (0.5,), (0,), (0,))
    bundle = {"shape": [8, 16], "classes": [{"name": "1 spots", "colour": "#D55E00"}], "networks": {},
              "thresholds": vars(thresholds), "operating_points": point}  # fmt: skip
    card.write(tmp_path / "card.html", tmp_path, bundle, thresholds, ["numpy"])
    page = re.sub(r"\s+", " ", (tmp_path / "card.html").read_text(encoding="utf-8"))
    assert "min_recall 0.9" in page and "0.8000</td><td>0.7000 to 0.9000" in page and "None" not in page
    assert "no better than predicting nothing, as far as they tell" in page


def bare_bundle(folder):
    """A bundle whose classes are never asked for: it needs no network and no runtime."""
    folder.mkdir()
    shutil.copyfile(detect.__file__, folder / "detect.py")
    never = {"pixel_thresholds": [0.5], "smallest_components": [0], "minimum_areas": [postprocess.NEVER]}
    thresholds = never | {
        "strategy": "segment everything",
        "binary_threshold": 0.5,
        "label_thresholds": [0.5],
    }
    content = {"shape": [8, 16], "classes": [{"name": "spot"}], "thresholds": thresholds, "operating_points": {},
               "strategies": writing.strategies(), "networks": {}}  # fmt: skip
    files.write_json(folder / "bundle.json", content)
    files.write_json(folder / manifest.MANIFEST, manifest.manifest_of(folder))
    return folder


def run_bare(folder, *words):
    """(exit code, what it printed, its images.csv) of the bundle's command, with nothing of this project to import."""
    command = [sys.executable, "-I", str(folder / "detect.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    written = Path(words[-1]) / "images.csv"
    return done.returncode, done.stdout + done.stderr, table(written) if written.is_file() else []


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return bare_bundle(tmp_path_factory.mktemp("bare") / "bundle")


def test_files_that_are_no_images_leave_the_others(bare, tmp_path):
    (tmp_path / "in").mkdir()
    image = np.full((8, 16), 90, np.uint8)
    names = [b"good.png"] if sys.platform in ("darwin", "win32") else [b"bad\xff.png", b"good.png"]
    for name in names:
        (tmp_path / "in" / os.fsdecode(name)).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (tmp_path / "in" / "empty.png").touch()
    huge = bytearray(cv2.imencode(".png", image)[1].tobytes())
    huge[16:24] = struct.pack(">II", 100_000, 100_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(huge[12:29]))
    (tmp_path / "in" / "huge.png").write_bytes(huge)
    code, said, rows = run_bare(bare, tmp_path / "in", "--out", tmp_path / "out")
    assert code == 1 and f"{len(names) + 2} images, 2 not read, 0 defects" in said, said
    verdicts = {row["image"]: row["verdict"] for row in rows}
    assert verdicts.pop("bad\\udcff.png", "clean") == "clean"  # a table has no such letter
    assert verdicts == {"empty.png": "unread", "good.png": "clean", "huge.png": "unread"}
    assert (
        "It is cut off, too large, has values below 0, or is no image that can be read." in rows[-1]["remark"]
    )
    assert (tmp_path / "out" / "masks" / "good.png").is_file()


def test_images_keep_their_names_and_a_link_is_not_followed_out_of_its_folder(bare, tmp_path):
    """A folder of links, as data stores leave it; names whose masks would be called alike; two folders."""
    image = cv2.imencode(".png", np.full((8, 16), 90, np.uint8))[1].tobytes()
    for name in ("store/x.png", "in/a.jpg", "in/a.png", "in/a.jpg.jpg", "more/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(image)
    for name in ("one.png", "two.png"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "store" / "x.png")
    code, said, rows = run_bare(bare, tmp_path / "in", tmp_path / "more", "--out", tmp_path / "out")
    assert code == 0, said
    names = ["in/a.jpg", "in/a.jpg.jpg", "in/a.png", "in/one.png", "in/two.png", "more/a.png"]
    assert [row["image"] for row in rows] == names and {row["verdict"] for row in rows} == {"clean"}
    masks = (tmp_path / "out" / "masks").rglob("*.png")
    assert sorted(path.relative_to(tmp_path / "out" / "masks").as_posix() for path in masks) == [
        "in/a.jpg.png", "in/a.jpg_.png", "in/a.png.png", "in/one.png", "in/two.png", "more/a.png"]  # fmt: skip
    assert (tmp_path / "store" / "x.png").read_bytes() == image


def test_what_is_named_is_found_or_said(bare, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ".hidden.png").write_bytes(b"x")
    image = cv2.imencode(".png", np.full((8, 16), 90, np.uint8))[1].tobytes()
    for name in ("in/a.png", "b.webp"):
        (tmp_path / name).write_bytes(image if name == "in/a.png" else b"no image")
    code, said, _ = run_bare(bare, tmp_path / "in", tmp_path / "inn", "--out", tmp_path / "out")
    assert (code, said) == (2, f"error: {tmp_path / 'inn'} does not exist.\n")
    code, said, rows = run_bare(bare, tmp_path / "in", tmp_path / "b.webp", "--out", tmp_path / "out")
    assert code == 1 and [(row["image"], row["verdict"]) for row in rows] == [
        ("b.webp", "unread"),
        ("in/a.png", "clean"),
    ]


def test_what_a_bundle_cannot_do_ends_in_a_sentence(bare, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 16), 90, np.uint8))
    begin = tmp_path / "a.png", "--out"
    (tmp_path / "file").touch()
    code, text, _ = run_bare(bare, *begin, tmp_path / "file" / "out")
    assert code == 2 and text.startswith("error: ") and text.count("\n") == 1 and "out: " in text
    said = run_bare(bare, tmp_path / "a.png", "--operating-point", "x", "--out", tmp_path / "out")
    assert said[:2] == (2, "error: --operating-point: none are there.\n")
    for out in (
        tmp_path / "found" / "here",
        tmp_path,
    ):  # which the next time would be predicted; which is full
        code, text, _ = run_bare(bare, tmp_path, "--out", out)
        assert code == 2 and "is there already, or lies among the images. Name another" in text
    copy = shutil.copytree(bare, tmp_path / "copy")
    (copy / manifest.MANIFEST).unlink()
    code, text, _ = run_bare(copy, *begin, tmp_path / "out")
    assert code == 2 and text.startswith("error: ") and "manifest.json: No such file" in text


def test_limits_follow_from_the_numbers():
    row = {"name": "class 1", "images": 50, "dice": 0.7, "dice_interval": [0.6, 0.8], "is_predicted": True}
    metrics = {"competition_score": 0.9, "gain_over_all_empty_interval": [0.01, 0.02]}
    general = card.limits(metrics, {}, [row], False, True)
    assert [text.partition(" ")[0] for text in general] == [
        "For",
        "To",
    ]  # another camera; images of the training

    def more(**changed):
        arguments = {
            "metrics": metrics,
            "lost": {},
            "classes": [row],
            "is_generated": False,
            "has_points": True,
        }
        return [text for text in card.limits(**arguments | changed) if text not in general]

    assert (
        "no better than predicting nothing, as far as they tell"
        in more(metrics=metrics | {"gain_over_all_empty_interval": [-0.01, 0.02]})[0]
    )
    assert "nothing was measured" in more(metrics={})[0]
    assert "lets nothing of it through" in more(classes=[row | {"is_predicted": False}])[0].replace(
        "let nothing", "lets nothing"
    )
    assert "on 19 images" in more(classes=[row | {"images": 19}])[0]
    assert more(classes=[row | {"images": 20}]) == []
    assert (
        "outlines are rough (Dice over positives 0.49, 95 % interval 0.60 to 0.80)"
        in more(classes=[row | {"dice": 0.49}])[0]
    )
    assert (
        "of the 0.5000 points that are missing to 1, 0.3000"
        in more(lost={"filtered out": 0.2, "no mask": 0.1, "false alarm": 0.2, "sum": 0.5})[0]
    )
    assert "no operating point" in more(has_points=False)[0]


def test_windows_passes_and_pieces_are_those_of_the_project():
    for length in (1, 39, 40, 41, 79, 80, 95, 200, 1234):
        planned = [(w.left, w.begin, w.end, w.is_bridge) for w in windows.plan(length, 40)]
        assert detect.windows(length, 40) == planned
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 12), np.uint8)
    options = {"flips": "both", "brightness": 0.2, "contrast": 0.3}
    network = detect.Network({"variation": options | {"seed": 5}})
    for name in passes.named(["random10"]):
        shown = passes.show(image[None, ..., None], name, Variation(5, options))[0, ..., 0]
        assert np.array_equal(network.varied(image, int(name.split()[-1])), shown)
    for name in ("none", "vertical", "horizontal", "both"):
        assert np.array_equal(detect.flip(image, name), passes.mirror(image[None], name)[0])


@needs_onnx
def test_grouped_convolutions_and_constants_are_converted(tmp_path):
    """Of which Keras compiles the one apart from the graph, and holds the other outside of it."""
    import keras
    from keras import layers

    from lib.bundle import networks

    inputs = keras.Input((16, 24, 1), dtype="uint8", name="image")
    x = layers.Normalization(mean=[90.0], variance=[3000.0])(layers.Rescaling(1.0)(inputs))
    x = layers.Conv2D(8, 3)(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 5, groups=8)(x))
    network = keras.Model(inputs, layers.Dense(2, activation="sigmoid")(x))
    assert networks.write(network, (16, 24), tmp_path / "grouped.onnx") < 1e-5
    unknown = keras.Model(inputs, keras.ops.fft2((x[:, None], x[:, None]))[0])
    with pytest.raises(UserError, match=r"unknown cannot be converted .*another --format"):
        networks.write(unknown, (16, 24), tmp_path / "unknown.onnx")


@pytest.mark.slow
def test_what_cannot_work_ends_in_a_sentence(run, tmp_path, capsys, monkeypatch):
    def refused(*words):
        assert export.main(["--run", str(run), *words]) == 2
        return capsys.readouterr().err

    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").touch()
    assert "is there already" in refused("--out", str(tmp_path / "there"))
    assert "stays as it is" in refused("--out", str(run / "bundle"))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else find(name))
    said = refused("--out", str(tmp_path / "out"))
    assert said.count("\n") == 1 and "the package tf2onnx" in said and "requirements-export.txt" in said
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    (run / "models" / "multilabel" / "model.weights.h5").rename(tmp_path / "aside")
    try:
        assert "multilabel has no weights, as in a pack" in refused("--out", str(tmp_path / "out"))
    finally:
        (tmp_path / "aside").rename(run / "models" / "multilabel" / "model.weights.h5")


@pytest.mark.slow
@pytest.mark.skipif("openvino" not in INSTALLED, reason="no OpenVINO of requirements-export.txt")
def test_openvino_gives_the_same(run, images, tmp_path):
    assert export.main(["--run", str(run), "--format", "openvino", "--out", str(tmp_path / "bundle")]) == 0
    mask, _, any_defect, _ = module_of(tmp_path / "bundle").Detector()((images / "a.png").read_bytes())
    found = Inspector(run)(images / "a.png")
    assert any_defect == pytest.approx(found.defect_probability, abs=1e-4)
    assert (mask > 0).mean() == pytest.approx(found.masks.any(axis=2).mean(), abs=1e-3)
    assert json.loads((tmp_path / "bundle" / "bundle.json").read_text())["networks"]["binary"]["files"] == [
        "networks/binary.xml"
    ]
    assert sum(map(rle.area, found.rles)) > 0
