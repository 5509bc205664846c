"""The criteria that exist: this table is the list."""

from collections.abc import Callable, Mapping
from typing import Final

from monitor.alerting.assessment import Rule
from monitor.alerting.criteria.advice import AnomalyRule, ForecastRule, ReportRule, SceneRule
from monitor.alerting.criteria.level import LevelRule
from monitor.alerting.criteria.rainfall import RainIntensityDurationRule, RainSumRule
from monitor.alerting.criteria.rate import RateRule
from monitor.alerting.criteria.velocity import VelocityRule
from monitor.domain.site import Criterion

CRITERIA: Final[Mapping[str, Callable[[Criterion], Rule]]] = {
    "velocity": VelocityRule,
    "level": LevelRule,
    "rate": RateRule,
    "rain_sum": RainSumRule,
    "rain_intensity_duration": RainIntensityDurationRule,
    "forecast": ForecastRule,
    "anomaly": AnomalyRule,
    "scene": SceneRule,
    "report": ReportRule,
}
# what instruments on the slope say themselves; the others are advice until a site promotes them
MEASURED: Final = frozenset({"velocity", "level", "rate", "rain_sum", "rain_intensity_duration"})
MOTION: Final = frozenset({"velocity", "level", "rate"})
