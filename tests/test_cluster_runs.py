"""Runs on a Ray cluster: several nodes on this machine, the same results, and what happens when one is lost."""

import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import sys
import time
from types import SimpleNamespace

import faults
import kills
import psutil
import pytest
from test_pipeline import alive, wait_for

from lib.cluster import connect, executor, node, nodes
from lib.cluster.nodes import Share
from lib.errors import UserError
from lib.paths import PROJECT
from lib.pipeline import cache_key, graph, run_state
from lib.pipeline.run_state import NotebookTask, RunState, Status
from lib.report.pages import write_index

SMALL, CARDS = {"CPU": 4.0, "memory": 1e9}, {"CPU": 16.0, "GPU": 4.0}
WAY_OUT = 2 * node.PATIENCE  # seconds in which what a lost command ran ends, on a machine with other load


@pytest.mark.parametrize(
    "resources, cpus, gpus, share, room",
    [
        ([SMALL], None, None, Share(2, 0), 2),  # as without a cluster
        ([{"CPU": 1.0}], None, None, Share(1, 0), 1),
        (
            [SMALL, {"CPU": 7.0}, {"memory": 1e9}],
            None,
            None,
            Share(2, 0),
            5,
        ),  # the head may have no processor
        ([CARDS], None, None, Share(4, 1), 4),
        ([CARDS], None, 0.5, Share(2, 0.5), 8),
        ([CARDS], None, 0.0, Share(8, 0), 2),
        ([CARDS, SMALL], 4, 1.0, Share(4, 1), 4),  # a node without cards has no room
        ([CARDS], 1, 0.3, Share(1, 0.3), 13),
    ],
)
def test_the_share_of_a_notebook_and_how_many_find_room(resources, cpus, gpus, share, room):
    assert nodes.share_of(resources, cpus, gpus) == share and nodes.room(resources, share) == room


@pytest.mark.parametrize(
    "cpus, gpus, expected",
    [
        (0, None, "--cpus-per-notebook 0: a notebook needs one processor at least."),
        (None, 1.5, "--gpus-per-notebook 1.5: 0, a part of a card such as 0.5, or whole cards."),
        (None, -1, "--gpus-per-notebook -1: 0, a part"),
        (
            8,
            None,
            "No node of the cluster has room for a notebook with 8 processors and no card: they have 4 proc",
        ),
    ],
)
def test_a_share_that_cannot_be_is_refused(cpus, gpus, expected):
    with pytest.raises(UserError, match=re.escape(expected)):
        nodes.room([SMALL], nodes.share_of([SMALL], cpus, gpus))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return faults.make_data(tmp_path_factory.mktemp("data") / "strips")


@pytest.fixture
def proof(tmp_path, data):
    """What nodes must prove, of a folder that stands for the project."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.py").write_text("x = 1\n")
    (tmp_path / "run").mkdir()
    project = dataclasses.replace(graph.DEFAULT_PROJECT, notebooks=tmp_path)
    own = shutil.copytree(data, tmp_path / "own")
    from lib.data import dataset

    made = nodes.proof_of(project, tmp_path / "run", own, dataset.fingerprint(own)["sha256"])
    assert any(path.endswith("lib/cluster/node.py") for path in made["files"])
    code = tmp_path / "lib" / "a.py"
    return made | {"files": {str(code): hashlib.sha256(code.read_bytes()).hexdigest()}}


def test_a_node_that_sees_the_same_says_nothing(proof):
    assert node.difference(proof) == ""


@pytest.mark.parametrize(
    "change, expected",
    [
        (
            lambda proof, folder: shutil.rmtree(folder / "run"),
            r"does not see the run folder \S+/run\. Keep the",
        ),
        (
            lambda proof, folder: (folder / "run" / proof["token"]).write_text("x"),
            "does not see the run folder",
        ),
        (
            lambda proof, folder: proof.update(project="/no/such"),
            "does not have the project in /no/such. Keep",
        ),
        (
            lambda proof, folder: (folder / "lib/a.py").write_text("x = 2\n"),
            r"has other code: \S+/lib/a.py differs",
        ),
        (
            lambda proof, folder: (folder / "lib/a.py").unlink(),
            r"has other code: \S+/lib/a.py is missing\. Bring",
        ),
        (
            lambda proof, folder: proof["versions"].update(keras="1.2.3"),
            rf"has other packages: keras {cache_key.versions()['keras']}, not 1.2.3. Install the same requirements",
        ),
        (
            lambda proof, folder: proof["versions"].update(other="1"),
            "has other packages: other is missing, not 1. ",
        ),
        (
            lambda proof, folder: shutil.rmtree(folder / "own"),
            r"does not see the data in \S+/own\. Keep them",
        ),
        (
            lambda proof, folder: (folder / "own/test_images/b.jpg").unlink(),
            r"sees other data in \S+/own: other images, sizes or tables",
        ),
    ],
)
def test_a_node_that_sees_something_else_says_what(change, expected, proof, tmp_path):
    change(proof, tmp_path)
    assert re.match(expected, node.difference(proof)), node.difference(proof)


def test_threads_are_set_and_no_card_is_seen_where_none_is_given(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray does
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # of the node alone
    monkeypatch.setenv("RAY_JOB_ID", "x")
    variables = {"OMP_NUM_THREADS": "4", "TF_NUM_INTRAOP_THREADS": "4"}
    there = executor.NodeExecutor(variables, "").environment()
    assert variables.items() <= there.items() and there["CUDA_VISIBLE_DEVICES"] == ""
    assert "TF_ENABLE_ONEDNN_OPTS" not in there and "RAY_JOB_ID" not in there
    assert executor.NodeExecutor(variables, "0,1").environment()["CUDA_VISIBLE_DEVICES"] == "0,1"
    sent = nodes.variables_of(2)
    assert (sent["OMP_NUM_THREADS"], sent["TF_NUM_INTRAOP_THREADS"]) == ("2", "2")
    assert sent["TF_ENABLE_ONEDNN_OPTS"] == "0" and "CUDA_VISIBLE_DEVICES" not in sent


def test_the_index_names_node_card_and_attempt(tmp_path):
    place = {"node": "mill (10.0.0.2)", "node_id": "a", "card": "1", "attempt": 2}
    tasks = {
        "10_binary": NotebookTask(Status.DONE, ran_on=place),
        "20_multilabel": NotebookTask(Status.DONE, ran_on=place | {"card": "", "attempt": 1}),
        "00_eda": NotebookTask(Status.DONE),
    }
    run_state.write(tmp_path, RunState("demo", "", {}, tasks))
    write_index(tmp_path)
    cards = re.sub(r"\s+", " ", (tmp_path / "index.html").read_text()).split('<li class="card')
    assert "<span>on mill (10.0.0.2), card 1, attempt 2</span>" in cards[1]
    assert "<span>on mill (10.0.0.2)</span>" in cards[2] and "<span>on" not in cards[3]


class TaskUnschedulableError(OSError):
    """As Ray's: the node that a task was meant for is none of the cluster any more."""


class LosesNodes:
    """What `nodes.prove` uses of Ray: nodes by number, of which some fail when they are asked, and are then off the
    list, at the second look."""

    def __init__(self, **failing):
        self.failing, self.looks = failing, 0
        self.exceptions = SimpleNamespace(
            RayError=OSError,
            RayTaskError=ValueError,
            GetTimeoutError=TimeoutError,
            TaskUnschedulableError=TaskUnschedulableError,
        )

    def nodes(self):
        self.looks += 1
        gone = () if self.looks < 3 else self.failing
        node = {"Alive": True, "Resources": {"CPU": 1.0}, "NodeManagerAddress": "10.0.0.1"}
        return [node | {"NodeID": one, "NodeManagerHostname": one} for one in "abc" if one not in gone]

    def remote(self, function):
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda number, *_: number))

    def get(self, number, timeout):
        if number in self.failing:
            raise self.failing[number]
        return number, ""


@pytest.fixture
def strategies(monkeypatch):
    """Ray's module of strategies, where there is no Ray."""
    name = "ray.util.scheduling_strategies"
    made = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda number, soft: number)
    for one in ("ray", "ray.util"):
        monkeypatch.setitem(sys.modules, one, SimpleNamespace(util=SimpleNamespace()))
    monkeypatch.setitem(sys.modules, name, made)


@pytest.mark.parametrize("error", [TaskUnschedulableError("no such node"), OSError("it died")])
def test_a_node_that_dies_while_it_is_asked_is_left_out(error, strategies, capsys):
    assert nodes.prove(LosesNodes(b=error), {}, Share(1, 0)) == ["a", "c"]
    assert capsys.readouterr().out == "cluster  the node b (10.0.0.1) is lost: the run goes on without it\n"
    with pytest.raises(UserError, match="No node of the cluster is left with 1 processor and no card"):
        nodes.prove(LosesNodes(a=error, b=error, c=error), {}, Share(1, 0))


def test_a_node_that_fails_and_is_there_is_named(strategies, monkeypatch):
    monkeypatch.setattr(nodes, "GONE_WAIT", 0)
    lasting = LosesNodes(b=OSError("no disk"))
    lasting.looks = -9
    with pytest.raises(
        UserError, match=re.escape("The node b (10.0.0.1) gives no answer: OSError, no disk.")
    ):
        nodes.prove(lasting, {}, Share(1, 0))


class LosesEveryRunner:
    """What `ClusterExecutor` uses of Ray: a runner says where it is, and then its node is gone; `room`: whether a node is
    left."""

    exceptions = SimpleNamespace(RayError=OSError, RayTaskError=ValueError)

    def __init__(self, room=True):
        self.room, self.asked = room, 0

    def nodes(self):
        return [{"Alive": self.room, "Resources": {"CPU": 1.0}}]

    def remote(self, made):
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self.runner))

    def runner(self, *_):
        self.asked += 1
        answers = {name: SimpleNamespace(remote=lambda *_, name=name: name) for name in ("where", "run")}
        return SimpleNamespace(**answers)

    def wait(self, futures, num_returns, timeout):
        return (["run", "where"] if self.room else []), []

    def get(self, future):
        if future == "run":
            raise OSError("node\nit burned")
        return {"node": f"mill {self.asked}"}

    def kill(self, actor):
        pass


def executor_on(ray, monkeypatch):
    """A ClusterExecutor on what stands for Ray, whose head answers."""
    monkeypatch.setattr(connect, "listens", lambda address, seconds: True)
    cluster = executor.Cluster(ray, "auto", "10.0.0.1:6379", Share(1, 0), 1)
    return executor.ClusterExecutor(cluster, {}, [])


def test_a_notebook_that_loses_its_node_three_times_fails(tmp_path, monkeypatch, capsys):
    place = executor_on(LosesEveryRunner(), monkeypatch)
    job = place.start(faults.SCRIPT.with_name("10_writes_value.ipynb"), tmp_path, {})
    assert [place.poll(job), place.poll(job)] == [None, None]
    result = place.poll(job)
    assert not result.ok and result.ran_on == {"node": "mill 3", "attempt": 3} and place.jobs == []
    assert result.error.startswith(
        "It lost its node 3 times, at last mill 3: it burned. Mend it, then go on with"
    )
    assert capsys.readouterr().out.count("it goes on elsewhere from its last finished epoch, attempt") == 2


def test_a_notebook_for_which_no_node_is_left_fails_after_a_while(tmp_path, monkeypatch):
    place = executor_on(LosesEveryRunner(room=False), monkeypatch)
    job = place.start(faults.SCRIPT.with_name("10_writes_value.ipynb"), tmp_path, {})
    assert place.poll(job) is None  # another one may come
    monkeypatch.setattr(executor, "ROOM_PAUSE", 0)
    monkeypatch.setattr(executor, "LONGEST_WAIT", 0)
    job.next_room = 0
    result = place.poll(job)
    assert result.error == (
        "No node of the cluster is left with 1 processor and no card. Start one, then go on with --resume."
    )


def test_every_notebook_that_waits_looks_for_room_itself(tmp_path, monkeypatch):
    """The first one's look would else stand for all, and the second would have seen no room for a minute."""
    place = executor_on(LosesEveryRunner(), monkeypatch)
    place.ray.wait = lambda futures, num_returns, timeout: ([], [])
    script = faults.SCRIPT.with_name("10_writes_value.ipynb")
    jobs = [place.start(script, tmp_path, {}) for _ in range(2)]
    for job in jobs:
        job.seen_room = 0
    assert [place.poll(job) for job in jobs] == [None, None] and min(job.seen_room for job in jobs) > 0
    place.ray.room = False
    assert [place.poll(job) for job in jobs] == [None, None]  # for less than a minute


@pytest.mark.parametrize("address", ["127.0.0.1..:6379", f"{64 * 'a'}:6379"])
def test_an_address_that_can_be_no_hosts_is_refused(address):
    with pytest.raises(UserError, match="no Ray cluster answers at"):
        connect.check_answers(address, address)


# A cluster of this machine alone, whose nodes are processes: a head without processors, and two nodes.


def patient(action):
    """What an action returns, at its second try where Ray's half a minute was too short for a busy machine."""
    try:
        return action()
    except Exception as error:
        assert "timed out" in str(error)
        return action()


@pytest.fixture(scope="module")
def cluster():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("no Ray of requirements-cluster.txt")
    from ray.cluster_utils import Cluster

    settings = {"object_store_memory": 80_000_000, "wait": False}
    made = Cluster()
    made.more = lambda **more: patient(lambda: made.add_node(**settings | {"num_cpus": 1} | more))
    made.more(num_cpus=0, include_dashboard=False)
    made.more()
    made.more()
    made.wait_for_nodes(120)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory, data):
    """What an undisturbed run leaves that knows no cluster."""
    return faults.undisturbed(tmp_path_factory.mktemp("whole"), data)


def beginner(tmp_path, data, cluster, *arguments):
    """begin(resume) starts the small project's command on the cluster, as run a."""
    where = ("--cluster", cluster.address, "--cpus-per-notebook", "1")
    script = [str(faults.SCRIPT), str(tmp_path)]
    return kills.beginner(script, "a", *faults.CHOICE, "--data", str(data), *where, *arguments)


def finish(process):
    """(exit code, what it printed)."""
    said, _ = process.communicate(timeout=240)
    return process.returncode, said


def kill_node(pid):
    """Kill the node that a process runs on, as if its machine had lost its power."""
    raylet = next(one for one in psutil.Process(pid).parents() if one.name() == "raylet")
    for one in [raylet, *raylet.children(recursive=True)]:
        one.kill()


def waiting(run_dir, process):
    """Process numbers of a notebook that waits, its parent's and its helper's; a failure with what the command
    said where it ends or does not get there."""
    path = run_dir / "waiting"
    try:
        wait_for(lambda: (path.is_file() and path.read_text()) or process.poll() is not None, 120)
        return [int(word) for word in path.read_text().split()]
    except (AssertionError, OSError):
        process.kill()
        raise AssertionError(process.communicate()[0]) from None


def are_gone(pids):
    wait_for(lambda: not alive(pids), WAY_OUT)
    return True


@pytest.mark.slow
def test_a_run_on_two_nodes_ends_as_without_a_cluster(tmp_path, data, cluster, expected):
    code, said = finish(beginner(tmp_path, data, cluster)(False))
    assert code == 0 and "Traceback" not in said, said
    assert re.match(
        r"cluster  \S+: 2 nodes with room for 2 notebooks at a time, each with 1 processor and no", said
    )
    run_dir = tmp_path / "runs" / "a"
    assert kills.results(run_dir) == expected
    state = run_state.read(run_dir)
    places = [task.ran_on for task in state.notebooks.values() if task.status.is_finished]
    assert len({place["node_id"] for place in places}) == 2 == len(places)  # side by side
    assert {place["attempt"] for place in places} == {1} and state.cluster == cluster.address
    assert state.environment["OMP_NUM_THREADS"] == state.environment["TF_NUM_INTRAOP_THREADS"] == "1"
    assert not list(run_dir.glob(".*.partial"))  # no token is left


@pytest.mark.slow
def test_a_node_with_other_packages_is_named_before_the_first_cell(tmp_path, data, cluster):
    metadata = tmp_path / "other" / "numpy-9.9.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9\n")
    other = cluster.more(env_vars={"PYTHONPATH": str(tmp_path / "other")}, wait=True)
    code, said = finish(beginner(tmp_path, data, cluster)(False))
    cluster.remove_node(other, allow_graceful=True)
    assert code == 2 and "started" not in said
    line = said.strip().splitlines()[-1]
    assert re.match(
        r"error: The node \S+ \(\S+\) has other packages: numpy 9\.9, not \d\S+\. Install", line
    ), said


@pytest.mark.slow
def test_a_notebook_whose_node_dies_goes_on_elsewhere(tmp_path, data, cluster, expected):
    run_dir = tmp_path / "runs" / "a"
    process = beginner(tmp_path, data, cluster, "-p", "30.how=wait once")(False)
    kill_node(waiting(run_dir, process)[0])
    begun = time.monotonic()
    code, said = finish(process)
    assert code == 0 and "Traceback" not in said, said
    lost = r"30_misbehaves    lost its node, \S+ \(\S+\): it goes on elsewhere from its last finished epoch, attempt 2 of 3"
    assert re.search(lost, said) and said.count("error") == 0 and time.monotonic() - begun < 60
    assert kills.results(run_dir) == expected
    assert run_state.read(run_dir).notebooks["30_misbehaves"].ran_on["attempt"] == 2
    assert not kills.left_behind(run_dir)
    cluster.more(wait=True)


@pytest.mark.slow
def test_what_a_killed_command_left_running_ends_and_resume_goes_on(tmp_path, data, cluster, expected):
    run_dir = tmp_path / "runs" / "a"
    begin = beginner(tmp_path, data, cluster, "-p", "30.how=wait once")
    process = begin(False)
    pids = waiting(run_dir, process)
    wait_for(lambda: "10_writes_value" in run_state.read(run_dir).finished_notebooks())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert are_gone(pids)
    before = kills.finished(run_dir)
    code, said = finish(begin(True))
    assert code == 0 and "10_writes_value  cached" in said, said
    assert kills.results(run_dir) == expected and kills.finished(run_dir).items() >= before.items()


@pytest.mark.slow
def test_a_head_that_is_gone_is_said_and_resume_goes_on_without(tmp_path, data, cluster, expected):
    """The last one: the cluster is gone after it."""
    run_dir = tmp_path / "runs" / "a"
    process = beginner(tmp_path, data, cluster, "-p", "30.how=wait once")(False)
    pids = waiting(run_dir, process)
    cluster.head_node.kill_gcs_server()
    code, said = finish(process)
    assert code == 2 and "Traceback" not in said, said
    assert re.search(
        r"error: The head node of the cluster, \S+, does not answer any more, .* with --resume", said
    )
    assert (
        "stopped. Go on with" in said
        and json.loads((run_dir / "run.json").read_text())["status"] == "stopped"
    )
    assert are_gone(pids)
    arguments = (*faults.CHOICE, "--data", str(data), "-p", "30.how=wait once")
    code, said = finish(kills.beginner([str(faults.SCRIPT), str(tmp_path)], "a", *arguments)(True))
    assert code == 0 and kills.results(run_dir) == expected, said


def test_options_of_a_cluster_want_one(tmp_path, capsys):
    from test_pipeline import small_project

    assert small_project.call(tmp_path, "--gpus-per-notebook", "0.5") == 2
    assert "--gpus-per-notebook is for --cluster. Name one, or leave it out." in capsys.readouterr().err
    assert os.path.isdir(PROJECT) and not (tmp_path / "runs").exists()
