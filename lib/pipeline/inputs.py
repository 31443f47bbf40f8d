"""What a run is made from: its data, its profile, and what the check of the data and of the split finds
before the first cell."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lib import paths
from lib.data import reporting
from lib.errors import UserError, print_line
from lib.pipeline import params, products, resume
from lib.pipeline.options import Options
from lib.pipeline.products import FINDINGS
from lib.pipeline.run_state import RunState

FEW_IMAGES = 1000  # of a training set for which small_data is the profile, for want of --profile


@dataclass(frozen=True)
class Data:
    """The data of a run, and why it uses these; `folder` is None where strips must be generated first."""

    folder: Path | None
    why: str
    generated: bool


def find_data(data_dir: str | os.PathLike) -> Data:
    """Which data a run uses and why; UserError if a folder is named and holds none."""
    folder = paths.find_data(data_dir)
    if folder is None:
        return Data(None, resume.GENERATED, True)
    why = (
        "named by --data"
        if data_dir
        else f"named by {paths.DATA_VARIABLE}"
        if os.environ.get(paths.DATA_VARIABLE)
        else "found"
    )
    from lib.data import dataset

    return Data(folder, why, bool(dataset.describe(folder)["generated"]))


def data_to_go_on_with(data_dir: str, previous: RunState) -> Data:
    """The data of a run that is gone on with: those named by --data, else its own."""
    if data_dir:
        return find_data(data_dir)
    folder = resume.data_folder(previous)
    why = str(previous.data.get("why", ""))
    return dataclasses.replace(find_data(folder), why=why) if folder else Data(None, why, True)


def choose_profile(named: str, data: Data) -> tuple[str, str]:
    """(profile, why): the one named, else `demo` for generated strips, `small_data` for few images and `full`
    for many."""
    if named:
        return named, "named by --profile"
    if data.folder is None or data.generated:
        return "demo", "for generated strips"
    try:
        count = sum(1 for _ in (data.folder / "train_images").iterdir())
    except OSError:  # the check of the data will name it
        count = FEW_IMAGES
    if count < FEW_IMAGES:
        return (
            "small_data",
            f"since the data hold only {count:,} training images; with {FEW_IMAGES:,} or more it would be "
            "full",
        )
    return (
        "full",
        f"since the data hold {count:,} training images; with fewer than {FEW_IMAGES:,} it would be "
        "small_data",
    )


def profile_of(options: Options) -> str:
    """The profile of a new run with these options."""
    return choose_profile(options.profile, find_data(options.data))[0]


def make_data(values: params.Values) -> Path:
    """Generate strips in the size and from the seed that the notebooks' parameters set; the folder."""
    from lib.synthetic import generate

    sizes, seeds = (
        [keys[key].value for keys in values.values() if key in keys] for key in ("synthetic_sizes", "seed")
    )
    if not sizes or not seeds:
        raise UserError(
            "No data were found, and no notebook says how many strips to generate. Name a folder with --data."
        )
    if any(other != sizes[0] for other in sizes):
        raise UserError(
            'synthetic_sizes differs between notebooks that read the same strips. Set it with -p "all.synthetic_sizes=[TRAIN, TEST]".'
        )
    train, test = generate.checked_sizes(sizes[0])
    print_line(f"strips   {train} to train on and {test} to test on, seed {seeds[0]}: made once, then reused")
    return Path(generate.find_or_generate("", sizes[0], seeds[0]))


def validate_data(
    folder: Path, why: str, fingerprint: dict[str, Any], previous: RunState | None
) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """(what run.json records of the data, findings); UserError at what is severe, before the first cell.

    The findings are None where they are those of the run that is gone on with: its data are the same.
    """
    from lib.data import dataset

    about = dataset.describe(folder)
    facts = {
        "folder": str(folder),
        "why": why,
        **fingerprint,
        "generated": about["generated"],
        "note": about["note"],
    }
    before = previous.data if previous else {}
    if before.get("sha256") == facts["sha256"] and "findings" in before:
        return facts | {"findings": before["findings"]}, None
    findings = (
        dataset.check(folder, progress=print_line)
        if (folder / "train.csv").is_file()
        else reporting.table([])
    )
    severe = findings[findings["severity"] == "error"].to_dict("records")
    if severe:
        more = (
            f" {len(severe) - 1} more: `python run_all.py --check --data {folder}` lists them."
            if len(severe) > 1
            else ""
        )
        raise UserError(reporting.sentence(severe[0]) + more)
    return facts, findings


def count_findings(findings: pd.DataFrame) -> str:
    """How many warnings there are, as run.json records it; printed, if there are any."""
    if findings.empty:
        return "nothing to remark"
    text = f"{len(findings)} warning{'s' if len(findings) > 1 else ''}, see {FINDINGS}"
    print_line(f"         {text}")
    return text


def look(
    values: params.Values,
    names: Iterable[str],
    folder: Path,
    run_dir: str | Path,
    progress: Callable[[str], Any],
) -> list[dict[str, Any]]:
    """Divide the images as the notebooks will that run, and look for copies among the test images, into
    split.csv and copies.json of a folder; what that leaves too little of, and what scores will tell, as
    findings of `validation`."""
    names = [name for name in names if "held_out" in values[name]]
    if not names:
        return []
    from lib.data import split_check
    from lib.evaluation import copy_lookup

    findings = split_check.look(values, names, folder, run_dir, progress)
    if any(finding["severity"] == "error" for finding in findings):
        return findings
    args = {key: value.value for key, value in values[names[0]].items()}
    limits = [keys["max_test_images"].value for keys in values.values() if "max_test_images" in keys]
    args["max_test_images"] = max(limits, default=0)
    for keys in values.values():
        if "score" in keys:  # of 40_evaluation
            args["score"] = keys["score"].value
    return findings + copy_lookup.look(run_dir, args, folder, progress)


def divide(
    values: params.Values, names: Iterable[str], folder: Path, run_dir: Path | None = None
) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """`look`, and print what it finds; UserError at what cannot work.

    Returns (the remarks, as findings of `validation`; the content of split.csv and copies.json as {name:
    bytes}, which `run_dir` gets if it is named).
    """
    with tempfile.TemporaryDirectory() as scratch:
        remarks = look(values, names, folder, run_dir or scratch, lambda text: print_line(f"         {text}"))
        made = [Path(run_dir or scratch) / name for name in (products.SPLIT, products.COPIES)]
        contents = {path.name: path.read_bytes() for path in made if path.is_file()}
    for remark in remarks:
        if remark["severity"] == "error":
            raise UserError(reporting.sentence(remark))
        print_line(f"         {remark['what']}. {remark['remedy']}")
    return remarks, contents
