"""Run the notebooks: from strips to a submission and a report of every step."""

import argparse
import sys

from lib import guard, pipeline


def parse(arguments):
    """The command line as (parsed arguments, pipeline.Options)."""
    parser = argparse.ArgumentParser(prog="run_all.py", description=__doc__)
    add = parser.add_argument
    add("--profile", default="", help="demo, full, article (params/); default: full where competition data are found, else demo")
    add("--data", default="", metavar="DIR", help="folder with train.csv, train_images, test_images")
    add("--run", default="", metavar="ID", help="name of the run, a folder in runs/; default: date, time and profile")
    add("--resume", action="store_true", help="go on with a run, by default the newest; what is done and unchanged is kept")
    add("--only", default="", metavar="A,B", help="run these notebooks alone; first letters do, such as 10,33")
    add("--from", default="", dest="start", metavar="NAME", help="run this notebook and all that depend on it, even if unchanged")
    add("-p", action="append", default=[], dest="overrides", metavar="NOTEBOOK.KEY=VALUE", help="set a parameter; all.KEY=VALUE "
        "sets it wherever it is; may be repeated")  # fmt: skip
    add("--jobs", type=int, default=None, metavar="N", help="notebooks to run side by side; default: 1, or what the run had")
    add("--list", action="store_true", help="print every parameter with its value and where that comes from")
    add("--prepare", default="", metavar="PROFILE", help="write the notebooks with a profile's parameters, not executed")
    add("--check", action="store_true", help="check the data and print what is wrong with them")
    given = parser.parse_args(arguments)
    return given, pipeline.Options(**{field: getattr(given, field) for field in pipeline.Options._fields})


def act(arguments):
    """Do what the command line says; the exit code."""
    given, options = parse(arguments)
    if given.list:
        return pipeline.print_values(options)
    if given.prepare:
        return pipeline.prepare(given.prepare, options)
    if given.check:
        return pipeline.check(options)
    return pipeline.run(options)


def main(arguments=None):
    """The command line; the exit code: 0 done, 1 a notebook failed, 2 bad input, 130 or 143 stopped."""
    return guard.guarded(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
