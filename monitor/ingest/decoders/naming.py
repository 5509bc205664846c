"""Names of a device and what they are at the site: `series = {"Tilt X" = "T1.tilt_x_deg"}` of [[decoder]]."""

from dataclasses import dataclass
from typing import Final

from monitor.domain.errors import ConfigError, PayloadError
from monitor.domain.names import is_station
from monitor.domain.quantities import UNITS, convert, split_suffix
from monitor.domain.site import Binding
from monitor.ingest.decoders.decoder import ReceivedMessage
from monitor.ingest.quality import StationField

SYMBOLS: Final = {"°C": "degC", "°F": "degF", "°": "deg", "µm": "um", "mm/d": "mm/day"}  # units as others write them


@dataclass(frozen=True, slots=True)
class Target:
    """What a name of a device is: a quantity with its unit, of a station where it names one."""

    station: str
    name: str
    unit: str | None = None  # where the name has no suffix

    @property
    def name_alone(self) -> str:
        """The quantity without its unit."""
        parts = None if self.unit is not None else split_suffix(self.name)
        return self.name if parts is None else parts[0]

    def find(self, received: ReceivedMessage, station: str) -> tuple[str, StationField]:
        """Station and field, of the station of the message where this names none; raises PayloadError."""
        where = self.station or station
        if not is_station(where):
            raise PayloadError("no_station", f"{where[:64]!r} is no station id; name one in series or as station")
        return where, received.field(where, self.name, self.unit)


def read_series(binding: Binding) -> dict[str, Target]:
    """What the site file says of the names of a device.

    >>> read_series(Binding("a", "plain", series=(("t", "T1.tilt_x_deg"), ("flow", "pumping m3/h"))))["flow"]
    Target(station='', name='pumping', unit='m3/h')

    Raises:
        ConfigError: a target has no unit, or its station is none.
    """
    return {name: _read_target(name, text) for name, text in binding.series}


def _read_target(name: str, text: str) -> Target:
    station, dot, quantity = text.rpartition(".")
    quantity, _, unit = quantity.partition(" ")
    if (dot and not is_station(station)) or not (unit.strip() or split_suffix(quantity)):
        raise ConfigError(
            f"series: {name!r} = {text!r}: expected QUANTITY_UNIT, STATION.QUANTITY_UNIT or 'QUANTITY UNIT', "
            "such as T1.tilt_x_deg"
        )
    return Target(station, quantity, unit.strip() or None)


def find_target(series: dict[str, Target], name: str) -> Target | None:
    """What a name is: as the site file says, else as the house itself writes it; None where it is neither."""
    found = series.get(name)
    return found if found is not None or split_suffix(name) is None else Target("", name)


def check_unit(given: object, expected: str, who: str) -> None:
    """Refuse values that are said to be in another unit than the site file says; a unit nobody knows says nothing.

    Raises:
        PayloadError: unit_mismatch, in the name of who says it.
    """
    unit = SYMBOLS.get(given, given) if isinstance(given, str) else ""
    if unit not in UNITS or expected not in UNITS or unit == expected:
        return
    try:
        same = convert(1.0, unit, expected) == 1.0
    except ValueError:
        same = False
    if not same:
        raise PayloadError("unit_mismatch", f"{who} counts in {unit}, series says {expected}")
