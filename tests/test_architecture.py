"""The rooms of lib: every import leads down, and the picture of it in docs/ is as the imports are."""

import importlib.util

import pytest

from lib.paths import PROJECT

specification = importlib.util.spec_from_file_location("architecture", PROJECT / "docs" / "architecture.py")
architecture = importlib.util.module_from_spec(specification)
specification.loader.exec_module(architecture)

ORDER = (
    "errors",
    "files",
    "paths",
    "data",
    "models",
    "synthetic",
    "plots",
    "report",
    "inference",
    "evaluation",
    "bundle",
    "pipeline",
    "kaggle",
    "cluster",
)
FOUND = architecture.modules()


def test_every_import_leads_down():
    assert tuple(architecture.rooms()) == ORDER
    assert len(FOUND) > 50 and "lib.data.rle" in FOUND["data.dataset"].at_import
    assert architecture.violations(FOUND, ORDER) == []


@pytest.mark.parametrize(
    "module, line, expected",
    [
        ("errors", "from lib import files", "errors imports lib.files, which lies above it"),
        (
            "data/rle",
            "from lib.inference import cascade",
            "data.rle imports lib.inference.cascade, which lies above it",
        ),
        (
            "data/rle",
            "def f():\n    import lib.kaggle.pack",
            "data.rle imports lib.kaggle.pack, which lies above it",
        ),
        (
            "data/rle",
            "from lib.models.losses import dice_loss",
            "data.rle imports Keras: data.rle -> models.losses -> keras",
        ),
        (
            "kaggle/pack",
            "from lib.importer import main",
            "kaggle.pack imports lib.importer, which lies above it",
        ),
        ("importer", "from lib.kaggle import pack", ""),  # a command may
        ("data/rle", "from lib.data import dataset", "modules import each other: lib.data."),
        ("data/rle", "def f():\n    from lib.data import dataset", ""),  # not at import
        ("data/rle", "x = 1\n" * 300, "data.rle has more than 300 lines: "),
        ("helpers", "x = 1", "helpers lies in no room"),
        ("tools/one", "x = 1", "tools.one lies in no room"),
        ("evaluation/__init__", "from lib.evaluation import metrics", "evaluation lies in no room"),
        (
            "inference/cascade",
            "import segmentation_models",
            "inference.cascade imports segmentation_models, which only models may know",
        ),
        (
            "pipeline/run",
            "def f():\n    import papermill",
            "pipeline.run imports papermill, which only pipeline.worker may know",
        ),
        (
            "kaggle/pack",
            "from nbconvert.exporters import HTMLExporter",
            "kaggle.pack imports nbconvert, which only report may know",
        ),
        (
            "pipeline/run",
            "def f():\n    from ray import util",
            "pipeline.run imports ray, which only cluster may know",
        ),
        (
            "evaluation/metrics",
            "def f():\n    import keras",
            "evaluation.metrics imports Keras: evaluation.metrics -> keras",
        ),
        (
            "pipeline/params",
            "from tensorflow import io",
            "pipeline.params imports Keras: pipeline.params -> tensorflow",
        ),
        ("inference/submission", "from lib.models import losses", "inference.submission imports Keras: "),
    ],
)
def test_one_that_does_not_is_named(module, line, expected):
    path, name = PROJECT / "lib" / f"{module}.py", module.replace("/", ".").removesuffix(".__init__")
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    changed = FOUND | {name: architecture.read(f"{source}\n{line}\n", {*FOUND, name})}
    before = architecture.violations(FOUND, ORDER)
    more = [one for one in architecture.violations(changed, ORDER) if one not in before]
    assert any(one.startswith(expected) for one in more) if expected else not more, more


def test_the_picture_is_drawn_from_the_imports_as_they_are():
    purposes = architecture.rooms()
    drawn = architecture.picture(FOUND, purposes)
    assert architecture.PICTURE.read_text(encoding="utf-8") == drawn, "Run: python docs/architecture.py"
    other = FOUND | {
        "synthetic.generate": FOUND["synthetic.generate"]._replace(anywhere=frozenset({"lib.plots"}))
    }
    assert architecture.picture(other, purposes) != drawn
    assert architecture.edges(FOUND)["evaluation"] == {"inference"}  # data and the rest follow from that


def test_the_script_draws_it_and_says_what_breaks_a_rule(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(architecture, "PICTURE", tmp_path / "drawn.svg")
    assert architecture.main() == 0 and "every import leads down" in capsys.readouterr().out
    assert (tmp_path / "drawn.svg").read_bytes() == (PROJECT / "docs" / "architecture.svg").read_bytes()
    monkeypatch.setattr(
        architecture, "modules", lambda: FOUND | {"helpers": architecture.read("x = 1", FOUND)}
    )
    assert architecture.main() == 1 and capsys.readouterr().out == "helpers lies in no room\n"
