"""CAP 1.2: a hazard alert as other warning systems read it, with one `info` block for each language (OASIS, 2010)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.etree import ElementTree as ET

from monitor.errors import RefusedError
from monitor.language.catalogue import gettext, use
from monitor.language.sayings import NOTHING_KEPT, Kept, say, say_level
from monitor.notify.cutting import shorten
from monitor.store.alerting.alerts import Alert, AlertEvent, Outcome
from monitor.store.pages import SiteCard

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
HEADLINE: Final = 160  # characters, which is what a telephone shows
_ILLEGAL: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_UNSAFE: Final = re.compile(r"[\s,<&]")  # not allowed in the names of messages (CAP 3.2.1)


TEST: Final = "technical testing only, nothing has happened."
EXERCISE: Final = "this is a drill, nothing has happened."
# Outcome of an alert -> what its Cancel says.
FALSE: Final = {
    "false_instrument": "False alarm: an instrument was the cause.",
    "false_weather": "False alarm: weather was the cause.",
    "false_work": "False alarm: work on the slope was the cause.",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends: a name that is unique among senders, and the address of the page."""

    sender: str
    page_url: str


@dataclass(frozen=True, slots=True)
class Rank:
    """What CAP says of a level: codes of `responseType`, `urgency`, `severity` and `certainty`."""

    response: str
    urgency: str
    severity: str
    certainty: str


# By distance from the highest level; docs/reference/cap.md says why, and a test holds the two together. The hazard is a
# landslide: movement that is measured makes it likely or possible, and it is never `Observed`.
RANKS: Final = (
    Rank("Execute", "Immediate", "Extreme", "Likely"),
    Rank("Prepare", "Expected", "Severe", "Possible"),
    Rank("Monitor", "Future", "Moderate", "Possible"),
    Rank("Monitor", "Future", "Minor", "Possible"),
)
OVER: Final = Rank("AllClear", "Past", "Minor", "Unlikely")


@dataclass(frozen=True, slots=True)
class Step:
    """One message of the chain of an alert."""

    name: str
    at: datetime
    level: int
    reason: str
    is_false: bool = False


def write_cap(
    alert: Alert, events: Sequence[AlertEvent], card: SiteCard, source: Source, languages: Sequence[str], *,
    outcome: Outcome | None = None, holds: timedelta | None = None, is_test: bool = False,
    kept: Kept = NOTHING_KEPT,
) -> str:  # fmt: skip
    """The message of an alert as it stands now.

    The first change of level is an `Alert`, each later one an `Update` that names those before. At the lowest level the
    `Update` is an `AllClear`; a `Cancel` follows where people found that it was a false alarm.

    Args:
        alert: a hazard alert.
        events: its chain, oldest first.
        card: its site: name, place, levels with their actions.
        source: who sends.
        languages: codes, one block each, in this order.
        outcome: what people found that it was.
        holds: for how long receivers may take it as true; None: until the next message.
        kept: names that are not translated.
        is_test: it proves that messages arrive; a chain of its own, so that no receiver takes the real one for known.

    Raises:
        RefusedError: the alert is none of hazard, or no language is named.
    """
    if alert.ledger != "hazard":
        raise RefusedError(f"alert {alert.id} is of {alert.ledger}: CAP warns of hazards only")
    if not languages:
        raise RefusedError("name one language at least")
    chain = _UNSAFE.sub("-", f"slopeward.{alert.site}.{alert.id}{'.test' if is_test else ''}")
    *before, now = _list_steps(chain, events, outcome)
    root = ET.Element("alert", xmlns=NAMESPACE)
    sender = _UNSAFE.sub("-", source.sender)
    _add(root, "identifier", now.name)
    _add(root, "sender", sender)
    _add(root, "sent", spell_cap(now.at))
    _add(root, "status", "Test" if is_test else "Exercise" if alert.exercise else "Actual")
    _add(root, "msgType", "Cancel" if now.is_false else "Update" if before else "Alert")
    _add(root, "scope", "Restricted")
    _add(root, "restriction", "For the recipients of this service; not for the public without its operator.")
    if is_test or alert.exercise:
        kind, meaning = ("TEST", TEST) if is_test else ("EXERCISE", EXERCISE)
        _add(root, "note", f"{kind} {chain}: {meaning}")  # with an identifier, as the standard wants it
    if before:
        _add(root, "references", " ".join(f"{sender},{step.name},{spell_cap(step.at)}" for step in before))
    for language in dict.fromkeys(languages):
        with use(language, kept):
            _add_info(root, language, now, card, f"{source.page_url}/alerts/{alert.id}", holds)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _list_steps(chain: str, events: Sequence[AlertEvent], outcome: Outcome | None) -> list[Step]:
    """The messages of an alert: its changes of level, and its end as a false alarm."""
    steps = [
        Step(f"{chain}.{e.sequence}", e.at, e.to_level, e.reason) for e in events if e.from_level != e.to_level
    ]  # fmt: skip
    if outcome is not None and outcome.kind in FALSE and steps[-1].level == 0:
        steps.append(Step(f"{chain}.cancel", outcome.at, 0, FALSE[outcome.kind], is_false=True))
    return steps


def _add_info(
    root: ET.Element, language: str, now: Step, card: SiteCard, url: str, holds: timedelta | None
) -> None:  # fmt: skip
    level = next((v for v in card.levels if v["number"] == now.level), {"name": str(now.level), "action": ""})
    rank = find_rank(now.level, card.top_level)
    reason = str(say(now.reason))
    info = ET.SubElement(root, "info")
    _add(info, "language", language)
    _add(info, "category", "Geo")
    _add(info, "event", gettext("Landslide hazard"))
    _add(info, "responseType", rank.response)
    _add(info, "urgency", rank.urgency)
    _add(info, "severity", rank.severity)
    _add(info, "certainty", rank.certainty)
    if holds is not None:
        _add(info, "expires", spell_cap(now.at + holds))
    _add(info, "senderName", "Slopeward")
    head = f"[{card.name}] {say_level(str(level['name']), language).upper()}: "
    _add(info, "headline", shorten(f"{head}{reason}", HEADLINE, head))
    _add(info, "description", reason)
    if level["action"]:
        _add(info, "instruction", str(level["action"]))
    _add(info, "web", url)
    parameter = ET.SubElement(info, "parameter")
    _add(parameter, "valueName", "level")
    _add(parameter, "value", f"{now.level} of {card.top_level}: {level['name']}")
    area = ET.SubElement(info, "area")
    _add(area, "areaDesc", card.name)
    _add(area, "circle", f"{card.latitude:.6f},{card.longitude:.6f} 1")  # km around the place of the site


def find_rank(level: int, top: int) -> Rank:
    """What CAP says of a level, by its place on the ladder.

    >>> find_rank(3, 3).severity, find_rank(1, 3).severity, find_rank(1, 9).severity, find_rank(0, 3).response
    ('Extreme', 'Moderate', 'Minor', 'AllClear')
    """
    return OVER if level <= 0 else RANKS[min(max(0, top - level), len(RANKS) - 1)]


def spell_cap(at: datetime) -> str:
    """An instant as CAP writes it: seconds, and the offset of UTC as `-00:00` (3.3.2).

    >>> spell_cap(datetime(2026, 3, 1, 6, 0, 0, 5, tzinfo=UTC))
    '2026-03-01T06:00:00-00:00'
    """
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}-00:00"


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = _ILLEGAL.sub("\ufffd", text)
