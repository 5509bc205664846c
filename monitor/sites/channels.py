"""The kinds of notification channels that plugins register."""

from functools import cache
from typing import Final, NoReturn

from monitor.errors import ConfigError
from monitor.plugins import hooks
from monitor.registration import Channel
from monitor.sites.topics import HOUSE, TOPIC_ROOT, is_wild, reaches_own_topics


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
    """Return how the names of channels begin that carry commands to devices."""
    return tuple(f"{kind}:" for kind, channel in list_channel_kinds().items() if channel.orders)


def split_channel(channel: str) -> tuple[str, str]:
    """Split `kind:address`.

    >>> split_channel("email:duty@example.org")
    ('email', 'duty@example.org')
    """
    kind, _, address = channel.partition(":")
    return kind, address


def find_topic_fault(channel: str) -> str:
    """What keeps a channel from publishing on the topic that it names; empty for one that may, or names none.

    Below `slopeward/v1/` the service alone speaks: a message there would count as its own. What sounds a siren lies
    outside of `slopeward/` altogether.

    >>> find_topic_fault("mqtt:slopeward/v1/north/state")
    'mqtt:slopeward/v1/north/state: expected a topic that does not lie below slopeward/v1/'
    >>> find_topic_fault("mqtt:alarms/+"), find_topic_fault("email:slopeward/v1/a@example.org")
    ('mqtt:alarms/+: expected one topic, without + and #', '')
    """
    topic, traits = split_channel(channel)[1], traits_of(channel)
    if not traits.of_broker:
        return ""
    if not topic or is_wild(topic):
        return f"{channel}: expected one topic, without + and #"
    own = HOUSE if traits.orders else f"{TOPIC_ROOT}/"
    is_ours = topic.startswith(own) or reaches_own_topics(topic)
    return f"{channel}: expected a topic that does not lie below {own}" if is_ours else ""


def traits_of(channel: str) -> Channel:
    """Return the traits of the kind of a channel; an unknown kind, from an older site file, has the default traits."""
    return list_channel_kinds().get(split_channel(channel)[0], _UNKNOWN)


def _refuse_unknown(address: str, *_settings: object) -> NoReturn:
    raise ConfigError(f"channel {address!r}: its kind is unknown")


_UNKNOWN: Final = Channel(_refuse_unknown)
