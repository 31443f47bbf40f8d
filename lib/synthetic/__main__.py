"""The command line of the generated strips: python -m lib.synthetic --out DIR --train N --test N --seed S"""

import sys

from lib import errors
from lib.synthetic import generate


def act(arguments: list[str] | None) -> None:
    """Do what the command line says: python -m lib.synthetic --out DIR --train N --test N --seed S."""
    parser = errors.Parser(prog="python -m lib.synthetic", description=__doc__)
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--train", type=errors.whole_number, default=1500, help="training strips")
    parser.add_argument("--test", type=errors.whole_number, default=240, help="test strips")
    parser.add_argument("--seed", type=errors.whole_number, default=42)
    parser.add_argument(
        "--as-real", action="store_true", help="the competition's own class shares, rare classes not raised"
    )
    parser.add_argument(
        "--contrast", type=float, default=1.0, help="how far defects stand out, beside those of real strips"
    )
    parser.add_argument(
        "--processes",
        type=errors.whole_number,
        default=None,
        help="processes at a time, by default one a core",
    )
    args = parser.parse_args(arguments)
    sizes = args.train, args.test, args.seed
    generate.generate(args.out, *sizes, not args.as_real, args.processes, args.contrast)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    return errors.exit_code_of(act, arguments)


if __name__ == "__main__":
    sys.exit(main())
