"""The way into a Ray cluster: one on this machine, or one that runs. Ray is imported when it is asked for, and
nowhere but in this room."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

from lib.errors import UserError, shorten

INSTALL = "python -m pip install -r requirements-cluster.txt"
QUIET = {  # nothing is sent to Ray's makers, and nothing of its own stands between a run's lines
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
WAIT = 5.0  # seconds for an address to answer
HEAD_FAILURES = 3  # looks in a row without an answer that mean that the head node is gone
HOW = "Start one with `ray start --head`, or use --cluster local."


@contextlib.contextmanager
def connect(cluster: str, cpus: int | None = None) -> Iterator[Any]:
    """A context in which this process is connected to a Ray cluster; gives the module `ray`.

    Arguments:
        cluster: "local" starts one on this machine, which ends with the context; "auto" joins the one that runs
            here, or the one that RAY_ADDRESS names; else an address, "10.0.0.1:6379".
        cpus: how many processors "local" hands out, None: all of this machine; without effect otherwise.

    Raises UserError where Ray is not installed, or no cluster answers.
    """
    ray = import_ray(cluster)
    address = os.environ.get("RAY_ADDRESS", "") if cluster == "auto" else cluster
    if address not in ("", "local"):
        check_answers(address, cluster)
    settings: dict[str, Any] = {
        "address": address or "auto",
        "log_to_driver": False,
        "configure_logging": False,
    }
    if address == "local":
        settings |= {"include_dashboard": False, "num_cpus": cpus}
    for attempt in (1, 2):
        try:
            with kept_signals():
                ray.init(**settings)
            break
        except Exception as error:  # Ray raises bare ones, too
            ray.shutdown()
            if "timed out" in str(error) and attempt == 1:  # half a minute, whatever else the machine does
                continue
            reason = "" if isinstance(error, ConnectionError) else f" {shorten(error, 300)}"
            what = {"local": "starts", "auto": "runs"}.get(cluster, "can be joined from")
            how = "Try again when the machine is less busy." if cluster == "local" else HOW
            raise UserError(f"--cluster {cluster}: no Ray cluster {what} here.{reason} {how}") from None
    try:
        yield ray
    finally:
        with kept_signals():
            ray.shutdown()


def import_ray(cluster: str) -> Any:
    """The module `ray`, told to be quiet; UserError that says how to install it."""
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    try:
        import ray
    except ImportError:
        raise UserError(f"--cluster {cluster}: Ray is not installed. Install it: {INSTALL}.") from None
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    ray._private.worker._worker_logs_enabled = False  # the end of a node's log, where one is lost
    return ray


@contextlib.contextmanager
def kept_signals() -> Iterator[None]:
    """A context after which Ctrl-C and a request to end do what they did before: Ray sets answers of its own."""
    before = {request: signal.getsignal(request) for request in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for request, answer in before.items():
            with contextlib.suppress(ValueError, TypeError):  # not the main thread; set by no Python code
                signal.signal(request, answer)


def check_answers(address: str, cluster: str) -> None:
    """UserError unless something listens at "HOST:PORT": Ray would end this whole process instead."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "//" in address:
        raise UserError(f"--cluster {cluster}: write local, auto or an address, such as 10.0.0.1:6379.")
    if not listens(address, WAIT):
        raise UserError(f"--cluster {cluster}: no Ray cluster answers at {address}. {HOW}")


class Head:
    """Whether the head node of a cluster, "HOST:PORT", is still there. Where it is gone, Ray would soon end this
    process without a word."""

    def __init__(self, address: str) -> None:
        self.address, self.failures = address, 0

    def answers(self, seconds: float) -> bool:
        """Look at it, so many seconds at most; whether it answers."""
        is_there = listens(self.address, seconds)
        self.failures = 0 if is_there else self.failures + 1
        return is_there

    @property
    def is_gone(self) -> bool:
        """Whether it did not answer several times in a row."""
        return self.failures >= HEAD_FAILURES


def listens(address: str, seconds: float) -> bool:
    """Whether a connection to "HOST:PORT" can be opened within so many seconds."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
    except (OSError, ValueError):  # a name that can be no host's, such as one with two dots
        return False
    return True
