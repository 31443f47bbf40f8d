"""Which networks and which decision a notebook reads: those of its run, or, where it is opened by hand, the newest."""

import contextlib
from pathlib import Path

from lib import files, paths
from lib.errors import UserError

DECISION = "decision.json"


def card(folder):
    """A network's card; empty where it is missing."""
    path = Path(folder) / "model.json"
    found = files.read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def networks_to_judge(run_dir, classes):
    """{name: folder} of the networks of a run, in the order of `paths.network_names`.

    Arguments:
        run_dir: the run; "" for the newest one that has them all, and then a network that was trained in `runs/interactive` since, on
            the same division of the images, stands in for that run's.
        classes: how many defect classes the data have.

    Raises UserError where no run has them all.
    """
    names = paths.network_names(classes)
    run = paths.find_run(run_dir, [f"models/{name}/model.json" for name in names])
    found = {name: run / "models" / name for name in names}
    if run_dir:
        return found
    for name, folder in found.items():
        other = paths.interactive() / "models" / name
        if paths.written(other, ["model.json"]) <= paths.written(folder, ["model.json"]):
            continue
        if card(other).get("split") == card(folder).get("split"):
            found[name] = other
        else:
            print(f"{other} is newer, but learned from another division of the images, so {folder} is judged.")
    return found


def decided(run_dir, classes):
    """The folder of the decision to predict with: `run_dir` if given, else that of the newest decision for so many classes.

    The networks that it was chosen with lie beside it or, where 40_evaluation was opened by hand, in other runs. Raises UserError
    where there is no decision.
    """
    cards = [f"models/{name}/model.json" for name in paths.network_names(classes)]
    folders = paths.find_runs(run_dir, [DECISION])
    complete = [folder for folder in folders if folder == paths.interactive() or all((folder / card).is_file() for card in cards)]
    fitting = [folder for folder in complete if classes_of(folder) in (None, classes)]
    return (fitting or complete or folders)[0]


def classes_of(folder):
    """For how many classes a folder's decision is; None where it cannot be read, of which whoever opens it will hear."""
    try:
        return len(files.read_json(folder / DECISION)["label_thresholds"])
    except (UserError, KeyError, TypeError):
        return None


def networks_of(run, decision, classes):
    """{name: folder} of the networks that a decision was chosen with: those beside it, or, if it lies in `runs/interactive`, those of
    other runs with the same weights. UserError where one is not there any more, or the decision is for other data."""
    if len(decision["label_thresholds"]) != classes:
        raise UserError(f"{run / DECISION} is for {len(decision['label_thresholds'])} classes and the data have {classes}. "
                        "Run 40_evaluation on these data.")  # fmt: skip
    found = {}
    for name in paths.network_names(classes):
        candidates = [run]
        if run == paths.interactive() or paths.on_kaggle():
            with contextlib.suppress(UserError):
                candidates += paths.find_runs("", [f"models/{name}/model.json"])
        folders = [folder / "models" / name for folder in candidates]
        found[name] = next((folder for folder in folders if is_of(decision, folder)), None)
        if found[name] is None:
            raise UserError(f"{run / DECISION} was chosen with another network {name} than there is now. Run 40_evaluation again.")
    return found


def is_of(decision, folder):
    """Whether the network in a folder, with all members of its ensemble, is the one that a decision was chosen with; any that is there
    where the decision names none."""
    stated = decision.get("models", {})
    named = {name: sha256 for name, sha256 in stated.items() if name == folder.name or name.startswith(f"{folder.name}.")}
    there = {member.name: card(member).get("weights_sha256") for member in paths.member_folders(folder)}
    return bool(card(folder)) and named in ({}, there)


def origin(found, run):
    """Where networks {name: folder} come from, a sentence; "" if they lie in this run."""
    others = sorted({str(folder.parent) for folder in found.values()})
    return "" if others == [str(Path(run) / "models")] else f"The networks are those of {' and '.join(others)}."


def newest(name, folders):
    """The folder whose file of this name was written last; the first one where none has it."""
    return max(folders, key=lambda folder: paths.written(folder, [name]))
