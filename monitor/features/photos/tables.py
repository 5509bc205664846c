"""Table of photos attached to alerts and reports of observers."""

from sqlalchemy import Column, Double, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from monitor.api.store import BigId, Instant, SealedColumns, metadata

photo = Table(
    "photo",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("alert_id", BigId, ForeignKey("alert.id"), nullable=True),
    Column("report_id", BigId, nullable=True),
    Column("added_at", Instant, nullable=False),
    Column("by", Text, nullable=False),
    Column("via", Text, nullable=True),
    Column("note", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("taken", Text, nullable=False),
    Column("latitude", Double, nullable=True),
    Column("longitude", Double, nullable=True),
    Column("camera", Text, nullable=False, comment="make and model that the camera recorded"),
    Column("picture", LargeBinary, nullable=False),
    Column("small", LargeBinary, nullable=False),
    Index("ix_photo_site", "site", "added_at"),
    Index("ix_photo_alert", "alert_id"),
    comment="photos of alerts and reports; the pictures are converted files without metadata",
    info={"sealed": SealedColumns(left_out=frozenset({"picture", "small"}), only_added=True)},
)
