"""What the project imports is what it pins itself, not only what other packages happen to bring."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

from lib.paths import PROJECT
from lib.pipeline import params

OPTIONAL = {"kaggle", "openvino"}  # asked for by name where they are missed


def imported(source):
    """The packages that Python source imports, inside functions too; `from lib import x` is none."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names} - {"lib"} - sys.stdlib_module_names


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_pinned_among_what_the_project_needs_itself():
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "run_all.py", *sorted((PROJECT / "lib").rglob("*.py")))]
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in params.read_notebook(path)["cells"] if cell["cell_type"] == "code"]
        sources += [re.sub(r"(?m)^%.*$", "", "".join(cell["source"])) for cell in cells]
    own = (PROJECT / "requirements.txt").read_text(encoding="utf-8").partition("# What those bring")[0]
    pinned, brought = {plain(name) for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", own)}, packages_distributions()
    found = {name: {plain(one) for one in brought.get(name, [name])} for name in set().union(*map(imported, sources)) - OPTIONAL}
    assert {"PIL", "cv2", "keras", "numpy", "yaml"} <= set(found)
    assert not {name for name, packages in found.items() if not packages & pinned}
