"""Since when a row of the past was known: as received, as observed, or the one of both that makes sense."""

from dataclasses import dataclass
from typing import Final

from monitor.domain.site import SeriesSpec
from monitor.errors import RefusedError

MODES: Final = ("auto", "received", "observed")
SHORTEST_BOUND_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Known:
    """The rule by which a stored row gets the instant from which the replay may see it.

    Attributes:
        mode: `received`, the stored instant of reception; `observed`, its epoch plus `latency_s`; `auto`, received
            unless that lies more than the bound after the epoch: then the row was imported later, and its epoch counts.
        latency_s: what a live reading needs to arrive, used where the epoch counts.
        bound_s: the bound of `auto`; None takes the silence that the series allows, at least a day.
    """

    mode: str = "auto"
    latency_s: float = 0.0
    bound_s: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise RefusedError(f"--known {self.mode!r}: expected one of: {', '.join(MODES)}")

    def instant_s(self, observed_s: float, received_s: float, spec: SeriesSpec | None) -> tuple[float, bool]:
        """(since when known, whether the stored reception was used); never before the epoch itself.

        >>> Known("auto").instant_s(0.0, 600.0, None), Known("auto", 60.0).instant_s(0.0, 1e8, None)
        ((600.0, True), (60.0, False))
        """
        if self.mode == "received" or (self.mode == "auto" and received_s - observed_s <= self._bound(spec)):
            return max(received_s, observed_s), True
        return observed_s + self.latency_s, False

    def _bound(self, spec: SeriesSpec | None) -> float:
        if self.bound_s is not None:
            return self.bound_s
        return max(SHORTEST_BOUND_S, spec.max_silence_s if spec is not None else 0.0)
