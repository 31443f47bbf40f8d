"""Profiles and -p: YAML files with a section a notebook, and which notebooks a section means."""

import difflib
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from lib.errors import UserError

DEEPEST = 20  # levels of lists and dictionaries in YAML; reading thousands takes minutes
# Sections that mean several notebooks, the wider one first: a narrower one wins.
GROUPS = ("all", "segmenters")
SEGMENTER = re.compile(r"3(\d+)_seg_class\1")  # the notebook of one class, as many as the data have


class ProfileLoader(yaml.SafeLoader):
    """YAML without code, without repeated keys and without references, which could blow a small file up."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"more than {DEEPEST} levels", problem_mark=self.peek_event().start_mark
            )
        try:
            return self.compose_plain(parent, index)
        finally:
            self.depth -= 1

    def compose_plain(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="references (*name) are not allowed", problem_mark=self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the name {key!r} is not text", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key} is set twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_decimal(self, node: yaml.ScalarNode) -> int | float:
        """A number as it is read by people: 010 is 10, not octal 8; 0x1F, 0b11 and 1:30, which YAML takes for
        90, are refused."""
        text = self.construct_scalar(node)
        plain = text.replace("_", "")
        if node.tag.endswith(":int") and re.fullmatch(r"[-+]?[0-9]+", plain):
            return int(plain)
        if node.tag.endswith(":float") and ":" not in plain and plain.isascii():
            return self.construct_yaml_float(node)
        raise yaml.MarkedYAMLError(
            problem=f"{text} is not written in decimal digits, such as 90", problem_mark=node.start_mark
        )


for tag in ("int", "float"):
    ProfileLoader.add_constructor(f"tag:yaml.org,2002:{tag}", ProfileLoader.construct_decimal)
# 08, which is not octal:
ProfileLoader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?0[0-9_]+$"), list("-+0"))


def read_yaml(text: str) -> Any:
    """The content of YAML text; a yaml.YAMLError for everything that it must not or cannot hold."""
    try:
        return yaml.load(text, ProfileLoader)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:  # of a wrong date, say
        raise yaml.YAMLError(f"a value cannot be read ({type(error).__name__})") from None


def load_profile(name: str, folder: str | Path) -> dict[str, dict[str, Any]]:
    """The profile `name` of the folder `folder`: {section: {key: value}}, a section "all", "segmenters" or a
    notebook's name."""
    known = sorted(path.stem for path in Path(folder).glob("*.yaml"))
    if name not in known:
        raise UserError(
            f"There is no profile {name!r}{nearest(name, known)} Profiles: {', '.join(known) or 'none'}."
        )
    path = Path(folder) / f"{name}.yaml"
    try:
        profile = read_yaml(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path.name}{line}: {error.problem or error.context}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is not valid YAML: {str(error).splitlines()[0]}.") from None
    profile = {} if profile is None else profile
    if not isinstance(profile, dict):
        raise UserError(
            f"{path.name} holds no sections. Write `all:`, `segmenters:` or a notebook's name, and its keys "
            "indented below."
        )
    for section, keys in profile.items():
        if not isinstance(keys, dict | None):
            raise UserError(
                f"{path.name}: the section {section} holds no keys. Write them indented below it as `key: "
                "value`."
            )
    return {section: keys or {} for section, keys in profile.items()}


def parse_override(text: str, notebooks: Collection[str]) -> tuple[str, str, str]:
    """("10_binary", "epochs", "3") from "10_binary.epochs=3"; a notebook's first letters do; "all" is every
    notebook, "segmenters" those of the classes."""
    target, equals, value = text.partition("=")
    section, dot, key = target.strip().partition(".")
    if not (equals and dot and section and key):
        raise UserError(
            f"-p {text}: write it as -p NOTEBOOK.KEY=VALUE, such as -p 10_binary.epochs=3 or -p all.seed=7."
        )
    return (section if section in GROUPS else resolve(section, notebooks, f"-p {text}")), key, value


def members(section: str, notebooks: Iterable[str]) -> list[str]:
    """The notebooks that a section sets: all, those that segment a class each, or the one of its name; [] if
    there is none."""
    if section == "segmenters":
        return [name for name in notebooks if SEGMENTER.fullmatch(name)]
    return [name for name in notebooks if section in ("all", name)]


def from_wide_to_narrow(section: str) -> int:
    """The place of a section among others that are applied one after the other, so that the narrowest has the
    last word."""
    return GROUPS.index(section) if section in GROUPS else len(GROUPS)


def resolve(name: str, notebooks: Collection[str], where: str) -> str:
    """The notebook that `name` or its first letters mean; UserError that begins with `where` if none or
    several do."""
    if name in notebooks:
        return name
    matches = [notebook for notebook in notebooks if name and notebook.startswith(name)]
    matches = [
        notebook for notebook in matches if notebook.partition("_")[0] == name
    ] or matches  # 31 is not 310_seg_class10
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"{where}: {name!r} can be {' or '.join(matches)}. Write more of the name.")
    raise UserError(
        f"{where}: there is no notebook {name!r}{nearest(name, notebooks)} Notebooks: {', '.join(notebooks)}."
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: "; did you mean X?" with the nearest known one,
    or a full stop."""
    known = list(known)
    entries = [other for other in known if other.endswith(f".{name}")]
    near = entries or difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else "."
