"""Condition of instruments: findings, batteries, calibration and availability."""

from sqlalchemy import Column, Double, Integer, String, Table

from monitor.storage.column_types import Instant, Json, translatable_text
from monitor.storage.metadata import metadata

# Findings on instruments, made by a job for the instruments page. Decisions do not read them.
instrument_finding = Table(
    "instrument_finding",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("station", String(64), primary_key=True, info={"names": "station"}),
    Column("state", String(16), primary_key=True),
    Column("rank", Integer, nullable=False),
    Column("since", Instant, nullable=False),
    *translatable_text("reason", nullable=False),
    *translatable_text("action", nullable=False),
)

# Battery, calibration and sparkline (small chart) of each instrument.
instrument = Table(
    "instrument",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("station", String(64), primary_key=True, info={"names": "station"}),
    Column("judged_at", Instant, nullable=False),
    Column("battery_v", Double, nullable=True),
    Column("battery_at", Instant, nullable=True),
    Column("battery_empty_at", Instant, nullable=True),
    *translatable_text("battery_method", nullable=False),
    Column("calibrated_on", String(10), nullable=True),
    Column("calibration_due_on", String(10), nullable=True),
    Column("spark_of", String(64), nullable=True),
    Column("spark", Json, nullable=True, comment="means of equal time spans; null = no readings"),
)

# Expected and received readings of each instrument in each month.
instrument_month = Table(
    "instrument_month",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("station", String(64), primary_key=True, info={"names": "station"}),
    Column("month", String(7), primary_key=True),
    Column("expected", Integer, nullable=False),
    Column("received", Integer, nullable=False),
)
