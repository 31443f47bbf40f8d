"""The notebooks: how they are stored and built up, and every one executed on a handful of strips."""

import ast
import json
import os
import re
import shutil

import cv2
import numpy as np
import papermill
import pytest
from whole_run import PARAMETERS

from lib import files, paths
from lib.inference import predictor
from lib.pipeline import params

FOLDER = paths.PROJECT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
COMMON = {"data_dir": "", "run_dir": "", "seed": 42, "max_images": 0, "synthetic_sizes": [1500, 240]}
LONGEST_CELL = 30  # lines
CELLS_WITHOUT_PROSE = 3

METRICS = {  # that a notebook must hand on
    "00_eda": ("images", "defective_share", "images_per_class", "near_duplicate_pairs"),
    "05_shift": ("shift_auc", "shift_auc_interval", "shift_effective_strips", "shift_importances", "shift_distance", "shift_shown"),
    "10_binary": ("binary_accuracy", "binary_recall", "binary_threshold"),
    "20_multilabel": ("multilabel_accuracy", "multilabel_exact"),
    **{f"3{k}_seg_class{k}": (f"seg_class{k}_dice_unfiltered",) for k in (1, 2, 3, 4)},
    "40_evaluation": (
        "competition_score", "all_empty_score", "dice_positives_class1", "lost_points", "brier", "expected_test_score",
    ),
    "90_inference": ("test_competition_score", "test_all_empty_score", "masks_per_class"),
}  # fmt: skip
MEMBERS = {  # ensembles of two in 16 bits, with pseudo-labels
    "10_binary": {**PARAMETERS["10_binary"], "n_members": 2, "dtype_policy": "mixed_bfloat16", "split_method": "random",
                  "max_images": 11, "balanced_sampling": True},
    "31_seg_class1": {**PARAMETERS["31_seg_class1"], "n_members": 2, "dtype_policy": "mixed_bfloat16", "loss": "focal",
                      "augmentation": {"flips": "horizontal", "brightness": 0.0, "contrast": 0.0}},
}  # fmt: skip
BY_HAND = {
    "40_evaluation": {**PARAMETERS["40_evaluation"], "strategy": "multilabel filter", "engine": "openvino"},
    "90_inference": {"max_test_images": 1, "submission_format": "current", "time_budget": 60.0},
}


def cells_of(path, kind="code"):
    """[(source, tags)] of a notebook's cells of one kind."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [("".join(c["source"]), c["metadata"].get("tags", [])) for c in cells if c["cell_type"] == kind]


def tagged(path, tag):
    return [source for source, tags in cells_of(path) if tag in tags]


def per_notebook(function):
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)(function)


@per_notebook
def test_is_stored_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        assert "papermill" not in cell["metadata"]
    assert "papermill" not in notebook["metadata"]


@per_notebook
def test_names_its_language(path):
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert metadata["language_info"]["name"] == "python"


@per_notebook
def test_begins_with_a_title_and_a_table_of_what_it_reads_and_writes(path):
    prose = [source for source, _ in cells_of(path, "markdown")]
    assert re.match(r"# \S", prose[0])
    assert any("reads" in text and "writes" in text and "|---" in text for text in prose[:2])


@per_notebook
def test_bootstrap_is_the_first_code_and_the_same_everywhere(path):
    assert cells_of(path)[0][1] == ["bootstrap"]
    assert tagged(path, "bootstrap") == tagged(FOLDER / "00_eda.ipynb", "bootstrap")


@per_notebook
def test_parameters_are_typed_with_a_trailing_comment(path):
    (source,) = tagged(path, "parameters")
    declared = params.declared(path)
    assert {name: declared[name].default for name in COMMON} == COMMON
    for line in source.splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"\w+: [\w\[\], |]+ = .+  # [^=]+", line), line


@per_notebook
def test_every_parameter_is_used(path):
    code = "\n".join(
        re.sub(r"(?m)^%.*$", "", source) for source, tags in cells_of(path) if "parameters" not in tags
    )
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert set(params.declared(path)) - used <= ({"max_images"} if path.stem == "90_inference" else set())


@per_notebook
def test_code_cells_are_short_and_prose_is_never_far(path):
    lines = [len(source.splitlines()) for source, tags in cells_of(path) if "parameters" not in tags]
    assert np.median(lines) <= 5
    assert max(lines) <= LONGEST_CELL
    in_a_row = 0
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        in_a_row = in_a_row + 1 if cell["cell_type"] == "code" else 0
        assert in_a_row <= CELLS_WITHOUT_PROSE, "".join(cell["source"])


@per_notebook
def test_defines_no_class_and_one_function_at_most(path):
    source = "\n".join(re.sub(r"(?m)^%.*$", "", source) for source, _ in cells_of(path))
    nodes = list(ast.walk(ast.parse(source)))
    assert not [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    assert len([node for node in nodes if isinstance(node, ast.FunctionDef)]) <= 1


def test_the_segmentation_notebooks_differ_in_parameters_and_story_alone():
    books = [path for path in NOTEBOOKS if "_seg_class" in path.stem]
    code = [[source for source, tags in cells_of(path) if "parameters" not in tags] for path in books]
    assert len(books) == 4
    assert all(cells == code[0] for cells in code)


@per_notebook
def test_hands_its_figures_on_and_has_a_thumbnail(path):
    assert sum(source.count("record_metrics(") for source, _ in cells_of(path)) == 1
    assert len(tagged(path, "thumbnail")) == 1


@pytest.fixture(scope="session")
def strips(whole_project):
    """Twelve generated strips and four for the test."""
    (folder,) = (whole_project / "data").iterdir()
    return folder


@pytest.fixture(scope="session")
def run(whole_project):
    """The run folder in which every notebook was executed."""
    return whole_project / "runs" / "ID"


def execute(name, data, run, **parameters):
    """Execute a notebook from its own folder; what it hands on: {"summary", "metrics"}."""
    parameters |= {"data_dir": str(data), "run_dir": str(run)}
    unknown = set(parameters) - set(params.declared(FOLDER / f"{name}.ipynb"))
    assert not unknown  # papermill would only warn
    papermill.execute_notebook(
        FOLDER / f"{name}.ipynb", run / f"{name}.ipynb", parameters, cwd=FOLDER, progress_bar=False
    )
    return files.read_json(run / "metrics" / f"{name}.json")


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_runs_on_a_few_strips(name, run):
    handed_on = files.read_json(run / "metrics" / f"{name}.json")
    assert handed_on["summary"]
    assert set(METRICS[name]) <= set(handed_on["metrics"])
    if name == "40_evaluation":
        assert {"filter_curve", "reliability", "gallery"} <= set(files.read_json(run / "evaluation.json"))
        assert (run / "explore.html").read_text(encoding="utf-8").count('"maps": [') > 0
        named = files.read_json(run / "thresholds.json")["class_names"]
        assert named == ["class 1", "class 2", "class 3", "class 4"]
    assert {path.name for path in run.glob("scratch/*")} <= set(
        METRICS
    )  # a notebook calls its own as the pipeline does
    cells = files.read_json(run / f"{name}.ipynb")["cells"]
    noise = [
        "".join(part["text"])
        for cell in cells
        for part in cell.get("outputs", ())
        if part.get("name") == "stderr"
    ]
    assert not noise  # it would stand in the report
    ran_with = files.read_json(run / "run.json")["notebooks"][name]["ran"]["parameters"]
    for parameter, value in PARAMETERS[name].items():
        assert ran_with[parameter] == ({**ran_with[parameter], **value} if isinstance(value, dict) else value)


def bytes_of(folder):
    """{path: content} of all files in a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def by_hand(strips, run, tmp_path, monkeypatch):
    """(a project whose only run is a finished one, a function that runs a notebook in it as Jupyter does: not
    by run_all.py)."""
    project = tmp_path / "project"
    for name in ("lib", "notebooks"):
        shutil.copytree(
            paths.PROJECT / name,
            project / name,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
        )
    shutil.copytree(run, project / "runs" / "finished")
    files.write_json(project / "runs" / "finished" / "run.json", {"run": "finished", "status": "done"})
    monkeypatch.delenv(paths.RUN_VARIABLE, raising=False)

    def execute_in(name, **parameters):
        folder = project / "notebooks"
        parameters |= {"data_dir": str(strips)}
        papermill.execute_notebook(
            folder / f"{name}.ipynb", tmp_path / f"{name}.ipynb", parameters, cwd=folder, progress_bar=False
        )
        outputs = [
            part
            for cell in files.read_json(tmp_path / f"{name}.ipynb")["cells"]
            for part in cell.get("outputs", ())
        ]
        return "".join("".join(part.get("text", "")) for part in outputs)

    return project, execute_in


@pytest.mark.slow
def test_what_is_opened_by_hand_reads_the_newest_and_leaves_a_finished_run_as_it_is(by_hand):
    project, execute_in = by_hand
    finished, own = project / "runs" / "finished", project / "runs" / "interactive"
    before = bytes_of(finished)
    # as if class 1 had just been trained by hand: the folder `interactive` itself is older than the run's
    shutil.copytree(finished / "models" / "seg_class2", own / "models" / "seg_class1")
    (own / "models" / "seg_class1" / "model.json").touch()
    os.utime(own, (0, 0))

    said = execute_in("40_evaluation", **BY_HAND["40_evaluation"])
    assert f"The networks are those of {finished / 'models'} and {own / 'models'}." in said
    thresholds, cards = files.read_json(own / "thresholds.json"), finished / "models"
    taken = {
        "binary": "binary",
        "multilabel": "multilabel",
        "seg_class1": "seg_class2",
        "seg_class2": "seg_class2",
        "seg_class3": "seg_class3",
        "seg_class4": "seg_class4",
    }
    assert thresholds["models"] == {
        name: files.read_json(cards / real / "model.json")["weights_sha256"] for name, real in taken.items()
    }
    assert (own / "metrics" / "40_evaluation.json").is_file() and (own / "predictions.npz").is_file()

    execute_in(
        "90_inference", **BY_HAND["90_inference"]
    )  # the thresholds just chosen, with networks of two folders
    assert (own / "submission.csv").read_text().startswith("ImageId,EncodedPixels,ClassId\n")
    assert (own / "split.csv").read_bytes() == before["split.csv"]  # beside the pseudo-labels
    assert bytes_of(finished) == before


@pytest.mark.slow
def test_networks_that_learned_from_other_strips_are_not_judged(by_hand):
    project, execute_in = by_hand
    card = project / "runs" / "finished" / "models" / "seg_class3" / "model.json"
    files.write_json(card, files.read_json(card) | {"split": "another"})
    with pytest.raises(
        papermill.PapermillExecutionError, match="seg_class3 was trained on another division of the images"
    ):
        execute_in("40_evaluation", **PARAMETERS["40_evaluation"])


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMBERS)
def test_an_ensemble_of_folds_learns_in_16_bits_and_from_pseudo_labels(name, strips, run, tmp_path):
    labels = (run / "pseudo_labels.csv").read_text().splitlines()
    rows = [line.split(",") for line in labels[1:]]
    sure = tmp_path / "pseudo_labels.csv"
    sure.write_text("\n".join([labels[0], *(",".join([row[0], "1.0", *row[2:]]) for row in rows)]) + "\n")
    execute(name, strips, tmp_path, **MEMBERS[name], pseudo_labels=str(sure))
    folder = tmp_path / "models" / name.split("_", 1)[1]
    assert [path.name for path in paths.member_folders(folder)] == [folder.name, f"{folder.name}.2"]
    cards = [files.read_json(path / "model.json") for path in paths.member_folders(folder)]
    assert cards[0]["weights_sha256"] != cards[1]["weights_sha256"]
    assert (
        len(
            np.stack(
                list(predictor.Network(folder)([str(path) for path in (strips / "test_images").iterdir()]))
            )
        )
        == 4
    )


@pytest.mark.slow
def test_eda_counts_another_data_set(tmp_path):
    """Small pictures of another shape, three classes of which one is never there, a pair of copies, a broken
    test image, one that was chosen for labelling."""
    data = tmp_path / "data"
    (data / "train_images").mkdir(parents=True)
    (data / "test_images").mkdir()
    random = np.random.default_rng(0)
    pictures = {name: random.integers(0, 255, (60, 90), np.uint8) for name in "abcd"}
    for name, picture in {**pictures, "e": pictures["a"]}.items():
        cv2.imwrite(str(data / "train_images" / f"{name}.png"), picture)
    (data / "test_images" / "t.png").write_bytes(b"no picture")
    (data / "chosen.csv").write_text("image_id\nb.png\n")
    (data / "train.csv").write_text(
        "ImageId,ClassId,EncodedPixels\na.png,1,1 5\na.png,3,61 20\nb.png,3,100 9 200 9\n"
    )
    files.write_json(
        data / "dataset.json",
        {"classes": 3, "height": 60, "width": 90, "class_names": ["dent", "hole", "rust"]},
    )
    recorded = execute("00_eda", data, tmp_path)["metrics"]
    assert recorded["images"] == 5
    assert recorded["defective_share"] == pytest.approx(2 / 5)
    assert recorded["images_per_class"] == [1, 0, 2]
    assert recorded["empty_pair_share"] == pytest.approx(12 / 15)
    assert recorded["near_duplicate_pairs"] == 1
    assert "Errors found: 1; warnings: 0." in (tmp_path / "00_eda.ipynb").read_text(encoding="utf-8")
