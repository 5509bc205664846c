"""What a process built up at its start is looked through no more."""

import gc

from monitor.worker.memory import spare_what_stays


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
