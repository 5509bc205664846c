"""Decide again from frozen inputs and the stored configuration, and say where the outcome differs, bit for bit."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.alerting.decide import decide
from monitor.alerting.orders import order_level
from monitor.config import parse_site
from monitor.domain.decision import Memory, View, seconds
from monitor.domain.instants import parse
from monitor.store.decisions import DecisionRow
from monitor.store.types import canonical_json


@dataclass(frozen=True, slots=True)
class Recomputation:
    """What deciding again gave; `differences` is empty where everything is equal."""

    differences: tuple[str, ...]
    frozen: Mapping[str, Any]


def recompute(row: DecisionRow, source: str) -> Recomputation:
    """Decide again.

    Args:
        row: the frozen decision.
        source: text of the site file whose hash the decision names.
    """
    frozen = json.loads(row.evidence)
    found = []
    if hashlib.sha256(row.evidence.encode()).hexdigest() != row.evidence_sha256:
        found.append("the frozen inputs were altered: their SHA-256 differs")
    if "view" not in frozen:
        return Recomputation((*found, *_recompute_act(frozen)), frozen)
    if hashlib.sha256(source.encode()).hexdigest() != row.config_sha256:
        found.append("the site file is not the one the decision names")
    site = parse_site(source, f"site file {row.config_sha256[:12]}")
    decision = decide(site, Memory.read(frozen["memory"]), View.read(frozen["view"]), parse(frozen["now"]))
    again = json.loads(canonical_json(decision.spell()))
    found += _differences("outcome", frozen["outcome"], again)
    return Recomputation(tuple(found), frozen)


def _recompute_act(frozen: Mapping[str, Any]) -> list[str]:
    """What a person set must follow from the memory of before; an alarm of the service has nothing to compute."""
    if frozen.get("act") != "level.set":
        return []
    after = order_level(Memory.read(frozen["memory"]), frozen["after"]["level"], seconds(parse(frozen["now"])))
    return _differences("after", frozen["after"], json.loads(canonical_json(after.spell())))


def _differences(where: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            found += _differences(f"{where}.{key}", old.get(key), new.get(key))
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [d for i, (a, b) in enumerate(zip(old, new, strict=True)) for d in _differences(f"{where}[{i}]", a, b)]
    return [] if old == new and type(old) is type(new) else [f"{where}: was {old!r}, is {new!r}"]
