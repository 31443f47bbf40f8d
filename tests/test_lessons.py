"""What a run showed, in words: the sentence that its numbers call for, and no other; and evaluation.json,
which keeps those numbers."""

import numpy as np
import pandas as pd
import pytest

from lib import files
from lib.evaluation import lessons, metrics, records

STAGES = {
    "filtered out": np.array([0.01, 0.0]),
    "no mask": np.array([0.0, 0.03]),
    "false alarm": np.array([0.0, 0.0]),
}


def test_the_cascades_score_stands_beside_the_empty_one_and_the_stage_that_loses_most_is_named():
    surely = lessons.of_cascade(0.96, (0.95, 0.97), 0.9, (0.05, 0.07), STAGES, ["class 1", "class 2"])
    assert surely[0] == (
        "The cascade scores 0.9600 (95 % interval 0.9500 to 0.9700), where predicting nothing scores 0.9000: the difference "
        "is no chance."
    )
    assert (
        surely[1]
        == "Of the 0.0400 that are missing to 1, 75% are lost as no mask, most of it in class 2 (0.0300)."
    )
    assert surely[2] == "Try next, for class 2: train its segmenter longer or on more crops of each strip."
    assert (
        "these strips cannot tell it from that"
        in lessons.of_cascade(0.96, (0.9, 1), 0.96, (-0.1, 0.1), STAGES, ["a", "b"])[0]
    )
    worse = lessons.of_cascade(0.76, (0.7, 0.8), 0.82, (-0.09, -0.02), STAGES, ["a", "b"])[0]
    assert worse.endswith("predicting nothing scores 0.8200: it does surely worse.")
    perfect = lessons.of_cascade(
        1.0, (1, 1), 0.9, (0.1, 0.1), {name: 0 * lost for name, lost in STAGES.items()}, ["a", "b"]
    )
    assert len(perfect) == 1


def test_what_the_filter_drops_is_mended_where_the_cascade_chooses_its_threshold():
    """Not by min_recall of 10_binary, which sets the threshold of that page alone."""
    stages = {name: 0 * lost for name, lost in STAGES.items()} | {"filtered out": np.array([0.1, 0.0])}
    said = lessons.of_cascade(0.9, (0.8, 1), 0.8, (0, 0.2), stages, ["a", "b"])
    assert said[-1] == (
        "Try next, for a: add an operating point that finds more with -p 40.min_recall=0.95, or train 10_binary longer."
    )
    missing = lessons.of_binary(0.9, 0.99, 0.1, 0.25, 200, 100, 0.01)
    assert missing[-1] == "That is less than chance explains: set validation higher, or train on more strips."


def test_every_stage_of_lost_points_has_a_remedy():
    assert set(lessons.REMEDIES) == {
        "filtered out",
        "class missed",
        "no mask",
        "imperfect mask",
        "false alarm",
    }


def test_a_strategy_is_changed_for_a_sure_gain_or_for_a_cheaper_one_that_is_as_good():
    worse = lessons.of_strategies(
        "both filters", "binary filter", "binary filter", -0.01, (-0.02, -0.005), 200
    )
    assert worse == [
        "'both filters' scores 0.0100 less than 'binary filter', and that is no chance: set strategy to 'binary filter'."
    ]
    assert (
        "'binary filter' is cheaper"
        in lessons.of_strategies("both filters", "both filters", "binary filter", 0.0, (0, 0), 200)[0]
    )
    assert (
        "it may stay"
        in lessons.of_strategies("both filters", "both filters", "both filters", 0.0, (0, 0), 200)[0]
    )
    assert lessons.of_strategies(
        "both filters", "binary filter", "binary filter", -0.1, (-0.2, -0.05), 9
    ) == ["9 strips are too few to choose a strategy by."]


def test_optimism_and_other_test_strips_are_told_where_they_are_sure():
    assert lessons.of_optimism(0.01, (-0.001, 0.02), 60) == []
    assert (
        "60 strips that are scored, thresholds look 0.0100 better"
        in lessons.of_optimism(0.01, (0.001, 0.02), 60)[0]
    )
    assert lessons.of_test_strips(0.9, 0.91, (0.88, 0.94)) == []
    assert lessons.of_test_strips(0.8, 0.91, (0.88, 0.94)) == [
        "The test strips look harder than the held-out ones: expect 0.8000 there."
    ]
    assert "easier" in lessons.of_test_strips(0.99, 0.91, (0.88, 0.94))[0]


def test_the_binary_filter_is_measured_by_what_it_was_to_keep():
    fine = lessons.of_binary(0.985, 0.99, 0.1, 0.25, 200, 100, 0.01)
    assert fine == [
        "At the threshold 0.250 it finds 98.5% of 200 defective strips; 99.0% of those that chose it were to be kept.",
        "It lets 10.0% of the others pass.",
    ]
    assert "less than chance explains" in lessons.of_binary(0.9, 0.99, 0.1, 0.25, 200, 100, 0.01)[-1]
    assert "saves little" in lessons.of_binary(0.99, 0.99, 0.6, 0.25, 200, 100, 0.01)[-1]
    assert lessons.of_binary(0.5, 0.99, np.nan, 0.25, 4, 100, 0.01)[-1].startswith("4 strips say little")
    assert "tta of 'none'" not in " ".join(
        lessons.of_binary(0.99, 0.99, 0.1, 0.25, 200, 100, np.nan)
    )  # it is
    assert "tta of 'none'" in lessons.of_binary(0.99, 0.99, 0.1, 0.25, 200, 100, 0.0)[-1]
    assert lessons.of_binary(np.nan, 0.99, 0.1, 0.25, 0, 100, np.nan) == [
        "No strip with a defect was held out, so nothing is known: set held_out higher."
    ]


def test_misses_by_hand():
    """One strip chose, and its probability is the threshold: a new one is below it in one of two cases, both of two
    in one of three."""
    assert lessons.chance_of_misses(0, 1, 1.0, 1) == 1
    assert lessons.chance_of_misses(1, 1, 1.0, 1) == pytest.approx(1 / 2)
    assert lessons.chance_of_misses(2, 2, 1.0, 1) == pytest.approx(1 / 3)
    assert lessons.chance_of_misses(1, 1, 0.5, 2) == pytest.approx(2 / 3)  # the upper one of two
    assert lessons.chance_of_misses(9, 9, 0.99, 0) == 1


@pytest.mark.parametrize(
    "n_chosen_by, n_positives, min_recall", [(30, 40, 0.99), (100, 130, 0.95), (20, 40, 1)]
)
def test_of_strips_of_one_kind_few_are_said_to_be_missed_by_more_than_chance(
    n_chosen_by, n_positives, min_recall
):
    rng = np.random.default_rng(0)
    said = 0
    for _ in range(1000):
        threshold = metrics.threshold_for_recall(np.ones(n_chosen_by), rng.random(n_chosen_by), min_recall)
        recall = float((rng.random(n_positives) >= threshold).mean())
        sentences = lessons.of_binary(recall, min_recall, 0.1, threshold, n_positives, n_chosen_by, 0.01)
        said += any("less than chance explains" in sentence for sentence in sentences)
    assert 0 < said <= 35  # at most 25 are expected, give or take 5


def test_the_weakest_class_is_named_unless_none_has_a_strip():
    first, weakest = lessons.of_multilabel(0.95, 0.7, [0.9, 0.5, np.nan], [40, 30, 0], ["a", "b", "c"])
    beside = "95.0% of its answers are right, where the best answer that is the same for every strip gives"
    assert first == f"{beside} 70.0%: it has learned to tell them apart."
    classes = [0.9], [40], ["a"]
    assert (
        lessons.of_multilabel(0.95, 0.7, *classes, True)[0] == f"{beside} 70.0%."
    )  # what is doubted is not claimed
    assert lessons.of_multilabel(0.95, 0.96, *classes)[0].endswith("nothing of use yet, so train it longer.")
    assert lessons.of_multilabel(1, 1, *classes)[0].endswith("100.0%: here there is nothing to tell apart.")
    assert weakest.startswith(
        "It finds 50.0% of the 30 strips with b, the least of all classes: try balanced_sampling"
    )
    assert "hold out more" in lessons.of_multilabel(0.95, 0.7, [0.9, 0.5], [40, 6], ["a", "b"])[1]
    assert len(lessons.of_multilabel(0.7, 0.7, [np.nan], [0], ["a"])) == 1


def test_the_best_epoch_tells_whether_to_train_longer():
    assert lessons.of_training(14, 14) == [
        "The best epoch was 14 of 14, at the end: it was still learning, so set epochs higher."
    ]
    assert "learn by heart" in lessons.of_training(3, 14)[0]
    assert lessons.of_training(10, 14) == []
    assert lessons.of_training(0, 14) == ["No epoch had a finite loss: set learning_rate lower."]


def test_an_evaluation_is_written_as_json_knows_it(tmp_path):
    table = pd.DataFrame(
        {"score": [0.5, np.nan], "strips with it": [3, 0], "its interval": [(0.25, 0.75), (np.nan, np.nan)]},
        index=["a", "b"],
    )
    curve = pd.DataFrame({"threshold": [0.0, np.inf], "cost": np.float32([0.5, 1])})
    records.write_evaluation(
        tmp_path / "evaluation.json",
        classes=table,
        curve=curve,
        row=curve.iloc[0],
        counts=np.array([[1, 2]]),
        text="x",
    )
    assert files.read_json(tmp_path / "evaluation.json") == {
        "classes": {
            "a": {"score": 0.5, "strips with it": 3, "its interval": [0.25, 0.75]},
            "b": {"score": None, "strips with it": 0, "its interval": [None, None]},
        },
        "curve": {"threshold": [0.0, None], "cost": [0.5, 1.0]},
        "row": {"threshold": 0.0, "cost": 0.5},
        "counts": [[1, 2]],
        "text": "x",
    }
