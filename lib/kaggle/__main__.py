"""Kaggle from the command line: fetch the competition's data, pack a run, upload the pack.

    python -m lib.kaggle download
    python -m lib.kaggle pack [RUN] --owner NAME [--gpu] [--training]
    python -m lib.kaggle push [RUN] [--dry-run]

Kaggle's own client does the talking; it is needed for `download` and `push` alone: python -m pip install kaggle. It is run as a
program of its own, so the token stays with it, and what it prints is shown with every known token blotted out.
"""

import os
import sys

from lib import errors
from lib.errors import print_line
from lib.kaggle import client, pack


def act(arguments):
    """Do what the command line says."""
    parser = errors.Parser(prog="python -m lib.kaggle", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("download", help="fetch the competition's data, check and unpack them")
    fetch.add_argument("--data", default="", metavar="DIR", help="folder to put them in; default: data/ in the project")
    bundle = commands.add_parser("pack", help="write RUN/kaggle: data set, notebook, UPLOAD.md")
    owner = os.environ.get("KAGGLE_USERNAME", "")
    bundle.add_argument("--owner", default=owner, help="name of your Kaggle account; default: the variable KAGGLE_USERNAME")
    bundle.add_argument("--name", default="steel-defect", help="beginning of the names on Kaggle")
    bundle.add_argument("--gpu", action="store_true", help="let the notebook ask for a GPU")
    bundle.add_argument("--training", action="store_true", help="pack the training notebooks too")
    upload = commands.add_parser("push", help="upload the pack")
    upload.add_argument("--dry-run", action="store_true", help="only print the commands")
    for command in (bundle, upload):
        command.add_argument("run", nargs="?", default="", metavar="RUN", help="name of a run or its folder; default: the newest")
    given = parser.parse_args(arguments)
    if given.command == "download":
        client.download(given.data)
    elif given.command == "pack":
        folder = pack.pack(client.run_folder(given.run), given.owner, given.name, given.gpu, given.training)
        print_line(f"Packed in {folder}. Next: its UPLOAD.md, or python -m lib.kaggle push")
    else:
        client.push(client.run_folder(given.run), given.dry_run)


def main(arguments=None):
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
