"""Signatures of published MQTT messages, with which a siren distinguishes forged messages from those of the service."""

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from forecasting.whole_file import write_private
from monitor.errors import ConfigError, NotFoundError, RefusedError

KEYS_FILE: Final = "signing.keys"  # in `paths.state`
SEPARATOR: Final = ',"signatures":'
_LINE: Final = re.compile(r"([A-Za-z0-9._-]{1,64})[: ]([0-9a-f]{32,128})")


class SigningKey(NamedTuple):
    """Secret that the service shares with receivers of its messages. They choose the key by its id."""

    id: str
    secret: bytes


class Keyring:
    """Keys with which messages are signed, oldest first. A changed file is read at the next use.

    Args:
        path: File with the keys. It is created with a first key if it does not exist.
        fixed: Keys of the environment, which are used instead of the file.
    """

    def __init__(self, path: Path, fixed: str = "") -> None:
        self.path = path
        self._fixed = parse_keys(fixed, "SLOPEWARD_SIGNING__KEYS") if fixed else ()
        self._file_version: tuple[int, int] | None = None  # modification time and inode of the file that was read
        self._keys: tuple[SigningKey, ...] = ()

    def keys(self) -> tuple[SigningKey, ...]:
        """Return the current keys.

        Raises:
            ConfigError: The file does not contain keys.
            OSError: The file can neither be read nor created.
        """
        if self._fixed:
            return self._fixed
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._save((make_key(),))
            status = self.path.stat()
        file_version = (status.st_mtime_ns, status.st_ino)
        if self._file_version != file_version:
            self._keys = parse_keys(self.path.read_text(encoding="ascii"), str(self.path))
            self._file_version = file_version
        return self._keys

    def readable_keys(self) -> tuple[SigningKey, ...]:
        """Return the current keys. Without a file that this account can read, return none and create no first key."""
        return self.keys() if self._fixed or os.access(self.path, os.R_OK) else ()

    def add(self) -> SigningKey:
        """Add a key and return it. Messages get its signature in addition to the others."""
        key = make_key()
        self._save((*self._changeable_keys(), key))
        return key

    def retire(self, key_id: str) -> None:
        """Delete a key. A receiver without another key rejects messages of the service from then on.

        Raises:
            NotFoundError: There is no such key.
            RefusedError: It is the only key, or the keys come from the environment.
        """
        keys = self._changeable_keys()
        if key_id not in {key.id for key in keys}:
            raise NotFoundError(f"no key {key_id!r}; there are: {', '.join(key.id for key in keys)}")
        if len(keys) == 1:
            raise RefusedError(f"{key_id} is the only key; add another one first: slopeward broker key-add")
        self._save(tuple(key for key in keys if key.id != key_id))

    def _changeable_keys(self) -> tuple[SigningKey, ...]:
        if self._fixed:
            raise RefusedError("the keys come from SLOPEWARD_SIGNING__KEYS or keys_file; change them there")
        return self.keys()

    def _save(self, keys: Sequence[SigningKey]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_private(self.path, "\n".join(f"{key.id} {key.secret.hex()}" for key in keys) + "\n")


def make_key() -> SigningKey:
    """Return a new key with a random id."""
    return SigningKey(f"k{secrets.token_hex(3)}", secrets.token_bytes(32))


def parse_keys(text: str, name: str) -> tuple[SigningKey, ...]:
    """Return keys from lines or a comma-separated list.

    Args:
        text: Keys as `ID:SECRET` or `ID SECRET`, with the secret in hexadecimal digits.
        name: Name of the source for messages.

    >>> parse_keys("a:00112233445566778899aabbccddeeff", "x")[0].id
    'a'
    """
    keys = []
    for line in filter(None, (part.strip() for part in re.split(r"[\n,]", text))):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{name}: expected lines of a key id and at least 32 hexadecimal digits")
        keys.append(SigningKey(match[1], bytes.fromhex(match[2])))
    if not keys:
        raise ConfigError(f"{name}: expected at least one key")
    return tuple(keys)


def sign(topic: str, content: str, keys: Sequence[SigningKey], signed_at: datetime) -> str:
    """Return a JSON object with `signed_at` and, as its last member, a signature by each key.

    Signed are the topic, a line feed, and the bytes of the object without its last member, so that a receiver need not
    serialise the object again. Without keys the object is returned unchanged.

    Args:
        topic: Topic of the message.
        content: JSON object.
        keys: Keys.
        signed_at: Time of the signature.
    """
    if not keys:
        return content
    body = f'{content[:-1]},"signed_at":"{signed_at:%Y-%m-%dT%H:%M:%S.%fZ}"'
    signatures = {key.id: _digest(key, topic, f"{body}}}".encode()) for key in keys}
    return f"{body}{SEPARATOR}{json.dumps(signatures, separators=(',', ':'))}}}"


def is_signed(topic: str, payload: bytes, keys: Sequence[SigningKey]) -> bool:
    """Return whether a message has a valid signature by one of the keys."""
    body, mark, tail = payload.rpartition(SEPARATOR.encode())
    try:
        signatures = json.loads(tail[:-1])
    except ValueError:
        return False
    if not mark or not isinstance(signatures, Mapping):
        return False
    return any(
        hmac.compare_digest(_digest(key, topic, body + b"}").encode(), str(signatures.get(key.id, "")).encode())
        for key in keys
    )


def _digest(key: SigningKey, topic: str, signed: bytes) -> str:
    return hmac.new(key.secret, topic.encode() + b"\n" + signed, hashlib.sha256).hexdigest()
