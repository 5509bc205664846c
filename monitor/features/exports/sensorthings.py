"""A site in the words of the OGC SensorThings API 1.1 (18-088), to be read.

A station is a Thing with a Location, each of its series a Datastream with a Sensor and an ObservedProperty, and of each
epoch the revision that speaks an Observation. A path names an entity and at most one step from it. Query options are
`$top`, `$skip`, `$count`, `$orderby` and `$filter` on `phenomenonTime`; others are refused, never passed over.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypedDict, get_args
from urllib.parse import quote, urlencode

from sqlalchemy import Connection

from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.queries.alerts import StationCard, load_stations
from monitor.api.queries.readings import count_epochs, load_epochs
from monitor.api.sites import QUANTITIES
from monitor.api.text import parse_time
from monitor.api.views import ReadingRow

CONFORMANCE: Final = (
    "http://www.opengis.net/spec/iot_sensing/1.1/req/datamodel",
    "http://www.opengis.net/spec/iot_sensing/1.1/req/resource-path/resource-path-to-entities",
    "http://www.opengis.net/spec/iot_sensing/1.1/req/request-data/top",
    "http://www.opengis.net/spec/iot_sensing/1.1/req/request-data/skip",
    "http://www.opengis.net/spec/iot_sensing/1.1/req/request-data/count",
    "http://www.opengis.net/spec/iot_sensing/1.1/req/request-data/pagination",
)
MEASUREMENT: Final = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"
MOST: Final = 1000  # of one answer
INSTANT: Final = timedelta(microseconds=1)  # as fine as time is kept
# units of ours that have a code in UCUM, the code list that SensorThings recommends
UCUM: Final = {
    "mm": "mm",
    "m": "m",
    "mm/day": "mm/d",
    "mrad": "mrad",
    "microstrain": "um/m",
    "kPa": "kPa",
    "hPa": "hPa",
    "%": "%",
    "degC": "Cel",
    "mm/s2": "mm/s2",
    "V": "V",
    "dBm": "dB[mW]",
    "1": "1",
}
_SETS: Final = ("Things", "Locations", "Datastreams", "Sensors", "ObservedProperties", "Observations")
# what lies one step away from an entity: set -> name of the step -> set it leads to
_STEPS: Final[dict[str, dict[str, str]]] = {
    "Things": {"Locations": "Locations", "Datastreams": "Datastreams"},
    "Locations": {"Things": "Things"},
    "Datastreams": {
        "Thing": "Things",
        "Sensor": "Sensors",
        "ObservedProperty": "ObservedProperties",
        "Observations": "Observations",
    },
    "Sensors": {"Datastreams": "Datastreams"},
    "ObservedProperties": {"Datastreams": "Datastreams"},
    "Observations": {"Datastream": "Datastreams"},
}
_OfReading = Literal["sigma", "flags", "revision", "solution", "received_at", "value_raw", "offset_applied"]
_OF_READING: Final[tuple[_OfReading, ...]] = get_args(_OfReading)
_TERM: Final = re.compile(r"\s*(?:phenomenonTime|resultTime)\s+(gt|ge|lt|le|eq)\s+(\S+)\s*", re.IGNORECASE)
_PART: Final = re.compile(r"([A-Za-z]+)(?:\('([^']{1,200})'\))?")


@dataclass(frozen=True, slots=True)
class SensorThingsQuery:
    """The options of one request, read and found sound."""

    top: int = 100
    skip: int = 0
    count: bool = False
    newest_first: bool = False
    from_at: datetime | None = None  # included
    until: datetime | None = None  # not included
    given: Mapping[str, str] = field(default_factory=dict)


def read_query(options: Mapping[str, str]) -> SensorThingsQuery:
    """Read the query options; RefusedError names the first that cannot be followed."""
    found = SensorThingsQuery(given=dict(options))
    readers: dict[str, Callable[[str, SensorThingsQuery], SensorThingsQuery]] = {
        "$top": lambda v, query: replace(query, top=min(_whole("$top", v), MOST)),
        "$skip": lambda v, query: replace(query, skip=_whole("$skip", v)),
        "$count": lambda v, query: replace(query, count=v.lower() == "true"),
        "$orderby": _read_order,
        "$filter": _read_filter,
    }
    for name, value in options.items():
        if name in readers:
            found = readers[name](value, found)
        elif name.startswith("$"):
            raise RefusedError(f"{name} is not understood here; there are {', '.join(readers)}")
    return found


def _whole(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise RefusedError(f"{name} takes a whole number, not {value[:40]!r}")
    return int(value)


def _read_order(value: str, query: SensorThingsQuery) -> SensorThingsQuery:
    found = re.fullmatch(r"\s*(?:phenomenonTime|resultTime)(?:\s+(asc|desc))?\s*", value, re.IGNORECASE)
    if found is None:
        raise RefusedError("$orderby takes phenomenonTime asc or phenomenonTime desc")
    return replace(query, newest_first=(found[1] or "asc").lower() == "desc")


def _read_filter(value: str, query: SensorThingsQuery) -> SensorThingsQuery:
    for part in re.split(r"\s+and\s+", value, flags=re.IGNORECASE):
        term = _TERM.fullmatch(part)
        if term is None:
            raise RefusedError("$filter takes terms like phenomenonTime ge 2026-03-01T00:00:00Z, joined by and")
        try:
            at = parse_time(term[2])
            next_ = at + INSTANT
        except (ValueError, OverflowError) as error:
            raise RefusedError(f"$filter: {error}") from error
        sign = term[1].lower()
        if sign in {"gt", "ge", "eq"}:
            query = replace(query, from_at=max(next_ if sign == "gt" else at, query.from_at or at))
        if sign in {"lt", "le", "eq"}:
            before = at if sign == "lt" else next_
            query = replace(query, until=min(before, query.until or before))
    return query


class ServiceRoot(TypedDict):
    """The first page."""

    value: list[dict[str, str]]  # name and url of each set
    serverSettings: dict[str, list[str]]


Entity = dict[str, object]
"""An entity as it is answered."""


def describe_root(root: str) -> ServiceRoot:
    """The first page: the sets of entities and what is followed of the standard."""
    return {
        "value": [{"name": name, "url": f"{root}/{name}"} for name in _SETS],
        "serverSettings": {"conformance": list(CONFORMANCE)},
    }


def answer(c: Connection, site: str, path: str, query: SensorThingsQuery, root: str) -> Mapping[str, object]:
    """The answer to a path such as `Things('G1')/Datastreams`: an entity, or one page of a set.

    `site`: site, known to be there; `path`: below the root, without a slash at either end; `query`: the options;
    `root`: address of the first page.

    Raises:
        NotFoundError: no such entity or step.
        RefusedError: observations are asked for across series.
    """
    first, _, step = path.strip("/").partition("/")
    if not first:
        return describe_root(root)
    shelf = _SiteEntities(c, site, root)
    found = _PART.fullmatch(first)
    if found is None or found[1] not in _SETS:
        raise NotFoundError(f"{first[:60]!r} is no entity: write Things('G1'); there are {', '.join(_SETS)}")
    name, key = found[1], found[2]
    if key is not None and not step:
        return shelf.find(name, key)
    if step and (key is None or step not in _STEPS[name]):
        raise NotFoundError(f"from {name}('ID') one can go on to: {', '.join(_STEPS[name])}")
    target = _STEPS[name][step] if step else name
    if target != "Observations" and (left := next((o for o in ("$filter", "$orderby") if o in query.given), None)):
        raise RefusedError(f"{left} is followed where Observations are asked for, not for {target}")
    if target == "Observations":
        if key is None:
            raise RefusedError("ask for the observations of one series: Datastreams('G1:rain')/Observations")
        entities, total = shelf.list_observations(key, query)
    else:
        keys = shelf.list_keys(name) if key is None else shelf.follow(name, key, step)
        if step in {"Thing", "Sensor", "ObservedProperty", "Datastream"}:
            return shelf.find(target, keys[0])
        entities, total = [shelf.find(target, k) for k in keys[query.skip : query.skip + query.top]], len(keys)
    return {**_describe_page(len(entities), total, query, f"{root}/{path}"), "value": entities}


def _describe_page(count: int, total: int | None, query: SensorThingsQuery, address: str) -> Entity:
    """How many there are of a set in all, and the link to the next page, after one with so many."""
    page: Entity = {"@iot.count": total} if query.count and total is not None else {}
    if query.top > 0 and count == query.top and (total is None or query.skip + query.top < total):
        options = {**query.given, "$top": str(query.top), "$skip": str(query.skip + query.top)}
        page["@iot.nextLink"] = f"{address}?{urlencode(options, safe='$:', quote_via=quote)}"
    return page


class _SiteEntities:
    """The entities of one site."""

    def __init__(self, c: Connection, site: str, root: str) -> None:
        self._c, self._site, self._root = c, site, root
        self._stations = {s.id: s for s in load_stations(c, site)}
        self._series = {f"{s.id}:{row['quantity']}": (s, row) for s in self._stations.values() for row in s.latest}

    def list_keys(self, name: str) -> list[str]:
        """The ids of all entities of a set but Observations."""
        if name == "Locations":
            return sorted(k for k, s in self._stations.items() if s.place is not None)
        if name == "ObservedProperties":
            return sorted({row["quantity"] for _, row in self._series.values()})
        return sorted(self._stations if name == "Things" else self._series)

    def find(self, name: str, key: str) -> Entity:
        """An entity by its id; raises NotFoundError."""
        if name == "Observations":
            return self._find_observation(*key.partition("@")[::2])
        if key not in self.list_keys(name):
            raise NotFoundError(f"site {self._site!r} has none of {name} named {key[:80]!r}")
        if name == "ObservedProperties":
            return self._property(key)
        if name in {"Things", "Locations"}:
            return (self._thing if name == "Things" else self._location)(self._stations[key])
        return (self._stream if name == "Datastreams" else self._sensor)(*self._series[key])

    def follow(self, name: str, key: str, step: str) -> list[str]:
        """The ids one step away from an entity; raises NotFoundError where there is no such entity."""
        self.find(name, key)
        if name == "Observations":
            return [key.partition("@")[0]]
        if {name, step} == {"Things", "Locations"}:
            return [k for k in self.list_keys(step) if k == key]
        if name == "Datastreams":
            station, row = self._series[key]
            return [{"Thing": station.id, "Sensor": key}.get(step, row["quantity"])]
        return sorted(
            k
            for k, (station, row) in self._series.items()
            if key == {"Things": station.id, "Sensors": k}.get(name, row["quantity"])
        )

    def list_observations(self, stream: str, query: SensorThingsQuery) -> tuple[list[Entity], int | None]:
        """Observations of a series, and how many there are where that is asked for."""
        self.find("Datastreams", stream)
        station, row = self._series[stream]
        key = self._site, station.id, row["quantity"]
        total = count_epochs(self._c, key, from_at=query.from_at, until=query.until) if query.count else None
        epochs = load_epochs(
            self._c,
            key,
            from_at=query.from_at,
            until=query.until,
            newest_first=query.newest_first,
            skip=query.skip,
            limit=query.top,
        )
        return [self._observation(stream, epoch) for epoch in epochs], total

    def _entity(self, kind: str, key: str, /, **facts: object) -> Entity:
        address = f"{self._root}/{kind}('{quote(key, safe=':@')}')"
        links = {f"{step}@iot.navigationLink": f"{address}/{step}" for step in _STEPS[kind]}
        return {"@iot.id": key, "@iot.selfLink": address, **facts, **links}

    def _thing(self, station: StationCard) -> Entity:
        names = ("azimuth_deg", "plunge_deg", "reference", "logger", "on_slope", "declared")
        properties = {name: getattr(station, name) for name in names}
        return self._entity(
            "Things",
            station.id,
            name=station.id,
            description=f"Station {station.id} of the slope {self._site}",
            properties={**properties, "health": station.state, "health_reason": station.reason},
        )

    def _location(self, station: StationCard) -> Entity:
        height = [] if station.height_m is None else [station.height_m]
        return self._entity(
            "Locations",
            station.id,
            name=station.id,
            description=f"Where {station.id} stands",
            encodingType="application/geo+json",
            location={"type": "Point", "coordinates": [station.longitude, station.latitude, *height]},
        )

    def _stream(self, station: StationCard, row: ReadingRow) -> Entity:
        unit, quantity = row["unit"], row["quantity"]
        definition = f"ucum:{UCUM[unit]}" if unit in UCUM else None
        return self._entity(
            "Datastreams",
            f"{station.id}:{quantity}",
            name=f"{station.id} {quantity}",
            description=f"{quantity} at {station.id}, offsets taken out",
            observationType=MEASUREMENT,
            unitOfMeasurement={"name": unit, "symbol": unit, "definition": definition},
            properties={"newest_at": row["observed_at"]},
        )

    def _sensor(self, station: StationCard, row: ReadingRow) -> Entity:
        key = f"{station.id}:{row['quantity']}"
        return self._entity(
            "Sensors",
            key,
            name=key,
            description=f"What measures {row['quantity']} at {station.id}; its make is not declared",
            encodingType="text/html",
            metadata="",
        )

    def _property(self, quantity: str) -> Entity:
        known = QUANTITIES.get(quantity)
        return self._entity(
            "ObservedProperties",
            quantity,
            name=quantity,
            definition=f"urn:slopeward:quantity:{quantity}",
            description=f"{quantity.replace('_', ' ')}{f' in {known.unit}' if known else ''}",
        )

    def _find_observation(self, stream: str, epoch: str) -> Entity:
        try:
            at = parse_time(epoch)
            at + INSTANT
        except (ValueError, OverflowError):
            at = None
        if stream in self._series and at is not None:
            station, row = self._series[stream]
            key = self._site, station.id, row["quantity"]
            for found in load_epochs(self._c, key, from_at=at, until=at + INSTANT, limit=1):
                return self._observation(stream, found)
        raise NotFoundError("no such observation; its id is written STATION:QUANTITY@TIME")

    def _observation(self, stream: str, epoch: ReadingRow) -> Entity:
        return self._entity(
            "Observations",
            f"{stream}@{epoch['observed_at']}",
            phenomenonTime=epoch["observed_at"],
            resultTime=None,
            result=epoch["value"],
            parameters={name: epoch[name] for name in _OF_READING},
        )
