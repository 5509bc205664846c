"""Store and load trained models: which checkpoint a task of a site uses, and every change of its state."""

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

# Number of characters of a hash in the name of a checkpoint.
SHORT_HASH_LENGTH = 12
_REPLACED: Final = Template("model.replaced", "replaced by {model}")


def needs_torch(kind: str) -> bool:
    """Return whether a forecaster or a detector is a network."""
    return is_network(kind) or is_autoencoder(kind)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A registered checkpoint.

    Attributes:
        model_hash: SHA-256 of the checkpoint.
        kind: Name of the model, such as gru, lstm-ae or unet.
        task: forecast, anomaly or scene.
        site: Id of the site; None for a model of all sites.
        state: candidate, active or retired.
        path: File of the checkpoint.
        card: Model card, JSON-ready.
        reason: Why it has its state.
    """

    model_hash: str
    kind: str
    task: str
    site: str | None
    state: str
    path: str
    card: Mapping[str, Any]
    created_at: datetime
    reason: str | None = None

    @property
    def name(self) -> str:
        """The name in texts, such as `gru 3fa1b2c4d5e6`."""
        return f"{self.kind} {self.model_hash[:SHORT_HASH_LENGTH]}"

    @property
    def series(self) -> frozenset[str]:
        """`station.quantity` of the series that trained a forecaster; empty if its card does not list them."""
        return frozenset(self.card.get("config", {}).get("stations", ()))

    def has_same_use(self, other: "ModelRow") -> bool:
        """Return whether both forecast a common series with the same network. Then the newer one replaces the other."""
        is_for_other_series = self.series and other.series and self.series.isdisjoint(other.series)
        return self.kind == other.kind and self.model_hash != other.model_hash and not is_for_other_series


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
    """Register a checkpoint.

    A network that was trained for the scenes of a site is a candidate until a person takes it into use, or the site
    file names its path. Any other checkpoint is active at once and retires its predecessor of the same kind, task and
    site. The predecessor of a forecaster is retired later, when the new one has issued a forecast.

    Returns:
        False if the same checkpoint was registered before. Then nothing is changed.
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
    """Change the state of a checkpoint. Return False if its state was changed by somebody else meanwhile."""
    values: dict[str, Any] = {"state": state, **message_columns("reason", reason)}
    values |= {"active": {"promoted_at": now}, "retired": {"retired_at": now}}.get(state, {})
    result = c.execute(
        update(model).where(model.c.model_hash == row.model_hash, model.c.state == row.state).values(**values)
    )
    if result.rowcount != 1:
        return False
    _record(c, row, (row.state, state), reason, actor, now)
    return True


def find_active(c: Connection, *, task: str, kind: str, site: str | None) -> ModelRow | None:
    """Return the active checkpoint, or None; of several forecasters the newest."""
    m = model.c
    is_active = (m.task == task, m.kind == kind, m.site.is_not_distinct_from(site), m.state == "active")
    return find_record(c, ModelRow, select(model).where(*is_active).order_by(m.created_at.desc()))


def find_model(c: Connection, start: str) -> ModelRow:
    """Return the checkpoint whose hash starts with a text.

    Raises:
        NotFoundError: There is no such checkpoint.
        RefusedError: There are several.
    """
    has_start = model.c.model_hash.startswith(start.strip().lower(), autoescape=True)
    rows = load_records(c, ModelRow, select(model).where(has_start).limit(2))
    if not rows or not start.strip():
        raise NotFoundError(f"no model {start!r}; see: slopeward forecast models")
    if len(rows) > 1:
        raise RefusedError(f"{start!r} is the beginning of several hashes; give more of it")
    return rows[0]


def load_models(
    c: Connection, *, task: str | None = None, site: str | None = None, kinds: Iterable[str] | None = None
) -> list[ModelRow]:
    """Load registered checkpoints, newest first."""
    m = model.c
    query = select(model).where(*match_given(m.task, task), *match_given(m.site, site), *match_given(m.kind, kinds))
    return load_records(c, ModelRow, query.order_by(m.created_at.desc(), m.model_hash))


def load_explanations(c: Connection, site: str) -> list[ModelRow]:
    """Load the forecasters of a site that are not retired and whose card has an explanation, newest first."""
    query = select(model).where(model.c.task == "forecast", model.c.site == site, model.c.state != "retired")
    rows = load_records(c, ModelRow, query.order_by(model.c.created_at.desc(), model.c.model_hash))
    return [row for row in rows if isinstance(row.card.get("explanation"), Mapping)]


def load_transitions(c: Connection, model_hash: str) -> list[Transition]:
    """Load the changes of the state of a checkpoint, oldest first."""
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
