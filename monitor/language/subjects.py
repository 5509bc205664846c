"""The subject of a message as people read it: in their language and zone, and short enough for a lock screen.

Stored subjects are whole, in English and UTC: `RED Nordhang: close the road, call the manager. 302 mm/day, 5 stations.
2026-03-01T19:34Z`. Level and site come first and stay; what is to be done comes next; then facts, and the clock last.
"""

import re
from datetime import UTC, datetime
from typing import Final

from monitor.language.cutting import shorten
from monitor.language.local_time import respell, spell_local, zone_in_use
from monitor.language.sayings import say, say_level
from monitor.language.vocabulary import LEVELS

LONGEST: Final = 78  # RFC 5322, section 2.1.1; a lock screen shows the first forty
_LEAST: Final = 12  # characters of a fact that still say something
_PREFIX: Final = re.compile(
    r"^(EXERCISE:? |(?:open|not acknowledged) for \d+\w+(?: \d+\w+)?: |nobody else could be reached: )"
)
_SUBJECT: Final = re.compile(r"^(?P<head>[^:]+): (?P<facts>.*)\. (?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d)Z$", re.DOTALL)
_CLAUSE: Final = re.compile("[,;\uff0c\uff1b\u3002]")
_KIND: Final = re.compile(r"^((?:Health|Advice) (?:clear|notice|urgent)|\S+) ")


def say_subject(subject: str, language: str, most: int = LONGEST) -> str:
    """A stored subject as it goes out; one of an older version is translated and cut, not put in this order.

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
    return _fit(f"{prefix}{_say_head(parts['head'], language)}", action, str(say(essence, language)), clock, most)


def _say_prefix(prefix: str, language: str) -> str:
    """What stands before a subject: that it is a drill, or sent once more."""
    bare = prefix.rstrip(": ")
    mark = prefix[len(bare) :]
    return f"{say(bare, language)}{mark}"


def _say_head(head: str, language: str) -> str:
    """Level or kind, and the site, whose name stays."""
    found = _KIND.match(head)
    if found is None:
        return head
    kind, title = found[1], head[found.end() :]
    if kind.lower() in LEVELS:
        return f"{say_level(kind, language)} {title}"
    return f"{say(kind, language)} {title}" if " " in kind else head


def _fit(head: str, action: str, essence: str, clock: str, most: int) -> str:
    """The longest form that fits: the action by its first clause, then fewer facts; level, site and clock stay."""
    first_clause = _CLAUSE.split(action)[0]
    for do in dict.fromkeys((action, first_clause)):
        found = ". ".join(part for part in (do, essence, clock) if part)
        if len(head) + 2 + len(found) <= most:
            return f"{head}: {found}"
    start = f"{head}: {first_clause}. " if first_clause else f"{head}: "
    room = most - len(start) - len(clock) - 2
    if room >= _LEAST:
        return f"{start}{shorten(essence, room)}. {clock}"
    return f"{shorten(start.rstrip('.: '), most - len(clock) - 2)}. {clock}"
