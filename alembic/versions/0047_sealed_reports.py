"""Issued reports are sealed in the audit log; the program seals what it finds.

Revision ID: 0047
Revises: 0046
"""

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The tables stay as they are: `monitor.store.upkeep.migrate` seals the rows."""


def downgrade() -> None:
    """The seals stay in the log."""
