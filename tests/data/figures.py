"""Find numbers in displayed texts that have neither a unit nor a counted noun."""

import re
from html.parser import HTMLParser

NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
# Numbers without a unit by nature: instants, names, identifiers, hashes, versions, shares of 1 with their name.
NO_FIGURE = re.compile(
    "|".join(
        (
            r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::[\d.]+)?)?(?: UTC|Z)?",
            r"\b\d\d:\d\d(?::\d\d)?\b",
            r"^\d{4}-\d\d$",
            rf"\b{MONTH} \d+\b",
            rf"\b\d+ {MONTH}\b",
            r"\bUTC[+-]\d+\b",
            r"\b[0-9a-f]{8,}\b",
            r"\bSHA-256\b",
            r"\+\d[\d ]{6,}\d\b",  # telephone number
            r"\b\d+(?:\.\d+){2,}(?:[-+.]\w+)*",
            r"\b[a-z_]+(?:-[a-z_]+)*-\d+\b",
            r"\b[A-Z]+\d+(?:\.\w+)?\b",
            r"\b[a-z_]+:\d+\b",
            r"\blevels? \d+(?: (?:→|of) \d+)?",
            r"\b(?:[Aa]lert|Hazard|Health|Advice|decision|entry|event|explain) \d+\b",
            r"\b(?:holds|revision|version|vote|message) \d+\b",
            r"\b(?:No\.|Slopeward|asks for|was|before|asked|after) \d+\b",
            r"\bstrength of the season [\d.]+, of the trend [\d.]+; 1 = nothing else\b",
            r"\bstrength of that season [\d.]+",
            r"\b(?:coverage|probability|exponent) \d+(?:\.\d+)?\b",
            r"\b[\w ]+ = -?\d+(?:\.\d+)?",
            r"\bM \d(?:\.\d+)?\b",
            r"\b1 / velocity\b|\b1/v\b",
            r"\b(?:pit|bench|opening of) \d+\b",
            r"\b\d{3} Gone\b",  # status line of a server
        )
    )
)
UNIT = (
    r"(?:mm/day²|mm/day|day/mm|mm|cm|km|m²|m|kPa|mrad|y|%|°|degrees?|ms|s|min|h|d|g|GiB|MiB|years?|days?|hours?"
    r"|minutes?|seconds?)(?![\w])"
)
COUNTED = (
    r"(?:needed|witness(?:es)?|hits?|data epochs?|epochs?|stations?|readings?|windows?|looks?|times|standard errors?"
    r"|errors|failures?|steps?"
    r"|of the bound|open|open alerts?|alerts?|not acknowledged|sessions?|series|sites?|rows?|tables?|messages?|filters"
    r"|recipients?|notified|attempts?|footprints?|more|independent|issue times|targets|forecasts?|codes?"
    r"|suggestions?|notices?|waiting|ok|late|silent|stale|stuck|flagged|unknown|to be verified|without a stage"
    r"|shown|others?|scored|confirmed|with the message|not reached)\b"
)
LINK = r"(?: ?(?:±|to|of the last|of its last|of|over|against|x|and) ?| ?- ?|, )"
FIGURE = re.compile(rf"(?<![\w.#|]){NUMBER}(?:{LINK}{NUMBER})*(?P<after> ?{UNIT}| {COUNTED}|\))?")


def bare_figures(text: str) -> list[str]:
    """Return the numbers of a sentence without a following unit or counted noun, each with its surroundings."""
    remaining = NO_FIGURE.sub("_", text)
    return [remaining[max(0, m.start() - 40) : m.end() + 25] for m in FIGURE.finditer(remaining) if not m["after"]]


# Headings of columns and facts whose numbers are levels, counts, shares of 1 or identifiers.
COUNTS = frozenset(
    "level n no. votes witnesses open-alerts skill attempts revision hazard health advice probability".split()
)
OWN_WORDS = frozenset({"Author and reason"})  # columns with text of operators


class Blocks(HTMLParser):
    """The text blocks of a page, each with the heading of its column or fact."""

    INLINE = frozenset({"b", "i", "em", "small", "span", "a", "code", "time", "button", "label", "title", "text"})
    UNREAD = frozenset(
        {"script", "style", "pre", "code", "select", "noscript"}
    )  # also elements that the browser renders itself
    VOID = frozenset({"meta", "link", "input", "br", "hr", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.blocks: list[tuple[str, str]] = []
        self._heads: list[str] = []
        self._column, self._hidden, self._text, self._term, self._head = 0, 0, "", "", ""
        self._machine = False
        self.feed(page)
        self._end()

    def _end(self) -> None:
        block = " ".join(self._text.split())
        if block and not self._machine and block[0] not in "{[":  # keys of JSON contain the unit
            self.blocks.append((self._head, block))
        self._text, self._head, self._machine = "", "", False

    def handle_starttag(self, tag, attrs):
        if tag in self.UNREAD:
            self._hidden += 1
        if tag in self.INLINE or tag in self.VOID:
            self._text += " "
            return
        self._end()
        if tag == "table":
            self._heads = []
        if tag == "tr":
            self._column = 0
        if tag in {"td", "th"}:
            self._machine = dict(attrs).get("class") == "hash"
            self._head = self._heads[self._column] if self._column < len(self._heads) else ""
            self._column += 1
        if tag == "dd":
            self._head = self._term

    def handle_endtag(self, tag):
        if tag in self.UNREAD:
            self._hidden -= 1
        if tag in self.INLINE:
            return
        if tag == "th" and self._column > len(self._heads):
            self._heads.append(" ".join(self._text.split()))
        if tag == "dt":
            self._term = " ".join(self._text.split())
        self._end()

    def handle_data(self, data):
        if not self._hidden:
            self._text += data


def bare_figures_of_page(page: str) -> list[str]:
    """Return the numbers of a page without a unit. The heading of a column or fact may contain the unit."""
    figures = []
    for head, text in Blocks(page).blocks:
        if re.search(rf"(?:^|[ (]){UNIT}", head) or head in OWN_WORDS or head.lower().replace(" ", "-") in COUNTS:
            continue
        figures += [f"{head}: {bare}" if head else bare for bare in bare_figures(text)]
    return figures
