"""What instruments do wrong: faults laid over clean simulated readings, each known by time, place and size."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FaultKind = Literal["spike", "rezero", "stuck", "dropout", "clock_jump", "common_shift"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one instrument, or of one reference station.

    Attributes:
        kind: what goes wrong.
        target: station id; the id of a reference station for ``common_shift``.
        from_at: first instant it is seen, aware UTC.
        to_at: first instant it is seen no more; ``rezero`` and ``common_shift`` may last to the end.
        size: mm for GNSS and the sensor's own unit elsewhere; seconds for ``clock_jump``; unused by the others.
    """

    kind: FaultKind
    target: str
    from_at: datetime
    to_at: datetime
    size: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"unknown fault kind {self.kind!r}; one of {', '.join(get_args(FaultKind))}")
        if self.from_at.tzinfo is None or self.to_at.tzinfo is None:
            raise ValueError("fault times must be aware")
        if self.to_at <= self.from_at:
            raise ValueError(f"fault {self.kind} on {self.target} ends before it begins")


def alter_values(values: Array, seconds: Array, start_at: datetime, faults: Sequence[Fault]) -> Array:
    """Lay the faults that change values over clean readings.

    Args:
        values: clean readings, shape (n,) or (n, 3) for east, north, up.
        seconds: time of each since `start_at`, shape (n,), ascending.
        start_at: the model's start.
        faults: those that concern this instrument; dropout and clock jump change no value and are passed over.

    Returns:
        A new array of the same shape. A shift goes into every component by the size (east alone for GNSS).
    """
    out = np.array(values, dtype=np.float64)
    for fault in faults:
        inside = (seconds >= (fault.from_at - start_at).total_seconds()) & (
            seconds < (fault.to_at - start_at).total_seconds()
        )
        if not inside.any():
            continue
        moved = out[:, 0] if out.ndim == 2 else out
        if fault.kind in ("spike", "rezero", "common_shift"):
            moved[inside] += fault.size
        elif fault.kind == "stuck":
            out[inside] = out[int(np.argmax(inside))]
    return out


def is_silent(at: datetime, faults: Sequence[Fault]) -> bool:
    """True where a dropout swallows the reading at this instant."""
    return any(f.kind == "dropout" and f.from_at <= at < f.to_at for f in faults)


def clock_error(at: datetime, faults: Sequence[Fault]) -> timedelta:
    """What the instrument's clock is wrong by at this instant."""
    wrong = sum(f.size for f in faults if f.kind == "clock_jump" and f.from_at <= at < f.to_at)
    return timedelta(seconds=wrong)


def plan_faults(
    seed: int, start_at: datetime, duration: timedelta, step: timedelta, movers: Sequence[str], reference: str
) -> tuple[Fault, ...]:
    """A reproducible day in the life: one fault of each kind, spread over the quiet first half of the record.

    Args:
        seed: same seed, same faults.
        start_at: start of the record.
        duration: its length.
        step: sampling interval.
        movers: GNSS station ids on the slope, at least one.
        reference: the reference whose common shift moves all of its stations.
    """
    rng = np.random.default_rng([seed, 7])
    places = [movers[int(i)] for i in rng.permutation(len(movers))]

    def moment(share: float) -> datetime:
        steps = round(share * (duration / step))
        return start_at + steps * step

    def place(index: int) -> str:
        return places[index % len(places)]

    span = step * max(1, round(0.02 * (duration / step)))
    return (
        Fault("spike", place(0), moment(0.15), moment(0.15) + step, 400.0),
        Fault("stuck", place(1), moment(0.22), moment(0.22) + span),
        Fault("dropout", place(2), moment(0.28), moment(0.28) + span),
        Fault("clock_jump", place(3), moment(0.34), moment(0.34) + 6 * step, 26 * 3600.0),
        Fault("rezero", place(0), moment(0.40), start_at + duration, -35.0),
        Fault("common_shift", reference, moment(0.46), moment(0.46) + span, 18.0),
    )
