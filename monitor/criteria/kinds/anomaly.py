"""What detectors of anomalies say: a score beyond the threshold that was counted for it."""

from dataclasses import dataclass
from typing import Final

from monitor.criteria.entry import Entry
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.series.assessment import Assessment, Windows


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


ENTRY: Final = Entry(
    Kind(
        id="anomaly", role="advice", source="suggestion", facts="anomalies", plan="anomaly", loosening="bounds",
    ),
    AnomalyRule,
)  # fmt: skip
