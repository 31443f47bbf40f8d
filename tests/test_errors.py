"""Paths that users give, folders that are put in place, and how every command ends."""

import errno
import io
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

import run_all
from lib import errors, importer, paths
from lib.errors import UserError
from lib.evaluation import lookup, overlap
from lib.files import put, read_json, scratch, write_atomic
from lib.kaggle import __main__ as kaggle_command
from lib.kaggle import archive
from lib.synthetic import __main__ as synthetic_command

LONG = "x" * 300


@pytest.fixture
def folder(tmp_path):
    """A folder with a file `f`, a circle of links `a` and `b`, and an image with its mask."""
    (tmp_path / "f").write_text("")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for name, value in (("i", 90), ("m", 1)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "x.png"), np.full((8, 8), value, np.uint8))
    return tmp_path


def commands(path):
    """Every command with `path` for every path that it takes."""
    return [
        (run_all.main, ["--check", "--data", path]),
        (run_all.main, ["--list", "--data", path]),
        (importer.main, ["--images", path, "--masks", "m", "--out", "out"]),
        (importer.main, ["--images", "i", "--masks", path, "--out", "out"]),
        (importer.main, ["--images", "i", "--masks", "m", "--out", "out", "--test-images", path]),
        (overlap.main, ["--submission", path, "--data", "d"]),
        (overlap.main, ["--submission", "s.csv", "--data", path]),
        (archive.main, [path, "out"]),
        (kaggle_command.main, ["pack", path]),
    ]


def into(path):
    """Every command that writes, with `path` for the place to write to."""
    return [
        (importer.main, ["--images", "i", "--masks", "m", "--out", path]),
        (archive.main, ["f.zip", path]),
        (kaggle_command.main, ["download", "--data", path]),
        (synthetic_command.main, ["--out", path, "--train", "1", "--test", "1"]),
    ]


@pytest.mark.parametrize(
    "path", ["~nosuchuser/x", "a/x", "f/x", LONG, f"{LONG}/x", "l\udce9", "nul\0"], ids=ascii
)
def test_a_path_that_can_be_none_is_a_sentence_in_every_command(folder, path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = sorted(os.listdir(folder))
    for main, arguments in [*commands(path), *into(path)]:
        assert main(arguments) == 2, arguments
        out, err = capsys.readouterr()
        assert (
            err.startswith("error: ")
            and err.count("\n") == 1
            and len(err) < 700
            and "Traceback" not in out + err
        )
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("path", ["", "  "])
def test_an_empty_path_does_not_mean_the_folder_that_the_command_is_called_in(
    path, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    files = (
        ["--images", path, "--masks", "m", "--out", "o"],
        ["--images", "i", "--masks", path, "--out", "o"],
        ["--images", "i", "--labels", path, "--out", "o"],
    )
    for main, arguments in [
        *((importer.main, each) for each in files),
        (archive.main, [path, "out"]),
        *into(path)[:2],
    ]:
        assert main(arguments) == 2 and "is empty. Name a" in capsys.readouterr().err, arguments
    assert not os.listdir(tmp_path)


ONE_VALUE = [
    (run_all.main, ["--data", "--profile", "--run", "--only", "--from", "--jobs", "--prepare"], ["--list"]),
    (
        importer.main,
        ["--images", "--masks", "--out", "--test-images", "--test-masks", "--names", "--size", "--white"],
        [],
    ),
    (synthetic_command.main, ["--out", "--train", "--test", "--seed", "--processes"], []),
    (overlap.main, ["--submission", "--data"], []),
    (lookup.main, ["--data"], []),
    (kaggle_command.main, ["--data"], ["download"]),
    (kaggle_command.main, ["--owner", "--name"], ["pack", "none"]),
]


@pytest.mark.parametrize("main, options, command", ONE_VALUE)
def test_an_option_given_twice_is_refused(main, options, command, tmp_path, monkeypatch, capsys):
    """Of two values the last would win without a word."""
    monkeypatch.chdir(tmp_path)
    for option in options:
        for second in ([option, "2"], [f"{option}=2"]):
            with pytest.raises(SystemExit) as ended:
                main([*command, option, "1", *second])
            assert (
                ended.value.code == 2 and f"{option} is given twice. Give it once." in capsys.readouterr().err
            )
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "text", ["\u0663", "\uff13", "1_0", "1e3", "3.0", "three", "nan", "inf", "", "9" * 20]
)
@pytest.mark.parametrize("main, option", [(run_all.main, "--jobs"), *((synthetic_command.main, name) for name in ONE_VALUE[2][1][1:]),
                                          (importer.main, "--white")])  # fmt: skip
def test_a_number_of_a_command_line_is_one_as_people_write_it(main, option, text, capsys):
    if (option, text) == ("--white", "3.0"):
        return
    with pytest.raises(SystemExit) as ended:
        main([*(["--list"] if main is run_all.main else []), option, text])
    assert ended.value.code == 2 and f"argument {option}: '{text}' is no " in capsys.readouterr().err


def test_a_data_variable_that_names_no_path_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setenv(paths.DATA_VARIABLE, "~nosuchuser/x")
    assert run_all.main(["--check"]) == 2 and "nosuchuser" in capsys.readouterr().err


def test_a_path_is_made_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    assert paths.resolve_path("~/new/folder") == tmp_path / "new" / "folder"
    assert paths.resolve_path("link") == paths.resolve_path(tmp_path / "there") == tmp_path / "there"


def test_a_scratch_folder_is_put_in_place_or_removed_and_nothing_else_is(tmp_path):
    for name in ("x.partial", ".x.partial"):
        (tmp_path / name).mkdir()
    with scratch(tmp_path / "x") as one, scratch(tmp_path / "x") as other:
        assert one != other and one.parent == tmp_path
        (one / "file").write_text("one")
        (other / "file").write_text("other")
        assert put(one, tmp_path / "x") and not put(other, tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".x.partial", "x", "x.partial"]
    assert (tmp_path / "x" / "file").read_text() == "one"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZeroDivisionError), scratch(tmp_path / "empty") as folder:
        raise ZeroDivisionError
    assert not folder.exists() and (tmp_path / "empty").is_dir()
    with scratch(tmp_path / "empty") as folder:
        assert put(folder, tmp_path / "empty")


def test_the_source_of_an_import_may_be_called_as_the_result_with_partial(folder, monkeypatch):
    (folder / "out.partial").mkdir()
    for name in ("i", "m"):
        (folder / name).rename(folder / "out.partial" / name)
    monkeypatch.chdir(folder)
    assert importer.main(["--images", "out.partial/i", "--masks", "out.partial/m", "--out", "out"]) == 0
    assert (folder / "out.partial" / "i" / "x.png").is_file() and (
        folder / "out" / "train_images" / "x.png"
    ).is_file()


def raising(error):
    def action():
        raise error

    return action


def failure(number, name=None):
    return OSError(number, os.strerror(number), *([name] if name else []))


@pytest.mark.parametrize("error, code, said", [
    (UserError("Say so."), 2, "error: Say so."),
    (failure(errno.ENOSPC, "/x/y"), 2, "The disk is full (/x)"),
    (failure(errno.ENOSPC), 2, "The disk is full."),
    (failure(errno.EMFILE, "y"), 2, "ulimit -n"),
    (failure(errno.EFBIG, "/x/y"), 2, "larger than is allowed here (/x). Raise the limit (`ulimit -f unlimited`)"),
    (failure(errno.EFBIG), 2, "larger than is allowed here. Raise"),
    (failure(errno.EROFS, "/x/y"), 2, "The folder cannot be written (/x)"),
    (failure(errno.EIO, "/x/y"), 2, "The disk or the network drive fails (/x)"),
    (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), 2, "files can be written: ['/tmp']. Make"),
    (failure(errno.ENOTDIR, "/x/y"), 2, "/x/y: Not a directory"),
    (failure(errno.ENAMETOOLONG, "/x/y"), 2, "/x/y: File name too long"),
    (MemoryError(), 2, "The memory is full"),
    (errors.Stopped(15), 143, "stopped"),
    (KeyboardInterrupt(), 130, "stopped"),
], ids=lambda value: repr(value)[:40])  # fmt: skip
def test_how_a_command_ends(error, code, said, capsys):
    assert errors.exit_code_of(raising(error)) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("error", [failure(errno.ENOSPC, "/x/y"), failure(errno.EMFILE), failure(errno.EROFS, "/x/y"), MemoryError()],
                         ids=lambda error: repr(error)[:30])  # fmt: skip
def test_resume_is_advised_where_something_was_kept_and_nowhere_else(error, capsys):
    """Of the commands one alone has --resume, and that only once its run has begun."""

    def run():
        with errors.resumable():
            raise error

    for again in (errors.exit_code_of(raising(type(error)(*error.args))), errors.exit_code_of(run)):
        assert again == 2
    alone, within = capsys.readouterr().err.splitlines()
    assert alone.endswith("then try again.") and "--" not in alone
    assert within.endswith("then go on with --resume: what was finished is kept.")


def test_an_error_of_the_program_itself_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        errors.exit_code_of(raising(ZeroDivisionError()))
    with pytest.raises(OSError, match="unknown"):
        errors.exit_code_of(raising(OSError("unknown")))


@pytest.mark.parametrize(
    "place, said",
    [("sealed", "sealed cannot be read"), ("sealed/d", "sealed cannot be read"), ("d", "d cannot be read")],
)
def test_what_cannot_be_read_is_not_called_unwritable(tmp_path, monkeypatch, capsys, place, said):
    """Tests may run as root, whom nothing is denied: the system's answers are those that another user
    gets."""
    (tmp_path / "sealed" / "d").mkdir(parents=True)
    (tmp_path / "d").mkdir()
    denied = {tmp_path / "sealed", tmp_path / "d"}
    monkeypatch.setattr(os, "access", lambda path, mode: paths.Path(path) not in denied)
    assert errors.exit_code_of(raising(failure(errno.EACCES, str(tmp_path / place)))) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "gb18030"])
def test_everything_can_be_said_in_any_encoding(encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    errors.print_line("\u94a2 Öl \udce9 \U0001f4a9", stream)
    said = stream.buffer.getvalue().decode(encoding)
    assert said.endswith("\n") and "\\udce9" in said
    assert ("\u94a2" in said) == (encoding in ("utf-8", "gb18030"))


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_command_prints_whatever_a_folder_is_called(tmp_path, encoding):
    data = tmp_path / "\u94a2"
    (data / "test_images").mkdir(parents=True)
    environment = dict(os.environ, PYTHONIOENCODING=encoding)
    command = [sys.executable, str(paths.PROJECT / "run_all.py"), "--list", "--data", str(data / "none")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, encoding=encoding)
    assert ended.returncode == 2 and "\\u94a2" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "content, said",
    [(b"[" * 200_000, "nested too deep"), (b"\xff", "not valid JSON"), (b"{", "not valid JSON")],
)
def test_json_that_is_none_is_a_sentence(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_json(tmp_path / "a.json")


def test_json_that_sets_a_name_twice_is_a_sentence(tmp_path):
    (tmp_path / "dataset.json").write_text('{"classes": 2, "height": 64, "width": 64, "classes": 3}')
    with pytest.raises(UserError, match=r"dataset\.json is not valid JSON \(classes is set twice\)"):
        read_json(tmp_path / "dataset.json")


def test_json_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + b'{"classes": 2}')
    assert read_json(tmp_path / "a.json") == {"classes": 2}


def test_a_name_that_is_no_utf8_can_be_written_into_a_file(tmp_path):
    write_atomic(tmp_path / "a.csv", "l\udce9.png\n")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "l\\udce9.png\n"


@pytest.mark.parametrize(
    "arguments", [["-p", "LONG"], ["-p", "10.LONG=3"], ["--only", "LONG"], ["--profile", "LONG"]], ids=str
)
def test_a_sentence_about_what_is_long_stays_readable(arguments, capsys):
    assert run_all.main(["--list", *(word.replace("LONG", "a" * 200_000) for word in arguments)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and len(said) < 4000 and "characters in all" in said
