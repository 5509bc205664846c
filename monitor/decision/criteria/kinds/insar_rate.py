"""Rate of the zones around stations, measured by satellite radar (InSAR)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic import Field

from monitor.decision.criteria.history import no_window
from monitor.decision.keys import VoteKey
from monitor.decision.records import PointFact
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.readings.cleaned.coverage import MIN_KNOWN_SHARE, WHOLE, Coverage, Removal
from monitor.sections import Duration
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import (
    AroundTable,
    DepthBound,
    Recovery,
    Sureness,
    add_params,
)
from monitor.sites.kinds import Kind
from monitor.sites.records import DEFAULT_MIN_SIGMA, DEFAULT_RECOVER, Criterion, find_bound, find_recovery_limit
from monitor.sites.witnesses import INSAR, list_voting_witnesses
from monitor.text.instants import format_delay
from monitor.text.message import Figure, Template, Timestamp, join

_TOO_FEW: Final = Template("criterion.insar.too_few", "too few acquisitions in the window")()
_MOVES: Final = Template(
    "criterion.insar.rate",
    "radar zone of {station}: {rate} ± {error} mm/day along the direction of {zone}, from {points} points and "
    "{acquisitions} acquisitions until {at}, received {duration} later",
)
_ACROSS: Final = Template("criterion.insar.across", "motion across this direction is not measured")()
_NO_VALUES: Final = Template("coverage.points", "points of {zone} have no values, and they may be moving")
_LOST: Final = Template(
    "coverage.points_lost",
    "{text}; points without recent acquisitions moved {rate} mm/day until their last one",
)


class InsarTable(AroundTable):
    """kind = "insar_rate": radar points around stations."""

    window: Duration = Field(description="window of the rate; it needs at least four acquisitions")
    near_m: float = Field(default=150.0, gt=0.0, description="radius of a zone around its nearest station")
    min_sigma: Sureness = DEFAULT_MIN_SIGMA
    recover: Recovery = DEFAULT_RECOVER
    valid_for: Duration = 24.0 * 86400.0

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with the radius of a zone and the window in seconds."""
        del places
        return add_params(criterion, near_m=self.near_m, window_s=self.window)


def assess_zones(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """Compare the rate of each zone, in either direction, with every bound.

    There is one assessment for each zone. All zones together are one witness. A bound is crossed if the rate exceeds
    it, whichever acquisition is left out, and is at least `min_sigma` standard errors. The age of a vote is that of the
    newest acquisition, even if the acquisition was received much later.
    """
    window_s = dict(criterion.params)["window_s"]
    facts_by_station: dict[str | None, list[PointFact]] = {}
    for fact in context.inputs.points:
        if fact.window_s == window_s and fact.newest_s <= context.now_s:
            facts_by_station.setdefault(fact.station, []).append(fact)
    assessments = []
    for voting in list_voting_witnesses(context.site, criterion):
        station_id = voting.name.partition(":")[2]
        zone_facts = facts_by_station.get(station_id, ())
        zone_assessments = [_assess_zone(criterion, context, voting.name, fact) for fact in zone_facts]
        if zone_assessments:
            assessments.append(_pick_strongest(zone_assessments))
        else:
            assessments.append(Assessment(criterion.id, voting.name, reason=_TOO_FEW))
    return tuple(assessments)


def _pick_strongest(assessments: Sequence[Assessment]) -> Assessment:
    """Return the strongest fresh assessment of several sets of points of one zone.

    It holds the highest level that any of the sets holds.
    """
    strongest = max(assessments, key=lambda a: (a.fresh, a.raise_level, a.hold_level, a.newest_s or 0.0))
    return replace(strongest, hold_level=max(a.hold_level for a in assessments))


def _assess_zone(criterion: Criterion, context: DecisionContext, witness: str, fact: PointFact) -> Assessment:
    coverage = _measure_points(fact)
    if fact.points == 0:
        return Assessment(criterion.id, witness, reason=_TOO_FEW, coverage=coverage)
    sign = 1.0 if fact.rate_mm_per_day >= 0 else -1.0
    rate = sign * fact.rate_mm_per_day
    # The range of rates that result if any single acquisition is left out.
    lowest_rate, highest_rate = sorted((sign * fact.low_mm_per_day, sign * fact.high_mm_per_day))
    is_answered = fact.newest_s <= context.find_answered_until_s(VoteKey(criterion.id, witness))
    # Points without recent values may still move as before. They can keep a level from falling, but they raise none.
    lost_rate = abs(fact.lost_mm_per_day or 0.0)
    raise_level = hold_level = 0
    for threshold in criterion.thresholds:
        bound, _ = find_bound(threshold)
        if lowest_rate > bound and rate > criterion.min_sigma * fact.error_mm_per_day and not is_answered:
            raise_level = max(raise_level, threshold.level)
        if max(highest_rate, rate + fact.error_mm_per_day, lost_rate) >= find_recovery_limit(
            threshold, criterion.recover
        ):
            hold_level = max(hold_level, threshold.level)
    age_s = context.now_s - fact.newest_s
    latency_s = fact.received_s - fact.newest_s
    moves = _MOVES(
        station=str(fact.station),
        rate=Figure(fact.rate_mm_per_day, ".3f"),
        error=Figure(fact.error_mm_per_day, ".3f"),
        zone=fact.zone,
        points=Figure(fact.points, "d"),
        acquisitions=Figure(fact.epochs, "d"),
        at=Timestamp(fact.newest_s),
        duration=format_delay(max(0.0, latency_s)),
    )
    reason = join([moves, _ACROSS])
    return Assessment(
        criterion.id,
        witness,
        raise_level,
        max(hold_level, raise_level),
        has_data=True,
        fresh=age_s <= criterion.valid_for_s and not context.inputs.draining,
        newest_s=fact.newest_s,
        reason=reason,
        facts={
            "rate": fact.rate_mm_per_day,
            "error": fact.error_mm_per_day,
            "points": fact.points,
            "latency_s": latency_s,
        },
        coverage=coverage,
    )


def _measure_points(fact: PointFact) -> Coverage:
    """Return the share of the points of a zone that is measured. The masked and lost points may be those that move."""
    if fact.known_share >= 1.0:
        return WHOLE
    reason = _NO_VALUES(zone=fact.zone)
    if fact.lost_mm_per_day is not None:
        reason = _LOST(text=reason, rate=Figure(fact.lost_mm_per_day, ".3f"))
    removal = Removal(fact.newest_s - fact.window_s, fact.newest_s, reason)
    return Coverage(fact.known_share, fact.window_s, (removal,), may_lower=fact.known_share >= MIN_KNOWN_SHARE)


ENTRY: Final = KindEntry(
    Kind(
        id="insar_rate", role="advice", source="suggestion", scaled=True, zone=INSAR, facts="points", loosening="bounds"
    ),
    InsarTable,
    DepthBound,
    assess_zones,
    history_s=no_window,
    fact_type=PointFact,
    example="""
window = "60d"
yellow = {over = 1.0}
""",
)
