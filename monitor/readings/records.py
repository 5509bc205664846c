"""What an instrument said: the record that travels from decoder to store to decision."""

from array import array
from dataclasses import dataclass
from datetime import datetime
from typing import Final

Timed = tuple["array[float]", "array[float]"]
"""Times in seconds and values of a series, as a worker is given them."""
BROUGHT_BY: Final = "brought_by"  # in `extra`: who read it in from a file, where the series had readings before
CHANGED: Final = "changed"  # in `extra` of a calculated value: what it rests on was changed, and did not just come late
DIGIT: Final = "digit"  # in `extra`: one step of the last digit, by component, in the unit of the series
# flags that say something about the way of a value, not against it; any other flag makes it unusable
HARMLESS: Final = frozenset({"late", "backfill", "replayed", "revised", "resent", "step_confirmed"})
UNSIGNED: Final = "unsigned"  # flag of a correction that waits for two people; readers leave it out
INCOMPLETE: Final = "incomplete"  # flag of a calculated value of which a part is missing: the true one may be larger
# a value under one of these may be true, but no model may learn from it
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
    value: float  # raw: offsets are never applied here
    sigma: float | None = None  # one standard deviation, same unit
    solution: str | None = None  # rapid, final, corrected
    flags: tuple[str, ...] = ()  # set at arrival: out_of_range, future, late, ...; never blocks storing
    source: str | None = None  # who counted: with boot_id and seq gaps can be named
    boot_id: int | None = None
    seq: int | None = None
    extra: str | None = None  # canonical JSON of what belongs to the epoch (covariance, fix, satellites)


@dataclass(frozen=True, slots=True)
class Link:
    """What a device or its gateway said of its connection."""

    site: str
    station: str
    at: datetime
    online: bool
    text: str  # in the words of its protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """One stored revision as a decision sees it: known at `received_at`, offsets already subtracted."""

    observed_at: datetime
    received_at: datetime
    revision: int
    value_raw: float
    offset_applied: float
    value: float  # value_raw - offset_applied
    sigma: float | None
    flags: tuple[str, ...]
    extra: str | None = None
    first: "Reading | None" = None  # what the epoch said first, where another value or error of it speaks now


@dataclass(frozen=True, slots=True)
class ObserverReport:
    """An observer's report of what was seen on the slope."""

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
    """What is known of a payload of which only the beginning is kept."""

    payload_bytes: int
    digest: str  # SHA-256 of topic, a NUL and payload


def is_fit(reading: Reading) -> bool:
    """True for a reading that a model may learn from."""
    return not UNFIT.intersection(reading.flags)
