"""Detect rain whose kind contradicts the site file: interval sums, counters, and counters that are reset."""

from datetime import UTC, datetime, timedelta
from random import Random

from monitor.ingest.files.units import ScaleCheck
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from tests.data.site_text import head, series, station
from tests.tables import tabulated

START = datetime(2025, 1, 1, tzinfo=UTC)


def draw_sums(rng, days=3):
    """Return ten-minute sums in mm: showers of some hours, in tips of 0.2 mm."""
    sums = [0.0] * (144 * days)
    for _ in range(4 * days):
        first, strength = rng.randrange(len(sums)), rng.uniform(0.4, 2.0)
        for k in range(first, min(len(sums), first + rng.randrange(3, 20))):
            sums[k] = round(0.2 * round(rng.uniform(0.0, strength) / 0.2), 1)
    return sums


def accumulate(sums, reset_every, height):
    """Yield the readings of a counter in mm that is reset to `height` every `reset_every` readings, or never for 0."""
    shown = height
    for k, amount in enumerate(sums):
        shown = round((height if reset_every and k % reset_every == 0 else shown) + amount, 1)
        yield shown


@tabulated("seed", range(20))
@tabulated(
    ("kind", "stamp", "expected"),
    [
        ("sums", "interval_end", []),
        ("sums", "counter", [True]),
        ("counter", "counter", []),
        ("counter", "interval_end", [True]),
        ("of the day", "counter", []),
        ("of the day", "interval_end", None),  # one question; certain only if the sum exceeds any possible daily rain
        ("of the hour", "event", []),
    ],
)
def test_rain_that_contradicts_the_declared_stamp_raises_a_question(seed, kind, stamp, expected):
    sums = draw_sums(Random(seed))
    reset_every, height = {"of the day": (144, 0.0), "of the hour": (6, 0.0)}.get(kind, (0, 310.4))
    readings = sums if kind == "sums" else list(accumulate(sums, reset_every, height))
    site = parse_site(head("slope") + station("R1", series("rain", "mm", "10m", stamp=stamp)), "x.toml")
    check = ScaleCheck()
    times = [START + timedelta(minutes=10 * k) for k in range(len(readings))]
    check.add(
        [
            Observation("slope", "R1", "rain", "mm", instant, instant, v)
            for instant, v in zip(times, readings, strict=True)
        ]
    )
    doubts = [is_sure for _, is_sure in check.find_stamp_doubts({"slope": site})]
    assert len(doubts) == 1 if expected is None else doubts == expected


@tabulated("seed", range(20))
def test_hourly_counter_is_never_certainly_taken_for_sums(seed):
    readings = list(accumulate(draw_sums(Random(seed)), 6, 0.0))
    site = parse_site(head("slope") + station("R1", series("rain", "mm", "10m", stamp="counter")), "x.toml")
    check = ScaleCheck()
    times = [START + timedelta(minutes=10 * k) for k in range(len(readings))]
    check.add(
        [
            Observation("slope", "R1", "rain", "mm", instant, instant, v)
            for instant, v in zip(times, readings, strict=True)
        ]
    )
    assert not any(is_sure for _, is_sure in check.find_stamp_doubts({"slope": site}))
