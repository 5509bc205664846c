"""What many people do at once: nobody waits for the look of another, and nobody's work is put out by another's."""

import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from monitor.errors import RefusedError
from monitor.web import drafts
from monitor.web.change_notices import ChangeNotifier

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_one_looks_at_a_slow_database_and_the_others_go_on_with_what_is_known(monkeypatch):
    pulse, began, gate = ChangeNotifier(None), threading.Event(), threading.Event()
    looks = []

    def look():
        looks.append(began.set())
        gate.wait(10)

    monkeypatch.setattr(pulse, "_count_changes", look)
    first = threading.Thread(target=pulse.count, args=(None,))
    first.start()
    began.wait(10)
    others = [threading.Thread(target=pulse.count, args=(None,)) for _ in range(3)]
    for one in others:
        one.start()
        one.join(2)
    assert not any(one.is_alive() for one in others)
    gate.set()
    first.join(10)
    assert len(looks) == 1


def test_drafts_that_are_done_make_room_and_those_at_work_stay(monkeypatch):
    gate, done = threading.Event(), {"runs": []}
    monkeypatch.setattr(drafts, "preview_apart", lambda *_, **__: gate.wait(10) and done)
    url = SimpleNamespace(render_as_string=lambda **_: "")
    config = SimpleNamespace(compute=SimpleNamespace(job_limit_s=1.0))
    kept = drafts.Drafts(SimpleNamespace(clock=lambda: NOW, db=SimpleNamespace(url=url), config=config))
    change = SimpleNamespace(old=None, new=SimpleNamespace(id="bench"))
    monkeypatch.setattr(drafts, "MOST", 4)
    monkeypatch.setattr(drafts, "MOST_DONE", 2)
    at_work = kept.begin("", change, "ada", "why", 3)
    own = [kept.begin("", change, "bo", "why", 3) for _ in range(2)]
    for one in own:
        one.effect = done
    third = kept.begin("", change, "bo", "why", 3)
    assert [one in kept._drafts.values() for one in (*own, third)] == [False, True, True], "the own oldest goes"
    third.effect = done
    for _ in range(3):
        kept.begin("", change, "cy", "why", 3)
    assert at_work in kept._drafts.values()
    with pytest.raises(RefusedError, match="4 changes are being replayed"):
        kept.begin("", change, "dee", "why", 3)
    gate.set()
