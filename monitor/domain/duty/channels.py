"""The one list of channels: those of the core, and those that extensions declare."""

from typing import Final

from monitor.domain.extension import Channel, list_extensions
from monitor.domain.topics import HOUSE, ROOT, is_wild, reaches_own_topics

ROOM: Final = "monitor.notify.notifiers"
NOTIFIERS: Final[dict[str, Channel]] = {
    "log": Channel(f"{ROOM}.log:LogNotifier", reaches_person=False, digest_rank=5, is_english=True),
    "webhook": Channel(f"{ROOM}.webhook:WebhookNotifier", digest_rank=4, parallel=6),
    "email": Channel(f"{ROOM}.mail:MailNotifier", digest_rank=1, parallel=3),
    "apprise": Channel(f"{ROOM}.appriser:AppriseNotifier", digest_rank=2),
    "mqtt": Channel(f"{ROOM}.mqtt:MqttNotifier", reaches_person=False, holds=True, of_broker=True),
}
for _one in list_extensions():
    NOTIFIERS.update({kind: channel for kind, channel in _one.channels.items() if kind not in NOTIFIERS})
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
    """What the kind of a channel declares; one that is unknown, from a file of another version, is plain."""
    return NOTIFIERS.get(split_channel(channel)[0], Channel(""))
