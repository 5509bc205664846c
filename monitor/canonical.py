"""One spelling of facts and of this program's version: what is frozen, hashed and compared later must agree."""

import json
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from monitor.text.message import messages_to_plain


class CanonicalText(str):
    """Canonical JSON; where a value is expected that will be spelled, it stands for what it spells."""

    __slots__ = ()


def canonical_json(value: Any) -> str:
    """Spell a value as canonical JSON, its messages with id and values; raises ValueError for NaN and infinity.

    >>> canonical_json({"b": 1.5, "a": [True, None]})
    '{"a":[true,null],"b":1.5}'
    """
    return json.dumps(
        messages_to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_text(text: str) -> str:
    """SHA-256 of a text, in hexadecimal digits."""
    return sha256(text.encode()).hexdigest()


@cache
def code_version() -> str:
    """Version of the installed code."""
    try:
        return version("slopeward")
    except PackageNotFoundError:
        return "0+unknown"
