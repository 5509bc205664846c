"""Decoders by the name that a site file or a topic of Slopeward gives."""

from functools import cache

from monitor.errors import ConfigError
from monitor.ingest.decoders.decoder import Decoder, DecoderSpec
from monitor.ingest.decoders.isolation import isolate_decoder
from monitor.ingest.message import matches
from monitor.plugins import implementations, is_built_in
from monitor.sites.records import Binding, Site


def list_decoders() -> dict[str, DecoderSpec]:
    """Return all decoders by name. Of two decoders with one name, the first is used."""
    decoders: dict[str, DecoderSpec] = {}
    for plugin, register in implementations("register_decoders"):
        for name, spec in (register() or {}).items():
            decoders.setdefault(name, spec if is_built_in(plugin) else isolate_decoder(plugin, name, spec))
    return decoders


@cache
def find_decoder(name: str, binding: Binding | None = None) -> Decoder:
    """Return the decoder for a `[[decoder]]` of a site file, or for a topic of Slopeward if there is no binding.

    Raises:
        ConfigError: no decoder has that name, or the decoder cannot work with the settings of the site file.
    """
    decoders = list_decoders()
    if name not in decoders:
        raise ConfigError(f"decoder {name!r} is unknown; expected one of {', '.join(decoders)}")
    spec = decoders[name]
    binding = binding or Binding("", name)
    keys = spec.keys | {"zone"} if spec.takes_zone else spec.keys
    for key, value in (("series", binding.series), ("station", binding.station), *binding.settings):
        if value and key not in keys:
            reads = f"it reads {', '.join(sorted(keys))}" if keys else "it reads none beside topic and name"
            raise ConfigError(f"decoder {name!r} does not read the key {key!r}; {reads}")
    return spec.open(binding)


def is_known_value(binding: Binding, site: Site, topic: str) -> bool:
    """Return whether a topic is a value of a declared station.

    Homie devices publish all values as retained messages, so the broker may keep these.
    """
    if binding.name != "plain" or not matches(binding.topic, topic):
        return False
    name = binding.read("{quantity}", topic)
    is_declared = site.station(binding.station or binding.read("{station}", topic)) is not None
    return is_declared and (not name or name in dict(binding.series))


def is_undated(binding: Binding) -> bool:
    """Return whether readings of a `[[decoder]]` get the time of their reception.

    >>> is_undated(Binding("homie/5/{station}/{quantity}", "plain")), is_undated(Binding("a/+", "senml"))
    (True, False)
    """
    spec = list_decoders().get(binding.name)
    return spec is not None and spec.is_undated(binding)
