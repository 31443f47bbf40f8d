"""One small run of every notebook by the project's own command, in a copy of the project; tests of several
files look at it.

Every notebook has other values, so that one run tries many: test_notebooks.py says which are tried where.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lib import files, paths
from lib.data import choices

STRIPS = [12, 4]  # generated ones, to train and to test on
SHARES = {"held_out": 0.4, "validation": 0.2}  # of a dozen strips
TINY = {"height": 32, "width": 192, "epochs": 1, "tta": ["none", "vertical"], **SHARES}
SEGMENTER = {**TINY, "crop_width": 64}
PARAMETERS = {  # in the order of the notebooks' needs
    "00_eda": {"n_examples": 1},
    "05_shift": {"n_examples": 1, "n_estimators": 20, "n_bootstrap": 20},
    "10_binary": {**TINY, "crop_width": 64},
    "20_multilabel": {
        **TINY,
        "localization_head": False,
        "crop_width": 0,
        "defective_only": False,
        "balanced_sampling": False,
        "schedule": "constant",
        "tta": ["none", "random10"],
    },
    "31_seg_class1": SEGMENTER,
    "32_seg_class2": {
        **SEGMENTER,
        "loss": "bce",
        "ema": 0.9,
        "patience": 1,
        "augmentation": {"shift": 0.1, "blackout": 0.1},
    },
    "33_seg_class3": {
        **SEGMENTER,
        "loss": "dice",
        "dtype_policy": "mixed_float16",
        "augmentation": {"flips": "vertical"},
    },
    "34_seg_class4": {**SEGMENTER, "loss": "bce_dice", "crop_width": 0, "augmentation": {"flips": "none"}},
    "40_evaluation": {
        "max_false_alarms": 500.0,
        "n_bootstrap": 50,
        "n_examples": 1,
        "tta": list(choices.FLIPS),
        "classifier_tta": list(choices.TTA),
        **SHARES,
    },
    "90_inference": {},
}


def settings(notebook, parameters):
    """The parameters as the command line takes them: ["-p", "10_binary.epochs=1", ...]."""
    words = []
    for name, value in parameters.items():
        entries = (
            {f"{name}.{entry}": one for entry, one in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
        for key, one in entries.items():
            words += ["-p", f"{notebook}.{key}={one if isinstance(one, str) else json.dumps(one)}"]
    return words


def copy_project(folder):
    """The project without what was made in it."""
    anywhere = shutil.ignore_patterns(".*", "__pycache__", "*.pyc")

    def ignored(where, names):
        made = {"runs", "data"} if Path(where) == paths.PROJECT else set()  # lib/data is a room
        return {*anywhere(where, names), *made}

    shutil.copytree(paths.PROJECT, folder, ignore=ignored)


def make(folder):
    """Copy the project to a folder and run everything there as `ID`; (exit code, what the command said)."""
    copy_project(folder)
    words = [
        sys.executable,
        "run_all.py",
        "--run",
        "ID",
        "--jobs",
        "2",
        "-p",
        f"all.synthetic_sizes={STRIPS}",
    ]
    for notebook, parameters in PARAMETERS.items():
        words += settings(notebook, parameters)
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900)
    return ended.returncode, ended.stdout + ended.stderr


def of_session(temporary):
    """The project with its run, made by whichever of pytest's processes asks first; the others wait. Copy it
    to change it.

    Arguments:
        temporary: the temporary folder of this process of pytest, which lies in that of all where there are
            several.
    """
    folder = (temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary) / "whole_run"
    outcome = folder.with_suffix(".json")
    with open(folder.with_suffix(".lock"), "a+") as file:
        while not files.try_lock(file):
            time.sleep(0.1)
        if not outcome.is_file():
            files.write_json(outcome, make(folder))
    code, said = files.read_json(outcome)
    assert code == 0 and "Traceback" not in said, said[-3000:]
    return folder
