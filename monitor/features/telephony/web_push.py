"""Web push: encryption of a message for one browser (RFC 8291), and identification of the sender (VAPID, RFC 8292).

The package cryptography is imported where it is used, because most services send no push messages.
"""

import base64
import json
import os
import struct
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from forecasting.whole_file import write_private
from monitor.api.errors import ConfigError

# Name of the file with the private key, in `paths.state`.
KEY_FILE: Final = "push.key"
# Bytes of a message, which is one record of 4,096 bytes (RFC 8291, section 4).
LARGEST: Final = 3993
_RECORD: Final = 4096
# Validity of an identification, at most 24 h (RFC 8292, section 2).
_LASTS: Final = timedelta(hours=12)


def encode(octets: bytes) -> str:
    """Encode bytes as URL-safe base64 without padding.

    >>> encode(bytes([251, 255])), [*decode("-_8")]
    ('-_8', [251, 255])
    """
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Decode URL-safe base64 without padding; raise ValueError if it is invalid."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def seal(content: bytes, p256dh: str, auth: str, salt: bytes = b"", private: str = "") -> bytes:
    """Encrypt a message with `aes128gcm` for the browser with the given keys.

    Args:
        content: At most `LARGEST` bytes.
        p256dh: Public key of the browser.
        auth: Secret of the browser, 16 bytes.
        salt: 16 bytes; random by default.
        private: Private key for this message; random by default.

    Raises:
        ValueError: The keys are invalid, or the message is too large.

    >>> sealed = seal(  # the example of RFC 8291, appendix A
    ...     b"When I grow up, I want to be a watermelon",
    ...     "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    ...     "BTBZMqHH6r4Tts7J_aSIgg", decode("DGv6ra1nlYgDCS1FRnbzlw"), "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw",
    ... )
    >>> encode(sealed)[-32:]
    'WyouBWLVWGNWQexSgSxsj_Qulcy4a-fN'
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(content) > LARGEST:
        raise ValueError(f"a message of {len(content)} bytes is too large")
    theirs = decode(p256dh)
    own = read_key(private) if private else ec.generate_private_key(ec.SECP256R1())
    ours, salt = _encode_public(own), salt or os.urandom(16)
    shared = own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs))
    secret = _derive(decode(auth), shared, b"WebPush: info\0" + theirs + ours, 32)
    key = _derive(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(salt, secret, b"Content-Encoding: nonce\0", 12)
    head = salt + struct.pack("!LB", _RECORD, len(ours)) + ours
    return head + AESGCM(key).encrypt(nonce, content + b"\2", None)


def check_keys(p256dh: str, auth: str) -> None:
    """Check that the keys of a browser can encrypt a message; raise ValueError if not."""
    if len(decode(auth)) != 16:
        raise ValueError("auth must have 16 bytes")
    seal(b"", p256dh, auth)


def prove(private: str, endpoint: str, contact: str, now: datetime) -> str:
    """Return the header `Authorization` of a message to an endpoint."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    key, parts = read_key(private), urlsplit(endpoint)
    claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": int((now + _LASTS).timestamp())}
    claims |= {"sub": contact} if contact else {}
    parts_of_token = ({"typ": "JWT", "alg": "ES256"}, claims)
    signed = ".".join(encode(json.dumps(part).encode()) for part in parts_of_token)
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    token = f"{signed}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
    return f"vapid t={token}, k={encode(_encode_public(key))}"


def make_key() -> str:
    """Return a new private key as text."""
    from cryptography.hazmat.primitives.asymmetric import ec

    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return encode(number.to_bytes(32, "big"))


def find_key(state: Path, fixed: str = "") -> str:
    """Return the private key of this service; empty if there is none or this account may not read it."""
    if fixed:
        return fixed
    path = state / KEY_FILE
    return path.read_text(encoding="ascii").strip() if os.access(path, os.R_OK) else ""


def find_public_key(private: str) -> str:
    """Return the public key by which browsers identify this service.

    >>> len(decode(find_public_key(make_key())))
    65
    """
    return encode(_encode_public(read_key(private)))


def read_key(private: str) -> Any:
    """Parse a private key; raise ConfigError if it is invalid."""
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        number = decode(private)
        if len(number) != 32:
            raise ValueError
        return ec.derive_private_key(int.from_bytes(number, "big"), ec.SECP256R1())
    except ValueError:
        raise ConfigError("the key of push messages is invalid; create one: slopeward notify push keys") from None


def _encode_public(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    found: bytes = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return found


def _derive(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


def save_key(state: Path) -> bool:
    """Create the key of this service if there is none, and return whether it was created."""
    path = state / KEY_FILE
    if path.exists():
        return False
    state.mkdir(parents=True, exist_ok=True)
    write_private(path, make_key() + "\n")
    return True
