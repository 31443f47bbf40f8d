"""Lose nodes of a Ray cluster, and the command, at random moments of runs, and compare what comes out with a run
that knows no cluster.

    python benchmarks/cluster_faults.py --kills 5 --folder FOLDER

makes a dozen strips and runs every notebook with tiny networks on this machine alone, a thread a notebook. Then
it starts a cluster of this machine, a head without processors and two nodes, and runs them there again and
again: each time a node's processes are killed at a random moment (SIGKILL to all of them, or to Ray's own alone),
or the command is, and gone on with --resume. It prints a table a kill; `benchmarks/cluster_faults.md` keeps one.

    python benchmarks/cluster_faults.py --predictions --kills 5 --longest 8 --folder FOLDER

does the same to predictions of --count images with networks that do next to nothing, beside the plain command.
"""

import random
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

import cluster_prediction  # noqa: E402
import kills  # noqa: E402
import test_predict  # noqa: E402

from lib.pipeline import run_state  # noqa: E402

Row = namedtuple("Row", "victim seconds running finished noticed problems")
ALONE = "node, Ray's process alone"
ONLY = ("--only", "10,31,32")  # trainings that depend on nothing: three on two nodes


def workers(run_dir):
    """The processes that execute notebooks of a run."""
    found = []
    for process in psutil.process_iter():
        try:
            if "lib.pipeline.worker" in process.cmdline() and process.environ().get("STEEL_RUN") == str(
                run_dir
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def raylet_of(process):
    """Ray's process of the node that a notebook's process runs on."""
    return next((one for one in process.parents() if one.name() == "raylet"), None)


def kill_node(running, chance, alone):
    """Kill a node that runs one of these processes: all that it runs, or Ray's own process alone; whether there was
    one."""
    raylet = raylet_of(chance.choice(running)) if running else None
    if raylet is None:
        return False
    for one in [raylet, *([] if alone else raylet.children(recursive=True))]:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    return True


def read_until(command, words, said):
    """Read what a command prints until a line holds `words`; the seconds that took, None if it ended before."""
    begun = time.monotonic()
    for line in command.stdout:
        said.append(line)
        if words in line:
            return time.monotonic() - begun
    return None


def play(victim, moment, begin, run_dir, expected, cluster, chance):
    """One run that loses a node or its command `moment` seconds after its first notebook started; a Row."""
    command, said = begin(False), []
    read_until(command, "started", said)
    time.sleep(moment)
    noticed = 0.0
    if victim == "command":
        command.kill()
        command.communicate()
    else:
        while command.poll() is None and not kill_node(workers(run_dir), chance, victim == ALONE):
            time.sleep(0.1)
        noticed = read_until(command, "lost its node", said)
        cluster.more(wait=False)
    state = run_state.read(run_dir)
    running = [name for name, task in state.notebooks.items() if task.status == "running"]
    before = kills.finished(run_dir)
    if victim == "command":
        begun = time.monotonic()
        left = kills.left_behind(run_dir, 60)
        noticed = time.monotonic() - begun
        problems = [f"left behind: {left}"] if left else []
        command = begin(True)
    else:
        problems = [] if noticed is not None else ["no line says so"]
    said += [command.communicate(timeout=1200)[0]]
    text = "".join(said)
    problems += [f"exit code {command.returncode}: {text[-300:]}"] if command.returncode else []
    problems += ["a traceback"] if "Traceback" in text else []
    problems += [] if kills.results(run_dir) == expected else ["the results differ"]
    after = kills.finished(run_dir)
    problems += [f"{name} ran again" for name, file in before.items() if after.get(name) != file]
    problems += [f"left behind: {left}"] if (left := kills.left_behind(run_dir, 5)) else []
    leftovers = [path.name for path in run_dir.rglob(".*.partial*")]
    problems += [f"left lying: {leftovers}"] if leftovers else []
    return Row(victim, moment, running, len(before), noticed, problems)


def actors():
    """The processes of actors that predict, on all nodes."""
    return list(cluster_prediction.actors_of(lambda: psutil.Process().children(recursive=True)))


def play_prediction(victim, moment, words, out, expected, cluster, chance):
    """One prediction that loses a node or its command `moment` seconds after its actors were asked for; a Row."""

    def begin():
        command = [sys.executable, "-m", "lib.predict", *words, "--out", out]
        return subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    command, said, noticed, problems = begin(), [], 0.0, []
    read_until(command, "actors, each", said)
    time.sleep(moment)
    finished = len(list(out.parent.glob(f".{out.name}.unfinished/parts/*.json")))
    running = [f"{len(actors())} actors"]
    if victim == "command":
        command.kill()
        command.communicate()
        noticed = ended_after(actors)
        problems = ["left behind"] if noticed is None else []
        command = begin()
    else:
        while command.poll() is None and not kill_node(actors(), chance, victim == ALONE):
            time.sleep(0.1)
        noticed = read_until(command, "go elsewhere", said)
        cluster.more(wait=False)
    text = "".join([*said, command.communicate(timeout=600)[0]])
    problems += [f"exit code {command.returncode}: {text[-300:]}"] if command.returncode else []
    problems += ["a traceback"] if "Traceback" in text else []
    problems += [] if test_predict.contents(out) == expected else ["the results differ"]
    problems += ["left behind"] if ended_after(actors) is None else []
    problems += ["left lying"] if list(out.parent.glob(f".{out.name}*")) else []
    return Row(victim, moment, running, finished, noticed, problems)


def ended_after(processes, seconds=60):
    """Seconds until `processes()` are none, None if it takes longer than so many."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if not processes():
            return time.monotonic() - begun
        time.sleep(0.1)
    return None


def report(rows):
    """The table of all kills as Markdown."""
    lines = [
        "| kill | lost | seconds after the first start | at work | finished by then | seconds until noticed, or all ended "
        "| equal to a run without a cluster |",
        "|---|---|---|---|---|---|---|",
    ]
    for count, row in enumerate(rows, 1):
        equal = "yes" if not row.problems else "NO: " + "; ".join(row.problems)
        running = ", ".join(row.running) or "none"
        noticed = "–" if row.noticed is None else f"{row.noticed:.1f}"  # no line: it was not at work yet
        lines.append(
            f"| {count} | {row.victim} | {row.seconds:.1f} | {running} | {row.finished} | {noticed} | {equal} |"
        )
    return "\n".join(lines)


def start_cluster():
    """A cluster of this machine: a head without processors and two nodes."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()

    def more(wait=True, **settings):
        for attempt in (1, 2):
            try:
                return cluster.add_node(
                    **{"num_cpus": 1, "object_store_memory": 80_000_000, "wait": wait} | settings
                )
            except Exception:  # Ray's own half a minute, on a busy machine
                if attempt == 2:
                    raise

    cluster.more = more
    more(num_cpus=0, include_dashboard=False)
    more()
    more()
    return cluster


def of_runs(folder, args, cluster):
    """Run without a cluster once; (number, victim, moment, chance) -> Row of a run on it."""
    script, arguments = kills.prepared(folder)
    arguments = (*arguments, *ONLY, *(word for setting in args.p for word in ("-p", setting)))
    expected = kills.undisturbed(folder, script, "alone", "--jobs", "2", *arguments)
    where = ("--cluster", cluster.address, "--cpus-per-notebook", "1")
    same = kills.undisturbed(folder, script, "whole", *arguments, *where) == expected
    print(f"without a loss: {'equal' if same else 'NOT equal'} in {len(expected)} files", flush=True)

    def play_one(count, victim, moment, chance):
        begin = kills.beginner(script, f"lost{count}", *arguments, *where)
        return play(victim, moment, begin, folder / "runs" / f"lost{count}", expected, cluster, chance)

    return play_one


def of_predictions(folder, args, cluster):
    """As `of_runs`, of predictions."""
    run, images = cluster_prediction.trivial(folder)
    images = cluster_prediction.link(images, folder / "in", args.count)
    words = [sys.executable, "-m", "lib.predict", "--run", run, "--images", images, "--explore", "0"]
    subprocess.run([*words, "--out", folder / "alone"], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    expected = test_predict.contents(folder / "alone")
    where = ["--cluster", cluster.address, "--actors", "2", "--cpus-per-actor", "1"]

    def play_one(count, victim, moment, chance):
        out = folder / f"lost{count}"
        return play_prediction(victim, moment, [*words[3:], *where], out, expected, cluster, chance)

    return play_one


def main():
    kills_of = {"default": 5, "help": "of nodes, and as many of the command"}
    parser = kills.parser_of(
        __doc__, kills_of, {"default": 40, "help": "seconds after the first start at most"}
    )
    parser.add_argument("--predictions", action="store_true", help="of predictions, not of runs")
    parser.add_argument("--count", type=int, default=1000, help="images of a prediction")
    parser.add_argument("-p", action="append", default=[], metavar="SECTION.KEY=VALUE", help="of runs")
    args = parser.parse_args()
    folder, chance, rows = Path(args.folder).resolve(), random.Random(args.seed), []
    setting_up = of_predictions if args.predictions else of_runs
    play_one = setting_up(folder, args, start_cluster())
    victims = [("node, all it runs", ALONE)[count % 2] for count in range(args.kills)]
    for count, victim in enumerate([*victims, *["command"] * args.kills], 1):
        rows.append(play_one(count, victim, chance.uniform(0, args.longest), chance))
        (folder / "kills.md").write_text(report(rows) + "\n")
        print(report(rows).splitlines()[-1], flush=True)
    return 1 if any(row.problems for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
