"""Public view of issued reports."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.api.store import Dialect, view_metadata

issued_reports = Table(
    "issued_reports",
    view_metadata,
    Column("report_id", BigInteger, comment="number of the report"),
    Column("site", Text, comment="site of the report"),
    Column("kind", Text, comment="`daily`, `weekly`, `shift`"),
    Column("from_at", Text, comment="begin of the period; not part of it", info={"unit": "time"}),
    Column("to_at", Text, comment="end of the period; part of it", info={"unit": "time"}),
    Column("made_at", Text, comment="when the report was issued", info={"unit": "time"}),
    Column("language", Text, comment="language of the report"),
    Column("facts_sha256", Text, comment="SHA-256 of the facts of the report"),
    Column("code_version", Text, comment="version of Slopeward that issued the report"),
    Column("mails", BigInteger, comment="number of mails with the report"),
    Column("delivered", BigInteger, comment="number of mails that a mail server accepted"),
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
