"""A prediction on a Ray cluster of this machine beside the plain command: images a second, processor seconds, memory
as the number of images grows; and, with networks that do next to nothing, what the cluster itself costs.

python benchmarks/cluster_prediction.py --run RUN --images DIR [--count 20000] [--actors 1,2,3] [--quick]
python benchmarks/cluster_prediction.py --trivial [--count 20000]

The images are links to those of the folder, over and over. Every way predicts the same links; each actor has as many
threads as is said. What it prints stands in cluster.md. Memory is what is resident and not shared with others.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import psutil

COUNT = 20000
PROGRESS = re.compile(r"([\d,]+) of [\d,]+ images")
ACTOR = "ray::Predictor"


def link(images, folder, count):
    """A folder with so many links to images."""
    targets = sorted(path.resolve() for path in Path(images).iterdir() if path.is_file())
    folder.mkdir()
    for index in range(count):
        target = targets[index % len(targets)]
        (folder / f"{index:06d}{target.suffix}").symlink_to(target)
    return folder


def own_memory(process):
    """MiB that a process has for itself; 0 if it is gone."""
    with contextlib.suppress(psutil.Error):
        return process.memory_full_info().uss / 2**20
    return 0


def processor(process):
    """Processor seconds of a process so far; 0 if it is gone."""
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return times.user + times.system
    return 0.0


def actors_of(family):
    """The actors among the processes that a cluster has started."""
    for process in family():
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith(ACTOR):
                yield process


def predict(words, family, step):
    """Run `lib.predict`; (seconds from the first progress line to the last, images between them, processor seconds of
    the command and of the actors between them, {images, rounded down to whole steps: (MiB of the command, of the largest actor)})."""
    command = [sys.executable, "-m", "lib.predict", *map(str, words)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        command, cwd=measure.PROJECT, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        driver, seen, memory = psutil.Process(process.pid), [], {}
        for line in process.stdout:
            if not (progress := PROGRESS.match(line)):
                continue
            done, now = int(progress[1].replace(",", "")), time.perf_counter()
            actors = list(actors_of(family))
            seen.append((done, now, processor(driver), sum(map(processor, actors))))
            if done // step * step not in memory:
                memory[done // step * step] = own_memory(driver), max(map(own_memory, actors), default=0)
    assert process.returncode in (0, 1), "the prediction failed"
    (first, began, driver_first, actors_first), (last, ended, driver_last, actors_last) = seen[0], seen[-1]
    return ended - began, last - first, driver_last - driver_first, actors_last - actors_first, memory


def busy_seconds(out):
    """Seconds that the actors were at chunks, from seconds.csv."""
    rows = (out / "seconds.csv").read_text(encoding="utf-8").splitlines()[1:]
    return sum(float(row.rpartition(",")[2]) for row in rows)


def trivial(folder):
    """A run with networks that do next to nothing, and images for it."""
    sys.path.insert(0, str(measure.PROJECT / "tests"))
    import cv2
    import known_run
    import numpy as np

    (folder / "small").mkdir(parents=True)
    for index in range(300):
        image = np.zeros((16, 40), np.uint8)
        image[2:6, index % 30 : index % 30 + 6] = 200 if index % 2 else 0
        cv2.imwrite(str(folder / "small" / f"{index}.png"), image)
    return known_run.make(folder / "run"), folder / "small"


def main():
    parser = measure.arguments(__doc__)
    parser.add_argument("--run", default="latest", help="a finished run")
    parser.add_argument("--images", default="", help="a folder of images")
    parser.add_argument("--count", type=int, default=COUNT, help="links to them")
    parser.add_argument("--actors", default="1,2,3", help="how many, one after the other")
    parser.add_argument("--cpus", type=int, default=1, help="threads of each actor, and of the plain command")
    parser.add_argument("--trivial", action="store_true", help="networks that do next to nothing")
    args = parser.parse_args()
    count = 320 if args.quick else args.count
    from lib.cluster import connect

    os.environ.update(connect.QUIET)
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        run, images = trivial(folder) if args.trivial else (args.run, args.images)
        words = ["--run", run, "--images", link(images, folder / "in", count), "--explore", "0"]
        actors = [int(one) for one in args.actors.split(",")]
        threads = {name: str(args.cpus) for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": max(actors) * args.cpus})

        def family():
            return psutil.Process().children(recursive=True)

        print(f"{measure.machine()}; {count:,} images, {args.cpus} thread(s) each\n")
        print("| | images a second | processor ms an image | of which the command | idle between chunks |")
        print("|---|---|---|---|---|")
        memories = {}
        for number in (0, *actors):
            out = folder / f"out{number}"
            more = ["--cluster", cluster.address, "--actors", number, "--cpus-per-actor", args.cpus]
            os.environ.update(threads if not number else {})
            seconds, predicted, driver, at_actors, memory = predict(
                [*words, "--out", out, *(more if number else ())], family, max(count // 20, 32)
            )
            for name in threads if not number else ():
                del os.environ[name]
            idle = f"{1 - busy_seconds(out) / count * predicted / seconds / max(number, 1):.1%}"
            name = f"{number} actor{'s' if number > 1 else ''}" if number else "the plain command"
            total = 1000 * (driver + at_actors) / predicted
            print(
                f"| {name} | {predicted / seconds:.1f} | {total:.1f} | {1000 * driver / predicted:.2f} | {idle} |"
            )
            memories[name] = memory
        print("\n| images done | " + " | ".join(f"{name}: command, actor (MiB)" for name in memories) + " |")
        print("|---" * (len(memories) + 1) + "|")
        for bucket in sorted(set().union(*memories.values())):
            cells = [memories[name].get(bucket) for name in memories]
            words = [
                "" if one is None else f"{one[0]:.0f}, {one[1]:.0f}" if one[1] else f"{one[0]:.0f}"
                for one in cells
            ]
            print(f"| {bucket:,} | {' | '.join(words)} |")
        print(f"\nOther work on the machine: {os.getloadavg()[1]:.1f} processes on average at the end.")
        cluster.shutdown()


if __name__ == "__main__":
    main()
