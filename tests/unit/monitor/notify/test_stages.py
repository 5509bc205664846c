"""The stages as pure functions: nothing hides a high raise, nothing urgent waits, nothing is dropped."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.alert import DeliveryState, is_urgent
from monitor.domain.duty.quiet import read_quiet
from monitor.domain.site import Recipient
from monitor.notify import escalated
from monitor.notify.circuit import Circuit, backoff_s
from monitor.notify.path import STAGES, grouped, quiet, superseded, throttled
from monitor.notify.verdict import DeliveryContext, DeliveryLimits, Postponed, Superseded
from monitor.store.alerting.outbox import TRANSITIONS, OpenAlert, QueuedMessage, SentNotification

T0 = datetime(2026, 3, 1, tzinfo=UTC)
LEDGERS = ["hazard", "health", "advice"]


def waiting(
    number, level=1, ledger="hazard", alert_id=1, queued_at=T0, attempts=0, state="unacknowledged", recipient="duty"
):
    urgent = is_urgent(ledger, level, 3)
    return QueuedMessage(
        number, alert_id, "north", ledger, level, recipient, "log:x", queued_at, None, attempts, state, urgent
    )


@st.composite
def draw_messages(draw):
    some, early = st.sampled_from, T0 - timedelta(hours=1)
    row = st.tuples(st.integers(0, 3), some(LEDGERS), st.integers(1, 3), st.integers(0, 3))
    row = st.tuples(row, some(["unacknowledged", "shelved"]), some(["duty", "head"]))
    return [
        waiting(n, level, ledger, alert_id * 10 + LEDGERS.index(ledger), early, attempts, state, who)
        for n, ((level, ledger, alert_id, attempts), state, who) in enumerate(draw(st.lists(row, max_size=12)), 1)
    ]


NIGHT = read_quiet("22:00-06:00", "UTC")


def view_of(sent, quiet):
    """At midnight in the quiet hours of "duty", or at six when they end; or of nobody."""
    at = {"in": T0, "after": T0 + timedelta(hours=6), "none": T0}[quiet]
    return DeliveryContext(
        at, sent, find_quiet=lambda _site, name: NIGHT if quiet != "none" and name == "duty" else None
    )


@given(draw_messages(), st.integers(0, 100), st.sampled_from(["in", "after", "none"]))
def test_what_is_set_aside_is_spoken_for_by_one_that_is_there_and_the_urgent_by_one_as_high(found, sent, quiet):
    left = {w.id: w for w in found}
    replaced = {}
    for stage in STAGES.values():
        for verdict in stage(list(left.values()), view_of(sent, quiet)):
            message = left.pop(verdict.id)
            replaced[verdict.id] = verdict.by if isinstance(verdict, Superseded) else None  # waits, is not lost
            if message.urgent:
                assert isinstance(verdict, Superseded)
                by = next(w for w in found if w.id == verdict.by)
                assert (by.alert_id, by.recipient) == (message.alert_id, message.recipient)
                assert by.level >= message.level
                assert by.id > message.id
    for by in replaced.values():
        while by in replaced and replaced[by] is not None:
            by = replaced[by]
        assert by is None or by in left or replaced.get(by, 0) is None


def test_the_newest_replaces_all_but_the_red_raise_and_health_joins_and_hazard_is_never_grouped():
    found = superseded([waiting(1, 1), waiting(2, 3), waiting(3, 1), waiting(4, 0)], DeliveryContext(T0, 0))
    assert sorted((v.id, v.by) for v in found) == [(1, 2), (3, 4)]
    assert grouped([waiting(n, 1, alert_id=n) for n in range(5)], DeliveryContext(T0, 0)) == []
    crowd = [waiting(n, 1, "health", alert_id=n) for n in range(1, 4)]
    early = grouped(crowd, DeliveryContext(T0 + timedelta(seconds=1), 0))
    assert {type(v) for v in early} == {Postponed}
    later = grouped(crowd, DeliveryContext(T0 + timedelta(seconds=6), 0))
    assert [(v.id, v.by) for v in later] == [(1, 3), (2, 3)]


def test_quiet_hours_hold_what_is_not_urgent():
    kinds = [(1, "hazard"), (2, "hazard"), (3, "hazard"), (1, "health"), (2, "health"), (1, "advice")]
    crowd = [waiting(n, *kind, n, T0 + timedelta(minutes=n)) for n, kind in enumerate(kinds, 1)]
    crowd.append(waiting(7, 1, "hazard", 7, T0, recipient="head"))
    held = quiet(crowd, view_of(0, "in"))
    assert {v.id for v in held} == {1, 4, 6}  # the two highest levels and the top route of health pass, and others do
    assert {v.until for v in held} == {T0 + timedelta(hours=1)}  # looked at again before anybody takes it for lost
    late = DeliveryContext(T0 + timedelta(hours=5, minutes=30), 0, find_quiet=view_of(0, "in").find_quiet)
    assert {v.until for v in quiet(crowd, late)} == {T0 + timedelta(hours=6)}
    assert quiet(crowd, view_of(0, "after")) == []


def test_after_quiet_hours_each_hazard_is_a_message_of_its_own_and_says_what_holds():
    night = [waiting(1), waiting(2, 0), waiting(3, alert_id=2), waiting(4, 1, "health", 3), waiting(5, 1, "health", 4)]
    night += [replace(one, site="south") for one in (waiting(6, alert_id=5), waiting(7, 1, "health", 6))]
    left = {w.id: w for w in night}
    for stage in STAGES.values():
        for verdict in stage([*left.values()], view_of(0, "after")):
            left.pop(verdict.id)
    assert sorted(left) == [2, 3, 5, 6, 7]


@given(
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    st.sampled_from(["Europe/Zurich", "America/Santiago", "Australia/Lord_Howe"]),
)
def test_quiet_hours_begin_and_end_in_every_night_of_the_year(first, last, at, zone):
    if first == last:
        return
    at, spelled = at.replace(tzinfo=UTC), f"{first // 60:02}:{first % 60:02}-{last // 60:02}:{last % 60:02}"
    start, end = read_quiet(spelled, zone).find_window(at)
    assert start <= at
    assert start <= end <= start + timedelta(hours=25)
    assert read_quiet(spelled, zone).find_window(start)[0] == start


def test_throttle_postpones_the_lowest_first_the_noise_of_instruments_and_never_the_urgent():
    crowd = [waiting(n, level, alert_id=n) for n, level in enumerate([0, 1, 2, 3, 1], 1)]
    held = throttled(crowd, DeliveryContext(T0, 9, DeliveryLimits(sends_per_hour=10)))
    assert {v.id for v in held} == {1, 2}
    assert all(v.until > T0 for v in held)
    mixed = [waiting(n, 1, ledger, n) for n, ledger in enumerate(LEDGERS, 1)]
    held = throttled(mixed, DeliveryContext(T0, 9, DeliveryLimits(sends_per_hour=10)))
    assert {v.id for v in held} == {2, 3}


def test_delivered_goes_back_only_where_the_provider_could_not_deliver():
    for end in (DeliveryState.CONFIRMED, DeliveryState.FAILED_FINAL, DeliveryState.SUPERSEDED):
        assert TRANSITIONS[end] == frozenset()
    failed = {DeliveryState.FAILED_RETRY, DeliveryState.FAILED_FINAL}
    assert TRANSITIONS[DeliveryState.DELIVERED] == {DeliveryState.CONFIRMED, *failed}
    assert set(TRANSITIONS) == set(DeliveryState)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e9))
def test_backoff_stays_in_its_bounds(attempts, draw, asked):
    wait = backoff_s(attempts, lambda: draw, asked)
    assert wait <= max(300.0, min(asked or 0.0, 3600.0))
    assert wait >= max(1.0, min(asked or 0.0, 3600.0))


def test_circuit_opens_after_failures_in_a_row_also_over_a_restart_and_closes_on_success():
    circuit = Circuit()
    circuit.resume(5, T0)
    assert not circuit.is_open(T0)  # it may try at once
    circuit.fail(T0 + timedelta(seconds=1), 10.0)  # and rests after one failure
    assert circuit.is_open(T0 + timedelta(seconds=2))
    circuit.forget_rest()
    assert not circuit.is_open(T0 + timedelta(seconds=2))
    assert (circuit.failures, circuit.failing_since) == (6, T0)
    circuit.succeed()
    assert (circuit.failures, circuit.failing_since) == (0, None)
    circuit, found = Circuit(), []
    for _ in range(3):
        circuit.fail(T0, 10.0)
        found.append(circuit.is_open(T0))
    assert found == [False, False, True]
    assert not circuit.is_open(T0 + timedelta(seconds=10))
    circuit.succeed()
    assert not circuit.is_open(T0)


@pytest.mark.parametrize(
    ("ledger", "level", "top", "urgent"),
    [
        ("hazard", 3, 3, True),
        ("hazard", 2, 3, True),
        ("hazard", 1, 3, False),
        ("hazard", 0, 1, False),
        ("hazard", 1, 1, True),
        ("hazard", 0, None, True),
        ("health", 2, 9, True),
        ("advice", 9, 3, False),
    ],
)
def test_who_is_urgent(ledger, level, top, urgent):
    assert is_urgent(ledger, level, top) is urgent


def test_advice_is_no_alarm_it_waits_in_quiet_hours_and_is_escalated_to_nobody():
    night = view_of(0, "in")
    (waits,) = quiet([waiting(1, 1, "advice")], night)
    assert isinstance(waits, Postponed)
    late, told = T0 + timedelta(days=1), (SentNotification("duty", "log:x", T0, "delivered"),)
    every = ("hazard", "health", "advice")
    chain = [[Recipient(name, ("log:x",), (1, 2, 3), every, escalate_after_s=60.0)] for name in ("duty", "head")]

    def escalate(ledger, state="delivered"):
        alert = OpenAlert(1, 1, "n", ledger, 1, "x", False, "s", "b", False, T0, (replace(told[0], state=state),))
        return escalated.apply(alert, chain, late, DeliveryLimits())

    assert [e.recipient for e in escalate("health")] == ["head"]
    assert escalate("advice") == []
    assert escalate("advice", "failed_final") == []
