"""Criteria of third-party plugins. Faults of a plugin do not prevent other criteria from raising a level."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import Field

from monitor import plugin_isolation, plugins
from monitor.alerts.evaluate import freeze_evidence, load_facts
from monitor.api.criteria import AroundTable, Assessment, Kind, KindEntry, no_window
from monitor.api.decision import DecisionContext, DecisionInputs
from monitor.api.hooks import hookimpl
from monitor.api.text import Figure, Template
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Memory
from monitor.errors import ConfigError
from monitor.sections import Section
from monitor.sites.criteria import registry
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.parsing import parse_site
from monitor.storage.engine import Database

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
SITE = """
[site]
id = "bench"
name = "Bench"
latitude = 46.0
longitude = 8.0
[[station]]
id = "S1"
series = [{quantity = "pore_pressure", unit = "kPa", interval = "1h"}]
[[criterion]]
kind = "rockfall_noise"
stations = ["S1"]
yellow = {events = 3}
orange = {events = 9}
"""
REASON = Template("criterion.rockfall_noise", "{events} rockfalls heard")


@dataclass(frozen=True)
class NoiseFact:
    """Number of rockfalls recorded at a station."""

    station: str
    at_s: float
    events: int


class EventsBound(Section):
    """Bound for the number of rockfalls."""

    events: float = Field(gt=0.0, serialization_alias="over", description="rockfalls")

    @property
    def over(self) -> float:
        return self.events


def count_rockfalls(criterion: Any, context: DecisionContext) -> list[Assessment]:
    """Compare the newest count of each station with the bounds."""
    assessments = []
    for fact in context.inputs.plugin_facts.get("noise", ()):
        level = max((bound.level for bound in criterion.thresholds if fact.events >= bound.over), default=0)
        reason = REASON(events=Figure(fact.events))
        assessments.append(
            Assessment(criterion.id, fact.station, level, level, True, True, newest_s=fact.at_s, reason=reason)
        )
    return assessments


ENTRY = KindEntry(
    Kind("rockfall_noise", source="observers", facts="noise", loosening="bounds"),
    AroundTable,
    EventsBound,
    count_rockfalls,
    example="\nyellow = {events = 3}\n",
    history_s=no_window,
    fact_type=NoiseFact,
)


@pytest.fixture
def add_criterion():
    """Return a function that registers a third-party plugin with a kind of criterion."""

    def remove() -> None:
        if plugins.manager().has_plugin("noise"):
            plugins.manager().unregister(name="noise")
        load_criteria.cache_clear()

    def add(entry: KindEntry, load: Any = lambda: [NoiseFact("S1", NOW.timestamp(), 9)]) -> None:
        module = ModuleType("noise")

        @hookimpl
        def register_criteria() -> list[KindEntry]:
            return [entry]

        @hookimpl
        def evaluation_facts(request: Any) -> dict[str, Any]:
            return {"noise": load()} if "noise" in request.kinds else {}

        module.__dict__.update(register_criteria=register_criteria, evaluation_facts=evaluation_facts)
        plugin: SimpleNamespace = plugin_isolation.isolate(plugins.manager(), "noise", module)
        remove()
        plugins.manager().register(plugin, "noise")

    yield add
    remove()
    for fault in plugin_isolation.list_faults():
        plugin_isolation.clear_fault(fault.plugin, fault.what)


def list_reasons() -> list[str]:
    return [fault.reason for fault in plugin_isolation.list_faults() if fault.plugin == "noise"]


def assess(database: Database, **changes: Any) -> Any:
    site = parse_site(SITE, "bench.toml")
    with database.read() as connection:
        inputs = DecisionInputs(**load_facts(connection, site, NOW))
    return site, replace(inputs, **changes)


def test_a_kind_of_a_plugin_raises_a_level_by_its_facts(database: Database, add_criterion: Any) -> None:
    add_criterion(ENTRY)
    site, inputs = assess(database)
    assert inputs.plugin_facts == {"noise": (NoiseFact("S1", NOW.timestamp(), 9),)}
    decision = decide(PreparedSite(site), Memory(), inputs, NOW)
    assert decision.level == 2
    assert "9 rockfalls heard" in [str(vote.reason) for vote in decision.memory.votes.values()]


def test_its_facts_are_frozen_and_read_back(database: Database, add_criterion: Any) -> None:
    add_criterion(ENTRY)
    _, inputs = assess(database)
    frozen = json.loads(json.dumps(inputs.to_json()))
    assert DecisionInputs.read(frozen) == inputs
    assert "plugin_facts" not in DecisionInputs().to_json()


def test_a_name_without_facts_is_frozen_because_a_missing_name_means_a_failure(add_criterion: Any) -> None:
    add_criterion(ENTRY)
    inputs = DecisionInputs(plugin_facts={"noise": ()})
    frozen = json.loads(json.dumps(inputs.to_json()))
    assert DecisionInputs.read(frozen) == inputs
    assert DecisionInputs.read(frozen) != DecisionInputs()


def test_evidence_names_the_version_of_the_plugin(database: Database, add_criterion: Any, monkeypatch: Any) -> None:
    add_criterion(ENTRY)
    monkeypatch.setattr(registry, "find_plugin_version", lambda name: {"noise": "1.2"}[name])
    site, inputs = assess(database)
    frozen = freeze_evidence(site, Memory(), inputs, decide(PreparedSite(site), Memory(), inputs, NOW), NOW)
    assert frozen["plugins"] == {"noise": "1.2"}
    site = replace(site, criteria=())
    assert "plugins" not in freeze_evidence(
        site, Memory(), inputs, decide(PreparedSite(site), Memory(), inputs, NOW), NOW
    )


def test_a_rule_that_fails_has_no_data_and_is_named(database: Database, add_criterion: Any) -> None:
    def fail(_criterion: Any, _context: Any) -> list[Assessment]:
        raise ZeroDivisionError("no events")

    add_criterion(replace(ENTRY, rule=fail))
    site, inputs = assess(database)
    decision = decide(PreparedSite(site), Memory(), inputs, NOW)
    assert decision.level == 0
    assert decision.observability != "full"
    assert (
        str(decision.memory.incomplete["rockfall_noise-1"])
        == "the rule of the plugin noise failed: see the log of the service"
    )
    assert list_reasons() == ["ZeroDivisionError: no events"]


def test_an_earlier_vote_survives_a_rule_that_fails(database: Database, add_criterion: Any) -> None:
    add_criterion(ENTRY)
    site, inputs = assess(database)
    before = decide(PreparedSite(site), Memory(), inputs, NOW).memory
    add_criterion(replace(ENTRY, rule=lambda _criterion, _context: [object()]))
    after = decide(PreparedSite(site), before, inputs, NOW)
    assert after.level == 2
    assert after.memory.votes == before.votes


def test_a_rule_may_not_assess_another_criterion(database: Database, add_criterion: Any) -> None:
    add_criterion(replace(ENTRY, rule=lambda _criterion, _context: [Assessment("velocity-1", "S1", 3, 3, True)]))
    site, inputs = assess(database)
    assert decide(PreparedSite(site), Memory(), inputs, NOW).level == 0
    assert "expected an Assessment of the criterion itself" in list_reasons()[0]


def test_facts_that_cannot_be_loaded_are_missing(database: Database, add_criterion: Any) -> None:
    add_criterion(ENTRY, load=lambda: 1 / 0)
    site, inputs = assess(database)
    assert inputs.plugin_facts == {}
    assert inputs.missing_facts == ("noise",)
    decision = decide(PreparedSite(site), Memory(), inputs, NOW)
    assert decision.level == 0
    reason = "the plugin noise could not load its data: see the log of the service"
    assert str(decision.memory.incomplete["rockfall_noise-1"]) == reason
    assert list_reasons() == ["ZeroDivisionError: division by zero"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": replace(ENTRY.kind, id="Rockfall Noise")}, "expected an id of lower-case letters"),
        ({"kind": replace(ENTRY.kind, id="velocity")}, "exists already"),
        ({"kind": replace(ENTRY.kind, loosening="unknown")}, "expected `loosening`"),
        ({"kind": replace(ENTRY.kind, drawn=("circle",))}, "drawn.0"),
        ({"kind": replace(ENTRY.kind, source="suggestion")}, "expected the role `advice`"),
        ({"fact_type": None}, "expected both or none of `facts` and `fact_type`"),
        ({"table": Section}, "expected a table that is derived from CriterionTable"),
        ({"example": ""}, "expected an example"),
    ],
)
def test_a_kind_that_is_declared_wrongly_is_left_out(add_criterion: Any, changes: Any, reason: str) -> None:
    built_in = list(load_criteria())
    add_criterion(replace(ENTRY, **changes))
    assert list(load_criteria()) == built_in
    assert [reason in text for text in list_reasons()] == [True], list_reasons()


@pytest.mark.parametrize(
    ("history_s", "reason"),
    [
        (lambda _criterion: -1.0, "expected seconds from history_s, got -1.0"),
        (lambda _criterion: float("inf"), "expected seconds from history_s, got inf"),
        (lambda _criterion: {}["window"], "KeyError: 'window'"),
    ],
)
def test_a_history_that_cannot_be_loaded_is_refused(add_criterion: Any, history_s: Any, reason: str) -> None:
    add_criterion(replace(ENTRY, history_s=history_s))
    with pytest.raises(ConfigError) as error:
        parse_site(SITE, "bench.toml")
    assert "criterion[0]: the plugin noise cannot read it: " in str(error.value)
    assert reason in str(error.value)


def test_a_wrong_key_of_its_bound_is_refused(add_criterion: Any) -> None:
    add_criterion(ENTRY)
    with pytest.raises(ConfigError, match="did you mean 'events'"):
        parse_site(SITE.replace("events = 9", "evnts = 9"), "bench.toml")
