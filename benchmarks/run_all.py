"""Run every bench_*.py, one after the other, and write what they print into README.md between its two marks.

python benchmarks/run_all.py [--quick] [--only rle,dice]

Exit code 1 if one of them failed; the others are run all the same. With --quick, with --only or where one
failed the README stays as it is.
"""

import argparse
import datetime
import subprocess
import sys
import time
from pathlib import Path

import measure

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
CHATTER = ("Generated ", "Found ")  # how lines begin that are no part of the page: of lib.synthetic, of Keras
BEGIN, END = "<!-- results: written by run_all.py -->", "<!-- end of results -->"


def run(script, options):
    """Run one benchmark and show what it prints: (its Markdown, its exit code)."""
    command = [sys.executable, "-u", str(script), *options]
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=HERE.parent
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if not line.startswith(CHATTER):
                lines.append(line)
    return "".join(lines).strip(), process.returncode


def write_results(text):
    """Put `text` between the marks of README.md."""
    from lib import files

    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    files.write_atomic(README, f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="little work, to see that all of them run")
    parser.add_argument("--only", default="", help="some of them, such as rle,dice")
    args = parser.parse_args()
    names = (
        [f"bench_{name}.py" for name in args.only.split(",")]
        if args.only
        else [p.name for p in HERE.glob("bench_*.py")]
    )
    begun, failed = time.monotonic(), []
    parts = [f"Made by `make bench` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}: {measure.machine()}."]
    print(parts[0], flush=True)
    for name in sorted(names):
        print(flush=True)
        start = time.monotonic()
        text, code = run(HERE / name, ["--quick"] if args.quick else [])
        if code:
            failed.append(name)
            text += f"\n\n**{name} failed with exit code {code}.**"
        parts.append(f"{text}\n\n*`python benchmarks/{name}`, {time.monotonic() - start:.0f} s*".strip())
    parts.append(f"All of it took {(time.monotonic() - begun) / 60:.0f} minutes.")
    print("\n" + parts[-1] + "".join(f" {name} failed." for name in failed), flush=True)
    if not (args.quick or args.only or failed):
        write_results("\n\n".join(parts))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
