"""Calibration, boundary perturbation, gallery, shift, masks: exact on cases small enough to count by hand."""

from dataclasses import replace

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.model_selection import StratifiedGroupKFold

from lib.data import dataset, rle, splitting
from lib.errors import UserError
from lib.evaluation import calibration, error_analysis, shift
from lib.evaluation.predictions import CascadePredictions
from lib.inference import postprocess
from lib.inference.postprocess import PostprocessConfig
from lib.report import charts
from lib.synthetic import generate, planning

SHAPE = (6, 8)


def block(top, left, height, width, shape=SHAPE):
    mask = np.zeros(shape, np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def test_brier_of_hand_made_probabilities():
    assert calibration.brier([0, 1, 1, 0], [0, 1, 1, 0]) == (0, 0.25)
    assert calibration.brier([0, 1], [0.5, 0.5])[0] == 0.25
    assert calibration.brier([1, 1, 0, 0], [0.8, 0.6, 0.2, 0.4]) == pytest.approx(
        ((0.04 + 0.16 + 0.04 + 0.16) / 4, 0.25)
    )
    assert calibration.brier([1, 1], [0.9, 0.9]) == pytest.approx((0.01, 0))


def test_a_table_to_read():
    frame = pd.DataFrame(
        {
            "strips": [3, 40],
            "score": [0.5, np.nan],
            "its interval": [(0.25, 0.75), (np.nan, np.nan)],
            "milliseconds a strip": [12.3456, 7.0],
        },
        index=["class 1", "sum"],
    )
    found = charts.table(frame, 3, milliseconds_a_strip=1)
    assert found.to_dict("list") == {
        "strips": ["3", "40"],
        "score": ["0.500", "unknown"],
        "its interval": ["0.250 to 0.750", "unknown to unknown"],
        "milliseconds a strip": ["12.3", "7.0"],
    }
    assert list(found.index) == ["class 1", "sum"]


def test_reliability_of_true_and_of_boastful_probabilities():
    rng = np.random.default_rng(1)
    probability = rng.random(20000)
    mean, share = calibration.reliability(rng.random(20000) < probability, probability)
    assert np.abs(mean - share).max() < 0.05
    mean, share = calibration.reliability(rng.random(20000) < probability / 2, probability)
    assert share[-1] < 0.6 < mean[-1]


def test_figures_of_twelve_classes():
    curves = {f"class {number}": (np.array([0.1, 0.9]), np.array([0.2, 0.8])) for number in range(13)}
    lines = charts.reliability(curves).axes[0].lines
    assert [line.get_label() for line in lines] == ["perfect", *curves]
    assert len(charts.precision_recall(curves).axes[0].lines) == 13
    assert (
        len(charts.histograms({name: mean for name, (mean, _) in curves.items()}, "values").axes[0].patches)
        == 13
    )
    plt.close("all")


def test_bins_hold_what_the_curve_counts():
    rng = np.random.default_rng(2)
    probability = np.round(rng.random(137), 1).astype(np.float32)  # many are equal, and some bins stay empty
    truth = rng.random(137) < probability
    mean, share = calibration.reliability(truth, probability)
    sizes = calibration.bin_sizes(probability)
    assert sizes.sum() == 137 and len(sizes) == len(mean)
    assert (sizes * share).sum() == pytest.approx(truth.sum()) and (sizes * mean).sum() == pytest.approx(
        probability.sum(), rel=1e-5
    )


FILTER = CascadePredictions(
    defect_probability=np.array([0.9, 0.7, 0.4, 0.2]), class_probability=np.ones((4, 1)), true_area=np.array([[10], [0], [10], [0]]),
    area=np.full((4, 1, 1, 1), 10), intersection=np.array([10, 0, 10, 0]).reshape(4, 1, 1, 1), group=np.arange(4),
    pixel_thresholds=(0.5,), smallest_components=(0,),
)  # fmt: skip
ALL = PostprocessConfig("both filters", 0.5, (0.5,), (0.5,), smallest_components=(0,), minimum_areas=(0,))


def test_operating_points_by_hand():
    points = calibration.operating_points(
        FILTER, ALL, false_negative_cost=3, candidates=[0, 0.3, 0.5, 0.8, 1]
    )
    assert points["sent_on"].tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert points["recall"].tolist() == [1, 1, 0.5, 0.5, 0]
    assert points["false_alarms"].tolist() == [1, 0.5, 0.5, 0, 0]
    assert points["score"].tolist() == [0.5, 0.75, 0.5, 0.75, 0.5]
    assert points["cost"].tolist() == [0.5, 0.25, 1, 0.75, 1.5]


@pytest.mark.parametrize("missed, threshold", [(3, 0.3), (0.1, 0.8)])
def test_the_cheapest_threshold_follows_the_cost_ratio(missed, threshold):
    assert calibration.cheapest_threshold(
        FILTER.defect_probability, FILTER.true_area[:, 0] > 0, missed
    ) == pytest.approx(threshold)


def test_equal_probabilities_cannot_be_parted():
    assert calibration.cheapest_threshold([0.5, 0.5, 0.5], [True, False, False], 10) == 0
    assert calibration.cheapest_threshold([0.5, 0.5, 0.5], [True, False, False], 0.1) > 0.5


def test_a_threshold_chosen_elsewhere_is_not_perfect_here():
    """Probabilities without information: the best threshold of these strips beats what it does on others."""
    in_sample, cross_fitted = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        there = (rng.random(40) < 0.3).astype(int)[:, None] * 10
        noise = CascadePredictions(
            rng.random(40),
            np.ones((40, 1)),
            there,
            there[..., None, None],
            there[..., None, None],
            np.arange(40),
            (0.5,),
            (0,),
        )
        in_sample.append(calibration.operating_points(noise, ALL, 2)["cost"].min())
        cross_fitted.append(calibration.cross_fitted_cost(noise, 2).mean())
    assert np.mean(cross_fitted) > np.mean(in_sample) + 0.02


def test_copies_of_a_strip_do_not_choose_the_threshold_that_filters_it():
    """Six copies of a defective strip and six of a clean one. Either kind gets what is cheapest for the
    other: to drop all, or to pass all."""
    there, group = np.repeat([[10], [0]], 6, axis=0), np.repeat([0, 1], 6)
    twins = CascadePredictions(
        np.repeat([0.3, 0.6], 6),
        np.ones((12, 1)),
        there,
        there[..., None, None],
        there[..., None, None],
        group,
        (0.5,),
        (0,),
    )
    assert calibration.cross_fitted_cost(twins, false_negative_cost=2).tolist() == [2] * 6 + [1] * 6


@pytest.mark.parametrize("how, expected", [
    ("left", block(1, 1, 2, 3)), ("right", block(1, 3, 2, 3)), ("up", block(0, 2, 2, 3)), ("down", block(2, 2, 2, 3)),
    ("wider", block(0, 1, 4, 5)),
])  # fmt: skip
def test_masks_move_by_one_pixel(how, expected):
    assert error_analysis.perturb_boundary(block(1, 2, 2, 3), how).tolist() == expected.tolist()


def test_what_leaves_the_image_is_lost_and_narrowing_keeps_the_border():
    assert error_analysis.perturb_boundary(block(0, 0, 2, 2), "left").sum() == 2
    assert (
        error_analysis.perturb_boundary(block(1, 1, 3, 3), "narrower").tolist() == block(2, 2, 1, 1).tolist()
    )
    assert (
        error_analysis.perturb_boundary(block(0, 0, 6, 3), "narrower").tolist() == block(0, 0, 6, 2).tolist()
    )


def test_a_pixel_costs_a_thin_mask_more_than_a_wide_one():
    thin, wide = (rle.encode(block(0, 2, 6, width)) for width in (1, 4))
    found = error_analysis.mean_perturbed_dice([[thin, wide, ""]], [[thin, wide, ""]], SHAPE)
    assert found["as it is"][:2].tolist() == [1, 1] and np.isnan(found["right"][2])
    assert found["right"][:2].tolist() == [0, 0.75]
    change = error_analysis.perturbed_score_changes(
        [[thin, ""]], [[thin, wide]], np.array([[1.0, 0.0]]), SHAPE
    )
    assert change["right"] == pytest.approx(-0.5) and change["up"] == pytest.approx((2 * 5 / 11 - 1) / 2)


def test_small_pieces_go_and_so_do_small_masks():
    probability = (block(0, 0, 3, 3) + block(5, 7, 1, 1)).astype(np.float32)
    without_pieces = replace(ALL, smallest_components=(2,))
    assert postprocess.predict_mask(probability, SHAPE, without_pieces, 0).sum() == 9
    assert (
        postprocess.predict_mask(probability, SHAPE, replace(without_pieces, minimum_areas=(10,)), 0).sum()
        == 0
    )
    assert postprocess.predict_mask(probability, SHAPE, ALL, 0).sum() == 10


def test_counts_are_those_of_the_masks_that_are_drawn():
    rng = np.random.default_rng(4)
    probability = cv2.GaussianBlur(rng.random((60, 90)).astype(np.float32), (0, 0), 2) * 6 - 2.8
    truth = np.roll(probability, 3, axis=1) > 0.5
    thresholds, smallest = (0.2, 0.5, 0.7), (0, 20, 200)
    area, shared = postprocess.count_pixels(probability, truth, thresholds, smallest)
    for t, threshold in enumerate(thresholds):
        for s, size in enumerate(smallest):
            thresholds_ = replace(ALL, pixel_thresholds=(threshold,), smallest_components=(size,))
            mask = postprocess.predict_mask(probability, (60, 90), thresholds_, 0)
            assert (area[t, s], shared[t, s]) == (mask.sum(), (mask & truth).sum())
    assert area[0, 0] >= area[0, 1] > 0 and area[2, 0] > area[2, 1] > area[2, 2]
    assert not postprocess.count_pixels(np.zeros((60, 90), np.float32), None, thresholds, smallest)[0].any()


def test_packed_maps_keep_their_probabilities():
    probability = np.random.default_rng(0).random((32, 64)).astype(np.float32)
    assert np.abs(postprocess.unpack(postprocess.pack(probability)) - probability).max() <= 1 / 510 + 1e-6


@settings(max_examples=200)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.integers(0, 12))
def test_dropping_small_pieces_equals_counting_each(mask, smallest):
    number, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    pieces = [labels == piece for piece in range(1, number) if (labels == piece).sum() >= smallest]
    kept = postprocess.drop_small(mask, smallest)
    assert kept.dtype == bool
    np.testing.assert_array_equal(kept, np.any([np.zeros_like(mask), *pieces], axis=0))
    assert rle.encode(kept) == rle.encode(np.ascontiguousarray(kept))


@pytest.mark.parametrize("density", [0.001, 0.1, 0.5])
def test_dropping_small_pieces_of_a_noisy_strip(density):
    mask = np.random.default_rng(1).random((256, 1600)) < density
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = (statistics[:, cv2.CC_STAT_AREA] >= 3) & (np.arange(len(statistics)) > 0)
    np.testing.assert_array_equal(postprocess.drop_small(mask, 3), kept[labels])


def test_the_gallery_shows_the_worst_of_each_kind():
    small, large, other = (
        rle.encode(block(0, 0, 1, 1)),
        rle.encode(block(0, 0, 5, 5)),
        rle.encode(block(2, 2, 2, 2)),
    )
    truth = [[large], [small], [""], [""], [large], [large]]
    predicted = [[""], [""], [small], [small], [other], [large]]
    scores = np.array([[0], [0], [0], [0], [0.2], [1.0]])
    shown = error_analysis.worst(
        truth, predicted, scores, np.array([[0.1], [0.1], [0.6], [0.9], [0.8], [0.8]]), 2
    )
    expected = {"missed": [0, 1], "false alarm": [3, 2], "lowest Dice": [4, 5], "small": [1, 0]}
    assert shown == {name: [(row, 0) for row in rows] for name, rows in expected.items()}


def test_a_strip_is_shown_once_with_its_worst_class():
    chosen = np.array([[True, True], [False, True]])
    assert error_analysis.first_rows(chosen, np.array([[2, 1], [0, 3]]), 5) == [(0, 1), (1, 1)]


def test_titles_name_the_class_and_who_was_not_asked():
    binary, label = np.array([0.9, 0.1]), np.array([[0.8, 0.25], [np.nan, np.nan]])
    assert error_analysis.titles(
        ["a.jpg", "b.jpg"], [(0, 1), (1, 0)], binary, label, np.array([[1.0, 0.5], [0.0, 1.0]])
    ) == [
        "a.jpg  class 2: Dice 0.50; defect 0.90, classes 0.80 0.25, mean Dice 0.75",
        "b.jpg  class 1: Dice 0.00; defect 0.10, classes not asked, mean Dice 0.50",
    ]
    assert error_analysis.probabilities(np.nan, [0.5]) == "defect not asked, classes 0.50"


def test_duplicates_that_were_outlined_differently_are_found():
    one, two = rle.encode(block(0, 0, 4, 4)), rle.encode(block(0, 2, 4, 4))
    outlines = [[one, ""], [two, ""], [one, ""], ["", ""], ["", ""], ["", one], [one, ""]]
    group = np.array([0, 0, 0, 1, 1, 2, 2])
    assert error_analysis.conflicting(outlines, group) == [(5, 6, 0), (0, 1, 0.5), (1, 2, 0.5)]


def strips_apart(by):
    rng = np.random.default_rng(2)
    is_test = np.repeat([False, True], [200, 60])
    table = pd.DataFrame(rng.normal(size=(260, 4)), columns=list("abcd"))
    table["a"] += by * is_test
    return table, is_test


def test_alike_strips_cannot_be_told_apart_and_shifted_ones_can():
    auc = {}
    for by in (0, 2):
        table, is_test = strips_apart(by)
        probability = shift.is_test_probability(table, is_test, np.arange(260), n_estimators=60)
        auc[by] = shift.auc_interval(probability, is_test, np.arange(260), n_bootstrap=100)
    assert auc[0][1] < 0.5 < auc[0][2]
    assert auc[2][1] > 0.7
    assert shift.importance(*strips_apart(2), n_estimators=60).index[0] == "a"


def test_weights_draw_the_training_strips_towards_the_test_strips():
    table, is_test = strips_apart(1)
    weight = shift.weights(
        shift.is_test_probability(table, is_test, np.arange(260), n_estimators=100)[~is_test]
    )
    plain, weighted = table["a"][~is_test].mean(), np.average(table["a"][~is_test], weights=weight)
    assert weight.mean() == pytest.approx(1)
    assert abs(weighted - 1) < abs(plain - 1) - 0.2
    assert shift.effective_size(weight) < 200
    assert shift.effective_size(np.ones(7)) == pytest.approx(7)


def test_a_copy_of_a_test_strip_does_not_give_itself_away():
    """Training strips that are copies of test strips: judged by forests that have seen the other copy, they
    would be known."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(60, 4))
    table = pd.DataFrame(np.concatenate([values, values]), columns=list("abcd"))
    is_test, group = np.repeat([False, True], 60), np.tile(np.arange(60), 2)
    probability = shift.is_test_probability(table, is_test, group, n_estimators=60)
    assert np.allclose(probability[:60], probability[60:])


def test_forests_judge_parts_that_they_have_not_seen():
    with pytest.raises(UserError, match="1 is too few"):
        shift.is_test_probability(*strips_apart(0), np.arange(260), cv_folds=1)


def test_forests_answer_with_the_same_bytes_however_their_threads_run():
    """The trees' answers are added up one after the other, in their order: so in float64 the last bit is
    always the same."""
    table, is_test = strips_apart(1)
    group = np.arange(260)
    expected = np.full(260, np.nan)
    for seen, unseen in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(table, is_test, group):
        fitted = shift.forest(60, 0).fit(table.iloc[seen], is_test[seen])
        expected[unseen] = (
            sum(
                tree.predict_proba(table.iloc[unseen].to_numpy(np.float32))[:, 1]
                for tree in fitted.estimators_
            )
            / 60
        )
    for _ in range(3):
        assert (
            shift.is_test_probability(table, is_test, group, n_estimators=60).tobytes() == expected.tobytes()
        )


def test_an_area_under_the_curve_is_as_sure_as_its_groups():
    """Each strip there once, or nine times with the same answer: that tells nothing more."""
    rng = np.random.default_rng(4)
    is_test, group = np.repeat([False, True], [100, 100]), np.arange(200)
    probability = rng.random(200)
    once = shift.auc_interval(probability, is_test, group, n_bootstrap=400)
    assert shift.auc_interval(
        np.tile(probability, 9), np.tile(is_test, 9), np.tile(group, 9), n_bootstrap=400
    ) == pytest.approx(once)
    auc, low, high = once
    assert low < auc < high
    # the standard error of an area of 1/2 is sqrt((n + m + 1) / 12 n m), and 95 % lie within 1.96 of them
    assert (high - low) / 2 == pytest.approx(1.96 * (201 / 12 / 100 / 100) ** 0.5, rel=0.2)


def test_too_few_test_strips_tell_nothing(tmp_path):
    table, _ = strips_apart(0)
    nobody = np.zeros(260, bool)
    assert (shift.is_test_probability(table, nobody, np.arange(260)) == 0.5).all()
    assert np.isnan(shift.auc_interval(np.full(260, 0.5), nobody, np.arange(260))).all()
    assert shift.read_weights(tmp_path, ["a.jpg"]) is None
    (tmp_path / "shift.csv").write_text("image_id,probability,weight\nNA,0.5,2.5\nb.jpg,0.5,0.5\n")
    assert shift.read_weights(tmp_path, ["b.jpg", "c.jpg", "NA"]).tolist() == [0.5, 1, 2.5]


def test_features_see_dark_borders_and_light():
    image = np.full((64, 400), 100, np.uint8)
    image[:, :100] = 0
    found = shift.of_image(image)
    assert (found["dark"], found["dark_left"], found["dark_right"], found["level_50"], found["fine"]) == (
        0.25,
        0.25,
        0,
        100,
        0,
    )
    assert shift.of_image(np.zeros((64, 400), np.uint8))["dark"] == 1


@pytest.mark.slow
def test_disguised_near_duplicates_never_cross_a_split(tmp_path):
    """Twins are shifted by some columns, brighter or darker, and encoded anew; a random split tears some of
    them apart."""
    torn = 0
    for seed in (1, 2, 3):
        table = dataset.load_table(generate.generate(tmp_path / str(seed), 40, 1, seed, processes=1))
        planned = {strip.image_id: strip.stream for strip in planning.plan("train", 40, seed)}
        twins = [
            members.index for _, members in table.groupby(table["image_id"].map(planned)) if len(members) > 1
        ]
        assert len(twins) == 2
        parts = splitting.split(table, held_out=0.4, validation=0.2, seed=seed, folds=5)
        assert all(parts.loc[pair, ["part", "group", "fold"]].nunique().eq(1).all() for pair in twins)
        assert parts["group"].nunique() == 38  # and nothing else is taken for a twin
        plain = splitting.split(table, method="random", held_out=0.4, validation=0.2, seed=seed)
        torn += sum(plain.loc[pair, "part"].nunique() > 1 for pair in twins)
    assert torn
