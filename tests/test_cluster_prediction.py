"""Predictions on Ray clusters of several nodes, on networks whose answers are known: the bytes of the plain command,
whoever is killed."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import cv2
import known_run
import numpy as np
import pytest
import store
import test_predict
from test_predict import save

from lib import predict
from lib.cluster import connect, node, prediction, predictor
from lib.cluster.shares import Share, share_of
from lib.data import storage
from lib.data.listing import ImageFile
from lib.errors import UserError
from lib.inference.chunks import Chunk
from lib.inference.pace import Pace
from lib.paths import PROJECT
from lib.pipeline import cache_key

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="no Ray of requirements-cluster.txt"
)
TWO, CARDS = [{"CPU": 4.0}, {"CPU": 2.0}], [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}]


@pytest.mark.parametrize(
    "resources, stated, expected",
    [
        (TWO, (None, None, None), Share(1, 4, 0.0)),
        (TWO, (2, None, None), Share(2, 2, 0.0)),
        (TWO, (3, None, None), Share(3, 2, 0.0)),
        (TWO, (5, None, None), Share(5, 1, 0.0)),
        (TWO, (None, 1, None), Share(6, 1, 0.0)),
        ([{"CPU": 2.0}, {}], (None, None, None), Share(1, 2, 0.0)),
        (CARDS, (None, None, None), Share(2, 4, 1.0)),
        (CARDS, (None, 2, 0.5), Share(4, 2, 0.5)),
        (CARDS, (None, 4, 0), Share(3, 4, 0.0)),
    ],
)
def test_how_a_cluster_is_shared_out(resources, stated, expected):
    assert share_of(resources, *stated) == expected


@pytest.mark.parametrize(
    "resources, stated, asked",
    [
        (
            TWO,
            (7, None, None),
            "no room for 7 actors with 1 processor and 0 cards each: its nodes have 4 processors",
        ),
        (TWO, (None, 8, None), "no room for 1 actor with 8 processors"),
        (TWO, (None, None, 1.0), "and 1 cards each"),
        ([], (None, None, None), "its nodes have none"),
    ],
)
def test_where_there_is_no_room_a_sentence_says_so(resources, stated, asked):
    with pytest.raises(UserError, match=asked):
        share_of(resources, *stated)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--actors", "2"], "--actors is for a cluster. Add --cluster local"),
        (["--cluster", "local", "--actors", "0"], "--actors 0: it is a number from 1 up"),
        (["--cluster", "local", "--gpus-per-actor", "-1"], "--gpus-per-actor -1: it is a number from 0 up"),
    ],
)
def test_options_that_mean_nothing_are_refused(words, sentence, capsys):
    assert predict.main(["--images", ".", "--out", "nowhere", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_node_that_sees_something_else_says_what(tmp_path):
    """On a node without the project, the folder of results, the run or the images."""
    code = "Predictor({'project': '/nowhere'}, other_code).open()"
    lines = f"exec(open({node.__file__!r}).read())\nexec(open({predictor.__file__!r}).read())\nprint(*{code})"
    done = subprocess.run([sys.executable, "-I", "-c", lines], capture_output=True, text=True, cwd=tmp_path)
    assert "does not have the project in /nowhere. Keep it where all nodes see it" in done.stdout
    (tmp_path / "model.json").write_text("{}")
    setting = {
        "project": str(PROJECT),
        "files": {node.__file__: "0" * 64},
        "versions": cache_key.versions(),
        "cards": {str(tmp_path / "model.json"): b"{}"},
        "hidden": tmp_path / "hidden",
        "token": prediction.TOKEN,
        "text": b"1",
    }

    def said():
        return predictor.Predictor(setting, node.other_code).open()[1]

    assert f"has other code: {node.__file__} differs" in said()
    setting["files"] = {}
    setting["versions"] = setting["versions"] | {"keras": "2.0"}
    assert re.search(r"has other packages: keras [\d.]+, not 2.0. Install the same", said())
    setting["versions"] = cache_key.versions()
    assert f"does not see {tmp_path / 'hidden'}. Name an --out" in said()
    setting["cards"] = {str(tmp_path / "model.json"): b"of another training"}
    assert "model.json of the run. Keep the run where all" in said()
    image = save(tmp_path / "a.png", np.zeros((16, 40), np.uint8))
    for size, path in ((image.stat().st_size + 1, image), (9, tmp_path / "b.png")):
        chunk = Chunk(0, [ImageFile("a.png", path)], ["a"], [["a.png", size, 0]])
        assert f"does not see the image {path} as the command does" in predictor.Predictor(
            setting, node.other_code
        ).predict(chunk)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A cluster of three nodes with a processor each, beside a head that computes nothing; a run, images, what the
    plain command makes of them, and a bucket with the images, too."""
    from lib.cluster import connect

    os.environ.update(connect.QUIET)
    from ray.cluster_utils import Cluster

    base = tmp_path_factory.mktemp("cluster")
    rng = np.random.default_rng(3)
    for index in range(200):
        noise = cv2.GaussianBlur(rng.random((16, 300)), (5, 5), 0)
        save(
            base / "in" / str(index % 3) / f"{index}.png",
            np.clip((noise - 0.35) * 700, 0, 255).astype(np.uint8),
        )
    (base / "in" / "1" / "broken.png").write_bytes(b"no image")
    words = ["--run", str(known_run.make(base / "run")), "--explore", "0"]
    with store.served() as bucket:
        store.upload(base / "in", f"{bucket}/in")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        workers = [cluster.add_node(num_cpus=1) for _ in range(3)]
        plain = [*words, "--images", str(base / "in"), "--out", str(base / "plain")]
        assert predict.main(plain) == 1
        yield SimpleNamespace(
            cluster=cluster,
            workers=workers,
            words=words,
            base=base,
            bucket=bucket,
            expected=test_predict.contents(base / "plain"),
        )
        cluster.shutdown()


class LosesTheLast:
    """What a Crew uses of Ray, with two processors: an actor begins when one is free, and holds it until it is
    killed. The first actor that predicts the chunk 2 is lost, and its processor too, once all others have ended."""

    def __init__(self):
        self.processors, self.actors, self.holding, self.looks = 2, [], [], 0
        self.exceptions = SimpleNamespace(RayError=OSError, RayTaskError=ValueError)

    def get_runtime_context(self):
        return SimpleNamespace(gcs_address="127.0.0.1:1")

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": float(self.processors)}}]

    def remote(self, made):
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=self.actor))

    def actor(self, setting, other_code):
        number = len(self.actors)
        self.actors.append(number)
        return Actor(
            number,
            SimpleNamespace(remote=lambda: (number, None)),
            SimpleNamespace(remote=lambda chunk: (number, chunk.index)),
        )

    def wait(self, futures, num_returns, timeout):
        self.looks += 1
        assert self.looks < 50, "it waits for ever"
        for number, _ in futures:
            if number not in self.holding and len(self.holding) < self.processors:
                self.holding.append(number)
        ready = [one for one in futures if one[0] in self.holding]
        return sorted(ready, key=lambda one: one[1] == 2)[:1], []

    def get(self, future):
        number, index = future
        if index == 2 and self.processors == 2:
            self.processors = 1
            self.holding.remove(number)
            raise OSError("its node is gone")
        return ("a node", "") if index is None else ""

    def kill(self, actor):
        if actor.number in self.holding:
            self.holding.remove(actor.number)


class Actor:
    def __init__(self, number, opening, predicting):
        self.number, self.open, self.predict = number, opening, predicting


def test_a_chunk_that_comes_back_at_the_end_finds_room_for_another_actor(monkeypatch):
    monkeypatch.setattr(connect, "listens", lambda address, seconds: True)
    said, ray = [], LosesTheLast()
    folder = SimpleNamespace(
        pace=lambda chunks: Pace(3),
        chunk=lambda index: SimpleNamespace(index=index, image_files=[SimpleNamespace(name="a.png")]),
    )
    crew = prediction.Crew(ray, Share(2, 1, 0.0), {}, folder, said.append)
    crew.work([0, 1, 2])
    assert said[0] == "an actor on a node is lost: its 1 images go elsewhere" and len(ray.actors) == 3
    assert said[-1].startswith("3 of 3 images, ")
    crew.end()
    assert ray.holding == []


def words_on(nodes, out, actors, source=None):
    source = source or nodes.base / "in"
    more = ["--cluster", nodes.cluster.address, "--actors", str(actors), "--cpus-per-actor", "1"]
    return [*nodes.words, "--images", str(source), "--out", str(out), *more]


def wait_for(condition, seconds=240.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, 3])
def test_the_bytes_are_those_of_the_plain_command(nodes, tmp_path, capsys, actors):
    assert predict.main(words_on(nodes, tmp_path / "out", actors)) == 1
    assert test_predict.contents(tmp_path / "out") == nodes.expected
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    said = capsys.readouterr().out
    assert f"{actors} actor" in said and "201 of 201 images, " in said


@needs_ray
@pytest.mark.slow
def test_a_driver_that_is_killed_is_gone_on_with_also_in_a_store(nodes):
    address = f"{nodes.bucket}/killed"
    words = words_on(nodes, address, 2, f"{nodes.bucket}/in")
    command = subprocess.Popen(
        [sys.executable, "-m", "lib.predict", *words], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    parts = f"{nodes.bucket}/.killed.unfinished/parts"
    wait_for(lambda: len(storage.below(parts)) >= 2)
    command.send_signal(signal.SIGKILL)
    command.communicate()
    count = len(storage.below(parts))
    assert 2 <= count < 7 and not storage.below(f"{address}/predict.json")
    written = storage.below(f"{parts}/000000.json")
    assert predict.main(words) == 1
    stored = store.contents(address)
    assert set(stored) == set(nodes.expected)
    same = [
        name for name in stored if name not in ("predict.json", "index.html")
    ]  # which name the store's versions
    assert [name for name in same if stored[name] != nodes.expected[name] and "images.csv" not in name] == []
    assert stored["images.csv"].count(b"\n") == 202 and stored["images.csv"].count(b"unread") == 1
    assert written and not storage.below(f"{nodes.bucket}/.killed.unfinished")


@needs_ray
@pytest.mark.slow
def test_the_chunk_of_a_node_that_is_killed_goes_elsewhere(nodes, tmp_path, capsys):
    """The last test: a node less is there for others."""
    parts = tmp_path / ".out.unfinished" / "parts"

    def kill():
        wait_for(lambda: parts.is_dir() and len(list(parts.glob("*.json"))) >= 2)
        nodes.cluster.remove_node(nodes.workers[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    assert predict.main(words_on(nodes, tmp_path / "out", 3)) == 1
    killer.join()
    assert "is lost: its 32 images go elsewhere" in capsys.readouterr().out
    assert test_predict.contents(tmp_path / "out") == nodes.expected
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
