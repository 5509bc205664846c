"""What a replay leaves behind, gathered look by look: levels, alerts, words of criteria, sensors; always small."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from monitor.domain.alert import AlertChange, Ledger
from monitor.domain.decision import instant, seconds
from monitor.domain.instants import spell
from monitor.domain.keys import VoteKey
from monitor.replay.clock import Look
from monitor.replay.forecast_gain import Strength
from monitor.replay.history import History
from monitor.replay.spans import Ribbon

PLOT_POINTS: Final = 500


@dataclass(frozen=True, slots=True)
class Turn:
    """One change of an alert: the level it stands at from then on, 0 = over."""

    at: datetime
    level: int
    reason: str
    by: str = "auto"


@dataclass(slots=True)
class AlertTrace:
    """One alert of the replay, from when it was raised until its condition was gone."""

    ledger: str
    key: str
    turns: list[Turn] = field(default_factory=list)

    @property
    def peak_level(self) -> int:
        """The highest level it reached."""
        return max(t.level for t in self.turns)

    @property
    def over_at(self) -> datetime | None:
        """When its condition was gone; None while it stands."""
        return self.turns[-1].at if self.turns[-1].level == 0 else None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "ledger": self.ledger, "key": self.key, "raised_at": spell(self.turns[0].at), "peak_level": self.peak_level,
            "over_at": None if self.over_at is None else spell(self.over_at), "reason": self.turns[0].reason,
            "turns": [{"at": spell(t.at), "level": t.level, "reason": t.reason, "by": t.by} for t in self.turns],
        }  # fmt: skip


class Tally:
    """Gathers looks; `finish` closes what is open at the end."""

    def __init__(self, from_s: float, to_s: float) -> None:
        self.from_s, self.to_s = from_s, to_s
        self.looks = 0
        self.levels = Ribbon()
        self.asked = Ribbon()  # what the votes of each moment ask for
        self.sight: dict[str, float] = defaultdict(float)
        self.alerts: list[AlertTrace] = []
        self.criteria: dict[str, Ribbon] = {}
        self.strength = Strength()  # of velocity, where the site asks forecasts as well
        self.heard: Counter[str] = Counter()  # looks at which a criterion had anything to go by
        self.raises: Counter[str] = Counter()  # hazard raises that a station supported
        self.health: dict[str, Counter[str]] = defaultdict(Counter)  # station -> kind of health alert
        self.voting_s: dict[str, float] = defaultdict(float)
        self.pended: dict[str, set[str]] = defaultdict(set)
        self.plot: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self._open: dict[tuple[str, str], AlertTrace] = {}
        self._last: Look | None = None
        self._bucket = -1

    def add(self, look: Look, history: History) -> None:
        """Take in one look."""
        self.looks += 1
        now_s = seconds(look.at)
        self._pass_time(now_s)
        for at, change in look.acted:
            self._turn(change, at, "person")
            self.levels.note(seconds(at), change.level)
        for change in look.decision.changes:
            self._turn(change, look.at, "auto")
            if change.ledger == Ledger.HAZARD and change.level > look.before.level:
                behind = {k.station for k, v in look.decision.memory.supporters.items() if v >= change.level}
                self.raises.update(behind)
        self.levels.note(now_s, look.decision.level)
        self.asked.note(now_s, look.decision.evidence["asked"])
        self._hear(look, now_s)
        self._last = look
        bucket = int((now_s - self.from_s) / max(self.to_s - self.from_s, 1.0) * PLOT_POINTS)
        if bucket != self._bucket:
            self._bucket = bucket
            for key, value in history.newest_values().items():
                self.plot[key].append((now_s, value))

    def finish(self, to_s: float) -> None:
        """Close what is open: everything stood until the end."""
        self._pass_time(to_s)
        self.levels.close(to_s)
        self.asked.close(to_s)
        self.strength.close(to_s)
        for ribbon in self.criteria.values():
            ribbon.close(to_s)

    def _pass_time(self, now_s: float) -> None:
        if self._last is None:
            return
        passed_s = now_s - seconds(self._last.at)
        self.sight[self._last.decision.observability] += passed_s
        votes = self._last.decision.evidence["votes"]
        for station in {VoteKey.read(k).station for k, v in votes.items() if v["counted"]}:
            self.voting_s[station] += passed_s

    def _hear(self, look: Look, now_s: float) -> None:
        """What each criterion says now: the highest level that its bounds and dwell ask for."""
        said: dict[str, int] = {c.id: 0 for c in look.site.criteria}
        heard: set[str] = set()
        for word in look.decision.evidence["words"]:
            if word["heard"]:
                heard.add(word["criterion"])
                said[word["criterion"]] = max(said.get(word["criterion"], 0), word["raise_level"])
        if any(c.kind.facts == "forecasts" for c in look.site.criteria):
            self.strength.add(look.site, look.decision.evidence["words"], now_s)
        self.heard.update(heard)
        for criterion, level in said.items():
            self.criteria.setdefault(criterion, Ribbon()).note(now_s, level)
        for key, vote in look.decision.evidence["votes"].items():
            if vote["pended"]:
                self.pended[VoteKey.read(key).station].add(f"{instant(now_s):%Y-%m-%d}")

    def _turn(self, change: AlertChange, at: datetime, by: str) -> None:
        key = (str(change.ledger), change.key)
        trace = self._open.get(key)
        level = change.level if change.open else 0
        if trace is None:
            if level == 0:
                return
            trace = self._open[key] = AlertTrace(*key)
            self.alerts.append(trace)
            if change.ledger == Ledger.HEALTH:
                # health:G1.displacement:stale, health:site:reachable, health:reference:BASE:verify
                _, *name, kind = change.key.split(":")
                self.health[":".join(name).partition(".")[0]][kind] += 1
        trace.turns.append(Turn(at, level, change.reason, by))
        if level == 0:
            del self._open[key]
