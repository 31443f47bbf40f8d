"""Images and results by address, on a real server of the S3 protocol."""

import signal
import sys

import pytest
import store
import test_inspector
import test_predict
from test_inspector import BLACK
from test_predict import FAINT, SPOT, dying, in_a_process, save

from lib import predict
from lib.data import listing, storage
from lib.errors import UserError
from lib.inference import output_folder
from lib.inference.pace import Pace

run = test_inspector.run


@pytest.fixture(scope="module")
def bucket():
    with store.served() as address:
        yield address


@pytest.fixture
def images(tmp_path):
    """A folder with 20 images and one that is none, in two folders, beside what is not meant."""
    for index in range(20):
        save(tmp_path / "in" / str(index % 2) / f"{index}.png", (BLACK, SPOT, FAINT)[index % 3])
    (tmp_path / "in" / "1" / "broken.png").write_bytes(b"no image")
    save(tmp_path / "in" / ".trash" / "old.png", SPOT)
    save(tmp_path / "in" / "results" / "masks" / "0.png", SPOT)
    (tmp_path / "in" / "results" / "predict.json").write_text("{}")
    (tmp_path / "in" / "notes.txt").write_text("0/0.png\n")
    return tmp_path / "in"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("s3://mill/monday/", "s3://mill/monday"),
        ("S3://mill/Monday", "s3://mill/Monday"),
        ("hf://datasets/mill/strips", "hf://datasets/mill/strips"),
        (
            "ftp://mill/monday",
            "--out ftp://mill/monday: ftp:// is not known. Known are s3://, gs://, az://, hf://",
        ),
        ("s3://", "--out s3:// names nothing"),
    ],
)
def test_an_address_is_known_by_its_kind(text, expected):
    if storage.is_address(expected):
        assert storage.resolve(text, "--out") == expected
    else:
        with pytest.raises(UserError, match=expected):
            storage.resolve(text, "--out")


def test_file_addresses_are_folders(run, tmp_path):
    save(tmp_path / "my strips" / "a.png", SPOT)
    address = (tmp_path / "my strips").as_uri()
    assert "%20" in address and storage.resolve(address, "--images") == tmp_path / "my strips"
    out = (tmp_path / "out").as_uri()
    assert predict.main(["--run", str(run()), "--images", address, "--out", out]) == 0
    assert (tmp_path / "out" / "masks" / "a.png").is_file()


def test_what_is_listed_is_as_in_a_folder(images, bucket):
    store.upload(images, f"{bucket}/listed")
    expected, remarks = listing.find_images([str(images)])
    listed, of_bucket = listing.find_images([f"{bucket}/listed/"])
    assert [one.name for one in listed] == [one.name for one in expected] and len(listed) == 21
    assert [one.path for one in listed] == [f"{bucket}/listed/{one.name}" for one in listed]
    assert [line.partition("/results")[2] for line in of_bucket] == [
        line.partition("/results")[2] for line in remarks
    ]
    sizes = {one.name: one.path.stat().st_size for one in expected}
    assert {one.name: one.stamp[0] for one in listed} == sizes
    for sources, names in [
        ([f"{bucket}/listed/0/*8.png"], ["18.png", "8.png"]),
        ([f"{bucket}/listed/0/8.png"], ["8.png"]),
        ([f"{bucket}/listed/0/8.png", f"{bucket}/listed/1"], ["0/8.png", "1/1.png"]),
    ]:
        found = [one.name for one in listing.find_images(sources)[0]]
        assert found[:2] == names


def test_from_store_to_store_is_as_from_folder_to_folder(run, images, tmp_path, bucket, capsys):
    store.upload(images, f"{bucket}/whole/in")
    words = ["--run", str(run()), "--images"]
    assert predict.main([*words, str(images), "--out", str(tmp_path / "out")]) == 1
    again = [*words, f"{bucket}/whole/in", "--out", f"{bucket}/whole/out"]
    assert predict.main(again) == 1
    expected, stored = test_predict.contents(tmp_path / "out"), store.contents(f"{bucket}/whole/out")
    assert set(stored) == set(expected)
    of_files = {name for name in expected if name.startswith(("masks/", "overlays/")) or "defects" in name}
    assert len(of_files) > 30 and {name: stored[name] for name in of_files} == {
        name: expected[name] for name in of_files
    }
    assert stored["images.csv"].count(b",unread,") == 1
    assert not [name for name in storage.below(f"{bucket}/whole") if "unfinished" in name]
    capsys.readouterr()
    assert predict.main(again) == 1  # nothing is predicted again: one could not be read
    assert "index.html is there already" in capsys.readouterr().out
    assert predict.main([*again, "--min-area", "9"]) == 2
    assert "is there already, with other severity" in capsys.readouterr().err
    assert predict.main([*again[:-1], f"{bucket}/whole/in"]) == 2  # which is not empty either
    assert "lies in the folder of the images" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.windows
def test_killed_and_gone_on_with_in_a_store(run, images, bucket, monkeypatch):
    monkeypatch.setattr(output_folder, "CHUNK", 8)
    store.upload(images, f"{bucket}/killed/in")
    words = ["--run", str(run()), "--images", f"{bucket}/killed/in", "--out"]
    assert predict.main([*words, f"{bucket}/killed/whole"]) == 1
    monkeypatch.setattr(test_inspector.saving, "predictor", dying(6))
    assert in_a_process([*words, f"{bucket}/killed/out"]) == (True, -signal.SIGKILL)
    names = storage.directory(f"{bucket}/killed").names()
    assert ".out.unfinished/parts/000000.json" in names and "out/predict.json" not in names
    monkeypatch.setattr(test_inspector.saving, "predictor", test_inspector.known_predictor)
    storage.directory(f"{bucket}/killed/out").write("masks/left.png", b"of an image that is gone")
    assert predict.main([*words, f"{bucket}/killed/out"]) == 1
    assert store.contents(f"{bucket}/killed/out") == store.contents(f"{bucket}/killed/whole")


@pytest.mark.slow
def test_a_store_that_does_not_answer_breaks_no_image(run, images, bucket, monkeypatch, capsys):
    s3fs = pytest.importorskip("s3fs")
    store.upload(images, f"{bucket}/silent/in")
    words = ["--run", str(run()), "--images", f"{bucket}/silent/in", "--out", f"{bucket}/silent/out"]
    read = s3fs.S3FileSystem._cat_file

    async def refused(client, path, *args, **more):
        if "/in/" in path:
            raise PermissionError("Access Denied")
        return await read(client, path, *args, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_file", refused)
    s3fs.S3FileSystem.clear_instance_cache()
    assert predict.main(words) == 2
    assert "does not answer as it should (Access Denied)" in capsys.readouterr().err
    assert not storage.below(f"{bucket}/silent/out/predict.json")
    monkeypatch.undo()
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(test_inspector.saving, "predictor", test_inspector.known_predictor)
    assert predict.main(words) == 1
    assert store.contents(f"{bucket}/silent/out")["images.csv"].count(b",unread,") == 1


@pytest.mark.parametrize(
    "sources, sentence",
    [
        (["s3://mill/none"], "nothing is there"),
        (["s3://mill/sound/notes.txt"], "there are no images"),
        (["s3://mill/sound", "."], "names folders and addresses"),
        (["s3://no-such-bucket/monday"], "nothing is there"),
    ],
)
def test_what_is_not_there_is_one_sentence(bucket, sources, sentence):
    storage.directory(f"{bucket}/sound").write("notes.txt", b"")
    with pytest.raises(UserError, match=sentence):
        listing.find_images(sources)


def test_without_its_package_one_sentence_says_how_to_install_it(monkeypatch, tmp_path, capsys):
    for package, scheme, command in [
        ("s3fs", "s3", "requirements-storage.txt."),
        ("gcsfs", "gs", "requirements-storage.txt and gcsfs."),
    ]:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=f"the package for {scheme}:// is not installed.*{command}"):
            storage.below(f"{scheme}://mill/monday")


def test_how_long_it_will_take():
    seconds = iter([0.0, 10.0, 40.0])
    pace = Pace(1000, 100, lambda: next(seconds))
    assert pace.after(100) == "200 of 1,000 images, 10.0 a second, 80 s left"
    assert pace.after(800) == "1,000 of 1,000 images, 22.5 a second"
