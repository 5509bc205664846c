"""The pages of the documentation: their order, their text as HTML, and a search over their sections.

The pages are stored beside the sources or in the wheel. Four pages of the reference are generated from the program in a
child process when they are first needed, because generating them imports every command. Until then the search leaves
them out.
"""

import fnmatch
import json
import logging
import os
import re
import subprocess
import sys
import tomllib
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from posixpath import normpath
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final, NamedTuple

from monitor.api.worker import clean_environment
from monitor.features.help.queries import HelpIndex, IndexedSection

if TYPE_CHECKING:
    from markdown_it.token import Token

_HERE: Final = Path(__file__).resolve()
FOLDERS: Final = (_HERE.parents[3] / "docs", _HERE.parents[2] / "_docs")
GENERATED: Final = {  # titles of the pages that are generated from the program
    "reference/all-commands": "Every command and option",
    "reference/all-keys": "Every key of both files",
    "reference/all-paths": "Every path of the HTTP interface",
    "reference/all-views": "Every public view and column",
}
GENERATION_LIMIT_S: Final = 300.0  # also on a busy machine
_LOG: Final = logging.getLogger(__name__)
_GENERATION_LOCK: Final = Lock()
_reference: dict[str, str] = {}  # the generated pages by name; empty before they are generated
_FENCE: Final = re.compile(r" *(```|~~~)")
_HEADING: Final = re.compile(r"(#{1,6}) +(.+)")
_MARKS: Final = re.compile(r"\]\([^)]*\)|[`*|\[\]#]|-{3,}")
_STOP_WORDS: Final = {  # words of questions that do not name a subject
    *re.findall(r"\w+", "a an and are at be by can do does for from how i in is it made me my of on or that"),
    *re.findall(r"\w+", "the there this to was we what when where which who why with you your"),
}


class HelpPage(NamedTuple):
    """A page of the documentation."""

    name: str  # its address below `/help/`, such as `how-to/duty`
    title: str


class HelpTab(NamedTuple):
    """Pages for one role, in reading order."""

    title: str
    about: str
    pages: tuple[HelpPage, ...]
    is_searched: bool  # false for pages about the development of the program


class Hit(NamedTuple):
    """A section that a search found."""

    page: HelpPage
    heading: str
    anchor: str
    excerpt: str


class HelpSection(NamedTuple):
    """The text below one heading."""

    heading: str
    anchor: str
    text: str


def find_folder() -> Path:
    """Return the folder of the documentation."""
    return next((folder for folder in FOLDERS if (folder / "contents.toml").is_file()), FOLDERS[0])


@cache
def load_tabs() -> tuple[HelpTab, ...]:
    """Return all pages in the order of `contents.toml`. A name with `*` matches the pages that no other line names."""
    folder = find_folder()
    titles = dict(GENERATED)
    for path in folder.rglob("*.md"):
        headings = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
        name = path.relative_to(folder).with_suffix("").as_posix()
        titles[name] = _MARKS.sub("", next(headings, "  ")[2:]).strip()
    rows = tomllib.loads((folder / "contents.toml").read_text(encoding="utf-8"))["tab"]
    unnamed = sorted(titles.keys() - {name for row in rows for name in row["pages"]})
    tabs = []
    for row in rows:
        names = [name for line in row["pages"] for name in (fnmatch.filter(unnamed, line) if "*" in line else [line])]
        pages = tuple(HelpPage(name, titles[name]) for name in names if name in titles)
        tabs.append(HelpTab(row["title"], row["about"], pages, is_searched=row.get("searched", True)))
    return tuple(tabs)


@cache
def load_text(name: str) -> str:
    """Return a page as Markdown."""
    if name in GENERATED:
        generate_reference()
        return _reference[name]
    return (find_folder() / f"{name}.md").read_text(encoding="utf-8")


def generate_reference() -> None:
    """Generate the pages of the reference once, in a child process. A second caller waits for the first."""
    with _GENERATION_LOCK:
        if _reference:
            return
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "monitor.features.help.reference"],
                capture_output=True,
                check=True,
                timeout=GENERATION_LIMIT_S,
                # Without passwords and the settings of this service.
                env=clean_environment(os.environ),
            )
            _reference.update(json.loads(done.stdout))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            _LOG.warning("the pages of the reference could not be generated: %s", error)
            _reference.update(
                dict.fromkeys(GENERATED, "# This page could not be generated\n\nSee the log of the service.\n")
            )


@cache
def start_generating_reference() -> None:
    """Generate the pages of the reference in a thread. A second call does nothing."""
    Thread(target=generate_reference, name="help-reference", daemon=True).start()


@cache
def load_pages() -> dict[str, HelpPage]:
    """Return all pages by name."""
    return {page.name: page for tab in load_tabs() for page in tab.pages}


def make_anchor(heading: str) -> str:
    """Return the anchor of a heading, equal to that of the documentation site.

    >>> make_anchor("Two services: one decides"), make_anchor("`[web]`")
    ('two-services-one-decides', 'web')
    """
    plain = unicodedata.normalize("NFC", _MARKS.sub("", heading))
    return re.sub(r"[^\w\- ]", "", plain).strip().lower().replace(" ", "-")


def make_anchors(headings: list[str]) -> list[str]:
    """Return the anchors of all headings of a page. The second of two equal anchors ends in `_1`."""
    anchors: list[str] = []
    for anchor in map(make_anchor, headings):
        pattern = rf"{re.escape(anchor)}(_\d+)?"
        count = sum(re.fullmatch(pattern, earlier) is not None for earlier in anchors)
        anchors.append(f"{anchor}_{count}" if count else anchor)
    return anchors


def split_sections(text: str) -> Iterator[HelpSection]:
    """Yield the text below each heading of a page. A `#` in a code block is no heading."""
    headings: list[str] = []
    bodies: list[list[str]] = []
    is_code = False
    for line in text.splitlines():
        is_code ^= _FENCE.match(line) is not None
        match = None if is_code else _HEADING.fullmatch(line)
        if match is not None:
            headings.append(_MARKS.sub("", match[2]))
            bodies.append([])
        elif bodies:
            bodies[-1].append(line)
    for heading, anchor, body in zip(headings, make_anchors(headings), bodies, strict=True):
        yield HelpSection(heading, anchor, _read_plain("\n".join(body)))


def _read_plain(text: str) -> str:
    return " ".join(_MARKS.sub(" ", text).split())


def resolve_link(page: str, target: str) -> str:
    """Return the address below `/help` of a link; an empty text if the link leads out of the documentation.

    >>> resolve_link("how-to/page", "../reference/sql.md#times"), resolve_link("how-to/page", "../../monitor/x.py")
    ('/help/reference/sql#times', '')
    """
    if not target or target.startswith("#") or ":" in target:
        return target
    path, mark, anchor = target.partition("#")
    address = normpath(f"{page.rpartition('/')[0]}/{path}".lstrip("/"))
    if address.startswith("..") or Path(address).suffix not in {".md", ".png", ".jpg", ".svg", ".json"}:
        return ""
    return f"/help/{address.removesuffix('.md')}{mark}{anchor}"


@cache
def render_page(name: str) -> str:
    """Return a page as HTML with anchors, links to other pages and tables that scroll."""
    # Imported here because it takes 6 MiB of memory.
    from markdown_it import MarkdownIt

    maker = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = maker.parse(re.sub(r"<!--.*?-->", "", load_text(name), flags=re.DOTALL))
    indices = [index for index, token in enumerate(tokens) if token.type == "heading_open"]
    anchors = make_anchors([tokens[index + 1].content for index in indices])
    for index, anchor in zip(indices, anchors, strict=True):
        tokens[index].attrSet("id", anchor)
    for token in tokens:
        for child in token.children or ():
            _resolve_links(child, name)
    html: str = maker.renderer.render(tokens, maker.options, {})
    html = html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
    return html.replace("<pre>", '<pre tabindex="0">')


def _resolve_links(token: "Token", page: str) -> None:
    """Change the address of a link or picture to the one below `/help`. Other addresses are removed."""
    for kind in ("href", "src"):
        if kind in token.attrs:
            target = resolve_link(page, str(token.attrs[kind]))
            token.attrs = {**token.attrs, kind: target} if target else {}


@cache
def load_synonyms() -> list[list[str]]:
    """Return groups of words and phrases that mean the same in a search."""
    groups: list[list[str]] = tomllib.loads(_HERE.with_name("synonyms.toml").read_text(encoding="utf-8"))["groups"]
    return groups


@cache
def open_help_index(*, with_reference: bool) -> HelpIndex:
    """Return an index in memory of the sections that are searched, with or without the generated pages."""
    pages = [page for tab in load_tabs() if tab.is_searched for page in tab.pages]
    sections = (
        IndexedSection(page.name, section.anchor, page.title, section.heading, section.text)
        for page in pages
        if with_reference or page.name not in GENERATED
        for section in split_sections(load_text(page.name))
    )
    return HelpIndex(sections, load_synonyms())


def search_help(query: str) -> list[Hit]:
    """Return the best section of each page for a query, best page first. Pages for developers are left out."""
    typed = re.findall(r"\w+", query.lower())
    words = [word for word in typed if word not in _STOP_WORDS] or typed
    if not words:
        return []
    hits: dict[str, Hit] = {}
    ranks: dict[str, float] = {}
    for match in open_help_index(with_reference=bool(_reference)).find(words[:20]):
        if match.page in hits:
            continue
        hits[match.page] = Hit(load_pages()[match.page], match.heading, match.anchor, match.excerpt)
        # Generated pages contain nearly every word, and rank lower.
        ranks[match.page] = match.rank * (0.5 if match.page in GENERATED else 1.0)
    return sorted(hits.values(), key=lambda hit: ranks[hit.page.name])[:20]
