"""What a decoder is: a function from a message to what it says; some are made of what a site file tells."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from monitor.domain.site import Binding, Site
from monitor.errors import ConfigError
from monitor.ingest.message import Decoded, Message, Place
from monitor.ingest.quality import Vocabulary
from monitor.ingest.references import References

RECEPTION: Final = "reception"
Decoder = Callable[[Message, Place, Site, Vocabulary, References], Decoded]
"""Place.station: the station that the topic or the site file names, empty where neither does."""


@dataclass(frozen=True, slots=True)
class Told:
    """A decoder that the site file tells something: `opener(binding)` makes it, `keys` of [[decoder]] are read."""

    opener: str
    keys: frozenset[str]


def counts_from_reception(binding: Binding) -> bool:
    """Whether the site file says that what has no time (or no date) of its own counts from its reception.

    Raises:
        ConfigError: `date` says something else.
    """
    word = dict(binding.told).get("date", "")
    if word not in {"", RECEPTION}:
        raise ConfigError(f"decoder {binding.name!r}: date: expected {RECEPTION}, got {word!r}")
    return word == RECEPTION
