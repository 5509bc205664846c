"""Files of the forecasting library are replaced completely or not at all."""

import os
import stat
import time

import pytest

from forecasting.whole_file import ABANDONED_AFTER_S, replacing


def test_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert (path.read_text(), os.listdir(tmp_path)) == ("new", ["a.json"])


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_failed_block_leaves_the_old_file(error, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), replacing(path, flush=True) as partial:
        partial.write_text("half")
        raise error
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["a.json"])


def test_content_is_flushed_before_the_rename(tmp_path, monkeypatch):
    path, flushed = tmp_path / "weights", []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append((os.fstat(number).st_size, path.exists())))
    with replacing(path, flush=True) as partial:
        partial.write_bytes(b"1234")
    assert flushed == [(4, False)]


def test_concurrent_writers_do_not_share_a_partial_file(tmp_path):
    path = tmp_path / "weights"
    with replacing(path) as one:
        one.write_text("first")
        with replacing(path) as other:
            other.write_text("second, longer")
        assert path.read_text() == "second, longer"
    assert (path.read_text(), os.listdir(tmp_path)) == ("first", ["weights"])


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444])
def test_permissions_are_set_when_the_file_is_complete(tmp_path, mode):
    path = tmp_path / "keys"
    with replacing(path, flush=True, mode=mode) as partial:
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        partial.write_text("secret")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("secret", mode)


def test_partial_files_of_killed_processes_are_removed_after_a_day(tmp_path):
    path, other = tmp_path / "a[1].db", tmp_path / ".b.db.1234.part"
    old, young = tmp_path / ".a[1].db.11111111.part", tmp_path / ".a[1].db.22222222.part"
    journal = old.with_name(f"{old.name}-journal")  # a file of SQLite, left by a killed copy
    for left in (old, journal, young, other):
        left.write_text("half")
    for left in (old, journal, other):
        os.utime(left, (time.time() - ABANDONED_AFTER_S - 60,) * 2)
    with replacing(path) as partial:
        partial.write_text("new")
    assert {p.name for p in tmp_path.iterdir()} == {path.name, young.name, other.name}
