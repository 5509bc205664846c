"""The criteria that exist: this table is the list."""

from collections.abc import Callable, Mapping
from typing import Final

from monitor.criteria.acceleration import AccelerationRule
from monitor.criteria.advice import AnomalyRule, ForecastRule, ReportRule
from monitor.criteria.drawdown import DrawdownRule
from monitor.criteria.earthquake import EarthquakeRule
from monitor.criteria.insar import InsarRateRule
from monitor.criteria.inverse_velocity import InverseVelocityRule
from monitor.criteria.level import LevelRule
from monitor.criteria.rain_antecedent import RainAntecedentRule
from monitor.criteria.rain_learned import RainLearnedRule
from monitor.criteria.rain_return_period import RainReturnPeriodRule
from monitor.criteria.rainfall import RainIntensityDurationRule, RainSumRule
from monitor.criteria.rate import RateRule
from monitor.criteria.scene import SceneRule
from monitor.criteria.slope_safety import FactorOfSafetyRule
from monitor.criteria.tangential import TangentialRule
from monitor.criteria.velocity import VelocityRule
from monitor.domain.site import Criterion
from monitor.series.assessment import Rule

CRITERIA: Final[Mapping[str, Callable[[Criterion], Rule]]] = {
    "velocity": VelocityRule,
    "level": LevelRule,
    "rate": RateRule,
    "rain_sum": RainSumRule,
    "rain_intensity_duration": RainIntensityDurationRule,
    "rain_antecedent": RainAntecedentRule,
    "rain_return_period": RainReturnPeriodRule,
    "rain_learned": RainLearnedRule,
    "factor_of_safety": FactorOfSafetyRule,
    "drawdown": DrawdownRule,
    "earthquake": EarthquakeRule,
    "acceleration": AccelerationRule,
    "tangential_angle": TangentialRule,
    "inverse_velocity": InverseVelocityRule,
    "forecast": ForecastRule,
    "anomaly": AnomalyRule,
    "scene": SceneRule,
    "insar_rate": InsarRateRule,
    "report": ReportRule,
}
# what instruments on the slope say themselves; the others are advice until a site promotes them
MEASURED: Final = frozenset({
    "velocity", "acceleration", "tangential_angle", "level", "rate", "rain_sum", "rain_intensity_duration",
    "rain_antecedent", "rain_return_period", "rain_learned", "factor_of_safety", "drawdown",
})  # fmt: skip
MOTION: Final = frozenset({"velocity", "acceleration", "tangential_angle", "level", "rate"})
# whose series are followed for steps and stuck instruments; of rain, zeros are no sign of a fault
TRACKED: Final = MOTION | {"drawdown", "factor_of_safety"}
