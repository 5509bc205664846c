"""One root cause is one page: which parent explains silent series, and how long its page stands."""

from datetime import timedelta

from monitor.readings.records import Observation
from monitor.sites.parents import FALL_TOGETHER_S, Parent, find_silence_causes
from monitor.sites.parsing import parse_site
from monitor.text.instants import parse_time
from tests.data.measured import replay
from tests.data.site_text import criterion, head, series, station

BASE, LOGGER = Parent("base", "B"), Parent("logger", "L")
ROVERS = frozenset((f"G{n}", "displacement") for n in range(20))
PAIR = frozenset({("G0", "displacement"), ("G1", "displacement")})
LONE = frozenset({("G5", "displacement")})
CHILDREN = {BASE: ROVERS, LOGGER: PAIR}


def roots(silent, late=(), paged=(), now_s=0.0, gone=()):
    silent_s = dict.fromkeys(silent, 0.0)
    return find_silence_causes(
        CHILDREN, silent_s, lambda p: p in late, lambda p: p in gone, lambda *_: 3600.0, paged, now_s
    )


def test_nearest_parent_of_silent_series_is_the_cause_and_its_alert_is_delayed_and_stays():
    assert roots(ROVERS).pages == {BASE: ROVERS}
    assert roots(PAIR).pages == {LOGGER: PAIR}, "the other rovers of the base speak"
    assert roots(LONE) == roots(LONE, late=PAIR), "others of the base speak"
    assert (roots(LONE).pages, roots(LONE).waiting) == ({}, frozenset())
    late = ROVERS - LONE
    assert (roots(LONE, late).pages, roots(LONE, late).waiting) == ({}, LONE)
    assert roots(LONE, late, now_s=FALL_TOGETHER_S).pages == {BASE: LONE}
    # nor for those that have missed so much that they are gone
    assert roots(LONE, late, gone=late).pages == {BASE: LONE}
    assert roots(LONE, late, gone=late - PAIR).waiting == LONE, "two of them may still come"
    left = ROVERS - PAIR
    assert roots(left, paged={BASE.key}).pages == {BASE: left}
    assert roots(LONE, paged={BASE.key}).pages == {BASE: LONE}, "the last one has its time"
    assert roots(LONE, paged={BASE.key}, now_s=3600.0).pages == {}, "and then a page of its own"
    assert roots(ROVERS, paged={"health:G5.displacement:stale"}).pages == {BASE: ROVERS - LONE}


SITE = head("new", "New site", latitude=46.2, longitude=8.9, levels={"names": ["green", "yellow"]})
SITE += criterion("velocity", stations=["G*"], yellow={"over": 10.0, "window": "10m"})
SERIES = series("displacement", "mm", "5s", noise_floor_mm=3.0), series("battery_voltage", "V", "5s", max_silence="6h")
SITE += "".join(station(name, *SERIES, logger=logger) for name, logger in (("G1", "L1"), ("G2", "L1"), ("G3", "L2")))


def send(said_at):
    """Begin, and 40 epochs of which the first half is of three instruments; `said_at(epoch)`: what each says then."""
    begin, rows = parse_time("2026-03-01T00:00:00Z"), []
    for epoch in range(40):
        at = begin + timedelta(seconds=5 * epoch)
        for name in ("G1", "G2", "G3") if epoch < 20 else ("G3",):
            said = [("displacement_east", "mm", 0.0), ("displacement_north", "mm", 0.0), *said_at(epoch)]
            rows += [Observation("new", name, q, unit, at, at, value, None) for q, unit, value in said]
    return begin, rows


VOLTS = ("battery_voltage", "V", 12.0)


def test_failed_logger_is_one_alert_although_batteries_report_rarely():
    begin, rows = send(lambda _: [VOLTS])
    found = {}
    for now, decision in replay(parse_site(SITE, "new.toml"), rows):
        for key in decision.memory.conditions:
            found.setdefault(key, (now - begin).total_seconds())
    assert {k: s for k, s in found.items() if k.endswith(":stale")} == {"health:logger:L1:stale": 115.0}


def test_daily_battery_does_not_split_alert_on_failed_logger():
    text = SITE.replace('interval = "5s"\nmax_silence = "6h"', 'interval = "1d"\nmax_silence = "30h"')
    begin, rows = send(lambda epoch: [VOLTS] if epoch == 0 else [])
    # G3 goes on alone until the batteries of the others are silent too, and is alone when its own battery is
    rows += [
        Observation("new", "G3", f"displacement_{axis}", "mm", at, at, 0.0, None)
        for hour in range(1, 34)
        for axis in ("east", "north")
        for at in [begin + timedelta(hours=hour)]
    ]
    site, opened = parse_site(text, "new.toml"), {}
    for _, decision in replay(site, rows):
        for change in decision.changes:
            if change.open and change.key.endswith(":stale"):
                opened[change.key] = opened.get(change.key, 0) + 1
    assert opened.pop("health:logger:L1:stale") == 1
    assert not [key for key in opened if "G1" in key or "G2" in key], "one root cause is one page"


def told(battery_s, displacement_s, paged, now_s):
    places = {"b": ("G5", "battery_voltage"), "d": ("G5", "displacement")}
    newest_s = {places["b"]: battery_s, places["d"]: displacement_s}

    def spoke(p, quiet):
        return newest_s[p] > min(newest_s[q] for q in quiet) + 450.0

    yes, silent_s = (lambda _: True), dict.fromkeys(places.values(), 0.0)
    return find_silence_causes({}, silent_s, yes, yes, lambda *_: 0.0, paged, now_s, spoke).notified


def test_silent_battery_of_alerted_instrument_needs_no_alert_unless_it_reported_since():
    paged = {"health:G5.displacement:stale"}
    assert told(0.0, 3000.0, paged, 2e5) == {("G5", "battery_voltage")}
    assert not told(9000.0, 3000.0, paged, 2e5), "it spoke after the antenna had fallen silent: another cause"
    assert not told(0.0, 3000.0, set(), 2e5), "nobody was told of the antenna yet"
    assert not told(3000.0, 0.0, {"health:G5.battery_voltage:stale"}, 2e5), "the slope is never told by a battery"
