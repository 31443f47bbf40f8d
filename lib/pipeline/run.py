"""A run from the command to its last line: data, profile, run folder, notebooks; and --list, --prepare,
--check."""

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from lib import files, paths
from lib.data import reporting
from lib.errors import UserError, print_line, resumable
from lib.models import environment
from lib.pipeline import (
    cache_key,
    graph,
    inputs,
    params,
    products,
    profiles,
    progress,
    resume,
    reuse,
    run_folder,
    run_state,
    tasks,
    tracking,
    worker,
)
from lib.pipeline.executor import LocalExecutor
from lib.pipeline.graph import DEFAULT_PROJECT, Project
from lib.pipeline.options import Options
from lib.pipeline.run_state import NotebookTask, RunState, Status
from lib.pipeline.scheduler import Scheduler

JOBS = 2  # notebooks side by side, for want of --jobs


def fitting_project(options: Options, project: Project) -> Project:
    """The project for the classes of the data that a run will use; a run that is gone on with names its
    own."""
    folder = options.data
    if options.resume and not folder:
        run_dir = run_folder.existing(options.run, project.runs)
        previous = run_state.read(run_dir) if run_dir.is_dir() else None
        folder = resume.data_folder(previous) if previous else ""
        if previous and not folder:  # strips that are made again
            return project
    from lib.data import dataset

    data = inputs.find_data(folder).folder
    return project.for_classes(dataset.describe(data)["classes"]) if data else project


def run(
    options: Options, project: Project = DEFAULT_PROJECT, take_over: bool = False, cluster: Any = None
) -> int:
    """Run the notebooks; 0 if all that were selected are done, 1 if one failed. UserError before the first
    cell.

    Arguments:
        take_over: let a run begin with what other runs have of its notebooks, see `reuse`.
        cluster: where the notebooks run, a `cluster.executor.Cluster`; None for this machine.
    """
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs {options.jobs}: at least one notebook must run at a time.")
    environment.check_keras_file()
    tracking.insist_on(options.track)
    options = resume.implied(options, project.runs)
    project = fitting_project(options, project)
    selected = project.select(options.only, options.start)
    overrides, previous = project.parse_overrides(options.overrides), None
    if not options.resume:  # what is known before the data are looked at, or made
        run_folder.insist_on_free(options.run, project.runs)
        tasks.check_needs({name: NotebookTask() for name in project.graph}, selected, project)
    from lib.data import dataset

    with contextlib.ExitStack() as held:
        if options.resume:
            run_dir, lock, previous = run_folder.open_existing(options.run, project.runs)
            held.enter_context(lock)
            resume.check_profile(options.profile, previous, run_dir.name)
            overrides = graph.merge_overrides(project.renamed(previous.overrides), overrides)
        data, profile, values = settle(options, project, selected, overrides, previous)
        folder = data.folder or inputs.make_data(values)
        fingerprint = dataset.fingerprint(folder)
        if previous:
            resume.check_data(previous, fingerprint, folder, bool(options.data), selected, run_dir.name)
        is_checked = previous and (run_dir / inputs.FINDINGS).is_file()
        facts, findings = inputs.validate_data(
            folder, data.why, fingerprint, previous if is_checked else None
        )
        remarks, divided = ([], {}) if previous else inputs.divide(values, selected, folder)
        if findings is not None:
            findings = reporting.table([*findings.to_dict("records"), *remarks])
            facts["findings"] = inputs.count_findings(findings)
        if not previous:
            run_dir, lock = run_folder.open_new(options.run, profile, project.runs)
            held.enter_context(lock)
        products.end_strays(run_dir)
        products.remove_partial(run_dir)
        products.drop_split(run_dir, previous.notebooks if previous else {})
        if findings is not None:
            files.write_atomic(run_dir / inputs.FINDINGS, reporting.csv_text(findings))
        for name, content in divided.items():
            files.write_atomic(run_dir / name, content)
        values = params.with_folders(values, folder, run_dir)
        notebooks, forced = selected, set(selected) if options.start else set()
        project = project.divided(values, selected)
        selected = [name for name in project.graph if name in selected or name in project.units]
        keys = tasks.keys_of(project, selected, values, fingerprint, previous)
        before = previous.notebooks if previous else {}
        before_jobs = previous.jobs if previous and not previous.cluster else 0
        jobs = options.jobs or (cluster.room if cluster else before_jobs or JOBS)
        state = RunState(
            run=run_dir.name,
            profile=profile,
            started=previous.started if previous else run_state.now(),
            seconds=previous.seconds if previous else 0,
            jobs=jobs,
            cluster=cluster.name if cluster else "",
            data=facts,
            overrides=overrides,
            notebooks=tasks.begin(project, selected, keys, run_dir, before, forced),
        )
        if take_over:
            run_state.write(run_dir, state)  # a run to go on with, if this is cut off
            before = reuse.take_over(project, state.notebooks, keys, run_dir)
            state.notebooks = tasks.begin(project, selected, keys, run_dir, before, forced)
        if previous:
            waiting = [name for name in notebooks if state.notebooks[name].status is Status.WAITING]
            inputs.divide(values, waiting, folder, run_dir)
        print_line(f"run      {run_dir}")
        print_line()
        if cluster:
            executor = held.enter_context(cluster.executor(project, run_dir, folder, fingerprint["sha256"]))
        else:
            executor = LocalExecutor(lock, jobs)
        settings = settings_of(values, jobs, fingerprint, executor.environment())
        with resumable():
            Scheduler(
                project, run_dir, state, selected, keys, settings, project.declarations(), executor
            ).run()
            code = print_summary(state, run_dir, notebooks)
            if options.track:
                tracking.track(options.track, run_dir, state)
            return code


def settle(
    options: Options,
    project: Project,
    selected: list[str],
    overrides: list[list[str]],
    previous: RunState | None,
) -> tuple[inputs.Data, str, params.Values]:
    """(data, profile, values of the parameters) of a run; printed, with why. UserError for what does not go
    together."""
    data = inputs.data_to_go_on_with(options.data, previous) if previous else inputs.find_data(options.data)
    profile, why = inputs.choose_profile(previous.profile if previous else options.profile, data)
    values = project.values(profile, overrides, selected)
    if previous:
        resume.check_strips(previous, values)
    print_line(f"profile  {profile}, {'as before' if previous else why}")
    print_line(f"data     {data.folder or 'none yet'}: {data.why}")
    if remark := graph.remark_on_copies(selected, values):
        print_line(f"         {remark}")
    if profile == "full" and not (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        print_line(
            "         No NVIDIA card is seen here. On a processor this profile takes days; --profile demo "
            "takes minutes."
        )
    return data, profile, values


def settings_of(
    values: params.Values, jobs: int, fingerprint: dict[str, Any], variables: dict[str, str]
) -> dict[str, Any]:
    """What a notebook that starts now is run with, see `scheduler.Scheduler`; variables: of its environment."""
    return {
        "parameters": {
            name: {key: value.value for key, value in keys.items()} for name, keys in values.items()
        },
        "code": cache_key.code_version(),
        "versions": cache_key.versions(),
        "environment": environment.recorded(variables),
        "jobs": jobs,
        "data": fingerprint["sha256"],
    }


def score_in_words(metrics: dict) -> str:
    """The score that a notebook recorded, its name where it is not Severstal's, and its baselines."""
    scored_by = metrics.get("scored_by", "severstal")
    text = f"{metrics['competition_score']:.4f}{f' ({scored_by})' if scored_by != 'severstal' else ''}"
    for name, beside in {"all_empty_score": "all-empty", "lookup_baseline": "looking up copies"}.items():
        if metrics.get(name) is not None:
            text += f", {beside} {metrics[name]:.4f}"
    return text


def print_summary(state: RunState, run_dir: Path, selected: list[str]) -> int:
    """Print how the run ended and where to look; the exit code."""
    run_state.merge_metrics(run_dir, state)
    print_line()
    for name, task in state.notebooks.items():
        metrics = files.read_metrics(run_dir, name)[1] if task.status.is_finished else {}
        if "competition_score" in metrics:
            stale = f" (of the state before: {name} is outdated)" if task.outdated else ""
            print_line(f"score    {score_in_words(metrics)}{stale}")
        for doubt in (text for metric, text in metrics.items() if metric.endswith("_doubt") and text):
            print_line(f"doubt    {doubt}")
    if outdated := [name for name, task in state.notebooks.items() if task.outdated]:
        numbers = tasks.numbers_of(tasks.to_renew(state.notebooks, *outdated))
        again = f"python run_all.py --resume --run {run_dir.name} --only {numbers}"
        print_line(
            f"outdated {', '.join(outdated)}: what they need was run again without them. Bring them up to "
            f"date with: {again}"
        )
    unfinished = [name for name in selected if not state.notebooks[name].status.is_finished]
    done = f"{len(selected) - len(unfinished)} of {len(selected)} notebooks done" if unfinished else "done"
    print_line(f"{done} in {progress.duration(state.seconds)}. Open {run_dir / 'index.html'}")
    return 1 if unfinished else 0


def values_of(options: Options, profile: str, project: Project) -> params.Values:
    """What every notebook would run with; UserError for whatever the command line names and there is not,
    used or not."""
    selected = project.select(options.only, options.start)
    for name in filter(None, (options.profile, profile)):
        profiles.load_profile(name, project.profiles)
    return project.values(profile, project.parse_overrides(options.overrides), selected)


def print_values(options: Options, project: Project = DEFAULT_PROJECT) -> int:
    """`--list`: every effective value and where it comes from."""
    profile = inputs.profile_of(options)
    project = fitting_project(options, project)
    print_line(params.listing(values_of(options, profile, project)))
    return 0


def prepare(profile: str, options: Options, project: Project = DEFAULT_PROJECT) -> int:
    """`--prepare`: write the notebooks into a run folder with the profile's parameters set and nothing
    executed."""
    project = fitting_project(options, project)
    declarations, data = project.declarations(), inputs.find_data(options.data)
    values = values_of(options, profile, project)
    run_dir, lock = run_folder.open_new(options.run, f"{profile}-prepared", project.runs)
    with lock:
        for name, keys in params.with_folders(values, data.folder or "", run_dir).items():
            changed = params.changed(declarations[name], {key: value.value for key, value in keys.items()})
            worker.prepare(project.notebook(name), run_dir / f"{name}.ipynb", changed)
    print_line(
        f"{len(values)} notebooks with the profile {profile} lie in {run_dir}, not executed. Open them in "
        "Jupyter."
    )
    return 0


def check(options: Options, project: Project = DEFAULT_PROJECT) -> int:
    """`--check`: the table of findings about the data, and about what the split leaves in each part; 2 if one
    of them would stop a run."""
    from lib.data import dataset

    folder = paths.find_data(options.data)
    if folder is None:
        raise UserError("No data to check were found. Name their folder with --data DIR.")
    with contextlib.suppress(UserError):  # a description that cannot be read is among the findings
        project = fitting_project(options, project)
    values_of(options, options.profile or "demo", project)
    print_line(f"data     {folder}")
    findings: list[dict] = [*dataset.check(folder, progress=print_line).to_dict("records")]
    if not any(finding["severity"] == "error" for finding in findings):
        findings += check_division(options, folder, project)
    for finding in findings:
        row = f", row {finding['row']}" if finding["row"] else ""
        print_line(f"{finding['severity']:8} {finding['file']}{row}: {finding['what']}. {finding['remedy']}")
    severe = sum(finding["severity"] == "error" for finding in findings)
    print_line(f"{severe} errors, {len(findings) - severe} warnings")
    return 2 if severe else 0


def check_division(options: Options, folder: Path, project: Project) -> list[dict[str, Any]]:
    """What the split of a run with these options would leave too little of, and whether test images are
    copies, as findings; nothing is written."""
    values = values_of(options, inputs.profile_of(options), project)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            selected = project.select(options.only, options.start)
            return inputs.look(values, selected, folder, scratch, print_line)
    except UserError as error:
        what, _, remedy = str(error).partition(". ")
        return [reporting.finding(folder / "train_images", 0, what, remedy)]
