"""Warning levels against event classes, as durations: the EDuMaP matrix and the indicators derived from it.

Calvello, M. and Piciullo, L. (2016): Assessing the performance of regional landslide early warning models: the EDuMaP
method. Nat. Hazards Earth Syst. Sci. 16, 103-122, https://doi.org/10.5194/nhess-16-103-2016.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from monitor.domain.instants import epoch_s
from monitor.replay.labels import Label
from monitor.replay.spans import Span

NONE: Final = 0  # class of the time without an event
BEFORE: Final = -1  # the time before an event in which a warning is no false one


@dataclass(frozen=True, slots=True)
class Matrix:
    """Seconds by (level, class); `required` is the level that is right for each class."""

    classes: tuple[int, ...]  # BEFORE, NONE, then 1 ..
    levels: tuple[str, ...]
    seconds: Mapping[tuple[int, int], float]
    required: Mapping[int, int]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, in hours."""
        return {
            "classes": [name_class(k) for k in self.classes],
            "levels": list(self.levels),
            "required_level": {name_class(k): v for k, v in sorted(self.required.items())},
            "hours": [
                [round(self.seconds.get((level, k), 0.0) / 3600.0, 4) for k in self.classes]
                for level in range(len(self.levels))
            ],
            "indicators": self.indicators(),
        }

    def indicators(self) -> dict[str, float | None]:
        """Indicators of the matrix; None where their denominator is zero. Time before events counts for none of them.

        Alert classification: correct alert (level at least the required one, in an event), missed alert (below it),
        false alert (level above 0 without event), true negative. Grade of correctness: the distance of level from
        required level: 0 green, 1 yellow, 2 red, 3 and more purple.
        """
        cp = ma = fa = tn = red = purple = 0.0
        for (level, number), spent_s in self.seconds.items():
            if number == BEFORE:
                continue
            required = self.required.get(number, 0)
            distance = abs(level - required)
            red += spent_s if distance == 2 else 0.0
            purple += spent_s if distance >= 3 else 0.0
            if number == NONE:
                fa, tn = (fa + spent_s, tn) if level > 0 else (fa, tn + spent_s)
            else:
                cp, ma = (cp + spent_s, ma) if level >= required else (cp, ma + spent_s)
        total = cp + ma + fa + tn
        return {
            "correct_alerts_h": cp / 3600.0, "missed_alerts_h": ma / 3600.0, "false_alerts_h": fa / 3600.0,
            "true_negatives_h": tn / 3600.0,
            "efficiency": _share(cp + tn, total), "hit_rate": _share(cp, cp + ma),
            "predictive_power": _share(cp, cp + fa), "threat_score": _share(cp, cp + ma + fa),
            "odds_ratio": _share(cp + tn, ma + fa), "misclassification_rate": _share(ma + fa, total),
            "missed_alert_rate": _share(ma, cp + ma), "false_alert_rate": _share(fa, cp + fa),
            "missed_and_false_balance": _share(ma, ma + fa), "error_rate": _share(red + purple, total),
            "serious_mistakes": _share(purple, total),
        }  # fmt: skip


def name_class(number: int) -> str:
    """How a class is shown.

    >>> name_class(-1), name_class(0), name_class(2)
    ('before', 'none', '2')
    """
    return {BEFORE: "before", NONE: "none"}.get(number, str(number))


def build_matrix(
    spans: Sequence[Span], labels: Sequence[Label], lead_s: float, levels: tuple[str, ...]
) -> Matrix:  # fmt: skip
    """Durations of every level in every class of event; where events overlap the largest class counts."""
    found: dict[tuple[int, int], float] = {}
    edges = sorted(
        {epoch_s(x.from_at) for x in labels}
        | {epoch_s(x.to_at) for x in labels}
        | {epoch_s(x.from_at) - lead_s for x in labels}
    )
    for span in spans:
        cuts = [span.from_s, *(e for e in edges if span.from_s < e < span.to_s), span.to_s]
        for from_s, to_s in pairwise(cuts):
            key = (span.level, class_at((from_s + to_s) / 2.0, labels, lead_s))
            found[key] = found.get(key, 0.0) + to_s - from_s
    required: dict[int, int] = {NONE: 0}
    for label in labels:
        known = required.get(label.class_number)
        required[label.class_number] = label.level if known is None else min(known, label.level)
    classes = ((BEFORE,) if labels else ()) + tuple(sorted(required))
    return Matrix(classes, levels, found, required)


def class_at(at_s: float, labels: Sequence[Label], lead_s: float) -> int:
    """The class of the largest event that lasts at an instant; BEFORE within the lead of one; else NONE."""
    lasting = [x.class_number for x in labels if epoch_s(x.from_at) <= at_s <= epoch_s(x.to_at)]
    if lasting:
        return max(lasting)
    return BEFORE if any(epoch_s(x.from_at) - lead_s <= at_s < epoch_s(x.from_at) for x in labels) else NONE


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0.0 else None
