"""Packets of MQTT as they lie on the wire."""


def packet(first: int, body: bytes) -> bytes:
    """A packet of this first byte, with its length."""
    length, spelled = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        spelled.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([first]) + bytes(spelled) + body


def publish(
    topic: str,
    payload: bytes,
    qos: int = 0,
    *,
    retain: bool = False,
    properties: bytes | None = b"",
    whole: bytes | None = None,
) -> bytes:
    """A published message; `properties` None: of MQTT 3.1.1; `whole`: these bytes in place of all behind the length."""
    name = topic.encode()
    told = b"" if properties is None else packet(0, properties)[1:]
    body = len(name).to_bytes(2, "big") + name + b"\0\7" * bool(qos) + told + payload
    return packet(0x30 | qos << 1 | retain, body if whole is None else whole)
