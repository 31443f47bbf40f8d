"""Ranges and choices of parameters: read from comments, held against values, and declared for every parameter
of every notebook."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import run_all
from lib import files, paths
from lib.data import augmentation, choices
from lib.errors import UserError
from lib.inference import postprocess
from lib.models import runtime
from lib.pipeline import graph, params, ranges

NOTEBOOKS = sorted((paths.PROJECT / "notebooks").glob("*.ipynb"))
FREE_TEXT = {"data_dir", "run_dir", "manifest_sha256"}  # all other texts are choices


@pytest.mark.parametrize(
    "comment, right, wrong",
    [
        ("1..1000: passes", [1, 1000], [0, 1001, -1, "1", True]),
        ("0..: of the bootstrap", [0, 10**30], [-1]),
        ("0<..<1: share", [0.5, 1e-9], [0, 1, 0.0, 1.0, -0.1]),
        ("0<..1", [1.0], [0.0, 1.1]),
        ("0..8192 by 32: pixels", [0, 32, 8192], [16, 33, 8224]),
        ("0 | 32..640: pixels, whole strips at 0", [0, 32, 33], [1, 31, 641]),
        ("-1..1", [-1, 0], [-1.1]),
        ("none | both", ["none", "both"], ["non", "None", "", "none ", 0, ["none"]]),
        ("2019 | current", ["2019", "current"], ["2020", ""]),
        ("both filters | soft gating: words", ["soft gating"], ["soft", "gating"]),
        (
            "compact | choices.ENCODERS: such as resnet50",
            ["compact", "resnet50"],
            ["ResNet50", "choices.ENCODERS"],
        ),
        ("2 of 1..9: two", [[1, 9]], [[1], [1, 2, 3], [0, 1], 2, [1, "2"], [1, [2]]]),
        (
            "1..4 of choices.FLIPS",
            [["none"], ["none", "both"]],
            [[], ["none", "none"], ["nix"], "none", ["none", "both", "x"]],
        ),
        (
            "choices.AUGMENTATION",
            [{"flips": "none", "shift": 0.1}, {}],
            [{"flips": "vertcal"}, {"shift": 2.0}, {"shfit": 0.1}],
        ),
    ],
)
def test_a_value_is_held_against_what_the_comment_says(comment, right, wrong):
    domain = ranges.read(comment)
    assert [value for value in right if ranges.problem(value, domain)] == []
    assert [value for value in wrong if not ranges.problem(value, domain)] == []


@pytest.mark.parametrize(
    "comment",
    ["", "of everything random", "share of images: those held out", "folder with train.csv; empty: none"],
)
def test_a_comment_in_words_says_nothing_about_values(comment):
    assert ranges.read(comment) is None
    assert ranges.problem(-1, None) == ""


@pytest.mark.parametrize(
    "comment", ["1...9: passes", "..9", "one..two", "choices.NOTHING | a", "a || b", "1..9 by x"]
)
def test_a_declaration_written_wrongly_is_an_error_of_the_notebook(comment):
    with pytest.raises(ValueError):
        ranges.read(comment)


@given(low=st.integers(-50, 50), size=st.integers(0, 50), value=st.integers(-200, 200))
def test_a_range_holds_its_ends_and_all_between(low, size, value):
    assert (ranges.problem(value, ranges.read(f"{low}..{low + size}: words")) == "") == (
        low <= value <= low + size
    )


@pytest.mark.parametrize(
    "value, comment, said",
    [
        (
            "horizontl",
            "choices.FLIPS",
            "'horizontl' (did you mean horizontal?), and must be none, vertical, horizontal or both",
        ),
        ("unet", "Unet | FPN | Linknet", "'unet' (did you mean Unet?), and must be Unet, FPN or Linknet"),
        (-1, "1..1000000: of the bootstrap", "-1, and must be 1 to 1000000"),
        (1.0, "0..<1", "1.0, and must be 0 or more and below 1"),
        (100, "32..4096 by 32", "100, and must be a multiple of 32, 32 to 4096"),
        ([], "1..4 of choices.FLIPS", "[]: it has 0 entries, and must have 1 to 4"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_right(value, comment, said):
    assert ranges.problem(value, ranges.read(comment)) == said


def test_a_file_is_looked_for_in_the_project_wherever_the_notebook_runs(tmp_path, monkeypatch):
    domain = ranges.read("none | imagenet | FILE: weights")
    (tmp_path / "own.h5").write_bytes(b"")
    assert ranges.problem(str(tmp_path / "own.h5"), domain) == ranges.problem("README.md", domain) == ""
    monkeypatch.chdir(tmp_path)
    assert ranges.problem("README.md", domain) == ""
    for missing in ("own.h5", "imagnet", "", str(tmp_path)):
        assert "a file that exists" in ranges.problem(missing, domain)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_number_and_choice_of_every_notebook_has_its_range(path):
    for name, parameter in params.declared(path).items():
        if type(parameter.default) is not bool and name not in FREE_TEXT:
            assert parameter.domain is not None, name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_number_just_outside_of_its_range_is_refused_before_the_first_cell(path):
    """Every end of every range of every parameter: itself passes, the next number beyond does not."""
    declarations, tried = {path.stem: params.declared(path)}, 0
    for key, parameter in params.settable(declarations[path.stem]).items():
        if key == "defect_class":
            with pytest.raises(UserError, match="the class is the notebook's own, and its name says it"):
                params.effective(declarations, overrides=[(path.stem, key, "2")])
            continue
        for option in parameter.domain.options if parameter.domain and parameter.domain.count is None else ():
            if not isinstance(option, ranges.Range):
                continue
            step = option.step or (1 if isinstance(parameter.default, int) else 1e-6)
            ends = [(option.low, -step, option.above), (option.high, step, option.below)]
            for end, outward, excluded in ends:
                if end is None:
                    continue
                beyond = type(parameter.default)(end if excluded else end + outward)
                if str(beyond) in parameter.domain.options:  # such as 0 beside a range that begins at 32
                    continue
                with pytest.raises(UserError, match=re.escape(f"{key} of {path.stem} is {beyond}")):
                    params.effective(declarations, overrides=[(path.stem, key, repr(beyond))])
                tried += 1
    assert tried >= 3


def written(path, source):
    """A notebook with one cell, that of its parameters."""
    files.write_json(
        path, {"cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}]}
    )
    return path


def test_defaults_are_held_against_their_ranges_too(tmp_path):
    declarations = {
        "10_one": params.declared(written(tmp_path / "10_one.ipynb", "epochs: int = 0  # 1..9: passes\n"))
    }
    with pytest.raises(UserError, match=r"10_one\.ipynb: epochs of 10_one is 0, and must be 1 to 9"):
        params.effective(declarations)
    with pytest.raises(UserError, match=r"p\.yaml, 10_one: epochs of 10_one is 10, and must be 1 to 9"):
        params.effective(declarations, "p", {"10_one": {"epochs": 10}})
    with pytest.raises(UserError, match=r"line 1 of its parameters cell.*not a range"):
        params.declared(written(tmp_path / "a.ipynb", "epochs: int = 0  # 1...9: passes\n"))


@pytest.mark.parametrize(
    "overrides, said",
    [
        ("all.held_out=0.9", "held_out is 0.9 and validation 0.15, which leaves nothing"),
        (
            "all.held_out=0 all.keep=last",
            "held_out is 0 and n_members below 2, so that nothing is left to judge",
        ),
        (
            "all.held_out=0 all.n_members=3",
            "held_out is 0, so that each network's validation strips judge it, and keep is best",
        ),
        (
            "all.held_out=0 all.n_members=3 all.keep=last all.pseudo_labels=README.md",
            "pseudo_labels come from networks that learned them",
        ),
        ("31.keep=last 31.patience=3", "patience waits for a better epoch, and keep is last"),
        ("31.weights=imagenet", "the backbone compact has none"),
        ("32.architecture=FPN", "The backbone compact exists as a Unet, not as FPN"),
        (
            "segmenters.crop_width=832",
            "31_seg_class1: crop_width is 832, but the strips are only 800 pixels wide at the network's input",
        ),
        ("34.width=128", "34_seg_class4: crop_width is 160, but the strips are only 128 pixels wide"),
        (
            "10.backbone=Xception 10.height=70",
            "height is 70 and width 800, but the backbone Xception needs 71 pixels or more",
        ),
        (
            "20.backbone=InceptionV3 20.width=74",
            "height is 128 and width 74, but the backbone InceptionV3 needs 75",
        ),
        (
            "31.backbone=inceptionv3 31.height=64",
            "height is 64 and width 800, but the backbone inceptionv3 needs 75",
        ),
        (
            "10.backbone=MobileNetV2 10.width=700",
            "width is 700, but to learn from crops the backbone MobileNetV2 needs a multiple of 32",
        ),
    ],
)
def test_values_that_do_not_go_together_are_told_before_the_first_cell(overrides, said):
    with pytest.raises(UserError, match=said):
        graph.DEFAULT_PROJECT.values("demo", graph.DEFAULT_PROJECT.parse_overrides(overrides.split()))


def test_values_of_a_notebook_that_is_not_asked_for_hold_up_no_other(capsys):
    narrow = [
        "--list",
        "--profile",
        "demo",
        "-p",
        "all.width=96",
    ]  # fits 10_binary, and not the crops of the segmenters
    assert run_all.main([*narrow, "--only", "00,10"]) == 0
    assert (
        run_all.main([*narrow, "--only", "10,31"]) == 2
        and "31_seg_class1: crop_width is 160" in capsys.readouterr().err
    )
    assert run_all.main(narrow) == 2


@pytest.mark.parametrize("overrides", [
    "all.held_out=0 all.n_members=2 all.keep=last", "segmenters.crop_width=800", "segmenters.crop_width=0 all.width=64",
    "10.crop_width=900",
    "10.backbone=Xception 10.height=71",
    "31.backbone=inceptionv3 31.height=96 31.width=64 31.crop_width=32",
    "10.backbone=MobileNetV2 10.width=700 10.crop_width=0", "10.backbone=ResNet50 10.width=700",
])  # fmt: skip
def test_sizes_that_go_together_are_taken(overrides):
    graph.DEFAULT_PROJECT.values("demo", graph.DEFAULT_PROJECT.parse_overrides(overrides.split()))


def test_every_profile_is_within_the_ranges():
    for path in graph.DEFAULT_PROJECT.profiles.glob("*.yaml"):
        graph.DEFAULT_PROJECT.values(path.stem, ())


def test_choices_written_out_in_comments_are_those_of_the_code():
    def options(name, key):
        return params.declared(graph.DEFAULT_PROJECT.notebooks / f"{name}.ipynb")[key].domain.options

    assert set(options("40_evaluation", "strategy")) == set(postprocess.STRATEGIES)
    assert options("40_evaluation", "engine") == runtime.ENGINES
    assert options("40_evaluation", "tta") == options("31_seg_class1", "tta") == choices.FLIPS
    assert options("10_binary", "tta") == options("40_evaluation", "classifier_tta") == choices.TTA


def opened(parameters, **changes):
    """A kernel's globals after its parameters cell was run, with values that were changed since."""
    source = f'data_dir: str = ""  # folder\nrun_dir: str = ""  # folder\n{parameters}'
    namespace = {"In": ["", "import os", source, "ranges.check_opened(globals())"]}
    exec(source, namespace)
    return namespace | changes


def test_a_notebook_that_is_opened_by_hand_checks_its_parameters():
    ranges.check_opened(opened("epochs: int = 3  # 1..9: passes\n"))
    ranges.check_opened({})  # no IPython
    with pytest.raises(
        UserError, match=r"epochs is 0, and must be 1 to 9\. Change it in the parameters cell"
    ):
        ranges.check_opened(opened("epochs: int = 0  # 1..9: passes\n"))
    with pytest.raises(UserError, match="epochs is 10"):
        ranges.check_opened(opened("epochs: int = 3  # 1..9: passes\n", epochs=10))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_checks_them_before_anything_else(path):
    cells = [cell for cell in params.read_notebook(path)["cells"] if cell["cell_type"] == "code"]
    place = next(i for i, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", []))
    following = ["".join(cell["source"]).removeprefix("ranges.") for cell in cells[place + 1 : place + 3]]
    assert any(source.startswith("check_opened(globals())") for source in following)


def test_an_augmentation_has_the_entries_that_its_notebook_knows_and_those_left_out_change_nothing():
    masks = {"flips": "both", "shift": 0.1}
    for name in ("10_binary", "20_multilabel"):  # whose strips have no masks that could be moved
        (path,) = (path for path in NOTEBOOKS if path.stem == name)
        domain = params.declared(path)["augmentation"].domain
        assert "'shift' is none of flips, brightness, contrast" in ranges.problem(masks, domain)
    assert ranges.problem(masks, ranges.read("choices.AUGMENTATION")) == ""
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(augmentation.augment(np.random.default_rng(0), image, flips="none"), image)


@pytest.mark.parametrize("which", ["vertcal", "None", "", None])
def test_a_misspelt_flip_is_an_error_wherever_it_is_used(which):
    with pytest.raises(UserError, match="no flip called"):
        augmentation.flip(np.zeros((2, 2), np.uint8), which)
    with pytest.raises(UserError, match="no flip called"):
        augmentation.augment(np.random.default_rng(0), np.zeros((2, 2), np.uint8), flips=which)
