"""Topics of the service on the broker: where they lie, and which filters reach them."""

from typing import Final

HOUSE: Final = "slopeward/"
TOPIC_ROOT: Final = f"{HOUSE}v1"
_WILD: Final = ("+", "#")


def is_wild(topic: str) -> bool:
    """Whether a text is a filter of topics rather than one topic."""
    return any(sign in topic for sign in _WILD)


def reaches_own_topics(topic_filter: str) -> bool:
    """Whether some topic below `slopeward/v1/` falls under an MQTT topic filter.

    A shared subscription, `$share/GROUP/FILTER`, reaches what its filter reaches.

    >>> reaches_own_topics("#"), reaches_own_topics("+/v1/+/state"), reaches_own_topics("slopeward/v1/north/state")
    (True, True, True)
    >>> reaches_own_topics("app/#"), reaches_own_topics("+/device/up"), reaches_own_topics("+/+")
    (False, False, False)
    """
    parts = topic_filter.split("/")
    if parts[0] == "$share":
        parts = parts[2:]
    own = TOPIC_ROOT.split("/")
    for part, ours in zip(parts, own, strict=False):
        if part == "#":
            return True
        if part not in ("+", ours):
            return False
    return len(parts) > len(own)
