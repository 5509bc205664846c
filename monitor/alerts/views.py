"""Public views on alerts, their events and outcomes."""

from typing import TypedDict

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata


class AlertRow(TypedDict):
    """A row of `active_alerts` or `alert_history`. Pages load it without the column `evidence`."""

    alert_id: int
    site: str
    ledger: str
    key: str
    level: int
    peak_level: int
    level_name: str
    state: str
    exercise: bool
    raised_at: str
    data_time: str | None
    reason: str
    evidence: str | None
    evidence_sha256: str
    config_version: str
    acknowledged_at: str | None
    closed_at: str | None


class AlertEventRow(TypedDict):
    """A row of `alert_events`."""

    alert_id: int
    at: str
    from_state: str | None
    to_state: str
    from_level: int | None
    to_level: int
    actor: str
    reason: str
    shadow: bool


active_alerts = Table(
    "active_alerts",
    view_metadata,
    Column("alert_id", BigInteger, comment="number of the alert"),
    Column("site", Text, comment="site id"),
    Column("ledger", Text, comment="hazard, health or advice"),
    Column("key", Text, comment="key of the condition; at most one alert per site, ledger and key is open"),
    Column("level", Integer, comment="number of the level, 0 = lowest"),
    Column("peak_level", Integer, comment="highest level that it had"),
    Column("level_name", Text, comment="name of the level: hazard by the site file; else clear, notice, urgent"),
    Column(
        "state",
        Text,
        comment=(
            "unacknowledged, acknowledged, returned_unacknowledged, shelved, suppressed, out_of_service, "
            "closed ([states](alert-states.md))"
        ),
    ),
    Column("exercise", Boolean, comment="true if it belongs to a drill"),
    Column("raised_at", Text, comment="when it was raised", info={"unit": "time"}),
    Column("data_time", Text, comment="newest reading that the decision used", info={"unit": "time"}),
    Column("reason", Text, comment="reason, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("evidence", Text, comment="frozen inputs of its newest decision", info={"unit": "JSON"}),
    Column("evidence_sha256", Text, comment="SHA-256 of these inputs"),
    Column("rule_version", Text, comment="version of the code and of the site file"),
    Column("config_version", Text, comment="SHA-256 of the site file; see `config_versions`"),
    Column("code_version", Text, comment="version of Slopeward of the decision"),
    Column("acknowledged_at", Text, comment="when it was acknowledged", info={"unit": "time"}),
    Column("acknowledged_by", Text, comment="who acknowledged it"),
    Column("closed_at", Text, comment="when it was closed", info={"unit": "time"}),
    comment="Alerts that are not closed.",
    info={"question": "Which alerts are open, what happened to them, and were they right?", "row": AlertRow},
)

alert_history = Table(
    "alert_history",
    view_metadata,
    Column("alert_id", BigInteger, comment="number of the alert"),
    Column("site", Text, comment="site id"),
    Column("ledger", Text, comment="hazard, health or advice"),
    Column("key", Text, comment="key of the condition; at most one alert per site, ledger and key is open"),
    Column("level", Integer, comment="number of the level, 0 = lowest"),
    Column("peak_level", Integer, comment="highest level that it had"),
    Column("level_name", Text, comment="name of the level: hazard by the site file; else clear, notice, urgent"),
    Column(
        "state",
        Text,
        comment=(
            "unacknowledged, acknowledged, returned_unacknowledged, shelved, suppressed, out_of_service, "
            "closed ([states](alert-states.md))"
        ),
    ),
    Column("exercise", Boolean, comment="true if it belongs to a drill"),
    Column("raised_at", Text, comment="when it was raised", info={"unit": "time"}),
    Column("data_time", Text, comment="newest reading that the decision used", info={"unit": "time"}),
    Column("reason", Text, comment="reason, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("evidence", Text, comment="frozen inputs of its newest decision", info={"unit": "JSON"}),
    Column("evidence_sha256", Text, comment="SHA-256 of these inputs"),
    Column("rule_version", Text, comment="version of the code and of the site file"),
    Column("config_version", Text, comment="SHA-256 of the site file; see `config_versions`"),
    Column("code_version", Text, comment="version of Slopeward of the decision"),
    Column("acknowledged_at", Text, comment="when it was acknowledged", info={"unit": "time"}),
    Column("acknowledged_by", Text, comment="who acknowledged it"),
    Column("closed_at", Text, comment="when it was closed", info={"unit": "time"}),
    comment="All alerts.",
    info={"question": "Which alerts are open, what happened to them, and were they right?", "row": AlertRow},
)

alert_events = Table(
    "alert_events",
    view_metadata,
    Column("alert_id", BigInteger, comment="number of the alert"),
    Column("site", Text, comment="site id"),
    Column("ledger", Text, comment="hazard, health or advice"),
    Column("sequence", Integer, comment="number of the event within the alert, from 1"),
    Column("at", Text, comment="when it happened", info={"unit": "time"}),
    Column("data_time", Text, comment="newest reading that the decision used", info={"unit": "time"}),
    Column("from_state", Text, comment="state before; null at the start"),
    Column("to_state", Text, comment="state after ([states](alert-states.md))"),
    Column("from_level", Integer, comment="level before"),
    Column("to_level", Integer, comment="level after"),
    Column("actor", Text, comment="who acted"),
    Column("actor_kind", Text, comment="person, service or program"),
    Column("via", Text, comment="how a person acted: `command`, `page` or `token`; null for the service"),
    Column("until_at", Text, comment="for a shelving, when the alert returns by itself", info={"unit": "time"}),
    Column("reason", Text, comment="reason, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("shadow", Boolean, comment="true: the site was in shadow mode, only the people of the trial were notified"),
    comment="All events of all alerts, in order of `sequence`.",
    info={"question": "Which alerts are open, what happened to them, and were they right?", "row": AlertEventRow},
)

alert_outcomes = Table(
    "alert_outcomes",
    view_metadata,
    Column("alert_id", BigInteger, comment="number of the alert"),
    Column("site", Text, comment="site id"),
    Column("class", Text, comment="true, false_instrument, false_weather, false_work, drill, unknown"),
    Column("by", Text, comment="who recorded it"),
    Column("note", Text, comment="reason"),
    Column("at", Text, comment="when it was recorded", info={"unit": "time"}),
    comment="Outcomes of alerts; the newest row of an alert counts.",
    info={"question": "Which alerts are open, what happened to them, and were they right?"},
)


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    alerts = f"""SELECT a.id AS alert_id, a.site, a.ledger, a.key, a.level, a.peak_level,
  CASE WHEN a.ledger = 'hazard' THEN {dialect.level_name("p.levels", "a.level")}
    WHEN a.level = 0 THEN 'clear' WHEN a.level = 1 THEN 'notice' ELSE 'urgent' END AS level_name,
  a.state, a.exercise, a.raised_at, a.data_time,
  a.reason, a.reason_id, a.reason_values, n.evidence, n.evidence_sha256, a.rule_version,
  n.config_sha256 AS config_version, n.code_version, a.acknowledged_at, a.acknowledged_by, a.closed_at
FROM alert a LEFT JOIN site p ON p.id = a.site LEFT JOIN decision n ON n.id = a.decision_id"""
    return {
        "active_alerts": f"{alerts} WHERE a.closed_at IS NULL",
        "alert_history": alerts,
        "alert_events": """SELECT e.alert_id, a.site, a.ledger, e.sequence, e.at, e.data_time, e.from_state, e.to_state,
  e.from_level, e.to_level, e.actor, e.actor_kind, e.via, e.until_at, e.reason, e.reason_id, e.reason_values,
  e.shadow
FROM alert_event e JOIN alert a ON a.id = e.alert_id""",
        "alert_outcomes": 'SELECT o.alert_id, a.site, o."class", o."by", o.note, o.at FROM alert_outcome o JOIN alert a ON a.id = o.alert_id',
    }
