"""Run the combination over all rows of a panel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.combination.combination import Combination
from forecasting.combination.drivers import choose_drivers
from forecasting.data.series import Floats, Panel


@dataclass(frozen=True, slots=True)
class Run:
    """Forecasts made at every row of a panel: T rows, S stations, H horizons."""

    horizons_s: tuple[float, ...]
    fans: Floats  # combination, shape (T, S, H, 5); before 20 errors all but the median are NaN
    medians: Mapping[str, Floats]  # forecasts of the requested experts in mm, shape (T, S, H)
    simple: Mapping[str, Floats]  # last value and straight line, shape (T, S, H, 5)
    network_fans: Mapping[str, Floats]  # networks with intervals of their own errors, shape (T, S, H, 5)
    state: Combination  # after the last row


def run(
    panel: Panel,
    horizons_s: Sequence[float],
    *,
    networks: Mapping[str, Floats] | None = None,
    failure: Floats | None = None,
    state: Combination | None = None,
    experts: Sequence[str] = (),
    groups: Sequence[Sequence[int]] | None = None,
) -> Run:
    """Advance a combination over the rows of a panel and return the forecasts made at each of them.

    Args:
        panel: Readings. With a state, only the rows that the state has not seen.
        horizons_s: Horizons in seconds, rising.
        networks: Fans of networks made at each row, by name, shape (T, S, H, 5). Only their medians are read.
        failure: Quantiles of the displacement that failure windows predict at each row in mm, shape (T, S, H, 5), NaN
            where there is no window.
        state: Combination to continue, which is changed; a new one by default.
        experts: Names of the experts whose forecasts are returned.
        groups: Columns that are components of one motion, for a new combination.

    Raises:
        ValueError: The state belongs to other stations or horizons.
    """
    steps = tuple(panel.steps(horizon_s) for horizon_s in horizons_s)
    drivers = choose_drivers(panel.drivers)
    if state is None:
        driver_names = () if drivers is None else drivers.names
        state = Combination.start(panel.stations, panel.step_s, steps, groups=groups, driver_names=driver_names)
    if state.stations != panel.stations or state.steps != steps or state.step_s != panel.step_s:
        raise ValueError("the state belongs to other stations, horizons or another interval between rows")
    networks = networks or {}
    rows, stations = panel.values.shape
    shape = (rows, stations, len(steps))
    fans = np.empty((*shape, 5))
    medians = {name: np.empty(shape) for name in experts}
    simple_fans: dict[str, Floats] = {}
    network_fans: dict[str, Floats] = {}
    channels = None if drivers is None else drivers.in_order(state.driver_names)
    for row in range(rows):
        state.advance(
            panel.values[row],
            networks={name: fans_by_row[row] for name, fans_by_row in networks.items()},
            failure_fans=None if failure is None else failure[row],
            drivers=None if channels is None else channels[row],
        )
        forecast = state.forecast()
        fans[row] = forecast.fans
        for name, expert_medians in medians.items():
            expert_medians[row] = forecast.medians[forecast.experts.index(name)]
        for target, source in ((simple_fans, forecast.simple), (network_fans, forecast.network_fans)):
            for name, fan in source.items():
                target.setdefault(name, np.full((*shape, 5), np.nan))[row] = fan
    return Run(tuple(horizons_s), fans, medians, simple_fans, network_fans, state)
