"""Going on with a run: which one is meant, and that what is asked belongs to it. A run belongs to its data."""

from pathlib import Path

from lib.errors import UserError
from lib.pipeline import run_state
from lib.pipeline.run_state import FINISHED

GENERATED = "no competition data found, so the strips are generated"  # why a run uses strips that it has made itself


def meant(options, runs):
    """The options, with `resume` where they name a run that is there and ask for a part of it: --run ID --only A,B."""
    named = options.run == "latest" or (options.run and Path(options.run).name == options.run and run_state.read(Path(runs) / options.run))
    return options._replace(resume=True) if named and (options.only or options.start) else options


def folder_of(old):
    """The data folder that a run names; "" for strips that it had made itself and that are gone: they are made again."""
    folder = str(old["data"].get("folder", ""))
    return "" if old["data"].get("why") == GENERATED and not Path(folder).is_dir() else folder


def finished(old):
    """The notebooks of a run that are finished."""
    return [name for name, entry in old["notebooks"].items() if entry["status"] in FINISHED]


def check_strips(old, values):
    """UserError if the strips that a run has made itself would be others with the parameters that are asked for now."""
    if old["data"].get("why") != GENERATED:
        return
    for name, before in old.get("parameters", {}).items():
        for key in ("synthetic_sizes", "seed"):
            asked = values.get(name, {}).get(key)
            if asked is not None and "synthetic_sizes" in before and asked.value != before.get(key):
                raise UserError(
                    f"This run is made from strips that were generated with {key} {before.get(key)}, and {key} {asked.value} means others. "
                    "Leave it out, or start a new run: without --resume and --run."
                )


def check_data(old, fingerprint, folder, named, selected, run):
    """UserError if the data are not those that the finished notebooks of a run were made from, and these would stand beside others.

    Where the run's own folder has changed and everything is asked for, all of it runs again, so that nothing is mixed.

    Arguments:
        fingerprint: of the data in `folder`; named: whether the command names the folder; selected: what is asked for; run: its name.
    """
    before, standing = old["data"], finished(old)
    if before.get("sha256") in (None, fingerprint["sha256"]) or not standing:
        return
    counts = [f"{data.get('train_images')} training and {data.get('test_images')} test images" for data in (before, fingerprint)]
    if named and Path(folder) != Path(str(before.get("folder", ""))):
        raise UserError(
            f"The run {run} is made from the data in {before.get('folder')} ({counts[0]}), and {folder} holds others ({counts[1]}). "
            "Start a new run for them: without --resume, and with another --run or none."
        )
    if not set(standing) <= set(selected):
        raise UserError(
            f"The data in {folder} have changed since the run {run} was made from them ({counts[0]} then, {counts[1]} now). "
            "Run all of it again, with --resume and without --only or --from, or start a new run."
        )
