"""Whether the rain of a grid is the sum of each interval or accumulates from a start."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from forecasting.hydrology.rain_amounts import adds_up
from monitor.errors import ConfigError
from monitor.ingest.files.reader import StationPlace
from monitor.text.names import list_names

# Variables that models accumulate from their start or from midnight: ERA5-Land, IFS, WRF, COSMO, ICON, GFS.
_ACCUMULATED_NAMES: Final = frozenset(
    {
        *("tp", "lsp", "cp", "rainnc", "rainc", "rainsh", "snownc", "tot_prec"),
        *("acpcp", "apcp", "acprcp", "total_precipitation"),
    }
)
_ACCUMULATED_WORDS: Final = ("accum", "running sum", "since the start", "cumul")
COUNTER: Final = "counter"  # `stamp` of a series whose values accumulate
_RAIN: Final = re.compile(r"rain|prec|\btp\b|regen|nieder|pluie|pioggia|lluvia|chuva", re.IGNORECASE)
_NOT_RAIN: Final = re.compile(r"evap|transpir|snow|run_?off|soil|moisture|temperature|\be?sf\b", re.IGNORECASE)
# Methods by which values of an interval are computed, other than sums (CF conventions, appendix E; ecCodes).
_NOT_SUM: Final = re.compile(
    r"\btime\d*: *(?:mean|max\w*|min\w*|median|mid_range|standard_deviation|variance|range)|^\s*(?:avg|max|min)$"
)


def describe_not_rain_sums(names: Sequence[str], methods: str) -> str:
    """Return what the metadata of a variable states that excludes sums of rain; empty if nothing does.

    Args:
        names: Name of the variable, and its long names.
        methods: How values were computed (`cell_methods`, `GRIB_stepType`).

    >>> describe_not_rain_sums(["sf", "Snowfall"], ""), describe_not_rain_sums(["rr", "rain and snow"], "time: sum")
    ("'Snowfall'", '')
    >>> describe_not_rain_sums(["pr"], "time: maximum (interval: 1 hour)")
    "'time: maximum'"
    """
    others = [name for name in names if _NOT_RAIN.search(name)]
    if others and not _RAIN.search(" ".join(names)):
        return repr(max(others, key=len)[:60])
    method = _NOT_SUM.search(methods)
    return repr(method[0].strip()) if method else ""


def may_be_accumulated(name: str, texts: Iterable[str]) -> bool:
    """Return whether a variable has the name of rain that models accumulate. Its values may still be of each hour.

    >>> may_be_accumulated("RAINNC", ()), may_be_accumulated("precip", ["Accumulated total"])
    (True, True)
    >>> may_be_accumulated("precip", ["of the hour"])
    False
    """
    text = " ".join(texts).lower()
    return name.lower() in _ACCUMULATED_NAMES or any(word in text for word in _ACCUMULATED_WORDS)


def are_accumulated(stations: Iterable[Iterable[tuple[float, float]]]) -> bool | None:
    """Return whether the values at stations accumulate; None if the values are too few to decide.

    Args:
        stations: Time (s) and amount of the values at each station.
    """
    results = [adds_up(sorted(rows)) for rows in stations]
    accumulated, sums = results.count(True), results.count(False)
    return None if not accumulated and not sums else accumulated >= sums


def check_stamp(
    name: str, places: Sequence[StationPlace], stamp: str | None, *, is_accumulated: bool | None, is_doubtful: bool
) -> None:
    """Check that rain is what the site file declares: sums of intervals, or a counter.

    Args:
        name: Name of the file or folder, for messages.
        places: Stations that get values.
        stamp: Value of `--stamp`: interval_end or counter. None if the user did not give it.
        is_accumulated: What the values or the file show; None if they do not show it.
        is_doubtful: The variable has the name of accumulated rain, and not all of its values are 0.

    Raises:
        ConfigError: the rain is not what the site file declares, or this cannot be decided.
    """
    declared = [place for place in places if place.rain] or list(places)
    sums = [place.station for place in declared if place.rain != COUNTER]
    counters = [place.station for place in declared if place.rain == COUNTER]
    if stamp is not None:
        is_accumulated = stamp == COUNTER
    if is_accumulated and sums:
        raise ConfigError(
            f"{name}: its rain accumulates: no value is the rain of its own interval. Declare "
            f'stamp = "counter" for the rain of {list_names(sums)} in the site file'
        )
    if is_accumulated is False and counters:
        raise ConfigError(
            f"{name}: each value is the rain of its own interval, and the site file declares stamp = "
            f'"counter" for {list_names(counters)}: remove it there'
        )
    # A station whose rain is not declared is not evaluated before somebody declares what the rain is.
    if is_accumulated is None and is_doubtful and sums and declared[0].rain:
        raise ConfigError(
            f"{name}: rain of this name may accumulate, and there are too few layers to decide. Give --stamp "
            "interval_end if each value is the rain of its own interval. If not, declare "
            f'stamp = "counter" for the rain of {list_names(sums)} in the site file'
        )
