"""What run_all.py adds to a notebook, what a resume with nothing to do takes, and how long the modules of lib
take to import.

python benchmarks/bench_overhead.py [--quick]

The small project of the tests: notebooks of three short cells without networks, whose running time is nearly
all overhead.
"""

import contextlib
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

from lib.synthetic import generate

FIXTURES = measure.PROJECT / "tests" / "fixtures"
NAMES = ("10_writes_value", "20_reads_value")
ENVIRONMENT = dict(os.environ, PYTHONPATH=str(measure.PROJECT), TF_CPP_MIN_LOG_LEVEL="2")
MODULES = (
    "paths",
    "rle",
    "checks",
    "dataset",
    "metrics",
    "masks",
    "decision",
    "report",
    "pipeline",
    "generators",
    "models",
)

# The cells of a notebook in a kernel, and nothing else: no parameters, no file, no report.
BARE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
cells[0].source += f"\\nrun_dir = {sys.argv[2]!r}"
NotebookClient(notebook, resources={"metadata": {"path": sys.argv[3]}}).execute()
"""


def call(*command):
    """Run a command; CalledProcessError with what it printed if it fails."""
    subprocess.run(
        [sys.executable, *map(str, command)],
        check=True,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=FIXTURES,
    )


class Ways:
    """The same two notebooks, run into a fresh folder in each way."""

    def __init__(self, folder):
        self.folder, self.data = Path(folder), Path(folder) / "data"
        with contextlib.redirect_stdout(sys.stderr):
            generate.generate(self.data, 16, 8, 1, processes=1)
        self.project = FIXTURES / "small_project.py"

    def fresh(self):
        """An empty folder in place of the last call's."""
        shutil.rmtree(self.folder / "work", ignore_errors=True)
        (self.folder / "work").mkdir()
        return self.folder / "work"

    def run_all(self):
        call(self.project, self.fresh(), "--data", self.data, "--profile", "small", "--only", "10,20")

    def bare(self):
        work = self.fresh()
        for name in NAMES:
            call("-c", BARE, FIXTURES / f"{name}.ipynb", work, FIXTURES)

    def by_hand(self):
        work = self.fresh()
        for name in NAMES:
            call(
                "-m",
                "papermill",
                FIXTURES / f"{name}.ipynb",
                work / f"{name}.ipynb",
                "-p",
                "run_dir",
                work,
                "--no-progress-bar",
            )
            call("-m", "nbconvert", "--to", "html", work / f"{name}.ipynb")

    def resume(self):
        call(self.project, self.folder / "done", "--data", self.data, "--resume", "--only", "10,20")


def import_seconds(names, runs):
    """{module: [seconds to import it in a fresh interpreter, less the interpreter's own start]}."""
    calls = {name: (lambda code=f"import lib.{name}": call("-c", code)) for name in names}
    seconds = measure.interleaved({"": lambda: call("-c", "pass"), **calls}, runs)
    start = statistics.median(seconds.pop(""))
    return {name: [max(value - start, 0) for value in values] for name, values in seconds.items()}


def main():
    args = measure.arguments(__doc__).parse_args()
    runs = 1 if args.quick else 5
    with tempfile.TemporaryDirectory() as folder:
        ways = Ways(folder)
        calls = {"run_all.py, with HTML": ways.run_all, "bare kernel": ways.bare}
        if importlib.util.find_spec("papermill"):
            calls["papermill and nbconvert by hand"] = ways.by_hand
        seconds = measure.interleaved(calls, runs)
        call(ways.project, ways.folder / "done", "--data", ways.data, "--profile", "small", "--only", "10,20")
        nothing = measure.interleaved({"run_all.py --resume": ways.resume}, runs)

    print("## Overhead of the pipeline\n")
    print(
        f"{len(NAMES)} notebooks of three short cells each, one after the other, as commands: start of Python, check of 24 strips, "
        "kernels, reports and index included. The bare kernel runs the cells with nbclient and writes nothing."
    )
    rows = {name: [value / len(NAMES) for value in values] for name, values in seconds.items()}
    measure.table("a notebook", rows, "s", "run_all.py, with HTML", "")
    added = statistics.median(rows["run_all.py, with HTML"]) - statistics.median(rows["bare kernel"])
    print(
        f"run_all.py adds {added:.2f} s a notebook to the bare kernel; the target is 3 s: {'met' if added < 3 else '**not met**'}."
    )
    measure.table("nothing to do", nothing, "s", "run_all.py --resume", "")
    idle = statistics.median(nothing["run_all.py --resume"])
    print(f"The target is 2 s: {'met' if idle < 2 else '**not met**'}.")
    imports = import_seconds(MODULES, runs)
    print(
        "\nImport of a module in a fresh interpreter, everything that it brings included: "
        + ", ".join(f"`{name}` {statistics.median(values):.2f} s" for name, values in imports.items())
        + ". The last two bring TensorFlow; the command line imports neither."
    )


if __name__ == "__main__":
    main()
