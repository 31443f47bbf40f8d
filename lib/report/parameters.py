"""The parameters of a notebook as rows of a table: as it declares them, and as its run set them."""

import ast
import tokenize
from collections.abc import Sequence
from io import StringIO
from typing import Any

Cell = dict[str, Any]  # as nbformat 4 writes it


def joined(text: str | list[str] | None) -> str:
    """Text of a notebook field, which may be one string or a list of lines."""
    return text if isinstance(text, str) else "".join(text or [])


def assignments(source: str) -> dict[str, tuple[str, str]]:
    """Parameters in a cell's source: {name: (value as written, comment)}; {} if it is no Python."""
    try:
        statements = ast.parse(source).body
        tokens = tokenize.generate_tokens(StringIO(source).readline)
        comments = {
            token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT
        }
    except (SyntaxError, tokenize.TokenError):
        return {}
    parameters = {}
    for statement in statements:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        if isinstance(target, ast.Name):
            value = ast.get_source_segment(source, statement.value) or ""
            parameters[target.id] = (value, comments.get(statement.end_lineno or 0, ""))
    return parameters


def has_tag(cell: Cell, *tags: str) -> bool:
    """Whether a cell carries one of the tags."""
    return bool(set(tags) & set(cell.get("metadata", {}).get("tags", [])))


def same_value(left: str, right: str) -> bool:
    """Whether two Python literals, as written, stand for the same value."""
    try:
        return ast.literal_eval(left) == ast.literal_eval(right)
    except (ValueError, SyntaxError):
        return left == right


def parameter_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row a parameter: "name", "value" as written, "meaning", whether the run "set" another value."""
    declared: dict[str, tuple[str, str]] = {}
    injected: dict[str, tuple[str, str]] = {}
    for cell in cells:
        if has_tag(cell, "parameters"):
            declared.update(assignments(joined(cell.get("source"))))
        elif has_tag(cell, "injected-parameters"):
            injected.update(assignments(joined(cell.get("source"))))
    names = list(declared) + [name for name in injected if name not in declared]
    return [
        {
            "name": name,
            "value": injected.get(name, declared.get(name, ("", "")))[0],
            "meaning": declared.get(name, ("", ""))[1],
            "set": name in injected
            and not (name in declared and same_value(injected[name][0], declared[name][0])),
        }
        for name in names
    ]
