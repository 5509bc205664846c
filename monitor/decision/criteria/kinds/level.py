"""Value of a series against a bound per level: pore pressure, water level, crack opening, tilt."""

from typing import Any, Final

from monitor.decision.criteria.history import no_window
from monitor.decision.criteria.values import list_value_epochs, read_values
from monitor.decision.series.assessment import Assessment, DecisionContext, each_station, find_levels
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import LevelBound, MeasuredTable
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, Station, find_bound, find_recovery_limit
from monitor.text.message import Figure, MessageList, Template, Term

_VALUE: Final = Template("criterion.level", "{quantity}: {value}, bounds {bounds}")


def assess_level(criterion: Criterion, context: DecisionContext, station: Station) -> Assessment:
    """Compare the newest values of a series with every bound.

    A bound is crossed if the values of `dwell.hits` epochs (at least two) exceed it. A level can fall if the newest
    values, each with one standard error, are below the recovery limit.
    """
    track = context.track(criterion, station.id)
    spec = context.site.series(station.id, criterion.quantity)
    values = read_values(context, criterion, station.id)
    if not values or spec is None or track.is_stuck:
        return Assessment(criterion.id, station.id, newest_s=track.usable_s)
    times_s = sorted(values)
    newest_s = times_s[-1]
    epochs, needed = list_value_epochs(context, criterion, station.id, times_s)
    newest_epochs = times_s[-needed:]
    errors = dict(zip(track.times_s, track.along_sigma, strict=True))
    facts: list[dict[str, Any]] = []
    for threshold in criterion.thresholds:
        bound, sign = find_bound(threshold)
        limit = find_recovery_limit(threshold, criterion.recover)
        upper_ends = [sign * values[epoch] + errors[epoch] for epoch in newest_epochs]
        facts.append(
            {
                "level": threshold.level,
                "bound": bound,
                "hits": sum(sign * values[epoch] > sign * bound for epoch in epochs),
                "needs": needed,
                "recovered": len(upper_ends) >= needed and max(upper_ends) < sign * limit,
                "value": values[newest_s],
                "margin": sign * (values[newest_s] - bound),
            }
        )
    bounds = tuple(Figure(find_bound(threshold)[0], "g", spec.unit) for threshold in criterion.thresholds)
    reason = _VALUE(
        quantity=Term(criterion.quantity),
        value=Figure(values[newest_s], ".6g", spec.unit),
        bounds=MessageList(bounds, ", "),
    )
    raise_level, hold_level = find_levels(facts)
    return Assessment(
        criterion.id,
        station.id,
        raise_level,
        hold_level,
        has_data=True,
        fresh=context.is_fresh(newest_s, spec),
        newest_s=newest_s,
        reason=reason,
        facts={"bounds": facts, "quantity": track.quantity},
    )


ENTRY: Final = KindEntry(
    Kind(id="level", per="", motion=True, is_level=True, followed=True, loosening="bounds", drawn=("line",)),
    MeasuredTable,
    LevelBound,
    each_station(assess_level),
    history_s=no_window,
    example="""
series = "S1.pore_pressure"
yellow = {over = 15.0}
""",
)
