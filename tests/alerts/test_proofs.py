"""Criteria on models count only with a valid proof of the site; frozen decisions are recomputed unchanged."""

from dataclasses import dataclass, replace

import pytest

from monitor.decision.criteria.kinds import forecast
from monitor.decision.criteria.proofs import WARN_S, check_forecasts, check_outlines
from monitor.decision.decide import decide
from monitor.decision.keys import VoteKey
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.proof import as_advice, describe_unproven, find_unproven
from monitor.decision.records import AnomalyFact, DecisionInputs, Memory, NewestEpoch, ProofFact
from monitor.models.queries.proofs import LASTS_S, digest_settings
from monitor.sites.parsing import parse_site
from monitor.sites.records import ForecastPlan
from monitor.sites.witnesses import list_criteria_needing_proof
from monitor.text.instants import from_epoch_s
from monitor.text.rendering import translate
from tests.data import site_text

DAY = 86400.0
NOW = 1_790_000_000.0
TEXT = site_text.head("slope", longitude=9.0, timezone="UTC", anomaly={"detectors": ["rules", "flatline"]})
TEXT += site_text.station("G1", site_text.series("displacement", "mm", "1d", max_silence="3d"))
SITE = parse_site(TEXT + site_text.criterion("anomaly", id="strange", role="witness", level="yellow"), "slope.toml")
GOOD = ProofFact("strange", "rules", NOW - DAY, NOW + LASTS_S, True, "", "w1", "s1", "w1", "s1")
WHY = "0.2 alarms per sensor-month on held-out time, more than the budget of 0.1"
BROKEN = {
    "no test of rules is stored for this site": ProofFact("strange", "rules"),
    "none of its detectors has a score that could be tested": ProofFact("strange", ""),
    f"was not passed: {WHY}": replace(GOOD, passed=False, why=WHY),
    "was made with other weights": replace(GOOD, weights_now="w2"),
    "was made with other settings": replace(GOOD, settings_now="s2"),
    "was valid until 2026-09-2": replace(GOOD, until_s=NOW - 1.0),
}


def see(fact, at_s=NOW):
    """A score beyond its threshold, and the test of what made it."""
    score = AnomalyFact("G1", "displacement", at_s - 3600.0, "rules", 2.0, 1.0, "step", model_hash="w1")
    newest = {"G1.displacement": NewestEpoch(at_s - 3600.0, at_s - 3600.0)}
    return DecisionInputs({}, newest, anomalies=(score,), proofs=() if fact is None else (fact,))


def look(fact, memory=None, at_s=NOW):
    return decide(PreparedSite(SITE), memory or Memory(), see(fact, at_s), from_epoch_s(at_s))


@pytest.mark.parametrize("why", BROKEN)
def test_score_without_a_proof_is_advice_and_the_reason_is_stated(why):
    decision = look(BROKEN[why])
    assert decision.level == 0
    assert not decision.memory.votes
    assert why in decision.evidence["unproven"]["strange"]
    condition = decision.memory.conditions["health:strange:unproven"]
    assert condition.level == 2
    assert why in condition.reason
    assert "slopeward anomalies bench --site slope" in condition.reason
    assert "advice:strange:G1" in decision.memory.conditions
    assert why in describe_unproven(SITE, [BROKEN[why]], NOW)[0]
    for language in ("it", "zh", "es"):
        assert translate(condition.reason, language) != condition.reason


def test_faults_of_checks_and_untested_detectors_do_not_vote():
    """`strange` is a witness by a test of `rules`: what else is stored for its station is not what was tested."""
    mine = see(GOOD).anomalies[0]
    others = {
        "a check": replace(mine, detector="flatline", score=1.0, kind="stuck"),
        "no detector of the plan": replace(mine, detector="robust-z"),
        "rules with other weights": replace(mine, model_hash="w0"),
    }
    for which, score in others.items():
        decision = decide(PreparedSite(SITE), Memory(), replace(see(GOOD), anomalies=(score,)), from_epoch_s(NOW))
        assert decision.level == 0, which
        assert not decision.memory.votes, which
    both = decide(
        PreparedSite(SITE), Memory(), replace(see(GOOD), anomalies=(others["a check"], mine)), from_epoch_s(NOW)
    )
    assert both.level == 1
    unproven = replace(see(ProofFact("strange", "")), anomalies=(others["a check"],))
    advice = decide(PreparedSite(SITE), Memory(), unproven, from_epoch_s(NOW))
    assert advice.level == 0
    assert "found a fault" in advice.memory.conditions["advice:strange:G1"].reason, "as advice it is still told"


@pytest.mark.parametrize("broken", ["was valid until 2026-09-2", "was made with other settings"])
def test_scores_of_a_detector_without_a_valid_test_do_not_vote_beside_another_detector(broken):
    other = replace(GOOD, name="robust-z")
    for fact, level in ((GOOD, 1), (BROKEN[broken], 0)):
        decision = decide(PreparedSite(SITE), Memory(), replace(see(None), proofs=(fact, other)), from_epoch_s(NOW))
        assert decision.level == level
        assert ("health:strange:unproven" in decision.memory.conditions) == (level == 0)


def test_decision_with_a_proof_is_recomputed_bit_for_bit():
    for fact in (GOOD, *BROKEN.values()):
        inputs = DecisionInputs.read(see(fact).to_json())
        assert inputs == see(fact)
        assert decide(PreparedSite(SITE), Memory(), inputs, from_epoch_s(NOW)).to_json() == look(fact).to_json()


def test_ending_proof_is_reported_before_and_lowers_no_level():
    soon = look(replace(GOOD, until_s=NOW + WARN_S - DAY))
    assert (soon.level, soon.memory.conditions["health:strange:proof_ends"].level) == (1, 1)
    assert translate(soon.memory.conditions["health:strange:proof_ends"].reason, "it")[:5] != "strang will"
    assert look(replace(GOOD, until_s=NOW + WARN_S + DAY)).next_due_s <= NOW + DAY
    # Missing evidence never lowers: the level that a model raised stands until people decide.
    first = look(GOOD)
    assert first.next_due_s is not None
    later = NOW + 2 * DAY
    stale = look(replace(GOOD, until_s=NOW + DAY), first.memory, later)
    assert (stale.level, stale.memory.unheard) == (1, {VoteKey("strange", "G1"): later})
    assert "health:strange:unproven" in stale.memory.conditions
    again = look(replace(GOOD, until_s=later + LASTS_S), stale.memory, later + DAY)
    assert again.memory.unheard == {}
    assert "health:strange:unproven" not in again.memory.conditions


def test_advice_stays_advice_and_a_proof_covers_only_its_settings():
    assert as_advice(SITE, ()) is SITE
    assert find_unproven((), NOW) == {}
    assert list_criteria_needing_proof(as_advice(SITE, ["strange"])) == []
    (criterion,) = list_criteria_needing_proof(SITE)
    same = digest_settings(replace(SITE, name="Other", recipients=()), criterion)
    assert same == digest_settings(SITE, criterion)
    dearer = replace(SITE, anomaly=replace(SITE.anomaly, budget_per_sensor_month=0.2))
    assert digest_settings(dearer, criterion) != digest_settings(SITE, criterion)
    farther = replace(SITE, forecast=replace(SITE.forecast, horizons_s=(DAY,)))
    assert digest_settings(farther, criterion) == digest_settings(SITE, criterion), "rules read no forecast"


def test_new_setting_at_its_default_keeps_the_proof_of_forecasts(monkeypatch):
    """An upgrade that knows more of forecasts than the version that made the test says nothing of this site."""
    criterion = replace(list_criteria_needing_proof(SITE)[0], kind=forecast.ENTRY.kind)
    before = digest_settings(SITE, criterion)

    @dataclass(frozen=True, slots=True)
    class Later(ForecastPlan):
        blend: str = "none"

    monkeypatch.setattr("monitor.models.queries.proofs.ForecastPlan", Later)
    assert digest_settings(replace(SITE, forecast=Later()), criterion) == before
    assert digest_settings(replace(SITE, forecast=Later(blend="all")), criterion) != before
    assert digest_settings(replace(SITE, forecast=Later(models=("gru",))), criterion) != before


def test_forecasts_pass_if_they_gain_lead_time_and_outlines_pass_if_people_accept_them():
    good = {7 * DAY: (30, 2.0, 3.0, 0.8)}
    assert check_forecasts(good, [DAY, 0.0]) == []
    assert check_forecasts(good, []) == ["no event is recorded that the forecasts could have announced"]
    assert "no earlier than by velocity alone" in check_forecasts(good, [0.0])[0]
    assert "the warning is 1d later than" in check_forecasts(good, [-2 * DAY, 0.0])[0]
    assert "at 3 issue times" in check_forecasts({DAY: (3, 1.0, 2.0, 0.9)}, [DAY])[0]
    assert len(check_forecasts({DAY: (40, 2.0, 2.0, 0.5)}, [DAY])) == 2
    assert check_outlines(40, 0.02, 12, 11) == []
    assert len(check_outlines(5, None, 0, 0)) == 3
    assert "F1 scores is -0.010" in check_outlines(40, -0.01, 12, 12)[0]
    assert "5 of 12 reviewed" in check_outlines(40, 0.1, 12, 5)[0]
