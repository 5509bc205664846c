"""Which person of an OpenID Connect provider comes in as an account.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
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
