"""Several graphics cards on one machine, shared out among notebooks side by side. No test needs one."""

import subprocess
import sys

import pytest
from test_pipeline import wait_for

from lib.pipeline import executor, graphics_cards

LISTED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5b2e)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-77aa)
  MIG 3g.20gb     Device  0: (UUID: MIG-c1)
  MIG 3g.20gb     Device  1: (UUID: MIG-c2)
GPU 2: NVIDIA T4 (UUID: GPU-9f00)
"""


@pytest.mark.parametrize(
    "text, cards",
    [
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2, 0", ["2", "0"]),
        ("1,-1,0", ["1"]),  # as CUDA has it: nothing behind an invalid one
        ("GPU-5b2e,MIG-c1", ["GPU-5b2e", "MIG-c1"]),
    ],
)
def test_what_the_environment_names_is_what_there_is(monkeypatch, text, cards):
    monkeypatch.setenv(graphics_cards.VARIABLE, text)
    assert graphics_cards.visible() == cards


@pytest.mark.parametrize(
    "text, cards", [(LISTED, ["0", "MIG-c1", "MIG-c2", "2"]), ("No devices were found\n", [])]
)
def test_what_nvidia_smi_lists(text, cards):
    assert graphics_cards.listed_cards(text) == cards


def test_the_card_that_fewest_use_is_next():
    assert graphics_cards.least_used(["0", "1"], []) == "0"
    assert graphics_cards.least_used(["0", "1"], ["0"]) == "1"
    assert graphics_cards.least_used(["0", "1"], ["0", "1", "1"]) == "0"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """place(a script for nvidia-smi, jobs): an executor of a machine with it, and a function that starts a process
    in place of a notebook and returns (its job, the card that it sees)."""
    monkeypatch.delenv(graphics_cards.VARIABLE, raising=False)
    popen, folder = subprocess.Popen, tmp_path / "bin"
    folder.mkdir()

    def shows_its_card(command, env, **options):
        show = f"import os; print(os.environ.get({graphics_cards.VARIABLE!r}, 'all'), flush=True); input(); input()"
        return popen([sys.executable, "-c", show], env=env, stdin=-1, stdout=-1, stderr=-1)

    def of_machine(script, jobs):
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        found = executor.LocalExecutor(None, jobs)
        monkeypatch.setattr(executor.processes, "detached", lambda lock: {})
        monkeypatch.setattr(executor.subprocess, "Popen", shows_its_card)

        def start():
            job = found.start(tmp_path / "a.ipynb", tmp_path, {})
            return job, wait_for(lambda: job.answer.tail.decode().strip(), 60)

        return found, start

    yield of_machine


def test_notebooks_get_a_card_each_and_a_free_one_first(place):
    found, start = place("printf 'GPU 0: A (UUID: GPU-a)\\nGPU 1: A (UUID: GPU-b)\\n'", jobs=3)
    jobs = [start() for _ in range(3)]
    assert [card for _, card in jobs] == ["0", "1", "0"]
    found.stop(jobs[1][0])
    jobs.append(start())
    assert jobs[-1][1] == "1"
    for job, _ in jobs:
        found.stop(job)
        job.requests.close()


@pytest.mark.parametrize(
    "script, jobs",
    [("echo 'GPU 0: A (UUID: GPU-a)'", 2), ("exit 9", 2), ("printf 'GPU 0: A\\nGPU 1: A\\n'", 1)],
)
def test_one_card_is_shared_and_one_notebook_sees_all(place, script, jobs):
    found, start = place(script, jobs)
    job, card = start()
    found.stop(job)
    job.requests.close()
    assert card == "all"
