"""Compare the rain of a gauge with the bounds of a criterion. All kinds of criteria on rain share these functions.

A kind returns facts: sums of rain in windows, each with its bound and its coverage (the share of the window that was
measured). A sum of incomplete data is a lower bound of the rain, so it can raise a level but not lower one.

If the site file declares series of expected rain, sums that include the expected rain are compared as well.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

from monitor.decision.criteria.rain_coverage import RainLosses, could_hold, fill_gaps, find_rain_losses
from monitor.decision.criteria.rain_gauge import Gauge, find_gauge, list_gauges_with_expected_rain
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import Assessment, DecisionContext, Rule
from monitor.readings.cleaned.coverage import Coverage, format_share
from monitor.sites.criteria.rain_sections import DEFAULT_MIN_COVERAGE
from monitor.sites.records import Criterion, Threshold
from monitor.text.message import Figure, Message, Template

Fact = dict[str, Any]
FactsOfGauge = Callable[[Criterion, Gauge], Sequence[Fact]]
RAIN: Final = Template("rain.sum", "rain {depth} mm in {hours} h")
_INDEX: Final = Template(
    "criterion.rain.no_unit", "the series is an index without a unit, so it cannot be compared with a bound in mm"
)()
_NO_EVENT: Final = Template(
    "criterion.rain.no_event",
    "{amount}: no rain event is long enough for a bound; the gauge measured {known} % of this time",
)
_SHARE_OF_BOUND: Final = Template(
    "criterion.rain.of_bound",
    "{amount} is {share} % of the bound of {bound} mm; the gauge measured {known} % of this time",
)
_WITH_FORECAST: Final = Template(
    "criterion.rain.with_forecast",
    "{amount}, of which {expected} mm are forecast, is {share} % of the bound of {bound} mm; the gauge measured "
    "{known} % of this time",
)
_SHARE_OF_YEARS: Final = Template(
    "criterion.rain.of_years",
    "{amount} is {share} % of the bound of {bound} mm, which is reached once in {years} years; the gauge measured "
    "{known} % of this time",
)
_YEARS_OF_SUM: Final = Template(
    "criterion.rain.years_of_sum",
    "{amount}, as once in {years2} years, is {share} % of the bound of {bound} mm, which is reached once in {years} "
    "years; the gauge measured {known} % of this time",
)


def each_gauge(list_facts: FactsOfGauge, amount: Template = RAIN) -> Rule:
    """Return a rule that assesses each gauge of a criterion, with and without the expected rain.

    Args:
        list_facts: Returns facts of `make_fact` about a gauge.
        amount: Text for a sum, with the values `depth` and `hours`.
    """

    def assess_gauges(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
        return tuple(assess_rain(criterion, context, station, list_facts, amount) for station in criterion.stations)

    return assess_gauges


def make_fact(
    threshold: Threshold, duration_s: float, sum_mm: float, coverage: float, bound_mm: float, **further: Any
) -> Fact:
    """Return the fact about a sum of rain and the bound of one level.

    Args:
        coverage: Share of the duration that was measured.
        further: Further values of the fact, as JSON values.
    """
    (fact,) = make_facts(threshold, [(duration_s, sum_mm, coverage, bound_mm)])
    return fact | further


def make_facts(threshold: Threshold, measured: Iterable[tuple[float, float, float, float]]) -> list[Fact]:
    """Return one fact for each item of `measured`: duration in seconds, sum in mm, coverage, and bound in mm."""
    level = threshold.level
    return [
        {
            "level": level,
            "duration_s": duration_s,
            "sum_mm": sum_mm,
            "coverage": coverage,
            "bound_mm": bound_mm,
            "ratio": sum_mm / bound_mm if bound_mm > 0 else 0.0,
        }
        for duration_s, sum_mm, coverage, bound_mm in measured
    ]


def measure_sums(criterion: Criterion, gauge: Gauge) -> list[Fact]:
    """Return one fact for each level, about the sum in the window of its bound."""
    facts = []
    for threshold in criterion.thresholds:
        window_s = threshold.effective_window_s
        total_mm, coverage = gauge.total(window_s)
        facts.append(make_fact(threshold, window_s, total_mm, coverage, threshold.over or 0.0))
    return facts


def assess_rain(
    criterion: Criterion, context: DecisionContext, station: str, list_facts: FactsOfGauge, amount: Template
) -> Assessment:
    """Compare the sums of one gauge with the bounds of a criterion.

    A bound is crossed by a larger sum. A level can fall if all its sums are below the recovery limit, enough of their
    time was measured, and the missing rain could not bring one of them to the limit.
    """
    spec = context.site.series(station, criterion.quantity)
    if spec is None or spec.unit == "index":
        return Assessment(criterion.id, station, reason=_INDEX)
    gauge = find_gauge(context, station, criterion.quantity, spec)
    if gauge is None or gauge.times_s[-1] <= context.find_answered_until_s(VoteKey(criterion.id, station)):
        return Assessment(criterion.id, station, newest_s=gauge.times_s[-1] if gauge else None)
    newest_s = gauge.times_s[-1]
    min_coverage = find_min_coverage(criterion)
    losses = find_rain_losses(context, spec, gauge)
    facts = [losses.lower_coverage(fact) for fact in list_facts(criterion, gauge)]
    coverage = measure_rain(losses, facts)
    continued_gauges, has_every_issue = list_gauges_with_expected_rain(criterion, context.inputs, gauge, context.now_s)
    for continued in continued_gauges:
        facts += _list_expected_facts(criterion, continued, list_facts)
    raise_level = max((fact["level"] for fact in facts if fact["ratio"] > 1.0), default=0)
    measured_hold_level = max([raise_level, *_list_held_levels(facts, criterion.recover)])
    wettest_mm_per_s = max(gauge.amounts_mm) / gauge.interval_s
    # A sum of incomplete data is a lower bound of the rain: it can raise a level, but not lower one.
    uncertain_levels = [
        fact["level"]
        for fact in facts
        if fact["coverage"] < min_coverage or could_hold(fact, gauge, criterion.recover, wettest_mm_per_s)
    ]
    hold_levels = [measured_hold_level, *uncertain_levels]
    filled = fill_gaps(gauge)
    if filled is not None:
        hold_levels += _list_held_levels(list_facts(criterion, filled), criterion.recover)
    hold_level = max(hold_levels)
    if hold_level > measured_hold_level:
        coverage = replace(coverage, holds=True)
    worst = max(facts, key=itemgetter("ratio"))
    return Assessment(
        criterion.id,
        station,
        raise_level,
        hold_level,
        has_data=True,
        # Without a valid issue the expected rain is unknown, not zero.
        fresh=has_every_issue and context.is_fresh(newest_s, spec),
        newest_s=newest_s,
        coverage=coverage,
        reason=_explain(worst, amount),
        facts={
            "worst": worst,
            "min_coverage": min_coverage,
            "durations": len(facts),
            "levels": _pick_worst_by_level(facts),
        },
    )


def find_min_coverage(criterion: Criterion) -> float:
    """Return the share of a window that must have been measured for its sum to lower a level."""
    return dict(criterion.params).get("min_coverage", DEFAULT_MIN_COVERAGE)


def _list_expected_facts(criterion: Criterion, continued: Gauge, list_facts: FactsOfGauge) -> list[Fact]:
    """Return the facts about sums that include expected rain."""
    expected = {
        "expected_mm": continued.amounts_mm[-1],
        "reach_s": continued.expected_reach_s,
        "issued_s": continued.issued_s,
    }
    # How much of the expected rain falls within a window shorter than the reach of the issue is unknown.
    return [
        fact | expected for fact in list_facts(criterion, continued) if fact["duration_s"] >= continued.expected_reach_s
    ]


def _list_held_levels(facts: Sequence[Fact], recover: float) -> list[int]:
    """Return the levels with a sum that is not below the recovery limit."""
    return [fact["level"] for fact in facts if fact["ratio"] >= recover]


def _pick_worst_by_level(facts: Sequence[Fact]) -> list[Fact]:
    """Return for each level, by rising level, the fact that is nearest to its bound or farthest beyond it."""
    worst: dict[int, Fact] = {}
    for fact in facts:
        level = fact["level"]
        if level not in worst or fact["ratio"] > worst[level]["ratio"]:
            worst[level] = fact
    return [worst[level] for level in sorted(worst)]


def measure_rain(losses: RainLosses, facts: Sequence[Fact]) -> Coverage:
    """Return the coverage of the window that is measured least, or of the longest window if all are complete."""
    least_measured = min(facts, key=lambda fact: (fact["coverage"], -fact["duration_s"]))
    coverage = losses.measure(least_measured["duration_s"], least_measured["coverage"])
    if coverage.share < 1.0:
        return coverage
    longest = max(facts, key=itemgetter("duration_s"))
    return losses.measure(longest["duration_s"], longest["coverage"])


def _explain(worst: Mapping[str, Any], amount: Template) -> Message:
    known = format_share(worst["coverage"])
    rain = amount(depth=Figure(worst["sum_mm"], ".1f"), hours=Figure(worst["duration_s"] / 3600, ".4g"))
    if worst["bound_mm"] <= 0.0:
        # There is no rain event, or it is shorter than every duration with a bound.
        return _NO_EVENT(amount=rain, known=known)
    bound, share = Figure(worst["bound_mm"], ".1f"), Figure(100.0 * worst["ratio"], ".0f")
    if "expected_mm" in worst:
        expected = Figure(worst["expected_mm"], ".1f")
        return _WITH_FORECAST(amount=rain, expected=expected, share=share, bound=bound, known=known)
    if "bound_years" not in worst:
        return _SHARE_OF_BOUND(amount=rain, share=share, bound=bound, known=known)
    return_years = Figure(worst["bound_years"])
    if worst["years"] is None:
        return _SHARE_OF_YEARS(amount=rain, share=share, bound=bound, years=return_years, known=known)
    years = Figure(worst["years"], ".3g")
    return _YEARS_OF_SUM(amount=rain, share=share, bound=bound, years=return_years, years2=years, known=known)
