"""Criteria whose facts come from a feature that is not installed: unknown, never calm."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor import plugins
from monitor.alerts import evaluate
from monitor.decision.criteria import assess
from monitor.decision.decide import decide
from monitor.decision.keys import VoteKey
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import FACTS, DecisionInputs, Memory, NewestEpoch, Vote
from monitor.decision.series.assessment import REPEATS
from monitor.readings.records import Reading
from monitor.sites.parsing import find_cautions, parse_site
from monitor.sites.witnesses import list_voting_witnesses
from tests.data.criteria import CRITERIA

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
HOURS = 72
# By kind: the facts of a feature that it reads, and the feature.
OF_FEATURES = {
    kind: (entry.kind.facts, entry.kind.feature) for kind, entry in CRITERIA.items() if entry.kind.feature is not None
}
SITE = """
[site]
id = "bench"
name = "Bench"
latitude = 46.0
longitude = 8.0
[forecast]
horizons = ["1d"]
[[station]]
id = "S1"
azimuth_deg = 90.0
series = [{quantity = "displacement", unit = "mm", interval = "1h"}]
[[criterion]]
kind = "velocity"
stations = ["S1"]
yellow = {over = 5.0, window = "1d"}
orange = {over = 10.0, window = "1d"}
red = {over = 20.0, window = "1d"}
"""


def read(kind=None):
    own = "" if kind is None else f'[[criterion]]\nkind = "{kind}"\nid = "it"\n{CRITERIA[kind].example}'
    return parse_site(SITE + own, "bench.toml")


def at_rest(**changes):
    """Return the inputs of a site of which every reading has arrived and nothing moves."""
    readings, newest = {}, {}
    for component in ("east", "north", "up"):
        rows = []
        for hour in range(HOURS + 1):
            at = NOW - timedelta(hours=HOURS - hour)
            value = 1.0 + 0.01 * (7 * hour % 5)
            rows.append(Reading(at, at, 0, value, 0.0, value, 0.1, ()))
        name = f"S1.displacement_{component}"
        readings[name] = tuple(rows)
        newest[name] = NewestEpoch.of(NOW, NOW)
    return replace(DecisionInputs(readings, newest), **changes)


def find_words(decision):
    return [word for word in decision.evidence["words"] if word["criterion"] == "it"]


def test_four_kinds_of_criteria_read_facts_of_features():
    assert dict(OF_FEATURES.values()) == {
        "failures": "movement",
        "forecasts": "forecasts",
        "footprints": "scenes",
        "anomalies": "anomalies",
    }


def test_each_fact_is_loaded_by_the_feature_that_its_kind_names(database):
    """A name that no hook returns counts as missing, so a feature must also return a name without facts."""
    site = read()
    criteria = tuple(criterion for kind in OF_FEATURES for criterion in read(kind).criteria if criterion.id == "it")
    site = replace(site, criteria=criteria)
    owners = {}
    with database.read() as connection:
        request = evaluate.FactRequest(NOW, NOW - timedelta(days=1), NOW, frozenset(FACTS))
        for implementation in plugins.implementations("evaluation_facts"):
            for name in implementation.call(connection=connection, site=site, request=request):
                owners[name] = implementation.plugin
    assert owners == {facts: feature for facts, feature in OF_FEATURES.values() if plugins.has_plugin(feature)}


@pytest.mark.parametrize("kind", OF_FEATURES)
def test_a_criterion_without_its_feature_is_unknown(kind):
    facts, feature = OF_FEATURES[kind]
    site = read(kind)
    with_feature = decide(PreparedSite(site), Memory(), at_rest(), NOW)
    without = decide(PreparedSite(site), Memory(), at_rest(missing_facts=(facts,)), NOW)
    assert with_feature.observability == "full"
    assert without.observability == "degraded"
    assert {name: str(reason) for name, reason in without.memory.incomplete.items()} == {
        "it": f"the feature {feature} is not installed"
    }
    assert find_words(without)
    for word in find_words(without):
        assert not word["heard"]
        assert not word["fresh"]
        assert str(word["reason"]) == f"the feature {feature} is not installed"
    assert without.level == with_feature.level == 0


@pytest.mark.parametrize("kind", OF_FEATURES)
def test_an_earlier_vote_of_a_criterion_without_its_feature_stays(kind):
    site = read(kind)
    criteria = tuple(replace(one, role="witness") if one.id == "it" else one for one in site.criteria)
    site = replace(site, criteria=criteria)
    key = VoteKey("it", list_voting_witnesses(site, site.criteria[1])[0].name)
    vote = Vote(1, NOW.timestamp() - 60.0, NOW.timestamp() + 86400.0, REPEATS())
    before = Memory(level=1, votes={key: vote}, supporters={key: 1})
    after = decide(PreparedSite(site), before, at_rest(missing_facts=OF_FEATURES[kind][:1]), NOW)
    assert after.level == 1
    assert after.memory.votes[key] == vote


@pytest.mark.parametrize("kind", OF_FEATURES)
def test_a_rule_that_is_called_without_its_facts_looks_calm(kind, monkeypatch):
    """The mutant: without the comparison in `assess_criterion` the site sees "full"."""
    site, facts = read(kind), OF_FEATURES[kind][0]
    monkeypatch.setattr(
        assess, "assess_criterion", lambda criterion, context: CRITERIA[criterion.kind.id].rule(criterion, context)
    )
    monkeypatch.setattr("monitor.decision.decide.assess_criterion", assess.assess_criterion)
    assert decide(PreparedSite(site), Memory(), at_rest(missing_facts=(facts,)), NOW).observability == "full"


@pytest.mark.parametrize("kind", OF_FEATURES)
def test_facts_of_an_absent_feature_are_missing_in_the_inputs(kind, database, monkeypatch):
    facts, feature = OF_FEATURES[kind]
    installed = plugins.implementations("evaluation_facts")
    monkeypatch.setattr(evaluate, "implementations", lambda _hook: [one for one in installed if one.plugin != feature])
    with database.read() as connection:
        assert facts in evaluate.load_facts(connection, read(kind), NOW)["missing_facts"]
        monkeypatch.setattr(evaluate, "implementations", lambda _hook: installed)
        is_missing = facts in evaluate.load_facts(connection, read(kind), NOW)["missing_facts"]
        assert is_missing != plugins.has_plugin(feature)


def test_advice_that_the_site_file_does_not_contain_is_not_expected():
    site = read()
    implied = {criterion.kind.facts for criterion in site.criteria if criterion.is_implied}
    assert implied == {"footprints", "anomalies"}
    decision = decide(PreparedSite(site), Memory(), at_rest(missing_facts=tuple(sorted(implied))), NOW)
    assert decision.observability == "full"
    words = [word for word in decision.evidence["words"] if word["criterion"].endswith("-advice")]
    assert words
    assert not any(word["heard"] for word in words)


def test_missing_facts_are_stored_with_the_inputs_and_read_back():
    inputs = at_rest(missing_facts=("failures", "forecasts"))
    stored = json.loads(json.dumps(inputs.to_json()))
    assert DecisionInputs.read(stored) == inputs
    assert "missing_facts" not in at_rest().to_json()
    assert {field.name for field in fields(DecisionInputs)} >= set(FACTS)


@pytest.mark.parametrize("kind", OF_FEATURES)
def test_check_names_the_missing_feature_and_its_criteria(kind, monkeypatch):
    feature = OF_FEATURES[kind][1]
    site = read(kind)
    monkeypatch.setattr("monitor.sites.parsing.has_plugin", lambda _name: True)
    assert not [line for line in find_cautions(site) if "is not installed" in line]
    monkeypatch.setattr("monitor.sites.parsing.has_plugin", lambda name: name != feature)
    (line,) = [line for line in find_cautions(site) if "is not installed" in line]
    assert line == (
        f"the feature {feature!r} is not installed, so these criteria have no result and the site does not see "
        '"full": it; install all of Slopeward, or delete them'
    )
