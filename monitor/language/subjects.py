"""The subject of a message as people read it: in their language and zone, and short enough for a lock screen.

Stored subjects are whole, in English and UTC: `RED Nordhang: close the road, call the manager. 302 mm/day, 5 stations.
2026-03-01T19:34Z`. Level and site come first and stay; what is to be done comes next; then facts, and the clock last.
"""

import re
from datetime import UTC, datetime
from typing import Final

from monitor.language.cutting import CUT, cut_words, shorten
from monitor.language.local_time import respell, spell_local, zone_in_use
from monitor.language.sayings import say, say_level
from monitor.language.vocabulary import LEVELS

LONGEST: Final = 78  # RFC 5322, section 2.1.1; a lock screen shows the first forty
_LEAST: Final = 12  # characters of a fact that still say something
_TITLE: Final = 12  # of the name of a site
_PREFIX: Final = re.compile(
    r"^(EXERCISE:? |DELAYED: |(?:open|not acknowledged) for \d+\w+(?: \d+\w+)?: |nobody else could be reached: )"
)
_SUBJECT: Final = re.compile(r"^(?P<head>[^:]+): (?P<facts>.*)\. (?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d)Z$", re.DOTALL)
_CLAUSE: Final = re.compile("[,;\uff0c\uff1b\u3002]")
_KIND: Final = re.compile(r"^((?:Health|Advice) (?:clear|notice|urgent)|\S+) ")


def say_subject(subject: str, language: str, most: int = LONGEST) -> str:
    """A stored subject as it goes out; one of another form is translated and cut, not put in this order.

    >>> stored = "RED Nordhang: close the road, call the manager. 302 mm/day, 5 stations. 2026-03-01T19:34Z"
    >>> say_subject(stored, "en")
    'RED Nordhang: close the road, call the manager. 302 mm/day, 5 stations. 19:34'
    >>> say_subject(stored, "en", 60)
    'RED Nordhang: close the road. 302 mm/day, 5 stations. 19:34'
    """
    prefix, rest = "", subject
    while found := _PREFIX.match(rest):
        prefix += _say_prefix(found[1], language)
        rest = rest[found.end() :]
    parts = _SUBJECT.match(rest)
    if parts is None:
        said = f"{prefix}{respell(str(say(rest, language)))}"
        return shorten(said, most, head=f"{said.partition(': ')[0]}: ")
    action, _, essence = parts["facts"].rpartition(". ")
    at = datetime.fromisoformat(parts["at"]).replace(tzinfo=UTC)
    clock = spell_local(at, zone_in_use() or "UTC")[11:]
    kind, title = _say_head(parts["head"], language)
    return _fit(f"{prefix}{kind}", title, action, str(say(essence, language)), clock, most)


def _say_prefix(prefix: str, language: str) -> str:
    """What stands before a subject: that it is a drill, or sent once more."""
    bare = prefix.rstrip(": ")
    mark = prefix[len(bare) :]
    return f"{say(bare, language)}{mark}"


def _say_head(head: str, language: str) -> tuple[str, str]:
    """Level or kind, and the name of the site, which stays as it is."""
    found = _KIND.match(head)
    if found is None:
        return head, ""
    kind, title = found[1], head[found.end() :]
    if kind.lower() in LEVELS:
        return str(say_level(kind, language)), title
    return (str(say(kind, language)), title) if " " in kind else (kind, title)


def _fit(kind: str, title: str, action: str, essence: str, clock: str, most: int) -> str:
    """The longest form that fits: what gives way first are facts, then the end of the title, then that of the action.

    Level, begin of the title, begin of the action, first figure and clock stay as long as there is room for them.
    """
    clause, figure = (_CLAUSE.split(text)[0].strip() for text in (action, essence))
    for do in dict.fromkeys((action, clause)):
        if len(found := _join(kind, title, do, essence, clock)) <= most:
            return found
    room = most - len(_join(kind, title, clause, "", clock)) - 2
    if room >= min(len(figure) + len(CUT), 2 * _LEAST) or (not clause and room >= _LEAST):
        return _join(kind, title, clause, _cut_facts(essence, figure, room), clock)
    figure = cut_words(figure, 2 * _LEAST)
    others = len(_join(kind, "", clause, figure, clock))
    title = cut_words(title, max(_TITLE, most - others - 1))
    if len(found := _join(kind, title, clause, figure, clock)) <= most:
        return found
    room = most - len(_join(kind, title, "", figure, clock)) - 2
    if room < _LEAST:
        figure, room = "", most - len(_join(kind, title, "", "", clock)) - 2
    found = _join(kind, title, cut_words(clause, max(room, _LEAST)), figure, clock)
    return found if len(found) <= most else cut_words(found, most)


def _cut_facts(essence: str, figure: str, room: int) -> str:
    """Fewer facts; of a single one its first words."""
    return shorten(essence, room) if len(figure) + len(CUT) <= room else cut_words(figure, room)


def _join(kind: str, title: str, *parts: str) -> str:
    """One line; behind what was cut stands no full stop."""
    facts = ". ".join(part for part in parts if part).replace(f"{CUT}. ", f"{CUT} ")
    return f"{kind} {title}".rstrip() + f": {facts}"
