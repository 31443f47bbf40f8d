"""Anything at all for the codec, the CSV reader and the parameter loader: a result that holds, or a sentence;
never another error.

    python tests/test_fuzz.py --minutes 10

goes on with new random input for as long as it is told, and prints how much it has tried.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.data import dataset, rle, validation
from lib.errors import UserError
from lib.pipeline import params, profiles

SHAPE = (5, 7)
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
NOTEBOOKS = {"10_a": {"number": 1, "share": 0.5, "text": "x", "many": [1.0], "on": True, "table": {"a": 1}}}
TRIED = dict.fromkeys(("codec", "csv", "parameters"), 0)


def make_folder():
    """Two small images in the competition's layout."""
    for part in ("train_images", "test_images"):
        (FOLDER / part).mkdir(exist_ok=True)
        for name in ("a.jpg", "b.jpg"):
            cv2.imwrite(str(FOLDER / part / name), np.full(SHAPE, 90, np.uint8))
    (FOLDER / "dataset.json").write_text('{"classes": 4, "height": 5, "width": 7}')


make_folder()
RUN_LENGTHS = st.one_of(
    st.text(max_size=30),
    st.text("0123456789 ", max_size=20),
    st.lists(st.integers(-2, 40), max_size=10).map(lambda numbers: " ".join(map(str, numbers))),
    st.lists(st.integers(), max_size=4).map(lambda numbers: " ".join(map(str, numbers))),
)


@given(RUN_LENGTHS)
@example("1 1 3 2")
@example("9223372036854775807 1")
@example("1 9223372036854775807 2 9223372036854775807")
@example("１ １")
@example("1\x001")
@example("1 2\n")
@example("  1   2 ")
@example("1e3 2")
@example("+1 2")
def test_codec(text):
    TRIED["codec"] += 1
    try:
        pairs = rle.check(text, SHAPE)
    except rle.RleError as error:
        assert "\n" not in str(error).strip() and len(str(error)) < 400
        return
    mask = rle.decode(text, SHAPE)
    assert mask.sum() == pairs[:, 1].sum() == rle.area(text)
    assert (rle.decode(rle.encode(mask), SHAPE) == mask).all()


PARTS = ["a.jpg", "b.jpg", "a.jpg_1", "1", "4", "5", "", "1 5", "2 2", '"', "\r", "\n", ",", "=1"]
CELL = st.one_of(st.sampled_from(PARTS), st.text(max_size=8))
HEADER = st.sampled_from(
    ["ImageId,ClassId,EncodedPixels", "ImageId_ClassId,EncodedPixels", "EncodedPixels,ImageId,ClassId"]
)
TABLE = st.tuples(
    HEADER,
    st.lists(st.lists(CELL, max_size=4).map(",".join), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
FILES = st.one_of(
    st.binary(max_size=200),
    TABLE.map(lambda parts: parts[2].join([parts[0], *parts[1]]).encode("utf-8", "surrogatepass")),
)


@given(FILES)
@example(b"ImageId,ClassId,EncodedPixels\n\x00")
@example(b'ImageId,ClassId,EncodedPixels\n"a.jpg\n",1,1 5')
@example(b"ImageId,ClassId,EncodedPixels\ra.jpg,1,1 5\r")
@example(b"ImageId,ClassId,EncodedPixels\na.jpg,1,1 5,,,,\n")
@example(b"\xef\xbb\xbfImageId_ClassId,EncodedPixels\na.jpg_1,\n")
@example(b"\xed\xa0\x80")
@example(b"\n\n")
@example(b'"')
@example(b'ImageId,ClassId,EncodedPixels\n,,,,\n"')
def test_csv_reader(content):
    TRIED["csv"] += 1
    path = FOLDER / "train.csv"
    path.write_bytes(content)
    try:
        rows = validation.read_rows(path)
    except UserError as error:
        assert str(path) in str(error)
        return
    findings = validation.row_findings(rows, path, {"a.jpg", "b.jpg"}, 4, SHAPE)
    assert all(2 <= found["row"] <= content.count(b"\n") + content.count(b"\r") + 2 for found in findings)
    try:
        table = dataset.load_table(FOLDER)
    except UserError:
        assert findings
        return
    assert not [found for found in findings if found["severity"] == "error"] and table[
        "image_id"
    ].tolist() == ["a.jpg", "b.jpg"]
    assert all(rle.area(text) > 0 for text in table[dataset.rle_columns(table)].to_numpy().ravel() if text)


def declarations():
    """As `params.declared` finds them in a notebook."""
    import ast

    return {
        name: {key: params.Parameter(value, ast.Name(type(value).__name__)) for key, value in keys.items()}
        for name, keys in NOTEBOOKS.items()
    }


WORDS = [*"abc10.:-[]{}#&*!|>'\"%@`,?~ \n\t", "all", "10_a", "number", "share", "\n  ", ": ", "!!python/"]
YAML = st.lists(st.sampled_from(WORDS), max_size=30).map("".join)
SETTING = st.tuples(
    st.sampled_from(["10_a", "all", "10", "", "x", "1\n"]), st.sampled_from([*NOTEBOOKS["10_a"], "", "numbr", "run_dir"]),
    st.one_of(st.text(max_size=12), YAML, st.floats().map(str), st.integers().map(str)),
).map(lambda parts: f"{parts[0]}.{parts[1]}={parts[2]}")  # fmt: skip


@given(
    st.one_of(st.binary(max_size=120), YAML.map(str.encode)),
    st.lists(st.one_of(SETTING, st.text(max_size=20)), max_size=3),
)
@example(b"10_a:\n  number: 2\n", ["10_a.share=1e-3"])
@example(b"all: {number: .inf}", [])
@example(b"all: {share: .nan}", [])
@example(b"all: {number: 0o7, on: yes}", ["10_a.many=[1, 2]"])
@example(b"all: !!set {number}", [])
@example(b"all: !!binary AAAA", [])
@example(b"all: {text: 2001-01-01 00:00:00}", [])
@example(b"10_a: {table: {1: 2}}", ["10_a.table={}"])
@example(b"--- \n...\n---\n", [])
@example(b"? [a]\n: b", [])
@example(b"<<: {}\nall: {}", [])
@example(b"%YAML 9.9\n---\n", [])
@example(b"all: {number: 1_000}", ["10_a.number=0x1F"])
@example(b"", ["10_a.many=!!timestamp x"])
@example(b"", ["10_a.number=" + "9" * 5000])
def test_parameter_loader(content, settings_given):
    TRIED["parameters"] += 1
    (FOLDER / "p.yaml").write_bytes(content)
    known = declarations()
    try:
        profile = profiles.load_profile("p", FOLDER)
        overrides = [profiles.parse_override(text, tuple(known)) for text in settings_given]
        values = params.effective(known, "p", profile, overrides)
    except UserError as error:
        assert str(error).endswith((".", "?", ">")) or len(str(error)) < 2000
        return
    for key, value in values["10_a"].items():
        assert type(value.value) is type(NOTEBOOKS["10_a"][key])
    params.listing(values)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    end = time.monotonic() + 60 * parser.parse_args().minutes
    more = settings(
        max_examples=1000,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    tests = [more(test) for test in (test_codec, test_csv_reader, test_parameter_loader)]
    while time.monotonic() < end:
        for test in tests:
            test()
    print(", ".join(f"{count:,} inputs for the {name}" for name, count in TRIED.items()), "without a crash")


if __name__ == "__main__":
    main()
