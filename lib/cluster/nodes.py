"""The nodes of a cluster: how many notebooks they have room for, and whether all of them see the same."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib import files
from lib.cluster import node
from lib.errors import UserError, shorten
from lib.paths import PROJECT
from lib.pipeline import cache_key
from lib.pipeline.graph import Project

WAIT = 120.0  # seconds for a node to prove what it sees
NEEDED = ("lib/**/*.py", "lib/**/*.html", "lib/**/*.css", "lib/**/*.js")  # of the project, besides notebooks


@dataclass(frozen=True)
class Share:
    """What a notebook has for itself on a node: processors, and graphics cards or a part of one."""

    cpus: int
    gpus: float

    def fits(self, resources: dict[str, float]) -> int:
        """How many notebooks find room among a node's resources, {"CPU": 8.0, "GPU": 1.0}."""
        rooms = [resources.get("CPU", 0) / self.cpus]
        if self.gpus:
            rooms.append(resources.get("GPU", 0) / self.gpus)
        return int(min(rooms) + 1e-6)

    def __str__(self) -> str:
        cpus = f"{self.cpus} processor{'s' if self.cpus > 1 else ''}"
        return f"{cpus} and {self.gpus:g} of a card" if self.gpus else f"{cpus} and no card"


def alive(ray: Any) -> list[dict[str, Any]]:
    """The nodes that are up, as `ray.nodes()` has them."""
    return [one for one in ray.nodes() if one["Alive"]]


def share_of(resources: Iterable[dict[str, float]], cpus: int | None, gpus: float | None) -> Share:
    """The share of each notebook on nodes with these resources.

    Arguments:
        cpus: None: so many that every node runs two notebooks, or one a card where it has more cards, as without
            a cluster; gpus: None: 1 where a node has a card, else 0.

    Raises UserError for a share that cannot be.
    """
    resources = [one for one in resources if one.get("CPU")]
    if gpus is None:
        gpus = 1.0 if any(one.get("GPU") for one in resources) else 0.0
    if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
        raise UserError(f"--gpus-per-notebook {gpus:g}: 0, a part of a card such as 0.5, or whole cards.")
    if cpus is None:
        sides = [(one["CPU"], max(2, int(one.get("GPU", 0) / gpus) if gpus else 2)) for one in resources]
        cpus = max(1, min((int(have // side) for have, side in sides), default=1))
    if cpus < 1:
        raise UserError(f"--cpus-per-notebook {cpus}: a notebook needs one processor at least.")
    return Share(cpus, gpus)


def room(resources: Iterable[dict[str, float]], share: Share) -> int:
    """How many notebooks run side by side on nodes with these resources; UserError if it is none."""
    resources = list(resources)
    count = sum(share.fits(one) for one in resources)
    if not count:
        has = "; ".join(
            f"{one.get('CPU', 0):g} processors and {one.get('GPU', 0):g} cards" for one in resources
        )
        raise UserError(
            f"No node of the cluster has room for a notebook with {share}: they have {has}. Ask for less with "
            "--cpus-per-notebook and --gpus-per-notebook."
        )
    return count


def proof_of(project: Project, run_dir: Path, data: Path, fingerprint: str) -> dict[str, Any]:
    """What every node must see, see `node.difference`; its token is written into the run folder."""
    token = run_dir / f".cluster.{secrets.token_hex(4)}.partial"  # a name that --resume removes
    text = secrets.token_hex(16)
    files.write_atomic(token, text)
    needed = [path for pattern in NEEDED for path in sorted(PROJECT.glob(pattern))]
    needed += sorted(project.notebooks.glob("*.ipynb"))
    return {
        "run": str(run_dir),
        "token": str(token),
        "text": text,
        "project": str(PROJECT),
        "files": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in needed},
        "versions": cache_key.versions(),
        "data": str(data),
        "fingerprint": fingerprint,
    }


def prove(ray: Any, proof: dict[str, Any], share: Share) -> list[str]:
    """Let every node with room prove that it sees the same; their numbers. UserError that names one that does
    not, and what differs."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    waiting = {}
    for one in alive(ray):
        if share.fits(one["Resources"]):
            strategy = NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)
            task = ray.remote(node.look).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
            name = f"{one['NodeManagerHostname']} ({one['NodeManagerAddress']})"
            waiting[one["NodeID"], name] = task.remote(one["NodeID"], one["NodeManagerAddress"], proof)
    for (_, name), answer in waiting.items():
        try:
            name, differs = ray.get(answer, timeout=WAIT)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            raise UserError(
                f"The node {name} gives no answer: {type(cause).__name__}, {shorten(cause, 200)}. Stop Ray there, or "
                "mend it."
            ) from None
        if differs:
            raise UserError(f"The node {name} {differs}")
    return [node_id for node_id, _ in waiting]
