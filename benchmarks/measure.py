"""What all benchmarks share: interleaved timing, the table, the machine, the memory of a child."""

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # so that `lib` is found when a benchmark is run as a script

VERSIONS = (
    "numpy",
    "opencv-python-headless",
    "tensorflow-cpu",
    "tensorflow",
    "keras",
)  # named with the machine


def arguments(description):
    """A parser of the command line with what every benchmark knows: --quick."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="little work, to see that it runs; its numbers mean nothing"
    )
    return parser


def interleaved(candidates, runs=5):
    """Time several ways of doing the same, in turn, so that a busy moment of the machine meets all of them.

    Arguments:
        candidates: {name: function without arguments}; each is called once beforehand.

    Returns {name: [seconds, one a run]}.
    """
    for call in candidates.values():
        call()
    seconds = {name: [] for name in candidates}
    for _ in range(runs):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def more_is_better(unit):
    """Whether numbers of a unit are speeds ("images/s") and not costs ("ms", "MiB")."""
    return unit.endswith("/s") or unit.endswith("a second")


def ratio(rows, unit, product, rival):
    """How many times as good the product's median is as the rival's: above 1 it is ahead."""
    mine, other = (statistics.median(rows[name]) for name in (product, rival))
    return mine / other if more_is_better(unit) else other / mine


def table(title, rows, unit, product, target):
    """Print a Markdown section's table, and whether its target is met.

    Arguments:
        title: of the first column.
        rows: {name: [numbers, one a run]}, all in `unit`, such as "ms", "MiB" (less is better) or "images/s"
            (more is better).
        product: the name of this project's row.
        target: {rival: the least ratio wanted}, or a sentence, which is printed as it is.
    """
    print(
        f"\n| {title} | median, {unit} | spread, {unit} | product is ahead by | runs |\n|---|---|---|---|---|"
    )
    for name, values in rows.items():
        ahead = "" if name == product else f"{ratio(rows, unit, product, name):.2f} x"
        median, low, high = statistics.median(values), min(values), max(values)
        print(
            f"| {name} | {digits_text(median)} | {digits_text(low)} .. {digits_text(high)} | {ahead} | {len(values)} |"
        )
    print()
    if isinstance(target, str):
        print(target)
        return
    for rival, least in target.items():
        result = ratio(rows, unit, product, rival)
        verdict = "met" if result >= least else f"**not met**, {result / least:.0%} of it"
        print(f"Target {least:g} x {rival}: {verdict} ({result:.2f} x).")


def digits_text(value):
    """A number with three significant digits, never in powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine():
    """One line: processor, cores, memory, Python and the libraries that matter."""
    names = [
        line.split(":", 1)[1].strip()
        for line in read("/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    result = [f"{name} {version}" for name in VERSIONS if (version := installed(name))]
    return (
        f"{names[0] if names else platform.processor()}, {cores} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, {', '.join(result)}"
    )


def installed(package):
    """The version of an installed package, "" without it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def peak_memory(command, **options):
    """Run a command to its end: (its peak memory in MiB, what it printed).

    The peak is the largest sum seen of the resident memory of the process and its children, looked at fifty
    times a second; of the process itself none is missed where the system keeps its high-water mark.
    CalledProcessError if it fails.
    """
    peak = own = 0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, **options)
        while process.poll() is None:
            try:
                tree = psutil.Process(process.pid)
                peak = max(peak, sum(resident(child) for child in [tree, *tree.children(recursive=True)]))
            except psutil.Error:
                pass
            marks = [
                line.split()[1]
                for line in read(f"/proc/{process.pid}/status").splitlines()
                if line.startswith("VmHWM")
            ]
            own = max([own, *(int(mark) * 1024 for mark in marks)])
            time.sleep(0.02)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, text)
    return max(peak, own) / 2**20, text


def resident(process):
    """Bytes that a process holds in memory, 0 if it is gone."""
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def read(path):
    """A small text file, "" where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def publish(text, out):
    """Show a page, and write it to a file where one is named."""
    from lib import files

    print(text)
    if out:
        files.write_atomic(out, text)


def command(main):
    """Run a script's main; what the user is to mend is a sentence and exit code 1."""
    from lib import errors

    try:
        main()
    except errors.UserError as error:
        sys.exit(f"error: {error}")
