"""A run from the command to its last line: data, profile, run folder, notebooks; and --list, --prepare, --check."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections import namedtuple
from pathlib import Path

from lib import files, paths
from lib.data import validation
from lib.errors import UserError, print_line, resumable
from lib.models import environment
from lib.pipeline import cache_key, graph, inputs, params, processes, products, profiles, resume, run_state, scheduler, worker
from lib.pipeline.graph import DEFAULT_PROJECT
from lib.pipeline.run_state import FINISHED

JOBS = 2  # notebooks side by side, for want of --jobs
Options = namedtuple("Options", "profile data run resume only start overrides jobs", defaults=("", "", "", False, "", "", (), None))


def fitting_project(options, project):
    """The project for the classes of the data that a run will use; a run that is gone on with names its own."""
    folder = options.data
    if options.resume and not folder:
        run_dir = run_state.latest_run(project.runs) if options.run in ("", "latest") else project.runs / options.run
        old = run_state.read(run_dir) if run_dir.is_dir() else None
        folder = resume.folder_of(old) if old else ""
        if old and not folder:  # strips that are made again
            return project
    from lib.data import dataset

    data = inputs.find_data(folder).folder
    return graph.project_for(project, dataset.describe(data)["classes"]) if data else project


def open_folder(options, profile, project):
    """(run folder, its lock, the journal to go on with or None). UserError where another run would be overwritten."""
    if options.run and not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", options.run):
        raise UserError(f"--run {options.run}: a run's name has letters, digits, dots, - and _ only.")
    if options.resume:
        newest = options.run in ("", "latest")
        run_dir = run_state.latest_run(project.runs) if newest else project.runs / options.run
        if not run_dir.is_dir():
            known = [folder.name for folder in run_state.run_folders(project.runs)]
            raise UserError(f"There is no run {options.run}{profiles.nearest(options.run, known)} Leave --resume out.")
        lock = run_state.open_lock(run_dir)
        old = run_state.read(run_dir)
        if old is None:
            raise UserError(f"{run_dir} holds no readable {run_state.FILE}. Start a new run without --resume.")
        return run_dir, lock, old
    if options.run in ("latest", "interactive"):
        raise UserError(f"--run {options.run}: this name is taken. Choose another.")
    run_dir = project.runs / options.run if options.run else new_folder(profile, project.runs)
    if os.path.lexists(run_dir) and not run_dir.is_dir():
        raise UserError(f"--run {options.run}: {run_dir} is there and no folder. Choose another name.")
    run_dir.mkdir(parents=True, exist_ok=True)
    insist_on_empty(run_dir)
    lock = run_state.open_lock(run_dir)
    try:
        insist_on_empty(run_dir)  # another command can have come first, and be through
    except UserError:
        lock.close()
        raise
    return run_dir, lock, None


def insist_on_empty(run_dir):
    """UserError if a folder holds more than what a command leaves that was killed before its first entry in the journal."""
    harmless = (run_state.LOCK, inputs.FINDINGS, products.SPLIT, "lost+found")
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


def run(options, project=DEFAULT_PROJECT):
    """Run the notebooks; 0 if all that were asked for are done, 1 if one failed. UserError before the first cell."""
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs {options.jobs}: at least one notebook must run at a time.")
    environment.check_keras_file()
    options = resume.meant(options, project.runs)
    project = fitting_project(options, project)
    declarations, selected = graph.declarations_of(project), graph.select(options.only, options.start, project)
    overrides, profile, data_dir = graph.overrides_of(options.overrides, project), options.profile, options.data
    from lib.data import dataset

    lock = None
    try:
        old = None
        if options.resume:
            run_dir, lock, old = open_folder(options, "", project)
            if profile and profile != old["profile"]:
                raise UserError(f"{run_dir.name} is a run of profile {old['profile']}. Leave --profile out, or start a new run.")
            profile, overrides = old["profile"], graph.merge_overrides(old.get("overrides", []), overrides)
            data_dir = data_dir or resume.folder_of(old)
        data = inputs.Data(None, resume.GENERATED, True) if old and not data_dir else inputs.find_data(data_dir)
        if old:
            data = data._replace(why=data.why if options.data else str(old["data"].get("why", "")))
        profile, why = inputs.choose_profile(profile, data)
        values = graph.values_of(project, profile, overrides, selected)
        if old:
            resume.check_strips(old, values)
        print_line(f"profile  {profile}, {'as before' if old else why}")
        print_line(f"data     {data.folder or 'none yet'}: {data.why}")
        if remark := graph.remark_on_copies(selected, values):
            print_line(f"         {remark}")
        if profile == "full" and not (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
            print_line("         No NVIDIA card is seen here. On a processor this profile takes days; --profile demo takes minutes.")
        folder = data.folder or inputs.make_data(values)
        fingerprint = dataset.fingerprint(folder)
        if old:
            resume.check_data(old, fingerprint, folder, bool(options.data), selected, run_dir.name)
        known, findings = inputs.validate_data(folder, data.why, fingerprint, old if old and (run_dir / inputs.FINDINGS).is_file() else None)
        remarks, split = ([], b"") if old else inputs.divide(values, selected, folder)
        if findings is not None:
            findings = validation.table([*findings.to_dict("records"), *remarks])
            known["findings"] = inputs.summary_of(findings)
        if lock is None:
            run_dir, lock, _ = open_folder(options, profile, project)
        products.end_strays(run_dir)
        products.remove_partial(run_dir)
        products.drop_split(run_dir, old["notebooks"] if old else {})
        if findings is not None:
            files.write_atomic(run_dir / inputs.FINDINGS, validation.csv_text(findings))
        if split:
            files.write_atomic(run_dir / products.SPLIT, split)
        for keys in values.values():
            for key, value in (("data_dir", str(folder)), ("run_dir", str(run_dir))):
                if key in keys:
                    keys[key] = params.Value(value, params.GIVEN[key])
        keys = graph.keys_of(project, selected, values, fingerprint, old)
        jobs = options.jobs or (old or {}).get("jobs", JOBS)
        asked = {
            "parameters": {name: {key: value.value for key, value in found.items()} for name, found in values.items()},
            "code": cache_key.code_version(),
            "versions": cache_key.versions(),
            "environment": environment.recorded(environment.of_notebook(jobs)),
            "jobs": jobs,
            "data": fingerprint["sha256"],
        }
        journal = {
            "run": run_dir.name,
            "profile": profile,
            "started": old["started"] if old else run_state.now(),
            "finished": "",
            "seconds": old.get("seconds", 0) if old else 0,
            "status": "running",
            "jobs": asked["jobs"],
            "data": known,
            "overrides": overrides,
            "notebooks": graph.entries_of(project, selected, keys, run_dir, old, set(selected) if options.start else set()),
        }
        if old:
            inputs.divide(values, [name for name in selected if journal["notebooks"][name]["status"] == "waiting"], folder, run_dir)
        print_line(f"run      {run_dir}")
        print_line()
        with resumable():
            scheduler.run_all(journal, run_dir, lock, project, selected, keys, asked, declarations)
            return print_summary(journal, run_dir, selected)
    finally:
        if lock:
            lock.close()


def print_summary(journal, run_dir, selected):
    """Say how the run ended and where to look; the exit code."""
    run_state.merge_metrics(run_dir, journal)
    entries = journal["notebooks"]
    print_line()
    for name, entry in entries.items():
        metrics = files.read_metrics(run_dir, name)[1] if entry["status"] in FINISHED else {}
        if "competition_score" in metrics:
            beside = f", all-empty {metrics['all_empty_score']:.4f}" if "all_empty_score" in metrics else ""
            stale = f" (of the state before: {name} is outdated)" if entry["outdated"] else ""
            print_line(f"score    {metrics['competition_score']:.4f}{beside}{stale}")
        for doubt in (text for metric, text in metrics.items() if metric.endswith("_doubt") and text):
            print_line(f"doubt    {doubt}")
    if outdated := [name for name, entry in entries.items() if entry["outdated"]]:
        again = f"python run_all.py --resume --run {run_dir.name} --only {','.join(name.partition('_')[0] for name in outdated)}"
        print_line(f"outdated {', '.join(outdated)}: what they need was run again without them. Bring them up to date with: {again}")
    bad = [name for name in selected if entries[name]["status"] not in FINISHED]
    ended = f"{len(selected) - len(bad)} of {len(selected)} notebooks done" if bad else "done"
    print_line(f"{ended} in {processes.duration(journal['seconds'])}. Open {run_dir / 'index.html'}")
    return 1 if bad else 0


def values_meant(options, profile, project):
    """What every notebook would run with; UserError for whatever the command line names and there is not, used or not."""
    selected = graph.select(options.only, options.start, project)
    for name in filter(None, (options.profile, profile)):
        profiles.load_profile(name, project.profiles)
    return graph.values_of(project, profile, graph.overrides_of(options.overrides, project), selected)


def print_values(options, project=DEFAULT_PROJECT):
    """`--list`: every effective value and where it comes from."""
    profile = options.profile or inputs.choose_profile("", inputs.find_data(options.data))[0]
    project = fitting_project(options, project)
    print_line(params.listing(values_meant(options, profile, project)))
    return 0


def prepare(profile, options, project=DEFAULT_PROJECT):
    """`--prepare`: write the notebooks into a run folder with the profile's parameters set and nothing executed."""
    project = fitting_project(options, project)
    declarations, data = graph.declarations_of(project), inputs.find_data(options.data)
    values = values_meant(options, profile, project)
    run_dir, lock, _ = open_folder(options._replace(resume=False), f"{profile}-prepared", project)
    with lock:
        for name, keys in values.items():
            given = {"data_dir": str(data.folder or ""), "run_dir": str(run_dir)}
            changed = scheduler.changed(declarations[name], {key: given.get(key, value.value) for key, value in keys.items()})
            worker.prepare(project.notebooks / f"{name}.ipynb", run_dir / f"{name}.ipynb", changed)
    print_line(f"{len(values)} notebooks with the profile {profile} lie in {run_dir}, not executed. Open them in Jupyter.")
    return 0


def check(options, project=DEFAULT_PROJECT):
    """`--check`: the table of findings about the data, and about what the split leaves in each part; 2 if one of them would stop a run."""
    from lib.data import dataset

    folder = paths.find_data(options.data)
    if folder is None:
        raise UserError("No data to check were found. Name their folder with --data DIR.")
    with contextlib.suppress(UserError):  # a description that cannot be read is among the findings
        project = fitting_project(options, project)
    values_meant(options, options.profile or "demo", project)
    print_line(f"data     {folder}")
    found = dataset.check(folder, progress=print_line).to_dict("records")
    if not any(each["severity"] == "error" for each in found):
        found += check_division(options, folder, project)
    for finding in found:
        row = f", row {finding['row']}" if finding["row"] else ""
        print_line(f"{finding['severity']:8} {finding['file']}{row}: {finding['what']}. {finding['remedy']}")
    severe = sum(each["severity"] == "error" for each in found)
    print_line(f"{severe} errors, {len(found) - severe} warnings")
    return 2 if severe else 0


def check_division(options, folder, project):
    """What the split of a run with these options would leave too little of, as findings; nothing is written."""
    values = values_meant(options, options.profile or inputs.choose_profile("", inputs.find_data(options.data))[0], project)
    names = [name for name in graph.select(options.only, options.start, project) if "held_out" in values[name]]
    if not names:
        return []
    from lib.data import split_check

    try:
        with tempfile.TemporaryDirectory() as scratch:
            return split_check.look(values, names, folder, scratch, print_line)
    except UserError as error:
        what, _, remedy = str(error).partition(". ")
        return [validation.finding(folder / "train_images", 0, what, remedy)]
