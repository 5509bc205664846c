"""The explanation of a decision: which votes counted, which were set aside, and by which rule."""

from monitor.alerts.audit.explain import explain, list_inputs
from monitor.decision.records import DecisionInputs

AT = "2026-03-01T06:00:00.000000Z"
VOTE = {"level": 2, "newest_s": 1772344800.0, "valid_until_s": 1772388000.0, "counted": False, "pended": None}


def word(key, level, reason, facts):
    criterion, station = key.split("|")
    said = {"criterion": criterion, "station": station, "heard": level > 0, "raise_level": level, "hold_level": level}
    return {**said, "reason": reason, "facts": facts}


EVIDENCE = {
    "level_before": 0,
    "asked": 2,
    "level": 1,
    "held_by": ["v|G9"],
    "common": {"B": "all move as one"},
    "words": [
        word("v|G1", 2, "fast", {"bounds": [{"level": 2, "bound": 24.0, "margin": -1.5, "hits": 1, "needs": 2}]}),
        word("r|R1", 1, "wet", {"levels": [{"level": 1, "ratio": 1.25}]}),
        word("v|G2", 0, "silent", {}),
    ],
    "votes": {
        "v|G1": {**VOTE, "counted": True},
        "v|G3": {**VOTE, "pended": "maintenance of G3"},
        "v|G4": VOTE,
        "v|G5": {**VOTE, "part": "counts only in fusion rules"},
        "v|G6": {**VOTE, "counted": True, "capped": "alone"},
        "v|G7": {**VOTE, "level": 0},
    },
    "steps": {"G1@1": {"level": 1, "state": "pending", "reason": "jump of 40 mm", "pended": "maintenance of G1"}},
    "rules": {"wet": {"level": 2, "holds": True, "behind": ["v|G1"], "sentence": "rule wet holds: (v and r)"}},
    "bounds": "bounds are lowered to 0.5",
}
FIRST = [AT, AT, 0, 5.0, 0.0, 5.0, None, [], None]
LAST = [AT, AT, 2, 9.0, 1.0, 8.0, 0.1, ["late"], None]
FROZEN = {
    "now": AT,
    "sentence": "yellow: G1",
    "view": {**DecisionInputs(draining=True).to_json(), "readings": {"G1.crack": [FIRST, LAST]}, "reports": [{}]},
    "outcome": {"evidence": EVIDENCE, "health": [{"station": "G2", "state": "silent", "reason": "no word"}]},
}


def test_explanation_lists_everything_that_the_decision_depended_on():
    text = "\n".join(explain(FROZEN))
    for line in (
        "level before 0, asked 2, after 1",
        "G1.crack: 2 readings of 2026-03-01T06:00Z to 2026-03-01T06:00Z, 5 to 8, the last received 2026-03-01T06:00Z",
        "; 1 revised; offsets 0, 1; 1 flagged late",
        "1 reports",
        "nothing could fall",
        "v G1: asks for level 2, holds 2; fast",
        "level 2: bound 24, margin -1.5, 1 reading beyond it, 2 needed",
        "level 1: 125% of its bound",
        "v G2: excluded, no data: silent",
        "vote v|G1: level 2, counted;",
        "vote v|G3: level 2, pended: maintenance of G3;",
        "vote v|G4: level 2, expired;",
        "vote v|G5: level 2, counts only in fusion rules;",
        "vote v|G6: level 2, counted, for less than it asks: alone;",
        "rule wet holds: (v and r); behind it: v|G1",
        "step G1@1: level 1, pending; jump of 40 mm; pended: maintenance of G1",
        "bounds are lowered to 0.5",
        "all move as one",
        "station G2 is silent: no word",
        "held by: v|G9",
    ):
        assert line in text, line
    assert "v|G7" not in text
    assert explain({"reason": "the disk is full"}) == ["decided: the disk is full"]
    assert list_inputs({"reason": "x"}) == ()
