"""Public view on everything that was wrong in a span of time."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

problems = Table(
    "problems",
    view_metadata,
    Column("from_at", Text, comment="when it began", info={"unit": "time"}),
    Column("to_at", Text, comment="when it ended; null = it lasts", info={"unit": "time"}),
    Column(
        "site", Text, comment="site id; `status` is the service itself, as in `alert_history`; null = not of one site"
    ),
    Column(
        "kind",
        Text,
        comment=(
            "`hazard` or `health` (an alert of this ledger), `message` (a recipient was not reached), `outage` (no "
            "messages were read), `job` (a job failed), `backup` (a backup failed)"
        ),
    ),
    Column(
        "subject",
        Text,
        comment="key of the alert, name and channel of the recipient, cause of the outage, job, or file of the backup",
    ),
    Column("level", Integer, comment="highest level of the alert; null for other kinds"),
    Column("text", Text, comment="what was wrong, in one sentence"),
    Column("text_id", Text, comment="id of the message in `text`"),
    Column("text_values", Text, comment="values of that message, JSON"),
    Column("alert_id", BigInteger, comment="number of the alert, also of a message about it; else null"),
    comment=(
        "Everything that was wrong: alerts of the ledgers hazard and health, recipients that were not reached, outages, "
        "jobs and backups that failed. Drills are left out. A message that failed counts until its alert is closed."
    ),
    info={"question": "What was wrong last night?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    no_message = "CAST(NULL AS text), CAST(NULL AS text)"
    return {
        "problems": f"""SELECT a.raised_at AS from_at, a.closed_at AS to_at, a.site AS site, a.ledger AS kind, a.key AS subject,
  a.peak_level AS level, a.reason AS text, a.reason_id AS text_id, a.reason_values AS text_values, a.id AS alert_id
FROM alert a WHERE a.ledger IN ('hazard', 'health') AND NOT a.exercise
UNION ALL SELECT n.queued_at, a.closed_at, n.site, 'message', n.recipient || ' ' || n.channel,
  NULL, n.last_error, n.last_error_id, n.last_error_values, n.alert_id
FROM notification n JOIN alert a ON a.id = n.alert_id
WHERE n.state IN ('failed_retry', 'failed_final') AND NOT n.exercise
UNION ALL SELECT o.from_at, o.back_at, NULL, 'outage', o.cause, NULL,
  CASE o.cause WHEN 'service' THEN 'the service did not run' WHEN 'broker' THEN 'no connection to the broker'
    WHEN 'database' THEN 'the database stored no readings' ELSE o.cause END, {no_message}, NULL
FROM outage o
UNION ALL SELECT j.started_at, j.finished_at, j.site, 'job', j.job, NULL, coalesce(j.detail, j.state), {no_message}, NULL
FROM job_run j WHERE j.state IN ('failed', 'killed', 'missed')
UNION ALL SELECT b.at, b.at, NULL, 'backup', b.file, NULL, b.detail, {no_message}, NULL
FROM backup_run b WHERE b.state = 'failed'""",
    }
