"""Profiles: what the notebooks declare, what a profile and the command line set, and where every value comes from."""

import ast
import json
import math
import re
from collections import namedtuple
from pathlib import Path

import yaml

from lib.errors import UserError
from lib.pipeline import profiles, ranges

TYPES = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
RENAMED = {  # parameters that had other names before version 2
    "balance": "balanced_sampling", "folds": "n_members", "generated": "synthetic_sizes", "locate": "localization_head",
    "missed_cost": "false_negative_cost", "negatives": "negative_ratio", "parts": "cv_folds", "pictures": "n_examples",
    "precision": "dtype_policy", "rounds": "n_bootstrap", "sample": "max_images", "test_sample": "max_test_images",
    "trees": "n_estimators", "wanted_recall": "min_recall",
}  # fmt: skip
GIVEN = {"data_dir": "--data", "run_dir": "--run"}  # set by the command line, the same for every notebook
Parameter = namedtuple("Parameter", "default type domain", defaults=(None,))  # annotation, an ast node; see ranges.Domain
Value = namedtuple("Value", "value origin")  # origin: "notebook", "demo.yaml, all", "demo.yaml, segmenters", "-p ..."


def declared(notebook):
    """The parameters that a notebook declares in its cell tagged `parameters`: {name: Parameter}, in their order.

    A line is `name: type = value` with bool, int, float, str, list, dict, list[...], or `type | None`; without a type,
    the value's own; its comment may say what values it may have, see `ranges`. UserError for a line that is anything else, because a
    derived value would keep the default.
    """
    notebook = Path(notebook)
    parameters = {}
    for cell in read_notebook(notebook)["cells"]:
        if cell["cell_type"] != "code" or "parameters" not in cell.get("metadata", {}).get("tags", []):
            continue
        source = "".join(cell["source"])
        try:
            lines = ast.parse(source).body
        except SyntaxError as error:
            raise UserError(f"{notebook.name}: line {error.lineno} of its parameters cell is not valid Python.") from None
        comments = ranges.comments_of(source)
        for line in lines:
            try:
                name = line.target.id if isinstance(line, ast.AnnAssign) else line.targets[0].id
                default = ast.literal_eval(line.value)
                annotation = line.annotation if isinstance(line, ast.AnnAssign) else ast.Name(type(default).__name__)
                domain = ranges.read(comments.get(line.end_lineno, ""))
                parameters[name] = Parameter(convert(default, annotation), annotation, domain)
            except (AttributeError, ValueError, TypeError) as error:
                raise UserError(
                    f"{notebook.name}: line {line.lineno} of its parameters cell, `{ast.unparse(line)}`, is not a typed "
                    f"name with a plain value ({error}). Derive values in the next cell."
                ) from None
        break
    return parameters


def read_notebook(path):
    """A notebook file as a dictionary; UserError if it is missing or broken."""
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        return notebook if isinstance(notebook["cells"], list) else {}["cells"]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is not a Jupyter notebook. Restore it from the project's history.") from None


def convert(value, annotation):
    """`value` as the declared type, such as 3 for a float as 3.0 and "1e-3" (YAML's reading of it) for a float as 0.001.

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
        return [convert(item, annotation.slice) for item in container] if isinstance(container, list) else container
    kind = TYPES.get(getattr(annotation, "id", ""))
    if kind is None:
        raise ValueError(f"of the type {ast.unparse(annotation)}, but only {', '.join(TYPES)} can be handed over")
    if kind is float and (type(value) is int or isinstance(value, str)):
        try:
            value = float(value if type(value) is int or value.isascii() else "")  # float() reads the digits of every script
        except (ValueError, OverflowError):
            raise ValueError("not a number") from None
    if kind is int and isinstance(value, str):  # 1e3 and 1.000 are texts in YAML
        raise ValueError(f"{value[:40]!r}, not a whole number: write it in digits alone, such as 1000")
    if type(value) is not kind:
        found = "empty" if value is None else f"of type {type(value).__name__}"
        raise ValueError(f"{found}, not {kind.__name__}" + (": put it in quotes" if kind is str else ""))
    if kind is float and not math.isfinite(value):
        raise ValueError("not a finite number")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("holds something that is neither number, text, list nor dictionary of these") from None


for number in ("int", "float"):
    profiles.ProfileLoader.add_constructor(f"tag:yaml.org,2002:{number}", profiles.ProfileLoader.construct_decimal)
profiles.ProfileLoader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?0[0-9_]+$"), list("-+0"))  # 08, which is not octal


def settable(parameters):
    """What can be set of `declared` parameters: {name: Parameter}; of a dictionary each entry by itself, as "name.entry"."""
    found = {}
    for name, parameter in parameters.items():
        if isinstance(parameter.default, dict) and parameter.default:
            entries = parameter.default.items()
            inner = parameter.domain.entries if parameter.domain else {}
            found |= {f"{name}.{entry}": Parameter(value, ast.Name(type(value).__name__), inner.get(entry)) for entry, value in entries}
        else:
            found[name] = parameter
    return found


def effective(declarations, profile_name="", profile=None, overrides=(), selected=None):
    """What every notebook runs with: defaults < profile's `all` < its `segmenters` < its section of the notebook < overrides, which
    have the same order among themselves.

    Arguments:
        declarations: {notebook: declared(notebook)}, all notebooks of the project.
        overrides: (section, key, value) as parse_override gives them; text is read as YAML unless a str is declared.
        selected: the notebooks that are asked for: of these alone must the values go together; None for all.

    Of a parameter that is a dictionary only the entries that are named change: `{"augmentation": {"flips": "none"}}` in a profile,
    "augmentation.flips" as the key of an override; `all` sets an entry wherever it is.

    Returns {notebook: {key: Value}}. Raises UserError for a key that no notebook of its section declares, with the nearest
    right name, and for a value of another type or outside of what its notebook declares, the defaults included.
    """
    values = {name: {key: Value(p.default, "notebook") for key, p in keys.items()} for name, keys in declarations.items()}
    declarations = {name: settable(keys) for name, keys in declarations.items()}
    whole = {key for keys in declarations.values() for key in keys}
    file, profile = f"{profile_name}.yaml", profile or {}
    for section in profile:
        if section not in profiles.GROUPS and section not in declarations:
            raise UserError(f"{file}: there is no notebook {section!r}{profiles.nearest(section, [*profiles.GROUPS, *declarations])}")
    settings = []
    for section in sorted(profile, key=profiles.from_wide_to_narrow):
        for key, value in profile[section].items():
            inner = isinstance(value, dict) and key not in whole
            entries = {f"{key}.{entry}": inner for entry, inner in value.items()} if inner else {key: value}
            settings += [(section, key, value, f"{file}, {section}") for key, value in entries.items()]
    for section, key, value in sorted(overrides, key=lambda override: profiles.from_wide_to_narrow(override[0])):
        settings.append((section, key, value, f"-p {section}.{key}"))
    for section, key, value, origin in settings:
        if key in GIVEN:
            raise UserError(f"{origin}: {key} is given by {GIVEN[key]}. Leave it out here.")
        names = profiles.members(section, declarations)
        owners = [name for name in names if key in declarations[name]]
        if not owners:
            known = sorted({known for name in names for known in declarations[name]} - set(GIVEN))
            if RENAMED.get(key) in known:
                raise UserError(f"{origin}: {key} is called {RENAMED[key]} now. Use that name.")
            place = {"all": "no notebook has", "segmenters": "no segmenter has"}.get(section, f"{section} has no")
            raise UserError(f"{origin}: {place} parameter {key!r}{profiles.nearest(key, known)}")
        for name in owners:
            new, (top, _, entry) = checked(value, declarations[name][key].type, origin, key), key.partition(".")
            before = values[name][top]
            origins = dict.fromkeys([*(before.origin.split("; ") if entry and before.origin != "notebook" else ()), origin])
            values[name][top] = Value({**before.value, entry: new} if entry else new, "; ".join(origins))
    for name, parameters in declarations.items():
        for key, parameter in parameters.items():
            top, _, entry = key.partition(".")
            value, origin = values[name][top]
            if wrong := ranges.problem(value[entry] if entry else value, parameter.domain):
                where = f"{name}.ipynb" if origin == "notebook" else origin
                raise UserError(f"{where}: {key} of {name} is {wrong}.")
        if selected is not None and name not in selected:
            continue  # what it would run with may wait until it does
        if wrong := ranges.clash({key: value.value for key, value in values[name].items()}):
            raise UserError(f"{name}: {wrong}")
    return values


def checked(value, annotation, origin, key):
    """`value` converted to the declared type; text from the command line is read as YAML unless text is declared."""
    from_command_line = origin.startswith("-p")
    where = origin if from_command_line else f"{origin}: {key}"
    try:
        if from_command_line and getattr(annotation, "id", "") != "str":
            value = profiles.read_yaml(value)
        return convert(value, annotation)
    except yaml.YAMLError as error:
        why = f" ({error.problem})" if getattr(error, "problem", None) else ""
        raise UserError(f"{where} cannot be read{why}. Write a number, true, false, text or [a, b].") from None
    except ValueError as error:
        raise UserError(f"{where} is {error}.") from None


def listing(values):
    """The text of `--list`: every notebook's keys with value and origin, in columns."""
    lines = []
    for name, keys in values.items():
        lines += ["", name]
        shown = {key: json.dumps(value.value, ensure_ascii=False) for key, value in keys.items()}
        wide = [max((len(text) for text in column), default=0) for column in (shown, shown.values())]
        lines += [f"  {key:{wide[0]}}  {shown[key]:{min(wide[1], 40)}}  {keys[key].origin}" for key in keys]
    return "\n".join(lines[1:])
