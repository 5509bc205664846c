"""Checks of calculated series: sensors that disagree, the processor time they need, and values that are late."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from monitor.api.checks import WARN, Check, SiteFolder, SubjectState, make_state
from monitor.api.database import Database, load_view
from monitor.api.sites import Site
from monitor.api.text import Duration, Figure, NameList, parse_time
from monitor.api.views import ReadingRow
from monitor.features.derived.cost import estimate_cost
from monitor.features.derived.plans import Plan, plan_site

LASTS_S: Final = 600.0
# Calculated values that wait longer than this are late. A large import may need longer; the notice then says so.
LATE_S: Final = 120.0


class CalculationStatus(NamedTuple):
    """By site for how many seconds its longest waiting calculated value waits, and the name of its dearest series."""

    sites: Mapping[str, Site]
    list_waits_s: Callable[[], Mapping[str, tuple[float, str]]]


class AgreementStatus(NamedTuple):
    """By site a calculated series and the newest values it rests on, in its unit, where all of them are fresh."""

    values: Sequence[tuple[str, Plan, Sequence[float]]]


def read_agreement(db: Database, sites: Mapping[str, Site], now: datetime) -> AgreementStatus:
    """The newest values of what should agree."""
    found: list[tuple[str, Plan, Sequence[float]]] = []
    for site in sites.values():
        plans = [plan for plan in plan_site(site).each if plan.calculation.agree_within]
        with db.read() as c:
            rows = load_view(c, "latest_observation", ReadingRow, site=site.id) if plans else []
        newest = {(row["station"], row["quantity"]): row for row in rows}
        for plan in plans:
            there = [(newest[place], scale / plan.scale) for place, scale in plan.scales.items() if place in newest]
            ages_s = [(now - parse_time(row["observed_at"])).total_seconds() for row, _ in there]
            if len(there) == len(plan.scales) and max(ages_s) <= plan.spec.max_silence_s:
                found.append((site.id, plan, [row["value"] * scale for row, scale in there]))
    return AgreementStatus(found)


def _find_disagreements(seen: AgreementStatus) -> Iterator[SubjectState]:
    for site, plan, values in seen.values:
        size, unit = max(values) - min(values), plan.spec.unit
        yield make_state(
            f"{site}:{plan.name}",
            is_wrong=size > plan.calculation.agree_within,
            names=NameList(plan.calculation.inputs),
            size=Figure(size, ".3g", unit),
            bound=Figure(plan.calculation.agree_within, "g", unit),
        )


def _find_costs(files: SiteFolder) -> Iterator[SubjectState]:
    """Compare what the calculated series of each site need with what the service gives them."""
    sites = [site for site in files.sites if plan_site(site).each]
    for site in sites:
        cost = estimate_cost(site, len(sites))
        if cost is not None:
            yield make_state(
                site.id,
                is_wrong=cost.share > cost.budget,
                figure=(round(100.0 * cost.share, 3), "%"),
                n=Figure(len(plan_site(site).each), "d"),
                rate=Figure(cost.values_per_minute, ".0f" if cost.values_per_minute >= 10.0 else ".2g"),
                share=Figure(100.0 * cost.share, ".2g", "%"),
                budget=Figure(100.0 * cost.budget, ".2g", "%"),
                name=cost.dearest,
                of_name=Figure(100.0 * cost.dearest_share, ".2g", "%"),
            )


def _find_late(seen: CalculationStatus) -> Iterator[SubjectState]:
    waits_s = seen.list_waits_s()
    for site_id in seen.sites:
        wait_s, name = waits_s.get(site_id, (0.0, ""))
        yield make_state(site_id, is_wrong=wait_s > LATE_S, site=site_id, wait=Duration(wait_s, "about"), name=name)


CHECKS: Final = (
    Check(
        "derived.cost",
        SiteFolder,
        WARN,
        "{n} calculated series give {rate} values per minute and need about {share} of a processor, more than their "
        "budget of {budget}: the newest values are computed first and others are late; {name} needs most ({of_name})",
        _find_costs,
        todo="set `every` in [[derived]], or shorten its windows",
        fine="{n} calculated series give {rate} values per minute and need about {share} of a processor, of a budget "
        "of {budget}",
    ),
    Check(
        "derived.*.late",
        CalculationStatus,
        WARN,
        "calculated values of site {site} wait for {wait}: its calculated series need more time than their budget, or "
        "a long import is being computed; {name} takes most time. The newest values come first",
        _find_late,
        todo="slopeward check prints what they need; set `every` in [[derived]], or shorten its windows",
        alarm=1,
        after_s=60.0,
        hold_s=60.0,
    ),
    Check(
        "derived.*.disagree",
        AgreementStatus,
        WARN,
        "{names} should agree and differ by {size}, more than {bound}: one of them is wrong",
        _find_disagreements,
        todo="look at the instruments; until then declare maintenance on the one that is wrong",
        alarm=1,
        after_s=LASTS_S,
    ),
)
