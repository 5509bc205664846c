"""Tables and public views of a plugin."""

from monitor.storage.column_types import (
    BigId,  # column type of ids
    Instant,  # column type of instants
    Json,  # column type of JSON values
    finite,  # constraints that reject NaN and infinity
    translatable_text,  # the columns of a text that can be shown in another language
)
from monitor.storage.public_view import (
    PublicView,  # a public view
)

__all__ = [
    "BigId",
    "Instant",
    "Json",
    "PublicView",
    "finite",
    "translatable_text",
]
