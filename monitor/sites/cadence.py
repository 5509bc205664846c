"""How often a stage of movement asks to be looked at: one answer for the evaluation, the movement and the forecasts."""

from typing import Final

from monitor.sites.records import Site

UNKNOWN_STAGE: Final = "unknown"
PLAIN_EVERY_S: Final = 300.0  # a declaration without stages is looked at as a progressive slope would be


def stage_cadence(site: Site, stage: str | None) -> tuple[float, float]:
    """Seconds between two evaluations and between two forecasts at a stage; no stage yet is `unknown`.

    >>> stage_cadence(Site("s", "S", 46.0, 8.0, "UTC", (), (), ()), None)
    (300.0, 21600.0)
    """
    plan = site.movement.stage(stage or UNKNOWN_STAGE)
    if plan is None:
        return PLAIN_EVERY_S, site.forecast.every_s
    return plan.evaluate_every_s, plan.forecast_every_s


def slowest_cadence_s(site: Site) -> float:
    """Return the longest pause between two evaluations that any stage of movement asks for, in seconds.

    >>> slowest_cadence_s(Site("s", "S", 46.0, 8.0, "UTC", (), (), ()))
    300.0
    """
    return max((plan.evaluate_every_s for plan in site.movement.stages), default=PLAIN_EVERY_S)
