"""A record with gaps is forecast all the same: wider, and marked as what it is."""

import os

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.serving.issue import FEWEST_ROWS, OBSERVED_SHARE, WINDOW, find_silent
from forecasting.serving.jobs import forecast

SOAK = bool(os.environ.get("SLOPEWARD_SOAK"))
ROWS = 300
MARK = "record with gaps"


def draw(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice([0.0, 0.1, 1.0]) * np.arange(ROWS) + rng.normal(0, 1, ROWS)


def cut(values: np.ndarray, seed: int) -> np.ndarray:
    """The same with gaps in its last 60 rows: strewn, in one piece, or every other row; the newest row is there."""
    rng, out = np.random.default_rng(1000 + seed), values.copy()
    recent = np.arange(ROWS - WINDOW, ROWS - 1)
    lost = int(rng.integers(2, WINDOW - 3))
    kind = seed % 3
    if kind == 0:
        out[rng.choice(recent, lost, replace=False)] = np.nan
    elif kind == 1:
        first = int(rng.integers(ROWS - WINDOW, ROWS - lost))
        out[first : min(first + lost, ROWS - 1)] = np.nan
    else:
        out[recent[:: int(rng.integers(2, 4))]] = np.nan
    return out


def issue(values: np.ndarray, model: str = "auto"):
    return forecast(Panel(0.0, DAY_S, ("A",), values[:, None]), model, [DAY_S, 7 * DAY_S])


@pytest.mark.turns
@pytest.mark.parametrize("seed", range(30 if SOAK else 9))
def test_a_record_with_gaps_is_forecast_wider_and_marked(seed: int) -> None:
    values = draw(seed)
    gappy = cut(values, seed)
    whole, made = issue(values), issue(gappy)
    assert [r.horizon_s for r in made.rows] == [r.horizon_s for r in whole.rows]
    is_gappy = int(np.isfinite(gappy[-WINDOW:]).sum()) < OBSERVED_SHARE * WINDOW
    for row, before in zip(made.rows, whole.rows, strict=True):
        assert (MARK in row.reason) == is_gappy
        assert not is_gappy or row.q90 - row.q10 > before.q90 - before.q10


@pytest.mark.parametrize("rows", [FEWEST_ROWS - 1, FEWEST_ROWS + 3, 41])
def test_a_young_record_needs_as_many_rows_as_its_interval(rows: int) -> None:
    values = np.full(ROWS, np.nan)
    values[-rows:] = draw(1)[-rows:]
    made = issue(values, "persistence")
    near = [row for row in made.rows if row.horizon_s == DAY_S]
    assert len(near) == (rows > FEWEST_ROWS)
    assert not any(MARK in row.reason for row in near), "it is short, not gappy"
    if not near:
        (told,) = {(one.reason, one.lack.text) for one in made.withheld if one.horizon_s == DAY_S}
        assert told == (f"record too short: {rows} of 21 rows of 1 d", f"{rows} observations; 21 are needed")


def test_a_network_states_its_own_need() -> None:
    gappy = draw(2)
    gappy[-45:-15] = np.nan
    panel = Panel(0.0, DAY_S, ("A",), gappy[:, None])
    assert find_silent(panel)[0] == {"A": "gaps: 30 of the last 60 rows of 1 d observed, not 42"}
