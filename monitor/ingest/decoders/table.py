"""The decoders that exist: kind of topic, or name in a site file, to the function that reads it."""

from functools import cache
from importlib import import_module
from typing import Final

from monitor.errors import ConfigError
from monitor.ingest.decoders.decoder import Decoder

DECODERS: Final[dict[str, str]] = {
    "native": "monitor.ingest.decoders.native:decode",
    "report": "monitor.ingest.decoders.observer:decode_report",
    "event": "monitor.ingest.decoders.observer:decode_event",
    "rows": "monitor.ingest.decoders.rows:decode",
    "senml": "monitor.ingest.decoders.senml:decode",
    "ecowitt": "monitor.ingest.decoders.ecowitt:decode",
    "ecowitt-metric": "monitor.ingest.decoders.ecowitt:decode_metric",
    "milesight": "monitor.ingest.decoders.lorawan:decode_milesight",
    "decentlab-ctd10": "monitor.ingest.decoders.lorawan:decode_decentlab_ctd10",
    "decentlab-lid": "monitor.ingest.decoders.lorawan:decode_decentlab_lid",
    "decentlab-zn1": "monitor.ingest.decoders.lorawan:decode_decentlab_zn1",
}


@cache
def find_decoder(name: str) -> Decoder:
    """The decoder of a name; `mapping:FILE` reads any JSON by a TOML mapping.

    Raises:
        ConfigError: there is no decoder of that name.
    """
    if name.startswith("mapping:"):
        from monitor.ingest.decoders.mapping import open_mapping

        return open_mapping(name.removeprefix("mapping:"))
    if name not in DECODERS:
        raise ConfigError(f"decoder {name!r} is unknown; expected one of {', '.join(DECODERS)} or mapping:FILE.toml")
    module, _, function = DECODERS[name].partition(":")
    found: Decoder = getattr(import_module(module), function)
    return found
