"""Going on with a run: which one is meant, and that what is set belongs to it. A run belongs to its data."""

import dataclasses
from pathlib import Path
from typing import Any

from lib.errors import UserError
from lib.pipeline import params, run_state, units
from lib.pipeline.options import Options
from lib.pipeline.run_state import RunState

GENERATED = (
    "no competition data found, so the strips are generated"  # why a run uses strips that it has made itself
)


def implied(options: Options, runs: Path) -> Options:
    """The options, with `resume` where they name a run that is there and a part of it: --run ID --only
    A,B."""
    if not (options.only or options.start):
        return options
    is_name = options.run and Path(options.run).name == options.run
    if options.run == "latest" or (is_name and run_state.read(runs / options.run)):
        return dataclasses.replace(options, resume=True)
    return options


def data_folder(previous: RunState) -> str:
    """The data folder that a run names; "" for strips that it had made itself and that are gone: they are
    made again."""
    folder = str(previous.data.get("folder", ""))
    return "" if previous.data.get("why") == GENERATED and not Path(folder).is_dir() else folder


def check_profile(profile: str, previous: RunState, name: str) -> None:
    """UserError if the command names another profile than that of the run called `name`."""
    if profile and profile != previous.profile:
        raise UserError(
            f"{name} is a run of profile {previous.profile}. Leave --profile out, or start a new run."
        )


def check_strips(previous: RunState, values: params.Values) -> None:
    """UserError if the strips that a run has made itself would be others with the parameters of this
    command."""
    if previous.data.get("why") != GENERATED:
        return
    for name, before in previous.parameters.items():
        for key in ("synthetic_sizes", "seed"):
            value = values.get(name, {}).get(key)
            if value is not None and "synthetic_sizes" in before and value.value != before.get(key):
                raise UserError(
                    f"This run is made from strips that were generated with {key} {before.get(key)}, and "
                    f"{key} {value.value} means others. "
                    "Leave it out, or start a new run: without --resume and --run."
                )


def check_data(
    previous: RunState,
    fingerprint: dict[str, Any],
    folder: str | Path,
    is_named: bool,
    selected: list[str],
    name: str,
) -> None:
    """UserError if the data are not those that the finished notebooks of a run were made from, and these
    would stand beside others.

    Where the run's own folder has changed and everything is selected, all of it runs again, so that nothing
    is mixed.

    Arguments:
        fingerprint: of the data in `folder`; is_named: whether the command names the folder; selected: the
            notebooks to run; name: the run's.
    """
    before, finished = previous.data, {units.notebook_of(name) for name in previous.finished_notebooks()}
    if before.get("sha256") in (None, fingerprint["sha256"]) or not finished:
        return
    counts = [
        f"{data.get('train_images')} training and {data.get('test_images')} test images"
        for data in (before, fingerprint)
    ]
    if is_named and Path(folder) != Path(str(before.get("folder", ""))):
        raise UserError(
            f"The run {name} is made from the data in {before.get('folder')} ({counts[0]}), and {folder} "
            f"holds others ({counts[1]}). "
            "Start a new run for them: without --resume, and with another --run or none."
        )
    if not finished <= set(selected):
        raise UserError(
            f"The data in {folder} have changed since the run {name} was made from them ({counts[0]} then, "
            f"{counts[1]} now). "
            "Run all of it again, with --resume and without --only or --from, or start a new run."
        )
