"""Run the notebooks: from strips to a submission and a report of every step."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from lib import errors
from lib.pipeline import compare, run, sweep
from lib.pipeline.graph import DEFAULT_PROJECT, Project
from lib.pipeline.options import Options

NUMBERS = ("jobs", "cpus_per_notebook", "gpus_per_notebook")  # options that are None where they are left out


def parse(arguments: list[str] | None) -> tuple[argparse.Namespace, Options]:
    """The command line as (all that it holds, the options of a run)."""
    parser = errors.Parser(prog="run_all.py", description=__doc__)
    add = parser.add_argument
    add(
        "--profile",
        help="demo, small_data, full, article or neu_seg (params/); default: demo for generated strips, small_data "
        "below 1,000 training images, else full",
    )
    add("--data", metavar="DIR", help="folder with train.csv, train_images, test_images")
    add("--run", metavar="ID", help="name of the run, a folder in runs/; default: date, time and profile")
    add(
        "--resume",
        action="store_true",
        help="go on with a run, by default the newest; what is done and unchanged stays",
    )
    add(
        "--only",
        metavar="A,B",
        help="run these notebooks alone; first letters do, such as 10,33; with --run ID in that run",
    )
    add(
        "--from",
        dest="start",
        metavar="NAME",
        help="run this notebook and all that depend on it, even if unchanged",
    )
    add(
        "-p",
        action="append",
        default=[],
        dest="overrides",
        metavar="NOTEBOOK.KEY=VALUE",
        help="set a parameter; all.KEY=VALUE "
        "sets it wherever it is, segmenters.KEY=VALUE in those of the classes; may be repeated",
    )
    add(
        "--sweep",
        action="append",
        default=[],
        metavar="NOTEBOOK.KEY=A,B",
        help="a run for each value, and a page that compares them; repeated: for each combination",
    )
    add(
        "--jobs",
        type=errors.whole_number,
        default=None,
        metavar="N",
        help=f"notebooks to run side by side; default: {run.JOBS}, or what the run had",
    )
    add(
        "--cluster",
        metavar="WHERE",
        help="run the notebooks on a Ray cluster: local, auto (the one that runs here) or HOST:PORT; docs/cluster.md",
    )
    add(
        "--cpus-per-notebook",
        type=errors.whole_number,
        metavar="N",
        help="with --cluster: processors of each notebook; default: two notebooks a node, or one a card",
    )
    add(
        "--gpus-per-notebook",
        type=errors.decimal_number,
        metavar="N",
        help="with --cluster: graphics cards of each notebook, such as 1, 0.5 or 0; default: 1 where there are any",
    )
    add(
        "--track",
        metavar="TOOL",
        help="mlflow or tensorboard: hand it the finished run's parameters, metrics and curves",
    )
    add("--list", action="store_true", help="print every parameter with its value and where that comes from")
    add("--prepare", metavar="PROFILE", help="write the notebooks with a profile's parameters, not executed")
    add("--check", action="store_true", help="check the data and print what is wrong with them")
    add(
        "--compare",
        nargs="+",
        metavar="ID",
        help="write a page that compares finished runs on the images that all of them held out",
    )
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        if isinstance(value, str) and not value.strip():  # such as of a variable that is not set
            parser.error(
                f"--{'from' if name == 'start' else name} is empty. Say what is meant, or leave it out."
            )
        if value is None and name not in NUMBERS:
            setattr(options, name, "")
    return options, Options(
        **{field.name: getattr(options, field.name) for field in dataclasses.fields(Options)}
    )


def act(arguments: list[str] | None) -> int:
    """Do what the command line asks for; the exit code."""
    command, options = parse(arguments)
    return perform(command, options)


def perform(command: argparse.Namespace, options: Options, project: Project = DEFAULT_PROJECT) -> int:
    """Run the notebooks of a project, or do what one of --list, --prepare, --check and --compare asks
    for; the exit code."""
    if command.list:
        return run.print_values(options, project)
    if command.prepare:
        return run.prepare(command.prepare, options, project)
    if command.check:
        return run.check(options, project)
    if command.compare:
        return compare.compare(command.compare, project.runs)
    if not command.cluster:
        for name in NUMBERS[1:]:
            if getattr(command, name) is not None:
                raise errors.UserError(
                    f"--{name.replace('_', '-')} is for --cluster. Name one, or leave it out."
                )
        return start(command, options, project)
    from lib.cluster import executor

    with executor.join(command.cluster, command.cpus_per_notebook, command.gpus_per_notebook) as cluster:
        return start(command, options, project, cluster)


def start(command: argparse.Namespace, options: Options, project: Project, cluster: Any = None) -> int:
    """Run the notebooks once, or for each value of a sweep; the exit code."""
    if command.sweep:
        return sweep.sweep(command.sweep, options, project, cluster)
    return run.run(options, project, cluster=cluster)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code: 0 done, 1 a notebook failed, 2 something for the user to mend, 130 or
    143 stopped."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
