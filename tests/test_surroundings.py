"""Settings of the machine and of its user change no result: Keras, matplotlib, Jupyter, the home folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_pipeline import small_house

from lib import paths

STATE = """import json, keras, matplotlib, sys
from lib import losses, plots
print(json.dumps([keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(), keras.config.backend(),
                  matplotlib.rcParams["text.usetex"], matplotlib.rcParams["font.size"]]))"""
OWN = ["float32", 1e-7, "channels_last", "tensorflow", False, 10.0]


@pytest.fixture
def foreign(tmp_path):
    """The environment of a user whose settings are all other than ours."""
    for name, content in {
        ".keras/keras.json": json.dumps({"floatx": "float64", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}),
        "matplotlib/matplotlibrc": "text.usetex: True\nfont.size: 31\n",
        "ipython/profile_default/startup/00.py": "raise SystemExit('startup file')",
        "ipython/profile_default/ipython_config.py": "raise SystemExit('configuration')",
        "startup.py": "raise SystemExit('startup')",
        "jupyter/kernels/python3/kernel.json": json.dumps({"argv": ["false"], "display_name": "Python 3", "language": "python"}),
        "config/jupyter_client_config.py": "raise SystemExit('configuration')",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    places = {"HOME": "", "MPLCONFIGDIR": "matplotlib", "IPYTHONDIR": "ipython", "PYTHONSTARTUP": "startup.py", "JUPYTER_PATH": "jupyter",
              "JUPYTER_CONFIG_DIR": "config"}  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "SM_FRAMEWORK")}
    return kept | {name: str(tmp_path / place) for name, place in places.items()} | {"TF_USE_LEGACY_KERAS": "1"}


@pytest.mark.slow
def test_lib_sets_keras_and_matplotlib_as_it_means_them(foreign):
    """As in a notebook: the bootstrap cell first."""
    cells = nbformat.read(paths.PROJECT / "notebooks" / "10_binary.ipynb", as_version=4).cells
    bootstrap = next(cell.source for cell in cells if "bootstrap" in cell.metadata.get("tags", [])).replace("%config", "#")
    ended = subprocess.run([sys.executable, "-c", f"{bootstrap}\n{STATE}"], env=foreign, cwd=paths.PROJECT, capture_output=True, text=True)
    assert json.loads(ended.stdout.splitlines()[-1]) == OWN, ended.stderr


NOTEBOOK = """import getpass, os, sys, json
from pathlib import Path
print(json.dumps([sys.executable, os.environ.get("KERAS_BACKEND"), Path.home().is_dir(), bool(getpass.getuser())]))"""


def small_run(tmp_path, environment):
    """Run a notebook of one cell in an environment; (exit code, what it printed)."""
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    source = nbformat.read(Path(small_house.__file__).parent / "10_writes_value.ipynb", as_version=4)
    source.cells.append(nbformat.v4.new_code_cell(NOTEBOOK))
    for name in small_house.GRAPH:
        nbformat.write(source, folder / "notebooks" / f"{name}.ipynb")
    data = folder / "data"
    (data / "test_images").mkdir(parents=True)
    command = [sys.executable, small_house.__file__, str(folder), "--profile", "small", "--only", "10", "--run", "a", "--data", str(data)]
    path = os.pathsep.join([environment.get("PYTHONPATH", ""), str(paths.PROJECT)]).strip(os.pathsep)
    ended = subprocess.run(command, env=environment | {"PYTHONPATH": path}, capture_output=True, text=True)
    executed = folder / "runs" / "a" / "10_writes_value.ipynb"
    cells = nbformat.read(executed, as_version=4).cells if executed.is_file() else []
    printed = [output.text for cell in cells for output in cell.get("outputs", []) if output.output_type == "stream"]
    return ended.returncode, (printed or [""])[-1], ended.stdout + ended.stderr


@pytest.mark.slow
def test_a_run_starts_kernels_with_this_python_and_reads_nothing_of_the_users(foreign, tmp_path):
    code, printed, said = small_run(tmp_path, foreign)
    assert code == 0, said
    assert json.loads(printed.splitlines()[-1]) == [sys.executable, "tensorflow", True, True]


@pytest.mark.slow
def test_a_user_whom_the_system_does_not_know_has_no_home_and_runs(tmp_path):
    """A number without a name and without HOME, as `docker run --user` has it: played by a pwd module that knows nobody."""
    played = tmp_path / "played"
    played.mkdir()
    (played / "sitecustomize.py").write_text("import pwd\ndef nobody(number):\n    raise KeyError(number)\npwd.getpwuid = nobody\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME", "USERNAME", "LNAME")}
    code, printed, said = small_run(tmp_path, environment | {"PYTHONPATH": str(played)})
    assert code == 0, said
    assert json.loads(printed.splitlines()[-1])[2:] == [True, True]


def test_a_notebook_started_from_elsewhere_says_where_to_start_it(tmp_path):
    cells = nbformat.read(paths.PROJECT / "notebooks" / "10_binary.ipynb", as_version=4).cells
    bootstrap = next(cell.source for cell in cells if "bootstrap" in cell.metadata.get("tags", [])).replace("%config", "#")
    ended = subprocess.run([sys.executable, "-c", bootstrap], cwd=tmp_path, capture_output=True, text=True)
    assert f"{tmp_path} is not in the project" in ended.stderr and "--cwd notebooks" in ended.stderr
