"""How fast the zones around stations move as radar from space sees them, with the true age of that knowledge."""

from dataclasses import replace
from typing import Final

from pydantic import Field

from monitor.decision.criteria.history import no_window
from monitor.decision.keys import VoteKey
from monitor.decision.records import PointFact
from monitor.decision.series.assessment import Assessment, DecisionContext, bound_of, recovery_of
from monitor.decision.series.coverage import LEAST_KNOWN, WHOLE, Coverage, Removal
from monitor.sections import Duration
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import AroundTable, DepthBound, Recovery, Sureness, add_params
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion
from monitor.sites.witnesses import INSAR, list_voting_witnesses
from monitor.text.instants import format_delay
from monitor.text.message import Figure, Template, Timestamp, join

_TOO_FEW: Final = Template("criterion.insar.too_few", "too few acquisitions in the window")()
_MOVES: Final = Template(
    "criterion.insar",
    "radar zone of {station}: {rate} ± {error} mm/day along the direction of {zone}, {points} points, {acquisitions} "
    "acquisitions until {at}, known {duration} later",
)
_ACROSS: Final = Template("criterion.insar.across", "ground that moves across that direction looks still")()
_NOT_USED: Final = Template(
    "coverage.points",
    "points of {zone} lack values; masked or lost points may be those that move",
)
_LOST: Final = Template(
    "coverage.points_lost",
    "{text}; points that lack acquisitions moved {rate} mm/day as far as they were measured",
)


class InsarTable(AroundTable):
    """kind = "insar_rate": radar points around stations."""

    window: Duration = Field(description="of acquisitions, four at least")
    near_m: float = Field(default=150.0, gt=0.0, description="radius of a zone around its nearest station")
    min_sigma: Sureness = 3.0
    recover: Recovery = 0.8
    valid_for: Duration = 24.0 * 86400.0

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """With how near, and the window in seconds."""
        del places
        return add_params(criterion, near_m=self.near_m, window_s=self.window)


def assess_zones(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """Rate of a zone along the line of sight, either way, against a bound per level.

    One answer for each zone; all zones are one witness. Crossed when the rate is over the bound whichever
    acquisition is left out, and real by `min_sigma`. A vote is as old as its newest acquisition, however late that
    came.
    """
    window_s = dict(criterion.params)["window_s"]
    facts: dict[str | None, list[PointFact]] = {}
    for fact in context.view.points:
        if fact.window_s == window_s and fact.newest_s <= context.now_s:
            facts.setdefault(fact.station, []).append(fact)
    found = []
    for voice in list_voting_witnesses(context.site, criterion):
        of_point = facts.get(voice.witness.partition(":")[2], ())
        assessments = [_assess_point(criterion, context, voice.witness, f) for f in of_point]
        if assessments:
            # of several sets of points the strongest that is not too old; none lets go what another still holds
            first = max(assessments, key=lambda w: (w.fresh, w.raise_level, w.hold_level, w.newest_s or 0.0))
            found.append(replace(first, hold_level=max(w.hold_level for w in assessments)))
        else:
            found.append(Assessment(criterion.id, voice.witness, reason=_TOO_FEW))
    return tuple(found)


def _assess_point(criterion: Criterion, context: DecisionContext, witness: str, fact: PointFact) -> Assessment:
    coverage = _measure_points(fact)
    if fact.points == 0:
        return Assessment(criterion.id, witness, reason=_TOO_FEW, coverage=coverage)
    sign = 1.0 if fact.rate_mm_per_day >= 0 else -1.0
    rate = sign * fact.rate_mm_per_day
    least, most = sorted((sign * fact.low_mm_per_day, sign * fact.high_mm_per_day))
    answered = fact.newest_s <= context.answered_s(VoteKey(criterion.id, witness))
    # points that lost their values may move on as they did: they hold a level, and raise none
    lost = abs(fact.lost_mm_per_day or 0.0)
    raise_level = hold_level = 0
    for threshold in criterion.thresholds:
        bound, _ = bound_of(threshold)
        if least > bound and rate > criterion.min_sigma * fact.error_mm_per_day and not answered:
            raise_level = max(raise_level, threshold.level)
        if max(most, rate + fact.error_mm_per_day, lost) >= recovery_of(threshold, criterion.recover):
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
        fresh=age_s <= criterion.valid_for_s and not context.view.draining,
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
    """Measure how much of a zone is known: points that are masked or lost may be those that move."""
    if fact.known_share >= 1.0:
        return WHOLE
    reason = _NOT_USED(zone=fact.zone)
    if fact.lost_mm_per_day is not None:
        reason = _LOST(text=reason, rate=Figure(fact.lost_mm_per_day, ".3f"))
    removal = Removal(fact.newest_s - fact.window_s, fact.newest_s, reason)
    return Coverage(fact.known_share, fact.window_s, (removal,), may_lower=fact.known_share >= LEAST_KNOWN)


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
