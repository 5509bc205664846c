"""The facts of a report: everything that a period contains, as it was known at the end of the period.

The same rows of the database give the same facts, whenever they are gathered. The digest of a report depends on that.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from math import ceil, hypot
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
from monitor.features.reports import queries
from monitor.features.reports.period import Period, split_days

MAX_SPARK_POINTS: Final = 60
# Of a series with too many readings, this fraction of the period is read at each end.
END_FRACTION: Final = 1 / 50
RAIN_PARTS: Final = 24  # bars of the rain chart
COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")
WATER_PREFIXES: Final = ("water_level", "groundwater_level", "reservoir_level", "pore_pressure", "soil_moisture")
RAIN: Final = "rain"
OBSERVABILITIES: Final = ("full", "degraded", "blind")  # from best to worst


_MovementField = Literal[
    "velocity_mm_per_day", "velocity_error_mm_per_day", "velocity_window_s", "stage", "trend", "window"
]
_MOVEMENT_FIELDS: Final[tuple[_MovementField, ...]] = get_args(_MovementField)


class ReportSite(TypedDict):
    """The site as its file declared it at the end of the period."""

    id: str
    name: str
    timezone: str
    version: str
    levels: list[StoredLevel]


class ReportFacts(TypedDict):
    """The facts of a report that code reads. Instants are ISO 8601 texts. The templates read further keys."""

    site: ReportSite
    kind: str
    to: str
    now: Any  # the last decision of the period, see `queries.find_last_decision`
    hazards: list[Any]


def load_site_at(c: Connection, site_id: str, at: datetime) -> Site:
    """Return a site as its file declared it at an instant.

    Raises:
        NotFoundError: The site had no file yet.
        ConfigError: This version of Slopeward cannot read the file.
    """
    version = find_version_at(c, site_id, at)
    return parse_site(load_site_source(c, version), version[:12])


def gather_facts(c: Connection, site_id: str, period: Period) -> ReportFacts:
    """Return the facts of a report.

    Raises:
        NotFoundError: The site had no file at the end of the period.
        RefusedError: The period does not end after its beginning.
    """
    if period.from_at >= period.to_at:
        raise RefusedError("a report must end after it begins")
    site = load_site_at(c, site_id, period.to_at)
    zone = ZoneInfo(site.timezone)
    span = (period.from_at, period.to_at)
    alerts, shortened_ledgers = queries.load_past_alerts(c, site_id, *span)
    segments = load_ribbon(c, site_id, *span)
    series = load_series(c, site_id)
    shifts = load_days(c, site_id, *span)
    movement = load_newest_movement(c, site_id, period.to_at)
    advice_keys: dict[str, list[str]] = {}
    for alert in alerts:
        if alert.ledger == AlertCategory.ADVICE:
            advice_keys.setdefault(alert.key.rpartition(":")[0], []).append(alert.key)
    facts: dict[str, Any] = {
        "site": {
            "id": site.id,
            "name": site.name,
            "timezone": site.timezone,
            "version": site.version,
            "levels": [{"number": level.number, "name": level.name, "action": level.action} for level in site.levels],
        },
        "kind": period.kind,
        "from": period.from_at,
        "to": period.to_at,
        "now": queries.find_last_decision(c, site_id, period.to_at),
        "segments": [asdict(segment) for segment in segments],
        "days": [_describe_day(str(day), begin, end, segments, shifts) for day, begin, end in split_days(period, zone)],
        "hazards": [asdict(alert) for alert in alerts if alert.ledger == AlertCategory.HAZARD],
        "instruments": [
            asdict(alert)
            for alert in alerts
            if alert.ledger == AlertCategory.HEALTH and alert.closed_at is None and alert.level > 0
        ],
        "advice": [describe_cause(keys) for _, keys in sorted(advice_keys.items())],
        "movement": _describe_motion(c, site, series, movement, period),
        "rain": _describe_rain(c, site, series, period),
        "water": _describe_water(c, series, period),
        "forecasts": _describe_forecasts(c, series, period),
        "scores": queries.load_forecast_scores(c, site_id, *span),
        "messages": queries.load_messages(c, site_id, *span),
        "changes": queries.load_changes(c, site_id, *span),
        "notes": queries.load_notes(c, site_id, *span),
        "acts": queries.load_acts(c, site_id, *span),
    }
    if shortened_ledgers:
        facts |= {"cut": shortened_ledgers, "cut_after": queries.MAX_ROWS}
    return cast("ReportFacts", plain_to_messages(json.loads(canonical_json(format_instants(facts)))))


def make_digest(facts: ReportFacts) -> str:
    """Return the SHA-256 of the facts. Reports with equal digests have equal facts."""
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


def find_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of the parts of the facts that differ, in alphabetical order.

    >>> find_changed({"rain": 1, "notes": []}, {"rain": 2, "notes": [], "acts": []})
    ['acts', 'rain']
    """
    missing = object()
    names = sorted({*before, *after})
    return [name for name in names if before.get(name, missing) != after.get(name, missing)]


def _describe_day(
    day: str, begin: datetime, end: datetime, segments: Sequence[LevelSegment], shifts: Sequence[PlannedDuty]
) -> queries.ReportRow:
    """Return the highest and the last level of a day, its worst observability, and who was on duty.

    Level and observability are None if the site was not evaluated on that day.
    """
    segments_of_day = [segment for segment in segments if segment.from_at < end and segment.to_at > begin]
    on_duty: list[str] = []
    for shift in shifts:
        if shift.from_at < end and shift.to_at > begin:
            on_duty += [name for name in (shift.person or shift.team, shift.second_person) if name]
    ranks = [_rank_observability(segment.observability) for segment in segments_of_day]
    return {
        "day": day,
        "from": begin,
        "to": end,
        "highest": max((segment.level for segment in segments_of_day), default=None),
        "last": segments_of_day[-1].level if segments_of_day else None,
        "duty": list(dict.fromkeys(on_duty)),
        "sight": OBSERVABILITIES[max(ranks)] if ranks else None,
    }


def _rank_observability(observability: str | None) -> int:
    """Return the place in `OBSERVABILITIES`. An unknown value counts as blind."""
    return OBSERVABILITIES.index(observability) if observability in OBSERVABILITIES else len(OBSERVABILITIES) - 1


def _read_ends(c: Connection, series: SeriesRow, period: Period) -> tuple[list[Reading], bool]:
    """Return the usable readings of a period, and whether they are complete.

    A series with too many readings is read only near both ends of the period.
    """
    from_at = period.from_at
    to_at = period.to_at
    is_complete = True
    try:
        readings = load_range(c, series.id, from_at, to_at, to_at)
    except RefusedError:
        is_complete = False
        part = END_FRACTION * (to_at - from_at)
        readings = []
        for begin, end in ((from_at, from_at + part), (to_at - part, to_at)):
            try:
                readings += load_range(c, series.id, begin, end, to_at)
            except RefusedError:
                continue
    usable = [reading for reading in readings if all(flag in HARMLESS for flag in reading.flags)]
    return usable, is_complete


def _make_sparkline(points: Sequence[tuple[datetime, float]], period: Period) -> list[float | None]:
    """Return the last value in each of equal parts of the period. None marks a part without readings."""
    # There are fewer parts than readings, so that an empty part is a gap in the readings.
    count = min(MAX_SPARK_POINTS, max(2, round(0.75 * len(points))))
    cells: list[float | None] = [None] * count
    span = (period.to_at - period.from_at).total_seconds()
    for at, value in points:
        place = int(count * (at - period.from_at).total_seconds() / span)
        cells[min(max(place, 0), count - 1)] = round(value, 6)
    return cells


def _describe_motion(
    c: Connection, site: Site, series: Sequence[SeriesRow], movement: Sequence[NewestMovement], period: Period
) -> list[queries.ReportRow]:
    """Return how each station moved: change over the period, sparkline, and the newest velocity and stage."""
    fastest: dict[str, NewestMovement] = {}
    for row in movement:
        other = fastest.get(row["station"])
        if other is None or abs(row["velocity_mm_per_day"] or 0.0) > abs(other["velocity_mm_per_day"] or 0.0):
            fastest[row["station"]] = row
    by_station: dict[str, dict[str, SeriesRow]] = {}
    for series_row in series:
        if series_row.quantity.startswith(GROUND_MOTION_PREFIXES):
            by_station.setdefault(series_row.station, {})[series_row.quantity] = series_row
    described: list[queries.ReportRow] = []
    for station, series_of_station in sorted(by_station.items()):
        declared = site.station(station)
        # Only the first row of a station has its velocity and stage.
        newest = fastest.get(station)
        for quantity, points, unit in _load_changes_since_begin(c, series_of_station, period):
            described.append(
                {
                    "station": station,
                    "on_slope": declared.on_slope if declared else True,
                    "quantity": quantity,
                    "unit": unit,
                    "change": round(points[-1][1], 6),
                    "newest_at": points[-1][0],
                    "points": _make_sparkline(points, period),
                    **dict.fromkeys(_MOVEMENT_FIELDS),
                    **({name: newest[name] for name in _MOVEMENT_FIELDS} if newest else {}),
                }
            )
            newest = None
    return described


def _load_changes_since_begin(
    c: Connection, series_of_station: dict[str, SeriesRow], period: Period
) -> Iterator[tuple[str, list[tuple[datetime, float]], str]]:
    """Yield quantity, change since the first reading of the period, and unit.

    Components of a displacement with common epochs are joined: the change is the length of their vector. All other
    quantities follow, each alone.
    """
    names = [name for name in COMPONENTS if name in series_of_station]
    components = []
    for name in names:
        readings, _ = _read_ends(c, series_of_station[name], period)
        if readings:
            components.append({reading.observed_at: reading.value for reading in readings})
    epochs = sorted(set(components[0]).intersection(*components[1:])) if len(components) > 1 else []
    if epochs:
        first = epochs[0]
        moved = [(epoch, hypot(*(component[epoch] - component[first] for component in components))) for epoch in epochs]
        yield "displacement", moved, series_of_station[names[0]].unit
    for quantity in sorted(series_of_station):
        if epochs and quantity in names:
            continue
        readings, _ = _read_ends(c, series_of_station[quantity], period)
        if readings:
            changes = [(reading.observed_at, reading.value - readings[0].value) for reading in readings]
            yield quantity, changes, series_of_station[quantity].unit


def _describe_rain(c: Connection, site: Site, series: Sequence[SeriesRow], period: Period) -> list[queries.ReportRow]:
    """Return the rainfall at each gauge: its sum, the measured fraction of the period, and the sums of equal parts."""
    described: list[queries.ReportRow] = []
    begin_s = epoch_s(period.from_at)
    end_s = epoch_s(period.to_at)
    span_s = end_s - begin_s
    for series_row in series:
        spec = site.series(series_row.station, series_row.quantity)
        if series_row.quantity != RAIN or spec is None:
            continue
        # The first amount of a counter is the difference from the reading before it.
        before_s = 2.0 * spec.interval_s
        if spec.stamp != "interval_end":
            # A gauge that reports only rain may have sent its last reading long before the period.
            before_s = max(before_s, spec.max_silence_s)
        before = timedelta(seconds=before_s)
        readings, _ = _read_ends(c, series_row, Period(period.kind, period.from_at - before, period.to_at))
        inputs = DecisionInputs({f"{series_row.station}.{RAIN}": tuple(readings)})
        gauge = read_gauge(inputs, spec, series_row.station, RAIN, end_s)
        if gauge is None:
            continue
        total, coverage = gauge.total_at(end_s, span_s)
        parts = [0.0] * RAIN_PARTS
        for at_s, amount in zip(gauge.times_s, gauge.amounts_mm, strict=True):
            # A part includes its end, as the period does.
            part = ceil((at_s - begin_s) / (span_s / RAIN_PARTS)) - 1
            if part >= 0:
                parts[min(part, RAIN_PARTS - 1)] += amount
        described.append(
            {
                "station": series_row.station,
                "sum_mm": round(total, 3),
                "coverage": round(coverage, 4),
                "parts_mm": [round(part, 3) for part in parts],
            }
        )
    return described


def _describe_water(c: Connection, series: Sequence[SeriesRow], period: Period) -> list[queries.ReportRow]:
    """Return the newest value, change and range of each water level, pore pressure and soil moisture."""
    described: list[queries.ReportRow] = []
    for series_row in series:
        if not series_row.quantity.startswith(WATER_PREFIXES):
            continue
        readings, is_complete = _read_ends(c, series_row, period)
        points = [(reading.observed_at, reading.value) for reading in readings]
        if points:
            values = [value for _, value in points]
            described.append(
                {
                    "station": series_row.station,
                    "quantity": series_row.quantity,
                    "unit": series_row.unit,
                    "last": round(values[-1], 6),
                    "change": round(values[-1] - values[0], 6),
                    "lowest": round(min(values), 6) if is_complete else None,
                    "highest": round(max(values), 6) if is_complete else None,
                    "points": _make_sparkline(points, period),
                }
            )
    return described


def _describe_forecasts(c: Connection, series: Sequence[SeriesRow], period: Period) -> list[queries.ReportRow]:
    """Return the forecasts that were shown at the end of the period, as changes since the newest reading."""
    shown = load_shown_forecasts(c, [series_row.id for series_row in series], period.to_at)
    described: list[queries.ReportRow] = []
    for series_row in series:
        issue = shown.get(series_row.id)
        if issue is None:
            continue
        for k, horizon_s in enumerate(issue.horizons_s):
            target = issue.data_until + timedelta(seconds=horizon_s)
            if target > period.to_at:
                described.append(
                    {
                        "station": series_row.station,
                        "quantity": series_row.quantity,
                        "unit": series_row.unit,
                        "horizon_s": horizon_s,
                        "target_at": target,
                        "model": issue.model,
                        "q10": round(issue.q10[k] - issue.data_value, 6),
                        "q50": round(issue.q50[k] - issue.data_value, 6),
                        "q90": round(issue.q90[k] - issue.data_value, 6),
                    }
                )
    return described
