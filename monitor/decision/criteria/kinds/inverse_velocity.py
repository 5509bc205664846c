"""Time left until the failure that is extrapolated from inverse velocity (Fukuzono 1985), against a bound per level.

A failure window is the range of instants at which the extrapolated inverse velocity reaches zero.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final, Literal

from pydantic import Field

from monitor.decision.criteria.history import no_window
from monitor.decision.records import FailureFact
from monitor.decision.series.assessment import Assessment, DecisionContext, each_station, stations_of
from monitor.errors import ConfigError
from monitor.readings.records import HARMLESS
from monitor.sections import Horizon, Section
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places, match_stations
from monitor.sites.criteria.sections import Recovery, StationsTable, Target
from monitor.sites.kinds import Kind
from monitor.sites.quantities import MOTION_PREFIXES
from monitor.sites.records import DEFAULT_RECOVER, Criterion, SeriesSpec, Station, Threshold
from monitor.text.message import Duration, Figure, Message, Template, Term, Timestamp, join

# Failure windows of other methods do not count.
METHOD: Final = "inverse_velocity"
_NO_WINDOW: Final = Template("criterion.failure.none", "no acceleration towards a failure")()
_OLD: Final = Template(
    "criterion.failure.old", "the failure window is out of date, because its newest reading is of {at}"
)
_CONTINUES: Final = Template("criterion.failure.continues", "if the acceleration continues: {text}")
_ABOUT: Final = Template("criterion.failure.about", "failure about {at} (in {duration}) at {velocity} mm/day")
_WITHIN_HOUR: Final = Template(
    "criterion.failure.within_hour", "failure about {at} (within the hour) at {velocity} mm/day"
)
_ANY_TIME: Final = Template(
    "criterion.failure.any_time", "failure at any time until {at} (middle of the window: {at2}) at {velocity} mm/day"
)
_ENDED: Final = Template("criterion.failure.ended", "the failure window ended at {at}, at {velocity} mm/day")
_NOT_TRUSTED: Final = Template(
    "criterion.failure.not_trusted", "raises no level, because the window is not trusted: {text}"
)
_ONE_SENSOR: Final = Template(
    "criterion.failure.one_sensor",
    "raises no level until a second, independent sensor also shows an acceleration towards failure",
)()
_SECOND_LATER: Final = Template(
    "criterion.failure.second_later",
    "raises {level} only, because the failure window of the second, independent sensor is later",
)


class WithinBound(Section):
    """The bound of one level on the time left until the failure window."""

    within: Horizon = Field(description="time left until the trusted failure window")


class InverseVelocityTable(StationsTable):
    """kind = "inverse_velocity": the time left until the failure window."""

    edge: Literal["mid", "from"] = Field("mid", description="instant of that window that counts: middle or beginning")
    recover: Recovery = DEFAULT_RECOVER

    def find_target(self, places: Places) -> Target:
        """Return stations and quantity.

        If neither `series` nor `quantity` is declared, these are all matching stations that measure motion in mm, and
        `displacement` if one of them measures it, otherwise the quantity of the first station. Raise ConfigError if
        there is none.
        """
        if self.series or self.quantity is not None or not self.stations:
            return super().find_target(places)
        where = f"{places.where}.stations"
        stations = {station.id: station for station in places.stations}
        chosen: dict[str, SeriesSpec] = {}
        for name in match_stations(self.stations, places.stations, None, where):
            spec = find_motion(stations[name])
            if spec is not None:
                chosen[spec.corrected_as or name] = spec
            elif name in self.stations:
                raise ConfigError(
                    f"{where}: station {name!r} declares no series of {' or '.join(MOTION_PREFIXES)} in mm"
                )
        if not chosen:
            raise ConfigError(
                f"{where}: no station that matches declares a series of {' or '.join(MOTION_PREFIXES)} in mm"
            )
        quantities = [spec.quantity for spec in chosen.values()]
        quantity = places.kind.quantity if places.kind.quantity in quantities else quantities[0]
        return tuple(station.id for station in places.stations if station.id in chosen), quantity or ""

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with the end of the failure window that counts."""
        del places
        return replace(criterion, texts=(("edge", self.edge),))

    def refuse_order(self, bounds: Sequence[Threshold], places: Places) -> None:
        """Raise ConfigError if a higher level has a longer time left than a lower one."""
        for lower, higher in pairwise(bounds):
            if (higher.window_s or 0.0) > (lower.window_s or 0.0):
                raise ConfigError(
                    f"{places.where}.{places.levels[higher.level].name}.within: expected at most that of the level "
                    "below"
                )


def find_motion(station: Station) -> SeriesSpec | None:
    """Return the series that measures motion at a station in mm; displacement is preferred to crack opening."""
    motions = [spec for spec in station.series if spec.quantity.startswith(MOTION_PREFIXES) and spec.unit == "mm"]
    return min(motions, key=lambda spec: not spec.quantity.startswith(MOTION_PREFIXES[0]), default=None)


def assess_nearness(criterion: Criterion, context: DecisionContext, station: Station) -> Assessment:
    """Compare the time left until the failure window of a station with the time of every level.

    A trusted window raises a level if its middle (or its beginning) is within the time of that level. The window holds
    only if the present acceleration continues. It is not a date.

    A witness raises a level only if a second, independent station has a trusted window within the time of that level,
    because accelerations that do not end in a failure are common, above all those of a single sensor. An untrusted
    window neither raises nor lowers a level. A window that newer data withdrew does not keep a level from falling.
    """
    spec = _find_spec(criterion, station)
    fact = _find_failure(context, criterion, station)
    if fact is None:
        return _assess_without_window(criterion, context, station, spec)
    if not context.is_fresh(fact.data_until_s, spec) and not context.inputs.draining:
        reason = _OLD(at=Timestamp(fact.data_until_s))
        return Assessment(criterion.id, station.id, newest_s=fact.data_until_s, reason=reason)
    left_s = _find_edge_s(criterion, fact) - context.now_s
    held_levels = [
        threshold.level
        for threshold in criterion.thresholds
        if left_s <= (threshold.window_s or 0.0) / criterion.recover
    ]
    window_level = _find_level(criterion, left_s)
    supported = _find_supported_level(criterion, context, station) if criterion.role == "witness" else window_level
    level = min(window_level, supported) if fact.trusted else 0
    return Assessment(
        criterion.id,
        station.id,
        level,
        max(level, max(held_levels, default=0)),
        has_data=True,
        fresh=context.is_fresh(fact.data_until_s, spec),
        newest_s=fact.data_until_s,
        reason=_explain(fact, context, window_level=window_level, supported_level=supported),
        facts={
            "method": fact.method,
            "from_s": fact.from_s,
            "mid_s": fact.mid_s,
            "to_s": fact.to_s,
            "left_s": left_s,
            "trusted": fact.trusted,
            "reasons": fact.reasons,
            "issued_s": fact.issued_s,
            "velocity_mm_per_day": fact.velocity_mm_per_day,
            "second": supported > 0 or criterion.role != "witness",
            "supported_level": supported,
            "bounds": [
                {"level": threshold.level, "within_s": threshold.window_s} for threshold in criterion.thresholds
            ],
        },
    )


def _assess_without_window(
    criterion: Criterion, context: DecisionContext, station: Station, spec: SeriesSpec | None
) -> Assessment:
    """Return the assessment of a station without a failure window.

    It lowers an older vote only if the newest reading of the station is recent and has no harmful flag.
    """
    expected_quantity = _find_quantity(criterion, station)
    epochs = [
        epoch
        for quantity, epoch in context.list_newest(station.id)
        if _is_quantity(quantity, expected_quantity) and epoch.observed_s <= context.now_s
    ]
    newest = max(epochs, key=lambda epoch: (epoch.observed_s, epoch.flags), default=None)
    fresh = False
    if newest is not None and all(flag in HARMLESS for flag in newest.flags):
        fresh = context.is_fresh(newest.observed_s, spec)
    return Assessment(
        criterion.id,
        station.id,
        has_data=fresh,
        fresh=fresh,
        newest_s=None if newest is None else newest.observed_s,
        reason=_NO_WINDOW,
    )


def _find_supported_level(criterion: Criterion, context: DecisionContext, station: Station) -> int:
    """Return the highest level within whose time an independent station has a trusted window too.

    The stations of all witness criteria of this kind are compared, so the displacement of one station can support the
    crack opening of another.
    """
    groups = context.prepared.groups
    supported = 0
    for other_criterion in context.site.criteria:
        if other_criterion.kind.id != criterion.kind.id or other_criterion.role != "witness":
            continue
        for other in stations_of(context, other_criterion):
            if groups[other.id] == groups[station.id]:
                continue
            fact = _find_failure(context, other_criterion, other)
            if fact is None or not fact.trusted:
                continue
            if context.is_fresh(fact.data_until_s, _find_spec(other_criterion, other)):
                supported = max(supported, _find_level(criterion, _find_edge_s(criterion, fact) - context.now_s))
    return supported


def _find_level(criterion: Criterion, left_s: float) -> int:
    """Return the highest level whose time is at least the time left; 0 if there is none."""
    levels = [threshold.level for threshold in criterion.thresholds if left_s <= (threshold.window_s or 0.0)]
    return max(levels, default=0)


def _find_spec(criterion: Criterion, station: Station) -> SeriesSpec | None:
    """Return the series that the criterion reads at a station."""
    return station.find_series(criterion.quantity) or find_motion(station)


def _find_quantity(criterion: Criterion, station: Station) -> str:
    """Return the quantity that the criterion reads at a station: the declared one, or that of the station's motion."""
    spec = None if station.find_series(criterion.quantity) else find_motion(station)
    return criterion.quantity if spec is None else spec.quantity


def _find_failure(context: DecisionContext, criterion: Criterion, station: Station) -> FailureFact | None:
    """Return the newest failure window of a station by inverse velocity. Windows of forecasts do not count."""
    expected_quantity = _find_quantity(criterion, station)
    failures = [
        failure
        for failure in context.inputs.failures
        if failure.station == station.id
        and failure.method == METHOD
        and _is_quantity(failure.quantity, expected_quantity)
    ]
    return max(failures, key=lambda failure: (failure.data_until_s, failure.issued_s, failure.quantity), default=None)


def _is_quantity(quantity: str, expected: str) -> bool:
    """Return whether a quantity is the expected one or one of its components, such as `displacement_east`."""
    return quantity == expected or quantity.startswith(f"{expected}_")


def _find_edge_s(criterion: Criterion, fact: FailureFact) -> float:
    """Return the instant of the failure window that counts: its beginning or its middle."""
    return fact.from_s if dict(criterion.texts).get("edge") == "from" else fact.mid_s


def _explain(fact: FailureFact, context: DecisionContext, *, window_level: int, supported_level: int) -> Message:
    now_s = context.now_s
    middle, end = Timestamp(fact.mid_s, "minute"), Timestamp(fact.to_s, "minute")
    velocity = Figure(fact.velocity_mm_per_day, ".1f")
    if now_s < fact.mid_s:
        hours = round((fact.mid_s - now_s) / 3600.0)
        if hours > 0:
            when = _ABOUT(at=middle, duration=Duration(hours * 3600.0), velocity=velocity)
        else:
            when = _WITHIN_HOUR(at=middle, velocity=velocity)
    elif now_s < fact.to_s:
        when = _ANY_TIME(at=end, at2=middle, velocity=velocity)
    else:
        when = _ENDED(at=end, velocity=velocity)
    parts = [_CONTINUES(text=when)]
    if not fact.trusted:
        parts.append(_NOT_TRUSTED(text=fact.reasons))
    if supported_level == 0 and window_level > 0:
        parts.append(_ONE_SENSOR)
    elif supported_level < window_level:
        parts.append(_SECOND_LATER(level=Term(context.site.levels[supported_level].name)))
    return join(parts) if len(parts) > 1 else parts[0]


ENTRY: Final = KindEntry(
    Kind(
        id="inverse_velocity",
        role="advice",
        source="suggestion",
        quantity="displacement",
        facts="failures",
        feature="movement",
        plan="forecast",
        loosening="bounds",
    ),
    InverseVelocityTable,
    WithinBound,
    each_station(assess_nearness),
    history_s=no_window,
    fact_type=FailureFact,
    example="""
stations = ["*"]
yellow = {within = "7d"}
""",
)
