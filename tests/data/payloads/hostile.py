"""Damage payloads at random, as a broken or hostile device might. Equal seeds give equal payloads."""

import json
import random
from typing import Any

HUGE = 1 << 20
WORDS = ["", "x", "NaN", "2026-03-01T06:00:00", "\u0000", "\ud800", "9" * 400, "1e999", "-0"]
FIGURES = [-1, 0, 1e308, -1e308, 10**400, 1e-320, float("nan"), float("inf")]
SCALARS: list[Any] = [None, True, *WORDS, *FIGURES, [], {}, [[]], {"": {}}, [None] * 50]
NUMBERS = (b"9" * 400, b"-1e999", b"NaN", b"0x10", b"1e308", b"", b"-", b"1_0", b"\xd9\xa3", b"1,5")


def damage(rng: random.Random, payload: bytes) -> bytes:
    """Return a payload damaged by one to three of `DAMAGES`."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        payload = rng.choice(DAMAGES)(rng, payload)
    return payload


def _cut(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def _flip(rng: random.Random, raw: bytes) -> bytes:
    out = bytearray(raw)
    for _ in range(rng.randint(1, 8) if out else 0):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def _insert(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return (
        raw[:at]
        + rng.choice((b"\xff\xfe", b"\x00", b"\xc3", rng.randbytes(rng.randint(1, 40)), raw[at : at + 40]))
        + raw[at:]
    )


def _remove(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + raw[at + rng.randint(1, 30) :]


def _number(rng: random.Random, raw: bytes) -> bytes:
    """Replace a digit and the digits after it by another number."""
    places = [k for k, byte in enumerate(raw) if 48 <= byte <= 57]
    if not places:
        return raw
    first = last = rng.choice(places)
    while last + 1 < len(raw) and (48 <= raw[last + 1] <= 57 or raw[last + 1] == 46):
        last += 1
    return raw[:first] + rng.choice(NUMBERS) + raw[last + 1 :]


def _deepen(rng: random.Random, raw: bytes) -> bytes:
    depth = rng.choice((17, 500, 5_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opening * depth + raw + closing * depth


def _swell(rng: random.Random, raw: bytes) -> bytes:
    """Repeat the payload; in one of ten cases up to a megabyte."""
    if rng.random() < 0.9 or not raw:
        return raw * rng.randint(2, 5)
    return (raw * (HUGE // len(raw) + 1))[: HUGE + rng.randint(-5, 5)]


def _find_places(body: Any) -> list[tuple[Any, Any]]:
    """Return all pairs of a JSON node and one of its keys.

    There is no recursion, because Python 3.12 and later parse JSON that is deeper than the recursion limit.
    """
    places: list[tuple[Any, Any]] = []
    waiting = [body]
    while waiting:
        node = waiting.pop()
        places += ((node, key) for key in (node if isinstance(node, dict) else range(len(node))))
        waiting += (one for one in (node.values() if isinstance(node, dict) else node) if isinstance(one, dict | list))
    return places


def _retype(rng: random.Random, raw: bytes) -> bytes:
    """Change, remove, repeat or rename one value of a JSON payload."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return _flip(rng, raw)
    if not isinstance(body, dict | list) or not body:
        return json.dumps(rng.choice(SCALARS)).encode()
    node, key = rng.choice(_find_places(body))
    match rng.randrange(4):
        case 0 if isinstance(node, dict):
            del node[key]
        case 1 if isinstance(node, list):
            node.extend([node[key]] * rng.choice((1, 20)))
        case 2 if isinstance(node, dict):
            node[str(rng.choice(SCALARS))[:50]] = node.pop(key)
        case _:
            node[key] = rng.choice(SCALARS)
    try:
        return json.dumps(body).encode("utf-8", "surrogatepass")
    except RecursionError:
        # The possible depth depends on the version of Python.
        return _flip(rng, raw)


DAMAGES = (_cut, _flip, _insert, _remove, _number, _number, _deepen, _swell, _retype, _retype, _retype)
