"""MQTT packets as bytes."""


def packet(first: int, body: bytes) -> bytes:
    """Return a packet with this first byte and the length of its body."""
    length = len(body)
    encoded_length = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded_length.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([first]) + bytes(encoded_length) + body


def publish(
    topic: str,
    payload: bytes,
    qos: int = 0,
    *,
    retain: bool = False,
    properties: bytes | None = b"",
    whole: bytes | None = None,
) -> bytes:
    """Return a PUBLISH packet.

    Args:
        topic: Topic.
        payload: Payload.
        qos: Quality of service.
        retain: Retain flag.
        properties: Properties of MQTT 5; None for MQTT 3.1.1.
        whole: Bytes to use as the body instead.
    """
    name = topic.encode()
    property_bytes = b"" if properties is None else packet(0, properties)[1:]
    body = len(name).to_bytes(2, "big") + name + b"\0\7" * bool(qos) + property_bytes + payload
    return packet(0x30 | qos << 1 | retain, body if whole is None else whole)
