"""What the split leaves in each part is said before the run, by the run and by --check, and what is not
refused works."""

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

import run_all
from lib import errors
from lib.data import alignment, dataset, duplicates, generators, rle, split_check, splitting
from lib.errors import UserError
from lib.evaluation import shift
from lib.pipeline import graph, inputs, params, run, run_folder

HEIGHT, WIDTH = 64, 128


def strip(texture, classes):
    """A strip (H, W) uint8 of a texture's number, brighter where its classes are; {class: run-lengths}."""
    noise = np.random.default_rng(texture).integers(0, 255, (HEIGHT, WIDTH)).astype(np.uint8)
    image, masks = cv2.GaussianBlur(noise, (0, 0), 1.5).astype(int) * 3 // 2, {}
    for number in classes:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[10 * number : 10 * number + 8, 20:60] = 1
        image, masks[number] = image + 60 * mask, rle.encode(mask)
    return image.clip(0, 255).astype(np.uint8), masks


def write(folder, strips, classes=2):
    """A data folder of strips, (texture, classes) each; equal textures are near-duplicates."""
    for part in ("train_images", "test_images"):
        (folder / part).mkdir(parents=True)
    rows = ["ImageId,ClassId,EncodedPixels"]
    for number, (texture, present) in enumerate(strips):
        image, masks = strip(texture, present)
        cv2.imwrite(str(folder / "train_images" / f"{number:03}.png"), image)
        rows += [f"{number:03}.png,{defect_class},{text}" for defect_class, text in masks.items()]
    for number in range(4):
        cv2.imwrite(str(folder / "test_images" / f"{number}.png"), strip(9000 + number, [1])[0])
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    (folder / "dataset.json").write_text(json.dumps({"classes": classes, "height": HEIGHT, "width": WIDTH}))
    return folder


CANNOT = "so 10_binary and 20_multilabel cannot be trained or evaluated"
REFUSED = {  # (texture, classes) of every strip; what is said
    "copies": ([(5, [1])] * 20, "The 20 training images are only 1 once near-duplicates count as one, which leaves none for"),
    "two pieces": ([(number % 2, [1]) for number in range(20)], "are only 2 once near-duplicates count as one"),
    "no defect": ([(number, []) for number in range(20)], f"none of 20 images has a defect, {CANNOT}"),
    "two of twelve": ([(number, [1] if number < 2 else []) for number in range(12)], f"2 of 12 images have a defect, none of .*{CANNOT}"),
    "defects on one piece": ([(number, []) for number in range(20)] + [(99, [1])] * 6,
                             f"6 of 26 images have a defect, all near-duplicates of one another, none of them in .*{CANNOT}"),
}  # fmt: skip
REMARKED = {
    "one class on one piece": ([(number, [1] if number % 2 else []) for number in range(40)] + [(99, [2])] * 6,
                               "6 of 46 images have class 2, all near-duplicates of one another, none of them in .* stays unknown"),
    "a class that is nowhere": ([(number, [1] if number % 2 else []) for number in range(40)],
                                "none of 40 images has class 2: its network learns to draw nothing and how well it is found stays unknown"),
    "defects everywhere": ([(number, [1 + number % 2]) for number in range(40)],
                           "every image has a defect: how often images without one are taken for defective stays unknown"),
}  # fmt: skip
SMALL = [
    "all.height=32",
    "all.width=64",
    "all.crop_width=0",
    "all.epochs=1",
    "all.n_bootstrap=20",
    "all.n_examples=1",
    "05_shift.n_estimators=10",
]


def start(tmp_path, data, *settings, **options):
    """Run the project's notebooks on a data folder, in a folder for runs of its own; the exit code."""
    given = run.Options(profile="demo", data=str(data), run="x", overrides=settings, **options)
    return errors.exit_code_of(run.run, given, replace(graph.DEFAULT_PROJECT, runs=tmp_path / "runs"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_before_the_run_and_by_the_check(name, tmp_path, capsys):
    strips, said = REFUSED[name]
    data = write(tmp_path / "data", strips)
    assert run_all.main(["--check", "--data", str(data), "--profile", "demo"]) == 2
    out = capsys.readouterr().out
    assert re.search(f"error .*train_images: .*{said}", out) and "1 errors, 0 warnings" in out
    assert start(tmp_path, data) == 2
    assert re.search(said, capsys.readouterr().err) and not (tmp_path / "runs" / "x").exists()


@pytest.mark.parametrize("name", REMARKED)
def test_what_cannot_be_judged_is_a_remark_of_the_check(name, tmp_path, capsys):
    strips, said = REMARKED[name]
    data = write(tmp_path / "data", strips)
    assert run_all.main(["--check", "--data", str(data), "--profile", "demo"]) == 0
    out = capsys.readouterr().out
    assert re.search(f"warning .*train_images: {said}", out) and "0 errors, 1 warnings" in out
    assert sorted(path.name for path in data.iterdir()) == [
        "dataset.json",
        "test_images",
        "train.csv",
        "train_images",
    ]


@pytest.mark.slow
def test_what_is_not_refused_runs_to_its_end(tmp_path, capsys):
    """All at once: no strip without a defect, a class on copies of one piece, another that is nowhere. Everything
    that divides the strips."""
    data = write(tmp_path / "data", [(number, [1]) for number in range(40)] + [(99, [1, 2])] * 6, 3)
    rows = [f"{number:03}.png,{number // 5}" for number in range(20)]
    (data / "coils.csv").write_text("\n".join(["image,coil", *rows]))
    assert start(tmp_path, data, *SMALL, only="00,05,10,20,31,32,33,40") == 0
    said, noted = capsys.readouterr().out, (tmp_path / "runs" / "x" / "data_findings.csv").read_text()
    for remark in (
        "6 of 46 images have class 2, all near-duplicates",
        "none of 46 images has class 3",
        "every image has a defect",
    ):
        assert remark in said and remark in noted
    assert "         3 warnings, see data_findings.csv" in said
    split = pd.read_csv(tmp_path / "runs" / "x" / "split.csv")
    assert split["duplicate"].nunique() == 41 and split["group"].nunique() == 25
    pages = [(tmp_path / "runs" / "x" / f"{name}.ipynb").read_text() for name in ("00_eda", "40_evaluation")]
    assert "20 of 46 images are of 4 coils" in pages[0]
    held_out = split[split["part"] == "held_out"]  # those that judge
    named = held_out["image_id"] < "020.png"
    coils = held_out["image_id"][named].str[:3].astype(int).floordiv(5).nunique()
    assert not coils or f"{named.sum()} of {len(held_out)} images are of {coils} coils" in pages[1]


@pytest.mark.slow
def test_strips_without_any_defect_can_be_looked_at(tmp_path, capsys):
    """Which is what the refusal advises. No share of nothing is stated."""
    data = write(tmp_path / "data", REFUSED["no defect"][0])
    assert start(tmp_path, data, *SMALL, only="00") == 0
    page = (tmp_path / "runs" / "x" / "00_eda.ipynb").read_text()
    text = re.sub(r'"image/[a-z]+": "[^"]*"', "", page)
    assert not re.search(r"\bnan\b", text) and "No strip has a defect." in text


def test_enough_of_everything_is_nothing_to_remark(tmp_path):
    data = write(tmp_path / "data", [(number, [1, 2] if number % 2 else []) for number in range(40)])
    values = graph.DEFAULT_PROJECT.for_classes(2).values("demo", ())
    names = [name for name in values if "held_out" in values[name]]
    assert split_check.look(values, names, data, tmp_path) == []
    written = (tmp_path / "split.csv").read_bytes()  # what a notebook finds, which divides no more
    given = {key: value.value for key, value in values["10_binary"].items()}
    table = dataset.load_table(data, given["max_images"], given["seed"])
    splitting.load_split(
        tmp_path,
        table,
        given["split_method"],
        given["held_out"],
        given["validation"],
        given["seed"],
        max_distance=given["duplicate_distance"],
    )
    assert (tmp_path / "split.csv").read_bytes() == written


def test_notebooks_that_need_no_defects_run_without(tmp_path, capsys):
    data = write(tmp_path / "data", REFUSED["no defect"][0])
    assert run_all.main(["--check", "--data", str(data), "--profile", "demo", "--only", "00,05"]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out


def test_every_network_of_an_ensemble_needs_its_parts(tmp_path, capsys):
    data = write(tmp_path / "data", [(number, [1, 2] if number < 8 else []) for number in range(16)])
    command = ["--check", "--data", str(data), "--profile", "demo"]
    assert run_all.main([*command, "-p", "all.n_members=4"]) == 0
    assert run_all.main([*command, "-p", "all.n_members=14"]) == 2
    assert (
        "n_members is 14, but the 13 images that are not held out are only 13 once" in capsys.readouterr().out
    )
    assert run_all.main([*command, "-p", "all.n_members=10"]) == 2
    assert re.search(f"{CANNOT}.*set n_members lower", capsys.readouterr().out)


def test_a_run_that_is_gone_on_with_is_looked_at_by_what_is_left_to_do(tmp_path, capsys):
    data = write(tmp_path / "data", REFUSED["no defect"][0])
    values = graph.DEFAULT_PROJECT.for_classes(2).values("demo", ())
    assert inputs.divide(values, ["00_eda", "90_inference"], data, tmp_path) == ([], {})
    remarks, made = inputs.divide(values, ["31_seg_class1"], data, tmp_path)
    assert len(remarks) == 2 and list(made) == ["split.csv", "copies.json"]
    assert all((tmp_path / name).read_bytes() == content for name, content in made.items())
    with pytest.raises(
        UserError, match=r"train_images: none of 20 images has a defect, so 20_multilabel cannot be trained"
    ):
        inputs.divide(values, ["00_eda", "20_multilabel"], data, tmp_path)


def test_a_command_that_ended_before_its_first_notebook_leaves_a_folder_to_begin_in(tmp_path):
    (tmp_path / "split.csv").write_text("image_id,part,group,split_hash\n")
    run_folder.insist_on_empty(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="already holds a run"):
        run_folder.insist_on_empty(tmp_path)


def test_batches_of_nothing_say_what_to_look_at():
    for make in (
        lambda: generators.ClassificationBatches([], np.zeros((0, 1)), 32, 64, balanced_sampling=True),
        lambda: generators.SegmentationBatches([], [], (64, 128), 32, 64),
    ):
        with pytest.raises(
            UserError, match=r"no strip for this network to learn from.*--check --data FOLDER"
        ):
            make()


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_strips_of_a_few_pieces_of_steel_are_told_apart_as_far_as_they_can(pieces):
    """More folds than groups: some are empty."""
    features = pd.DataFrame(np.random.default_rng(0).random((20, 4)))
    probability = shift.is_test_probability(features, np.arange(20) >= 15, np.arange(20) % pieces, 5, 10)
    assert probability.shape == (20,) and ((probability >= 0) & (probability <= 1)).all()


def test_a_notebook_that_is_opened_by_hand_says_it_too(tmp_path):
    table = dataset.load_table(write(tmp_path / "data", REFUSED["copies"][0]))
    with pytest.raises(UserError, match="20 training images are only 1 once"):
        splitting.load_split(tmp_path, table)
    assert not (tmp_path / "split.csv").exists()


def test_images_that_are_together_already_are_not_compared_again(tmp_path, monkeypatch):
    """All copies of one image: hundreds of thousands of pairs, of which those with one of them are enough."""
    write(tmp_path / "data", [(number // 40, []) for number in range(80)])
    files = sorted((tmp_path / "data" / "train_images").iterdir())
    compared, distance = [], alignment.Looks.distance
    monkeypatch.setattr(
        alignment.Looks, "distance", lambda *given: compared.append(given) or distance(*given)
    )
    assert duplicates.find_duplicates(files).tolist() == [0] * 40 + [1] * 40
    assert len(compared) < 80 + 2 * alignment.LOOKS


@pytest.mark.parametrize("name", split_check.LEARN_DEFECTS)
def test_a_classifier_opened_by_hand_says_before_it_is_trained_that_a_part_has_no_defect(tmp_path, name):
    data, known = write(tmp_path / "data", REFUSED["two of twelve"][0]), {}
    cells = params.read_notebook(graph.DEFAULT_PROJECT.notebooks / f"{name}.ipynb")["cells"]
    with pytest.raises(
        UserError,
        match=rf"2 of 12 images have a defect, .* so {name} cannot be trained or evaluated\. Add images",
    ):
        for source, tags in [
            ("".join(cell["source"]), cell["metadata"].get("tags", []))
            for cell in cells
            if cell["cell_type"] == "code"
        ]:
            assert "training.fit" not in source
            exec("" if "bootstrap" in tags else source, known)
            known |= {"data_dir": str(data), "run_dir": str(tmp_path / "run")} if "parameters" in tags else {}
