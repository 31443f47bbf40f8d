"""What runs on a node of a cluster. It travels there by value, so that a node without this project can say so:
nothing of lib is imported before the node has proved that its copy is the same."""

import atexit
import hashlib
import os
import socket
import sys
import threading
import time
from typing import Any

PAUSE = 0.1  # seconds between looks at a notebook's process
PATIENCE = 20.0  # seconds without a sign of life from the command after which a runner ends
LOST = 70  # exit code of a runner whose node or command is gone


def difference(proof: dict[str, Any]) -> str:
    """What this node has otherwise than the command, "" if nothing: the end of a sentence that begins with the
    node's name.

    Arguments:
        proof: "run" and "data", folders; "token", a file in the run folder, and "text", its content; "project", a
            folder; "files", {path: SHA-256}; "versions", of packages; "fingerprint", of the data.
    """
    if read(proof["token"]) != proof["text"].encode():
        return (
            f"does not see the run folder {proof['run']}. Keep the project's runs/ where all nodes see it under this "
            "name."
        )
    return other_code(proof) or other_data(proof)


def other_code(proof: dict[str, Any]) -> str:
    """How the project and the packages of this node differ from the command's, as `difference`."""
    if not os.path.isdir(proof["project"]):
        return f"does not have the project in {proof['project']}. Keep it where all nodes see it under this name."
    for path, expected in proof["files"].items():
        content = read(path)
        if content is None or hashlib.sha256(content).hexdigest() != expected:
            what = "is missing" if content is None else "differs"
            return f"has other code: {path} {what}. Bring the project to the same state on all nodes."
    if proof["project"] not in sys.path:
        sys.path.insert(0, proof["project"])
    return other_packages(proof["versions"])


def read(path: str) -> bytes | None:
    """A file's content, None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def other_packages(expected: dict[str, str]) -> str:
    """How the packages of this node differ from the command's, as `difference`."""
    remedy = "Install the same requirements.txt on all nodes."
    try:
        from lib.pipeline import cache_key
    except ImportError as error:
        return f"lacks a package: {error}. {remedy}"
    own = cache_key.versions()
    differing = [
        f"{name} {own.get(name, 'is missing')}{f', not {expected[name]}' if name in expected else ''}"
        for name in {**expected, **own}
        if own.get(name) != expected.get(name)
    ]
    return f"has other packages: {'; '.join(differing)}. {remedy}" if differing else ""


def other_data(proof: dict[str, Any]) -> str:
    """How the data of this node differ from the command's, as `difference`."""
    folder = proof["data"]
    if not os.path.isdir(folder):
        return f"does not see the data in {folder}. Keep them where all nodes see them under this name."
    from lib.data import dataset

    if dataset.fingerprint(folder)["sha256"] != proof["fingerprint"]:
        return f"sees other data in {folder}: other images, sizes or tables. Let all nodes see the same."
    return ""


def describe(node_id: str, ip: str) -> dict[str, str]:
    """This node as run.json records it: its name, and its number in the cluster."""
    return {"node": f"{socket.gethostname()} ({ip})", "node_id": node_id}


def look(node_id: str, ip: str, proof: dict[str, Any]) -> tuple[str, str]:
    """(name of this node, `difference`); and whatever an earlier command on this run has left running here
    ends."""
    differs = difference(proof)
    if not differs:
        from lib.pipeline import products

        products.end_strays(proof["run"])
    return describe(node_id, ip)["node"], differs


class Runner:
    """A notebook's place on a node: the processors and the card that Ray has set aside for it, and the process
    that executes it."""

    def __init__(self, has_card: bool, proof: dict[str, Any], proved: list[str]) -> None:
        import ray

        card = ",".join(map(str, ray.get_gpu_ids())) if has_card else ""
        node_id = ray.get_runtime_context().get_node_id()
        self.ran_on = describe(node_id, ray.util.get_node_ip_address()) | {"card": card}
        self.differs = "" if node_id in proved else difference(proof)
        self.project = proof["project"]
        self.executor: Any = None
        self.job: Any = None
        self.lock = threading.Lock()
        self.is_stopped = False
        self.last_beat = time.monotonic()
        atexit.register(os._exit, LOST)  # or this process, asked to end by Ray, would wait for the notebook
        threading.Thread(target=self.end_with, args=(os.getppid(),), daemon=True).start()

    def where(self) -> dict[str, str]:
        """The place: "node", "node_id", "card"."""
        return self.ran_on

    def run(self, arguments: tuple, variables: dict[str, str]) -> tuple[bool, str]:
        """Execute a notebook; (whether it ran to its end, its error in one sentence).

        Arguments:
            arguments: those of `Executor.start`; variables: see `nodes.variables_of`.
        """
        if self.differs:
            return False, f"The node {self.ran_on['node']} {self.differs}"
        if self.project not in sys.path:
            sys.path.insert(0, self.project)
        from lib.cluster.executor import NodeExecutor

        self.executor = NodeExecutor(variables, self.ran_on["card"])
        with self.lock:
            if not self.is_stopped:
                self.job = self.executor.start(*arguments)
        while self.job and not self.is_stopped:
            result = self.executor.poll(self.job)
            if result is not None:
                return result.ok, result.error
            time.sleep(PAUSE)
        return False, "It was stopped."

    def stop(self) -> None:
        """End the notebook's process with everything that it started."""
        with self.lock:
            self.is_stopped = True
            if self.job:
                self.executor.stop(self.job)

    def beat(self) -> None:
        """Take the command's sign of life."""
        self.last_beat = time.monotonic()

    def end_with(self, parent: int) -> None:
        """End this process when Ray's process of the node, its parent, is gone, or the command is, and with it the
        notebook's: that one watches its standard input. Ray itself takes longer, and waits for what runs."""
        while os.getppid() == parent and time.monotonic() - self.last_beat < PATIENCE:
            time.sleep(PAUSE)
        os._exit(LOST)
