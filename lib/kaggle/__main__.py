"""Kaggle from the command line: fetch the competition's data, pack a run, upload the pack.

    python -m lib.kaggle download
    python -m lib.kaggle pack [RUN] --owner NAME [--gpu] [--training]
    python -m lib.kaggle push [RUN] [--dry-run]

Kaggle's own client does the talking; it is needed for `download` and `push` alone: python -m pip install
kaggle. It is run as a program of its own, so the token stays with it, and what it prints is shown with every
known token blotted out.
"""

import os
import sys
from collections.abc import Sequence

from lib import errors
from lib.errors import print_line
from lib.kaggle import pack, transfer


def act(arguments: Sequence[str] | None) -> None:
    """Do what the command line says."""
    parser = errors.Parser(prog="python -m lib.kaggle", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("download", help="fetch the competition's data, check and unpack them")
    data_help = "folder to put them in; default: data/ in the project"
    fetching.add_argument("--data", default="", metavar="DIR", help=data_help)
    packing = commands.add_parser("pack", help="write RUN/kaggle: data set, notebook, UPLOAD.md")
    owner = os.environ.get("KAGGLE_USERNAME", "")
    owner_help = "name of your Kaggle account; default: the variable KAGGLE_USERNAME"
    packing.add_argument("--owner", default=owner, help=owner_help)
    packing.add_argument("--name", default="steel-defect", help="beginning of the names on Kaggle")
    packing.add_argument("--gpu", action="store_true", help="let the notebook ask for a GPU")
    packing.add_argument("--training", action="store_true", help="pack the training notebooks too")
    pushing = commands.add_parser("push", help="upload the pack")
    pushing.add_argument("--dry-run", action="store_true", help="only print the commands")
    run_help = "name of a run or its folder; default: the newest"
    for command in (packing, pushing):
        command.add_argument("run", nargs="?", default="", metavar="RUN", help=run_help)
    args = parser.parse_args(arguments)
    if args.command == "download":
        transfer.download(args.data)
    elif args.command == "pack":
        folder = pack.pack(transfer.run_folder(args.run), args.owner, args.name, args.gpu, args.training)
        print_line(f"Packed in {folder}. Next: its UPLOAD.md, or python -m lib.kaggle push")
    else:
        transfer.push(transfer.run_folder(args.run), args.dry_run)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
