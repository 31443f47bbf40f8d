"""The notebooks of a pack: the project's own with a run's parameters, and what Kaggle wants to know of
each."""

import ast
import json
from pathlib import Path

from lib import paths
from lib.data import choices
from lib.files import write_atomic, write_json
from lib.pipeline import params

# In the place of 90_inference's cell tagged `data`, which may generate strips:
DATA = "folder = paths.need_data(data_dir)"


def write_notebook(source: Path, target: Path, values: dict, data: str = "") -> None:
    """Write a notebook with these values as its defaults; it takes lib from the data set.

    Arguments:
        source, target: the files; data: what replaces the cell tagged `data`, "" to leave it.
    """
    notebook = params.read_notebook(source)
    cells = []
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        code = "".join(cell["source"])
        if "parameters" in tags:
            code = with_values(code, values)
        if "data" in tags and data:
            code = data
        cells.append(cell | {"source": code.splitlines(True)})
        if "bootstrap" in tags and missing_package(values):
            install = f"%pip install --quiet {requirement(missing_package(values))}"
            cells.append(cell | {"id": "install", "metadata": {}, "source": [install]})
    text = json.dumps(notebook | {"cells": cells}, indent=1, ensure_ascii=False)
    write_atomic(target, text + "\n")


def with_values(code: str, values: dict) -> str:
    """The code of a parameters cell with other defaults; values that it does not declare are left out."""
    lines = code.splitlines()
    for node in ast.parse(code).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        name = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
        value = node.value
        if name in values and value is not None:
            line = lines[node.lineno - 1].encode()  # whose bytes a syntax tree counts
            end = value.end_col_offset if value.end_lineno == node.lineno else len(line)
            new = repr(values[name]).encode()
            lines[node.lineno - 1] = (line[: value.col_offset] + new + line[end:]).decode()
    return "\n".join(lines)


def missing_package(values: dict) -> str:
    """The package that training with these parameters needs and Kaggle's image lacks; "" if it needs none."""
    backbone = values.get("backbone", "compact")
    if backbone in choices.LITE:  # only its weights come from there
        return choices.LITE[backbone] if values.get("weights") == "imagenet" else ""
    return "segmentation-models" if "architecture" in values and backbone != "compact" else ""


def needs_internet(values: dict) -> bool:
    """Whether training with these parameters fetches something that Kaggle's image does not hold."""
    return bool(missing_package(values)) or values.get("weights") == "imagenet"


def requirement(package: str) -> str:
    """The line of requirements.txt that pins a package."""
    lines = (paths.PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return next(line.split(";")[0].strip() for line in lines if line.startswith(f"{package}=="))


def write_metadata(notebook: Path, kernel: str, gpu: bool, internet: bool, sources: dict) -> None:
    """Write kernel-metadata.json. All is written out: where a key is missing, the client turns internet on.

    Arguments:
        notebook: the file that it stands beside; kernel: its name on Kaggle, OWNER/NAME;
        sources: what is attached, {"dataset_sources": names, "competition_sources": names}.
    """
    title = kernel.split("/")[1].replace("-", " ")
    content: dict = {"id": kernel, "title": title, "code_file": notebook.name}
    content |= {"language": "python", "kernel_type": "notebook", "is_private": True}
    content |= {"enable_gpu": gpu, "enable_tpu": False, "enable_internet": internet}
    content |= {"kernel_sources": [], "model_sources": [], **sources}
    write_json(notebook.with_name("kernel-metadata.json"), content)
