"""Columns of the public views on issued reports."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.store.schema.metadata import view_metadata

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
