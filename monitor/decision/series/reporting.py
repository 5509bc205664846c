"""Determine which stations report, how often they are received, and since when the instruments outside do so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from monitor.decision.records import ReceptionRun
from monitor.decision.series.assessment import DecisionContext, belongs_to_series
from monitor.decision.series.intervals import RECENT_INTERVALS, find_interval_s, list_receptions
from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS
from monitor.sites.records import SeriesSpec
from monitor.text.instants import epoch_s

# With fewer receptions the usual interval of a series is not known.
MIN_RECEPTIONS: Final = 5
# A router or broker that restarts makes all stations silent for less than this time.
RESTART_S: Final = 300.0
# Longest time after which an expected reception counts as missed. A service that evaluates once a minute therefore
# reports within ten minutes.
LONGEST_TOLERANCE_S: Final = 540.0


@dataclass(frozen=True, slots=True)
class ReportingStation:
    """When a station was received last, and how often it is received.

    Attributes:
        spec: Of the series that are still received, the one that is received most often.
        usual_s: Usual time between receptions of this series; None if too few receptions are known.
        received_s: When its newest reading was received, epoch seconds.
        observed_s: Newest epoch of any of its series, epoch seconds.
    """

    spec: SeriesSpec
    usual_s: float | None
    received_s: float
    observed_s: float

    @property
    def station(self) -> str:
        """Id of the station."""
        return self.spec.station


def list_reporting_stations(
    context: DecisionContext, instruments: Mapping[str, Sequence[SeriesSpec]]
) -> list[ReportingStation]:
    """Return the stations that have ever been received.

    A series that was silent while another series of its station was received does not show how often the station is
    received. Without this rule, a failed sensor with frequent readings would make its station seem silent between the
    readings of the other sensors.

    Args:
        instruments: Series by station. Only these are considered.
    """
    reporting = []
    for station, specs in instruments.items():
        newest = [
            (spec, epoch)
            for quantity, epoch in context.list_newest(station)
            for spec in specs
            if belongs_to_series(context.site, spec, quantity)
        ]
        if not newest:
            continue
        received_s = max(epoch.received_s for _, epoch in newest)
        intervals_s: dict[str, float] = {}
        for spec in specs:
            usual_s = find_usual_interval_s(context, spec)
            series_received_s = max((epoch.received_s for other, epoch in newest if other is spec), default=None)
            if usual_s is None or series_received_s is None:
                continue
            if received_s - series_received_s <= usual_s + find_tolerance_s(usual_s):
                intervals_s[spec.quantity] = usual_s
        with_interval = [spec for spec in specs if spec.quantity in intervals_s]
        received_last, _ = max(newest, key=lambda item: item[1].received_s)
        most_frequent = min(with_interval, key=lambda spec: intervals_s[spec.quantity], default=received_last)
        reporting.append(
            ReportingStation(
                spec=most_frequent,
                usual_s=intervals_s.get(most_frequent.quantity),
                received_s=received_s,
                observed_s=max(epoch.observed_s for _, epoch in newest),
            )
        )
    return reporting


def find_usual_interval_s(context: DecisionContext, spec: SeriesSpec) -> float | None:
    """Return the usual time between two receptions of a series, in seconds; None if it is not known.

    The receptions show it, not the declared interval: hourly readings that are sent once a day are received daily. If
    too few receptions are known, each reading is sent at once if the site file allows only a few missing ones
    (`max_silence`).
    """
    readings = context.find_longest_component(spec)
    epochs_s = [epoch_s(reading.observed_at) for reading in readings[-RECENT_INTERVALS - 1 :]]
    interval_s = min(spec.interval_s, find_interval_s(epochs_s, spec.interval_s))
    if interval_s == spec.interval_s:
        receptions_s = context.list_receptions(spec)
    else:
        # Readings are sent more often than declared.
        received_s = (epoch_s((reading.first or reading).received_at) for reading in reversed(readings))
        receptions_s = list_receptions(received_s, interval_s)
    if len(receptions_s) < MIN_RECEPTIONS:
        is_sent_at_once = not spec.learns_silence and spec.max_silence_s <= DEFAULT_SILENCE_INTERVALS * spec.interval_s
        return interval_s if is_sent_at_once else None
    return find_interval_s(receptions_s, interval_s, least=MIN_RECEPTIONS - 1)


def find_tolerance_s(usual_s: float) -> float:
    """Return how late a reception may be before it counts as missed, in seconds.

    >>> find_tolerance_s(60.0), find_tolerance_s(900.0), find_tolerance_s(3600.0)
    (300.0, 450.0, 540.0)
    """
    return min(max(usual_s / 2.0, RESTART_S), LONGEST_TOLERANCE_S)


def list_all_receptions(context: DecisionContext, spec: SeriesSpec) -> list[float]:
    """Return when the loaded readings of a series were received, epoch seconds, oldest first."""
    readings = context.find_longest_component(spec)
    return sorted(epoch_s((reading.first or reading).received_at) for reading in readings)


def list_pauses(receptions_s: Sequence[float], shortest_s: float) -> list[float]:
    """Return the pauses between receptions that last at least `shortest_s`, in seconds."""
    pauses_s = [later_s - earlier_s for earlier_s, later_s in pairwise(receptions_s)]
    return [pause_s for pause_s in pauses_s if pause_s >= shortest_s]


def follow_outside(context: DecisionContext, outside: Sequence[ReportingStation]) -> ReceptionRun | None:
    """Return the present run of receptions from the instruments outside the slope; None before the first reception.

    While the service or its connection is out of order, nothing is received from anywhere. A run therefore ends when
    no instrument outside has been received for longer than the most frequent of them usually takes. Silence of the
    slope is counted from the start of the present run at the earliest.
    """
    previous = context.memory.outside
    if not outside or context.inputs.draining:
        return previous
    newest_s = max(station.received_s for station in outside)
    shortest_s = min(get_usual_or_declared_s(station) for station in outside)
    longest_pause_s = shortest_s + find_tolerance_s(shortest_s)
    if previous is None or newest_s - previous.newest_s > longest_pause_s:
        return ReceptionRun(newest_s, newest_s)
    return ReceptionRun(previous.since_s, max(newest_s, previous.newest_s))


def get_usual_or_declared_s(station: ReportingStation) -> float:
    """Return the usual time between receptions of a station, or its declared interval if that is not known."""
    return station.spec.interval_s if station.usual_s is None else station.usual_s
