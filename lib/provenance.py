"""What a result was made from: versions, code, and the key that tells whether a notebook must run again."""

import ast
import hashlib
import json
import platform
import subprocess
from importlib import metadata

from lib import params
from lib.paths import PROJECT

PACKAGES = ("numpy", "pandas", "opencv-python-headless", "keras", "tensorflow", "segmentation-models")
LIB = PROJECT / "lib"


def versions():
    """{"python": "3.12.1", "numpy": ...} of everything that a figure may depend on; nothing is imported for it."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        for name in (package, f"{package}-cpu", package.removesuffix("-headless")):
            try:
                found[package] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def code_version():
    """The git commit, with "+changes" where files differ from it; without git a hash over lib."""
    try:
        changes = git("status", "--porcelain", "--untracked-files=no", "--", "lib", "notebooks", "params")
        return git("rev-parse", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        content = b"".join(path.name.encode() + path.read_bytes() for path in sorted(LIB.glob("*.py")))
        return "source " + hashlib.sha256(content).hexdigest()[:16]


def git(*arguments):
    """What a git command prints; an error if there is no git or no repository."""
    command = ["git", "-C", str(PROJECT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def digest(value):
    """A short hash of anything JSON can hold, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def imported_modules(tree, known):
    """The names of the modules of lib, out of `known`, that a syntax tree imports anywhere in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("lib.").split(".")[0] for alias in node.names if alias.name.startswith("lib.")}
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            if module == ["lib"] or (node.level and module == [""]):
                found |= {alias.name for alias in node.names}
            elif module[0] == "lib" or node.level:
                found.add(module[1] if module[0] == "lib" else module[0])
    return set(known) if "*" in found else found & set(known)


def library():
    """The modules of lib: {name: (hash of its code without comments and layout, names of the modules it imports)}."""
    paths = {path.stem: path for path in sorted(LIB.glob("*.py"))}
    modules = {}
    for name, path in paths.items():
        source = path.read_text(encoding="utf-8")
        try:
            tree = ast.parse(source)
        except SyntaxError:
            modules[name] = (digest(source), set())  # the notebook that imports it will say so
            continue
        modules[name] = (digest(ast.dump(tree)), imported_modules(tree, paths))
    return modules


def code_of(notebook, modules):
    """Hashes of a notebook's code cells and of every module of lib that it imports, directly or through others.

    Prose does not count: correcting a sentence must not train a network again.
    """
    cells = ["".join(cell["source"]) for cell in params.read_notebook(notebook)["cells"] if cell["cell_type"] == "code"]
    waiting = set()
    for cell in cells:
        lines = [line for line in cell.splitlines() if not line.lstrip().startswith(("%", "!"))]
        try:
            waiting |= imported_modules(ast.parse("\n".join(lines)), modules)
        except SyntaxError:
            waiting |= set(modules)  # not to be read: anything may be used
    used = set()
    while waiting:
        name = waiting.pop()
        used.add(name)
        waiting |= modules[name][1] - used
    return {"cells": digest(cells), **{name: modules[name][0] for name in sorted(used)}}


def key(parameters, code, data, upstream, made_with):
    """The key of a notebook: equal keys, equal results.

    Arguments:
        parameters: {name: value} without the folders' paths; code: code_of(...); data: the data's fingerprint;
        upstream: {notebook: key} of those it needs; made_with: versions().
    """
    return digest([parameters, code, data, upstream, made_with])
