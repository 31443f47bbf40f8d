"""What the project imports is what it pins itself, not only what other packages happen to bring; and the
files that say so agree."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lib.paths import PROJECT
from lib.pipeline import params

OPTIONAL = {
    "kaggle",
    "mlflow",
    "onnxruntime",
    "openvino",
    "tensorboard",
    "onnx",
    "ray",
    "tf2onnx",
}  # asked for by name where they are missed


def imported(source):
    """The packages that Python source imports, inside functions too; `from lib import x` is none."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [
        node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level
    ]
    return {name.partition(".")[0] for name in names} - {"lib"} - sys.stdlib_module_names


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_pinned_among_what_the_project_needs_itself():
    sources = [
        path.read_text(encoding="utf-8")
        for path in (PROJECT / "run_all.py", *sorted((PROJECT / "lib").rglob("*.py")))
    ]
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in params.read_notebook(path)["cells"] if cell["cell_type"] == "code"]
        sources += [re.sub(r"(?m)^%.*$", "", "".join(cell["source"])) for cell in cells]
    own = (PROJECT / "requirements.txt").read_text(encoding="utf-8").partition("# What those bring")[0]
    pinned, brought = (
        {plain(name) for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", own)},
        packages_distributions(),
    )
    found = {
        name: {plain(one) for one in brought.get(name, [name])}
        for name in set().union(*map(imported, sources)) - OPTIONAL
    }
    assert {"PIL", "cv2", "keras", "numpy", "yaml"} <= set(found)
    assert not {name for name, packages in found.items() if not packages & pinned}


def pins(*names):
    """{package: version} that these files pin for this Python and system."""
    found = {}
    for name in names:
        lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
        for requirement in map(Requirement, (line for line in lines if line and not line.startswith("#"))):
            if requirement.marker is None or requirement.marker.evaluate():
                found[plain(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def test_what_the_tests_need_is_pinned_with_all_that_it_brings():
    known, waiting = pins("requirements.txt", "requirements-test.txt"), list(pins("requirements-test.txt"))
    for package in waiting:
        for requirement in map(Requirement, requires(package) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert plain(requirement.name) in known, f"{package} brings {requirement.name}"


def test_version_and_pythons_are_the_same_everywhere():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = re.search(r"(?m)^## (\S+?),? ", (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"))[1]
    assert project["version"] in (newest, f"{newest}.dev0")
    pythons = [
        f"3.{minor}"
        for minor in range(9, 20)
        if SpecifierSet(project["requires-python"]).contains(f"3.{minor}.0")
    ]
    jobs = yaml.safe_load((PROJECT / ".github" / "workflows" / "checks.yml").read_text(encoding="utf-8"))[
        "jobs"
    ]
    assert jobs["linux"]["strategy"]["matrix"]["python"] == pythons
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert steps[0] == ".ci/run" and (PROJECT / steps[0]).is_file()
    first, last = (tuple(map(int, one.split("."))) for one in (pythons[0], pythons[-1]))
    assert f"{first} <= sys.version_info[:2] <= {last}" in (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert f"Python {', '.join(pythons[:-1])} or {pythons[-1]}" in (PROJECT / "README.md").read_text(
        encoding="utf-8"
    )
