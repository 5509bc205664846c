"""MQTT topics of Slopeward, and which topic filters match them."""

from typing import Final

TOPIC_PREFIX: Final = "slopeward/"
TOPIC_ROOT: Final = f"{TOPIC_PREFIX}v1"
_WILDCARDS: Final = ("+", "#")


def has_wildcard(topic: str) -> bool:
    """Return whether a text is a topic filter with wildcards and not one topic."""
    return any(wildcard in topic for wildcard in _WILDCARDS)


def matches_service_topics(topic_filter: str) -> bool:
    """Return whether an MQTT topic filter matches topics below `slopeward/v1/`.

    A shared subscription, `$share/GROUP/FILTER`, matches what its filter matches.

    >>> [matches_service_topics(filter) for filter in ("#", "+/v1/+/state", "slopeward/v1/north/state")]
    [True, True, True]
    >>> [matches_service_topics(filter) for filter in ("app/#", "+/device/up", "+/+")]
    [False, False, False]
    """
    parts = topic_filter.split("/")
    if parts[0] == "$share":
        parts = parts[2:]
    root_parts = TOPIC_ROOT.split("/")
    for part, root_part in zip(parts, root_parts, strict=False):
        if part == "#":
            return True
        if part not in ("+", root_part):
            return False
    return len(parts) > len(root_parts)
