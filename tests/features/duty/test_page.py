"""The page of duty: call list, hand-over, plans and swaps. Alarms about urgent alerts that nobody confirms."""

import re
from contextlib import contextmanager
from datetime import timedelta

import httpx
import pytest
from icalendar import Calendar
from sqlalchemy import update

from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import ChangeContext, acknowledge, apply_changes, find_alert, load_alerts, shelve
from monitor.alerts.queries.answers import load_answers
from monitor.decision.changes import AlertCategory, health_alarm
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.limits import DeliveryLimits
from monitor.errors import LevelRisenError
from monitor.features.duty.queries import add_plan, load_changes, load_handovers, load_open_items
from monitor.people.duty_tables import duty_handover
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.audit import load_entries
from monitor.storage.seals import find_unsealed
from monitor.storage.service_state import write_heartbeat
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from monitor.web.parts.headline import list_sentences
from tests.data.accounts import add_account
from tests.data.store_rows import ask
from tests.features.duty.test_duty import ADA, CREW, DAY, PLAN, SITE, T0, raise_alert
from tests.markup import flatten_html
from tests.web.test_door import Clock
from tests.web.test_door import serving as serving_at

WORDS = {"ada": "tin lantern quarry 41", "bo": "wool cedar anchor 93", "cy": "slate piano ember 26"}
MINUTE = timedelta(minutes=1)


@contextmanager
def serving(database, clock):
    with serving_at(database, clock) as address:
        with httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False) as client:
            yield client


@pytest.fixture
def watched(database):
    with database.write() as c:
        save_site(c, SITE, "ada", "test", T0 - DAY)
        for name, role in (("ada", "admin"), ("bo", "operator"), ("cy", "viewer")):
            add_account(c, name, WORDS[name], role, T0 - 9 * DAY)
        write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, T0)
    return database


class Browser:
    def __init__(self, client, name):
        self.client = client
        client.cookies.clear()
        assert client.post("/login", data={"name": name, "password": WORDS[name]}).status_code == 303

    def read(self, path="/sites/bench/duty"):
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text[:500]
        return answer.text

    def send(self, path, **data):
        csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.read())[1]
        return self.client.post(path, data={"csrf": csrf, **data})


def test_hand_over_on_the_page_needs_two_people_and_is_stored(watched):
    clock = Clock(T0)
    with watched.write() as c:
        add_plan(c, CREW, PLAN, ADA, "spring", T0)
        raise_alert(c, 2, T0)
    with serving(watched, clock) as client:
        assert client.get("/sites/bench/duty").status_code == 401  # The page contains telephone numbers.
        bo = Browser(client, "bo")
        page = bo.read()
        assert 'href="tel:+41790000001"' in page
        assert page.index("R. Mori") < page.index("A. Rossi") < page.index("L. Frei") < page.index("K. Okafor")
        assert "not sent yet" in page
        answer = bo.send("/sites/bench/duty/handover", team="geologists", notes="crack above bench 3 <b>wet</b>")
        assert answer.status_code == 303, answer.text
        assert bo.send("/sites/bench/duty/handover", team="geologists", notes="again").status_code == 409
        assert bo.send("/sites/bench/duty/handovers/1/sign").status_code == 409  # The same person cannot sign twice.
        assert "/handovers/1/sign" not in bo.read()
        with watched.write() as c:  # The name of the account had another spelling.
            c.execute(update(duty_handover).values(outgoing="Bo"))
        page = bo.read()
        assert "/handovers/1/sign" not in page
        assert "A hand-over waits for your signature" not in page
        assert "/handovers/1/withdraw" in page
        with watched.write() as c:
            c.execute(update(duty_handover).values(outgoing="bo"))
        ada = Browser(client, "ada")
        page = ada.read()
        assert "bo signed the hand-over of geologists at 2026-03-06 10:00" in page
        assert "crack above bench 3 &lt;b&gt;wet&lt;/b&gt;" in page
        assert "moves" in page
        assert ada.send("/sites/bench/duty/handovers/1/sign", remark="read").status_code == 303
        assert ada.send("/sites/bench/duty/handovers/1/sign").status_code == 409
        assert ada.send("/sites/bench/duty/handovers/1/withdraw", reason="too late").status_code == 409
        assert "from bo to ada" in ada.read()
        assert ada.send("/sites/bench/duty/handover", team="others", notes="nothing").status_code == 404
        cy = Browser(client, "cy")
        assert "the role operator for this site" in cy.read()
        form = {"csrf": "x", "team": "g", "notes": "n"}
        assert cy.client.post("/sites/bench/duty/handover", data=form).status_code == 403
    with watched.read() as c:
        (signed,) = load_handovers(c, "bench")
        assert list(find_unsealed(c)) == []
        acts = [e.action for e in load_entries(c, 20) if e.action.startswith("duty.handover")]
    assert (signed.outgoing, signed.incoming, signed.remark) == ("bo", "ada", "read")
    assert (signed.open_items["alerts"][0]["reason"], acts) == ("moves", ["duty.handover.sign", "duty.handover"])


def test_page_stores_plans_and_swaps_and_reports_a_shift_without_hand_over(watched):
    clock = Clock(T0)
    with serving(watched, clock) as client:
        bo = Browser(client, "bo")
        assert "This team has no plan" in bo.read()
        plan = {"team": "geologists", "plan": "daily 11:00 A. Rossi\ndaily 08:00 R. Mori", "reason": "spring"}
        assert bo.send("/sites/bench/duty/plan", **plan).status_code == 303
        assert bo.send("/sites/bench/duty/plan", **{**plan, "plan": "Mon 8 Mori"}).status_code == 409
        swap = {"team": "geologists", "out": "A. Rossi", "into": "L. Frei", "reason": "ill"}
        swap |= {"until": "2026-03-07T07:00"}
        assert bo.send("/sites/bench/duty/swap", **swap, **{"from": "2026-03-06T12:00"}).status_code == 303
        assert bo.send("/sites/bench/duty/swap", **{**swap, "until": "never"}).status_code == 409
        night = {**swap, "out": "R. Mori", "from": "2026-10-24T20:00", "until": "2026-10-25T02:30"}
        asked = bo.send("/sites/bench/duty/swap", **night)
        assert (asked.status_code, "02:30 comes twice that night" in asked.text) == (409, True)
        assert bo.send("/sites/bench/duty/swap", **night, turn="second").status_code == 303
        assert parse_time("2026-10-25T01:30:00Z") in [
            change.to_at for change in ask(watched, load_changes, "bench", T0)
        ]
        assert "L. Frei replaces A. Rossi" in bo.read()
        shifts = Calendar.from_ical(client.get("/sites/bench/duty.ics").content).walk("VEVENT")
        turns = [str(e["summary"]).partition(": ")[2] for e in shifts[:4]]
        assert turns == ["R. Mori", "A. Rossi", "L. Frei", "A. Rossi"]
        clock.now = T0 + 90 * MINUTE
        bo = Browser(client, "bo")
        assert "This shift started without a hand-over." in bo.read()
        assert bo.send("/sites/bench/duty/changes/1/withdraw", team="geologists", reason="well").status_code == 303
        clock.now = T0 + 5 * 60 * MINUTE
        bo = Browser(client, "bo")
        assert "L. Frei replaces A. Rossi" not in bo.read()


def test_page_shows_the_plan_in_force_and_not_a_later_plan(watched):
    with watched.write() as c:
        in_force = add_plan(c, CREW, "daily 00:00 R. Mori", ADA, "spring", T0)
        add_plan(c, CREW, "daily 00:00 L. Frei", ADA, "summer", T0, valid_from=T0 + 9 * DAY)
    with serving(watched, Clock(T0 + 60 * MINUTE)) as client:
        text = Browser(client, "bo").read()
    assert f"Plan No. {in_force}, in force from" in text
    assert "daily 00:00 R. Mori" in text
    assert "daily 00:00 L. Frei" not in text


def test_unconfirmed_urgent_alert_raises_an_alarm_to_all_recipients(watched):
    now = [T0]
    limits = DeliveryLimits(unconfirmed_after_s=720.0, unconfirmed_again_s=300.0)
    watch = Dispatcher(watched, {"bench": SITE}, lambda: now[0], limits=limits)

    def wait_minutes(minutes, by=1):
        for _ in range(minutes // by):
            now[0] += by * MINUTE
            watch.escalate_once(now[0])

    def alarms():
        return [(a.key, a.level, a.state, a.reason) for a in ask(watched, load_alerts, "bench", ledger="health")]

    with watched.write() as c:
        add_plan(c, CREW, PLAN, ADA, "spring", T0)
        raise_alert(c, 1, T0, "low")  # A low level is not urgent and raises no alarm.
        raise_alert(c, 2, T0)
    wait_minutes(50, 10)  # The last recipient of the chain is notified after 40 minutes.
    assert alarms() == []
    wait_minutes(2)
    ((key, level, state, reason),) = alarms()
    assert (key, level, state) == ("health:unconfirmed:2", 2, "unacknowledged")
    opened = f"open since {T0:%Y-%m-%d %H:%M} UTC"
    assert reason.startswith(f"nobody confirmed alert 2, orange at {SITE.name}, {opened}: 5 notified, ")
    assert "call R. Mori, A. Rossi, L. Frei, K. Okafor, control room" in reason

    def list_alarm_channels():
        rows = ask(watched, load_view, "notification_status", ledger="health", order_by=("notification_id",))
        return [row["channel"] for row in rows]

    everybody = ["log:frei", "log:mori", "log:okafor", "log:phone", "log:room", "log:rossi"]
    assert sorted(list_alarm_channels()) == everybody
    wait_minutes(5)
    assert sorted(list_alarm_channels()[6:]) == everybody  # The alarm is repeated by all channels.
    clock = Clock(now[0])
    with serving(watched, clock) as client:
        assert "not yet acknowledged" in client.get("/sites/bench").text
    with watched.write() as c:
        acknowledge(c, 2, Actor("mori"), "I am there", now[0])
    wait_minutes(1)
    assert [(key, state) for key, _, state, _ in alarms()] == [("health:unconfirmed:2", "closed")]
    count = len(list_alarm_channels())
    wait_minutes(60, 15)
    assert len(list_alarm_channels()) == count


def test_unconfirmed_alarm_continues_after_level_changes_until_the_alert_is_shelved(watched):
    now = [T0]
    watch = Dispatcher(watched, {"bench": SITE}, lambda: now[0], limits=DeliveryLimits(unconfirmed_after_s=60.0))

    def alarm():
        watch.escalate_once(now[0])
        return next(((a.state, a.reason) for a in ask(watched, load_alerts, "bench", ledger="health")), ("none", ""))

    with watched.write() as c:
        raise_alert(c, 2, T0)
    for _ in range(5):
        now[0] += 11 * MINUTE
        state, reason = alarm()
    assert state == "unacknowledged"
    with watched.write() as c:
        mine = notification.c.alert_id == 1
        # This confirms level 2.
        c.execute(update(notification).where(mine).values(state="confirmed", confirmed_at=now[0]))
        raise_alert(c, 3, now[0])
    assert alarm() == (state, reason), "nobody has confirmed the level red"
    with watched.write() as c:
        raise_alert(c, 2, now[0])
    assert alarm() == (state, reason)
    with watched.write() as c:
        shelve(c, 1, Actor("mori"), "seen", now[0] + 60 * MINUTE, now[0], second=Actor("frei"), top_level=3)
    assert alarm() == ("closed", "alert 1 is put aside; nobody confirmed it")


def test_acknowledging_the_unconfirmed_alarm_acknowledges_the_alert_unless_it_rose(watched):
    watch = Dispatcher(watched, {"bench": SITE}, lambda: T0, limits=DeliveryLimits(unconfirmed_after_s=60.0))

    def wait():
        for minutes in range(0, 66, 11):
            watch.escalate_once(T0 + minutes * MINUTE)
        return {a.key: (a.id, a.state) for a in ask(watched, load_alerts, "bench")}

    with watched.write() as c:
        raise_alert(c, 2, T0)
    number, _ = wait()["health:unconfirmed:1"]
    with watched.write() as c:
        raise_alert(c, 3, T0 + 60 * MINUTE)
    with pytest.raises(LevelRisenError, match="alert 1 has risen to level 3"), watched.write() as c:
        acknowledge(c, number, Actor("mori"), "I am there", T0 + 61 * MINUTE)
    with watched.write() as c:
        raise_alert(c, 2, T0 + 62 * MINUTE)
        acknowledge(c, number, Actor("mori"), "I am there", T0 + 62 * MINUTE)
    assert set(wait().values()) == {(1, "acknowledged"), (number, "closed")}


def test_recurring_alarm_raises_one_unconfirmed_alarm_that_ends_with_its_cause(watched):
    now, limits = [T0], DeliveryLimits(unconfirmed_after_s=600.0, unconfirmed_again_s=1e6)
    watch = Dispatcher(watched, {"bench": SITE}, lambda: now[0], limits=limits)
    alarms_by_minute = []

    def turn(minutes, *, is_open):
        with watched.write() as c:
            change = health_alarm("health:x", 2, "it flaps", is_open=is_open)
            apply_changes(c, [change], ChangeContext("bench", SITE, SITE.recipients, ADA, now[0], "1"))
        for _ in range(minutes):
            now[0] += MINUTE
            watch.escalate_once(now[0])
            alerts = ask(watched, load_alerts, "bench", ledger="health")
            alarms_by_minute.append([(a.id, a.state) for a in alerts if "unconfirmed" in a.key])

    for _ in range(12):
        turn(3, is_open=True)
        turn(4, is_open=False)
    alarms_seen = [alarms for alarms in alarms_by_minute if alarms]
    assert alarms_seen, "everybody was notified repeatedly, and nobody acknowledged"
    assert {len(alarms) for alarms in alarms_seen} == {1}, "the alarm is raised once, not each time"
    assert {state for alarms in alarms_seen for _, state in alarms} == {"unacknowledged"}
    turn(3, is_open=True)
    turn(9, is_open=False)
    assert alarms_by_minute[-1][0][1] == "unacknowledged"
    turn(2, is_open=False)
    assert alarms_by_minute[-1][0][1] == "closed"
    (over,) = [a.reason for a in ask(watched, load_alerts, "bench", ledger="health") if "unconfirmed" in a.key]
    assert over == "the cause of alert 1 is gone; nobody confirmed it"


def test_confirmation_of_a_lower_level_does_not_count_for_a_higher_level(watched):
    def load_confirmations():
        answers = ask(watched, load_answers, [1])[1]
        return [delivery.recipient for delivery in answers.deliveries], answers.confirmed, answers.since

    with watched.write() as c:
        add_plan(c, CREW, PLAN, ADA, "spring", T0)
        raise_alert(c, 1, T0)
        c.execute(update(notification).values(state="confirmed", confirmed_at=T0 + MINUTE))
        acknowledge(c, 1, Actor("mori"), "seen", T0 + MINUTE)
    assert load_confirmations() == (["R. Mori"], ["R. Mori"], T0)
    with watched.write() as c:
        raise_alert(c, 3, T0 + 60 * MINUTE)
    assert load_confirmations() == (["R. Mori", "control room"], [], T0 + 60 * MINUTE)


def test_unconfirmed_drill_raises_no_alarm(watched):
    now = [T0]
    watch = Dispatcher(watched, {"bench": SITE}, lambda: now[0], limits=DeliveryLimits(unconfirmed_after_s=60.0))
    with watched.write() as c:
        raise_alert(c, 2, T0, exercise=True)
    now[0] += 3 * DAY
    for _ in range(5):
        now[0] += 11 * MINUTE
        watch.escalate_once(now[0])
    assert ask(watched, load_alerts, "bench", ledger="health") == []


def test_page_shelves_an_alert_within_the_limit_and_ends_shelving(watched):
    with watched.write() as c:
        raise_alert(c, 1, T0)
        raise_alert(c, 2, T0, "health:site:cannot_see", AlertCategory.HEALTH)

    def state(number):
        return ask(watched, find_alert, number).state

    with serving(watched, Clock(T0)) as client:
        bo = Browser(client, "bo")
        page = bo.read("/alerts/1")
        assert 'action="/alerts/1/shelve"' in page
        assert '<option value="24h">24 h</option></select>' in flatten_html(page)
        assert "/alerts/1/take-out" not in page  # A hazard alert cannot be taken out of service.
        assert bo.send("/alerts/1/shelve", **{"for": "72h"}, reason="blasting").status_code == 409
        assert bo.send("/alerts/1/shelve", **{"for": "8h"}, reason="blasting").status_code == 303
        for path in ("/", "/sites/bench"):
            text = " ".join(bo.read(path).split())
            assert "1 alert is put aside" in text
            assert "until <time" in text
        assert "End shelving as bo" in bo.read("/alerts/1")
        assert bo.send("/alerts/1/unshelve", reason="blasting is over").status_code == 303
        assert state(1) == "unacknowledged"
        answer = bo.send("/alerts/2/take-out", reason="the radio is dismantled")
        assert "second%20person" in answer.headers["location"]
        assert state(2) == "unacknowledged"
        ada = Browser(client, "ada")
        assert (ada.send("/alerts/2/take-out", reason="seen").status_code, state(2)) == (303, "out_of_service")
        assert ada.send("/alerts/2/put-back", reason="it stands again").status_code == 303
        assert ada.send("/alerts/2/put-back", reason="it stands again").status_code == 409
        assert "/alerts/1/shelve" not in Browser(client, "cy").read("/alerts/1")


def test_hand_over_stores_the_sentence_of_each_alert(filled_database):
    def tell(_, alerts):
        return {a["alert_id"]: "moving 3 mm/day" for a in alerts if a["ledger"] == "hazard"}

    with filled_database.read() as c:
        raw = {a["alert_id"]: a["reason"] for a in load_view(c, "active_alerts", site="north-bench")}
        items = load_open_items(c, "north-bench", parse_time("2026-03-05T12:00:00Z"), tell)
        assert list_sentences(c, [{"ledger": "health"}]) == {}, "the evidence of a health alert is about a level"
    for alert in items["alerts"]:
        plain = "moving 3 mm/day" if alert["ledger"] == "hazard" else raw[alert["alert_id"]]
        assert alert["reason"] == plain
    assert "moving 3 mm/day" in {alert["reason"] for alert in items["alerts"]}
