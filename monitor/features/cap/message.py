"""Write a hazard alert as a CAP 1.2 message (OASIS, 2010) with one `info` block per language."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import cos, pi, radians, sin
from typing import Final
from xml.etree import ElementTree as ET

from monitor.api.decision import cut_message, cut_words, is_reminder, unwrap_reason
from monitor.api.errors import RefusedError
from monitor.api.queries.alerts import Alert, AlertEvent, Outcome, PlacedSite
from monitor.api.sites import EARTH_RADIUS_M, Place, find_hull, measure_ground_distance_m
from monitor.api.text import Message, Template, gettext, translate, translate_level, use_language
from monitor.features.cap.rules import NAMESPACE

MAX_HEADLINE_LENGTH: Final = 160  # characters that a phone shows
MAX_VOTES: Final = 8  # in a message; the evidence contains all
EXPECTED_WITHIN: Final = timedelta(hours=1)  # meaning of the urgency `Expected` in CAP
_ILLEGAL: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_UNSAFE: Final = re.compile(r"[\s,<&]")  # not allowed in identifiers (CAP 3.2.1)

TEST_NOTE: Final = "technical testing only, nothing has happened."
EXERCISE_NOTE: Final = "this is a drill, nothing has happened."
# Outcome of an alert -> description in its Cancel message.
FALSE_ALARMS: Final[Mapping[str, Message]] = {
    "false_instrument": Template("cap.false_instrument", "False alarm: an instrument was the cause.")(),
    "false_weather": Template("cap.false_weather", "False alarm: weather was the cause.")(),
    "false_work": Template("cap.false_work", "False alarm: work on the slope was the cause.")(),
}


STATION_RADIUS_M: Final = 100.0  # ground around a station that belongs to the area of a message
MIN_RADIUS_KM: Final = 0.1
DEFAULT_RADIUS_KM: Final = 1.0  # of a site whose stations have no positions
CORNERS: Final = 8  # of the ground around a station
MAX_DISTANCE_M: Final = 100_000.0  # a station that is farther from its site has a wrong position


def draw_polygon(centre: Place, stations: Sequence[Place]) -> list[Place]:
    """Return the hull of the ground around stations. The last corner repeats the first; empty without stations.

    >>> ring = draw_polygon((46.2, 8.9), [(46.2, 8.9)])
    >>> len(ring), ring[0] == ring[-1], round(max(lat for lat, _ in ring) - 46.2, 6)
    (9, True, 0.000899)
    """
    near = [station for station in stations if measure_ground_distance_m(centre, station) <= MAX_DISTANCE_M]
    if not near:
        return []
    metres_per_lat = radians(1.0) * EARTH_RADIUS_M
    metres_per_lon = metres_per_lat * max(cos(radians(centre[0])), 1e-6)
    corners = []
    for lat, lon in near:
        x = (lon - centre[1]) * metres_per_lon
        y = (lat - centre[0]) * metres_per_lat
        for k in range(CORNERS):
            angle = 2.0 * pi * k / CORNERS
            corners.append((x + STATION_RADIUS_M * cos(angle), y + STATION_RADIUS_M * sin(angle)))
    ring = [
        (round(centre[0] + y / metres_per_lat, 6), round(centre[1] + x / metres_per_lon, 6))
        for x, y in find_hull(corners)
    ]
    return [*ring, ring[0]]


def find_radius_km(centre: Place, stations: Iterable[Place]) -> float:
    """Return the distance from a site to the ground around its farthest station, km.

    >>> find_radius_km((46.2, 8.9), []), find_radius_km((46.2, 8.9), [(46.2, 8.9), (46.209, 8.9)])
    (1.0, 1.101)
    """
    distances_m = [measure_ground_distance_m(centre, station) for station in stations]
    plausible_m = [distance_m for distance_m in distances_m if distance_m <= MAX_DISTANCE_M]
    if not plausible_m:
        return DEFAULT_RADIUS_KM
    return round(max((max(plausible_m) + STATION_RADIUS_M) / 1000.0, MIN_RADIUS_KM), 3)


@dataclass(frozen=True, slots=True)
class CapSender:
    """The sender: a name that is unique among senders, and the address of the page."""

    sender: str
    page_url: str


@dataclass(frozen=True, slots=True)
class CapCodes:
    """The codes for a level: `responseType`, `urgency`, `severity` and `certainty`."""

    response: str
    urgency: str
    severity: str
    certainty: str


# Codes by distance from the highest level. docs/reference/cap.md explains them, and a test compares both. The hazard is
# a landslide. Measured movement makes it likely or possible; the landslide itself is never `Observed`.
CODES_BY_RANK: Final = (
    CapCodes("Execute", "Immediate", "Extreme", "Likely"),
    CapCodes("Prepare", "Expected", "Severe", "Possible"),
    CapCodes("Monitor", "Future", "Moderate", "Possible"),
    CapCodes("Monitor", "Future", "Minor", "Possible"),
)
ALL_CLEAR: Final = CapCodes("AllClear", "Past", "Minor", "Unlikely")
URGENCIES: Final = ("Future", "Expected", "Immediate")


@dataclass(frozen=True, slots=True)
class FailureWindow:
    """A trusted failure window of a station."""

    station: str
    from_at: datetime
    to_at: datetime


@dataclass(frozen=True, slots=True)
class DecisionBasis:
    """Facts of a decision as they were known then, besides level and reason."""

    stations: tuple[Place, ...] = ()  # positions of the stations on the slope
    voting: tuple[Place, ...] = ()  # positions of the stations whose votes counted
    votes: tuple[tuple[str, str], ...] = ()  # station and reason of each vote that counted
    vote_count: int = 0  # of all votes, including those that did not count
    # Name and corners of everything that is in danger at the level.
    exposed: tuple[tuple[str, tuple[Place, ...]], ...] = ()
    window: FailureWindow | None = None  # the next trusted failure window
    evidence_sha256: str = ""  # digest of the stored inputs


NO_BASIS: Final = DecisionBasis()


@dataclass(frozen=True, slots=True)
class ChainMessage:
    """A message in the chain of an alert."""

    identifier: str
    at: datetime
    level: int
    reason: str
    is_false_alarm: bool = False
    decision_id: int | None = None
    number: str = ""  # of the event that it reports, or `cancel`


def write_cap(
    alert: Alert,
    events: Sequence[AlertEvent],
    card: PlacedSite,
    sender: CapSender,
    languages: Sequence[str],
    *,
    outcome: Outcome | None = None,
    validity: timedelta | None = None,
    is_test: bool = False,
    basis: DecisionBasis = NO_BASIS,
) -> str:
    """Return the newest message of an alert as XML.

    The first change of level is an `Alert`, each later one an `Update` that refers to the messages before. At the
    lowest level the `Update` is an `AllClear`. A `Cancel` follows if people found that it was a false alarm.

    Args:
        alert: A hazard alert.
        events: Its events, the oldest first.
        card: Name, position and levels of its site.
        sender: The sender.
        languages: Codes of languages, one block each, in this order.
        outcome: What people found that the alert was.
        validity: How long receivers may regard the message as valid; None until the next message.
        is_test: Whether the message tests the delivery. Tests form a chain of their own, so that receivers do not take
            the real message for a repetition.
        basis: Facts of the decision.

    Raises:
        RefusedError: The alert is no hazard alert, or there is no language.
    """
    if not languages:
        raise RefusedError("give at least one language")
    *earlier, message = list_messages(alert, events, outcome, is_test=is_test)
    root = ET.Element("alert", xmlns=NAMESPACE)
    sender_name = _UNSAFE.sub("-", sender.sender)
    status = _find_status(alert, is_test=is_test)
    message_type = "Update" if earlier else "Alert"
    if message.is_false_alarm:
        message_type = "Cancel"
    add_texts(
        root,
        identifier=message.identifier,
        sender=sender_name,
        sent=format_cap_time(message.at),
        status=status,
        msgType=message_type,
    )
    restriction = "For the recipients of this service; not for the public without its operator."
    add_texts(root, scope="Restricted", restriction=restriction)
    if status != "Actual":
        # The standard requires that the note identifies the test or exercise.
        chain = message.identifier.rpartition(".")[0]
        add_text(root, "note", f"{status.upper()} {chain}: {TEST_NOTE if is_test else EXERCISE_NOTE}")
    if earlier:
        references = [f"{sender_name},{other.identifier},{format_cap_time(other.at)}" for other in earlier]
        add_text(root, "references", " ".join(references))
    for language in dict.fromkeys(languages):
        with use_language(language):
            _add_info(root, language, message, card, f"{sender.page_url}/alerts/{alert.id}", validity, basis)
    return _to_text(root)


def _find_status(alert: Alert, *, is_test: bool) -> str:
    if is_test:
        return "Test"
    return "Exercise" if alert.exercise else "Actual"


def write_notice(name: str, sender: str, at: datetime, text: str) -> str:
    """Return a message of status `Test` without a warning as XML, which tests a channel."""
    root = ET.Element("alert", xmlns=NAMESPACE)
    identifier = _UNSAFE.sub("-", f"slopeward.test.{name}")
    sender = _UNSAFE.sub("-", sender)
    add_texts(root, identifier=identifier, sender=sender, sent=format_cap_time(at), status="Test", msgType="Alert")
    add_texts(root, scope="Restricted", restriction="For the recipients of this service.", note=text)
    return _to_text(root)


def list_messages(
    alert: Alert, events: Sequence[AlertEvent], outcome: Outcome | None, *, is_test: bool = False
) -> list[ChainMessage]:
    """Return the messages of an alert: changes of its level, reminders, and its end as a false alarm.

    Events in shadow mode of the site have no messages, except tests.

    Raises:
        RefusedError: The alert is no hazard alert, or has not reported a level.
    """
    if alert.ledger != "hazard":
        raise RefusedError(f"alert {alert.id} is of the category {alert.ledger}; only hazard alerts can be sent as CAP")
    chain = _UNSAFE.sub("-", f"slopeward.{alert.site}.{alert.id}{'.test' if is_test else ''}")
    messages = [
        ChainMessage(
            f"{chain}.{event.sequence}",
            event.at,
            event.to_level,
            event.reason,
            decision_id=event.decision_id,
            number=str(event.sequence),
        )
        for event in events
        if (is_test or not event.shadow) and (event.from_level != event.to_level or is_reminder(event.reason))
    ]
    if not messages and any(event.shadow for event in events):
        raise RefusedError(
            f"alert {alert.id} was raised while its site was in shadow mode, so it has no CAP message; "
            "`slopeward alerts cap` writes a message with the status Test if you add --test"
        )
    if not messages:
        raise RefusedError(f"alert {alert.id} has not reported a level yet")
    if outcome is not None and outcome.kind in FALSE_ALARMS and messages[-1].level == 0:
        reason = FALSE_ALARMS[outcome.kind]
        messages.append(ChainMessage(f"{chain}.cancel", outcome.at, 0, reason, is_false_alarm=True, number="cancel"))
    return messages


def _add_info(
    root: ET.Element,
    language: str,
    message: ChainMessage,
    card: PlacedSite,
    url: str,
    validity: timedelta | None,
    basis: DecisionBasis,
) -> None:
    """Add the block of a language."""
    declared = {level["number"]: level for level in card.levels}
    level = declared.get(message.level, {"name": str(message.level), "action": ""})
    is_window_valid = message.level > 0 and basis.window is not None and basis.window.to_at > message.at
    window = basis.window if is_window_valid else None
    codes = raise_codes(find_codes(message.level, card.top_level), window, message.at)
    reason = str(translate(message.reason))
    info = ET.SubElement(root, "info")
    add_texts(info, language=language, category="Geo", event=gettext("Landslide hazard"), responseType=codes.response)
    add_texts(info, urgency=codes.urgency, severity=codes.severity, certainty=codes.certainty)
    if window is not None:
        add_text(info, "onset", format_cap_time(window.from_at))
    if validity is not None:
        # The message is valid at least until the failure window ends.
        expires_at = message.at + validity
        if window is not None:
            expires_at = max(expires_at, window.to_at)
        add_text(info, "expires", format_cap_time(expires_at))
    add_text(info, "senderName", "Slopeward")
    prefix = f"[{card.name}] {translate_level(str(level['name']), language).upper()}: "
    short_reason = cut_message(unwrap_reason(message.reason), max(MAX_HEADLINE_LENGTH - len(prefix), 1))
    headline = cut_words(f"{prefix}{short_reason}", MAX_HEADLINE_LENGTH)
    add_texts(info, headline=headline, description=reason)
    if level["action"]:
        add_text(info, "instruction", str(level["action"]))
    add_text(info, "web", url)
    _add_parameter(info, "level", f"{message.level} of {card.top_level}: {level['name']}")
    if message.level > 0:
        if basis.vote_count:
            _add_parameter(info, "votes", f"{len(basis.votes)} of {basis.vote_count} count")
        for station, vote_reason in basis.votes[:MAX_VOTES]:
            _add_parameter(info, "vote", f"{station}: {translate(vote_reason)}")
        if window is not None:
            span = f"{format_cap_time(window.from_at)} {format_cap_time(window.to_at)}"
            _add_parameter(info, "failure_window", f"{span} {window.station}")
    if basis.evidence_sha256:
        _add_parameter(info, "evidence_sha256", basis.evidence_sha256)
    _add_area(info, card, basis)


def _add_area(info: ET.Element, card: PlacedSite, basis: DecisionBasis) -> None:
    """Add the ground around the voting stations or else a circle around the site, and everything that is in danger."""
    area = ET.SubElement(info, "area")
    add_text(area, "areaDesc", card.name)
    centre = (card.latitude, card.longitude)
    ring = draw_polygon(centre, basis.voting)
    if ring and all(abs(lat) <= 90.0 and abs(lon) <= 180.0 for lat, lon in ring):
        add_text(area, "polygon", " ".join(f"{lat:.6f},{lon:.6f}" for lat, lon in ring))
    else:
        add_text(area, "circle", f"{centre[0]:.6f},{centre[1]:.6f} {find_radius_km(centre, basis.stations):g}")
    for name, corners in basis.exposed:
        area = ET.SubElement(info, "area")
        add_text(area, "areaDesc", name)
        add_text(area, "polygon", " ".join(f"{lat:.6f},{lon:.6f}" for lat, lon in (*corners, corners[0])))


def find_codes(level: int, top: int) -> CapCodes:
    """Return the codes of a level by its distance from the highest level.

    >>> find_codes(3, 3).severity, find_codes(1, 3).severity, find_codes(1, 9).severity, find_codes(0, 3).response
    ('Extreme', 'Moderate', 'Minor', 'AllClear')
    """
    return ALL_CLEAR if level <= 0 else CODES_BY_RANK[min(max(0, top - level), len(CODES_BY_RANK) - 1)]


def raise_codes(codes: CapCodes, window: FailureWindow | None, at: datetime) -> CapCodes:
    """Raise the codes for a trusted failure window: failure is likely, and the urgency follows from its begin.

    >>> at = datetime(2026, 3, 1, tzinfo=UTC)
    >>> raise_codes(CODES_BY_RANK[2], FailureWindow("G1", at + EXPECTED_WITHIN / 2, at + EXPECTED_WITHIN), at)
    CapCodes(response='Monitor', urgency='Expected', severity='Moderate', certainty='Likely')
    """
    if window is None or codes is ALL_CLEAR:
        return codes
    if window.from_at <= at:
        window_urgency = "Immediate"
    elif window.from_at <= at + EXPECTED_WITHIN:
        window_urgency = "Expected"
    else:
        window_urgency = "Future"
    urgency = max(codes.urgency, window_urgency, key=URGENCIES.index)
    return CapCodes(codes.response, urgency, codes.severity, "Likely")


def format_cap_time(at: datetime) -> str:
    """Return an instant in the format of CAP, with seconds and the offset of UTC as `-00:00` (3.3.2).

    >>> format_cap_time(datetime(2026, 3, 1, 6, 0, 0, 5, tzinfo=UTC))
    '2026-03-01T06:00:00-00:00'
    """
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}-00:00"


def _add_parameter(info: ET.Element, name: str, value: str) -> None:
    add_texts(ET.SubElement(info, "parameter"), valueName=name, value=value)


def add_text(parent: ET.Element, tag: str, text: str) -> None:
    """Add an element with a text. Characters that XML does not allow are replaced."""
    ET.SubElement(parent, tag).text = _ILLEGAL.sub("\ufffd", text)


def add_texts(parent: ET.Element, **texts: str) -> None:
    """Add an element for each text, in the given order."""
    for tag, text in texts.items():
        add_text(parent, tag, text)


def _to_text(root: ET.Element) -> str:
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'
