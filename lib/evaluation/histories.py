"""The curves of a run's trainings, from what they leave in its folder scratch/; Keras is not needed for it."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

Histories = dict[str, list[pd.DataFrame]]


def read(run_dir: Path) -> Histories:
    """{training, such as "10_binary": the history of each network of it}, an epoch a row; without what cannot be
    read."""
    histories: Histories = {}
    for path in sorted((run_dir / "scratch").glob("**/trained.npz"), key=_order):
        name = path.relative_to(run_dir / "scratch").parts[0]
        try:
            with np.load(path, allow_pickle=False) as stored:
                history = pd.DataFrame(json.loads(str(stored["arr_0"]))["history"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            continue
        if "epoch" in history:
            histories.setdefault(name, []).append(history)
    return histories


def _order(path: Path) -> list[tuple[int, str]]:
    """Members of an ensemble in the order of their numbers: 2 before 10."""
    return [(int(part) if part.isdecimal() else 0, part) for part in path.parts]


def alike(histories: list[list[pd.DataFrame]]) -> bool:
    """Whether trainings of one name went the same way in all runs."""
    first = histories[0]
    return all(
        len(other) == len(first) and all(one.equals(two) for one, two in zip(first, other, strict=True))
        for other in histories[1:]
    )
