"""Which level each station asks for by itself: at this moment by the memory of the site, before by frozen decisions."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from monitor.domain.alert import Ledger
from monitor.domain.decision import Memory
from monitor.domain.instants import epoch_s
from monitor.domain.keys import VoteKey
from monitor.store.alerting.decisions import find_state
from monitor.store.schema import tables as t


def find_asks(c: Connection, site: str, top: int, now: datetime) -> dict[str, int]:
    """The highest level that each station asks for by itself, by votes that have not aged."""
    state = find_state(c, site)
    return {} if state is None else _read_votes(state.state, top, now)


def find_asks_at(c: Connection, site: str, top: int, at: datetime) -> dict[str, int]:
    """The same at an earlier instant, by the votes that stood after the newest hazard alert raised until then.

    Votes that came later and raised no alert are not kept, and so are not shown.
    """
    a, d = t.alert.c, t.decision.c
    frozen = c.execute(
        select(d.evidence)
        .join(t.alert, a.decision_id == d.id)
        .where(a.site == site, a.ledger == Ledger.HAZARD, ~a.exercise, a.raised_at <= at)
        .order_by(a.raised_at.desc(), a.id.desc())
        .limit(1)
    ).scalar()
    if frozen is None:
        return {}
    memory = ((json.loads(frozen).get("outcome") or {}).get("memory")) or {}
    return _read_votes(memory, top, at) if memory.get("votes") else {}


def _read_votes(memory: Mapping[str, Any], top: int, now: datetime) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, vote in Memory.read(memory).votes.items():
        if vote.level > 0 and vote.valid_until_s >= epoch_s(now):
            station = VoteKey.read(key).station
            found[station] = max(min(vote.level, top), found.get(station, 0))
    return found
