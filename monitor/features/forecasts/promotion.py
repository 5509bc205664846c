"""Moves forecasters between candidate, shadow, active and retired by what their stored forecasts were worth."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from forecasting.data.kinds import format_span
from forecasting.data.series import horizon_key
from forecasting.registry import is_network, name_blend
from forecasting.serving import promotion
from forecasting.serving.gate import weight_of
from forecasting.serving.promotion import SHADOW_S
from monitor.api.database import SERVICE_ACTOR, Actor, Database
from monitor.api.queries.models import MAXIMUM_AGE, list_horizons, registry
from monitor.api.queries.readings import load_series
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import (
    IN_SHADOW,
    Figure,
    Message,
    Template,
    Timestamp,
    convert_reason,
    epoch_s,
    from_epoch_s,
    join,
)
from monitor.features.forecasts.model_alarms import alarm_coverage, alarm_degraded
from monitor.features.forecasts.queries.scores import load_scored

_RETIRED: Final = Template("model.retired", "retired: {text}")
_NEVER_ISSUED: Final = Template("model.never_issued", "it never issued a forecast")()
_HAD_ITS_TIME: Final = Template("model.had_its_time", "it had its time in the shadow and is shown nowhere")()
_NEWER: Final = Template("model.newer", "a newer candidate is there")()
_ENOUGH: Final = Template("model.enough", "a newer candidate is there, and {n} challengers of a kind are enough")
_NOT_BETTER: Final = Template(
    "shadow.not_better",
    "its gate is open, but its error {error} at {horizon} is not below {other} of {model} on the same {n} targets",
)
_BETTER: Final = Template("shadow.better", "{model} is better at {horizon} and took its place")
_REPLACED: Final = Template("model.outdone", "{model} took its place at every horizon it was shown")
_NO_HORIZON: Final = Template("shadow.no_horizon", "it has no horizon")()
_UNTIL: Final = Template("shadow.until", "{text}; shown on {at} at the earliest")
_NO_SCORE: Final = Template("shadow.no_score", "no forecast of it has been scored yet")()
_LACK_BETTER: Final = Template("lack.better", "an error below that of the one that is shown")
ALIVE: Final = ("candidate", "shadow", "active")
CANDIDATE: Final = timedelta(days=2)
MOST_CHALLENGERS: Final = 3  # of one kind beside those that are shown; a person who trains more lets the oldest go


@dataclass(frozen=True, slots=True)
class PromotionRefusal:
    """Why a network is not shown, what it lacks, and when it can be shown at the earliest."""

    model: str
    horizon_s: float
    reason: str
    lacking: str | None
    earliest_at: datetime | None


def until(reason: str, earliest_at: datetime) -> Message:
    """A reason not to show a network, with the earliest day on which it can be shown."""
    return _UNTIL(text=reason, at=Timestamp.of(earliest_at, "day"))


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One checkpoint with its gates and its scores at each horizon."""

    row: registry.ModelRow
    gates: Mapping[float, registry.GateRow]
    scored: Mapping[float, Sequence[promotion.Scored]]

    def calibration(self, horizon_s: float) -> Mapping[str, Any]:
        """The verdict of training at a horizon."""
        verdict: Mapping[str, Any] = self.row.card.get("gates", {}).get(horizon_key(horizon_s), {})
        return verdict

    @property
    def horizons_s(self) -> tuple[float, ...]:
        """What it was trained for."""
        return tuple(sorted(float(key) for key in self.row.card.get("gates", {})))

    def weight(self, horizon_s: float) -> float:
        """How much of it its gate takes at a horizon."""
        return weight_of(self.row.card.get("gates", {}), horizon_s)

    def refuse(self, horizon_s: float, site: Site, now: datetime) -> "PromotionRefusal":
        """Why it is not shown at a horizon, as it was judged last; what one waits for that never was."""
        gate = self.gates.get(horizon_s)
        if gate is not None and gate.earliest_at is not None:
            return PromotionRefusal(self.row.kind, horizon_s, gate.reason, gate.lacking, gate.earliest_at)
        earliest_at = self.find_earliest(horizon_s, site, now)
        verdict = promotion.check_shadow(horizon_s, self.calibration(horizon_s), (), shadow_s=0.0, latency_limit_ms=0.0)
        reason = until(IN_SHADOW(text=_NO_SCORE) if gate is None else gate.reason, earliest_at)
        return PromotionRefusal(self.row.kind, horizon_s, reason, _describe_lacking(verdict), earliest_at)

    def find_earliest(self, horizon_s: float, site: Site, now: datetime) -> datetime:
        """When it, or where calibration closed it its successor, can be shown at the earliest."""
        gate, rows = self.gates.get(horizon_s), self.scored.get(horizon_s, ())
        issues, begin = promotion.summarise(rows).issues, now if gate is None else gate.since
        if not self.calibration(horizon_s).get("shown"):
            issues, begin = 0, max(now, self.row.created_at + MAXIMUM_AGE)
        return from_epoch_s(
            promotion.find_earliest_s(
                horizon_s, begin_s=epoch_s(begin), every_s=site.forecast.every_s, issues=issues, now_s=epoch_s(now)
            )
        )

    def is_shown(self) -> bool:
        """Whether it may be shown anywhere."""
        return any(g.state == "active" for g in self.gates.values())

    def is_waiting(self, now: datetime) -> bool:
        """Whether its time in the shadow is not over at a horizon that training left open.

        A candidate that issues nothing for two days waits no more, nor does a horizon not scored long after its time.
        """
        if self.row.state == "candidate":
            return now - self.row.created_at <= CANDIDATE
        return any(
            g.state == "shadow"
            and age_s(g, now) <= h + 2 * SHADOW_S
            and promotion.is_waiting(self.calibration(h), self.scored[h], shadow_s=age_s(g, now))
            for h, g in self.gates.items()
        )


def _describe_lacking(verdict: promotion.Verdict) -> Message | None:
    return None if verdict.lacking is None else convert_reason(verdict.lacking)


def load_standings(c: Connection, site: Site, now: datetime) -> list[ModelStatus]:
    """Every living forecaster that the site asks for, oldest first."""
    kinds = [m for m in site.forecast.models if is_network(m)]
    rows = [r for r in registry.load_models(c, task="forecast", site=site.id, kinds=kinds) if r.state in ALIVE]
    gates = registry.load_gates(c, [r.model_hash for r in rows])
    names = {one.id: one.name for one in load_series(c, site.id)}
    return [
        ModelStatus(
            row,
            gates.get(row.model_hash, {}),
            {
                h: load_scored(
                    c,
                    names,
                    h,
                    now,
                    model=name_blend(row.kind) if weight_of(row.card.get("gates", {}), h) else row.kind,
                    model_hash=row.model_hash,
                    since=g.counts_from,
                )
                for h, g in gates.get(row.model_hash, {}).items()
            },
        )
        for row in reversed(rows)
    ]


def find_refusals(standings: Sequence[ModelStatus], site: Site, now: datetime) -> list[PromotionRefusal]:
    """Of each trained network that is shown nowhere, the horizon at which it can be shown the soonest."""
    found: dict[str, list[PromotionRefusal]] = {}
    shown = {s.row.kind for s in standings if s.is_shown()}
    for one in standings:
        mine = found.setdefault(one.row.kind, [])
        mine += [one.refuse(h, site, now) for h in one.horizons_s]
    return [
        min(every, key=lambda r: (r.earliest_at or now, r.horizon_s))
        for kind, every in found.items()
        if every and kind not in shown
    ]


def assess_models(db: Database, config: ServiceConfig, site: Site, now: datetime) -> tuple[list[str], bool]:
    """Judge every forecaster of a site at every horizon by what is scored by now.

    Returns one sentence per change, and whether something that was shown is not any more: then issue again at once.
    """
    lines: list[str] = []
    fallen = False
    with db.read() as c:
        standings = load_standings(c, site, now)
        shown = {
            h: promotion.take_newest(
                load_scored(
                    c, {one.id: one.name for one in load_series(c, site.id)}, h, now, newest=promotion.ROLLING_ISSUES
                )
            )
            for h in list_horizons(site)
        }
    with db.write() as c:
        for standing in standings:
            for horizon_s, gate in standing.gates.items():
                after = _assess(standing, horizon_s, gate, standings, config, site, now)
                if after.state == gate.state:
                    registry.save_record(c, after, after.state)
                elif registry.change_gate(c, standing.row, gate, after, SERVICE_ACTOR, now):
                    lines.append(f"{standing.row.name} at {format_span(horizon_s)} {after.state}: {after.reason}")
                    down = after.state == "shadow"
                    fallen = fallen or down
                    alarm_degraded(c, site, standing.row, after, now, degraded=down)
                if after.state == "active" and gate.state != "active":
                    lines += displace(c, standing.row, horizon_s, standings, now)
        lines += _settle(c, standings, now)
        alarm_coverage(c, site, shown, now)
    return lines, fallen


def enter_shadow(
    c: Connection, row: registry.ModelRow, reason: str, now: datetime, actor: Actor = SERVICE_ACTOR
) -> None:
    """A candidate whose first forecasts are stored: from now on it is scored, at every horizon it was trained for."""
    if not registry.change_state(c, row, "shadow", reason, actor, now):
        return
    for horizon_s in sorted(float(key) for key in row.card.get("gates", {})):
        gate = registry.GateRow(row.model_hash, horizon_s, "shadow", now, now, reason, judged_at=now)
        registry.change_gate(c, row, None, gate, actor, now)


def retire(c: Connection, site: Site | None, row: registry.ModelRow, reason: str, actor: Actor, now: datetime) -> bool:
    """Let a checkpoint go; its forecasts and scores stay. False when it was retired already."""
    if row.state == "retired" or not registry.change_state(c, row, "retired", reason, actor, now):
        return False
    if site is not None:
        for gate in registry.load_gates(c, [row.model_hash]).get(row.model_hash, {}).values():
            alarm_degraded(c, site, row, replace(gate, reason=_RETIRED(text=reason)), now, degraded=False)
    return True


def retire_older(c: Connection, site: Site, newest: str, now: datetime) -> None:
    """What a new candidate of a kind makes room for: challengers that had their time, and those beyond three."""
    every = load_standings(c, site, now)
    new = next((s.row for s in every if s.row.model_hash == newest), None)
    challengers = [s for s in every if new is not None and s.row.rivals(new) and not s.is_shown()]
    room = MOST_CHALLENGERS - 1
    for i, standing in enumerate(challengers):
        if not standing.is_waiting(now):
            why = _NEVER_ISSUED if standing.row.state == "candidate" else _HAD_ITS_TIME
            reason = join([why, _NEWER])
        elif len(challengers) - i > room:
            reason = _ENOUGH(n=MOST_CHALLENGERS)
        else:
            continue
        retire(c, site, standing.row, reason, SERVICE_ACTOR, now)


def _assess(
    standing: ModelStatus,
    horizon_s: float,
    gate: registry.GateRow,
    others: Sequence[ModelStatus],
    config: ServiceConfig,
    site: Site,
    now: datetime,
) -> registry.GateRow:
    rows = standing.scored.get(horizon_s, ())
    if gate.state == "active":
        verdict = promotion.check_shown(horizon_s, rows)
    else:
        verdict = promotion.check_shadow(
            horizon_s,
            standing.calibration(horizon_s),
            rows,
            shadow_s=age_s(gate, now),
            latency_limit_ms=config.compute.job_limit_s * 500.0,
        )
    state = verdict.state
    reason: str = convert_reason(verdict.reason)
    lacking, earliest_at = _describe_lacking(verdict), None
    if gate.state == state == "active" and verdict.record.issues < promotion.MINIMUM_ISSUES:
        reason = gate.reason  # two people showed it; until its record speaks, their word stands
    if gate.state == "shadow" and state == "active":
        better, why = _is_better(rows, standing.row, horizon_s, others)
        state, reason = (state, reason) if better else ("shadow", why)
        lacking = lacking if better else _LACK_BETTER()
    changed = state != gate.state
    if state == "shadow":
        fallen = replace(standing, gates={horizon_s: replace(gate, since=now)}, scored={}) if changed else standing
        earliest_at = fallen.find_earliest(horizon_s, site, now)
        reason = until(reason, earliest_at)
    return replace(
        gate,
        state=state,
        reason=reason,
        lacking=lacking,
        earliest_at=earliest_at,
        since=now if changed else gate.since,
        counts_from=now if changed and state == "shadow" else gate.counts_from,
        judged_at=now,
        **{name: figure for name, figure in asdict(verdict.record).items() if name not in {"n", "unit"}},
    )


def _is_better(
    rows: Sequence[promotion.Scored], row: registry.ModelRow, horizon_s: float, others: Sequence[ModelStatus]
) -> tuple[bool, str]:
    for other in others:
        gate = other.gates.get(horizon_s)
        if not other.row.rivals(row) or gate is None or gate.state != "active":
            continue
        own, theirs, n = promotion.compare_same(rows, other.scored[horizon_s])
        if own is not None and theirs is not None and own >= theirs:
            unit = promotion.summarise(rows).unit
            fault = _NOT_BETTER(
                error=Figure(own, ".3g", unit),
                horizon=format_span(horizon_s),
                other=Figure(theirs, ".3g", unit),
                model=other.row.name,
                n=n,
            )
            return False, IN_SHADOW(text=fault)
    return True, ""


def displace(
    c: Connection, winner: registry.ModelRow, horizon_s: float, standings: Sequence[ModelStatus], now: datetime
) -> list[str]:
    """The shown checkpoint of the same kind steps back where its challenger won."""
    lines = []
    for other in standings:
        gate = other.gates.get(horizon_s)
        if other.row.rivals(winner) and gate is not None and gate.state == "active":
            reason = IN_SHADOW(text=_BETTER(model=winner.name, horizon=format_span(horizon_s)))
            after = replace(gate, state="shadow", reason=reason, since=now, counts_from=now, judged_at=now)
            if registry.change_gate(c, other.row, gate, after, SERVICE_ACTOR, now):
                lines.append(f"{other.row.name} at {format_span(horizon_s)} shadow: {reason}")
    return lines


def _settle(c: Connection, standings: Sequence[ModelStatus], now: datetime) -> list[str]:
    lines = []
    gates = registry.load_gates(c, [s.row.model_hash for s in standings])
    shown = {h: {x for x, g in per.items() if g.state == "active"} for h, per in gates.items()}
    for standing in standings:
        row = standing.row
        mine = shown.get(row.model_hash, set())
        if row.state == "candidate" or (row.state == "shadow" and not mine) or (row.state == "active" and mine):
            continue
        heirs = [
            s.row
            for s in standings
            if s.row.rivals(row) and s.row.created_at > row.created_at and shown.get(s.row.model_hash)
        ]
        if mine:
            state, reason = "active", gates[row.model_hash][min(mine)].reason
        elif heirs:
            state, reason = "retired", _REPLACED(model=heirs[-1].name)
        else:
            state, reason = (
                "shadow",
                next(iter(gates[row.model_hash].values())).reason
                if gates.get(row.model_hash)
                else IN_SHADOW(text=_NO_HORIZON),
            )
        if registry.change_state(c, row, state, reason, SERVICE_ACTOR, now):
            lines.append(f"{row.name} {state}: {reason}")
    return lines


def age_s(gate: registry.GateRow, now: datetime) -> float:
    """How long a gate has been in its state."""
    return (now - gate.since).total_seconds()
