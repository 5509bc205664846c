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
