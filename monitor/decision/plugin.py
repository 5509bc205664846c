"""The kinds of criteria of Slopeward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.sites.criteria.entry import KindEntry


@hookimpl
def register_criteria() -> Iterable[KindEntry]:
    """Return the kinds. Criteria that a site file does not contain are added in this order."""
    from monitor.decision.criteria.kinds import (
        acceleration,
        anomaly,
        drawdown,
        earthquake,
        forecast,
        insar,
        inverse_velocity,
        level,
        rain_antecedent,
        rain_intensity_duration,
        rain_learned,
        rain_return_period,
        rain_sum,
        rate,
        report,
        scene,
        slope_safety,
        survey_rate,
        tangential,
        velocity,
    )

    return [
        velocity.ENTRY,
        level.ENTRY,
        rate.ENTRY,
        survey_rate.ENTRY,
        rain_sum.ENTRY,
        rain_intensity_duration.ENTRY,
        rain_antecedent.ENTRY,
        rain_return_period.ENTRY,
        rain_learned.ENTRY,
        slope_safety.ENTRY,
        drawdown.ENTRY,
        earthquake.ENTRY,
        acceleration.ENTRY,
        tangential.ENTRY,
        inverse_velocity.ENTRY,
        forecast.ENTRY,
        anomaly.ENTRY,
        scene.ENTRY,
        insar.ENTRY,
        report.ENTRY,
    ]
