"""Whole or not at all: what fails half-way leaves the file of before, and nothing beside it."""

import os

import pytest

from detection.whole_file import replacing


def test_a_file_is_replaced_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_file_of_before(error, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), replacing(path, flush=True) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_must_survive_a_power_cut_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    path, flushed = tmp_path / "weights", []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append((os.fstat(number).st_size, path.exists())))
    with replacing(path, flush=True) as partial:
        partial.write_bytes(b"1234")
    assert flushed == [(4, False)]
