"""A changed GNSS reference becomes a question. The reference in force stays until an operator answers."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from monitor.alerts.acts.operator_acts import set_level
from monitor.alerts.queries import signatures as countersign
from monitor.cli.identity import name_os_user
from monitor.cli.main import run_command
from monitor.errors import StoreBusyError
from monitor.ingest import pipeline as module
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.people.tables import user_account
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.proof import verify
from monitor.storage.views import load_view
from tests.data.accounts import add_account
from tests.data.filled import PASSWORD
from tests.data.site_text import head, series, station, table
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import write_service
from tests.web.test_door import serving
from tests.web.test_rules import enter, send

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)
FORGED, REAL, LATER = "2020-01-01T00:00:00Z", "2025-11-03T00:00:00Z", "2026-02-01T00:00:00Z"
SITE = parse_site(
    head("north")
    + station("G1", series("displacement", "mm"))
    + table("[[recipient]]", name="duty", channels=["log"], levels=["orange", "red"]),
    "north.toml",
)


@pytest.fixture
def pipeline(database):
    tell(database, save_site, SITE, "test", "test", NOW)
    return Pipeline(database, {"north": SITE}, lambda: NOW)


@pytest.fixture
def console(database, tmp_path, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database, None)))
    return lambda *words: run_command([str(w) for w in words])


def send_positions(pipeline, epoch0, *minutes, frame="local"):
    """Store one message a minute. Return the numbers of stored readings and of rejected parts."""
    messages = []
    for n in minutes:
        at = (NOW - timedelta(days=1) + timedelta(minutes=n)).isoformat()
        body = {"time": at, "gnss": {"enu_mm": [float(n), 2.0, 3.0], "frame": frame, "epoch0": epoch0}}
        messages.append(BrokerMessage("slopeward/v1/north/G1/obs", json.dumps(body).encode(), NOW, "live"))
    outcome = pipeline.store(messages)
    return outcome.added.stored, outcome.rejected


def load_reference_alarms(database):
    return [
        (a["key"], a["state"], a["reason"])
        for a in ask(database, load_view, "alert_history", order_by=("alert_id",))
        if a["key"].startswith("health:epoch0:")
    ]


def test_moved_reference_is_a_question_and_a_person_confirms_it(pipeline, database, console, capsys):
    assert (send_positions(pipeline, FORGED, 1), send_positions(pipeline, REAL, 2, 3)) == ((3, 0), (0, 2))
    ((key, state, reason),) = load_reference_alarms(database)
    assert (key, state) == ("health:epoch0:north/G1", "unacknowledged")
    assert "another reference (since 2025-11-03 00:00:00 UTC" in reason
    assert "the one in force (since 2020-01-01 00:00:00 UTC" in reason
    assert [n["recipient"] for n in ask(database, load_view, "notification_status")] == ["duty"]
    assert send_positions(pipeline, FORGED, 4) == (3, 0), "the reference in force was dropped before an answer"
    assert (send_positions(pipeline, REAL, 5), send_positions(pipeline, LATER, 6)) == ((0, 1), (0, 1))
    assert len(load_reference_alarms(database)) == 1, "the question was raised twice"
    assert console("instruments", "reference", "north", "G1", "new", "--by", "Ada") == 2, (
        "the answer was accepted without a reason"
    )
    words = ("instruments", "reference", "north", "G1", "new", "--by", "Ada", "--reason", "log book of the receiver")
    assert (console(*words), "no longer since 2020-01-01 00:00 UTC" in capsys.readouterr().out) == (0, True)
    assert load_reference_alarms(database)[0][1] == "returned_unacknowledged"
    assert send_positions(pipeline, REAL, 7) == (3, 0), "the running pipeline did not use the new reference"
    assert send_positions(pipeline, FORGED, 8) == (0, 1)
    assert send_positions(Pipeline(database, {"north": SITE}, lambda: NOW), REAL, 9) == (3, 0)
    with database.read() as c:
        (entry,) = load_view(c, "audit_log", action="epoch0.accept")
        assert verify(c) == []
    assert (entry["actor"], entry["subject"], json.loads(entry["detail"])["via"]) == ("Ada", "north/G1", "command")
    assert console(*words[:3], "G9", *words[4:]) == 1


def test_refused_reference_raises_no_further_question(pipeline, database, console):
    send_positions(pipeline, REAL, 1)
    send_positions(pipeline, FORGED, 2)
    with database.write() as c:
        add_account(c, "ada", PASSWORD, "operator", NOW)
        c.execute(update(user_account).values(os_user=name_os_user()))  # identifies the person at the keyboard
    refuse = ("instruments", "reference", "north", "G1", "kept", "--reason", "nobody touched it", "--by")
    assert (console(*refuse, "Nobody"), console(*refuse, "ada")) == (1, 0)
    send_positions(pipeline, FORGED, 3)
    assert ([a[1] for a in load_reference_alarms(database)], send_positions(pipeline, REAL, 4)) == (
        ["returned_unacknowledged"],
        (3, 0),
    )
    send_positions(pipeline, REAL, 5, frame="ITRF2020")
    assert "in frame 'ITRF2020'" in load_reference_alarms(database)[-1][2]


def test_forgetting_a_reference_closes_its_question(pipeline, database, console):
    send_positions(pipeline, FORGED, 1)
    send_positions(pipeline, REAL, 2)
    assert console("ingest", "--forget-epoch0", "north/G1", "--by", "Ada") == 0
    assert load_reference_alarms(database)[0][1] == "returned_unacknowledged"
    assert send_positions(pipeline, REAL, 3) == (3, 0), "the running pipeline kept the forgotten reference"


def test_question_of_a_rolled_back_batch_is_raised_with_the_next_message(pipeline, database, monkeypatch):
    send_positions(pipeline, FORGED, 1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "note_sequences", None)
        patch.setattr(module, "add_rejected", lambda *_: (_ for _ in ()).throw(StoreBusyError("locked")))
        with pytest.raises(StoreBusyError):
            send_positions(pipeline, REAL, 2)
    assert load_reference_alarms(database) == []
    send_positions(pipeline, REAL, 2)
    assert len(load_reference_alarms(database)) == 1


# ---- answers on the page ------------------------------------------------------------------------------------------
@pytest.fixture
def question_id(pipeline, database):
    """Add the operators Ada and Bo, raise a question about a reference, and return the number of its alert."""
    send_positions(pipeline, FORGED, 1)
    send_positions(pipeline, REAL, 2)
    with database.write() as c:
        for name in ("ada", "bo"):
            add_account(c, name, PASSWORD, "operator", NOW)
    alerts = ask(database, load_view, "alert_history")
    return next(a["alert_id"] for a in alerts if a["key"].startswith("health:epoch0:"))


def test_question_is_answered_on_the_page(pipeline, database, question_id):
    answer = {"holds": "new", "reason": "log book of the receiver"}
    with serving(database, lambda: NOW) as address, enter(address, "bo") as browser:
        page = browser.get(f"/alerts/{question_id}").text
        assert "Which reference of G1 is right?" in page
        assert "since 2025-11-03 00:00:00 UTC" in page
        assert send(browser, "/sites/north/stations/G9/reference", **answer).status_code == 404
        response = send(browser, "/sites/north/stations/G1/reference", **answer)
        assert response.headers["location"].startswith("/sites/north/instruments?told=")
        assert "G1%20is%20now%20measured" in response.headers["location"]
        assert "Which reference" not in browser.get(f"/alerts/{question_id}").text
    assert send_positions(pipeline, REAL, 7) == (3, 0)
    (entry,) = ask(database, load_view, "audit_log", action="epoch0.accept")
    assert (entry["actor"], json.loads(entry["detail"])["via"]) == ("bo", "page")


def test_two_people_answer_at_the_two_highest_levels_and_can_withdraw_a_signature(
    pipeline, database, question_id, console, monkeypatch, capsys
):
    set_level(database, SITE, 2, Actor("ada"), "rock falls", NOW)
    answer = {"holds": "new", "reason": "log book of the receiver"}
    path = "/sites/north/stations/G1/reference"
    with serving(database, lambda: NOW) as address, enter(address, "ada") as ada, enter(address, "bo") as bo:
        assert "a second person must give the same answer" in ada.get(f"/alerts/{question_id}").text
        assert "not%20done%20yet" in send(ada, path, **answer).headers["location"]
        assert send_positions(pipeline, REAL, 3) == (0, 1), "one signature changed the reference"
        assert send(ada, path, **answer).status_code == 409, "the same person signed twice"
        text = bo.get("/signatures").text
        assert "use the new GNSS reference" in text
        assert "Open and decide" in text
        assert "Withdraw" not in text
        assert send(bo, "/signatures/1/withdraw", reason="why not").status_code == 409, (
            "a signature of another person was withdrawn"
        )
        assert "Withdraw" in ada.get("/signatures").text
        assert send(ada, "/signatures/1/withdraw", reason="wrong log book").status_code == 303
        assert "Nothing waits for a second person." in ada.get("/signatures").text
        assert "not%20done%20yet" in send(bo, path, **answer).headers["location"], "a withdrawn signature counted"
        assert "not%20done%20yet" in send(ada, path, **answer | {"holds": "kept"}).headers["location"], (
            "different answers counted as agreement"
        )
        assert send_positions(pipeline, REAL, 4) == (0, 1)
    # The second signature may be given at the command line, after a first one on the page.
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", PASSWORD)
    words = ("instruments", "reference", "north", "G1", "new", "--reason", "saw the new antenna", "--by")
    monkeypatch.setattr(
        countersign, "VALID", timedelta(days=9999)
    )  # the first signature dates from March 2026, the command uses the present time
    assert console(*words, "bo") == 1, capsys.readouterr()
    assert console(*words, "ada") == 0, capsys.readouterr()
    assert send_positions(pipeline, REAL, 5) == (3, 0)
    with database.read() as c:
        (entry,) = load_view(c, "audit_log", action="epoch0.accept")
        assert json.loads(entry["detail"])["second_by"] == "bo"
        assert (len(load_view(c, "audit_log", action="epoch0.accept.unsign")), verify(c)) == (1, [])


def test_command_line_answer_of_one_person_is_a_signature(pipeline, database, question_id, console, monkeypatch):
    set_level(database, SITE, 2, Actor("ada"), "rock falls", NOW)
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", PASSWORD)
    words = ("instruments", "reference", "north", "G1", "kept", "--reason", "nobody touched it", "--by")
    assert (console(*words, "ada"), send_positions(pipeline, REAL, 3), console(*words, "bo")) == (3, (0, 1), 0)
    assert load_reference_alarms(database)[0][1] == "returned_unacknowledged"
