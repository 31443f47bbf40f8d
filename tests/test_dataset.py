"""Data folders: both schemas, every kind of bad row and file, near-duplicates, the split."""

import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lib.data import alignment, class_names, dataset, duplicates, images, likeness, pseudo_labels, splitting
from lib.errors import UserError
from lib.files import write_json
from lib.inference import submission
from lib.paths import PROJECT

REAL = Path(os.environ.get("SEVERSTAL_REAL", PROJECT.parent / "shared" / "data")) / "severstal_real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real strips of ../shared are not here")
CURRENT = "ImageId,ClassId,EncodedPixels\n"
OLD = "ImageId_ClassId,EncodedPixels\n"
SHAPE = (32, 64)


def picture(seed, shape=SHAPE):
    """Coarse random texture, so that a small shift or a brighter copy is still the same picture."""
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 250 + 120, 0, 255).astype(np.uint8)


def make(folder, csv, names=("a.jpg", "b.jpg", "c.jpg"), classes=4, tests=("t.jpg",)):
    """A data folder with one small picture a name; `csv` is train.csv's text or bytes, None for no such
    file."""
    for part, part_names in (("train_images", names), ("test_images", tests)):
        (folder / part).mkdir(parents=True)
        for number, name in enumerate(part_names):
            (folder / part / name).write_bytes(cv2.imencode(".jpg", picture(number))[1].tobytes())
    write_json(folder / "dataset.json", {"classes": classes, "height": SHAPE[0], "width": SHAPE[1]})
    if csv is not None:
        (folder / "train.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    return folder


def test_current_schema(tmp_path):
    table = dataset.load_table(make(tmp_path, CURRENT + "c.jpg,3,1 5\na.jpg,1,2 2\na.jpg,4,9 1\n"))
    assert table["image_id"].tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert table[dataset.rle_columns(table)].values.tolist() == [
        ["2 2", "", "", "9 1"],
        [""] * 4,
        ["", "", "1 5", ""],
    ]
    assert table["path"][1] == str(tmp_path / "train_images" / "b.jpg")
    labels = dataset.labels(table)
    assert labels.dtype == np.uint8 and labels.tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize("csv", [
    "\ufeff" + OLD + "a.jpg_1,1 5\na.jpg_2,\na.jpg_3,\na.jpg_4,\nb.jpg_4,\"3 4\"\n",  # byte order mark, quotes
    "EncodedPixels,ImageId_ClassId\r\n1 5,a.jpg_1\r\n,a.jpg_2\r\n3 4,b.jpg_4\r\n\r\n",  # other order, other line ends, blank line
    OLD + "a.jpg_1,1 5\nc.jpg_1\nb.jpg_4,3 4",  # a line that ends early, no line end at the end
])  # fmt: skip
def test_schema_of_2019(tmp_path, csv):
    table = dataset.load_table(make(tmp_path, csv))
    assert table[dataset.rle_columns(table)].values.tolist() == [
        ["1 5", "", "", ""],
        ["", "", "", "3 4"],
        [""] * 4,
    ]


@pytest.mark.parametrize("blank", [" ", "   ", "\t", "\u00a0", '" "', "  \t"])
def test_blank_is_empty(tmp_path, blank):
    folder = make(
        tmp_path, OLD + f"a.jpg_1,1 5\nb.jpg_1,{blank}\n{blank},{blank}\n", names=("a.jpg", "b.jpg")
    )
    assert dataset.labels(dataset.load_table(folder)).tolist() == [[1, 0, 0, 0], [0] * 4]
    assert not len(dataset.check(folder))


def test_spaces_around_values_are_no_part_of_them(tmp_path):
    folder = make(tmp_path, " ImageId, ClassId ,EncodedPixels\n a.jpg , 2 ,  2  2\u00a09\t1 \n")
    table = dataset.load_table(folder)
    assert table[dataset.rle_columns(table)].values.tolist() == [["", "2 2 9 1", "", ""], [""] * 4, [""] * 4]


def test_rows_of_one_image_and_class_are_objects_of_one_mask(tmp_path):
    folder = make(
        tmp_path, CURRENT + "a.jpg,1,9 5\na.jpg,1,1 5\na.jpg,1,6 1 20 2\nb.jpg,2,3 3\nb.jpg,2,3 3\n"
    )
    table = dataset.load_table(folder)
    assert table[["rle_1", "rle_2"]].values.tolist() == [["1 6 9 5 20 2", ""], ["", "3 3"], ["", ""]]
    found = dataset.check(folder)
    assert (
        found[["row", "severity"]].values.tolist() == [[3, "warning"]]
        and "3 rows, this one first" in found["what"][0]
    )
    (folder / "test_truth.csv").write_text(CURRENT + "t.jpg,2,1 5\nt.jpg,2,9 5\n")
    truth = dataset.load_truth(folder, dataset.load_test_table(folder))
    assert truth["rle_2"].tolist() == ["1 5 9 5"]


@pytest.mark.parametrize("on_disk, in_table", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_the_same_composed_and_decomposed(tmp_path, on_disk, in_table):
    name, other = (unicodedata.normalize(form, "b\u00fcrste.jpg") for form in (on_disk, in_table))
    folder = make(tmp_path, CURRENT + f"{other},3,1 5\n", names=("a.jpg", name), tests=(name,))
    (folder / "test_truth.csv").write_text(CURRENT + f"{other},1,2 5\n")
    table = dataset.load_table(folder)
    assert table["image_id"].tolist() == ["a.jpg", name] and dataset.labels(table)[1].tolist() == [0, 0, 1, 0]
    assert dataset.load_truth(folder, dataset.load_test_table(folder))["rle_1"].tolist() == ["2 5"]
    (folder / "sample_submission.csv").write_text(f"ImageId_ClassId,EncodedPixels\n{other}_1,\n")
    assert submission.expected(folder, dataset.load_test_table(folder))[0]["image_id"].tolist() == [name]


def test_two_files_whose_names_differ_only_in_form_stay_two(tmp_path):
    names = [unicodedata.normalize(form, "\u00fc.jpg") for form in ("NFC", "NFD")]
    table = dataset.load_table(make(tmp_path, CURRENT + f"{names[0]},1,1 5\n{names[1]},2,1 5\n", names=names))
    assert {row["image_id"]: row["rle_1"] for _, row in table.iterrows()} == {names[0]: "1 5", names[1]: ""}


def test_ids_that_look_like_something_else(tmp_path):
    names = ["1e5.jpg", "=A1.JPG", "NA.jpg", "a,b.jpg", "<b>.jpg", "x_y_1.jpg"]
    csv = (
        OLD + 'NA.jpg_1,1 1\nx_y_1.jpg_2,1 1\n=A1.JPG_1,1 1\n1e5.jpg_1,1 1\n"a,b.jpg_1",1 1\n<b>.jpg_1,1 1\n'
    )
    table = dataset.load_table(make(tmp_path, csv, names, classes=2))
    assert table["image_id"].tolist() == sorted(names)
    assert dataset.labels(table).sum(axis=1).tolist() == [1] * 6


def test_truth_of_the_test_images(tmp_path):
    folder = make(tmp_path, CURRENT, tests=("s.jpg", "t.jpg", "u.jpg"))
    assert dataset.load_truth(folder, dataset.load_test_table(folder)) is None
    (folder / "test_truth.csv").write_text(CURRENT + "t.jpg,2,1 5\ns.jpg,1,3 3\n")
    truth = dataset.load_truth(folder, dataset.load_test_table(folder).iloc[1:])
    assert truth["image_id"].tolist() == ["t.jpg", "u.jpg"]
    assert truth[dataset.rle_columns(truth)].values.tolist() == [["", "1 5", "", ""], [""] * 4]
    (folder / "test_truth.csv").write_text(CURRENT + "t.jpg,2,1 5 9\n")
    with pytest.raises(UserError, match=r"test_truth.csv, row 2: .* odd"):
        dataset.load_truth(folder, dataset.load_test_table(folder))


@pytest.mark.parametrize("name, meant", [
    ("Classes", "classes"), ("CLASSES", "classes"), ("class", "classes"), ("num_classes", "classes"), ("heigth", "height"),
    ("Width", "width"), ("image_width", "width"), ("imageHeight", "height"), ("classNames", "class_names"), ("Generated", "generated"),
])  # fmt: skip
def test_a_name_in_the_description_that_is_nearly_another_is_told(tmp_path, name, meant):
    """It would be passed over, and the competition's value be taken."""
    folder = make(tmp_path, CURRENT)
    rest = {
        "classes": 4,
        "height": SHAPE[0],
        "width": SHAPE[1],
        "author": "me",
        "license": "own",
        "source": "x",
        "date": "",
    }
    write_json(folder / "dataset.json", rest)
    assert dataset.describe(folder)["author"] == "me"
    rest.pop(meant, None)
    write_json(folder / "dataset.json", rest | {name: 4})
    with pytest.raises(
        UserError, match=f"dataset.json sets '{name}', which means nothing. Call it {meant}, or"
    ):
        dataset.describe(folder)
    write_json(
        folder / "dataset.json",
        rest | {name: "of mine", meant: dataset.describe(make(tmp_path / "b", CURRENT))[meant]},
    )
    assert dataset.describe(folder)[name] == "of mine"  # both are set, so nothing is mistaken


@pytest.mark.parametrize("text", ["1 5\0", "1 5\0 9 9", "\0", "1 5\0x"])
def test_a_byte_of_zero_is_told_with_its_row(tmp_path, text):
    """pandas ends a value at it."""
    folder = make(tmp_path, CURRENT + f"a.jpg,1,1 5\nb.jpg,1,{text}\n")
    with pytest.raises(UserError, match=r"train\.csv, row 3: there is a byte of zero"):
        dataset.load_table(folder)
    with pytest.raises(UserError, match="row 3: there is a byte of zero"):
        dataset.check(folder)
    (tmp_path / "submission.csv").write_text(f"ImageId,EncodedPixels,ClassId\nt.jpg,{text},1\n")
    with pytest.raises(UserError, match=r"submission\.csv, row 2: there is a byte of zero"):
        submission.read(tmp_path / "submission.csv")


def test_twelve_classes_are_in_order(tmp_path):
    table = dataset.load_table(make(tmp_path, CURRENT + "a.jpg,12,1 1\na.jpg,2,5 1\n", classes=12))
    assert dataset.rle_columns(table) == [f"rle_{number}" for number in range(1, 13)]
    assert np.flatnonzero(dataset.labels(table)[0]).tolist() == [1, 11]


ROWS = [
    ("d.jpg,1,1 5", "row 3: the image 'd.jpg' is not in train_images"),
    ("../a.jpg,1,1 5", "row 3: the image's name '../a.jpg' is a path"),
    ("..,1,1 5", "row 3: .* is a path"),
    ("C:a.jpg,1,1 5", "row 3: .* is a path"),
    ("x\\a.jpg,1,1 5", "row 3: .* is a path"),
    ("a\x07.jpg,1,1 5", "row 3: .* cannot be printed"),
    (",1,1 5", "row 3: the image's name is empty"),
    ("b.jpg,5,1 5", "row 3: the class '5' is not a whole number from 1 to 4"),
    ("b.jpg,0,1 5", "row 3: the class '0'"),
    ("b.jpg,1.0,1 5", "row 3: the class '1.0'"),
    ("b.jpg,,1 5", "row 3: the class ''"),
    ("a.jpg,1,2 5", "row 3: image 'a.jpg' and class 1 have a row already, and 4 pixels in common with it"),
    ("a.jpg,1,", "row 3: image 'a.jpg' and class 1 have a row already, and one of the two is empty"),
    ("b.jpg,1,1", "row 3: .* odd count"),
    ("b.jpg,1,nan", "row 3: .* whole numbers"),
    ("b.jpg,1,9 1 1 1", "row 3: .* not sorted"),
    ("b.jpg,1,1 2 2 2", "row 3: .* overlaps"),
    ("b.jpg,1,1 0", "row 3: .* below 1"),
    ("b.jpg,1,-1 3", "row 3: .* whole numbers"),
    ("b.jpg,1,2048 2", "row 3: .* outside the image of 32 x 64"),
    ("b.jpg,1,1 5,7", "no proper CSV file .*line 3"),
    ('b.jpg,1,"1 5', "no proper CSV file"),
]


@pytest.mark.parametrize("row, words", ROWS)
def test_bad_rows(tmp_path, row, words):
    folder = make(tmp_path, CURRENT + f"a.jpg,1,1 5\n{row}\nc.jpg,4,1 5\n")
    with pytest.raises(UserError, match=words) as caught:
        dataset.load_table(folder)
    assert str(folder / "train.csv") in str(caught.value) and len(str(caught.value)) < 500


FILES = [
    (None, "train.csv does not exist"),
    (b"", "is empty"),
    (
        b"ImageId,Class,EncodedPixels\na.jpg,1,1 5\n",
        "'ImageId', 'Class', 'EncodedPixels'.* ImageId_ClassId, EncodedPixels",
    ),
    (b"ImageId,ImageId,EncodedPixels\n", "has the columns"),
    (OLD.encode() + b"a\xff.jpg_1,1 5\n", "not UTF-8"),
    (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8"),
    (OLD.encode() + b"a.jpg,1 5\n", "row 2: the class ''"),
]


@pytest.mark.parametrize("csv, words", FILES)
def test_bad_tables(tmp_path, csv, words):
    with pytest.raises(UserError, match=words):
        dataset.load_table(make(tmp_path, csv))


def test_blank_lines_do_not_shift_the_row_number(tmp_path):
    with pytest.raises(UserError, match=r"row 5: .* odd"):
        dataset.load_table(make(tmp_path, CURRENT + "a.jpg,1,1 5\n\n\nb.jpg,1,7\n"))


def test_missing_and_empty_folders(tmp_path):
    folder = make(tmp_path, CURRENT, names=(), tests=())
    with pytest.raises(UserError, match="holds no images"):
        dataset.load_table(folder)
    assert len(dataset.load_test_table(folder)) == 0
    (folder / "test_images").rmdir()
    with pytest.raises(UserError, match="test_images does not exist"):
        dataset.load_test_table(folder)
    (folder / "train_images").rmdir()
    with pytest.raises(UserError, match="train_images does not exist"):
        dataset.load_table(folder)


def test_an_unfit_file_name_is_refused(tmp_path):
    folder = make(tmp_path, CURRENT, names=("a\nb.jpg",), tests=("a\\b.jpg",))
    with pytest.raises(UserError, match="cannot be printed"):
        dataset.load_table(folder)
    with pytest.raises(UserError, match="is a path"):
        dataset.load_test_table(folder)


@pytest.mark.parametrize("change, words", [
    ({"classes": 0}, "classes is 0"), ({"classes": "4"}, "classes is '4'"), ({"height": True}, "height is True"),
    ({"width": 1e9}, "width is"), ({"class_names": ["a"]}, "class_names is"), ({"class_names": "abcd"}, "class_names is"),
    ({"generated": "false"}, "generated is 'false'.* true or false"), ({"note": None}, "note is None.* a text"),
])  # fmt: skip
def test_bad_descriptions(tmp_path, change, words):
    write_json(tmp_path / "dataset.json", change)
    with pytest.raises(UserError, match=words):
        dataset.describe(tmp_path)


def test_description_without_a_file(tmp_path):
    about = dataset.describe(tmp_path)
    assert (about["classes"], about["height"], about["width"], about["generated"]) == (4, 256, 1600, False)
    assert about["class_names"] == ["class 1", "class 2", "class 3", "class 4"]
    assert dataset.titles(about) == about["class_names"]


def test_titles_of_named_classes_differ_and_hold_nothing_that_a_figure_would_choke_on():
    about = {"class_names": ["scratches", "class 1", "$x^$", "", "scratches", "long " * 20, "two\nlines"]}
    assert dataset.titles(about) == [
        "1 scratches",
        "2 class 1",
        "3 x^",
        "4 ",
        "5 scratches",
        "6 " + ("long " * 20)[:40],
        "7 twolines",
    ]


def test_a_name_stands_for_the_class_that_is_called_so():
    names = ["2", "long " * 20, "$x^$", "e\u0301", "rust", "rust"]
    titles = dataset.titles({"class_names": names})
    found = [
        class_names.class_called(name, titles) for name in [*names, *titles, "x^", "\u00e9", "7 rust", "1"]
    ]
    assert found == [1, 2, 3, 4, 0, 0, 1, 2, 3, 4, 5, 6, 3, 4, 0, 0]


def test_sample_keeps_the_shares(tmp_path):
    names = [f"{number:03}.jpg" for number in range(40)]
    rows = (
        [f"{name},3,1 5\n" for name in names[:20]]
        + [f"{name},1,1 5\n" for name in names[20:30]]
        + [f"{names[39]},2,1 5\n"]
    )
    folder = make(tmp_path, CURRENT + "".join(rows), names)
    for sample in (4, 10, 20, 39):
        table = dataset.load_table(folder, sample, seed=3)
        counts = dataset.labels(table).sum(axis=0)
        assert len(table) == sample and table["image_id"].is_monotonic_increasing
        assert counts[1] == 1 and abs(counts[2] - sample / 2) <= 1.5 and abs(counts[0] - sample / 4) <= 1
        pd.testing.assert_frame_equal(table, dataset.load_table(folder, sample, seed=3))
    assert not dataset.load_table(folder, 10, seed=3).equals(dataset.load_table(folder, 10, seed=4))
    assert [len(dataset.load_table(folder, sample)) for sample in (1, 2, 40, 99)] == [1, 2, 40, 40]
    assert len(dataset.load_test_table(folder, 5)) == 1


def test_check_lists_every_finding(tmp_path):
    names = [f"{name}.jpg" for name in "abcdefg"] + ["=h.jpg"]
    folder = make(tmp_path, CURRENT + "a.jpg,1,1 5\na.jpg,2,5 5\nb.jpg,9,1 5\nz.jpg,1,1 5 7\n", names)
    train = folder / "train_images"
    whole = (train / "c.jpg").read_bytes()
    (train / "c.jpg").write_bytes(whole[: len(whole) // 2])
    (train / "d.jpg").write_bytes(b"")
    (train / "e.jpg").write_bytes(b"no image at all")
    cv2.imwrite(str(train / "f.jpg"), np.zeros((32, 63), np.uint8))
    cv2.imwrite(str(folder / "test_images" / "t.jpg"), np.zeros((16, 64), np.uint8))
    (train / "g.jpg").write_bytes(cv2.imencode(".png", np.zeros((*SHAPE, 4), np.uint8))[1].tobytes())
    (train / "notes.txt").write_text("x")
    found = dataset.check(folder)
    assert list(found.columns) == ["file", "row", "severity", "what", "remedy"]
    text = {(Path(one.file).name, one.row, one.severity): one.what for one in found.itertuples()}
    errors = {
        ("train.csv", 4): "the class '9'",
        ("c.jpg", 0): "cut off",
        ("d.jpg", 0): "is empty",
        ("e.jpg", 0): "no image",
        ("f.jpg", 0): "32 x 63",
    }
    warnings = {
        ("train.csv", 3): "shares 1 pixels",
        ("=h.jpg", 0): "formula",
        ("g.jpg", 0): "4 channels",
        ("t.jpg", 0): "16 x 64",
        ("notes.txt", 0): "left out",
    }
    for expected, severity in ((errors, "error"), (warnings, "warning")):
        for (name, row), words in expected.items():
            assert words in text.pop((name, row, severity))
    assert set(text) == {
        ("train.csv", 5, "error")
    }  # an unknown image with an odd run-length: two findings, one place
    assert len(found) == 12


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_read_image(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    grey = picture(1, (256, 1600))
    cv2.imwrite(str(path), cv2.merge([grey] * 3), [cv2.IMWRITE_JPEG_QUALITY, 95])
    image = images.read_image(path)
    assert image.shape == (256, 1600) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - grey).mean() < 2
    for size in ((256, 1600), (128, 800), (64, 416), (299, 299), (32, 200), (300, 1700)):
        small = images.read_image(path, size)
        expected = images.resize_image(grey, size)
        assert small.shape == size and small.dtype == np.uint8
        assert np.abs(small.astype(int) - expected).mean() < 2


def test_reduced_decoding_keeps_places(tmp_path):
    image = np.zeros((256, 1600), np.uint8)
    image[64:128, 800:1200] = 255
    cv2.imwrite(str(tmp_path / "a.jpg"), image)
    small = images.read_image(tmp_path / "a.jpg", (128, 800)) > 127
    np.testing.assert_array_equal(small, image[::2, ::2] > 127)


def test_resize_averages_an_axis_that_shrinks():
    columns = np.zeros((256, 1600), np.uint8)
    columns[:, ::2] = 200
    assert (
        np.ptp(images.resize_image(columns, (299, 200))) == 0
    )  # interpolation alone would pick single columns


@pytest.mark.parametrize("content, words", [
    (None, "does not exist"), (b"", "is empty"), (b"GIF89a", "no image"),
    (b"\xff\xd8\xff\xd9", "no image"), (b"\xff\xd8", "cut off"),
])  # fmt: skip
def test_unreadable_images(tmp_path, content, words):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    for size in (None, (8, 8)):
        with pytest.raises(UserError, match=words) as caught:
            images.read_image(path, size)
        assert str(path) in str(caught.value)


def test_every_truncation_is_noticed(tmp_path):
    for suffix in (".jpg", ".png"):
        data = cv2.imencode(suffix, picture(1))[1].tobytes()
        for length in range(0, len(data) - 1, 37):
            (tmp_path / "a").write_bytes(data[:length])
            with pytest.raises(UserError):
                images.read_image(tmp_path / "a")
        (tmp_path / "a").write_bytes(data + b"\0" * 100)  # some programs append bytes
        assert images.read_image(tmp_path / "a").shape == SHAPE


def write_pictures(folder, pictures):
    paths = [folder / f"{number:03}.png" for number in range(len(pictures))]
    for path, image in zip(paths, pictures, strict=True):
        cv2.imwrite(str(path), image)
    return paths


def test_near_duplicates(tmp_path):
    strips = [picture(seed, (256, 1600)) for seed in range(4)]
    brighter = cv2.convertScaleAbs(np.roll(strips[1], 3, axis=1), alpha=1.1, beta=5)
    dark = [
        cv2.convertScaleAbs(strip, alpha=0.5) for strip in (picture(8, (256, 1600)), picture(9, (256, 1600)))
    ]
    for strip in dark:
        strip[:, 300:] = 2  # nearly all black, with the edge at the same place
    flat = [np.full((256, 1600), 40, np.uint8)] * 2
    paths = write_pictures(
        tmp_path, [strips[0], strips[1], strips[2], brighter, strips[3], strips[0], *dark, *flat]
    )
    assert duplicates.find_duplicates(paths).tolist() == [0, 1, 2, 1, 3, 0, 4, 5, 6, 7]
    assert duplicates.find_duplicates(paths, max_distance=0.001).tolist() == [0, 1, 2, 3, 4, 0, 5, 6, 7, 8]
    assert duplicates.find_duplicates([]).tolist() == []


@needs_real
def test_real_strips_are_no_duplicates_of_each_other(tmp_path):
    paths = sorted(REAL.glob("*_images/*.jpg"))
    shifted = cv2.convertScaleAbs(np.roll(images.read_image(paths[5]), 5, axis=1), alpha=1.05)
    cv2.imwrite(str(tmp_path / "copy.jpg"), shifted, [cv2.IMWRITE_JPEG_QUALITY, 85])
    groups = duplicates.find_duplicates([*paths, tmp_path / "copy.jpg"]).tolist()
    assert groups == [*range(len(paths)), 5]


def labelled(tmp_path, count, twins=0):
    """A table of `count` pictures, the last `twins` of them copies of the first; classes 1 and 2 are rare."""
    pictures = [picture(seed) for seed in range(count - twins)]
    paths = write_pictures(tmp_path, pictures + pictures[:twins])
    table = pd.DataFrame({"image_id": [path.name for path in paths], "path": [str(path) for path in paths]})
    kinds = [(), (3,), (3,), (), (4,), (1,), (), (3, 4), (2,), ()]
    for number in range(1, 5):
        table[f"rle_{number}"] = ["1 1" if number in kinds[row % 10] else "" for row in range(count)]
    return table


@pytest.mark.parametrize("count, twins", [(3, 0), (8, 0), (8, 3), (40, 0), (40, 12), (41, 20)])
@pytest.mark.parametrize("seed", [1, 42])
def test_grouped_split(tmp_path, count, twins, seed):
    table = labelled(tmp_path, count, twins)
    parts = splitting.split(table, seed=seed, folds=3)
    assert parts["image_id"].tolist() == table["image_id"].tolist()
    assert parts.groupby("group")[["part", "fold"]].nunique().max(axis=None) == 1
    assert parts["group"].nunique() == count - twins
    sizes = parts["part"].value_counts()
    assert set(sizes.index) == {"train", "validation", "held_out"} and set(parts["fold"]) == {0, 1, 2}
    assert abs(sizes["held_out"] - 0.2 * count) <= 2 and abs(sizes["validation"] - 0.15 * count) <= 2
    pd.testing.assert_frame_equal(parts, splitting.split(table, seed=seed, folds=3))


def test_grouped_split_is_stratified(tmp_path):
    table = labelled(tmp_path, 200)
    parts = splitting.split(table, held_out=0.2, validation=0.2)
    held_out = dataset.labels(table)[parts["part"] == "held_out"].sum(axis=0)
    np.testing.assert_allclose(held_out, dataset.labels(table).sum(axis=0) * 0.2, atol=1)


def test_random_split_is_the_articles(tmp_path):
    from sklearn.model_selection import train_test_split

    table = labelled(tmp_path, 40, 20)
    parts = splitting.split(table, method="random", held_out=0.1825, validation=0, seed=42)
    expected = train_test_split(np.arange(40), test_size=round(0.1825 * 40), random_state=42)[1]
    assert sorted(expected) == np.flatnonzero(parts["part"] == "held_out").tolist()
    assert (
        parts.groupby("group")["part"].nunique().max() == 2
    )  # this split leaks, and the group column shows it


def alike(seed, shape=SHAPE):
    """A picture and its mean with another one: about 0.3 apart."""
    first = picture(seed, shape)
    return first, cv2.addWeighted(first, 0.5, picture(100 + seed, shape), 0.5, 0)


def test_the_distance_decides_what_stays_together(tmp_path):
    paths = write_pictures(tmp_path, [strip for seed in range(20) for strip in alike(seed, (64, 400))])
    table = pd.DataFrame(
        {
            "image_id": [path.name for path in paths],
            "path": [str(path) for path in paths],
            "rle_1": ["", "1 1"] * 20,
        }
    )
    size, pair = likeness.fingerprint_size(paths), np.arange(40) // 2
    small = alignment.Looks(paths, size)
    apart = [small.distance(2 * number, 2 * number + 1, 0) for number in range(20)]
    assert min(apart) > 0.1 and max(apart) < 0.5
    together, free = (
        splitting.split(table, held_out=0.3, validation=0.2, max_distance=distance) for distance in (0.5, 0.1)
    )
    assert together["group"].tolist() == pair.tolist() and free["group"].tolist() == list(range(40))
    assert together.groupby(pair)["part"].nunique().max() == 1
    assert free.groupby(pair)["part"].nunique().max() == 2
    made = splitting.load_split(tmp_path, table, max_distance=0.5)
    assert (
        splitting.load_split(tmp_path, table, max_distance=0.1)["group"].nunique()
        == 2 * made["group"].nunique()
    )


@pytest.mark.parametrize("distance", [-0.1, 1.5, float("nan")])
def test_a_distance_is_a_share(tmp_path, distance):
    with pytest.raises(UserError, match=r"duplicate_distance is .* from 0 to 1"):
        splitting.split(labelled(tmp_path, 3), max_distance=distance)


@pytest.mark.parametrize(
    "settings", [{"held_out": -0.1}, {"held_out": 0.6, "validation": 0.4}, {"method": "stratified"}]
)
def test_splits_that_make_no_sense(tmp_path, settings):
    with pytest.raises(UserError):
        splitting.split(labelled(tmp_path, 3), **settings)


def test_load_split_is_made_again_only_when_need_be(tmp_path):
    table, run = labelled(tmp_path, 12, 3), tmp_path / "run"
    made = splitting.load_split(run, table, seed=1)
    first = (run / "split.csv").read_bytes()
    pd.testing.assert_frame_equal(splitting.load_split(run, table, seed=1), made)
    assert (run / "split.csv").read_bytes() == first
    (run / "split.csv").write_bytes(first.replace(b",train,", b",held_out,", 1))
    assert not splitting.load_split(run, table, seed=1).equals(made)  # read, not made
    (run / "split.csv").write_bytes(first[:40])
    pd.testing.assert_frame_equal(splitting.load_split(run, table, seed=1), made)
    assert (run / "split.csv").read_bytes() == first
    folds = splitting.load_split(run, table, seed=1, folds=2)
    assert "fold" in folds and (run / "split.csv").read_bytes() != first
    assert (
        splitting.split_hash(run) == pd.read_csv(run / "split.csv")["split_hash"][0]
        and splitting.split_hash(tmp_path) == ""
    )
    relabelled = table.assign(rle_1="1 1")
    pd.testing.assert_frame_equal(
        splitting.load_split(run, relabelled, seed=1), splitting.split(relabelled, seed=1)
    )


def test_networks_of_another_split_are_refused_and_the_split_stays(tmp_path):
    table, run = labelled(tmp_path, 12, 3), tmp_path / "run"
    splitting.load_split(run, table, seed=1)
    write_json(run / "models" / "binary" / "model.json", {"split": splitting.split_hash(run)})
    write_json(run / "models" / "binary.2" / "model.json", {"split": splitting.split_hash(run)})
    stored = (run / "split.csv").read_bytes()
    splitting.load_split(run, table, seed=1, trained=["binary"])
    for changed in ({"seed": 2}, {"held_out": 0.3}, {"max_distance": 0.4}, {"method": "random"}):
        with pytest.raises(UserError, match="was trained on another division"):
            splitting.load_split(run, table, **{"seed": 1, **changed}, trained=["binary"])
        assert (run / "split.csv").read_bytes() == stored
    write_json(run / "models" / "binary.2" / "model.json", {"split": "another"})
    with pytest.raises(UserError, match=r"binary\.2 was trained"):
        splitting.load_split(run, table, seed=1, trained=["binary"])


@pytest.mark.parametrize("shares", [{"held_out": -0.1}, {"validation": 0.0}, {"held_out": float("nan")}])
def test_a_run_without_images_to_judge_on_is_refused_at_once(tmp_path, shares):
    with pytest.raises(UserError, match="must be 0 or more"):
        splitting.load_split(tmp_path, labelled(tmp_path, 12, 3), **shares)


def test_fingerprint(tmp_path):
    folder = make(tmp_path, CURRENT + "a.jpg,1,1 5\n")
    first = dataset.fingerprint(folder)
    assert (first["train_images"], first["test_images"]) == (3, 1) and first == dataset.fingerprint(folder)
    (folder / "train.csv").write_text(CURRENT + "a.jpg,1,1 6\n")
    second = dataset.fingerprint(folder)
    (folder / "train_images" / "a.jpg").rename(folder / "train_images" / "x.jpg")
    third = dataset.fingerprint(folder)
    assert len({one["sha256"] for one in (first, second, third)}) == 3


@needs_real
def test_both_real_schemas_are_one_table(tmp_path):
    (tmp_path / "train_images").symlink_to(REAL / "train_images")
    (tmp_path / "train.csv").write_bytes((REAL / "train_2019.csv").read_bytes())
    table, old = dataset.load_table(REAL), dataset.load_table(tmp_path)
    pd.testing.assert_frame_equal(table.drop(columns="path"), old.drop(columns="path"))
    assert len(table) == 161 and dataset.labels(table).sum(axis=0).tolist() == [14, 5, 76, 23]
    assert len(dataset.check(REAL)) == 0 and len(dataset.load_test_table(REAL)) == 6


def test_folds_validate_every_image_once_and_keep_the_held_out_ones():
    part = np.array(["train"] * 12 + ["validation"] * 4 + ["held_out"] * 4, dtype=object)
    table = pd.DataFrame({"rle_1": ["1 1", ""] * 10, "part": part, "group": np.repeat(np.arange(10), 2)})
    folds = [splitting.fold_parts(table, 5, number, seed=1) for number in range(5)]
    validated = np.array([(fold["part"] == "validation").to_numpy() for fold in folds])
    assert validated[:, :16].sum(axis=0).tolist() == [1] * 16
    assert all((fold["part"][16:] == "held_out").all() for fold in folds)
    assert all((fold.groupby("group")["part"].nunique() == 1).all() for fold in folds)
    assert splitting.fold_parts(table, 1, 0, seed=1) is table


def test_only_test_images_of_which_an_earlier_run_is_certain_teach(tmp_path):
    folder = make(tmp_path / "data", CURRENT + "a.jpg,1,1 5\n", tests=("t.jpg", "u.jpg", "v.jpg"))
    for number, name in enumerate(("t.jpg", "u.jpg", "v.jpg")):  # copies of nothing
        (folder / "test_images" / name).write_bytes(cv2.imencode(".jpg", picture(90 + number))[1].tobytes())
    table = dataset.load_table(folder).assign(part=["train", "validation", "held_out"], group=[0, 1, 2])
    table[["image_id", "part", "group"]].assign(split_hash="x").to_csv(tmp_path / "split.csv", index=False)
    path = tmp_path / "pseudo_labels.csv"
    path.write_text(
        "image_id,certainty,rle_1,rle_2,rle_3,rle_4\nt.jpg,0.95,,3 4,,\nu.jpg,0.9499,1 9,,,\nv.jpg,0.97,,,,\n"
    )
    for certainty, taken in (
        (0.95, ["t.jpg", "v.jpg"]),
        (0.96, ["v.jpg"]),
        (0.9, ["t.jpg", "u.jpg", "v.jpg"]),
    ):
        found = pseudo_labels.with_pseudo_labels(table, path, folder, certainty)
        assert found.loc[found["pseudo"], "image_id"].tolist() == taken


def test_where_nothing_is_held_out_each_image_is_judged_by_the_network_that_it_validated():
    table = pd.DataFrame(
        {
            "rle_1": ["1 1", ""] * 10,
            "part": ["train"] * 15 + ["validation"] * 5,
            "group": np.repeat(np.arange(10), 2),
        }
    )
    judged = splitting.evaluation_images(table, 3, seed=1)
    assert judged.index.tolist() == list(range(20)) and set(judged["member"]) == {0, 1, 2}
    for number in range(3):
        part = splitting.fold_parts(table, 3, number, seed=1)["part"]
        assert ((judged["member"] == number) == (part == "validation")).all()
    assert (judged.groupby("group")["member"].nunique() == 1).all()
    chosen = splitting.validation_images(table, 3, seed=1)
    assert chosen.index.tolist() == judged.index[judged["member"] == 0].tolist()
    with pytest.raises(UserError, match="nothing can evaluate"):
        splitting.evaluation_images(table, 1, seed=1)
    held_out = table.assign(part=["train"] * 12 + ["validation"] * 4 + ["held_out"] * 4)
    judged = splitting.evaluation_images(held_out, 3, seed=1)
    assert judged.index.tolist() == [16, 17, 18, 19] and (judged["member"] == -1).all()
    assert set(splitting.validation_images(held_out, 1, seed=1).index) == {12, 13, 14, 15}


def test_images_of_pseudo_labels_do_not_judge():
    part = ["train"] * 8
    table = pd.DataFrame(
        {"rle_1": ["1 1", ""] * 4, "part": part, "group": list(range(8)), "pseudo": [False] * 6 + [True] * 2}
    )
    assert splitting.evaluation_images(table, 2, seed=1).index.tolist() == list(range(6))


def test_pseudo_labels_teach_every_fold_and_validate_none(tmp_path):
    folder = make(tmp_path / "data", CURRENT + "a.jpg,1,1 5\n", tests=("t.jpg", "u.jpg", "v.jpg"))
    (folder / "test_images" / "t.jpg").write_bytes(cv2.imencode(".jpg", picture(99))[1].tobytes())
    table = dataset.load_table(folder).assign(part=["train", "validation", "held_out"], group=[0, 1, 2])
    path = tmp_path / "pseudo_labels.csv"
    path.write_text(
        "image_id,certainty,rle_1,rle_2,rle_3,rle_4\nt.jpg,0.99,,3 4,,\nu.jpg,0.6,1 9,,,\nv.jpg,0.97,,,,\n"
    )
    with pytest.raises(UserError, match=r"No split\.csv lies beside"):
        pseudo_labels.with_pseudo_labels(table, path, folder)
    beside = table[["image_id", "part", "group"]].assign(split_hash="x")
    beside.assign(part=["held_out", "train", "train"]).to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(UserError, match="learned from images that are held out now"):
        pseudo_labels.with_pseudo_labels(table, path, folder)
    beside.to_csv(tmp_path / "split.csv", index=False)
    more = pseudo_labels.with_pseudo_labels(table, path, folder)
    assert more["image_id"].tolist() == [
        "a.jpg",
        "b.jpg",
        "c.jpg",
        "t.jpg",
    ]  # v.jpg is a copy of c.jpg, which is held out
    assert more["rle_2"].tolist() == ["", "", "", "3 4"] and more["group"].is_unique
    for number in range(2):
        assert splitting.fold_parts(more, 2, number, 0)["part"].tolist()[2:] == ["held_out", "train"]
    assert pseudo_labels.with_pseudo_labels(table, "", folder) is table
    for file, strip in zip(
        (folder / "train_images" / "c.jpg", folder / "test_images" / "v.jpg"),
        alike(2, (64, 400)),
        strict=True,
    ):
        cv2.imwrite(str(file), strip)  # no longer a copy, but like it
    found = [
        pseudo_labels.with_pseudo_labels(table, path, folder, max_distance=distance)
        for distance in (0.5, 0.1)
    ]
    assert ["v.jpg" in more["image_id"].tolist() for more in found] == [False, True]
    with pytest.raises(UserError, match="cannot be read"):
        pseudo_labels.with_pseudo_labels(table, tmp_path / "none.csv", folder)
    path.write_text("image_id,certainty,rle_1,rle_2,rle_3,rle_4\nother.jpg,0.99,,3 4,,\n")
    with pytest.raises(UserError, match="belongs to other data"):
        pseudo_labels.with_pseudo_labels(table, path, folder)


def test_a_pseudo_labelled_copy_of_a_strip_that_judges_or_chooses_does_not_teach(tmp_path):
    """Test strips that are copies of a training, a validation and a held-out strip, and one that is like
    none."""
    folder = make(tmp_path / "data", CURRENT + "a.jpg,1,1 5\n", tests=("t.jpg", "u.jpg", "v.jpg", "w.jpg"))
    table = dataset.load_table(folder).assign(part=["train", "validation", "held_out"], group=[5, 6, 7])
    table[["image_id", "part", "group"]].assign(split_hash="x").to_csv(tmp_path / "split.csv", index=False)
    path = tmp_path / "pseudo_labels.csv"
    rows = "".join(f"{name}.jpg,0.99,,3 4,,\n" for name in "tuvw")
    path.write_text("image_id,certainty,rle_1,rle_2,rle_3,rle_4\n" + rows)
    more = pseudo_labels.with_pseudo_labels(table, path, folder)
    assert more["image_id"].tolist() == ["a.jpg", "b.jpg", "c.jpg", "t.jpg", "w.jpg"]
    assert more["part"].tolist() == ["train", "validation", "held_out", "train", "train"]
    assert more["group"].tolist()[:4] == [5, 6, 7, 5] and more["group"][4] not in (5, 6, 7)
    for number in range(
        2
    ):  # another of the two validates each member of an ensemble, t.jpg is a copy of one of them
        part = dict(zip(more["image_id"], splitting.fold_parts(more, 2, number, 0)["part"], strict=True))
        assert part["t.jpg"] == {"train": "train", "validation": "left_out"}[part["a.jpg"]]
        assert part["w.jpg"] == "train" and {part["a.jpg"], part["b.jpg"]} == {"train", "validation"}


def test_a_pseudo_labelled_strip_between_two_groups_does_not_teach(tmp_path, monkeypatch):
    folder = make(tmp_path / "data", CURRENT + "a.jpg,1,1 5\n", tests=("t.jpg",))
    table = dataset.load_table(folder).assign(part=["train", "train", "held_out"], group=[0, 1, 2])
    table[["image_id", "part", "group"]].assign(made_from="x").to_csv(
        tmp_path / "split.csv", index=False
    )  # as before version 2
    (tmp_path / "pseudo_labels.csv").write_text(
        "image_id,certainty,rle_1,rle_2,rle_3,rle_4\nt.jpg,0.99,,3 4,,\n"
    )
    monkeypatch.setattr(
        pseudo_labels, "find_duplicates", lambda paths, distance: np.array([0, 0, 0, 1])
    )  # t is like a and like b
    assert pseudo_labels.with_pseudo_labels(table, tmp_path / "pseudo_labels.csv", folder)[
        "image_id"
    ].tolist() == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("row, said", [
    ("t.jpg,0.99,, ,,", ""), ("t.jpg,0.99,, 3\u00a04 ,,", ""), ("t.jpg,0.99,,abc,,", "row 2: The run-length 'abc'"),
    ("t.jpg,0.99,,99999999 5,,", "row 2: .* outside the image"), ("t.jpg,0.99,,3 4,,\nt.jpg,0.99,,,,", "row 3: its image has a row"),
    ("t.jpg,high,,3 4,,", "row 2: the certainty is no number"), ('t.jpg,"0,99",,3 4,,', "row 2: the certainty"),
    ("t.jpg,,,3 4,,", "row 2: the certainty"), ("t.jpg,99,,3 4,,", "row 2: the certainty is no number from 0"),
])  # fmt: skip
def test_pseudo_labels_that_went_through_a_spreadsheet_are_tidied_or_named(tmp_path, monkeypatch, row, said):
    folder = make(tmp_path / "data", CURRENT + "a.jpg,1,1 5\n", tests=("t.jpg",))
    table = dataset.load_table(folder).assign(part=["train", "train", "held_out"], group=[0, 1, 2])
    table[["image_id", "part", "group"]].assign(split_hash="x").to_csv(tmp_path / "split.csv", index=False)
    (tmp_path / "pseudo_labels.csv").write_text(
        f"image_id,certainty,rle_1,rle_2,rle_3,rle_4\n{row}\n", encoding="utf-8"
    )
    monkeypatch.setattr(pseudo_labels, "find_duplicates", lambda paths, distance: np.arange(4))
    if said:
        with pytest.raises(UserError, match=said):
            pseudo_labels.with_pseudo_labels(table, tmp_path / "pseudo_labels.csv", folder)
    else:
        more = pseudo_labels.with_pseudo_labels(table, tmp_path / "pseudo_labels.csv", folder)
        assert more["rle_2"].tolist() == ["", "", "", "3 4" if "3" in row else ""]
