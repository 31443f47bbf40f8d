"""At a threshold: what 40_evaluation counts is what 90_inference predicts, to the last bit, and a value equal
to it passes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.data import rle, targets
from lib.errors import UserError
from lib.evaluation import metrics, predictions, threshold_search
from lib.inference import cascade, postprocess, sources
from lib.inference.postprocess import PostprocessConfig

SHAPE = (40, 60)


def beside(threshold):
    """The float32 below a threshold, the one nearest to it, and the one above."""
    at = np.float32(threshold)
    return [np.nextafter(at, np.float32(0)), at, np.nextafter(at, np.float32(1))]


CANDIDATES = [value for threshold in threshold_search.CANDIDATE_THRESHOLDS for value in beside(threshold)]
PIXELS = [value for threshold in predictions.PIXEL_THRESHOLDS for value in beside(threshold)]
AREAS = [0, 1, *(area + step for area in (75, 150, 300, 400, 600) for step in (-1, 0, 1))]
STRIP = st.tuples(
    st.sampled_from(CANDIDATES),
    st.sampled_from(CANDIDATES + PIXELS),
    st.sampled_from(PIXELS),
    st.sampled_from(AREAS),
)


def stand_ins(strips):
    """Networks with known answers, for files named by their number: maps of one value on the first so many
    pixels."""
    maps = []
    for _, _, pixel, area in strips:
        maps.append(np.zeros(SHAPE, np.float32))
        maps[-1].ravel()[:area] = pixel
    answers = {
        "binary": [np.float32([strip[0]]) for strip in strips],
        "multilabel": [np.float32([strip[1]]) for strip in strips],
        "seg_class1": maps,
    }
    return {
        name: lambda files, *_, values=values: [values[int(file)] for file in files]
        for name, values in answers.items()
    }


@given(
    strips=st.lists(STRIP, min_size=1, max_size=6), strategy=st.sampled_from(list(postprocess.STRATEGIES)),
    binary=st.sampled_from(threshold_search.CANDIDATE_THRESHOLDS), label=st.sampled_from(threshold_search.CANDIDATE_THRESHOLDS),
    pixel=st.sampled_from(predictions.PIXEL_THRESHOLDS),
    smallest=st.sampled_from(predictions.SMALLEST_COMPONENTS), least=st.sampled_from(threshold_search.MINIMUM_AREAS),
)  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_what_is_judged_is_what_is_predicted(strips, strategy, binary, label, pixel, smallest, least):
    chosen = PostprocessConfig(strategy, binary, (label,), (pixel,), (smallest,), (least,))
    networks, files = stand_ins(strips), [str(number) for number in range(len(strips))]
    found = predictions.collect_predictions(
        networks, pd.DataFrame({"path": files}), [[""]] * len(files), SHAPE
    )
    predicted = cascade.predict(networks, files, chosen, SHAPE)[0]
    assert predictions.passing_pairs(found, chosen)[2][:, 0].tolist() == [row[0] != "" for row in predicted]


@pytest.mark.parametrize(
    "threshold", sorted({*threshold_search.CANDIDATE_THRESHOLDS[1:], *predictions.PIXEL_THRESHOLDS})
)
def test_a_probability_equal_to_its_threshold_passes_and_the_next_one_below_does_not(threshold):
    below, at, above = beside(threshold)
    for given_ in (threshold, [threshold], np.array([threshold]), np.float64(threshold)):
        assert np.ravel([postprocess.reaches(value, given_) for value in (below, at, above)]).tolist() == [
            False,
            True,
            True,
        ]
    assert postprocess.reaches(np.array([below, at]), threshold).tolist() == [False, True]


def test_an_area_equal_to_the_minimum_is_kept_when_judged_and_when_predicted():
    strips = [(np.float32(0.9), np.float32(0.7), np.float32(0.7), area) for area in (149, 150, 151)]
    chosen = PostprocessConfig(
        "both filters", 0.5, (0.7,), (0.7,), smallest_components=(150,), minimum_areas=(150,)
    )
    networks, files = stand_ins(strips), ["0", "1", "2"]
    found = predictions.collect_predictions(networks, pd.DataFrame({"path": files}), [[""]] * 3, SHAPE)
    for piece in (0, 150):
        chosen = replace(chosen, smallest_components=(piece,))
        assert predictions.passing_pairs(found, chosen)[2][:, 0].tolist() == [False, True, True]
        assert [row[0] != "" for row in cascade.predict(networks, files, chosen, SHAPE)[0]] == [
            False,
            True,
            True,
        ]


@pytest.mark.parametrize("strategy", ["both filters", "multilabel filter"])
def test_a_choice_at_the_very_edge_keeps_its_defects_and_drops_its_alarms(strategy):
    """Two defects whose probability is a gate and whose area is a minimum; alarms one step below either."""
    below, at, _ = beside(0.7)
    label, area, truth = (
        np.array([[at], [below], [at]]),
        np.array([150, 4000, 149]),
        np.array([[150], [0], [0]]),
    )
    some = predictions.CascadePredictions(
        np.ones(3, np.float32),
        label,
        truth,
        area.reshape(3, 1, 1, 1),
        (truth[:, 0] * 1).reshape(3, 1, 1, 1),
        np.arange(3),
        (0.5,),
        (0,),
    )
    chosen = threshold_search.choose_thresholds(some, strategy, smooth=False)
    assert predictions.pair_scores(some, chosen).tolist() == [[1], [1], [1]]
    assert (chosen.label_thresholds, chosen.minimum_areas) == ((0.7,), (150,))


@given(truth=st.lists(st.booleans(), min_size=1, max_size=12), data=st.data())
def test_the_most_accurate_threshold_is_as_accurate_as_it_was_counted(truth, data):
    near = beside(0.7) + beside(0.3)
    probability = np.array([data.draw(st.sampled_from(near)) for _ in truth], np.float32)
    best = max(((probability >= np.float32(one)) == truth).mean() for one in [0.0, *near, 1.0])
    threshold = metrics.threshold_for_accuracy(truth, probability)
    assert metrics.classification_metrics(truth, probability, threshold)["accuracy"] == best


@pytest.mark.parametrize("strategy", ["binary filter", "both filters", "multilabel filter", postprocess.SOFT])
def test_a_probability_equal_to_its_filters_threshold_passes_when_judged_and_when_predicted(strategy):
    """A mask of 150 pixels that nothing but the filter can drop; for soft gating the probability of the class
    is the product."""
    one = np.float32(1)
    strips = [
        (at, one, one, 150) if strategy == "binary filter" else (one, at, one, 150) for at in beside(0.7)
    ]
    if strategy == "both filters":
        strips += [(at, one, one, 150) for at in beside(0.7)]
    chosen = PostprocessConfig(strategy, 0.7, (0.7,), (0.7,), smallest_components=(0,), minimum_areas=(0,))
    networks, files = stand_ins(strips), [str(number) for number in range(len(strips))]
    found = predictions.collect_predictions(
        networks, pd.DataFrame({"path": files}), [[""]] * len(files), SHAPE
    )
    expected = [False, True, True] * (len(strips) // 3)
    assert predictions.passing_pairs(found, chosen)[2][:, 0].tolist() == expected
    assert [row[0] != "" for row in cascade.predict(networks, files, chosen, SHAPE)[0]] == expected


def test_soft_gating_weighs_the_map_by_the_probability_of_the_class_when_judged_and_when_predicted():
    """A map of 0.8 on 200 pixels, all of them of the defect: with a class of 0.9 it is 0.72, with 0.5 it is
    0.4, with 0.1 nothing."""
    strips = [(np.float32(1), np.float32(label), np.float32(0.8), 200) for label in (0.9, 0.5, 0.1)]
    networks, files, mask = stand_ins(strips), ["0", "1", "2"], np.zeros(SHAPE, np.uint8)
    mask.ravel()[:200] = 1
    found = predictions.collect_predictions(
        networks, pd.DataFrame({"path": files}), [[rle.encode(mask)]] * 3, SHAPE
    )
    reached = [
        [0.8 * label >= threshold for threshold in predictions.PIXEL_THRESHOLDS] for label in (0.9, 0.5, 0.1)
    ]
    for pixels in (found.soft_area, found.soft_intersection):
        assert (pixels[:, 0, :, 0] // 200).tolist() == [[int(one) for one in row] for row in reached]
    assert (found.area[:, 0, :, 0] == 200).all()  # without the weight the map reaches every threshold
    for place, threshold in enumerate(predictions.PIXEL_THRESHOLDS):
        chosen = PostprocessConfig(
            postprocess.SOFT, 0.5, (0.0,), (threshold,), smallest_components=(0,), minimum_areas=(0,)
        )
        predicted = cascade.predict(networks, files, chosen, SHAPE)[0]
        assert [row[0] == rle.encode(mask) for row in predicted] == [row[place] for row in reached]
        assert predictions.pair_scores(found, chosen)[:, 0].tolist() == [float(row[place]) for row in reached]


class Ensemble:
    """Three members that answer with how many of them are in use, and the first; each takes 10 s an image."""

    def __init__(self):
        self.augmentations, self.members, self.predicting = ("none",), [0, 1, 2], 0.0
        self.use(1, 3)

    def use(self, augmentations, members, first=0):
        self.used = members, first

    def __call__(self, paths):
        for _ in paths:
            self.predicting += 10 * self.used[0]
            yield self.used


def test_where_each_image_has_its_member_all_answer_again_afterwards_and_count_in_the_seconds():
    rows = pd.DataFrame({"path": list("abcdef"), "member": [0, 1, 1, 2, 0, 2]})
    network, seconds = Ensemble(), {}
    answers = dict(predictions.timed_answers(network, rows, seconds, "binary"))
    assert [answers[index] for index in range(6)] == [(1, 0), (1, 1), (1, 1), (1, 2), (1, 0), (1, 2)]
    assert network.used == (3, 0)
    assert seconds["binary"] == pytest.approx(
        20, abs=0.1
    )  # what the two others would take; the clock ran none of it
    begun = predictions.timed_answers(network, rows, seconds, "binary")
    next(begun)
    begun.close()
    assert network.used == (3, 0)
    together = dict(predictions.timed_answers(network, rows.assign(member=-1), seconds, "binary"))
    assert set(together.values()) == {(3, 0)} and seconds["binary"] < 0.1


def test_every_class_has_its_own_network_truth_and_threshold():
    """Three classes on two images. The network of class 1, 2, 3 draws 100, 200, 300 pixels, with 0.5, 0.6 and
    0.7; of the truth it hits 10, 20, 30."""
    maps, truth = [], []
    for number in (1, 2, 3):
        maps.append(np.zeros(SHAPE, np.float32))
        maps[-1].ravel()[: 100 * number] = 0.4 + 0.1 * number
        mask = np.zeros(SHAPE, np.uint8)
        mask.ravel()[90 * number : 90 * number + 50] = 1
        truth.append(rle.encode(mask))
    answers = {
        "binary": [0.9],
        "multilabel": [0.9, 0.8, 0.7],
        **{f"seg_class{number}": maps[number - 1] for number in (1, 2, 3)},
    }
    networks = {
        name: lambda files, *_, value=value: [np.asarray(value, np.float32) for _ in files]
        for name, value in answers.items()
    }
    found = predictions.collect_predictions(
        networks, pd.DataFrame({"path": ["0", "1"]}), [truth, ["", truth[1], ""]], SHAPE
    )
    assert found.true_area.tolist() == [[50, 50, 50], [0, 50, 0]]
    assert found.area[0, :, 0, 0].tolist() == [100, 200, 300]
    assert found.intersection[:, :, 0, 0].tolist() == [[10, 20, 30], [0, 20, 0]]
    drawn = {
        threshold: [int(0.4 + 0.1 * number >= threshold - 1e-6) for number in (1, 2, 3)]
        for threshold in predictions.PIXEL_THRESHOLDS
    }
    for place, threshold in enumerate(predictions.PIXEL_THRESHOLDS):
        assert found.area[0, :, place, 0].tolist() == [
            100 * number * drawn[threshold][number - 1] for number in (1, 2, 3)
        ]
    chosen = PostprocessConfig("both filters", 0.5, (0.5, 0.85, 0.5), (0.3, 0.3, 0.6), (0, 0, 0), (0, 0, 0))
    for least, third in ((301, 0), (300, 300)):
        chosen = replace(chosen, minimum_areas=(0, 0, least))
        predicted = cascade.predict(networks, ["0", "1"], chosen, SHAPE)[0]
        assert [[rle.area(text) for text in row] for row in predicted] == [[100, 0, third]] * 2
        assert predictions.passing_pairs(found, chosen)[2].tolist() == [[True, False, third > 0]] * 2


def test_crops_begin_anywhere_about_the_defect():
    """The defect stands at every place of the crop, equally often but at the image's edges; without one,
    crops begin anywhere."""
    mask = np.zeros((4, 100), np.uint8)
    mask[:, 50] = 1
    random = np.random.default_rng(0)
    starts = np.array([targets.crop_start(random, mask, 10) for _ in range(4000)])
    where, count = np.unique(50 - starts, return_counts=True)
    assert where.tolist() == list(range(10)) and count.min() > 300 and count.max() < 500
    assert set(np.unique([targets.crop_start(random, mask * 0, 90) for _ in range(400)])) == set(range(11))
    mask[:, 80] = 1
    both = np.array([targets.crop_start(random, mask, 10) for _ in range(400)])
    assert 120 < (both <= 50).sum() < 280


def test_thresholds_know_what_the_classes_are_called(tmp_path):
    """So does a pack, which has no evaluation.json."""
    plain = PostprocessConfig("segment everything", 0.5, (0.5, 0.5), (0.5, 0.5), (0, 0), (0, 0))
    replace(plain, class_names=("1 spots", "2 cracks")).write(tmp_path / "thresholds.json")
    assert sources.class_titles(tmp_path, sources.read_thresholds(tmp_path)) == ["1 spots", "2 cracks"]
    plain.write(tmp_path / "thresholds.json")
    assert sources.class_titles(tmp_path, sources.read_thresholds(tmp_path)) == ["class 1", "class 2"]
    replace(plain, class_names=("1 spots",)).write(tmp_path / "thresholds.json")
    with pytest.raises(UserError, match="1 classes in class_names"):
        sources.read_thresholds(tmp_path)
