"""Criteria on rain, water and shaking as a site file declares them: figures by hand, gaps, resets, tips, forecasts."""

import json
import random
from dataclasses import replace

import pytest

from forecasting.hydrology.rain_counters import count_up
from monitor.decision.criteria.kinds.earthquake import find_bound_factor, list_inspections, make_inspection_key
from monitor.decision.criteria.scope import find_history_spans
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, EventFact, Memory, NewestEpoch
from monitor.decision.series.assessment import DecisionContext
from monitor.errors import ConfigError
from monitor.readings.records import Reading
from monitor.sites.parsing import parse_site
from monitor.text.instants import epoch_s, from_epoch_s, parse_time
from tests.data.criteria import CRITERIA
from tests.data.figures import bare_figures
from tests.data.site_text import head, series, station
from tests.tables import tabulated

T0 = epoch_s(parse_time("2026-01-01T00:00:00Z"))
H, DAY = 3600.0, 86400.0
HEAD = (
    head("s")
    + station("R1", series("rain", "mm", max_silence="6h", stamp="{stamp}"), series("rain_next_24h", "mm", "12h"))
    + station("P1", series("pore_pressure", "kPa"), series("groundwater_level", "m"))
    + station("RES", series("reservoir_level", "m"), on_slope=False)
    + """
[[quantity]]
name = "rain_next_24h"
unit = "mm"
[[criterion]]
id = "c"
"""
)
SLOPE = """
slope_deg = 30.0
depth_m = 2.0
cohesion_kpa = 5.0
friction_deg = 30.0
unit_weight_kn_m3 = 20.0
"""


def site(text, stamp="interval_end"):
    return parse_site(HEAD.replace("{stamp}", stamp) + text, "s.toml")


def rows(values, step_s=H, start_s=T0):
    timed = ((from_epoch_s(start_s + i * step_s), v) for i, v in enumerate(values) if v is not None)
    return tuple(Reading(at, at, 0, v, 0.0, v, None, ()) for at, v in timed)


def inputs(memory_events=(), **series):
    readings = {k.replace("__", "."): v for k, v in series.items()}
    newest = {k: NewestEpoch(epoch_s(v[-1].observed_at), epoch_s(v[-1].received_at)) for k, v in readings.items() if v}
    return DecisionInputs(readings, newest, events=tuple(memory_events))


def ask(place, seen, at_s, memory=None):
    criterion = next(c for c in place.criteria if c.id == "c")
    (word,) = CRITERIA[criterion.kind.id].rule(
        criterion, DecisionContext(PreparedSite(place), seen, memory or Memory(), at_s)
    )
    return word


def rain(text, values, stamp="interval_end", **kw):
    return ask(site(text, stamp), inputs(R1__rain=rows(values)), T0 + (len(values) - 1) * H, **kw)


SUM = """
kind = "rain_sum"
series = "R1.rain"
yellow = {over = 30.0, window = "24h"}
orange = {over = 25.0, window = "3h"}
"""


def test_window_shorter_than_the_interval_is_refused():
    for text in (
        SUM.replace('"3h"', '"30m"'),
        CURVE.replace('["1h", "96h"]', '["10m", "30m"]'),
        LEARNED.replace("24h", "30m"),
    ):
        with pytest.raises(ConfigError, match=r"shorter than the interval of R1\.rain, 1h"):
            site(text)
    assert site(SUM.replace('"3h"', '"30m"'), "event")


def test_counter_amounts_survive_resets_corrections_and_gaps():
    # 31 mm in the 10 h since the last reading: all of it in 24 h, three tenths of it in 3 h as far as anybody knows
    gone = rain(SUM, [100.0] * 20 + [None] * 9 + [131.0], "counter")
    assert [f["sum_mm"] for f in gone.facts["levels"]] == pytest.approx([31.0, 9.3])
    assert [f["coverage"] for f in gone.facts["levels"]] == [1.0, 0.0]
    assert (gone.raise_level, gone.hold_level) == (1, 2)
    reset = [500.0] * 28 + [14.0, 28.0]
    word = rain(SUM, reset, "counter")
    assert (word.facts["levels"][1]["sum_mm"], word.raise_level) == (pytest.approx(28.0), 2)
    minutes = [60.0 * i for i in range(6)]
    for values, expected in (
        ([5.0, 5.2, 0.0, 0.2, 0.2, 0.6], [0.0, 0.2, 0.0, 0.2, 0.0, 0.4]),  # a reset
        ([70.0, 70.2, 0.0, 70.4, 70.4, 70.6], [0.0, 0.2, 0.0, 0.2, 0.0, 0.2]),  # a reading of nothing
        ([70.0, 70.2, 9e6, 70.4, 70.4, 70.6], [0.0, 0.2, 0.2, 0.0, 0.2]),  # a reading of nonsense
        ([70.0, 70.2, 9e6, 9e6 + 0.2, 9e6 + 0.4, 9e6 + 0.4], [0.0, 0.2, 0.0, 0.2, 0.2, 0.0]),  # another counter
    ):
        assert count_up(list(zip(minutes, values, strict=True)), 60.0).amounts_mm == pytest.approx(expected)
    hours = [100.0] * 24 + [60.0, 60.0, 61.0, 61.0, 61.0]
    word = rain(SUM, hours, "counter")
    assert [f["sum_mm"] for f in word.facts["levels"]] == pytest.approx([1.0, 1.0])
    assert [f["coverage"] for f in word.facts["levels"]] == pytest.approx([23 / 24, 1.0])
    dip = rain(SUM, [100.0] * 24 + [99.9, 99.9, 99.9, 100.0, 100.0], "counter")
    assert (dip.raise_level, dip.hold_level) == (0, 0)
    assert {f["coverage"] for f in dip.facts["levels"]} == {1.0}


def test_duplicate_sums_count_once():
    twice = [H * i + late for i in range(30) for late in (0.0, 0.1 * H)]
    for mm, most, level in ((1.0, 24.0, 0), (1.4, 33.6, 1)):
        readings = tuple(Reading(from_epoch_s(T0 + t), from_epoch_s(T0 + t), 0, mm, 0.0, mm, None, ()) for t in twice)
        word = ask(site(SUM), inputs(R1__rain=readings), T0 + twice[-1])
        assert word.facts["levels"][0]["sum_mm"] == pytest.approx(most, rel=0.05)
        assert word.raise_level == level
        assert word.facts["levels"][0]["coverage"] == 1.0


@tabulated("every_s", [600.0, 1200.0, 1800.0])
def test_sums_faster_than_declared_raise_a_level_and_are_not_covered(every_s):
    dry = [(T0 + H * i, 0.0) for i in range(20)]
    wet = [(dry[-1][0] + every_s * i, every_s / 600.0 * (1.5 + 0.1 * (i % 3))) for i in range(1, int(4 * H / every_s))]
    readings = tuple(Reading(from_epoch_s(t), from_epoch_s(t), 0, mm, 0.0, mm, None, ()) for t, mm in [*dry, *wet])
    word = ask(site(SUM), inputs(R1__rain=readings), wet[-1][0])
    assert word.facts["levels"][0]["sum_mm"] == pytest.approx(sum(mm for _, mm in wet))
    assert word.raise_level == 2
    assert all(fact["coverage"] < 1.0 for fact in word.facts["levels"])
    later = tuple(readings) + rows([0.0] * 3, H, wet[-1][0] + H)
    word = ask(site(SUM), inputs(R1__rain=later), wet[-1][0] + 3 * H)
    assert (word.raise_level, word.hold_level) == (1, 2)


def draw_tips(seconds_between, hours, chance):
    at_s, found = T0, []
    while at_s < T0 + hours * H:
        found.append(at_s)
        at_s += round(chance.uniform(0.5, 1.5) * seconds_between, 1)
    return tuple(Reading(from_epoch_s(t), from_epoch_s(t), 0, 0.2, 0.0, 0.2, None, ()) for t in found)


@tabulated("stamp", ["interval_end", "event"])
def test_tips_count_whatever_stamp_is_declared(stamp):
    readings = draw_tips(60.0, 4.0, random.Random(9))
    word = ask(site(SUM, stamp), inputs(R1__rain=readings), epoch_s(readings[-1].observed_at))
    assert word.facts["levels"][0]["sum_mm"] == pytest.approx(0.2 * len(readings))
    assert word.raise_level == 2


def test_time_of_refused_tips_is_unknown():
    readings = draw_tips(300.0, 30.0, random.Random(9))
    refused = tuple(
        replace(r, flags=("out_of_range",)) if k % 3 == 0 and k > 100 else r for k, r in enumerate(readings)
    )
    whole, thin = (
        ask(site(SUM, "event"), inputs(R1__rain=told), epoch_s(readings[-1].observed_at))
        for told in (readings, refused)
    )
    assert whole.facts["levels"][0]["coverage"] == 1.0
    assert thin.facts["levels"][0]["coverage"] < 0.2, "a refused tip hides the rain of the interval before it"


def list_told(place, told_rows, key):
    """Changes of a condition while readings arrive one by one."""
    memory, told = Memory(), []
    for count in range(20, len(told_rows) + 1, 4):
        decision = decide(
            PreparedSite(place), memory, inputs(R1__rain=told_rows[:count]), told_rows[count - 1].observed_at
        )
        memory = decision.memory
        told += [change for change in decision.changes if key in change.key and change.open]
    return told


def test_sums_faster_than_declared_are_reported_once():
    (told,) = list_told(site(SUM), rows([2.0, 2.2] * 30, 0.5 * H), "overlap")
    assert "faster" in str(told.evidence)
    assert "Correct `interval`" in str(told.evidence)


def test_tips_declared_as_sums_are_reported_once():
    (told,) = list_told(site(SUM), draw_tips(400.0, 8.0, random.Random(3)), ":tips")
    assert 'stamp = "event"' in str(told.reason)


def test_a_counter_has_no_upper_range_and_tips_of_an_event_gauge_count_in_their_window():
    assert site(SUM, "counter").series("R1", "rain").high > 1e6
    assert site(SUM).series("R1", "rain").high is None, "an interval keeps the range of the quantity"
    word = ask(site(SUM, "event"), inputs(R1__rain=rows([0.5] * 200, 600.0)), T0 + 199 * 600.0)
    # 18 tips of 0.5 mm in 3 h, 144 in 24 h
    assert [f["sum_mm"] for f in word.facts["levels"]] == pytest.approx([72.0, 9.0])


def test_antecedent_rain_is_an_index_or_a_weighted_sum():
    word = rain(INDEX, [0.0] * (24 * 10) + [10.0] + [0.0] * 47 + [20.0])  # 20 + 10 * 0.9**2
    assert (word.facts["worst"]["sum_mm"], word.raise_level) == (pytest.approx(28.1), 1)
    assert word.facts["worst"]["coverage"] == 1.0
    # P3 = 88.9 - 0.67 P15, mm
    text = (
        'kind = "rain_antecedent"\nseries = "R1.rain"\nrecent = "3d"\nantecedent = "15d"\nweight = 0.67\n'
        "yellow = {over = 88.9}\n"
    )
    before, recent = [60.0 / 360] * 360, [50.0 / 72] * 72
    word = rain(text, [0.0] * 10 + before + recent)
    worst = word.facts["worst"]
    assert (worst["recent_mm"], worst["antecedent_mm"]) == (pytest.approx(50.0), pytest.approx(60.0))
    assert (worst["sum_mm"], word.raise_level) == (pytest.approx(50.0 + 0.67 * 60.0), 1)
    assert rain(text, [0.0] * 10 + [x * 0.9 for x in before] + [x * 0.95 for x in recent]).raise_level == 0


CURVE = """
kind = "rain_intensity_duration"
series = "R1.rain"
a = 10.0
b = 0.5
duration = ["1h", "96h"]
level = "yellow"
"""


def test_durations_end_at_the_beginning_of_the_rain_event():
    # two falls of 33 mm in 12 h, 10 h dry between them, the bound 10 mm * sqrt(D): 0.95 of it alone, 1.13 at 34 h
    fall = [2.75] * 12
    values = [0.0] * 100 + fall + [0.0] * 10 + fall
    alone = rain(CURVE + 'dry_gap = "6h"\n', values)
    assert alone.raise_level == 0
    assert (alone.facts["worst"]["event_s"], alone.facts["worst"]["duration_s"]) == (12 * H, 12 * H)
    assert alone.facts["worst"]["ratio"] == pytest.approx(33.0 / (10.0 * 12.0**0.5))
    for text in (CURVE, CURVE + 'dry_gap = "24h"\n'):
        joined = rain(text, values)
        assert (joined.raise_level, joined.facts["worst"]["duration_s"]) == (1, 34 * H)
    over = rain(CURVE + 'dry_gap = "12h"\n', [*values, *[0.0] * 12])
    assert (over.raise_level, over.hold_level, over.facts["worst"]["event_s"]) == (0, 0, 0.0)
    unseen = rain(CURVE + 'dry_gap = "12h"\n', [*[0.0] * 100, *[3.0] * 12, *[None] * 20, 0.0])
    assert unseen.hold_level == 1, "an event that was not seen to end is held"


RARE = """
kind = "rain_return_period"
series = "R1.rain"
yellow = {over = 2.0, window = "24h"}
orange = {over = 10.0, window = "24h"}
"""


def test_return_period_from_given_quantiles():
    text = RARE + 'quantiles = {"24h" = [[2, 50.0], [10, 80.0]]}\n'
    word = rain(text, [0.0] * 30 + [51.0 / 24] * 24)
    assert (word.raise_level, word.facts["levels"][0]["years"]) == (1, pytest.approx(2.09, abs=0.005))
    assert rain(text, [0.0] * 30 + [81.0 / 24] * 24).raise_level == 2
    assert rain(text, [0.0] * 30 + [49.0 / 24] * 24).raise_level == 0


def test_return_period_from_annual_maxima_or_refused():
    maxima = "[30, 35, 40, 42, 45, 50, 55, 60, 70, 90]"
    place = site(RARE + f'annual_maxima = {{"24h" = {maxima}}}\n')
    bounds = [t.over for t in place.criteria[0].thresholds]
    # Gumbel by moments: scale 14.93, location 43.1 (see the test of the physics): x2 = 48.6, x10 = 76.7
    assert bounds == pytest.approx([48.56, 76.67], abs=0.1)
    for bad, word in (
        ('annual_maxima = {"24h" = [30, 35, 40]}', "too few"),
        (f'annual_maxima = {{"24h" = {maxima}}}\nmethod = "gev"', "needs 20"),
        (f'annual_maxima = {{"3d" = {maxima}}}', "no annual_maxima or quantiles for the window"),
        ('quantiles = {"24h" = [[2, 50.0], [5, 60.0]]}', "outside the quantiles"),
        ('quantiles = {"24h" = [[2, 50.0], [10, 40.0]]}', "rising depths"),
        ('quantiles = {"24h" = [[10, 50.0]]}', "at least two"),
    ):
        with pytest.raises(ConfigError, match=word):
            site(RARE + bad + "\n")


EXPECT = SUM.replace('orange = {over = 25.0, window = "3h"}\n', "") + 'forecast = {"24h" = "R1.rain_next_24h"}\n'
LONG = EXPECT.replace('"24h"}', '"48h"}', 1)


def expected(values, issues, at_s, text=LONG):
    told = tuple(
        Reading(from_epoch_s(t), from_epoch_s(known), 0, mm, 0.0, mm, None, ())
        for t, known, mm in issues
        if known <= at_s
    )
    return ask(site(text), inputs(R1__rain=rows(values), R1__rain_next_24h=told), at_s)


def test_expected_rain_is_added_to_the_rain_measured_before_its_issue():
    values = [0.0] * 36 + [1.0] * 13
    at = T0 + 48 * H
    # 48 h that end 24 h after the issue: 13 mm fell in the last 24 h, 18 more are expected
    word = expected(values, [(at, at, 18.0)], at)
    assert (word.raise_level, word.facts["worst"]["sum_mm"]) == (1, pytest.approx(31.0))
    assert word.facts["worst"]["expected_mm"] == 18.0
    assert expected(values, [(at, at, 16.0)], at).raise_level == 0
    assert ("R1", "rain_next_24h") in find_history_spans(site(LONG))
    # issued 10 h ago: 10 of the 18 mm have fallen since, 3 before
    word = expected(values, [(at - 10 * H, at - 10 * H, 18.0)], at)
    assert max(f["sum_mm"] for f in word.facts["levels"]) == pytest.approx(21.0)
    # more has fallen than was ever expected
    assert expected(values, [(at - 10 * H, at - 10 * H, 2.0)], at).facts["worst"]["sum_mm"] == pytest.approx(13.0)


@tabulated("name", ["LONG", "LEARNED", "INDEX", "SPLIT", "RETURN", "EVENTS"])
def test_every_rain_kind_adds_expected_rain_and_falls_when_it_is_dry(name):
    text = globals()[name]
    text = text if "forecast" in text else text + 'forecast = {"24h" = "R1.rain_next_24h"}\n'
    at = T0 + 299 * H
    dry = expected([0.0] * 300, [(at, at, 0.0)], at, text)
    assert (dry.raise_level, dry.hold_level, dry.fresh) == (0, 0, True)
    told = expected([0.0] * 300, [(at, at, 150.0)], at, text)
    assert told.raise_level >= 1
    assert told.facts["worst"]["expected_mm"] == 150.0
    more = expected([0.0] * 290 + [0.5] * 10, [(at, at, 150.0)], at, text)
    assert more.raise_level >= told.raise_level


def test_issue_counts_while_valid_and_does_not_hide_a_silent_gauge():
    values = [0.0] * 49
    at = T0 + 48 * H
    stale = expected(values, [(at - 13 * H, at - 13 * H, 99.0)], at)
    assert (stale.raise_level, stale.fresh) == (0, False)
    assert expected(values, [(at, at, 0.0)], at).fresh
    assert expected(values, [(at - H, at - H, 99.0), (at, at, 0.0)], at).raise_level == 0, "the newest issue speaks"
    place = site(LONG)
    at = T0 + 60 * H
    seen = inputs(R1__rain=rows([0.0] * 40), R1__rain_next_24h=rows([1.0, 1.0], 12 * H, at - 12 * H))
    memory = replace(Memory(), started_s=T0, since_s=T0)
    outcome = decide(PreparedSite(place), memory, seen, from_epoch_s(at))
    assert "health:R1.rain:stale" in outcome.memory.conditions
    assert "health:R1.rain_next_24h:stale" not in outcome.memory.conditions


def test_expected_rain_is_advice_until_the_site_file_promotes_it():
    assert site(LONG).criteria[0].role == "advice"
    assert site(LONG + 'role = "witness"\n').criteria[0].role == "witness"
    assert site(SUM).criteria[0].role == "witness"
    for bad in ('{"24h" = "R1.nothing"}', '{"soon" = "R1.rain_next_24h"}', '{"24h" = "P1.pore_pressure"}'):
        with pytest.raises(ConfigError, match="forecast"):
            site(SUM + f"forecast = {bad}\n")


LEARNED = """
kind = "rain_learned"
series = "R1.rain"
window = "24h"
lag = "48h"
over = 40.0
events = 7
level = "yellow"
"""


def test_level_of_a_learned_threshold_lasts_for_its_lag():
    burst = [0.0] * 60 + [5.0] * 9
    assert rain(LEARNED, burst).raise_level == 1
    assert rain(LEARNED, burst + [0.0] * 47).raise_level == 1
    later = rain(LEARNED, burst + [0.0] * 80)
    assert (later.raise_level, later.hold_level) == (0, 0)
    held = rain(LEARNED, burst + [None if i % 2 else 0.0 for i in range(81)])
    assert held.hold_level == 1, "half of the lag is not known"


def water(text, values, quantity="pore_pressure"):
    return ask(site(text), inputs(**{f"P1__{quantity}": rows(values)}), T0 + (len(values) - 1) * H)


SAFE = (
    'kind = "factor_of_safety"\nseries = "P1.pore_pressure"\nyellow = {under = 1.1}\norange = {under = 0.9}\n' + SLOPE
)


def test_factor_of_safety_from_measured_pressure():
    # FS = (5 + (30 - u) 0.57735) / 17.3205: 1.2887 dry, 0.7982 with water at the ground (14.715 kPa)
    dry = water(SAFE, [0.0] * 5)
    assert dry.facts["factor_of_safety"] == pytest.approx(1.28868, abs=1e-5)
    assert (dry.raise_level, dry.hold_level) == (0, 0)
    wet = water(SAFE, [0.0, 0.0, 14.715, 14.715])
    assert (wet.facts["factor_of_safety"], wet.raise_level) == (pytest.approx(0.79818, abs=1e-5), 2)
    assert water(SAFE, [0.0, 0.0, 0.0, 14.715]).raise_level == 0, "one reading alone raises nothing"
    between = water(SAFE, [5.0] * 4)  # FS 1.122: above the bound, not beyond its recovery (1.155)
    assert (between.raise_level, between.hold_level) == (0, 1)
    assert water(SAFE, [-40.0] * 4).facts["factor_of_safety"] == dry.facts["factor_of_safety"], "suction does not help"


def test_piezometer_that_repeats_one_value_has_no_data():
    pressure = 'quantity = "pore_pressure"\nunit = "kPa"'
    head = HEAD.replace("{stamp}", "interval_end").replace(pressure, f"{pressure}\nnoise_floor = 0.1")
    noisy = parse_site(head + SAFE, "s.toml")
    seen = inputs(P1__pore_pressure=rows([14.7] * 8))
    assert not ask(noisy, seen, T0 + 7 * H).has_data
    memory = decide(PreparedSite(noisy), Memory(), seen, from_epoch_s(T0 + 7 * H)).memory
    assert "health:P1.pore_pressure:stuck" in memory.conditions
    assert ask(noisy, inputs(P1__pore_pressure=rows([14.7 + 0.01 * i for i in range(8)])), T0 + 7 * H).raise_level == 2


def test_water_level_is_converted_to_pressure_and_uncertainty_to_a_range():
    level = SAFE.replace("P1.pore_pressure", "P1.groundwater_level") + "ground_level_m = 100.0\n"
    assert water(level, [99.0] * 3, "groundwater_level").facts["pressure_kpa"] == pytest.approx(9.81 * 0.75)
    assert water(level, [97.0] * 3, "groundwater_level").facts["pressure_kpa"] == 0.0
    deeper = SAFE + "sensor_depth_m = 1.5\n"
    assert water(deeper, [3.0] * 3).facts["pressure_kpa"] == pytest.approx(3.0 + 9.81 * 0.5 * 0.75)
    unsure = SAFE + "cohesion_sd_kpa = 4.0\nfriction_sd_deg = 2.0\n"
    best = water(unsure, [2.0] * 3)
    assert best.facts["low"] < 1.1 < best.facts["factor_of_safety"] < best.facts["high"]
    assert best.raise_level == 0
    assert water(unsure + 'judge = "low"\n', [2.0] * 3).raise_level >= 1


RAINED = (
    SAFE.replace("P1.pore_pressure", "R1.rain")
    + 'method = "infiltration"\nconductivity_m_per_s = 2e-6\ndiffusivity_m2_per_s = 1e-4\nwater_table_m = 2.0\n'
)


def test_factor_of_safety_falls_with_rain_and_missing_rain_lowers_no_level():
    dry = rain(RAINED, [0.0] * 250)
    assert dry.facts["factor_of_safety"] == pytest.approx(1.28868, abs=1e-5)
    assert (dry.raise_level, dry.hold_level) == (0, 0)
    wet = rain(RAINED, [0.0] * 150 + [7.2] * 100)
    assert wet.facts["factor_of_safety"] < 1.1
    assert wet.raise_level >= 1
    thin = rain(RAINED, [None if i % 2 else 0.0 for i in range(251)])
    assert (thin.raise_level, thin.hold_level) == (0, 2)


def test_pressure_that_continues_to_rise_counts_with_ahead():
    slow = RAINED.replace("diffusivity_m2_per_s = 1e-4", "diffusivity_m2_per_s = 1e-5")
    storm = [0.0] * 200 + [7.0] * 30
    now = rain(slow, storm)
    ahead = rain(slow + 'ahead = "4d"\n', storm)
    assert ahead.facts["factor_of_safety"] < now.facts["factor_of_safety"] - 0.02
    assert ahead.facts["later_s"] > 0.0
    assert "if no more rain falls" in ahead.reason
    # what was foretold is what is found when that time has come
    then = rain(slow, storm + [0.0] * int(ahead.facts["later_s"] / H))
    assert then.facts["factor_of_safety"] == pytest.approx(ahead.facts["factor_of_safety"], abs=1e-9)
    assert site(slow + 'ahead = "4d"\n').criteria[0].role == "advice"
    assert rain(slow + 'ahead = "4d"\n', [0.0] * 250).facts["later_s"] == 0.0
    with pytest.raises(ConfigError, match="ahead"):
        site(SAFE + 'ahead = "4d"\n')


def test_slope_with_missing_parameters_is_refused():
    for text, word in (
        (RAINED.replace("conductivity_m_per_s = 2e-6\n", ""), "conductivity_m_per_s"),
        (RAINED.replace("R1.rain", "P1.pore_pressure"), "expects a rain series"),
        (SAFE.replace("P1.pore_pressure", "R1.rain"), "method 'measured' expects"),
        (SAFE.replace("P1.pore_pressure", "P1.groundwater_level"), "ground_level_m"),
        (SAFE.replace("under = 1.1", "over = 1.1"), "over"),
        (SAFE.replace("under = 0.9", "under = 1.2"), "at most 1.1"),
        (SAFE + "depth_sd_m = 1.0\n", "depth_sd_m"),
        (SAFE + "friction_sd_deg = 20.0\n", "friction_sd_deg"),
    ):
        with pytest.raises(ConfigError, match=word):
            site(text)


DRAWDOWN = 'kind = "drawdown"\nseries = "RES.reservoir_level"\nyellow = {over = 0.6, window = "24h"}\n'
FALLING = [170.0 - 1.0 * i / 24 for i in range(40)]


def test_drawdown_level_stays_when_the_gauge_is_silent():
    word = ask(site(DRAWDOWN), inputs(RES__reservoir_level=rows(FALLING)), T0 + 39 * H)
    assert (word.raise_level, word.facts["drawdown_per_day"]) == (1, pytest.approx(1.0))
    assert "water falls 1 " in word.reason
    assert bare_figures(word.reason) == []
    assert word.motion is None
    for speed in (-0.5, 0.0, 1.0, 5.0):
        calm = rows([170.0 + speed * i / 24 for i in range(40)])
        assert ask(site(DRAWDOWN), inputs(RES__reservoir_level=calm), T0 + 39 * H).raise_level == 0
    place, seen = site(DRAWDOWN), inputs(RES__reservoir_level=rows(FALLING))
    first = decide(PreparedSite(place), Memory(), seen, from_epoch_s(T0 + 39 * H))
    assert (first.level, first.observability) == (1, "full")
    assert {h.station: h.votes for h in first.health}["RES"]
    later = decide(PreparedSite(place), first.memory, seen, from_epoch_s(T0 + 50 * H))
    assert (later.level, later.observability) == (1, "blind")
    much_later = decide(PreparedSite(place), later.memory, seen, from_epoch_s(T0 + 40 * H + 4 * DAY))
    assert much_later.level == 1
    assert "no valid readings behind yellow since" in much_later.memory.conditions["health:site:cannot_see"].reason


SHAKE = """
kind = "earthquake"
factor_of_safety = 1.2
slope_deg = 30.0
yellow = {over = 0.05}
orange = {over = 0.3, newmark_cm = 5.0}
lower_to = 0.7
lower_for = "14d"
valid_for = "3d"
"""


def quake(value, at_s=T0, received_s=None, kind="earthquake"):
    known_s = at_s if received_s is None else received_s
    return EventFact(at_s, at_s, known_s, kind, value, "M 5.1", "seismic service", 1, "mqtt")


def test_shaking_is_compared_by_acceleration_and_displacement():
    place = site(SHAKE)
    at = T0 + H
    word = ask(place, inputs([quake(0.06)]), at)
    assert (word.raise_level, word.facts["newmark_cm"]) == (1, 0.0)
    # ac = 0.1 g; at 0.4 g the median displacement is 6.14 cm
    word = ask(place, inputs([quake(0.4)]), at)
    assert (word.raise_level, word.facts["newmark_cm"]) == (2, pytest.approx(6.14, abs=0.01))
    assert ask(place, inputs([quake(0.01)]), at).raise_level == 0
    assert not ask(place, inputs([quake(0.4, kind="blasting")]), at).has_data
    assert ask(place, inputs([quake(0.4, kind="Earthquake ")]), at).has_data, "as people write it"
    assert not ask(place, inputs([quake(0.4)]), T0 + 4 * DAY).has_data
    assert place.criteria[0].role == "advice", "shaking alone is no movement"


def test_inspection_remains_open_until_an_operator_answers():
    place = site(SHAKE)
    found = list_inspections(place, Memory(), inputs([quake(0.06)]), T0 + H)
    (key,) = found
    assert (key, found[key].level) == ("health:inspect:c@2026-01-01T00:00:00.000000Z:verify", 2)
    assert "inspect the slope" in found[key].reason
    later = Memory(conditions=found)
    assert list_inspections(place, later, inputs(), T0 + 99 * DAY) == found, "it stays when the earthquake is long past"
    answered = replace(later, answers={make_inspection_key(place.criteria[0], quake(0.06)): "instrument"})
    assert list_inspections(place, answered, inputs([quake(0.06)]), T0 + H) == {}
    assert not ask(place, inputs([quake(0.06)]), T0 + H, answered).has_data
    assert list_inspections(place, Memory(), inputs([quake(0.01)]), T0 + H) == {}


def test_aftershocks_share_a_question_and_stronger_or_later_shocks_do_not():
    place = site(SHAKE)
    swarm = [quake(0.06, T0), *(quake(0.05, T0 + k * 600.0) for k in range(1, 20))]
    (question,) = list_inspections(place, Memory(), inputs(swarm), T0 + 4 * H).values()
    assert "and 19 more" in question.reason
    stronger = [*swarm, quake(0.4, T0 + 3 * H)]
    assert len(list_inspections(place, Memory(), inputs(stronger), T0 + 4 * H)) == 2
    later = [*swarm, quake(0.06, T0 + 7 * H)]
    assert len(list_inspections(place, Memory(), inputs(later), T0 + 8 * H)) == 2
    answered = Memory(answers={make_inspection_key(place.criteria[0], swarm[0]): "earthquake"})
    assert list_inspections(place, answered, inputs(swarm), T0 + 4 * H) == {}
    assert not ask(place, inputs(swarm), T0 + 4 * H, answered).has_data
    assert ask(place, inputs(stronger), T0 + 4 * H, answered).raise_level == 2


@pytest.mark.parametrize("value", [None, 6.1, -0.1])
def test_shaking_of_unknown_strength_opens_only_an_inspection(value):
    place = site(SHAKE)
    seen = inputs([quake(value)])
    assert len(list_inspections(place, Memory(), seen, T0 + H)) == 1
    assert ask(place, seen, T0 + H).raise_level == 0
    assert find_bound_factor(place, seen, T0 + H) == 1.0


def test_bounds_are_lowered_after_an_earthquake_is_received():
    place = site(SHAKE)
    seen = inputs([quake(0.06, received_s=T0 + 2 * H)])
    assert find_bound_factor(place, seen, T0 + H) == 1.0
    assert find_bound_factor(place, seen, T0 + 3 * H) == 0.7
    assert find_bound_factor(place, seen, T0 + 14 * DAY) == 0.7
    assert find_bound_factor(place, seen, T0 + 14 * DAY + 1.0) == 1.0
    assert find_bound_factor(place, inputs([quake(0.01)]), T0 + H) == 1.0
    assert find_bound_factor(site(SUM), seen, T0 + 3 * H) == 1.0


def test_contradictory_earthquake_criterion_is_refused():
    for text, word in (
        (SHAKE.replace("slope_deg = 30.0\n", ""), "slope_deg"),
        (SHAKE.replace('lower_for = "14d"\n', ""), "lower_for"),
        (SHAKE + "critical_acceleration_g = 0.1\n", "either critical_acceleration_g"),
        (SHAKE.replace("factor_of_safety = 1.2\nslope_deg = 30.0\n", ""), "newmark_cm: expected critical"),
        (SHAKE.replace("over = 0.05", 'window = "1d"'), "window"),
        (SHAKE.replace("factor_of_safety = 1.2", "factor_of_safety = 1.0001"), "critical acceleration of"),
    ):
        with pytest.raises(ConfigError, match=word):
            site(text)


SPLIT = """
kind = "rain_antecedent"
series = "R1.rain"
recent = "1d"
antecedent = "3d"
weight = 0.5
yellow = {over = 20.0}
"""
INDEX = 'kind = "rain_antecedent"\nseries = "R1.rain"\ndecay = 0.9\nspan = "10d"\nyellow = {over = 28.0}\n'
EVENTS = CURVE + 'dry_gap = "6h"\ndry_mm = 0.5\n'
RETURN = RARE + 'quantiles = {"24h" = [[2, 20.0], [10, 40.0]]}\n'


@pytest.mark.parametrize(
    "text",
    [SUM, CURVE, EVENTS, LEARNED, RAINED, RAINED + 'ahead = "2d"\n', RETURN, INDEX, SPLIT],
    ids=["sum", "curve", "events", "learned", "infiltration", "ahead", "return", "index", "split"],
)
def test_more_rain_never_lowers_a_level(text):
    place = site(text)
    chance = random.Random(7)
    raised = 0
    for _ in range(25):
        size = chance.choice([0.5, 2.0, 6.0])
        values = [
            None if chance.random() < 0.05 else chance.choice([0.0, 0.0, chance.random() * size]) for _ in range(120)
        ]
        values[-1] = 0.0
        wetter = list(values)
        for _ in range(chance.randint(1, 10)):
            i = chance.randrange(120)
            if wetter[i] is not None:
                wetter[i] += chance.random() * 8.0
        at = T0 + 119 * H
        one, two = (ask(place, inputs(R1__rain=rows(v)), at) for v in (values, wetter))
        assert two.raise_level >= one.raise_level
        assert two.hold_level >= one.hold_level
        raised += two.raise_level > 0
    assert raised > 0, "some histories must reach a level"


STORABLE = (0.0, -0.0, 1e-300, -1e-300, 1.0, -1.0, 499.0, 1e6, -1e6, 1e12, 1e300, -1e300, 1.7e308, 5e-324)


@pytest.mark.parametrize("stamp", ["interval_end", "counter", "event"])
def test_rain_criteria_accept_every_value_that_can_be_stored(stamp):
    chance = random.Random(stamp)
    rained = [SUM, EVENTS, LEARNED, RETURN, INDEX, SPLIT, LONG, *([] if stamp == "event" else [RAINED])]
    watered = [SAFE, SAFE + "cohesion_sd_kpa = 1.0\ndepth_sd_m = 0.9\npressure_sd_kpa = 9.0\nsuction = true\n"]
    for text in rained + watered:
        place = site(text, stamp)
        for _ in range(15):
            size = chance.choice([1, 2, 40])
            values = [chance.choice([None, *STORABLE, chance.random()]) for _ in range(size)]
            step_s = chance.choice([1e-6, 1.0, H, 30 * DAY])
            told = rows(values, step_s)
            every = dict.fromkeys(("R1__rain", "R1__rain_next_24h", "P1__pore_pressure", "RES__reservoir_level"), told)
            seen = inputs([quake(chance.choice(STORABLE), T0 - H)], **every)
            word = ask(place, seen, T0 + size * step_s)
            json.dumps(dict(word.facts), allow_nan=False)
            assert 0 <= word.raise_level <= word.hold_level <= 3
    for value in STORABLE:
        word = ask(site(SHAKE), inputs([quake(value)]), T0 + H)
        json.dumps(dict(word.facts), allow_nan=False)


ON_RAIN = {"rain_sum": SUM, "rain_intensity_duration": CURVE, "rain_learned": LEARNED, "rain_antecedent": INDEX}
ON_RAIN |= {"rain_return_period": RETURN, "factor_of_safety": RAINED}


def test_every_rain_kind_is_covered_by_the_laws():
    on_rain = {name for name, entry in CRITERIA.items() if ("min_coverage", "higher") in entry.kind.safe_params}
    assert on_rain == set(ON_RAIN), "give the new kind its text here"


@pytest.mark.parametrize("kind", sorted(ON_RAIN))
@pytest.mark.parametrize("seed", range(6))
def test_no_rain_kind_counts_rain_that_did_not_fall(kind, seed):
    chance = random.Random(seed)
    fell = [chance.choice([0.0, 0.0, 0.5, 3.0]) * (seed % 3) for _ in range(264)]
    now = T0 + 263 * H

    def judge(stamp, told):
        readings = tuple(Reading(from_epoch_s(t), from_epoch_s(t), 0, v, 0.0, v, None, ()) for t, v in told)
        word = ask(site(ON_RAIN[kind], stamp), inputs(R1__rain=readings), now)
        return word.raise_level, word.hold_level, json.dumps(word.facts, sort_keys=True, default=str)

    at = [T0 + k * H for k in range(264)]
    once = list(zip(at, fell, strict=True))
    again = sorted([*once, *((t + 0.05 * H, v) for t, v in once if chance.random() < 0.5 and t < now)])
    assert judge("interval_end", again) == judge("interval_end", once)
    total, counted = 90.0, []
    for t, v in once:
        total += v
        counted.append((t, round(total, 3)))
    dips = [(t, v - (2.0 if k >= 257 else 0.0)) for k, (t, v) in enumerate(counted)]  # corrected by 2 mm
    for k, share in ((40, 0.998), (41, 0.998), (90, 0.0), (200, 0.5)):  # and shown wrong now and then
        dips[k] = dips[k][0], counted[39 if k == 41 else k - 1][1] * share
    clean, dipped = judge("counter", counted), judge("counter", dips)
    assert dipped[0] == clean[0]
    assert dipped[1] <= max(clean[1], 1)
