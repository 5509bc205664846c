"""Inputs that are held for longer than their series may be silent."""

from datetime import UTC, datetime

import pytest

from monitor.features.derived.plans import plan_site
from monitor.features.derived.samples import InputSamples, Sample
from monitor.features.derived.values import compute_values
from monitor.sites.parsing import parse_site
from tests.data import site_text
from tests.data.site_text import FOUR

NOW = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = 3600.0
C1, C2 = ("C1", "crack_opening"), ("C2", "crack_opening")


def make_plan(**silence):
    text = site_text.head("bench", levels=FOUR)
    for name, more in (("C1", silence), ("C2", {})):
        text += site_text.station(name, site_text.series("crack_opening", "mm", "1h", **more))
    text += site_text.station("M1", latitude=46.0, longitude=8.0)
    text += site_text.table(
        "[[derived]]",
        station="M1",
        quantity="crack_opening",
        unit="mm",
        expression="C1.crack_opening - C2.crack_opening",
        at="C2.crack_opening",
        hold="3d",
    )
    site = parse_site(text, "bench.toml")
    [plan] = plan_site(site).each
    return plan


def compute_flags(plan, ages_h):
    """Flags of the differences at instants when the newest reading of C1 is so many hours old."""
    rows = {
        C1: [Sample(C1, 0.0, 0.010, None)],
        C2: [Sample(C2, age_h * HOUR, 0.002, None) for age_h in ages_h],
    }
    values = compute_values("bench", plan, InputSamples(rows, 0.0), [h * HOUR for h in ages_h], NOW)
    return [None if value is None else value.flags for value in values.values()]


def test_value_of_an_input_older_than_its_silence_is_incomplete():
    flags = compute_flags(make_plan(max_silence="6h"), [0, 5, 6, 7, 71, 73])
    assert flags == [(), (), (), ("incomplete",), ("incomplete",), None]


def test_hold_alone_decides_where_no_silence_is_declared():
    assert compute_flags(make_plan(), [0, 7, 71, 73]) == [(), (), (), None]


@pytest.mark.parametrize(("at_s", "flags"), [(HOUR, ("late",)), (HOUR + 1.0, ("late", "incomplete"))])
def test_stale_reading_keeps_its_own_flags(at_s, flags):
    samples = InputSamples({C1: [Sample(C1, 0.0, 1.0, None, ("late",))]}, 0.0, 9.0 * HOUR, silences_s={C1: HOUR})
    assert samples.find(C1, at_s).flags == flags
    assert samples.find(C1, at_s) is samples.find(C1, at_s)
