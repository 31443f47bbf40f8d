"""`--sweep`: a run for each value of a parameter, or each combination of several, of which every one trains only
what differs; then the page that compares them."""

import dataclasses
import itertools
import re
import time
from collections.abc import Sequence
from typing import Any

from lib.errors import UserError, print_line
from lib.pipeline import compare, inputs, run, run_folder, run_state
from lib.pipeline.graph import DEFAULT_PROJECT, Project
from lib.pipeline.options import Options

LONGEST_NAME = 100  # of a run
CLOSING = {"[": "]", "{": "}", "(": ")", '"': '"', "'": "'"}


def sweep(
    texts: Sequence[str], options: Options, project: Project = DEFAULT_PROJECT, cluster: Any = None
) -> int:
    """Run the grid, then compare what was finished; the highest exit code of the runs.

    Arguments:
        texts: of every --sweep, "31.epochs=8,16,32"; options: of all runs. Their names are that of --run, or of
            the time and the profile, with the values behind. cluster: see `run.run`.
    """
    if options.only or options.start:
        raise UserError(
            "--sweep runs all notebooks, of which equal ones run once. Leave --only and --from out."
        )
    if options.resume and not options.run:
        raise UserError("--resume of a sweep needs the name that the sweep printed: --run NAME. Add it.")
    grid = combinations(texts)
    base = options.run or base_name(options)
    names = run_names(base, grid)
    for overrides in grid:  # before the first one runs for hours
        check(dataclasses.replace(options, overrides=[*options.overrides, *overrides]), project)
    for name in () if options.resume else names:
        run_folder.insist_on_free(name, project.runs)
    print_line(f"sweep    {len(grid)} runs, {names[0]} to {names[-1]}")
    again = " ".join(f"--sweep {text!r}" for text in texts)
    print_line(f"         If it is stopped, go on with the same options and: --resume --run {base} {again}")
    codes: list[int] = []
    for name, overrides in zip(names, grid, strict=True):
        print_line()
        print_line(f"sweep    {len(codes) + 1} of {len(grid)}: {', '.join(overrides)}")
        is_begun = run_state.read(project.runs / name) is not None
        of_run = dataclasses.replace(
            options, run=name, resume=options.resume and is_begun, overrides=[*options.overrides, *overrides]
        )
        codes.append(run.run(of_run, project, take_over=True, cluster=cluster))
    print_line()
    evaluated = [name for name in names if has_evaluation(project, name)]
    if len(evaluated) > 1:
        try:
            compare.compare(evaluated, project.runs, title=f"{base}-sweep")
        except UserError as error:  # such as a sweep of seeds, which divide the images otherwise
            print_line(f"Nothing is compared: {error}")
    else:
        print_line("Nothing is compared: there are not two runs whose 40_evaluation is done.")
    return max(codes)


def combinations(texts: Sequence[str]) -> list[list[str]]:
    """The texts of -p for each run of the grid: [["31.epochs=8"], ["31.epochs=16"], ...]."""
    axes = []
    for text in texts:
        target, equals, values = text.partition("=")
        several = split_values(values)
        if not equals or len(several) < 2 or "" in several or len(set(several)) < len(several):
            raise UserError(
                f"--sweep {text}: write it as --sweep NOTEBOOK.KEY=VALUE,VALUE with two values or more, each once, such as "
                "--sweep 31.epochs=8,16,32 or, of lists, --sweep '40.tta=[none],[none, vertical]'."
            )
        axes.append([f"{target.strip()}={value}" for value in several])
    grid = [list(combination) for combination in itertools.product(*axes)]
    if len(grid) > compare.MOST:
        raise UserError(
            f"--sweep would make {len(grid)} runs, and a page compares {compare.MOST} at most. Name fewer values."
        )
    return grid


def split_values(text: str) -> list[str]:
    """The values between commas; what stands in brackets, braces or quotes is one: "[1, 2],[3]" is two."""
    values = [""]
    waiting: list[str] = []
    for letter in text:
        if waiting and letter == waiting[-1]:
            waiting.pop()
        elif letter in CLOSING and not (waiting and waiting[-1] in "'\""):
            waiting.append(CLOSING[letter])
        if letter == "," and not waiting:
            values.append("")
        else:
            values[-1] += letter
    return [value.strip() for value in values]


def run_names(base: str, grid: Sequence[Sequence[str]]) -> list[str]:
    """The names of the runs: "BASE-31.epochs-8". A number stands in place of what makes no name, is too long or
    would be a name twice."""
    run_folder.check_name(base)
    names = []
    for count, overrides in enumerate(grid, 1):
        words = "-".join(override.replace("=", "-", 1) for override in overrides)
        name = f"{base}-{re.sub(r'[^A-Za-z0-9._-]+', '_', words).strip('_')}"
        if len(name) > LONGEST_NAME or name in names:
            name = f"{base}-{count}"
        run_folder.check_name(name)
        names.append(name)
    return names


def base_name(options: Options) -> str:
    """What the runs are called before their values, where --run says nothing: date, time (UTC) and profile."""
    profile = inputs.profile_of(options)
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + profile


def check(options: Options, project: Project) -> None:
    """UserError for a value that a notebook refuses."""
    run.values_of(
        options,
        inputs.profile_of(options),
        run.fitting_project(dataclasses.replace(options, resume=False), project),
    )


def has_evaluation(project: Project, name: str) -> bool:
    """Whether a run can be compared."""
    state = run_state.read(project.runs / name)
    task = state.notebooks.get(compare.EVALUATION) if state else None
    return task is not None and task.status.is_finished and not task.outdated
