"""The kinds of notification channels that plugins register."""

from typing import Final, NoReturn

from monitor.domain.errors import ConfigError
from monitor.domain.topics import HOUSE, ROOT, is_wild, reaches_own_topics
from monitor.plugins import hooks
from monitor.registration import Channel

NOTIFIERS: Final[dict[str, Channel]] = {}
for _registered in hooks().register_channels():
    for _kind, _channel in _registered.items():
        NOTIFIERS.setdefault(_kind, _channel)
ORDERING: Final = tuple(f"{kind}:" for kind, one in NOTIFIERS.items() if one.orders)  # begin their channels


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
    own = HOUSE if traits.orders else f"{ROOT}/"
    is_ours = topic.startswith(own) or reaches_own_topics(topic)
    return f"{channel}: expected a topic that does not lie below {own}" if is_ours else ""


def traits_of(channel: str) -> Channel:
    """Return the traits of the kind of a channel; an unknown kind, from an older site file, has the default traits."""
    return NOTIFIERS.get(split_channel(channel)[0], _UNKNOWN)


def _refuse_unknown(address: str, *_settings: object) -> NoReturn:
    raise ConfigError(f"channel {address!r}: its kind is unknown")


_UNKNOWN: Final = Channel(_refuse_unknown)
