"""The version of a site changes only when data shown by its page changes."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import acknowledge, add_note
from monitor.alerts.queries.site_versions import load_site_versions
from monitor.alerts.tables import alert
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from tests.data.filled import NOW

NORTH, LAKE = "north-bench", "lake-slope"


def find_open_alert(connection, site):
    a = alert.c
    return connection.execute(select(a.id).where(a.site == site, a.state == "unacknowledged").limit(1)).scalar_one()


def set_state(**values):
    return lambda c: c.execute(update(site_state).where(site_state.c.site == NORTH).values(**values))


def acknowledge_alert(connection):
    acknowledge(connection, find_open_alert(connection, NORTH), Actor("bo"), "on my way", NOW)


def note_on_alert(connection):
    add_note(connection, find_open_alert(connection, NORTH), Actor("bo"), "the road is closed", NOW)


def record_delivery_attempt(connection):
    n = notification.c
    query = select(n.id).join(alert, alert.c.id == n.alert_id).where(n.site == NORTH, alert.c.closed_at.is_(None))
    message_id = connection.execute(query.limit(1)).scalar_one()
    connection.execute(update(notification).where(n.id == message_id).values(attempts=n.attempts + 1))


@pytest.mark.parametrize(
    "change",
    [
        set_state(level=3),
        set_state(observability="blind"),
        set_state(movement_stage="steady"),
        acknowledge_alert,
        note_on_alert,
        record_delivery_attempt,
    ],
    ids=["level", "observability", "stage", "acknowledgement", "note", "delivery"],
)
def test_urgent_version_changes_for_its_site_only(filled_database, change):
    before = filled_database.run_read(load_site_versions)
    filled_database.run_write(change)
    after = filled_database.run_read(load_site_versions)
    assert after[NORTH].urgent != before[NORTH].urgent
    assert after[NORTH].readings == before[NORTH].readings
    assert after[LAKE] == before[LAKE]


def test_evaluation_without_change_of_level_is_not_urgent(filled_database):
    before = filled_database.run_read(load_site_versions)
    filled_database.run_write(set_state(evaluated_at=NOW + timedelta(minutes=9)))
    after = filled_database.run_read(load_site_versions)
    assert after[NORTH].readings != before[NORTH].readings
    assert after[NORTH].urgent == before[NORTH].urgent
    assert after[LAKE] == before[LAKE]


def test_another_process_computes_the_same_versions(filled_database):
    versions = filled_database.run_read(load_site_versions)
    assert filled_database.run_read(load_site_versions) == versions
    with Database(filled_database.url.render_as_string(hide_password=False)) as other:
        assert other.run_read(load_site_versions) == versions
