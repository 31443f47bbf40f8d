from dataclasses import replace

import numpy as np
import pytest

from lib.errors import UserError
from lib.evaluation import error_analysis, predictions, statistics, threshold_search
from lib.evaluation.predictions import CascadePredictions
from lib.inference import postprocess
from lib.inference.postprocess import PostprocessConfig

SIMPLE = PostprocessConfig("both filters", 0.5, (0.5,), (0.5,), smallest_components=(0,), minimum_areas=(10,))


def predictions_of(defect, label, true_area, area, intersection):
    """One class, one pixel threshold, and no component too small."""
    count = len(defect)
    return CascadePredictions(
        np.array(defect),
        np.array(label)[:, None],
        np.array(true_area)[:, None],
        np.array(area).reshape(count, 1, 1, 1),
        np.array(intersection).reshape(count, 1, 1, 1),
        np.arange(count),
        (0.5,),
        (0,),
    )


CASES = predictions_of(
    defect=[0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1],
    label=[0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9],
    true_area=[100, 100, 100, 100, 0, 100, 0],
    area=[100, 100, 100, 5, 50, 60, 50],
    intersection=[100, 100, 100, 5, 0, 40, 0],
)


def test_pair_scores_follow_the_cascade():
    assert predictions.pair_scores(CASES, SIMPLE)[:, 0] == pytest.approx([1, 0, 0, 0, 0, 0.5, 1])


def test_lost_points_name_the_stage_and_add_up():
    parts = {name: float(values.sum()) for name, values in error_analysis.lost_points(CASES, SIMPLE).items()}
    assert parts == pytest.approx(
        {
            "filtered out": 1 / 7,
            "class missed": 1 / 7,
            "no mask": 1 / 7,
            "imperfect mask": 0.5 / 7,
            "false alarm": 1 / 7,
        }
    )
    assert sum(parts.values()) == pytest.approx(1 - predictions.pair_scores(CASES, SIMPLE).mean(), abs=1e-12)


def test_choose_finds_the_thresholds_that_a_full_search_finds():
    rng = np.random.default_rng(3)
    count, has_defect = 40, rng.random((40, 2)) < 0.4
    area = rng.integers(0, 3000, (count, 2, 2, 2))
    some = CascadePredictions(
        rng.random(count),
        rng.random((count, 2)),
        has_defect * 1500,
        area,
        np.minimum(area, has_defect[:, :, None, None] * 1500) // 2,
        np.arange(count),
        (0.3, 0.6),
        (0, 90),
    )
    best = 0.0
    for binary in threshold_search.CANDIDATE_THRESHOLDS:
        total = 0.0
        for k in range(2):
            one = CascadePredictions(
                some.defect_probability,
                some.class_probability[:, [k]],
                some.true_area[:, [k]],
                some.area[:, [k]],
                some.intersection[:, [k]],
                some.group,
                (0.3, 0.6),
                (0, 90),
            )
            total += max(
                predictions.pair_scores(
                    one, PostprocessConfig("both filters", binary, (label,), (pixel,), (size,), (least,))
                ).mean()
                for label in threshold_search.CANDIDATE_THRESHOLDS
                for pixel in (0.3, 0.6)
                for size in (0, 90)
                for least in (*threshold_search.MINIMUM_AREAS, 10**9)
            )
        best = max(best, total / 2)
    assert predictions.pair_scores(
        some, threshold_search.choose_thresholds(some, smooth=False)
    ).mean() == pytest.approx(best)
    assert predictions.pair_scores(some, threshold_search.choose_thresholds(some)).mean() <= best


def test_noise_fools_the_in_sample_score_and_not_the_cross_fitted_one():
    """Probabilities without information: thresholds tuned on the same strips seem to beat predicting
    nothing."""
    gains, cross_fitted_gains = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        has_defect = rng.random((60, 2)) < 0.5
        area = np.full((60, 2, 1, 1), 2000)
        noise = CascadePredictions(
            rng.random(60),
            rng.random((60, 2)),
            has_defect * 2000,
            area,
            (has_defect * 2000)[:, :, None, None],
            np.arange(60),
            (0.5,),
            (0,),
        )
        expected = 0.5  # whatever is decided, a pair is right with probability 1/2
        gains.append(
            predictions.pair_scores(noise, threshold_search.choose_thresholds(noise)).mean() - expected
        )
        cross_fitted_gains.append(threshold_search.cross_fit(noise, cv_folds=5, seed=seed).mean() - expected)
    assert np.mean(gains) > 0.05
    assert abs(np.mean(cross_fitted_gains)) < 0.03


def test_folds_keep_groups_together():
    group = np.array([0, 0, 1, 2, 2, 2, 3, 4])
    fold = statistics.assign_folds(group, 3)
    assert all(len(set(fold[group == name])) == 1 for name in set(group))
    assert set(fold) == {0, 1, 2}


def test_one_fold_alone_cannot_be_cross_fitted():
    with pytest.raises(UserError, match="1 is too few"):
        threshold_search.fold_thresholds(CASES, cv_folds=1)


def test_a_strategy_that_is_none_is_named():
    with pytest.raises(UserError, match=r"no strategy 'both'\. Choose one of: segment everything, "):
        threshold_search.choose_thresholds(CASES, "both")


def test_interval_of_a_constant_is_the_constant_and_groups_widen_it():
    assert statistics.bootstrap_interval(np.full(20, 0.7), np.arange(20)) == pytest.approx((0.7, 0.7))
    values = np.repeat([0.0, 1.0] * 5, 10)
    alone, grouped = (
        statistics.bootstrap_interval(values, group)
        for group in (np.arange(100), np.repeat(np.arange(10), 10))
    )
    assert grouped[1] - grouped[0] > 2 * (alone[1] - alone[0])


@pytest.mark.parametrize("copies", [1, 16])
def test_an_interval_is_as_wide_as_statistics_say(copies):
    """The mean of 400 fair coins, each there `copies` times as one group: 95 % of such means lie within 1.96
    standard errors."""
    coins = np.arange(400) % 2
    values, group = np.repeat(coins, copies).astype(float), np.repeat(np.arange(400), copies)
    low, high = statistics.bootstrap_interval(values, group, n_bootstrap=4000)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.5 / 400**0.5, rel=0.06)
    assert (low + high) / 2 == pytest.approx(0.5, abs=0.005)
    low, high = statistics.bootstrap_interval(values, group, n_bootstrap=4000, level=0.8)
    assert (high - low) / 2 == pytest.approx(1.28 * 0.5 / 400**0.5, rel=0.06)


def test_predictions_survive_the_disk(tmp_path):
    CASES.save(tmp_path / "predictions.npz")
    again = CascadePredictions.load(tmp_path / "predictions.npz")
    assert again.pixel_thresholds == (0.5,) and again.smallest_components == (0,)
    assert np.array_equal(again.area, CASES.area)
    assert again.soft_area is None


def test_lost_points_of_the_folds_add_up_to_what_the_cross_fitted_score_lacks():
    rng = np.random.default_rng(5)
    count, has_defect = 90, rng.random((90, 3)) < 0.3
    true_area = has_defect * rng.integers(200, 4000, (count, 3))
    area = rng.integers(0, 4000, (count, 3, 2, 2))
    some = CascadePredictions(
        rng.random(count),
        np.clip(has_defect * 0.4 + rng.random((count, 3)) * 0.6, 0, 1),
        true_area,
        area,
        np.minimum(area, true_area[:, :, None, None]) * 3 // 4,
        np.arange(count) // 2,
        (0.3, 0.6),
        (0, 90),
    )
    some.soft_area, some.soft_intersection = some.area // 2, some.intersection // 2
    for strategy in postprocess.STRATEGIES:
        by_fold = threshold_search.fold_thresholds(some, strategy, cv_folds=4)
        assert sum(part.astype(int) for part, _ in by_fold).tolist() == [1] * count
        parts = error_analysis.lost_points(some, by_fold)
        assert sum(values.sum() for values in parts.values()) == pytest.approx(
            1 - threshold_search.cross_fitted_scores(some, by_fold).mean(), abs=1e-9
        )


def test_a_class_that_is_only_ever_drawn_wrong_is_never_predicted():
    wrong = predictions_of([0.9] * 4, [0.9] * 4, [0, 0, 100, 100], [50, 60, 70, 80], [0, 0, 0, 0])
    chosen = threshold_search.choose_thresholds(wrong)
    assert predictions.pair_scores(wrong, chosen)[:, 0].tolist() == [1, 1, 0, 0]
    nothing = threshold_search.choose_thresholds(
        predictions_of([0.9], [0.99], [0], [10**5], [0]), "segment everything"
    )
    assert nothing.minimum_areas == (postprocess.NEVER,)


def test_smaller_components_are_dropped_where_that_helps():
    has_defect = np.array([[1000], [0]])
    area = np.array([[[[1060, 1000]]], [[[60, 0]]]])  # a speck of 60 pixels on either image, gone below 75
    shared = np.array([[[[1000, 1000]]], [[[0, 0]]]])
    specks = CascadePredictions(
        np.ones(2), np.ones((2, 1)), has_defect, area, shared, np.arange(2), (0.5,), (0, 75)
    )
    chosen = threshold_search.choose_thresholds(specks)
    assert (
        predictions.pair_scores(specks, replace(chosen, minimum_areas=(0,), smallest_components=(0,))).mean()
        < 0.5
    )
    assert predictions.pair_scores(specks, chosen).tolist() == [[1], [1]]


def test_smooth_choices_do_better_on_other_images():
    gain = []
    for seed in range(20):
        rng = np.random.default_rng(seed)

        def draw(count, rng=rng):
            has_defect = rng.random((count, 1)) < 0.3
            label = np.clip(rng.normal(0.35 + 0.3 * has_defect, 0.2), 0, 1)
            area = np.full((count, 1, 1, 1), 2000)
            shared = (1500 * has_defect)[:, :, None, None]
            return CascadePredictions(
                np.ones(count), label, has_defect * 2000, area, shared, np.arange(count), (0.5,), (0,)
            )

        few, many = draw(80), draw(4000)
        scores = [
            predictions.pair_scores(
                many, threshold_search.choose_thresholds(few, "multilabel filter", smooth)
            ).mean()
            for smooth in (True, False)
        ]
        gain.append(scores[0] - scores[1])
    assert np.mean(gain) > 0


def test_a_weighted_interval_counts_what_weighs():
    values, group = np.array([0.0] * 50 + [1.0] * 50), np.arange(100)
    low, high = statistics.bootstrap_interval(values, group, weights=np.repeat([1.0, 9.0], 50))
    assert low < 0.9 < high and low > 0.8
    assert statistics.bootstrap_interval(values, group, weights=np.repeat([0.0, 1.0], 50)) == (1, 1)
    assert statistics.bootstrap_interval(np.where(values > 0, values, np.nan), group) == (1, 1)


def test_soft_gating_goes_by_the_weighted_maps_and_asks_for_no_label_threshold():
    """Two images with the defect: the first's class is likely; the second's product reaches no threshold of
    0.5."""
    some = CascadePredictions(
        np.ones(3),
        np.array([[0.9], [0.4], [0.6]]),
        np.array([[100], [100], [0]]),
        np.full((3, 1, 1, 1), 100),
        np.array([100, 100, 0]).reshape(3, 1, 1, 1),
        np.arange(3),
        (0.5,),
        (0,),
        np.array([80, 0, 0]).reshape(3, 1, 1, 1),
        np.array([80, 0, 0]).reshape(3, 1, 1, 1),
    )
    soft = replace(SIMPLE, strategy=postprocess.SOFT, label_thresholds=(0.0,))
    assert predictions.pair_scores(some, soft)[:, 0] == pytest.approx([160 / 180, 0, 1])
    assert predictions.passing_pairs(some, soft)[1][:, 0].tolist() == [True, False, True]
    assert predictions.seconds_per_image(
        some, soft, {"binary": 1, "multilabel": 10, "seg_class1": 300}
    ) == pytest.approx(211)
    chosen = threshold_search.choose_thresholds(some, postprocess.SOFT)
    assert predictions.pair_scores(some, chosen).mean() == pytest.approx((160 / 180 + 1) / 3)
    assert some.take([0]).soft_area.tolist() == [[[[80]]]]


def test_cost_counts_only_what_the_filters_let_through():
    seconds = {"binary": 1.0, "multilabel": 10.0, "seg_class1": 100.0}
    expected = {
        "segment everything": 100,
        "binary filter": 1 + 500 / 7,
        "multilabel filter": 10 + 600 / 7,
        "both filters": 1 + 50 / 7 + 400 / 7,
    }
    for strategy, cost in expected.items():
        assert predictions.seconds_per_image(
            CASES, replace(SIMPLE, strategy=strategy), seconds
        ) == pytest.approx(cost)
    assert predictions.seconds_per_image(
        CASES, replace(SIMPLE, minimum_areas=(postprocess.NEVER,)), seconds
    ) == pytest.approx(1 + 50 / 7)
