"""Keys are text with parts. They are read back with their type, whatever the name of a criterion is."""

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest

from monitor.decision.decide import decide
from monitor.decision.keys import RuleKey, StepKey, StepVote, VoteKey, read_supporter
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory
from monitor.readings.records import Reading
from monitor.sites.parsing import parse_site
from tests.data.site_text import criterion, head, series, station

START = datetime(2026, 3, 1, tzinfo=UTC)
RULE, STEP = RuleKey("wet", VoteKey("v", "observers")), StepVote(StepKey("G1", START.timestamp()))
KEYS = (VoteKey("velocity-1", "G1"), VoteKey("i", "insar:G1"), RULE, STEP)


@pytest.mark.parametrize("key", KEYS)
def test_key_is_read_back_with_its_type_from_json_pickle_and_copy(key):
    for again in (read_supporter(json.loads(json.dumps(key))), pickle.loads(pickle.dumps(key)), copy.deepcopy(key)):
        assert again == key == str(key)
        assert type(again) is type(key)
        assert again.station == key.station
    assert {key: 1}[str(key)] == 1


@pytest.mark.parametrize("name", ["step", "rule", "level-1"])
def test_level_of_a_silent_criterion_named_step_or_rule_does_not_fall(name):
    """`step|P1` is the vote of a criterion called step. Read as a step that is gone, it would let the level fall."""
    pore = station("P1", series("pore_pressure", "kPa"))
    level = criterion("level", id=name, series="P1.pore_pressure", yellow={"over": 15.0})
    site = parse_site(head("bench") + pore + level, "bench.toml")
    times = [START + timedelta(hours=h) for h in range(12)]
    inputs = DecisionInputs({"P1.pore_pressure": tuple(Reading(at, at, 0, 20.0, 0.0, 20.0, None, ()) for at in times)})
    memory = decide(PreparedSite(site), Memory(), inputs, times[-1]).memory
    assert memory.level == 1
    memory = Memory.read(json.loads(json.dumps(memory.to_json())))
    late = decide(PreparedSite(site), memory, inputs, times[-1] + timedelta(days=6))
    assert late.level == 1, "no reading shows that the level is over"
    assert (late.observability, late.evidence["held_by"]) == ("blind", [f"{name}|P1"])
