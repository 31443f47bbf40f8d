"""Pack a finished run for Kaggle: a data set with its networks and lib, and the notebooks that run with
it."""

import os
import re
import shutil
from pathlib import Path

from lib import files, paths
from lib.data import manifest
from lib.data.manifest import MANIFEST
from lib.errors import UserError
from lib.files import read_json
from lib.inference.postprocess import PostprocessConfig
from lib.inference.sources import THRESHOLDS, file_in, is_of, read_thresholds
from lib.kaggle import notebooks
from lib.pipeline import graph, params, run_state

OWNER = "YOUR-KAGGLE-NAME"  # stands in the metadata until an owner is named
NOTEBOOK = "90_inference"
MINUTES = 60.0  # the competition's limit, for a pack whose run had no time budget of its own
ENTRIES = ("dataset", "notebook", "training", "UPLOAD.md", ".DS_Store")  # of a pack
WORKING = "/kaggle/working"  # where a session on Kaggle writes what it leaves
AGAIN = "Pack the run again: python -m lib.kaggle pack"
UPLOAD = """# Upload of the run {run}

{before}

```
python -m pip install kaggle
python -m kaggle datasets create -p dataset -r zip
python -m kaggle kernels push -p notebook
```

`python -m lib.kaggle push` in the project does the last two, and waits in between until Kaggle has unpacked the
data set. For a new version of one that is there already:
`python -m kaggle datasets version -p dataset -r zip -m "{run}"`.

Then open https://www.kaggle.com/code/{owner}/{slug}-inference and wait until the run is through. {after}
{training}"""
BEFORE = "With your Kaggle token in place and the competition's rules accepted, in this folder:"
AFTER = """Press Submit to Competition, or:
`python -m kaggle competitions submit {competition} -k {owner}/{slug}-inference -f submission.csv -v 1 -m "{run}"`."""
BEFORE_OWN = """The networks of this run learned from data of your own, so the notebooks name no competition.
Attach your images instead: upload a folder with `test_images` and the `dataset.json` of the run's data, for
training `train.csv` and `train_images` too, as a data set, and add its name, OWNER/NAME, to `dataset_sources` in
`kernel-metadata.json` beside the notebook. Then, with your Kaggle token in place, in this folder:"""
AFTER_OWN = """Its `submission.csv`:
`python -m kaggle kernels output {owner}/{slug}-inference -p FOLDER`."""
TRAINING = """
## Training on Kaggle

Each folder in `training` is a notebook of its own, which takes `lib` from the data set above:
`python -m kaggle kernels push -p training/10_binary`. When it is through,
`python -m kaggle kernels output {owner}/{slug}-10-binary -p FOLDER` brings its model into a run's folder; with
all of them there, `python run_all.py --from 40 --run ID --resume` judges them. A notebook whose network needs
ImageNet weights or a package that Kaggle's image lacks is marked to run with internet; none of these is submitted.
"""


def pack(
    run_dir: Path, owner: str = "", slug: str = "steel-defect", gpu: bool = False, training: bool = False
) -> Path:
    """Write RUN/kaggle; equal runs and equal lib give equal bytes.

    Arguments:
        run_dir: of a run with thresholds.json and its models;
        owner: of the Kaggle account, "" if not known yet; slug: beginning of the names on Kaggle;
        gpu: whether 90_inference asks for one; training: pack the training notebooks too.

    Returns the folder. Raises UserError if something of the run is missing or does not belong together.
    """
    owner = owner or OWNER
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) or not 3 <= len(slug) <= 36:
        raise UserError(f"--name {slug}: 3 to 36 small letters and digits, with single hyphens between them.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", owner):
        rule = "the name in the address of your Kaggle profile has letters, digits, - and _ only"
        raise UserError(f"--owner {owner}: {rule}.")
    model_files = files_of_run(run_dir)
    target = run_dir / "kaggle"
    strange = sorted({path.name for path in target.iterdir()} - {*ENTRIES}) if target.is_dir() else []
    if strange or (os.path.lexists(target) and not target.is_dir()):
        path = target / (strange or [""])[0]
        raise UserError(f"{path} is of no pack, so it is not replaced. Move it elsewhere.")
    with files.scratch(target) as partial:
        sha256 = write_data_set(partial / "dataset", run_dir, model_files, f"{owner}/{slug}-models")
        write_notebooks(partial, run_dir, owner, slug, gpu, training, sha256)
        check(partial)
        shutil.rmtree(target, ignore_errors=True)
        if not files.put(partial, target):
            raise UserError(f"{target} cannot be replaced: a file in it is in use. Close it and pack again.")
    return target


def files_of_run(run_dir: Path) -> list[str]:
    """The files of a run that a prediction needs, as paths relative to it: the thresholds, and of every
    network its card, its SavedModel and the list of that one's files."""
    path = file_in(run_dir, THRESHOLDS)
    if not path.is_file():
        raise UserError(f"{run_dir} has no {THRESHOLDS}. Pack a run whose 40_evaluation is done.")
    thresholds = PostprocessConfig.read(path)
    needed = [path]
    for name in paths.network_names(thresholds.classes):
        folder = run_dir / "models" / name
        read_json(folder / "model.json")
        if not is_of(thresholds, folder):
            why = f"is not the network that {path.name} was chosen with"
            raise UserError(f"{folder} {why}. Run 40_evaluation again.")
        for member in paths.member_folders(folder):
            if not (member / "saved_model" / "saved_model.pb").is_file():
                raise UserError(f"{member} holds no SavedModel. Train it with TensorFlow as Keras' backend.")
            if not (member / MANIFEST).is_file():
                why = "is missing: an older version saved this network"
                raise UserError(f"{member / MANIFEST} {why}. Train it again.")
            needed += [member / "model.json", member / MANIFEST]
            needed += [path for path in (member / "saved_model").rglob("*") if path.is_file()]
    return sorted(path.relative_to(run_dir).as_posix() for path in needed)


def files_of_lib() -> list[str]:
    """The files of lib that notebooks need, as paths relative to the project: code and templates.

    Empty ones stay behind: an upload may lose them, and a room without its __init__.py is imported all the
    same.
    """
    known = [path for path in manifest.LIB.rglob("*") if path.suffix in (".py", ".html", ".css", ".js")]
    return sorted(path.relative_to(manifest.LIB.parent).as_posix() for path in known if path.stat().st_size)


def write_data_set(folder: Path, run_dir: Path, model_files: list[str], name: str) -> str:
    """Write the data set: a run's files, lib, the manifest of both, and what Kaggle wants to know.

    Arguments:
        model_files: as from `files_of_run`; name: on Kaggle, OWNER/NAME.

    Returns the SHA-256 of the manifest.
    """
    library = files_of_lib()
    for source, names in ((run_dir, model_files), (manifest.LIB.parent, library)):
        for file in names:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, folder / file)
    metadata = {"title": name.split("/")[1].replace("-", " "), "id": name, "licenses": [{"name": "other"}]}
    files.write_json(folder / "dataset-metadata.json", metadata)
    return manifest.write_manifest(folder, [*model_files, *library])


def write_notebooks(
    folder: Path, run_dir: Path, owner: str, slug: str, gpu: bool, training: bool, sha256: str
) -> None:
    """Write the notebooks of a pack, each with its metadata, and UPLOAD.md.

    Arguments:
        sha256: of the data set's manifest; the others as for `pack`.
    """
    state = run_state.read(run_dir)
    n_classes = read_thresholds(run_dir).classes
    own_data = has_own_data(state, n_classes)
    sources = {"dataset_sources": [f"{owner}/{slug}-models"]}
    sources["competition_sources"] = [] if own_data else [paths.COMPETITION]
    values = values_of(state, NOTEBOOK)
    values |= {"manifest_sha256": sha256, "max_test_images": 0, "max_images": 0}
    values["time_budget"] = values.get("time_budget") or MINUTES
    file = folder / "notebook" / f"{NOTEBOOK}.ipynb"
    original = graph.DEFAULT_PROJECT.notebooks / file.name
    notebooks.write_notebook(original, file, values, notebooks.DATA)
    notebooks.write_metadata(file, f"{owner}/{slug}-inference", gpu, False, sources)
    project = graph.DEFAULT_PROJECT.for_classes(n_classes)
    for name in training_notebooks(project) if training else ():
        values = values_of(state, name) | {"run_dir": WORKING, "pseudo_labels": ""}
        file = folder / "training" / name / f"{name}.ipynb"
        notebooks.write_notebook(project.notebooks / file.name, file, values)
        defaults = {key: parameter.default for key, parameter in params.declared(file).items()}
        kernel = f"{owner}/{slug}-{name.replace('_', '-')}"
        notebooks.write_metadata(file, kernel, True, notebooks.needs_internet(defaults), sources)
    text = upload_text(run_dir.resolve().name, owner, slug, own_data, training)
    files.write_atomic(folder / "UPLOAD.md", text)


def has_own_data(state: run_state.RunState | None, n_classes: int) -> bool:
    """Whether a run's data are neither the competition's nor strips generated in their place: a dataset.json
    describes them, or they have another number of classes.

    Arguments:
        state: the run's, None without.
    """
    data = state.data if state else {}
    described = bool(data.get("note")) or (Path(data.get("folder") or "none") / "dataset.json").is_file()
    return not data.get("generated") and (described or n_classes != 4)


def values_of(state: run_state.RunState | None, name: str) -> dict:
    """The parameters that a notebook of a run ran with, but for the folders of that machine."""
    values = state.parameters.get(name, {}) if state else {}
    return {key: value for key, value in values.items() if key not in params.COMMAND_LINE}


def training_notebooks(project: graph.Project) -> list[str]:
    """The notebooks of a project that train a network, in its order."""
    return [name for name in project.graph if graph.card_of(name) in project.products.get(name, ())]


def upload_text(run: str, owner: str, slug: str, own_data: bool, training: bool) -> str:
    """UPLOAD.md: what to attach, the commands that upload a pack, and what to do then."""
    names = {"run": run, "owner": owner, "slug": slug, "competition": paths.COMPETITION}
    before, after = (BEFORE_OWN, AFTER_OWN) if own_data else (BEFORE, AFTER)
    further = TRAINING.format(**names) if training else ""
    return UPLOAD.format(before=before, after=after.format(**names), training=further, **names)


def check(folder: Path) -> str:
    """Compare a pack with itself and with lib: the data set with its manifest, and that with the notebook and
    with lib as it is.

    Returns the owner's name. Raises UserError that names the file.
    """
    notebook = folder / "notebook" / f"{NOTEBOOK}.ipynb"
    if not notebook.is_file():
        raise UserError(f"{notebook} is missing. {AGAIN}")
    manifest.check_data_set(folder / "dataset", params.declared(notebook)["manifest_sha256"].default)
    if not (folder / "dataset" / "lib").is_dir():
        raise UserError(f"{folder / 'dataset'} has no lib: an older version packed it. {AGAIN}")
    return read_json(folder / "notebook" / "kernel-metadata.json")["id"].split("/")[0]
