"""The contract of drivers in forecasting networks, over the networks of this package."""

from forecasting.registry import load
from slopeward_lab.forecasters.registry import NETWORKS
from tests.contract.test_forecaster_drivers import (  # noqa: F401 - tests and a hook of pytest
    pytest_generate_tests,
    test_a_driver_that_says_nothing_is_one_that_is_not_there,
    test_drivers_say_nothing_to_neighbours_through_a_station_that_is_silent,
    test_every_network_hears_each_driver_up_to_the_origin_and_none_after_it,
    test_stations_in_another_order_are_forecast_the_same,
)

# Regressions have no weights before they are fitted; `test_regressors.py` tests their drivers.
MODELS = sorted(name for name in NETWORKS if not load(name).is_fitted_directly)
