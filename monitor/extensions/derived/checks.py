"""Series that should agree and do not: alarms of health."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Final, NamedTuple

from forecasting.message import Figure, NameList
from monitor.checks.check import WARN, Check, SubjectState, found
from monitor.domain.instants import parse
from monitor.domain.site import Site
from monitor.extensions.derived.compute import Plan, list_plans
from monitor.store.database.engine import Database
from monitor.store.schema.views import load_view

LASTS_S: Final = 600.0


class AgreementStatus(NamedTuple):
    """By site a calculated series and the newest values it rests on, in its unit, where all of them are fresh."""

    values: Sequence[tuple[str, Plan, Sequence[float]]]


def read_agreement(db: Database, sites: Mapping[str, Site], now: datetime) -> AgreementStatus:
    """The newest values of what should agree."""
    return AgreementStatus([*chain.from_iterable(_read_site(db, site, now) for site in sites.values())])


def _read_site(db: Database, site: Site, now: datetime) -> Iterator[tuple[str, Plan, Sequence[float]]]:
    plans = [plan for plan in list_plans(site) if plan.calculation.agree_within]
    if not plans:
        return
    with db.read() as c:
        newest = {(row["station"], row["quantity"]): row for row in load_view(c, "latest_observation", site=site.id)}
    for plan in plans:
        rows = [newest[place] for place in plan.expression.inputs if place in newest]
        fresh = [r for r in rows if (now - parse(r["observed_at"])).total_seconds() <= plan.spec.max_silence_s]
        if len(fresh) == len(plan.expression.inputs):
            scales = [plan.scales[place] / plan.scale for place in plan.expression.inputs]
            yield site.id, plan, [row["value"] * scale for row, scale in zip(fresh, scales, strict=True)]


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
