"""The site: it is built without a warning and without a network, every link leads somewhere,
nothing is loaded from elsewhere, and whatever users may look up has its place."""

import ast
import html
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, missing
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

from domostats import reports
from domostats.interfaces.cli import app
from domostats.reasons import REASONS

TOOLS = ROOT / "tools"


def tool(name):
    spec = importlib.util.spec_from_file_location(f"{name}_tool", TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


links, reference = tool("links"), tool("reference")


@pytest.fixture(scope="module")
def site(once):
    "The site, built where there is no network if this machine can do that."
    if not importlib.util.find_spec("sphinx"):
        missing("Sphinx is not installed: make .venv/docs")
    alone = ["unshare", "--map-root-user", "--net"]
    can = shutil.which("unshare") and subprocess.run([*alone, "true"], capture_output=True)

    def build(folder):
        command = [sys.executable, TOOLS / "docs.py", "--to", folder]
        command = [*alone, *command] if can and can.returncode == 0 else command
        done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        assert not done.stderr, done.stderr[-6000:]

    return once("site", build) / "html"


class Text(HTMLParser):
    "What a page says, without what scripts and styles say, and which texts are links."

    def __init__(self, text):
        super().__init__()
        self.words, self.linked, self.places, self.inside = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.places |= {value for name, value in attrs if name == "id"}
        if tag in ("a", "script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if not {"script", "style"} & {*self.inside}:
            self.words.append(data)
        if "a" in self.inside:
            self.linked.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def page(site, path):
    return Text((site / path).read_text(encoding="utf-8"))


@pytest.mark.long
@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert not links.faults(site)
    assert len([*site.rglob("*.html")]) > 500


@pytest.mark.slow
def test_every_public_module_and_every_name_of_it_has_its_place(site):
    seen = 0
    for path in sorted((ROOT / "domostats").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts):
            continue
        if "revisions" in parts:  # the steps of a migration, which only Alembic reads
            continue
        module = ".".join(parts).removesuffix(".__init__")
        places = page(site, f"reference/{module}.html").places
        assert f"module-{module}" in places
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                for name in ast.literal_eval(node.value):
                    assert f"{module}.{name}" in places, (module, name)
                    seen += 1
    assert seen > 1000


@pytest.mark.slow
def test_no_link_is_guessed_from_the_end_of_a_name(site):
    "A run takes an `Auth` of a connection, and that of the published SDK is another class."
    text = (site / "reference/domostats.reports.report.html").read_text(encoding="utf-8")
    assert 'title="domostats.transport.auth.Auth"' in text
    assert "domostats.loading.dash.config.Auth" not in text


@pytest.mark.slow
def test_every_report_has_its_place_with_every_column(site):
    index = page(site, "reports/index.html")
    for name in reports.names():
        report, found = reports.find(name), page(site, f"reports/{name}.html")
        assert name in index.linked and " ".join(report.grain.split()) in index.text
        assert " ".join(report.grain.split()) in found.text
        told = [*report.key, *report.needs, *report.guessed, *report.formatters]
        told += [str(source.listing) for source in (report.source, *report.lookups)]
        for formatter in report.formatters.values():
            told += [column.name for column in formatter.schema]
        assert not [word for word in told if word not in found.text], name


@pytest.mark.slow
def test_every_reason_has_its_place(site):
    found = page(site, "reference/reasons.html")
    assert {*REASONS} <= found.places
    for word, meaning in REASONS.items():
        told = re.sub("[`*]", "", meaning)
        assert f"{word} {told}" in re.sub("[’‘]", "'", found.text).replace("“", '"'), word


@pytest.mark.slow
def test_every_command_and_option_has_its_place(site):
    found = page(site, "reference/commands.html")
    for name, command in get_command(app).commands.items():
        for word, inner in getattr(command, "commands", {name: command}).items():
            called = name if word == name else f"{name} {word}"
            assert called.replace(" ", "-") in found.places
            words = [word for param in inner.params for word in param.opts]
            options = [word for word in words if word.startswith("-") and word != "--help"]
            arguments = [
                one.metavar or one.name.upper() for one in inner.params if one.opts[0][0] != "-"
            ]
            assert not [word for word in options + arguments if word not in found.text], called


@pytest.mark.slow
def test_every_notebook_guide_and_lesson_is_a_page(site):
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        if path.parent == ROOT / "nbs" or ".ipynb_checkpoints" in path.parts:
            continue
        place = site / "notebooks" / path.relative_to(ROOT / "nbs").with_suffix(".html")
        text = html.unescape(place.read_text(encoding="utf-8"))
        title = re.search(r"^# (.+)$", nbformat.read(path, 4).cells[1].source, re.M)[1]
        assert title.replace("`", "") in page(site, place).text
        assert "#|" not in re.sub("<[^>]+>", "", text), "a directive of nbdev is shown"
    for path in (ROOT / "docs" / "guides").glob("*.md"):
        assert (site / "guides" / f"{path.stem}.html").exists()
    exercises = [*(ROOT / "tutorials" / "exercises").glob("[0-9]_*.ipynb")]
    landing = (site / "lessons" / "index.html").read_text(encoding="utf-8")
    assert exercises and all(f'href="{path.stem}.html"' in landing for path in exercises)


@pytest.mark.slow
def test_each_name_of_the_table_leads_to_its_description(site):
    table = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    names = [
        name
        for row in re.findall(r"^\| (`.*?) \| ", table, re.M)
        for name in re.findall(r"`([\w.]+)`", row)
    ]
    linked = page(site, "reference/index.html").linked
    assert len(names) > 60 and not [name for name in names if name not in linked]


@pytest.mark.slow
def test_each_section_has_a_page_of_its_own(site):
    sections = {path.relative_to(site).parts[0] for path in site.rglob("*.html")} - {"_static"}
    folders = {name for name in sections if not name.endswith(".html")}
    assert folders == {"guides", "lessons", "reports", "reference", "notebooks", "project"}
    start = (site / "index.html").read_text(encoding="utf-8")
    for name in folders:
        assert f'href="{name}/index.html"' in start
        assert len(page(site, f"{name}/index.html").text) > 500


@pytest.mark.slow
def test_the_search_knows_what_is_on_the_pages(site):
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    names = index["docnames"]
    hits = index["terms"]["upsert"]
    found = {names[n] for n in ([hits] if isinstance(hits, int) else hits)}
    assert "guides/what_is_replaced" in found


@pytest.mark.slow
def test_no_page_tells_of_the_machine_that_built_it(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text and str(Path.home()) + "/" not in text, path


# --- the tools themselves -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('<a href="other.html#here">x</a>', []),
        ('<a href="other.html">x</a><a href="#me" id="me">y</a>', []),
        ('<a href="https://example.com/">x</a>', []),
        ('<a href="gone.html">x</a>', ["gone.html is not there"]),
        ('<a href="other.html#nowhere">x</a>', ["no such place"]),
        ('<a href="#nowhere">x</a>', ["no such place"]),
        ('<img src="gone.png">', ["gone.png is not there"]),
        ('<script src="https://example.com/a.js"></script>', ["loads https://example.com"]),
        ('<script src="//example.com/a.js"></script>', ["loads //example.com"]),
        ('<link rel="stylesheet" href="https://example.com/a.css">', ["loads https:"]),
        ('<p style="background: url(https://example.com/a.png)">', ["loads https:"]),
        ("<style>@import 'https://example.com/a.css';</style>", ["loads https:"]),
        ('<img srcset="https://example.com/a.png 2x">', ["loads https:"]),
    ],
)
def test_what_is_wrong_with_a_link_is_found(body, told, tmp_path):
    (tmp_path / "page.html").write_text(f"<html><body>{body}</body></html>")
    (tmp_path / "other.html").write_text('<p id="here">there</p>')
    found = links.faults(tmp_path)
    assert len(found) == len(told), found
    assert all(words in line for words, line in zip(told, found, strict=True))


def test_a_style_sheet_that_calls_another_host_is_found(tmp_path):
    (tmp_path / "a.css").write_text("p { background: url('https://example.com/a.png') }")
    assert links.faults(tmp_path) == ["a.css: loads https://example.com/a.png"]


@pytest.mark.parametrize("folders", [[], ["{}/nowhere"], ["{}"], ["{}", "{}"]])
def test_where_there_are_no_pages_the_links_are_not_called_good(folders, tmp_path):
    command = [sys.executable, TOOLS / "links.py", *(one.format(tmp_path) for one in folders)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout and "Traceback" not in done.stderr


words = st.text(alphabet="ab *_|\\:<>.,()'\"-~/#", min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.booleans(), words), min_size=1, max_size=5))
def test_a_docstring_means_what_it_says(parts):
    docutils = pytest.importorskip("docutils.core")
    parts = [(is_code and "".join(text.split()) != "", text) for is_code, text in parts]
    text = "x" + "".join(f"`{part}`" if is_code else part for is_code, part in parts) + "x"
    quiet = {"report_level": 5, "halt_level": 5, "smart_quotes": False}
    made = docutils.publish_doctree(reference.plain(text), settings_overrides=quiet)
    told = "x" + "".join(" ".join(part.split()) if is_code else part for is_code, part in parts)
    assert "".join(made.astext().split()) == "".join(f"{told}x".split())


def test_the_pictures_are_small_and_load_nothing():
    pictures = [*(ROOT / "docs" / "pictures").glob("*.svg")]
    assert len(pictures) >= 2
    for path in pictures:
        text = path.read_text(encoding="utf-8")
        assert len(text) < 20_000 and "href" not in text and "<script" not in text
        assert set(re.findall(r"https?://[^\"]+", text)) == {"http://www.w3.org/2000/svg"}


def test_a_page_of_the_project_keeps_its_links_where_they_lead_somewhere(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    relinked = tool("docs").relinked
    text = "[g](docs/guides/history.md#x) [n](nbs/04_rows/01_naming.ipynb) [t](tests/conftest.py)"
    assert (
        relinked(text) == "[g](../guides/history.md#x) [n](../notebooks/04_rows/01_naming.ipynb) t"
    )
    assert relinked("[s](SECURITY.md) [h](#here) [w](https://example.com/)") == (
        "[s](security.md) [h](#here) [w](https://example.com/)"
    )


def test_the_readme_leads_to_files_that_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if ":" not in target]
    assert len(targets) >= 6 and all((ROOT / target).exists() for target in targets)
