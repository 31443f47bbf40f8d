"""How the nodes of a cluster are shared out among actors that predict, and what these have in their environment."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lib.errors import UserError
from lib.models import environment

CPUS = 4  # processors of an actor where nothing is said, on nodes that have so many


@dataclass(frozen=True)
class Share:
    """How many actors there are, and what each has for itself: processors, and cards or a part of one."""

    actors: int
    cpus: int
    gpus: float


def up(ray: Any) -> list[dict[str, float]]:
    """What each node has that is up and computes: {"CPU": 8.0, "GPU": 1.0}."""
    return [one["Resources"] for one in ray.nodes() if one["Alive"] and one["Resources"].get("CPU")]


def room(nodes: Iterable[dict[str, float]], cpus: int, gpus: float) -> int:
    """How many actors with so much each such nodes have room for."""
    each = ((one["CPU"] / cpus, one.get("GPU", 0) / gpus if gpus else one["CPU"]) for one in nodes)
    return sum(int(min(pair) + 1e-6) for pair in each)


def share_of(
    resources: Iterable[dict[str, float]], actors: int | None, cpus: int | None, gpus: float | None
) -> Share:
    """How a cluster is shared out.

    Arguments:
        resources: of each node, {"CPU": 8.0, "GPU": 1.0}; the others: as the options say, None: nothing.

    Raises UserError where no node has room for one actor, or all together not for so many.
    """
    nodes = [one for one in resources if one.get("CPU")]
    if gpus is None:
        gpus = 1.0 if any(one.get("GPU") for one in nodes) else 0.0
    most = int(max((one["CPU"] for one in nodes), default=0))
    if cpus is None and actors is not None:
        cpus = next((each for each in range(most, 0, -1) if room(nodes, each, gpus) >= actors), 1)
    elif cpus is None:
        cpus = next((each for each in range(CPUS, 0, -1) if room(nodes, each, gpus)), 1)
    if actors is None:
        actors = max(room(nodes, cpus, gpus), 1)
    if room(nodes, cpus, gpus) < actors:
        has = "; ".join(f"{one['CPU']:g} processors and {one.get('GPU', 0):g} cards" for one in nodes)
        raise UserError(
            f"The cluster has no room for {actors} actor{'s' * (actors > 1)} with {cpus} processor{'s' * (cpus > 1)} and {gpus:g} cards "
            f"each: its nodes have {has or 'none'}. Ask for less with --actors, --cpus-per-actor and --gpus-per-actor."
        )
    return Share(actors, cpus, gpus)


def variables_of(share: Share) -> dict[str, str]:
    """The environment variables of actors: those of the command that may change the last bits, and as many threads
    as an actor has processors."""
    own = environment.recorded(os.environ) | environment.OWN | dict([environment.GROWTH])
    own |= {"TF_CPP_MIN_LOG_LEVEL": "3"} | dict.fromkeys(environment.THREADS, str(share.cpus))
    if not share.gpus:
        own["CUDA_VISIBLE_DEVICES"] = ""  # Ray shows every card to who asked for none
    elif "CUDA_VISIBLE_DEVICES" in own:
        del own["CUDA_VISIBLE_DEVICES"]
    return own
