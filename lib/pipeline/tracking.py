"""`--track`: what a run set, scored and learned, handed to a tool that collects runs. Two are known, MLflow and
TensorBoard; neither is needed for anything else, and nothing leaves the machine but to a server that
MLFLOW_TRACKING_URI names."""

import contextlib
import importlib.util
import math
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib import files
from lib.errors import UserError, print_line
from lib.pipeline import params
from lib.pipeline.run_state import RunState
from lib.report.pages import flat

SINKS = {"mlflow": "mlflow", "tensorboard": "tensorboard"}  # the name for --track: the package
INSTALL = {
    "mlflow": "python -m pip install -r requirements-mlflow.txt",
    "tensorboard": "python -m pip install -r requirements.txt",
}
EXPERIMENT = "steel strip defects"
LONGEST_VALUE = 500  # letters of a parameter that MLflow takes in all its versions
MOST_AT_ONCE = 1000  # metrics that MLflow takes in one call


@dataclass(frozen=True)
class Record:
    """What is handed on of a run. parameters: {"31_seg_class1.epochs": "8"}; metrics: numbers of metrics.json;
    curves: {"10_binary/0/val_loss": [(epoch, value), ...]}, a network of an ensemble each."""

    name: str
    parameters: dict[str, str]
    metrics: dict[str, float]
    curves: dict[str, list[tuple[int, float]]]


def insist_on(sink: str) -> None:
    """UserError where there is no such sink, or its package is not installed; "" is none."""
    if sink and sink not in SINKS:
        raise UserError(f"--track {sink}: there is no such tool. Choose one of: {', '.join(SINKS)}.")
    if sink and importlib.util.find_spec(SINKS[sink]) is None:
        raise UserError(f"--track {sink}: {SINKS[sink]} is not installed. Install it: {INSTALL[sink]}.")


def track(sink: str, run_dir: Path, state: RunState) -> None:
    """Hand a run to a sink; what that had of the run before is replaced.

    Arguments:
        sink: one of SINKS; run_dir: runs/NAME; its record goes to runs/mlflow or runs/tensorboard beside it.
    """
    record, folder = record_of(run_dir, state), run_dir.parent / sink
    if sink == "tensorboard":
        to_tensorboard(record, folder)
        print_line(f"tracked  {folder}: tensorboard --logdir {folder}")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        address = os.environ.get("MLFLOW_TRACKING_URI") or database(folder)
        to_mlflow(record, address)
        print_line(f"tracked  {address}: mlflow ui --backend-store-uri {address}")


def database(folder: Path) -> str:
    """The address of MLflow's database in a folder."""
    return f"sqlite:///{(folder / 'mlflow.db').resolve().as_posix()}"


def record_of(run_dir: Path, state: RunState) -> Record:
    """What a run's files say of it; numbers alone of what it recorded, finite ones."""
    from lib.evaluation import histories

    parameters = {
        f"{notebook}.{key}": str(value)
        for notebook, values in state.parameters.items()
        for key, value in flat(
            {key: value for key, value in values.items() if key not in params.COMMAND_LINE}
        )
    }
    parameters |= {"profile": state.profile, "code": state.code}
    recorded = files.read_json(run_dir / "metrics.json")
    curves = {
        f"{training}/{member}/{column}": _points(history, column)
        for training, members in histories.read(run_dir).items()
        for member, history in enumerate(members)
        for column in map(str, history.columns)
        if column != "epoch"
    }
    metrics = {name: float(value) for name, value in flat(recorded) if _is_number(value)}
    return Record(state.run, parameters, metrics, curves)


def _points(history: Any, column: str) -> list[tuple[int, float]]:
    """(epoch, value) of a column of a history."""
    pairs = zip(history["epoch"], history[column], strict=True)
    return [(int(epoch), float(value)) for epoch, value in pairs if _is_number(value)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def to_tensorboard(record: Record, folder: Path) -> None:
    """Write folder/NAME: curves and metrics as scalars, and parameters for the page of hyperparameters."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it loads TensorFlow, which tells what it can do
    from tensorboard.compat.proto import event_pb2
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    with files.scratch(folder / record.name) as partial:
        writer = EventFileWriter(str(partial))
        summary = summary_v2.hparams_pb(dict(record.parameters), trial_id=record.name)
        writer.add_event(event_pb2.Event(summary=summary, wall_time=time.time()))
        curves = record.curves | {name: [(0, value)] for name, value in record.metrics.items()}
        now = time.time()
        for name, points in curves.items():
            for step, value in points:
                event = event_pb2.Event(step=step, wall_time=now)
                event.summary.value.add(tag=name, simple_value=value)
                writer.add_event(event)
        writer.close()
        shutil.rmtree(folder / record.name, ignore_errors=True)
        files.put(partial, folder / record.name)


def to_mlflow(record: Record, address: str) -> None:
    """Write a run of MLflow's: parameters, metrics, and curves with the epoch as their step. UserError where it does not
    take them: what it had of the run before stays then."""
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    parameters = [
        Param(fit_for_mlflow(name), value[:LONGEST_VALUE]) for name, value in record.parameters.items()
    ]
    curves = record.curves | {name: [(0, value)] for name, value in record.metrics.items()}
    metrics = [
        Metric(fit_for_mlflow(name), value, 0, step)
        for name, points in curves.items()
        for step, value in points
    ]
    run_id = ""
    try:
        client = MlflowClient(tracking_uri=address)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
        runs = client.search_runs([experiment_id])
        run_id = client.create_run(experiment_id, run_name=record.name).info.run_id
        for start in range(0, len(parameters), 100):
            client.log_batch(run_id, params=parameters[start : start + 100])
        for start in range(0, len(metrics), MOST_AT_ONCE):
            client.log_batch(run_id, metrics=metrics[start : start + MOST_AT_ONCE])
        client.set_terminated(run_id)
        for former in runs:
            if former.info.run_name == record.name:
                client.delete_run(former.info.run_id)
    except MlflowException as error:
        if run_id:
            with contextlib.suppress(MlflowException):
                client.delete_run(run_id)
        raise UserError(
            f"--track mlflow: {address} did not take the run: {str(error).splitlines()[0]}. What was finished is kept. Hand "
            f"it on with the same option, --resume and --run {record.name}."
        ) from error


def fit_for_mlflow(name: str) -> str:
    """A name of a parameter or metric with "_" for every letter that MLflow takes in none, such as a comma of a class's."""
    return re.sub(r"[^\w.\- :/]", "_", name)
