"""Profiles of which the answer is known: the depth of slip, and that noise, bias and spiral are taken for none."""

import math
import random
from dataclasses import replace

import pytest

from monitor.features.profiles.declare import Profile
from monitor.features.profiles.reduction import (
    DAY_S,
    Slip,
    accumulate,
    find_slip,
    list_parts,
    read_survey,
    subtract_zero,
)
from tests.tables import tabulated

WEEK_S = 7 * DAY_S


def draw(rng, *, slip_mm, count=60, length=0.5, noise_mm=0.1, bias_mm=0.05, place=None, weeks=4, more=(), creep_mm=0.0):
    """Weekly surveys of a casing that leans and spirals, by a probe whose bias shifts at each of them.

    Returns the profile, the place of the slip, and time and faces of each survey; `slip_mm` come each week. `more`:
    shares of it that neighbours take, by how many places above; `creep_mm`: of the top step, 0 at the bottom.
    """
    depths = tuple(length * (i + 1) for i in range(count))
    twist = ((0.0, 0.0), (depths[-1], rng.uniform(-60.0, 60.0)))
    kept = (depths[-12], depths[-1])
    profile = Profile(
        "I1", "probe", depths, (length,) * count, "mm", 2, stable_m=kept, twist_deg=twist, window_s=3.5 * WEEK_S
    )
    place = rng.randrange(3, count - 14) if place is None else place
    azimuth = rng.uniform(0.0, math.tau)
    lean = [(rng.gauss(0.0, 5.0), rng.gauss(0.0, 5.0)) for _ in depths]
    surveys = []
    for week in range(weeks):
        faces = {name: [] for name in profile.faces}
        for axis, turned in (("a", 0.0), ("b", math.pi / 2.0)):
            shift, bias = rng.gauss(0.0, bias_mm), rng.gauss(0.0, 1.0)
            for i, depth in enumerate(depths):
                groove = math.radians(twist[1][1] * depth / depths[-1]) + turned
                share = (i == place) + dict(more).get(place - i, 0.0)
                moved = week * math.cos(azimuth - groove) * (slip_mm * share + creep_mm * (1.0 - i / count))
                tilt = lean[i][axis == "b"] + moved + shift
                faces[f"{axis}0"].append(bias + tilt + rng.gauss(0.0, noise_mm))
                faces[f"{axis}180"].append(bias - tilt + rng.gauss(0.0, noise_mm))
        surveys.append((week * WEEK_S, faces))
    return profile, place, surveys


def read_faces(profile, at_s, faces):
    each = ((profile.name_quantity(face, i), mm) for face, column in faces.items() for i, mm in enumerate(column))
    return read_survey(profile, at_s, {name: math.nan if mm is None else mm for name, mm in each})


def reduce(profile: Profile, surveys) -> list:
    read = [read_faces(profile, *one) for one in surveys]
    return [subtract_zero(profile, one, read[0]) for one in read]


@pytest.mark.soak
def test_slip_is_found_within_one_interval_of_where_it_was_drawn():
    """Bias, spiral and noise of a hand-held probe; 1 to 6 mm a week."""
    rng, hits, sizes = random.Random(7), 0, []
    for _ in range(200):
        slip_mm = rng.uniform(1.0, 6.0)
        profile, place, surveys = draw(rng, slip_mm=slip_mm)
        found = find_slip(profile, reduce(profile, surveys))
        middle = sum(profile.bounds_m(place)) / 2.0
        hits += found.depth_m is not None and abs(found.depth_m - middle) <= 0.5
        if found.depth_m is not None:
            assert found.low_m <= found.depth_m <= found.high_m
            sizes.append(abs(found.displacement_mm - 3.0 * slip_mm))
    assert hits >= 190
    assert sum(sizes) / len(sizes) < 0.15


@pytest.mark.soak
@tabulated(
    "terms",
    [
        {"more": [(15, 0.5)]},  # a second surface
        {"more": [(2, 0.9)]},  # close to the first
        {"more": [(1, 0.6), (-1, 0.6)]},  # a zone
        {"place": 59},  # at the deepest step, of what was declared stable
        {"place": 0},
        {"weeks": 2},
        {"count": 30, "length": 1.0},
        {"noise_mm": 0.2},
        {"bias_mm": 0.5},
        {"creep_mm": 0.5},
        {"count": 18, "noise_mm": 0.05},
        {"digit_mm": 0.1},
        {"digit_mm": 0.1, "count": 120},
    ],
)
def test_slip_is_found_beside_what_else_a_casing_does(terms):
    rng, hits, digit_mm = random.Random(13), 0, terms.pop("digit_mm", 1e-4)
    for _ in range(20):
        given = {"place": rng.randrange(3, terms.get("count", 60) - 14)} if terms.get("more") is None else {"place": 30}
        profile, place, surveys = draw(rng, slip_mm=rng.uniform(1.0, 6.0), **given | terms)
        found = find_slip(profile, reduce(profile, write_digits(surveys, digit_mm)))
        middle = sum(profile.bounds_m(place)) / 2.0
        hits += found.depth_m is not None and abs(found.depth_m - middle) <= profile.lengths_m[0]
    assert hits >= 19


def test_creep_over_the_whole_depth_is_no_slip():
    rng = random.Random(14)
    drawn = (draw(rng, slip_mm=0.0, creep_mm=1.0) for _ in range(60))
    assert sum(find_slip(p, reduce(p, s)).depth_m is not None for p, _, s in drawn) <= 3


def write_digits(surveys, digit_mm):
    return [
        (at, {face: [round(mm / digit_mm) * digit_mm for mm in column] for face, column in faces.items()})
        for at, faces in surveys
    ]


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("count", [20, 60, 120])
@pytest.mark.parametrize("digit_mm", [0.01, 0.02, 0.1])
def test_a_profile_at_rest_shows_no_slip(count, digit_mm):
    """Whether the last digit hides the noise or not, two surveys or four, along one axis or two."""
    rng, found = random.Random(8), []
    for number in range(40):
        terms = {"noise_mm": (0.0, 0.03, 0.1)[number % 3], "weeks": 2 + number % 2 * 2, "count": count}
        profile, _, surveys = draw(rng, slip_mm=0.0, **terms)
        profile = replace(profile, twist_deg=()) if number % 5 else profile
        found.append(find_slip(profile, reduce(profile, write_digits(surveys, digit_mm))))
    assert sum(one.depth_m is not None for one in found) <= 2
    assert all(one.rate_mm_per_day == 0.0 and one.sigma_mm_per_day > 0.0 for one in found if one.depth_m is None)
    assert "is within the noise" in next(one.reason for one in found if one.depth_m is None)


def test_slip_of_a_published_profile_lies_where_its_report_has_it():
    """Borehole BH0535, A axis (Geotech, in Colorado DRMS document 897126, page 38): 0.3 inch between 67 and 69 ft.

    The report gives text and a figure; readings are drawn after it, with the random error of a two-foot probe of 0.007
    inch (Slope Indicator, Inclinometer accuracy).
    """
    rng, inch, foot = random.Random(9), 25.4, 0.3048
    depths = tuple((2.0 * i - 1.0) * foot for i in range(1, 39))
    profile = Profile("BH0535", "probe", depths, (2.0 * foot,) * 38, "mm", window_s=1e9)
    surveys = []
    for year in range(4):
        step = [0.1 * year * inch if d < 68.0 * foot < d + 2.0 * foot else 0.0 for d in depths]
        faces = {
            name: [way * x + rng.gauss(0.0, 0.007 * inch) for x in step] for name, way in (("a0", 1), ("a180", -1))
        }
        surveys.append((year * 365 * DAY_S, faces))
    found = find_slip(profile, reduce(profile, surveys))
    assert found.low_m <= 68.0 * foot <= found.high_m
    assert 66.0 * foot <= found.low_m
    assert found.high_m <= 71.0 * foot
    assert found.displacement_mm == pytest.approx(0.3 * inch, abs=0.02 * inch * math.sqrt(2))


def test_what_bias_and_spiral_add_is_taken_off():
    profile, place, surveys = draw(random.Random(10), slip_mm=10.0, noise_mm=0.0, bias_mm=0.3, place=20)
    newest = reduce(profile, surveys)[-1]
    top = [accumulate(profile, column)[0] for column in newest.steps]
    assert math.hypot(*top) == pytest.approx(30.0)
    assert all(abs(one) < 1e-9 for column in newest.steps for i, one in enumerate(column) if i != place)
    assert newest.checksums[0][0] == pytest.approx(newest.checksums[0][-1])  # the bias alone


def test_a_missing_depth_breaks_the_sum_and_not_the_slip():
    profile, _, surveys = draw(random.Random(11), slip_mm=5.0, place=20)
    for _, faces in surveys:
        faces["a0"][30] = None
    newest = reduce(profile, surveys)
    assert math.isnan(accumulate(profile, newest[-1].steps[0])[30])
    assert not math.isnan(accumulate(profile, newest[-1].steps[0])[31])
    assert find_slip(profile, newest).depth_m == pytest.approx(10.75)


def without(surveys, face, places, *, first=0):
    """The surveys from `first` on without readings at some depths."""
    return [
        (
            at,
            {name: [None if name == face and i in places else v for i, v in enumerate(c)] for name, c in faces.items()},
        )
        if week >= first
        else (at, faces)
        for week, (at, faces) in enumerate(surveys)
    ]


@pytest.mark.parametrize("first", [0, 1, 3])
def test_slip_rate_is_unknown_while_the_slipping_depth_is_missing(first):
    profile, _, surveys = draw(random.Random(11), slip_mm=5.0, place=20)
    slip = find_slip(profile, reduce(profile, without(surveys, "b180", {20}, first=first)))
    assert slip.rate_mm_per_day is None
    assert slip.known_rate_mm_per_day is not None
    assert str(slip.reason).startswith("no usable reading of 1 of 60 depths (10.5 m): slip there is unknown")


@pytest.mark.parametrize("places", [{3}, {3, 4, 5, 40}, set(range(25, 50))])
@pytest.mark.parametrize("first", [0, 3])
def test_profile_with_missing_depths_is_not_at_rest(places, first):
    profile, _, surveys = draw(random.Random(13), slip_mm=0.0)
    slip = find_slip(profile, reduce(profile, without(surveys, "a0", places, first=first)))
    assert slip.rate_mm_per_day is None
    assert f"of {len(places)} of 60 depths" in str(slip.reason)


def test_slip_beside_a_missing_depth_is_found_and_said_to_be_a_part():
    profile, _, surveys = draw(random.Random(11), slip_mm=5.0, place=20)
    slip = find_slip(profile, reduce(profile, without(surveys, "a0", {30})))
    assert slip.rate_mm_per_day == pytest.approx(5.0 / 7.0, abs=0.1)
    assert "of 1 of 60 depths (15.5 m)" in str(slip.reason)


def test_every_depth_but_a_few_missing_is_unknown():
    profile, _, surveys = draw(random.Random(14), slip_mm=0.0, count=20)
    [*_, rate] = list_parts(
        profile, reduce(profile, without(surveys, "a0", set(range(14)))), reduce(profile, surveys)[0]
    )
    assert (rate.quantity, rate.flags) == ("slip_rate", ("incomplete",))


def test_fixed_anchor_of_an_extensometer_is_no_missing_depth():
    depths = tuple(float(i + 1) for i in range(12))
    profile = Profile("E1", "extensometer", depths, (1.0,) * 12, "mm", window_s=3.5 * WEEK_S)
    rng = random.Random(15)
    surveys = [(week * WEEK_S, {"anchor": [rng.gauss(0.0, 0.02) for _ in depths]}) for week in range(4)]
    assert find_slip(profile, reduce(profile, surveys)).rate_mm_per_day == 0.0
    assert find_slip(profile, reduce(profile, without(surveys, "anchor", {4}))).rate_mm_per_day is None


def test_a_face_that_was_read_wrong_is_no_slip():
    profile, _, surveys = draw(random.Random(12), slip_mm=0.0)
    surveys[-1][1]["a0"][5] += 8.0
    found = find_slip(profile, reduce(profile, surveys))
    assert found == Slip(None, None, None, None, None, None, found.reason)
    assert found.reason == "the checksum at 3.25 m changed by 7.8 mm: read this depth again"


def test_one_depth_alone_that_moves_on_is_no_last_digit():
    """Whoever tries clean numbers, and instruments whose other depths repeat their last digit."""
    profile, place, surveys = draw(
        random.Random(13), slip_mm=0.0, noise_mm=0.0, bias_mm=0.0, count=20, weeks=5, place=6
    )
    profile = replace(profile, stable_m=None, twist_deg=())
    for moves, depth_m in (((0, 3, 6, 9, 12), 3.75), ((0, 0, 3, 0, 0), None), ((0, 0, 0, 0, 3), None)):
        moved = [(at, {face: [*column] for face, column in surveys[0][1].items()}) for at, _ in surveys]
        for (_, faces), mm in zip(moved, moves, strict=True):
            faces["a0"][place] += mm
            faces["a180"][place] -= mm
        assert find_slip(profile, reduce(profile, moved)).depth_m == depth_m


def test_units_and_the_fixed_end():
    five, at = (1.0, 2.0, 3.0, 4.0, 5.0), 0.0
    anchors = Profile("E1", "extensometer", five, (1.0,) * 5, "cm")
    steps = read_faces(anchors, at, {"anchor": [1.0, 1.0, 0.8, 0.1, 0.1]}).steps[0]
    assert accumulate(anchors, steps) == pytest.approx([9.0, 9.0, 7.0, 0.0, 0.0])
    hung = Profile("A1", "shape_array", five, (1.0,) * 5, "deg", fixed="top")
    steps = read_faces(hung, at, {"a": [0.0, 30.0, 0.0, 0.0, -30.0]}).steps[0]
    assert (accumulate(hung, steps), hung.bounds_m(1)) == (pytest.approx([0.0, 500.0, 500.0, 500.0, 0.0]), (1.0, 2.0))
    digits = Profile("I1", "probe", five, (0.5,) * 5, "digit", constant=20000.0)
    read = read_faces(digits, at, {"a0": [410.0] * 5, "a180": [-390.0] * 5})
    assert (read.steps[0][0], read.checksums[0][0]) == (pytest.approx(10.0), pytest.approx(0.5))
    fibre = Profile("F1", "strain", five, (1.0,) * 5, "microstrain")
    assert read_faces(fibre, at, {"fibre": [100.0] * 5}).steps[0] == pytest.approx([0.1] * 5)
