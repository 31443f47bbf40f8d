"""What `python -m lib.predict --format` writes for labelling tools comes back by `python -m lib.importer`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import test_inspector
from pycocotools.coco import COCO
from test_inspector import BLACK, H, W, strip
from test_labels import write_json
from test_predict import FAINT, SPOT, contents, refused, save

from lib import importer, predict
from lib.data import dataset, rle
from lib.inference import label_files
from lib.inference.results import ImageResult

run = test_inspector.run
RING = strip((4, 10, 6, 8), grey=150)  # class 1 alone, with a hole
RING[6:8, 13:15] = 0
MASKS = {"a.png": [SPOT > 0, SPOT > 0], "b.png": [FAINT > 0, BLACK > 0], "c.png": [RING > 0, BLACK > 0]}


@pytest.fixture
def folder(tmp_path):
    for name, image in (("a.png", SPOT), ("b.png", FAINT), ("c.png", RING), ("d.png", BLACK)):
        save(tmp_path / "in" / name, image)
    return tmp_path / "in"


def words_of(its_run, folder, out, *more):
    return ["--run", str(its_run), "--images", str(folder), "--out", str(out), *more]


@pytest.mark.parametrize(
    "format, source", [("coco", "coco.json"), ("labelme", "labelme"), ("label-studio", "label-studio.json")]
)
def test_what_is_written_for_a_tool_comes_back_to_the_pixel(run, folder, tmp_path, format, source):
    out = tmp_path / "out"
    assert predict.main(words_of(run(), folder, out, "--format", format)) == 0
    assert source in (out / "index.html").read_text(encoding="utf-8")
    labels = out / source
    if format == "label-studio":  # as it is exported once the predictions are accepted
        tasks = json.loads(labels.read_text(encoding="utf-8"))
        labels = write_json(
            tmp_path / "export.json", [{**one, "annotations": one.pop("predictions")} for one in tasks]
        )
        assert '<Label value="spots"/>' in (out / "label-studio.xml").read_text(encoding="utf-8")
    made = tmp_path / "made"
    arguments = [
        "--images",
        str(folder),
        "--labels",
        str(labels),
        "--out",
        str(made),
        "--names",
        "spots,cracks",
    ]
    assert importer.main(arguments) == 0
    table = dataset.load_table(made)
    for image_id, first, second in table[["image_id", "rle_1", "rle_2"]].to_numpy():
        expected = MASKS.get(image_id, [BLACK > 0, BLACK > 0])
        assert [first, second] == [rle.encode(mask) for mask in expected]


def test_labelme_finds_the_images_from_its_files(run, folder, tmp_path):
    out = tmp_path / "out"
    assert predict.main(words_of(run(), folder, out, "--format", "labelme")) == 0
    content = json.loads((out / "labelme" / "c.json").read_text(encoding="utf-8"))
    assert (out / "labelme" / content["imagePath"]).resolve() == (folder / "c.png").resolve()
    assert [shape["shape_type"] for shape in content["shapes"]] == ["mask"]
    assert (content["imageHeight"], content["imageWidth"]) == (H, W)


IDS = {
    "format": "coco",
    "classes": [{"class": 1, "name": "cracks", "id": 7}, {"class": 2, "name": "spots", "id": 3}],
    "images": [{"name": "/data/upload/1/0a1b2c3d-b.png", "id": 70}, {"name": "x/a.png", "id": 20}],
}


def test_a_tools_names_and_ids_are_kept(run, folder, tmp_path):
    ids, out = write_json(tmp_path / "labels.json", IDS), tmp_path / "out"
    assert predict.main(words_of(run(), folder, out, "--format", "label-studio", "--ids", str(ids))) == 0
    coco = COCO(str(out / "coco.json"))
    assert {one["id"]: one["name"] for one in coco.cats.values()} == {3: "spots", 7: "cracks"}
    named = {one["id"]: one["file_name"] for one in coco.imgs.values()}
    assert named == {20: "x/a.png", 70: "/data/upload/1/0a1b2c3d-b.png", 71: "c.png", 72: "d.png"}
    for one in coco.anns.values():
        expected = MASKS[named[one["image_id"]][-5:]][{3: 0, 7: 1}[one["category_id"]]]
        assert np.array_equal(coco.annToMask(one), expected) and one["area"] == expected.sum()
    tasks = json.loads((out / "label-studio.json").read_text(encoding="utf-8"))
    assert [(task.get("id"), task["data"]["image"]) for task in tasks] == [
        (20, "x/a.png"),
        (70, "/data/upload/1/0a1b2c3d-b.png"),
        (None, "/data/local-files/?d=c.png"),
        (None, "/data/local-files/?d=d.png"),
    ]


def test_a_tools_name_that_titles_shorten_is_kept(tmp_path):
    names = ["secondary scale rolled in after the descaler of stand 2", "$A$1"]
    content = {**IDS, "classes": [{"class": 2, "name": names[1], "id": 5}, {"class": 1, "name": names[0]}]}
    titles = dataset.titles({"class_names": names})
    found = label_files.identities_of(write_json(tmp_path / "labels.json", content), titles, ["a.png"])
    assert found.class_names == names and found.class_ids == {2: 5}
    names = [f"{names[0]}, upper side", f"{names[0]}, lower side"]  # which titles show alike
    content["classes"] = [{"class": number, "name": name} for number, name in enumerate(names, 1)]
    titles = dataset.titles({"class_names": names})
    found = label_files.identities_of(write_json(tmp_path / "more.json", content), titles, ["a.png"])
    assert found.class_names == names


def test_another_format_is_another_folder(run, folder, tmp_path, capsys):
    words = words_of(run(), folder, tmp_path / "out")
    assert predict.main([*words, "--format", "labelme"]) == 0
    before = contents(tmp_path / "out")
    assert "is there already, with other format" in refused(capsys, *words, "--format", "label-studio")
    assert predict.main([*words, "--format", "labelme"]) == 0 and contents(tmp_path / "out") == before


@pytest.mark.parametrize("content, says", [
    ([], "this is .*It must be an object"),
    ({"classes": [], "images": 3}, "images is 3. It must be a list"),
    ({**IDS, "classes": [{"name": "rust", "id": 1}]}, "has a class 'rust', and the run's are spots, cracks"),
    ({**IDS, "classes": [{"name": "spots", "id": []}]}, "id is .*It must be a whole number or a text"),
])  # fmt: skip
def test_ids_that_do_not_fit_are_named(run, folder, tmp_path, capsys, content, says):
    ids = write_json(tmp_path / "labels.json", content)
    sentence = refused(capsys, *words_of(run(), folder, tmp_path / "out", "--ids", str(ids)))
    assert re.search(says, sentence)


def test_images_without_an_id_get_the_next_ones():
    known = label_files.Identities(["a"], images={"x": ("x", 4), "y": ("y", "text")})
    assert label_files.ids_of(["w", "x", "y", "z"], known) == [5, 4, "text", 6]
    assert label_files.ids_of(["w"], label_files.Identities(["a"])) == [1]
    result = ImageResult("w", shape=(2, 3))
    assert label_files.task(result, known, "run")["data"]["image"] == "/data/local-files/?d=w"
    assert label_files.relative(Path("/a/b.png"), Path("/a/c")) == "../b.png"
