"""The words of CONTRIBUTING.md: what stands in the left column of its table names nothing in lib, notebooks
and params."""

import ast
import json
import re

import pytest
import yaml

from lib.paths import PROJECT

# What the code still has. It only ever shrinks: a word that is gone is struck here.
STILL = ""


def table(page):
    """{word: whether it may be a part of a longer name} of the left column."""
    found = {}
    for left in re.findall(r"(?m)^\| (`[^|]*) \|", page.partition("## Words")[2]):
        found |= dict.fromkeys(re.findall(r"`(\w+)`", left), "alone" in left)
    return found


def named(tree):
    """What a syntax tree gives names to: variables, arguments, functions, classes, fields, the keys of
    dictionaries and metrics.

    RENAMED, a table of old names, is none of it.
    """
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    tables = [
        node.value
        for node in assigned
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id == "RENAMED"
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "record_metrics",
            "dict",
        ):
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)
        elif (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.slice, ast.Constant)
        ):
            yield str(node.slice.value)
        elif isinstance(node, ast.Dict) and node not in tables:
            yield from (
                key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
            )


def keys_of(value):
    """All keys of nested dictionaries."""
    if isinstance(value, dict):
        yield from map(str, value)
        for one in value.values():
            yield from keys_of(one)


def sources():
    """(where, names) of every module and notebook, and of every profile."""
    for path in sorted((PROJECT / "lib").rglob("*.py")):
        yield (
            path.relative_to(PROJECT).as_posix(),
            [path.stem, *named(ast.parse(path.read_text(encoding="utf-8")))],
        )
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = [
            cell
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code"
        ]
        lines = [
            line
            for cell in cells
            for line in "".join(cell["source"]).splitlines()
            if not line.startswith("%")
        ]
        yield path.name, list(named(ast.parse("\n".join(lines))))
    for path in sorted((PROJECT / "params").glob("*.yaml")):
        yield path.name, list(keys_of(yaml.safe_load(path.read_text(encoding="utf-8"))))


def has(word, alone, name):
    """Whether a word is a name, or a part of it between underscores or capitals, unless it counts alone."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
    return words == word if alone else f"_{word}_" in f"_{words}_"


def uses(words, places):
    """{word: where it is still a name}."""
    found = {}
    for where, names in places:
        for word, alone in words.items():
            if any(has(word, alone, name) for name in set(names)):
                found.setdefault(word, []).append(where)
    return found


def test_no_word_of_the_left_column_names_anything():
    words = table((PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(words) > 40 and words["number"] and not words["evidence"]
    found = uses(words, sources())
    assert {word: where for word, where in found.items() if word not in STILL.split()} == {}
    assert set(STILL.split()) - set(found) == set(), "These are gone: strike them from STILL."


def written(run):
    """(file, names) of what a run wrote: the keys of its JSON files, and in its pages what is set as code or heads a
    table."""
    for path in sorted(run.rglob("*.json")):
        if "saved_model" not in path.parts:
            yield (
                path.relative_to(run).as_posix(),
                list(keys_of(json.loads(path.read_text(encoding="utf-8")))),
            )
    for path in sorted(run.glob("*.html")):
        text = re.sub(r"<pre.*?</pre>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        marked = re.findall(r"<(code|th)\b[^>]*>(.*?)</\1>", text, flags=re.DOTALL)
        yield path.name, [word for _, inside in marked for word in re.findall(r"\w+_\w+", inside)]


@pytest.mark.slow
def test_no_word_of_the_left_column_stands_in_what_a_run_writes(whole_project):
    words = table((PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    names = list(written(whole_project / "runs" / "ID"))
    assert {"metrics.json", "thresholds.json", "index.html", "40_evaluation.html"} <= {
        where for where, _ in names
    }
    assert sum(len(of_file) for _, of_file in names) > 300
    assert uses(words, names) == {}


@pytest.mark.parametrize(
    "source, expected",
    [
        ("def gather_evidence(): pass", {"evidence"}),
        ("class EvidenceOfAll: pass", {"evidence"}),
        ("class A:\n    headline: str", {"headline"}),
        ("self.evidence = 1", {"evidence"}),
        ("x = {'evidence': 1}", {"evidence"}),
        ("f(lambda number: 1, evidence=2)", {"number"}),  # another's keyword is another's name
        ("class_number, numbers = 1, 2", set()),
        ("for number in numbers: pass", {"number"}),
        ("files.record_metrics(run, name, evidence_score=number)", {"evidence"}),
        ("x['evidence'] = x['headline']", {"evidence"}),
        ("RENAMED = {'evidence': 'predictions'}", set()),
        ("'evidence'; evidence.number", set()),
    ],
)
def test_what_counts_as_a_name(source, expected):
    words = {"evidence": False, "headline": False, "number": True}
    assert set(uses(words, [("here", list(named(ast.parse(source))))])) == expected
