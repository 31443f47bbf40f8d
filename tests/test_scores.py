"""The scores that thresholds are chosen for, beside tables made by hand; and the search that follows them."""

import numpy as np
import pytest

from lib.data import rle
from lib.errors import UserError
from lib.evaluation import error_analysis, metrics, predictions, scores, statistics, threshold_search
from lib.evaluation.predictions import CascadePredictions
from lib.evaluation.scores import PairPixels
from lib.inference import postprocess

# Two classes on three strips. Dice by rows: 2 x 5 / (5 + 15) = 0.5 and 1; 0 (a false alarm) and 0 (missed);
# 1 and 1.
HAND = PairPixels(
    intersection=np.array([[5, 0], [0, 0], [8, 0]]),
    predicted_area=np.array([[15, 0], [12, 0], [8, 0]]),
    true_area=np.array([[5, 0], [0, 10], [8, 0]]),
)
VALUES = {
    "severstal": (0.5 + 1 + 0 + 0 + 1 + 1) / 6,
    # three pairs with a defect, Dice 0.5, 0 and 1; two of three empty ones are left empty
    "positives_and_empties": 0.7 * (0.5 + 0 + 1) / 3 + 0.3 * 2 / 3,
    # class 1: 13 pixels of 15 + 12 + 8; class 2: none of 10
    "miou": (13 / 35 + 0) / 2,
}
ALL_EMPTY = {"severstal": 0.5, "positives_and_empties": 0.3, "miou": 0}
BY_CLASS = {
    "severstal": [0.5, 2 / 3],
    "positives_and_empties": [0.7 * 0.75 + 0.3 * 0, 0.7 * 0 + 0.3 * 1],
    "miou": [13 / 35, 0],
}


@pytest.mark.parametrize("score", scores.TITLES)
def test_a_score_is_that_of_a_table_made_by_hand(score):
    assert scores.value(score, HAND) == pytest.approx(VALUES[score], abs=1e-15)
    assert scores.value(score, HAND.all_empty) == pytest.approx(ALL_EMPTY[score], abs=1e-15)
    assert scores.by_class(score, HAND) == pytest.approx(BY_CLASS[score], abs=1e-15)
    assert scores.losses(score, HAND).sum() == pytest.approx(1 - VALUES[score])
    assert scores.losses(score, HAND)[2].tolist() == [0, 0]
    twice = PairPixels(
        *(np.concatenate([array, array[:1]]) for array in HAND)
    )  # a weight counts a strip twice
    assert scores.value(score, HAND, np.array([2, 1, 1])) == pytest.approx(scores.value(score, twice))


@pytest.mark.parametrize("score", scores.TITLES)
def test_what_is_predicted_exactly_scores_1_and_pairs_of_one_kind_have_a_score(score):
    exactly = PairPixels(HAND.true_area, HAND.true_area, HAND.true_area)
    assert scores.value(score, exactly) == pytest.approx(1)
    for rows in ([0], [2]):  # class 1 alone has a defect, class 2 is in neither
        assert scores.value(score, PairPixels(*(array[rows] for array in exactly))) == pytest.approx(1)
    nothing = PairPixels(*np.zeros((3, 2, 2), int))
    assert scores.value(score, nothing) == 1
    full = PairPixels(*(np.full((2, 1), area) for area in (5, 20, 5)))  # no pair is empty
    assert scores.value(score, full) == pytest.approx({"miou": 0.25}.get(score, 0.4))


def test_severstal_and_miou_are_those_of_run_length_strings():
    rng = np.random.default_rng(0)
    truth, predicted = (
        [
            ["" if rng.random() < 0.3 else rle.encode(rng.random((6, 7)) < 0.4) for _ in range(3)]
            for _ in "abcd"
        ]
        for _ in range(2)
    )
    pairs = scores.of_rles(truth, predicted)
    assert scores.value("severstal", pairs) == metrics.competition_score(truth, predicted)
    assert scores.value("severstal", pairs.all_empty) == metrics.all_empty_score(truth)
    overlap = metrics.iou_metrics(truth, predicted, (6, 7), ["a", "b", "c"])
    assert scores.value("miou", pairs) == pytest.approx(overlap["mean_iou"])


def test_a_score_that_is_none_ends_in_a_sentence():
    with pytest.raises(UserError, match=r"no score 'dice'.*severstal, positives_and_empties, miou"):
        scores.check("dice")


def test_the_interval_of_severstal_is_that_of_a_mean_and_others_draw_groups_together():
    group = np.array([0, 0, 1])
    expected = statistics.bootstrap_interval(HAND.dice.mean(axis=1), group, 200, seed=4)
    assert scores.interval("severstal", HAND, group, 200, seed=4) == expected
    # Two groups: half of the draws have both, a quarter the first alone, a quarter the second alone.
    first, second = (PairPixels(*(array[rows] for array in HAND)) for rows in ([0, 1], [2]))
    for score in ("positives_and_empties", "miou"):
        low, high = scores.interval(score, HAND, group, 200)
        assert (low, high) == pytest.approx((scores.value(score, first), scores.value(score, second)))
        assert scores.interval(score, HAND, group, 50, baseline=HAND) == (0, 0)
        assert scores.interval(score, HAND, np.zeros(3), 50) == pytest.approx((VALUES[score],) * 2)
        assert scores.interval(score, HAND, group, 200, weights=np.full(3, 2)) == pytest.approx((low, high))


@pytest.mark.parametrize("score", ["positives_and_empties", "miou"])
def test_the_interval_has_95_percent(score):
    """Of 400 pairs, half right and half not, the mean has a standard error of 0.5 / 20."""
    right = np.random.default_rng(0).permutation(400)[:, None] < 200
    ones = np.ones_like(right, int)
    low, high = scores.interval(score, PairPixels(right * ones, right * ones, ones), np.arange(400), 4000)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.025, rel=0.05)


def test_a_class_that_neither_has_loses_nothing_for_miou():
    pairs = PairPixels(np.array([[1, 0]]), np.array([[2, 0]]), np.array([[3, 0]]))
    assert (
        scores.losses("miou", pairs).sum()
        == pytest.approx(1 - scores.value("miou", pairs))
        == pytest.approx(0.75)
    )


def table(count, seed=0, classes=2, groups=None):
    """Predictions whose defects are found the better, the higher the probabilities are; a tenth of the pairs
    has a defect."""
    rng = np.random.default_rng(seed)
    has = rng.random((count, classes)) < 0.1
    sure = np.clip(rng.normal(np.where(has, 0.6, 0.3), 0.2), 0, 1).astype(np.float32)
    true_area = has * rng.integers(500, 4000, has.shape)
    shape = (count, classes, 2, 2)
    drawn = (rng.random(shape) < np.where(has, 0.9, 0.5)[..., None, None]) * rng.integers(100, 5000, shape)
    shared = np.minimum(drawn, true_area[..., None, None]) * rng.uniform(0.5, 1, shape)
    return CascadePredictions(
        sure.max(axis=1),
        sure,
        true_area,
        drawn,
        shared.astype(np.int64),
        np.arange(count) if groups is None else groups,
        (0.3, 0.6),
        (0, 150),
    )


@pytest.mark.parametrize("score", scores.TITLES)
@pytest.mark.parametrize("strategy", ["both filters", "binary filter"])
def test_the_search_finds_what_trying_every_grid_point_finds(score, strategy, monkeypatch):
    monkeypatch.setattr(threshold_search, "CANDIDATE_THRESHOLDS", (0.0, 0.3, 0.5, 0.7))
    monkeypatch.setattr(threshold_search, "MINIMUM_AREAS", (0, 1000))
    some = table(40, seed=3, classes=1)
    best = max(
        scores.value(
            score,
            predictions.pair_pixels(
                some,
                postprocess.PostprocessConfig(strategy, binary, (label,), (pixel,), (smallest,), (area,)),
            ),
        )
        for binary in threshold_search.CANDIDATE_THRESHOLDS
        for label in (threshold_search.CANDIDATE_THRESHOLDS if strategy == "both filters" else (0.0,))
        for pixel in some.pixel_thresholds
        for smallest in some.smallest_components
        for area in (*threshold_search.MINIMUM_AREAS, postprocess.NEVER)
    )
    chosen = threshold_search.choose_thresholds(some, strategy, smooth=False, score=score)
    assert chosen.score == score
    assert scores.value(score, predictions.pair_pixels(some, chosen)) == pytest.approx(best)


def test_a_class_that_no_strip_has_is_never_predicted_for_miou():
    some = table(30, seed=1)
    some.true_area[:, 1] = some.intersection[:, 1] = 0
    chosen = threshold_search.choose_thresholds(some, score="miou")
    pairs = predictions.pair_pixels(some, chosen)
    assert not pairs.predicted_area[:, 1].any() and pairs.predicted_area[:, 0].any()


@pytest.mark.parametrize("score", scores.TITLES)
def test_lost_points_add_up_to_what_the_cross_fitted_score_lacks(score):
    some = table(60, seed=2, groups=np.repeat(np.arange(30), 2))
    by_fold = threshold_search.fold_thresholds(some, cv_folds=4, score=score)
    pairs = threshold_search.cross_fitted_pixels(some, by_fold)
    lost = error_analysis.lost_points(some, by_fold, score)
    assert sum(values.sum() for values in lost.values()) == pytest.approx(1 - scores.value(score, pairs))
    assert list(lost) == ["filtered out", "class missed", "no mask", "imperfect mask", "false alarm"]


@pytest.mark.parametrize("score", ["positives_and_empties", "miou"])
def test_thresholds_chosen_for_a_score_beat_those_chosen_for_severstal_on_held_out_pairs(score):
    """Severstal's counts nine empty pairs to one with a defect, so that its thresholds draw less."""
    some = table(1500, seed=5, groups=np.repeat(np.arange(500), 3))
    for_it, for_severstal = (
        threshold_search.cross_fitted_pixels(some, threshold_search.fold_thresholds(some, score=name))
        for name in (score, "severstal")
    )
    low, _ = scores.interval(score, for_it, some.group, baseline=for_severstal)
    assert low > 0
    low, _ = scores.interval("severstal", for_severstal, some.group, baseline=for_it)
    assert low > 0
