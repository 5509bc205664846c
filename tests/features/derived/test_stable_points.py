"""Prisms corrected by the references of their total station: what is subtracted, what is not, and what is reported."""

import json
import math
import random
from datetime import timedelta
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.decision.prepared_site import PreparedSite
from monitor.errors import ConfigError
from monitor.features.derived import stable_points
from monitor.features.derived.calculator import compute_pending
from monitor.features.derived.checks import CHECKS, AgreementStatus, read_agreement
from monitor.features.derived.plans import plan_site
from monitor.features.derived.samples import InputSamples, Sample
from monitor.features.derived.stable_points import (
    AXES,
    Correction,
    CorrectionSample,
    Prism,
    compute_effects_m,
    correct,
)
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.sites.parsing import find_cautions, parse_site
from monitor.sites.witnesses import find_groups
from monitor.text.instants import parse_time

ALL = ("scale", "orientation", "refraction")
PRISM = Prism("PR03", (600.0, 520.0, 40.0))
REFERENCES = (
    Prism("REF1", (800.0, 800.0, 70.0)),
    Prism("REF2", (-300.0, 500.0, 10.0)),
    Prism("REF3", (200.0, -700.0, -30.0)),
)
USUAL = (20e-6, 4e-5, 0.2)


def apply(place_m, parameters, names=ALL):
    """Return the apparent displacement that changes of scale, orientation and refraction cause, in metres."""
    effects = compute_effects_m(place_m, names)
    return [sum(p * effect[k] for p, effect in zip(parameters, effects, strict=True)) for k in range(3)]


def make_samples(displacements_m, *, sigma=None, flags=()):
    by_series = {}
    for station, values in displacements_m.items():
        for axis, value in zip(AXES, values, strict=True):
            series = (station, f"displacement_{axis}")
            by_series[series] = [Sample(series, 0.0, value, sigma, flags)]
    return InputSamples(by_series, within_s=600.0)


def correct_all(displacements_m, *, references=REFERENCES, parameters=ALL, tolerance_m=0.01, sigma=None):
    """Return the corrected displacement of the prism, and the facts that are stored beside it."""
    correction = Correction(PRISM, references, parameters, tolerance_m)
    samples = make_samples(displacements_m, sigma=sigma)
    results = [correct(correction, axis, samples, 0.0) for axis in AXES]
    (facts,) = [one.facts for one in results[0][1] if isinstance(one, CorrectionSample)]
    return [value for value, _ in results], facts


def observe(motion_m=(0.0, 0.0, 0.0), parameters=USUAL, moving=()):
    """Return what the instrument measures. `moving`: motion of references, by station."""
    observed = {"PR03": [a + b for a, b in zip(apply(PRISM.place_m, parameters), motion_m, strict=True)]}
    for reference in REFERENCES:
        motion = dict(moving).get(reference.station, (0.0, 0.0, 0.0))
        observed[reference.station] = [a + b for a, b in zip(apply(reference.place_m, parameters), motion, strict=True)]
    return observed


# ---- one round -------------------------------------------------------------------------------------------------
def test_apparent_motion_is_subtracted_and_real_motion_stays():
    observed = observe(motion_m=(0.05, -0.03, -0.02))
    corrected, facts = correct_all(observed)
    assert corrected == pytest.approx([0.05, -0.03, -0.02], abs=1e-9)
    assert facts["references"] == ["REF1", "REF2", "REF3"]
    assert [facts[name] for name in ALL] == pytest.approx(USUAL, rel=1e-4)


def survey(place_m, parameters):
    """Return what an instrument at the origin computes, whose air, orientation and refraction have changed."""
    east, north, up = place_m
    scale, orientation, refraction = parameters
    horizontal = math.hypot(east, north)
    distance = math.hypot(horizontal, up) * (1.0 + scale)
    bearing = math.atan2(east, north) + orientation
    # The line of sight is bent towards the ground, so a distant prism appears higher.
    zenith = math.atan2(horizontal, up) - refraction * horizontal / (2.0 * 6_371_000.0)
    level = distance * math.sin(zenith)
    return (level * math.sin(bearing), level * math.cos(bearing), distance * math.cos(zenith))


@pytest.mark.parametrize("motion_m", [(0.0, 0.0, 0.0), (0.2, -0.1, -0.05)])
@pytest.mark.parametrize("parameters", [(3e-5, 0.0, 0.0), (0.0, 1e-4, 0.0), (0.0, 0.0, 0.5), (-2e-5, 6e-5, -0.3)])
def test_changes_of_the_instrument_are_subtracted(motion_m, parameters):
    """The apparent motion is computed from the geometry of distances and angles, without the linear effects."""
    observed = {}
    for prism in (PRISM, *REFERENCES):
        motion = motion_m if prism is PRISM else (0.0, 0.0, 0.0)
        place = tuple(a + b for a, b in zip(prism.place_m, motion, strict=True))
        observed[prism.station] = [a - b for a, b in zip(survey(place, parameters), prism.place_m, strict=True)]
    apparent = math.dist(observed["PR03"], motion_m)
    corrected, _ = correct_all(observed)
    assert apparent > 0.01
    # Height differences and second-order terms leave less than a tenth.
    assert math.dist(corrected, motion_m) < 0.1 * apparent


SMALL = st.floats(-1.0, 1.0)


@settings(deadline=None)
@given(
    motion=st.tuples(SMALL, SMALL, SMALL),
    scale=st.floats(-1e-4, 1e-4),
    orientation=st.floats(-1e-3, 1e-3),
    refraction=st.floats(-1.0, 1.0),
)
def test_stable_references_never_hide_motion(motion, scale, orientation, refraction):
    corrected, _ = correct_all(observe(motion, (scale, orientation, refraction)))
    assert corrected == pytest.approx(list(motion), abs=1e-8)


@settings(deadline=None)
@given(
    station=st.sampled_from([one.station for one in REFERENCES]),
    direction=st.floats(0.0, 2.0 * math.pi),
    size=st.floats(0.05, 5.0),
)
def test_one_moving_reference_of_three_never_becomes_motion_of_the_prism(station, direction, size):
    moving = {station: (size * math.cos(direction), size * math.sin(direction), -0.3 * size)}
    corrected, facts = correct_all(observe((0.02, 0.0, 0.0), USUAL, moving))
    # Either the moving reference left the correction, or nothing was corrected.
    if facts["references"]:
        assert facts["moving"] == [station]
        assert corrected == pytest.approx([0.02, 0.0, 0.0], abs=1e-8)
    else:
        raw = observe((0.02, 0.0, 0.0))["PR03"]
        assert corrected == pytest.approx(raw)


def test_two_references_that_disagree_correct_nothing():
    moving = {"REF2": (0.1, 0.05, 0.0)}
    observed = observe((0.02, 0.0, 0.0), USUAL, moving)
    corrected, facts = correct_all(observed, references=REFERENCES[:2])
    assert corrected == pytest.approx(observed["PR03"])
    assert facts == {"references": [], "disagreeing": ["REF1", "REF2"]}


def test_missing_references_correct_nothing_and_enlarge_the_error():
    observed = {"PR03": [0.01, 0.02, 0.0], "REF1": [0.001, 0.001, 0.0]}
    correction = Correction(PRISM, REFERENCES, ALL, 0.01)
    value, used = correct(correction, "east", make_samples(observed, sigma=0.001), 0.0)
    assert value == 0.01
    (sample,) = [one for one in used if isinstance(one, CorrectionSample)]
    assert sample.facts == {"references": [], "disagreeing": ["REF1"], "missing": ["REF2", "REF3"]}
    # 30 ppm of 600 m and 0.05 mrad of 520 m.
    assert sample.sigma == pytest.approx(math.hypot(0.018, 0.026), rel=1e-6)


def test_prism_that_was_not_measured_has_no_value():
    observed = {reference.station: [0.0, 0.0, 0.0] for reference in REFERENCES}
    observed["PR03"] = [0.0, 0.0, 0.0]
    samples = make_samples(observed)
    samples.by_series["PR03", "displacement_east"].clear()
    assert correct(Correction(PRISM, REFERENCES, ALL, 0.01), "east", samples, 0.0) is None


def test_unfit_readings_of_a_reference_are_not_used():
    observed = observe()
    samples = make_samples(observed)
    for axis in AXES:
        samples.by_series["REF1", f"displacement_{axis}"][0].flags = ("out_of_range",)
    _, used = correct(Correction(PRISM, REFERENCES, ALL, 0.01), "east", samples, 0.0)
    (facts,) = [one.facts for one in used if isinstance(one, CorrectionSample)]
    assert facts["references"] == ["REF2", "REF3"]
    assert facts["missing"] == ["REF1"]


def test_references_in_one_place_determine_nothing():
    same = (REFERENCES[0], Prism("REF2", REFERENCES[0].place_m))
    level = tuple(Prism(one.station, (one.place_m[0], 0.0, 0.0)) for one in same)
    observed = {"PR03": [0.01, 0.0, 0.0], "REF1": [0.0, 0.0, 0.0], "REF2": [0.0, 0.0, 0.0]}
    _, facts = correct_all(observed, references=same)
    assert facts["references"] == ["REF1", "REF2"], "direction and distance determine three parameters"
    _, facts = correct_all(observed, references=level, parameters=("scale", "orientation"))
    assert facts["references"] == ["REF1", "REF2"]


def test_slopes_are_those_of_the_value():
    rng = random.Random(1)
    observed = {name: [v + rng.gauss(0.0, 0.001) for v in values] for name, values in observe().items()}
    correction = Correction(PRISM, REFERENCES, ALL, 0.05)
    value, used = correct(correction, "north", make_samples(observed), 0.0)
    slopes = {one.series: slope for one, slope in used.items() if not isinstance(one, CorrectionSample)}
    for name in observed:
        for k, axis in enumerate(AXES):
            moved = {station: list(values) for station, values in observed.items()}
            moved[name][k] += 1e-4
            changed, _ = correct(correction, "north", make_samples(moved), 0.0)
            expected = slopes.get((name, f"displacement_{axis}"), 0.0)
            assert (changed - value) / 1e-4 == pytest.approx(expected, abs=1e-6)


# ---- many references ---------------------------------------------------------------------------------------------
TOLERANCE_M = 0.01


def draw_round(rng, count, moving):
    """Return references around the instrument and what it measures of them.

    Args:
        rng: source of random numbers.
        count: how many references there are.
        moving: numbers of the references that have moved, by 50 mm to 1 m; the error of each component is 1 mm.
    """
    parameters = [rng.gauss(0.0, usual) for usual in USUAL]
    references, observed = [], {"PR03": apply(PRISM.place_m, parameters)}
    for number in range(count):
        bearing, distance_m, slope = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(50.0, 1500.0), rng.uniform(-0.3, 0.3)
        place_m = (distance_m * math.sin(bearing), distance_m * math.cos(bearing), slope * distance_m)
        direction = np.array([rng.gauss(0.0, 1.0) for _ in AXES])
        size_m = rng.uniform(0.05, 1.0) if number in moving else 0.0
        motion_m = size_m * direction / np.linalg.norm(direction)
        references.append(Prism(f"REF{number}", place_m))
        observed[f"REF{number}"] = [
            apparent + motion + rng.gauss(0.0, 0.001)
            for apparent, motion in zip(apply(place_m, parameters), motion_m, strict=True)
        ]
    return tuple(references), observed


def find_agreeing_references(references, observed):
    """Return the largest group of references that agree, by trying all groups; none if no majority agrees."""
    effects = [np.array(compute_effects_m(reference.place_m, ALL)).T for reference in references]
    displacements_m = [np.array(observed[reference.station]) for reference in references]
    for size in range(len(references), len(references) // 2, -1):
        residuals_m = {}
        for group in combinations(range(len(references)), size):
            design = np.vstack([effects[k] for k in group])
            scales = np.linalg.norm(design, axis=0)
            measured = np.concatenate([displacements_m[k] for k in group])
            parameters = np.linalg.lstsq(design / scales, measured, rcond=None)[0] / scales
            residuals_m[group] = max(np.linalg.norm(displacements_m[k] - effects[k] @ parameters) for k in group)
        best = min(residuals_m, key=residuals_m.get)
        if residuals_m[best] <= TOLERANCE_M:
            return [references[k].station for k in best]
    return []


@settings(deadline=None)
@given(seed=st.integers(0, 10**9), count=st.integers(2, 7), moving=st.sets(st.integers(0, 6)))
def test_the_references_that_agree_are_those_of_a_search_of_all_groups(seed, count, moving):
    references, observed = draw_round(random.Random(seed), count, moving)
    _, facts = correct_all(observed, references=references, tolerance_m=TOLERANCE_M)
    assert facts["references"] == find_agreeing_references(references, observed)
    left_out = [one.station for one in references if one.station not in facts["references"]]
    assert facts.get("moving", facts.get("disagreeing", [])) == left_out


@pytest.mark.parametrize("seed", range(3))
def test_fourteen_of_thirty_references_that_move_leave_the_correction(seed):
    moving = set(range(3, 17))
    references, observed = draw_round(random.Random(seed), 30, moving)
    corrected, facts = correct_all(observed, references=references, tolerance_m=TOLERANCE_M)
    assert facts["moving"] == [f"REF{number}" for number in sorted(moving)]
    assert facts["references"] == [f"REF{number}" for number in range(30) if number not in moving]
    assert corrected == pytest.approx([0.0, 0.0, 0.0], abs=0.003)


def test_thirty_references_of_which_half_move_correct_nothing():
    references, observed = draw_round(random.Random(4), 30, set(range(15)))
    corrected, facts = correct_all(observed, references=references, tolerance_m=TOLERANCE_M)
    assert facts == {"references": [], "disagreeing": [reference.station for reference in references]}
    assert corrected == pytest.approx(observed["PR03"])


def test_prisms_of_a_round_share_one_estimate(monkeypatch):
    rounds = []
    estimate_parameters = stable_points.estimate_parameters

    def record(correction, readings):
        rounds.append([reading.samples[0].at_s for reading in readings])
        return estimate_parameters(correction, readings)

    monkeypatch.setattr(stable_points, "estimate_parameters", record)
    by_series = {}
    for hour in range(2):
        for station, values in {**observe(), "PR04": [0.0, 0.0, 0.0]}.items():
            for axis, value in zip(AXES, values, strict=True):
                series = (station, f"displacement_{axis}")
                by_series.setdefault(series, []).append(Sample(series, 3600.0 * hour, value, None))
    samples = InputSamples(by_series, within_s=600.0)
    for hour in range(2):
        for prism in (PRISM, Prism("PR04", (610.0, 520.0, 40.0))):
            for axis in AXES:
                assert correct(Correction(prism, REFERENCES, ALL, 0.01), axis, samples, 3600.0 * hour) is not None
    assert rounds == [[0.0] * 3, [3600.0] * 3]


# ---- site file -------------------------------------------------------------------------------------------------
HEAD = """
[site]
id = "cut"
name = "Cut"
latitude = 46.0
longitude = 9.0
[fusion]
top_needs = 1
"""
STATION = """
[[station]]
id = "{id}"
on_slope = {on_slope}
origin = {{east_m = {e}, north_m = {n}, up_m = {u}, since = 2026-03-01T00:00:00Z}}
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
"""
INSTRUMENT = """
[[total_station]]
id = "TS1"
east_m = 500.0
north_m = 1500.0
up_m = 450.0
references = {references}
"""
CRITERION = """
[[criterion]]
kind = "velocity"
stations = ["PR*"]
yellow = {over = 10.0, window = "1d"}
"""
PLACES = {"PR03": (1100.0, 2020.0, 490.0), "REF1": (1300.0, 2300.0, 520.0), "REF2": (200.0, 2000.0, 460.0)}


def write_site(references='["REF1", "REF2"]', places=PLACES, more=""):
    stations = [
        STATION.format(id=name, on_slope="false" if name.startswith("REF") else "true", e=e, n=n, u=u)
        for name, (e, n, u) in places.items()
    ]
    return HEAD + "".join(stations) + INSTRUMENT.format(references=references) + CRITERION + more


def test_corrected_prism_is_a_station_that_criteria_judge():
    site = parse_site(write_site(), "cut.toml")
    assert [station.id for station in site.stations] == ["PR03", "REF1", "REF2", "PR03-cor"]
    assert site.series("PR03", "displacement").corrected_as == "PR03-cor"
    assert {station for one in site.criteria if one.kind.velocity for station in one.stations} == {"PR03-cor"}
    plans = plan_site(site).by_name
    assert {"PR03-cor.displacement_east", "PR03-cor.displacement_north", "PR03-cor.displacement_up"} <= plans.keys()


def test_all_prisms_of_an_instrument_are_one_witness():
    places = {**PLACES, "PR04": (1110.0, 2030.0, 490.0)}
    site = parse_site(write_site(places=places), "cut.toml")
    groups = find_groups(site)
    assert groups["PR03-cor"] == groups["PR04-cor"]


def test_changes_of_the_air_are_no_motion_of_the_references():
    """The displacement of a reference contains what the correction removes, so no criterion judges it."""
    assert PreparedSite(parse_site(write_site(), "cut.toml")).references is None


@settings(deadline=None)
@given(direction=st.floats(0.0, 2.0 * math.pi), size=st.floats(0.05, 5.0), dip=st.floats(0.0, 1.0))
def test_references_that_slide_with_the_slope_correct_nothing(direction, size, dip):
    slide = (size * math.cos(direction), size * math.sin(direction), -dip * size)
    observed = observe(slide, USUAL, {reference.station: slide for reference in REFERENCES})
    corrected, facts = correct_all(observed)
    assert facts["references"] == []
    assert corrected == pytest.approx(observed["PR03"])


def test_site_without_references_is_not_corrected():
    site = parse_site(write_site(references="[]"), "cut.toml")
    assert [station.id for station in site.stations] == ["PR03", "REF1", "REF2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (write_site(references='["REF1"]'), "at least 2 prisms"),
        (write_site(references='["REF1", "REF9"]'), "unknown station 'REF9'"),
        (write_site().replace("origin = {east_m = 1100.0, ", "origin = {", 1), "needs the place of PR03"),
        (write_site(more='[[relative]]\nto = "REF1"\nstations = ["PR03"]\n'), "is in [[relative]] already"),
    ],
)
def test_faults_of_references_are_named(text, expected):
    with pytest.raises(ConfigError) as refused:
        parse_site(text, "cut.toml")
    assert expected in str(refused.value)


# ---- service ---------------------------------------------------------------------------------------------------
START = parse_time("2026-03-01T00:00:00Z")
HOUR = timedelta(hours=1)


def test_messages_of_a_round_become_corrected_displacement(database):
    """The prisms of a round come one after the other; the references come last."""
    site = parse_site(write_site(), "cut.toml")
    now = START
    pipeline = Pipeline(database, {"cut": site}, lambda: now)
    axis_m = (500.0, 1500.0, 450.0)
    rng = random.Random(3)
    for hour in range(6):
        parameters = (rng.gauss(0.0, 2e-5), rng.gauss(0.0, 5e-5), rng.gauss(0.0, 0.2))
        for minute, (name, place) in enumerate(PLACES.items()):
            relative = tuple(a - b for a, b in zip(place, axis_m, strict=True))
            apparent = apply(relative, parameters)
            real = (0.004 * hour, 0.0, 0.0) if name == "PR03" else (0.0, 0.0, 0.0)
            coordinates = [a + b + c for a, b, c in zip(place, apparent, real, strict=True)]
            now = START + hour * HOUR + timedelta(minutes=minute)
            keys = ("position_east_m", "position_north_m", "position_up_m")
            sample = {"time": now.isoformat(), **dict(zip(keys, coordinates, strict=True))}
            message = BrokerMessage(f"slopeward/v1/cut/{name}/obs", json.dumps(sample).encode(), now, "live")
            assert pipeline.store([message]).rejected == 0
            compute_pending(database, pipeline.sites, pipeline._clock)
    with database.read() as connection:
        number = find_series_id(connection, "cut", "PR03-cor", "displacement_east")
        readings = load_readings(connection, number, START - HOUR, now + HOUR, now + HOUR)
    assert [reading.value for reading in readings] == pytest.approx([4.0 * hour for hour in range(6)], abs=1e-3)
    assert json.loads(readings[-1].extra)["correction"]["references"] == ["REF1", "REF2"]


@pytest.mark.parametrize(
    ("moved_m", "silent", "expected"),
    [
        (0.0, "", {}),
        (0.05, "", {"moving_reference": "REF2"}),
        (0.0, "REF2", {"uncorrected": "REF2"}),
    ],
)
def test_health_names_references_that_move_or_are_missing(database, moved_m, silent, expected):
    places = {**PLACES, "REF3": (700.0, 800.0, 420.0)} if moved_m else PLACES
    references = json.dumps([name for name in places if name.startswith("REF")])
    site = parse_site(write_site(references, places), "cut.toml")
    pipeline = Pipeline(database, {"cut": site}, lambda: START)
    for name, place in places.items():
        if name == silent:
            continue
        coordinates = [place[0] + (moved_m if name == "REF2" else 0.0), *place[1:]]
        keys = ("position_east_m", "position_north_m", "position_up_m")
        sample = {"time": START.isoformat(), **dict(zip(keys, coordinates, strict=True))}
        message = BrokerMessage(f"slopeward/v1/cut/{name}/obs", json.dumps(sample).encode(), START, "live")
        assert pipeline.store([message]).rejected == 0
    compute_pending(database, pipeline.sites, lambda: START)
    seen = read_agreement(database, pipeline.sites, START)
    findings = [finding for check in CHECKS if check.fact_type is AgreementStatus for finding in check.run(seen)]
    wrong = {finding.key.rpartition(":")[2]: finding.text for finding in findings if finding.is_wrong}
    assert wrong.keys() == expected.keys()
    assert all(name in wrong[key] for key, name in expected.items())


def test_absence_of_the_feature_is_a_warning(monkeypatch):
    site = parse_site(write_site(), "cut.toml")
    assert not [text for text in find_cautions(site) if "correct no prisms" in text]
    monkeypatch.setattr("monitor.sites.parsing.has_plugin", lambda name: name != "derived")
    assert [text for text in find_cautions(site) if "references of TS1 correct no prisms" in text]
