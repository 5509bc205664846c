"""Plain English wherever a person reads: no pictures for alerts, no sentence that needs to be read twice."""

import ast
import functools
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from tests.architecture.syntax import walk

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("monitor", "forecasting", "detection")
LONGEST = 30  # words of a sentence
LONGEST_PARAGRAPH, LONGEST_PAGE = 90, 1800

# what is forbidden, and what to write
FORBIDDEN = {
    r"\btold\b|\btells?\b": "is notified, is reported, states, shows; for 'told apart': distinguished",
    r"\b(?:is|are|was|were|be|been|being|gets?) (?:\w+ly )?asked\b(?! for)": "requires confirmation, is questioned",
    r"\basked (?:about|anew|again|at once)\b": "questioned, confirmed anew",
    r"\bsp(?:eaks?|eaking|oke|oken)\b": "votes, reports, sends",
    r"\bwitness(?:es)? (?:says?|said)\b": "a witness votes",
    r"\b(?:one|first|second|another|last|rule's|criterion's|own|person's|somebody's"
    r"|people's|your|its|no) words?\b": "confirmation, answer, statement",
    r"\bon (?:the|somebody's|one) word\b": "on the statement of",
    r"\bhears?\b|\bheard\b": "receives, reports",
    r"\b(?:what|nothing|something) lies (?:there|around|behind)\b": "name the thing",
    r"\bdoubts\b": "questions, low confidence",
}
PICTURE = re.compile("|".join(f"(?:{pattern})" for pattern in FORBIDDEN), re.IGNORECASE)

# reasons and sentences that decisions freeze: (module, the phrase)
STORED = {
    ("monitor/decision/conditions.py", "person's word"),
    ("monitor/decision/evidence.py", "speaks"),
    ("monitor/decision/series/coseismic_steps.py", "your word"),
    ("monitor/decision/series/steps.py", "asked again"),
}


def find_pictures(text: str) -> list[str]:
    """Forbidden phrases of a text."""
    return [m.group().lower() for m in PICTURE.finditer(text)]


def read_blocks(text: str) -> Iterator[tuple[bool, str]]:
    """Whether it is a cell of a table, and a paragraph, heading or cell; code is one word, code blocks are none."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"(?<=\n\n)(?: {4}.*\n)+", "", text)
    blocks, block = [], ""
    for line in [*text.splitlines(), ""]:
        said = line.strip()
        item = re.match(r"(?:[-*>]|\d+\.) ", said)
        if not said or said.startswith(("#", "|")) or item:
            blocks.append((False, block))
            block = ""
        if said.startswith("|"):
            blocks += [(True, cell) for cell in said.strip("|").split("|")]
        elif said.startswith("#"):
            blocks.append((False, said.lstrip("# ")))
        elif said:
            block += " " + (said[item.end() :] if item else said)
    for is_cell, one in blocks:
        if plain := re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "code", one)).strip():
            yield is_cell, plain


def read_markdown(text: str) -> Iterator[str]:
    """Sentences of a document, cells of tables included."""
    for _, plain in read_blocks(text):
        yield from filter(None, re.split(r"(?<=[.!?:])[*_)\"]*\s+| · ", plain))


def count_words(sentence: str) -> int:
    """Words and numbers of a sentence."""
    return len(re.findall(r"[A-Za-z0-9][\w'./%-]*", sentence))


class Shown(HTMLParser):
    """What a template shows: its text, titles and labels, without the template's own language."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._hidden = False
        self.feed(re.sub(r"\{[{%#].*?[}%#]\}", " ", page, flags=re.DOTALL))

    def handle_starttag(self, tag, attrs):
        self._hidden = tag in {"script", "style", "code"}
        self.texts += [value or "" for name, value in attrs if name in {"title", "aria-label", "placeholder"}]

    def handle_endtag(self, _tag):
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden:
            self.texts.append(data)


@functools.cache
def read_strings(path: Path) -> list[tuple[int, str]]:
    """Texts of a module that a person may read, with their lines; of the commands also what `--help` shows."""
    nodes = list(walk(ast.parse(path.read_text(encoding="utf-8"))))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    silent = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, documented)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and not (path.is_relative_to(ROOT / "monitor" / "cli") and not isinstance(node, ast.ClassDef))
    }
    formatted = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    silent |= {id(part) for node in formatted for part in node.values}
    found = []
    for node in nodes:
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            text = node.value
        if " " in text.strip():
            found.append((node.lineno, re.sub(r"`[^`]*`", "code", text)))
    return found


def test_documents_hold_no_pictures():
    found = [
        f"{path.relative_to(ROOT)}: {', '.join(pictures)}: {sentence}"
        for path in DOCUMENTS
        for sentence in read_markdown(path.read_text(encoding="utf-8"))
        if (pictures := find_pictures(sentence))
    ]
    assert not found, "\n".join(found)


def test_no_sentence_of_a_document_is_long():
    found = [
        f"{path.relative_to(ROOT)}: {count_words(sentence)} words: {sentence}"
        for path in DOCUMENTS
        for sentence in read_markdown(path.read_text(encoding="utf-8"))
        if count_words(sentence) >= LONGEST
    ]
    assert not found, "\n".join(found)


def test_pages_and_paragraphs_are_short_and_each_page_begins_with_its_purpose():
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        if text.startswith("<!-- generated by "):
            continue
        blocks = [block for is_cell, block in read_blocks(text) if not is_cell]
        name, words = path.relative_to(ROOT).as_posix(), len(text.split())
        found += [f"{name}: {words} words"] if words > LONGEST_PAGE else []
        found += [f"{name}: {len(one.split())} words: {one}" for one in blocks if len(one.split()) > LONGEST_PARAGRAPH]
        if (
            name != "README.md"
            and not re.match(r"docs/adr/\d", name)
            and not blocks[1].startswith(("This page", "This fold"))
        ):
            found.append(f"{name}: {blocks[1]}")
    assert not found, "\n".join(found)


def test_messages_errors_log_lines_and_help_hold_no_pictures():
    found = set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            found |= {
                f"{name}:{line}: {picture}: {' '.join(text.split())}"
                for line, text in read_strings(path)
                for picture in find_pictures(text)
                if (name, picture) not in STORED
            }
    assert not found, "\n".join(sorted(found))


def test_no_message_is_one_long_sentence():
    """Texts over several lines are files and queries; what a command's help says of its parts is read as a document."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {count_words(sentence)} words: {sentence}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in read_strings(path)
        if "\n" not in text.strip() and not text.startswith(("SELECT ", "WITH "))
        for sentence in re.split(r"(?<=[.!?:;])\s+", text)
        if count_words(sentence) >= LONGEST
    ]
    assert not found, "\n".join(found)


def test_the_page_holds_no_pictures():
    found = []
    for path in sorted((ROOT / "monitor").rglob("*.html")):
        texts = Shown(path.read_text(encoding="utf-8")).texts
        found += [f"{path.name}: {p}: {text.strip()}" for text in texts for p in find_pictures(text)]
    for path in sorted((ROOT / "monitor").rglob("*.js")):
        texts = re.findall(r'"[^"\n]* [^"\n]*"|`[^`\n]* [^`\n]*`', path.read_text(encoding="utf-8"))
        found += [f"{path.name}: {p}: {text}" for text in texts for p in find_pictures(text)]
    assert not found, "\n".join(found)


def test_every_wording_that_is_kept_is_still_there():
    kept = {name: " ".join(text for _, text in read_strings(ROOT / name)) for name, _ in STORED}
    assert [one for one in sorted(STORED) if one[1] not in find_pictures(kept[one[0]])] == []


def test_a_picture_and_a_long_sentence_are_caught():
    assert find_pictures("The duty person is told, and two witnesses speak.") == ["told", "speak"]
    assert find_pictures("A step is asked about; it counts on somebody's word.") == ["is asked", "on somebody's word"]
    assert find_pictures("slopeward people users add asks for a password of three or four words") == []
    [first, second] = read_markdown("Text with `code that is one word`. And\nmore.\n\n```\nnot this\n```\n")
    assert (count_words(first), second) == (3, "And more.")
    assert Shown('<p title="who was told">a</p><code>told</code>').texts == ["who was told", "a"]
