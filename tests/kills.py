"""Kill runs at random moments, go on with them, and compare what comes out with a run that nobody disturbed.

    python tests/kills.py --kills 50 --folder /tmp/kills

makes a dozen strips, runs every notebook with tiny networks twice (they must be equal), then runs it again
and again while
killing, with SIGKILL: the command, a papermill process, a kernel, everything at once, or everything the
moment a file is being written. Each time it goes on with --resume until the next kill. It prints a table a
kill; `benchmarks/faults.md` keeps one. The tests do the same with the small project beside the fixtures.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lib.pipeline import products, run_state  # noqa: E402

VICTIMS = ("everything", "command", "papermill", "kernel", "write")
TINY = ("all.height=32", "all.width=192", "all.epochs=3", "all.crop_width=64", "all.held_out=0.4", "all.validation=0.2",
        "40.n_bootstrap=50", "00.n_examples=1")  # fmt: skip
Kill = namedtuple("Kill", "victim seconds running finished again problems")


MEASURED = ("strategy_milliseconds", "strategy_cheapest_near_the_best")  # times, and what follows from them


def results(run_dir):
    """{file: hash} of everything a run is asked for: thresholds, tables, predictions, and the weights'
    hashes; and all metrics but measured times, to the last bit of 05_shift's weighted sums."""
    found = {}
    for pattern in (
        "*.csv",
        "*.npz",
        "thresholds.json",
        "evaluation.json",
        "value.json",
        "models/*/model.json",
    ):
        for path in run_dir.glob(pattern):
            found[path.relative_to(run_dir).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in run_dir.glob("metrics/*.json"):
        content = json.loads(path.read_text())
        metrics = {name: value for name, value in content["metrics"].items() if name not in MEASURED}
        found[path.relative_to(run_dir).as_posix()] = {**content, "metrics": metrics}
    metrics = json.loads((run_dir / "metrics.json").read_text())
    return found | {
        "metrics.json": {name: value for name, value in metrics.items() if name not in ("run", *MEASURED)}
    }


def finished(run_dir):
    """{notebook: the file its executed form lies in} of those that run.json calls finished."""
    state = run_state.read(run_dir)
    names = state.finished_notebooks() if state else []
    return {
        name: os.stat(run_dir / f"{name}.ipynb")[1:10] for name in names
    }  # inode, size, times: another execution, another file


def family(process):
    """A command's processes by what they are: {"command": [...], "papermill": [...], "kernel": [...]}."""
    found = {"command": [process], "papermill": [], "kernel": []}
    try:
        for child in process.children(recursive=True):
            line = " ".join(child.cmdline())
            for word, kind in (("lib.pipeline.worker", "papermill"), ("ipykernel", "kernel")):
                if word in line:
                    found[kind].append(child)
    except psutil.Error:
        pass
    return found


def being_written(run_dir):
    """Whether a file is just being written."""
    for folder in (run_dir, run_dir / "models", run_dir / "metrics", *run_dir.glob("scratch/*")):
        try:
            with os.scandir(folder) as entries:
                if any(entry.name.endswith(".partial") for entry in entries):
                    return True
        except OSError:
            continue
    return False


def kill(command, victim, moment, run_dir, chance):
    """Wait for the moment (seconds from now) and kill; None if the command ended before, else the seconds
    that it had run."""
    process, begin = psutil.Process(command.pid), time.monotonic()
    while time.monotonic() - begin < moment:
        if command.poll() is not None:
            return None
        time.sleep(0.05)
    while True:
        if command.poll() is not None:
            return None
        members = family(process)
        if victim == "write" and not being_written(run_dir):
            time.sleep(0.0005)
            continue
        if victim in members and not members[victim]:
            time.sleep(0.02)
            continue
        chosen = (
            [chance.choice(members[victim])]
            if victim in members
            else [one for kind in members.values() for one in kind]
        )
        for one in chosen:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        return time.monotonic() - begin


def left_behind(run_dir, seconds=30.0):
    """The processes that still belong to the run after some seconds."""
    end = time.monotonic() + seconds
    while True:
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get(products.RUN) == str(run_dir)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process.pid)
            except (psutil.Error, OSError):
                continue
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def chain(begin, run_dir, expected, longest, kills, chance, victims=VICTIMS):
    """One run, killed up to `kills` times at random moments and gone on with each time; a list of Kill, one
    each.

    Arguments:
        begin: begin(resume) starts the command and returns its Popen.
        expected: `results` of an undisturbed run; longest: seconds that it may work between two kills.
        victims: taken in turn.
    """
    rows, known = [], {}

    def check():
        """What is wrong now: finished notebooks that got lost, ran again or differ from the undisturbed
        run's."""
        now, problems = finished(run_dir), []
        problems += [
            f"{name} was run again" for name, file in known.items() if name in now and now[name] != file
        ]
        problems += [f"{name} was lost" for name in known if name not in now]
        for name in now:
            files = {
                file: value
                for file, value in results(run_dir).items()
                if name in file or file == models.get(name)
            }
            problems += [f"{file} differs" for file, value in files.items() if expected.get(file) != value]
        known.update(now)
        return problems

    models = {
        f"{name}": f"models/{name.partition('_')[2]}/model.json" for name in notebooks_with_metrics(expected)
    }
    while len(rows) < kills:
        victim = victims[len(rows) % len(victims)]
        command = begin(bool(run_state.read(run_dir)))
        seconds = kill(command, victim, chance.uniform(0, longest), run_dir, chance)
        said, _ = command.communicate(timeout=1200)
        if seconds is None:
            break
        state = run_state.read(run_dir)
        running = (
            [name for name, task in state.notebooks.items() if task.status in ("running", "failed")]
            if state
            else []
        )
        strays = left_behind(run_dir)
        # A kernel or a process that had nothing left to do may be killed without harm.
        problems = ["no exit code says so"] if command.returncode == 0 and state.status != "done" else []
        problems += [f"left behind: {strays}"] if strays else []
        problems += ["a traceback"] if "Traceback" in said else []
        problems += check() if state else []
        rows.append(Kill(victim, seconds, running, len(known), 0, problems))
    command = begin(bool(run_state.read(run_dir)))
    said, _ = command.communicate(timeout=1200)
    problems = check()
    problems += [] if command.returncode == 0 else [f"exit code {command.returncode}: {said[-300:]}"]
    problems += [] if results(run_dir) == expected else ["the results differ"]
    leftovers = [path.name for path in run_dir.rglob(".*.partial*")]
    problems += [f"left lying: {leftovers}"] if leftovers else []
    return [row._replace(problems=row.problems + problems) for row in rows]


def notebooks_with_metrics(expected):
    """The notebooks that handed metrics on."""
    return [Path(file).stem for file in expected if file.startswith("metrics/")]


def report(rows):
    """The table of all kills as Markdown."""
    lines = [
        "| kill | victim | after (s) | at work or failed | finished by then | equal to the undisturbed run |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for number, row in enumerate(rows, 1):
        equal = "yes" if not row.problems else "NO: " + "; ".join(sorted(set(row.problems)))
        running = ", ".join(row.running) or "none yet"
        lines.append(
            f"| {number} | {row.victim} | {row.seconds:.1f} | {running} | {row.finished} | {equal} |"
        )
    return "\n".join(lines)


def beginner(script, run_id, *arguments, within=()):
    """A function that starts a command on the run `run_id`, with --resume or without. `within`: words before it, which
    start it on another host."""

    def begin(resume):
        more = ("--resume",) if resume else ()
        command = [*within, sys.executable, *script, *more, "--run", run_id, *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    return begin


def run_whole_project(folder, arguments):
    """The command line of run_all.py with the project's notebooks and its runs in another folder."""
    import run_all
    from lib import errors
    from lib.pipeline import graph

    project = replace(graph.DEFAULT_PROJECT, runs=Path(folder) / "runs")
    return errors.exit_code_of(run_all.perform, *run_all.parse(arguments), project)


def parser_of(description, kills, longest):
    """The options of a script that kills: how often, when at the latest, by which seed, in which folder."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, **kills)
    parser.add_argument("--longest", type=float, **longest)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", required=True)
    return parser


def prepared(folder):
    """A dozen strips in a folder; the script that runs the project's notebooks on them there, and its words."""
    from lib.synthetic import generate

    strips = generate.generate(folder / "strips", 12, 4, seed=42, processes=1)
    settings = [part for setting in TINY for part in ("-p", setting)]
    script = [str(Path(__file__).resolve()), "--command", str(folder)]
    return script, ("--profile", "demo", "--data", str(strips), *settings)


def undisturbed(folder, script, name, *arguments):
    """The results of a run that nobody kills."""
    process = beginner(script, name, *arguments)(False)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return results(folder / "runs" / name)


def main():
    parser = parser_of(__doc__, {"default": 50}, {"default": 45, "help": "seconds between two kills at most"})
    parser.add_argument("--a-run", type=int, default=5, help="kills a run at most")
    given = parser.parse_args()
    folder, chance, rows = Path(given.folder).resolve(), random.Random(given.seed), []
    script, arguments = prepared(folder)
    arguments = (*arguments, "--jobs", "2")
    expected, number = undisturbed(folder, script, "whole", *arguments), 0
    while len(rows) < given.kills:
        number += 1
        turn = VICTIMS[len(rows) % len(VICTIMS) :] + VICTIMS[: len(rows) % len(VICTIMS)]
        wanted = min(given.a_run, given.kills - len(rows))
        begin = beginner(script, f"killed{number}", *arguments)
        rows += chain(
            begin, folder / "runs" / f"killed{number}", expected, given.longest, wanted, chance, turn
        )
        print(
            f"run {number}: {len(rows)} kills, {sum(bool(row.problems) for row in rows)} with problems",
            flush=True,
        )
        (folder / "kills.md").write_text(report(rows) + "\n")
    print(report(rows))
    same = "equal" if undisturbed(folder, script, "again", *arguments) == expected else "NOT equal"
    print(f"two undisturbed runs: {same} in {len(expected)} files", flush=True)
    return 1 if any(row.problems for row in rows) or same != "equal" else 0


if __name__ == "__main__":
    sys.exit(run_whole_project(sys.argv[2], sys.argv[3:]) if sys.argv[1:2] == ["--command"] else main())
