"""Estimate what the calculated series of a site cost, from the site file alone, and compare it with their budget."""

from typing import Final, NamedTuple

from monitor.api.sites import Site
from monitor.features.derived.plans import Plan, plan_site

# The service computes calculated series during at most this share of the time of one processor. The sites divide it
# evenly; what one site does not need is left to the others.
SHARE: Final = 0.5
# Seconds of one processor (measured by tests/bench/service/bench_derived.py): to compute, compare and store a value;
# for each `rate` or `fit` in it; for each reading in their windows.
VALUE_S: Final = 120e-6
WINDOW_S: Final = 60e-6
READING_S: Final = 0.15e-6


class SiteCost(NamedTuple):
    """What the calculated series of a site need."""

    share: float  # of one processor
    budget: float  # share of one processor that the site can count on
    values_per_minute: float
    dearest: str  # `STATION.quantity` of the series that needs most
    dearest_share: float


def estimate_value_s(plan: Plan) -> float:
    """Return the seconds of a processor that one value takes, when inputs arrive as declared."""
    readings = sum(plan.expression.windows_s) / max(plan.spec.interval_s, 1e-3)
    return VALUE_S + WINDOW_S * len(plan.expression.windows_s) + READING_S * readings


def estimate_cost(site: Site, sites: int = 1) -> SiteCost | None:
    """Return what the calculated series of a site need; None where it has none.

    Args:
        sites: how many sites with calculated series share the processor.
    """
    plans = plan_site(site).each
    if not plans:
        return None
    shares = {plan.name: estimate_value_s(plan) / plan.interval_s for plan in plans}
    dearest = max(shares, key=lambda name: (shares[name], name))
    values_per_minute = sum(60.0 / plan.interval_s for plan in plans)
    return SiteCost(sum(shares.values()), SHARE / max(sites, 1), values_per_minute, dearest, shares[dearest])
