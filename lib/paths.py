"""Where things lie: the project, the data, the runs."""

import os
from collections.abc import Sequence
from pathlib import Path

from lib import errors

PROJECT = Path(__file__).resolve().parent.parent
KAGGLE_INPUT = Path("/kaggle/input")
COMPETITION = "severstal-steel-defect-detection"
DATA_VARIABLE = "SEVERSTAL_DATA"
RUN_VARIABLE = "STEEL_RUN"  # names the run folder to the notebooks that run_all.py starts
RUN_FILES = "run.json", "run.previous.json"  # a folder with one of them is run_all.py's


def resolve_path(text: str | os.PathLike, what: str = "The path") -> Path:
    """A path that a user named, absolute, with ~ and links followed; it need not exist.

    Arguments:
        text: as the user wrote it; what: the beginning of the sentence about one that can be none, such as
            "--data".

    Raises UserError if it cannot be the path of anything: unknown home folder, below a file, over-long, a
    circle of links, a folder that may not be entered; or if it holds bytes that are not UTF-8, which neither
    notebooks nor tables can hold.
    """
    text = os.fspath(text)
    if (
        not text.strip()
    ):  # such as of a variable that is not set; it would mean the folder that the command is called in
        raise errors.UserError(f"{what} is empty. Name a file or folder.")
    try:
        path = Path(text).expanduser().resolve()
        str(path).encode("utf-8")
        path.stat()
    except FileNotFoundError:
        return path
    except NotADirectoryError:
        file = next(parent for parent in path.parents if not parent.is_dir() and parent.exists())
        raise errors.UserError(f"{what} {path} lies below {file}, which is a file. Name another.") from None
    except UnicodeEncodeError:
        raise errors.UserError(
            f"{what} {text!a} holds letters that are no UTF-8, which notebooks and tables cannot hold. "
            "Rename the "
            "folder, or reach it through a link with another name."
        ) from None
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # ~nosuchuser; a circle of links; NUL; too long; a folder that may not be entered
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise errors.UserError(
            f"{what} {text[:200]!r} cannot be used: {reason}. Name another, best in full."
        ) from None
    return path


def from_project(text: str | os.PathLike, what: str = "The path") -> Path:
    """A path that a parameter names, absolute: one that is not absolute lies in the project's folder,
    wherever the notebook runs.

    Arguments and errors as for `resolve_path`.
    """
    text = os.fspath(text)
    return resolve_path(text if text.startswith("~") else PROJECT / text, what)


def on_kaggle() -> bool:
    """Whether this is a Kaggle session."""
    return KAGGLE_INPUT.is_dir()


def home() -> Path:
    """Where runs and generated strips go: the project, or the working folder if that is read-only, as on
    Kaggle."""
    return PROJECT if os.access(PROJECT, os.W_OK) else Path.cwd()


def mounted(sentinel: str) -> list[Path]:
    """The folders on Kaggle's mounts that hold the path `sentinel`, one to four levels down, sorted level by
    level.

    Known layouts: SLUG, competitions/SLUG, datasets/OWNER/SLUG, notebooks/OWNER/SLUG, and a folder inside of
    these.
    """
    up = len(Path(sentinel).parts) - 1
    return [
        path.parents[up]
        for depth in range(1, 5)
        for path in sorted(KAGGLE_INPUT.glob("*/" * depth + sentinel))
    ]


def holds_data(folder: str | os.PathLike) -> bool:
    """Whether `folder` holds strips in the competition's layout: training images with their table, or test
    images."""
    folder = Path(folder)
    return ((folder / "train.csv").is_file() and (folder / "train_images").is_dir()) or (
        folder / "test_images"
    ).is_dir()


def find_data(data_dir: str | os.PathLike = "") -> Path | None:
    """The folder with the competition's data, or None where there is none.

    Looks at `data_dir` alone if it is named; else at the environment variable SEVERSTAL_DATA, at `data/` in
    the project, and at what is attached on Kaggle.

    Raises UserError if `data_dir` (or the variable) names a folder that is missing or holds no such data.
    """
    named = str(data_dir) or os.environ.get(DATA_VARIABLE, "")
    if named:
        folder = resolve_path(named, "The data folder")
        if not folder.is_dir():
            raise errors.UserError(
                f"The data folder {folder} does not exist. Name the folder that holds train.csv and "
                "train_images."
            )
        if not holds_data(folder):
            raise errors.UserError(
                f"The data folder {folder} holds neither train.csv with train_images nor test_images. "
                "Name the folder that holds them."
            )
        return folder
    folders = [home() / "data" / COMPETITION, home() / "data"]
    folders += sorted(
        [*mounted("test_images"), *mounted("train_images")],
        key=lambda folder: COMPETITION not in folder.parts,
    )
    return next((folder for folder in folders if holds_data(folder)), None)


def need_data(data_dir: str | os.PathLike = "") -> Path:
    """As `find_data`, but a UserError that says what to attach where there is none: for a packed notebook on
    Kaggle."""
    folder = find_data(data_dir)
    if folder is None:
        raise errors.UserError(
            f"No folder below {KAGGLE_INPUT} holds test_images. Attach the competition: Add Input, "
            "Competitions, "
            f"{COMPETITION}; or the data set with your own images."
        )
    return folder


def network_names(classes: int) -> list[str]:
    """The networks of a run, each a folder in its models/, for so many defect classes."""
    return ["binary", "multilabel", *(f"seg_class{defect_class}" for defect_class in range(1, classes + 1))]


def network_folders(models_dir: str | os.PathLike, classes: int) -> dict[str, Path]:
    """{name: folder} of the networks of a run, in the order of `network_names`."""
    return {name: Path(models_dir) / name for name in network_names(classes)}


def member_folder(folder: str | os.PathLike, member: int) -> Path:
    """The folder of a member (from 0) of the ensemble whose first member is in `folder`: NAME, NAME.2, NAME.3
    ..."""
    return Path(folder) if member == 0 else Path(folder).with_name(f"{Path(folder).name}.{member + 1}")


def member_folders(folder: str | os.PathLike) -> list[Path]:
    """The folders of an ensemble that are there, the first one first."""
    folder = Path(folder)
    further = [path for path in folder.parent.glob(f"{folder.name}.*") if path.suffix[1:].isdecimal()]
    return [folder, *sorted(further, key=lambda path: int(path.suffix[1:]))]


def interactive() -> Path:
    """The folder for what is run by hand."""
    return home() / "runs" / "interactive"


def open_run(run_dir: str | os.PathLike = "", aside: Path | None = None) -> Path:
    """The run folder to write into, made if need be; empty: `runs/interactive`.

    Reading from a run is not writing into it: a notebook that was opened by hand leaves a run of run_all.py
    as it is, even if `run_dir` names it, and writes to `aside` (None: `runs/interactive`). A line says so. So
    it is with a folder that is read-only.
    """
    aside = aside or interactive()
    folder = from_project(run_dir, "run_dir") if run_dir else aside
    if run_dir and (belongs_to_another(folder) or (folder.is_dir() and not os.access(folder, os.W_OK))):
        print(f"{folder} stays as it is: what this notebook writes goes to {aside}.")
        folder = aside
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def belongs_to_another(folder: Path) -> bool:
    """Whether a folder is a run of run_all.py, and not the one that has started this process."""
    own = os.environ.get(RUN_VARIABLE, "")
    return any((folder / name).is_file() for name in RUN_FILES) and not (
        own and Path(own).resolve() == folder
    )


def find_runs(run_dir: str | os.PathLike = "", needs: Sequence[str] = ()) -> list[Path]:
    """The folders to read from that hold every path in `needs`: `run_dir` alone if it is named; else the
    runs, newest first, and then, on Kaggle, attached data sets and notebook outputs.

    Arguments:
        needs: paths relative to the run folder, such as "models/binary/model.json". The newest run is the one
            in which one of these
            was written last: the time of a folder says nothing about what lies deeper in it.

    Raises UserError that says what to run or to attach first where there is none.
    """
    if run_dir:
        candidates = [from_project(run_dir, "run_dir")]
    else:
        runs = home() / "runs"
        candidates = (
            [folder for folder in runs.iterdir() if folder.is_dir() and not folder.is_symlink()]
            if runs.is_dir()
            else []
        )
        candidates = sorted(
            candidates, key=lambda folder: (latest_write(folder, needs), folder.name), reverse=True
        )
        candidates += mounted(needs[0]) if needs else []
    folders = [folder for folder in candidates if all((folder / need).exists() for need in needs)]
    if folders:
        return folders
    if run_dir:
        missing = next(need for need in needs if not (candidates[0] / need).exists())
        raise errors.UserError(f"{candidates[0]} has no {missing}. Run the notebook that makes it first.")
    if on_kaggle():
        raise errors.UserError(
            f"Nothing below {KAGGLE_INPUT} has {', '.join(needs)}. Attach the data set with your models: Add "
            "Input, "
            "Your Work, Datasets; `python -m lib.kaggle pack` makes it."
        )
    raise errors.UserError(
        f"No run in {home() / 'runs'} has {', '.join(needs)}. Run `python run_all.py` or the training "
        "notebooks first."
    )


def latest_write(folder: Path, names: Sequence[str]) -> int:
    """When the latest of these files in a folder was written, in nanoseconds since 1970; 0 where none is
    there."""
    return max(
        (path.stat().st_mtime_ns for path in (folder / name for name in names) if path.exists()), default=0
    )


def find_run(run_dir: str | os.PathLike = "", needs: Sequence[str] = ()) -> Path:
    """The first one of `find_runs`."""
    return find_runs(run_dir, needs)[0]


def output_folder(run_dir: str | os.PathLike = "") -> Path:
    """Where predictions go: as `open_run`, but the working folder on Kaggle, whose inputs are read-only."""
    return open_run(run_dir, Path.cwd() if on_kaggle() else None)
