"""The decoders that exist: kind of topic, or name in a site file, to the function that reads it."""

from functools import cache
from typing import Final

from monitor.errors import ConfigError
from monitor.ingest.decoders import (
    campbell,
    ecowitt,
    json_paths,
    lorawan,
    native,
    nmea,
    observer,
    plain,
    rows,
    rtklib,
    senml,
    sensorthings,
    sparkplug,
)
from monitor.ingest.decoders.decoder import RECEPTION, Decoder, DecoderSpec
from monitor.ingest.message import matches
from monitor.sites.records import Binding, Site

DECODERS: Final[dict[str, Decoder | DecoderSpec]] = {
    "native": native.decode,
    "report": observer.decode_report,
    "event": observer.decode_event,
    "rows": rows.decode,
    "milesight": DecoderSpec(lorawan.open_lorawan, frozenset()),
    "decentlab-ctd10": DecoderSpec(lorawan.open_lorawan, frozenset()),
    "decentlab-lid": DecoderSpec(lorawan.open_lorawan, frozenset()),
    "decentlab-zn1": DecoderSpec(lorawan.open_lorawan, frozenset()),
    "campbell": DecoderSpec(campbell.open_campbell, frozenset({"series", "station"})),
    "json": DecoderSpec(
        json_paths.open_json,
        frozenset({"series", "station", "each", "time", "time_unit", "device", "quantity", "unit", "value", "base"}),
    ),
    "ecowitt": DecoderSpec(ecowitt.open_ecowitt, frozenset({"rain"})),
    "ecowitt-metric": DecoderSpec(ecowitt.open_ecowitt, frozenset({"rain"})),
    "nmea": DecoderSpec(nmea.open_nmea, frozenset({"station", "date", "network"})),
    "plain": DecoderSpec(plain.open_plain, frozenset({"series", "station"})),
    "rtklib": DecoderSpec(rtklib.open_rtklib, frozenset({"station", "time", "positions", "network"})),
    "sensorthings": DecoderSpec(sensorthings.open_sensorthings, frozenset({"series"})),
    "senml": DecoderSpec(senml.open_senml, frozenset({"date"})),
    "sparkplug": DecoderSpec(sparkplug.open_sparkplug, frozenset({"series", "station"})),
}


# what gets its times as text, and takes the zone of those without one; the others count from 1970 or from reception
_IN_A_ZONE: Final = frozenset(
    {
        "native",
        "report",
        "event",
        "rows",
        "milesight",
        "decentlab-ctd10",
        "decentlab-lid",
        "decentlab-zn1",
        "campbell",
        "json",
        "ecowitt",
        "ecowitt-metric",
        "nmea",
        "rtklib",
        "sensorthings",
    }
)


@cache
def find_decoder(name: str, binding: Binding | None = None) -> Decoder:
    """The decoder of a name.

    Raises:
        ConfigError: there is no decoder of that name, or the site file tells it what it does not read.
    """
    if name not in DECODERS:
        raise ConfigError(f"decoder {name!r} is unknown; expected one of {', '.join(DECODERS)}")
    binding, entry = binding or Binding("", name), DECODERS[name]
    known = entry.keys if isinstance(entry, DecoderSpec) else frozenset()
    known |= {"zone"} if name in _IN_A_ZONE else frozenset()
    for key, value in (("series", binding.series), ("station", binding.station), *binding.told):
        if value and key not in known:
            reads = f"it reads {', '.join(sorted(known))}" if known else "it reads none beside topic and name"
            raise ConfigError(f"decoder {name!r} does not read the key {key!r}; {reads}")
    return entry.open(binding) if isinstance(entry, DecoderSpec) else entry


def is_known_value(binding: Binding, site: Site, topic: str) -> bool:
    """Whether a topic is one of the values that a declared station has: devices of Homie retain all of them."""
    if binding.name != "plain" or not matches(binding.topic, topic):
        return False
    name = binding.read("{quantity}", topic)
    declared = site.station(binding.station or binding.read("{station}", topic)) is not None
    return declared and (not name or name in dict(binding.series))


def is_undated(binding: Binding) -> bool:
    """Whether readings get the time of their reception: what waited at the broker would get a wrong one.

    >>> is_undated(Binding("homie/5/{station}/{quantity}", "plain")), is_undated(Binding("a/+", "senml"))
    (True, False)
    """
    if binding.name == "plain":
        return not binding.pattern.endswith("/$state")
    return dict(binding.told).get("date") == RECEPTION
