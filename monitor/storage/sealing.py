"""Declare on a table which of its columns are sealed in the audit log.

    alert_event = Table("alert_event", metadata, ..., info={"sealed": SealedColumns(only_added=True)})

`monitor.storage.seals` writes and verifies the seals.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SealedColumns:
    """Which columns of a table are sealed, and how.

    Attributes:
        left_out: columns that change without an act of a person or a decision, such as the progress of a delivery, and
            long texts whose hash is stored in another column.
        only: the sealed columns, if most columns are left out. Empty means all columns but `left_out`.
        only_added: rows never change. A second seal with another digest is reported.
        select_values: returns the values to seal, from the sealed values of a row without those that are None. Set it
            if only a part of a value is sealed. Instants and JSON are text.
    """

    left_out: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    only_added: bool = False
    select_values: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
