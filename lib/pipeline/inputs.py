"""What a run is made from: its data, its profile, and what the check of the data and of the split finds before the first cell."""

import os
import tempfile
from collections import namedtuple
from pathlib import Path

from lib import paths
from lib.data import validation
from lib.errors import UserError, print_line
from lib.pipeline import products, resume

FINDINGS = "data_findings.csv"  # in the run folder: what the check of the data found
FEW_IMAGES = 1000  # of a training set for which small_data is the profile, for want of --profile
Data = namedtuple("Data", "folder why generated")  # folder is None where strips must be generated first


def find_data(data_dir):
    """Which data a run uses and why; UserError if a folder is named and holds none."""
    folder = paths.find_data(data_dir)
    if folder is None:
        return Data(None, resume.GENERATED, True)
    why = "named by --data" if data_dir else f"named by {paths.DATA_VARIABLE}" if os.environ.get(paths.DATA_VARIABLE) else "found"
    from lib.data import dataset

    return Data(folder, why, bool(dataset.describe(folder)["generated"]))


def choose_profile(given, data):
    """(profile, why): the one given, else `demo` for generated strips, `small_data` for few images and `full` for many."""
    if given:
        return given, "named by --profile"
    if data.generated:
        return "demo", "for generated strips"
    try:
        count = sum(1 for _ in (data.folder / "train_images").iterdir())
    except OSError:  # the check of the data will say so
        count = FEW_IMAGES
    if count < FEW_IMAGES:
        return "small_data", f"since the data hold only {count:,} training images; with {FEW_IMAGES:,} or more it would be full"
    return "full", f"since the data hold {count:,} training images; with fewer than {FEW_IMAGES:,} it would be small_data"


def make_data(values):
    """Generate strips in the size and from the seed that the notebooks' parameters say; the folder."""
    from lib.synthetic import generate

    generated, seeds = ([keys[key].value for keys in values.values() if key in keys] for key in ("synthetic_sizes", "seed"))
    if not generated or not seeds:
        raise UserError("No data were found, and no notebook says how many strips to generate. Name a folder with --data.")
    if any(other != generated[0] for other in generated):
        raise UserError('synthetic_sizes differs between notebooks that read the same strips. Set it with -p "all.synthetic_sizes=[TRAIN, TEST]".')
    train, test = generate.checked_sizes(generated[0])
    print_line(f"strips   {train} to train on and {test} to test on, seed {seeds[0]}: made once, then reused")
    return Path(generate.find_or_generate("", generated[0], seeds[0]))


def validate_data(folder, why, fingerprint, old):
    """(the journal's facts, findings) of the data; UserError at what is severe, before the first cell.

    The findings are None where they are those of the run that is gone on with: its data are the same.
    """
    from lib.data import dataset

    about = dataset.describe(folder)
    known = {"folder": str(folder), "why": why, **fingerprint, "generated": about["generated"], "note": about["note"]}
    before = old["data"] if old else {}
    if before.get("sha256") == known["sha256"] and "findings" in before:
        return known | {"findings": before["findings"]}, None
    findings = dataset.check(folder, progress=print_line) if (folder / "train.csv").is_file() else validation.table([])
    severe = findings[findings["severity"] == "error"].to_dict("records")
    if severe:
        more = f" {len(severe) - 1} more: `python run_all.py --check --data {folder}` lists them." if len(severe) > 1 else ""
        raise UserError(validation.sentence(severe[0]) + more)
    return known, findings


def summary_of(findings):
    """How many warnings there are, as the journal has it; said, if there are any."""
    count = len(findings)
    if count:
        print_line(f"         {count} warning{'s' if count > 1 else ''}, see {FINDINGS}")
    return f"{count} warning{'s' if count > 1 else ''}, see {FINDINGS}" if count else "nothing to remark"


def divide(values, names, folder, run_dir=None):
    """Divide the images as the notebooks will that run, and say what that leaves too little of; UserError at what cannot work.

    Returns (the remarks, as findings of `checks`; the content of split.csv, which `run_dir` gets if it is there).
    """
    names = [name for name in names if "held_out" in values[name]]
    if not names:
        return [], b""
    from lib.data import split_check

    with tempfile.TemporaryDirectory() as scratch:
        found = split_check.look(values, names, folder, run_dir or scratch, lambda text: print_line(f"         {text}"))
        split = (Path(run_dir or scratch) / products.SPLIT).read_bytes()
    for each in found:
        if each["severity"] == "error":
            raise UserError(validation.sentence(each))
        print_line(f"         {each['what']}. {each['remedy']}")
    return found, split
