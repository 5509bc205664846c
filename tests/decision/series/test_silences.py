"""The allowed silence follows how readings are received, unless the site file declares it."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decision.criteria.scope import find_history_spans
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.assessment import EvaluationCache
from monitor.decision.series.intervals import add_remembered, find_silence_s, list_receptions
from monitor.readings.records import Reading
from monitor.sites.parsing import parse_site
from monitor.sites.records import SeriesSpec
from monitor.text.instants import from_epoch_s
from tests.data.site_text import FOUR, criterion, head, series, station
from tests.fixtures.examples import expensive_examples

T0, HOUR = 1.8e9, 3600.0
VELOCITY = '\n[[criterion]]\nkind = "velocity"\nstations = ["G*"]\nyellow = {over = 2.0, window = "7d"}\n'


def make_site(**facts):
    rovers = [
        station(name, series("displacement", "mm", noise_floor_mm=1.0, **facts), azimuth_deg=90.0, plunge_deg=0.0)
        for name in ("G1", "G2")
    ]
    return parse_site(head("bench", levels=FOUR) + "".join(rovers) + VELOCITY, "bench.toml")


def watch(site, arrivals: dict[int, list[int]], hours: int) -> list[Decision]:
    """A look each half hour at two rovers at rest; `arrivals`: the epochs that come at an hour, by hour."""
    prepared, cache = PreparedSite(site), EvaluationCache()
    memory, readings, found = Memory(), (), []
    names = [f"{name}.displacement_downslope" for name in ("G1", "G2")]
    for half in range(2 * hours):
        now_s = T0 + half * HOUR / 2.0
        for epoch in arrivals.get(half // 2, ()) if half % 2 == 0 else ():
            value = 0.1 * (epoch * 7 % 5)
            at = from_epoch_s(T0 + epoch * HOUR)
            readings = (*readings, Reading(at, from_epoch_s(now_s), 0, value, 0.0, value, None, ()))[-400:]
        newest = {}
        if readings:
            last = readings[-1]
            newest = dict.fromkeys(names, NewestEpoch(last.observed_at.timestamp(), last.received_at.timestamp()))
        inputs = DecisionInputs(dict.fromkeys(names, readings), newest)
        found.append(decide(prepared, memory, inputs, from_epoch_s(now_s), cache))
        memory = found[-1].memory
    return found


def count(looks, kind):
    """Whether each change of a notice of G1 opens it, with the hour."""
    key = f"health:G1.displacement:{kind}"
    return [(i / 2.0, c.open) for i, d in enumerate(looks) for c in d.changes if c.key == key]


def in_turn(every: int, start: int, end: int) -> dict[int, list[int]]:
    return {hour: [hour] for hour in range(start, end, every)}


@expensive_examples(24)
@given(every=st.integers(2, 12), hourly=st.integers(0, 30))
def test_one_notice_opens_and_closes_for_readings_rarer_than_declared(every, hourly):
    last = hourly + 16 * every
    looks = watch(make_site(), in_turn(1, 0, hourly) | in_turn(every, hourly, last + 1), last + 4 * every)
    silent = count(looks, "stale")
    assert sum(opens for _, opens in silent) <= 6, "until their pace is known, and at the end"
    assert silent[-1][1]
    assert last < silent[-1][0] <= last + 3 * every + 1, "three of their own intervals after the last one"
    rare = count(looks, "rare")
    assert len(rare) == 1, "the notice of the pace stays"
    assert rare[0][1]


@pytest.mark.soak
def test_logger_that_sends_once_a_day_may_be_silent_for_days():
    arrivals = {day * 24: list(range(day * 24 - 23, day * 24 + 1)) for day in range(1, 12)}
    looks = watch(make_site(), arrivals, 11 * 24 + 80)
    silent = count(looks, "stale")
    assert sum(opens for hour, opens in silent if hour < 11 * 24) <= 6
    assert silent[-1] == (11 * 24 + 72.5, True)


@pytest.mark.parametrize("declared", ["3h", "12h"])
def test_declared_silence_is_not_changed(declared):
    looks = watch(make_site(max_silence=declared), in_turn(6, 0, 96), 110)
    opened = sum(opens for _, opens in count(looks, "stale"))
    assert opened == {"3h": 16, "12h": 1}[declared]


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("lost", [0.1, 0.3, 0.6])
def test_randomly_lost_readings_hardly_lengthen_the_silence(lost):
    chance = random.Random(3)
    arrivals = {hour: [hour] for hour in range(400) if chance.random() > lost}
    looks = watch(make_site(), arrivals, 440)
    (end, opens) = count(looks, "stale")[-1]
    assert opens
    assert end <= max(arrivals) + {0.1: 3.5, 0.3: 6.5, 0.6: 12.5}[lost]


LEVEL = '\n[[criterion]]\nkind = "level"\nseries = "G1.temperature"\nyellow = {over = 30.0}\n'


@pytest.mark.parametrize("criterion", ["", LEVEL])
@pytest.mark.parametrize("declared", [{}, {"max_silence": "1d"}])
def test_pace_is_found_for_series_without_a_long_window(declared, criterion):
    """Readings of six intervals each were as many notices where a criterion looked back by three hours alone."""
    both = series("displacement", "mm") + series("temperature", "degC", **declared)
    text = head("bench", levels=FOUR) + station("G1", both, azimuth_deg=90.0, plunge_deg=0.0) + VELOCITY + criterion
    wanted = find_history_spans(parse_site(text, "bench.toml")).get(("G1", "temperature"), 0.0)
    assert wanted == 60.0 * HOUR if not declared else wanted < 60.0 * HOUR


def watch_uploads(
    *, interval: str, readings_per_upload: int, every_h: int, uploads: int, window: str
) -> list[Decision]:
    """Evaluate every two hours a logger that sends a batch of readings every `every_h` hours, then stops."""
    text = head("bench", levels=FOUR) + station("L1", series("crack_opening", "mm", interval, noise_floor_mm=0.1))
    rate = criterion("rate", series="L1.crack_opening", yellow={"over": 2.0, "window": window})
    site = parse_site(text + rate, "bench.toml")
    prepared, cache = PreparedSite(site), EvaluationCache()
    memory, readings, decisions = Memory(), (), []
    reach_s = find_history_spans(site)["L1", "crack_opening"]
    for hour in range(0, (uploads + 4) * every_h, 2):
        now_s = T0 + hour * HOUR
        if hour % every_h == 0 and 0 < hour <= uploads * every_h:
            step_s = every_h * HOUR / readings_per_upload
            epochs = [from_epoch_s(now_s - k * step_s) for k in reversed(range(readings_per_upload))]
            values = [0.02 * (k * 7 % 5) for k in range(readings_per_upload)]
            readings += tuple(
                Reading(at, from_epoch_s(now_s), 0, v, 0.0, v, None, ()) for at, v in zip(epochs, values, strict=True)
            )
        # The service loads no more than this.
        readings = tuple(r for r in readings if r.observed_at.timestamp() > now_s - reach_s)
        newest = {}
        if hour >= every_h:
            last_s = T0 + min(hour // every_h, uploads) * every_h * HOUR
            newest = {"L1.crack_opening": NewestEpoch(last_s, last_s)}
        inputs = DecisionInputs({"L1.crack_opening": readings}, newest)
        decisions.append(decide(prepared, memory, inputs, from_epoch_s(now_s), cache))
        memory = Memory.read(json.loads(json.dumps(decisions[-1].to_json()["memory"])))
    return decisions


@pytest.mark.soak
@pytest.mark.parametrize(
    ("interval", "readings_per_upload", "every_h", "window"),
    [
        ("86s", 1000, 24, "6h"),
        pytest.param("86s", 1000, 24, "3d", marks=pytest.mark.soak),
        ("5m", 144, 12, "6h"),
        ("15m", 672, 168, "1d"),
        ("1h", 48, 48, "12h"),
    ],
)
def test_logger_that_sends_batches_is_not_silent_between_uploads(interval, readings_per_upload, every_h, window):
    decisions = watch_uploads(
        interval=interval, readings_per_upload=readings_per_upload, every_h=every_h, uploads=10, window=window
    )
    key = "health:L1.crack_opening:stale"
    opened = [2 * i for i, d in enumerate(decisions) for c in d.changes if c.key == key and c.open]
    before_pace_is_known = 3 * every_h
    assert [hour for hour in opened if before_pace_is_known < hour <= 10 * every_h] == []
    assert len(opened) <= 4, "before the first upload, after each of the first two, and at the end"
    assert 13 * every_h <= opened[-1] <= 13 * every_h + 4, "three pauses after the last upload"


HOURLY = SeriesSpec("G1", "displacement", "mm", HOUR, 3.0 * HOUR, learns_silence=True)


@pytest.mark.parametrize("outage_h", [1, 6, 48])
def test_outages_of_a_continuous_series_do_not_lengthen_the_silence(outage_h):
    received_s = [T0 + (week * 168 * 6 + place) * 600.0 for week in range(8) for place in range((168 - outage_h) * 6)]
    receptions_s = list_receptions(reversed(received_s), HOUR)
    assert find_silence_s(HOURLY, received_s[-25:], receptions_s) == 3.0 * HOUR


@pytest.mark.parametrize("every_h", [2, 5, 24])
def test_pace_does_not_depend_on_how_often_a_site_is_evaluated(every_h):
    remembered_s = ()
    for number in range(20):
        end_s = T0 + number * every_h * HOUR
        received_s = [end_s - place * 600.0 for place in range(60 * 6)]
        remembered_s = add_remembered(list_receptions(received_s, HOUR), remembered_s, HOUR)
        assert find_silence_s(HOURLY, received_s[24::-1], remembered_s) == 3.0 * HOUR


def test_uploads_that_take_minutes_are_uploads():
    by_minute = SeriesSpec("G1", "displacement", "mm", 60.0, 180.0, learns_silence=True)
    received_s = [T0 + day * 86400.0 + place for day in range(6) for place in range(1440)]
    epochs_s = [T0 + place * 60.0 for place in range(25)]
    assert find_silence_s(by_minute, epochs_s, list_receptions(reversed(received_s), 60.0)) > 86400.0
