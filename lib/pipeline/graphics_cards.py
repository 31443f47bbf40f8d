"""The graphics cards of this machine, and which of them a notebook gets that runs beside others."""

import os
import re
import subprocess
from collections.abc import Iterable, Sequence

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible() -> list[str]:
    """The cards that notebooks may use, as `CUDA_VISIBLE_DEVICES` names them: what that says, or all that
    nvidia-smi lists; [] for none. TensorFlow is not imported for it: it would take memory of each."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return named_cards(named)
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return listed_cards(listed.stdout)


def named_cards(text: str) -> list[str]:
    """The cards in a value of `CUDA_VISIBLE_DEVICES`: those before the first one that is none, such as -1."""
    cards: list[str] = []
    for card in (part.strip() for part in text.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-\S+", card):
            break
        cards.append(card)
    return cards


def listed_cards(text: str) -> list[str]:
    """The cards in what `nvidia-smi -L` prints: the number of each, or, of one that is divided, the names of its
    parts."""
    cards: dict[str, list[str]] = {}
    index = ""
    for line in text.splitlines():
        if match := re.match(r"GPU (\d+):", line):
            index = match[1]
            cards[index] = []
        elif index and (match := re.search(r"\(UUID: (MIG-[^)\s]+)\)", line)):
            cards[index].append(match[1])
    return [name for card, parts in cards.items() for name in parts or [card]]


def least_used(cards: Sequence[str], used: Iterable[str]) -> str:
    """The card that fewest notebooks use, the first one of several such.

    Arguments:
        cards: all, at least one; used: the card of each notebook that runs.
    """
    counts = dict.fromkeys(cards, 0)
    for card in used:
        counts[card] += 1
    return min(cards, key=lambda card: counts[card])
