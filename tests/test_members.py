"""Members of ensembles as tasks of their own: the same files as the loop in the notebook, one that is missing alone
is trained again, and one that fails is named."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from test_pipeline import alive, call, data, wait_for  # noqa: F401

import run_all
from lib import files, paths
from lib.errors import UserError, exit_code_of
from lib.models import members
from lib.pipeline import (
    cache_key,
    executor,
    graph,
    params,
    products,
    reuse,
    run_state,
    scheduler,
    tasks,
    units,
    worker,
)
from lib.pipeline.run_state import NotebookTask, RunState
from lib.report import charts, pages

MODELS = {"10_binary": (), "40_evaluation": ("10_binary",)}
CELLS = {  # of a notebook that trains no network, but leaves what one would
    "bootstrap": f"import sys, time\nsys.path.insert(0, {str(paths.PROJECT)!r})",
    "imports": "from lib import files, paths\nfrom lib.models import members",
    "parameters": "data_dir: str = ''\nrun_dir: str = ''\nseed: int = 42\nn_members: int = 1\n"
    "waiting: int = -1\ntta: int = 1",
    "member": """
run, trained = paths.open_run(run_dir), {}
for member in members.to_train(n_members):
    path = run / "scratch" / "10_trains" / str(member) / "trained.npz"
    if not path.is_file():
        (run / f"began_{member}").write_text("")
        while member == waiting and (run.parent / "hold").exists():
            time.sleep(0.05)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(seed + member))
    trained[member] = path.read_text()
""",
    "save": """
for member in range(n_members):
    folder = paths.member_folder(run / "models" / "trains", member)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "model.json", {"weights": trained[member], "fold": [member, n_members]})
files.record_metrics(run, "10_trains", "all", total=sum(map(int, trained.values())) * tta)
""",
}


def build(folder):
    """A project of that notebook alone, in a folder."""
    cells = [nbformat.v4.new_markdown_cell("# 10 Trains")]
    cells += [nbformat.v4.new_code_cell(text, metadata={"tags": [tag]}) for tag, text in CELLS.items()]
    for name in ("notebooks", "params"):
        (folder / name).mkdir(exist_ok=True)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "notebooks" / "10_trains.ipynb"
    )
    (folder / "params" / "small.yaml").write_text("all: {}\n")
    return graph.Project(
        folder / "notebooks",
        folder / "params",
        folder / "runs",
        {"10_trains": ()},
        {"10_trains": ("models/trains/model.json",)},
    )


def results(run_dir):
    """{file: content} of what counts: networks, trainings, metrics."""
    names = [path for part in ("models", "scratch", "metrics") for path in (run_dir / part).rglob("*")]
    return {path.relative_to(run_dir).as_posix(): path.read_bytes() for path in names if path.is_file()}


def test_notebooks_that_take_their_classes_from_one_network_train_it_alike():
    """Else each would train it anew, and put it in the place of the other's."""
    together = ["segmenters", "together", "true"]
    with pytest.raises(
        UserError, match=r"^epochs is 16 in 31_seg_class1 .* Set it alike, by segmenters\.epochs alone"
    ):
        graph.DEFAULT_PROJECT.values("demo", [together])
    alike = [together, ["segmenters", "epochs", "8"], ["segmenters", "crop_width", "160"]]
    alike += [["31_seg_class1", "tta", "[none]"]]  # which teaches nothing
    graph.DEFAULT_PROJECT.values("small_data", alike)
    graph.DEFAULT_PROJECT.values(
        "demo", [together], ["31_seg_class1", "40_evaluation"]
    )  # the others do not run


@pytest.fixture
def run(tmp_path, data, capsys):  # noqa: F811
    """run("--jobs", "2", ...) runs that project in this process: (exit code, what it printed)."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def inner(*arguments):
        arguments = ("--data", str(data), *arguments)
        code = exit_code_of(run_all.perform, *run_all.parse(arguments), build(tmp_path))
        return code, "".join(capsys.readouterr())

    yield inner
    for number, handler in handlers.items():
        signal.signal(number, handler)


def statuses(run_dir):
    return {name: task.status for name, task in run_state.read(run_dir).notebooks.items()}


def test_a_notebook_trains_all_its_members_or_the_one_that_its_task_names(monkeypatch):
    monkeypatch.delenv(members.VARIABLE, raising=False)
    assert members.to_train(3) == [0, 1, 2] and not members.is_alone()
    monkeypatch.setenv(members.VARIABLE, "2")
    assert members.to_train(3) == [1] and members.is_alone()


def values_with(**changed):
    """What the project's notebooks run with, some of it changed: {"10_binary.n_members": "3"}."""
    return graph.DEFAULT_PROJECT.values(
        "demo", [[*key.rsplit(".", 1), text] for key, text in changed.items()]
    )


def test_one_network_is_no_ensemble_and_a_member_comes_before_its_notebook():
    project, every = graph.DEFAULT_PROJECT, list(graph.GRAPH)
    assert project.divided(values_with(), every) is project
    values = values_with(**{"10_binary.n_members": "2", "20_multilabel.n_members": "2"})
    divided = project.divided(values, ["10_binary", "40_evaluation"])
    assert [name for name in divided.graph if name not in graph.GRAPH] == ["10_binary.1", "10_binary.2"]
    assert divided.graph["10_binary"] == ("10_binary.1", "10_binary.2") and divided.reads("10_binary") == ()
    assert (
        divided.graph["20_multilabel"] == ()
        and divided.graph["40_evaluation"] == graph.GRAPH["40_evaluation"]
    )
    assert divided.outputs_of("10_binary.2") == (
        "10_binary.2.ipynb", "10_binary.2.html", "scratch/10_binary/1/trained.npz",
    )  # fmt: skip
    assert divided.notebook("10_binary.2") == project.notebook("10_binary")


def test_classes_that_learn_together_share_their_members():
    together = {"all.n_members": "2", "segmenters.together": "true", "segmenters.epochs": "9"}
    values = values_with(**together, **{"33_seg_class3.tta": "[none]"})  # which teaches nothing
    divided = graph.DEFAULT_PROJECT.divided(values, ["32_seg_class2", "33_seg_class3", "34_seg_class4"])
    of_all = ("31_seg_class1.1", "31_seg_class1.2")
    assert all(divided.graph[name] == of_all for name in ("32_seg_class2", "33_seg_class3", "34_seg_class4"))
    assert divided.units["31_seg_class1.2"].training == "scratch/together/1/trained.npz"
    assert divided.users("31_seg_class1.1") == ["32_seg_class2", "33_seg_class3", "34_seg_class4"]


def test_what_only_evaluates_trains_no_member_again_and_the_notebook_has_the_key_it_had(monkeypatch):
    modules = cache_key.library()
    monkeypatch.setattr(cache_key, "library", lambda: modules)  # reading them takes a second

    def keys(**changed):
        values = values_with(**{"10_binary.n_members": "2", **changed})
        project = graph.DEFAULT_PROJECT.divided(values, ["10_binary"])
        return tasks.keys_of(
            project, ["10_binary.1", "10_binary.2", "10_binary"], values, {"sha256": "f"}, None
        )

    first, other = keys(), keys(**{"10_binary.tta": "[none]"})
    assert first["10_binary.1"] != first["10_binary.2"]
    same = [name for name in first if first[name] == other[name] and first[name]]
    assert same == ["10_binary.1", "10_binary.2"]
    assert keys(**{"10_binary.epochs": "3"})["10_binary.1"] != first["10_binary.1"]
    values = values_with(**{"10_binary.n_members": "2"})
    whole = tasks.keys_of(graph.DEFAULT_PROJECT, ["10_binary"], values, {"sha256": "f"}, None)
    assert whole["10_binary"] == first["10_binary"]


def test_the_cells_of_a_member_end_with_its_training(tmp_path):
    project = build(tmp_path)
    cells = worker.cells_of_member(project.notebook("10_trains"), 2).cells
    assert [cell.metadata.get("tags") for cell in cells[2:]] == [[tag] for tag in list(CELLS)[:4]]
    assert cells[1].source.startswith("*Member 2 of the ensemble, trained alone.")


class Writer:
    """An executor without processes: a job writes what it must leave, or fails where its name is `failing`."""

    def __init__(self, project, failing=""):
        self.project, self.failing, self.started = project, failing, []

    def start(self, notebook, run_dir, parameters, member=0):
        name = units.name_of(notebook.stem, member)
        self.started.append(name)
        for product in self.project.products_of(name) if name != self.failing else ():
            files.write_atomic(run_dir / product, f"{name} {sorted(parameters.items())}")
        return name

    def poll(self, job):
        return executor.Result(False, "no such luck") if job == self.failing else executor.Result(True)

    def stop(self, job):
        raise AssertionError("nothing runs")


def schedule(folder, count, previous=None, failing="", selected=("10_binary", "40_evaluation"), jobs=2):
    """Two notebooks, the first with an ensemble of so many; (names in the order of their starts, the state)."""
    base = replace(
        graph.DEFAULT_PROJECT,
        runs=folder,
        graph=MODELS,
        products={"10_binary": ("models/binary/model.json",), "40_evaluation": ("thresholds.json",)},
        further={},
    )
    values = {
        name: {"n_members": params.Value(count if name == "10_binary" else 1, "")} for name in base.graph
    }
    project = base.divided(values, selected)
    chosen = [name for name in project.graph if name in selected or name in project.units]
    keys = {name: f"{units.notebook_of(name)} {count}" for name in project.graph}
    before = previous.notebooks if previous else {}
    run_dir = folder / "x"
    run_dir.mkdir(exist_ok=True)
    state = RunState("", "", {}, tasks.begin(project, chosen, keys, run_dir, before, set()), run="x")
    settings = {"parameters": {name: {} for name in base.graph}, "jobs": jobs}
    settings |= {"code": "", "versions": {}, "environment": {}, "data": ""}
    place = Writer(project, failing)
    declared = {name: {} for name in base.graph}
    scheduler.Scheduler(project, run_dir, state, chosen, keys, settings, declared, place).run()
    return place.started, run_state.read(run_dir)


def test_members_come_first_and_stand_while_their_network_does(tmp_path, capsys):
    started, state = schedule(tmp_path, 2)
    assert started == ["10_binary.1", "10_binary.2", "10_binary", "40_evaluation"]
    assert state.status == "done" and list(state.parameters) == ["10_binary", "40_evaluation"]
    assert "(2 of 4" in capsys.readouterr().out
    (tmp_path / "x" / "scratch" / "10_binary" / "0" / "trained.npz").unlink()  # the networks lie in models/
    assert schedule(tmp_path, 2, state)[0] == []
    (
        tmp_path / "x" / "models" / "binary" / "model.json"
    ).unlink()  # now it is wanted, and the other one stands
    assert schedule(tmp_path, 2, state)[0] == ["10_binary.1", "10_binary"]


def test_a_member_that_fails_is_named_and_the_others_are_trained(tmp_path, capsys):
    started, state = schedule(tmp_path, 3, failing="10_binary.2", jobs=1)
    assert started == ["10_binary.1", "10_binary.2", "10_binary.3"]
    said = capsys.readouterr().out
    assert (
        "10_binary.2      FAILED after 0.1 s: no such luck" in said
        or "10_binary.2      FAILED after 0." in said
    )
    assert "10_binary        not run, because it needs 10_binary.2" in said
    assert state.notebooks["10_binary"].error == "Not run, because 10_binary.2 failed."
    assert schedule(tmp_path, 3, state)[0] == ["10_binary.2", "10_binary", "40_evaluation"]


def test_a_smaller_ensemble_leaves_nothing_of_its_former_members(tmp_path):
    run_dir, state = tmp_path / "x", schedule(tmp_path, 3)[1]
    for name in ("1", "2", "3", "mine"):
        files.write_atomic(run_dir / f"10_binary.{name}.html", "")
    other = schedule(tmp_path, 3, state, selected=("40_evaluation",))[1]  # what is not run stays on record
    assert list(other.notebooks) == list(state.notebooks)
    smaller = schedule(tmp_path, 2, other)[1]
    assert list(smaller.notebooks) == ["10_binary.1", "10_binary.2", "10_binary", "40_evaluation"]
    assert not (run_dir / "10_binary.3.html").exists()
    assert list(schedule(tmp_path, 1, smaller)[1].notebooks) == list(MODELS)
    assert [path.name for path in run_dir.glob("10_binary.*.html")] == ["10_binary.mine.html"]


def test_a_member_that_classes_share_is_taken_over_with_what_it_began_with(tmp_path):
    values = values_with(
        **{"segmenters.n_members": "2", "segmenters.together": "true", "segmenters.epochs": "9"}
    )
    project = graph.DEFAULT_PROJECT.divided(values, ["31_seg_class1"])
    donor, run_dir, name = tmp_path / "donor", tmp_path / "new", "31_seg_class1.2"
    for path in ("scratch/together/1/trained.npz", "scratch/pretraining/trained.npz", f"{name}.html"):
        files.write_atomic(donor / path, path)
    nbformat.write(nbformat.v4.new_notebook(), donor / f"{name}.ipynb")
    task = NotebookTask(product_hashes=products.hashes_of(donor, project.outputs_of(name)))
    assert reuse.copy_outputs(project, name, task, donor, run_dir)
    assert (run_dir / "scratch" / "pretraining" / "trained.npz").is_file()
    (donor / "scratch" / "together" / "1" / "trained.npz").write_text("of another training")
    assert not reuse.copy_outputs(project, name, task, donor, tmp_path / "other")


def test_the_index_names_members_in_the_card_of_their_notebook(tmp_path):
    state = RunState(
        "", "", {}, {name: NotebookTask() for name in ("10_binary.1", "10_binary.2", "10_binary")}
    )
    state.notebooks["10_binary.2"].error = "no such luck"
    run_state.write(tmp_path, state)
    (tmp_path / "10_binary.1.html").write_text("")
    pages.write_index(tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count('<li class="card ') == 1
    assert '<a href="10_binary.1.html">member 1</a>' in text and "no such luck" in text


def test_every_member_has_its_curve_and_a_single_network_looks_as_ever():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [3.0, 2.0]})
    single = charts.learning_curves([history]).axes[0]
    assert [line.get_label() for line in single.lines] == ["training", "validation"]
    assert single.lines[0].get_color() == charts.GREY
    several = charts.learning_curves([history, history]).axes[0]
    assert [text.get_text() for text in several.get_legend().get_texts()] == ["member 1", "member 2"]
    assert len(several.lines) == 4


@pytest.mark.slow
def test_side_by_side_one_after_the_other_and_in_the_loop_by_hand_they_are_the_same(tmp_path, run):
    for name, jobs in (("one", "1"), ("two", "2")):
        code, said = run("--profile", "small", "--run", name, "--jobs", jobs, "-p", "10.n_members=2")
        assert code == 0 and "(3 of 3)" in said
    by_hand = tmp_path / "runs" / "hand"
    papermill.execute_notebook(
        tmp_path / "notebooks" / "10_trains.ipynb",
        tmp_path / "hand.ipynb",
        {"run_dir": str(by_hand), "n_members": 2},
        progress_bar=False,
    )
    found = results(by_hand)
    assert results(tmp_path / "runs" / "one") == results(tmp_path / "runs" / "two") == found
    assert "models/trains.2/model.json" in found and json.loads(found["metrics/10_trains.json"])[
        "metrics"
    ] == {"total": 85}
    said = run("--profile", "small", "--run", "sweep", "-p", "10.n_members=2", "--sweep", "10.tta=5,6")[1]
    assert said.count("10_trains.1      taken from the run") == 2  # which trained it from the same


@pytest.mark.slow
def test_killed_in_a_member_and_gone_on_with_the_missing_one_alone_is_trained(tmp_path, data, run):  # noqa: F811
    run_dir, hold = tmp_path / "runs" / "a", tmp_path / "runs" / "hold"
    build(tmp_path)
    hold.parent.mkdir()
    hold.write_text("")
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_members as t, run_all\n"
    )
    script += (
        "from pathlib import Path; run_all.perform(*run_all.parse(sys.argv[2:]), t.build(Path(sys.argv[1])))"
    )
    options = [
        "--data",
        str(data),
        *["--profile", "small", "--run", "a", "--jobs", "1", "-p", "10.n_members=2", "-p", "10.waiting=1"],
    ]
    command = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), *options], cwd=paths.PROJECT, start_new_session=True
    )
    wait_for(lambda: (run_dir / "began_1").is_file())
    assert statuses(run_dir)["10_trains.1"] == "done"
    command.kill()
    command.wait()
    for path in run_dir.glob("began_*"):
        path.unlink()
    hold.unlink()
    code, said = run("--resume")
    assert code == 0 and "10_trains.1      cached" in said and not (run_dir / "began_0").exists()
    assert list(statuses(run_dir).values()) == ["cached", "done", "done"]
    assert not alive([command.pid]) and not list(run_dir.glob(".*.partial.ipynb"))


SHAPE = (32, 64)  # pixels of an image


@pytest.mark.slow
def test_networks_are_the_same_to_the_bit(tmp_path, monkeypatch, capsys):
    """The project's own notebook: members as tasks side by side, and the loop as Jupyter runs it."""
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.setenv(variable, "1")
    rng, rows, folder = np.random.default_rng(0), ["ImageId,ClassId,EncodedPixels"], tmp_path / "data"
    for number in range(16):
        part = folder / ("train_images" if number < 14 else "test_images")
        part.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(part / f"{number:02}.png"), rng.integers(0, 255, SHAPE, np.uint8))
        rows += [f"{number:02}.png,1,40 9"] if number < 14 and number % 2 else []
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    files.write_json(folder / "dataset.json", {"classes": 1, "height": SHAPE[0], "width": SHAPE[1]})
    settings = {"n_members": 2, "epochs": 2, "height": 32, "width": 64, "crop_width": 32, "held_out": 0.3}
    products = {"10_binary": graph.PRODUCTS["10_binary"]}
    project = replace(
        graph.DEFAULT_PROJECT, runs=tmp_path / "runs", graph={"10_binary": ()}, products=products, further={}
    )
    words = ["--data", str(folder), "--profile", "demo", "--run", "units", "--jobs", str(os.cpu_count())]
    words += [word for key, value in settings.items() for word in ("-p", f"10_binary.{key}={value}")]
    monkeypatch.setattr(graph.Project, "for_classes", lambda self, classes: self)
    assert run_all.perform(*run_all.parse(words), project) == 0, capsys.readouterr().out
    by_hand, divided = tmp_path / "hand", tmp_path / "runs" / "units"
    papermill.execute_notebook(
        project.notebook("10_binary"),
        tmp_path / "hand.ipynb",
        {**settings, "data_dir": str(folder), "run_dir": str(by_hand)},
        cwd=project.notebooks,
        progress_bar=False,
    )
    one, other = results(divided), results(by_hand)
    exported = {
        name for name in one if "/saved_model/" in name or name.endswith("manifest.json")
    }  # other bytes each time
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name] and name not in exported] == []
    assert len({one[f"models/{name}/model.weights.h5"] for name in ("binary", "binary.2")}) == 2
