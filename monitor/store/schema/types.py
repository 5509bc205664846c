"""Column types with one spelling on SQLite and PostgreSQL: instants, finite numbers, canonical JSON."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Dialect, Double, Integer, String, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from monitor.domain.canonical import canonical_json
from monitor.domain.instants import parse, spell

BigId = BigInteger().with_variant(Integer, "sqlite")
INSTANT_WIDTH = 27


class Instant(TypeDecorator[datetime]):
    """An aware instant as `YYYY-MM-DDTHH:MM:SS.ffffffZ`, which sorts as text; naive times are refused.

    PostgreSQL compares it in the byte order of collation "C", so that both databases sort alike.
    """

    impl = String(INSTANT_WIDTH)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the byte-ordered collation where the database has one."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(INSTANT_WIDTH, collation="C"))
        return dialect.type_descriptor(String(INSTANT_WIDTH))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Spell the instant; None stays NULL."""
        return None if value is None else spell(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read the instant back as aware UTC."""
        return None if value is None else parse(value)


class Json(TypeDecorator[Any]):
    """Canonical JSON text: sorted keys, no blanks, no NaN; hashes of it are stable."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Spell canonically; None stays NULL."""
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Read back."""
        return None if value is None else json.loads(value)


def finite(table: str, *columns: str) -> list[CheckConstraint]:
    """CHECKs that refuse NaN and infinity: SQLite would make NaN NULL, PostgreSQL would break JSON."""
    return [CheckConstraint(f"{c} > -1e300 AND {c} < 1e300", name=f"ck_{table}_{c}_finite") for c in columns]


Number = Double
