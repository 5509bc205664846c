"""What models and people suggest: forecasts, anomaly scores and observers' reports."""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.domain.decision import ForecastFact, ReportFact
from monitor.domain.site import Criterion, Threshold
from monitor.domain.witnesses import OBSERVERS
from monitor.series.assessment import Assessment, Windows


@dataclass(frozen=True, slots=True)
class ForecastRule:
    """Mean velocity that the shown forecast's median implies until the horizon of each level."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per station that has a shown forecast."""
        found = []
        for station in self.criterion.stations:
            rows = [f for f in windows.view.forecasts if f.station == station and f.shown and self._is_asked(f)]
            if not rows:
                found.append(Assessment(self.criterion.id, station, reason="no forecast is shown"))
                continue
            newest_s = max(f.data_until_s for f in rows)
            crossed = [t.level for t in self.criterion.thresholds if self._fastest(rows, t) > (t.over or 0.0)]
            level = max(crossed, default=0)
            fastest = max(self._fastest(rows, t) for t in self.criterion.thresholds)
            found.append(
                Assessment(
                    self.criterion.id,
                    station,
                    level,
                    level,
                    heard=True,
                    fresh=windows.is_fresh(newest_s, windows.site.series(station, self.criterion.quantity)),
                    newest_s=newest_s,
                    reason=f"forecast velocity {fastest:.2f} mm/day",
                    facts={"velocity_mm_per_day": fastest},
                )
            )
        return tuple(found)

    def _is_asked(self, fact: ForecastFact) -> bool:
        wanted = self.criterion.quantity
        return fact.quantity == wanted or (wanted == "displacement" and fact.quantity.startswith("displacement"))

    @staticmethod
    def _fastest(rows: Sequence[ForecastFact], threshold: Threshold) -> float:
        rates = [
            (f.q50 - f.data_value) / ((f.target_s - f.data_until_s) / 86400.0)
            for f in rows
            if f.target_s > f.data_until_s and (threshold.window_s is None or f.horizon_s == threshold.window_s)
        ]
        return max(rates, default=0.0)


@dataclass(frozen=True, slots=True)
class AnomalyRule:
    """A score beyond its detector's threshold, as long as it is valid."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per station."""
        level = self.criterion.thresholds[0].level
        found = []
        for station in self.criterion.stations:
            rows = [
                a for a in windows.view.anomalies
                if a.station == station and 0.0 <= windows.now_s - a.at_s <= self.criterion.valid_for_s
            ]  # fmt: skip
            if not rows:
                found.append(Assessment(self.criterion.id, station, reason="no anomaly"))
                continue
            worst = max(rows, key=lambda a: (a.at_s, a.detector))
            found.append(
                Assessment(
                    self.criterion.id,
                    station,
                    level,
                    level,
                    heard=True,
                    newest_s=worst.at_s,
                    reason=f"{worst.quantity} scores {worst.score:.2f} over {worst.threshold:.2f} ({worst.detector})",
                    facts={"score": worst.score, "threshold": worst.threshold, "detector": worst.detector},
                )
            )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class ReportRule:
    """What observers saw; all observers are one witness."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer for all reports of the kinds that count."""
        criterion = self.criterion
        after = windows.answered_s(f"{criterion.id}|{OBSERVERS}")
        rows = [
            r for r in windows.view.reports
            if (not criterion.kinds or r.kind in criterion.kinds) and r.at_s > after
            and 0.0 <= windows.now_s - r.at_s <= criterion.valid_for_s
        ]  # fmt: skip
        if not rows:
            return (Assessment(criterion.id, OBSERVERS, reason="no report"),)
        newest = max(rows, key=lambda r: (r.at_s, r.text))
        needs, observers = dict(criterion.params).get("needs", 1.0), {_name_witness(r) for r in rows}
        if len(observers) < needs:
            reason = f"{newest.kind} reported by {len(observers)} of {needs:g} observers that are needed"
            return (Assessment(criterion.id, OBSERVERS, reason=reason),)
        level = criterion.thresholds[0].level
        return (
            Assessment(criterion.id, OBSERVERS, level, level, heard=True, newest_s=newest.at_s,
                       reason=f"{newest.kind} reported by {newest.by}: {newest.text}"[:200],
                       facts={"count": len(rows)}),
        )  # fmt: skip


def _name_witness(report: ReportFact) -> str:
    """Who counts as one observer: what proved the sender. Names are free to whoever sends; of old they counted."""
    return report.by.strip().casefold() if report.credential is None else report.credential
