"""Where notebooks run on a cluster: every one in an actor of Ray's on a node that has room, which starts there the
same process as without a cluster."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.cluster import connect, node, nodes
from lib.errors import UserError, print_line, shorten
from lib.models import environment
from lib.pipeline import cache_key, graphics_cards, products, units
from lib.pipeline.executor import LocalExecutor, Result
from lib.pipeline.graph import Project
from lib.pipeline.progress import print_event

ATTEMPTS = 3  # nodes that a notebook may lose before it fails
HEAD_PAUSE = 1.0  # seconds between looks at the head node
ROOM_PAUSE = 5.0  # seconds between looks whether a waiting notebook can start at all
LONGEST_WAIT = 60.0  # seconds without any node for it
BEAT = 2.0  # seconds between signs of life for what runs on nodes
STOP_WAIT = 10.0  # seconds for a notebook's process to end


class NodeExecutor(LocalExecutor):
    """Runs a notebook's process on the node that this process is on.

    Arguments:
        variables: see `nodes.variables_of`; card: the numbers of its graphics cards, "" for none.
    """

    # Ray kills the children of a process that it ends. A shell between lets the notebook's process live on for the
    # moment in which it sees that its standard input is closed, and ends the kernel with all that this has started.
    if os.name == "posix":
        command = ("/bin/sh", "-c", '"$0" "$@"; exit $?', *LocalExecutor.command)

    def __init__(self, variables: dict[str, str], card: str) -> None:
        super().__init__(open(os.devnull), 1)  # noqa: SIM115 - the run's lock is the command's alone
        self.variables, self.card = variables, card

    def environment(self) -> dict[str, str]:
        """The node's own environment, but for what Ray sets and what may change a result."""
        own = environment.of_notebook(1)
        foreign = {
            *environment.recorded(own),
            "PYTHONBREAKPOINT",
            *(name for name in own if name.startswith("RAY_")),
        }
        return (
            {name: own[name] for name in own if name not in foreign}
            | self.variables
            | {graphics_cards.VARIABLE: self.card}
        )


@dataclass
class ClusterJob:
    """A notebook on the cluster: what is started, how often it was, and where it runs."""

    arguments: tuple
    name: str
    gpus: float
    attempt: int = 0
    actor: Any = None
    where: Any = None
    ended: Any = None
    ran_on: dict[str, Any] = field(default_factory=dict)
    seen_room: float = field(default_factory=time.monotonic)
    next_room: float = 0


@dataclass
class ClusterExecutor:
    """Runs every notebook on a node that has room, and on another one when that node is lost.

    Arguments:
        cluster: the cluster; proof: what every node must see; proved: numbers of the nodes that do.
    """

    cluster: "Cluster"
    proof: dict[str, Any]
    proved: list[str]
    next_look: float = 0

    def __post_init__(self) -> None:
        self.head = connect.Head(self.cluster.address)
        self.ray, self.variables = self.cluster.ray, nodes.variables_of(self.cluster.share.cpus)
        self.modules = cache_key.library()
        self.jobs: list[ClusterJob] = []
        self.closed = threading.Event()
        threading.Thread(target=self.beat, daemon=True).start()

    def beat(self) -> None:
        """Give what runs on nodes a sign of life again and again, until the executor is closed."""
        while not self.closed.wait(BEAT):
            for job in list(self.jobs):
                if job.ran_on:
                    with contextlib.suppress(Exception):  # a node that is lost, which `poll` sees
                        job.actor.beat.options(num_returns=0).remote()

    def environment(self) -> dict[str, str]:
        """The environment variables that notebooks have on every node."""
        return self.variables

    def start(self, notebook: Path, run_dir: Path, parameters: dict[str, Any], member: int = 0) -> ClusterJob:
        """Let the cluster start a notebook as soon as a node has room."""
        packages = cache_key.code_of(notebook, self.modules)[1]
        gpus = self.cluster.share.gpus if packages & {"keras", "tensorflow"} else 0.0
        name = units.name_of(notebook.stem, member)
        job = ClusterJob((notebook, run_dir, parameters, member), name, gpus)
        self.launch(job)
        return job

    def launch(self, job: ClusterJob) -> None:
        """Ask the cluster for a runner of a notebook."""
        job.attempt += 1
        job.ran_on, job.seen_room = {}, time.monotonic()
        runner = self.ray.remote(node.Runner).options(
            num_cpus=self.cluster.share.cpus,
            num_gpus=job.gpus,
            max_restarts=0,
            max_concurrency=4,
            scheduling_strategy="SPREAD",
        )
        self.jobs.append(job)
        job.actor = runner.remote(job.gpus > 0, self.proof, self.proved)
        job.where = job.actor.where.remote()
        job.ended = job.actor.run.remote(job.arguments, self.variables)

    def poll(self, job: ClusterJob) -> Result | None:
        """How a notebook ended. One whose node is lost is started elsewhere. UserError where the cluster's head
        does not answer any more."""
        self.check_head()
        ready, _ = self.ray.wait([job.ended, job.where], num_returns=2, timeout=0)
        try:
            if not job.ran_on and job.where in ready:
                job.ran_on = self.ray.get(job.where) | {"attempt": job.attempt}
            if job.ended in ready:
                ok, error = self.ray.get(job.ended)
                self.forget(job)
                return Result(ok, error, job.ran_on)
        except self.ray.exceptions.RayTaskError as error:
            self.forget(job)
            cause = error.cause or error
            return Result(False, f"The node fails: {type(cause).__name__}: {shorten(cause, 300)}", job.ran_on)
        except self.ray.exceptions.RayError as error:
            return self.lost(job, error)
        return None if job.ran_on else self.check_room(job)

    def lost(self, job: ClusterJob, error: Exception) -> Result | None:
        """Start a notebook again whose node is lost; its end if that happened too often."""
        self.forget(job)
        products.end_strays(job.arguments[1], job.name)  # where the node was a part of this machine
        where = job.ran_on.get("node", "a node")
        if job.attempt >= ATTEMPTS:
            reason = shorten(str(error).strip().splitlines()[-1] if str(error).strip() else error, 200)
            text = f"It lost its node {job.attempt} times, at last {where}: {reason}. Mend it, then go on with --resume."
            return Result(False, text, job.ran_on)
        print_event(
            f"{job.name:16} lost its node, {where}: it goes on elsewhere from its last finished epoch, attempt "
            f"{job.attempt + 1} of {ATTEMPTS}"
        )
        self.launch(job)
        return None

    def check_head(self) -> None:
        """UserError if the head node has not answered several times in a row: soon after, Ray would end this
        process without a word."""
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + HEAD_PAUSE
        self.head.answers(HEAD_PAUSE)
        if self.head.is_gone:
            raise UserError(
                f"The head node of the cluster, {self.cluster.address}, does not answer any more, and without it nothing "
                "runs. Start Ray again, then go on with --resume and --cluster: what was finished is kept."
            )

    def check_room(self, job: ClusterJob) -> Result | None:
        """A notebook's end if it has waited long and no node is left that could run it."""
        if time.monotonic() < job.next_room:
            return None
        job.next_room = time.monotonic() + ROOM_PAUSE
        share = nodes.Share(self.cluster.share.cpus, job.gpus)
        if any(share.fits(one["Resources"]) for one in nodes.alive(self.ray)):
            job.seen_room = time.monotonic()
        if time.monotonic() - job.seen_room < LONGEST_WAIT:
            return None
        self.forget(job)
        return Result(False, nodes.none_left(share))

    def stop(self, job: ClusterJob) -> None:
        """End a notebook's process, and give its share of the node back."""
        if self.head.is_gone:  # the nodes end what they run themselves
            return
        with contextlib.suppress(self.ray.exceptions.RayError):
            if job.ran_on:
                self.ray.get(job.actor.stop.remote(), timeout=STOP_WAIT)
        self.forget(job)

    def forget(self, job: ClusterJob) -> None:
        """Give a notebook's share of its node back, with whatever still runs there."""
        self.jobs.remove(job)
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(job.actor)


@dataclass(frozen=True)
class Cluster:
    """A cluster that this command has joined.

    Arguments:
        name: as --cluster names it; address: of its head, "HOST:PORT"; share: of each notebook; room: how many
            notebooks it runs side by side.
    """

    ray: Any
    name: str
    address: str
    share: nodes.Share
    room: int

    @contextlib.contextmanager
    def executor(
        self, project: Project, run_dir: Path, data: Path, fingerprint: str
    ) -> Iterator[ClusterExecutor]:
        """A context with the executor of a run. UserError before anything runs if a node sees another run folder,
        other code, other packages or other data."""
        proof = nodes.proof_of(project, run_dir, data, fingerprint)
        try:
            opened = ClusterExecutor(self, proof, nodes.prove(self.ray, proof, self.share))
            try:
                yield opened
            finally:
                opened.closed.set()
        finally:
            with contextlib.suppress(OSError):
                Path(proof["token"]).unlink(missing_ok=True)


@contextlib.contextmanager
def join(cluster: str, cpus: int | None = None, gpus: float | None = None) -> Iterator[Cluster]:
    """A context in which this command has joined a cluster. UserError where there is none, or none with room.

    Arguments:
        cluster: "local", "auto" or an address, see `connect.connect`; cpus, gpus: of each notebook, see
            `nodes.share_of`.
    """
    with connect.connect(cluster) as ray:
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(node)
        resources = [one["Resources"] for one in nodes.alive(ray)]
        share = nodes.share_of(resources, cpus, gpus)
        room = nodes.room(resources, share)
        used = sum(share.fits(one) > 0 for one in resources)
        print_line(
            f"cluster  {cluster}: {used} node{'s' if used > 1 else ''} with room for {room} "
            f"notebook{'s' if room > 1 else ''} at a time, each with {share}"
        )
        yield Cluster(ray, cluster, ray.get_runtime_context().gcs_address, share, room)
