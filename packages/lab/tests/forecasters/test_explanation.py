"""The maps of attention and of learned graphs that explain a forecast."""

import pytest

from tests.forecasting.explanation.test_explanation import list_maps


@pytest.mark.parametrize(
    ("model", "maps"),
    [
        ("bigru-attention", {"attention over rows"}),
        ("transformer", {"attention of the newest patch over patches of rows"}),
        ("graph-attention-gru", {"attention between stations", "given graphs, added"}),
        ("graph-lstm", {"learned graph", "given graphs, added"}),
    ],
)
def test_every_map_says_that_it_is_no_cause(model, maps):
    assert list_maps(model) == maps
