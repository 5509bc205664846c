"""Threads of a long-lived process get their turn soon, and what it built up at its start is looked through no more."""

import gc
import sys
import threading
import time
from statistics import median

import pytest

from monitor.worker.interpreter import spare_what_stays, take_short_turns

CALLS = 30


@pytest.fixture
def turns():
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def computing():
    """A thread that never gives up the interpreter by itself."""
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            sum(range(200))

    thread = threading.Thread(target=compute)
    thread.start()
    yield
    stop.set()
    thread.join()


def call_often():
    """Seconds for calls of the system that each give the interpreter up, as those of a database do."""
    begun = time.perf_counter()
    for _ in range(CALLS):
        time.sleep(0.0001)
    return time.perf_counter() - begun


@pytest.mark.usefixtures("turns", "computing")
def test_who_asks_the_system_often_is_not_held_up_by_who_computes():
    short, long = [], []
    for _ in range(9):  # others use the machine too
        sys.setswitchinterval(0.005)
        long.append(call_often())
        take_short_turns()
        short.append(call_often())
    assert median(short) < median(long) / 2


def test_what_stays_is_left_out_of_later_looks():
    before = gc.get_threshold()
    kept = [[n] for n in range(1000)]
    frozen = gc.get_freeze_count()
    try:
        spare_what_stays()
        assert gc.get_freeze_count() >= frozen + len(kept)
    finally:
        gc.unfreeze()  # all that other tests of this process left would stay out of every look
        gc.set_threshold(*before)
