"""All that a report says of a period, as it was known at its end: the same rows give the same facts, whenever asked."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from math import hypot
from typing import Any, Final, Literal, TypedDict, cast, get_args
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from monitor.api.decision import AlertCategory, DecisionInputs, describe_cause, read_gauge
from monitor.api.errors import RefusedError
from monitor.api.queries.alerts import (
    LevelSegment,
    NewestMovement,
    PlannedDuty,
    StoredLevel,
    load_days,
    load_newest_movement,
    load_range,
    load_ribbon,
)
from monitor.api.queries.models import load_shown_forecasts
from monitor.api.queries.readings import SeriesRow, load_series
from monitor.api.queries.sites import find_version_at, load_site_source
from monitor.api.readings import HARMLESS, Reading
from monitor.api.sites import GROUND_MOTION_PREFIXES, Site, parse_site
from monitor.api.text import canonical_json, epoch_s, format_instants, plain_to_messages
from monitor.features.reports import queries as rows
from monitor.features.reports.period import Period, split_days

CELLS: Final = 60  # points of a small picture, at most
ENDS: Final = 50  # of a series with too many readings: one part in so many is read at each end
COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")
WET: Final = ("water_level", "groundwater_level", "reservoir_level", "pore_pressure", "soil_moisture")
RAIN: Final = "rain"
SIGHTS: Final = ("full", "degraded", "blind")


_JudgedName = Literal[
    "velocity_mm_per_day", "velocity_error_mm_per_day", "velocity_window_s", "stage", "trend", "window"
]
_JUDGED: Final[tuple[_JudgedName, ...]] = get_args(_JudgedName)


class ReportSite(TypedDict):
    """The site as its file declared it at the end."""

    id: str
    name: str
    timezone: str
    version: str
    levels: list[StoredLevel]


class ReportFacts(TypedDict):
    """The facts of a report, instants as text."""

    site: ReportSite
    kind: str
    to: str
    now: Any  # as `StoredSight`
    hazards: list[Any]


def load_site_then(c: Connection, site_id: str, at: datetime) -> Site:
    """A site as its file declared it at an instant; raises NotFoundError, ConfigError for one of another version."""
    version = find_version_at(c, site_id, at)
    return parse_site(load_site_source(c, version), version[:12])


def gather_facts(c: Connection, site_id: str, period: Period) -> ReportFacts:
    """The facts of a report.

    Raises:
        NotFoundError: the site was not watched yet.
        RefusedError: the period does not end after its beginning.
    """
    if period.from_at >= period.to_at:
        raise RefusedError("a report ends after its beginning")
    site, span = load_site_then(c, site_id, period.to_at), (period.from_at, period.to_at)
    zone = ZoneInfo(site.timezone)
    alerts, cut = rows.load_past_alerts(c, site_id, *span)
    segments = load_ribbon(c, site_id, *span)
    series, turns = load_series(c, site_id), load_days(c, site_id, *span)
    movement = load_newest_movement(c, site_id, period.to_at)
    advice: dict[str, list[str]] = {}
    for alert in alerts:
        if alert.ledger == AlertCategory.ADVICE:
            advice.setdefault(alert.key.rpartition(":")[0], []).append(alert.key)
    facts: dict[str, Any] = {
        "site": {
            "id": site.id,
            "name": site.name,
            "timezone": site.timezone,
            "version": site.version,
            "levels": [{"number": v.number, "name": v.name, "action": v.action} for v in site.levels],
        },
        "kind": period.kind,
        "from": period.from_at,
        "to": period.to_at,
        "now": rows.find_sight(c, site_id, period.to_at),
        "segments": [asdict(segment) for segment in segments],
        "days": [_describe_day(str(day), low, high, segments, turns) for day, low, high in split_days(period, zone)],
        "hazards": [asdict(a) for a in alerts if a.ledger == AlertCategory.HAZARD],
        "instruments": [
            asdict(a) for a in alerts if a.ledger == AlertCategory.HEALTH and a.closed_at is None and a.level > 0
        ],
        "advice": [describe_cause(keys) for _, keys in sorted(advice.items())],
        "movement": _describe_motion(c, site, series, movement, period),
        "rain": _describe_rain(c, site, series, period),
        "water": _describe_water(c, series, period),
        "forecasts": _describe_forecasts(c, series, period),
        "scores": rows.load_forecast_scores(c, site_id, *span),
        "messages": rows.load_messages(c, site_id, *span),
        "changes": rows.load_changes(c, site_id, *span),
        "notes": rows.load_notes(c, site_id, *span),
        "acts": rows.load_acts(c, site_id, *span),
    }
    if cut:
        facts |= {"cut": cut, "cut_after": rows.MOST}
    return cast("ReportFacts", plain_to_messages(json.loads(canonical_json(format_instants(facts)))))


def digest_of(facts: ReportFacts) -> str:
    """SHA-256 of the facts: two reports with the same one say the same."""
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


def find_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Which parts of the facts are not what they were.

    >>> find_changed({"rain": 1, "notes": []}, {"rain": 2, "notes": [], "acts": []})
    ['acts', 'rain']
    """
    missing = object()
    return [k for k in sorted({*before, *after}) if before.get(k, missing) != after.get(k, missing)]


def _describe_day(
    day: str, low: datetime, high: datetime, segments: Sequence[LevelSegment], turns: Sequence[PlannedDuty]
) -> rows.ReportRow:
    """The highest level of a day, the one at its end, the worst sight, who was on duty; None where nobody decided."""
    inside = [s for s in segments if s.from_at < high and s.to_at > low]
    duty = [
        name
        for turn in turns
        if turn.from_at < high and turn.to_at > low
        for name in (turn.person or turn.team, turn.second_person)
        if name
    ]
    sights = (s.observability for s in inside)
    worst = max((SIGHTS.index(seen) if seen in SIGHTS else 2 for seen in sights), default=None)
    return {
        "day": day,
        "from": low,
        "to": high,
        "highest": max((s.level for s in inside), default=None),
        "last": inside[-1].level if inside else None,
        "duty": list(dict.fromkeys(duty)),
        "sight": None if worst is None else SIGHTS[worst],
    }


def _read_ends(c: Connection, series: SeriesRow, period: Period) -> tuple[list[Reading], bool]:
    """Readings that nothing is wrong with, and whether they are all; of too many those at both ends of the period."""
    from_at, to_at, is_whole = period.from_at, period.to_at, True
    try:
        found = load_range(c, series.id, from_at, to_at, to_at)
    except RefusedError:
        is_whole = False
        part = (to_at - from_at) / ENDS
        found = []
        for low, high in ((from_at, from_at + part), (to_at - part, to_at)):
            try:
                found += load_range(c, series.id, low, high, to_at)
            except RefusedError:
                continue
    return [r for r in found if all(flag in HARMLESS for flag in r.flags)], is_whole


def _draw(points: Sequence[tuple[datetime, float]], period: Period) -> list[float | None]:
    """The last value of each of equal parts of the period; None where nothing came."""
    count = min(CELLS, max(2, round(0.75 * len(points))))  # fewer than readings: a gap is where readings are missing
    cells: list[float | None] = [None] * count
    span = (period.to_at - period.from_at).total_seconds()
    for at, value in points:
        place = int(count * (at - period.from_at).total_seconds() / span)
        cells[min(max(place, 0), count - 1)] = round(value, 6)
    return cells


def _describe_motion(
    c: Connection, site: Site, series: Sequence[SeriesRow], movement: Sequence[NewestMovement], period: Period
) -> list[rows.ReportRow]:
    """How each station moved: the change over the period, its picture, and the newest judged velocity and stage."""
    judged: dict[str, NewestMovement] = {}
    for row in movement:
        kept = judged.get(row["station"])
        if kept is None or abs(row["velocity_mm_per_day"] or 0.0) > abs(kept["velocity_mm_per_day"] or 0.0):
            judged[row["station"]] = row
    by_station: dict[str, dict[str, SeriesRow]] = {}
    for one in series:
        if one.quantity.startswith(GROUND_MOTION_PREFIXES):
            by_station.setdefault(one.station, {})[one.quantity] = one
    found: list[rows.ReportRow] = []
    for station, own in sorted(by_station.items()):
        declared, seen = site.station(station), judged.get(station)
        for quantity, points, unit in _follow(c, own, period):
            found.append(
                {
                    "station": station,
                    "on_slope": declared.on_slope if declared else True,
                    "quantity": quantity,
                    "unit": unit,
                    "change": round(points[-1][1], 6),
                    "newest_at": points[-1][0],
                    "points": _draw(points, period),
                    **dict.fromkeys(_JUDGED),
                    **({name: seen[name] for name in _JUDGED} if seen else {}),
                }
            )
            seen = None  # what was judged of the station stands in its first row
    return found


def _follow(
    c: Connection, own: dict[str, SeriesRow], period: Period
) -> Iterator[tuple[str, list[tuple[datetime, float]], str]]:
    """Quantity, change since the first reading, unit: the length of the components that are there, then each other."""
    names = [name for name in COMPONENTS if name in own]
    parts = [{r.observed_at: r.value for r in _read_ends(c, own[name], period)[0]} for name in names]
    parts = [part for part in parts if part]
    epochs = sorted(set(parts[0]).intersection(*parts[1:])) if len(parts) > 1 else []
    if epochs:
        first = [part[epochs[0]] for part in parts]
        moved = [(at, hypot(*(part[at] - base for part, base in zip(parts, first, strict=True)))) for at in epochs]
        yield "displacement", moved, own[names[0]].unit
    for quantity in sorted(own):
        readings = [] if epochs and quantity in names else _read_ends(c, own[quantity], period)[0]
        if readings:
            yield quantity, [(r.observed_at, r.value - readings[0].value) for r in readings], own[quantity].unit


def _describe_rain(c: Connection, site: Site, series: Sequence[SeriesRow], period: Period) -> list[rows.ReportRow]:
    """What fell at each gauge, with the share of the period that was measured, and by equal parts of it."""
    found: list[rows.ReportRow] = []
    for one in series:
        spec = site.series(one.station, one.quantity)
        if one.quantity != RAIN or spec is None:
            continue
        before_s = 2.0 * spec.interval_s  # a counter counts from the reading before
        if spec.stamp != "interval_end":  # it says nothing while it is dry: one that is not silent watched before
            before_s = max(before_s, spec.max_silence_s)
        before = timedelta(seconds=before_s)
        readings = _read_ends(c, one, Period(period.kind, period.from_at - before, period.to_at))[0]
        view, end_s = DecisionInputs({f"{one.station}.{RAIN}": tuple(readings)}), epoch_s(period.to_at)
        gauge = read_gauge(view, spec, one.station, RAIN, end_s)
        if gauge is None:
            continue
        span_s = end_s - epoch_s(period.from_at)
        total, coverage = gauge.total_at(end_s, span_s)
        parts, step = [0.0] * 24, span_s / 24
        for at_s, amount in zip(gauge.times_s, gauge.amounts_mm, strict=True):
            place = (at_s - epoch_s(period.from_at)) / step
            if place > 0:
                parts[min(int(-(-place // 1)) - 1, 23)] += amount
        found.append(
            {
                "station": one.station,
                "sum_mm": round(total, 3),
                "coverage": round(coverage, 4),
                "parts_mm": [round(part, 3) for part in parts],
            }
        )
    return found


def _describe_water(c: Connection, series: Sequence[SeriesRow], period: Period) -> list[rows.ReportRow]:
    found: list[rows.ReportRow] = []
    for one in series:
        if not one.quantity.startswith(WET):
            continue
        readings, is_whole = _read_ends(c, one, period)
        points = [(r.observed_at, r.value) for r in readings]
        if points:
            values = [value for _, value in points]
            found.append(
                {
                    "station": one.station,
                    "quantity": one.quantity,
                    "unit": one.unit,
                    "last": round(values[-1], 6),
                    "change": round(values[-1] - values[0], 6),
                    "lowest": round(min(values), 6) if is_whole else None,
                    "highest": round(max(values), 6) if is_whole else None,
                    "points": _draw(points, period),
                }
            )
    return found


def _describe_forecasts(c: Connection, series: Sequence[SeriesRow], period: Period) -> list[rows.ReportRow]:
    """What was shown of each series at the end, by horizon: the expected change since its newest datum."""
    shown = load_shown_forecasts(c, [one.id for one in series], period.to_at)
    found: list[rows.ReportRow] = []
    for one in series:
        issue = shown.get(one.id)
        if issue is None:
            continue
        for k, horizon_s in enumerate(issue.horizons_s):
            target = issue.data_until + timedelta(seconds=horizon_s)
            if target > period.to_at:
                found.append(
                    {
                        "station": one.station,
                        "quantity": one.quantity,
                        "unit": one.unit,
                        "horizon_s": horizon_s,
                        "target_at": target,
                        "model": issue.model,
                        "q10": round(issue.q10[k] - issue.data_value, 6),
                        "q50": round(issue.q50[k] - issue.data_value, 6),
                        "q90": round(issue.q90[k] - issue.data_value, 6),
                    }
                )
    return found
