"""The cells of a notebook as harmless HTML parts for its report.

Text from a notebook is escaped; HTML from it (tables, Markdown) is cut down to a list of harmless tags: what
a notebook shows may hold names of images that nobody has looked at.
"""

import re
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from markupsafe import Markup
from nbconvert.filters import ansi2html, strip_ansi
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from lib.errors import LONGEST, shorten
from lib.report.parameters import Cell, has_tag, joined
from lib.report.picture import picture_html

Part = dict[str, Any]  # what the template shows of a cell or an output

TAGS = {
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "details", "div", "dl", "dt",
    "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "kbd", "li", "mark", "ol", "p",
    "pre", "s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr",
    "u", "ul",
}  # fmt: skip
LAYOUT = {
    "align", "colspan", "rowspan", "class", "style", "title", "start", "open", "scope", "alt", "width", "height",
}  # fmt: skip
STYLES = CSSSanitizer(
    allowed_css_properties=["text-align", "color", "background-color", "font-weight", "width", "white-space"]
)


def is_allowed(tag: str, attribute: str, value: str) -> bool:
    """Whether bleach keeps an attribute: layout, pictures inside the page, links that a reader follows."""
    if attribute == "src":
        return tag == "img" and value.startswith("data:image/")
    if attribute == "href":
        return tag == "a" and not value.strip().lower().startswith("data:")
    return attribute in LAYOUT


CLEANER = bleach.Cleaner(
    tags=TAGS, attributes=is_allowed, css_sanitizer=STYLES, protocols={"http", "https", "mailto", "data"}
)


def clean_html(text: str) -> Markup:
    """HTML cut down to harmless tags; others are shown as text, style sheets (pandas' tables have one) go."""
    text = re.sub(r"<style\b.*?</style\s*>", "", text, flags=re.DOTALL | re.IGNORECASE)
    html = re.sub(r"<img(?![^>]* alt=)", '<img alt="picture"', CLEANER.clean(text))
    return Markup(
        re.sub(r"<table.*?</table>", r'<div class="scroll" tabindex="0">\g<0></div>', html, flags=re.DOTALL)
    )


def markdown_html(text: str, attachments: dict[str, Any] | None = None) -> Markup:
    """HTML of Markdown, cleaned."""
    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True, attachments=attachments or {})
    return clean_html(MarkdownWithMath(renderer=renderer).render(text))


def number_headings(html: str, headings: list[tuple[int, str, str]]) -> Markup:
    """Give every heading an id and add (level, id, text) to the list `headings`."""

    def with_id(match: re.Match[str]) -> str:
        anchor = f"section-{len(headings) + 1}"
        headings.append((int(match[1]), anchor, Markup(match[2]).striptags()))
        return f'<h{match[1]} id="{anchor}">{match[2]}</h{match[1]}>'

    return Markup(re.sub(r"<h([1-6])>(.*?)</h\1>", with_id, html, flags=re.DOTALL))


def settled(text: str) -> str:
    """Text as a terminal leaves it: a carriage return overwrites its line, a backspace deletes."""
    text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    while (shorter := re.sub(r"[^\x08\n]\x08", "", text)) != text:
        text = shorter
    return text.replace("\x08", "").strip("\n")


def data_html(output: Part, alt: str) -> Markup:
    """HTML of what a cell displays: the richest form that is harmless."""
    data = output.get("data", {})
    if "text/html" in data:
        return Markup('<div class="rich">{}</div>').format(clean_html(joined(data["text/html"])))
    for kind in ("image/png", "image/jpeg", "image/svg+xml"):
        if kind in data:
            metadata = output.get("metadata", {})
            own = metadata.get("alt") or (metadata.get(kind) or {}).get("alt")
            return picture_html(joined(data[kind]), kind, own or alt)
    if "text/markdown" in data:
        return Markup('<div class="rich">{}</div>').format(markdown_html(joined(data["text/markdown"])))
    return Markup("<pre>{}</pre>").format(Markup(ansi2html(cut(joined(data.get("text/plain", ""))))))


def alternative_texts(cell: Cell) -> list[str]:
    """What stands for pictures that are not seen: the cell's metadata `alt`, else titles in its source."""
    texts = cell.get("metadata", {}).get("alt", [])
    texts = [texts] if isinstance(texts, str) else list(texts)
    titles = r"""\b(?:title=|set_title\(|suptitle\()["']([^"'{}]+)["']"""
    return texts or re.findall(titles, joined(cell.get("source")))


def error_part(output: Part) -> Part:
    """An error that ended a cell. A user's mistake has only its message as traceback: it is shown once."""
    trace = "\n".join(output.get("traceback", []))
    message = f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"
    repeated = strip_ansi(trace).strip().endswith(message) and trace.count("\n") < 2
    return {
        "kind": "error",
        "message": message if len(message) <= LONGEST else shorten(message),
        "trace": "" if repeated else Markup(ansi2html(cut(trace))),
    }


def output_parts(cell: Cell, heading: str) -> list[Part]:
    """What a code cell put out, for the template; neighbouring texts of one stream are joined.

    Arguments:
        heading: the one above the cell, the last resort for a picture's alternative text.
    """
    parts: list[Part] = []
    n_pictures = 0
    texts = alternative_texts(cell)
    for output in cell.get("outputs", []):
        kind = output.get("output_type")
        if kind == "stream":
            name = output.get("name", "stdout")
            if parts and parts[-1]["kind"] == name:
                parts[-1]["text"] += joined(output.get("text"))
            else:
                parts.append({"kind": name, "text": joined(output.get("text"))})
        elif kind == "error":
            parts.append(error_part(output))
        elif kind in ("display_data", "execute_result"):
            alt = texts[min(n_pictures, len(texts) - 1)] if texts else f"{heading}, figure {n_pictures + 1}"
            n_pictures += any(key.startswith("image/") for key in output.get("data", {}))
            parts.append({"kind": "data", "html": data_html(output, alt)})
    for part in parts:
        if "text" in part:
            text = settled(part.pop("text"))
            part.update(html=Markup(ansi2html(cut(text))), lines=text.count("\n") + 1 if text else 0)
    return [part for part in parts if part.get("lines", 1)]


def code_part(cell: Cell, outputs: list[Part], n_errors: int) -> Part:
    """A code cell for the template; outputs: see `output_parts`; n_errors: in the cells before it."""
    source = joined(cell.get("source"))
    failed = any(output["kind"] == "error" for output in outputs)
    return {
        "kind": "code",
        "code": Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))),
        "lines": source.strip().count("\n") + 1,
        "outputs": outputs,
        "folded": has_tag(cell, "hide-output") and not failed,
        "anchor": f"error-{n_errors + 1}" if failed else "",
    }


def page_parts(notebook: dict[str, Any]) -> tuple[list[Part], list[tuple[int, str, str]], list[Part], int]:
    """A notebook for the template: parts, headings (level, id, text), errors, how many cells did not run."""
    parts: list[Part] = []
    headings: list[tuple[int, str, str]] = []
    errors: list[Part] = []
    unrun = 0
    for cell in notebook.get("cells", []):
        source = joined(cell.get("source"))
        if has_tag(cell, "parameters", "injected-parameters"):
            if not any(part["kind"] == "parameters" for part in parts):
                parts.append({"kind": "parameters"})
            continue
        # papermill's notes of an error go: it is marked below and at the top.
        if has_tag(cell, "papermill-error-cell-tag") or not source.strip():
            continue
        if cell["cell_type"] == "markdown":
            html = number_headings(markdown_html(source, cell.get("attachments")), headings)
            parts.append({"kind": "markdown", "html": html})
        elif cell["cell_type"] == "code":
            unrun += cell.get("execution_count") is None and not cell.get("outputs")
            part = code_part(cell, output_parts(cell, headings[-1][2] if headings else "Report"), len(errors))
            messages = [output["message"] for output in part["outputs"] if output["kind"] == "error"]
            if messages or not has_tag(cell, "bootstrap"):
                errors += [{"anchor": part["anchor"], "message": message} for message in messages]
                parts.append(part)
    return parts, headings, errors, unrun


LONGEST_OUTPUT = 50_000  # characters of a cell's output on its page


def cut(text: str, longest: int = LONGEST_OUTPUT) -> str:
    """A text of several lines with its middle left out where it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out ...]\n{text[-half:]}"
