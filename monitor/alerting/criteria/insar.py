"""How fast the zones around stations move as radar from space sees them, with the true age of that knowledge."""

from dataclasses import dataclass

from monitor.alerting.assessment import Assessment, Windows, bound_of, recovery_of
from monitor.domain.decision import PointFact, instant
from monitor.domain.instants import spell, spell_duration
from monitor.domain.site import Criterion
from monitor.domain.witnesses import list_voices


@dataclass(frozen=True, slots=True)
class InsarRateRule:
    """Rate of a zone along the line of sight, either way, against a bound per level.

    Crossed when the rate is over the bound whichever acquisition is left out, and real by `min_sigma`. A vote is as old
    as its newest acquisition, however late that came.
    """

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer for each zone; all zones are one witness."""
        window_s = dict(self.criterion.params)["window_s"]
        facts = {f.station: f for f in windows.view.points if f.window_s == window_s and f.newest_s <= windows.now_s}
        found = []
        for voice in list_voices(windows.site, self.criterion):
            fact = facts.get(voice.witness.partition(":")[2])
            if fact is None:
                found.append(Assessment(self.criterion.id, voice.witness, reason="too few acquisitions in the window"))
            else:
                found.append(self._judge(windows, voice.witness, fact))
        return tuple(found)

    def _judge(self, windows: Windows, witness: str, fact: PointFact) -> Assessment:
        criterion = self.criterion
        sign = 1.0 if fact.rate_mm_per_day >= 0 else -1.0
        rate = sign * fact.rate_mm_per_day
        least, most = sorted((sign * fact.low_mm_per_day, sign * fact.high_mm_per_day))
        answered = fact.newest_s <= windows.answered_s(f"{criterion.id}|{witness}")
        raise_level = hold_level = 0
        for threshold in criterion.thresholds:
            bound, _ = bound_of(threshold)
            if least > bound and rate > criterion.min_sigma * fact.error_mm_per_day and not answered:
                raise_level = max(raise_level, threshold.level)
            if max(most, rate + fact.error_mm_per_day) >= recovery_of(threshold, criterion.recover):
                hold_level = max(hold_level, threshold.level)
        age_s = windows.now_s - fact.newest_s
        reason = (
            f"radar zone of {fact.station}: {fact.rate_mm_per_day:.3f} ± {fact.error_mm_per_day:.3f} mm/day along the "
            f"line of sight, {fact.points} points, {fact.epochs} acquisitions until {spell(instant(fact.newest_s))}, "
            f"known {spell_duration(round(max(0.0, fact.received_s - fact.newest_s)))} later"
        )
        return Assessment(
            criterion.id, witness, raise_level, max(hold_level, raise_level), heard=True,
            fresh=age_s <= criterion.valid_for_s and not windows.view.draining, newest_s=fact.newest_s, reason=reason,
            facts={"rate": fact.rate_mm_per_day, "error": fact.error_mm_per_day, "points": fact.points,
                   "latency_s": fact.received_s - fact.newest_s},
        )  # fmt: skip
