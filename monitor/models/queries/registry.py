"""The registry of trained models: what serves which task of which site, and every change of its state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, update

from detection.anomaly.registry import is_network as is_autoencoder
from forecasting.registry import is_network
from monitor.errors import NotFoundError, RefusedError
from monitor.models.tables import model, model_transition
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import add_if_absent
from monitor.storage.rows import add_row, find_record, load_records, match_given
from monitor.text.message import Template, message_columns

SHORT_HASH_LENGTH = 12  # characters of a hash by which people name a checkpoint
_REPLACED: Final = Template("model.replaced", "replaced by {model}")


def needs_torch(kind: str) -> bool:
    """Whether a forecaster or a detector is a network."""
    return is_network(kind) or is_autoencoder(kind)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A checkpoint on disk (`path`) with its card; `state` is candidate, active or retired."""

    model_hash: str
    kind: str  # gru, lstm-ae, unet, ...
    task: str  # forecast, anomaly, scene
    site: str | None
    state: str
    path: str
    card: Mapping[str, Any]
    created_at: datetime
    reason: str | None = None

    @property
    def name(self) -> str:
        """As people call it: `gru 3fa1b2c4d5e6`."""
        return f"{self.kind} {self.model_hash[:SHORT_HASH_LENGTH]}"

    @property
    def series(self) -> frozenset[str]:
        """`station.quantity` of what a forecaster was trained on; empty where its card does not say."""
        return frozenset(self.card.get("config", {}).get("stations", ()))

    def rivals(self, other: "ModelRow") -> bool:
        """Whether both forecast a series with the same network: then the newer one replaces the other."""
        apart = self.series and other.series and self.series.isdisjoint(other.series)
        return self.kind == other.kind and self.model_hash != other.model_hash and not apart


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of the state of a checkpoint."""

    model_hash: str
    kind: str
    task: str
    site: str | None
    at: datetime
    from_state: str | None
    to_state: str
    reason: str
    by: str
    by_kind: str


def add_model(
    c: Connection,
    model_hash: str,
    *,
    kind: str,
    task: str,
    site: str | None,
    path: str,
    card: Mapping[str, Any],
    now: datetime,
    reason: str,
    actor: Actor = SERVICE_ACTOR,
) -> bool:
    """Register a checkpoint. It is active at once, except a network learnt for the scenes of a site.

    Such a network is a candidate: it serves when a person takes it into use, or the site file names its path. What is
    active retires its predecessor of the same kind, task and site, except a forecaster: its predecessor is retired when
    the new one has issued a forecast. Returns False when the same checkpoint was registered before (nothing is
    changed).
    """
    state = "candidate" if task == "scene" and site is not None else "active"
    facts = {"model_hash": model_hash, "kind": kind, "task": task, "site": site, "state": state, "path": path}
    instants = {"created_at": now, "promoted_at": now if state == "active" else None}
    if not add_if_absent(c, model, facts | instants | {"card": dict(card), "reason": reason}):
        return False
    new = find_model(c, model_hash)
    _record(c, new, (None, state), reason, actor, now)
    if state == "active" and task != "forecast":
        for row in load_models(c, task=task, site=site, kinds=(kind,)):
            if row.site == site:
                retire_replaced(c, row, new, actor, now)
    return True


def retire_replaced(c: Connection, row: ModelRow, newer: ModelRow, actor: Actor, now: datetime) -> None:
    """Retire an active checkpoint because a newer one takes its place."""
    if row.state == "active" and row.model_hash != newer.model_hash:
        change_state(c, row, "retired", _REPLACED(model=newer.model_hash[:SHORT_HASH_LENGTH]), actor, now)


def change_state(c: Connection, row: ModelRow, state: str, reason: str, actor: Actor, now: datetime) -> bool:
    """Move a checkpoint to another state; False when somebody else moved it first."""
    moved: dict[str, Any] = {"state": state, **message_columns("reason", reason)}
    moved |= {"active": {"promoted_at": now}, "retired": {"retired_at": now}}.get(state, {})
    done = c.execute(
        update(model).where(model.c.model_hash == row.model_hash, model.c.state == row.state).values(**moved)
    )
    if done.rowcount != 1:
        return False
    _record(c, row, (row.state, state), reason, actor, now)
    return True


def find_active(c: Connection, *, task: str, kind: str, site: str | None) -> ModelRow | None:
    """The checkpoint that serves, or None; of several forecasters the newest."""
    m = model.c
    which = (m.task == task, m.kind == kind, m.site.is_not_distinct_from(site), m.state == "active")
    return find_record(c, ModelRow, select(model).where(*which).order_by(m.created_at.desc()))


def find_model(c: Connection, start: str) -> ModelRow:
    """The checkpoint whose hash begins so.

    Raises:
        NotFoundError: there is none.
        RefusedError: there are several.
    """
    begins = model.c.model_hash.startswith(start.strip().lower(), autoescape=True)
    rows = load_records(c, ModelRow, select(model).where(begins).limit(2))
    if not rows or not start.strip():
        raise NotFoundError(f"no model {start!r}; see: slopeward forecast models")
    if len(rows) > 1:
        raise RefusedError(f"{start!r} is the beginning of several hashes; give more of it")
    return rows[0]


def load_models(
    c: Connection, *, task: str | None = None, site: str | None = None, kinds: Iterable[str] | None = None
) -> list[ModelRow]:
    """All registered checkpoints, newest first."""
    m = model.c
    query = select(model).where(*match_given(m.task, task), *match_given(m.site, site), *match_given(m.kind, kinds))
    return load_records(c, ModelRow, query.order_by(m.created_at.desc(), m.model_hash))


def load_explanations(c: Connection, site: str) -> list[ModelRow]:
    """Forecasters of a site that are not retired and whose card says what they use, newest first."""
    query = select(model).where(model.c.task == "forecast", model.c.site == site, model.c.state != "retired")
    rows = load_records(c, ModelRow, query.order_by(model.c.created_at.desc(), model.c.model_hash))
    return [row for row in rows if isinstance(row.card.get("explanation"), Mapping)]


def load_transitions(c: Connection, model_hash: str) -> list[Transition]:
    """What became of a checkpoint, oldest first."""
    t = model_transition
    return load_records(c, Transition, select(t).where(t.c.model_hash == model_hash).order_by(t.c.id))


def _record(
    c: Connection,
    row: ModelRow,
    states: tuple[str | None, str],
    reason: str,
    actor: Actor,
    now: datetime,
) -> None:
    before, after = states
    facts = {"task": row.task, "site": row.site, "reason": reason}
    change = {"model_hash": row.model_hash, "kind": row.kind, "at": now, "by": actor.name, "by_kind": actor.kind}
    add_row(c, model_transition, facts, change, from_state=before, to_state=after)
    detail = facts | {"model": row.kind, "from": before, "to": after}
    add_audit(c, actor, f"model.{after}", f"model:{row.model_hash[:SHORT_HASH_LENGTH]}", detail, now)
