"""Checks of calculated series: sensors that disagree, the processor time they need, and values that are late."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from monitor.api.checks import WARN, Check, SiteFolder, SubjectState, make_state
from monitor.api.database import Database, load_view
from monitor.api.queries.readings import find_series_id, load_readings
from monitor.api.sites import Site, TotalStation
from monitor.api.text import Duration, Figure, NameList, Template, parse_time
from monitor.api.views import ReadingRow
from monitor.features.derived.cost import estimate_cost
from monitor.features.derived.plans import Plan, plan_site
from monitor.features.derived.prisms import ENDING
from monitor.features.derived.stable_points import MIN_REFERENCES
from monitor.features.derived.values import AHEAD, BIT, CORRECTION

LASTS_S: Final = 600.0
# Calculated values that wait longer than this are late. A large import may need longer; the notice then says so.
LATE_S: Final = 120.0


class CalculationStatus(NamedTuple):
    """By site for how many seconds its longest waiting calculated value waits, and the name of its dearest series."""

    sites: Mapping[str, Site]
    list_waits_s: Callable[[], Mapping[str, tuple[float, str]]]


class CorrectionStatus(NamedTuple):
    """How the newest prism of a total station was corrected.

    Attributes:
        facts: references that were used, and those that are `moving`, `disagreeing` or `missing`.
    """

    site: str
    total_station: TotalStation
    facts: Mapping[str, Any]

    def list_stations(self, key: str) -> list[str]:
        """Return the references under a key of the facts."""
        return list(self.facts.get(key, ()))


class AgreementStatus(NamedTuple):
    """Newest inputs of calculated series that should agree, and newest corrections of prisms.

    Attributes:
        values: site, calculated series, and the newest values it depends on, in its unit, if all of them are fresh.
        corrections: one for each total station with references.
    """

    values: Sequence[tuple[str, Plan, Sequence[float]]]
    corrections: Sequence[CorrectionStatus] = ()


def read_agreement(db: Database, sites: Mapping[str, Site], now: datetime) -> AgreementStatus:
    """Return the newest values that should agree, and the newest corrections of prisms."""
    found: list[tuple[str, Plan, Sequence[float]]] = []
    corrections: list[CorrectionStatus] = []
    for site in sites.values():
        corrections += _read_corrections(db, site, now)
        plans = [plan for plan in plan_site(site).each if plan.calculation.agree_within]
        with db.read() as c:
            rows = load_view(c, "latest_observation", ReadingRow, site=site.id) if plans else []
        newest = {(row["station"], row["quantity"]): row for row in rows}
        for plan in plans:
            there = [(newest[place], scale / plan.scale) for place, scale in plan.scales.items() if place in newest]
            ages_s = [(now - parse_time(row["observed_at"])).total_seconds() for row, _ in there]
            if len(there) == len(plan.scales) and max(ages_s) <= plan.spec.max_silence_s:
                found.append((site.id, plan, [row["value"] * scale for row, scale in there]))
    return AgreementStatus(found, corrections)


def _read_corrections(db: Database, site: Site, now: datetime) -> Iterator[CorrectionStatus]:
    """Yield how the newest prism of each total station was corrected."""
    total_stations = [one for one in site.total_stations if one.references]
    if not total_stations:
        return
    with db.read() as c:
        newest = load_view(c, "latest_observation", ReadingRow, site=site.id)
        for total_station in total_stations:
            rows = [row for row in newest if _is_corrected_prism(row, total_station)]
            row = max(rows, key=lambda one: one["observed_at"], default=None)
            series_id = None if row is None else find_series_id(c, site.id, row["station"], row["quantity"])
            if row is None or series_id is None:
                continue
            at = parse_time(row["observed_at"])
            readings = load_readings(c, series_id, at - BIT, at, now + AHEAD)
            facts = json.loads(readings[-1].extra or "{}").get(CORRECTION) if readings else None
            if facts is not None:
                yield CorrectionStatus(site.id, total_station, facts)


def _is_corrected_prism(row: ReadingRow, total_station: TotalStation) -> bool:
    prism = row["station"].removesuffix(ENDING)
    return prism != row["station"] and row["quantity"] == "displacement_up" and total_station.measures(prism)


def _find_moving_references(seen: AgreementStatus) -> Iterator[SubjectState]:
    for one in seen.corrections:
        disagreeing = one.list_stations("disagreeing")
        # A single reference that was measured contradicts no other one.
        moving = disagreeing if len(disagreeing) >= MIN_REFERENCES else one.list_stations("moving")
        yield make_state(
            f"{one.site}:{one.total_station.id}",
            is_wrong=bool(moving),
            names=NameList(tuple(moving)),
            bound=Figure(one.total_station.tolerance_mm, "g", "mm"),
            state=_CORRECTED() if one.facts["references"] else _UNCORRECTED(),
        )


def _find_uncorrected(seen: AgreementStatus) -> Iterator[SubjectState]:
    for one in seen.corrections:
        missing = one.list_stations("missing")
        yield make_state(
            f"{one.site}:{one.total_station.id}",
            is_wrong=bool(missing) and not one.facts["references"],
            names=NameList(tuple(missing)),
            n=Figure(MIN_REFERENCES, "d"),
        )


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


_CORRECTED: Final = Template("derived.prisms.corrected", "the other references still correct the prisms")
_UNCORRECTED: Final = Template(
    "derived.prisms.uncorrected", "no references agree, so the prisms are not corrected and have a larger error"
)
CHECKS: Final = (
    Check(
        "derived.*.moving_reference",
        AgreementStatus,
        WARN,
        "reference prisms moved by more than {bound} against each other: {names}; {state}",
        _find_moving_references,
        todo="check the ground at these prisms and the setup of the instrument; then remove a prism that moves from "
        "`references` of [[total_station]]",
        alarm=2,
        after_s=LASTS_S,
    ),
    Check(
        "derived.*.uncorrected",
        AgreementStatus,
        WARN,
        "prisms are not corrected and have a larger error, because fewer than {n} references were measured: {names} "
        "are missing",
        _find_uncorrected,
        todo="check the line of sight to the references",
        alarm=1,
        after_s=LASTS_S,
    ),
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
