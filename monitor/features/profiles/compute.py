"""Compute the profiles of a borehole from stored readings in bounded pieces, and return the changed values."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ulp
from typing import Final

from monitor.api.readings import INCOMPLETE, Observation, Reading
from monitor.api.text import Span
from monitor.features.profiles.borehole import AHEAD, BIT, WAIT_FOR_DEPTHS, Borehole
from monitor.features.profiles.declare import CALCULATED_UNITS, DerivedValue
from monitor.features.profiles.reduction import list_parts
from monitor.features.profiles.window import SurveyWindow, cut_window

SAME: Final = 5e-5  # stored values have four decimals
WITHDRAWN: Final = "bad"  # flag of a stored value that can no longer be computed
StoredValues = Mapping[tuple[str, datetime], Reading]  # by quantity and instant


@dataclass(slots=True)
class Piece:
    """Result of one piece of the computation."""

    changes: list[Observation] = field(default_factory=list)  # values that differ from what is stored
    left: Span | None = None  # the older part of the span, which still has to be computed
    # Instants of surveys of which depths are missing that may still arrive.
    deferred: list[datetime] = field(default_factory=list)


def compute_piece(hole: Borehole, window: SurveyWindow, span: Span, now: datetime, deadline_s: float) -> Piece:
    """Compute the newest profiles of a span, ends included.

    Args:
        window: the surveys of the borehole that are held in memory.
        deadline_s: instant of the monotonic clock after which no further survey is begun.
    """
    known_at = now + AHEAD
    zero = hole.load_zero(known_at)
    if zero is None:
        return Piece()
    window.set_zero(zero)
    assert window.zero is not None
    newest = hole.find_epoch(*span, last=True)
    piece = Piece()
    if newest is None:
        _withdraw(piece, _load_stored(hole, span, known_at), hole, now)
        return piece
    # One block at a time, the newest survey first: an alarm does not wait for the past.
    begin = max(span[0], window.find_begin(newest))
    window_begin = begin - timedelta(seconds=hole.profile.window_s)
    surveys = window.load(hole, (window_begin, newest), known_at, deadline_s)
    if surveys is None:
        return Piece(left=span)
    stored = _load_stored(hole, (begin, span[1]), known_at)
    done_from = begin
    for place in reversed(range(len(surveys))):
        at = surveys[place].at
        if at < begin:
            break
        if place < len(surveys) - 1 and time.monotonic() >= deadline_s:
            done_from = surveys[place + 1].at
            break
        if surveys[place].is_complete or at <= now - WAIT_FOR_DEPTHS:
            recent = cut_window(surveys, place, hole.profile.window_s)
            for part in list_parts(hole.profile, recent, window.zero):
                _add_change(piece, hole, part, at, stored.get((part.quantity, at)), now)
        else:
            piece.deferred.append(at)
    # A survey that became part of the one before it, because that one arrived later, has no values of its own.
    instants = {survey.at for survey in surveys}
    lost = {key: row for key, row in stored.items() if key[1] >= done_from and key[1] not in instants}
    _withdraw(piece, lost, hole, now)
    if done_from > span[0]:
        piece.left = (span[0], done_from - BIT)
    return piece


def _withdraw(piece: Piece, stored: StoredValues, hole: Borehole, now: datetime) -> None:
    """Flag stored values as unusable that no survey gives any more."""
    for (quantity, at), row in stored.items():
        _add_change(piece, hole, DerivedValue(quantity, None), at, row, now)


def _load_stored(hole: Borehole, span: Span, known_at: datetime) -> StoredValues:
    """Return the stored values of a span, by quantity and instant."""
    rows = hole.load(CALCULATED_UNITS, *span, known_at)
    return {(quantity, row.observed_at): row for quantity, of_quantity in rows.items() for row in of_quantity}


def _add_change(
    piece: Piece, hole: Borehole, part: DerivedValue, at: datetime, stored: Reading | None, now: datetime
) -> None:
    """Add a value to a piece if it differs from the stored one.

    The database ignores a reading whose value equals an earlier one of the same instant. Therefore each revision adds
    the smallest possible amount (`ulp`) to the value. A value that can no longer be computed gets the flag `WITHDRAWN`.
    """
    facts = (hole.site.id, hole.profile.station, part.quantity, CALCULATED_UNITS[part.quantity], at, now)
    if stored is None:
        if part.value is not None:
            piece.changes.append(Observation(*facts, part.value, part.sigma, flags=part.flags, extra=part.extra))
        return
    if part.value is None:
        if WITHDRAWN not in stored.flags:
            value = stored.value_raw + ulp(max(abs(stored.value_raw), 1.0))
            piece.changes.append(
                Observation(*facts, value, stored.sigma, "corrected", (WITHDRAWN,), extra=stored.extra)
            )
        return
    is_same_value = (
        abs(part.value - stored.value_raw) < SAME and part.sigma == stored.sigma and part.extra == stored.extra
    )
    are_same_flags = WITHDRAWN not in stored.flags and (INCOMPLETE in stored.flags) == (INCOMPLETE in part.flags)
    if not (is_same_value and are_same_flags):
        value = part.value + (stored.revision + 1) * ulp(max(abs(part.value), 1.0))
        piece.changes.append(Observation(*facts, value, part.sigma, "corrected", part.flags, extra=part.extra))
