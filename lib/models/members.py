"""Which members of an ensemble a notebook trains: all of them, one after the other, or one alone, where
run_all.py makes each a task of its own.

Nothing here imports Keras: who starts a notebook needs it, too.
"""

import os

VARIABLE = "STEEL_MEMBER"  # the member that such a task trains, counted from 1; "" or not set: all
LAST_CELL = "member"  # tag of the cell that such a task ends with


def to_train(n_members: int) -> list[int]:
    """The members, counted from 0, that this notebook trains, of so many."""
    return [int(os.environ[VARIABLE]) - 1] if is_alone() else list(range(n_members))


def is_alone() -> bool:
    """Whether this is the task of one member, after which the notebook itself finds and saves all of them."""
    return bool(os.environ.get(VARIABLE))
