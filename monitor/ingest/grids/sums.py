"""Whether the rain of a grid is the sum of each interval, or adds up from a beginning as that of a model run does."""

from collections.abc import Iterable, Sequence
from typing import Final

from forecasting.hydrology.rain_amounts import adds_up
from monitor.domain.errors import ConfigError
from monitor.domain.names import list_names
from monitor.ingest.files.reader import StationPlace

# what models that count from their beginning, or from midnight, call their rain: ERA5-Land, IFS, WRF, COSMO, ICON, GFS
_RUNNING: Final = frozenset(
    (
        "tp",
        "lsp",
        "cp",
        "rainnc",
        "rainc",
        "rainsh",
        "snownc",
        "tot_prec",
        "acpcp",
        "apcp",
        "acprcp",
        "total_precipitation",
    )
)
_WORDS: Final = ("accum", "running sum", "since the start", "cumul")
COUNTER: Final = "counter"


def may_add_up(name: str, texts: Iterable[str]) -> bool:
    """Whether a variable is called as models call rain that adds up; its values may still be those of each hour.

    >>> may_add_up("RAINNC", ()), may_add_up("precip", ["Accumulated total"]), may_add_up("precip", ["of the hour"])
    (True, True, False)
    """
    text = " ".join(texts).lower()
    return name.lower() in _RUNNING or any(term in text for term in _WORDS)


def classify_sums(stations: Iterable[Iterable[tuple[float, float]]]) -> bool | None:
    """Whether what a grid says at its stations, (seconds, amount), adds up; None where nobody can tell."""
    found = [adds_up(sorted(rows)) for rows in stations]
    yes, no = found.count(True), found.count(False)
    return None if not yes and not no else yes >= no


def check_stamp(
    name: str, places: Sequence[StationPlace], stamp: str | None, *, adds: bool | None, is_doubtful: bool
) -> None:
    """Refuse rain that adds up where the site file does not say so, and the other way round.

    Args:
        name: of the file.
        places: the stations that stand on it.
        stamp: what a person says: interval_end or counter.
        adds: what the values or the file say; None where nobody can tell.
        is_doubtful: it is called as rain that adds up, and not all of it is nothing.

    Raises:
        ConfigError: one line, with what to do.
    """
    declared = [place for place in places if place.rain] or list(places)
    sums = [place.station for place in declared if place.rain != COUNTER]
    counters = [place.station for place in declared if place.rain == COUNTER]
    if stamp is not None:
        adds = stamp == COUNTER
    if adds and sums:
        raise ConfigError(
            f"{name}: its rain adds up from a beginning: no value is the rain of its own interval. Declare "
            f'stamp = "counter" for the rain of {list_names(sums)} in the site file'
        )
    if adds is False and counters:
        raise ConfigError(
            f"{name}: each value is the rain of its own interval, and the site file says stamp = "
            f'"counter" for {list_names(counters)}: leave that out there'
        )
    # where no rain is declared nothing reads it before somebody says what it is
    if adds is None and is_doubtful and sums and declared[0].rain:
        raise ConfigError(
            f"{name}: such rain may add up from a beginning, and too few layers show it. Say --stamp interval_end "
            'where each value is the rain of its own interval; else declare stamp = "counter" for the rain of '
            f"{list_names(sums)} in the site file"
        )
