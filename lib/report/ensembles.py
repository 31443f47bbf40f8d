"""Members of ensembles that were tasks of their own, on a run's index: in the card of their notebook."""

from typing import Any


def gather_members(cards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cards of the notebooks, each with "members": those of its ensemble that were tasks of their own, which
    are called NOTEBOOK.1, NOTEBOOK.2 and so on, without the notebook in their names."""
    by_name = {card["name"]: card | {"members": []} for card in cards}
    for card in cards:
        notebook, _, member = card["name"].rpartition(".")
        if notebook in by_name and member.isdecimal():
            by_name[notebook]["members"].append(by_name.pop(card["name"]) | {"member": member})
    return list(by_name.values())
