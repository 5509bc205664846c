"""A record scored block by block, with the newest cells seen again as they fill, has the scores of one whole pass."""

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from detection.anomaly.neighbours import FEWEST_OTHERS, median_of_others
from detection.anomaly.parts import PARTS, PartScores

TOLERANCE = 1e-6


def draw_table(seed: int, rows: int, cells: int, holes: float) -> np.ndarray:
    """Noise with a common part, steps and holes; some series begin late or fall silent."""
    rng = np.random.default_rng(seed)
    table = np.round(rng.normal(0, 1, (rows, cells)) + rng.normal(0, 1, cells) + 0.02 * np.arange(cells), 2)
    table[0, cells // 2 :] += 9.0
    table[rng.random(table.shape) < holes] = np.nan
    table[-1, : cells // 3] = np.nan
    table[rows // 2, cells - 40 :] = np.nan
    return table * 1000.0 + 5e5


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 7),
    step_s=st.sampled_from([86400.0, 21600.0, 3600.0, 7 * 86400.0]),
    first=st.integers(-300, 30000),
    holes=st.sampled_from([0.0, 0.05, 0.4]),
    data=st.data(),
)
def test_block_by_block_is_the_whole_pass(seed, rows, step_s, first, holes, data):
    table = draw_table(seed, rows, 260, holes)
    whole = PartScores(rows, step_s, PARTS).feed(table, first, 0)
    running = PartScores(rows, step_s, PARTS)
    done = data.draw(st.integers(1, 200))
    running.feed(table[:, :done], first, done)
    rng = np.random.default_rng(seed)
    while done < table.shape[1]:
        k = int(rng.choice([1, 2, 3, 30]))
        block = table[:, done : done + k]
        # some of the newest readings come later: the cells are seen without them first, and are not closed
        running.feed(np.where(rng.random(block.shape) < 0.3, np.nan, block), first + done, 0)
        keep = int(rng.integers(1, block.shape[1] + 1))
        out = running.feed(block, first + done, keep)
        for part, scores in out.items():
            expected = whole[part][:, done : done + k]
            assert np.array_equal(np.isfinite(scores), np.isfinite(expected)), part
            np.testing.assert_allclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        done += keep
    event("scored" if any(np.isfinite(row).any() for row in whole.values()) else "too short for a score")
    event("neighbours" if rows > FEWEST_OTHERS else "alone")


@pytest.mark.parametrize("seed", range(4))
def test_median_of_others_is_that_of_the_rows_without_one(seed):
    table = np.round(draw_table(seed, 5 + seed, 300, 0.3) / 1000.0)  # with ties
    found = median_of_others(table)
    for row in range(len(table)):
        rest = np.delete(table, row, axis=0)
        for cell in range(table.shape[1]):
            known = rest[np.isfinite(rest[:, cell]), cell]
            expected = np.median(known) if len(known) >= FEWEST_OTHERS else np.nan
            assert found[row, cell] == expected or (np.isnan(found[row, cell]) and np.isnan(expected))
