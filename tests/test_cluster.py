"""Ray clusters: the way in, and what is said where there is none."""

import importlib.util
import signal
import socket
import subprocess
import sys

import pytest

from lib.cluster import connect
from lib.errors import UserError
from lib.paths import PROJECT

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="no Ray of requirements-cluster.txt"
)
JOIN = """
import os
before = dict(os.environ)
from lib.cluster import connect
import sys
assert "ray" not in sys.modules
with connect.connect(sys.argv[1], cpus=2) as ray:
    @ray.remote
    def double(number):
        return 2 * number
    print(ray.get([double.remote(number) for number in range(3)]), ray.cluster_resources()["CPU"])
print(ray.is_initialized(), os.environ.get("OMP_NUM_THREADS") == before.get("OMP_NUM_THREADS"))
"""


def closed_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_without_ray_a_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(
            UserError, match=r"^--cluster local: Ray is not installed. Install it: .*-cluster.txt\.$"
        ),
        connect.connect("local"),
    ):
        pass


@needs_ray
@pytest.mark.parametrize(
    "cluster, expected",
    [
        ("127.0.0.1:{port}", r"no Ray cluster answers at 127.0.0.1:\d+. Start one with `ray start --head`"),
        ("ray://somewhere:10001", "write local, auto or an address, such as 10.0.0.1:6379"),
        ("lokal", "write local, auto or an address"),
        ("auto", r"no Ray cluster answers at 127.0.0.1:\d+"),  # where RAY_ADDRESS leads
    ],
)
def test_where_no_cluster_answers_a_sentence_says_so(cluster, expected, monkeypatch):
    port = closed_port()
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    cluster = cluster.format(port=port)
    with pytest.raises(UserError, match=f"^--cluster {cluster}: {expected}"), connect.connect(cluster):
        pass


@pytest.mark.slow
@needs_ray
def test_a_cluster_of_this_machine_works_and_ends_without_a_word():
    done = subprocess.run(
        [sys.executable, "-c", JOIN, "local"], cwd=PROJECT, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("[0, 2, 4] 2.0\nFalse True\n", "")


def test_signals_mean_after_the_context_what_they_meant_before():
    before = signal.getsignal(signal.SIGTERM)
    with connect.kept_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == before
