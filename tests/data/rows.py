"""Insert table rows from lines of text `table column=value ...`."""

import json
import re
import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Boolean, Column, Connection, Double, LargeBinary, insert
from sqlalchemy.types import Integer

from monitor.storage.column_types import Instant, Json
from monitor.storage.tables import load_metadata

_STEP: Final = re.compile(r"([+-][\d.]+)([dhms])")
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def insert_rows(c: Connection, origin: datetime, text: str, names: Mapping[str, Any] | None = None) -> None:
    """Insert one row for each line. An indented line continues the previous one."""
    for line in re.sub(r"\n +", " ", text.strip()).splitlines():
        *count, name = line.split()[: 1 + line[0].isdigit()]
        cells = [cell.split("=", 1) for cell in shlex.split(line)[len(count) + 1 :]]
        columns = load_metadata().tables[name].c
        rows = [
            {key: _read(columns[key], value, origin, names or {}, k if count else None) for key, value in cells}
            for k in range(int(*count or "1"))
        ]
        c.execute(insert(load_metadata().tables[name]), rows)


def _read(column: Column[Any], text: str, origin: datetime, names: Mapping[str, Any], k: int | None) -> Any:
    kind = column.type
    if text.startswith("$"):
        named_value = names[text[1:]]
        return named_value if k is None or not isinstance(named_value, list) else named_value[k]
    if k is not None:
        text = text.format(k=k)
    if isinstance(kind, Instant):
        return origin + sum((timedelta(**{_UNITS[u]: float(n)}) for n, u in _STEP.findall(text)), timedelta())
    if isinstance(kind, Boolean):
        return text == "yes"
    if isinstance(kind, Integer):
        return int(text)
    for matching, read in ((Double, float), (Json, json.loads), (LargeBinary, str.encode)):
        if isinstance(kind, matching):
            return read(text)
    return text
