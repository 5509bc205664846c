"""Acceleration, tangential angle and failure window as criteria: bounds, noise, staleness, hysteresis, two sensors."""

import math
import random
from dataclasses import replace

import pytest

from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, FailureFact, Memory, NewestEpoch
from monitor.decision.series.assessment import DecisionContext
from monitor.errors import ConfigError
from monitor.readings.records import Reading
from monitor.sites.parsing import parse_site
from monitor.sites.records import Criterion, Dwell, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import epoch_s, from_epoch_s, parse_time
from tests.data import site_text
from tests.data.criteria import CRITERIA, KINDS

T0 = epoch_s(parse_time("2026-01-01T00:00:00Z"))
H, D = 3600.0, 86400.0
LEVELS = tuple(Level(i, n, i < 2) for i, n in enumerate(("green", "yellow", "orange", "red")))
NOISE = 0.2


def station(name, reference=None, v_eq=None):
    series = SeriesSpec(name, "displacement", "mm", H, 6 * H, NOISE)
    facts = {"reference": reference, "v_eq_mm_per_day": v_eq, "v_eq_reviewed": "somebody" if v_eq else ""}
    return Station(name, azimuth_deg=180.0, plunge_deg=0.0, series=(series,), **facts)


def place(criterion, *stations):
    return Site("s", "S", 46.0, 8.0, "UTC", LEVELS, stations or (station("A", v_eq=1.0),), (criterion,), version="v")


def readings(curve, hours, *, seed=1, flags=()):
    dice = random.Random(seed)
    rows = []
    for i in range(hours + 1):
        at, value = from_epoch_s(T0 + i * H), curve(i / 24.0) + dice.gauss(0.0, NOISE)
        rows.append(Reading(at, at, 0, value, 0.0, value, NOISE, flags if i > hours - 30 else ()))
    return tuple(rows)


def inputs(rows, name="A", **kw):
    key = f"{name}.displacement_downslope"
    return DecisionInputs(
        {key: rows}, {key: NewestEpoch(epoch_s(rows[-1].observed_at), epoch_s(rows[-1].received_at))}, **kw
    )


def ask(site, seen, now_s, memory=None):
    (criterion,) = site.criteria
    return CRITERIA[criterion.kind.id].rule(
        criterion, DecisionContext(PreparedSite(site), seen, memory or Memory(), now_s)
    )


OVER = (Threshold(1, over=0.5, window_s=5 * D), Threshold(2, over=2.0, window_s=2 * D))
BENDS = Criterion("a", KINDS["acceleration"], ("A",), "displacement", OVER, dwell=Dwell(2, 3))


@pytest.mark.parametrize(
    ("mm_per_day2", "level"), [(0.0, 0), (0.3, 0), (0.9, 1), (4.0, 2)], ids=["creep", "below", "yellow", "orange"]
)
def test_acceleration_is_compared_in_the_window_of_each_level(mm_per_day2, level):
    rows = readings(lambda day: 3.0 * day + 0.5 * mm_per_day2 * day * day, 240)
    (word,) = ask(place(BENDS), inputs(rows), T0 + 240 * H)
    assert (word.raise_level, word.has_data, word.fresh) == (level, True, True)
    assert word.facts["bounds"][0]["acceleration"] == pytest.approx(mm_per_day2, abs=0.1)
    assert word.motion is not None


def test_noise_backward_motion_and_a_single_reading_are_no_acceleration():
    tight = replace(BENDS, thresholds=(Threshold(1, over=0.001, window_s=2 * D),))
    for seed in range(20):
        (word,) = ask(place(tight), inputs(readings(lambda _: 0.0, 240, seed=seed)), T0 + 240 * H)
        assert word.raise_level == 0, word.reason
    braking_back = readings(lambda day: -30.0 * day + 0.45 * day * day, 240)
    (word,) = ask(place(BENDS), inputs(braking_back), T0 + 240 * H)
    assert word.raise_level == 0
    rows = list(readings(lambda day: 3.0 * day, 240))
    spoiled = rows[-3]
    rows[-3] = replace(spoiled, value=spoiled.value + 60.0, value_raw=spoiled.value + 60.0)
    # without a limit for jumps, so that only leaving one out guards
    bare = replace(station("A"), series=(SeriesSpec("A", "displacement", "mm", H, 6 * H, 0.0),))
    (word,) = ask(place(BENDS, bare), inputs(tuple(rows)), T0 + 240 * H)
    assert word.raise_level == 0
    assert word.hold_level > 0


def test_acceleration_falls_below_its_recovery_limit_but_not_by_silence_or_flags():
    steady = readings(lambda day: 3.0 * day, 240)
    near = readings(lambda day: 3.0 * day + 0.5 * 0.45 * day * day, 240)
    (over,), (held,) = ask(place(BENDS), inputs(steady), T0 + 240 * H), ask(place(BENDS), inputs(near), T0 + 240 * H)
    assert (over.hold_level, over.fresh) == (0, True)
    assert (held.raise_level, held.hold_level) == (0, 1)
    (late,) = ask(place(BENDS), inputs(steady), T0 + 250 * H)
    assert not late.fresh
    flagged = readings(lambda day: 3.0 * day, 240, flags=("stuck",))
    (word,) = ask(place(BENDS), inputs(flagged), T0 + 240 * H)
    assert not word.fresh
    (word,) = ask(place(BENDS), DecisionInputs({}, {}), T0 + 240 * H)
    assert (word.has_data, word.raise_level) == (False, 0)


@pytest.mark.parametrize("kind", ["acceleration", "tangential_angle"])
def test_level_stays_during_silence_and_bad_data_and_falls_on_good_data_only(kind):
    steps = (*LEVELS[:2], Level(2, "orange", auto_lower=True), LEVELS[3])
    asked = BENDS if kind == "acceleration" else ANGLE
    where = replace(place(asked), levels=steps)
    rows = readings(lambda day: 3.0 * day + 0.5 * 4.0 * day * day, 240)
    raised = decide(PreparedSite(where), Memory(), inputs(rows), from_epoch_s(T0 + 240 * H))
    assert raised.level == 2
    end = rows[-1].value
    calm = readings(lambda _: end, 241 + 15 * 24 - 1)[241:]
    broken = tuple(replace(r, flags=("bad",)) for r in calm)
    now = from_epoch_s(T0 + (240 + 15 * 24) * H)
    for seen in (inputs(rows), inputs(rows + broken), DecisionInputs({}, inputs(rows).newest)):
        assert decide(PreparedSite(where), raised.memory, seen, now).level == 2
    assert decide(PreparedSite(where), raised.memory, inputs(rows + calm), now).level == 0


STEEP = tuple(
    Threshold(k, over=over, window_s=days * D) for k, over, days in ((1, 70.0, 3), (2, 80.0, 1), (3, 85.0, 1))
)
ANGLE = Criterion("t", KINDS["tangential_angle"], ("A",), "displacement", STEEP, dwell=Dwell(2, 3))


@pytest.mark.parametrize(("rate", "level"), [(1.0, 0), (2.5, 0), (3.5, 1), (7.0, 2), (14.0, 3)])
def test_tangential_angle_is_computed_from_the_reviewed_velocity(rate, level):
    rows = readings(lambda day: rate * day, 120)
    (word,) = ask(place(ANGLE), inputs(rows), T0 + 120 * H)
    assert word.raise_level == level
    assert "tangential angle" in word.reason
    assert word.facts["bounds"][1]["angle_deg"] == pytest.approx(math.degrees(math.atan(rate)), abs=2.0)


def test_noise_or_a_missing_v_eq_is_no_critical_angle():
    slow = station("A", v_eq=0.002)  # any noise is a critical angle against so slow a creep
    raised = {}
    for min_sigma in (0.0, 3.0):
        asked = place(replace(ANGLE, min_sigma=min_sigma), slow)
        words = [ask(asked, inputs(readings(lambda _: 0.0, 120, seed=s)), T0 + 120 * H)[0] for s in range(20)]
        raised[min_sigma] = sum(w.raise_level > 0 for w in words)
    # three standard errors are passed by chance once in some hundred looks
    assert raised[0.0] >= 10 > 1 >= raised[3.0]
    (word,) = ask(place(ANGLE, station("A")), inputs(readings(lambda day: 50.0 * day, 120)), T0 + 120 * H)
    reason = "the velocity of uniform creep is not reviewed yet, so no angle can be computed"
    assert (word.has_data, word.reason) == (False, reason)


NOW = T0 + 240 * H
WITHIN = (Threshold(1, window_s=7 * D), Threshold(2, window_s=2 * D))
NEAR = Criterion("f", KINDS["inverse_velocity"], ("A", "B", "C"), "displacement", WITHIN, role="advice", recover=0.8)
BOTH = (station("A", "BASE"), station("B", "BASE"), station("C", "OTHER"))


def window(name, mid_days, *, trusted=True, age_s=H, half_days=0.5, method="inverse_velocity"):
    mid, at = NOW + mid_days * D, NOW - age_s
    span = (mid - half_days * D, mid, mid + half_days * D)
    why = "" if trusted else "only 1 of 3 looks agree"
    return FailureFact(name, "displacement_downslope", method, at, at, *span, 40.0, trusted, why)


def word_of(name, facts, criterion=NEAR, *, newest_age_s=H, flags=()):
    at = NOW - newest_age_s
    keys = {f"{s}.displacement_downslope": NewestEpoch(at, at, flags) for s in ("A", "B", "C")}
    words = ask(place(criterion, *BOTH), DecisionInputs({}, keys, failures=tuple(facts)), NOW)
    return next(w for w in words if w.station == name)


@pytest.mark.parametrize(("days", "level"), [(20.0, 0), (6.5, 1), (1.5, 2), (-0.2, 2)])
def test_trusted_failure_window_raises_the_level_whose_time_it_is_within(days, level):
    assert word_of("A", [window("A", days)]).raise_level == level


def test_edge_of_a_failure_window_counts_and_untrusted_or_old_windows_do_not():
    early = replace(NEAR, texts=(("edge", "from"),))
    wide = window("A", 8.0, half_days=3.0)
    assert (word_of("A", [wide]).raise_level, word_of("A", [wide], early).raise_level) == (0, 1)
    word = word_of("A", [window("A", 1.5, trusted=False)])
    assert (word.raise_level, word.hold_level) == (0, 2)
    assert "not trusted" in word.reason
    old = word_of("A", [window("A", 1.5, age_s=7 * H)])
    assert (old.has_data, old.raise_level) == (False, 0)
    beside = word_of("A", [window("A", 1.5, method="forecast")])
    assert beside.raise_level == 0, "the window of the forecast stands beside and never votes"


def test_failure_window_lowers_only_below_its_recovery_limit_or_when_withdrawn():
    assert word_of("A", [window("A", 8.0)]).hold_level == 1  # 7 d / 0.8 = 8.75 d
    assert word_of("A", [window("A", 9.0)]).hold_level == 0
    withdrawn = word_of("A", [])
    assert (withdrawn.has_data, withdrawn.fresh, withdrawn.hold_level) == (True, True, 0)
    silent, broken = word_of("A", [], newest_age_s=7 * H), word_of("A", [], flags=("stuck",))
    assert not silent.fresh
    assert not silent.has_data
    assert not broken.has_data


def test_failure_window_as_witness_needs_a_second_independent_sensor():
    witness = replace(NEAR, role="witness")
    alone = [window("A", 1.5)]
    assert "raises no level until a second, independent sensor" in word_of("A", alone, witness).reason
    others = [window("B", 1.5), window("C", 1.5, trusted=False), window("C", 1.5, age_s=9 * H), window("C", 30.0)]
    for more in ([], *([one] for one in others)):  # B hangs on the same reference
        assert word_of("A", [*alone, *more], witness).raise_level == 0
    for days, level in ((5.0, 1), (1.0, 2)):
        found = word_of("A", [*alone, window("C", days)], witness)
        assert found.raise_level == level, "both lie within the time of the level"
    partly = word_of("A", [*alone, window("C", 5.0)], witness)
    assert "raises yellow only, because the failure window" in partly.reason
    assert partly.hold_level == 2
    witness = replace(NEAR, role="witness")
    chained = (BOTH[0], replace(BOTH[1], logger="L"), replace(BOTH[2], logger="L"))
    keys = {f"{s}.displacement_downslope": NewestEpoch(NOW - H, NOW - H) for s in ("A", "B", "C")}
    seen = DecisionInputs({}, keys, failures=(window("A", 1.5), window("C", 1.5)))
    assert {w.raise_level for w in ask(place(witness, *BOTH), seen, NOW)} == {0, 2}
    assert {w.raise_level for w in ask(place(witness, *chained), seen, NOW)} == {0}


def test_failure_window_is_advice_by_default_and_changes_no_level():
    keys = {"A.displacement_downslope": NewestEpoch(NOW - H, NOW - H)}
    outcome = decide(
        PreparedSite(place(NEAR, *BOTH)),
        Memory(),
        DecisionInputs({}, keys, failures=(window("A", 1.5),)),
        from_epoch_s(NOW),
    )
    assert outcome.level == 0
    assert "failure about" in outcome.memory.conditions["advice:f:A"].reason


REVIEWED = 'v_eq_mm_per_day = 1.2\nv_eq_reviewed = "A. Rossi 2026-01, 2023-2025"'


def read(more, v_eq=""):
    text = site_text.head("s") + site_text.station("A") + f"{v_eq}\n" + site_text.series("displacement", "mm")
    return parse_site(text + more, "s.toml")


def test_movement_criteria_are_read_or_refused_with_their_key():
    table = '[[criterion]]\nkind = "tangential_angle"\nstations = ["A"]\nyellow = {over = 80.0, window = "7d"}'
    with pytest.raises(ConfigError, match=r"criterion\[0\].stations: A: expected v_eq_mm_per_day"):
        read(table)
    (criterion, *_) = read(table, REVIEWED).criteria
    assert (criterion.kind.id, criterion.role, criterion.dwell.hits) == ("tangential_angle", "witness", 2)
    with pytest.raises(ConfigError, match="less than 90"):
        read(table.replace("80.0", "95.0"), REVIEWED)
    table = (
        '[[criterion]]\nkind = "inverse_velocity"\nstations = ["A"]\nyellow = {within = "7d"}\n'
        'orange = {within = "2d"}\nedge = "from"'
    )
    (criterion, *_) = read(table).criteria
    assert (criterion.role, dict(criterion.texts)) == ("advice", {"edge": "from"})
    assert [t.window_s for t in criterion.thresholds] == [7 * D, 2 * D]
    with pytest.raises(ConfigError, match="at most that of the level below"):
        read(table.replace('"2d"', '"9d"'))
    by_series = '[[criterion]]\nkind = "inverse_velocity"\nseries = "A.displacement"\nyellow = {within = "7d"}'
    by_stations = by_series.replace('series = "A.displacement"', 'stations = ["A"]')
    one, other = (read(table).criteria[0] for table in (by_series, by_stations))
    assert (one.stations, one.quantity) == (other.stations, other.quantity) == (("A",), "displacement")
    with pytest.raises(ConfigError, match="expected either series, or stations"):
        read(by_series.replace("yellow", 'stations = ["A"]\nyellow'))
    with pytest.raises(ConfigError, match=r"expected series = 'STATION.quantity', or stations with quantity"):
        read(by_series.replace('series = "A.displacement"\n', ""))


def test_stations_of_a_failure_criterion_are_those_with_series_of_motion():
    rain = site_text.station("R", site_text.series("rain", "mm"))
    crack = site_text.station("E", site_text.series("crack_opening", "mm"))
    every = '[[criterion]]\nkind = "inverse_velocity"\nstations = ["*"]\nyellow = {within = "7d"}'
    (criterion, *_) = read(rain + crack + every).criteria
    assert (criterion.stations, criterion.quantity) == (("A", "E"), "displacement")
    with pytest.raises(ConfigError, match="'R' declares no series of displacement or crack_opening in mm"):
        read(rain + every.replace("*", "R"))
    (criterion, *_) = read(rain + crack + every.replace("yellow", 'quantity = "crack_opening"\nyellow')).criteria
    assert (criterion.stations, criterion.quantity) == (("E",), "crack_opening")


def test_crack_and_displacement_support_each_other_across_criteria():
    crack = Station("E", series=(SeriesSpec("E", "crack_opening", "mm", H, 6 * H, NOISE),))
    rows = (window("A", 1.0), replace(window("E", 1.5), quantity="crack_opening"))
    names = ("A.displacement_downslope", "E.crack_opening")
    seen = DecisionInputs({}, {name: NewestEpoch(NOW - H, NOW - H) for name in names}, failures=rows)
    both = replace(NEAR, role="witness", stations=("A", "E"))
    assert [w.raise_level for w in ask(place(both, station("A"), crack), seen, NOW)] == [2, 2]
    one = replace(NEAR, role="witness", stations=("A",))
    other = replace(NEAR, id="g", role="witness", stations=("E",), quantity="crack_opening")
    site = replace(place(one, station("A"), crack), criteria=(one, other))
    context = DecisionContext(PreparedSite(site), seen, Memory(), NOW)
    assert [CRITERIA[c.kind.id].rule(c, context)[0].raise_level for c in (one, other)] == [2, 2]


def test_each_stage_has_its_interval_and_unknown_has_the_shortest():
    plan = read('[forecast]\nevery = "12h"\n[movement.progressive]\nevery = "1m"\naction = "Clear the road"').movement
    by_name = {s.stage: s for s in plan.stages}
    every_s = {"creep": 3600.0, "intermediate": 1800.0, "step": 600.0, "progressive": 60.0, "unknown": 60.0}
    assert {name: stage.evaluate_every_s for name, stage in by_name.items()} == every_s
    assert (by_name["creep"].forecast_every_s, by_name["unknown"].forecast_every_s) == (12 * H, H)
    assert by_name["progressive"].action == "Clear the road"
    with pytest.raises(ConfigError, match=r"movement.unknown.every: expected at most 5m"):
        read('[movement.unknown]\nevery = "1h"')
    with pytest.raises(ConfigError, match=r"movement"):
        read('[movement.gallop]\nevery = "1h"')


def test_components_without_displacement_are_refused_with_a_hint():
    components = ", ".join(
        f'{{quantity = "displacement_{way}", unit = "mm", interval = "6h"}}' for way in ("east", "north")
    )
    text = f"""
    [site]
    id = "bench"
    name = "Bench"
    latitude = 46.0
    longitude = 8.0
    [[station]]
    id = "S1"
    series = [{components}]
    [[criterion]]
    kind = "velocity"
    stations = ["*"]
    yellow = {{over = 20.0, window = "7d"}}
    """
    with pytest.raises(
        ConfigError, match="declares displacement_east, displacement_north: declare 'displacement' once"
    ):
        parse_site(text, "bench.toml")
