"""The documents in the program: found by what people type, rendered whole, linked from the page and its errors."""

import re
from pathlib import Path

import pytest

from monitor.features.help import library
from monitor.plugins import list_folders
from monitor.text.message import Template
from monitor.web.parts.templating import HELP_ON, find_help
from tests.data.product_texts import PACKAGES, TemplateTexts, read_strings
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter

ROOT = Path(__file__).parents[3]
TEMPLATES = [ROOT / "monitor/web/templates", *list_folders("templates")]
LINKED = re.compile(r"""link_help\("([^"]+)"\)|href="/help/([^"{]+)\"""")
QUESTIONS = {
    "where do I change a threshold": "how-to/change-thresholds",
    "what does orange need": "how-to/change-thresholds",
    "who was called": "how-to/notifications",
    "which model made this forecast": "how-to/forecast-models",
    "how do I back up the database": "how-to/database",
    "import a csv file": "how-to/import-files",
    "add an account for a colleague": "how-to/accounts",
    "how do I hold a drill": "how-to/drills",
    "how do I upgrade to a new version": "how-to/upgrade",
    "who is on duty tonight": "how-to/duty",
    "a station is silent": "how-to/troubleshooting",
    "no forecast": "how-to/forecast-models",
    "mail does not arrive": "how-to/troubleshooting",
    "service does not start": "how-to/troubleshooting",
    "wrong unit": "how-to/troubleshooting",
    "battery low": "how-to/instrument-health",
}


def read_product_texts():
    """What a person may read of the program, in code and in HTML."""
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        # Parsing every module takes seconds, and most mention neither.
        if re.search("docs/|help/", path.read_text(encoding="utf-8")):
            yield from read_strings(path)
    for path in (path for folder in TEMPLATES for path in folder.rglob("*.html")):
        yield from TemplateTexts(path.read_text(encoding="utf-8")).texts


def test_a_question_finds_its_page_among_the_first_three_with_and_without_the_reference(monkeypatch):
    def find_lost():
        found = {one: [hit.page.name for hit in library.search_help(one)[:3]] for one in QUESTIONS}
        return {one: names for one, names in found.items() if QUESTIONS[one] not in names}

    library.generate_reference()
    assert find_lost() == {}
    assert all(library.load_text(name).startswith(f"# {title}\n") for name, title in library.GENERATED.items())
    monkeypatch.setattr(library, "_reference", {})  # as at the first search after a start
    assert find_lost() == {}


def test_a_reference_that_cannot_be_written_says_so(monkeypatch):
    with library._GENERATION_LOCK:  # an earlier search may be generating them in the background
        monkeypatch.setattr(library, "_reference", {})
        monkeypatch.setattr(library.sys, "executable", "/nowhere/python")
    library.generate_reference()
    assert all("could not be generated" in text for text in library._reference.values())


def test_every_link_of_every_document_leads_to_a_page_and_a_heading():
    pages = {name: library.render_page(name) for name in library.load_pages()}
    anchors = {name: set(re.findall(r'<h\d id="([^"]*)"', html)) for name, html in pages.items()}
    wrong = []
    for name, html in pages.items():
        for target in re.findall(r'(?:href|src)="(/help/[^"]*|#[^"]*)"', html):
            path, _, anchor = target.partition("#")
            other = path.removeprefix("/help/") or name
            whole = other in pages or (library.find_folder() / other).is_file()
            wrong += [f"{name}: {target}"] if not whole or (anchor and anchor not in anchors.get(other, ())) else []
    assert not wrong
    assert sum(html.count('href="/help/') for html in pages.values()) > 300


def test_every_link_of_the_page_to_the_help_leads_to_a_heading():
    found = {
        (path.name, one or other)
        for folder in TEMPLATES
        for path in folder.rglob("*.html")
        for one, other in LINKED.findall(path.read_text(encoding="utf-8"))
    }
    for name, target in found:
        page, _, anchor = target.partition("#")
        assert page in library.load_pages(), f"{name}: {target}"
        assert not anchor or f'id="{anchor}"' in library.render_page(page), f"{name}: {target}"
    assert len({name for name, _ in found}) > 25
    assert set(HELP_ON.values()) <= library.load_pages().keys()


def test_an_error_leads_to_what_it_is_of():
    assert find_help(Template("login.test_help", "no")()) == "how-to/accounts"
    assert find_help("any text") == "how-to/page"


def test_no_text_of_the_program_names_a_file_of_the_documents():
    assert not [text for text in read_product_texts() if re.search(r"docs/[\w/-]+\.md", text)]


def test_a_page_named_in_a_text_is_there():
    named = {one for text in read_product_texts() for one in re.findall(r"/help/([a-z-]+/[a-z-]+)", text)}
    assert named <= library.load_pages().keys()
    assert len(named) >= 3


def test_the_help_is_read_searched_and_marked(filled_database):
    with serving(filled_database, Clock()) as address, enter(address, None) as browser:
        answer = browser.get("/help", params={"q": "escalation <s>"})
        assert "<mark>" in answer.text
        assert "<s>" not in answer.text
        page = browser.get("/help/how-to/duty")
        assert (page.status_code, "<h1 id=" in page.text) == (200, True)
        assert browser.get("/help/images/page.png").headers["content-type"] == "image/png"
        missing = browser.get("/help/how-to/no-such-page")
        assert (missing.status_code, "/help" in missing.text) == (404, True)
        assert browser.get("/help/..%2f../pyproject.toml").status_code == 404
        assert browser.get("/help/site.py").status_code == 404


@pytest.mark.parametrize("query", ['"', "NEAR(", "a OR", "x" * 200, "*", "(", "-", "\0", "über Größe", "AND NOT"])
def test_no_query_breaks_the_search(query):
    library.search_help(query)
