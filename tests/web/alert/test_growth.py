"""After a level was raised, people are notified once of each doubling of the velocity, with both values."""

import re
from contextlib import suppress
from itertools import pairwise

import pytest
from sqlalchemy import select

from monitor.alerts import evaluate
from monitor.alerts.audit.recompute import gather_decisions, recompute_all
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries import overview as pages
from monitor.alerts.queries.alerts import acknowledge, find_alert, load_alert_events
from monitor.alerts.queries.station_states import load_station_states
from monitor.decision.alert_texts import split_lines
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.present_reason import find_present_reason
from monitor.features.cap.message import list_messages as list_cap_messages
from monitor.sites.channels import list_channel_kinds
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.catalogue import use_language
from monitor.text.instants import parse_time
from monitor.text.message import read_columns
from monitor.text.rendering import translate
from monitor.web.parts.headline import find_hazards, find_headlines, find_present_reasons
from tests.data.site_text import table
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import HOUR, SITE_TEXT, WatchedSlope

DIRECTOR = table("[[recipient]]", name="director", channels=["log"], levels=["red"], escalate_after="20m")
TWO = ('levels = ["orange", "red"]\n', f'levels = ["orange", "red"]\nescalate_after = "10m"\n\n{DIRECTOR}')
NOW = re.compile(r"Now \((.+?)\): Rate of crack opening is ([\d.,]+) mm/day .*")


def fail(database):
    """Store a slope at red."""
    slope = WatchedSlope(database)
    slope.fail()
    return slope


@pytest.fixture
def slope(open_copy):
    """Return the slope at red in a copy of its database."""
    database, made = open_copy("sqlite", fail)
    return made.in_copy(database)


def hazard_of(own):
    return find_hazards(ask(own, pages.load_open_alerts))["bench"]


def list_messages(own, *, of=None):
    n = notification.c
    rows = ask(own, lambda c: c.execute(select(notification).where(n.ledger == "hazard").order_by(n.id)).all())
    return [r for r in rows if of is None or r.event_id == of]


def list_reminders(own):
    return [r for r in list_messages(own) if r.body.startswith("Now (") and r.channel == "log"]


def rate_in(text):
    return float(re.search(r"([\d.]+) mm/day", text.replace(",", "")).group(1))


def run_away(slope, hours, rate=150.0, growth=1.3, *, looks=True):
    """Let the slope accelerate for some hours, and evaluate it every hour by default."""
    for _ in range(hours):
        rate *= growth
        if looks:
            slope.live(1, {"G1": rate, "G2": 0.8 * rate})
        else:
            slope.now += HOUR
            for name in slope.position:
                slope.position[name] += rate / 24.0
                slope.publish(name, slope.position[name], slope.now)
        yield slope.now


def test_each_doubling_after_red_is_sent_once_with_both_values(slope):
    raised = hazard_of(slope.database)
    sentence = ask(slope.database, find_headlines, [raised])[raised["alert_id"]].sentence
    seen = len(list_reminders(slope.database))
    for _ in run_away(slope, 12):
        pass
    found = list_reminders(slope.database)
    assert len(found) - seen >= 2
    rates = [rate_in(sentence), *(float(NOW.match(r.body).group(2).replace(",", "")) for r in found)]
    assert all(after >= 2.0 * before for before, after in pairwise(rates)), rates
    for one in found:
        assert (one.body.splitlines()[1], "when raised" in one.subject) == (f"When raised: {sentence}", True)
    # Page and alert still show the value that raised the level.
    after = hazard_of(slope.database)
    assert (after["evidence_sha256"], after["raised_at"]) == (raised["evidence_sha256"], raised["raised_at"])


def test_restart_and_repeated_readings_send_no_reminder(slope):
    tell(slope.database, acknowledge, hazard_of(slope.database)["alert_id"], Actor("Eva"), "on my way", slope.now)
    for _ in run_away(slope, 8):
        with Database(str(slope.database.url)) as again:
            before = len(list_messages(again))
            evaluate_site(again, slope.site, slope.now, "start")
            evaluate_site(again, slope.site, slope.now + HOUR / 60, "tick")
            assert len(list_messages(again)) == before
    assert list_reminders(slope.database)
    assert hazard_of(slope.database)["state"] == "acknowledged"


@pytest.mark.parametrize("step", ["save_state", "apply_changes", "seal_decision"])
def test_killed_process_sends_a_reminder_exactly_once(database_url, monkeypatch, step):
    real = getattr(evaluate, step)

    def die(*args, **kwargs):
        real(*args, **kwargs)
        raise KeyboardInterrupt

    with Database(database_url) as own:
        slope = WatchedSlope(own)
        slope.fail()
        sent = 0
        for _ in run_away(slope, 10, looks=False):
            monkeypatch.setattr(evaluate, step, die)
            with suppress(KeyboardInterrupt):
                evaluate_site(own, slope.site, slope.now, "data")
            assert len(list_reminders(own)) == sent
            monkeypatch.setattr(evaluate, step, real)
            evaluate_site(own, slope.site, slope.now, "start")
            evaluate_site(own, slope.site, slope.now, "tick")
            sent = len(list_reminders(own))
        assert [len(list_messages(own, of=r.event_id)) for r in list_reminders(own)] == [2] * sent
        assert sent == len({r.event_id for r in list_reminders(own)}) >= 1


def test_sent_reminder_is_reproduced_from_stored_inputs(slope):
    for _ in run_away(slope, 8):
        pass
    number = hazard_of(slope.database)["alert_id"]
    with slope.database.read() as c:
        events = load_alert_events(c, number)
        asked = gather_decisions(c, find_alert(c, number))
    repeats = [e for e in events if e.from_level == e.to_level]
    assert repeats
    assert all(e.decision_id is not None and "times the" in e.reason for e in repeats)
    assert len(asked.decisions) > len(repeats)
    assert recompute_all(asked).differences == ()


def find_reason(c, now):
    return find_present_reason(c, "bench", 3, load_station_states(c, now, "bench")["bench"])


def test_message_page_api_and_view_show_the_same_velocity(slope):
    compared = 0
    for _ in run_away(slope, 12):
        with slope.database.read() as c:
            hazards = find_hazards(pages.load_open_alerts(c))
            stations = load_station_states(c, slope.now, "bench")
            page = find_present_reasons(c, hazards, stations)["bench"].sentence
            found = find_present_reason(c, "bench", hazards["bench"]["level"], stations["bench"])
            rows = load_view(c, "movement_now", site="bench", order_by=["-velocity_mm_per_day"])
        rate = page.values["rate"]
        assert (str(page), {r["station"] for r in rows}) == (str(found.sentence), {"G1", "G2"})
        assert rows[0]["velocity_mm_per_day"] == rate.value == rows[0]["rate"]
        assert (rows[0]["unit"], rows[0]["bound"], rows[0]["level_name"]) == ("mm/day", 80.0, "red")
        assert rows[0]["bound_ratio"] == pytest.approx(rate.value / 80.0, abs=1e-6)
        assert rows[0]["age_s"] == (slope.now - parse_time(rows[0]["newest_at"])).total_seconds()
        assert rows[0]["next_level"] is None
        last = list_reminders(slope.database)[-1:]
        if last and last[0].queued_at == slope.now:
            compared += 1
            assert last[0].body.splitlines()[0].endswith(str(page))
            first = last[0].body_values["parts"]["items"][0]["values"]["text"]
            assert first["values"]["rate"]["figure"] == rate.value
    assert compared >= 2


def test_repeated_message_of_an_alert_has_both_values(database):
    slope = WatchedSlope(database, SITE_TEXT.replace(*TWO))
    slope.fail()
    slope.live(3, {"G1": 180.0, "G2": 150.0})
    now = ask(database, find_reason, slope.now)
    own_number = hazard_of(database)["alert_id"]
    raised = list_messages(database)[0].body.splitlines()[0]
    Dispatcher(database, {"bench": slope.site}, lambda: slope.now).escalate_once(slope.now)
    last = list_messages(database)[-1]
    assert (last.recipient, last.alert_id) == ("director", own_number)
    lines = last.body.splitlines()
    assert lines[0].endswith(str(now.sentence))
    assert lines[1] == f"When raised: {raised}"
    assert raised not in lines[2:]
    assert last.subject.startswith("open for ")
    assert "when raised" in last.subject


def test_noise_and_returning_velocity_send_no_reminder(slope):
    before = len(list_messages(slope.database))
    for rate in (150.0, 100.0, 40.0, 90.0, 140.0, 150.0):
        slope.live(8, {"G1": rate, "G2": rate})
    assert len(list_messages(slope.database)) == before


def test_reminder_has_the_language_of_its_recipient_and_sounds_no_siren(database_url):
    channels = [f"{kind}:x" for kind in list_channel_kinds() if kind != "siren"]
    listed = ", ".join(f'"{one}"' for one in (*channels, "siren:pit/horn"))
    with Database(database_url) as own:
        slope = WatchedSlope(own, SITE_TEXT.replace('["log", "log:second"]', f"[{listed}]"))
        slope.fail()
        for _ in run_away(slope, 7):
            pass
        n = notification.c
        with own.read() as c:
            alert = find_alert(c, hazard_of(own)["alert_id"])
            events = load_alert_events(c, alert.id)
            last = next(e for e in reversed(events) if e.from_level == e.to_level)
            sent = c.execute(select(notification).where(n.event_id == last.id).order_by(n.id)).all()
            steps = list_cap_messages(alert, events, None)
        assert (sorted(r.channel for r in sent), len({(r.subject, r.body) for r in sent})) == (sorted(channels), 1)
        assert last.decision_id in {one.decision_id for one in steps}, "CAP sends an update"
        body = read_columns(sent[0], "body")
        first = {}
        for language in ("en", "it", "zh", "es"):
            with use_language(language):
                first[language] = [str(translate(line)) for line in split_lines(body)[:2]]
        assert [lines[0][:3] for lines in first.values()] == ["Now", "Ora", "现在（", "Aho"]
        assert len({lines[1] for lines in first.values()}) == 4


def test_alarm_about_unconfirmed_red_has_both_present_values(slope):
    now = [slope.now + HOUR]
    dispatcher = Dispatcher(slope.database, {"bench": slope.site}, lambda: now[0])
    dispatcher.escalate_once(now[0])
    n = notification.c

    def read_alarm():
        with slope.database.read() as c:
            row = c.execute(select(notification).where(n.ledger == "health").order_by(n.id.desc())).first()
            return row.body.splitlines(), find_reason(c, slope.now)

    first, _ = read_alarm()
    assert first[1].startswith("Now (")
    assert first[2].startswith("When raised: ")
    slope.live(4, {"G1": 260.0, "G2": 200.0})
    now[0] = slope.now + HOUR
    dispatcher.escalate_once(now[0])
    again, found = read_alarm()
    assert again[0] == first[0]
    assert again[1].endswith(str(found.sentence))
    assert again[1] != first[1]
    assert sum(line.startswith("Now (") for line in again) == 1
