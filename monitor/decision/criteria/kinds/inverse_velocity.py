"""How near the failure window is that inverse velocity (or the shown forecast) gives: days left, per level."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final, Literal

from pydantic import Field

from forecasting.message import Duration, Figure, Message, Template, Timestamp, join
from monitor.decision.criteria.entry import KindEntry
from monitor.decision.criteria.history import no_window
from monitor.decision.criteria.places import Places
from monitor.decision.criteria.tables import Recovery, StationsTable
from monitor.decision.series.assessment import Assessment, DecisionContext, each_station, stations_of
from monitor.domain.decision import FailureFact
from monitor.domain.errors import ConfigError
from monitor.domain.kinds import Kind
from monitor.domain.observation import HARMLESS
from monitor.domain.site import Criterion, SeriesSpec, Station, Threshold
from monitor.domain.terms import Horizon, Section
from monitor.domain.witnesses import find_groups

METHOD: Final = "inverse_velocity"
_NO_WINDOW: Final = Template("criterion.failure.none", "no failure window")()
_OLD: Final = Template("criterion.failure.old", "the window rests on data until {at}")
_GOES_ON: Final = Template("criterion.failure", "if the acceleration goes on: {text}")
_ABOUT: Final = Template("criterion.failure.about", "failure about {at} (in {duration}) at {velocity} mm/day")
_WITHIN_HOUR: Final = Template(
    "criterion.failure.within_hour", "failure about {at} (within the hour) at {velocity} mm/day"
)
_ANY_TIME: Final = Template(
    "criterion.failure.any_time", "failure at any time until {at} (middle of the window {at2}) at {velocity} mm/day"
)
_ENDED: Final = Template("criterion.failure.ended", "the failure window ended {at} at {velocity} mm/day")
_NOT_TRUSTED: Final = Template("criterion.failure.not_trusted", "not trusted: {text}")
_ALONE: Final = Template(
    "criterion.failure.alone", "one sensor alone shows it: a second, independent one must agree before it counts"
)()


class WithinBound(Section):
    """The bound of one level on the time that is left until the failure window."""

    within: Horizon = Field(description="time left until the trusted failure window")


class InverseVelocityTable(StationsTable):
    """kind = "inverse_velocity": how near the failure window is."""

    edge: Literal["mid", "from"] = Field("mid", description="which end of that window counts")
    recover: Recovery = 0.8

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """With the end of the window that is judged."""
        del places
        return replace(criterion, texts=(("edge", self.edge),))

    def refuse_order(self, bounds: Sequence[Threshold], places: Places) -> None:
        """The graver level is nearer; raises ConfigError."""
        for lower, higher in pairwise(bounds):
            if (higher.window_s or 0.0) > (lower.window_s or 0.0):
                raise ConfigError(
                    f"{places.where}.{places.levels[higher.level].name}.within: expected at most that of the level "
                    "below: the graver level is nearer"
                )


def assess_nearness(criterion: Criterion, windows: DecisionContext, station: Station) -> Assessment:
    """A trusted window whose middle (or beginning) lies within the time of a level asks for that level.

    A window is "if the present acceleration continues", never a date. As a witness it needs a second, independent
    station with a trusted window: accelerations that did not end in failure are common, one sensor's all the more.
    An untrusted window raises nothing and lowers nothing; one that the data withdrew no longer holds a level.
    """
    spec = windows.site.series(station.id, criterion.quantity)
    fact = _find(windows, criterion, station.id)
    if fact is None:
        return _assess_without(criterion, windows, station.id, spec)
    if not windows.is_fresh(fact.data_until_s, spec) and not windows.view.draining:
        reason = _OLD(at=Timestamp(fact.data_until_s))
        return Assessment(criterion.id, station.id, newest_s=fact.data_until_s, reason=reason)
    left_s = _edge_s(criterion, fact) - windows.now_s
    near = [t.level for t in criterion.thresholds if left_s <= (t.window_s or 0.0)]
    held = [t.level for t in criterion.thresholds if left_s <= (t.window_s or 0.0) / criterion.recover]
    second = criterion.role != "witness" or _has_second(criterion, windows, station)
    level = max(near, default=0) if fact.trusted and second else 0
    return Assessment(
        criterion.id,
        station.id,
        level,
        max(level, max(held, default=0)),
        has_data=True,
        fresh=windows.is_fresh(fact.data_until_s, spec),
        newest_s=fact.data_until_s,
        reason=_explain(fact, windows.now_s, alone=not second),
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
            "second": second,
            "bounds": [{"level": t.level, "within_s": t.window_s} for t in criterion.thresholds],
        },
    )


def _assess_without(
    criterion: Criterion, windows: DecisionContext, station: str, spec: SeriesSpec | None
) -> Assessment:
    """No window stands: none was ever seen, or the data took it back. Silence and broken data say nothing."""
    found = [
        n
        for name, n in windows.list_newest(station)
        if (name == criterion.quantity or name.startswith(f"{criterion.quantity}_")) and n.observed_s <= windows.now_s
    ]
    newest = max(found, key=lambda n: (n.observed_s, n.flags), default=None)
    sound = newest is not None and all(f in HARMLESS for f in newest.flags)
    fresh = newest is not None and sound and windows.is_fresh(newest.observed_s, spec)
    return Assessment(
        criterion.id,
        station,
        has_data=fresh,
        fresh=fresh,
        newest_s=None if newest is None else newest.observed_s,
        reason=_NO_WINDOW,
    )


def _has_second(criterion: Criterion, windows: DecisionContext, station: Station) -> bool:
    """True when an independent station has a trusted window within the widest time of the criterion as well."""
    widest_s = max((t.window_s or 0.0 for t in criterion.thresholds), default=0.0)
    groups = find_groups(windows.site)
    for other in stations_of(windows, criterion):
        fact = None if groups[other.id] == groups[station.id] else _find(windows, criterion, other.id)
        spec = windows.site.series(other.id, criterion.quantity)
        if (
            fact is not None
            and fact.trusted
            and windows.is_fresh(fact.data_until_s, spec)
            and _edge_s(criterion, fact) - windows.now_s <= widest_s
        ):
            return True
    return False


def _find(windows: DecisionContext, criterion: Criterion, station: str) -> FailureFact | None:
    """The window of a station by inverse velocity; the forecast's one stands beside it and never replaces it."""
    wanted = criterion.quantity
    rows = [
        f
        for f in windows.view.failures
        if f.station == station and f.method == METHOD and (f.quantity == wanted or f.quantity.startswith(f"{wanted}_"))
    ]
    return max(rows, key=lambda f: (f.data_until_s, f.issued_s, f.quantity), default=None)


def _edge_s(criterion: Criterion, fact: FailureFact) -> float:
    return fact.from_s if dict(criterion.texts).get("edge") == "from" else fact.mid_s


def _explain(fact: FailureFact, now_s: float, *, alone: bool) -> Message:
    middle, end = Timestamp(fact.mid_s, "minute"), Timestamp(fact.to_s, "minute")
    velocity = Figure(fact.velocity_mm_per_day, ".1f")
    if now_s < fact.mid_s:
        hours = round((fact.mid_s - now_s) / 3600.0)
        when = (
            _ABOUT(at=middle, duration=Duration(hours * 3600.0), velocity=velocity)
            if hours
            else _WITHIN_HOUR(at=middle, velocity=velocity)
        )
    elif now_s < fact.to_s:
        when = _ANY_TIME(at=end, at2=middle, velocity=velocity)
    else:
        when = _ENDED(at=end, velocity=velocity)
    parts = [_GOES_ON(text=when)]
    if not fact.trusted:
        parts.append(_NOT_TRUSTED(text=fact.reasons))
    return join([*parts, _ALONE]) if alone else join(parts) if len(parts) > 1 else parts[0]


ENTRY: Final = KindEntry(
    Kind(
        id="inverse_velocity",
        role="advice",
        source="suggestion",
        quantity="displacement",
        facts="failures",
        plan="forecast",
        loosening="bounds",
    ),
    InverseVelocityTable,
    WithinBound,
    each_station(assess_nearness),
    history_s=no_window,
    example="""
stations = ["*"]
yellow = {within = "7d"}
""",
)
