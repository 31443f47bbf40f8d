"""A finished run as a bundle that runs where no TensorFlow is.

python -m lib.export --run RUN --format onnx --out DIR      (or --format openvino)

DIR gets the networks, thresholds and classes, card.html with what it is worth and must not be used for, and
detect.py, which needs numpy, OpenCV and ONNX Runtime or OpenVINO: python detect.py IMAGES... --out DIR. It is
there complete or not at all. The packages that convert: python -m pip install -r requirements-export.txt
"""

import argparse
import os
import sys
import time

from lib import errors, paths
from lib.bundle import writing
from lib.errors import UserError
from lib.inference import sources
from lib.models import environment


def act(arguments: list[str] | None) -> None:
    """Do what the command line says."""
    parser = errors.Parser(
        prog="python -m lib.export", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", default="latest", help="name or folder of a run")
    parser.add_argument("--format", default="onnx", choices=[*writing.SUFFIX], help="of the networks")
    parser.add_argument("--out", required=True, help="folder to write, which is not there yet")
    args = parser.parse_args(arguments)
    run, out = sources.run_folder(args.run), paths.resolve_path(args.out, "--out")
    if out == run or run in out.parents:
        raise UserError(
            f"--out {out} lies in the folder of the run, which stays as it is. Name another folder."
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is there already. Delete it or name another folder.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what fails is an exception
    environment.set_up()
    began = time.monotonic()
    size = writing.write(run, args.format, out, errors.print_line)
    errors.print_line(
        f"{out}: {size / 1e6:.1f} MB in {time.monotonic() - began:.0f} s. Read {out / 'card.html'}"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
