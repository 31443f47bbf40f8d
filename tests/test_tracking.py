"""What is handed to a tool that collects runs."""

import importlib.util
import json
import math

import numpy as np
import pytest

from lib import files
from lib.errors import UserError
from lib.pipeline import tracking
from lib.pipeline.run_state import RunState


@pytest.fixture
def run(tmp_path):
    """(folder, state) of a run with a parameter, some metrics and a curve."""
    folder = tmp_path / "runs" / "a"
    recorded = {
        "run": "a",
        "score": 0.5,
        "brier": {"any": 0.25, "2 cracks, long (A&B)": 0.25},
        "none": None,
        "list": [1.0],
        "flag": True,
    }
    files.write_json(folder / "metrics.json", recorded)
    training = folder / "scratch" / "10_binary" / "0" / "trained.npz"
    training.parent.mkdir(parents=True)
    history = [{"epoch": 1, "loss": 0.75}, {"epoch": 2, "loss": 0.25, "val_loss": 0.5}]
    np.savez(training, np.array(json.dumps({"history": history})))
    state = RunState("demo", "2026-01-01", {}, {}, run="a", code="abc")
    state.parameters = {"31": {"epochs": 8, "run_dir": str(folder), "augmentation": {"flips": "none"}}}
    return folder, state


def test_a_run_is_recorded_with_parameters_metrics_and_curves(run):
    assert tracking.record_of(*run) == tracking.Record(
        "a",
        {"31.epochs": "8", "31.augmentation.flips": "none", "profile": "demo", "code": "abc"},
        {"score": 0.5, "brier.any": 0.25, "brier.2 cracks, long (A&B)": 0.25},
        {"10_binary/0/loss": [(1, 0.75), (2, 0.25)], "10_binary/0/val_loss": [(2, 0.5)]},
    )


def test_a_tool_that_is_none_or_not_installed_is_refused_in_a_sentence(monkeypatch):
    tracking.insist_on("")
    with pytest.raises(
        UserError, match=r"--track excel: there is no such tool. Choose one of: mlflow, tensorboard\."
    ):
        tracking.insist_on("excel")
    monkeypatch.setitem(tracking.SINKS, "mlflow", "no_such_package")
    with pytest.raises(
        UserError, match=r"not installed. Install it: python -m pip install -r requirements-mlflow"
    ):
        tracking.insist_on("mlflow")


@pytest.mark.slow
def test_tensorboard_reads_what_it_was_handed(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second time in place of the first
        tracking.track("tensorboard", *run)
    folder = run[0].parent / "tensorboard" / "a"
    assert len(list(folder.iterdir())) == 1
    events = EventAccumulator(str(folder)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("10_binary/0/loss")] == [
        (1, 0.75),
        (2, 0.25),
    ]
    assert math.isclose(events.Scalars("brier.any")[0].value, 0.25)
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")


@pytest.mark.slow
def test_mlflow_has_what_it_was_handed_where_it_is_installed(run, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if importlib.util.find_spec("mlflow") is None:
        with pytest.raises(UserError, match="mlflow is not installed"):
            tracking.insist_on("mlflow")
        return
    from mlflow.tracking import MlflowClient

    for _ in range(2):  # the second time in place of the first
        tracking.track("mlflow", *run)
    client = MlflowClient(tracking_uri=tracking.database(run[0].parent / "mlflow"))
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.data.params["31.epochs"] == "8" and found.data.metrics["score"] == 0.5
    assert found.data.metrics["brier.2 cracks_ long _A_B_"] == 0.25
    curve = client.get_metric_history(found.info.run_id, "10_binary/0/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 0.75), (2, 0.25)]
    files.write_json(run[0] / "metrics.json", {"../up": 0.5})  # a name that no server takes
    with pytest.raises(
        UserError, match=r"did not take the run: .+ What was finished is kept\. Hand it on with .*--run a\."
    ):
        tracking.track("mlflow", *run)
    assert found.info.run_id in [one.info.run_id for one in client.search_runs([experiment.experiment_id])]


def test_names_are_written_as_mlflow_takes_them():
    """Its expression is ^[/\\w.\\- :]*$."""
    assert tracking.fit_for_mlflow("brier.2 cracks, long (A&B)") == "brier.2 cracks_ long _A_B_"
    assert tracking.fit_for_mlflow("10_binary/0/val_loss: größe-1") == "10_binary/0/val_loss: größe-1"
