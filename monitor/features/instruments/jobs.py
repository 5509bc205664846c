"""Look at every instrument of a site: what is wrong, how long its battery lasts, how much of the month it delivered.

It writes the board and notices of health. No decision reads what it finds: health never changes hazard.
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
from monitor.features.instruments.queries import readings as store
from monitor.features.instruments.states import ACTIONS, CAUSED_BY, PAGED, RANKS

_NO_VOLTAGE: Final = Template("instrument.battery.no_voltage", "no battery voltage is declared")
_COMMON: Final = Template("instrument.common", "{parent}: {names}: {text}")

DAY: Final = timedelta(days=1)
SUSPECT_FOR: Final = timedelta(days=3)  # so long an anomaly stands on the board when nobody says what it was
COMMON: Final = "movement"  # the kind of anomaly that stations may have in common
COMMON_CAUSES: Final = frozenset({None, "unknown", "movement", "common_mode"})
FEWEST_TOGETHER: Final = 3  # stations
SPARK_DAYS: Final = 7
SHORTEST_SPAN: Final = timedelta(hours=4)
Series = Mapping[str, int]  # of one station: quantity -> number


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:  # noqa: ARG001 - the shape of a job
    """Judge the instruments of a site; returns one line."""
    with db.read() as c:
        series = {(s.station, s.quantity): s.id for s in load_series(c, site.id)}
        # of windows that overlap the one that lasts longest
        work = {m.station: m for m in sorted(load_maintenance_facts(c, site.id, now), key=lambda m: m.to_s)}
        faults = leave_common(_load_faults(c, site, now))
        weather, links = _read_weather(c, series, now), load_links(c, site.id)
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
            s.id: _StationFacts(
                series_of[s.id], weather, work.get(s.id), faults_of[s.id], gaps_of[s.id], links.get(s.id)
            )
            for s in site.stations
        }
        judged = [_assess(c, station, facts[station.id], now) for station in site.stations]
        months = _count_months(c, site, series_of, now)
        pages = load_open_pages(c, site.id, PAGED)
        silent = store.load_silent(c, site.id)
        clocks = NO_CLOCKS
        if any(state == "clock" for one in judged for state, *_ in one.findings):
            clocks = LoggerClocks(store.load_found(c, site.id, "clock"), _find_last_readings(c, site, series_of, now))
    changes = list_changes(site, judged, pages, silent, clocks)
    with db.write() as c:
        store.save_instruments(c, site.id, judged, now)
        store.save_months(c, site.id, months)
        notify_site(c, site, changes, now, code_version())
    wrong = sum(bool(one.findings) for one in judged)
    return f"{wrong} of {len(judged)} instruments with a finding"


def _load_faults(c: Connection, site: Site, now: datetime) -> list[SuspectedFault]:
    faulty_stations = frozenset(store.load_found(c, site.id, "stuck", "unusable"))
    since = now - SUSPECT_FOR
    results = hooks().suspected_faults(connection=c, site=site, faulty_stations=faulty_stations, since=since, now=now)
    return [fault for faults in results for fault in faults]


def leave_common(faults: Sequence[SuspectedFault]) -> list[SuspectedFault]:
    """Return the faults without a movement that three or more stations have in common.

    Such a movement comes from the slope or from the common base, and not from the instruments.
    """
    moving = {f.station for f in faults if f.kind == COMMON and f.cause in COMMON_CAUSES}
    return [f for f in faults if not (len(moving) >= FEWEST_TOGETHER and f.kind == COMMON and f.station in moving)]


@dataclass(frozen=True, slots=True)
class _StationFacts:
    series: Series
    weather: findings.Weather
    work: MaintenanceFact | None
    faults: Sequence[SuspectedFault]
    gaps: Sequence[Gap]
    link: Link | None


def _assess(c: Connection, station: Station, facts: _StationFacts, now: datetime) -> store.InstrumentAssessment:
    battery = _load_hours(c, facts.series.get(BATTERY_VOLTAGE), now)
    levels = _load_hours(c, facts.series.get(BATTERY_LEVEL), now, ("", "undeclared"))
    volts, now_s = _read_hours(battery), epoch_s(now)
    expected = _expect_empty(station, volts, _read_hours(levels), now_s)
    due, due_on = findings.check_calibration(station.calibrated_on, station.calibrate_every_s, now.date())
    power = findings.check_battery(station.id, expected, now_s)
    if station.find_series(BATTERY_VOLTAGE) is not None:
        power += findings.check_charge(split_days(volts, now_s), facts.weather)
    if levels and all(one.state != "battery" for one in power):
        power += findings.check_level(station.id, levels[-1].mean)
    found = [
        *_check_work(station, facts.work),
        *_check_reception(c, station, facts, now),
        *power,
        *_check_epochs(c, _main_series(station, facts.series), now),
        *_read_signal(c, station, facts.series, now),
        *due,
        *findings.check_anomalies((f.quantity, f.kind, f.since, f.cause) for f in facts.faults),
        *findings.check_gaps(facts.gaps),
    ]
    # what is strange is looked at first, unless the battery is what it comes from
    named = [one.quantity for one in reversed(facts.faults)] + [one.quantity for one in facts.gaps]
    named = [] if any(one.state == "battery" for one in found) else named
    strange = next((quantity for quantity in named if quantity in facts.series), None)
    spark_of, spark = _choose_spark(c, station, facts.series, strange, battery, levels, now)
    return store.InstrumentAssessment(
        station.id,
        tuple((f.state, RANKS[f.state], f.since, f.reason, f.action) for f in findings.join_states(found)),
        round(battery[-1].mean, 3) if battery else None,
        _begin(battery[-1].hour) if battery else None,
        None if expected.empty_s is None else from_epoch_s(expected.empty_s),
        expected.method,
        station.calibrated_on,
        due_on,
        spark_of,
        spark,
    )


def _check_work(station: Station, work: MaintenanceFact | None) -> list[findings.InstrumentFinding]:
    if work is None:
        return []
    reason = MAINTENANCE(station=station.id, at=Timestamp(work.to_s), names=NameList((work.by,)), reason=work.reason)
    return [findings.InstrumentFinding("maintenance", reason, ACTIONS["maintenance"], from_epoch_s(work.from_s))]


def _check_reception(
    c: Connection, station: Station, facts: _StationFacts, now: datetime
) -> Iterator[findings.InstrumentFinding]:
    if facts.link is not None and not facts.link.online:
        newest = store.find_newest_reception(c, list(facts.series.values()), facts.link.at)
        yield from findings.check_link(facts.link, newest)
    for quantity, series_id in facts.series.items():
        typed = station.find_series(quantity)
        if typed is not None and typed.by_hand:
            yield from findings.check_typed(quantity, find_mistyped(c, series_id, now))


def _check_epochs(c: Connection, main: tuple[str, int] | None, now: datetime) -> list[findings.InstrumentFinding]:
    if main is None:
        return []
    epochs = [store.load_epochs(c, main[1], now - back, now - until) for back, until in ((DAY, -DAY), (8 * DAY, DAY))]
    usual_s = store.load_ways(c, main[1], now - 8 * DAY, now - DAY)
    wrong = findings.check_clock(epochs[0], usual_s) or findings.check_far_clock(
        store.load_far_ways(c, main[1], now - DAY, now)
    )
    return wrong + findings.check_fixes(*epochs)


def _choose_spark(
    c: Connection,
    station: Station,
    series: Series,
    strange: str | None,
    battery: Sequence[store.HourSummary],
    levels: Sequence[store.HourSummary],
    now: datetime,
) -> tuple[str | None, list[float | None] | None]:
    hours: Sequence[store.HourSummary] | None = None
    if strange is not None:
        quantity = strange
    elif BATTERY_VOLTAGE in series:
        quantity, hours = BATTERY_VOLTAGE, battery
    elif levels:
        quantity, hours = BATTERY_LEVEL, levels
    elif (main := _main_series(station, series)) is not None:
        quantity = main[0]
    else:
        return None, None
    if hours is None:
        hours = store.load_hours(c, series[quantity], now - SPARK_DAYS * DAY, now)
    spec = station.find_series(quantity)
    return quantity, _draw_spark(hours, 0.0 if spec is None else spec.interval_s, now)


def _load_hours(
    c: Connection, series_id: int | None, now: datetime, flags: Sequence[str] = ("",)
) -> list[store.HourSummary]:
    return [] if series_id is None else store.load_hours(c, series_id, now - DAYS * DAY, now, flags)


def _expect_empty(
    station: Station, volts: Sequence[BatteryDay], levels: Sequence[BatteryDay], now_s: float
) -> BatteryExpectation:
    days, shares = (split_days(hours[find_new_battery(hours) :], now_s) for hours in (volts, levels))
    spec, level_spec = station.find_series(BATTERY_VOLTAGE), station.find_series(BATTERY_LEVEL)
    by_volts = [] if spec is None else [expect_empty(days, spec.empty, now_s)]
    empty = 0.0 if level_spec is None or level_spec.empty is None else level_spec.empty
    by_level = [expect_empty(shares, empty, now_s, "%")] if shares else []
    # where neither knows an end, the first one says why
    found = by_volts + by_level if days and spec is not None and spec.empty is not None else by_level + by_volts
    none = BatteryExpectation(None, _NO_VOLTAGE())
    return min(found, key=lambda e: inf if e.empty_s is None else e.empty_s, default=none)


def _main_series(station: Station, series: Series) -> tuple[str, int] | None:
    for spec in station.series:
        if spec.quantity in HOUSEKEEPING:
            continue
        for name in (spec.quantity, "displacement_downslope", "displacement_east"):
            if name in series and station.find_series(name) is spec:
                return name, series[name]
    return None


def _read_hours(hours: Sequence[store.HourSummary]) -> list[BatteryDay]:
    return [BatteryDay(epoch_s(_begin(hour.hour)), hour.low, hour.high) for hour in hours]


@lru_cache(maxsize=2048)  # all instruments share the hours of a month
def _begin(hour: str) -> datetime:
    return parse_time(f"{hour}:00:00Z")


def _find_last_readings(c: Connection, site: Site, series_of: Mapping[str, Series], now: datetime) -> dict[str, float]:
    found = {}
    for station in site.stations:
        main = _main_series(station, series_of.get(station.id, {}))
        came = [] if main is None else store.load_epochs(c, main[1], now - DAY, now + DAY)
        if len(came) >= findings.LEAST_EPOCHS:
            found[station.id] = max(epoch.received_s for epoch in came)
    return found


def _read_signal(c: Connection, station: Station, series: Series, now: datetime) -> list[findings.InstrumentFinding]:
    series_id, spec = series.get(SIGNAL_STRENGTH), station.find_series(SIGNAL_STRENGTH)
    if series_id is None or spec is None:
        return []
    hours = store.load_hours(c, series_id, now - DAYS * DAY, now)
    fresh = [h.mean for h in hours if _begin(h.hour) > now - DAY]
    return findings.check_signal(fresh, [h.mean for h in hours if _begin(h.hour) <= now - DAY], spec.low)


def _read_weather(c: Connection, series: Mapping[tuple[str, str], int], now: datetime) -> findings.Weather:
    found: dict[str, list[float]] = {"temperature": [], "snow_depth": []}
    for (_, quantity), series_id in series.items():
        if quantity in found:
            found[quantity] += [h.high for h in store.load_hours(c, series_id, now - 2 * DAY, now)]
    return findings.Weather(max(found["temperature"], default=None), max(found["snow_depth"], default=None))


def _draw_spark(hours: Sequence[store.HourSummary], interval_s: float, now: datetime) -> list[float | None]:
    points = max(2, int(SPARK_DAYS * DAY / max(SHORTEST_SPAN, timedelta(seconds=interval_s))))
    span, begin = SPARK_DAYS * DAY / points, now - SPARK_DAYS * DAY
    parts: dict[int, list[float]] = {}
    for hour in hours:
        at = _begin(hour.hour)
        if at > begin - timedelta(hours=1):
            parts.setdefault(max(0, int((at - begin) / span)), []).append(hour.mean)
    return [round(fmean(parts[n]), 4) if n in parts else None for n in range(points)]


def _count_months(
    c: Connection, site: Site, series_of: Mapping[str, Series], now: datetime
) -> list[store.InstrumentMonth]:
    this = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    before = (this - DAY).replace(day=1)
    counted, begun = store.count_epochs(c, site.id, before, now), store.load_begins(c, site.id)
    found = []
    for station in site.stations:
        # a series that begins in a month is expected from its first epoch on, an older one from the first day on; what
        # is declared and never came is as old as its station
        mine = series_of.get(station.id, {})
        seen_before = min((begun[i] for i in mine.values()), default=now) < before
        old = {i for i in mine.values() if begun[i] < before}
        for begin, end in ((before, this), (this, now)):
            month = f"{begin:%Y-%m}"
            expected = received = 0
            for spec in station.series:
                ids = [i for name, i in mine.items() if station.find_series(name) is spec]
                rows = [counted[i, month] for i in ids if (i, month) in counted]
                is_old = not old.isdisjoint(ids) if ids else seen_before
                if rows or is_old:
                    lasted_s = (
                        end - (begin if is_old else parse_time(min(first for _, first in rows)))
                    ).total_seconds()
                    due = int(lasted_s / spec.interval_s) if is_old else ceil(lasted_s / spec.interval_s)
                    expected += due
                    received += min(due, max((n for n, _ in rows), default=0))
                    old.update(ids)
            seen_before = seen_before or expected > 0
            if expected:
                found.append(store.InstrumentMonth(station.id, month, expected, received))
    return found


# ---- notices -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class LoggerClocks:
    """What tells one wrong clock of a logger from several: since when each is found wrong, and who was heard when."""

    wrong: Mapping[str, datetime]
    received_s: Mapping[str, float]


NO_CLOCKS: Final = LoggerClocks({}, {})


def list_changes(
    site: Site,
    judged: Sequence[store.InstrumentAssessment],
    pages: Mapping[str, Message],
    silent: Collection[str] = (),
    clocks: LoggerClocks = NO_CLOCKS,
) -> list[AlertChange]:
    """Notices that open and end; what all instruments of one parent have in common is one notice.

    Who is silent or under work says nothing against a cause. Who has not been heard since a clock went wrong says
    nothing of the clock of its logger; so one that was found wrong just now waits for the next look.
    Of an instrument that is silent, its battery is no second notice; nor does one that stands end by silence.
    """
    at_work = {one.station for one in judged if any(state == "maintenance" for state, *_ in one.findings)}
    families = _list_families(site)
    quiet = {*silent, *at_work}
    wanted: dict[str, Message] = {}
    for state, by_station in _describe_findings(one for one in judged if one.station not in at_work).items():
        wanted |= _list_notices(state, by_station, families, pages, quiet, clocks)
    of_silent = {_key(s, "battery") for s in silent}
    wanted = {k: why for k, why in wanted.items() if k in pages or k not in of_silent}
    wanted |= _list_lasting([*silent, *(_name(p) for p, those in families.items() if those <= set(silent))], pages)
    opened = [health_alarm(k, 1, reason, is_open=True) for k, reason in sorted(wanted.items()) if k not in pages]
    over = [health_alarm(k, 0, RESOLVED(text=pages[k]), is_open=False) for k in sorted(pages) if k not in wanted]
    return [*opened, *over]


def _list_families(site: Site) -> dict[Parent, set[str]]:
    """The stations of each parent that has several, such as a logger or a base."""
    children = {p: {station for station, _ in places} for p, places in list_children(site).items()}
    return {p: stations for p, stations in children.items() if p.kind != "station" and len(stations) > 1}


def _list_lasting(silent: Iterable[str], pages: Mapping[str, Message]) -> dict[str, Message]:
    """Notices that silence does not end: of batteries and clocks of stations and parents that are silent."""
    keys = [_key(name, state) for name in silent for state in ("battery", "clock")]
    return {key: pages[key] for key in keys if key in pages}


def _describe_findings(judged: Iterable[store.InstrumentAssessment]) -> dict[str, dict[str, Message]]:
    described: dict[str, dict[str, Message]] = {}
    for one in judged:
        for state, _, _, reason, action in one.findings:
            if state in PAGED:
                described.setdefault(state, {})[one.station] = join([reason, action])
    return described


def _list_notices(
    state: str,
    by_station: Mapping[str, Message],
    families: Mapping[Parent, set[str]],
    pages: Mapping[str, Message],
    quiet: AbstractSet[str],
    clocks: LoggerClocks,
) -> dict[str, Message]:
    left = {s for s in by_station if _key(s, state) not in pages}
    notices = {_key(s, state): LABELLED_TEXT(name=s, text=by_station[s]) for s in by_station if s not in left}

    def rank(parent: Parent) -> tuple[bool, int, bool, int, str]:
        is_new, kind = _key(_name(parent), state) not in pages, parent.kind
        return is_new, -len(families[parent]), kind != CAUSED_BY.get(state), PARENT_KINDS.index(kind), parent.name

    for parent in sorted(families, key=rank):
        mine, others = families[parent] & left, families[parent] - by_station.keys() - quiet
        if state == "clock":
            others = _list_received_since(others, mine, clocks)
        key = _key(_name(parent), state)
        if mine and (key in pages or (len(mine) > 1 and not others)):
            names = sorted(mine)
            notices[key] = _COMMON(parent=parent.text, names=NameList(tuple(names)), text=by_station[names[0]])
            left -= mine
    if state == "clock":  # what just went wrong may be that of its logger
        left -= {s for s in left if s not in clocks.wrong and any(s in those for those in families.values())}
    return notices | {_key(s, state): LABELLED_TEXT(name=s, text=by_station[s]) for s in left}


def _list_received_since(stations: AbstractSet[str], wrong: AbstractSet[str], clocks: LoggerClocks) -> set[str]:
    first = min((clocks.wrong[s] for s in wrong if s in clocks.wrong), default=None)
    newest_s = clocks.received_s
    return {s for s in stations if s in newest_s and (first is None or newest_s[s] > epoch_s(first))}


def _name(parent: Parent) -> str:
    return f"{parent.kind}:{parent.name}"


def _key(name: str, state: str) -> str:
    return f"health:instrument:{name}:{state}"
