"""Reports contain what was known at the end of their period, are mailed by schedule, and are shown on the page.

Periods follow the local time of the site: in every time zone each hour belongs to exactly one report.
"""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime, time, timedelta
from email import message_from_bytes
from email.policy import default
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from monitor import extras
from monitor.alerts.evaluation_tables import evaluation
from monitor.alerts.event_tables import report
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries import alerts
from monitor.alerts.queries.overview import load_range
from monitor.alerts.tables import alert, alert_event
from monitor.cli.main import run_command
from monitor.errors import ConfigError, JobError, NotFoundError, RefusedError
from monitor.features.movement.tables import movement as movement_table
from monitor.features.reports import facts as facts_of
from monitor.features.reports import issue as issuing
from monitor.features.reports import pdf
from monitor.features.reports import queries as report_facts
from monitor.features.reports.facts import gather_facts, make_digest
from monitor.features.reports.period import (
    DAILY,
    KINDS,
    SHIFT,
    WEEKLY,
    Period,
    find_last_period,
    make_period,
    read_times,
    split_days,
)
from monitor.features.reports.queries import load_issue, load_issues, load_mails
from monitor.features.reports.render import describe_end, render_report
from monitor.features.reports.tables import issued_report, report_mail
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ComputeSection, parse_service
from monitor.storage.views import load_view
from monitor.web.parts.documents import find_policy
from tests.data.filled import ADA, NOW
from tests.data.rows import insert_rows
from tests.fixtures.databases import STORY_ON_SQLITE
from tests.fixtures.waiting import free_port
from tests.markup import flatten_html
from tests.web.served import log_in, serving

DAY, LATE = timedelta(days=1), timedelta(minutes=10)
SITE, ZURICH = "north-bench", ZoneInfo("Europe/Zurich")
WEEK = make_period(WEEKLY, NOW, ZURICH)


def replace_evaluations(database):
    """Replace the evaluations of the last week: yellow, orange for two days, blind for an hour."""
    values = {"hours": [-150, -48, -9, -8, -0.3, -0.05, 1], "level": [1, 2, 2, 2, 2, 2, 3]}
    values |= {
        "at": [NOW + timedelta(hours=h) for h in values["hours"]],
        "seen": ["full"] * 2 + ["blind"] + ["full"] * 4,
    }
    rows = """
7 evaluation site=north-bench at=$at trigger=data level=$level observability=$seen reachable_level=3 config_sha256=x
    digest=x
"""
    with database.write() as c:
        c.execute(evaluation.delete().where(evaluation.c.site == SITE))
        insert_rows(c, NOW, rows, values)


@pytest.fixture
def database(filled_database):
    replace_evaluations(filled_database)
    return filled_database


def gather(database, period=WEEK, site=SITE):
    with database.read() as c:
        return gather_facts(c, site, period)


def test_report_contains_only_what_was_known_at_its_end(database):
    facts = gather(database)
    assert facts["now"]["level"] == 2
    days = {day["day"]: (day["highest"], day["last"], day["sight"]) for day in facts["days"]}
    assert (days["2026-02-25"], days["2026-02-28"]) == ((1, 1, "full"), (2, 2, "blind"))
    assert days["2026-02-22"] == (None, None, None), "not evaluated"
    (hazard,) = facts["hazards"]
    assert (hazard["peak_level"], hazard["acknowledged_by"], hazard["outcome"]) == (2, "bo", None)
    moved = {row["station"]: row for row in facts["movement"]}
    assert moved["G1"]["change"] > moved["G2"]["change"] > 10 > moved["C1"]["change"]
    assert moved["G1"]["stage"] == "progressive"
    assert facts["rain"][0]["sum_mm"] > 0
    assert facts["messages"]["late"][0]["channel"] == "webhook"
    assert {row["kind"] for row in facts["notes"]} >= {"crack", "maintenance"}
    assert len(facts["scores"]) == 4

    # none of these is known at the end of the period
    digest = make_digest(facts)
    later = NOW + timedelta(hours=2)
    with database.write() as c:
        add_observations(
            c,
            [
                Observation(SITE, "G1", "displacement_north", "mm", NOW - DAY, later, 999.0, solution="corrected"),
                Observation(SITE, "R1", "rain", "mm", NOW - timedelta(hours=3), later, 40.0),
            ],
            later,
        )
        alerts.set_outcome(c, hazard["id"], "true", ADA, "it fell", later)
        alerts.add_note(c, hazard["id"], ADA, "seen", later)
        c.execute(
            update(notification).where(notification.c.state == "failed_final").values(state="delivered", sent_at=later)
        )
        c.execute(
            insert(report).values(
                site=SITE, at=NOW - DAY, received_at=later, kind="crack", text="late", by="x", digest="9" * 64
            )
        )
        c.execute(update(alert).where(alert.c.id == hazard["id"]).values(level=3, state="closed", closed_at=later))
    assert make_digest(gather(database)) == digest
    assert make_digest(gather(database, Period(WEEKLY, WEEK.from_at, later))) != digest
    with database.read() as c, pytest.raises(NotFoundError, match="had no site file at that time"):
        gather_facts(c, SITE, make_period(DAILY, NOW - timedelta(days=400), ZURICH))
    with pytest.raises(RefusedError, match="must end after it begins"):
        gather(database, Period(SHIFT, NOW, NOW))


@STORY_ON_SQLITE
def test_report_is_complete_in_each_language_and_uses_local_time(database):
    facts = gather(database)
    digest = make_digest(facts)
    texts = {code: render_report(facts, digest, code, NOW) for code in ("en", "it", "zh", "es")}
    for code, text in texts.items():
        assert text.count("<svg") >= 4, code
        assert "2026-02-22 07:00" in text, "local time"
        assert digest in text
        assert not re.search(r"<script|src=|url\(|@import", text), "it loads nothing"
        assert " style=" not in text
    assert "Orange" in texts["en"] or "orange" in texts["en"]
    assert "arancione" in texts["it"]
    assert "Weekly bulletin" in texts["en"]
    hostile = json.loads(json.dumps(facts).replace("orange", "<script>alert(1)</script>"))
    assert "<script>" not in render_report(hostile, digest, "en", NOW)


class Inbox:
    def __init__(self):
        self.mails, self.refuse = [], False

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - the name of the library
        if self.refuse:
            return "451 later"
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        return "250 taken"


@pytest.fixture
def mail():
    inbox = Inbox()
    server = Controller(inbox, hostname="127.0.0.1", port=free_port())
    server.start()
    inbox.port = server.port
    yield inbox
    server.stop()


PLAN = """[smtp]
host = "127.0.0.1"
port = {port}
security = "none"
[[report]]
kind = "daily"
sites = ["north-*"]
at = "06:45"
to = ["email:a@b.org", "email:c@b.org"]
form = "{form}"
"""


def plan(port, form="html", more=""):
    return parse_service(PLAN.format(port=port, form=form) + more, "x")


def test_scheduled_report_is_issued_once_and_mailed_once_with_retries(database, mail):
    config, later = plan(mail.port), NOW + timedelta(minutes=10)
    mail.refuse = True
    with pytest.raises(JobError, match="2 reports were not issued or not mailed"):
        issuing.run(database, config, None, later)
    mail.refuse = False
    assert issuing.run(database, config, None, later) == "0 reports issued, 0 mailed", "not yet due again"
    assert issuing.run(database, config, None, later + timedelta(hours=1)) == "0 reports issued, 2 mailed"
    assert issuing.run(database, config, None, later + timedelta(hours=2)) == "0 reports issued, 0 mailed"
    assert sorted(to for (to,), _ in mail.mails) == ["a@b.org", "c@b.org"]
    message = mail.mails[0][1]
    assert message["Subject"] == "[North bench, pit 4] Daily bulletin: ORANGE. 2026-03-01 06:45"
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "north-bench-daily-20260301T0545Z.html"
    with database.read() as c:
        (issue,) = load_issues(c, SITE, 5)
        assert [m.attempts for m in load_mails(c, [issue.id])[issue.id]] == [2, 2]
        assert load_view(c, "issued_reports", site=SITE)[0]["delivered"] == 2
    assert issue.facts_sha256 in attached.get_content()
    # an added recipient gets the report; the others do not get it again
    more = '[[report]]\nkind = "daily"\nsites = ["north-bench"]\nat = "6:45"\nto = ["email:d@b.org"]\nform = "html"\n'
    said = issuing.run(database, plan(mail.port, more=more), None, later + timedelta(hours=2))
    assert said == "0 reports issued, 1 mailed"
    # attempts end when the mail server is unavailable for two days
    with database.write() as c:
        c.execute(
            update(report_mail).values(state="failed_retry", next_attempt_at=NOW, queued_at=NOW - timedelta(days=3))
        )
    with pytest.raises(JobError):
        issuing.run(database, plan(free_port()), None, later + timedelta(hours=3))
    with database.read() as c:
        assert set(c.execute(select(report_mail.c.state)).scalars()) == {"failed_final"}
    # no report is issued for a period that ended days ago
    assert issuing.run(
        database, plan(mail.port, more='[[report]]\nkind = "weekly"\nweekday = "wednesday"\n'), None, later
    ).startswith("0")


@STORY_ON_SQLITE
def test_old_or_blind_decision_is_not_shown_as_a_known_level(database, mail):
    facts = gather(database)
    assert describe_end(facts, "en", LATE).line == "ORANGE"
    facts["now"] |= {"level": 0, "observability": "blind"}
    assert describe_end(facts, "en", LATE).line == "GREEN, blind"
    assert 'now lv-u">Level<b>green, blind' in flatten_html(render_report(facts, "x", "en", NOW))
    facts["now"]["at"] = "2026-02-28T18:00:00.000000Z"
    said = describe_end(facts, "en", LATE)
    assert (said.line, said.action) == ("UNKNOWN (last decision 2026-02-28 19:00: GREEN)", "")
    assert 'now lv-u">Level<b>unknown</b>last decision' in flatten_html(render_report(facts, "x", "en", NOW))
    facts["now"]["level"] = 2
    assert describe_end(facts, "en", LATE).action, "an old decision does not cancel the action"
    with database.write() as c:
        c.execute(evaluation.delete().where(evaluation.c.at > NOW - timedelta(hours=8)))
    issuing.run(database, plan(mail.port), None, NOW + timedelta(minutes=10))
    assert "UNKNOWN (last decision" in mail.mails[0][1]["Subject"]


@STORY_ON_SQLITE
def test_velocity_is_shown_with_its_window_if_the_facts_contain_it(database):
    with database.write() as c:
        c.execute(update(movement_table).values(velocity_window_s=115200.0))
    facts = gather(database)
    assert " in 32 h</td>" in flatten_html(render_report(facts, "x", "en", NOW))
    for one in facts["movement"]:
        del one["velocity_window_s"]
    assert " in 32 h" not in render_report(facts, "x", "en", NOW)


@STORY_ON_SQLITE
def test_all_movement_and_open_alerts_are_included_up_to_the_limit(database, monkeypatch):
    at = NOW - timedelta(hours=3)
    with database.write() as c:
        add_observations(
            c,
            [
                Observation(SITE, "G9", quantity, unit, moment, moment, value)
                for quantity, unit, end in (
                    ("displacement_east", "mm", 3.0),
                    ("displacement_north", "mm", 400.0),
                    ("tilt_x", "deg", 2.0),
                    ("water_level", "m", 5.0),
                )
                for moment, value in ((at, 0.0), (at + timedelta(hours=1), end))
            ],
            NOW,
        )
        row = dict(c.execute(select(alert).where(alert.c.ledger == "health")).mappings().first())
        chain = dict(c.execute(select(alert_event).where(alert_event.c.alert_id == row["id"])).mappings().first())
        for number in range(900, 904):
            facts = {"id": number, "site": SITE, "raised_at": at, "closed_at": None, "key": f"health:{number}"}
            c.execute(insert(alert).values(row | facts | {"exercise": False}))
            c.execute(insert(alert_event).values(chain | {"id": number, "alert_id": number, "at": at}))
    monkeypatch.setattr(report_facts, "MAX_ROWS", 3)
    facts = gather(database)
    moved = {row["quantity"]: row["change"] for row in facts["movement"] if row["station"] == "G9"}
    assert (moved, len(facts["hazards"])) == ({"displacement": pytest.approx(400.011, abs=1e-3), "tilt_x": 2.0}, 1)
    assert facts["cut"] == ["health"]
    shortened = "at most 3 alerts of a kind, open alerts first. There were more of: health"
    assert shortened in flatten_html(render_report(facts, "x", "en", NOW))

    def too_many(c, series, low, high, now):
        if high - low > DAY:
            raise RefusedError("too many")
        return load_range(c, series, low, high, now)

    monkeypatch.setattr(facts_of, "load_range", too_many)
    (water,) = [row for row in gather(database)["water"] if row["station"] == "G9"]
    assert (water["last"], water["highest"]) == (5.0, None), "the middle of the period was not read"


@STORY_ON_SQLITE
def test_error_in_one_report_keeps_back_no_other(database, mail, monkeypatch):
    gather_facts, make_document = issuing.gather_facts, issuing.make_document

    def fail_for(real, bad):
        def act(c, *words):
            if any(getattr(word, "site", word) == bad for word in words):
                raise ValueError("broken")
            return real(c, *words)

        return act

    later = NOW + timedelta(minutes=10)
    config = parse_service(PLAN.format(port=mail.port, form="html").replace("north-*", "*"), "x")
    monkeypatch.setattr(issuing, "gather_facts", fail_for(gather_facts, "lake-slope"))
    with pytest.raises(JobError, match="lake-slope daily: ValueError: broken"):
        issuing.run(database, config, None, later)
    assert len(mail.mails) == 2
    monkeypatch.setattr(issuing, "gather_facts", gather_facts)
    monkeypatch.setattr(issuing, "make_document", fail_for(make_document, SITE))
    with database.write() as c:
        c.execute(update(report_mail).values(state="failed_retry", next_attempt_at=NOW))
    with pytest.raises(JobError, match="2 reports were not issued or not mailed; the first: ValueError: broken"):
        issuing.run(database, config, None, later)
    subjects = [message["Subject"] for _, message in mail.mails]
    assert len([one for one in subjects if one.startswith("[North")]) == 2
    assert len(subjects) > 3, "the reports of the other site were mailed"


@STORY_ON_SQLITE
def test_report_is_mailed_as_html_if_pdf_is_not_installed(database, mail, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda _module: False)
    issuing.run(database, plan(mail.port, "pdf"), None, NOW + timedelta(minutes=10))
    message = mail.mails[0][1]
    assert "pip install 'slopeward[reports]'" in message.get_body().get_content()
    assert [a.get_content_type() for a in message.iter_attachments()] == ["text/html"]


@pytest.mark.soak
@STORY_ON_SQLITE
@pytest.mark.slow
def test_pdf_is_made_without_loading_anything(database):
    pytest.importorskip("weasyprint")
    facts = gather(database)
    plain = pdf.make_pdf(ComputeSection(), render_report(facts, make_digest(facts), "en", NOW))
    assert plain.startswith(b"%PDF-")
    assert len(plain) > 10_000
    hostile = '<img src="file:///etc/passwd"><link rel="stylesheet" href="http://127.0.0.1:9/x.css"><p>x'
    assert pdf.make_pdf(ComputeSection(), hostile).startswith(b"%PDF-")


@STORY_ON_SQLITE
def test_page_lists_reports_and_serves_them_with_a_strict_content_policy(database, mail):
    issuing.run(database, plan(mail.port), None, NOW + timedelta(minutes=10))
    with database.read() as c:
        (issue,) = load_issues(c, SITE, 5)
    with serving(database, NOW + timedelta(minutes=20)) as client:
        text = client.get(f"/sites/{SITE}/reports").text
        assert "Daily bulletin" in text
        assert issue.facts_sha256[:12] in text
        assert "a@b.org" not in text, "addresses are read by accounts of all sites alone"
        answer = client.get(f"/sites/{SITE}/reports/{issue.id}.html")
        assert issue.facts_sha256 in answer.text
        assert answer.headers["content-security-policy"] == find_policy()
        assert "unsafe" not in find_policy()
        (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in find_policy(), "browsers apply the style sheet"
        assert "Shift report" in client.get(f"/sites/{SITE}/reports/shift.html").text
        for odd in ("9.html", f"{issue.id}.exe", "yearly.html", "%00.html", f"{'9' * 40}.html"):
            assert client.get(f"/sites/{SITE}/reports/{odd}").status_code in {400, 404}, odd
        assert client.get(f"/sites/lake-slope/reports/{issue.id}.html").status_code == 404, "of another site"
        assert client.get(f"/sites/{SITE}/card.html").status_code == 401, "it holds telephone numbers"
        log_in(client)
        assert "Close haul road 4" in client.get(f"/sites/{SITE}/card.html").text
        assert "a@b.org" in client.get(f"/sites/{SITE}/reports").text


@STORY_ON_SQLITE
def test_commands_write_list_and_check_reports(database, mail, tmp_path, capsys):
    url = database.url.render_as_string(hide_password=False)
    service = tmp_path / "slopeward.toml"
    service.write_text(f'[database]\nurl = "{url}"\n')

    def call(*words):
        return run_command(["report", *words, "--config", str(service)]), "".join(capsys.readouterr())

    out = tmp_path / "week.html"
    status, said = call("weekly", SITE, "--at", "2026-03-01T07:00+01:00", "--out", str(out), "--json")
    assert status == 0, said
    assert json.loads(said)["facts_sha256"] == make_digest(gather(database))
    assert json.loads(said)["facts_sha256"] in out.read_text()
    assert "Scheda rapida" in call("card", SITE, "--out", "-", "--language", "it")[1]
    assert call("list", "--site", SITE)[0] == 4
    issuing.run(database, plan(mail.port), None, NOW + timedelta(minutes=10))
    assert "daily until 2026-03-01T05:45Z, 2 of 2 mailed" in call("list", "--site", SITE)[1]
    assert call("prove", "2") == (0, "report 2: unchanged: the rows of its period give the same facts\n")
    with database.read() as c:
        issue = load_issue(c, 2)
    movement = json.loads(issue.facts)["movement"]
    assert movement
    assert all("velocity_window_s" in one for one in movement)
    with database.write() as c:
        c.execute(evaluation.delete())
    status, said = call("prove", "2")
    assert (status, "other facts in days, now, segments, because" in said) == (1, True), said
    with database.read() as c:
        issue = load_issue(c, 2)
    assert f"digest {issue.facts_sha256[:12]} when issued, " in said
    assert issue.facts_sha256 in issuing.make_document(database, issue, timedelta(days=1))[0], (
        "the stored facts are shown although rows are gone"
    )
    for values, expected, text in (
        ({"code_version": "0.1.0"}, 3, "because version 0.1.0, which issued the report"),
        ({"facts": "{}"}, 1, "the stored facts do not match their digest"),
    ):
        with database.write() as c:
            c.execute(issued_report.update().where(issued_report.c.id == 2).values(**values))
        status, said = call("prove", "2")
        assert (status, text in said) == (expected, True), said
    for words, wrong in (
        (("daily", SITE, "--out", "x.doc"), "FILE.html or FILE.pdf"),
        (("daily", SITE, "--at", "2026-03-01", "--out", "-"), "no zone"),
        (("daily", SITE, "--at", "2199-01-01T00:00Z", "--out", "-"), "must end between"),
        (("daily", "nowhere", "--out", "-"), "no site"),
        (("daily", SITE, "--language", "fr", "--out", "-"), "'fr' is unknown"),
        (("prove", "99"), "does not exist"),
    ):
        status, said = call(*words)
        assert (status, wrong in said, said.count("\n")) == (1, True, 1), said


ZONES = ["UTC", "Europe/Zurich", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"]
TIMES = st.lists(st.times().map(lambda t: t.replace(second=0, microsecond=0)), min_size=1, max_size=4, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    times=TIMES,
    weekday=st.integers(0, 6),
    now=st.datetimes(datetime(2026, 1, 20), datetime(2027, 1, 1), timezones=st.just(UTC)),
)
def test_each_period_begins_at_the_end_of_the_period_before(kind, zone, times, weekday, now):
    times = sorted(times) if kind == SHIFT else times[:1]
    newest = find_last_period(kind, now, zone, times, weekday)
    assert newest.from_at < newest.to_at <= now
    assert find_last_period(kind, newest.to_at - timedelta(seconds=1), zone, times, weekday).to_at == newest.from_at
    hours = (newest.to_at - newest.from_at) / timedelta(hours=1)
    longest = {DAILY: 25, WEEKLY: 169, SHIFT: 25}[kind]
    assert hours <= longest
    if kind != SHIFT:
        assert hours >= longest - 2
    days = split_days(newest, zone)
    assert (days[0][1], days[-1][2]) == (newest.from_at, newest.to_at)
    assert all(one[2] == other[1] for one, other in pairwise(days))


@pytest.mark.parametrize(
    ("day", "hours"), [(datetime(2026, 3, 29, 10), 23), (datetime(2026, 10, 25, 10), 25), (datetime(2026, 7, 1), 24)]
)
def test_daily_report_covers_a_local_day_at_a_clock_change(day, hours):
    zone = ZoneInfo("Europe/Zurich")
    period = make_period(DAILY, day.replace(tzinfo=UTC), zone)
    assert period.to_at - period.from_at == timedelta(hours=hours)
    assert make_period(SHIFT, period.to_at, zone, 12).from_at == period.to_at - timedelta(hours=12)


def test_service_file_declares_times_and_recipients():
    shift = '[[report]]\nkind = "shift"\nat = ["22:00", "6:00"]\nto = ["email:a@b.org"]\n'
    plans = parse_service(f'{shift}[[report]]\nkind = "daily"\nat = "7:30"\n', "x").report
    assert read_times(plans[0].at) == (time(6), time(22))
    assert (plans[1].at, plans[1].form, plans[1].sites) == (("7:30",), "pdf", ("*",))
    for wrong, said in (
        ('kind = "yearly"', "daily"),
        ('kind = "daily"\nat = "25:00"', "07:00"),
        ('kind = "daily"\nat = ["6:00", "7:00"]', "one time"),
        ('kind = "daily"\nto = ["webhook:X"]', "email:ADDRESS"),
        ('kind = "daily"\nweekday = "someday"', "monday"),
        ('kind = "daily"\nlanguage = "fr"', "'fr' is unknown"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse_service(f"[[report]]\n{wrong}\n", "x")
