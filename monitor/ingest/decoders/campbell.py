"""Tables that data loggers of Campbell Scientific (CR6, CR1000X, GRANITE) publish by MQTT as GeoJSON.

Names and values stand apart: `observationNames` are the columns, `observations` the rows by their time. The station is
the `loggerID`. Source: "GeoJSON format details" of the CRBasic help.

On `.../state/...` a logger says that it is connected, and the broker says for it that it is not. That holds for all
stations whose readings it brings: those that `series` and the topic name, else its own.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from monitor.domain.observation import Link, Observation
from monitor.domain.site import Binding, Site
from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import Decoder
from monitor.ingest.decoders.naming import NO_VALUE, Target, find_target, read_series
from monitor.ingest.decoders.rows import read_cell
from monitor.ingest.decoders.strict_json import SAMPLE_LIMIT, check_text, read_object, read_time
from monitor.ingest.message import Decoded, Fault, Message, Place, is_station
from monitor.ingest.quality import Field, Vocabulary, observe
from monitor.ingest.references import References

_NAMES_MOST: Final = 1000
_STATES: Final = {"online": True, "offline": False}
_REASON_MOST: Final = 100


def open_campbell(binding: Binding) -> Decoder:
    """Make the decoder; `series` says what the fields of the table are; raises ConfigError."""
    series = read_series(binding)

    def decode(message: Message, place: Place, site: Site, vocabulary: Vocabulary, _r: References) -> Decoded:
        body = read_object(message.payload)
        if isinstance(body.get("state"), str) and body["state"] in _STATES:
            return _read_state(body, message, place, site, series)
        table = body.get("properties", body.get("Properties"))  # the help of the maker spells it both ways
        if not isinstance(table, dict):
            raise PayloadError("bad_payload", "no properties: expected the GeoJSON of a Campbell logger")
        names, rows = table.get("observationNames"), table.get("observations")
        if not isinstance(names, list) or not isinstance(rows, dict) or not names or not rows:
            raise PayloadError("bad_payload", "expected observationNames, a list, and observations by their time")
        if len(names) > _NAMES_MOST or len(names) * len(rows) > SAMPLE_LIMIT:
            raise PayloadError("too_many", f"{len(names)} names at {len(rows)} times; at most {SAMPLE_LIMIT} values")
        station = place.station or str(table.get("loggerID", ""))
        wanted = [
            (k, name, *where)
            for k, name in enumerate(map(str, names))
            if (where := _find_field(series, name, station, site, vocabulary)) is not None
        ]
        if not wanted:
            raise PayloadError("unknown_quantity", f"series names none of {', '.join(map(str, names))[:200]}")
        found: list[Observation] = []
        bad: dict[str, Any] = {}
        first: PayloadError | None = None
        for time, values in rows.items():
            try:
                at = read_time(time)
                if not isinstance(values, list) or len(values) != len(names):
                    raise PayloadError("cell_count", f"{time}: expected {len(names)} values, as there are names")
            except PayloadError as error:
                first = first or error.bare()
                bad[time] = values
                continue
            for k, name, owner, field in wanted:
                if values[k] is None or (isinstance(values[k], str) and values[k].lower() in NO_VALUE):
                    continue
                try:
                    found.append(observe(site.id, owner, field, read_cell(values[k], name), at, message.received_at))
                except PayloadError as error:  # the other cells of the row count
                    first = first or error.bare()
                    bad[time] = values
        if first is None and not found:
            raise PayloadError("empty", "no field that is read has a value")
        return Decoded(tuple(found), () if first is None else (_join_fault(first, bad, table, len(rows)),))

    return decode


def _read_state(
    body: Mapping[str, Any], message: Message, place: Place, site: Site, series: Mapping[str, Target]
) -> Decoded:
    """What a logger says of itself, or the broker of it; its client id counts where nothing else says whose it is."""
    stations = {target.station for target in series.values() if target.station} | {place.station} - {""}
    own = str(body.get("clientId", ""))
    if not stations and site.station(own) is not None:
        stations = {own}
    stations = {one for one in stations if is_station(one)}
    if not stations:
        raise PayloadError("no_station", "the state of a logger; say whose by station or series of the decoder")
    reason = body.get("reason")
    why = f": {' '.join(reason.split())[:_REASON_MOST]}" if isinstance(reason, str) else ""
    text = f"state {body['state']}{why}"
    check_text(text, "reason")
    online = _STATES[body["state"]]
    return Decoded(links=tuple(Link(site.id, one, message.came_at, online, text) for one in sorted(stations)))


def _find_field(
    series: Mapping[str, Target], name: str, station: str, site: Site, vocabulary: Vocabulary
) -> tuple[str, Field] | None:
    """Station and field of a column; None for one that the site file does not name and the house does not know."""
    if name in series:
        return series[name].find(vocabulary, site, station)
    target = find_target({}, name)
    if target is None or site.expect(station, target.name_alone) is None:
        return None
    return target.find(vocabulary, site, station)


def _join_fault(first: PayloadError, bad: dict[str, Any], table: dict[str, Any], total: int) -> Fault:
    """The bad rows in a payload of their own that can be read again."""
    kept = {"properties": {**table, "observations": bad}}
    reason = f"{len(bad)} of {total} rows, the first: {first}" if total > 1 else str(first)
    return Fault(first.code, reason, json.dumps(kept).encode())
