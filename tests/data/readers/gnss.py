"""Daily positions of measured stations as observations, from where each stood at the beginning of a time."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from monitor.ingest.files import gnss
from monitor.readings.records import Observation
from monitor.sites.quantities import convert

PARTS = gnss.PARTS


def list_positions(path: Path) -> Iterator[gnss.Position]:
    """The positions of a file alone; raises ConfigError where it is none, PayloadError at a line that is damaged."""
    with gnss._open(path) as lines:
        for found in lines:
            if not isinstance(found, gnss.Position):
                raise found[1]
            yield found


def read_positions(path: Path, site: str, from_at: datetime, to_at: datetime) -> list[Observation]:
    """East, north and up in mm of the station that a file is named after."""
    found: list[Observation] = []
    origin: tuple[float, ...] = ()
    for position in list_positions(path):
        at = position.at.replace(hour=12, minute=0, second=0)
        if not from_at <= at < to_at:
            continue
        origin = origin or position.values
        for part, value, zero, sigma in zip(PARTS, position.values, origin, position.sigmas, strict=True):
            mm, error = convert(value - zero, position.unit, "mm"), convert(sigma, position.unit, "mm")
            found.append(Observation(site, path.name[:4], f"displacement_{part}", "mm", at, at, mm, error))
    return found
