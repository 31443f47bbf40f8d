import numpy as np
import pytest

from lib.data import rle
from lib.evaluation import metrics


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]], 1.0),
        ([[0, 0], [0, 0]], [[1, 0], [0, 0]], 0.0),
        ([[1, 1], [0, 0]], [[0, 0], [0, 0]], 0.0),
        ([[1, 1], [0, 0]], [[1, 0], [0, 0]], 2 / 3),
        ([[1, 1], [1, 0]], [[0, 1], [1, 1]], 4 / 6),
        ([[1, 1], [1, 1]], [[1, 1], [1, 1]], 1.0),
    ],
)
def test_dice_is_exact(truth, prediction, expected):
    truth, prediction = np.array(truth, np.uint8), np.array(prediction, np.uint8)
    assert metrics.dice_of_rles([[rle.encode(truth)]], [[rle.encode(prediction)]])[0, 0] == expected


def test_score_is_the_mean_over_all_pairs_and_counts_empty_ones():
    truth = [["1 2", ""], ["", ""]]
    assert metrics.competition_score(truth, [["1 1", ""], ["", "5 1"]]) == pytest.approx(
        (2 / 3 + 1 + 1 + 0) / 4
    )
    assert metrics.competition_score(truth, [["", ""], ["", ""]]) == metrics.all_empty_score(truth) == 0.75


def test_dice_of_many_pairs_equals_dice_of_each():
    random = np.random.default_rng(3)
    masks = (random.random((2, 20, 3, 6, 7)) < random.choice([0, 0.3], (2, 20, 3, 1, 1))).astype(np.uint8)
    truth, prediction = [[[rle.encode(mask) for mask in row] for row in side] for side in masks]
    expected = [
        [metrics.dice((a & b).sum(), b.sum(), a.sum()) for a, b in zip(*rows, strict=True)]
        for rows in zip(*masks, strict=True)
    ]
    np.testing.assert_array_equal(metrics.dice_of_rles(truth, prediction), expected)
    assert metrics.dice_of_rles([["", ""]], [["", ""]]).tolist() == [[1, 1]]
    for short in ([["1 2"]], [["1 2", "", ""]], [["1 2", ""], ["", ""]]):
        with pytest.raises(ValueError):
            metrics.dice_of_rles([["1 2", ""]], short)


def test_classification_figures():
    computed = metrics.classification_metrics([1, 1, 0, 0, 0], [0.9, 0.4, 0.6, 0.1, 0.2], 0.5)
    assert computed == {"accuracy": 0.6, "precision": 0.5, "recall": 0.5}
    assert np.isnan(metrics.classification_metrics([0, 0], [0.1, 0.1])["precision"])


@pytest.mark.parametrize(
    ("recall", "expected"), [(1.0, 0.1), (0.99, 0.1), (0.76, 0.1), (0.75, 0.2), (0.51, 0.2), (0.5, 0.3)]
)
def test_threshold_keeps_the_wanted_recall(recall, expected):
    truth, probability = [1, 1, 1, 1, 0], [0.1, 0.2, 0.3, 0.4, 0.35]
    threshold = metrics.threshold_for_recall(truth, probability, recall)
    assert threshold == expected
    assert metrics.classification_metrics(truth, probability, threshold)["recall"] >= recall


@pytest.mark.parametrize(
    ("truth", "probability", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.25),  # all right only between 0.2 and 0.3
        ([0, 1], [0.2, 0.9], 0.5),  # anywhere from 0.2 to 0.9: 0.5 is as good as any
        ([0, 1, 0, 1], [0.6, 0.6, 0.7, 0.8], 0.75),  # equal probabilities cannot be told apart
        ([0, 0], [0.7, 0.9], 0.95),
        ([], [], 0.5),
    ],
)
def test_threshold_for_accuracy_has_the_most_right_answers(truth, probability, expected):
    assert metrics.threshold_for_accuracy(truth, probability) == pytest.approx(expected)
