"""Which networks and thresholds a notebook reads: those of its run, or, opened by hand, the newest."""

import contextlib
from pathlib import Path

from lib import files, paths
from lib.errors import UserError
from lib.inference.postprocess import PostprocessConfig

THRESHOLDS, PREDICTIONS = "thresholds.json", "predictions.npz"
FORMER_NAMES = {
    THRESHOLDS: "decision.json",
    PREDICTIONS: "evidence.npz",
}  # as runs of earlier versions have them


def file_in(folder: str | Path, name: str) -> Path:
    """The file THRESHOLDS or PREDICTIONS in a run's folder, by its former name where there is only that."""
    path, former = Path(folder) / name, Path(folder) / FORMER_NAMES[name]
    return former if former.is_file() and not path.is_file() else path


def read_thresholds(folder: str | Path, operating_point: str = "") -> PostprocessConfig:
    """The thresholds of a run, or of one of its operating points. UserError as from
    `PostprocessConfig.read`."""
    return PostprocessConfig.read(file_in(folder, THRESHOLDS), operating_point)


def remarks_on(folder: str | Path, operating_point: str) -> list[str]:
    """The sentences on what an operating point of a run achieved, and whether that is a promise; none where there are
    none, as for the thresholds of a score."""
    stored = files.read_json(file_in(folder, THRESHOLDS))
    points = stored.get("operating_points") if isinstance(stored, dict) else None
    point = points.get(operating_point) if isinstance(points, dict) else None
    texts = point.get("remarks") if isinstance(point, dict) else None
    return [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []


def card(folder: str | Path) -> dict:
    """A network's card; empty where it is missing."""
    path = Path(folder) / "model.json"
    content = files.read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def networks_to_evaluate(run_dir: str, classes: int) -> dict[str, Path]:
    """{name: folder} of the networks of a run, in the order of `paths.network_names`.

    Arguments:
        run_dir: the run; "" for the newest one that has them all, and then a network that was trained in
            `runs/interactive` since, on the same division of the images, stands in for that run's.
        classes: how many defect classes the data have.

    Raises UserError where no run has them all.
    """
    names = paths.network_names(classes)
    run = paths.find_run(run_dir, [f"models/{name}/model.json" for name in names])
    folders_by_name = paths.network_folders(run / "models", classes)
    if run_dir:
        return folders_by_name
    for name, folder in folders_by_name.items():
        other = paths.interactive() / "models" / name
        if paths.latest_write(other, ["model.json"]) <= paths.latest_write(folder, ["model.json"]):
            continue
        if card(other).get("split") == card(folder).get("split"):
            folders_by_name[name] = other
        else:
            print(
                f"{other} is newer, but learned from another division of the images, so {folder} is "
                "evaluated."
            )
    return folders_by_name


def find_thresholds(run_dir: str, classes: int) -> Path:
    """The folder of the thresholds to predict with: `run_dir` if given, else the newest for so many classes.

    The networks that they were chosen with lie beside them or, where 40_evaluation was opened by hand, in
    other runs. Raises UserError where there are no thresholds.
    """
    cards = [f"models/{name}/model.json" for name in paths.network_names(classes)]
    try:
        folders = paths.find_runs(run_dir, [THRESHOLDS])
    except UserError as error:
        try:
            folders = paths.find_runs(run_dir, [FORMER_NAMES[THRESHOLDS]])
        except UserError:
            raise error from None
    complete = [
        folder
        for folder in folders
        if folder == paths.interactive() or all((folder / card).is_file() for card in cards)
    ]
    fitting = [folder for folder in complete if classes_of(folder) in (None, classes)]
    return (fitting or complete or folders)[0]


def classes_of(folder: Path) -> int | None:
    """For how many classes a folder's thresholds are; None where they cannot be read, of which whoever opens
    them will hear."""
    try:
        return read_thresholds(folder).classes
    except UserError:
        return None


def networks_of(run: Path, thresholds: PostprocessConfig, classes: int) -> dict[str, Path]:
    """{name: folder} of the networks that thresholds were chosen with: those beside them, or, if they lie in
    `runs/interactive`, those of other runs with the same weights. UserError where one is not there any more,
    or the thresholds are for other data."""
    path = file_in(run, THRESHOLDS)
    if thresholds.classes != classes:
        raise UserError(
            f"{path} is for {thresholds.classes} classes and the data have {classes}. Run 40_evaluation on "
            "these data."
        )
    folders_by_name = {}
    for name in paths.network_names(classes):
        candidates = [run]
        if run == paths.interactive() or paths.on_kaggle():
            with contextlib.suppress(UserError):
                candidates += paths.find_runs("", [f"models/{name}/model.json"])
        folders = [folder / "models" / name for folder in candidates]
        fitting = [folder for folder in folders if is_of(thresholds, folder)]
        if not fitting:
            raise UserError(
                f"{path} was chosen with another network {name} than there is now. Run 40_evaluation again."
            )
        folders_by_name[name] = fitting[0]
    return folders_by_name


def is_of(thresholds: PostprocessConfig, folder: Path) -> bool:
    """Whether the network in a folder, with all members of its ensemble, is the one that thresholds were
    chosen with; any that is there where they name none."""
    stated = thresholds.models
    named = {
        name: sha256
        for name, sha256 in stated.items()
        if name == folder.name or name.startswith(f"{folder.name}.")
    }
    hashes = {member.name: card(member).get("weights_sha256") for member in paths.member_folders(folder)}
    return bool(card(folder)) and named in ({}, hashes)


def origin(folders_by_name: dict[str, Path], run: str | Path) -> str:
    """Where networks {name: folder} come from, a sentence; "" if they lie in this run."""
    others = sorted({str(folder.parent) for folder in folders_by_name.values()})
    return (
        "" if others == [str(Path(run) / "models")] else f"The networks are those of {' and '.join(others)}."
    )


def newest(name: str, folders: list[Path]) -> Path:
    """The folder whose file of this name was written last; the first one where none has it."""
    return max(folders, key=lambda folder: paths.latest_write(folder, [name]))


def run_folder(run: str | Path) -> Path:
    """The folder of the thresholds that a user names.

    Arguments:
        run: a folder, in full or from where the user is or from the project; the name of one below runs/; or
            "latest" or "runs/latest": where there is no such link, the newest run with thresholds.

    Raises UserError where it has no thresholds.
    """
    text = str(run)
    resolved = paths.resolve_path(text, "The run")
    candidates = [resolved, paths.from_project(text, "The run"), paths.home() / "runs" / text]
    for folder in candidates:
        if file_in(folder, THRESHOLDS).is_file():
            return folder.resolve()
    latest = paths.home() / "runs" / "latest"
    if Path(text) in (Path("latest"), Path("runs/latest")) and not latest.is_symlink():
        return paths.find_run("", [THRESHOLDS])
    for folder in filter(Path.is_dir, candidates):
        remedy = "Name a run whose 40_evaluation is done."
        with contextlib.suppress(UserError):
            remedy = f"The newest run whose 40_evaluation is done is {paths.find_run('', [THRESHOLDS]).name}."
        raise UserError(f"{folder.resolve()} has no {THRESHOLDS}. {remedy}")
    raise UserError(
        f"There is no run {text}. Name a run's folder, or one of those in {paths.home() / 'runs'}."
    )


def class_titles(run: Path, thresholds: PostprocessConfig) -> list[str]:
    """The titles of the classes that a run's thresholds name, or, in older runs, its evaluation.json; "class 1" to
    "class C" where neither does."""
    if thresholds.class_names:
        return list(thresholds.class_names)
    path = run / "evaluation.json"
    with contextlib.suppress(UserError, OSError):
        content = files.read_json(path)
        titles = list(content.get("classes", ())) if isinstance(content, dict) else []
        if len(titles) == thresholds.classes:
            return titles
    return [f"class {defect_class}" for defect_class in range(1, thresholds.classes + 1)]
