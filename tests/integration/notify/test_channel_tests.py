"""Each channel is tested each shift; one that fails is an alarm that goes by the others."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.checks.machine import DatabaseFacts
from monitor.checks.table import run_checks
from monitor.config.service import parse_service, parse_site
from monitor.domain.alert import SERVICE
from monitor.domain.errors import ConfigError
from monitor.domain.site import Recipient
from monitor.notify import trial
from monitor.notify.notifier import channel_settings
from monitor.notify.trial import is_due, send_test
from monitor.service.alarms import make_alarm
from monitor.store.alerting.alerts import ChangeContext, apply_changes
from monitor.store.alerting.receipts import load_tested, note_test
from monitor.store.alerting.sites import save_site
from monitor.store.schema.views import load_view
from tests.contract.test_notify_channels import SITE
from tests.data.store_rows import ask, tell
from tests.extensions.telephony.test_telephone import NUMBER, TOKEN, provider

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
TWO = 'channels = ["webhook:GOOD", "webhook:BAD"]'


@pytest.fixture
def config(database, hooks, monkeypatch):
    north = parse_site(SITE.replace('channels = ["log:desk", "webhook:GONE"]', TWO), "north")
    tell(database, save_site, north, "ada", "first", NOW)
    monkeypatch.setenv("GOOD", f"{hooks.base}/ok")
    monkeypatch.setenv("BAD", f"{hooks.base}/500")
    monkeypatch.setenv("ELSEWHERE", f"{hooks.base}/test-target")
    settings = '[channels]\ntest_every = "12h"\n'
    return parse_service(f'{settings}[channels.test_to]\n"webhook:GOOD" = "webhook:ELSEWHERE"\n', "x")


def test_each_channel_is_tested_when_it_is_due_and_one_that_fails_is_an_alarm(database, config, hooks):
    assert trial.run(database, config, None, NOW) == "2 of 2 channels tested, 1 failed"
    assert [path for path, *_ in hooks.got] == ["/test-target", "/500"]
    assert b"EXERCISE" in hooks.got[0][2]
    assert trial.run(database, config, None, datetime.now(UTC)) == "0 of 2 channels tested, 0 failed"
    good, bad = ask(database, load_view, "channel_tests", order_by=["test_id"])
    assert (good["target"], good["good"], bad["good"]) == ("webhook:ELSEWHERE", True, False)
    assert "answered 500" in bad["found"]
    channels = ["webhook:GOOD", "webhook:BAD", "webhook:NEVER"]
    for hours, said, expected in (
        (23, config, [False] * 2),
        (25, config, [True] * 2),
        (25, parse_service("", "x"), []),
    ):
        facts = DatabaseFacts(database, said, (), channels, datetime.now(UTC) + timedelta(hours=hours))
        assert [c.counts for c in run_checks(facts) if c.check.area == "channel"] == expected


def test_the_alarm_of_a_channel_goes_by_the_others(database):
    two = Recipient("duty", ("sms:DUTY", "email:a@b.org", "siren:x"), (3,))
    one = Recipient("chief", ("sms:DUTY",), (3,))
    with database.write() as c:
        change = make_alarm("channel:sms:DUTY", 2, "channel sms:DUTY fails its tests: no answer in time", is_open=True)
        apply_changes(c, [change], ChangeContext("status", None, [two, one], SERVICE, NOW, "1"))
        told = [(n["recipient"], n["channel"]) for n in load_view(c, "deliveries", order_by=["notification_id"])]
    assert told == [("duty", "email:a@b.org"), ("chief", "sms:DUTY")]


def test_times_of_a_shift_are_local_and_targets_are_of_their_kind():
    shifts = parse_service('[channels]\ntest_at = ["06:00", "18:00"]\n', "x").channels
    spring = datetime(2026, 3, 29, 4, 0, tzinfo=UTC)  # 06:00 of Zurich on the day the clock goes ahead
    assert is_due(shifts, "Europe/Zurich", spring - timedelta(hours=1), spring)
    assert not is_due(shifts, "Europe/Zurich", spring, spring + timedelta(hours=11, minutes=59))
    assert is_due(shifts, "Europe/Zurich", spring, spring + timedelta(hours=12))
    for wrong in ('test_at = ["6 o clock"]', '[channels.test_to]\n"sms:A" = "email:a@b.org"'):
        with pytest.raises(ConfigError, match=r"channels\.test"):
            parse_service(f"[channels]\n{wrong}\n", "x")


def test_a_test_that_the_provider_could_not_deliver_turns_bad(database, monkeypatch):
    with provider() as twilio:
        settings = f'[sms]\ngateway = "http"\nurl = "http://127.0.0.1:{twilio.server_port}"\naccount = "AC1"\n'
        config = parse_service(f'{settings}sender = "+100000"\n', "x", {"SLOPEWARD_SMS__TOKEN": TOKEN})
        error, name = send_test("sms:DUTY", channel_settings(config, {"DUTY": NUMBER}), database)
    assert (error, name) == (None, "SM1")
    with database.write() as c:
        trial.add_test(c, "sms:DUTY", "sms:DUTY", NOW, good=True, found="taken", provider_id=name)
        assert note_test(c, name, "undelivered", NOW, good=False)
        assert load_tested(c, ["sms:DUTY"])["sms:DUTY"].good_at is None
        assert not note_test(c, "SM9", "delivered", NOW, good=True)
