"""The processes of a run: one a notebook, started when those it needs are done, stopped with everything they started."""

import contextlib
import graphlib
import json
import signal
import subprocess
import sys
import time

from lib.errors import print_line, process_end, shorten
from lib.files import read_metrics
from lib.models.environment import of_notebook
from lib.paths import PROJECT
from lib.pipeline import processes, run_state
from lib.pipeline.cache_key import pages_hash
from lib.pipeline.processes import Tail
from lib.pipeline.products import NOTEBOOK, RUN, SPLIT, digests, end_strays, files_of, left_by, mark_outdated, mend_report, of_needs, sync
from lib.pipeline.run_state import FINISHED


def run_all(journal, run_dir, lock, project, selected, keys, asked, declarations):
    """Run the selected notebooks in the order of the graph, so many at a time, and keep the journal up to date.

    Arguments:
        asked: what a notebook that starts now is run with: "parameters" of all notebooks, "code", "versions", "environment", "jobs",
            "data".

    A notebook that fails blocks those that need it, the others run. However this is left, no process stays behind.
    """
    entries, running, jobs = journal["notebooks"], {}, asked["jobs"]
    run_state.record(journal, asked)
    sorter, ready = graphlib.TopologicalSorter(project.graph), []
    sorter.prepare()
    expected = run_state.expected_seconds(project.runs, journal["profile"])
    update(journal, run_dir)
    run_state.point_latest(project.runs, run_dir.name)
    begun, before, pages = time.monotonic(), journal["seconds"], pages_hash()
    try:
        while sorter.is_active():
            ready += sorter.get_ready()
            passed = next((name for name in ready if passes(name, entries, selected, project, run_dir, pages)), None)
            if passed:
                ready.remove(passed)
                sorter.done(passed)
                continue
            ready.sort(key=list(project.graph).index)
            while ready and len(running) < jobs:
                name = ready.pop(0)
                clear(run_dir, name, project)
                found = of_needs(project.graph[name], entries, project.products)
                entries[name] |= {"status": "running", "started_key": keys[name], "made": {}, "used": found}
                entries[name]["pages"] = pages
                entries[name]["ran"] = {**asked, "parameters": asked["parameters"][name]}
                run_state.record(journal, asked)
                update(journal, run_dir)
                given = changed(declarations[name], asked["parameters"][name])
                running[name] = (start(project.notebooks / f"{name}.ipynb", run_dir, given, lock, jobs), time.monotonic())
                print_line(f"{processes.clock()}  {name:16} started")
            if not running:
                break
            time.sleep(processes.PAUSE)
            for name, (process, begin) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                finish(name, process, time.monotonic() - begin, entries[name], run_dir, project)
                if entries[name]["status"] == "done":
                    sorter.done(name)
                block(entries, selected, project.graph)
                update(journal, run_dir)
                report_progress(name, entries, selected, project.graph, estimate_remaining(entries, selected, running, expected, jobs))
        mark_outdated(entries, [name for name in project.graph if name not in selected], project)
        failed = any(entries[name]["status"] not in FINISHED for name in selected)
        seconds = round(before + time.monotonic() - begun, 1)
        journal |= {"status": "failed" if failed else "done", "finished": run_state.now(), "seconds": seconds}
        update(journal, run_dir)
    except BaseException:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not leave a kernel behind
            with contextlib.suppress(ValueError):
                signal.signal(number, signal.SIG_IGN)
        for name, (process, _) in running.items():
            processes.stop(process)
            entries[name]["status"] = "waiting"
            (run_dir / f".{name}.partial.ipynb").unlink(missing_ok=True)
        seconds = round(before + time.monotonic() - begun, 1)
        journal |= {"status": "stopped", "finished": run_state.now(), "seconds": seconds}
        with contextlib.suppress(OSError):
            update(journal, run_dir)
        print_line(f"{processes.clock()}  stopped. Go on with: python run_all.py --resume --run {run_dir.name}")
        raise


def passes(name, entries, selected, project, run_dir, pages):
    """Whether a notebook whose needs are met is passed over: not asked for, or it stands, made from what lies there now."""
    entry = entries[name]
    if name not in selected or entry["status"] != "kept":
        return name not in selected
    if entry["used"] == of_needs(project.graph[name], entries, project.products):
        mend_report(run_dir, name, entry, pages)
        print_line(f"{processes.clock()}  {name:16} kept: nothing that it is made from has changed")
        return True
    entry |= {"status": "waiting", "seconds": 0, "headline": "", "key": "", "ran": {}}
    return False


def changed(declared, values):
    """The values that differ from the notebook's own: only these are set, so that a report shows what was changed."""
    return {key: value for key, value in values.items() if json.dumps(value) != json.dumps(declared[key].default)}


def clear(run_dir, name, project):
    """Remove what an earlier start of this notebook left, so that nothing old stands for something new.

    Its trainings stay, finished or cut off: `training.fit` takes one only if it is made from the same to the last line of code.
    """
    for path in (f".{name}.partial.ipynb", *left_by(name, project)):
        if path != SPLIT:  # which networks have learned by
            (run_dir / path).unlink(missing_ok=True)


def start(notebook, run_dir, given, lock, jobs):
    """Start the process that executes a notebook; it shares the run's lock, which so outlives a killed parent."""
    environment = of_notebook(jobs) | {RUN: str(run_dir), NOTEBOOK: notebook.stem}
    request = {
        "notebook": str(notebook),
        "output": str(run_dir / notebook.name),
        "report": str(run_dir / f"{notebook.stem}.html"),
        "parameters": given,
        "folder": str(notebook.parent),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "lib.pipeline.worker"],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **processes.detached(lock),
    )
    process.answer, process.errors = Tail(process.stdout), Tail(process.stderr)
    with contextlib.suppress(BrokenPipeError):  # its exit code will tell
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()  # and left open: its closing tells the process that this one is gone
    return process


def finish(name, process, seconds, entry, run_dir, project):
    """Write into a notebook's entry how it ended. Done is what says so itself and has left its products."""
    try:
        answer = json.loads(process.answer.text())
    except ValueError:
        last = process.errors.text().strip().splitlines()[-1:] or ["no reason given"]
        answer = {"ok": False, "error": process_end(process.returncode, last[0])}
        end_strays(run_dir, name)  # its kernel
    with contextlib.suppress(OSError):
        process.stdin.close()  # the others are closed with their tails
    files = left_by(name, project)
    products = (*project.products.get(name, ()), *project.further.get(name, ()))
    missing = [product for product in products if not (run_dir / product).is_file()]
    if answer["ok"] and missing:
        answer = {"ok": False, "error": f"It ended without writing {missing[0]}."}
    if answer["ok"]:
        sync([path for file in files_of(run_dir, files) if (path := run_dir / file).is_file()])
        entry["made"] = digests(run_dir, files)
    summary, _ = read_metrics(run_dir, name)
    entry["seconds"] = round(seconds, 1)
    entry["headline"] = shorten(summary)
    entry["error"] = shorten(answer["error"])
    entry["status"] = "done" if answer["ok"] else "failed"
    entry["key"] = entry["started_key"] if answer["ok"] else ""
    (run_dir / f".{name}.partial.ipynb").unlink(missing_ok=True)


def block(entries, selected, graph):
    """Mark what waits for a notebook that failed, and what stands from before but needs it."""
    for name in graphlib.TopologicalSorter(graph).static_order():
        causes = [need for need in graph[name] if entries[need]["status"] in ("failed", "blocked")]
        if name in selected and causes:
            if entries[name]["status"] == "kept":
                entries[name]["outdated"] = True
            elif entries[name]["status"] == "waiting":
                entries[name] |= {"status": "blocked", "error": f"Not run, because {causes[0]} {entries[causes[0]]['status']}."}


def update(journal, run_dir):
    """Write the journal, the metrics so far and the index page."""
    run_state.write(run_dir, journal)
    run_state.merge_metrics(run_dir, journal)
    from lib.report import pages

    try:
        pages.write_index(run_dir)
    except OSError:
        raise
    except Exception as error:  # the page is a view of the journal: a run goes on without it
        print_line(f"{processes.clock()}  index.html could not be written: {type(error).__name__}: {error}")


def report_progress(name, entries, selected, graph, seconds_left):
    """Print how a notebook ended, what that blocks, and how much is left."""
    entry, finished = entries[name], sum(entries[other]["status"] not in ("waiting", "running") for other in selected)
    if entry["status"] == "done":
        rest = f", about {processes.duration(seconds_left)} left" if seconds_left else ""
        text = f"done in {processes.duration(entry['seconds'])}  {entry['headline']}".rstrip()
        print_line(f"{processes.clock()}  {name:16} {text}  ({finished} of {len(selected)}{rest})")
        return
    print_line(f"{processes.clock()}  {name:16} FAILED after {processes.duration(entry['seconds'])}: {entry['error']}")
    for other in selected:
        if entries[other]["status"] == "blocked" and name in graph[other]:
            print_line(f"{processes.clock()}  {other:16} not run, because it needs {name}")


def estimate_remaining(entries, selected, running, expected, jobs):
    """Seconds that are left, or None if nothing is known: from earlier runs, corrected by how this one compares with them."""
    done = [name for name in selected if entries[name]["status"] == "done"]
    todo = [name for name in selected if entries[name]["status"] in ("waiting", "running")]
    compared = [name for name in done if name in expected]
    pace = sum(entries[name]["seconds"] for name in compared) / sum(expected[name] for name in compared) if compared else 1.0
    usual = sum(entries[name]["seconds"] for name in done) / len(done) if done else None
    guesses = {name: expected[name] * pace if name in expected else usual for name in todo}
    if not guesses or None in guesses.values():
        return None
    now = time.monotonic()
    for name, (_, begin) in running.items():
        guesses[name] = max(guesses[name] - (now - begin), 1.0)
    return sum(guesses.values()) / min(jobs, len(guesses))
