"""Monthly views read forecasts in the order of their groups and, on PostgreSQL, scores from an index alone.

Revision ID: 0048
Revises: 0047
"""

from collections.abc import Sequence

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

GROUP = ("series_id", "model", "horizon_s", "target_month")
BOUNDS = ("q025", "q10", "q90", "q975")
FIGURES = (
    "error", "baseline_error", "persistence_error", "inside_80", "inside_95", "pinball", "winkler_80", "crps", "pit",
    "situation",
)  # fmt: skip


def upgrade() -> None:
    _order_months((*GROUP, "stage", "id", *BOUNDS))
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_forecast_score_figures", "forecast_score", ["forecast_id"], postgresql_include=FIGURES)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_forecast_score_figures", "forecast_score")
    _order_months((*GROUP, *BOUNDS, "stage", "id"))


def _order_months(columns: Sequence[str]) -> None:
    op.drop_index("ix_forecast_month", "forecast")
    op.create_index("ix_forecast_month", "forecast", list(columns))
