"""Who holds a message: claims, leases, rows that somebody altered, workers that hang, sleep or are killed."""

import threading
import time
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from sqlalchemy import update

from monitor.alerts.outbox_tables import notification
from monitor.delivery.dispatcher import MAX_ABANDONED_WORKERS, Dispatcher
from monitor.delivery.notifiers.webhook import ANSWER_S, CONNECT_TIMEOUT_S
from monitor.delivery.queries.outbox import (
    CLOCK_MARGIN,
    LONGEST_LEASE,
    LONGEST_WAIT,
    claim_due,
    has_expired_leases,
    load_due_channels,
    load_waiting,
    mark_delivered,
    mark_failed,
    release_expired_leases,
)
from monitor.delivery.worker import LEASE_S, ChannelWorker, DeliveryContext
from monitor.errors import ConfigError, DeliveryError
from monitor.storage.clock_steps import set_back
from monitor.storage.engine import Database
from tests.data.store_rows import tell
from tests.delivery.outbox import (
    PATIENT,
    T0,
    add_alert,
    add_message,
    add_site,
    clock,
    queue_message,
    rows,
    running,
    states,
)
from tests.fixtures.databases import ON_BOTH
from tests.fixtures.waiting import wait_for


@ON_BOTH
def test_one_worker_gets_a_lease_and_cannot_store_an_outcome_after_it_expired(database):
    queue_message(database, "log:desk")
    (mine,) = tell(database, claim_due, T0, "a", 30.0, 5, "log:desk")
    with database.write() as c:
        assert (claim_due(c, T0, "b", 30.0, 5, "log:desk"), release_expired_leases(c, T0 + timedelta(seconds=29))) == (
            [],
            0,
        )
        assert release_expired_leases(c, T0 + timedelta(seconds=31)) == 1
        (again,) = claim_due(c, T0 + timedelta(seconds=31), "b", 30.0, 5, "log:desk")
        assert (again.idempotency_key, again.attempts) == (mine.idempotency_key, 2)
        assert not mark_delivered(c, mine.id, "a", T0)
        assert not mark_failed(c, mine.id, "a", "late", permanent=True, next_attempt_at=None)
        assert mark_delivered(c, mine.id, "b", T0)
        assert not mark_failed(c, mine.id, "b", "late", permanent=True, next_attempt_at=None)  # delivered is delivered


FAR = timedelta(days=3650)
NEVER = {
    "a next attempt in ten years": {"next_attempt_at": T0 + FAR},
    "a lease for ten years": {"state": "claimed", "lease_owner": "nobody", "lease_until": T0 + FAR},
    "a lease without an end": {"state": "claimed", "lease_owner": "nobody", "lease_until": None},
    "more attempts than an integer holds": {"attempts": 2**31 - 1},
    "fewer than none": {"attempts": -(2**31)},
}


@ON_BOTH
def test_altered_rows_delay_no_message(database, hooks):
    """What an unsent row says of its next attempt is not sealed: it is held to what the service itself could say."""
    with database.write() as c:
        add_site(c)
        for n, values in enumerate(NEVER.values()):
            add_message(c, add_alert(c, key=f"k{n}"), f"webhook:OK{n}", at=clock(), **values)
    with running(database, {f"OK{n}": f"{hooks.base}/ok" for n in range(len(NEVER))}):
        wait_for(lambda: set(states(database).values()) == {"delivered"}, description=str([*NEVER]))
    assert len(hooks.got) == len(NEVER)


@ON_BOTH
def test_message_waits_for_its_next_attempt_but_not_longer_than_the_limit(database):
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "log:desk")
        longest = LONGEST_WAIT + CLOCK_MARGIN
        for late, due in ((longest, False), (longest + timedelta(seconds=1), True)):
            c.execute(update(notification).values(next_attempt_at=T0 + late))
            assert (load_due_channels(c, T0) == {"log:desk"}, load_waiting(c, "log:desk")[0].is_due(T0)) == (due, due)
        (mine,) = claim_due(c, T0, "a", 1e9, 1, "log:desk")
        assert not has_expired_leases(c, T0)
        assert has_expired_leases(c, T0 + LONGEST_LEASE), "no lease is longer, whatever was asked for"
        assert not has_expired_leases(c, T0 - CLOCK_MARGIN), "a clock that went back a little voids no lease"
        assert mark_delivered(c, mine.id, "a", T0)


def test_worker_sends_nothing_after_another_core_took_over(database):
    worker = ChannelWorker("log:desk", DeliveryContext(database, {}, lambda: T0, {}))
    queue_message(database, "log:desk")
    database.can_send = lambda: False
    assert worker.work_once()
    assert states(database) == {"log:desk": "claimed"}, "whoever took over sends it when the lease is out"


@pytest.mark.parametrize("channel", ["log:desk", "nobody:desk"])
def test_repeatedly_altered_row_delays_a_message_for_little_more_than_an_hour(database, channel):
    now = [T0]
    worker = ChannelWorker(channel, DeliveryContext(database, {}, lambda: now[0], {}, jitter=lambda: 0.5))
    queue_message(database, channel)
    looks = []
    for minute in (1, 20, 39, 60, 61, 62, 63, 64):
        now[0] = T0 + timedelta(minutes=minute)
        held = {"state": "claimed", "lease_owner": "x", "lease_until": now[0] + LONGEST_LEASE}
        wait = {"state": "queued", "next_attempt_at": now[0] + LONGEST_WAIT / 2}
        if "delivered" not in states(database).values():
            with database.write() as c:
                c.execute(update(notification).values(**(held if minute % 2 else wait)))
        looks += [minute for _ in range(3) if worker.work_once()]
    assert looks == ([62] if channel == "log:desk" else [62, 63, 64])


def test_message_in_progress_is_not_sent_again_when_the_clock_is_set_back(database, monkeypatch):
    """Its lease seems endless until it is moved with the clock; nobody else takes the message meanwhile."""
    now = [T0]
    dispatcher = Dispatcher(database, {}, lambda: now[0])
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "nobody:desk")
        (mine,) = claim_due(c, T0, "a", 30.0, 1, "nobody:desk")
    for back in (timedelta(days=1), timedelta(days=1, seconds=-5)):
        now[0] = T0 - back
        dispatcher.plan_once()
        assert states(database) == {"nobody:desk": "claimed"}
    with database.write() as c:
        set_back(c, 86400.0, now[0])
        assert not has_expired_leases(c, now[0])
        assert mark_delivered(c, mine.id, "a", now[0])
        c.execute(update(notification).values(**NEVER["a lease for ten years"]))
    monkeypatch.setattr("monitor.delivery.dispatcher.LEASES_INVALID_S", 0.0)
    now[0] -= timedelta(days=1)
    dispatcher.plan_once()
    assert [r.lease_owner for r in rows(database).values()] != ["nobody"], "what is endless later on, somebody altered"
    dispatcher.stop(3.0)


def test_worker_that_hangs_longer_than_two_leases_is_replaced(database, hooks, monkeypatch):
    calls, release = [], threading.Event()

    class Stuck:
        def deliver(self, n):
            calls.append(n.idempotency_key)
            if len(calls) == 1:
                release.wait(90)

    monkeypatch.setattr("monitor.delivery.worker.open_notifier", lambda *_: Stuck())
    queue_message(database, "apprise:X")
    with running(database, lease_s=0.3):
        wait_for(lambda: set(states(database).values()) == {"delivered"})
        release.set()
    assert (len(calls), len(set(calls))) == (2, 1)


def test_recovered_workers_do_not_count_as_hanging_and_three_hanging_ones_are_an_alarm(database, monkeypatch):
    releases = []

    class Stuck:
        def deliver(self, n):
            releases.append(threading.Event())
            releases[-1].wait(30)
            raise DeliveryError("late")

    monkeypatch.setattr("monitor.delivery.worker.open_notifier", lambda *_: Stuck())
    queue_message(database, "log:x")
    later = [0.0]
    monkeypatch.setattr("monitor.delivery.worker.time", SimpleNamespace(monotonic=lambda: time.monotonic() + later[0]))
    now = [clock()]
    dispatcher = Dispatcher(database, {}, lambda: now[0], environ={}, limits=PATIENT, lease_s=30.0)

    def hang_once(number):
        dispatcher.plan_once()
        wait_for(lambda: len(releases) == number)
        now[0] += timedelta(seconds=40)  # the lease ran out, and with it the patience below
        later[0] += 61.0

    for number in range(1, MAX_ABANDONED_WORKERS + 2):
        hang_once(number)
    assert dispatcher.find_hanging() == {"log:x"}
    dispatcher.plan_once()
    assert len(releases) == MAX_ABANDONED_WORKERS + 1, "no more than so many"
    for one in releases[:-1]:
        one.set()
    wait_for(lambda: not dispatcher.find_hanging())
    hang_once(MAX_ABANDONED_WORKERS + 2)
    for one in releases:
        one.set()
    dispatcher.stop(3.0)


@pytest.mark.parametrize("error", [DeliveryError("busy", retry_after_s=3600.0), ConfigError("HOOK is not set")])
def test_urgent_message_is_delayed_a_minute_at_most_and_settings_are_read_again(database, monkeypatch, error):
    opened = Mock(return_value=SimpleNamespace(deliver=Mock(side_effect=error)))
    monkeypatch.setattr("monitor.delivery.worker.open_notifier", opened)
    now = [T0]
    queue_message(database, "webhook:HOOK")
    worker = ChannelWorker("webhook:HOOK", DeliveryContext(database, {}, lambda: now[0], {}, PATIENT, lambda: 0.0))
    assert worker.work_once()
    (row,) = rows(database).values()
    assert row.next_attempt_at - T0 <= timedelta(seconds=60 if isinstance(error, DeliveryError) else 6)
    now[0] = row.next_attempt_at
    assert worker.work_once()
    assert opened.call_count == 2


def test_sqlite_locked_elsewhere_delays_but_loses_nothing(sqlite_url, hooks):
    environ = {"OK": f"{hooks.base}/ok"}
    with Database(sqlite_url) as db, Database(sqlite_url) as other:
        queue_message(db, "webhook:OK")
        # the lock comes first: else the message may be on its way before it
        with other.write(), running(db, environ) as dispatcher:
            time.sleep(0.7)
            assert hooks.got == []
            assert clock() - dispatcher.progress()["dispatcher"] < timedelta(seconds=6)
        with running(db, environ):
            wait_for(lambda: states(db) == {"webhook:OK": "delivered"})


# ---- receivers that are slow to answer get each message once, and hold up no other urgent one ----
def put(database, count, channel="webhook:HOOK"):
    with database.write() as c:
        add_site(c)
        return [add_message(c, add_alert(c, key=f"k{n}"), channel, at=clock()) for n in range(count)]


def test_six_urgent_messages_reach_a_slow_receiver_once_each(database, hooks):
    assert 25.0 < ANSWER_S + CONNECT_TIMEOUT_S < LEASE_S, "25 s are waited for, by one that still holds the message"
    put(database, 6)
    began = clock()
    with running(database, {"HOOK": f"{hooks.base}/slow"}, lease_s=LEASE_S):
        wait_for(lambda: len({headers["Idempotency-Key"] for _, headers, _ in hooks.got}) == 6)
        assert clock() - began < timedelta(seconds=20), "no message waits for the answer to another one"
        hooks.answering.set()
        wait_for(lambda: set(states(database).values()) == {"delivered"})
    assert set(Counter(headers["Idempotency-Key"] for _, headers, _ in hooks.got).values()) == {1}


def test_message_that_may_have_arrived_waits_a_minute_although_the_channel_recovered(database, hooks, monkeypatch):
    monkeypatch.setattr("monitor.delivery.notifiers.webhook.ANSWER_S", 0.5)
    (number,) = put(database, 1)
    environ = {"HOOK": f"{hooks.base}/hang"}
    with running(database, environ) as dispatcher:
        wait_for(lambda: rows(database)[number].state == "failed_retry")
        again_at = rows(database)[number].next_attempt_at
        assert again_at - clock() > timedelta(seconds=50)
        environ["HOOK"] = f"{hooks.base}/ok"
        with database.write() as c:
            other = add_message(c, add_alert(c, key="other"), "webhook:HOOK", at=clock())
        dispatcher.wake()
        wait_for(lambda: rows(database)[other].state == "delivered")
    assert (rows(database)[number].next_attempt_at, [path for path, *_ in hooks.got]) == (again_at, ["/hang", "/ok"])


@ON_BOTH
@pytest.mark.parametrize("tried", [0, 1])
def test_untried_urgent_message_precedes_one_that_failed(database, tried):
    other = put(database, 2, "log:desk")[1 - tried]
    with database.write() as c:
        (sent,) = claim_due(c, clock(), "w", 30.0, 1, "log:desk", first={other})
        assert sent.id == other


@ON_BOTH
def test_message_waits_while_a_newer_one_of_its_alert_is_sent(database):
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c)
        add_message(c, alert_id, "log:desk")
        newer = add_message(c, alert_id, "log:desk", sequence=2)
        assert [m.id for m in claim_due(c, T0, "w", 30.0, 5, "log:desk")] == [newer]
        assert claim_due(c, T0, "w", 30.0, 5, "log:desk") == []
