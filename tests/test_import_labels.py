"""`python -m lib.importer` with the labels of a tool, and with masks in other codings."""

import cv2
import numpy as np
import pytest
from PIL import Image
from test_importer import SHAPE, block, write
from test_label_formats import write_text
from test_labels import write_json

from lib import files, importer
from lib.data import dataset, rle
from lib.data.labels import coco, labelme

DENT, RUST = block(1, 0), block(1, 30)


@pytest.fixture
def steel(tmp_path):
    """Three images and a test image, and a COCO file of two of them and of one that is not there."""
    rng = np.random.default_rng(0)
    for name in ("train/a.png", "train/b.jpg", "train/c.png", "test/t.png"):
        write(tmp_path / name, rng.integers(0, 255, SHAPE, np.uint8))
    entries = [
        {"id": number, "file_name": name, "height": 40, "width": 60}
        for number, name in ((11, "raw/a.png"), (12, "b.jpg"), (13, "gone.png"), (14, "t.png"))
    ]
    annotations = [
        {"image_id": 11, "category_id": 2, "segmentation": coco.segmentation(rle.encode(DENT), SHAPE)},
        {"image_id": 11, "category_id": 3, "segmentation": [[30, 10, 45, 10, 45, 20, 30, 20]]},
        {"image_id": 14, "category_id": 3, "segmentation": coco.segmentation(rle.encode(RUST), SHAPE)},
    ]
    write_json(tmp_path / "labels.json", coco.document(entries, annotations, ["unused", "dent", "rust"]))
    return tmp_path


def bring(steel, *words, images="train", labels="labels.json"):
    return importer.main(
        [
            "--images",
            str(steel / images),
            "--labels",
            str(steel / labels),
            "--out",
            str(steel / "out"),
            *words,
        ]
    )


def table_of(steel):
    """{image: [mask of each class]} of the data folder."""
    table = dataset.load_table(steel / "out")
    columns = dataset.rle_columns(table)
    return {
        row["image_id"]: [rle.decode(row[name], SHAPE).tolist() for name in columns]
        for _, row in table.iterrows()
    }


def test_labels_of_images_named_by_another_day_are_not_taken(steel, capsys):
    write(steel / "days" / "20240102-0001.png", np.zeros(SHAPE, np.uint8))
    entries = [{"id": 1, "file_name": "20240101-0001.png", "height": 40, "width": 60}]
    annotations = [
        {"image_id": 1, "category_id": 1, "segmentation": coco.segmentation(rle.encode(DENT), SHAPE)}
    ]
    write_json(steel / "days.json", coco.document(entries, annotations, ["dent"]))
    assert bring(steel, images="days", labels="days.json") == 2
    assert "days.json names no image in" in capsys.readouterr().err and not (steel / "out").exists()


def test_a_tools_labels_become_the_competitions_layout(steel, capsys):
    assert (
        bring(steel, "--test-images", str(steel / "test"), "--test-labels", str(steel / "labels.json")) == 0
    )
    said = capsys.readouterr().out
    nothing = np.zeros(SHAPE, int).tolist()
    assert table_of(steel) == {
        "a.png": [DENT.tolist(), RUST.tolist()], "b.jpg": [nothing, nothing], "c.png": [nothing, nothing]
    }  # fmt: skip
    assert dataset.describe(steel / "out")["class_names"] == ["dent", "rust"]
    truth = dataset.load_truth(steel / "out", dataset.load_test_table(steel / "out"))
    assert truth["rle_2"].tolist() == [rle.encode(RUST)]
    assert files.read_json(steel / "out" / "labels.json") == {
        "format": "coco",
        "classes": [{"class": 1, "name": "dent", "id": 2}, {"class": 2, "name": "rust", "id": 3}],
        "images": [
            {"name": "raw/a.png", "id": 11}, {"name": "b.jpg", "id": 12},
            {"name": "gone.png", "id": 13}, {"name": "t.png", "id": 14},
        ],
    }  # fmt: skip
    assert "labels.json names 2 images that are not in the folder, such as gone.png: left out." in said
    assert "Classes without a label are left out: unused." in said
    assert "1 of 3 images in" in said and "are not in the labels and count as free of defects" in said
    assert not len(dataset.check(steel / "out"))


def test_names_choose_and_order_the_classes(steel, capsys):
    assert bring(steel, "--names", "rust") == 0
    assert table_of(steel)["a.png"] == [RUST.tolist()]
    assert "Classes that --names does not name are left out: dent." in capsys.readouterr().out


def test_labels_of_several_sizes_are_brought_to_one(steel, capsys):
    write(steel / "train" / "d.png", np.zeros((80, 120), np.uint8))
    large = np.kron(DENT, np.ones((2, 2), np.uint8))
    for name, mask in (("a.png", DENT), ("d.png", large)):
        content = labelme.document(name, mask.shape, [("dent", rle.encode(mask))])
        write_json(steel / "train" / f"{name[0]}.json", content)  # beside the images, as LabelMe has them
    assert bring(steel, "--size", "40x60", labels="train") == 0
    table = table_of(steel)
    assert table["a.png"] == table["d.png"] == [DENT.tolist()]
    assert "1 images in" in (said := capsys.readouterr().out) and "were scaled, such as d.png" in said


def test_labels_of_another_size_are_refused(steel, capsys):
    write(steel / "train" / "a.png", np.zeros((60, 40), np.uint8))
    assert bring(steel, "--size", "40x60") == 2
    assert "states 40 x 60 pixels for a.png, which has 60 x 40" in capsys.readouterr().err
    assert not (steel / "out").exists()


@pytest.mark.parametrize("words, says", [
    (("--names", "dent,hole"), "has the classes dent, rust, unused, and no 'hole'"),
    (("--masks", "masks"), "one of both"),
    (("--colours", "x.csv"), "--colours does not go with --labels"),
    (("--test-labels", "x.json"), "--test-labels needs --test-images"),
    (("--format", "cvat"), "is not valid XML"),
    (("--names", "unused"), "has no label that covers a pixel"),
])  # fmt: skip
def test_options_that_do_not_fit_are_named(steel, capsys, words, says):
    assert bring(steel, *words) == 2
    assert says in capsys.readouterr().err


def test_labels_of_other_images_are_named(steel, capsys):
    write(steel / "others" / "x.png", np.zeros(SHAPE, np.uint8))
    assert bring(steel, images="others") == 2
    assert "labels.json names no image in" in capsys.readouterr().err


def bring_masks(steel, masks, *words):
    """Import masks {name: pixels or picture}, one file an image."""
    for name, mask in masks.items():
        (steel / "masks").mkdir(exist_ok=True)
        picture = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        picture.save(steel / "masks" / name)
    return importer.main(
        [
            "--images",
            str(steel / "train"),
            "--masks",
            str(steel / "masks"),
            "--out",
            str(steel / "out"),
            *words,
        ]
    )


@pytest.mark.parametrize("white", [np.uint8(255), np.uint16(65535)])
def test_white_alone_is_one_class(steel, white):
    masks = {"a.png": DENT.astype(white.dtype) * white, "b.png": RUST.astype(white.dtype) * white}
    assert bring_masks(steel, masks, "--names", "dent") == 0
    table = table_of(steel)
    assert table["a.png"] == [DENT.tolist()] and table["b.jpg"] == [RUST.tolist()]
    assert dataset.describe(steel / "out")["class_names"] == ["dent"]


def test_white_beside_numbers_is_neither(steel, capsys):
    assert bring_masks(steel, {"a.png": DENT * 255, "b.png": RUST * 2}) == 2
    assert "b.png has the value 2, and a.png has the value 255" in capsys.readouterr().err


def coloured(palette):
    """A picture with DENT in #ff8000 and RUST in #0000ff, as colours or as a palette's."""
    if palette:
        picture = Image.fromarray(DENT * 7 + RUST * 9, mode="P")
        picture.putpalette([0] * 21 + [255, 128, 0] + [0] * 3 + [0, 0, 255])
        return picture
    pixels = DENT[..., None] * np.array([255, 128, 0], np.uint8) + RUST[..., None] * np.array(
        [0, 0, 255], np.uint8
    )
    return Image.fromarray(pixels)


@pytest.mark.parametrize("palette", [False, True])
def test_colours_are_classes_by_a_table(steel, palette):
    table = write_text(steel / "colours.csv", "name,colour\nrust,#0000ff\nbackground,#00ff00\ndent,#FF8000\n")
    assert bring_masks(steel, {"a.png": coloured(palette)}, "--colours", str(table)) == 0
    assert table_of(steel)["a.png"] == [RUST.tolist(), DENT.tolist()]
    assert dataset.describe(steel / "out")["class_names"] == ["rust", "dent"]


def test_a_labelmap_of_cvat_is_a_table(steel):
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "rust:0,0,255::", "dent:255,128,0::"]
    table = write_text(steel / "labelmap.txt", "\n".join(lines))
    assert bring_masks(steel, {"a.png": coloured(False)}, "--colours", str(table)) == 0
    assert table_of(steel)["a.png"] == [RUST.tolist(), DENT.tolist()]


def test_numbers_are_classes_by_a_table(steel):
    table = write_text(steel / "numbers.csv", "dent,4000\nrust,128\n")
    mask = DENT.astype(np.uint16) * 4000 + RUST * np.uint16(128)
    assert bring_masks(steel, {"a.png": mask}, "--colours", str(table)) == 0
    assert table_of(steel)["a.png"] == [DENT.tolist(), RUST.tolist()]


@pytest.mark.parametrize("text, says", [
    ("dent,#ff8000\n", "a.png has the colour #0000ff, which table.csv does not name"),
    ("dent,1\nrust,#0000ff\n", "line 2 is 'rust,#0000ff'"),
    ("dent;#ff8000\n", "line 1 is 'dent;#ff8000'"),
    ("dent,#ff80\n", "line 1 is 'dent,#ff80'"),
    ("dent,#ff8000\ndent,#0000ff\n", "line 2 has a name or a value that is there twice"),
    ("dent,#ff8000\nrust,#FF8000\n", "line 2 has a name or a value that is there twice"),
    ("background,#ff8000\n", "has no classes but the background"),
    ("\n", "has no classes. Write name,#rrggbb"),
    ("dent,70000\n", "line 1 is 'dent,70000'"),
    (",#ff8000\n", "line 1 is ',#ff8000'"),
    ("# a\ndent:999,0,0::\n", "line 2 is 'dent,#3e70000'"),
])  # fmt: skip
def test_a_table_that_does_not_fit_is_refused(steel, capsys, text, says):
    table = write_text(steel / "table.csv", text)
    assert bring_masks(steel, {"a.png": coloured(False)}, "--colours", str(table)) == 2
    assert says in capsys.readouterr().err


def test_a_jpeg_has_no_colours(steel, capsys):
    table = write_text(steel / "table.csv", "dent,#ff8000\n")
    assert bring_masks(steel, {"a.jpg": coloured(False)}, "--colours", str(table)) == 2
    assert "is a JPEG, which changes numbers" in capsys.readouterr().err
    cv2.imwrite(str(steel / "masks" / "a.png"), np.dstack([DENT] * 2 + [DENT * 2]))
    (steel / "masks" / "a.jpg").unlink()
    assert bring_masks(steel, {}) == 2 and "Name a table of its colours" in capsys.readouterr().err


def test_a_rotation_mark_is_named(steel, capsys):
    """Turned by 180 degrees, the size is the same, and a tool shows the image turned."""
    image = Image.fromarray(np.zeros(SHAPE, np.uint8))
    marks = image.getexif()
    marks[0x0112] = 3
    image.save(steel / "train" / "b.jpg", exif=marks)
    assert bring(steel) == 0
    said = capsys.readouterr().out
    assert (
        "1 images" in said
        and "have a rotation mark (EXIF), such as b.jpg" in said
        and "label them again" in said
    )
