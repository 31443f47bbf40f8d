"""Hosts on this machine: network namespaces of their own on a bridge in another one, which share its disk. Needs root
and iproute2; nothing of the machine's own network is touched."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

NET, PORT = "10.77.0", 6379
RAY = [str(Path(sys.executable).with_name("ray"))]
COUNT = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()), "nodes")
"""


def can_be_made():
    """Whether hosts can be made here."""
    if os.name != "posix" or os.getuid() or not shutil.which("ip"):
        return False
    made = subprocess.run(["ip", "netns", "add", f"try{os.getpid()}"], capture_output=True).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", f"try{os.getpid()}"], check=True)
    return made


class Hosts:
    """So many hosts with addresses 10.77.0.1, 10.77.0.2 and on, and a Ray cluster of them: the first is its head,
    without processors, each other a node with one."""

    def __init__(self, count):
        self.names = [f"host{os.getpid()}-{number}" for number in range(count)]
        self.hub = f"hub{os.getpid()}"
        self.nodes = []

    def __enter__(self):
        self.ip("netns", "add", self.hub)
        self.ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
        self.ip("-n", self.hub, "link", "set", "bridge", "up")
        for number, name in enumerate(self.names):
            self.ip("netns", "add", name)
            self.ip("-n", name, "link", "set", "lo", "up")
            cable = f"cable{number}"
            self.ip("-n", self.hub, "link", "add", cable, "type", "veth", "peer", "eth", "netns", name)
            self.ip("-n", self.hub, "link", "set", cable, "master", "bridge", "up")
            self.ip("-n", name, "addr", "add", f"{NET}.{number + 1}/24", "dev", "eth")
            self.ip("-n", name, "link", "set", "eth", "up")
            self.ip("-n", name, "route", "add", "default", "dev", "eth")  # Ray asks for the way out
        return self

    def __exit__(self, *_):
        for number in range(len(self.names)):
            self.pull(number, "up")
        for node in self.nodes:
            node.terminate()
        for node in self.nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(20)
            node.kill()
        for name in [*self.names, self.hub]:
            for pid in subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True
            ).stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            self.ip("netns", "del", name)

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    def within(self, number):
        """The words before a command that is to run on a host."""
        return ["ip", "netns", "exec", self.names[number]]

    def start_ray(self, log):
        """Start Ray on every host, and wait for all of them; the head's address. `log`: file for what it says."""
        self.log = log
        self.nodes = [self.start_node(0)]
        self.wait_for(1)
        for number in range(1, len(self.names)):  # several at once take too long for Ray on two cores
            self.nodes.append(self.start_node(number))
            self.wait_for(number + 1)
        return self.address

    def start_node(self, number):
        """Start Ray on a host; its process."""
        how = ["--address", self.address, "--num-cpus", "1"]
        if not number:
            how = ["--head", "--port", str(PORT), "--num-cpus", "0", "--include-dashboard", "false"]
        own = ["--node-ip-address", f"{NET}.{number + 1}", "--object-store-memory", "80000000"]
        command = [*self.within(number), *RAY, "start", "--block", "--disable-usage-stats", *how, *own]
        with open(self.log, "a") as file:
            return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)

    @property
    def address(self):
        """Of the cluster's head."""
        return f"{NET}.1:{PORT}"

    def wait_for(self, count, seconds=180):
        """Wait until the cluster has so many nodes. Ray gives up where a busy machine takes it half a minute: it is
        started again."""
        end, said = time.monotonic() + seconds, None
        while said is None or not said.stdout.endswith(f"{count} nodes\n"):
            assert time.monotonic() < end, f"{count} nodes of Ray do not come up: {said}"
            for number, node in enumerate(self.nodes):
                if node.poll() is not None:
                    self.nodes[number] = self.start_node(number)
            command = [*self.within(0), sys.executable, "-c", COUNT, self.address]
            said = subprocess.run(command, capture_output=True, text=True)

    def host_of(self, pid):
        """The number of the host that a process runs on."""
        said = subprocess.run(
            ["ip", "netns", "identify", str(pid)], capture_output=True, text=True, check=True
        )
        return self.names.index(said.stdout.strip())

    def pull(self, number, how="down"):
        """Pull a host's cable, or plug it in again ("up"): what runs there runs on, and nobody hears of it."""
        self.ip("-n", self.hub, "link", "set", f"cable{number}", how)
