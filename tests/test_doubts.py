"""A network that does no better than a constant answer says so: in the report, on the index and at the end of
a run."""

import numpy as np
import pytest

from lib.data import rle
from lib.evaluation import doubts
from lib.files import write_json
from lib.report import pages

SHAPE = (10, 20)


def masks_of(*columns):
    """Run-length strings of masks that fill so many columns from the left; "" for 0."""
    return [rle.encode((np.arange(SHAPE[1]) < count) * np.ones(SHAPE, np.uint8)) for count in columns]


def test_a_classifier_that_orders_strips_rightly_is_not_doubted_and_one_that_guesses_is():
    rng = np.random.default_rng(0)
    truth, group = np.arange(60) % 2, np.arange(60)
    assert doubts.of_classifier(truth, truth * 0.5 + rng.random(60) * 0.6, group, "it") == ""
    shuffled = doubts.of_classifier(truth, rng.random(60), group, "it")
    assert (
        "On these 60 strips, 30 of them with it, it cannot be told from one that gives every strip the same answer: AUC"
        in shuffled
    )
    assert "it does surely worse than one that gives every" in doubts.of_classifier(
        truth, -truth, group, "it"
    )
    constant = doubts.of_classifier(truth, np.full(60, 0.7), group, "it")
    assert "AUC 0.50, 95 % interval 0.50 to 0.50" in constant


def test_what_few_groups_show_is_doubted_though_the_strips_are_many():
    """Twelve copies of two strips: that one is above the other may be chance."""
    truth, group = np.repeat([0, 1, 0, 1], 6), np.repeat([0, 1, 2, 3], 6)
    probability = np.repeat([0.1, 0.9, 0.8, 0.7], 6)
    assert doubts.of_classifier(truth, probability, group, "it")
    assert not doubts.of_classifier(truth, probability, np.arange(24), "it")


@pytest.mark.parametrize("truth", [[0] * 9, [1] * 9])
def test_where_one_kind_is_missing_nothing_is_said(truth):
    assert doubts.of_classifier(np.array(truth), np.linspace(0, 1, 9), np.arange(9), "it") == ""


def test_a_segmenter_must_beat_painting_whole_strips():
    truth = masks_of(*[2] * 10, 0, 0)  # a tenth of the strip: painting all of it has a Dice of 0.4 / 2.2
    score = np.array([0.5] * 10 + [1, 1])
    drawn = masks_of(*[1] * 12)
    group = np.arange(12)
    assert doubts.of_segmenter(truth, drawn, score, group, SHAPE, "it") == ""
    low = doubts.of_segmenter(truth, drawn, np.array([0.1, 0.26] * 5 + [1, 1]), group, SHAPE, "it")
    assert "it cannot be told from painting whole strips: mean Dice 0.18 against 0.18" in low
    worse = doubts.of_segmenter(truth, drawn, np.array([0.01, 0.02] * 5 + [1, 1]), group, SHAPE, "it")
    assert "it does surely worse than painting whole strips: mean Dice 0.01 against 0.18" in worse
    nothing = doubts.of_segmenter(truth, masks_of(*[0] * 10, 3, 3), score * 0, group, SHAPE, "it")
    assert nothing == "On none of the 10 strips with the defect does it draw anything."
    assert (
        doubts.of_segmenter(masks_of(0, 0), masks_of(1, 0), np.array([0, 1]), np.arange(2), SHAPE, "it") == ""
    )


def test_a_cascade_must_gain_over_predicting_nothing():
    assert doubts.of_cascade(0.86, 0.81, (0.01, 0.09), 54) == ""
    doubt = doubts.of_cascade(0.82, 0.81, (-0.01, 0.03), 54)
    assert "score 0.8200 against 0.8100, 95 % interval of the difference -0.0100 to +0.0300" in doubt
    assert doubts.of_cascade(0.81, 0.81, (0.0, 0.0), 54)
    worse = doubts.of_cascade(0.763, 0.817, (-0.09, -0.02), 54)
    assert worse.startswith(
        "On these 54 strips the cascade does surely worse than predicting nothing: score 0.7630"
    )


@pytest.mark.parametrize("strips, steps, weights, said", [
    (100, 900, "none", "begin with ImageNet's, as --profile small_data does"),
    (100, 90, "imagenet", "It learned from 100 strips in 90 steps: set epochs higher."),
    (5000, 90, "none", "set epochs higher"),
    (100, 900, "imagenet", "whether the labels are right"),
])  # fmt: skip
def test_the_advice_follows_from_how_it_was_trained(strips, steps, weights, said):
    assert said in doubts.with_advice("A doubt.", strips, steps, weights)
    assert doubts.with_advice("", strips, steps, weights) == ""


def test_the_index_shows_doubts_before_the_score(tmp_path):
    write_json(
        tmp_path / "metrics" / "10_binary.json",
        {"summary": "x", "metrics": {"binary_doubt": "It <b>guesses</b>.", "a": 1.0}},
    )
    write_json(
        tmp_path / "metrics" / "20_multilabel.json", {"summary": "x", "metrics": {"multilabel_doubt": ""}}
    )
    pages.write_index(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert page.count("No better than a constant answer") == 1
    assert "<li>It &lt;b&gt;guesses&lt;/b&gt;.</li>" in page
    write_json(tmp_path / "metrics" / "10_binary.json", {"summary": "x", "metrics": {"binary_doubt": ""}})
    pages.write_index(tmp_path)
    assert "No better than a constant" not in (tmp_path / "index.html").read_text()
