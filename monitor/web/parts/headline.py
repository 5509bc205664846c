"""Headline of a site besides its level: the alert behind it, how fast the slope moves, and what is expected."""

import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypedDict, cast

from sqlalchemy import Connection

from monitor.alerts.queries.answers import AlertDeliveries
from monitor.alerts.queries.evaluations import find_evidence
from monitor.alerts.queries.movement import UNKNOWN, NewestMovement, StandingWindow, load_newest_movements
from monitor.alerts.queries.recipients import find_on_duty, list_chain
from monitor.alerts.queries.station_states import NO_STATES, StationStates, count_states
from monitor.alerts.views import AlertRow
from monitor.decision import headline
from monitor.decision.changes import AlertCategory
from monitor.decision.series.station_health import HEALTHY_STATES
from monitor.delivery.present_reason import PresentReason, find_present_reason
from monitor.readings.queries.observations import find_epoch, find_series_id
from monitor.sites.declarations import find_declaration
from monitor.sites.queries.sites import list_slope_stations
from monitor.sites.records import Recipient, Site
from monitor.storage.views import has_view, load_view
from monitor.text.instants import format_iso, parse_time
from monitor.text.message import Message, Template, join, plain_to_messages

_LOST: Final = Template("motion.lost", "{n} of {n2} stations on the slope cannot be judged now: {text}")
# Evidence may be megabytes. Of many alerts at once, the evidence of this many is read in one request.
MOST_READ_AT_ONCE: Final = 6
# Headlines that are cached.
MOST_CACHED: Final = 200
# State of a station without a fault whose stage of movement is unknown.
NO_STAGE: Final = "without a stage"
# The stage of movement that requires no action.
CALM: Final = "creep"
# Headlines by the hash of the evidence and the level. Frozen evidence never changes.
_headlines: Final[dict[tuple[str, int], headline.Headline | None]] = {}
_headlines_lock: Final = threading.Lock()


# ---- people --------------------------------------------------------------------------------------------------
def list_calls(c: Connection, site: Site, answers: AlertDeliveries, now: datetime) -> list[dict[str, Any]]:
    """Return the people to call, each once, in the order in which they are notified.

    Each entry contains the role on the duty plan, the telephone number, and what became of the messages.
    """
    on_duty = find_on_duty(c, site.teams, now)
    roles: dict[str, str] = {}
    for team in site.teams:
        turns = zip(on_duty[team.site, team.name], ("on duty", "second"), strict=False)
        for name, role in [*turns, (team.lead, "lead")]:
            roles.setdefault(name, role)
    deliveries = {delivery.recipient: delivery for delivery in answers.deliveries}
    people: dict[str, Recipient] = {r.name: r for step in list_chain(c, site.recipients, now) for r in step}
    return [
        {
            "name": name,
            "role": roles.get(name, ""),
            "phone": person.phone,
            "tel": "".join(sign for sign in person.phone if sign in "+0123456789"),
            "delivery": deliveries.get(name),
            "channels": sorted({channel.partition(":")[0] for channel in person.channels}),
        }
        for name, person in people.items()
    ]


def find_first_calls(c: Connection, sites: Iterable[Site], now: datetime) -> dict[str, dict[str, Any]]:
    """Return the first person with a telephone by site. Sites without such a person are left out."""
    calls: dict[str, dict[str, Any]] = {}
    for site in sites:
        for person in list_calls(c, site, AlertDeliveries(), now):
            if person["tel"]:
                calls.setdefault(site.id, person)
    return calls


# ---- reasons of alerts ---------------------------------------------------------------------------------------
def find_hazards(alerts: Iterable[AlertRow]) -> dict[str, AlertRow]:
    """Return the alert that the headline of each site is about: the first open alert on its slope that is no drill.

    Args:
        alerts: Open alerts, the highest level first.
    """
    hazards: dict[str, AlertRow] = {}
    for alert in alerts:
        if alert["ledger"] == AlertCategory.HAZARD and not alert["exercise"]:
            hazards.setdefault(alert["site"], alert)
    return hazards


def list_sentences(c: Connection, alerts: Iterable[AlertRow], at_once: int = MOST_READ_AT_ONCE) -> dict[int, str]:
    """Return the reason of the level of each alert about a slope, as one sentence, by the id of the alert."""
    hazards = [alert for alert in alerts if alert["ledger"] == AlertCategory.HAZARD]
    return {number: reason.sentence for number, reason in find_headlines(c, hazards, at_once).items()}


def find_headlines(
    c: Connection, hazards: Iterable[AlertRow], at_once: int = MOST_READ_AT_ONCE
) -> dict[int, headline.Headline]:
    """Return the reason for which each alert was raised, by the id of the alert.

    The evidence of at most `at_once` alerts is read. The other alerts have no headline until the next request.
    """
    headlines: dict[int, headline.Headline] = {}
    remaining = at_once
    for alert in hazards:
        key = (str(alert["evidence_sha256"]), int(alert["level"]))
        if key not in _headlines and remaining:
            remaining -= 1
            frozen = plain_to_messages(read_json(find_evidence(c, alert["alert_id"])))
            _cache_headline(key, read_headline(c, frozen, alert))
        cached = _headlines.get(key)
        if cached is not None:
            headlines[int(alert["alert_id"])] = cached
    return headlines


def _cache_headline(key: tuple[str, int], value: headline.Headline | None) -> None:
    with _headlines_lock:
        while len(_headlines) >= MOST_CACHED:
            oldest = next(iter(_headlines))
            del _headlines[oldest]
        _headlines[key] = value


def read_headline(c: Connection, frozen: headline.FrozenDecision, alert: AlertRow) -> headline.Headline | None:
    """Return the headline of an alert from its evidence; None if the evidence has an unexpected form."""
    with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):
        return headline.find_headline(frozen, find_declaration(c, str(alert["config_version"])), int(alert["level"]))
    return None


def read_json(text: str | None) -> headline.FrozenDecision:
    """Return stored evidence; empty if it is no JSON object. The page of the alert reports altered evidence."""
    evidence: Any = {}
    with suppress(ValueError, RecursionError):
        evidence = json.loads(text) if text else {}
    return cast("headline.FrozenDecision", evidence if isinstance(evidence, dict) else {})


def find_present_reasons(
    c: Connection, hazards: Mapping[str, AlertRow], stations: Mapping[str, StationStates]
) -> dict[str, PresentReason]:
    """Return the reason of the level of each site by its newest decision, by site.

    Args:
        c: An open connection.
        hazards: The alert of each site.
        stations: State of the stations of each site at the instant of display.
    """
    reasons: dict[str, PresentReason] = {}
    for site, hazard in hazards.items():
        reason = find_present_reason(c, site, int(hazard["level"]), stations.get(site, NO_STATES))
        if reason is not None:
            reasons[site] = reason
    return reasons


# ---- motion --------------------------------------------------------------------------------------------------
class SiteWindow(StandingWindow):
    """A failure window and the station whose readings it is computed from."""

    station: str


@dataclass(frozen=True, slots=True)
class SiteMotion:
    """How the stations on a slope move.

    Attributes:
        fastest: The fastest series: of those with current readings, else of all. None if no velocity is known.
        stations: Number of stations on the slope that can be judged.
        moving: Those of them that are faster than creep, the fastest first.
        judged_at: Oldest newest reading of the stations that can be judged; None if there are none.
        is_judged_now: Whether all of these readings are current.
        lost: Number of stations on the slope that cannot be judged.
        last_stages: The stages in which these were last seen.
        window: The next trusted failure window.
    """

    fastest: NewestMovement | None
    stations: int
    moving: Sequence[str]
    judged_at: str | None
    is_judged_now: bool
    lost: int
    last_stages: Sequence[str]
    lost_text: Message
    window: SiteWindow | None


def describe_motion(
    movement: Sequence[NewestMovement], on_slope: AbstractSet[str], stations: StationStates
) -> SiteMotion | None:
    """Return how a slope moves; None if no series was judged.

    A station that is late, silent or faulty, or whose stage is unknown, is not at rest: it counts as one that cannot be
    judged, with the reason and the stage in which it was last seen.

    Args:
        movement: Rows of `load_newest_movement`.
        on_slope: Stations on the slope that the site file declares. Others are not judged any more.
        stations: State of the stations at the instant of display.
    """
    movement = [row for row in movement if row["station"] in on_slope]
    measured = [row for row in movement if row["velocity_mm_per_day"] is not None]
    states = stations.states
    faulty = {
        name: state for name in on_slope if (state := states.get(name)) is not None and state not in HEALTHY_STATES
    }
    with_stage = [row for row in movement if row["stage"] not in {None, UNKNOWN} and row["station"] not in faulty]
    judged = {row["station"] for row in with_stage}
    lost = [row for row in movement if row["station"] not in judged]
    last_stages = {row["last_stage"] for row in lost if row["last_stage"]}
    if not measured and not last_stages:
        return None
    lost_states = {row["station"]: NO_STAGE for row in lost} | faulty
    current = [row for row in measured if _is_current(row, stations)]
    texts = join(count_states(Counter(lost_states.values())), ", ")
    return SiteMotion(
        fastest=max(current or measured, key=lambda row: abs(row["velocity_mm_per_day"] or 0.0), default=None),
        stations=len(judged),
        moving=_list_moving_stations(with_stage),
        judged_at=min((row["data_until"] for row in with_stage if row["data_until"]), default=None),
        is_judged_now=all(_is_current(row, stations) for row in with_stage),
        lost=len(lost_states),
        last_stages=sorted(last_stages, key=lambda stage: (stage == CALM, stage)),
        lost_text=_LOST(n=len(lost_states), n2=len(on_slope), text=texts),
        window=_find_failure_window(movement, stations.now),
    )


def _list_moving_stations(rows: Iterable[NewestMovement]) -> list[str]:
    moving = sorted(
        (row for row in rows if row["stage"] != CALM), key=lambda row: -abs(row["velocity_mm_per_day"] or 0.0)
    )
    return list(dict.fromkeys(row["station"] for row in moving))


def _is_current(row: NewestMovement, stations: StationStates) -> bool:
    data_until = row["data_until"]
    return data_until is not None and stations.is_current(row["station"], row["quantity"], parse_time(data_until))


def _find_failure_window(movement: Sequence[NewestMovement], now: datetime) -> SiteWindow | None:
    trusted = [
        SiteWindow(**_cap_data_until(row["window"], row["data_until"]), station=row["station"])
        for row in movement
        if row["window"] and row["window"]["trusted"]
    ]
    data_until = max((row["data_until"] for row in movement if row["data_until"]), default=format_iso(now))
    return headline.select_failure_window(trusted, "window_from", "window_to", data_until)


def _cap_data_until(window: StandingWindow, newest_reading_at: str | None) -> StandingWindow:
    """Return a window whose `data_until` is not after the newest reading, as that of a forecast may be."""
    if window.get("method") != "forecast" or newest_reading_at is None:
        return window
    return {**window, "data_until": min(window["data_until"], newest_reading_at, key=parse_time)}


class ShownForecast(TypedDict):
    """The nearest target of the newest forecast of a station; values are in `unit`, instants are text.

    `data_until` is the newest reading that the forecast used.
    """

    station: str
    quantity: str
    unit: str
    issued_at: str
    data_until: str
    target_at: str
    data_value: float
    q10: float
    q90: float


def find_nearest_forecast(c: Connection, site: str, motion: SiteMotion | None) -> ShownForecast | None:
    """Return the shown forecast for the station of the failure window, or else for the fastest station."""
    if motion is None or not has_view("latest_forecast"):
        return None
    if motion.window is not None:
        station = motion.window["station"]
    elif motion.fastest is not None:
        station = motion.fastest["station"]
    else:
        return None
    which = {"site": site, "station": station, "shown": True}
    rows = [cast("ShownForecast", row) for row in load_view(c, "latest_forecast", **which)]
    newest = max((row["issued_at"] for row in rows), default=None)
    rows = [
        row
        for row in rows
        if row["issued_at"] == newest and row["quantity"].startswith("displacement") and row["q10"] is not None
    ]
    # Of several components of the motion, the one that has moved most is shown.
    nearest = min(rows, key=lambda row: (row["target_at"], -abs(row["data_value"])), default=None)
    if nearest is None:
        return None
    # A forecast contains the end of the interval of its grid that contains the newest reading.
    series_id = find_series_id(c, site, station, nearest["quantity"])
    epoch = None if series_id is None else find_epoch(c, series_id, parse_time(nearest["data_until"]), back=0)
    if epoch is not None:
        nearest["data_until"] = format_iso(epoch)
    return nearest


def collect_motions(c: Connection, stations: Mapping[str, StationStates], now: datetime) -> dict[str, SiteMotion]:
    """Return how the slopes of some sites move, by site.

    Args:
        c: An open connection.
        stations: State of the stations by site.
        now: The instant of display.
    """
    sites = list(stations)
    movements = load_newest_movements(c, sites, now)
    on_slope = list_slope_stations(c, sites)
    motions: dict[str, SiteMotion] = {}
    for site, rows in movements.items():
        motion = describe_motion(rows, on_slope.get(site, set()), stations.get(site, NO_STATES))
        if motion is not None:
            motions[site] = motion
    return motions
