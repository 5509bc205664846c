"""Teams: messages go to the person on duty, and escalation follows the team. The daily digest of a recipient."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from monitor.alerts.queries.alerts import ChangeContext, acknowledge, apply_changes, shelve, unshelve_due
from monitor.alerts.queries.recipients import list_chain
from monitor.alerts.tables import alert
from monitor.app.checks.live import EscalationStatus
from monitor.app.checks.site_files import SiteFolder
from monitor.app.checks.table import run_checks
from monitor.decision.changes import AlertCategory, AlertChange, health_alarm
from monitor.delivery.digest import run
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.limits import DeliveryLimits
from monitor.errors import ConfigError, DeliveryError
from monitor.features.duty.queries import add_plan
from monitor.settings.service import parse_service
from monitor.sites.parsing import find_weaknesses, parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import gather_recipients
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.check import BAD
from monitor.storage.views import load_view
from tests.data.site_text import FOUR, head, series, station
from tests.data.store_rows import ask, tell

T0 = datetime(2026, 3, 6, 9, tzinfo=UTC)  # a Friday, 10:00 in Zurich
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ADA, BO = Actor("ada"), Actor("bo")
PEOPLE = {
    "team:geologists": 'levels = ["yellow", "orange", "red"]\nescalate_after = "10m"',
    "R. Mori": 'channels = ["log:mori", "log:phone"]\nphone = "+41 79 000 00 01"\npeople = ["mori"]',
    "A. Rossi": 'channels = ["log:rossi"]',
    "L. Frei": 'channels = ["log:frei"]',
    "K. Okafor": 'channels = ["log:okafor"]',
    "control room": 'channels = ["log:room"]\nlevels = ["red"]\nescalate_after = "10m"',
}
TEAM = '[[team]]\nname = "geologists"\nmembers = ["R. Mori", "A. Rossi", "L. Frei", "K. Okafor"]\nlead = "L. Frei"\n'
PLAN = "Mon-Fri 07:00 R. Mori, A. Rossi\nFri 20:00 nobody\nSun 08:00 A. Rossi"


def text_of(people=PEOPLE, team=TEAM):
    recipients = "".join(f'[[recipient]]\nname = "{name}"\n{keys}\n' for name, keys in people.items())
    return (
        head("bench", timezone="Europe/Zurich", levels=FOUR) + station("G1", series("tilt", "mrad")) + recipients + team
    )


SITE = parse_site(text_of(), "bench")
(CREW,) = SITE.teams


@pytest.fixture
def watched(database):
    tell(database, save_site, SITE, "ada", "test", T0 - DAY)
    return database


def raise_alert(c, level, at, key="hazard", ledger=AlertCategory.HAZARD, site=SITE, recipients=None, **more):
    change = AlertChange(ledger, key, level, open=True, reason="moves", data_time=None, evidence="{}")
    people, name = recipients or SITE.recipients, site.id if site else "status"
    apply_changes(c, [change], ChangeContext(name, site, people, SERVICE_ACTOR, at, "1", **more))


def list_notified(database):
    rows = ask(database, load_view, "notification_status", order_by=("notification_id",))
    return [(row["recipient"], row["channel"]) for row in rows]


def test_person_on_duty_is_notified_first_and_escalation_follows_the_team(watched):
    now = [T0]
    watch = Dispatcher(watched, {"bench": SITE}, lambda: now[0], limits=DeliveryLimits(unconfirmed_after_s=1e9))
    with watched.write() as c:
        add_plan(c, CREW, PLAN, ADA, "spring", T0)
        raise_alert(c, 2, T0)
    assert list_notified(watched) == [("R. Mori", "log:mori"), ("R. Mori", "log:phone")]
    steps = []
    for _ in range(6):
        before = len(list_notified(watched))
        now[0] += 9 * timedelta(minutes=1)
        assert watch.escalate_once(now[0]) == 0
        now[0] += timedelta(minutes=1)
        watch.escalate_once(now[0])
        steps.append(sorted({name for name, _ in list_notified(watched)[before:]}))
    crew = ["A. Rossi", "K. Okafor", "L. Frei", "R. Mori"]
    # The second person, the lead, the other members, the next recipient, then repeatedly all who have `escalate_after`.
    assert steps[:4] == [["A. Rossi"], ["L. Frei"], ["K. Okafor"], ["control room"]]
    assert steps[4:] == [[*crew, "control room"]] * 2
    tell(watched, acknowledge, 1, BO, "on the way", now[0])
    now[0] += HOUR
    assert watch.escalate_once(now[0]) == 0


def test_escalation_notifies_the_person_on_duty_at_that_time_first(watched):
    now = [T0]
    watch = Dispatcher(watched, {"bench": SITE}, lambda: now[0])
    with watched.write() as c:
        add_plan(c, CREW, "daily 10:05 L. Frei\ndaily 08:00 R. Mori, A. Rossi", ADA, "spring", T0)
        raise_alert(c, 2, T0)
    now[0] += 11 * timedelta(minutes=1)  # It is 10:11, and the shift of L. Frei started at 10:05.
    watch.escalate_once(now[0])
    assert [name for name, _ in list_notified(watched)] == ["R. Mori", "R. Mori", "L. Frei"]


def test_whole_team_is_notified_if_nobody_is_on_duty_or_there_is_no_plan(watched):
    crew = ["R. Mori", "R. Mori", "A. Rossi", "L. Frei", "K. Okafor"]
    tell(watched, raise_alert, 2, T0, "hazard")
    assert [name for name, _ in list_notified(watched)] == crew
    with watched.write() as c:
        add_plan(c, CREW, PLAN, ADA, "spring", T0)
        raise_alert(c, 2, T0 + 11 * HOUR, "other")  # Friday 21:00
    assert [name for name, _ in list_notified(watched)][5:] == crew


def test_whole_team_is_notified_without_the_feature_and_check_reports_it(watched, leave_out_features):
    """Without a feature that returns the people on duty, everybody in the team is notified at once."""
    tell(watched, add_plan, CREW, PLAN, ADA, "spring", T0)
    folder = SiteFolder(CONFIG, [SITE], {})

    def find_refused():
        return [
            (state.subject, state.text, state.level)
            for state in run_checks(folder)
            if state.check.id == "channels.duty"
        ]

    assert find_refused() == []
    leave_out_features("duty")
    tell(watched, raise_alert, 2, T0)
    crew = ["R. Mori", "R. Mori", "A. Rossi", "L. Frei", "K. Okafor"]
    assert [name for name, _ in list_notified(watched)] == crew
    watch = Dispatcher(watched, {"bench": SITE}, lambda: T0, limits=DeliveryLimits(unconfirmed_after_s=1e9))
    assert watch.escalate_once(T0 + 11 * timedelta(minutes=1)) == 1
    assert [name for name, _ in list_notified(watched)] == [*crew, "control room"]
    text = "team geologists: the feature duty is not installed, so messages go to the whole team"
    assert find_refused() == [("bench", text, BAD)]


def test_failing_duty_plugin_does_not_stop_an_alarm(watched, monkeypatch, caplog):
    def fail(c, teams, at):
        raise KeyError("rota")

    monkeypatch.setattr("monitor.features.duty.queries.find_on_duty", fail)
    tell(watched, raise_alert, 2, T0)
    assert [name for name, _ in list_notified(watched)] == ["R. Mori", "R. Mori", "A. Rossi", "L. Frei", "K. Okafor"]
    assert "people_on_duty of the plugin duty: left out" in caplog.text


def test_person_who_is_recipient_and_team_member_gets_one_message_per_channel(watched):
    site = parse_site(text_of({**PEOPLE, "R. Mori": PEOPLE["R. Mori"] + '\nlevels = ["orange"]'}), "bench")
    tell(watched, raise_alert, 2, T0, recipients=site.recipients)
    assert sorted(list_notified(watched)) == sorted({*list_notified(watched)})
    assert [name for name, _ in list_notified(watched)].count("R. Mori") == 2


def test_alarms_of_the_service_go_to_the_people_on_duty_at_each_site(watched):
    with watched.write() as c:
        add_plan(c, CREW, PLAN, ADA, "spring", T0)
        raise_alert(c, 2, T0, "health:x", AlertCategory.HEALTH, None, gather_recipients([SITE]))
    assert sorted({name for name, _ in list_notified(watched)}) == ["R. Mori", "control room"]


def test_site_file_with_an_invalid_team_is_refused():
    for team, message in (
        (TEAM.replace('L. Frei"\n', 'Q"\n'), "lead: expected one of the members"),
        (TEAM.replace('"A. Rossi"', '"r. mori"'), "appears twice"),
        (TEAM.replace('"A. Rossi"', '"Q"'), "expected the name of a "),
        (TEAM.replace('"geologists"', '"others"'), "is no team; expected team:others"),
        (TEAM + TEAM, "appears twice"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_site(text_of(team=team), "bench")
    with pytest.raises(ConfigError, match="a team has no "):
        parse_site(text_of({**PEOPLE, "team:geologists": 'channels = ["log:x"]'}), "bench")
    alone = parse_site(text_of({k: v for k, v in PEOPLE.items() if not k.startswith("team")}), "bench")
    assert any("is never notified" in line for line in find_weaknesses(alone))


def test_failure_at_one_site_does_not_stop_escalation_of_other_sites(watched, monkeypatch):
    other = parse_site(text_of().replace('"bench"', '"apron"'), "apron")
    sites = {"bench": SITE, "apron": other}
    watch = Dispatcher(watched, sites, lambda: T0, limits=DeliveryLimits(unconfirmed_after_s=1e9))
    with watched.write() as c:
        save_site(c, other, "ada", "test", T0 - DAY)
        for site in (SITE, other):
            add_plan(c, site.teams[0], PLAN, ADA, "spring", T0)
            raise_alert(c, 2, T0, site=site)

    def fail_at_apron(c, recipients, at):
        if recipients is other.recipients:
            raise ValueError
        return list_chain(c, recipients, at)

    monkeypatch.setattr("monitor.delivery.dispatcher.list_chain", fail_at_apron)
    assert watch.escalate_once(T0 + HOUR) == 1
    alarms = run_checks(EscalationStatus(["bench", "apron"], watch.failing))
    assert [k.key for k in alarms if k.is_wrong] == ["escalation:apron"]
    monkeypatch.undo()
    assert watch.escalate_once(T0 + HOUR) == 1
    assert not watch.failing


def test_recurring_alarm_escalates_until_somebody_acknowledges(watched):
    now = [T0]
    watch = Dispatcher(watched, {"bench": SITE}, lambda: now[0], limits=DeliveryLimits(unconfirmed_after_s=1e9))
    minute = timedelta(minutes=1)

    def raise_and_end_alarm():
        """Raise and end the alarm three times within twelve minutes. Return who was notified."""
        before = len(list_notified(watched))
        for _ in range(3):
            tell(watched, raise_alert, 2, now[0], "health:x", AlertCategory.HEALTH)
            watch.escalate_once(now[0])
            now[0] += 4 * minute
            watch.escalate_once(now[0])
            over = [health_alarm("health:x", 2, "over", is_open=False)]
            tell(
                watched, apply_changes, over, ChangeContext("bench", SITE, SITE.recipients, SERVICE_ACTOR, now[0], "1")
            )
        return {name for name, _ in list_notified(watched)[before:]}

    tell(watched, add_plan, CREW, "daily 00:00 R. Mori, A. Rossi", ADA, "spring", T0)
    assert raise_and_end_alarm() == {"control room", "R. Mori", "A. Rossi"}
    assert raise_and_end_alarm() == {"control room", "R. Mori", "A. Rossi", "L. Frei"}
    with watched.write() as c:
        raise_alert(c, 2, now[0], "health:x", AlertCategory.HEALTH)
        acknowledge(c, 1, BO, "on the way", now[0])
        c.execute(update(alert).values(state="unacknowledged"))
    assert watch.escalate_once(now[0]) == 0, "after an acknowledgement, escalation starts at the first step again"


def test_alert_whose_shelving_ends_notifies_the_person_on_duty_at_that_time(watched):
    now = [T0]
    silent = replace(SITE, recipients=tuple(replace(r, escalate_after_s=None) for r in SITE.recipients))
    watch = Dispatcher(watched, {"bench": silent}, lambda: now[0], limits=DeliveryLimits(unconfirmed_after_s=1e9))
    with watched.write() as c:
        add_plan(c, CREW, "daily 08:00 R. Mori\ndaily 10:30 L. Frei", ADA, "spring", T0)
        raise_alert(c, 1, T0, site=silent, recipients=silent.recipients)
        shelve(c, 1, BO, "blasting", T0 + HOUR, T0, top_level=3)
    assert {name for name, _ in list_notified(watched)} == {"R. Mori"}
    now[0] = T0 + HOUR
    assert watch.escalate_once(now[0]) == 0
    assert tell(watched, unshelve_due, "bench", SERVICE_ACTOR, now[0])
    now[0] += timedelta(seconds=5)
    assert (watch.escalate_once(now[0]), list_notified(watched)[-1]) == (1, ("L. Frei", "log:frei"))
    assert watch.escalate_once(now[0] + timedelta(seconds=5)) == 0, "once"


# ---- the daily digest ------------------------------------------------------------------------------------------
SEVEN = datetime(2026, 3, 6, 6, tzinfo=UTC)  # 07:00 in Zurich
CONFIG = parse_service('[web]\npublic_url = "https://slopes.example.org"\n', "test")


def site_of(more, channels='["log:room"]'):
    room = f'channels = {channels}\nlevels = ["red"]\n{more}'
    return parse_site(text_of({**PEOPLE, "control room": room}), "bench")


@pytest.fixture
def digest_log(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [r.getMessage() for r in caplog.records if "digest" in r.getMessage()]


def save(database, site):
    with database.write() as c:
        save_site(c, site, "ada", "test", SEVEN - DAY)
        add_plan(c, site.teams[0], PLAN, ADA, "spring", SEVEN - DAY)


def test_digest_is_sent_once_a_day_at_its_local_time(database, digest_log):
    site = site_of('digest = "07:00"')
    save(database, site)
    assert run(database, CONFIG, site, SEVEN - timedelta(minutes=1)) == "none due"
    assert run(database, CONFIG, site, SEVEN) == "1 sent"
    assert run(database, CONFIG, site, SEVEN + timedelta(minutes=1)) == "0 sent"
    (line,) = digest_log()
    assert "daily digest, open alerts: 0" in line
    assert "On duty, geologists: R. Mori, A. Rossi" in line
    # It is too late for the digest of this day.
    assert run(database, CONFIG, site, SEVEN + timedelta(hours=7)) == "none due"
    with database.write() as c:
        raise_alert(c, 2, SEVEN + DAY - timedelta(hours=1), site=site)
        raise_alert(c, 1, SEVEN + DAY - timedelta(hours=1), "strange", AlertCategory.ADVICE, site=site)
    assert run(database, CONFIG, site, SEVEN + DAY) == "1 sent"
    text = digest_log()[-1]
    assert "suggestions: 1" in text
    assert "Suggestion 2: moves" in text
    for part in ("daily digest, open alerts: 1", "Alert 1: moves", "On duty, geologists: nobody"):
        assert part in text, part
    assert "https://slopes.example.org/sites/bench" in text
    assert "This message comes every day at 07:00" in text
    rows = ask(database, load_view, "digests", order_by=("day",))
    facts = [(r["day"], r["recipient"], r["state"], r["attempts"]) for r in rows]
    assert facts == [(f"2026-03-{day}", "control room", "sent", 1) for day in ("06", "07")]
    # Summer time starts on 29 March.
    assert run(database, CONFIG, site, datetime(2026, 3, 29, 5, tzinfo=UTC)) == "1 sent"


def test_digest_is_sent_by_the_next_channel_after_a_refusal(database, digest_log):
    site = site_of('digest = "07:00"', '["email:room@example.org", "voice:NUMBER", "log:room"]')
    save(database, site)
    with pytest.raises(DeliveryError, match="control room by email"):
        run(database, CONFIG, site, SEVEN)
    assert (run(database, CONFIG, site, SEVEN + timedelta(minutes=1)), len(digest_log())) == ("1 sent", 1)


def test_digest_is_sent_by_the_modem_in_the_service_file(database, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBER", "+41791234567")
    (tmp_path / "outbox").mkdir()
    site = site_of('digest = "07:00"', '["sms:NUMBER"]')
    save(database, site)
    config = parse_service(f'[sms]\ngateway = "modem"\nmodem = "{tmp_path}"\n', "test")
    assert run(database, config, site, SEVEN) == "1 sent"
    (text,) = (tmp_path / "outbox").iterdir()
    assert "daily digest" in text.read_text("utf-16")


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('digest = "25:00"', "no time of the day"),
        ('quiet = "22:00"', "two times of the day"),
        ('quiet = "22:00-22:00"', "two different times"),
    ],
)
def test_invalid_times_of_digest_and_quiet_hours_are_refused(more, fault):
    with pytest.raises(ConfigError, match=fault):
        site_of(more)


def test_delayed_digest_of_the_evening_is_sent_after_midnight(database, digest_log):
    site = site_of('digest = "23:30"')
    save(database, site)
    late = SEVEN.replace(hour=22, minute=30)  # 23:30 in Zurich
    assert run(database, CONFIG, site, late + timedelta(hours=2)) == "1 sent", (
        "the mail server was unreachable until after midnight"
    )
    assert run(database, CONFIG, site, late + timedelta(hours=3)) == "0 sent"
    assert run(database, CONFIG, site, late + timedelta(days=1)) == "1 sent"
    assert [r["day"] for r in ask(database, load_view, "digests", order_by=("day",))] == ["2026-03-06", "2026-03-07"]
    assert len(digest_log()) == 2
