"""What one file of `monitor.criteria.kinds` gives to the table: the kind and the rule that judges it."""

from collections.abc import Callable
from dataclasses import dataclass

from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.series.assessment import Rule


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of criterion, whole."""

    kind: Kind
    rule: Callable[[Criterion], Rule]
