"""Bad input, built by code: what is put where, the command that meets it, and what must be said.

A case builds its input in an empty folder and gives back the arguments of the command. `code` is the exit
code, `said` a regular expression for what is printed. Cases with code 0 are survived: the finding is listed
or counted, and nothing stops.
"""

import io
import os
import shutil
import struct
import zipfile
import zlib
from collections import namedtuple

import cv2
import numpy as np
from PIL import Image

from lib.files import write_json

Case = namedtuple("Case", "name build code said")
CURRENT, OLD = "ImageId,ClassId,EncodedPixels\n", "ImageId_ClassId,EncodedPixels\n"
SHAPE = (32, 64)


def jpeg(shape=SHAPE, seed=0):
    """The bytes of a small picture."""
    noise = np.random.default_rng(seed).integers(0, 255, shape, np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def strips(folder, csv=CURRENT + "a.jpg,1,1 5\n", names=("a.jpg", "b.jpg"), tests=("t.jpg",), about=None):
    """A data folder that is sound but for what the arguments say; the arguments that check it."""
    for part, part_names in (("train_images", names), ("test_images", tests)):
        (folder / part).mkdir(parents=True)
        for seed, name in enumerate(part_names):
            (folder / part / name).write_bytes(jpeg(seed=seed))
    write_json(
        folder / "dataset.json", {"classes": 4, "height": SHAPE[0], "width": SHAPE[1], **(about or {})}
    )
    if csv is not None:
        (folder / "train.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    return "--check", "--data", str(folder)


def csv(name, content, code, said):
    """A case of a train.csv."""
    return Case(f"csv: {name}", lambda folder: strips(folder, content), code, said)


def row(name, text, said):
    """A case of one row, the third line of a train.csv whose others are sound."""
    return csv(
        name, f"{CURRENT}a.jpg,1,1 5\n{text}\nb.jpg,4,1 5\n", 2, rf"error +\S+train\.csv, row 3: .*{said}"
    )


def image(name, content, code, said, part="train_images", file="b.jpg"):
    """A case of an image file: its bytes, or a function that makes something at its path."""

    def build(folder):
        arguments, path = strips(folder), folder / part / file
        path.unlink(missing_ok=True)
        path.write_bytes(content) if isinstance(content, bytes) else content(path)
        return arguments

    return Case(f"image: {name}", build, code, said)


def after(name, change, code, said):
    """A case of a sound data folder that a function then changes; it may give other arguments back."""

    def build(folder):
        arguments = strips(folder)
        return change(folder) or arguments

    return Case(f"folder: {name}", build, code, said)


def png(width, height, depth=8, colour=0, rows=b"\0"):
    """A PNG whose header says what it likes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def resized(data, height, width):
    """A JPEG whose header claims another size than it has."""
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def pictures(kind):
    """The bytes of a file with two pictures."""
    first, second = (
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, SHAPE, np.uint8)) for seed in (0, 1)
    )
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=[second])
    return file.getvalue()


WHOLE = jpeg()
ROWS = [
    row("an image that is not there", "d.jpg,1,1 5", r"the image 'd\.jpg' is not in train_images"),
    row("a name that leads out", "../a.jpg,1,1 5", r"the image's name '\.\./a\.jpg' is a path"),
    row("an absolute name", "/etc/passwd,1,1 5", "the image's name '/etc/passwd' is a path"),
    row("the folder above", "..,1,1 5", "the image's name '..' is a path"),
    row("a drive", "C:a.jpg,1,1 5", "the image's name 'C:a.jpg' is a path"),
    row("a backslash", "x\\a.jpg,1,1 5", "is a path"),
    row("a control character", "a\x07.jpg,1,1 5", "characters that cannot be printed"),
    row("text that runs backwards", "a\u202egpj.exe,1,1 5", "characters that cannot be printed"),
    row("no name", ",1,1 5", "the image's name is empty"),
    row("class 5 of 4", "b.jpg,5,1 5", "the class '5' is not a whole number from 1 to 4"),
    row("class 0", "b.jpg,0,1 5", "the class '0'"),
    row("a class with a point", "b.jpg,1.0,1 5", r"the class '1\.0'"),
    row("a negative class", "b.jpg,-1,1 5", "the class '-1'"),
    row("a class in words", "b.jpg,three,1 5", "the class 'three'"),
    row("a class in other digits", "b.jpg,３,1 5", "the class '３'"),
    row("no class", "b.jpg,,1 5", "the class ''"),
    row("a pair twice, in two versions", "a.jpg,1,2 5", r"image 'a\.jpg' and class 1 have a row already"),
    row("an odd count", "b.jpg,1,1 5 9", "has 3 numbers, an odd count"),
    row("nan", "b.jpg,1,nan", "more than whole numbers"),
    row("fractions", "b.jpg,1,1.5 2.5", "more than whole numbers"),
    row("other digits", "b.jpg,1,１ ５", "more than whole numbers"),
    row("a formula for a run-length", "b.jpg,1,=1+1", "more than whole numbers"),
    row("a negative start", "b.jpg,1,-1 3", "more than whole numbers"),
    row("not sorted", "b.jpg,1,9 1 1 1", "not sorted"),
    row("overlapping runs", "b.jpg,1,1 2 2 2", "overlaps the one before"),
    row("a run of length 0", "b.jpg,1,1 0", "a number below 1"),
    row("a run from 0", "b.jpg,1,0 3", "a number below 1"),
    row("a run that leaves the image", "b.jpg,1,2048 2", "ends at pixel 2049, outside the image of 32 x 64"),
    row("a number beyond all images", "b.jpg,1," + "9" * 30 + " 1", "a number that no image can reach"),
]
TABLES = [
    csv("no such file", None, 2, r"train\.csv"),
    csv("empty", b"", 2, r"train\.csv is empty"),
    csv(
        "other columns",
        "ImageId,Class,EncodedPixels\na.jpg,1,1 5\n",
        2,
        "has the columns 'ImageId', 'Class', 'EncodedPixels'",
    ),
    csv("a column twice", "ImageId,ImageId,EncodedPixels\n", 2, "has the columns"),
    csv("a column more", "ImageId,ClassId,EncodedPixels,Note\na.jpg,1,1 5,x\n", 2, "has the columns"),
    csv("semicolons", CURRENT.replace(",", ";") + "a.jpg;1;1 5\n", 2, "has the columns"),
    csv("not UTF-8", OLD.encode() + b"a\xff.jpg_1,1 5\n", 2, "is not UTF-8 text"),
    csv("UTF-16", (CURRENT + "a.jpg,1,1 5\n").encode("utf-16"), 2, "is not UTF-8 text"),
    csv("a picture", WHOLE, 2, "is not UTF-8 text"),
    csv("a NUL character", CURRENT + "b\0.jpg,1,1 5\n", 2, "a byte of zero"),
    csv("an open quote", CURRENT + 'b.jpg,1,"1 5\n', 2, "is no proper CSV file"),
    csv("a value too many", CURRENT + "b.jpg,1,1 5,7\n", 2, "row 2: there are more values than columns"),
    csv(
        "a value too many behind a long one",
        CURRENT + f"b.jpg,1,{'1 ' * 99999},7\n",
        2,
        "row unknown: .* more values than columns",
    ),
    csv("2019 without a class", OLD + "a.jpg,1 5\n", 2, "row 2: the class ''"),
    csv(
        "2019, a pair twice, in two versions",
        OLD + "a.jpg_1,1 5\na.jpg_1,2 5\n",
        2,
        "row 3: .* have a row already",
    ),
    csv("only a header", CURRENT, 0, "0 errors, 0 warnings"),
    csv(
        "blank lines, byte order mark, other line ends",
        "\ufeff" + CURRENT + "\r\na.jpg,1,1 5\r\n\r\n",
        0,
        "0 errors, 0 warnings",
    ),
    csv(
        "masks of two classes that overlap",
        CURRENT + "a.jpg,1,1 5\na.jpg,2,5 5\n",
        0,
        "warning .*row 3: .* shares 1 pixels",
    ),
]
IMAGES = [
    image("cut off", WHOLE[: len(WHOLE) // 2], 2, r"error .*b\.jpg: the image is cut off"),
    image("empty", b"", 2, r"error .*b\.jpg: the image is empty"),
    image("text", b"no image at all", 2, r"error .*b\.jpg: the image is no image that can be decoded"),
    image("a script", b"<script>alert(1)</script>", 2, "is no image that can be decoded"),
    image("a GIF", b"GIF89a" + bytes(40), 2, "is no image that can be decoded"),
    image("a header alone", b"\xff\xd8\xff\xd9", 2, "is no image that can be decoded"),
    image("another size", jpeg((16, 64)), 2, "error .* it has 16 x 64 pixels"),
    image(
        "another size in the test set",
        jpeg((16, 64)),
        0,
        "warning .* it has 16 x 64 pixels",
        "test_images",
        "t.jpg",
    ),
    image(
        "cut off in the test set",
        WHOLE[:300],
        2,
        r"error .*t\.jpg: the image is cut off",
        "test_images",
        "t.jpg",
    ),
    image(
        "a size that it has not",
        resized(WHOLE, 60000, 60000),
        2,
        "error .*(60000 x 60000|no image that can be decoded)",
    ),
    image(
        "a bomb", png(60000, 60000), 2, "error .*(60000 x 60000|no image that can be decoded)", file="b.png"
    ),
    image(
        "rows that are missing",
        png(64, 32, rows=bytes(65 * 4)),
        2,
        "error .*no image that can be decoded",
        file="b.png",
    ),
    image(
        "transparent",
        cv2.imencode(".png", np.zeros((*SHAPE, 4), np.uint8))[1].tobytes(),
        0,
        "it has 4 channels",
        file="b.png",
    ),
    image(
        "16 bits",
        cv2.imencode(".png", np.zeros(SHAPE, np.uint16))[1].tobytes(),
        0,
        "channels of uint16",
        file="b.png",
    ),
    image(
        "two pictures",
        pictures("TIFF"),
        0,
        "warning .* it holds 2 pictures, and the first alone is read",
        file="b.tif",
    ),
    image("an animation", pictures("PNG"), 0, "warning .* it holds 2 pictures", file="b.png"),
    image("no image by its name", b"x", 0, r"notes\.txt: it is no image by its name", file="notes.txt"),
    image("a folder", lambda path: path.mkdir(), 0, r"b\.jpg: it is no image by its name"),
    image(
        "a link to nowhere",
        lambda path: path.symlink_to("nowhere"),
        2,
        r"error .*b\.jpg: the image is a link that leads nowhere",
    ),
    image(
        "a link to itself",
        lambda path: path.symlink_to("b.jpg"),
        2,
        r"error .*b\.jpg: the image cannot be read",
    ),
    image(
        "a link out of the folder",
        lambda path: path.symlink_to("/etc/passwd"),
        2,
        r"error .*b\.jpg: the image is no image",
    ),
    image("a name on two lines", WHOLE, 2, "characters that cannot be printed", file="a\nb.jpg"),
    image("a name with a backslash", WHOLE, 2, "is a path", file="x\\b.jpg"),
    image(
        "a name that is no text",
        lambda path: path.with_name(os.fsdecode(b"\xff.jpg")).write_bytes(WHOLE),
        2,
        "cannot be printed",
    ),
    image("a formula for a name", WHOLE, 0, "begins as a formula does", file="=1+1.jpg"),
    image("a script for a name", WHOLE, 0, "0 errors, 0 warnings", file="<script>alert(1).jpg"),
]
FOLDERS = [
    after("no such folder", lambda folder: ("--check", "--data", str(folder / "x")), 2, "The data folder .* does not exist"),
    after("a file", lambda folder: ("--check", "--data", str(folder / "train.csv")), 2, "does not exist"),
    after("nothing in it", lambda folder: ("--check", "--data", str((folder / "x").mkdir() or folder / "x")), 2, "holds neither"),
    after("train.csv is a folder", lambda folder: (folder / "train.csv").unlink() or (folder / "train.csv").mkdir(), 2, "train.csv"),
    after("a description that is no JSON", lambda folder: (folder / "dataset.json").write_text("{") and None, 2, "is not valid JSON"),
    after("a description that is a list", lambda folder: write_json(folder / "dataset.json", [1]), 2, "holds no names with values"),
    after("half a class", lambda folder: write_json(folder / "dataset.json", {"classes": 0.5}), 2, "classes is 0.5"),
    after("a billion pixels", lambda folder: write_json(folder / "dataset.json", {"width": 10**9}), 2, "width is 1000000000"),
    after("names for other classes", lambda folder: write_json(folder / "dataset.json", {"class_names": ["a"]}), 2, "class_names is"),
    after("no test images", lambda folder: shutil.rmtree(folder / "test_images"), 0,
          "warning .*test_images: there is no such folder, and 05_shift, 40_evaluation and 90_inference need it"),
    after("an empty folder of test images", lambda folder: (folder / "test_images" / "t.jpg").unlink(), 0,
          "warning .*test_images: there are no test images: .*predicts none.* That is no harm"),
    after("a truth of no test image", lambda folder: (folder / "test_truth.csv").write_text(CURRENT + "a.jpg,1,1 5\n") and None,
          2, r"test_truth\.csv, row 2: the image 'a\.jpg' is not in test_images"),
    after("a wrong row in the test set's truth", lambda folder: (folder / "test_truth.csv").write_text(CURRENT + "t.jpg,1,9\n") and None,
          2, r"test_truth\.csv, row 2: .* odd count"),
]  # fmt: skip
DATA = ROWS + TABLES + IMAGES + FOLDERS


def option(name, arguments, said, code=2):
    """A case of the command line, on the small project beside the fixtures."""
    return Case(f"option: {name}", lambda folder: arguments, code, said)


def profile(name, content, said):
    """A case of a profile's content."""

    def build(folder):
        (folder / "params").mkdir()
        (folder / "params" / "small.yaml").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
        return ()

    return Case(f"profile: {name}", build, 2, said)


def written(name, content, said, *arguments):
    """A case of a run.json that is not what the project wrote."""

    def build(folder):
        (folder / "runs" / "a").mkdir(parents=True)
        (folder / "runs" / "a" / "run.json").write_text(content)
        return "--resume", "--run", "a", *arguments

    return Case(f"run.json: {name}", build, 2, said)


EVIL = '!!python/object/apply:os.system ["touch escaped"]'
PARAMETERS = [
    option("a misspelt key", ("-p", "10.valeu=3"), "no parameter 'valeu'; did you mean value"),
    option("another type", ("-p", "10.value=three"), "10_writes_value.value is 'three', not a whole number"),
    option("a fraction for a whole number", ("-p", "10.value=3.5"), "is of type float, not int"),
    option("no value", ("-p", "10.value="), "is empty, not int"),
    option("no equals sign", ("-p", "10.value"), "write it as -p NOTEBOOK.KEY=VALUE"),
    option("no key", ("-p", "10=3"), "write it as -p NOTEBOOK.KEY=VALUE"),
    option("no such notebook", ("-p", "11.value=3"), "there is no notebook '11'"),
    option("no number", ("-p", "10.rate=nan"), "is not a finite number"),
    option("beyond all numbers", ("-p", "10.rate=1e999"), "is not a finite number"),
    option("a list of texts for numbers", ("-p", "10.weights=[a, b]"), "is not a number"),
    option("an open bracket", ("-p", "10.weights=[1, 2"), "cannot be read"),
    option("brackets without end", ("-p", "10.weights=" + "[" * 5000), "cannot be read"),
    option("code in YAML", ("-p", f"10.value={EVIL}"), "cannot be read"),
    option("references in YAML", ("-p", "10.weights=[&a 1.0, *a]"), "cannot be read"),
    option("what the command gives", ("-p", "10.data_dir=/"), "data_dir is given by --data"),
    option("no such profile", ("--profile", "smal"), "There is no profile 'smal'; did you mean small"),
    option("a profile elsewhere", ("--profile", "../../../etc/passwd"), "There is no profile"),
    option("a run elsewhere", ("--run", "../outside"), "a run's name has letters"),
    option("a run with a long name", ("--run", "a" * 300), "a run's name has letters"),
    option("a run that is a command", ("--run", "$(touch escaped)"), "a run's name has letters"),
    option("no notebook at a time", ("--jobs", "0"), "at least one notebook"),
    option("no such notebook alone", ("--only", "50"), "there is no notebook '50'"),
    profile("no YAML", "all: [1, 2", "small.yaml, line"),
    profile("tabs", "all:\n\tvalue: 1\n", "small.yaml, line 2"),
    profile("a key twice", "10_writes_value:\n  value: 1\n  value: 2\n", "small.yaml, line 3: value is set twice"),
    profile("code", f"10_writes_value:\n  value: {EVIL}\n", "small.yaml, line 2: could not determine a constructor"),
    profile("references", "a: &a [1]\nb: *a\n", r"references \(\*name\) are not allowed"),
    profile("a list", "- 1\n", "holds no sections"),
    profile("a section that is a number", "10_writes_value: 3\n", "holds no keys"),
    profile("a section of no notebook", "11_x:\n  value: 1\n", "there is no notebook '11_x'"),
    profile("a misspelt key", "10_writes_value:\n  valeu: 1\n", "no parameter 'valeu'; did you mean value"),
    profile("a date for text", "10_writes_value:\n  title: 2020-01-01\n", "title is of type date, not str"),
    profile("a number for a name", "1:\n  value: 1\n", "the name 1 is not text"),
    profile("not UTF-8", b"all:\n  title: \xff\n", "is not valid YAML"),
    profile("a control character", "10_writes_value:\n  title: \x07\n", "is not valid YAML"),
    profile("brackets without end", "a: " + "[" * 5000, "small.yaml"),
    written("torn", '{"run": "a", "prof', "holds no readable run.json"),
    written("a list", "[]", "holds no readable run.json"),
    written("notebooks that are a list", '{"notebooks": [], "data": {}, "profile": "small", "started": ""}', "holds no readable run.json"),
    written("a profile elsewhere", '{"notebooks": {}, "data": {}, "profile": "../x", "started": ""}', r"There is no profile '\.\./x'"),
    written("another profile", '{"notebooks": {}, "data": {}, "profile": "other", "started": ""}', "is a run of profile other",
            "--profile", "small"),
]  # fmt: skip


def zipped(name, said, *entries, change=None, method=zipfile.ZIP_DEFLATED):
    """A case of an archive: entries are (name, content) or a ZipInfo for a name; `change` alters its
    bytes."""

    def build(folder):
        with zipfile.ZipFile(folder / "x.zip", "w", method) as archive:
            for entry, content in entries:
                archive.writestr(entry, content)
        if change:
            (folder / "x.zip").write_bytes(change((folder / "x.zip").read_bytes()))
        return str(folder / "x.zip"), str(folder / "inside" / "data")

    return Case(f"archive: {name}", build, 2, said)


def special(name, mode):
    """An entry of a file type, such as a link."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry


def damaged(data):
    """An archive's bytes, eight of them changed."""
    return data[:900] + bytes(range(1, 9)) + data[908:]


NOISE = np.random.default_rng(0).bytes(3000)
ARCHIVES = [
    zipped("a name that leads out", r"its entry '\.\./escaped' has a name that leads out", ("../escaped", "x")),
    zipped("a name that leads out further in", "leads out", ("good", "x"), ("a/../../escaped", "x")),
    zipped("an absolute name", "leads out", ("/tmp/escaped", "x")),
    zipped("a backslash", "leads out", ("..\\escaped", "x")),
    zipped("a drive", "leads out", ("C:escaped", "x")),
    zipped("a link", "is a link or a device", (special("link", 0o120777), "/etc/passwd")),
    zipped("a name twice", "is there twice", ("a", "x"), ("A", "y")),
    zipped("a file that is a folder", "is a file, and the folder of other entries", ("a", "x"), ("a/b", "y")),
    zipped("a folder that is a file", "is a file, and the folder", ("A/b/c", "y"), ("a/B", "x")),
    zipped("a bomb", "would grow to 50,000,000 bytes", ("zeros", bytes(50_000_000))),
    zipped("cut off", "cannot be unpacked", ("a", os.urandom(5000)), change=lambda data: data[:3000]),
    zipped("damaged", "cannot be unpacked", ("a", os.urandom(5000)), change=lambda data: data[:900] + b"\0\0\0\0" + data[904:]),
    zipped("damaged, of LZMA", "cannot be unpacked", ("a", NOISE), change=damaged, method=zipfile.ZIP_LZMA),
    zipped("damaged, of bzip2", "cannot be unpacked", ("a", NOISE), change=damaged, method=zipfile.ZIP_BZIP2),
    zipped("a name that is no text", "cannot be unpacked", ("\u00e9\u00e9", "x"),
           change=lambda data: data.replace("\u00e9\u00e9".encode(), b"\xe9\xe9ab")),
    zipped("no archive", "cannot be unpacked", change=lambda data: b"no archive at all"),
    zipped("encrypted", "is encrypted", ("a", "x" * 99), change=lambda data: data.replace(b"PK\x01\x02\x14\x03\x14\0\0\0",
                                                                                      b"PK\x01\x02\x14\x03\x14\0\1\0")),
    Case("archive: no such file", lambda folder: (str(folder / "y.zip"), str(folder / "inside" / "data")), 2, "does not exist"),
]  # fmt: skip
