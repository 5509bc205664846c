"""Fusion rules in three-valued logic, independent witnesses, and levels that can still be raised."""

from dataclasses import replace
from itertools import product

import pytest

from monitor.decision.prepared_site import PreparedSite
from monitor.errors import ConfigError
from monitor.sites.fusion import Clause, can_become, evaluate_clause, find_supporting_leaves, format_clause, list_leaves
from monitor.sites.parsing import parse_site
from monitor.sites.witnesses import (
    INSAR,
    find_groups,
    is_met,
    list_top_witnesses,
    name_zone,
)
from tests.data import site_text
from tests.property.alerting_histories import SITE
from tests.tables import tabulated

VALUES = (True, False, None)
HEAD = site_text.head("bench", latitude=46.2, longitude=8.9, levels={"names": ["green", "yellow", "orange", "red"]})
SERIES = site_text.series("{quantity}", "{unit}")
VELOCITY = site_text.criterion(
    "velocity", id="v", stations=["G*"], yellow={"over": 6.0, "window": "1d"}, orange={"over": 24.0, "window": "12h"}
)
RAIN = site_text.criterion("rain_sum", id="rain", role="part", series="R1.rain", yellow={"over": 60.0, "window": "3d"})
WHEN = {"all": [{"criterion": "v", "level": "orange", "k": 2}, {"criterion": "rain"}]}
RULE = site_text.table("[[fusion.rule]]", id="wet", level="red", when=WHEN, author="test", reason="test")


def station(name, quantity="displacement", unit="mm", **more):
    marks = "".join(f'{k} = "{v}"\n' for k, v in more.items())
    return f'[[station]]\nid = "{name}"\n{marks}' + SERIES.format(quantity=quantity, unit=unit)


def site(*parts, stations=None):
    stations = stations or [station("G1", area="toe"), station("G2", area="head"), station("R1", "rain", "mm")]
    return parse_site(HEAD + "".join(stations) + "".join(parts or (VELOCITY, RAIN, RULE)), "bench.toml")


def leaf(name):
    return Clause("votes", criterion=name)


@pytest.mark.parametrize("op", ["all", "any", "at_least"])
def test_unknown_part_decides_only_if_it_cannot_change_the_result(op):
    for values in product(VALUES, repeat=3):
        clause = Clause(op, tuple(leaf(str(i)) for i in range(3)), k=2)
        found = evaluate_clause(clause, lambda c, v=values: v[int(c.criterion)])
        needed = {"all": 3, "any": 1, "at_least": 2}[op]
        # every way in which the unknown could come out
        ways = {sum(w) >= needed for w in product(*[(True, False) if v is None else (v,) for v in values])}
        assert found is (ways.pop() if len(ways) == 1 else None), (op, values)


def test_not_needs_a_known_vote_and_a_reachable_clause_needs_witnesses_that_can_vote():
    clause = Clause("all", (leaf("v"), Clause("not", (leaf("rain"),))))
    for rain, expected in ((True, False), (False, True), (None, None)):
        assert evaluate_clause(clause, lambda c, r=rain: True if c.criterion == "v" else r) is expected
    assert [c.criterion for c in find_supporting_leaves(clause, lambda c: c.criterion == "v")] == ["v"]
    assert format_clause(clause) == "(v and not rain)"
    clause = Clause("at_least", (leaf("a"), leaf("b"), Clause("not", (leaf("c"),))), k=2)
    for able in product((True, False), repeat=3):
        known = dict(zip("abc", able, strict=True))
        assert can_become(clause, lambda c, _w, k=known: k[c.criterion]) is (sum(able) >= 2)
    # to be known false, all but one must be known false
    assert can_become(Clause("any", (leaf("a"), leaf("b"))), lambda *_: True, value=False)
    assert not can_become(Clause("any", (leaf("a"), leaf("b"))), lambda c, _: c.criterion == "a", value=False)


@tabulated(
    ("when", "said"),
    [
        ("{all = []}", "expected a list of clauses"),
        ('{criterion = "w"}', "unknown criterion"),
        ('{criterion = "v", level = "red"}', "has no bound for 'red' or higher"),
        ('{criterion = "v", k = 3}', "whole number from 1 to 2"),
        ('{criterion = "v", k = true}', "whole number from 1 to 2"),
        ('{criterion = "v", area = "crown"}', "expected one of: head, toe"),
        ('{criterion = "v", stations = ["P*"]}', "matches no station"),
        ('{criterion = "v", colour = 1}', "colour"),
        ('{at_least = 3, of = [{criterion = "v"}]}', "whole number from 1 to 1"),
        ('{any = [{criterion = "v"}], all = [{criterion = "v"}]}', "exactly one of"),
        ('{criterion = "anomaly-advice"}', "is advice"),
        ("{not = 3}", "expected a table"),
    ],
)
def test_invalid_rule_is_refused_with_its_key(when, said):
    text = RULE.replace('{all = [{criterion = "v", level = "orange", k = 2}, {criterion = "rain"}]}', when)
    with pytest.raises(ConfigError, match=r"bench\.toml: fusion\.rule") as caught:
        site(VELOCITY, RAIN.replace('role = "part"\n', ""), text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_part_needs_a_rule_and_radar_zones_or_one_footprint_are_one_witness():
    with pytest.raises(ConfigError, match=r"'rain'.*no \[\[fusion\.rule\]\] contains it"):
        site(VELOCITY, RAIN)
    place = site(stations=[station("G1", footprint="px7"), station("G2", footprint="px7"), station("R1", "rain", "mm")])
    groups = find_groups(place)
    assert groups["G1"] == groups["G2"] != groups["R1"]
    assert groups[name_zone("G1", INSAR)] == groups[name_zone("R1", INSAR)] == INSAR
    assert list_top_witnesses(place) == []  # two of one footprint never are two witnesses


def test_areas_are_evaluated_separately():
    text = RULE.replace('{criterion = "v", level = "orange", k = 2}', '{criterion = "v", level = "orange", areas = 2}')
    place = site(VELOCITY, RAIN, text)
    prepared = PreparedSite(place)
    voting = prepared.voting_series
    assert prepared.compute_reachable_level(voting).level == 3
    assert prepared.compute_reachable_level(voting - {("G2", "displacement")}).level == 2


def test_leaf_with_areas_needs_its_witnesses_in_each_area():
    stations = [station(f"G{i}", area=area) for i, area in enumerate(("toe", "toe", "head", "head"))]
    place = site(VELOCITY, stations=[*stations, station("G9"), station("R1", "rain", "mm")])
    groups = find_groups(place)
    names = ("G0", "G1", "G2", "G3", "G9")

    def met(said, **asked):
        return is_met(place, Clause("votes", criterion="v", witnesses=names, **asked), said, groups)

    assert met(["G0", "G2"], areas=2)
    assert not met(["G0", "G1", "G9"], areas=2), "one area, and one station of none"
    assert not met(["G0", "G1", "G2"], areas=2, k=2)
    assert met(names, areas=2, k=2)
    assert met(["G0", "G9"], k=2)
    shared = {**groups, "G1": groups["G0"]}
    clause = Clause("votes", criterion="v", witnesses=names, areas=2, k=2)
    assert not is_met(place, clause, names, shared), "two that share an antenna are one"


def test_gauge_beside_the_slope_may_be_part_of_a_rule():
    gauge = station("R1", "rain", "mm").replace('id = "R1"\n', 'id = "R1"\non_slope = false\n')
    place = site(stations=[station("G1"), station("G2"), gauge])
    assert list(list_leaves(place.fusion.rules[0].when))[1].witnesses == ("R1",)
    prepared = PreparedSite(place)
    assert prepared.compute_reachable_level(prepared.voting_series).level == 3


def test_witnesses_are_independent_without_shared_equipment():
    apart = replace(SITE, stations=tuple(replace(s, reference=None, logger=None) for s in SITE.stations))
    assert find_groups(SITE) != find_groups(apart)
    assert find_groups(apart)["A"] == "A"
