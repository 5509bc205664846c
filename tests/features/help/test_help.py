"""The search of the help, its pages, and the links to them from other pages and from errors."""

import re
import tomllib
from pathlib import Path

import pytest

from monitor.features.help import library
from monitor.features.help.queries import HelpIndex, IndexedSection
from monitor.plugins import list_folders
from monitor.text.message import Template
from monitor.web.parts.templating import HELP_ON, find_help
from tests.data.product_texts import PACKAGES, TemplateTexts, read_strings
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter

ROOT = Path(__file__).parents[3]
TEMPLATES = [ROOT / "monitor/web/templates", *list_folders("templates")]
LINKED = re.compile(r"""link_help\("([^"]+)"\)|href="/help/([^"{]+)\"""")
QUESTIONS = tomllib.loads(Path(__file__).with_name("questions.toml").read_text(encoding="utf-8"))
# How many questions are answered within the first three hits.
REQUIRED_ANSWERS = {"tuned": 36, "held_out": 32}
PAGES_BY_QUESTION = {
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
    """Yield the texts in code and HTML that a person may read."""
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        # Parsing every module takes seconds, and most mention neither.
        if re.search("docs/|help/", path.read_text(encoding="utf-8")):
            yield from read_strings(path)
    for path in (path for folder in TEMPLATES for path in folder.rglob("*.html")):
        yield from TemplateTexts(path.read_text(encoding="utf-8")).texts


@pytest.fixture(params=["with_reference", "without_reference"])
def reference(request, monkeypatch):
    """Search with the generated pages, and without them as at the first search after a start."""
    library.generate_reference()
    if request.param == "without_reference":
        monkeypatch.setattr(library, "_reference", {})


@pytest.fixture(scope="module")
def headings():
    """Return the headings of each written page by its name."""
    return {
        name: {section.heading for section in library.split_sections(library.load_text(name))}
        for name in library.load_pages().keys() - library.GENERATED.keys()
    }


@pytest.mark.usefixtures("reference")
def test_question_finds_its_page_among_the_first_three():
    hits = {query: [hit.page.name for hit in library.search_help(query)[:3]] for query in PAGES_BY_QUESTION}
    assert {query: names for query, names in hits.items() if PAGES_BY_QUESTION[query] not in names} == {}


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize("group", QUESTIONS)
def test_most_questions_are_answered_among_the_first_three(group, headings):
    unanswered = []
    for query, answers in QUESTIONS[group].items():
        pages = [hit.page.name for hit in library.search_help(query)[:3]]
        found_headings = set().union(*(headings.get(name, set()) for name in pages))
        if found_headings.isdisjoint(remove_code_marks(answers)):
            unanswered.append((query, pages))
    assert len(QUESTIONS[group]) == 40
    assert len(QUESTIONS[group]) - len(unanswered) >= REQUIRED_ANSWERS[group], unanswered


def test_every_answer_to_a_question_is_a_heading(headings):
    answers = {answer for group in QUESTIONS.values() for answers in group.values() for answer in answers}
    assert set(remove_code_marks(answers)) <= set().union(*headings.values())


def remove_code_marks(answers):
    return [answer.replace("`", "") for answer in answers]


def test_pages_for_developers_are_listed_but_not_found():
    developer_pages = {page.name for tab in library.load_tabs() if not tab.is_searched for page in tab.pages}
    assert {"architecture", "contribute/write-a-feature"} <= developer_pages
    queries = [library.load_pages()[name].title for name in developer_pages]
    hits = {hit.page.name for query in [*queries, *PAGES_BY_QUESTION] for hit in library.search_help(query)}
    assert hits
    assert hits.isdisjoint(developer_pages)


@pytest.fixture
def index():
    sections = [
        IndexedSection("sheets", "top", "Tables", "Read a workbook", "One sheet after the other."),
        IndexedSection("rain", "top", "Rain", "Set a threshold", "A threshold of rain, also for pictures of a gauge."),
        IndexedSection("zones", "top", "Clocks", "Zones", "The time zone of a site."),
    ]
    return HelpIndex(sections, [["excel", "workbook"], ["time zone", "utc offset"], ["photo", "picture"]])


@pytest.mark.parametrize(
    ("words", "pages"),
    [
        (["workbooks"], ["sheets"]),
        (["thresh"], ["rain"]),
        (["treshold"], ["rain"]),
        (["excel"], ["sheets"]),
        (["photos"], ["rain"]),
        (["utc", "offset"], ["zones"]),
        (["utc"], []),
        (["volcano"], []),
    ],
    ids=["stem", "unfinished", "misspelt", "synonym", "plural_of_synonym", "phrase", "part_of_a_phrase", "unknown"],
)
def test_word_is_found_by_its_stem_its_beginning_its_spelling_and_its_synonyms(index, words, pages):
    assert [match.page for match in index.find(words)] == pages


def test_word_in_a_heading_ranks_above_a_word_in_the_text():
    sections = [
        IndexedSection("text", "top", "One", "First", "An offset of an antenna and of a mast."),
        IndexedSection("heading", "top", "Two", "Offset", "A jump of an antenna and of a mast."),
    ]
    assert [match.page for match in HelpIndex(sections, []).find(["offset"])] == ["heading", "text"]


def test_typed_word_ranks_above_its_synonym():
    sections = [
        IndexedSection("synonym", "top", "One", "First", "A drill of the people of a mine."),
        IndexedSection("typed", "top", "Two", "Second", "A rehearsal of the people of a mine."),
    ]
    index = HelpIndex(sections, [["drill", "rehearsal"]])
    assert [match.page for match in index.find(["rehearsal"])] == ["typed", "synonym"]


def test_reference_that_cannot_be_generated_is_replaced_by_a_notice(monkeypatch):
    with library._GENERATION_LOCK:  # an earlier search may be generating them in the background
        monkeypatch.setattr(library, "_reference", {})
        monkeypatch.setattr(library.sys, "executable", "/nowhere/python")
    library.generate_reference()
    assert all("could not be generated" in text for text in library._reference.values())


def test_generated_pages_begin_with_their_titles():
    library.generate_reference()
    assert all(library.load_text(name).startswith(f"# {title}\n") for name, title in library.GENERATED.items())


def test_every_link_of_a_help_page_leads_to_a_page_and_a_heading():
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


def test_every_link_of_the_web_page_to_the_help_leads_to_a_heading():
    links = {
        (path.name, argument or address)
        for folder in TEMPLATES
        for path in folder.rglob("*.html")
        for argument, address in LINKED.findall(path.read_text(encoding="utf-8"))
    }
    for name, target in links:
        page, _, anchor = target.partition("#")
        assert page in library.load_pages(), f"{name}: {target}"
        assert not anchor or f'id="{anchor}"' in library.render_page(page), f"{name}: {target}"
    assert len({name for name, _ in links}) > 25
    assert set(HELP_ON.values()) <= library.load_pages().keys()


def test_error_links_to_the_help_page_of_its_subject():
    assert find_help(Template("login.test_help", "no")()) == "how-to/accounts"
    assert find_help("any text") == "how-to/page"


def test_no_text_of_the_program_names_a_file_of_the_documentation():
    assert not [text for text in read_product_texts() if re.search(r"docs/[\w/-]+\.md", text)]


def test_every_help_page_that_a_text_names_exists():
    links = {link for text in read_product_texts() for link in re.findall(r"/help/([a-z-]+/[a-z-]+)(#[a-z-]+)?", text)}
    assert {page for page, _ in links} <= library.load_pages().keys()
    assert len(links) >= 3
    anchors = [(page, anchor[1:]) for page, anchor in links if anchor]
    assert anchors
    for page, anchor in anchors:
        assert f'id="{anchor}"' in library.render_page(page), f"{page}#{anchor}"


def test_help_pages_are_served_and_matches_are_marked(filled_database):
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


@pytest.mark.parametrize(
    "query", ['"', "NEAR(", "a OR", "x" * 200, 'a"b', "a_b", "*", "(", "-", "\0", "über Größe", "AND NOT"]
)
def test_special_characters_do_not_break_the_search(query):
    library.search_help(query)
