"""Profiles and parameters: declared, merged, checked."""

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.data import dataset
from lib.errors import UserError
from lib.pipeline import graph, inputs, params, profiles, tasks

CELL = """\
epochs: int = 3  # passes over the images
rate: float = 0.1
name: str = "plain"
flip: bool = True
sizes: list[int] = [64, 416]
weights: str | None = None
plain = 5
"""


def write_notebook(path, source, tags=("parameters",)):
    cell = {
        "cell_type": "code",
        "metadata": {"tags": list(tags)},
        "source": source.splitlines(keepends=True),
        "outputs": [],
    }
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.fixture
def declarations(tmp_path):
    one = params.declared(write_notebook(tmp_path / "10_one.ipynb", CELL))
    two = params.declared(
        write_notebook(tmp_path / "20_two.ipynb", 'epochs: int = 1\ndata_dir: str = ""\nseed: int = 42\n')
    )
    return {"10_one": one, "20_two": two}


def plain(values):
    return {name: {key: value.value for key, value in keys.items()} for name, keys in values.items()}


def test_declared_reads_types_and_defaults(declarations):
    found = {name: parameter.default for name, parameter in declarations["10_one"].items()}
    assert found == {
        "epochs": 3,
        "rate": 0.1,
        "name": "plain",
        "flip": True,
        "sizes": [64, 416],
        "weights": None,
        "plain": 5,
    }
    assert list(found) == ["epochs", "rate", "name", "flip", "sizes", "weights", "plain"]


@pytest.mark.parametrize(
    "source, said",
    [
        ("a: int = 3\nb: int = a * 2\n", "line 2"),
        ("a: int = 1.5\n", "of type float, not int"),
        ("a: int\n", "line 1"),
        ("import os\n", "`import os`"),
        ("a: int = (\n", "not valid Python"),
        ("a: tuple = (1, 2)\n", "of the type tuple"),
        ("x.y = 3\n", "`x.y = 3`"),
    ],
)
def test_declared_refuses_what_cannot_be_set(tmp_path, source, said):
    with pytest.raises(UserError, match="line") as caught:
        params.declared(write_notebook(tmp_path / "broken.ipynb", source))
    assert said in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cells": 3}', "\x00"])
def test_a_file_that_is_no_notebook(tmp_path, content):
    (tmp_path / "a.ipynb").write_text(content)
    with pytest.raises(UserError, match="not a Jupyter notebook"):
        params.declared(tmp_path / "a.ipynb")


def test_later_settings_win_in_their_order(declarations):
    profile = {"10_one": {"epochs": 20}, "all": {"epochs": 10}}
    assert plain(params.effective(declarations))["10_one"]["epochs"] == 3
    values = params.effective(declarations, "demo", profile)
    assert [values[name]["epochs"] for name in values] == [(20, "demo.yaml, 10_one"), (10, "demo.yaml, all")]
    values = params.effective(
        declarations, "demo", profile, [("20_two", "epochs", "40"), ("all", "epochs", "30")]
    )
    assert [values[name]["epochs"] for name in values] == [(30, "-p all.epochs"), (40, "-p 20_two.epochs")]
    assert values["10_one"]["rate"] == (0.1, "notebook")


@pytest.fixture
def segmenters(tmp_path):
    """Notebooks of which three segment a class each, with two parameters."""
    names = ("10_one", "31_seg_class1", "32_seg_class2", "310_seg_class10")
    return {
        name: params.declared(write_notebook(tmp_path / f"{name}.ipynb", "epochs: int = 1\nseed: int = 42\n"))
        for name in names
    }


def test_segmenters_are_set_together_between_all_and_the_one(segmenters):
    profile = {"32_seg_class2": {"epochs": 4}, "segmenters": {"epochs": 3}, "all": {"epochs": 2}}
    values = params.effective(segmenters, "own", profile)
    assert [values[name]["epochs"] for name in values] == [
        (2, "own.yaml, all"),
        (3, "own.yaml, segmenters"),
        (4, "own.yaml, 32_seg_class2"),
        (3, "own.yaml, segmenters"),
    ]
    texts = ("310.epochs=7", "segmenters.epochs=6", "all.epochs=5")
    values = params.effective(
        segmenters, "own", profile, [profiles.parse_override(text, segmenters) for text in texts]
    )
    assert [values[name]["epochs"] for name in values] == [
        (5, "-p all.epochs"),
        (6, "-p segmenters.epochs"),
        (6, "-p segmenters.epochs"),
        (7, "-p 310_seg_class10.epochs"),
    ]
    assert "own.yaml, segmenters" in params.listing(params.effective(segmenters, "own", profile))


@pytest.mark.parametrize(
    "profile, said",
    [
        (
            {"segmenter": {"epochs": 3}},
            "own.yaml: there is no notebook 'segmenter'; did you mean segmenters?",
        ),
        (
            {"segmenters": {"epoch": 3}},
            "own.yaml, segmenters: no segmenter has parameter 'epoch'; did you mean epochs?",
        ),
        ({"segmenters": {"epochs": "3"}}, "own.yaml, segmenters: epochs is '3', not a whole number"),
        ({"33_seg_class4": {}}, "own.yaml: there is no notebook '33_seg_class4'; did you mean"),
    ],
)
def test_what_is_wrong_with_the_section_of_segmenters_is_said(segmenters, profile, said):
    with pytest.raises(UserError) as caught:
        params.effective(segmenters, "own", profile)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "key, value, result",
    [
        ("rate", 1, 1.0),
        ("rate", "1e-3", 0.001),
        ("sizes", [32], [32]),
        ("weights", "a.h5", "a.h5"),
        ("weights", None, None),
    ],
)
def test_values_of_the_declared_type(declarations, key, value, result):
    found = plain(params.effective(declarations, "demo", {"10_one": {key: value}}))["10_one"][key]
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(
    "key, text, result",
    [
        ("epochs", "7", 7),
        ("rate", "1e-3", 0.001),
        ("name", "7", "7"),
        ("flip", "false", False),
        ("sizes", "[1, 2]", [1, 2]),
    ],
)
def test_text_of_the_command_line_is_read_as_declared(declarations, key, text, result):
    found = plain(params.effective(declarations, overrides=[("10_one", key, text)]))["10_one"][key]
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize("text", ["1e3", "1.000,5", "three", "'7'", "1 000"])
def test_a_text_for_a_whole_number_is_called_so(declarations, text):
    for key, value in (("epochs", text), ("sizes", f'["{text}", 2]')):
        with pytest.raises(
            UserError,
            match=rf"-p 10_one\.{key} is .*, not a whole number: write it in digits alone, such as 1000\.$",
        ):
            params.effective(declarations, overrides=[("10_one", key, value)])


def test_a_parameter_given_twice_is_refused_unless_both_say_the_same():
    for other in ("10.epochs=4", "10_binary.epochs=4", "10.epochs= 3 "):
        with pytest.raises(
            UserError, match=r"-p 10_binary\.epochs is given twice, as '3' and as ' ?[34] ?'\. Give it once\."
        ):
            graph.DEFAULT_PROJECT.parse_overrides(["10.epochs=3", "all.seed=7", other])
    assert (
        len(
            graph.DEFAULT_PROJECT.parse_overrides(
                ["10.epochs=3", "10.epochs=3", "all.epochs=4", "20.epochs=5"]
            )
        )
        == 4
    )


@pytest.mark.parametrize(
    "profile, said",
    [
        (
            {"10_one": {"epoch": 3}},
            "demo.yaml, 10_one: 10_one has no parameter 'epoch'; did you mean epochs?",
        ),
        ({"all": {"sede": 3}}, "demo.yaml, all: no notebook has parameter 'sede'; did you mean seed?"),
        ({"all": {"zzzz": 3}}, "demo.yaml, all: no notebook has parameter 'zzzz'."),
        ({"10_on": {}}, "demo.yaml: there is no notebook '10_on'; did you mean 10_one?"),
        ({"10_one": {"epochs": True}}, "epochs is of type bool, not int"),
        ({"10_one": {"epochs": 3.0}}, "epochs is of type float, not int"),
        ({"10_one": {"epochs": None}}, "epochs is empty, not int"),
        ({"10_one": {"rate": "fast"}}, "rate is not a number"),
        ({"10_one": {"rate": "٠.٢"}}, "rate is not a number"),
        ({"10_one": {"rate": "infinity"}}, "rate is not a finite number"),
        ({"10_one": {"rate": float("nan")}}, "rate is not a finite number"),
        ({"10_one": {"rate": True}}, "rate is of type bool, not float"),
        ({"10_one": {"name": 7}}, "name is of type int, not str: put it in quotes"),
        ({"10_one": {"sizes": 7}}, "sizes is of type int, not list"),
        ({"10_one": {"sizes": [1, "a"]}}, "sizes is 'a', not a whole number"),
        ({"10_one": {"weights": 7}}, "weights is not of type str | None"),
        ({"20_two": {"data_dir": "x"}}, "data_dir is given by --data"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(declarations, profile, said):
    with pytest.raises(UserError) as caught:
        params.effective(declarations, "demo", profile)
    assert said in str(caught.value) and "?." not in str(caught.value)


@pytest.mark.parametrize(
    "text, result",
    [
        ("10_one.epochs=3", ("10_one", "epochs", "3")),
        ("2.name=a=b.c", ("20_two", "name", "a=b.c")),
        ("all.seed=", ("all", "seed", "")),
    ],
)
def test_parse_override(text, result):
    assert profiles.parse_override(text, ("10_one", "20_two")) == result


@pytest.mark.parametrize(
    "text, said",
    [("epochs=3", "write it as"), ("10_one.epochs", "write it as"), ("30.x=1", "no notebook '30'")],
)
def test_parse_override_refuses(text, said):
    with pytest.raises(UserError, match=said):
        profiles.parse_override(text, ("10_one", "20_two"))


def test_first_letters_must_mean_one_notebook():
    with pytest.raises(UserError, match="'3' can be 31_seg_class1 or 32_seg_class2"):
        profiles.resolve("3", ("10_one", "31_seg_class1", "32_seg_class2"), "--only")


@pytest.mark.parametrize(
    "text, number",
    [
        ("010", 10),
        ("08", 8),
        ("-007", -7),
        ("+7", 7),
        ("00", 0),
        ("1_000", 1000),
        ("09.5", 9.5),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("-.5", -0.5),
    ],
)
def test_a_number_is_read_as_people_read_it(tmp_path, declarations, text, number):
    """YAML 1.1 takes 010 for 8 and leaves 08 as text."""
    (tmp_path / "own.yaml").write_text(f"10_one:\n  rate: {text}\n  sizes: [{text}]\n")
    profile = profiles.load_profile("own", tmp_path)
    if type(number) is int:
        assert profile["10_one"]["sizes"] == [number]
        assert (
            plain(params.effective(declarations, overrides=[("10_one", "epochs", text)]))["10_one"]["epochs"]
            == number
        )
        profile["10_one"]["rate"] = profile["10_one"].pop("sizes")[0]
    else:
        del profile["10_one"]["sizes"]
    assert plain(params.effective(declarations, "own", profile))["10_one"]["rate"] == number
    assert (
        plain(params.effective(declarations, overrides=[("10_one", "rate", text)]))["10_one"]["rate"]
        == number
    )


@pytest.mark.parametrize(
    "text", ["0x1F", "0b11", "1:30", "1:30.5", "-0x1", "!!int '٣'", "!!float '٣.5'", "[1, 0x2]"]
)
def test_a_number_that_people_would_read_otherwise_is_refused(tmp_path, declarations, text):
    (tmp_path / "own.yaml").write_text(f"10_one:\n  rate: {text}\n")
    with pytest.raises(UserError, match=r"own\.yaml, line 2: .* is not written in decimal digits"):
        profiles.load_profile("own", tmp_path)
    with pytest.raises(
        UserError, match=r"-p 10_one\.rate cannot be read \(.* is not written in decimal digits, such as 90\)"
    ):
        params.effective(declarations, overrides=[("10_one", "rate", text)])


@pytest.mark.parametrize(
    "text, said",
    [
        ("all:\n  seed: 1\n  seed: 2\n", "demo.yaml, line 3: seed is set twice"),
        ("all: &a {seed: 1}\n10_one: *a\n", "demo.yaml, line 2: references"),
        ("all: {seed: [1\n", "demo.yaml, line"),
        ("a: !!python/object/apply:os.system [ls]\n", "demo.yaml, line 1"),
        ("- all\n", "holds no sections"),
        ("all: 3\n", "the section all holds no keys"),
        ("1: {a: 2}\n", "the name 1 is not text"),
        ("a: \x07\n", "not valid YAML"),
    ],
)
def test_profiles_that_are_refused(tmp_path, text, said):
    (tmp_path / "demo.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        profiles.load_profile("demo", tmp_path)
    assert said in str(caught.value)


def test_profiles_that_are_read(tmp_path):
    (tmp_path / "demo.yaml").write_text("all:\n  seed: 1\n10_one:\n")
    (tmp_path / "empty.yaml").write_text("# nothing differs\n")
    assert profiles.load_profile("demo", tmp_path) == {"all": {"seed": 1}, "10_one": {}}
    assert profiles.load_profile("empty", tmp_path) == {}
    with pytest.raises(UserError, match="no profile 'dem'; did you mean demo"):
        profiles.load_profile("dem", tmp_path)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_file_is_a_profile_or_a_sentence(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / "any.yaml").write_bytes(content)
    try:
        assert isinstance(profiles.load_profile("any", folder), dict)
    except UserError as error:
        assert str(error).startswith("any.yaml")


@pytest.fixture
def with_entries(tmp_path):
    """Two notebooks with a dictionary of entries, of which only the first has `blackout`."""
    one = write_notebook(
        tmp_path / "10_one.ipynb", 'augmentation: dict = {"flips": "both", "light": 0.1, "blackout": 0.0}\n'
    )
    two = write_notebook(tmp_path / "20_two.ipynb", 'augmentation: dict = {"flips": "both", "light": 0.2}\n')
    return {"10_one": params.declared(one), "20_two": params.declared(two)}


def test_entries_of_a_dictionary_are_set_one_by_one(with_entries):
    profile = {
        "all": {"augmentation": {"light": 1, "blackout": 0.5}},
        "20_two": {"augmentation": {"light": 0.3}},
    }
    values = params.effective(
        with_entries, "demo", profile, [profiles.parse_override("1.augmentation.flips=none", with_entries)]
    )
    assert plain(values) == {
        "10_one": {"augmentation": {"flips": "none", "light": 1.0, "blackout": 0.5}},
        "20_two": {"augmentation": {"flips": "both", "light": 0.3}},
    }
    assert values["10_one"]["augmentation"].origin == "demo.yaml, all; -p 10_one.augmentation.flips"
    assert with_entries["10_one"]["augmentation"].default == {"flips": "both", "light": 0.1, "blackout": 0.0}


@pytest.mark.parametrize(
    "section, value, said",
    [
        ("20_two", {"augmentation": {"blackout": 0.1}}, "20_two has no parameter 'augmentation.blackout'"),
        (
            "all",
            {"augmentation": {"flip": "none"}},
            "no notebook has parameter 'augmentation.flip'; did you mean augmentation.flips?",
        ),
        ("all", {"flips": "none"}, "no notebook has parameter 'flips'; did you mean augmentation.flips?"),
        ("all", {"augmentation": {"light": "much"}}, "augmentation.light is not a number"),
        (
            "all",
            {"augmentation": "none"},
            "no notebook has parameter 'augmentation'; did you mean augmentation.",
        ),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(with_entries, section, value, said):
    with pytest.raises(UserError) as caught:
        params.effective(with_entries, "demo", {section: value})
    assert said in str(caught.value)


def test_listing_names_value_and_origin(declarations):
    text = params.listing(params.effective(declarations, "demo", {"all": {"epochs": 9}}))
    rows = [line.split() for line in text.splitlines()]
    assert ["epochs", "9", "demo.yaml,", "all"] in rows
    assert ["seed", "42", "notebook"] in rows


@pytest.mark.parametrize(
    "override",
    [
        ("33_seg_class3", "seed", "7"),
        ("10_binary", "held_out", "0.1"),
        ("40_evaluation", "split_method", "random"),
    ],
)
def test_notebooks_that_would_divide_the_images_differently_are_refused(override):
    with pytest.raises(
        UserError, match=f"{override[1]} is .* in .*Set it alike, best by all.{override[1]} alone"
    ):
        graph.DEFAULT_PROJECT.values("demo", [override])
    everywhere = graph.DEFAULT_PROJECT.values("demo", [("all", *override[1:])])
    assert len({str(keys[override[1]].value) for keys in everywhere.values() if override[1] in keys}) == 1


@pytest.mark.slow
def test_other_pseudo_labels_are_another_training(tmp_path):
    path, keys = tmp_path / "pseudo_labels.csv", set()
    for content in ("a", "b", "b"):
        path.write_text(content)
        values = {"10_binary": {"pseudo_labels": params.Value(str(path), "-p")}}
        keys.add(tasks.keys_of(graph.DEFAULT_PROJECT, ["10_binary"], values, "data", None)["10_binary"])
    assert len(keys) == 2


@pytest.mark.parametrize("count, profile, said", [
    (999, "small_data", "only 999 training images; with 1,000 or more"), (1000, "full", "1,000 training images; with fewer"),
])  # fmt: skip
def test_the_profile_for_unknown_data_follows_from_how_many_images_there_are(tmp_path, count, profile, said):
    (tmp_path / "train_images").mkdir()
    for number in range(count):
        (tmp_path / "train_images" / f"{number}.png").touch()
    found, why = inputs.choose_profile("", inputs.Data(tmp_path, "named by --data", False))
    assert found == profile and said in why
    assert inputs.choose_profile("demo", inputs.Data(tmp_path, "named by --data", False)) == (
        "demo",
        "named by --profile",
    )
    assert inputs.choose_profile("", inputs.Data(None, "", True))[0] == "demo"


@pytest.mark.parametrize("own, given, expected", [
    ((256, 1600), (0, 0), (256, 1600)), ((200, 200), (0, 0), (224, 224)), ((1, 33), (0, 0), (32, 64)), ((200, 200), (128, 0), (128, 224)),
])  # fmt: skip
def test_a_networks_size_is_the_images_own_where_none_is_given(own, given, expected):
    assert dataset.network_size({"height": own[0], "width": own[1]}, *given) == expected


@pytest.mark.parametrize("old, new", params.RENAMED.items())
def test_a_parameter_with_another_name_than_before_is_told(old, new):
    declared = {"10_binary": {new: params.Parameter(1, ast.Name("int"))}}
    with pytest.raises(UserError, match=f"^-p all.{old}: {old} is called {new} now. Use that name.$"):
        params.effective(declared, overrides=[("all", old, "1")])
    recorded = [["10_binary", old, "1"], ["31_seg_class1", "defect_class", "1"], ["all", new, "2"]]
    assert graph.DEFAULT_PROJECT.renamed(recorded) == [
        ["10_binary", new, "1"],
        ["all", new, "2"],
    ]  # what a run of before recorded can be gone on with
    project = graph.DEFAULT_PROJECT.declarations()
    assert any(new in keys for keys in project.values()) and not any(old in keys for keys in project.values())
