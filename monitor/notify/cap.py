"""CAP 1.2: a hazard alert as other warning systems read it, with one `info` block for each language (OASIS, 2010)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree as ET

from monitor.errors import RefusedError
from monitor.language.catalogue import gettext, use
from monitor.language.sayings import say
from monitor.store.alerting.alerts import Alert, AlertEvent, shorten
from monitor.store.pages import SiteCard

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
HEADLINE: Final = 160  # characters, which is what a telephone shows
_ILLEGAL: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_UNSAFE: Final = re.compile(r"[\s,<&]")  # not allowed in the names of messages (CAP 3.2.1)


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends: a name that is unique among senders, and the address of the page."""

    sender: str
    page_url: str


def write_cap(
    alert: Alert, events: Sequence[AlertEvent], card: SiteCard, source: Source, languages: Sequence[str]
) -> str:
    """The message of an alert as it stands now.

    The first change of level is an `Alert`, each later one an `Update` that names those before, the end a `Cancel`.

    Args:
        alert: a hazard alert.
        events: its chain, oldest first.
        card: its site: name, place, levels with their actions.
        source: who sends.
        languages: codes, one block each, in this order.

    Raises:
        RefusedError: the alert is none of hazard, or no language is named.
    """
    if alert.ledger != "hazard":
        raise RefusedError(f"alert {alert.id} is of {alert.ledger}: CAP warns of hazards only")
    if not languages:
        raise RefusedError("name one language at least")
    changes = [e for e in events if e.from_level != e.to_level]
    now = changes[-1]
    root = ET.Element("alert", xmlns=NAMESPACE)
    _add(root, "identifier", _name(alert, now))
    _add(root, "sender", _UNSAFE.sub("-", source.sender))
    _add(root, "sent", spell_cap(now.at))
    _add(root, "status", "Exercise" if alert.exercise else "Actual")
    _add(root, "msgType", "Cancel" if now.to_level == 0 else "Alert" if len(changes) == 1 else "Update")
    _add(root, "scope", "Restricted")
    _add(root, "restriction", "For the recipients of this service; not for the public without its operator.")
    if alert.exercise:
        _add(root, "note", "EXERCISE: this is a drill, nothing has happened.")
    if len(changes) > 1:
        before = (f"{_UNSAFE.sub('-', source.sender)},{_name(alert, e)},{spell_cap(e.at)}" for e in changes[:-1])
        _add(root, "references", " ".join(before))
    for language in dict.fromkeys(languages):
        with use(language):
            _add_info(root, language, alert, now, card, source)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _add_info(
    root: ET.Element, language: str, alert: Alert, now: AlertEvent, card: SiteCard, source: Source
) -> None:  # fmt: skip
    level = next((v for v in card.levels if v["number"] == now.to_level), {"name": str(now.to_level), "action": ""})
    urgency, severity = rank(now.to_level, card.top_level)
    info = ET.SubElement(root, "info")
    _add(info, "language", language)
    _add(info, "category", "Geo")
    _add(info, "event", gettext("Landslide hazard"))
    _add(info, "urgency", urgency)
    _add(info, "severity", severity)
    _add(info, "certainty", "Likely" if now.to_level else "Unlikely")
    _add(info, "senderName", "Slopeward")
    _add(info, "headline", shorten(str(say(f"[{card.name}] {str(level['name']).upper()}: {now.reason}")), HEADLINE))
    _add(info, "description", str(say(now.reason)))
    if level["action"]:
        _add(info, "instruction", str(level["action"]))
    _add(info, "web", f"{source.page_url}/alerts/{alert.id}")
    parameter = ET.SubElement(info, "parameter")
    _add(parameter, "valueName", "level")
    _add(parameter, "value", f"{now.to_level} of {card.top_level}: {level['name']}")
    area = ET.SubElement(info, "area")
    _add(area, "areaDesc", card.name)
    _add(area, "circle", f"{card.latitude:.6f},{card.longitude:.6f} 1")  # km around the place of the site


def rank(level: int, top: int) -> tuple[str, str]:
    """Urgency and severity of a level, by its place on the ladder.

    >>> rank(3, 3), rank(2, 3), rank(1, 3), rank(0, 3)
    (('Immediate', 'Extreme'), ('Expected', 'Severe'), ('Future', 'Moderate'), ('Past', 'Minor'))
    """
    if level <= 0:
        return "Past", "Minor"
    if level >= top:
        return "Immediate", "Extreme"
    return ("Expected", "Severe") if level == top - 1 else ("Future", "Moderate")


def spell_cap(at: datetime) -> str:
    """An instant as CAP writes it: seconds, and the offset of UTC as `-00:00` (3.3.2).

    >>> spell_cap(datetime(2026, 3, 1, 6, 0, 0, 5, tzinfo=UTC))
    '2026-03-01T06:00:00-00:00'
    """
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}-00:00"


def _name(alert: Alert, event: AlertEvent) -> str:
    return _UNSAFE.sub("-", f"slopeward.{alert.site}.{alert.id}.{event.sequence}")


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = _ILLEGAL.sub("\ufffd", text)
