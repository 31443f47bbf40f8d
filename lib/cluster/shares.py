"""How the nodes of a cluster are shared out among actors that predict, and what these have in their environment."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lib.cluster import nodes
from lib.errors import UserError
from lib.models import environment
from lib.pipeline import graphics_cards

CPUS = 4  # processors of an actor where nothing is said, on nodes that have so many


@dataclass(frozen=True)
class Share:
    """How many actors there are, and what each has for itself: processors, and cards or a part of one."""

    actors: int
    cpus: int
    gpus: float


def up(ray: Any) -> list[dict[str, float]]:
    """What each node has that is up and computes: {"CPU": 8.0, "GPU": 1.0}."""
    return [one["Resources"] for one in nodes.alive(ray) if one["Resources"].get("CPU")]


def room(resources: Iterable[dict[str, float]], cpus: int, gpus: float) -> int:
    """How many actors with so much each nodes with these resources have room for."""
    return sum(map(nodes.Share(cpus, gpus).fits, resources))


def share_of(
    resources: Iterable[dict[str, float]], actors: int | None, cpus: int | None, gpus: float | None
) -> Share:
    """How a cluster is shared out.

    Arguments:
        resources: of each node, {"CPU": 8.0, "GPU": 1.0}; the others: as the options say, None: nothing.

    Raises UserError where no node has room for one actor, or all together not for so many.
    """
    resources = [one for one in resources if one.get("CPU")]
    gpus = nodes.cards_of(resources, gpus)
    most = int(max((one["CPU"] for one in resources), default=0))
    if cpus is None and actors is not None:
        cpus = next((each for each in range(most, 0, -1) if room(resources, each, gpus) >= actors), 1)
    elif cpus is None:
        cpus = next((each for each in range(CPUS, 0, -1) if room(resources, each, gpus)), 1)
    if actors is None:
        actors = max(room(resources, cpus, gpus), 1)
    if room(resources, cpus, gpus) < actors:
        has = "; ".join(f"{one['CPU']:g} processors and {one.get('GPU', 0):g} cards" for one in resources)
        raise UserError(
            f"The cluster has no room for {actors} actor{'s' * (actors > 1)} with {cpus} processor{'s' * (cpus > 1)} and {gpus:g} cards "
            f"each: its nodes have {has or 'none'}. Ask for less with --actors, --cpus-per-actor and --gpus-per-actor."
        )
    return Share(actors, cpus, gpus)


def variables_of(share: Share) -> dict[str, str]:
    """The environment variables of actors, see `nodes.variables_of`, with as many threads as an actor has
    processors."""
    own = nodes.variables_of(share.cpus) | dict([environment.GROWTH])
    return (
        own if share.gpus else own | {graphics_cards.VARIABLE: ""}
    )  # Ray shows every card to who asked for none
