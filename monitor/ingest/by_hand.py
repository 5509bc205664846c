"""Readings that a person types on the page, such as those of a tape, a dial gauge or a water level.

They are stored by the same rules as messages.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from sqlalchemy import Connection

from monitor.errors import RefusedError
from monitor.ingest.files.reading import record_file, store_rows
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.typing_errors import TypingErrors
from monitor.readings.queries.flags import TypedReading as Before
from monitor.readings.queries.flags import load_typed
from monitor.readings.queries.observations import load_series
from monitor.readings.records import Observation
from monitor.sites.records import SeriesSpec, Site
from monitor.storage.actor import Actor
from monitor.text.instants import FUTURE_TOLERANCE
from monitor.text.message import Figure, Message, Template, Timestamp

NAME: Final = "typed on the page"
USUAL: Final = 20  # number of steps from which the usual size of a step is computed
UNUSUAL: Final = 5.0  # a step is unusual if it is this many times as large as the largest of them
_FUTURE: Final = Template("typed.future", "the time lies in the future")
_THERE: Final = Template("typed.there", "{at}: {value} is stored for that time already; a typed reading corrects none")
_SLIPPED: Final = Template("typed.slip", "it looks like a typing error: {slip}; is it right?")
_MORE: Final = Template("typed.more", "{value} is {change} more than {before} of {at}: is it right?")
_LESS: Final = Template("typed.less", "{value} is {change} less than {before} of {at}: is it right?")
_NO_SERIES: Final = Template(
    "typed.series", "the site file declares no series {station}.{quantity} that could be typed"
)


@dataclass(frozen=True, slots=True)
class ManualReading:
    """A reading as a person typed it, in the unit that the site file declares."""

    station: str
    quantity: str
    value: float
    at: datetime


def list_typed_series(site: Site) -> list[SeriesSpec]:
    """Return the declared series whose readings can be typed.

    A displacement with components is left out, because a receiver measures it.
    """
    return [spec for station in site.stations for spec in station.series if spec.quantity != "displacement"]


def find_doubt(c: Connection, site: Site, typed: ManualReading, now: datetime) -> Message | None:
    """Return why a reading may be a typing error; None if nothing indicates one.

    Raises:
        RefusedError: The time lies in the future, or a value of that time is stored already.
    """
    if typed.at - now > FUTURE_TOLERANCE:
        raise RefusedError(_FUTURE())
    spec = _find_spec(site, typed)
    row = next((s for s in load_series(c, site.id) if (s.station, s.quantity) == (typed.station, typed.quantity)), None)
    if row is None:
        return None
    before = load_typed(c, row.id, typed.at, typed.at, USUAL + 1)
    if before and before[-1].at == typed.at:
        raise RefusedError(_THERE(at=Timestamp.of(typed.at), value=Figure(before[-1].value, "g", spec.unit)))
    item = Observation(site.id, typed.station, typed.quantity, spec.unit, typed.at, now, typed.value)
    if slip := TypingErrors({site.id: site}).explain(c, item):
        return _SLIPPED(slip=slip)
    return _compare(before, typed.value, spec) if before else None


def _compare(before: list[Before], value: float, spec: SeriesSpec) -> Message | None:
    """Return how far a value lies from the reading before it, if the step is unusually large."""
    newest = before[-1]
    change = value - newest.value
    steps = [abs(later.value - earlier.value) for earlier, later in pairwise(before)]
    largest_usual_step = spec.verify_step or max(UNUSUAL * max(steps, default=0.0), UNUSUAL * spec.noise_floor)
    if largest_usual_step <= 0.0 or abs(change) <= largest_usual_step:
        return None
    template = _MORE if change > 0 else _LESS
    return template(
        value=Figure(value, "g", spec.unit),
        change=Figure(abs(change), "g", spec.unit),
        before=Figure(newest.value, "g", spec.unit),
        at=Timestamp.of(newest.at),
    )


def store_typed(pipeline: Pipeline, site: Site, typed: ManualReading, who: Actor, now: datetime) -> None:
    """Store a reading with the name of the person who typed it.

    Raises:
        RefusedError: The reading cannot be stored.
        StoreBusyError: The database is locked or unreachable.
    """
    row = {
        "time": typed.at,
        "station": typed.station,
        "quantity": typed.quantity,
        "value": typed.value,
        "unit": _find_spec(site, typed).unit,
    }
    result = store_rows([row], pipeline, site, now, who.name, NAME)
    if not result.valid:
        raise RefusedError(result.first_reason)
    record_file(pipeline.database, who, result, now)


def find_unit(site: Site, typed: ManualReading) -> str:
    """Return the unit of a typed reading.

    Raises:
        RefusedError: The site declares no such series.
    """
    return _find_spec(site, typed).unit


def _find_spec(site: Site, typed: ManualReading) -> SeriesSpec:
    for spec in list_typed_series(site):
        if (spec.station, spec.quantity) == (typed.station, typed.quantity):
            return spec
    raise RefusedError(_NO_SERIES(station=typed.station, quantity=typed.quantity))
