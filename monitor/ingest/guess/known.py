"""A file whose form its content says, understood like a table: its series, where its stations stand, what is open."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from monitor.domain.instants import spell_duration
from monitor.domain.quantities import QUANTITIES
from monitor.errors import ConfigError, PayloadError
from monitor.ingest.files.gnss import find_place
from monitor.ingest.files.mapping import name_station
from monitor.ingest.files.reader import DIRECTIONS, UNITS, Content, Said, StationPlace, find_by_name
from monitor.ingest.files.readers import READERS, open_points
from monitor.ingest.files.rtklib import find_origin
from monitor.ingest.guess.guess import Guess, Sensor
from monitor.ingest.guess.questions import Question
from monitor.ingest.guess.times import describe_gaps
from monitor.ingest.guess.together import name_some
from monitor.ingest.guess.values import Value, list_values

LOOK_VALUES: Final = 300_000
LOOK_POINTS: Final = 4000
SERIES_SHOWN: Final = 12
STATION, TIME, SET, DIRECTION, UNIT = "station", "time", "set", "direction", "unit"
TIMES: Final = ("gpst", "utc")
TIMES_KEPT: Final = 20_000  # of a series, for its usual step


_Key = tuple[str, str, str]  # station, quantity, unit
_Sampling = tuple[timedelta | None, int, timedelta | None]  # as `describe_gaps` has it


@dataclass(slots=True)
class _Series:
    """What is known of one series."""

    count: int = 0
    times: list[datetime] = field(default_factory=list)


def understand_known(path: Path, form: str, answers: Mapping[str, str], said: Said) -> Guess:
    """Understand a file of a known form.

    Args:
        path: the file.
        form: its reader.
        answers: key of a question -> what a person says.
        said: what the site file says of its stations, and what the owner of the file calls it.

    Raises:
        ConfigError: it is none of this form.
    """
    questions: list[Question] = []
    if READERS[form].content is Content.POINTS:
        said = _settle_points(said.call(path), form, answers, said, questions)
        facts = [("layout", form)] if questions else _tell_points(path, form, said)
        return Guess(None, tuple(facts), tuple(questions), (), form, said)
    if form == "rtklib":
        said = _settle_solutions(path, answers, said, questions)
    if questions:
        return Guess(None, (("layout", form),), tuple(questions), (), form, said)
    series, refused, is_whole = _gather(list_values(path, form, said))
    if form == "gnss" and (place := find_place(path)) is not None:
        stations = dict.fromkeys(station for station, _, _ in series)
        said = replace(said, places=tuple(StationPlace(station, *place) for station in stations))
    sampled = {key: describe_gaps(one.times) for key, one in series.items()}
    sensors = tuple(
        Sensor(*key, None if step is None else step.total_seconds())
        for key, (step, _, _) in sampled.items() if key[1] in QUANTITIES
    )  # fmt: skip
    facts = _tell(form, said, series, sampled, refused, is_whole=is_whole)
    foreign = [f"{station}.{quantity}" for station, quantity, _ in sampled if quantity not in QUANTITIES]
    if foreign and not sensors:
        raise ConfigError(f"{path}: no quantity that is known here: {name_some(foreign)}")
    facts += [("left out", f"no quantity that is known here: {name_some(foreign)}")] if foreign else []
    return Guess(None, tuple(facts), (), sensors, form, said)


def _gather(values: Iterable[Value]) -> tuple[dict[_Key, _Series], list[str], bool]:
    """The series of a file, why values are refused, and whether that is all of it."""
    series: dict[_Key, _Series] = {}
    refused: list[str] = []
    count = 0
    for count, value in enumerate(islice(values, LOOK_VALUES), 1):  # noqa: B007 - the last one is the answer
        if value.error or value.at is None:
            refused.append(value.error)
            continue
        one = series.setdefault((value.station, value.quantity, value.unit), _Series())
        one.count += 1
        if len(one.times) < TIMES_KEPT:
            one.times.append(value.at)
    return series, refused, count < LOOK_VALUES


def _tell(
    form: str, said: Said, series: Mapping[_Key, _Series], sampled: Mapping[_Key, _Sampling], refused: list[str], *,
    is_whole: bool,
) -> list[tuple[str, str]]:  # fmt: skip
    stations = list(dict.fromkeys(station for station, _, _ in series))
    more = "" if is_whole else ", and there are more"
    facts = [
        ("file", f"{sum(one.count for one in series.values()):,} values of {len(series)} series{more}"),
        ("layout", form),
        ("stations", name_some(stations)),
    ]
    times = sorted(at for one in series.values() for at in (one.times[:1] + one.times[-1:]))
    facts += [("time", f"UTC, {times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M}")] if times else []
    facts += [("place", f"{p.station}: {p.latitude:.5f}, {p.longitude:.5f}") for p in said.places[:SERIES_SHOWN]]
    for number, (key, (step, gaps, longest)) in enumerate(islice(sampled.items(), SERIES_SHOWN)):
        station, quantity, unit = key
        facts.append((f"{station}.{quantity}", f"station {station}: {quantity} in {unit}"))
        if number == 0 and step is not None:
            text = f"every {_spell(step)}"
            facts.append(("sampling", f"{text}; {gaps} gaps, the longest {_spell(longest)}" if longest else text))
    facts += [("refused", f"{len(refused):,} × {refused[0]}")] if refused else []
    return facts


def _spell(step: timedelta) -> str:
    return spell_duration(max(1, round(step.total_seconds())))


# ---- solutions of a receiver ------------------------------------------------------------------------------------


def _settle_solutions(path: Path, answers: Mapping[str, str], said: Said, questions: list[Question]) -> Said:
    """Whose positions they are, and where they begin if the station is new."""
    name = said.call(path).name
    station = answers.get(STATION) or said.station or find_by_name(name, dict(said.origins))
    if station is None:
        likely = name_station(re.split(r"[_.]", name)[0])
        questions.append(Question(STATION, "whose positions are these? the name of the station", (), likely or None))
    time = answers.get(TIME) or said.time
    try:
        origin = find_origin(path, time)
    except PayloadError:
        questions.append(Question(TIME, "are the times GPS time or UTC? GPS time is ahead by leap seconds", TIMES))
        return said
    said = replace(said, station=None if station is None else name_station(station), time=time)
    if said.station is None or said.station in dict(said.origins):
        return said
    place = () if origin.place is None else (StationPlace(said.station, *origin.place),)
    return replace(said, origins=((said.station, origin),), places=place)


# ---- points of satellite radar -----------------------------------------------------------------------------------


def _settle_points(
    path: Path, form: str, answers: Mapping[str, str], said: Said, questions: list[Question]
) -> Said:  # fmt: skip
    """What the values of a set mean: neither unit nor sign is guessed."""
    said = replace(
        said, point_set=answers.get(SET), direction=answers.get(DIRECTION), unit=answers.get(UNIT)
    )  # fmt: skip
    asked = {
        "--set": Question(SET, "what is this set of points called?", (), path.stem[:64]),
        "--direction": Question(DIRECTION, "what does a positive value of these points mean?", DIRECTIONS),
        "--unit": Question(UNIT, "in which unit are the values of these points?", UNITS),
    }
    questions += [one for option, one in asked.items() if option in READERS[form].needs and one.key not in answers]
    return said


def _tell_points(path: Path, form: str, said: Said) -> list[tuple[str, str]]:
    with open_points(form)(path, said, datetime.now(UTC)) as (declared, pieces):
        some = list(islice(pieces, LOOK_POINTS))
        more = "" if next(pieces, None) is None else ", and there are more"
    names = {piece.point.pid for piece in some if piece.point is not None}
    times = sorted({v.observed_at for piece in some for v in piece.values})
    facts = [
        ("file", f"{sum(len(piece.values) for piece in some):,} values of {len(names):,} points{more}"),
        ("layout", form),
        ("set", declared.name),
        ("direction", declared.direction),
        ("unit", declared.unit),
    ]
    facts += [("time", f"UTC, {times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M}")] if times else []
    bad = [b for piece in some for b in piece.bad]
    facts += [("refused", f"{sum(b.count for b in bad):,} × {bad[0].error}")] if bad else []
    return facts
