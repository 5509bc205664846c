"""Decoder of tables that data loggers of Campbell Scientific (CR6, CR1000X, GRANITE) publish by MQTT as GeoJSON.

`observationNames` are the columns, `observations` are the rows by time. The station is the `loggerID`. Source: "GeoJSON
format details" of the CRBasic help.

On `.../state/...` a logger reports that it is connected, and the broker publishes its last will. The state holds for
all stations that the logger sends readings for: those in `series` and the topic, or its own.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import (
    Decoder,
    ReceivedMessage,
    SeriesTarget,
    find_series_target,
    gather,
    join_fault,
    read_each,
    read_series,
)
from monitor.ingest.decoders.strict_json import SAMPLE_LIMIT, check_text, read_object
from monitor.ingest.message import DecodedMessage
from monitor.ingest.quality import StationField
from monitor.readings.no_value import is_no_value
from monitor.readings.records import Observation
from monitor.sites.records import Binding
from monitor.text.names import is_station

_NAMES_MOST: Final = 1000
_STATES: Final = {"online": True, "offline": False}
_REASON_MOST: Final = 100


def open_campbell(binding: Binding) -> Decoder:
    """Return the decoder of a `[[decoder]]` section; raises ConfigError."""
    series = read_series(binding)

    def decode(received: ReceivedMessage) -> DecodedMessage:
        body = read_object(received.message.payload)
        if isinstance(body.get("state"), str) and body["state"] in _STATES:
            return _read_state(body, received, series)
        table = body.get("properties", body.get("Properties"))  # the CRBasic help uses both spellings
        if not isinstance(table, dict):
            raise PayloadError("bad_payload", "no properties: expected the GeoJSON of a Campbell logger")
        names, rows = table.get("observationNames"), table.get("observations")
        if not isinstance(names, list) or not isinstance(rows, dict) or not names or not rows:
            raise PayloadError("bad_payload", "expected observationNames, a list, and observations by their time")
        if len(names) > _NAMES_MOST or len(names) * len(rows) > SAMPLE_LIMIT:
            raise PayloadError("too_many", f"{len(names)} names at {len(rows)} times; at most {SAMPLE_LIMIT} values")
        station = received.place.station or str(table.get("loggerID", ""))
        wanted = [
            (k, name, *where)
            for k, name in enumerate(map(str, names))
            if (where := _find_field(series, name, station, received)) is not None
        ]
        if not wanted:
            raise PayloadError("unknown_quantity", f"series names none of {', '.join(map(str, names))[:200]}")

        def read(row: tuple[str, Any]) -> Iterator[Observation]:
            time, values = row
            at = received.read_time(time)
            if not isinstance(values, list) or len(values) != len(names):
                raise PayloadError("cell_count", f"{time}: expected {len(names)} values, as there are names")
            yield from read_each(
                (column for column in wanted if not is_no_value(values[column[0]])),
                lambda column: [received.observe_cell(column[2], column[3], values[column[0]], column[1], at)],
            )

        observations, bad = gather(rows.items(), read)
        if not bad and not observations:
            raise PayloadError("empty", "no column in use has a value")
        bad_body = {"properties": {**table, "observations": dict(row for row, _ in bad)}}
        return DecodedMessage(tuple(observations), join_fault(bad, len(rows), "rows", json.dumps(bad_body).encode()))

    return decode


def _read_state(
    body: Mapping[str, Any], received: ReceivedMessage, series: Mapping[str, SeriesTarget]
) -> DecodedMessage:
    """Return the connection state of a logger. Its client id is the station if neither series nor topic names one."""
    stations = {target.station for target in series.values() if target.station} | {received.place.station} - {""}
    client_id = str(body.get("clientId", ""))
    if not stations and received.site.station(client_id) is not None:
        stations = {client_id}
    stations = {station for station in stations if is_station(station)}
    if not stations:
        raise PayloadError(
            "no_station", "the state of a logger without a station; set station or series of the decoder"
        )
    reason = body.get("reason")
    why = f": {' '.join(reason.split())[:_REASON_MOST]}" if isinstance(reason, str) else ""
    text = f"state {body['state']}{why}"
    check_text(text, "reason")
    return DecodedMessage(
        links=tuple(received.link(station, text, online=_STATES[body["state"]]) for station in sorted(stations))
    )


def _find_field(
    series: Mapping[str, SeriesTarget], name: str, station: str, received: ReceivedMessage
) -> tuple[str, StationField] | None:
    """Return station and field of a column; None if the site file does not use it.

    Without an entry in `series`, a name such as `tilt_x_deg` is used if the station declares the quantity.
    """
    if name in series:
        return series[name].find(received, station)
    target = find_series_target({}, name)
    if target is None or received.site.find_expected_range(station, target.name_alone) is None:
        return None
    return target.find(received, station)
