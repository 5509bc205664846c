"""Decoders of MQTT messages."""

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

__all__ = [
    "RECEPTION",
    "BrokerMessage",
    "DecodedMessage",
    "Decoder",
    "DecoderSpec",
    "MessageFault",
    "Pipeline",
    "ReceivedMessage",
]
