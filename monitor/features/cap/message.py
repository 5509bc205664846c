"""A hazard alert as a CAP 1.2 message, with one `info` block for each language (OASIS, 2010)."""

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

HEADLINE: Final = 160  # characters, which is what a telephone shows
VOTES: Final = 8  # that a message lists; the evidence holds all
SOON: Final = timedelta(hours=1)  # `Expected` means within the next hour
_ILLEGAL: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_UNSAFE: Final = re.compile(r"[\s,<&]")  # not allowed in the names of messages (CAP 3.2.1)


TEST: Final = "technical testing only, nothing has happened."
EXERCISE: Final = "this is a drill, nothing has happened."
# Outcome of an alert -> what its Cancel says.
FALSE: Final[Mapping[str, Message]] = {
    "false_instrument": Template("cap.false_instrument", "False alarm: an instrument was the cause.")(),
    "false_weather": Template("cap.false_weather", "False alarm: weather was the cause.")(),
    "false_work": Template("cap.false_work", "False alarm: work on the slope was the cause.")(),
}


REACH_M: Final = 100.0  # ground that a station stands for, in each direction
SMALLEST_KM: Final = 0.1
UNPLACED_KM: Final = 1.0  # of a site whose stations have no places
CORNERS: Final = 8
WIDEST_M: Final = 100_000.0  # a station farther than that from its site is a mistake of the site file


def draw_polygon(centre: Place, stations: Sequence[Place]) -> list[Place]:
    """The hull of the ground around stations, closed: the first corner stands last again; empty without stations.

    >>> ring = draw_polygon((46.2, 8.9), [(46.2, 8.9)])
    >>> len(ring), ring[0] == ring[-1], round(max(lat for lat, _ in ring) - 46.2, 6)
    (9, True, 0.000899)
    """
    near = [one for one in stations if measure_ground_distance_m(centre, one) <= WIDEST_M]
    if not near:
        return []
    lat_m = radians(1.0) * EARTH_RADIUS_M
    lon_m = lat_m * max(cos(radians(centre[0])), 1e-6)
    corners = [
        ((lon - centre[1]) * lon_m + REACH_M * cos(turn), (lat - centre[0]) * lat_m + REACH_M * sin(turn))
        for lat, lon in near
        for turn in (2.0 * pi * k / CORNERS for k in range(CORNERS))
    ]
    ring = [(round(centre[0] + y / lat_m, 6), round(centre[1] + x / lon_m, 6)) for x, y in find_hull(corners)]
    return [*ring, ring[0]]


def find_radius_km(centre: Place, stations: Iterable[Place]) -> float:
    """How far a site reaches from its place, its farthest station with the ground around it included.

    >>> find_radius_km((46.2, 8.9), []), find_radius_km((46.2, 8.9), [(46.2, 8.9), (46.209, 8.9)])
    (1.0, 1.101)
    """
    far = [d for d in (measure_ground_distance_m(centre, one) for one in stations) if d <= WIDEST_M]
    if not far:
        return UNPLACED_KM
    return round(max((max(far) + REACH_M) / 1000.0, SMALLEST_KM), 3)


@dataclass(frozen=True, slots=True)
class CapSender:
    """Who sends: a name that is unique among senders, and the address of the page."""

    sender: str
    page_url: str


@dataclass(frozen=True, slots=True)
class CapCodes:
    """What CAP says of a level: codes of `responseType`, `urgency`, `severity` and `certainty`."""

    response: str
    urgency: str
    severity: str
    certainty: str


# By distance from the highest level; docs/reference/cap.md says why, and a test holds the two together. The hazard is a
# landslide: movement that is measured makes it likely or possible, and it is never `Observed`.
RANKS: Final = (
    CapCodes("Execute", "Immediate", "Extreme", "Likely"),
    CapCodes("Prepare", "Expected", "Severe", "Possible"),
    CapCodes("Monitor", "Future", "Moderate", "Possible"),
    CapCodes("Monitor", "Future", "Minor", "Possible"),
)
OVER: Final = CapCodes("AllClear", "Past", "Minor", "Unlikely")
URGENCIES: Final = ("Future", "Expected", "Immediate")


@dataclass(frozen=True, slots=True)
class FailureWindow:
    """A trusted failure window: of which station, between which instants."""

    station: str
    from_at: datetime
    to_at: datetime


@dataclass(frozen=True, slots=True)
class DecisionBasis:
    """What a decision rested on, as it was known then: more than its level and its reason."""

    stations: tuple[Place, ...] = ()  # places of the stations on the slope
    voting: tuple[Place, ...] = ()  # places of the stations whose votes counted
    votes: tuple[tuple[str, str], ...] = ()  # station and sentence of each vote that counted
    votes_required: int = 0  # how many votes there were
    # what is in danger at the level, each with its name and corners
    exposed: tuple[tuple[str, tuple[Place, ...]], ...] = ()
    window: FailureWindow | None = None  # the next trusted failure window
    evidence_sha256: str = ""  # hash of the frozen inputs


BARE: Final = DecisionBasis()


@dataclass(frozen=True, slots=True)
class ChainMessage:
    """One message of the chain of an alert."""

    name: str
    at: datetime
    level: int
    reason: str
    is_false: bool = False
    decision_id: int | None = None
    number: str = ""  # of its event, or `cancel`


def write_cap(
    alert: Alert,
    events: Sequence[AlertEvent],
    card: PlacedSite,
    source: CapSender,
    languages: Sequence[str],
    *,
    outcome: Outcome | None = None,
    holds: timedelta | None = None,
    is_test: bool = False,
    ground: DecisionBasis = BARE,
) -> str:
    """The message of an alert as it stands now.

    The first change of level is an `Alert`, each later one an `Update` that names those before. At the lowest level the
    `Update` is an `AllClear`; a `Cancel` follows where people found that it was a false alarm.

    Args:
        events: its chain, oldest first.
        card: its site: name, place, levels with their actions.
        source: who sends.
        languages: codes, one block each, in this order.
        outcome: what people found that it was.
        holds: for how long receivers may take it as true; None: until the next message.
        is_test: it proves that messages arrive; a chain of its own, so that no receiver takes the real one for known.
        ground: what the level rests on.

    Raises RefusedError: the alert is none of hazard, or no language is named.
    """
    if not languages:
        raise RefusedError("name one language at least")
    *before, now = list_steps(alert, events, outcome, is_test=is_test)
    root = ET.Element("alert", xmlns=NAMESPACE)
    sender = _UNSAFE.sub("-", source.sender)
    status = "Test" if is_test else "Exercise" if alert.exercise else "Actual"
    kind = "Cancel" if now.is_false else "Update" if before else "Alert"
    add_texts(root, identifier=now.name, sender=sender, sent=format_cap_time(now.at), status=status, msgType=kind)
    restriction = "For the recipients of this service; not for the public without its operator."
    add_texts(root, scope="Restricted", restriction=restriction)
    if is_test or alert.exercise:
        kind, meaning = ("TEST", TEST) if is_test else ("EXERCISE", EXERCISE)
        # with an identifier, as the standard wants it
        add_text(root, "note", f"{kind} {now.name.rpartition('.')[0]}: {meaning}")
    if before:
        add_text(root, "references", " ".join(f"{sender},{step.name},{format_cap_time(step.at)}" for step in before))
    for language in dict.fromkeys(languages):
        with use_language(language):
            _add_info(root, language, now, card, f"{source.page_url}/alerts/{alert.id}", holds, ground)
    return _to_text(root)


def write_notice(name: str, sender: str, at: datetime, text: str) -> str:
    """A message of status `Test` without a warning in it: it proves that a channel takes messages."""
    root = ET.Element("alert", xmlns=NAMESPACE)
    name, sender = (_UNSAFE.sub("-", one) for one in (f"slopeward.test.{name}", sender))
    add_texts(root, identifier=name, sender=sender, sent=format_cap_time(at), status="Test", msgType="Alert")
    add_texts(root, scope="Restricted", restriction="For the recipients of this service.", note=text)
    return _to_text(root)


def list_steps(
    alert: Alert, events: Sequence[AlertEvent], outcome: Outcome | None, *, is_test: bool = False
) -> list[ChainMessage]:
    """The messages of an alert: its changes of level, reminders of one, and its end as a false alarm.

    Raises RefusedError: the alert is none of hazard, or no level of it was ever reported.
    """
    if alert.ledger != "hazard":
        raise RefusedError(f"alert {alert.id} is of {alert.ledger}: CAP warns of hazards only")
    chain = _UNSAFE.sub("-", f"slopeward.{alert.site}.{alert.id}{'.test' if is_test else ''}")
    steps = [
        ChainMessage(
            f"{chain}.{e.sequence}", e.at, e.to_level, e.reason, decision_id=e.decision_id, number=str(e.sequence)
        )
        for e in events
        if e.from_level != e.to_level or is_reminder(e.reason)
    ]
    if not steps:
        raise RefusedError(f"alert {alert.id} reported no level yet")
    if outcome is not None and outcome.kind in FALSE and steps[-1].level == 0:
        steps.append(
            ChainMessage(f"{chain}.cancel", outcome.at, 0, FALSE[outcome.kind], is_false=True, number="cancel")
        )
    return steps


def _add_info(
    root: ET.Element,
    language: str,
    now: ChainMessage,
    card: PlacedSite,
    url: str,
    holds: timedelta | None,
    ground: DecisionBasis,
) -> None:
    level = next((v for v in card.levels if v["number"] == now.level), {"name": str(now.level), "action": ""})
    window = ground.window if now.level > 0 and ground.window and ground.window.to_at > now.at else None
    rank = raise_rank(find_rank(now.level, card.top_level), window, now.at)
    reason = str(translate(now.reason))
    info = ET.SubElement(root, "info")
    add_texts(info, language=language, category="Geo", event=gettext("Landslide hazard"), responseType=rank.response)
    add_texts(info, urgency=rank.urgency, severity=rank.severity, certainty=rank.certainty)
    if window is not None:
        add_text(info, "onset", format_cap_time(window.from_at))
    if holds is not None:
        # a window that is believed lasts as long as it lasts
        add_text(info, "expires", format_cap_time(max(now.at + holds, window.to_at if window else now.at)))
    add_text(info, "senderName", "Slopeward")
    head = f"[{card.name}] {translate_level(str(level['name']), language).upper()}: "
    headline = cut_words(f"{head}{cut_message(unwrap_reason(now.reason), max(HEADLINE - len(head), 1))}", HEADLINE)
    add_texts(info, headline=headline, description=reason)
    if level["action"]:
        add_text(info, "instruction", str(level["action"]))
    add_text(info, "web", url)
    _add_parameter(info, "level", f"{now.level} of {card.top_level}: {level['name']}")
    if now.level > 0:
        if ground.votes_required:
            _add_parameter(info, "votes", f"{len(ground.votes)} of {ground.votes_required} count")
        for station, sentence in ground.votes[:VOTES]:
            _add_parameter(info, "vote", f"{station}: {translate(sentence)}")
        if window is not None:
            span = f"{format_cap_time(window.from_at)} {format_cap_time(window.to_at)}"
            _add_parameter(info, "failure_window", f"{span} {window.station}")
    if ground.evidence_sha256:
        _add_parameter(info, "evidence_sha256", ground.evidence_sha256)
    _add_area(info, card, ground)


def _add_area(info: ET.Element, card: PlacedSite, ground: DecisionBasis) -> None:
    """The ground around the stations that vote, else a circle around the site; then each place that is in danger."""
    area = ET.SubElement(info, "area")
    add_text(area, "areaDesc", card.name)
    centre = (card.latitude, card.longitude)
    ring = draw_polygon(centre, ground.voting)
    if ring and all(abs(lat) <= 90.0 and abs(lon) <= 180.0 for lat, lon in ring):
        add_text(area, "polygon", " ".join(f"{lat:.6f},{lon:.6f}" for lat, lon in ring))
    else:
        add_text(area, "circle", f"{centre[0]:.6f},{centre[1]:.6f} {find_radius_km(centre, ground.stations):g}")
    for name, corners in ground.exposed:
        area = ET.SubElement(info, "area")
        add_text(area, "areaDesc", name)
        add_text(area, "polygon", " ".join(f"{lat:.6f},{lon:.6f}" for lat, lon in (*corners, corners[0])))


def find_rank(level: int, top: int) -> CapCodes:
    """What CAP says of a level, by its place on the ladder.

    >>> find_rank(3, 3).severity, find_rank(1, 3).severity, find_rank(1, 9).severity, find_rank(0, 3).response
    ('Extreme', 'Moderate', 'Minor', 'AllClear')
    """
    return OVER if level <= 0 else RANKS[min(max(0, top - level), len(RANKS) - 1)]


def raise_rank(rank: CapCodes, window: FailureWindow | None, at: datetime) -> CapCodes:
    """The same with a trusted failure window: failure is likely, and as urgent as it is near; nothing gets lower.

    >>> at = datetime(2026, 3, 1, tzinfo=UTC)
    >>> raise_rank(RANKS[2], FailureWindow("G1", at + SOON / 2, at + SOON), at)
    CapCodes(response='Monitor', urgency='Expected', severity='Moderate', certainty='Likely')
    """
    if window is None or rank is OVER:
        return rank
    due_within = "Immediate" if window.from_at <= at else "Expected" if window.from_at <= at + SOON else "Future"
    urgency = max(rank.urgency, due_within, key=URGENCIES.index)
    return CapCodes(rank.response, urgency, rank.severity, "Likely")


def format_cap_time(at: datetime) -> str:
    """An instant as CAP writes it: seconds, and the offset of UTC as `-00:00` (3.3.2).

    >>> format_cap_time(datetime(2026, 3, 1, 6, 0, 0, 5, tzinfo=UTC))
    '2026-03-01T06:00:00-00:00'
    """
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}-00:00"


def _add_parameter(info: ET.Element, name: str, value: str) -> None:
    add_texts(ET.SubElement(info, "parameter"), valueName=name, value=value)


def add_text(parent: ET.Element, tag: str, text: str) -> None:
    """One element with a text; what XML does not allow in it is replaced."""
    ET.SubElement(parent, tag).text = _ILLEGAL.sub("\ufffd", text)


def add_texts(parent: ET.Element, **texts: str) -> None:
    """An element for each, in their order."""
    for tag, text in texts.items():
        add_text(parent, tag, text)


def _to_text(root: ET.Element) -> str:
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'
