"""Settings of the machine and of its user change no result: Keras, matplotlib, Jupyter, the home folder."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_pipeline import small_project

from lib import files, paths
from lib.errors import UserError
from lib.models import environment as environment_module
from lib.models.environment import DROPPED, FOREIGN, cores, of_notebook, set_up
from lib.pipeline import run_state
from lib.report import pages

STATE = """import json, keras, matplotlib, sys
from lib import plots
from lib.models import losses
print(json.dumps([keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(), keras.config.backend(),
                  keras.config.max_epochs(), keras.config.max_steps_per_epoch(),
                  matplotlib.rcParams["text.usetex"], matplotlib.rcParams["font.size"]]))"""
OWN = ["float32", 1e-7, "channels_last", "tensorflow", None, None, False, 10.0]


VARIABLES = {"KERAS_BACKEND": "jax", "SM_FRAMEWORK": "keras", "TF_USE_LEGACY_KERAS": "1", "KERAS_MAX_EPOCHS": "1",
             "KERAS_MAX_STEPS_PER_EPOCH": "1", "TF_ENABLE_ONEDNN_OPTS": "0", "OMP_NUM_THREADS": "3"}  # fmt: skip


@pytest.fixture
def foreign(tmp_path):
    """The environment of a user whose settings are all other than ours."""
    for name, content in {
        ".keras/keras.json": json.dumps(
            {"floatx": "float64", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}
        ),
        "matplotlib/matplotlibrc": "text.usetex: True\nfont.size: 31\n",
        "ipython/profile_default/startup/00.py": "raise SystemExit('startup file')",
        "ipython/profile_default/ipython_config.py": "raise SystemExit('configuration')",
        "startup.py": "raise SystemExit('startup')",
        "jupyter/kernels/python3/kernel.json": json.dumps(
            {"argv": ["false"], "display_name": "Python 3", "language": "python"}
        ),
        "config/jupyter_client_config.py": "raise SystemExit('configuration')",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    places = {
        "HOME": "",
        "MPLCONFIGDIR": "matplotlib",
        "IPYTHONDIR": "ipython",
        "PYTHONSTARTUP": "startup.py",
        "JUPYTER_PATH": "jupyter",
        "JUPYTER_CONFIG_DIR": "config",
    }
    return os.environ | {name: str(tmp_path / place) for name, place in places.items()} | VARIABLES


def bootstrap():
    """The code that every notebook begins with."""
    cells = nbformat.read(paths.PROJECT / "notebooks" / "10_binary.ipynb", as_version=4).cells
    return next(cell.source for cell in cells if "bootstrap" in cell.metadata.get("tags", [])).replace(
        "%config", "#"
    )


@pytest.mark.slow
def test_lib_sets_keras_and_matplotlib_as_it_means_them(foreign):
    """As in a notebook: the bootstrap cell first."""
    command = [sys.executable, "-c", f"{bootstrap()}\n{STATE}"]
    ended = subprocess.run(command, env=foreign, cwd=paths.PROJECT, capture_output=True, text=True)
    assert json.loads(ended.stdout.splitlines()[-1]) == OWN, ended.stderr


@pytest.mark.parametrize("jobs, threads", [(1, "3"), (2, str(max(cores() // 2, 1)))])
def test_a_notebooks_environment_is_the_projects_and_what_changes_last_bits_is_recorded(
    jobs, threads, monkeypatch
):
    for name, value in (VARIABLES | dict.fromkeys(FOREIGN, "1")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    environment = of_notebook(jobs)
    assert [environment[name] for name in ("KERAS_BACKEND", "SM_FRAMEWORK", "TF_USE_LEGACY_KERAS")] == [
        "tensorflow",
        "tf.keras",
        "0",
    ]
    assert not {"KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "MPLBACKEND", "PYTHONSTARTUP"} & set(
        environment
    )
    assert not {"PYTHONSAFEPATH", "PYTHONWARNINGS", "PYTHONOPTIMIZE"} & set(environment)
    found = environment_module.recorded(environment)
    assert (found["TF_ENABLE_ONEDNN_OPTS"], found["OMP_NUM_THREADS"]) == ("0", threads)
    assert not {"KAGGLE_KEY", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", "HOME"} & set(found)


def test_the_command_finds_its_library_where_python_does_not_look_beside_it(tmp_path):
    environment = os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": ""}
    command = [sys.executable, str(paths.PROJECT / "run_all.py"), "--jobs", "0"]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.startswith("error: --jobs 0"), ended.stderr


def test_what_a_library_of_ours_sets_is_not_the_users():
    """Else the first run of a sweep, after which scikit-learn is loaded, would differ from the others."""
    code = "import os, sklearn; from lib.models import environment; print(environment.recorded(os.environ))"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}
    words = {"cwd": paths.PROJECT, "env": clean, "capture_output": True, "text": True, "check": True}
    assert "KMP_" not in subprocess.run([sys.executable, "-c", code], **words).stdout


def test_run_json_records_the_environments_of_notebooks_that_ran_in_several():
    ran = [
        {"parameters": {}, "code": "c", "versions": {"numpy": "1"}, **more}
        for more in (
            {"environment": {"OMP_NUM_THREADS": "1"}},
            {"environment": {"OMP_NUM_THREADS": "2", "TF_X": "0"}},
            {},
        )
    ]
    state = run_state.RunState(
        "", "", {}, {str(number): run_state.NotebookTask(ran=each) for number, each in enumerate(ran)}
    )
    state.record({"parameters": {name: {} for name in "012"}})
    assert state.environment == {"OMP_NUM_THREADS": "1, 2, none", "TF_X": "none, 0"}
    assert dict(pages.ran_with(dataclasses.asdict(state), "1")) == {
        "environment.OMP_NUM_THREADS": "2",
        "environment.TF_X": "0",
    }


@pytest.mark.parametrize("content, said", [
    ({"floatx": "float99"}, "floatx is 'float99'"), ({"floatx": ["float32"]}, "floatx is ['float32']"),
    ({"epsilon": "small"}, "epsilon is"), ({"image_data_format": "channels"}, "image_data_format is 'channels'"),
    ([1], "it holds no settings"),
])  # fmt: skip
def test_a_keras_file_that_keras_does_not_start_with_is_named(content, said, tmp_path, monkeypatch, capsys):
    """`import keras` would fail in every notebook, with an AssertionError without a word."""
    file = tmp_path / ".keras" / "keras.json"
    files.write_json(file, content)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    expected = f"{file}: {said}"
    with pytest.raises(UserError) as raised:
        set_up()
    assert str(raised.value).startswith(expected) and str(raised.value).endswith(
        "Correct it, or delete the file: this project needs none."
    )
    assert small_project.call(tmp_path, "--profile", "small", "--data", str(tmp_path)) == 2
    assert expected in capsys.readouterr().err and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "content", ["{", "", '{"floatx": "float16", "epsilon": 0.1, "backend": "jax", "other": 1}']
)
def test_a_keras_file_that_keras_starts_with_has_no_effect(content, tmp_path, monkeypatch):
    (tmp_path / "keras.json").write_text(content)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    set_up()


def test_a_notebook_opened_by_hand_names_a_bad_keras_file(tmp_path):
    files.write_json(tmp_path / "keras.json", {"floatx": "float99"})
    command = [sys.executable, "-c", f"{bootstrap()}\nimport keras"]
    ended = subprocess.run(
        command,
        env=os.environ | {"KERAS_HOME": str(tmp_path)},
        cwd=paths.PROJECT,
        capture_output=True,
        text=True,
    )
    assert (
        f"{tmp_path / 'keras.json'}: floatx is 'float99'" in ended.stderr
        and "AssertionError" not in ended.stderr
    )


NOTEBOOK = """import getpass, os, sys, json
from pathlib import Path
print(json.dumps([sys.executable, os.environ.get("KERAS_BACKEND"), Path.home().is_dir(), bool(getpass.getuser())]))"""


def small_run(tmp_path, environment):
    """Run a notebook of one cell in an environment; (exit code, what it printed)."""
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    source = nbformat.read(Path(small_project.__file__).parent / "10_writes_value.ipynb", as_version=4)
    source.cells.append(nbformat.v4.new_code_cell(NOTEBOOK))
    for name in small_project.GRAPH:
        nbformat.write(source, folder / "notebooks" / f"{name}.ipynb")
    data = folder / "data"
    (data / "test_images").mkdir(parents=True)
    command = [
        sys.executable,
        small_project.__file__,
        str(folder),
        "--profile",
        "small",
        "--only",
        "10",
        "--run",
        "a",
        "--data",
        str(data),
    ]
    path = os.pathsep.join([environment.get("PYTHONPATH", ""), str(paths.PROJECT)]).strip(os.pathsep)
    ended = subprocess.run(command, env=environment | {"PYTHONPATH": path}, capture_output=True, text=True)
    executed = folder / "runs" / "a" / "10_writes_value.ipynb"
    cells = nbformat.read(executed, as_version=4).cells if executed.is_file() else []
    printed = [
        output.text for cell in cells for output in cell.get("outputs", []) if output.output_type == "stream"
    ]
    return ended.returncode, (printed or [""])[-1], ended.stdout + ended.stderr


@pytest.mark.slow
def test_a_run_starts_kernels_with_this_python_and_reads_nothing_of_the_users(foreign, tmp_path):
    code, printed, said = small_run(tmp_path, foreign | {"PYTHONWARNINGS": "error", "PYTHONSAFEPATH": "1"})
    assert code == 0, said
    assert json.loads(printed.splitlines()[-1]) == [sys.executable, "tensorflow", True, True]
    recorded = files.read_json(tmp_path / "project" / "runs" / "a" / "run.json")["environment"]
    assert recorded["TF_ENABLE_ONEDNN_OPTS"] == "0" and "OMP_NUM_THREADS" in recorded


@pytest.mark.slow
def test_a_user_whom_the_system_does_not_know_has_no_home_and_runs(tmp_path):
    """A number without a name and without HOME, as `docker run --user` has it: played by a pwd module that
    knows nobody."""
    played = tmp_path / "played"
    played.mkdir()
    (played / "sitecustomize.py").write_text(
        "import pwd\ndef nobody(number):\n    raise KeyError(number)\npwd.getpwuid = nobody\n"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "USER", "LOGNAME", "USERNAME", "LNAME")
    }
    code, printed, said = small_run(tmp_path, environment | {"PYTHONPATH": str(played)})
    assert code == 0, said
    assert json.loads(printed.splitlines()[-1])[2:] == [True, True]


def test_a_notebook_started_from_elsewhere_says_where_to_start_it(tmp_path):
    ended = subprocess.run([sys.executable, "-c", bootstrap()], cwd=tmp_path, capture_output=True, text=True)
    assert f"{tmp_path} is not in the project" in ended.stderr and "--cwd notebooks" in ended.stderr


@pytest.mark.parametrize(("user_s", "expected"), [(None, "true"), ("false", "false")])
def test_a_notebook_opened_by_hand_leaves_room_on_a_graphics_card_for_the_next(user_s, expected, monkeypatch):
    for variable in (*environment_module.OWN, *DROPPED, "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(variable, "")  # so that the test's end brings back what was there
        monkeypatch.delenv(variable)
    if user_s:
        monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", user_s)
    set_up()
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == expected
