"""The pages a person reads: a notebook's report, and a run's index. Each is one file that loads nothing.

nbconvert gives the filters (Markdown, ANSI colours; see `cells`), the pages are our own templates: its stock ones load
scripts from the network, hide no code and leave HTML in outputs as it is. A Content-Security-Policy in each page forbids
scripts and requests on top.
"""

import base64
import datetime
import re
from pathlib import Path

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from lib import files
from lib.data import dataset
from lib.errors import UserError, shorten

TEMPLATES = Path(__file__).parent / "templates"
FILES = ("submission.csv", "metrics.json", "decision.json", "data_findings.csv", "run.json")  # linked where they are there
ORIGIN = ("code", "versions", "environment")  # that a run's notebooks may differ in
THUMBNAIL_WIDTH = 480  # pixels: sharp at the 240 that a card shows on a dense screen


def duration_text(seconds):
    """Seconds in words: 8 s, 3 min 05 s, 2 h 10 min; "" for None."""
    if seconds is None:
        return ""
    seconds = round(float(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def time_text(value):
    """An ISO time or seconds since 1970 as 2026-01-31 14:05 UTC; anything else as it is."""
    try:
        if isinstance(value, (int, float)):
            moment = datetime.datetime.fromtimestamp(value, datetime.UTC)
        else:
            moment = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError, OverflowError, OSError):
        return "" if value is None else str(value)
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def page(template, **values):
    """A template of `lib/templates` filled in, everything escaped that isn't Markup."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(duration=duration_text, moment=time_text)
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **values)


def render(ipynb, html):
    """Write the report of an executed notebook.

    Arguments:
        ipynb: the notebook, executed or not, in nbformat 4.
        html: the file to write, self-contained; it links to `index.html` beside it.

    Raises UserError if `ipynb` is missing or no notebook.
    """
    from lib.report import cells  # brings nbconvert, half a second that a command with nothing to do need not spend

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
        parameters=cells.parameter_rows(notebook["cells"]),
        papermill=notebook.get("metadata", {}).get("papermill", {}),
    )
    files.write_atomic(html, text)


def thumbnail(ipynb):
    """A small JPEG of a notebook's first picture, or of the cell tagged `thumbnail`, as a data address; "" without one."""
    try:
        found = files.read_json(ipynb)["cells"]
    except (UserError, KeyError, TypeError):
        return ""
    for cell in sorted(found, key=lambda cell: "thumbnail" not in cell.get("metadata", {}).get("tags", [])):
        for output in cell.get("outputs", []):
            content = "".join(output.get("data", {}).get("image/png") or "")
            try:
                image = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR) if content else None
            except (ValueError, cv2.error):
                image = None
            if image is None:
                continue
            width = image.shape[1]
            # A tall picture is cut to its upper part, so that all cards are of one shape and still show something.
            image = image[: max(1, round(width * 0.6))]
            # A card shows its middle where it is wider than two to one, which would cut a chart's labels: white below it.
            image = cv2.copyMakeBorder(image, 0, max(0, width // 2 - len(image)), 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
            scale = min(1, THUMBNAIL_WIDTH / width)
            size = (max(1, round(width * scale)), max(1, round(image.shape[0] * scale)))
            ok, jpeg = cv2.imencode(".jpg", cv2.resize(image, size, interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, 82])
            if ok:
                return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
    return ""


LONGEST_LIST = 50  # values of a metric that are still written out on the run's page


def number_text(value):
    """A metric for a table: four digits after the point for fractions, integers as they are, anything else as text."""
    if isinstance(value, list) and (len(value) > LONGEST_LIST or any(isinstance(one, dict) for one in value)):
        return f"{len(value)} values, in metrics.json"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return shorten(value)
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def flat(value, prefix=""):
    """Nested dictionaries as (dotted name, value) pairs for a table."""
    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in flat(inner, f"{prefix}.{key}" if prefix else str(key))]
    return [(prefix, "" if value is None else value)]


def read_optional(path):
    """A dictionary from a JSON file, empty where there is none or it is broken: an index is written of half a run, too."""
    try:
        value = files.read_json(path)
    except (UserError, OSError):
        return {}
    return value if isinstance(value, dict) else {}


def data_note(data):
    """What the data folder says of itself: {"generated", "note", "titles" of the classes}; empty if it is gone."""
    try:
        found = dataset.describe(data["folder"])
        return {"generated": bool(found.get("generated")), "note": str(found.get("note", "")), "titles": dataset.titles(found)}
    except (UserError, KeyError, TypeError, OSError):
        return {}


def notebook_cards(run_dir, journal, metrics):
    """A dictionary a notebook for the index's cards, in the order of the journal, then of the names."""
    stated = journal.get("notebooks") or {}
    if isinstance(stated, list):
        stated = {str(entry.get("name", "")): entry for entry in stated if isinstance(entry, dict)}
    names = list(stated) + sorted(path.stem for path in run_dir.glob("*.ipynb") if path.stem not in stated)
    cards = []
    for name in names:
        entry = stated.get(name)
        entry = entry if isinstance(entry, dict) else {"status": entry or "done"}
        # Links are made from names found in the folder, so that a name in the journal can't point elsewhere.
        has = {suffix: Path(name).name == name and (run_dir / f"{name}{suffix}").is_file() for suffix in (".html", ".ipynb")}
        cards.append(
            {
                "name": name,
                "status": str(entry.get("status", "")),
                "seconds": entry.get("seconds"),
                "error": shorten(entry.get("error", "")),
                "outdated": bool(entry.get("outdated")),
                "summary": shorten(entry.get("summary", entry.get("headline", metrics[name][0] if name in metrics else ""))),
                "thumbnail": thumbnail(run_dir / f"{name}.ipynb") if has[".ipynb"] else "",
                "html": has[".html"],
                "ipynb": has[".ipynb"],
            }
        )
    return cards


def class_dice(metrics, titles):
    """[(title of a class, its Dice over positives)] in the order of the classes, however many; `titles`: of the classes, or none."""
    numbers = {name: re.fullmatch(r"dice_positives_class([1-9][0-9]{0,2})", str(name)) for name in metrics}
    known = sorted((int(found[1]), metrics[name]) for name, found in numbers.items() if found and type(metrics[name]) in (int, float))
    return [(titles[number - 1] if number <= len(titles) else f"class {number}", value) for number, value in known]


def doubts_in(metrics):
    """The sentences that notebooks recorded as `..._doubt`, see `lib.doubts`, in order."""
    return [shorten(text) for name, text in metrics.items() if str(name).endswith("_doubt") and isinstance(text, str) and text]


def ran_with(journal, name):
    """Rows (name, value) of the code, versions and environment that a notebook ran with, where the run's notebooks differ in them."""
    entry = journal["notebooks"].get(name) if isinstance(journal.get("notebooks"), dict) else None
    ran = entry.get("ran") if isinstance(entry, dict) else None
    if not isinstance(ran, dict):
        return []
    whole, own = (dict(flat({key: where.get(key) for key in ORIGIN})) for where in (journal, ran))
    return [(key, own[key]) for key, value in whole.items() if key in own and own[key] != value]


def write_index(run_dir):
    """Write `index.html` of a run from `run.json`, `metrics/*.json` and the executed notebooks; what is missing is left out.

    Arguments:
        run_dir: the run folder, with the keys of `run.json` as the pipeline's journal describes them.
    """
    run_dir = Path(run_dir)
    journal = read_optional(run_dir / "run.json")
    recorded = {path.stem: files.read_metrics(run_dir, path.stem) for path in sorted((run_dir / "metrics").glob("*.json"))}
    found = notebook_cards(run_dir, journal, recorded)
    # Metrics of an earlier, other state may still lie there: only those of notebooks that are finished now are shown.
    finished = {card["name"] for card in found if card["status"] in ("done", "kept")}
    metrics = {}
    for name, (_, values) in recorded.items():
        metrics.update(values if name in finished or not journal else {})
    data = journal.get("data") if isinstance(journal.get("data"), dict) else {}
    data = data_note(data) | data
    parameters = journal.get("parameters") if isinstance(journal.get("parameters"), dict) else {}
    parameters = {str(name): values for name, values in parameters.items() if isinstance(values, dict)}
    seeds = sorted({str(values["seed"]) for values in parameters.values() if "seed" in values})
    origin = {key: journal.get(key) for key in ("profile", *ORIGIN)} | {"seed": ", ".join(seeds)}
    text = page(
        "index.html",
        run=str(journal.get("run") or run_dir.resolve().name),
        journal=journal,
        data=data,
        metrics=metrics,
        doubts=doubts_in(metrics),
        class_dice=class_dice(metrics, data.get("titles", [])),
        stale={metric: card["name"] for card in found if card["outdated"] for metric in recorded.get(card["name"], ("", {}))[1]},
        all_metrics=[(name, number_text(value)) for name, value in flat(metrics)] if metrics else [],
        cards=found,
        seconds=journal.get("seconds") if isinstance(journal.get("seconds"), (int, float)) else 0,
        origin=[(name, value) for name, value in flat(origin) if value],
        facts=[(name, number_text(value)) for name, value in flat(data) if name not in ("", "note", "generated", "titles")],
        parameters={name: [(key, shorten(repr(value))) for key, value in values.items()] + ran_with(journal, name)
                    for name, values in parameters.items()},
        files=[name for name in FILES if (run_dir / name).is_file()],
    )
    files.write_atomic(run_dir / "index.html", text)
