"""The explanation of an alert: its reason, which votes counted, who was notified, and who acknowledged it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitor.alerts.audit.explain import (
    DecisionNames,
    describe_alert,
    describe_decision,
    describe_inputs,
    explain,
    list_inputs,
)
from monitor.alerts.audit.queries import SentMessage
from monitor.alerts.queries.alerts import Alert, AlertEvent
from monitor.decision.alert_texts import OF_LEVEL
from monitor.decision.records import DecisionInputs
from monitor.text.message import Term

AT = "2026-03-01T06:00:00.000000Z"
VOTE = {"level": 2, "newest_s": 1772344800.0, "valid_until_s": 1772388000.0, "counted": False, "pended": None}


def assessment(key, level, reason, facts):
    criterion, station = key.split("|")
    return {
        "criterion": criterion,
        "station": station,
        "heard": level > 0,
        "raise_level": level,
        "hold_level": level,
        "reason": reason,
        "facts": facts,
    }


EVIDENCE = {
    "level_before": 0,
    "asked": 2,
    "level": 1,
    "held_by": ["v|G9"],
    "common": {"B": "all move as one"},
    "words": [
        assessment("v|G1", 2, "fast", {"bounds": [{"level": 2, "bound": 24.0, "margin": -1.5, "hits": 1, "needs": 2}]}),
        assessment("r|R1", 1, "wet", {"levels": [{"level": 1, "ratio": 1.25}]}),
        assessment("v|G2", 0, "silent", {}),
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


NAMES = DecisionNames(("green", "yellow", "orange"), {"v": "mm/day"})
RAISED = datetime(2026, 3, 1, 6, tzinfo=UTC)
ALERT = Alert(
    id=7,
    site="bench",
    ledger="hazard",
    key="hazard",
    level=1,
    peak_level=1,
    state="acknowledged",
    exercise=False,
    raised_at=RAISED,
    data_time=RAISED,
    reason=OF_LEVEL(level=Term("yellow"), text="G1 moves"),
    decision_id=3,
    rule_version="1.0",
    acknowledged_at=RAISED + timedelta(minutes=4),
    acknowledged_by="ada",
    closed_at=None,
)
RAISE = AlertEvent(
    id=1,
    alert_id=7,
    sequence=1,
    at=RAISED,
    data_time=RAISED,
    from_state=None,
    to_state="unacknowledged",
    from_level=None,
    to_level=1,
    actor="core",
    actor_kind="service",
    reason=ALERT.reason,
    decision_id=3,
)
ACKNOWLEDGEMENT = replace(
    RAISE,
    id=2,
    sequence=2,
    at=ALERT.acknowledged_at,
    from_state="unacknowledged",
    to_state="acknowledged",
    actor="ada",
    actor_kind="person",
    reason="on the way",
)


def message(state, **values):
    empty = {"sent_at": None, "confirmed_at": None, "confirmed_by": None, "last_error": None}
    return SentMessage("ada", "email:ada@example.org", "yellow", state, RAISED, **(empty | values))


def test_decision_lists_votes_that_counted_and_votes_that_were_set_aside():
    lines = describe_decision(FROZEN, NAMES)
    text = "\n".join(lines)
    for line in (
        "Decided 2026-03-01T06:00Z: the level rises from green to yellow; the votes that count request orange",
        "orange: G1 (v): fast; reading of ",
        "orange: G3 (v); set aside: maintenance of G3; ",
        "orange: G4 (v); set aside: it has expired; ",
        "orange: G5 (v); set aside: counts only in fusion rules; ",
        "orange: G6 (v); counts for less than it requests: alone; ",
        "rule wet holds: (v and r); supported by G1 (v)",
        "Jump at G1, pending: jump of 40 mm; yellow; set aside: maintenance of G1",
        "bounds are lowered to 0.5",
        "all move as one",
        "Keeps the level from falling: G9 (v)",
    ):
        assert line in text, line
    assert lines.index("Counted:") < lines.index("Set aside:")
    assert "G7 (v)" not in text, "a vote that requests no level is not listed"


def test_inputs_list_readings_and_the_distance_from_each_bound():
    text = "\n".join(describe_inputs(FROZEN, NAMES))
    for line in (
        "G1.crack: 2 readings from 2026-03-01T06:00Z to 2026-03-01T06:00Z, 5 to 8, the last received 2026-03-01T06:00Z",
        "; 1 revised; offsets 0, 1; 1 flagged late",
        "1 report of an observer",
        "no level could fall",
        "v G1: requests orange, keeps up to orange; fast",
        "orange: bound 24 mm/day, margin -1.5 mm/day, 1 reading beyond it, 2 needed",
        "yellow: 125% of its bound",
        "v G2: no data: silent",
        "G2, silent: no word",
    ):
        assert line in text, line
    assert describe_inputs({"reason": "x"}) == []
    assert list_inputs({"reason": "x"}) == ()


def test_levels_are_numbers_if_the_site_file_is_not_stored():
    assert "level 2: bound 24, margin -1.5, 1 reading beyond it, 2 needed" in "\n".join(explain(FROZEN))


def test_an_alarm_of_the_service_has_a_reason_and_nothing_else():
    assert explain({"reason": "the disk is full"}) == ["Reason: the disk is full"]


def test_alert_begins_with_its_reason_and_ends_with_who_acknowledged():
    messages = [
        message("failed_retry", last_error="connection refused"),
        message("confirmed", confirmed_by="ada", confirmed_at=RAISED + timedelta(minutes=4)),
        message("delivered", sent_at=RAISED),
        message("queued"),
    ]
    lines = describe_alert(ALERT, [RAISE, ACKNOWLEDGEMENT], messages, FROZEN, NAMES)
    assert lines[:5] == [
        "Alert 7 of bench, hazard: yellow, acknowledged",
        "Reason: G1 moves",
        "What happened:",
        "  2026-03-01T06:00Z yellow, unacknowledged, by the service: G1 moves",
        "  2026-03-01T06:04Z yellow, acknowledged, by ada: on the way",
    ]
    assert lines[-6:] == [
        "Notified:",
        "  2026-03-01T06:00Z ada by email, yellow: not delivered yet, will be tried again: connection refused",
        "  2026-03-01T06:00Z ada by email, yellow: confirmed 2026-03-01T06:04Z by ada",
        "  2026-03-01T06:00Z ada by email, yellow: delivered 2026-03-01T06:00Z",
        "  2026-03-01T06:00Z ada by email, yellow: waits to be sent",
        "Acknowledged: ada at 2026-03-01T06:04Z: on the way",
    ]
    assert not set(describe_inputs(FROZEN, NAMES)) & set(lines)


def test_open_alert_names_its_key_and_the_command_that_acknowledges_it():
    alarm = replace(
        ALERT, ledger="health", key="health:check:disk", state="unacknowledged", acknowledged_at=None, closed_at=None
    )
    lines = describe_alert(alarm, [], [], {}, NAMES)
    assert lines[0].endswith(", unacknowledged [health:check:disk]")
    assert lines[-1] == "Acknowledged: nobody yet; to acknowledge: slopeward ack 7 --by NAME --reason TEXT"


@given(
    value=st.floats(-1e6, 1e6, allow_nan=False),
    bound=st.floats(-1e6, 1e6, allow_nan=False),
    margin=st.floats(-1e6, 1e6, allow_nan=False),
)
def test_figures_are_rounded(value, bound, margin):
    reading = [AT, AT, 0, value, value, value, None, [], None]
    facts = {"bounds": [{"level": 1, "bound": bound, "margin": margin}]}
    evidence = {**EVIDENCE, "words": [assessment("v|G1", 1, "fast", facts)], "votes": {}}
    frozen = {
        **FROZEN,
        "view": {**FROZEN["view"], "readings": {"G1.crack_opening": [reading]}},
        "outcome": {**FROZEN["outcome"], "evidence": evidence},
    }
    text = "\n".join(describe_inputs(frozen, NAMES))
    digits = [match.replace(".", "").lstrip("-0") for match in re.findall(r"-?\d+\.\d+", text)]
    assert all(len(figure) <= 4 for figure in digits), text
