"""What a decoder is: a function from a message to what it says."""

from collections.abc import Callable

from monitor.domain.site import Site
from monitor.ingest.message import Decoded, Message, Place
from monitor.ingest.quality import Vocabulary
from monitor.ingest.references import References

Decoder = Callable[[Message, Place, Site, Vocabulary, References], Decoded]
