"""Which person of an OpenID Connect provider comes in as an account.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("user_account", sa.Column("oidc_issuer", sa.Text(), nullable=True))
    op.add_column("user_account", sa.Column("oidc_subject", sa.Text(), nullable=True))
    op.create_index("ix_user_account_oidc", "user_account", ["oidc_issuer", "oidc_subject"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_user_account_oidc", table_name="user_account")
    op.drop_column("user_account", "oidc_subject")
    op.drop_column("user_account", "oidc_issuer")
