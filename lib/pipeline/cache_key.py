"""What a result was made from: versions, code, and the key by which a notebook runs again or stands."""

import ast
import functools
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Collection, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from lib.paths import PROJECT
from lib.pipeline import params

# What is imported under another name than it is installed by, and what computes for it in turn.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "segmentation_models": "segmentation-models",
    "yaml": "pyyaml",
}
BRINGS = {
    "keras": ("tensorflow", "h5py"),
    "segmentation-models": ("image-classifiers", "efficientnet"),
    "scikit-learn": ("scipy",),
    "seaborn": ("matplotlib", "pillow"),
    "matplotlib": ("pillow",),
}
PACKAGES = (
    "numpy", "pandas", "scipy", "scikit-learn", "opencv-python-headless", "pillow", "simplejpeg", "keras", "tensorflow",
    "h5py", "openvino", "segmentation-models", "image-classifiers", "efficientnet", "matplotlib", "seaborn",
)  # fmt: skip
ELSEWHERE = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE",
)  # fmt: skip
LIB = PROJECT / "lib"
# The hash of a module's code, the modules of lib that it imports, and the packages.
Module = tuple[str, set[str], set[str]]
DRAWS = ("plots", "charts")  # modules of lib that only draw, as notebooks name them
# Modules and rooms that change no result: pictures and pages; how a run goes; and generated strips, which
# count by their pixels.
HARMLESS = ("errors", "plots", "report", "pipeline", "kaggle", "synthetic")


def versions(packages: Collection[str] = PACKAGES) -> dict[str, str]:
    """{"python": "3.12.1", "numpy": ...} of packages, by default of all that a result may depend on; nothing
    is imported for it."""
    installed = {"python": platform.python_version()}
    for package in packages:
        for name in (package, f"{package}-cpu", package.removesuffix("-headless")):
            try:
                installed[package] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return installed


def code_version() -> str:
    """The git commit, with "+changes" where files differ from it; a hash over lib without git, or where it is
    another project's repository that this folder lies in."""
    try:
        git("ls-files", "--error-unmatch", "lib/pipeline/cache_key.py")
        changes = git("status", "--porcelain", "--untracked-files=no", "--", "lib", "notebooks", "params")
        return git("rev-parse", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        content = b"".join(path.name.encode() + path.read_bytes() for path in sorted(LIB.rglob("*.py")))
        return "source " + hashlib.sha256(content).hexdigest()[:16]


def git(*arguments: str) -> str:
    """What a git command prints about this folder's repository, also where the environment names another one,
    as in git's hooks; an error if there is no git or no repository."""
    command = ["git", "-C", str(PROJECT), *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    return subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=10,
        check=True,
        env=environment,
    ).stdout.strip()


def digest(value: Any) -> str:
    """A short hash of anything JSON can hold, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def imported_names(tree: ast.AST) -> frozenset[str]:
    """What a syntax tree imports anywhere in it: "a.b" of `import a.b`, "a" and "a.b" of `from a import b`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def modules_among(names: Iterable[str], known: Collection[str]) -> set[str]:
    """The modules of lib, out of `known` (such as "data.rle"), among `imported_names`."""
    own = {name.removeprefix("lib.") for name in names if name.startswith("lib")}
    everything = any(name.endswith("*") for name in own)
    return set(known) if everything else own & set(known)


def packages_among(names: Iterable[str]) -> set[str]:
    """The packages of PACKAGES among `imported_names`, and what computes for them."""
    tops = {name.partition(".")[0] for name in names}
    packages = {DISTRIBUTIONS.get(top, top) for top in tops}
    packages |= {brought for package in packages for brought in BRINGS.get(package, ())}
    return packages & set(PACKAGES)


@functools.cache
def read_code(source: str) -> tuple[str, frozenset[str]]:
    """The hash of a module's code without comments and layout, and its `imported_names`."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return digest(source), frozenset()  # the notebook that imports it will say so
    return digest(ast.dump(tree)), imported_names(tree)


def library() -> dict[str, Module]:
    """The modules of lib: {name, such as "data.rle": (hash of its code without comments and layout, modules
    it imports, packages)}."""
    paths = {
        ".".join(path.relative_to(LIB).with_suffix("").parts): path for path in sorted(LIB.rglob("*.py"))
    }
    modules: dict[str, Module] = {}
    for name, path in paths.items():
        code, names = read_code(path.read_text(encoding="utf-8"))
        modules[name] = (code, modules_among(names, paths), packages_among(names))
    return modules


def code_of(
    notebook: Path, modules: dict[str, Module], drawings: bool = True, last_cell: str = ""
) -> tuple[dict[str, str], set[str]]:
    """What of the code counts for a notebook: {"cells": hash of its code cells, module: hash of each module
    of lib that it imports, directly or through others}, and the set of packages that these import.

    Prose, comments and layout do not count: correcting a sentence must not train a network again. Nor do the
    rooms of HARMLESS, and the cell `parameters`, whose values count as such.

    Arguments:
        drawings: whether the cells' calls of modules that only draw count; last_cell: tag of the last one that
            counts, and then imports that none of them uses do not; "" for all cells.
    """
    cells: list[Any] = []
    waiting: set[str] = set()
    packages: set[str] = set()
    for tree, lines, magics in parsed_cells(notebook, last_cell):
        if tree is None:
            cells.append(lines)
            waiting, packages = set(modules), set(PACKAGES)  # not to be read: anything may be used
            continue
        names = imported_names(tree)
        waiting |= modules_among(names, modules)
        packages |= packages_among(names)
        tree.body = [node for node in tree.body if drawings or not only_draws(node)]
        if tree.body or magics:
            cells.append([ast.dump(tree), magics])
    imported = set()
    while waiting := {name for name in waiting if name.split(".")[0] not in HARMLESS}:
        name = waiting.pop()
        imported.add(name)
        packages |= modules[name][2]
        waiting = (waiting | modules[name][1]) - imported
    return {"cells": digest(cells), **{name: modules[name][0] for name in sorted(imported)}}, packages


def parsed_cells(notebook: Path, last_cell: str = "") -> list[tuple[ast.Module | None, list[str], list[str]]]:
    """(syntax tree, lines, magics) of the code cells but the parameters, see `code_of`; None for a tree where a
    cell is no Python."""
    parsed: list[tuple[ast.Module | None, list[str], list[str]]] = []
    for cell in params.read_notebook(notebook)["cells"]:
        tags = cell.get("metadata", {}).get("tags", [])
        if cell["cell_type"] == "code" and "parameters" not in tags:
            lines = "".join(cell["source"]).splitlines()
            magics = [line for line in lines if line.lstrip().startswith(("%", "!"))]
            try:
                tree = ast.parse("\n".join(line for line in lines if line not in magics))
            except SyntaxError:
                tree = None
            parsed.append((tree, lines, magics))
        if last_cell and last_cell in tags:
            break
    if last_cell:
        drop_unused_imports([tree for tree, *_ in parsed if tree])
    return parsed


def names_in(parsed: Iterable[ast.Module | None]) -> set[str]:
    """The names that the syntax trees of cells use; what is imported counts where it is used."""
    nodes = [node for tree in parsed if tree for node in ast.walk(tree)]
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def drop_unused_imports(parsed: list[ast.Module]) -> None:
    """Take the imports of names that no cell uses out of the cells' syntax trees."""
    used = {"*", *names_in(parsed)}
    for tree in parsed:
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                bound = {name: name.asname or name.name.partition(".")[0] for name in node.names}
                node.names = [name for name in node.names if bound[name] in used]
        tree.body = [node for node in tree.body if getattr(node, "names", True)]


def only_draws(node: ast.stmt) -> bool:
    """Whether a statement is nothing but a call of a module that only draws, such as `plots.strips(...)`."""
    call = getattr(node, "value", None) if isinstance(node, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and getattr(call.func.value, "id", "") in DRAWS
    )


def pages_hash() -> str:
    """A hash of what makes a page from an executed notebook: the code of `report` and its templates."""
    files = [path for path in sorted((LIB / "report").rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return digest([[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files])


def key(
    parameters: dict[str, Any],
    code: dict[str, str],
    data: Any,
    upstream: dict[str, str],
    package_versions: dict[str, str],
) -> str:
    """The key of a notebook: equal keys, equal results.

    Arguments:
        parameters: {name: value} without the folders' paths; code: code_of(...); data: the data's
            fingerprint;
        upstream: {notebook: key} of those it needs; package_versions: versions(packages).
    """
    return digest([parameters, code, data, upstream, package_versions])
