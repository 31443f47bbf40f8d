"""What a run prints while it goes on: how a notebook ended and how much time is left."""

import os
import statistics
import time

from lib.errors import print_line
from lib.pipeline import run_folder, run_state
from lib.pipeline.run_state import NotebookTask, Status


def duration(seconds: float) -> str:
    """Seconds in words: 0.4 s, 42 s, 3 min 5 s, 1 h 20 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def print_event(text: str) -> None:
    """Print a line with the local time of day before it."""
    print_line(f"{time.strftime('%H:%M:%S')}  {text}")


def report_progress(
    name: str,
    tasks: dict[str, NotebookTask],
    selected: list[str],
    graph: dict[str, tuple[str, ...]],
    seconds_left: float | None,
) -> None:
    """Print how a notebook ended, what that blocks, and how much is left."""
    task = tasks[name]
    if task.status is Status.DONE:
        ended = sum(tasks[other].status not in (Status.WAITING, Status.RUNNING) for other in selected)
        rest = f", about {duration(seconds_left)} left" if seconds_left else ""
        text = f"done in {duration(task.seconds)}  {task.summary}".rstrip()
        print_event(f"{name:16} {text}  ({ended} of {len(selected)}{rest})")
        return
    print_event(f"{name:16} FAILED after {duration(task.seconds)}: {task.error}")
    for other in selected:
        if tasks[other].status is Status.BLOCKED and name in graph[other]:
            print_event(f"{other:16} not run, because it needs {name}")


def expected_seconds(runs: str | os.PathLike, profile: str) -> dict[str, float]:
    """{notebook: median seconds} over the finished notebooks of earlier runs with this profile."""
    seconds: dict[str, list[float]] = {}
    for folder in run_folder.run_folders(runs):
        state = run_state.read(folder)
        if state and state.profile == profile:
            for name, task in state.notebooks.items():
                if task.status.is_finished and task.seconds > 0:
                    seconds.setdefault(name, []).append(task.seconds)
    return {name: statistics.median(values) for name, values in seconds.items()}


def estimate_remaining(
    tasks: dict[str, NotebookTask],
    selected: list[str],
    begun: dict[str, float],
    expected: dict[str, float],
    jobs: int,
) -> float | None:
    """Seconds that are left, or None if nothing is known: from earlier runs, corrected by how this one
    compares with them.

    Arguments:
        begun: {notebook that runs: when it began, by time.monotonic()}; expected: see `expected_seconds`.
    """
    done = [name for name in selected if tasks[name].status is Status.DONE]
    todo = [name for name in selected if tasks[name].status in (Status.WAITING, Status.RUNNING)]
    compared = [name for name in done if name in expected]
    pace = (
        sum(tasks[name].seconds for name in compared) / sum(expected[name] for name in compared)
        if compared
        else 1.0
    )
    mean = sum(tasks[name].seconds for name in done) / len(done) if done else None
    guesses = {}
    for name in todo:
        guess = expected[name] * pace if name in expected else mean
        if guess is None:
            return None
        elapsed = time.monotonic() - begun[name] if name in begun else 0.0
        guesses[name] = max(guess - elapsed, 1.0) if name in begun else guess
    return sum(guesses.values()) / min(jobs, len(guesses)) if guesses else None
