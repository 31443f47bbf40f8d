"""Pack a finished run for Kaggle: a data set with its models, and notebooks that bring the modules of lib they need with them."""

import ast
import graphlib
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from lib import paths
from lib.data import choices
from lib.errors import UserError
from lib.files import MANIFEST, check_data_set, put, read_json, scratch, write_atomic, write_json, write_manifest
from lib.inference.sources import is_of
from lib.pipeline import cache_key, params, run_state
from lib.pipeline.graph import DEFAULT_PROJECT, card_of, project_for

OWNER = "YOUR-KAGGLE-NAME"  # stands in the metadata until an owner is named
NOTEBOOK = "90_inference"
MINUTES = 60.0  # the competition's limit, for a pack whose run had no time budget of its own
FOLDERS = ("dataset", "notebook")  # of a pack, beside UPLOAD.md
WITH_LIB = '''import hashlib
import linecache
import os
import sys
import types
from pathlib import Path

from IPython.core.magic import register_cell_magic

os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says
lib = sys.modules["lib"] = types.ModuleType("lib")
lib.__path__ = []


@register_cell_magic("lib")
def module_of_lib(line, source):
    """Make a cell the module of lib that its first line names, if its text is what was packed: %%lib NAME SHA-256."""
    name, expected = line.split()
    source = source.rstrip("\\n") + "\\n"
    if hashlib.sha256(source.encode()).hexdigest() != expected:
        raise ImportError(f"The cell of lib.{name} was changed after it was packed. Restore it, or pack the run again.")
    module = sys.modules[f"lib.{name}"] = types.ModuleType(f"lib.{name}")
    module.__file__ = str(Path.cwd() / "lib" / f"{name}.py")
    linecache.cache[module.__file__] = (len(source), None, source.splitlines(True), module.__file__)
    setattr(lib, name, module)
    exec(compile(source, module.__file__, "exec"), module.__dict__)


%config InlineBackend.figure_formats = ["png"]'''
DATA = "folder = paths.need_data(data_dir)"  # in the place of the cell tagged `data`, which may generate strips
UPLOAD = """# Upload of the run {run}

With your Kaggle token in place and the competition's rules accepted, in this folder:

```
python -m pip install kaggle
python -m kaggle datasets create -p dataset -r zip
python -m kaggle kernels push -p notebook
```

`python -m lib.kaggle push` in the project does the last two, and waits in between until Kaggle has unpacked the data set. For a
new version of a data set that is there already: `python -m kaggle datasets version -p dataset -r zip -m "{run}"`.

Then open https://www.kaggle.com/code/{owner}/{slug}-inference, wait until the run is through, and press Submit to Competition.
Or: `python -m kaggle competitions submit {competition} -k {owner}/{slug}-inference -f submission.csv -v 1 -m "{run}"`.
{training}"""
TRAINING = """
## Training on Kaggle

Each folder in `training` is a notebook of its own: `python -m kaggle kernels push -p training/10_binary`. When it is through,
`python -m kaggle kernels output {owner}/{slug}-10-binary -p FOLDER` brings its model into a run's folder; with all of them there,
`python run_all.py --from 40 --run ID --resume` judges them. A notebook whose network needs ImageNet weights or a
package that Kaggle's image lacks is marked to run with internet; none of these is submitted.
"""


def pack(run_dir, owner="", slug="steel-defect", gpu=False, training=False):
    """Write RUN/kaggle; equal runs and equal lib give equal bytes.

    Arguments:
        run_dir: of a run with decision.json and its models; owner: of the Kaggle account, "" if not known yet;
        slug: beginning of the names on Kaggle; gpu: whether the notebook asks for one; training: pack the training notebooks too.

    Returns the folder. Raises UserError if something of the run is missing or does not belong together.
    """
    run_dir, owner = Path(run_dir), owner or OWNER
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) or not 3 <= len(slug) <= 36:
        raise UserError(f"--name {slug}: 3 to 36 small letters and digits, with single hyphens between them.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", owner):
        raise UserError(f"--owner {owner}: the name in the address of your Kaggle profile has letters, digits, - and _ only.")
    files, target = files_of(run_dir), run_dir / "kaggle"
    strange = sorted({path.name for path in target.iterdir()} - {*FOLDERS, "training", "UPLOAD.md", ".DS_Store"}) if target.is_dir() else []
    if strange or (os.path.lexists(target) and not target.is_dir()):
        raise UserError(f"{target / (strange or [''])[0]} is of no pack, so it is not replaced. Move it elsewhere.")
    with scratch(target) as partial:
        fill(partial, files, run_dir, owner, slug, gpu, training)
        check(partial)
        shutil.rmtree(target, ignore_errors=True)
        if not put(partial, target):
            raise UserError(f"{target} cannot be replaced: a file in it is in use. Close it, then pack again.")
    return target


def fill(partial, files, run_dir, owner, slug, gpu, training):
    """Write all that `pack` packs into the folder `partial`."""
    for name in files:
        (partial / "dataset" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run_dir / name, partial / "dataset" / name)
    sha256 = write_manifest(partial / "dataset", files)
    title = f"{slug}-models".replace("-", " ")
    write_json(partial / "dataset" / "dataset-metadata.json",
                     {"title": title, "id": f"{owner}/{slug}-models", "licenses": [{"name": "other"}]})  # fmt: skip
    values, modules = (run_state.read(run_dir) or {}).get("parameters", {}), cache_key.library()
    own = {"manifest_sha256": sha256, "max_test_images": 0, "max_images": 0}
    run_values = values.get(NOTEBOOK, {})
    own["time_budget"] = run_values.get("time_budget") or MINUTES
    write_notebook(partial / "notebook", NOTEBOOK, run_values | own, modules)
    write_metadata(partial / "notebook", NOTEBOOK, owner, f"{slug}-inference", gpu, [f"{owner}/{slug}-models"])
    project = project_for(DEFAULT_PROJECT, len(read_json(run_dir / "decision.json")["label_thresholds"]))
    for name in trainings(project) if training else ():
        own = values.get(name, {}) | {"run_dir": ".", "pseudo_labels": ""}
        write_notebook(partial / "training" / name, name, own, modules, project)
        own = {key: own.get(key, declared.default) for key, declared in params.declared(project.notebooks / f"{name}.ipynb").items()}
        write_metadata(partial / "training" / name, name, owner, f"{slug}-{name.replace('_', '-')}", True, [], needs_internet(own))
    write_atomic(partial / "UPLOAD.md", UPLOAD.format(run=run_dir.resolve().name, owner=owner, slug=slug,
        competition=paths.COMPETITION, training=TRAINING.format(owner=owner, slug=slug) if training else ""))  # fmt: skip


def files_of(run_dir):
    """The files of a run that a prediction needs, as paths relative to it: the decision, and of every network its card, its
    SavedModel and the list of that one's files."""
    decision = read_json(run_dir / "decision.json") if (run_dir / "decision.json").is_file() else None
    if decision is None:
        raise UserError(f"{run_dir} has no decision.json. Pack a run whose 40_evaluation is done.")
    names = paths.network_names(len(decision["label_thresholds"]))
    files = ["decision.json"]
    for name in names:
        folder = run_dir / "models" / name
        read_json(folder / "model.json")
        if not is_of(decision, folder):
            raise UserError(f"{folder} is not the network that decision.json was chosen with. Run 40_evaluation again.")
        for member in paths.member_folders(folder):
            if not (member / "saved_model" / "saved_model.pb").is_file():
                raise UserError(f"{member} holds no SavedModel. Train it with TensorFlow as Keras' backend.")
            if not (member / MANIFEST).is_file():
                raise UserError(f"{member / MANIFEST} is missing: an older version saved this network. Train it again.")
            found = [member / name for name in ("model.json", MANIFEST)]
            found += [path for path in (member / "saved_model").rglob("*") if path.is_file()]
            files += [path.relative_to(run_dir).as_posix() for path in found]
    return sorted(files)


def trainings(project):
    """The notebooks of a project that train a network, in its order."""
    return [name for name in project.graph if card_of(name) in project.products.get(name, ())]


def write_notebook(folder, name, values, modules, project=DEFAULT_PROJECT):
    """Write a notebook of the project as one file that needs no lib beside it, with these values as its defaults.

    Arguments:
        modules: as from `cache_key.library`; project: that has the notebook.
    """
    cells, needed = [], modules_of([DATA])
    for cell in params.read_notebook(project.notebooks / f"{name}.ipynb")["cells"]:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if "parameters" in tags:
            own = {key: value for key, value in values.items() if key != "data_dir" and (key != "run_dir" or value == ".")}
            source = with_values(source, own)
        if "data" in tags and name == NOTEBOOK:
            source = DATA
        if cell["cell_type"] == "code" and "bootstrap" not in tags:
            needed += modules_of([source])
        cells.append((cell["cell_type"], source, tags))
    packed = []
    for kind, source, tags in cells:
        if "bootstrap" not in tags:
            packed.append((kind, source, tags))
            continue
        packed.append(("markdown", "## The library\n\nThe modules of `lib` that this notebook needs, copied by `python -m lib.kaggle pack` "
                       "to the letter; each cell is compared with its SHA-256. The story goes on below them.", []))  # fmt: skip
        packed.append(("code", WITH_LIB, tags))
        packed += [("code", f"%%lib {module} {text_hash(source)}\n{source}", ["lib"]) for module, source in in_order(needed, modules)]
        if package := missing_package(values):
            packed.append(("code", f"%pip install --quiet {requirement(package)}", []))
        packed.append(("markdown", "## The notebook", []))
    notebook = {"cells": [], "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}  # fmt: skip
    for number, (kind, source, tags) in enumerate(packed):
        cell = {"cell_type": kind, "id": text_hash(f"{number} {source}")[:8], "metadata": {"tags": tags} if tags else {}}
        cell |= {"source": source.splitlines(True)} | ({"execution_count": None, "outputs": []} if kind == "code" else {})
        notebook["cells"].append(cell)
    write_atomic(folder / f"{name}.ipynb", json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def modules_of(sources):
    """The modules of lib that these pieces of code import themselves; `paths` in any case."""
    known, found = {path.stem for path in cache_key.LIB.glob("*.py")}, {"paths"}
    for source in sources:
        lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
        found |= cache_key.imported_modules(ast.parse("\n".join(lines)), known)
    return sorted(found)


def in_order(needed, modules):
    """[(name, source)] of the modules of lib in `needed` and of those that they import, each after those it imports."""
    waiting, graph = set(needed), {}
    while waiting:
        name = waiting.pop()
        graph[name] = modules[name][1]
        waiting |= graph[name] - set(graph)
    order = graphlib.TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)}).static_order()
    return [(name, lib_source(name)) for name in order]


def lib_source(name):
    """The text of a module of lib, ended by exactly one line end."""
    return (cache_key.LIB / f"{name}.py").read_text(encoding="utf-8").rstrip("\n") + "\n"


def text_hash(text):
    """SHA-256 of a text, as hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def with_values(source, values):
    """The source of a parameters cell with other defaults; values that it does not declare are left out."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        name = node.target.id if isinstance(node, ast.AnnAssign) else node.targets[0].id
        if name in values:
            line, value = lines[node.lineno - 1], node.value
            start = len(line.encode()[: value.col_offset].decode())
            end = len(line.encode()[: value.end_col_offset].decode()) if value.end_lineno == node.lineno else len(line)
            lines[node.lineno - 1] = line[:start] + repr(values[name]) + line[end:]
    return "\n".join(lines)


def missing_package(values):
    """The package that a notebook with these parameters needs to train and that Kaggle's image does not hold; "" if it needs none."""
    backbone = values.get("backbone", "compact")
    if backbone in choices.LITE:  # only its weights come from there
        return choices.LITE[backbone] if values.get("weights") == "imagenet" else ""
    return "segmentation-models" if "architecture" in values and backbone != "compact" else ""


def needs_internet(values):
    """Whether a training notebook with these parameters fetches something that Kaggle's image does not hold."""
    return bool(missing_package(values)) or values.get("weights") == "imagenet"


def requirement(package):
    """The line of requirements.txt that pins a package."""
    lines = (paths.PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return next(line.split(";")[0].strip() for line in lines if line.startswith(f"{package}=="))


def write_metadata(folder, name, owner, slug, gpu, datasets, internet=False):
    """Write kernel-metadata.json. Everything is written out: where a key is missing, the client turns internet on."""
    content = {"id": f"{owner}/{slug}", "title": slug.replace("-", " "), "code_file": f"{name}.ipynb", "language": "python"}
    content |= {"kernel_type": "notebook", "is_private": True, "enable_gpu": gpu, "enable_tpu": False, "enable_internet": internet}
    content |= {"dataset_sources": datasets, "competition_sources": [paths.COMPETITION], "kernel_sources": [], "model_sources": []}
    write_json(folder / "kernel-metadata.json", content)


def check(folder):
    """Compare a pack with itself and with lib: data set and manifest, manifest and notebook, inlined modules and lib.

    Returns the owner's name. Raises UserError that names the file.
    """
    folder = Path(folder)
    notebook = folder / "notebook" / f"{NOTEBOOK}.ipynb"
    if not notebook.is_file():
        raise UserError(f"{notebook} is missing. Pack the run: python -m lib.kaggle pack")
    check_data_set(folder / "dataset", params.declared(notebook)["manifest_sha256"].default)
    for path in [notebook, *sorted(folder.glob("training/*/*.ipynb"))]:
        for cell in params.read_notebook(path)["cells"]:
            if "lib" not in cell["metadata"].get("tags", []):
                continue
            head, source = "".join(cell["source"]).split("\n", 1)
            _, module, expected = head.split()
            source = source.rstrip("\n") + "\n"
            if text_hash(source) != expected:
                raise UserError(f"{path}: the cell of lib.{module} was changed. Pack the run again: python -m lib.kaggle pack")
            if not (cache_key.LIB / f"{module}.py").is_file() or source != lib_source(module):
                raise UserError(f"lib/{module}.py has changed since {path} was packed. Pack the run again: python -m lib.kaggle pack")
    return read_json(folder / "notebook" / "kernel-metadata.json")["id"].split("/")[0]
