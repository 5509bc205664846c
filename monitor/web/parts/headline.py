"""What a site's headline says besides its level: the alert behind it, how fast it moves, what may come."""

import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypedDict, cast

from sqlalchemy import Connection

from monitor.alerts.queries.answers import AlertDeliveries
from monitor.alerts.queries.evaluations import find_evidence
from monitor.alerts.queries.movement import UNKNOWN, NewestMovement, StandingWindow, load_newest_movements
from monitor.alerts.queries.overview import count_states
from monitor.alerts.queries.recipients import find_on_duty, list_chain
from monitor.alerts.views import AlertRow
from monitor.decision import headline
from monitor.decision.changes import AlertCategory
from monitor.decision.keys import VoteKey
from monitor.decision.series.station_health import HEALTHY_STATES
from monitor.delivery.declarations import find_declaration
from monitor.delivery.value_now import find_now
from monitor.readings.instrument_views import StationHealthRow
from monitor.sites.quantities import QUANTITIES
from monitor.sites.queries.sites import list_slope_stations
from monitor.sites.records import Criterion, Recipient, Site
from monitor.storage.views import has_view, load_view
from monitor.text.figures import format_number
from monitor.text.instants import format_iso, from_epoch_s
from monitor.text.message import Message, Template, Term, join, plain_to_messages


def list_calls(c: Connection, site: Site, answers: AlertDeliveries, now: datetime) -> list[dict[str, Any]]:
    """Who to call, in the order in which messages go out, each once: role, telephone, what became of the messages."""
    on_duty, roles = find_on_duty(c, site.teams, now), dict[str, str]()
    for team in site.teams:
        turns = zip(on_duty[team.site, team.name], ("on duty", "second"), strict=False)
        for name, role in [*turns, (team.lead, "lead")]:
            roles.setdefault(name, role)
    answered = {one.recipient: one for one in answers.deliveries}
    people: dict[str, Recipient] = {r.name: r for step in list_chain(c, site.recipients, now) for r in step}
    return [
        {
            "name": name,
            "role": roles.get(name, ""),
            "phone": one.phone,
            "tel": "".join(sign for sign in one.phone if sign in "+0123456789"),
            "delivery": answered.get(name),
            "channels": sorted({k.partition(":")[0] for k in one.channels}),
        }
        for name, one in people.items()
    ]


def find_first_calls(c: Connection, sites: Iterable[Site], now: datetime) -> dict[str, dict[str, Any]]:
    """Of each site the first who has a telephone; a site of which nobody has one is left out."""
    calls = {site.id: list_calls(c, site, AlertDeliveries(), now) for site in sites}
    return {site: one for site, people in calls.items() for one in reversed(people) if one["tel"]}


_LOST: Final = Template("motion.lost", "{n} of {n2} stations on the slope cannot be judged now: {text}")
READ_AT_ONCE, SENTENCES_KEPT = 6, 200
_lock: Final = threading.Lock()
NO_STAGE: Final = "without a stage"  # of a station that is well
CALM: Final = "creep"  # the stage that is nothing to wake anybody for


_sentences: Final[dict[tuple[str, int], headline.Headline | None]] = {}  # by the hash of the evidence, and level


def list_sentences(c: Connection, alerts: Iterable[AlertRow], at_once: int = READ_AT_ONCE) -> dict[int, str]:
    """What is behind the level of each alert of hazard, by its id: one sentence."""
    hazards = [alert for alert in alerts if alert["ledger"] == AlertCategory.HAZARD]
    return {number: one.sentence for number, one in find_headlines(c, hazards, at_once).items()}


def find_headlines(
    c: Connection, hazards: Iterable[AlertRow], at_once: int = READ_AT_ONCE
) -> dict[int, headline.Headline]:
    """What is behind the level of each of some alerts, by its id, as messages say it.

    Frozen evidence never changes, so it is read once by this process. It may be megabytes: of many alerts at once a
    few are read, the others show their reason until the page asks again.
    """
    found, left = {}, at_once
    for alert in hazards:
        key = (str(alert["evidence_sha256"]), int(alert["level"]))
        if key not in _sentences and left:
            left -= 1
            one = read_headline(c, plain_to_messages(read_json(find_evidence(c, alert["alert_id"]))), alert)
            with _lock:  # pages are made by many threads; the oldest goes where there are many
                while len(_sentences) >= SENTENCES_KEPT:
                    del _sentences[next(iter(_sentences))]
                _sentences[key] = one
        if (one := _sentences.get(key)) is not None:
            found[int(alert["alert_id"])] = one
    return found


def read_headline(c: Connection, frozen: headline.FrozenDecision, alert: AlertRow) -> headline.Headline | None:
    """The headline of one alert from its evidence; evidence of an odd form has none."""
    with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):
        return headline.find_headline(frozen, find_declaration(c, str(alert["config_version"])), int(alert["level"]))
    return None


def read_json(text: str | None) -> headline.FrozenDecision:
    """Frozen evidence as it is kept; empty where it cannot be read any more."""
    found: Any = {}
    with suppress(ValueError, RecursionError):  # altered, perhaps: the page of the alert says so
        found = json.loads(text) if text else {}
    return cast("headline.FrozenDecision", found if isinstance(found, dict) else {})


def find_present_headlines(c: Connection, hazards: Mapping[str, AlertRow]) -> dict[str, headline.Headline]:
    """What each site's level rests on by its newest decision, beside what stood when it was raised."""
    found = {site: find_now(c, site, int(hazard["level"])) for site, hazard in hazards.items()}
    return {site: now for site, now in found.items() if now is not None}


def find_hazards(alerts: Iterable[AlertRow]) -> dict[str, AlertRow]:
    """The alert of each site that its headline is about: of open ones, the highest first, and no drill."""
    found: dict[str, AlertRow] = {}
    for alert in alerts:
        if alert["ledger"] == AlertCategory.HAZARD and not alert["exercise"]:
            found.setdefault(alert["site"], alert)
    return found


class SiteWindow(StandingWindow):
    """A failure window and the station whose readings it is computed from."""

    station: str


@dataclass(frozen=True, slots=True)
class SiteMotion:
    """How the stations on a slope move; of rows of `load_newest_movement`."""

    fastest: NewestMovement | None  # the row of the fastest series; None where no velocity is known
    moving: Sequence[str]  # stations beyond creep, the fastest first
    stations: int  # that can be judged now
    lost: int  # that cannot
    last_stages: Sequence[str]  # that those were last seen in
    lost_text: Message
    window: SiteWindow | None  # the next trusted one of failure


def describe_motion(
    movement: list[NewestMovement], now: datetime, watched: AbstractSet[str], states: Mapping[str, str | None]
) -> SiteMotion | None:
    """The fastest series, how many stations are beyond creep, the next trusted window; None where none is judged.

    Silence is no calm: a station that is sick, or whose stage is unknown now, is not among those that are counted. It
    is among those that cannot be judged, with the reason, and with the stage it was last seen in.

    Args:
        movement: rows of `load_newest_movement`.
        watched: stations on the slope that the site file declares; others moved once and are judged no more.
    """
    movement = [row for row in movement if row["station"] in watched]
    judged = [row for row in movement if row["velocity_mm_per_day"] is not None]
    sick = {name: state for name in watched if (state := states.get(name)) is not None and state not in HEALTHY_STATES}
    seen = {row["station"] for row in movement if row["stage"] not in {None, UNKNOWN}} - sick.keys()
    lost = [row for row in movement if row["station"] not in seen]
    last = sorted({row["last_stage"] for row in lost if row["last_stage"]}, key=lambda stage: (stage == CALM, stage))
    if not judged and not last:
        return None
    unjudged = {row["station"]: NO_STAGE for row in lost} | sick
    return SiteMotion(
        fastest=max(judged, key=lambda row: abs(row["velocity_mm_per_day"] or 0.0), default=None),
        moving=_list_moving_stations(movement, seen),
        stations=len(seen),
        lost=len(unjudged),
        last_stages=last,
        lost_text=_LOST(n=len(unjudged), n2=len(watched), text=join(count_states(Counter(unjudged.values())), ", ")),
        window=_find_failure_window(movement, now),
    )


def _list_moving_stations(movement: Sequence[NewestMovement], judged: AbstractSet[str]) -> list[str]:
    moving = [row for row in movement if row["stage"] not in {None, UNKNOWN, CALM} and row["station"] in judged]
    moving.sort(key=lambda row: -abs(row["velocity_mm_per_day"] or 0.0))
    return list(dict.fromkeys(row["station"] for row in moving))


def _find_failure_window(movement: Sequence[NewestMovement], now: datetime) -> SiteWindow | None:
    trusted = [
        SiteWindow(**row["window"], station=row["station"])
        for row in movement
        if row["window"] and row["window"]["trusted"]
    ]
    data_until = max((row["data_until"] for row in movement if row["data_until"]), default=format_iso(now))
    return headline.select_failure_window(trusted, "window_from", "window_to", data_until)


class ShownForecast(TypedDict):
    """The nearest target of the newest forecast of a station; values are in `unit`, instants are text."""

    station: str
    quantity: str
    unit: str
    issued_at: str
    data_until: str
    target_at: str
    data_value: float
    q10: float | None
    q90: float | None


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
    rows = [row for row in rows if row["issued_at"] == newest and row["quantity"].startswith("displacement")]
    # Of several components of the motion, the one that has moved most is shown.
    return min(rows, key=lambda row: (row["target_at"], -abs(row["data_value"])), default=None)


def collect_motions(c: Connection, sites: Sequence[str], now: datetime) -> dict[str, SiteMotion]:
    """How each of some sites moves."""
    movements = load_newest_movements(c, sites, now)
    watched = list_slope_stations(c, sites)
    states: dict[str, dict[str, str | None]] = {}
    for health in load_view(c, "station_health", StationHealthRow, site=frozenset(movements)) if movements else ():
        states.setdefault(health["site"], {})[health["station"]] = health["state"]
    motions = {
        site: describe_motion(rows, now, watched.get(site, set()), states.get(site, {}))
        for site, rows in movements.items()
    }
    return {site: motion for site, motion in motions.items() if motion is not None}


MOST: Final = 40  # rows of one table; the JSON below holds all
READING_HEAD: Final = ("observed", "received", "revision", "raw", "offset", "value", "sigma", "flags", "extra")
_MEASURED: Final = {
    "raw": Template("evidence.raw", "raw ({unit})"),
    "offset": Template("evidence.offset", "offset ({unit})"),
    "value": Template("evidence.value", "value ({unit})"),
    "sigma": Template("evidence.sigma", "sigma ({unit})"),
}
_READINGS: Final = Template("evidence.readings", "Readings of {series}")


@dataclass(frozen=True, slots=True)
class EvidenceTable:
    """A table of the page of an alert; of many rows the last."""

    name: str
    head: Sequence[str]  # empty: it has none
    rows: list[list[Any]]
    left: int = 0  # rows before these
    folded: bool = False  # what was read, shown when it is asked for


@dataclass(frozen=True, slots=True)
class RateOverBound:
    """The rate behind a vote and the bound that it is over."""

    value: str
    bound: str
    span_s: float
    unit: str
    quantity: str
    moved: bool  # a velocity, else another rate


@dataclass(frozen=True, slots=True)
class LevelVote:
    """Who asked for more than the lowest level."""

    station: str
    level: int
    name: str  # of the level
    at: datetime | str  # newest datum
    reason: str
    counted: bool
    aside: str  # why it does not count
    rate: RateOverBound | None


@dataclass(frozen=True, slots=True)
class LevelFindings:
    """All who asked, the highest level first, and who agree on the level that counts."""

    votes: Sequence[LevelVote]
    agree: tuple[int, int]  # stations that counted for the level, stations with a criterion of motion
    name: str  # of that level


def read_evidence(evidence: headline.FrozenDecision) -> list[EvidenceTable]:
    """Tables out of frozen inputs; those of a level decision are arranged, others are walked as they are."""
    outcome = evidence.get("outcome")
    if isinstance(outcome, Mapping) and isinstance(evidence.get("view"), Mapping):
        with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):  # altered: shown as it is
            return _arrange(outcome.get("evidence") or {}, evidence["view"])
    return _walk("", evidence)


def find_sentence(evidence: headline.FrozenDecision) -> str:
    """The one sentence that says why, or nothing."""
    return evidence.get("sentence") or evidence.get("reason") or ""


def list_findings(frozen: headline.FrozenDecision, site: Site | None) -> LevelFindings | None:
    """Who asked for more than the lowest level, in figures that make sentences; None where no criterion voted."""
    outcome = headline.get_evidence(frozen)
    if site is None or not outcome:
        return None
    words = {VoteKey(w["criterion"], w["station"]): w for w in outcome.get("words", ())}
    rates = {c.id: c for c in site.criteria if c.kind.rate}
    votes = []
    for name, vote in outcome.get("votes", {}).items():
        key = VoteKey.read(name)
        entry = words.get(key)
        if not vote["level"] or entry is None:
            continue
        bound = headline.find_bound_of_vote(entry, vote["level"])
        criterion = rates.get(key.criterion)
        votes.append(
            LevelVote(
                station=key.station,
                level=vote["level"],
                name=headline.name_site_level(site, vote["level"]),
                at=_instant(vote["newest_s"]),
                reason=entry["reason"],
                counted=vote["counted"],
                aside=vote["pended"] or "",
                rate=None if bound is None or criterion is None else _describe_rate(site, criterion, bound),
            )
        )
    if not votes:
        return None
    votes.sort(key=lambda one: (-one.level, not one.counted, one.station))
    top = max((one.level for one in votes if one.counted), default=0)
    agree = {one.station for one in votes if one.counted and one.level == top}
    stations = {w["station"] for w in outcome.get("words", ()) if w["criterion"] in rates}
    return LevelFindings(votes, (len(agree), len(stations | agree)), headline.name_site_level(site, top))


def _describe_rate(site: Site, criterion: Criterion, bound: headline.MeasuredBound) -> RateOverBound:
    return RateOverBound(
        value=format_number(bound["rate"]),
        bound=format_number(bound["bound"]),
        span_s=headline.get_window_s(bound),
        unit=headline.find_unit(site, criterion.id),
        quantity=criterion.quantity,
        moved=criterion.kind.velocity,
    )


def _table(name: str, head: Sequence[str], rows: list[list[Any]], *, folded: bool = False) -> EvidenceTable:
    return EvidenceTable(name, head, rows[-MOST:], max(len(rows) - MOST, 0), folded)


def _instant(at_s: Any) -> Any:
    return from_epoch_s(at_s) if isinstance(at_s, int | float) else "–"


def _arrange(outcome: headline.DecisionEvidence, view: Mapping[str, Any]) -> list[EvidenceTable]:
    tables = list_outcome_tables(outcome)
    for name, readings in view.get("readings", {}).items():
        rows = [[_flat(v) for v in r[: len(READING_HEAD)]] for r in readings]
        known = QUANTITIES.get(name.partition(".")[2])
        head = [_MEASURED[h](unit=known.unit) if known and h in _MEASURED else h for h in READING_HEAD]
        tables.append(_table(_READINGS(series=name), head, rows, folded=True))
    for name in ("forecasts", "anomalies", "footprints", "reports", "events", "failures", "maintenance", "points"):
        tables += [replace(t, folded=True) for t in _walk(name, view.get(name) or [])]
    return [t for t in tables if t.rows]


def list_outcome_tables(outcome: headline.DecisionEvidence) -> list[EvidenceTable]:
    """Votes, words, steps and holds of a decision's evidence as tables; empty ones are left out."""
    votes = []
    for key, v in outcome.get("votes", {}).items():
        counted, aside = Term("counted" if v["counted"] else "not counted"), v["pended"] or ""
        votes.append(
            [key.replace("|", " · "), v["level"], counted, aside, _instant(v["newest_s"]), _instant(v["valid_until_s"])]
        )
    words = []
    for w in outcome.get("words", ()):
        age = Term("fresh" if w["fresh"] else "old" if w["heard"] else "silent")
        words.append([w["criterion"], w["station"], w["raise_level"], age, _instant(w["newest_s"]), w["reason"]])
    steps = [[key, v["level"], v["state"], v["reason"]] for key, v in outcome.get("steps", {}).items()]
    tables = [
        _table("Votes", ("witness", "level", "", "set aside because", "newest datum", "valid until"), votes),
        _table("What each rule said", ("rule", "station", "level", "datum", "newest", "in words"), words),
        _table("Sudden steps", ("step", "level", "state", "in words"), steps),
        _table("Common motion", ("reference", "in words"), [list(item) for item in outcome.get("common", {}).items()]),
        _table("Held by", ("witness",), [[key] for key in outcome.get("held_by", ())]),
    ]
    return [t for t in tables if t.rows]


def _walk(name: str, value: Any) -> list[EvidenceTable]:
    if isinstance(value, Mapping):
        plain = [[k, v] for k, v in value.items() if not isinstance(v, Mapping | list)]
        tables = [_table(name, (), plain)] if plain else []
        for key, inner in value.items():
            if isinstance(inner, Mapping | list) and inner:
                tables += _walk(f"{name} › {key}" if name else str(key), inner)
        return tables
    if value and all(isinstance(item, Mapping) for item in value):
        head = list(dict.fromkeys(k for item in value for k in item))
        return [_table(name, head, [[_flat(item.get(k)) for k in head] for item in value])]
    rows = [[_flat(v) for v in item] if isinstance(item, list) else [_flat(item)] for item in value]
    return [_table(name, (), rows)] if rows else []


def _flat(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value
