"""The state of a combination between two issues.

An issue that finds the stored state of the issue before reads only the rows since then. The state is used only if the
readings that it has read are still the same: after a late or a corrected reading, for another set of stations or
drivers, and in another version of Slopeward, the combination reads the whole panel again. So does a combination with
other networks, which `forecasting.serving.issue` compares. A corrected reading of a driver counts from the next row on.
"""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecasting.combination.combination import MANY_STATIONS, Combination
from forecasting.combination.drivers import choose_drivers
from forecasting.data.components import group_components
from forecasting.data.series import Panel

GRID_TOLERANCE = 0.25  # share of a row by which the grid of a panel may shift between two issues
_PREFIX = "issue."


@dataclass(frozen=True, slots=True)
class PanelState:
    """A combination and how many rows of a panel it has read."""

    combination: Combination
    rows: int


def start(panel: Panel, steps: Sequence[int]) -> PanelState:
    """Return a combination that has read no row of a panel."""
    drivers = choose_drivers(panel.drivers)
    driver_names = () if drivers is None else drivers.names
    groups = group_components(panel.stations)
    combination = Combination.start(panel.stations, panel.step_s, steps, groups=groups, driver_names=driver_names)
    return PanelState(combination, 0)


def pack(state: PanelState, panel: Panel) -> bytes | None:
    """Return the state as the content of a NumPy archive; None for a panel with too many stations to store it."""
    if len(panel.stations) > MANY_STATIONS:
        return None
    arrays: dict[str, Any] = {
        **state.combination.to_arrays(),
        f"{_PREFIX}version": np.array(version("slopeward")),
        f"{_PREFIX}experts": np.array(state.combination.experts),
        f"{_PREFIX}end_s": np.array(panel.start_s + panel.step_s * (state.rows - 1)),
        f"{_PREFIX}rows": _hash_rows(panel)[: state.rows],
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def resume(content: bytes | None, panel: Panel, steps: Sequence[int]) -> PanelState | None:
    """Return the stored state if it has read the first rows of this panel; None if the panel must be read again."""
    if not content:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        combination = Combination.from_arrays(arrays)
        end_s = float(arrays[f"{_PREFIX}end_s"])
        hashes = arrays[f"{_PREFIX}rows"]
        is_same_code = str(arrays[f"{_PREFIX}version"]) == version("slopeward") and combination.experts == tuple(
            arrays[f"{_PREFIX}experts"].tolist()
        )
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return None
    drivers = choose_drivers(panel.drivers)
    driver_names = () if drivers is None else drivers.names
    is_same_panel = (
        combination.stations == panel.stations
        and combination.step_s == panel.step_s
        and combination.steps == tuple(steps)
        and combination.driver_names == driver_names
    )
    if not is_same_code or not is_same_panel:
        return None
    rows = _find_end(end_s, panel)
    if rows is None or rows > hashes.size:
        return None
    # the first cell of the grid may have lost readings that are older than the panel
    is_unchanged = np.array_equal(hashes[hashes.size - rows + 1 :], _hash_rows(panel)[1:rows])
    return PanelState(combination, rows) if is_unchanged else None


def _find_end(end_s: float, panel: Panel) -> int | None:
    """Return how many rows of a panel lie up to an instant; None if its grid shifted, or has no such row."""
    position = (end_s - panel.start_s) / panel.step_s
    rows = round(position) + 1
    if abs(position - round(position)) > GRID_TOLERANCE or not 1 <= rows <= panel.values.shape[0]:
        return None
    return rows


def _hash_rows(panel: Panel) -> NDArray[np.uint64]:
    """Return a hash of the readings of each row, shape (T,)."""
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in np.ascontiguousarray(panel.values)]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
