"""`--compare`: finished runs beside each other on one page, runs/comparisons/A+B.html, with its numbers in
A+B.json. The runs stay as they are, but for the link on their index pages."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lib import files, paths
from lib.errors import UserError, print_line
from lib.pipeline import params, profiles, run_folder, run_state
from lib.pipeline.run_state import RunState

MOST = 26  # runs on a page, a letter each
EVALUATION = "40_evaluation"
LONGEST_NAME = 150  # of a page's file, without its suffix


def compare(names: Sequence[str], runs: Path, title: str = "") -> int:
    """Write the page that compares runs, and link to it from their index pages; 0.

    Arguments:
        names: of two runs or more in `runs`, or their folders; title: of the page's file, "" for the names.

    Raises UserError, in one sentence, where they cannot be compared.
    """
    if not 2 <= len(names) <= MOST:
        raise UserError(
            f"--compare takes 2 to {MOST} runs, and {len(names)} are named. Name them by their folders."
        )
    folders = [folder_of(name, runs) for name in names]
    states = [state_of(folder) for folder in folders]
    insist_on_same_data(folders, states)
    from lib.evaluation import comparison_page, held_out
    from lib.report import comparison, pages
    from lib.report.links import COMPARISONS

    held = [
        held_out.read(folder, folder.name, parameters_of(state))
        for folder, state in zip(folders, states, strict=True)
    ]
    links = [
        f"../{quote(folder.name)}/index.html" if folder.parent == runs.resolve() else "" for folder in folders
    ]
    contents = comparison_page.contents(
        folders, [pages.read_state(folder) for folder in folders], held, links
    )
    stem = title or file_name([folder.name for folder in folders])
    page = runs / COMPARISONS / f"{stem}.html"
    comparison.write_page(page, contents)
    files.write_json(page.with_suffix(".json"), numbers([folder.name for folder in folders], contents))
    for folder in dict.fromkeys(folders):
        if folder.parent == runs.resolve():
            link_from(folder)
    for row in contents.measures[:1]:
        for index, (difference, low, high) in enumerate(row[3], 1):
            print_line(
                f"{row[0]}: {folders[index].name} is {difference:+.4f} from {folders[0].name}, 95 % interval "
                f"{low:+.4f} to {high:+.4f}, on {row[1]} images"
            )
    print_line(f"Open {page}")
    return 0


def folder_of(name: str, runs: Path) -> Path:
    """The folder of a run that --compare names, links followed."""
    if name == "latest":
        return run_folder.latest_run(runs)
    candidates = [runs / name, paths.resolve_path(name, "--compare")]
    folder = next((one.resolve() for one in candidates if one.is_dir()), None)
    if folder is None:
        known = [one.name for one in run_folder.run_folders(runs) if run_state.read(one)]
        raise UserError(f"--compare {name}: there is no run {name}{profiles.nearest(name, known)}")
    return folder


def state_of(folder: Path) -> RunState:
    """The state of a run whose evaluation counts; UserError where there is none."""
    state = run_state.read(folder)
    if state is None:
        raise UserError(f"{folder} holds no readable {run_state.FILE}: it is no run. Name another.")
    task = state.notebooks.get(EVALUATION)
    again = f"Bring it up to date: --resume --run {folder.name}."
    if task is None or not task.status.is_finished:
        raise UserError(
            f"The run {folder.name} has not finished {EVALUATION}, whose images are compared. {again}"
        )
    if task.outdated:
        raise UserError(f"{EVALUATION} of the run {folder.name} is outdated. {again}")
    return state


def parameters_of(state: RunState) -> dict[str, Any]:
    """What 40_evaluation ran with, by today's names."""
    ran = state.notebooks[EVALUATION].ran.get("parameters", {})
    return {params.RENAMED.get(name, name): value for name, value in ran.items()}


def insist_on_same_data(folders: Sequence[Path], states: Sequence[RunState]) -> None:
    """UserError where runs were not made from the same data."""
    data_hashes = [
        state.notebooks[EVALUATION].ran.get("data") or state.data.get("sha256") for state in states
    ]
    for folder, state, sha256 in zip(folders, states, data_hashes, strict=True):
        if sha256 != data_hashes[0]:
            first = states[0].data
            raise UserError(
                f"{folders[0].name} is made from the data in {first.get('folder')} ({first.get('train_images')} training "
                f"images) and {folder.name} from others in {state.data.get('folder')} ({state.data.get('train_images')}): "
                "only runs on the same data can be compared."
            )


def file_name(names: Sequence[str]) -> str:
    """What the page of these runs is called, without a suffix: their names with + between, which is in no name."""
    stem = "+".join(re.sub(r"[^A-Za-z0-9._-]", "_", name) for name in names)
    if len(stem) <= LONGEST_NAME:
        return stem
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{stem[: LONGEST_NAME - 30]}+{len(names)}-runs-{digest}"


def numbers(names: Sequence[str], contents: Any) -> dict[str, Any]:
    """The numbers behind the page, for its JSON file; None for what cannot be told."""
    measures = [
        {
            "name": name,
            "images": count,
            "values": [files.json_float(value) for value in values],
            "differences": [[files.json_float(one) for one in difference] for difference in differences],
        }
        for name, count, values, differences in contents.measures
    ]
    best = dict(contents.best)
    if best:
        best["excess"] = files.json_float(best["excess"])
    return {
        "runs": list(names),
        "score": contents.title,
        "images": contents.images,
        "measures": measures,
        "best": best,
        "differing": {heading: dict(rows) for heading, rows in contents.differing.items()},
        "changed": [{"image": image.name, "points": image.points} for image in contents.changed],
    }


def link_from(folder: Path) -> None:
    """Write the index page of a run again, which then links to its comparisons; no other file of it changes, and
    where the folder may not be written, none."""
    from lib.report import pages

    try:
        pages.write_index(folder)
    except OSError:
        print_line(f"{folder.name} cannot be written, so that its index has no link to the page.")
