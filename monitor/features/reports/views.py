"""Public views on issued reports."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.api.store import Dialect, view_metadata

issued_reports = Table(
    "issued_reports",
    view_metadata,
    Column("report_id", BigInteger, comment="its number"),
    Column("site", Text, comment="of which site"),
    Column("kind", Text, comment="`daily`, `weekly`, `shift`"),
    Column("from_at", Text, comment="beginning of the period, excluded", info={"unit": "time"}),
    Column("to_at", Text, comment="its end, included", info={"unit": "time"}),
    Column("made_at", Text, comment="when it was made", info={"unit": "time"}),
    Column("language", Text, comment="of its texts"),
    Column("facts_sha256", Text, comment="SHA-256 of all that it says"),
    Column("code_version", Text, comment="version of the program that made it"),
    Column("mails", BigInteger, comment="mails that carry it"),
    Column("delivered", BigInteger, comment="those that a mail server took"),
    comment="Bulletins and shift reports that the service issued.",
    info={"question": "Is the service well, and who did what?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "issued_reports": """SELECT r.id AS report_id, r.site, r.kind, r.from_at, r.to_at, r.made_at, r.language, r.facts_sha256,
  r.code_version, (SELECT count(*) FROM report_mail m WHERE m.report_id = r.id) AS mails,
  (SELECT count(*) FROM report_mail m WHERE m.report_id = r.id AND m.state = 'delivered') AS delivered
FROM issued_report r""",
    }
