"""The nodes of a cluster: how many notebooks they have room for, what is set for all of them, and whether all of
them see the same."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib import files
from lib.cluster import node
from lib.data.manifest import file_hash
from lib.errors import UserError, print_line, shorten
from lib.models import environment
from lib.paths import PROJECT
from lib.pipeline import cache_key, graphics_cards
from lib.pipeline.graph import Project

WAIT = 120.0  # seconds for a node to prove what it sees
GONE_WAIT = 40.0  # seconds in which the head of a cluster takes a node that fails off its list
PAUSE = 0.2  # seconds between looks at that list
NEEDED = ("lib/**/*.py", "lib/**/*.html", "lib/**/*.css", "lib/**/*.js")  # of the project, besides notebooks


@dataclass(frozen=True)
class Share:
    """What a notebook, or an actor, has for itself on a node: processors, and graphics cards or a part of one."""

    cpus: int
    gpus: float

    def fits(self, resources: dict[str, float]) -> int:
        """How many such shares find room among a node's resources, {"CPU": 8.0, "GPU": 1.0}."""
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


def cards_of(resources: Iterable[dict[str, float]], gpus: float | None) -> float:
    """How many cards are asked for, or, where nothing is said (None), 1 if a node with these resources has a card,
    else 0."""
    return gpus if gpus is not None else 1.0 if any(one.get("GPU") for one in resources) else 0.0


def variables_of(threads: int) -> dict[str, str]:
    """The environment variables of all that computes on any node: those of the command that may change the last
    bits, cards apart, and so many threads."""
    own = environment.of_notebook(1)
    names = {*environment.recorded(own), *environment.OWN, environment.GROWTH[0], "TF_CPP_MIN_LOG_LEVEL"}
    names -= {graphics_cards.VARIABLE}
    return {name: own[name] for name in sorted(names)} | dict.fromkeys(environment.THREADS, str(threads))


def share_of(resources: Iterable[dict[str, float]], cpus: int | None, gpus: float | None) -> Share:
    """The share of each notebook on nodes with these resources.

    Arguments:
        cpus: None: so many that every node runs two notebooks, or one a card where it has more cards, as without
            a cluster; gpus: None: 1 where a node has a card, else 0.

    Raises UserError for a share that cannot be.
    """
    resources = [one for one in resources if one.get("CPU")]
    gpus = cards_of(resources, gpus)
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


def project_of(more: Iterable[Path] = ()) -> dict[str, Any]:
    """The code and the packages of the command, as every node must have them: "project", "files", "versions" of
    `node.difference`; `more`: files of the project that count, too."""
    needed = [path for pattern in NEEDED for path in sorted(PROJECT.glob(pattern))]
    return {
        "project": str(PROJECT),
        "files": {str(path): file_hash(path) for path in [*needed, *more]},
        "versions": cache_key.versions(),
    }


def proof_of(project: Project, run_dir: Path, data: Path, fingerprint: str) -> dict[str, Any]:
    """What every node must see, see `node.difference`; its token is written into the run folder."""
    token = run_dir / f".cluster.{secrets.token_hex(4)}.partial"  # a name that --resume removes
    text = secrets.token_hex(16)
    files.write_atomic(token, text)
    return project_of(sorted(project.notebooks.glob("*.ipynb"))) | {
        "run": str(run_dir),
        "token": str(token),
        "text": text,
        "data": str(data),
        "fingerprint": fingerprint,
    }


def prove(ray: Any, proof: dict[str, Any], share: Share) -> list[str]:
    """Let every node with room prove that it sees the same; their numbers. One that dies meanwhile is left out.
    UserError that names one that does not see the same, and what differs, and where no node is left."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    waiting = {}
    for one in alive(ray):
        if share.fits(one["Resources"]):
            strategy = NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)
            task = ray.remote(node.look).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
            name = f"{one['NodeManagerHostname']} ({one['NodeManagerAddress']})"
            waiting[one["NodeID"], name] = task.remote(one["NodeID"], one["NodeManagerAddress"], proof)
    proved = []
    for (node_id, name), answer in waiting.items():
        try:
            name, differs = ray.get(answer, timeout=WAIT)
        except ray.exceptions.RayError as error:
            if is_gone(ray, node_id, error):
                print_line(f"cluster  the node {name} is lost: the run goes on without it")
                continue
            cause = getattr(error, "cause", None) or error
            raise UserError(
                f"The node {name} gives no answer: {type(cause).__name__}, {shorten(cause, 200)}. Stop Ray there, or "
                "mend it."
            ) from None
        if differs:
            raise UserError(f"The node {name} {differs}")
        proved.append(node_id)
    if not proved:
        raise UserError(none_left(share))
    return proved


def none_left(share: Share) -> str:
    """A sentence for where no node is left that has room."""
    return f"No node of the cluster is left with {share}. Start one, then go on with --resume."


def is_gone(ray: Any, node_id: str, error: Exception) -> bool:
    """Whether a node that failed is none of the cluster any more, which its head takes some seconds to see."""
    if isinstance(error, ray.exceptions.TaskUnschedulableError):  # says that there is no such node
        return True
    if isinstance(error, ray.exceptions.RayTaskError | ray.exceptions.GetTimeoutError):
        return False
    end = time.monotonic() + GONE_WAIT
    while any(one["NodeID"] == node_id for one in alive(ray)):
        if time.monotonic() > end:
            return False
        time.sleep(PAUSE)
    return True
