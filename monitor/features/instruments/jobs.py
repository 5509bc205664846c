"""The job that assesses each instrument of a site: findings, battery, availability by month, and health notices.

No decision reads its results: health never changes a warning level.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil, inf
from statistics import fmean
from typing import Final

from sqlalchemy import Connection

from monitor.api.database import Database
from monitor.api.decision import MAINTENANCE, RESOLVED, AlertChange, MaintenanceFact, health_alarm
from monitor.api.hooks import SuspectedFault
from monitor.api.plugins import hooks
from monitor.api.queries.alerts import load_links, load_maintenance_facts, load_open_pages, notify_site
from monitor.api.queries.ingest import Gap, load_gaps
from monitor.api.queries.readings import find_mistyped, load_series
from monitor.api.readings import Link
from monitor.api.settings import ServiceConfig
from monitor.api.sites import (
    BATTERY_LEVEL,
    BATTERY_VOLTAGE,
    HOUSEKEEPING,
    PARENT_KINDS,
    SIGNAL_STRENGTH,
    Parent,
    Site,
    Station,
    list_children,
)
from monitor.api.text import (
    LABELLED_TEXT,
    Message,
    NameList,
    Template,
    Timestamp,
    code_version,
    epoch_s,
    from_epoch_s,
    join,
    parse_time,
)
from monitor.features.instruments import findings
from monitor.features.instruments.battery import (
    DAYS,
    BatteryDay,
    BatteryExpectation,
    expect_empty,
    find_new_battery,
    split_days,
)
from monitor.features.instruments.queries import readings as queries
from monitor.features.instruments.states import ACTIONS, CAUSED_BY, PAGED, RANKS

_NO_VOLTAGE: Final = Template("instrument.battery.no_voltage", "the site file declares no battery voltage")
_COMMON: Final = Template("instrument.common", "{parent}: {names}: {text}")

DAY: Final = timedelta(days=1)
SUSPECT_FOR: Final = timedelta(days=3)  # for which an anomaly without a label is shown
MOVEMENT: Final = "movement"  # kind of anomaly that several stations may have in common
MOVEMENT_LABELS: Final = frozenset({None, "unknown", "movement", "common_mode"})
MIN_STATIONS_IN_COMMON: Final = 3
SPARK_DAYS: Final = 7
MIN_SPARK_STEP: Final = timedelta(hours=4)
Series = Mapping[str, int]  # of one station: quantity -> id of the series


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:  # noqa: ARG001 - signature of jobs
    """Assess the instruments of a site, store the results and send notices. Return one line for the log."""
    with db.read() as c:
        series = {(s.station, s.quantity): s.id for s in load_series(c, site.id)}
        # Of overlapping maintenance windows, the one that ends last counts.
        windows = sorted(load_maintenance_facts(c, site.id, now), key=lambda window: window.to_s)
        maintenance = {window.station: window for window in windows}
        faults = drop_common_movement(_load_faults(c, site, now))
        weather = _load_weather(c, series, now)
        links = load_links(c, site.id)
        faults_of: dict[str, list[SuspectedFault]] = defaultdict(list)
        for fault in faults:
            faults_of[fault.station].append(fault)
        gaps_of: dict[str, list[Gap]] = defaultdict(list)
        for gap in load_gaps(c, site.id, now - SUSPECT_FOR, now):
            gaps_of[gap.station].append(gap)
        series_of: dict[str, dict[str, int]] = defaultdict(dict)
        for (name, quantity), series_id in series.items():
            series_of[name][quantity] = series_id
        facts = {
            station.id: _StationFacts(
                series_of[station.id],
                weather,
                maintenance.get(station.id),
                faults_of[station.id],
                gaps_of[station.id],
                links.get(station.id),
            )
            for station in site.stations
        }
        assessments = [_assess(c, station, facts[station.id], now) for station in site.stations]
        months = _count_months(c, site, series_of, now)
        pages = load_open_pages(c, site.id, PAGED)
        silent = queries.load_silent(c, site.id)
        clocks = NO_CLOCKS
        if any(state == "clock" for assessment in assessments for state, *_ in assessment.findings):
            clocks = LoggerClocks(
                queries.load_finding_begins(c, site.id, "clock"), _find_last_readings(c, site, series_of, now)
            )
    changes = list_changes(site, assessments, pages, silent, clocks)
    with db.write() as c:
        queries.save_instruments(c, site.id, assessments, now)
        queries.save_months(c, site.id, months)
        notify_site(c, site, changes, now, code_version())
    with_findings = sum(bool(assessment.findings) for assessment in assessments)
    return f"{with_findings} of {len(assessments)} instruments with a finding"


def _load_faults(c: Connection, site: Site, now: datetime) -> list[SuspectedFault]:
    faulty_stations = frozenset(queries.load_finding_begins(c, site.id, "stuck", "unusable"))
    since = now - SUSPECT_FOR
    results = hooks().suspected_faults(connection=c, site=site, faulty_stations=faulty_stations, since=since, now=now)
    return [fault for faults in results for fault in faults]


def drop_common_movement(faults: Sequence[SuspectedFault]) -> list[SuspectedFault]:
    """Return the faults without a movement that three or more stations have in common.

    Such a movement comes from the slope or from the common base, and not from the instruments.
    """
    moving = {fault.station for fault in faults if fault.kind == MOVEMENT and fault.cause in MOVEMENT_LABELS}
    if len(moving) < MIN_STATIONS_IN_COMMON:
        return list(faults)
    return [fault for fault in faults if fault.kind != MOVEMENT or fault.station not in moving]


@dataclass(frozen=True, slots=True)
class _StationFacts:
    series: Series
    weather: findings.Weather
    maintenance: MaintenanceFact | None
    faults: Sequence[SuspectedFault]
    gaps: Sequence[Gap]
    link: Link | None


def _assess(c: Connection, station: Station, facts: _StationFacts, now: datetime) -> queries.InstrumentAssessment:
    battery = _load_hours(c, facts.series.get(BATTERY_VOLTAGE), now)
    levels = _load_hours(c, facts.series.get(BATTERY_LEVEL), now, ("", "undeclared"))
    now_s = epoch_s(now)
    volts = _to_battery_days(battery)
    expected = _expect_empty(station, volts, _to_battery_days(levels), now_s)
    calibration, due_on = findings.check_calibration(station.calibrated_on, station.calibrate_every_s, now.date())
    power = findings.check_battery(station.id, expected, now_s)
    if station.find_series(BATTERY_VOLTAGE) is not None:
        power += findings.check_charge(split_days(volts, now_s), facts.weather)
    if levels and all(finding.state != "battery" for finding in power):
        power += findings.check_level(station.id, levels[-1].mean)
    found = [
        *_check_maintenance(station, facts.maintenance),
        *_check_reception(c, station, facts, now),
        *power,
        *_check_epochs(c, _main_series(station, facts.series), now),
        *_check_signal(c, station, facts.series, now),
        *calibration,
        *findings.check_anomalies((fault.quantity, fault.kind, fault.since, fault.cause) for fault in facts.faults),
        *findings.check_gaps(facts.gaps),
    ]
    # The sparkline shows the quantity with a fault or gap, unless an empty battery explains it.
    suspicious: str | None = None
    if all(finding.state != "battery" for finding in found):
        quantities = [fault.quantity for fault in reversed(facts.faults)] + [gap.quantity for gap in facts.gaps]
        suspicious = next((quantity for quantity in quantities if quantity in facts.series), None)
    spark_of, spark = _make_sparkline(c, station, facts.series, suspicious, battery, levels, now)
    return queries.InstrumentAssessment(
        station.id,
        tuple(
            (finding.state, RANKS[finding.state], finding.since, finding.reason, finding.action)
            for finding in findings.join_states(found)
        ),
        round(battery[-1].mean, 3) if battery else None,
        _parse_hour(battery[-1].hour) if battery else None,
        None if expected.empty_s is None else from_epoch_s(expected.empty_s),
        expected.method,
        station.calibrated_on,
        due_on,
        spark_of,
        spark,
    )


def _check_maintenance(station: Station, maintenance: MaintenanceFact | None) -> list[findings.InstrumentFinding]:
    if maintenance is None:
        return []
    reason = MAINTENANCE(
        station=station.id,
        at=Timestamp(maintenance.to_s),
        names=NameList((maintenance.by,)),
        reason=maintenance.reason,
    )
    since = from_epoch_s(maintenance.from_s)
    return [findings.InstrumentFinding("maintenance", reason, ACTIONS["maintenance"], since)]


def _check_reception(
    c: Connection, station: Station, facts: _StationFacts, now: datetime
) -> Iterator[findings.InstrumentFinding]:
    if facts.link is not None and not facts.link.online:
        newest = queries.find_newest_reception(c, list(facts.series.values()), facts.link.at)
        yield from findings.check_link(facts.link, newest)
    for quantity, series_id in facts.series.items():
        spec = station.find_series(quantity)
        if spec is not None and spec.by_hand:
            yield from findings.check_typed(quantity, find_mistyped(c, series_id, now))


def _check_epochs(c: Connection, main: tuple[str, int] | None, now: datetime) -> list[findings.InstrumentFinding]:
    if main is None:
        return []
    _, series_id = main
    # Readings of a clock that is ahead lie in the future.
    last_day = queries.load_epochs(c, series_id, now - DAY, now + DAY)
    week_before = queries.load_epochs(c, series_id, now - 8 * DAY, now - DAY)
    usual_s = queries.load_delays(c, series_id, now - 8 * DAY, now - DAY)
    clock = findings.check_clock(last_day, usual_s)
    if not clock:
        clock = findings.check_far_clock(queries.load_far_delays(c, series_id, now - DAY, now))
    return clock + findings.check_fixes(last_day, week_before)


def _make_sparkline(
    c: Connection,
    station: Station,
    series: Series,
    suspicious: str | None,
    battery: Sequence[queries.HourSummary],
    levels: Sequence[queries.HourSummary],
    now: datetime,
) -> tuple[str | None, list[float | None] | None]:
    """Return the quantity of the sparkline and its values; both are None if the station has no series."""
    hours: Sequence[queries.HourSummary] | None = None
    if suspicious is not None:
        quantity = suspicious
    elif BATTERY_VOLTAGE in series:
        quantity = BATTERY_VOLTAGE
        hours = battery
    elif levels:
        quantity = BATTERY_LEVEL
        hours = levels
    elif (main := _main_series(station, series)) is not None:
        quantity = main[0]
    else:
        return None, None
    if hours is None:
        hours = queries.load_hours(c, series[quantity], now - SPARK_DAYS * DAY, now)
    spec = station.find_series(quantity)
    return quantity, _average_parts(hours, 0.0 if spec is None else spec.interval_s, now)


def _load_hours(
    c: Connection, series_id: int | None, now: datetime, flags: Sequence[str] = ("",)
) -> list[queries.HourSummary]:
    return [] if series_id is None else queries.load_hours(c, series_id, now - DAYS * DAY, now, flags)


def _expect_empty(
    station: Station, volts: Sequence[BatteryDay], levels: Sequence[BatteryDay], now_s: float
) -> BatteryExpectation:
    """Return the earlier of the estimates from voltages and from levels."""
    volt_days = split_days(volts[find_new_battery(volts) :], now_s)
    level_days = split_days(levels[find_new_battery(levels) :], now_s)
    volt_spec = station.find_series(BATTERY_VOLTAGE)
    level_spec = station.find_series(BATTERY_LEVEL)
    by_volts = [] if volt_spec is None else [expect_empty(volt_days, volt_spec.empty, now_s)]
    empty_level = 0.0 if level_spec is None or level_spec.empty is None else level_spec.empty
    by_level = [expect_empty(level_days, empty_level, now_s, "%")] if level_days else []
    # If neither gives a date, the reason of the first is shown.
    has_usable_volts = bool(volt_days) and volt_spec is not None and volt_spec.empty is not None
    estimates = by_volts + by_level if has_usable_volts else by_level + by_volts
    unknown = BatteryExpectation(None, _NO_VOLTAGE())
    return min(estimates, key=lambda estimate: inf if estimate.empty_s is None else estimate.empty_s, default=unknown)


def _main_series(station: Station, series: Series) -> tuple[str, int] | None:
    """Return quantity and id of the first stored series that is no housekeeping, or None."""
    for spec in station.series:
        if spec.quantity in HOUSEKEEPING:
            continue
        for name in (spec.quantity, "displacement_downslope", "displacement_east"):
            if name in series and station.find_series(name) is spec:
                return name, series[name]
    return None


def _to_battery_days(hours: Sequence[queries.HourSummary]) -> list[BatteryDay]:
    return [BatteryDay(epoch_s(_parse_hour(hour.hour)), hour.low, hour.high) for hour in hours]


# All instruments have the same hours of a month.
@lru_cache(maxsize=2048)
def _parse_hour(hour: str) -> datetime:
    return parse_time(f"{hour}:00:00Z")


def _find_last_readings(c: Connection, site: Site, series_of: Mapping[str, Series], now: datetime) -> dict[str, float]:
    """Return when each station with enough epochs of the last day was received last, epoch seconds."""
    received_s = {}
    for station in site.stations:
        main = _main_series(station, series_of.get(station.id, {}))
        epochs = [] if main is None else queries.load_epochs(c, main[1], now - DAY, now + DAY)
        if len(epochs) >= findings.MIN_EPOCHS:
            received_s[station.id] = max(epoch.received_s for epoch in epochs)
    return received_s


def _check_signal(c: Connection, station: Station, series: Series, now: datetime) -> list[findings.InstrumentFinding]:
    series_id = series.get(SIGNAL_STRENGTH)
    spec = station.find_series(SIGNAL_STRENGTH)
    if series_id is None or spec is None:
        return []
    hours = queries.load_hours(c, series_id, now - DAYS * DAY, now)
    last_day = [hour.mean for hour in hours if _parse_hour(hour.hour) > now - DAY]
    before = [hour.mean for hour in hours if _parse_hour(hour.hour) <= now - DAY]
    return findings.check_signal(last_day, before, spec.low)


def _load_weather(c: Connection, series: Mapping[tuple[str, str], int], now: datetime) -> findings.Weather:
    highs: dict[str, list[float]] = {"temperature": [], "snow_depth": []}
    for (_, quantity), series_id in series.items():
        if quantity in highs:
            highs[quantity] += [hour.high for hour in queries.load_hours(c, series_id, now - 2 * DAY, now)]
    return findings.Weather(max(highs["temperature"], default=None), max(highs["snow_depth"], default=None))


def _average_parts(hours: Sequence[queries.HourSummary], interval_s: float, now: datetime) -> list[float | None]:
    """Return the mean of each equal part of the last `SPARK_DAYS`. None marks a part without readings."""
    count = max(2, int(SPARK_DAYS * DAY / max(MIN_SPARK_STEP, timedelta(seconds=interval_s))))
    step = SPARK_DAYS * DAY / count
    begin = now - SPARK_DAYS * DAY
    parts: dict[int, list[float]] = {}
    for hour in hours:
        at = _parse_hour(hour.hour)
        if at > begin - timedelta(hours=1):
            part = max(0, int((at - begin) / step))
            parts.setdefault(part, []).append(hour.mean)
    return [round(fmean(parts[part]), 4) if part in parts else None for part in range(count)]


def _count_months(
    c: Connection, site: Site, series_of: Mapping[str, Series], now: datetime
) -> list[queries.InstrumentMonth]:
    """Count the expected and received epochs of each station in the last and in the present month.

    A series that begins in a month is expected from its first epoch on, an older series from the first day on. A
    declared series that never had a reading is as old as its station.
    """
    this_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last_month = (this_month - DAY).replace(day=1)
    counts = queries.count_epochs(c, site.id, last_month, now)
    begins = queries.load_begins(c, site.id)
    months = []
    for station in site.stations:
        series = series_of.get(station.id, {})
        is_old_station = min((begins[series_id] for series_id in series.values()), default=now) < last_month
        old_series = {series_id for series_id in series.values() if begins[series_id] < last_month}
        for begin, end in ((last_month, this_month), (this_month, now)):
            month = f"{begin:%Y-%m}"
            expected = 0
            received = 0
            for spec in station.series:
                ids = [series_id for quantity, series_id in series.items() if station.find_series(quantity) is spec]
                rows = [counts[series_id, month] for series_id in ids if (series_id, month) in counts]
                is_old = not old_series.isdisjoint(ids) if ids else is_old_station
                if is_old:
                    due = int((end - begin).total_seconds() / spec.interval_s)
                elif rows:
                    first_at = parse_time(min(first for _, first in rows))
                    due = ceil((end - first_at).total_seconds() / spec.interval_s)
                else:
                    continue
                expected += due
                received += min(due, max((count for count, _ in rows), default=0))
                old_series.update(ids)
            is_old_station = is_old_station or expected > 0
            if expected:
                months.append(queries.InstrumentMonth(station.id, month, expected, received))
    return months


@dataclass(frozen=True, slots=True)
class LoggerClocks:
    """Facts that distinguish the wrong clock of a logger from wrong clocks of single instruments.

    Attributes:
        wrong_since: Station -> since when its clock has been found wrong.
        received_s: Station -> when it was received last, epoch seconds.
    """

    wrong_since: Mapping[str, datetime]
    received_s: Mapping[str, float]


NO_CLOCKS: Final = LoggerClocks({}, {})


def list_changes(
    site: Site,
    assessments: Sequence[queries.InstrumentAssessment],
    pages: Mapping[str, Message],
    silent: Collection[str] = (),
    clocks: LoggerClocks = NO_CLOCKS,
) -> list[AlertChange]:
    """Return the notices that open and those that end.

    A finding that all instruments of a parent share is one notice about the parent. Silent instruments and those under
    maintenance count neither for nor against a common cause. An instrument that was not received since a clock went
    wrong does not count against the clock of its logger. A clock that has just been found wrong therefore waits for
    the next run of the job.

    The battery of a silent instrument gets no second notice, and silence does not end an open notice.

    Args:
        site: The site.
        assessments: The results of this run.
        pages: Key -> text of each open notice.
        silent: Ids of the silent stations.
        clocks: Facts about wrong clocks.
    """
    in_maintenance = {
        assessment.station
        for assessment in assessments
        if any(state == "maintenance" for state, *_ in assessment.findings)
    }
    families = _list_families(site)
    uninformative = {*silent, *in_maintenance}
    wanted: dict[str, Message] = {}
    described = _describe_findings(assessment for assessment in assessments if assessment.station not in in_maintenance)
    for state, by_station in described.items():
        wanted |= _list_notices(state, by_station, families, pages, uninformative, clocks)
    battery_keys_of_silent = {_make_key(station, "battery") for station in silent}
    wanted = {key: text for key, text in wanted.items() if key in pages or key not in battery_keys_of_silent}
    silent_parents = [_name_parent(parent) for parent, stations in families.items() if stations <= set(silent)]
    wanted |= _keep_notices_of_silent([*silent, *silent_parents], pages)
    opened = [health_alarm(key, 1, text, is_open=True) for key, text in sorted(wanted.items()) if key not in pages]
    ended = [
        health_alarm(key, 0, RESOLVED(text=pages[key]), is_open=False) for key in sorted(pages) if key not in wanted
    ]
    return [*opened, *ended]


def _list_families(site: Site) -> dict[Parent, set[str]]:
    """Return the stations of each parent, such as a logger or a base, that has several."""
    children = {parent: {station for station, _ in places} for parent, places in list_children(site).items()}
    return {parent: stations for parent, stations in children.items() if parent.kind != "station" and len(stations) > 1}


def _keep_notices_of_silent(names: Iterable[str], pages: Mapping[str, Message]) -> dict[str, Message]:
    """Return the open notices about batteries and clocks of silent stations and parents."""
    keys = [_make_key(name, state) for name in names for state in ("battery", "clock")]
    return {key: pages[key] for key in keys if key in pages}


def _describe_findings(assessments: Iterable[queries.InstrumentAssessment]) -> dict[str, dict[str, Message]]:
    """Return the texts of findings that people are notified of, by state and station."""
    described: dict[str, dict[str, Message]] = {}
    for assessment in assessments:
        for state, _, _, reason, action in assessment.findings:
            if state in PAGED:
                described.setdefault(state, {})[assessment.station] = join([reason, action])
    return described


def _list_notices(
    state: str,
    by_station: Mapping[str, Message],
    families: Mapping[Parent, set[str]],
    pages: Mapping[str, Message],
    uninformative: AbstractSet[str],
    clocks: LoggerClocks,
) -> dict[str, Message]:
    """Return the notices about one state, by key: open ones, then those of common parents, then of single stations."""

    def make_notice(station: str) -> Message:
        return LABELLED_TEXT(name=station, text=by_station[station])

    remaining = {station for station in by_station if _make_key(station, state) not in pages}
    notices = {_make_key(station, state): make_notice(station) for station in by_station if station not in remaining}

    def rank(parent: Parent) -> tuple[bool, int, bool, int, str]:
        """Order parents: with an open notice, with many stations, of the kind that causes the state."""
        is_new = _make_key(_name_parent(parent), state) not in pages
        is_other_kind = parent.kind != CAUSED_BY.get(state)
        return is_new, -len(families[parent]), is_other_kind, PARENT_KINDS.index(parent.kind), parent.name

    for parent in sorted(families, key=rank):
        affected = families[parent] & remaining
        unaffected = families[parent] - by_station.keys() - uninformative
        if state == "clock":
            unaffected = _list_received_since(unaffected, affected, clocks)
        key = _make_key(_name_parent(parent), state)
        if affected and (key in pages or (len(affected) > 1 and not unaffected)):
            names = sorted(affected)
            notices[key] = _COMMON(parent=parent.text, names=NameList(tuple(names)), text=by_station[names[0]])
            remaining -= affected
    if state == "clock":
        # A clock that has just been found wrong may be that of the logger.
        in_families = {station for stations in families.values() for station in stations}
        remaining -= {station for station in remaining if station not in clocks.wrong_since and station in in_families}
    return notices | {_make_key(station, state): make_notice(station) for station in remaining}


def _list_received_since(stations: AbstractSet[str], wrong: AbstractSet[str], clocks: LoggerClocks) -> set[str]:
    """Return the stations that were received after the first of the wrong clocks was found."""
    first_at = min((clocks.wrong_since[station] for station in wrong if station in clocks.wrong_since), default=None)
    received = {station for station in stations if station in clocks.received_s}
    if first_at is None:
        return received
    return {station for station in received if clocks.received_s[station] > epoch_s(first_at)}


def _name_parent(parent: Parent) -> str:
    return f"{parent.kind}:{parent.name}"


def _make_key(name: str, state: str) -> str:
    return f"health:instrument:{name}:{state}"
