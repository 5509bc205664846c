"""Compute the weights of experts from their past errors, for each station and lead time.

    weight = prior * exp(-score)          score = n * log(mean absolute error)

A small score is good. The smallest score of all experts is subtracted. Therefore only ratios between errors count, and
the unit of the errors does not matter. `n` is the number of independent errors in the mean, at most `MAX_ERRORS`. The
scores of the components of one motion are added up. Then half the mean score of the other stations of the panel is
added.

The errors at shorter lead times are evidence too. They show a change of velocity within a few rows, long before a
forecast at the horizon can be scored. They are misleading for an expert that is good at the horizon only, such as one
that repeats the tide. Therefore there are two sets of weights: one adds the scores of shorter lead times to those of
the lead time itself, the other does not. Each set gives a forecast. These two forecasts are weighted by the same
formula with their own errors, and their weighted mean is the combination.

An expert without a forecast at some row is scored as if it had made the forecast of the combination. A network that was
trained today therefore starts with the score of the combination. An expert on trial is scored and has no weight yet: a
seasonal expert is judged over a whole period, because a single event makes it look better or worse than it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from forecasting.combination.state import ArrayState
from forecasting.data.series import Floats, Ints

# Largest number of independent errors in a score. Errors are discounted by 1 - 1 / (14 h) per row, where h is the lead
# time in rows.
MAX_ERRORS: Final = 14
# Share of the mean score of the other stations that is added to the score of a station.
POOLED_SHARE: Final = 0.5
# For each of the two sets of weights: how much the shorter lead times can add to the score of an expert at most.
MAX_SHORTER_SCORE: Final = (25.0, 0.0)
# Weights of the two sets before any error. The first set is preferred, because it reacts sooner when a station
# accelerates or stops.
SET_PRIORS: Final = (5.0, 1.0)
_LOG_SET_PRIORS: Final = np.log(np.array(SET_PRIORS))[:, None]
MAX_NETWORK_SHARE: Final = 0.5  # largest weight of all networks together
MIN_ERROR_MM: Final = 1e-6  # smaller mean errors count as equal
# Consecutive forecasts over many rows overlap. For long lead times only every second, third, ... forecast is scored, so
# that at most about this many forecasts wait for their targets.
MAX_PENDING_FORECASTS: Final = 32


@dataclass(frozen=True, slots=True)
class Expert:
    """An expert, as far as its weight depends on it."""

    name: str
    prior: float = 1.0  # weight before any error, relative to the other experts
    trial_forecasts: int = 0  # number of scored forecasts before it gets a weight


def list_lead_times(steps: Sequence[int]) -> tuple[int, ...]:
    """Return the lead times in rows at which experts are scored: the horizons, and 1, 2, 4, ... below the longest.

    >>> list_lead_times((6, 30))
    (1, 2, 4, 6, 8, 16, 30)
    """
    doubled = (2**power for power in range(max(steps).bit_length()))
    return tuple(sorted({*steps, *(rows for rows in doubled if rows < max(steps))}))


class DelayedRows:
    """Slots in which forecasts are stored until their targets are observed.

    Each lead time has a ring buffer. All ring buffers are parts of one array, and a slot is a position in this array.

    Args:
        lead_times: Lead times in rows.
        strides: For each lead time: forecasts are stored at every row that is a multiple of this number.
    """

    def __init__(self, lead_times: Sequence[int], strides: Sequence[int]) -> None:
        self._lead_times = np.array(lead_times, dtype=np.int64)
        self._strides = np.array(strides, dtype=np.int64)
        self._sizes = self._lead_times // self._strides + 1
        self._starts = np.cumsum(self._sizes) - self._sizes
        self.slots = int(self._sizes.sum())

    def find_slots_to_write(self, row: int) -> tuple[Ints, Ints]:
        """Return the positions of the lead times whose forecasts are stored at this row, and their slots."""
        positions = np.flatnonzero(row % self._strides == 0)
        return positions, self._find_slots(positions, np.full(positions.shape, row))

    def find_due_slots(self, row: int) -> tuple[Ints, Ints]:
        """Return the positions of the lead times with a stored forecast for this row, and their slots."""
        issue_rows = row - self._lead_times
        positions = np.flatnonzero((issue_rows >= 0) & (issue_rows % self._strides == 0))
        return positions, self._find_slots(positions, issue_rows[positions])

    def _find_slots(self, positions: Ints, rows: Ints) -> Ints:
        slots: Ints = self._starts[positions] + rows // self._strides[positions] % self._sizes[positions]
        return slots


class ComponentGroups:
    """Groups of columns that are components of one motion, such as east, north and up of a station."""

    def __init__(self, groups: Sequence[Sequence[int]], stations: int) -> None:
        self.order = np.array([column for group in groups for column in group], dtype=np.int64)
        if sorted(self.order.tolist()) != list(range(stations)):
            raise ValueError("groups must contain every station exactly once")
        sizes = [len(group) for group in groups]
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._group_of = np.empty(stations, dtype=np.int64)
        self._group_of[self.order] = np.repeat(np.arange(len(groups)), sizes)
        self.is_trivial = max(sizes) == 1

    def sum_groups(self, values: Floats) -> Floats:
        """Return the sum over the group of each column (last axis)."""
        if self.is_trivial:
            return values
        sums: Floats = np.add.reduceat(values[..., self.order], self._starts, axis=-1)[..., self._group_of]
        return sums

    def average_other_groups(self, values: Floats, active: Floats) -> Floats:
        """Return the mean over all groups except that of the column, for each column.

        Args:
            values: Values by column (last axis). They are equal within a group, and 0 in groups that are not active.
            active: 1 for columns of active groups, else 0. Broadcastable to `values`.
        """
        firsts = slice(None) if self.is_trivial else self.order[self._starts]
        total = values[..., firsts].sum(axis=-1, keepdims=True)
        others = active[..., firsts].sum(axis=-1, keepdims=True) - active
        return np.asarray((total - values) / np.maximum(others, 1.0))


class ExpertWeights(ArrayState):
    """The errors of all experts at all lead times, and the weights computed from them.

    Arrays have the axes lead time R, forecaster F or expert E, and station S. The forecasters are the experts, the
    forecasts of the two sets of weights, and the combination.
    """

    state_names: ClassVar = ("pending_mm", "loss", "count", "forecasts_made")

    def __init__(self, experts: Sequence[Expert], steps: Sequence[int], groups: ComponentGroups, stations: int) -> None:
        self.lead_times = list_lead_times(steps)
        self.horizons = np.array([self.lead_times.index(h) for h in steps])  # their positions in `lead_times`
        self._groups = groups
        self._log_priors = np.log([expert.prior for expert in experts])[:, None]
        self._trial_forecasts = np.array([expert.trial_forecasts for expert in experts])[:, None]
        self._lead_rows = np.array(self.lead_times)[:, None]
        strides = np.maximum(1, self._lead_rows // MAX_PENDING_FORECASTS)
        self._delayed = DelayedRows(self.lead_times, strides[:, 0].tolist())
        self._strides = strides.astype(np.float64)
        self._discount = (1.0 - 1.0 / (MAX_ERRORS * self._lead_rows)) ** self._strides
        lead_time_count = len(self.lead_times)
        forecasters = len(experts) + len(MAX_SHORTER_SCORE) + 1
        self.pending_mm = np.full((self._delayed.slots, forecasters, stations), np.nan)  # forecasts until their targets
        self.loss = np.zeros((lead_time_count, forecasters, stations))  # discounted sums of absolute errors, mm
        self.count = np.zeros((lead_time_count, stations))  # discounted number of errors
        self.forecasts_made = np.zeros((len(experts), stations), dtype=np.int64)  # rows with a forecast, by expert

    def add_expert(self, expert: Expert) -> None:
        """Add an expert after the last one. It starts with the errors of the combination."""
        position = self._log_priors.size
        self._log_priors = np.append(self._log_priors, [[np.log(expert.prior)]], axis=0)
        self._trial_forecasts = np.append(self._trial_forecasts, [[expert.trial_forecasts]], axis=0)
        self.pending_mm = np.insert(self.pending_mm, position, self.pending_mm[:, -1], axis=1)
        self.loss = np.insert(self.loss, position, self.loss[:, -1], axis=1)
        self.forecasts_made = np.insert(self.forecasts_made, position, 0, axis=0)

    def score(self, row: int, values_mm: Floats) -> None:
        """Score the forecasts for this row.

        Args:
            row: Number of the row.
            values_mm: Its readings, shape (S,), NaN if unknown.
        """
        positions, slots = self._delayed.find_due_slots(row)
        if not positions.size:
            return
        errors_mm = np.abs(self.pending_mm[slots] - values_mm)
        is_known = np.isfinite(errors_mm[:, -1])
        stride = self._strides[positions]
        discount = self._discount[positions]
        loss = discount[:, None] * self.loss[positions] + stride[:, None] * errors_mm
        self.loss[positions] = np.where(is_known[:, None], loss, self.loss[positions])
        self.count[positions] = np.where(is_known, discount * self.count[positions] + stride, self.count[positions])

    def combine(self, row: int, forecasts_mm: Floats, first_network: int) -> tuple[Floats, Floats]:
        """Combine the forecasts made at this row, and store them until their targets are observed.

        Args:
            row: Number of the row.
            forecasts_mm: Forecasts of the experts, shape (R, E, S), NaN where an expert makes none.
            first_network: Position of the first network. All experts after it are networks too.

        Returns:
            Weights (R, E, S) and combination (R, S). The weights sum to one over the experts. Without any forecast the
            weights are 0 and the combination is NaN.
        """
        expert_count = forecasts_mm.shape[1]
        is_made = np.isfinite(forecasts_mm)
        scored_forecasts = self.forecasts_made - self._lead_rows[:, None]
        is_candidate = is_made & ((self._trial_forecasts == 0) | (scored_forecasts >= self._trial_forecasts))
        has_forecast = is_candidate.any(axis=1)
        candidates_mm = np.where(is_candidate, forecasts_mm, 0.0)
        own_scores = self._compute_scores(self.loss[:, :expert_count])
        weight_sets = []
        set_forecasts_mm = []
        for max_shorter_score in MAX_SHORTER_SCORE:
            scores = add_shorter_lead_times(own_scores, max_shorter_score)
            weights = normalise(np.where(is_candidate, self._log_priors - scores, -np.inf))
            weights = limit_share(weights, first_network, MAX_NETWORK_SHARE)
            weight_sets.append(weights)
            set_forecasts_mm.append(np.where(has_forecast, (weights * candidates_mm).sum(axis=1), np.nan))
        set_scores = self._compute_scores(self.loss[:, expert_count:-1])
        # The two sets are compared with the shorter lead times, like the experts in the first set.
        set_shares = normalise(_LOG_SET_PRIORS - add_shorter_lead_times(set_scores, MAX_SHORTER_SCORE[0]))
        weights = compute_weighted_mean(set_shares, weight_sets)
        combination_mm = compute_weighted_mean(set_shares, set_forecasts_mm)
        filled_mm = np.where(is_made, forecasts_mm, combination_mm[:, None])
        all_mm = np.concatenate([filled_mm, np.stack([*set_forecasts_mm, combination_mm], axis=1)], axis=1)
        positions, slots = self._delayed.find_slots_to_write(row)
        self.pending_mm[slots] = all_mm[positions]
        self.forecasts_made += is_made.any(axis=0)
        return weights, combination_mm

    def compute_errors(self, first: int = 0, end: int | None = None) -> Floats:
        """Return the discounted mean absolute errors of experts at each horizon in mm; NaN before the first error.

        Args:
            first: Position of the first expert.
            end: Position after the last expert; by default all experts from `first` on.

        Returns:
            Shape (experts, S, H).
        """
        experts = slice(first, self._log_priors.size if end is None else end)
        count = self.count[self.horizons]
        mean = self.loss[self.horizons, experts] / np.where(count > 0.0, count, np.nan)[:, None]
        return np.where(self.forecasts_made[experts] > 0, mean, np.nan).transpose(1, 2, 0)

    def _compute_scores(self, loss: Floats) -> Floats:
        """Return the scores (R, F, S) of some forecasters, without those of shorter lead times.

        Args:
            loss: Their rows of `self.loss`, shape (R, F, S).
        """
        independent = self.count / self._lead_rows
        mean = loss / np.maximum(self.count, 1e-12)[:, None]
        scores = self._groups.sum_groups(independent[:, None] * np.log(np.maximum(mean, MIN_ERROR_MM)))
        scores = scores - scores.min(axis=1, keepdims=True)
        is_active = self._groups.sum_groups((self.count > 0.0).astype(np.float64)) > 0.0
        active = is_active[:, None].astype(np.float64)
        return np.asarray(scores + POOLED_SHARE * self._groups.average_other_groups(scores, active))


def add_shorter_lead_times(own_scores: Floats, max_shorter_score: float) -> Floats:
    """Return scores that include those of shorter lead times.

    To the own score of each lead time, the result for the next shorter lead time is added, at most `max_shorter_score`.

    Args:
        own_scores: Scores of each lead time alone, shape (R, F, S), shortest lead time first.
        max_shorter_score: Largest score to add.
    """
    if max_shorter_score == 0.0:
        return own_scores
    scores = np.empty(own_scores.shape)
    shorter = np.zeros(own_scores.shape[1:])
    for position, own_score in enumerate(own_scores):
        score = own_score + np.minimum(shorter, max_shorter_score)
        relative = score - score.min(axis=0)
        scores[position] = relative
        shorter = relative
    return scores


def normalise(logits: Floats) -> Floats:
    """Return weights (R, F, S) that sum to one over the forecasters (softmax); 0 if every logit is minus infinity."""
    best = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(best), best, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / np.where(total > 0.0, total, 1.0))


def compute_weighted_mean(shares: Floats, values: Sequence[Floats]) -> Floats:
    """Return the weighted mean of some arrays.

    Args:
        shares: Weights of the arrays, shape (R, number of arrays, S).
        values: Arrays of shape (R, S) or (R, E, S).
    """
    total = np.zeros(values[0].shape)
    for position, value in enumerate(values):
        share = shares[:, position]
        total += (share if value.ndim == share.ndim else share[:, None]) * value
    return total


def limit_share(weights: Floats, first: int, max_share: float) -> Floats:
    """Return weights (R, E, S) in which the sum of the experts from `first` on is at most `max_share`.

    If no other expert makes a forecast, the weights are not changed.

    >>> limit_share(np.array([0.2, 0.6, 0.2])[None, :, None], 1, 0.5)[0, :, 0].round(3).tolist()
    [0.5, 0.375, 0.125]
    """
    if first >= weights.shape[1]:
        return weights
    limited = weights[:, first:].sum(axis=1, keepdims=True)
    others = weights[:, :first].sum(axis=1, keepdims=True)
    is_above = (limited > max_share) & (others > 0.0)
    result = weights.copy()
    result[:, first:] *= np.where(is_above, max_share / np.where(limited > 0.0, limited, 1.0), 1.0)
    result[:, :first] *= np.where(is_above, (1.0 - max_share) / np.where(others > 0.0, others, 1.0), 1.0)
    return result
