"""Daily positions of the formats in which networks publish them: SIO .neu, NGL .tenv3, PBO .pos; millimetres."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.domain.observation import Observation

PARTS = ("east", "north", "up")


Row = tuple[datetime, tuple[float, ...], tuple[float, ...]]


def read_positions(path: Path, site: str, from_at: datetime, to_at: datetime) -> list[Observation]:
    """Daily positions of the station that a file is named after, in a time, from where it stood at its beginning."""
    walk = {".neu": _walk_neu, ".tenv3": _walk_tenv3, ".pos": _walk_pos}[path.suffix]
    return _observe(site, path.name[:4], walk(path), from_at, to_at)


def _walk_neu(path: Path) -> Iterator[Row]:
    """Columns: decimal year, year, day of year, N, E, U and their standard deviations in metres; noon of the day."""
    for line in path.read_text().splitlines():
        fields = line.split()
        if line.startswith("#") or len(fields) < 9:
            continue
        at = datetime(int(fields[1]), 1, 1, 12, tzinfo=UTC) + timedelta(days=int(fields[2]) - 1)
        n, e, u, sn, se, su = (float(f) for f in fields[3:9])
        yield at, (e, n, u), (se, sn, su)


def _walk_tenv3(path: Path) -> Iterator[Row]:
    """23 columns with a head: east and north in whole and broken metres from a meridian and the equator."""
    for line in path.read_text().splitlines()[1:]:
        f = line.split()
        at = datetime.strptime(f[1], "%y%b%d").replace(hour=12, tzinfo=UTC)
        values = tuple(float(f[k]) + float(f[k + 1]) for k in (7, 9, 11))
        yield at, values, tuple(float(v) for v in f[14:17])


def _walk_pos(path: Path) -> Iterator[Row]:
    """Rows behind the line that starts with *YYYYMMDD: date in the first column, dN, dE, dU in 16 to 18, metres."""
    rows = iter(path.read_text().splitlines())
    next(line for line in rows if line.startswith("*YYYYMMDD"))
    for line in rows:
        f = line.split()
        if len(f) >= 21 and f[0].isdigit():
            at = datetime.strptime(f[0], "%Y%m%d").replace(hour=12, tzinfo=UTC)
            n, e, u, sn, se, su = (float(v) for v in f[15:21])
            yield at, (e, n, u), (se, sn, su)


def _observe(site: str, station: str, rows: Iterator[Row], from_at: datetime, to_at: datetime) -> list[Observation]:
    """East, north and up of a time, from where the station stood at its beginning."""
    found: list[Observation] = []
    origin: tuple[float, ...] = ()
    for at, metres, deviations in rows:
        if not from_at <= at < to_at:
            continue
        origin = origin or metres
        for part, value, zero, sigma in zip(PARTS, metres, origin, deviations, strict=True):
            mm = (value - zero) * 1e3
            found.append(Observation(site, station, f"displacement_{part}", "mm", at, at, mm, sigma * 1e3))
    return found
