"""Rows are sealed in the audit log: its entries are looked up by action; the program seals what it finds.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_audit_entry_action", "audit_entry", ["action", "subject"])


def downgrade() -> None:
    op.drop_index("ix_audit_entry_action", table_name="audit_entry")
