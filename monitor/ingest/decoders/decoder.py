"""What a decoder is: a function from a message to what it says; some are made of what a site file tells."""

from collections.abc import Callable
from dataclasses import dataclass

from monitor.domain.site import Site
from monitor.ingest.message import Decoded, Message, Place
from monitor.ingest.quality import Vocabulary
from monitor.ingest.references import References

Decoder = Callable[[Message, Place, Site, Vocabulary, References], Decoded]
"""Place.station: the station that the topic or the site file names, empty where neither does."""


@dataclass(frozen=True, slots=True)
class Told:
    """A decoder that the site file tells something: `opener(binding)` makes it, `keys` of [[decoder]] are read."""

    opener: str
    keys: frozenset[str]
