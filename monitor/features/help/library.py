"""The documents as the program has them: their order, their text as HTML, and a search over their sections.

They lie beside the sources or in the wheel; four pages of the reference are written from the program when first
needed, by a process of its own: it imports every verb. The search does without them until they are there. Nothing here
knows of a request.
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
from monitor.features.help.queries import HelpIndex

if TYPE_CHECKING:
    from markdown_it.token import Token

_HERE: Final = Path(__file__).resolve()
PLACES: Final = (_HERE.parents[3] / "docs", _HERE.parents[2] / "_docs")
WRITTEN: Final = {  # from the program, when they are first needed
    "reference/all-commands": "Every command and option",
    "reference/all-keys": "Every key of both files",
    "reference/all-paths": "Every path of the HTTP interface",
    "reference/all-views": "Every public view and column",
}
LIMIT_S: Final = 300.0  # for that process, on a machine that has other work
_LOG: Final = logging.getLogger(__name__)
_WRITING: Final = Lock()
_reference: dict[str, str] = {}  # those pages, once they are written
_FENCE: Final = re.compile(r" *(```|~~~)")
_HEADING: Final = re.compile(r"(#{1,6}) +(.+)")
_MARKS: Final = re.compile(r"\]\([^)]*\)|[`*|\[\]#]|-{3,}")
_SYMPTOMS: Final = "| you see |"  # begins a table: each of its rows is found like a section
_STOP: Final = {  # of a question: what stands in every page
    *re.findall(r"\w+", "a an and are at be by can do does for from how i in is it made me my of on or that"),
    *re.findall(r"\w+", "the there this to was we what when where which who why with you your"),
}


class HelpPage(NamedTuple):
    """One document."""

    name: str  # `how-to/duty`, as its address below `/help/`
    title: str


class HelpTab(NamedTuple):
    """Documents for one role, in the order of reading."""

    title: str
    about: str
    pages: tuple[HelpPage, ...]


class Hit(NamedTuple):
    """A section that was found."""

    page: HelpPage
    heading: str
    anchor: str
    excerpt: str


class HelpSection(NamedTuple):
    """What stands below one heading."""

    heading: str
    anchor: str
    text: str


def find_folder() -> Path:
    """The folder of the documents."""
    return next((place for place in PLACES if (place / "contents.toml").is_file()), PLACES[0])


@cache
def load_tabs() -> tuple[HelpTab, ...]:
    """All documents in the order of `contents.toml`; a name with `*` stands for what no other line names."""
    folder = find_folder()
    found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.md")}
    titles = dict(WRITTEN)
    for name, path in found.items():  # the first heading of a document
        heads = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
        titles[name] = _MARKS.sub("", next(heads, "  ")[2:]).strip()
    rows = tomllib.loads((folder / "contents.toml").read_text(encoding="utf-8"))["tab"]
    free = sorted(titles.keys() - {name for row in rows for name in row["pages"]})
    tabs = []
    for row in rows:
        names = [name for line in row["pages"] for name in (fnmatch.filter(free, line) if "*" in line else [line])]
        pages = tuple(HelpPage(name, titles[name]) for name in names if name in titles)
        tabs.append(HelpTab(row["title"], row["about"], pages))
    return tuple(tabs)


@cache
def load_text(name: str) -> str:
    """A document as Markdown."""
    if name in WRITTEN:
        write_reference()
        return _reference[name]
    return (find_folder() / f"{name}.md").read_text(encoding="utf-8")


def write_reference() -> None:
    """Have the pages of the reference written, once, by a process of its own; the second caller waits for the first."""
    with _WRITING:
        if _reference:
            return
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "monitor.features.help.reference"],
                capture_output=True,
                check=True,
                timeout=LIMIT_S,
                env=clean_environment(os.environ),  # neither passwords nor the settings of this service
            )
            _reference.update(json.loads(done.stdout))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            _LOG.warning("the pages of the reference could not be written: %s", error)
            _reference.update(
                dict.fromkeys(WRITTEN, "# This page could not be written\n\nSee the log of the service.\n")
            )


@cache
def begin_reference() -> None:
    """Have them written beside what goes on; a second call does nothing."""
    Thread(target=write_reference, name="help-reference", daemon=True).start()


@cache
def load_pages() -> dict[str, HelpPage]:
    """All documents by name."""
    return {page.name: page for tab in load_tabs() for page in tab.pages}


def make_anchor(heading: str) -> str:
    """The anchor of a heading, as the site of the documents has it.

    >>> make_anchor("Two services: one decides"), make_anchor("`[web]`")
    ('two-services-one-decides', 'web')
    """
    plain = unicodedata.normalize("NFC", _MARKS.sub("", heading))
    return re.sub(r"[^\w\- ]", "", plain).strip().lower().replace(" ", "-")


def make_anchors(headings: list[str]) -> list[str]:
    """Anchors of all headings of a page; the second of a kind has `_1` behind it."""
    found: list[str] = []
    for one in map(make_anchor, headings):
        count = sum(re.fullmatch(rf"{re.escape(one)}(_\d+)?", known) is not None for known in found)
        found.append(f"{one}_{count}" if count else one)
    return found


def split_sections(text: str) -> Iterator[HelpSection]:
    """What stands below each heading of a document; a `#` within code is none."""
    heads, bodies, is_code = [""], [[""]], False
    for line in text.splitlines():
        is_code ^= _FENCE.match(line) is not None
        if not is_code and (found := _HEADING.fullmatch(line)):
            heads.append(_MARKS.sub("", found[2]))
            bodies.append([])
        else:
            bodies[-1].append(line)
    for heading, anchor, body in zip(heads[1:], make_anchors(heads[1:]), bodies[1:], strict=True):
        yield HelpSection(heading, anchor, _read_plain("\n".join(body)))
        if any(line.startswith(_SYMPTOMS) for line in body):
            rows = (line for line in body if line.startswith("| ") and not line.startswith(_SYMPTOMS))
            yield from (HelpSection(_read_plain(row.split("|")[1]), anchor, _read_plain(row)) for row in rows)


def _read_plain(text: str) -> str:
    return " ".join(_MARKS.sub(" ", text).split())


def resolve_link(page: str, target: str) -> str:
    """The address below `/help` of what a document links to; empty where it is none of the documents.

    >>> resolve_link("how-to/page", "../reference/sql.md#times"), resolve_link("how-to/page", "../../monitor/x.py")
    ('/help/reference/sql#times', '')
    """
    if not target or target.startswith("#") or ":" in target:
        return target
    path, mark, anchor = target.partition("#")
    found = normpath(f"{page.rpartition('/')[0]}/{path}".lstrip("/"))
    if found.startswith("..") or Path(found).suffix not in {".md", ".png", ".jpg", ".svg", ".json"}:
        return ""
    return f"/help/{found.removesuffix('.md')}{mark}{anchor}"


@cache
def render_page(name: str) -> str:
    """A document as HTML: headings have anchors, links lead to other documents, tables can be scrolled."""
    from markdown_it import MarkdownIt  # 6 MiB for who reads the documents

    maker = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = maker.parse(re.sub(r"<!--.*?-->", "", load_text(name), flags=re.DOTALL))
    opens = [i for i, one in enumerate(tokens) if one.type == "heading_open"]
    for i, anchor in zip(opens, make_anchors([tokens[i + 1].content for i in opens]), strict=True):
        tokens[i].attrSet("id", anchor)
    for token in tokens:
        for one in token.children or ():
            _lead(one, name)
    html: str = maker.renderer.render(tokens, maker.options, {})
    html = html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
    return html.replace("<pre>", '<pre tabindex="0">')


def _lead(token: "Token", page: str) -> None:
    """Let a link or a picture lead to where it lies here; one that leaves the documents loses its address."""
    for kind in ("href", "src"):
        if kind in token.attrs:
            target = resolve_link(page, str(token.attrs[kind]))
            token.attrs = {**token.attrs, kind: target} if target else {}


@cache
def open_help_index(*, with_reference: bool) -> HelpIndex:
    """All sections in an index in memory, or those that need no page written from the program."""
    rows = [
        (page.name, one.anchor, page.title, one.heading, one.text)
        for page in load_pages().values()
        if with_reference or page.name not in WRITTEN
        for one in split_sections(load_text(page.name))
    ]
    return HelpIndex(rows)


def search_help(query: str) -> list[Hit]:
    """The best section of each page for words that people type, the fittest page first."""
    typed = re.findall(r"\w+", query.lower())
    wanted = [one for one in typed if one not in _STOP] or typed
    if not wanted:
        return []
    best: dict[str, Hit] = {}
    ranks: dict[str, float] = {}
    aside = {page.name for page in load_tabs()[-1].pages}  # what contributors read
    for name, anchor, heading, excerpt, fit in open_help_index(with_reference=bool(_reference)).find(wanted[:20]):
        rank = fit * (0.5 if name in WRITTEN or name in aside else 1.0)
        best.setdefault(name, Hit(load_pages()[name], heading, anchor, excerpt))
        ranks[name] = ranks.get(name, 0.0) + rank / (1 + 3 * (name in ranks))  # other sections of a page count less
    return sorted(best.values(), key=lambda hit: ranks[hit.page.name])[:20]
