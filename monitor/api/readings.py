"""Readings: records, quality flags."""

from monitor.readings.no_value import (
    find_fills,  # return fill numbers of a record that mean "no value", with their counts
    is_marked_bad,  # return whether quality information marks a reading as bad
    is_no_value,  # return whether a value means "not measured": null, NaN, infinity or a word
)
from monitor.readings.records import (
    CHANGED,  # key in `extra` of a calculated value whose inputs were changed afterwards
    HARMLESS,  # flags that leave a reading usable; any other flag makes it unusable
    INCOMPLETE,  # flag of a calculated value with missing parts; the true value may be larger
    Link,  # connection state that a device or gateway reported
    Observation,  # one value of a series at an instant, in the canonical unit, before storage
    Reading,  # one stored value, as a decision reads it
    Timed,  # type: arrays of times (s) and values of a series
    is_fit,  # return whether models may be trained on a reading
)

__all__ = [
    "CHANGED",
    "HARMLESS",
    "INCOMPLETE",
    "Link",
    "Observation",
    "Reading",
    "Timed",
    "find_fills",
    "is_fit",
    "is_marked_bad",
    "is_no_value",
]
