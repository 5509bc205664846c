"""The contract of forecasting networks, over the networks of this package."""

from forecasting.registry import list_networks
from slopeward_lab.forecasters.registry import NETWORKS
from tests.contract.test_forecasters import (  # noqa: F401 - tests, fixtures and a hook of pytest
    changed_after_calibration,
    list_weight_shapes,
    pytest_generate_tests,
    test_a_checkpoint_forecasts_what_was_saved,
    test_a_station_that_fell_silent_says_nothing_to_its_neighbours,
    test_an_untrained_network_is_its_simple_forecast,
    test_every_network_learns_what_no_baseline_can_see,
    test_no_network_runs_back_where_a_motion_runs_faster_than_any_it_learnt,
    test_no_value_after_the_origin_changes_a_forecast,
    test_nothing_that_is_fitted_depends_on_anything_after_calibration,
    test_odd_series_are_an_error_or_a_forecast_never_nonsense,
    test_training_moves_the_forecast_and_lowers_the_loss,
    test_two_runs_give_the_same_bytes_on_any_number_of_threads,
    trained,
)

MODELS = sorted(NETWORKS)
PULSE_TRAINING = {
    "rnn": (9, 200),
    "bilstm": (9, 200),
    "graph-attention-gru": (9, 200),
    "graph-lstm": (9, 200),
    "conv-lstm": (12, 200),
    "lstm2": (9, 300),
}
# a network of each kind is trained in every run: recurrent, convolutional, both, attention, graph, regression, parts
TRAINED_IN_SOAK = {*MODELS} - {
    "rnn",
    "tcn",
    "cnn-lstm",
    "transformer",
    "graph-transformer",
    "linear-regression",
    "vmd-gru",
}
# These have the layers of `emd-gru` or `emd-lstm` and read another decomposition, or those of `gru` and another loss.
SAME_LAYERS = {"ceemdan-gru", "ceemdan-lstm", "vmd-gru", "vmd-lstm", "physics-gru"}


def test_no_network_has_the_weights_of_another_by_shape():
    names = list_networks().keys() - SAME_LAYERS
    assert len(list_weight_shapes(names)) == len(names)
