"""Members of ensembles as tasks of their own: `10_binary.1`, `10_binary.2` and so on come before `10_binary` and
train a network each, which that one then finds, saves and evaluates.

A unit is the notebook as far as the cell tagged `member`, with the loop over the members cut to one. It leaves
its training in the run's folder scratch/, where `training.fit` finds it, and writes nothing else.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from lib.models import members
from lib.pipeline import params

TOGETHER = "together"  # the parameter with which several notebooks take their classes from one network
OF_ITS_OWN = (params.CLASS, "negative_ratio", "workers", "tta")  # parameters that do not teach that network


class Unit(NamedTuple):
    """A member of a notebook's ensemble, counted from 1, and the file, relative to the run folder, in which its
    training lies."""

    notebook: str
    member: int
    training: str


def name_of(notebook: str, member: int) -> str:
    """What a task is called: a notebook (member 0), or a member of its ensemble, counted from 1."""
    return f"{notebook}.{member}" if member else notebook


def notebook_of(name: str) -> str:
    """The notebook whose cells a task executes."""
    return name.partition(".")[0]


def of_notebook(
    name: str, path: Path, values: dict[str, params.Value], known: dict[str, str]
) -> dict[str, Unit]:
    """{name: Unit} of the members of a notebook's ensemble; none if it trains one network alone.

    Arguments:
        values: what it runs with; known: {what notebooks with one network for all classes have alike: the first
            one with that}, to which a new one is added: its members are those of all of them.
    """
    count = values["n_members"].value if "n_members" in values else 1
    if count < 2 or not is_divisible(path):
        return {}
    folder = name
    if values.get(TOGETHER) and values[TOGETHER].value:
        alike = {key: value.value for key, value in values.items() if key not in OF_ITS_OWN}
        folder, name = TOGETHER, known.setdefault(json.dumps(alike, sort_keys=True), name)
    return {
        name_of(name, member): Unit(name, member, f"scratch/{folder}/{member - 1}/trained.npz")
        for member in range(1, count + 1)
    }


def insist_on_one_network(values: dict[str, dict[str, params.Value]]) -> None:
    """UserError if notebooks that take their classes from one network would train it differently."""
    together = {name: keys for name, keys in values.items() if TOGETHER in keys and keys[TOGETHER].value}
    for key in dict.fromkeys(key for keys in together.values() for key in keys if key not in OF_ITS_OWN):
        why = ", and with together one network learns all classes. Set it alike, by"
        params.insist_on_alike(together, key, f"{why} segmenters.{key} alone, or in each of these notebooks.")


def is_divisible(path: Path) -> bool:
    """Whether a notebook says where the task of a member ends."""
    cells = params.read_notebook(path)["cells"]
    return any(members.LAST_CELL in cell.get("metadata", {}).get("tags", []) for cell in cells)


def remove_former(run_dir: Path, notebook: str, known: Collection[str]) -> None:
    """Remove what members of a notebook's ensemble have left that are not in it any more: it shrank."""
    for path in run_dir.glob(f"{notebook}.*.*"):
        member = path.stem.removeprefix(f"{notebook}.")
        if member.isdecimal() and path.suffix in (".ipynb", ".html") and path.stem not in known:
            path.unlink(missing_ok=True)
