"""Series that should agree and do not: alarms of health."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from forecasting.message import Figure, NameList
from monitor.checks.check import WARN, Check, SubjectState, found
from monitor.domain.instants import parse
from monitor.domain.site import Site
from monitor.extensions.derived.compute import Plan, plan_site
from monitor.store.database.engine import Database
from monitor.store.schema.views import load_view

LASTS_S: Final = 600.0


class AgreementStatus(NamedTuple):
    """By site a calculated series and the newest values it rests on, in its unit, where all of them are fresh."""

    values: Sequence[tuple[str, Plan, Sequence[float]]]


def read_agreement(db: Database, sites: Mapping[str, Site], now: datetime) -> AgreementStatus:
    """The newest values of what should agree."""
    found: list[tuple[str, Plan, Sequence[float]]] = []
    for site in sites.values():
        plans = [plan for plan in plan_site(site).each if plan.calculation.agree_within]
        with db.read() as c:
            rows = load_view(c, "latest_observation", site=site.id) if plans else []
        newest = {(row["station"], row["quantity"]): row for row in rows}
        for plan in plans:
            there = [(newest[place], scale / plan.scale) for place, scale in plan.scales.items() if place in newest]
            ages_s = [(now - parse(row["observed_at"])).total_seconds() for row, _ in there]
            if len(there) == len(plan.scales) and max(ages_s) <= plan.spec.max_silence_s:
                found.append((site.id, plan, [row["value"] * scale for row, scale in there]))
    return AgreementStatus(found)


def _find_disagreements(seen: AgreementStatus) -> Iterator[SubjectState]:
    for site, plan, values in seen.values:
        size, unit = max(values) - min(values), plan.spec.unit
        yield found(
            f"{site}:{plan.name}",
            is_wrong=size > plan.calculation.agree_within,
            names=NameList(plan.calculation.inputs),
            size=Figure(size, ".3g", unit),
            bound=Figure(plan.calculation.agree_within, "g", unit),
        )


CHECKS: Final = (
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
