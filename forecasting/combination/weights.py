"""Weights of the experts from their errors so far, per station and horizon.

    weight = prior * exp(-score)          score = n * log(mean absolute error)

`n` is the number of independent errors that the mean rests on, at most `MOST_ERRORS`. Three sources of evidence are
added: the errors at the horizon itself, those at shorter lead times (at most `MOST_EVIDENCE`, so that a change of
velocity is followed within rows), and the mean score of the other stations of the panel.

A forecast that an expert does not make is replaced by the forecast of the combination. An expert without a record, such
as a network that was trained today or a season in its first year, therefore counts like the combination.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np

from forecasting.combination.state import ArrayState
from forecasting.data.series import Floats, Ints

MOST_ERRORS: Final = 20  # independent errors that a score rests on: errors are discounted by 1 - 1 / (20 h) per row
MOST_EVIDENCE: Final = 25.0  # what shorter lead times count against an expert at most
OUTSIDE_SHARE: Final = 0.5  # largest share of all outside experts together
LEAST_ERROR_MM: Final = 1e-6  # smaller mean errors count as equal

# Forecasts over many rows overlap. Of longer lead times only every second, third, ... forecast is scored, so that about
# this many forecasts are stored until their targets.
SCORED_PER_LEAD_TIME: Final = 32


def list_lead_times(steps: Sequence[int]) -> tuple[int, ...]:
    """Return the rows ahead at which experts are scored: the horizons, and 1, 2, 4, ... below the longest.

    >>> list_lead_times((6, 30))
    (1, 2, 4, 6, 8, 16, 30)
    """
    doubled = (2**power for power in range(max(steps).bit_length()))
    return tuple(sorted({*steps, *(rows for rows in doubled if rows < max(steps))}))


class DelayedRows:
    """Layout of rows that are stored until their targets are observed: each lead time has a ring of its own length."""

    def __init__(self, lead_times: Sequence[int], strides: Sequence[int]) -> None:
        self._lead_times = np.array(lead_times, dtype=np.int64)
        self._strides = np.array(strides, dtype=np.int64)
        self._sizes = self._lead_times // self._strides + 1
        self._starts = np.cumsum(self._sizes) - self._sizes
        self.slots = int(self._sizes.sum())

    def find_written(self, row: int) -> tuple[Ints, Ints]:
        """Return the lead times (as positions) that are stored at this row, and their slots."""
        chosen = np.flatnonzero(row % self._strides == 0)
        return chosen, self._find_slots(chosen, np.full(chosen.shape, row))

    def find_due(self, row: int) -> tuple[Ints, Ints]:
        """Return the lead times (as positions) with a stored row whose target is this row, and their slots."""
        made = row - self._lead_times
        chosen = np.flatnonzero((made >= 0) & (made % self._strides == 0))
        return chosen, self._find_slots(chosen, made[chosen])

    def _find_slots(self, chosen: Ints, rows: Ints) -> Ints:
        slots: Ints = self._starts[chosen] + rows // self._strides[chosen] % self._sizes[chosen]
        return slots


class Groups:
    """Columns that are components of one motion."""

    def __init__(self, groups: Sequence[Sequence[int]], stations: int) -> None:
        self.order = np.array([column for group in groups for column in group], dtype=np.int64)
        if sorted(self.order.tolist()) != list(range(stations)):
            raise ValueError("groups must contain every station exactly once")
        sizes = [len(group) for group in groups]
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._group_of = np.empty(stations, dtype=np.int64)
        self._group_of[self.order] = np.repeat(np.arange(len(groups)), sizes)
        self.is_trivial = max(sizes) == 1

    def add(self, values: Floats) -> Floats:
        """Return for every column (last axis) the sum over its group."""
        if self.is_trivial:
            return values
        sums: Floats = np.add.reduceat(values[..., self.order], self._starts, axis=-1)[..., self._group_of]
        return sums

    def average_others(self, values: Floats, active: Floats) -> Floats:
        """Return for every column the mean over all other groups.

        Args:
            values: Equal within a group, 0 in groups that are not active, last axis stations.
            active: 1 for columns whose group is active, else 0, broadcastable to `values`.
        """
        firsts = self.order[self._starts]
        total = values[..., firsts].sum(axis=-1, keepdims=True)
        others = active[..., firsts].sum(axis=-1, keepdims=True) - active
        return np.asarray((total - values) / np.maximum(others, 1.0))


class ExpertWeights(ArrayState):
    """Errors of all experts at all lead times, and the weights that follow from them.

    The last expert is the combination itself. Arrays have the axes lead time R, expert E + 1 and station S.
    """

    state_names: ClassVar = ("pending_mm", "loss", "count", "has_forecast")

    def __init__(self, priors: Sequence[float], steps: Sequence[int], groups: Groups, stations: int) -> None:
        self.lead_times = list_lead_times(steps)
        self.horizons = np.array([self.lead_times.index(h) for h in steps])  # positions of the horizons
        self._groups = groups
        self._log_priors = np.log(np.array(priors))[:, None]
        rows = np.array(self.lead_times)
        strides = np.maximum(1, rows // SCORED_PER_LEAD_TIME)
        self._delayed = DelayedRows(rows.tolist(), strides.tolist())
        self._strides = strides.astype(np.float64)[:, None]
        self._discount = (1.0 - 1.0 / (MOST_ERRORS * rows[:, None])) ** self._strides
        shape = (len(rows), len(priors) + 1, stations)
        self.pending_mm = np.full((self._delayed.slots, *shape[1:]), np.nan)  # forecasts until their targets
        self.loss = np.zeros(shape)  # discounted sums of absolute errors, mm
        self.count = np.zeros((shape[0], stations))  # discounted number of errors
        self.has_forecast = np.zeros((len(priors), stations), dtype=bool)  # whether the expert ever made a forecast

    def add_expert(self, prior: float) -> None:
        """Add an expert behind the last one, with the record of the combination."""
        self._log_priors = np.append(self._log_priors, [[np.log(prior)]], axis=0)
        self.pending_mm = np.concatenate([self.pending_mm, self.pending_mm[:, -1:]], axis=1)
        self.loss = np.concatenate([self.loss, self.loss[:, -1:]], axis=1)
        self.has_forecast = np.append(self.has_forecast, np.zeros((1, self.has_forecast.shape[1]), dtype=bool), axis=0)

    def score(self, row: int, values_mm: Floats) -> None:
        """Score the forecasts whose target is this row against its readings, shape (S,), NaN unknown."""
        chosen, slots = self._delayed.find_due(row)
        if not chosen.size:
            return
        errors = np.abs(self.pending_mm[slots] - values_mm)
        known = np.isfinite(errors[:, -1])
        stride = self._strides[chosen]
        discount = self._discount[chosen]
        self.loss[chosen] = np.where(
            known[:, None], discount[:, None] * self.loss[chosen] + stride[:, None] * errors, self.loss[chosen]
        )
        self.count[chosen] = np.where(known, discount * self.count[chosen] + stride, self.count[chosen])

    def combine(self, row: int, forecasts_mm: Floats, first_outside: int) -> tuple[Floats, Floats]:
        """Weigh the forecasts made at this row and store them until their targets.

        Args:
            row: Number of the row.
            forecasts_mm: Shape (R, E, S), NaN where an expert makes none.
            first_outside: Position of the first outside expert.

        Returns:
            Weights (R, E, S), which sum to one where there is a forecast and are 0 elsewhere, and the combination
            (R, S), NaN where no expert makes a forecast.
        """
        makes = np.isfinite(forecasts_mm)
        logits = np.where(makes, self._log_priors - self.compute_scores(), -np.inf)
        best = logits.max(axis=1, keepdims=True)
        weights = np.exp(logits - np.where(np.isfinite(best), best, 0.0))
        total = weights.sum(axis=1, keepdims=True)
        weights /= np.where(total > 0.0, total, 1.0)
        weights = limit_share(weights, first_outside, OUTSIDE_SHARE)
        combined = (weights * np.where(makes, forecasts_mm, 0.0)).sum(axis=1)
        combined = np.where(total[:, 0] > 0.0, combined, np.nan)
        filled = np.concatenate([np.where(makes, forecasts_mm, combined[:, None]), combined[:, None]], axis=1)
        chosen, slots = self._delayed.find_written(row)
        self.pending_mm[slots] = filled[chosen]
        self.has_forecast |= makes.any(axis=0)
        return weights, combined

    def compute_scores(self) -> Floats:
        """Return the scores (R, E, S), the lowest of each lead time and station being 0."""
        rows = np.array(self.lead_times)[:, None]
        independent = self.count / rows
        mean = self.loss[:, :-1] / np.maximum(self.count, 1e-12)[:, None]
        evidence = independent[:, None] * np.log(np.maximum(mean, LEAST_ERROR_MM))
        evidence = self._groups.add(evidence)
        active = self._groups.add((self.count > 0.0).astype(np.float64)) > 0.0
        evidence = evidence - evidence.min(axis=1, keepdims=True)
        evidence += self._groups.average_others(evidence, active[:, None].astype(np.float64))
        scores = np.empty(evidence.shape)
        shorter = np.zeros(evidence.shape[1:])
        for position, own in enumerate(evidence):
            score = own + np.minimum(shorter, MOST_EVIDENCE)
            shorter = score - score.min(axis=0)
            scores[position] = shorter
        return scores

    def compute_errors(self) -> Floats:
        """Return the discounted mean absolute error of each expert at each horizon, mm (E, S, H), NaN before any."""
        count = self.count[self.horizons]
        mean = self.loss[self.horizons, :-1] / np.where(count > 0.0, count, np.nan)[:, None]
        return np.moveaxis(np.where(self.has_forecast, mean, np.nan), 0, -1)


def limit_share(weights: Floats, first: int, most: float) -> Floats:
    """Return weights (R, E, S) in which the experts from `first` on have together at most this share.

    Where no other expert makes a forecast, the weights stay as they are.

    >>> limit_share(np.array([0.2, 0.6, 0.2])[None, :, None], 1, 0.5)[0, :, 0].round(3).tolist()
    [0.5, 0.375, 0.125]
    """
    if first >= weights.shape[1]:
        return weights
    outside = weights[:, first:].sum(axis=1, keepdims=True)
    inside = weights[:, :first].sum(axis=1, keepdims=True)
    limited = (outside > most) & (inside > 0.0)
    out = weights.copy()
    out[:, first:] *= np.where(limited, most / np.where(outside > 0.0, outside, 1.0), 1.0)
    out[:, :first] *= np.where(limited, (1.0 - most) / np.where(inside > 0.0, inside, 1.0), 1.0)
    return out
