"""The corpus of bad input: each case ends in a sentence of its own, or is counted and survived; nothing is
written outside."""

import re

import pytest
from corpus import ARCHIVES, DATA, PARAMETERS, strips
from test_pipeline import small_project

import run_all
from lib.kaggle import archive
from lib.pipeline import run


def contents(folder):
    """{path: bytes} of all files below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def judge(case, code, capsys):
    """Compare the end of a command with what the case says; a message is a few lines at most."""
    out, err = capsys.readouterr()
    assert code == case.code and re.search(case.said, out + err), out + err
    assert "Traceback" not in out + err and len(err) < 700 and err.count("\n") <= 2
    assert code == 0 or "error" in out + err
    assert (out + err).replace("\n", "").isprintable()


@named(DATA)
def test_bad_data(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        run, "check_division", lambda *_: []
    )  # two images are too few for a run, which test_split_check.py is about
    (tmp_path / "data").mkdir()
    arguments = case.build(tmp_path / "data")
    before = contents(tmp_path)
    judge(case, run_all.main(arguments), capsys)
    assert contents(tmp_path) == before


@named(PARAMETERS)
def test_bad_parameters(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project").mkdir()
    strips(tmp_path / "data")
    arguments = case.build(tmp_path / "project")
    small_project.build(tmp_path / "project")
    before = contents(tmp_path)
    chosen = () if {"--profile", "--resume"} & set(arguments) else ("--profile", "small")
    judge(
        case,
        small_project.call(tmp_path / "project", *chosen, *arguments, "--data", str(tmp_path / "data")),
        capsys,
    )
    after = contents(tmp_path)
    assert {path: after[path] for path in after if path.name != ".lock"} == before


@named(ARCHIVES)
def test_bad_archives(case, tmp_path, capsys, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    arguments = case.build(tmp_path / "a" / "b")
    before = contents(tmp_path)
    judge(case, archive.main(arguments), capsys)
    assert contents(tmp_path) == before


def test_a_good_archive_is_unpacked_once(tmp_path, capsys):
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.mkdir("train_images")
        file.writestr("train_images/a.jpg", b"123")
        file.writestr("train.csv", b"x")
    assert archive.main([str(tmp_path / "x.zip"), str(tmp_path / "out")]) == 0
    assert "2 files in" in capsys.readouterr().out
    assert (tmp_path / "out" / "train_images" / "a.jpg").read_bytes() == b"123"
    assert archive.main([str(tmp_path / "x.zip"), str(tmp_path / "out")]) == 2
    assert "is there already and not empty" in capsys.readouterr().err


def test_the_corpus_is_large_and_its_cases_differ():
    names = [case.name for case in DATA + PARAMETERS + ARCHIVES]
    assert len(names) == len(set(names)) >= 100
