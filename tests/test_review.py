"""What to label next: `python -m lib.predict --review`."""

import csv

import cv2
import numpy as np
import pytest
import test_inspector
from test_inspector import BLACK, H, W, strip
from test_predict import contents, refused, save

from lib import files, paths, predict
from lib.evaluation import review
from lib.inference.postprocess import PostprocessConfig
from lib.inference.results import ImageResult
from lib.models import saving

run = test_inspector.run


def test_nearness_is_one_at_the_threshold_and_zero_at_the_ends():
    values = [(0.0, 0.6), (0.3, 0.6), (0.6, 0.6), (0.8, 0.6), (1.0, 0.6)]
    assert [review.nearness(*pair) for pair in values] == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert np.isnan([review.nearness(None, 0.6), review.nearness(0.3, 0), review.nearness(0.3, 1)]).all()


def test_doubt_is_that_of_the_nearest_filter_and_of_pieces_without_filters():
    thresholds = PostprocessConfig("both", 0.5, (0.5, 0.2), (0.5, 0.5), (0, 0), (0, 0))
    asked = ImageResult("a", defect_probability=0.9, class_probability=[None, 0.1])
    assert review.doubt(asked, thresholds) == pytest.approx(0.5)
    pieces = [{"class": 1, "mean_probability": 0.75}, {"class": 2, "mean_probability": 0.9}]
    bare = ImageResult("b", class_probability=[None, None], pieces=pieces)
    assert review.doubt(bare, thresholds) == pytest.approx(0.5)
    assert np.isnan(review.doubt(ImageResult("c", class_probability=[None, None]), thresholds))


def test_the_queue_goes_by_mean_ranks_and_takes_copies_once():
    measures = {
        "doubt": np.array([0.1, 0.9, 0.9, 0.2, np.nan]),
        "disagreement": np.full(5, np.nan),  # one network of each: it tells nothing
        "unlike": np.array([1.0, 0.97, 0.94, 0.1, 0.5]),  # of which the last three count as alike
    }
    alone = np.arange(5)
    both = review.WORDS["doubt"], review.WORDS["unlike"]
    rows = review.queue(measures, alone, set(), 9)
    assert [row for row, _ in rows] == [1, 0, 2, 3, 4]
    assert [why for _, why in rows] == ["; ".join(both), both[1], both[0], review.NEXT, review.NEXT]
    assert [row for row, _ in review.queue(measures, alone, {1}, 2)] == [0, 2]  # 1 is labelled already
    assert [row for row, _ in review.queue(measures, np.array([0, 1, 1, 3, 3]), set(), 9)] == [1, 0, 3]


def noise(grey, seed, spread=10):
    rng = np.random.default_rng(seed)
    rough = cv2.GaussianBlur(rng.normal(0, 4 * spread, (H, W)), (3, 3), 0)
    return np.clip(grey + rough, 0, 255).astype(np.uint8)


def test_what_is_unlike_all_that_is_labelled_is_told(tmp_path):
    known = [save(tmp_path / f"{seed}.png", noise(100, seed)) for seed in range(12)]
    like, other = save(tmp_path / "like.png", noise(100, 50)), save(tmp_path / "other.png", noise(200, 51, 1))
    unlike = review.unlikeness([like, other, known[3]], known)
    assert unlike[0] < 0.9 and unlike[1:].tolist() == [1, 0]


def test_images_of_more_bits_are_as_unlike_as_the_networks_see_them(tmp_path):
    known = [save(tmp_path / f"{seed}.png", noise(100, seed)) for seed in range(12)]
    deep = [save(tmp_path / f"deep{seed}.png", np.uint16(noise(100, seed)) * 16) for seed in (3, 50)]
    shallow = [known[3], save(tmp_path / "50.png", noise(100, 50))]
    unlike = review.unlikeness(deep, known, white=4080)
    assert unlike[0] == 0 and unlike.tolist() == review.unlikeness(shallow, known).tolist()
    assert review.unlikeness(deep, known)[1] == 1  # nearly black by 65535


@pytest.fixture
def ensemble(run, monkeypatch):
    """A run of two members; those of the binary classifier disagree by the grey of the first pixel."""
    folder = run()
    for name in paths.network_names(2):
        files.write_json(folder / "models" / f"{name}.2" / "model.json", {"input": [H, W]})

    def predictor(member, engine):
        network, _, second = member.name.partition(".")
        predict_one, card = test_inspector.known_predictor(member.with_name(network), engine)
        if network != "binary":
            return predict_one, card
        sign = -1 if second else 1
        return lambda images: predict_one(images) + sign * images[:, 0, 0].astype(np.float32) / 1000, card

    monkeypatch.setattr(saving, "predictor", predictor)
    return folder


def test_the_images_to_label_next_stand_in_a_table(ensemble, tmp_path):
    sure, unsure = strip((2, 5, 4, 6), grey=250), strip((9, 25, 6, 12), (0, 0, 3, 3), grey=128)
    unsure[0, 0], disputed = 0, strip((0, 20, 12, 3), (13, 2, 3, 30), grey=250)
    disputed[0, 0] = 100
    for name, image in (("sure", sure), ("unsure", unsure), ("disputed", disputed), ("black", BLACK)):
        save(tmp_path / "in" / f"{name}.png", image)
    out = tmp_path / "out"
    words = ["--run", str(ensemble), "--images", str(tmp_path / "in"), "--out", str(out), "--review", "3"]
    assert predict.main(words) == 0
    with open(out / "review.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    table = {row["image"]: row for row in rows}
    assert float(table["disputed.png"]["disagreement"]) == pytest.approx(0.1, abs=1e-4)
    assert float(table["unsure.png"]["disagreement"]) == 0
    assert float(table["unsure.png"]["doubt"]) > 0.9 and table["unsure.png"]["unlike"] == ""
    assert {"disputed.png", "unsure.png"} == {row["image"] for row in rows[:2]}
    assert "review.csv" in (out / "index.html").read_text(encoding="utf-8")
    before = contents(out)
    assert predict.main(words) == 0 and contents(out) == before


@pytest.mark.parametrize("words, says", [
    (("--review", "-1"), "--review -1: it is a number of images"),
    (("--labelled", "x"), "--labelled is for --review"),
])  # fmt: skip
def test_options_that_make_no_sense_are_named(run, tmp_path, capsys, words, says):
    save(tmp_path / "in" / "a.png", BLACK)
    start = ("--run", str(run()), "--images", str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert says in refused(capsys, *start, *words)


@pytest.mark.parametrize("name, says", [("labeled", "does not exist"), ("empty", "there are no images")])
def test_a_labelled_folder_without_images_is_told_before_anything_is_predicted(
    run, tmp_path, capsys, name, says
):
    save(tmp_path / "in" / "a.png", BLACK)
    (tmp_path / "empty").mkdir()
    start = ("--run", str(run()), "--images", str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    said = refused(capsys, *start, "--review", "1", "--labelled", str(tmp_path / name))
    assert said.startswith(f"error: --labelled {tmp_path / name}") and says in said
    assert not (tmp_path / ".out.unfinished").exists()


def test_copies_of_what_is_labelled_are_not_asked_for(run, tmp_path):
    rng = np.random.default_rng(5)
    pictures = [cv2.resize(rng.integers(0, 255, (8, 20), np.uint8), (W, H)) for _ in range(3)]
    save(tmp_path / "labelled" / "x.png", pictures[0])
    save(tmp_path / "labelled" / "y.png", pictures[1])
    for name, index in (("copy", 0), ("new", 2), ("twin", 2)):
        save(tmp_path / "in" / f"{name}.png", pictures[index])
    start = [
        "--run",
        str(run()),
        "--images",
        str(tmp_path / "in"),
        "--out",
        str(tmp_path / "out"),
        "--review",
        "9",
    ]
    assert predict.main([*start, "--labelled", str(tmp_path / "labelled")]) == 0
    lines = (tmp_path / "out" / "review.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["new.png"]
