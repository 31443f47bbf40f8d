"""A prediction on a cluster: actors that each open the cascade once take chunks of images and write their parts
into the folder of results. Names of files go to them, and nothing comes back but that a part is there."""

import argparse
import contextlib
import pickle
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib import errors
from lib.cluster import connect, node, nodes, predictor
from lib.cluster.shares import CPUS, Share, room, share_of, up, variables_of
from lib.errors import UserError, shorten
from lib.inference.output_folder import OutputFolder
from lib.inference.results import Severity

ATTEMPTS = 3  # actors that a chunk may lose before it is given up
PAUSE = 1.0  # seconds between looks at the cluster, and between lines about the progress
LONGEST_WAIT = 60.0  # seconds without any node that has room
TOKEN = "cluster.token"  # in the hidden folder: what every node must see


def add_options(options: argparse.ArgumentParser) -> None:
    """The options of `lib.predict` for clusters."""
    options.add_argument(
        "--cluster", default="", help="predict on a Ray cluster: local, auto or an address, 10.0.0.1:6379"
    )
    options.add_argument(
        "--actors",
        default=None,
        type=errors.whole_number,
        help="processes that predict; default: as many as have room",
    )
    options.add_argument(
        "--cpus-per-actor",
        default=None,
        type=errors.whole_number,
        help=f"processors and threads of each; default: {CPUS}, or what --actors leaves to each",
    )
    options.add_argument(
        "--gpus-per-actor",
        default=None,
        type=errors.decimal_number,
        help="graphics cards of each, or a part of one such as 0.5; default: 1 where the cluster has cards",
    )


def insist_on_options(args: argparse.Namespace) -> None:
    """UserError for options that cannot be, or that mean nothing without a cluster."""
    stated = {"--actors": args.actors, "--cpus-per-actor": args.cpus_per_actor}
    for name, value in (stated | {"--gpus-per-actor": args.gpus_per_actor}).items():
        if value is not None and not args.cluster:
            raise UserError(f"{name} is for a cluster. Add --cluster local, or leave it out.")
        if value is not None and value < (1 if name in stated else 0):
            raise UserError(f"{name} {value:g}: it is a number from {1 if name in stated else 0} up.")


def fill(
    folder: OutputFolder,
    missing: Sequence[int],
    args: argparse.Namespace,
    setting: dict[str, Any],
    severity: Severity,
    report: Callable[[str], Any],
) -> None:
    """Predict on a cluster what is missing in a folder of results, as `OutputFolder.fill` does here.

    Arguments:
        setting: of `Predictor`, without what follows from the folder and from `severity`. Errors as of `Crew.work`.
    """
    text = secrets.token_hex(16).encode()
    folder.hidden.write(TOKEN, text)
    setting |= nodes.project_of() | {
        "packed": pickle.dumps((folder.writer, severity)),
        "hidden": folder.unfinished,
        "token": TOKEN,
        "text": text,
        "cards": {
            str(path): path.read_bytes() for path in sorted(Path(setting["run"]).glob("models/*/model.json"))
        },
    }
    with connect.connect(args.cluster) as ray:
        share = share_of(up(ray), args.actors, args.cpus_per_actor, args.gpus_per_actor)
        cards = f" and {share.gpus:g} of a card" if share.gpus else ""
        plural = "s" if share.cpus > 1 else ""
        for module in (
            node,
            predictor,
        ):  # they travel to the nodes, which may have another state of the project
            ray.cloudpickle.register_pickle_by_value(module)
        several = "s, each" if share.actors > 1 else ""
        report(
            f"cluster  {args.cluster}: {share.actors} actor{several} with {share.cpus} processor{plural}{cards}"
        )
        crew = Crew(ray, share, setting, folder, report)
        try:
            crew.work(missing)
        finally:
            crew.end()


@dataclass
class Crew:
    """The actors, and what each is at.

    Arguments:
        setting: see `Predictor`; report: called with lines of text.
    """

    ray: Any
    share: Share
    setting: dict[str, Any]
    folder: OutputFolder
    report: Callable[[str], Any]
    at_work: dict[Any, tuple[Any, int | None]] = field(
        default_factory=dict
    )  # future: actor, chunk; None: it opens
    names: dict[Any, str] = field(default_factory=dict)  # actor: its node
    lost: Counter = field(default_factory=Counter)  # chunk: how many actors it lost

    def __post_init__(self) -> None:
        self.head = connect.Head(self.ray.get_runtime_context().gcs_address)

    def work(self, chunks: Sequence[int]) -> None:
        """Predict the chunks of these indices, as many at a time as there are actors. A chunk whose actor is lost
        goes to another one.

        UserError where a node does not see what it must, a chunk loses ATTEMPTS actors, or none is left.
        """
        missing = deque(chunks)
        pace = self.folder.pace(chunks)
        for _ in range(min(self.share.actors, len(missing))):
            self.begin()
        reported = seen = time.monotonic()
        while missing or any(index is not None for _, index in self.at_work.values()):
            ready, _ = self.ray.wait(list(self.at_work), num_returns=1, timeout=PAUSE)
            for future in ready:
                actor, index = self.at_work.pop(future)
                try:
                    answer = self.ray.get(future)
                except self.ray.exceptions.RayTaskError as error:
                    cause = error.cause or error
                    where = self.names.get(actor, "of the cluster")
                    raise UserError(
                        f"The node {where} fails: {type(cause).__name__}: {shorten(cause, 300)}"
                    ) from None
                except self.ray.exceptions.RayError as error:
                    self.replace(actor, index, missing, error)
                    continue
                if index is None:
                    self.names[actor], answer = answer
                    pace.begin()
                if answer:
                    raise UserError(answer)
                if index is not None:
                    line = pace.after(len(self.folder.chunk(index).image_files))
                    if time.monotonic() - reported >= PAUSE or pace.done == pace.total:
                        self.report(line)
                        reported = time.monotonic()
                if missing:
                    chunk = self.folder.chunk(missing.popleft())
                    self.at_work[actor.predict.remote(chunk)] = actor, chunk.index
                else:  # it would hold what another one may need for a chunk that comes back
                    self.release(actor)
            seen = time.monotonic() if ready or self.has_room() else seen
            if time.monotonic() - seen > LONGEST_WAIT:
                raise UserError(
                    "No node of the cluster has room for an actor any more. See to its nodes, then give the same command "
                    "again: what was finished is kept."
                )

    def has_room(self) -> bool:
        """Whether a node is up that could hold an actor. UserError if the head of the cluster is gone: soon after,
        Ray would end this process without a word."""
        is_there = self.head.answers(PAUSE)
        if self.head.is_gone:
            raise UserError(
                f"The head node of the cluster, {self.head.address}, does not answer any more. Start Ray again, then give the same "
                "command again: what was finished is kept."
            )
        return not is_there or room(up(self.ray), self.share.cpus, self.share.gpus) > 0

    def begin(self) -> None:
        """Ask the cluster for an actor, which opens the cascade."""
        variables = {"env_vars": variables_of(self.share)}
        actor = (
            self.ray.remote(predictor.Predictor)
            .options(
                num_cpus=self.share.cpus,
                num_gpus=self.share.gpus,
                max_restarts=0,
                scheduling_strategy="SPREAD",
                runtime_env=variables,
            )
            .remote(self.setting, node.other_code)
        )
        self.at_work[actor.open.remote()] = actor, None

    def replace(self, actor: Any, index: int | None, missing: deque[int], error: Exception) -> None:
        """Give back the chunk of an actor that is lost, and ask for another actor."""
        where = self.release(actor)
        self.lost[index] += 1
        text = str(error).strip() or type(error).__name__
        reason = shorten(text.splitlines()[-1], 200).rstrip(".")
        if self.lost[index] >= ATTEMPTS:
            what = "to open the cascade"
            if index is not None:
                images = self.folder.chunk(index).image_files
                what = f"at the images {images[0].name} to {images[-1].name}"
            raise UserError(
                f"{ATTEMPTS} actors were lost {what}, the last one{' on ' * bool(where)}{where}: {reason}. See to it, then give the "
                "same command again: what was finished is kept."
            )
        if index is not None:
            missing.appendleft(index)
            self.report(
                f"an actor on {where} is lost: its {len(self.folder.chunk(index).image_files)} images go elsewhere"
            )
        self.begin()

    def end(self) -> None:
        """Give back what the actors have on their nodes."""
        for actor in {actor for actor, _ in self.at_work.values()} | set(self.names):
            self.release(actor)

    def release(self, actor: Any) -> str:
        """Give back what an actor has on its node; the node's name, "" where it is not known."""
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(actor)
        return self.names.pop(actor, "")
