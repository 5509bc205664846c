"""Processes of ingest without processes: sessions that are handed over, and what core and they say to each other."""

import multiprocessing
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from monitor.config.service import parse_service
from monitor.extensions.scale_out import handover
from monitor.extensions.scale_out.divided import DividedIngest, IngestChild
from monitor.extensions.scale_out.division import Division, Share
from monitor.extensions.scale_out.process import IngestProcess
from monitor.ingest.service import IngestContext
from monitor.service.children import ModuleProcess, PythonChild
from monitor.store.database.engine import Database


def clock():
    return datetime.now(UTC)


def test_a_subscription_that_the_broker_refuses_does_not_hold_up_the_handover(monkeypatch):
    class Refused:
        name, listening, refused, problem = "live", False, "the broker refused x", "the broker refused x"

        def __init__(self, *_, **__):
            self.start = self.stop = lambda: None

    monkeypatch.setattr(handover, "MqttSession", Refused)
    config = parse_service("", "x")
    with Database("sqlite://") as db:
        context = IngestContext(db, config, {}, print, print, clock)
        hand = handover.DivisionHandover(context, Division("a", 2))
        stop = threading.Event()
        stop.set()  # whoever waits is told to end
        one = SimpleNamespace(name="live", client_id="a", filters=("x",), undated=())
        assert hand._subscribe(one, stop), "it goes on, and does not wait"
        ingest = DividedIngest(context, None, lambda: None)
        ingest._handover, hand.joining = hand, Refused()
        assert ingest.status()["refused"] == {"live": "the broker refused x"}


def test_a_process_of_ingest_that_hears_what_it_cannot_follow_ends():
    process = IngestProcess.__new__(IngestProcess)
    process.ended, process._line = threading.Event(), SimpleNamespace(recv=lambda: "no word")
    with pytest.raises(AttributeError):
        process._listen()
    assert process.ended.is_set()


def test_a_process_of_ingest_is_not_killed_for_starting_slowly(monkeypatch):
    """What core keeps is killed for silence, what has not begun is given time: the same watch for both kinds."""
    now, killed = [0.0], []
    monkeypatch.setattr("monitor.service.children.time.monotonic", lambda: now[0])
    monkeypatch.setattr(ModuleProcess, "launch", lambda *_: None)
    monkeypatch.setattr(ModuleProcess, "pid", 7)
    monkeypatch.setattr(ModuleProcess, "kill", lambda self: killed.append(self.name))
    ingest = IngestChild(Share("s", 1), lambda _: ())
    core = PythonChild("core", "m", (), stop_s=1.0, beats=True, environment={})
    for child in (ingest, core):
        child.start()
    now[0] = 170.0
    assert [ingest.alive(), core.alive()] == [True, True]
    now[0] = 181.0
    ours, theirs = multiprocessing.Pipe()
    ingest.line = ours
    theirs.send("what was said while we stood still")
    assert ingest.alive()
    ingest.line = None
    assert [ingest.alive(), core.alive()] == [False, False]
    assert killed == ["ingest 1", "core"]
