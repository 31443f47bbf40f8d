"""Batches are what a plain, slow reading of the same files gives, whoever prepares them and however often."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from lib.data import crop_batches, generators, pasting, rle, targets
from lib.data.images import read_image, resize_mask
from lib.synthetic import generate

SHAPE = 64, 256
SIZE = 32, 128
AUGMENTATION = {"flips": "both", "brightness": 0.1, "contrast": 0.2}


@pytest.fixture(scope="module")
def strips(tmp_path_factory):
    """Ten strips of noise, the odd ones with two blots: (paths, run-length strings, images at the network's
    size)."""
    folder, random = tmp_path_factory.mktemp("strips"), np.random.default_rng(0)
    paths, rles, images = [], [], []
    for number in range(10):
        image, mask = random.integers(0, 256, SHAPE, dtype=np.uint8), np.zeros(SHAPE, np.uint8)
        for _ in range(2 * (number % 2)):
            cv2.circle(
                mask,
                (int(random.integers(256)), int(random.integers(64))),
                int(random.integers(5, 20)),
                1,
                -1,
            )
        paths.append(str(folder / f"{number}.png"))
        cv2.imwrite(paths[-1], image)
        rles.append(rle.encode(mask))
        images.append(
            cv2.resize(cv2.imread(paths[-1], cv2.IMREAD_GRAYSCALE), SIZE[::-1], interpolation=cv2.INTER_AREA)
        )
    return paths, rles, images


def plain_mask(text):
    """A pixel is set where two of its four or more are."""
    mask = rle.decode(text, SHAPE)
    return (mask.reshape(SIZE[0], 2, SIZE[1], 2).sum(axis=(1, 3)) >= 2).astype(np.uint8)


def plain_augment(random, image, mask, brightness, contrast):
    """Mirror, then change the light of every pixel by its formula."""
    for axis in (0, 1):
        if random.random() < 0.5:
            image, mask = np.flip(image, axis), np.flip(mask, axis)
    gain, mean, shift = (
        1 + random.uniform(-contrast, contrast),
        image.astype(float).mean(),
        random.uniform(-brightness, brightness),
    )
    return np.clip(np.rint((image.astype(float) - mean) * gain + mean + 255 * shift), 0, 255), mask


def same(left, right):
    """Whether two nested results of batches are equal, types included."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left.dtype == right.dtype and np.array_equal(left, right)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("crop_width", [0, 48])
def test_segmentation_batches_are_those_of_a_plain_reading(strips, workers, crop_width):
    paths, rles, images = strips
    batches = generators.SegmentationBatches(
        paths, rles, SHAPE, *SIZE, crop_width, 4, None, AUGMENTATION, 7, True, workers
    )
    for epoch in (0, 1):  # the second one from memory
        batches.start_epoch(epoch)
        order = generators.stream(7, epoch).permutation(10)
        for number in range(3):
            found, random = batches[number], generators.stream(7, epoch, number)
            for place, index in enumerate(order[4 * number : 4 * number + 4]):
                image, mask = images[index], plain_mask(rles[index])
                if crop_width:
                    start = targets.crop_start(random, mask, crop_width)
                    image, mask = image[:, start : start + crop_width], mask[:, start : start + crop_width]
                image, mask = plain_augment(random, image, mask, 0.1, 0.2)
                assert np.array_equal(found[0][place, ..., 0], image)
                assert np.array_equal(found[1][place, ..., 0], mask)
    assert [len(batches[number][0]) for number in range(3)] == [4, 4, 2]
    assert {array.dtype for array in batches[0]} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("workers", [1, 3])
def test_classification_batches_are_those_of_a_plain_reading(strips, workers):
    paths, rles, images = strips
    labels = np.array([[text != ""] for text in rles], np.uint8)
    batches = generators.ClassificationBatches(
        paths, labels, *SIZE, None, 0, 4, AUGMENTATION, 7, True, workers=workers
    )
    for epoch in (0, 1):
        batches.start_epoch(epoch)
        order = generators.stream(7, epoch).permutation(10)
        found = [batches[number] for number in range(3)]
        randoms = [generators.stream(7, epoch, number) for number in range(3)]
        for place, index in enumerate(order):
            random = randoms[place // 4]
            image, _ = plain_augment(random, images[index], images[index], 0.1, 0.2)
            assert np.array_equal(found[place // 4][0][place % 4, ..., 0], image)
            assert found[place // 4][1][place % 4] == labels[index]


def test_memory_and_workers_change_nothing(strips, monkeypatch):
    paths, rles, _ = strips
    labels = np.array([[text != ""] for text in rles], np.uint8)
    cells = np.stack([targets.grid_targets([text], SHAPE, (4, 16)) for text in rles])

    def epochs(workers):
        made = [
            generators.SegmentationBatches(
                paths, rles, SHAPE, *SIZE, 48, 4, 1.0, {**AUGMENTATION, "blackout": 0.5}, 1, True, workers
            ),
            generators.ClassificationBatches(
                paths, labels, *SIZE, cells, 48, 4, AUGMENTATION, 1, True, True, workers
            ),
            generators.PredictionBatches(paths, *SIZE, 4, workers),
        ]
        found = []
        for _ in range(2):
            found += [batches[number] for batches in made for number in range(len(batches))]
            for batches in made:
                batches.on_epoch_end()
        return found

    kept = epochs(1)
    assert all(map(same, kept, epochs(4)))
    monkeypatch.setattr(generators, "CACHE_BYTES", 3 * SIZE[0] * SIZE[1])
    assert all(map(same, kept, epochs(2)))


def test_what_is_still_held_is_not_overwritten(strips):
    paths, rles, _ = strips
    batches = generators.SegmentationBatches(paths, rles, SHAPE, *SIZE, batch_size=1)
    expected = [batches[number][0].copy() for number in range(10)]
    views = [batches[number][0][..., 0] for number in range(10)]
    assert all(np.array_equal(view, image[..., 0]) for view, image in zip(views, expected, strict=True))
    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in batches[0])
    data = tf.data.Dataset.from_generator(
        lambda: (batches[number] for number in range(10)), output_signature=signature
    )
    tensors = [images for images, _ in data.prefetch(3)]
    assert all(np.array_equal(tensor, image) for tensor, image in zip(tensors, expected, strict=True))


@pytest.mark.parametrize("size", [(32, 128), (64, 256), (16, 64), (48, 100)])
def test_masks_at_a_size_are_resized_masks(strips, size):
    for text in strips[1]:
        assert np.array_equal(
            targets.mask_at(text, SHAPE, *size), resize_mask(rle.decode(text, SHAPE), *size)
        )


def test_half_size_decoding_is_close_to_decoding_and_averaging(tmp_path):
    generate.generate(tmp_path / "set", 5, 1, 3, processes=1)
    for path in sorted((tmp_path / "set" / "train_images").iterdir()):
        half = read_image(path, (128, 800)).astype(float)
        full = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(float)
        difference = np.abs(half - full.reshape(128, 2, 800, 2).mean(axis=(1, 3)))
        assert difference.mean() < 1 and np.quantile(difference, 0.999) < 6, path  # of 255 grey levels


def test_the_order_of_an_epoch_and_its_batches_do_not_share_their_chance():
    purposes = (
        [(7, epoch) for epoch in range(3)]
        + [(7, epoch, index) for epoch in range(3) for index in range(3)]
        + [(7, 0, 0, 0)]
    )
    assert len({tuple(generators.stream(*numbers).integers(0, 2**62, 2)) for numbers in purposes}) == len(
        purposes
    )


def test_the_first_batch_does_not_draw_what_its_order_drew(tmp_path):
    """An epoch's order and its first batch's augmentation each see numbers of their own."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
    drawn = []

    class Recorded(generators.Batches):
        def __init__(self):
            self.paths, self.size = [tmp_path / "a.png"], (8, 8)
            super().__init__(1, 1, 7, True, 1)

        def draw_order(self, rng):
            drawn.append(rng.random())
            return super().draw_order(rng)

        def item(self, number, rng):
            drawn.append(rng.random())
            return (self.image(number),)

    Recorded()[0]
    assert len(drawn) == 2 and drawn[0] != drawn[1]


CROPS = {"crop_width": 48, "crops": 30, "batch_size": 7, "seed": 3, "shuffle": True}


@pytest.fixture(scope="module")
def two_classes(strips):
    """The ten strips with the second class on three of the odd ones, and on one strip without the first:
    (paths, (10, 2) texts)."""
    paths, rles, _ = strips
    texts = np.array([[text, ""] for text in rles], dtype=object)
    texts[[1, 3, 4], 1] = rles[5], rles[7], rles[9]
    return paths, texts


def test_crops_of_all_classes_hold_the_masks_of_a_plain_reading(strips, two_classes):
    paths, texts = two_classes
    batches = crop_batches.CropBatches(paths, texts, SHAPE, *SIZE, batch_size=4)
    images, masks = (
        np.concatenate(parts) for parts in zip(*[batches[n] for n in range(len(batches))], strict=True)
    )
    assert images.shape == (10, *SIZE, 1)
    assert np.array_equal(images[..., 0], strips[2])
    for k in (0, 1):
        assert all(
            np.array_equal(mask, plain_mask(text))
            for mask, text in zip(masks[..., k], texts[:, k], strict=True)
        )


def test_most_crops_lie_about_a_defect_and_rare_classes_are_drawn_more_often_than_they_occur(two_classes):
    """Of 300: 60 % about a defect, the classes as the cube roots of 5 and 3; 30 % on the four clean strips;
    10 % anywhere."""
    paths, texts = two_classes
    batches = crop_batches.CropBatches(paths, texts, SHAPE, *SIZE, **CROPS)
    strip, about = np.divmod(batches.order, 3)
    assert len(batches.order) == 300
    assert (about > 0).mean() == pytest.approx(0.6, abs=0.1)
    assert (about == 2).sum() / (about > 0).sum() == pytest.approx(
        np.cbrt(3) / (np.cbrt(3) + np.cbrt(5)), abs=0.12
    )
    assert all(texts[index, k - 1] != "" for index, k in zip(strip, about, strict=True) if k)
    clean = [index for index in range(10) if not any(texts[index])]
    assert np.isin(strip[about == 0], clean).mean() > 0.3
    masks = np.concatenate([batches[n][1] for n in range(len(batches))])
    assert masks.shape == (300, SIZE[0], 48, 2)
    assert all(mask[..., k - 1].any() for mask, k in zip(masks, about, strict=True) if k)
    again = crop_batches.CropBatches(paths, texts, SHAPE, *SIZE, workers=2, **CROPS)
    assert all(same(batches[n], again[n]) for n in (0, 5, len(batches) - 1))


def test_a_painted_over_crop_has_no_defect_of_any_class(two_classes):
    paths, texts = two_classes
    batches = crop_batches.CropBatches(
        paths, texts, SHAPE, *SIZE, augmentation={"blackout": 1.0, "shift": 0.2}, **CROPS
    )
    plain = crop_batches.CropBatches(paths, texts, SHAPE, *SIZE, **CROPS)
    left, before = (
        np.concatenate([one[n][1] for n in range(len(one))]).any(axis=(1, 2, 3)) for one in (batches, plain)
    )
    assert 0 < left.sum() < before.sum()  # where it lies too close to another one, it stays


def blot_on(ground, defect, top):
    """A strip (40, 60) of one grey with a darker square of 6 x 6 from row `top` on, and its mask (40, 60, 2)."""
    image, masks = np.full((40, 60), ground, np.uint8), np.zeros((40, 60, 2), np.uint8)
    image[top : top + 6, 30:36], masks[top : top + 6, 30:36, 1] = defect, 1
    return image, masks


def test_a_pasted_piece_is_as_bright_against_its_surroundings_as_it_was():
    """100 on steel of 200 is half as bright; so is 40 on steel of 80."""
    random = np.random.default_rng(0)
    piece = pasting.cut_piece(random, *blot_on(200, 100, 15), 1, 60)
    assert pasting.cut_piece(random, *blot_on(200, 100, 15), 0, 60) is None
    image, mask = pasting.paste_piece(random, np.full((40, 60), 80, np.uint8), piece)
    assert mask.sum() == 36 and np.ptp(np.flatnonzero(mask.any(axis=0))) == 5
    assert int(image[mask > 0].min()) == pytest.approx(40, abs=3)
    assert (image[cv2.dilate(mask, np.ones((25, 25))) == 0] == 80).all()
    assert (image[cv2.dilate(mask, np.ones((5, 5))) > mask] >= 79).all()  # no frame around it


@pytest.mark.parametrize("top", [0, 34])
def test_a_piece_at_an_edge_keeps_its_rows(top):
    random = np.random.default_rng(0)
    piece = pasting.cut_piece(random, *blot_on(200, 100, top), 1, 60)
    for _ in range(5):
        _, mask = pasting.paste_piece(random, np.full((40, 60), 80, np.uint8), piece)
        assert np.flatnonzero(mask.any(axis=1)).tolist() == list(range(top, top + 6))


def test_nothing_is_pasted_where_no_steel_is_or_where_it_does_not_fit():
    random = np.random.default_rng(0)
    piece = pasting.cut_piece(random, *blot_on(200, 100, 15), 1, 60)
    assert pasting.paste_piece(random, np.zeros((40, 60), np.uint8), piece) is None
    assert pasting.paste_piece(random, np.full((20, 60), 80, np.uint8), piece) is None
    wide = np.full((40, 200), 1, np.uint8)
    cut = pasting.cut_piece(random, wide * 90, wide[..., None], 0, 60)
    assert cut[0].shape[1] <= 60


def test_crops_without_a_defect_get_pieces_of_others_and_the_others_stay(two_classes):
    """The strips' grey is noise, so that every crop has some steel; about as many as were asked for get one."""
    paths, texts = two_classes
    pasted, plain = (
        crop_batches.CropBatches(paths, texts, SHAPE, *SIZE, augmentation={"paste": share}, **CROPS)
        for share in (1.0, 0.0)
    )
    with_pieces, before = (np.concatenate([one[n][1] for n in range(len(one))]) for one in (pasted, plain))
    has, had = (masks.any(axis=(1, 2, 3)) for masks in (with_pieces, before))
    assert not (had & ~has).any() and (has & ~had).sum() > 0.3 * (~had).sum()
    assert (with_pieces[has & ~had].sum(axis=-1) <= 1).all()  # a pixel has one class
    again = crop_batches.CropBatches(
        paths, texts, SHAPE, *SIZE, augmentation={"paste": 1.0}, workers=2, **CROPS
    )
    assert all(same(pasted[n], again[n]) for n in (0, len(again) - 1))


def test_a_strip_gives_as_many_crops_to_a_classifier_as_asked_for(strips):
    paths, rles, _ = strips
    labels = np.array([[text != ""] for text in rles])
    once, thrice = (
        generators.ClassificationBatches(paths, labels, *SIZE, crops=crops, shuffle=True, seed=1)
        for crops in (1, 3)
    )
    assert sorted(thrice.order) == sorted([*range(10)] * 3)
    assert thrice.order[:10].tolist() == once.order.tolist()
    balanced = generators.ClassificationBatches(
        paths, labels, *SIZE, crops=3, shuffle=True, balanced_sampling=True
    )
    assert len(balanced.order) == 30
