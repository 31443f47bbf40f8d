"""The plan of a run: the graph of notebooks, which of them run, their keys, and where the journal starts."""

import graphlib
import itertools
import re
from collections import namedtuple

from lib.errors import UserError
from lib.files import file_hash, write_atomic, write_json
from lib.paths import PROJECT, from_project
from lib.pipeline import cache_key, params, profiles
from lib.pipeline.products import digests, left_by, mark_outdated
from lib.pipeline.run_state import FINISHED

SEGMENTERS = ("31_seg_class1", "32_seg_class2", "33_seg_class3", "34_seg_class4")
MODELS = ("10_binary", "20_multilabel", *SEGMENTERS)


def card_of(name):
    """The file, relative to the run folder, that a notebook leaves when its network is saved."""
    return f"models/{name.split('_', 1)[1]}/model.json"


# Notebook: the notebooks whose files it reads.
GRAPH = {"00_eda": (), "05_shift": (), **dict.fromkeys(MODELS, ()), "40_evaluation": ("05_shift", *MODELS),
         "90_inference": ("40_evaluation",)}  # fmt: skip
# Notebook: files that it must leave in the run folder.
PRODUCTS = {
    **{name: (card_of(name),) for name in MODELS},
    "05_shift": ("shift.csv",),
    "40_evaluation": ("thresholds.json",),
    "90_inference": ("submission.csv",),
}
# Files that it must leave as well, and that no other notebook of the run reads.
FURTHER = {"40_evaluation": ("predictions.npz",), "90_inference": ("pseudo_labels.csv",)}
Project = namedtuple("Project", "notebooks profiles runs graph products further", defaults=({},))
DEFAULT_PROJECT = Project(PROJECT / "notebooks", PROJECT / "params", PROJECT / "runs", GRAPH, PRODUCTS, FURTHER)


def project_for(project, classes):
    """The project for data with so many defect classes: a segmentation notebook for each.

    Fewer than there are notebooks: the last ones are left out. More: those beyond are made from the last one, which differs
    from its siblings in its class and its story alone, in a folder of copies, so that the project's own stay
    as they are. A project without segmentation notebooks is returned as it is.
    """
    own = [name for name in project.graph if name in SEGMENTERS]
    if not own or classes == len(own):
        return project
    wanted = [*own[:classes], *(f"3{number}_seg_class{number}" for number in range(len(own) + 1, classes + 1))]
    graph = {}
    for name, needs in project.graph.items():
        if name == own[0]:
            graph |= dict.fromkeys(wanted, needs)
        if name not in own:
            graph[name] = tuple(need for need in needs if need not in own) + tuple(wanted if own[0] in needs else ())
    products = {name: files for name, files in project.products.items() if name not in own}
    products |= {name: (card_of(name),) for name in wanted}
    notebooks = project.notebooks if classes < len(own) else copies_of(project, own[-1], wanted[len(own) :])
    return project._replace(notebooks=notebooks, graph=graph, products=products)


def copies_of(project, template, more):
    """The folder with copies of a project's notebooks and of one made from `template` for each name in `more`."""
    folder = project.runs.parent / "data" / ".notebooks"
    for name in project.graph:
        write_atomic(folder / f"{name}.ipynb", (project.notebooks / f"{name}.ipynb").read_bytes())
    for name in more:
        number = name.rsplit("class", 1)[1]
        notebook = params.read_notebook(project.notebooks / f"{template}.ipynb")
        title = f"# {name.split('_')[0]} Segmentation of class {number}\n\nWhere exactly is the defect of this class?"
        notebook["cells"][0]["source"] = title
        for cell in notebook["cells"]:
            if "parameters" in cell.get("metadata", {}).get("tags", []):
                lines = "".join(cell["source"])
                cell["source"] = re.sub(r"(?m)^defect_class: int = \d+", f"defect_class: int = {number}", lines)
        write_json(folder / f"{name}.ipynb", notebook)
    return folder


def remark_on_copies(names, values):
    """What to know of segmentation notebooks that are copies and that no profile says how long to train, as a sentence; "" if all is said.

    Arguments:
        names: of the notebooks that run; values: {notebook: {parameter: params.Value}}.
    """
    copies = [name for name in names if profiles.SEGMENTER.fullmatch(name) and name not in SEGMENTERS]
    untold = [name for name in copies if "epochs" in values[name] and values[name]["epochs"].origin == "notebook"]
    if not untold:
        return ""
    return (f"{', '.join(untold)}: {values[untold[0]]['epochs'].value} epochs, which {SEGMENTERS[-1]} has for its class. "
            "-p segmenters.epochs=N sets another number for all classes.")  # fmt: skip


SPLIT = ("seed", "max_images", "synthetic_sizes", "split_method", "duplicate_distance", "held_out", "validation")  # the same for all that divide


def fitting(profile, project):
    """A profile without the sections of segmentation notebooks for classes that the data don't have."""
    return {section: keys for section, keys in profile.items() if section in project.graph or not profiles.SEGMENTER.fullmatch(section)}


def declarations_of(project):
    """{notebook: its declared parameters}, in an order in which every notebook follows those it needs."""
    return {name: params.declared(project.notebooks / f"{name}.ipynb") for name in project.graph}


def values_of(project, profile, overrides, selected=None):
    """What every notebook runs with, see `params.effective`; UserError if two would divide the images differently."""
    loaded = fitting(profiles.load_profile(profile, project.profiles), project)
    values = params.effective(declarations_of(project), profile, loaded, overrides, selected)
    for key in SPLIT:
        stated = {name: keys[key] for name, keys in values.items() if key in keys and "held_out" in keys}
        for (one, first), (other, second) in itertools.pairwise(stated.items()):
            if first.value != second.value:
                raise UserError(
                    f"{key} is {first.value} in {one} ({first.origin}) and {second.value} in {other} ({second.origin}). They would divide "
                    f"the images differently, and images that teach would judge. Set it alike, best by all.{key} alone."
                )
    return values


def overrides_of(texts, project):
    """[section, key, text] of every -p; UserError if one is given twice, because the last would win without a word."""
    found = [list(profiles.parse_override(text, tuple(project.graph))) for text in texts]
    for place, (section, key, value) in enumerate(found):
        before = next((other for *where, other in found[:place] if where == [section, key] and other != value), None)
        if before is not None:
            raise UserError(f"-p {section}.{key} is given twice, as {before[:40]!r} and as {value[:40]!r}. Give it once.")
    return found


def merge_overrides(before, now):
    """The -p of a run so far and those added; the last one of a key counts."""
    merged = {(section, key): text for section, key, text in [*before, *now]}
    return [[section, key, text] for (section, key), text in merged.items()]


def select(only, start, project):
    """The notebooks to run: all, those in `only` ("10,33"), or `start` and all that depend on it."""
    names = tuple(project.graph)
    if only and start:
        raise UserError("--only and --from exclude each other. Use one of them.")
    if only:
        wanted = {profiles.resolve(part.strip(), names, "--only") for part in only.split(",") if part.strip()}
        if not wanted:
            raise UserError(f"--only {only}: it names no notebook. Notebooks: {', '.join(names)}.")
    elif start:
        wanted = {profiles.resolve(start, names, "--from")}
        for name in graphlib.TopologicalSorter(project.graph).static_order():
            if wanted & set(project.graph[name]):
                wanted.add(name)
    else:
        wanted = set(names)
    return [name for name in names if name in wanted]


def keys_of(project, selected, values, fingerprint, old):
    """{notebook: key}. A notebook that is not to be run counts with the key it was last finished with."""
    modules, keys = cache_key.library(), {}
    for name in graphlib.TopologicalSorter(project.graph).static_order():
        if name not in selected:
            keys[name] = old["notebooks"].get(name, {}).get("key", "") if old else ""
            continue
        given = {key: value.value for key, value in values[name].items() if key not in params.GIVEN}
        given = {key: content_of(value) for key, value in given.items()}
        upstream = {need: keys[need] for need in project.graph[name]}
        # A network is not trained again for another colour; the other notebooks are, so to say, their pictures.
        trains = any(product.endswith("model.json") for product in project.products.get(name, ()))
        code, packages = cache_key.code_of(project.notebooks / f"{name}.ipynb", modules, pictures=not trains)
        keys[name] = cache_key.key(given, code, fingerprint, upstream, cache_key.versions(sorted(packages)))
    return keys


def content_of(value):
    """A parameter's value as it counts in a key: of a text that names a file, the hash of the file's content, wherever it lies."""
    if not isinstance(value, str) or not value:
        return value
    try:
        path = from_project(value)
        return ["file", file_hash(path)] if path.is_file() else value
    except (UserError, OSError):  # no path, or one that cannot be read: whoever opens it will say so
        return value


def is_kept(name, key, run_dir, old, project):
    """Whether a finished notebook of the run stands: same key, and what it left is there unchanged; its page can be made again."""
    entry = (old or {"notebooks": {}})["notebooks"].get(name, {})
    if entry.get("status") not in FINISHED or entry.get("key") != key:
        return False
    there = digests(run_dir, left_by(name, project))
    return there | {f"{name}.html": ""} == entry.get("made", {}) | {f"{name}.html": ""}


def ran_before(name, old):
    """What a finished notebook of a run ran with, where its entry does not say so: a journal once said it of the run alone."""
    if not old or old["notebooks"].get(name, {}).get("status") not in FINISHED:
        return {}
    return {"parameters": old.get("parameters", {}).get(name, {}), "code": str(old.get("code", "")), "versions": old.get("versions", {}),
            "environment": old.get("environment", {}), "jobs": old.get("jobs", 1), "data": str(old["data"].get("sha256", ""))}  # fmt: skip


def entries_of(project, selected, keys, run_dir, old, forced):
    """The journal's notebooks at the start; UserError if a notebook needs one that is neither done nor to be run."""
    entries = {}
    for name in project.graph:
        before = (old or {"notebooks": {}})["notebooks"].get(name, {})
        entry = {"status": "waiting", "seconds": 0, "headline": "", "error": "", "key": "", "started_key": "", "pages": ""}
        entry |= {"made": {}, "used": {}, "ran": ran_before(name, old)}
        entry |= {key: value for key, value in before.items() if key in entry}
        entry |= {"needs": list(project.graph[name]), "outdated": name not in selected and before.get("outdated", False)}
        if name not in selected:
            entry["status"] = "waiting" if entry["status"] == "running" else entry["status"]
        elif name not in forced and is_kept(name, keys[name], run_dir, old, project):
            entry["status"] = "kept"
        else:
            entry |= {"status": "waiting", "seconds": 0, "headline": "", "error": "", "key": "", "made": {}, "used": {}, "ran": {}}
        entries[name] = entry
    redone = {name for name in selected if entries[name]["status"] != "kept"}
    for name in graphlib.TopologicalSorter(project.graph).static_order():
        if name not in selected and redone & set(project.graph[name]):
            redone.add(name)
            entries[name]["outdated"] = entries[name]["status"] in FINISHED
    mark_outdated(entries, [name for name in project.graph if name not in selected], project)
    for name in selected:
        for need in project.graph[name]:
            if need not in selected and entries[need]["outdated"]:
                raise UserError(
                    f"{name} needs {need}, which is outdated: it was made before what it needs itself was run again. Add it: --only "
                    f"{need.partition('_')[0]},{name.partition('_')[0]}. Or bring all up to date: --resume without --only."
                )
            if need not in selected and entries[need]["status"] not in FINISHED:
                raise UserError(
                    f"{name} needs {need}, which this run has not finished. Add it to --only, or go on with a run that has it: "
                    "--resume --run ID."
                )
    return entries
