"""What core runs for telephony: only what is used, and its trouble is seen after a look that failed as well.
Text messages and calls by a provider on loopback and by a real gammu-smsd: receipts, replies, forgeries.
"""

import json
import os
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

import httpx
import pytest
from anyio import to_thread
from sqlalchemy import select, update

from monitor.alerts.notification import Notification
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import find_alert
from monitor.alerts.records import UNCONFIRMED
from monitor.alerts.tables import alert
from monitor.app.checks.table import run_checks
from monitor.app.self_monitoring.loop import SelfMonitoring
from monitor.delivery.message import translate
from monitor.delivery.queries.outbox import claim_due
from monitor.features.telephony.by_telephone import take_digit, take_reply
from monitor.features.telephony.gateway import sign
from monitor.features.telephony.modem import FOLDERS, ModemWatch, put_message
from monitor.features.telephony.parts import build_parts
from monitor.features.telephony.queries.devices import find_push_key
from monitor.features.telephony.queries.replies import (
    ACKNOWLEDGED,
    LATE,
    LIMITED,
    MAX_WRONG,
    REFUSED,
    REPEATED,
    RISEN,
    WRONG,
    make_code,
)
from monitor.features.telephony.sirens import Sirens
from monitor.features.telephony.tables import reply, reply_code
from monitor.features.telephony.telephone import VoiceNotifier, format_sms
from monitor.registration import ServicePart
from monitor.settings.service import parse_service
from monitor.sites.records import Recipient
from monitor.storage.audit import load_entries
from monitor.storage.rows import row_to_record
from monitor.storage.views import load_view
from monitor.text.catalogue import use_language
from monitor.web.access import rules
from tests.data.store_rows import ask, tell
from tests.delivery.outbox import add_alert, add_message, add_site, clock, running, serving_posts, site_with
from tests.fixtures.waiting import skip_missing, wait_for
from tests.web.test_door import serving

NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)
HORN = {"north": site_with(Recipient("horn", ("siren:valley/horn",), (3,), ("hazard",)))}


def test_core_runs_what_is_used_and_publishes_the_key_once_there_is_one(filled_database, tmp_path):
    head = f'[paths]\nstate = "{tmp_path}"\n'
    (plain,) = build_parts(filled_database, parse_service(head, "x"), {}, lambda: NOW)
    plain.follow()
    assert ask(filled_database, find_push_key) == ""
    (tmp_path / "push.key").write_text("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw\n")
    plain.follow()
    assert ask(filled_database, find_push_key).startswith("BP4z9KsN6nGRTbVYI_c7")
    config = parse_service(f'{head}[sms]\ngateway = "modem"\nmodem = "{tmp_path}/modem"\n', "x")
    _, modem, sirens = build_parts(filled_database, config, HORN, lambda: NOW)
    assert [type(one) for part in (modem, sirens) for one in part.subjects] == [ModemWatch, Sirens]
    (finding,) = run_checks(*modem.subjects)
    assert (finding.check.id, "the folder" in finding.text) == ("sms.modem", True)
    assert [one.subject for one in run_checks(*sirens.subjects)] == ["valley/horn"]


def test_failed_round_of_a_part_does_not_hide_its_problems():
    def fail():
        raise OSError("the look failed")

    checked, monitoring = [], SimpleNamespace(check=lambda *subjects: checked.extend(subjects))
    with pytest.raises(OSError, match="the look failed"):
        SelfMonitoring.follow_plugin_part(monitoring, ServicePart(follow=fail, subjects=("x",)))
    assert checked == ["x"]


NUMBER, OTHER = "+41791234567", "+41797654321"
PUBLIC = "https://slopes.example.org"
TOKEN = "0123456789abcdef0123456789abcdef"
NORTH = site_with(Recipient("duty", ("sms:DUTY_PHONE", "voice:DUTY_PHONE"), (2, 3), people=("Ada",), language="it"))


@contextmanager
def provider():
    """Twilio's interface on loopback: `got` holds (path, form, login); `answers` the next statuses, 201 after that."""

    def answer(server, path, headers, body):
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        server.got.append((path, form, headers["Authorization"]))
        status, more = server.answers.pop(0) if server.answers else (201, {})
        return status, {}, json.dumps({"sid": f"SM{len(server.got)}", "status": "queued"} | more).encode()

    with serving_posts(answer) as server:
        server.got, server.answers = [], []
        yield server


def environ_of(port, **more):
    settings = {"GATEWAY": "http", "URL": f"http://127.0.0.1:{port}", "ACCOUNT": "AC1", "TOKEN": TOKEN} | more
    numbers = {"DUTY_PHONE": NUMBER, "SLOPEWARD_SMS__SENDER": "+100000"}
    return numbers | {f"SLOPEWARD_SMS__{key}": value for key, value in settings.items()}


def dispatching(db, port=0, **more):
    environ = environ_of(port, **more) | {"SLOPEWARD_WEB__PUBLIC_URL": PUBLIC}
    return running(db, environ, {"north": NORTH}, page_url=PUBLIC)


def queue(db, channel, level=3):
    with db.write() as c:
        add_site(c)
        number = add_alert(c, level=level, at=clock())
        said = {"at": clock(), "subject": "RED North: close the road."}
        return number, add_message(c, number, channel, level=level, **said)


def row_of(db, number):
    return ask(db, lambda c: c.execute(select(notification).where(notification.c.id == number)).one())


def report(page, path, form, *, token=TOKEN, query=""):
    """As the provider posts: signed over its own address of the page."""
    mark = sign(token, f"{PUBLIC}{path}{query}", form.items())
    headers = {"X-Twilio-Signature": mark, "Host": "slopes.example.org"}
    return httpx.post(f"{page}{path}{query}", data=form, trust_env=False, headers=headers)


@contextmanager
def page_of(db):
    settings = f'[web]\npublic_url = "{PUBLIC}"\n[sms]\ngateway = "http"\naccount = "AC1"\nsender = "+100000"\n'
    with serving(db, clock, settings, {"SLOPEWARD_SMS__TOKEN": TOKEN}) as page:
        yield page


def test_text_message_is_sent_and_its_reply_acknowledges(database):
    alert_id, number = queue(database, "sms:DUTY_PHONE")
    with provider() as twilio, page_of(database) as page:
        with dispatching(database, twilio.server_port):
            wait_for(lambda: row_of(database, number).state == "delivered")
        ((path, form, login),) = twilio.got
        assert path == "/2010-04-01/Accounts/AC1/Messages.json"
        assert (form["To"], form["From"], login.startswith("Basic ")) == (NUMBER, "+100000", True)
        assert form["StatusCallback"] == f"{PUBLIC}/gateway/status?message={number}"
        subject, what_happened, answer, link = form["Body"].split("\n")
        assert "close the road" in subject
        assert what_happened == "Level red."
        assert answer.startswith("Rispondere ACK ")  # in the language of the recipient
        assert link == f"{PUBLIC}/alerts/{alert_id}"
        code = answer.split()[2]
        sent = row_of(database, number)
        assert (sent.provider_id, sent.received_at) == ("SM1", None)
        query = f"?message={number}"
        assert report(page, "/gateway/status", {"MessageSid": "SM1", "MessageStatus": "sent"}, query=query).is_success
        assert row_of(database, number).provider_said == "sent"
        done = {"MessageSid": "SM1", "MessageStatus": "delivered"}
        assert report(page, "/gateway/status", done, query=query).is_success
        (row,) = ask(database, load_view, "deliveries")
        assert (row["state"], row["provider_said"], row["kind"]) == ("delivered", "delivered", "sms")
        # forged, or for somebody else
        text = {"From": NUMBER, "To": "+100000", "Body": f"ack {code}", "MessageSid": "SMa"}
        assert report(page, "/gateway/reply", text, token="guess").status_code == 403
        assert httpx.post(f"{page}/gateway/reply", data=text, trust_env=False).status_code == 403
        assert find_now(database, alert_id).state == "unacknowledged"
        said = report(page, "/gateway/reply", text)
        assert ET.fromstring(said.text).findtext("Message") == "Presa in carico a nome di Ada."
    found = find_now(database, alert_id)
    assert (found.state, found.acknowledged_by) == ("acknowledged", "Ada")
    with database.read() as c:
        (row,) = load_view(c, "deliveries")
        (came,) = load_view(c, "message_replies")
    assert (row["state"], row["confirmed_by"], row["confirmed_via"]) == ("confirmed", "Ada", "sms")
    assert (came["outcome"], came["person"], came["alert_id"]) == ("acknowledged", "Ada", alert_id)


def set_level(db, alert_id, level):
    tell(db, lambda c: c.execute(update(alert).where(alert.c.id == alert_id).values(level=level)))


def find_now(db, alert_id):
    return ask(db, find_alert, alert_id)


def test_what_the_provider_cannot_deliver_goes_again_and_then_has_failed(database):
    _, number = queue(database, "sms:DUTY_PHONE")
    tell(database, lambda c: c.execute(update(notification).values(attempts=5)))
    with provider() as twilio, page_of(database) as page, dispatching(database, twilio.server_port):
        for turn in (1, 2, 3):
            wait_for(lambda t=turn: row_of(database, number).provider_id == f"SM{t}")
            gone = {"MessageSid": f"SM{turn}", "MessageStatus": "undelivered", "ErrorCode": "30003"}
            assert report(page, "/gateway/status", gone, query=f"?message={number}").is_success
            assert row_of(database, number).state == ("failed_final" if turn == 3 else "failed_retry")
            with database.write() as c:  # the minute is over
                again = update(notification).where(notification.c.state == "failed_retry")
                c.execute(again.values(next_attempt_at=clock()))
        report(page, "/gateway/status", {"MessageSid": "SM1", "MessageStatus": "failed"}, query=f"?message={number}")
    (row,) = ask(database, load_view, "deliveries")
    assert (row["state"], row["attempts"], "code 30003" in row["why"]) == ("failed", 8, True)


def test_call_reads_the_message_and_one_digit_acknowledges(database):
    alert_id, number = queue(database, "voice:DUTY_PHONE")
    with provider() as twilio, page_of(database) as page:
        with dispatching(database, twilio.server_port):
            wait_for(lambda: row_of(database, number).state == "delivered")
        ((path, form, _),) = twilio.got
        assert path.endswith("/Calls.json")
        gather = ET.fromstring(form["Twiml"]).find("Gather")
        assert gather.get("action") == f"{PUBLIC}/gateway/digit?message={number}"
        assert "close the road" in gather.findtext("Say")
        assert gather.find("Say").get("language") == "it-IT"
        query = f"?message={number}"
        press = {"CallSid": "SM1", "To": NUMBER, "From": "+100000", "Digits": "2"}
        report(page, "/gateway/digit", press, query=query)
        report(page, "/gateway/digit", press | {"Digits": "1", "To": OTHER, "CallSid": "CAx"}, query=query)
        assert find_now(database, alert_id).state == "unacknowledged"
        set_level(database, alert_id, 4)  # while the call waited
        risen = report(page, "/gateway/digit", press | {"Digits": "1", "CallSid": "CA2"}, query=query)
        assert ET.fromstring(risen.text).findtext("Say").startswith("Il livello nel frattempo è salito.")
        assert find_now(database, alert_id).state == "unacknowledged"
        set_level(database, alert_id, 3)
        said = report(page, "/gateway/digit", press | {"Digits": "1"}, query=query)
        assert "Ada" in ET.fromstring(said.text).findtext("Say")
    assert find_now(database, alert_id).acknowledged_by == "Ada"


def test_wrong_account_is_tried_again_and_wrong_number_is_final(database):
    _, number = queue(database, "sms:DUTY_PHONE")
    with provider() as twilio:
        twilio.answers = [(401, {"sid": None}), (400, {"sid": None, "code": 21211})]
        with dispatching(database, twilio.server_port):
            wait_for(lambda: row_of(database, number).state == "failed_final")
    assert "answered 400 (code 21211)" in row_of(database, number).last_error
    assert len(twilio.got) == 2


@pytest.fixture
def asked(database):
    alert_id, number = queue(database, "sms:DUTY_PHONE", level=2)
    now = clock()
    with database.write() as c:
        c.execute(update(notification).values(state="delivered", sent_at=now))
        code = make_code(c, message(c, number), NUMBER, "Ada", "en", now)
    return database, alert_id, number, code, now


def message(c, number):
    row = c.execute(select(notification).where(notification.c.id == number)).one()
    return row_to_record(Notification, row, attempts=1)


def send(db, text, now, sender=NUMBER, name=None):
    return take_reply(db, "sms", sender, text, name or f"{text} {now.timestamp()}", now)


def test_code_is_valid_only_for_its_number_hours_and_level(asked):
    db, alert_id, number, code, now = asked
    wrong = f"{(int(code) + 1) % 10_000:04d}"
    assert send(db, f"ACK {code}", now, sender=OTHER).outcome == WRONG
    assert (send(db, f"ACK {wrong}", now).outcome, send(db, "we look at it", now).outcome) == (WRONG, WRONG)
    with db.write() as c:
        assert make_code(c, message(c, number), NUMBER, "Ada", "en", now) == code  # at a second try
        c.execute(update(alert).where(alert.c.id == alert_id).values(level=3))
    assert send(db, f"ACK {code}", now + timedelta(seconds=1)).outcome == RISEN
    tell(db, lambda c: c.execute(update(alert).where(alert.c.id == alert_id).values(level=2)))
    assert send(db, f"ACK {code}", now + timedelta(hours=5)).outcome == LATE
    assert find_now(db, alert_id).state == "unacknowledged"
    assert send(db, f"Ok: {code}!", now + timedelta(seconds=2), name="SM9").outcome == ACKNOWLEDGED
    assert send(db, f"Ok: {code}!", now + timedelta(seconds=3), name="SM9").outcome == REPEATED  # delivered twice
    assert send(db, f"ack{code}", now + timedelta(seconds=4)).outcome == REPEATED
    refused = [e for e in ask(db, load_entries, 50) if e.action == "reply.refused"]
    assert len(refused) == 5
    assert not any(NUMBER in str(e) or OTHER in str(e) for e in refused)


def test_a_reply_to_the_alarm_that_nobody_confirmed_does_not_acknowledge_what_has_risen_since(database):
    """The alarm stands where it stood; the alert behind it has risen: RISEN is said, and neither is acknowledged."""
    root, _ = queue(database, "sms:DUTY_PHONE", level=2)
    now = clock()
    with database.write() as c:
        alarm = add_alert(c, level=2, at=now, ledger="health", key=f"{UNCONFIRMED}{root}")
        number = add_message(c, alarm, "sms:DUTY_PHONE", level=2, at=now, subject="nobody confirmed")
        code = make_code(c, message(c, number), NUMBER, "Ada", "en", now)
    set_level(database, root, 3)
    assert send(database, f"ACK {code}", now + timedelta(seconds=1)).outcome == RISEN
    assert {find_now(database, one).state for one in (root, alarm)} == {"unacknowledged"}
    set_level(database, root, 2)
    assert send(database, f"ACK {code}", now + timedelta(seconds=2)).outcome == ACKNOWLEDGED
    assert {find_now(database, one).acknowledged_by for one in (root, alarm)} == {"Ada"}


def test_replies_of_a_number_are_ignored_after_a_few_wrong_codes(asked):
    db, alert_id, _, code, now = asked
    others = [f"{(int(code) + k) % 10_000:04d}" for k in range(1, MAX_WRONG + 4)]
    answers = [send(db, f"ACK {one}", now) for one in others]
    assert [a.outcome for a in answers] == [WRONG] * MAX_WRONG + [LIMITED] * 3
    assert [a.language for a in answers] == ["en"] * (MAX_WRONG + 1) + ["", ""]
    assert send(db, f"ACK {others[0]}", now, sender=OTHER).language == ""
    assert send(db, f"ACK {code}", now + timedelta(minutes=1)).outcome == LIMITED
    assert (take_digit(db, 999, OTHER, "CA1", now).outcome, find_now(db, alert_id).state) == (WRONG, "unacknowledged")
    assert send(db, f"ACK {code}", now + timedelta(minutes=62)).outcome == ACKNOWLEDGED


def test_telephone_numbers_are_deleted_after_a_month(asked):
    db, _, number, code, now = asked
    assert send(db, "ACK 0000 no", now, sender=OTHER).outcome == WRONG
    later = now + timedelta(days=31)
    assert send(db, f"ACK {code}", later).outcome == LATE
    with db.write() as c:
        assert {*c.execute(select(reply.c.sender)).scalars()} == {"", NUMBER}
        make_code(c, replace(message(c, number), id=number + 1), NUMBER, "Ada", "en", later)
        assert [*c.execute(select(reply_code.c.notification_id)).scalars()] == [number + 1]


def test_account_without_the_role_cannot_act_by_telephone(asked):
    from monitor.people.queries.users import add_user

    db, alert_id, _, code, now = asked
    tell(db, add_user, "ada", None, "viewer", now)
    assert (send(db, f"ACK {code}", now).outcome, find_now(db, alert_id).state) == (REFUSED, "unacknowledged")


@pytest.fixture
def modem(tmp_path):
    if shutil.which("gammu-smsd") is None:
        skip_missing("gammu-smsd")
    folder = tmp_path / "modem"
    for name in (*FOLDERS, *(f"phone/sms/{n}" for n in range(1, 6))):
        (folder / name).mkdir(parents=True)
    config = folder / "smsdrc"
    config.write_text(
        f"[gammu]\ndevice = {folder}/phone\nconnection = none\nmodel = dummy\n[smsd]\nservice = files\nloopsleep = 1\n"
        f"commtimeout = 1\nreceivefrequency = 1\nlogfile = {folder}/log\ncheckbattery = 0\nchecksignal = 0\n"
        f"inboxpath = {folder}/inbox/\noutboxpath = {folder}/outbox/\nsentsmspath = {folder}/sent/\n"
        f"errorsmspath = {folder}/error/\n"
    )
    daemon = subprocess.Popen(["gammu-smsd", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield folder
    daemon.terminate()
    daemon.wait(10)


@pytest.mark.server
def test_modem_sends_messages_and_its_replies_acknowledge(database, modem):
    alert_id, number = queue(database, "sms:DUTY_PHONE")
    watch = ModemWatch(database, modem, clock)
    with dispatching(database, GATEWAY="modem", MODEM=str(modem)):
        wait_for(lambda: row_of(database, number).state == "delivered")
    wait_for(lambda: watch.follow() or row_of(database, number).provider_said == "sent")
    assert watch.find_trouble() == ""
    code = ask(database, lambda c: c.execute(select(reply_code.c.code)).scalar_one())
    text, wide = f"ACK {code}", lambda said: said.encode("utf-16-be").hex().upper()
    written = modem / "written"  # the daemon looks every second, and at no half of a file
    written.write_text(
        f'[SMSBackup000]\nSMSC = "+41790000000"\nDateTime = 20260301T060000\nState = UnRead\nNumber = "{NUMBER}"\n'
        f"NumberUnicode = {wide(NUMBER)}\nText00 = {wide(text)}\n"
        f"Coding = Default_No_Compression\nFolder = 3\nLength = {len(text)}\nClass = -1\nReplySMSC = False\n"
        "RejectDuplicates = False\nReplaceMessage = 0\nMessageReference = 0\n"
    )
    written.rename(modem / "phone/sms/3/1")
    wait_for(lambda: watch.follow() or find_now(database, alert_id).state == "acknowledged")
    assert (find_now(database, alert_id).acknowledged_by, [*(modem / "inbox").iterdir()]) == ("Ada", [])
    log = (modem / "log").read_text(errors="replace")
    assert f"Rispondere ACK {code}" in log or "Transmitted OUTA" in log


def test_modem_that_takes_no_messages_is_reported_and_hostile_files_change_nothing(tmp_path, database):
    from monitor.errors import DeliveryError

    watch = ModemWatch(database, tmp_path, lambda: clock() + timedelta(minutes=10))
    assert "is missing" in watch.find_trouble()
    with pytest.raises(DeliveryError, match="cannot be written"):
        put_message(tmp_path, NUMBER, "x", "a" * 64)
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    put_message(tmp_path, NUMBER, "Grün ✓ 閉", "a" * 64)
    assert "gammu-smsd runs" in watch.find_trouble()
    (tmp_path / "secret").write_text("ACK 1234")
    (tmp_path / "inbox" / "IN20260301_060000_00_+41791234567_00.txt").symlink_to(tmp_path / "secret")
    (tmp_path / "inbox" / "IN20260301_060000_01_+41791234567_00.txt").write_bytes(b"\xff\xfe\xff" * 5000)
    for number in range(120):
        (tmp_path / "inbox" / f"IN20260301_050000_{number:02d}_Swisscom_00.txt").write_text("x")
    watch.follow()
    assert [*(tmp_path / "inbox").iterdir()] == []
    assert [r["outcome"] for r in ask(database, load_view, "message_replies")] == [WRONG]


@pytest.fixture
def watch(asked, tmp_path):
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    return ModemWatch(asked[0], tmp_path, lambda: asked[-1])


def test_reply_is_read_only_after_the_daemon_has_written_it(asked, watch, tmp_path):
    db, alert_id, _, code, _ = asked
    text = tmp_path / "inbox" / f"IN20260301_060000_00_{NUMBER}_00.txt"
    text.touch()
    watch.follow()
    assert text.exists()
    text.write_text(f"ACK {code}", encoding="utf-16")
    watch.follow()
    assert find_now(db, alert_id).state == "acknowledged"
    assert not text.exists()
    text.touch()
    os.utime(text, (0, 0))  # nobody writes it any more
    watch.follow()
    assert not text.exists()


def test_reply_that_cannot_be_processed_does_not_delay_others(asked, watch, tmp_path, monkeypatch):
    db, alert_id, _, code, _ = asked
    inbox = tmp_path / "inbox"
    (inbox / f"IN20260301_050000_00_{NUMBER}_00.txt").write_bytes("a\0b".encode("utf-16"))
    (inbox / f"IN20260301_050001_00_{OTHER}_00.txt").write_text("broken")
    (inbox / f"IN20260301_060000_00_{NUMBER}_00.txt").write_bytes(f"\0ACK {code}".encode("utf-16"))
    process = watch._process
    monkeypatch.setattr(watch, "_process", lambda name, at: 1 / 0 if OTHER in name else process(name, at))
    watch.follow()
    assert find_now(db, alert_id).acknowledged_by == "Ada"
    assert "cannot be read" in watch.find_trouble()
    texts = [path.read_text("utf-16") for path in (tmp_path / "outbox").iterdir()]  # a mistyped code is answered too
    assert sorted(text.split(".")[0] for text in texts) == ["Acknowledged in the name of Ada", "This code is unknown"]
    monkeypatch.undo()
    watch.follow()
    assert watch.find_trouble() == ""
    assert len([*(tmp_path / "outbox").iterdir()]) == 2  # who never had a message gets no answer


def test_used_code_does_not_acknowledge_a_later_rise(asked):
    db, alert_id, _, code, now = asked
    assert send(db, f"ACK {code}", now).outcome == ACKNOWLEDGED
    later = now + timedelta(hours=1)
    with db.write() as c:
        add_message(c, alert_id, "sms:DUTY_PHONE", level=2, sequence=9, at=later)
        c.execute(update(alert).where(alert.c.id == alert_id).values(state="unacknowledged"))
    assert send(db, f"ACK {code}", later + timedelta(minutes=1)).outcome == LATE
    assert find_now(db, alert_id).state == "unacknowledged"


def test_text_message_and_call_state_delay_and_number_of_other_alerts(database):
    with database.write() as c:
        add_site(c)
        alerts = [add_alert(c, level=level, at=clock(), key=f"key {n}") for n, level in enumerate((3, 1, 1))]
        first = add_message(c, alerts[0], "sms:DUTY_PHONE", at=clock(), subject="RED North: close the road.")
        add_message(c, alerts[0], "sms:DUTY_PHONE", level=2, sequence=2, at=clock(), state="delivered")
        covered = {"level": 1, "at": clock(), "state": "superseded", "superseded_by": first}
        for alert_id, sequence in zip(alerts, (3, 1, 1), strict=True):
            add_message(c, alert_id, "sms:DUTY_PHONE", sequence=sequence, **covered)
        (said,) = claim_due(c, clock(), "w", 30.0, 1, "sms:DUTY_PHONE")
    text = format_sms(translate(said))
    assert text.split("\n") == [
        "DELAYED: RED North: close the road.",
        "Level red.",
        "Other alerts: 2, see the page.",
        "Acknowledge alert 1 on the page.",
    ]
    with provider() as twilio, use_language("it"):
        VoiceNotifier("DUTY_PHONE", environ_of(twilio.server_port)).deliver(translate(said))
        spoken = twilio.got[0][1]["Twiml"]
    assert "IN RITARDO" in spoken
    assert "Altre allerte: 2" in spoken


def test_a_reply_does_not_wait_while_the_page_is_busy(database, monkeypatch):
    gate = threading.Event()

    def shrink(_request):  # called in the loop of the server
        to_thread.current_default_thread_limiter().total_tokens = 2

    monkeypatch.setattr(rules, "bearer_of", shrink)
    monkeypatch.setattr(rules, "_check_rule", lambda _request: gate.wait(60))
    text = {"From": NUMBER, "To": "+100000", "Body": "ack 1", "MessageSid": "SMb"}
    with page_of(database) as page, ThreadPoolExecutor(2) as readers:
        report(page, "/gateway/reply", text)
        asked = [readers.submit(httpx.get, f"{page}/health", trust_env=False, timeout=30) for _ in range(2)]
        time.sleep(0.2)
        assert report(page, "/gateway/reply", text).status_code == 200
        assert not any(one.done() for one in asked), "the reply waited for the page"
        gate.set()
        assert all(one.result().status_code for one in asked)
