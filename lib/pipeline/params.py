"""Profiles: what the notebooks declare, what a profile and the command line set, and where every value comes
from."""

import ast
import itertools
import json
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lib.errors import UserError
from lib.pipeline import profiles, ranges
from lib.pipeline.conversion import checked, convert

RENAMED = {  # parameters that had other names before version 2
    "balance": "balanced_sampling", "folds": "n_members", "generated": "synthetic_sizes",
    "locate": "localization_head", "missed_cost": "false_negative_cost", "negatives": "negative_ratio",
    "parts": "cv_folds", "pictures": "n_examples", "precision": "dtype_policy", "rounds": "n_bootstrap",
    "sample": "max_images", "test_sample": "max_test_images", "trees": "n_estimators", "wanted_recall": "min_recall",
}  # fmt: skip
# Set by the command line, the same for every notebook.
CLASS = "defect_class"  # of a segmentation notebook, its own
COMMAND_LINE = {"data_dir": "--data", "run_dir": "--run"}


class Parameter(NamedTuple):
    """A parameter that a notebook declares: its default, its type as an ast node, its possible values."""

    default: Any
    type: ast.expr
    domain: ranges.Domain | None = None


class Value(NamedTuple):
    """A parameter's value and where it comes from, such as "notebook", "demo.yaml, all" or "-p ..."."""

    value: Any
    origin: str


class Setting(NamedTuple):
    """What a profile or -p sets: a section, a key, its value, and where that comes from."""

    section: str
    key: str
    value: Any
    origin: str


Values = dict[str, dict[str, Value]]  # of every notebook, every parameter


def declared(notebook: str | os.PathLike) -> dict[str, Parameter]:
    """The parameters that a notebook declares in its cell tagged `parameters`: {name: Parameter}, in their
    order.

    A line is `name: type = value` with bool, int, float, str, list, dict, list[...], or `type | None`;
    without a type, the value's own; its comment may say what values it may have, see `ranges`. UserError for
    a line that is anything else, because a derived value would keep the default.
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
            raise UserError(
                f"{notebook.name}: line {error.lineno} of its parameters cell is not valid Python."
            ) from None
        comments = ranges.comments_of(source)
        for line in lines:
            try:
                name, annotation, default = parse_line(line)
                domain = ranges.read(comments.get(line.end_lineno or 0, ""))
                parameters[name] = Parameter(convert(default, annotation), annotation, domain)
            except (AttributeError, ValueError, TypeError) as error:
                raise UserError(
                    f"{notebook.name}: line {line.lineno} of its parameters cell, `{ast.unparse(line)}`, is "
                    "not a typed "
                    f"name with a plain value ({error}). Derive values in the next cell."
                ) from None
        break
    return parameters


def parse_line(line: Any) -> tuple[str, ast.expr, Any]:
    """(name, type, default) of an assignment; AttributeError, ValueError or TypeError for any other line."""
    is_typed = isinstance(line, ast.AnnAssign)
    name = (line.target if is_typed else line.targets[0]).id
    default = ast.literal_eval(line.value)
    return name, line.annotation if is_typed else ast.Name(type(default).__name__), default


def read_notebook(path: str | os.PathLike) -> dict[str, Any]:
    """A notebook file as a dictionary; UserError if it is missing or broken."""
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(notebook["cells"], list):
            raise TypeError("cells are no list")
        return notebook
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is not a Jupyter notebook. Restore it from the project's history.") from None


def settable(parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    """What can be set of `declared` parameters: {name: Parameter}; of a dictionary each entry by itself, as
    "name.entry"."""
    keys = {}
    for name, parameter in parameters.items():
        if isinstance(parameter.default, dict) and parameter.default:
            domains = parameter.domain.entries or {} if parameter.domain else {}
            for entry, value in parameter.default.items():
                keys[f"{name}.{entry}"] = Parameter(value, ast.Name(type(value).__name__), domains.get(entry))
        else:
            keys[name] = parameter
    return keys


def effective(
    declarations: dict[str, dict[str, Parameter]],
    profile_name: str = "",
    profile: dict[str, dict[str, Any]] | None = None,
    overrides: Iterable[Sequence[str]] = (),
    selected: Collection[str] | None = None,
) -> Values:
    """What every notebook runs with: defaults < profile's `all` < its `segmenters` < its section of the
    notebook < overrides, which have the same order among themselves.

    Arguments:
        declarations: {notebook: declared(notebook)}, all notebooks of the project.
        overrides: (section, key, value) as parse_override gives them; text is read as YAML unless a str is
            declared.
        selected: the notebooks that run: of these alone must the values go together; None for all.

    Of a parameter that is a dictionary only the entries that are named change: `{"augmentation": {"flips":
    "none"}}` in a profile, "augmentation.flips" as the key of an override; `all` sets an entry wherever it
    is.

    Returns {notebook: {key: Value}}. Raises UserError for a key that no notebook of its section declares,
    with the nearest right name, and for a value of another type or outside of what its notebook declares, the
    defaults included.
    """
    values = {
        name: {key: Value(p.default, "notebook") for key, p in keys.items()}
        for name, keys in declarations.items()
    }
    settables = {name: settable(keys) for name, keys in declarations.items()}
    for setting in settings_of(settables, f"{profile_name}.yaml", profile or {}, overrides):
        for name in owners_of(setting, settables):
            apply(setting, settables[name][setting.key], values[name])
    for name, keys in settables.items():
        check_domains(name, keys, values[name])
        if selected is not None and name not in selected:
            continue  # what it would run with may wait until it does
        if wrong := ranges.clash({key: value.value for key, value in values[name].items()}):
            raise UserError(f"{name}: {wrong}")
    return values


def settings_of(
    settables: dict[str, dict[str, Parameter]],
    file: str,
    profile: dict[str, dict[str, Any]],
    overrides: Iterable[Sequence[str]],
) -> list[Setting]:
    """What a profile and -p set, the widest section first, so that the narrowest has the last word, and -p
    after the profile.

    Arguments:
        settables: {notebook: settable(declared(notebook))}; file: the profile's name.
    """
    for section in profile:
        if section not in profiles.GROUPS and section not in settables:
            raise UserError(
                f"{file}: there is no notebook "
                f"{section!r}{profiles.nearest(section, [*profiles.GROUPS, *settables])}"
            )
    whole = {key for keys in settables.values() for key in keys}
    settings = []
    for section in sorted(profile, key=profiles.from_wide_to_narrow):
        for key, value in profile[section].items():
            is_part = isinstance(value, dict) and key not in whole
            entries = {f"{key}.{entry}": inner for entry, inner in value.items()} if is_part else {key: value}
            settings += [
                Setting(section, entry, inner, f"{file}, {section}") for entry, inner in entries.items()
            ]
    for section, key, value in sorted(
        overrides, key=lambda override: profiles.from_wide_to_narrow(override[0])
    ):
        settings.append(Setting(section, key, value, f"-p {section}.{key}"))
    return settings


def insist_on_alike(values: Values, key: str, why: str) -> None:
    """UserError if a parameter differs between notebooks that have it; `why`: it must not, which ends the sentence."""
    having = [(name, keys[key]) for name, keys in values.items() if key in keys]
    for (name, value), (other, other_value) in itertools.pairwise(having):
        if value.value != other_value.value:
            raise UserError(
                f"{key} is {value.value} in {name} ({value.origin}) and {other_value.value} in {other} ({other_value.origin}){why}"
            )


def owners_of(setting: Setting, settables: dict[str, dict[str, Parameter]]) -> list[str]:
    """The notebooks whose parameter is set; UserError, with the nearest right name, if there are none."""
    section, key, _, origin = setting
    if key in COMMAND_LINE:
        raise UserError(f"{origin}: {key} is given by {COMMAND_LINE[key]}. Leave it out here.")
    if key == CLASS:
        raise UserError(
            f"{origin}: the class is the notebook's own, and its name says it. Leave it out here."
        )
    names = profiles.members(section, settables)
    owners = [name for name in names if key in settables[name]]
    if owners:
        return owners
    known = sorted({known for name in names for known in settables[name]} - set(COMMAND_LINE))
    if RENAMED.get(key) in known:
        raise UserError(f"{origin}: {key} is called {RENAMED[key]} now. Use that name.")
    missing = {"all": "no notebook has", "segmenters": "no segmenter has"}.get(section, f"{section} has no")
    raise UserError(f"{origin}: {missing} parameter {key!r}{profiles.nearest(key, known)}")


def apply(setting: Setting, parameter: Parameter, values: dict[str, Value]) -> None:
    """Set a value, or an entry of one that is a dictionary, of a notebook's `values`; UserError if it is of
    another type."""
    new = checked(setting.value, parameter.type, setting.origin, setting.key)
    name, _, entry = setting.key.partition(".")
    if not entry:
        values[name] = Value(new, setting.origin)
        return
    before = values[name]
    origins = [] if before.origin == "notebook" else before.origin.split("; ")
    origin = "; ".join(dict.fromkeys([*origins, setting.origin]))
    values[name] = Value({**before.value, entry: new}, origin)


def check_domains(notebook: str, keys: dict[str, Parameter], values: dict[str, Value]) -> None:
    """UserError if a value of a notebook, or an entry of one, is outside of what its line declares."""
    for key, parameter in keys.items():
        name, _, entry = key.partition(".")
        value, origin = values[name]
        if wrong := ranges.problem(value[entry] if entry else value, parameter.domain):
            where = f"{notebook}.ipynb" if origin == "notebook" else origin
            raise UserError(f"{where}: {key} of {notebook} is {wrong}.")


def with_folders(values: Values, data_dir: str | os.PathLike, run_dir: str | os.PathLike) -> Values:
    """The values of all notebooks, with the folders that the command line names."""
    folders = {"data_dir": Value(str(data_dir), "--data"), "run_dir": Value(str(run_dir), "--run")}
    return {
        name: keys | {key: value for key, value in folders.items() if key in keys}
        for name, keys in values.items()
    }


def changed(parameters: dict[str, Parameter], values: dict[str, Any]) -> dict[str, Any]:
    """The values that differ from the notebook's own: only these are set, so that a report shows what was
    changed."""
    return {
        key: value
        for key, value in values.items()
        if json.dumps(value) != json.dumps(parameters[key].default)
    }


def listing(values: Values) -> str:
    """The text of `--list`: every notebook's keys with value and origin, in columns."""
    lines: list[str] = []
    for name, keys in values.items():
        texts = {key: json.dumps(value.value, ensure_ascii=False) for key, value in keys.items()}
        key_width = max(map(len, texts), default=0)
        value_width = min(max(map(len, texts.values()), default=0), 40)
        lines += ["", name]
        lines += [
            f"  {key:{key_width}}  {text:{value_width}}  {keys[key].origin}" for key, text in texts.items()
        ]
    return "\n".join(lines[1:])
