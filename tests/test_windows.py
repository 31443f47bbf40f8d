"""The quick tests, and the slow ones that are marked for it, once more with Windows played: what Windows lacks is taken
away, see windows/sitecustomize.py.

Left out are those of networks, codec and statistics, which compute and ask the system for nothing: half of
the minutes; and those of clusters, as Ray does not import without what is taken away.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
COMPUTE = ("networks", "training", "normalization", "pretrained", "rle", "generators", "metrics", "threshold_search", "evaluation",
           "thresholds", "notebook_judgement", "duplicates", "doubts", "time_budget", "lessons", "architecture", "words",
           "requirements", "synthetic", "budgets", "inspector", "scores", "copy_lookup", "passes", "fuzz", "plots", "export",
           "dockerfile", "compare", "bad_models", "small_data", "coils", "chosen", "review", "backbones", "depthwise", "ranges",
           "labels", "label_formats")  # fmt: skip
CLUSTERS = ("cluster", "cluster_runs", "cluster_prediction")


@pytest.mark.slow
def test_the_quick_tests_with_windows_played(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(HERE / "windows"), "PYTHONIOENCODING": "cp1252"}
    if "ALLOWED_SKIPS" in environment:
        environment["ALLOWED_SKIPS"] += "|fcntl"  # taken away here, so its own test has nothing to try
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow or windows",
        "--basetemp",
        str(tmp_path / "base"),
    ]
    assert all((HERE / f"test_{name}.py").is_file() for name in COMPUTE + CLUSTERS)
    command += [f"--ignore={HERE / f'test_{name}.py'}" for name in COMPUTE + CLUSTERS]
    ended = subprocess.run(
        [*command, str(HERE)],
        cwd=HERE.parent,
        env=environment,
        stdout=subprocess.PIPE,
        encoding="cp1252",
        errors="replace",
    )
    assert ended.returncode == 0, "\n".join(ended.stdout.splitlines()[-60:])
