"""Pack a finished run for Kaggle: a data set with its networks and lib, and the notebooks that are run with it."""

import ast
import json
import os
import re
import shutil
from pathlib import Path

from lib import paths
from lib.data import choices
from lib.errors import UserError
from lib.files import LIB, MANIFEST, check_data_set, put, read_json, scratch, write_atomic, write_json, write_manifest
from lib.inference.sources import is_of
from lib.pipeline import graph, params, run_state

OWNER = "YOUR-KAGGLE-NAME"  # stands in the metadata until an owner is named
NOTEBOOK = "90_inference"
MINUTES = 60.0  # the competition's limit, for a pack whose run had no time budget of its own
FOLDERS = ("dataset", "notebook")  # of a pack, beside UPLOAD.md
WORKING = "/kaggle/working"  # where a session on Kaggle writes what it leaves
AGAIN = "Pack the run again: python -m lib.kaggle pack"
DATA = "folder = paths.need_data(data_dir)"  # in the place of the cell tagged `data`, which may generate strips
UPLOAD = """# Upload of the run {run}

{before}

```
python -m pip install kaggle
python -m kaggle datasets create -p dataset -r zip
python -m kaggle kernels push -p notebook
```

`python -m lib.kaggle push` in the project does the last two, and waits in between until Kaggle has unpacked the data set. For a
new version of a data set that is there already: `python -m kaggle datasets version -p dataset -r zip -m "{run}"`.

Then open https://www.kaggle.com/code/{owner}/{slug}-inference{after}
{training}"""
BEFORE = "With your Kaggle token in place and the competition's rules accepted, in this folder:"
AFTER = """, wait until the run is through, and press Submit to Competition.
Or: `python -m kaggle competitions submit {competition} -k {owner}/{slug}-inference -f submission.csv -v 1 -m "{run}"`."""
BEFORE_OWN = """The networks of this run learned from data of your own, so the notebook names no competition. Attach the images instead: upload
a folder with `test_images` and the `dataset.json` of the run's data, for training `train.csv` and `train_images` too, as a data set,
and add its name, OWNER/NAME, to `dataset_sources` in `kernel-metadata.json` beside the notebook.

With your Kaggle token in place, in this folder:"""
AFTER_OWN = """ and wait until the run is through.
`python -m kaggle kernels output {owner}/{slug}-inference -p FOLDER` brings its `submission.csv`."""
TRAINING = """
## Training on Kaggle

Each folder in `training` is a notebook of its own, which takes `lib` from the data set above:
`python -m kaggle kernels push -p training/10_binary`. When it is through,
`python -m kaggle kernels output {owner}/{slug}-10-binary -p FOLDER` brings its model into a run's folder; with all of them there,
`python run_all.py --from 40 --run ID --resume` judges them. A notebook whose network needs ImageNet weights or a
package that Kaggle's image lacks is marked to run with internet; none of these is submitted.
"""


def pack(run_dir: str | Path, owner: str = "", slug: str = "steel-defect", gpu: bool = False, training: bool = False) -> Path:
    """Write RUN/kaggle; equal runs and equal lib give equal bytes.

    Arguments:
        run_dir: of a run with decision.json and its models; owner: of the Kaggle account, "" if not known yet;
        slug: beginning of the names on Kaggle; gpu: whether the notebook asks for one;
        training: pack the training notebooks too.

    Returns the folder. Raises UserError if something of the run is missing or does not belong together.
    """
    run_dir = Path(run_dir)
    owner = owner or OWNER
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) or not 3 <= len(slug) <= 36:
        raise UserError(f"--name {slug}: 3 to 36 small letters and digits, with single hyphens between them.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", owner):
        raise UserError(f"--owner {owner}: the name in the address of your Kaggle profile has letters, digits, - and _ only.")
    model_files = files_of_run(run_dir)
    target = run_dir / "kaggle"
    there = {path.name for path in target.iterdir()} if target.is_dir() else set()
    strange = sorted(there - {*FOLDERS, "training", "UPLOAD.md", ".DS_Store"})
    if strange or (os.path.lexists(target) and not target.is_dir()):
        raise UserError(f"{target / (strange or [''])[0]} is of no pack, so it is not replaced. Move it elsewhere.")
    with scratch(target) as partial:
        sha256 = write_data_set(partial / "dataset", run_dir, model_files, f"{owner}/{slug}-models")
        write_notebooks(partial, run_dir, owner, slug, gpu, training, sha256)
        check(partial)
        shutil.rmtree(target, ignore_errors=True)
        if not put(partial, target):
            raise UserError(f"{target} cannot be replaced: a file in it is in use. Close it, then pack again.")
    return target


def files_of_run(run_dir: Path) -> list[str]:
    """The files of a run that a prediction needs, as paths relative to it: the decision, and of every network its card, its
    SavedModel and the list of that one's files."""
    decision = read_json(run_dir / "decision.json") if (run_dir / "decision.json").is_file() else None
    if decision is None:
        raise UserError(f"{run_dir} has no decision.json. Pack a run whose 40_evaluation is done.")
    found = [run_dir / "decision.json"]
    for name in paths.network_names(len(decision["label_thresholds"])):
        folder = run_dir / "models" / name
        read_json(folder / "model.json")
        if not is_of(decision, folder):
            raise UserError(f"{folder} is not the network that decision.json was chosen with. Run 40_evaluation again.")
        for member in paths.member_folders(folder):
            if not (member / "saved_model" / "saved_model.pb").is_file():
                raise UserError(f"{member} holds no SavedModel. Train it with TensorFlow as Keras' backend.")
            if not (member / MANIFEST).is_file():
                raise UserError(f"{member / MANIFEST} is missing: an older version saved this network. Train it again.")
            found += [member / "model.json", member / MANIFEST]
            found += [path for path in (member / "saved_model").rglob("*") if path.is_file()]
    return sorted(path.relative_to(run_dir).as_posix() for path in found)


def files_of_lib() -> list[str]:
    """The files of lib that notebooks need, as paths relative to the project: code and templates.

    Empty ones stay behind, because an upload may lose them: a room without its empty __init__.py is imported all the same.
    """
    found = [path for path in LIB.rglob("*") if path.suffix in (".py", ".html", ".css") and path.stat().st_size]
    return sorted(path.relative_to(LIB.parent).as_posix() for path in found)


def write_data_set(folder: Path, run_dir: Path, model_files: list[str], name: str) -> str:
    """Write the data set: a run's files, lib, the manifest of both, and what Kaggle wants to know.

    Arguments:
        model_files: as from `files_of_run`; name: on Kaggle, OWNER/NAME.

    Returns the SHA-256 of the manifest.
    """
    library = files_of_lib()
    for source, names in ((run_dir, model_files), (LIB.parent, library)):
        for file in names:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, folder / file)
    title = name.split("/")[1].replace("-", " ")
    write_json(folder / "dataset-metadata.json", {"title": title, "id": name, "licenses": [{"name": "other"}]})
    return write_manifest(folder, [*model_files, *library])


def write_notebooks(folder: Path, run_dir: Path, owner: str, slug: str, gpu: bool, training: bool, sha256: str) -> None:
    """Write the notebooks of a pack, each with its metadata, and UPLOAD.md.

    Arguments:
        sha256: of the data set's manifest; the others as for `pack`.
    """
    journal = run_state.read(run_dir) or {}
    n_classes = len(read_json(run_dir / "decision.json")["label_thresholds"])
    competitions = [] if has_own_data(journal, n_classes) else [paths.COMPETITION]
    sources = {"dataset_sources": [f"{owner}/{slug}-models"], "competition_sources": competitions}
    values = values_of(journal, NOTEBOOK)
    values |= {"manifest_sha256": sha256, "max_test_images": 0, "max_images": 0}
    values["time_budget"] = values.get("time_budget") or MINUTES
    write_notebook(folder / "notebook", NOTEBOOK, values, graph.DEFAULT_PROJECT)
    write_metadata(folder / "notebook", NOTEBOOK, f"{owner}/{slug}-inference", gpu, False, sources)
    project = graph.project_for(graph.DEFAULT_PROJECT, n_classes)
    for name in training_notebooks(project) if training else ():
        values = values_of(journal, name) | {"run_dir": WORKING, "pseudo_labels": ""}
        write_notebook(folder / "training" / name, name, values, project)
        declared = params.declared(folder / "training" / name / f"{name}.ipynb")
        internet = needs_internet({key: parameter.default for key, parameter in declared.items()})
        write_metadata(folder / "training" / name, name, f"{owner}/{slug}-{name.replace('_', '-')}", True, internet, sources)
    text = upload_text(run_dir.resolve().name, owner, slug, not competitions, training)
    write_atomic(folder / "UPLOAD.md", text)


def has_own_data(journal: dict, n_classes: int) -> bool:
    """Whether a run's data are neither the competition's nor strips that were generated in their place: a dataset.json describes
    them, or they have another number of classes."""
    data = journal.get("data", {})
    described = data.get("note") or (Path(data.get("folder") or "none") / "dataset.json").is_file()
    return not data.get("generated") and (bool(described) or n_classes != 4)


def values_of(journal: dict, name: str) -> dict:
    """The parameters that a notebook of a run ran with, but for the folders of that machine."""
    values = journal.get("parameters", {}).get(name, {})
    return {key: value for key, value in values.items() if key not in params.GIVEN}


def upload_text(run: str, owner: str, slug: str, own_data: bool, training: bool) -> str:
    """UPLOAD.md: the commands that upload a pack, what to attach, and what to do then."""
    names = {"run": run, "owner": owner, "slug": slug, "competition": paths.COMPETITION}
    before, after = (BEFORE_OWN, AFTER_OWN) if own_data else (BEFORE, AFTER)
    further = TRAINING.format(**names) if training else ""
    return UPLOAD.format(before=before, after=after.format(**names), training=further, **names)


def training_notebooks(project: graph.Project) -> list[str]:
    """The notebooks of a project that train a network, in its order."""
    return [name for name in project.graph if graph.card_of(name) in project.products.get(name, ())]


def write_notebook(folder: Path, name: str, values: dict, project: graph.Project) -> None:
    """Write a notebook of the project with these values as its defaults; it takes lib from the data set."""
    notebook = params.read_notebook(project.notebooks / f"{name}.ipynb")
    cells = []
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        source = "".join(cell["source"])
        if "parameters" in tags:
            source = with_values(source, values)
        if "data" in tags and name == NOTEBOOK:
            source = DATA
        cells.append(cell | {"source": source.splitlines(True)})
        package = missing_package(values) if "bootstrap" in tags else ""
        if package:
            install = {"cell_type": "code", "id": "install", "metadata": {}, "execution_count": None, "outputs": []}
            cells.append(install | {"source": [f"%pip install --quiet {requirement(package)}"]})
    text = json.dumps(notebook | {"cells": cells}, indent=1, ensure_ascii=False)
    write_atomic(folder / f"{name}.ipynb", text + "\n")


def with_values(source: str, values: dict) -> str:
    """The source of a parameters cell with other defaults; values that it does not declare are left out."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        name = node.target.id if isinstance(node, ast.AnnAssign) else node.targets[0].id
        if name in values:
            line = lines[node.lineno - 1]
            value = node.value
            start = len(line.encode()[: value.col_offset].decode())
            end = len(line.encode()[: value.end_col_offset].decode()) if value.end_lineno == node.lineno else len(line)
            lines[node.lineno - 1] = line[:start] + repr(values[name]) + line[end:]
    return "\n".join(lines)


def missing_package(values: dict) -> str:
    """The package that a notebook with these parameters needs to train and that Kaggle's image does not hold; "" if it needs none."""
    backbone = values.get("backbone", "compact")
    if backbone in choices.LITE:  # only its weights come from there
        return choices.LITE[backbone] if values.get("weights") == "imagenet" else ""
    return "segmentation-models" if "architecture" in values and backbone != "compact" else ""


def needs_internet(values: dict) -> bool:
    """Whether a training notebook with these parameters fetches something that Kaggle's image does not hold."""
    return bool(missing_package(values)) or values.get("weights") == "imagenet"


def requirement(package: str) -> str:
    """The line of requirements.txt that pins a package."""
    lines = (paths.PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return next(line.split(";")[0].strip() for line in lines if line.startswith(f"{package}=="))


def write_metadata(folder: Path, name: str, kernel: str, gpu: bool, internet: bool, sources: dict[str, list[str]]) -> None:
    """Write kernel-metadata.json. Everything is written out: where a key is missing, the client turns internet on.

    Arguments:
        name: of the notebook; kernel: its name on Kaggle, OWNER/NAME; sources: the data sets and competitions to attach.
    """
    content = {"id": kernel, "title": kernel.split("/")[1].replace("-", " "), "code_file": f"{name}.ipynb"}
    content |= {"language": "python", "kernel_type": "notebook", "is_private": True}
    content |= {"enable_gpu": gpu, "enable_tpu": False, "enable_internet": internet}
    write_json(folder / "kernel-metadata.json", content | sources | {"kernel_sources": [], "model_sources": []})


def check(folder: str | Path) -> str:
    """Compare a pack with itself and with lib: its data set with the manifest, the manifest with the notebook and with lib as it is.

    Returns the owner's name. Raises UserError that names the file.
    """
    folder = Path(folder)
    notebook = folder / "notebook" / f"{NOTEBOOK}.ipynb"
    if not notebook.is_file():
        raise UserError(f"{notebook} is missing. {AGAIN}")
    check_data_set(folder / "dataset", params.declared(notebook)["manifest_sha256"].default)
    if not (folder / "dataset" / "lib").is_dir():
        raise UserError(f"{folder / 'dataset'} has no lib: an older version packed it. {AGAIN}")
    return read_json(folder / "notebook" / "kernel-metadata.json")["id"].split("/")[0]
