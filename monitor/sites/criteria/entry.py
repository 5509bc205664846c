"""What one file of `kinds` gives to the table: the kind, what may be written of it, and its rule."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.sections import Section
from monitor.sites.criteria.sections import CriterionTable
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion

if TYPE_CHECKING:
    from monitor.decision.series.assessment import Rule


@dataclass(frozen=True, slots=True)
class KindEntry:
    """One kind of criterion, whole.

    Attributes:
        table: Its [[criterion]] in a site file.
        bound: The bound of each level in that table; None where one `level` is named.
        rule: What it says of its stations.
        history_s: How many seconds of readings before the newest one the rule reads for a criterion. Nothing else
            decides how much history is loaded for it, so a kind with a window of its own must return that window.
            `monitor.decision.criteria.history` has functions for the usual cases.
        window_s: The newest part of that history, in seconds, in which a missing reading could hide that a level still
            stands. None where it is all of it.
        implied_s: Where advice is raised although the site file is silent: the slowest interval of what moves, in
            seconds, to how long its answer holds, in seconds.
        example: The shortest table that is complete, on a station S1 that has every quantity; the contract test of
            criteria reads and judges it.
    """

    kind: Kind
    table: type[CriterionTable]
    bound: type[Section] | None
    rule: "Rule"
    example: str
    history_s: Callable[[Criterion], float]
    implied_s: Callable[[float], float] | None = None
    window_s: Callable[[Criterion], float] | None = None

    def find_window_s(self, criterion: Criterion) -> float:
        """Return the newest part of the history that must be known whole, in seconds."""
        return (self.window_s or self.history_s)(criterion)
