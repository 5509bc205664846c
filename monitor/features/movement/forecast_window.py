"""Failure window by the shown forecast: when its quantiles reach the velocity that counts as failure."""

from dataclasses import dataclass
from typing import Final

from forecasting.kinematics.forecast_crossing import cross_velocity
from monitor.api.queries.models import ShownForecast
from monitor.api.sites import Site
from monitor.api.text import Message, Template, epoch_s, join
from monitor.features.movement.moving_series import MovementSeries
from monitor.features.movement.queries import MovementMemory

_NEWER: Final = Template("failure.newer", "a newer forecast was issued")()
_NOT_REACHED: Final = Template("failure.not_reached", "the shown forecast no longer reaches {velocity} mm/day")
_REACHES: Final = Template("failure.reaches", "forecast by {model} reaches {velocity} mm/day")
_NO_REASON: Final = join(())
_OPEN_END: Final = Template("failure.open_end", "in its slow quantile it does not within the horizon")()


@dataclass(frozen=True, slots=True)
class WindowByForecast:
    """The window of a forecast that is newer than the one of the previous update; instants in epoch seconds."""

    withdrawn: Message  # why windows of earlier forecasts do not stand any more
    data_until_s: float
    edges_s: tuple[float, float, float] | None  # early edge, middle and late edge; None if it reaches no failure
    trusted: bool = False  # whether the slow quantile reaches the velocity too
    reasons: Message = _NO_REASON


def find_window_by_forecast(
    site: Site, moving: MovementSeries, forecast: ShownForecast | None, state: MovementMemory
) -> WindowByForecast | None:
    """Return the window of the shown forecast, once for each forecast; None if there is no newer one.

    Only the forecast of a single series has a window, because quantiles of components cannot be joined.

    Args:
        site: The site.
        moving: The series.
        forecast: Its shown forecast; None if there is none.
        state: State of the series. It is updated with the forecast that was used.
    """
    failure_velocity = site.movement.failure_velocity_mm_per_day
    if forecast is None or failure_velocity is None or len(moving.ids) > 1:
        return None
    issued_s = epoch_s(forecast.issued_at)
    if issued_s <= state.get("forecast_issued_s", float("-inf")):
        return None
    state["forecast_issued_s"] = issued_s
    until_s = epoch_s(forecast.data_until)
    crossing_s = cross_velocity(
        forecast.horizons_s, forecast.q10, forecast.q50, forecast.q90, forecast.data_value, failure_velocity
    )
    if crossing_s is None:
        return WindowByForecast(_NOT_REACHED(velocity=failure_velocity), until_s, None)
    from_s, mid_s, to_s = crossing_s
    has_open_end = to_s >= forecast.horizons_s[-1]
    reasons = [_REACHES(model=forecast.model, velocity=failure_velocity)]
    if has_open_end:
        reasons.append(_OPEN_END)
    edges_s = (until_s + from_s, until_s + mid_s, until_s + to_s)
    return WindowByForecast(_NEWER, until_s, edges_s, not has_open_end, join(reasons))
