"""Intervals of evaluations and forecasts at each stage of movement."""

from typing import Final

from monitor.sites.records import Site

UNKNOWN_STAGE: Final = "unknown"
# Interval for sites without stages. It is that of the stage `progressive`.
PLAIN_EVERY_S: Final = 300.0


def stage_cadence(site: Site, stage: str | None) -> tuple[float, float]:
    """Return the intervals of evaluations and of forecasts at a stage, in seconds. A stage of None means `unknown`.

    >>> stage_cadence(Site("s", "S", 46.0, 8.0, "UTC", (), (), ()), None)
    (300.0, 21600.0)
    """
    plan = site.movement.stage(stage or UNKNOWN_STAGE)
    if plan is None:
        return PLAIN_EVERY_S, site.forecast.every_s
    return plan.evaluate_every_s, plan.forecast_every_s


def slowest_cadence_s(site: Site) -> float:
    """Return the longest interval between two evaluations of all stages of movement, in seconds.

    >>> slowest_cadence_s(Site("s", "S", 46.0, 8.0, "UTC", (), (), ()))
    300.0
    """
    return max((plan.evaluate_every_s for plan in site.movement.stages), default=PLAIN_EVERY_S)
