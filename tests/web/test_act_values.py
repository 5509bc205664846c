"""Unusual and wrong values of acts are refused with a message. They cause no internal error and are not guessed."""

import json
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import insert, select

from monitor.alerts.acts.call import ActCall
from monitor.alerts.acts.on_sites import add_report
from monitor.alerts.event_tables import report, site_event
from monitor.alerts.queries import maintenance, offsets
from monitor.alerts.tables import alert
from monitor.cli.main import run_command
from monitor.decision.conditions import LONE_TOP
from monitor.errors import RefusedError
from monitor.people.queries import users
from monitor.readings.queries.observations import load_series
from monitor.settings.service import ServiceConfig
from monitor.storage.actor import Actor
from monitor.web.parts.collect import find_card
from tests.data.filled import PASSWORD
from tests.data.store_rows import tell
from tests.data.watched_slope import write_service
from tests.web.served import NOW, client, database, filled, log_in, token

__all__ = ["client", "database", "filled"]  # fixtures
PAGE = "/sites/north-bench"
WHY = {"reason": "seen on foot"}
EVENT = {"kind": "work", "text": "bench 4"}


def write_command(database, folder, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(folder, database, None)))
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", PASSWORD)


def test_impossible_times_and_durations_are_refused(client, filled):
    log_in(client)
    csrf, at = token(client, PAGE), f"/alerts/{filled['stale_alert']}"
    wrong = []
    for address, values, message in (
        (f"{at}/shelve", WHY | {"for": "900000000d"}, "longer than ten years"),
        (f"{at}/shelve", WHY | {"for": "9" * 400 + "d"}, "longer than ten years"),
        (f"{at}/shelve", WHY | {"for": "-4h"}, "give one such as 4h or 2d"),
        (f"{PAGE}/maintenance", WHY | {"station": "G1", "for": "99999d"}, "longer than ten years"),
        (f"{PAGE}/maintenance", WHY | {"station": "G1", "from": "9999-12-31T23:00:00Z"}, "after 2200"),
        (f"{PAGE}/events", EVENT | {"from": "9999-12-31T23:00:00Z"}, "after 2200"),
        (f"{PAGE}/events", EVENT | {"from": "0001-01-01T00:00:00Z"}, "before 1800"),
        (f"{PAGE}/events", EVENT | {"from": "yesterday"}, "from: "),
        (f"{PAGE}/report", EVENT | {"kind": "crack", "time": "9999-12-31T23:00:00Z"}, "after 2200"),
    ):
        by_form = client.post(address, data=values | {"csrf": csrf})
        by_request = client.post(f"/api/v1{address}", json=values, headers={"x-csrf-token": csrf})
        answers = [(got.status_code, message in got.text, got.text[-300:]) for got in (by_form, by_request)]
        wrong += [(address, values, answer) for answer in answers if answer[:2] != (409, True)]
    assert not wrong


def test_time_without_offset_is_local_in_a_form_and_refused_in_a_request(client, database):
    log_in(client)
    csrf = token(client, PAGE)

    def add(at, **more):
        form = {"kind": "work", "text": f"bench at {at}", "from": at, "csrf": csrf}
        return client.post(f"{PAGE}/events", data=form | more)

    body, headers = EVENT | {"from": "2026-02-28T12:00"}, {"x-csrf-token": csrf}
    assert "has no zone" in client.post(f"/api/v1{PAGE}/events", json=body, headers=headers).text
    assert "is left out" in add("2025-03-30T02:30").text
    assert "comes twice" in add("2025-10-26T02:30").text
    assert (add("2025-10-26T02:30", turn="second").status_code, add("2026-02-28T12:00").status_code) == (303, 303)
    with database.read() as c:
        query = select(site_event.c.from_at).where(site_event.c.text.like("bench at %")).order_by(site_event.c.id)
        stored = c.execute(query).scalars().all()
    assert stored == [datetime(2025, 10, 26, 1, 30, tzinfo=UTC), datetime(2026, 2, 28, 11, tzinfo=UTC)]
    assert "Where the clock shows a time twice" in client.get(f"{PAGE}/acts").text


def test_unknown_key_is_refused(client, database, filled):
    log_in(client)
    headers = {"x-csrf-token": token(client, PAGE)}
    address = f"/api/v1/alerts/{filled['stale_alert']}/acknowledge"
    got = client.post(address, json=WHY | {"sean": 0}, headers=headers)
    assert (got.status_code, "sean" in got.text) == (422, True)
    with database.read() as c:
        state = select(alert.c.state).where(alert.c.id == filled["stale_alert"])
        assert c.execute(state).scalar() == "unacknowledged"
    assert client.post(address, json=WHY | {"seen": 3}, headers=headers).json()["done"]


def test_values_of_the_wrong_type_are_refused(client, filled):
    log_in(client)
    headers = {"x-csrf-token": token(client, PAGE)}
    at, size = f"/alerts/{filled['stale_alert']}", {"station": "P1", "quantity": "pore_pressure", "unit": "kPa"}
    size |= WHY | {"at": "2026-02-27T00:00:00Z"}
    for address, body, status in (
        (f"{PAGE}/offsets", size | {"size": True}, 422),
        (f"{PAGE}/offsets", size | {"size": float("nan")}, 422),
        (f"{PAGE}/offsets", size | {"size": float("inf")}, 422),
        (f"{PAGE}/offsets", size | {"size": 10**400}, 422),
        (f"{PAGE}/events", EVENT | {"value": float("nan")}, 422),
        (f"{PAGE}/events", EVENT | {"value": "much"}, 422),
        (f"{PAGE}/events/2/withdraw", WHY | {"confirmation_of": "  "}, 409),
        (f"{at}/acknowledge", WHY | {"seen": True}, 422),
        (f"{at}/acknowledge", WHY | {"seen": 1 << 70}, 422),
        (f"{at}/acknowledge", {"reason": True}, 422),
        (f"{at}/acknowledge", {"reason": " . "}, 409),
        (f"{at}/acknowledge", {"reason": "a\0b"}, 422),
        (f"{at}/acknowledge", {"reason": "\ud800\ud800\ud800"}, 422),
        (f"{at}/acknowledge", {"reason": "x" * 501}, 422),
    ):
        text = json.dumps(body).encode()
        got = client.post(f"/api/v1{address}", content=text, headers={**headers, "content-type": "application/json"})
        assert got.status_code == status, (address, body, got.text)
    deep = b'{"reason": ' + b"[" * 30000
    kind = {"content-type": "application/json"}
    assert client.post(f"/api/v1{at}/acknowledge", content=deep, headers=headers | kind).status_code in {400, 422}
    for value in ("nan", "inf", "1e999"):
        form = size | {"size": value, "csrf": headers["x-csrf-token"]}
        assert client.post(f"{PAGE}/offsets", data=form).status_code in {409, 422}


def test_null_is_a_missing_value_and_a_reason_is_required(client, database):
    log_in(client, "ada")
    headers = {"x-csrf-token": token(client, PAGE)}
    nothing = {"photo_url": None, "station": None, "time": None}
    body = {"kind": "crack", "text": "new crack", **nothing}
    assert client.post(f"/api/v1{PAGE}/report", json=body, headers=headers).status_code == 200
    with database.write() as c:
        series = next(s for s in load_series(c, "north-bench") if s.quantity == "pore_pressure")
        more = {"size": 2.0, "unit": "kPa", "kind": "other", "author": Actor("bo"), "reason": "rezeroed", "now": NOW}
        number = offsets.add_offset(c, series.id, at=NOW, known_from=NOW, **more)
        offsets.confirm_offset(c, number, Actor("bo"), "of my own", NOW)
    address = f"{PAGE}/offsets/{number}/confirm"
    assert client.post(f"/api/v1{address}", json={}, headers=headers).status_code == 422
    assert client.post(address, data={"csrf": headers["x-csrf-token"]}).status_code == 422
    assert address in client.get(f"{PAGE}/acts").text, (
        "an offset that only its author confirmed still needs a second person"
    )
    assert client.post(f"/api/v1{address}", json=WHY, headers=headers).status_code == 200


def test_answer_to_a_closed_question_sets_no_level(client, database):
    log_in(client)
    headers = {"x-csrf-token": token(client, PAGE)}
    row = {"site": "north-bench", "ledger": "health", "key": LONE_TOP, "level": 2, "peak_level": 2, "state": "closed"}
    row |= {"exercise": False, "reason": "only G1 asks", "rule_version": "1", "raised_at": NOW, "closed_at": NOW}
    number = tell(database, lambda c: c.execute(insert(alert).values(**row).returning(alert.c.id)).scalar_one())
    body = WHY | {"answer": "movement"}
    got = client.post(f"/api/v1/alerts/{number}/verify", json=body, headers=headers)
    assert (got.status_code, "asks for no verification" in got.text) == (404, True)


def test_kind_of_report_that_a_criterion_uses_is_accepted(database):
    def call(find_site):
        settings = {"find_site": find_site, "check_site": find_card, "config": ServiceConfig()}
        return ActCall(db=database, actor=Actor("bo"), now=NOW, **settings)

    def fail(site):
        raise RefusedError("its file cannot be read")

    rule = SimpleNamespace(kinds=("cracks",))
    declared = SimpleNamespace(
        criteria=[rule], find_current_id=lambda station: f"{station}-new", station={"G1-new": 1}.get
    )
    add_report(call(lambda _: declared), "north-bench", "cracks", "three of them", station="G1")
    with pytest.raises(RefusedError, match="did you mean rockfall"):
        add_report(call(lambda _: declared), "north-bench", "rockfal", "three of them")
    with pytest.raises(RefusedError, match="did you mean crack"):
        add_report(call(fail), "north-bench", "cracks", "three of them")
    add_report(call(fail), "north-bench", "crack", "where nobody reads the file", station="G1")
    with database.read() as c:
        rows = c.execute(select(report.c.kind, report.c.station).order_by(report.c.id.desc()).limit(2)).all()
    assert [tuple(row) for row in rows] == [("crack", "G1"), ("cracks", "G1-new")]


def test_form_sent_twice_adds_one_maintenance(client, database):
    log_in(client)
    headers = {"x-csrf-token": token(client, PAGE)}
    address = f"/api/v1{PAGE}/maintenance"
    first, same, other = (
        client.post(address, json={"station": "G1", **WHY, **more}, headers=headers).json()
        for more in ({}, {}, {"for": "8h"})
    )
    assert (same["id"], "there already" in same["text"]) == (first["id"], True)
    assert other["id"] != first["id"], "another period is another maintenance"
    ended = client.post(f"{address}/{first['id']}/end", json=WHY, headers=headers).json()
    assert ended["notes"] == [f"maintenance {other['id']} of G1 is still in force"]


def test_author_of_an_offset_cannot_confirm_it_alone(client, database):
    log_in(client)
    headers = {"x-csrf-token": token(client, PAGE)}
    body = WHY | {"station": "P1", "quantity": "pore_pressure", "unit": "kPa", "size": 2.0}
    made = client.post(f"/api/v1{PAGE}/offsets", json=body | {"at": "2026-02-20T00:00:00Z"}, headers=headers).json()
    address = f"/api/v1{PAGE}/offsets/{made['offset_id']}/confirm"
    assert "as soon as a second person confirms it" in client.post(address, json=WHY, headers=headers).json()["text"]
    log_in(client, "ada")
    headers = {"x-csrf-token": token(client, PAGE)}
    assert client.post(address, json=WHY, headers=headers).json()["text"].endswith("is confirmed")


def test_report_of_an_unknown_station_or_a_future_time_is_refused(client, filled):
    log_in(client)
    headers = {"x-csrf-token": token(client, PAGE)}
    for more, text in ({"station": "ZZ"}, "it has: G1"), ({"time": "2027-01-01T00:00:00Z"}, "in the future"):
        got = client.post(f"/api/v1{PAGE}/report", json={"kind": "crack", "text": "new crack"} | more, headers=headers)
        assert (got.status_code, text in got.text) == (409, True)


def test_refused_form_keeps_its_values_and_names_the_mistake(client, filled):
    log_in(client)
    csrf = token(client, PAGE)

    def send(address, **values):
        return client.post(address, data=values | {"csrf": csrf})

    sent = {"station": "G2", "reason": "new mast & cable", "for": "soon", "turn": "second"}
    got = send(f"{PAGE}/maintenance", **sent)
    assert got.status_code == 409
    for part in ('<option value="G2" selected>', 'value="new mast &amp; cable"', 'value="soon"', "Europe/Zurich"):
        assert part in got.text, part
    for part in ('<option value="second" selected>', f'action="{PAGE}/maintenance"'):
        assert part in got.text, part
    assert "for: &#39;soon&#39; is no span; give one such as 4h or 2d" in got.text
    again = send(f"{PAGE}/maintenance", **sent | {"reason": "ok"})
    assert (again.status_code, "give one such as 4h" in again.text or "say why" in again.text) == (409, True)
    refused = send(f"{PAGE}/offsets", station="P1", quantity="pore_pressure", size="much", at="2026-02-27T00:00")
    has_messages = ["size: give a number" in refused.text, "unit: a value is required" in refused.text]
    assert (refused.status_code, *has_messages) == (422, True, True)
    risen = send(f"/alerts/{filled['stale_alert']}/acknowledge", reason="seen", seen="0")
    assert (risen.status_code, "<title>Refused: Acknowledge" in risen.text) == (409, True)
    (now,) = re.findall('name="seen" value="(.)"', risen.text)
    assert f"has risen to level {now}" in risen.text
    address = re.findall('action="(.*?/acknowledge)"', risen.text)[0]
    # The form of the answer is sent again without changes.
    assert send(address, reason="seen", seen=now).status_code == 303
    other = send(f"{PAGE}/events/99999/withdraw", reason="seen on foot")
    main = re.sub("<footer.*", "", other.text, flags=re.DOTALL).lower().split("<main")[1]
    assert (other.status_code, "slopeward" in main) == (404, False)
    body, headers = {"station": "G1", "for": "8d", **WHY}, {"x-csrf-token": csrf}
    italian = client.post(f"/api/v1{PAGE}/maintenance?lang=it", json=body, headers=headers)
    assert (italian.status_code, "dura al massimo 7d" in italian.text) == (409, True)


def test_command_and_request_refuse_the_same_reasons(client, database, filled, monkeypatch, tmp_path, capsys):
    log_in(client)
    headers = {"x-csrf-token": token(client, PAGE)}
    write_command(database, tmp_path, monkeypatch)
    number = filled["stale_alert"]
    for reason in ("ok", " . ", "x" * 501):
        given = run_command(["alerts", "ack", str(number), "--by", "bo", "--reason", reason])
        answer = capsys.readouterr().err
        assert (given, "say why" in answer or "at most 500 characters" in answer) == (1, True), answer
        got = client.post(f"/api/v1/alerts/{number}/acknowledge", json={"reason": reason}, headers=headers)
        plain = "say why" in got.text or "at most 500 characters" in got.text
        assert (got.status_code in {409, 422}, plain) == (True, True), got.text


def test_second_signature_for_another_level_names_the_first(client, database):
    tell(database, users.add_user, "carl", PASSWORD, "operator", NOW - timedelta(days=9))
    texts = []
    for name, level in (("bo", "0"), ("ada", "1")):
        log_in(client, name)
        headers = {"x-csrf-token": token(client, PAGE)}
        body = WHY | {"level": level, "yes": True}
        got = client.post(f"/api/v1{PAGE}/level", json=body, headers=headers)
        assert got.status_code == 202, got.text
        texts.append(got.json()["text"])
    assert "signed otherwise before" not in texts[0]
    assert "signed otherwise before: green (bo)" in texts[1]
    page = client.get(f"{PAGE}/acts").text
    assert "bo has signed" in page
    assert "ada has signed" in page


def test_ending_maintenance_twice_exits_with_status_4(client, database, monkeypatch, tmp_path):
    with database.write() as c:
        now = datetime.now(UTC)
        span = now, now + timedelta(hours=2)
        number = maintenance.add_maintenance(c, "north-bench", "G1", *span, Actor("bo"), "mast", now)
    write_command(database, tmp_path, monkeypatch)
    words = ["maintenance", "end", str(number), "--by", "bo", "--reason", "mast stands"]
    assert [run_command(words), run_command(words)] == [0, 4]
