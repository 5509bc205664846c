"""What a sentence says apart from its units, so that decisions frozen before figures had them are still recomputed."""

import re
from dataclasses import dataclass, field

from monitor.domain.quantities import QUANTITIES

_RATES = ("/day²", "/day")


@dataclass(frozen=True, slots=True)
class Wording:
    """Compares sentences without regard to the units that stand behind their figures.

    >>> wording = Wording()
    >>> wording.is_same("velocity 81.2 mm/day, over 80 in 2 epochs", "velocity 81.2 mm/day, over 80 mm/day in 2 epochs")
    True
    >>> wording.is_same("level 5 m, bounds 4, 6", "level 5 m, bounds 4 m, 7 m")
    False

    Attributes:
        own: Units of a site's own quantities.
    """

    own: tuple[str, ...] = ()
    _unit: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Gather every unit that a sentence may name."""
        named = {q.unit for q in QUANTITIES.values()} | {*self.own}
        units = {f"{unit}{per}" for unit in named for per in _RATES} | (named - {"1", "index"})
        units |= {"degrees", "cm", "per day"}
        either = "|".join(re.escape(u) for u in sorted(units, key=lambda u: (-len(u), u)))
        object.__setattr__(self, "_unit", re.compile(rf"(?<=\d) (?:{either})(?![\w/²])"))

    def is_same(self, one: str, other: str) -> bool:
        """Whether two sentences are equal but for units behind figures."""
        return self._unit.sub("", one) == self._unit.sub("", other)
