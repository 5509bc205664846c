"""Times at one level, and how they are gathered while a level changes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A time at one level, [from, to)."""

    from_s: float
    to_s: float
    level: int


class Ribbon:
    """Spans of a level that changes."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._level: int | None = None
        self._since_s = 0.0

    def note(self, at_s: float, level: int) -> None:
        """The level from an instant on."""
        if level != self._level:
            self.close(at_s)
            self._level, self._since_s = level, at_s

    def close(self, at_s: float) -> None:
        """What stands stood until an instant."""
        if self._level is not None and at_s > self._since_s:
            self.spans.append(Span(self._since_s, at_s, self._level))
        self._since_s = at_s
