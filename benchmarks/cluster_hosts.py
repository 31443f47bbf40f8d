"""Runs on hosts with a network between them, as far as one machine has them: three nodes with the bytes of one, and a
host that falls silent.

    python benchmarks/cluster_hosts.py --folder FOLDER [--only 10,31,32] [-p SECTION.KEY=VALUE]...

makes four network namespaces, see hosts.py, and a Ray cluster of them, a head and three nodes. It runs the notebooks
with tiny networks on a dozen strips on this machine alone, a thread a notebook; then there; then there again, where
the cable of a host that trains is pulled. What it prints stands in cluster_faults.md. Needs root and iproute2.
"""

import argparse
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

import cluster_faults  # noqa: E402
import hosts  # noqa: E402
import kills  # noqa: E402

from lib.pipeline import run_state  # noqa: E402

NODES = 3


def nodes_of(run_dir):
    """{node: names of what ran there}."""
    found = {}
    for name, task in run_state.read(run_dir).notebooks.items():
        found.setdefault(task.ran_on.get("node", "nowhere"), []).append(name)
    return found


def pulled(begin, run_dir, made, after):
    """Begin a run, pull the cable of a host that trains, and let it end; (seconds until that was noticed, until all
    that ran there had ended; exit code; what was said)."""
    command, said = begin(False), []
    cluster_faults.read_until(command, after, said)
    while not (running := cluster_faults.workers(run_dir)):
        time.sleep(0.2)
    time.sleep(5)
    lost = running[0]
    made.pull(made.host_of(lost.pid))
    begun = time.monotonic()
    ended = cluster_faults.ended_after(lambda: [lost] if lost.is_running() else [], 120)
    noticed = cluster_faults.read_until(command, "lost its node", said)
    noticed = None if noticed is None else time.monotonic() - begun
    said.append(command.communicate()[0])
    return noticed, ended, command.returncode, "".join(said)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", required=True)
    parser.add_argument(
        "-p", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as for run_all.py"
    )
    parser.add_argument("--only", default=cluster_faults.ONLY[1], help="notebooks, as for run_all.py")
    args = parser.parse_args()
    if not hosts.can_be_made():
        sys.exit("No network namespaces can be made here: that needs root and iproute2.")
    folder = Path(args.folder).resolve()
    script, arguments = kills.prepared(folder)
    arguments = (*arguments, "--only", args.only, *(word for setting in args.p for word in ("-p", setting)))
    expected = kills.undisturbed(folder, script, "alone", "--jobs", "2", *arguments)
    print(f"alone: {len(expected)} files", flush=True)
    with hosts.Hosts(NODES + 1) as made:
        where = ("--cluster", made.start_ray(folder / "ray.txt"), "--cpus-per-notebook", "1")
        for name in ("whole", "pulled"):
            begin = kills.beginner(script, name, *arguments, *where, within=made.within(0))
            run_dir, noticed, ended = folder / "runs" / name, 0.0, 0.0
            if name == "whole":
                command = begin(False)
                said, _ = command.communicate()
                code = command.returncode
            else:
                noticed, ended, code, said = pulled(begin, run_dir, made, "10_binary")
            equal = (
                "equal" if code == 0 and kills.results(run_dir) == expected else f"NOT equal: {said[-500:]}"
            )
            print(
                f"{name}: {equal}; noticed after {noticed} s, its processes ended after {ended} s", flush=True
            )
            for node, names in nodes_of(run_dir).items():
                print(f"  {node}: {', '.join(names)}", flush=True)


if __name__ == "__main__":
    main()
