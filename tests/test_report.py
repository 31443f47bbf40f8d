"""Reports: nothing is loaded, nothing runs, what matters is there."""

import base64
import html.parser
import json
import re
import subprocess

import cv2
import numpy as np
import pytest
from browser import CHROMIUM, SEALED

from lib import errors, files, paths
from lib.report import cells, pages, parameters, picture

HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">.jpg"
LOADING = {
    "src",
    "srcset",
    "data",
    "poster",
    "background",
    "action",
    "formaction",
    "xlink:href",
    "manifest",
    "ping",
}


def png(height=60, width=200):
    """A picture as a notebook keeps it."""
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()


def code(source, *outputs, tags=(), count=1, **metadata):
    """A code cell."""
    return {
        "cell_type": "code",
        "source": source,
        "outputs": list(outputs),
        "execution_count": count,
        "metadata": {"tags": list(tags), **metadata},
    }


def markdown(source):
    """A Markdown cell."""
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def shown(**data):
    """An output; underscores in names stand for the slash of a MIME type."""
    return {
        "output_type": "display_data",
        "data": {key.replace("_", "/"): value for key, value in data.items()},
        "metadata": {},
    }


def stream(text, name="stdout"):
    """Printed text."""
    return {"output_type": "stream", "name": name, "text": text}


ERROR = {
    "output_type": "error",
    "ename": "ValueError",
    "evalue": f"no {HOSTILE}",
    "traceback": ["line 1", f"no {HOSTILE}"],
}


def sample(failed=False):
    """A notebook with everything a report shows, and with hostile text wherever data can end up."""
    tail = [code("1 / 0", ERROR), markdown("## After"), code("later()", count=None)] if failed else []
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"papermill": {"start_time": "2026-01-31T10:00:00+00:00", "duration": 125.2}},
        "cells": [
            markdown("# Is it defective?\n\nOne sentence."),
            code("import secret_bootstrap", tags=["bootstrap"]),
            code(
                "epochs: int = 4  # passes over the strips\nseed: int = 42  # whole number",
                tags=["parameters"],
            ),
            code(f"epochs = 9\nseed = 42\nname = {HOSTILE!r}", tags=["injected-parameters"]),
            markdown("## The strips\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
            code("plots.one()", shown(image_png=png())),
            code("plots.two()", shown(image_png=png()), alt=["Four <strips>"], tags=["thumbnail"]),
            code(
                "table",
                shown(
                    text_html="<style>p{color:red}</style><table><tr><td>7</td></tr></table>", text_plain="7"
                ),
            ),
            markdown("## The strips"),
            code(
                "hostile()",
                stream(HOSTILE),
                stream(HOSTILE, "stderr"),
                shown(text_html=HOSTILE),
                shown(text_markdown=HOSTILE),
            ),
            code("svg()", shown(**{"image_svg+xml": f"<svg xmlns='a'>{HOSTILE}</svg>"})),
            code("js()", shown(application_javascript="document.title='run'", text_plain=HOSTILE)),
            code(
                "away()",
                shown(
                    text_html='<a href="javascript:x()">x</a><link href="//a.b/c"><img src="http://a.b/c">'
                ),
            ),
            *tail,
        ],
    }


def rendered(tmp_path, notebook, name="10_binary"):
    """The report of a notebook as text."""
    (tmp_path / f"{name}.ipynb").write_text(json.dumps(notebook))
    pages.render(tmp_path / f"{name}.ipynb", tmp_path / f"{name}.html")
    return (tmp_path / f"{name}.html").read_text()


def run_folder(tmp_path):
    """A run folder with hostile names, one finished, one failed and one blocked notebook."""
    rendered(tmp_path, sample())
    rendered(tmp_path, sample(failed=True), "20_multilabel")
    state = {
        "run": f"run {HOSTILE}",
        "profile": "demo",
        "started": "2026-01-31T10:00:00+00:00",
        "seconds": 605.0,
        "status": "failed",
        "data": {"folder": str(tmp_path), "why": HOSTILE, "sha256": "0f" * 32, "train_images": 8},
        "versions": {"keras": "3.13.2"},
        "code": "abc1234+changes",
        "parameters": {"10_binary": {"seed": 42, "title": HOSTILE}},
        "notebooks": {
            "10_binary": {"status": "done", "seconds": 65.4, "summary": HOSTILE, "error": ""},
            "20_multilabel": {"status": "failed", "seconds": 3.0, "summary": "", "error": HOSTILE},
            "40_evaluation": {"status": "done", "seconds": 3.0, "summary": "score", "error": ""},
            "90_inference": {
                "status": "blocked",
                "seconds": 0,
                "summary": "",
                "error": "20_multilabel failed",
            },
            "../../etc/passwd": {"status": "waiting", "seconds": 0, "summary": "", "error": ""},
        },
    }
    (tmp_path / "run.json").write_text(json.dumps(state))
    (tmp_path / "dataset.json").write_text(json.dumps({"generated": True, "note": f"Lifted. {HOSTILE}"}))
    judged = {"competition_score": 0.73214, "competition_score_interval": [0.70126, 0.76]}
    files.record_metrics(tmp_path, "40_evaluation", "score", **judged, all_empty_score=0.64, text=HOSTILE)
    files.record_metrics(
        tmp_path, "90_inference", "old", test_competition_score=0.98765, test_all_empty_score=0.6
    )
    pages.write_index(tmp_path)
    return (tmp_path / "index.html").read_text()


class Loads(html.parser.HTMLParser):
    """Collects what a page would load or run, and its text."""

    def __init__(self, text):
        super().__init__()
        self.bad, self.alts, self.ids, self.targets = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag in (
            "script",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
            "frame",
            "audio",
            "video",
            "math",
            "svg",
        ):
            self.bad.append(tag)
        for name, value in attributes:
            value = (value or "").strip()
            if name.startswith("on") or value.lower().startswith(("javascript:", "vbscript:")):
                self.bad.append((tag, name, value))
            if name in LOADING and not value.startswith("data:image/"):
                self.bad.append((tag, name, value))
        if tag == "link" and named.get("href") != "data:,":
            self.bad.append(("link", named.get("href")))
        if tag == "img":
            self.alts.append(named.get("alt"))
        if "id" in named:
            self.ids.append(named["id"])
        if tag == "a":
            self.targets.append(named.get("href", ""))


def check_harmless(text):
    """No address is loaded, no script can run, in HTML and in CSS."""
    assert Loads(text).bad == []
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL) + re.findall(r'style="([^"]*)"', text)
    assert styles and not any(re.search(r"url\(|@import|expression\(", style) for style in styles)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'none'" in text


@pytest.mark.parametrize("failed", [False, True])
def test_report_is_harmless_and_shows_the_name(tmp_path, failed):
    text = rendered(tmp_path, sample(failed))
    check_harmless(text)
    assert text.count("&lt;script&gt;document.title=") >= 5


def test_contents_lead_to_the_headings(tmp_path):
    page = Loads(rendered(tmp_path, sample()))
    inside = [target[1:] for target in page.targets if target.startswith("#")]
    assert len(set(inside)) == 2  # two headings of equal text keep different anchors
    assert len(page.ids) == len(set(page.ids))
    assert set(inside) <= set(page.ids)


def test_pictures_have_alternative_texts(tmp_path):
    page = Loads(rendered(tmp_path, sample()))
    assert page.alts[:2] == ["The strips, figure 1", "Four <strips>"]
    assert all(page.alts)


def test_code_is_folded_bootstrap_gone_parameters_in_a_table(tmp_path):
    text = rendered(tmp_path, sample())
    assert "secret_bootstrap" not in text
    assert '<details class="code"><summary>' in text and '<details class="code" open>' not in text
    changed, kept = text.split("1 parameter as the notebook has it")
    assert re.search(r"epochs</code></td><td><code>9</code></td><td>passes over the strips", changed)
    assert "seed</code></td><td><code>42</code></td><td>whole number" in kept
    assert "took 2 min 05 s" in text


def test_failed_cell_is_marked_at_the_top_with_a_link(tmp_path):
    text = rendered(tmp_path, sample(failed=True))
    assert "stopped with an error" in text.split("<h1")[0]
    assert 'href="#error-1"' in text and 'id="error-1"' in text
    assert "1 cell after it did not run" in text
    assert "stopped with an error" not in rendered(tmp_path, sample())


def test_killed_notebook_says_so(tmp_path):
    notebook = sample()
    notebook["cells"][-1]["execution_count"] = None
    notebook["cells"][-1]["outputs"] = []
    assert "was not run to its end" in rendered(tmp_path, notebook)
    notebook["metadata"]["failed"] = "The kernel died <b>."
    text = rendered(tmp_path, notebook)
    assert "The kernel died &lt;b&gt;." in text.split("<h1")[0]
    assert "1 cell did not run" in text


def test_broken_notebook_is_a_sentence(tmp_path):
    for content in ("{", "[]", '{"cells": 3}'):
        (tmp_path / "x.ipynb").write_text(content)
        with pytest.raises(errors.UserError, match=r"x\.ipynb"):
            pages.render(tmp_path / "x.ipynb", tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("a\nb", "a\nb"),
        ("10 %\r50 %\r100 %\n", "100 %"),
        ("a\r\nb\r\n", "a\nb"),
        ("loss 1\b2", "loss 2"),
        ("abc\b\b\bxyz", "xyz"),
        ("a\n\bb", "a\nb"),
        ("\n\n", ""),
    ],
)
def test_settled(raw, seen):
    assert cells.settled(raw) == seen


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("<b>bold</b>", "<b>bold</b>"),
        ("<b onclick=x()>bold</b>", "<b>bold</b>"),
        ("<style>@import 'x'</style>a", "a"),
        ('<img src="http://a.b/c">', '<img alt="picture">'),
        ('<img alt="x" src="data:image/png;base64,AA==">', '<img alt="x" src="data:image/png;base64,AA==">'),
        ('<a href="javascript:x()">x</a>', "<a>x</a>"),
        ('<a href=" data:text/html,x">x</a>', "<a>x</a>"),
        ('<p style="color: red; background: url(http://a.b)">x</p>', '<p style="color: red;">x</p>'),
        ("<iframe src='http://a.b'></iframe>", "&lt;iframe src='http://a.b'&gt;&lt;/iframe&gt;"),
    ],
)
def test_clean_html(dirty, clean):
    assert cells.clean_html(dirty) == clean


def test_assignments():
    found = parameters.assignments(
        'a: int = 3  # pixels\nb = "x # y"\nc: list = [\n    1,\n]  # many\nprint(a)'
    )
    assert found == {"a": ("3", "pixels"), "b": ('"x # y"', ""), "c": ("[\n    1,\n]", "many")}
    assert parameters.assignments("a = (") == {}


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0, "0 s"), (59.6, "1 min 00 s"), (7800, "2 h 10 min")]
)
def test_duration(seconds, text):
    assert pages.duration_text(seconds) == text


def test_a_long_list_stays_in_its_file():
    assert pages.number_text([1, 2]) == "[1, 2]"
    assert pages.number_text([{"image": "a.jpg"}]) == "1 values, in metrics.json"
    assert pages.number_text([0.5] * 200) == "200 values, in metrics.json"


def test_index(tmp_path):
    text = run_folder(tmp_path)
    check_harmless(text)
    assert "0.7321" in text and "0.6400" in text and "0.0921 above it" in text
    assert "95 % interval <strong>0.7013</strong> to <strong>0.7600</strong>" in text
    assert "0.9877" not in text  # 90_inference is not finished: its old metrics don't count
    assert "These strips are generated." in text and "Lifted." in text
    for needle in (
        "abc1234+changes",
        "0f0f0f",
        "3.13.2",
        "took 10 min 05 s",
        "1 min 05 s",
        ">blocked<",
        "20_multilabel failed",
    ):
        assert needle in text
    targets = Loads(text).targets
    assert {"10_binary.html", "10_binary.ipynb", "20_multilabel.html", "run.json"} <= set(targets)
    assert not any(".." in target or target.startswith("90") for target in targets)
    assert text.count('src="data:image/jpeg;base64,') == 2


def index_of(folder, metrics, **about):
    """The text of the index of a finished run with these metrics, on data described so; "" for data that are
    gone."""
    data = folder / "data"
    data.mkdir(parents=True)
    if about:
        (data / "dataset.json").write_text(
            json.dumps({"height": 64, "width": 64, "generated": False, **about})
        )
    folder_said = str(data if about else folder / "gone")
    (folder / "run.json").write_text(
        json.dumps({"notebooks": {"40": {"status": "done"}}, "data": {"folder": folder_said}})
    )
    (folder / "metrics").mkdir()
    (folder / "metrics" / "40.json").write_text(json.dumps({"summary": "", "metrics": metrics}))
    pages.write_index(folder)
    return (folder / "index.html").read_text(encoding="utf-8")


def test_index_shows_every_class_by_its_name(tmp_path):
    metrics = {f"dice_positives_class{number}": number / 100 for number in range(1, 13)} | {
        "dice_positives_class7": None
    }
    found = lambda text: re.findall(r"<dt>Dice, (.*?)</dt><dd>(.*?)</dd>", text)  # noqa: E731
    names = [f"kind<{number}>" for number in range(1, 12)] + ["class 12"]
    shown = found(index_of(tmp_path / "named", metrics, classes=12, class_names=names))
    expected = [
        (f"{number} kind&lt;{number}&gt;", f"0.{number:02d}0") for number in range(1, 12) if number != 7
    ]
    assert shown == [*expected, ("class 12", "0.120")]
    assert found(index_of(tmp_path / "gone", metrics)) == [
        (f"class {n}", f"0.{n:02d}0") for n in range(1, 13) if n != 7
    ]


def test_metrics_of_an_earlier_run_are_read(tmp_path):
    (tmp_path / "metrics").mkdir()
    content = {"headline": "recall 0.97", "figures": {"competition_score": 0.73214}}
    (tmp_path / "metrics" / "40_evaluation.json").write_text(json.dumps(content))
    (tmp_path / "40_evaluation.ipynb").write_text("{}")
    assert files.read_metrics(tmp_path, "40_evaluation") == ("recall 0.97", {"competition_score": 0.73214})
    pages.write_index(tmp_path)
    assert all(text in (tmp_path / "index.html").read_text() for text in ("recall 0.97", "0.7321"))


@pytest.mark.parametrize("score, words", [
    (0.8, '<span class="bad">0.1000 below it'), (0.9, "<span>nothing gained</span>"), (0.90001, "<span>nothing gained</span>"),
    (0.89999, "<span>nothing gained</span>"), (0.9002, '<span class="good">0.0002 above it'),
])  # fmt: skip
def test_index_praises_no_score_that_gains_nothing(tmp_path, score, words):
    text = index_of(tmp_path, {"competition_score": score, "all_empty_score": 0.9})
    assert words in text and "0.0000 above" not in text
    assert ("good" in words) == ('class="good"' in text) and ("bad" in words) == ('class="bad"' in text)


@pytest.mark.parametrize("generated", [True, False])
def test_only_generated_test_strips_come_from_other_rolls(tmp_path, generated):
    text = index_of(tmp_path, {"test_competition_score": 0.9}, classes=2, generated=generated)
    assert ("from other coils" in text) == generated
    assert "scored against the truth kept aside" in text


def test_index_sets_the_look_up_of_copies_beside_the_score_on_them(tmp_path):
    scores = {"test_competition_score": 0.9, "test_all_empty_score": 0.8}
    beside = "of the strips are copies of training strips; looking their masks up, without learning, scores"
    assert beside not in index_of(tmp_path / "none", scores)
    text = index_of(tmp_path, scores | {"test_copied_share": 0.25, "test_lookup_baseline": 0.87654})
    assert f"25.0 % {beside}\n<strong>0.8765</strong>" in text


def test_index_names_a_score_that_is_not_severstals(tmp_path):
    scores = {"competition_score": 0.6, "all_empty_score": 0.3, "test_competition_score": 0.5}
    text = index_of(tmp_path / "default", scores | {"scored_by": "severstal", "test_scored_by": "severstal"})
    assert ">Score on held-out strips<" in text and ">Score of the submission<" in text
    text = index_of(tmp_path / "other", scores | {"scored_by": "miou", "test_scored_by": "miou"})
    assert ">Score on held-out strips (miou)<" in text and ">Score of the submission (miou)<" in text


def test_index_of_an_empty_or_broken_folder(tmp_path):
    pages.write_index(tmp_path)
    assert "No notebook of this run has been started" in (tmp_path / "index.html").read_text()
    (tmp_path / "run.json").write_text(
        '{"notebooks": [1, {"name": "x"}], "data": 3, "versions": [], "parameters": {"a": 1}}'
    )
    (tmp_path / "metrics").mkdir()
    for broken in ("{", "[1]", '{"figures": [1]}', '{"summary": "", "metrics": 1}'):
        (tmp_path / "metrics" / "x.json").write_text(broken)
        assert files.read_metrics(tmp_path, "x") == ("", {})
    (tmp_path / "x.ipynb").write_text("{")
    pages.write_index(tmp_path)
    check_harmless((tmp_path / "index.html").read_text())


def test_outdated_notebooks_are_named_at_the_top(tmp_path):
    entries = {name: {"status": "done", "outdated": name != "a"} for name in "abc"}
    (tmp_path / "run.json").write_text(json.dumps({"notebooks": entries}))
    pages.write_index(tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert "Outdated: b, c." in text and text.index("Outdated: b, c.") < text.index("<h2>Notebooks</h2>")
    (tmp_path / "run.json").write_text(json.dumps({"notebooks": {"a": entries["a"]}}))
    pages.write_index(tmp_path)
    assert "Outdated" not in (tmp_path / "index.html").read_text()


def test_thumbnail_is_the_tagged_picture_made_small(tmp_path):
    tagged = code("b", shown(image_png=png(2000, 1000)), tags=["thumbnail"])
    notebook = {"cells": [code("a", shown(image_png=png(50, 50))), tagged]}
    (tmp_path / "x.ipynb").write_text(json.dumps(notebook))
    address = picture.thumbnail(tmp_path / "x.ipynb")
    image = cv2.imdecode(np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (288, 480, 3)
    (tmp_path / "wide.ipynb").write_text(json.dumps({"cells": [code("a", shown(image_png=png(400, 2000)))]}))
    address = picture.thumbnail(tmp_path / "wide.ipynb")
    image = cv2.imdecode(np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert (
        image.shape == (240, 480, 3) and (image[110:] > 250).all()
    )  # a card is two to one and cuts what is wider
    (tmp_path / "y.ipynb").write_text(json.dumps({"cells": [code("a", shown(image_png="bm9wZQ=="))]}))
    assert picture.thumbnail(tmp_path / "y.ipynb") == ""


def decoded(html):
    """The MIME type and the image (H, W, 3) of the one picture in a piece of HTML."""
    kind, content = re.search(r'src="data:([^;]+);base64,([^"]+)"', html).groups()
    return kind, cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)


def test_photographs_become_jpeg_and_a_thin_outline_stays_clear():
    grey = np.random.default_rng(0).normal(110, 12, (256, 800, 1)).clip(0, 255).astype(np.uint8)
    strip = np.repeat(grey, 3, axis=2)
    orange = np.array([0, 94, 213])  # blue first
    strip[100, 100:300] = strip[100:200, 300] = orange
    png = cv2.imencode(".png", strip)[1].tobytes()
    kind, shown = decoded(picture.picture_html(base64.b64encode(png).decode(), "image/png", "a strip"))
    assert kind == "image/jpeg" and shown.shape == strip.shape
    assert len(picture.photograph_as_jpeg(png)) < len(png) / 2
    line = np.concatenate([shown[100, 100:300], shown[100:200, 300]]).astype(float)
    assert np.abs(line.mean(axis=0) - orange).max() < 25
    assert (line[:, 2] - line[:, 0] > 100).mean() > 0.95  # still orange, on steel that is grey
    assert np.abs(shown.astype(float) - strip).mean() < 6


def test_other_pictures_stay_as_they_are():
    chart = np.full((300, 400, 3), 255, np.uint8)
    cv2.line(chart, (10, 290), (390, 10), (178, 114, 0), 2)
    rng = np.random.default_rng(0)
    transparent = rng.integers(0, 255, (60, 200, 4), dtype=np.uint8)
    deep = rng.integers(0, 65535, (60, 200), dtype=np.uint16)
    for image in (chart, transparent, deep):
        png = cv2.imencode(".png", image)[1].tobytes()
        content = base64.b64encode(png).decode()
        assert picture.photograph_as_jpeg(png) is None
        assert content in picture.picture_html(content, "image/png", "")
    for broken in ("bm9wZQ==", "A", ""):
        assert f"data:image/png;base64,{broken}" in picture.picture_html(broken, "image/png", "")


BROWSER = (
    "not an origin"  # who asks, in the browser's log, where the browser does by itself and not for a page
)


def browse(page, folder, *options):
    """Open a page in headless Chromium with no way out; its DOM and the addresses it asked for, file: and
    data: aside."""
    log = folder / "net.json"
    command = [
        CHROMIUM,
        *SEALED,
        f"--user-data-dir={folder / 'profile'}",
        f"--log-net-log={log}",
        "--virtual-time-budget=3000",
        "--dump-dom",
        *options,
        page,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    events = json.loads(log.read_text())["events"]
    asked = [
        event.get("params", {})
        for event in events
        if event.get("params", {}).get("initiator", BROWSER) != BROWSER
    ]
    return done.stdout, {
        each["url"] for each in asked if not each.get("url", "file:").startswith(("file:", "data:", "chrome"))
    }


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_browser_runs_nothing_and_asks_for_nothing(tmp_path):
    run_folder(tmp_path)
    # The same hostile text without our care does both: the measuring works.
    trap = tmp_path / "trap.html"
    trap.write_text(
        "<title>calm</title><script>document.title='run'</script><img src='http://elsewhere.invalid/x.png'>"
    )
    dom, asked = browse(trap.as_uri(), tmp_path)
    assert "<title>run</title>" in dom and any("elsewhere.invalid" in url for url in asked)
    for name in ("index", "10_binary", "20_multilabel"):
        dom, asked = browse((tmp_path / f"{name}.html").as_uri(), tmp_path)
        assert "</main>" in dom and "<title>run</title>" not in dom
        assert asked == set()


def test_the_example_report_is_small_and_names_no_folder_of_a_machine():
    """docs/example_report.html, as docs/example_report.py writes it."""
    path = paths.PROJECT / "docs" / "example_report.html"
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 1_000_000 and "What was learned" in text
    assert not re.search(
        r"[\"' ](/(home|root|tmp|work|Users|mnt)/|[A-Z]:\\)", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    )
    assert "data:image/webp" in text and "data:image/jpeg" not in text
