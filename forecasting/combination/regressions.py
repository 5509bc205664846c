"""Two ridge regressions that learn online: from the station's own increments, and from those of all stations.

Both regress what a station moves over a lead time on slopes and on differences between its newest reading and trailing
means, in units of its usual change from reading to reading. The second one shares its coefficients between stations and
also uses the mean of the panel.

At each row `Regressions.advance` learns, and `Regressions.forecast` then returns the forecasts.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np

from forecasting.combination.least_squares import solve_ridge, weigh_misses
from forecasting.combination.polynomials import MEMORIES, Curves
from forecasting.combination.state import ArrayState
from forecasting.data.series import Floats

FEATURE_MEAN_MEMORIES: Final = (2.0, 8.0, 32.0)
FEATURE_SLOPE_MEMORIES: Final = (1.1, 4.0, 16.0, 64.0)
FEATURES: Final = 1 + len(FEATURE_MEAN_MEMORIES) + len(FEATURE_SLOPE_MEMORIES)
SHARED: Final = 4  # features whose mean over the panel is used too
PENALTY: Final = 3.0  # ridge penalty, as a number of observations of a unit feature
MEMORY: Final = 400.0  # increments that a fit effectively uses, at least
MEMORY_PER_ROW: Final = 20.0  # the same, per row of the lead time
FEWEST_READINGS: Final = 8
USUAL_CHANGES: Final = 100.0  # readings that the usual change is averaged over
LARGEST_CHANGE: Final = 5.0  # usual changes; a larger change counts as this many in the usual change
LEAST_CHANGE_MM: Final = 1e-6  # smaller changes count as none and are left out of the usual change
LARGEST_FEATURE: Final = 100.0  # usual changes; a larger feature counts as this, so that one jump does not dominate


class Regressions(ArrayState):
    """Normal equations by lead time R; those of a station's own regression also by station S."""

    state_names: ClassVar = (
        "pending",
        "usual_change_mm",
        "changes",
        "previous_mm",
        "own_square",
        "own_product",
        "own_coefficients",
        "own_miss",
        "own_count",
        "shared_square",
        "shared_product",
        "shared_coefficients",
        "shared_miss",
        "shared_count",
    )

    def __init__(self, stations: int, lead_times: Sequence[int]) -> None:
        self._lead_times = np.array(lead_times)
        self._mean_positions = [MEMORIES.index(memory) for memory in FEATURE_MEAN_MEMORIES]
        self._slope_positions = [MEMORIES.index(memory) for memory in FEATURE_SLOPE_MEMORIES]
        self._slope_rows = np.array(FEATURE_SLOPE_MEMORIES)[:, None]
        self.has_shared = stations > 1
        self.names = ("own-regression", "panel-regression") if self.has_shared else ("own-regression",)
        memories = np.maximum(MEMORY, MEMORY_PER_ROW * self._lead_times)
        self._keep = (1.0 - 1.0 / memories)[:, None]
        reaches = len(lead_times)
        own_features = FEATURES
        shared_features = FEATURES + SHARED
        # Features, newest reading and usual change at each row until the longest lead time has passed.
        self.pending = np.full((max(lead_times) + 1, shared_features + 2, stations), np.nan)
        self.usual_change_mm = np.full(stations, np.nan)  # mean of the changes from reading to reading that are not 0
        self.changes = np.zeros(stations)  # changes so far that are not 0
        self.previous_mm = np.full(stations, np.nan)
        self.own_square = np.zeros((reaches, stations, own_features, own_features))
        self.own_product = np.zeros((reaches, stations, own_features))
        self.own_coefficients = np.zeros((reaches, stations, own_features))
        self.own_miss = np.full((reaches, stations), np.nan)
        self.own_count = np.zeros((reaches, stations))
        self.shared_square = np.zeros((reaches, shared_features, shared_features))
        self.shared_product = np.zeros((reaches, shared_features))
        self.shared_coefficients = np.zeros((reaches, shared_features))
        self.shared_miss = np.full((reaches, stations), np.nan)
        self.shared_count = np.zeros(reaches)

    def advance(self, row: int, values_mm: Floats, curves: Curves) -> None:
        """Learn from a row, and store the features of its forecasts until their targets.

        Args:
            row: Number of the row.
            values_mm: Readings, shape (S,), NaN where nothing was observed.
            curves: Fits to the readings up to this row.
        """
        self._learn(row, values_mm)
        self._average_changes(values_mm)
        slot = row % self.pending.shape[0]
        self.pending[slot, :-2] = self._compute_features(curves).T
        self.pending[slot, -2] = curves.newest_mm
        self.pending[slot, -1] = self.usual_change_mm

    def forecast(self, row: int) -> Floats:
        """Return the forecasts made at the last row that was added in mm, shape (R, 1 or 2, S)."""
        pending = self.pending[row % self.pending.shape[0]]
        features = pending[:-2].T
        newest_mm = pending[-2]
        own_moves = (self.own_coefficients * features[:, :FEATURES]).sum(axis=2)
        moves = [np.where(self.own_count >= 2 * FEATURES, own_moves, np.nan)]
        if self.has_shared:
            shared_moves = (self.shared_coefficients[:, None] * features).sum(axis=2)
            moves.append(np.where(self.shared_count[:, None] >= 4 * FEATURES, shared_moves, np.nan))
        return np.asarray(newest_mm + self.usual_change_mm * np.stack(moves, axis=1))

    def _learn(self, row: int, values_mm: Floats) -> None:
        """Learn what the stations moved over each lead time until this row."""
        issue_rows = row - self._lead_times
        pending = self.pending[issue_rows % self.pending.shape[0]]
        pending = np.where((issue_rows >= 0)[:, None, None], pending, np.nan)
        features = np.moveaxis(pending[:, :-2], 1, 2)  # (R, S, features)
        moved = (values_mm - pending[:, -2]) / pending[:, -1]
        is_known = np.isfinite(moved) & np.isfinite(features).all(axis=2)
        features = np.where(is_known[..., None], features, 0.0)
        moved = np.where(is_known, moved, 0.0)
        self._learn_own(features[..., :FEATURES], moved, is_known)
        if self.has_shared:
            self._learn_shared(features, moved, is_known)

    def _average_changes(self, values_mm: Floats) -> None:
        change_mm = np.abs(values_mm - self.previous_mm)
        is_known = np.isfinite(change_mm) & (change_mm > LEAST_CHANGE_MM)
        share = is_known / np.minimum(self.changes + 1.0, USUAL_CHANGES)
        usual_mm = np.where(np.isfinite(self.usual_change_mm), self.usual_change_mm, 0.0)
        limited_mm = np.where(
            self.changes >= FEWEST_READINGS, np.minimum(change_mm, LARGEST_CHANGE * usual_mm), change_mm
        )
        self.usual_change_mm = np.where(
            is_known, usual_mm + share * (np.where(is_known, limited_mm, 0.0) - usual_mm), self.usual_change_mm
        )
        self.changes = self.changes + is_known
        self.previous_mm = np.where(np.isfinite(values_mm), values_mm, self.previous_mm)

    def _compute_features(self, curves: Curves) -> Floats:
        """Return features (S, features) without a unit, NaN where too few readings are known."""
        off = curves.newest_mm - curves.mean_mm[self._mean_positions]
        rises = curves.slope[self._slope_positions] * self._slope_rows
        own_features = np.concatenate([off, rises]) / self.usual_change_mm
        own_features[:, curves.readings < FEWEST_READINGS] = np.nan
        own_features = np.clip(own_features, -LARGEST_FEATURE, LARGEST_FEATURE)
        stations = own_features.shape[1]
        shared_features = np.repeat(_average_known(own_features[:SHARED])[:, None], stations, axis=1)
        intercept = np.ones((1, stations))
        return np.asarray(np.concatenate([intercept, own_features, shared_features]).T)

    def _learn_own(self, features: Floats, moved: Floats, is_known: np.ndarray) -> None:
        miss = np.abs(moved - (self.own_coefficients * features).sum(axis=2))
        weight, self.own_miss = weigh_misses(miss, self.own_miss, is_known, self._keep)
        keep = np.where(is_known, self._keep, 1.0)
        weighted = weight[..., None] * features
        self.own_square *= keep[..., None, None]
        self.own_square += weighted[..., :, None] * features[..., None, :]
        self.own_product = keep[..., None] * self.own_product + moved[..., None] * weighted
        self.own_coefficients = solve_ridge(self.own_square, self.own_product, PENALTY)
        self.own_count = self.own_count + is_known

    def _learn_shared(self, features: Floats, moved: Floats, is_known: np.ndarray) -> None:
        miss = np.abs(moved - (self.shared_coefficients[:, None] * features).sum(axis=2))
        weight, self.shared_miss = weigh_misses(miss, self.shared_miss, is_known, self._keep)
        keep = np.where(is_known.any(axis=1), self._keep[:, 0], 1.0)
        weighted = np.moveaxis(weight[..., None] * features, 1, 2)
        self.shared_square = keep[:, None, None] * self.shared_square + weighted @ features
        self.shared_product = keep[:, None] * self.shared_product + (weighted @ moved[..., None])[..., 0]
        self.shared_coefficients = solve_ridge(self.shared_square, self.shared_product, PENALTY)
        self.shared_count = self.shared_count + is_known.sum(axis=1)


def _average_known(rows: Floats) -> Floats:
    """Return the mean of each row (N, S) over the stations that are known, 0 where none is."""
    is_known = np.isfinite(rows)
    return np.asarray(np.where(is_known, rows, 0.0).sum(axis=1) / np.maximum(is_known.sum(axis=1), 1))
