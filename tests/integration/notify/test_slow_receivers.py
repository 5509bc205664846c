"""Receivers that are slow to answer get each message once, and hold up no other urgent one."""

from collections import Counter
from datetime import timedelta

import pytest

from monitor.store.alerting.outbox import claim_due
from tests.conftest import ON_SQLITE, wait_for
from tests.integration.notify.outbox import T0, add_alert, add_message, add_site, clock, hooks, rows, running, states

__all__ = ["hooks"]  # fixtures


def put(database, count, channel="webhook:HOOK"):
    with database.write() as c:
        add_site(c)
        return [add_message(c, add_alert(c, key=f"k{n}"), channel, at=clock()) for n in range(count)]


def test_six_reds_reach_a_receiver_that_answers_after_25_s_each_once(database, hooks, capsys):
    put(database, 6)
    began = clock()
    with running(database, {"HOOK": f"{hooks.base}/slow"}, lease_s=35.0):
        wait_for(lambda: hooks.got)
        first_s = (clock() - began).total_seconds()
        wait_for(lambda: len({headers["Idempotency-Key"] for _, headers, _ in hooks.got}) == 6)
        all_s = (clock() - began).total_seconds()
        wait_for(lambda: set(states(database).values()) == {"delivered"}, 120.0)
    with capsys.disabled():
        print(f"\n  {database.url.get_backend_name()}: first message after {first_s:.1f} s, all six by {all_s:.1f} s")
    assert all_s < 20.0, "no message waits for the answer to another one"
    assert set(Counter(headers["Idempotency-Key"] for _, headers, _ in hooks.got).values()) == {1}


@ON_SQLITE
def test_what_a_receiver_has_whole_waits_a_minute_also_when_another_message_proves_the_channel(
    database, hooks, monkeypatch
):
    monkeypatch.setattr("monitor.notify.notifiers.webhook.ANSWER_S", 0.5)
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
    assert rows(database)[number].next_attempt_at == again_at
    assert [path for path, *_ in hooks.got] == ["/hang", "/ok"]


@ON_SQLITE
@pytest.mark.parametrize("tried", [0, 1])
def test_an_urgent_message_that_was_not_tried_goes_before_one_that_failed(database, tried):
    numbers = put(database, 2, "log:desk")
    other = numbers[1 - tried]
    with database.write() as c:
        (sent,) = claim_due(c, clock(), "w", 30.0, 1, "log:desk", first={other})
        assert sent.id == other


@ON_SQLITE
def test_a_message_waits_while_a_newer_one_of_its_alert_is_being_sent(database):
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c)
        add_message(c, alert_id, "log:desk")
        newer = add_message(c, alert_id, "log:desk", sequence=2)
        assert [m.id for m in claim_due(c, T0, "w", 30.0, 5, "log:desk")] == [newer]
        assert claim_due(c, T0, "w", 30.0, 5, "log:desk") == []
