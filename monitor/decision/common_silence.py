"""Detect that the instruments on the slope became silent together, because the slope may have failed.

`check_common_silence` is called in each evaluation. It applies two rules:

* Instruments outside the slope report: the instruments on the slope are silent as soon as all of them have missed one
  expected reception. This rule applies at every level.
* No instrument outside the slope reports: they are silent after three intervals, and only while a level is raised. The
  same rule detects silence of the stations that support the level.

A common silence lasts until a newer reading of the slope is received. A single silent station is reported as a fault of
its instrument.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from monitor.decision.records import Condition, ReceptionRun
from monitor.decision.series.assessment import DecisionContext, belongs_to_series
from monitor.decision.series.reporting import (
    LONGEST_TOLERANCE_S,
    MIN_RECEPTIONS,
    RESTART_S,
    ReportingStation,
    find_tolerance_s,
    follow_outside,
    get_usual_or_declared_s,
    list_all_receptions,
    list_pauses,
    list_reporting_stations,
)
from monitor.decision.series.station_health import SeriesHealthMap
from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS, Parent, Place
from monitor.sites.records import SeriesSpec
from monitor.text.instants import epoch_s
from monitor.text.message import Message, NameList, Template, Term, Timestamp, join

_SILENT: Final = Template("health.silent_slope", "all {n} instruments on the slope have been silent since {at}")
_NO_MOTION: Final = Template(
    "health.silent_slope.no_motion", "all {n} instruments on the slope have sent no motion since {at}"
)
_STILL_SEND: Final = Template("health.silent_slope.still_send", "{names} still send other quantities")
_SUPPORTING_SILENT: Final = Template(
    "health.silent_witnesses", "all {n} stations that support {level} have been silent since {at}: {names}"
)
_OTHERS_REPORT: Final = Template("health.silent_slope.others_report", "those outside it report ({names})")
_KEEP_OUT: Final = Template("health.silent_slope.keep_out", "keep everybody out")
_MAY_HAVE_FAILED: Final = Template("health.silent_slope.failed", "The slope may have failed and taken them along")
_MAY_HAVE_FAILED_AT_ONCE: Final = Template(
    "health.silent_slope.failed_at_once",
    "The slope may have failed before its motion was measured, or they share a power supply or radio that failed",
)
_SHARED: Final = Template(
    "health.silent_slope.shared",
    "All of them use {parent}, which is silent as well. Its failure would explain the silence too",
)
_INSPECT_AND_SET: Final = Template(
    "health.silent_slope.inspect", "Inspect it from a safe place, then set the level: it does not fall by itself"
)
_INSPECT_FIRST: Final = Template(
    "health.silent_slope.inspect_first", "Inspect the slope from a safe place first, then power and radio"
)
# Separates the sentences of a text: what happened, what it means and what to do.
_SENTENCES: Final = ". "
# Alert key of common silence.
SILENT_SLOPE: Final = "health:site:silent_slope"
# Instruments that are received less often than daily are not expected at a certain time of the day.
LONGEST_INTERVAL_S: Final = 1.1 * 86400.0
# An instrument whose last reception or newest epoch is this long before that of the others became silent with them.
TOGETHER_S: Final = 3600.0
# Largest probability that all instruments miss a reception by chance, according to their earlier pauses.
LARGEST_CHANCE: Final = 1e-4
# Number of stations outside the slope that a message names.
NAMED_OUTSIDE: Final = 3
# Number of newest readings of a series whose receptions show its pauses, if no instrument outside reports.
RECEPTION_READINGS: Final = 100
# A pause that is longer than the longest earlier one times this factor is not usual.
PAUSE_FACTOR: Final = 1.5


@dataclass(frozen=True, slots=True)
class CommonSilence:
    """Stations that fell silent together.

    Attributes:
        stations: The silent stations.
        since_s: Newest epoch of these stations, epoch seconds.
        condition: The urgent condition about the silence.
        on_slope: Whether these are all instruments on the slope, not only those that support the level.
        covered: Stations whose silence needs no alert of its own while the common silence lasts.
        outside: Stations outside the slope that report meanwhile.
    """

    stations: tuple[str, ...]
    since_s: float
    condition: Condition
    on_slope: bool
    covered: frozenset[str]
    outside: tuple[str, ...] = ()


class SilenceCheck(NamedTuple):
    """Result of the check for common silence.

    Attributes:
        outside: The present run of receptions from instruments outside the slope.
        due_s: Instants at which silence will be reported if nothing is received until then, epoch seconds.
    """

    silence: CommonSilence | None
    outside: ReceptionRun | None
    due_s: tuple[float, ...] = ()


def check_common_silence(
    context: DecisionContext, level: int, series_health: SeriesHealthMap, supporting: Collection[Place]
) -> SilenceCheck:
    """Check whether the instruments on the slope, or those that support the level, are silent together.

    While a backlog of readings is stored, no silence is reported.

    Args:
        context: The context.
        level: The level of the site.
        series_health: Health of every series.
        supporting: Series that the level depends on.
    """
    if context.inputs.draining:
        return SilenceCheck(None, context.memory.outside)
    outside = list_reporting_stations(context, context.prepared.outside_instruments)
    run = follow_outside(context, outside)
    slope = list_reporting_stations(context, context.prepared.slope_instruments)
    under_maintenance = {
        fact.station for fact in context.inputs.maintenance if fact.from_s <= context.now_s < fact.to_s
    }
    expected = [station for station in slope if station.station not in under_maintenance]
    silence = _find_lasting_silence(context, slope, expected)
    due_s: tuple[float, ...] = ()
    if silence is None and run is not None and len(expected) >= 2:
        silence, due_s = _find_silence_while_others_report(context, level, slope, expected, outside, run)
    if silence is None and level > 0:
        silence = _find_silence_without_others(context, level, series_health, supporting, expected, outside)
    return SilenceCheck(silence, run, due_s)


def _find_lasting_silence(
    context: DecisionContext, slope: Sequence[ReportingStation], expected: Sequence[ReportingStation]
) -> CommonSilence | None:
    """Return the silence of the slope that was reported before, if no newer reading was received since.

    Neither a lower level nor silence of the instruments outside ends it: people must not be told that it is over.
    """
    condition = context.memory.conditions.get(SILENT_SLOPE)
    if condition is None or len(expected) < 2:
        return None
    since_s = max(station.observed_s for station in slope)
    if since_s > condition.since_s:
        return None
    covered = _find_stations_on_slope(context)
    return CommonSilence(_list_names(expected), since_s, condition, on_slope=True, covered=covered)


def _find_stations_on_slope(context: DecisionContext) -> frozenset[str]:
    """Return all stations on the slope, also those that do not measure motion."""
    outside = context.prepared.outside_instruments
    return frozenset(station.id for station in context.site.stations if station.on_slope and station.id not in outside)


# ---- instruments outside the slope report --------------------------------------------------------------------------
def _find_silence_while_others_report(
    context: DecisionContext,
    level: int,
    slope: Sequence[ReportingStation],
    expected: Sequence[ReportingStation],
    outside: Sequence[ReportingStation],
    run: ReceptionRun,
) -> tuple[CommonSilence | None, tuple[float, ...]]:
    """Return the silence of all instruments on the slope that have missed one reception, and when it is due.

    Args:
        context: The context.
        level: The level of the site.
        slope: Stations on the slope that have ever been received.
        expected: Those of them that are not under maintenance.
        outside: Stations outside the slope that have ever been received.
        run: The present run of receptions from outside.
    """
    now_s = context.now_s
    last_s = max(station.received_s for station in slope)
    since_s = max(station.observed_s for station in slope)
    silent = [station for station in expected if _fell_silent_with_others(station, last_s, since_s)]
    if len(silent) < 2:
        return None, ()
    usual_s = [get_usual_or_declared_s(station) for station in silent]
    # Silence during an outage of the service or its connection does not count.
    missed_s = max(
        max(station.received_s, run.since_s) + interval_s for station, interval_s in zip(silent, usual_s, strict=True)
    )
    due_s = (missed_s + find_tolerance_s(max(usual_s)), missed_s + LONGEST_TOLERANCE_S)
    reporting = _list_reporting(outside, last_s, now_s)
    # A reading that was received from outside after the slope was due proves that readings still reach the service.
    has_proof = any(station.received_s >= missed_s for station in reporting)
    if not reporting or now_s < (due_s[0] if has_proof else due_s[1]):
        return None, due_s
    equipment = _find_silent_equipment(context, silent, last_s)
    if equipment is not None and level <= 0:
        # The alert on the silent equipment explains the silence.
        return None, due_s
    if not _is_unusual(context, silent, run):
        return None, due_s
    outside_names = _list_names(reporting)
    still_sending = [station.station for station in silent if _sends_other_quantities(context, station, missed_s)]
    reason = _describe_silent_slope(
        len(silent), since_s, outside_names, equipment, still_sending=still_sending, is_raised=level > 0
    )
    condition = Condition("health", 2, since_s, reason)
    covered = _find_stations_on_slope(context)
    silence = CommonSilence(
        _list_names(silent), since_s, condition, on_slope=True, covered=covered, outside=outside_names
    )
    return silence, due_s


def _fell_silent_with_others(station: ReportingStation, last_s: float, since_s: float) -> bool:
    """Return whether a station was expected at certain times, and became silent shortly before the last one.

    Epochs count as well as receptions: a reading from before the failure may be received hours later, for example from
    the buffer of a gateway. The other stations became silent with the station that measured it.

    Args:
        station: The station.
        last_s: When any station on the slope was received last, epoch seconds.
        since_s: Newest epoch of any station on the slope, epoch seconds.
    """
    usual_s = station.usual_s
    if usual_s is None or usual_s > LONGEST_INTERVAL_S:
        return False
    earlier_s = min(last_s - station.received_s, since_s - station.observed_s)
    return earlier_s <= max(TOGETHER_S, usual_s + find_tolerance_s(usual_s))


def _list_reporting(outside: Sequence[ReportingStation], last_s: float, now_s: float) -> list[ReportingStation]:
    """Return the stations outside that were received since, and that are not late themselves.

    Args:
        outside: Stations outside the slope.
        last_s: When the slope was received last, epoch seconds.
        now_s: Instant of the evaluation, epoch seconds.
    """
    reporting = []
    for station in outside:
        usual_s = get_usual_or_declared_s(station)
        if last_s < station.received_s and now_s - station.received_s <= usual_s + find_tolerance_s(usual_s):
            reporting.append(station)
    return reporting


def _find_silent_equipment(
    context: DecisionContext, silent: Sequence[ReportingStation], last_s: float
) -> Parent | None:
    """Return equipment that all silent instruments depend on, if nothing that depends on it was received since.

    Args:
        context: The context.
        silent: The silent stations.
        last_s: When they were received last, epoch seconds.
    """
    site = context.site
    places = {
        (spec.station, spec.quantity)
        for station in silent
        for spec in context.prepared.slope_instruments[station.station]
    }
    dependent = {parent: children for parent, children in context.prepared.children.items() if parent.kind != "station"}
    for total_station in site.total_stations:
        dependent[Parent("total station", total_station.id)] = frozenset(
            (spec.station, spec.quantity)
            for station in site.stations
            if total_station.measures(station.id)
            for spec in station.series
        )
    for parent, children in sorted(dependent.items(), key=lambda item: (len(item[1]), item[0].key)):
        if places <= children and not any(_was_received_after(context, place, last_s) for place in children):
            return parent
    return None


def _was_received_after(context: DecisionContext, place: Place, after_s: float) -> bool:
    spec = context.site.series(*place)
    return spec is not None and any(
        epoch.received_s > after_s
        for quantity, epoch in context.list_newest(place[0])
        if belongs_to_series(context.site, spec, quantity)
    )


def _is_unusual(context: DecisionContext, silent: Sequence[ReportingStation], run: ReceptionRun) -> bool:
    """Return whether the stations are silent for longer than their earlier pauses explain.

    It is not unusual if they had a common pause as long as this at least twice, as with a radio that is switched off
    every night. Neither is it if each of them often misses a reception, so that all of them may have by chance.
    """
    chance = 1.0
    all_receptions_s: set[float] = set()
    for station in silent:
        usual_s = get_usual_or_declared_s(station)
        receptions_s = list_all_receptions(context, station.spec)
        all_receptions_s.update(receptions_s)
        pauses_s = list_pauses(receptions_s, usual_s / 2.0)
        silent_for_s = context.now_s - max(station.received_s, run.since_s)
        chance *= _estimate_chance(pauses_s, usual_s + find_tolerance_s(usual_s), silent_for_s)
    silent_for_s = context.now_s - max(run.since_s, *(station.received_s for station in silent))
    common_pauses_s = list_pauses(sorted(all_receptions_s), silent_for_s)
    return chance <= LARGEST_CHANCE and len(common_pauses_s) < 2


def _estimate_chance(pauses_s: Sequence[float], longest_usual_s: float, silent_for_s: float) -> float:
    """Return how likely a pause of some length is by chance, from the earlier pauses of a station.

    Args:
        pauses_s: Earlier pauses between receptions, in seconds.
        longest_usual_s: A longer pause means that a reception was missed, in seconds.
        silent_for_s: Length of the present pause, in seconds.

    >>> _estimate_chance([600.0] * 99, 900.0, 950.0)
    0.0
    >>> _estimate_chance([600.0] * 89 + [1200.0] * 10, 900.0, 950.0)
    0.11
    """
    missed_s = [pause_s for pause_s in pauses_s if pause_s > longest_usual_s]
    # A single long pause was an outage. It does not show that the station often misses a reception.
    if len(missed_s) < 2 or silent_for_s > PAUSE_FACTOR * max(missed_s):
        return 0.0
    count = sum(pause_s >= silent_for_s for pause_s in pauses_s)
    return (count + 1) / (len(pauses_s) + 1)


def _sends_other_quantities(context: DecisionContext, station: ReportingStation, missed_s: float) -> bool:
    """Return whether a station sends something other than its motion after the motion was due.

    Args:
        context: The context.
        station: A station that sends no motion.
        missed_s: When the motion was due, epoch seconds.
    """
    return any(epoch.received_s >= missed_s for _, epoch in context.list_newest(station.station))


def _describe_silent_slope(
    count: int,
    since_s: float,
    outside: Sequence[str],
    equipment: Parent | None,
    *,
    still_sending: Sequence[str] = (),
    is_raised: bool,
) -> Message:
    """Return what happened, what it means and what to do.

    Args:
        count: Number of silent instruments.
        since_s: Their newest epoch, epoch seconds.
        outside: Stations outside the slope that report.
        equipment: Silent equipment that all of them depend on; None if there is none.
        still_sending: Those of the silent instruments that still send other quantities, such as a temperature.
        is_raised: Whether the level is above the lowest one.
    """
    # A text message may be cut after the second fact.
    what_happened = _NO_MOTION if still_sending else _SILENT
    facts = [what_happened(n=count, at=Timestamp(since_s, "minute")), _KEEP_OUT()]
    if still_sending:
        facts.append(_STILL_SEND(names=NameList(tuple(still_sending))))
    if outside:
        facts.append(_OTHERS_REPORT(names=NameList(tuple(outside[:NAMED_OUTSIDE]))))
    if not is_raised:
        return join([join(facts), _MAY_HAVE_FAILED_AT_ONCE(), _INSPECT_FIRST()], _SENTENCES)
    meaning = [_MAY_HAVE_FAILED()]
    if equipment is not None:
        meaning.append(_SHARED(parent=equipment.text))
    return join([join(facts), *meaning, _INSPECT_AND_SET()], _SENTENCES)


def _list_names(stations: Sequence[ReportingStation]) -> tuple[str, ...]:
    return tuple(sorted(station.station for station in stations))


# ---- no instrument outside the slope reports -----------------------------------------------------------------------
def _find_silence_without_others(
    context: DecisionContext,
    level: int,
    series_health: SeriesHealthMap,
    supporting: Collection[Place],
    expected: Sequence[ReportingStation],
    outside: Sequence[ReportingStation],
) -> CommonSilence | None:
    """Return the stations that are silent together while a level is raised; None if there are none.

    The instrument series that measure motion of the slope are examined first, then the series that support the level.
    At least two stations are needed. They are silent together if series of at least half of them are overdue, and no
    series has a newer epoch than these.

    Args:
        context: The context.
        level: The level of the site.
        series_health: Health of every series.
        supporting: Series that the level depends on.
        expected: Stations on the slope that are not under maintenance. Others are not examined.
        outside: Stations outside the slope that have ever been received.
    """
    names_on_slope = {station.station for station in expected}
    slope = [place for place in context.prepared.instrument_motion_series if place[0] in names_on_slope]
    silence = _find_overdue_together(context, series_health, slope)
    if silence is not None:
        names, since_s = silence
        last_s = max(station.received_s for station in expected)
        outside_names = _list_names(_list_reporting(outside, last_s, context.now_s))
        reason = _describe_silent_slope(len(names), since_s, outside_names, None, is_raised=True)
        condition = Condition("health", 2, since_s, reason)
        covered = _find_stations_on_slope(context)
        return CommonSilence(names, since_s, condition, on_slope=True, covered=covered, outside=outside_names)
    silence = _find_overdue_together(context, series_health, supporting)
    if silence is None:
        return None
    names, since_s = silence
    fact = _SUPPORTING_SILENT(
        n=len(names),
        at=Timestamp(since_s, "minute"),
        level=Term(context.site.levels[level].name),
        names=NameList(names),
    )
    reason = join([join([fact, _KEEP_OUT()]), _MAY_HAVE_FAILED(), _INSPECT_AND_SET()], _SENTENCES)
    condition = Condition("health", 2, since_s, reason)
    return CommonSilence(names, since_s, condition, on_slope=False, covered=frozenset(names))


def _find_overdue_together(
    context: DecisionContext, series_health: SeriesHealthMap, places: Collection[Place]
) -> tuple[tuple[str, ...], float] | None:
    """Return the stations of some series, and their newest epoch, if they are silent together."""
    newest_s: dict[Place, float] = {}
    for place in places:
        epoch_s = series_health[place].newest_s
        if epoch_s is not None:
            newest_s[place] = epoch_s
    overdue = [place for place in newest_s if _is_overdue(context, place)]
    stations = {station for station, _ in newest_s}
    overdue_stations = {station for station, _ in overdue}
    if len(stations) < 2 or 2 * len(overdue_stations) < len(stations):
        return None
    since_s = max(newest_s[place] for place in overdue)
    if max(newest_s.values()) > since_s:
        return None
    return tuple(sorted(stations)), since_s


def _is_overdue(context: DecisionContext, place: Place) -> bool:
    """Return whether a series has received nothing for longer than its recent pauses, or than its allowed silence.

    The site file may allow a day of silence for a series with readings every half hour. While a level is raised, that
    is too long. A shorter limit applies then: the longest of three intervals, `RESTART_S`, and `PAUSE_FACTOR` times the
    longest pause between the receptions of the newest `RECEPTION_READINGS` readings.
    """
    spec = context.site.series(*place)
    if spec is None:
        return False
    allowed_s = context.find_silence_s(spec)
    limit_s = min(allowed_s, max(DEFAULT_SILENCE_INTERVALS * spec.interval_s, RESTART_S))
    newest_s = [
        newest.received_s
        for quantity, newest in context.list_newest(place[0])
        if belongs_to_series(context.site, spec, quantity)
    ]
    if newest_s and context.now_s - max(newest_s) <= limit_s:
        # This is the usual case. The pauses need not be computed.
        return False
    receptions_s = _list_receptions(context, spec)
    if len(receptions_s) >= MIN_RECEPTIONS:
        longest_pause_s = max(later_s - earlier_s for earlier_s, later_s in pairwise(receptions_s))
        limit_s = min(allowed_s, max(limit_s, PAUSE_FACTOR * longest_pause_s))
    else:
        limit_s = allowed_s
    return context.now_s - max([*newest_s, *receptions_s], default=context.now_s) > limit_s


def _list_receptions(context: DecisionContext, spec: SeriesSpec) -> list[float]:
    """Return the distinct instants at which the newest readings of a series were received, epoch seconds."""
    receptions_s: set[float] = set()
    for quantity, readings in context.list_readings(spec.station):
        if belongs_to_series(context.site, spec, quantity):
            receptions_s.update(epoch_s(reading.received_at) for reading in readings[-RECEPTION_READINGS:])
    return sorted(receptions_s)
