"""Budgets of false alarms and of missed defects: thresholds, what is promised, what is achieved."""

from dataclasses import replace

import numpy as np
import pytest
from test_scores import table

from lib.errors import UserError
from lib.evaluation import alarms, budgets, statistics, threshold_search
from lib.evaluation.predictions import CascadePredictions
from lib.inference import postprocess
from lib.inference.postprocess import PostprocessConfig


def strips(probability, has_defect, area, group=None):
    """One or more classes, one pixel threshold: what the binary classifier says, what has a defect, and how
    many pixels are drawn, (N, C)."""
    has_defect, area = np.array(has_defect), np.array(area)
    return CascadePredictions(
        np.float32(probability),
        np.full(area.shape, 0.5, np.float32),
        has_defect * 100,
        area[..., None, None],
        np.minimum(area, has_defect * 100)[..., None, None],
        np.arange(len(area)) if group is None else np.array(group),
        (0.5,),
        (0,),
    )


def base(classes=1, **values):
    """Thresholds chosen for a score, of which a budget keeps the pixel thresholds."""
    one = PostprocessConfig(
        "both filters", 0.9, (0.8,) * classes, (0.5,) * classes, (0,) * classes, (600,) * classes
    )
    return replace(one, **values)


def of(max_false_alarms=0.0, min_recall=0.0, of_classes=((), ()), classes=1):
    (budget,) = budgets.of_parameters(
        max_false_alarms, list(of_classes[0]), min_recall, list(of_classes[1]), classes
    )
    return budget


def test_none_of_59_wrong_promises_a_twentieth_with_95_percent_confidence():
    assert [budgets.images_needed(limit) for limit in (0.05, 0.01, 0.5)] == [59, 299, 5]
    assert [0.95**count < 0.05 for count in (58, 59)] == [False, True]
    groups = {count: np.arange(count) for count in (10, 58, 59, 92, 93)}
    assert [budgets.most_wrong(0.05, group) for group in groups.values()] == [0, 0, 0, 0, 1]
    # 93 images, each three times: as good as 93, of which 1, and so 3 of the images, may be wrong
    assert budgets.most_wrong(0.05, np.repeat(groups[93], 3)) == 3
    assert budgets.most_wrong(0.05, np.arange(0)) == 0


def test_the_interval_of_a_share_is_wilsons_and_near_duplicates_count_as_one():
    # 2 of 10, z^2 = 3.8415: centre (0.2 + 0.19207) / 1.38415 = 0.28326, half 1.96 (0.016 + 0.0096)^0.5 / 1.38415
    two = np.arange(10) < 2
    assert statistics.wilson(two, np.arange(10)) == pytest.approx((0.0567, 0.5098), abs=1e-4)
    assert statistics.wilson(np.repeat(two, 3), np.repeat(np.arange(10), 3)) == pytest.approx(
        (0.0567, 0.5098), abs=1e-4
    )
    low, high = statistics.wilson(np.zeros(100, bool), np.arange(100))
    assert low == pytest.approx(0, abs=1e-12) and high == pytest.approx(3.84 / 103.84, abs=1e-3)
    assert np.isnan(statistics.wilson(np.zeros(0, bool), np.zeros(0))).all()
    assert statistics.effective_number(np.array([1, 1, 2, 2])) == 2
    assert statistics.effective_number(np.array([1, 1, 2])) == pytest.approx(9 / 5)


def test_the_binary_threshold_drops_all_but_as_many_false_alarms_as_the_budget_allows():
    """93 clean strips with the probabilities 0 to 0.92, of which the surest has no mask; two defective."""
    probability = [*np.arange(93) / 100, 0.905, 0.99]
    area = [[50]] * 92 + [[0]] + [[50]] * 2
    some = strips(probability, [[False]] * 93 + [[True]] * 2, area)
    chosen = budgets.choose(some, base(), of(max_false_alarms=50))  # one of 93 may be wrong
    assert (chosen.strategy, chosen.label_thresholds, chosen.minimum_areas) == ("binary filter", (0,), (0,))
    drawn = budgets.alarm_areas(some, chosen)[:, 0] > 0
    assert np.flatnonzero(drawn).tolist() == [91, 93, 94]
    assert chosen.binary_threshold == pytest.approx(0.90) and chosen.binary_threshold > np.float32(0.90)
    none = budgets.choose(some, base(), of(max_false_alarms=1))  # 93 are too few to promise that
    assert np.flatnonzero(budgets.alarm_areas(some, none)[:, 0]).tolist() == [94]
    assert budgets.choose(some, base(), of(max_false_alarms=999)).binary_threshold < 0.1


def test_enough_is_found_at_the_highest_threshold_that_finds_it():
    probability = [0.1, 0.2, *np.arange(5, 98) / 100]
    some = strips(probability, [[False]] * 2 + [[True]] * 93, [[50]] * 95)
    chosen = budgets.choose(some, base(), of(min_recall=0.95))  # one of 93 may be missed
    assert chosen.binary_threshold == pytest.approx(0.06)
    found = budgets.alarm_areas(some, chosen)[2:, 0] > 0
    assert found.sum() == 92
    # where too many have no mask at any threshold, all that have one are let through
    blind = strips(probability, [[False]] * 2 + [[True]] * 93, [[50]] * 90 + [[0]] * 5)
    assert budgets.choose(blind, base(), of(min_recall=0.95)).binary_threshold == 0


def test_a_class_has_a_budget_of_its_own():
    """Both classes are drawn everywhere, class 2 with a number of pixels of its own on each clean strip."""
    area = np.column_stack([np.full(95, 50), np.arange(95) + 10])
    has_defect = np.zeros((95, 2), bool)
    has_defect[93:] = True
    some = strips(np.full(95, 0.5), has_defect, area)
    chosen = budgets.choose(some, base(2), of(of_classes=((0, 50), ()), classes=2))
    assert (chosen.binary_threshold, chosen.minimum_areas) == (0, (0, 102))  # of 10 to 102 pixels one is left
    assert (budgets.alarm_areas(some, chosen)[:93] > 0).sum(axis=0).tolist() == [93, 1]
    never = base(2, minimum_areas=(600, postprocess.NEVER))
    assert budgets.choose(some, never, of(max_false_alarms=50, classes=2)).minimum_areas == (0, 10**9)
    for wanted in (of(of_classes=((), (0, 0.5)), classes=2), of(min_recall=0.5, classes=2)):
        chosen = budgets.choose(some, never, wanted)
        assert (chosen.minimum_areas, chosen.binary_threshold) == ((0, 0), 0.5)


def test_parameters_are_limits_and_a_list_has_a_value_a_class():
    assert budgets.of_parameters(0, [], 0, [], 2) == []
    few, found = budgets.of_parameters(20, [0, 5], 0.9, [], 2)
    assert (few.name, few.limit, few.class_limits) == ("max_false_alarms", 0.02, (1, 0.005))
    assert (found.name, found.limit, found.class_limits) == ("min_recall", pytest.approx(0.1), (1, 1))
    with pytest.raises(UserError, match="class_min_recall has 1 values, and the data have 2 classes"):
        budgets.of_parameters(0, [], 0, [0.9], 2)


def test_what_alarms_are_worth_by_hand():
    """Ten strips: 1 and 2 have class 1, 3 has class 2. Class 1 is drawn on 1, 3 and 4, class 2 on 3 and 4."""
    has_defect = np.zeros((10, 2), bool)
    has_defect[[0, 1], 0] = has_defect[2, 1] = True
    marked = np.zeros((10, 2), bool)
    marked[[0, 2, 3], 0] = marked[[2, 3], 1] = True
    some = strips(np.zeros(10), has_defect, np.zeros((10, 2), int))
    result = alarms.achieved(some, marked, ["a", "b"])
    assert result["false_alarms"].tolist() == [1 / 7] * 3
    assert result["recall"].tolist() == [2 / 3, 1 / 2, 1]
    assert result["precision"].tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 2])
    assert result["alarms"].tolist() == pytest.approx([300, 300, 200])
    assert result["defect_free"].tolist() == [7] * 3 and result["defective"].tolist() == [3, 2, 1]
    assert result.loc["all classes", "recall_interval"] == statistics.wilson(np.arange(3) < 2, np.arange(3))
    # a mill with a tenth of the defects: 0.03 x 2 / 3 of all strips are found, 0.97 / 7 are false alarms
    weighted = alarms.achieved(some, marked, ["a", "b"], 0.03)
    assert weighted.loc["all classes", "alarms"] == pytest.approx(1000 * (0.02 + 0.97 / 7))
    assert weighted.loc["all classes", "precision"] == pytest.approx(0.02 / (0.02 + 0.97 / 7))
    assert weighted.loc["a", "precision"] == pytest.approx(0.01 / (0.01 + 0.01 + 0.97 / 7))
    least, most = weighted.loc["all classes", "precision_interval"]
    assert least < weighted.loc["all classes", "precision"] < most
    assert weighted["recall"].tolist() == result["recall"].tolist()
    counted, shares = alarms.shown({"point": weighted})
    assert counted.loc[("point", "a"), "false alarms in 1,000"] == "142.9"
    assert shares.loc[("point", "all classes"), "alarms in 1,000 strips"] == "158.6"
    nothing = alarms.achieved(some, np.zeros((10, 2), bool), ["a", "b"])
    assert np.isnan(nothing["precision"]).all() and nothing["alarms"].tolist() == [0] * 3


def test_too_few_strips_end_in_how_many_it_takes():
    has_defect = [[True]] * 60 + [[False]] * 40
    some = strips(np.linspace(0, 1, 100), has_defect, [[50]] * 100)
    marked = np.array([[index < 57] for index in range(100)])
    result = alarms.achieved(some, marked, ["a"])
    (few,) = alarms.remarks(some, of(max_false_alarms=10), marked, result)
    assert (
        "achieved 0.0 in 1,000 (95 % interval 0.0 to 87.6) on strips that did not choose, at a recall of 0.950."
        in few
    )
    assert "40 defect-free strips are too few, it takes 299, even if none of them is a false alarm." in few
    (found,) = alarms.remarks(some, of(min_recall=0.9), marked, result)
    assert found.startswith("all classes, a recall of 0.9: achieved 0.950 (95 % interval 0.863 to 0.983)")
    assert "too few" not in found and "not kept" not in found
    (missed,) = alarms.remarks(
        some, of(min_recall=0.9), marked[::-1], alarms.achieved(some, marked[::-1], ["a"])
    )
    assert missed.endswith("The budget is not kept: the networks do not part these strips well enough.")


def test_strips_of_a_few_coils_promise_no_more_than_there_are_coils():
    """200 clean strips of 10 coils: a perfect network promises nothing, and one false alarm does not mend that."""
    clean = 200
    group = np.r_[np.arange(clean) % 10, 10, 11]
    some = strips(np.zeros(clean + 2), [[False]] * clean + [[True]] * 2, [[50]] * (clean + 2), group)
    for wrong in (0, 1, 4):
        marked = np.array([[row < wrong or row >= clean] for row in range(clean + 2)])
        (said,) = alarms.remarks(some, of(max_false_alarms=20), marked, alarms.achieved(some, marked, ["a"]))
        assert said.endswith(
            "That is no promise: 200 defect-free strips are alike in part, near-duplicates or of one coil, and worth 10; it "
            "takes 149 that are not, even if none of them is a false alarm."
        )
        (enough,) = alarms.remarks(
            some, of(max_false_alarms=300), marked, alarms.achieved(some, marked, ["a"])
        )
        assert "no promise" not in enough and "on strips that did not choose" in enough


def test_where_all_strips_are_alike_nothing_is_said_of_others():
    some = strips(np.zeros(4), [[False], [False], [True], [True]], [[50]] * 4, np.zeros(4, int))
    marked = np.array([[False], [False], [True], [True]])
    (said,) = alarms.remarks(some, of(max_false_alarms=20), marked, alarms.achieved(some, marked, ["a"]))
    assert "on the strips that chose, as all of them are alike, at a recall" in said and "worth 1;" in said


def test_the_interval_holds_what_the_thresholds_that_are_handed_on_come_to():
    has_defect = np.arange(200)[:, None] >= 100
    some = strips(np.zeros(200), has_defect, np.full((200, 1), 50))
    fitted, handed_on = (np.arange(200)[:, None] < count for count in (5, 1))
    both = alarms.achieved(some, fitted, ["a"], handed_on=handed_on).loc["all classes"]
    one, other = (statistics.wilson(alarm[:100, 0], np.arange(100)) for alarm in (fitted, handed_on))
    assert both["false_alarms"] == 0.05 and both["false_alarms_interval"] == (other[0], one[1])


def test_a_recall_of_a_class_that_no_strip_has_asks_for_nothing():
    has_defect = [[True, False]] * 10 + [[False, False]] * 10
    some = strips(np.linspace(0, 1, 20), has_defect, [[50, 50]] * 20)
    budget = of(min_recall=0.5, of_classes=((), (0, 0.5)), classes=2)
    chosen = budgets.choose(some, base(2), budget)
    assert chosen == budgets.choose(some, base(2), of(min_recall=0.5, classes=2))
    every = np.ones((20, 2), bool)
    (_, unknown) = alarms.remarks(some, budget, every, alarms.achieved(some, every, ["a", "b"]))
    assert unknown.startswith("b, a recall of 0.5: nothing is known, as there are no defective strips.")


def test_without_a_defect_free_strip_nothing_is_claimed_of_false_alarms():
    some = strips(np.linspace(0, 1, 20), [[True]] * 20, [[50]] * 20)
    result = alarms.achieved(some, np.ones((20, 1), bool), ["a"], defective_share=0.02)
    assert result["recall"].tolist() == [1, 1]
    for unknown in ("false_alarms", "precision", "alarms"):
        assert np.isnan(result[unknown]).all()
    assert np.isnan(np.array(result["precision_interval"].tolist())).all()
    assert alarms.achieved(some, np.ones((20, 1), bool), ["a"])["precision"].tolist() == [1, 1]
    budget = of(max_false_alarms=20)
    assert budgets.choose(some, base(), budget) == budgets.without_filters(base())
    (said,) = alarms.remarks(some, budget, np.ones((20, 1), bool), result)
    assert said.endswith("nothing is known, as there are no defect-free strips. It takes 149.")
    (found,) = alarms.remarks(some, of(min_recall=0.5), np.ones((20, 1), bool), result)
    assert "achieved 1.000" in found and "nan" not in found
    counted, weighted = alarms.shown({"point": result})
    assert counted.iloc[0, 0] == weighted.iloc[0, 2] == "unknown"
    assert counted.iloc[0, 1] == "unknown to unknown"


def test_the_curve_falls_with_the_threshold():
    some = strips([0.1, 0.4, 0.6, 0.8], [[False], [True], [False], [True]], [[5], [5], [5], [0]])
    points = alarms.curve(some, base())
    assert points["threshold"].tolist() == pytest.approx([0.1, 0.4, 0.6, 1])
    assert points["false_alarms"].tolist() == [1, 0.5, 0.5, 0]
    assert points["recall"].tolist() == [0.5, 0.5, 0, 0]


def test_what_is_achieved_comes_from_strips_that_did_not_choose():
    """Two groups whose strips are parted at 0.3 and at 0.6: each group's threshold is the other's."""
    probability = np.r_[
        np.linspace(0, 0.2, 60), np.full(20, 0.4), np.linspace(0.45, 0.5, 60), np.full(20, 0.9)
    ]
    has_defect = np.r_[np.zeros(60), np.ones(20), np.zeros(60), np.ones(20)][:, None] > 0
    some = strips(probability, has_defect, np.full((160, 1), 50))
    first = np.arange(160) < 80
    by_fold = [(first, base()), (~first, base())]
    marked = budgets.cross_fitted_alarms(some, by_fold, of(max_false_alarms=50))[:, 0]
    assert not marked[:80].any() and marked[80:].all()


@pytest.mark.parametrize("limit", [50, 20])
def test_the_rate_on_new_strips_lies_in_the_stated_interval(limit):
    """Ten tables of 300 strips; the thresholds that are handed on, on 20,000 new strips."""
    fresh, inside, promise_kept = table(20_000, seed=999), 0, 0
    clean = ~fresh.has_defect.any(axis=1)
    for seed in range(10):
        some, budget = table(300, seed), of(max_false_alarms=limit, classes=2)
        by_fold = threshold_search.fold_thresholds(some)
        marked = budgets.cross_fitted_alarms(some, by_fold, budget)
        chosen = budgets.choose(some, threshold_search.choose_thresholds(some), budget)
        own = budgets.alarm_areas(some, chosen) > 0
        stated = alarms.achieved(some, marked, ["a", "b"], handed_on=own)
        stated = stated.loc["all classes", "false_alarms_interval"]
        rate = (budgets.alarm_areas(fresh, chosen) > 0).any(axis=1)[clean].mean()
        inside += stated[0] <= rate <= stated[1]
        promise_kept += rate <= limit / 1000
    assert inside >= 8 and promise_kept >= 8
