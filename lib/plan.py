"""The plan of a run: the graph of notebooks, which of them run, their keys, and where the journal starts."""

import graphlib
from collections import namedtuple

from lib import params, provenance
from lib.journal import FINISHED
from lib.paths import PROJECT, UserError

SEGMENTERS = ("31_seg_class1", "32_seg_class2", "33_seg_class3", "34_seg_class4")
MODELS = ("10_binary", "20_multilabel", *SEGMENTERS)
# Notebook: the notebooks whose files it reads.
GRAPH = {"00_eda": (), "05_shift": (), **dict.fromkeys(MODELS, ()), "40_evaluation": ("05_shift", *MODELS),
         "90_inference": ("40_evaluation",)}  # fmt: skip
# Notebook: files that it must leave in the run folder.
PRODUCTS = {
    **{name: (f"models/{name.split('_', 1)[1]}/model.json",) for name in MODELS},
    "05_shift": ("shift.csv",),
    "40_evaluation": ("decision.json",),
    "90_inference": ("submission.csv",),
}
House = namedtuple("House", "notebooks profiles runs graph products")
HOUSE = House(PROJECT / "notebooks", PROJECT / "params", PROJECT / "runs", GRAPH, PRODUCTS)


def declarations_of(house):
    """{notebook: its declared parameters}, in an order in which every notebook follows those it needs."""
    return {name: params.declared(house.notebooks / f"{name}.ipynb") for name in house.graph}


def overrides_of(texts, house):
    """[section, key, text] of every -p."""
    return [list(params.parse_override(text, tuple(house.graph))) for text in texts]


def merge_overrides(before, now):
    """The -p of a run so far and those added; the last one of a key counts."""
    merged = {(section, key): text for section, key, text in [*before, *now]}
    return [[section, key, text] for (section, key), text in merged.items()]


def select(only, start, house):
    """The notebooks to run: all, those in `only` ("10,33"), or `start` and all that depend on it."""
    names = tuple(house.graph)
    if only and start:
        raise UserError("--only and --from exclude each other. Use one of them.")
    if only:
        wanted = {params.resolve(part.strip(), names, "--only") for part in only.split(",") if part.strip()}
    elif start:
        wanted = {params.resolve(start, names, "--from")}
        for name in graphlib.TopologicalSorter(house.graph).static_order():
            if wanted & set(house.graph[name]):
                wanted.add(name)
    else:
        wanted = set(names)
    return [name for name in names if name in wanted]


def keys_of(house, selected, values, fingerprint, old):
    """{notebook: key}. A notebook that is not to be run counts with the key it was last finished with."""
    modules, made_with, keys = provenance.library(), provenance.versions(), {}
    for name in graphlib.TopologicalSorter(house.graph).static_order():
        if name not in selected:
            keys[name] = old["notebooks"].get(name, {}).get("key", "") if old else ""
            continue
        given = {key: value.value for key, value in values[name].items() if key not in params.GIVEN}
        upstream = {need: keys[need] for need in house.graph[name]}
        code = provenance.code_of(house.notebooks / f"{name}.ipynb", modules)
        keys[name] = provenance.key(given, code, fingerprint, upstream, made_with)
    return keys


def is_kept(name, key, run_dir, old, house):
    """Whether a finished notebook of the run stands: same key, and all its files are there."""
    entry = (old or {"notebooks": {}})["notebooks"].get(name, {})
    files = (f"{name}.ipynb", f"{name}.html", *house.products.get(name, ()))
    return entry.get("status") in FINISHED and entry.get("key") == key and all((run_dir / file).is_file() for file in files)


def entries_of(house, selected, keys, run_dir, old, forced):
    """The journal's notebooks at the start; UserError if a notebook needs one that is neither done nor to be run."""
    entries = {}
    for name in house.graph:
        before = (old or {"notebooks": {}})["notebooks"].get(name, {})
        entry = {"status": "waiting", "seconds": 0, "headline": "", "error": "", "key": "", "started_key": ""}
        entry |= {key: value for key, value in before.items() if key in entry}
        entry |= {"needs": list(house.graph[name]), "outdated": name not in selected and before.get("outdated", False)}
        if name not in selected:
            entry["status"] = "waiting" if entry["status"] == "running" else entry["status"]
        elif name not in forced and is_kept(name, keys[name], run_dir, old, house):
            entry["status"] = "kept"
        else:
            entry |= {"status": "waiting", "seconds": 0, "headline": "", "error": "", "key": ""}
        entries[name] = entry
    redone = {name for name in selected if entries[name]["status"] != "kept"}
    for name in graphlib.TopologicalSorter(house.graph).static_order():
        if name not in selected and redone & set(house.graph[name]):
            redone.add(name)
            entries[name]["outdated"] = entries[name]["status"] in FINISHED
    for name in selected:
        for need in house.graph[name]:
            if need not in selected and entries[need]["status"] not in FINISHED:
                raise UserError(
                    f"{name} needs {need}, which this run has not finished. Add it to --only, or go on with a run that has it: "
                    "--resume --run ID."
                )
    return entries
