"""Canonical JSON, digests and the version of the code, for values that are stored, hashed and compared later."""

import json
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from monitor.text.message import messages_to_plain


class CanonicalText(str):
    """Canonical JSON that was already serialised. A JSON column stores it unchanged."""

    __slots__ = ()


def canonical_json(value: Any) -> str:
    """Serialise a value as canonical JSON: sorted keys, no spaces, and messages as their id and values.

    Raises:
        ValueError: The value contains NaN or infinity.

    >>> canonical_json({"b": 1.5, "a": [True, None]})
    '{"a":[true,null],"b":1.5}'
    """
    return json.dumps(
        messages_to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_text(text: str) -> str:
    """Return the SHA-256 digest of a text in hexadecimal digits."""
    return sha256(text.encode()).hexdigest()


@cache
def code_version() -> str:
    """Return the version of the installed distribution."""
    try:
        return version("slopeward")
    except PackageNotFoundError:
        return "0+unknown"
