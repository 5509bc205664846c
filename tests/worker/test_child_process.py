"""Child processes of the page: the parent receives the values that they send."""

import time
from pathlib import Path

import pytest

from monitor.worker.child_process import ChildProcess

MODULE = """
import pathlib
import time

def send_numbers(send, file, pause_s):
    for number in range(3):
        send(number)
    pathlib.Path(file).touch()
    time.sleep(pause_s)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sending_child.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def wait_for(file: Path) -> None:
    deadline_s = time.monotonic() + 30.0
    while not file.exists():
        assert time.monotonic() < deadline_s, "the child did not send its values"
        time.sleep(0.02)


def test_values_that_arrive_together_are_received_before_the_child_sends_more(tmp_path: Path) -> None:
    child = ChildProcess("sending_child:send_numbers", str(tmp_path / "sent"), 60.0)
    try:
        wait_for(tmp_path / "sent")
        assert list(child.lines(1.0)) == [0, 1, 2]
        assert not child.has_ended
    finally:
        child.end()


def test_end_of_a_child_is_reported_after_its_last_value(tmp_path: Path) -> None:
    child = ChildProcess("sending_child:send_numbers", str(tmp_path / "sent"), 0.0)
    assert list(child.lines(30.0)) == [0, 1, 2]
    assert child.has_ended
    child.wait()
