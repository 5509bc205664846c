"""User accounts, sign-in credentials, sessions and first signatures."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from monitor.storage.column_types import BigId, Instant, Json
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

user_account = Table(
    "user_account",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("role", String(16), nullable=False, comment="viewer, operator, admin"),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant, nullable=True),
    Column(
        "sites",
        Json,
        nullable=True,
        comment="the only sites on which the account may act, and which it may read if reading needs a login; "
        "null = all sites",
    ),
    Column(
        "os_user",
        String(64),
        nullable=True,
        comment="user of the operating system who acts as this account at the command line without a password",
    ),
    Column("oidc_issuer", Text, nullable=True, comment="identity provider through which the person logs in"),
    Column("oidc_subject", Text, nullable=True, comment="identifier of the person at the identity provider"),
    Index("ix_user_account_os_user", "os_user", unique=True),
    Index("ix_user_account_oidc", "oidc_issuer", "oidc_subject", unique=True),
    info={"sealed": SealedColumns()},
)

first_signature = Table(
    "first_signature",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("act", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("terms", Text, nullable=False, comment="arguments of the action as JSON; both people sign the same ones"),
    Column("height", Integer, nullable=False, comment="level at stake when the first person signed"),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("signed_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=True),
    Column("used_by", Text, nullable=True),
    Column("withdrawn_at", Instant, nullable=True),
    Column("withdrawn_by", Text, nullable=True),
    Index("ix_first_signature_act", "act", "subject"),
    comment="first signatures of actions that need two people; the second signature performs the action",
    info={"sealed": SealedColumns()},
)

second_factor = Table(
    "second_factor",
    metadata,
    Column("user_name", String(64), primary_key=True),
    Column("secret", Text, nullable=False, comment="encrypted with the key of [second_factor]"),
    Column("created_at", Instant, nullable=False),
    Column(
        "last_step",
        Integer,
        nullable=False,
        comment="time step of the last accepted code; an earlier or equal step is refused",
    ),
    Column(
        "pending_since",
        Instant,
        nullable=True,
        comment="created on the page, and waiting for its first code; logins need no code until then",
    ),
    comment="second factors of accounts; no view and no published copy of the database contains them",
    info={"sealed": SealedColumns(left_out=frozenset({"last_step"}))},
)

recovery_code = Table(
    "recovery_code",
    metadata,
    Column("code_sha256", String(64), primary_key=True),
    Column("user_name", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=True),
    Index("ix_recovery_code_user", "user_name"),
    comment="codes for a lost phone, each valid for one login; hashes of 80 random bits",
    info={"sealed": SealedColumns()},
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("user_name", String(64), nullable=False),
    Column("label", String(64), nullable=False),
    Column("scope", String(16), nullable=False, comment="read, act, admin"),
    Column("sites", Json, nullable=True, comment="null = all sites of the account"),
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant, nullable=True),
    comment="tokens with which programs read and act in the name of an account",
    info={"sealed": SealedColumns()},
)

web_session = Table(
    "web_session",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("user_name", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
)

password_guess = Table(
    "password_guess",
    metadata,
    Column("user_name", String(64), primary_key=True),
    Column("os_user", String(128), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    comment="wrong passwords at the command line and wrong login codes since the last right one; they delay attempts",
)

known_device = Table(
    "known_device",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("user_name", String(64), primary_key=True),
    Column("used_at", Instant, nullable=False),
    comment="devices on which an account has logged in; wrong passwords from other devices do not delay logins there",
)
