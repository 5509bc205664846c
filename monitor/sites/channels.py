"""The kinds of notification channels that plugins register."""

from functools import cache
from typing import Final, NoReturn

from monitor.errors import ConfigError
from monitor.plugins import hooks
from monitor.registration import Channel
from monitor.sites.topics import TOPIC_PREFIX, TOPIC_ROOT, has_wildcard, matches_service_topics


@cache
def list_channel_kinds() -> dict[str, Channel]:
    """Return the channels that plugins register, by kind; of two with one kind, the first.

    Called when a channel is needed and not when this module is imported, because the modules of plugins may import
    modules that import this one.
    """
    channels: dict[str, Channel] = {}
    for registered in hooks().register_channels():
        for kind, channel in registered.items():
            channels.setdefault(kind, channel)
    return channels


def list_ordering_prefixes() -> tuple[str, ...]:
    """Return the prefixes of channels that carry commands to devices, for example sirens."""
    return tuple(f"{kind}:" for kind, channel in list_channel_kinds().items() if channel.orders)


def split_channel(channel: str) -> tuple[str, str]:
    """Split `kind:address`.

    >>> split_channel("email:duty@example.org")
    ('email', 'duty@example.org')
    """
    kind, _, address = channel.partition(":")
    return kind, address


def find_topic_fault(channel: str) -> str:
    """Return why a channel must not publish on its topic. Empty if it may, or if it has no topic.

    Only the service publishes below `slopeward/v1/`. A channel with commands must not use topics below `slopeward/`.

    >>> find_topic_fault("mqtt:slopeward/v1/north/state")
    'mqtt:slopeward/v1/north/state: only Slopeward publishes below slopeward/v1/; choose another topic'
    >>> find_topic_fault("mqtt:alarms/+"), find_topic_fault("email:slopeward/v1/a@example.org")
    ('mqtt:alarms/+: expected one topic without the wildcards + and #', '')
    """
    topic = split_channel(channel)[1]
    traits = find_channel_traits(channel)
    if not traits.of_broker:
        return ""
    if not topic or has_wildcard(topic):
        return f"{channel}: expected one topic without the wildcards + and #"
    reserved = TOPIC_PREFIX if traits.orders else f"{TOPIC_ROOT}/"
    if topic.startswith(reserved) or matches_service_topics(topic):
        return f"{channel}: only Slopeward publishes below {reserved}; choose another topic"
    return ""


def find_channel_traits(channel: str) -> Channel:
    """Return the traits of a channel. A kind that is no longer installed has the default traits."""
    return list_channel_kinds().get(split_channel(channel)[0], _UNKNOWN)


def _refuse_unknown(address: str, *_settings: object) -> NoReturn:
    raise ConfigError(f"channel {address!r}: its kind is not installed")


_UNKNOWN: Final = Channel(_refuse_unknown)
