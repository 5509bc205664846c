"""Without two signatures, a corrected value differs from its reference by at most five standard errors."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.people.queries.users import add_user
from monitor.readings.queries import corrections
from monitor.readings.queries.corrections import load_unsigned, sign_corrections
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.text.instants import parse_time
from tests.data.site_text import head, series, station
from tests.fixtures.databases import ON_SQLITE

START = parse_time("2026-03-01T00:00:00Z")
HOUR = timedelta(hours=1)
SIGMA_MM = 2.0
SITE = parse_site(head("bench") + station("G1", series("displacement", "mm", noise_floor_mm=SIGMA_MM)), "bench.toml")
LIMIT_MM = 5.0 * SIGMA_MM
EPOCHS = 4
# A correction of one epoch in standard errors, its solution, and whether two people sign all open corrections then.
CORRECTION = st.tuples(
    st.integers(0, EPOCHS - 1),
    st.floats(-12.0, 12.0, allow_nan=False),
    st.sampled_from(["rapid", None, "final", "corrected"]),
    st.booleans(),
)


def apply_corrections(c, drawn):
    """Store corrections one after the other, and check the counting values after each."""
    at = [START + k * HOUR for k in range(EPOCHS)]
    add_observations(c, [Observation("bench", "G1", "displacement", "mm", t, t, 0.0) for t in at], START)
    series_id = find_series_id(c, "bench", "G1", "displacement")
    references = [0.0 for _ in at]
    now = at[-1]
    for epoch, size, solution, is_signed in drawn:
        now += HOUR
        value = size * SIGMA_MM
        row = Observation("bench", "G1", "displacement", "mm", at[epoch], now, value, solution=solution)
        add_observations(c, [row], now)
        if is_signed:
            waiting = load_unsigned(c, {series_id: START - HOUR}, now, now).get(series_id, ())
            for reading in waiting:
                references[at.index(reading.observed_at)] = reading.value_raw
            sign_corrections(c, "bench", "G1", now, "Ada and Bo", now, countersigned=True)
        counting = load_readings(c, series_id, START - HOUR, now, now)
        assert [reading.observed_at for reading in counting] == at
        for reading, reference in zip(counting, references, strict=True):
            assert abs(reading.value_raw - reference) <= LIMIT_MM + 1e-9, (reading, reference)


@pytest.fixture
def store(database):
    with database.write() as c:
        save_site(c, SITE, "test", "test", START)
        for name in ("Ada", "Bo"):
            add_user(c, name, None, "operator", START)
    return database


def roll_back(store, act):
    """Run an act in a transaction that is rolled back."""

    with pytest.raises(StoppedError), store.write() as c:
        act(c)
        raise StoppedError


class StoppedError(Exception):
    """Raised to roll a transaction back."""


@ON_SQLITE
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CORRECTION, max_size=8))
def test_unsigned_corrections_never_move_a_value_by_more_than_five_standard_errors(store, drawn):
    roll_back(store, lambda c: apply_corrections(c, drawn))


def compare_with_what_counts_now(connection, series_id, epochs):
    readings = load_readings(connection, series_id, None, parse_time(max(epochs)), corrections.observations.END)
    by_epoch = {corrections.format_iso(reading.observed_at): reading for reading in readings}
    return {at: corrections._Reference(by_epoch[at].value_raw, None, ()) for at in epochs if at in by_epoch}


MUTANTS = {
    "compare with what counts now": ("_load_references", compare_with_what_counts_now),
    "never ask": ("_is_correction", lambda *_: False),
    "count large corrections": ("SIGMAS", 11.0),
}


@ON_SQLITE
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_law_finds_each_mutant(store, monkeypatch, mutant):
    walk = [(0, 4.0 * k, "corrected", False) for k in (1, 2, 3)]
    roll_back(store, lambda c: apply_corrections(c, walk))
    monkeypatch.setattr(corrections, *MUTANTS[mutant])
    with pytest.raises(AssertionError), store.write() as c:
        apply_corrections(c, walk)
