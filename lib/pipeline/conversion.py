"""Values of parameters as their declared types: from Python, from YAML, from the command line."""

import ast
import json
import math
from typing import Any

import yaml

from lib.errors import UserError
from lib.pipeline import profiles

TYPES = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}


def convert(value: Any, annotation: ast.expr) -> Any:
    """`value` as the declared type, such as 3 for a float as 3.0 and "1e-3" (YAML's reading of it) for a
    float as 0.001.

    Raises ValueError, in words that follow "is", if the value is of another type.
    """
    if isinstance(annotation, ast.BinOp):
        for side in (annotation.left, annotation.right):
            try:
                return convert(value, side)
            except ValueError:
                continue
        raise ValueError(f"not of type {ast.unparse(annotation)}")
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        if value is None:
            return None
        raise ValueError("not empty")
    if isinstance(annotation, ast.Subscript):
        container = convert(value, annotation.value)
        return (
            [convert(item, annotation.slice) for item in container]
            if isinstance(container, list)
            else container
        )
    kind = TYPES.get(getattr(annotation, "id", ""))
    if kind is None:
        raise ValueError(
            f"of the type {ast.unparse(annotation)}, but only {', '.join(TYPES)} can be handed over"
        )
    if kind is float and (type(value) is int or isinstance(value, str)):
        try:
            value = float(value if str(value).isascii() else "")  # float() reads the digits of every script
        except (ValueError, OverflowError):
            raise ValueError("not a number") from None
    if kind is int and isinstance(value, str):  # 1e3 and 1.000 are texts in YAML
        raise ValueError(f"{value[:40]!r}, not a whole number: write it in digits alone, such as 1000")
    if type(value) is not kind:
        what = "empty" if value is None else f"of type {type(value).__name__}"
        remedy = ": put it in quotes" if kind is str else ""
        if kind is list and isinstance(value, int | float):
            remedy = f": put it in brackets, such as [{value}]"
        raise ValueError(f"{what}, not {kind.__name__}" + remedy)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a finite number")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise ValueError(
            "holds something that is neither number, text, list nor dictionary of these"
        ) from None


def checked(value: Any, annotation: ast.expr, origin: str, key: str) -> Any:
    """`value` converted to the declared type; text from the command line is read as YAML unless text is
    declared."""
    from_command_line = origin.startswith("-p")
    where = origin if from_command_line else f"{origin}: {key}"
    try:
        if from_command_line and getattr(annotation, "id", "") != "str":
            value = profiles.read_yaml(value)
        return convert(value, annotation)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None)
        why = f" ({problem})" if problem else ""
        raise UserError(
            f"{where} cannot be read{why}. Write a number, true, false, text or [a, b]."
        ) from None
    except ValueError as error:
        raise UserError(f"{where} is {error}.") from None
