"""Weights of the experts from their errors so far, per station and horizon.

    weight = prior * exp(-score)          score = n * log(mean absolute error)

A score is the negative logarithm of a weight, without the prior. It has no unit: the smallest score is subtracted from
all, so that only ratios between the errors of experts count. `n` is the number of independent errors that the mean
rests on, at most `MOST_ERRORS`. Components of one motion add their scores, and half the mean score of the other
stations of the panel is added.

Errors at shorter lead times are evidence too: they show a change of velocity within rows, long before a forecast at the
horizon can be scored. They mislead where an expert is good at the horizon alone, for instance one with the period of a
tide. Two sets of weights are therefore computed, one with the evidence of all shorter lead times and one with that of
the horizon alone. The same rule weighs the two resulting forecasts against each other by their own errors.

A forecast that an expert does not make is replaced by the forecast of the combination. An expert without a record, such
as a network that was trained today, therefore has the score of the combination. An expert on trial is scored but has no
weight: a season is judged over a whole period, because one event makes any memory of it look good or bad.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from forecasting.combination.state import ArrayState
from forecasting.data.series import Floats, Ints

MOST_ERRORS: Final = 14  # independent errors that a score rests on: errors are discounted by 1 - 1 / (14 h) per row
POOLED_SHARE: Final = 0.5  # of the mean score of the other stations that is added to the score of a station

# What shorter lead times count against an expert at most, in each of the two sets of weights.
MOST_EVIDENCE: Final = (25.0, 0.0)
# Weight of the two sets before any error. The first one is safer: it follows bends and stops.
SET_PRIORS: Final = (5.0, 1.0)
NETWORK_SHARE: Final = 0.5  # largest share of all networks together
LEAST_ERROR_MM: Final = 1e-6  # smaller mean errors count as equal

# Forecasts over many rows overlap. Of longer lead times only every second, third, ... forecast is scored, so that about
# this many forecasts are stored until their targets.
SCORED_PER_LEAD_TIME: Final = 32


@dataclass(frozen=True, slots=True)
class Expert:
    """What the weights need of an expert besides its forecasts."""

    name: str
    prior: float = 1.0  # weight before any error, relative to the other experts
    trial: int = 0  # forecasts that are scored before it has a weight


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
        issue_rows = row - self._lead_times
        chosen = np.flatnonzero((issue_rows >= 0) & (issue_rows % self._strides == 0))
        return chosen, self._find_slots(chosen, issue_rows[chosen])

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
        firsts = slice(None) if self.is_trivial else self.order[self._starts]
        total = values[..., firsts].sum(axis=-1, keepdims=True)
        others = active[..., firsts].sum(axis=-1, keepdims=True) - active
        return np.asarray((total - values) / np.maximum(others, 1.0))


class ExpertWeights(ArrayState):
    """Errors of all experts at all lead times, and the weights that follow from them.

    Forecasts and errors have the axes lead time R, forecaster F and station S. The forecasters are the experts, the
    combinations by each set of weights, and the combination itself.
    """

    state_names: ClassVar = ("pending_mm", "loss", "count", "forecasts_made")

    def __init__(self, experts: Sequence[Expert], steps: Sequence[int], groups: Groups, stations: int) -> None:
        self.lead_times = list_lead_times(steps)
        self.horizons = np.array([self.lead_times.index(h) for h in steps])  # positions of the horizons
        self._groups = groups
        self._log_priors = np.log([expert.prior for expert in experts])[:, None]
        self._trials = np.array([expert.trial for expert in experts])[:, None]
        self._rows = np.array(self.lead_times)[:, None]
        strides = np.maximum(1, self._rows // SCORED_PER_LEAD_TIME)
        self._delayed = DelayedRows(self.lead_times, strides[:, 0].tolist())
        self._strides = strides.astype(np.float64)
        self._discount = (1.0 - 1.0 / (MOST_ERRORS * self._rows)) ** self._strides
        lead_times = len(self.lead_times)
        forecasters = len(experts) + len(MOST_EVIDENCE) + 1
        self.pending_mm = np.full((self._delayed.slots, forecasters, stations), np.nan)  # until the targets
        self.loss = np.zeros((lead_times, forecasters, stations))  # discounted sums of absolute errors, mm
        self.count = np.zeros((lead_times, stations))  # discounted number of errors
        self.forecasts_made = np.zeros((len(experts), stations), dtype=np.int64)  # rows with a forecast, by expert

    def add_expert(self, expert: Expert) -> None:
        """Add an expert after the last one, with the record of the combination."""
        position = self._log_priors.size
        self._log_priors = np.append(self._log_priors, [[np.log(expert.prior)]], axis=0)
        self._trials = np.append(self._trials, [[expert.trial]], axis=0)
        self.pending_mm = np.insert(self.pending_mm, position, self.pending_mm[:, -1], axis=1)
        self.loss = np.insert(self.loss, position, self.loss[:, -1], axis=1)
        self.forecasts_made = np.insert(self.forecasts_made, position, 0, axis=0)

    def score(self, row: int, values_mm: Floats) -> None:
        """Score the forecasts whose target is this row against its readings, shape (S,), NaN unknown."""
        chosen, slots = self._delayed.find_due(row)
        if not chosen.size:
            return
        errors_mm = np.abs(self.pending_mm[slots] - values_mm)
        is_known = np.isfinite(errors_mm[:, -1])
        stride = self._strides[chosen]
        discount = self._discount[chosen]
        loss = discount[:, None] * self.loss[chosen] + stride[:, None] * errors_mm
        self.loss[chosen] = np.where(is_known[:, None], loss, self.loss[chosen])
        self.count[chosen] = np.where(is_known, discount * self.count[chosen] + stride, self.count[chosen])

    def combine(self, row: int, forecasts_mm: Floats, first_network: int) -> tuple[Floats, Floats]:
        """Weigh the forecasts made at this row and store them until their targets.

        Args:
            row: Number of the row.
            forecasts_mm: Shape (R, E, S), NaN where an expert makes none.
            first_network: Position of the first network.

        Returns:
            Weights (R, E, S), which sum to one where there is a forecast and are 0 elsewhere, and the combination
            (R, S), NaN where no expert makes a forecast.
        """
        experts = forecasts_mm.shape[1]
        has_median = np.isfinite(forecasts_mm)
        scored = self.forecasts_made - self._rows[:, None]
        is_candidate = has_median & ((self._trials == 0) | (scored >= self._trials))
        has_forecast = is_candidate.any(axis=1)
        candidates_mm = np.where(is_candidate, forecasts_mm, 0.0)
        evidence = self._compute_evidence(self.loss[:, :experts])
        sets = []
        combined = []
        for most in MOST_EVIDENCE:
            scores = add_shorter_lead_times(evidence, most)
            weights = normalise(np.where(is_candidate, self._log_priors - scores, -np.inf))
            weights = limit_share(weights, first_network, NETWORK_SHARE)
            sets.append(weights)
            combined.append(np.where(has_forecast, (weights * candidates_mm).sum(axis=1), np.nan))
        evidence = self._compute_evidence(self.loss[:, experts:-1])
        shares = normalise(_LOG_SET_PRIORS - add_shorter_lead_times(evidence, MOST_EVIDENCE[0]))
        weights = sum_products(shares, sets)
        combination = sum_products(shares, combined)
        filled = np.where(has_median, forecasts_mm, combination[:, None])
        forecasters = np.concatenate([filled, np.stack([*combined, combination], axis=1)], axis=1)
        chosen, slots = self._delayed.find_written(row)
        self.pending_mm[slots] = forecasters[chosen]
        self.forecasts_made += has_median.any(axis=0)
        return weights, combination

    def compute_errors(self, first: int = 0, end: int | None = None) -> Floats:
        """Return the discounted mean absolute errors of experts at each horizon in mm, NaN before any error.

        Args:
            first: Position of the first expert.
            end: Position after the last expert; that of the last one by default.

        Returns:
            Shape (experts, S, H).
        """
        experts = slice(first, self._log_priors.size if end is None else end)
        count = self.count[self.horizons]
        mean = self.loss[self.horizons, experts] / np.where(count > 0.0, count, np.nan)[:, None]
        return np.where(self.forecasts_made[experts] > 0, mean, np.nan).transpose(1, 2, 0)

    def _compute_evidence(self, loss: Floats) -> Floats:
        """Return the scores of some forecasters at every lead time by itself, shape (R, F, S)."""
        independent = self.count / self._rows
        mean = loss / np.maximum(self.count, 1e-12)[:, None]
        evidence = self._groups.add(independent[:, None] * np.log(np.maximum(mean, LEAST_ERROR_MM)))
        evidence = evidence - evidence.min(axis=1, keepdims=True)
        is_active = self._groups.add((self.count > 0.0).astype(np.float64)) > 0.0
        active = is_active[:, None].astype(np.float64)
        return np.asarray(evidence + POOLED_SHARE * self._groups.average_others(evidence, active))


_LOG_SET_PRIORS: Final = np.log(np.array(SET_PRIORS))[:, None]


def add_shorter_lead_times(evidence: Floats, most: float) -> Floats:
    """Return scores (R, F, S) in which each lead time adds the score of the shorter one, at most `most`."""
    if most == 0.0:
        return evidence
    scores = np.empty(evidence.shape)
    shorter = np.zeros(evidence.shape[1:])
    for position, lead_time_evidence in enumerate(evidence):
        score = lead_time_evidence + np.minimum(shorter, most)
        shorter = score - score.min(axis=0)
        scores[position] = shorter
    return scores


def normalise(logits: Floats) -> Floats:
    """Return weights (R, F, S) that sum to one over the forecasters, 0 where every logit is minus infinity."""
    best = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(best), best, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / np.where(total > 0.0, total, 1.0))


def sum_products(shares: Floats, values: Sequence[Floats]) -> Floats:
    """Return the mean of some arrays (R, ..., S) by their shares (R, arrays, S)."""
    total = np.zeros(values[0].shape)
    for position, value in enumerate(values):
        share = shares[:, position]
        total += (share if value.ndim == share.ndim else share[:, None]) * value
    return total


def limit_share(weights: Floats, first: int, most: float) -> Floats:
    """Return weights (R, E, S) in which the experts from `first` on have together at most this share.

    Where no other expert makes a forecast, the weights stay as they are.

    >>> limit_share(np.array([0.2, 0.6, 0.2])[None, :, None], 1, 0.5)[0, :, 0].round(3).tolist()
    [0.5, 0.375, 0.125]
    """
    if first >= weights.shape[1]:
        return weights
    limited = weights[:, first:].sum(axis=1, keepdims=True)
    others = weights[:, :first].sum(axis=1, keepdims=True)
    is_above = (limited > most) & (others > 0.0)
    out = weights.copy()
    out[:, first:] *= np.where(is_above, most / np.where(limited > 0.0, limited, 1.0), 1.0)
    out[:, :first] *= np.where(is_above, (1.0 - most) / np.where(others > 0.0, others, 1.0), 1.0)
    return out
