"""Weights that `auto` refuses by their card."""

import pytest

from detection.imagery.errors import UnfitWeightsError
from detection.imagery.footprints.choose import SHIPPED, check_baseline
from detection.imagery.weights_file import read_weights


def make_card(interval: list[float] | None) -> dict[str, object]:
    logistic = {"f1": 0.61, "less_logistic": {"difference": -0.05, "interval": interval, "carries": True}}
    return {"metrics": {"test": {"f1": 0.56}, "logistic": logistic}}


def test_weights_below_logistic_regression_are_refused_with_the_scores():
    with pytest.raises(UnfitWeightsError) as refused:
        check_baseline(make_card([-0.08, -0.02]))
    reason = refused.value.explanation
    assert reason.code == "weights.logistic"
    assert dict(reason.values) == {"network": 0.56, "logistic": 0.61}


@pytest.mark.parametrize("card", [make_card([-0.08, 0.01]), make_card(None), {"metrics": {}}])
def test_weights_that_are_not_shown_to_be_worse_are_accepted(card):
    check_baseline(card)


@pytest.mark.parametrize("weights", SHIPPED)
def test_shipped_weights_are_accepted(weights):
    check_baseline(read_weights(weights).card)
