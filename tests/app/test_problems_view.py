"""Test the view `problems`: everything that was wrong in a period."""

from datetime import UTC, datetime

import pytest

from monitor.storage import views
from tests.data.rows import insert_rows
from tests.data.store_rows import ask
from tests.fixtures.databases import ON_BOTH

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
pytestmark = ON_BOTH

SITE = "site id=a name=A latitude=1 longitude=2 timezone=UTC levels=[] config_sha256=x active=yes\n"
ALERT = "alert site=a key={key} ledger={ledger} level=1 peak_level=2 state={state} exercise={exercise} raised_at=-9h reason=r rule_version=1 closed_at={closed}\n"  # noqa: E501
MESSAGE = "notification alert_id=1 event_id=1 site=a ledger=hazard level=1 level_name=x recipient=bo channel=log:x exercise=no subject=s body=b state={state} queued_at=-8h idempotency_key={state} last_error='no answer'\n"  # noqa: E501


def alert_line(key, *, ledger="hazard", exercise="no", closed="-1h"):
    """Return the line of a closed alert."""
    return ALERT.format(key=key, ledger=ledger, exercise=exercise, closed=closed, state="closed")


def list_problems(database, rows):
    """Store rows and return what the view lists."""
    with database.write() as c:
        insert_rows(c, NOW, rows)
    return ask(database, views.load_view, "problems", order_by=("from_at", "subject"))


def test_alerts_of_hazard_and_health_are_listed_with_their_highest_level(database):
    listed = list_problems(database, SITE + alert_line("k1") + alert_line("k2", ledger="health"))
    assert [(row["kind"], row["subject"], row["site"], row["level"]) for row in listed] == [
        ("hazard", "k1", "a", 2),
        ("health", "k2", "a", 2),
    ]
    assert listed[0]["from_at"] == "2026-02-28T21:00:00.000000Z"
    assert listed[0]["to_at"] == "2026-03-01T05:00:00.000000Z"
    assert listed[0]["text"] == "r"


def test_drills_and_advice_are_not_listed(database):
    assert list_problems(database, SITE + alert_line("k1", exercise="yes") + alert_line("k2", ledger="advice")) == []


def test_failed_message_is_listed_until_its_alert_is_closed(database):
    event = "alert_event alert_id=1 sequence=1 at=-9h to_state=closed to_level=1 actor=a actor_kind=person reason=r\n"
    sent = event + "".join(MESSAGE.format(state=state) for state in ("failed_final", "failed_retry", "delivered"))
    listed = [row for row in list_problems(database, SITE + alert_line("k1") + sent) if row["kind"] == "message"]
    assert len(listed) == 2
    for row in listed:
        assert row["subject"] == "bo log:x"
        assert row["from_at"] == "2026-02-28T22:00:00.000000Z"
        assert row["to_at"] == "2026-03-01T05:00:00.000000Z"
        assert row["text"] == "no answer"


@pytest.mark.parametrize("state", ["failed", "killed", "missed"])
def test_failed_job_is_listed(database, state):
    rows = f"job_run job=forecast site=a started_at=-3h finished_at=-2h state={state} detail='no room'\n"
    (listed,) = list_problems(database, rows + "job_run job=forecast started_at=-2h finished_at=-1h state=done\n")
    assert (listed["kind"], listed["subject"], listed["site"], listed["text"]) == ("job", "forecast", "a", "no room")


def test_outages_and_failed_backups_belong_to_no_site(database):
    rows = "outage cause=broker from_at=-3h back_at=-2h drained_at=-2h counts_until=+1h\n"
    for state in ("failed", "proven"):
        rows += f"backup_run at=-1h file=f state={state} seconds=1 detail='no room'\n"
    listed = list_problems(database, rows)
    assert [(row["kind"], row["subject"], row["site"], row["text"]) for row in listed] == [
        ("outage", "broker", None, "no connection to the broker"),
        ("backup", "f", None, "no room"),
    ]
