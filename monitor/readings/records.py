"""Records of readings, from the decoder to the database to the decision."""

from array import array
from dataclasses import dataclass
from datetime import datetime
from typing import Final

Timed = tuple["array[float]", "array[float]"]
"""Epoch seconds and values of a series, as workers receive them."""
# Keys in `extra`:
BROUGHT_BY: Final = "brought_by"  # who imported the value from a file, if the series had readings before
CHANGED: Final = "changed"  # an input of a calculated value was changed, and not only late
DIGIT: Final = "digit"  # one step of the last digit by component, in the unit of the series
# Flags about how a value arrived. Any other flag makes a value unusable.
HARMLESS: Final = frozenset({"late", "backfill", "replayed", "revised", "resent", "step_confirmed"})
UNSIGNED: Final = "unsigned"  # flag of a correction that waits for two people; readers leave it out
INCOMPLETE: Final = "incomplete"  # flag of a calculated value with a missing part: the true value may be larger
# No model may learn from a value with one of these flags.
UNFIT: Final = frozenset({"out_of_range", "future", "mistyped", "spike", "stuck", "bad", "fill", "at_stop", INCOMPLETE})


@dataclass(frozen=True, slots=True)
class Observation:
    """One value of one series at one instant, in the canonical unit of its quantity."""

    site: str
    station: str
    quantity: str
    unit: str
    observed_at: datetime
    received_at: datetime
    value: float  # raw value: offsets are not subtracted
    sigma: float | None = None  # one standard deviation, same unit
    solution: str | None = None  # rapid, final, corrected
    flags: tuple[str, ...] = ()  # set at arrival: out_of_range, future, late, ...
    source: str | None = None  # device that numbers its messages by `boot_id` and `seq`, so that gaps are found
    boot_id: int | None = None
    seq: int | None = None
    extra: str | None = None  # canonical JSON of the epoch: covariance, fix, satellites


@dataclass(frozen=True, slots=True)
class Link:
    """The state of the connection of a device, as reported by itself or its gateway."""

    site: str
    station: str
    at: datetime
    online: bool
    text: str  # as in its protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """The revision of an epoch that counts, with the offsets that count subtracted."""

    observed_at: datetime
    received_at: datetime
    revision: int
    value_raw: float
    offset_applied: float
    value: float  # value_raw - offset_applied
    sigma: float | None
    flags: tuple[str, ...]
    extra: str | None = None
    first: "Reading | None" = None  # the first revision of the epoch, if another value or error counts now


@dataclass(frozen=True, slots=True)
class ObserverReport:
    """A report of what an observer saw on the slope."""

    site: str
    at: datetime
    kind: str
    text: str
    by: str
    station: str | None = None
    photo_url: str | None = None


@dataclass(frozen=True, slots=True)
class SiteEvent:
    """Work, blasting, reservoir operation or an earthquake that explains or annotates."""

    site: str
    from_at: datetime
    to_at: datetime
    kind: str
    text: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class PayloadSize:
    """Size and digest of a payload of which only the beginning is stored."""

    payload_bytes: int
    digest: str  # SHA-256 of topic, a NUL and payload


def is_fit(reading: Reading) -> bool:
    """Return whether a model may be trained on a reading."""
    return not UNFIT.intersection(reading.flags)
