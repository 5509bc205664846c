"""The rules of this package: no look-ahead, and each finds the fault that it is for."""

import pytest

from slopeward_lab.detectors.registry import DETECTORS
from tests.detection.anomaly.test_anomalies import check_rule_rises, check_rule_sees_no_future


@pytest.mark.parametrize("name", sorted(name for name, entry in DETECTORS.items() if not entry.is_network))
def test_rules_see_no_future(name):
    check_rule_sees_no_future(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("robust-z", "spike"),
        ("ewma", "drift"),
        ("slope-change", "accel"),
        ("variance", "burst"),
        ("persistence-z", "spike"),
        ("persistence-z", "step"),
    ],
)
def test_each_rule_rises_on_the_fault_it_is_for(name, kind):
    check_rule_rises(name, kind)
