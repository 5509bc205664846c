"""Numbers of texts that people read, and which of them say neither their unit nor what they count."""

import re
from html.parser import HTMLParser

NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
# what is no figure: instants, names and numbers of things, hashes, versions, a share of one beside its word
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
            r"\+\d[\d ]{6,}\d\b",  # of a telephone
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
            r"\b\d{3} Gone\b",  # names of places, and what a server answered
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
    """Numbers of a sentence after which neither a unit nor a counted thing stands, with what surrounds them."""
    said = NO_FIGURE.sub("_", text)
    return [said[max(0, m.start() - 40) : m.end() + 25] for m in FIGURE.finditer(said) if not m["after"]]


# headings of columns and facts whose numbers are levels, counts, shares of one or numbers of things
COUNTS = frozenset(
    "level n no. votes witnesses open-alerts skill attempts revision hazard health advice probability".split()
)
OWN_WORDS = frozenset({"Author and reason"})  # columns that show what a person wrote


class Blocks(HTMLParser):
    """A page as the pieces that a reader takes in at once, each with the heading of its column or fact."""

    INLINE = frozenset({"b", "i", "em", "small", "span", "a", "code", "time", "button", "label", "title", "text"})
    UNREAD = frozenset({"script", "style", "pre", "code", "select", "noscript"})  # and what the browser draws itself
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
        said = " ".join(self._text.split())
        if said and not self._machine and said[0] not in "{[":  # JSON names the unit in its keys
            self.blocks.append((self._head, said))
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
    """Numbers of a page without their unit; a column or fact may say it in its heading."""
    found = []
    for head, text in Blocks(page).blocks:
        if re.search(rf"(?:^|[ (]){UNIT}", head) or head in OWN_WORDS or head.lower().replace(" ", "-") in COUNTS:
            continue
        found += [f"{head}: {bare}" if head else bare for bare in bare_figures(text)]
    return found
