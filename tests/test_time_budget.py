"""The cascade on a test set that nobody has seen: too slow, too large for the memory, with broken strips. The
clock is played."""

import cv2
import numpy as np
import pytest

from lib.errors import UserError
from lib.inference import cascade, time_budget
from lib.inference.postprocess import PostprocessConfig
from lib.inference.predictor import Network
from lib.models import saving

SHAPE = (64, 256)
COUNT = 300
THRESHOLDS = PostprocessConfig(
    "both filters", 0.5, (0.5, 0.5), (0.5, 0.5), smallest_components=(0, 0), minimum_areas=(1, 1)
)
SECONDS = {"binary": 0.02, "multilabel": 0.03, "seg_class1": 0.2, "seg_class2": 0.3}  # an image, a pass


class Clock:
    """Time that passes only where a network works."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def strips(tmp_path_factory):
    """COUNT strips, two thirds with a bright block; those numbered 3n + 1 have it on the left (class 1), 3n +
    2 on the right."""
    folder = tmp_path_factory.mktemp("strips")
    for kind, column in enumerate((None, 20, 180)):
        image = np.full(SHAPE, 60, np.uint8)
        if column:
            image[10:30, column : column + 20] = 250
        cv2.imwrite(str(folder / f"kind{kind}.png"), image)
    names = [f"{number:03d}.png" for number in range(COUNT)]
    order = np.random.default_rng(0).permutation(COUNT) % 3
    for name, kind in zip(names, order, strict=True):
        (folder / name).write_bytes((folder / f"kind{kind}.png").read_bytes())
    return [str(folder / name) for name in names], order


@pytest.fixture
def slowed(tmp_path, monkeypatch):
    """A function that opens the cascade with networks that are exact and take SECONDS on the clock given."""

    def open_with(clock, members=1, largest=None, augmentations=("none", "vertical", "horizontal", "both")):
        def predictor(folder, engine):
            name = folder.name.split(".")[0]

            def predict(images):
                if largest and len(images) > largest:
                    raise MemoryError("out of memory")
                clock.now += SECONDS[name] * len(images)
                bright = (images > 200).astype(np.float32)
                if name.startswith("seg"):
                    return bright
                left, right = (half.any(axis=(1, 2, 3)) for half in (bright[:, :, :128], bright[:, :, 128:]))
                return np.stack([left | right] if name == "binary" else [left | right] * 2, axis=1).astype(
                    np.float32
                )

            return predict, {"input": list(SHAPE)}

        monkeypatch.setattr(saving, "predictor", predictor)
        for name in SECONDS:
            for number in range(2, members + 1):
                (tmp_path / f"{name}.{number}").mkdir(exist_ok=True)
        return {name: Network(tmp_path / name, augmentations, 8, clock) for name in SECONDS}

    return open_with


def play(networks, paths, clock, minutes):
    """(what was predicted, the budget) of a run with so many minutes."""
    limit = time_budget.Budget(minutes, clock)
    predicted, _, _ = cascade.predict(networks, paths, THRESHOLDS, SHAPE, chunk=64, budget=limit)
    return predicted, limit


def test_a_forecast_counts_what_is_done_beside_the_networks():
    """Ten of a hundred strips took 100 seconds, of which the one network had 40: at that pace all take
    1,000."""

    class Used:
        augmentations, members, seconds = ("none",), (None,), 40.0

        def use(self, augmentations, members):
            pass

        def seconds_per_image(self, done):
            return self.seconds / done

    clock = Clock()
    limit = time_budget.Budget(60, clock)
    clock.now = 100.0
    limit.plan({"binary": Used()}, 10, 100, 0.0)
    assert limit.forecasts == [(10, pytest.approx(1000))]
    later = time_budget.Budget(60, clock)  # the same, begun 7 seconds after the budget
    clock.now += 107.0
    later.plan({"binary": Used()}, 10, 100, 7.0)
    assert later.forecasts == [(10, pytest.approx(1007))]


def test_the_forecast_is_within_a_fifth_of_the_truth(slowed, strips):
    clock = Clock()
    predicted, limit = play(slowed(clock), strips[0], clock, 0)
    assert [row != ["", ""] for row in predicted] == (strips[1] > 0).tolist()
    assert [done for done, _ in limit.forecasts] == [32, 96, 160, 224, 288]
    for _, seconds in limit.forecasts:
        assert seconds == pytest.approx(clock.now, rel=0.2)
    assert limit.report() == []


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_strips_need_no_forecast(slowed, strips, count):
    clock, said = Clock(), []
    limit = time_budget.Budget(60, clock)
    predicted, _, _ = cascade.predict(
        slowed(clock), strips[0][:count], THRESHOLDS, SHAPE, progress=said.append, budget=limit
    )
    assert [row != ["", ""] for row in predicted] == (strips[1][:count] > 0).tolist()
    assert limit.forecasts == limit.report() == []
    assert len(said) == min(count, 1)


def test_a_twentieth_of_the_time_is_kept_for_writing():
    """Of ten minutes, 570 seconds are for the prediction."""
    clock = Clock()
    limit = time_budget.Budget(10, clock)
    clock.now = 560.0
    limit.check(9.9)
    with pytest.raises(time_budget.OutOfTime):
        limit.check(10.1)
    clock.now = 570.1
    with pytest.raises(time_budget.OutOfTime):
        limit.check()
    clock.now = 10.0**9
    time_budget.Budget(0, clock).check(10.0**9)


ORDER = ["segmenters' augmentation 'both'", "segmenters' augmentation 'horizontal'", "segmenters' augmentation 'vertical'",
         "segmenters' ensemble member 2", "classifiers' augmentation 'both'", "classifiers' augmentation 'horizontal'",
         "classifiers' augmentation 'vertical'", "classifiers' ensemble member 2"]  # fmt: skip


@pytest.mark.parametrize("share", [0.8, 0.5, 0.35])
def test_what_is_left_out_follows_the_order_and_the_time_is_kept(slowed, strips, share):
    clock = Clock()
    complete, whole = play(slowed(clock, members=2), strips[0], clock, 0)
    needed, clock = whole.elapsed(), Clock()
    predicted, limit = play(slowed(clock, members=2), strips[0], clock, share * needed / 60)
    assert clock.now <= share * needed
    assert list(limit.without) == ORDER[: len(limit.without)]
    assert limit.without
    assert limit.unfinished == 0
    assert predicted == complete  # exact networks need no augmentation
    steps = len(limit.without)
    _, seconds = limit.forecasts[-1]
    assert seconds == pytest.approx(clock.now, rel=0.2)
    assert all(words in " ".join(limit.report()) for words in ORDER[:steps])


def test_where_the_time_runs_out_the_rest_is_empty(slowed, strips):
    clock = Clock()
    predicted, limit = play(slowed(clock), strips[0], clock, 2.6)
    assert clock.now < 156
    assert len(predicted) == COUNT
    reached = COUNT - limit.unfinished
    assert 0 < reached < COUNT
    assert [row != ["", ""] for row in predicted[:reached]] == (strips[1][:reached] > 0).tolist()
    assert all(row == ["", ""] for row in predicted[reached + 64 :])
    assert f"{limit.unfinished} strips were not reached" in " ".join(limit.report())
    assert list(limit.without) == [step for step in ORDER if "member" not in step]


@pytest.mark.parametrize("largest", [1, 3, 7])
def test_a_batch_that_does_not_fit_is_halved(slowed, strips, largest):
    clock = Clock()
    complete, _ = play(slowed(clock), strips[0][:40], clock, 0)
    networks = slowed(clock, largest=largest)
    predicted, _ = play(networks, strips[0][:40], clock, 0)
    assert predicted == complete
    assert all(network.batch_size <= largest for network in networks.values())


def test_not_even_one_image_fits(slowed, strips):
    networks, broken = slowed(Clock(), largest=-1), {}
    with pytest.raises(UserError, match="Not even one image"):
        cascade.predict(networks, strips[0][:3], THRESHOLDS, SHAPE)
    predicted, _, _ = cascade.predict(networks, strips[0][:3], THRESHOLDS, SHAPE, broken=broken)
    assert predicted == [["", ""]] * 3
    assert set(broken) == set(strips[0][:3])


def test_broken_strips_have_empty_rows_and_a_reason(slowed, strips, tmp_path):
    paths = strips[0][:30]
    complete, _, _ = cascade.predict(slowed(Clock()), paths, THRESHOLDS, SHAPE)
    cut, small = tmp_path / "cut.png", tmp_path / "small.png"
    with open(paths[0], "rb") as file:
        cut.write_bytes(file.read()[:-40])
    cv2.imwrite(str(small), np.full((64, 200), 250, np.uint8))
    odd, broken = [str(cut), str(tmp_path / "gone.png"), str(small)], {}
    predicted, binary, label = cascade.predict(
        slowed(Clock()), [odd[0], *paths, *odd[1:]], THRESHOLDS, SHAPE, broken=broken
    )
    assert predicted == [["", ""], *complete, ["", ""], ["", ""]]
    assert np.isnan(binary[[0, -2, -1]]).all() and np.isnan(label[[0, -2, -1]]).all()
    assert list(broken) == odd
    for path, words in zip(odd, ("is cut off", "does not exist", "64 x 200 pixels"), strict=True):
        assert words in broken[path]
    with pytest.raises(UserError, match="is cut off"):
        cascade.predict(slowed(Clock()), odd, THRESHOLDS, SHAPE)


def test_the_members_of_an_ensemble_are_averaged(tmp_path, monkeypatch):
    answers = {"binary": 0.2, "binary.2": 0.4, "binary.3": 0.9}
    for name in answers:
        (tmp_path / name).mkdir()

    def predictor(folder, engine):
        return lambda images: np.full((len(images), 1), answers[folder.name], np.float32), {"input": [8, 8]}

    monkeypatch.setattr(saving, "predictor", predictor)
    network = Network(tmp_path / "binary")
    images = np.zeros((2, 8, 8, 1), np.uint8)
    assert network.answer(images) == pytest.approx(0.5)
    network.use(1, 2)
    assert network.answer(images) == pytest.approx(0.3)
