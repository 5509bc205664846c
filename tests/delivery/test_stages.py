"""The table of stages: who is notified, by which channel, when and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitor.alerts.notification import DeliveryState
from monitor.decision.changes import AlertCategory
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries.outbox import OpenAlert, SentNotification
from monitor.delivery.stages import Stage, StageRow, find_due_rows, find_next_rows, list_rows, mark_subject
from monitor.sites.channels import find_channel_traits
from monitor.sites.quiet_hours import read_quiet
from monitor.sites.records import Recipient
from tests.tables import tabulated

T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LIMITS = DeliveryLimits()
NAMES = ("duty", "chief", "owner")
CHANNELS = ("log:desk", "email:a@example.org", "siren:horn/1")


def message(recipient="duty", channel="log:desk", at=T0, state="delivered"):
    return SentNotification(recipient, channel, at, state)


def person(name, *channels, after_s=600.0, **more):
    return Recipient(name, channels or ("log:desk",), (1, 2, 3), escalate_after_s=after_s, **more)


def alert_with(*sent, ledger="hazard", level=3, urgent=True, **more):
    facts = {"level_name": "red", "exercise": False, "subject": "north: red", "body": "b", "raised_at": T0} | more
    return OpenAlert(1, 1, "north", ledger, level, urgent=urgent, sent=sent, **facts)


CHAIN = [[person("duty")], [person("chief", "email:chief@example.org")]]
FIRST = [person("duty")]


def escalate_by_former_rule(alert, chain, addressees, now, limits):
    """The rule before the table: pairs of recipient and channel that are notified at an instant."""

    def pair(recipients):
        return [(r.name, channel) for r in recipients for channel in r.readable]

    notified = {t.recipient for t in alert.sent}
    if alert.is_back:
        is_hazard = alert.ledger == AlertCategory.HAZARD
        wanted = {
            r.name: r for r in addressees if alert.ledger in r.ledgers and (not is_hazard or alert.level in r.levels)
        }
        if wanted_pairs := pair(wanted.values()):
            return wanted_pairs
    if not alert.sent or alert.ledger == AlertCategory.ADVICE:
        return []
    steps = ([r for r in s if alert.ledger in r.ledgers and r.readable and r.name not in notified] for s in chain)
    fresh = next((step for step in steps if step), [])
    left = {r.name: r for s in chain for r in s if r.name in alert.escalated_to and r.name not in notified}
    if reached := [r for r in left.values() if alert.ledger in r.ledgers and r.readable]:
        return pair(reached)
    people = [t for t in alert.sent if not find_channel_traits(t.channel).orders]
    if fresh and people and all(t.state == DeliveryState.FAILED_FINAL for t in people):
        return pair(fresh)
    clocks = [limits.unconfirmed_again_s] if alert.is_unconfirmed_alarm else []
    if not alert.is_unconfirmed_alarm:
        clocks = [r.escalate_after_s for s in chain for r in s if r.name in notified and r.escalate_after_s is not None]
    known = alert.notified_before if fresh else {}
    since = max(min(t.queued_at, known.get(t.recipient, t.queued_at)) for t in alert.sent)
    if not clocks or now - since < timedelta(seconds=min(clocks)):
        return []
    if fresh:
        return pair(fresh)
    again = {
        r.name: r
        for s in chain
        for r in s
        if r.name in notified
        and (r.escalate_after_s is not None or alert.is_unconfirmed_alarm)
        and alert.ledger in r.ledgers
    }
    pairs = [(t.recipient, t.channel) for t in alert.sent]
    rounds = max((pairs.count((r.name, r.channels[0])) for r in again.values()), default=0)
    return pair(again.values()) if alert.urgent or rounds <= limits.escalation_rounds else []


people = st.builds(
    Recipient,
    st.sampled_from(NAMES),
    # The former rule counted repeats by the first channel and never ended them if that was a siren.
    st.sampled_from([CHANNELS[:1], CHANNELS[1::-1], CHANNELS[:1] + CHANNELS[2:], CHANNELS[:2]]),
    st.sampled_from([(3,), (1, 2, 3), (1,)]),
    st.sampled_from([("hazard", "health"), ("hazard",), ("health",), ("hazard", "health", "advice")]),
    escalate_after_s=st.sampled_from([None, 60.0, 600.0]),
)
instants = st.integers(-40, 0).map(lambda minutes: T0 + minutes * MINUTE)
messages = st.builds(
    SentNotification,
    st.sampled_from((*NAMES, "former")),
    st.sampled_from(CHANNELS),
    instants,
    st.sampled_from([str(state) for state in DeliveryState]),
)
alerts = st.builds(
    OpenAlert,
    *(st.just(1), st.just(1), st.just("north"), st.sampled_from(["hazard", "health", "advice"])),
    *(st.integers(1, 3), st.just("red"), st.booleans(), st.just("s"), st.just("b"), st.booleans(), instants),
    st.lists(messages, min_size=1, max_size=6).map(tuple),
    is_unconfirmed_alarm=st.booleans(),
    notified_before=st.dictionaries(st.sampled_from(NAMES), instants),
    escalated_to=st.frozensets(st.sampled_from(NAMES)),
    returned_at=st.none() | instants,
)
chains = st.lists(st.lists(people, min_size=1, max_size=2), max_size=4)


@given(alerts, chains, st.lists(people, max_size=3), st.integers(0, 30))
def test_due_rows_are_those_of_the_former_rule(alert, chain, addressees, minutes):
    now = T0 + minutes * MINUTE
    rows = find_due_rows(alert, chain, addressees, now, LIMITS)
    former = escalate_by_former_rule(alert, chain, addressees, now, LIMITS)
    assert [(row.recipient, row.channel) for row in rows] == former


@given(alerts, chains, st.lists(people, max_size=3))
def test_row_is_due_at_its_time_and_not_before(alert, chain, addressees):
    for row in find_next_rows(alert, chain, addressees, T0, LIMITS):
        assert row in find_due_rows(alert, chain, addressees, max(row.due_at, T0), LIMITS)
        if row.due_at > T0:
            early = find_due_rows(alert, chain, addressees, row.due_at - timedelta(seconds=1), LIMITS)
            assert row not in early


@given(alerts, chains, st.lists(people, max_size=3))
def test_table_ends_and_notifies_each_person_of_the_chain(alert, chain, addressees):
    rows = list_rows(alert, chain, addressees, T0, LIMITS, is_escalated=True, zone="Europe/Zurich")
    assert len(rows) < 500
    planned = [row for row in rows if row.state is None and row.due_at is not None]
    assert planned == sorted(planned, key=lambda row: row.due_at)
    if (
        alert.ledger == AlertCategory.ADVICE
        or alert.is_back
        or not any(row.stage is Stage.NEXT_RECIPIENT for row in rows)
    ):
        return
    notified = {row.recipient for row in rows}
    clocked = all(r.escalate_after_s is not None for step in chain for r in step)
    if clocked:
        takers = {r.name for step in chain for r in step if alert.ledger in r.ledgers and r.readable}
        assert takers <= notified


def test_table_of_urgent_alert():
    rows = list_rows(alert_with(message()), CHAIN, FIRST, T0, LIMITS, is_escalated=True)
    assert [(row.stage, row.recipient, row.due_at and (row.due_at - T0) / MINUTE, row.state) for row in rows] == [
        (Stage.FIRST_NOTICE, "duty", 0, "delivered"),
        (Stage.NEXT_RECIPIENT, "chief", 10, None),
        (Stage.NOBODY_CONFIRMED, "duty", 20, None),
        (Stage.NOBODY_CONFIRMED, "chief", 20, None),
        (Stage.REPEAT, "duty", 20, None),
        (Stage.REPEAT, "chief", 20, None),
        (Stage.ALL_CLEAR, "duty", None, None),
    ]


def test_alert_that_is_not_urgent_is_repeated_three_times():
    alert = alert_with(message(), level=1, urgent=False)
    rows = list_rows(alert, CHAIN[:1], FIRST, T0, LIMITS, is_escalated=True)
    assert [row.due_at for row in rows if row.stage is Stage.REPEAT] == [T0 + n * 10 * MINUTE for n in (1, 2, 3)]


def test_repeats_end_also_if_first_channel_is_a_siren():
    duty = person("duty", "siren:horn/1", "log:desk")
    sent = [message(channel="siren:horn/1"), *(message(at=T0 + n * 10 * MINUTE) for n in range(4))]
    alert = alert_with(*sent, level=1, urgent=False)
    assert find_next_rows(alert, [[duty]], [duty], T0, LIMITS) == []


def test_acknowledged_alert_is_not_escalated():
    rows = list_rows(alert_with(message(state="confirmed")), CHAIN, FIRST, T0, LIMITS, is_escalated=False)
    assert [row.stage for row in rows] == [Stage.FIRST_NOTICE, Stage.ALL_CLEAR]


def test_quiet_hours_delay_what_is_not_urgent():
    night = read_quiet("05:00-08:00", "UTC")
    chain = [[person("duty")], [person("chief", quiet=night)]]
    for urgent, held_until in ((True, None), (False, T0 + 120 * MINUTE)):
        alert = alert_with(message(), level=1, urgent=urgent)
        rows = list_rows(alert, chain, FIRST, T0, LIMITS, is_escalated=True)
        (chief,) = [row for row in rows if row.stage is Stage.NEXT_RECIPIENT]
        assert chief == StageRow(Stage.NEXT_RECIPIENT, "chief", "log:desk", T0 + 10 * MINUTE, held_until)


@tabulated(("digest", "hours"), [(7 * 60, 0), (6 * 60, 23)])
def test_digest_is_listed_at_its_next_local_time(digest, hours):
    duty = person("duty", "log:desk", "email:a@example.org", digest=digest)
    rows = list_rows(alert_with(message()), [[duty]], [duty], T0, LIMITS, is_escalated=False, zone="Europe/Zurich")
    (row,) = [row for row in rows if row.stage is Stage.DIGEST]
    assert (row.channel, row.due_at) == ("email:a@example.org", T0 + timedelta(hours=hours))


@tabulated(
    ("change", "stage", "recipient", "subject"),
    [
        ({"escalated_to": frozenset({"chief"})}, Stage.CHANGE, "chief", "north: red"),
        (
            {"sent": (message(state="failed_final"),)},
            Stage.NOBODY_REACHED,
            "chief",
            "nobody else could be reached: north: red",
        ),
        ({"returned_at": T0 + MINUTE}, Stage.BACK, "duty", "open for 5 min: north: red"),
        ({}, None, None, None),
    ],
)
def test_stage_that_is_due_at_once(change, stage, recipient, subject):
    alert = replace(alert_with(message()), **change)
    now = T0 + 5 * MINUTE
    rows = find_due_rows(alert, CHAIN, FIRST, now, LIMITS)
    assert [(row.stage, row.recipient) for row in rows] == ([(stage, recipient)] if stage else [])
    if stage is not None:
        assert mark_subject(stage, alert, now) == subject


def test_all_clear_goes_to_those_of_passed_levels():
    low = replace(person("geologist"), levels=(1,))
    rows = list_rows(alert_with(message()), CHAIN, [*FIRST, low], T0, LIMITS, is_escalated=False)
    assert [row.recipient for row in rows if row.stage is Stage.ALL_CLEAR] == ["duty", "geologist"]
