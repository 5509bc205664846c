"""What people do to forecasters: show one where its gate is open, or by two where it is not; retire one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from forecasting.data.kinds import format_span
from forecasting.serving.promotion import check_shadow, check_shown
from monitor.api.database import Actor
from monitor.api.errors import NeedsSecondError, NotFoundError, RefusedError
from monitor.api.queries.models import GateRow, ModelRow, change_gate, change_state, find_model, load_gates
from monitor.api.queries.people import require_reason, require_two
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import IN_SHADOW, Template, convert_reason
from monitor.features.forecasts.model_alarms import alarm_degraded
from monitor.features.forecasts.promotion import ModelStatus, age_s, displace, enter_shadow, load_standings, retire

_SHOWN: Final = Template("model.shown", "shown by {names}: {reason}")
_SHOWN_AGAINST: Final = Template("model.shown_against", "shown against its gate by {names}: {reason}")


@dataclass(frozen=True, slots=True)
class PromotionOrder:
    """Who lets a checkpoint be shown, when and why.

    With `force` also where the gate is closed, which takes two people, but never against its own record: what lost to
    the simple forecast or did not cover over 10 scored issue times is shown by nobody.
    """

    actor: Actor
    reason: str
    now: datetime
    second: Actor | None = None
    force: bool = False

    @property
    def people(self) -> str:
        """Their names."""
        return self.actor.name + (f" with {self.second.name}" if self.second else "")


def promote(
    c: Connection, config: ServiceConfig, site: Site, start: str, horizon_s: float | None, order: PromotionOrder
) -> list[str]:
    """Let a checkpoint be shown; returns one sentence per horizon.

    Args:
        start: beginning of its hash.
        horizon_s: one horizon, s; None: every one whose gate is open.

    Raises:
        NotFoundError: no such checkpoint.
        RefusedError: the gate is closed, or who asks may not.
        NeedsSecondError: `force` by one person.
    """
    row, now, force = _find_own(c, site, start), order.now, order.force
    require_reason(c, order.actor, order.reason)
    if force:
        if order.second is None:
            raise NeedsSecondError("two people are needed to show a forecaster against its gate; name a second one")
        require_two(c, order.actor, order.second, now)
    if row.state == "retired":
        raise RefusedError(f"{row.name} is retired; train a new one")
    if row.state == "candidate":
        if not force:
            raise RefusedError(f"{row.name} is a candidate: no forecast of it is stored yet, no gate is open")
        enter_shadow(c, row, IN_SHADOW(text=order.reason), now, order.actor)
    standings = load_standings(c, site, now)
    mine = next((s for s in standings if s.row.model_hash == row.model_hash), None)
    if mine is None:
        raise RefusedError(f"{site.id} does not ask for {row.kind}; add it to forecast.models")
    wanted = [horizon_s] if horizon_s is not None else list(mine.gates)
    verdicts = {h: _may(mine, h, config, now, force=force) for h in wanted}
    refused = [f"{format_span(h)}: {why}" for h, (may, why) in verdicts.items() if not may]
    if not verdicts:
        raise RefusedError(f"{row.name} was trained for no horizon")
    if len(refused) == len(verdicts):
        raise RefusedError(f"{row.name} is not promoted: {'; '.join(refused)}")
    may_be = [h for h, (may, _) in verdicts.items() if may]
    lines = _show(c, mine, may_be, standings, order)
    for shown_s, gate in load_gates(c, [row.model_hash])[row.model_hash].items():
        if shown_s in may_be:
            alarm_degraded(c, site, row, gate, now, degraded=False)
    return [*lines, *(f"not at {line}" for line in refused)]


def retire_model(c: Connection, site: Site, start: str, actor: Actor, reason: str, now: datetime) -> tuple[str, bool]:
    """Let a checkpoint go for good; returns a sentence and whether it was shown: then issue again at once."""
    row = _find_own(c, site, start)
    require_reason(c, actor, reason)
    gates = load_gates(c, [row.model_hash]).get(row.model_hash, {})
    if not retire(c, site, row, reason, actor, now):
        raise RefusedError(f"{row.name} is retired already")
    shown = row.state == "active" and any(g.state == "active" for g in gates.values())
    return f"{row.name} is retired", shown


def _find_own(c: Connection, site: Site, start: str) -> ModelRow:
    row = find_model(c, start)
    if row.task != "forecast" or row.site != site.id:
        raise NotFoundError(f"{row.name} is no forecaster of {site.id}")
    return row


def _may(
    standing: ModelStatus, horizon_s: float, config: ServiceConfig, now: datetime, *, force: bool
) -> tuple[bool, str]:
    gate = standing.gates.get(horizon_s)
    if gate is None:
        known = ", ".join(format_span(h) for h in standing.gates) or "none"
        return False, f"it was not trained for that horizon; it knows {known}"
    if gate.state == "active":
        return False, "it is shown already"
    if not standing.weight(horizon_s):
        return False, "its training found nothing that it adds to the simple forecast: there is no blend to show"
    rows = standing.scored[horizon_s]
    verdict = check_shadow(
        horizon_s,
        standing.calibration(horizon_s),
        rows,
        shadow_s=age_s(gate, now),
        latency_limit_ms=config.compute.job_limit_s * 500.0,
    )
    if verdict.state == "active":
        return True, convert_reason(verdict.reason)
    if force:
        against = check_shown(horizon_s, rows)
        if against.state == "active":
            return True, convert_reason(verdict.reason)
        return (
            False,
            f"its own record is against it; not even two people may show it then: {convert_reason(against.reason)}",
        )
    return False, f"its gate is closed, {convert_reason(verdict.reason)}"


def _show(
    c: Connection,
    standing: ModelStatus,
    horizons_s: Sequence[float],
    standings: Sequence[ModelStatus],
    order: PromotionOrder,
) -> list[str]:
    lines = []
    row, actor, second, now = standing.row, order.actor, order.second, order.now
    for horizon_s in horizons_s:
        gate = standing.gates[horizon_s]
        text = (_SHOWN_AGAINST if order.force else _SHOWN)(names=order.people, reason=order.reason)
        after: GateRow = replace(gate, state="active", reason=text, since=now)
        if change_gate(c, row, gate, after, actor, now, second=second):
            lines.append(f"{row.name} is shown at {format_span(horizon_s)}")
            lines += displace(c, row, horizon_s, standings, now)
    if row.state != "active":
        text = _SHOWN(names=order.people, reason=order.reason)
        change_state(c, find_model(c, row.model_hash), "active", text, actor, now, second=second)
    return lines
