"""Names that are scripts, formulas or paths, from the data folder to the reports: shown, never run, never
followed."""

import csv
import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from test_report import CHROMIUM, browse

import run_all
from lib import errors, files
from lib.data import reporting
from lib.pipeline import graph, run_state
from lib.pipeline import run as run_module

TAG = "<img src=x onerror=document.title='run'>.png"
SCRIPT = "<script>document.title='run'<!--.png"
FORMULA = "=HYPERLINK(A1).png"
CLASSES = [
    "<script>document.title='run'</script>",
    "=1+1",
    "</title><svg onload=document.title='run'>",
    "../../escaped",
]


def hostile_data(folder):
    """A dozen small pictures with such names; those with four channels are found worth a remark, and so come
    into the tables."""
    random, names = (
        np.random.default_rng(0),
        [TAG, SCRIPT, FORMULA, *(f"{number}.png" for number in range(9))],
    )
    for part in ("train_images", "test_images"):
        (folder / part).mkdir(parents=True)
        for name in names:
            channels = (4,) if name in (TAG, SCRIPT) else ()
            content = cv2.imencode(".png", random.integers(0, 255, (60, 90, *channels), np.uint8))[1]
            (folder / part / name).write_bytes(content.tobytes())
    about = {"classes": 4, "height": 60, "width": 90, "class_names": CLASSES, "note": CLASSES[0]}
    files.write_json(folder / "dataset.json", about)
    with open(folder / "train.csv", "w", newline="", encoding="utf-8") as file:
        rows = [(name, number % 4 + 1, "1 50 100 50") for number, name in enumerate(names[:8])]
        csv.writer(file).writerows([("ImageId", "ClassId", "EncodedPixels"), *rows])
    return folder


def run(tmp_path, data, *arguments):
    """Run the project's 00_eda with its runs below `tmp_path`; the exit code."""
    _, options = run_all.parse(
        ["--data", str(data), "--profile", "demo", "--only", "00", "--run", "a", *arguments]
    )
    return errors.exit_code_of(
        run_module.run, options, replace(graph.DEFAULT_PROJECT, runs=tmp_path / "runs")
    )


@pytest.mark.slow
def test_names_are_shown_and_not_run(tmp_path, capsys):
    data = hostile_data(tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}, sorted(tmp_path.parent.iterdir())
    assert run(tmp_path, data) == 0, capsys.readouterr()
    run_dir = tmp_path / "runs" / "a"
    assert run_state.read(run_dir).data["findings"] == "6 warnings, see data_findings.csv"
    assert {path.name for path in tmp_path.iterdir()} == {"data", "runs"}
    assert (
        {path: path.stat().st_mtime_ns for path in data.rglob("*")},
        sorted(tmp_path.parent.iterdir()),
    ) == before
    assert not list(tmp_path.parent.rglob("escaped*"))
    with open(run_dir / "data_findings.csv", newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert any(TAG in cell for cell in cells) and not any(cell.startswith(tuple("=+-@")) for cell in cells)
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    for page in ("index", "00_eda"):
        dom, asked = browse((run_dir / f"{page}.html").as_uri(), tmp_path)
        assert (
            "</main>" in dom and "<title>run</title>" not in dom and "<script" not in dom and asked == set()
        )
        assert "&lt;script&gt;document.title='run'&lt;/script&gt;" in dom  # the note of the data set
    assert "&lt;img src=x onerror=document.title='run'&gt;.png" in dom and "=HYPERLINK(A1).png" in dom


@pytest.mark.parametrize("name", ["../escaped.png", "a/../../escaped.png", "/tmp/escaped.png"])
def test_a_path_for_a_name_stops_the_run(tmp_path, capsys, name):
    data = hostile_data(tmp_path / "data")
    with open(data / "train.csv", "a", encoding="utf-8") as file:
        file.write(f"{name},1,1 5\n")
    assert run(tmp_path, data) == 2
    assert f"row 10: the image's name {name!r} is a path" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_no_cell_of_the_findings_is_a_formula():
    values = ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "a=1", ""]
    findings = reporting.table([reporting.finding(value, 0, value, value) for value in values])
    rows = [row[0] for row in csv.reader(io.StringIO(reporting.csv_text(findings), newline=""))]
    assert len(rows) == 9 and not [cell for cell in rows if cell[:1] in tuple("=+-@\t\r")]
    assert "a=1" in rows
