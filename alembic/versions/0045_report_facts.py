"""What a report said is kept with it, so that it is proved against that and not by digest alone.

Revision ID: 0045
Revises: 0044
"""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("issued_report", sa.Column("facts", sa.Text()))


def downgrade() -> None:
    op.drop_column("issued_report", "facts")
