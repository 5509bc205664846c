"""A push service of loopback that keeps what browsers would get, and opens it with their keys by RFC 8291."""

import json
from contextlib import contextmanager

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from monitor.features.telephony.web_push import decode, encode
from tests.delivery.outbox import serving_posts


class Browser:
    """One subscription: its keys, and what it can read."""

    def __init__(self):
        self.key, self.secret = ec.generate_private_key(ec.SECP256R1()), b"0123456789abcdef"
        self.public = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.p256dh, self.auth = encode(self.public), encode(self.secret)

    def open(self, body):
        """The message in a body, as a receiver reads it (RFC 8188, RFC 8291)."""

        def derive(salt, secret, info, length):
            return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)

        salt, size, theirs = body[:16], body[20], body[21:86]
        assert size == 65
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs))
        secret = derive(self.secret, shared, b"WebPush: info\0" + self.public + theirs, 32)
        key = derive(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
        record = AESGCM(key).decrypt(derive(salt, secret, b"Content-Encoding: nonce\0", 12), body[86:], None)
        assert record.rstrip(b"\0")[-1:] == b"\2"
        return json.loads(record.rstrip(b"\0")[:-1])


def check_proof(header, audience):
    """The claims of a VAPID header whose signature is right for the key that it names."""
    token, _, public = header.removeprefix("vapid t=").partition(", k=")
    signed, _, mark = token.rpartition(".")
    octets = decode(mark)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(public))
    r, s = (int.from_bytes(half, "big") for half in (octets[:32], octets[32:]))
    key.verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
    claims = json.loads(decode(signed.split(".")[1]))
    assert claims["aud"] == audience
    return claims, public


@contextmanager
def push_service():
    """Yields a server: `got` holds (path, headers, body), `answers` the status of a path (201 else)."""

    def answer(server, path, headers, body):
        server.got.append((path, headers, body))
        return server.answers.get(path, 201), {}, b""

    with serving_posts(answer) as server:
        server.got, server.answers = [], {}
        yield server
