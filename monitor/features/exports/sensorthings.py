"""Read-only OGC SensorThings API 1.1 (18-088) of a site.

A station is a Thing with a Location. Each of its series is a Datastream with a Sensor and an ObservedProperty. The
revision of a reading that counts is an Observation. A path names an entity and at most one step from it. The query
options `$top`, `$skip`, `$count`, `$orderby` and `$filter` on `phenomenonTime` are supported. Others are refused.
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
MAX_TOP: Final = 1000  # entities in one answer
TIME_RESOLUTION: Final = timedelta(microseconds=1)  # of stored instants
# Units with a code in UCUM, the code list that SensorThings recommends.
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
# Set of an entity -> name of the step from it -> set to which the step leads.
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
_ReadingField = Literal["sigma", "flags", "revision", "solution", "received_at", "value_raw", "offset_applied"]
_READING_FIELDS: Final[tuple[_ReadingField, ...]] = get_args(_ReadingField)
_TERM: Final = re.compile(r"\s*(?:phenomenonTime|resultTime)\s+(gt|ge|lt|le|eq)\s+(\S+)\s*", re.IGNORECASE)
_PART: Final = re.compile(r"([A-Za-z]+)(?:\('([^']{1,200})'\))?")


@dataclass(frozen=True, slots=True)
class SensorThingsQuery:
    """The valid query options of a request."""

    top: int = 100
    skip: int = 0
    count: bool = False
    newest_first: bool = False
    from_at: datetime | None = None  # included
    until: datetime | None = None  # not included
    given: Mapping[str, str] = field(default_factory=dict)


def read_query(options: Mapping[str, str]) -> SensorThingsQuery:
    """Parse query options. Raises RefusedError that names the first unsupported option."""
    query = SensorThingsQuery(given=dict(options))
    readers: dict[str, Callable[[str, SensorThingsQuery], SensorThingsQuery]] = {
        "$top": lambda text, before: replace(before, top=min(_parse_whole("$top", text), MAX_TOP)),
        "$skip": lambda text, before: replace(before, skip=_parse_whole("$skip", text)),
        "$count": lambda text, before: replace(before, count=text.lower() == "true"),
        "$orderby": _read_order,
        "$filter": _read_filter,
    }
    for name, value in options.items():
        if name in readers:
            query = readers[name](value, query)
        elif name.startswith("$"):
            raise RefusedError(f"{name} is not supported; use {', '.join(readers)}")
    return query


def _parse_whole(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise RefusedError(f"{name} takes a whole number, not {value[:40]!r}")
    return int(value)


def _read_order(value: str, query: SensorThingsQuery) -> SensorThingsQuery:
    match = re.fullmatch(r"\s*(?:phenomenonTime|resultTime)(?:\s+(asc|desc))?\s*", value, re.IGNORECASE)
    if match is None:
        raise RefusedError("$orderby takes phenomenonTime asc or phenomenonTime desc")
    return replace(query, newest_first=(match[1] or "asc").lower() == "desc")


def _read_filter(value: str, query: SensorThingsQuery) -> SensorThingsQuery:
    for part in re.split(r"\s+and\s+", value, flags=re.IGNORECASE):
        term = _TERM.fullmatch(part)
        if term is None:
            raise RefusedError("$filter takes terms like phenomenonTime ge 2026-03-01T00:00:00Z, joined by and")
        try:
            at = parse_time(term[2])
            next_instant = at + TIME_RESOLUTION
        except (ValueError, OverflowError) as error:
            raise RefusedError(f"$filter: {error}") from error
        operator = term[1].lower()
        if operator in {"gt", "ge", "eq"}:
            query = replace(query, from_at=max(next_instant if operator == "gt" else at, query.from_at or at))
        if operator in {"lt", "le", "eq"}:
            until = at if operator == "lt" else next_instant
            query = replace(query, until=min(until, query.until or until))
    return query


class ServiceRoot(TypedDict):
    """The root of the service."""

    value: list[dict[str, str]]  # name and url of each set
    serverSettings: dict[str, list[str]]


Entity = dict[str, object]
"""An entity in an answer, by names of its properties."""


def describe_root(root: str) -> ServiceRoot:
    """Return the sets of entities and the supported requirements of the standard."""
    return {
        "value": [{"name": name, "url": f"{root}/{name}"} for name in _SETS],
        "serverSettings": {"conformance": list(CONFORMANCE)},
    }


def answer(c: Connection, site: str, path: str, query: SensorThingsQuery, root: str) -> Mapping[str, object]:
    """Return the entity at a path such as `Things('G1')/Datastreams`, or one page of a set.

    Args:
        c: Connection.
        site: An existing site.
        path: Path below the root.
        query: The query options.
        root: Address of the root.

    Raises:
        NotFoundError: The entity or step does not exist.
        RefusedError: Observations of several series are requested.
    """
    first, _, step = path.strip("/").partition("/")
    if not first:
        return describe_root(root)
    entities = _SiteEntities(c, site, root)
    match = _PART.fullmatch(first)
    if match is None or match[1] not in _SETS:
        raise NotFoundError(f"{first[:60]!r} is no entity; write for example Things('G1'); sets: {', '.join(_SETS)}")
    name = match[1]
    key = match[2]
    if key is not None and not step:
        return entities.find(name, key)
    if step and (key is None or step not in _STEPS[name]):
        raise NotFoundError(f"{name}('ID') has no {step[:60]!r}; it has {', '.join(_STEPS[name])}")
    target = _STEPS[name][step] if step else name
    if target == "Observations":
        if key is None:
            raise RefusedError("request the observations of one series: Datastreams('G1:rain')/Observations")
        page, total = entities.list_observations(key, query)
    else:
        for option in ("$filter", "$orderby"):
            if option in query.given:
                raise RefusedError(f"{option} is supported for Observations, not for {target}")
        keys = entities.list_keys(name) if key is None else entities.follow(name, key, step)
        if step in {"Thing", "Sensor", "ObservedProperty", "Datastream"}:
            return entities.find(target, keys[0])
        page = [entities.find(target, page_key) for page_key in keys[query.skip : query.skip + query.top]]
        total = len(keys)
    return {**_describe_page(len(page), total, query, f"{root}/{path}"), "value": page}


def _describe_page(count: int, total: int | None, query: SensorThingsQuery, address: str) -> Entity:
    """Return the total number of entities if it is requested, and the link to the next page if there is one.

    `count` is the number of entities on this page.
    """
    page: Entity = {"@iot.count": total} if query.count and total is not None else {}
    if query.top > 0 and count == query.top and (total is None or query.skip + query.top < total):
        options = {**query.given, "$top": str(query.top), "$skip": str(query.skip + query.top)}
        page["@iot.nextLink"] = f"{address}?{urlencode(options, safe='$:', quote_via=quote)}"
    return page


class _SiteEntities:
    """The entities of one site."""

    def __init__(self, c: Connection, site: str, root: str) -> None:
        self._c = c
        self._site = site
        self._root = root
        self._stations = {station.id: station for station in load_stations(c, site)}
        # Id of the Datastream -> station and newest reading.
        self._series = {
            f"{station.id}:{row['quantity']}": (station, row)
            for station in self._stations.values()
            for row in station.latest
        }

    def list_keys(self, name: str) -> list[str]:
        """Return the ids of all entities of a set. Not for Observations."""
        if name == "Locations":
            return sorted(key for key, station in self._stations.items() if station.place is not None)
        if name == "ObservedProperties":
            return sorted({row["quantity"] for _, row in self._series.values()})
        return sorted(self._stations if name == "Things" else self._series)

    def find(self, name: str, key: str) -> Entity:
        """Return an entity by its id. Raises NotFoundError if it does not exist."""
        if name == "Observations":
            return self._find_observation(*key.partition("@")[::2])
        if key not in self.list_keys(name):
            raise NotFoundError(f"site {self._site!r} has no entity {key[:80]!r} in {name}")
        if name == "ObservedProperties":
            return self._property(key)
        if name in {"Things", "Locations"}:
            return (self._thing if name == "Things" else self._location)(self._stations[key])
        return (self._stream if name == "Datastreams" else self._sensor)(*self._series[key])

    def follow(self, name: str, key: str, step: str) -> list[str]:
        """Return the ids of the entities to which a step leads. Raises NotFoundError if the entity does not exist."""
        self.find(name, key)
        if name == "Observations":
            return [key.partition("@")[0]]
        if {name, step} == {"Things", "Locations"}:
            return [other for other in self.list_keys(step) if other == key]
        if name == "Datastreams":
            station, row = self._series[key]
            return [{"Thing": station.id, "Sensor": key}.get(step, row["quantity"])]
        # All other steps lead to the Datastreams of a Thing, a Sensor or an ObservedProperty.
        streams = []
        for stream, (station, row) in self._series.items():
            owner = {"Things": station.id, "Sensors": stream}.get(name, row["quantity"])
            if owner == key:
                streams.append(stream)
        return sorted(streams)

    def list_observations(self, stream: str, query: SensorThingsQuery) -> tuple[list[Entity], int | None]:
        """Return the observations of a series, and their total number if it is requested."""
        self.find("Datastreams", stream)
        station, row = self._series[stream]
        key = (self._site, station.id, row["quantity"])
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
            description=f"Position of {station.id}",
            encodingType="application/geo+json",
            location={"type": "Point", "coordinates": [station.longitude, station.latitude, *height]},
        )

    def _stream(self, station: StationCard, row: ReadingRow) -> Entity:
        unit = row["unit"]
        quantity = row["quantity"]
        definition = f"ucum:{UCUM[unit]}" if unit in UCUM else None
        return self._entity(
            "Datastreams",
            f"{station.id}:{quantity}",
            name=f"{station.id} {quantity}",
            description=f"{quantity} at {station.id}, corrected for offsets",
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
            description=f"Sensor for {row['quantity']} at {station.id}; its model is not declared",
            encodingType="text/html",
            metadata="",
        )

    def _property(self, quantity: str) -> Entity:
        declared = QUANTITIES.get(quantity)
        return self._entity(
            "ObservedProperties",
            quantity,
            name=quantity,
            definition=f"urn:slopeward:quantity:{quantity}",
            description=f"{quantity.replace('_', ' ')}{f' in {declared.unit}' if declared else ''}",
        )

    def _find_observation(self, stream: str, epoch: str) -> Entity:
        try:
            at = parse_time(epoch)
            at + TIME_RESOLUTION
        except (ValueError, OverflowError):
            at = None
        if stream in self._series and at is not None:
            station, row = self._series[stream]
            key = (self._site, station.id, row["quantity"])
            for reading in load_epochs(self._c, key, from_at=at, until=at + TIME_RESOLUTION, limit=1):
                return self._observation(stream, reading)
        raise NotFoundError("this observation does not exist; ids have the form STATION:QUANTITY@TIME")

    def _observation(self, stream: str, epoch: ReadingRow) -> Entity:
        return self._entity(
            "Observations",
            f"{stream}@{epoch['observed_at']}",
            phenomenonTime=epoch["observed_at"],
            resultTime=None,
            result=epoch["value"],
            parameters={name: epoch[name] for name in _READING_FIELDS},
        )
