"""LabelMe, CVAT, Label Studio, Pascal VOC and YOLO: a small file each by hand, its masks to the pixel, and what
is said of files that are none."""

import base64

import cv2
import numpy as np
import pytest
from test_labels import DOT, OUTER, RING, H, W, changed, coco_content, masks_of, write_json

from lib.data import rle
from lib.data.labels import brush, label_studio, labelme, reading
from lib.data.labels.record import ImageNames, base_name
from lib.errors import UserError

BOX = np.zeros((H, W), np.uint8)  # rows 1 and 2, columns 1 to 4
BOX[1:3, 1:5] = 1
DISC = np.zeros((H, W), np.uint8)  # of radius 1 around the corner (4, 4)
DISC[3:5, 3:5] = 1
FULL = np.zeros((H, W), np.uint8)
FULL[2:5, 3:7] = 1
PAIRS = [[x, y] for x, y in zip(OUTER[::2], OUTER[1::2], strict=True)]


def png(mask):
    return base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()


OPAQUE = png(np.dstack([np.zeros((H, W, 3), np.uint8), RING * 255]))  # black, and nothing around it


def none(name):
    return None


def of_this_size(name):
    return (H, W) if base_name(name).startswith("a") else None


# A content of each format, and how a file of it is written.

LABELME = {
    "version": "5.5.0",
    "shapes": [
        {"label": "polygon", "points": PAIRS, "shape_type": "polygon"},
        {"label": "old", "points": PAIRS},
        {"label": "box", "points": [[5, 3], [1, 1]], "shape_type": "rectangle"},
        {"label": "corners", "points": [[1, 1], [5, 1], [5, 3], [1, 3]], "shape_type": "rectangle"},
        {"label": "disc", "points": [[4, 4], [4, 5]], "shape_type": "circle"},
        {
            "label": "mask",
            "points": [[3, 2], [6, 4]],
            "shape_type": "mask",
            "mask": png(RING[2:5, 3:7] * 255),
        },
    ],
    "imagePath": "..\\images\\a.png",
    "imageHeight": H,
    "imageWidth": W,
}


def result(kind, value, **more):
    whole = {"original_width": W, "original_height": H, "image_rotation": 0}
    return {"id": kind, "type": f"{kind}labels", "to_name": "image", **whole, "value": value, **more}


def percent(points):
    return [[100 * x / W, 100 * y / H] for x, y in points]


STUDIO = [
    {
        "id": 41,
        "data": {"image": "/data/upload/1/0a1b2c3d-a%20b.png", "note": "x"},
        "annotations": [
            {"result": [result("polygon", {"points": [[0, 0], [9, 0], [0, 9]], "polygonlabels": ["wrong"]})]},
            {
                "result": [
                    result("polygon", {"points": percent(PAIRS), "polygonlabels": ["polygon"]}),
                    result(
                        "rectangle",
                        {"x": 100 / W, "y": 100 / H, "width": 400 / W, "height": 200 / H, "rectanglelabels": ["box"]},
                    ),
                    result(
                        "rectangle",  # the same, turned about its corner
                        {
                            "x": 500 / W, "y": 100 / H, "width": 200 / W, "height": 400 / H,
                            "rotation": 90, "rectanglelabels": ["turned"],
                        },
                    ),
                    result(
                        "ellipse",
                        {"x": 400 / W, "y": 400 / H, "radiusX": 100 / W, "radiusY": 100 / H, "ellipselabels": ["disc"]},
                    ),
                    result(
                        "brush",
                        {"format": "rle", "rle": brush.encode(rle.encode(RING), (H, W)), "brushlabels": ["mask"]},
                    ),
                    result("bitmask", {"imageDataURL": f"data:image/png;base64,{OPAQUE}", "bitmasklabels": ["bitmask"]}),
                    {"id": "c", "type": "choices", "value": {"choices": ["good"]}},
                ]
            },
            {"was_cancelled": True, "result": []},
        ],
    },
    {"id": 42, "data": {"image": "s3://b/c.png"}, "annotations": []},
]  # fmt: skip

CVAT = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels><label><name>polygon</name></label><label><name>unused</name></label>
</labels></job></meta>
<image id="7" name="day 1/a.png" width="{W}" height="{H}">
<polygon label="polygon" points="3.00,2.00;7.00,2.00;7.00,5.00;3.00,5.00" z_order="0"></polygon>
<box label="box" xtl="1" ytl="1" xbr="5" ybr="3"/>
<box label="turned" xtl="2" ytl="0" xbr="4" ybr="4" rotation="90"/>
<ellipse label="disc" cx="4" cy="4" rx="1" ry="1"/>
<mask label="mask" rle="0,5,2,5" left="3" top="2" width="4" height="3"><attribute name="x">y</attribute></mask>
<tag label="whole"/>
</image></annotations>"""

VOC = f"""<annotation><filename>a.jpg</filename><size><width>{W}</width><height>{H}</height><depth>1</depth></size>
<object><name>box</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>3</ymax></bndbox></object>
<object><name>dot</name><bndbox><xmin>12</xmin><ymin>8</ymin><xmax>12</xmax><ymax>8</ymax></bndbox></object></annotation>"""

SHARES = " ".join(f"{x / W} {y / H}" for x, y in PAIRS)
YOLO = f"1 {SHARES}\n0 {3 / W} {2 / H} {4 / W} {2 / H}\n"


def write_yolo(folder, text=YOLO, names="names:\n  0: box\n  1: polygon\n", name="data.yaml"):
    (folder / "labels").mkdir(parents=True)
    (folder / "labels" / "a.txt").write_text(text)
    if names:
        (folder / name).write_text(names)
    return folder


def write_text(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_labelme(tmp_path):
    (tmp_path / "in").mkdir()
    write_json(tmp_path / "in" / "a.json", LABELME)
    labels = reading.read(tmp_path / "in", none)
    assert labels.format == "labelme" and labels.images[0].name == "..\\images\\a.png"
    assert masks_of(labels) == {
        name: mask.tolist()
        for name, mask in {
            "polygon": FULL,
            "old": FULL,
            "box": BOX,
            "corners": BOX,
            "disc": DISC,
            "mask": RING,
        }.items()
    }
    assert list(labels.class_ids) == ["box", "corners", "disc", "mask", "old", "polygon"]


def test_label_studio(tmp_path):
    labels = reading.read(write_json(tmp_path / "export.json", STUDIO), none)
    masks = {"polygon": FULL, "box": BOX, "turned": BOX, "disc": DISC, "mask": RING, "bitmask": RING}
    assert masks_of(labels) == {name: mask.tolist() for name, mask in masks.items()}
    assert [image.image_id for image in labels.images] == [41]
    words = " ".join(labels.notes.sentences())
    assert "1 tasks have several annotations, of which the last is taken" in words
    assert (
        "1 results have no class or no area" in words
        and "1 tasks without a label and without an image" in words
    )
    labels = reading.read(tmp_path / "export.json", lambda name: (H, W))
    assert len(labels.images) == 2
    assert "1 tasks have no annotation, and count as free of defects" in " ".join(labels.notes.sentences())
    write_json(tmp_path / "export.json", [STUDIO[1] | {"predictions": STUDIO[0]["annotations"]}])
    labels = reading.read(tmp_path / "export.json", lambda name: (H, W))
    assert masks_of(labels) == {} and "have predictions that nobody accepted" in labels.notes.sentences()[0]


def test_cvat(tmp_path):
    labels = reading.read(write_text(tmp_path / "annotations.xml", CVAT), none)
    turned = np.zeros((H, W), np.uint8)
    turned[1:3, 1:5] = 1
    masks = {"polygon": FULL, "box": BOX, "turned": turned, "disc": DISC, "mask": RING}
    assert masks_of(labels) == {name: mask.tolist() for name, mask in masks.items()}
    assert labels.images[0].image_id == "7" and "unused" in labels.class_ids
    assert "1 tags of whole images are left out" in labels.notes.sentences()[0]


def test_pascal_voc(tmp_path):
    labels = reading.read(write_text(tmp_path / "a.xml", VOC), none)
    assert masks_of(labels) == {"box": BOX.tolist(), "dot": DOT.tolist()}
    assert "2 labels are boxes alone, which are filled" in labels.notes.sentences()[0]
    turn = "<attributes><attribute><name>rotation</name><value>90.0</value></attribute></attributes></object>"
    write_text(tmp_path / "a.xml", VOC.replace("</object>", turn, 1))  # as CVAT has boxes that are turned
    turned = np.zeros((H, W), int)
    turned[0:4, 2:4] = 1
    assert masks_of(reading.read(tmp_path / "a.xml", none))["box"] == turned.tolist()


@pytest.mark.parametrize(
    "name, names", [("data.yaml", "names: [box, polygon]"), ("classes.txt", "box\npolygon\n\n")]
)
def test_yolo(tmp_path, name, names):
    labels = reading.read(write_yolo(tmp_path / "set", name=name, names=names), of_this_size)
    assert masks_of(labels) == {"polygon": FULL.tolist(), "box": BOX.tolist()}
    assert labels.class_ids == {"box": 0, "polygon": 1}
    (tmp_path / "set" / "labels" / "b.txt").write_text(YOLO)
    labels = reading.read(tmp_path / "set" / name if name == "data.yaml" else tmp_path / "set", of_this_size)
    assert "1 files of labels have no image and are left out" in " ".join(labels.notes.sentences())


SHAPE, VALUE = ["shapes", 0], [0, "annotations", 1, "result"]
WRONG_LABELME = [
    (["imageHeight"], None, "height is None. It must be a whole number"),
    (["imageWidth"], 0, "width is 0. It must be a whole number from 1"),
    (["imagePath"], 5, "imagePath is 5. It must be a text"),
    (["shapes"], {}, "shapes is .*It must be a list"),
    (SHAPE, 7, "shape 1: this is 7. It must be an object"),
    ([*SHAPE, "label"], "", "shape 1: label is ''. It must be a text"),
    ([*SHAPE, "points"], [[1, 2], [3, 4]], "pairs of numbers, 3 or more"),
    ([*SHAPE, "points", 0], [1, 2, 3], "pairs of numbers"),
    ([*SHAPE, "shape_type"], "linestrip", "shape 1 is a linestrip, which has no area"),
    (["shapes", 5, "mask"], "no base64!", "shape 6: mask is .* It must be a PNG in base64"),
    (
        ["shapes", 5, "points"],
        [[10, 2], [13, 4]],
        "shape 6: its mask of 3 x 4 pixels at row 2, column 10 is outside",
    ),
]
WRONG_STUDIO = [
    ([0], 3, "task 1: this is 3. It must be an object"),
    ([0, "data"], None, "task 1: data is missing"),
    (
        [1],
        {"image": "a.png", "label": []},
        "task 2 has no data and no annotations. Export as JSON, not as JSON-MIN",
    ),
    ([0, "data"], {"one": "x", "two": "y"}, "image in its data is missing. It must be a text"),
    ([0, "annotations"], "x", "annotations is 'x'. It must be a list"),
    ([*VALUE, 0, "image_rotation"], 90, "its image was turned by 90 degrees"),
    ([*VALUE, 0, "original_width"], 13, "its results state several sizes"),
    ([*VALUE, 0, "value", "points", 0], [1], "pairs of numbers"),
    ([*VALUE, 1, "value", "width"], "wide", "width is 'wide'. It must be a number"),
    ([*VALUE, 1, "value", "height"], None, "a rectanglelabels has no area"),
    ([*VALUE, 4, "value", "rle"], [1, 2, 3], "whole to the end"),
    ([*VALUE, 4, "value", "rle"], [0, 300], "rle is .* It must be brush strokes"),
    (
        [*VALUE, 5, "value", "imageDataURL"],
        "data:image/png;base64,x",
        "imageDataURL is 'x'. It must be a PNG",
    ),
    (
        [*VALUE, 5, "value", "imageDataURL"],
        f",{png(RING)}",
        "imageDataURL is '8 x 12'. It must be a PNG of 8 x 12 pixels",
    ),
    ([*VALUE, 4, "value", "rle", 3], 4, "the size of its rle is 65. It must be 8 x 12 pixels"),
]
WRONG_CVAT = [
    ("</annotations>", "", "is not valid XML"),
    ("<?xml", '<!DOCTYPE a [<!ENTITY b "c">]><?xml', "has a document type"),
    (f'width="{W}" height="{H}"', "", "image 1: height is None"),
    ('name="day 1/a.png"', "", "image 1: name is missing"),
    ('label="polygon" points', "points", "shape 1: label is missing"),
    ("3.00,2.00;", "3.00;2.00;", "shape 1: a list of points is"),
    ("7.00,2.00", "nan,2.00", "shape 1: a list of points is"),
    ('xtl="1"', 'xtl="one"', "shape 2: xtl is 'one'. It must be a number"),
    ('rle="0,5', 'rle="0,6', "shape 5: its mask of 13 pixels is no box of 3 x 4"),
    ('left="3"', 'left="9"', "is no box of 3 x 4 in the image of 8 x 12"),
    ("<polygon ", "<polyline ", "is not valid XML"),
    (
        '<tag label="whole"/>',
        '<polyline label="a" points="1,2"/>',
        "shape 6 is a polyline, which has no area",
    ),
    ("<version>1.1</version>", '<track id="0"></track>', "is of CVAT for video"),
]
WRONG_VOC = [
    ("<annotation>", "<annotations_>", "is not valid XML"),
    ("</annotation>", "", "is not valid XML"),
    (f"<width>{W}</width>", "<width>0</width>", "width is '0'"),
    (f"<height>{H}</height>", "", "height is None"),
    ("<name>box</name>", "", "object 1: name is missing"),
    ("<name>box</name>", "<name> </name>", "object 1: name is missing"),
    ("<xmin>2</xmin>", "", "object 1: xmin is None. It must be a number"),
    ("<xmin>2</xmin>", "<xmin>two</xmin>", "object 1: xmin is 'two'"),
    ("<xmin>2</xmin>", "<xmin>6</xmin>", "object 1: its box ends before it begins"),
    ("<ymax>3</ymax>", "<ymax>inf</ymax>", "object 1: ymax is 'inf'"),
]
WRONG_YOLO = [
    ({"names": ""}, "has no data.yaml and no classes.txt"),
    ({"names": "names: [box"}, "is not valid YAML"),
    ({"names": "nc: 2"}, "names is missing. It must be a list"),
    ({"names": "names: [box, box]"}, "a name of a class is missing or there twice"),
    ({"names": "names: {1: box, 2: polygon}"}, "names is .* It must be a list"),
    ({"names": "\n", "name": "classes.txt"}, "a name of a class is missing or there twice"),
    ({"text": f"2 {SHARES}"}, "line 1: the class is '2'. It must be a whole number from 0 to 1"),
    ({"text": f"box {SHARES}"}, "line 1: the class is 'box'"),
    ({"text": "0 0.1 0.2 0.3"}, "line 1: a list of points is"),
    ({"text": "0 0.1 0.2 0.3 0.4 0.5 x"}, "line 1: a coordinate is 'x'"),
    ({"text": "\n0 30 20 70 20 70 50"}, "line 2: a coordinate is '30'. It must be a number from -1 to 2"),
]


@pytest.mark.parametrize("path, value, says", WRONG_LABELME)
def test_a_wrong_labelme_file_is_refused_with_a_sentence(tmp_path, path, value, says):
    refused(write_json(tmp_path / "a.json", changed(LABELME, path, value)), "labelme", says)


@pytest.mark.parametrize("path, value, says", WRONG_STUDIO)
def test_a_wrong_label_studio_file_is_refused_with_a_sentence(tmp_path, path, value, says):
    refused(write_json(tmp_path / "a.json", changed(STUDIO, path, value)), "label-studio", says)


@pytest.mark.parametrize("old, new, says", WRONG_CVAT)
def test_a_wrong_cvat_file_is_refused_with_a_sentence(tmp_path, old, new, says):
    assert old in CVAT
    refused(write_text(tmp_path / "a.xml", CVAT.replace(old, new, 1)), "cvat", says)


@pytest.mark.parametrize("old, new, says", WRONG_VOC)
def test_a_wrong_voc_file_is_refused_with_a_sentence(tmp_path, old, new, says):
    assert old in VOC
    refused(write_text(tmp_path / "a.xml", VOC.replace(old, new, 1)), "voc", says)


@pytest.mark.parametrize("parts, says", WRONG_YOLO)
def test_a_wrong_yolo_folder_is_refused_with_a_sentence(tmp_path, parts, says):
    refused(write_yolo(tmp_path / "set", **parts), "yolo", says)


def refused(path, format, says):
    with pytest.raises(UserError, match=says) as error:
        reading.read(path, of_this_size, format)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, text, says",
    [
        ("a.json", "{}", "holds no labels that are known"),
        ("a.json", "{", "is not valid JSON"),
        ("a.zip", "PK", "is an archive. Unpack it"),
        ("a.png", "x", "holds no labels that are known"),
        ("a.xml", "<svg/>", "begins with <svg>, not <annotation>"),
        ("a.xml", "\udcff", "is not UTF-8 text"),
    ],
)
def test_what_is_no_file_of_labels_is_named(tmp_path, name, text, says):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=says):
        reading.read(tmp_path / name, none)
    with pytest.raises(UserError, match="does not exist"):
        reading.read(tmp_path / "gone", none)


def spoilt(value, rng):
    """A copy of JSON content with one value somewhere in it replaced by another kind."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        copy = value.copy()
        key = list(copy)[rng.integers(len(copy))] if isinstance(copy, dict) else rng.integers(len(copy))
        copy[key] = spoilt(copy[key], rng)
        return copy
    others = [None, [], {}, "", "x", -1, 1e300, 2**70, True, [[]], [None], {"a": 1}, float("nan"), "\x00"]
    return others[rng.integers(len(others))]


@pytest.mark.parametrize(
    "content, format", [(coco_content(), "coco"), (LABELME, "labelme"), (STUDIO, "label-studio")]
)
def test_whatever_stands_in_a_file_there_is_a_sentence_or_a_result(tmp_path, content, format):
    rng = np.random.default_rng(0)
    for _ in range(100):
        path = write_json(tmp_path / "a.json", spoilt(content, rng))
        try:
            reading.read(path, of_this_size, format)
        except UserError as error:
            assert len(str(error)) < 600


def test_names_in_labels_find_their_images():
    names = ImageNames(["a.png", "day 1/b.png", "day 2/b.png", "e\u0301.png", "0a1b2c3d-c.png"], "labels")
    assert names.find("a.png") == names.find("C:\\images\\a.png") == names.find("a") == "a.png"
    assert (
        names.find("/data/upload/3/deadbeef-a.png") == names.find("/data/local-files/?d=x/a.png") == "a.png"
    )
    assert names.find("https://host/a.png?token=1") == names.find("a.jpg") == "a.png"
    assert names.find("x/day 2/b.png") == "day 2/b.png"
    assert names.find("\u00e9.png") == "e\u0301.png" and names.find("0a1b2c3d-c.png") == "0a1b2c3d-c.png"
    assert names.find("gone.png") == ""
    nested = ImageNames(["a.png", "day 1/a.png"], "labels")
    assert nested.find("../in/a.png") == "a.png" and nested.find("../in/day 1/a.png") == "day 1/a.png"
    dotted = ImageNames(
        ["s.1_jpg.rf.0a.jpg", "s.2.png", "s.png"], "labels"
    )  # a label file's name has no ending
    assert dotted.find("s.1_jpg.rf.0a") == "s.1_jpg.rf.0a.jpg" and dotted.find("raw/s.2.tif") == "s.2.png"
    assert dotted.find("s") == "s.png" and dotted.find("s.3") == dotted.find("s.1_jpg.rf.0b") == ""
    with pytest.raises(
        UserError, match=r"labels names b\.png, and that is what day 1/b\.png and day 2/b\.png"
    ):
        names.find("b.png")
    with pytest.raises(UserError, match=r"labels has a\.png and x/a\.png, which are both a\.png"):
        names.find_all(["a.png", "x/a.png"])


def test_a_date_before_a_name_is_no_mark_of_label_studios():
    """Images of two days, and labels of three: each name has eight digits in front, and so has its file."""
    names = ImageNames(["20240101-01.png", "20240102-01.png", "20240102-02.png"], "labels")
    assert names.find("20240101-01.png") == names.find("20240101-01") == "20240101-01.png"
    assert names.find("20240102-02.jpg") == names.find("deadbeef-20240102-02.png") == "20240102-02.png"
    assert names.find("20240103-01.png") == names.find("20240103-02.png") == names.find("20240103-02") == ""
    assert (
        names.find("02.png") == names.find("02") == "20240102-02.png"
    )  # as if it were renamed before labelling


def test_names_of_other_folders_are_not_those_of_this_one():
    """Many days have an image 1: labels of all of them, and the images of one."""
    names = ImageNames(["1.png", "2.png"], "labels", "/data/day 2")
    listed = ["day1/1.png", "/data/local-files/?d=day%202/1.png", "day1/2.png"]
    assert names.find_all(listed) == {listed[1]: "1.png"}
    assert len(names.find_all(listed[1:])) == 2  # as if the folder had another name once
    assert names.find_all(["other/1.png", "2"]) == {"other/1.png": "1.png", "2": "2.png"}  # nobody says day 2
    with pytest.raises(UserError, match="which are both"):
        names.find_all(["a/1.png", "b/1.png"])


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
def test_brush_strokes_come_back_to_the_pixel(share):
    mask = (np.random.default_rng(2).random((64, 90)) < share).astype(np.uint8)
    assert np.array_equal(brush.decode(brush.encode(rle.encode(mask), (64, 90)), (64, 90), "x"), mask)


def test_brush_strokes_as_label_studio_writes_them():
    """Eight values by hand: 2 pixels, the first of them opaque; repeated ones, single ones, other lengths."""
    head = f"{8:032b}" + f"{7:05b}" + "".join(f"{length - 1:04b}" for length in (3, 4, 8, 16))
    single = "0" + "00" + f"{2:03b}" + "".join(f"{value:08b}" for value in (9, 9, 9))
    repeated = "1" + "01" + f"{0:04b}" + f"{255:08b}" + "1" + "10" + f"{3:08b}" + f"{127:08b}"
    bits = head + single + repeated
    bits += "0" * (-len(bits) % 8)
    values = [int(bits[index : index + 8], 2) for index in range(0, len(bits), 8)]
    assert brush.decode(values, (1, 2), "x").tolist() == [[1, 0]]


def regions():
    """Pieces of an image of 60 x 80: one with a hole, a disc, a line of single pixels."""
    ring = cv2.circle(np.zeros((60, 80), np.uint8), (20, 20), 15, 1, 4)
    disc = cv2.circle(np.zeros((60, 80), np.uint8), (55, 30), 12, 1, -1)
    line = np.zeros((60, 80), np.uint8)
    line[np.arange(50, 60), np.arange(60, 70)] = 1
    return {"ring": ring, "disc": disc, "line": line}


def test_labelme_files_come_back_within_a_pixel_of_the_edge(tmp_path):
    pieces = [(name, rle.encode(mask)) for name, mask in regions().items()]
    content = labelme.document("../a.png", (60, 80), pieces)
    assert [shape["shape_type"] for shape in content["shapes"]] == ["mask", "polygon", "mask"]
    labels = reading.read(write_json(tmp_path / "a.json", content), none)
    for name, mask in regions().items():
        back = np.array(masks_of(labels)[name])
        edge = cv2.dilate(mask, np.ones((3, 3))) != cv2.erode(mask, np.ones((3, 3)), borderValue=0)
        assert not ((back != mask) & ~edge).any() and back.any()
    assert np.array_equal(np.array(masks_of(labels)["ring"]), regions()["ring"])


def test_label_studio_tasks_come_back_to_the_pixel(tmp_path):
    pieces = [(name, rle.encode(mask), 0.5) for name, mask in regions().items()]
    task = label_studio.task("a.png", (60, 80), pieces, "run", 3)
    task["annotations"] = task.pop("predictions")  # as if they were accepted
    labels = reading.read(write_json(tmp_path / "a.json", [task]), none)
    assert masks_of(labels) == {name: mask.tolist() for name, mask in regions().items()}
    assert labels.images[0].image_id == 3
