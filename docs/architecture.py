"""The rooms of lib/ as their own imports have them: which rules they break, and the picture
docs/architecture.svg.

    python docs/architecture.py            # say what breaks a rule, and draw the picture again

The order of the rooms and what each is for stand in `lib/__init__.py`, and nowhere else.
"""

import ast
import graphlib
import re
import sys
import textwrap
from collections.abc import Container
from html import escape
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
PICTURE = PROJECT / "docs" / "architecture.svg"
MOST_LINES = 300
GROUND = ("errors", "files", "paths")  # drawn as one
COMMANDS = (
    "export",
    "importer",
    "predict",
)  # in lib's root, for engineers to type: they may import anything, and nothing imports them
FLAT = (*GROUND, "plots", *COMMANDS)  # the other modules lie in rooms
ONLY = {
    "segmentation_models": "models",
    "papermill": "pipeline.worker",
    "nbconvert": "report",
    "ray": "cluster",
}  # package: who may import it
KERAS = {"keras", "tensorflow", "segmentation_models"}
NO_KERAS = (*FLAT, "data", "synthetic", "report", "inference.submission", "evaluation", "pipeline")
ITS_OWN_KERAS = ("data.generators", "data.crop_batches")  # batches are a Keras data set


class Module(NamedTuple):
    """A module of lib: its number of lines and what it imports, modules of lib as "lib.data.rle", packages as
    "numpy"."""

    lines: int
    anywhere: frozenset[str]
    at_import: frozenset[str]  # without what functions import when they are called


def rooms(lib: Path = PROJECT / "lib") -> dict[str, str]:
    """{room: what it is for}, lowest first: a room imports from itself and from those before it."""
    table = ast.get_docstring(ast.parse((lib / "__init__.py").read_text(encoding="utf-8"))) or ""
    found = {}
    for names, purpose in re.findall(r"(?m)^((?:[a-z]+/?(?:, )?)+) {2,}(\S.*)$", table):
        found |= {name.rstrip("/"): purpose for name in names.split(", ")}
    return found


def modules(lib: Path = PROJECT / "lib") -> dict[str, Module]:
    """{name without "lib.": module} of every Python file below `lib`."""
    sources = {}
    for path in sorted(lib.rglob("*.py")):
        name = ".".join(path.relative_to(lib).with_suffix("").parts).removesuffix(".__init__")
        sources[name] = path.read_text(encoding="utf-8")
    return {name: read(source, sources) for name, source in sources.items()}


def read(source: str, known: Container[str]) -> Module:
    """What a source is and imports; `known`: the names of lib's modules."""
    tree = ast.parse(source)
    anywhere, at_import = (frozenset(imported(tree, deep, known)) for deep in (True, False))
    return Module(len(source.splitlines()), anywhere, at_import)


def imported(node: ast.AST, deep: bool, known: Container[str]) -> set[str]:
    """What a syntax tree imports, as in `Module`; with `deep`, also inside functions."""
    found = set()
    for child in ast.iter_child_nodes(node):
        names = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            if child.level:
                raise ValueError(
                    f"line {child.lineno}: a relative import. Write from lib.ROOM import MODULE."
                )
            names = [f"{child.module}.{alias.name}" for alias in child.names]
        elif deep or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found |= imported(child, deep, known)
        found |= {resolved(name, known) for name in names}
    return found


def resolved(name: str, known: Container[str]) -> str:
    """ "lib.data.rle" for "lib.data.rle.encode", the longest part of the name that is a module; "numpy" for
    "numpy.linalg"."""
    parts = name.split(".")
    if parts[0] != "lib":
        return parts[0]
    ends = [end for end in range(len(parts), 1, -1) if ".".join(parts[1:end]) in known]
    return ".".join(parts[: ends[0]]) if ends else "lib"


def inside(name: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of `places`, or lies in a room that is."""
    return name in places or name.partition(".")[0] in places


def violations(found: dict[str, Module], order: tuple[str, ...]) -> list[str]:
    """What breaks a rule, a sentence each; `order`: the rooms, lowest first."""
    ranks = {name: number for number, name in enumerate(order)}
    ranks |= dict.fromkeys(COMMANDS, len(order)) | {"__init__": -1}
    said = []
    for name, module in found.items():
        room = name.partition(".")[0]
        if room not in ranks or (room == name and room in order and room not in FLAT and module.lines):
            said.append(f"{name} lies in no room")
            continue
        if module.lines > MOST_LINES:
            said.append(f"{name} has more than {MOST_LINES} lines: {module.lines}")
        for target in sorted(module.anywhere):
            other = target.removeprefix("lib.").partition(".")[0]
            if target.startswith("lib.") and (
                ranks.get(other, -1) > ranks[room] or (other in COMMANDS and other != room)
            ):
                said.append(f"{name} imports {target}, which lies above it")
            if target in ONLY and not inside(name, (ONLY[target],)):
                said.append(f"{name} imports {target}, which only {ONLY[target]} may know")
        if inside(name, NO_KERAS) and name not in ITS_OWN_KERAS and (way := way_to_keras(name, found)):
            said.append(f"{name} imports Keras: {' -> '.join(way)}")
    needed = {f"lib.{name}": module.at_import for name, module in found.items()}
    try:
        graphlib.TopologicalSorter(needed).prepare()
    except graphlib.CycleError as error:
        said.append(f"modules import each other: {' -> '.join(reversed(error.args[1]))}")
    return said


def way_to_keras(name: str, found: dict[str, Module]) -> list[str]:
    """The modules through which one imports Keras, first and last included: [] if it does not.

    It counts what is imported with it, and what its own functions import.
    """
    waiting, seen = [[name]], {name}
    while waiting:
        way = waiting.pop(0)
        module = found[way[-1]]
        targets = module.anywhere if len(way) == 1 else module.at_import
        if reached := sorted(targets & KERAS):
            return [*way, reached[0]]
        for target in sorted(targets):
            step = target.removeprefix("lib.")
            if step in found and step not in seen:
                seen.add(step)
                waiting.append([*way, step])
    return []


# The picture: a box a room, floors by how far its imports reach down, columns by hand; an arrow for an import
# that no others imply.
COLUMNS = {
    "models": 0,
    "inference": 0,
    "evaluation": 0,
    "commands": 0,
    "bundle": 2,
    "cluster": 2,
    "plots": 2,
    "report": 2,
}  # the others in the middle
WIDTH, HEIGHT, STEP_X, STEP_Y, LETTERS = 244, 70, 296, 114, 36
STYLE = """
.box { fill: #eef3f8; stroke: #5b7a99 } .name { fill: #14324f; font-weight: 600; font-size: 15px } .text { fill: #33485c; font-size: 12px }
.way { fill: none; stroke: #7d8b99; stroke-width: 1.5 } .head { fill: #7d8b99 }
text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; text-anchor: middle }
@media (prefers-color-scheme: dark) { .box { fill: #1d2b38; stroke: #6f93b5 } .name { fill: #dbe9f6 } .text { fill: #b3c4d4 } }
"""


def edges(found: dict[str, Module]) -> dict[str, set[str]]:
    """{room: rooms it imports from}; `errors, files, paths` and the commands are one each, and what other
    imports imply is left out."""

    def drawn(name):
        room = name.partition(".")[0]
        return ", ".join(GROUND) if room in GROUND else "commands" if room in COMMANDS else room

    direct = {}
    for name, module in found.items():
        if name != "__init__":
            targets = {
                drawn(target.removeprefix("lib.")) for target in module.anywhere if target.startswith("lib.")
            }
            direct.setdefault(drawn(name), set()).update(targets - {drawn(name)})
    reach = {}
    for room in graphlib.TopologicalSorter(direct).static_order():
        reach[room] = direct[room].union(*(reach[other] for other in direct[room]))
    return {
        room: {one for one in others if not any(one in reach[other] for other in others)}
        for room, others in direct.items()
    }


def picture(found: dict[str, Module], purposes: dict[str, str]) -> str:
    """The rooms as SVG: what imports stands above what is imported."""
    graph, floors = edges(found), {}
    for room in graphlib.TopologicalSorter(graph).static_order():
        floors[room] = 1 + max((floors[other] for other in graph[room]), default=-1)
    top = max(floors.values())
    texts = purposes | {
        ", ".join(GROUND): purposes[GROUND[0]],
        "commands": f"what engineers type: {', '.join(COMMANDS)}",
    }
    place = {
        room: (20 + WIDTH // 2 + STEP_X * COLUMNS.get(room, 1), 12 + STEP_Y * (top - floor))
        for room, floor in floors.items()
    }
    width, height = 40 + WIDTH + 2 * STEP_X, 24 + HEIGHT + STEP_Y * top
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>The rooms of lib: an arrow leads from what imports to what is imported</title>",
        f"<style>{STYLE}</style>",
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="head" d="M0 0 8 4 0 8z"/></marker>',
    ]
    lines += [arrow(place[room], place[other]) for room in sorted(graph) for other in sorted(graph[room])]
    for room, (x, y) in sorted(place.items()):
        lines.append(
            f'<rect class="box" x="{x - WIDTH // 2}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        )
        lines.append(f'<text class="name" x="{x}" y="{y + 20}">{escape(room)}</text>')
        for number, line in enumerate(textwrap.wrap(texts.get(room, ""), LETTERS)):
            lines.append(f'<text class="text" x="{x}" y="{y + 36 + 14 * number}">{escape(line)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """A line from the foot of one box to the head of another; past boxes on floors between them it goes
    between the columns."""
    side = (end[0] > start[0]) - (end[0] < start[0])
    x0, y0, x1, y1 = start[0] + 50 * side, start[1] + HEIGHT, end[0] - 50 * side, end[1] - 1
    gap = STEP_Y - HEIGHT
    if y1 - y0 < STEP_Y or not side:
        return f'<path class="way" d="M{x0} {y0}C{x0} {y0 + gap // 2} {x1} {y1 - gap // 2} {x1} {y1}" marker-end="url(#tip)"/>'
    middle = (start[0] + end[0]) // 2
    return (
        f'<path class="way" d="M{x0} {y0}C{x0} {y0 + gap // 2} {middle} {y0 + gap // 2} {middle} {y0 + gap}'
        f'V{y1 - gap}C{middle} {y1 - gap // 2} {x1} {y1 - gap // 2} {x1} {y1}" marker-end="url(#tip)"/>'
    )


def main() -> int:
    found, purposes = modules(), rooms()
    PICTURE.write_text(picture(found, purposes), encoding="utf-8", newline="\n")
    said = violations(found, tuple(purposes))
    print(
        "\n".join(said)
        or f"{len(found)} modules in {len(purposes)} places: every import leads down. The picture is in {PICTURE.name}."
    )
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
