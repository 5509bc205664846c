"""What really happened: labelled events of a file or of people's answers, against which a replay is scored."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from monitor.domain.instants import parse, spell
from monitor.domain.site import Site
from monitor.domain.terms import read_text
from monitor.errors import ConfigError
from monitor.store.alerting.history import PastAlert

# event classes of Calvello & Piciullo (2016), by rising size
CLASSES: Final = {"small": 1, "intermediate": 2, "large": 3, "very_large": 4}


@dataclass(frozen=True, slots=True)
class Label:
    """One event: its time, how large it was, and the lowest level that would have been a right warning."""

    from_at: datetime
    to_at: datetime
    class_number: int  # 1 = smallest
    level: int
    name: str = ""
    source: str = "labels"  # labels or outcome

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "from": spell(self.from_at), "to": spell(self.to_at), "class": self.class_number, "level": self.level,
            "name": self.name, "source": self.source,
        }  # fmt: skip


def read_labels(path: Path, site: Site) -> tuple[Label, ...]:
    """Read a CSV `from,to,class[,level][,name]`, oldest first.

    `class` is a whole number from 1 or one of small, intermediate, large, very_large; `to` may be empty (an instant);
    `level` is a level of the site by name or number, by default the number of the class, at most the top.

    Raises:
        ConfigError: a column is missing or a cell cannot be read; names file and line.
    """
    rows = csv.DictReader(read_text(path).removeprefix("\ufeff").splitlines())
    missing = {"from", "class"} - set(rows.fieldnames or ())
    if missing:
        raise ConfigError(f"{path}: columns {', '.join(sorted(missing))} are missing; expected from,to,class[,level]")
    found = []
    for line, row in enumerate(rows, start=2):
        try:
            found.append(_read_row({k: (v or "").strip() for k, v in row.items() if isinstance(k, str)}, site))
        except ValueError as error:
            raise ConfigError(f"{path}: line {line}: {error}") from error
    return tuple(sorted(found, key=lambda x: (x.from_at, x.to_at)))


def _read_row(row: dict[str, str], site: Site) -> Label:
    from_at = _instant(row["from"])
    to_at = _instant(row["to"]) if row.get("to") else from_at
    if to_at < from_at:
        raise ValueError("the event ends before it begins")
    number = CLASSES.get(row["class"]) or (int(row["class"]) if row["class"].isdigit() else 0)
    if number < 1:
        raise ValueError(f"class {row['class']!r}: expected a whole number from 1 or one of {', '.join(CLASSES)}")
    return Label(from_at, to_at, number, _level(row.get("level", ""), number, site), row.get("name", ""))


def _level(text: str, number: int, site: Site) -> int:
    if not text:
        return min(number, site.top_level)
    names = [k.name for k in site.levels]
    level = names.index(text) if text in names else int(text) if text.isdigit() else -1
    if not 1 <= level <= site.top_level:
        raise ValueError(f"level {text!r}: expected one of: {', '.join(names[1:])}")
    return level


def _instant(text: str) -> datetime:
    if len(text) == len("2026-03-01"):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)  # a day, from its beginning in UTC
    return parse(text)


def labels_of_outcomes(alerts: Sequence[PastAlert], to_at: datetime, site: Site) -> tuple[Label, ...]:
    """Events that people confirmed: hazard alerts whose outcome is `true`, from when they were raised until over."""
    found = []
    for a in alerts:
        if a.ledger == "hazard" and a.outcome == "true" and a.raised_at <= to_at:
            number = max(1, a.peak_level)
            end = min(a.over_at or to_at, to_at)
            found.append(Label(a.raised_at, end, number, min(number, site.top_level), f"alert {a.id}", "outcome"))
    return tuple(found)
