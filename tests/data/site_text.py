"""Parts of site files: head, stations and series, for tests that add criteria of their own."""

import json
from datetime import date
from typing import Any, Final

THREE: Final = {"names": ["green", "yellow", "red"]}
FOUR: Final = {"names": ["green", "yellow", "orange", "red"], "auto_lower": ["yellow"]}


def head(site: str, name: str = "", latitude: float = 46.0, longitude: float = 8.0, **more: Any) -> str:
    """`[site]`; a table of `more` (`levels={...}`) follows it."""
    tables = {key: table for key, table in more.items() if isinstance(table, dict)}
    facts = {"id": site, "name": name or site.capitalize(), "latitude": latitude, "longitude": longitude} | more
    return _spell("[site]", {k: v for k, v in facts.items() if k not in tables}) + "".join(
        _spell(f"[{key}]", table) for key, table in tables.items()
    )


def station(name: str, *series: str, **facts: Any) -> str:
    """`[[station]]` with its series."""
    return _spell("[[station]]", {"id": name} | facts) + "".join(series)


def series(quantity: str, unit: str, interval: str = "1h", **facts: Any) -> str:
    """`[[station.series]]`."""
    return _spell("[[station.series]]", {"quantity": quantity, "unit": unit, "interval": interval} | facts)


def criterion(kind: str, /, **facts: Any) -> str:
    """`[[criterion]]`; bounds are dicts: `yellow={"over": 6.0, "window": "1d"}`."""
    return _spell("[[criterion]]", {"kind": kind} | facts)


def bounds(**levels: str) -> dict[str, dict[str, Any]]:
    """Bounds of a criterion, each a value and its window: `bounds(yellow="6 1d", red="80 8h")`."""
    parts = {level: text.split() for level, text in levels.items()}
    return {level: {"over": float(over), "window": window} for level, (over, window) in parts.items()}


def table(heading: str, /, **facts: Any) -> str:
    """Any other table: `table("[fusion]", top_needs=1)`."""
    return _spell(heading, facts)


def along(name: str, interval: str, max_silence: str, **facts: Any) -> str:
    """`[[station]]` that measures its displacement along a horizontal line to the east."""
    moved = series("displacement", "mm", interval, max_silence=max_silence)
    return station(name, moved, azimuth_deg=90.0, plunge_deg=0.0, **facts)


def _spell(heading: str, facts: dict[str, Any]) -> str:
    return f"{heading}\n" + "".join(f"{key} = {_write(value)}\n" for key, value in facts.items())


def _write(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_write(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_write, value))}]"
    return value.isoformat() if isinstance(value, date) else json.dumps(value, ensure_ascii=False)
