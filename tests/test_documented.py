"""Every command and setting that README, docs/, benchmarks/, UPLOAD.md, the Makefile or the program itself
names is tried, or it is said why not.

They are taken from the texts by rule, so that one that is added later and that nothing here knows fails
`test_every_command_is_known`. The ones that run do so in a copy of the project with the small run that the
tests share. Those that need an account, a network, the packages of rivals or half an hour are followed until
their options are read, all in one process: most of such a second is imports. The choices of parameters, too,
are taken from the comments that name them, and each must be among the values that a test runs with.
"""

import ast
import functools
import glob
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import test_backbones
import test_notebook_judgement
import test_notebooks
import test_pretrained
import test_small_data
import whole_run

from lib import files, paths
from lib.data import choices
from lib.inference import postprocess
from lib.kaggle import pack
from lib.pipeline import graph, params, ranges

PROJECT = paths.PROJECT
PAGES = (path for pattern in ("docs/*.md", "benchmarks/*.md") for path in PROJECT.glob(pattern))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *sorted(path.relative_to(PROJECT).as_posix() for path in PAGES)]
SOURCES = sorted(
    path
    for pattern in ("run_all.py", "lib/**/*.py", "docs/*.py", "benchmarks/*.py", "tests/[!t]*.py")
    for path in PROJECT.glob(pattern)
)
PROGRAM = r"(?:\S*python3?|py|pip|make|jupyter|nbstripout|ruff|conda|kaggle|pack|push|download)"
IN_TEXT = re.compile(
    r"(?<![\w./-])(?=((?:python (?:-m [\w.]+|[\w/]+\.py)|make (?:run|test|bench)\b)[^`;\n]*))"
)
WORDS = re.compile(
    r"\w+/?\w*\.py|run|test|bench|pack|push|download|install|kaggle|datasets|kernels|competitions|create|submit|version"
)
SMALL = (
    "-p",
    "00.n_examples=1",
    *(
        word
        for name, value in whole_run.SEGMENTER.items()
        for word in whole_run.settings("all", {name: value})
    ),
)


def in_markdown(text):
    """The commands of a page: lines of its blocks, without comments, and what is set as code and begins as a
    command or an option does."""
    pieces = []
    for number, part in enumerate(re.split(r"(?m)^```\w*\n", re.sub(r"\\\n\s*", "", text))):
        if number % 2:
            pieces += [re.split(r"\s+#", line)[0].strip() for line in part.splitlines()]
        else:
            pieces += re.findall(r"`([^`]+)`", re.sub(r"\s*\n\s*", " ", part))
    return [
        piece
        for piece in pieces
        if re.match(rf"{PROGRAM} \S|-{{1,2}}[a-z]|'?(?:all|\d\d)\w*\.[\w.]+=", piece)
    ]


def texts_of(source):
    """Every text in a piece of Python; what an f-string fills in is X."""
    tree = ast.parse(source)
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in joined for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if id(node) in parts:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def in_source(text):
    """The commands in a text of the program, each as far as its words are a command's; what may be left out
    is taken along."""
    found = []
    for match in IN_TEXT.findall(re.sub(r"\[(-[^]]*|[A-Z]+)\]", r"\1", text)):
        taken, words = [], match.split()
        for number, word in enumerate(words):
            bare = word.strip("'").rstrip('.,:)`"')
            own = (
                number == 0
                or bare.startswith("-")
                or words[number - 1].startswith("-")
                or re.fullmatch(r"[A-Z]+(?:\.zip)?|<", bare)
            )
            if not own and not WORDS.fullmatch(bare):
                break
            taken.append(bare)
            if bare != word:
                break
        found.append(" ".join(taken))
    return found


def documented():
    """{command: where it stands}."""
    found = {}
    for name in DOCUMENTS:
        for command in in_markdown((PROJECT / name).read_text(encoding="utf-8")):
            found.setdefault(command, name)
    for own_data in (False, True):
        for command in in_markdown(pack.upload_text("ID", "me", "steel-defect", own_data, training=True)):
            found.setdefault(command, "UPLOAD.md")
    templates = (pack.UPLOAD, pack.BEFORE, pack.AFTER, pack.BEFORE_OWN, pack.AFTER_OWN, pack.TRAINING)
    sources = {path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8") for path in SOURCES}
    for path in sorted(graph.DEFAULT_PROJECT.notebooks.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        sources[path.name] = "\n".join(
            line for part in code for line in part.splitlines() if not line.lstrip().startswith("%")
        )
    for name, source in sources.items():
        for text in texts_of(source):
            for command in in_source(text) if text not in templates else ():
                found.setdefault(command, name)
    for path in (PROJECT / "Makefile", *sorted((PROJECT / "params").iterdir())):
        text = path.read_text(encoding="utf-8")
        commands = [
            *in_source(text),
            *re.findall(r"(?:: |(?m:^)# )(make(?: [\w-]+(?![\w=]))?(?: \w+=(?:\"[^\"]*\"|[\w.]+))*)", text),
        ]
        for command in commands:
            found.setdefault(command, path.name)
    return found


COMMANDS = documented()


def unix(command):
    """A command's words, as typed into a shell here; Windows' and the virtual environments' Python are this
    one."""
    return shlex.split(re.sub(r"^\S*python(?= )", "python", command))


VALUES = {"--data": "data/set", "--run": "ID", "--images": "NEU/images/training", "--masks": "NEU/annotations/training", "--owner": "me",
          "--out": "data/made", "--submission": "runs/ID/submission.csv", "--train": "4", "--test": "2", "--seed": "1", "--only": "40,90",
          "--seeds": "1", "--strips": "4", "--fresh": "4", "--way": "torch float32",
          "--labels": "NEU/labels.json", "--test-labels": "NEU/labels.json",
          "--truth": "NEU/annotations/training", "--test-images": "NEU/images/test", "--test-masks": "NEU/annotations/test"}  # fmt: skip
FREE = {"A": "ID", "B": "ID", "RUN": "ID", "FILE.zip": "set.zip", "FOLDER": "unpacked"}


def filled(words):
    """The words with something for each placeholder (capitals): by the option before it, or by its own
    name."""
    given = []
    for before, word in zip(["", *words], words, strict=False):
        blank = re.fullmatch(r"X|[A-Z]{1,6}|FILE\.zip", word) and before != "-m"
        given.append(VALUES.get(before, FREE.get(word, word)) if blank else word)
    return given


def do(project, words, input=None, **environment):
    """Run a command in the copy of the project; how it ended, without an error. `python` is this one."""
    words = [sys.executable if word == "python" else word for word in words]
    ended = subprocess.run(
        words,
        cwd=project,
        env=os.environ | environment,
        input=input,
        capture_output=True,
        text=True,
        timeout=900,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0 and (input or "Traceback" not in said), said[-3000:]
    return ended


def run(*more, says=""):
    """Execute the command with more words after it; it says so."""

    def act(project, words):
        ended = do(project, [*filled(words), *more])
        assert re.search(says, ended.stdout + ended.stderr, re.DOTALL), (
            f"{says} was not said:\n{ended.stdout}"
        )

    return act


def in_the_other(*more, says=""):
    """The same in a copy of its own, so that the run that is there stays the newest."""

    def act(project, words):
        other = project.with_name("other")
        if not other.exists():
            shutil.copytree(project, other, symlinks=True)
            shutil.rmtree(other / "runs" / "neu")  # no run, but a submission for lib.evaluation.overlap
        return run(*more, says=says)(other, words)

    return act


RIVALS = (
    "albumentations",
    "cc3d",
    "onnx",
    "onnxruntime",
    "openvino",
    "pycocotools",
    "segmentation_models_pytorch",
    "tf2onnx",
    "torch",
)
PARSER = """
import argparse, contextlib, importlib.util, io, json, os, runpy, sys, traceback, unittest.mock
class Rivals:  # of the benchmarks, which are in an environment of their own
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in RIVALS:
            return importlib.util.spec_from_loader(name, self, is_package=True)
    def create_module(self, specification):
        return unittest.mock.MagicMock(__spec__=specification, __path__=[])
    def exec_module(self, module):
        pass
class Parsed(BaseException):
    pass
sys.meta_path.append(Rivals())
own = argparse.ArgumentParser.parse_args
def parse(self, *given, **more):
    own(self, *given, **more)
    raise Parsed
argparse.ArgumentParser.parse_args = parse
found, path = {}, list(sys.path)
for command in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            if command[0] == "-m":
                sys.argv[:], sys.path[:] = command[1:], [os.getcwd(), *path]
                runpy.run_module(command[1], run_name="__main__", alter_sys=True)
            else:
                sys.argv[:], sys.path[:] = command, [os.path.dirname(os.path.abspath(command[0])), *path]
                runpy.run_path(command[0], run_name="__main__")
            code = "ended without reading its options"
        except Parsed:
            code = "parsed"
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            code = traceback.format_exc()
    found["\\0".join(command)] = code, said.getvalue()
sys.stdout.write("\\n" + json.dumps(found))
""".replace("RIVALS", repr(RIVALS))
HELPS = [[*name, "--help"] for name in (
    ["run_all.py"], ["tests/kills.py"],
    *(["-m", f"lib.{name}"] for name in ("importer", "evaluation.overlap", "evaluation.lookup", "predict", "export", "synthetic")),
    *(["-m", f"lib.{name}"] for name in ("kaggle.archive", "kaggle")),
    *(["-m", "lib.kaggle", name] for name in ("pack", "push", "download")),
)]  # fmt: skip


def as_parsed(words):
    """The words of a command as PARSER takes them: without the interpreter; the name of a command of
    lib.kaggle stands for it."""
    return filled(words[1:] if words[0] == "python" else ["-m", "lib.kaggle", *words])


@functools.cache
def parse_all(project):
    """{words: (how it ended, what it said)} of all commands that are only parsed; those of benchmarks apart,
    whose modules have names that the project has too."""
    jobs = [as_parsed(unix(command)) for command in COMMANDS if how(command) in (parsed, uploads)]
    jobs += [[*as_parsed(unix(command)), "--help"] for command in COMMANDS if how(command) is helps]
    found, token = {}, {"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "0" * 32}
    for part in (
        [job for job in jobs if job[0].startswith("benchmarks/")],
        [job for job in jobs if not job[0].startswith("benchmarks/")] + HELPS,
    ):
        said = do(project, ["python", "-c", PARSER], input=json.dumps(part), PYTHONPATH=str(project), **token)
        found |= json.loads(said.stdout.splitlines()[-1])
    return found


def parsed(project, words, expected="parsed"):
    """Only up to the end of the parsing of its options; what it said until then."""
    code, said = parse_all(project)["\0".join(as_parsed(words))]
    assert code == expected and "Traceback" not in said, f"{code}\n{said}"
    return said


def helps(project, words):
    """What it says when it is asked how it is used."""
    assert re.search("usage: python -m lib", parsed(project, [*words, "--help"], 0))


def uploads(project, words):
    """The client's parser takes it, and the folders that it names are in the pack."""
    pack = project / "runs" / "ID" / "kaggle"
    if not (pack / "training").exists():
        do(project, ["python", "-m", "lib.kaggle", "pack", "ID", "--owner", "me", "--training"])
    for option, name in itertools.pairwise(words):
        assert option != "-p" or name in ("FOLDER", "X") or (pack / name).is_dir(), f"the pack has no {name}"
    parsed(project, words)


def make_only_says(project, words):
    """The target is there, and what make would do can be worked out."""
    said = do(project, ["make", "-n", *words[1:]]).stdout
    arguments = [word.partition("=")[2] for word in words if word.startswith("ARGS=")]
    assert all(argument in said for argument in arguments)


def pins_are_there(project, words):
    """Not installed again: the files and the versions that it names are this project's."""
    for before, word in itertools.pairwise(words):
        assert before != "-r" or (project / word).is_file()
        if "==" in word and "X" not in word:
            assert re.sub(r"\[.*]", "", word) in (project / "requirements.txt").read_text(encoding="utf-8")


def strips_notebooks(project, words):
    books = sorted((project / "notebooks").glob("*.ipynb"))
    before = [book.read_bytes() for book in books]
    expanded = [name for word in words[1:] for name in (sorted(glob.glob(word, root_dir=project)) or [word])]
    do(project, [str(Path(sys.executable).with_name("nbstripout")), *expanded])
    assert [book.read_bytes() for book in books] == before


def sets(project, words):
    """Settings that a line shows: every one is known and in its range."""
    said = do(project, ["python", "run_all.py", "--list", *filled(words)]).stdout
    assert all(f"-p {name}" in said for name in re.findall(r"-p (\w+_\w+\.\w+)=", " ".join(words)))


def options(project, words):
    """Options named by themselves: a command has them."""
    known = " ".join(parse_all(project)["\0".join(command)][1] for command in HELPS)
    known += " ".join(path.read_text(encoding="utf-8") for path in (project / "benchmarks").glob("*.py"))
    for word in words:
        assert not word.startswith("-") or re.search(rf"(?<![\w-]){word}(?![\w-])", known), word


def not_here(reason):
    return lambda project, words: reason


def judged_again(project, words):
    """40_evaluation and 90_inference, with what README sets for them."""
    judging = [
        word for setting in (*settings_of("(?:-p )?40"), '40.tta=["none"]') for word in ("-p", setting)
    ]
    in_the_other(*judging, says="40_evaluation +started.*90_inference +started")(project, words)


HOW = [  # the first that fits the whole command
    (r"(?:\.venv\\Scripts\\)?python run_all\.py", run("--resume", "--run", "ID", says="cached")),  # the copy of the project began with it
    (r"python run_all\.py --resume(?: --run X)?", run(says=r"(cached.*){10}")),
    (r"python run_all\.py --resume --run X --only X", run(says="90_inference")),
    (r"python run_all\.py --only 40,90 --run ID", run(says="90_inference")),
    (r"python run_all\.py --from 40 --run ID(?: --resume)?", judged_again),
    (r"python run_all\.py --only 40 --run ID -p .*", in_the_other(says="40_evaluation +started.*done")),
    (r"python run_all\.py --compare A B", run(says="95 % interval .*0.0000 to .*Open ")),
    (r"python run_all\.py --sweep .*", run("--list", says="31_seg_class1")),  # it runs in test_sweep.py
    (r"python run_all\.py (?:--resume )?--cluster .*", parsed),  # clusters run in test_cluster_runs.py
    (r"python run_all\.py (?:--list|-p .*)", run("--list", says="10_binary")),
    (r"python run_all\.py --profile full.*", run("--list", says=r"full\.yaml")),
    (r"python run_all\.py --prepare full", in_the_other(says="10 notebooks with the profile full")),
    (r"python run_all\.py --check --data [\w/]+", run(says="0 errors")),
    (r"python run_all\.py --data X", run("--check", says="0 errors")),  # what data/mine is run with, next
    (r"python run_all\.py --data data/mine", in_the_other("--profile", "demo", "--only", "20", "--run", "mine", *SMALL, says="done")),
    (r"python run_all\.py --profile neu_seg .*", in_the_other("--only", "10", *SMALL, says="done")),
    (r"python -m lib\.importer --images DIR.*", run(says="python run_all.py --data")),
    (r"python -m lib\.importer --images NEU.*", run(says="python run_all.py --data")),
    (r"python -m lib\.evaluation\.overlap .*", run(says="mean_iou")),
    (r"python -m lib\.evaluation\.lookup .*", run(says="mean_iou")),
    (r"python -m lib\.predict --run .*", run(says="Open ")),
    (r"python -m lib\.predict --cluster .*", parsed),  # predictions on clusters run in test_cluster_prediction.py
    (r"python -m lib\.export .*", parsed),  # test_export.py makes bundles
    (r"(?:python )?detect\.py .*", not_here("in a bundle; detect.py is run in test_export.py")),
    (r"python -m lib\.kaggle\.archive FILE.zip FOLDER", run(says="files in")),
    (r"python -m lib\.synthetic --out .*", run("--processes", "1")),
    (r"(?:python -m lib\.kaggle )?(?:pack|push|download).*", parsed),
    (r"python -m kaggle (?!.*runs).*", uploads),
    (r"python -m lib\.pipeline\.worker <", not_here("the pipeline's own: every run begins its notebooks so")),
    (r"python -m lib\.[\w.]+", helps),
    (r"(?:\.venv-bench/bin/)?python benchmarks/\w+\.py.*", parsed),
    (r"python tests/\w+\.py.*", parsed),
    (r"python docs/architecture\.py", not_here("it is run in test_architecture.py")),
    (r"python docs/example_report\.py", run(says="example_report.html: .* bytes")),
    (r"make .*", make_only_says),
    (r"(?:\S*python -m |%)?pip .*", pins_are_there),
    (r"nbstripout .*", strips_notebooks),
    (r"py -3\.12 -m venv \.venv|conda .*", not_here("Windows, conda")),
    (r"\S*python -m jupyter lab notebooks", not_here("opens a browser; the notebooks are executed in test_notebooks.py")),
    (r"python -m pytest|ruff check \.", not_here("this suite, and what make does before it")),
    (r"-p .*=.*", sets),
    (r"-{1,2}[a-z].*", options),
    (r"'?(?:all|\d\d)\w*\.[\w.]+=.*", not_here("all of them at once: test_the_settings_of_the_table, judged_again")),
]  # fmt: skip


def how(command):
    return next((act for pattern, act in HOW if re.fullmatch(pattern, command)), None)


def test_every_command_is_known():
    assert {command: where for command, where in COMMANDS.items() if how(command) is None} == {}
    assert len(COMMANDS) > 60
    page = "`a.py` and `python run_all.py\n--new X`\n```\nmake it \\\n  A=1   # now\n```"
    assert in_markdown(page) == ["python run_all.py --new X", "make it A=1"]
    assert how("python run_all.py --new X") is None
    assert in_source("Run it: python run_all.py --resume. Or (python -m lib.kaggle pack) again.") == [
        "python run_all.py --resume",
        "python -m lib.kaggle pack",
    ]


def headings(page):
    """The anchors of a page's headings, as the usual public hosts make them."""
    return {
        re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"(?m)^#+ (.+)$", page)
    }


@pytest.mark.parametrize("name", [*DOCUMENTS, "CHANGELOG.md", "runs/README.md"])
def test_every_file_that_a_page_names_is_there(name):
    page = (PROJECT / name).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)#?([^)]*)\)", page):
        path = (PROJECT / name).parent / target if target else PROJECT / name
        assert path.is_file(), target
        assert not anchor or anchor in headings(path.read_text(encoding="utf-8")), f"{target}#{anchor}"
    for path in re.findall(r"`((?:lib|notebooks|params|tests|docs|benchmarks)/[\w./]*)`", page):
        assert (PROJECT / path).exists(), path
    for module, entry in re.findall(r"`(test_\w+)` in `(tests/\w+\.py)`", page):
        assert f"def {module}(" in (PROJECT / entry).read_text(encoding="utf-8"), module


def test_the_way_to_a_submission_is_told_as_the_graph_has_it():
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files_of_a_run = [
        file for products in (graph.PRODUCTS, graph.FURTHER) for files in products.values() for file in files
    ]
    for word in [*graph.GRAPH, *files_of_a_run]:
        text = re.sub(r"3[23]_seg_class[23]", "31_seg_class1", word)
        text = re.sub(r"models/seg_class[23]/", "models/seg_class1/", text).removesuffix("/model.json")
        assert text in page, word


def test_nothing_here_is_about_a_command_that_is_gone():
    used = {id(how(command)) for command in COMMANDS}
    assert [pattern for pattern, act in HOW if id(act) not in used] == []


@pytest.fixture(scope="module")
def project(tmp_path_factory, whole_project):
    """The copy of the project with the run of all tests, ID; data/set as its data, a small set of another
    kind as NEU and data/neu."""
    project = shutil.copytree(whole_project, tmp_path_factory.mktemp("documented") / "project", symlinks=True)
    (made,) = (project / "data").iterdir()
    shutil.copytree(made, project / "data" / "set")
    shutil.make_archive(str(project / "set"), "zip", made / "test_images")
    random = np.random.default_rng(0)
    labels = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "spots"}]}
    for part in ("training", "test"):
        for kind in ("images", "annotations"):
            (project / "NEU" / kind / part).mkdir(parents=True)
        for number in range(16):
            mask = np.zeros((64, 64), np.uint8)
            mask[10:30, 10 : 20 + 2 * number] = number % 4
            picture = random.integers(60, 120, mask.shape, np.uint8) + 40 * mask
            cv2.imwrite(str(project / "NEU" / "images" / part / f"{part}{number}.png"), picture)
            cv2.imwrite(str(project / "NEU" / "annotations" / part / f"{part}{number}.png"), mask)
            size = {"height": 64, "width": 64}
            labels["images"].append({"id": f"{part}{number}", "file_name": f"{part}{number}.png", **size})
            box = {"bbox": [10, 10, 10 + 2 * number, 20]}
            labels["annotations"].append({"image_id": f"{part}{number}", "category_id": 1, **box})
    files.write_json(project / "NEU" / "labels.json", labels)
    for out in ("data/mine", "data/neu"):
        where = [
            f"--{word}={place}"
            for word, place in (("images", "images/training"), ("masks", "annotations/training"))
        ]
        where = [
            word.replace("=", "=NEU/")
            for word in [*where, "--test-images=images/test", "--test-masks=annotations/test"]
        ]
        do(project, ["python", "-m", "lib.importer", *where, "--out", out])
    rows = [f"test{number}.png_{k}," for number in range(16) for k in (1, 2, 3)]
    files.write_atomic(
        project / "runs" / "neu" / "submission.csv", "\n".join(["ImageId_ClassId,EncodedPixels", *rows, ""])
    )
    return project


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if how(command)], ids=lambda command: command[:70]
)
def test_a_command(command, project):
    if re.match(r"python -m lib\.(?:importer|synthetic|predict) --", command):
        words = filled(unix(command))
        shutil.rmtree(project / words[words.index("--out") + 1], ignore_errors=True)
    how(command)(project, unix(command.replace("\\", "/")))


def settings_of(notebook):
    """The settings that the documents name one by one for a notebook, or for all; `notebook` is the pattern
    of the setting's beginning."""
    named = [shlex.split(command) for command in COMMANDS if re.match(rf"'?{notebook}\.[\w.]+=", command)]
    return [words[-1] for words in named if len(words) <= 2]


def promised(path):
    """{parameter: values} that the comments of a notebook name: choices, yes and no, and 0 with its opposite
    where 0 has a meaning."""
    (source,) = test_notebooks.tagged(path, "parameters")
    comments, found = ranges.comments_of(source), {}
    lines = {line.partition(":")[0]: number for number, line in enumerate(source.splitlines(), 1)}
    for name, parameter in params.declared(path).items():
        domains = (
            parameter.domain.entries
            if parameter.domain and parameter.domain.entries
            else {name: parameter.domain}
        )
        for key, domain in domains.items():
            named = {option for option in (domain.options if domain else ()) if isinstance(option, str)}
            if isinstance(parameter.default, bool):
                named = {True, False}
            if re.search(r"\bat 0\b|\b0 (?:means|for)\b", comments.get(lines[name], "")):
                named = {"0", "more than 0"}
            found[key] = found.get(key, set()) | named
    return found


def values_of(name, given):
    """{parameter: values} that a notebook runs with: its defaults but for what is given; entries of
    dictionaries as parameters."""
    found = {}
    for key, parameter in params.declared(graph.DEFAULT_PROJECT.notebooks / f"{name}.ipynb").items():
        value = given.get(key, parameter.default)
        entries = {**parameter.default, **value} if isinstance(value, dict) else {key: value}
        for entry, one in entries.items():
            if isinstance(one, int | float) and not isinstance(one, bool):
                one = "more than 0" if one else "0"
            found[entry] = set(one) if isinstance(one, list) else {"empty" if one == "" else one}
    return found


def of_parameters(test):
    """The values that a test is parametrized with."""
    return {value for mark in test.pytestmark if mark.name == "parametrize" for value in mark.args[1]}


def tried():
    """{parameter: values} that some test runs a notebook with, or builds a network with, where that is what
    the value is about."""
    runs = [
        *whole_run.PARAMETERS.items(),
        *test_notebooks.MEMBERS.items(),
        *test_notebooks.BY_HAND.items(),
        *test_small_data.OUT_OF_FOLD.items(),
    ]
    of_40 = {}
    for setting in settings_of("(?:-p )?40"):
        key, value = setting.partition(".")[2].split("=")
        of_40[key] = float(value) if re.fullmatch(r"[\d.]+", value) else value
    found = {}
    for name, given in [*runs, ("40_evaluation", of_40), ("20_multilabel", {})]:  # the last for data/mine
        for key, values in values_of(name, given).items():
            found.setdefault(key, set()).update(values)
    found["pseudo_labels"].add("FILE")  # test_notebooks.MEMBERS, made there
    found["score"] |= of_parameters(
        test_notebook_judgement.test_thresholds_are_chosen_for_the_score_and_it_stands_everywhere
    )
    found["strategy"] |= set(
        postprocess.STRATEGIES
    )  # every run of 40_evaluation chooses thresholds for each and compares them
    found["architecture"] |= of_parameters(test_backbones.test_the_other_architectures)
    found["backbone"] |= of_parameters(test_backbones.test_a_classifier_with_crops_and_cells)
    found["backbone"] |= of_parameters(test_backbones.test_a_segmenter_begins_with_a_weights_file)
    for value, test in (
        (
            "FILE",
            test_backbones.test_a_classifier_begins_with_a_weights_file_and_one_of_another_network_is_refused,
        ),
        ("imagenet", test_pretrained.test_classifier_and_segmenter_start_from_imagenet_train_and_come_back),
    ):
        assert callable(test)
        found["weights"].add(value)
    return found


@pytest.mark.parametrize("path", test_notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_every_choice_that_a_comment_names_is_tried(path):
    have = tried()
    missing = {name: values - have.get(name, set()) for name, values in promised(path).items()}
    assert {name: values for name, values in missing.items() if values} == {}


def test_a_choice_that_is_new_is_one_that_nothing_tries(tmp_path):
    path = tmp_path / "10_binary.ipynb"
    source = 'loss: str = "bce"  # bce | hinge: of networks\nlocate: bool = True  # where\nquiet: int = 0  # 0..9: lines, none at 0\n'
    source += 'augmentation: dict = {"flips": "none"}  # choices.AUGMENTATION: of strips\n'
    files.write_json(
        path, {"cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}]}
    )
    expected = {
        "loss": {"bce", "hinge"},
        "locate": {True, False},
        "quiet": {"0", "more than 0"},
        "flips": set(choices.FLIPS),
    }
    assert {name: values for name, values in promised(path).items() if values} == expected
    assert "hinge" not in tried()["loss"] and "bce" in tried()["loss"]


@pytest.mark.slow
def test_the_settings_of_the_table(project):
    apart = ("all.n_members=", "all.held_out=0", "all.keep=last")  # go together: test_small_data.py
    settings = [setting for setting in settings_of("all") if not setting.startswith(apart)]
    assert len(settings) == len(settings_of("all")) - 3 > 5 and len(settings_of("(?:-p )?40")) > 1
    everywhere = [word for setting in settings for word in ("-p", setting)]
    training = in_the_other(
        "--data", "data/set", "--only", "31", "--run", "settings", *SMALL, *everywhere, says="done"
    )
    training(project, ["python", "run_all.py"])
    # Five trainings would be five times one: test_notebooks.py has ensembles of two, and test_dataset.py
    # divides strips into five.
    assert "all.n_members=5" in settings_of("all")
