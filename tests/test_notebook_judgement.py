"""What the notebooks judge by: executed here in one process, with networks whose answers are known and which
need no training.

Strips that taught, that chose and that judge get answers of which each part would choose another threshold.
So it shows by which of them a notebook chose and on which it judged.
"""

import re
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
import pandas as pd
import pytest
from test_notebooks import FOLDER, cells_of

from lib import paths
from lib.data import splitting
from lib.errors import UserError
from lib.evaluation import metrics, predictions, scores, statistics, threshold_search
from lib.files import read_json, write_json
from lib.inference import predictor
from lib.inference.sources import read_thresholds
from lib.models import saving, training

HEIGHT, WIDTH = 64, 96
DEFECT = "641 20 705 20"  # 40 pixels in two columns
SHARES = {"held_out": 0.3, "validation": 0.3}
TINY = {
    "height": 32,
    "width": 64,
    "crop_width": 32,
    "epochs": 1,
    "workers": 1,
    "tta": ["none", "vertical"],
    **SHARES,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixty images of noise: 18 with class 1 alone, 12 with class 2 alone, 6 with both, 24 without a
    defect."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("train_images", "test_images"):
        (folder / name).mkdir()
    rng, rows = np.random.default_rng(0), []
    for number in range(60):
        cv2.imwrite(
            str(folder / "train_images" / f"{number:02}.png"), rng.integers(0, 255, (HEIGHT, WIDTH), np.uint8)
        )
        rows += [f"{number:02}.png,1,{DEFECT}"] if number < 18 or 30 <= number < 36 else []
        rows += [f"{number:02}.png,2,{DEFECT}"] if 18 <= number < 36 else []
    (folder / "train.csv").write_text("\n".join(["ImageId,ClassId,EncodedPixels", *rows]) + "\n")
    write_json(folder / "dataset.json", {"classes": 2, "height": HEIGHT, "width": WIDTH})
    return folder


def classes_of(image_id):
    """Whether an image has class 1 and class 2, as (2,) 0/1."""
    number = int(image_id[:2])
    return np.array([number < 18 or 30 <= number < 36, 18 <= number < 36], int)


class KnownNetwork:
    """Stands in for `predictor.Network`: `answer(name, image_id, members)` says what it predicts for an
    image; `asked` keeps which member answered alone."""

    answer, count, asked = None, 1, {}  # count: members of each ensemble
    engine = "float32"

    def __init__(self, folder, augmentations=("none",), batch_size=16, engine="float32"):
        self.name, self.folders, self.augmentations = folder.name, [folder], augmentations
        self.members, self.used, self.first = list(range(type(self).count)), type(self).count, 0

    def use(self, augmentations, members, first=0):
        self.used, self.first = members, first

    def __call__(self, files, *_):
        self.asked.update({paths.Path(file).name: self.first for file in files} if self.used == 1 else {})
        return (
            np.asarray(type(self).answer(self.name, paths.Path(file).name, self.used), np.float32)
            for file in files
        )


@pytest.fixture
def judged(data, tmp_path, monkeypatch):
    """A function that executes a notebook's code with known answers in place of networks, from its first cell
    to its last or to the one that holds `until`; what it left in its variables."""
    fitted = []

    def fit(model, batches, validation, *_, monitor="val_loss", **__):
        fitted.append((list(batches.paths), list(validation.paths)))
        return pd.DataFrame(
            {name: [0.5] for name in ("loss", "val_loss", "val_probability_loss", "val_dice", monitor)}
        )

    monkeypatch.setattr(predictor, "Network", KnownNetwork)
    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(saving, "save", lambda *_: None)

    def execute(name, answer=None, until="", **parameters):
        monkeypatch.setattr(KnownNetwork, "answer", staticmethod(answer))
        monkeypatch.setattr(KnownNetwork, "count", parameters.get("n_members", 1))
        KnownNetwork.asked.clear()
        variables = {"__name__": "__main__"}
        for source, tags in cells_of(FOLDER / f"{name}.ipynb"):
            if "bootstrap" in tags:
                continue
            exec(compile(re.sub(r"(?m)^%.*$", "", source), name, "exec"), variables)
            for drawing in ("plots", "charts"):
                if drawing in variables:
                    variables[drawing] = mock.MagicMock()
            if "parameters" in tags:
                variables |= {"data_dir": str(data), "run_dir": str(tmp_path), **parameters}
            if until and until in source:
                break
        return SimpleNamespace(**variables, fitted=fitted)

    return execute


def parts_of(run):
    """{image_id: "train", "validation" or "held_out"} of the division in a run's folder."""
    split = pd.read_csv(run / "split.csv", dtype=str)
    return dict(zip(split["image_id"], split["part"], strict=True))


def metrics_of(run, name):
    return read_json(run / "metrics" / f"{name}.json")["metrics"]


def ids(files):
    return {paths.Path(file).name for file in files}


def test_the_binary_threshold_is_chosen_on_validation_strips_and_judged_on_held_out_ones(judged, tmp_path):
    """The lowest probability of a defective strip is 0.05 among those that taught, 0.6 among those that
    choose; of those that judge, half have 0.3, and all strips without a defect 0.2."""

    def answer(name, image_id, members):
        part = parts_of(tmp_path)[image_id]
        if not classes_of(image_id).any():
            return [0.2]
        return [{"train": 0.05, "validation": 0.6, "held_out": 0.3 if int(image_id[:2]) % 2 else 0.8}[part]]

    judged("10_binary", answer, min_recall=1.0, **TINY)
    held_out = [image_id for image_id, part in parts_of(tmp_path).items() if part == "held_out"]
    found = [classes_of(image_id).any() and not int(image_id[:2]) % 2 for image_id in held_out]
    right = [one or not classes_of(image_id).any() for one, image_id in zip(found, held_out, strict=True)]
    recorded = metrics_of(tmp_path, "10_binary")
    assert recorded["binary_threshold"] == pytest.approx(0.6)
    assert recorded["binary_recall"] == pytest.approx(
        sum(found) / sum(classes_of(image_id).any() for image_id in held_out)
    )
    assert 0 < recorded["binary_recall"] < 1
    assert (recorded["binary_accuracy"], recorded["binary_precision"]) == (pytest.approx(np.mean(right)), 1)


@pytest.mark.parametrize("name", ["10_binary", "20_multilabel"])
def test_the_members_of_an_ensemble_that_learned_the_validation_strips_do_not_choose_by_them(
    name, judged, tmp_path
):
    """With all members together every answer is certain; the first member alone says 0.6 where there is a
    defect and 0.5 elsewhere."""

    def answer(network, image_id, members):
        truth = classes_of(image_id) if name == "20_multilabel" else [classes_of(image_id).any()]
        return (
            [0.9 * there + 0.05 for there in truth] if members > 1 else [0.6 + 0.1 * there for there in truth]
        )

    judged(name, answer, n_members=2, **TINY)
    recorded = metrics_of(tmp_path, name)
    thresholds = [recorded["binary_threshold"]] if name == "10_binary" else recorded["multilabel_thresholds"]
    assert all(0.6 < threshold <= 0.7001 for threshold in thresholds)


def test_the_multilabel_thresholds_are_chosen_on_validation_strips_and_judged_on_held_out_ones(
    judged, tmp_path
):
    """Present and absent classes are parted at 0.7 and 0.8 by validation strips, at 0.2 by held-out ones, at
    0.95 by the others."""

    def answer(name, image_id, members):
        part = parts_of(tmp_path)[image_id]
        middle = {"train": [0.95, 0.95], "validation": [0.7, 0.8], "held_out": [0.2, 0.2]}[part]
        return np.array(middle) + 0.02 * (2 * classes_of(image_id) - 1)

    judged("20_multilabel", answer, **TINY)
    recorded = metrics_of(tmp_path, "20_multilabel")
    assert recorded["multilabel_thresholds"] == pytest.approx([0.7, 0.8])
    held_out = [
        image_id
        for image_id, part in parts_of(tmp_path).items()
        if part == "held_out" and classes_of(image_id).any()
    ]
    truth = np.array([classes_of(image_id) for image_id in held_out])
    assert recorded["multilabel_accuracy"] == pytest.approx(1 - truth.mean())  # nothing is named
    assert recorded["multilabel_recall"] == [0, 0]


@pytest.mark.parametrize("name", ["10_binary", "20_multilabel", "31_seg_class1"])
@pytest.mark.parametrize("folds", [1, 2])
def test_held_out_strips_neither_teach_nor_name_the_best_epoch(name, folds, judged, tmp_path):
    found = judged(name, until="training.fit(", n_members=folds, **TINY)
    parts = parts_of(tmp_path)
    assert len(found.fitted) == folds
    for number, (taught, watched) in enumerate(found.fitted):
        assert taught and watched and not ids(taught) & ids(watched)
        assert "held_out" not in {parts[image_id] for image_id in ids(taught) | ids(watched)}
        fold = splitting.fold_parts(found.table, folds, number, 42)
        assert ids(watched) <= set(fold.loc[fold["part"] == "validation", "image_id"])


def test_a_segmenter_is_judged_on_held_out_strips_alone(judged, tmp_path):
    """Of the two columns of a defect, one is drawn on held-out strips and both elsewhere: Dice 2/3."""

    def answer(name, image_id, members):
        drawn = np.zeros((HEIGHT, WIDTH))
        if classes_of(image_id)[0]:
            drawn[:20, 10 : 11 if parts_of(tmp_path)[image_id] == "held_out" else 12] = 0.9
        return drawn

    judged("31_seg_class1", answer, **TINY)
    recorded = metrics_of(tmp_path, "31_seg_class1")
    assert recorded["seg_class1_dice_unfiltered"] == pytest.approx(2 / 3)
    assert recorded["seg_class1_false_alarms_unfiltered"] == 0


def two_kinds(run):
    """Held-out strips as 40_evaluation divides them for its two parts: {image_id: 0 or 1}."""
    held_out = [image_id for image_id, part in parts_of(run).items() if part == "held_out"]
    group = pd.read_csv(run / "split.csv", dtype={"image_id": str}).set_index("image_id")["group"]
    return dict(zip(held_out, statistics.assign_folds(group[held_out].to_numpy(), 2, 42), strict=True))


@pytest.fixture
def two_halves(judged, tmp_path):
    """40_evaluation where half of the held-out strips are outlined exactly below a pixel threshold of 0.5 and
    not at all above, and the other half exactly above 0.65 and everywhere below; the metrics, the number of
    pairs of either half with and without a defect."""
    areas = np.zeros((HEIGHT, WIDTH), bool)
    areas[:20, 10:12] = True

    def answer(name, image_id, members):
        if name == "binary":
            return [
                0.4 + 0.5 * classes_of(image_id).any()
                if kinds[image_id]
                else 0.1 + 0.2 * classes_of(image_id).any()
            ]
        if name == "multilabel":
            return [1.0, 1.0]
        there = classes_of(image_id)[int(name[-1]) - 1]
        if kinds[image_id]:
            return np.where(areas, 0.9, 0.65) * there
        return areas * 0.5 * there

    for name in paths.network_names(2):
        write_json(tmp_path / "models" / name / "model.json", {"weights_sha256": name})
    judged("40_evaluation", until="load_split(", **SHARES)
    kinds = two_kinds(tmp_path)
    given = {
        "strategy": "segment everything",
        "cv_folds": 2,
        "n_bootstrap": 20,
        "n_examples": 1,
        "engine": "float32",
        "classifier_tta": ["both"],
        **SHARES,
    }
    variables = judged("40_evaluation", answer, **given)
    counts = [[0, 0], [0, 0]]
    for image_id, kind in kinds.items():
        counts[kind][0] += int(classes_of(image_id).sum())
        counts[kind][1] += int((1 - classes_of(image_id)).sum())
    return variables, metrics_of(tmp_path, "40_evaluation"), counts


def test_the_score_is_that_of_thresholds_which_other_strips_chose(two_halves, tmp_path):
    """Either half chooses the threshold that is wrong for the other: nothing, or everything, is drawn
    there."""
    variables, recorded, ((first, first_without), (second, second_without)) = two_halves
    pairs = first + first_without + second + second_without
    everywhere = 2 * 40 / (40 + HEIGHT * WIDTH)
    assert min(first, second) > 3
    assert recorded["competition_score"] == pytest.approx(
        (second * everywhere + first_without + second_without) / pairs
    )
    assert {
        round(one["pixel_thresholds"][0], 1) >= 0.7
        for one in read_json(tmp_path / "evaluation.json")["thresholds_by_fold"]
    } == {False, True}
    assert recorded["competition_score_interval"][1] < recorded["in_sample_competition_score"]
    assert recorded["all_empty_score"] == pytest.approx((first_without + second_without) / pairs)
    assert sum(map(sum, recorded["lost_points"].values())) == pytest.approx(1 - recorded["competition_score"])
    assert metrics.competition_score(variables.truth, variables.predicted) == pytest.approx(
        recorded["competition_score"]
    )


@pytest.mark.parametrize("score", ["positives_and_empties", "miou"])
def test_thresholds_are_chosen_for_the_score_and_it_stands_everywhere(score, judged, tmp_path):
    """Exact outlines, a false alarm on each clean strip: probabilities of 0.3 that a filter can drop."""

    def answer(name, image_id, members):
        truth = classes_of(image_id)
        if name in ("binary", "multilabel"):
            return [0.3 + 0.6 * truth.any()] if name == "binary" else 0.1 + 0.8 * truth
        areas = np.zeros((HEIGHT, WIDTH))
        areas[:20, 10:12] = 0.9
        return areas

    for name in paths.network_names(2):
        write_json(tmp_path / "models" / name / "model.json", {"weights_sha256": name})
    variables = judged("40_evaluation", answer, score=score, n_bootstrap=20, engine="float32", **SHARES)
    recorded = metrics_of(tmp_path, "40_evaluation")
    assert (recorded["scored_by"], recorded["competition_score"]) == (score, pytest.approx(1))
    assert recorded["all_empty_score"] == {"positives_and_empties": 0.3, "miou": 0}[score]
    assert recorded["class_scores"] == pytest.approx([1, 1]) and "lookup_baseline" not in recorded
    assert sum(map(sum, recorded["lost_points"].values())) == pytest.approx(0)
    assert read_thresholds(tmp_path).score == score
    assert scores.TITLES[score] in variables.learned[0]


def test_operating_points_are_handed_on_with_what_they_achieved(judged, tmp_path):
    """The binary classifier parts clean strips (0.2) from defective ones (0.6); the same is drawn on each."""

    def answer(name, image_id, members):
        if name in ("binary", "multilabel"):
            return [0.2 + 0.4 * classes_of(image_id).any()] if name == "binary" else [1.0, 1.0]
        areas = np.zeros((HEIGHT, WIDTH))
        areas[:20, 10:12] = 0.9
        return areas

    for name in paths.network_names(2):
        write_json(tmp_path / "models" / name / "model.json", {"weights_sha256": name})
    given = {"max_false_alarms": 20.0, "min_recall": 0.5, "defective_share": 0.01, "engine": "float32"}
    variables = judged("40_evaluation", answer, n_bootstrap=20, score="miou", **given, **SHARES)
    points = read_json(tmp_path / "thresholds.json")["operating_points"]
    assert list(points) == ["max_false_alarms", "min_recall"]
    few, found = (read_thresholds(tmp_path, name) for name in points)
    assert 0.2 < few.binary_threshold < 0.6 and found.binary_threshold == pytest.approx(0.6)
    assert few.models == read_thresholds(tmp_path).models and few.shape == (HEIGHT, WIDTH)
    assert points["max_false_alarms"]["asked_for"] == {"max_false_alarms": 20, "class_max_false_alarms": []}
    for point in points.values():
        row = point["achieved"]["all classes"]
        assert (row["false_alarms"], row["recall"], row["alarms"]) == (0, 1, pytest.approx(10))
    few_text, found_text = variables.remarks
    assert few_text.endswith("it takes 149, even if none of them is a false alarm.")
    assert found_text.startswith("all classes, a recall of 0.5: achieved 1.000 (95 % interval 0.")
    assert metrics_of(tmp_path, "40_evaluation")["budgets_kept"] == variables.remarks
    assert variables.learned[-2:] == variables.remarks


def test_what_is_handed_on_is_chosen_on_all_held_out_strips(two_halves, tmp_path):
    variables, recorded, ((first, first_without), (second, second_without)) = two_halves
    pairs = first + first_without + second + second_without
    written = read_thresholds(tmp_path)
    by_all = threshold_search.choose_thresholds(variables.predictions, "segment everything")
    names = ("tta", "classifier_tta", "shape", "models", "class_names")
    assert replace(written, **{name: getattr(by_all, name) for name in names}) == by_all
    assert written.class_names == ("class 1", "class 2")
    assert (written.tta, written.classifier_tta) == (("none", "vertical"), ("both",))
    assert written.shape == (HEIGHT, WIDTH)
    assert written.models == {name: name for name in paths.network_names(2)}
    assert recorded["in_sample_competition_score"] == pytest.approx(
        predictions.pair_scores(variables.predictions, by_all).mean()
    )
    assert (
        recorded["in_sample_competition_score"]
        >= (max(first, second) + first_without + second_without) / pairs
    )
    assert recorded["in_sample_minus_cross_fitted"] == pytest.approx(
        recorded["in_sample_competition_score"] - recorded["competition_score"]
    )


def test_the_filters_cost_is_that_of_thresholds_which_other_strips_chose(two_halves, tmp_path):
    """The filter parts one half at 0.2 and the other at 0.65: with the other's threshold all of one's defects
    are missed, and all strips of the other pass."""
    _, recorded, _ = two_halves
    kinds = two_kinds(tmp_path)
    missed = sum(classes_of(image_id).any() for image_id, kind in kinds.items() if kind == 0)
    alarms = sum(not classes_of(image_id).any() for image_id, kind in kinds.items() if kind == 1)
    assert recorded["filter_cost"] == pytest.approx((10 * missed + alarms) / len(kinds))
    assert (
        read_json(tmp_path / "evaluation.json")["filter_points"]["least cost"]["cost"]
        < recorded["filter_cost"]
    )


@pytest.mark.parametrize("name", paths.network_names(2))
def test_networks_that_learned_from_another_division_are_not_judged(name, judged, tmp_path):
    for one in paths.network_names(2):
        write_json(tmp_path / "models" / one / "model.json", {"weights_sha256": one})
    judged("40_evaluation", until="load_split(", **SHARES)
    split_hash = splitting.split_hash(tmp_path)
    for one in paths.network_names(2):
        write_json(tmp_path / "models" / one / "model.json", {"weights_sha256": one, "split": split_hash})
    judged("40_evaluation", until="load_split(", **SHARES)
    write_json(tmp_path / "models" / name / "model.json", {"weights_sha256": name, "split": "another"})
    with pytest.raises(UserError, match=f"{name} was trained on another division of the images"):
        judged("40_evaluation", until="load_split(", **SHARES)


@pytest.mark.parametrize("name", ["10_binary", "20_multilabel", "31_seg_class1"])
def test_where_nothing_is_held_out_every_strip_is_judged_by_the_network_that_it_validated(
    name, judged, tmp_path
):
    def answer(network, image_id, members):
        truth = classes_of(image_id)
        if name == "31_seg_class1":
            return np.zeros((HEIGHT, WIDTH))
        return [0.9 * truth.any()] if name == "10_binary" else 0.9 * truth

    found = judged(name, answer, **{**TINY, "held_out": 0.0, "n_members": 3, "keep": "last"})
    if name == "10_binary":
        assert [len(ids(watched) | ids(taught)) for taught, watched in found.fitted] == [60, 60, 60]
    watched = {image_id: number for number, (_, files) in enumerate(found.fitted) for image_id in ids(files)}
    assert KnownNetwork.asked
    assert KnownNetwork.asked.items() <= watched.items()
    taught = [ids(files) for files, _ in found.fitted]
    assert not any(image_id in taught[number] for image_id, number in KnownNetwork.asked.items())


def test_the_evaluation_of_all_strips_asks_the_network_that_each_validated(judged, tmp_path):
    """Nothing held out, three networks of each kind: all sixty strips are judged, and the cards must say the
    same division."""
    for one in paths.network_names(2):
        write_json(tmp_path / "models" / one / "model.json", {"weights_sha256": one})
    zero = {**SHARES, "held_out": 0.0}
    with pytest.raises(UserError, match="is not network 1 of 1"):
        judged("40_evaluation", until="load_split(", **zero)
    for one in paths.network_names(2):
        for number in range(3):
            folder = paths.member_folder(tmp_path / "models" / one, number)
            write_json(folder / "model.json", {"weights_sha256": f"{one}{number}", "fold": [number, 3]})
    found = judged("40_evaluation", until="evaluation_images(table", n_members=3, **zero)
    assert len(found.rows) == 60
    fold = {
        number: splitting.fold_parts(found.table, 3, number, 42)["part"].to_numpy() for number in range(3)
    }
    for one in found.members.values():
        assert all(fold[member][row] == "validation" for row, member in enumerate(one["member"]))
    write_json(
        paths.member_folder(tmp_path / "models" / "binary", 1) / "model.json",
        {"weights_sha256": "x", "fold": [1, 2]},
    )
    with pytest.raises(UserError, match=r"binary\.2 is not network 2 of 3"):
        judged("40_evaluation", until="evaluation_images(table", n_members=3, **zero)
