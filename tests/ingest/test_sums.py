"""Rain that is not what its site file says: sums of intervals, counters, and counters that begin anew."""

from datetime import UTC, datetime, timedelta
from random import Random

from monitor.ingest.files.units import ScaleCheck
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from tests.data.site_text import head, series, station
from tests.tables import tabulated

START = datetime(2025, 1, 1, tzinfo=UTC)


def draw_sums(rng, days=3):
    """Sums of ten minutes: showers of some hours, tips of 0.2 mm."""
    sums = [0.0] * (144 * days)
    for _ in range(4 * days):
        first, strength = rng.randrange(len(sums)), rng.uniform(0.4, 2.0)
        for k in range(first, min(len(sums), first + rng.randrange(3, 20))):
            sums[k] = round(0.2 * round(rng.uniform(0.0, strength) / 0.2), 1)
    return sums


def add_up(sums, anew, height):
    """What a counter shows of them; it begins anew after so many readings, 0: never."""
    shown = height
    for k, amount in enumerate(sums):
        shown = round((height if anew and k % anew == 0 else shown) + amount, 1)
        yield shown


@tabulated("seed", range(20))
@tabulated(
    ("kind", "stamp", "found"),
    [
        ("sums", "interval_end", []),
        ("sums", "counter", [True]),
        ("counter", "counter", []),
        ("counter", "interval_end", [True]),
        ("of the day", "counter", []),
        ("of the day", "interval_end", None),  # asked about; beyond doubt where more than ever fell in a day
        ("of the hour", "event", []),
    ],
)
def test_rain_is_held_against_what_its_site_file_says(seed, kind, stamp, found):
    sums = draw_sums(Random(seed))
    anew, height = {"of the day": (144, 0.0), "of the hour": (6, 0.0)}.get(kind, (0, 310.4))
    shown = sums if kind == "sums" else list(add_up(sums, anew, height))
    site = parse_site(head("slope") + station("R1", series("rain", "mm", "10m", stamp=stamp)), "x.toml")
    check = ScaleCheck()
    at = [START + timedelta(minutes=10 * k) for k in range(len(shown))]
    check.add([Observation("slope", "R1", "rain", "mm", one, one, v) for one, v in zip(at, shown, strict=True)])
    asked = [is_sure for _, is_sure in check.find_stamp_doubts({"slope": site})]
    assert len(asked) == 1 if found is None else asked == found


@tabulated("seed", range(20))
def test_a_counter_of_the_hour_is_never_beyond_doubt_taken_for_sums(seed):
    shown = list(add_up(draw_sums(Random(seed)), 6, 0.0))
    site = parse_site(head("slope") + station("R1", series("rain", "mm", "10m", stamp="counter")), "x.toml")
    check = ScaleCheck()
    at = [START + timedelta(minutes=10 * k) for k in range(len(shown))]
    check.add([Observation("slope", "R1", "rain", "mm", one, one, v) for one, v in zip(at, shown, strict=True)])
    assert not any(is_sure for _, is_sure in check.find_stamp_doubts({"slope": site}))
