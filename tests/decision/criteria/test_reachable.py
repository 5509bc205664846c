"""Bounds that no motion reaches: refused where no instrument could mean them, else counted and told, with why."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.app.checks.site_files import SiteFolder
from monitor.app.checks.table import run_alarm_checks, run_checks
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.intervals import RARITY_INTERVALS, find_interval_s
from monitor.errors import ConfigError
from monitor.readings.records import Reading
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site
from monitor.storage.check import BAD, WARN, CheckFinding
from monitor.text.instants import from_epoch_s
from tests.data.site_text import FOUR, head, series, station
from tests.tables import tabulated

T0, HOUR = 1.8e9, 3600.0
RED = 'red = {over = 100.0, window = "6h"}'
VELOCITY = """
[[criterion]]
kind = "velocity"
stations = ["G*"]
yellow = {over = 2.0, window = "7d"}
%s
dwell = {hits = 3, of = 4, within = "6h"}
"""


def make_site(criterion: str = VELOCITY % RED, **facts: object) -> Site:
    moved = series("displacement", "mm", **{"max_silence": "12h", "noise_floor_mm": 1.0, **facts})
    rovers = [station(name, moved, azimuth_deg=90.0, plunge_deg=0.0) for name in ("G1", "G2")]
    return parse_site(head("bench", levels=FOUR) + "".join(rovers) + criterion, "bench.toml")


def find(site: Site, check: str) -> list[CheckFinding]:
    files = SiteFolder(ServiceConfig(), [site], {})
    return [one for one in run_checks(files) if one.check.id == check and one.is_wrong]


@pytest.mark.parametrize(
    ("criterion", "facts", "key", "nearest"),
    [
        (VELOCITY % RED.replace("100.0", "1e300"), {}, "criterion[0].red.over", "4320000"),
        (VELOCITY % f"{RED}\nmin_sigma = 3000.0", {}, "criterion[0].min_sigma", "20"),
        (VELOCITY % RED, {"noise_floor_mm": 1e6}, "station[0].series[0].noise_floor_mm", "10000 mm"),
    ],
)
def test_implausible_bound_is_refused_with_the_nearest_plausible_one(criterion, facts, key, nearest):
    with pytest.raises(ConfigError) as refused:
        make_site(criterion, **facts)
    for part in ("bench.toml", key, nearest):
        assert part in refused.value.message


@pytest.mark.parametrize(
    ("criterion", "facts", "words"),
    [
        (VELOCITY % RED.replace("6h", "3h"), {}, "the window of 3h contains 3 readings, and 4 are needed"),
        (VELOCITY.replace("6h", "1h") % RED, {}, "the dwell needs 3 readings within 1h"),
        (
            VELOCITY % RED,
            {"noise_floor_mm": 5000.0},
            "only values above 86056 mm/day count, and the bound is 100 mm/day",
        ),
        (VELOCITY % RED, {"low": -3.0, "high": 3.0}, "the values would leave their valid range, -3 mm to 3 mm"),
    ],
)
def test_unreachable_bound_is_an_error(criterion, facts, words):
    site = make_site(criterion, **facts)
    found = next(one for one in find(site, "sites.unreachable") if "cannot raise red" in one.text)
    assert found.level == BAD
    assert "velocity-1 cannot raise red at G1, G2" in found.text
    assert words in found.text


def test_partly_reachable_bounds_and_noise_above_a_bound_are_cautions():
    slow = series("displacement", "mm", "3h", max_silence="12h")
    text = (
        head("bench", levels=FOUR) + station("G1", series("displacement", "mm", max_silence="6h")) + station("G2", slow)
    )
    site = parse_site(f"{text}{VELOCITY % RED}[fusion]\ntop_needs = 1\n", "bench.toml")
    (found,) = find(site, "sites.unreachable")
    assert found.level == WARN
    assert "velocity-1 cannot raise red at G2: " in found.text
    (found,) = find(make_site(noise_floor_mm=8.0), "sites.unreachable")
    assert found.level == WARN
    assert "velocity-1 raises red late at G1, G2" in found.text


def play(site: Site, every_s: Sequence[float]) -> list[Decision]:
    """Decisions at readings of a slope at rest that come so far apart."""
    memory, found, at_s = Memory(), [], T0
    readings: tuple[Reading, ...] = ()
    for i, step_s in enumerate(every_s):
        at_s += step_s
        value = 0.1 * (i * 7 % 5)
        readings = (*readings, Reading(from_epoch_s(at_s), from_epoch_s(at_s), 0, value, 0.0, value, None, ()))[-200:]
        names = [f"{name}.displacement_downslope" for name in ("G1", "G2")]
        inputs = DecisionInputs(dict.fromkeys(names, readings), dict.fromkeys(names, NewestEpoch(at_s, at_s)))
        found.append(decide(PreparedSite(site), memory, inputs, from_epoch_s(at_s)))
        memory = found[-1].memory
    return found


def test_station_with_long_intervals_cannot_reach_red_and_the_reason_is_given():
    site = make_site()
    assert not find(site, "sites.unreachable")
    looks = play(site, [HOUR] * 20 + [3 * HOUR] * 12 + [HOUR] * 24)
    assert [looks[i].reachable_level for i in (19, 31, 43, 55)] == [3, 1, 1, 3], "a day of hourly readings says so"
    (told,) = [c for d in looks for c in d.changes if c.key == "health:site:reachable" and c.open]
    assert told.level == 2
    assert "at most yellow: velocity-1 cannot raise red at G1, G2: a reading is received every 3h" in told.reason
    rare = [c for d in looks for c in d.changes if c.key == "health:G1.displacement:rare"]
    assert [c.open for c in rare] == [True, False]
    assert "so the window of 6h contains 2 readings, and 4 are needed (declared: one every 1h)" in rare[0].reason


def test_single_gap_makes_no_level_unreachable():
    looks = play(make_site(), [HOUR] * 20 + [5 * HOUR] + [HOUR] * 12)
    assert {d.reachable_level for d in looks} == {3}


@pytest.mark.parametrize("lost", [0.4, 0.5, 0.6])
def test_series_that_loses_half_of_its_readings_is_reported_once(lost):
    chance = random.Random(7)
    looks = play(make_site(), [HOUR] * 20 + [draw_step(chance, lost) for _ in range(200)])
    told = [c.open for d in looks for c in d.changes if c.key == "health:G1.displacement:rare"]
    assert told == [True]


@settings(max_examples=25)
@given(lost=st.floats(0.0, 0.9), seed=st.integers(0, 2**16))
def test_notice_about_lost_readings_becomes_stable(lost, seed):
    """By the newest eight intervals alone it changes up to once in seven readings."""
    chance, at_s, times_s, is_rare, changes = random.Random(seed), 0.0, [], False, 0
    for _ in range(1000):
        at_s += draw_step(chance, lost)
        times_s = [*times_s, at_s][-RARITY_INTERVALS - 1 :]
        now_rare = find_interval_s(times_s, HOUR, was_rare=is_rare) > 1.5 * HOUR
        changes += now_rare != is_rare
        is_rare = now_rare
    assert changes <= 25


def draw_step(chance, lost):
    """Time between two readings that arrive."""
    hours = 1
    while chance.random() < lost:
        hours += 1
    return hours * HOUR


def test_reload_of_a_site_file_opens_and_closes_both_notices():
    lost = make_site((VELOCITY % RED).replace("G*", "G1").replace("6h", "3h"))
    sound = make_site()
    findings = run_alarm_checks(SiteFolder(ServiceConfig(), [lost], {}))
    keys = {finding.key: True for finding in findings if finding.reaches_check_level}
    assert keys == {"config:bench:unreachable": True, "config:bench:unjudged": True}
    over = list(run_alarm_checks(SiteFolder(ServiceConfig(), [sound], {})))
    assert {one.key for one in over} == set(keys)
    assert not any(one.reaches_check_level for one in over)


@tabulated(
    ("ledgers", "role", "kind", "told"),
    [
        ("", "", "scene", True),
        ('ledgers = ["hazard"]', "", "scene", True),
        ("", 'role = "advice"', "scene", True),
        ('ledgers = ["hazard", "advice"]', "", "scene", False),
        ("", 'role = "witness"', "scene", False),
        ("", "", "velocity", False),
    ],
)
def test_image_criterion_without_recipient_is_named(ledgers, role, kind, told):
    rule = f'[[criterion]]\nid = "above"\nkind = "{kind}"\nlevel = "yellow"\n{role}\nauthor = "t"\nreason = "t"\n'
    text = head("bench", levels=FOUR) + station("G1", series("displacement", "mm")) + VELOCITY % RED
    text += rule if kind == "scene" else ""
    people = '[[recipient]]\nname = "duty"\nchannels = ["log"]\nlevels = ["yellow", "red"]\n'
    site = parse_site(f"{text}{people}{ledgers}\n", "bench.toml")
    found = find(site, "sites.unheard")
    assert [(one.level, "above: nobody receives" in one.text) for one in found] == [(WARN, True)] * told
    nobody = parse_site(text, "bench.toml")
    assert find(nobody, "sites.unheard") == []  # that there is no recipient is said already
