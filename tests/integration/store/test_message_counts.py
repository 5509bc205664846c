"""Counts of messages: what is missing is named as it was sent, also where a count of 16 or 32 bits went on at 0."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import text

from monitor.domain.instants import parse
from monitor.store.readings import messages
from monitor.store.readings.messages import SequenceMark, note_sequences
from tests.conftest import ON_SQLITE

T0 = parse("2026-01-01T00:00:00Z")


def note(database, *batches):
    for batch in batches:
        marks = [
            SequenceMark("north", "G1", "logger", 7, seq, T0 + timedelta(seconds=k)) for k, seq in enumerate(batch)
        ]
        with database.write() as c:
            note_sequences(c, marks, T0)
    with database.read() as c:
        told = c.execute(text("select from_seq, to_seq from sequence_gap where filled_at is null order by from_seq"))
        return {seq for first, last in told for seq in range(first, last + 1)}


@ON_SQLITE
@pytest.mark.parametrize("full", [2**16, 2**32])
@pytest.mark.parametrize(
    ("sent", "missing"),
    [
        (((-3, -2, -1, 0, 1),), ()),
        (((-3, -2), (-1, 0, 1), (2,)), ()),
        (((-3, -2), (1, 2)), (-1, 0)),
        (((-3,), (4,), (-1, 0), (5,)), (-2, 1, 2, 3)),
        (((-3,), (4,), (-2, -1, 0, 1, 2, 3), (5,)), ()),
    ],
)
def test_a_full_count_goes_on_at_nothing(database, full, sent, missing):
    batches = [[seq % full for seq in batch] for batch in sent]
    assert note(database, *batches) == {seq % full for seq in missing}


@ON_SQLITE
@pytest.mark.parametrize("seed", range(20))
def test_what_is_missing_is_what_did_not_come(database, seed):
    chance = random.Random(seed)
    full = chance.choice([2**16, 2**32])
    numbers = range(chance.randint(-60, -2), chance.randint(2, 60))
    came = [numbers[0], *[n for n in numbers[1:-1] if chance.random() < 0.7], numbers[-1]]
    cuts = sorted(chance.sample(range(1, len(came)), min(3, len(came) - 1)))
    batches = [came[a:b] for a, b in zip([0, *cuts], [*cuts, len(came)], strict=True)]
    assert note(database, *[[n % full for n in batch] for batch in batches]) == {n % full for n in {*numbers} - {*came}}


@ON_SQLITE
def test_a_mutant_that_knows_no_full_count_is_caught(database, monkeypatch):
    monkeypatch.setattr(messages, "_FULL", ())
    assert note(database, [65_534, 65_535], [0, 3], [4]) != {1, 2}
