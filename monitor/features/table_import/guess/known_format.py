"""Files of a known form, such as solutions of a GNSS receiver: their series, places of stations and open questions."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from monitor.api.errors import ConfigError, PayloadError
from monitor.api.files import ImportOptions
from monitor.api.ingest import name_station
from monitor.api.queries.ingest import StationPlace, find_by_name, find_origin, find_place
from monitor.api.sites import QUANTITIES, convert
from monitor.api.text import LABELLED_TEXT, Duration, Figure, Template, Term, join
from monitor.features.table_import.guess.calendar import request_instants
from monitor.features.table_import.guess.facts import EVERY, GAPS, IN_COLUMN, Facts
from monitor.features.table_import.guess.guess import SensorGuess, TableGuess
from monitor.features.table_import.guess.questions import FileQuestion, Interview
from monitor.features.table_import.guess.rain_stamp import RAIN, settle_rain_stamp
from monitor.features.table_import.guess.times import describe_gaps
from monitor.features.table_import.guess.together import name_some
from monitor.features.table_import.guess.values import CheckedValue, list_values

SAMPLE_VALUES: Final = 300_000
SERIES_SHOWN: Final = 12
STATION: Final = "station"
TIME: Final = "time"
TIMES: Final = ("gpst", "utc")
# Instants of a series from which its usual interval is found.
TIMES_KEPT: Final = 20_000
_VALUES: Final = Template("guess.values", "{n} values of {series} series")
_VALUES_MORE: Final = Template("guess.values.more", "{n} values of {series} series, and there are more")
_SPAN: Final = Template("guess.span", "UTC, first reading {first}, last reading {last}")
_PLACED: Final = Template("guess.place", "{station}: {latitude}, {longitude}")
_REFUSED: Final = Template("guess.refused", "{n} × {reason}")
_FOREIGN: Final = Template("guess.foreign", "no quantity that is known here: {names}")
_WHOSE: Final = Template("guess.ask.station", "whose positions are these? the name of the station")
_WHICH_TIME: Final = Template("guess.ask.time", "are the times GPS time or UTC? GPS time is ahead by leap seconds")


_Key = tuple[str, str, str]  # station, quantity, unit
_Sampling = tuple[timedelta | None, int, timedelta | None]  # as `describe_gaps` has it


def guess_known_format(path: Path, form: str, answers: Mapping[str, str], options: ImportOptions) -> TableGuess:
    """Return the meaning of a file of a known form, by answers and by options of the site file; raises ConfigError."""
    interview = Interview(answers)
    if form == "rtklib":
        options = _settle_solutions(path, options, interview)
    if interview.questions:
        return TableGuess(None, (("layout", form),), tuple(interview.questions), (), form, options)
    series, rain, count, refused = _gather(list_values(path, form, options))
    if form == "gnss" and (place := find_place(path)) is not None:
        stations = dict.fromkeys(station for station, _, _ in series)
        options = replace(options, places=tuple(StationPlace(station, *place) for station in stations))
    request_instants(sorted(at for times in series.values() for at in times), interview, datetime.now(UTC))
    sampled = {key: describe_gaps(times) for key, times in series.items()}
    sensors = tuple(
        _describe_sensor(key, step, rain.get(key, ()), interview)
        for key, (step, _, _) in sampled.items()
        if key[1] in QUANTITIES
    )
    facts = _describe(form, options, series, sampled, count, refused)
    foreign = [f"{station}.{quantity}" for station, quantity, _ in sampled if quantity not in QUANTITIES]
    if foreign and not sensors:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=_FOREIGN(names=name_some(foreign))))
    facts += [("left out", _FOREIGN(names=name_some(foreign)))] if foreign else []
    return TableGuess(None, tuple(facts), tuple(interview.questions), sensors, form, options)


def _describe_sensor(
    key: _Key, step: timedelta | None, rain: Iterable[tuple[float, float]], interview: Interview
) -> SensorGuess:
    usual_s = None if step is None else step.total_seconds()
    stamp = settle_rain_stamp(key[0], rain, interview)
    return SensorGuess(*key, stamp.interval_s or usual_s, stamp=stamp.stamp, silence_s=stamp.silence_s)


def _gather(
    values: Iterable[CheckedValue],
) -> tuple[dict[_Key, list[datetime]], dict[_Key, list[tuple[float, float]]], int, list[str]]:
    """Return the instants of each series of a file, the readings of rain, the count of values, and refused values."""
    series: dict[_Key, list[datetime]] = {}
    rain: dict[_Key, list[tuple[float, float]]] = {}
    refused: list[str] = []
    count = 0
    for count, value in enumerate(islice(values, SAMPLE_VALUES), 1):  # noqa: B007 - the last one is the answer
        if value.error or value.at is None:
            refused.append(value.error)
            continue
        key = (value.station, value.quantity, value.unit)
        times = series.setdefault(key, [])
        if len(times) >= TIMES_KEPT:
            continue
        times.append(value.at)
        if value.quantity == RAIN and (amount_mm := _to_amount_mm(value)) is not None:
            rain.setdefault(key, []).append((value.at.timestamp(), amount_mm))
    return series, rain, count, refused


def _to_amount_mm(rain: CheckedValue) -> float | None:
    try:
        return convert(float(str(rain.value)), rain.unit, "mm")
    except ValueError:
        return None


def _describe(
    form: str,
    options: ImportOptions,
    series: Mapping[_Key, list[datetime]],
    sampled: Mapping[_Key, _Sampling],
    count: int,
    refused: list[str],
) -> Facts:
    stations = list(dict.fromkeys(station for station, _, _ in series))
    template = _VALUES if count < SAMPLE_VALUES else _VALUES_MORE
    facts: Facts = [
        ("file", template(n=Figure(count - len(refused), ","), series=Figure(len(series), "d"))),
        ("layout", form),
        ("stations", join([name_some(stations)])),
    ]
    ends = sorted(at for times in series.values() for at in (times[:1] + times[-1:]))
    facts += [("time", _SPAN(first=f"{ends[0]:%Y-%m-%d %H:%M}", last=f"{ends[-1]:%Y-%m-%d %H:%M}"))] if ends else []
    for place in options.places[:SERIES_SHOWN]:
        latitude, longitude = Figure(place.latitude, ".5f"), Figure(place.longitude, ".5f")
        facts.append(("place", _PLACED(station=place.station, latitude=latitude, longitude=longitude)))
    for number, (key, (step, gaps, longest)) in enumerate(islice(sampled.items(), SERIES_SHOWN)):
        station, quantity, unit = key
        facts.append((f"{station}.{quantity}", IN_COLUMN(station=station, quantity=Term(quantity), unit=unit)))
        if number == 0 and step is not None:
            described = [EVERY(step=Duration(max(1, round(step.total_seconds()))))]
            described += (
                [GAPS(n=Figure(gaps, "d"), longest=Duration(max(1, round(longest.total_seconds()))))] if longest else []
            )
            facts.append(("sampling", join(described)))
    facts += [("refused", _REFUSED(n=Figure(len(refused), ","), reason=refused[0]))] if refused else []
    return facts


# ---- solutions of a receiver ------------------------------------------------------------------------------------


def _settle_solutions(path: Path, options: ImportOptions, interview: Interview) -> ImportOptions:
    """Return options with the station of a file of positions, and the origin of a station that is new."""
    name = options.restore_name(path).name
    station = interview.answers.get(STATION) or options.station or find_by_name(name, dict(options.origins))
    if station is None:
        likely = name_station(re.split(r"[_.]", name)[0])
        interview.questions.append(FileQuestion(STATION, _WHOSE(), (), likely or None))
    time = interview.answers.get(TIME) or options.time
    try:
        origin = find_origin(path, time)
    except PayloadError as error:
        if error.code != "no_zone":
            raise ConfigError(LABELLED_TEXT(name=str(path), text=error.message)) from None
        interview.questions.append(FileQuestion(TIME, _WHICH_TIME(), TIMES))
        return options
    options = replace(options, station=None if station is None else name_station(station), time=time)
    if options.station is None or options.station in dict(options.origins):
        return options
    place = () if origin.place is None else (StationPlace(options.station, *origin.place),)
    return replace(options, origins=((options.station, origin),), places=place)
