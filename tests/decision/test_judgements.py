"""Which series of a site are judged, up to which level, and what a site can reach because of them."""

from dataclasses import replace

import pytest

from monitor.app.checks.site_files import SiteFolder
from monitor.app.checks.table import run_checks
from monitor.decision.decide import decide
from monitor.decision.incomplete_series import IncompleteSeries, _list_without_result
from monitor.decision.judgements import (
    can_change_level,
    describe_limited,
    describe_limits,
    describe_reach,
    is_judged,
)
from monitor.decision.keys import VoteKey
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.assessment import Assessment
from monitor.readings.records import Reading
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site
from monitor.storage.check import WARN
from monitor.text.instants import from_epoch_s
from tests.data.site_text import FOUR, criterion, head, series, station, table

T0, HOUR = 1.8e9, 3600.0
FOR_GNSS = criterion(
    "velocity",
    id="v",
    stations=["G*"],
    yellow={"over": 2.0, "window": "12h"},
    red={"over": 100.0, "window": "6h"},
)
FOR_TILT = criterion("rate", id="t", series="K1.tilt_x", yellow={"over": 1.0, "window": "12h"})
TILT = series("tilt_x", "mrad", noise_floor=0.01)


def make_site(*parts: str) -> Site:
    gnss = series("displacement", "mm", max_silence="12h", noise_floor_mm=0.2)
    rovers = [station(name, gnss, azimuth_deg=90.0, plunge_deg=0.0) for name in ("G1", "G2")]
    return parse_site("".join((head("bench", levels=FOUR), *rovers, *parts, FOR_GNSS)), "bench.toml")


def look(site: Site) -> Decision:
    """Decide on readings of all series at rest, each at its declared interval for twenty hours."""
    memory, decision = Memory(), None
    readings: dict[str, tuple[Reading, ...]] = {}
    newest: dict[str, NewestEpoch] = {}
    for i in range(20):
        at_s = T0 + i * HOUR
        value = 0.1 * (i * 7 % 5)
        for spec in (one for s in site.stations for one in s.series if i * HOUR % one.interval_s == 0.0):
            name = f"{spec.station}.{spec.quantity}{'_downslope' if spec.quantity == 'displacement' else ''}"
            reading = Reading(from_epoch_s(at_s), from_epoch_s(at_s), 0, value, 0.0, value, None, ())
            readings[name] = (*readings.get(name, ()), reading)
            newest[name] = NewestEpoch(at_s, at_s)
        decision = decide(PreparedSite(site), memory, DecisionInputs(dict(readings), dict(newest)), from_epoch_s(at_s))
        memory = decision.memory
    assert decision is not None
    return decision


def highest(site: Site) -> dict[str, int]:
    return {one.name: one.highest_level for one in PreparedSite(site).judgements}


def warnings(site: Site, check: str) -> list[str]:
    files = SiteFolder(ServiceConfig(), [site], {})
    return [one.text for one in run_checks(files) if one.check.id == check and one.level == WARN]


def test_a_site_whose_moving_series_all_reach_the_top_reaches_it():
    site = make_site()
    decision = look(site)
    assert (decision.observability, decision.reachable_level) == ("full", 3)
    assert (
        PreparedSite(site).unjudged_series,
        describe_limited(PreparedSite(site)),
        describe_reach(PreparedSite(site)),
    ) == ([], [], None)


def test_an_unjudged_moving_series_takes_full_sight_and_reach_away_and_is_named():
    site = make_site(station("K1", TILT))
    decision = look(site)
    assert (decision.observability, decision.reachable_level) == ("degraded", 0)
    assert decision.memory.incomplete == {"K1.tilt_x": "no criterion with a vote judges it"}
    assert "health:site:reachable" not in decision.memory.conditions, "votes can raise red all the same"
    assert PreparedSite(site).unjudged_series == ["K1.tilt_x"]
    assert describe_reach(PreparedSite(site)) == "motion at K1.tilt_x raises no level"
    assert len(warnings(site, "sites.unjudged")) == 1


def test_a_series_judged_below_the_top_limits_the_reach_and_is_named():
    site = make_site(station("K1", TILT), FOR_TILT)
    decision = look(site)
    assert (decision.observability, decision.reachable_level) == ("full", 1)
    assert describe_limited(PreparedSite(site)) == ["motion at K1.tilt_x raises at most yellow"]
    (said,) = warnings(site, "sites.limited")
    assert "motion at K1.tilt_x raises at most yellow" in said


def test_a_series_whose_criterion_can_reach_no_level_counts_as_unjudged():
    site = make_site(station("K1", series("tilt_x", "mrad", "8h", max_silence="2d", noise_floor=0.01)), FOR_TILT)
    assert highest(site)["K1.tilt_x"] == 0
    decision = look(site)
    assert (decision.observability, decision.reachable_level) == ("degraded", 0)
    (reason,) = decision.memory.incomplete.values()
    assert "the window of 12h contains 2 readings, and 4 are needed" in reason


@pytest.mark.parametrize(
    "extra",
    [
        (station("C1", series("displacement", "mm"), on_slope=False),),
        (station("R1", series("rain", "mm")),),
        (station("P1", series("pore_pressure", "kPa")),),
    ],
)
def test_stable_ground_and_what_shows_no_motion_limit_nothing(extra):
    decision = look(make_site(*extra))
    assert (decision.observability, decision.reachable_level) == ("full", 3)


def test_a_reference_is_not_judged_on_purpose_and_its_rovers_are_judged_without_its_motion():
    gnss = series("displacement", "mm", noise_floor_mm=1.0)
    site = make_site(station("REF1", gnss), table("[[relative]]", to="REF1", stations=["G*"]))
    by_name = {one.name: one for one in PreparedSite(site).judgements}
    assert by_name["REF1.displacement"].is_exempt
    assert by_name["G1.displacement"].read_by == ("G1-rel.displacement",)
    assert by_name["G1.displacement"].highest_level == by_name["G1-rel.displacement"].highest_level == 3
    assert PreparedSite(site).unjudged_series == []


def test_a_part_counts_for_the_level_of_its_rule():
    part = criterion("rate", id="t", role="part", series="K1.tilt_x", yellow={"over": 1.0, "window": "1d"})
    rule = table(
        "[[fusion.rule]]",
        id="both",
        level="orange",
        when={"all": [{"criterion": "t"}, {"criterion": "v"}]},
        author="t",
        reason="t",
    )
    denied = rule.replace('{criterion = "t"}', '{not = {criterion = "t"}}')
    assert denied != rule
    assert highest(make_site(station("K1", TILT), part, rule))["K1.tilt_x"] == 2
    assert highest(make_site(station("K1", TILT), part, denied))["K1.tilt_x"] == 0


def test_advice_and_zones_of_velocity_maps_without_criterion_judge_nothing():
    advice = FOR_TILT.replace('kind = "rate"', 'kind = "rate"\nrole = "advice"')
    assert PreparedSite(make_site(station("K1", TILT), advice)).unjudged_series == ["K1.tilt_x"]
    zone = series("velocity_p95", "mm/day", "12d", max_silence="60d")
    assert PreparedSite(make_site(station("Z1", zone))).unjudged_series == ["Z1.velocity_p95"]


def test_a_limit_is_stated_with_its_time():
    site = make_site()
    by_name = {one.name: one for one in PreparedSite(site).judgements}
    yellow, red = by_name["G1.displacement"].criteria[0].limits
    assert (yellow.missed, yellow.unit, yellow.decides_within_s) == (2.0, "mm/day", 12 * HOUR)
    assert (red.missed, red.decides_within_s) == (100.0, 6 * HOUR)
    (sentence,) = describe_limits(site, PreparedSite(site).judgements)
    assert sentence == (
        "G1.displacement, G2.displacement: by the most sensitive criterion in each direction yellow above 2 "
        "mm/day (within 12 h), red above 100 mm/day (within 6 h); criteria that can raise a level: v, and a jump that "
        "nobody explains"
    )


def test_a_relative_bound_promises_no_limit():
    """A rate that is compared with earlier years has no smallest rate above which it raises a level."""
    site = make_site()
    criteria = tuple(
        replace(one, kind=replace(one.kind, relative=True)) if one.id == "v" else one for one in site.criteria
    )
    site = replace(site, criteria=criteria)
    (judgement, *_) = PreparedSite(site).judgements
    assert judgement.is_judged
    assert [limit.missed for limit in judgement.criteria[0].limits] == [None, None]
    assert PreparedSite(site).barriers == {}
    (sentence,) = describe_limits(site, PreparedSite(site).judgements)
    assert sentence == (
        "v can raise a level by G1.displacement, G2.displacement; the bounds are relative, so the slowest "
        "detected motion is unknown"
    )


def test_readings_that_can_change_a_level():
    site = make_site(station("C1", series("temperature", "degC"), on_slope=False), station("R1", series("rain", "mm")))
    asked = [("G1", "displacement_east"), ("K9", "tilt"), ("C1", "temperature"), ("R1", "rain"), ("X", "rain")]
    assert [can_change_level(PreparedSite(site), *place) for place in asked] == [True, True, True, False, False]
    assert [is_judged(PreparedSite(site), *place) for place in asked] == [True, False, True, False, False]


def test_a_series_without_the_result_of_any_criterion_is_incomplete():
    """A site does not see "full" while its only criterion on a series has no data, whatever the coverage is."""
    place, other = ("K1", "tilt_x"), ("K2", "tilt_x")
    first, second = VoteKey("rate-1", "K1"), VoteKey("velocity-1", "K1")
    series_of = {first: [place], second: [place], VoteKey("rate-1", "K2"): [other]}
    without = [
        Assessment("rate-1", "K1", reason="too few readings"),
        Assessment("velocity-1", "K1", reason="no rate"),
        Assessment("rate-1", "K2", 0, 0, has_data=True),
    ]
    assert list(_list_without_result(without, series_of)) == [(place, IncompleteSeries("too few readings"))]
    with_one = [without[0], Assessment("velocity-1", "K1", 0, 0, has_data=True), without[2]]
    assert list(_list_without_result(with_one, series_of)) == []
