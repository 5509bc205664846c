"""Criteria one by one: level, rate, rain by stamp and coverage, advice; and the ladder's acts by a person."""

import json
import math
import random
from dataclasses import replace

import pytest

from detection.anomaly.registry import describe_comparison
from monitor.alerts.acts.operator_acts import set_level_in_memory
from monitor.canonical import canonical_json
from monitor.decision.criteria.kinds import anomaly
from monitor.decision.criteria.kinds.scene import assess_scenes
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import (
    AnomalyFact,
    DecisionInputs,
    EventFact,
    FootprintFact,
    ForecastFact,
    Memory,
    NewestEpoch,
    ProofFact,
    ReportFact,
)
from monitor.decision.series.assessment import DecisionContext
from monitor.readings.cleaned.step_detector import StepDetector
from monitor.readings.cleaned.tracks import compute_unit_vector
from monitor.readings.records import Reading
from monitor.sites.parsing import parse_site
from monitor.sites.records import Criterion, Dwell, Level, SeriesSpec, Site, Station, Threshold
from monitor.sites.witnesses import find_groups
from monitor.text.instants import epoch_s, from_epoch_s, parse_time
from monitor.text.reasons import convert_reason
from monitor.text.rendering import translate
from tests.data import site_text
from tests.data.criteria import CRITERIA, KINDS

T0 = epoch_s(parse_time("2026-01-01T00:00:00Z"))
H = 3600.0
LEVELS = tuple(Level(i, n, i < 2) for i, n in enumerate(("green", "yellow", "orange", "red")))


def site(criterion, unit="m", quantity="water_level", stamp="interval_end", station="P1", **spec):
    series = SeriesSpec(station, quantity, unit, H, 6 * H, stamp=stamp, **spec)
    point = Station(station, series=(series,))
    return Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (point,), (criterion,), version="v")


def inputs(values, station="P1", quantity="water_level", step_s=H, start_s=T0, flags=()):
    timed = ((from_epoch_s(start_s + i * step_s), v) for i, v in enumerate(values) if v is not None)
    rows = tuple(Reading(at, at, 0, v, 0.0, v, None, flags) for at, v in timed)
    key = f"{station}.{quantity}"
    return DecisionInputs({key: rows}, {key: NewestEpoch(epoch_s(rows[-1].observed_at), epoch_s(rows[-1].received_at))})


def ask(criterion, seen, at_s, place, memory=None):
    (word,) = CRITERIA[criterion.kind.id].rule(
        criterion, DecisionContext(PreparedSite(place), seen, memory or Memory(), at_s)
    )
    return word


def test_level_needs_two_epochs_and_falls_below_its_recovery_limit():
    c = Criterion(
        "w", KINDS["level"], ("P1",), "water_level", (Threshold(1, over=10.0), Threshold(2, over=20.0)), recover=0.8
    )
    for values, raised in (([5, 5, 25], 0), ([5, 25, 25], 2)):
        assert ask(c, inputs(values), T0 + 2 * H, site(c)).raise_level == raised
    for values, held in (([25, 25, 17], 2), ([25, 15, 15], 1), ([25, 7, 7], 0)):
        assert ask(c, inputs(values), T0 + 2 * H, site(c)).hold_level == held


@pytest.mark.parametrize("shaken", [False, True])
def test_step_of_water_level_counts_after_the_deadline_with_or_without_an_earthquake(shaken):
    c = Criterion("w", KINDS["level"], ("P1",), "water_level", (Threshold(1, over=10.0), Threshold(2, over=20.0)))
    place, memory, found = site(c, verify_step=3.0), Memory(), []
    values = [(5.0 if i < 20 else 25.0) + 0.01 * (7 * i % 5) for i in range(30)]
    quake = EventFact(T0 + 19.8 * H, T0 + 19.8 * H, T0 + 20 * H, "earthquake", 0.2, "M5", "feed", 1, "mqtt", ("Ada",))
    for i in range(10, len(values)):
        seen = replace(inputs(values[: i + 1]), events=(quake,) if shaken and i >= 20 else ())
        decision = decide(PreparedSite(place), memory, seen, from_epoch_s(T0 + i * H))
        memory = decision.memory
        found.append(decision.level)
    assert (found[:11], found[-1]) == ([0] * 11, 2)
    assert "health:P1:verify" in memory.conditions


CURVE = {"a": 14.82, "b": 0.39, "c": 0.0, "duration_from_s": H, "duration_to_s": 48 * H, "min_coverage": 0.8}
CAINE = Criterion("id", KINDS["rain_intensity_duration"], ("R1",), "rain", (Threshold(1),), params=tuple(CURVE.items()))


@pytest.mark.parametrize(
    ("values", "stamp", "level"),
    [
        ([0.0] * 48 + [15.0], "interval_end", 1),  # 14.82 mm/h for one hour is on the curve
        ([0.0] * 48 + [14.0], "interval_end", 0),
        ([0.0] * 24 + [4.4] * 24, "interval_end", 1),  # 14.82 * 24**-0.39 = 4.29 mm/h over a day
        ([0.0] * 48 + [450.0], "interval_end", 0),  # more than was ever measured is a fault
        ([0.2] * 49, "event", 0),  # one tip has its own time
    ],
)
def test_rain_is_compared_with_the_curve_at_every_duration(values, stamp, level):
    word = ask(CAINE, inputs(values, "R1", "rain"), T0 + (len(values) - 1) * H, site(CAINE, "mm", "rain", stamp, "R1"))
    assert word.raise_level == level
    if values[-1] == 4.4:
        assert word.facts["worst"]["duration_s"] > 12 * H, "no single hour is beyond the curve"


def test_forecast_is_advice_until_the_site_file_promotes_it():
    c = Criterion(
        "f", KINDS["forecast"], ("P1",), "water_level", (Threshold(1, over=5.0, window_s=86400.0),), role="advice"
    )
    place = site(c)
    fact = ForecastFact(
        "P1", "water_level", T0, T0 + 86400.0, 86400.0, 1.0, 9.0, 12.0, 2.0, "combined", shown=True, q025=0.0, q975=14.0
    )
    seen = replace(inputs([1.0] * 3), forecasts=(fact,))
    for role, level in (("advice", 0), ("witness", 1)):
        promoted = replace(place, criteria=(replace(c, role=role),))
        outcome = decide(PreparedSite(promoted), Memory(), seen, from_epoch_s(T0 + 2 * H))
        assert outcome.level == level
        assert ("advice:f:P1" in outcome.memory.conditions) == (level == 0)
    hidden = replace(seen, forecasts=(replace(fact, shown=False),))
    assert not decide(PreparedSite(place), Memory(), hidden, from_epoch_s(T0 + 2 * H)).memory.conditions.get(
        "advice:f:P1"
    )


def test_footprint_of_a_single_date_never_votes_but_a_change_may():
    c = Criterion("img", KINDS["scene"], ("P1",), "", (Threshold(1),), role="witness", params=(("near_m", 500.0),))
    place = site(c)
    for change, level in (("single", 0), ("known", 0), ("new", 1), ("grown", 1)):
        fact = FootprintFact("post", T0, "p1", change, 5000.0, "P1", 120.0, T0, near=(("P1", 120.0),))
        seen = replace(inputs([1.0] * 3), footprints=(fact,))
        assert decide(PreparedSite(place), Memory(), seen, from_epoch_s(T0 + H)).level == level, change
    away = FootprintFact("post", T0, "p1", "new", 5000.0, "P1", 900.0, T0, near=(("P1", 900.0),))
    far = replace(inputs([1.0] * 3), footprints=(away,))
    assert decide(PreparedSite(place), Memory(), far, from_epoch_s(T0 + H)).level == 0


def test_observers_are_one_witness_and_their_level_stays_until_a_person_lowers_it():
    c = Criterion("o", KINDS["report"], (), "", (Threshold(2),), valid_for_s=6 * H, kinds=("rockfall",))
    place = site(c)
    seen = replace(
        inputs([1.0] * 3),
        reports=(ReportFact(T0 + H, T0 + H, "rockfall", "blocks on the road", "ranger", None, "mqtt"),),
    )
    first = decide(PreparedSite(place), Memory(), seen, from_epoch_s(T0 + 2 * H))
    assert first.level == 2
    later = decide(PreparedSite(place), first.memory, inputs([1.0] * 3), from_epoch_s(T0 + 30 * H))
    assert later.level == 2
    long = replace(seen, reports=(replace(seen.reports[0], text="blocks " * 99),))
    (word,) = CRITERIA["report"].rule(c, DecisionContext(PreparedSite(place), long, Memory(), T0 + 2 * H))
    assert word.reason == f"rockfall reported by ranger: {'blocks ' * 99}"[:200]


def test_stations_with_shared_parts_are_one_group_and_downslope_follows_azimuth_and_plunge():
    joined = (Station("A", reference="B1"), Station("B", reference="B1", logger="L"), Station("C", logger="L"))
    stations = (*joined, Station("D"), Station("E", antenna="X"), Station("F", antenna="X"))
    groups = find_groups(replace(site(Criterion("w", KINDS["level"], (), "water_level", ())), stations=stations))
    assert groups["A"] == groups["B"] == groups["C"]
    assert groups["E"] == groups["F"]
    assert len({groups[s] for s in "ADE"}) == 3
    point = Station("A", azimuth_deg=90.0, plunge_deg=30.0)
    east, north, up = compute_unit_vector(point, 3)
    assert (round(east, 6), round(north, 6), round(up, 6)) == (0.866025, 0.0, -0.5)


def walk(values, limit=20.0, sigma=1.0, interval_s=1.0):
    found = StepDetector(limit)
    times = [i * interval_s for i in range(len(values))]
    found.extend(times, [0.0] * len(values), [(v,) for v in values], [(sigma,)] * len(values))
    return found


@pytest.mark.parametrize(("interval_s", "epochs"), [(24 * H, 150), (H, 150), (24 * H, 6), (H, 24)])
def test_return_long_after_a_jump_leaves_the_readings_between_usable(interval_s, epochs):
    rng = random.Random(7)
    values = [at + rng.gauss(0.0, 0.3) for at in [0.0] * 30 + [12.0] * (epochs + 1) + [3.0] * 5]
    found = walk(values, limit=5.0, sigma=0.3, interval_s=interval_s)
    assert [i for i, _ in found.jumps] == [30, 31 + epochs]
    assert [j.size[0] for _, j in found.jumps] == pytest.approx([12.0, -9.0], abs=1.5)
    assert set(found.set_aside) == {30 * interval_s, (31 + epochs) * interval_s}, "the two jumps, to be verified"
    # sooner it is a spike
    found = walk([*values[:36], 1.0, 1.1, 0.9], limit=5.0, sigma=0.3, interval_s=interval_s)
    assert not found.jumps
    assert sorted(found.set_aside) == [k * interval_s for k in range(30, 36)]


@pytest.mark.parametrize("epochs", [1, 3])
def test_remaining_part_of_a_jump_above_the_limit_is_a_question(epochs):
    calm = [0.1, -0.2, 0.3, 0.0, -0.1, 0.2]
    found = walk([*calm, *[100.0] * epochs, 24.0, 24.1, 23.9])
    assert round(math.fsum(j.size[0] for _, j in found.jumps)) == 24
    assert found.jumps[-1][0] == 6 + epochs
    assert not walk([*calm, *[100.0] * epochs, 14.0, 0.1, 0.2]).jumps


def scattered(rng, count, around=0.0):
    return [around + rng.choice((-1.0, 1.0)) * rng.uniform(20.0, 60.0) for _ in range(count)]


def test_scatter_is_a_question_for_days_and_again_if_it_ends_at_another_place():
    rng = random.Random(3)
    calm = [rng.gauss(0.0, 1.0) for _ in range(30)]
    rough, quiet = scattered(rng, 30, -70.0), [rng.gauss(0.0, 1.0) for _ in range(12)]
    waiting = walk([*calm, *rough, *quiet[:5]])
    assert all(index < 45 for index, _ in waiting.jumps), "asked within the scatter"
    found = walk([*calm, *rough, *quiet])
    index, jump = found.jumps[-1]
    assert (index, jump.at_s, jump.before_s) == (60, 60.0, 59.0)
    assert 40.0 < jump.size[0] < 100.0
    assert abs(found.values_without_jumps[70][0] + jump.size[0]) < 5.0
    again = walk([*calm, *rough, *quiet, *(v + 60.0 for v in quiet)])
    assert again.jumps[-1][0] == 72, "what scattered hides no step after it"


def test_large_stated_errors_do_not_hide_motion():
    """One epoch 300 off that states 100 is set aside; six that agree are a step at the first; a return undoes it."""
    rng = random.Random(5)
    calm = [rng.gauss(0.0, 1.0) for _ in range(30)]

    def vague(values, sigma=100.0):
        found = StepDetector(10.0)
        times = [float(i) for i in range(30 + len(values))]
        stated = [(1.0,)] * 30 + [(sigma,)] * len(values)
        found.extend(times, times, [(v,) for v in (*calm, *values)], stated)
        return found

    away = [300.0 + rng.gauss(0.0, 1.0) for _ in range(9)]
    assert not vague(away[:5]).jumps
    assert len(vague(away[:5]).set_aside) == 5
    found = vague(away)
    ((index, jump),) = found.jumps
    assert (index, jump.at_s, jump.before_s, jump.detectable_s) == (30, 30.0, 29.0, 35.0)
    assert abs(jump.size[0] - 300.0) < 3.0
    assert (set(found.set_aside), found.counting[-9:]) == ({30.0}, [29, *range(31, 39)])
    assert abs(found.values_without_jumps[38][0]) < 5.0
    back = vague([*away, 0.0, 1.0])
    assert not back.jumps
    assert set(back.set_aside) == {30.0 + k for k in range(9)}, "a spike of nine epochs"
    scattered_far = [sign * (200.0 + 10.0 * k) for k in range(6) for sign in (-1.0, 1.0)]
    assert not vague(scattered_far).jumps, "they agree on nothing"
    assert not vague([150.0] * 6).jumps, "six at one and a half of their own errors may be chance"


def test_motion_that_stops_and_scatter_about_one_place_are_no_steps():
    rng = random.Random(4)
    calm = [rng.gauss(0.0, 1.0) for _ in range(30)]
    ways = ([1.5**k for k in range(14)], [25.0 * k + rng.gauss(0.0, 8.0) for k in range(1, 15)])
    for way in ways:
        found = walk([*calm, *way, *(way[-1] + rng.gauss(0.0, 1.0) for _ in range(10))])
        assert all(index < 40 for index, _ in found.jumps)
    home = walk([*calm, *scattered(rng, 30), *(rng.gauss(0.0, 1.0) for _ in range(12))])
    assert all(index < 45 for index, _ in home.jumps)


def test_level_set_by_a_person_stays_and_old_data_do_not_raise_it_again():
    c = Criterion(
        "w", KINDS["level"], ("P1",), "water_level", (Threshold(2, over=10.0),), dwell=Dwell(2, 2), valid_for_s=48 * H
    )
    place = site(c)
    raised = decide(PreparedSite(place), Memory(), inputs([5, 15, 15, 15]), from_epoch_s(T0 + 3 * H))
    assert raised.level == 2
    lowered = set_level_in_memory(raised.memory, 0, T0 + 3.5 * H)
    assert lowered.level_source == "person"
    assert decide(PreparedSite(place), lowered, inputs([5, 15, 15, 15]), from_epoch_s(T0 + 4 * H)).level == 0
    assert decide(PreparedSite(place), lowered, inputs([5, 15, 15, 15, 15, 15]), from_epoch_s(T0 + 5 * H)).level == 2
    held = set_level_in_memory(Memory(started_s=T0), 1, T0)
    assert decide(PreparedSite(place), held, inputs([5, 5, 5, 5]), from_epoch_s(T0 + 3 * H)).level == 1


HOSTILE = [1e299, -1e299, 5e-324, 0.0, -0.0, 1e12, 1e11, -999.0, float(2**53), 1e6]


@pytest.mark.parametrize("seed", range(6))
def test_decision_succeeds_with_every_value_that_can_be_stored(seed):
    rng = random.Random(seed)
    fast = Criterion("v", KINDS["velocity"], ("P1",), "displacement", (Threshold(1, over=1.0, window_s=12 * H),))
    criteria = (
        fast,
        replace(fast, id="n", direction="norm"),
        Criterion("l", KINDS["level"], ("P1",), "own", (Threshold(3, over=5.0),)),
        Criterion("r", KINDS["rate"], ("P1",), "own", (Threshold(2, under=-5.0, window_s=12 * H),)),
        replace(CAINE, stations=("P1",)),
    )
    specs = tuple(SeriesSpec("P1", q, "mm", H, 6 * H) for q in ("displacement", "own", "rain"))
    point = Station("P1", reference="B", series=specs)
    place = Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (point,), criteria, version="v")
    memory = Memory()
    for look in range(6):
        readings = {}
        for quantity in ("displacement_east", "displacement_north", "displacement_up", "own", "rain"):
            rows = {}
            for _ in range(40):
                at = from_epoch_s(T0 + rng.randrange(0, 48) * H * (0.5 if seed % 2 else 1.0))
                value = rng.choice(HOSTILE) if rng.random() < 0.5 else rng.gauss(0, 2)
                sigma = rng.choice([None, 0.0, 1.0, 1e200, 5e-324])
                extra = rng.choice([None, '{"cov_mm2":[1,2]}', '{"cov_mm2":[1,1,1e300,0,0,0]}', "cov", '["cov_mm2"]'])
                rows[at] = Reading(at, at, 0, value, 0.0, value, sigma, (), extra)
            readings[f"P1.{quantity}"] = tuple(rows[at] for at in sorted(rows))
        newest = {k: NewestEpoch(epoch_s(v[-1].observed_at), epoch_s(v[-1].received_at)) for k, v in readings.items()}
        outcome = decide(
            PreparedSite(place), memory, DecisionInputs(readings, newest), from_epoch_s(T0 + (30 + look) * H)
        )
        memory = Memory.read(json.loads(canonical_json(outcome.memory.to_json())))
        assert canonical_json(outcome.to_json())


def test_a_site_file_with_fewer_levels_does_not_lose_the_level():
    c = Criterion("w", KINDS["level"], ("P1",), "water_level", (Threshold(1, over=10.0),))
    place = replace(site(c), levels=LEVELS[:2])
    assert decide(PreparedSite(place), Memory(started_s=T0, level=3), inputs([5, 5]), from_epoch_s(T0 + H)).level == 1


def near_two(change="new", **more):
    """A footprint that lies near P1 and P2, nearer to P1."""
    near = (("P1", 85.0), ("P2", 240.5))
    return FootprintFact("post", T0, "p1", change, 5000.0, "P1", 85.0, near=near, **{"received_s": T0, **more})


@pytest.mark.parametrize(
    ("stations", "near_m", "level", "said"),
    [
        (("P1",), 500.0, 1, "nearest station 85 m (P1)"),
        (("P1", "P2"), 500.0, 1, "nearest station 85 m (P1) and 1 other station within 240 m"),
        (("P1", "P2"), 100.0, 1, "nearest station 85 m (P1)"),
        (("P2",), 100.0, 0, "no new or grown outline near a station"),
        (("P3",), 500.0, 0, "no new or grown outline near a station"),
    ],
)
def test_footprint_counts_for_every_station_within_near_m(stations, near_m, level, said):
    c = Criterion("img", KINDS["scene"], stations, "", (Threshold(1),), role="witness", params=(("near_m", near_m),))
    place = site(c)
    seen = replace(inputs([1.0] * 3), footprints=(near_two(),))
    (word,) = assess_scenes(c, DecisionContext(PreparedSite(place), seen, Memory(), T0 + H))
    assert (word.raise_level, word.station) == (level, "scene")
    assert said in word.reason
    assert ("other" in said) == ("other" in word.reason)
    assert decide(PreparedSite(place), Memory(), seen, from_epoch_s(T0 + H)).level == level


@pytest.mark.parametrize(("found_by", "opens"), [("tested", True), ("another", False)])
def test_outlines_of_an_untested_network_do_not_vote_beside_a_tested_one(found_by, opens):
    """Then no message goes out that would have to say that it is advice: the pages alone show it, and mark it."""
    c = Criterion("img", KINDS["scene"], ("P1",), "", (Threshold(1),), role="witness")
    proof = ProofFact("img", "scene", T0 - H, T0 + 1e6 * H, True, "", "tested", "s", "tested", "s")
    seen = replace(inputs([1.0] * 3), footprints=(near_two(model_hash=found_by),), proofs=(proof,))
    decided = decide(PreparedSite(site(c)), Memory(), seen, from_epoch_s(T0 + H))
    assert decided.level == int(opens)
    assert bool(decided.memory.votes) == opens
    assert not any(key.startswith(("advice:", "health:img:")) for key in decided.memory.conditions)


def test_near_m_of_the_scenes_table_is_the_default_of_the_criterion():
    text = '[[criterion]]\nkind = "scene"\nlevel = "yellow"\nauthor = "t"\nreason = "t"\n{}[scenes]\nnear_m = {}\n'
    for own, near_m, found in (("", 300.0, False), ("", 400.0, True), ("near_m = 500.0\n", 300.0, True)):
        place = parse_site(PLAIN_SITE + text.format(own, near_m), "near.toml")
        fact = FootprintFact("post", T0, "p1", "single", 5000.0, "P1", 350.0, T0, near=(("P1", 350.0),))
        seen = replace(inputs([1.0] * 3), footprints=(fact,))
        outcome = decide(PreparedSite(place), Memory(), seen, from_epoch_s(T0 + H))
        assert any(key.startswith("advice:scene") for key in outcome.memory.conditions) == found, (own, near_m)


PLAIN_SITE = site_text.head("near", latitude=46.2, longitude=8.9, timezone="UTC") + site_text.station(
    "P1", site_text.series("displacement", "mm")
)


def test_evidence_of_a_footprint_is_read_back_unchanged():
    seen = DecisionInputs(footprints=(near_two("grown", grown_m2=1200.0, kind="crack"),))
    spelled = json.loads(json.dumps(seen.to_json()))
    assert DecisionInputs.read(spelled) == seen
    assert hash(DecisionInputs.read(spelled).footprints[0]) == hash(seen.footprints[0])


def test_anomaly_message_has_kind_score_and_comparison_in_every_language():
    fact = AnomalyFact("G1", "displacement", 0.0, "replay", 1.0, 1.0, "")
    assert anomaly._explain(fact) == "displacement: the check replay found a fault"
    assert anomaly._explain(replace(fact, detector="ae", score=2.4)) == "displacement scores 2.40 over 1.00 (ae)"
    fact = replace(fact, kind="replay", compared_with="its earlier readings")
    found = "displacement: the check replay found a fault (replay), compared with its earlier readings"
    assert anomaly._explain(fact) == found
    others = convert_reason(describe_comparison("rules", "drift", 17, ("G2.displacement", "G3.displacement")))
    fact = AnomalyFact("G1", "displacement", 0.0, "rules", 1.4, 1.0, "drift", others)
    text = (
        "displacement scores 1.40 over 1.00 (rules): drift, compared with the lines of its last 30 and 60 days, "
        "and with 17 other series (G2.displacement and G3.displacement among them)"
    )
    assert anomaly._explain(fact) == text
    assert "altre 17 serie (tra cui G2.displacement e G3.displacement)" in translate(anomaly._explain(fact), "it")
    assert "deriva" in translate(anomaly._explain(fact), "it")
