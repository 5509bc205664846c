"""Column types and groups of columns that several tables share."""

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Dialect, Integer, String, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from monitor.canonical import CanonicalText, canonical_json
from monitor.text.instants import format_iso, parse_time
from monitor.text.message import Message, values_to_json

INSTANT_WIDTH: Final = 27

BigId: Final = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit id. SQLite generates ids only for columns of type INTEGER, which has 64 bits there."""


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored as text in the form `YYYY-MM-DDTHH:MM:SS.ffffffZ`.

    Text order is time order. On PostgreSQL the column has the collation "C", which compares bytes, so that both
    databases sort the same way. Storing a naive datetime raises an error.
    """

    impl = String(INSTANT_WIDTH)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the text type of the database, with the collation "C" on PostgreSQL."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(INSTANT_WIDTH, collation="C"))
        return dialect.type_descriptor(String(INSTANT_WIDTH))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Format a datetime as text. None becomes NULL."""
        return None if value is None else format_iso(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Parse the stored text into a datetime in UTC."""
        return None if value is None else parse_time(value)


class Json(TypeDecorator[Any]):
    """A JSON value, stored as canonical text: sorted keys, no white space, no NaN.

    Equal values are stored as equal text, so the text can be hashed.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Serialise a value, unless it is canonical text already. None becomes NULL."""
        if isinstance(value, CanonicalText):
            return str(value)
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Deserialise the stored text."""
        return None if value is None else json.loads(value)


def finite(table: str, *columns: str) -> list[CheckConstraint]:
    """Return one CHECK constraint per column that rejects NaN and infinity.

    SQLite would store NaN as NULL, and JSON, in which values are exported, has no infinity.

    Args:
        table: the name of the table, which is part of the name of each constraint.
        columns: names of columns of type `Double`.
    """
    return [
        CheckConstraint(f"{column} > -1e300 AND {column} < 1e300", name=f"ck_{table}_{column}_finite")
        for column in columns
    ]


def translatable_text(name: str, *, nullable: bool, comment: str | None = None) -> list[Column[Any]]:
    """Return three columns for a text that can be shown in another language.

    The column `NAME` holds the text in English. `NAME_id` and `NAME_values` hold the id of the message and its values,
    from which the text is formatted in another language; both are NULL if a person wrote the text.

    An INSERT that passes a `Message` for `NAME` fills the other two columns. An UPDATE must set all three; see
    `monitor.text.message.message_columns`.
    """

    def message_id(context: Any) -> str | None:
        return getattr(context.get_current_parameters().get(name), "id", None)

    def message_values(context: Any) -> dict[str, Any] | None:
        value = context.get_current_parameters().get(name)
        return values_to_json(value.values) if isinstance(value, Message) else None

    return [
        Column(name, Text, nullable=nullable, comment=comment),
        Column(f"{name}_id", Text, nullable=True, default=message_id),
        Column(f"{name}_values", Json, nullable=True, default=message_values),
    ]
