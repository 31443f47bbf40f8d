"""Labels of other tools: masks drawn by hand, as each format has them, come out to the pixel."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as cocomask

from lib.data import rle
from lib.data.labels import coco, filling, reading
from lib.errors import UserError

H, W = 8, 12
RING = np.zeros((H, W), np.uint8)  # 3 x 4 pixels around a hole of 1 x 2
RING[2:5, 3:7] = 1
RING[3, 4:6] = 0
DOT = np.zeros((H, W), np.uint8)
DOT[7, 11] = 1
OUTER, INNER = [3, 2, 7, 2, 7, 5, 3, 5], [4, 3, 6, 3, 6, 4, 4, 4]


def masks_of(labels, index=0):
    """{class: mask} of one image of a label set."""
    image = labels.images[index]
    return {name: rle.decode(text, image.shape).tolist() for name, text in image.rles().items()}


@pytest.mark.parametrize(
    "ring, expected",
    [
        ([[1, 1], [4, 1], [4, 3], [1, 3]], (slice(1, 3), slice(1, 4))),
        ([[1.5, 1.5], [3.5, 1.5], [3.5, 2.5], [1.5, 2.5]], (slice(1, 2), slice(1, 3))),  # edges on middles
        ([[1.4, 1.4], [3.6, 1.4], [3.6, 2.6], [1.4, 2.6]], (slice(1, 3), slice(1, 4))),
        ([[-5, -5], [2, -5], [2, 1], [-5, 1]], (slice(0, 1), slice(0, 2))),  # cut off at the image
        ([[2, 2], [2, 2], [2, 2]], (slice(0, 0), slice(0, 0))),
    ],
)
def test_a_pixel_belongs_to_an_outline_if_its_middle_lies_inside(ring, expected):
    mask = np.zeros((4, 6), np.uint8)
    mask[expected] = 1
    assert filling.fill([np.array(ring, float)], (4, 6)).tolist() == mask.tolist()


def test_neighbours_share_no_pixel_and_leave_none_between_them():
    corner, others = [4.3, 3.1], [[0, 0], [12, 0], [12, 8], [0, 8]]
    parts = [np.array([corner, others[index - 1], others[index]], float) for index in range(4)]
    assert (sum(filling.fill([part], (H, W)).astype(int) for part in parts) == 1).all()


def test_outlines_of_any_mask_give_it_back():
    rng = np.random.default_rng(0)
    for share in np.linspace(0, 1, 40):
        mask = (rng.random(rng.integers(1, 12, 2)) < share).astype(np.uint8)
        rings = filling.outlines(mask)
        assert np.array_equal(filling.fill(rings, mask.shape), mask)
        assert np.array_equal(filling.fill_nested(rings, mask.shape)[0], mask)


def test_fewer_corners_move_the_edge_alone():
    disc = cv2.circle(np.zeros((60, 80), np.uint8), (40, 30), 20, 1, -1)
    rings = filling.outlines(disc)
    plain = filling.simpler(rings, disc.shape)
    assert len(plain[0]) < len(rings[0]) / 2
    changed = filling.fill(plain, disc.shape) != disc
    assert not (changed & (cv2.dilate(disc, np.ones((3, 3))) == cv2.erode(disc, np.ones((3, 3))))).any()
    line = np.eye(9, dtype=np.uint8)  # which would be lost
    assert np.array_equal(filling.fill(filling.simpler(filling.outlines(line), line.shape), line.shape), line)


def test_outlines_are_filled_as_by_pycocotools_but_for_the_edge():
    angles = np.sort(np.random.default_rng(1).random((20, 9)) * 2 * np.pi)
    for turns in angles:
        ring = np.column_stack([30 + 25 * np.cos(turns), 20 + 18 * np.sin(turns)])
        theirs = cocomask.decode(cocomask.merge(cocomask.frPyObjects([ring.ravel().tolist()], 40, 60)))
        edge = cv2.dilate(theirs, np.ones((3, 3))) != cv2.erode(theirs, np.ones((3, 3)))
        assert not ((filling.fill([ring], (40, 60)) != theirs) & ~edge).any()


def test_an_ellipse_has_the_pixels_whose_middle_lies_in_it():
    plain = filling.ellipse((4, 3), (3, 1), 0, (6, 8))
    assert plain.tolist() == filling.ellipse((4, 3), (1, 3), 90, (6, 8)).tolist()
    assert plain.sum(axis=1).tolist() == [0, 0, 6, 6, 0, 0]  # (2.5 / 3)^2 + 0.5^2 < 1


def coco_content():
    """A ring as outlines, as plain and as compressed run-lengths, a box, and an image without labels."""
    lengths = coco.counts(rle.encode(RING), (H, W))
    segmentations = [
        [INNER, OUTER],
        {"size": [H, W], "counts": lengths},
        coco.segmentation(rle.encode(RING), (H, W)),
    ]
    annotations = [
        {"image_id": 5, "category_id": index, "segmentation": one}
        for index, one in enumerate(segmentations, 1)
    ]
    annotations.append({"image_id": 5, "category_id": 1, "segmentation": [], "bbox": [11, 7, 1, 1]})
    entries = [{"id": index, "file_name": f"{index}.png", "height": H, "width": W} for index in (5, 6)]
    return coco.document(entries, annotations, ["outline", "plain", "compressed"])


def write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_coco_in_all_its_forms(tmp_path):
    labels = reading.read(write_json(tmp_path / "a.json", coco_content()), lambda name: None)
    outline = (RING | DOT).tolist()
    assert masks_of(labels) == {"outline": outline, "plain": RING.tolist(), "compressed": RING.tolist()}
    assert [(image.name, image.image_id) for image in labels.images] == [("5.png", 5), ("6.png", 6)]
    assert labels.class_ids == {"outline": 1, "plain": 2, "compressed": 3}
    assert labels.notes.sentences() == [
        f"1 labels have an outline within another, which is taken as a hole, such as {tmp_path / 'a.json'}: annotation 1.",
        f"1 labels are boxes alone, which are filled, such as {tmp_path / 'a.json'}: annotation 4.",
    ]
    assert masks_of(labels, 1) == {}


def test_coco_as_other_tools_write_it(tmp_path):
    """Roboflow names a category as the project, Label Studio knows no size of images without labels, and CVAT keeps
    a turned box as it was before."""
    content = coco_content()
    content["categories"] = [{"id": index, "name": name} for index, name in ((0, "spot"), (1, "spot"))]
    content["images"][1] |= {"height": None, "width": None}
    box = {
        "image_id": 5,
        "category_id": 1,
        "segmentation": [],
        "bbox": [3, 1, 2, 4],
        "attributes": {"rotation": 90.0},
    }
    content["annotations"] = [box]
    labels = reading.read(write_json(tmp_path / "a.json", content), lambda name: (H, W))
    turned = np.zeros((H, W), int)
    turned[2:4, 2:6] = 1
    assert masks_of(labels) == {"spot": turned.tolist()} and labels.images[1].shape == (H, W)
    assert labels.class_ids == {"spot": 1}
    assert "1 categories have the name of another and are one class with it" in labels.notes.sentences()[0]


def changed(content, path, value):
    """A copy of JSON content with one value replaced, or taken out where `value` is None."""
    content = json.loads(json.dumps(content))
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return content


@pytest.mark.parametrize(
    "path, value, says",
    [
        (["images"], None, "images is missing. It must be a list"),
        (["images", 0, "id"], [1], "image 1: id is .1.. It must be a whole number or a text"),
        (["images", 0, "file_name"], "", "image 1: file_name is ''. It must be a text"),
        (["images", 0, "height"], 2**20 + 1, "height is 1048577. It must be a whole number from 1"),
        (["images", 1, "id"], 5, "image 2: the id 5 is there twice"),
        (["categories", 1, "id"], 1, "category 2: the id 1 is there twice"),
        (["annotations", 0], "x", "annotation 1: this is 'x'. It must be an object"),
        (["annotations", 0, "category_id"], 9, "annotation 1: there is no category with the id 9"),
        (["annotations", 0, "segmentation", 0], [1, 2, 3], "annotation 1: a list of points is"),
        (["annotations", 0, "segmentation", 0, 0], float("nan"), "pairs of numbers"),
        (["annotations", 1, "segmentation", "counts", 0], -3, "counts is -3. It must be a whole number"),
        (["annotations", 1, "segmentation", "size"], [W, H], "size of its run-lengths is .12, 8."),
        (["annotations", 2, "segmentation", "counts"], "0~", "It must be compressed run-lengths of COCO"),
        (["annotations", 2, "segmentation", "counts"], "P", "whole to the end"),
        (["annotations", 3, "bbox"], [1, 2, 3], "annotation 4: a list of points is"),
    ],
)
def test_a_coco_file_that_is_not_one_is_refused_with_a_sentence(tmp_path, path, value, says):
    file = write_json(tmp_path / "a.json", changed(coco_content(), path, value))
    with pytest.raises(UserError, match=says):
        reading.read(file, lambda name: None)
