"""Crack markers of Dynaslope as people typed them, and what looks like a typing error as they come."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from detection.anomaly.certain.typing_errors import TypingMistake, find_slip

BESIDE, READ_BESIDE = 2, 6  # as monitor.ingest.hand_readings has them


class Typed(NamedTuple):
    """One reading, cm; doubted by those who kept the record or not."""

    at: datetime
    value: float
    is_doubted: bool


Markers = Mapping[str, Sequence[Typed]]


def read_markers(path: Path) -> Markers:
    """Readings by marker (A to F), in order of time."""
    found: dict[str, list[Typed]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            at = datetime.strptime(row["ts"], "%m/%d/%Y %H:%M").replace(tzinfo=UTC)
            name = row["marker_name"].strip(" .")[-1].upper()
            found.setdefault(name, []).append(Typed(at, float(row["meas"]), row["reliability"] != "Y"))
    return {name: sorted(rows, key=lambda row: row.at) for name, rows in sorted(found.items())}


def list_beside(markers: Markers, name: str, at: datetime) -> dict[str, list[float]]:
    """The newest different values of the other markers at an instant."""
    return {
        other: list(dict.fromkeys(row.value for row in reversed([r for r in rows if r.at <= at][-READ_BESIDE:])))[
            :BESIDE
        ]
        for other, rows in markers.items()
        if other != name
    }


def name_slips(markers: Markers, names: str) -> Iterator[tuple[str, Typed, TypingMistake]]:
    """What would be flagged as it comes, marker by marker."""
    for name in names:
        before: list[float] = []
        wrong: float | None = None  # the reading before, where it was flagged
        for row in markers[name]:
            slip = None
            if row.value != wrong:
                slip = find_slip(row.value, before, list_beside(markers, name, row.at))
            if slip is None:
                before.append(row.value)
            else:
                yield name, row, slip
            wrong = None if slip is None else row.value
