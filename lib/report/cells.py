"""The cells of a notebook as harmless HTML parts for its report.

Text from a notebook is escaped; HTML from it (tables, Markdown) is cut down to a list of harmless tags: what a notebook
shows may hold names of images that nobody has looked at.
"""

import ast
import base64
import re
import tokenize
from io import StringIO

import bleach
from bleach.css_sanitizer import CSSSanitizer
from markupsafe import Markup
from nbconvert.filters import ansi2html, strip_ansi
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from lib.errors import LONGEST, shorten

TAGS = {
    *("a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "details", "div", "dl", "dt"),
    *("em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "kbd", "li", "mark", "ol", "p", "pre"),
    *("s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"),
}
LAYOUT = {"align", "colspan", "rowspan", "class", "style", "title", "start", "open", "scope", "alt", "width", "height"}
STYLES = CSSSanitizer(allowed_css_properties=["text-align", "color", "background-color", "font-weight", "width", "white-space"])


def is_allowed(tag, attribute, value):
    """Whether bleach keeps an attribute: layout, pictures inside the page, links that a reader follows by hand."""
    if attribute == "src":
        return tag == "img" and value.startswith("data:image/")
    if attribute == "href":
        return tag == "a" and not value.strip().lower().startswith("data:")
    return attribute in LAYOUT


CLEANER = bleach.Cleaner(tags=TAGS, attributes=is_allowed, css_sanitizer=STYLES, protocols={"http", "https", "mailto", "data"})


def clean_html(text):
    """HTML cut down to harmless tags; any other tag is shown as text, style sheets (pandas' tables bring one) are dropped."""
    text = re.sub(r"<style\b.*?</style\s*>", "", text, flags=re.DOTALL | re.IGNORECASE)
    html = re.sub(r"<img(?![^>]* alt=)", '<img alt="picture"', CLEANER.clean(text))
    return Markup(re.sub(r"<table.*?</table>", r'<div class="scroll" tabindex="0">\g<0></div>', html, flags=re.DOTALL))


def markdown_html(text, attachments=None):
    """HTML of Markdown, cleaned."""
    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True, attachments=attachments or {})
    return clean_html(MarkdownWithMath(renderer=renderer).render(text))


def joined(text):
    """Text of a notebook field, which may be one string or a list of lines."""
    return text if isinstance(text, str) else "".join(text or [])


def number_headings(html, headings):
    """Give every heading an id and add (level, id, text) to the list `headings`."""

    def with_id(match):
        anchor = f"section-{len(headings) + 1}"
        headings.append((int(match[1]), anchor, Markup(match[2]).striptags()))
        return f'<h{match[1]} id="{anchor}">{match[2]}</h{match[1]}>'

    return Markup(re.sub(r"<h([1-6])>(.*?)</h\1>", with_id, html, flags=re.DOTALL))


def settled(text):
    """Text as a terminal leaves it: a carriage return overwrites its line (progress bars), a backspace deletes."""
    text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    while (shorter := re.sub(r"[^\x08\n]\x08", "", text)) != text:
        text = shorter
    return text.replace("\x08", "").strip("\n")


def picture(data, kind, alt):
    """A picture inside the page."""
    content = joined(data)
    if kind == "image/svg+xml":
        content = base64.b64encode(content.encode()).decode()
    content = re.sub(r"[^A-Za-z0-9+/=]", "", content)
    return Markup('<figure><img src="data:{};base64,{}" alt="{}"></figure>').format(kind, content, alt)


def data_html(output, alt):
    """HTML of what a cell displays: the richest form that is harmless."""
    data = output.get("data", {})
    if "text/html" in data:
        return Markup('<div class="rich">{}</div>').format(clean_html(joined(data["text/html"])))
    for kind in ("image/png", "image/jpeg", "image/svg+xml"):
        if kind in data:
            metadata = output.get("metadata", {})
            stated = metadata.get("alt") or (metadata.get(kind) or {}).get("alt")
            return picture(data[kind], kind, stated or alt)
    if "text/markdown" in data:
        return Markup('<div class="rich">{}</div>').format(markdown_html(joined(data["text/markdown"])))
    return Markup("<pre>{}</pre>").format(Markup(ansi2html(cut(joined(data.get("text/plain", ""))))))


def output_parts(cell, place):
    """What a code cell put out, as a list of dictionaries for the template, neighbouring text of one stream joined.

    Arguments:
        place: heading above the cell, the last resort for a picture's alternative text.
    """
    parts, pictures = [], 0
    source = joined(cell.get("source"))
    stated = cell.get("metadata", {}).get("alt", [])
    stated = [stated] if isinstance(stated, str) else list(stated)
    stated = stated or re.findall(r"""\b(?:title=|set_title\(|suptitle\()["']([^"'{}]+)["']""", source)
    for output in cell.get("outputs", []):
        kind = output.get("output_type")
        if kind == "stream":
            name = output.get("name", "stdout")
            if parts and parts[-1]["kind"] == name:
                parts[-1]["text"] += joined(output.get("text"))
            else:
                parts.append({"kind": name, "text": joined(output.get("text"))})
        elif kind == "error":
            trace = "\n".join(output.get("traceback", []))
            message = f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"
            # A user's mistake has its message as its whole traceback (see errors.UserError): not shown twice.
            full = "" if strip_ansi(trace).strip().endswith(message) and trace.count("\n") < 2 else Markup(ansi2html(cut(trace)))
            parts.append({"kind": "error", "message": message if len(message) <= LONGEST else shorten(message), "trace": full})
        elif kind in ("display_data", "execute_result"):
            alt = stated[min(pictures, len(stated) - 1)] if stated else f"{place}, figure {pictures + 1}"
            pictures += any(key.startswith("image/") for key in output.get("data", {}))
            parts.append({"kind": "data", "html": data_html(output, alt)})
    for part in parts:
        if "text" in part:
            text = settled(part.pop("text"))
            part.update(html=Markup(ansi2html(cut(text))), lines=text.count("\n") + 1 if text else 0)
    return [part for part in parts if part.get("lines", 1)]


def assignments(source):
    """Parameters in a cell's source: {name: (value as written, comment)}."""
    try:
        statements = ast.parse(source).body
        tokens = tokenize.generate_tokens(StringIO(source).readline)
        comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    except (SyntaxError, tokenize.TokenError):
        return {}
    found = {}
    for statement in statements:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(target, ast.Name) and getattr(statement, "value", None) is not None:
            value = ast.get_source_segment(source, statement.value)
            found[target.id] = (value, comments.get(statement.end_lineno, ""))
    return found


def has_tag(cell, *tags):
    """Whether a cell carries one of the tags."""
    return bool(set(tags) & set(cell.get("metadata", {}).get("tags", [])))


def same_value(left, right):
    """Whether two Python literals, as written, stand for the same value."""
    try:
        return ast.literal_eval(left) == ast.literal_eval(right)
    except (ValueError, SyntaxError):
        return left == right


def parameter_rows(cells):
    """A row a parameter: name, value as written, comment, whether the run gave it another value than the notebook's own."""
    declared, injected = {}, {}
    for cell in cells:
        if has_tag(cell, "parameters"):
            declared.update(assignments(joined(cell.get("source"))))
        elif has_tag(cell, "injected-parameters"):
            injected.update(assignments(joined(cell.get("source"))))
    names = list(declared) + [name for name in injected if name not in declared]
    return [
        {
            "name": name,
            "value": injected.get(name, declared.get(name, ("", "")))[0],
            "meaning": declared.get(name, ("", ""))[1],
            "set": name in injected and not (name in declared and same_value(injected[name][0], declared[name][0])),
        }
        for name in names
    ]


def page_parts(notebook):
    """The notebook as a list of parts for the template, with its headings, errors and number of cells that did not run."""
    parts, headings, errors, unrun = [], [], [], 0
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
            outputs = output_parts(cell, headings[-1][2] if headings else "Report")
            failed = [output for output in outputs if output["kind"] == "error"]
            if has_tag(cell, "bootstrap") and not failed:
                continue
            part = {
                "kind": "code",
                "code": Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))),
                "lines": source.strip().count("\n") + 1,
                "outputs": outputs,
                "folded": has_tag(cell, "hide-output") and not failed,
                "anchor": f"error-{len(errors) + 1}" if failed else "",
            }
            errors += [{"anchor": part["anchor"], "message": output["message"]} for output in failed]
            parts.append(part)
    return parts, headings, errors, unrun


LONGEST_OUTPUT = 50_000  # characters of a cell's output on its page


def cut(text, longest=LONGEST_OUTPUT):
    """A text of several lines with its middle left out where it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out ...]\n{text[-half:]}"
