"""The project: its notebooks, which of them need which, the files that each must leave, and what a command
selects and sets of them."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

from lib.errors import UserError
from lib.files import write_atomic, write_json
from lib.paths import PROJECT
from lib.pipeline import params, profiles, units
from lib.pipeline.products import SPLIT
from lib.pipeline.units import Unit

Graph = dict[str, tuple[str, ...]]
SEGMENTERS = ("31_seg_class1", "32_seg_class2", "33_seg_class3", "34_seg_class4")
MODELS = ("10_binary", "20_multilabel", *SEGMENTERS)


def card_of(name: str) -> str:
    """The file, relative to the run folder, that a notebook leaves when its network is saved."""
    return f"models/{name.split('_', 1)[1]}/model.json"


# Notebook: the notebooks whose files it reads.
GRAPH: Graph = {
    "00_eda": (),
    "05_shift": (),
    **dict.fromkeys(MODELS, ()),
    "40_evaluation": ("05_shift", *MODELS),
    "90_inference": ("40_evaluation",),
}
# Notebook: files that it must leave in the run folder.
PRODUCTS: Graph = {
    **{name: (card_of(name),) for name in MODELS},
    "05_shift": ("shift.csv",),
    "40_evaluation": ("thresholds.json",),
    "90_inference": ("submission.csv",),
}
# Files that it must leave as well, and that no other notebook of the run reads.
FURTHER: Graph = {
    "40_evaluation": ("predictions.npz", "evaluation.json", "explore.html"),
    "90_inference": ("pseudo_labels.csv",),
}
# Parameters that all notebooks that divide the images must have alike.
OF_SPLIT = (
    "seed",
    "max_images",
    "synthetic_sizes",
    "split_method",
    "duplicate_distance",
    "held_out",
    "validation",
)


@dataclass(frozen=True)
class Project:
    """Notebooks that depend on each other.

    notebooks, profiles, runs: folders, of NAME.ipynb, of NAME.yaml, and for a folder a run.
    graph: {notebook: those whose files it reads}, in an order in which every notebook follows those it needs.
    products: {notebook: files that it must leave in the run folder}; further: as well, which no other
        notebook of the run reads.
    units: {name: member of an ensemble that is a task of its own}; `divided` puts them into graph and products.
    """

    notebooks: Path
    profiles: Path
    runs: Path
    graph: Graph
    products: Graph
    further: Graph = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)

    def notebook(self, name: str) -> Path:
        """A notebook's file; of a member of its ensemble, too."""
        return self.notebooks / f"{units.notebook_of(name)}.ipynb"

    def reads(self, name: str) -> tuple[str, ...]:
        """The notebooks whose files a notebook reads. Its members are none: it would train them itself."""
        return tuple(need for need in self.graph[name] if need not in self.units)

    def users(self, unit: str) -> list[str]:
        """The notebooks whose ensembles a unit is a member of."""
        return [name for name, needs in self.graph.items() if unit in needs]

    def products_of(self, name: str) -> tuple[str, ...]:
        """The files that a notebook must leave, relative to the run folder."""
        return self.products.get(name, ()) + self.further.get(name, ())

    def outputs_of(self, name: str) -> tuple[str, ...]:
        """The files that a notebook writes, relative to the run folder: its executed form, its report, its
        metrics, its products, and the split that its scores follow from."""
        if name in self.units:
            return f"{name}.ipynb", f"{name}.html", self.units[name].training
        split = (SPLIT,) if name == "40_evaluation" else ()
        return f"{name}.ipynb", f"{name}.html", f"metrics/{name}.json", *self.products_of(name), *split

    def select(self, only: str, start: str) -> list[str]:
        """The notebooks to run: all, those in `only` ("10,33"), or `start` and all that depend on it."""
        names = tuple(self.graph)
        if only and start:
            raise UserError("--only and --from exclude each other. Use one of them.")
        if only:
            selected = {
                profiles.resolve(part.strip(), names, "--only") for part in only.split(",") if part.strip()
            }
            if not selected:
                raise UserError(f"--only {only}: it names no notebook. Notebooks: {', '.join(names)}.")
        elif start:
            selected = {profiles.resolve(start, names, "--from")}
            for name in TopologicalSorter(self.graph).static_order():
                if selected & set(self.graph[name]):
                    selected.add(name)
        else:
            selected = set(names)
        return [name for name in names if name in selected]

    def declarations(self) -> dict[str, dict[str, params.Parameter]]:
        """{notebook: its declared parameters}."""
        return {name: params.declared(self.notebook(name)) for name in self.graph if name not in self.units}

    def fitting(self, sections: dict[str, dict]) -> dict[str, dict]:
        """The sections of a profile without those for the segmentation of classes that the data don't
        have."""
        return {
            name: keys
            for name, keys in sections.items()
            if name in self.graph or not profiles.SEGMENTER.fullmatch(name)
        }

    def values(
        self, profile: str, overrides: Iterable[Sequence[str]] = (), selected: Collection[str] | None = None
    ) -> params.Values:
        """What every notebook runs with, see `params.effective`; UserError if two would divide the images
        differently, or train one network differently."""
        sections = self.fitting(profiles.load_profile(profile, self.profiles))
        values = params.effective(self.declarations(), profile, sections, overrides, selected)
        of_split = {name: keys for name, keys in values.items() if "held_out" in keys}
        why = ". They would divide the images differently, and images that teach would judge. Set it alike, best by all."
        for key in OF_SPLIT:
            params.insist_on_alike(of_split, key, f"{why}{key} alone.")
        chosen = values if selected is None else {name: values[name] for name in values if name in selected}
        units.insist_on_one_network(chosen)
        return values

    def parse_overrides(self, texts: Iterable[str]) -> list[list[str]]:
        """[section, key, text] of every -p; UserError if one is given twice, because the last would win
        without a word."""
        overrides: list[list[str]] = []
        for section, key, value in (profiles.parse_override(text, tuple(self.graph)) for text in texts):
            for *target, before in overrides:
                if target == [section, key] and before != value:
                    raise UserError(
                        f"-p {section}.{key} is given twice, as {before[:40]!r} and as {value[:40]!r}. Give "
                        "it once."
                    )
            overrides.append([section, key, value])
        return overrides

    def renamed(self, overrides: Iterable[Sequence[str]]) -> list[list[str]]:
        """The -p that a run recorded, with the names that parameters have now; without those that cannot be set any more."""
        known = {key for declared in self.declarations().values() for key in declared}
        return [
            [section, key if key in known else params.RENAMED.get(key, key), text]
            for section, key, text in overrides
            if key != params.CLASS
        ]

    def for_classes(self, classes: int) -> "Project":
        """The project for data with so many defect classes: a segmentation notebook for each.

        Fewer than there are notebooks: the last ones are left out. More: those beyond are made from the last
        one, which differs from its siblings in its class and its story alone, in a folder of copies, so that
        the project's own stay as they are. A project without segmentation notebooks is returned as it is.
        """
        own = [name for name in self.graph if name in SEGMENTERS]
        if not own or classes == len(own):
            return self
        more = [
            f"3{defect_class}_seg_class{defect_class}" for defect_class in range(len(own) + 1, classes + 1)
        ]
        segmenters = (*own[:classes], *more)
        graph: Graph = {}
        for name, needs in self.graph.items():
            if name == own[0]:
                graph |= dict.fromkeys(segmenters, needs)
            if name not in own:
                others = tuple(need for need in needs if need not in own)
                graph[name] = others + segmenters if own[0] in needs else others
        products = {name: files for name, files in self.products.items() if name not in own}
        products |= {name: (card_of(name),) for name in segmenters}
        notebooks = copy_notebooks(self, own[-1], more) if more else self.notebooks
        return dataclasses.replace(self, notebooks=notebooks, graph=graph, products=products)

    def divided(self, values: params.Values, selected: Collection[str]) -> "Project":
        """The project in which each member of the selected notebooks' ensembles is a task of its own, see
        `units`; the project as it is where each trains one network."""
        graph: Graph = {}
        members: dict[str, Unit] = {}
        known: dict[str, str] = {}
        for name, needs in self.graph.items():
            of_name = units.of_notebook(name, self.notebook(name), values[name], known)
            if name in selected:
                graph |= dict.fromkeys(of_name, ())
                members |= of_name
                needs = (*of_name, *needs)
            graph[name] = needs
        products = self.products | {name: (unit.training,) for name, unit in members.items()}
        return dataclasses.replace(self, graph=graph, products=products, units=members) if members else self


DEFAULT_PROJECT = Project(
    PROJECT / "notebooks", PROJECT / "params", PROJECT / "runs", GRAPH, PRODUCTS, FURTHER
)


def copy_notebooks(project: Project, template: str, more: list[str]) -> Path:
    """The folder with copies of a project's notebooks and of one made from `template` for each name in
    `more`."""
    folder = project.runs.parent / "data" / ".notebooks"
    for name in project.graph:
        write_atomic(folder / f"{name}.ipynb", project.notebook(name).read_bytes())
    for name in more:
        defect_class = name.rsplit("class", 1)[1]
        notebook = params.read_notebook(project.notebook(template))
        title = f"# {name.split('_')[0]} Segmentation of class {defect_class}\n\nWhere exactly is the defect of this class?"
        notebook["cells"][0]["source"] = title
        of_class = template.partition("_")[2]
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                text = re.sub(rf"{template}(?!\d)", name, "".join(cell["source"]))
                cell["source"] = re.sub(rf"{of_class}(?!\d)", name.partition("_")[2], text)
            elif "parameters" in cell.get("metadata", {}).get("tags", []):
                lines = "".join(cell["source"])
                cell["source"] = re.sub(
                    r"(?m)^defect_class: int = \d+", f"defect_class: int = {defect_class}", lines
                )
        write_json(folder / f"{name}.ipynb", notebook)
    return folder


def remark_on_copies(names: Iterable[str], values: params.Values) -> str:
    """What to know of segmentation notebooks that are copies and for which no profile sets how long to train,
    as a sentence; "" if there are none.

    Arguments:
        names: of the notebooks that run; values: {notebook: {parameter: params.Value}}.
    """
    copies = [name for name in names if profiles.SEGMENTER.fullmatch(name) and name not in SEGMENTERS]
    unset = [
        name for name in copies if "epochs" in values[name] and values[name]["epochs"].origin == "notebook"
    ]
    if not unset:
        return ""
    epochs = values[unset[0]]["epochs"].value
    return (
        f"{', '.join(unset)}: {epochs} epochs, which {SEGMENTERS[-1]} has for its class. "
        "-p segmenters.epochs=N sets another number for all classes."
    )


def merge_overrides(before: Iterable[Sequence[str]], more: Iterable[Sequence[str]]) -> list[list[str]]:
    """The -p of a run so far and those added; the last one of a key counts."""
    merged = {(section, key): text for section, key, text in [*before, *more]}
    return [[section, key, text] for (section, key), text in merged.items()]
