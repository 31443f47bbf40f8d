"""The pages a person reads: a notebook's report, and a run's index. Each is one file that loads nothing.

nbconvert gives the filters (Markdown, ANSI colours; see `cells`), the pages are our own templates: its stock
ones load scripts from the network, hide no code and leave HTML in outputs as it is. A Content-Security-Policy
in each page forbids scripts and requests on top.
"""

import datetime
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lib import files
from lib.data import dataset
from lib.errors import UserError, shorten
from lib.report.ensembles import gather_members
from lib.report.links import comparisons_of
from lib.report.picture import thumbnail

TEMPLATES = Path(__file__).parent / "templates"
# Linked where they are there:
FILES = (
    "submission.csv",
    "metrics.json",
    "evaluation.json",
    "thresholds.json",
    "data_findings.csv",
    "run.json",
)
ORIGIN = ("code", "versions", "environment")  # that a run's notebooks may differ in
NO_FACTS = ("", "note", "generated", "titles")  # of the data: shown elsewhere
DICE = re.compile(r"dice_positives_class([1-9][0-9]{0,2})")  # metrics of the classes
LONGEST_LIST = 50  # values of a metric that are still written out on the run's page

StateDict = dict[str, Any]  # run.json, see pipeline/run_state.py; it may be an earlier version's


def duration_text(seconds: float | None) -> str:
    """Seconds in words: 8 s, 3 min 05 s, 2 h 10 min; "" for None."""
    if seconds is None:
        return ""
    seconds = round(float(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def time_text(value: Any) -> str:
    """An ISO time or seconds since 1970 as 2026-01-31 14:05 UTC; anything else as it is."""
    try:
        if isinstance(value, (int, float)):
            moment = datetime.datetime.fromtimestamp(value, datetime.UTC)
        else:
            moment = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError, OverflowError, OSError):
        return "" if value is None else str(value)
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def page(template: str, **values: Any) -> str:
    """A template of `lib/report/templates` filled in, everything escaped that isn't Markup."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(duration=duration_text, moment=time_text)
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **values)


def render(ipynb: str | Path, html: str | Path) -> None:
    """Write the report of an executed notebook.

    Arguments:
        ipynb: the notebook, executed or not, in nbformat 4.
        html: the file to write, self-contained; it links to `index.html` beside it.

    Raises UserError if `ipynb` is missing or no notebook.
    """
    # nbconvert takes half a second to import, which a command with nothing to do need not spend.
    from lib.report import cells, parameters

    notebook = files.read_json(ipynb)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise UserError(f"{ipynb} is not a Jupyter notebook. Run its step again.")
    parts, headings, errors, unrun = cells.page_parts(notebook)
    failed = notebook.get("metadata", {}).get("failed", "")
    if failed and not errors:  # killed, or out of time: no cell says so
        errors = [{"anchor": "", "message": shorten(failed)}]
    title = next((text for level, anchor, text in headings if level == 1), Path(ipynb).stem)
    text = page(
        "report.html",
        name=Path(ipynb).stem,
        title=title,
        parts=parts,
        contents=[heading for heading in headings if heading[0] in (2, 3)],
        errors=errors,
        unrun=unrun,
        parameters=parameters.parameter_rows(notebook["cells"]),
        papermill=notebook.get("metadata", {}).get("papermill", {}),
    )
    files.write_atomic(html, text)


def number_text(value: Any) -> str:
    """A metric for a table: fractions with four digits after the point, integers and texts as they are."""
    if isinstance(value, list) and (
        len(value) > LONGEST_LIST or any(isinstance(item, dict) for item in value)
    ):
        return f"{len(value)} values, in metrics.json"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return shorten(value)
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested dictionaries as (dotted name, value) pairs for a table; "" for None."""
    if not isinstance(value, dict) or not value:
        return [(prefix, "" if value is None else value)]
    pairs = []
    for key, inner in value.items():
        pairs += flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return pairs


def as_dict(value: Any) -> dict[str, Any]:
    """A value that ought to be a dictionary; {} where it is none: an index is written of half a run, too."""
    return value if isinstance(value, dict) else {}


def read_state(run_dir: Path) -> StateDict:
    """The content of `run.json`, {} where there is none or it is broken."""
    try:
        return as_dict(files.read_json(run_dir / "run.json"))
    except (UserError, OSError):
        return {}


def data_note(data: dict[str, Any]) -> dict[str, Any]:
    """What the data folder says of itself: "generated", "note", "titles" of the classes; {} if it is gone."""
    try:
        about = dataset.describe(data["folder"])
        return {
            "generated": bool(about.get("generated")),
            "note": str(about.get("note", "")),
            "titles": dataset.titles(about),
        }
    except (UserError, KeyError, TypeError, OSError):
        return {}


def notebook_entries(run_dir: Path, state: StateDict) -> dict[str, dict[str, Any]]:
    """{name: its entry} in the order of `run.json`, then those that only lie in the run folder, by name."""
    noted = state.get("notebooks") or {}
    if isinstance(noted, list):
        noted = {str(entry.get("name", "")): entry for entry in noted if isinstance(entry, dict)}
    names = [*noted, *sorted(path.stem for path in run_dir.glob("*.ipynb") if path.stem not in noted)]
    entries = {name: noted.get(name) for name in names}
    return {
        name: entry if isinstance(entry, dict) else {"status": entry or "done"}
        for name, entry in entries.items()
    }


def notebook_card(run_dir: Path, name: str, entry: dict[str, Any], summary: str) -> dict[str, Any]:
    """A notebook's card on the index; entry: of `run.json`; summary: as the notebook recorded it."""
    # Links are made from names found in the folder, so that a name in `run.json` can't point elsewhere.
    is_plain = Path(name).name == name
    has_page = is_plain and (run_dir / f"{name}.html").is_file()
    has_notebook = is_plain and (run_dir / f"{name}.ipynb").is_file()
    return {
        "name": name,
        "status": str(entry.get("status", "")),
        "seconds": entry.get("seconds"),
        "error": shorten(entry.get("error", "")),
        "outdated": bool(entry.get("outdated")),
        "summary": shorten(entry.get("summary", summary)),
        "thumbnail": thumbnail(run_dir / f"{name}.ipynb") if has_notebook else "",
        "html": has_page,
        "ipynb": has_notebook,
    }


def current_metrics(
    recorded: dict[str, tuple[str, dict[str, Any]]], cards: list[dict[str, Any]], everything: bool
) -> dict[str, Any]:
    """The metrics of the notebooks that are finished now, as those of an earlier state may lie there, too.

    Arguments:
        recorded: {notebook: (summary, metrics)}; cards: of the notebooks; everything: take those of all.
    """
    finished = {card["name"] for card in cards if card["status"] in ("done", "cached")}
    metrics: dict[str, Any] = {}
    for name, (_, values) in recorded.items():
        if everything or name in finished:
            metrics |= values
    return metrics


def class_dice(metrics: dict[str, Any], titles: list[str]) -> list[tuple[str, float]]:
    """(title of a class, its Dice over positives) in the order of the classes, however many.

    Arguments:
        titles: of the classes, or none if the data are gone.
    """
    dice = {}
    for name, value in metrics.items():
        match = DICE.fullmatch(str(name))
        if match and type(value) in (int, float):
            dice[int(match[1])] = value
    return [
        (
            titles[defect_class - 1] if defect_class <= len(titles) else f"class {defect_class}",
            dice[defect_class],
        )
        for defect_class in sorted(dice)
    ]


def doubts_in(metrics: dict[str, Any]) -> list[str]:
    """The sentences that notebooks recorded as `..._doubt`, see `evaluation.doubts`, in order."""
    texts = [text for name, text in metrics.items() if str(name).endswith("_doubt")]
    return [shorten(text) for text in texts if isinstance(text, str) and text]


def ran_with(state: StateDict, name: str) -> list[tuple[str, Any]]:
    """(name, value) of the code, versions and environment of a notebook, where they differ from the run's."""
    ran = as_dict(as_dict(state.get("notebooks")).get(name)).get("ran")
    if not isinstance(ran, dict):
        return []
    of_run = dict(flat({key: state.get(key) for key in ORIGIN}))
    own = dict(flat({key: ran.get(key) for key in ORIGIN}))
    return [(key, own[key]) for key, value in of_run.items() if key in own and own[key] != value]


def parameter_tables(state: StateDict) -> dict[str, list[tuple[str, Any]]]:
    """{notebook: rows (name, value)}: its parameters, and what it alone ran with."""
    parameters = as_dict(state.get("parameters"))
    return {
        str(name): [(key, shorten(repr(value))) for key, value in values.items()] + ran_with(state, str(name))
        for name, values in parameters.items()
        if isinstance(values, dict)
    }


def origin_rows(state: StateDict) -> list[tuple[str, Any]]:
    """(name, value) of what a run was made from, its data and other parameters aside."""
    parameters = as_dict(state.get("parameters")).values()
    seeds = sorted(
        {str(values["seed"]) for values in parameters if isinstance(values, dict) and "seed" in values}
    )
    origin = {key: state.get(key) for key in ("profile", *ORIGIN)} | {"seed": ", ".join(seeds)}
    return [(name, value) for name, value in flat(origin) if value]


def write_index(run_dir: str | Path) -> None:
    """Write `index.html` of a run from what is there of `run.json`, `metrics/*.json` and executed notebooks.

    Arguments:
        run_dir: the run folder, with the keys of `run.json` as pipeline/run_state.py describes them.
    """
    run_dir = Path(run_dir)
    state = read_state(run_dir)
    recorded = {
        path.stem: files.read_metrics(run_dir, path.stem)
        for path in sorted((run_dir / "metrics").glob("*.json"))
    }
    cards = [
        notebook_card(run_dir, name, entry, recorded.get(name, ("", {}))[0])
        for name, entry in notebook_entries(run_dir, state).items()
    ]
    metrics = current_metrics(recorded, cards, everything=not state)
    outdated = [card["name"] for card in cards if card["outdated"] and card["name"] in recorded]
    data = as_dict(state.get("data"))
    data = data_note(data) | data
    seconds = state.get("seconds")
    text = page(
        "index.html",
        run=str(state.get("run") or run_dir.resolve().name),
        state=state,
        data=data,
        metrics=metrics,
        doubts=doubts_in(metrics),
        class_dice=class_dice(metrics, data.get("titles", [])),
        stale={metric: name for name in outdated for metric in recorded[name][1]},
        all_metrics=[(name, number_text(value)) for name, value in flat(metrics)] if metrics else [],
        cards=gather_members(cards),
        seconds=seconds if isinstance(seconds, (int, float)) else 0,
        origin=origin_rows(state),
        facts=[(name, number_text(value)) for name, value in flat(data) if name not in NO_FACTS],
        parameters=parameter_tables(state),
        files=[name for name in FILES if (run_dir / name).is_file()],
        comparisons=comparisons_of(run_dir),
        explore=(run_dir / "explore.html").is_file(),
    )
    files.write_atomic(run_dir / "index.html", text)
