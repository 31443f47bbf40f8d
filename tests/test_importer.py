"""Other steel: what the importer makes of images and masks, and what the rest of the project makes of
that."""

import unicodedata
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from lib import files, importer
from lib.data import dataset, depth, images, importing, rle
from lib.errors import UserError
from lib.evaluation import overlap
from lib.inference import submission
from lib.pipeline import graph
from lib.pipeline.params import declared

SHAPE = 40, 60


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


def block(value, left):
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:20, left : left + 15] = value
    return mask


@pytest.fixture
def steel(tmp_path):
    """Four images and a test image; a has class 1 and 2, b class 3, c nothing, d no mask at all; the test
    image has class 2."""
    random = np.random.default_rng(0)
    for name in ("train/a.png", "train/b.jpg", "train/c.png", "train/d.png", "test/t.png"):
        write(tmp_path / name, random.integers(0, 255, SHAPE, np.uint8))
    for name, mask in {"a": block(1, 0) + block(2, 30), "b": block(3, 5), "c": block(0, 0)}.items():
        write(tmp_path / "masks" / f"{name}.png", mask)
    write(tmp_path / "test_masks" / "t.png", block(2, 0))
    return tmp_path


def bring(steel, **options):
    return importing.import_data(steel / "train", steel / "masks", steel / "out", **options)


def test_numbered_masks_become_the_competitions_layout(steel):
    out = bring(
        steel, test_images=steel / "test", test_masks=steel / "test_masks", names=["dent", "hole", "rust"]
    )
    table = dataset.load_table(out)
    assert dataset.labels(table).tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert rle.decode(table["rle_2"][0], SHAPE).tolist() == block(1, 30).tolist()
    assert dataset.describe(out)["class_names"] == ["dent", "hole", "rust"]
    truth = dataset.load_truth(out, dataset.load_test_table(out))
    assert dataset.labels(truth).tolist() == [[0, 1, 0]]
    assert (out / "train_images" / "b.jpg").read_bytes() == (steel / "train" / "b.jpg").read_bytes()
    assert not len(dataset.check(out))


def test_folders_a_class_are_named_and_numbered_by_their_names(steel):
    write(steel / "folders" / "rust" / "a.png", block(255, 0))
    write(steel / "folders" / "dent" / "a.png", block(255, 30))
    out = importing.import_data(steel / "train", steel / "folders", steel / "out")
    table = dataset.load_table(out)
    assert dataset.describe(out)["class_names"] == ["dent", "rust"]
    assert rle.decode(table["rle_1"][0], SHAPE).tolist() == block(1, 30).tolist()
    importing.import_data(steel / "train", steel / "folders", steel / "other", names=["rust", "dent"])
    assert dataset.load_table(steel / "other")["rle_1"][0] == table["rle_2"][0]


@pytest.mark.parametrize("name", ["de\nnt", "de\u2028nt", "de\x1bnt", "d" * 81], ids=ascii)
def test_a_class_has_a_short_name_on_one_line(steel, name, capsys):
    """Whether it is given or that of a folder: it stands in tables, titles and figures."""
    places = ["--images", str(steel / "train"), "--out", str(steel / "out"), "--masks"]
    assert importer.main([*places, str(steel / "masks"), "--names", f"a,{name},c"]) == 2
    assert "in --names: a name is on one line" in capsys.readouterr().err
    write(steel / "folders" / name / "a.png", block(255, 0))
    assert importer.main([*places, str(steel / "folders")]) == 2
    said = capsys.readouterr().err
    assert (
        "No class can be called as the folder " in said
        and said.count("\n") == 1
        and not (steel / "out").exists()
    )


def test_a_palettes_numbers_count_not_its_colours(steel):
    picture = Image.fromarray(block(2, 0), mode="P")
    picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    picture.save(steel / "masks" / "c.png")
    assert dataset.labels(dataset.load_table(bring(steel))).tolist()[2] == [0, 1, 0]


def test_images_and_masks_are_brought_to_one_size(steel):
    write(steel / "train" / "e.png", np.zeros((80, 120), np.uint8))
    write(steel / "masks" / "e.png", np.kron(block(1, 30), np.ones((2, 2), np.uint8)))
    with pytest.raises(UserError, match=r"e\.png has 80 x 120 pixels, those before it 40 x 60.*--size"):
        bring(steel)
    out = bring(steel, size=SHAPE)
    assert images.read_image(out / "train_images" / "e.png").shape == SHAPE
    assert rle.decode(dataset.load_table(out)["rle_1"][4], SHAPE).tolist() == block(1, 30).tolist()


@pytest.mark.parametrize("name, mask, said", [
    ("a", block(255, 0), "has the value 255"),
    ("z", block(1, 0), "The mask z in .* has no image"),
    ("a", np.zeros((8, 8), np.uint8), "has 8 x 8 pixels, its image a.png 40 x 60"),
    ("a", np.full((*SHAPE, 3), (0, 0, 1), np.uint8), "has 3 channels"),
])  # fmt: skip
def test_a_mask_that_does_not_fit_is_named_and_nothing_is_left(steel, name, mask, said):
    write(steel / "masks" / f"{name}.png", mask)
    with pytest.raises(UserError, match=said):
        bring(steel)
    assert not [path for path in steel.iterdir() if path.name.startswith("out")]


def test_test_masks_have_the_classes_of_the_training_masks(steel):
    for name in ("dent", "hole", "rust"):
        write(steel / "folders" / name / "a.png", block(255, 0))
    write(steel / "test_folders" / "rust" / "t.png", block(255, 0))
    options = {"test_images": steel / "test", "test_masks": steel / "test_folders"}
    out = importing.import_data(steel / "train", steel / "folders", steel / "out", **options)
    assert dataset.labels(dataset.load_truth(out, dataset.load_test_table(out))).tolist() == [[0, 0, 1]]
    write(steel / "test_folders" / "rost" / "t.png", block(255, 0))
    with pytest.raises(UserError, match="the folder rost, and the training masks no such class"):
        importing.import_data(steel / "train", steel / "folders", steel / "other", **options)


def test_numbers_and_folders_meet_by_names(steel):
    write(steel / "test_folders" / "rust" / "t.png", block(255, 0))
    options = {"test_images": steel / "test", "test_masks": steel / "test_folders"}
    with pytest.raises(UserError, match="Say with --names"):
        bring(steel, **options)
    out = bring(steel, names=["dent", "hole", "rust"], **options)
    assert dataset.labels(dataset.load_truth(out, dataset.load_test_table(out))).tolist() == [[0, 0, 1]]


def test_a_stray_folder_beside_numbered_masks_hides_none_of_them(steel):
    (steel / "masks" / "@eaDir").mkdir()
    (steel / "masks" / "__MACOSX").mkdir()
    assert dataset.labels(dataset.load_table(bring(steel))).sum() == 3
    (steel / "masks" / "old").mkdir()
    with pytest.raises(UserError, match="holds masks and the folder old"):
        importing.import_data(steel / "train", steel / "masks", steel / "other")


def test_masks_without_a_defect_are_refused_even_with_names(steel):
    for name in "abc":
        write(steel / "masks" / f"{name}.png", block(0, 0))
    with pytest.raises(UserError, match="has a pixel that is not 0"):
        bring(steel, names=["dent"])


def test_test_images_of_another_size_are_named(steel):
    write(steel / "test" / "u.png", np.zeros((80, 120), np.uint8))
    with pytest.raises(UserError, match=r"u\.png has 80 x 120 pixels, those before it 40 x 60"):
        bring(steel, test_images=steel / "test")
    out = bring(steel, test_images=steel / "test", size=SHAPE)
    assert images.read_image(out / "test_images" / "u.png").shape == SHAPE


def test_grey_masks_saved_as_colour_count_and_fractions_and_values_below_0_do_not(steel):
    write(steel / "masks" / "c.png", np.repeat(block(2, 0)[..., None], 3, axis=2))
    assert dataset.labels(dataset.load_table(bring(steel))).tolist()[2] == [0, 1, 0]
    (steel / "masks" / "c.png").unlink()
    Image.fromarray(block(1, 0).astype(np.float32)).save(steel / "masks" / "c.tif")
    with pytest.raises(UserError, match=r"c\.tif holds fractions"):
        importing.import_data(steel / "train", steel / "masks", steel / "other")
    write(steel / "masks" / "c.tif", block(1, 0).astype(np.int16) - 1)
    with pytest.raises(UserError, match=r"c\.tif has values below 0\. Save it with 0 for no defect"):
        importing.import_data(steel / "train", steel / "masks", steel / "other")


def test_a_jpeg_is_a_mask_only_of_one_class(steel):
    write(steel / "folders" / "dent" / "a.jpg", block(255, 0))
    out = importing.import_data(steel / "train", steel / "folders", steel / "out")
    drawn = rle.decode(dataset.load_table(out)["rle_1"][0], SHAPE)
    assert abs(int(drawn.sum()) - 150) <= 5
    write(steel / "faint" / "dent" / "a.jpg", block(100, 0))
    with pytest.raises(UserError, match=r"a\.jpg is a JPEG with no value above"):
        importing.import_data(steel / "train", steel / "faint", steel / "other")
    write(steel / "masks" / "d.jpg", block(1, 0))
    with pytest.raises(UserError, match=r"d\.jpg is a JPEG"):
        importing.import_data(steel / "train", steel / "masks", steel / "other")


def test_the_command_says_what_is_wrong_in_a_sentence(steel, capsys):
    arguments = [
        "--images",
        str(steel / "train"),
        "--masks",
        str(steel / "masks"),
        "--out",
        str(steel / "out"),
    ]
    importer.main(arguments)
    assert "4 training and 0 test images of 40 x 60 pixels with 3 classes" in capsys.readouterr().out
    for more, said in ((arguments, "is there already"), ([*arguments, "--size", "40"], "HEIGHTxWIDTH")):
        assert importer.main(more) == 2 and said in capsys.readouterr().err


def test_overlap_by_hand(steel):
    out = bring(
        steel, test_images=steel / "test", test_masks=steel / "test_masks", names=["dent", "hole", "rust"]
    )
    predicted = block(1, 5)  # 10 of 15 columns right: 100 of 200 pixels
    submission.write(steel / "s.csv", ["t.png"], [["", rle.encode(predicted), ""]])
    found = overlap.of_submission(steel / "s.csv", out)
    assert found["iou"] == {
        "background": pytest.approx(2200 / 2300),
        "1 dent": None,
        "2 hole": 0.5,
        "3 rust": None,
    }
    assert found["mean_iou"] == 0.5
    assert found["mean_iou_with_background"] == pytest.approx((0.5 + 22 / 23) / 2)
    (out / "test_truth.csv").unlink()
    with pytest.raises(UserError, match=r"no test_truth\.csv"):
        overlap.of_submission(steel / "s.csv", out)


def bring_folders(steel, **masks):
    """Import with a folder a class: {class: mask of a.png}; the classes' run-lengths of image a."""
    for name, mask in masks.items():
        write(steel / "folders" / name / "a.png", mask)
    table = dataset.load_table(
        importing.import_data(steel / "train", steel / "folders", steel / "folders_out")
    )
    return [rle.decode(text, SHAPE) for text in table.loc[0, dataset.rle_columns(table)]]


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_blurred_edges_are_known_by_their_values_not_by_the_files_ending(steel, quality):
    soft = cv2.imdecode(cv2.imencode(".jpg", block(255, 0), [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)
    assert len(np.unique(soft)) > 2
    assert bring_folders(steel, dent=soft)[0].tolist() == (soft >= 128).tolist()


@pytest.mark.parametrize(
    "drawn", [block(1, 0), block(255, 0), block(128, 0), block(7, 0), np.minimum(block(255, 0), 254)]
)
def test_one_number_besides_0_is_the_defect_whatever_it_is(steel, drawn):
    assert bring_folders(steel, dent=drawn)[0].tolist() == block(1, 0).tolist()


@pytest.mark.parametrize("drawn, said", [
    (block(1, 0) + block(2, 30), "has the values 1, 2, which look like numbers of classes .* If train is no class"),
    (block(128, 0) + block(255, 30), "areas of 128 that are no blurred edge"),
    (block(60, 0) + block(120, 30), "has the values 60, 120"),
])  # fmt: skip
def test_numbers_in_a_folder_of_one_class_are_named(steel, drawn, said):
    with pytest.raises(UserError, match=said):
        bring_folders(steel, train=drawn)


def test_numbers_that_change_from_file_to_file_are_no_one_class(steel):
    write(steel / "folders" / "train" / "b.png", block(2, 0))
    with pytest.raises(UserError, match="have the values 1, 2, which look like numbers of classes"):
        bring_folders(steel, train=block(1, 0))


def test_smoothed_class_numbers_are_named(steel):
    write(
        steel / "masks" / "a.png",
        cv2.resize(cv2.resize(block(3, 20), (30, 20)), SHAPE[::-1], interpolation=cv2.INTER_LINEAR),
    )
    with pytest.raises(UserError, match="only between lower and higher ones"):
        bring(steel)


def test_black_on_white_is_remarked(steel):
    said = []
    write(steel / "folders" / "dent" / "a.png", 255 - block(255, 0))
    importing.import_data(steel / "train", steel / "folders", steel / "out", report=said.append)
    assert any("Class dent covers 94% of the pixels of its masks" in line for line in said)
    assert any("3 of 4 images" in line and "have no mask" in line for line in said)


@pytest.mark.parametrize("name, said", [
    ("masks/d.gif", r"d\.gif is an image of a kind that is not read"), ("masks/d.json", r"d\.json has .* is an outline"),
    ("masks/d.xml", "outline"), ("masks/d.npy", "kind that is not read"), ("masks/d.mat", "has the name of an image"),
    ("train/e.webp", r"e\.webp is an image of a kind that is not read"), ("train/e.JFIF", "kind that is not read"),
])  # fmt: skip
def test_what_is_passed_over_and_matters_is_refused(steel, name, said):
    (steel / name).write_bytes(b"x")
    with pytest.raises(UserError, match=said):
        bring(steel)


def test_what_is_passed_over_and_may_not_matter_is_named(steel):
    said = []
    (steel / "masks" / "readme.md").write_text("x")
    (steel / "train" / "notes.txt").write_text("x")
    write(steel / "train" / "more" / "x.png", np.zeros(SHAPE, np.uint8))
    bring(steel, report=said.append)
    text = " ".join(said)
    assert "readme.md" in text and "notes.txt" in text and "1 folders with images, such as more" in text


def test_masks_a_folder_too_deep_are_refused(steel):
    write(steel / "folders" / "dent" / "train" / "a.png", block(255, 0))
    with pytest.raises(UserError, match=r"folders with images, such as train\. Masks lie straight in"):
        importing.import_data(steel / "train", steel / "folders", steel / "out")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_images_name_and_its_masks_may_be_composed_differently(steel, forms):
    image, mask = (unicodedata.normalize(form, "\u00fc.png") for form in forms)
    write(steel / "train" / image, np.zeros(SHAPE, np.uint8))
    write(steel / "masks" / mask, block(1, 0))
    table = dataset.load_table(bring(steel))
    assert table[table["rle_1"] != ""]["image_id"].tolist() == ["a.png", image]


def test_twelve_bits_become_eight_on_one_scale(steel):
    levels = np.tile(np.arange(60, dtype=np.uint16) * 69, (40, 1))  # up to 4071
    (steel / "train" / "b.jpg").unlink()
    for name, part in (("a.png", levels), ("b.png", levels), ("c.png", levels // 2), ("d.png", levels)):
        write(steel / "train" / name, part)
    with pytest.raises(UserError, match=r"no value above 4071 .*16 grey levels .*--white 4095"):
        bring(steel)
    out = bring(steel, white=4095)
    for name, part in (("a.png", levels), ("c.png", levels // 2)):
        assert (
            images.read_image(out / "train_images" / name).tolist() == np.rint(part * (255 / 4095)).tolist()
        )


@pytest.mark.parametrize("more, said", [
    (("--size", "\u00b2x40"), "HEIGHTxWIDTH"), (("--size", "\u0664x40"), "HEIGHTxWIDTH"), (("--size", "9" * 5000 + "x4"), "HEIGHTxWIDTH"),
    (("--size", "32768x32768"), "HEIGHTxWIDTH"), (("--size=-4x40",), "HEIGHTxWIDTH"), (("--names", "a,,b"), "a name is missing"),
    (("--names", "a,b,a"), "there twice"), (("--white=-1",), "a number above 0"),
    (("--test-masks", "masks"), "--test-masks needs --test-images. Name the folder with the test images."),
])  # fmt: skip
def test_options_that_make_no_sense_are_named(steel, capsys, more, said):
    arguments = [
        "--images",
        str(steel / "train"),
        "--masks",
        str(steel / "masks"),
        "--out",
        str(steel / "out"),
        *more,
    ]
    assert importer.main(arguments) == 2 and said in capsys.readouterr().err


def test_a_mask_of_too_many_pixels_is_refused_before_it_is_decoded(steel):
    data = bytearray(cv2.imencode(".png", block(1, 0))[1].tobytes())
    data[16:24] = (12000).to_bytes(4, "big") + (16384).to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    (steel / "masks" / "a.png").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.png (has 16384 x 12000 pixels|cannot be read)"):
        bring(steel)


@pytest.mark.parametrize(
    "names",
    [["background", "dent", "dent"], ["mean_iou", "", "class 1"], ["a" * 50 + "b", "a" * 50 + "c", "$"]],
)
def test_overlap_has_a_figure_for_every_class_whatever_it_is_called(steel, names):
    out = bring(steel, test_images=steel / "test", test_masks=steel / "test_masks")
    about = files.read_json(out / "dataset.json")
    files.write_json(out / "dataset.json", about | {"class_names": names})
    submission.write(steel / "s.csv", ["t.png"], [["", rle.encode(block(1, 5)), ""]])
    found = overlap.of_submission(steel / "s.csv", out)["iou"]
    assert list(found.values()) == [pytest.approx(2200 / 2300), None, 0.5, None]


def test_the_plan_has_a_segmentation_notebook_for_every_class(tmp_path):
    project = replace(graph.DEFAULT_PROJECT, runs=tmp_path / "runs")
    assert project.for_classes(4) is project
    three = project.for_classes(3)
    assert three.graph["40_evaluation"] == ("05_shift", "10_binary", "20_multilabel", *graph.SEGMENTERS[:3])
    assert (
        "34_seg_class4" not in three.graph
        and "34_seg_class4" not in three.products
        and three.notebooks == project.notebooks
    )
    forty = project.for_classes(40).notebook("340_seg_class40").read_text(encoding="utf-8")
    assert "`models/seg_class40/`, `metrics/340_seg_class40.json`" in forty
    six = project.for_classes(6)
    assert list(six.graph) == [
        *list(project.graph)[:-2],
        "35_seg_class5",
        "36_seg_class6",
        "40_evaluation",
        "90_inference",
    ]
    assert six.products["36_seg_class6"] == ("models/seg_class6/model.json",)
    found = six.declarations()
    assert [found[f"3{k}_seg_class{k}"]["defect_class"].default for k in (1, 4, 5, 6)] == [1, 4, 5, 6]
    assert declared(project.notebooks / "34_seg_class4.ipynb")["defect_class"].default == 4
    text = six.notebook("35_seg_class5").read_text(encoding="utf-8")
    assert "`models/seg_class5/`, `metrics/35_seg_class5.json`" in text and "class4" not in text


def test_a_profiles_sections_for_classes_that_are_not_there_are_left_out():
    three = graph.DEFAULT_PROJECT.for_classes(3)
    profile = {
        "all": {},
        "33_seg_class3": {"epochs": 2},
        "34_seg_class4": {"epochs": 2},
        "35_seg_class5": {},
        "35_no_such": {},
    }
    assert list(three.fitting(profile)) == ["all", "33_seg_class3", "35_no_such"]


@pytest.mark.parametrize(
    "name", ["full", "article", "neu_seg"]
)  # of the demo, the notebooks' own epochs differ
@pytest.mark.parametrize("classes", [1, 5, 12])
def test_a_profile_has_one_recipe_for_all_segmenters_however_many_classes(tmp_path, name, classes):
    project = replace(graph.DEFAULT_PROJECT, runs=tmp_path / "runs").for_classes(classes)
    values = project.values(name, ())
    recipes = [
        {key: value for key, value in values[f"3{k}_seg_class{k}"].items() if key != "defect_class"}
        for k in range(1, classes + 1)
    ]
    assert all(recipe == recipes[0] for recipe in recipes)
    chosen = {
        "full": ("resnet34", 40, "imagenet"),
        "article": ("resnet50", 25, "imagenet"),
        "neu_seg": ("compact", 16, "none"),
    }
    assert tuple(recipes[-1][key].value for key in ("backbone", "epochs", "weights")) == chosen[name]
    assert recipes[-1]["epochs"].origin == f"{name}.yaml, segmenters"


def test_a_class_whose_epochs_are_those_of_another_is_told(tmp_path):
    """The demo has epochs for four classes, and the notebooks of further ones are copies of the last."""
    for classes, profile, overrides, said in (
        (
            6,
            "demo",
            (),
            "35_seg_class5, 36_seg_class6: 8 epochs, which 34_seg_class4 has for its class. -p segmenters.epochs=N",
        ),
        (6, "demo", [("35_seg_class5", "epochs", "9")], "36_seg_class6: 8 epochs"),
        (6, "demo", [("segmenters", "epochs", "9")], ""),
        (6, "small_data", (), ""),
        (4, "demo", (), ""),
        (2, "demo", (), ""),
    ):
        project = replace(graph.DEFAULT_PROJECT, runs=tmp_path / "runs").for_classes(classes)
        remark = graph.remark_on_copies(project.graph, project.values(profile, overrides))
        assert remark.startswith(said) and bool(remark) == bool(said)
    assert not graph.remark_on_copies(["00_eda"], {})


@pytest.mark.parametrize("name, said", [
    ("train/e.png", r"e\.png is a link that leads nowhere"), ("masks/d.png", r"mask .*d\.png cannot be read"),
])  # fmt: skip
def test_a_link_that_leads_nowhere_is_not_passed_over(steel, name, said):
    (steel / name).symlink_to("not-fetched")
    with pytest.raises(UserError, match=said):
        bring(steel)


def test_a_jpeg_mask_with_a_hole_is_named(steel):
    large = np.zeros((400, 600), np.uint8)
    large[100:300, 100:400] = 255
    data = bytearray(cv2.imencode(".jpg", large)[1].tobytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    write(steel / "large" / "a.png", large)
    (steel / "drawn" / "dent").mkdir(parents=True)
    (steel / "drawn" / "dent" / "a.jpg").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.jpg is (damaged|cut off)"):
        importing.import_data(steel / "large", steel / "drawn", steel / "out")


def test_images_of_several_pictures_are_named(steel):
    page, said = Image.fromarray(np.full(SHAPE, 90, np.uint8)), []
    page.save(steel / "train" / "e.tif", save_all=True, append_images=[page])
    bring(steel, report=said.append)
    assert any("1 images" in line and "several pictures, such as e.tif" in line for line in said)


@pytest.mark.parametrize("white", [4095, 150])
def test_white_leaves_images_of_8_bits_as_they_are_as_a_prediction_does(steel, white):
    said = []
    write(steel / "train" / "e.png", np.full(SHAPE, white, np.uint16))
    before = {path.name: images.read_image(path) for path in (steel / "train").iterdir()}
    out = bring(steel, white=white, report=said.append)
    for name, image in (before | {"e.png": np.full(SHAPE, 255)}).items():
        assert np.array_equal(images.read_image(out / "train_images" / name), image)
        assert np.array_equal(depth.read(steel / "train" / name, white).image, image)
    words = f"4 images in {steel / 'train'} have 8 bits, such as a.png, and are taken as they are"
    assert any(words in line for line in said)


def test_a_white_that_no_image_comes_near_is_named(steel):
    for name in "abcd":
        (steel / "train" / f"{name}.jpg").unlink(missing_ok=True)
        write(steel / "train" / f"{name}.png", np.full(SHAPE, 4000, np.uint16))
    with pytest.raises(UserError, match=r"--white 1e\+06: no image in .* has more than 2 of 256 grey levels"):
        bring(steel, white=1e6)
