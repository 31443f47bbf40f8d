import numpy as np
import pytest

from lib import decision
from lib.decision import Evidence

SIMPLE = {"strategy": "both filters", "binary_threshold": 0.5, "label_thresholds": [0.5], "pixel_thresholds": [0.5], "minimum_areas": [10]}


def evidence(binary, label, true_area, area, intersection):
    """One class and one pixel threshold."""
    count = len(binary)
    return Evidence(
        np.array(binary), np.array(label)[:, None], np.array(true_area)[:, None], np.array(area).reshape(count, 1, 1),
        np.array(intersection).reshape(count, 1, 1), np.arange(count), (0.5,),
    )  # fmt: skip


CASES = evidence(
    binary=[0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1],
    label=[0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9],
    true_area=[100, 100, 100, 100, 0, 100, 0],
    area=[100, 100, 100, 5, 50, 60, 50],
    intersection=[100, 100, 100, 5, 0, 40, 0],
)


def test_pair_scores_follow_the_cascade():
    assert decision.pair_scores(CASES, SIMPLE)[:, 0] == pytest.approx([1, 0, 0, 0, 0, 0.5, 1])


def test_lost_points_name_the_stage_and_add_up():
    parts = {name: float(values.sum()) for name, values in decision.lost_points(CASES, SIMPLE).items()}
    assert parts == pytest.approx(
        {"filtered out": 1 / 7, "class missed": 1 / 7, "no mask": 1 / 7, "imperfect mask": 0.5 / 7, "false alarm": 1 / 7}
    )
    assert sum(parts.values()) == pytest.approx(1 - decision.pair_scores(CASES, SIMPLE).mean(), abs=1e-12)


def test_choose_finds_the_decision_that_a_full_search_finds():
    random = np.random.default_rng(3)
    count, there = 40, random.random((40, 2)) < 0.4
    area = random.integers(0, 3000, (count, 2, 2))
    some = Evidence(
        random.random(count), random.random((count, 2)), there * 1500, area,
        np.minimum(area, there[:, :, None] * 1500) // 2, np.arange(count), (0.3, 0.6),
    )  # fmt: skip
    best = 0.0
    for gate in decision.GATES:
        total = 0.0
        for k in range(2):
            one = Evidence(some.binary, some.label[:, [k]], some.true_area[:, [k]], some.area[:, [k]], some.intersection[:, [k]],
                           some.group, (0.3, 0.6))  # fmt: skip
            total += max(
                decision.pair_scores(one, {**SIMPLE, "binary_threshold": gate, "label_thresholds": [label],
                                           "pixel_thresholds": [pixel], "minimum_areas": [least]}).mean()
                for label in decision.GATES for pixel in (0.3, 0.6) for least in (*decision.MINIMUM_AREAS, 10**9)
            )  # fmt: skip
        best = max(best, total / 2)
    assert decision.pair_scores(some, decision.choose(some)).mean() == pytest.approx(best)


def test_noise_fools_the_naive_figure_and_not_the_honest_one():
    """Probabilities without information: thresholds tuned on the same strips seem to beat predicting nothing."""
    gains, honest_gains = [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        there = random.random((60, 2)) < 0.5
        area = np.full((60, 2, 1), 2000)
        noise = Evidence(random.random(60), random.random((60, 2)), there * 2000, area, (there * 2000)[:, :, None], np.arange(60), (0.5,))
        expected = 0.5  # whatever is decided, a pair is right with probability 1/2
        gains.append(decision.pair_scores(noise, decision.choose(noise)).mean() - expected)
        honest_gains.append(decision.cross_fit(noise, folds=5, seed=seed).mean() - expected)
    assert np.mean(gains) > 0.05
    assert abs(np.mean(honest_gains)) < 0.03


def test_folds_keep_groups_together():
    group = np.array([0, 0, 1, 2, 2, 2, 3, 4])
    fold = decision.folds_of(group, 3)
    assert all(len(set(fold[group == name])) == 1 for name in set(group))
    assert set(fold) == {0, 1, 2}


def test_interval_of_a_constant_is_the_constant_and_groups_widen_it():
    assert decision.bootstrap_interval(np.full(20, 0.7), np.arange(20)) == pytest.approx((0.7, 0.7))
    values = np.repeat([0.0, 1.0] * 5, 10)
    alone, grouped = (decision.bootstrap_interval(values, group) for group in (np.arange(100), np.repeat(np.arange(10), 10)))
    assert grouped[1] - grouped[0] > 2 * (alone[1] - alone[0])


def test_evidence_survives_the_disk(tmp_path):
    CASES.save(tmp_path / "evidence.npz")
    again = Evidence.load(tmp_path / "evidence.npz")
    assert again.pixel_thresholds == (0.5,)
    assert np.array_equal(again.area, CASES.area)
