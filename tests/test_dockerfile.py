"""The Dockerfiles of the project and of a bundle, by their parts: nothing here builds images."""

import re
import shutil
import subprocess
import sys

import pytest

from lib.bundle import writing
from lib.paths import PROJECT


def instructions(text):
    """[(instruction, its words as they stand)] of a Dockerfile, without comments."""
    return [tuple(line.split(" ", 1)) for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.slow
def test_what_is_copied_is_there_and_all_that_predicting_needs(tmp_path):
    """With the copied files alone, the entry point says how it is used."""
    steps = instructions((PROJECT / "Dockerfile").read_text(encoding="utf-8"))
    let_in = re.findall(r"(?m)^!(.+)$", (PROJECT / ".dockerignore").read_text(encoding="utf-8"))
    copied = [words.split()[0] for name, words in steps if name == "COPY"]
    assert sorted(copied) == sorted(let_in) == ["lib", "requirements.txt"]
    shutil.copytree(PROJECT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    entry = next(words for name, words in steps if name == "ENTRYPOINT")
    assert entry == '["python", "-m", "lib.predict"]'
    words = [sys.executable, "-m", "lib.predict", "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "--images" in done.stdout, done.stderr
    assert [words for name, words in steps if name == "RUN"] == [
        "python -m pip install --no-cache-dir --requirement requirements.txt"
    ]


@pytest.mark.parametrize("text", [(PROJECT / "Dockerfile").read_text(encoding="utf-8"), writing.DOCKERFILE])
def test_the_python_is_one_that_the_project_runs_on(text):
    base = next(words for name, words in instructions(text) if name == "FROM")
    assert re.fullmatch(r"python:3\.1[123]-slim", base)
