"""CAP messages of a database: what was known when a message was sent, the feed, the channel and the commands."""

import json
from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import select, update

from monitor.alerts.queries import alerts
from monitor.alerts.tables import alert as alert_table
from monitor.cli.main import run_command
from monitor.decision.changes import AlertCategory
from monitor.errors import ConfigError, NotFoundError, RefusedError
from monitor.features.cap import signature
from monitor.features.cap.chain import compose, compose_event
from monitor.features.cap.message import list_messages
from monitor.features.cap.rules import NAMESPACE, find_faults
from monitor.features.cap.signature import make_key, verify_cap
from monitor.features.movement.queries import FailureRow
from monitor.features.movement.tables import failure_time
from monitor.readings.tables import series as series_table
from monitor.settings.service import parse_service
from monitor.sites.parsing import find_weaknesses, parse_site
from monitor.sites.tables import site as site_table
from monitor.storage.actor import Actor
from tests.data.rows import insert_rows
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import HOUR, SITE_TEXT, START, WatchedSlope, write_service
from tests.delivery.outbox import running
from tests.fixtures.waiting import wait_for
from tests.tables import tabulated
from tests.web.served import serving

NS = {"c": NAMESPACE, "a": "http://www.w3.org/2005/Atom"}
ADA = Actor("ada")
PLAIN = parse_service("", "x")
TEXT = SITE_TEXT
for number, name in enumerate(("G1", "G2"), 1):
    TEXT = TEXT.replace(f'id = "{name}"', f'id = "{name}"\nlatitude = 46.20{number}\nlongitude = 8.90{number}')
TEXT = TEXT.replace('channels = ["log", "log:second"]', 'channels = ["cap:HOOK", "webhook:HOOK"]\nledgers = ["hazard"]')
EXPOSED = """
[[exposed]]
name = "Road"
corners = [[46.19, 8.89], [46.19, 8.9], [46.195, 8.9]]
level = "red"
[[exposed]]
name = "Path"
corners = [[46.2, 8.9], [46.2, 8.91], [46.205, 8.905], [46.2, 8.9]]
"""


def read(text):
    assert not find_faults(text.encode())
    return ET.fromstring(text.encode())


def find(root, path):
    return root.find("/".join(f"c:{part}" for part in path.split("/")), NS)


@pytest.fixture(autouse=True)
def short_keys(monkeypatch):
    monkeypatch.setattr(signature, "RSA_BITS", 2048)  # made in a third of the time


def fail(database, text=TEXT):
    slope = WatchedSlope(database, text)
    slope.live(26, looks=1)
    assert slope.live(22, {"G1": 12.0, "G2": 11.0}, looks=3).level == 1
    assert slope.live(10, {"G1": 150.0, "G2": 140.0}, looks=3).level == 3
    return slope


@pytest.fixture
def slope(open_copy):
    database, made = open_copy("sqlite", fail)
    return made.in_copy(database)


@pytest.fixture
def failed(slope):
    return slope.database


def test_message_names_what_is_in_danger_at_its_level(database):
    fail(database, TEXT + EXPOSED)
    with database.read() as c:
        (alert,) = (a for a in alerts.load_alerts(c, None) if a.ledger == AlertCategory.HAZARD)
        messages = list_messages(alert, alerts.load_alert_events(c, alert.id), None)
        roots = [read(compose(c, PLAIN, alert.id, message.number)) for message in messages]
    parts = ("c:areaDesc", "c:polygon")
    found = [
        dict([area.findtext(part, None, NS) for part in parts] for area in root.iterfind(".//c:area", NS))
        for root in roots
    ]
    site = parse_site(TEXT, "x").name
    assert [message.level for message in messages] == [1, 3]
    assert [set(areas) for areas in found] == [{site, "Path"}, {site, "Path", "Road"}]
    assert found[1]["Path"] == "46.200000,8.900000 46.200000,8.910000 46.205000,8.905000 46.200000,8.900000"


ROAD = "[46.19, 8.89], [46.19, 8.9], [46.195, 8.9]"


@tabulated(
    ("change", "said"),
    [
        (("46.195, 8.9]", "8.9, 46.195]"), "is .* km from the site"),
        ((ROAD, "[46.19, 8.89], [46.2, 8.9], [46.19, 8.9], [46.2, 8.89]"), "two edges cross or touch"),
        ((ROAD, "[46.19, 8.89], [46.19, 8.9], [46.19, 8.89]"), "three different corners"),
        ((ROAD, "[46.19, 8.89], [46.19, 8.91], [46.19, 8.9], [46.2, 8.9]"), "cross or touch"),
        (('"red"', '"green"'), "expected one of yellow"),
        (('"Path"', '"Road"'), "exposed: name"),
        (("46.195, 8.9]", "146.195, 8.9]"), "corners"),
    ],
)
def test_invalid_exposed_objects_are_refused(change, said):
    text = EXPOSED.replace(*change)
    assert text != EXPOSED
    with pytest.raises(ConfigError, match=said):
        parse_site(TEXT + text, "x.toml")


def test_check_warns_of_a_cap_channel_for_other_ledgers():
    (weakness,) = find_weaknesses(parse_site(TEXT.replace('ledgers = ["hazard"]', ""), "x.toml"))
    assert "channel 'cap:HOOK' carries hazards only" in weakness


@pytest.fixture
def hazard(failed):
    with failed.read() as c:
        return c.execute(select(alert_table.c.id).where(alert_table.c.ledger == AlertCategory.HAZARD)).scalar_one()


def add_window(slope, *, trusted=True, ahead=HOUR):
    now = slope.now
    window = (now + ahead, now + 2 * ahead, now + 3 * ahead)
    with slope.database.write() as c:
        series = c.execute(select(series_table.c.id).where(series_table.c.station == "G1")).scalar_one()
        row = FailureRow(series, now, now, *window, 3, 3, 0.9, 100.0, trusted, "", "inverse_velocity", None)
        c.execute(failure_time.insert().values(**{n: getattr(row, n) for n in row.__slots__}))


def test_message_contains_only_what_was_known_when_it_was_sent(failed, slope, hazard):
    with failed.read() as c:
        chain = [e for e in alerts.load_alert_events(c, hazard) if e.from_level != e.to_level]
        before = {e.sequence: compose(c, PLAIN, hazard, str(e.sequence)) for e in chain}
        newest = compose(c, PLAIN, hazard)
        assert newest == before[chain[-1].sequence]
        assert compose_event(c, PLAIN, chain[0].id) == before[chain[0].sequence]
        with pytest.raises(NotFoundError, match="no message '99'"):
            compose(c, PLAIN, hazard, "99")
    root = read(newest)
    pairs = find(root, "info/area/polygon").text.split()
    assert (min(pairs)[:7], max(pairs)[:7]) == ("46.2001", "46.2028"), "100 m around G1 and G2"
    said = {p.find("c:valueName", NS).text: p.find("c:value", NS).text for p in root.iter(f"{{{NAMESPACE}}}parameter")}
    assert said["votes"] == "2 of 2 count"
    assert said["vote"].startswith("G2: ")
    assert (len(said["evidence_sha256"]), find(root, "info/instruction").text) == (64, "Clear the pit floor")
    assert find(root, "info/onset") is None

    # later windows, site files, events and outcomes change no message that was sent
    add_window(slope)
    slope.take(replace(slope.site, name="Other"))
    with failed.write() as c:
        c.execute(update(alert_table).where(alert_table.c.id == hazard).values(level=0))
        changed = {"from_state": "x", "from_level": 3, "to_level": 0}
        alerts._add_event(c, hazard, slope.now + HOUR, ADA, "all quiet", "closed", **changed)
        alerts.set_outcome(c, hazard, "false_instrument", ADA, "a fox", slope.now + 2 * HOUR)
    with failed.read() as c:
        assert {number: compose(c, PLAIN, hazard, str(number)) for number in before} == before
        end, cancel = compose(c, PLAIN, hazard, str(chain[-1].sequence + 1)), compose(c, PLAIN, hazard)
    slope.now += 3 * HOUR
    slope.take(parse_site(TEXT.replace("North bench", "Elsewhere").replace("green", "calm"), "bench.toml"))
    with failed.write() as c:  # then the site is no longer monitored
        assert compose(c, PLAIN, hazard) == cancel
        c.execute(update(site_table).values(active=False))
    with failed.read() as c:
        assert (compose(c, PLAIN, hazard), compose(c, PLAIN, hazard, str(chain[-1].sequence + 1))) == (cancel, end)
        with pytest.raises(RefusedError, match="no longer monitored"):
            compose(c, PLAIN, hazard, str(chain[-1].sequence))
    assert (find(read(end), "info/responseType").text, find(read(cancel), "msgType").text) == ("AllClear", "Cancel")
    assert len(find(read(cancel), "references").text.split()) == len(chain) + 1


def test_message_contains_the_trusted_failure_window(database):
    slope = WatchedSlope(database, TEXT)
    slope.live(26, looks=1)
    add_window(slope, trusted=False, ahead=timedelta(minutes=30))
    add_window(slope, ahead=timedelta(hours=12))
    slope.live(10, {"G1": 150.0, "G2": 140.0})
    with database.read() as c:
        number = c.execute(select(alert_table.c.id).where(alert_table.c.ledger == AlertCategory.HAZARD)).scalar_one()
        root = read(compose(c, PLAIN, number, languages=["it", "en"]))
    assert [e.text for e in root.iter(f"{{{NAMESPACE}}}onset")] == ["2026-03-02T14:00:00-00:00"] * 2
    assert find(root, "info/certainty").text == "Likely"


def test_feed_lists_each_message_once_and_answers_304_if_unchanged(failed, slope, hazard, tmp_path):
    key, certificate = make_key("Slope office", slope.now)
    (tmp_path / "key.pem").write_text(key)
    (tmp_path / "cap.pem").write_text(certificate)
    signed = f'[cap]\nkey_file = "{tmp_path}/key.pem"\ncertificate_file = "{tmp_path}/cap.pem"\nexpires = "12h"\n'
    with serving(failed, slope.now, parse_service(signed, "x")) as client:
        answer = client.get("/cap/feed.atom")
        assert answer.headers["content-type"].startswith("application/atom+xml")
        entries = ET.fromstring(answer.content).findall("a:entry", NS)
        times = [entry.find("a:updated", NS).text for entry in entries]
        assert times == sorted(times, reverse=True)
        assert len({entry.find("a:id", NS).text for entry in entries}) == len(entries) > 1
        assert entries[0].find("a:title", NS).text.startswith("[North bench] RED: ")
        assert [entries[n].find("a:category", NS).get("term") for n in (-1, 0)] == ["Alert", "Update"]
        for entry in entries:
            path = entry.find("a:link", NS).get("href").removeprefix("http://127.0.0.1:8080")
            message = client.get(path)
            assert message.status_code == 200, path
            assert not find_faults(message.content)
            verify_cap(message.content, certificate)
            assert find(ET.fromstring(message.content), "info/expires") is not None
        tag = answer.headers["etag"]
        again = client.get("/cap/feed.atom", headers={"If-None-Match": f'"x", {tag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get("/sites/bench/cap/feed.atom").content.count(b"<entry>") == len(entries)
        assert client.get("/sites/other/cap/feed.atom").status_code == 404
        for odd in ("/alerts/99/cap/1.xml", f"/alerts/{hazard}/cap/cancel.xml", f"/alerts/{hazard}/cap/x.xml"):
            assert client.get(odd).status_code == 404, odd
        tell(failed, lambda c: c.execute(update(alert_table).values(exercise=True)))
        assert b"<entry>" not in client.get("/cap/feed.atom").content
        drills = client.get("/cap/feed.atom?exercises=true").content
        assert drills.count(b"EXERCISE [North bench]") == drills.count(b'term="Exercise"') == len(entries)
        assert b"<status>Exercise" in client.get(path).content
    with pytest.raises(ConfigError, match="certificate_file together"):
        parse_service(f'[cap]\nkey_file = "{tmp_path}/key.pem"\n', "x")


def test_newer_outcomes_of_drills_do_not_displace_those_of_hazards(database):
    rows = """
alert id=1 site=bench ledger=hazard key=a level=0 peak_level=1 state=closed exercise=no raised_at=+0s reason=r
    rule_version=0
alert id=2 site=bench ledger=hazard key=b level=0 peak_level=1 state=closed exercise=yes raised_at=+1h reason=r
    rule_version=0
alert_event alert_id=1 sequence=1 at=+0s to_state=closed to_level=0 actor=a actor_kind=person reason=r shadow=no
alert_event alert_id=2 sequence=1 at=+1h to_state=closed to_level=0 actor=a actor_kind=person reason=r shadow=no
alert_outcome alert_id=1 class=false_weather by=ada note=n at=+2h
alert_outcome alert_id=2 class=false_weather by=ada note=n at=+3h
"""
    tell(database, insert_rows, START, rows)

    def load_alert_ids(exercises):
        outcomes = ask(
            database, alerts.load_outcomes, frozenset({"bench"}), ["false_weather"], limit=1, exercises=exercises
        )
        return [alert.id for alert, _ in outcomes]

    assert load_alert_ids(exercises=False) == [1]
    assert load_alert_ids(exercises=True) == [2]


def test_channel_posts_the_message_of_each_level_change(failed, slope, hazard, hooks):
    def write_with_database(write, notification):
        return ask(failed, write, PLAIN, notification.event_id)

    with running(failed, {"HOOK": f"{hooks.base}/cap"}, {"bench": slope.site}, write_document=write_with_database):
        wait_for(lambda: any(b"<severity>Extreme" in body for _, _, body in hooks.got), 20, "the message")
    sent = [body for _, headers, body in hooks.got if headers["Content-Type"] == "application/cap+xml"]
    assert all(not find_faults(body) for body in sent)
    assert {headers["Content-Type"] for _, headers, _ in hooks.got} == {"application/cap+xml", "application/json"}


def test_commands_write_and_verify_messages(failed, hazard, tmp_path, capsys):
    service = write_service(tmp_path, failed, TEXT)
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cap.pem")
    assert run_command(["notify", "cap", "key", key, certificate, "--name", "Slope office"]) == 0
    assert run_command(["notify", "cap", "key", key, certificate]) == 1
    assert "exists; receivers" in capsys.readouterr().err
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    service.write_text(service.read_text() + f'[cap]\nkey_file = "{key}"\ncertificate_file = "{certificate}"\n')
    assert run_command(["alerts", "cap", str(hazard), "--test", "--config", str(service)]) == 0
    text = capsys.readouterr().out
    assert "<status>Test" in text
    run_command(["check", "--config", str(service)])
    assert "messages are signed by CN=Slope office" in capsys.readouterr().out
    message = tmp_path / "alert.xml"
    message.write_text(text)
    assert run_command(["notify", "cap", "verify", str(message), "--certificate", certificate, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["faults"], told["signed_by"]) == ([], "CN=Slope office")
    message.write_text(message.read_text().replace("<urgency>Immediate", "<urgency>Past"))
    assert run_command(["notify", "cap", "verify", str(message)]) == 0
    assert run_command(["notify", "cap", "verify", str(message), "--certificate", certificate]) == 1
    assert "the signature is not valid" in capsys.readouterr().err
    message.write_text(message.read_text().replace("<urgency>Past", "<urgency>Later"))
    assert run_command(["notify", "cap", "verify", str(message)]) == 1
    assert "urgency: 'Later' is not one of" in capsys.readouterr().out
    assert run_command(["notify", "cap", "verify", str(tmp_path / "none.xml")]) == 1
