"""A run from the command to its last line: data, profile, run folder, notebooks; and --list, --prepare, --check."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections import namedtuple
from pathlib import Path

from lib import artifacts, checks, execution, params, paths, plan, processes, provenance, resume, surroundings
from lib import journal as journals
from lib.guard import resumable, say
from lib.journal import FINISHED
from lib.paths import UserError
from lib.plan import HOUSE

FINDINGS = "data_findings.csv"  # in the run folder: what the check of the data found
JOBS = 2  # notebooks side by side, for want of --jobs
FEW_IMAGES = 1000  # of a training set for which small_data is the profile, for want of --profile
Data = namedtuple("Data", "folder why generated")  # folder is None where strips must be generated first
Options = namedtuple("Options", "profile data run resume only start overrides jobs", defaults=("", "", "", False, "", "", (), None))


def find_data(data_dir):
    """Which data a run uses and why; UserError if a folder is named and holds none."""
    folder = paths.find_data(data_dir)
    if folder is None:
        return Data(None, resume.GENERATED, True)
    why = "named by --data" if data_dir else f"named by {paths.DATA_VARIABLE}" if os.environ.get(paths.DATA_VARIABLE) else "found"
    from lib import dataset

    return Data(folder, why, bool(dataset.describe(folder)["generated"]))


def fitting_house(options, house):
    """The house for the classes of the data that a run will use; a run that is gone on with names its own."""
    folder = options.data
    if options.resume and not folder:
        run_dir = journals.latest_run(house.runs) if options.run in ("", "latest") else house.runs / options.run
        old = journals.read(run_dir) if run_dir.is_dir() else None
        folder = resume.folder_of(old) if old else ""
        if old and not folder:  # strips that are made again
            return house
    from lib import dataset

    data = find_data(folder).folder
    return plan.house_of(house, dataset.describe(data)["classes"]) if data else house


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
    from lib import synthetic

    generated, seeds = ([keys[key].value for keys in values.values() if key in keys] for key in ("generated", "seed"))
    if not generated or not seeds:
        raise UserError("No data were found, and no notebook says how many strips to generate. Name a folder with --data.")
    if any(other != generated[0] for other in generated):
        raise UserError('generated differs between notebooks that read the same strips. Set it with -p "all.generated=[TRAIN, TEST]".')
    train, test = synthetic.sizes(generated[0])
    say(f"strips   {train} to train on and {test} to test on, seed {seeds[0]}: made once, then reused")
    return Path(synthetic.find_or_generate("", generated[0], seeds[0]))


def open_folder(options, profile, house):
    """(run folder, its lock, the journal to go on with or None). UserError where another run would be overwritten."""
    if options.run and not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", options.run):
        raise UserError(f"--run {options.run}: a run's name has letters, digits, dots, - and _ only.")
    if options.resume:
        newest = options.run in ("", "latest")
        run_dir = journals.latest_run(house.runs) if newest else house.runs / options.run
        if not run_dir.is_dir():
            known = [folder.name for folder in journals.run_folders(house.runs)]
            raise UserError(f"There is no run {options.run}{params.nearest(options.run, known)} Leave --resume out.")
        lock = journals.open_lock(run_dir)
        old = journals.read(run_dir)
        if old is None:
            raise UserError(f"{run_dir} holds no readable {journals.FILE}. Start a new run without --resume.")
        return run_dir, lock, old
    if options.run in ("latest", "interactive"):
        raise UserError(f"--run {options.run}: this name is taken. Choose another.")
    run_dir = house.runs / options.run if options.run else new_folder(profile, house.runs)
    if os.path.lexists(run_dir) and not run_dir.is_dir():
        raise UserError(f"--run {options.run}: {run_dir} is there and no folder. Choose another name.")
    run_dir.mkdir(parents=True, exist_ok=True)
    insist_on_empty(run_dir)
    lock = journals.open_lock(run_dir)
    try:
        insist_on_empty(run_dir)  # another command can have come first, and be through
    except UserError:
        lock.close()
        raise
    return run_dir, lock, None


def insist_on_empty(run_dir):
    """UserError if a folder holds more than what a command leaves that was killed before its first entry in the journal."""
    harmless = (journals.LOCK, FINDINGS, artifacts.SPLIT, "lost+found")
    if any(path.name not in harmless and not path.name.endswith(".partial") for path in run_dir.iterdir()):
        raise UserError(f"{run_dir} already holds a run. Add --resume to go on with it, or choose another --run.")


def new_folder(profile, runs):
    """A folder of a new name, made by this command: date, time (UTC) and profile, and a number where another took that name."""
    stem = time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + profile
    runs.mkdir(parents=True, exist_ok=True)
    for name in (stem, *(f"{stem}-{n}" for n in range(2, 1000))):
        try:
            (runs / name).mkdir()
            return runs / name
        except FileExistsError:
            continue
    raise UserError(f"{runs} holds a thousand runs of {stem}. Name the run with --run.")


def run(options, house=HOUSE):
    """Run the notebooks; 0 if all that were asked for are done, 1 if one failed. UserError before the first cell."""
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs {options.jobs}: at least one notebook must run at a time.")
    surroundings.check_keras_file()
    options = resume.meant(options, house.runs)
    house = fitting_house(options, house)
    declarations, selected = plan.declarations_of(house), plan.select(options.only, options.start, house)
    overrides, profile, data_dir = plan.overrides_of(options.overrides, house), options.profile, options.data
    from lib import dataset

    lock = None
    try:
        old = None
        if options.resume:
            run_dir, lock, old = open_folder(options, "", house)
            if profile and profile != old["profile"]:
                raise UserError(f"{run_dir.name} is a run of profile {old['profile']}. Leave --profile out, or start a new run.")
            profile, overrides = old["profile"], plan.merge_overrides(old.get("overrides", []), overrides)
            data_dir = data_dir or resume.folder_of(old)
        data = Data(None, resume.GENERATED, True) if old and not data_dir else find_data(data_dir)
        if old:
            data = data._replace(why=data.why if options.data else str(old["data"].get("why", "")))
        profile, why = choose_profile(profile, data)
        values = plan.values_of(house, profile, overrides, selected)
        if old:
            resume.check_strips(old, values)
        say(f"profile  {profile}, {'as before' if old else why}")
        say(f"data     {data.folder or 'none yet'}: {data.why}")
        if remark := plan.remark_on_copies(selected, values):
            say(f"         {remark}")
        if profile == "full" and not (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
            say("         No NVIDIA card is seen here. On a processor this profile takes days; --profile demo takes minutes.")
        folder = data.folder or make_data(values)
        fingerprint = dataset.fingerprint(folder)
        if old:
            resume.check_data(old, fingerprint, folder, bool(options.data), selected, run_dir.name)
        known, findings = inspect(folder, data.why, fingerprint, old if old and (run_dir / FINDINGS).is_file() else None)
        remarks, split = ([], b"") if old else divide(values, selected, folder)
        if findings is not None:
            findings = checks.table([*findings.to_dict("records"), *remarks])
            known["findings"] = summary_of(findings)
        if lock is None:
            run_dir, lock, _ = open_folder(options, profile, house)
        artifacts.end_strays(run_dir)
        artifacts.remove_partial(run_dir)
        artifacts.drop_split(run_dir, old["notebooks"] if old else {})
        if findings is not None:
            paths.write_atomic(run_dir / FINDINGS, checks.csv_text(findings))
        if split:
            paths.write_atomic(run_dir / artifacts.SPLIT, split)
        for keys in values.values():
            for key, value in (("data_dir", str(folder)), ("run_dir", str(run_dir))):
                if key in keys:
                    keys[key] = params.Value(value, params.GIVEN[key])
        keys = plan.keys_of(house, selected, values, fingerprint, old)
        jobs = options.jobs or (old or {}).get("jobs", JOBS)
        asked = {
            "parameters": {name: {key: value.value for key, value in found.items()} for name, found in values.items()},
            "code": provenance.code_version(),
            "versions": provenance.versions(),
            "environment": surroundings.recorded(surroundings.of_notebook(jobs)),
            "jobs": jobs,
            "data": fingerprint["sha256"],
        }
        journal = {
            "run": run_dir.name,
            "profile": profile,
            "started": old["started"] if old else journals.now(),
            "finished": "",
            "seconds": old.get("seconds", 0) if old else 0,
            "status": "running",
            "jobs": asked["jobs"],
            "data": known,
            "overrides": overrides,
            "notebooks": plan.entries_of(house, selected, keys, run_dir, old, set(selected) if options.start else set()),
        }
        if old:
            divide(values, [name for name in selected if journal["notebooks"][name]["status"] == "waiting"], folder, run_dir)
        say(f"run      {run_dir}")
        say()
        with resumable():
            processes.run_all(journal, run_dir, lock, house, selected, keys, asked, declarations)
            return conclude(journal, run_dir, selected)
    finally:
        if lock:
            lock.close()


def inspect(folder, why, fingerprint, old):
    """(the journal's facts, findings) of the data; UserError at what is severe, before the first cell.

    The findings are None where they are those of the run that is gone on with: its data are the same.
    """
    from lib import dataset

    about = dataset.describe(folder)
    known = {"folder": str(folder), "why": why, **fingerprint, "generated": about["generated"], "note": about["note"]}
    before = old["data"] if old else {}
    if before.get("sha256") == known["sha256"] and "findings" in before:
        return known | {"findings": before["findings"]}, None
    findings = dataset.check(folder, progress=say) if (folder / "train.csv").is_file() else checks.table([])
    severe = findings[findings["severity"] == "error"].to_dict("records")
    if severe:
        more = f" {len(severe) - 1} more: `python run_all.py --check --data {folder}` lists them." if len(severe) > 1 else ""
        raise UserError(checks.sentence(severe[0]) + more)
    return known, findings


def summary_of(findings):
    """How many warnings there are, as the journal has it; said, if there are any."""
    count = len(findings)
    if count:
        say(f"         {count} warning{'s' if count > 1 else ''}, see {FINDINGS}")
    return f"{count} warning{'s' if count > 1 else ''}, see {FINDINGS}" if count else "nothing to remark"


def divide(values, names, folder, run_dir=None):
    """Divide the images as the notebooks will that run, and say what that leaves too little of; UserError at what cannot work.

    Returns (the remarks, as findings of `checks`; the content of split.csv, which `run_dir` gets if it is there).
    """
    names = [name for name in names if "held_out" in values[name]]
    if not names:
        return [], b""
    from lib import parts

    with tempfile.TemporaryDirectory() as scratch:
        found = parts.look(values, names, folder, run_dir or scratch, lambda text: say(f"         {text}"))
        split = (Path(run_dir or scratch) / artifacts.SPLIT).read_bytes()
    for each in found:
        if each["severity"] == "error":
            raise UserError(checks.sentence(each))
        say(f"         {each['what']}. {each['remedy']}")
    return found, split


def conclude(journal, run_dir, selected):
    """Say how the run ended and where to look; the exit code."""
    journals.merge_metrics(run_dir, journal)
    entries = journal["notebooks"]
    say()
    for name, entry in entries.items():
        figures = (journals.read_figures(run_dir, name) or {"figures": {}})["figures"] if entry["status"] in FINISHED else {}
        if "competition_score" in figures:
            beside = f", all-empty {figures['all_empty_score']:.4f}" if "all_empty_score" in figures else ""
            stale = f" (of the state before: {name} is outdated)" if entry["outdated"] else ""
            say(f"score    {figures['competition_score']:.4f}{beside}{stale}")
        for doubt in (text for figure, text in figures.items() if figure.endswith("_doubt") and text):
            say(f"doubt    {doubt}")
    if outdated := [name for name, entry in entries.items() if entry["outdated"]]:
        again = f"python run_all.py --resume --run {run_dir.name} --only {','.join(name.partition('_')[0] for name in outdated)}"
        say(f"outdated {', '.join(outdated)}: what they need was run again without them. Bring them up to date with: {again}")
    bad = [name for name in selected if entries[name]["status"] not in FINISHED]
    ended = f"{len(selected) - len(bad)} of {len(selected)} notebooks done" if bad else "done"
    say(f"{ended} in {processes.duration(journal['seconds'])}. Open {run_dir / 'index.html'}")
    return 1 if bad else 0


def values_meant(options, profile, house):
    """What every notebook would run with; UserError for whatever the command line names and there is not, used or not."""
    selected = plan.select(options.only, options.start, house)
    for name in filter(None, (options.profile, profile)):
        params.load_profile(name, house.profiles)
    return plan.values_of(house, profile, plan.overrides_of(options.overrides, house), selected)


def print_values(options, house=HOUSE):
    """`--list`: every effective value and where it comes from."""
    profile = options.profile or choose_profile("", find_data(options.data))[0]
    house = fitting_house(options, house)
    say(params.listing(values_meant(options, profile, house)))
    return 0


def prepare(profile, options, house=HOUSE):
    """`--prepare`: write the notebooks into a run folder with the profile's parameters set and nothing executed."""
    house = fitting_house(options, house)
    declarations, data = plan.declarations_of(house), find_data(options.data)
    values = values_meant(options, profile, house)
    run_dir, lock, _ = open_folder(options._replace(resume=False), f"{profile}-prepared", house)
    with lock:
        for name, keys in values.items():
            given = {"data_dir": str(data.folder or ""), "run_dir": str(run_dir)}
            changed = processes.changed(declarations[name], {key: given.get(key, value.value) for key, value in keys.items()})
            execution.prepare(house.notebooks / f"{name}.ipynb", run_dir / f"{name}.ipynb", changed)
    say(f"{len(values)} notebooks with the profile {profile} lie in {run_dir}, not executed. Open them in Jupyter.")
    return 0


def check(options, house=HOUSE):
    """`--check`: the table of findings about the data, and about what the split leaves in each part; 2 if one of them would stop a run."""
    from lib import dataset

    folder = paths.find_data(options.data)
    if folder is None:
        raise UserError("No data to check were found. Name their folder with --data DIR.")
    with contextlib.suppress(UserError):  # a description that cannot be read is among the findings
        house = fitting_house(options, house)
    values_meant(options, options.profile or "demo", house)
    say(f"data     {folder}")
    found = dataset.check(folder, progress=say).to_dict("records")
    if not any(each["severity"] == "error" for each in found):
        found += check_division(options, folder, house)
    for finding in found:
        row = f", row {finding['row']}" if finding["row"] else ""
        say(f"{finding['severity']:8} {finding['file']}{row}: {finding['what']}. {finding['remedy']}")
    severe = sum(each["severity"] == "error" for each in found)
    say(f"{severe} errors, {len(found) - severe} warnings")
    return 2 if severe else 0


def check_division(options, folder, house):
    """What the split of a run with these options would leave too little of, as findings; nothing is written."""
    values = values_meant(options, options.profile or choose_profile("", find_data(options.data))[0], house)
    names = [name for name in plan.select(options.only, options.start, house) if "held_out" in values[name]]
    if not names:
        return []
    from lib import parts

    try:
        with tempfile.TemporaryDirectory() as scratch:
            return parts.look(values, names, folder, scratch, say)
    except UserError as error:
        what, _, remedy = str(error).partition(". ")
        return [checks.finding(folder / "train_images", 0, what, remedy)]
