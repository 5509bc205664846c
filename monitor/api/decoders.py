"""Decoders of MQTT messages."""

from monitor.errors import (
    ConfigError,  # the settings of the site file cannot be used
    PayloadError,  # a message cannot be read; has a code and a reason
)
from monitor.ingest.decoders.decoder import (
    RECEPTION,  # value of the key `date`: readings get the time of their reception
    Decoder,  # a function from ReceivedMessage to DecodedMessage
    DecoderSpec,  # a decoder that a site file can name
    ReceivedMessage,  # a message with the site, station and names that it may use
)
from monitor.ingest.message import (
    BrokerMessage,  # a message as the broker delivered it
    DecodedMessage,  # what a decoder read
    MessageFault,  # a part of a message that is rejected
)
from monitor.ingest.pipeline import (
    Pipeline,  # decodes messages, as the service does; for tests
)
from monitor.sites.records import (
    Binding,  # one `[[decoder]]` of a site file
)

__all__ = [
    "RECEPTION",
    "Binding",
    "BrokerMessage",
    "ConfigError",
    "DecodedMessage",
    "Decoder",
    "DecoderSpec",
    "MessageFault",
    "PayloadError",
    "Pipeline",
    "ReceivedMessage",
]
