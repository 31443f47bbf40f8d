"""Test-time augmentation of networks whose answer is known for every image: mirrored passes, and random ones."""

import numpy as np
import pytest
from cv2 import imwrite

from lib import paths
from lib.data import choices
from lib.errors import UserError
from lib.inference import cascade, passes
from lib.inference.predictor import Network
from lib.models import saving

H, W = 4, 6
LIGHT = {"flips": "none", "brightness": 0.2, "contrast": 0.0}
FLIPS = {"flips": "both", "brightness": 0.0, "contrast": 0.0}


def mean_grey(images):
    """Each image's mean grey as a share of white, (B, 1) float32."""
    return images.mean(axis=(1, 2, 3), dtype=np.float64)[:, None].astype(np.float32) / 255


def is_left(images):
    """Whether the left half is the brighter one, (B, 1) float32."""
    left, right = images[:, :, : W // 2], images[:, :, W // 2 :]
    return (left.sum(axis=(1, 2, 3)) > right.sum(axis=(1, 2, 3))).astype(np.float32)[:, None]


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """A function that opens a network with a known answer; `shown` gets every batch that it is asked about."""

    def open_network(answer, tta, augmentation=FLIPS, seed=7, batch_size=16, shown=None):
        def predict(images):
            if shown is not None:
                shown.append(images.copy())
            return answer(images)

        card = {"input": [H, W], "seed": seed, "training": {"augmentation": augmentation}}
        monkeypatch.setattr(saving, "predictor", lambda *_: (predict, card))
        return Network(tmp_path / "binary", tta, batch_size)

    return open_network


@pytest.fixture
def strips(tmp_path):
    """Forty files: grey strips of 60, 61 ... 99, each a little brighter on the left."""
    files = []
    for grey in range(60, 100):
        image = np.full((H, W), grey, np.uint8)
        image[:, 0] += 6
        files.append(str(tmp_path / f"{grey}.png"))
        imwrite(files[-1], image)
    return files


def test_entries_stand_for_passes_each_with_a_name_of_its_own():
    assert passes.named(["none", "both"]) == ("none", "both")
    names = passes.named(["vertical", "random10"])
    assert names == ("vertical", *(f"random pass {number}" for number in range(1, 11)))
    with pytest.raises(UserError, match="no flip called 'random11'"):
        passes.named(["random11"])


def test_passes_that_do_not_change_the_mean_grey_leave_its_probability_exact(opened, strips):
    """(5 x grey + (grey + 6)) / 6 is grey + 1, however a strip is mirrored, and so is the mean of ten times it."""
    answers = np.ravel(list(opened(mean_grey, ["random10"])(strips)))
    assert answers == pytest.approx(np.arange(61, 101) / 255, abs=1e-6)


def test_what_is_averaged_are_the_probabilities_of_the_passes(opened):
    image = np.full((1, H, W, 1), 100, np.uint8)
    shown = []
    network = opened(mean_grey, ["random10"], LIGHT, shown=shown)
    answer = network.answer(image)
    greys = np.array([batch[0, 0, 0, 0] for batch in shown])
    assert all(
        (batch == grey).all() for batch, grey in zip(shown, greys, strict=True)
    )  # moved in light alone
    assert len(greys) == 10 and len(set(greys)) > 5 and greys.min() >= 49 and greys.max() <= 151
    assert answer == pytest.approx(greys.mean() / 255, abs=1e-6)


def test_contrast_changes_about_the_mean_of_the_strip(opened):
    image = np.full((1, H, W, 1), 100, np.uint8)
    image[:, :, 0] = 190  # the mean is 115
    shown = []
    options = {"flips": "none", "brightness": 0.0, "contrast": 0.5}
    opened(mean_grey, ["random10"], options, shown=shown).answer(image)
    for batch in shown:
        gain = (int(batch[0, 0, 0, 0]) - int(batch[0, 0, 1, 0])) / 90
        assert 0.48 <= gain <= 1.52 and batch.mean() == pytest.approx(115, abs=1)


def test_every_strip_is_mirrored_in_its_own_way_and_about_half_of_the_time(opened, strips):
    shares = np.ravel(list(opened(is_left, ["random10"])(strips)))
    assert (shares * 10).round(5).tolist() == (shares * 10).round().tolist()
    assert 0.4 < shares.mean() < 0.6 and len(set(shares)) > 3


@pytest.mark.parametrize("batch_size", [1, 3, 40])
def test_a_strip_gets_the_same_answer_in_every_batch_and_order(opened, strips, batch_size):
    def answers(files, size):
        network = opened(mean_grey, ["none", "random10"], LIGHT | {"flips": "both"}, batch_size=size)
        return dict(zip(files, np.ravel(list(network(files))).tolist(), strict=True))

    assert answers(strips[::-1], batch_size) == answers(strips, 16)


def test_passes_follow_from_the_seed(opened, strips):
    by_seed = [
        np.ravel(list(opened(mean_grey, ["random10"], LIGHT, seed=seed)(strips))).tolist()
        for seed in (7, 7, 8)
    ]
    assert by_seed[0] == by_seed[1] != by_seed[2]


def test_members_of_an_ensemble_are_shown_the_same(opened):
    shown = []
    network = opened(mean_grey, ["random10"], LIGHT, shown=shown)
    network.members *= 2
    network.use(10, 2)
    network.answer(np.full((1, H, W, 1), 100, np.uint8))
    assert len(shown) == 20
    assert all(np.array_equal(*pair) for pair in zip(shown[::2], shown[1::2], strict=True))


def test_a_budget_leaves_the_last_passes_out(opened):
    shown = []
    network = opened(mean_grey, ["none", "random10"], LIGHT, shown=shown)
    assert network.turns == len(network.augmentations) == 11
    network.use(4, 1)
    network.answer(np.full((1, H, W, 1), 100, np.uint8))
    assert len(shown) == 4 and (shown[0] == 100).all()


def test_an_empty_augmentation_changes_nothing_and_that_of_masks_is_left_aside(opened):
    image = np.arange(H * W, dtype=np.uint8).reshape(1, H, W, 1)
    for augmentation in ({}, {**passes.UNCHANGED, "shift": 1.0, "blackout": 1.0}):
        shown = []
        opened(mean_grey, ["random10"], augmentation, shown=shown).answer(image)
        assert all(np.array_equal(batch, image) for batch in shown)


def test_a_network_without_an_augmentation_in_its_card_has_no_random_passes(opened):
    assert opened(mean_grey, list(choices.FLIPS), None).augmentations == choices.FLIPS
    with pytest.raises(UserError, match=r"binary.model\.json names no augmentation"):
        opened(mean_grey, ["random10"], None)


def test_the_classifiers_may_have_passes_of_their_own(opened, tmp_path):
    opened(mean_grey, ["none"])  # from here on every folder holds a network
    folders = paths.network_folders(tmp_path, 1)
    for own, expected in ((("random10",), 10), ((), 2)):
        networks = cascade.open_networks(folders, ("none", "vertical"), own)
        turns = {name: network.turns for name, network in networks.items()}
        assert turns == {"binary": expected, "multilabel": expected, "seg_class1": 2}
