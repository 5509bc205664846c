"""Rows of the neutral long form as JSON: how bad rows of a file wait in the quarantine, and are read again."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from monitor.domain.canonical import canonical_json
from monitor.domain.observation import Observation
from monitor.domain.quantities import OF_VELOCITY_MAPS
from monitor.domain.site import Site
from monitor.errors import PayloadError
from monitor.ingest.decoders.native import SOLUTIONS
from monitor.ingest.decoders.strict_json import check_keys, read_number, read_object, read_time
from monitor.ingest.message import Decoded, Fault, Message, Place, is_station
from monitor.ingest.quality import Vocabulary, observe
from monitor.ingest.references import References

COLUMNS: Final = frozenset(
    {"time", "station", "quantity", "value", "sigma", "site", "solution", "unit", "component", "pixels"}
)


def decode(message: Message, _place: Place, site: Site, vocabulary: Vocabulary, _r: References) -> Decoded:
    """Read `{"rows": [{time, station, quantity, value, ...}]}`; bad rows stay in the quarantine."""
    rows = read_object(message.payload).get("rows")
    if not isinstance(rows, list) or not rows:
        raise PayloadError("no_samples", "rows: expected a list of at least one row")
    found: list[Observation] = []
    bad: list[tuple[Any, PayloadError]] = []
    for row in rows:
        try:
            if not isinstance(row, dict):
                raise PayloadError("not_object", "a row must be an object")
            found.append(read_row(row, site, vocabulary, message.received_at))
        except PayloadError as error:
            bad.append((row, error.bare()))
    return Decoded(tuple(found), join_bad_rows(bad))


def read_row(row: Mapping[str, Any], site: Site, vocabulary: Vocabulary, received_at: datetime) -> Observation:
    """Read one row of text or numbers; raises PayloadError."""
    check_keys(dict(row), COLUMNS)
    station, quantity, solution = row.get("station"), row.get("quantity"), row.get("solution") or None
    if not isinstance(station, str) or not is_station(station):
        raise PayloadError("bad_station", f"station: {station!r} is no station id")
    if not isinstance(quantity, str) or not quantity:
        raise PayloadError("unknown_quantity", "quantity is missing")
    if solution is not None and (not isinstance(solution, str) or solution not in SOLUTIONS):
        raise PayloadError("bad_solution", f"solution: expected one of {', '.join(sorted(SOLUTIONS))}")
    time = row.get("time")
    if isinstance(time, datetime):
        at = time.astimezone(UTC) if time.tzinfo else read_time(time.isoformat(), live=False)
    else:
        at = read_time(time or None, live=False)
    unit = row.get("unit") or None
    if unit is not None and not isinstance(unit, str):
        raise PayloadError("unit_mismatch", "unit: expected a text")
    field = vocabulary.field(site, station, quantity, unit)
    sigma = None if row.get("sigma") in (None, "") else read_cell(row["sigma"], "sigma")
    if sigma is not None and sigma < 0:
        raise PayloadError("bad_sigma", "sigma is negative")
    return observe(
        site.id, station, field, read_cell(row.get("value"), "value"), at, received_at, sigma, solution,
        _read_map(row, field.quantity),
    )  # fmt: skip


def _read_map(row: Mapping[str, Any], quantity: str) -> str | None:
    """What a map of velocities said with a reading, as it is kept: what its sign means, of how many pixels it is."""
    component, pixels = row.get("component"), row.get("pixels")
    told: dict[str, Any] = {}
    for name, value in (("component", component), ("pixels", pixels)):
        if value is not None and value != "" and quantity not in OF_VELOCITY_MAPS:
            raise PayloadError(f"bad_{name}", f"{name}: only a velocity has one in this column, not {quantity}")
    if component is not None and component != "":
        if not isinstance(component, str) or not is_station(component):
            raise PayloadError("bad_component", "component: expected a name such as los-towards or up")
        told["component"] = component
    if pixels is not None and pixels != "":
        count = read_cell(pixels, "pixels")
        if count < 1 or count != int(count):
            raise PayloadError("bad_pixels", f"pixels: expected a whole number above 0, got {count:g}")
        told["pixels"] = int(count)
    return canonical_json(told) if told else None


def read_cell(value: object, name: str) -> float:
    """A number written as a number or as text; raises PayloadError."""
    if not isinstance(value, str):
        return read_number(value, name)
    try:
        number = float(value) if value.isascii() and "_" not in value else None  # Python takes 1_0 for 10
    except ValueError:
        number = None
    if number is None:
        raise PayloadError("not_number", f"{name}: expected a number, got {value[:60]!r}")
    return read_number(number, name)


def join_bad_rows(bad: list[tuple[Any, PayloadError]]) -> tuple[Fault, ...]:
    """One fault per cause, whose payload holds the rows as they came."""
    by_code: dict[str, list[tuple[Any, PayloadError]]] = {}
    for row, error in bad:
        by_code.setdefault(error.code, []).append((row, error))
    return tuple(
        Fault(
            code,
            f"{len(rows)} rows, the first: {rows[0][1]}" if len(rows) > 1 else str(rows[0][1]),
            json.dumps({"rows": [row for row, _ in rows]}, default=_spell).encode(),
        )
        for code, rows in by_code.items()
    )


def _spell(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
